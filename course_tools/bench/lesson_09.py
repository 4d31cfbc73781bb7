"""Word vectors: skip-gram beside gensim's word2vec, counts and GloVe, at full size."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from course_tools.bench import n_threads, run_apart, store, table
from course_tools.bench.word2vec import save_texts
from course_utils.data import load_analogies, load_glove, load_imdb, load_word_pairs
from course_utils.errors import CourseError, UsageError
from course_utils.evaluation import (
    bootstrap,
    mean_interval,
    paired_bootstrap,
)
from course_utils.text import Vocabulary
from course_utils.weat import TESTS, word_list
from course_utils.word_evaluation import (
    answer_analogies,
    covered,
    effect_size,
    leanings,
    pair_cosines,
    permutation_p,
    places,
    spearman,
)
from course_utils.word_tables import counted_table

import numpy as np

SETTINGS = {
    "dimensions": 100,
    "window": 5,
    "n_negatives": 5,
    "epochs": 5,
    "subsample": 1e-3,
    "power": 0.75,
    "rate": 0.025,
}
VOCABULARY = 30_000
SEEDS = 3  # at least
N_DIVISIONS = 10_000  # of a permutation test
LONG = 20  # epochs of the table that the lesson shows
OURS = "skip-gram, 5 epochs"
PINS = Path(__file__).with_name("gensim.txt")
COMMAND = "course bench 9 --store"
PAIRS = ("wordsim353", "simlex999")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options to those of ``course bench``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    group = parser.add_argument_group("lesson 09")
    group.add_argument(
        "--reviews",
        type=int,
        default=0,
        metavar="N",
        help="train on the first N film reviews (default: all)",
    )


def run(options: argparse.Namespace) -> None:
    """Print the tables of lesson 09.

    Parameters
    ----------
    options : argparse.Namespace
        Those of `add_options`, and ``seeds``, how often each program trains.

    Raises
    ------
    UsageError
        When fewer than 100 reviews are asked for.
    CourseError
        When gensim cannot be installed, or a training stops.
    DataError
        When a set can be neither found nor fetched.
    """
    if 0 < options.reviews < 100 or options.reviews < 0:
        raise UsageError("--reviews takes 100 or more.")
    (x, _), (more, _) = load_imdb()
    texts = [*x, *more][: options.reviews or None]
    vocabulary, ids = Vocabulary.encoded(texts, VOCABULARY)
    sequences = [np.asarray(row)[np.asarray(row) > 1] - 2 for row in ids]
    words = vocabulary.words[2:]
    print(
        f"{len(texts):,} reviews, {sum(map(len, sequences)):,} words of "
        f"{len(words):,} kinds; {SETTINGS}"
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(Path(folder), sequences, len(words))
        tests = Tests(words)
        long, _ = trainer.train("ours", epochs=LONG, seed=0)
        few = _beside_gensim(trainer, tests, range(max(options.seeds, SEEDS)))
        tables = {f"skip-gram, {LONG} epochs": long, **few}
        tables["PPMI + SVD"] = _counted(sequences, len(words))
        tables["GloVe, 50 columns"] = tests.glove
        _compare(tables, tests)
        _windows(trainer, tests, few[OURS])
    _associations(long, tests)


class Trainer:
    """Trains in processes of their own, and keeps gensim in a folder of its own.

    Parameters
    ----------
    folder : pathlib.Path
        Gets texts, tables and gensim.
    sequences : list of numpy.ndarray of int
        Texts.
    n_words : int
        Size of the vocabulary.
    """

    def __init__(self, folder: Path, sequences: list[np.ndarray], n_words: int) -> None:
        self.folder, self.n_words = folder, n_words
        self.texts = folder / "texts.npz"
        save_texts(self.texts, sequences)

    def install_gensim(self) -> Path:
        """Install gensim by its digests, with NumPy and SciPy of this environment.

        Returns
        -------
        pathlib.Path
            The folder to import it from.

        Raises
        ------
        CourseError
            When pip cannot.
        """
        target = self.folder / "gensim"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--require-hashes", "--no-compile"]
        command += ["--disable-pip-version-check", "--target", str(target)]
        ran = subprocess.run(
            [*command, "-r", str(PINS)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if ran.returncode:
            last = (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise CourseError(f"gensim could not be installed: {last}")
        return target

    def train(self, who: str, apart: Path | None = None, **changed: Any) -> Any:
        """Train once.

        Parameters
        ----------
        who : {"ours", "gensim"}
            Whose code.
        apart : pathlib.Path, optional
            Where gensim is installed.
        **changed
            Settings other than `SETTINGS`, and the seed.

        Returns
        -------
        table : numpy.ndarray of shape (n_words, dimensions)
            The vectors.
        report : dict
            What the process printed.
        """
        settings = json.dumps({"n_words": self.n_words, **SETTINGS, **changed})
        target = self.folder / "table.npy"
        arguments = [who, str(self.texts), str(target), settings]
        arguments += [str(apart)] if apart else []
        (report,) = run_apart("course_tools.bench.word2vec", arguments)
        print(f"{who:<7} {changed} {report}", flush=True)
        return np.load(target, allow_pickle=False), report


class Tests:
    """The pairs and questions that GloVe and our vocabulary both cover.

    Parameters
    ----------
    words : list of str
        Our vocabulary, in the order of ids.
    """

    def __init__(self, words: list[str]) -> None:
        glove_words, glove = load_glove()
        glove_at, at = places(glove_words), places(words)
        self.words = [word for word in words if word in glove_at]
        self.at = places(self.words)
        self.rows = np.array([at[word] for word in self.words])
        self.glove = glove[[glove_at[word] for word in self.words]]
        self.all_glove, self.all_words = glove, glove_at
        self.own_at = at
        self.pairs, self.ratings, self.share = {}, {}, {}
        for name in PAIRS:
            pairs, ratings = load_word_pairs(name)
            known = covered(pairs, self.at)
            self.pairs[name] = [pairs[row] for row in np.flatnonzero(known)]
            self.ratings[name], self.share[name] = ratings[known], known.mean()
        asked = [one for relation in load_analogies().values() for one in relation]
        known = covered(asked, self.at)
        self.questions = [asked[row] for row in np.flatnonzero(known)]
        self.share["analogies"] = known.mean()
        self.wanted = np.array([self.at[one[3]] for one in self.questions])
        print({name: f"{share:.3f}" for name, share in self.share.items()}, "covered")

    def shared(self, vectors: np.ndarray) -> np.ndarray:
        """Rows of the shared words, of a table of ours or of GloVe's."""
        return vectors if len(vectors) == len(self.words) else vectors[self.rows]

    def cosines(self, vectors: np.ndarray, name: str) -> np.ndarray:
        """Cosines of the covered pairs."""
        return pair_cosines(self.shared(vectors), self.at, self.pairs[name])

    def correlation(self, vectors: np.ndarray, name: str) -> float:
        """Spearman's correlation with people's ratings."""
        return spearman(self.ratings[name], self.cosines(vectors, name))


def _counted(sequences: list[np.ndarray], n_words: int) -> np.ndarray:
    """Lesson 01's table: PPMI of counts, then an SVD, as wide as skip-gram's."""
    window = SETTINGS["window"]
    gap = np.zeros(int(window), np.int32)
    parts = [part for row in sequences for part in (row.astype(np.int32) + 1, gap)]
    stream = np.concatenate(parts)[None]
    made = counted_table(
        stream, n_words + 1, int(SETTINGS["dimensions"]), window=int(window)
    )
    return made[1:]


def _beside_gensim(trainer: Trainer, tests: Tests, seeds: range) -> dict[str, Any]:
    apart = trainer.install_gensim()
    scores: dict[str, dict[str, list[float]]] = {}
    first: dict[str, np.ndarray] = {}
    rates: dict[str, list[float]] = {}
    for seed in seeds:  # in turn, so that a busy hour hits both
        n_pairs = 0
        for name, who in ((OURS, "ours"), ("gensim, 5 epochs", "gensim")):
            folder = apart if who == "gensim" else None
            vectors, report = trainer.train(who, folder, seed=seed)
            n_pairs = report.get("pairs", n_pairs)  # gensim's draws are as many
            first.setdefault(name, vectors)
            rates.setdefault(name, []).append(n_pairs / report["seconds"])
            kept = scores.setdefault(name, {test: [] for test in PAIRS})
            for test in PAIRS:
                kept[test].append(tests.correlation(vectors, test))
    rows = []
    for name, kept in scores.items():
        means = [f"{mean_interval(kept[test]):.3f}" for test in PAIRS]
        rows.append([name, *means, f"{np.mean(rates[name]) / 1e6:.1f} million"])
    one, other = scores.values()
    ahead = [
        f"{mean_interval(np.subtract(one[test], other[test])):+.3f}" for test in PAIRS
    ]
    ours, theirs = rates.values()
    ratio = np.divide(ours, theirs)
    rows.append(["first minus second", *ahead, f"{ratio.mean():.1f} times"])
    columns = ["program", "WordSim-353", "SimLex-999", "pairs a CPU second"]
    _keep("09_gensim", columns, rows)
    return first


def _compare(tables: dict[str, np.ndarray], tests: Tests) -> None:
    rows = []
    base = next(iter(tables.values()))
    for name, vectors in tables.items():
        row = [name]
        for test in PAIRS:
            truth = tests.ratings[test]
            made, ours = tests.cosines(vectors, test), tests.cosines(base, test)
            row.append(f"{bootstrap(truth, made, spearman):.3f}")
            behind = paired_bootstrap(truth, ours, made, spearman)
            row.append(f"{behind:+.3f}" if vectors is not base else "")
        found = answer_analogies(tests.shared(vectors), tests.at, tests.questions)
        row.append(f"{bootstrap(tests.wanted, found):.3f}")
        rows.append(row)
    columns = ["vectors", "WordSim-353", "first row minus this", "SimLex-999"]
    columns += ["first row minus this ", "analogies"]
    _keep("09_word_vectors", columns, rows)


def _windows(trainer: Trainer, tests: Tests, five: np.ndarray) -> None:
    rows = []
    for window in (2, 5, 10):
        vectors = (
            five
            if window == SETTINGS["window"]
            else trainer.train("ours", window=window, seed=0)[0]
        )
        row = [f"{window}"]
        for test in PAIRS:
            truth, made = tests.ratings[test], tests.cosines(vectors, test)
            row.append(f"{bootstrap(truth, made, spearman):.3f}")
            more = paired_bootstrap(truth, made, tests.cosines(five, test), spearman)
            row.append(f"{more:+.3f}" if vectors is not five else "")
        rows.append(row)
    columns = ["window", "WordSim-353", "minus window 5"]
    columns += ["SimLex-999", "minus window 5 "]
    _keep("09_windows", columns, rows)


def _associations(vectors_of_ours: np.ndarray, tests: Tests) -> None:
    rows = []
    for *names, published in TESTS:
        row = [f"{names[0]} : {names[1]} ~ {names[2]} : {names[3]}", f"{published:.2f}"]
        for vectors, at in (
            (tests.all_glove, tests.all_words),
            (vectors_of_ours, tests.own_at),
        ):
            lists = [word_list(name, at) for name in names]
            sets = [vectors[[at[word] for word in words]] for words in lists]
            first, second = (leanings(one, *sets[2:]) for one in sets[:2])
            p = permutation_p(first, second, N_DIVISIONS, np.random.default_rng(0))
            row.append(f"{effect_size(first, second):.2f} (p = {p:.4f})")
            row.append(f"{len(lists[0])} + {len(lists[1])}")
        rows.append(row)
    columns = ["test", "published d", "GloVe d", "words", "skip-gram d", "words there"]
    _keep("09_weat", columns, rows)


def _keep(name: str, columns: list[str], rows: list[list[str]]) -> None:
    store(name, COMMAND, columns, rows)
    print(f"\n{name}, {n_threads()} processors\n{table([columns, *rows])}", flush=True)
