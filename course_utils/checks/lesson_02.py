"""Checks of lesson 02, IMDB: learning an embedding inside a task."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Number
from typing import Any

from course_utils.checks.bootstrap import difference_interval as difference_interval
from course_utils.checks.cases import Case, reference
from course_utils.checks.core import as_array, exercise, fail
from course_utils.checks.leaks import reached
from course_utils.checks.summary import summary_of
from course_utils.evaluation import Interval, accuracy, bootstrap, paired_bootstrap
from course_utils.text import tokenize

import numpy as np

Answer = Callable[..., Any]

# From this length on, a text that stands in a review was copied from it.
COPIED = 60
# Reviews of the second, small training, which looks whether labels matter.
N_FEW = 400
# What a trained classifier's whole interval has to exceed.
BAR = 0.85


@reference(
    "2.1",
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
        "The padding has a row in the table like any id: it is learned, too.": (
            lambda v, d, n: (v - 1) * d + n * d + 1
        ),
        "The dense layer has one output, so it has one bias.": (
            lambda v, d, n: v * d + n * d + n
        ),
        "Use the arguments: those are the sizes of the lesson's own network.": (
            lambda v, d, n: 10_000 * 8 + 20 * 8 + 1,
            lambda v, d, n: v * 8 + n * 8 + 1,
        ),
        "Those are the parts; I asked for their sum.": (
            lambda v, d, n: np.array([v * d, n * d + 1])
        ),
    },
    passed="Nearly all the numbers are in the table; the part that decides is tiny. "
    "`model.summary()` will print the same total.",
)
def n_parameters(vocab_size: int, embedding_dim: int, length: int) -> int:
    """Count the entries of the arrays themselves."""
    table, weights = np.zeros((vocab_size, embedding_dim)), (length, embedding_dim)
    return table.size + np.zeros(weights).size + 1


def _padded_reviews() -> list[Case]:
    rng = np.random.default_rng(24)
    cases = []
    for batch, length, dim, empty in ((4, 9, 5, []), (6, 7, 3, [4])):
        ids = rng.integers(2, 90, size=(batch, length))
        ids[0, :3] = ids[1, :5] = ids[2, -2:] = 0
        ids[:, 5] = np.where(ids[:, 5] > 0, 1, 0)
        ids[empty] = 0
        ids[3], ids[3, 2] = 0, 17  # a review of one word
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
    "2.3",
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
        "Zeros may stand in front, behind or between: look where `ids` is 0, not how "
        "many zeros there are.": (
            lambda vectors, ids: np.array(
                [v[(i == 0).sum() :].mean(0) for v, i in zip(vectors, ids, strict=True)]
            ),
            lambda vectors, ids: np.array(
                [v[: (i != 0).sum()].mean(0) for v, i in zip(vectors, ids, strict=True)]
            ),
        ),
        "A review of one word has that word's vector: divide by at least 1, not "
        "2.": lambda vectors, ids: (
            (vectors * (ids != 0)[..., None]).sum(axis=1)
            / np.maximum((ids != 0).sum(axis=1)[:, None], 2)
        ),
        "You divided by one word too many.": lambda vectors, ids: (
            (vectors * (ids != 0)[..., None]).sum(axis=1)
            / ((ids != 0).sum(axis=1)[:, None] + 1)
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
    atol=1e-5,
    passed="A review of ten words and one of four hundred now weigh the same, and "
    "padding weighs nothing. mask_zero=True does the same in Keras, except for a "
    "review without any word, where Keras divides by zero.",
)
def masked_mean(vectors: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Average review after review."""
    rows = [row[line != 0] for row, line in zip(vectors, ids, strict=True)]
    return np.array([row.sum(axis=0) / (len(row) or 1) for row in rows])


@exercise(
    "2.4",
    hints=[
        "Four steps inside the function: a vocabulary from `texts`, rows of ids of one "
        "length, a network, `fit`. Then a function that takes new texts through the "
        "same steps and returns `model.predict(…)`.",
        "The first steps: `vocabulary = Vocabulary.from_texts(texts, 10_000)`; "
        "`rows = keras.utils.pad_sequences([vocabulary.encode(t) or [1] for t in "
        "texts], maxlen=250)`, where [1] stands in for an empty text. Put them into an "
        "inner function, so that `predict` can use it.",
        "`keras.Sequential([layers.Embedding(10_000, 16, mask_zero=True), "
        'layers.GlobalAveragePooling1D(), layers.Dense(1, activation="sigmoid")])`, '
        "compiled with `keras.optimizers.Adam(5e-3)` and binary cross-entropy, five "
        "epochs. Return `lambda new: model.predict(see(new), verbose=0)[:, 0]`.",
    ],
)
def train_classifier(
    answer: Answer,
    texts: np.ndarray,
    labels: np.ndarray,
    held_texts: np.ndarray,
    held_labels: np.ndarray,
    other: np.ndarray,
) -> str:
    """Judge a trained model by its accuracy on reviews that it was not given.

    Parameters
    ----------
    answer : callable
        ``train_classifier(texts, labels)``, a function from texts to probabilities.
    texts, labels, held_texts, held_labels : numpy.ndarray
        Reviews to learn from, and others to be judged on.
    other : numpy.ndarray
        Answers of the lesson's own model to the latter, to compare with.

    Returns
    -------
    str
        Accuracy and difference from the other model, each with its interval.

    Raises
    ------
    ExerciseError
        When the accuracy's interval does not lie above the bar.
    """
    for name, value in reached(answer):
        if name in ("y_val", "y_test") or _begins_with(value, labels):
            fail(
                f"Your function reads `{name}`, which holds labels of held-out "
                "reviews. Use its arguments `texts` and `labels`."
            )
    # Copies: what a wrong answer shuffles would stay shuffled in the notebook.
    predict = answer(texts.copy(), labels.copy())
    if predict is None:
        fail("train_classifier returned None: does its last line begin with `return`?")
    if hasattr(predict, "predict") or not callable(predict):
        came = type(predict).__name__
        fail(
            f"train_classifier returned a {came}; I expected a function that takes "
            "texts and returns probabilities. Define one inside yours and return it."
        )
    chances = _chances(predict, held_texts)
    if set(np.unique(chances)) == {0, 1}:
        fail(
            "Your predict returned only 0 and 1, which are answers; I asked for "
            "probabilities. In scikit-learn that is `predict_proba(…)[:, 1]`."
        )
    short = np.argsort([len(text) for text in held_texts])[:3]
    for few in (short[:1], short, np.arange(5)):
        if not np.allclose(_chances(predict, held_texts[few]), chances[few], atol=1e-3):
            fail(
                f"{len(few)} of the reviews get other probabilities alone than among "
                "others. Is dropout still at work in `predict`, or does a row of ids "
                "hang on the longest review?"
            )
    _chances(predict, ["A good film.", ""])
    said = chances > 0.5
    interval = bootstrap(held_labels, said)
    gap = paired_bootstrap(held_labels, said, other)
    if interval.low <= BAR:
        fail(_below_the_bar(interval, said, predict, texts[:2_000], labels[:2_000]))
    _expect_learning(answer, texts[:N_FEW].copy(), labels[:N_FEW], held_texts, chances)
    return (
        f"Accuracy {interval:.3f} on {len(said):,} reviews that were held out. Minus "
        f"the lesson's average of words: {gap:.3f}. Where that interval contains zero, "
        "the two cannot be ranked."
    )


def _expect_learning(
    answer: Answer,
    texts: np.ndarray,
    labels: np.ndarray,
    held_texts: np.ndarray,
    chances: np.ndarray,
) -> None:
    """Train on few reviews with reversed labels: other answers have to come out."""
    asked = held_texts[:100]
    reversed_ = _chances(answer(texts, 1 - labels), asked)
    if np.allclose(reversed_, chances[:100], atol=1e-6):
        fail(
            f"Trained on {len(texts)} reviews with reversed labels, your function "
            "gives the same probabilities as before: it does not learn from its "
            "arguments `texts` and `labels`. Does it use what the notebook holds?"
        )


def _begins_with(value: Any, labels: np.ndarray) -> bool:
    """Whether an array holds all these labels, and more."""
    if not isinstance(value, np.ndarray) or value.ndim != 1:
        return False
    size = len(labels)
    return len(value) > size and np.array_equal(value[:size], labels)


def _chances(predict: Answer, texts: Any) -> np.ndarray:
    """Probabilities that texts get, of shape (n_texts,)."""
    try:
        said = predict(texts)
    except AttributeError as error:
        error.add_note("Your predict gets arrays of texts, and lists.")
        raise
    got = as_array("Your predict", said).astype(float)
    if got.shape == (len(texts), 2):
        fail("Your predict returned two columns; take that of liked, `[:, 1]`.")
    if got.shape != (len(texts),):
        fail(
            f"For {len(texts):,} texts your predict returned shape {got.shape}; I "
            f"expected ({len(texts):,},), one probability for each. `[:, 0]` drops an "
            "axis of length 1."
        )
    if np.isnan(got).any():
        fail(
            "Your predict returned nan. Was the learning rate too high, or did an "
            "empty text, or one without a known word, divide by zero?"
        )
    if got.min() < 0 or got.max() > 1:
        fail(
            f"Your predict returned numbers from {got.min():.3g} to {got.max():.3g}; "
            "probabilities lie between 0 and 1. "
            + ("Is the sigmoid missing?" if got.min() < 0 else "Is that in percent?")
        )
    return got


def _below_the_bar(
    interval: Interval,
    said: np.ndarray,
    predict: Answer,
    texts: np.ndarray,
    labels: np.ndarray,
) -> str:
    """Say how far the accuracy is from the bar, and what to try."""
    told = (
        f"Accuracy {interval:.4f} on held-out reviews; the whole interval has to lie "
        f"above {BAR}."
    )
    if said.all() or not said.any():
        return f"{told} All reviews get the same answer: did the network train?"
    if interval.high < 0.5:
        return f"{told} Below chance: did you return the probability of *not liked*?"
    trained = accuracy(labels, _chances(predict, texts) > 0.5)
    if max(trained, interval.value) < 0.6:
        advice = (
            "That is near chance on both: do texts and labels still belong together, "
            "and did the network train at all?"
        )
    elif trained < interval.value + 0.05:
        advice = (
            "It hardly does better on those it learned from: let it see more words, "
            "train for more epochs, or raise the learning rate."
        )
    else:
        advice = (
            "It overfits: let it see more words of each review, use dropout, or take "
            "a model with fewer weights; an average of words has few."
        )
    return f"{told} On reviews it trained on: {trained:.4f}. {advice}"


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
def fooling_reviews(answer: Answer, predict: Answer, reviews: Any) -> str:
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
        _expect_review(text, label, reviews)
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
                f"The model gives “{_opening(text)}” a probability of {chance:.6g} and "
                f"your label is {label}: it is right. Let it {advice}."
            )
    return (
        f"{len(pairs)} reviews, all misread, in both directions. You found what an "
        "average of words cannot hear. I cannot read: would a friend agree with your "
        "labels?"
    )


def _expect_review(text: Any, label: Any, reviews: Any) -> None:
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
    starts = range(0, max(1, len(text.strip()) - COPIED + 1), COPIED // 3)
    parts = [text.strip()[start : start + COPIED] for start in starts]
    if len(text) >= COPIED and any(part in one for one in reviews for part in parts):
        fail(f"“{opening}” is from a review of the set; write one of your own.")


def _opening(text: str) -> str:
    words = text.split()
    return " ".join(words[:8]) + (" …" if len(words) > 8 else "")


summary = summary_of(__name__)
