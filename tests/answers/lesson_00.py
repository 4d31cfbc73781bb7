"""Answers to the first page's exercise."""

from __future__ import annotations

from tests.answers import Answers

import numpy as np

ANSWERS = {
    "text_vector": Answers(
        right=[
            lambda vectors: sum(vectors) / len(vectors),
            lambda vectors: [float(np.mean(column)) for column in vectors.T],
            lambda vectors: np.ones(len(vectors)) @ vectors / len(vectors),
        ],
        wrong=[
            (lambda vectors: None, "returned None"),
            (lambda vectors: np.median(vectors, axis=0), "I expected"),
            (lambda vectors: vectors.means(axis=0), "no attribute"),
        ],
    ),
}
