"""How sure a measured score is: intervals, paired differences, several seeds.

The bootstrap is that of Efron (1979), *Bootstrap Methods: Another Look at the
Jackknife*, Annals of Statistics 7; the interval is that of percentiles: Efron and
Tibshirani (1993), *An Introduction to the Bootstrap*, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Score = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Interval:
    """A measured number and the ends of its confidence interval.

    Parameters
    ----------
    value : float
        What was measured.
    low, high : float
        Ends of the interval.
    level : float
        Its confidence, such as 0.95.
    """

    value: float
    low: float
    high: float
    level: float = 0.95

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside: only then a difference ranks two models."""
        return self.low > 0 or self.high < 0

    def __format__(self, form: str) -> str:
        """Write value and ends alike: ``:.3f`` gives 0.912 [0.907, 0.917]."""
        value, low, high = (
            format(x, form or ".3f") for x in (self.value, self.low, self.high)
        )
        return f"{value} [{low}, {high}]"

    def __str__(self) -> str:
        """Write three digits after the point."""
        return format(self, ".3f")


def accuracy(truth: ArrayLike, answers: ArrayLike) -> float:
    """Share of items that are answered rightly.

    Parameters
    ----------
    truth, answers : array-like of shape (n,)
        Labels.

    Returns
    -------
    float
        From 0 to 1.
    """
    return float(np.mean(np.asarray(truth) == np.asarray(answers)))


def macro_f1(truth: ArrayLike, answers: ArrayLike) -> float:
    """Mean of F1 over the classes that occur in truth or answers.

    F1 of a class is 2·hits / (items + answers), which is the harmonic mean of precision
    and recall; the same as scikit-learn's ``f1_score(..., average="macro")``.

    Parameters
    ----------
    truth, answers : array-like of int, shape (n,)
        Labels from 0 on.

    Returns
    -------
    float
        From 0 to 1.
    """
    truth, answers = np.asarray(truth), np.asarray(answers)
    size = int(max(truth.max(), answers.max())) + 1
    hits = np.bincount(truth[truth == answers], minlength=size)
    both = np.bincount(truth, minlength=size) + np.bincount(answers, minlength=size)
    occurs = both > 0
    return float(np.mean(2 * hits[occurs] / both[occurs]))


def bootstrap(
    truth: ArrayLike,
    answers: ArrayLike,
    score: Score = accuracy,
    *,
    groups: ArrayLike | None = None,
    n_draws: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Measure a score and its interval over test items.

    Parameters
    ----------
    truth : array-like of shape (n,)
        Labels of the test items.
    answers : array-like of shape (n, ...)
        What the model says of each.
    score : callable
        ``score(truth, answers)``, one number.
    groups : array-like of shape (n,), optional
        Items of one group, such as queries of one user, are drawn together.
    n_draws : int
        Draws with replacement, each of as many items (or groups) as there are.
    level : float
        Confidence of the interval.
    seed : int
        Chooses the draws.

    Returns
    -------
    Interval
        The score on all items, and the percentiles of the draws.

    Raises
    ------
    ValueError
        If there are no items, or not as many answers as labels.
    """
    truth, answers = _of_one_length(truth, answers)
    if score is accuracy and answers.ndim == 1:  # the same, in less time
        right = (truth == answers).astype(np.int8)
        draws = _means(right, _draws(len(truth), groups, n_draws, seed))
        return _interval(accuracy(truth, answers), draws, level)
    draws = [
        score(truth[rows], answers[rows])
        for rows in _draws(len(truth), groups, n_draws, seed)
    ]
    return _interval(score(truth, answers), draws, level)


def paired_bootstrap(
    truth: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    score: Score = accuracy,
    *,
    groups: ArrayLike | None = None,
    n_draws: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Measure how much higher the first of two models scores, with an interval.

    Both are scored on the same draws: what makes a draw easy makes it easy for both, so
    the difference varies less than the two scores do.

    Parameters
    ----------
    truth : array-like of shape (n,)
        Labels of the test items.
    first, second : array-like of shape (n, ...)
        What each model says of each item.
    score, groups, n_draws, level, seed
        As for `bootstrap`.

    Returns
    -------
    Interval
        Score of the first minus score of the second.

    Raises
    ------
    ValueError
        As `bootstrap`.
    """
    truth, first, second = _of_one_length(truth, first, second)
    if score is accuracy and first.ndim == second.ndim == 1:
        lead = (truth == first).astype(np.int8) - (truth == second)
        draws = _means(lead, _draws(len(truth), groups, n_draws, seed))
        return _interval(float(np.mean(lead)), draws, level)
    draws = [
        score(truth[rows], first[rows]) - score(truth[rows], second[rows])
        for rows in _draws(len(truth), groups, n_draws, seed)
    ]
    return _interval(score(truth, first) - score(truth, second), draws, level)


def mean_interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Interval of a mean of few independent numbers, such as scores of several seeds.

    Student's: mean ± t · s / √n, with n − 1 degrees of freedom (Student 1908, *The
    Probable Error of a Mean*, Biometrika 6).

    Parameters
    ----------
    values : array-like of shape (n,)
        At least two.
    level : float
        Confidence of the interval.

    Returns
    -------
    Interval
        The mean and its ends.

    Raises
    ------
    ValueError
        If there are fewer than two.
    """
    from scipy.stats import t

    values = np.asarray(values, float).ravel()
    if len(values) < 2:
        raise ValueError("One number has no interval: run at least two seeds.")
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    reach = float(t.ppf((1 + level) / 2, len(values) - 1) * error)
    return Interval(float(mean), float(mean - reach), float(mean + reach), level)


def _of_one_length(*arrays: ArrayLike) -> list[np.ndarray]:
    made = [np.asarray(one) for one in arrays]
    lengths = {len(one) for one in made}
    if len(lengths) > 1 or 0 in lengths:
        counts = ", ".join(str(len(one)) for one in made)
        raise ValueError(f"Truth and answers need one entry an item; got {counts}.")
    return made


def _means(values: np.ndarray, draws: Iterable[np.ndarray]) -> list[float]:
    return [int(values[rows].sum(dtype=np.int32)) / len(rows) for rows in draws]


def _draws(
    n_items: int, groups: ArrayLike | None, n_draws: int, seed: int
) -> Iterable[np.ndarray]:
    """Rows of each draw, one draw at a time: all of them take much memory."""
    rng = np.random.default_rng(seed)
    if groups is None:
        return (rng.integers(0, n_items, n_items) for _ in range(n_draws))
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(member) != n_items:
        raise ValueError(f"There are {n_items} items and {len(member)} groups.")
    rows = [np.flatnonzero(member == name) for name in range(len(names))]
    return (
        np.concatenate([rows[g] for g in rng.integers(0, len(rows), len(rows))])
        for _ in range(n_draws)
    )


def _interval(value: float, draws: Any, level: float) -> Interval:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high), level)
