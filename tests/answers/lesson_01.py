"""Answers to the exercises of lesson 01."""

from __future__ import annotations

import ast

from tests.answers import Answers
from tests.lessons import LESSONS, solution

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfVectorizer,
)
from sklearn.metrics.pairwise import cosine_similarity


def ranked(similarity, row, n_neighbors):
    return [int(i) for i in similarity.argsort()[::-1] if i != row][:n_neighbors]


def one_by_one(table, row, n_neighbors):
    cosine = [v @ table[row] / np.linalg.norm(v) for v in table]
    others = [i for i in range(len(table)) if i != row]
    return np.array(sorted(others, key=lambda i: -cosine[i])[:n_neighbors])


def by_probabilities(counts, smoothing=0.75):
    """PMI from joint probabilities; the counts are symmetric."""
    joint = counts.data / counts.data.sum()
    word = np.bincount(counts.row, counts.data, counts.shape[0]) / counts.data.sum()
    context = np.bincount(counts.col, counts.data, counts.shape[0]) ** smoothing
    ratio = joint / (word[counts.row] * context[counts.col] / context.sum())
    return np.where(ratio > 1, np.log(ratio), 0)


def by_csr(counts, smoothing=0.75):
    totals = counts.tocsr().sum(axis=0).A1
    chance = totals**smoothing / np.sum(totals**smoothing)
    scaled = sparse.diags(1 / totals) @ counts @ sparse.diags(1 / chance)
    values = np.log(np.asarray(scaled.tocsr()[counts.row, counts.col]).ravel())
    return pd.Series(values.clip(min=0))


def by_lists(table, ids):
    rows = np.asarray(table).tolist()
    return np.array([[rows[i] for i in line] for line in ids.tolist()], table.dtype)


def in_place(counts, smoothing=0.75):
    values = by_probabilities(counts, smoothing)
    counts.data *= 2
    return values


def whole_square(counts, smoothing=0.75):
    square = counts.toarray().astype(float)
    return np.maximum(0, by_probabilities(counts, smoothing) + 0 * square[0, 0])


def cell_by_cell(counts, smoothing=0.75):
    total = np.asarray(counts.sum(axis=1)).ravel()
    chance = total**smoothing / (total**smoothing).sum()
    cells = zip(counts.data, counts.row, counts.col, strict=True)
    ratios = (number / total[w] / chance[c] for number, w, c in cells)
    return np.array([max(0.0, float(np.log(ratio))) for ratio in ratios])


def by_sorting(table, a, b, c):
    unit = (table.T / np.linalg.norm(table, axis=1)).T
    ranking = np.argsort(-(unit @ (unit[b] - unit[a] + unit[c])))
    return next(int(i) for i in ranking if i not in {a, b, c})


def by_masking(table, a, b, c):
    unit = [table[i] / np.linalg.norm(table[i]) for i in (a, b, c)]
    similarity = cosine_similarity((unit[1] - unit[0] + unit[2])[None], table)[0]
    similarity[np.isin(np.arange(len(table)), (a, b, c))] = -2
    return np.argmax(similarity)


def all_pairs(table, a, b, c):
    cosine_similarity(table)
    return by_sorting(table, a, b, c)


def by_loops(first, second, left, right):
    def cosine(u, v):
        return np.dot(u, v) / (np.linalg.norm(u) * np.linalg.norm(v))

    leanings = [
        np.mean([cosine(w, x) for x in left]) - np.mean([cosine(w, x) for x in right])
        for w in [*first, *second]
    ]
    ahead = np.mean(leanings[: len(first)]) - np.mean(leanings[len(first) :])
    return float(ahead / np.std(leanings))


def by_similarities(first, second, left, right):
    words = np.vstack([first, second])
    leaning = cosine_similarity(words, left).mean(1)
    leaning = leaning - cosine_similarity(words, right).mean(1)
    return np.diff([leaning[len(first) :].mean(), leaning[: len(first)].mean()])[0] / (
        leaning.std()
    )


# Reviews of two kinds, of made-up words: enough for the check, and no download.
RNG = np.random.default_rng(5)
GOOD, BAD, OTHER = (
    [f"{stem}{a}{b}" for a in "bdfgk" for b in "aeiou"] for stem in ("lu", "mo", "ti")
)


def _reviews(n_reviews):
    labels = RNG.integers(2, size=n_reviews)
    texts = [
        " ".join([*RNG.choice(GOOD if y else BAD, 6), *RNG.choice(OTHER, 8)])
        for y in labels
    ]
    return np.array(texts, object), labels


FIT, VALID = _reviews(400), _reviews(300)


def _baseline(texts):
    return np.array([[len(text), text.count("a")] for text in texts])


def by_documents(texts):
    vectorizer = TfidfVectorizer()
    svd = TruncatedSVD(20, random_state=0).fit(vectorizer.fit_transform(texts))
    return lambda new: svd.transform(vectorizer.transform(new))


class FirstWords:
    """Counts of the most frequent words, from a class instead of a closure."""

    def __init__(self, texts):
        self.counter = CountVectorizer(max_features=50).fit(texts)

    def __call__(self, texts):
        return pd.DataFrame(self.counter.transform(texts).toarray())


def _then(change):
    """Break what `by_documents` gives."""

    def build(texts):
        encode = by_documents(texts)
        return lambda new: change(encode(new))

    return build


def by_letters(texts):
    """Numbers that are a text's own, and say nothing about it."""
    return lambda new: np.array(
        [[sum(map(ord, text)) % 101, sum(text.encode()[::3]) % 97] for text in new]
    )


def learns_while_encoding(texts):
    return lambda new: TruncatedSVD(4, random_state=0).fit_transform(
        HashingVectorizer(n_features=64).transform(new)
    )


def from_plain_letters(texts):
    return CountVectorizer(vocabulary=GOOD[:25] + BAD[:25]).fit(FIT[0]).transform


def _judged(build):
    return build, FIT, VALID, _baseline


GIVEN = {"count_contexts", "ppmi", "ppmi_matrix", "bag_of_words"}


def _with_the_lessons_functions(build):
    """Let a cell's function see those that earlier cells of the lesson define."""
    cells = solution(LESSONS[0]).cells
    for source in [cell.source for cell in cells if cell.cell_type == "code"]:
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and node.name in GIVEN:
                exec(ast.unparse(node), build.__globals__)
    return _judged(build)


ANSWERS = {
    "lookup": Answers(
        right=[
            lambda table, ids: table.take(ids.ravel(), axis=0).reshape(*ids.shape, -1),
            lambda table, ids: np.array(table[np.asarray(ids).tolist(), :]),
        ],
        wrong=[
            (lambda table, ids: table[ids].tolist(), "need a NumPy array"),
            (by_lists, "times as long as one indexing operation"),
            (
                lambda table, ids: np.array([[table[i] for i in row] for row in ids]),
                "in a loop",
            ),
            (
                lambda table, ids: np.array([np.take(table, row, 0) for row in ids]),
                "in a loop",
            ),
            (lambda table, ids: table[ids].astype(np.float16), "to the last bit"),
            (lambda table, ids: table[ids].transpose(1, 0, 2), "another order"),
            (lambda table, ids: table[ids] * np.nan, "should be row ids[i, j]"),
            (lambda table, ids: table[:, ids + 99], "Ids choose rows"),
        ],
    ),
    "ppmi": Answers(
        right=[by_probabilities, by_csr],
        wrong=[
            (in_place, "changed `counts` itself"),
            (whole_square, "fills the whole square"),
            (cell_by_cell, "a loop over the cells"),
            (lambda counts, smoothing=0.75: None, "returned None"),
            (lambda counts, smoothing=0.75: counts, "expected numbers"),
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
    "analogy": Answers(
        right=[by_sorting, by_masking],
        wrong=[
            (all_pairs, "every row with every other"),
            (lambda *given: float(by_sorting(*given)), "a whole number"),
            (lambda *given: np.array([by_sorting(*given)]), "number itself"),
            (lambda table, a, b, c: None, "returned None"),
        ],
    ),
    "bias": Answers(
        right=[by_loops, by_similarities],
        wrong=[
            (lambda *sets: np.array([by_loops(*sets)]), "number itself"),
            (lambda *sets: print(by_loops(*sets)), "returned None"),
            (
                lambda *sets: by_loops(
                    sets[0] * [[1, 2, 3, 4][: sets[0].shape[1]]], *sets[1:]
                ),
                "I expected",
            ),
        ],
    ),
    "build_encoder": Answers(
        right=[_judged(by_documents), _judged(FirstWords)],
        wrong=[
            (_judged(lambda texts: by_documents(texts)(texts)), "expected a function"),
            (_judged(lambda texts: None), "returned None"),
            (_judged(_then(lambda rows: sparse.csr_matrix(rows))), "sparse"),
            (_judged(_then(lambda rows: np.tile(rows, 3))), "60 columns"),
            (_judged(_then(lambda rows: rows[0])), "returned shape (20,)"),
            (_judged(_then(lambda rows: rows / abs(rows).sum(1)[:, None])), "NaN"),
            (_judged(_then(lambda rows: rows - rows.mean(axis=0))), "other texts"),
            (_judged(_then(lambda rows: rows[:, :0])), "shape (400, 0)"),
            (_judged(_then(lambda rows: np.ones_like(rows))), "a row of their own"),
            (_judged(by_letters), "random numbers"),
            (_judged(learns_while_encoding), "other texts"),
            (
                _judged(
                    lambda texts: lambda new: from_plain_letters(texts)(new).toarray()
                ),
                "alphabet",
            ),
        ],
        solution=_with_the_lessons_functions,
    ),
}
