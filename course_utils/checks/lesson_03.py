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
from course_utils.text import Vocabulary, tokenize

import numpy as np

Answer = Callable[..., Any]

EMBEDDING_DIM = 256
BAR, GOLD = 0.90, 0.945
# No published model comes near; one that trained on the test stories goes past it.
TOO_GOOD = 0.985


@exercise(
    "3.1",
    hints=[
        "Two steps: which label is the most frequent in training? How often is it "
        "right on the test stories?",
        "`np.bincount(y_train)` counts each label; `argmax` names the most frequent.",
        "`np.mean(y_test == np.bincount(y_train).argmax())`.",
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
        (np.repeat([0, 1, 2, 5], [3, 9, 4, 2]), np.repeat([0, 1, 2, 5], [8, 5, 4, 3])),
        (np.repeat([1, 3, 4], [2, 5, 3]), np.repeat([0, 1, 4], [6, 3, 1])),
        (np.repeat([0, 2, 6], [4, 1, 12]), np.repeat([0, 2, 6], [7, 10, 8])),
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
                "You took the most frequent topic of the test stories; whoever "
                "answers has only seen the training stories.",
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
        slip = next((text for value, text in slips if abs(got - value) < 1e-6), "")
        fail(
            f"{given} I expected {expected:.3f}, your function returned {got:.3f}. "
            f"{slip}".rstrip()
        )
    return (
        "One constant, and so much is right. Every model of this lesson has to be "
        "better than that to count at all."
    )


@exercise(
    "3.2",
    hints=[
        "Start with one topic. `hits` are stories where both arrays name it. How many "
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
        y_pred[y_pred == present[-1]] = present[0]
        if n_topics > 4:
            y_pred[:2] = 1
        expected, parts = _f1_by_hand(y_true, y_pred, n_topics)
        f1, precision, recall, stories, occurs = parts
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
            (
                expected / 2,
                "That is half of what I expected: F1 has a 2 in its numerator.",
            ),
            (100 * expected, "That is in percent; I asked for a share from 0 to 1."),
        ]
        slip = next((text for value, text in slips if abs(got - value) < 1e-6), "")
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
        "Begin with `np.zeros((len(texts), length), int)` and fill in row by row.",
        "`vocabulary.encode(text)` gives the ids of one story. Cut it to `length`. "
        "Which end of a newswire would you keep?",
        "`ids = vocabulary.encode(text)[:length]`, then `rows[i, :len(ids)] = ids`. Or "
        "`keras.utils.pad_sequences` with `maxlen=length` on all of them.",
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
    words = [f"{a}{b}" for a in ("oil", "wheat", "bank", "tin") for b in "abcde"]
    habits = set()
    for n_words, length, size in ((14, 6, 12), (9, 8, 20)):
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
            if not np.array_equal(got, np.rint(got.astype(float))):
                fail("Ids are whole numbers; yours are not.")
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
    """Check the form of a network by building it in two tiny sizes.

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
    rng = np.random.default_rng(34)
    for vocab_size, length, n_topics in ((40, 24, 5), (61, 37, 8)):
        model = answer(vocab_size, length, n_topics)
        _expect_model("build_model", model)
        ids = rng.integers(1, vocab_size, size=(6, length)).astype("int32")
        ids[:, -3:] = 0
        ids[0, 0] = vocab_size - 1
        given = f"vocab_size {vocab_size}, length {length} and {n_topics} topics"
        if _tables(model) or model.built:
            _expect_table(model, vocab_size)
        rows = np.asarray(model(ids, training=False))
        _expect_table(model, vocab_size)
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
        loss = getattr(model.loss, "name", None) or getattr(
            model.loss, "__name__", str(model.loss)
        )
        if any(word in loss for word in ("binary", "mean_", "mse", "mae")):
            fail(
                f"The loss is {loss}; one of many topics is right, so the loss to use "
                "is sparse_categorical_crossentropy."
            )
        try:
            value = model.evaluate(
                ids, np.arange(6) % n_topics, verbose=0, return_dict=True
            )["loss"]
        except (ValueError, TypeError):
            value = np.nan
        if not np.isfinite(value):
            fail(
                f"The loss {loss} does not take labels like 0, 7, 51. The one for "
                "whole-number labels is sparse_categorical_crossentropy."
            )
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
        ``topic_classifier(texts)``, probabilities of shape (n_texts, 52), or labels
        of shape (n_texts,).
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
        When test stories took part in training, the table has not 256 columns, the
        answers do not come from the model, or too few of them are right.
    """
    from course_utils.data import load_reuters, reuters_topics

    (x_train, y_train), (x_test, y_test) = load_reuters()
    topics = reuters_topics()
    _expect_model("The second argument", model)
    _expect_table(model, 0)
    seen = _expect_training_stories(trained_on, x_train, x_test)

    predicted, rows = _answers(answer, list(x_test), len(topics))
    accuracy = float(np.mean(predicted == y_test))
    named, counts = np.unique(predicted, return_counts=True)
    if len(named) == 1:
        fail(
            f"Your classifier answers “{topics[named[0]]}” to every story: "
            f"{accuracy:.1%} right. That is the baseline of exercise 3.1. Look at the "
            "training accuracy: if it stands still as well, train longer or with "
            "another learning rate."
        )
    # A few stories alone must get the answers that they got among the others.
    few = np.arange(0, len(x_test), 61)
    again, _ = _answers(answer, list(x_test[few]), len(topics))
    if np.mean(again == predicted[few]) < 0.9:
        fail(
            "A story gets another topic when it is sent with other stories. Is the "
            "vocabulary made anew from the texts to be classified? Use the one of "
            "training."
        )
    if not _uses(model, answer, list(x_test[few]), again, rows, few, len(topics)):
        fail(
            "I wiped the model's embedding for a moment, and your answers stayed the "
            "same: they do not come from this model. Ask the model you hand in."
        )
    label = dict(zip(x_train, y_train, strict=True))
    sample = seen[:: max(1, len(seen) // 800)]
    recalled, _ = _answers(answer, sample, len(topics))
    known = np.array([label[text] for text in sample])
    on_train = float(np.mean(recalled == known))
    if accuracy >= TOO_GOOD:
        fail(
            f"{accuracy:.1%} of the test stories right is too good: no published model "
            "comes near, and the same text sometimes has two topics. Did test stories "
            "get into fit, for example as x_test instead of the validation stories?"
        )
    if accuracy < BAR:
        fail(_what_next(accuracy, on_train, len(named), counts.max() / len(predicted)))
    f1, _ = _f1_by_hand(y_test, predicted, len(topics))
    scores = (
        f"{accuracy:.1%} of the test stories right (bar: {BAR:.0%}), macro-F1 {f1:.2f}"
    )
    if accuracy >= GOLD:
        return (
            f"Gold: {scores}. The published networks cited below stay under this. You "
            "designed it, and it never saw these stories."
        )
    gap = "It knows its training stories much better: dropout may find the rest."
    more = gap if on_train - accuracy > 0.04 else "A few more epochs may find the rest."
    return f"{scores}. Gold begins at {GOLD:.1%}. {more}"


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


def _expect_model(name: str, model: Any) -> None:
    import keras

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
            f"Your table has {wide[0].input_dim} rows, and ids go up to "
            f"{vocab_size - 1}: it needs vocab_size rows."
        )
    return wide


def _expect_probabilities(name: str, rows: np.ndarray) -> None:
    if not np.isfinite(rows).all():
        fail(f"{name} gives NaN or infinite numbers instead of probabilities.")
    sums = rows.sum(axis=1)
    if np.allclose(sums, 1, atol=1e-3) and (rows >= -1e-6).all():
        return
    if (rows >= 0).all() and (rows <= 1).all():
        fail(
            f"The rows add up to {sums[0]:.2f}, not to 1. A sigmoid judges each topic "
            "by itself; softmax shares out one probability among all."
        )
    fail(
        f"The rows add up to {sums[0]:.2f}, not to 1: these are no probabilities. Does "
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
    official = set(x_train)
    # Six texts stand in both halves; nobody can be blamed for those.
    forbidden = set(x_test) - official
    leaked = sum(text in forbidden for text in texts)
    if leaked:
        fail(
            f"{leaked:,} of your {len(texts):,} training texts are test stories. What "
            "a model has seen, it may remember: train on x_train only, and choose by "
            "stories that you set aside from it."
        )
    unknown = sum(text not in official for text in texts)
    if unknown > len(texts) // 2:
        fail(
            f"{unknown:,} of your {len(texts):,} training texts are no stories that I "
            "know. Hand in the texts as load_reuters gives them."
        )
    return [text for text in texts if text in official]


def _answers(
    answer: Answer, texts: list[str], n_topics: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels of some texts, and the probabilities where the answer gives them."""
    given = np.empty(len(texts), dtype=object)
    given[:] = texts
    got = as_array("topic_classifier", answer(given))
    if got.shape == (len(texts),):
        labels = got.astype(float)
        if not np.isin(labels, np.arange(n_topics)).all():
            fail(f"Labels are whole numbers from 0 to {n_topics - 1}; yours are not.")
        return labels.astype(int), None
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
    return got.argmax(axis=1), got


def _uses(
    model: Any,
    answer: Answer,
    texts: list[str],
    labels: np.ndarray,
    rows: np.ndarray | None,
    few: np.ndarray,
    n_topics: int,
) -> bool:
    """Whether answers change while the model's wide tables hold zeros."""
    wide = _expect_table(model, 0)
    kept = [table.get_weights() for table in wide]
    try:
        for table, weights in zip(wide, kept, strict=True):
            table.set_weights([np.zeros_like(weight) for weight in weights])
        wiped, wiped_rows = _answers(answer, texts, n_topics)
    finally:
        for table, weights in zip(wide, kept, strict=True):
            table.set_weights(weights)
    if rows is not None and wiped_rows is not None:
        return not np.allclose(wiped_rows, rows[few], atol=1e-4)
    return not np.array_equal(wiped, labels)


def _what_next(accuracy: float, on_train: float, n_named: int, largest: float) -> str:
    """Read the two accuracies as a colleague would."""
    head = (
        f"{accuracy:.1%} of the test stories are right, the bar is {BAR:.0%}; of those "
        f"it trained on, {on_train:.1%}."
    )
    if n_named <= 5 and on_train < 0.85:
        return (
            f"{head} Your model names {n_named} topics only, one of them in "
            f"{largest:.0%} of its answers: it has hardly begun. Train for more "
            "epochs, or raise the learning rate to 3e-3."
        )
    if on_train < 0.3:
        return (
            f"{head} That is worse than a constant: do texts and labels still stand in "
            "the same order, and is the vocabulary the one of training?"
        )
    if on_train - accuracy > 0.07:
        return (
            f"{head} It learned its stories by heart: overfitting. Try dropout before "
            "the last layer, a pooling layer in place of Flatten, fewer epochs, or "
            "more training stories."
        )
    return (
        f"{head} It has not even learned its own stories: underfitting. Try more "
        "epochs, a higher learning rate, more words of each story, or less dropout."
    )
