"""Draw every figure that the lessons show: ``python images/draw.py``.

The same bytes come out each time, so a test can tell a figure that somebody
edited by hand, or forgot to draw again, from one that is up to date.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from course_utils import plotting  # noqa: E402

HERE = Path(__file__).resolve().parent
FIGURES: dict[str, Callable[[], Figure]] = {}


def figure(function: Callable[[], Figure]) -> Callable[[], Figure]:
    """Register a function that draws ``<its name>.png``."""
    FIGURES[f"{function.__name__}.png"] = function
    return function


def draw(folder: Path = HERE) -> list[Path]:
    """Draw all figures into a folder and return their paths."""
    plotting.use_style()
    paths = []
    for name, function in FIGURES.items():
        drawing = function()
        path = folder / name
        drawing.savefig(path, dpi=150, metadata={"Software": None})
        plt.close(drawing)
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in draw():
        print(written.name)
