"""Answers to the exercises of lesson 03.

The fitted networks are stand-ins that took no training: a linear support vector
machine's weights stand in the embedding, as 52 of its 256 columns.
"""

from __future__ import annotations

from collections import Counter

from course_utils.data import load_reuters
from course_utils.text import Vocabulary, tokenize
from tests.answers import Answers

import keras
import numpy as np
from keras import layers
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.svm import LinearSVC


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
        rows.append([0.0] * (length - len(ids)) + ids)
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
):
    model = keras.Sequential(
        [
            layers.Input((length,)),
            layers.Embedding(vocab_size, embedding_dim, mask_zero=pool is not None),
            *([pool()] if pool else []),
            layers.Dense(n_topics, activation=activation),
        ]
    )
    if loss:
        model.compile("adam", loss, metrics=["accuracy"])
    return model


def convolution(vocab_size, length, n_topics):
    ids = layers.Input((None,), dtype="int32")
    vectors = layers.Embedding(vocab_size + 1, 256)(ids)
    found = layers.Conv1D(8, 5, activation="relu")(vectors)
    pooled = layers.GlobalMaxPooling1D()(found)
    chances = layers.Dense(n_topics, activation="softmax")(pooled)
    model = keras.Model(ids, chances)
    model.compile(
        keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy()
    )
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
    model.compile("rmsprop", "sparse_categorical_crossentropy")
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
narrow_fitted, narrow_model = stand_in(x_train[:400], y_train[:400], 64)
by_heart, by_heart_model = stand_in(x_train[:300], y_train[:300], penalty=3.0)


def with_labels(texts):
    return fitted(texts).argmax(axis=1).tolist()


def always_earn(texts):
    chances = np.zeros((len(texts), 52), np.float32)
    chances[:, np.bincount(y_train).argmax()] = 1.0
    return chances


def earn_or_acq(texts):
    largest = np.argsort(np.bincount(y_train))[-2:]
    return largest[fitted(texts)[:, largest].argmax(axis=1)]


def another_models(texts):
    return fitted(texts)


def mixed_labels(texts):
    return np.roll(fitted(texts), 1, axis=1)


def often_unsure(texts):
    """Right in about four stories of five, training or not."""
    answers = fitted(texts).argmax(axis=1)
    unsure = np.array([len(text) % 5 == 0 for text in texts])
    return np.where(unsure, (answers + 7) % 52, answers)


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
        ],
    ),
    "build_model": Answers(
        right=[convolution, flattened, nested],
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
        ],
    ),
    "topic_classifier": Answers(
        right=[
            (fitted, fitted_model, x_train),
            (with_labels, fitted_model, list(x_train[:5_000])),
        ],
        wrong=[
            ((fitted, fitted_model, [*x_train, *x_test]), "are test stories"),
            ((saw_test, saw_test_model, x_train), "too good"),
            ((narrow_fitted, narrow_model, x_train[:400]), "has 64 columns"),
            ((always_earn, fitted_model, x_train), "“earn” to every story"),
            ((earn_or_acq, fitted_model, x_train), "names 2 topics only"),
            ((another_models, by_heart_model, x_train), "not come from this model"),
            ((by_heart, by_heart_model, x_train[:300]), "by heart"),
            ((often_unsure, fitted_model, x_train), "underfitting"),
            ((mixed_labels, fitted_model, x_train), "worse than a constant"),
            ((new_vocabulary, fitted_model, x_train), "made anew"),
            ((of_46_topics, fitted_model, x_train), "There are 52"),
            ((of_own_stories, fitted_model, x_train), "stories of your own"),
            ((not_a_number, fitted_model, x_train), "NaN"),
            ((fitted, fitted_model, np.zeros((9, 5), int)), "not as ids"),
            ((fitted, fitted_model, ["a film that I liked"] * 9), "no stories that I"),
            ((fitted, fitted, x_train), "Keras model"),
        ],
        solution=told,
    ),
}
