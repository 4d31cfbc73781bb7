"""Lesson 06: network, vote, linear machine and the original, on both sets.

What the lesson has is the notebook's own: the cells tagged ``recipe``. All systems
learn from the same names, choose on the same and are scored on the same; no surname
stands in two of the parts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any

from course_tools.bench import recipe, store, table
from course_utils.errors import DataError, UsageError
from course_utils.evaluation import (
    Interval,
    accuracy,
    bootstrap,
    macro_f1,
    mean_interval,
    paired_bootstrap,
)

import numpy as np

FEWEST_NAMES, FEWEST_SEEDS = 1_000, 2
# Epochs of the published course:
# https://github.com/joosthub/pytorch-nlp-tutorial-ny2018, day 2, notebook 01.
ORIGINAL_EPOCHS = 100
N_BUCKETS = 8_192
N_HELD_OUT = 4  # nationalities to calibrate on, and as many to test on
ANSWERED = 0.2  # share of the names to calibrate on that may be answered
SOURCES = {
    "06_faker": ("faker", "Faker, the lesson's default"),
    "06_tutorial_names": ("pytorch-names", "PyTorch's tutorial"),
}
MACHINE, OURS = "pieces + linear SVM", "our network"
VOTE, WIDE = "vote of its neighbours", "with a weight for each piece"
SYSTEM_COLUMNS = (
    "system",
    "accuracy",
    "macro-F1",
    "accuracy minus SVM: seeds",
    "names",
    "macro-F1 minus SVM: seeds",
    "names ",
)
VECTOR_COLUMNS = ("vectors", "accuracy of the vote", "penultimate minus this: seeds")
UNKNOWN_COLUMNS = (
    "confidence",
    "AUC",
    "AUC minus the first",
    "unknown refused",
    "known answered",
    "accuracy, answered",
    "accuracy, all",
)
UNSEEN_COLUMNS = ("vectors", "nearest is alike", "penultimate minus this: draws")
NEAREST = "nearest by "
Answers = dict[str, list[np.ndarray]]
Draws = list[dict[str, dict[str, float]]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options to those of ``course bench``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    parser.add_argument_group("lesson 06").add_argument(
        "--names", type=int, metavar="N", help="use at most N names a part, for a trial"
    )


def run(options: argparse.Namespace) -> None:
    """Measure all systems and print tables; store them with ``--store``.

    Parameters
    ----------
    options : argparse.Namespace
        ``seeds``: how often the networks are trained, two at least; ``epochs``: for
        how long (None: as the recipe says); and those of `add_options`.

    Raises
    ------
    UsageError
        When a number is too small.
    """
    few, epochs = options.names, options.epochs
    if min(options.seeds, 1 if epochs is None else epochs) < 1:
        raise UsageError("--seeds and --epochs take 1 or more.")
    if few is not None and few < FEWEST_NAMES:
        raise UsageError(f"--names takes {FEWEST_NAMES:,} or more.")
    lesson, seeds = recipe(6), range(max(options.seeds, FEWEST_SEEDS))
    lesson["FULL_EPOCHS"] = epochs or lesson["FULL_EPOCHS"]
    lesson["ORIGINAL_EPOCHS"] = epochs or ORIGINAL_EPOCHS
    command = f"course bench 6 --seeds {len(seeds)} --store"

    def show(name: str, title: str, columns: Sequence[str], rows: Any) -> None:
        store(name, command, columns, rows)
        print(f"Lesson 06, {title}", table([columns, *rows]), sep="\n", end="\n\n")

    draws = [unknown_names(lesson, seed, few) for seed in seeds]
    title = "names of nationalities held out"
    show("06_unknown", title, UNKNOWN_COLUMNS, unknown_table(draws))
    show("06_unseen", title, UNSEEN_COLUMNS, compare_nearest(draws))
    for name, (source, title) in SOURCES.items():
        try:
            answers, truth = measure(lesson, source, seeds, few)
        except DataError as error:
            print(f"Lesson 06, {title}: left out. {error}\n", flush=True)
            continue
        systems = {k: v for k, v in answers.items() if not k.startswith("by ")}
        show(name, title, SYSTEM_COLUMNS, report(systems, truth))
        kinds = {k[3:]: v for k, v in answers.items() if k.startswith("by ")}
        rows = compare_vectors(kinds, truth)
        show(name.replace("06", "06_vectors"), title, VECTOR_COLUMNS, rows)


def measure(
    lesson: dict[str, Any], source: str, seeds: range, few: int | None = None
) -> tuple[Answers, np.ndarray]:
    """Answers of every system to the test names.

    Parameters
    ----------
    lesson : dict
        What the notebook's recipe defines.
    source : str
        As `course_utils.data.load_surnames` takes it.
    seeds : range
        Seeds of the networks.
    few : int, optional
        Names in each part at most; all of them by default.

    Returns
    -------
    answers : dict of str to list of numpy.ndarray
        Of each system and, after ``by``, of the vote by each kind of vectors; an
        array for each seed.
    truth : numpy.ndarray
        Labels of the test names.
    """
    parts = [(x[:few], y[:few]) for x, y in lesson["split_names"](source)]
    (x_train, y_train), (x_val, y_val), (x_test, y_test) = parts
    n_labels = int(y_train.max()) + 1
    sizes = f"{len(x_train):,} names to learn from, {len(x_val):,} to choose by, "
    print(f"{source}: {sizes}{len(x_test):,} to test; {n_labels} nationalities")
    answers: Answers = {}

    def note(system: str, given: np.ndarray) -> None:
        answers.setdefault(system, []).append(given)
        if not system.startswith("by "):
            scores = f"{accuracy(y_test, given):.4f} {macro_f1(y_test, given):.4f}"
            print(f"  {system:<30} {scores}", flush=True)

    note("always the largest", np.full_like(y_test, np.bincount(y_train).argmax()))
    machine = lesson["linear_baseline"](x_train, y_train)
    note(MACHINE, machine.predict(x_test))
    index = lesson["make_index"](x_train)
    fit, test = (lesson["to_tensors"](x, index) for x in (x_train, x_test))
    examples = (*fit, lesson["torch"].as_tensor(y_train))
    size = (len(index) + 4, n_labels)

    def vote(nets: list[Any], kind: str) -> np.ndarray:
        make = lesson["search_vectors"](nets, machine, index)[kind]
        search = lesson["tuned_vote"](make(x_train), y_train, make(x_val), y_val)
        return search.predict(make(x_test))

    def trained(make: Callable[..., Any], seed: int) -> Any:
        lesson["torch"].manual_seed(seed)
        net = make(*size)
        _quietly(lesson["train"], net, *examples, lesson["FULL_EPOCHS"], seed)
        return net

    nets = []
    for seed in seeds:
        net = _train_original(lesson, size, examples, seed)
        note("original network", _ask(lesson, [net], test))
        nets.append(trained(lesson["SurnameNet"], seed))
        note(OURS, _ask(lesson, nets[-1:], test))
        note(VOTE, vote(nets[-1:], "penultimate"))
        note("by penultimate", answers[VOTE][-1])
        note("by last layer", vote(nets[-1:], "last layer"))
        wide = trained(lambda *size: _with_pieces(lesson, *size), seed)
        note(WIDE, _ask(lesson, [wide], test))
    note("all seeds together", _ask(lesson, nets, test))
    note("vote of all seeds' neighbours", vote(nets, "penultimate"))
    for kind in ("letters", "pieces"):
        note(f"by {kind}", vote(nets[:1], kind))
    return answers, y_test


def _train_original(lesson: dict[str, Any], size: Any, examples: Any, seed: int) -> Any:
    """Train the published network as its course does: weighted classes, plain Adam.

    Its fixed number of columns changes nothing: its state is read at the true end.
    """
    torch, (ids, lengths, labels) = lesson["torch"], examples
    torch.manual_seed(seed)
    net = lesson["OriginalNet"](*size)
    for weight in net.rnn.parameters():
        if weight.ndim > 1:
            torch.nn.init.xavier_normal_(weight)
    weights = 1 / torch.bincount(labels, minlength=size[1]).float()
    step = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(lesson["ORIGINAL_EPOCHS"]):
        # The last batch is dropped unless it is full.
        for rows in torch.randperm(len(ids)).split(128)[: max(1, len(ids) // 128)]:
            scores = net(ids[rows, : lengths[rows].max()], lengths[rows])
            step.zero_grad()
            torch.nn.functional.cross_entropy(scores, labels[rows], weights).backward()
            step.step()
    return net


def _with_pieces(lesson: dict[str, Any], vocab_size: int, n_labels: int) -> Any:
    """Make the lesson's network, with a vector more for each piece of a name."""
    torch = lesson["torch"]

    net_class: Any = lesson["SurnameNet"]

    class WithPieces(net_class):
        def __init__(self) -> None:
            super().__init__(vocab_size, n_labels)
            width = self.fc.in_features
            self.pieces = torch.nn.EmbeddingBag(
                N_BUCKETS, width, mode="sum", padding_idx=0
            )
            torch.nn.init.zeros_(self.pieces.weight)

        def forward(self, ids: Any, lengths: Any) -> Any:
            letters = self.drop_some(self.emb(ids))
            triples = self.conv(letters.permute(0, 2, 1)).permute(0, 2, 1)
            states = self.rnn(self.drop(torch.relu(triples)), lengths)
            vectors = lesson["column_gather"](states, lengths)
            found = self._buckets(ids)
            if self.training:  # half of the pieces, so that none is relied upon
                vectors = vectors + self.pieces(found * (torch.rand(found.shape) > 0.5))
            else:
                vectors = vectors + self.pieces(found) / 2
            unit = torch.nn.functional.normalize(vectors)
            return self.fc(self.drop(16 * unit))

        def _buckets(self, ids: Any) -> Any:
            """Hash pieces of two to four entries; 0 where masks are among them."""
            made, codes = [], ids
            for more in (1, 2, 3):
                codes = codes[:, :-1] * 41 + ids[:, more:]
                bucket = codes * 2_654_435_761 % (N_BUCKETS - 1) + 1
                made.append(bucket * (ids[:, more:] != 0))
            return torch.cat(made, dim=1)

    return WithPieces()


def _quietly(function: Callable[..., Any], *given: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*given)


def _ask(lesson: dict[str, Any], nets: list[Any], part: Any) -> np.ndarray:
    return lesson["predict"](nets, *part).argmax(axis=1)


def report(answers: Answers, truth: np.ndarray) -> list[list[str]]:
    """Score each system, with intervals, and compare it with the linear machine.

    Parameters
    ----------
    answers : dict of str to list of numpy.ndarray
        An array for each seed, or one.
    truth : numpy.ndarray
        Labels of the test names.

    Returns
    -------
    list of list of str
        Name; accuracy and macro-F1, with the interval over seeds (of one, over
        names); their differences from the linear machine, over seeds and over names.
    """
    rows = []
    for system, given in answers.items():
        row = [system if len(given) == 1 else f"{system}, {len(given)} seeds"]
        leads = []
        for score in (accuracy, macro_f1):
            row.append(_interval_of([score(truth, one) for one in given], truth, given))
            base = score(truth, answers[MACHINE][0])
            lead = [score(truth, one) - base for one in given]
            leads.append(f"{mean_interval(lead):+.3f}" if len(lead) > 1 else "")
            leads.append(f"{_over_names(truth, given, answers[MACHINE], score):+.3f}")
        rows.append(row + (leads if system != MACHINE else [""] * 4))
    return rows


def _interval_of(scores: list[float], truth: np.ndarray, given: Any) -> str:
    if len(scores) > 1:
        return f"{mean_interval(scores):.3f}"
    score = accuracy if scores[0] == accuracy(truth, given[0]) else macro_f1
    return f"{bootstrap(truth, given[0], score):.3f}"


def _over_names(truth: Any, first: Any, second: Any, score: Any) -> Interval:
    """Mean lead of several seeds, with its interval over the names."""

    def mean(labels: np.ndarray, given: np.ndarray) -> float:
        return float(np.mean([score(labels, one) for one in given.T]))

    one, two = np.stack(first, axis=1), np.stack(second, axis=1)
    return paired_bootstrap(truth, one, two, mean, n_draws=1_000)


def compare_vectors(kinds: Answers, truth: np.ndarray) -> list[list[str]]:
    """Compare the vote by each kind of vectors with that by penultimate ones.

    Parameters
    ----------
    kinds : dict of str to list of numpy.ndarray
        Answers, an array for each seed, or one.
    truth : numpy.ndarray
        Labels.

    Returns
    -------
    list of list of str
        Name, accuracy with its interval, and the difference over seeds.
    """
    rows, own = [], [accuracy(truth, one) for one in kinds["penultimate"]]
    for kind, given in kinds.items():
        right = [accuracy(truth, one) for one in given]
        lead = np.array(own) - np.array(right)
        same = kind == "penultimate"
        told = "" if same else f"{mean_interval(lead):+.3f}"
        rows.append([kind, _interval_of(right, truth, given), told])
    return rows


def unknown_names(
    lesson: dict[str, Any], seed: int, few: int | None = None
) -> dict[str, dict[str, float]]:
    """Train without some nationalities; calibrate on half of them, test on the others.

    Parameters
    ----------
    lesson : dict
        What the notebook's recipe defines.
    seed : int
        Chooses nationalities and the network.
    few : int, optional
        Names to learn from at most.

    Returns
    -------
    dict of str to dict of str to float
        By measure of confidence what `UNKNOWN_COLUMNS` names; by kind of vectors how
        often the nearest of the names held out is of the same nationality.
    """
    from sklearn.metrics import roc_auc_score

    parts = [(x[:few], y[:few]) for x, y in lesson["split_names"]("faker")]
    x, y = (np.concatenate(column) for column in zip(*parts, strict=True))
    held_out = np.random.default_rng(seed).permutation(int(y.max()) + 1)
    groups = held_out[:N_HELD_OUT], held_out[N_HELD_OUT : 2 * N_HELD_OUT]
    known = [~np.isin(labels, np.concatenate(groups)) for _, labels in parts]
    (x_fit, y_fit), _, (x_asked, y_asked) = (
        (names[rows], labels[rows])
        for (names, labels), rows in zip(parts, known, strict=True)
    )
    kept, labels = np.unique(y_fit, return_inverse=True)
    index, torch = lesson["make_index"](x_fit), lesson["torch"]
    fit = lesson["to_tensors"](x_fit, index)
    torch.manual_seed(seed)
    net = lesson["SurnameNet"](len(index) + 4, len(kept))
    epochs = lesson["FULL_EPOCHS"]
    _quietly(lesson["train"], net, *fit, torch.as_tensor(labels), epochs, seed)
    base = lesson["vectors_of"]([net], *fit)
    asked = lesson["to_tensors"](x_asked, index)
    right = kept[_ask(lesson, [net], asked)] == y_asked
    sure = [
        lesson["confidences"](net, base, *lesson["to_tensors"](names, index))
        for names in (x_asked, *(x[lesson["names_of_only"](x, y, g)] for g in groups))
    ]
    found = {}
    for measure, own in sure[0].items():
        threshold = np.quantile(sure[1][measure], 1 - ANSWERED)
        others = sure[2][measure]
        is_known = np.repeat([1, 0], [len(own), len(others)])
        answered = own > threshold
        values = (
            roc_auc_score(is_known, np.concatenate([own, others])),
            np.mean(others <= threshold),
            np.mean(answered),
            np.mean(right[answered]),
            np.mean(right),
        )
        numbers = UNKNOWN_COLUMNS[1], *UNKNOWN_COLUMNS[3:]
        found[measure] = dict(zip(numbers, values, strict=True))
    rows = [i for group in groups for i in lesson["names_of_only"](x, y, group)]
    machine = lesson["linear_baseline"](x_fit, labels)
    for kind, make in lesson["search_vectors"]([net], machine, index).items():
        near = lesson["nearest_label"](make(x[rows]), y[rows])
        found[NEAREST + kind] = {"alike": accuracy(y[rows], near)}
    print(f"  draw {seed}: {found}", flush=True)
    return found


def unknown_table(draws: Draws) -> list[list[str]]:
    """Give the mean of each number of `UNKNOWN_COLUMNS`, with its interval over draws.

    Parameters
    ----------
    draws : list of dict
        As `unknown_names` gives them.

    Returns
    -------
    list of list of str
        A row for each measure of confidence.
    """
    measures = [name for name in draws[0] if not name.startswith(NEAREST)]
    for draw in draws:
        for measure in measures:
            lead = draw[measure]["AUC"] - draw[measures[0]]["AUC"]
            draw[measure]["AUC minus the first"] = lead
    rows = []
    for measure in measures:
        each = {c: [draw[measure][c] for draw in draws] for c in UNKNOWN_COLUMNS[1:]}
        rows.append([measure, *(f"{mean_interval(own):.3f}" for own in each.values())])
    rows[0][2] = ""
    return rows


def compare_nearest(draws: Draws) -> list[list[str]]:
    """Compare how often the nearest name is alike, by kind of vectors.

    Parameters
    ----------
    draws : list of dict
        As `unknown_names` gives them.

    Returns
    -------
    list of list of str
        Kind, share, and the lead of penultimate vectors, with intervals over draws.
    """
    shares = {
        name.removeprefix(NEAREST): np.array([draw[name]["alike"] for draw in draws])
        for name in draws[0]
        if name.startswith(NEAREST)
    }
    own = shares["penultimate"]
    return [
        [
            kind,
            f"{mean_interval(each):.3f}",
            "" if each is own else f"{mean_interval(own - each):+.3f}",
        ]
        for kind, each in shares.items()
    ]
