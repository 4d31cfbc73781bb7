"""Checks of lesson 02, IMDB: learning an embedding inside a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any

from course_utils.checks.core import (
    as_array,
    exercise,
    expect_number,
    expect_shape,
    fail,
)
from course_utils.checks.summary import summary_of
from course_utils.text import tokenize

import numpy as np

Answer = Callable[..., Any]


@exercise(
    "2.1",
    hints=[
        "Two cases: the list is longer than length, or it is not.",
        "`ids[-3:]` is the end of a list, also of a list of two. How many zeros are "
        "missing then?",
        "Cut first: `ids = ids[-length:]`. Then put `length - len(ids)` zeros in "
        "front.",
    ],
)
def pad_or_cut(answer: Answer) -> str:
    """Check that the last ids are kept and zeros stand in front.

    Parameters
    ----------
    answer : callable
        ``pad_or_cut(ids, length)``, a list of `length` ids.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When the result is another list.
    """
    rng = np.random.default_rng(21)
    for n_ids, length in (
        (11, 6),
        (3, 8),
        (5, 8),
        (7, 8),
        (5, 5),
        (30, 12),
        (0, 4),
    ):
        ids = [int(number) for number in rng.permutation(np.arange(2, 60))[:n_ids]]
        given = f"For {n_ids} ids {_short(ids)} and length {length}"
        got = as_array("pad_or_cut", answer(list(ids), length))
        if got.ndim != 1:
            fail(
                f"{given} I expected one flat list of {length} ids, your function "
                f"returned shape {got.shape}."
            )
        found = [float(number) for number in got]
        if len(found) != length:
            slip = ""
            if found == ids and n_ids < length:
                slip = " Short reviews need zeros to fill up."
            elif found == ids:
                slip = " Long reviews must be cut."
            elif n_ids < length and found[-n_ids:] != ids:
                slip = (
                    " A short review lost words: for it, the start of your slice is "
                    "negative, and Python counts that from the end."
                )
            fail(
                f"{given} I expected {length} numbers, your function returned "
                f"{len(found)}.{slip}"
            )
        missing = max(0, length - n_ids)
        expected = [0.0] * missing
        expected.extend(ids[max(0, n_ids - length) :])
        if found == expected:
            continue
        if n_ids > length and found == ids[:length]:
            fail(
                f"{given} you kept the first {length}; Keras keeps the last. "
                "Which end of the list does your slice take?"
            )
        if missing and found == ids + [0] * missing:
            fail(
                f"{given} you put the zeros behind the words; Keras puts them in "
                "front, so that the last word always stands in the last place."
            )
        if found == expected[::-1]:
            fail(f"{given} the ids came out in reverse; a review keeps its order.")
        if missing and 1.0 in found:
            fail(
                f"{given} you filled up with 1; 0 is padding, 1 is an unknown "
                "word, which is a word all the same."
            )
        fail(f"{given} I expected {_short(expected)}, you returned {_short(found)}.")
    return (
        "Every review now has the same length, and a long one keeps its end. That is "
        "what pad_sequences does unless you tell it otherwise, and it matters here."
    )


@exercise(
    "2.2",
    hints=[
        "Go layer by layer. Which layers have numbers to learn, and which only "
        "rearrange?",
        "Flatten turns (length, embedding_dim) into one row. How long is that row?",
        "The table has vocab_size × embedding_dim numbers. The dense layer has one "
        "weight for each of its length × embedding_dim inputs, and one bias.",
    ],
)
def n_parameters(answer: Answer) -> str:
    """Check the number of parameters of embedding, flatten and one dense unit.

    Parameters
    ----------
    answer : callable
        ``n_parameters(vocab_size, embedding_dim, length)``, one number.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a number differs from a count of the arrays.
    """
    cases = [(50, 3, 7), (1200, 16, 40), (9, 5, 1), (700, 2, 11)]
    slips: list[tuple[Callable[[int, int, int], int], str]] = [
        (
            lambda v, d, n: v * d + n * d,
            "One is missing each time: did you count the bias of the dense layer?",
        ),
        (
            lambda v, d, n: v * d + d + 1,
            "After Flatten the dense layer sees every position's columns side by "
            "side: did you forget the length?",
        ),
        (
            lambda v, d, n: v * d + d,
            "After Flatten the dense layer sees every position's columns side by "
            "side: did you forget the length? And its bias?",
        ),
        (
            lambda v, d, n: v * d,
            "That is the table alone; the dense layer learns as well.",
        ),
        (
            lambda v, d, n: n * d + 1,
            "That is the dense layer alone; the table learns as well.",
        ),
        (
            lambda v, d, n: v * d + n + 1,
            "The dense layer has a weight for every column of every position, not "
            "one for each position: Flatten does not average.",
        ),
        (
            lambda v, d, n: v * d * n + n * d + 1,
            "You counted a table for each position; all positions share one table.",
        ),
        (
            lambda v, d, n: v * d + v + n * d + 1,
            "You gave the table a bias for each word; an embedding has none.",
        ),
        (
            lambda v, d, n: v * d + d + n * d + 1,
            "You gave the table a bias for each column; an embedding has none.",
        ),
    ]
    got = [
        _number(
            "n_parameters",
            answer(size, dim, length),
            f"{size} ids, {dim} columns and {length} words",
        )
        for size, dim, length in cases
    ]
    expected = [
        np.zeros((size, dim)).size + np.zeros((length, dim)).size + 1
        for size, dim, length in cases
    ]
    _compare(
        got,
        expected,
        [
            "a vocabulary of {:,} ids, {} columns and {} words a review".format(*case)
            for case in cases
        ],
        [([slip(*case) for case in cases], message) for slip, message in slips],
    )
    return (
        "Nearly all the numbers are in the table; the part that decides is tiny. "
        "Keras will tell you the same total in a moment."
    )


@exercise(
    "2.3",
    hints=[
        "You need the place of the smallest loss, not the loss itself.",
        "`np.argmin` gives a place. What does it call the first place?",
        "Epochs are counted from 1: `np.argmin(val_loss) + 1`.",
    ],
)
def best_epoch(answer: Answer) -> str:
    """Check that the epoch of the lowest validation loss is found.

    Parameters
    ----------
    answer : callable
        ``best_epoch(val_loss)``, a number from 1 to the number of epochs.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When another epoch comes back.
    """
    bumpy = [0.64, 0.55, 0.57, 0.52, 0.47, 0.45, 0.46, 0.51, 0.60]
    cases = [
        bumpy,
        [0.31, 0.35, 0.42, 0.55],
        [0.69, 0.60, 0.52, 0.47, 0.44],
        [2.31, 1.84, 1.52, 1.60, 1.75],
        [0.66, 0.48, 0.41, 0.44, 0.41, 0.53],
        list(np.random.default_rng(23).permutation(np.linspace(0.2, 0.8, 25)).round(3)),
    ]

    def before_first_rise(losses: Sequence[float]) -> int:
        rises = [i for i in range(1, len(losses)) if losses[i] > losses[i - 1]]
        return rises[0] if rises else len(losses)

    got: list[float] = []
    for case in cases:
        found = answer(list(case))
        above = " Here every loss is above 1; start from the first loss, not from 1."
        if found is None and got:
            fail(
                f"For losses {_short(case)} best_epoch returned None, though not for "
                f"others: which way through your code has no return?"
                f"{above if min(case) > 1 else ''}"
            )
        got.append(_number("best_epoch", found, f"losses {_short(case)}"))
    lowest = [sorted(range(len(case)), key=case.__getitem__)[0] for case in cases]
    last_lowest = [len(case) - case[::-1].index(min(case)) for case in cases]
    without_high = [
        place + 1 if min(case) < 1 else value
        for case, place, value in zip(cases, lowest, got, strict=True)
    ]
    highest = [sorted(range(len(case)), key=case.__getitem__)[-1] for case in cases]
    _compare(
        got,
        [place + 1 for place in lowest],
        [f"losses {_short(case)}" for case in cases],
        [
            (lowest, "You count from 0; Keras prints epochs from 1."),
            (
                [place + 1 for place in highest],
                "That is the epoch of the highest loss; low is good.",
            ),
            (highest, "That is the place of the highest loss; low is good."),
            (
                [len(case) for case in cases],
                "That is the last epoch; training on made it worse.",
            ),
            (
                [min(case) for case in cases],
                "That is the loss itself; I asked for its epoch.",
            ),
            (
                [before_first_rise(case) for case in cases],
                "You stopped where the loss rose for the first time; it may fall "
                "again, so look at all epochs.",
            ),
            (
                last_lowest,
                "Two epochs are equally low: take the first, the other trains longer "
                "for nothing.",
            ),
            (
                without_high,
                "Here every loss is above 1: does your search start from a fixed "
                "value? Start from the first loss.",
            ),
        ],
    )
    return (
        "From that epoch on the network gets better at the reviews it has seen and "
        "worse at the others. That is overfitting, and this is where to stop."
    )


@exercise(
    "2.4",
    hints=[
        "`ids != 0` says which places hold a word. What is its shape, and what shape "
        "do you need to multiply `vectors` by it?",
        "Sum the vectors of the real words over axis 1, count the real words, divide.",
        "`mask = (ids != 0)[..., None]`; divide `(vectors * mask).sum(axis=1)` by "
        "`np.maximum(mask.sum(axis=1), 1)`.",
    ],
)
def masked_mean(answer: Answer) -> str:
    """Check an average over real words only.

    Parameters
    ----------
    answer : callable
        ``masked_mean(vectors, ids)`` for shapes (batch, length, embedding_dim) and
        (batch, length); returns shape (batch, embedding_dim).

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When padding counts, words do not, or a row without words is not zero.
    """
    rng = np.random.default_rng(24)
    for batch, length, dim, empty in ((4, 9, 5, False), (6, 7, 3, True)):
        ids = rng.integers(2, 90, size=(batch, length))
        ids[0, :3] = 0
        ids[1, :5] = 0
        ids[2, -2:] = 0
        ids[:, 5] = np.where(ids[:, 5] > 0, 1, 0)
        if empty:
            ids[4] = 0
        # What stands at a padded place is not zero in a trained table.
        vectors = rng.normal(0.7, 1.0, size=(batch, length, dim))
        expected = np.array(
            [
                np.mean([v for v, i in zip(row, line, strict=True) if i], axis=0)
                if line.any()
                else np.zeros(dim)
                for row, line in zip(vectors, ids, strict=True)
            ]
        )
        given = f"vectors of shape {vectors.shape} and ids of shape {ids.shape}"
        got = as_array("masked_mean", answer(vectors.copy(), ids.copy()))
        slip = ""
        if got.shape == (batch, length):
            slip = "You averaged over the columns; average over the words, axis 1."
        elif got.shape == (length, dim):
            slip = "You averaged over the reviews; average over the words, axis 1."
        elif got.shape == (batch, 1, dim):
            slip = "The axis of the words is still there, with length 1."
        elif got.shape == (dim,):
            slip = "You averaged all reviews into one; each keeps its own vector."
        elif empty and got.shape[0] < batch:
            slip = "Did you leave out a review without words? Its row is zeros."
        got = expect_shape("masked_mean", got, expected.shape, given=given, slip=slip)
        if np.allclose(got, expected, atol=1e-5):
            continue
        real = ids != 0
        total = (vectors * real[..., None]).sum(axis=1)
        known = ids > 1
        if np.allclose(got, vectors.mean(axis=1), atol=1e-5):
            fail(
                "That is the plain mean over all places: padding is averaged in, so a "
                "short review is mostly padding. Leave the places with id 0 out."
            )
        if np.allclose(got, total / length, atol=1e-5):
            fail(
                "The padding is out of the sum, but you still divide by all "
                f"{length} places. Divide by the number of real words."
            )
        if np.allclose(got, total, atol=1e-5):
            fail("That is the sum of the real words; divide by how many there are.")
        if np.allclose(
            got,
            (vectors * known[..., None]).sum(axis=1)
            / np.maximum(known.sum(axis=1), 1)[:, None],
            atol=1e-5,
        ):
            fail("You left id 1 out as well; an unknown word is a word. Only 0 goes.")
        if empty and np.allclose(got[real.any(axis=1)], expected[real.any(axis=1)]):
            what = "NaN" if np.isnan(got[4]).any() else _short(got[4])
            fail(
                f"All rows are right but that of a review without any word: {what}. "
                "Zero words have no mean; return zeros, for example by dividing by at "
                "least 1."
            )
        if np.isnan(got).any():
            fail("There are NaN in your result: somewhere you divide by zero.")
        row = int(np.flatnonzero(~np.isclose(got, expected, atol=1e-5).all(axis=1))[0])
        fail(
            f"For {given}, row {row} with ids {_short(ids[row])} should be "
            f"{_short(expected[row])}, you returned {_short(got[row])}."
        )
    return (
        "A review of ten words and one of four hundred now weigh the same, and "
        "padding weighs nothing. mask_zero=True buys the same in Keras, but for a "
        "review without any word, where Keras divides by zero."
    )


@exercise(
    "2.5",
    hints=[
        "One word alone is a review too: its average is its own row of the table.",
        "What does the dense layer do with that row? Do it for all rows at once.",
        "`table @ weights` has shape (vocab_size, 1); take its only column.",
    ],
)
def word_scores(answer: Answer) -> str:
    """Check each word's push on the output of the averaging model.

    Parameters
    ----------
    answer : callable
        ``word_scores(table, weights)`` for shapes (vocab_size, embedding_dim) and
        (embedding_dim, 1); returns shape (vocab_size,).

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a score is not the product of its row with the weights.
    """
    rng = np.random.default_rng(25)
    for size, dim in ((13, 4), (40, 7)):
        table = rng.normal(size=(size, dim))
        weights = rng.normal(size=(dim, 1))
        expected = np.array([sum(row * weights.ravel()) for row in table])
        given = f"a table of shape {table.shape} and weights of shape {weights.shape}"
        got = as_array("word_scores", answer(table.copy(), weights.copy()))
        slip = ""
        if got.shape == (size, 1):
            slip = (
                "One number a word, so one axis: take the only column, or `.ravel()`."
            )
        elif got.shape == (1, size):
            slip = "One number a word, so one axis: take the only row."
        elif got.shape == (size, dim):
            slip = "You multiplied but did not add up each word's columns."
        elif got.shape == (dim,) or got.shape == (dim, 1):
            slip = "That is one number a column; I asked for one a word."
        got = expect_shape("word_scores", got, (size,), given=given, slip=slip)
        if np.allclose(got, expected, atol=1e-5):
            continue
        lengths = np.linalg.norm(table, axis=1)
        if np.allclose(got, 1 / (1 + np.exp(-expected)), atol=1e-5):
            fail(
                "That is the sigmoid of each score. The sigmoid comes after the "
                "average; a push is what goes into it, and it can be negative."
            )
        if np.allclose(got, -expected, atol=1e-5):
            fail("The sign is turned: a word that speaks for the film pushes up.")
        if np.allclose(got, np.abs(expected), atol=1e-5):
            word = int(np.flatnonzero(expected < 0)[0])
            fail(
                f"Word {word} should score {expected[word]:.3f}, yours scores "
                f"{got[word]:.3f}: the sign is lost. A word that speaks against the "
                "film pushes down."
            )
        if np.allclose(got, expected / dim, atol=1e-5):
            fail(
                "You averaged over the columns; the dense layer adds them, each with "
                "its weight."
            )
        if np.allclose(got, table.sum(axis=1), atol=1e-5):
            fail("You added up the columns without their weights.")
        if np.allclose(got, expected / lengths, atol=1e-5) or np.allclose(
            got, expected / lengths / np.linalg.norm(weights), atol=1e-5
        ):
            fail(
                "You normalised as for a cosine; the layer takes the rows as they "
                "are, and a long row pushes harder."
            )
        if np.allclose(got - got.mean(), expected - expected.mean(), atol=1e-5):
            fail(
                "All your scores are off by the same number. The bias is no word's: "
                "leave it out."
            )
        word = int(np.flatnonzero(~np.isclose(got, expected, atol=1e-5))[0])
        fail(
            f"For {given}, word {word} should score {expected[word]:.3f}, yours "
            f"scores {got[word]:.3f}."
        )
    return (
        "A row of the table and the weights meet in one number: how hard the word "
        "pushes. The network's opinion is the average of these."
    )


@exercise(
    "2.6",
    hints=[
        "The model averages words. It does not know what a 'not' belongs to, nor "
        "who says what.",
        "Praise a film by listing the faults it does not have. Pan one by listing "
        "what it could have been.",
        'For the first: "I was never bored; there is nothing stupid, dull or …". '
        "Call `sentiment` on each attempt and see which words push.",
    ],
)
def fooling_reviews(
    answer: Callable[[], Any], predict: Callable[[list[str]], Any]
) -> str:
    """Check that reviews fool a model, in both directions.

    Parameters
    ----------
    answer : callable
        ``fooling_reviews()``, a list of (text, label) pairs.
    predict : callable
        Turns a list of texts into probabilities that the writer liked the film.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When there are too few reviews, one is no review, or the model gets one right.
    """
    pairs = answer()
    if pairs is None:
        fail("fooling_reviews returned None: does its last line begin with `return`?")
    if not isinstance(pairs, list | tuple):
        fail(
            f"fooling_reviews returned a {type(pairs).__name__}; I expected a list of "
            "pairs, each (text, label)."
        )
    try:
        pairs = [tuple(pair) for pair in pairs]
    except TypeError:
        pairs = []
    if not pairs or any(len(pair) != 2 for pair in pairs):
        fail("I expected a list of pairs, each (text, label).")
    for text, label in pairs:
        if not isinstance(text, str):
            fail(
                f"The first of each pair is the text; I found {text!r}. "
                "Are text and label swapped?"
            )
        if not isinstance(label, Number | np.generic) or label not in (0, 1):
            fail(
                f"The label of “{_opening(text)}” is {label!r}; "
                "use 1 for liked and 0 for not."
            )
        if len(set(tokenize(text))) < 5:
            fail(f"“{text}” has fewer than five different words; write a sentence.")
    if len(pairs) < 2:
        fail("That is one review; I asked for at least two, one of each kind.")
    if len({" ".join(tokenize(text)) for text, _ in pairs}) < len(pairs):
        fail("Two of your reviews are the same text; each must be its own.")
    labels = np.array([int(label) for _, label in pairs])
    if labels.min() == labels.max():
        kind = ("negative", "positive")[labels[0]]
        fail(f"All your reviews are {kind}. Fool the model in the other direction too.")
    liked = np.asarray(predict([text for text, _ in pairs]), dtype=float).reshape(-1)
    for (text, _), label, chance in zip(pairs, labels, liked, strict=True):
        if (chance > 0.5) == bool(label):
            advice = (
                "Let it speak of faults that the film does not have."
                if label
                else "Let it praise everything but this film."
            )
            fail(
                f"The model gives “{_opening(text)}” a probability of {chance:.2f} and "
                f"your label is {label}: it is right. {advice}"
            )
    return (
        f"{len(pairs)} reviews, all misread, in both directions. You found what an "
        "average of words cannot hear. I cannot read: would a friend agree with your "
        "labels?"
    )


def _number(name: str, got: Any, given: str) -> float:
    """Insist on one bare number, since the next cells format and compare it."""
    if got is None:
        fail(
            f"For {given} {name} returned None: does its last line begin with `return`?"
        )
    if not isinstance(got, str) and np.ndim(got):
        fail(
            f"For {given} {name} returned a {type(got).__name__}; I expected the "
            "number alone."
        )
    return expect_number(name, got)


def _compare(
    got: Sequence[float],
    expected: Sequence[float],
    given: Sequence[str],
    slips: Sequence[tuple[Sequence[float], str]],
) -> None:
    """Name a slip only when it explains every case."""
    if np.allclose(got, expected, rtol=0, atol=1e-9):
        return
    wrong = next(i for i in range(len(got)) if abs(got[i] - expected[i]) > 1e-9)
    slip = next((text for value, text in slips if np.allclose(got, value, rtol=0)), "")
    if not slip and len(set(got)) == 1:
        slip = (
            "It returns the same for every input: do you use a fixed value or a "
            "variable from outside? Use the arguments."
        )
    right = " Other inputs came out right." if not slip and wrong else ""
    fail(
        f"For {given[wrong]} I expected {expected[wrong]:,}, your function returned "
        f"{got[wrong]:,g}. {slip}{right}".rstrip()
    )


def _opening(text: str) -> str:
    words = text.split()
    return " ".join(words[:8]) + (" …" if len(words) > 8 else "")


def _short(numbers: Sequence[float] | np.ndarray) -> str:
    shown = ", ".join(f"{float(number):.4g}" for number in numbers[:9])
    return f"[{shown}{', …' if len(numbers) > 9 else ''}]"


summary = summary_of(__name__)
