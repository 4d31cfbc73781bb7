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


def inserted_in_place(ids, length):
    while len(ids) < length:
        ids.insert(0, 0)
    return ids[len(ids) - length :]


def factored(vocab_size, embedding_dim, length):
    return np.int64(1 + embedding_dim * (vocab_size + length))


def counted_arrays(vocab_size, embedding_dim, length):
    layers = [(vocab_size, embedding_dim), (length * embedding_dim, 1), (1,)]
    return float(sum(math.prod(shape) for shape in layers))


def by_index(val_loss):
    return val_loss.index(min(val_loss)) + 1


def by_sorting(val_loss):
    return float(np.argsort(val_loss, kind="stable")[0] + 1)


def from_one(val_loss):
    lowest = 1
    for epoch, loss in enumerate(val_loss, start=1):
        if loss < lowest:
            lowest, best = loss, epoch
    return best


def below_one(val_loss):
    for epoch, loss in enumerate(val_loss, start=1):
        if loss < 1 and loss == min(val_loss):
            return epoch


def by_loops(vectors, ids):
    means = np.zeros((len(ids), vectors.shape[-1]))
    for number, (row, line) in enumerate(zip(vectors, ids, strict=True)):
        if line.any():
            means[number] = row[line != 0].mean(axis=0)
    return means


def by_einsum(vectors, ids):
    weights = (ids > 0).astype(np.float32)
    weights /= np.clip(weights.sum(axis=1, keepdims=True), 1, None)
    return np.einsum("bl,bld->bd", weights, vectors).astype(np.float32)


def empty_is_nan(vectors, ids):
    mask = (ids != 0)[..., None]
    return (vectors * mask).sum(axis=1) / mask.sum(axis=1)


def masked_in_place(vectors, ids):
    vectors[ids == 0] = 0
    return vectors.sum(axis=1) / np.maximum((ids != 0).sum(axis=1), 1)[:, None]


def by_columns(table, weights):
    return (table * np.ravel(weights)).sum(axis=1).astype(np.float32)


def by_list(table, weights):
    return [float(np.dot(row, weights[:, 0])) for row in table]


# The check looks reviews up under this name of the notebook.
x_train = ["I had feared the worst, a dull evening, and then it was a joy: go there."]

PUSH = dict.fromkeys(("wonderful", "perfect", "brilliant", "great", "love"), 6.0)
PUSH |= dict.fromkeys(("boring", "stupid", "awful", "waste", "dull", "worst"), -6.0)


def average_of_words(texts):
    """A cheap stand-in for the trained model: the mean push of a text's words."""
    means = [np.mean([PUSH.get(word, 0.0) for word in tokenize(t)]) for t in texts]
    return 1 / (1 + np.exp(-np.array(means)))


def fooling(make):
    return make, average_of_words


def fools_with(*pairs):
    return fooling(lambda: list(pairs))


LIKED = ("Not dull, not stupid, never boring: go and see it.", 1)
NOT_LIKED = ("A great cast, a brilliant crew, and I slept.", 0)
LIKED_TOO = ("I feared the worst, and I laughed all night.", 1)


def three_tuples():
    return ((LIKED[0], True), NOT_LIKED, ["They promised us a perfect evening. Hm.", 0])


def arrays_of_labels():
    texts = [LIKED_TOO[0], "What great love? None at all."]
    return list(zip(texts, np.array([1, 0]), strict=True))


def one_by_one():
    yield from three_tuples()


ANSWERS = {
    "pad_or_cut": Answers(
        right=[padded_array, lambda ids, n: inserted_in_place(list(ids), n)],
        wrong=[(inserted_in_place, "changed `ids` itself")],
    ),
    "n_parameters": Answers(
        right=[factored, counted_arrays],
        wrong=[
            (lambda *sizes: [factored(*sizes)], "number itself"),
            (lambda *sizes: None, "begin with `return`"),
            (lambda *sizes: str(factored(*sizes)), "I expected numbers"),
        ],
    ),
    "best_epoch": Answers(
        right=[by_index, by_sorting],
        wrong=[
            (from_one, "UnboundLocalError"),
            (below_one, "every loss is above 1"),
            (below_one, "For val_loss = [2.31"),
            (lambda val_loss: below_one(val_loss) or 0, "every loss is above 1"),
            (lambda val_loss: None, "begin with `return`"),
            (lambda val_loss: np.array([by_index(val_loss)]), "number itself"),
            (lambda val_loss: by_index([0.59, 0.51, 0.48]) + 1, "nothing else"),
            (lambda val_loss: val_loss.sort() or 1, "changed `val_loss` itself"),
        ],
    ),
    "masked_mean": Answers(
        right=[by_loops, by_einsum],
        wrong=[
            (empty_is_nan, "at [4, 0], your function returned nan"),
            (empty_is_nan, "Zero words have no mean"),
            (lambda v, ids: list(by_loops(v, ids)), "need a NumPy array"),
            (masked_in_place, "changed `vectors` itself"),
        ],
    ),
    "word_scores": Answers(
        right=[by_columns, by_list],
        wrong=[
            (lambda table, weights: (table @ weights)[:, 0] + 0.3, "same number"),
            (lambda table, weights: np.maximum(table @ weights, 0)[:, 0], "at [1]"),
        ],
    ),
    "fooling_reviews": Answers(
        right=[fooling(three_tuples), fooling(arrays_of_labels)],
        wrong=[
            (fools_with(LIKED, LIKED_TOO), "other direction"),
            (fools_with(("A wonderful film, I love it.", 1), NOT_LIKED), "it is right"),
            (
                fools_with(LIKED, ("A boring film, and stupid on top of it.", 0)),
                "everything but",
            ),
            (fools_with(("Not dull!", 1), NOT_LIKED), "fewer than five"),
            (fools_with(("bad bad bad bad bad", 1)), "five different words"),
            (fooling(one_by_one), "a generator; I expected a list"),
            (fooling(lambda: None), "begin with `return`"),
            (fools_with((1, LIKED[0])), "swapped"),
            (fools_with((LIKED[0], "positive")), "1 for liked"),
            (fools_with(LIKED, NOT_LIKED, LIKED), "same text"),
            (fools_with(LIKED[0], NOT_LIKED[0]), "pairs"),
            (fools_with(set(LIKED), set(NOT_LIKED)), "pairs"),
            (fools_with(LIKED), "one review"),
            (fools_with((x_train[0], 1), NOT_LIKED), "review of the set"),
            (fools_with((x_train[0][:70], 1), NOT_LIKED), "write one of your own"),
        ],
        solution=fooling,
    ),
}
