"""Checks of lesson 05, siamese networks on Fashion-MNIST."""

from __future__ import annotations

import dis
import inspect
import math
from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import as_array, fail
from course_utils.checks.garments import share_right
from course_utils.checks.garments import train_embedder as train_embedder
from course_utils.checks.summary import summary_of

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax

Answer = Callable[..., Any]


def _refuse_loops(answer: Answer) -> None:
    """Refuse a right answer whose own code goes through the pairs one by one."""
    code = getattr(inspect.unwrap(answer), "__code__", None)
    if code is not None and _loops(code):
        fail(
            "The result is right, but your code has a loop or a comprehension. The "
            "exercise asks for array operations, which are far faster."
        )


def _loops(code: CodeType) -> bool:
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    jumps = any("JUMP_BACKWARD" in step.opname for step in dis.get_instructions(code))
    return jumps or any(map(_loops, inner))


_squared = partial(cdist, metric="sqeuclidean")


def _expanded(a: Any, b: Any, *, power: int = 2, products: int = -2) -> np.ndarray:
    """Compute ‖a‖² + ‖b‖² − 2 a·b, or that with another power or factor."""
    norms = [np.linalg.norm(rows, axis=1) ** power for rows in (a, b)]
    return np.add.outer(*norms) + products * a @ b.T


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _two_sets() -> list[Case]:
    draw = np.random.default_rng(52).normal
    shapes = ((6, 4, 3), (5, 8, 2))
    return [Case(draw(size=(n, d)), draw(0.5, size=(m, d))) for n, m, d in shapes]


def _look_at_equal_rows(answer: Answer) -> None:
    near = np.random.default_rng(52).normal(10, size=(60, 32)).astype("float32")
    table = answer(near, near.copy())
    least = as_array("squared_distances", table).min()
    if not least >= 0:  # NaN is not
        fail(
            f"Between equal rows your function gives {least:.0e}, not 0: rounding may "
            "go below 0, whose root is NaN. Put `np.maximum(…, 0)` around the result."
        )
    if np.shape(np.sqrt(table)[np.eye(60, dtype=bool)]) != (60,):
        fail("A later cell picks pairs by a table of booleans: return a NumPy array.")
    _refuse_loops(answer)


@reference(
    "5.1",
    hints=[
        "`a @ b.T` holds all dot products, shape (n, m). Where do the two norms go?",
        "`np.sum(a**2, axis=1)[:, None]` is a column, the same of b a row. Add them, "
        "and subtract twice the products.",
        "`squared = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) "
        "- 2 * a @ b.T`, then `np.maximum(squared, 0)`: rounding can leave "
        "−0.0000001.",
    ],
    cases=_two_sets,
    mistakes={
        "Rows and columns have changed places: one row for each row of a, and one "
        "column for each row of b.": lambda a, b: _squared(b, a),
        "The squares of each column are still apart: add up the last axis, of d "
        "numbers.": lambda a, b: (a[:, None] - b) ** 2,
        "That is one number; I asked for one for every pair of a row of a and a row of "
        "b.": lambda a, b: _squared(a, b).sum(),
        "You took the root; I asked for squared distances.": cdist,
        "Those are dot products; the norms are missing.": lambda a, b: a @ b.T,
        "The dot products count twice: −2 a·b.": partial(_expanded, products=-1),
        "You computed ‖a + b‖², the square of the sum: the dot products go with a "
        "minus.": partial(_expanded, products=2),
        "Those are the norms only, the same for near and far: the dot products are "
        "missing.": partial(_expanded, products=0),
        "The norms have to be squared, as in the formula.": partial(_expanded, power=1),
        "You took the mean over the columns; add them up: a squared distance is a sum "
        "of squares.": lambda a, b: _squared(a, b) / a.shape[1],
        "You added absolute differences; square each of them, as a squared distance is "
        "a sum of squares.": partial(cdist, metric="cityblock"),
        "You subtracted a mean first: distances change when a and b move apart.": (
            lambda a, b: _squared(a - a.mean(axis=0), b),
            lambda a, b: _squared(a - a.mean(axis=0), b - b.mean(axis=0)),
        ),
        "You scaled the rows to length 1 first, which moves them: take them as they "
        "come.": lambda a, b: _squared(_unit(a), _unit(b)),
    },
    then=_look_at_equal_rows,
    advice="For a of shape {a.shape} and b of shape {b.shape}, ‖a‖² should have shape "
    "({a.shape[0]}, 1), ‖b‖² shape ({b.shape[0]},) or (1, {b.shape[0]}), and a @ b.T "
    "shape ({a.shape[0]}, {b.shape[0]}).",
    passed="Every distance is right, and none is below 0. Written as a matrix product "
    "it also is cheap: subtracting row from row first, 1,000 pictures and 32 columns "
    "fill a table of 32 million numbers.",
    atol=1e-5,
)
def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Subtract row from row."""
    return np.array([[np.sum((p - q) ** 2) for q in b] for p in a])


def _short(margin: Any, distances: Any) -> Any:
    return np.maximum(margin - distances, 0)


def _push(distances: Any, margin: float) -> Any:
    return _short(margin, distances) ** 2


def _mean_loss(d, same, margin=1.0, *, pull=np.square, push=_push, reduce=np.mean):
    """Compute the contrastive loss, or that with one of its parts exchanged."""
    return reduce(np.where(same, pull(d), push(d, margin)))


_but = partial(partial, _mean_loss)


def _by_kind(d: np.ndarray, same: np.ndarray, margin: float = 1.0) -> float:
    return np.mean(d[same] ** 2) + np.mean(_push(d[~same], margin))


def _pairs() -> list[Case]:
    rng = np.random.default_rng(53)
    return [
        Case(
            np.array([0.3, 1.4, 0.6, 0.8, 1.2]),
            np.array([True, True, False, False, False]),
            given="[0.3, 1.4, 0.6, 0.8, 1.2], the first two of one label, and margin 1",
        ),
        *(
            Case(rng.uniform(0.05, 1.9, n), rng.random(n) < share, margin)
            for n, share, margin in ((16, 0.4, 0.6), (15, 0.4, 2.0), (14, 0, 1.0))
        ),
    ]


@reference(
    "5.2",
    hints=[
        "Two formulas, one for each kind of pair. Compute both for all pairs, then "
        "choose with `np.where(same, …, …)`.",
        "Same label: `distances**2`. Two labels: `np.maximum(margin - distances, 0)`, "
        "then square.",
        "`apart = np.maximum(margin - distances, 0)**2`, then "
        "`np.mean(np.where(same, distances**2, apart))`.",
    ],
    cases=_pairs,
    mistakes={
        "That is one loss a pair; I asked for their mean.": _but(reduce=np.asarray),
        "That is the sum; divide by the number of pairs.": _but(reduce=np.sum),
        "That is half: the losses here have no factor ½, which some papers put before "
        "them.": lambda d, same, m=1.0: _mean_loss(d, same, m) / 2,
        "The two kinds have changed places: for one label, the loss is the squared "
        "distance.": lambda d, same, m=1.0: _mean_loss(d, ~same, m),
        "Two labels that are farther apart than the margin cost nothing: max(0, "
        "margin − distance) is 0 there. In your code they cost something.": _but(
            push=lambda d, m: (m - d) ** 2
        ),
        "For two labels, take the margin minus the distance first, then square; not "
        "the margin minus the squared distance.": _but(
            push=lambda d, m: _short(m, d**2)
        ),
        "For two labels the square is missing.": _but(push=lambda d, m: _short(m, d)),
        "For one label, square as well.": _but(pull=np.abs),
        "Both losses are squares; yours are the distance and the gap to the margin, as "
        "they are.": _but(pull=np.abs, push=lambda d, m: _short(m, d)),
        "The margin was {margin}, and you used 1: take the argument, not its default "
        "value.": lambda d, same, m=1.0: _mean_loss(d, same),
        "In your code two labels cost nothing, however close they are; they should "
        "push each other apart.": _but(push=lambda d, m: 0),
        "Each kind has its own mean here: take one over all pairs, of both kinds "
        "together.": (_by_kind, lambda *pairs: _by_kind(*pairs) / 2),
        "In your code two labels cost something beyond the margin; they should within: "
        "margin − distance.": _but(push=lambda d, m: _short(d, m) ** 2),
        "You divided by the number of pairs whose loss is above 0; divide by all, also "
        "those of loss 0.": _but(reduce=lambda losses: losses[losses > 0].mean()),
    },
    advice="(With arrays, `np.maximum` takes the place of `max`, and `np.where` that "
    "of `if`.)",
    passed="One label pulls, two labels push, and the push ends at the margin. Without "
    "the push every picture could sit on one point, at no cost.",
)
def contrastive_loss(
    distances: np.ndarray, same: np.ndarray, margin: float = 1.0
) -> float:
    """Go pair by pair; Hadsell, Chopra and LeCun (2006), CVPR, without its ½."""
    pairs = zip(distances, same, strict=True)
    losses = [d * d if alike else max(margin - d, 0) ** 2 for d, alike in pairs]
    return sum(losses) / len(losses)


def _loss(z, y, t=0.1, among="others", over="positives", by="", axis=1, fill=-np.inf):
    """Compute the supervised contrastive loss, or that with parts exchanged.

    A softmax `among` some, with the logit `fill` for others, then a sum `over` some,
    divided `by` the number of some.
    """
    own, same = np.eye(len(y), dtype=bool), y[:, None] == y
    masks = {"all": own | ~own, "others": ~own, "own": own, "same": same}
    masks |= {"positives": same & ~own, "negatives": ~same}
    logits = z @ z.T / t
    competing = np.where(masks[among], logits, fill)
    minus_log = logsumexp(competing, axis=axis, keepdims=True) - logits
    sums = np.where(masks[over], minus_log, 0).sum(axis=1)
    return sums / np.maximum(masks[by or over].sum(axis=1), 1)


def _mean_share(z: np.ndarray, y: np.ndarray, t: float = 0.1) -> np.ndarray:
    others = ~np.eye(len(y), dtype=bool)
    positives = (y[:, None] == y) & others
    shares = softmax(np.where(others, z @ z.T / t, -np.inf), axis=1)
    return (shares * positives).sum(axis=1) / np.maximum(positives.sum(axis=1), 1)


def _batches() -> list[Case]:
    rng, cases = np.random.default_rng(54), []
    for labels, *temperature in (
        ([0, 1, 0, 1, 1, 0],),
        ([4, 4, 7, 7, 7, 4, 4], 0.5),
        ([2, 5, 2, 9, 2], 0.2),
        ([3, 3, 3, 3], 0.3),
        ([0, 1, 2, 3, 4], 0.1),
    ):
        z = _unit(rng.normal(size=(len(labels), 4)))
        cases.append(Case(z, np.array(labels), *temperature))
    # At temperature 0.001 exp of a similarity near 1 is beyond any float. The picture
    # at 180° is far from all others: beside its own, exp of theirs is 0.
    angles = np.radians([0, 5, 9, 180, 20, 33])
    z = np.column_stack([np.cos(angles), np.sin(angles)])
    return [*cases, Case(z, np.array([0, 1, 0, 1, 0, 1]), 0.001)]


def _slip_of_loss(got, expected, vectors, labels, *_: Any) -> str:
    if got.shape != expected.shape or np.isfinite(got).all():
        return ""
    if not np.isfinite(got[(labels[:, None] == labels).sum(axis=1) == 1]).all():
        return (
            "Where no other picture has the label, your function divides 0 by 0 or "
            "takes 0 · ∞. The loss there is 0: divide by at least 1."
        )
    return (
        "If exp overflows, or is 0 in a whole row, subtract the row's largest value "
        "first, that of the *others*: with −∞ on the diagonal. A share may be 0: take "
        "log Σ exp minus the similarity, not its logarithm. Keep −∞ out of sums by "
        "`np.where`."
    )


@reference(
    "5.3",
    hints=[
        "Take one picture. Which similarity stands above the line of its share, and "
        "which are added below it? Which picture is missing from both?",
        "Begin with `vectors @ vectors.T / temperature`. A picture does not compete "
        "with itself: set the diagonal to −∞ with `np.fill_diagonal`.",
        "−log(share of p) is log Σ exp − similarity to p. Of the row's values, keep "
        "those of the same label, without the diagonal, and average them.",
        "With the diagonal at −∞, take each row's largest value; subtract it before "
        "`np.exp`, add it again after `np.log`. Divide by `np.maximum(number of "
        "positives, 1)`; use `np.where`, as 0 · ∞ is NaN.",
    ],
    cases=_batches,
    mistakes={
        "That is one number for the batch; I asked for one per picture, so that they "
        "can be compared.": lambda *batch: _loss(*batch).mean(),
        "That is one number per pair: take the mean over the positives of each "
        "picture, for one per picture.": lambda z, y, t=0.1: z @ z.T / t,
        "The sum of exp runs over all *others*, here over the picture itself as well: "
        "leave it out.": partial(_loss, among="all"),
        "A picture counts as its own positive, with a dot product of 1 with itself: "
        "leave the diagonal out.": partial(_loss, over="same"),
        "The picture itself takes part: leave the diagonal out, both among the "
        "positives and in the sum of exp.": partial(_loss, among="all", over="same"),
        "You divided by all of the label, the picture itself included; divide by the "
        "number of positives.": partial(_loss, by="same"),
        "That is the sum over the positives; average.": partial(_loss, by="own"),
        "You divided by all pictures of the batch, or all others: `np.mean` over a row "
        "counts the zeros. Divide by the number of "
        "positives.": (partial(_loss, by="all"), partial(_loss, by="others")),
        "The sum of exp runs over *all* others, those of the same label too, not over "
        "the negatives alone.": partial(_loss, among="negatives"),
        "You averaged over the pictures of *other* labels: take the others of the same "
        "label.": partial(_loss, over="negatives"),
        "The sums of exp lie along the wrong axis: one for each row, as a column "
        "(axis=1, keepdims=True).": partial(_loss, axis=0),
        "The softmax runs over the whole table; each row has its own, over the others "
        "of one picture.": partial(_loss, axis=None),
        "The diagonal is 0, and exp(0) = 1 still counts: set it to −∞, whose exp is "
        "0.": partial(_loss, fill=0),
        "The temperature is missing: divide the dot products by it, before the softmax "
        "is taken.": lambda z, y, t=0.1: _loss(z, y, 1),
        "You multiplied by the temperature; divide by it, so that a small one makes "
        "differences large.": lambda z, y, t=0.1: _loss(z, y, 1 / t),
        "The temperature was {temperature}, and you used 0.1: take the argument, not "
        "its default value.": lambda z, y, t=0.1: _loss(z, y),
        "Did you take negative squared distances? I asked for dot products, whose "
        "differences are half as large.": lambda z, y, t=0.1: _loss(z, y, t / 2),
        "The sign is wrong: a share is at most 1, so that −log of it is not "
        "negative.": lambda *batch: -_loss(*batch),
        "That is in bits, by the logarithm to base 2; the loss is in nats: use the "
        "natural logarithm.": lambda *batch: _loss(*batch) / math.log(2),
        "You averaged the shares and took the log; take the log of each share, and "
        "average the logs.": lambda *batch: -np.log(_mean_share(*batch)),
        "Those are shares; the loss is the mean of −log(share), over the positives of "
        "each picture.": (_mean_share, lambda *batch: 1 - _mean_share(*batch)),
    },
    slip=_slip_of_loss,
    passed="The loss of a picture is high where negatives are nearer than positives. "
    "The nearest negatives weigh most, so training works where the errors are.",
    atol=1e-4,
)
def supervised_loss(
    vectors: np.ndarray, labels: np.ndarray, temperature: float = 0.1
) -> np.ndarray:
    """Go picture by picture; Khosla et al. (2020), NeurIPS, equation 2."""
    losses = []
    for i, label in enumerate(labels):
        others = np.arange(len(labels)) != i
        logits = vectors[others] @ vectors[i] / temperature
        positives = logits[labels[others] == label]
        losses.append(logsumexp(logits) - positives.mean() if len(positives) else 0.0)
    return np.array(losses)


def _batches_of_distances() -> list[Case]:
    rng, cases = np.random.default_rng(55), []
    for labels, width in (([0, 0, 1, 1, 0, 2], 3), ([3, 7, 3, 3, 7, 7, 9], 2)):
        z = _unit(rng.normal(size=(len(labels), width)))
        cases.append(Case(*_distances_of(z, labels)))
    # All negatives are nearer to the first anchor than its positive is.
    angles = np.radians([0, 170, 20, 50, 80, 110])
    z = np.column_stack([np.cos(angles), np.sin(angles)])
    return [*cases, Case(*_distances_of(z, [0, 0, 1, 1, 2, 2]))]


def _distances_of(z: np.ndarray, labels: list[int]) -> tuple[np.ndarray, np.ndarray]:
    same = np.equal.outer(labels, labels)
    return _squared(z, z).astype("float32"), same


def _negative(squared, same, pick=min, beyond=True, fallback=max, others=True):
    """Squared distance to the negative of each pair, or to that of a mistake."""
    table = np.zeros(squared.shape, "float32")
    for a, p in np.ndindex(*squared.shape):
        rows = [n for n in range(len(squared)) if not same[a, n] or not others]
        every = [squared[a, n] for n in rows]
        usable = [d for d in every if d > squared[a, p] or not beyond]
        table[a, p] = pick(usable) if usable else fallback(every)
    return table


def _of_pairs(got: Any, expected: Any, squared: Any, same: Any) -> bool:
    pairs = same & ~np.eye(len(same), dtype=bool)
    if np.shape(got) != np.shape(expected):
        return False
    return bool(np.allclose(np.asarray(got)[pairs], expected[pairs], atol=1e-5))


def _slip_of_miner(got, expected, squared, same, *_: Any) -> str:
    if np.shape(got) != np.shape(expected):
        return (
            "I asked for a table, one entry for each anchor (row) and positive "
            "(column): compare in three axes, anchor, positive, negative, and take the "
            "`min` over the last."
        )
    pairs = same & ~np.eye(len(same), dtype=bool)
    known = (
        (
            partial(_negative, beyond=False),
            "That is the nearest negative of all; it "
            "should be farther than the positive.",
        ),
        (
            partial(_negative, pick=max),
            "That is the farthest negative; I asked for the "
            "nearest of those that are farther than the positive.",
        ),
        (
            partial(_negative, fallback=min),
            "Where no negative is farther than the "
            "positive, take the *farthest* negative: yours is the nearest.",
        ),
        (
            partial(_negative, others=False),
            "Pictures of the anchor's own label count "
            "as negatives in your code: leave out those where `same` is True.",
        ),
        (
            lambda d, s: _negative(d, s).T,
            "Rows and columns have changed places: row a "
            "belongs to anchor a, column p to its positive.",
        ),
    )
    came = np.asarray(got, float)
    for mistake, sentence in known:
        if np.allclose(came[pairs], mistake(squared, same)[pairs], atol=1e-5):
            return sentence
    if not np.isfinite(came[pairs]).all() or came[pairs].max() > 4.001:
        return (
            "Where no negative is farther than the positive, take the farthest "
            "negative: in your code a stand-in for “none” is left there."
        )
    return "The first pair that differs is one of two different pictures of one label."


def _look_into_a_graph(answer: Answer) -> None:
    """Use an answer as the lesson does: compiled, with a gradient."""
    import tensorflow as tf

    z = tf.Variable(
        _unit(np.random.default_rng(5).normal(size=(12, 4))), dtype="float32"
    )
    same = tf.constant(np.equal.outer(*[np.arange(12) % 3] * 2))

    def loss() -> Any:
        squared = 2 - 2 * tf.matmul(z, z, transpose_b=True)
        return tf.reduce_sum(tf.where(same, answer(squared, same), 0.0))

    def slope() -> Any:
        with tf.GradientTape() as tape:
            total = loss()
        return tape.gradient(total, z)

    try:
        found = tf.function(slope)()
    except Exception as error:
        kind = type(error).__name__
        fail(
            "The table is right, but a compiled training step cannot run your code "
            f"({kind}). Use `keras.ops` throughout, no NumPy and no loop over pairs."
        )
    if found is None:
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
    cases=_batches_of_distances,
    accepts=_of_pairs,
    slip=_slip_of_miner,
    then=_look_into_a_graph,
    passed="Each pair gets the nearest negative beyond its positive: neither the "
    "hardest one nor an easy one. It also runs in a compiled training step. Now train "
    "with it.",
)
def semi_hard(squared: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Go pair by pair; Schroff, Kalenichenko and Philbin (2015), CVPR."""
    return _negative(squared, same)


def _voting_tables() -> list[tuple[np.ndarray, np.ndarray, list[int]]]:
    """Draw neighbours' labels, true labels and candidates, the best beyond any tie."""
    rng = np.random.default_rng(57)
    found: list[Any] = []
    while len(found) < 16:
        y, right = rng.integers(0, 10, 200), rng.choice([0.2, 0.7], 16)
        wrong = (y[:, None] + rng.integers(1, 10, (200, 2))) % 10
        table = np.where(rng.random((200, 16)) < 0.6, wrong[:, :1], wrong[:, 1:])
        table = np.where(rng.random((200, 16)) < right, y[:, None], table)
        candidates = rng.permutation(np.arange(1, 16, 2))[:4].tolist()
        lost, won = (sorted(_scores(table, y, candidates, tie)) for tie in (-0.5, 0.5))
        if lost[-1] > won[-2]:
            found.append((table, y, candidates))
    return found


def _scores(table: Any, y: Any, candidates: list[int], tie: float = 0.0) -> list[float]:
    return [share_right(table[:, :k], y, tie) for k in candidates]


def _less_often_right(got: Any, expected: Any, *given: Any) -> str:
    table, y, candidates = given
    if got not in candidates:
        return "Choose among `candidates`."
    yours, ours = _scores(table, y, [int(got), int(expected)])
    return (
        f"Its votes are right for {yours:.1%}, those of {expected} for {ours:.1%}. Do "
        "only the first k columns vote?"
    )


def _by(score: Answer) -> Answer:
    """Choose by a score of a table, the true labels and one k."""
    return lambda table, y, ks: max(ks, key=lambda k: score(table, y, k))


_WRONG_SCORES = {
    "That one is right least often: you want the largest score.": (
        lambda table, y, k: -share_right(table[:, :k], y)
    ),
    "Do exactly k columns vote? With k − 1 of them I get your choices, in all tables "
    "of the check.": lambda table, y, k: share_right(table[:, : k - 1], y),
    "Do exactly k columns vote? With k + 1 of them I get your choices, in all tables "
    "of the check.": lambda table, y, k: share_right(table[:, : k + 1], y),
    "Column 0 is the nearest neighbour, not the picture itself: let it vote, as one of "
    "the k.": lambda table, y, k: share_right(table[:, 1:k], y),
    "Column 0 is the nearest neighbour, not the picture itself: let it vote, and the "
    "next k − 1.": lambda table, y, k: share_right(table[:, 1 : k + 1], y),
    "Did you count neighbours that have the right label? Let them vote first, and "
    "count right votes.": lambda table, y, k: np.mean(table[:, :k] == y[:, None]),
    "You took the first k *rows*: each row is a picture, and the first k columns are "
    "its nearest neighbours.": lambda table, y, k: share_right(table[:k], y[:k]),
    "The last k columns voted: the nearest neighbours come first, in columns 0 to "
    "k − 1.": lambda table, y, k: share_right(table[:, -k:], y),
    "Only the k-th neighbour was asked; let all of the first k vote, each with one "
    "vote.": lambda table, y, k: np.mean(table[:, k - 1] == y),
    "One right neighbour is not enough: the most frequent label of the k decides.": (
        lambda table, y, k: np.mean((table[:, :k] == y[:, None]).any(axis=1))
    ),
    "Labels have no order, so a median means nothing: take the most frequent label of "
    "the k.": lambda table, y, k: np.mean(np.median(table[:, :k], axis=1) == y),
    "Do all columns vote, whatever k is? Then every candidate scores the same, and the "
    "first of the list is taken.": lambda table, y, k: 0,
    "You always take the largest candidate.": lambda table, y, k: k,
    "You always take the smallest candidate.": lambda table, y, k: -k,
}


@reference(
    "5.4",
    hints=[
        "Take k = 3. Which part of `neighbor_labels` may vote? What would you compare "
        "its votes with?",
        "`vote(neighbor_labels[:, :k])` gives the answers for one k; the share that "
        "agrees with `labels` is its accuracy. Collect one for each candidate.",
        "`scores = [np.mean(vote(neighbor_labels[:, :k]) == labels) for k in "
        "candidates]`, then `candidates[int(np.argmax(scores))]`.",
    ],
    cases=lambda: [Case(*table) for table in _voting_tables()],
    mistakes={
        "That is one score a candidate; return the best candidate.": _scores,
        "You returned its score; return the candidate.": (
            lambda *table: max(_scores(*table))
        ),
        "That is its place in the list; return the candidate at that place.": (
            lambda *table: int(np.argmax(_scores(*table)))
        ),
        **{said: _by(score) for said, score in _WRONG_SCORES.items()},
    },
    slip=_less_often_right,
    then=lambda answer: as_array(
        "choose_k", answer(*_voting_tables()[0]), like=np.array(0)
    ),
    passed="k was chosen without a look at the test pictures. Their score now says "
    "what it claims to say.",
)
def choose_k(neighbor_labels: Any, labels: np.ndarray, candidates: list[int]) -> int:
    """Take the first of the best."""
    scores = _scores(neighbor_labels, labels, candidates)
    return candidates[scores.index(max(scores))]


summary = summary_of(__name__)
