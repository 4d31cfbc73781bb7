"""Rows that come and go after `fit`, and the graph of neighbours."""

from __future__ import annotations

from typing import Any

from course_utils.neighbors._common import NotOfferedError, ParameterError
from course_utils.neighbors._copies import fold

import numpy as np
from scipy.sparse import csr_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted


class _WhereRowsMayChange:
    """A method that is there where the index can change, as scikit-learn wants it."""

    def __init__(self, method):
        self.method, self.__doc__ = method, method.__doc__

    def __get__(self, model, owner=None):
        if model is None:
            return self.method
        kind = "trees" if model.backend == "annoy" else model.index
        if kind == "trees" or (kind == "ivfpq" and not model._reranks()):
            raise NotOfferedError(
                f"index={kind!r} can neither add nor remove rows; fit again, or choose "
                "index='flat', 'hnsw' or 'ivf'."
            )
        return self.method.__get__(model)


class Changes:
    """The part of FastANN that adds rows, removes rows, and links neighbours."""

    @_WhereRowsMayChange
    def partial_fit(self: Any, X: Any, y: Any, classes: Any = None) -> Any:
        """Add rows to the index; the first call is `fit`.

        Parameters
        ----------
        X : array of shape (n, n_features)
            They get the row numbers after those in use.
        y : array of shape (n,)
            Their labels; new classes join `classes_`.
        classes : array, optional
            Classes that later calls bring.

        Returns
        -------
        FastANN
            Itself.

        Raises
        ------
        ParameterError
            When labels are of another type than those before. Trees, and ivfpq without
            `rerank`, have no such method, and say so.

        Notes
        -----
        A graph is checked anew, as after `fit`: each row is searched for once. Add many
        rows at a time.
        """
        if not hasattr(self, "_engine"):
            self.fit(X, y)
            self._join_classes(classes)
            return self
        X, y = self._validate(X, y, reset=False)
        check_classification_targets(y)
        rows = self._rows(X, self._engine.dtype)
        groups = self._groups()
        self._join_classes(y)
        self._join_classes(classes)
        added = np.searchsorted(self.classes_, y)
        self._labels = np.concatenate([self._labels, added])
        self.n_samples_fit_ += len(y)
        if self._engine.kind in ("exact", "flat"):
            numbers = self._engine.n_rows() + np.arange(len(y))
        else:
            rows, numbers = self._find_equals(self._as_stored(rows))
        if len(rows):
            self._engine.add(rows, self._settings(self._asked), self._threads())
        groups = np.concatenate([groups, numbers])
        whole = len(groups) == self._engine.n_rows() and (groups >= 0).all()
        self._set_groups(None if whole else groups)
        if self._engine.kind == "exact":  # perhaps there are too many for it now
            self._rebuild(groups)
        return self

    @_WhereRowsMayChange
    def remove(self: Any, rows: Any) -> Any:
        """Take rows out of the index; the others keep their numbers.

        Parameters
        ----------
        rows : int array of shape (n,)
            Numbers as `kneighbors` returns them.

        Returns
        -------
        FastANN
            Itself.

        Raises
        ------
        ParameterError
            When a number is none of a row in the index, or no row would be left. Trees,
            and ivfpq without `rerank`, have no such method, and say so.

        Notes
        -----
        A graph and lists only mark the rows, until less than half is left: then they
        are built anew.
        """
        check_is_fitted(self)
        groups = self._groups().copy()
        rows = np.atleast_1d(np.asarray(rows))
        if rows.ndim != 1 or rows.size and rows.dtype.kind not in "iu":
            raise ParameterError(
                "rows is no list of row numbers; pass numbers as kneighbors returns."
            )
        rows = np.unique(rows.astype(np.int64))
        known = (rows >= 0) & (rows < len(groups))
        known[known] = groups[rows[known]] >= 0
        if not known.all():
            raise ParameterError(
                f"Row {rows[~known][0]} is not in the index; pass numbers as "
                "kneighbors returns."
            )
        if len(rows) == self.n_samples_fit_:
            raise ParameterError(
                "No row would be left; keep at least one, or fit again."
            )
        groups[rows] = -1
        n_held = len(np.unique(groups[groups >= 0]))
        few = 2 * n_held < self._engine.n_rows() and n_held >= (self.n_lists or 0)
        if self._engine.kind in ("exact", "flat") or few:
            self._rebuild(groups)
        else:
            self._set_groups(groups)
        return self

    def kneighbors_graph(
        self: Any, X: Any = None, n_neighbors: Any = None, mode: str = "connectivity"
    ) -> csr_array:
        """Set the neighbours of each query in a sparse table.

        Parameters
        ----------
        X, n_neighbors
            As in `kneighbors`.
        mode : {"connectivity", "distance"}
            Whether the table holds ones or distances.

        Returns
        -------
        scipy.sparse.csr_array of shape (n_queries, n_rows)
            One column for each row number in use, removed ones included.

        Raises
        ------
        ValueError
            As `kneighbors`, and for another mode.
        """
        if mode not in ("connectivity", "distance"):
            raise ParameterError(
                f"mode is {mode!r}; choose 'connectivity' or 'distance'."
            )
        distances, found = self.kneighbors(X, n_neighbors)
        weights = np.ones(found.size) if mode == "connectivity" else distances.ravel()
        starts = np.arange(len(found) + 1) * found.shape[1]
        shape = len(found), len(self._labels)
        return csr_array((weights, found.ravel(), starts), shape=shape)

    def _groups(self: Any) -> np.ndarray:
        """Which row of the index each row number means; -1 for removed ones."""
        if self._copies is None:
            return np.arange(len(self._labels))
        return self._copies.groups

    def _join_classes(self: Any, labels: Any) -> None:
        if labels is None:
            return
        labels, before = np.unique(labels), self.classes_
        words = [one.dtype.kind in "OUS" for one in (labels, before)]
        if words[0] != words[1]:
            raise ParameterError(
                "The labels are of another type than those before; pass all as text "
                "or all as numbers."
            )
        self.classes_ = np.union1d(before, labels)
        self._labels = np.searchsorted(self.classes_, before)[self._labels]

    def _find_equals(self: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those that the index does not hold yet, and the number of each row there."""
        rows, folded = fold(rows)
        settings, threads = self._settings(self._asked), self._threads()
        near = self._engine.search(rows, 1, settings, threads)[1][:, 0]
        same = (self._engine.rows()[near] == rows).all(axis=1)
        near[~same] = self._engine.n_rows() + np.arange(np.count_nonzero(~same))
        return rows[~same], near if folded is None else near[folded]

    def _rebuild(self: Any, groups: np.ndarray) -> None:
        """Build the index anew over the rows that are left."""
        held = np.flatnonzero(groups >= 0)
        rows = self._engine.rows()[groups[held]]
        self.n_samples_fit_ = len(held)
        self._build_over(
            self._engine.kind, lambda dtype: rows.astype(dtype, copy=False)
        )
        if len(held) < len(groups):
            groups = np.full(len(groups), -1)
            groups[held] = np.arange(len(held))
            if self._copies is not None:
                groups[held] = self._copies.groups
            self._set_groups(groups)
