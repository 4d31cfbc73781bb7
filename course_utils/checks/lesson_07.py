"""Checks of lesson 07, Fast neighbours."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import exercise, fail
from course_utils.checks.summary import summary_of
from course_utils.checks.updatable import cpu_seconds, recall_of_each, shortened
from course_utils.checks.updatable import updatable_index as updatable_index

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted, check_X_y, validate_data

Answer = Callable[..., Any]
RECALL_BAR, SPEED_BAR, MEMORY_BAR = 0.99, 3.0, 0.5
MORE = {
    "annoy": "search_k or n_trees",
    "hnsw": "ef_search or n_links",
    "ivf": "n_probe",
    "ivfpq": "n_bytes, then n_probe",
}

FAULTS = {
    "stale": "votes with the notebook's y, whatever labels it was fitted with. Fit it "
    "on labels of your own making that differ from the first ones of y.",
    "position": "answers with a class's position, 0, 1, 2, …, in place of its label. "
    "Fit it on labels such as 10 and 20, or on words.",
    "frequency": "sorts its votes by frequency before it numbers them. Let label 1 be "
    "more frequent than label 0, and ask for a row whose five neighbours have the "
    "labels 1, 1, 1, 0, 0.",
    "metric": "measures the euclidean distance whatever `metric` says. Find a row "
    "whose nearest neighbour by angle is not its nearest by distance.",
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
    """Try a test on sound classifiers, and on others with one fault each."""
    for step in (1, -1):
        sound = _candidate(step=step)
        faulty = _verdict(answer, sound, expected=False)
        if sound.by_position:
            fail(
                "The second argument of the class is n_trees, not metric. Call it with "
                'keywords: `Classifier(n_neighbors=1, metric="angular")`.'
            )
        if faulty:
            fail(
                "Your test calls a sound classifier faulty. Work its expected answers "
                "out on paper again; avoid ties, also of distances, and more "
                f"neighbours than rows. {sound.last_case}".rstrip()
            )
    unseen = [f for f in FAULTS if not _verdict(answer, _candidate(f), expected=True)]
    if unseen:
        left = f"{len(unseen)} of {len(FAULTS)} faults still get past your test."
        fail(f"{left} One: a class that {FAULTS[unseen[0]]}")
    return (
        "Four faults found, and the sound classifiers passed. A test like this takes a "
        "minute to write and runs after every change."
    )


def _candidate(fault: str = "", step: int = 1) -> Any:
    """Make a class, sound but for the fault named; with step -1 ties go to the last."""
    import pandas as pd
    from scipy.spatial.distance import cdist
    from sklearn.datasets import load_breast_cancer

    class Classifier(ClassifierMixin, BaseEstimator):
        by_position, last_case = False, ""

        def __init__(self, n_neighbors=5, n_trees=100, metric="euclidean"):
            self.n_neighbors, self.n_trees, self.metric = n_neighbors, n_trees, metric
            Classifier.by_position |= isinstance(n_trees, str)

        def fit(self, x, labels):
            self.rows_, self.labels_ = check_X_y(x, labels)
            if fault == "stale":  # the notebook's y
                self.labels_ = load_breast_cancer(return_X_y=True)[1]
            self.classes_ = np.unique(self.labels_)
            return self

        def predict_proba(self, x):
            metric = "euclidean" if fault == "metric" else self.metric
            metric = {"angular": "cosine", "manhattan": "cityblock"}.get(metric, metric)
            order = cdist(x, self.rows_[::step], metric).argsort(axis=1, kind="stable")
            blank = pd.Series(self.labels_).value_counts() * 0
            shares = []
            for row in self.labels_[::step][order[:, : self.n_neighbors]]:
                share = blank + pd.Series(row).value_counts(normalize=True)
                shares.append(share if fault == "frequency" else share.sort_index())
            return np.nan_to_num(np.stack(shares))

        def predict(self, x):
            got = self.predict_proba(x).argmax(axis=1)
            got = got if fault == "position" else self.classes_[got]
            labels, votes = map(shortened, (self.labels_.tolist(), got.tolist()))
            Classifier.last_case = (
                f"Its last case: n_neighbors={self.n_neighbors}, "
                f"metric={self.metric!r}, labels {labels} gave {votes}."
            )
            return got

    return Classifier


def _verdict(answer: Answer, candidate: Any, *, expected: bool) -> bool:
    try:
        verdict = answer(candidate)
    except Exception as error:
        if not expected and isinstance(error, AssertionError):
            return True
        if not expected:
            raise
        remedy = "It may return any label: compare labels, do not use them as keys."
        if isinstance(error, AssertionError):
            remedy = "Put `if got != expected: return True` in place of `assert`."
        fail(
            f"For a faulty class your test raised {type(error).__name__}: "
            f"{shortened(error)}. I expected it to return True. {remedy}"
        )
    if not isinstance(verdict, bool | np.bool_):
        kind = "faulty" if expected else "sound"
        fail(
            f"has_fault returned {verdict!r} for a {kind} class; I expected {expected}."
        )
    return bool(verdict)


def _votes(positions: np.ndarray, n_classes: int, axis: int = 1) -> np.ndarray:
    return (positions[:, :, None] == np.arange(n_classes)).sum(axis=axis)


def _refuse_a_loop(answer: Answer) -> None:
    positions = np.random.default_rng(72).integers(10, size=(20_000, 5))
    votes = answer(positions.copy(), 10)
    if not hasattr(votes, "argmax"):
        fail(
            f"The counts are right, of type {type(votes).__name__}; later cells call "
            "`.argmax(axis=1)` on them: return a NumPy array."
        )
    loop = cpu_seconds(lambda: [np.bincount(row, minlength=10) for row in positions])
    yours = cpu_seconds(lambda: answer(positions.copy(), 10))
    if yours > 0.7 * loop:
        fail(
            "The counts are right, and 20,000 rows take as long as a loop that visits "
            "them one by one. Count them all in one call of NumPy."
        )


@reference(
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
    cases=lambda: [  # no row has a neighbour of the last class
        Case(np.random.default_rng(72).integers(n - 1, size=size), n)
        for *size, n in ((6, 5, 4), (9, 3, 7), (1, 4, 2))
    ],
    # p positions, n classes.
    mistakes={
        "Rows and columns are swapped.": lambda p, n: _votes(p, n).T,
        "Does `squeeze` drop the rows' axis?": lambda p, n: _votes(p, n).squeeze(),
        "Each row needs counts of its own, not all rows together.": (
            lambda p, n: np.bincount(p.ravel(), minlength=n),
            lambda p, n: np.bincount(p.ravel(), minlength=len(p) * n).reshape(-1, n),
        ),
        "Those are the winners, not the votes.": lambda p, n: _votes(p, n).argmax(1),
        "Your first column counts class 1; column 0 counts class 0.": (
            lambda p, n: _votes(p - 1, n),
            lambda p, n: _votes(p - 1, n - 1),
        ),
        "A class without votes is missing; its column holds zeros. See `minlength`.": (
            lambda p, n: _votes(p, n - 1)
        ),
        "You summed over another axis; sum over the neighbours.": (
            lambda p, n: _votes(p, n, axis=0),
            lambda p, n: _votes(p, n, axis=2),
        ),
        "The counts are in another order; column c belongs to class c.": (
            lambda p, n: np.sort(_votes(p, n)),
            lambda p, n: np.sort(_votes(p, n))[:, ::-1],
        ),
        "Those are shares; I expected counts.": lambda p, n: _votes(p, n) / p.shape[1],
        "A class has at most one vote; count them all.": lambda p, n: _votes(p, n) > 0,
    },
    then=_refuse_a_loop,
    advice="Row r starts at r * n_classes; `minlength` keeps classes without votes.",
    passed="All rows were counted in a few passes over one array. The columns are in "
    "the order of the classes, so argmax means the same thing in each row.",
)
def vote(positions: np.ndarray, n_classes: int) -> np.ndarray:
    """Count class after class in lists."""
    rows = positions.tolist()
    return np.array([[row.count(c) for c in range(n_classes)] for row in rows])


class _Neighbors(ClassifierMixin, BaseEstimator):
    """The lesson's class around a student's `fit`; here so that pickle finds it."""

    answer: Answer

    def __init__(self, n_neighbors=5):
        self.n_neighbors = n_neighbors

    def fit(self, X, y):
        return type(self).answer(self, X, y)

    def predict(self, X):
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False).astype(np.float32, order="C")
        found = self.index_.search(rows, min(self.n_neighbors, len(self.codes_)))[1]
        votes = _votes(self.codes_[found], len(self.classes_))
        return self.classes_[votes.argmax(axis=1)]


VALIDATE = "`validate_data(self, X, y)` refuses it; work on with what it returns."
ORIGINALS = (
    "If you checked X and y, but went on with the originals: take what comes back, "
    "`X, y = validate_data(self, X, y)`."
)


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
    """Check the method `fit`, by hand and by scikit-learn's own list."""
    from sklearn.utils.estimator_checks import check_estimator

    _Neighbors.answer = staticmethod(answer)
    X = np.random.default_rng(73).normal(size=(24, 5))
    for names in (["tit", "auk", "owl"], [30, -2, 11]):
        y = np.array(names)[np.arange(24) % 3]
        _look_at_fitted(X, y)
        _look_at_fitted(X[:3], y[:3])  # fewer rows than neighbours
    numbers = np.round(X[:, 0], 2)
    targets = "`check_classification_targets(y)` refuses them."
    for bad_x, bad_y, what, remedy in (
        (np.where(X == X[3, 1], np.nan, X), y, "a NaN in X", VALIDATE),
        (X, y[:-1], "a y that is one shorter than X", VALIDATE),
        (X, numbers, f"measurements as labels, {numbers[:2].tolist()}, …", targets),
    ):
        with contextlib.suppress(ValueError):
            _Neighbors().fit(bad_x, bad_y)
            fail(f"fit_neighbors accepted {what}. {remedy}")
    try:
        _Neighbors().fit(X.tolist(), y.tolist())
    except (AttributeError, TypeError) as error:
        fail(f"Given lists, fit_neighbors stops: {shortened(error)}. {ORIGINALS}")
    results = check_estimator(_Neighbors(), on_skip=None, on_fail=None)
    failed = [one for one in results if one["status"] == "failed"]
    if failed:
        reason = shortened(failed[0]["exception"])
        if "array_function" in reason:
            fail(f"fit_neighbors calls NumPy on what it was given. {ORIGINALS}")
        fail(
            f"{len(failed)} of scikit-learn's {len(results)} checks fail. The first, "
            f"{failed[0]['check_name']}, says: {reason}"
        )
    return (
        "scikit-learn's whole list of checks passes. Your classifier now works in "
        "pipelines, grid searches and cross-validation, with labels of any kind."
    )


def _look_at_fitted(X: np.ndarray, y: np.ndarray) -> None:
    import faiss

    model = _Neighbors()
    try:
        got = model.fit(X, y)
    except AssertionError as error:  # faiss says no more than that
        error.add_note("An IndexFlatL2 is made for a number of columns: X.shape[1].")
        raise
    if got is not model:
        what = shortened(got)
        fail(f"fit_neighbors returned {what}; `fit` returns the object itself: self.")
    if model.n_neighbors != 5:
        fail(
            f"fit changed n_neighbors from 5 to {model.n_neighbors}, for {len(X)} "
            "rows. The caller sets the arguments of __init__: `fit` leaves them alone."
        )
    labels = y.tolist()
    classes = sorted({*labels})
    codes = np.array([classes.index(label) for label in labels])
    slips = {
        "They should be sorted.": list(dict.fromkeys(labels)),
        "Those are the labels of all rows: classes_ has each label once, codes_ their "
        "positions in classes_.": labels,
        "Positions count from 0, as in any array.": codes + 1,
        "Positions belong in codes_, as whole numbers.": codes,
        "That is where each label occurs first, `return_index`; `return_inverse` gives "
        "a position for every row.": [labels.index(one) for one in classes],
    }
    for name, expected in {"classes_": np.array(classes), "codes_": codes}.items():
        got, near = getattr(model, name, None), name.rstrip("_")
        if not isinstance(got, np.ndarray):
            what = "not set" if got is None else f"of type {type(got).__name__}"
            slip = f"There is self.{near}: add the underscore."
            fail(
                f"self.{name} is {what}; I expected a NumPy array, because `predict` "
                f"indexes it with an array. {slip if hasattr(model, near) else ''}"
            )
        if got.tolist() != expected.tolist() or got.dtype.kind == "f":
            why = [slip for slip, wrong in slips.items() if np.array_equal(got, wrong)]
            fail(
                f"For the labels {labels[:4]}, … {name} has shape {got.shape} and "
                f"begins with {got.ravel()[:4].tolist()}; I expected shape "
                f"{expected.shape} and {expected[:4].tolist()}. {' '.join(why)}"
            )
    index = getattr(model, "index_", None)
    if not isinstance(index, faiss.IndexFlat):
        what = "not set" if index is None else f"of type {type(index).__name__}"
        fail(f"self.index_ is {what}; I expected a faiss.IndexFlatL2, which is exact.")
    if index.metric_type != faiss.METRIC_L2:
        fail("index_ does not measure the euclidean distance: use faiss.IndexFlatL2.")
    if not index.ntotal:
        fail("index_ is empty: the rows must be added.")
    held = index.reconstruct_n(0, index.ntotal)
    if held.shape != X.shape or not np.allclose(held, X, atol=1e-5):
        fail("index_ does not hold the rows of X, one after the other.")


def _found_and_true() -> list[Case]:
    rng = np.random.default_rng(743)
    cases = []
    for n_queries, k in ((11, 7), (12, 10), (8, 5), (1, 5)):
        rows = rng.permuted(np.tile(np.arange(40), (n_queries, 1)), axis=1)
        # The first query misses none of its neighbours, the next one, then two, ….
        found = [row[n % (k + 1) :][:k] for n, row in enumerate(rows)]
        cases.append(Case(rng.permuted(found, axis=1), rows[:, :k]))
    # An index that found too few fills up with -1.
    found, true = (array.copy() for array in cases[0].arguments)
    found[:, -3:] = -1
    return [*cases, Case(found, true)]


@reference(
    "7.4",
    hints=[
        "Take one query first: how many of the numbers in `true[0]` occur anywhere in "
        "`found[0]`?",
        "`set(found[0]) & set(true[0])` are the ones found. Divide by k, and take the "
        "mean over the queries.",
        "Without a loop: `(found[:, :, None] == true[:, None, :]).any(axis=1).mean()`.",
    ],
    cases=_found_and_true,
    # f found, t true.
    mistakes={
        "That is one number a query; I expected their mean.": recall_of_each,
        "You compare by place, and order does not count.": lambda f, t: (f == t).mean(),
        "Sorted rows compared place by place: one wrong neighbour shifts the others.": (
            lambda f, t: np.mean(np.sort(f) == np.sort(t))
        ),
        "You average over all k × k pairs of a query; first take `any(axis=1)`.": (
            lambda f, t: np.mean(f[:, :, None] == t[:, None])
        ),
        "any(axis=0) runs over the queries; ask about the places in `found`.": (
            lambda f, t: (f[:, :, None] == t[:, None]).any(axis=0).mean()
        ),
        "You divide by the union of both sets; recall divides by the k true ones.": (
            lambda f, t: np.mean(recall_of_each(f, t) / (2 - recall_of_each(f, t)))
        ),
        "You divide by the different numbers that were found; recall divides by the k "
        "true ones.": lambda f, t: np.mean(
            [len({*a} & {*b}) / len({*a}) for a, b in zip(f, t, strict=True)]
        ),
        "A hit is not all of them: count each.": lambda f, t: np.mean(
            recall_of_each(f, t) > 0
        ),
        "You count only queries with all neighbours found.": (
            lambda f, t: np.mean(recall_of_each(f, t) == 1)
        ),
        "That is the first neighbour alone.": lambda f, t: np.mean(f[:, 0] == t[:, 0]),
        "That is in per cent; return a share.": lambda f, t: (
            100 * recall_of_each(f, t).mean()
        ),
        "That is a count; divide by k.": lambda f, t: (
            recall_of_each(f, t).mean() * t.shape[1]
        ),
        "Divide by how many there are.": lambda f, t: (
            recall_of_each(f, t).sum() * t.shape[1]
        ),
        "Divide by the number of queries as well.": lambda f, t: recall_of_each(
            f, t
        ).sum(),
        "A neighbour of another query counts as found: compare row with row.": (
            lambda f, t: np.isin(f, t).mean(),
            lambda f, t: np.isin(t, f).mean(),
            lambda f, t: np.intersect1d(f, t).size / np.unique(t).size,
            lambda f, t: np.intersect1d(f, t).size / t.size,
        ),
        "That is the share that was missed.": lambda f, t: (
            1 - recall_of_each(f, t).mean()
        ),
    },
    passed="Recall does not care about order, and it judges an index alone: no label "
    "is needed for it.",
)
def recall_at_k(found: np.ndarray, true: np.ndarray) -> float:
    """Intersect the two sets of each query."""
    pairs = zip(found.tolist(), true.tolist(), strict=True)
    return float(np.mean([len({*a} & {*b}) / len(b) for a, b in pairs]))


@exercise(
    "7.6",
    hints=[
        "Three things are asked for. Which of the four ways to look is fast at a "
        "recall near 1? Which part of its memory is the largest?",
        "Pixels are whole numbers from 0 to 255. `storage` says in which numbers the "
        "graph keeps them, and how many bytes each takes.",
        'Start from `FastANN(storage="uint8")`, read the recall, and change one value '
        "at a time: more `ef_search` or `n_links` finds more and takes longer.",
    ],
)
def choose_index(answer: Answer, rows: np.ndarray, queries: np.ndarray) -> str:
    """Compare an index with the flat one: recall, speed and memory."""
    from course_utils.neighbors import BackendError, FastANN, ParameterError

    model = answer()
    if not isinstance(model, FastANN):
        fail(f"choose_index returned {model!r}; I expected a FastANN.")
    if hasattr(model, "classes_"):
        fail("choose_index returned a fitted FastANN; the check calls `fit` itself.")
    if model.metric != "euclidean":
        fail(
            f"metric={model.metric!r} finds other neighbours than the ones asked for. "
            'Leave it at "euclidean"; then recall means something.'
        )
    rows, queries = rows[:20_000], queries[:500]
    labels = np.arange(len(rows)) % 2
    flat = FastANN(index="flat").fit(rows, labels)
    # One thread, and processor time: others may be at work on this machine.
    model = clone(model).set_params(n_jobs=1)
    try:
        model.fit(rows, labels)
    except (ParameterError, BackendError) as error:
        fail(str(error))
    seconds = [
        [cpu_seconds(partial(one.kneighbors, queries, 5), 1) for one in (flat, model)]
        for _ in range(3)
    ]
    faster = float(np.median([theirs / max(yours, 1e-6) for theirs, yours in seconds]))
    true = flat.kneighbors(queries, 5, return_distance=False)
    recall = recall_of_each(
        model.kneighbors(queries, 5, return_distance=False), true
    ).mean()
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        lighter = next(Path(folder).glob("index-*")).stat().st_size / (4 * rows.size)
    reached = (
        f"Recall {recall:.4f}, {faster:.3f} times the queries per second of flat, "
        f"{lighter:.4f} of its memory."
    )
    if recall >= RECALL_BAR and faster >= SPEED_BAR and lighter <= MEMORY_BAR:
        return reached
    fail(f"{reached} {_what_next(model, recall, lighter)}")


def _what_next(model: Any, recall: float, lighter: float) -> str:
    kind = "hnsw" if model.index == "auto" else model.index
    if model.backend == "annoy":
        kind = "annoy"
    if kind == "flat":
        return "That is the flat index itself: choose one that looks at fewer rows."
    if recall < RECALL_BAR:
        return f"The bar is recall {RECALL_BAR}: raise {MORE[kind]}."
    if lighter > MEMORY_BAR:
        less = "It keeps too much of each vector: try index='hnsw' and `storage`"
        if kind == "hnsw":
            less = "Keep its numbers in fewer bytes, by `storage`, or fewer links"
        return f"The bar is {MEMORY_BAR} of flat's memory. {less}."
    return f"The bar is {SPEED_BAR:.0f} times flat's queries: lower {MORE[kind]}."


summary = summary_of(__name__)
