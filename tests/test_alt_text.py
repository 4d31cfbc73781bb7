"""Figures and tables say in words what they show, wherever a lesson is read."""

from __future__ import annotations

import re
import sys

from course_tools import pages
from course_utils import alt_text, plotting
from course_utils.alt_text import (
    alternative_text,
    set_alternative_text,
    stored_text,
    title_of,
)
from course_utils.table_heads import with_scopes
from tests.support.kernel import run_cells

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure


def figure(title="", axes_titles=("", ""), labels=("", "")):
    made = Figure()
    made.suptitle(title) if title else None
    for ax, text, label in zip(made.subplots(1, 2), axes_titles, labels, strict=True):
        ax.set_title(text, loc="left")
        ax.set_ylabel(label)
    return made


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (figure("k = 10\nis best"), "Figure: k = 10 is best"),
        (figure("k = 10", ("left", "right")), "Figure: k = 10"),
        (figure(axes_titles=("left", "right")), "Figure: left | right"),
        (figure(axes_titles=("", "right")), "Figure: right"),
        (figure(labels=("recall", "time")), "Figure: recall | time"),
    ],
)
def test_a_figure_is_named_by_its_title_or_its_axes(made, words):
    assert title_of(made) == words


def test_a_title_in_the_middle_counts_too():
    made = Figure()
    made.subplots().set_title("in the middle", loc="center")
    assert title_of(made) == "Figure: in the middle"


def test_an_alternative_text_has_title_kind_axes_and_legend():
    made = Figure()
    ax = made.subplots()
    ax.plot([1, 2, 3], [0, 5, 10], label="ours")
    ax.legend(title="who")
    ax.set(title="Ours grows", xlabel="epoch", ylabel="loss (nats)", xlim=(1, 3))
    ax.set(xticks=[1, 2, 3], ylim=(0, 10), yticks=[0, 10])
    assert alternative_text(made) == (
        "Ours grows; lines; x axis: epoch, from 1 to 3; "
        "y axis: loss (nats), from 0 to 10; legend, who: ours."
    )


def test_panels_are_read_one_by_one_after_the_title_of_all():
    made = figure("Both fall", ("train", "validation"))
    for ax in made.axes:
        ax.bar(["a", "b"], [1, 2])
        ax.set(ylim=(0, 2), yticks=[0, 1, 2])
    assert alternative_text(made) == (
        "Both fall. Plot 1 of 2: train; bars; x axis: a, b; y axis: from 0 to 2. "
        "Plot 2 of 2: validation; bars; x axis: a, b; y axis: from 0 to 2."
    )


def test_numbers_on_a_logarithmic_axis_are_read_as_powers():
    made = Figure()
    made.subplots().loglog([1, 10, 1000], [1e-2, 1, 1])
    assert "x axis: from 10^0 to 10^3" in alternative_text(made)
    assert "from 10^-2 to 10^0" in alternative_text(made)


def test_ticks_that_are_numbers_and_not_texts_are_read_too():
    made = Figure()
    ax = made.subplots()
    ax.plot([1, 2, 3])
    ax.set_xticks([0, 2], [5, 10])
    assert "x axis: from 5 to 10" in alternative_text(made)


def test_pictures_are_counted_and_the_first_are_named():
    titles = [f"coat {number}" for number in range(20)]
    made = plotting.draw_pictures(np.zeros((20, 4, 4)), "Errors", titles=titles)
    text = alternative_text(made)
    assert text.startswith("Errors. 20 pictures: coat 0, coat 1, ")
    assert text.endswith("coat 11, and 8 more.")
    plt.close(made)


def test_pictures_of_one_name_in_a_row_are_named_once():
    titles = ["coat"] * 3 + ["bag", "coat"]
    made = plotting.draw_pictures(np.zeros((5, 4, 4)), "Found", titles=titles)
    expected = "Found. 5 pictures: coat (3 times), bag, coat."
    assert alternative_text(made) == expected
    plt.close(made)


def test_whatever_a_figure_is_it_is_shown(monkeypatch):
    monkeypatch.setattr(alt_text, "alternative_text", lambda figure: 1 / 0)
    made = figure("a title")
    assert alt_text._with_metadata(made) == ({}, {"image/png": {"alt": "a title"}})


def test_a_color_bar_and_a_grid_of_cells_are_named():
    made, ax = plt.subplots()
    made.colorbar(ax.imshow(np.eye(2)), label="pairs")
    assert alternative_text(made).startswith("A grid of coloured cells; x axis: ")
    assert alternative_text(made).endswith("Colour scale: pairs.")
    plt.close(made)


def test_a_figure_without_any_word_is_still_read():
    assert alternative_text(Figure()) == "Figure without words."


def test_ones_own_text_replaces_what_the_parts_say():
    made = figure("Map")
    set_alternative_text(made, "Coats lie left,\nshoes right.")
    assert alternative_text(made) == "Coats lie left, shoes right."
    set_alternative_text(made, "")
    assert alternative_text(made) == "Map."


def test_what_a_lesson_shows_carries_alternative_text_and_scopes():
    first = "import course_utils\nimport matplotlib.pyplot as plt\nimport pandas as pd"
    first += "\ncourse_utils.setup()"
    drawn = "plt.plot([1, 2, 3])\nplt.title('a line')\nplt.show()"
    table = "pd.DataFrame({'a': [1]}, index=['x'])"
    ran = run_cells(first, drawn, table).cells
    (line,), (frame,) = ran[1].outputs, ran[2].outputs
    assert line.data["text/plain"] == "Figure: a line"
    assert line.metadata["image/png"]["alt"].startswith("A line; lines; x axis: from 0")
    assert '<th scope="col">a</th>' in frame.data["text/html"]
    assert '<th scope="row">x</th>' in frame.data["text/html"]


def test_heads_without_words_are_cells_and_what_has_scopes_stays():
    frame = pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="word"))
    html = with_scopes(frame._repr_html_())
    assert len(re.findall(r"<th\b", html)) == html.count("<th scope=") == 3
    assert "<td></td>" in html
    assert with_scopes(html) == html
    assert with_scopes("<p>th and <thing></p>") == "<p>th and <thing></p>"


@pytest.mark.parametrize(
    ("data", "metadata", "text"),
    [
        ({"image/png": "", "text/plain": "Figure: a"}, {}, "a"),
        ({"image/png": "", "text/plain": "Figure: a"}, {"alt": "b"}, "b"),
        ({"image/jpeg": "", "text/plain": "<PIL.Image>"}, {}, "Picture"),
        ({"text/plain": "Figure: a"}, {}, None),
        ({}, {}, None),
    ],
)
def test_a_stored_picture_has_a_text_even_from_before_there_was_one(
    data, metadata, text
):
    kind = next(iter(data), "image/png")
    assert stored_text({"data": data, "metadata": {kind: metadata}}) == text


def test_pages_of_a_lesson_that_does_not_exist_end_with_one_sentence(
    capsys, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["pages", "13"])
    with pytest.raises(SystemExit, match=r"There is no lesson '13'\. There are: "):
        pages.main()
    assert capsys.readouterr().out == ""
