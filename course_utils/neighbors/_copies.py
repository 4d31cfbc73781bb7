"""Equal rows, held once and found each."""

from __future__ import annotations

import numpy as np


def fold(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows that differ, in their order, and the number of each row's among them."""
    keys = rows + rows.dtype.type(0)  # -0 becomes 0
    keys = keys.view(np.dtype((np.void, keys.itemsize * keys.shape[1])))[:, 0]
    _, first, groups = np.unique(keys, return_index=True, return_inverse=True)
    if len(first) == len(rows):
        return rows, None
    order = np.argsort(first)
    numbers = np.empty(len(first), np.int64)
    numbers[order] = np.arange(len(first))
    return rows[first[order]], numbers[groups]


class Copies:
    """Which rows are equal: an index holds one of each group; -1 is a removed row."""

    def __init__(self, groups, n_groups):
        self.groups = groups
        self.numbers = np.flatnonzero(groups >= 0)
        held = groups[self.numbers]
        self.members = self.numbers[np.argsort(held, kind="stable")]
        self.sizes = np.bincount(held, minlength=n_groups)
        self.starts = np.cumsum(self.sizes) - self.sizes

    def unfold(self, distances, found, k):
        """Put all rows of each group in its place, and keep the first k."""
        queries = np.arange(len(found))
        place, used = np.zeros((2, len(found)), np.int64)
        far = np.empty((len(found), k))
        rows = np.empty((len(found), k), np.int64)
        for column in range(k):
            group = found[queries, place]
            far[:, column] = distances[queries, place]
            rows[:, column] = self.members[self.starts[group] + used]
            used += 1
            done = used == self.sizes[group]
            used[done] = 0
            place = np.minimum(place + done, found.shape[1] - 1)
        return far, rows
