"""Checks of lesson 07: fast neighbours."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from course_utils.checks.core import (
    as_array,
    exercise,
    expect_number,
    expect_shape,
    fail,
)

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

Answer = Callable[..., Any]
RECALL_BAR, SPEED_BAR, MEMORY_BAR = 0.95, 2.0, 0.5
MOST_ROWS, MOST_QUERIES = 20_000, 500

# --- 7.1 ---------------------------------------------------------------------


def _stale_labels() -> np.ndarray:
    """Labels as the notebook's `y` holds them."""
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(return_X_y=True)[1]


def _candidate(*faults: str) -> type:
    """Make a classifier class, sound but for the faults named."""

    class Classifier(ClassifierMixin, BaseEstimator):
        def __init__(self, n_neighbors=5, n_trees=100, metric="euclidean"):
            self.n_neighbors = n_neighbors
            self.n_trees = n_trees
            self.metric = metric

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
            return known[np.minimum(winners, len(known) - 1)]

    return Classifier


def _two_columns(x: Any) -> np.ndarray:
    return np.atleast_2d(np.asarray(x, dtype=float))


def _of_scikit_learn() -> type:
    from sklearn.neighbors import KNeighborsClassifier

    class Classifier(KNeighborsClassifier):
        def __init__(self, n_neighbors=5, n_trees=100, metric="euclidean"):
            super().__init__(n_neighbors, metric=metric)
            self.n_trees = n_trees

        def fit(self, x, labels):
            metric = self.metric
            self.metric = "cosine" if metric == "angular" else metric
            super().fit(_two_columns(x), np.ravel(labels))
            self.metric = metric
            self.n_neighbors = min(self.n_neighbors, len(self._fit_X))
            return self

        def predict(self, x):
            return super().predict(_two_columns(x))

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
        "Four small questions are enough: labels that are not 0 and 1; labels that are "
        "not those of y; five neighbours with 1, 1, 1, 0, 0; two points at different "
        "angles.",
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
    for sound in (_candidate(), _of_scikit_learn()):
        try:
            verdict = answer(sound)
        except AssertionError:
            verdict = True
        if verdict is None:
            fail("has_fault returned None for a sound classifier; I expected False.")
        if verdict is not False and not isinstance(verdict, (bool, np.bool_)):
            fail(
                f"has_fault returned a {type(verdict).__name__}; I expected True or "
                "False."
            )
        if verdict:
            fail(
                "Your test accuses a sound classifier. Work its expected answers out "
                "on paper again; avoid ties, and more neighbours than rows."
            )
    unseen = [
        number
        for number, fault in enumerate(FAULTS)
        if not _shown(answer, _candidate(fault))
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


def _shown(answer: Answer, faulty: type) -> bool:
    try:
        return bool(answer(faulty))
    except Exception:  # an answer that cannot even be read shows the fault as well
        return True


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
        got = as_array("vote", answer(positions.copy(), n_classes))
        given = f"positions of shape {positions.shape} and {n_classes} classes"
        _explain_votes(got, expected)
        got = expect_shape("vote", got, expected.shape, given=given)
        if np.allclose(got, expected):
            continue
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


def _explain_votes(got: np.ndarray, expected: np.ndarray) -> None:
    if got.shape == expected.T.shape != expected.shape and np.allclose(got, expected.T):
        fail("Rows and columns are swapped: I expected a row for each query.")
    if got.ndim == 1 and got.shape == expected.shape[1:]:
        fail(
            "You counted all rows together. Each row has an election of its own, so "
            "the result has a row for each."
        )
    if got.shape == (len(expected),):
        fail("Those are the winners; I asked for the votes of every class.")
    if got.ndim == 2 and got.shape[1] < expected.shape[1] == got.shape[1] + 1:
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
        "First line: `X, y = validate_data(self, X, y)`. It refuses what is no table "
        "of finite numbers, and remembers how many columns there are.",
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
    _run_check_estimator()
    return (
        "scikit-learn's whole list of checks passes. Your classifier now works in "
        "pipelines, grid searches and cross-validation, with labels of any kind."
    )


def _look_at_fitted(model: _Neighbors, X: np.ndarray, y: np.ndarray) -> None:
    got = model.fit(X, y)
    if got is not model:
        what = "None" if got is None else f"a {type(got).__name__}"
        fail(f"fit_neighbors returned {what}; `fit` returns the object itself: self.")
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
    codes = np.asarray(model.codes_)
    positions = [expected.index(label) for label in y.tolist()]
    if codes.shape != (len(y),) or codes.tolist() != positions:
        why = ""
        if codes.shape == y.shape and codes.tolist() == y.tolist():
            why = " Those are the labels; I expected their positions in classes_."
        fail(
            f"For the labels {y[:4].tolist()}, … codes_ begins with "
            f"{codes.ravel()[:4].tolist()}; I expected {positions[:4]}.{why}"
        )
    _look_at_index(model.index_, X)


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
        reason = " ".join(str(failed[0]["exception"]).split())[:140]
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
        true = np.stack([rng.permutation(40)[:k] for _ in range(n_queries)])
        found = np.stack([rng.permutation(row) for row in true])
        if n_queries > 4:  # the last case has all neighbours, in another order
            for number, row in enumerate(found[1:], start=1):
                lost = rng.random(k) < 0.7 * number / n_queries
                strangers = rng.permutation(np.setdiff1d(np.arange(40), true[number]))
                row[lost] = strangers[: lost.sum()]
        _compare_recall(answer, found, true)
    return (
        "Recall does not care about order, and it judges an index alone: no label is "
        "needed for it."
    )


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
    slips = (
        (np.mean(found == true), "You compare place by place; order does not count."),
        (
            np.mean(hits > 0),
            "One neighbour found is not all of them: count each.",
        ),
        (np.mean(hits == k), "You count only queries with all neighbours found."),
        (np.mean(found[:, 0] == true[:, 0]), "You look at the first neighbour alone."),
        (100 * expected, "That is in per cent; I expected a share from 0 to 1."),
        (hits.mean(), "That is the number found a query: divide by k."),
        (hits.sum(), "That is the number found: divide by how many there are."),
        (hits.sum() / k, "You divide by k, and not by the number of queries."),
        (np.isin(found, true).mean(), "A neighbour of another query counts as found."),
        (1 - expected, "That is the share that was missed."),
    )
    for slip, message in slips:
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
        "Start with flat: rows × columns numbers, 4 bytes each.",
        "HNSW has the same vectors, and for each row 2 * n_links links of 4 bytes. PQ "
        "has n_bytes a row, and no vectors.",
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
    for n, d, links, code in ((1_000, 48, 12, 8), (70_000, 96, 20, 24)):
        vectors = np.dtype(np.float32).itemsize * n * d
        list_of_links = np.dtype(np.int32).itemsize * n * 2 * links
        codes, book = n * code, np.dtype(np.float32).itemsize * 256 * d
        _compare_bytes(
            answer,
            ("flat", n, d, links, code),
            vectors,
            [(8 * n * d, "That is 8 bytes a number; float32 takes 4.")],
        )
        _compare_bytes(
            answer,
            ("hnsw", n, d, links, code),
            vectors + list_of_links,
            [
                (vectors, "Those are the vectors alone; a graph has links as well."),
                (list_of_links, "Those are the links alone; the vectors are kept too."),
                (
                    vectors + list_of_links // 2,
                    "The lowest layer has room for 2 * n_links links a row.",
                ),
                (vectors + 2 * list_of_links, "A link takes 4 bytes, not 8."),
                (vectors + 2 * links * 4, "Every row has links: multiply by n_rows."),
            ],
        )
        _compare_bytes(
            answer,
            ("pq", n, d, links, code),
            codes + book,
            [
                (codes, "Those are the codes alone; the codebook is kept too."),
                (book, "That is the codebook alone; each row has a code as well."),
                (codes + book // 4, "The codebook holds float32: 4 bytes a number."),
                (
                    codes + book * code,
                    "Each part's pieces are n_columns / n_bytes wide, so the parts "
                    "together are n_columns wide, not n_bytes times that.",
                ),
                (codes + book // code, "Every part has a codebook of its own."),
                (vectors + codes + book, "PQ keeps codes in place of the vectors."),
                (codes + vectors, "PQ keeps codes in place of the vectors."),
                (4 * codes + book, "A part's code takes one byte, not four."),
            ],
        )
    return (
        "A graph pays for speed with links, codes pay for memory with precision. You "
        "can now weigh an index before you build it."
    )


def _compare_bytes(
    answer: Answer,
    given: tuple[str, int, int, int, int],
    expected: int,
    slips: Sequence[tuple[int, str]],
) -> None:
    kind, n, d, links, code = given
    got = answer(kind, n, d, n_links=links, n_bytes=code)
    value = expect_number("index_bytes", got)
    if np.isclose(value, expected, rtol=1e-9):
        return
    extra = {"flat": "", "hnsw": f", n_links={links}", "pq": f", n_bytes={code}"}[kind]
    head = (
        f"For {kind!r}, {n:,} rows, {d} columns{extra} I expected {expected:,}, your "
        f"function returned {value:,.0f}."
    )
    general = [
        (1e-6 * expected, "That is in megabytes; I expected bytes."),
        (8 * expected, "That is in bits; I expected bytes."),
    ]
    for slip, message in [*slips, *general]:
        if np.isclose(value, slip, rtol=1e-6):
            fail(f"{head} {message}")
    fail(head)


# --- 7.6 ---------------------------------------------------------------------


@exercise(
    "7.6",
    hints=[
        'Start from the curve: which index is highest at recall 0.95? `FastANN(index="'
        '…")` and its knob is all you need.',
        "HNSW: more `n_links` and `ef_search` find more and take longer. IVF: more "
        "`n_probe`. Change one at a time.",
        'For half the memory: `index="ivfpq"` with many bytes a row, such as 392, and '
        "lists enough to look into.",
    ],
)
def choose_index(
    answer: Callable[[], Any], rows: np.ndarray, queries: np.ndarray
) -> str:
    """Check an index by its recall, and its speed or memory beside the flat one.

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
    if recall >= RECALL_BAR and (faster >= SPEED_BAR or lighter <= MEMORY_BAR):
        return reached
    fail(f"{reached} {_what_next(model, recall)}")


def _stored_bytes(model: Any) -> int:
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        return next(Path(folder).glob("index-*")).stat().st_size


def _what_next(model: Any, recall: float) -> str:
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
        return f"The bar is {RECALL_BAR}: raise {more}."
    less = {
        "trees": "search_k a little, or try index='hnsw' of faiss",
        "hnsw": "ef_search, or n_links",
        "ivf": "n_probe, or try index='hnsw'",
        "ivfpq": "n_bytes below half of a vector's 4 bytes a column",
    }[kind]
    return f"Recall is there; now lower {less}."
