"""Copies of data sets that Keras offers, read from files of our own cache.

``keras.datasets`` reads its own cache folder only, and refuses a path.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

SEED = 113
FIRST, OTHER, SHIFT = 1, 2, 3


def read_keras_copy(
    path: Path, *, num_words: int | None = None, n_train: int | None = None
) -> Split:
    """Read stories as word ids, shuffled and split as ``keras.datasets`` does.

    Parameters
    ----------
    path : pathlib.Path
        An npz file whose digest has been checked: its arrays are pickled.
    num_words : int, optional
        Keep ids below it; others become 2.
    n_train : int, optional
        Where to split a file that holds one set, after its shuffle.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        `x` : object arrays of lists of ids; each begins with 1, and a word's id is its
        rank by frequency plus 3. `y` : int64 arrays of labels.
    """
    shuffle = np.random.RandomState(SEED)
    with np.load(path, allow_pickle=True) as file:
        pairs = (
            [("x", "y")]
            if "x" in file
            else [("x_train", "y_train"), ("x_test", "y_test")]
        )
        parts = []
        for names in pairs:
            texts, labels = (file[name] for name in names)
            order = np.arange(len(texts))
            shuffle.shuffle(order)
            parts.append((texts[order], labels[order].astype(np.int64)))
    if len(parts) == 1:
        ((texts, labels),) = parts
        parts = [
            (texts[:n_train], labels[:n_train]),
            (texts[n_train:], labels[n_train:]),
        ]
    # Keras, too, drops the rarest word where nothing is asked for.
    end = num_words or max(max(ids) for texts, _ in parts for ids in texts) + SHIFT
    (x_train, y_train), (x_test, y_test) = (
        (_numbered(texts, end), labels) for texts, labels in parts
    )
    return (x_train, y_train), (x_test, y_test)


def _numbered(texts: np.ndarray, end: int) -> np.ndarray:
    """Shift each word's rank, and replace what is not kept."""
    rows = np.empty(len(texts), object)
    for number, ranks in enumerate(texts):
        ids = [FIRST, *(rank + SHIFT for rank in ranks)]
        rows[number] = [one if one < end else OTHER for one in ids]
    return rows
