"""Answers to the exercises of lesson 03.

The fitted networks are stand-ins that took no training: a linear support vector
machine's weights stand in the embedding, as 52 of its 256 columns.
"""

from __future__ import annotations

from collections import Counter

from course_utils.data import load_reuters
from course_utils.frameworks import import_keras
from course_utils.text import Vocabulary, tokenize
from tests.answers import Answers

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.svm import LinearSVC

keras = import_keras()
layers = keras.layers


def by_counter(y_train, y_test):
    favourite, _ = Counter(list(y_train)).most_common(1)[0]
    return sum(int(label == favourite) for label in y_test) / len(y_test)


def by_bincount(y_train, y_test):
    return np.float32(
        np.bincount(y_test, minlength=99)[np.bincount(y_train).argmax()]
    ) / len(y_test)


def most_frequent_of_test(y_train, y_test):
    return np.bincount(y_test).max() / len(y_test)


def share_in_train(y_train, y_test):
    return np.bincount(y_train).max() / len(y_train)


def the_label(y_train, y_test):
    return np.bincount(y_train).argmax()


def one_in_n(y_train, y_test):
    return 1 / len(np.unique(y_train))


def count_of_hits(y_train, y_test):
    return (y_test == np.bincount(y_train).argmax()).sum()


def from_the_notebook(y_train, y_test):
    return np.mean(y_test == 12)


def rounded(y_train, y_test):
    return np.mean(y_test == np.bincount(y_train).argmax()).round(2)


def by_scikit(y_true, y_pred, n_topics):
    return f1_score(
        y_true, y_pred, labels=range(n_topics), average="macro", zero_division=0
    )


def by_loop(y_true, y_pred, n_topics):
    total = 0.0
    for topic in range(n_topics):
        hits = sum((y_true == topic) & (y_pred == topic))
        wrong = sum((y_true == topic) != (y_pred == topic))
        if hits:
            total += hits / (hits + wrong / 2)
    return np.array([total / n_topics])


def micro(y_true, y_pred, n_topics):
    return np.mean(y_true == y_pred)


def weighted(y_true, y_pred, n_topics):
    return f1_score(y_true, y_pred, average="weighted", zero_division=0)


def counts(y_true, y_pred, n_topics):
    hits = np.bincount(y_true[y_true == y_pred], minlength=n_topics)
    stories = np.bincount(y_true, minlength=n_topics)
    return hits, stories, np.bincount(y_pred, minlength=n_topics)


def zero_by_zero(y_true, y_pred, n_topics):
    hits, stories, answers = counts(y_true, y_pred, n_topics)
    return (2 * hits / (stories + answers)).mean()


def nan_left_out(y_true, y_pred, n_topics):
    hits, stories, answers = counts(y_true, y_pred, n_topics)
    return np.nanmean(2 * hits / (stories + answers))


def only_in_y_true(y_true, y_pred, n_topics):
    hits, stories, answers = counts(y_true, y_pred, n_topics)
    return (2 * hits / (stories + answers))[stories > 0].mean()


def mean_recall(y_true, y_pred, n_topics):
    hits, stories, _ = counts(y_true, y_pred, n_topics)
    return (hits / np.maximum(stories, 1)).mean()


def of_averages(y_true, y_pred, n_topics):
    hits, stories, answers = counts(y_true, y_pred, n_topics)
    recall = (hits / np.maximum(stories, 1)).mean()
    precision = (hits / np.maximum(answers, 1)).mean()
    return 2 * recall * precision / (recall + precision)


def without_last(y_true, y_pred, n_topics):
    return one_each(y_true, y_pred, n_topics)[:-1].mean()


def without_first(y_true, y_pred, n_topics):
    return one_each(y_true, y_pred, n_topics)[1:].mean()


def by_52(y_true, y_pred, n_topics):
    return one_each(y_true, y_pred, n_topics).sum() / 52


def plus_is_or(y_true, y_pred, n_topics):
    total = 0
    for k in range(n_topics):
        both = np.sum((y_true == k) & (y_pred == k))
        total += 2 * both / max(np.sum((y_true == k) + (y_pred == k)), 1)
    return total / n_topics


def hits_of_all(y_true, y_pred, n_topics):
    hits, stories, answers = counts(y_true, y_pred, n_topics)
    return (2 * hits.sum() / np.maximum(stories + answers, 1)).mean()


def f1_rounded(y_true, y_pred, n_topics):
    return round(float(one_each(y_true, y_pred, n_topics).mean()), 2)


def one_each(y_true, y_pred, n_topics):
    hits, stories, answers = counts(y_true, y_pred, n_topics)
    return 2 * hits / np.maximum(stories + answers, 1)


def keep_end(texts, vocabulary, length):
    ids = [vocabulary.encode(text) for text in texts]
    return keras.utils.pad_sequences(ids, maxlen=length)


def keep_beginning(texts, vocabulary, length):
    rows = []
    for text in texts:
        ids = [vocabulary.index.get(word, 1) for word in tokenize(text)][:length]
        rows.append([0] * (length - len(ids)) + ids)
    return np.array(rows)


def list_of_lists(texts, vocabulary, length):
    return keep_end(texts, vocabulary, length).tolist()


def as_floats(texts, vocabulary, length):
    return keep_end(texts, vocabulary, length).astype("float32")


def as_bytes(texts, vocabulary, length):
    return keep_end(texts, vocabulary, length).astype("uint8")


def one_short(texts, vocabulary, length):
    rows = np.zeros((len(texts), length), int)
    for row, text in zip(rows, texts, strict=True):
        ids = vocabulary.encode(text)[: length - 1]
        row[: len(ids)] = ids
    return rows


def never_cut(texts, vocabulary, length):
    return [vocabulary.encode(text) for text in texts]


def to_longest(texts, vocabulary, length):
    return keras.utils.pad_sequences([vocabulary.encode(text) for text in texts])


def unknown_left_out(texts, vocabulary, length):
    ids = [[n for n in vocabulary.encode(text) if n != 1] for text in texts]
    return keras.utils.pad_sequences(ids, maxlen=length)


def filled_with_unknown(texts, vocabulary, length):
    ids = [vocabulary.encode(text) for text in texts]
    return keras.utils.pad_sequences(ids, maxlen=length, value=1)


def turned_round(texts, vocabulary, length):
    return keep_end(texts, vocabulary, length)[:, ::-1]


def words_not_ids(texts, vocabulary, length):
    return np.array([(tokenize(text) + [""] * length)[:length] for text in texts])


def mixed_ends(texts, vocabulary, length):
    ids = [vocabulary.encode(text) for text in texts]
    end = "post" if len(texts) > 4 else "pre"
    return keras.utils.pad_sequences(ids, maxlen=length, truncating=end)


def network(
    vocab_size,
    length,
    n_topics,
    embedding_dim=256,
    activation="softmax",
    loss="sparse_categorical_crossentropy",
    pool=layers.GlobalAveragePooling1D,
    metrics=("accuracy",),
    trainable=True,
):
    model = keras.Sequential(
        [
            layers.Input((length,)),
            layers.Embedding(
                vocab_size,
                embedding_dim,
                mask_zero=pool is not None,
                trainable=trainable,
            ),
            *([pool()] if pool else []),
            layers.Dense(n_topics, activation=activation),
        ]
    )
    if loss:
        model.compile("adam", loss, metrics=metrics and list(metrics))
    return model


def convolution(vocab_size, length, n_topics):
    ids = layers.Input((None,), dtype="int32")
    vectors = layers.Embedding(vocab_size + 1, 256)(ids)
    found = layers.Conv1D(8, 5, activation="relu")(vectors)
    pooled = layers.GlobalMaxPooling1D()(found)
    chances = layers.Dense(n_topics, activation="softmax")(pooled)
    model = keras.Model(ids, chances)
    model.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return model


def two_convolutions(vocab_size, length, n_topics):
    """Only for rows that are long enough, as those of the lesson are."""
    model = keras.Sequential(
        [
            layers.Input((length,)),
            layers.Embedding(vocab_size, 256),
            layers.Conv1D(32, 7, activation="relu"),
            layers.MaxPooling1D(5),
            layers.Conv1D(32, 7, activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(n_topics, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def flattened(vocab_size, length, n_topics):
    return network(vocab_size, length, n_topics, pool=layers.Flatten)


def nested(vocab_size, length, n_topics):
    inside = keras.Sequential(
        [layers.Embedding(vocab_size, 256), layers.GRU(4), layers.Dropout(0.3)]
    )
    model = keras.Sequential(
        [layers.Input((length,)), inside, layers.Dense(n_topics), layers.Softmax()]
    )
    model.compile("rmsprop", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def narrow(vocab_size, length, n_topics):
    return network(vocab_size, length, n_topics, embedding_dim=64)


def one_sigmoid_each(vocab_size, length, n_topics):
    return network(vocab_size, length, n_topics, activation="sigmoid")


def no_softmax(vocab_size, length, n_topics):
    return network(vocab_size, length, n_topics, activation=None)


def not_pooled(vocab_size, length, n_topics):
    return network(vocab_size, length, n_topics, pool=None)


def not_compiled(vocab_size, length, n_topics):
    return network(vocab_size, length, n_topics, loss=None)


def one_hot_loss(vocab_size, length, n_topics):
    return network(vocab_size, length, n_topics, loss="categorical_crossentropy")


def two_way_loss(vocab_size, length, n_topics):
    return network(vocab_size, length, n_topics, loss="binary_crossentropy")


def no_metrics(vocab_size, length, n_topics):
    return network(vocab_size, length, n_topics, metrics=None)


def long_name(vocab_size, length, n_topics):
    names = ["sparse_categorical_accuracy"]
    return network(vocab_size, length, n_topics, metrics=names)


def two_way_metric(vocab_size, length, n_topics):
    return network(vocab_size, length, n_topics, metrics=["binary_accuracy"])


def one_hot_accuracy(vocab_size, length, n_topics):
    metric = keras.metrics.CategoricalAccuracy(name="accuracy")
    return network(vocab_size, length, n_topics, metrics=[metric])


def softmax_twice(vocab_size, length, n_topics):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return network(vocab_size, length, n_topics, loss=loss)


def frozen(vocab_size, length, n_topics):
    return network(vocab_size, length, n_topics, trainable=False)


def ten_thousand(vocab_size, length, n_topics):
    return network(10_000, length, n_topics)


def of_150(vocab_size, length, n_topics):
    return network(vocab_size, 150, n_topics)


def relu_at_the_end(vocab_size, length, n_topics):
    return network(vocab_size, length, n_topics, activation="relu")


def softmax_down(vocab_size, length, n_topics):
    return network(
        vocab_size,
        length,
        n_topics,
        activation=lambda scores: keras.ops.softmax(scores, axis=0),
    )


def always_52(vocab_size, length, n_topics):
    return network(vocab_size, length, 52)


def without_table(vocab_size, length, n_topics):
    return keras.Sequential([layers.Input((length,)), layers.Dense(n_topics)])


def small_table(vocab_size, length, n_topics):
    return convolution(vocab_size // 2, length, n_topics)


def deaf(vocab_size, length, n_topics):
    ids = layers.Input((length,))
    vectors = layers.Embedding(vocab_size, 256)(ids)
    nothing = layers.GlobalAveragePooling1D()(layers.Rescaling(0.0)(vectors))
    chances = layers.Dense(n_topics, activation="softmax")(nothing)
    model = keras.Model(ids, chances)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def not_returned(vocab_size, length, n_topics):
    network(vocab_size, length, n_topics)


LENGTH = 150
(x_train, y_train), (x_test, y_test) = load_reuters()


def first_words(text):
    return tokenize(text)[:LENGTH]


def keep(texts, vocabulary, length):
    return keep_end(
        [" ".join(tokenize(text)[:length]) for text in texts], vocabulary, length
    )


def stand_in(texts, labels, embedding_dim=256, penalty=0.5):
    """Put a linear machine's weights into a network of this lesson's form."""
    columns = TfidfVectorizer(analyzer=first_words, norm="l1")
    bags = 20 * columns.fit_transform(texts)
    machine = LinearSVC(C=penalty, tol=1e-2, random_state=0).fit(bags, labels)
    vocabulary = Vocabulary(list(columns.vocabulary_))
    model = network(len(vocabulary), LENGTH, 52, embedding_dim)
    table = np.zeros((len(vocabulary), embedding_dim))
    # A bag is divided by the sum of its words' idf, an average by their number.
    typical = 20 / np.average(
        columns.idf_, weights=np.asarray((bags > 0).sum(axis=0)).ravel()
    )
    for word, column in columns.vocabulary_.items():
        weight = columns.idf_[column] * typical
        table[vocabulary.index[word], machine.classes_] = (
            weight * machine.coef_[:, column]
        )
    last = np.zeros((embedding_dim, 52))
    last[:52] = np.eye(52)
    bias = np.full(52, -50.0)
    bias[machine.classes_] = machine.intercept_
    model.set_weights([table, last, bias])

    def classify(some_texts):
        ids = keep(some_texts, vocabulary, LENGTH)
        return model.predict(ids, batch_size=256, verbose=0)

    classify.vocabulary = vocabulary
    return classify, model


fitted, fitted_model = stand_in(x_train, y_train)
saw_test, saw_test_model = stand_in(x_test, y_test, penalty=3.0)
# Half of the test stories among those of training: not too good in itself, but
# better than on the training stories that were not declared.
leaky, leaky_model = stand_in(
    np.concatenate([x_train[::3], x_test[::2]]),
    np.concatenate([y_train[::3], y_test[::2]]),
)
fit, val = np.arange(len(x_train))[1_000:], np.arange(1_000)
fair, fair_model = stand_in(x_train[fit], y_train[fit])
narrow_fitted, narrow_model = stand_in(x_train[:400], y_train[:400], 64)
by_heart, by_heart_model = stand_in(x_train[:300], y_train[:300], penalty=3.0)


def with_labels(texts):
    return fitted(texts).argmax(axis=1).tolist()


def always_earn(texts):
    chances = np.full((len(texts), 52), 0.01, np.float32)
    chances[:, np.bincount(y_train).argmax()] = 1 - 0.51
    return chances


def earn_or_acq(texts):
    largest = np.argsort(np.bincount(y_train))[-2:]
    chances = np.zeros((len(texts), 52))
    chances[:, largest] = fitted(texts)[:, largest] + 1e-6
    return chances / chances.sum(axis=1, keepdims=True)


def another_models(texts):
    return fitted(texts)


def mixed_labels(texts):
    return np.roll(fitted(texts), 1, axis=1)


def often_unsure(texts):
    """Right in about four stories of five, training or not."""
    chances = fitted(texts)
    unsure = np.array([len(text) % 5 == 0 for text in texts])
    return np.where(unsure[:, None], np.roll(chances, 7, axis=1), chances)


def fairly_sure(texts):
    """Right in about 19 training stories of 20, and in fewer test stories."""
    chances = fitted(texts)
    unsure = np.array([len(text) % 22 == 0 for text in texts])
    return np.where(unsure[:, None], np.roll(chances, 7, axis=1), chances)


def one_hot(texts):
    return np.eye(52)[fitted(texts).argmax(axis=1)]


def to_two_digits(texts):
    return fitted(texts).round(2)


def as_lists(texts):
    return fitted(texts).tolist()


def not_prepared(texts):
    return fitted_model.predict(texts, verbose=0)


def dropout_on(texts):
    noise = np.random.default_rng().random((len(texts), 52)) / 5
    chances = fitted(texts) + noise
    return chances / chances.sum(axis=1, keepdims=True)


def new_vocabulary(texts):
    vocabulary = Vocabulary.from_texts(texts, 5_000)
    return fitted_model.predict(
        keep(texts, vocabulary, LENGTH), batch_size=256, verbose=0
    )


def of_46_topics(texts):
    return fitted(texts)[:, :46]


def of_own_stories(texts):
    return fitted(x_train[:100])


def not_a_number(texts):
    return fitted(texts) * np.nan


def told(function):
    """Give the lesson's solution the names that its notebook would hold."""
    function.__globals__.update(
        model=fitted_model,
        vocabulary=fitted.vocabulary,
        length=LENGTH,
        prepare=keep,
    )
    return function, fitted_model, list(x_train)


ANSWERS = {
    "majority_accuracy": Answers(
        right=[by_counter, by_bincount],
        wrong=[
            (most_frequent_of_test, "only seen the training"),
            (share_in_train, "share of the training"),
            (the_label, "that is the topic"),
            (one_in_n, "equally often"),
            (count_of_hits, "divide by all"),
            (from_the_notebook, "variable of the notebook"),
            (rounded, "did you round"),
        ],
    ),
    "macro_f1": Answers(
        right=[by_scikit, by_loop],
        wrong=[
            (micro, "micro average"),
            (weighted, "weighted average"),
            (zero_by_zero, "divides 0 by 0"),
            (nan_left_out, "left out those that nobody"),
            (only_in_y_true, "occur in y_true"),
            (mean_recall, "mean recall"),
            (of_averages, "F1 of the averages"),
            (one_each, "one number a topic"),
            (without_last, "left out the last"),
            (without_first, "left out topic 0"),
            (by_52, "divided by 52"),
            (plus_is_or, "means “or”"),
            (hits_of_all, "hits of all topics"),
            (f1_rounded, "did you round"),
        ],
    ),
    "prepare": Answers(
        right=[keep_end, keep_beginning],
        wrong=[
            (never_cut, "different lengths"),
            (to_longest, "use `length`"),
            (unknown_left_out, "keep id 1"),
            (filled_with_unknown, "padding is 0"),
            (turned_round, "another order"),
            (words_not_ids, "not words"),
            (mixed_ends, "Choose one"),
            (list_of_lists, "returned a list of rows"),
            (as_floats, "stored as float32"),
            (as_bytes, "ends at 255"),
            (one_short, "one too short"),
        ],
    ),
    "build_model": Answers(
        right=[convolution, flattened, nested, two_convolutions],
        wrong=[
            (narrow, "has 64 columns"),
            (one_sigmoid_each, "sigmoid judges"),
            (no_softmax, "have a softmax"),
            (not_pooled, "for every word"),
            (not_compiled, "not compiled"),
            (one_hot_loss, "does not take labels"),
            (two_way_loss, "one of many topics"),
            (always_52, "one output a topic"),
            (without_table, "no Embedding"),
            (small_table, "needs vocab_size rows"),
            (deaf, "same answer"),
            (not_returned, "None"),
            (no_metrics, "its loss only"),
            (long_name, "reports sparse_categorical_accuracy"),
            (two_way_metric, "a metric of your model does not"),
            (one_hot_accuracy, "compares in another way"),
            (softmax_twice, "from_logits away"),
            (frozen, "is frozen"),
            (ten_thousand, "write a number"),
            (of_150, "rows of 150 ids"),
            (relu_at_the_end, "that is relu"),
            (softmax_down, "each column adds up"),
        ],
    ),
    "topic_classifier": Answers(
        right=[
            (fitted, fitted_model, x_train),
            (as_lists, fitted_model, list(x_train[:5_000])),
            (fair, fair_model, x_train[fit]),
        ],
        wrong=[
            ((fitted, fitted_model, [*x_train, *x_test]), "are test stories"),
            ((saw_test, saw_test_model, x_train), "too good"),
            ((leaky, leaky_model, x_train[::3]), "equally hard"),
            ((fair, fair_model, x_train[val]), "that fit was given"),
            ((narrow_fitted, narrow_model, x_train[:400]), "has 64 columns"),
            ((always_earn, fitted_model, x_train), "“earn” to every story"),
            ((earn_or_acq, fitted_model, x_train), "names 2 topics only"),
            ((another_models, by_heart_model, x_train), "not come from this model"),
            ((by_heart, by_heart_model, x_train[:300]), "by heart"),
            ((often_unsure, fitted_model, x_train), "underfitting"),
            ((mixed_labels, fitted_model, x_train), "in the same order"),
            ((new_vocabulary, fitted_model, x_train), "made anew"),
            ((of_46_topics, fitted_model, x_train), "There are 52"),
            ((of_own_stories, fitted_model, x_train), "stories of your own"),
            ((fairly_sure, fitted_model, x_train), "Close; what it learned"),
            ((with_labels, fitted_model, x_train), "leave argmax away"),
            ((one_hot, fitted_model, x_train), "not how certain"),
            ((to_two_digits, fitted_model, x_train), "did you round"),
            ((not_prepared, fitted_model, x_train), "call prepare first"),
            ((dropout_on, fitted_model, x_train), "Is dropout still on"),
            ((not_a_number, fitted_model, x_train), "NaN"),
            ((fitted, fitted_model, np.zeros((9, 5), int)), "not as ids"),
            ((fitted, fitted_model, ["a film that I liked"] * 9), "no stories that I"),
            ((fitted, fitted, x_train), "Keras model"),
        ],
        solution=told,
    ),
}
