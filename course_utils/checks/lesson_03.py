"""Checks of lesson 03, Reuters topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import as_array, exercise, expect_shape, fail
from course_utils.checks.summary import summary_of
from course_utils.checks.topic_networks import build_model as build_model
from course_utils.checks.topic_networks import first_that_holds
from course_utils.checks.topic_networks import topic_classifier as topic_classifier
from course_utils.text import Vocabulary, tokenize

import numpy as np

Answer = Callable[..., Any]


def _rounded(got: Any, expected: Any, *arguments: Any) -> str:
    near = np.ndim(got) == 0 and abs(got - expected) < 0.006
    return "Did you round? Return it as it comes." if near else ""


def _expect_one(got: Any) -> None:
    """Refuse what the lesson's f-strings and tables cannot show as a number."""
    if np.ndim(got) or hasattr(got, "numpy"):
        fail("Later cells need the number itself, not an array or a tensor of it.")


def _most(labels: np.ndarray) -> Any:
    return np.bincount(labels).argmax()


@reference(
    "3.1",
    hints=[
        "Two steps: which label is the most frequent in training? How often is it "
        "right on the test stories?",
        "NumPy can count how often each label stands in `y_train`, and can say at "
        "which place the largest count is.",
        "`np.bincount` counts, `argmax` finds the place: that is the favourite. The "
        "mean of a comparison such as `y_test == 7` is the share that is true.",
    ],
    # The first label, the median and the place in `np.unique` are wrong in the first.
    cases=lambda: [
        Case(np.array([4, 1, 3, 1, 6]), np.array([1, 4, 3, 4, 1, 3, 6, 4, 3, 4, 4])),
        Case(np.array([3, 6, 4, 3, 6, 3, 1, 3, 6]), np.array([6, 1, 1, 0, 3, 1, 6])),
        Case(np.array([2, 0, 0, 5, 0, 2, 2, 0]), np.array([2, 0, 2, 5, 2, 0, 2])),
    ],
    mistakes={
        "You took the most frequent topic of the test stories; a model has only seen "
        "the training stories.": lambda train, test: np.mean(test == _most(test)),
        "That is its share of the training stories; I asked for its share of the test "
        "stories.": lambda train, test: np.mean(train == _most(train)),
        "That is the topic; how often is it right?": lambda train, test: _most(train),
        "That is the number of right answers; divide by all test stories, right or "
        "wrong.": lambda train, test: np.sum(test == _most(train)),
        "That is True or False for each story; take the mean, which is the share of "
        "True.": lambda train, test: test == _most(train),
        "That is in percent; I asked for a share from 0 to 1, such as 0.25 in place of "
        "25.": lambda train, test: 100 * np.mean(test == _most(train)),
        "That is the share of wrong answers; I asked for the share of right ones among "
        "the test stories.": lambda train, test: np.mean(test != _most(train)),
        "That is guessing every topic equally often; the most frequent one does "
        "better.": lambda train, test: 1 / len(np.unique(train)),
        "You took the topic of the first story; count those of all training "
        "stories.": lambda train, test: np.mean(test == train[0]),
        "You took the median of the labels. They are names, not amounts: count "
        "them.": lambda train, test: np.mean(test == np.median(train)),
        "`np.unique` lists the labels that occur: take the label at the place of the "
        "largest count, not the place.": lambda train, test: np.mean(
            test == np.unique(train, return_counts=True)[1].argmax()
        ),
        "No test story has that label. `argmax` of the counts is the topic, `max` is "
        "its count; and take the labels from the arguments, not from variables of the "
        "notebook.": lambda train, test: np.mean(test == 12),
        "Divide by the number of test stories, not of training stories.": (
            lambda train, test: np.sum(test == _most(train)) / len(train)
        ),
    },
    slip=_rounded,
    # As an array: the next cell can print a tensor, but no array of one axis.
    then=lambda answer: _expect_one(np.array(answer(np.array([1]), np.array([1, 2])))),
    passed="One constant, and so much is right. Every model of this lesson has to be "
    "better than that to count at all.",
)
def majority_accuracy(y_train: np.ndarray, y_test: np.ndarray) -> float:
    """Count in plain Python."""
    favourite, _ = Counter(y_train.tolist()).most_common(1)[0]
    return sum(label == favourite for label in y_test.tolist()) / len(y_test)


def _parts(y_true: np.ndarray, y_pred: np.ndarray, n_topics: int) -> SimpleNamespace:
    """Read what F1 is made of off a confusion matrix."""
    matrix = np.zeros((n_topics, n_topics))
    np.add.at(matrix, (y_true, y_pred), 1)
    p = SimpleNamespace(hits=matrix.diagonal())
    p.stories, p.named = matrix.sum(axis=1), matrix.sum(axis=0)
    p.recall = p.hits / np.maximum(p.stories, 1)
    p.precision = p.hits / np.maximum(p.named, 1)
    p.f1 = 2 * p.recall * p.precision / np.where(p.hits, p.recall + p.precision, 1)
    return p


def _of_parts(compute: Callable[[Any], Any]) -> Answer:
    return lambda *given: compute(_parts(*given))


F1_MISTAKES: dict[str, Callable[[Any], Any]] = {
    "That is one number per topic; take their mean.": lambda p: p.f1,
    "A topic that no story has and no answer names divides 0 by 0. Its F1 is 0; divide "
    "by at least 1.": lambda p: np.mean(2 * p.hits / (p.stories + p.named)),
    "That is the micro average, which is the accuracy again: every story counts once, "
    "so large topics decide.": lambda p: p.hits.sum() / p.stories.sum(),
    "That is the weighted average: a topic counts as often as it has stories. In the "
    "macro average each counts once.": lambda p: np.average(p.f1, weights=p.stories),
    "That is mean recall; F1 also counts wrong answers.": lambda p: p.recall.mean(),
    "That is precision; F1 also counts missed stories.": lambda p: p.precision.mean(),
    "You took F1 of the averages of precision and recall. Take F1 of each topic, then "
    "the mean.": lambda p: 2 / (1 / p.recall.mean() + 1 / p.precision.mean()),
    "That is the sum over the topics; divide by n_topics.": lambda p: p.f1.sum(),
    "You left out topics that no story has and no answer names. I asked for all "
    "{n_topics}: their F1 is 0.": lambda p: p.f1[p.stories + p.named > 0].mean(),
    "You averaged over the topics that occur in y_true. I asked for all "
    "{n_topics}.": lambda p: p.f1[p.stories > 0].mean(),
    "You averaged over the topics that were answered; a topic that is never answered "
    "counts with 0.": lambda p: p.f1.sum() / np.sum(p.named > 0),
    "You left out the last topic.": lambda p: p.f1[:-1].mean(),
    "You left out topic 0.": lambda p: p.f1[1:].mean(),
    "You left out topic 0; `range(n_topics)` begins at 0.": (
        lambda p: p.f1[1:].sum() / len(p.f1)
    ),
    "A topic that no story has and no answer names counts 0, not 1.": lambda p: np.mean(
        np.where(p.stories + p.named > 0, p.f1, 1)
    ),
    "You divided by 52, the number of topics in the notebook; here there are n_topics "
    "= {n_topics}.": lambda p: p.f1.sum() / 52,
    "A story that has the topic and is answered with it counts twice in the "
    "denominator. Between arrays of True and False, + means “or”: take the two sums "
    "first.": lambda p: np.mean(2 * p.f1 / (2 - p.f1)),
    "You put the hits of all topics into each topic's F1; count those of that topic "
    "only.": lambda p: np.mean(2 * p.hits.sum() / np.maximum(p.stories + p.named, 1)),
    "That is half of it: F1 has a 2 in its numerator.": lambda p: p.f1.mean() / 2,
    "That is in percent; I asked for a number up to 1.": lambda p: 100 * p.f1.mean(),
}


@reference(
    "3.2",
    hints=[
        "Start with one topic. A hit is a story where both arrays name it. How many "
        "stories have it, and how many answers?",
        "F1 of a topic is 2 · hits / (stories + answers). What if both are 0?",
        "`np.bincount(y_true, minlength=n_topics)` counts stories; the same of "
        "`y_pred` counts answers, and of `y_true[y_true == y_pred]` the hits. Divide "
        "by `np.maximum(stories + answers, 1)`, and take the mean.",
    ],
    # The second has topics that never occur, one of them answered all the same.
    cases=lambda: [
        Case(np.array(y_true), np.array(y_pred), n_topics)
        for y_true, y_pred, n_topics in (
            ([0, 1, 0, 2, 3, 0, 2, 0, 1, 0], [0, 0, 0, 2, 3, 2, 0, 0, 0, 3], 4),
            ([0, 2, 3, 6, 0, 0, 3, 3, 0, 2], [1, 0, 3, 6, 0, 0, 0, 3, 6, 0], 7),
        )
    ],
    mistakes={sentence: _of_parts(wrong) for sentence, wrong in F1_MISTAKES.items()},
    slip=_rounded,
    then=lambda answer: _expect_one(answer(np.array([0, 1]), np.array([0, 2]), 3)),
    passed="A topic of one story now weighs as much as one of a thousand. Accuracy "
    "asks how many stories are right; macro-F1 asks how many topics are known.",
)
def macro_f1(y_true: np.ndarray, y_pred: np.ndarray, n_topics: int) -> float:
    """Average as Opitz and Burst (2019), arXiv:1911.03347, recommend."""
    return _parts(y_true, y_pred, n_topics).f1.mean()


def _count(labels: np.ndarray, n_topics: int) -> np.ndarray:
    return np.array([list(labels).count(topic) for topic in range(n_topics)])


def _over_counts(compute: Callable[..., Any]) -> Answer:
    """Make a mistake of the counts, of n and of k; zero where there is no story."""

    def wrong(labels: np.ndarray, n_topics: int) -> Any:
        counts = _count(labels, n_topics)
        made = compute(np.maximum(counts, 1), len(labels), n_topics)
        return np.where(counts > 0, made, 0)

    return wrong


def _unequal(got: Any, expected: Any, labels: np.ndarray, n_topics: int) -> str:
    """Say what the totals are, where they are not the same."""
    got = np.asarray(got, float)
    if got.shape != (n_topics,) or not np.isfinite(got).all():
        return ""
    if np.allclose(got, expected, atol=0.006):
        return "Did you round? Return the weights as they come."
    totals = (got * _count(labels, n_topics))[_count(labels, n_topics) > 0]
    if np.allclose(totals, totals[0]):
        return (
            f"Each topic has the same total, but it is {totals[0]:.3g}; with n = "
            f"{len(labels)} stories and k = {n_topics} topics it should be n / k."
        )
    return ""


@reference(
    "3.3",
    hints=[
        "How many stories does each topic have? Topics without one need a place, too.",
        "`np.bincount(labels, minlength=n_topics)` counts them. What happens in n / "
        "(k · count) where a count is 0?",
        "`counts = np.bincount(labels, minlength=n_topics)`, then `len(labels) / "
        "(n_topics * np.maximum(counts, 1))`; `np.where(counts > 0, …, 0)` puts the "
        "zeros in.",
    ],
    # A topic without stories in the middle, then at the end.
    cases=lambda: [
        Case(np.array([0, 3, 0, 1, 0, 3, 0, 0]), 4),
        Case(np.array([2, 2, 0, 1, 2, 0, 2, 2, 2, 0]), 5),
    ],
    mistakes={
        "A topic without a story divides by 0. Its weight is 0.": (
            lambda labels, k: np.divide(
                len(labels),
                k * _count(labels, k),
                out=np.full(k, np.inf),
                where=_count(labels, k) > 0,
            )
        ),
        "A topic without a story divides by 0, and `nan_to_num` makes a huge number of "
        "that. Its weight is 0.": lambda labels, k: np.nan_to_num(
            np.divide(
                len(labels),
                k * _count(labels, k),
                out=np.full(k, np.inf),
                where=_count(labels, k) > 0,
            )
        ),
        "`np.bincount` ends at the largest label that occurs; `minlength=n_topics` "
        "counts the others too. And a topic without a story divides by 0: it weighs "
        "0.": lambda labels, k: np.divide(
            len(labels),
            k * np.bincount(labels),
            out=np.full(labels.max() + 1, np.inf),
            where=np.bincount(labels) > 0,
        ),
        "Those are whole numbers: `/` divides, `//` rounds down, and an array of ints "
        "drops what stands behind the point.": _over_counts(
            lambda counts, n, k: n // (k * counts)
        ),
        "A topic without a story gets 0; yours got the weight of a topic with "
        "one.": lambda labels, k: len(labels) / (k * np.maximum(_count(labels, k), 1)),
        "Those are the counts; a topic with more stories needs a smaller "
        "weight.": _over_counts(lambda counts, n, k: counts),
        "Those are shares of the stories; a topic with more stories needs a smaller "
        "weight.": _over_counts(lambda counts, n, k: counts / n),
        "The fraction is upside down: n belongs above, k · count below.": _over_counts(
            lambda counts, n, k: k * counts / n
        ),
        "That is n / count; divide by the number of topics, too.": _over_counts(
            lambda counts, n, k: n / counts
        ),
        "That is 1 / count; multiply by n / k.": _over_counts(
            lambda counts, n, k: 1 / counts
        ),
        "You divided by 52, the number of topics in the notebook; here there are "
        "{n_topics}.": _over_counts(lambda counts, n, k: n / (52 * counts)),
        "You divided by the number of topics that occur; k is n_topics = "
        "{n_topics}.": lambda labels, k: _over_counts(
            lambda counts, n, _: n / (len(np.unique(labels)) * counts)
        )(labels, k),
        "That is one weight a story; I asked for one a topic.": (
            lambda labels, k: _over_counts(lambda counts, n, k: n / (k * counts))(
                labels, k
            )[labels]
        ),
        "You left out topics without a story; they get a 0 in their "
        "place.": lambda labels, k: (
            len(labels) / (k * np.unique(labels, return_counts=True)[1])
        ),
        "You took the root; the formula has none.": _over_counts(
            lambda counts, n, k: np.sqrt(n / (k * counts))
        ),
    },
    slip=_unequal,
    passed="Each topic now has the same total, n / k, whether it has one story or a "
    "thousand.",
)
def class_weights(labels: np.ndarray, n_topics: int) -> np.ndarray:
    """Divide story by story: the same as scikit-learn's ``"balanced"``."""
    total = np.zeros(n_topics)
    counts = Counter(labels.tolist())
    for topic, count in counts.items():
        total[topic] = len(labels) / n_topics / count
    return total


def _each_way(ids: list[int], length: int, fill: int = 0) -> list[list[int]]:
    """Cut and pad one story: two ends to keep, two sides for the zeros."""
    rows = []
    for kept in (ids[:length], ids[max(0, len(ids) - length) :]):
        padding = [fill] * (length - len(kept))
        rows += [[*kept, *padding], [*padding, *kept]]
    return rows


@exercise(
    "3.4",
    hints=[
        "What should the row of a story of three words look like, and that of one "
        "with a thousand?",
        "`vocabulary.encode(text)` gives the ids of one story. Which end of a newswire "
        "would you keep? Begin with an array of zeros and fill in row by row.",
        "`ids = vocabulary.encode(text)[:length]`, then `rows[i, :len(ids)] = ids`. Or "
        "`keras.utils.pad_sequences` with `maxlen=length`; its `padding` and "
        "`truncating` choose the ends.",
    ],
)
def prepare(answer: Answer) -> str:
    """Accept either end of a story and either side for the zeros."""
    rng = np.random.default_rng(33)
    words = [f"{a}{n}" for a in ("oil", "wheat", "bank", "tin") for n in range(90)]
    ways = {0, 1, 2, 3}
    for n_words, length, size in ((14, 6, 300), (9, 8, 340)):
        texts = [" ".join(rng.choice(words, n)) for n in (n_words, 3, length, 1)]
        texts[1] += " zinnober zinnober"
        texts.append("?")
        vocabulary = Vocabulary.from_texts(texts[:1] + [" ".join(words)], size)
        short = texts[1::2]  # no story fills a row
        for batch in (texts, np.array(texts[::-1][2:], dtype=object), short):
            try:
                got = answer(batch, vocabulary, length)
            except ValueError as error:
                error.add_note(f"The {len(batch)} texts: {batch!r}. One has no words.")
                raise
            rows = _expect_ids(got, len(batch), length)
            for text, row in zip(batch, rows.tolist(), strict=True):
                ids = [vocabulary.index.get(word, 1) for word in tokenize(text)]
                fit = [row == good for good in _each_way(ids, length)]
                if not any(fit):
                    opening = f"For the story “{' '.join(text.split()[:4])} …”"
                    fail(f"{opening} {_mistake_in(row, ids, length)}")
                ways &= set(np.flatnonzero(fit))
    if not ways:
        fail(
            "Some rows keep the beginning of their story and others the end, or the "
            "zeros change sides. Choose one for all stories."
        )
    end = "beginning" if ways <= {0, 1} else "end"
    return (
        f"Rows of one length, from the {end} of each story. Whatever goes into the "
        "network from now on, in training and after it, goes through this."
    )


def _expect_ids(raw: Any, n_texts: int, length: int) -> np.ndarray:
    """Insist on an array of a whole-number type that holds every id."""
    if isinstance(raw, np.ndarray) and raw.dtype.kind in "UO":
        fail("I expected ids in one array, not words or lists: see vocabulary.encode.")
    shape, given = (n_texts, length), f"{n_texts} texts and length {length}"
    slip = "If you padded to the longest story, use `length`."
    expect_shape("prepare", raw, shape, given=given, slip=slip)
    rows = as_array("prepare", raw, like=np.zeros(shape, int))
    if rows.dtype.itemsize == 1:
        fail(
            f"{rows.dtype} ends at {np.iinfo(rows.dtype).max}; ids are larger. Use int."
        )
    return rows


def _mistake_in(row: list[int], ids: list[int], length: int) -> str:
    known = [number for number in ids if number != 1]
    short = _each_way(ids, length - 1)
    gap = [row for some in short for row in ([*some, 0], [0, *some])]
    mixed = [row for good in _each_way(ids, length) if sorted(good) == sorted(row)]
    middle = np.trim_zeros(np.array(row)).tolist() == ids
    slips = {
        "there are zeros on both sides; put them all on one.": [row] * middle,
        "you left out words that are not in the vocabulary; they keep id 1, so that "
        "the network sees that something stood there.": _each_way(known, length),
        "you filled up with 1; padding is 0.": _each_way(ids, length, fill=1),
        f"one place is always 0, although the story has {len(ids)} words for {length} "
        "places: is a slice one too short?": gap,
        "the ids came out in another order than the words.": mixed,
        f"with ids {ids} and length {length}, I expected its beginning or its end, "
        f"filled up with 0; your row is {row}.": [row],
    }
    return first_that_holds({slip: row in rows for slip, rows in slips.items()})


summary = summary_of(__name__)
