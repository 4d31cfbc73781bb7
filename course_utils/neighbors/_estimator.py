"""A classifier by the vote of nearest neighbours, with scikit-learn's API."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from course_utils.neighbors._annoy import Annoy
from course_utils.neighbors._changes import Changes
from course_utils.neighbors._common import BLOCK, ParameterError, is_narrow, unit_rows
from course_utils.neighbors._copies import Copies, fold
from course_utils.neighbors._exact import Exact
from course_utils.neighbors._faiss import Faiss
from course_utils.neighbors._parameters import APPLIES_TO, DEFAULTS, Parameters
from course_utils.neighbors._reranked import Reranked
from course_utils.neighbors._store import FITTED, Stored
from course_utils.neighbors._votes import checked_weights, inverse, vote

import numpy as np
from joblib import effective_n_jobs
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

# Up to this many different rows, comparing all takes less time than building a graph
# and asking it a few thousand queries: `course bench 7` measures it.
EXACT_ROWS = 5_000
MOST_SQUARE = float(np.finfo(np.float32).max) / 4

# OpenMP's threads do not survive a fork: in the child, faiss works without them.
_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


class FastANN(Changes, Stored, Parameters, ClassifierMixin, BaseEstimator):
    """Classifier by the vote of approximate nearest neighbours.

    A drop-in relative of `sklearn.neighbors.KNeighborsClassifier` whose search
    is done by annoy or faiss, with distances in float32. A small set is searched
    exactly, in float64.

    Parameters
    ----------
    n_neighbors : int, default=5
        Neighbours that vote.
    n_trees : int, optional
        annoy: number of trees, 100 by default. More trees find more and take
        more memory.
    metric : {"euclidean", "manhattan", "cosine", "angular", "dot"}
        Distances come in scikit-learn's units: euclidean not squared, cosine as
        1 - cos. ``"angular"`` is annoy's, ``sqrt(2 (1 - cos))``, the euclidean
        distance of unit vectors. ``"dot"`` is minus the inner product, so that
        small means near here too; scikit-learn has no such metric. Trees and
        graphs find fewer of the largest products than of the nearest rows.
    backend : {"faiss", "annoy"}
        Imported on use; annoy is an optional extra of the course.
    index : {"auto", "flat", "hnsw", "ivf", "ivfpq", "trees"}, default="auto"
        faiss: ``"flat"`` compares with every row, ``"hnsw"`` walks a graph,
        ``"ivf"`` looks into the nearest of many lists, ``"ivfpq"`` does so in
        compressed rows. annoy has ``"trees"`` alone. ``"auto"`` means trees for
        annoy. For faiss it compares all rows in float64 where at most 5,000 of them
        differ, and means hnsw for more, or if a parameter of the graph is named.
    weights : {"uniform", "distance"} or callable
        Whether each vote counts 1 or the inverse of its distance; as in
        scikit-learn, neighbours at distance 0 outvote all others. A function gets
        distances of shape (n_queries, n_neighbors) and returns weights of that
        shape, none negative; it cannot be saved.
    search_k : int, optional
        annoy: nodes to look at, ``n_trees * n_neighbors`` by default.
    n_links : int, optional
        hnsw: links of a row in each layer but the lowest, which has twice as
        many; 16 by default.
    ef_construction, ef_search : int, optional
        hnsw: candidates kept while building and while searching; 80 and 16 by
        default, and never fewer than the neighbours asked for.
    storage : {"float32", "float16", "uint8"}, optional
        hnsw: the numbers that the index keeps, ``"float32"`` by default. Half the
        bytes answer faster. ``"float16"`` keeps three digits; ``"uint8"`` keeps
        pixels, whole numbers from 0 to 255, without loss, for metric euclidean.
    n_components : int, optional
        faiss: the index holds codes, a byte (or what `storage` says) for each of so
        many principal components, and finds candidates by them. The whole rows are
        kept beside it and give the distances. Fast for many columns. With `rerank`
        alone: 128, or all columns where there are fewer. For metric euclidean, cosine
        and angular.
    rerank : int, optional
        faiss: so many times `n_neighbors` candidates are compared in whole rows; 3 by
        default with `n_components`. More finds more and takes longer.
    n_lists : int, optional
        ivf, ivfpq: number of lists, the square root of the rows by default.
    n_probe : int, optional
        ivf, ivfpq: lists to look into, 16 by default.
    n_bytes : int, optional
        ivfpq: bytes that a compressed row takes, a quarter of the columns by
        default. Where fewer than 256 rows are there to learn from, each byte
        holds fewer different codes.
    n_jobs : int, optional
        Threads for building and searching, no more than there are processors. None
        means 1, -1 all processors. A forked child works with one.
    random_state : int, RandomState instance or None
        Seed of the trees, the graph's layers and the lists. With more than one
        thread annoy's trees and the graph may differ from run to run.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The labels, sorted.
    n_features_in_, feature_names_in_
        As in scikit-learn.
    n_samples_fit_ : int
        Rows in the index, without removed ones.
    index_ : faiss.Index or annoy.AnnoyIndex
        The index itself, over rows as `backend_rows` makes them, and over one of
        each group of equal rows (flat: all). For a small set, an array of its rows.
        With `n_components` or `rerank` a ``faiss.IndexRefine``.

    Raises
    ------
    ParameterError
        By `fit`, for a parameter or a combination that is not offered; also a
        ValueError.
    BackendError
        By `fit` and `load`, when annoy or faiss is missing, or annoy is built so
        that it finds one neighbour only (spotify/annoy issues 679 and 682).

    Notes
    -----
    Ties go to the class that comes first in `classes_`, as in scikit-learn. Rows at
    equal distances come in the order of their numbers.

    Small sets and ``"flat"`` are exact, without `n_components` and `rerank`. A graph
    finds each row that was fitted, or its equal, when asked with it and an `ef_search`
    of 16 or more: building it ends with such a search, what that misses gets links, and
    what no link helps is compared with every query. So does an index with
    `n_components` or `rerank`, with `n_probe` and `rerank` no smaller than at `fit`.
    Other neighbours may be missed.
    Other lists, ivfpq and trees are approximate by request: they promise nothing.

    `ef_search`, `n_probe`, `rerank` and `search_k` are read at each search: change them
    by `set_params` without fitting again.

    References
    ----------
    HNSW: Malkov and Yashunin (2020), IEEE TPAMI 42(4). Product quantisation:
    Jégou, Douze and Schmid (2011), IEEE TPAMI 33(1). faiss: Douze et al. (2024),
    arXiv:2401.08281. annoy: https://github.com/spotify/annoy

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> round(FastANN(index="flat").fit(X, y).score(X, y), 3)
    0.947
    """

    def __init__(
        self,
        n_neighbors=5,
        *,
        n_trees=None,
        metric="euclidean",
        backend="faiss",
        index="auto",
        weights="uniform",
        search_k=None,
        n_links=None,
        ef_construction=None,
        ef_search=None,
        storage=None,
        n_components=None,
        rerank=None,
        n_lists=None,
        n_probe=None,
        n_bytes=None,
        n_jobs=None,
        random_state=None,
    ):
        self.n_neighbors = n_neighbors
        self.n_trees = n_trees
        self.metric = metric
        self.backend = backend
        self.index = index
        self.weights = weights
        self.search_k = search_k
        self.n_links = n_links
        self.ef_construction = ef_construction
        self.ef_search = ef_search
        self.storage = storage
        self.n_components = n_components
        self.rerank = rerank
        self.n_lists = n_lists
        self.n_probe = n_probe
        self.n_bytes = n_bytes
        self.n_jobs = n_jobs
        self.random_state = random_state

    # --- scikit-learn's contract ---------------------------------------------

    def fit(self, X, y):
        """Build the index.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Finite numbers of any type.
        y : array of shape (n_samples,)
            Labels of any kind that scikit-learn takes.

        Returns
        -------
        FastANN
            Itself.

        Raises
        ------
        ParameterError, BackendError
            See the class.
        ValueError
            When X or y is not what it should be.
        """
        kind = self._read_parameters()
        self._engine_of(kind).library()
        X, y = self._validate(X, y)
        check_classification_targets(y)
        self.classes_, self._labels = np.unique(y, return_inverse=True)
        self.n_samples_fit_ = len(X)
        self._center, self._scale = self._find_center_and_scale(X)
        return self._build_over(kind, partial(self._rows, X))

    def _read_parameters(self):
        """Keep what counts until the next `fit`; return the kind of index."""
        self._asked = self._check_parameters()
        self._fitted = {name: getattr(self, name) for name in FITTED}
        self._metric, self._auto = self.metric, self._may_be_exact()
        self._reranked = self._reranks()
        # In which numbers whole rows are kept; with codes it speaks of these.
        self._storage = "float32" if self._reranked else self.storage or "float32"
        return self._asked

    def _build_over(self, kind, rows_as):
        """Build an index over rows, exact where few differ and that may be."""
        auto = self._auto
        if auto and self.n_samples_fit_ <= EXACT_ROWS:
            return self._build("exact", rows_as(np.float64), None)
        rows, groups = rows_as(np.float32), None
        if kind != "flat":
            rows, groups = fold(self._as_stored(rows))
        if auto and len(rows) <= EXACT_ROWS:
            exact, copies = fold(rows_as(np.float64))
            if len(exact) <= EXACT_ROWS:
                return self._build("exact", exact, copies)
        return self._build("hnsw" if auto else kind, rows, groups)

    def _build(self, kind, rows, groups):
        """Build an index over rows that differ, of which `groups` tells the copies."""
        short = "uint8" if self._reranked else "float32"
        storage = self._fitted["storage"] or short
        settings = self._settings(self._asked) | {"storage": storage}
        settings["seed"] = int(
            check_random_state(self.random_state).randint(1, 2**31 - 1)
        )
        width = rows.shape[1]
        settings["n_components"] = self._fitted["n_components"] or min(
            width, DEFAULTS["n_components"]
        )
        if self._reranked and settings["n_components"] > width:
            raise ParameterError(
                f"n_components = {settings['n_components']} is more than the {width} "
                "columns; choose fewer."
            )
        engine = self._engine_of(kind)
        self._engine = engine.build(rows, kind, self._metric, settings, self._threads())
        self._set_groups(groups)
        return self

    def _engine_of(self, kind) -> Any:
        if kind == "exact":
            return Exact
        if kind == "trees":
            return Annoy
        return Reranked if self._reranked else Faiss

    def _set_groups(self, groups):
        """Say which rows of the index are whose; None where each row has its own."""
        self._copies = None
        if groups is None:
            return
        self._copies = Copies(groups, self._engine.n_rows())
        self.n_samples_fit_ = len(self._copies.numbers)
        empty = np.flatnonzero(self._copies.sizes == 0)
        if empty.size:
            self._engine.set_removed(empty)

    def _as_stored(self, rows):
        if self._storage == "float16":  # what it keeps is what may be equal
            return rows.astype(np.float16).astype(np.float32)
        return rows

    def _validate(self, X, *y, reset=True):
        if issparse(X):
            raise ParameterError(
                "X is sparse, and FastANN takes dense rows only; put "
                "TruncatedSVD(100) before it, in make_pipeline, or pass X.toarray()."
            )
        return validate_data(self, X, *y, reset=reset)

    def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
        """Find the nearest rows.

        Parameters
        ----------
        X : array of shape (n_queries, n_features), optional
            Without it, each row of the index asks for neighbours other than
            itself.
        n_neighbors : int, optional
            Those of the constructor by default.
        return_distance : bool
            Whether distances are returned too.

        Returns
        -------
        distances : float64 array of shape (n_queries, n_neighbors)
            In ascending order, in the units of `metric`.
        indices : int64 array of shape (n_queries, n_neighbors)
            Numbers of rows of the `X` that was fitted.

        Raises
        ------
        ValueError
            When more neighbours are asked for than there are rows.
        """
        check_is_fitted(self)
        k = self._check_n_neighbors(
            self.n_neighbors if n_neighbors is None else n_neighbors
        )
        if X is None:
            return self._neighbors_of_the_index(k, return_distance)
        X = self._validate(X, reset=False)
        if k > self.n_samples_fit_:
            raise ParameterError(
                f"Expected n_neighbors <= n_samples_fit, but n_neighbors = {k}, "
                f"n_samples_fit = {self.n_samples_fit_}, n_samples = {len(X)}; ask for "
                "fewer neighbours or fit more rows."
            )
        distances, found = self._search(self._rows(X, self._engine.dtype), k)
        return (distances, found) if return_distance else found

    def predict_proba(self, X):
        """Share of the votes for each class.

        Parameters
        ----------
        X : array of shape (n_queries, n_features), or None
            None lets each row of the index be judged by the others.

        Returns
        -------
        float array of shape (n_queries, n_classes)
            Columns in the order of `classes_`; each row adds up to 1.
        """
        votes = vote(*self._ballots(X))
        return votes / votes.sum(axis=1, keepdims=True)

    def predict(self, X):
        """Class with the most votes; the first of `classes_` where votes tie.

        Parameters
        ----------
        X : array of shape (n_queries, n_features), or None
            As in `predict_proba`.

        Returns
        -------
        array of shape (n_queries,)
            Labels, of the type that was fitted.
        """
        labels, n_classes, weights = self._ballots(X)
        winners = np.empty(len(labels), np.intp)
        step = max(1, BLOCK // n_classes)
        for start in range(0, len(labels), step):
            rows = slice(start, start + step)
            some = None if weights is None else weights[rows]
            winners[rows] = vote(labels[rows], n_classes, some).argmax(axis=1)
        return self.classes_[winners]

    @property
    def index_(self) -> Any:
        """The index of the backend."""
        check_is_fitted(self)
        return self._engine.raw

    def backend_rows(self, X: np.ndarray) -> np.ndarray:
        """Rows as the backend compares them.

        Parameters
        ----------
        X : array of shape (n, n_features)
            Finite numbers.

        Returns
        -------
        float32 array of shape (n, n_features)
            Less a number a column (euclidean, manhattan; not where the rows that were
            fitted are float32): float32 keeps seven digits, and they should tell rows
            apart. Times a power of 2 where numbers are huge or tiny. Of length 1
            (cosine, angular).

        Raises
        ------
        ValueError
            When a distance would not fit into float32, or a number into `storage`.
        """
        return self._rows(X, np.float32)

    def _rows(self, X, dtype):
        X = np.asarray(X)
        narrow = is_narrow(X) and self._center is None and dtype == np.float32
        wide = np.float32 if narrow else np.float64
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if self._center is not None:
                rows = np.subtract(X, self._center, dtype=wide)
            else:
                rows = X.astype(wide, copy=False)
            if self._scale != 1:
                rows = rows * wide(self._scale)
            if self._metric in ("cosine", "angular"):
                rows = unit_rows(rows)
            squares = np.einsum("ij,ij->i", rows, rows).max(initial=0)
            rows = np.ascontiguousarray(rows, dtype=dtype)
        if self._storage != "float32":
            self._check_fit_into_storage(X, rows)
        if not squares < MOST_SQUARE:
            raise ParameterError(
                "Some numbers are so large that their distances are infinity in "
                "float32; scale the columns, with StandardScaler for one."
            )
        return rows

    def _check_fit_into_storage(self, X, rows):
        if self._storage == "float16" and np.abs(rows).max(initial=0) > 65_504:
            raise ParameterError(
                "Some numbers are too large for storage='float16'; scale the columns, "
                "or choose storage='float32'."
            )
        if self._storage == "uint8" and X.dtype != np.uint8:
            with np.errstate(invalid="ignore"):
                whole = np.array_equal(X, rows.astype(np.uint8))
            if not whole:
                raise ParameterError(
                    "storage='uint8' takes whole numbers from 0 to 255, in queries "
                    "too; choose storage='float16'."
                )

    # --- saving --------------------------------------------------------------

    def _threads(self) -> int:
        if _forked:
            return 1
        return min(effective_n_jobs(self.n_jobs), os.cpu_count() or 1)

    def _may_be_exact(self) -> bool:
        graph = (
            "storage",
            *(name for name in APPLIES_TO if "hnsw" in APPLIES_TO[name]),
        )
        by_name = any(getattr(self, name) is not None for name in graph)
        return self.backend == "faiss" and self.index == "auto" and not by_name

    def _measures_gaps(self) -> bool:
        """Whether distances stay what they are when all rows move."""
        return self._metric in ("euclidean", "manhattan") and self._storage != "uint8"

    def _find_center_and_scale(self, X):
        """Find a number a column to take away, and a power of 2 to multiply by.

        Both come from medians of about a thousand rows: means follow outliers. A
        median that is some row's number keeps whole numbers whole.
        """
        some = X[:: max(1, len(X) // 1_000)].astype(np.float64)
        center = None
        if self._measures_gaps() and not is_narrow(X):
            center = np.median(some[: len(some) - 1 + len(some) % 2], axis=0)
            gaps = some - center
            some = gaps if gaps.any() else center
        sizes = np.abs(some[some != 0])
        directions = self._metric in ("cosine", "angular")
        if directions or self._storage == "uint8" or not sizes.size:
            return center, 1.0
        exponent = int(np.frexp(np.median(sizes))[1])
        if self._storage == "float16":
            exponent = min(exponent, 0)  # large numbers are refused by name
        elif abs(exponent) <= 20:
            exponent = 0
        most = 126 if is_narrow(X) else 500 if self._metric == "dot" else 1_000
        return center, float(np.ldexp(1.0, -min(max(exponent, -most), most)))

    def _search(self, rows, k):
        engine, settings = self._engine, self._settings(self._asked)
        most = engine.n_rows()
        if self._copies is not None:
            most = int(np.count_nonzero(self._copies.sizes))
        distances, found = engine.search(rows, min(k, most), settings, self._threads())
        if self._copies is not None:
            distances, found = self._copies.unfold(distances, found, k)
        if np.any(distances[:, 1:] == distances[:, :-1]):
            order = np.lexsort((found, distances))
            distances, found = (
                np.take_along_axis(a, order, axis=1) for a in (distances, found)
            )
        if self._scale != 1:
            distances = distances / self._scale
            if self._metric == "dot":
                distances = distances / self._scale
        return distances, found

    def _neighbors_of_the_index(self, k, return_distance):
        n = self.n_samples_fit_
        if k >= n:
            raise ParameterError(
                f"Expected n_neighbors < n_samples_fit, but n_neighbors = {k}, "
                f"n_samples_fit = {n}, n_samples = {n}; ask for fewer neighbours."
            )
        distances, found = self._search(self._engine.rows(), k + 1)
        numbers = np.arange(n)
        if self._copies is not None:
            numbers = self._copies.numbers
            groups = self._copies.groups[numbers]
            distances, found = distances[groups], found[groups]
        other = found != numbers[:, None]
        # Among many equals, or approximately, a row may miss itself: then the
        # farthest leaves.
        other[other.all(axis=1), -1] = False
        found = found[other].reshape(n, k)
        return (distances[other].reshape(n, k), found) if return_distance else found

    def _ballots(self, X):
        if self.weights == "uniform":
            found = self.kneighbors(X, return_distance=False)
            weights = None
        else:
            distances, found = self.kneighbors(X)
            weigh = self.weights if callable(self.weights) else inverse
            weights = checked_weights(weigh(distances), distances.shape)
        return self._labels[found], len(self.classes_), weights
