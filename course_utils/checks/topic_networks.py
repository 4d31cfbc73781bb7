"""Exercises 3.5 and 3.6: a network for topics, built and trained by the reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from course_utils.checks.core import as_array, exercise, expect_shape, fail
from course_utils.checks.leaks import origin_of
from course_utils.evaluation import bootstrap, macro_f1
from course_utils.frameworks import import_keras

import numpy as np

Answer = Callable[..., Any]

EMBEDDING_DIM, N_TOPICS = 256, 52
BAR, GOLD = 0.90, 0.945
# What the largest topic alone gets, and what networks without pretraining do not get.
CONSTANT, TOO_GOOD = 0.4218, 0.96


def first_that_holds(reasons: Mapping[str, Any]) -> str:
    """Pick the first sentence that holds."""
    return next((sentence for sentence, holds in reasons.items() if holds), "")


def refuse(reasons: Mapping[str, Any]) -> None:
    """Fail with the first sentence that holds, if one does."""
    if sentence := first_that_holds(reasons):
        fail(sentence)


@exercise(
    "3.5",
    hints=[
        "Three parts: the embedding, something that turns (length, 256) into one "
        "vector, and a Dense layer with one output a topic.",
        "The smallest network of this kind: Embedding, GlobalAveragePooling1D, Dense "
        'with activation="softmax". Then compile it.',
        "`keras.Sequential([layers.Input((length,)), layers.Embedding(vocab_size, "
        '256), layers.GlobalAveragePooling1D(), layers.Dense(n_topics, "softmax")])`, '
        'compiled with optimizer="adam", loss="sparse_categorical_crossentropy" and '
        'metrics=["accuracy"].',
    ],
)
def build_model(answer: Answer) -> str:
    """Build the network in two sizes and look at what comes out."""
    rng = np.random.default_rng(34)
    # The second has more ids than the full profile, for a size that was written down.
    for vocab_size, length, n_topics in ((40, 150, 5), (20_100, 180, 8)):
        # The same weights in every run, so that an answer always gets the same verdict.
        import_keras().utils.set_random_seed(34)
        model = answer(vocab_size, length, n_topics)
        _expect_model("build_model", model)
        # A few words a story: with many, all stories would hold the same words.
        few = rng.integers(1, vocab_size, size=(6, 5)).astype("int32")
        ids = np.take_along_axis(few, rng.integers(5, size=(6, length)), axis=1)
        ids[:, -3:] = 0
        ids[0, 0] = vocab_size - 1
        given = f"With vocab_size {vocab_size:,}, length {length} and {n_topics} topics"
        # A subclass may make its layers in its first call.
        if _tables(model) or model.built:
            _expect_table(model, vocab_size)
        takes = (getattr(model, "input_shape", None) or (None,))[-1]
        if takes not in (None, length):
            fail(f"{given}, your model takes rows of {takes} ids.")
        # Compiled, as a recurrent network takes seconds without.
        rows = model.predict_on_batch(ids)
        free = [table.trainable for table in _expect_table(model, vocab_size)]
        given += f", 6 stories should come out with shape (6, {n_topics}); yours have"
        odd, words = rows.shape != (6, n_topics), rows.shape[2:] == (n_topics,)
        reasons = {
            "Your embedding is frozen (trainable=False): its random rows would stay as "
            "they are, and the words would never get a meaning.": not any(free),
            f"{given} {rows.shape}. That is one answer for every word: something has "
            "to turn the words' vectors into one, such as a pooling layer.": words,
            f"{given} {rows.shape}. The last layer needs one output a topic.": odd,
            "All stories get the same answer, whatever their words. Does the output "
            "depend on the ids?": np.allclose(rows, rows[0], atol=1e-7),
        }
        refuse(reasons)
        _expect_probabilities("build_model", rows)
        _expect_compiled(model, ids, rows)
        # Softmax of softmax chooses among numbers from 0 to 1, whatever the weights.
        # One word a story: where words vote, they agree.
        model.set_weights([1_000 * weights for weights in model.get_weights()])
        highest = model.predict_on_batch(np.tile(few[:, :1], (1, length))).max()
        if highest <= np.e / (np.e + n_topics - 1) + 1e-3:
            fail(f"No topic can get more than {highest:.0%}: is softmax taken twice?")
    return (
        f"Ids in, probabilities out, {EMBEDDING_DIM} columns in between. Whether your "
        "design is any good, only training will tell."
    )


def _expect_compiled(model: Any, ids: np.ndarray, rows: np.ndarray) -> None:
    """Insist on a loss that takes labels, and on a metric `accuracy`."""
    if not getattr(model, "compiled", False):
        fail("The model is not compiled yet; it needs an optimizer and a loss.")
    name = getattr(model.loss, "__name__", model.loss)
    loss = str(getattr(model.loss, "name", None) or name)
    config: dict[str, Any] = getattr(model.loss, "get_config", dict)()
    unfit = any(word in loss for word in ("binary", "mean_", "mse", "mae"))
    best, reports = rows.argmax(axis=1), []
    try:
        value = float(model.compute_loss(x=ids, y=best, y_pred=rows))
    except Exception:
        value = np.nan
    try:
        # Right answers only, then wrong ones only: no other comparison passes both.
        for told in (best, (best + 1) % rows.shape[1]):
            model.reset_metrics()
            # From rows that are there: `evaluate` would compile the network first.
            reports.append(model.compute_metrics(ids, told, rows))
    except Exception:
        reports = []
    names = [name for name in (reports or [{}])[0] if name != "loss"]
    shares = [float(report.get("accuracy", np.nan)) for report in reports]
    use = 'Compile with metrics=["accuracy"].'
    reasons = {
        f"The loss {loss} does not take labels like 0, 7, 51, of which one of many "
        "topics is right; sparse_categorical_crossentropy "
        "does.": unfit or not np.isfinite(value),
        "The loss has from_logits=True and so takes a softmax once more, of your "
        "probabilities. Leave out from_logits.": config.get("from_logits"),
        "A metric of your model does not take labels like 0, 7, "
        f"51. {use}": not reports,
        f"Your model reports {', '.join(names) or 'its loss only'}; the plot after "
        f"training looks for “accuracy”. {use}": "accuracy" not in names,
        "Your model's accuracy is not 1 where all answers are right and 0 where none "
        f"is: it compares in another way. {use}": shares != [1, 0],
    }
    refuse(reasons)


def _expect_model(name: str, model: Any) -> None:
    if model is None:
        fail(f"{name} returned None: does its last line begin with `return`?")
    if not isinstance(model, import_keras().Model):
        fail(f"{name} should give a Keras model, not {type(model).__name__}.")


def _tables(model: Any) -> list[Any]:
    kind = import_keras().layers.Embedding
    return [layer for layer in model._flatten_layers() if isinstance(layer, kind)]


def _expect_table(model: Any, vocab_size: int) -> list[Any]:
    """List the embeddings of 256 columns; insist on one with enough rows."""
    tables = _tables(model)
    wide = [table for table in tables if table.output_dim == EMBEDDING_DIM]
    columns = ", ".join(str(table.output_dim) for table in tables)
    n_rows = max((table.input_dim for table in wide), default=0)
    asked = f"the exercise asks for one with {EMBEDDING_DIM}"
    reasons = {
        "I find no Embedding layer on the way from the ids to your model's answer; "
        f"{asked} columns.": not tables,
        "vocab_size and 256 are swapped: `Embedding(vocab_size, 256)`.": not wide
        and any(table.input_dim == EMBEDDING_DIM for table in tables),
        f"Your embedding has {columns} columns; {asked}.": not wide,
        f"With vocab_size = {vocab_size:,}, ids go up to {vocab_size - 1:,}, and your "
        f"table has {n_rows:,} rows: it needs vocab_size rows. Did you write a number "
        "in its place, or change the argument?": n_rows < vocab_size,
    }
    refuse(reasons)
    return wide


def _expect_probabilities(name: str, rows: np.ndarray) -> None:
    sums = rows.sum(axis=1)
    if np.allclose(sums, 1, atol=1e-3) and (rows >= -1e-6).all():
        return
    off = f"A row adds up to {sums[np.abs(sums - 1).argmax()]:.2f}, not to 1"
    finite, columns = np.isfinite(rows).all(), rows.sum(axis=0)
    near = [np.allclose(rows, rows.round(digits), atol=1e-6) for digits in (1, 2, 3)]
    reasons = {
        f"{name} gives NaN or infinite numbers instead of probabilities.": not finite,
        "Each column adds up to 1, over the stories; I expected each row to, over the "
        "topics. Softmax belongs on the last axis.": np.allclose(columns, 1, atol=1e-3),
        f"{off}: did you round? Return the probabilities as they come.": any(near),
        f"{off}, and many numbers are exactly 0: that is relu. The last layer needs "
        'activation="softmax".': rows.min() == 0 and (rows == 0).mean() > 0.1,
        f"{off}. A sigmoid scores each topic on its own; softmax divides one "
        "probability among all of them.": rows.min() >= 0 and rows.max() <= 1,
        f"{off}: these are no probabilities. Does the last layer have a softmax?": True,
    }
    refuse(reasons)


@exercise(
    "3.6",
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
    """Take a fitted classifier to the test stories; nothing is trained here."""
    from course_utils.data import load_reuters, reuters_topics

    (x_train, y_train), (x_test, y_test) = load_reuters()
    _expect_model("The second argument", model)
    wide = _expect_table(model, 0)
    seen = _expect_training_stories(trained_on, x_train, x_test)
    rows = _answers(answer, x_test)
    predicted, few = rows.argmax(axis=1), slice(None, None, 61)
    accuracy, named = float(np.mean(predicted == y_test)), np.unique(predicted)
    # Some again, in other company; then while weights of the model are zero.
    again, twice = (_answers(answer, x_test[few]) for _ in range(2))
    without_table = _with_zeros(wide, answer, x_test[few])
    without_all = _with_zeros([model], answer, x_test[few])
    reasons = {
        f"Your classifier answers “{reuters_topics()[named[0]]}” to every story: "
        f"{accuracy:.1%} right, the baseline of exercise 3.1. If the training accuracy "
        "stands still too, train longer or with another rate.": len(named) == 1,
        "The same stories get other probabilities when I ask twice. Is dropout still "
        "on? Use model.predict.": not np.allclose(again, twice, atol=0.01),
        "A story gets another topic when it is sent with other stories. Is the "
        "vocabulary built again from the texts to classify? Use the one of "
        "training.": np.mean(again.argmax(axis=1) == predicted[few]) < 0.9,
        "I set the model's embedding to zero for a moment, and your answers stayed the "
        "same: they do not come from this model. Ask the model you hand "
        "in.": np.allclose(without_table, rows[few], atol=1e-4),
        "I set all weights of the model to zero for a moment, and your answers still "
        "tell stories apart: a part of them comes from elsewhere. Return what this "
        "model answers.": np.ptp(without_all, axis=0).max() > 1e-3,
    }
    refuse(reasons)
    label = dict(zip(x_train, y_train, strict=True))
    on_train = _share_right(answer, seen, label)
    # Rounded down: what is under a bar must not read as the bar itself.
    shown = f"{np.floor(1_000 * accuracy) / 1_000:.1%}"
    interval = bootstrap(y_test, predicted)
    told = f"interval from {interval.low:.4f} to {interval.high:.4f}"
    if interval.low <= BAR:
        advice = _what_next(model, accuracy, on_train, len(named))
        fail(
            f"{shown} of the test stories are right, {told}; the whole interval has to "
            f"lie above {BAR:.2f}. Of those it trained on, {on_train:.1%} are right. "
            f"{advice}"
        )
    # Only declarations are known. Training stories not declared are about as hard as
    # test stories, within 2.7 standard errors, unless one of the two was trained on.
    declared = set(seen)
    others = [text for text in label if text not in declared]
    n = min(len(others), 1_000)
    on_others = _share_right(answer, others, label) if n >= 200 else np.nan
    margin = max(0.02, 2.7 * (on_others * (1 - on_others) / max(n, 1)) ** 0.5)
    right = f"{accuracy:.1%} of the test stories right"
    leak = "Did test stories get into fit, for example as x_test in place of x_train?"
    reasons = {
        f"Your model knows {on_train:.1%} of the training stories you declared and "
        f"{on_others:.1%} of the others. Did it train on those? The third argument "
        "should be the stories that fit was given.": on_others - on_train > margin,
        f"{right}, but only {on_others:.1%} of the training stories you did not "
        f"declare; both should be equally hard. {leak}": accuracy - on_others > margin,
        f"{right} is too good: networks without pretraining stay under it, and the "
        f"same text sometimes has two topics. {leak}": accuracy >= TOO_GOOD,
        f"{right}, and {on_train:.1%} of those you declared as training stories: "
        f"unseen stories should be harder. {leak}": n < 200 and accuracy >= on_train,
    }
    refuse(reasons)
    f1 = macro_f1(y_test, predicted)
    scores = f"{shown} of the test stories right, {told}; macro-F1 {f1:.2f}"
    if accuracy >= GOLD:
        return f"Gold: {scores}. The two networks cited below stay under this."
    return (
        f"{scores}. Gold begins at {GOLD:.1%}. If you go on, choose by the validation "
        "stories."
    )


def _expect_training_stories(
    trained_on: Any, x_train: np.ndarray, x_test: np.ndarray
) -> list[str]:
    texts = list(trained_on) if hasattr(trained_on, "__len__") else []
    strings = bool(texts) and all(isinstance(text, str) for text in texts)
    origin, n = origin_of(texts if strings else [], x_train, x_test), len(texts)
    reasons = {
        "The third argument should hold the texts that your model trained on, as "
        "strings, not as ids.": not strings,
        f"{origin.leaked:,} of your {n:,} training texts are test stories. What a "
        "model has seen, it may remember: train on x_train only, and choose on a "
        "validation set taken from it.": origin.leaked,
        f"{origin.unknown:,} of your {n:,} training texts are no stories that I know. "
        "Hand in the texts as load_reuters gives them.": origin.unknown > n // 2,
    }
    refuse(reasons)
    return [text for text in texts if text in origin.seen]


def _answers(answer: Answer, texts: Any) -> np.ndarray:
    try:
        raw = answer(np.array(texts, dtype=object))
    except Exception as error:
        if "dtype=string" in str(error) or "could not convert string" in str(error):
            fail("The model was given texts, and it takes ids: call prepare first.")
        raise
    got, shape = as_array("topic_classifier", raw), (len(texts), N_TOPICS)
    slip = f"There are {N_TOPICS} topics."
    if got.shape == shape[:1]:
        slip = "Is that one label a story? Leave out argmax."
    elif got.shape[:1] != shape[:1]:
        slip = "Do you answer the texts that are handed in, or stories of your own?"
    given = f"{len(texts):,} texts"
    expect_shape("topic_classifier", got, shape, given=given, slip=slip)
    _expect_probabilities("topic_classifier", got)
    if np.isin(got, (0, 1)).all():
        fail("One 1 and zeros say which topic, not how certain: return probabilities.")
    if len(got) > 1 and got.max() <= np.e / (np.e + N_TOPICS - 1) + 1e-4:
        fail(
            f"No topic of any story gets more than {got.max():.1%}: is softmax taken "
            "twice? What the model answers are probabilities already."
        )
    return got


def _share_right(answer: Answer, texts: list[str], label: dict[str, int]) -> float:
    """Accuracy on about a thousand training stories, evenly spaced."""
    some = texts[:: max(1, len(texts) // 1_000)]
    predicted = _answers(answer, some).argmax(axis=1)
    return float(np.mean(predicted == [label[text] for text in some]))


def _with_zeros(owners: list[Any], answer: Answer, texts: np.ndarray) -> np.ndarray:
    """Ask while the weights of some layers, or of a model, are zero."""
    kept = [owner.get_weights() for owner in owners]
    try:
        for owner, weights in zip(owners, kept, strict=True):
            owner.set_weights([np.zeros_like(weight) for weight in weights])
        return as_array("topic_classifier", answer(texts))
    finally:
        for owner, weights in zip(owners, kept, strict=True):
            owner.set_weights(weights)


def _has_dropout(model: Any) -> bool:
    return any(getattr(layer, "rate", 0) for layer in model._flatten_layers())


def _what_next(model: Any, accuracy: float, on_train: float, n_named: int) -> str:
    """Read the two accuracies as a colleague would."""
    optimizer = getattr(model, "optimizer", None)
    sgd = type(optimizer).__name__ == "SGD"
    rate = float(getattr(optimizer, "learning_rate", np.nan))
    drop, less = "dropout", ""
    if _has_dropout(model):
        drop, less = "more dropout", ", or less dropout"
    advice = {
        f"Your learning rate of {rate:.2g} is large: try 1e-2 or less.": rate > 0.03,
        "Plain SGD hardly moves the rows of rare words: try Adam.": sgd,
        f"Try more epochs, or a learning rate above your {rate:.2g}: an embedding can "
        "take 3e-3 to 1e-2.": rate <= 2e-3,
        f"Try more epochs or more words of each story{less}.": True,
    }
    faster, gap = first_that_holds(advice), on_train - accuracy
    history = getattr(getattr(model, "history", None), "history", {})
    reached = float((history.get("accuracy") or [np.nan])[-1])
    pooling = ""
    if any(type(layer).__name__ == "Flatten" for layer in model._flatten_layers()):
        pooling = " a pooling layer in place of Flatten,"
    order = "do texts and labels stand in the same order in fit?"
    reasons = {
        f"While training it reached {reached:.1%} of those stories. Does your function "
        "prepare texts otherwise than training did, with another vocabulary, length or "
        "side for the zeros?": reached - on_train > 0.1,
        f"It names {n_named} topics only: it has hardly begun. {faster} If nothing "
        f"moves: {order}": n_named <= 5 and on_train < 0.85,
        f"A constant does as well or better: {order} And is the vocabulary the one of "
        "training?": accuracy <= CONSTANT and on_train < 0.5,
        f"It learned its stories by heart: overfitting. Try {drop} before the last "
        f"layer,{pooling} a simpler network, or fewer epochs.": gap > 0.07
        and on_train > 0.93,
        f"Close; it knows its own stories better than new ones, by {100 * gap:.0f} "
        f"points. Try {drop}, more words of each story, or another way of "
        "pooling.": gap > 0.03 and on_train > 0.93,
        "It has not learned all of its own stories yet, and knows some of them by "
        f"heart. {faster}": gap > 0.03,
        "Both are low and close together: underfitting, it has more to learn from its "
        f"own stories. {faster}": True,
    }
    return first_that_holds(reasons)
