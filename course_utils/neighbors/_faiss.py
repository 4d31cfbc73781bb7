"""Indexes of faiss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from course_utils.neighbors._common import (
    BLOCK,
    COSINE_ROUNDING,
    SPARE,
    BackendError,
    ParameterError,
    cosine_units,
    expect,
    padded,
)
from course_utils.neighbors._parameters import DEFAULTS

import numpy as np

N_PROBE = 16
QUANTIZERS = {"float16": "QT_fp16", "uint8": "QT_8bit_direct"}
# How often a graph links the rows that a search for themselves misses. Of pictures and
# sentences hardly one is left, of noise in hundreds of columns a few in a hundred.
LINK_ROUNDS = 3
SMALL_BATCH = 16  # faiss computes distances of fewer than 20 queries from differences


@contextmanager
def _omp_threads(faiss: Any, threads: int) -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


class Faiss:
    """An index of faiss; what it finds in scikit-learn's units."""

    dtype = np.float32

    def __init__(self, raw, kind, metric):
        self.raw, self.kind, self.metric = raw, kind, metric
        self._largest = None
        self.aside = np.empty(0, np.int64)

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
        n, d = rows.shape
        if kind == "flat":
            raw = faiss.IndexFlat(d, measure)
        elif kind == "hnsw":
            raw = cls._graph(faiss, d, measure, settings)
            raw.hnsw.efConstruction = settings["ef_construction"]
            raw.hnsw.rng = faiss.RandomGenerator(settings["seed"])
        else:
            raw = cls._lists(faiss, n, d, kind, measure, settings)
        with _omp_threads(faiss, threads):
            if not raw.is_trained:
                raw.train(padded(rows, raw.d))
            raw.add(padded(rows, raw.d))
            made = cls(raw, kind, metric)
            if kind == "hnsw":
                made._link_the_lost(faiss, rows)
        return made

    def _link_the_lost(self, faiss, rows):
        """Link each row that a search for it misses from where that search ends."""
        hnsw = self.raw.hnsw
        links = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
        offsets = faiss.vector_to_array(hnsw.offsets).astype(np.int64)
        room = hnsw.nb_neighbors(0)
        width = min(DEFAULTS["ef_search"], len(rows))
        params = faiss.SearchParametersHNSW(efSearch=width)
        lost, ends = self._lost(rows, np.arange(len(rows)), width, params)
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
            lost, ends = self._lost(rows, lost, width, params)
        if linked:  # a new link may lead searches for other rows astray
            lost, _ = self._lost(rows, np.arange(len(rows)), width, params)
        self.set_aside(lost)

    def set_aside(self, numbers):
        """Compare some of a graph's rows with every query, whatever links lead to."""
        self.aside = np.asarray(numbers, np.int64)
        if self.aside.size:
            rows = np.stack([self.raw.reconstruct(int(row)) for row in self.aside])
            self._side = self.build(rows, "flat", self.metric, {}, 1)

    def _lost(self, rows, numbers, width, params):
        """Those that find neither themselves nor their equals, and what they find."""
        lost, ends = [numbers[:0]], [np.empty((0, width), np.int64)]
        step = max(1, BLOCK // rows.shape[1])
        for start in range(0, len(numbers), step):
            some = numbers[start : start + step]
            asked = rows[some]
            raw, found = self.raw.search(asked, width, params=params)
            missed = (found != some[:, None]).all(axis=1)
            if self.metric in ("euclidean", "manhattan"):
                missed &= raw[:, 0] > 0
            else:
                own = np.einsum("ij,ij->i", asked, asked)
                missed &= raw[:, 0] < own * (1 - COSINE_ROUNDING)
            lost.append(some[missed])
            ends.append(found[missed])
        return np.concatenate(lost), np.concatenate(ends)

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
        n_lists = settings["n_lists"] or max(1, round(n**0.5))
        if n_lists > n:
            raise ParameterError(
                f"n_lists = {n_lists} is more than the {n} rows; choose fewer lists."
            )
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
        with _omp_threads(faiss, threads):
            if self.kind == "flat" and self.metric == "euclidean":
                raw, found = self._search_flat(faiss, rows, k)
            else:
                params = self._params(faiss, settings, k)
                raw, found = self.raw.search(rows, k, params=params)
            lacking = np.flatnonzero((found < 0).any(axis=1))
            if lacking.size:
                raw[lacking], found[lacking] = self._exhaustive(faiss, rows[lacking], k)
        distances = self._in_units(raw)
        if not self.aside.size:
            return distances, found
        distances[np.isin(found, self.aside)] = np.inf
        n_aside = min(k, len(self.aside))
        near, rows = self._side.search(rows, n_aside, settings, threads)
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
            width = max(k, min(settings["ef_search"], self.raw.ntotal))
            return faiss.SearchParametersHNSW(efSearch=width)
        if self.kind in ("ivf", "ivfpq"):
            n_probe = min(settings["n_probe"] or N_PROBE, self.raw.nlist)
            maker = (
                faiss.SearchParametersIVF
                if self.kind == "ivf"
                else faiss.IVFPQSearchParameters
            )
            return maker(nprobe=n_probe)
        return None

    def _exhaustive(self, faiss, rows, k):
        """Ask every row, where lists or graph led to fewer than k."""
        if self.kind == "hnsw":
            return faiss.downcast_index(self.raw.storage).search(rows, k)
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
        return cls(raw, kind, metric)

    def __getstate__(self):
        raw = self.library().serialize_index(self.raw)
        kept = {name: getattr(self, name) for name in ("kind", "metric", "aside")}
        return {"raw": raw} | kept

    def __setstate__(self, state):
        raw = self.library().deserialize_index(state["raw"])
        self.raw, self.kind, self.metric = raw, state["kind"], state["metric"]
        self._largest = None
        self.set_aside(state["aside"])
