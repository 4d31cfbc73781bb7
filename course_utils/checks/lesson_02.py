"""Checks of lesson 02, IMDB: learning an embedding inside a task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import exercise, fail
from course_utils.checks.summary import summary_of
from course_utils.text import tokenize

import numpy as np

Answer = Callable[..., Any]

# From this length on, a text that stands in a review was copied from it.
COPIED = 60


def _reviews() -> list[Case]:
    ids = np.random.default_rng(21).permutation(np.arange(2, 60)).tolist()
    sizes = ((11, 6), (3, 8), (5, 8), (7, 8), (5, 5), (30, 12), (0, 4))
    return [Case(ids[:n_ids], length) for n_ids, length in sizes]


def _zeros(ids: Sequence[int], length: int) -> np.ndarray:
    return np.zeros(max(length - len(ids), 0))


@reference(
    "2.1",
    hints=[
        "Two cases: the list is longer than length, or it is not.",
        "`ids[-3:]` is the end of a list, also of a list of two. How many zeros are "
        "missing then?",
        "Cut first: `ids = ids[-length:]`. Then put `length - len(ids)` zeros in "
        "front.",
    ],
    cases=_reviews,
    mistakes={
        "You kept the first {length}; Keras keeps the last. Which end of the list does "
        "your slice take?": lambda ids, n: np.append(_zeros(ids, n), ids[:n]),
        "You put the zeros behind the words; Keras puts them in front, so that the "
        "last word is always in the last place.": (
            lambda ids, n: np.append(ids[-n:], _zeros(ids, n))
        ),
        "The ids came out in reverse; a review keeps its order.": (
            lambda ids, n: np.append(_zeros(ids, n), ids[-n:])[::-1]
        ),
        "You filled up with 1; 0 is padding, 1 is an unknown word, which is a word all "
        "the same.": lambda ids, n: np.append(_zeros(ids, n) + 1, ids[-n:]),
        "Short reviews need zeros to fill up.": lambda ids, n: ids[-n:],
        "Long reviews must be cut.": lambda ids, n: np.append(_zeros(ids, n), ids),
        "A short review lost words: for it, the start of your slice is negative, and "
        "Python counts that from the end.": (
            lambda ids, n: np.append(_zeros(ids, n), ids[len(ids) - n :])
        ),
        "Return one flat list; yours has a list inside.": (
            lambda ids, n: np.append(_zeros(ids, n), ids[-n:])[np.newaxis]
        ),
    },
    passed="Every review now has the same length, and a long one keeps its end. That "
    "is what pad_sequences does unless you tell it otherwise, and it matters here.",
)
def pad_or_cut(ids: Sequence[int], length: int) -> np.ndarray:
    """Fill place after place, counted from the end of the review."""
    places = range(len(ids) - length, len(ids))
    return np.array([ids[place] if place >= 0 else 0 for place in places])


def _one_number(answer: Answer, *arguments: Any) -> Any:
    """Insist on a number without an axis: the next cells format and compare it."""
    got = answer(*arguments)
    if np.ndim(got):
        fail(f"Your function returned {got!r}; later cells need the number alone.")
    return got


@reference(
    "2.2",
    hints=[
        "Go layer by layer. Which layers have numbers to learn, and which only "
        "rearrange?",
        "Flatten turns (length, embedding_dim) into one row. How long is that row?",
        "The table has vocab_size × embedding_dim numbers. The dense layer has one "
        "weight for each of its length × embedding_dim inputs, and one bias.",
    ],
    cases=lambda: [Case(50, 3, 7), Case(1200, 16, 40), Case(9, 5, 1), Case(700, 2, 11)],
    mistakes={
        "One is missing each time: did you count the bias of the dense layer?": (
            lambda v, d, n: (v + n) * d
        ),
        "After Flatten the dense layer sees every position's columns side by side: did "
        "you forget the length?": (
            lambda v, d, n: v * d + d + 1,
            lambda v, d, n: v * d + d,
        ),
        "That is the table alone; the dense layer learns as well.": (
            lambda v, d, n: v * d
        ),
        "That is the dense layer alone; the table learns as well.": (
            lambda v, d, n: n * d + 1
        ),
        "The dense layer has a weight for every column of every position, not one for "
        "each position: Flatten does not average.": lambda v, d, n: v * d + n + 1,
        "You counted a table for each position; all positions share one table.": (
            lambda v, d, n: v * d * n + n * d + 1
        ),
        "You gave the table a bias for each word; an embedding has none.": (
            lambda v, d, n: v * d + v + n * d + 1
        ),
        "You counted one row too many in the table: `vocab_size` includes the padding, "
        "and an embedding has no bias.": lambda v, d, n: (v + 1) * d + n * d + 1,
        "Use the arguments: those are the sizes of the lesson's own network.": (
            lambda v, d, n: 10_000 * 8 + 20 * 8 + 1,
            lambda v, d, n: v * 8 + n * 8 + 1,
        ),
        "Those are the parts; I asked for their sum.": (
            lambda v, d, n: np.array([v * d, n * d + 1])
        ),
    },
    then=lambda answer: _one_number(answer, 5, 4, 3),
    passed="Nearly all the numbers are in the table; the part that decides is tiny. "
    "Keras will tell you the same total in a moment.",
)
def n_parameters(vocab_size: int, embedding_dim: int, length: int) -> int:
    """Count the entries of the arrays themselves."""
    table, weights = np.zeros((vocab_size, embedding_dim)), (length, embedding_dim)
    return table.size + np.zeros(weights).size + 1


def _losses() -> list[Case]:
    many = np.random.default_rng(23).permutation(np.linspace(0.2, 0.8, 25)).round(3)
    return [
        Case(
            [0.64, 0.55, 0.57, 0.52, 0.47, 0.45, 0.46, 0.51, 0.66],
            advice="Does it look at all of `val_loss`, and at nothing else?",
        ),
        Case([0.31, 0.35, 0.42, 0.55]),
        Case([0.69, 0.60, 0.52, 0.47, 0.44]),
        Case([0.66, 0.48, 0.41, 0.44, 0.41, 0.53]),
        Case([0.5128, 0.44614, 0.44611, 0.4703]),
        Case(many.tolist()),
    ]


def _with_all_above_one(answer: Answer) -> None:
    losses = [2.31, 1.84, 1.52, 1.6, 1.75]
    got = _one_number(answer, losses)
    if got is None or got != 3:
        fail(
            f"For val_loss = {losses} I expected 3, your function returned {got}. Here "
            "every loss is above 1: start from the first loss, not from a fixed one."
        )


@reference(
    "2.3",
    hints=[
        "You need the place of the smallest loss, not the loss itself.",
        "`np.argmin` gives a place. What does it call the first place?",
        "Epochs are counted from 1: `np.argmin(val_loss) + 1`.",
    ],
    cases=_losses,
    mistakes={
        "You count from 0; Keras prints epochs from 1.": np.argmin,
        "That is the epoch of the highest loss; low is good.": (
            lambda val_loss: np.argmax(val_loss) + 1,
            np.argmax,
        ),
        "That is the last epoch; training on made it worse.": len,
        "That is the loss itself; I asked for its epoch.": min,
        "You stopped where the loss rose for the first time; it may fall again, so "
        "look at all epochs.": (
            lambda val_loss: np.flatnonzero(np.diff([*val_loss, 9]) > 0)[0] + 1
        ),
        "Two epochs are equally low: take the first, the other trains longer for "
        "nothing.": lambda val_loss: len(val_loss) - np.argmin(val_loss[::-1]),
        "You rounded the losses, and the lowest is lower by less than that: compare "
        "them as they are.": (
            lambda val_loss: np.argmin(np.round(val_loss, 2)) + 1,
            lambda val_loss: np.argmin(np.round(val_loss, 4)) + 1,
        ),
        "Return one number: the first epoch with the lowest loss.": (
            lambda val_loss: np.array([np.argmin(val_loss) + 1, min(val_loss)])
        ),
    },
    then=_with_all_above_one,
    passed="From that epoch on the network gets better at the reviews it has seen and "
    "worse at the others. That is overfitting, and this is where to stop.",
)
def best_epoch(val_loss: Sequence[float]) -> int:
    """Sort the epochs; equal losses keep their order."""
    return sorted(range(len(val_loss)), key=val_loss.__getitem__)[0] + 1


def _padded_reviews() -> list[Case]:
    rng = np.random.default_rng(24)
    cases = []
    for batch, length, dim, empty in ((4, 9, 5, []), (6, 7, 3, [4])):
        ids = rng.integers(2, 90, size=(batch, length))
        ids[0, :3] = ids[1, :5] = ids[2, -2:] = 0
        ids[:, 5] = np.where(ids[:, 5] > 0, 1, 0)
        ids[empty] = 0
        # What stands at a padded place is not zero in a trained table.
        cases.append(Case(rng.normal(0.7, 1.0, size=(batch, length, dim)), ids))
    return cases


def _mean_of(vectors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return (vectors * mask[..., None]).sum(axis=1) / mask.sum(axis=1)[:, None]


def _wrong_without_words(got: Any, expected: Any, _: Any, ids: Any) -> str:
    some = ids.any(axis=1)
    if got.shape != expected.shape or not np.allclose(got[some], expected[some]):
        return ""
    return (
        "All rows are right but that of a review without any word. Zero words have no "
        "mean; return zeros, for example by dividing by at least 1."
    )


@reference(
    "2.4",
    hints=[
        "`ids != 0` says which places hold a word. What is its shape, and what shape "
        "do you need to multiply `vectors` by it?",
        "Sum the vectors of the real words over axis 1, count the real words, divide.",
        "`mask = (ids != 0)[..., None]`; divide `(vectors * mask).sum(axis=1)` by "
        "`np.maximum(mask.sum(axis=1), 1)`.",
    ],
    cases=_padded_reviews,
    mistakes={
        "That is the plain mean over all places: padding is averaged in, so a short "
        "review is mostly padding. Leave the places with id 0 out.": (
            lambda vectors, ids: vectors.mean(axis=1)
        ),
        "The padding is out of the sum, but you still divide by the number of all "
        "places. Divide by the number of real words.": (
            lambda vectors, ids: (vectors * (ids != 0)[..., None]).mean(axis=1)
        ),
        "That is the sum of the real words; divide by how many there are.": (
            lambda vectors, ids: (vectors * (ids != 0)[..., None]).sum(axis=1)
        ),
        "You left id 1 out as well; an unknown word is a word. Only 0 goes.": (
            lambda vectors, ids: _mean_of(vectors, ids > 1)
        ),
        "You averaged over the columns; average over the words, axis 1.": (
            lambda vectors, ids: vectors.mean(axis=2)
        ),
        "You averaged over the reviews; average over the words, axis 1.": (
            lambda vectors, ids: vectors.mean(axis=0)
        ),
        "The axis of the words is still there, with length 1.": (
            lambda vectors, ids: _mean_of(vectors, ids != 0)[:, np.newaxis]
        ),
        "You averaged all reviews into one; each keeps its own vector.": (
            lambda vectors, ids: vectors[ids != 0].mean(axis=0)
        ),
        "Did you leave out a review without words? Its row is zeros.": (
            lambda vectors, ids: _mean_of(vectors, ids != 0)[ids.any(axis=1)]
        ),
    },
    slip=_wrong_without_words,
    # A later cell takes the first column of what comes, `[:, 0]`.
    exact=True,
    atol=1e-5,
    passed="A review of ten words and one of four hundred now weigh the same, and "
    "padding weighs nothing. mask_zero=True buys the same in Keras, but for a review "
    "without any word, where Keras divides by zero.",
)
def masked_mean(vectors: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Average review after review."""
    rows = [row[line != 0] for row, line in zip(vectors, ids, strict=True)]
    return np.array([row.sum(axis=0) / (len(row) or 1) for row in rows])


def _tables() -> list[Case]:
    rng = np.random.default_rng(25)
    sizes = ((13, 4), (40, 7))
    return [Case(rng.normal(size=(n, d)), rng.normal(size=(d, 1))) for n, d in sizes]


def _all_off_by_one_number(got: Any, expected: Any, *_: Any) -> str:
    if got.shape != expected.shape or not np.allclose(np.ptp(got - expected), 0):
        return ""
    return "All are off by the same number. The bias belongs to no word: leave it out."


@reference(
    "2.5",
    hints=[
        "One word alone is a review too: its average is its own row of the table.",
        "What does the dense layer do with that row? Do it for all rows at once.",
        "`table @ weights` has shape (vocab_size, 1); take its only column.",
    ],
    cases=_tables,
    mistakes={
        "One number per word, so one axis: take the only column, or `.ravel()`.": (
            lambda table, w: table @ w
        ),
        "One number per word, so one axis: take the only row.": (
            lambda table, w: (table @ w).T
        ),
        "You multiplied but did not add up each word's columns.": (
            lambda table, w: table * w.T
        ),
        "That is one number per column; I asked for one per word.": (
            lambda table, w: table.sum(axis=0),
            lambda table, w: table.mean(axis=0) * w[:, 0],
            lambda table, w: table.sum(axis=0)[:, np.newaxis],
        ),
        "That is the sigmoid of each score. The sigmoid comes after the average; a "
        "push is what goes into it, and it can be negative.": (
            lambda table, w: 1 / (1 + np.exp(-(table @ w)[:, 0]))
        ),
        "The sign is reversed: a word that speaks for the film pushes up.": (
            lambda table, w: -(table @ w)[:, 0]
        ),
        "The sign is lost: a word that speaks against the film pushes down.": (
            lambda table, w: np.abs(table @ w)[:, 0]
        ),
        "You averaged over the columns; the dense layer adds them, each with its "
        "weight.": lambda table, w: (table * w.T).mean(axis=1),
        "You added up the columns without their weights.": (
            lambda table, w: table.sum(axis=1)
        ),
        "You normalised as for a cosine; the layer takes the rows as they are, and a "
        "long row pushes harder.": (
            lambda table, w: (table @ w)[:, 0] / np.linalg.norm(w),
            lambda table, w: (table @ w)[:, 0] / np.linalg.norm(table, axis=1),
            lambda table, w: (
                (table @ w)[:, 0] / np.linalg.norm(table, axis=1) / np.linalg.norm(w)
            ),
        ),
    },
    slip=_all_off_by_one_number,
    passed="A row of the table and the weights meet in one number: how hard the word "
    "pushes. The network's opinion is the average of these.",
)
def word_scores(table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Add up word after word."""
    return np.array([sum(row * weights.ravel()) for row in table])


@exercise(
    "2.6",
    hints=[
        "The model averages words. It does not know what a 'not' belongs to, nor "
        "who says what.",
        "Praise a film by listing the faults it does not have. Criticise one by "
        "listing what it could have been.",
        'For the first: "I was never bored; there is nothing stupid, dull or …". '
        "Call `sentiment` on each attempt and see which words push.",
    ],
)
def fooling_reviews(answer: Answer, predict: Answer) -> str:
    """Check that reviews of one's own fool a model, in both directions."""
    pairs = answer()
    if pairs is None:
        fail("fooling_reviews returned None: does its last line begin with `return`?")
    if not isinstance(pairs, list | tuple):
        came = type(pairs).__name__
        fail(f"fooling_reviews returned a {came}; I expected a list of pairs.")
    for pair in pairs or [None]:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            fail("I expected a list of pairs, each (text, label).")
        text, label = pair
        _expect_review(text, label, predict)
    if len(pairs) < 2:
        fail("That is one review; I asked for at least two, one of each kind.")
    texts = [text for text, _ in pairs]
    if len({" ".join(tokenize(text)) for text in texts}) < len(texts):
        fail("Two of your reviews are the same text; each must be its own.")
    labels = np.array([int(label) for _, label in pairs])
    if labels.min() == labels.max():
        kind = ("negative", "positive")[labels[0]]
        fail(f"All your reviews are {kind}. Fool the model in the other direction too.")
    liked = np.asarray(predict(texts), dtype=float).reshape(-1)
    for text, label, chance in zip(texts, labels, liked, strict=True):
        if (chance > 0.5) == bool(label):
            praise = "speak of faults that the film does not have"
            advice = praise if label else "praise everything but this film"
            fail(
                f"The model gives “{_opening(text)}” a probability of {chance:.4g} and "
                f"your label is {label}: it is right. Let it {advice}."
            )
    return (
        f"{len(pairs)} reviews, all misread, in both directions. You found what an "
        "average of words cannot hear. I cannot read: would a friend agree with your "
        "labels?"
    )


def _expect_review(text: Any, label: Any, predict: Answer) -> None:
    if not isinstance(text, str):
        fail(
            f"The first of each pair is the text; I found {text!r}. "
            "Are text and label swapped?"
        )
    opening = _opening(text)
    if not isinstance(label, Number | np.generic) or label not in (0, 1):
        fail(f"The label of “{opening}” is {label!r}; use 1 for liked and 0 for not.")
    if len(set(tokenize(text))) < 5:
        fail(f"“{text}” has fewer than five different words; write a sentence.")
    # The reviews that the notebook has loaded.
    names = getattr(inspect.unwrap(predict), "__globals__", {})
    reviews = [*names.get("x_train", ()), *names.get("x_test", ())]
    if len(text) >= COPIED and any(text.strip() in str(one) for one in reviews):
        fail(f"“{opening}” is from a review of the set; write one of your own.")


def _opening(text: str) -> str:
    words = text.split()
    return " ".join(words[:8]) + (" …" if len(words) > 8 else "")


summary = summary_of(__name__)
