"""Lesson 05 beside the post it comes from: seconds and accuracy, in one run.

Both recipes are the notebook's own cells. Each runs in a process of its own, with the
same number of threads; time for measuring accuracy is not counted.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

from course_tools.bench import n_threads, recipe, run_apart, table
from course_utils.errors import UsageError

ORIGINAL_EPOCHS = 50
PUBLISHED = 0.9223
CANDIDATES = (1, 3, 5, 10, 20, 50, 100, 200)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options to those of ``course bench``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    group = parser.add_argument_group("lesson 05")
    group.add_argument(
        "--original-epochs",
        type=int,
        default=ORIGINAL_EPOCHS,
        metavar="N",
        help="run the original for N epochs and extrapolate the rest from their time "
        f"(default {ORIGINAL_EPOCHS}, all of it, above an hour)",
    )
    group.add_argument(
        "--epochs", type=int, metavar="N", help="run the course's recipe for N epochs"
    )
    group.add_argument(
        "--pictures", type=int, metavar="N", help="use N training pictures, for a trial"
    )
    group.add_argument(
        "--plot", default="bench_05.png", metavar="FILE", help="where the plot goes"
    )


def run(options: argparse.Namespace) -> None:
    """Run both recipes, print the table and draw accuracy against seconds.

    Parameters
    ----------
    options : argparse.Namespace
        Those of `add_options`, and ``seeds``, how often the course's recipe runs.

    Raises
    ------
    UsageError
        When a number is below 1, or above the original's epochs.
    CourseError
        When a recipe stops.
    """
    if not 1 <= options.original_epochs <= ORIGINAL_EPOCHS:
        raise UsageError(f"--original-epochs takes 1 to {ORIGINAL_EPOCHS}.")
    few, epochs = options.pictures, options.epochs
    given = [options.seeds, 1 if epochs is None else epochs]
    if min(given) < 1 or (few is not None and few < 600):
        raise UsageError("--epochs and --seeds take 1 or more, --pictures 600 or more.")
    print(f"Lesson 05, Fashion-MNIST, {n_threads()} threads, CPU", flush=True)
    size = ["--pictures", str(few)] if few else []
    original = _measure("original", options.original_epochs, 0, size)
    ours = [_measure("course", epochs, seed, size) for seed in range(options.seeds)]
    print()
    print(report(original, ours))
    draw(original, ours[0], Path(options.plot))
    print(f"Accuracy against seconds: {options.plot}")


def _measure(
    name: str, epochs: int | None, seed: int, size: list[str]
) -> dict[str, Any]:
    """Run one recipe in a process of its own, telling each epoch as it ends."""

    def tell(line: dict[str, Any]) -> None:
        if "epoch" in line:
            score = line["accuracy"]
            known = "" if score is None else f"  kNN {score:.4f} (k = {line['k']})"
            print(
                f"{name:<8}  seed {seed}  epoch {line['epoch']:>2}  "
                f"{line['seconds']:6.1f} s{known}",
                flush=True,
            )

    arguments = [name, "--seed", str(seed), *size]
    if epochs is not None:
        arguments += ["--epochs", str(epochs)]
    lines = run_apart(__name__, arguments, tell)
    head = next(line for line in lines if "parameters" in line)
    return {**head, "epochs": [line for line in lines if "epoch" in line]}


def report(original: dict[str, Any], ours: list[dict[str, Any]]) -> str:
    """Set both recipes side by side.

    Parameters
    ----------
    original, ours : dict, list of dict
        ``parameters``, and ``epochs``: a list of ``seconds``, ``accuracy``, ``k``.

    Returns
    -------
    str
        A table, and what it comes to.
    """
    reached = f"s to {PUBLISHED}"
    rows = [["recipe", "parameters", "epochs", "s/epoch", "total s", "kNN", reached]]
    run_epochs = len(original["epochs"])
    whole = total_of_original(original)
    rows.append(
        [
            "original",
            f"{original['parameters']:,}",
            str(run_epochs),
            f"{_typical(original):.1f}",
            f"{_total(original):.0f}",
            f"{original['epochs'][-1]['accuracy']:.4f}",
            _words(seconds_to(original)),
        ]
    )
    if run_epochs < ORIGINAL_EPOCHS:
        published = [f"{PUBLISHED}", f"{whole:.0f}"]
        rows.append(
            ["original, extrapolated *", "", "50", "", f"{whole:.0f}", *published]
        )
    for seed, one in enumerate(ours):
        rows.append(
            [
                f"course, seed {seed}",
                f"{one['parameters']:,}",
                str(len(one["epochs"])),
                f"{_typical(one):.1f}",
                f"{_total(one):.0f}",
                f"{one['epochs'][-1]['accuracy']:.4f}",
                _words(seconds_to(one)),
            ]
        )
    notes = [table(rows), ""]
    if run_epochs < ORIGINAL_EPOCHS:
        notes.append(
            f"* {run_epochs} of {ORIGINAL_EPOCHS} epochs were run; the rest is "
            f"extrapolated from their time, and {PUBLISHED} is the published accuracy."
        )
    scores = [one["epochs"][-1]["accuracy"] for one in ours]
    if len(scores) > 1:
        notes.append(
            f"course, {len(scores)} seeds: kNN {statistics.mean(scores):.4f} on "
            f"average, from {min(scores):.4f} to {max(scores):.4f} (standard deviation "
            f"{statistics.stdev(scores):.4f})"
        )
    mean = statistics.mean(_total(one) for one in ours)
    notes.append(f"The course's recipe takes 1/{whole / mean:.1f} of the time.")
    return "\n".join(notes)


def total_of_original(original: dict[str, Any]) -> float:
    """Seconds of the original's 50 epochs, those not run at the typical time.

    Parameters
    ----------
    original : dict
        As `report` takes it.

    Returns
    -------
    float
        Seconds.
    """
    missing = ORIGINAL_EPOCHS - len(original["epochs"])
    return _total(original) + missing * _typical(original)


def seconds_to(one: dict[str, Any], accuracy: float = PUBLISHED) -> float | None:
    """Seconds of training after which an accuracy was first reached.

    Parameters
    ----------
    one : dict
        As `report` takes it.
    accuracy : float
        A share between 0 and 1.

    Returns
    -------
    float or None
        None where it was not reached.
    """
    spent = 0.0
    for epoch in one["epochs"]:
        spent += epoch["seconds"]
        if epoch["accuracy"] is not None and epoch["accuracy"] >= accuracy:
            return spent
    return None


def draw(original: dict[str, Any], ours: dict[str, Any], path: Path) -> None:
    """Draw accuracy against seconds of both recipes.

    Parameters
    ----------
    original, ours : dict
        As `report` takes them.
    path : pathlib.Path
        The picture to write.
    """
    from course_utils import plotting

    import matplotlib as mpl
    from matplotlib.figure import Figure

    plotting.use_style()
    with mpl.rc_context():
        fig = Figure(figsize=(8, 4))
        ax = fig.subplots()
        for one, name, style in ((ours, "course", "o-"), (original, "original", "s-")):
            known = [e for e in _with_time(one) if e["accuracy"] is not None]
            ax.plot(
                [e["spent"] for e in known],
                [e["accuracy"] for e in known],
                style,
                label=f"{name}, measured",
            )
        whole = total_of_original(original)
        if len(original["epochs"]) < ORIGINAL_EPOCHS:
            last = _with_time(original)[-1]
            ax.plot(
                [last["spent"], whole],
                [last["accuracy"], PUBLISHED],
                "s:",
                markevery=[1],  # the first point was measured, and is drawn above
                color=plotting.GREY,
                label="original, time extrapolated, accuracy published",
            )
        ax.set_xscale("log")
        ax.set_xlabel("seconds of training (log scale)")
        ax.set_ylabel("kNN accuracy on the test pictures")
        ax.legend(loc="lower right")
        faster = whole / _total(ours)
        ax.set_title(
            f"{ours['epochs'][-1]['accuracy']:.4f} in 1/{faster:.1f} of the time"
        )
        fig.savefig(path, dpi=120)


def _typical(one: dict[str, Any]) -> float:
    return statistics.median(epoch["seconds"] for epoch in one["epochs"])


def _total(one: dict[str, Any]) -> float:
    return math.fsum(epoch["seconds"] for epoch in one["epochs"])


def _with_time(one: dict[str, Any]) -> list[dict[str, Any]]:
    spent, epochs = 0.0, []
    for epoch in one["epochs"]:
        spent += epoch["seconds"]
        epochs.append({**epoch, "spent": spent})
    return epochs


def _words(seconds: float | None) -> str:
    return "not reached" if seconds is None else f"{seconds:.0f}"


def _say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Run one recipe in this process and print a JSON object an epoch.

    Parameters
    ----------
    arguments : list of str, optional
        ``original`` or ``course``, then options.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", choices=("original", "course"))
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int)
    options = parser.parse_args(arguments)
    lesson = recipe(5)
    data = lesson["load_fashion_mnist"]()
    lesson["keras"].utils.set_random_seed(options.seed)
    {"original": _original, "course": _course}[options.recipe](lesson, data, options)


def _original(lesson: dict[str, Any], data: Any, options: argparse.Namespace) -> None:
    """Run the post's recipe: all training pictures, k = 5, as published."""
    (x_train, y_train), (x_test, y_test) = data
    x_train, y_train = x_train[: options.pictures], y_train[: options.pictures]
    x_test, y_test = x_test[: options.pictures], y_test[: options.pictures]
    scale = (x_train.std(axis=0) + 0.1).astype("float32")
    x_train, x_test = x_train / scale, x_test / scale
    embedder = lesson["post_embedder"]()
    siamese = lesson["post_siamese"](embedder)

    def score() -> tuple[float, int]:
        known, asked = (lesson["embed"](embedder, x) for x in (x_train, x_test))
        found = lesson["nearest"](known, asked, 5)
        return float((lesson["vote"](y_train[found]) == y_test).mean()), 5

    _say(parameters=siamese.count_params())
    siamese.fit(
        lesson["random_pairs"](x_train, y_train, seed=options.seed),
        steps_per_epoch=len(x_train) // 300,
        shuffle=False,
        epochs=options.epochs,
        verbose=0,
        callbacks=[_clock(lesson, score, lambda epoch: True)],
    )


def _course(lesson: dict[str, Any], data: Any, options: argparse.Namespace) -> None:
    """Run the course's recipe: 1 of 12 pictures is set aside, to choose k."""
    import numpy as np

    (x_train, y_train), (x_test, y_test) = data
    shuffled = np.random.default_rng(0).permutation(len(x_train))[: options.pictures]
    x_test, y_test = x_test[: options.pictures], y_test[: options.pictures]
    hold, fit = np.split(shuffled, [len(shuffled) // 12])
    network = lesson["make_embedder"]()
    epochs = options.epochs or lesson["FULL_EPOCHS"]

    def score() -> tuple[float, int]:
        def of(x: Any) -> Any:
            return lesson["embed"](network, x, mirrored=True, shifted=True)

        known = lesson["embed"](network, x_train[fit], mirrored=True)
        largest = max(CANDIDATES)
        held = y_train[fit][lesson["nearest"](known, of(x_train[hold]), largest)]
        right = {
            k: np.mean(lesson["vote"](held[:, :k]) == y_train[hold]) for k in CANDIDATES
        }
        k = max(right, key=right.__getitem__)
        found = y_train[fit][lesson["nearest"](known, of(x_test), k)]
        return float(np.mean(lesson["vote"](found) == y_test)), k

    # The first seed draws the curve; of the others only the end is needed.
    _say(parameters=network.count_params())
    clock = _clock(lesson, score, lambda e: options.seed == 0 or e == epochs)
    x, y = x_train[fit], y_train[fit]
    told = {"callbacks": [clock], "seed": options.seed}
    lesson["train"](network, x, y, epochs, **told)


def _clock(lesson: dict[str, Any], score: Any, is_wanted: Any) -> Any:
    """Make a callback that times each epoch, then scores it off the clock."""
    start = 0.0

    def begin(epoch: int, logs: Any = None) -> None:
        nonlocal start
        start = time.perf_counter()

    def end(epoch: int, logs: Any = None) -> None:
        seconds = time.perf_counter() - start
        accuracy, k = score() if is_wanted(epoch + 1) else (None, None)
        _say(epoch=epoch + 1, seconds=seconds, accuracy=accuracy, k=k)

    return lesson["keras"].callbacks.LambdaCallback(
        on_epoch_begin=begin, on_epoch_end=end
    )


if __name__ == "__main__":
    main()
