"""FastANN finds what exact search finds, on sets that hypothesis makes up."""

from __future__ import annotations

from course_utils.neighbors import EXACT_ROWS, FastANN

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

METRICS = ("euclidean", "manhattan", "cosine", "angular", "dot")
FLOAT32 = 2.0**-23


def made_up(max_examples):
    """Settings under which each run sees the same sets."""
    return settings(
        max_examples=max_examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def sets(draw, most_rows=300):
    """Rows and queries with what goes wrong: any of it, alone and together."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.one_of(st.integers(1, 4), st.integers(5, most_rows)))
    d = draw(st.one_of(st.integers(1, 3), st.integers(4, 40)))
    shape = draw(st.sampled_from(["normal", "clusters", "lattice", "zeros"]))
    X = rng.normal(size=(n, d))
    if shape == "clusters":
        centers = 10 * rng.normal(size=(draw(st.integers(1, 8)), d))
        tight = 10.0 ** draw(st.integers(-3, 0))
        X = centers[rng.integers(len(centers), size=n)] + tight * X
    elif shape == "lattice":
        X = rng.integers(0, 3, size=(n, d)).astype(float)
    elif shape == "zeros":
        X = X * (rng.random((n, d)) < 0.1)
    if draw(st.booleans()):  # a constant column, perhaps far from 0
        X[:, 0] = draw(st.sampled_from([0.0, -1.0, 0.1, 1e3]))
    if draw(st.booleans()):  # a few far away, each by itself
        far = rng.integers(n, size=draw(st.integers(1, 3)))
        X[far] *= 10.0 ** draw(st.integers(1, 5))
    if draw(st.booleans()):  # copies of a few rows
        many = rng.integers(n, size=draw(st.integers(1, n)))
        X[many] = X[rng.integers(n, size=draw(st.integers(1, 3)))[0]]
    X *= 10.0 ** draw(st.one_of(st.just(0), st.integers(-30, 14)))
    if draw(st.booleans()):
        X = X.astype(np.float32)
    some = X[rng.integers(n, size=12)]
    near = some * (1 + 1e-3 * rng.normal(size=some.shape))
    queries = np.vstack([some, near.astype(X.dtype)])
    return X, queries, draw(st.integers(1, min(n, 10)))


def gauge(metric, X, queries):
    """Distances from each query to all rows, in float64 and from differences."""
    X, queries = (np.asarray(a, np.float64) for a in (X, queries))
    if metric in ("cosine", "angular"):
        X, queries = (unit(a) for a in (X, queries))
    gaps = queries[:, None] - X[None]
    if metric == "manhattan":
        return np.abs(gaps).sum(axis=2)
    if metric == "dot":
        return -(queries @ X.T)
    size = np.abs(gaps).max() or 1.0  # squares of tiny numbers would be 0
    far = size * np.sqrt(((gaps / size) ** 2).sum(axis=2))
    if metric == "euclidean":
        return far
    blank = ~queries.any(axis=1)[:, None] | ~X.any(axis=1)[None]
    cosine = np.where(blank, 1, far**2 / 2)
    return np.sqrt(2 * cosine) if metric == "angular" else cosine


def unit(rows):
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / np.where(largest == 0, 1, largest)
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows / np.where(length == 0, 1, length)


def compare(model, metric, X, queries, k, exact):
    distances, found = model.fit(X, np.arange(len(X)) % 2).kneighbors(queries, k)
    true = gauge(metric, X, queries)
    kth = np.sort(true, axis=1)[:, k - 1 : k]
    here = np.take_along_axis(true, found, axis=1)
    # What the numbers that are compared can tell apart.
    digit = 1e-12 if exact else 8 * FLOAT32
    sizes = np.abs(np.asarray(X, np.float64)).max(initial=0)
    slack = (
        digit
        * {
            "euclidean": sizes * np.sqrt(X.shape[1]),
            "manhattan": sizes * X.shape[1],
            "cosine": 1 if exact else 2e-6 / digit,  # it rounds to 0
            "angular": 1 if exact else 2e-3 / digit,  # the root of cosine's
            "dot": np.abs(true).max(),
        }[metric]
    )
    assert np.all([len({*row}) == k for row in found]), "a row was found twice"
    assert np.mean(here <= kth + 1e-4 * np.abs(kth) + slack) >= 0.95
    np.testing.assert_allclose(distances, here, rtol=1e-4, atol=slack)
    assert np.all(np.diff(distances, axis=1) >= 0)
    tie = distances[:, 1:] == distances[:, :-1]
    assert np.all(np.diff(found, axis=1)[tie] > 0), "ties are not in the rows' order"


@made_up(400)
@given(sets(), st.sampled_from(METRICS))
def test_by_default_it_is_exact_on_small_sets_of_any_kind(made, metric):
    X, queries, k = made
    compare(FastANN(metric=metric, random_state=0), metric, X, queries, k, True)


@made_up(200)
@given(sets(), st.sampled_from(["euclidean", "manhattan", "cosine", "angular"]))
def test_a_graph_asked_for_by_name_finds_what_exact_search_finds(made, metric):
    X, queries, k = made
    model = FastANN(metric=metric, index="hnsw", random_state=0)
    compare(model, metric, X, queries, k, False)


@made_up(100)
@given(sets(), st.sampled_from(METRICS))
def test_the_flat_index_finds_what_exact_search_finds(made, metric):
    X, queries, k = made
    compare(FastANN(metric=metric, index="flat"), metric, X, queries, k, False)


@made_up(120)
@given(
    sets(),
    st.sampled_from(["euclidean", "cosine", "angular"]),
    st.sampled_from(["hnsw", "ivf"]),
    st.sampled_from([None, 1, 2]),
)
def test_each_row_finds_itself_or_its_equal_by_codes(made, metric, index, components):
    X, _, _ = made
    if components:
        components = min(components, X.shape[1])
    options = {"n_components": components, "rerank": 3, "random_state": 0}
    model = FastANN(1, metric=metric, index=index, **options)
    distances, _ = model.fit(X, np.zeros(len(X), int)).kneighbors(X)
    directions = metric != "euclidean"
    assert np.all(distances[X.any(axis=1) | (not directions)] == 0)


@pytest.mark.parametrize("kind", ["copies", "clusters", "outliers", "line"])
def test_above_the_small_sets_each_row_of_a_default_graph_finds_itself(kind):
    n = EXACT_ROWS + 1_000
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 8))
    if kind == "copies":
        X[rng.integers(n, size=n // 10)] = X[0]  # more than EXACT_ROWS still differ
    elif kind == "clusters":
        X = 0.01 * X + 10 * rng.normal(size=(40, 8))[rng.integers(40, size=n)]
    elif kind == "outliers":
        X[:60] *= 1e4
    else:
        X[:, 1:] = 0
    model = FastANN(1, random_state=0).fit(X, np.zeros(n, int))
    assert model._engine.kind == "hnsw"
    distances, found = model.kneighbors(X)
    assert np.all(distances == 0)
    # The first of its copies, or a row that float32 cannot tell from it.
    assert np.array_equal(model.backend_rows(X[found[:, 0]]), model.backend_rows(X))
