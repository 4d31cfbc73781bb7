"""Draw the figures in ``images/``: ``python -m course_tools.figures``.

The same bytes come out each time, so a test can tell a figure that somebody
edited by hand, or forgot to draw again, from one that is up to date.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from course_tools.lessons import ROOT, all_lessons
from course_utils import plotting

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

IMAGES = ROOT / "images"
FIGURES: dict[str, Callable[[], Figure]] = {}


def figure(function: Callable[[], Figure]) -> Callable[[], Figure]:
    """Register a function that draws ``<its name>.png``."""
    FIGURES[f"{function.__name__}.png"] = function
    return function


def draw(folder: str | Path = IMAGES) -> list[Path]:
    """Draw all figures into a folder and return their paths."""
    plt.switch_backend("Agg")
    plotting.use_style()
    paths = []
    for name, function in FIGURES.items():
        drawing = function()
        path = Path(folder) / name
        drawing.savefig(path, dpi=150, metadata={"Software": None})
        plt.close(drawing)
        paths.append(path)
    return paths


def _cell(ax, x, y, color, text="", ink="black", edge="white", size=1.0):
    """Draw one square of a grid, its lower left corner at (x, y)."""
    ax.add_patch(
        Rectangle((x, y), size, 1, facecolor=color, edgecolor=edge, linewidth=1.5)
    )
    ax.text(
        x + size / 2, y + 0.47, text, ha="center", va="center", color=ink, fontsize=10
    )


def _arrow(ax, start, end):
    """Draw an arrow between two points."""
    style = {"arrowstyle": "-|>", "color": "#444444", "linewidth": 1.6}
    ax.annotate("", end, start, arrowprops=style)


def _canvas(width, height, x, y):
    """Make an empty drawing of some inches, with equal units on both axes."""
    drawing, ax = plt.subplots(figsize=(width, height))
    ax.set(xlim=x, ylim=y, aspect="equal")
    ax.axis("off")
    return drawing, ax


@figure
def onehot() -> Figure:
    drawing, ax = _canvas(9, 4.1, (-2.7, 15.2), (-2.6, 6.2))
    columns = ["<pad>", "<unk>", "the", "a", "and", None, "film", None]
    columns += ["awful", None, "terrible", None]
    ids = {"<pad>": 0, "<unk>": 1, "the": 2, "a": 3, "and": 4, "film": 19}
    ids |= {"awful": 375, "terrible": 397}
    words = ["the", "terrible", "awful", "film"]
    for x, column in enumerate(columns):
        if column is None:
            continue
        ax.text(x + 0.3, 4.9, f"{column}", rotation=45, fontsize=10.5)
        ax.text(x + 0.5, 4.25, ids[column], ha="center", fontsize=9, color="#666666")
    ax.text(-0.35, 4.25, "id", ha="right", fontsize=9, color="#666666")
    for row, word in enumerate(words):
        y = 3 - row
        ax.text(-0.35, y + 0.47, word, ha="right", va="center", fontsize=13)
        for x, column in enumerate(columns):
            if column is None:
                ax.text(x + 0.5, y + 0.47, "…", ha="center", va="center", color="#666")
            elif column == word:
                _cell(ax, x, y, plotting.BLUE, "1", ink="white")
            else:
                _cell(ax, x, y, "#EDEDED", "0", ink="#999999")
    for y in range(4):
        ax.text(12.2, y + 0.47, "0 0 0 0", va="center", color="#999999", fontsize=10)
    bracket = {"arrowstyle": "|-|,widthA=0.4,widthB=0.4", "color": "#444444"}
    ax.annotate("", (0, -0.7), (14.6, -0.7), arrowprops=bracket)
    ax.text(
        7.3,
        -1.3,
        "one column for each word of the vocabulary: thousands,\n"
        "and a single 1 in every row",
        ha="center",
        va="top",
        fontsize=12,
    )
    return drawing


@figure
def embedding() -> Figure:
    drawing, ax = _canvas(9, 6.0, (-4.6, 17.4), (-7.6, 7.2))
    table = np.random.default_rng(3).normal(size=(6, 5))
    table[3] = [1.7, -0.9, 0.3, -2.1, 0.8]
    paint = plt.get_cmap("cividis")
    colors = paint(0.5 + table / 5)
    rows = ["0  <pad>", "1  <unk>", "⋮", "19  film", "⋮", "9999  indulgence"]

    def draw_row(x, y, row, edge="white"):
        for column in range(5):
            dark = colors[row, column, :3].sum() < 1.4
            text, ink = f"{table[row, column]:.1f}", "white" if dark else "black"
            _cell(ax, x + column, y, colors[row, column], text, ink, edge)

    # Above: the row is copied.
    ax.text(-4.4, 6.5, "Look up: take the row", fontsize=13, fontweight="bold")
    for row, label in enumerate(rows):
        y = 5 - row
        ax.text(1.7, y + 0.4, label, ha="right", va="center", fontsize=11)
        if label == "⋮":
            ax.text(4.5, y + 0.4, "⋮", ha="center", va="center", fontsize=11)
        else:
            draw_row(2, y, row)
    frame = {"facecolor": "none", "edgecolor": plotting.ORANGE, "linewidth": 3}
    ax.add_patch(Rectangle((2, 2), 5, 1, zorder=5, **frame))
    ax.text(-3.9, 2.45, "19", ha="center", va="center", fontsize=15, color="#B04A00")
    ax.text(-3.9, 1.75, "id of film", ha="center", va="center", fontsize=10)
    _arrow(ax, (-3.2, 2.5), (-0.9, 2.5))
    _arrow(ax, (7.3, 2.5), (10.5, 2.5))
    draw_row(11, 2, 3)
    ax.add_patch(Rectangle((11, 2), 5, 1, zorder=5, **frame))
    ax.text(13.5, 1.35, "the vector of film", ha="center", fontsize=11)
    ax.text(4.5, -0.75, "embedding table: one row a word", ha="center", fontsize=11)

    # Below: the same by a product.
    ax.text(-4.4, -2.3, "Multiply: one-hot row × table", fontsize=13, fontweight="bold")
    for x, digit in enumerate(["0", "0", "…", "1", "…", "0"]):
        blue = digit == "1"
        color = plotting.BLUE if blue else "#EDEDED"
        _cell(ax, x - 4.4, -4.9, color, digit, "white" if blue else "#888888")
    ax.text(-1.4, -5.65, "one-hot row of film", ha="center", fontsize=11)
    ax.text(2.75, -4.45, "×", ha="center", va="center", fontsize=17)
    for row in range(6):
        for column in range(5):
            ax.add_patch(
                Rectangle(
                    (3.9 + 0.8 * column, -3.0 - 0.65 * row),
                    0.8,
                    0.65,
                    facecolor=colors[row, column],
                    alpha=1 if row == 3 else 0.3,
                    edgecolor="white",
                )
            )
    ax.add_patch(Rectangle((3.9, -4.95), 4, 0.65, zorder=5, **frame))
    ax.text(5.9, -7.15, "table", ha="center", fontsize=11)
    ax.text(9.4, -4.45, "=", ha="center", va="center", fontsize=17)
    draw_row(11, -4.9, 3)
    ax.add_patch(Rectangle((11, -4.9), 5, 1, zorder=5, **frame))
    ax.text(13.5, -5.65, "the same vector", ha="center", fontsize=11)
    return drawing


@figure
def cnn() -> Figure:
    drawing, ax = _canvas(9, 3.3, (-0.6, 27.6), (-1.6, 8.6))
    steps = [(1, "1 layer"), (2, "2 layers"), (3, "3 layers")]
    for place, (reach, depth) in enumerate(steps):
        left, centre = 10 * place, 4
        for x in range(8):
            for y in range(8):
                seen = abs(x - centre) <= reach and abs(y - centre) <= reach
                middle = x == centre and y == centre
                color = plotting.SKY if seen else "#EDEDED"
                color = plotting.ORANGE if middle else color
                _cell(ax, left + 0.9 * x, 0.9 * y, color, size=0.9)
        across = f"{2 * reach + 1} × {2 * reach + 1}"
        ax.text(left + 3.6, 7.6, depth, ha="center", fontsize=13, fontweight="bold")
        sees = f"a unit sees {across} pixels"
        ax.text(left + 3.6, -1.0, sees, ha="center", fontsize=11)
        if place:
            _arrow(ax, (left - 2.4, 3.7), (left - 0.4, 3.7))
    return drawing


@figure
def cnn2() -> Figure:
    drawing, ax = _canvas(9, 3.3, (-0.5, 27.5), (-2.6, 7.4))
    ax.text(1.1, 2.6, "photo", ha="center", va="center", fontsize=12)
    _arrow(ax, (2.2, 2.6), (3.3, 2.6))
    x = 3.5
    for number in range(13):
        frozen = number < 4
        new = number >= 10
        high = 5.2 - 0.28 * number if not new else 2.0
        color = "#B5B5B5" if frozen else plotting.ORANGE if new else plotting.BLUE
        ax.add_patch(
            Rectangle(
                (x, 2.6 - high / 2), 1.1, high, facecolor=color, edgecolor="white"
            )
        )
        if frozen:
            # A small padlock: a body and a bow.
            ax.add_patch(Rectangle((x + 0.3, 2.3), 0.5, 0.45, facecolor="#333333"))
            ax.plot(
                [x + 0.4, x + 0.4, x + 0.7, x + 0.7], [2.75, 3.1, 3.1, 2.75], "#333"
            )
        x += 1.4 if not (number == 3 or number == 9) else 2.0
    _arrow(ax, (x + 0.1, 2.6), (x + 1.2, 2.6))
    ax.text(x + 1.4, 2.6, "answer", va="center", fontsize=12)
    parts = [(3.5, 8.8, "frozen", "keep what ImageNet taught")]
    parts += [(9.7, 17.8, "trainable", "may adapt to your photos")]
    parts += [(18.7, 22.6, "new head", "starts from nothing")]
    for start, end, name, what in parts:
        middle = (start + end) / 2
        ax.text(middle, 6.2, name, ha="center", fontsize=13, fontweight="bold")
        ax.plot([start, end], [-0.6, -0.6], color="#444444", linewidth=1.5)
        ax.text(middle, -1.7, what, ha="center", fontsize=10.5)
    return drawing


@figure
def cnn3() -> Figure:
    drawing, ax = _canvas(9, 4.2, (-0.5, 27.5), (-2.0, 11.0))
    ax.text(0, 10, "Once, slow", fontsize=13, fontweight="bold")
    ax.text(18.7, 10, "Often, fast", fontsize=13, fontweight="bold")
    for number, color in enumerate((plotting.GREEN, plotting.SKY, plotting.YELLOW)):
        corner = (0.2 + 0.5 * number, 2.6 + 0.6 * number)
        ax.add_patch(Rectangle(corner, 3, 3, facecolor=color, edgecolor="white", lw=2))
    ax.text(2.2, 1.3, "photos", ha="center", fontsize=11)
    _arrow(ax, (4.6, 4.7), (5.8, 4.7))
    for number in range(4):
        high = 5.2 - 0.8 * number
        corner = (6.1 + 0.95 * number, 4.7 - high / 2)
        ax.add_patch(Rectangle(corner, 0.8, high, facecolor="#B5B5B5"))
    ax.text(7.95, 1.3, "frozen network", ha="center", fontsize=11)
    _arrow(ax, (10.2, 4.7), (11.4, 4.7))
    paint = plt.get_cmap("cividis")
    numbers = np.random.default_rng(7).random((6, 5))
    for row, column in np.ndindex(6, 5):
        color = paint(numbers[row, column])
        _cell(ax, 11.7 + 0.9 * column, 2.2 + row * 0.9, color, size=0.9)
    ax.text(13.95, 1.3, "table of features:\none row a photo", ha="center", va="top")
    heads = [(7.2, "logistic regression"), (4.2, "nearest neighbours")]
    heads += [(1.2, "your idea")]
    for y, name in heads:
        _arrow(ax, (16.5, 4.7), (18.5, y + 0.75))
        corner = (18.7, y)
        ax.add_patch(Rectangle(corner, 8.2, 1.6, facecolor=plotting.ORANGE, alpha=0.9))
        ax.text(22.8, y + 0.75, name, ha="center", va="center", fontsize=12)
    return drawing


@figure
def siamese() -> Figure:
    drawing, ax = _canvas(10.4, 3.6, (-0.6, 21.4), (-3.9, 3.7))
    garment = np.zeros((7, 7))
    shirt, dress = garment.copy(), garment.copy()
    shirt[1:3, :], shirt[3:, 2:5], shirt[1, 3] = 1, 1, 0
    dress[0, [2, 4]], dress[1:4, 2:5], dress[4:, 1:6], dress[6, [0, 6]] = 1, 1, 1, 1
    style = {"boxstyle": "round,pad=0.6", "facecolor": "white", "linewidth": 2}
    rng = np.random.default_rng(5)
    for y, picture, name in ((1.9, shirt, "one"), (-1.9, dress, "other")):
        ax.imshow(picture, cmap="gray_r", extent=(0, 2.4, y - 1.2, y + 1.2), vmax=1.4)
        ax.add_patch(Rectangle((0, y - 1.2), 2.4, 2.4, fill=False, edgecolor="#888888"))
        ax.text(1.2, y - 1.35, name, ha="center", va="top", fontsize=11)
        _arrow(ax, (2.7, y), (4.2, y))
        box = style | {"edgecolor": plotting.BLUE}
        ax.text(6, y, "embedder", ha="center", va="center", fontsize=13, bbox=box)
        _arrow(ax, (7.8, y), (9.2, y))
        for k, tone in enumerate(plt.get_cmap("cividis")(rng.random(6))):
            corner = (9.5, y - 1.2 + 0.4 * k)
            ax.add_patch(Rectangle(corner, 0.8, 0.4, facecolor=tone, edgecolor="w"))
        _arrow(ax, (10.6, y), (12.0, 0.35 * y / 1.9))
    ax.text(
        6, 0, "same weights", ha="center", va="center", fontsize=10, color="#444444"
    )
    for end in (0.95, -0.95):
        _arrow(ax, (6, np.sign(end) * 0.3), (6, end))
    ax.text(9.9, -3.55, "32 numbers", ha="center", va="center", fontsize=10)
    box = style | {"edgecolor": plotting.ORANGE}
    ax.text(13.1, 0, "|a − b|", ha="center", va="center", fontsize=13, bbox=box)
    _arrow(ax, (14.2, 0), (15.1, 0))
    ax.text(16.6, 0, "sigmoid", ha="center", va="center", fontsize=13, bbox=box)
    ax.text(16.6, -1.0, "of a weighted sum", ha="center", va="center", fontsize=10)
    _arrow(ax, (18.1, 0), (19.0, 0))
    ax.text(20.2, 0, "same?\n0 … 1", ha="center", va="center", fontsize=12)
    return drawing


@figure
def neighbor_indexes() -> Figure:
    rng = np.random.default_rng(8)
    points = rng.uniform(0.3, 9.7, size=(46, 2))
    query = np.array([5.7, 3.9])
    order = np.argsort(((points - query) ** 2).sum(axis=1))
    near = order[:5]
    drawing, axes = plt.subplots(1, 4, figsize=(11, 3.3))
    titles = ["Flat: ask every row", "Trees: halve, and halve again"]
    titles += ["Lists: nearest cells only", "Graph: walk along links"]
    for ax, title in zip(axes, titles, strict=True):
        ax.set(xlim=(0, 10), ylim=(0, 10), aspect="equal", xticks=[], yticks=[])
        ax.grid(visible=False)
        ax.set_title(title, fontsize=11)
        for side in ax.spines.values():
            side.set(visible=True, color="#BBBBBB")

    for point in points:
        axes[0].plot(*zip(query, point, strict=True), color="#C9C9C9", linewidth=0.7)

    def halve(rows, low, high, depth):
        """Cut a box at the median of its rows; colour the one with the query."""
        if depth == 0:
            inside = np.all((query >= low) & (query < high))
            if inside:
                size = high - low
                patch = Rectangle(low, *size, facecolor=plotting.SKY, alpha=0.35)
                axes[1].add_patch(patch)
            return
        side = depth % 2
        cut = np.median(rows[:, side])
        ends = [[cut, cut], [low[1], high[1]]]
        if side:
            ends = [[low[0], high[0]], [cut, cut]]
        axes[1].plot(*ends, color="#999999", linewidth=0.5 + 0.4 * depth)
        middle_high, middle_low = high.copy(), low.copy()
        middle_high[side] = middle_low[side] = cut
        halve(rows[rows[:, side] < cut], low, middle_high, depth - 1)
        halve(rows[rows[:, side] >= cut], middle_low, high, depth - 1)

    halve(points, np.zeros(2), np.full(2, 10.0), 3)

    centres = np.array(
        [[1.8, 8.1], [5.2, 8.3], [8.4, 7.6], [2.0, 4.6], [5.0, 5.2], [8.1, 4.0]]
        + [[1.9, 1.5], [5.1, 1.8], [8.2, 1.1]]
    )
    grid = np.stack(np.meshgrid(*[np.linspace(0, 10, 300)] * 2), axis=-1)
    cells = ((grid[:, :, None] - centres) ** 2).sum(axis=-1).argmin(axis=-1)
    probed = np.argsort(((centres - query) ** 2).sum(axis=1))[:3]
    paint = np.ones((300, 300, 4))
    paint[np.isin(cells, probed)] = to_rgba(plotting.SKY, 0.35)
    axes[2].imshow(paint, origin="lower", extent=(0, 10, 0, 10), zorder=0)
    for cell in range(len(centres)):
        axes[2].contour(
            grid[..., 0],
            grid[..., 1],
            cells == cell,
            [0.5],
            colors="#999",
            linewidths=1,
        )
    axes[2].plot(*centres.T, "+", color="#555555", markersize=8)

    gaps = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    links = {i: np.argsort(gaps[i])[1:5] for i in range(len(points))}
    for start, ends in links.items():
        for end in ends:
            pair = zip(points[start], points[end], strict=True)
            axes[3].plot(*pair, color="#D0D0D0", linewidth=0.8)
    path = [int(points.sum(axis=1).argmin())]
    while True:
        step = min(links[path[-1]], key=lambda i: ((points[i] - query) ** 2).sum())
        here = ((points[path[-1]] - query) ** 2).sum()
        if ((points[step] - query) ** 2).sum() >= here:
            break
        path.append(int(step))
    axes[3].plot(*points[path].T, "-", color=plotting.GREEN, linewidth=2.5)

    for ax in axes:
        ax.plot(*points.T, "o", color=plotting.GREY, markersize=4)
        ax.plot(*points[near].T, "o", color=plotting.BLUE, markersize=6)
        ax.plot(*query, "*", color=plotting.ORANGE, markersize=14)
    return drawing


@figure
def surname_net() -> Figure:
    drawing, ax = _canvas(9, 5.2, (-3.6, 22.4), (-3.4, 12.1))
    letters = ["begin", "k", "o", "v", "a", "c", "end", "mask", "mask"]
    ids = [1, 17, 21, 28, 7, 9, 2, 0, 0]
    levels = [(-1.1, "ids"), (1.4, "embedding"), (4.5, "convolution"), (7.5, "GRU")]
    for y, level in levels:
        ax.text(-0.6, y + 0.3, level, ha="right", va="center", fontsize=12)
    paint = plt.get_cmap("cividis")
    numbers = np.random.default_rng(6).random((9, 3))
    for x, (letter, number) in enumerate(zip(letters, ids, strict=True)):
        left, real = 1.5 * x, x < 7
        gone = {"alpha": 1.0 if real else 0.45}
        size = 11.5 if real else 10
        ax.text(left + 0.55, -2.2, letter, ha="center", fontsize=size, **gone)
        ax.text(left + 0.55, -1.0, number, ha="center", fontsize=11, color="#666666")
        for row in range(3):
            color = paint(numbers[x, row]) if real else "#EDEDED"
            corner = (left, 0.2 + row)
            ax.add_patch(Rectangle(corner, 1.1, 1, facecolor=color, edgecolor="white"))
        for y, color in ((4.3, plotting.SKY), (7.2, plotting.BLUE)):
            color = color if real else "#DDDDDD"
            color = plotting.ORANGE if (x, y) == (6, 7.2) else color
            ax.add_patch(Rectangle((left, y), 1.1, 1.1, facecolor=color))
        _arrow(ax, (left + 0.55, 5.5), (left + 0.55, 7.1))
        if x:
            _arrow(ax, (left - 0.4, 7.75), (left, 7.75))
    for x in (2, 3, 4):
        ax.plot([1.5 * x + 0.55, 5.05], [3.3, 4.25], color="#444444", linewidth=1.4)
    _arrow(ax, (9.55, 8.4), (9.55, 9.9))
    ax.text(9.55, 10.2, "state at the true end", ha="center", fontsize=12)
    wrong = "state after the padding"
    ax.text(13.5, 7.6, wrong, va="center", fontsize=11, color="#777777")
    for y, name in ((10.6, "linear layer: nationality"), (8.9, "index: neighbours")):
        box = {"facecolor": plotting.ORANGE, "alpha": 0.85}
        ax.add_patch(Rectangle((16.4, y), 5.8, 1.2, **box))
        ax.text(19.3, y + 0.55, name, ha="center", va="center", fontsize=10.5)
    _arrow(ax, (12.7, 10.45), (16.2, 11.0))
    _arrow(ax, (12.7, 10.25), (16.2, 9.6))
    return drawing


@figure
def five_acts() -> Figure:
    drawing, ax = _canvas(9, 3.3, (-0.3, 20.3), (-2.3, 4.6))
    acts = [
        ("label a little", "250 posts,\none a thread", plotting.SKY),
        ("heuristics", "word lists,\na learner", plotting.SKY),
        ("the vote", "labels with\na confidence", plotting.YELLOW),
        ("fine-tune", "a head on a\nfrozen encoder", plotting.GREEN),
        ("search, judge", "posts that no-\nbody selected", plotting.ORANGE),
    ]
    for number, (name, what, color) in enumerate(acts):
        left = 4.1 * number
        ax.add_patch(Rectangle((left, 0), 3.4, 3.4, facecolor=color, alpha=0.75))
        ax.text(left + 0.15, 3.6, str(number + 1), fontsize=12, color="#555555")
        ax.text(left + 1.7, 2.6, name, ha="center", fontsize=12, weight="bold")
        ax.text(left + 1.7, 1.0, what, ha="center", va="center", fontsize=11)
        if number:
            _arrow(ax, (left - 0.7, 1.7), (left, 1.7))
    back = {"arrowstyle": "-|>", "color": "#444444", "linewidth": 1.6}
    ax.plot([18.1, 18.1, 5.8], [-0.1, -1.2, -1.2], color="#444444", linewidth=1.6)
    ax.annotate("", (5.8, -0.05), (5.8, -1.25), arrowprops=back)
    words = "another heuristic moves every later figure"
    ax.text(12, -2.0, words, ha="center", fontsize=11)
    return drawing


@figure
def triplet() -> Figure:
    drawing, ax = _canvas(9, 3.4, (-0.4, 19.4), (-0.6, 6.6))
    for left, title, other in ((0, "before", (4.6, 3.6)), (10.2, "after", (8.0, 5.2))):
        anchor, friend = (2.6, 2.6), (6.0, 1.8) if left == 0 else (4.3, 2.2)
        ax.text(left, 6.1, title, fontsize=12, weight="bold")
        places = (
            (anchor, plotting.BLUE, "o", "anchor"),
            (friend, plotting.BLUE, "o", "positive"),
            (other, plotting.ORANGE, "s", "negative"),
        )
        for end, color in ((friend, plotting.BLUE), (other, plotting.ORANGE)):
            xs, ys = (left + anchor[0], left + end[0]), (anchor[1], end[1])
            ax.plot(xs, ys, color=color, linewidth=1.4, linestyle="--")
        for (x, y), color, marker, name in places:
            ax.plot(left + x, y, marker, color=color, markersize=13)
            ax.text(left + x, y - 1.0, name, ha="center", fontsize=11)
        if left:
            turn = np.linspace(-0.35, 0.75, 40)
            for radius, line in ((1.75, "-"), (4.6, ":")):
                arc = left + anchor[0] + radius * np.cos(turn)
                ax.plot(arc, anchor[1] + radius * np.sin(turn), line, color="#777777")
            _arrow(ax, (left + 4.5, 3.75), (left + 6.1, 4.65))
            ax.text(left + 5.0, 3.2, "margin", fontsize=11, color="#555555")
    return drawing


# Where a lesson stands in the picture (column, row), its title and its subject.
LESSONS = {
    1: ((0, 2), "One-hot vs\nembeddings", "texts"),
    2: ((1, 2), "IMDB: learning\nan embedding", "texts"),
    3: ((2, 2), "Reuters topics:\nyour own network", "texts"),
    4: ((1, 1), "Transfer learning\nwith MobileNet", "pictures"),
    5: ((2, 1), "Siamese networks:\na map of garments", "pictures"),
    6: ((3, 2), "Surname\nlook-up", "search"),
    7: ((2, 0), "Fast\nneighbours", "search"),
    8: ((3, 1), "From raw stories\nto a tuned search", "search"),
    9: ((0, 1), "Word vectors\nfrom raw text", "texts"),
    10: ((0, 0), "Embeddings\nof things", "search"),
}
BUILD_ON = [(1, 2), (2, 3), (2, 4), (3, 6), (4, 5), (5, 7), (5, 8), (7, 8)]
BUILD_ON += [(1, 9), (9, 10)]


@figure
def lessons() -> Figure:
    drawing, ax = _canvas(9.6, 4.3, (-0.3, 24.6), (-0.4, 10.8))
    there = {lesson.number for lesson in all_lessons()} & set(LESSONS)
    colors = {"texts": plotting.SKY, "pictures": plotting.YELLOW}
    colors |= {"search": plotting.GREEN}
    corners = {}
    for number in sorted(there):
        (column, row), title, subject = LESSONS[number]
        x, y = corners[number] = 6.3 * column, 3.9 * row
        style = {"facecolor": colors[subject], "alpha": 0.75}
        ax.add_patch(Rectangle((x, y), 5.2, 2.4, **style))
        ax.text(x + 0.2, y + 1.9, f"{number:02}", fontsize=10, va="center")
        ax.text(x + 2.6, y + 0.9, title, fontsize=10.5, ha="center", va="center")
    for first, then in BUILD_ON:
        if {first, then} <= there:
            (x, y), (to_x, to_y) = corners[first], corners[then]
            if y == to_y:
                _arrow(ax, (x + 5.2, y + 1.2), (to_x, y + 1.2))
            elif x == to_x:
                _arrow(ax, (x + 2.6, y), (to_x + 2.6, to_y + 2.4))
            else:
                _arrow(ax, (x + 5.2, y + 1.2), (to_x + 2.6, to_y))
    for place, (subject, color) in enumerate(colors.items()):
        style = {"facecolor": color, "alpha": 0.75}
        ax.add_patch(Rectangle((8.2, 1.8 - 0.9 * place), 0.7, 0.6, **style))
        ax.text(9.3, 2.1 - 0.9 * place, subject, fontsize=10.5, va="center")
    return drawing


if __name__ == "__main__":
    for written in draw():
        print(written.name)
