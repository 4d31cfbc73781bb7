"""What a figure shows, in words, for readers who do not see it.

A figure has two texts. The short one, its title, is the text form that a notebook
stores and tests compare. The long one is the alternative text of its picture: title,
kind of plot, axes, legend. It stands in the output's metadata, where the HTML export,
the book and the course's extension of JupyterLab find it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# How many names of one kind are read out, and how many panels one by one.
NAMES, PANELS = 12, 4
PICTURES = ("image/png", "image/jpeg")
# How matplotlib writes numbers on a logarithmic axis.
FORMULA = re.compile(r"\$\\mathdefault\{(.*)\}\$")
POWER = re.compile(r"\^\{(.*?)\}")


def title_of(figure: Figure) -> str:
    """Give the short text of a figure, which states its finding.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        A finished figure.

    Returns
    -------
    str
        "Figure: " and its title, or those of its axes where it has none of its own;
        without any title, the labels of its axes.
    """
    parts = [figure.get_suptitle()]
    if not parts[0]:
        parts = [_title(ax) for ax in figure.axes]
    if not any(parts):
        parts = [ax.get_ylabel() for ax in figure.axes]
    return "Figure: " + " | ".join(_line(part) for part in parts if part)


def alternative_text(figure: Figure) -> str:
    """Say what a figure shows: title, kind of plot, axes with their range, legend.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        A finished figure.

    Returns
    -------
    str
        What `set_alternative_text` gave, or sentences made from the figure's parts.
    """
    own = getattr(figure, "_course_alternative_text", "")
    if own:
        return own
    shown = [ax for ax in figure.axes if ax.get_visible()]
    bars = [ax for ax in shown if ax.get_label() == "<colorbar>"]
    panels = [ax for ax in shown if ax not in bars]
    pictures = [ax for ax in panels if _is_picture(ax)]
    plots = [ax for ax in panels if ax not in pictures and ax.has_data()]
    several = len(plots) > 1
    sentences = [_line(figure.get_suptitle())]
    for number, ax in enumerate(plots[:PANELS], 1):
        words = _plot(ax)
        sentences.append(
            f"Plot {number} of {len(plots)}: {words}" if several else words
        )
    if len(plots) > PANELS:
        others = _list(_title(ax) for ax in plots[PANELS:])
        sentences.append(f"More plots: {others}")
    if pictures:
        titles = _counted(title for ax in pictures if (title := _title(ax)))
        many = f"{len(pictures)} pictures" if len(pictures) > 1 else "A picture"
        sentences.append(f"{many}: {_list(titles)}" if titles else many)
    scales = [label for ax in bars if (label := ax.get_ylabel() or ax.get_xlabel())]
    if scales:
        sentences.append(f"Colour scale: {_list(scales)}")
    legends = [one for one in figure.legends if one.get_visible()]
    sentences += [_legend(one) for one in legends]
    return " ".join(_closed(one) for one in sentences if one) or "Figure without words."


def set_alternative_text(figure: Figure, text: str) -> None:
    """Give a figure another alternative text than its parts make.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    text : str
        What a reader who does not see it should hear; empty for what its parts say.
    """
    figure._course_alternative_text = _line(text)


def describe_outputs() -> None:
    """Let figures that a notebook shows carry both texts, from here on."""
    from matplotlib.figure import Figure

    # IPython drops formatters of figures when it sets up matplotlib; these it keeps.
    Figure._repr_pretty_ = _print_title
    Figure._repr_mimebundle_ = _with_metadata


def _print_title(figure: Figure, printer: Any, _: bool) -> None:
    printer.text(title_of(figure))


def _with_metadata(
    figure: Figure, include: Any = None, exclude: Any = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        text = alternative_text(figure)
    except Exception:  # whatever a reader draws is shown
        text = title_of(figure).removeprefix("Figure: ")
    # No data: the picture is made by IPython's own formatters.
    return {}, {"image/png": {"alt": text}}


def stored_text(output: Mapping[str, Any]) -> str | None:
    """Find the alternative text of a stored output's picture.

    Parameters
    ----------
    output : mapping
        A notebook's output, as nbformat reads it.

    Returns
    -------
    str or None
        From the picture's metadata; else the figure's text form, for outputs that were
        stored before there was an alternative text; None where there is no picture.
    """
    data, metadata = output.get("data", {}), output.get("metadata", {})
    for kind in PICTURES:
        if kind in data:
            alt = metadata.get(kind, {}).get("alt") or data.get("text/plain", "")
            text = _line(alt).removeprefix("Figure: ")
            return "Picture" if text.startswith("<") or not text else text
    return None


def _is_picture(ax: Axes) -> bool:
    return bool(ax.images) and not ax.axison


def _plot(ax: Axes) -> str:
    parts = [_title(ax), _kinds(ax)]
    parts += [f"{name} axis: {words}" for name, words in _axes(ax)]
    legend = ax.get_legend()
    if legend and legend.get_visible():
        parts.append(_legend(legend))
    return "; ".join(part for part in parts if part)


def _kinds(ax: Axes) -> str:
    from matplotlib import collections, patches
    from matplotlib.container import BarContainer, ErrorbarContainer

    curves = [line for line in ax.lines if len(line.get_xdata()) > 2]
    visible = [one for one in ax.collections if one.get_visible()]

    def holds(parts: Iterable[Any], kinds: Any) -> bool:
        return any(isinstance(one, kinds) for one in parts)

    marked = any(line.get_linestyle() == "None" for line in curves)
    drawn = any(line.get_linestyle() != "None" for line in curves)
    kinds = {
        "bars": holds(ax.containers, BarContainer),
        "points with intervals": holds(ax.containers, ErrorbarContainer),
        "lines": drawn or holds(visible, collections.LineCollection),
        "points": marked or holds(visible, collections.PathCollection),
        "histograms": holds(ax.patches, patches.StepPatch | patches.Polygon),
        "density as shades": holds(visible, collections.QuadMesh),
        "coloured areas": holds(visible, collections.PolyCollection),
        "a grid of coloured cells": bool(ax.images),
    }
    if kinds["points with intervals"]:
        kinds["lines"] = kinds["points"] = False
    return " and ".join(name for name, there in kinds.items() if there)


def _axes(ax: Axes) -> Iterable[tuple[str, str]]:
    if not ax.axison:
        return
    for name, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
        if not axis.get_visible():
            continue
        parts = [_line(axis.get_label_text()), _span(axis)]
        if words := ", ".join(part for part in parts if part):
            yield name, words


def _span(axis: Axis) -> str:
    """From where to where an axis reaches, or the names along it."""
    low, high = sorted(axis.get_view_interval())
    places = axis.get_majorticklocs()
    written = axis.get_major_formatter().format_ticks(places)
    ticks = zip(places, map(_plain, map(str, written)), strict=False)
    texts = [text for place, text in sorted(ticks) if text and low <= place <= high]
    if not texts:
        return ""
    if all(any(letter.isalpha() for letter in text) for text in texts):
        return _list(texts)
    if len(texts) == 1:
        return f"at {texts[0]}"
    return f"from {texts[0]} to {texts[-1]}"


def _plain(text: str) -> str:
    """Read what matplotlib writes for numbers: its formulas and its minus sign."""
    text = FORMULA.sub(r"\1", _line(text)).replace(r"\times", " × ")
    return POWER.sub(r"^\1", text).replace("\N{MINUS SIGN}", "-")


def _title(ax: Axes) -> str:
    places = ("left", "center", "right")
    return next((_line(one) for p in places if (one := ax.get_title(p))), "")


def _legend(legend: Any) -> str:
    title = _line(legend.get_title().get_text())
    names = _list(text.get_text() for text in legend.get_texts())
    return f"legend, {title}: {names}" if title else f"legend: {names}"


def _list(names: Iterable[str]) -> str:
    every = [line for name in names if (line := _line(name))]
    more = len(every) - NAMES
    if more > 1:
        every = [*every[:NAMES], f"and {more} more"]
    return ", ".join(every)


def _counted(names: Iterable[str]) -> list[str]:
    """Join names that follow each other and are the same."""
    runs = [(name, len(list(run))) for name, run in groupby(names)]
    return [f"{name} ({n} times)" if n > 1 else name for name, n in runs]


def _line(text: str) -> str:
    return " ".join(text.split())


def _closed(sentence: str) -> str:
    sentence = sentence[0].upper() + sentence[1:]
    return sentence if sentence.endswith((".", "?", "!", "…")) else f"{sentence}."
