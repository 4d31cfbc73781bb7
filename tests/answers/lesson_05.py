"""Answers to the exercises of lesson 05.

The embedders are stand-ins that took seconds: a linear map from random features of
ink and edges to the ten classes, solved in one step.
"""

from __future__ import annotations

from collections import Counter
from functools import cache, lru_cache

from course_utils.data import load_fashion_mnist
from tests.answers import Answers

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.decomposition import PCA


def by_one_hot(labels):
    rows = (np.asarray(labels)[:, None] == np.unique(labels)).astype(float)
    return (rows @ rows.T).tolist()


def expanded(a, b, axis=1):
    return (a**2).sum(axis)[:, None] + (b**2).sum(axis) - 2 * a @ b.T


def centred_in_place(a, b):
    a -= a.mean(axis=0)
    return cdist(a, b, "sqeuclidean")


def pair_by_pair(distances, same, margin=1.0):
    total = 0.0
    for d, s in zip(distances, same, strict=True):
        total += d * d if s else max(margin - d, 0) ** 2
    return total / len(same)


def by_product(distances, same, margin=1.0):
    same = same.astype(np.float32)
    inside = np.clip(margin - distances, 0, None)
    return np.float32(np.mean(same * distances**2 + (1 - same) * inside**2))


def by_rows(vectors, labels, temperature=0.1):
    losses = []
    for i, label in enumerate(labels):
        scores = np.delete(vectors @ vectors[i], i) / temperature
        mine = np.delete(labels, i) == label
        losses.append(logsumexp(scores) - scores[mine].mean() if mine.any() else 0.0)
    return losses


def by_masks(vectors, labels, temperature=0.1, top=0.0, least=1):
    scores = vectors @ vectors.T / temperature
    np.fill_diagonal(scores, -np.inf)
    top = scores.max(axis=1, keepdims=True) if top == 0.0 else top / temperature
    total = top + np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
    positives = np.equal.outer(labels, labels) & ~np.eye(len(labels), dtype=bool)
    sums = np.where(positives, total - scores, 0).sum(axis=1)
    return sums / np.maximum(positives.sum(axis=1), least)


def nearest_breaks_ties(neighbor_labels, labels, candidates, best=max):
    def right(k):
        votes = [Counter(row).most_common(1)[0][0] for row in neighbor_labels[:, :k]]
        return np.mean(votes == labels)

    return best(candidates, key=right)


def by_bincount(neighbor_labels, labels, candidates):
    scores = {}
    for k in sorted(candidates, reverse=True):
        rows = neighbor_labels[:, :k]
        votes = np.array([np.bincount(row, minlength=10).argmax() for row in rows])
        scores[np.int64(k)] = np.sum(votes == labels)
    return max(scores, key=scores.get)


(x_train, y_train), (x_test, y_test) = load_fashion_mnist()
FIT = slice(0, 12_000)


def edges(pictures):
    """Ink, and its changes down and to the right, in 196 cells of each picture."""
    ink = pictures / np.float32(255)
    layers = [ink, *(abs(np.diff(ink, axis=axis, append=0)) for axis in (1, 2))]
    cells = [one.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)) for one in layers]
    return np.sqrt(np.concatenate(cells, axis=1).reshape(len(ink), -1))


@cache
def solved(n_train, n_test, width):
    """An embedder with ten columns, by least squares on random features."""
    pictures = np.concatenate([x_train[:n_train], x_test[:n_test]])
    labels = np.concatenate([y_train[:n_train], y_test[:n_test]])
    weights = np.random.default_rng(0).normal(size=(588, width)).astype("float32") / 10
    middle = edges(pictures).mean(axis=0)

    def features(pictures):
        return np.maximum((edges(pictures) - middle) @ weights, 0)

    rows = features(pictures)
    inner = rows.T @ rows + np.eye(width, dtype="float32")
    heads = np.linalg.solve(inner, rows.T @ np.eye(10, dtype="float32")[labels])

    @lru_cache(32)  # a check shows every answer the same few thousand pictures
    def embed(pictures):
        return features(np.frombuffer(pictures, np.uint8).reshape(-1, 28, 28)) @ heads

    return lambda pictures: embed(np.ascontiguousarray(pictures).tobytes())


def fitted(pictures):
    return solved(12_000, 0, 1_000)(pictures)


def at_unit_length(pictures):
    vectors = np.asarray(fitted(pictures), "float64")
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).tolist()


def noise(pictures, seed=None, width=10):
    return np.random.default_rng(seed).normal(size=(len(pictures), width))


def with_the_batch(pictures):
    return fitted(pictures) - fitted(pictures).mean(axis=0)


def pixels(pictures):
    return pictures.reshape(len(pictures), -1)


def random_columns(pictures, seed=0):
    return pixels(pictures) / 255 @ noise(range(784), seed)


def just_labels(pictures):
    return fitted(pictures).argmax(axis=1)


@cache
def pca():
    return PCA(n_components=32, random_state=0).fit(pixels(x_train[:2_000]))


class Noted:
    """A network of which `train` noted what it was trained on."""

    def __init__(self, *trained_on):
        self.trained_on = list(trained_on)


def of(network):
    return lambda pictures: fitted(pictures) if network else None


tuned_on_test = Noted(x_train[FIT], x_test)


def by_tuned(pictures):
    return of(tuned_on_test)(pictures)


def told(answer):
    """The lesson's answer asks the network above it; here a stand-in answers."""
    answer.__globals__["network"] = None
    answer.__globals__["embed"] = lambda network, pictures, **_: fitted(pictures)
    return answer, x_train[FIT]


ANSWERS = {
    "same_label": Answers(
        right=[by_one_hot, lambda labels: labels[:, None] - labels == 0],
        wrong=[
            (lambda labels: [[a == b for b in labels] for a in labels], "a loop"),
            (lambda labels: np.outer(labels == 2, labels == 2), "expected True at [1"),
        ],
    ),
    "squared_distances": Answers(
        right=[
            lambda a, b: ((a[:, None] - b) ** 2).sum(axis=-1).astype(np.float32),
            lambda a, b: cdist(a, b, "sqeuclidean").tolist(),
        ],
        wrong=[
            (lambda a, b: [[sum((p - q) ** 2) for q in b] for p in a], "a loop"),
            (expanded, "np.maximum"),
            (lambda a, b: expanded(a, b, axis=0), "should have shape (6, 1)"),
            (centred_in_place, "changed `a` itself"),
            (lambda a, b: np.matrix(cdist(a, b) ** 2), "a NumPy array"),
        ],
    ),
    "contrastive_loss": Answers(
        right=[pair_by_pair, by_product],
        wrong=[
            (lambda d, same, m=1.0: max(0, m - d) ** 2, "`np.maximum` takes the place"),
            (lambda *pairs: np.array([pair_by_pair(*pairs)]), "without brackets"),
        ],
    ),
    "supervised_loss": Answers(
        right=[by_rows, by_masks],
        wrong=[
            (lambda *batch: by_masks(*batch, least=0), "divides 0 by 0"),
            (lambda z, y, t=0.1: by_masks(z, y, t, top=1e-9), "overflows"),
            (lambda z, y, t=0.1: by_masks(z, y, t, top=1), "that of the *others*"),
        ],
    ),
    "choose_k": Answers(
        right=[by_bincount, nearest_breaks_ties],
        wrong=[
            (lambda table, y, ks: sorted(ks)[-2], "Do only the first k columns vote"),
            (lambda table, y, ks: min(set(range(2, 16)) - {*ks}), "Choose among"),
            (lambda *table: [by_bincount(*table)], "number itself"),
            (lambda *table: float(by_bincount(*table)), "whole numbers"),
        ],
    ),
    "garment_vectors": Answers(
        right=[
            (fitted, x_train[FIT]),
            (at_unit_length, pixels(x_train[FIT]) / 255),
            (of(Noted(x_train[FIT] / 255, x_train[:500])), x_train[FIT]),
            (fitted, x_train),
            (fitted, x_train[y_train != 6]),
            (lambda x: print("1/1 ━━━━━━━━━━ 0s 20ms/step") or fitted(x), x_train[FIT]),
        ],
        wrong=[
            ((lambda x: solved(6_000, 10_000, 1_500)(x), x_train), "on test images"),
            ((fitted, np.concatenate([x_train[FIT], x_test])), "are test images"),
            ((fitted, x_train[:100]), "too few"),
            ((fitted, y_train[FIT]), "of shape (n, 28, 28)"),
            ((fitted, x_train[FIT] // 7), "none that I know"),
        ]
        + [
            ((answer, x_train[FIT]), words)
            for answer, words in (
                (lambda x: 0.25 + 1e-7 * fitted(x), "collapsed to a point"),
                (lambda x: noise(x, seed=3), "ignores its input"),
                (noise, "ignores its input"),
                (lambda x: random_columns(x, seed=None), "inside the function"),
                (lambda x: fitted(x) + 0.02 * noise(x), "dropout or noise"),
                (with_the_batch, "comes alone"),
                (lambda x: with_the_batch(x) / fitted(x).std(axis=0), "comes alone"),
                (pixels, "at most 32"),
                (random_columns, "An untrained embedder"),
                (lambda x: pca().transform(pixels(x)), "PCA alone"),
                (lambda x: solved(0, 10_000, 1_500)(x), "trained on test images"),
                (by_tuned, "trained on test images"),
                (lambda x: by_tuned(x), "trained on test images"),
                (of(Noted(x_train[FIT], x_train[12_000:13_000])), "all that it"),
                (just_labels, "Are those labels"),
                (lambda x: just_labels(x)[:, None].astype(float), "handful of values"),
                (lambda x: np.full((len(x), 8), np.nan), "NaN"),
                (lambda x: fitted(x_test[:50]), "handed in"),
            )
        ],
        solution=told,
    ),
}
