"""Lesson 08: labels from four sources for the same head, on the posts and on AG News.

Every step is the notebook's own: the cells tagged ``recipe``, its solution of 8.3 among
them. Each draw reveals other labels and starts other heads; the test posts stay the
same. With ``--thaw`` the first draws also train the encoder on the labelled texts.
Nothing is chosen here: the threshold is the one that the labelled texts give, as in the
lesson.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

from course_tools.bench import recipe, store, table
from course_utils.data import encode_sentences, load_news, load_sentence_encoder
from course_utils.data.news import read_stories
from course_utils.errors import DataError, UsageError
from course_utils.evaluation import mean_interval, paired_bootstrap
from course_utils.posts import load_posts, one_of_each, reveal

import numpy as np
from sklearn.preprocessing import normalize

SOURCES = {"08_four_desks": "20 Newsgroups, four desks", "08_ag_news": "AG News"}
# Heuristics for stories of 2004; those for posts are in the notebook.
STORY_LISTS = {
    "World": "iraq iraqi baghdad palestinian israeli minister troops militants "
    "nuclear election killed rebels darfur afghanistan bomb president un",
    "Sports": "game season team coach cup league olympic win players championship "
    "inning quarterback touchdown victory match striker sox yankees",
    "Business": "oil stocks profit shares quarter earnings sales prices dollar "
    "investors economy bank merger fed airline retailer billion inc",
    "Sci/Tech": "microsoft software internet space nasa google computer web linux "
    "scientists users apple wireless security intel ibm browser music",
}
N_LABELLED, N_VALIDATION = 250, 100
N_STORIES = {"pool": 20_000, "test": 2_000}
CANDIDATES = [round(t, 2) for t in np.arange(0, 0.96, 0.05)]
WANTED = 0.95
FEW_PASSES, N_HEADS = 60, 3
FEWEST_DRAWS, FEWEST_POSTS = 2, 1_000
ALONE = "250 labels alone"
METRICS = ("precision@10", "nDCG@10", "classifier")
COLUMNS = (
    "labels of the head",
    *METRICS,
    "precision@10 minus 250 alone, over draws",
    "the same, over queries",
)
Part = tuple[np.ndarray, np.ndarray, np.ndarray]
Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
Scores = dict[str, np.ndarray]


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
    group.add_argument(
        "--thaw",
        type=int,
        default=0,
        metavar="N",
        help="in the first N draws, 2 or more, also train the encoder (minutes)",
    )


def run(options: argparse.Namespace) -> None:
    """Measure and print a table for each set that can be had; store with ``--store``.

    Parameters
    ----------
    options : argparse.Namespace
        ``seeds``: draws of the labels, two at least; and those of `add_options`.

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
    if options.thaw < 0 or options.thaw == 1:
        raise UsageError("--thaw takes 0, or 2 or more: one draw has no interval.")
    if few is not None and few < FEWEST_POSTS:
        raise UsageError(f"--posts takes {FEWEST_POSTS:,} or more.")
    lesson, seeds = recipe(8), range(max(options.seeds, FEWEST_DRAWS))
    stories = options.stories and read_split(*options.stories)
    command = f"course bench 8 --seeds {len(seeds)} --store"
    if options.thaw:
        command += f" --thaw {options.thaw}"
    for name, title in SOURCES.items():
        try:
            parts = posts(few) if name == "08_four_desks" else news(stories, few)
        except DataError as error:
            print(f"Lesson 08, {title}: left out. {error}\n", flush=True)
            continue
        lists = lesson["LISTS"] if name == "08_four_desks" else STORY_LISTS
        draws = measure(lesson, lists, *parts, seeds, options.thaw)
        rows = report(draws)
        more = " --stories TRAIN TEST" if name == "08_ag_news" and stories else ""
        store(name, command + more, COLUMNS, rows)
        print(f"Lesson 08, {title}", table([COLUMNS, *rows]), sep="\n", end="\n\n")


def posts(few: int | None) -> tuple[Part, np.ndarray, Part]:
    """Give the pool's posts with their threads, and a test post of each other thread.

    Parameters
    ----------
    few : int or None
        Keep so many of either.

    Returns
    -------
    pool : tuple of arrays
        Texts, vectors and true labels.
    threads : numpy.ndarray
        Of the pool's posts.
    test : tuple of arrays
        As `pool`.
    """
    texts, vectors, labels, threads, held_out = load_posts()
    rng = np.random.default_rng(0)
    pool = rng.permutation(np.flatnonzero(~held_out))[:few]
    test = one_of_each(rng.permutation(np.flatnonzero(held_out)), threads)[:few]
    learn, ask = ((texts[rows], vectors[rows], labels[rows]) for rows in (pool, test))
    return learn, threads[pool], ask


def news(stories: Split | None, few: int | None) -> tuple[Part, np.ndarray, Part]:
    """Stories of AG News as `posts` gives posts; each is a thread of its own.

    Parameters
    ----------
    stories : tuple or None
        As `read_split` gives them; by default the published files.
    few : int or None
        Keep so many of either half.

    Returns
    -------
    tuple
        As `posts`.
    """
    halves = []
    for split, n in zip(
        stories or load_news("ag_news"), N_STORIES.values(), strict=True
    ):
        texts, labels = split
        rows = np.random.default_rng(0).permutation(len(texts))[: few or n]
        halves.append(
            (texts[rows], encode_sentences(texts[rows].tolist()), labels[rows])
        )
    return halves[0], np.arange(len(halves[0][0])), halves[1]


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


def measure(
    lesson: dict[str, Any],
    lists: dict[str, str],
    learn: Part,
    threads: np.ndarray,
    ask: Part,
    seeds: range,
    thaw: int = 0,
) -> list[dict[str, Scores]]:
    """Scores of each test text after each kind of labels, for each draw.

    Parameters
    ----------
    lesson : dict
        What the notebook's recipe defines.
    lists : dict of str to str
        Words by desk.
    learn, threads, ask
        As `posts` gives them.
    seeds : range
        Draws.
    thaw : int
        How many of them also train the encoder.

    Returns
    -------
    list of dict
        For each draw, by labels: scores of each test text by metric.
    """
    sizes = f"{len(learn[2]):,} in the pool, {N_LABELLED} labelled, {len(ask[2]):,}"
    print(f"{sizes} to test", flush=True)
    draws = []
    for seed in seeds:
        manual = reveal(learn[2], threads, N_LABELLED, seed)
        known = manual != lesson["ABSTAIN"]
        sets, threshold = label_sets(lesson, lists, learn, threads, manual, seed)
        few = (learn[1][known], manual[known])
        scores = {"none: raw vectors": lesson["judge"](*few, *ask[1:])}
        largest = max(len(rows) for name, (rows, _) in sets.items() if "vote" in name)
        for name, (rows, labels) in sets.items():
            passes = lesson["EPOCHS"] * max(1, largest // len(rows))
            if "passes" in name:
                passes = FEW_PASSES
            starts = range(N_HEADS) if name.endswith("heads") else (0,)
            seeds_of_heads = [seed + len(seeds) * start for start in starts]
            how = (rows, labels, seeds_of_heads, passes)
            scores[name] = _tuned(lesson, learn, ask, how)
        if seed < thaw:
            scores["250, encoder thawed"] = _thawed(lesson, learn, manual, ask, seed)
        draws.append(scores)
        gained = {name: one["precision@10"].mean() for name, one in scores.items()}
        told = ", ".join(f"{name} {score:.4f}" for name, score in gained.items())
        print(f"  draw {seed}, threshold {threshold}: {told}", flush=True)
    return draws


def label_sets(
    lesson: dict[str, Any],
    lists: dict[str, str],
    learn: Part,
    threads: np.ndarray,
    manual: np.ndarray,
    seed: int,
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], float]:
    """Rows and labels that each head learns from, and the threshold of the vote.

    Parameters
    ----------
    lesson, lists, learn, threads
        As `measure` takes them.
    manual : numpy.ndarray
        Labels revealed; -1 elsewhere.
    seed : int
        Chooses the validation part.

    Returns
    -------
    dict, float
        By name of the labels; and the threshold.
    """
    texts, vectors, truth = learn
    abstain, desks = lesson["ABSTAIN"], lesson["NEWS_DESKS"]
    unknown = manual == abstain
    labelled = np.flatnonzero(~unknown)
    read = manual.copy()
    read[np.random.default_rng(seed).permutation(labelled)[:N_VALIDATION]] = abstain
    heuristics = [
        lesson["make_lookup"](
            desk, lesson["without_confusing"](desk, words, texts, read)
        )
        for desk, words in lists.items()
    ]
    votes, own = lesson["apply_heuristics"](
        [*heuristics, lesson["my_heuristic"]], texts, desks
    )
    learned = lesson["ask_learner"](vectors, manual)
    votes, own = np.c_[votes, learned[0]], np.c_[own, learned[1]]
    precision = lesson["heuristic_precision"](votes, read, len(desks))
    given, confidence = lesson["weak_labels"](votes, own, precision)
    threshold = CANDIDATES[-1]
    for one in CANDIDATES:
        kept = labelled[confidence[labelled] >= one]
        if len(kept) and np.mean(given[kept] == manual[kept]) >= WANTED:
            threshold = one
            break
    kept = unknown & (confidence >= threshold)
    surest = np.flatnonzero(unknown)[np.argsort(-learned[3][unknown])[: kept.sum()]]
    rows = np.flatnonzero(kept | ~unknown)
    weak = np.where(unknown, given, manual)
    features = lesson["describe_posts"](texts, vectors)[rows]
    folds = lesson["GroupKFold"](5)
    _, suspect = lesson["find_errors"](features, weak[rows], threads[rows], folds)
    clean = rows[~(suspect & unknown[rows])]
    by_learner = np.sort(np.concatenate([labelled, surest]))
    everyone = np.arange(len(truth))
    heads = f"mean of {N_HEADS} heads"
    return {
        ALONE: (labelled, manual[labelled]),
        f"250 alone, {FEW_PASSES} passes": (labelled, manual[labelled]),
        "learner's": (by_learner, np.where(unknown, learned[2], manual)[by_learner]),
        "vote's": (rows, weak[rows]),
        "vote's without suspects": (clean, weak[clean]),
        "all true": (everyone, truth),
        f"250 alone, {heads}": (labelled, manual[labelled]),
        f"vote's without suspects, {heads}": (clean, weak[clean]),
    }, threshold


def _tuned(lesson: dict[str, Any], learn: Part, ask: Part, how: Any) -> Scores:
    """Scores of one head, or of the mean of several heads' vectors, of length 1."""
    rows, labels, seeds, passes = how
    heads = [lesson["train"](learn[1][rows], labels, seed, passes) for seed in seeds]
    known, asked = (
        normalize(np.mean([lesson["tuned"](head, v) for head in heads], axis=0))
        for v in (learn[1][rows], ask[1])
    )
    return lesson["judge"](known, labels, asked, ask[2])


def _thawed(
    lesson: dict[str, Any], learn: Part, manual: np.ndarray, ask: Part, seed: int
) -> Scores:
    """Scores of an encoder trained on the labelled texts alone."""
    few = manual != lesson["ABSTAIN"]
    encoder = fine_tune(learn[0][few], manual[few], seed)
    known, asked = encoder.encode(learn[0][few]), encoder.encode(ask[0])
    return lesson["judge"](known, manual[few], asked, ask[2])


def fine_tune(
    texts: np.ndarray, labels: np.ndarray, seed: int = 0, epochs: int = 4
) -> Any:
    """Train a copy of the encoder, its layers only, to name the desk of each text.

    Parameters
    ----------
    texts : numpy.ndarray of shape (n,), object
        Labelled texts.
    labels : numpy.ndarray of shape (n,), int
        Their labels, from 0 on.
    seed : int
        Chooses batches and dropout.
    epochs : int
        Passes over the texts.

    Returns
    -------
    SentenceEncoder
        The trained copy.
    """
    import torch

    torch.manual_seed(seed)
    encoder, rate = copy.deepcopy(load_sentence_encoder()), 5e-5
    layers = encoder.network.encoder
    output = torch.nn.Linear(encoder.network.config.hidden_size, int(labels.max()) + 1)
    encoder.network.train()
    encoder.network.embeddings.requires_grad_(False)  # few texts hold few words
    parts = [{"params": layers.parameters()}, {"params": output.parameters()}]
    step = torch.optim.AdamW(parts, rate, weight_decay=0.01)
    batches, y = -(-len(texts) // 32), torch.as_tensor(labels)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        step, [rate, 1e-2], epochs * batches, pct_start=0.1
    )
    for _ in range(epochs):
        for some in torch.randperm(len(texts)).split(32):
            step.zero_grad()
            for few in some.split(8):  # gradients add up; eight texts fit in memory
                named = 10 * output(encoder.embed(texts[few.numpy()]))
                loss = torch.nn.functional.cross_entropy(named, y[few], reduction="sum")
                (loss / len(some)).backward()
            torch.nn.utils.clip_grad_norm_(layers.parameters(), 1.0)
            step.step()
            schedule.step()
    return encoder


def report(draws: list[dict[str, Scores]]) -> list[list[str]]:
    """Scores after each kind of labels, and what they gain over the 250 alone.

    Parameters
    ----------
    draws : list of dict
        As `measure` gives them.

    Returns
    -------
    list of list of str
        Name; the mean of each metric with its interval over draws; the difference with
        its interval over draws and over queries.
    """
    rows = []
    for name in draws[0]:
        made = [draw for draw in draws if name in draw]
        few = len(made) < len(draws)
        row = [f"{name} ({len(made)} draws)" if few else name]
        for metric in METRICS:
            row.append(_spread([draw[name][metric].mean() for draw in made]))
        first, second = (
            np.stack([draw[one]["precision@10"] for draw in made], axis=1)
            for one in (name, ALONE)
        )
        gain = paired_bootstrap(first, first, second, lambda _, each: each.mean())
        both = [_spread((first - second).mean(axis=0)), f"{gain:.3f}"]
        rows.append(row + ([""] * 2 if name == ALONE else both))
    return rows


def _spread(values: Any) -> str:
    return f"{mean_interval(values):.3f}"
