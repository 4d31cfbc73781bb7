"""Nearest neighbours by annoy or faiss behind scikit-learn's own contract."""

from __future__ import annotations

import contextlib
import hashlib
import json
import operator
import os
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from numbers import Integral
from pathlib import Path
from typing import Any

from course_utils import annoy_probe
from course_utils.errors import CourseError, DataError, UsageError

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

__all__ = ["BackendError", "FastANN", "ParameterError", "vote"]

WEIGHTS = ("uniform", "distance")
METRICS = ("euclidean", "manhattan", "cosine", "angular", "dot")
INDEXES = {"annoy": ("trees",), "faiss": ("flat", "hnsw", "ivf", "ivfpq")}
DEFAULT_INDEX = {"annoy": "trees", "faiss": "hnsw"}
# Which index listens to which parameter; a parameter nobody listens to is refused.
KNOBS = {
    "n_trees": ("trees",),
    "search_k": ("trees",),
    "n_links": ("hnsw",),
    "ef_construction": ("hnsw",),
    "ef_search": ("hnsw",),
    "n_lists": ("ivf", "ivfpq"),
    "n_probe": ("ivf", "ivfpq"),
    "n_bytes": ("ivfpq",),
}
DEFAULTS = {"n_trees": 100, "n_links": 16, "ef_construction": 80, "ef_search": 16}
N_PROBE = 16
# Which numbers the graph may keep, by metric; faiss's names for the short ones.
STORAGE = {
    "float32": METRICS,
    "float16": ("euclidean", "cosine", "angular", "dot"),
    "uint8": ("euclidean",),
}
QUANTIZERS = {"float16": "QT_fp16", "uint8": "QT_8bit_direct"}
# 1 - cos of float32 unit vectors is wrong by about this much.
COSINE_ROUNDING = 1e-6
BLOCK = 1 << 22  # numbers held at once where rows are taken in blocks
FORMAT = 1
FILE_NAME = re.compile(r"(index|labels|classes|center)-[0-9a-f]{16}\.[a-z]+")


class ParameterError(UsageError, ValueError):
    """A parameter, or a combination of them, that FastANN does not offer."""


class BackendError(CourseError, ImportError):
    """annoy or faiss is missing, or built wrongly."""


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


class FastANN(ClassifierMixin, BaseEstimator):
    """Classifier by the vote of approximate nearest neighbours.

    A drop-in relative of `sklearn.neighbors.KNeighborsClassifier` whose search
    is done by annoy or faiss. All distances are computed in float32.

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
        so in compressed rows. annoy has ``"trees"`` alone.
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
        Threads for building and searching. None means 1, -1 all processors.
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
        The index itself, over rows as `backend_rows` makes them.

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
    Ties go to the class that comes first in `classes_`, as in scikit-learn.

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
        engine = _ENGINES[self.backend]
        engine.library()
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_, self._labels = np.unique(y, return_inverse=True)
        self.n_samples_fit_ = len(X)
        self._metric = self.metric
        self._storage = self.storage or "float32"
        self._center = self._find_center(X)
        knobs = self._knobs(kind) | {"storage": self._storage}
        knobs["seed"] = int(check_random_state(self.random_state).randint(1, 2**31 - 1))
        self._engine = engine.build(
            self.backend_rows(X), kind, self._metric, knobs, self._threads()
        )
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
        distances, found = self._search(self.backend_rows(X), k)
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
            Less a whole number a column (euclidean, manhattan): float32 keeps
            seven digits, and they should tell rows apart. Of length 1 (cosine,
            angular).

        Raises
        ------
        ValueError
            When a distance would not fit into float32, or a number into `storage`.
        """
        X = np.asarray(X)
        narrow = X.dtype == np.float32 or X.dtype.itemsize <= 2
        wide = np.float32 if narrow else np.float64
        with np.errstate(over="ignore", invalid="ignore"):
            if self._center is not None:
                rows = np.subtract(X, self._center, dtype=wide)
            else:
                rows = X.astype(wide, copy=False)
            if self._metric in ("cosine", "angular"):
                length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
                rows = rows / np.where(length == 0, 1, length)
            rows = np.ascontiguousarray(rows, dtype=np.float32)
            squares = np.vdot(rows, rows)
        if self._storage != "float32":
            self._check_fit_into_storage(X, rows)
        if not np.isfinite(squares):
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

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the fitted index into a folder, without pickle.

        Parameters
        ----------
        path : path
            A folder, made where it is missing. It gets the index, three arrays
            (``.npy``) and ``about.json``, which names them with their sha256. A
            former index there counts until ``about.json`` is replaced, which is
            the last step and a single one.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        DataError
            When it cannot be written; what was there is untouched.
        ParameterError
            When the labels are neither numbers nor text, or `weights` is a function.
        """
        from filelock import FileLock

        check_is_fitted(self)
        folder = Path(path)
        classes = _plain(self.classes_)
        if callable(self.weights):
            raise ParameterError(
                "weights is a function, which cannot be saved without pickle; save "
                "with set_params(weights='uniform') and set the function after load."
            )
        params = {name: _jsonable(v) for name, v in self.get_params(False).items()}
        about = {
            "format": FORMAT,
            "params": params | {"metric": self._metric},
            "storage": self._storage,
            "n_features": self.n_features_in_,
            "n_samples": self.n_samples_fit_,
            "kind": self._engine.kind,
        }
        if hasattr(self, "feature_names_in_"):
            about["feature_names"] = list(self.feature_names_in_)
        arrays = {"labels": self._labels, "classes": classes}
        if self._center is not None:
            arrays["center"] = self._center
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (
                FileLock(folder / ".lock"),
                tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as staging,
            ):
                self._write(folder, Path(staging), arrays, about)
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"The index could not be written to {folder} ({_reason(error)}); what "
                "was there is untouched: free some space or choose another folder."
            ) from None
        return folder

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verify: bool = True) -> FastANN:
        """Open a saved index by memory map: only what is read takes memory.

        Parameters
        ----------
        path : path
            A folder that `save` wrote.
        verify : bool
            Whether each file is compared with its sha256, which reads it once.

        Returns
        -------
        FastANN
            Fitted. Text labels come back as NumPy text; a `random_state` that
            was no whole number comes back as None.

        Raises
        ------
        DataError
            When a file is missing or is not what was saved.
        BackendError
            When the backend is missing.
        """
        folder = Path(path)
        about = _read_about(folder)
        files = {}
        for role, file in about["files"].items():
            files[role] = _checked(folder, file, verify)
        try:
            self = cls(**about["params"])
            engine = _ENGINES[self.backend]
            self.classes_ = np.load(files["classes"], allow_pickle=False)
            self._labels = np.load(files["labels"], mmap_mode="r", allow_pickle=False)
            self._center = None
            if "center" in files:
                self._center = np.load(files["center"], allow_pickle=False)
            self.n_features_in_ = about["n_features"]
            self.n_samples_fit_ = about["n_samples"]
            if "feature_names" in about:
                self.feature_names_in_ = np.array(about["feature_names"], object)
            self._metric, self._storage = self.metric, about["storage"]
            if self._storage not in STORAGE:
                raise ValueError("numbers of another kind")
            width = operator.index(self.n_features_in_)
            self._engine = engine.read(
                files["index"], about["kind"], self._metric, width
            )
            fits = len(self._labels) == self._engine.n_rows() == self.n_samples_fit_
            fits &= int(self._labels.max()) < len(self.classes_)
        except (KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
            if isinstance(error, CourseError):
                raise
            raise DataError(_not_saved_here(folder)) from None
        if not fits:
            raise DataError(_not_saved_here(folder))
        return self

    def _write(self, folder, staging, arrays, about):
        index = staging / f"index.{self.backend}"
        self._engine.write(index)
        for role, array in arrays.items():
            with open(staging / f"{role}.npy", "wb") as stream:
                np.save(stream, array, allow_pickle=False)
        about["files"] = files = {}
        for part in sorted(staging.iterdir()):
            with open(part, "rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            name = f"{part.stem}-{sha256[:16]}{part.suffix}"
            files[part.stem] = {
                "name": name,
                "bytes": part.stat().st_size,
                "sha256": sha256,
            }
        text = json.dumps(about, indent=1) + "\n"
        (staging / "about.json").write_text(text, encoding="utf-8")
        for role, file in files.items():
            try:
                os.replace(next(staging.glob(f"{role}.*")), folder / file["name"])
            except PermissionError:
                # Windows keeps a file that a loaded index maps; by its name it holds
                # the same.
                _checked(folder, file, verify=True)
        # From here on the folder holds the new index, before it the former one.
        os.replace(staging / "about.json", folder / "about.json")
        kept = {file["name"] for file in files.values()}
        for old in folder.iterdir():
            if FILE_NAME.fullmatch(old.name) and old.name not in kept:
                with contextlib.suppress(PermissionError):  # mapped, as above
                    old.unlink(missing_ok=True)

    # --- inside --------------------------------------------------------------

    def _check_parameters(self) -> str:
        """Refuse by name what is not offered; return the kind of index."""
        if self.backend not in INDEXES:
            raise ParameterError(
                f"backend is {self.backend!r}; choose 'faiss' or 'annoy'."
            )
        kinds = INDEXES[self.backend]
        kind = DEFAULT_INDEX[self.backend] if self.index is None else self.index
        if kind not in kinds:
            raise ParameterError(
                f"index={kind!r} is not offered by backend={self.backend!r}; "
                f"choose from {', '.join(map(repr, kinds))}."
            )
        if self.metric not in METRICS:
            raise ParameterError(
                f"metric is {self.metric!r}; choose from "
                f"{', '.join(map(repr, METRICS))}."
            )
        if kind == "ivfpq" and self.metric == "manhattan":
            raise ParameterError(
                "index='ivfpq' cannot measure metric='manhattan'; choose another "
                "metric, or index='flat', 'hnsw' or 'ivf'."
            )
        named = isinstance(self.weights, str) and self.weights in WEIGHTS
        if not named and not callable(self.weights):
            raise ParameterError(
                f"weights is {self.weights!r}; choose 'uniform', 'distance' or a "
                "function of the distances."
            )
        if named and self.weights == "distance" and self.metric == "dot":
            raise ParameterError(
                "weights='distance' needs a distance, and metric='dot' has none; "
                "choose weights='uniform' or metric='cosine'."
            )
        self._check_n_neighbors(self.n_neighbors)
        for name, listeners in KNOBS.items():
            self._check_knob(name, getattr(self, name), kind, listeners)
        self._check_storage(kind)
        return kind

    def _check_storage(self, kind):
        if self.storage is None:
            return
        if self.storage not in STORAGE:
            raise ParameterError(
                f"storage is {self.storage!r}; choose from "
                f"{', '.join(map(repr, STORAGE))}."
            )
        if kind != "hnsw":
            raise ParameterError(
                f"storage means nothing to index={kind!r}; leave it out, or choose "
                "index='hnsw'."
            )
        if self.metric not in STORAGE[self.storage]:
            raise ParameterError(
                f"storage={self.storage!r} cannot measure metric={self.metric!r}; "
                "leave storage out, or choose metric="
                f"{' or '.join(map(repr, STORAGE[self.storage]))}."
            )

    def _check_knob(self, name, value, kind, listeners):
        if value is None:
            return
        if kind not in listeners:
            raise ParameterError(
                f"{name} means nothing to index={kind!r}; leave it out, or choose "
                f"index={' or '.join(map(repr, listeners))}."
            )
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ParameterError(f"{name} is {value!r}; it must be a whole number > 0.")

    @staticmethod
    def _check_n_neighbors(value) -> int:
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise TypeError(
                f"n_neighbors is of type {type(value).__name__}; it must be a whole "
                "number."
            )
        if value < 1:
            raise ParameterError(f"Expected n_neighbors > 0. Got {value}.")
        return int(value)

    def _knobs(self, kind: str) -> dict[str, Any]:
        knobs: dict[str, Any] = {}
        for name, listeners in KNOBS.items():
            value = getattr(self, name)
            self._check_knob(name, value, kind, listeners)
            if kind in listeners:
                knobs[name] = DEFAULTS.get(name) if value is None else int(value)
        return knobs

    def _threads(self) -> int:
        return effective_n_jobs(self.n_jobs)

    def _find_center(self, X: np.ndarray) -> np.ndarray | None:
        if self._metric not in ("euclidean", "manhattan"):
            return None
        if self._storage == "uint8":
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            mean = X.mean(axis=0, dtype=np.float64)
            # Whole numbers, so that whole numbers stay exact.
            return np.nan_to_num(np.rint(mean).astype(np.float32))

    def _search(self, rows, k):
        knobs = self._knobs(self._engine.kind)
        return self._engine.search(rows, k, knobs, self._threads())

    def _neighbors_of_the_index(self, k, return_distance):
        n = self.n_samples_fit_
        if k >= n:
            raise ParameterError(
                f"Expected n_neighbors < n_samples_fit, but n_neighbors = {k}, "
                f"n_samples_fit = {n}, n_samples = {n}; ask for fewer neighbours."
            )
        distances, found = self._search(self._engine.rows(), k + 1)
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


# --- faiss -------------------------------------------------------------------


@contextmanager
def _omp_threads(faiss: Any, threads: int) -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


class _Faiss:
    """An index of faiss; what it finds in scikit-learn's units."""

    def __init__(self, raw, kind, metric):
        self.raw, self.kind, self.metric = raw, kind, metric

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
    def build(cls, rows, kind, metric, knobs, threads):
        faiss = cls.library()
        measure = {
            "euclidean": faiss.METRIC_L2,
            "manhattan": faiss.METRIC_L1,
        }.get(metric, faiss.METRIC_INNER_PRODUCT)
        n, d = rows.shape
        if kind == "flat":
            raw = faiss.IndexFlat(d, measure)
        elif kind == "hnsw":
            raw = cls._graph(faiss, d, measure, knobs)
            raw.hnsw.efConstruction = knobs["ef_construction"]
            raw.hnsw.rng = faiss.RandomGenerator(knobs["seed"])
        else:
            raw = cls._lists(faiss, n, d, kind, measure, knobs)
        with _omp_threads(faiss, threads):
            if not raw.is_trained:
                raw.train(_padded(rows, raw.d))
            raw.add(_padded(rows, raw.d))
        return cls(raw, kind, metric)

    @staticmethod
    def _graph(faiss, d, measure, knobs):
        n_links, storage = knobs["n_links"], knobs["storage"]
        if storage == "float32":
            return faiss.IndexHNSWFlat(d, n_links, measure)
        kind = getattr(faiss.ScalarQuantizer, QUANTIZERS[storage])
        return faiss.IndexHNSWSQ(d, kind, n_links, measure)

    @staticmethod
    def _lists(faiss, n, d, kind, measure, knobs):
        n_lists = knobs["n_lists"] or max(1, round(n**0.5))
        if n_lists > n:
            raise ParameterError(
                f"n_lists = {n_lists} is more than the {n} rows; choose fewer lists."
            )
        if kind == "ivf":
            raw = faiss.IndexIVFFlat(faiss.IndexFlat(d, measure), d, n_lists, measure)
        else:
            n_bytes = knobs["n_bytes"] or -(-d // 4)
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
            raw.pq.cp.seed = knobs["seed"]
            raw.pq.cp.niter = 10  # as for the lists; faiss's 25 find hardly more
            raw.pq.cp.min_points_per_centroid = 1
        raw.cp.seed = knobs["seed"]
        raw.cp.min_points_per_centroid = 1  # or faiss warns on standard error
        return raw

    def search(self, rows, k, knobs, threads):
        faiss = self.library()
        rows = _padded(rows, self.raw.d)
        with _omp_threads(faiss, threads):
            raw, found = self.raw.search(rows, k, params=self._params(faiss, knobs, k))
            lacking = np.flatnonzero((found < 0).any(axis=1))
            if lacking.size:
                raw[lacking], found[lacking] = self._exhaustive(faiss, rows[lacking], k)
        if self.kind == "flat" and self.metric == "euclidean":
            raw, found = self._refine(faiss, rows, raw, found)
        return self._in_units(raw), found

    def _params(self, faiss, knobs, k):
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=max(knobs["ef_search"], k))
        if self.kind in ("ivf", "ivfpq"):
            n_probe = min(knobs["n_probe"] or N_PROBE, self.raw.nlist)
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
                return _cosine_units(1 - raw, self.metric)

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
        if raw.d < width or (raw.d > width and kind != "ivfpq"):
            raise ValueError("an index of other width")
        return cls(raw, kind, metric)

    def __getstate__(self):
        raw = self.library().serialize_index(self.raw)
        return {"raw": raw, "kind": self.kind, "metric": self.metric}

    def __setstate__(self, state):
        self.__dict__ = state
        self.raw = self.library().deserialize_index(state["raw"])


# --- annoy -------------------------------------------------------------------


@cache
def _annoy():
    try:
        import annoy
    except ImportError:
        raise BackendError(
            "annoy is not installed: run `pip install annoy==1.17.3`, which needs a "
            "C++ compiler, or choose backend='faiss'."
        ) from None
    problem = annoy_probe.find_problem()
    if problem:
        what, cure = problem
        raise BackendError(f"{what}. {cure}, or choose backend='faiss'.")
    return annoy


class _Annoy:
    """An index of annoy; what it finds in scikit-learn's units."""

    def __init__(self, raw, kind, metric):
        self.raw, self.kind, self.metric = raw, kind, metric

    library = staticmethod(_annoy)

    @classmethod
    def _empty(cls, width, metric):
        theirs = "angular" if metric == "cosine" else metric
        return cls(cls.library().AnnoyIndex(width, theirs), "trees", metric)

    @classmethod
    def build(cls, rows, kind, metric, knobs, threads):
        made = cls._empty(rows.shape[1], metric)
        made.raw.set_seed(knobs["seed"])
        for number, row in enumerate(rows):
            made.raw.add_item(number, row.tolist())
        made.raw.build(knobs["n_trees"], n_jobs=threads)
        return made

    def search(self, rows, k, knobs, threads):
        distances = np.empty((len(rows), k))
        found = np.empty((len(rows), k), np.int64)
        search_k = knobs["search_k"] or -1
        everything = self.raw.get_n_items() * max(1, self.raw.get_n_trees())

        def look(number):
            row = rows[number].tolist()
            ids, far = self.raw.get_nns_by_vector(row, k, search_k, True)
            if len(ids) < k:
                ids, far = self.raw.get_nns_by_vector(row, k, everything, True)
            found[number], distances[number] = ids, far

        if threads == 1:
            for number in range(len(rows)):
                look(number)
        else:
            # annoy lets go of Python's lock while it searches.
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(look, range(len(rows))):
                    pass
        return self._in_units(distances), found

    def _in_units(self, distances):
        match self.metric:
            case "dot":
                return -distances
            case "cosine" | "angular":
                return _cosine_units(distances**2 / 2, self.metric)
            case _:
                return distances

    def rows(self):
        numbers = range(self.raw.get_n_items())
        return np.array([self.raw.get_item_vector(i) for i in numbers], np.float32)

    def n_rows(self):
        return self.raw.get_n_items()

    def write(self, path):
        # annoy goes on with a map of the file it wrote, which may be moved.
        self.raw.save(str(path))

    @classmethod
    def read(cls, path, kind, metric, width):
        opened = cls._empty(width, metric)
        opened.raw.load(str(path))
        return opened

    def __getstate__(self):
        with tempfile.TemporaryDirectory() as folder:
            self.write(Path(folder) / "index")
            data = (Path(folder) / "index").read_bytes()
        return {"metric": self.metric, "width": self.raw.f, "data": data}

    def __setstate__(self, state):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            path.write_bytes(state["data"])
            opened = self.read(path, "trees", state["metric"], state["width"])
        self.__dict__ = opened.__dict__


_ENGINES: dict[str, Any] = {"annoy": _Annoy, "faiss": _Faiss}


# --- small things ------------------------------------------------------------


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


def _cosine_units(cosine: np.ndarray, metric: str) -> np.ndarray:
    cosine = np.where(cosine < COSINE_ROUNDING, 0, np.minimum(cosine, 2))
    return np.sqrt(2 * cosine) if metric == "angular" else cosine


def _padded(rows: np.ndarray, width: int) -> np.ndarray:
    lacking = width - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, lacking))) if lacking else rows


def _plain(classes: np.ndarray) -> np.ndarray:
    """Labels as an array that needs no pickle."""
    if classes.dtype.kind in "biufU":
        return classes
    if all(isinstance(label, str) for label in classes):
        return classes.astype(str)
    raise ParameterError(
        "The labels are neither numbers nor text, so they cannot be saved without "
        "pickle; fit with text labels."
    )


def _jsonable(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, bool | int | str) else None


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text.rsplit("Error: ", 1)[-1][:160]


def _not_saved_here(folder: Path) -> str:
    return (
        f"{folder} does not hold an index that this version of FastANN saved; save it "
        "again."
    )


def _read_about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        names = [file["name"] for file in about["files"].values()]
        good = about["format"] == FORMAT and all(map(FILE_NAME.fullmatch, names))
    except FileNotFoundError:
        raise DataError(
            f"No saved index is in {folder}: give the folder that `save` wrote."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise DataError(_not_saved_here(folder))
    return about


def _checked(folder: Path, file: dict[str, Any], verify: bool) -> Path:
    path = folder / file["name"]
    try:
        same = path.stat().st_size == file["bytes"]
        if same and verify:
            with open(path, "rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            same = found == file["sha256"]
    except OSError:
        raise DataError(
            f"{path.name} is missing from {folder}: save the index again."
        ) from None
    if not same:
        raise DataError(
            f"{path} is not the file that was saved (its sha256 or its size differs): "
            "save the index again."
        )
    return path
