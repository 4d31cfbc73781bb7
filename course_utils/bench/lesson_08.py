"""Lesson 08: raw against tuned vectors, on the posts and on AG News.

Every step is the notebook's own: the cells tagged ``recipe``. Each seed reveals other
labels and trains another head; the test posts and their true labels stay the same.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from course_utils.bench import recipe, table
from course_utils.errors import DataError

import numpy as np

SOURCES = {
    "newsgroups": "20 Newsgroups, four desks",
    "ag_news": "AG News, the whole test set",
}
PUBLISHED = "published on AG News: SetFit 0.880, model2vec 0.867, TF-IDF 0.817"
THRESHOLD = 0.7
SEEDS = 3


def run(options: argparse.Namespace) -> None:
    """Measure and print a table for each set that can be had.

    Parameters
    ----------
    options : argparse.Namespace
        ``seeds``: how often, at least three times.
    """
    lesson = recipe(8)
    for source, title in SOURCES.items():
        try:
            rows = measure(lesson, source, max(SEEDS, options.seeds))
        except DataError as error:
            print(f"Lesson 08, {title}: left out. {error}\n", flush=True)
            continue
        print(f"Lesson 08, {title}")
        print(report(rows))
        print(PUBLISHED if source == "ag_news" else "", end="\n\n", flush=True)


def measure(lesson: dict[str, Any], source: str, seeds: int) -> list[dict[str, Any]]:
    """Scores of raw and tuned vectors for each seed.

    Parameters
    ----------
    lesson : dict
        What the notebook's recipe defines.
    source : str
        As `course_utils.data.load_news` takes it.
    seeds : int
        How often labels are revealed and a head is trained.

    Returns
    -------
    list of dict
        One for each seed: precision@10 of every query raw and tuned, accuracy of the
        classifiers, of the weak labels with and without threshold, and seconds.
    """
    texts, vectors, labels, threads, held_out = lesson["load_posts"](source)
    rng = np.random.default_rng(0)
    pool = rng.permutation(np.flatnonzero(~held_out))
    everyone = rng.permutation(np.flatnonzero(held_out))
    test = lesson["one_of_each"](everyone, threads)
    desks, n_labelled = lesson["NEWS_DESKS"], lesson["N_LABELLED"][source]
    sizes = f"{len(pool):,} in the pool, {n_labelled} labelled, {len(test):,} to test"
    print(f"{source}: {sizes}", flush=True)
    lists = lesson["LISTS"][source].items()
    heuristics = [lesson["make_lookup"](desk, words) for desk, words in lists]
    v_pool, v_test, y_pool, y_test = (
        vectors[pool],
        vectors[test],
        labels[pool],
        labels[test],
    )
    raw = lesson["judge"](v_test, y_test)
    done = []
    for seed in range(seeds):
        start = time.perf_counter()
        manual = lesson["reveal"](y_pool, threads[pool], n_labelled, seed)
        unknown = manual == lesson["ABSTAIN"]
        learned = lesson["ask_learner"](v_pool, manual)
        votes, own = lesson["gather_votes"](heuristics, texts[pool], learned)
        precision = lesson["heuristic_precision"](votes, manual, len(desks))
        given, confidence = lesson["weak_labels"](votes, own, precision)
        sure = unknown & (confidence >= THRESHOLD)
        rows = np.flatnonzero(sure | ~unknown)
        y_weak = np.where(unknown, given, manual)[rows]
        head = lesson["train"](v_pool[rows], y_weak, seed)
        tuned = lesson["tuned"](head, v_test)
        classify = lesson["classify"]
        taught = lesson["tuned"](head, v_pool[rows])
        few = np.flatnonzero(~unknown)
        right = given == y_pool
        row = {
            "raw": raw[10],
            "tuned": lesson["judge"](tuned, y_test)[10],
            "raw classifier": classify(v_pool[few], manual[few], v_test, y_test).mean(),
            "tuned classifier": classify(taught, y_weak, tuned, y_test).mean(),
            "coverage": sure.sum() / unknown.sum(),
            "accuracy": right[sure].mean(),
            "without": right[unknown].mean(),
            "seconds": time.perf_counter() - start,
            "interval": lesson["interval"],
        }
        done.append(row)
        print(f"  seed {seed}: precision@10 {row['tuned'].mean():.4f}", flush=True)
    return done


def report(rows: list[dict[str, Any]]) -> str:
    """Set raw beside tuned in a table, with intervals.

    Parameters
    ----------
    rows : list of dict
        As `measure` gives them.

    Returns
    -------
    str
        A table, a line a seed, and the mean of the errors cut.
    """
    head = ["seed", "P@10 raw", "95 %", "tuned", "95 %", "errors cut"]
    head += ["clf raw", "clf tuned", "weak all", "weak ≥ 0.7", "coverage", "s"]
    lines, cuts = [head], []
    for seed, row in enumerate(rows):
        line = [str(seed)]
        for name in ("raw", "tuned"):
            mean, low, high = row["interval"](row[name])
            line += [f"{mean:.4f}", f"{low:.4f}–{high:.4f}"]
        cuts.append(1 - (1 - row["tuned"].mean()) / (1 - row["raw"].mean()))
        line.append(f"{cuts[-1]:.1%}")
        line += [f"{row[f'{name} classifier']:.4f}" for name in ("raw", "tuned")]
        line += [f"{row[name]:.3f}" for name in ("without", "accuracy", "coverage")]
        lines.append([*line, f"{row['seconds']:.0f}"])
    return f"{table(lines)}\nerrors among the first ten cut by {np.mean(cuts):.1%}"
