"""Figures say in words what they show."""

from __future__ import annotations

from course_utils import plotting
from tests.support.kernel import texts_of

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
def test_a_figure_is_described_by_its_title_or_its_axes(made, words):
    assert plotting.describe(made) == words


def test_a_title_in_the_middle_counts_too():
    made = Figure()
    made.subplots().set_title("in the middle", loc="center")
    assert plotting.describe(made) == "Figure: in the middle"


def test_a_notebook_stores_the_description_with_the_picture():
    first = "import course_utils\nimport matplotlib.pyplot as plt\ncourse_utils.setup()"
    shown = "plt.plot([1, 2])\nplt.title('a line')\nplt.show()"
    assert texts_of(first, shown) == ["", "Figure: a line"]
