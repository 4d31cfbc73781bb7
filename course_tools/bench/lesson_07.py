"""Fast neighbours: FastANN beside scikit-learn, bare faiss and the old recipe."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from course_tools.bench import n_threads, run_apart, table
from course_utils.errors import UsageError
from course_utils.neighbors import DEFAULTS, BackendError, FastANN, vote

import numpy as np

N_NEIGHBORS = 5
MILLION = 1_000_000
PATIENCE = 15.0  # seconds of repetition after which a time stands


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options to those of ``course bench``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    parser.add_argument_group("lesson 07").add_argument(
        "--vectors",
        type=int,
        default=MILLION,
        metavar="N",
        help=f"search N synthetic vectors (default {MILLION:,})",
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
        When one of them is below 600.
    DataError
        When Fashion-MNIST can be neither found nor fetched.
    """
    if min(options.vectors, options.pictures or options.vectors) < 600:
        raise UsageError("--vectors and --pictures take 600 or more.")

    print(
        f"One run, {n_threads()} threads for everybody; a time is the best of up to\n"
        f"five calls, and of fewer where they take more than {PATIENCE:.0f} s together."
    )
    _breast_cancer()
    _fashion(options.pictures)
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


def _brute(n_pictures: int | None) -> tuple[float, np.ndarray]:
    """Seconds and neighbours of scikit-learn's search, in a process of its own.

    In a process that has loaded faiss, scikit-learn's search may be left with one
    thread (they share OpenMP, and it limits BLAS): that would flatter FastANN.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "neighbours.npy"
        arguments = [str(file), *([str(n_pictures)] if n_pictures else [])]
        (said,) = run_apart("course_tools.bench.lesson_07", arguments)
        return said["seconds"], np.load(file, allow_pickle=False)


def _measure_brute(file: str, n_pictures: int | None = None) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    x_train, y_train, x_test = _pictures(n_pictures)
    model = KNeighborsClassifier(algorithm="brute", n_jobs=-1).fit(x_train, y_train)
    seconds, (_, found) = _best(lambda: model.kneighbors(x_test, N_NEIGHBORS))
    np.save(file, found, allow_pickle=False)
    print(json.dumps({"seconds": seconds}), flush=True)


def _fashion(n_pictures: int | None) -> None:
    x_train, y_train, x_test = _pictures(n_pictures)
    slowest, true = _brute(n_pictures)
    graph = {"index": "hnsw", "n_jobs": -1, "random_state": 0}
    models: dict[str, Any] = {
        "FastANN, faiss flat": FastANN(index="flat", n_jobs=-1),
        "FastANN, faiss HNSW": FastANN(**graph),
        "  in float16": FastANN(storage="float16", **graph),
        "  in uint8": FastANN(storage="uint8", **graph),
        "FastANN, faiss IVF": FastANN(index="ivf", n_jobs=-1, random_state=0),
        "FastANN, faiss IVF-PQ": FastANN(index="ivfpq", n_jobs=-1, random_state=0),
    }
    annoy = _with_annoy(n_trees=30, n_jobs=-1, random_state=0)
    if annoy:
        models["FastANN, annoy"] = annoy

    def line(name: str, build: str, seconds: float, found: np.ndarray) -> tuple:
        return (
            name,
            build,
            f"{seconds:.2f}",
            f"{len(x_test) / seconds:,.0f}",
            f"{_recall(found, true):.3f}",
            f"{slowest / seconds:.1f} ×",
        )

    rows = [line("scikit-learn, brute", "", slowest, true)]
    for name, model in models.items():
        build, _ = _best(partial(model.fit, x_train, y_train), calls=1)
        seconds, (_, found) = _best(partial(model.kneighbors, x_test, N_NEIGHBORS))
        rows.append(line(name, f"{build:.1f}", seconds, found))
    _table(
        f"Fashion-MNIST, {len(x_train):,} × 784, {len(x_test):,} queries, k = 5",
        ("", "build (s)", "search (s)", "queries/s", "recall", "against scikit-learn"),
        rows,
    )
    _overhead(models["FastANN, faiss HNSW"], x_test, y_train)


def _overhead(model: FastANN, x_test: np.ndarray, y_train: np.ndarray) -> None:
    import faiss

    rows = model.backend_rows(x_test)
    index = model.index_
    how = faiss.SearchParametersHNSW(efSearch=DEFAULTS["ef_search"])
    bare, whole = np.inf, np.inf
    for _ in range(7):  # in turn, so that a busy moment hits both
        bare = min(bare, _seconds(lambda: index.search(rows, N_NEIGHBORS, params=how)))
        whole = min(whole, _seconds(lambda: model.predict(x_test)))
    found = model.kneighbors(x_test, return_distance=False)
    labels = y_train[found].astype(np.int64)
    loop = _seconds(lambda: recipe_votes(y_train, found))
    ours, _ = _best(lambda: vote(labels, 10).argmax(axis=1), calls=20)
    _table(
        f"What prediction costs beside the search, {len(x_test):,} queries",
        ("", "seconds", "ratio"),
        [
            ("bare faiss search (HNSW)", f"{bare:.3f}", ""),
            ("FastANN.predict", f"{whole:.3f}", f"{whole / bare:.2f} × the search"),
            ("votes row by row in pandas, as in the recipe", f"{loop:.2f}", ""),
            (
                "votes of all rows at once",
                f"{ours:.4f}",
                f"1/{loop / ours:,.0f}",
            ),
        ],
    )


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
            options |= {"n_links": 16, "ef_search": 64}
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


if __name__ == "__main__":
    _measure_brute(sys.argv[1], *map(int, sys.argv[2:]))
