"""Tables and plot of lesson 05's bench: the course's recipe beside the original."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

from course_tools.bench import table
from course_utils.evaluation import mean_interval

ORIGINAL_EPOCHS = 50
PUBLISHED = 0.9223


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
    notes = [table([[str(cell) for cell in row] for row in rows(original, ours)]), ""]
    run_epochs = len(original["epochs"])
    whole = total_of_original(original)
    if run_epochs < ORIGINAL_EPOCHS:
        notes.append(
            f"* {run_epochs} of {ORIGINAL_EPOCHS} epochs were run; the rest is "
            f"extrapolated from their time, and {PUBLISHED} is the published accuracy."
        )
    mean = statistics.mean(_total(one) for one in _longest(ours))
    notes.append(f"The course's recipe takes 1/{whole / mean:.1f} of the CPU time.")
    reached = [at for one in ours if (at := seconds_to(one)) is not None]
    if reached:
        notes.append(
            f"It reaches {PUBLISHED} in 1/{whole / min(reached):.1f} of the original's "
            f"{ORIGINAL_EPOCHS} epochs."
        )
    return "\n".join(notes)


def rows(original: dict[str, Any], ours: list[dict[str, Any]]) -> list[list[Any]]:
    """Table of both recipes, its head first."""
    head = ["recipe", "kNN", "parameters", "epochs", "CPU s/epoch", "CPU s"]
    rows = [[*head, f"CPU s to {PUBLISHED}"], _row("original", original)]
    if len(original["epochs"]) < ORIGINAL_EPOCHS:
        whole = f"{total_of_original(original):.0f}"
        told = [f"{PUBLISHED}", "", f"{ORIGINAL_EPOCHS}", "", whole, whole]
        rows.append(["original, extrapolated *", *told])
    rows += [
        _row(f"course, {len(one['epochs'])} epochs, seed {one.get('seed', 0)}", one)
        for one in ours
    ]
    full = _longest(ours)
    if len(full) > 1:
        mean = mean_interval([one["epochs"][-1]["accuracy"] for one in full])
        name = f"course, {len(full[0]['epochs'])} epochs, mean"
        rows.append([name, f"{mean:.4f}", *([""] * 5)])
    return rows


def _longest(ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    longest = max(len(one["epochs"]) for one in ours)
    return [one for one in ours if len(one["epochs"]) == longest]


def _row(name: str, one: dict[str, Any]) -> list[str]:
    return [
        name,
        f"{one['epochs'][-1]['accuracy']:.4f}",
        f"{one['parameters']:,}",
        str(len(one["epochs"])),
        f"{_typical(one):.1f}",
        f"{_total(one):.0f}",
        _words(seconds_to(one)),
    ]


def total_of_original(original: dict[str, Any]) -> float:
    """Seconds of the original's 50 epochs, those not run at the typical time.

    Parameters
    ----------
    original : dict
        As `report` takes it.

    Returns
    -------
    float
        CPU seconds.
    """
    missing = ORIGINAL_EPOCHS - len(original["epochs"])
    return _total(original) + missing * _typical(original)


def seconds_to(one: dict[str, Any], accuracy: float = PUBLISHED) -> float | None:
    """CPU seconds of training after which an accuracy was first reached.

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
    """Draw accuracy against CPU seconds of both recipes.

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
        ax.set_xlabel("CPU seconds of training (log scale)")
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
