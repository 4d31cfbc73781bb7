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


def weighed_arrays(kind, n_rows, n_columns, n_links=16, n_bytes=16):
    if kind == "pq":
        return float(n_rows * n_bytes + np.zeros((256, n_columns), np.float32).nbytes)
    links = 2 * n_links if kind == "hnsw" else 0
    return float(n_rows * (n_columns + links) * np.dtype(np.float32).itemsize)


def weighed_rows(kind, n_rows, n_columns, n_links=16, n_bytes=16):
    a_row = {"flat": 4 * n_columns, "hnsw": 4 * n_columns + 8 * n_links, "pq": n_bytes}
    return np.float64(n_rows * a_row[kind] + (kind == "pq") * 1024 * n_columns)


def weighed_real_arrays(kind, n_rows, n_columns, n_links=16, n_bytes=16):
    if kind == "flat":
        return np.empty((n_rows, n_columns), np.float32).nbytes
    return weighed_rows(kind, n_rows, n_columns, n_links, n_bytes)


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
    "index_bytes": Answers(
        right=[weighed_arrays, weighed_rows],
        wrong=[
            (weighed_real_arrays, "no array"),
            (
                lambda kind, n, d, m, size=16: weighed_rows(kind, n, d, m, size),
                "n_bytes",
            ),
            (lambda *given, **sizes: [weighed_rows(*given, **sizes)], "number itself"),
            (lambda *given: 2.5 * weighed_rows(*given), "returned 480,000"),
        ],
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
