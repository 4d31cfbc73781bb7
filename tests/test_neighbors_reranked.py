"""Candidates by codes of principal components, distances by whole rows."""

from __future__ import annotations

import pickle

from course_utils.neighbors import FastANN, _faiss, _reranked
from tests.test_neighbors import (
    blobs,
    describe,
    exact,
    recall,
    refused,
    replace_file,
    scattered,
    without_a_row_lost,
)

import numpy as np
import pytest

KINDS = [
    {"index": "hnsw"},
    {"index": "ivf"},
    {"index": "flat"},
    {"index": "ivfpq", "n_lists": 20},
]
each_kind = pytest.mark.parametrize("options", KINDS, ids=lambda o: o["index"])


def wide(n=3_000, d=200, rank=12, seed=0):
    """Rows of many columns that lie near a few directions, as pictures do."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d))
    return (X + 0.1 * rng.normal(size=X.shape)).astype(np.float32), np.arange(n) % 3


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "angular"])
@each_kind
def test_few_components_find_the_neighbours_and_whole_rows_measure_them(
    options, metric, tmp_path
):
    X, y = wide()
    queries = X[:100] + np.float32(0.05)
    model = FastANN(metric=metric, n_components=16, random_state=0, **options).fit(X, y)
    distances, found = model.kneighbors(queries)
    assert recall(found, exact(X, queries, 5, metric)[1]) > 0.9
    everywhere, order = exact(X, queries, len(X), metric)
    true = np.take_along_axis(everywhere, order.argsort(axis=1), axis=1)
    expected = np.take_along_axis(true, found, axis=1)
    np.testing.assert_allclose(distances, expected, rtol=1e-4, atol=2e-3)
    without_a_row_lost(model, X)
    opened = FastANN.load(model.save(tmp_path / "index"))
    for one in (opened, pickle.loads(pickle.dumps(model))):
        assert all(map(np.array_equal, one.kneighbors(queries), (distances, found)))
        assert np.array_equal(one.kneighbors()[1], model.kneighbors()[1])
    assert opened.get_params() == model.get_params()


def test_more_candidates_find_more_without_another_fit():
    X, y = blobs(3_000, 40)
    queries = blobs(3_200, 40)[0][3_000:]
    true = exact(X, queries, 5, "euclidean")[1]
    model = FastANN(n_components=16, random_state=0, index="ivf", n_probe=50).fit(X, y)
    found = [
        recall(model.set_params(rerank=times).kneighbors(queries)[1], true)
        for times in (1, 4, 16, 3_000)
    ]
    assert found[0] < found[1] < found[2] < found[3] == 1


def test_rerank_is_saved_as_it_was_set_last(tmp_path):
    model = FastANN(rerank=2, random_state=0).fit(*blobs(300))
    assert FastANN.load(model.set_params(rerank=9).save(tmp_path)).rerank == 9
    assert FastANN.load(model.set_params(rerank=None).save(tmp_path)).rerank == 2


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_codes_that_tell_too_few_rows_apart_are_made_longer(kind):
    X, y = scattered()  # clusters far narrower than a step of a byte
    model = FastANN(rerank=2, index=kind, random_state=0).fit(X, y)
    assert not model._engine._short()
    without_a_row_lost(model, X)


@pytest.mark.parametrize("storage", ["uint8", "float16", "float32"])
def test_storage_says_what_the_codes_are(storage, tmp_path):
    X, y = wide()
    model = FastANN(n_components=32, storage=storage, random_state=0).fit(X, y)
    folder = model.save(tmp_path)
    size = next(folder.glob("index-*")).stat().st_size
    per_number = {"uint8": 1, "float16": 2, "float32": 4}[storage]
    graph = 8 * 16 * 1.2  # links of both directions, and of the layers above
    assert size / len(X) == pytest.approx(4 * 200 + 32 * per_number + graph, rel=0.03)
    without_a_row_lost(FastANN.load(folder), X)


@pytest.mark.parametrize("options", [{"index": "hnsw"}, {"index": "ivf"}], ids=str)
@pytest.mark.parametrize("kind", ["copies", "constant", "one column", "outliers"])
def test_odd_sets_lose_no_row(kind, options):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(1_500, 8)).astype(np.float32)
    if kind == "copies":
        X[rng.integers(1_500, size=1_000)] = X[0]
    elif kind == "constant":
        X[:] = 0.1
    elif kind == "one column":
        X[:, 1:] = 3
    else:
        X[:60] *= 1e4
    for given in ({"n_components": 2}, {"rerank": 4}):
        model = FastANN(1, random_state=0, **given, **options).fit(X, np.zeros(1_500))
        without_a_row_lost(model, X)


def test_rows_that_components_cannot_tell_apart_are_compared_one_by_one(monkeypatch):
    X = np.zeros((400, 3), np.float32)
    X[:, 0] = np.repeat(np.arange(20) * 100, 20)
    X[:, 1] = np.tile(np.arange(20), 20)  # lost where one component is kept
    model = FastANN(1, n_components=1, index="hnsw", random_state=0)
    without_a_row_lost(model.fit(X, np.zeros(400)), X)
    assert model._engine.aside.size
    monkeypatch.setattr(_faiss.Faiss, "set_aside", lambda *_: None)
    assert model.fit(X, np.zeros(400)).kneighbors(X)[0].any()


def test_as_many_neighbours_as_there_are_rows_can_be_asked_for():
    X, y = wide(300)
    for options in KINDS:
        model = FastANN(n_components=8, random_state=0, **options).fit(X, y)
        found = model.kneighbors(X[:9], 300, False)
        assert all(len({*row}) == 300 for row in found)


def test_the_directions_are_the_principal_ones():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(500, 6)) * [9, 1, 7, 1, 1, 1] + 40).astype(np.float32)
    settings = {"n_components": 2, "seed": 3}
    matrix, offset = _reranked._directions(X, settings)
    assert np.allclose(matrix.T @ matrix, np.eye(2))
    short = X @ matrix + offset
    assert np.allclose(short.mean(axis=0), 0, atol=1e-3)
    first = X - X.mean(axis=0)
    kept = (short**2).sum() / (first**2).sum()
    assert kept > 0.95


def test_an_index_of_other_parts_is_refused(tmp_path):
    X, y = wide(500, 40)
    options = {"n_components": 8, "random_state": 0}
    folder = FastANN(**options).fit(X, y).save(tmp_path / "index")
    whole = (folder / "about.json").read_text()
    others = [
        FastANN(index="hnsw").fit(X, y),
        FastANN(index="ivf", **options).fit(X, y),
        FastANN(**options).fit(X[:, :30], y),
        FastANN(**options).fit(X[:400], y[:400]),
    ]
    for number, other in enumerate(others):
        made = other.save(tmp_path / str(number))
        replace_file(folder, "index", next(made.glob("index-*")).read_bytes())
        refused(folder, "does not hold an index")
        (folder / "about.json").write_text(whole)
    describe(folder, kind="ivf")
    refused(folder, "does not hold an index")
