"""Checks of lesson 03, Reuters topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import as_array, exercise, expect_shape, fail
from course_utils.checks.leaks import origin_of
from course_utils.checks.summary import summary_of
from course_utils.frameworks import import_keras
from course_utils.text import Vocabulary, tokenize

import numpy as np

Answer = Callable[..., Any]

EMBEDDING_DIM, N_TOPICS = 256, 52
BAR, GOLD = 0.90, 0.945
# What the largest topic alone gets, and what networks without pretraining do not get.
CONSTANT, TOO_GOOD = 0.4218, 0.96


def _first(reasons: Mapping[str, Any]) -> str:
    """Pick the first sentence that holds."""
    return next((sentence for sentence, holds in reasons.items() if holds), "")


def _refuse(reasons: Mapping[str, Any]) -> None:
    """Fail with the first sentence that holds, if one does."""
    if sentence := _first(reasons):
        fail(sentence)


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
        "That topic stands in neither array. Did you use a number or a variable of the "
        "notebook?": lambda train, test: np.mean(test == 12),
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
    "That is one number a topic; take their mean.": lambda p: p.f1,
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
        for batch in (texts, np.array(texts[::-1][2:], dtype=object)):
            rows = _expect_ids(answer(batch, vocabulary, length), len(batch), length)
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
    slips = {
        "you left out words that are not in the vocabulary; they keep id 1, so that "
        "the network sees that something stood there.": _each_way(known, length),
        "you filled up with 1; padding is 0.": _each_way(ids, length, fill=1),
        f"one place is always 0, although the story has {len(ids)} words for {length} "
        "places: is a slice one too short?": gap,
        "the ids came out in another order than the words.": mixed,
        f"with ids {ids} and length {length}, I expected its beginning or its end, "
        f"filled up with 0; your row is {row}.": [row],
    }
    return _first({slip: row in rows for slip, rows in slips.items()})


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
        ids = rng.integers(1, vocab_size, size=(6, length)).astype("int32")
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
        _refuse(reasons)
        _expect_probabilities("build_model", rows)
        _expect_compiled(model, ids, rows)
        # Softmax of softmax chooses among numbers from 0 to 1, whatever the weights.
        model.set_weights([1_000 * weights for weights in model.get_weights()])
        highest = model.predict_on_batch(ids).max()
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
    _refuse(reasons)


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
        f"I find no Embedding layer in your model; {asked} columns.": not tables,
        f"Your embedding has {columns} columns; {asked}.": not wide,
        f"With vocab_size = {vocab_size:,}, ids go up to {vocab_size - 1:,}, and your "
        f"table has {n_rows:,} rows: it needs vocab_size rows. Did you write a number "
        "in its place, or change the argument?": n_rows < vocab_size,
    }
    _refuse(reasons)
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
    _refuse(reasons)


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
    _refuse(reasons)
    label = dict(zip(x_train, y_train, strict=True))
    on_train = _share_right(answer, seen, label)
    # Rounded down: what is under a bar must not read as the bar itself.
    shown = f"{np.floor(1_000 * accuracy) / 1_000:.1%}"
    if accuracy < BAR:
        advice = _what_next(model, accuracy, on_train, len(named))
        fail(
            f"{shown} of the test stories are right, the bar is {BAR:.0%}; of those it "
            f"trained on, {on_train:.1%}. {advice}"
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
    _refuse(reasons)
    f1 = _parts(y_test, predicted, N_TOPICS).f1.mean()
    scores = f"{shown} of the test stories right (bar: {BAR:.0%}), macro-F1 {f1:.2f}"
    if accuracy >= GOLD:
        return f"Gold: {scores}. The two networks cited below stay under this."
    more = "A few more epochs may find the rest."
    if on_train - accuracy > 0.04:
        drop = "more dropout" if _has_dropout(model) else "dropout"
        more = (
            f"It knows its training stories much better: try {drop}, another way of "
            "pooling, or class weights."
        )
    return f"{scores}. Gold begins at {GOLD:.1%}. {more}"


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
    _refuse(reasons)
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
    faster, gap = _first(advice), on_train - accuracy
    order = "do texts and labels stand in the same order in fit?"
    reasons = {
        f"It names {n_named} topics only: it has hardly begun. {faster} If nothing "
        f"moves: {order}": n_named <= 5 and on_train < 0.85,
        f"A constant does as well or better: {order} And is the vocabulary the one of "
        "training?": accuracy <= CONSTANT and on_train < 0.5,
        f"It learned its stories by heart: overfitting. Try {drop} before the last "
        "layer, a pooling layer in place of Flatten, fewer epochs, or more training "
        "stories.": gap > 0.07 and on_train > 0.93,
        f"Close; it knows its own stories better than new ones, by {100 * gap:.0f} "
        f"points. Try {drop}, more words of each story, or another way of "
        "pooling.": gap > 0.03 and on_train > 0.93,
        "It has not learned all of its own stories yet, and knows some of them by "
        f"heart. {faster}": gap > 0.03,
        "Both are low and close together: underfitting, it has more to learn from its "
        f"own stories. {faster}": True,
    }
    return _first(reasons)


summary = summary_of(__name__)
