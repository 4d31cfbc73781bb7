"""Lesson 06: network, neighbours, linear machine and the original, on both sets.

Every system is the notebook's own: the cells tagged ``recipe``. All of them learn
from the same names, choose on the same and are scored on the same; no surname stands
in two of the parts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from typing import Any

from course_tools.bench import recipe, table
from course_utils.errors import DataError, UsageError

import numpy as np

FEWEST_NAMES = 1_000
SOURCES = {
    "pytorch-names": "PyTorch's tutorial",
    "faker": "Faker, the lesson's default",
}


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
    """Measure all systems and print a table for each set.

    Parameters
    ----------
    options : argparse.Namespace
        ``seeds``: how often the networks are trained; ``epochs``: for how long
        (None: as the recipe says); and those of `add_options`.

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
    lesson = recipe(6)
    lesson["FULL_EPOCHS"] = epochs or lesson["FULL_EPOCHS"]
    for source, title in SOURCES.items():
        try:
            rows = measure(lesson, source, options.seeds, few)
        except DataError as error:
            print(f"Lesson 06, {title}: left out. {error}\n", flush=True)
            continue
        print(f"Lesson 06, {title}")
        print(report(rows), end="\n\n", flush=True)


def measure(
    lesson: dict[str, Any], source: str, seeds: int, few: int | None = None
) -> list[dict[str, Any]]:
    """Scores of every system on the test names.

    Parameters
    ----------
    lesson : dict
        What the notebook's recipe defines.
    source : str
        As `course_utils.data.load_surnames` takes it.
    seeds : int
        How often the networks are trained.
    few : int, optional
        Names in each part at most; all of them by default.

    Returns
    -------
    list of dict
        ``system``, ``accuracy``, ``macro-F1``, ``seconds``: one for each system and
        seed.
    """
    (x_train, y_train), (x_val, y_val), (x_test, y_test) = lesson["split_names"](source)
    x_train, y_train = x_train[:few], y_train[:few]
    x_val, y_val, x_test, y_test = (
        part[:few] for part in (x_val, y_val, x_test, y_test)
    )
    n_labels = int(y_train.max()) + 1
    print(
        f"{source}: {len(x_train):,} names to learn from, {len(x_val):,} to choose by, "
        f"{len(x_test):,} to test; {n_labels} nationalities",
        flush=True,
    )
    done: list[dict[str, Any]] = []

    def note(system: str, answers: np.ndarray, start: float) -> None:
        seconds = time.perf_counter() - start
        row = {"system": system, **lesson["scores"](y_test, answers)}
        done.append({**row, "seconds": seconds})
        print(
            f"  {system:<22} {row['accuracy']:.4f} {row['macro-F1']:.4f} "
            f"{seconds:6.0f} s",
            flush=True,
        )

    start = time.perf_counter()
    note(
        "always the largest", np.full_like(y_test, np.bincount(y_train).argmax()), start
    )
    machine = lesson["linear_baseline"](x_train, y_train)
    note("pieces + linear SVM", machine.predict(x_test), start)

    index = lesson["make_index"](x_train)
    parts = [lesson["to_tensors"](names, index) for names in (x_train, x_val, x_test)]
    targets = lesson["torch"].as_tensor(y_train)
    columns = max(ids.shape[1] for ids, _ in parts)
    for seed in range(seeds):
        start = time.perf_counter()
        original = _trained(
            lesson,
            lambda: lesson["OriginalNet"](len(index) + 4, n_labels, columns),
            (*parts[0], targets),
            seed,
        )
        note("original network", _answers(lesson, [original], parts[2]), start)

        start, nets = time.perf_counter(), []
        for member in range(lesson["N_NETS"]):
            nets.append(
                _trained(
                    lesson,
                    lambda: lesson["SurnameNet"](len(index) + 4, n_labels),
                    (*parts[0], targets),
                    lesson["N_NETS"] * seed + member,
                )
            )
            if member == 0:
                note("one of our networks", _answers(lesson, nets, parts[2]), start)
        note("our network", _answers(lesson, nets, parts[2]), start)

        start = time.perf_counter()
        known, asked, tested = (lesson["vectors_of"](nets, *part) for part in parts)
        search = lesson["make_search"](known, y_train, lesson["BACKEND"])
        right = lesson["accuracy_by_k"](search, y_train, asked, y_val)
        best = lesson["CANDIDATES"][int(np.argmax(right))]
        answers = search.set_params(n_neighbors=best).predict(tested)
        note("its neighbours' vote", answers, start)
    return done


def _trained(lesson: dict[str, Any], make: Any, examples: Any, seed: int) -> Any:
    """Make a network and fit it quietly, from its own seed."""
    lesson["torch"].manual_seed(seed)
    net = make()
    with contextlib.redirect_stdout(io.StringIO()):
        lesson["train"](net, *examples, lesson["FULL_EPOCHS"], seed)
    return net


def _answers(lesson: dict[str, Any], nets: list[Any], part: Any) -> np.ndarray:
    return lesson["predict"](nets, *part).argmax(axis=1)


def report(rows: list[dict[str, Any]]) -> str:
    """Set the systems in a table, mean and range over seeds, and compare them.

    Parameters
    ----------
    rows : list of dict
        As `measure` gives them.

    Returns
    -------
    str
        A table, and the differences that the lesson claims.
    """
    systems = list(dict.fromkeys(row["system"] for row in rows))
    mean = {}
    lines = [["system", "seeds", "accuracy", "range", "macro-F1", "range", "seconds"]]
    for system in systems:
        own = [row for row in rows if row["system"] == system]
        line = [system, str(len(own))]
        for what in ("accuracy", "macro-F1"):
            each = [row[what] for row in own]
            mean[system, what] = float(np.mean(each))
            many = len(own) > 1
            line.append(f"{np.mean(each):.4f}")
            line.append(f"{min(each):.4f}–{max(each):.4f}" if many else "")
        lines.append([*line, f"{np.mean([row['seconds'] for row in own]):.0f}"])
    net, machine, vote = "our network", "pieces + linear SVM", "its neighbours' vote"
    said = [table(lines)]
    for what in ("accuracy", "macro-F1"):
        ahead = mean[net, what] - mean[machine, what]
        said.append(f"network - linear SVM, {what}: {ahead:+.4f}")
    behind = mean[vote, "accuracy"] - mean[net, "accuracy"]
    said.append(f"neighbours' vote - network, accuracy: {behind:+.4f}")
    return "\n".join(said)
