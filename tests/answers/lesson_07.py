"""Answers to the exercises of lesson 07."""

from __future__ import annotations

from functools import cache

from course_utils.neighbors import FastANN
from tests.answers import Answers

import faiss
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_X_y, validate_data

LINE = np.arange(1.0, 8.0)[:, None]
NUMBERS = np.array([1, 1, 1, 0, 0, 1, 1])
TUMOURS = load_breast_cancer(return_X_y=True)
WORDS = np.array(["cat", "cat", "cat", "dog", "dog", "dog", "dog"])


def misses_words(Classifier):
    return list(Classifier(n_neighbors=1).fit(LINE, WORDS).predict(LINE)) != list(WORDS)


def sorts_by_frequency(Classifier):
    model = Classifier(n_neighbors=5).fit(LINE, NUMBERS)
    return bool(np.any(model.predict(LINE[2:3]) != 1))


def misses_angles(Classifier):
    two = np.array([[1.0, 1], [9, 4]])
    angle = Classifier(n_neighbors=1, metric="angular").fit(two, [0, 1])
    return angle.predict(np.array([[9.0, 9]]))[0] == 1


def finds(*faults):
    return lambda Classifier: any(fault(Classifier) for fault in faults)


def tests_with_assertions(Classifier):
    for labels in (NUMBERS, np.where(NUMBERS, "b", "a")):
        model = Classifier(n_neighbors=5).fit(LINE, labels)
        assert model.predict(LINE[2:3]).tolist() == labels[:1].tolist()
    square = np.array([[1.0, 0.1], [0.1, 1], [8, 8]])
    angle = Classifier(n_neighbors=1, metric="angular")
    assert angle.fit(square, [5, 6, 7]).predict(np.array([[9.0, 1]]))[0] == 5
    return False


def catches_its_assertions(Classifier):
    try:
        return tests_with_assertions(Classifier)
    except AssertionError:
        return np.True_


def asserts_the_wrong_answer(Classifier):
    assert sorts_by_frequency(Classifier)


def relies_on_ties(Classifier):
    model = Classifier(n_neighbors=1).fit(LINE[:2], np.array([5, 6]))
    return bool(model.predict(np.array([[1.5]]))[0] != 5)


def counts_on_positions(Classifier):
    names = {"cat": "auk", "dog": "owl"}
    model = Classifier(n_neighbors=1).fit(LINE, WORDS)
    return [names[one] for one in model.predict(LINE).tolist()][-1] != "owl"


def by_one_hot(positions, n_classes):
    return np.eye(n_classes)[positions].sum(axis=1)


def one_neighbour_at_a_time(positions, n_classes):
    import torch

    votes = torch.zeros((len(positions), n_classes))
    for column in positions.T:
        votes[np.arange(len(positions)), column] += 1
    return votes


def without_minlength(positions, n_classes):
    counters = positions + n_classes * np.arange(len(positions))[:, None]
    return np.bincount(counters.ravel()).reshape(-1, n_classes)


def votes_in_place(positions, n_classes):
    positions.sort(axis=1)
    return by_one_hot(positions, n_classes)


def fit_by_searchsorted(self, X, y):
    data, labels = validate_data(self, X, y, dtype=np.float32, order="C")
    check_classification_targets(labels)
    self.classes_ = np.unique(labels)
    self.codes_ = np.searchsorted(self.classes_, labels)
    self.index_ = faiss.IndexFlat(data.shape[1], faiss.METRIC_L2)
    self.index_.add(data)
    return self


def fit_by_index(self, X, y):
    X, y = validate_data(self, X, y)
    check_classification_targets(y)
    self.classes_ = np.array(sorted({*y.tolist()}), y.dtype)
    self.codes_ = np.array([*map(self.classes_.tolist().index, y.tolist())], np.int32)
    self.index_ = faiss.index_factory(X.shape[1], "Flat")
    self.index_.add(np.float32(X))
    return self


def fit_without_looking(self, X, y):
    self.classes_, self.codes_ = np.unique(y, return_inverse=True)
    self.index_ = faiss.IndexFlatL2(X.shape[1])
    self.index_.add(np.ascontiguousarray(X, dtype=np.float32))
    return self


def fit_after(checks):
    def fit(self, X, y):
        X, y = checks(self, X, y)
        check_classification_targets(y)
        return fit_without_looking(self, X, y)

    return fit


def but(**spoilt):
    """Fit as is right, then replace attributes."""

    def fit(self, X, y):
        fit_by_searchsorted(self, X, y)
        for name, value in spoilt.items():
            setattr(self, name, value(self, np.float32(X), y))
        return self

    return fit


def holding(make):
    def index_(self, X, y):
        index = make(X.shape[1])
        index.add(X)
        return index

    return but(index_=index_)


def recall_by_sets(found, true):
    pairs = zip(found.tolist(), true.tolist(), strict=True)
    return sum(len({*a} & {*b}) for a, b in pairs) / true.size


def recall_by_isin(found, true):
    rows = [np.isin(b, a).mean() for a, b in zip(found, true, strict=True)]
    return np.mean(rows)


def recall_in_place(found, true):
    found.sort(axis=1)
    return recall_by_sets(found, true)


class Marked:
    """A graph whose rows are marked when they go."""

    def __init__(self, n_columns):
        self.graph, self.n_columns = faiss.IndexHNSWFlat(n_columns, 16), n_columns
        self.ids, self.held = np.empty(0, int), np.empty(0, bool)

    def add(self, ids, rows):
        self.remove(ids)
        self.append(ids, rows)

    def append(self, ids, rows):
        self.graph.add(rows)
        self.ids = np.append(self.ids, ids)
        self.held = np.append(self.held, np.full(len(ids), True))

    def remove(self, ids):
        self.held &= ~np.isin(self.ids, ids)

    def search(self, queries, k):
        selector = faiss.IDSelectorBatch(np.flatnonzero(self.held))
        options = faiss.SearchParametersHNSW(sel=selector, efSearch=64)
        found = self.graph.search(queries, k, params=options)[1]
        return np.append(self.ids, -1)[found]


class ExactWhenFew(Marked):
    """Compares with every held row once most rows are only marks."""

    def search(self, queries, k):
        held = np.flatnonzero(self.held)
        if 3 * len(held) > len(self.held):
            return super().search(queries, k)
        flat = faiss.IndexIDMap2(faiss.IndexFlatL2(self.n_columns))
        rows = self.graph.reconstruct_n(0, len(self.ids)) if len(self.ids) else None
        if len(held):
            flat.add_with_ids(rows[held], self.ids[held])
        return flat.search(queries, k)[1]


class Flat:
    """An index that compares with every row, and can drop rows."""

    def __init__(self, n_columns):
        self.rows = faiss.IndexIDMap2(faiss.IndexFlatL2(n_columns))

    def add(self, ids, rows):
        self.remove(ids)
        self.rows.add_with_ids(rows, ids)

    def remove(self, ids):
        self.rows.remove_ids(np.asarray(ids))

    def search(self, queries, k):
        return self.rows.search(queries, k)[1]


class Lists(Flat):
    """Lists around centres, made when enough rows have come to find centres."""

    def __init__(self, n_columns):
        super().__init__(n_columns)
        self.n_columns, self.is_flat = n_columns, True

    def add(self, ids, rows):
        if self.is_flat and len(rows) >= 5_000:
            self.centres = faiss.IndexFlatL2(self.n_columns)
            self.rows = faiss.IndexIVFFlat(self.centres, self.n_columns, 100)
            self.rows.train(rows)
            self.is_flat = False
        super().add(ids, rows)

    def search(self, queries, k):
        if not self.is_flat:
            self.rows.nprobe = 25 if self.rows.ntotal > 5_000 else 100
        return super().search(queries, k)


class AllLists(Lists):
    """Looks into all of its lists."""

    def search(self, queries, k):
        if not self.is_flat:
            self.rows.nprobe = 100
        return Flat.search(self, queries, k)


class Anew:
    """Builds its graph anew for each change."""

    def __init__(self, n_columns):
        self.n_columns, self.rows = n_columns, {}

    def add(self, ids, rows):
        self.rows |= dict(zip(ids.tolist(), rows, strict=True))

    def remove(self, ids):
        for one in ids.tolist():
            self.rows.pop(one, None)

    def search(self, queries, k):
        graph = faiss.IndexHNSWFlat(self.n_columns, 16)
        if self.rows:
            graph.add(np.stack([*self.rows.values()]))
        return np.array([*self.rows, -1])[graph.search(queries, k)[1]]


def centres_its_queries(self, queries, k):
    queries -= 1
    return ExactWhenFew.search(self, queries + 1, k)


def takes_the_last(self, queries, k):
    found = ExactWhenFew.search(self, queries, k)
    return np.where(found < 0, self.ids[-1], found)


def builds_at_each_removal(self, ids):
    if not np.isin(ids, self.ids[self.held]).any():
        return
    Marked.remove(self, ids)
    graph = faiss.IndexHNSWFlat(self.n_columns, 16)
    graph.add(self.graph.reconstruct_n(0, len(self.ids)))
    self.graph = graph


def variant(of=ExactWhenFew, **methods):
    """A class with some methods replaced."""
    return on_pictures(type("Variant", (of,), methods))


def adds_what_it_knows(self, ids, rows):
    Marked.remove(self, ids)
    self.append(ids, rows)


def known_only(self, ids):
    for one in ids.tolist():
        if one not in self.ids:
            raise KeyError(one)
    Marked.remove(self, ids)


@cache
def pictures():
    """Rows of whole numbers with many columns and few directions, as pictures have."""
    rng = np.random.default_rng(0)
    both = rng.normal(size=(8_200, 12)) @ rng.normal(size=(12, 512))
    both = 128 + 30 * both / both.std()
    both = np.clip(np.rint(both), 0, 255).astype(np.float32)
    return both[:8_000], both[8_000:]


def on_pictures(choose):
    return choose, *pictures()


def model(**parameters):
    return on_pictures(lambda: FastANN(**{"random_state": 0, **parameters}))


ANSWERS = {
    "has_fault": Answers(
        right=[
            finds(misses_words, sorts_by_frequency, misses_angles),
            catches_its_assertions,
        ],
        wrong=[
            (lambda Classifier: True, "sound classifier faulty"),
            (lambda one: not sorts_by_frequency(one), "n_neighbors=5, metric='euclid"),
            (asserts_the_wrong_answer, "labels [1, 1, 1, 0, 0, 1, 1] gave [1]"),
            (relies_on_ties, "ties, also of distances"),
            (tests_with_assertions, "raised AssertionError"),
            (counts_on_positions, "raised KeyError"),
            (lambda Classifier: not Classifier(1, "angular"), "with keywords"),
            (lambda one: misses_words(one) and None, "returned None for a faulty"),
            (lambda Classifier: False, "4 of 4 faults"),
            (
                lambda one: one().fit(*TUMOURS).score(*TUMOURS) < 0.94,
                "of your own making",
            ),
            (misses_words, "2 of 4 faults"),
            (misses_words, "sorts its votes by frequency"),
            (finds(misses_words, misses_angles), "1, 1, 1, 0, 0"),
            (finds(misses_words, sorts_by_frequency), "whatever `metric` says"),
            (sorts_by_frequency, "position"),
            (lambda Classifier: "faulty", "returned 'faulty' for a sound"),
            (lambda Classifier: None, "returned None"),
        ],
    ),
    "vote": Answers(
        right=[by_one_hot, one_neighbour_at_a_time],
        wrong=[
            (lambda p, n: np.stack([np.bincount(r, None, n) for r in p]), "one by one"),
            (without_minlength, "`minlength` keeps classes"),
            (lambda *given: by_one_hot(*given).tolist(), "of type list"),
            (lambda *given: pd.DataFrame(by_one_hot(*given)), "of type DataFrame"),
            (votes_in_place, "changed `positions` itself"),
        ],
    ),
    "fit_neighbors": Answers(
        right=[fit_by_searchsorted, fit_by_index],
        wrong=[
            (lambda *given: fit_by_searchsorted(*given) and None, "returned None"),
            (fit_without_looking, "NaN"),
            (
                lambda self, *given: fit_without_looking(
                    self, *validate_data(self, *given)
                ),
                "check_classification_targets",
            ),
            (fit_after(lambda self, *given: check_X_y(*given)), "checks fail"),
            (
                fit_after(lambda *given: (validate_data(*given), given[1:])[1]),
                "went on with the originals",
            ),
            (
                fit_after(lambda self, X, y: (validate_data(self, X, y)[0], y)),
                "calls NumPy on what it was given",
            ),
            (but(n_neighbors=lambda self, X, y: 3), "changed n_neighbors from 5 to 3"),
            (but(n_neighbors=lambda self, X, y: min(5, len(X))), "for 3 rows"),
            (but(codes_=lambda *_: None, codes=lambda *_: []), "underscore"),
            (holding(lambda d: faiss.IndexFlatL2(d + 1)), "X.shape[1]"),
            (
                but(classes_=lambda self, X, y: list(self.classes_)),
                "classes_ is of type list",
            ),
            (but(classes_=lambda self, X, y: y), "labels of all rows"),
            (but(classes_=lambda self, X, y: pd.unique(y)), "sorted"),
            (but(codes_=lambda self, X, y: self.codes_.tolist()), "codes_ is of type"),
            (but(codes_=lambda self, X, y: self.codes_ + 1), "count from 0"),
            (but(codes_=lambda self, X, y: self.codes_ * 1.0), "as whole numbers"),
            (but(codes_=lambda self, X, y: y), "positions in classes_"),
            (but(codes_=lambda self, X, y: np.unique(y, True)[1]), "return_inverse"),
            (but(index_=lambda self, X, y: X), "index_ is of type ndarray"),
            (but(index_=lambda self, X, y: faiss.IndexFlatL2(5)), "empty"),
            (holding(faiss.IndexFlatIP), "euclidean"),
            (holding(lambda d: faiss.IndexHNSWFlat(d, 8)), "type IndexHNSWFlat"),
            (but(_=lambda self, X, y: self.index_.add(X)), "one after the other"),
        ],
    ),
    "recall_at_k": Answers(
        right=[recall_by_sets, recall_by_isin],
        wrong=[
            (recall_in_place, "changed `found` itself"),
            (lambda found, true: [recall_by_sets(found, true)], "number itself"),
            (lambda found, true: 1.0, "I expected"),
        ],
    ),
    "updatable_index": Answers(
        right=[on_pictures(ExactWhenFew), on_pictures(Lists)],
        wrong=[
            (on_pictures(Flat), "A flat index counts none"),
            (on_pictures(AllLists), "a query with 100.0% of them; the bar is 30%"),
            (on_pictures(Marked), "build anew when most are marks"),
            (on_pictures(Anew), "Do not build anew for each change"),
            (variant(add=Marked.append), "old row of 70"),
            (variant(search=centres_its_queries), "search changed an array"),
            (variant(search=takes_the_last), "which as a position is the last"),
            (variant(remove=builds_at_each_removal), "Removing fifty rows"),
            (variant(remove=lambda self, ids: None), "id 5, which is not held"),
            (variant(add=adds_what_it_knows, remove=known_only), "are to be ignored"),
            (
                variant(search=lambda self, q, k: self.graph.search(q, k)[1]),
                "not row numbers",
            ),
            (
                variant(
                    search=lambda self, q, k: ExactWhenFew.search(self, q, k)[:, ::-1]
                ),
                "nearest first",
            ),
            (
                variant(search=lambda self, q, k: 1.0 * Marked.search(self, q, k)),
                "ids are integers",
            ),
            (
                variant(search=lambda self, q, k: Marked.search(self, q, k)[0]),
                "returned shape (2,)",
            ),
            (
                variant(
                    search=lambda self, q, k: np.tile(Marked.search(self, q, 1), k)
                ),
                "an id twice",
            ),
            (on_pictures(lambda n_columns: None), "no method add"),
            (on_pictures(lambda n_columns: faiss.IndexFlatL2(9)), "no method remove"),
        ],
        solution=on_pictures,
    ),
    "choose_index": Answers(
        right=[
            model(storage="uint8", n_links=20, ef_construction=40, ef_search=28),
            model(storage="uint8", n_links=24, ef_search=32, random_state=1),
        ],
        wrong=[
            (model(index="flat"), "the flat index itself"),
            (model(n_links=2, ef_construction=5, ef_search=5), "ef_search or n_links"),
            (model(index="ivfpq", n_lists=8, n_bytes=4), "raise n_bytes"),
            (model(random_state=1), "raise ef_search or n_links"),
            (
                model(ef_construction=40, ef_search=48),
                "Keep its numbers in fewer bytes",
            ),
            (model(index="ivf", n_lists=60, n_probe=60), "too much of each vector"),
            (model(storage="uint8", ef_construction=40, ef_search=800), "lower ef"),
            (model(metric="angular", ef_search=64), 'Leave it at "euclidean"'),
            (model(index="ivf", ef_search=50), "ef_search means nothing"),
            (on_pictures(lambda: FastANN().fit(np.eye(4), [0, 1, 0, 1])), "a fitted"),
            (on_pictures(lambda: FastANN), "expected a FastANN"),
            (on_pictures(lambda: None), "returned None"),
        ],
        solution=on_pictures,
    ),
}
