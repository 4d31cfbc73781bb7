"""Check of the first page's exercise."""

from __future__ import annotations

from collections.abc import Iterator

from course_utils.checks.cases import Case, reference

import numpy as np

# As the page has it: an answer may take it in place of its argument.
TABLE = np.array(
    [
        [0.9, 0.4, 0.0],
        [-0.9, 0.4, 0.0],
        [0.1, 0.9, 0.1],
        [0.0, 0.8, 0.1],
        [-0.1, 0.0, 0.9],
    ]
)


def _texts() -> Iterator[Case]:
    rng = np.random.default_rng(3)
    for n_words, dim in ((2, 3), (7, 4), (1, 5)):
        yield Case(rng.normal(size=(n_words, dim)).round(1))


@reference(
    "0.1",
    hints=[
        "`vectors` has one row per word. Which axis runs over the words?",
        "`vectors.mean()` is a single number: `mean` takes an `axis`.",
        "`vectors.mean(axis=0)`",
    ],
    cases=_texts,
    mistakes={
        "That is the sum: divide it by the number of words.": (
            lambda vectors: vectors.sum(axis=0)
        ),
        "That is one number per word. You want one number per column: take the mean "
        "over the words, axis 0.": lambda vectors: vectors.mean(axis=1),
        "That is a single number: take the mean of each column, over the words.": (
            lambda vectors: vectors.mean()
        ),
        "Those are the numbers of one word; all words of the text count.": (
            lambda vectors: vectors[0],
            lambda vectors: vectors[-1],
        ),
        "You divided by the number of columns; divide by the number of words, "
        "`len(vectors)`.": lambda vectors: vectors.sum(axis=0) / vectors.shape[1],
        "You divided by one word less than there are; divide by `len(vectors)`.": (
            lambda vectors: vectors.sum(axis=0) / (len(vectors) - 1)
        ),
        "That is a table with one row; leave out `keepdims`, and it is a vector.": (
            lambda vectors: vectors.mean(axis=0, keepdims=True)
        ),
        "Your numbers are rounded; return the mean as it is.": (
            lambda vectors: vectors.mean(axis=0).round(),
            lambda vectors: vectors.mean(axis=0).round(1),
            lambda vectors: vectors.mean(axis=0).round(2),
            lambda vectors: vectors.mean(axis=0).round(3),
        ),
        "That comes from the page's `table`, whatever your function is given; use its "
        "argument, `vectors`.": (
            lambda vectors: TABLE.mean(axis=0),
            lambda vectors: TABLE.sum(axis=0) / len(vectors),
        ),
    },
    passed="A text of any length is one vector now, and two texts can be compared.",
)
def text_vector(vectors: np.ndarray) -> np.ndarray:
    """Add numbers one by one, unlike the page."""
    return np.array([sum(column) / len(column) for column in vectors.T.tolist()])
