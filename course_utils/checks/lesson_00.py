"""Check of the first page's exercise."""

from __future__ import annotations

from collections.abc import Iterator

from course_utils.checks.cases import Case, reference

import numpy as np


def _texts() -> Iterator[Case]:
    rng = np.random.default_rng(3)
    for n_words, dim in ((2, 3), (7, 4), (1, 5)):
        yield Case(rng.normal(size=(n_words, dim)).round(1))


@reference(
    "0.1",
    hints=[
        "`vectors` has a row a word. Which axis runs over the words?",
        "`vectors.mean()` is a single number: `mean` takes an `axis`.",
        "`vectors.mean(axis=0)`",
    ],
    cases=_texts,
    mistakes={
        "That is the sum: divide it by the number of words.": (
            lambda vectors: vectors.sum(axis=0)
        ),
        "That is one number a word. You want one number a column: take the mean over "
        "the words, axis 0.": lambda vectors: vectors.mean(axis=1),
        "That is a single number: take the mean of each column, over the words.": (
            lambda vectors: vectors.mean()
        ),
        "Those are the numbers of one word; all words of the text count.": (
            lambda vectors: vectors[0],
            lambda vectors: vectors[-1],
        ),
    },
    passed="A text of any length is one vector now, and two texts can be compared.",
)
def text_vector(vectors: np.ndarray) -> np.ndarray:
    """Add numbers one by one, unlike the page."""
    return np.array([sum(column) / len(column) for column in vectors.T.tolist()])
