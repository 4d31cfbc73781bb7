"""The figures that lessons share are drawn as they say."""

from __future__ import annotations

from course_utils import plotting
from course_utils.alt_text import title_of
from course_utils.evaluation import Interval

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure


def test_intervals_are_drawn_with_their_names_and_numbers():
    ax = Figure().subplots()
    found = {"ours": Interval(0.9, 0.88, 0.92), "theirs": Interval(0.8, 0.77, 0.83)}
    plotting.draw_intervals(ax, found)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ours", "theirs"]
    assert [text.get_text() for text in ax.texts] == [
        f"{one}" for one in found.values()
    ]
    assert ax.yaxis.get_inverted(), "the first is on top"


def test_a_curve_has_an_interval_at_each_place():
    ax = Figure().subplots()
    plotting.draw_curve(ax, [10, 20], [Interval(1, 0, 3), Interval(2, 1, 4)], label="a")
    _, _, (bars,) = ax.containers[0]
    ends = [[end for _, end in part] for part in bars.get_segments()]
    assert ends == [[0, 3], [1, 4]]


def test_a_history_marks_the_epoch_with_the_lowest_validation_loss():
    losses = {"loss": [3, 2, 1], "val_loss": [3, 1, 2]}
    shares = {"accuracy": [0.1, 0.2, 0.3], "val_accuracy": [0.1, 0.3, 0.2]}
    fig = plotting.draw_history(losses | shares)
    for ax in fig.axes:
        assert list(ax.lines[-1].get_xdata()) == [2, 2]
    plt.close(fig)


@pytest.mark.parametrize(
    ("n", "ticks"), [(3, [1, 2, 3]), (50, [5, 10, 15, 20, 25, 30, 35, 40, 45, 50])]
)
def test_a_history_has_at_most_ten_ticks(n, ticks):
    names = ("loss", "val_loss", "accuracy", "val_accuracy")
    fig = plotting.draw_history(dict.fromkeys(names, [0.5] * n))
    assert list(fig.axes[0].get_xticks()) == ticks
    plt.close(fig)


def test_bars_above_and_below_zero_have_different_colors():
    ax = Figure().subplots()
    plotting.draw_signed(ax, ["good", "bad"], [2.0, -1.0])
    colors = [to_hex(bar.get_facecolor()).upper() for bar in ax.patches]
    assert colors == [plotting.BLUE, plotting.ORANGE]


def test_a_square_of_pairs_has_each_number_in_its_cell():
    ax = Figure().subplots()
    plotting.draw_pairs(ax, np.array([[1, 0.25], [0.5, 1]]), ["a", "b"], low=0, high=1)
    assert {(t.get_position(), t.get_text()) for t in ax.texts} == {
        ((0, 0), "1.00"),
        ((1, 0), "0.25"),
        ((0, 1), "0.50"),
        ((1, 1), "1.00"),
    }


def test_labels_on_a_map_stand_beside_their_points_and_avoid_each_other():
    made = Figure(figsize=(6, 6), layout="constrained")
    ax = made.subplots()
    points = np.array([[0, 0], [0.02, 0.001], [1, 1], [0.99, 1.01]])
    labels = ["apple", "pear", "table", "chair"]
    plotting.draw_map(ax, points, labels, ["fruit", "fruit", "thing", "thing"])
    assert [text.get_text() for text in ax.texts] == labels
    assert np.array_equal([text.xy for text in ax.texts], points)
    made.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not any(a.overlaps(b) for a, b in pairs)
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown == ["fruit", "thing"]


def test_a_map_may_label_only_points_that_lie_apart():
    ax = Figure(figsize=(6, 6), layout="constrained").subplots()
    points = np.array([[0, 0], [0.02, 0.001], [1, 1], [0.5, 0.5]])
    plotting.draw_map(ax, points, list("abcd"), ["x"] * 4, size=14, apart=0.2)
    assert [text.get_text() for text in ax.texts] == ["a", "c", "d"]


def test_a_map_gives_no_label_that_would_hide_points():
    ax = Figure(figsize=(3, 3), layout="constrained").subplots()
    crowd = np.stack(np.meshgrid(*[np.linspace(0.4, 0.6, 12)] * 2), axis=-1)
    points = np.concatenate([crowd.reshape(-1, 2), [[0, 0], [1, 1]]])
    names = [*["inside"] * 144, "low", "high"]
    plotting.draw_map(ax, points, names, ["x"] * 146, size=14, apart=0.05)
    shown = [text.get_text() for text in ax.texts]
    assert {"low", "high"} <= set(shown) and shown.count("inside") < 9


def test_shares_have_intervals_that_hold_where_all_are_hits():
    ax = Figure().subplots()
    plotting.draw_shares(ax, [5, 1], [5, 4], ["all", "one"])
    bars = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2]
    assert bars[0][0] < 60 and bars[0][1] == 100
    assert 0 < bars[1][0] < 25 < bars[1][1]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["all", "one"]


def test_pictures_are_drawn_row_by_row_with_their_titles():
    made = plotting.draw_pictures(
        np.zeros((5, 4, 4)), "five", titles=list("abcde"), columns=3
    )
    assert title_of(made) == "Figure: five"
    assert [ax.get_title() for ax in made.axes] == [*"abcde", ""]
    plt.close(made)


def test_hexagons_tell_how_many_points_have_the_label_of_their_place():
    points = np.repeat([[0.0, 0.0], [1.0, 1.0]], 10, axis=0)
    labels = np.array([1] * 10 + [2] * 8 + [3] * 2)
    assert plotting.draw_hexagons(Figure().subplots(), points, labels) == 0.9


def test_density_is_drawn_with_a_mark_for_each_label():
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(300, 2)), rng.integers(0, 10, 300)
    marks = plotting.draw_density(Figure().subplots(), points, labels, shown=50)
    assert len(marks) == 10
    assert sum(len(mark.get_offsets()) for mark in marks) == 50
