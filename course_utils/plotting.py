"""The figure style that all lessons share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from course_utils.evaluation import Interval

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which readers with any kind of colour vision can tell
# apart: https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, YELLOW, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#8C8C8C"
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, BLACK, GREY)


def use_style() -> None:
    """Set matplotlib's defaults: colours, sizes, a light grid, titles on the left.

    In a notebook, a figure's text form becomes what `describe` says: for readers who
    hear the page, and for tests that compare what a figure states.
    """
    import matplotlib as mpl
    import matplotlib.figure
    from cycler import cycler

    mpl.rcParams.update(
        {
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=PALETTE),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "figure.figsize": (8.0, 4.0),
            "font.size": 11,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "image.cmap": "cividis",
            "legend.frameon": False,
            "lines.linewidth": 2.0,
        }
    )
    # IPython drops formatters of figures when it sets up matplotlib; this it keeps.
    mpl.figure.Figure._repr_pretty_ = _print_description


def _print_description(figure: Figure, printer: Any, _: bool) -> None:
    printer.text(describe(figure))


def draw_intervals(
    ax: Axes,
    intervals: Mapping[str, Interval],
    *,
    colors: Sequence[str] | None = None,
    form: str = ".3f",
) -> None:
    """Draw measured numbers with their confidence intervals, one a line.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where; its y axis gets the names, the first on top.
    intervals : mapping of str to Interval
        What was measured, by name.
    colors : sequence of str, optional
        One for each; blue if left out.
    form : str
        How numbers are written beside the points.
    """
    for place, (name, one) in enumerate(intervals.items()):
        color = colors[place] if colors else BLUE
        reach = [[one.value - one.low], [one.high - one.value]]
        ax.errorbar(one.value, place, xerr=reach, fmt="o", color=color, capsize=4)
        # Above the point, where no other line of the figure passes.
        ax.annotate(
            format(one, form),
            (one.value, place),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    ax.set_yticks(range(len(intervals)), list(intervals))
    ax.set_ylim(len(intervals) - 0.5, -0.7)
    ax.margins(x=0.2)
    ax.grid(axis="y", visible=False)


def describe(figure: Figure) -> str:
    """Say in words what a figure shows.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        A finished figure.

    Returns
    -------
    str
        Its title, or those of its axes where it has none of its own; without any
        title, the labels of its axes.
    """
    parts = [figure.get_suptitle()]
    if not parts[0]:
        parts = [ax.get_title("left") or ax.get_title() for ax in figure.axes]
    if not any(parts):
        parts = [ax.get_ylabel() for ax in figure.axes]
    return "Figure: " + " | ".join(" ".join(part.split()) for part in parts if part)
