"""Exercise 7.5, an index whose rows come and go, and what checks of 07 share."""

from __future__ import annotations

import textwrap
import time
import timeit
from collections.abc import Callable
from typing import Any

from course_utils.checks.core import as_array, exercise, fail

import numpy as np

Answer = Callable[..., Any]


def cpu_seconds(work: Callable[[], Any], calls: int = 3) -> float:
    """Processor seconds of the fastest of some calls."""
    return min(timeit.repeat(work, timer=time.process_time, number=1, repeat=calls))


def recall_of_each(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Share of each query's true neighbours that were found."""
    return (found[:, :, None] == true[:, None]).any(axis=1).mean(axis=1)


def shortened(error: Any) -> str:
    """Put a message on one line of at most 170 characters."""
    words = " ".join(str(error).split()).rstrip(".")
    return textwrap.shorten(words, 170, placeholder=" …") or "no message"


def _exact(held: dict[int, np.ndarray], queries: np.ndarray, k: int) -> np.ndarray:
    """Ids of the k nearest, by comparing with every held row; -1 where none is left."""
    found = np.full((len(queries), k), -1)
    if held:
        ids, rows = np.array([*held]), np.stack([*held.values()])
        gaps = (rows**2).sum(axis=1) - 2 * queries @ rows.T
        nearest = np.argsort(gaps, axis=1, kind="stable")[:, :k]
        found[:, : nearest.shape[1]] = ids[nearest]
    return found


class _Play:
    """An index under test, beside a dictionary of the rows that it should hold."""

    def __init__(self, answer: Answer, n_columns: int) -> None:
        self.index: Any = answer(n_columns)
        self.held: dict[int, np.ndarray] = {}
        missing = [m for m in ("add", "remove", "search") if not hasattr(self.index, m)]
        if missing:
            fail(
                f"updatable_index returned {shortened(self.index)}, which has no "
                f"method {missing[0]}. Return an object of your class."
            )

    def add(self, ids: Any, rows: np.ndarray) -> None:
        given = np.array(ids), rows.copy()
        self.index.add(*given)
        _expect_unchanged("add", given, (ids, rows))
        self.held |= dict(zip(np.array(ids).tolist(), rows, strict=True))

    def remove(self, ids: Any) -> None:
        given = np.array(ids)
        try:
            self.index.remove(given)
        except KeyError:
            fail("remove raised KeyError: ids that are not held are to be ignored.")
        _expect_unchanged("remove", (given,), (ids,))
        for one in np.array(ids).tolist():
            self.held.pop(one, None)

    def recall(self, queries: np.ndarray, when: str, k: int = 5) -> float:
        """Search, refuse what is impossible, and return the recall."""
        asked = queries.copy()
        found = as_array("search", self.index.search(asked, k))
        _expect_unchanged("search", (asked,), (queries,))
        if found.shape != (len(queries), k):
            fail(
                f"{when}, search returned shape {found.shape} for {len(queries)} "
                f"queries and k = {k}; I expected {(len(queries), k)}, with -1 where "
                "fewer rows are held."
            )
        if found.dtype.kind not in "iu":
            fail(f"search returned numbers of type {found.dtype}; ids are integers.")
        true = _exact(self.held, queries, k)
        empty = (true < 0).sum()
        if (found < 0).sum() < empty:
            fail(
                f"{when}, {len(self.held)} rows are held for k = {k}: the rest is -1. "
                "faiss marks such places by -1, too, which as a position is the last."
            )
        gone = np.setdiff1d(found, [*self.held, -1])
        if gone.size:
            fail(
                f"{when}, search returned id {gone[0]}, which is not held. Return the "
                "ids that `add` was given, not row numbers, and none that was removed; "
                "-1 stays -1."
            )
        ordered = np.sort(found, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            fail(
                f"{when}, search returned an id twice for one query. The old row of an "
                "id that is added again has to go; and a -1 of faiss is no position: "
                "`ids[-1]` is the last id."
            )
        return float(
            (recall_of_each(found, true).sum() * k - empty) / (true.size - empty)
        )


def _expect_unchanged(method: str, given: tuple[Any, ...], sent: Any) -> None:
    for array, before in zip(given, sent, strict=True):
        if not np.array_equal(array, before):
            fail(f"{method} changed an array that it was given; work on a copy.")


def _play_small(answer: Answer) -> None:
    """Play on four points of a line, where one neighbour is right."""
    play, line = _Play(answer, 2), np.array([[0, 0], [1, 0], [2, 0], [4, 0]], "f4")
    asked = np.array([[0.1, 0], [3.9, 0]], "f4")

    def expect(first: list[list[int]], when: str, why: str = "") -> None:
        k = len(first[0])
        play.recall(asked, when, k)
        got = np.asarray(play.index.search(asked.copy(), k)).tolist()
        if got != first:
            fail(
                f"{when}, search found {got}; I expected {first}, nearest first. The "
                "rows were (0, 0), (1, 0), (2, 0) and (4, 0), the queries are (0.1, 0) "
                f"and (3.9, 0). {why}".rstrip()
            )

    play.add([70, 5, 31, 8], line)
    expect([[70, 5], [8, 31]], "After add([70, 5, 31, 8], …)")
    play.remove([5, 999])
    expect([[70, 31], [8, 31]], "After remove([5, 999])")
    play.add([70], line[3:])
    play.remove([8])
    expect(
        [[31, 70], [70, 31]],
        "After 70 was added again at (4, 0) and 8 removed",
        "Does the old row of 70, at (0, 0), still stand?",
    )
    play.add([5], line[1:2])
    expect([[5, 31, 70, -1], [70, 31, 5, -1]], "After 5 was added again, with k = 4")
    play.remove([70, 31, 5])
    expect([[-1], [-1]], "After all were removed")


UPDATE_BAR, HELD_BAR, COMPARED_BAR = 0.2, 0.95, 0.3


def _comparisons(search: Callable[[], Any]) -> int:
    """Rows that graphs and lists of faiss compare with, by its own counters.

    A ratio of times would depend on the processor, and on how long faiss's threads
    wait for each other.
    """
    import faiss

    counters = faiss.cvar.hnsw_stats, faiss.cvar.indexIVF_stats
    before = [counter.ndis for counter in counters]
    search()
    return sum(c.ndis - b for c, b in zip(counters, before, strict=True))


@exercise(
    "7.5",
    hints=[
        "Which indexes of faiss can drop a row? A graph cannot: keep your own array of "
        "ids and another that says which of them are held. `among` above searches "
        "among the held ones.",
        "`add` first removes the ids that return, then adds rows to the graph and ids "
        "to the array. `search` turns row numbers into ids: "
        "`np.append(self.ids, -1)[found]` also answers for -1.",
        "When most rows are only marked, the walk meets too few held ones. Let "
        "`efSearch` grow as their share falls, compare with all where few are held, or "
        "build a new graph: `reconstruct_n(0, n)` gives back all rows of an index.",
    ],
)
def updatable_index(answer: Answer, rows: np.ndarray, queries: np.ndarray) -> str:
    """Play a year of additions and removals; measure recall and work."""
    import faiss

    _play_small(answer)
    rng = np.random.default_rng(75)
    rows, queries = rows[:10_000], queries[:200]
    ids = rng.permutation(50_000)[: len(rows)]
    play, few = _Play(answer, rows.shape[1]), len(rows) - 50
    graph = faiss.IndexHNSWFlat(rows.shape[1], 16)
    build = cpu_seconds(lambda: graph.add(rows), 1)

    def told(count: int) -> str:
        return f"With {count:,} of {len(rows):,} rows held"

    def add_and_ask() -> None:
        play.add(ids[few:], rows[few:])
        play.index.search(queries[:1].copy(), 5)

    def remove_and_ask() -> None:
        play.remove(ids[:50])
        play.index.search(queries[:1].copy(), 5)

    play.add(ids[:few], rows[:few])
    play.index.search(queries[:1].copy(), 5)
    updates = {
        "Adding": cpu_seconds(add_and_ask, 1),
        "Removing": cpu_seconds(remove_and_ask, 1),
    }
    play.add(ids[:50], rows[:50])
    recalls = {len(rows): play.recall(queries, told(len(rows)))}
    comparisons = _comparisons(lambda: play.index.search(queries.copy(), 5))
    compared = comparisons / (len(queries) * len(rows))
    for change, seconds in updates.items():
        if seconds > UPDATE_BAR * build:
            fail(
                f"{change} fifty rows and asking once takes {seconds / build:.1%} of "
                f"the time in which a graph of all {len(rows):,} is built; the bar is "
                f"{UPDATE_BAR:.0%}. Do not build anew for each change."
            )
    for left in (5_000, 1_000, 100, 3):
        left = min(left, len(rows) // 2)
        gone = rng.permutation([*play.held])[left:]
        play.remove(gone)
        recalls[left] = play.recall(queries, told(left))
    play.add(ids[:500], rows[:500])
    recalls[len(play.held)] = play.recall(queries, "After 500 came back")
    for left, recall in recalls.items():
        if recall < HELD_BAR:
            fail(
                f"{told(left)}, recall at 5 is {recall:.3f}; the bar is {HELD_BAR}. "
                "Does the walk meet too few held rows? Raise efSearch as their share "
                "falls, build anew when most are marks, or compare with all of them "
                "when they are few."
            )
    if not compared:
        fail(
            "With all rows held, faiss counted no comparison in a graph or in lists. "
            "A flat index counts none: it compares with every row. Build on "
            "`faiss.IndexHNSWFlat` or `faiss.IndexIVFFlat`."
        )
    if compared > COMPARED_BAR:
        fail(
            f"With all rows held, your search compares a query with {compared:.1%} of "
            f"them; the bar is {COMPARED_BAR:.0%}. Lower efSearch or nprobe."
        )
    return (
        f"Recall at least {min(recalls.values()):.3f} while rows came and went, and "
        f"with all held, a query was compared with {compared:.1%} of them."
    )
