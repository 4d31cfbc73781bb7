"""A search in a process of its own, which times itself when told to.

``python searcher.py NAME FOLDER THREADS`` builds the index NAME over the rows in
FOLDER, chooses the value of its parameter on the first queries, and prints one JSON
object. Then it reads lines: ``search``, ``predict`` and ``bare`` print seconds, and
``save`` writes the neighbours of the last search. Other libraries need no more than
NumPy beside them, so that another environment's Python can run it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

K = 5
CHOOSING = 1_000  # queries on which a parameter is chosen; recall is that of the others
WANTED = 0.955  # on these, so that the others reach 0.95
Found = np.ndarray
WIDTHS = (8, 10, 12, 16, 20, 24, 32, 48, 64, 96)


class _BruteForce:
    """scikit-learn's exact search."""

    values = (None,)

    def load(self) -> None:
        from sklearn.neighbors import KNeighborsClassifier

        self.Model = KNeighborsClassifier

    def build(self, X: np.ndarray, y: np.ndarray, threads: int) -> None:
        model = self.Model(K, algorithm="brute", n_jobs=threads)
        self.model = model.fit(X, y)

    def choose(self, value: Any) -> None:
        """Take a value of the parameter; there is none."""

    def search(self, queries: np.ndarray, k: int) -> Found:
        return self.model.kneighbors(queries, k, return_distance=False)


class _Fast:
    """FastANN, and the parameter that trades recall for speed."""

    values = WIDTHS

    def __init__(self, parameter: str = "ef_search", **options: Any):
        self.options, self.parameter = options, parameter

    def load(self) -> None:
        from course_utils.neighbors import FastANN

        self.Model = FastANN
        import_module("faiss")

    def build(self, X: np.ndarray, y: np.ndarray, threads: int) -> None:
        model = self.Model(K, n_jobs=threads, random_state=0, **self.options)
        self.model = model.fit(X, y)

    def choose(self, value: Any) -> None:
        self.model.set_params(**{self.parameter: value})

    def search(self, queries: np.ndarray, k: int) -> Found:
        return self.model.kneighbors(queries, k, return_distance=False)

    def predict(self, queries: np.ndarray) -> np.ndarray:
        return self.model.predict(queries)

    def bare(self, queries: np.ndarray) -> Callable[[], Any]:
        """Search as the index itself does, without checks, copies and votes."""
        model = self.model
        rows, settings = model.backend_rows(queries), model._settings(model._asked)
        return lambda: model._engine.search(rows, K, settings, model._threads())


class _Hnswlib:
    """hnswlib, with the links and candidates of FastANN's default."""

    values = WIDTHS

    def load(self) -> None:
        self.Index = import_module("hnswlib").Index

    def build(self, X: np.ndarray, y: np.ndarray, threads: int) -> None:
        self.index, self.threads = self.Index("l2", X.shape[1]), threads
        self.index.init_index(len(X), ef_construction=80, M=16, random_seed=0)
        self.index.add_items(X, num_threads=threads)

    def choose(self, value: Any) -> None:
        self.index.set_ef(value)

    def search(self, queries: np.ndarray, k: int) -> Found:
        return self.index.knn_query(queries, k, self.threads)[0].astype(np.int64)


class _Usearch:
    """usearch, with the links and candidates of FastANN's default."""

    values = WIDTHS

    def __init__(self, dtype: str):
        self.dtype = dtype

    def load(self) -> None:
        self.Index = import_module("usearch.index").Index

    def build(self, X: np.ndarray, y: np.ndarray, threads: int) -> None:
        self.threads = threads
        self.index = self.Index(
            ndim=X.shape[1],
            metric="l2sq",
            dtype=self.dtype,
            connectivity=16,
            expansion_add=80,
        )
        self.index.add(np.arange(len(X)), X, threads=threads)

    def choose(self, value: Any) -> None:
        self.index.expansion_search = value

    def search(self, queries: np.ndarray, k: int) -> Found:
        found = self.index.search(queries, k, threads=self.threads)
        return found.keys.astype(np.int64)


class _Descent:
    """pynndescent, with its own defaults but for epsilon."""

    values = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)

    def load(self) -> None:
        self.Index = import_module("pynndescent").NNDescent
        self.build(np.random.default_rng(0).random((500, 784), np.float32), None, 1)

    def build(self, X: np.ndarray, y: np.ndarray | None, threads: int) -> None:
        self.index = self.Index(X, n_jobs=threads, random_state=0)
        self.index.prepare()
        self.index.query(X[:100], K)  # compiles

    def choose(self, value: Any) -> None:
        self.epsilon = value

    def search(self, queries: np.ndarray, k: int) -> Found:
        return self.index.query(queries, k, epsilon=self.epsilon)[0].astype(np.int64)


SEARCHES: dict[str, Any] = {
    "scikit-learn, brute force": _BruteForce(),
    "FastANN, ivf": _Fast("n_probe", index="ivf"),
    "FastANN": _Fast(index="hnsw"),
    "FastANN, uint8": _Fast(storage="uint8"),
    "FastANN, 128 components": _Fast(n_components=128, ef_construction=160),
    "FastANN, 128 components, 12 links": _Fast(
        n_components=128, ef_construction=160, n_links=12
    ),
    "hnswlib": _Hnswlib(),
    "usearch": _Usearch("f32"),
    "usearch, f16": _Usearch("f16"),
    "pynndescent": _Descent(),
}
OTHERS = ("hnswlib", "usearch", "usearch, f16", "pynndescent")


def recall(found: Found, true: Found) -> float:
    """Share of the true neighbours that were found.

    Parameters
    ----------
    found, true : int arrays of shape (n_queries, k)
        Numbers of rows.

    Returns
    -------
    float
        From 0 to 1.
    """
    return float((found[:, :, None] == true[:, None]).any(axis=1).mean())


def choose(search: Any, queries: np.ndarray, true: Found) -> Any:
    """Take the first value of a search's parameter whose recall suffices."""
    for value in search.values:
        search.choose(value)
        if recall(search.search(queries, K), true) >= WANTED:
            break
    return value


def timed(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Seconds on the clock and of all processors, and what the work returned."""
    start = time.perf_counter(), time.process_time()
    result = work()
    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    return dict(zip(("seconds", "cpu"), seconds, strict=True)), result


def main(name: str, folder: str, threads: str) -> None:
    """Build, say so, and obey."""
    place = Path(folder)
    X, y, queries, true = (
        np.load(place / f"{one}.npy") for one in ("X", "y", "queries", "true")
    )
    search = SEARCHES[name]
    search.load()
    build, _ = timed(lambda: search.build(X, y, int(threads)))
    value = choose(search, queries[: len(true)], true)
    print(json.dumps({"value": value} | build), flush=True)
    bare = search.bare(queries) if hasattr(search, "bare") else dict
    for line in sys.stdin:
        match line.strip():
            case "search":
                seconds, found = timed(lambda: search.search(queries, K))
            case "predict":
                seconds, _ = timed(lambda: search.predict(queries))
            case "bare":
                seconds, _ = timed(bare)
            case "save":
                np.save(place / "found.npy", found)
                seconds = {}
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
