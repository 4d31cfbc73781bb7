"""Checks of lesson 09, Word vectors from raw text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.skip_gram_training import train
from course_utils.checks.summary import summary_of

import numpy as np

__all__ = ["train"]  # the check of 9.4 comes from a module of its own
Answer = Callable[..., Any]


# --- 9.1 -----------------------------------------------------------------------


def _reviews() -> list[Case]:
    return [
        Case(np.array([7, 3, 9, 4]), np.array([1, 2, 1, 3])),
        Case(np.array([5, 5, 8, 2, 6, 1]), np.array([2, 1, 3, 1, 2, 5])),
        Case(np.array([4]), np.array([2])),
    ]


def _pairs(meets: Callable[..., bool]) -> Answer:
    """Pair places that meet, by one rule or another."""

    def paired(ids: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places = itertools.product(range(len(ids)), repeat=2)
        found = [(i, j) for i, j in places if meets(i, j, reach)]
        centers, contexts = ([ids[pair[side]] for pair in found] for side in (0, 1))
        return np.array(centers, int), np.array(contexts, int)

    return paired


def _sorted(pairs: tuple[np.ndarray, np.ndarray]) -> list[tuple[float, float]]:
    return sorted(zip(*(side.ravel().tolist() for side in pairs), strict=False))


def _same_pairs(got: Any, expected: Any, *_: Any) -> bool:
    return len(got[0]) == len(got[1]) and _sorted(got) == _sorted(expected)


def _slip_of_pairs(got: Any, expected: Any, *_: Any) -> str | None:
    if len(got[0]) != len(got[1]):
        return "Centres and contexts are the two halves of pairs: equally many of each."
    if _sorted((got[1], got[0])) == _sorted(expected):
        return "Centres and contexts have changed places."
    if len(got[0]) != len(expected[0]):
        return f"You made {len(got[0])} pairs; there are {len(expected[0])}."
    return None


@reference(
    "9.1",
    hints=[
        "Two loops: over the places of the centres, and over the places from "
        "`place - reach[place]` to `place + reach[place]`.",
        "Places below 0 or beyond the end do not exist, and a word is not its own "
        "context.",
        "`for place in range(len(ids)): for other in range(max(0, place - "
        "reach[place]), min(len(ids), place + reach[place] + 1)): if other != place:` "
        "append `ids[place]` to the one list and `ids[other]` to the other.",
    ],
    cases=_reviews,
    mistakes={
        "A word is not its own context: leave the centre's own place out.": _pairs(
            lambda i, j, reach: abs(i - j) <= reach[i]
        ),
        "The reach is the centre's, not the context's.": _pairs(
            lambda i, j, reach: 0 < abs(i - j) <= reach[j]
        ),
        "The window goes to both sides; only contexts after the centre came.": _pairs(
            lambda i, j, reach: 0 < j - i <= reach[i]
        ),
        "The window goes to both sides; only contexts before the centre came.": _pairs(
            lambda i, j, reach: 0 < i - j <= reach[i]
        ),
        "A reach of 2 takes two words on each side; yours stops one short.": _pairs(
            lambda i, j, reach: 0 < abs(i - j) < reach[i]
        ),
        "Each word has a reach of its own; you used the largest for all.": _pairs(
            lambda i, j, reach: 0 < abs(i - j) <= max(reach)
        ),
    },
    slip=_slip_of_pairs,
    accepts=_same_pairs,
    passed="Every pair is one example to learn from: no label, only neighbours.",
)
def window_pairs(ids: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ask of each two places whether they meet."""
    return _pairs(lambda i, j, reach: 0 < abs(i - j) <= reach[i])(ids, reach)


# --- 9.2 -----------------------------------------------------------------------


def _counts() -> list[Case]:
    return [
        Case(np.array([60_000, 30_000, 9_000, 990, 10]), 1e-2),
        Case(np.array([500, 400, 90, 10]), 0.2),
    ]


@reference(
    "9.2",
    hints=[
        "First the share of each word: its count divided by the sum of all.",
        "`ratio = threshold / share`; the probability is `np.sqrt(ratio) + ratio`, but "
        "a probability is never above 1.",
        "`np.minimum(1, np.sqrt(ratio) + ratio)`",
    ],
    cases=_counts,
    mistakes={
        "A probability is 1 at most; some of yours are larger.": (
            lambda counts, threshold: (
                np.sqrt(threshold * counts.sum() / counts)
                + threshold * counts.sum() / counts
            )
        ),
        "Divide the counts by their sum: f is a share.": (
            lambda counts, threshold: np.minimum(
                1, np.sqrt(threshold / counts) + threshold / counts
            )
        ),
        "The second term, t / f, is missing.": (
            lambda counts, threshold: np.minimum(
                1, np.sqrt(threshold * counts.sum() / counts)
            )
        ),
        "That is the probability to leave a word out; return 1 minus it.": (
            lambda counts, threshold: (
                1
                - np.minimum(
                    1,
                    np.sqrt(threshold * counts.sum() / counts)
                    + threshold * counts.sum() / counts,
                )
            )
        ),
    },
    passed="Frequent words lose most of their uses, rare ones none.",
)
def keep_probability(counts: np.ndarray, threshold: float) -> np.ndarray:
    """Compute word by word."""
    ratios = [threshold * sum(counts.tolist()) / count for count in counts.tolist()]
    return np.array([min(1.0, math.sqrt(ratio) + ratio) for ratio in ratios])


# --- 9.3 -----------------------------------------------------------------------


def _vectors() -> list[Case]:
    rng = np.random.default_rng(93)
    cases = []
    for n_negatives, dim in ((1, 3), (5, 4), (3, 8)):
        center, context = rng.normal(size=(2, dim))
        negatives = rng.normal(size=(n_negatives, dim))
        given = f"vectors of {dim} numbers and {n_negatives} negatives"
        cases.append(Case(center, context, negatives, given=given))
    return cases


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _by_hand(
    true: Callable[[Any], Any] = lambda score: _sigmoid(score) - 1,
    noise: Callable[[Any], Any] = _sigmoid,
    of_center: Callable[..., Any] | None = None,
) -> Answer:
    """Compute the gradients, with other factors of the two kinds of scores."""

    def computed(center: Any, context: Any, negatives: Any) -> tuple[Any, ...]:
        one, many = true(context @ center), noise(negatives @ center)
        d_center = one * context + many @ negatives
        if of_center is not None:
            d_center = of_center(one, many, context, negatives)
        return d_center, one * center, many[:, None] * center

    return computed


@reference(
    "9.3",
    hints=[
        "Compute two errors first: σ(u·v) − 1 for the true context, and σ(n·v) for "
        "every negative.",
        "`miss = sigmoid(context @ center) - 1`, `false = sigmoid(negatives @ "
        "center)`. A context's gradient is its error times the centre's vector.",
        "`miss * context + false @ negatives, miss * center, false[:, None] * center`",
    ],
    cases=_vectors,
    mistakes={
        "The signs are reversed: the gradient points uphill, the step goes against "
        "it.": _by_hand(lambda s: 1 - _sigmoid(s), lambda s: -_sigmoid(s)),
        "For the true context the error is σ(u·v) − 1: the label 1 is missing.": (
            _by_hand(true=_sigmoid)
        ),
        "For negatives the label is 0, so the error is σ(n·v).": (
            _by_hand(noise=lambda score: _sigmoid(score) - 1)
        ),
        "The centre's gradient has a part from each negative as well.": (
            _by_hand(of_center=lambda one, many, context, negatives: one * context)
        ),
        "Add the negatives' parts up; you took their mean.": _by_hand(
            of_center=lambda one, many, context, negatives: (
                one * context + many @ negatives / len(negatives)
            )
        ),
    },
    passed="Your gradients agree with PyTorch's to 1e-6. Each is an error times a "
    "vector: the true context is pulled nearer, negatives are pushed away.",
)
def gradients(center: Any, context: Any, negatives: Any) -> tuple[Any, ...]:
    """Let PyTorch differentiate the loss."""
    import torch

    made = [torch.tensor(x, requires_grad=True) for x in (center, context, negatives)]
    softplus = torch.nn.functional.softplus
    loss = softplus(-made[1] @ made[0]) + softplus(made[2] @ made[0]).sum()
    loss.backward()
    return tuple(part.grad.numpy() for part in made if part.grad is not None)


# --- 9.5 -----------------------------------------------------------------------

N_DRAWS = 20_000


def _leanings() -> list[Case]:
    given = "leanings {} and {}, n_draws = {:,}"
    cases: list[Case] = []
    for first, second in (
        ([0.3, 0.1, 0.25, 0.2], [0.15, 0.0, 0.05, 0.28]),
        ([0.4, -0.1, 0.2], [0.1, -0.2, 0.0, 0.3, 0.05]),
        ([0.0, 0.1, -0.3, 0.05], [0.2, 0.1, -0.1, 0.15]),
        ([0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4]),
    ):
        cases.append(
            Case(
                np.array(first),
                np.array(second),
                N_DRAWS,
                np.random.default_rng(len(cases)),
                given=given.format(first, second, N_DRAWS),
            )
        )
    return cases


def _near(
    got: Any, expected: Any, first: Any, second: Any, n_draws: int, *_: Any
) -> bool:
    if np.ndim(got):
        return False
    error = math.sqrt(expected * (1 - expected) / n_draws)
    return bool(0 <= got <= 1 and abs(got - expected) < 5 * error + 2 / n_draws)


def _exact(reached: Callable[[float, float], bool]) -> Answer:
    """Go through all divisions, and count those that reach the difference."""

    def share(first: Any, second: Any, *_: Any) -> float:
        both = np.concatenate([first, second])
        total, n, m = both.sum(), len(first), len(second)
        observed = first.mean() - second.mean()
        sums = [sum(c) for c in itertools.combinations(both.tolist(), n)]
        gaps = [one / n - (total - one) / m for one in sums]
        return float(np.mean([reached(gap, observed) for gap in gaps]))

    return share


def _with_replacement(first: Any, second: Any, n_draws: int, rng: Any) -> float:
    both = np.concatenate([first, second])
    drawn = rng.choice(both, (n_draws, len(both)))
    gaps = drawn[:, : len(first)].mean(axis=1) - drawn[:, len(first) :].mean(axis=1)
    return float(np.mean(gaps >= first.mean() - second.mean() - 1e-9))


@reference(
    "9.5",
    hints=[
        "Join both lists, shuffle, and cut at the old place: one random division. The "
        "standard deviation is the same in all of them, so the difference of the means "
        "is enough.",
        "In a loop over `range(n_draws)`: `mixed = rng.permutation(both)`; compare "
        "`mixed[:n].mean() - mixed[n:].mean()` with the real difference. Equal counts "
        "as reached; subtract 1e-9 for rounding.",
        "`return (1 + reached) / (1 + n_draws)`, where `reached` counts the divisions "
        "whose difference is at least the real one.",
    ],
    cases=_leanings,
    mistakes={
        "The question has a side: count differences at least as large, not those that "
        "are as far from 0 on either side.": _exact(
            lambda gap, observed: abs(gap) >= abs(observed) - 1e-9
        ),
        "You counted the divisions that fall short; count those that reach it.": _exact(
            lambda gap, observed: gap < observed - 1e-9
        ),
        "A division uses each word once: rng.permutation, not rng.choice.": (
            _with_replacement
        ),
        "A division that gives exactly the same difference has reached it: >=, with "
        "1e-9 for rounding.": _exact(lambda gap, observed: gap > observed + 1e-9),
    },
    accepts=_near,
    passed="p is how often chance alone does as much. It says whether there is an "
    "effect, not how large it is.",
    atol=8e-3,  # a share of random divisions varies that much from draw to draw
)
def permutation_p(
    first: np.ndarray, second: np.ndarray, n_draws: int, rng: np.random.Generator
) -> float:
    """Count in all divisions, where the lesson draws some."""
    return _exact(lambda gap, observed: gap >= observed - 1e-9)(first, second)


# --- 9.6 -----------------------------------------------------------------------


def _tables() -> list[Case]:
    rng = np.random.default_rng(96)
    return [
        Case(np.array([[3.0, 4, 0], [1, 0, 2]]), np.array([0.0, 2, 0])),
        Case(rng.normal(size=(6, 4)), rng.normal(size=4) * 3),
    ]


@reference(
    "9.6",
    hints=[
        "Scale the direction to length 1; a row's part along it is their product.",
        "`unit = direction / np.linalg.norm(direction)`; `table @ unit` has one number "
        "a row: how far each goes along the direction.",
        "`table - np.outer(table @ unit, unit)`",
    ],
    cases=_tables,
    mistakes={
        "Scale the direction to length 1 first; yours has another length.": (
            lambda table, direction: table - np.outer(table @ direction, direction)
        ),
        "Subtract from each row its own part along the direction, not the direction "
        "itself.": (
            lambda table, direction: table - direction / np.linalg.norm(direction),
            lambda table, direction: table - direction,
        ),
        "That is the part along the direction; return what is left without it.": (
            lambda table, direction: np.outer(
                table @ direction, direction / (direction @ direction)
            )
        ),
        "Leave the rows' lengths as they come out; cosines take care of them later.": (
            lambda table, direction: _unit(
                table - np.outer(table @ direction, direction / (direction @ direction))
            )
        ),
    },
    passed="No row points along the direction any more. Whether its traces are gone is "
    "another question.",
)
def without_direction(table: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Project onto the directions at right angles to the first."""
    _, _, others = np.linalg.svd(direction[None])
    return table @ others[1:].T @ others[1:]


def _unit(table: np.ndarray) -> np.ndarray:
    return table / np.linalg.norm(table, axis=1, keepdims=True)


summary = summary_of(__name__)
