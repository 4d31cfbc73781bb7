"""Files that a second source holds in another form, made equal to the first's."""

from __future__ import annotations

import gzip
from pathlib import Path

from course_utils.data.pretrained import KEPT_WORDS

import numpy as np

# When Debian packed its copy of Fashion-MNIST.
PACKED = (0x5EDA0AED).to_bytes(4, "little")


def keep_frequent_words_of_text(source: Path, target: Path) -> None:
    """Write the 50,000 most frequent GloVe words from vectors written as text.

    Parameters
    ----------
    source : pathlib.Path
        Folder with ``glove-wiki-gigaword-50.gz``: a line that counts words and
        numbers, then a line for each word, the most frequent first.
    target : pathlib.Path
        Folder that gets ``vectors.npy`` and ``words.txt``.

    Raises
    ------
    ValueError
        When the text holds something else.
    """
    words = []
    vectors = np.empty((KEPT_WORDS, 50), np.float32)
    path = source / "glove-wiki-gigaword-50.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        lines.readline()
        for row in range(KEPT_WORDS):
            word, *numbers = lines.readline().rstrip("\n").split(" ")
            words.append(word)
            vectors[row] = [float(number) for number in numbers]
    (target / "words.txt").write_text("\n".join(words), encoding="utf-8", newline="\n")
    np.save(target / "vectors.npy", vectors)


def without_gzip_names(source: Path, target: Path) -> None:
    """Write gzip files with the head that Debian gives them: no name, one date.

    Parameters
    ----------
    source : pathlib.Path
        Folder with gzip files that carry the name and date of what they hold.
    target : pathlib.Path
        Folder that gets them under the same names; the compressed part is copied.

    Raises
    ------
    ValueError
        When a file is no gzip file with a name and nothing else in its head.
    """
    for path in source.iterdir():
        content = path.read_bytes()
        if content[:4] != b"\x1f\x8b\x08\x08":
            raise ValueError(f"{path.name} is no gzip file with a name")
        compressed = content.index(b"\0", 10) + 1
        head = content[:3] + b"\0" + PACKED + content[8:10]
        (target / path.name).write_bytes(head + content[compressed:])
