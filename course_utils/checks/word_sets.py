"""Exercise 1.5: the bias of word vectors towards two sets of words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.word_tables import alone, units

import numpy as np

Answer = Callable[..., Any]


def _word_sets() -> Iterator[Case]:
    rng = np.random.default_rng(18)
    for n_first, n_second, n_left, n_right, dim in ((4, 6, 3, 5, 3), (5, 2, 4, 2, 4)):
        sets = []
        for number in (n_first, n_second, n_left, n_right):
            lengths = rng.permutation(np.geomspace(0.3, 8, number))[:, None]
            sets.append(units(rng.normal(size=(number, dim))) * lengths)
        given = f"sets of {n_first}, {n_second}, {n_left} and {n_right} random vectors"
        yield Case(*(one.astype(np.float32) for one in sets), given=given)
    first, second = np.eye(3)[[0, 0, 2]], np.eye(3)[[1, 1, 2]]
    yield Case(first, second, np.eye(3)[:1], np.eye(3)[1:2])
    yield Case(second, first, np.eye(3)[:1], np.eye(3)[1:2])


def _effect(
    scale: Callable[[np.ndarray], np.ndarray],
    deviation: Any,
    inner: Any = np.mean,
    outer: Any = np.mean,
) -> Answer:
    def answer(*sets: np.ndarray) -> float:
        first, second, left, right = (scale(one.astype(float)) for one in sets)
        one, other = (
            inner(w @ left.T, axis=1) - inner(w @ right.T, axis=1)
            for w in (first, second)
        )
        return float((outer(one) - outer(other)) / deviation(one, other))

    return answer


def _pooled(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.std(np.r_[one, other]))


_effect_of = _effect(units, _pooled)


@reference(
    "1.5",
    hints=[
        "Scale all four sets to rows of length 1: then a product of two matrices holds "
        "all cosines between their rows.",
        "`(first @ left.T).mean(axis=1) - (first @ right.T).mean(axis=1)` is the "
        "leaning of each word of `first`, once rows have length 1. Do the same for "
        "`second`.",
        "Subtract the mean of `second` from that of `first`, and divide by `np.std` of "
        "both lists of leanings joined by `np.concatenate`.",
    ],
    cases=_word_sets,
    mistakes={
        "The sign is reversed: positive if `first` leans more to `left`.": (
            lambda *sets: -_effect_of(*sets)
        ),
        "Keep the sign: it is negative where `first` leans more to `right`.": (
            lambda *sets: abs(_effect_of(*sets)),
            lambda *sets: max(0.0, _effect_of(*sets)),
        ),
        "Divide by the standard deviation of all leanings.": (
            _effect(units, lambda one, other: 1.0)
        ),
        "`np.std` with its defaults divides by n; yours divides by n − 1.": (
            _effect(units, lambda one, other: np.std(np.r_[one, other], ddof=1))
        ),
        "The standard deviation is that of all words of both sets together.": (
            _effect(units, lambda one, other: (one.std() + other.std()) / 2 or 1.0),
            _effect(
                units,
                lambda one, other: np.sqrt((one.var() + other.var()) / 2) or 1.0,
            ),
        ),
        "A cosine needs rows of length 1: scale all four sets.": (
            _effect(lambda rows: rows, _pooled),
            lambda first, second, left, right: _effect(lambda rows: rows, _pooled)(
                units(first), units(second), left, right
            ),
            lambda first, second, left, right: _effect(lambda rows: rows, _pooled)(
                first, second, units(left), units(right)
            ),
        ),
        "Take the mean of the cosines with each word of `left` and `right`, not the "
        "cosine with their mean vector.": lambda *sets: _effect(units, _pooled)(
            *sets[:2], *(units(one).mean(axis=0, keepdims=True) for one in sets[2:])
        ),
        "Means, not sums: the sets differ in size.": (
            _effect(units, _pooled, inner=np.sum),
            _effect(units, _pooled, outer=np.sum),
        ),
        "You divided by the variance; `np.std` is its square root.": _effect(
            units, lambda one, other: np.var(np.r_[one, other])
        ),
        "The standard deviation is that of both sets, not of `first` alone.": _effect(
            units, lambda one, other: one.std() or 1.0
        ),
        "You divided columns by their length; each row has its own (axis=1).": _effect(
            lambda rows: units(rows.T).T, _pooled
        ),
        "That is the leaning of each word; I asked for one number.": (
            lambda first, second, left, right: np.ones(len(first) + len(second)),
            lambda first, second, left, right: np.ones(len(first)),
        ),
    },
    then=lambda answer: alone("bias", answer(*next(_word_sets()).arguments)),
    passed="An effect of 2 is the largest possible for sets of equal size; 0 means "
    "that the sets do not differ. The next cell asks whether chance would do the same.",
    atol=1e-4,
)
def bias(
    first: np.ndarray, second: np.ndarray, left: np.ndarray, right: np.ndarray
) -> float:
    """Add up cosines pair by pair (Caliskan et al. 2017, section "WEAT")."""

    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / math.hypot(*one) / math.hypot(*other))

    def leaning(word: np.ndarray) -> float:
        sides = [[cosine(word, other) for other in side] for side in (left, right)]
        return statistics.fmean(sides[0]) - statistics.fmean(sides[1])

    one, other = ([leaning(word) for word in words] for words in (first, second))
    between = statistics.fmean(one) - statistics.fmean(other)
    return between / statistics.pstdev([*one, *other])
