"""Checks of lesson 07: fast neighbours."""

from __future__ import annotations

import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from course_utils.checks.core import (
    as_array,
    exercise,
    expect_number,
    expect_shape,
    fail,
)
from course_utils.checks.summary import summary_of

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

Answer = Callable[..., Any]
RECALL_BAR, SPEED_BAR, MEMORY_BAR = 0.99, 3.0, 0.5
MOST_ROWS, MOST_QUERIES = 20_000, 500

# --- 7.1 ---------------------------------------------------------------------


def _stale_labels() -> np.ndarray:
    """Labels as the notebook's `y` holds them."""
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(return_X_y=True)[1]


class _Witness:
    """What a test last asked of a classifier, and whether by position."""

    def __init__(self) -> None:
        self.by_position = False
        self.case = ""

    def made(self, n_trees: Any) -> None:
        self.by_position |= isinstance(n_trees, str)

    def asked(self, model: Any, labels: np.ndarray, got: np.ndarray) -> None:
        settings = f"n_neighbors={model.n_neighbors}, metric={model.metric!r}"
        self.case = f" Its last case: {settings}, labels {_first(labels)} "
        self.case += f"gave {_first(got)}."


def _first(values: np.ndarray) -> str:
    shown = ", ".join(str(value) for value in values[:8].tolist())
    return f"[{shown}{', …' if len(values) > 8 else ''}]"


def _candidate(witness: _Witness, *faults: str) -> type:
    """Make a classifier class, sound but for the faults named."""

    class Classifier(ClassifierMixin, BaseEstimator):
        def __init__(self, n_neighbors=5, n_trees=100, metric="euclidean"):
            self.n_neighbors = n_neighbors
            self.n_trees = n_trees
            self.metric = metric
            witness.made(n_trees)

        def fit(self, x, labels):
            self.rows_ = _two_columns(x)
            self.labels_ = np.ravel(np.asarray(labels))
            self.classes_ = np.unique(self.labels_)
            return self

        def predict_proba(self, x):
            import pandas as pd
            from scipy.spatial.distance import cdist

            metric = "euclidean" if "deaf" in faults else self.metric
            metric = {"angular": "cosine", "manhattan": "cityblock"}.get(metric, metric)
            distances = cdist(_two_columns(x), self.rows_, metric)
            found = np.argsort(distances, axis=1, kind="stable")[:, : self.n_neighbors]
            labels = _stale_labels() if "stale" in faults else self.labels_
            if "frequency" in faults:
                blank = pd.Series(self.labels_).value_counts() * 0
                votes = [
                    blank + pd.Series(labels[row]).value_counts(normalize=True)
                    for row in found
                ]
                return np.stack([one.fillna(0).to_numpy() for one in votes])
            counted = (labels[found][:, :, None] == np.unique(labels)).sum(axis=1)
            return counted / counted.sum(axis=1, keepdims=True)

        def predict(self, x):
            winners = self.predict_proba(x).argmax(axis=1)
            if "position" in faults:
                return winners
            known = np.unique(_stale_labels()) if "stale" in faults else self.classes_
            got = known[np.minimum(winners, len(known) - 1)]
            witness.asked(self, self.labels_, got)
            return got

    return Classifier


def _two_columns(x: Any) -> np.ndarray:
    return np.atleast_2d(np.asarray(x, dtype=float))


def _of_scikit_learn(witness: _Witness) -> type:
    from sklearn.neighbors import KNeighborsClassifier

    class Classifier(KNeighborsClassifier):
        metric: str
        n_neighbors: int

        def __init__(self, n_neighbors=5, n_trees=100, metric="euclidean"):
            super().__init__(n_neighbors, metric=metric)
            self.n_trees = n_trees
            witness.made(n_trees)

        def fit(self, x, labels):
            metric = self.metric
            self.metric = "cosine" if metric == "angular" else metric
            super().fit(_two_columns(x), np.ravel(labels))
            self.metric = metric
            self.n_neighbors = min(self.n_neighbors, len(self._fit_X))
            return self

        def predict(self, x):
            got = super().predict(_two_columns(x))
            witness.asked(self, self.classes_[self._y], got)
            return got

    return Classifier


FAULTS = {
    "stale": "votes with the notebook's y, whatever labels it was fitted with. Fit it "
    "on labels of your own making that differ from the first ones of y.",
    "position": "answers with a class's position, 0, 1, 2, …, in place of its label. "
    "Fit it on labels such as 10 and 20, or on words.",
    "frequency": "sorts its votes by frequency before it numbers them. Let label 1 be "
    "the commoner one, and ask for a row whose five neighbours have the labels "
    "1, 1, 1, 0, 0.",
    "deaf": "measures the euclidean distance whatever `metric` says. Find a row whose "
    "nearest neighbour by angle is not its nearest by distance.",
}


@exercise(
    "7.1",
    hints=[
        "Put a few points on a line, with labels that you choose. Ask for a row whose "
        "neighbours you can count on your fingers.",
        "Labels can hide a fault. Which ones would a class give that forgets what you "
        "fitted it with? Which ones would it give that never looks a label up?",
        "Two faults are left that need a case of their own: let five neighbours have "
        "the labels 1, 1, 1, 0, 0; and let two points lie at different angles.",
        'For the last one: fit [[1, 1], [9, 4]] with `metric="angular"`, ask for '
        "[[9, 9]]: it has the angle of the first point and is nearer to the second.",
        "Collect the answers, compare each with what you expect, and return True as "
        "soon as one differs: `return list(got) != [1]`, and so on.",
    ],
)
def has_fault(answer: Answer) -> str:
    """Check a test, by classifiers with one fault each and by sound ones.

    Parameters
    ----------
    answer : callable
        ``has_fault(Classifier)``, true for a faulty class.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a sound class is accused, or a fault goes unseen.
    """
    for make in (_candidate, _of_scikit_learn):
        _accuse_no_sound_one(answer, make)
    unseen = [
        number for number, fault in enumerate(FAULTS) if not _shown(answer, fault)
    ]
    if unseen:
        left = (
            f"{len(unseen)} of {len(FAULTS)} faults still get past your test. One: a "
        )
        fail(f"{left}class that {list(FAULTS.values())[unseen[0]]}")
    return (
        "Four faults found, and no sound classifier accused. Tests like this one take "
        "a minute to write and keep watch for years."
    )


def _accuse_no_sound_one(answer: Answer, make: Callable[..., type]) -> None:
    witness = _Witness()
    try:
        verdict = answer(make(witness))
    except AssertionError:
        verdict = True
    if witness.by_position:
        fail(
            "The second argument of the class is n_trees, not metric. Call it with "
            'keywords: `Classifier(n_neighbors=1, metric="angular")`.'
        )
    if _verdict(verdict, "sound", "False"):
        fail(
            "Your test accuses a sound classifier. Work its expected answers out on "
            f"paper again; avoid ties, and more neighbours than rows.{witness.case}"
        )


def _verdict(verdict: Any, kind: str, expected: str) -> bool:
    if verdict is None:
        fail(f"has_fault returned None for a {kind} classifier; I expected {expected}.")
    if not isinstance(verdict, (bool, np.bool_)):
        fail(
            f"has_fault returned a {type(verdict).__name__}; I expected True or False."
        )
    return bool(verdict)


def _shown(answer: Answer, fault: str) -> bool:
    try:
        verdict = answer(_candidate(_Witness(), fault))
    except AssertionError:
        fail(
            "Your test raised AssertionError for a faulty class; I expected it to "
            "return True. Put `if got != expected: return True` in place of `assert`."
        )
    except Exception as error:
        fail(
            f"For a faulty class your test stopped with {type(error).__name__}: "
            f"{_shortened(error)}. I expected it to return True. A faulty class may "
            "answer with any label: compare, and look nothing up by it."
        )
    return _verdict(verdict, "faulty", "True")


def _shortened(error: Any) -> str:
    words = " ".join(str(error).split()).rstrip(".")
    return textwrap.shorten(words, 170, placeholder=" …")


# --- 7.2 ---------------------------------------------------------------------


@exercise(
    "7.2",
    hints=[
        "`np.bincount` counts how often 0, 1, 2, … occur, in one list. Could each row "
        "get numbers of its own?",
        "Add n_classes × (the row's number) to every position: row 0 uses the counters "
        "0 … n_classes - 1, row 1 the next n_classes, and so on.",
        "`np.bincount(shifted.ravel(), minlength=n_rows * n_classes)`, then reshape. "
        "Or compare with every class: `positions[:, :, None] == np.arange(n_classes)`, "
        "and sum over axis 1.",
    ],
)
def vote(answer: Answer) -> str:
    """Check that votes are counted by class, row by row, without a loop.

    Parameters
    ----------
    answer : callable
        ``vote(positions, n_classes)``, shape (n_rows, n_classes).

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When counts are wrong, or rows are taken one by one.
    """
    rng = np.random.default_rng(72)
    for n_rows, k, n_classes in ((6, 5, 4), (9, 3, 7), (1, 4, 2)):
        positions = rng.integers(n_classes - 1, size=(n_rows, k))  # the last is absent
        expected = _count_votes(positions, n_classes)
        mine = positions.copy()
        raw = answer(mine, n_classes)
        got = as_array("vote", raw)
        if not np.array_equal(mine, positions):
            fail(
                "vote changed the array it was given: `positions += …` writes into the "
                "caller's rows. Write `positions + …`, which makes a new array."
            )
        given = f"positions of shape {positions.shape} and {n_classes} classes"
        _explain_votes(got, expected)
        got = expect_shape("vote", got, expected.shape, given=given)
        if np.allclose(got, expected):
            if not isinstance(raw, np.ndarray):
                fail(
                    f"The counts are right, in a {type(raw).__name__}; I expected a "
                    "NumPy array, because `.argmax(axis=1)` comes next."
                )
            continue
        shifted = np.hstack([expected[:, 1:], np.zeros((n_rows, 1))])
        if np.allclose(got, shifted):
            fail(COUNTS_FROM_ONE)
        if np.allclose(np.sort(got, axis=1), np.sort(expected, axis=1)):
            fail(
                "Each row holds the right counts in another order: sorted, or by "
                "frequency. Column c belongs to class c, or argmax names no class."
            )
        if np.allclose(got, expected / k):
            fail("Those are shares, each row adds up to 1; I expected counts.")
        if np.allclose(got, expected > 0):
            fail("Each class has at most one vote: do equal positions count once only?")
        row = int(np.flatnonzero((got != expected).any(axis=1))[0])
        fail(
            f"For the neighbours {positions[row].tolist()} and {n_classes} classes I "
            f"expected {expected[row].tolist()}, your function returned "
            f"{np.round(got[row], 3).tolist()}."
        )
    _refuse_a_loop(answer, rng)
    return (
        "All rows were counted in a few passes over one array. The columns stand in "
        "the order of the classes, so argmax means the same thing in each row."
    )


def _count_votes(positions: np.ndarray, n_classes: int) -> np.ndarray:
    rows = [[row.count(c) for c in range(n_classes)] for row in positions.tolist()]
    return np.array(rows)


COUNTS_FROM_ONE = (
    "Your first column counts class 1. The positions begin at 0, so column 0 counts "
    "class 0."
)


def _explain_votes(got: np.ndarray, expected: np.ndarray) -> None:
    if got.shape == expected.T.shape != expected.shape and np.allclose(got, expected.T):
        fail("Rows and columns are swapped: I expected a row for each query.")
    if len(expected) == 1 and got.shape == expected.shape[1:]:
        fail(
            f"For a single row I expected shape {expected.shape}, your function "
            f"returned {got.shape}: does `squeeze` drop the axis of the rows?"
        )
    if got.ndim == 1 and got.shape == expected.shape[1:]:
        fail(
            "You counted all rows together. Each row has an election of its own, so "
            "the result has a row for each."
        )
    if got.shape == (len(expected),):
        fail("Those are the winners; I asked for the votes of every class.")
    one_short = got.shape == (len(expected), expected.shape[1] - 1)
    if one_short and np.allclose(got, expected[:, 1:]):
        fail(COUNTS_FROM_ONE)
    if one_short:
        fail(
            f"A class that nobody voted for is missing: I expected {expected.shape[1]} "
            "columns, with zeros for it. See `minlength`."
        )


def _refuse_a_loop(answer: Answer, rng: np.random.Generator) -> None:
    positions = rng.integers(10, size=(20_000, 5))

    def one_by_one() -> list[np.ndarray]:
        return [np.bincount(row, minlength=10) for row in positions]

    loop = min(_cpu_seconds(one_by_one) for _ in range(3))
    yours = min(_cpu_seconds(lambda: answer(positions, 10)) for _ in range(3))
    if yours > 0.7 * loop:
        fail(
            "The counts are right, and 20,000 rows take as long as a loop that visits "
            "them one by one. Count them all in one call of NumPy."
        )


def _cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


# --- 7.3 ---------------------------------------------------------------------


class _Neighbors(ClassifierMixin, BaseEstimator):
    """The lesson's class around a student's `fit`; here so that pickle finds it."""

    answer: Answer

    def __init__(self, n_neighbors=5):
        self.n_neighbors = n_neighbors

    def fit(self, X, y):
        return type(self).answer(self, X, y)

    def predict(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        rows = np.ascontiguousarray(X, dtype=np.float32)
        k = min(self.n_neighbors, self.index_.ntotal)
        codes = np.asarray(self.codes_)[self.index_.search(rows, k)[1]]
        votes = (codes[:, :, None] == np.arange(len(self.classes_))).sum(axis=1)
        return self.classes_[votes.argmax(axis=1)]


@exercise(
    "7.3",
    hints=[
        "Both helpers may refuse. One of them also returns something: arrays, whatever "
        "came in. Go on with those, not with the originals.",
        "`np.unique` returns the sorted labels; ask it for `return_inverse=True`, and "
        "it returns the positions as well.",
        "`self.index_ = faiss.IndexFlatL2(X.shape[1])`, then "
        "`self.index_.add(np.ascontiguousarray(X, dtype=np.float32))`, then "
        "`return self`.",
    ],
)
def fit_neighbors(answer: Answer) -> str:
    """Check the method `fit`, by hand and by scikit-learn's own list.

    Parameters
    ----------
    answer : callable
        ``fit_neighbors(self, X, y)``, returning self.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When an attribute is missing or wrong, or a check of scikit-learn fails.
    """
    _Neighbors.answer = staticmethod(answer)
    rng = np.random.default_rng(73)
    for names in (["tit", "auk", "owl"], [30, -2, 11]):
        X = rng.normal(size=(24, 5))
        y = np.array(names)[np.arange(24) % 3]
        _look_at_fitted(_Neighbors(), X, y)
        _look_at_fitted(_Neighbors(), X[:3], y[:3])  # fewer rows than neighbours
    spoilt = X.copy()
    spoilt[3, 1] = np.nan
    for bad_x, bad_y, what in (
        (spoilt, y, "a NaN in X"),
        (X, y[:-1], "a y that is one shorter than X"),
    ):
        try:
            _Neighbors().fit(bad_x, bad_y)
        except NotImplementedError:
            raise
        except ValueError:
            continue
        fail(
            f"fit_neighbors took {what} without a word. `validate_data(self, X, y)` "
            "refuses it; work on with what it returns."
        )
    _refuse_measurements(X, rng.normal(size=24))
    try:
        _Neighbors().fit(X.tolist(), y.tolist())
    except (AttributeError, TypeError) as error:
        fail(f"Given lists, fit_neighbors stops: {_shortened(error)}. {ORIGINALS}")
    _run_check_estimator()
    return (
        "scikit-learn's whole list of checks passes. Your classifier now works in "
        "pipelines, grid searches and cross-validation, with labels of any kind."
    )


ORIGINALS = (
    "If you checked X and y, but went on with the originals: take what comes back, "
    "`X, y = validate_data(self, X, y)`."
)


def _refuse_measurements(X: np.ndarray, y: np.ndarray) -> None:
    try:
        _Neighbors().fit(X, y)
    except ValueError:
        return
    fail(
        f"fit_neighbors took the measurements {np.round(y[:2], 2).tolist()}, … for "
        "labels. `check_classification_targets(y)` refuses them."
    )


def _look_at_fitted(model: _Neighbors, X: np.ndarray, y: np.ndarray) -> None:
    before = model.get_params()
    try:
        got = model.fit(X, y)
    except AssertionError as error:
        if str(error):
            raise
        fail(
            f"faiss refused the rows and said no more. X has shape {X.shape}, and an "
            "IndexFlatL2 is made for a number of columns: X.shape[1]."
        )
    if got is not model:
        what = "None" if got is None else f"a {type(got).__name__}"
        fail(f"fit_neighbors returned {what}; `fit` returns the object itself: self.")
    for name, value in before.items():
        if getattr(model, name) != value:
            fail(
                f"fit changed {name} from {value} to {getattr(model, name)}, for "
                f"{len(X)} rows. The arguments of __init__ are the caller's: `fit` "
                "leaves them alone."
            )
    for name in ("classes_", "codes_", "index_"):
        if not hasattr(model, name):
            near = name.rstrip("_")
            slip = f" There is self.{near}: add the underscore."
            fail(f"self.{name} is not set.{slip if hasattr(model, near) else ''}")
    classes = np.ravel(model.classes_).tolist()
    expected = sorted(set(y.tolist()))
    if classes != expected:
        why = ""
        if sorted(classes) == expected:
            why = " They should be sorted, or the order depends on the first rows."
        elif len(classes) == len(y):
            why = " That is every row's label; each should stand there once."
        fail(f"For the labels {y[:4].tolist()}, … classes_ is {classes[:6]}.{why}")
    _expect_arrays(model)
    codes = model.codes_
    positions = [expected.index(label) for label in y.tolist()]
    if codes.shape != (len(y),) or codes.tolist() != positions:
        why = ""
        if codes.shape == y.shape and codes.tolist() == y.tolist():
            why = " Those are the labels; I expected their positions in classes_."
        elif codes.tolist() == [position + 1 for position in positions]:
            why = " Positions count from 0, as in any array."
        elif codes.tolist() == [y.tolist().index(label) for label in expected]:
            why = (
                " That is where each label occurs first, `return_index`; "
                "`return_inverse` gives a position for every row."
            )
        fail(
            f"For the labels {y[:4].tolist()}, … codes_ begins with "
            f"{codes.ravel()[:4].tolist()}; I expected {positions[:4]}.{why}"
        )
    _look_at_index(model.index_, X)


def _expect_arrays(model: _Neighbors) -> None:
    for name in ("classes_", "codes_"):
        value = getattr(model, name)
        if not isinstance(value, np.ndarray):
            fail(
                f"{name} is a {type(value).__name__}; I expected a NumPy array, "
                "because `predict` indexes it with an array."
            )


def _look_at_index(index: Any, X: np.ndarray) -> None:
    n_rows = getattr(index, "ntotal", None)
    if n_rows is None:
        fail(f"index_ is a {type(index).__name__}; I expected a faiss.IndexFlatL2.")
    if n_rows == 0:
        fail("index_ is empty: the rows must be added.")
    if n_rows != len(X) or not np.allclose(
        index.reconstruct_n(0, n_rows), X, atol=1e-5
    ):
        fail("index_ does not hold the rows of X, one after the other.")
    squared = index.search(X[:1].astype(np.float32), 2)[0][0, 1]
    if not np.isclose(squared, np.sort(((X - X[0]) ** 2).sum(axis=1))[1], rtol=1e-3):
        fail("index_ does not measure the euclidean distance: use faiss.IndexFlatL2.")


def _run_check_estimator() -> None:
    from sklearn.utils.estimator_checks import check_estimator

    results = check_estimator(_Neighbors(), on_skip=None, on_fail=None)
    failed = [one for one in results if one["status"] == "failed"]
    if failed:
        reason = _shortened(failed[0]["exception"])
        if "array_function" in reason:
            fail(f"fit_neighbors calls NumPy on what it was given. {ORIGINALS}")
        fail(
            f"{len(failed)} of scikit-learn's {len(results)} checks fail. The first, "
            f"{failed[0]['check_name']}, says: {reason}"
        )


# --- 7.4 ---------------------------------------------------------------------


@exercise(
    "7.4",
    hints=[
        "Take one query first: how many of the numbers in `true[0]` occur anywhere in "
        "`found[0]`?",
        "`set(found[0]) & set(true[0])` are the ones found. Divide by k, and take the "
        "mean over the queries.",
        "Without a loop: `(found[:, :, None] == true[:, None, :]).any(axis=1).mean()`.",
    ],
)
def recall_at_k(answer: Answer) -> str:
    """Check the share of true neighbours that were found.

    Parameters
    ----------
    answer : callable
        ``recall_at_k(found, true)`` for shapes (n_queries, k).

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a share is wrong.
    """
    rng = np.random.default_rng(74)
    for n_queries, k in ((8, 5), (30, 10), (5, 3), (4, 5)):
        found, true = _neighbours_with_gaps(rng, n_queries, k)
        # Two slips that give the same number could not be told apart.
        while _slips_agree(found, true):
            found, true = _neighbours_with_gaps(rng, n_queries, k)
        _compare_recall(answer, found, true)
    return (
        "Recall does not care about order, and it judges an index alone: no label is "
        "needed for it."
    )


def _neighbours_with_gaps(
    rng: np.random.Generator, n_queries: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    true = np.stack([rng.permutation(40)[:k] for _ in range(n_queries)])
    found = np.stack([rng.permutation(row) for row in true])
    if n_queries > 4:  # four queries find all neighbours, in another order
        for number, row in enumerate(found[1:], start=1):
            lost = rng.random(k) < 0.7 * number / n_queries
            strangers = rng.permutation(np.setdiff1d(np.arange(40), true[number]))
            row[lost] = strangers[: lost.sum()]
    return found, true


def _slips_agree(found: np.ndarray, true: np.ndarray) -> bool:
    right = (found[:, :, None] == true[:, None]).any(axis=1).mean()
    slips = np.array([slip for slip, _ in _recall_slips(found, true)])
    slips = np.sort(slips[~np.isclose(slips, right)])
    return bool(np.isclose(np.diff(slips), 0, atol=1e-6).any())


def _recall_slips(found: np.ndarray, true: np.ndarray) -> list[tuple[float, str]]:
    k = true.shape[1]
    pairs = found[:, :, None] == true[:, None]
    hits = pairs.any(axis=1).sum(axis=1)
    share = hits.mean() / k
    in_order = np.sort(found, axis=1) == np.sort(true, axis=1)
    return [
        (np.mean(found == true), "You compare place by place; order does not count."),
        (
            in_order.mean(),
            "Sorted rows compared place by place: one stranger shifts all after it.",
        ),
        (
            pairs.mean(),
            "You average over all k × k pairs of a query: first ask of each true "
            "neighbour whether any place holds it, `any(axis=1)`.",
        ),
        (
            pairs.any(axis=0).mean(),
            "any(axis=0) runs over the queries. Of the axes query, found, true, it is "
            "the places in `found` that you ask about.",
        ),
        (
            np.mean(hits / (2 * k - hits)),
            "You divide by the union of both sets; recall divides by the k true ones.",
        ),
        (np.mean(hits > 0), "One neighbour found is not all of them: count each."),
        (np.mean(hits == k), "You count only queries with all neighbours found."),
        (np.mean(found[:, 0] == true[:, 0]), "You look at the first neighbour alone."),
        (100 * share, "That is in per cent; I expected a share from 0 to 1."),
        (hits.mean(), "That is the number found a query: divide by k."),
        (hits.sum(), "That is the number found: divide by how many there are."),
        (hits.sum() / k, "You divide by k, and not by the number of queries."),
        (np.isin(found, true).mean(), "A neighbour of another query counts as found."),
        (1 - share, "That is the share that was missed."),
    ]


def _compare_recall(answer: Answer, found: np.ndarray, true: np.ndarray) -> None:
    k = true.shape[1]
    hits = np.array([len({*a} & {*b}) for a, b in zip(found, true, strict=True)])
    expected = hits.mean() / k
    got = as_array("recall_at_k", answer(found.copy(), true.copy()))
    if got.shape == hits.shape and np.allclose(got, hits / k):
        fail("That is one number a query; I expected their mean.")
    value = expect_number("recall_at_k", got)
    if np.isclose(value, expected, atol=1e-9):
        return
    for slip, message in _recall_slips(found, true):
        if np.isclose(value, slip, atol=1e-9):
            fail(f"I expected {expected:.3f}, not {value:.3f}. {message}")
    fail(
        f"For {len(true)} queries with {k} neighbours each, {hits.sum()} of them "
        f"found, I expected {expected:.3f}; your function returned {value:.3f}."
    )


# --- 7.5 ---------------------------------------------------------------------


@exercise(
    "7.5",
    hints=[
        "Take one row first: how many numbers, links or codes does it keep, and how "
        "many bytes has each? Then come the rows.",
        "Which part of PQ is there once, however many rows there are? It is added, not "
        "multiplied by n_rows.",
        "The codebook: 256 pieces for each part; all parts of one piece number side by "
        "side are one row of n_columns numbers. So 256 * n_columns * 4 bytes.",
    ],
)
def index_bytes(answer: Answer) -> str:
    """Check the memory of three kinds of index.

    Parameters
    ----------
    answer : callable
        ``index_bytes(kind, n_rows, n_columns, n_links=16, n_bytes=16)``.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a number of bytes is wrong.
    """
    for given in ((1_000, 48, 12, 8), (70_000, 96, 20, 24)):
        for kind in ("flat", "hnsw", "pq"):
            _compare_bytes(answer, kind, *given)
    return (
        "A graph pays for speed with links, codes pay for memory with precision. You "
        "can now weigh an index before you build it."
    )


def _true_bytes(kind: str, n: int, d: int, links: int, code: int) -> int:
    vectors = np.dtype(np.float32).itemsize * n * d
    if kind == "flat":
        return vectors
    if kind == "hnsw":
        return vectors + np.dtype(np.int32).itemsize * n * 2 * links
    return n * code + np.dtype(np.float32).itemsize * 256 * d


def _slips_of_bytes(
    kind: str, n: int, d: int, links: int, code: int
) -> list[tuple[float, str]]:
    vectors, book = 4 * n * d, 4 * 256 * d
    slots = n * 2 * links
    codes = n * code
    if kind == "flat":
        return [
            (n * d, "That is how many numbers there are; each takes 4 bytes."),
            (8 * n * d, "That is 8 bytes a number; float32 takes 4."),
        ]
    if kind == "hnsw":
        return [
            (vectors, "Those are the vectors alone; a graph has links as well."),
            (4 * slots, "Those are the links alone; the vectors are kept too."),
            (vectors + slots, "You count the links; each takes 4 bytes."),
            (n * d + slots, "You count numbers and links; each takes 4 bytes."),
            (n * d + 4 * slots, "The vectors' numbers take 4 bytes each, as in flat."),
            (vectors + 2 * slots, "The lowest layer has 2 * n_links links a row."),
            (vectors + 8 * slots, "A link takes 4 bytes, not 8."),
            (vectors + 8 * links, "Every row has links: multiply by n_rows."),
            (_true_bytes(kind, n, d, 16, code), "You count 16 links: use n_links."),
        ]
    wide = (
        "A part's pieces are n_columns / n_bytes wide, so all parts together are as "
        "wide as a vector: n_columns."
    )
    return [
        (codes, "Those are the codes alone; the codebook is kept too."),
        (book, "That is the codebook alone; each row has a code as well."),
        (codes + 256 * d, "The codebook holds float32: 4 bytes a number."),
        (codes + book * code, wide),
        (codes + 4 * 256 * code, wide),
        (codes + book / code, "Every part has a codebook of its own."),
        (codes + n * book, "The codebook is there once, not once a row."),
        (n * (codes + book), "The codebook is there once, not once a row."),
        (vectors + codes + book, "PQ keeps codes in place of the vectors."),
        (codes + vectors, "PQ keeps codes in place of the vectors."),
        (4 * codes + book, "A part's code takes one byte, not four."),
        (8 * codes + book, "You count a code in bits: 8 of them are one byte."),
        (_true_bytes(kind, n, d, links, 16), "You count 16 bytes a row: use n_bytes."),
    ]


def _compare_bytes(
    answer: Answer, kind: str, n: int, d: int, links: int, code: int
) -> None:
    expected = _true_bytes(kind, n, d, links, code)
    got = answer(kind, n, d, n_links=links, n_bytes=code)
    value = expect_number("index_bytes", got)
    if np.isclose(value, expected, rtol=1e-9):
        return
    extra = {"flat": "", "hnsw": f", n_links={links}", "pq": f", n_bytes={code}"}[kind]
    shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"
    head = (
        f"For {kind!r}, {n:,} rows, {d} columns{extra} I expected {expected:,}, your "
        f"function returned {shown}."
    )
    slips = _slips_of_bytes(kind, n, d, links, code)
    for power, decimal, binary in (
        (1, "kB", "KiB"),
        (2, "MB", "MiB"),
        (3, "GB", "GiB"),
    ):
        slips.append((expected / 1e3**power, f"That is in {decimal}, not in bytes."))
        slips.append(
            (expected / 2 ** (10 * power), f"That is in {binary}, not in bytes.")
        )
    slips.append((8 * expected, "That is in bits; I expected bytes."))
    for rows in (20_000, 60_000):  # the notebook's, quick and full
        for columns in (d, 784):
            slip = _true_bytes(kind, rows, columns, links, code)
            slips.append((slip, "That is for the notebook's pictures: use n_rows."))
    for wrong, message in slips:
        if np.isclose(value, wrong, rtol=1e-6):
            fail(f"{head} {message}")
    fail(head)


# --- 7.6 ---------------------------------------------------------------------


@exercise(
    "7.6",
    hints=[
        "Three things are asked for. Which of the four ways to look is fast at a "
        "recall near 1? Which part of its memory is the largest?",
        "Pixels are whole numbers from 0 to 255. `storage` says in which numbers the "
        "graph keeps them, and how many bytes each takes.",
        'Start from `FastANN(storage="uint8")`, read the recall, and change one knob '
        "at a time: more `ef_search` or `n_links` finds more and takes longer.",
    ],
)
def choose_index(
    answer: Callable[[], Any], rows: np.ndarray, queries: np.ndarray
) -> str:
    """Check an index by its recall, its speed and its memory beside the flat one.

    Parameters
    ----------
    answer : callable
        ``choose_index()``, an unfitted FastANN.
    rows, queries : float arrays of shape (n, n_columns)
        What to search, and what to ask with; the first 20,000 and 500 count.

    Returns
    -------
    str
        What was reached.

    Raises
    ------
    ExerciseError
        When the bar is missed, with what to try next.
    """
    from course_utils.neighbors import BackendError, FastANN, ParameterError

    model = answer()
    if model is None:
        fail("choose_index returned None: does its last line begin with `return`?")
    if not isinstance(model, FastANN):
        fail(f"choose_index returned a {type(model).__name__}; I expected a FastANN.")
    if model.metric != "euclidean":
        fail(
            f"metric={model.metric!r} finds other neighbours than the ones asked for. "
            'Leave it at "euclidean"; then recall means something.'
        )
    rows, queries = rows[:MOST_ROWS], queries[:MOST_QUERIES]
    labels = np.arange(len(rows)) % 2
    flat = FastANN(index="flat").fit(rows, labels)
    # One thread, and processor time: others may be at work on this machine.
    model = clone(model).set_params(n_jobs=1)
    try:
        model.fit(rows, labels)
    except (ParameterError, BackendError) as error:
        fail(str(error))
    speeds = []
    for _ in range(3):
        theirs = _cpu_seconds(lambda: flat.kneighbors(queries, 5))
        yours = _cpu_seconds(lambda: model.kneighbors(queries, 5))
        speeds.append(theirs / max(yours, 1e-6))
    faster = float(np.median(speeds))
    true = flat.kneighbors(queries, 5, return_distance=False)
    found = model.kneighbors(queries, 5, return_distance=False)
    recall = float((found[:, :, None] == true[:, None]).any(axis=1).mean())
    lighter = _stored_bytes(model) / (4 * rows.size)
    reached = (
        f"Recall {recall:.3f}, {faster:.1f} times the queries per second of flat, "
        f"{lighter:.2f} of its memory."
    )
    if recall >= RECALL_BAR and faster >= SPEED_BAR and lighter <= MEMORY_BAR:
        return reached
    fail(f"{reached} {_what_next(model, recall, lighter)}")


def _stored_bytes(model: Any) -> int:
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        return next(Path(folder).glob("index-*")).stat().st_size


def _what_next(model: Any, recall: float, lighter: float) -> str:
    kind = "trees" if model.backend == "annoy" else model.index or "hnsw"
    if kind == "flat":
        return "That is the yardstick itself: choose an index that looks at fewer rows."
    if recall < RECALL_BAR:
        more = {
            "trees": "search_k or n_trees",
            "hnsw": "ef_search or n_links",
            "ivf": "n_probe",
            "ivfpq": "n_bytes, then n_probe",
        }[kind]
        return f"The bar is recall {RECALL_BAR}: raise {more}."
    if lighter > MEMORY_BAR:
        less = "It keeps too much of each vector: try index='hnsw' and `storage`"
        if kind == "hnsw":
            less = "Keep its numbers in fewer bytes, by `storage`, or fewer links"
        return f"The bar is {MEMORY_BAR} of flat's memory. {less}."
    less = "ef_search or n_links" if kind == "hnsw" else "n_probe"
    return f"The bar is {SPEED_BAR:.0f} times flat's queries: lower {less}."


summary = summary_of(__name__)
