"""The figure style that all lessons share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from course_utils.evaluation import Interval

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

# Okabe and Ito's palette, which readers with any kind of colour vision can tell
# apart: https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, YELLOW, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#8C8C8C"
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, BLACK, GREY)
# Two more, where ten classes need one each; markers tell them apart as well.
TEN = (*PALETTE, "#7F3C8D", "#B8DE6F")
MARKERS = "osD^vP*X<>"


def use_style() -> None:
    """Set matplotlib's defaults: colours, sizes, a light grid, titles on the left.

    In a notebook, a figure carries its title and an alternative text from here on: see
    `course_utils.alt_text`.
    """
    from course_utils.alt_text import describe_outputs

    import matplotlib as mpl
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
    describe_outputs()


def draw_intervals(
    ax: Axes,
    intervals: Mapping[str, Interval],
    *,
    form: str = ".3f",
) -> None:
    """Draw measured numbers with their confidence intervals, one a line.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where; its y axis gets the names, the first on top.
    intervals : mapping of str to Interval
        What was measured, by name.
    form : str
        How numbers are written beside the points.
    """
    for place, one in enumerate(intervals.values()):
        reach = [[one.value - one.low], [one.high - one.value]]
        ax.errorbar(one.value, place, xerr=reach, fmt="o", color=BLUE, capsize=4)
        # Above the point, where no other line of the figure passes.
        ax.annotate(
            format(one, form),
            (one.value, place),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
        )
    ax.set_yticks(range(len(intervals)), list(intervals))
    ax.set_ylim(len(intervals) - 0.5, -0.7)
    ax.margins(x=0.2)
    ax.grid(axis="y", visible=False)


def draw_curve(
    ax: Axes,
    places: ArrayLike,
    intervals: Sequence[Interval],
    form: str = "o-",
    *,
    label: str = "",
) -> None:
    """Draw numbers with their confidence intervals over an x axis.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where.
    places : array-like of shape (n,)
        Along the x axis.
    intervals : sequence of n Interval
        What was measured at each.
    form : str
        Marker and line, as matplotlib writes them.
    label : str
        For the legend.
    """
    values = [one.value for one in intervals]
    reach = [
        [one.value - one.low for one in intervals],
        [one.high - one.value for one in intervals],
    ]
    ax.errorbar(places, values, reach, fmt=form, capsize=4, label=label)


def draw_history(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draw loss and accuracy by epoch, of training and validation items.

    Parameters
    ----------
    history : mapping of str to sequence of float
        What ``keras.Model.fit(...).history`` holds: ``loss``, ``accuracy`` and both
        again after ``val_``, one number an epoch.

    Returns
    -------
    matplotlib.figure.Figure
        Two axes; a dotted line marks the epoch with the lowest validation loss.
    """
    import matplotlib.pyplot as plt

    epochs = range(1, len(history["loss"]) + 1)
    step = -(-len(epochs) // 10)  # more than ten ticks would run into each other
    lowest = min(epochs, key=lambda epoch: history["val_loss"][epoch - 1])
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.6))
    labels = {"loss": "cross-entropy (nats)", "accuracy": "accuracy (share of items)"}
    for ax, (what, label) in zip(axes, labels.items(), strict=True):
        ax.plot(epochs, history[what], "o-", ms=4, label="trained on")
        ax.plot(epochs, history[f"val_{what}"], "s-", ms=4, label="validation")
        ax.axvline(lowest, color=GREY, linestyle=":")
        ax.set(xlabel="epoch", ylabel=label, xticks=epochs[step - 1 :: step])
    axes[1].legend(loc="lower right")
    return fig


def live_curve(finding: str, unit: str, level: tuple[str, float] | None = None) -> Any:
    """Make a Keras callback that redraws each batch's loss every four seconds.

    Keras reports a running mean; it is turned back into each batch's own loss.

    Parameters
    ----------
    finding : str
        Title of the figure.
    unit : str
        Of the loss.
    level : tuple of str and float, optional
        A dashed line to compare with: its name and height.

    Returns
    -------
    keras.callbacks.Callback
        It shows one figure, which grows while the network trains.
    """
    from course_utils.frameworks import import_keras

    import matplotlib.pyplot as plt
    from IPython.display import display

    fig, ax = plt.subplots(figsize=(8, 2.8))
    fig.suptitle(finding, x=0.01, ha="left", weight="bold")
    plt.close(fig)
    losses: list[float] = []
    told, shown = {"sum": 0.0, "drawn": 0.0}, display(fig, display_id=True)

    def redraw(logs: Any = None) -> None:
        ax.clear()
        ax.plot(range(1, len(losses) + 1), losses)
        if level:
            ax.axhline(level[1], color=GREY, linestyle="--", label=level[0])
            ax.legend()
        ax.set(xlabel="batch", ylabel=f"loss ({unit})")
        last = losses[-10:]
        ax.set_title(f"{losses[0]:.2f} at first, now {sum(last) / len(last):.2f}")
        shown.update(fig)

    def add(batch: int, logs: Any) -> None:
        before = told["sum"] if batch else 0.0
        told["sum"] = logs["loss"] * (batch + 1)
        losses.append(told["sum"] - before)
        if time.monotonic() - told["drawn"] > 4:
            redraw()
            told["drawn"] = time.monotonic()

    callback = import_keras().callbacks.LambdaCallback
    return callback(on_train_batch_end=add, on_train_end=redraw)


def draw_pictures(
    pictures: Sequence[ArrayLike] | np.ndarray,
    finding: str,
    *,
    titles: Sequence[str] = (),
    columns: int = 10,
    height: float = 1.0,
) -> Figure:
    """Draw grey pictures row by row, dark where they hold ink.

    Parameters
    ----------
    pictures : numpy.ndarray of shape (n, height, width)
        What to draw.
    finding : str
        Title of the figure.
    titles : sequence of n str, optional
        One above each picture.
    columns : int
        Pictures in a row.
    height : float
        Of a row, in inches.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, 8 inches wide.
    """
    import matplotlib.pyplot as plt

    rows = -(-len(pictures) // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(8, rows * height + 0.4), squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
    for ax, picture in zip(axes.flat, pictures, strict=False):
        ax.imshow(picture, cmap="gray_r")
    for ax, title in zip(axes.flat, titles, strict=False):
        ax.set_title(title, fontsize=9, weight="normal", loc="center")
    fig.suptitle(finding, x=0.01, ha="left", weight="bold")
    return fig


def draw_density(ax: Axes, points: np.ndarray, labels: np.ndarray, shown: int) -> Any:
    """Draw how densely points lie, and the first of them by label.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where.
    points : numpy.ndarray of shape (n, 2)
        Places.
    labels : numpy.ndarray of shape (n,)
        From 0 to 9.
    shown : int
        Points that are drawn one by one, a colour and a marker each label.

    Returns
    -------
    list
        One artist a label, for a legend.
    """
    ax.hist2d(*points.T, bins=40, norm="log", cmin=1, cmap="Greys", alpha=0.7)
    ax.use_sticky_edges = False
    ax.margins(0.04)
    ax.locator_params(axis="x", nbins=5)
    ax.grid(visible=False)
    few, drawn = labels[:shown], []
    for label in range(10):
        style = {"color": TEN[label], "marker": MARKERS[label], "edgecolor": "white"}
        at = points[:shown][few == label]
        drawn.append(ax.scatter(*at.T, s=30, linewidth=0.4, **style))
    return drawn


def draw_hexagons(ax: Axes, points: np.ndarray, labels: np.ndarray) -> float:
    """Colour hexagons of three points or more by their most frequent label.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where.
    points : numpy.ndarray of shape (n, 2)
        Places.
    labels : numpy.ndarray of shape (n,)
        From 0 to 9.

    Returns
    -------
    float
        Share of all points that have the label of their hexagon.
    """
    import numpy as np
    from matplotlib.colors import BoundaryNorm, ListedColormap

    cells: dict[str, Any] = {"C": labels, "gridsize": 20, "mincnt": 3}
    tints = {"cmap": ListedColormap(TEN), "norm": BoundaryNorm(range(11), 10)}
    x, y = points.T

    def most(some: Any) -> int:
        return int(np.bincount(some).argmax())

    def how_many(some: Any) -> int:
        return int(np.bincount(some).max())

    ax.hexbin(x, y, **cells, **tints, reduce_C_function=most)
    share = ax.hexbin(x, y, **cells, visible=False, reduce_C_function=how_many)
    ax.locator_params(axis="x", nbins=5)
    counts = np.asarray(share.get_array())
    return float(counts.sum() / len(labels))


def draw_signed(ax: Axes, names: Sequence[str], values: Sequence[float]) -> None:
    """Draw a bar a line, blue above zero and orange below.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where; the first bar is on top.
    names : sequence of n str
        Names of the bars, which may repeat.
    values : sequence of n float
        Their lengths.
    """
    colors = [BLUE if value > 0 else ORANGE for value in values]
    ax.barh(range(len(names)), values, color=colors)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)


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

# Square pixels of other points that a label may hide.
MOST_COVERED = 20


def draw_map(
    ax: Axes,
    points: np.ndarray,
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    fontsize: float = 9,
    size: float = 40,
    apart: float = 0,
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
    size : float
        Of the markers, their area in square points.
    apart : float
        Only points this far from others with a label get one, as a share of the
        picture's width or height, and only where it hides next to nothing; 0 labels
        all.
    """
    names = list(dict.fromkeys(groups))
    for number, name in enumerate(names):
        x, y = points[[group == name for group in groups]].T
        style = {"color": PALETTE[number % 8], "marker": "osD^vP*X"[number % 8]}
        ax.scatter(x, y, s=size, label=name, **style)
    ax.margins(0.08)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.1), "ncols": 4}
    ax.legend(**below)
    ax.figure.draw_without_rendering()  # the layout settles first
    half = 0.63 * size**0.5 * ax.figure.dpi / 72
    taken = [
        (x - half, y - half, x + half, y + half)
        for x, y in ax.transData.transform(points)
    ]
    frame = ax.get_window_extent().extents
    places = points / (points.max(axis=0) - points.min(axis=0))
    labelled: list[np.ndarray] = []
    for point, label, place in zip(points, labels, places, strict=True):
        if any(abs(place - other).max() < apart for other in labelled):
            continue
        labelled.append(place)
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
            hidden = sum(_overlap(box, other) for other in taken)
            outside = _overlap(box, box) - _overlap(box, frame)
            boxes.append((hidden + outside, text, box))
            if boxes[-1][0] < 0.5:  # of a pixel: areas are rounded
                break
        covered, kept, box = min(boxes, key=lambda one: one[0])
        # Where not all get a label, one that would hide points gets none.
        if apart and covered > MOST_COVERED:
            kept = None
        else:
            taken.append(box)
        for _, text, _ in boxes:
            if text is not kept:
                text.remove()


def draw_shares(
    ax: Axes, hits: Sequence[int], totals: Sequence[int], names: Sequence[str]
) -> None:
    """Draw shares in percent with Wilson's 95 % intervals, one a line.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where; the first is on top.
    hits, totals : sequences of n int
        How many of how many.
    names : sequence of n str
        Beside the lines.

    References
    ----------
    Wilson (1927), Probable Inference, the Law of Succession, and Statistical
    Inference, Journal of the American Statistical Association 22: it holds for few
    items too, and where all or none are hits.
    """
    from scipy.stats import binomtest

    for place, (k, n) in enumerate(zip(hits, totals, strict=True)):
        low, high = binomtest(int(k), int(n)).proportion_ci(method="wilson")
        ax.plot([100 * low, 100 * high], [place, place], color=GREY)
        ax.plot(100 * k / n, place, "o", color=BLUE)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0) * max(high, 0)
