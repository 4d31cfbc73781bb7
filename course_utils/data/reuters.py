"""Newswires of 1987 and their topics."""

from __future__ import annotations

from course_utils.data.fetch import fetch
from course_utils.data.keras_copies import read_keras_copy
from course_utils.frameworks import import_keras

import numpy as np

Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

HEADER_LINES = 3
# Stories of the Keras copy that `keras.datasets.reuters` gives to training.
KERAS_TRAIN = 8_982


def load_reuters(source: str = "r52", *, num_words: int | None = None) -> Split:
    """Load newswires as ``(x_train, y_train), (x_test, y_test)``.

    Parameters
    ----------
    source : {"r52", "keras"}
        ``"r52"``: 6,532 + 2,568 raw texts over 52 topics, the published split.
        ``"keras"``: the copy that ``keras.datasets.reuters`` offers, 8,982 + 2,246
        stories over 46 topics as word ids, in its own split.
    num_words : int, optional
        With ``"keras"``: keep the most frequent words, others become 2.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        `x` : object arrays of shape (n_stories,), each element a str in lower case
        without punctuation and numbers, or a list of ids. `y` : int64 arrays of
        shape (n_stories,), indices into ``reuters_topics(source)``.

    Raises
    ------
    ValueError
        When `source` is none of the above, or `num_words` comes with raw text.
    DataError
        When the stories can be neither found nor fetched.

    References
    ----------
    Lewis (1997), Reuters-21578 text categorization test collection, distribution
    1.0; the R52 split: Cardoso-Cachopo (2007), Improving Methods for Single-label
    Text Categorization.
    """
    if source == "r52":
        if num_words is not None:
            raise ValueError(
                "num_words goes with source='keras'; raw texts keep all their words."
            )
        return _load_texts()
    if source == "keras":
        path = fetch("reuters-keras") / "reuters.npz"
        return read_keras_copy(path, num_words=num_words, n_train=KERAS_TRAIN)
    raise ValueError(f"source is {source!r}; choose 'r52' or 'keras'.")


def reuters_topics(source: str = "r52") -> list[str]:
    """Names of the topics, in the order of their labels.

    Parameters
    ----------
    source : {"r52", "keras"}
        Which copy; ``"r52"`` has 52 topics in alphabetical order, ``"keras"`` 46.

    Returns
    -------
    list of str
        The name of each label.

    Raises
    ------
    ValueError
        When `source` is none of the above.
    DataError
        With ``"r52"``, when the stories can be neither found nor fetched.
    """
    if source == "r52":
        return sorted({topic for topic, _ in _read("train")})
    if source == "keras":
        return list(import_keras().datasets.reuters.get_label_names())
    raise ValueError(f"source is {source!r}; choose 'r52' or 'keras'.")


def load_reuters_word_index() -> dict[str, int]:
    """Ids of the Keras copy's words.

    Returns
    -------
    dict of str to int
        A word's rank by frequency, from 1. In the stories each stands 3 higher:
        0 is padding, 1 begins a story, 2 replaces a word that was left out.

    Raises
    ------
    DataError
        When the file can be neither found nor fetched.
    """
    import json

    path = fetch("reuters-keras") / "reuters_word_index.json"
    return json.loads(path.read_text(encoding="utf-8"))


def _load_texts() -> Split:
    number = {topic: label for label, topic in enumerate(reuters_topics())}
    halves = []
    for half in ("train", "test"):
        rows = _read(half)
        texts = np.array([text for _, text in rows], dtype=object)
        labels = np.array([number[topic] for topic, _ in rows], dtype=np.int64)
        halves.append((texts, labels))
    return halves[0], halves[1]


def _read(half: str) -> list[tuple[str, str]]:
    """Topic and text of each story, in the file's order."""
    path = fetch("reuters") / f"reuters-r52-{half}.tab"
    lines = path.read_text(encoding="utf-8").splitlines()[HEADER_LINES:]
    rows = (line.partition("\t") for line in lines)
    # A row without topic and text follows the header.
    return [(topic, text) for topic, _, text in rows if topic]
