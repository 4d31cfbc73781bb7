"""Exercise 5.5: the squared distance to a semi-hard negative, for every pair."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import fail

import numpy as np

Answer = Callable[..., Any]


def _pairs(squared: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Entries that a loss uses: two different pictures of one label."""
    return same & ~np.eye(len(same), dtype=bool)


def _batches() -> list[Case]:
    # Points of a grid: distances are exact, some are equal, and some are above 4, the
    # largest between vectors of length 1. In the first batch all mistakes differ.
    return [
        Case(*_distances_of(seed, labels, size))
        for seed, labels, size in (
            (56, [0, 0, 0, 1, 1, 1, 2, 2, 0], 9),
            (1, [3, 7, 3, 3, 7, 7, 9], 5),
            (2, [5, 1, 1, 5], 9),
        )
    ]


def _distances_of(seed: int, labels: list[int], size: int) -> tuple[Any, Any]:
    points = np.random.default_rng(seed).integers(0, size, (len(labels), 2)) / 4
    squared = ((points[:, None] - points) ** 2).sum(axis=-1).astype("float32")
    return squared, np.equal.outer(labels, labels)


def _negative(squared, same, pick=min, usable=np.greater, fallback=max, own=False):
    """Squared distance to the negative of each pair, or to that of a mistake."""
    table = np.zeros(squared.shape, "float32")
    for a, p in np.ndindex(*squared.shape):
        every = [d for d, s in zip(squared[a], same[a], strict=True) if not s or own]
        picked = [d for d in every if usable(d, squared[a, p])]
        table[a, p] = pick(picked) if picked else fallback(every)
    return table


def _but(**exchanged: Any) -> Answer:
    return partial(_negative, **exchanged)


def _any(d: Any, positive: Any) -> bool:
    return True


def _band(margin: float) -> Answer:
    """FaceNet's, for negatives that are farther by less than a margin only."""
    return _but(usable=lambda d, positive: positive < d < positive + margin)


def _with_fallback(far: Answer) -> Answer:
    """Compute the right table, and where there is no negative what `far` gives."""

    def answer(squared: np.ndarray, same: np.ndarray) -> np.ndarray:
        found = _negative(squared, same, fallback=lambda every: -1)
        return np.where(found < 0, far(squared, same), found)

    return answer


def _places(squared: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Positions of the right negatives, as argmin and argmax give them."""
    found = _negative(squared, same)
    fits = (squared[:, None, :] == found[:, :, None]) & ~same[:, None, :]
    return fits.argmax(axis=2)


def _look_for_stand_ins(got, expected, squared, same, *_: Any) -> str:
    if np.shape(got) != np.shape(expected):
        return (
            "I asked for a table, one entry for each anchor (row) and positive "
            "(column): compare in three axes, anchor, positive, negative, and take the "
            "`min` over the last."
        )
    off = ~np.isclose(got, expected, rtol=1e-5, atol=1e-5)
    usable = (squared[:, None, :] > squared[:, :, None]) & ~same[:, None, :]
    some = usable.any(axis=2) & _pairs(squared, same)
    if not some[off].any():
        return (
            "Where no negative is farther than the positive, take the anchor's "
            "farthest negative: in your code something else is left there, such as a "
            "stand-in for “none”."
        )
    if np.allclose(got[some], _places(squared, same)[some]):
        return "Those are places in a row, as argmin gives them; return the distances."
    if np.isfinite(got[off]).all() and len(np.unique(got[off])) == 1:
        if not np.isclose(squared, got[off][0]).any():
            return (
                f"{got[off][0]:g} is none of the distances. If it stands in for "
                "infinity: distances may be larger, so use `np.inf`."
            )
    return "Look at that anchor's row of `squared`, and at where `same` is True."


def _look_into_a_graph(answer: Answer) -> None:
    """Use an answer as training does: compiled, of any batch size, with a gradient."""
    import tensorflow as tf

    tables = [tf.TensorSpec((None, None), kind) for kind in (tf.float32, tf.bool)]

    # Keras hands no Python loop of a training step to AutoGraph either.
    @tf.function(input_signature=tables, autograph=False)
    def compiled(squared: Any, same: Any) -> tuple[Any, Any]:
        table = tf.convert_to_tensor(answer(squared, same))
        chosen = tf.where(same, table, tf.zeros_like(table))
        return table, tf.gradients(tf.reduce_sum(chosen), squared)[0]

    for case in _batches():
        squared, same = case.arguments
        try:
            table, slope = compiled(squared, same)
        except Exception as error:
            kind = type(error).__name__
            fail(
                "The table is right, but a compiled training step, which does not know "
                f"the batch's size, cannot run your code ({kind}). Use `keras.ops` "
                "throughout, no NumPy and no loop over pairs."
            )
        used = _pairs(squared, same)
        off = ~np.isclose(table, _negative(squared, same))[used]
        if off.any():
            fail(
                "The table is right, but in a compiled training step, which does not "
                f"know the batch's size, {off.mean():.0%} of your values are not. Do "
                "you count rows by `.shape[0]`, which is None there? Compare whole "
                "tables by `keras.ops`, without a loop."
            )
        if slope is None:
            fail(
                "The table is right, but no gradient flows through it: build it from "
                "`squared` by `keras.ops`, without turning it into NumPy."
            )


@reference(
    "5.5",
    hints=[
        "Take one anchor a and one positive p. Which pictures n may be the negative? "
        "Write the two conditions as tables of booleans.",
        "`farther = squared[:, None, :] > squared[:, :, None]` has axes a, p, n. Of "
        "those, n must not share a's label: `ops.logical_not(same)[:, None, :]`.",
        "`ops.min(ops.where(usable, squared[:, None, :], np.inf), axis=2)` is the "
        "nearest usable one; `ops.any(usable, axis=2)` says where there is one.",
        "The farthest negative of each anchor is `ops.max(ops.where(same, -np.inf, "
        "squared), axis=1, keepdims=True)`; choose between the two with `ops.where`.",
    ],
    cases=_batches,
    mistakes={
        "That is the nearest negative of all; it should be farther than the "
        "positive.": _but(usable=_any),
        "Every pair gets the farthest negative; I asked for the nearest of those that "
        "are farther than the positive. Did you take `max`, or does `min` or `any` run "
        "along another axis than the last, that of the negatives?": _but(pick=max),
        "You choose among the negatives that are *nearer* than the positive: turn the "
        "comparison round.": tuple(
            _but(pick=pick, usable=np.less, fallback=fallback)
            for pick, fallback in ((min, max), (max, max), (max, min))
        ),
        "A negative exactly as far as the positive counts in your code: farther is "
        "`>`, not `>=`.": _but(usable=np.greater_equal),
        "You leave out negatives that are farther by more than a margin; take the "
        "nearest that is farther, however far.": tuple(
            map(_band, (0.1, 0.2, 0.3, 0.5, 1.0, 2.0))
        ),
        "That is a mean over negatives; take the nearest of those that are farther "
        "than the positive.": (
            _but(pick=np.mean),
            _but(pick=np.mean, fallback=np.mean),
            _but(pick=np.mean, usable=_any),
        ),
        "You took the root; `squared` holds squared distances, and so should your "
        "table.": lambda squared, same: np.sqrt(_negative(squared, same)),
        "Those are places in a row, as `argmin` gives them; return the distances, as "
        "`min` does.": _places,
        "Where no negative is farther than the positive, take the *farthest* negative: "
        "yours is the nearest.": _but(fallback=min),
        "Where no negative is farther than the positive, you take the largest number "
        "of the whole table; take each anchor's own farthest negative: "
        "`axis=1, keepdims=True`.": (
            _with_fallback(lambda squared, same: squared.max()),
            _with_fallback(lambda squared, same: squared[~same].max()),
        ),
        "Where no negative is farther than the positive, your code takes the farthest "
        "picture of any label: leave out those where `same` is True.": _with_fallback(
            lambda squared, same: squared.max(axis=1, keepdims=True)
        ),
        "Where no negative is farther than the positive, you take the positive's own "
        "distance; take the farthest negative's.": _with_fallback(
            lambda squared, same: squared
        ),
        "Where no negative is farther than the positive, the farthest of another row "
        "is left: one for each anchor, as a column (`keepdims=True`).": _with_fallback(
            lambda squared, same: np.where(same, 0, squared).max(axis=1)
        ),
        "Pictures of the anchor's own label count as negatives in your code: leave out "
        "those where `same` is True.": (
            _but(own=True),
            lambda squared, same: np.where(
                (squared[:, None] > squared[:, :, None]).any(axis=2),
                _negative(squared, same, own=True),
                _negative(squared, same, usable=_any, pick=max),
            ),
        ),
        "Rows and columns have changed places: row a belongs to anchor a, column p to "
        "its positive.": lambda squared, same: _negative(squared, same).T,
    },
    used=_pairs,
    slip=_look_for_stand_ins,
    then=_look_into_a_graph,
    passed="Each pair gets the nearest negative beyond its positive: neither the "
    "hardest one nor an easy one. It also runs in a compiled training step. Now train "
    "with it.",
    atol=1e-5,
)
def semi_hard(squared: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Go pair by pair; Schroff, Kalenichenko and Philbin (2015), CVPR."""
    return _negative(squared, same)
