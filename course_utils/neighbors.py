"""Nearest neighbours by annoy or faiss behind scikit-learn's own contract."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
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
# Up to this many rows, comparing all takes less time than building a graph and asking
# it a few thousand queries.
EXACT_ROWS = 5_000
# How often a graph links the rows that a search for themselves misses. Of pictures and
# sentences hardly one is left, of noise in hundreds of columns a few in a hundred.
LINK_ROUNDS = 3
SPARE = 8  # neighbours beyond those asked for whose distances are computed well
SMALL_BATCH = 16  # faiss computes distances of fewer than 20 queries from differences
MOST_SQUARE = float(np.finfo(np.float32).max) / 4
FORMAT = 2
ROLES = ("index", "labels", "classes", "center", "groups", "aside")
FILE_NAME = re.compile(rf"({'|'.join(ROLES)})-[0-9a-f]{{16}}\.[a-z]+")
STAGED = re.compile(r"\.part-\w{8}")

# OpenMP's threads do not survive a fork: in the child, faiss works without them.
_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


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
        engine = _ENGINES[self.backend]
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
            kind, engine = "exact", _Exact
        self._center, self._scale = self._find_center_and_scale(X)
        rows, groups = self._rows(X, engine.dtype), None
        if kind not in ("exact", "flat"):
            if self._storage == "float16":  # what it keeps is what may be equal
                rows = rows.astype(np.float16).astype(np.float32)
            rows, groups = _fold(rows)
        self._copies = None if groups is None else _Copies(groups)
        knobs = self._knobs(self._asked) | {"storage": self._storage}
        knobs["seed"] = int(check_random_state(self.random_state).randint(1, 2**31 - 1))
        self._engine = engine.build(rows, kind, self._metric, knobs, self._threads())
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
        narrow = _is_narrow(X) and self._center is None and dtype == np.float32
        wide = np.float32 if narrow else np.float64
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if self._center is not None:
                rows = np.subtract(X, self._center, dtype=wide)
            else:
                rows = X.astype(wide, copy=False)
            if self._scale != 1:
                rows = rows * wide(self._scale)
            if self._metric in ("cosine", "angular"):
                rows = _unit(rows)
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

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the fitted index into a folder, without pickle.

        Parameters
        ----------
        path : path
            A folder, made where it is missing. It gets the index, a few arrays
            (``.npy``) and ``about.json``, which names them with their sha256. A
            former index there counts until ``about.json`` is replaced, which is
            the last step and a single one. What a killed save left is removed.

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
        self._check_parameters()
        if callable(self.weights):
            raise ParameterError(
                "weights is a function, which cannot be saved without pickle; save "
                "with set_params(weights='uniform') and set the function after load."
            )
        params = {name: _jsonable(v) for name, v in self.get_params(False).items()}
        about = {
            "format": FORMAT,
            "params": params | self._fitted,
            "scale": self._scale,
            "n_features": self.n_features_in_,
            "n_samples": self.n_samples_fit_,
            "kind": self._engine.kind,
        }
        if hasattr(self, "feature_names_in_"):
            about["feature_names"] = list(self.feature_names_in_)
        arrays = {"labels": self._labels, "classes": classes}
        if self._center is not None:
            arrays["center"] = self._center
        if self._copies is not None:
            arrays["groups"] = self._copies.groups
        if self._engine.kind == "hnsw" and self._engine.aside.size:
            arrays["aside"] = self._engine.aside
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):
                _sweep(folder)
                with tempfile.TemporaryDirectory(
                    prefix=".part-", dir=folder, ignore_cleanup_errors=True
                ) as staging:
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

        Notes
        -----
        While another process saves into the folder, the former or the new index is
        opened. The digests find damage, not malice: who can write the folder can write
        them too. faiss and annoy parse the index in C++, and a crafted one may run code
        as a pickle may; open only what you or somebody you trust saved.
        """
        folder = Path(path)
        about = _read_about(folder)
        while True:
            try:
                return cls._open(folder, about, verify)
            except DataError:
                former, about = about, _read_about(folder)
                if former == about:
                    raise  # else a save came between

    @classmethod
    def _open(cls, folder, about, verify):
        try:
            self = cls(**about["params"])
            kind, n = about["kind"], about["n_samples"]
            _expect_sizes(about)
            self._asked = self._check_parameters()
            _expect(
                kind == self._asked
                or (kind == "exact" and self._asked == "hnsw" and self.index is None),
                "kind is none that its parameters make",
            )
            engine = _Exact if kind == "exact" else _ENGINES[self.backend]
            engine.library()
            self._metric, self._storage = self.metric, self.storage or "float32"
            names = ("metric", "backend", "index", "storage")
            self._fitted = {name: getattr(self, name) for name in names}
            self.n_features_in_, self.n_samples_fit_ = about["n_features"], n
            self._scale = about["scale"]
            if "feature_names" in about:
                self.feature_names_in_ = np.array(about["feature_names"], object)
            files = {
                role: _checked(folder, file, verify)
                for role, file in about["files"].items()
            }
            self._engine = engine.read(
                files["index"], kind, self._metric, self.n_features_in_
            )
            arrays = {
                role: np.load(path, mmap_mode="r", allow_pickle=False)
                for role, path in files.items()
                if role != "index"
            }
            self._labels, self.classes_ = arrays["labels"], np.array(arrays["classes"])
            _expect_labels(self._labels, self.classes_, n)
            self._center = None
            if "center" in arrays:
                self._center = np.array(arrays["center"])
                _expect(
                    self._measures_gaps()
                    and self._center.shape == (self.n_features_in_,)
                    and self._center.dtype == np.float64
                    and np.isfinite(self._center).all(),
                    "the center is not one number a column",
                )
            self._copies = None
            n_rows = n
            if "groups" in arrays:
                n_rows = _expect_groups(arrays["groups"], n)
                self._copies = _Copies(arrays["groups"])
            _expect(self._engine.n_rows() == n_rows, "the index has other rows")
            if "aside" in arrays:
                _expect_aside(arrays["aside"], kind, n_rows)
                self._engine.set_aside(arrays["aside"])
        except BackendError:
            raise
        except ParameterError as error:
            raise DataError(_not_saved_here(folder, str(error).rstrip("."))) from None
        except _Misfit as error:
            raise DataError(_not_saved_here(folder, str(error))) from None
        except (AttributeError, KeyError, TypeError, ValueError, OSError, RuntimeError):
            raise DataError(
                _not_saved_here(folder, "a part of it is missing")
            ) from None
        return self

    def _write(self, folder, staging, arrays, about):
        exact = self._engine.kind == "exact"
        index = staging / f"index.{'npy' if exact else self._fitted['backend']}"
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
        about["sha256"] = _digest(about)
        text = json.dumps(about, indent=1) + "\n"
        (staging / "about.json").write_text(text, encoding="utf-8")
        for role, file in files.items():
            _move(next(staging.glob(f"{role}.*")), folder, file)
        # From here on the folder holds the new index, before it the former one.
        os.replace(staging / "about.json", folder / "about.json")
        kept = {file["name"] for file in files.values()}
        for old in folder.iterdir():
            if FILE_NAME.fullmatch(old.name) and old.name not in kept:
                with contextlib.suppress(PermissionError):  # mapped, as in `_move`
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
        self._check_n_jobs()
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
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or not 0 < value < 2**31:
            raise ParameterError(
                f"{name} is {value!r}; it must be a whole number > 0, below 2**31."
            )

    def _check_n_jobs(self):
        value = self.n_jobs
        if value is None:
            return
        if not isinstance(value, Integral) or isinstance(value, bool) or value == 0:
            raise ParameterError(
                f"n_jobs is {value!r}; it must be None or a whole number other than 0, "
                "-1 for all processors."
            )

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
        if _forked:
            return 1
        return min(effective_n_jobs(self.n_jobs), os.cpu_count() or 1)

    def _may_be_exact(self) -> bool:
        graph = ("storage", *(name for name in KNOBS if "hnsw" in KNOBS[name]))
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
        if self._measures_gaps() and not _is_narrow(X):
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
        most = 126 if _is_narrow(X) else 500 if self._metric == "dot" else 1_000
        return center, float(np.ldexp(1.0, -min(max(exponent, -most), most)))

    def _search(self, rows, k):
        engine, knobs = self._engine, self._knobs(self._asked)
        distances, found = engine.search(
            rows, min(k, engine.n_rows()), knobs, self._threads()
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


# --- a small set -------------------------------------------------------------


class _Exact:
    """Each row is compared with each query, in float64."""

    dtype = np.float64

    def __init__(self, raw, kind, metric):
        self.raw, self.kind, self.metric = raw, kind, metric

    @staticmethod
    def library():
        return _Faiss.library()

    @classmethod
    def build(cls, rows, kind, metric, knobs, threads):
        return cls(rows, kind, metric)

    def search(self, rows, k, knobs, threads):
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
            rough += _blank(rows)[:, None] + _blank(self.raw)
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
        return gaps + _blank(rows) + _blank(others)

    def _in_units(self, distances):
        match self.metric:
            case "euclidean":
                return np.sqrt(distances)
            case "cosine" | "angular":
                return _cosine_units(distances / 2, self.metric, 1e-30)
            case _:
                return distances

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
        _expect(raw.ndim == 2 and raw.dtype == np.float64, "the index is no table")
        _expect(np.isfinite(raw).all(), "some numbers of the index are not finite")
        _expect(raw.shape[1] == width, "the index is of another width")
        return cls(raw, kind, metric)


def _blank(rows: np.ndarray) -> np.ndarray:
    """1 for each row of zeros, which is at distance 1 by cosine from all."""
    return np.asarray(~rows.any(axis=-1), np.float64)


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
    def build(cls, rows, kind, metric, knobs, threads):
        faiss = cls.library()
        measure = cls._measure(faiss, metric)
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
            if self.kind == "flat" and self.metric == "euclidean":
                raw, found = self._search_flat(faiss, rows, k)
            else:
                params = self._params(faiss, knobs, k)
                raw, found = self.raw.search(rows, k, params=params)
            lacking = np.flatnonzero((found < 0).any(axis=1))
            if lacking.size:
                raw[lacking], found[lacking] = self._exhaustive(faiss, rows[lacking], k)
        distances = self._in_units(raw)
        if not self.aside.size:
            return distances, found
        distances[np.isin(found, self.aside)] = np.inf
        n_aside = min(k, len(self.aside))
        near, rows = self._side.search(rows, n_aside, knobs, threads)
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

    def _params(self, faiss, knobs, k):
        if self.kind == "hnsw":
            width = max(k, min(knobs["ef_search"], self.raw.ntotal))
            return faiss.SearchParametersHNSW(efSearch=width)
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
        parts = {"flat": "Flat", "hnsw": "HNSW", "ivf": "IVFFlat", "ivfpq": "IVFPQ"}
        measure = cls._measure(faiss, metric)
        _expect(
            isinstance(raw, getattr(faiss, f"Index{parts[kind]}"))
            and raw.metric_type == measure
            and raw.is_trained,
            "the index is of another kind",
        )
        _expect(
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

    dtype = np.float32

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
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            self.write(Path(folder) / "index")
            data = (Path(folder) / "index").read_bytes()
        return {"metric": self.metric, "width": self.raw.f, "data": data}

    def __setstate__(self, state):
        # Windows does not remove what is mapped.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
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


def _is_narrow(X: np.ndarray) -> bool:
    """Whether float32 keeps the numbers as they are."""
    return X.dtype == np.float32 or X.dtype.itemsize <= 2


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1, but for those of zeros."""
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    odd = np.flatnonzero(~((length > 1e-9) & (length < 1e9)))
    if odd.size:  # their squares would be 0 or infinity
        rows = rows.copy()
        largest = np.abs(rows[odd]).max(axis=1, keepdims=True)
        rows[odd] = np.ldexp(rows[odd], -np.frexp(largest)[1])
        length = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return rows / np.where(length == 0, 1, length)[:, None]


def _fold(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
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


class _Copies:
    """Which rows are equal: an index holds one of each group."""

    def __init__(self, groups):
        self.groups = groups
        self.members = np.argsort(groups, kind="stable")
        self.sizes = np.bincount(groups)
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


def _cosine_units(
    cosine: np.ndarray, metric: str, rounding: float = COSINE_ROUNDING
) -> np.ndarray:
    cosine = np.where(cosine < rounding, 0, np.minimum(cosine, 2))
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


def _not_saved_here(folder: Path, why: str) -> str:
    return (
        f"{folder} does not hold an index that this version of FastANN saved ({why}); "
        "save it again."
    )


class _Misfit(ValueError):
    """What a saved index says of itself cannot be."""


def _expect(right: Any, why: str) -> None:
    if not right:
        raise _Misfit(why)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _digest(about: dict[str, Any]) -> str:
    parts = {name: part for name, part in about.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "about.json"
    try:
        if not path.exists() and (folder / ".lock").exists():
            _wait_for_a_save(folder)
        about = json.loads(path.read_text(encoding="utf-8"))
        _expect(isinstance(about, dict), "about.json is no description")
        _expect(
            about.get("format") == FORMAT,
            f"its format is {str(about.get('format'))[:20]}, not {FORMAT}: fit again",
        )
        _expect(about["sha256"] == _digest(about), "about.json failed its checksum")
        return about
    except (FileNotFoundError, NotADirectoryError):
        if folder.is_dir():
            text = f"No saved index is in {folder}: give the folder that `save` wrote."
        else:
            what = "is a file" if folder.exists() else "does not exist"
            text = f"{folder} {what}: give the folder that `save` wrote."
        raise DataError(text) from None
    except OSError as error:
        raise DataError(
            f"{path} could not be read ({_reason(error)}): allow reading it, or save "
            "the index again."
        ) from None
    except _Misfit as error:
        raise DataError(_not_saved_here(folder, str(error))) from None
    except (ValueError, KeyError, RecursionError):
        raise DataError(_not_saved_here(folder, "about.json is damaged")) from None


def _wait_for_a_save(folder: Path) -> None:
    from filelock import FileLock

    # Where this may not write, nothing is waited for.
    with contextlib.suppress(OSError), FileLock(folder / ".lock", timeout=60):
        pass


def _expect_sizes(about: dict[str, Any]) -> None:
    """Refuse counts, names and files of other kinds than `save` writes."""
    n, width, scale = about["n_samples"], about["n_features"], about["scale"]
    _expect(_is_count(n), "n_samples is no count")
    _expect(_is_count(width), "n_features is no count")
    power = isinstance(scale, float) and 0 < scale < np.inf
    _expect(power and np.frexp(scale)[0] == 0.5, "scale is no power of 2")
    seed = about["params"]["random_state"]
    _expect(seed is None or type(seed) is int, "random_state is no whole number")
    if "feature_names" in about:
        names = about["feature_names"]
        good = isinstance(names, list) and len(names) == width
        _expect(
            good and all(isinstance(name, str) for name in names),
            "feature_names is not one name a column",
        )
    files = about["files"]
    _expect(
        isinstance(files, dict) and {*ROLES[:3]} <= {*files} <= {*ROLES},
        "files names other parts",
    )
    for role, file in files.items():
        good = isinstance(file, dict) and {*file} == {"name", "bytes", "sha256"}
        good = good and re.fullmatch("[0-9a-f]{64}", str(file["sha256"]))
        name = f"{role}-{str(file['sha256'])[:16]}" if good else ""
        _expect(
            good
            and _is_count(file["bytes"])
            and FILE_NAME.fullmatch(str(file["name"]))
            and file["name"].startswith(f"{name}."),
            f"files does not name the {role}",
        )


def _expect_labels(labels: np.ndarray, classes: np.ndarray, n: int) -> None:
    _expect(
        classes.ndim == 1
        and classes.dtype.kind in "biufU"
        and len(classes)
        and np.array_equal(np.unique(classes), classes),
        "the classes are not different labels in order",
    )
    _expect(
        labels.shape == (n,)
        and labels.dtype.kind == "i"
        and labels.min() >= 0
        and labels.max() < len(classes),
        "the labels are not one class a row",
    )


def _expect_groups(groups: np.ndarray, n: int) -> int:
    good = groups.shape == (n,) and groups.dtype.kind == "i" and groups.min() >= 0
    good = good and groups.max() < n and np.bincount(groups).all()
    _expect(good, "the groups of equal rows are not one a row")
    return int(groups.max()) + 1


def _expect_aside(aside: np.ndarray, kind: str, n: int) -> None:
    good = kind == "hnsw" and aside.ndim == 1 and aside.dtype.kind == "i"
    good = good and len(aside) > 0 and np.array_equal(np.unique(aside), aside)
    _expect(good and aside[0] >= 0 and aside[-1] < n, "aside does not name its rows")


def _sweep(folder: Path) -> None:
    """Remove what killed saves left; whoever holds the folder's lock may."""
    for left in folder.iterdir():
        if STAGED.fullmatch(left.name) and left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


def _move(staged: Path, folder: Path, file: dict[str, Any]) -> None:
    """Move a file into place; on Windows neither may be mapped."""
    target = folder / file["name"]
    try:
        os.replace(staged, target)
    except PermissionError:
        if target.exists():  # its name says that it holds the same
            _checked(folder, file, verify=True)
        else:
            shutil.copyfile(staged, target)


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
