"""Searches side by side: one at a time, in turn, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from course_tools.bench import THREAD_VARIABLES, searcher, store
from course_utils.errors import CourseError
from course_utils.evaluation import mean_interval

import numpy as np

BRUTE = "scikit-learn, brute force"
COLUMNS = (
    "search",
    "build (s)",
    "recall at 5",
    "queries/s",
    "times brute force",
    "times brute force, CPU",
    "predict / bare search",
)


class Searcher:
    """A process that searches when told to.

    Parameters
    ----------
    name : str
        One of `searcher.SEARCHES`.
    folder : pathlib.Path
        Where the arrays are.
    threads : int
        Threads for everything it does.
    python : str
        The interpreter; another one for libraries that the course does not have.
    """

    def __init__(self, name: str, folder: Path, threads: int, python: str):
        self.name = name
        environment = dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, str(threads))
        environment["NUMBA_NUM_THREADS"] = str(threads)
        self.process = subprocess.Popen(
            [python, searcher.__file__, name, str(folder), str(threads)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self.built = self._answer()
        self.rounds: list[dict[str, dict[str, float]]] = []

    def ask(self, what: str) -> dict[str, float]:
        """Let it do something, and give the seconds that took."""
        assert self.process.stdin
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout and self.process.stderr
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        said = self.process.stderr.read().strip().splitlines() or ["nothing"]
        raise CourseError(f"{self.name} stopped: {said[-1][:200]}")


@contextlib.contextmanager
def _searchers(
    names: Sequence[str], folder: Path, threads: int, others: str | None
) -> Iterator[list[Searcher]]:
    started: list[Searcher] = []
    try:
        for name in names:
            python = sys.executable
            if name in searcher.OTHERS:
                python = others or ""
            try:
                started.append(Searcher(name, folder, threads, python))
            except (CourseError, OSError) as error:
                print(f"Left out: {error}", flush=True)
        yield started
    finally:
        for one in started:
            with contextlib.suppress(OSError):
                one.process.communicate(timeout=60)


def measure(
    X: np.ndarray,
    y: np.ndarray,
    queries: np.ndarray,
    *,
    threads: int,
    repeats: int = 5,
    others: str | None = None,
) -> list[dict[str, Any]]:
    """Build each index, and time all of them in turn.

    Parameters
    ----------
    X, queries : float32 arrays of shape (n, n_features)
    y : array of shape (n,)
    threads : int
        For everybody.
    repeats : int
        Rounds; in each, every search answers all queries once.
    others : str, optional
        A Python with hnswlib, usearch and pynndescent; without it they are left out.

    Returns
    -------
    list of dict
        For each search: ``name``, ``build``, ``value`` of its parameter, ``recall``,
        ``rounds`` (``search``, and for FastANN ``predict`` and ``bare``: ``seconds``
        and ``cpu``).
    """
    from sklearn.neighbors import NearestNeighbors

    n_choosing = min(searcher.CHOOSING, len(queries) // 2)
    near = NearestNeighbors(n_neighbors=searcher.K, algorithm="brute").fit(X)
    true = near.kneighbors(queries[:n_choosing], return_distance=False)
    names = [n for n in searcher.SEARCHES if others or n not in searcher.OTHERS]
    arrays = {"X": X, "y": y, "queries": queries, "true": true}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        with _searchers(names, folder, threads, others) as started:
            for _ in range(repeats):
                for one in started:
                    asks = ["search"]
                    if one.name.startswith("FastANN"):
                        asks += ["bare", "predict"]
                    one.rounds.append({ask: one.ask(ask) for ask in asks})
            results = []
            for one in started:
                one.ask("save")
                found = np.load(folder / "found.npy")[n_choosing:]
                true = found if one.name == BRUTE else true
                built = {"build": one.built["seconds"], "value": one.built["value"]}
                score = {"recall": searcher.recall(found, true), "rounds": one.rounds}
                results.append({"name": one.name} | built | score)
    return results


def rows(results: list[dict[str, Any]], n_queries: int) -> list[list[str]]:
    """Set the results in rows, with intervals over the rounds.

    Parameters
    ----------
    results : list of dict
        From `measure`; the first is brute force.
    n_queries : int
        Queries of a round.

    Returns
    -------
    list of list of str
        As `COLUMNS`.
    """
    table = []
    for one in results:
        per_round = [n_queries / r["search"]["seconds"] for r in one["rounds"]]
        predict = ""
        if "predict" in one["rounds"][0]:
            shares = [
                r["predict"]["seconds"] / r["bare"]["seconds"] for r in one["rounds"]
            ]
            predict = f"{mean_interval(shares):.2f}"
        ratios = [
            f"{mean_interval(against(one, results[0], clock)):.1f}"
            for clock in ("seconds", "cpu")
        ]
        table.append(
            [
                one["name"],
                f"{one['build']:.1f}",
                f"{one['recall']:.3f}",
                f"{np.mean(per_round):,.0f}",
                *(["", ""] if one is results[0] else ratios),
                predict,
            ]
        )
    return table


def against(one: dict, brute: dict, clock: str) -> list[float]:
    """How many times as fast as brute force a search was, in each round.

    Parameters
    ----------
    one, brute : dict
        Of `measure`.
    clock : {"seconds", "cpu"}
        Time that passed, or time of all processors.

    Returns
    -------
    list of float
    """
    return [
        slow["search"][clock] / fast["search"][clock]
        for slow, fast in zip(brute["rounds"], one["rounds"], strict=True)
    ]


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw how many times as fast as brute force each search was.

    Parameters
    ----------
    results : list of dict
        From `measure`; the first is brute force.
    path : pathlib.Path
        Where the picture goes.
    """
    from course_utils import plotting

    import matplotlib as mpl
    from matplotlib.figure import Figure

    plotting.use_style()
    with mpl.rc_context():
        fig = Figure(figsize=(8, 4.2), layout="constrained")
        ax = fig.subplots()
        names = [f"{one['name']} ({one['recall']:.3f})" for one in results[1:]]
        means = [mean_interval(against(one, results[0], "cpu")) for one in results[1:]]
        values = [one.value for one in means]
        errors = [[m.value - m.low for m in means], [m.high - m.value for m in means]]
        ours = [one["name"].startswith("FastANN") for one in results[1:]]
        colors = [plotting.PALETTE[0] if own else plotting.GREY for own in ours]
        ax.barh(names, values, xerr=errors, color=colors)
        ax.invert_yaxis()
        ax.set_xlabel("times as fast as brute force (CPU seconds; recall in brackets)")
        best = results[1 + int(np.argmax(values))]["name"]
        ax.set_title(f"{best} is {max(values):.0f} times as fast as brute force")
        fig.savefig(path, dpi=120)


def keep(results: list[dict[str, Any]], n_queries: int, command: str) -> Path:
    """Store the table for lessons; nothing is written without ``--store``.

    Parameters
    ----------
    results : list of dict
        From `measure`.
    n_queries : int
        Queries of a round.
    command : str
        What measures it again.

    Returns
    -------
    pathlib.Path
        The file.
    """
    return store("07_speed", command, COLUMNS, rows(results, n_queries))
