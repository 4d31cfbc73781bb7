"""An index over short codes of the rows, and exact distances of what it finds."""

from __future__ import annotations

from typing import Any

from course_utils.neighbors._common import BLOCK, expect
from course_utils.neighbors._faiss import Faiss, check_n_lists, omp_threads
from course_utils.neighbors._links import link_the_lost
from course_utils.neighbors._parameters import DEFAULTS

import numpy as np
from threadpoolctl import threadpool_limits

PCA_ROWS = 20_000  # rows that the directions are learned from
BYTES = 255.0
REACH = 99.99  # percentage of the numbers whose size the bytes cover
GROUP = 16  # faiss compares bytes that many at once
# With more rows lost among equal codes, numbers of four bytes take the bytes' place.
MOST_LOST = 0.01


class Reranked(Faiss):
    """Candidates by codes in a graph or in lists; their order by whole rows.

    `raw` is a ``faiss.IndexRefine``: a linear transform, an index over what it gives,
    and the whole rows. Each is called by itself: NumPy's matrix product takes a third
    of the time of the one that comes with faiss, and numbers beyond a byte are clipped.
    """

    def _take(self, raw):
        self.raw = raw
        faiss = self.library()
        before = faiss.downcast_index(raw.base_index)
        self.codes = faiss.downcast_index(before.index)
        self.full = faiss.downcast_index(raw.refine_index)
        linear = faiss.downcast_VectorTransform(before.chain.at(0))
        shape = linear.d_out, linear.d_in
        self._matrix = faiss.vector_to_array(linear.A).reshape(shape).T
        self._offset = faiss.vector_to_array(linear.b)
        self._in_bytes = _in_bytes(faiss, self.codes)

    @classmethod
    def build(cls, rows, kind, metric, settings, threads):
        faiss = cls.library()
        with threadpool_limits(threads):  # of what computes the directions
            matrix, offset = _directions(rows, settings)
        with omp_threads(faiss, threads):
            for storage in (settings["storage"], "float32"):
                codes = settings | {"storage": storage}
                made = cls._over_codes(faiss, rows, kind, metric, codes, matrix, offset)
                lost = made._find_lost(rows, settings, threads)
                # Do short numbers fail to tell these rows apart?
                if len(lost) <= MOST_LOST * len(rows) or not made._short():
                    break
        made.set_aside(lost)
        return made

    def _short(self):
        """Whether codes take less than four bytes a number."""
        faiss = self.library()
        whole = faiss.IndexFlat, faiss.IndexHNSWFlat, faiss.IndexIVFFlat
        return not isinstance(self.codes, (*whole, faiss.IndexIVFPQ))

    @classmethod
    def _over_codes(cls, faiss, rows, kind, metric, settings, matrix, offset):
        d, n_components = matrix.shape
        # Columns of zeros fill the last group.
        width = -(-n_components // GROUP) * GROUP
        inner = _inner(faiss, kind, len(rows), width, settings)
        width = inner.d  # ivfpq takes parts of one width
        linear = faiss.LinearTransform(d, width, True)
        whole = np.zeros((width, d), np.float32)
        start = np.zeros(width, np.float32)
        whole[:n_components], start[:n_components] = matrix.T, offset
        if _in_bytes(faiss, inner):
            sizes = np.abs(rows[:: max(1, len(rows) // PCA_ROWS)] @ matrix + offset)
            scale = (BYTES / 2) / (np.percentile(sizes, REACH) or 1)
            whole, start = whole * scale, start * scale + (BYTES + 1) / 2
        faiss.copy_array_to_vector(whole.astype(np.float32).ravel(), linear.A)
        faiss.copy_array_to_vector(start.astype(np.float32), linear.b)
        linear.is_trained = True
        full = faiss.IndexFlatL2(d)
        raw = faiss.IndexRefine(faiss.IndexPreTransform(linear, inner), full)
        made = cls(raw, kind, metric)
        short = made._shorten(rows)
        if not inner.is_trained:
            inner.train(short)
        inner.add(short)
        full.add(rows)
        raw.base_index.ntotal = raw.ntotal = len(rows)
        raw.base_index.is_trained = raw.is_trained = True
        if kind == "hnsw":
            link_the_lost(faiss, inner, short, np.arange(len(rows)))
        return made

    def _find_lost(self, rows, settings, threads, numbers=None):
        """Those whose own search finds neither them nor a row at distance 0."""
        numbers = np.arange(len(rows)) if numbers is None else numbers
        settings = settings | {"ef_search": DEFAULTS["ef_search"]}
        step = max(1, BLOCK // rows.shape[1])
        lost = [numbers[:0]]
        for start in range(0, len(numbers), step):
            some = numbers[start : start + step]
            distances, found = self.search(rows[some], 1, settings, threads)
            lost.append(some[(found[:, 0] != some) & (distances[:, 0] > 0)])
        return np.concatenate(lost)

    def _shorten(self, rows):
        """Turn rows into what the index takes: components, for bytes whole numbers."""
        short = rows @ self._matrix
        short += self._offset
        if self._in_bytes:
            np.clip(short, 0, BYTES, out=short)
            np.floor(short, out=short)
        return np.ascontiguousarray(short)

    def search(self, rows, k, settings, threads):
        faiss = self.library()
        n_held = self.n_rows() - len(self.removed)
        most = min(k * settings["rerank"], n_held)
        params = self._params(faiss, settings, most)
        with omp_threads(faiss, threads):
            found = self.codes.search(self._shorten(rows), most, params=params)[1]
            lacking = np.flatnonzero(found[:, k - 1] < 0)
            empty = found < 0
            far = self._measure_found(faiss, rows, np.where(empty, 0, found))
            distances = self._in_units(far)
            distances[empty] = np.inf
            found, distances = _nearest(found, distances, k)
            if lacking.size:
                every = faiss.SearchParameters(sel=self._allowed)
                some = self.full.search(rows[lacking], k, params=every)[1]
                far = self._in_units(self._measure_found(faiss, rows[lacking], some))
                found[lacking], distances[lacking] = _nearest(some, far, k)
        return self._with_aside(distances, found, rows, k, threads)

    def _measure_found(self, faiss, rows, found):
        """Compare each query with what was found for it, in whole rows."""
        measure = faiss.fvec_inner_products_by_idx
        if self.metric == "euclidean":
            measure = faiss.fvec_L2sqr_by_idx
        far = np.empty(found.shape, np.float32)
        rows, found = (np.ascontiguousarray(a) for a in (rows, found))
        far_to, queries, numbers = map(faiss.swig_ptr, (far, rows, found))
        whole = self.full.get_xb()
        measure(far_to, queries, whole, numbers, self.full.d, *found.shape)
        return far

    def add(self, rows, settings, threads):
        faiss = self.library()
        self._own(faiss)
        with omp_threads(faiss, threads):
            self.codes.add(self._shorten(rows))
            self.full.add(rows)
            n = self.full.ntotal
            self.raw.base_index.ntotal = self.raw.ntotal = n
            self.set_aside([])
            self.set_removed(self.removed)
            rows, held = self.rows(), np.setdiff1d(np.arange(n), self.removed)
            if self.kind == "hnsw":
                link_the_lost(faiss, self.codes, self._shorten(rows), held)
            self.set_aside(self._find_lost(rows, settings, threads, held))

    def _whole(self):
        return self.full

    def rows(self):
        faiss = self.library()
        numbers = faiss.rev_swig_ptr(self.full.get_xb(), self.full.ntotal * self.full.d)
        return numbers.reshape(self.full.ntotal, self.full.d)

    def n_rows(self):
        return self.full.ntotal

    def _n_lists(self):
        return self.codes.nlist

    @classmethod
    def read(cls, path, kind, metric, width):
        faiss = cls.library()
        raw = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        kinds = {
            "flat": (faiss.IndexFlat, faiss.IndexScalarQuantizer),
            "hnsw": (faiss.IndexHNSWFlat, faiss.IndexHNSWSQ),
            "ivf": (faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer),
            "ivfpq": (faiss.IndexIVFPQ,),
        }
        other = "the index is of another kind"
        expect(isinstance(raw, faiss.IndexRefine), other)
        full = faiss.downcast_index(raw.refine_index)
        before = faiss.downcast_index(raw.base_index)
        expect(isinstance(full, faiss.IndexFlat), other)
        expect(full.metric_type == faiss.METRIC_L2 and full.d == width, other)
        expect(isinstance(before, faiss.IndexPreTransform), other)
        expect(before.chain.size() == 1, other)
        linear = faiss.downcast_VectorTransform(before.chain.at(0))
        codes = faiss.downcast_index(before.index)
        expect(isinstance(linear, faiss.LinearTransform) and linear.have_bias, other)
        expect((linear.d_in, linear.d_out) == (width, codes.d), other)
        expect(isinstance(codes, kinds[kind]) and codes.is_trained, other)
        expect(codes.metric_type == faiss.METRIC_L2, other)
        expect(codes.ntotal == full.ntotal, other)
        made = cls(raw, kind, metric)
        made.mapped = True
        return made


def _directions(rows: np.ndarray, settings: dict[str, Any]) -> tuple:
    """Principal components of a part of the rows, turned at random among themselves.

    Turned, each column has about the same size, and one scale suits all.
    """
    some = rows[:: max(1, len(rows) // PCA_ROWS)].astype(np.float64)
    mean = some.mean(axis=0)
    some -= mean
    size = np.abs(some).max(initial=0) or 1.0
    some /= size
    vectors = np.linalg.eigh(some.T @ some)[1]
    n_components = settings["n_components"]
    rng = np.random.default_rng(settings["seed"])
    turn, _ = np.linalg.qr(rng.normal(size=(n_components, n_components)))
    matrix = vectors[:, ::-1][:, :n_components] @ turn
    return matrix, -mean @ matrix


def _inner(faiss, kind, n, width, settings):
    """Make an index over codes of that many components, without rows."""
    if settings["storage"] == "uint8" and kind == "flat":
        return faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_8bit_direct)
    if settings["storage"] == "uint8" and kind == "ivf":
        quantizer = faiss.ScalarQuantizer.QT_8bit_direct
        n_lists = check_n_lists(settings["n_lists"], n)
        centers = faiss.IndexFlatL2(width)
        inner = faiss.IndexIVFScalarQuantizer(
            centers, width, n_lists, quantizer, faiss.METRIC_L2, False
        )
        inner.cp.seed = settings["seed"]
        inner.cp.min_points_per_centroid = 1  # or faiss warns on standard error
        return inner
    return Faiss.empty(n, width, kind, faiss.METRIC_L2, settings)


def _in_bytes(faiss, codes):
    """Whether the numbers of that index are whole, from 0 to 255."""
    if isinstance(codes, faiss.IndexHNSW):
        codes = faiss.downcast_index(codes.storage)
    quantizer = getattr(codes, "sq", None)
    return quantizer is not None and quantizer.qtype == quantizer.QT_8bit_direct


def _nearest(found, distances, k):
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return tuple(np.take_along_axis(a, order, axis=1) for a in (found, distances))
