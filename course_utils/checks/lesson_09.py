"""Checks of lesson 09, Word vectors from raw text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import fail
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


def _whole(got: Any) -> bool:
    return all(side.dtype.kind in "iu" for side in got if len(side))


def _same_pairs(got: Any, expected: Any, *_: Any) -> bool:
    equally_many = len(got[0]) == len(got[1])
    return equally_many and _whole(got) and _sorted(got) == _sorted(expected)


def _wrapped(ids: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take places below 0 as NumPy does: from the end."""
    found = [
        (ids[i], ids[i + step])
        for i in range(len(ids))
        for step in range(-min(reach[i], i + len(ids)), reach[i] + 1)
        if step and i + step < len(ids)
    ]
    return np.array([a for a, _ in found], int), np.array([b for _, b in found], int)


def _unequal(ids: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, ...]:
    """Leave out pairs of a word with itself at another place."""
    centers, contexts = _pairs(lambda i, j, reach: 0 < abs(i - j) <= reach[i])(
        ids, reach
    )
    return centers[centers != contexts], contexts[centers != contexts]


def _once(ids: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, ...]:
    """Keep each pair once."""
    pairs = _pairs(lambda i, j, reach: 0 < abs(i - j) <= reach[i])(ids, reach)
    return tuple(np.unique(np.transpose(pairs), axis=0).T)


_PAIR_MISTAKES: dict[str, Answer] = {
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
    "The last place on the right is missing: a range stops before its end, so add 1.": (
        _pairs(lambda i, j, reach: i != j and -reach[i] <= j - i < reach[i])
    ),
    "The text's last word is a context too; yours never is.": _pairs(
        lambda i, j, reach: 0 < abs(i - j) <= reach[i] and j < len(reach) - 1
    ),
    "A place below 0 does not exist; NumPy counts it from the end. Start at "
    "max(0, place - reach[place]).": _wrapped,
    "A word that stands at two places may meet itself: compare places, not ids.": (
        _unequal
    ),
    "A pair that occurs twice is two examples: do not make the pairs unique.": _once,
}


def _slip_of_pairs(
    got: Any, expected: Any, ids: np.ndarray, reach: np.ndarray
) -> str | None:
    if len(got[0]) == len(got[1]) and not _whole(got):
        return "Ids are whole numbers that later cells index with: return int arrays."
    if len(got[0]) == len(got[1]) and _sorted(got[::-1]) == _sorted(expected):
        return (
            "Centres and contexts have changed places, or you took the context's reach."
        )
    for sentence, wrong in _PAIR_MISTAKES.items():
        if _sorted(got) == _sorted(wrong(ids, reach)):
            return sentence  # the same pairs in another order
    if len(got[0]) != len(got[1]):
        return "Centres and contexts are the two halves of pairs: equally many of each."
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
    mistakes=_PAIR_MISTAKES,
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
        "Divide the counts by their sum, not by the largest of them.": (
            lambda counts, threshold: np.minimum(
                1,
                np.sqrt(threshold * counts.max() / counts)
                + threshold * counts.max() / counts,
            )
        ),
        "The threshold is an argument; here it is {threshold}.": (
            lambda counts, threshold: np.minimum(
                1, np.sqrt(1e-3 * counts.sum() / counts) + 1e-3 * counts.sum() / counts
            )
        ),
        "It is t / f, the threshold divided by the share, not f / t.": (
            lambda counts, threshold: np.minimum(
                1,
                np.sqrt(counts / counts.sum() / threshold)
                + counts / counts.sum() / threshold,
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
        given = f"vectors of {dim} numbers and {n_negatives} negative"
        given += "s" * (n_negatives > 1)
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
        "First the gradient for u, the centre's vector, then that for v.": (
            lambda center, context, negatives: (
                *_by_hand()(center, context, negatives)[1::-1],
                _by_hand()(center, context, negatives)[2],
            )
        ),
        "u and v have changed places: the negatives meet u, the centre's vector.": (
            lambda center, context, negatives: _by_hand()(context, center, negatives)
        ),
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

N_DRAWS, FEW_DRAWS = 20_000, 9


def _leanings() -> list[Case]:
    """Eighths, and powers of two of them: their means are exact in any order."""
    given = "leanings {} and {}, n_draws = {:,}"
    high = [1.0, 0.875, 0.75, 0.875, 1.0, 0.75, 0.875, 1.0]
    wide = [0.125, -0.25, 0.0, 0.25, 0.125, -0.125, 0.0, 0.125]
    cases: list[Case] = []
    for first, second, n_draws in (
        (high, [1 - one for one in high], FEW_DRAWS),
        ([0.375, 0.125, 0.25, 0.25], [0.125, 0.0, 0.0, 0.25], N_DRAWS),
        ([0.5, -0.125, 0.25, 0.25], wide, N_DRAWS),
        ([0.0, 0.125, -0.25, 0.0], [0.25, 0.125, -0.125, 0.125], N_DRAWS),
    ):
        cases.append(
            Case(
                np.array(first),
                np.array(second),
                n_draws,
                np.random.default_rng(len(cases)),
                given=given.format(first, second, n_draws),
            )
        )
    return cases


def _counted(p: Any, n_draws: int) -> bool:
    """Whether p is (1 + a count) / (1 + n_draws), up to the rounding of float32."""
    count = float(p) * (1 + n_draws)
    return count > 0.5 and abs(count - round(count)) < 0.02


def _near(
    got: Any, expected: Any, first: Any, second: Any, n_draws: int, *_: Any
) -> bool:
    if np.ndim(got):
        return False
    if not _counted(got, n_draws):
        return False
    error = math.sqrt(expected * (1 - expected) / n_draws)
    return bool(got <= 1 and abs(got - expected) < 5 * error + 2 / n_draws)


def _exact(
    reached: Callable[[float, float], bool], cut: Callable[[int, int], int] = min
) -> Answer:
    """Go through all divisions, and count those that reach the difference."""

    def share(first: Any, second: Any, n_draws: int, *_: Any) -> float:
        both = np.concatenate([first, second])
        n = cut(len(first), len(both))
        total, m = both.sum(), len(both) - n
        observed = first.mean() - second.mean()
        sums = [sum(c) for c in itertools.combinations(both.tolist(), n)]
        gaps = [one / n - (total - one) / m for one in sums]
        chance = float(np.mean([reached(gap, observed) for gap in gaps]))
        return (1 + chance * n_draws) / (1 + n_draws)

    return share


def _with_replacement(first: Any, second: Any, n_draws: int, rng: Any) -> float:
    both = np.concatenate([first, second])
    drawn = rng.choice(both, (n_draws, len(both)))
    gaps = drawn[:, : len(first)].mean(axis=1) - drawn[:, len(first) :].mean(axis=1)
    return float((1 + np.sum(gaps >= first.mean() - second.mean())) / (1 + n_draws))


def _slip_of_p(
    got: Any, expected: Any, first: Any, second: Any, n_draws: int, *_: Any
) -> str | None:
    """Name what the few draws of the first case tell apart."""
    if np.ndim(got):
        return None
    if n_draws == FEW_DRAWS and abs(got - 1 / n_draws) < 1e-6:
        return "Divide by 1 + n_draws: the real division is one of them."
    if n_draws == FEW_DRAWS and got == 0:
        return (
            "The real division reaches its own difference, so count it too: "
            "p = (1 + reached) / (1 + n_draws)."
        )
    if abs(got - 1 / math.comb(len(first) + len(second), len(first))) < 1e-7:
        return "You went through all divisions; draw n_draws of them by rng."
    if min(abs(got - 1), abs(got - 1 / (1 + n_draws))) < 1e-6:
        return (
            "All your divisions are the same one. Do not make a generator in the loop: "
            "use rng, which goes on from draw to draw."
        )
    if not _counted(got, n_draws):
        return (
            f"With {n_draws:,} random divisions p is a multiple of 1 / {1 + n_draws:,}:"
            " draw n_draws of them, and return (1 + reached) / (1 + n_draws)."
        )
    return None


def _uses_rng(answer: Answer) -> None:
    """Equal generators give equal p; of different ones, not all do."""
    first, second = np.array([0.5, 0.125, 0.25, 0.0]), np.array([0.25, 0.0, 0.125, 0.0])
    seeds = 1, 1, 2, 2, 3, 3
    found = [
        float(answer(first.copy(), second.copy(), 500, np.random.default_rng(seed)))
        for seed in seeds
    ]
    if found[::2] != found[1::2] or len(set(found)) == 1:
        fail(
            "Draw the divisions by `rng`, the argument: two generators with the same "
            "seed have to give the same p, other seeds another."
        )


@reference(
    "9.5",
    hints=[
        "Join both lists, shuffle, and cut at the old place: one random division. The "
        "standard deviation is the same in all of them, so the difference of the means "
        "is enough.",
        "In a loop over `range(n_draws)`: `mixed = rng.permutation(both)`; compare "
        "`mixed[:n].mean() - mixed[n:].mean()` with the real difference. Equal counts "
        "as reached.",
        "`return (1 + reached) / (1 + n_draws)`, where `reached` counts the divisions "
        "whose difference is at least the real one.",
    ],
    cases=_leanings,
    mistakes={
        "The question has a side: count differences at least as large, not those that "
        "are as far from 0 on either side.": _exact(
            lambda gap, observed: abs(gap) >= abs(observed)
        ),
        "You counted the divisions that fall short; count those that reach it.": (
            _exact(lambda gap, observed: gap < observed),
            _exact(lambda gap, observed: gap <= observed),
        ),
        "A division uses each word once: rng.permutation, not rng.choice.": (
            _with_replacement
        ),
        "A division that gives exactly the same difference has reached it: >=.": _exact(
            lambda gap, observed: gap > observed
        ),
        "Cut where the first list ends, at len(first), not in the middle.": _exact(
            lambda gap, observed: gap >= observed, lambda n, size: size // 2
        ),
    },
    slip=_slip_of_p,
    then=_uses_rng,
    accepts=_near,
    passed="p is how often chance alone does as much. It says whether there is an "
    "effect, not how large it is.",
    atol=8e-3,  # a share of random divisions varies that much from draw to draw
)
def permutation_p(
    first: np.ndarray, second: np.ndarray, n_draws: int, rng: np.random.Generator
) -> float:
    """Count in all divisions, where the lesson draws some."""
    return _exact(lambda gap, observed: gap >= observed)(first, second, n_draws)


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
        "The direction's length comes in twice, in the product and in what you take "
        "away: divide by it both times.": (
            lambda table, direction: (
                table
                - np.outer(table @ direction, direction / np.linalg.norm(direction))
            )
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
