"""Representations that somebody else trained."""

from __future__ import annotations

from pathlib import Path

from course_utils.data.fetch import fetch

import numpy as np

KEPT_WORDS = 50_000


def load_glove(n_words: int = KEPT_WORDS) -> tuple[list[str], np.ndarray]:
    """Load GloVe vectors trained on six billion words of Wikipedia and news.

    Parameters
    ----------
    n_words : int
        How many words to keep, the most frequent first; at most 50,000.

    Returns
    -------
    words : list of str
        Lower-case words, in order of falling frequency.
    vectors : numpy.ndarray of shape (n_words, 50), float32
        One row a word.

    Raises
    ------
    ValueError
        When `n_words` is not between 1 and 50,000.
    DataError
        When the vectors can be neither found nor fetched.

    References
    ----------
    Pennington, Socher and Manning (2014), GloVe: Global Vectors for Word
    Representation, EMNLP.
    """
    if not 1 <= n_words <= KEPT_WORDS:
        raise ValueError(f"n_words is {n_words}; choose 1 to {KEPT_WORDS:,}.")
    folder = fetch("glove")
    words = (folder / "words.txt").read_text(encoding="utf-8").split("\n")[:n_words]
    vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    return words, np.array(vectors[:n_words])


def keep_frequent_words(source: Path, target: Path) -> None:
    """Write the 50,000 most frequent of 400,000 GloVe words as two small files.

    Parameters
    ----------
    source : pathlib.Path
        Folder with the members of the package.
    target : pathlib.Path
        Folder that gets ``vectors.npy`` and ``words.txt``.
    """
    import pyarrow.parquet

    index = pyarrow.parquet.read_table(source / "glove_6B_index.parquet")
    words = index.column("index").to_pylist()[:KEPT_WORDS]
    (target / "words.txt").write_text("\n".join(words), encoding="utf-8", newline="\n")
    vectors = np.load(
        source / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False
    )
    np.save(target / "vectors.npy", np.ascontiguousarray(vectors[:KEPT_WORDS]))
