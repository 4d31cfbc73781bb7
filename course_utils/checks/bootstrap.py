"""Exercise 2.2: the paired bootstrap, whatever the order in which it draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import as_array, fail

import numpy as np

Answer = Callable[..., Any]
# How far apart two bootstraps of 3,000 draws may end: a quarter of a standard error.
DRAWN = 0.002


def _two_models() -> list[Case]:
    """Labels, and the answers of two models that often err together."""
    cases = []
    for seed, size, labels, alike in ((22, 1200, 2, 0.7), (23, 1000, 4, 0.85)):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, labels, size)
        wrong = (truth + rng.integers(1, labels, size)) % labels
        first = np.where(rng.random(size) < 0.86, truth, wrong)
        apart = np.where(rng.random(size) < 0.75, truth, wrong)
        second = np.where(rng.random(size) < alike, first, apart)
        given = (
            f"{size:,} labels, two models' answers, n_draws = 3000 and seed = {seed}"
        )
        cases.append(Case(truth, first, second, 3_000, seed, given=given))
    # Few and skewed: an item that is never drawn, or a normal distribution, shows.
    for seed, missed, which in ((24, 3, "last"), (25, 0, "first")):
        truth = np.array([0, 1, 1, 0])
        second = np.where(np.arange(4) == missed, 1 - truth, truth)
        given = f"four labels, a model that is right and one that misses the {which}"
        cases.append(Case(truth, truth.copy(), second, 3_000, seed, given=given))
    return cases


def _drawn(score: Answer, ends: Sequence[float] = (0.025, 0.975)) -> Answer:
    """Make a wrong answer: percentiles of another number for each draw of items."""

    def answer(truth: Any, first: Any, second: Any, n_draws: int, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        size = len(truth)
        right, other = first == truth, second == truth
        draws = [score(right, other, rng, size) for _ in range(n_draws)]
        return np.quantile(draws, ends)

    return answer


def _gap(right: np.ndarray, other: np.ndarray, rows: np.ndarray) -> float:
    return right[rows].mean() - other[rows].mean()


def _paired(right: Any, other: Any, rng: Any, size: int) -> float:
    return _gap(right, other, rng.integers(0, size, size))


def _unpaired(right: Any, other: Any, rng: Any, size: int) -> float:
    one, two = rng.integers(0, size, size), rng.integers(0, size, size)
    return right[one].mean() - other[two].mean()


def _first_alone(right: Any, other: Any, rng: Any, size: int) -> float:
    return right[rng.integers(0, size, size)].mean()


def _every_draw(truth: Any, first: Any, second: Any, n_draws: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    right, other = first == truth, second == truth
    return np.array([_paired(right, other, rng, len(truth)) for _ in range(n_draws)])


def _normal(*given: Any) -> np.ndarray:
    draws = _every_draw(*given)
    return draws.mean() + 1.96 * draws.std() * np.array([-1, 1])


def _no_width(got: Any, expected: Any, truth: Any, *_: Any) -> str:
    if got.shape == expected.shape and got[0] == got[1]:
        return (
            "Both ends are the same: every draw came out alike. Make the generator "
            "once, before the loop, and draw with replacement: some items come twice, "
            "others not at all."
        )
    if got.shape == expected.shape and len(truth) < 10:
        return (
            "The ends are percentiles of the draws: with so few items a draw takes few "
            "values, and an end is one of them."
        )
    if was_rounded(got, expected):
        return "Did you round the ends? Return them as they are."
    if got.shape == expected.shape and got[0] <= got[1]:
        width = (got[1] - got[0]) / (expected[1] - expected[0])
        if width > 1.1:
            return "Too wide: does each draw have as many items as there are?"
        if width < 0.9:
            return "Too narrow: the middle 95 % of the draws lies between its ends."
    return ""


def was_rounded(got: np.ndarray, expected: np.ndarray) -> bool:
    """Whether numbers end after three digits where others do not."""

    def ends(numbers: np.ndarray) -> bool:
        return np.array_equal(numbers, numbers.round(3))

    return ends(got) and not ends(expected)


def expect_seeded(name: str, answer: Answer, *data: np.ndarray) -> None:
    """Insist that `n_draws` and `seed`, an answer's last arguments, decide the draws.

    Parameters
    ----------
    name : str
        The answer's name.
    answer : callable
        ``answer(*data, n_draws, seed)``, low and high end.
    *data : numpy.ndarray
        What it draws from.

    Raises
    ------
    ExerciseError
        When one draw has two ends, or the seed does not choose the draws.
    """

    def ends(n_draws: int, seed: int) -> np.ndarray:
        try:
            got = answer(*data, n_draws, seed)
        except Exception as error:
            error.add_note(f"It was called with n_draws = {n_draws}.")
            raise
        return np.ravel(as_array(name, got))

    one = ends(1, 5)
    if one[0] != one[1]:
        fail(
            "For n_draws = 1 both ends should be the same, your function returned "
            f"{one[0]:.4f} and {one[1]:.4f}. Does it draw `n_draws` times, and does "
            "`seed` alone choose the draws?"
        )
    if not np.array_equal(ends(40, 1), ends(40, 1)):
        fail(
            "The same seed gave two different intervals: draw from "
            "`np.random.default_rng(seed)`."
        )
    if np.array_equal(ends(40, 1), ends(40, 2)):
        fail(
            "Two seeds gave the same interval of 40 draws: make the generator with "
            "`np.random.default_rng(seed)`, and draw from it."
        )


def _with_few_draws(answer: Answer) -> None:
    expect_seeded("difference_interval", answer, *_two_models()[0].arguments[:3])


def _close_to(got: Any, expected: Any, *_: Any) -> bool:
    """Accept other random streams: 3,000 draws leave a standard error of 0.0005."""
    return got.shape == expected.shape and np.allclose(
        got, expected, atol=DRAWN, rtol=0
    )


@reference(
    "2.2",
    hints=[
        "Per draw: which items? Then one accuracy for each model on those items, and "
        "their difference. After the loop: between which two values lies the middle "
        "95 %?",
        "`rng = np.random.default_rng(seed)` once; in the loop "
        "`rows = rng.integers(0, len(truth), len(truth))`. Both models are scored on "
        "`truth[rows]`.",
        "Collect `np.mean(first[rows] == truth[rows]) - np.mean(second[rows] == "
        "truth[rows])` in a list; return `np.quantile(draws, [0.025, 0.975])`.",
    ],
    cases=_two_models,
    mistakes={
        "Each draw has as many items as there are, `len(truth)`, not n_draws.": (
            lambda truth, first, second, n_draws, seed: _drawn(
                lambda right, other, rng, size: _gap(
                    right, other, rng.integers(0, size, n_draws)
                )
            )(truth, first, second, n_draws, seed)
        ),
        "That is a sum over the draw; divide by the number of items.": _drawn(
            lambda right, other, rng, size: size * _paired(right, other, rng, size)
        ),
        "`rng.integers(0, n)` ends before n: with n − 1 the last item is never "
        "drawn.": _drawn(
            lambda right, other, rng, size: _gap(
                right, other, rng.integers(0, size - 1, size)
            )
        ),
        "`rng.integers(1, n)` begins at 1: the first item, 0, is never drawn.": _drawn(
            lambda right, other, rng, size: _gap(
                right, other, rng.integers(1, size, size)
            )
        ),
        "Those are the mean and 1.96 standard deviations to each side; I asked for the "
        "percentiles of the draws, which need not be symmetric.": _normal,
        "Draw as many items as there are, with replacement; half of them without "
        "replacement is another method.": _drawn(
            lambda right, other, rng, size: _gap(
                right, other, rng.choice(size, size // 2, replace=False)
            )
        ),
        "You drew items for each model separately. Both must answer the same items: "
        "what makes a draw easy then makes it easy for both.": _drawn(_unpaired),
        "That is the second model minus the first; I asked for first minus second.": (
            _drawn(lambda right, other, *rest: _paired(other, right, *rest))
        ),
        "That is the middle 90 %: cut off 2.5 % at each end, not 5 %.": (
            _drawn(_paired, (0.05, 0.95))
        ),
        "That is one standard deviation to each side, about the middle 68 %.": (
            _drawn(_paired, (0.1587, 0.8413))
        ),
        "Those are the smallest and the largest draw; more draws would move them "
        "apart. Take the percentiles 2.5 and 97.5.": _drawn(_paired, (0, 1)),
        "The upper end came first; return low, then high.": (
            _drawn(_paired, (0.975, 0.025))
        ),
        "That is the interval of the first model's accuracy; I asked for that of the "
        "difference.": _drawn(_first_alone),
        "That is in percent; I asked for shares from 0 to 1.": (
            _drawn(lambda *given: 100 * _paired(*given))
        ),
        "Those are the items' own differences, −1, 0 or 1. Average them over a draw, "
        "then look at many draws.": (
            lambda truth, first, second, *_: np.quantile(
                (first == truth) * 1.0 - (second == truth), [0.025, 0.975]
            )
        ),
        "That is the difference itself; I asked for the two ends of its interval.": (
            lambda truth, first, second, *_: (
                np.mean(first == truth) - np.mean(second == truth)
            )
        ),
        "Those are all the draws; return their percentiles 2.5 and 97.5.": _every_draw,
    },
    accepts=_close_to,
    slip=_no_width,
    then=_with_few_draws,
    # Mistakes are recognised from other random streams too.
    atol=DRAWN,
    passed="Both models answered the same reviews in each draw. If zero lies outside, "
    "the difference is more than the choice of reviews explains; if it lies inside, "
    "these items cannot rank the two.",
)
def difference_interval(
    truth: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    n_draws: int,
    seed: int,
) -> np.ndarray:
    """Draw how many items favour the first, the second, or neither: far more draws."""
    lead = (first == truth).astype(int) - (second == truth).astype(int)
    shares = [np.mean(lead == sign) for sign in (1, -1, 0)]
    rng = np.random.default_rng(1_000 + seed)
    counts = rng.multinomial(len(truth), shares, size=200_000)
    return np.quantile((counts[:, 0] - counts[:, 1]) / len(truth), [0.025, 0.975])
