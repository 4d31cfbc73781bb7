"""Intervals cover the truth as often as they say, and scores are scikit-learn's."""

from __future__ import annotations

from course_utils.evaluation import (
    Interval,
    accuracy,
    bootstrap,
    macro_f1,
    mean_interval,
    paired_bootstrap,
)

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score


@pytest.mark.parametrize("seed", range(20))
def test_scores_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, answers = rng.integers(0, 1 + seed, size=(2, 60)) * 3
    assert accuracy(truth, answers) == pytest.approx(accuracy_score(truth, answers))
    assert macro_f1(truth, answers) == pytest.approx(
        f1_score(truth, answers, average="macro", zero_division=0)
    )


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(300):
        right = rng.random(150) < 0.8
        found = bootstrap(np.ones(150), right, n_draws=300, seed=trial)
        covered += found.low <= 0.8 <= found.high
    # Of 300 at 0.95, fewer than 268 have a chance of one in ten thousand.
    assert 268 <= covered < 300


def test_percentiles_are_those_of_scipys_bootstrap():
    rng = np.random.default_rng(2)
    values = rng.normal(size=80)

    def mean(_, drawn):
        return float(drawn.mean())

    ours = bootstrap(values, values, mean, n_draws=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=3
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.01)


def test_pairing_narrows_the_interval_of_a_difference():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 1_000)
    first = np.where(rng.random(1_000) < 0.9, truth, 1 - truth)
    second = first.copy()
    flipped = rng.permutation(1_000)[:40]
    second[flipped] = 1 - truth[flipped]  # wrong wherever it differs
    difference = paired_bootstrap(truth, first, second)
    alone = [bootstrap(truth, one) for one in (first, second)]
    assert difference.excludes_zero and difference.low > 0
    assert difference.value == pytest.approx(alone[0].value - alone[1].value)
    assert alone[0].low < alone[1].high, "apart, the two intervals overlap"
    turned = paired_bootstrap(truth, second, first)
    assert turned.excludes_zero and turned.value == -difference.value


def test_equal_models_are_not_ranked():
    truth = np.arange(50) % 3
    same = paired_bootstrap(truth, truth % 2, truth % 2, macro_f1)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.excludes_zero


def test_groups_are_drawn_whole():
    truth = np.ones(40)
    answers = np.repeat([1, 1, 0, 1], 10)  # ten queries of each of four users
    groups = np.repeat(list("abcd"), 10)
    whole = bootstrap(truth, answers, groups=groups)
    single = bootstrap(truth, answers)
    assert whole.value == single.value == 0.75
    assert whole.high - whole.low > 2 * (single.high - single.low)


def test_a_mean_over_seeds_has_students_interval():
    values = [0.91, 0.93, 0.92]
    found = mean_interval(values)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(theirs))
    assert not mean_interval([0.01, -0.02, 0.015]).excludes_zero
    with pytest.raises(ValueError, match="at least two seeds"):
        mean_interval([0.9])


@pytest.mark.parametrize(
    ("sizes", "groups"), [((3, 4), None), ((0, 0), None), ((3, 3), [1, 2])]
)
def test_what_does_not_fit_together_is_refused(sizes, groups):
    with pytest.raises(ValueError, match="entry an item|3 items and 2 groups"):
        bootstrap(*map(np.zeros, sizes), groups=groups)


def test_an_interval_is_written_with_its_ends():
    found = Interval(0.9124, 0.907, 0.9171)
    assert f"{found}" == str(found) == "0.912 [0.907, 0.917]"
    assert f"{Interval(0.01, -0.002, 0.022):+.3f}" == "+0.010 [-0.002, +0.022]"


def test_the_same_seed_gives_the_same_interval():
    truth, answers = np.arange(30) % 2, np.arange(30) % 3
    assert bootstrap(truth, answers) == bootstrap(truth, answers)
    assert bootstrap(truth, answers) != bootstrap(truth, answers, seed=1)
