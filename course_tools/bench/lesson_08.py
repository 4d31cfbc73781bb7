"""Lesson 08: raw against tuned vectors, on the posts and on AG News.

Every step is the notebook's own: the cells tagged ``recipe``. Each seed reveals other
labels and trains another head; the test posts and their true labels stay the same. On
AG News each seed also thaws the encoder and trains it on the labelled stories.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from course_tools.bench import recipe, table
from course_utils.data.news import read_stories
from course_utils.errors import DataError, UsageError

import numpy as np

SOURCES = {
    "newsgroups": "20 Newsgroups, four desks",
    "ag_news": "AG News, the whole test set",
}
PUBLISHED = "published on AG News: SetFit 0.880, model2vec 0.867, TF-IDF 0.817"
THRESHOLD = 0.7
FEWEST_POSTS = 1_000
Part = tuple[np.ndarray, np.ndarray, np.ndarray]
Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options to those of ``course bench``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    group = parser.add_argument_group("lesson 08")
    group.add_argument(
        "--stories",
        nargs=2,
        type=Path,
        metavar=("TRAIN", "TEST"),
        help="AG News from these CSV files, where the original cannot be fetched",
    )
    group.add_argument(
        "--posts", type=int, metavar="N", help="use N texts a part, for a trial"
    )


def run(options: argparse.Namespace) -> None:
    """Measure and print a table for each set that can be had.

    Parameters
    ----------
    options : argparse.Namespace
        ``seeds``: how often; and those of `add_options`.

    Raises
    ------
    UsageError
        When a number is too small.
    DataError
        When the files of ``--stories`` are none.
    """
    few = options.posts
    if options.seeds < 1:
        raise UsageError("--seeds takes 1 or more.")
    if few is not None and few < FEWEST_POSTS:
        raise UsageError(f"--posts takes {FEWEST_POSTS:,} or more.")
    lesson = recipe(8)
    if few is not None:
        labelled = lesson["N_LABELLED"].items()
        lesson["N_LABELLED"] = {name: min(n, few // 4) for name, n in labelled}
    load = lesson["load_news"]
    stories = options.stories and read_split(*options.stories)
    # The recipe asks for a source by name; here it gets what the options say.
    lesson["load_news"] = lambda source: shorten(
        stories if stories and source == "ag_news" else load(source), few
    )
    for source, title in SOURCES.items():
        try:
            rows = measure(lesson, source, options.seeds)
        except DataError as error:
            print(f"Lesson 08, {title}: left out. {error}\n", flush=True)
            continue
        print(f"Lesson 08, {title}")
        print(report(rows))
        print(PUBLISHED if source == "ag_news" else "", end="\n\n", flush=True)


def read_split(train: Path, test: Path) -> Split:
    """Stories from two CSV files; what is to be tested on is not learned from.

    Parameters
    ----------
    train, test : pathlib.Path
        As `course_utils.data.news.read_stories` takes them.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        As `course_utils.data.load_news` gives them.

    Raises
    ------
    DataError
        When a file cannot be read or holds no stories.
    """
    tested = read_stories(test)
    texts = {text for text, _ in tested}
    taught = [story for story in read_stories(train) if story[0] not in texts]
    halves = [
        (
            np.array([text for text, _ in rows], dtype=object),
            np.array([y for _, y in rows]),
        )
        for rows in (taught, tested)
    ]
    return halves[0], halves[1]


def shorten(split: Split, few: int | None) -> Split:
    """Keep so many texts of each half, chosen at random; all where it is None.

    Parameters
    ----------
    split : tuple
        As `course_utils.data.load_news` gives it.
    few : int or None
        How many.

    Returns
    -------
    tuple
        As `split`.
    """
    if few is None:  # the same order: these texts' vectors may be kept already
        return split
    (x, y), (more_x, more_y) = split
    first, second = (
        np.random.default_rng(0).permutation(len(half))[:few] for half in (y, more_y)
    )
    return (x[first], y[first]), (more_x[second], more_y[second])


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
        classifiers, of the weak labels with and without threshold, and seconds. On
        AG News also the thawed encoder's.
    """
    texts, vectors, labels, threads, held_out = lesson["load_posts"](source)
    rng = np.random.default_rng(0)
    pool = rng.permutation(np.flatnonzero(~held_out))
    everyone = rng.permutation(np.flatnonzero(held_out))
    test = lesson["one_of_each"](everyone, threads)
    n_labelled = lesson["N_LABELLED"][source]
    sizes = f"{len(pool):,} in the pool, {n_labelled} labelled, {len(test):,} to test"
    print(f"{source}: {sizes}", flush=True)
    lists = lesson["LISTS"][source].items()
    heuristics = [lesson["make_lookup"](desk, words) for desk, words in lists]
    learn, ask = ((texts[rows], vectors[rows], labels[rows]) for rows in (pool, test))
    raw = lesson["judge"](*ask[1:])
    done = []
    for seed in range(seeds):
        start = time.perf_counter()
        manual = lesson["reveal"](learn[2], threads[pool], n_labelled, seed)
        row = {"raw": raw[10], "interval": lesson["interval"]}
        row |= _tune(lesson, heuristics, learn, manual, ask, seed)
        row["seconds"] = time.perf_counter() - start
        if source == "ag_news":
            row |= _thaw(lesson, learn[0], manual, ask, seed)
        done.append(row)
        print(f"  seed {seed}: precision@10 {row['tuned'].mean():.4f}", flush=True)
    return done


def _tune(
    lesson: dict[str, Any],
    heuristics: list[Any],
    learn: Part,
    manual: np.ndarray,
    ask: Part,
    seed: int,
) -> dict[str, Any]:
    """Weak labels from the labelled texts, a head from both, scores of it."""
    (x, v, truth), (_, queries, wanted) = learn, ask
    unknown = manual == lesson["ABSTAIN"]
    votes, own = lesson["gather_votes"](heuristics, x, lesson["ask_learner"](v, manual))
    precision = lesson["heuristic_precision"](votes, manual, len(lesson["NEWS_DESKS"]))
    given, confidence = lesson["weak_labels"](votes, own, precision)
    sure = unknown & (confidence >= THRESHOLD)
    rows = sure | ~unknown
    labels = np.where(unknown, given, manual)[rows]
    head, right = lesson["train"](v[rows], labels, seed), given == truth
    tuned, classify = lesson["tuned"](head, queries), lesson["classify"]
    few = v[~unknown], manual[~unknown]
    return {
        "tuned": lesson["judge"](tuned, wanted)[10],
        "raw classifier": classify(*few, queries, wanted).mean(),
        "tuned classifier": classify(
            lesson["tuned"](head, v[rows]), labels, tuned, wanted
        ).mean(),
        "coverage": sure.sum() / unknown.sum(),
        "accuracy": right[sure].mean(),
        "without": right[unknown].mean(),
    }


def _thaw(
    lesson: dict[str, Any], texts: np.ndarray, manual: np.ndarray, ask: Part, seed: int
) -> dict[str, Any]:
    """Scores and seconds of an encoder trained on the labelled texts alone."""
    start = time.perf_counter()
    few = manual != lesson["ABSTAIN"]
    encoder = lesson["fine_tune"](texts[few], manual[few], seed)
    known, asked = encoder.encode(texts[few]), encoder.encode(ask[0])
    right = lesson["classify"](known, manual[few], asked, ask[2])
    return {
        "thawed": lesson["judge"](asked, ask[2])[10],
        "thawed classifier": right.mean(),
        "thawed seconds": time.perf_counter() - start,
    }


def report(rows: list[dict[str, Any]]) -> str:
    """Set raw beside tuned in a table, with intervals.

    Parameters
    ----------
    rows : list of dict
        As `measure` gives them.

    Returns
    -------
    str
        A table, a line a seed, and the mean of the errors cut; where an encoder was
        thawed, a second table.
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
    text = f"{table(lines)}\nerrors among the first ten cut by {np.mean(cuts):.1%}"
    if "thawed" not in rows[0]:
        return text
    lines = [["seed", "P@10 thawed", "95 %", "clf thawed", "s"]]
    for seed, row in enumerate(rows):
        mean, low, high = row["interval"](row["thawed"])
        line = [str(seed), f"{mean:.4f}", f"{low:.4f}–{high:.4f}"]
        line += [f"{row['thawed classifier']:.4f}", f"{row['thawed seconds']:.0f}"]
        lines.append(line)
    average = np.mean([row["thawed classifier"] for row in rows])
    return f"{text}\n{table(lines)}\nclassifier on thawed vectors {average:.4f}"
