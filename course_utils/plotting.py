"""The figure style that all lessons share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
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


def draw_pairs(
    ax: Axes, values: np.ndarray, labels: Sequence[str], *, low: float, high: float
) -> None:
    """Draw a square of numbers, one for each pair of things, and write each down.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    values : numpy.ndarray of shape (n, n)
        A number for each pair.
    labels : sequence of str
        The things, along both axes.
    low, high : float
        Numbers at the two ends of the colour scale.
    """
    ax.imshow(values, vmin=low, vmax=high, cmap="cividis")
    for row, column in ((i, j) for i in range(len(labels)) for j in range(len(labels))):
        value = values[row, column]
        ink = "white" if value < (low + high) / 2 else "black"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink)
    ax.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    ax.set_yticks(range(len(labels)), labels)
    ax.grid(visible=False)


# Where a label may stand beside its point: shift in points, and alignment.
SIDES = (
    (6, 0, "left", "center"),
    (-6, 0, "right", "center"),
    (0, 6, "center", "bottom"),
    (0, -6, "center", "top"),
    (4, 4, "left", "bottom"),
    (4, -4, "left", "top"),
    (-4, 4, "right", "bottom"),
    (-4, -4, "right", "top"),
)


def draw_map(
    ax: Axes,
    points: np.ndarray,
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    fontsize: float = 9,
) -> None:
    """Draw labelled points, a colour and a marker a group; labels avoid each other.

    Each label takes the side of its point where it covers least; no point is moved.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    points : numpy.ndarray of shape (n, 2)
        Places.
    labels, groups : sequences of str, of length n
        Text beside each point, and the name of its group for the legend.
    fontsize : float
        Of the labels, in points.
    """
    names = list(dict.fromkeys(groups))
    for number, name in enumerate(names):
        x, y = points[[group == name for group in groups]].T
        style = {"color": PALETTE[number % 8], "marker": "osD^vP*X"[number % 8]}
        ax.scatter(x, y, s=40, label=name, **style)
    ax.margins(0.08)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.1), "ncols": 4}
    ax.legend(**below)
    ax.figure.draw_without_rendering()  # the layout settles first
    half = 4 * ax.figure.dpi / 72
    taken = [
        (x - half, y - half, x + half, y + half)
        for x, y in ax.transData.transform(points)
    ]
    for point, label in zip(points, labels, strict=True):
        boxes = []
        for right, up, across, along in SIDES:
            text = ax.annotate(
                label,
                point,
                (right, up),
                textcoords="offset points",
                ha=across,
                va=along,
                fontsize=fontsize,
            )
            box = text.get_window_extent().extents
            boxes.append((sum(_overlap(box, other) for other in taken), text, box))
            if not boxes[-1][0]:
                break
        _, kept, box = min(boxes, key=lambda one: one[0])
        taken.append(box)
        for _, text, _ in boxes:
            if text is not kept:
                text.remove()


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0) * max(high, 0)
