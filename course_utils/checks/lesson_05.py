"""Checks of lesson 05, siamese networks on Fashion-MNIST."""

from __future__ import annotations

import contextlib
import functools
import io
import math
from collections.abc import Callable, Iterator
from typing import Any

from course_utils.checks.core import (
    as_array,
    exercise,
    expect_number,
    expect_shape,
    fail,
)
from course_utils.checks.leaks import origin_of, reached
from course_utils.checks.summary import summary_of

import numpy as np

Answer = Callable[..., Any]

MAX_COLUMNS, N_NEIGHBORS = 32, 10
BAR, GOLD = 0.85, 0.90
# The best published networks, far larger ones, come near; who goes past it has seen
# the pictures.
TOO_GOOD = 0.97
# Test pictures, and as many that were not handed in, that are compared. Honest
# networks differ by up to 1 point on them.
PAIRED, LEAST_GAP = 4_000, 0.015
# Nobody learns the ten kinds from fewer labelled pictures.
FEWEST = 1_000
# An untrained embedder, 16 or 32 wide, scores 72% to 76%.
UNTRAINED = 0.78


@exercise(
    "5.1",
    hints=[
        "What does `labels == 3` give you? And if 3 were a column of all labels?",
        "`labels[:, None]` has shape (n, 1), `labels[None, :]` has shape (1, n). NumPy "
        "stretches both to (n, n) when it compares them.",
        "`return labels[:, None] == labels[None, :]`.",
    ],
)
def same_label(answer: Answer) -> str:
    """Check the table of pairs that share a label.

    Parameters
    ----------
    answer : callable
        ``same_label(labels)``, booleans of shape (n, n).

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a pair is judged wrongly.
    """
    rng = np.random.default_rng(51)
    for n in (7, 5):
        labels = rng.choice([0, 2, 3, 9], n)
        labels[:3] = [2, 0, 2]
        expected = np.array([[a == b for b in labels] for a in labels])
        given = f"{n} labels"
        raw = as_array("same_label", answer(labels.copy()))
        slip = ""
        if raw.shape == (n,):
            slip = (
                "You compared each label with itself only: one of the two has to be "
                "a column."
            )
        elif raw.shape in ((n, 1), (1, n)):
            slip = (
                "Both sides of `==` stand the same way: one has to be a column, the "
                "other a row."
            )
        elif raw.shape == (n * n,):
            slip = "All pairs are there, in one row: I asked for a table."
        elif raw.ndim == 2 and raw.shape[1] == 2:
            slip = "That lists the pairs; I asked for a table of all."
        got = expect_shape("same_label", raw, (n, n), given=given, slip=slip)
        if np.array_equal(got, expected):
            continue
        off = ~np.eye(n, dtype=bool)
        if np.array_equal(got, ~expected):
            fail("That is `True` where the labels differ; I asked where they agree.")
        if np.array_equal(got[off], expected[off]):
            fail(
                "The diagonal is off: picture i has the same label as picture i, so "
                "`True` belongs there."
            )
        if np.array_equal(got, np.eye(n)):
            fail("Only the diagonal is set: others share a label too.")
        if np.array_equal(got, labels[:, None] * labels.astype(int)):
            fail("You multiplied the labels; compare them with `==`.")
        if np.array_equal(got == 0, expected):
            fail("That is the difference of the labels; `==` says whether they agree.")
        if not np.isin(got, [0, 1]).all():
            fail("The table should hold booleans; yours holds other numbers.")
        i, j = np.argwhere(got.astype(bool) != expected)[0]
        fail(
            f"For labels {labels.tolist()}, pictures {i} and {j} have labels "
            f"{labels[i]} and {labels[j]}; I expected {expected[i, j]}, your table "
            f"says {bool(got[i, j])}."
        )
    return (
        "Every pair is judged. A batch of 256 pictures holds 32,640 of them, too many "
        "for a loop in each step; the losses of this lesson begin with this table."
    )


@exercise(
    "5.2",
    hints=[
        "`a @ b.T` holds all dot products, shape (n, m). Where do the two norms go?",
        "`np.sum(a**2, axis=1)[:, None]` is a column, the same of b a row. Add, and "
        "take twice the products away.",
        "`squared = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) "
        "- 2 * a @ b.T`, then `np.maximum(squared, 0)`: rounding can leave "
        "−0.0000001.",
    ],
)
def squared_distances(answer: Answer) -> str:
    """Check the table of squared distances.

    Parameters
    ----------
    answer : callable
        ``squared_distances(a, b)``, shape (n, m), nowhere negative.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a distance is another one, or below 0.
    """
    rng = np.random.default_rng(52)
    for n, m, d in ((6, 4, 3), (5, 8, 2)):
        a, b = rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.5
        expected = np.array([[sum((p - q) ** 2) for q in b] for p in a])
        with _advice(
            f"For n = {n}, m = {m} and d = {d}, ‖a‖² should have shape ({n}, 1), ‖b‖² "
            f"shape ({m},) or (1, {m}), and a @ b.T shape ({n}, {m})."
        ):
            raw = as_array("squared_distances", answer(a.copy(), b.copy()))
        slip = ""
        if raw.shape == (m, n):
            slip = "Rows and columns have changed places: one row for each row of a."
        elif raw.shape == (n, m, d):
            slip = "The squares of each column are still apart: add up the last axis."
        elif raw.size == 1:
            slip = "That is one number; I asked for one for every pair of rows."
        got = expect_shape(
            "squared_distances",
            raw,
            (n, m),
            given=f"a of shape {a.shape} and b of shape {b.shape}",
            slip=slip,
        ).astype(float)
        if np.allclose(got, expected, atol=1e-5):
            continue
        norms = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)
        moved = "You took a mean away first: distances change when a and b move apart."
        slips = [
            (np.sqrt(expected), "You took the root; I asked for squared distances."),
            (a @ b.T, "Those are dot products; the norms are missing."),
            (norms - a @ b.T, "The dot products count twice: −2 a·b."),
            (
                norms + 2 * a @ b.T,
                "That is ‖a + b‖²: the dot products go with a minus.",
            ),
            (norms, "Those are the norms only; where are the dot products?"),
            (expected / d, "You took the mean over the columns; add them up."),
            (
                np.abs(a[:, None] - b).sum(axis=2),
                "You added absolute differences; square them.",
            ),
            (
                np.sqrt((a**2).sum(axis=1))[:, None]
                + np.sqrt((b**2).sum(axis=1))
                - 2 * a @ b.T,
                "The norms have to be squared, as in the formula.",
            ),
            *(
                (_each_squared(one, other), text)
                for one, other, text in (
                    (a - a.mean(axis=0), b, moved),
                    (a, b - b.mean(axis=0), moved),
                    (a - a.mean(axis=0), b - b.mean(axis=0), moved),
                    (_unit(a), _unit(b), "You brought the rows to length 1 first."),
                )
            ),
        ]
        hit = (text for value, text in slips if np.allclose(got, value, atol=1e-6))
        fail(
            f"For a[0] = {np.round(a[0], 2).tolist()} and b[0] = "
            f"{np.round(b[0], 2).tolist()} I expected {expected[0, 0]:.4f}, your "
            f"function returned {got[0, 0]:.4f}. {next(hit, '')}".rstrip()
        )
    near = (10 + rng.normal(size=(60, 32))).astype("float32")
    got = as_array("squared_distances", answer(near.copy(), near.copy()))
    if not np.isfinite(got).all():
        fail("Between equal rows your function gives NaN or infinity; I expected 0.")
    if got.min() < 0:
        fail(
            f"Between equal rows rounding leaves {got.min():.0e}, and the root of that "
            "is NaN. Put `np.maximum(…, 0)` around the result."
        )
    return (
        "Every distance is right, and none is below 0. Written as a matrix product it "
        "also is cheap: subtracting row from row first, 1,000 pictures and 32 columns "
        "fill a table of 32 million numbers."
    )


@exercise(
    "5.3",
    hints=[
        "Two prices, one for each kind of pair. Compute both for all pairs, then "
        "choose with `np.where(same, …, …)`.",
        "Same label: `distances**2`. Two labels: `np.maximum(margin - distances, 0)`, "
        "then square.",
        "`apart = np.maximum(margin - distances, 0)**2`, then "
        "`np.mean(np.where(same, distances**2, apart))`.",
    ],
)
def contrastive_loss(answer: Answer) -> str:
    """Check the mean price of pairs.

    Parameters
    ----------
    answer : callable
        ``contrastive_loss(distances, same, margin=1.0)``, one number.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a price is another one.

    References
    ----------
    Hadsell, Chopra and LeCun (2006), Dimensionality Reduction by Learning an
    Invariant Mapping, CVPR.
    """
    rng = np.random.default_rng(53)
    for n, margin in ((12, None), (9, 0.6), (15, 2.0), (6, 1.0)):
        d = rng.uniform(0.05, 1.9, n)
        same = rng.random(n) < 0.4
        same[:2] = [True, False]
        if n == 6:
            same[:] = False
        m = 1.0 if margin is None else margin
        together, inside = d**2, np.maximum(m - d, 0)
        prices = [
            t if s else i**2 for t, i, s in zip(together, inside, same, strict=True)
        ]
        expected = sum(prices) / n
        arguments = (d.copy(), same.copy()) + (() if margin is None else (margin,))
        with _advice(
            "For arrays, `np.maximum` takes the place of `max`, and `np.where` that of "
            "`if`."
        ):
            raw = as_array("contrastive_loss", answer(*arguments))
        if raw.shape == (n,):
            fail("That is one price a pair; I asked for their mean.")
        got = expect_number("contrastive_loss", raw)
        if abs(got - expected) < 1e-6:
            continue
        each = np.array(
            [np.mean(x) if len(x) else 0 for x in (together[same], inside[~same] ** 2)]
        )
        slips = [
            (sum(prices), "That is the sum; divide by the number of pairs."),
            (expected / 2, "That is half: the prices here have no factor ½."),
            (
                np.mean(np.where(same, inside**2, together)),
                "The two kinds have changed places: pairs of one label pay for "
                "distance.",
            ),
            (
                np.mean(np.where(same, together, (m - d) ** 2)),
                "Pairs of two labels beyond the margin pay as well; "
                "max(0, margin − distance) lets them go free.",
            ),
            (
                np.mean(np.where(same, together, np.maximum(m - d**2, 0))),
                "For two labels, take the margin minus the distance first, then "
                "square; not the margin minus the squared distance.",
            ),
            (
                np.mean(np.where(same, together, inside)),
                "For two labels the square is missing.",
            ),
            (np.mean(np.where(same, d, inside)), "Both prices are squares."),
            (np.mean(np.where(same, d, inside**2)), "For one label, square as well."),
            (
                np.mean(np.where(same, together, np.maximum(1.0 - d, 0) ** 2)),
                f"The margin was {m}, and you used 1: take the argument.",
            ),
            (np.mean(np.where(same, together, 0)), "Pairs of two labels pay nothing."),
            *(
                (divided, "Each kind has its own mean here: take one over all pairs.")
                for divided in (each.sum(), each.mean())
            ),
            (
                np.mean(np.where(same, together, np.maximum(d - m, 0) ** 2)),
                "Pairs of two labels pay beyond the margin; they should pay within: "
                "margin − distance.",
            ),
            (
                sum(prices) / np.count_nonzero(prices),
                "You divided by the pairs that pay; divide by all.",
            ),
        ]
        slip = next((text for value, text in slips if abs(got - value) < 1e-6), "")
        fail(
            f"For {n} pairs, {same.sum()} of one label, and margin {m} I expected "
            f"{expected:.4f}, your function returned {got:.4f}. {slip}".rstrip()
        )
    return (
        "One label pulls, two labels push, and the push ends at the margin. Without "
        "the push every picture could sit on one point, at no cost."
    )


@exercise(
    "5.4",
    hints=[
        "Take one picture. Which similarity stands above the line of its share, and "
        "which are added below it? Which picture is missing from both?",
        "Begin with `vectors @ vectors.T / temperature`. A picture does not compete "
        "with itself: set the diagonal to −∞ with `np.fill_diagonal`.",
        "−log(share of p) is log Σ exp − similarity to p. Of the row's values, keep "
        "those of the same label, without the diagonal, and average them.",
        "With the diagonal at −∞, take each row's largest value; subtract it before "
        "`np.exp`, add it again after `np.log`. Divide by `np.maximum(number of "
        "partners, 1)`; use `np.where`, as 0 · ∞ is NaN.",
    ],
)
def supervised_loss(answer: Answer) -> str:
    """Check the supervised contrastive loss against its formula, term by term.

    Parameters
    ----------
    answer : callable
        ``supervised_loss(vectors, labels, temperature=0.1)``, shape (n,), in nats.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a picture's loss is another one, or not finite.

    References
    ----------
    Khosla et al. (2020), Supervised Contrastive Learning, NeurIPS, equation 2.
    """
    rng = np.random.default_rng(54)
    cases = [
        ([0, 1, 0, 1, 1, 0], None),
        ([4, 4, 7, 7, 7, 4, 4], 0.5),
        ([2, 5, 2, 9, 2], 0.2),
        ([3, 3, 3, 3], 0.3),
        ([0, 1, 2, 3, 4], 0.1),
        ([0, 1, 0, 1, 2, 2], 0.001),
    ]
    for numbers, temperature in cases:
        labels, n = np.array(numbers), len(numbers)
        z = rng.normal(size=(n, 4))
        if temperature == 0.001:
            # Two that nearly coincide: exp of their similarity is beyond any float.
            z[1:3] = z[0] + 0.1 * z[1:3]
            # One is far from all others: beside its own, exp of theirs is 0.
            z[3:6] = np.array([[-1.0], [1], [1]]) * z[0] + 0.3 * z[3:6]
        z = _unit(z)
        t = 0.1 if temperature is None else temperature
        expected = np.array([_loss_of_one(i, z, labels, t) for i in range(n)])
        more = () if temperature is None else (temperature,)
        raw = as_array("supervised_loss", answer(z.copy(), labels.copy(), *more))
        given = f"{n} pictures with labels {labels.tolist()} and temperature {t}"
        slip = ""
        if raw.size == 1:
            slip = "That is one number for the batch; I asked for one a picture."
        elif raw.shape == (n, n):
            slip = "That is one number a pair: average over the partners."
        got = expect_shape("supervised_loss", raw, (n,), given=given, slip=slip)
        got = got.astype(float)
        if np.allclose(got, expected, atol=1e-4, rtol=1e-4):
            continue
        lonely = np.array([np.sum(labels == label) == 1 for label in labels])
        if lonely.any() and not np.isfinite(got[lonely]).all():
            fail(
                "Where nobody else has a picture's label, your function divides 0 by "
                "0 or takes 0 · ∞. The loss there is 0: divide by at least 1."
            )
        if np.isneginf(got).any() and not np.isposinf(got).any():
            fail(
                f"With temperature {t} every exp of a row becomes 0. The largest value "
                "that you subtract should be that of the *others*: first the diagonal "
                "to −∞, then the maximum."
            )
        if not np.isfinite(got).all():
            fail(
                f"With temperature {t} your function gives NaN or infinity. If it is "
                "exp that overflows, subtract the largest value of the row's others "
                "before it; if the diagonal is −∞, keep it out of sums with np.where."
            )
        for value, text in _slips_of_loss(z, labels, t):
            if np.allclose(got, value, atol=1e-4, rtol=1e-4):
                fail(f"For {given} the losses are not right. {text}")
        i = int(np.argmax(abs(got - expected)))
        fail(
            f"For {given} I expected {expected[i]:.4f} for picture {i}, your function "
            f"returned {got[i]:.4f}."
        )
    return (
        "Each picture now ranks all the others, and pays where strangers come first. "
        "The nearest strangers cost the most, so training goes where the errors are."
    )


@exercise(
    "5.5",
    hints=[
        "Take k = 3. Which part of `neighbor_labels` may vote? What would you compare "
        "its votes with?",
        "`vote(neighbor_labels[:, :k])` gives the answers for one k; the share that "
        "agrees with `labels` is its accuracy. Collect one for each candidate.",
        "`scores = [np.mean(vote(neighbor_labels[:, :k]) == labels) for k in "
        "candidates]`, then `candidates[int(np.argmax(scores))]`.",
    ],
)
def choose_k(answer: Answer) -> str:
    """Check the choice of the number of neighbours.

    Parameters
    ----------
    answer : callable
        ``choose_k(neighbor_labels, labels, candidates)``, one of the candidates.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When another candidate is right more often.
    """
    cases, returned = _voting_cases(), []
    for table, labels, candidates in cases:
        raw = as_array(
            "choose_k", answer(table.copy(), labels.copy(), list(candidates))
        )
        if raw.shape == (len(candidates),):
            fail("That is one score a candidate; return the candidate with the best.")
        returned.append(expect_number("choose_k", raw))
    for (table, labels, candidates), got in zip(cases, returned, strict=True):
        scores = {k: _share_right(table[:, :k], labels) for k in candidates}
        best = max(scores, key=scores.__getitem__)
        # Who breaks ties differently may find another one as good.
        if got in scores and scores[int(got)] > scores[best] - 0.01:
            continue
        given = f"For candidates {candidates} I expected {best}"
        if got not in scores and abs(got - scores[best]) < 0.02:
            fail(f"{given}; you returned its score, {got:.3f}.")
        if got not in scores:
            slip = "Choose among `candidates`."
            if got == candidates.index(best):
                slip = "That is its place in the list."
            fail(
                f"{given}, your function returned {got:g}, which is none of them. "
                f"{slip}"
            )
        fail(
            f"{given}: its votes are right for {scores[best]:.0%}, those of "
            f"{got:g} for {scores[int(got)]:.0%}. {_slip_of_choice(cases, returned)}"
        )
    return (
        "k was chosen without a look at the test pictures. Their score now says what "
        "it claims to say."
    )


@exercise(
    "5.6",
    hints=[
        "`embed(own, pictures)` turns pictures into vectors. Is `own` good enough yet? "
        "Its held-out score stands above. (`network` is, if you only want the bar.)",
        "More pictures and more epochs first: `own_pictures = fit` and `epochs=4` take "
        "half a minute with `width=16`, two to three minutes with `width=32`.",
        "`batch_size=128` gives twice as many steps an epoch, and `mirrored=True` in "
        "`embed` helps a little. `return embed(own, pictures, mirrored=True)`; in the "
        "check cell hand in `x_train[own_pictures]`.",
        "Gold wants more: all of `rest`, `width=32`, `epochs=11`. That is the full "
        "size, about seven minutes.",
    ],
)
def garment_vectors(answer: Answer, trained_on: Any) -> str:
    """Check trained vectors by their neighbours; nothing is trained here.

    Parameters
    ----------
    answer : callable
        ``garment_vectors(pictures)``, at most 32 numbers for each picture.
    trained_on : array of shape (n, 28, 28)
        The pictures that the network trained on, as `load_fashion_mnist` gives them.

    Returns
    -------
    str
        The neighbours' accuracy on test pictures.

    Raises
    ------
    ExerciseError
        When the network collapsed, does not look at its input, saw test pictures, or
        stays below the bar.
    """
    from course_utils.data import load_fashion_mnist

    (x_train, y_train), (x_test, y_test) = load_fashion_mnist()
    rng = np.random.default_rng(56)
    handed_in = _expect_training_pictures(trained_on, x_train, x_test)
    _expect_honest_notes(answer, handed_in, x_train, x_test)
    _expect_that_it_looks(answer, x_test[rng.permutation(len(x_test))[:200]])

    shuffled = rng.permutation(len(x_train))
    bank, others = shuffled[:10_000], shuffled[10_000:]
    tested = rng.permutation(len(x_test))[:PAIRED]
    known = _vectors(answer, x_train[bank])

    def accuracy(x: np.ndarray, y: np.ndarray) -> float:
        if not len(x):
            return math.nan
        neighbors = _nearest(known, _vectors(answer, x))
        return _share_right(y_train[bank][neighbors], y)

    on_test = accuracy(x_test[tested], y_test[tested])
    own = others[handed_in[others]][:2_000]
    unseen = others[~handed_in[others]][:PAIRED]
    reference, kind, tolerance = 1.0, "", 0.0
    if len(unseen) >= 1_000:
        reference = accuracy(x_train[unseen], y_train[unseen])
        kind = f" and on {reference:.1%} of training pictures it has not seen"
        # Three standard errors of the difference of two shares.
        chance = reference * (1 - reference) * (1 / len(unseen) + 1 / len(tested))
        tolerance = max(3 * math.sqrt(chance), LEAST_GAP)
    if on_test > reference + tolerance or on_test >= TOO_GOOD:
        fail(
            f"Your network is right on {on_test:.1%} of the test pictures{kind}: that "
            "is what a network does that was trained on test images. Train on "
            "pictures of x_train only."
        )
    if on_test < BAR:
        fail(_what_next(on_test, accuracy(x_train[own], y_train[own])))
    if handed_in.sum() < FEWEST:
        fail(
            f"{on_test:.1%} of the test pictures are right, and you handed in "
            f"{handed_in.sum():,} training pictures: too few to learn that from. Hand "
            "in all that it trained on."
        )
    text = f"{on_test:.1%} of the test pictures right by ten neighbours"
    if on_test >= GOLD:
        text = f"Gold: {text} (gold begins at {GOLD:.0%})."
    else:
        text = (
            f"{text} (bar: {BAR:.0%}). Gold begins at {GOLD:.0%}: more epochs or more "
            "training pictures may get there."
        )
    if not kind:
        return (
            f"{text} You handed in nearly all training pictures, so none were left to "
            "compare the test pictures with."
        )
    return f"{text} Of training pictures that you did not hand in: {reference:.1%}."


def _loss_of_one(i: int, z: np.ndarray, labels: np.ndarray, t: float) -> float:
    """Khosla's equation 2 for one picture, with exact sums."""
    others = [j for j in range(len(z)) if j != i]
    partners = [j for j in others if labels[j] == labels[i]]
    if not partners:
        return 0.0
    logits = {j: float(z[i] @ z[j]) / t for j in others}
    top = max(logits.values())
    total = top + math.log(math.fsum(math.exp(v - top) for v in logits.values()))
    return math.fsum(total - logits[p] for p in partners) / len(partners)


def _slips_of_loss(
    z: np.ndarray, labels: np.ndarray, t: float
) -> list[tuple[np.ndarray, str]]:
    """Compute what plausible mistakes return, each with its sentence."""
    s, own = z @ z.T, np.eye(len(z), dtype=bool)
    same = labels[:, None] == labels
    partners = same & ~own
    count = np.maximum(partners.sum(axis=1), 1)

    def loss(logits, rivals, wanted, divide, axis=1):
        with np.errstate(all="ignore"):
            top = logits.max(axis=1, keepdims=True)
            shares = np.exp(logits - top) * rivals
            total = np.log(shares.sum(axis=1, keepdims=True)) + top
            total = total.T if axis == 0 else total
            return np.where(wanted, total - logits, 0).sum(axis=1) / divide

    with np.errstate(all="ignore"):
        weights = np.exp(s / t - (s / t).max()) * ~own
        share = weights / weights.sum(axis=1, keepdims=True)
        mean_share = (share * partners).sum(axis=1) / count
        inside = -np.log(mean_share)
        surprise = np.log(weights.sum() / weights)
        whole = np.where(partners, surprise, 0).sum(axis=1) / count
    right = loss(s / t, ~own, partners, count)
    anything = np.ones_like(own)
    return [
        (
            loss(s / t, anything, partners, count),
            "The sum of exp runs over all *others*: leave the picture itself out.",
        ),
        (
            loss(s / t, ~own, same, same.sum(axis=1)),
            "A picture counts as its own partner: leave the diagonal out.",
        ),
        (
            loss(s / t, anything, same, same.sum(axis=1)),
            "The picture itself takes part: leave the diagonal out, both among the "
            "partners and in the sum of exp.",
        ),
        (
            loss(s / t, ~own, partners, np.maximum(same.sum(axis=1), 1)),
            "You divided by all of the label, the picture itself included; divide by "
            "the number of partners.",
        ),
        (loss(s / t, ~own, partners, 1), "That is the sum over the partners; average."),
        (
            loss(s, ~own, partners, count),
            "The temperature is missing: divide the dot products by it.",
        ),
        (
            loss(s * t, ~own, partners, count),
            "You multiplied by the temperature; divide by it.",
        ),
        (-right, "The sign is wrong: −log of a share is not negative."),
        (right / math.log(2), "That is in bits; use the natural logarithm."),
        (inside, "You averaged the shares and took the log; average the logs."),
        (
            loss(s / t, ~same, partners, count),
            "The sum of exp runs over *all* others, those of the same label too.",
        ),
        *(
            (
                loss(s / t, ~own, partners, n),
                "You divided by all pictures of the batch, or all others: `np.mean` "
                "over a row counts the zeros. Divide by the number of partners.",
            )
            for n in (len(z), len(z) - 1)
        ),
        (
            loss(s / t, ~own, partners, count, axis=0),
            "The sums of exp lie along the wrong axis: one for each row, as a column "
            "(axis=1, keepdims=True).",
        ),
        (
            loss(s / t, ~own, ~same, np.maximum((~same).sum(axis=1), 1)),
            "Your partners have *other* labels: take those of the same.",
        ),
        (
            loss(np.where(own, 0, s / t), anything, partners, count),
            "The diagonal is 0, and exp(0) = 1 still counts: set it to −∞.",
        ),
        (
            whole,
            "The softmax runs over the whole table; each row has its own.",
        ),
        *(
            (value, "Those are shares; the loss is the mean of −log(share).")
            for value in (mean_share, -mean_share, 1 - mean_share)
        ),
        (
            loss(2 * s / t, ~own, partners, count),
            "Did you take negative squared distances? I asked for dot products.",
        ),
        (
            loss(s / 0.1, ~own, partners, count),
            f"The temperature was {t}, and you used 0.1: take the argument.",
        ),
    ]


def _voting_cases() -> list[tuple[np.ndarray, np.ndarray, list[int]]]:
    """Tables of neighbours' labels, true labels and candidates."""
    rng, cases = np.random.default_rng(55), []
    n, width = 400, 15
    for right, trusted, far, candidates in (
        ((0.80, 0.65), 7, "negative", [3, 15, 7, 1]),
        ((0.90, 0.90), 1, "negative", [5, 1, 15]),
        ((0.60, 0.40), 15, "noise", [3, 1, 15, 5]),
    ):
        labels = rng.integers(0, 10, n)
        table = (labels[:, None] + rng.integers(1, 10, (n, width))) % 10
        hit = rng.random((n, width)) < np.linspace(*right, width)
        table[hit] = np.repeat(labels[:, None], width, axis=1)[hit]
        if far == "negative":
            table[:, trusted:] = (labels[:, None] + 1) % 10
        cases.append((table, labels, candidates))
    # Five columns are best; with one more or one fewer for each k, 7 would be.
    # 0 is the label, 1 and 2 are others.
    kinds = np.array(
        [[1, 1, 0, 0, 0, 1, 1, 0], [1, 1, 0, 2, 0, 0, 1, 0], [1, 1, 1, 0, 0, 2, 0, 0]]
    )
    labels, kind = rng.integers(0, 10, n), rng.choice(3, n, p=[0.6, 0.2, 0.2])
    # In the first rows, all columns are wrong once, then right.
    labels[:7], kind[:7] = [9, 0, 1, 2, 3, 4, 5], 0
    table = (labels[:, None] + kinds[kind]) % 10
    cases.append((table, labels, [3, 5, 7]))
    return cases


def _slip_of_choice(cases: list[Any], returned: list[float]) -> str:
    """Name the mistake that would choose as was chosen, in all the cases."""

    def hits(table, labels):
        return table == labels[:, None]

    def first_rows(table, labels, k):
        return _share_right(table[:k], labels[:k])

    slips = [
        (
            lambda table, labels, k: -_share_right(table[:, :k], labels),
            "That one is right least often: you want the largest score.",
        ),
        (
            lambda table, labels, k: _share_right(table[:, : k - 1], labels),
            "Do exactly k columns vote? With k − 1, or k + 1, I get your choice.",
        ),
        (
            lambda table, labels, k: hits(table, labels)[:, :k].mean(),
            "Did you count neighbours that have the right label? Let them vote first, "
            "and count right votes.",
        ),
        (
            first_rows,
            "You took the first k *rows*: each row is a picture, and the first k "
            "columns are its nearest neighbours.",
        ),
        (
            lambda table, labels, k: _share_right(table[:, -k:], labels),
            "The last k columns voted: the nearest come first.",
        ),
        (
            lambda table, labels, k: np.mean(table[:, k - 1] == labels),
            "Only the k-th neighbour was asked; let all of the first k vote.",
        ),
        (
            lambda table, labels, k: hits(table, labels)[:, :k].any(axis=1).mean(),
            "One right neighbour is not enough: the most frequent label of the k "
            "decides.",
        ),
        (
            lambda table, labels, k: np.mean(np.median(table[:, :k], axis=1) == labels),
            "Labels have no order, so a median means nothing: take the most frequent.",
        ),
        (
            lambda table, labels, k: 0.0,
            "Do all columns vote, whatever k is? Then every candidate scores the same, "
            "and the first of the list is taken.",
        ),
        (lambda table, labels, k: k, "You always take the largest candidate."),
        (lambda table, labels, k: -k, "You always take the smallest candidate."),
    ]
    for score, text in slips:
        chosen = [
            max(candidates, key=functools.partial(score, table, labels))
            for table, labels, candidates in cases
        ]
        if chosen == returned:
            return text
    return "Do only the first k columns vote?"


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _each_squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a[:, None] - b) ** 2).sum(axis=2)


@contextlib.contextmanager
def _advice(sentence: str) -> Iterator[None]:
    """Add a sentence to what NumPy says about arrays that do not fit."""
    try:
        yield
    except ValueError as error:
        error.args = (f"{error}. {sentence}",)
        raise


def _share_right(neighbor_labels: np.ndarray, labels: np.ndarray) -> float:
    votes = (neighbor_labels[:, :, None] == np.arange(10)).sum(axis=1)
    return float(np.mean(votes.argmax(axis=1) == labels))


def _nearest(bank: np.ndarray, queries: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=N_NEIGHBORS, algorithm="brute").fit(bank)
    return index.kneighbors(queries, return_distance=False)


def _vectors(answer: Answer, pictures: np.ndarray) -> np.ndarray:
    """Vectors of pictures, of the right form."""
    # `predict` without verbose=0 would print a bar for each call.
    with contextlib.redirect_stdout(io.StringIO()):
        got = as_array("garment_vectors", answer(pictures.copy()))
    n = len(pictures)
    if got.ndim != 2 or len(got) != n:
        slip = "I asked for one row of numbers for each picture."
        if got.ndim == 1 and len(got) == n:
            slip = "Are those labels? I asked for vectors."
        elif got.ndim and len(got) != n:
            slip = "Do you answer the pictures that are handed in?"
        fail(f"For {n:,} pictures your function returned shape {got.shape}. {slip}")
    if got.shape[1] > MAX_COLUMNS:
        fail(
            f"Your vectors have {got.shape[1]} numbers; at most {MAX_COLUMNS} are "
            "allowed."
        )
    if not np.isfinite(got).all():
        fail(
            "Your vectors hold NaN or infinite numbers: did the training diverge? Try "
            "a lower learning rate."
        )
    return got.astype(np.float32)


def _expect_that_it_looks(answer: Answer, pictures: np.ndarray) -> None:
    """Refuse vectors that are one point, or that do not come from the pictures."""
    from scipy.spatial.distance import pdist

    first = _vectors(answer, pictures)
    spread = float(first.std(axis=0).max())
    size = float(np.sqrt(np.mean(first**2)))
    if spread <= 1e-4 * max(size, 1e-12):
        fail(
            "All pictures get the same vector: your network collapsed to a point. "
            "That happens when nothing pushes labels apart, or when the learning rate "
            "is too high."
        )

    def apart(one: np.ndarray, other: np.ndarray) -> float:
        """Mean distance in units of the cloud's own spread."""
        total = float(np.sqrt(first.var(axis=0).sum()))
        return float(np.mean(np.linalg.norm(one - other, axis=1))) / total

    if len(np.unique(np.round(first / size, 4), axis=0)) <= 20:
        fail(
            f"Your vectors of {len(pictures)} pictures take only a handful of values: "
            "are those labels, written as numbers? I asked for the embedder's vectors."
        )
    turned = _vectors(answer, pictures[::-1])
    again = _vectors(answer, pictures)
    if apart(first, again) > 0.5:
        # Another network's vectors differ, but what was far apart mostly still is.
        if np.corrcoef(pdist(first), pdist(again))[0, 1] > 0.2:
            fail(
                "The same pictures get quite other vectors the second time. Do you "
                "build or train the network inside the function? Do it once, before."
            )
        fail(
            "The same pictures get quite other vectors the second time: your network "
            "ignores its input, and chance decides."
        )
    if apart(first, again) > 0.02:
        fail(
            "The same pictures get other vectors the second time. Is dropout or noise "
            "still at work? `embed` and `predict` switch it off."
        )
    if apart(first, turned) < 0.02:
        fail(
            "Other pictures in the same places get the same vectors: your network "
            "ignores its input, and the place in the batch decides."
        )
    if apart(first, turned[::-1]) > 0.02:
        fail(
            "A picture gets another vector when the others stand in another order. "
            "Each vector should come from its own picture only."
        )
    alone = np.concatenate([_vectors(answer, pictures[i : i + 1]) for i in range(4)])
    if apart(first[:4], alone) > 0.1:
        fail(
            "A picture gets another vector when it comes alone. Is something "
            "computed over the batch, as normalisation does in training?"
        )


def _expect_training_pictures(
    trained_on: Any, x_train: np.ndarray, x_test: np.ndarray
) -> np.ndarray:
    """Which official training pictures the network has seen, as booleans."""
    pictures = np.asarray(trained_on)
    if pictures.dtype.kind not in "uif" or pictures.ndim < 2 or not len(pictures):
        fail(
            "The second argument should hold the pictures that your network trained "
            "on, of shape (n, 28, 28)."
        )
    if pictures[0].size != 784:
        fail(
            f"The second argument has shape {pictures.shape}; I expected pictures of "
            "28 × 28."
        )
    seen, leaked, known = _known_pictures(pictures, x_train, x_test)
    if leaked:
        fail(
            f"{leaked:,} of your {len(pictures):,} training pictures are test images: "
            "the network was trained on what it is tested with. Use pictures of "
            "x_train only."
        )
    if known < 0.5:
        fail(
            "Most of the pictures in the second argument are none that I know. Hand "
            "them in as load_fashion_mnist gives them."
        )
    return seen


def _known_pictures(
    pictures: np.ndarray, x_train: np.ndarray, x_test: np.ndarray
) -> tuple[np.ndarray, int, float]:
    """Which of x_train are among them, how many test images, the share that is known.

    Pictures hold 0 to 255, or floats 0 to 1.
    """
    if pictures.dtype.kind == "f" and pictures.max() <= 1:
        pictures = np.rint(pictures * 255)
    pictures = pictures.reshape(len(pictures), 784).astype(np.uint8)
    train = [row.tobytes() for row in x_train]
    test = [row.tobytes() for row in x_test]
    origin = origin_of([row.tobytes() for row in pictures], train, test)
    seen = np.array([picture in origin.seen for picture in train])
    return seen, origin.leaked, 1 - origin.unknown / len(pictures)


def _expect_honest_notes(
    answer: Answer, handed_in: np.ndarray, x_train: np.ndarray, x_test: np.ndarray
) -> None:
    """Compare what `train` noted of the networks that a function uses."""
    used = {id(value): value for _, value in reached(answer)}
    for network in used.values():
        if not isinstance(getattr(network, "trained_on", None), list | tuple):
            continue
        seen = np.zeros(len(x_train), bool)
        for pictures in map(np.asarray, network.trained_on):
            if pictures.dtype.kind not in "uif" or pictures[:1].size != 784:
                continue
            more, leaked, _ = _known_pictures(pictures, x_train, x_test)
            seen |= more
            if leaked:
                fail(
                    f"`train` noted that your network was trained on test images: "
                    f"{leaked:,} of them. Build a new one, and train it on pictures of "
                    "x_train only."
                )
        if (seen & ~handed_in).any():
            fail(
                f"`train` noted {seen.sum():,} pictures of x_train for your network, "
                f"and you handed in {handed_in.sum():,}. Hand in all that it trained "
                "on."
            )


def _what_next(on_test: float, on_own: float) -> str:
    head = (
        f"{on_test:.1%} of the test pictures are right by ten neighbours, the bar is "
        f"{BAR:.0%}"
    )
    if math.isfinite(on_own):
        head += f"; of those it trained on, {on_own:.1%}"
    head += "."
    if on_test < 0.3:
        return (
            f"{head} That is close to guessing: do pictures and labels still stand in "
            "the same order?"
        )
    if on_test < UNTRAINED:
        return (
            f"{head} An untrained embedder gets 72% to 76%. Are the pictures scaled as "
            "in training (make_embedder scales them itself), and do both kinds of "
            "pairs count in the loss? If so, it needs more epochs."
        )
    if on_own - on_test > 0.05:
        return f"{head} It knows its own pictures better: give it more of them."
    return (
        f"{head} PCA alone gets 82% to 83%. If yours is a trained network, try more "
        "epochs, a wider one, or more pictures."
    )


summary = summary_of(__name__)
