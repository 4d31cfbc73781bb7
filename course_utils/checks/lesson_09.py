"""Checks of lesson 09, Word vectors from raw text."""

from __future__ import annotations

import itertools
import math
import time
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

# Three million cells follow in the lesson: of these, none may take too long.
MANY_CELLS, LONGEST = 100_000, 2.0


def _cells() -> list[Case]:
    rng = np.random.default_rng(95)
    rows, columns = np.divmod(rng.permutation(24 * 24)[:120], 24)
    noise = rng.random(24) + 0.2
    some = np.array([2, 0, 1, 0, 2, 2]), np.array([1, 1, 0, 2, 0, 2])
    shares = np.array([0.5, 0.3, 0.2])
    advice = (
        "Take all from the arguments: `noise` has one number a word, and N is the sum "
        "of n_met over the cells of a centre."
    )
    return [
        Case(*some, np.array([9, 6, 5, 2, 1, 2]), shares, 2, advice=advice),
        Case(*some, np.array([1, 4, 5, 40, 7, 3]), shares, 10, advice=advice),
        Case(
            *(np.where(rows == 23, 0, rows), columns, rng.integers(1, 50, 120)),
            noise / noise.sum(),
            4,
            given="120 cells of 24 words, of which one is never a centre, and k = 4",
            advice=advice,
        ),
    ]


def _scores(
    true: Callable[..., Any] = lambda n_met, n_pairs: n_met / n_pairs,
    of: Callable[..., Any] = lambda centers, contexts, n_met: np.bincount(
        centers, n_met
    )[centers],
    false: Callable[..., Any] = lambda noise, centers, contexts: noise[contexts],
    k: Callable[[int], float] = lambda k: k,
    last: Callable[[Any], Any] = np.log,
) -> Answer:
    """Compute the scores in closed form, with a slip in one of its parts."""

    def computed(
        centers: Any, contexts: Any, n_met: Any, noise: Any, n_negatives: int
    ) -> Any:
        share = true(n_met, of(centers, contexts, n_met))
        return last(share / (k(n_negatives) * false(noise, centers, contexts)))

    return computed


def _contexts_share(
    centers: Any, contexts: Any, n_met: Any, noise: Any, k: int
) -> np.ndarray:
    """Take how often each context was met for the noise."""
    share = np.bincount(contexts, n_met, len(noise)) / n_met.sum()
    return _scores()(centers, contexts, n_met, share, k)


def _expect_many(answer: Answer) -> None:
    """Insist on an answer that later cells need not wait for."""
    rng = np.random.default_rng(96)
    cells = 250 * np.arange(MANY_CELLS) + rng.integers(250, size=MANY_CELLS)
    n_met, noise = rng.integers(1, 9, MANY_CELLS), np.full(5_000, 1 / 5_000)
    start = time.process_time()
    answer(*np.divmod(cells, 5_000), n_met, noise, 5)
    spent = time.process_time() - start
    if spent > LONGEST:
        fail(
            f"The scores are right, but {MANY_CELLS:,} cells took {spent:.1f} s, and "
            "three million follow: np.bincount(centers, n_met) adds up the pairs of "
            "all centres at once."
        )


@reference(
    "9.5",
    hints=[
        "d/ds of −log σ(s) is σ(s) − 1, and of −log σ(−s) it is σ(s). Set the sum of "
        "both parts, with their factors, to 0, and solve for s.",
        "n (1 − σ) = k N q σ, where n = n_met, N is the centre's sum of n_met, and q "
        "the context's noise. So σ / (1 − σ), which is exp(s), is n / (k N q).",
        "`n_center = np.bincount(centers, n_met)` adds up the pairs of each centre; "
        "then `np.log(n_met / (k * n_center[centers] * noise[contexts]))`.",
    ],
    cases=_cells,
    mistakes={
        "The k is missing: each pair brings k negatives.": _scores(k=lambda k: 1),
        "The k is on the wrong side: more negatives make the score smaller.": _scores(
            k=lambda k: 1 / k
        ),
        "k is an argument, here {k}; you used 5.": _scores(k=lambda k: 5),
        "You counted the centre's cells, not its pairs: `np.bincount(centers, n_met)` "
        "adds up n_met.": _scores(
            of=lambda centers, contexts, n_met: np.bincount(centers)[centers]
        ),
        "N is the number of the centre's own pairs, not that of all pairs.": _scores(
            of=lambda centers, contexts, n_met: n_met.sum()
        ),
        "N adds up the pairs of the centre; you added up those of the context.": (
            _scores(
                of=lambda centers, contexts, n_met: np.bincount(contexts, n_met)[
                    contexts
                ]
            )
        ),
        "Divide by N, the number of the centre's pairs.": _scores(
            of=lambda centers, contexts, n_met: 1
        ),
        "Negatives are drawn as contexts: noise[contexts], not noise[centers].": (
            _scores(false=lambda noise, centers, contexts: noise[centers])
        ),
        "Negatives are drawn from `noise`, not as often as contexts were met.": (
            _contexts_share
        ),
        "The noise has no part in it: a context that is drawn often as a negative "
        "needs more meetings.": _scores(false=lambda noise, centers, contexts: 1),
        "Keep scores below 0: lesson 01 cut them off, the loss does not.": _scores(
            last=lambda odds: np.maximum(0, np.log(odds))
        ),
        "That is exp(s); take its logarithm.": _scores(last=lambda odds: odds),
        "That is σ(s), the share of true ones in the cell; solve for s.": _scores(
            last=lambda odds: odds / (1 + odds)
        ),
        "The sign is reversed: more meetings need a larger score.": _scores(
            last=lambda odds: -np.log(odds)
        ),
        "The logarithm is the natural one, np.log.": (
            _scores(last=np.log2),
            _scores(last=np.log10),
        ),
    },
    then=_expect_many,
    passed="At these scores the expected gradient is 0: training walks towards numbers "
    "that counts alone give.",
    atol=1e-5,
)
def best_scores(
    centers: np.ndarray,
    contexts: np.ndarray,
    n_met: np.ndarray,
    noise: np.ndarray,
    k: int,
) -> np.ndarray:
    """Halve the interval in which the derivative of the loss changes its sign."""
    pairs = [n_met[centers == center].sum() for center in centers]
    false = k * np.array(pairs) * noise[contexts]
    low, high = np.full((2, len(centers)), [[-40.0], [40.0]])
    for _ in range(60):
        middle = (low + high) / 2
        uphill = false * _sigmoid(middle) - n_met * _sigmoid(-middle) > 0
        low, high = np.where(uphill, low, middle), np.where(uphill, middle, high)
    return (low + high) / 2


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
