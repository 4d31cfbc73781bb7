"""Rows come and go after `fit`; the default index; the graph of neighbours."""

from __future__ import annotations

import pickle

from course_utils.neighbors import EXACT_ROWS, FastANN, ParameterError
from tests.test_neighbors import blobs, exact, without_a_row_lost

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

CHANGEABLE = [
    {},
    {"index": "flat"},
    {"index": "hnsw"},
    {"index": "hnsw", "storage": "float16"},
    {"index": "ivf", "n_lists": 9},
    {"n_components": 8, "rerank": 30},
    {"rerank": 4, "index": "ivf"},
    {"rerank": 4, "index": "ivfpq", "n_lists": 9},
]
each_changeable = pytest.mark.parametrize("options", CHANGEABLE, ids=str)


# --- the default -------------------------------------------------------------


def test_the_default_is_exact_on_small_sets_and_where_few_rows_differ():
    rng = np.random.default_rng(0)
    few = rng.normal(size=(300, 4))
    many = few[rng.integers(300, size=EXACT_ROWS + 500)]
    for X in (few, few.astype(np.float32), many, many.astype(np.float32)):
        model = FastANN(random_state=0).fit(X, np.zeros(len(X)))
        assert model._engine.kind == "exact"
        distances, _ = model.kneighbors(few, 40)
        assert np.allclose(distances, exact(X, few, 40, "euclidean")[0], atol=1e-12)
    assert model.kneighbors()[0].max() == 0
    different = rng.normal(size=(EXACT_ROWS + 1, 2))
    model.fit(different, np.zeros(len(different)))
    assert model._engine.kind == "hnsw"


@pytest.mark.parametrize("given", [{"ef_search": 30}, {"rerank": 2}], ids=str)
def test_a_parameter_of_the_graph_asks_for_the_graph(given):
    assert FastANN(**given).fit(*blobs(200))._engine.kind == "hnsw"


# --- rows that come and go ---------------------------------------------------


@each_changeable
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_come_and_go_as_if_fitted_so(options, dtype, tmp_path):
    X, y = blobs(700)
    X = X.astype(np.float16).astype(dtype)
    if options.get("storage") == "float16" and dtype == np.float64:
        pytest.skip("rows less their median are no float16")
    X[650:] = X[:50]  # copies that come later
    model = FastANN(random_state=0, **options).fit(X[:400], y[:400])
    for start in (400, 500, 699):
        stop = {400: 500, 500: 699, 699: 700}[start]
        assert model.partial_fit(X[start:stop], y[start:stop]) is model
    assert model.n_samples_fit_ == 700
    without_a_row_lost(model, X)
    left = np.arange(700)
    for gone in (np.arange(0, 50), np.arange(100, 200), np.arange(200, 460), [699]):
        assert model.remove(gone) is model
        left = np.setdiff1d(left, gone)
        twin = FastANN.load(model.save(tmp_path / str(len(left))))
        for one in (model, twin, pickle.loads(pickle.dumps(model))):
            assert one.n_samples_fit_ == len(left)
            distances, found = one.kneighbors(X, 1)
            assert np.isin(found, left).all()
            assert np.all(distances[left] == 0)
            assert np.array_equal(X[found[left, 0]], X[left])
            true = exact(X[left], X[:60], 5, "euclidean")[0]
            assert np.isclose(one.kneighbors(X[:60])[0], true, atol=1e-2).mean() > 0.95
            assert one.kneighbors()[1].shape == (len(left), 5)
            assert not (one.kneighbors()[1] == left[:, None]).any()
            assert one.kneighbors(X[:2], len(left), False).shape == (2, len(left))
            assert np.array_equal(one.predict(X), model.predict(X))
    twin.partial_fit(X[:50], y[:50])
    assert np.all(twin.kneighbors(X[:50], 1)[0] == 0)
    assert twin.kneighbors(X[:10], 1, False).min() >= 650 or "ivf" in str(options)


@each_changeable
def test_added_rows_get_the_next_numbers_even_after_a_removal(options):
    X, y = blobs(300)
    model = FastANN(random_state=0, **options).fit(X[:200], y[:200])
    model.remove(np.arange(150, 200)).partial_fit(X[200:], y[200:])
    found = model.kneighbors(X, 1, False)[:, 0]
    left = np.r_[np.arange(150), np.arange(200, 300)]
    assert np.array_equal(found[left], left)


def test_a_small_set_that_grows_becomes_a_graph():
    X, y = blobs(EXACT_ROWS + 300, 8)
    model = FastANN(random_state=0).fit(X[:EXACT_ROWS], y[:EXACT_ROWS])
    assert model.remove([7])._engine.kind == "exact"
    model.partial_fit(X[EXACT_ROWS:], y[EXACT_ROWS:])
    assert model._engine.kind == "hnsw"
    found = model.kneighbors(X, 1, False)[:, 0]
    same = found == np.arange(len(X))
    assert same.sum() == len(X) - 1 and not same[7]


def test_new_classes_join_and_votes_keep_their_labels():
    X, y = blobs(400)
    names = np.array(list("hgfedcba"))[y]
    old = y > 3
    model = FastANN(1).partial_fit(X[old], names[old], classes=["z"])
    assert list(model.classes_) == [*"abcd", "z"]
    model.partial_fit(X[~old], names[~old])
    assert list(model.classes_) == [*"abcdefgh", "z"]
    order = np.r_[np.flatnonzero(old), np.flatnonzero(~old)]
    assert np.array_equal(model.predict(X[order]), names[order])
    assert model.predict_proba(X).shape == (400, 9)
    with pytest.raises(ParameterError, match="another type"):
        model.partial_fit(X, y)
    assert model.n_samples_fit_ == 400


def test_one_row_at_a_time_builds_the_same_exact_index():
    X, y = blobs(60)
    model = FastANN()
    for row in range(60):
        model.partial_fit(X[row : row + 1], y[row : row + 1])
    expected = FastANN().fit(X, y).kneighbors(X)
    assert np.array_equal(model.kneighbors(X)[1], expected[1])
    assert np.allclose(model.kneighbors(X)[0], expected[0], atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([3, 99], "Row 99 is not in the index"),
        ([-1], "Row -1 is not in the index"),
        ([2], "Row 2 is not in the index"),
        ([0.5], "no list of row numbers"),
        (np.arange(3, 50), "No row would be left"),
    ],
    ids=str,
)
@pytest.mark.parametrize("options", [{}, {"index": "hnsw"}], ids=str)
def test_a_removal_that_cannot_be_is_refused_and_changes_nothing(options, rows, words):
    X, y = blobs(50)
    model = FastANN(1, **options).fit(X, y).remove([0, 1, 2])
    with pytest.raises(ParameterError, match=words) as caught:
        model.remove(rows)
    assert "\n" not in str(caught.value)
    assert np.array_equal(model.kneighbors(X[3:], 1, False)[:, 0], np.arange(3, 50))
    assert model.remove([]).n_samples_fit_ == 47


@pytest.mark.parametrize("options", [{"index": "ivfpq"}, {"backend": "annoy"}], ids=str)
def test_an_index_that_cannot_change_says_so(options):
    model = FastANN(**options)
    for name in ("partial_fit", "remove"):
        assert not hasattr(model, name)
        with pytest.raises(ParameterError, match="neither add nor remove rows; fit"):
            getattr(model, name)


# --- the graph of neighbours, sparse input -----------------------------------


@pytest.mark.parametrize("mode", ["connectivity", "distance"])
def test_the_graph_of_neighbours_is_scikit_learns(mode):
    X, y = blobs(200)
    ours, theirs = (
        one.fit(X, y).kneighbors_graph(mode=mode)
        for one in (FastANN(4), KNeighborsClassifier(4))
    )
    assert ours.shape == (200, 200) and ours.format == "csr"
    np.testing.assert_allclose(ours.toarray(), theirs.toarray(), atol=1e-3)
    model = FastANN(4).fit(X, y).remove([199])
    assert model.kneighbors_graph(X[:3], 2).shape == (3, 200)
    with pytest.raises(ParameterError, match="mode is 'weights'"):
        model.kneighbors_graph(mode="weights")


def test_sparse_rows_are_refused_with_advice_that_works():
    X, y = blobs(200)
    for sparse in (csr_array(X), csr_matrix(X)):
        for ask in (FastANN().fit, FastANN().fit(X, y).partial_fit):
            with pytest.raises(ParameterError, match="TruncatedSVD"):
                ask(sparse, y)
        with pytest.raises(ParameterError, match="TruncatedSVD"):
            FastANN().fit(X, y).predict(sparse)
    pipeline = make_pipeline(TruncatedSVD(10, random_state=0), FastANN())
    assert pipeline.fit(csr_array(X), y).score(csr_array(X), y) > 0.9
