"""Answers to the exercises of lesson 01."""

from __future__ import annotations

from tests.answers import Answers

import numpy as np
import pandas as pd
from sklearn.metrics.pairwise import cosine_similarity


def in_bytes(*sizes):
    return float(np.prod([*sizes, 4][:4], dtype=float))


def ranked(similarity, row, n_neighbors):
    return [int(i) for i in similarity.argsort()[::-1] if i != row][:n_neighbors]


def one_by_one(table, row, n_neighbors):
    cosine = [v @ table[row] / np.linalg.norm(v) for v in table]
    others = [i for i in range(len(table)) if i != row]
    return np.array(sorted(others, key=lambda i: -cosine[i])[:n_neighbors])


def by_loop(dims, scores, tolerance):
    for dim, score in zip(dims, scores, strict=True):
        if score >= max(scores) - tolerance:
            return dim


def by_argmax(dims, scores, tolerance):
    return np.array(dims)[np.argmax(np.array(scores) >= np.max(scores) - tolerance)]


FAITH = ["faith", "soul", "god", "heaven", "spiritual", "church"]
SPACE = ["alien", "planet", "space", "spaceship", "mars", "rocket"]
GROUPS = ["dog", "cat", "horse", "lion", "son", "wife", "uncle", "sister"]
INDEX = {w: number for number, w in enumerate(["<pad>", "<unk>", *FAITH, *SPACE])}
# Two directions, a little noise: a table that keeps the two lists apart.
TABLE = np.random.default_rng(1).normal(0, 0.2, size=(len(INDEX), 8))
TABLE[: len(FAITH) + 2, 0] += 1
TABLE[len(FAITH) + 2 :, 1] += 1


def _found(themes, table=TABLE):
    return (lambda: themes), table, INDEX


ANSWERS = {
    "one_hot_bytes": Answers(
        right=[
            in_bytes,
            lambda b, n, v, size=4: np.zeros((b, n, v), f"V{size}").nbytes,
        ],
        wrong=[
            (lambda *sizes: in_bytes(*sizes) / 1e6, "megabytes"),
            (lambda *sizes: (in_bytes(*sizes),), "returned a tuple"),
            (lambda *sizes: np.array([in_bytes(*sizes)]), "number itself"),
        ],
    ),
    "lookup": Answers(
        right=[
            lambda table, ids: table.take(ids.ravel(), axis=0).reshape(*ids.shape, -1),
            lambda table, ids: table[np.asarray(ids).tolist(), :].tolist(),
        ],
        wrong=[
            (lambda table, ids: [[table[i] for i in row] for row in ids], "in a loop"),
            (lambda table, ids: [np.take(table, row, 0) for row in ids], "in a loop"),
            (lambda table, ids: table[ids].astype(np.float16), "to the last bit"),
            (lambda table, ids: table[ids].transpose(1, 0, 2), "another order"),
            (lambda table, ids: table[ids] * np.nan, "should be row ids[i, j]"),
            (lambda table, ids: table[:, ids + 99], "Ids choose rows"),
        ],
    ),
    "nearest": Answers(
        right=[
            lambda t, row, n: ranked(cosine_similarity(t[[row]], t)[0], row, n),
            one_by_one,
        ],
        wrong=[
            (lambda t, row, n: ranked(cosine_similarity(t)[row], row, n), "10 GB"),
            (lambda *given: pd.Series(rows := one_by_one(*given), rows), "a Series"),
            (lambda *given: 1.0 * one_by_one(*given), "whole numbers"),
            (lambda *given: np.sort(one_by_one(*given)), "wrong order"),
            (
                lambda t, row, n: np.argsort(-cosine_similarity(t)[row])[1 : n + 1],
                "by its number",
            ),
            (lambda table, row, n: np.arange(n) + row, "Row 3 itself"),
            (lambda table, row, n: np.zeros(n, int), "rows of length 1"),
        ],
    ),
    "pick_dimension": Answers(
        right=[by_loop, by_argmax],
        wrong=[
            (lambda *given, **named: (by_loop(*given, **named),), "a tuple"),
            (lambda dims, scores, tolerance: scores.sort() or 6, "changed `scores`"),
            (lambda dims, scores, tolerance: max(scores), "is a score"),
            (lambda dims, scores, tolerance: 17, "not in dims"),
            (lambda dims, scores, tolerance: dims[0], "below the best"),
            (lambda dims, scores, tolerance: dims[3], "A smaller one"),
        ],
    ),
    "two_themes": Answers(
        right=[_found((tuple(SPACE), FAITH[:4])), _found([np.array(FAITH), SPACE[1:]])],
        wrong=[
            (_found((FAITH[:3], SPACE)), "at least 4"),
            (_found(([*FAITH, "mars"], SPACE)), "only once"),
            (_found(([*FAITH[:4], "qwerty"], SPACE)), "qwerty"),
            (_found(([*FAITH[:4], "Mars"], SPACE[:4])), "lower case"),
            (_found(([*FAITH[:4], "rocket"], SPACE[:4])), "“rocket” strays"),
            (_found((GROUPS[:4], GROUPS[4:])), "lesson's map"),
            (_found((FAITH, SPACE), np.ones_like(TABLE)), "and 11 more"),
            (_found(FAITH), "two lists"),
            (_found((FAITH, SPACE, 5)), "two lists"),
            (_found({"faith": FAITH, "space": SPACE}), "1 × dict"),
            (_found(([*FAITH[:4], "<pad>"], SPACE)), "no word"),
            (_found(None), "returned None"),
        ],
        solution=lambda answer: (answer, TABLE, INDEX),
    ),
}
