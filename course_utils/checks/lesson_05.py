"""Checks of lesson 05, siamese networks on Fashion-MNIST."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import as_array, fail
from course_utils.checks.garments import share_right
from course_utils.checks.garments import train_embedder as train_embedder
from course_utils.checks.leaks import reached
from course_utils.checks.summary import summary_of
from course_utils.checks.triplet_miner import semi_hard as semi_hard

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax

Answer = Callable[..., Any]


def _refuse_loops(answer: Answer) -> None:
    """Refuse a right answer that takes more steps for more rows or columns."""
    a, b = np.random.default_rng(51).normal(size=(2, 60, 32))
    few_rows, few_columns = (a[:20], b[:20]), (a[:, :8], b[:, :8])
    counts = [_steps(answer, *some) for some in (few_rows, few_columns, (a, b))]
    for part, count in zip(("rows", "columns"), counts[:2], strict=True):
        if counts[2] > count + 10:
            fail(
                f"The result is right, but your code goes through the {part} one by "
                "one, in a loop, a comprehension or a function that is called for "
                "each. The exercise asks for operations on whole arrays."
            )


def _steps(answer: Answer, *arguments: np.ndarray) -> int:
    """Count the lines of Python that run, those of libraries included."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        answer(*arguments)
    finally:
        sys.settrace(before)
    return count


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


def _off_diagonal(table: np.ndarray) -> np.ndarray:
    return table[~np.eye(len(table), dtype=bool)]


def _mean_loss(
    z, y, margin=1.0, *, pull=np.square, push=_push, pairs=_off_diagonal, reduce=np.mean
):
    """Compute the contrastive loss, or that with one of its parts exchanged."""
    d, same = cdist(z, z), np.equal.outer(y, y)
    return reduce(pairs(np.where(same, pull(d), push(d, margin))))


_but = partial(partial, _mean_loss)


def _swapped(z: np.ndarray, y: np.ndarray, margin: float = 1.0) -> float:
    d, same = cdist(z, z), np.equal.outer(y, y)
    return np.mean(_off_diagonal(np.where(same, _push(d, margin), d**2)))


def _by_kind(z: np.ndarray, y: np.ndarray, margin: float = 1.0) -> float:
    d, same = _off_diagonal(cdist(z, z)), _off_diagonal(np.equal.outer(y, y))
    return np.mean(d[same] ** 2) + np.mean(_push(d[~same], margin))


def _labelled() -> list[Case]:
    rng = np.random.default_rng(53)
    return [
        Case(rng.uniform(0, 1.1, (len(labels), 2)), np.array(labels), *margin)
        for labels, *margin in (
            ([0, 0, 1, 2, 1],),
            ([4, 4, 7, 7, 9, 4], 0.6),
            ([2, 5, 2, 9], 2.0),
            ([3, 1, 2, 0, 4], 1.0),
        )
    ]


@reference(
    "5.2",
    hints=[
        "Begin with a table of distances, `np.sqrt(squared_distances(vectors, "
        "vectors))`, and one of booleans, `labels[:, None] == labels`.",
        "Two formulas, one for each kind of pair. Compute both for all pairs, then "
        "choose with `np.where(same, …, …)`. For two labels: `np.maximum(margin - "
        "distances, 0)`, then square.",
        "`losses = np.where(same, distances**2, apart)`; the mean without the diagonal "
        "is `losses[~np.eye(len(labels), dtype=bool)].mean()`.",
    ],
    cases=_labelled,
    mistakes={
        "That is one loss a pair; I asked for their mean.": (
            _but(reduce=np.asarray),
            _but(pairs=np.asarray, reduce=np.asarray),
        ),
        "That is one loss a picture; I asked for the mean over all pairs, one "
        "number.": lambda z, y, m=1.0: np.array([_mean_loss(z, y, m)] * len(y)),
        "A picture makes no pair with itself: take the mean over the n(n − 1) entries "
        "of two pictures, without the diagonal.": _but(pairs=np.asarray),
        "Those entries are squared distances; the margin is for distances: take the "
        "root first.": (
            _but(pull=lambda d: d**4, push=lambda d, m: _push(d**2, m)),
            _but(push=lambda d, m: _push(d**2, m)),
        ),
        "That is the sum; divide by the number of pairs.": (
            _but(reduce=np.sum),
            lambda z, y, m=1.0: _mean_loss(z, y, m, reduce=np.sum) / 2,
        ),
        "That is half: the losses here have no factor ½, which some papers put before "
        "them.": lambda z, y, m=1.0: _mean_loss(z, y, m) / 2,
        "The two kinds have changed places: for one label, the loss is the squared "
        "distance.": _swapped,
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
        "value.": lambda z, y, m=1.0: _mean_loss(z, y),
        "In your code two labels cost nothing, however close they are; they should "
        "push each other apart.": _but(push=lambda d, m: 0),
        "Each kind has its own mean here: take one over all pairs, of both kinds "
        "together.": (_by_kind, lambda *batch: _by_kind(*batch) / 2),
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
    vectors: np.ndarray, labels: np.ndarray, margin: float = 1.0
) -> float:
    """Go pair by pair; Hadsell, Chopra and LeCun (2006), CVPR, without its ½."""
    losses = []
    for i, j in combinations(range(len(labels)), 2):
        d = math.dist(vectors[i], vectors[j])
        alike = labels[i] == labels[j]
        losses.append(d * d if alike else max(margin - d, 0) ** 2)
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


def _zero_where_alone(z: np.ndarray, y: np.ndarray, t: float = 0.1) -> np.ndarray:
    """Compute −log of the mean share, and 0 for a picture without positives."""
    alone = (y[:, None] == y).sum(axis=1) == 1
    return np.where(alone, 0, -np.log(_mean_share(z, y, t)))


def _loss_alone(z: np.ndarray, y: np.ndarray, t: float = 0.1) -> np.ndarray:
    """Compute the loss, and log Σ exp for a picture without positives."""
    logits = np.where(np.eye(len(y), dtype=bool), -np.inf, z @ z.T / t)
    alone = (y[:, None] == y).sum(axis=1) == 1
    return np.where(alone, logsumexp(logits, axis=1), _loss(z, y, t))


def _lifted(least: float, lift: Answer = np.add) -> Answer:
    """Compute the loss by −log of shares that are kept above 0."""

    def answer(z: np.ndarray, y: np.ndarray, t: float = 0.1) -> np.ndarray:
        own = np.eye(len(y), dtype=bool)
        shares = softmax(np.where(own, -np.inf, z @ z.T / t), axis=1)
        positives = (y[:, None] == y) & ~own
        sums = np.where(positives, -np.log(lift(shares, least)), 0).sum(axis=1)
        return sums / np.maximum(positives.sum(axis=1), 1)

    return answer


_SMALL = (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16, 1e-20, 1e-30, 1e-300)


def _expect_own_loss(answer: Answer) -> None:
    """Refuse the course's own loss: the next cell compares the two."""
    library = sys.modules.get("course_utils.metric_learning")
    known = [library, getattr(library, "supervised_contrastive", None)]
    if library and any(value is one for _, value in reached(answer) for one in known):
        fail(
            "The losses are right, but they are those of the course's own "
            "`supervised_contrastive`: the next cell compares yours with it. Write "
            "the loss in NumPy."
        )


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
        "average the logs.": (
            lambda *batch: -np.log(_mean_share(*batch)),
            _zero_where_alone,
        ),
        "Where no other picture has the label, the loss is 0: your code leaves log "
        "Σ exp there, of which nothing is subtracted.": _loss_alone,
        "A small number that keeps shares above 0 changes those that are smaller "
        "still: take log Σ exp minus the similarity instead of the logarithm of a "
        "share.": tuple(
            _lifted(least, lift) for lift in (np.add, np.maximum) for least in _SMALL
        ),
        "Those are shares; the loss is the mean of −log(share), over the positives of "
        "each picture.": (_mean_share, lambda *batch: 1 - _mean_share(*batch)),
    },
    slip=_slip_of_loss,
    then=_expect_own_loss,
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
        "only the first k columns vote, and do you compare the votes with `labels`?"
    )


def _by(score: Answer) -> Answer:
    """Choose by a score of a table, the true labels and one k."""
    return lambda table, y, ks: max(ks, key=lambda k: score(table, y, k))


def _always(k: int) -> Answer:
    return lambda table, y, candidates: k


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
    "You always take the first candidate of the list, as when all score the same. Do "
    "all columns vote, whatever k is, or do you compare with other labels than "
    "`labels`?": lambda table, y, k: 0,
    "The most frequent label of the k wins, also with half of the votes or fewer: you "
    "ask for more than half.": lambda table, y, k: np.mean(
        (table[:, :k] == y[:, None]).sum(axis=1) > k / 2
    ),
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
        "You return the same number for every table: compute a score for each "
        "candidate, and return the best.": tuple(map(_always, range(1, 16, 2))),
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
