"""Lesson 10: recommenders on MovieLens 100K, several seeds, folds and splits.

The models are the notebook's own: the cells tagged ``recipe``. Beside them runs the
library `implicit` (github.com/benfred/implicit, MIT), where it is installed: after
``pip install --no-deps --target FOLDER implicit==0.7.3``, ``PYTHONPATH=FOLDER`` lets it
be found, and nothing of the course's environment changes. Nothing is chosen here: all
settings are those of the lesson.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import pickletools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from course_tools.bench import recipe, store, table
from course_utils.data import encode_sentences, load_movielens
from course_utils.errors import UsageError
from course_utils.evaluation import bootstrap, mean_interval, paired_bootstrap
from course_utils.films import N_FOLDS, film_folds, film_texts, genre_table, year_table

import numpy as np

WARM = (
    "system",
    "HR@10",
    "nDCG@10",
    "nDCG@10, over seeds",
    "nDCG minus EASE",
    "coverage",
)
COLD = (
    "system",
    "nDCG@10, over folds",
    "minus predicted popularity, over folds",
    "minus towers with columns, over folds",
)
SPLITS = ("split and system", "HR@10", "nDCG@10", "recall@10")
BASE, COLUMNS = "predicted popularity", "two towers, columns"
# The lesson's settings were chosen on this fold of films.
CHOSEN_ON = 1
# RecBole's documents, for BPR: `README.md` and `docs/source/get_started` of its
# repository. Range over three places that print a result of the default settings.
RECBOLE = ["0.761 to 0.795", "0.277 to 0.292", "0.237 to 0.252"]
# The split of Qian et al. (2022), IEEE TKDE, as github.com/NLPWM-WHU/IDS4NR has it in
# movielens_100k/movielens100k_longtail_data.pkl, and what Shehzad, Ferrari Dacrema and
# Jannach (2025), arXiv:2501.10143, publish for it in their online tables: recall@10.
QIAN_SHA256 = "8b873fab69b628c7f23ec2aac798fbb08bd8ce689084ca450825ad942c2769b6"
QIAN = "Qian et al.: "
SHEHZAD = {"popularity": "0.087", "item-kNN": "0.141", "EASE": "0.185"}
Scores = dict[str, np.ndarray]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options to those of ``course bench``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    group = parser.add_argument_group("lesson 10")
    group.add_argument(
        "--published-split",
        metavar="FILE",
        help="movielens100k_longtail_data.pkl of github.com/NLPWM-WHU/IDS4NR, a split "
        "that others published results for; it is read, not unpickled",
    )
    group.add_argument(
        "--folds",
        type=int,
        default=N_FOLDS,
        metavar="N",
        help=f"use the first N folds of films, 3 to {N_FOLDS} (all)",
    )


def run(options: argparse.Namespace) -> None:
    """Measure and print the three tables; store them with ``--store``.

    Parameters
    ----------
    options : argparse.Namespace
        ``seeds``, two at least; and those of `add_options`.

    Raises
    ------
    UsageError
        When a number is too small or too large, or the split is another file.
    """
    if options.seeds < 1:
        raise UsageError("--seeds takes 1 or more.")
    if not 3 <= options.folds <= N_FOLDS:
        raise UsageError(f"--folds takes 3 to {N_FOLDS}.")
    seeds = range(max(options.seeds, 2))
    lesson = prepared()
    command = f"course bench 10 --seeds {len(seeds)} --store"
    if options.folds < N_FOLDS:
        command += f" --folds {options.folds}"
    path = options.published_split
    if path:
        command += " --published-split FILE"
    published = published_split(path, lesson["user"], lesson["film"]) if path else None
    for name, title, columns, rows in (
        ("10_warm", "the last five films of each user", WARM, warm(lesson, seeds)),
        ("10_splits", "other splits", SPLITS, splits(lesson, published)),
        ("10_cold", "new films", COLD, cold(lesson, seeds, options.folds)),
    ):
        store(name, command, columns, rows)
        print(f"Lesson 10, {title}", table([columns, *rows]), sep="\n", end="\n\n")


def prepared() -> dict[str, Any]:
    """Execute the lesson's recipe, and give it the data that its cells work with.

    Returns
    -------
    dict
        What the recipe defines, and ratings, tables and features by the names of the
        lesson.
    """
    lesson = recipe(10)
    ratings, films, people = load_movielens()
    user, film, time = (ratings[name].to_numpy() for name in ("user", "film", "time"))
    part = lesson["split_by_time"](user, time)
    shape = len(people), len(films)
    genres, _ = genre_table(films)
    text = encode_sentences(film_texts(films), progress=False)
    lesson |= {"user": user, "film": film, "time": time, "part": part}
    lesson |= {"N_USERS": shape[0], "N_FILMS": shape[1], "genres": genres}
    lesson["columns"] = np.hstack([genres, year_table(films)])
    lesson["TEXT"] = text * np.sqrt(text.shape[1])
    lesson["COLUMNS"] = 2 * lesson["columns"]
    lesson["fold"] = film_folds(shape[1])
    lesson["history"] = seen_table(lesson, part < 2)
    lesson["test"] = seen_table(lesson, part == 2)
    return lesson


def seen_table(lesson: dict[str, Any], rows: np.ndarray) -> np.ndarray:
    """Say who rated what in some rows of the ratings.

    Parameters
    ----------
    lesson : dict
        As `prepared` gives it.
    rows : numpy.ndarray of bool, shape (n_ratings,)
        Which.

    Returns
    -------
    numpy.ndarray of shape (n_users, n_films), float32
        Ones and zeros.
    """
    made = np.zeros((lesson["N_USERS"], lesson["N_FILMS"]), np.float32)
    made[lesson["user"][rows], lesson["film"][rows]] = 1
    return made


def fixed(lesson: dict[str, Any], seen: np.ndarray) -> dict[str, np.ndarray]:
    """Score with the systems that draw nothing at random.

    Parameters
    ----------
    lesson : dict
        As `prepared` gives it.
    seen : numpy.ndarray of shape (n_users, n_films)
        What is known.

    Returns
    -------
    dict of str to numpy.ndarray
        Scores by system.
    """
    weights = np.asarray(lesson["ease"](seen, 200), np.float32)
    return {
        "popularity": np.broadcast_to(seen.sum(axis=0), seen.shape),
        "item-kNN": seen @ lesson["item_knn"](seen, 640),
        "EASE": seen @ weights,
    }


def libraries(seen: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Rank with `implicit`: its BPR as it comes, its item-kNN as the lesson's.

    Parameters
    ----------
    seen : numpy.ndarray of shape (n_users, n_films)
        What is known.
    seed : int
        Of its BPR.

    Returns
    -------
    dict of str to numpy.ndarray
        Scores by system; empty, said once, where the library is missing.
    """
    try:
        bpr_module = importlib.import_module("implicit.bpr")
        neighbors = importlib.import_module("implicit.nearest_neighbours")
    except ImportError:
        print("Without implicit, which is not installed.", flush=True)
        return {}
    from scipy.sparse import csr_matrix

    rows = csr_matrix(seen)
    bpr = bpr_module.BayesianPersonalizedRanking(
        factors=64, iterations=100, random_state=seed, num_threads=1
    )
    bpr.fit(rows, show_progress=False)
    made = {"implicit: BPR": bpr.user_factors @ bpr.item_factors.T}
    if not seed:
        cosine = neighbors.CosineRecommender(
            K=641
        )  # each film counts as its own neighbour
        cosine.fit(rows, show_progress=False)
        made["implicit: item-kNN"] = seen @ cosine.similarity.toarray().T
    return made


def judged(lesson: dict[str, Any], scores: Any, seen: Any, held: Any) -> Scores:
    """Judge ten films of each user who has something held out.

    Parameters
    ----------
    lesson : dict
        As `prepared` gives it.
    scores, seen, held : numpy.ndarray of shape (n_users, n_films)
        As the lesson's `recommend` and `judge` take them.

    Returns
    -------
    dict of str to numpy.ndarray of shape (m,)
        HR@10, nDCG@10 and recall@10 of the m users.
    """
    asked = held.sum(axis=1) > 0
    top = lesson["recommend"](scores[asked], seen[asked])
    found = lesson["judge"](top, held[asked])
    hits = np.take_along_axis(held[asked], top, axis=1).sum(axis=1)
    found["recall@10"] = hits / held[asked].sum(axis=1)
    found["films"] = np.unique(top)
    return found


def warm(lesson: dict[str, Any], seeds: range) -> list[list[str]]:
    """Judge all systems on the lesson's own split.

    Parameters
    ----------
    lesson : dict
        As `prepared` gives it.
    seeds : range
        Of what is trained.

    Returns
    -------
    list of list of str
        Rows of `WARM`: over users, each with the mean of the seeds; and over seeds.
    """
    seen, held = lesson["history"], lesson["test"]
    runs: dict[str, list[Scores]] = {}

    def note(scores: dict[str, np.ndarray]) -> None:
        for name, one in scores.items():
            runs.setdefault(name, []).append(judged(lesson, one, seen, held))
            score = runs[name][-1]["nDCG@10"].mean()
            print(f"  {name}: nDCG@10 {score:.4f}", flush=True)

    note(fixed(lesson, seen))
    for seed in seeds:
        users, films = lesson["fit_bpr"](seen, seed=seed)
        words = lesson["item2vec"](lesson["part"] < 2, seed=seed)
        means = lesson["unit"](seen @ words)
        note({"BPR": users @ films.T, "item2vec": means @ words.T})
        note(libraries(seen, seed))
    rows, best = [], _mean(runs["EASE"], "nDCG@10")
    for name, some in runs.items():
        each = _mean(some, "nDCG@10")
        means = [one["nDCG@10"].mean() for one in some]
        titled = name if len(some) == 1 else f"{name}, {len(some)} seeds"
        coverage = np.mean([len(one["films"]) for one in some]) / lesson["N_FILMS"]
        over_seeds = f"{mean_interval(means):.3f}" if len(some) > 1 else ""
        lead = f"{_over_users(each, best):+.3f}" if name != "EASE" else ""
        hits = _over_users(_mean(some, "HR@10"))
        row = [titled, f"{hits:.3f}", f"{_over_users(each):.3f}", over_seeds, lead]
        rows.append([*row, f"{coverage:.2f}"])
    return rows


def published_split(path: str, user: np.ndarray, film: np.ndarray) -> np.ndarray:
    """Read the split of Qian et al. (2022) without unpickling it.

    Parameters
    ----------
    path : str
        The file.
    user, film : numpy.ndarray of int, shape (n_ratings,)
        Of the ratings, in the order of the original file, by which theirs count users
        and films from 1 as they first occur.

    Returns
    -------
    numpy.ndarray of int, shape (n_ratings,)
        0 to train on, 2 to test on.

    Raises
    ------
    UsageError
        When the file cannot be read, or is another one.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(
            f"--published-split: {path} cannot be read: {error.strerror}."
        ) from None
    if hashlib.sha256(raw).hexdigest() != QIAN_SHA256:
        raise UsageError(
            f"--published-split: {path} is another file: its sha256 differs."
        )
    # A set of films for each user: first those to train on, then those to test on. The
    # latter are NumPy's numbers, four bytes each.
    sets: list[set[int]] = []
    filled: set[int] | None = None
    for code, value, _ in pickletools.genops(raw):
        if code.name == "EMPTY_SET":
            filled = set()
            sets.append(filled)
        elif code.name in ("EMPTY_LIST", "EMPTY_DICT"):
            filled = None
        elif filled is not None and isinstance(value, bytes):
            filled.add(int.from_bytes(value, "little"))
        elif filled is not None and code.name.startswith("BININT"):
            filled.add(int(value or 0))
    tested = sets[len(sets) // 2 :]
    numbers = []
    for column in (user, film):
        _, first, which = np.unique(column, return_index=True, return_inverse=True)
        numbers.append(np.argsort(np.argsort(first))[which] + 1)
    pairs = zip(*numbers, strict=True)
    return np.array([2 if one in tested[who] else 0 for who, one in pairs])


def splits(
    lesson: dict[str, Any], published: np.ndarray | None = None
) -> list[list[str]]:
    """Judge the systems on splits that others published results for.

    Parameters
    ----------
    lesson : dict
        As `prepared` gives it.
    published : numpy.ndarray, optional
        As `published_split` gives it.

    Returns
    -------
    list of list of str
        Rows of `SPLITS`: each user's last film; and a tenth of each user's films at
        random, eight tenths to train on, as RecBole splits by default.
    """
    user, time = lesson["user"], lesson["time"]
    last = lesson["split_by_time"](user, time, 0, 1)
    order = np.random.default_rng(0).permutation(len(user))
    place = np.empty(len(user), int)
    place[np.lexsort((order, user))] = np.concatenate(
        [np.arange(n) / n * 10 for n in np.bincount(user)]
    ).astype(int)
    drawn = np.where(place < 8, 0, np.where(place < 9, 1, 2))
    parts = {"last film: ": last, "random tenth: ": drawn}
    if published is not None:
        parts[QIAN] = published
    rows = []
    for title, part in parts.items():
        seen, struck = seen_table(lesson, part == 0), seen_table(lesson, part < 2)
        held = seen_table(lesson, part == 2)
        users, films = lesson["fit_bpr"](seen)
        scores = fixed(lesson, seen) | {"BPR": users @ films.T}
        for name, one in (scores | libraries(seen, 0)).items():
            found = judged(lesson, one, struck, held)
            row = [title + name]
            for metric in SPLITS[1:4]:
                row.append(f"{_over_users(found[metric]):.3f}")
            rows.append(row)
            print(f"  {row}", flush=True)
    rows.append(["random tenth: RecBole's BPR, published", *RECBOLE])
    if published is not None:
        for name, recall in SHEHZAD.items():
            rows.append([f"{QIAN}{name}, published", "", "", recall])
    return rows


def cold(lesson: dict[str, Any], seeds: range, n_folds: int) -> list[list[str]]:
    """Hold out each fold of films in turn, and rank its films.

    Parameters
    ----------
    lesson : dict
        As `prepared` gives it.
    seeds : range
        Of what is trained or drawn.
    n_folds : int
        How many folds. The one that settings were chosen on is left out.

    Returns
    -------
    list of list of str
        Rows of `COLD`. A fold's number is the mean of its users and seeds.
    """
    everything = lesson["history"] + lesson["test"]
    by_fold: dict[str, list[np.ndarray]] = {}
    for number in set(range(n_folds)) - {CHOSEN_ON}:
        new = lesson["fold"] == number
        held = everything[:, new]
        runs: dict[str, list[np.ndarray]] = {}
        for seed in seeds:
            for name, scores in lesson["cold_scores"](number, seed).items():
                found = judged(lesson, scores[:, new], 0 * held, held)
                each = np.full(len(held), np.nan)
                each[held.sum(axis=1) > 0] = found["nDCG@10"]
                runs.setdefault(name, []).append(each)
        for name, some in runs.items():
            by_fold.setdefault(name, []).append(np.mean(some, axis=0))
        told = {name: round(float(np.nanmean(f[-1])), 4) for name, f in by_fold.items()}
        print(f"  fold {number}: {told}", flush=True)
    means = {name: np.nanmean(folds, axis=1) for name, folds in by_fold.items()}
    rows = []
    for name, mean in means.items():
        row = [name, f"{mean_interval(mean):.3f}"]
        for other in (BASE, COLUMNS):
            same = name == other
            row.append("" if same else f"{mean_interval(mean - means[other]):+.3f}")
        rows.append(row)
    return rows


def _mean(runs: Iterable[Scores], metric: str) -> np.ndarray:
    """Each user's mean over runs."""
    return np.mean([one[metric] for one in runs], axis=0)


def _over_users(first: np.ndarray, second: np.ndarray | None = None) -> Any:
    if second is None:
        return bootstrap(first, first, _of_users)
    return paired_bootstrap(first, first, second, _of_users)


def _of_users(_: np.ndarray, each: np.ndarray) -> float:
    return float(each.mean())
