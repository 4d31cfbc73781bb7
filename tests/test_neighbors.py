"""FastANN keeps scikit-learn's contract, finds what is near, and saves safely."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from course_utils import annoy_probe, neighbors
from course_utils.errors import CourseError, DataError
from course_utils.neighbors import (
    BackendError,
    FastANN,
    ParameterError,
    _annoy,
    _estimator,
    _faiss,
    _links,
    _store,
    vote,
)
from tests.systems import needs_posix

import numpy as np
import pytest
from filelock import FileLock
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize
from sklearn.utils.estimator_checks import check_estimator

needs_annoy = pytest.mark.skipif(
    not annoy_probe.is_installed(), reason="annoy is an optional extra"
)
annoy_backend = pytest.param({"backend": "annoy", "n_trees": 20}, marks=needs_annoy)
INDEXES = [{"index": index} for index in ("flat", "hnsw", "ivf", "ivfpq")]
BACKENDS = [*INDEXES, annoy_backend]
each_backend = pytest.mark.parametrize("options", BACKENDS, ids=str)


def blobs(n=3_000, d=16, seed=0):
    X, y = make_blobs(n, d, centers=8, cluster_std=3.0, random_state=seed)
    return X.astype(np.float32), y


def exact(X, queries, k, metric):
    """Distances to all rows in float64, by formula."""
    X, queries = np.asarray(X, np.float64), np.asarray(queries, np.float64)
    if metric in ("cosine", "angular"):
        X, queries = normalize(X), normalize(queries)
    products = queries @ X.T
    gaps = queries[:, None] - X[None]
    distances = {
        "euclidean": lambda: np.sqrt((gaps**2).sum(axis=2)),
        "manhattan": lambda: np.abs(gaps).sum(axis=2),
        "cosine": lambda: 1 - products,
        "angular": lambda: np.sqrt(np.maximum(0, 2 - 2 * products)),
        "dot": lambda: -products,
    }[metric]()
    found = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, found, axis=1), found


def recall(found, true):
    return np.mean(
        [len({*a} & {*b}) / len(b) for a, b in zip(found, true, strict=True)]
    )


# --- scikit-learn's contract -------------------------------------------------

SETS_N_COMPONENTS = dict.fromkeys(
    (
        "check_dont_overwrite_parameters",
        "check_fit2d_1feature",
        "check_fit2d_1sample",
        "check_fit2d_predict1d",
        "check_methods_subset_invariance",
        "check_methods_sample_order_invariance",
    ),
    "sets n_components",
)


@each_backend
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks_pass_whole(options):
    # They set n_components wherever an estimator has it; trees refuse it by name.
    no_trees = SETS_N_COMPONENTS if options.get("backend") == "annoy" else {}
    results = check_estimator(
        FastANN(**options), on_skip=None, expected_failed_checks=no_trees
    )
    assert not [one for one in results if one["status"] == "failed"]
    assert sum(one["status"] == "xfail" for one in results) == len(no_trees)
    assert sum(one["status"] == "passed" for one in results) > 45


@pytest.mark.parametrize(
    "options",
    [
        {"index": "flat"},
        {"weights": "distance"},
        {"storage": "float16"},
        {"rerank": 2},
        {"n_components": 1, "index": "ivf"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks_pass_with_other_options(options):
    check_estimator(FastANN(**options), on_skip=None)


def test_exact_search_scores_as_scikit_learn_does():
    X, y = load_breast_cancer(return_X_y=True)
    theirs = KNeighborsClassifier().fit(X, y)
    ours = FastANN(index="flat").fit(X, y)
    assert ours.score(X, y) == theirs.score(X, y) == pytest.approx(0.947, abs=5e-4)
    assert np.array_equal(ours.predict(X), theirs.predict(X))
    assert np.allclose(ours.predict_proba(X), theirs.predict_proba(X))
    distances, found = ours.kneighbors(X)
    their_distances, theirs_found = theirs.kneighbors(X)
    assert np.array_equal(found, theirs_found)
    assert np.allclose(distances, their_distances, rtol=1e-5, atol=1e-3)


def test_it_works_inside_cross_validation():
    X, y = blobs(600)
    scores = cross_val_score(FastANN(index="flat"), X, y)
    assert scores.mean() > 0.9


def test_parameters_survive_cloning_and_fitting_changes_none():
    model = FastANN(7, index="ivf", n_lists=4, random_state=3)
    before = model.get_params()
    copy = clone(model).fit(*blobs(200))
    assert copy.get_params() == before


@each_backend
def test_a_fitted_model_can_be_pickled_as_joblib_does(options):
    X, y = blobs(400)
    model = FastANN(random_state=0, **options).fit(X, y)
    twin = pickle.loads(pickle.dumps(model))
    assert np.array_equal(model.kneighbors(X[:30])[1], twin.kneighbors(X[:30])[1])


def test_asked_before_fit_it_says_so():
    for ask in ("kneighbors", "predict", "predict_proba", "save"):
        with pytest.raises(NotFittedError):
            getattr(FastANN(), ask)(np.zeros((1, 2)))


# --- what is found -----------------------------------------------------------


@pytest.mark.parametrize("metric", neighbors.METRICS)
@each_backend
def test_each_metric_finds_the_near_ones_in_scikit_learns_units(options, metric):
    if options.get("index") == "ivfpq" and metric == "manhattan":
        return
    X, y = blobs()
    queries = blobs(60, seed=0)[0] + 0.5
    wide = {"ef_search": 100} if options.get("index") == "hnsw" else {}
    if options.get("backend") == "annoy" and metric == "dot":
        wide = {"search_k": 60_000}  # products are hard for trees
    model = FastANN(metric=metric, random_state=0, **options, **wide).fit(X, y)
    distances, found = model.kneighbors(queries, 5)
    true_distances, true = exact(X, queries, 5, metric)
    rough = options.get("index") == "ivfpq"
    assert recall(found, true) > (0.4 if rough else 0.8)
    assert np.all(np.diff(distances, axis=1) >= 0)
    assert distances.dtype == np.float64 and found.dtype == np.int64
    if not rough:
        every = exact(X, queries, len(X), metric)
        at = np.array([list(row) for row in every[1]]).argsort(axis=1)
        expected = np.take_along_axis(
            every[0], np.take_along_axis(at, found, axis=1), axis=1
        )
        assert np.allclose(distances, expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
def test_flat_agrees_with_scikit_learn_neighbour_for_neighbour(metric):
    X, y = blobs(500)
    theirs = KNeighborsClassifier(algorithm="brute", metric=metric).fit(X, y)
    distances, found = FastANN(index="flat", metric=metric).fit(X, y).kneighbors(X)
    their_distances, their_found = theirs.kneighbors(X)
    assert np.mean(found == their_found) > 0.995
    assert np.allclose(distances, their_distances, rtol=1e-4, atol=2e-3)


def test_columns_far_from_zero_do_not_eat_the_digits_of_float32():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = rng.integers(2, size=300)
    near = FastANN(index="flat").fit(X, y).kneighbors(X)
    far = FastANN(index="flat").fit(X + 1e9, y).kneighbors(X + 1e9)
    assert np.array_equal(near[1], far[1])
    assert np.allclose(near[0], far[0], atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float16, bool])
def test_rows_of_any_number_type_are_taken(dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2 if dtype is bool else 200, size=(200, 12)).astype(dtype)
    y = rng.integers(2, size=200)
    theirs = KNeighborsClassifier(algorithm="brute").fit(X, y)
    ours = FastANN(index="flat").fit(X, y)
    assert np.allclose(ours.kneighbors(X)[0], theirs.kneighbors(X)[0], atol=1e-3)


@each_backend
def test_a_row_of_zeros_has_cosine_distance_one_to_all(options):
    X, y = blobs(300)
    X[0] = 0
    model = FastANN(metric="cosine", **options).fit(X, y)
    distances = model.kneighbors(np.zeros((1, 16), np.float32))[0]
    assert np.allclose(distances, 1, atol=1e-5)


@each_backend
def test_as_many_neighbours_as_asked_for_come_back_even_among_equals(options):
    X = np.ones((400, 4), np.float32)
    X[:10] += np.arange(10)[:, None]
    y = np.arange(400) % 2
    found = FastANN(**options).fit(X, y).kneighbors(X[:5], 300, False)
    assert found.min() >= 0
    assert all(len({*row}) == 300 for row in found)


@each_backend
def test_without_queries_no_row_is_its_own_neighbour(options):
    X, y = blobs(300)
    X[1] = X[0]
    model = FastANN(random_state=0, **options).fit(X, y)
    if options.get("index") == "ivfpq":
        with pytest.raises(ParameterError, match="pass X"):
            model.kneighbors()
        return
    distances, found = model.kneighbors(n_neighbors=4)
    assert distances.shape == found.shape == (300, 4)
    assert not np.any(found == np.arange(300)[:, None])
    true = KNeighborsClassifier().fit(X, y).kneighbors(n_neighbors=4)[1]
    assert recall(found, true) > 0.9
    assert 0 in found[1] and 1 in found[0]
    assert model.predict(None).shape == (300,)


def test_more_neighbours_than_rows_are_refused_as_in_scikit_learn():
    X, y = blobs(10)
    model = FastANN(n_neighbors=11).fit(X, y)
    for ask in (model.kneighbors, model.predict):
        with pytest.raises(ValueError, match=r"n_neighbors = 11, n_samples_fit = 10"):
            ask(X)
    with pytest.raises(ValueError, match="n_neighbors < n_samples_fit"):
        model.kneighbors(n_neighbors=10)
    assert model.kneighbors(X, 10, False).shape == (10, 10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_numbers_without_distances_are_refused(bad):
    X, y = blobs(50)
    X = X.astype(np.float64)
    X[3, 3] = bad
    with pytest.raises(ValueError, match="NaN|infinity"):
        FastANN().fit(X, y)
    model = FastANN().fit(blobs(50)[0], y)
    with pytest.raises(ValueError, match="NaN|infinity"):
        model.predict(X)


def test_the_graph_finds_most_neighbours_with_default_parameters():
    X, y = blobs(8_000, 32)
    true = FastANN(index="flat").fit(X, y).kneighbors(X[:300])[1]
    model = FastANN().fit(X, y)
    assert type(model.index_).__name__ == "IndexHNSWFlat"
    assert recall(model.kneighbors(X[:300])[1], true) > 0.95


def test_what_steers_a_search_is_read_at_each_search():
    X, y = blobs(5_000, 32)
    true = FastANN(index="flat").fit(X, y).kneighbors(X[:200] + 1)[1]
    model = FastANN(index="ivf", n_lists=50, n_probe=1, random_state=0).fit(X, y)
    few = recall(model.kneighbors(X[:200] + 1)[1], true)
    model.set_params(n_probe=50)
    assert recall(model.kneighbors(X[:200] + 1)[1], true) == 1 > few


@each_backend
def test_one_seed_gives_one_index_with_one_thread(options):
    X, y = blobs(1_000)
    first, second = (
        FastANN(random_state=5, **options).fit(X, y).kneighbors(X)[1] for _ in range(2)
    )
    assert np.array_equal(first, second)


@each_backend
def test_threads_change_the_time_not_the_answer(options):
    X, y = blobs(800)
    model = FastANN(random_state=0, **options).fit(X, y)
    alone = model.kneighbors(X)[1]
    assert np.array_equal(model.set_params(n_jobs=2).kneighbors(X)[1], alone)
    assert FastANN(n_jobs=2, **options).fit(X, y).score(X, y) > 0.7


def test_the_number_of_threads_is_put_back():
    faiss = pytest.importorskip("faiss")
    before = faiss.omp_get_max_threads()
    X, y = blobs(100)
    model = FastANN(n_jobs=before + 1).fit(X, y)
    with pytest.raises(ValueError):
        model.kneighbors(X, 101)
    model.predict(X)
    assert faiss.omp_get_max_threads() == before


# --- equal and isolated rows -------------------------------------------------


def without_a_row_lost(model, X):
    """Assert that each fitted row finds itself or its equal, at distance 0."""
    distances, found = model.kneighbors(X, 1)
    assert np.all(distances == 0)
    assert np.array_equal(X[found[:, 0]], X)


@pytest.mark.parametrize("options", [{}, *BACKENDS], ids=str)
@pytest.mark.parametrize("copies", [2, 30, 3_000])
def test_copies_hide_no_other_row(options, copies):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(copies + 100, 4)).astype(np.float32)
    X[:copies] = X[0]
    rng.shuffle(X)
    queries = rng.normal(size=(100, 4)).astype(np.float32)
    model = FastANN(random_state=0, **options).fit(X, np.arange(len(X)) % 2)
    for k in (1, 5, copies + 3):
        true = exact(X, queries, k, "euclidean")[0]
        distances, found = model.kneighbors(queries, k)
        assert all(len({*row}) == k for row in found)
        right = np.isclose(distances, true, rtol=1e-4, atol=1e-5).mean()
        if options in ({}, {"index": "flat"}):
            assert right == 1
        elif options.get("index") != "ivfpq":
            assert right > 0.95
    if options in ({}, {"index": "flat"}, {"index": "hnsw"}):
        without_a_row_lost(model, X)


def test_digits_of_which_some_are_there_a_thousand_times_are_told_apart():
    X, y = load_digits(return_X_y=True)
    many = np.repeat(np.arange(5), 1_000)
    X_train, y_train = np.vstack([X[::2], X[many]]), np.r_[y[::2], y[many]]
    theirs = KNeighborsClassifier(3).fit(X_train, y_train).score(X[1::2], y[1::2])
    ours = FastANN(3, random_state=0).fit(X_train, y_train)
    graph = FastANN(3, index="hnsw", random_state=0).fit(X_train, y_train)
    assert theirs > 0.97
    for model in (ours, graph):
        assert model.score(X[1::2], y[1::2]) == pytest.approx(theirs, abs=0.005)


@pytest.mark.parametrize("options", [{}, {"index": "hnsw"}, {"index": "flat"}], ids=str)
def test_equal_rows_come_in_their_order(options):
    X = np.repeat([[0.0, 0.0], [3.0, 4.0]], [3, 4], axis=0)[[3, 0, 4, 1, 5, 2, 6]]
    model = FastANN(2, random_state=0, **options).fit(X, np.arange(7))
    distances, found = model.kneighbors([[0.0, 0.0]], 7)
    assert found.tolist() == [[1, 3, 5, 0, 2, 4, 6]]
    assert distances.tolist() == [[0.0, 0, 0, 5, 5, 5, 5]]
    distances, found = model.kneighbors(n_neighbors=3)
    assert distances[1].tolist() == [0, 0, 5] and found[1].tolist() == [3, 5, 0]
    assert distances[0].tolist() == [0, 0, 0] and found[0].tolist() == [2, 4, 6]


def scattered():
    """Clusters, and rows that are far from all, in numbers that float16 keeps."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(3_000, 6))
    X[:40] *= 300
    X[40:1_000] = 0.01 * X[40:1_000] + 20 * rng.normal(size=(24, 6)).repeat(40, axis=0)
    return X.astype(np.float16).astype(np.float32), np.arange(3_000) % 2


@pytest.mark.parametrize("rounds", [0, _links.LINK_ROUNDS])
@pytest.mark.parametrize(
    "options", [{}, {"metric": "manhattan"}, {"storage": "float16"}], ids=str
)
def test_a_graph_finds_rows_that_no_link_led_to(options, rounds, monkeypatch, tmp_path):
    """By new links, and where these do not help by a list beside the graph."""
    X, y = scattered()
    monkeypatch.setattr(_links, "LINK_ROUNDS", rounds)
    model = FastANN(1, index="hnsw", random_state=0, **options).fit(X, y)
    opened = FastANN.load(model.save(tmp_path / "index"))
    for one in (model, opened, pickle.loads(pickle.dumps(model))):
        without_a_row_lost(one, X)
        found = one.kneighbors(X[:100], 30, False)
        assert all(len({*row}) == 30 for row in found)
    assert bool(model._engine.aside.size) is (rounds == 0)
    assert len([*(tmp_path / "index").glob("aside-*")]) == (rounds == 0)
    monkeypatch.setattr(_faiss.Faiss, "_link_the_lost", lambda *_: None)
    bare = model.fit(X, y).kneighbors(X, 1)[0]
    assert np.any(bare > 0), "these rows put nothing to the test"


@pytest.mark.parametrize(
    "aside", [[0, 3_000], [-1, 2], [5, 5], [2, 1], [[1, 2]], [0.5], []], ids=str
)
def test_a_list_beside_the_graph_that_does_not_fit_is_refused(
    aside, tmp_path, monkeypatch
):
    monkeypatch.setattr(_links, "LINK_ROUNDS", 0)
    folder = FastANN(index="hnsw").fit(*scattered()).save(tmp_path / "index")
    replace_file(folder, "aside", np.array(aside))
    refused(folder, "does not name its rows")


@pytest.mark.parametrize("options", [{}, {"index": "hnsw"}, {"index": "ivf"}], ids=str)
@pytest.mark.parametrize("n", [1, 2, 300])
def test_constant_data_have_neighbours(options, n):
    X = np.full((n, 3), 0.1)
    distances, found = FastANN(1, **options).fit(X, np.zeros(n)).kneighbors(X, n)
    assert np.all(distances == 0)
    assert np.array_equal(found, np.tile(np.arange(n), (n, 1)))


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e-12, 1e12, 1e30, 1e200])
@pytest.mark.parametrize("options", [{}, {"index": "hnsw"}, {"index": "flat"}], ids=str)
@pytest.mark.parametrize("metric", neighbors.METRICS)
def test_a_unit_of_any_size_changes_no_neighbour(size, options, metric):
    X, y = blobs(200, 6)
    X = X.astype(np.float64)
    plain = FastANN(metric=metric, random_state=0, **options).fit(X, y).kneighbors(X)
    model = FastANN(metric=metric, random_state=0, **options)
    if metric == "dot" and not 1e-100 < size < 1e100:  # no product would fit
        if size > 1:
            with pytest.raises(ParameterError, match="so large"):
                model.fit(X * size, y)
        return
    model.fit(X * size, y)
    distances, found = model.kneighbors(X * size)
    unit = {"euclidean": size, "manhattan": size}.get(metric, 1.0)
    unit = size**2 if metric == "dot" else unit
    assert np.mean(found == plain[1]) > 0.99
    assert np.allclose(distances / unit, plain[0], rtol=1e-4, atol=2e-3)


def test_an_outlier_takes_no_digits_from_the_others():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(6_000, 5))
    X[7] = 1e9
    y = np.zeros(6_000)
    distances, found = FastANN(index="flat").fit(X, y).kneighbors(X[8:200])
    true, rows = exact(X, X[8:200], 5, "euclidean")
    assert np.array_equal(found, rows)
    assert np.allclose(distances, true, rtol=1e-4, atol=1e-6)


def test_flat_is_right_where_the_digits_of_fast_sums_cancel():
    rng = np.random.default_rng(6)
    X = 100 * rng.normal(size=(20, 6)).repeat(200, axis=0)
    X = (X + 1e-3 * rng.normal(size=X.shape)).astype(np.float32)
    model = FastANN(index="flat").fit(X, np.zeros(4_000))
    distances, _ = model.kneighbors(X[::40])
    true, _ = exact(X, X[::40], 5, "euclidean")
    assert np.allclose(distances, true, rtol=1e-4, atol=1e-7)


# --- votes and labels --------------------------------------------------------


def test_votes_are_counted_by_class_not_by_frequency():
    # The recipe that went round gives 0 here: its columns are sorted by frequency.
    X = np.array([[0.0], [0.1], [0.2], [0.3], [0.4], [9], [9.1], [9.2], [9.3]])
    y = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0])
    model = FastANN(index="flat").fit(X, y)
    assert model.predict([[0.1]]) == [1]
    assert np.allclose(model.predict_proba([[0.1]]), [[0.4, 0.6]])


@pytest.mark.parametrize(
    "names",
    [["owl", "cat", "asp"], [40, -7, 12], [2.5, 0.5, 1.5], [True, False]],
    ids=str,
)
def test_labels_of_any_kind_come_back(names, tmp_path):
    X, codes = make_blobs(90, 3, centers=len(names), cluster_std=0.2, random_state=1)
    y = np.array(names)[codes]
    # Breaking noise keeps floats from counting as a regression target.
    if y.dtype.kind == "f":
        y = y.astype(str)
    model = FastANN(3).fit(X, y)
    assert np.array_equal(model.classes_, np.unique(y))
    assert np.array_equal(model.predict(X), y) and model.predict(X).dtype == y.dtype
    loaded = FastANN.load(model.save(tmp_path / "index"))
    assert np.array_equal(loaded.predict(X), y)


def test_text_labels_in_an_object_array_are_saved_without_pickle(tmp_path):
    X, codes = blobs(100)
    y = np.array([f"class {code}" for code in codes], object)
    model = FastANN().fit(X, y)
    loaded = FastANN.load(model.save(tmp_path / "index"))
    assert np.array_equal(loaded.predict(X), model.predict(X))


def test_ties_go_to_the_first_class_as_in_scikit_learn():
    X = np.array([[0.0], [1.0], [10.0], [11.0]])
    y = np.array(["b", "a", "d", "c"])
    ours = FastANN(2, index="flat").fit(X, y)
    theirs = KNeighborsClassifier(2).fit(X, y)
    assert list(ours.predict(X)) == list(theirs.predict(X)) == ["a", "a", "c", "c"]


def test_votes_weighted_by_distance_are_scikit_learns():
    X, y = blobs(300)
    X[5] = X[6]
    queries = np.vstack([X[:50], X[:50] + 0.3])
    ours = FastANN(index="flat", weights="distance").fit(X, y)
    theirs = KNeighborsClassifier(weights="distance").fit(X, y)
    close = np.allclose(
        ours.predict_proba(queries), theirs.predict_proba(queries), atol=1e-4
    )
    assert close
    assert np.array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("storage", ["float16", "uint8"])
def test_short_numbers_find_the_same_pixels(storage, tmp_path):
    rng = np.random.default_rng(3)
    centers = rng.integers(0, 256, size=(20, 32))
    y = rng.integers(20, size=2_000)
    X = np.clip(centers[y] + rng.integers(-40, 41, size=(2_000, 32)), 0, 255)
    options = {"ef_search": 200, "random_state": 0}
    wide = FastANN(**options).fit(X, y)
    short = FastANN(storage=storage, **options).fit(X, y)
    expected, rows = wide.kneighbors(X[:200])
    distances, found = short.kneighbors(X[:200])
    np.testing.assert_allclose(distances, expected, atol=1e-3)
    assert np.mean(found == rows) > 0.99
    assert np.mean(short.kneighbors()[1] == wide.kneighbors()[1]) > 0.99
    short.save(tmp_path)
    opened = FastANN.load(tmp_path)
    np.testing.assert_array_equal(opened.kneighbors(X[:200])[1], found)
    sizes = [
        FastANN(storage=s).fit(X, y).save(tmp_path / s) for s in ("float32", storage)
    ]
    wide_bytes, short_bytes = (
        next(folder.glob("index-*")).stat().st_size for folder in sizes
    )
    saved = 32 * 2_000 * (2 if storage == "float16" else 3)
    assert wide_bytes - short_bytes == pytest.approx(saved, rel=0.05)


def test_short_cosine_distances_are_those_of_scikit_learn():
    X, y = blobs(500)
    model = FastANN(storage="float16", metric="cosine", ef_search=500).fit(X, y)
    distances, _ = model.kneighbors(X[:50])
    expected, _ = exact(X, X[:50], 5, "cosine")
    np.testing.assert_allclose(distances, expected, atol=2e-3)


@pytest.mark.parametrize(
    ("storage", "rows", "queries", "message"),
    [
        ("uint8", [[0.5], [1.0]], [[1.0]], "whole numbers from 0 to 255"),
        ("uint8", [[-1.0], [1.0]], [[1.0]], "whole numbers from 0 to 255"),
        ("uint8", [[3.0], [1.0]], [[256.0]], "whole numbers from 0 to 255"),
        ("float16", [[-1e5], [1e5]], [[1.0]], "too large for storage='float16'"),
    ],
)
def test_numbers_that_do_not_fit_into_the_storage_are_refused(
    storage, rows, queries, message
):
    with pytest.raises(ParameterError, match=message):
        FastANN(1, storage=storage).fit(rows, [0, 1]).predict(queries)


def falling(distances):
    """Weight of a vote that falls with the distance."""
    return np.exp(-distances / 100)


def test_a_function_weighs_the_votes_as_in_scikit_learn():
    X, y = load_breast_cancer(return_X_y=True)
    ours = FastANN(20, index="flat", weights=falling).fit(X, y)
    theirs = KNeighborsClassifier(20, weights=falling).fit(X, y)
    np.testing.assert_allclose(
        ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=1e-3
    )
    np.testing.assert_array_equal(ours.predict(X[::5]), theirs.predict(X[::5]))


@pytest.mark.parametrize(
    ("weigh", "message"),
    [
        (lambda distances: distances[:, 0], "return one weight for each distance"),
        (lambda distances: -distances - 1, "negative numbers"),
        (lambda distances: distances * np.nan, "NaN"),
        (lambda distances: 0 * distances, "the weight 0"),
    ],
)
def test_a_function_that_weighs_badly_is_told_so(weigh, message):
    X, y = blobs(50)
    model = FastANN(index="flat", weights=weigh).fit(X, y)
    with pytest.raises(ParameterError, match=message) as caught:
        model.predict(X[:3])
    assert "\n" not in str(caught.value)


def test_a_function_cannot_be_saved_but_the_index_can(tmp_path):
    X, y = blobs(50)
    model = FastANN(index="flat", weights=falling).fit(X, y)
    with pytest.raises(ParameterError, match="without pickle"):
        model.save(tmp_path)
    assert list(tmp_path.iterdir()) == []
    model.set_params(weights="uniform").save(tmp_path)
    opened = FastANN.load(tmp_path).set_params(weights=falling)
    expected = model.set_params(weights=falling).predict_proba(X)
    np.testing.assert_array_equal(opened.predict_proba(X), expected)


@pytest.mark.parametrize("metric", ["cosine", "angular"])
def test_a_row_outvotes_others_at_its_own_place_in_any_metric(metric):
    X, _ = blobs(200)
    y = np.arange(200) % 90
    model = FastANN(30, weights="distance", metric=metric, index="flat").fit(X, y)
    assert np.array_equal(model.predict(X), y)


def test_parameters_are_named():
    with pytest.raises(TypeError, match="takes from 1 to 2 positional arguments"):
        FastANN(3, "distance")


def test_many_classes_are_counted_in_blocks(monkeypatch):
    X, _ = blobs(500)
    y = np.arange(500) // 2
    model = FastANN(3, index="flat").fit(X, y)
    whole = model.predict(X)
    monkeypatch.setattr(_estimator, "BLOCK", 1_000)
    assert np.array_equal(model.predict(X), whole)
    assert np.array_equal(whole, model.classes_[model.predict_proba(X).argmax(axis=1)])


def test_vote_adds_up_each_row_by_itself():
    labels = np.array([[0, 0, 2], [1, 1, 1]])
    assert vote(labels, 4).tolist() == [[2, 0, 1, 0], [0, 3, 0, 0]]
    weights = np.array([[0.5, 0.25, 2], [1, 1, 0.0]])
    assert vote(labels, 3, weights).tolist() == [[0.75, 0, 2], [0, 2, 0]]
    assert vote(np.empty((0, 3), int), 2).shape == (0, 2)


# --- what is refused ---------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "scann"}, "backend is 'scann'"),
        ({"index": "trees"}, "index='trees' is not offered by backend='faiss'"),
        ({"backend": "annoy", "index": "hnsw"}, "'hnsw' is not offered by"),
        ({"metric": "hamming"}, "metric is 'hamming'"),
        ({"index": "ivfpq", "metric": "manhattan"}, "cannot measure"),
        ({"weights": "rank"}, "weights is 'rank'"),
        ({"storage": "int4"}, "storage is 'int4'"),
        ({"storage": "uint8", "index": "ivf"}, "means nothing to index='ivf'"),
        ({"storage": "uint8", "metric": "cosine"}, "cannot measure metric='cosine'"),
        ({"weights": "distance", "metric": "dot"}, "weights='distance' needs"),
        ({"n_trees": 10}, "index='hnsw'; leave it out, or choose backend='annoy'"),
        ({"index": "trees"}, "'ivfpq', or backend='annoy'."),
        ({"backend": "annoy", "ef_search": 9}, "ef_search means nothing"),
        ({"index": "flat", "n_probe": 9}, "n_probe means nothing to index='flat'"),
        ({"index": "ivf", "n_bytes": 9}, "choose index='ivfpq'"),
        ({"index": None}, "choose from 'auto', 'flat'"),
        ({"rerank": 0}, "rerank is 0"),
        ({"n_components": 17}, "n_components = 17 is more than the 16 columns"),
        ({"n_components": 4, "metric": "dot"}, "n_components cannot measure"),
        ({"rerank": 4, "metric": "manhattan"}, "rerank cannot measure"),
        ({"backend": "annoy", "rerank": 4}, "rerank means nothing to index='trees'"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"n_jobs": "all"}, "n_jobs is 'all'"),
        ({"ef_search": 0}, "ef_search is 0"),
        ({"ef_search": 2**31}, "ef_search is 2147483648"),
        ({"ef_search": 1.5}, "ef_search is 1.5"),
        ({"n_neighbors": 0}, "n_neighbors > 0"),
        ({"index": "ivf", "n_lists": 999}, "n_lists = 999 is more than the 100 rows"),
        ({"index": "ivfpq", "n_bytes": 17}, "n_bytes = 17 is more than the 16"),
    ],
    ids=str,
)
def test_what_is_not_offered_is_refused_by_name_in_one_sentence(options, words):
    with pytest.raises(ValueError) as caught:
        FastANN(**options).fit(*blobs(100))
    assert isinstance(caught.value, CourseError)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", ["annoy", "faiss"])
def test_a_missing_backend_is_named_with_both_cures(backend, monkeypatch):
    monkeypatch.setitem(sys.modules, backend, None)
    _annoy._annoy.cache_clear()
    with pytest.raises(BackendError) as caught:
        FastANN(backend=backend).fit(*blobs(20))
    other = {"annoy": "faiss", "faiss": "annoy"}[backend]
    assert f"{backend} is not installed" in str(caught.value)
    assert "pip install" in str(caught.value)
    assert f"backend='{other}'" in str(caught.value)


@needs_annoy
def test_an_annoy_that_finds_one_neighbour_only_is_refused(monkeypatch):
    _annoy._annoy.cache_clear()
    monkeypatch.setattr(annoy_probe, "TEST", "print([0])")
    with pytest.raises(BackendError, match="gave \\[0\\].*--no-binary=annoy"):
        FastANN(backend="annoy").fit(*blobs(20))


def test_importing_the_module_brings_neither_backend_nor_a_framework():
    code = (
        "import sys, course_utils.neighbors as n; "
        "print([m for m in ('faiss', 'annoy', 'torch', 'tensorflow', 'keras') "
        "if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr


# --- forks -------------------------------------------------------------------

IN_A_CHILD = """
import json, multiprocessing, os, signal, sys
import numpy as np
from course_utils.neighbors import FastANN
options = json.loads(sys.argv[1])
X = np.random.default_rng(0).normal(size=(3_000, 16))
y = np.arange(3_000) % 3
model = FastANN(n_jobs=2, random_state=0, **options).fit(X, y)
expected = model.predict(X)

def ask():
    signal.alarm(120)  # ends a child that hangs
    same = np.array_equal(model.predict(X), expected)
    FastANN(n_jobs=2, **options).fit(X, y).predict(X)
    os._exit(0 if same else 3)

child = os.fork() or ask()
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]
child = multiprocessing.get_context("fork").Process(target=ask)
child.start()
child.join()
print(*codes, child.exitcode, np.array_equal(model.predict(X), expected))
"""


@needs_posix
@pytest.mark.parametrize("options", [{}, *BACKENDS], ids=str)
def test_a_forked_child_answers(options):
    command = [sys.executable, "-W", "ignore", "-c", IN_A_CHILD, json.dumps(options)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.stdout.split() == ["0", "0", "True"], ran.stderr


# --- saving ------------------------------------------------------------------


def describe(folder, **change):
    """Change what a saved index says of itself, with a digest that fits."""
    path = folder / "about.json"
    about = json.loads(path.read_text()) | change
    about.pop("sha256")
    text = json.dumps(about, sort_keys=True)
    about["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(about))


def replace_file(folder, role, data):
    """Put other bytes, or another array, in the place of a saved file."""
    if isinstance(data, np.ndarray):
        stream = io.BytesIO()
        np.save(stream, data)
        data = stream.getvalue()
    files = json.loads((folder / "about.json").read_text())["files"]
    sha256 = hashlib.sha256(data).hexdigest()
    suffix = Path(files[role]["name"]).suffix if role in files else ".npy"
    name = f"{role}-{sha256[:16]}{suffix}"
    (folder / name).write_bytes(data)
    file = {"name": name, "bytes": len(data), "sha256": sha256}
    describe(folder, files=files | {role: file})


def refused(folder, words=""):
    with pytest.raises(DataError, match=words) as caught:
        FastANN.load(folder)
    text = str(caught.value)
    assert str(folder) in text and "\n" not in text and len(text) < 500
    assert "Error" not in text and text.endswith(".")


IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
import numpy as np
from course_utils.neighbors import FastANN
folder, queries = sys.argv[1:]
model = FastANN.load(folder)
maps = Path("/proc/self/maps")
mapped = not maps.exists() or "index-" in maps.read_text()
print(mapped, *model.predict(np.load(queries)))
"""


@each_backend
def test_another_process_opens_a_saved_index_by_memory_map(options, tmp_path):
    X, y = blobs(2_000)
    model = FastANN(random_state=1, weights="distance", **options).fit(X, y)
    model.save(tmp_path / "index")
    assert not [p for p in (tmp_path / "index").iterdir() if p.suffix in (".pkl", ".p")]
    np.save(tmp_path / "queries.npy", X[:20])
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS]
    command += [str(tmp_path / "index"), str(tmp_path / "queries.npy")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    mapped, *labels = ran.stdout.split()
    assert mapped == "True"
    assert labels == [str(label) for label in model.predict(X[:20])]


@each_backend
def test_a_loaded_model_is_the_one_that_was_saved(options, tmp_path):
    X, y = blobs(500)
    model = FastANN(3, metric="cosine", random_state=1, **options).fit(X, y)
    loaded = FastANN.load(model.save(tmp_path / "index"))
    assert loaded.get_params() == model.get_params()
    for ours, theirs in zip(loaded.kneighbors(X), model.kneighbors(X), strict=True):
        assert np.array_equal(ours, theirs)
    again = FastANN.load(loaded.save(tmp_path / "index"))
    assert np.array_equal(again.predict(X), model.predict(X))
    assert np.array_equal(
        pickle.loads(pickle.dumps(again)).predict(X), again.predict(X)
    )


@each_backend
@pytest.mark.parametrize("role", ["index", "labels", "classes"])
def test_a_changed_file_is_refused_in_one_sentence(options, role, tmp_path):
    folder = FastANN(**options).fit(*blobs(300)).save(tmp_path / "index")
    path = next(folder.glob(f"{role}-*"))
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        DataError, match="not the file that was saved.*sha256"
    ) as caught:
        FastANN.load(folder)
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(DataError, match="is missing"):
        FastANN.load(folder)


def test_what_is_no_folder_with_an_index_is_named(tmp_path):
    refused(tmp_path, "No saved index is in")
    refused(tmp_path / "nowhere", "does not exist")
    (tmp_path / "file").write_text("{}")
    refused(tmp_path / "file", "is a file: give the folder")
    (tmp_path / "odd" / "about.json").mkdir(parents=True)
    refused(tmp_path / "odd", "could not be read")
    with pytest.raises(DataError, match="could not be written"):
        FastANN().fit(*blobs(20)).save(tmp_path / "file")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"format": 2},
        {"files": {"index": {"name": "../../etc/passwd"}}},
        {"files": {"labels": 3}},
        {"files": []},
        {"params": {"backend": "faiss", "no_such": 1}},
        {"params": {"backend": "scann"}},
        {"params": None},
        {"n_samples": 12},
        {"n_samples": True},
        {"n_samples": 10**30},
        {"n_features": 999},
        {"n_features": 15},
        {"n_features": 3.5},
        {"n_features": 0},
        {"scale": 3.0},
        {"scale": float("nan")},
        {"scale": "1"},
        {"kind": "flat"},
        {"kind": "exact"},
        {"kind": ["hnsw"]},
        {"feature_names": ["a", "b"]},
        {"feature_names": 16 * [1]},
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_is_refused(change, tmp_path):
    folder = FastANN(index="hnsw").fit(*blobs(300)).save(tmp_path / "index")
    whole = (folder / "about.json").read_text()
    (folder / "about.json").write_text(json.dumps(json.loads(whole) | change))
    refused(folder, "does not hold an index")  # its own digest differs
    (folder / "about.json").write_text(whole)
    describe(folder, **change)
    refused(folder, "does not hold an index")


@pytest.mark.parametrize(
    "change",
    [
        {"n_neighbors": 0},
        {"n_neighbors": "5"},
        {"metric": "hamming"},
        {"metric": "manhattan"},
        {"metric": ["euclidean"]},
        {"backend": "annoy"},
        {"backend": {}},
        {"index": "flat"},
        {"index": "ivf"},
        {"weights": 7},
        {"n_jobs": 0},
        {"n_jobs": "all"},
        {"n_jobs": True},
        {"ef_search": 0},
        {"ef_search": 2**40},
        {"n_trees": 3},
        {"storage": "uint8", "metric": "cosine"},
        {"random_state": 0.5},
        {"random_state": [1]},
    ],
    ids=str,
)
def test_saved_parameters_are_checked_as_those_of_fit_are(change, tmp_path):
    folder = FastANN(index="hnsw").fit(*blobs(300)).save(tmp_path / "index")
    params = json.loads((folder / "about.json").read_text())["params"]
    describe(folder, params=params | change)
    refused(folder, "does not hold an index")


@pytest.mark.parametrize(
    ("role", "array"),
    [
        ("labels", np.arange(300)),
        ("labels", np.zeros(299, int)),
        ("labels", np.full(300, -1)),
        ("labels", np.zeros((300, 1), int)),
        ("labels", np.zeros(300)),
        ("classes", np.arange(8)[::-1]),
        ("classes", np.zeros(8, int)),
        ("classes", np.arange(8).reshape(2, 4)),
        ("classes", np.arange(3)),
        ("center", np.zeros(15)),
        ("center", np.full(16, np.nan)),
        ("center", np.zeros(16, int)),
        ("groups", np.zeros(300, int)),
        ("groups", np.arange(300) - 2),
        ("groups", np.arange(299)),
        ("groups", np.arange(1, 301)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.shape),
)
@pytest.mark.parametrize("options", [{}, {"index": "hnsw"}], ids=str)
def test_arrays_that_do_not_fit_the_index_are_refused(options, role, array, tmp_path):
    folder = FastANN(**options).fit(*blobs(300)).save(tmp_path / "index")
    replace_file(folder, role, array)
    refused(folder, "does not hold an index")


@each_backend
def test_an_index_of_other_rows_is_refused(options, tmp_path):
    X, y = blobs(300)
    folder = FastANN(**options).fit(X, y).save(tmp_path / "index")
    whole = (folder / "about.json").read_text()
    others = [(X[:, :12], options), (X[:200], options)]
    if options.get("backend") != "annoy":
        others.append((X, {"index": "ivf" if options["index"] == "flat" else "flat"}))
    for number, (rows, made) in enumerate(others):
        other = FastANN(**made).fit(rows, y[: len(rows)]).save(tmp_path / str(number))
        data = next(other.glob("index-*")).read_bytes()
        replace_file(folder, "index", data)
        refused(folder, "does not hold an index")
        (folder / "about.json").write_text(whole)
    replace_file(folder, "index", b"no index")
    refused(folder, "does not hold an index")


def test_what_was_set_after_fit_does_not_change_what_is_saved(tmp_path):
    X, y = blobs(300)
    model = FastANN(metric="cosine").fit(X, y)
    model.set_params(metric="euclidean", index="ivf", n_neighbors=3)
    opened = FastANN.load(model.save(tmp_path))
    assert (opened.metric, opened.index, opened.n_neighbors) == ("cosine", "auto", 3)
    assert np.array_equal(opened.kneighbors(X)[0], model.kneighbors(X)[0])


@pytest.mark.parametrize("options", [{}, {"index": "hnsw"}, {"index": "ivf"}], ids=str)
def test_equal_rows_and_units_survive_saving(options, tmp_path):
    X, y = blobs(300)
    X = X.astype(np.float64)[np.arange(300) // 3] * 1e-20
    model = FastANN(random_state=0, **options).fit(X, y)
    expected = model.kneighbors(X, 7)
    opened = FastANN.load(model.save(tmp_path))
    for twin in (opened, pickle.loads(pickle.dumps(model))):
        assert all(map(np.array_equal, twin.kneighbors(X, 7), expected))
        assert np.array_equal(twin.predict(None), model.predict(None))


def test_a_save_between_the_steps_of_a_load_does_not_disturb_it(tmp_path, monkeypatch):
    X, y = blobs(300)
    folder = FastANN().fit(X, y).save(tmp_path / "index")
    saves = iter([200, 100])

    def checked(*arguments, real=_store._checked):
        n = next(saves, None)
        if n:
            FastANN().fit(X[:n] + n, y[:n]).save(folder)
        return real(*arguments)

    monkeypatch.setattr(_store, "_checked", checked)
    assert FastANN.load(folder).n_samples_fit_ == 100


SAVES = """
import sys
import numpy as np
from course_utils.neighbors import FastANN
rng = np.random.default_rng(0)
for n in range(20, 50):
    FastANN().fit(rng.normal(size=(n, 3)), np.arange(n) % 2).save(sys.argv[1])
"""


def test_an_index_opens_while_another_process_saves(tmp_path):
    folder = FastANN().fit(*blobs(20, 3)).save(tmp_path / "index")
    with subprocess.Popen([sys.executable, "-c", SAVES, str(folder)]) as other:
        sizes = []
        while other.poll() is None:
            sizes.append(FastANN.load(folder).n_samples_fit_)
    assert other.returncode == 0
    assert len({*sizes}) > 2 and sizes == sorted(sizes)
    assert FastANN.load(folder).n_samples_fit_ == 49


def test_a_load_waits_for_the_first_save(tmp_path, monkeypatch):
    X, y = blobs(50)
    elsewhere = FastANN().fit(X, y).save(tmp_path / "elsewhere")
    folder = tmp_path / "index"
    folder.mkdir()
    waits, saves = threading.Event(), threading.Event()

    def save():
        with FileLock(folder / ".lock"):
            saves.set()
            waits.wait(60)
            shutil.copytree(elsewhere, folder, dirs_exist_ok=True)

    def wait(place, real=_store._wait_for_a_save):
        waits.set()
        real(place)

    monkeypatch.setattr(_store, "_wait_for_a_save", wait)
    other = threading.Thread(target=save)
    other.start()
    assert saves.wait(60)
    assert FastANN.load(folder).n_samples_fit_ == 50
    other.join()


KILLED = """
import os, signal, sys
import numpy as np
from course_utils.neighbors import FastANN
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
FastANN().fit(np.eye(9), np.arange(9) % 2).save(sys.argv[1])
"""


@needs_posix
def test_the_next_save_removes_what_a_killed_one_left_and_nothing_else(tmp_path):
    folder = tmp_path / "index"
    ran = subprocess.run([sys.executable, "-c", KILLED, str(folder)])
    assert ran.returncode < 0
    (left,) = folder.glob(".part-*")
    (folder / ".part-of-mine").mkdir()
    (folder / ".part-12345678").write_text("a file")
    (folder / ".part-abcdefgh").symlink_to(tmp_path, target_is_directory=True)
    FastANN().fit(*blobs(30)).save(folder)
    assert not left.exists()
    assert (folder / ".part-of-mine").is_dir() and tmp_path.is_dir()
    assert (folder / ".part-12345678").read_text() == "a file"
    assert (folder / ".part-abcdefgh").is_symlink()
    assert FastANN.load(folder).n_samples_fit_ == 30


def test_broken_json_is_refused(tmp_path):
    folder = FastANN().fit(*blobs(300)).save(tmp_path / "index")
    (folder / "about.json").write_text("{")
    with pytest.raises(DataError, match="does not hold an index"):
        FastANN.load(folder)


LIMITED = """
import resource, signal, sys
import numpy as np
from course_utils.errors import DataError
from course_utils.neighbors import FastANN
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
X = np.random.default_rng(1).normal(size=(3_000, 16))
options = {"backend": "annoy", "n_trees": 5} if sys.argv[2] == "annoy" else {}
model = FastANN(**options).fit(X, np.arange(3_000) % 3)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, -1))
try:
    model.save(sys.argv[1])
except DataError as error:
    print(error)
assert len(model.predict(X[:5])) == 5
"""


@needs_posix
@pytest.mark.parametrize("backend", ["faiss", pytest.param("annoy", marks=needs_annoy)])
def test_a_write_that_fails_midway_leaves_the_former_index(backend, tmp_path):
    X, y = blobs(300)
    folder = FastANN().fit(X, y).save(tmp_path / "index")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder), backend],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "could not be written" in ran.stdout and ran.stdout.count("\n") == 1
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert np.array_equal(
        FastANN.load(folder).predict(X), FastANN().fit(X, y).predict(X)
    )


@pytest.mark.parametrize("step", range(1, 6))
def test_a_move_that_fails_leaves_an_index_that_opens(step, tmp_path, monkeypatch):
    X, y = blobs(300)
    X = X.astype(np.float64)
    folder = FastANN().fit(X, y).save(tmp_path / "index")
    calls = []

    def replace(source, target, real=os.replace):
        calls.append(target)
        if len(calls) == step:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(DataError, match="untouched"):
        FastANN(3).fit(X[:200] + 7, y[:200]).save(folder)
    monkeypatch.undo()
    loaded = FastANN.load(folder)
    assert loaded.n_samples_fit_ == 300 and loaded.n_neighbors == 5
    FastANN(3).fit(X[:200], y[:200]).save(folder)
    assert FastANN.load(folder).n_samples_fit_ == 200
    kinds = sorted(p.name.split("-")[0] for p in folder.iterdir() if p.name[0] != ".")
    assert kinds == ["about.json", "center", "classes", "index", "labels"]


def test_a_second_save_replaces_the_first_and_the_open_one_reads_on(tmp_path):
    X, y = blobs(300)
    first = FastANN.load(FastANN().fit(X, y).save(tmp_path / "index"))
    expected = first.predict(X)
    FastANN().fit(X + 5, y).save(tmp_path / "index")
    assert np.array_equal(first.predict(X), expected)


def test_a_save_goes_round_files_that_windows_keeps_because_they_are_mapped(
    tmp_path, monkeypatch
):
    X, y = blobs(300)
    X = X.astype(np.float64)
    folder = FastANN().fit(X, y).save(tmp_path / "index")

    def replace(source, target, real=os.replace):
        written = os.path.basename(source)  # annoy maps what it has written
        if written != "about.json" and os.path.exists(target) or "index" in written:
            raise PermissionError(13, "Permission denied")
        real(source, target)

    def unlink(path, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as windows:
        windows.setattr(os, "replace", replace)
        windows.setattr(Path, "unlink", unlink)
        FastANN(3).fit(X, y).save(folder)  # the same files, other parameters
        assert FastANN.load(folder).n_neighbors == 3
        FastANN().fit(X + 5, y).save(folder)
        assert FastANN.load(folder).n_neighbors == 5
        (damaged,) = folder.glob("labels-*")
        damaged.write_bytes(b"")
        with pytest.raises(DataError, match="not the file that was saved"):
            FastANN(3).fit(X, y).save(folder)
    FastANN(3).fit(X, y).save(folder)
    assert len(FastANN.load(folder).predict(X)) == 300
    kinds = sorted(p.name.split("-")[0] for p in folder.iterdir() if p.name[0] != ".")
    assert kinds == ["about.json", "center", "classes", "index", "labels"]


def test_labels_that_need_pickle_are_not_saved(tmp_path):
    class Odd(int):
        pass

    model = FastANN().fit(*blobs(50))
    model.classes_ = np.array([Odd(i) for i in range(len(model.classes_))], object)
    with pytest.raises(ParameterError, match="without pickle"):
        model.save(tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_names_of_columns_are_kept(tmp_path):
    import pandas as pd

    X, y = blobs(60)
    table = pd.DataFrame(X, columns=[f"c{i}" for i in range(16)])
    loaded = FastANN.load(FastANN().fit(table, y).save(tmp_path / "index"))
    assert list(loaded.feature_names_in_) == list(table.columns)
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(table[table.columns[::-1]])
