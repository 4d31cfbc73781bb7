"""Fast neighbours: FastANN beside scikit-learn, bare faiss and the old recipe."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from course_tools.bench import n_threads, speed, table
from course_utils.errors import UsageError
from course_utils.evaluation import mean_interval
from course_utils.neighbors import EXACT_ROWS, BackendError, FastANN, _estimator, vote

import numpy as np

ASKED = 2_000  # queries after which building a graph may have paid
MILLION = 1_000_000
PATIENCE = 15.0  # seconds of repetition after which a time stands


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options to those of ``course bench``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    group = parser.add_argument_group("lesson 07")
    group.add_argument(
        "--vectors",
        type=int,
        default=MILLION,
        metavar="N",
        help=f"search N synthetic vectors (default {MILLION:,})",
    )
    group.add_argument(
        "--threads",
        type=int,
        default=n_threads(),
        metavar="N",
        help="threads of each search of pictures (default: the processors)",
    )
    group.add_argument(
        "--repeats",
        type=int,
        default=5,
        metavar="N",
        help="rounds of searches, 2 or more (default 5)",
    )
    group.add_argument(
        "--others",
        metavar="PYTHON",
        help="a Python with hnswlib, usearch and pynndescent, to compare with them",
    )
    group.add_argument(
        "--speed-plot", default="bench_07.png", metavar="FILE", help="the ratios' plot"
    )


def run(options: argparse.Namespace) -> None:
    """Print the tables of lesson 07.

    Parameters
    ----------
    options : argparse.Namespace
        Those of `add_options`, and ``pictures``, how many training and test
        pictures are used at most (None: all).

    Raises
    ------
    UsageError
        When one of them is below 600, or there are too few rounds or threads.
    DataError
        When Fashion-MNIST can be neither found nor fetched.
    """
    if min(options.vectors, options.pictures or options.vectors) < 600:
        raise UsageError("--vectors and --pictures take 600 or more.")
    if options.repeats < 2 or options.threads < 1:
        raise UsageError("--repeats takes 2 or more, --threads 1 or more.")

    _breast_cancer()
    _rule(options.pictures or options.vectors)
    _fashion(options)
    _many(options.vectors)


def _breast_cancer() -> None:
    from sklearn.datasets import load_breast_cancer
    from sklearn.neighbors import KNeighborsClassifier

    X, y = load_breast_cancer(return_X_y=True)
    rows = [
        ("scikit-learn, exact", KNeighborsClassifier().fit(X, y).score(X, y)),
        ("FastANN, faiss flat", FastANN(index="flat").fit(X, y).score(X, y)),
        ("the recipe's votes, exact neighbours", _recipe_score(X, y, "euclidean")),
        ("the recipe's votes, angular as it comes", _recipe_score(X, y, "angular")),
    ]
    annoy = _with_annoy(n_trees=10)
    if annoy:
        rows.insert(2, ("FastANN, annoy", annoy.fit(X, y).score(X, y)))
    _table(
        "Breast cancer, accuracy on the rows that were fitted (euclidean, k = 5)",
        ("", "accuracy"),
        [(name, f"{score:.3f}") for name, score in rows],
    )


def _pictures(n_pictures: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from course_utils.data import load_fashion_mnist

    (x_train, y_train), (x_test, _) = load_fashion_mnist()
    x_train, x_test = (
        x[:n_pictures].reshape(-1, 784).astype(np.float32) for x in (x_train, x_test)
    )
    return x_train, y_train[:n_pictures], x_test


def _fashion(options: argparse.Namespace) -> None:
    x_train, y_train, x_test = _pictures(options.pictures)
    n_queries = len(x_test)
    results = speed.measure(
        x_train,
        y_train,
        x_test,
        threads=options.threads,
        repeats=options.repeats,
        others=options.others,
    )
    print(
        f"\nFashion-MNIST, {len(x_train):,} × 784, {n_queries:,} queries, k = 5; "
        f"threads: {options.threads}.\n{options.repeats} rounds, each search in turn. "
        "Each index has the fastest setting that finds 0.955 of\nthe neighbours of "
        "the first queries (at most 1,000); recall is that of the others.\n"
    )
    print(table([list(speed.COLUMNS), *speed.rows(results, n_queries)]), flush=True)
    if not options.others:
        print("Without --others, no hnswlib, usearch and pynndescent.")
    speed.draw(results, Path(options.speed_plot))
    print(f"Ratios: {options.speed_plot}")
    command = f"course bench 7 --threads {options.threads}"
    if options.others:
        command += " --others PYTHON"
    speed.keep(results, n_queries, command + " --store")
    _votes(x_train, y_train, x_test)


def _votes(x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray) -> None:
    some = slice(0, 10_000)
    model = FastANN(random_state=0).fit(x_train[some], y_train[some])
    found = model.kneighbors(x_test, return_distance=False)
    labels = y_train[found].astype(np.int64)
    loop = _seconds(lambda: recipe_votes(y_train, found))
    ours, _ = _best(lambda: vote(labels, 10).argmax(axis=1), calls=20)
    _table(
        f"What {len(x_test):,} votes cost",
        ("", "seconds", "ratio"),
        [
            ("row by row in pandas, as in the recipe", f"{loop:.2f}", ""),
            ("all rows at once", f"{ours:.4f}", f"1/{loop / ours:,.0f}"),
        ],
    )


def _rule(most: int) -> None:
    """Compare what `index="auto"` chooses between, at sizes around its bound."""
    rng = np.random.default_rng(0)
    rows = []
    for n in [n for n in (EXACT_ROWS // 5, EXACT_ROWS, 4 * EXACT_ROWS) if n <= most]:
        for d in (8, 64, 784):
            centres = rng.normal(size=(50, d))
            X = (centres[rng.integers(50, size=n + ASKED)]).astype(np.float32)
            X += 0.5 * rng.standard_normal(X.shape, dtype=np.float32)
            spent = [
                [_fit_and_ask(kind, X[:n], X[n:]) for kind in ("exact", "hnsw")]
                for _ in range(3)
            ]
            ratios = [theirs / ours for ours, theirs in spent]
            means = np.mean(spent, axis=0)
            rows.append(
                (
                    f"{n:,} × {d}",
                    *(f"{mean:.2f}" for mean in means),
                    f"{mean_interval(ratios):.1f}",
                )
            )
    _table(
        f"Exact or graph: CPU seconds of fit and {ASKED:,} queries, k = 5\n"
        f'(index="auto" is exact up to {EXACT_ROWS:,} different rows)',
        ("rows", "exact", "graph", "graph / exact"),
        rows,
    )


def _fit_and_ask(kind: str, X: np.ndarray, queries: np.ndarray) -> float:
    index = "auto" if kind == "exact" else "hnsw"
    with mock.patch.object(_estimator, "EXACT_ROWS", len(X)):
        start = time.process_time()
        model = FastANN(index=index, random_state=0).fit(X, np.arange(len(X)) % 2)
        model.kneighbors(queries)
        return time.process_time() - start


def _many(n_vectors: int) -> None:
    """Draw a million vectors or as many as asked for; the course ships none."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1_000, 32)).astype(np.float32)
    y = rng.integers(1_000, size=n_vectors + 1_000)
    X = centres[y]
    X += 0.35 * rng.standard_normal(X.shape, dtype=np.float32)
    X, queries, y = X[:n_vectors], X[n_vectors:], y[:n_vectors]
    rows, true = [], None
    for index in ("flat", "hnsw", "ivf", "ivfpq"):
        options = {} if index == "flat" else {"random_state": 0}
        if index == "hnsw":
            options |= {"ef_construction": 40, "ef_search": 64}
        model = FastANN(index=index, n_jobs=-1, **options)
        build, _ = _best(partial(model.fit, X, y), calls=1)
        seconds, (_, found) = _best(partial(model.kneighbors, queries, 5), calls=3)
        true = found if true is None else true
        rows.append(
            (
                f"FastANN, faiss {index}",
                f"{build:.1f}",
                f"{_index_bytes(model) / 1e6:,.0f}",
                f"{_recall(found, true):.3f}",
                f"{len(queries) / seconds:,.0f}",
            )
        )
        del model
    _table(
        f"{n_vectors:,} 32-dimensional vectors in 1,000 clusters, drawn at random "
        "(synthetic),\n1,000 queries, k = 5",
        ("", "build (s)", "index (MB)", "recall", "queries/s"),
        rows,
    )
    print(f"\nPeak memory of this whole run: {_peak_bytes() / 1e9:.2f} GB")


def _peak_bytes() -> int:
    """Most memory that this process has held so far."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def recipe_votes(y: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Vote as the recipe that went round does, with its faults and its pace.

    Parameters
    ----------
    y : array of shape (n_samples,)
        Labels.
    found : int array of shape (n_queries, n_neighbors)
        Neighbours.

    Returns
    -------
    float array of shape (n_queries, n_classes)
        Shares, the columns sorted as pandas happens to leave them.
    """
    import pandas as pd

    blank = pd.Series(y).value_counts() * 0
    shares = []
    for row in found:
        counted = pd.Series(y[row]).value_counts(normalize=True)
        shares.append((blank + counted).fillna(0).to_numpy())
    return np.stack(shares)


def _recipe_score(X: np.ndarray, y: np.ndarray, metric: str) -> float:
    model = FastANN(index="flat", metric=metric).fit(X, y)
    found = model.kneighbors(X, return_distance=False)
    return float(np.mean(recipe_votes(y, found).argmax(axis=1) == y))


def _with_annoy(**options: Any) -> FastANN | None:
    model = FastANN(backend="annoy", **options)
    try:
        model.fit([[0.0], [1.0]], [0, 1])
    except BackendError as error:
        print(f"Without annoy: {error}")
        return None
    return model


def _index_bytes(model: FastANN) -> int:
    import faiss

    return faiss.serialize_index(model.index_).nbytes


def _recall(found: np.ndarray, true: np.ndarray) -> float:
    return float((found[:, :, None] == true[:, None]).any(axis=2).mean())


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _best(work: Callable[[], Any], calls: int = 5) -> tuple[float, Any]:
    """Seconds of the fastest call, and what the last one returned."""
    best, spent = np.inf, 0.0
    for _ in range(calls):
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        best, spent = min(best, seconds), spent + seconds
        if spent > PATIENCE:
            break
    return best, result


def _table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    print(f"\n{title}\n")
    print(table([head, *rows]), flush=True)
