"""Rows of a graph that no search finds, and links to them."""

from __future__ import annotations

from typing import Any

from course_utils.neighbors._common import BLOCK, COSINE_ROUNDING
from course_utils.neighbors._parameters import DEFAULTS

import numpy as np

# How often a graph links the rows that a search for themselves misses. Of pictures and
# sentences hardly one is left, of noise in hundreds of columns a few in a hundred.
LINK_ROUNDS = 3


def link_the_lost(
    faiss: Any, graph: Any, rows: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Link each row that a search for it misses from where that search ends.

    Parameters
    ----------
    faiss : module
    graph : faiss.IndexHNSW
        Its links are changed in place.
    rows : float32 array of shape (n, n_columns)
        What the graph holds.
    held : int array
        Numbers of the rows that have to be found.

    Returns
    -------
    int array
        Those that no link helps, in ascending order.
    """
    hnsw = graph.hnsw
    links = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
    offsets = faiss.vector_to_array(hnsw.offsets).astype(np.int64)
    room = hnsw.nb_neighbors(0)
    gaps = graph.metric_type != faiss.METRIC_INNER_PRODUCT
    width = min(DEFAULTS["ef_search"], len(rows))
    params = faiss.SearchParametersHNSW(efSearch=width)
    lost, ends = _lost(graph, rows, held, width, params, gaps)
    linked = 0
    while lost.size and linked < LINK_ROUNDS:
        for row, near in zip(lost, ends, strict=True):
            near = near[near >= 0]
            slots = offsets[near][:, None] + np.arange(room)
            free = np.argwhere(links[slots] < 0)
            # Where all are taken, another one goes in each round.
            other = linked % len(slots), -1 - linked % room
            links[slots[*(free[0] if free.size else other)]] = row
        linked += 1
        lost, ends = _lost(graph, rows, lost, width, params, gaps)
    if linked:  # a new link may lead searches for other rows astray
        lost, _ = _lost(graph, rows, held, width, params, gaps)
    return lost


def _lost(graph, rows, numbers, width, params, gaps):
    """Those that find neither themselves nor their equals, and what they find."""
    lost, ends = [numbers[:0]], [np.empty((0, width), np.int64)]
    step = max(1, BLOCK // rows.shape[1])
    for start in range(0, len(numbers), step):
        some = numbers[start : start + step]
        asked = rows[some]
        raw, found = graph.search(asked, width, params=params)
        missed = (found != some[:, None]).all(axis=1)
        if gaps:
            missed &= raw[:, 0] > 0
        else:
            own = np.einsum("ij,ij->i", asked, asked)
            missed &= raw[:, 0] < own * (1 - COSINE_ROUNDING)
        lost.append(some[missed])
        ends.append(found[missed])
    return np.concatenate(lost), np.concatenate(ends)
