"""Votes of neighbours, and what each weighs."""

from __future__ import annotations

from typing import Any

from course_utils.neighbors._common import ParameterError

import numpy as np


def vote(
    labels: np.ndarray, n_classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Add up the neighbours' votes of all rows at once.

    Parameters
    ----------
    labels : int array of shape (n_queries, n_neighbors)
        Positions in the list of classes, each in [0, n_classes).
    n_classes : int
        Columns of the result.
    weights : float array of shape (n_queries, n_neighbors), optional
        What each vote counts; 1 without.

    Returns
    -------
    array of shape (n_queries, n_classes)
        Votes for each class; float64 with weights, int64 without.

    Examples
    --------
    >>> vote(np.array([[1, 1, 0], [2, 0, 2]]), 3)
    array([[1, 2, 0],
           [1, 0, 2]])
    """
    n_queries = len(labels)
    # Each query gets a stretch of n_classes counters of its own.
    counters = labels + n_classes * np.arange(n_queries)[:, None]
    votes = np.bincount(
        counters.ravel(),
        None if weights is None else weights.ravel(),
        minlength=n_queries * n_classes,
    )
    return votes.reshape(n_queries, n_classes)


def inverse(distances: np.ndarray) -> np.ndarray:
    """Weights 1 / distance; in a row with distances of 0, only these count."""
    with np.errstate(divide="ignore"):
        weights = 1 / distances
    same = np.isinf(weights)
    touching = same.any(axis=1)
    weights[touching] = same[touching]
    return weights


def checked_weights(weights: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Weights as an array that votes can be counted with."""
    weights = np.asarray(weights, dtype=float)
    if weights.shape != shape:
        raise ParameterError(
            f"The function given as weights returned shape {weights.shape} for "
            f"distances of shape {shape}; return one weight for each distance."
        )
    if not np.all(np.isfinite(weights)) or weights.min() < 0:
        raise ParameterError(
            "The function given as weights returned negative numbers, NaN or "
            "infinity; return finite weights, 0 or larger."
        )
    if not np.all(weights.any(axis=1)):
        raise ParameterError(
            "The function given as weights gave all neighbours of some row the weight "
            "0; let far neighbours count a little, or scale the distances."
        )
    return weights
