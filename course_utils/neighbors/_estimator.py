"""A classifier by the vote of nearest neighbours, with scikit-learn's API."""

from __future__ import annotations

import os
from typing import Any

from course_utils.neighbors._common import BLOCK, ParameterError, is_narrow, unit_rows
from course_utils.neighbors._copies import Copies, fold
from course_utils.neighbors._exact import Exact
from course_utils.neighbors._parameters import APPLIES_TO, Parameters
from course_utils.neighbors._store import ENGINES, Stored

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

# Up to this many rows, comparing all takes less time than building a graph and asking
# it a few thousand queries.
EXACT_ROWS = 5_000
MOST_SQUARE = float(np.finfo(np.float32).max) / 4

# OpenMP's threads do not survive a fork: in the child, faiss works without them.
_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


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


class FastANN(Stored, Parameters, ClassifierMixin, BaseEstimator):
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
    index : {"flat", "hnsw", "ivf", "ivfpq", "trees"}, optional
        faiss: ``"flat"`` compares with every row, ``"hnsw"`` (the default) walks
        a graph, ``"ivf"`` looks into the nearest of many lists, ``"ivfpq"`` does
        so in compressed rows. annoy has ``"trees"`` alone. With no index and no
        parameter of the graph named, up to 5,000 rows are compared one by one.
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
        Rows in the index.
    index_ : faiss.Index or annoy.AnnoyIndex
        The index itself, over rows as `backend_rows` makes them, and over one of
        each group of equal rows (flat: all). For a small set, an array of its rows.

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

    Small sets and ``"flat"`` are exact. A graph finds each row that was fitted, or its
    equal, when asked with it and an `ef_search` of 16 or more: building it ends with
    such a search, what that misses gets links, and what no link helps is compared with
    every query. Other neighbours may be missed.
    Lists, codes and trees are approximate by request: they promise nothing.

    `ef_search`, `n_probe` and `search_k` are read at each search: change them by
    `set_params` without fitting again.

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
        n_trees=None,
        metric="euclidean",
        *,
        backend="faiss",
        index=None,
        weights="uniform",
        search_k=None,
        n_links=None,
        ef_construction=None,
        ef_search=None,
        storage=None,
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
        kind = self._check_parameters()
        engine = ENGINES[self.backend]
        engine.library()
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_, self._labels = np.unique(y, return_inverse=True)
        self.n_samples_fit_ = len(X)
        self._metric, self._asked = self.metric, kind
        self._storage = self.storage or "float32"
        names = ("metric", "backend", "index", "storage")
        self._fitted = {name: getattr(self, name) for name in names}
        if self._may_be_exact() and len(X) <= EXACT_ROWS:
            kind, engine = "exact", Exact
        self._center, self._scale = self._find_center_and_scale(X)
        rows, groups = self._rows(X, engine.dtype), None
        if kind not in ("exact", "flat"):
            if self._storage == "float16":  # what it keeps is what may be equal
                rows = rows.astype(np.float16).astype(np.float32)
            rows, groups = fold(rows)
        self._copies = None if groups is None else Copies(groups)
        settings = self._settings(self._asked) | {"storage": self._storage}
        settings["seed"] = int(
            check_random_state(self.random_state).randint(1, 2**31 - 1)
        )
        self._engine = engine.build(rows, kind, self._metric, settings, self._threads())
        return self

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
        X = validate_data(self, X, reset=False)
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
        by_name = any(getattr(self, name) is not None for name in ("index", *graph))
        return self.backend == "faiss" and not by_name

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
        distances, found = engine.search(
            rows, min(k, engine.n_rows()), settings, self._threads()
        )
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
        if self._copies is not None:
            groups = self._copies.groups
            distances, found = distances[groups], found[groups]
        other = found != np.arange(n)[:, None]
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
            weigh = self.weights if callable(self.weights) else _inverse
            weights = _checked_weights(weigh(distances), distances.shape)
        return self._labels[found], len(self.classes_), weights


def _inverse(distances: np.ndarray) -> np.ndarray:
    """Weights 1 / distance; in a row with distances of 0, only these count."""
    with np.errstate(divide="ignore"):
        weights = 1 / distances
    same = np.isinf(weights)
    touching = same.any(axis=1)
    weights[touching] = same[touching]
    return weights


def _checked_weights(weights: Any, shape: tuple[int, ...]) -> np.ndarray:
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
