"""Answers to the exercises of lesson 01."""

from __future__ import annotations

from tests.answers import Answers

import numpy as np
from sklearn.metrics.pairwise import cosine_similarity


def bytes_by_array(batch, length, vocab_size, itemsize=4):
    return np.zeros((batch, length, vocab_size), dtype=f"V{itemsize}").nbytes


def bytes_as_float(batch, length, vocab_size, itemsize=4):
    return float(np.prod([batch, length, vocab_size, itemsize], dtype=float))


def bytes_of_zeros(batch, length, vocab_size, itemsize=4):
    return np.zeros((batch, length, vocab_size)).nbytes


def bytes_in_a_tuple(batch, length, vocab_size, itemsize=4):
    return (batch * length * vocab_size * itemsize,)


def unfinished(*given, **settings):
    pass


def counted_numbers(batch, length, vocab_size, itemsize=4):
    return batch * length * vocab_size


def always_four_bytes(batch, length, vocab_size, itemsize=4):
    return batch * length * vocab_size * 4


def in_bits(batch, length, vocab_size, itemsize=4):
    return batch * length * vocab_size * itemsize * 8


def in_megabytes(batch, length, vocab_size, itemsize=4):
    return batch * length * vocab_size * itemsize / 1e6


def only_ids(batch, length, vocab_size, itemsize=4):
    return batch * length * itemsize


def printed_bytes(batch, length, vocab_size, itemsize=4):
    batch * length * vocab_size * itemsize  # noqa: B018


def took(table, ids):
    return np.take(table, ids, axis=0)


def took_lists(table, ids):
    return table[np.asarray(ids).tolist(), :].tolist()


def took_flat(table, ids):
    return table.take(ids.ravel(), axis=0).reshape(*ids.shape, -1)


def gathered_lists(table, ids):
    return [[list(table[number]) for number in row] for row in ids]


def looped(table, ids):
    vectors = np.zeros((*ids.shape, table.shape[1]), table.dtype)
    for i, review in enumerate(ids):
        vectors[i] = table[review]
    return vectors


def took_in_a_loop(table, ids):
    return np.stack([np.take(table, row, axis=0) for row in ids])


def multiplied(table, ids):
    return np.eye(len(table))[ids] @ table


def summed(table, ids):
    one_hot = np.eye(len(table), dtype=table.dtype)[ids]
    return np.einsum("blv,vd->bld", one_hot, table)


def took_columns(table, ids):
    return np.take(table, ids, axis=1)


def transposed_first(table, ids):
    return table.T[ids % table.shape[1]]


def flattened(table, ids):
    return table[ids.ravel()]


def averaged(table, ids):
    return table[ids].mean(axis=1)


def one_hot_only(table, ids):
    return np.eye(len(table))[ids]


def next_door(table, ids):
    return table[ids - 1]


def halved(table, ids):
    return table[ids].astype(np.float16)


def constant_vectors(table, ids):
    return np.full((*ids.shape, table.shape[1]), np.nan)


def nearest_by_sklearn(table, row, n_neighbors):
    similarity = cosine_similarity(table[row : row + 1], table)[0]
    order = [int(i) for i in similarity.argsort()[::-1] if i != row]
    return order[:n_neighbors]


def nearest_by_loop(table, row, n_neighbors):
    def cosine(i):
        return table[i] @ table[row] / np.linalg.norm(table[i])

    others = [i for i in range(len(table)) if i != row]
    return np.array(sorted(others, key=cosine, reverse=True)[:n_neighbors])


def _cosines(table, row):
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    return unit @ unit[row]


def by_dot(table, row, n_neighbors):
    order = np.argsort(-(table @ table[row]))
    return order[order != row][:n_neighbors]


def by_distance(table, row, n_neighbors):
    return np.argsort(np.linalg.norm(table - table[row], axis=1))[1 : n_neighbors + 1]


def with_itself(table, row, n_neighbors):
    return np.argsort(-_cosines(table, row))[:n_neighbors]


def ascending(table, row, n_neighbors):
    return np.argsort(_cosines(table, row))[:n_neighbors]


def nearest_last(table, row, n_neighbors):
    return np.argsort(_cosines(table, row))[-n_neighbors - 1 : -1]


def similarities(table, row, n_neighbors):
    return np.sort(_cosines(table, row))[::-1][1 : n_neighbors + 1]


def shifted(table, row, n_neighbors):
    return np.argsort(-np.delete(_cosines(table, row), row))[:n_neighbors]


def by_absolute(table, row, n_neighbors):
    similarity = np.abs(_cosines(table, row))
    similarity[row] = 0
    return np.argsort(-similarity)[:n_neighbors]


def by_place(table, row, n_neighbors):
    order = np.argsort(-_cosines(table, row), kind="stable")
    return order[1 : n_neighbors + 1]


def by_place_backwards(table, row, n_neighbors):
    return np.argsort(_cosines(table, row), kind="stable")[::-1][1 : n_neighbors + 1]


def zero_for_itself(table, row, n_neighbors):
    similarity = _cosines(table, row)
    similarity[row] = 0
    return np.argsort(-similarity)[:n_neighbors]


def partly_sorted(table, row, n_neighbors):
    similarity = _cosines(table, row)
    similarity[row] = -np.inf
    return np.argpartition(-similarity, n_neighbors)[:n_neighbors]


def pick_by_loop(dims, scores, tolerance):
    for dim, score in zip(dims, scores, strict=True):
        if score >= max(scores) - tolerance:
            return dim


def pick_by_argmax(dims, scores, tolerance):
    return np.array(dims)[np.argmax(np.array(scores) >= np.max(scores) - tolerance)]


def pick_best(dims, scores, tolerance):
    return dims[int(np.argmax(scores))]


def pick_place(dims, scores, tolerance):
    return int(np.argmax(np.array(scores) >= max(scores) - tolerance))


def pick_score(dims, scores, tolerance):
    return min(score for score in scores if score >= max(scores) - tolerance)


def pick_largest(dims, scores, tolerance):
    near = np.array(scores) >= max(scores) - tolerance
    return np.array(dims)[near].max()


def pick_small_step(dims, scores, tolerance):
    for i in range(len(dims) - 1):
        if scores[i + 1] - scores[i] <= tolerance:
            return dims[i]
    return dims[-1]


def pick_strictly(dims, scores, tolerance):
    near = zip(dims, scores, strict=True)
    return min(dim for dim, score in near if score > max(scores) - tolerance)


def pick_relative(dims, scores, tolerance):
    near = zip(dims, scores, strict=True)
    return min(dim for dim, score in near if score >= max(scores) * (1 - tolerance))


def pick_from_last(dims, scores, tolerance):
    near = zip(dims, scores, strict=True)
    return min(dim for dim, score in near if score >= scores[-1] - tolerance)


def pick_rounded(dims, scores, tolerance):
    bar = round(max(scores) - tolerance, 2)
    near = zip(dims, scores, strict=True)
    return min(dim for dim, score in near if round(score, 2) >= bar)


def pick_sorted(dims, scores, tolerance):
    scores.sort()
    return pick_by_loop(dims, scores, tolerance)


def pick_in_a_tuple(dims, scores, tolerance):
    return (pick_by_loop(dims, scores, tolerance),)


FAITH = ["faith", "soul", "god", "heaven", "spiritual", "church"]
SPACE = ["alien", "planet", "space", "spaceship", "mars", "rocket"]
INDEX = {w: number for number, w in enumerate(["<pad>", "<unk>", *FAITH, *SPACE])}
# Two directions, a little noise: a table that keeps the two lists apart.
TABLE = np.random.default_rng(1).normal(0, 0.2, size=(len(INDEX), 8))
TABLE[: len(FAITH) + 2, 0] += 1
TABLE[len(FAITH) + 2 :, 1] += 1


def _themes(first, second):
    return (lambda: (first, second)), TABLE, INDEX


ANSWERS = {
    "one_hot_bytes": Answers(
        right=[bytes_by_array, bytes_as_float],
        wrong=[
            (counted_numbers, "not their bytes"),
            (always_four_bytes, "use the argument"),
            (in_bits, "bits"),
            (in_megabytes, "megabytes"),
            (only_ids, "size of the ids"),
            (printed_bytes, "returned None"),
            (unfinished, "is it finished"),
            (bytes_of_zeros, "float64"),
            (bytes_in_a_tuple, "returned a tuple"),
        ],
    ),
    "lookup": Answers(
        right=[took, took_lists, took_flat],
        wrong=[
            (gathered_lists, "in a loop"),
            (looped, "in a loop"),
            (took_in_a_loop, "in a loop"),
            (multiplied, "multiplied"),
            (summed, "multiplied"),
            (unfinished, "is it finished"),
            (took_columns, "columns, not rows"),
            (transposed_first, "columns"),
            (flattened, "flatten"),
            (averaged, "average"),
            (one_hot_only, "one-hot"),
            (next_door, "next door"),
            (halved, "to the last bit"),
            (constant_vectors, "should be row ids[i, j]"),
        ],
    ),
    "nearest": Answers(
        right=[nearest_by_sklearn, nearest_by_loop],
        wrong=[
            (by_dot, "dot product"),
            (by_distance, "Euclidean"),
            (with_itself, "its own nearest"),
            (ascending, "farthest"),
            (nearest_last, "turn them round"),
            (similarities, "argsort"),
            (shifted, "moved up by one"),
            (by_absolute, "absolute"),
            (by_place, "by its number"),
            (by_place_backwards, "by its number"),
            (zero_for_itself, "not to 0"),
            (partly_sorted, "wrong order"),
            (unfinished, "is it finished"),
        ],
    ),
    "pick_dimension": Answers(
        right=[pick_by_loop, pick_by_argmax],
        wrong=[
            (pick_best, "a smaller one is good enough"),
            (pick_place, "place in the list"),
            (pick_score, "That is a score"),
            (pick_largest, "the largest"),
            (pick_small_step, "with the neighbour"),
            (pick_strictly, ">="),
            (pick_relative, "share of the best"),
            (pick_from_last, "the best need not come last"),
            (pick_rounded, "once it is rounded"),
            (pick_sorted, "changed the scores"),
            (pick_in_a_tuple, "returned a tuple"),
            (unfinished, "is it finished"),
        ],
    ),
    "two_themes": Answers(
        right=[
            _themes(tuple(SPACE), FAITH[:4]),
            ((lambda: [np.array(FAITH), np.array(SPACE[1:])]), TABLE, INDEX),
        ],
        wrong=[
            (_themes(FAITH[:3], SPACE), "at least 4"),
            (_themes([*FAITH, "mars"], SPACE), "only once"),
            (_themes([*FAITH[:4], "qwerty"], SPACE), "qwerty"),
            (_themes([*FAITH[:4], "Mars"], SPACE[:4]), "lower case"),
            (_themes([*FAITH[:4], "rocket"], SPACE[:4]), "“rocket” strays"),
            (((lambda: FAITH), TABLE, INDEX), "two lists"),
            (((lambda: {"faith": FAITH, "space": SPACE}), TABLE, INDEX), "a dict"),
            (_themes([*FAITH[:4], "<pad>"], SPACE), "no word"),
            (_themes([*FAITH[:4], "<unk>"], SPACE), "no word"),
            ((unfinished, TABLE, INDEX), "is it finished"),
        ],
        solution=lambda answer: (answer, TABLE, INDEX),
    ),
}
