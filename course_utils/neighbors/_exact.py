"""A small set, compared row by row."""

from __future__ import annotations

from course_utils.neighbors._common import BLOCK, SPARE, blank, cosine_units, expect
from course_utils.neighbors._faiss import Faiss

import numpy as np


class Exact:
    """Each row is compared with each query, in float64."""

    dtype = np.float64

    def __init__(self, raw, kind, metric):
        self.raw, self.kind, self.metric = raw, kind, metric

    @staticmethod
    def library():
        return Faiss.library()

    @classmethod
    def build(cls, rows, kind, metric, settings, threads):
        return cls(rows, kind, metric)

    def search(self, rows, k, settings, threads):
        distances = np.empty((len(rows), k))
        found = np.empty((len(rows), k), np.int64)
        n, d = self.raw.shape
        step = max(1, BLOCK // max(n, (k + SPARE) * d))
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            distances[some], found[some] = self._nearest(rows[some], k)
        return self._in_units(distances), found

    def _nearest(self, rows, k):
        """Take a few more by fast sums than are asked for, then compare these well."""
        most = min(k + SPARE, len(self.raw))
        rough, wrong = self._roughly(rows)
        found = np.sort(np.argpartition(rough, most - 1, axis=1)[:, :most], axis=1)
        last = np.take_along_axis(rough, found, axis=1).max(axis=1)
        far = self._measure(rows[:, None], self.raw[found])
        order = np.argsort(far, axis=1, kind="stable")[:, :k]
        far, found = (np.take_along_axis(a, order, axis=1) for a in (far, found))
        if most < len(self.raw):
            # Could one that was left out be as near? Then compare with all.
            for row in np.flatnonzero(far[:, -1] + wrong >= last):
                every = self._measure(rows[row], self.raw)
                found[row] = np.argsort(every, kind="stable")[:k]
                far[row] = every[found[row]]
        return far, found

    def _roughly(self, rows):
        """Compare all with all, and tell how wrong that may be for each row."""
        from sklearn.metrics.pairwise import manhattan_distances

        digits = 8 * (self.raw.shape[1] + 8) * np.finfo(np.float64).eps
        if self.metric == "manhattan":
            rough = manhattan_distances(rows, self.raw)
            return rough, digits * rough.max(axis=1)
        squares, theirs = (np.einsum("ij,ij->i", a, a) for a in (rows, self.raw))
        rough = rows @ self.raw.T
        wrong = digits * (squares + theirs.max())
        if self.metric == "dot":
            return -rough, wrong
        rough *= -2
        rough += squares[:, None]
        rough += theirs
        if self.metric != "euclidean":
            rough += blank(rows)[:, None] + blank(self.raw)
        return rough, wrong

    def _measure(self, rows, others):
        match self.metric:
            case "dot":
                return -(rows * others).sum(axis=-1)
            case "manhattan":
                return np.abs(rows - others).sum(axis=-1)
        gaps = ((rows - others) ** 2).sum(axis=-1)
        if self.metric == "euclidean":
            return gaps
        return gaps + blank(rows) + blank(others)

    def _in_units(self, distances):
        match self.metric:
            case "euclidean":
                return np.sqrt(distances)
            case "cosine" | "angular":
                return cosine_units(distances / 2, self.metric, 1e-30)
            case _:
                return distances

    def add(self, rows, settings, threads):
        self.raw = np.concatenate([self.raw, rows])

    def rows(self):
        return self.raw

    def n_rows(self):
        return len(self.raw)

    def write(self, path):
        with open(path, "wb") as stream:
            np.save(stream, self.raw, allow_pickle=False)

    @classmethod
    def read(cls, path, kind, metric, width):
        raw = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        expect(raw.ndim == 2 and raw.dtype == np.float64, "the index is no table")
        expect(np.isfinite(raw).all(), "some numbers of the index are not finite")
        expect(raw.shape[1] == width, "the index is of another width")
        return cls(raw, kind, metric)
