"""Checks of lesson 03, Reuters topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from course_utils.checks.core import (
    as_array,
    exercise,
    expect_number,
    expect_shape,
    fail,
)
from course_utils.checks.leaks import origin_of
from course_utils.checks.summary import summary_of
from course_utils.frameworks import import_keras
from course_utils.text import Vocabulary, tokenize

import numpy as np

Answer = Callable[..., Any]

EMBEDDING_DIM = 256
BAR, GOLD = 0.90, 0.945
# More than networks without pretraining reach; one that saw the test stories does.
TOO_GOOD = 0.96


@exercise(
    "3.1",
    hints=[
        "Two steps: which label is the most frequent in training? How often is it "
        "right on the test stories?",
        "NumPy can count how often each label stands in `y_train`, and can say at "
        "which place the largest count is.",
        "`np.bincount` counts, `argmax` finds the place: that is the favourite. The "
        "mean of a comparison such as `y_test == 7` is the share that is true.",
    ],
)
def majority_accuracy(answer: Answer) -> str:
    """Check the accuracy of always answering the most frequent training topic.

    Parameters
    ----------
    answer : callable
        ``majority_accuracy(y_train, y_test)``, a share between 0 and 1.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a share is another one.
    """
    rng = np.random.default_rng(31)
    cases = [
        (np.repeat([0, 1, 2, 5], [3, 9, 4, 2]), np.repeat([0, 1, 2, 5], [9, 6, 5, 3])),
        (np.repeat([1, 3, 4], [2, 5, 3]), np.repeat([0, 1, 4], [6, 5, 2])),
        (np.repeat([0, 2, 6], [4, 1, 12]), np.repeat([0, 2, 6], [7, 11, 9])),
    ]
    for y_train, y_test in cases:
        y_train, y_test = rng.permutation(y_train), rng.permutation(y_test)
        got = expect_number("majority_accuracy", answer(y_train.copy(), y_test.copy()))
        favourite = Counter(y_train.tolist()).most_common(1)[0][0]
        hits = sum(label == favourite for label in y_test.tolist())
        expected = hits / len(y_test)
        if abs(got - expected) < 1e-6:
            continue
        given = (
            f"For {len(y_train)} training stories, most of topic {favourite}, and "
            f"{len(y_test)} test stories, {hits} of them of that topic,"
        )
        slips = [
            (
                max(Counter(y_test.tolist()).values()) / len(y_test),
                "You took the most frequent topic of the test stories; a model "
                "has only seen the training stories.",
            ),
            (
                np.mean(y_train == favourite),
                "That is its share of the training stories; it has to answer the "
                "test stories.",
            ),
            (favourite, "That is the topic; I asked how often it is right."),
            (hits, "That is the number of right answers; divide by all test stories."),
            (100 * expected, "That is in percent; I asked for a share from 0 to 1."),
            (1 - expected, "That is the share of wrong answers."),
            (
                1 / len(set(y_train.tolist())),
                "That is guessing every topic equally often; the most frequent one "
                "does better.",
            ),
        ]
        slip = _slip(got, slips)
        others = {np.mean(y_test == label): label for label in range(99)}
        if not slip and abs(got - expected) < 0.006:
            slip = "Did you round? Return it as it comes."
        elif not slip and any(abs(got - share) < 1e-6 for share in others):
            slip = (
                "That is the share of another topic, or of none. Did you use a number "
                "or a variable of the notebook? Here only y_train and y_test count."
            )
        fail(
            f"{given} I expected {expected:.4g}, your function returned {got:.4g}. "
            f"{slip}".rstrip()
        )
    return (
        "One constant, and so much is right. Every model of this lesson has to be "
        "better than that to count at all."
    )


@exercise(
    "3.2",
    hints=[
        "Start with one topic. A hit is a story where both arrays name it. How many "
        "stories have it, and how many answers?",
        "F1 of a topic is 2 · hits / (stories + answers). What if both are 0?",
        "`np.bincount(y_true, minlength=n_topics)` counts stories; the same of "
        "`y_pred` counts answers, and of `y_true[y_true == y_pred]` the hits. Divide "
        "by `np.maximum(stories + answers, 1)`, and take the mean.",
    ],
)
def macro_f1(answer: Answer) -> str:
    """Check the mean of the topics' F1.

    Parameters
    ----------
    answer : callable
        ``macro_f1(y_true, y_pred, n_topics)``, a number between 0 and 1.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When the mean is another one.

    References
    ----------
    Opitz and Burst (2019), Macro F1 and Macro F1, arXiv:1911.03347.
    """
    rng = np.random.default_rng(32)
    for n_topics, present, size in ((4, (0, 1, 2, 3), 60), (7, (0, 2, 3, 6), 45)):
        # The second case has topics that never occur, one of them never answered.
        share = np.array([0.6, 0.2, 0.15, 0.05])
        y_true = rng.choice(present, size=size, p=share)
        y_true[:4] = present
        y_pred = np.where(rng.random(size) < 0.6, y_true, rng.choice(present, size))
        y_pred[y_pred == present[1]] = present[0]
        if n_topics > 4:
            y_pred[:2] = 1
        expected, parts = _f1_by_hand(y_true, y_pred, n_topics)
        f1, precision, recall, stories, occurs = parts
        hits = np.bincount(y_true[y_true == y_pred], minlength=n_topics)
        named = np.bincount(y_pred, minlength=n_topics)
        raw = answer(y_true.copy(), y_pred.copy(), n_topics)
        array = as_array("macro_f1", raw)
        if array.shape == (n_topics,):
            fail("That is one number a topic; the macro average is their mean.")
        if array.size == 1 and np.isnan(array.astype(float)).all():
            fail(
                "Your function returned nan: a topic that no story has and no answer "
                "names divides 0 by 0. Its F1 is 0; divide by at least 1."
            )
        got = expect_number("macro_f1", raw)
        if abs(got - expected) < 1e-6:
            continue
        mean_p, mean_r = precision.mean(), recall.mean()
        slips = [
            (
                np.mean(y_true == y_pred),
                "That is the micro average, which is the accuracy again: every story "
                "counts once, so large topics decide. Take F1 topic by topic first.",
            ),
            (
                (f1 * stories).sum() / stories.sum(),
                "That is the weighted average: a topic counts as often as it has "
                "stories. In the macro average each topic counts once.",
            ),
            (mean_r, "That is the mean recall; F1 also looks at wrong answers."),
            (mean_p, "That is the mean precision; F1 also looks at missed stories."),
            (
                2 * mean_p * mean_r / (mean_p + mean_r),
                "You averaged precision and recall over the topics and took F1 of the "
                "averages. Take F1 of each topic, then the mean.",
            ),
            (f1.sum(), "That is the sum over the topics; divide by n_topics."),
            (
                f1[occurs].mean(),
                f"You averaged over {occurs.sum()} topics and left out those that "
                f"nobody names. I asked for all {n_topics}: theirs is 0.",
            ),
            (
                f1[stories > 0].mean(),
                f"You averaged over the {(stories > 0).sum()} topics that occur in "
                f"y_true. I asked for all {n_topics}.",
            ),
            (
                f1.sum() / len(set(y_pred.tolist())),
                "You averaged over the topics that were answered; a topic that is "
                "never answered counts with 0.",
            ),
            (f1[:-1].mean(), "You left out the last topic."),
            (f1[:-1].sum() / n_topics, "You left out the last topic."),
            (f1[1:].mean(), "You left out topic 0."),
            (f1[1:].sum() / n_topics, "You left out topic 0."),
            (
                f1.sum() / 52,
                f"You divided by 52, the number of topics in the notebook; here there "
                f"are n_topics = {n_topics}.",
            ),
            (
                np.mean(2 * hits / np.maximum(stories + named - hits, 1)),
                "A story that has the topic and is answered with it counts twice in "
                "the denominator, once on each side. Between arrays of True and "
                "False, + means “or”: take the two sums first.",
            ),
            (
                np.mean(2 * hits.sum() / np.maximum(stories + named, 1)),
                "You put the hits of all topics into each topic's F1; count those of "
                "that topic only.",
            ),
            (
                expected / 2,
                "That is half of what I expected: F1 has a 2 in its numerator.",
            ),
            (100 * expected, "That is in percent; I asked for a share from 0 to 1."),
        ]
        slip = _slip(got, slips)
        if not slip and abs(got - expected) < 0.006:
            slip = "Did you round? Return it as it comes."
        fail(
            f"For {size} stories and {n_topics} topics I expected {expected:.4f}, your "
            f"function returned {got:.4f}. {slip}".rstrip()
        )
    return (
        "A topic of one story now weighs as much as one of a thousand. Accuracy asks "
        "how many stories are right; macro-F1 asks how many topics are known."
    )


@exercise(
    "3.3",
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
    """Check that texts become rows of ids of one length.

    Parameters
    ----------
    answer : callable
        ``prepare(texts, vocabulary, length)``, ids of shape (n_texts, length).

    Returns
    -------
    str
        What was shown, with the end that is kept.

    Raises
    ------
    ExerciseError
        When a row is neither the beginning nor the end of its story, padded with 0.
    """
    rng = np.random.default_rng(33)
    words = [f"{a}{n}" for a in ("oil", "wheat", "bank", "tin") for n in range(90)]
    habits = set()
    for n_words, length, size in ((14, 6, 300), (9, 8, 340)):
        texts = [" ".join(rng.choice(words, n)) for n in (n_words, 3, length, 1)]
        texts[1] += " zinnober"
        texts.append("?")
        vocabulary = Vocabulary.from_texts(texts[:1] + [" ".join(words)], size)
        given = f"{len(texts)} texts and length {length}"
        for batch in (texts, np.array(texts[::-1][2:], dtype=object)):
            raw = answer(batch, vocabulary, length)
            kind = getattr(getattr(raw, "dtype", None), "kind", "")
            if isinstance(raw, list | tuple) and len({len(r) for r in raw}) > 1:
                fail(
                    "Your rows have different lengths; a network needs all of them to "
                    f"have {length}. Cut long stories, fill short ones up with 0."
                )
            if kind in "UO" and kind:
                fail("I expected ids, not words: does vocabulary.encode help?")
            got = as_array("prepare", raw)
            shape = (len(batch), length)
            longest = max(len(tokenize(text)) for text in batch)
            slip = ""
            if got.shape == (len(batch), longest):
                slip = "You padded to the longest story; use `length`."
            elif got.shape == shape[::-1]:
                slip = "Rows and columns have changed places."
            got = expect_shape("prepare", got, shape, given=given, slip=slip)
            _expect_ids(raw, got)
            for text, row in zip(batch, got, strict=True):
                habits.add(_which_end(text, list(map(int, row)), vocabulary, length))
    cut = {end for end, _ in habits if end != "whole"}
    pad = {side for _, side in habits if side != "none"}
    if len(cut) > 1 or len(pad) > 1:
        fail(
            "Some rows keep the beginning of their story and others the end, or the "
            "zeros change sides. Choose one for all stories."
        )
    return (
        f"Rows of one length, from the {cut.pop()} of each story. Whatever goes into "
        "the network from now on, in training and after it, goes through this."
    )


@exercise(
    "3.4",
    hints=[
        "Three parts: the embedding, something that turns (length, 256) into one "
        "vector, and a Dense layer with one output a topic.",
        "The smallest network of this kind: Embedding, GlobalAveragePooling1D, Dense "
        'with activation="softmax". Then compile it.',
        "`keras.Sequential([layers.Input((length,)), layers.Embedding(vocab_size, "
        '256), layers.GlobalAveragePooling1D(), layers.Dense(n_topics, "softmax")])`, '
        'compiled with optimizer="adam" and loss="sparse_categorical_crossentropy".',
    ],
)
def build_model(answer: Answer) -> str:
    """Check the form of a network by building it in two sizes.

    Parameters
    ----------
    answer : callable
        ``build_model(vocab_size, length, n_topics)``, a compiled Keras model.

    Returns
    -------
    str
        What was shown, with the number of parameters.

    Raises
    ------
    ExerciseError
        When it is no compiled model from ids to probabilities with a table of 256
        columns.
    """
    keras = import_keras()

    rng = np.random.default_rng(34)
    # The second has more ids than the full profile, for a size that was written down.
    for vocab_size, length, n_topics in ((40, 150, 5), (20_100, 180, 8)):
        # The same weights in every run, so that an answer always gets the same verdict.
        keras.utils.set_random_seed(34)
        model = answer(vocab_size, length, n_topics)
        _expect_model("build_model", model)
        ids = rng.integers(1, vocab_size, size=(6, length)).astype("int32")
        ids[:, -3:] = 0
        ids[0, 0] = vocab_size - 1
        given = f"vocab_size {vocab_size:,}, length {length} and {n_topics} topics"
        if _tables(model) or model.built:
            _expect_table(model, vocab_size)
        takes = (getattr(model, "input_shape", None) or (None,))[-1]
        if takes not in (None, length):
            fail(f"With {given}, your model takes rows of {takes} ids.")
        rows = np.asarray(model(ids, training=False))
        wide = _expect_table(model, vocab_size)
        if not any(table.trainable for table in wide):
            fail(
                "Your embedding is frozen (trainable=False): its random rows would "
                "stay as they are, and the words would never get a meaning."
            )
        if rows.shape != (6, n_topics):
            slip = "The last layer needs one output a topic."
            if rows.ndim == 3 and rows.shape[-1] == n_topics:
                slip = (
                    "That is one answer for every word: something has to turn the "
                    "words' vectors into one, such as a pooling layer."
                )
            fail(
                f"With {given}, 6 stories should come out with shape (6, {n_topics}); "
                f"yours have {rows.shape}. {slip}"
            )
        _expect_probabilities("build_model", rows)
        if np.allclose(rows, rows[0], atol=1e-7):
            fail(
                "All stories get the same answer, whatever their words. Does the "
                "output hang on the ids?"
            )
        if not getattr(model, "compiled", False):
            fail("The model is not compiled yet; it needs an optimizer and a loss.")
        loss = str(
            getattr(model.loss, "name", None)
            or getattr(model.loss, "__name__", model.loss)
        )
        if any(word in loss for word in ("binary", "mean_", "mse", "mae")):
            fail(
                f"The loss is {loss}; one of many topics is right, so the loss to use "
                "is sparse_categorical_crossentropy."
            )
        config: dict[str, Any] = getattr(model.loss, "get_config", dict)()
        if config.get("from_logits"):
            fail(
                "The loss has from_logits=True and so takes a softmax once more, on "
                "your probabilities. Leave from_logits away."
            )
        _expect_report(model, ids, np.arange(6) % n_topics, rows, loss)
    return (
        f"Ids in, probabilities out, {EMBEDDING_DIM} columns in between. Whether your "
        "design is any good, only training will tell."
    )


@exercise(
    "3.5",
    hints=[
        "Two functions of yours do all the work: one makes ids, the fitted model makes "
        "probabilities.",
        "Use the same vocabulary and length as in training: "
        "`prepare(texts, vocabulary, length)`.",
        "`return model.predict(prepare(texts, vocabulary, length), verbose=0)`. To get "
        "past the bar, change the training cell above and run it again.",
    ],
)
def topic_classifier(answer: Answer, model: Any, trained_on: Sequence[str]) -> str:
    """Check a fitted classifier on the test stories; nothing is trained here.

    Parameters
    ----------
    answer : callable
        ``topic_classifier(texts)``, probabilities of shape (n_texts, 52).
    model : keras.Model
        The fitted model that it asks.
    trained_on : sequence of str
        The texts that the model was trained on.

    Returns
    -------
    str
        Accuracy and macro-F1 on the test stories.

    Raises
    ------
    ExerciseError
        When test stories are declared or show in the scores, the table has not 256
        columns, the answers do not come from the model, or too few are right.
    """
    from course_utils.data import load_reuters, reuters_topics

    (x_train, y_train), (x_test, y_test) = load_reuters()
    topics = reuters_topics()
    _expect_model("The second argument", model)
    _expect_table(model, 0)
    seen = _expect_training_stories(trained_on, x_train, x_test)

    predicted, rows = _answers(answer, list(x_test), len(topics))
    accuracy = float(np.mean(predicted == y_test))
    named = np.unique(predicted)
    if len(named) == 1:
        fail(
            f"Your classifier answers “{topics[named[0]]}” to every story: "
            f"{accuracy:.1%} right. That is the baseline of exercise 3.1. Look at the "
            "training accuracy: if it stands still as well, train longer or with "
            "another learning rate."
        )
    # A few stories alone must get the answers that they got among the others.
    few = np.arange(0, len(x_test), 61)
    again, rows_again = _answers(answer, list(x_test[few]), len(topics))
    if not np.allclose(rows_again, rows[few], atol=0.02):
        _, rows_twice = _answers(answer, list(x_test[few]), len(topics))
        if not np.allclose(rows_again, rows_twice, atol=0.01):
            fail(
                "The same stories get other probabilities when I ask twice. Is dropout "
                "still on? Use model.predict, or the model with training=False."
            )
    if np.mean(again == predicted[few]) < 0.9:
        fail(
            "A story gets another topic when it is sent with other stories. Is the "
            "vocabulary made anew from the texts to be classified? Use the one of "
            "training."
        )
    if not _uses(model, answer, list(x_test[few]), rows[few], len(topics)):
        fail(
            "I wiped the model's embedding for a moment, and your answers stayed the "
            "same: they do not come from this model. Ask the model you hand in."
        )
    label = dict(zip(x_train, y_train, strict=True))
    on_train = _share_right(answer, seen, label, len(topics))
    declared = set(seen)
    others = [text for text in label if text not in declared]
    on_others = None
    if len(others) >= 200:
        on_others = _share_right(answer, others, label, len(topics))
    _expect_unseen(accuracy, on_train, on_others, min(len(others), 1_000))
    if accuracy < BAR:
        rate, optimizer = _learning_rate(model)
        fail(_what_next(accuracy, on_train, len(named), rate, optimizer))
    f1, _ = _f1_by_hand(y_test, predicted, len(topics))
    scores = (
        f"{accuracy:.1%} of the test stories right (bar: {BAR:.0%}), macro-F1 {f1:.2f}"
    )
    if accuracy >= GOLD:
        return (
            f"Gold: {scores}. The two networks cited below, without pretraining as "
            "yours, stay under this, and none of the stories you declared is a test "
            "story."
        )
    gap = "It knows its training stories much better: dropout may find the rest."
    more = gap if on_train - accuracy > 0.04 else "A few more epochs may find the rest."
    return f"{scores}. Gold begins at {GOLD:.1%}. {more}"


def _share_right(
    answer: Answer, texts: list[str], label: dict[str, int], n_topics: int
) -> float:
    """Accuracy on about a thousand training stories, evenly spaced."""
    sample = texts[:: max(1, len(texts) // 1_000)]
    predicted, _ = _answers(answer, sample, n_topics)
    return float(np.mean(predicted == [label[text] for text in sample]))


def _expect_unseen(
    accuracy: float, on_train: float, on_others: float | None, n_others: int
) -> None:
    """Refuse scores that hardly come about unless test stories were trained on.

    The check knows only which stories were declared. Those of the training half that
    were not are no easier than the test stories, if neither was trained on.
    """
    if on_others is not None:
        spread = np.sqrt(on_others * (1 - on_others))
        margin = max(0.02, 0.085 * spread) * np.sqrt(1_000 / n_others)
        if on_others - on_train > margin:
            fail(
                f"Your model knows {on_train:.1%} of the training stories you declared "
                f"and {on_others:.1%} of the others. It looks as if it trained on "
                "those: the third argument should be the stories that fit was given."
            )
        if accuracy - on_others > margin:
            fail(
                f"{accuracy:.1%} of the test stories right, but only {on_others:.1%} "
                "of the training stories you did not declare. Unseen, both should be "
                "equally hard. Did test stories get into fit, for example as x_test "
                "in place of x_train?"
            )
    if accuracy >= TOO_GOOD:
        fail(
            f"{accuracy:.1%} of the test stories right is too good: networks without "
            "pretraining stay under it, and the same text sometimes has two topics. "
            "Did test stories get into fit, for example as x_test in place of x_train?"
        )
    if on_others is None and accuracy >= max(BAR, on_train):
        fail(
            f"{accuracy:.1%} of the test stories right, and {on_train:.1%} of those "
            "you declared as training stories: unseen stories should be harder. Did "
            "test stories get into fit?"
        )


def _learning_rate(model: Any) -> tuple[float, str]:
    """Read the optimizer: its rate (nan where it follows a plan) and its kind."""
    optimizer: Any = getattr(model, "optimizer", None)
    try:
        rate = float(optimizer.learning_rate)
    except (AttributeError, TypeError, ValueError):
        rate = float("nan")
    return rate, type(optimizer).__name__


def _f1_by_hand(
    y_true: np.ndarray, y_pred: np.ndarray, n_topics: int
) -> tuple[float, tuple[np.ndarray, ...]]:
    """Macro-F1 from a confusion matrix, and its ingredients for the slips."""
    matrix = np.zeros((n_topics, n_topics))
    for true, pred in zip(y_true.tolist(), y_pred.tolist(), strict=True):
        matrix[true, pred] += 1
    hits = matrix.diagonal()
    stories, answers = matrix.sum(axis=1), matrix.sum(axis=0)
    recall = hits / np.where(stories, stories, 1)
    precision = hits / np.where(answers, answers, 1)
    both = precision + recall
    f1 = 2 * precision * recall / np.where(both, both, 1)
    occurs = stories + answers > 0
    return float(f1.mean()), (f1, precision, recall, stories, occurs)


def _slip(got: float, slips: Sequence[tuple[float, str]]) -> str:
    """Sentence of the first mistake that gives this number."""
    return next((text for value, text in slips if abs(got - value) < 1e-6), "")


def _expect_ids(raw: Any, got: np.ndarray) -> None:
    """Insist on an array of a whole-number type that holds every id."""
    if not hasattr(raw, "shape"):
        fail(
            f"Your function returned a {type(raw).__name__} of rows. The numbers fit, "
            "but the next cells need one NumPy array: np.array(...) makes it."
        )
    if got.dtype.kind not in "iu":
        fail(
            f"Ids are whole numbers, and yours are stored as {got.dtype}. Make the "
            "array of a whole-number type, for example with dtype=int."
        )
    if got.dtype.itemsize == 1:
        fail(
            f"{got.dtype} ends at {np.iinfo(got.dtype).max}: larger ids begin at the "
            "bottom again and become other words. Use int."
        )


def _which_end(
    text: str, row: list[int], vocabulary: Vocabulary, length: int
) -> tuple[str, str]:
    """Say which end of a story a row keeps and where its zeros are, or fail."""
    ids = [vocabulary.index.get(word, 1) for word in tokenize(text)]
    missing = max(0, length - len(ids))
    if missing and row == ids + [0] * missing:
        return "whole", "behind" if ids else "none"
    if missing and row == [0] * missing + ids:
        return "whole", "before"
    if not missing and row == ids[:length]:
        return ("beginning" if len(ids) > length else "whole"), "none"
    if not missing and row == ids[len(ids) - length :]:
        return "end", "none"
    opening = f"For the story “{' '.join(text.split()[:4])} …”"
    known = [number for number in ids if number != 1]
    if 1 in ids and [n for n in row if n] in (known[:length], known[-length:]):
        fail(
            f"{opening} you left out words that are not in the vocabulary; they keep "
            "id 1, so that the network sees that something stood there."
        )
    if not missing and row in (ids[: length - 1] + [0], [0] + ids[: length - 1]):
        fail(
            f"{opening} one place is always 0, although the story has {len(ids)} words "
            f"for {length} places: is a slice one too short?"
        )
    if missing and set(row) == {1} | set(ids):
        fail(f"{opening} you filled up with 1; padding is 0.")
    if sorted(row) == sorted(ids[:length] + [0] * missing) or sorted(row) == sorted(
        ids[len(ids) - len(ids[:length]) :] + [0] * missing
    ):
        fail(f"{opening} the ids came out in another order than the words.")
    fail(
        f"{opening} with ids {ids} and length {length}, I expected its beginning or "
        f"its end, filled up with 0; your row is {row}."
    )


def _expect_report(
    model: Any, ids: np.ndarray, labels: np.ndarray, rows: np.ndarray, loss: str
) -> None:
    """Insist on a loss that takes these labels, and on `accuracy` beside it."""
    try:
        value = float(model.compute_loss(x=ids, y=labels, y_pred=model(ids)))
    except Exception:
        value = np.nan
    if not np.isfinite(value):
        fail(
            f"The loss {loss} does not take labels like 0, 7, 51. The one for "
            "whole-number labels is sparse_categorical_crossentropy."
        )
    try:
        report = model.evaluate(ids, labels, verbose=0, return_dict=True)
    except Exception:
        fail(
            "A metric of your model does not take labels like 0, 7, 51. Compile with "
            'metrics=["accuracy"]: Keras then chooses the kind that fits the loss.'
        )
    others = [name for name in report if name != "loss"]
    if "accuracy" not in report:
        seen = f"reports {', '.join(others)}" if others else "reports its loss only"
        fail(
            f"Your model {seen}; the plot after training looks for “accuracy”. Compile "
            'with metrics=["accuracy"].'
        )
    # Labels that it gets all right, then all wrong: no other comparison passes both.
    best = rows.argmax(axis=1)
    for told, right in ((best, 1), ((best + 1) % rows.shape[1], 0)):
        share = model.evaluate(ids, told, verbose=0, return_dict=True)["accuracy"]
        if abs(share - right) > 1e-3:
            fail(
                f"Your model's accuracy says {share:.2f} where {right:.0%} of the "
                "answers are right: it compares in another way. Compile with "
                'metrics=["accuracy"].'
            )


def _expect_model(name: str, model: Any) -> None:
    keras = import_keras()

    if model is None:
        fail(f"{name} returned None: does its last line begin with `return`?")
    if not isinstance(model, keras.Model):
        fail(f"{name} should give a Keras model, not {type(model).__name__}.")


def _tables(model: Any) -> list[Any]:
    from keras import layers

    every = model._flatten_layers(include_self=False, recursive=True)
    return [layer for layer in every if isinstance(layer, layers.Embedding)]


def _expect_table(model: Any, vocab_size: int) -> list[Any]:
    tables = _tables(model)
    if not tables:
        fail(
            "I find no Embedding layer in your model; the exercise asks for one with "
            f"{EMBEDDING_DIM} columns."
        )
    wide = [table for table in tables if table.output_dim == EMBEDDING_DIM]
    if not wide:
        fail(
            f"Your embedding has {tables[0].output_dim} columns; the exercise asks for "
            f"{EMBEDDING_DIM}."
        )
    if all(table.input_dim < vocab_size for table in wide):
        fail(
            f"With vocab_size = {vocab_size:,}, ids go up to {vocab_size - 1:,}, and "
            f"your table has {wide[0].input_dim:,} rows: it needs vocab_size rows. Did "
            "you write a number in its place, or change the argument?"
        )
    return wide


def _expect_probabilities(name: str, rows: np.ndarray) -> None:
    if not np.isfinite(rows).all():
        fail(f"{name} gives NaN or infinite numbers instead of probabilities.")
    sums = rows.sum(axis=1)
    if np.allclose(sums, 1, atol=1e-3) and (rows >= -1e-6).all():
        return
    off = sums[np.abs(sums - 1).argmax()]
    if len(rows) > 1 and np.allclose(rows.sum(axis=0), 1, atol=1e-3):
        fail(
            "Each column adds up to 1, over the stories; I expected each row to, over "
            "the topics. Softmax belongs on the last axis."
        )
    if any(np.allclose(rows, rows.round(digits), atol=1e-6) for digits in (1, 2, 3)):
        fail(
            f"The rows add up to 1 only roughly, one to {off:.2f}: did you round them? "
            "Return them as they come."
        )
    if (rows >= 0).all() and (rows == 0).mean() > 0.1:
        fail(
            f"A row adds up to {off:.2f}, not to 1, and many numbers are exactly 0: "
            'that is relu. The last layer needs activation="softmax".'
        )
    if (rows >= 0).all() and (rows <= 1).all():
        fail(
            f"A row adds up to {off:.2f}, not to 1. A sigmoid judges each topic "
            "by itself; softmax shares out one probability among all."
        )
    fail(
        f"A row adds up to {off:.2f}, not to 1: these are no probabilities. Does "
        "the last layer have a softmax?"
    )


def _expect_training_stories(
    trained_on: Any, x_train: np.ndarray, x_test: np.ndarray
) -> list[str]:
    if isinstance(trained_on, str) or not hasattr(trained_on, "__len__"):
        fail("The third argument should hold the texts that your model trained on.")
    texts = list(trained_on)
    if not texts or not all(isinstance(text, str) for text in texts):
        fail(
            "The third argument should hold the texts that your model trained on, as "
            "strings, not as ids."
        )
    origin = origin_of(texts, x_train, x_test)
    if origin.leaked:
        fail(
            f"{origin.leaked:,} of your {len(texts):,} training texts are test "
            "stories. What a model has seen, it may remember: train on x_train only, "
            "and choose by stories that you set aside from it."
        )
    if origin.unknown > len(texts) // 2:
        fail(
            f"{origin.unknown:,} of your {len(texts):,} training texts are no stories "
            "that I know. Hand in the texts as load_reuters gives them."
        )
    return [text for text in texts if text in origin.seen]


def _answers(
    answer: Answer, texts: list[str], n_topics: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of some texts, and the probabilities that name them."""
    given = np.empty(len(texts), dtype=object)
    given[:] = texts
    try:
        raw = answer(given)
    except Exception as error:
        if "dtype=string" in str(error) or "could not convert string" in str(error):
            fail(
                "The model was given the texts themselves, and it takes ids: call "
                "prepare first."
            )
        raise
    got = as_array("topic_classifier", raw)
    if got.shape == (len(texts),):
        fail(
            "You returned one number a story, its label perhaps. I asked for all "
            f"{n_topics} probabilities of each: leave argmax away."
        )
    slip = ""
    if got.ndim == 2 and got.shape[0] == len(texts):
        slip = f"There are {n_topics} topics."
    elif got.ndim and got.shape[0] != len(texts):
        slip = "Do you answer the texts that are handed in, or stories of your own?"
    got = expect_shape(
        "topic_classifier",
        got,
        (len(texts), n_topics),
        given=f"{len(texts):,} texts",
        slip=slip,
    )
    _expect_probabilities("topic_classifier", got)
    if np.isin(got, (0, 1)).all():
        fail(
            "Each row holds a single 1 and zeros: that says which topic, not how "
            "certain. Return the model's probabilities as they come."
        )
    return got.argmax(axis=1), got


def _uses(
    model: Any, answer: Answer, texts: list[str], rows: np.ndarray, n_topics: int
) -> bool:
    """Whether answers change while the model's wide tables hold zeros."""
    wide = _expect_table(model, 0)
    kept = [table.get_weights() for table in wide]
    try:
        for table, weights in zip(wide, kept, strict=True):
            table.set_weights([np.zeros_like(weight) for weight in weights])
        _, wiped = _answers(answer, texts, n_topics)
    finally:
        for table, weights in zip(wide, kept, strict=True):
            table.set_weights(weights)
    return not np.allclose(wiped, rows, atol=1e-4)


def _what_next(
    accuracy: float, on_train: float, n_named: int, rate: float, optimizer: str
) -> str:
    """Read the two accuracies as a colleague would."""
    head = (
        f"{accuracy:.1%} of the test stories are right, the bar is {BAR:.0%}; of those "
        f"it trained on, {on_train:.1%}."
    )
    if rate >= 0.03:
        faster = f"Your learning rate of {rate:.2g} is large: try 1e-2 or less."
    elif optimizer == "SGD":
        faster = "Plain SGD hardly moves the rows of rare words: try Adam."
    elif rate <= 2e-3:
        faster = (
            f"Try more epochs, or a learning rate above your {rate:.2g}: an embedding "
            "stands 3e-3 to 1e-2."
        )
    else:
        faster = "Try more epochs, more words of each story, or less dropout."
    order = "do texts and labels stand in the same order in fit?"
    if n_named <= 5 and on_train < 0.85:
        return (
            f"{head} It names {n_named} topics only: it has hardly begun. {faster} If "
            f"nothing moves: {order}"
        )
    if on_train < 0.5:
        return (
            f"{head} A constant does as well or better: {order} And is the vocabulary "
            "the one of training?"
        )
    gap = on_train - accuracy
    if gap > 0.07 and on_train > 0.93:
        return (
            f"{head} It learned its stories by heart: overfitting. Try dropout before "
            "the last layer, a pooling layer in place of Flatten, fewer epochs, or "
            "more training stories."
        )
    if gap > 0.03 and on_train > 0.93:
        return (
            f"{head} Close; what it learned holds less for new stories, by "
            f"{100 * gap:.0f} points. Try a little dropout, more words of each story, "
            "or another way of pooling."
        )
    if gap > 0.03:
        return (
            f"{head} It has not learned all of its own stories yet, and holds on to "
            f"some of them by heart. {faster}"
        )
    return (
        f"{head} Both are low and close together: underfitting, it has more to learn "
        f"from its own stories. {faster}"
    )


summary = summary_of(__name__)
