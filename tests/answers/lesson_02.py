"""Answers to the exercises of lesson 02."""

from __future__ import annotations

import math

from course_utils.text import tokenize
from tests.answers import Answers

import numpy as np


def padded_array(ids, length):
    row = np.zeros(length, dtype=np.int32)
    for place, number in enumerate(reversed(ids[-length:]), start=1):
        row[-place] = number
    return row


def inserted_zeros(ids, length):
    return inserted_in_place(list(ids), length)


def inserted_in_place(ids, length):
    while len(ids) < length:
        ids.insert(0, 0)
    return ids[len(ids) - length :]


def kept_first(ids, length):
    return [0] * (length - len(ids)) + ids[:length]


def padded_behind(ids, length):
    ids = ids[-length:]
    return ids + [0] * (length - len(ids))


def never_padded(ids, length):
    return ids[-length:]


def never_cut(ids, length):
    return [0] * (length - len(ids)) + ids


def filled_with_unknown(ids, length):
    ids = ids[-length:]
    return [1] * (length - len(ids)) + ids


def turned_round(ids, length):
    ids = ids[-length:]
    return ids[::-1] + [0] * (length - len(ids))


def boxed(ids, length):
    ids = ids[-length:]
    return [[0] * (length - len(ids)) + ids]


def negative_start(ids, length):
    return [0] * (length - len(ids)) + ids[len(ids) - length :]


def factored(vocab_size, embedding_dim, length):
    return np.int64(1 + embedding_dim * (vocab_size + length))


def counted_arrays(vocab_size, embedding_dim, length):
    layers = [(vocab_size, embedding_dim), (length * embedding_dim, 1), (1,)]
    return float(sum(math.prod(shape) for shape in layers))


def no_bias(vocab_size, embedding_dim, length):
    return vocab_size * embedding_dim + length * embedding_dim


def no_length(vocab_size, embedding_dim, length):
    return vocab_size * embedding_dim + embedding_dim + 1


def only_table(vocab_size, embedding_dim, length):
    return vocab_size * embedding_dim


def table_for_each_place(vocab_size, embedding_dim, length):
    return vocab_size * embedding_dim * length + length * embedding_dim + 1


def number_of_text(vocab_size, embedding_dim, length):
    return 80_161


def in_a_list(vocab_size, embedding_dim, length):
    return [factored(vocab_size, embedding_dim, length)]


def with_no_return(*arguments):
    pass


def by_index(val_loss):
    return val_loss.index(min(val_loss)) + 1


def by_sorting(val_loss):
    return float(np.argsort(val_loss, kind="stable")[0] + 1)


def from_zero(val_loss):
    return int(np.argmin(val_loss))


def last(val_loss):
    return len(val_loss)


def highest(val_loss):
    return int(np.argmax(val_loss)) + 1


def the_loss(val_loss):
    return min(val_loss)


def first_rise(val_loss):
    for epoch in range(1, len(val_loss)):
        if val_loss[epoch] > val_loss[epoch - 1]:
            return epoch
    return len(val_loss)


def from_one(val_loss):
    lowest = 1
    for epoch, loss in enumerate(val_loss, start=1):
        if loss < lowest:
            lowest, best = loss, epoch
    return best


def from_one_and_none(val_loss):
    lowest, best = 1, None
    for epoch, loss in enumerate(val_loss, start=1):
        if loss < lowest:
            lowest, best = loss, epoch
    return best


def from_one_and_zero(val_loss):
    return from_one_and_none(val_loss) or 0


def returned_inside(val_loss):
    for epoch, loss in enumerate(val_loss, start=1):
        if loss < 1 and loss == min(val_loss):
            return epoch


def last_of_equals(val_loss):
    return len(val_loss) - val_loss[::-1].index(min(val_loss))


def places_as_array(val_loss):
    return np.flatnonzero(np.array(val_loss) == min(val_loss))[:1] + 1


def from_outside(val_loss):
    return by_index([0.59, 0.51, 0.49, 0.48, 0.49])


def row_by_row(vectors, ids):
    means = []
    for row, line in zip(vectors, ids, strict=True):
        words = row[line != 0]
        means.append(words.mean(axis=0) if len(words) else np.zeros(row.shape[1]))
    return means


def by_einsum(vectors, ids):
    weights = (ids > 0).astype(np.float32)
    weights /= np.clip(weights.sum(axis=1, keepdims=True), 1, None)
    return np.einsum("bl,bld->bd", weights, vectors).astype(np.float32)


def plain_mean(vectors, ids):
    return vectors.mean(axis=1)


def over_columns(vectors, ids):
    return vectors.mean(axis=2)


def over_reviews(vectors, ids):
    return (vectors * (ids != 0)[..., None]).mean(axis=0)


def divided_by_length(vectors, ids):
    return (vectors * (ids != 0)[..., None]).mean(axis=1)


def empty_is_nan(vectors, ids):
    mask = (ids != 0)[..., None]
    return (vectors * mask).sum(axis=1) / mask.sum(axis=1)


def unknown_left_out(vectors, ids):
    mask = (ids > 1)[..., None]
    return (vectors * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)


def summed(vectors, ids):
    return (vectors * (ids != 0)[..., None]).sum(axis=1)


def by_columns(table, weights):
    return (table * np.ravel(weights)).sum(axis=1).astype(np.float32)


def by_list(table, weights):
    return [float(np.dot(row, weights[:, 0])) for row in table]


def column_left(table, weights):
    return table @ weights


def not_added(table, weights):
    return table * weights[:, 0]


def through_sigmoid(table, weights):
    return 1 / (1 + np.exp(-(table @ weights)[:, 0]))


def with_bias(table, weights):
    return (table @ weights)[:, 0] + 0.3


def as_cosine(table, weights):
    scores = (table @ weights)[:, 0]
    return scores / np.linalg.norm(table, axis=1) / np.linalg.norm(weights)


def without_sign(table, weights):
    return np.abs(table @ weights)[:, 0]


def first_word_right(table, weights):
    scores = (table @ weights)[:, 0]
    return np.concatenate([scores[:3], scores[:2:-1]])


PUSH = dict.fromkeys(("wonderful", "perfect", "brilliant", "great", "love"), 6.0)
PUSH |= dict.fromkeys(("boring", "stupid", "awful", "waste", "dull", "worst"), -6.0)


def average_of_words(texts):
    """A cheap stand-in for the trained model: the mean push of a text's words."""
    means = [np.mean([PUSH.get(word, 0.0) for word in tokenize(t)]) for t in texts]
    return 1 / (1 + np.exp(-np.array(means)))


def fooling(make):
    return make, average_of_words


def three_tuples():
    return (
        ("Not dull, not stupid, never boring: go and see it.", True),
        ("A great cast, a brilliant crew, and I slept.", False),
        ["They promised us a perfect evening. Hm.", 0],
    )


def arrays_of_labels():
    texts = [
        "I feared the worst, and I laughed all night.",
        "What great love? None at all.",
    ]
    return list(zip(texts, np.array([1, 0]), strict=True))


def one_direction():
    return [
        ("Not dull, not stupid, never boring: go and see it.", 1),
        ("I feared the worst, and I laughed all night.", 1),
    ]


def read_rightly():
    return [
        ("A wonderful film, I love every minute of it.", 1),
        ("A great cast, a brilliant crew, and I slept.", 0),
    ]


def read_rightly_negative():
    return [
        ("Not dull, not stupid, never boring: go and see it.", 1),
        ("A boring film, and stupid on top of it.", 0),
    ]


def too_short():
    return [("Not dull!", 1), ("A great cast, a brilliant crew, and I slept.", 0)]


def five_times_one_word():
    return [
        ("bad bad bad bad bad", 1),
        ("A great cast, a brilliant crew, and I slept.", 0),
    ]


def one_by_one():
    yield from three_tuples()


def swapped():
    return [(1, "Not dull, not stupid, never boring: go and see it.")]


def worded_labels():
    return [("Not dull, not stupid, never boring: go and see it.", "positive")]


def twice_the_same():
    return [three_tuples()[0], three_tuples()[1], three_tuples()[0]]


def only_texts():
    return [text for text, _ in three_tuples()]


def only_one():
    return [three_tuples()[0]]


ANSWERS = {
    "pad_or_cut": Answers(
        right=[padded_array, inserted_zeros],
        wrong=[
            (inserted_in_place, "changed `ids` itself"),
            (kept_first, "the first 6"),
            (padded_behind, "behind"),
            (never_padded, "need zeros"),
            (never_cut, "must be cut"),
            (filled_with_unknown, "unknown"),
            (turned_round, "reverse"),
            (boxed, "flat list"),
            (negative_start, "start of your slice"),
        ],
    ),
    "n_parameters": Answers(
        right=[factored, counted_arrays],
        wrong=[
            (no_bias, "bias"),
            (no_length, "forget the length"),
            (only_table, "table alone"),
            (table_for_each_place, "share one table"),
            (number_of_text, "I expected 172"),
            (number_of_text, "Use the arguments"),
            (in_a_list, "number alone"),
            (with_no_return, "begin with `return`"),
        ],
    ),
    "best_epoch": Answers(
        right=[by_index, by_sorting],
        wrong=[
            (from_zero, "from 0"),
            (last, "last epoch"),
            (highest, "low is good"),
            (the_loss, "the loss itself"),
            (first_rise, "first time"),
            (from_one, "UnboundLocalError"),
            (from_one_and_none, "every loss is above 1"),
            (from_one_and_zero, "every loss is above 1"),
            (returned_inside, "For losses [2.31"),
            (with_no_return, "For losses [0.64"),
            (last_of_equals, "take the first"),
            (places_as_array, "number alone"),
            (from_outside, "Use the arguments"),
        ],
    ),
    "masked_mean": Answers(
        right=[row_by_row, by_einsum],
        wrong=[
            (plain_mean, "plain mean"),
            (over_columns, "over the columns"),
            (over_reviews, "over the reviews"),
            (divided_by_length, "number of real words"),
            (empty_is_nan, "NaN"),
            (unknown_left_out, "unknown word"),
            (summed, "is the sum"),
        ],
    ),
    "word_scores": Answers(
        right=[by_columns, by_list],
        wrong=[
            (column_left, "only column"),
            (not_added, "did not add up"),
            (through_sigmoid, "sigmoid"),
            (with_bias, "same number"),
            (as_cosine, "cosine"),
            (without_sign, "sign is lost"),
            (first_word_right, "word 3 should"),
        ],
    ),
    "fooling_reviews": Answers(
        right=[fooling(three_tuples), fooling(arrays_of_labels)],
        wrong=[
            (fooling(one_direction), "other direction"),
            (fooling(read_rightly), "it is right"),
            (fooling(read_rightly_negative), "everything but"),
            (fooling(too_short), "fewer than five"),
            (fooling(five_times_one_word), "five different words"),
            (fooling(one_by_one), "a generator; I expected a list"),
            (fooling(swapped), "swapped"),
            (fooling(worded_labels), "1 for liked"),
            (fooling(twice_the_same), "same text"),
            (fooling(only_texts), "pairs"),
            (fooling(only_one), "one review"),
        ],
        solution=fooling,
    ),
}
