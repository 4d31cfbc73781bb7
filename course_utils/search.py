"""Search among vectors by cosine: how good its results are, and how fast one is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

KS = (5, 10, 25, 50, 100, 250)
# So many queries at a time: a table of all against all would fill the memory.
BLOCK = 500


def nearest(
    queries: np.ndarray, index: np.ndarray, itself: np.ndarray | None = None
) -> np.ndarray:
    """Sort the rows of an index by falling cosine, for each query.

    Parameters
    ----------
    queries : numpy.ndarray of shape (n_queries, width)
        Vectors of length 1.
    index : numpy.ndarray of shape (n, width)
        Vectors of length 1.
    itself : numpy.ndarray of shape (n_queries,), int, optional
        Rows of the queries in the index, which are left out.

    Returns
    -------
    numpy.ndarray of shape (n_queries, n) or (n_queries, n - 1), int
        Rows of the index.
    """
    cosine = queries @ index.T
    if itself is None:
        return np.argsort(-cosine, axis=1)
    cosine[np.arange(len(queries)), itself] = -2  # less than any cosine: sorted last
    return np.argsort(-cosine, axis=1)[:, :-1]


def search_scores(vectors: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Score each item's search for items of its label among all others.

    Parameters
    ----------
    vectors : numpy.ndarray of shape (n, width)
        Of length 1, more than 250 of them. Each is a query, the others are its index.
    labels : numpy.ndarray of shape (n,), int
        Labels from 0 on; a result is relevant if it has the query's.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n,)
        ``"precision@k"`` for each k of `KS`; ``"R-precision"``, which is precision at
        the number of relevant items; and ``"nDCG@10"``.

    References
    ----------
    Järvelin and Kekäläinen (2002), *Cumulated Gain-Based Evaluation of IR Techniques*,
    ACM Transactions on Information Systems 20(4).
    """
    sizes, parts = np.bincount(labels), []
    discount = 1 / np.log2(np.arange(2, 12))
    for rows in np.array_split(np.arange(len(labels)), len(labels) // BLOCK + 1):
        found = labels[nearest(vectors[rows], vectors, rows)]
        hits = found == labels[rows][:, None]
        relevant = sizes[labels[rows]] - 1
        ideal = np.cumsum(discount)[np.clip(relevant, 1, 10) - 1]
        counts, each = hits.cumsum(axis=1), np.arange(len(rows))
        at_r = np.maximum(relevant, 1)
        part = [counts[:, k - 1] / k for k in KS]
        part += [counts[each, at_r - 1] / at_r, hits[:, :10] @ discount / ideal]
        parts.append(part)
    names = [f"precision@{k}" for k in KS] + ["R-precision", "nDCG@10"]
    return dict(zip(names, np.concatenate(parts, axis=1), strict=True))


def seconds_of(work: Callable[[], Any], calls: int = 3) -> tuple[float, Any]:
    """Time some calls, and keep what was returned.

    Parameters
    ----------
    work : callable
        Takes nothing.
    calls : int
        How many times it is called; the fastest call counts.

    Returns
    -------
    tuple of float and any
        Seconds, and what the last call returned.
    """
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        made = work()
        times.append(time.perf_counter() - start)
    return min(times), made
