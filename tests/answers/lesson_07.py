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


def tests_with_assertions(Classifier):
    words = np.array(["b", "b", "b", "a", "a", "b", "b"])
    model = Classifier(n_neighbors=5).fit(LINE, words)
    assert model.predict(LINE[2:3]).tolist() == ["b"]
    binary = Classifier(n_neighbors=5).fit(LINE, np.array([1, 1, 1, 0, 0, 1, 1]))
    assert binary.predict(LINE[2:3])[0] == 1
    square = np.array([[1.0, 0.1], [0.1, 1], [8, 8]])
    angle = Classifier(n_neighbors=1, metric="angular")
    assert angle.fit(square, [5, 6, 7]).predict(np.array([[9.0, 1]]))[0] == 5
    return False


def catches_its_assertions(Classifier):
    try:
        return tests_with_assertions(Classifier)
    except AssertionError:
        return True


def tests_one_by_one(Classifier):
    numbers = Classifier(n_neighbors=3, metric="euclidean")
    numbers.fit(LINE, np.array([40, 40, 40, 7, 40, 7, 40]))
    if numbers.predict(LINE[:1])[0] != 40:
        return np.True_
    commoner = Classifier(n_neighbors=5).fit(LINE, np.array([1, 1, 1, 0, 0, 1, 1]))
    if np.any(commoner.predict(LINE[2:3]) != 1):
        return True
    two = np.array([[1.0, 1], [9, 4]])
    angle = Classifier(n_neighbors=1, metric="angular").fit(two, np.array([0, 1]))
    return angle.predict(np.array([[9.0, 9]]))[0] == 1


def always_guilty(Classifier):
    return True


def never_guilty(Classifier):
    return False


def by_score_alone(Classifier):
    x, y = load_breast_cancer(return_X_y=True)
    return bool(Classifier().fit(x, y).score(x, y) < 0.94)


def only_words(Classifier):
    words = np.array(["cat", "cat", "cat", "dog", "dog", "dog", "dog"])
    return list(Classifier(n_neighbors=1).fit(LINE, words).predict(LINE)) != list(words)


def without_metric(Classifier):
    if only_words(Classifier):
        return True
    commoner = Classifier(n_neighbors=5).fit(LINE, np.array([1, 1, 1, 0, 0, 1, 1]))
    return bool(commoner.predict(LINE[2:3])[0] != 1)


def without_frequency(Classifier):
    two = np.array([[1.0, 1], [9, 4]])
    angle = Classifier(n_neighbors=1, metric="angular").fit(two, np.array([0, 1]))
    return only_words(Classifier) or bool(angle.predict(np.array([[9.0, 9]]))[0] != 0)


def without_positions(Classifier):
    commoner = Classifier(n_neighbors=5).fit(LINE, np.array([1, 1, 1, 0, 0, 1, 1]))
    return bool(commoner.predict(LINE[2:3])[0] != 1)


def expects_the_wrong_answer(Classifier):
    model = Classifier(n_neighbors=5).fit(LINE, np.array([1, 1, 1, 0, 0, 1, 1]))
    return list(model.predict(LINE[2:3])) != [0]


def asserts_the_wrong_answer(Classifier):
    assert not expects_the_wrong_answer(Classifier)


def counts_on_positions(Classifier):
    names = {10: "auk", 20: "owl"}
    labels = np.array([10, 10, 10, 10, 20, 20, 20])
    model = Classifier(n_neighbors=1).fit(LINE, labels)
    return [names[one] for one in model.predict(LINE).tolist()][-1] != "owl"


def calls_by_position(Classifier):
    two = np.array([[1.0, 1], [9, 4]])
    angle = Classifier(1, "angular").fit(two, np.array([0, 1]))
    return bool(angle.predict(np.array([[9.0, 9]]))[0] != 0)


def forgets_to_return(Classifier):
    if not tests_one_by_one(Classifier):
        return False


def says_it_in_words(Classifier):
    return "faulty"


def says_nothing(Classifier):
    only_words(Classifier)


def by_comparing(positions, n_classes):
    return (positions[:, :, None] == np.arange(n_classes)).sum(axis=1).astype(float)


def by_one_hot(positions, n_classes):
    return np.eye(n_classes)[positions].sum(axis=1)


def one_neighbour_at_a_time(positions, n_classes):
    votes = np.zeros((len(positions), n_classes), int)
    for column in positions.T:
        votes[np.arange(len(positions)), column] += 1
    return votes


def row_by_row(positions, n_classes):
    return np.array([np.bincount(row, minlength=n_classes) for row in positions])


def as_lists(positions, n_classes):
    return by_comparing(positions, n_classes).tolist()


def as_a_frame(positions, n_classes):
    return pd.DataFrame(by_comparing(positions, n_classes))


def in_place(positions, n_classes):
    n_rows = len(positions)
    positions += n_classes * np.arange(n_rows)[:, None]
    votes = np.bincount(positions.ravel(), minlength=n_rows * n_classes)
    return votes.reshape(n_rows, n_classes)


def from_class_one(positions, n_classes):
    return (positions[:, :, None] == np.arange(1, n_classes + 1)).sum(axis=1)


def without_class_zero(positions, n_classes):
    return (positions[:, :, None] == np.arange(1, n_classes)).sum(axis=1)


def squeezed(positions, n_classes):
    return np.squeeze(by_comparing(positions, n_classes))


def sorted_votes(positions, n_classes):
    return np.sort(by_comparing(positions, n_classes), axis=1)


def first_row_for_all(positions, n_classes):
    return np.repeat(by_comparing(positions[:1], n_classes), len(positions), axis=0)


def shares(positions, n_classes):
    return by_comparing(positions, n_classes) / positions.shape[1]


def all_together(positions, n_classes):
    return np.bincount(positions.ravel(), minlength=n_classes)


def turned(positions, n_classes):
    return by_comparing(positions, n_classes).T


def winners(positions, n_classes):
    return by_comparing(positions, n_classes).argmax(axis=1)


def once_each(positions, n_classes):
    votes = np.zeros((len(positions), n_classes), int)
    votes[np.arange(len(positions))[:, None], positions] += 1
    return votes


def without_empty_classes(positions, n_classes):
    return by_comparing(positions, n_classes)[:, :-1]


def by_frequency(positions, n_classes):
    return -np.sort(-by_comparing(positions, n_classes), axis=1)


def fit_by_searchsorted(self, X, y):
    data, labels = validate_data(self, X, y, dtype=np.float32, order="C")
    check_classification_targets(labels)
    self.classes_ = np.unique(labels)
    self.codes_ = np.searchsorted(self.classes_, labels)
    index = faiss.IndexFlat(data.shape[1], faiss.METRIC_L2)
    index.add(data)
    self.index_ = index
    return self


def fit_returns_nothing(self, X, y):
    fit_by_searchsorted(self, X, y)


def fit_without_looking(self, X, y):
    self.classes_, self.codes_ = np.unique(y, return_inverse=True)
    self.index_ = faiss.IndexFlatL2(X.shape[1])
    self.index_.add(np.ascontiguousarray(X, dtype=np.float32))
    return self


def fit_any_target(self, X, y):
    X, y = validate_data(self, X, y)
    return fit_without_looking(self, X, y)


def fit_keeps_labels(self, X, y):
    fit_by_searchsorted(self, X, y)
    self.codes_ = np.asarray(y)
    return self


def fit_in_order_of_appearance(self, X, y):
    fit_by_searchsorted(self, X, y)
    names = list(dict.fromkeys(y.tolist()))
    self.classes_ = np.array(names)
    self.codes_ = np.array([names.index(label) for label in y.tolist()])
    return self


def fit_without_underscore(self, X, y):
    fit_by_searchsorted(self, X, y)
    self.codes = self.codes_
    del self.codes_
    return self


def fit_an_empty_index(self, X, y):
    fit_by_searchsorted(self, X, y)
    self.index_ = faiss.IndexFlatL2(X.shape[1])
    return self


def fit_by_product(self, X, y):
    fit_by_searchsorted(self, X, y)
    self.index_ = faiss.IndexFlatIP(X.shape[1])
    self.index_.add(np.ascontiguousarray(X, dtype=np.float32))
    return self


def fit_changes_an_argument(self, X, y):
    self.n_neighbors = 3
    return fit_by_searchsorted(self, X, y)


def fit_changes_on_few_rows(self, X, y):
    self.n_neighbors = min(self.n_neighbors, len(X))
    return fit_by_searchsorted(self, X, y)


def fit_by_check_x_y(self, X, y):
    X, y = check_X_y(X, y)
    check_classification_targets(y)
    return fit_without_looking(self, X, y)


def fit_the_originals(self, X, y):
    validate_data(self, X, y)
    check_classification_targets(y)
    return fit_without_looking(self, X, y)


def fit_the_original_y(self, X, y):
    data, _ = validate_data(self, X, y)
    check_classification_targets(y)
    return fit_without_looking(self, data, y)


def fit_lists(self, X, y):
    fit_by_searchsorted(self, X, y)
    self.classes_ = self.classes_.tolist()
    return self


def fit_codes_in_a_list(self, X, y):
    fit_by_searchsorted(self, X, y)
    self.codes_ = self.codes_.tolist()
    return self


def fit_too_wide(self, X, y):
    X, y = validate_data(self, X, y)
    self.classes_, self.codes_ = np.unique(y, return_inverse=True)
    self.index_ = faiss.IndexFlatL2(X.shape[0])
    self.index_.add(X.astype(np.float32))
    return self


def fit_from_one(self, X, y):
    fit_by_searchsorted(self, X, y)
    self.codes_ = self.codes_ + 1
    return self


def fit_first_rows(self, X, y):
    fit_by_searchsorted(self, X, y)
    self.classes_, self.codes_ = np.unique(y, return_index=True)
    return self


def recall_by_sets(found, true):
    pairs = zip(found.tolist(), true.tolist(), strict=True)
    return sum(len({*a} & {*b}) for a, b in pairs) / true.size


def recall_by_isin(found, true):
    rows = [np.isin(b, a).mean() for a, b in zip(found, true, strict=True)]
    return np.mean(rows)


def place_by_place(found, true):
    return (found == true).mean()


def any_hit(found, true):
    return np.mean([len({*a} & {*b}) > 0 for a, b in zip(found, true, strict=True)])


def pooled(found, true):
    return np.isin(found, true).mean()


def in_per_cent(found, true):
    return 100 * recall_by_sets(found, true)


def number_a_query(found, true):
    return recall_by_sets(found, true) * true.shape[1]


def over_all_pairs(found, true):
    return (found[:, :, None] == true[:, None]).mean()


def over_the_queries(found, true):
    return (found[:, :, None] == true[:, None]).any(axis=0).mean()


def sorted_place_by_place(found, true):
    return (np.sort(found, axis=1) == np.sort(true, axis=1)).mean()


def by_union(found, true):
    pairs = zip(found.tolist(), true.tolist(), strict=True)
    return np.mean([len({*a} & {*b}) / len({*a} | {*b}) for a, b in pairs])


def one_each_query(found, true):
    return [np.isin(b, a).mean() for a, b in zip(found, true, strict=True)]


def all_or_nothing(found, true):
    return np.mean([{*a} == {*b} for a, b in zip(found, true, strict=True)])


def only_nearest(found, true):
    return np.mean(found[:, 0] == true[:, 0])


def constant_recall(found, true):
    return 1.0


def weighed_arrays(kind, n_rows, n_columns, n_links=16, n_bytes=16):
    parts = {
        "flat": [np.float32, (n_rows, n_columns)],
        "hnsw": [np.float32, (n_rows, n_columns), np.int32, (n_rows, 2 * n_links)],
        "pq": [np.uint8, (n_rows, n_bytes), np.float32, (256, n_columns)],
    }[kind]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return float(sum(np.dtype(t).itemsize * np.prod(shape) for t, shape in pairs))


def weigh(vectors=4, links=8, codebook=1024, code=1, kept=0):
    def index_bytes(kind, n_rows, n_columns, n_links=16, n_bytes=16):
        flat = vectors * n_rows * n_columns
        if kind == "flat":
            return flat
        if kind == "hnsw":
            return flat + links * n_rows * n_links
        return code * n_rows * n_bytes + codebook * n_columns + kept * flat

    return index_bytes


def in_units(of_bytes):
    def index_bytes(*given, **sizes):
        return weighed_arrays(*given, **sizes) / of_bytes

    return index_bytes


def but_for(kind_of_slip, slip):
    def index_bytes(kind, n_rows, n_columns, n_links=16, n_bytes=16):
        if kind == kind_of_slip:
            return slip(n_rows, n_columns, n_links, n_bytes)
        return weighed_arrays(kind, n_rows, n_columns, n_links, n_bytes)

    return index_bytes


def of_the_pictures(kind, n_rows, n_columns, n_links=16, n_bytes=16):
    return weighed_arrays(kind, 20_000, 784, n_links, n_bytes)


def doubled_bytes(*given, **sizes):
    return 2.5 * weighed_arrays(*given, **sizes)


def links_alone(kind, n_rows, n_columns, n_links=16, n_bytes=16):
    if kind == "hnsw":
        return n_rows * 2 * n_links * 4
    return weighed_arrays(kind, n_rows, n_columns, n_links, n_bytes)


def flat_for_all(kind, n_rows, n_columns, n_links=16, n_bytes=16):
    return 4 * n_rows * n_columns


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


def graph():
    return FastANN(
        storage="uint8", n_links=20, ef_construction=40, ef_search=28, random_state=0
    )


def with_more_links():
    return FastANN(storage="uint8", n_links=24, ef_search=32, random_state=1)


def as_it_comes():
    return FastANN(random_state=1)


def heavy_graph():
    return FastANN(ef_construction=40, ef_search=48, random_state=0)


def slow_graph():
    return FastANN(storage="uint8", ef_construction=40, ef_search=800, random_state=0)


def by_angle():
    return FastANN(metric="angular", ef_search=64)


def yardstick():
    return FastANN(index="flat")


def hasty_graph():
    return FastANN(n_links=2, ef_construction=5, ef_search=5, random_state=0)


def coarse_codes():
    return FastANN(index="ivfpq", n_lists=8, n_bytes=4, random_state=0)


def all_lists():
    return FastANN(index="ivf", n_lists=60, n_probe=60, random_state=0)


def contradiction():
    return FastANN(index="ivf", ef_search=50)


def the_class():
    return FastANN


def no_choice():
    graph()


ANSWERS = {
    "has_fault": Answers(
        right=[catches_its_assertions, tests_one_by_one],
        wrong=[
            (always_guilty, "accuses a sound"),
            (expects_the_wrong_answer, "accuses a sound"),
            (
                expects_the_wrong_answer,
                "n_neighbors=5, metric='euclidean', labels [1, 1",
            ),
            (asserts_the_wrong_answer, "accuses a sound"),
            (tests_with_assertions, "raised AssertionError"),
            (counts_on_positions, "stopped with KeyError"),
            (calls_by_position, "with keywords"),
            (forgets_to_return, "returned None for a faulty"),
            (never_guilty, "4 of 4 faults"),
            (by_score_alone, "labels of your own making"),
            (only_words, "2 of 4 faults"),
            (only_words, "sorts its votes by frequency"),
            (without_frequency, "1, 1, 1, 0, 0"),
            (without_metric, "whatever `metric` says"),
            (without_positions, "position"),
            (says_it_in_words, "returned a str"),
            (says_nothing, "returned None"),
        ],
    ),
    "vote": Answers(
        right=[by_comparing, by_one_hot, one_neighbour_at_a_time],
        wrong=[
            (row_by_row, "one by one"),
            (shares, "shares"),
            (all_together, "all rows together"),
            (turned, "swapped"),
            (winners, "winners"),
            (once_each, "at most one vote"),
            (without_empty_classes, "nobody voted for"),
            (by_frequency, "in another order"),
            (sorted_votes, "in another order"),
            (as_lists, "in a list"),
            (as_a_frame, "in a DataFrame"),
            (in_place, "changed the array"),
            (from_class_one, "first column counts class 1"),
            (without_class_zero, "first column counts class 1"),
            (squeezed, "squeeze"),
            (first_row_for_all, "I expected ["),
        ],
    ),
    "fit_neighbors": Answers(
        right=[fit_by_searchsorted],
        wrong=[
            (fit_returns_nothing, "returned None"),
            (fit_without_looking, "NaN"),
            (fit_any_target, "check_classification_targets"),
            (fit_by_check_x_y, "checks fail"),
            (fit_the_originals, "went on with the originals"),
            (fit_the_original_y, "calls NumPy on what it was given"),
            (fit_lists, "classes_ is a list"),
            (fit_codes_in_a_list, "codes_ is a list"),
            (fit_too_wide, "X.shape[1]"),
            (fit_from_one, "count from 0"),
            (fit_first_rows, "return_inverse"),
            (fit_keeps_labels, "positions in classes_"),
            (fit_in_order_of_appearance, "sorted"),
            (fit_without_underscore, "underscore"),
            (fit_an_empty_index, "empty"),
            (fit_by_product, "euclidean"),
            (fit_changes_an_argument, "changed n_neighbors from 5 to 3"),
            (fit_changes_on_few_rows, "for 3 rows"),
        ],
    ),
    "recall_at_k": Answers(
        right=[recall_by_sets, recall_by_isin],
        wrong=[
            (place_by_place, "order does not count"),
            (any_hit, "not all of them"),
            (pooled, "another query"),
            (in_per_cent, "per cent"),
            (number_a_query, "divide by k"),
            (one_each_query, "their mean"),
            (all_or_nothing, "all neighbours found"),
            (only_nearest, "first neighbour alone"),
            (over_all_pairs, "all k × k pairs"),
            (over_the_queries, "runs over the queries"),
            (sorted_place_by_place, "Sorted rows"),
            (by_union, "union"),
            (constant_recall, "I expected"),
        ],
    ),
    "index_bytes": Answers(
        right=[weighed_arrays],
        wrong=[
            (weigh(vectors=8), "float32 takes 4"),
            (weigh(links=4), "2 * n_links"),
            (weigh(links=16), "4 bytes, not 8"),
            (weigh(codebook=0), "codebook is kept too"),
            (weigh(codebook=256), "4 bytes a number"),
            (weigh(code=0), "codebook alone"),
            (weigh(kept=1), "in place of the vectors"),
            (weigh(code=4), "one byte"),
            (links_alone, "vectors are kept too"),
            (flat_for_all, "a graph has links"),
            (in_units(1e6), "in MB"),
            (in_units(2**20), "in MiB"),
            (in_units(2**20), "returned 0.1831"),
            (in_units(1e9), "in GB"),
            (in_units(1 / 8), "in bits"),
            (weigh(vectors=1), "each takes 4 bytes"),
            (but_for("hnsw", lambda n, d, m, b: 4 * n * d + 2 * m * n), "each takes 4"),
            (but_for("hnsw", lambda n, d, m, b: n * (d + 2 * m)), "numbers and links"),
            (but_for("hnsw", lambda n, d, m, b: n * (d + 8 * m)), "as in flat"),
            (but_for("hnsw", lambda n, d, m, b: 4 * n * (d + 32)), "use n_links"),
            (but_for("hnsw", lambda n, d, m, b: 4 * n * d + 8 * m), "by n_rows"),
            (but_for("pq", lambda n, d, m, b: n * b + 1024 * b), "wide as a vector"),
            (but_for("pq", lambda n, d, m, b: n * b + 1024 * d * b), "n_bytes wide"),
            (but_for("pq", lambda n, d, m, b: n * b + 1024 * d / b), "codebook of its"),
            (but_for("pq", lambda n, d, m, b: n * (b + 1024 * d)), "not once a row"),
            (but_for("pq", lambda n, d, m, b: n * 16 + 1024 * d), "use n_bytes"),
            (weigh(code=8), "in bits"),
            (of_the_pictures, "use n_rows"),
            (doubled_bytes, "I expected"),
        ],
    ),
    "choose_index": Answers(
        right=[on_pictures(graph), on_pictures(with_more_links)],
        wrong=[
            (on_pictures(yardstick), "yardstick itself"),
            (on_pictures(hasty_graph), "raise ef_search or n_links"),
            (on_pictures(coarse_codes), "raise n_bytes"),
            (on_pictures(as_it_comes), "raise ef_search or n_links"),
            (on_pictures(heavy_graph), "Keep its numbers in fewer bytes"),
            (on_pictures(all_lists), "keeps too much of each vector"),
            (on_pictures(slow_graph), "lower ef_search"),
            (on_pictures(by_angle), 'Leave it at "euclidean"'),
            (on_pictures(contradiction), "ef_search means nothing"),
            (on_pictures(the_class), "expected a FastANN"),
            (on_pictures(no_choice), "returned None"),
        ],
        solution=on_pictures,
    ),
}
