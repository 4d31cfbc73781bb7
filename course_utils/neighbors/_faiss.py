"""Indexes of faiss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from course_utils.neighbors._common import (
    BLOCK,
    SPARE,
    BackendError,
    ParameterError,
    cosine_units,
    expect,
    padded,
)
from course_utils.neighbors._links import link_the_lost

import numpy as np

N_PROBE = 16
QUANTIZERS = {"float16": "QT_fp16", "uint8": "QT_8bit_direct"}
SMALL_BATCH = 16  # faiss computes distances of fewer than 20 queries from differences


@contextmanager
def omp_threads(faiss: Any, threads: int) -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def check_n_lists(n_lists: int | None, n: int) -> int:
    """Give the number of lists for n rows."""
    n_lists = n_lists or max(1, round(n**0.5))
    if n_lists > n:
        raise ParameterError(
            f"n_lists = {n_lists} is more than the {n} rows; choose fewer lists."
        )
    return n_lists


class Faiss:
    """An index of faiss; what it finds in scikit-learn's units."""

    dtype = np.float32

    def __init__(self, raw, kind, metric):
        self.kind, self.metric = kind, metric
        self._largest, self._allowed = None, None
        self.aside = self.removed = np.empty(0, np.int64)
        self.mapped = False  # a file, which is not to be written to
        self._take(raw)

    def _take(self, raw):
        self.raw = raw

    @staticmethod
    def library():
        try:
            import faiss
        except ImportError:
            raise BackendError(
                "faiss is not installed: run `pip install faiss-cpu==1.15.1`, or "
                "choose backend='annoy'."
            ) from None
        return faiss

    @classmethod
    def build(cls, rows, kind, metric, settings, threads):
        faiss = cls.library()
        measure = cls._measure(faiss, metric)
        raw = cls.empty(len(rows), rows.shape[1], kind, measure, settings)
        with omp_threads(faiss, threads):
            if not raw.is_trained:
                raw.train(padded(rows, raw.d))
            raw.add(padded(rows, raw.d))
            made = cls(raw, kind, metric)
            if kind == "hnsw":
                made._link_the_lost(faiss, rows)
        return made

    def _link_the_lost(self, faiss, rows):
        """Link what no search finds; what stays lost is compared with every query."""
        held = np.setdiff1d(np.arange(len(rows)), self.removed)
        self.set_aside(link_the_lost(faiss, self.raw, rows, held))

    def set_aside(self, numbers):
        """Compare some of a graph's rows with every query, whatever links lead to."""
        self.aside = np.asarray(numbers, np.int64)
        if self.aside.size:
            whole = self._whole()
            rows = np.stack([whole.reconstruct(int(row)) for row in self.aside])
            self._side = Faiss.build(rows, "flat", self.metric, {}, 1)

    def _whole(self):
        """Return the part of the index that gives whole rows."""
        return self.raw

    def set_removed(self, numbers):
        """Leave rows out of what a search finds; a graph walks across them."""
        faiss = self.library()
        self.removed = np.asarray(numbers, np.int64)
        allowed = np.ones(self.n_rows(), bool)
        allowed[self.removed] = False
        bits = np.packbits(allowed, bitorder="little")
        self._allowed = faiss.IDSelectorBitmap(bits) if self.removed.size else None
        self.set_aside(np.setdiff1d(self.aside, self.removed))

    def add(self, rows, settings, threads):
        """Add rows, which get the next numbers."""
        faiss = self.library()
        self._own(faiss)
        with omp_threads(faiss, threads):
            self.raw.add(rows)
            self._largest = None
            self.set_removed(self.removed)
            if self.kind == "hnsw":
                self._link_the_lost(faiss, self.rows())

    def _own(self, faiss):
        if self.mapped:
            self._take(faiss.deserialize_index(faiss.serialize_index(self.raw)))
            self.mapped = False

    @classmethod
    def empty(cls, n, d, kind, measure, settings):
        """Make an index for n rows of d columns, without rows."""
        faiss = cls.library()
        if kind == "flat":
            return faiss.IndexFlat(d, measure)
        if kind != "hnsw":
            return cls._lists(faiss, n, d, kind, measure, settings)
        raw = cls._graph(faiss, d, measure, settings)
        raw.hnsw.efConstruction = settings["ef_construction"]
        raw.hnsw.rng = faiss.RandomGenerator(settings["seed"])
        return raw

    @staticmethod
    def _measure(faiss, metric):
        measures = {"euclidean": faiss.METRIC_L2, "manhattan": faiss.METRIC_L1}
        return measures.get(metric, faiss.METRIC_INNER_PRODUCT)

    @staticmethod
    def _graph(faiss, d, measure, settings):
        n_links, storage = settings["n_links"], settings["storage"]
        if storage == "float32":
            return faiss.IndexHNSWFlat(d, n_links, measure)
        kind = getattr(faiss.ScalarQuantizer, QUANTIZERS[storage])
        return faiss.IndexHNSWSQ(d, kind, n_links, measure)

    @staticmethod
    def _lists(faiss, n, d, kind, measure, settings):
        n_lists = check_n_lists(settings["n_lists"], n)
        if kind == "ivf":
            raw = faiss.IndexIVFFlat(faiss.IndexFlat(d, measure), d, n_lists, measure)
        else:
            n_bytes = settings["n_bytes"] or -(-d // 4)
            if n_bytes > d:
                raise ParameterError(
                    f"n_bytes = {n_bytes} is more than the {d} columns; choose fewer."
                )
            if n < 2:
                raise ParameterError(
                    f"index='ivfpq' learns its codes from the rows, and n_samples = "
                    f"{n}; fit at least 2, better 10,000."
                )
            # faiss wants parts of one width: columns of zeros fill the last one.
            d = n_bytes * -(-d // n_bytes)
            bits = min(8, n.bit_length() - 1)
            quantizer = faiss.IndexFlat(d, measure)
            raw = faiss.IndexIVFPQ(quantizer, d, n_lists, n_bytes, bits, measure)
            raw.pq.cp.seed = settings["seed"]
            raw.pq.cp.niter = 10  # as for the lists; faiss's 25 find hardly more
            raw.pq.cp.min_points_per_centroid = 1
        raw.cp.seed = settings["seed"]
        raw.cp.min_points_per_centroid = 1  # or faiss warns on standard error
        return raw

    def search(self, rows, k, settings, threads):
        faiss = self.library()
        rows = padded(rows, self.raw.d)
        with omp_threads(faiss, threads):
            if self.kind == "flat" and self.metric == "euclidean":
                raw, found = self._search_flat(faiss, rows, k)
            else:
                params = self._params(faiss, settings, k)
                raw, found = self.raw.search(rows, k, params=params)
            lacking = np.flatnonzero((found < 0).any(axis=1))
            if lacking.size:
                raw[lacking], found[lacking] = self._exhaustive(faiss, rows[lacking], k)
        return self._with_aside(self._in_units(raw), found, rows, k, threads)

    def _with_aside(self, distances, found, rows, k, threads):
        if not self.aside.size:
            return distances, found
        distances[np.isin(found, self.aside)] = np.inf
        n_aside = min(k, len(self.aside))
        near, rows = self._side.search(rows, n_aside, {}, threads)
        distances = np.hstack([distances, near])
        found = np.hstack([found, self.aside[rows]])
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return tuple(np.take_along_axis(a, order, axis=1) for a in (distances, found))

    def _search_flat(self, faiss, rows, k):
        """Take a few more than are asked for, and compare these well.

        For many queries faiss computes |a|² + |b|² - 2ab, where digits cancel.
        """
        most = min(k + SPARE, self.raw.ntotal)
        raw, found = self.raw.search(rows, most)
        last = raw[:, -1].copy()
        raw, found = (a[:, :k] for a in self._refine(faiss, rows, raw, found))
        if most == self.raw.ntotal:
            return raw, found
        squares = np.einsum("ij,ij->i", rows, rows)
        wrong = (8 + rows.shape[1] ** 0.5) * np.finfo(np.float32).eps
        wrong = wrong * (squares + self._largest_square(faiss))
        # Could one that was left out be nearer? Small batches use differences.
        unsure = np.flatnonzero(raw[:, -1] + wrong > last)
        for start in range(0, len(unsure), SMALL_BATCH):
            some = unsure[start : start + SMALL_BATCH]
            raw[some], found[some] = self._refine(
                faiss, rows[some], *self.raw.search(rows[some], k)
            )
        return raw, found

    def _largest_square(self, faiss):
        if self._largest is None:
            stored = self._stored(faiss)
            self._largest = np.einsum("ij,ij->i", stored, stored).max(initial=0)
        return self._largest

    def _params(self, faiss, settings, k):
        if self.kind == "hnsw":
            n = self.n_rows()
            # A walk also keeps removed rows as candidates.
            width = settings["ef_search"] * n // (n - len(self.removed))
            width = max(k, min(width, n))
            return faiss.SearchParametersHNSW(efSearch=width, sel=self._allowed)
        if self.kind in ("ivf", "ivfpq"):
            n_probe = min(settings["n_probe"] or N_PROBE, self._n_lists())
            maker = (
                faiss.SearchParametersIVF
                if self.kind == "ivf"
                else faiss.IVFPQSearchParameters
            )
            return maker(nprobe=n_probe, sel=self._allowed)
        return None

    def _exhaustive(self, faiss, rows, k):
        """Ask every row, where lists or graph led to fewer than k."""
        if self.kind == "hnsw":
            every = faiss.SearchParameters(sel=self._allowed)
            storage = faiss.downcast_index(self.raw.storage)
            return storage.search(rows, k, params=every)
        everywhere = self._params(faiss, {"n_probe": self.raw.nlist}, k)
        return self.raw.search(rows, k, params=everywhere)

    def _stored(self, faiss):
        flat = self.raw if self.kind == "flat" else self.raw.storage
        flat = faiss.downcast_index(flat)
        numbers = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d)
        return numbers.reshape(flat.ntotal, flat.d)

    def _refine(self, faiss, rows, raw, found):
        """Distances from differences: faiss takes |a|² + |b|² - 2ab in batches."""
        stored = self._stored(faiss)
        step = max(1, BLOCK // (found.shape[1] * rows.shape[1]))
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            gap = stored[found[some]]
            gap -= rows[some, None]
            raw[some] = np.einsum("ijk,ijk->ij", gap, gap)
        order = np.argsort(raw, axis=1, kind="stable")
        return tuple(np.take_along_axis(a, order, axis=1) for a in (raw, found))

    def _in_units(self, raw):
        raw = raw.astype(np.float64)
        match self.metric:
            case "euclidean":
                return np.sqrt(np.maximum(raw, 0, out=raw), out=raw)
            case "manhattan":
                return raw
            case "dot":
                return -raw
            case _:
                return cosine_units(1 - raw, self.metric)

    def rows(self):
        faiss = self.library()
        if self.kind == "flat" or isinstance(self.raw, faiss.IndexHNSWFlat):
            return self._stored(faiss)
        if self.kind == "ivfpq":
            raise ParameterError(
                "index='ivfpq' keeps codes in place of its rows, so it cannot ask for "
                "their neighbours by itself; pass X."
            )
        return self.raw.reconstruct_n(0, self.raw.ntotal)

    def n_rows(self):
        return self.raw.ntotal

    def _n_lists(self):
        return self.raw.nlist

    def write(self, path):
        self.library().write_index(self.raw, str(path))

    @classmethod
    def read(cls, path, kind, metric, width):
        faiss = cls.library()
        raw = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        parts = {"flat": "Flat", "hnsw": "HNSW", "ivf": "IVFFlat", "ivfpq": "IVFPQ"}
        measure = cls._measure(faiss, metric)
        expect(
            isinstance(raw, getattr(faiss, f"Index{parts[kind]}"))
            and raw.metric_type == measure
            and raw.is_trained,
            "the index is of another kind",
        )
        expect(
            raw.d == width or (raw.d > width and kind == "ivfpq"),
            "the index is of another width",
        )
        made = cls(raw, kind, metric)
        made.mapped = True
        return made

    def __getstate__(self):
        raw = self.library().serialize_index(self.raw)
        names = ("kind", "metric", "aside", "removed")
        return {"raw": raw} | {name: getattr(self, name) for name in names}

    def __setstate__(self, state):
        raw = self.library().deserialize_index(state["raw"])
        self.__dict__ = type(self)(raw, state["kind"], state["metric"]).__dict__
        self.set_aside(state["aside"])
        self.set_removed(state["removed"])
