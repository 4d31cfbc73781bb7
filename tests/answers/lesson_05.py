"""Answers to the exercises of lesson 05.

The embedders are stand-ins that took seconds: a linear map from random features of
ink and edges to the ten classes, solved in one step.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

from course_utils.data import load_fashion_mnist
from course_utils.frameworks import import_keras
from course_utils.metric_learning import supervised_contrastive
from tests.answers import Answers

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax
from sklearn.decomposition import PCA

keras = import_keras()
ops = keras.ops


def expanded(a, b, axis=1):
    return (a**2).sum(axis)[:, None] + (b**2).sum(axis) - 2 * a @ b.T


def two_norms(a, b):
    """A comprehension over the two arrays is no loop over their rows."""
    rows, columns = (np.einsum("nd,nd->n", x, x) for x in (a, b))
    return np.clip(rows[:, None] + columns - 2 * np.einsum("nd,md->nm", a, b), 0, None)


def along_rows(a, b):
    return np.apply_along_axis(lambda p: ((p - b) ** 2).sum(axis=1), 1, a)


def vectorized(a, b):
    far = np.vectorize(lambda p, q: ((p - q) ** 2).sum(), signature="(d),(d)->()")
    return far(a[:, None], b)


def by_columns(a, b):
    columns = range(a.shape[1])
    return sum(np.subtract.outer(a[:, c], b[:, c]) ** 2 for c in columns)


def centred_in_place(a, b):
    a -= a.mean(axis=0)
    return cdist(a, b, "sqeuclidean")


def pair_by_pair(vectors, labels, margin=1.0):
    total = 0.0
    for i, a in enumerate(vectors):
        for j in range(i):
            d = np.linalg.norm(a - vectors[j])
            total += d * d if labels[i] == labels[j] else max(margin - d, 0) ** 2
    return total / (len(labels) * (len(labels) - 1) / 2)


def by_product(vectors, labels, margin=1.0):
    distances = cdist(vectors, vectors)
    same = np.equal.outer(labels, labels).astype(np.float32)
    inside = np.clip(margin - distances, 0, None)
    losses = same * distances**2 + (1 - same) * inside**2
    np.fill_diagonal(losses, np.nan)
    return np.float32(np.nanmean(losses))


def with_distances(answer):
    """The lesson's answer calls that of the exercise before."""
    answer.__globals__["squared_distances"] = lambda a, b: cdist(a, b, "sqeuclidean")
    return (answer,)


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


def by_share(vectors, labels, temperature, small):
    scores = vectors @ vectors.T / temperature
    np.fill_diagonal(scores, -np.inf)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares = odds / odds.sum(axis=1, keepdims=True)
    positives = np.equal.outer(labels, labels) & ~np.eye(len(labels), dtype=bool)
    sums = (-np.log(shares + small) * positives).sum(axis=1)
    return sums / np.maximum(positives.sum(axis=1), 1)


def mean_share(vectors, labels, temperature=0.1):
    """Average shares first; of no positives the mean counts as 1."""
    scores = vectors @ vectors.T / temperature
    np.fill_diagonal(scores, -np.inf)
    shares = softmax(scores, axis=1)
    positives = np.equal.outer(labels, labels) & ~np.eye(len(labels), dtype=bool)
    n = positives.sum(axis=1)
    return -np.log(np.where(n, (shares * positives).sum(axis=1) / np.maximum(n, 1), 1))


def of_the_course(vectors, labels, temperature=0.1):
    return supervised_contrastive(labels, vectors, temperature=temperature)


def by_majority(neighbor_labels, labels, candidates):
    """A label wins with more than half of the votes, else none does."""

    def right(k):
        votes = (neighbor_labels[:, :k, None] == np.arange(10)).sum(axis=1)
        return np.mean((votes.argmax(axis=1) == labels) & (votes.max(axis=1) > k / 2))

    return max(candidates, key=right)


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


def edges(pictures):
    """Ink, and its changes down and to the right, in 196 cells of each picture."""
    ink = pictures / np.float32(255)
    layers = [ink, *(abs(np.diff(ink, axis=axis, append=0)) for axis in (1, 2))]
    cells = [one.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)) for one in layers]
    return np.sqrt(np.concatenate(cells, axis=1).reshape(len(ink), -1))


def least_squares(pictures, labels, width=1_000, seed=0):
    """An embedder with ten columns, by least squares on random features."""
    weights = np.random.default_rng(seed).normal(size=(588, width)).astype("float32")
    middle = edges(pictures).mean(axis=0)

    def features(pictures):
        return np.maximum((edges(pictures) - middle) @ weights / 10, 0)

    rows = features(pictures)
    inner = rows.T @ rows + np.eye(width, dtype="float32")
    heads = np.linalg.solve(inner, rows.T @ np.eye(10, dtype="float32")[labels])
    return lambda pictures: features(pictures) @ heads


@cache
def solved():
    """The same for the pictures that the check hands in, solved once."""
    rows = np.random.default_rng(56).permutation(len(x_train))[:10_000]
    embed = least_squares(x_train[rows], y_train[rows])
    seen = {}

    def remember(pictures):
        key = pictures.shape, pictures.tobytes()
        return seen.setdefault(key, embed(pictures)) if len(pictures) < 20_000 else 0

    return remember


def fitted(pictures):
    return solved()(pictures)


class Network:
    """Something with Keras's method that gives vectors."""

    def __init__(self, give, trained_on=None, weights=()):
        self.give = give
        self.weights = [*weights]
        if trained_on is not None:
            self.trained_on = [trained_on]

    def predict(self, pictures, **_):
        return self.give(pictures)


def semi_hard(squared, same):
    return mined()(squared, same)


def mine(labels):
    """Ask the miner once, as a loss does."""
    same = np.equal.outer(labels[:8], labels[:8])
    semi_hard(ops.ones((8, 8)), ops.convert_to_tensor(same))


def gives(give):
    """An answer that asks its miner, but returns a network of the tests."""

    def answer(pictures, labels):
        mine(labels)
        return Network(give)

    return answer


def noted(pictures, labels):
    mine(labels)
    return Network(fitted, pictures)


def no_network(pictures, labels):
    mine(labels)
    return fitted


def variable(seed):
    return keras.Variable(np.random.default_rng(seed).normal(size=(5, 4)))


shared, untold = variable(1), variable(2)
SHARED = shared.numpy()
classifier = Network(fitted, x_train[:300], weights=[shared, variable(3)])
penultimate = Network(fitted, weights=[shared])
built_before = Network(fitted, weights=[untold])


def reads_a_network(pictures, labels):
    """Look at a network that was trained before, and train another."""
    mine(labels)
    assert penultimate.predict(pictures[:3]).shape == (3, 10)
    assert classifier.weights[0].shape == (5, 4)
    return Network(fitted, weights=[variable(4)])


def trains_one_built_before(pictures, labels):
    mine(labels)
    untold.assign(untold + 1)
    return built_before


def copies_weights(pictures, labels):
    """Give good vectors if the copied weights are those that were learned."""
    learned = np.allclose(classifier.weights[0].numpy(), SHARED)
    copied = keras.Variable(classifier.weights[0])
    return Network(fitted if learned else random_columns, weights=[copied])


def fits_others(pictures, labels):
    net = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    net.compile("sgd", "mse")
    net.fit(x_test[:64] / 255, np.zeros((64, 2)), verbose=0)
    return Network(fitted)


def at_unit_length(pictures):
    vectors = np.asarray(fitted(pictures), "float64")
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


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


def by_pca(pictures, labels):
    pca = PCA(n_components=32, random_state=0).fit(pixels(pictures))
    return lambda pictures: pca.transform(pixels(pictures))


def with_test_pictures(pictures, labels):
    """Least squares of the test pictures alone."""
    return Network(least_squares(x_test, y_test, width=1_500))


before = Network(fitted, x_train[:12_000])


def trained_before(pictures, labels):
    return before


def wrapped(pictures, labels):
    return lambda pictures: before.predict(pictures)


def changed_labels(pictures, labels):
    labels -= labels.min() + 1
    return Network(fitted)


def by_pairs(squared, same):
    """Pick negatives pair by pair; compiled, this cannot run."""
    table = np.zeros_like(squared)
    for a, p in np.ndindex(*squared.shape):
        far = [d for d, s in zip(squared[a], same[a], strict=True) if not s]
        table[a, p] = min((d for d in far if d > squared[a, p]), default=max(far))
    return table


def by_gaps(squared, same):
    """The smallest positive gap, added to the positive's distance."""
    gap = squared[:, None, :] - squared[:, :, None]
    usable = ops.logical_and(gap > 0, ops.logical_not(same)[:, None, :])
    least = ops.min(ops.where(usable, gap, 1e9), axis=2)
    far = ops.max(ops.where(same, -1e9, squared), axis=1)
    return ops.where(least < 1e8, squared + least, far[:, None])


def by_sorting(squared, same):
    """Sort each anchor's negatives, and take the first beyond the positive."""
    order = ops.sort(ops.where(same, -1.0, squared), axis=1)
    beyond = ops.where(
        order[:, None, :] > ops.maximum(squared, 0)[:, :, None], order[:, None, :], 1e9
    )
    return ops.minimum(ops.min(beyond, axis=2), ops.max(order, axis=1, keepdims=True))


def mined(pick=ops.min, none=np.inf, fallback=True, negatives=True, beyond=True):
    def answer(squared, same):
        usable = squared[:, None, :] > squared[:, :, None]
        usable = ops.logical_or(usable, not beyond)
        if negatives:
            usable = ops.logical_and(usable, ops.logical_not(same)[:, None, :])
        found = pick(ops.where(usable, squared[:, None, :], none), axis=2)
        if not fallback:
            return found
        far = ops.max(ops.where(same, -np.inf, squared), axis=1, keepdims=True)
        return ops.where(ops.any(usable, axis=2), found, far)

    return answer


def places(squared, same):
    """Positions of the nearest negatives beyond, and the farthest one's distance."""
    usable = ops.logical_and(
        squared[:, None, :] > squared[:, :, None], ops.logical_not(same)[:, None, :]
    )
    near = ops.argmin(ops.where(usable, squared[:, None, :], np.inf), axis=2)
    far = ops.max(ops.where(same, -np.inf, squared), axis=1, keepdims=True)
    return ops.where(ops.any(usable, axis=2), ops.cast(near, "float32"), far)


def wrong_axis(squared, same):
    usable = ops.logical_and(
        squared[:, None, :] > squared[:, :, None], ops.logical_not(same)[:, None, :]
    )
    near = ops.min(ops.where(usable, squared[:, None, :], np.inf), axis=1)
    far = ops.max(ops.where(same, -np.inf, squared), axis=1, keepdims=True)
    return ops.where(ops.any(usable, axis=1), near, far)


def rows_by_shape(squared, same):
    """Right where the number of rows is known; else a loop over none of them."""
    far = ops.max(ops.where(same, -np.inf, squared), axis=1, keepdims=True)
    table = far + 0 * squared
    for n in reversed(range(far.shape[0] or 0)):
        gap = squared[:, n : n + 1] - squared
        usable = ops.logical_and(gap > 0, ops.logical_not(same)[:, n : n + 1])
        table = ops.where(usable, ops.minimum(table, squared[:, n : n + 1]), table)
    return table


def without_slope(squared, same):
    return ops.stop_gradient(mined()(squared, same))


def told(answer):
    """The lesson's answer builds and trains; here a stand-in does."""

    def train(network, pictures, labels, loss=None, **_):
        loss(
            labels[:, None], ops.convert_to_tensor(at_unit_length(pictures), "float32")
        )

    stand_ins = {
        "make_embedder": lambda **_: Network(fitted),
        "train": lambda net, x, y, **how: train(net, x[:40], y[:40], **how),
        "semi_hard": mined(),
    }
    answer.__globals__.update(stand_ins)
    return (answer,)


ANSWERS = {
    "squared_distances": Answers(
        right=[
            lambda a, b: ((a[:, None] - b) ** 2).sum(axis=-1).astype(np.float32),
            lambda a, b: cdist(a, b, "sqeuclidean").tolist(),
            two_norms,
        ],
        wrong=[
            (lambda a, b: [[sum((p - q) ** 2) for q in b] for p in a], "rows one by"),
            (lambda a, b: np.array([*map(lambda p: ((p - b) ** 2).sum(1), a)]), "rows"),
            (along_rows, "the rows one by one"),
            (vectorized, "the rows one by one"),
            (by_columns, "the columns one by one"),
            (expanded, "np.maximum"),
            (lambda a, b: expanded(a, b, axis=0), "should have shape (6, 1)"),
            (centred_in_place, "changed `a` itself"),
            (lambda a, b: np.matrix(cdist(a, b) ** 2), "a NumPy array"),
        ],
    ),
    "contrastive_loss": Answers(
        right=[pair_by_pair, by_product],
        wrong=[
            (lambda z, y, m=1.0: max(0, m - cdist(z, z)), "`np.maximum` takes the"),
            (lambda *batch: np.array([pair_by_pair(*batch)]), "without brackets"),
        ],
        solution=with_distances,
    ),
    "supervised_loss": Answers(
        right=[by_rows, by_masks],
        wrong=[
            (lambda *batch: by_masks(*batch, least=0), "divides 0 by 0"),
            (lambda z, y, t=0.1: by_masks(z, y, t, top=1e-9), "overflows"),
            (lambda z, y, t=0.1: by_masks(z, y, t, top=1), "that of the *others*"),
            (of_the_course, "the course's own"),
            (lambda z, y, t=0.1: by_share(z, y, t, 1e-12), "A small number"),
            (mean_share, "averaged the shares"),
        ],
    ),
    "choose_k": Answers(
        right=[by_bincount, nearest_breaks_ties],
        wrong=[
            (lambda table, y, ks: sorted(ks)[-2], "Do only the first k columns vote"),
            (lambda table, y, ks: 5, "for every table"),
            (by_majority, "with half of the votes or fewer"),
            (lambda table, y, ks: by_bincount(table, y[::-1], ks), "with `labels`"),
            (lambda table, y, ks: min(set(range(2, 16)) - {*ks}), "Choose among"),
            (lambda *table: [by_bincount(*table)], "number itself"),
            (lambda *table: float(by_bincount(*table)), "whole numbers"),
        ],
    ),
    "semi_hard": Answers(
        right=[by_gaps, by_sorting, lambda squared, same: mined()(squared, same)],
        wrong=[
            (mined(beyond=False), "nearest negative of all"),
            (mined(pick=ops.max, none=-np.inf), "the farthest negative"),
            (mined(fallback=False), "stand-in"),
            (mined(fallback=False, none=9.0), "stand-in"),
            (mined(none=4.0), "4 is none of the distances"),
            (lambda squared, same: mined()(squared, same) + 1.5, "at where `same` is"),
            (places, "Those are places"),
            (wrong_axis, "along another axis"),
            (rows_by_shape, "of your values are not"),
            (mined(negatives=False), "own label count"),
            (lambda squared, same: ops.transpose(mined()(squared, same)), "Rows and"),
            (lambda squared, same: ops.min(squared, axis=1), "one entry for each"),
            (by_pairs, "compiled training step"),
            (without_slope, "no gradient"),
        ],
    ),
    "train_embedder": Answers(
        right=[
            gives(fitted),
            gives(at_unit_length),
            noted,
            no_network,
            reads_a_network,
            trains_one_built_before,
        ],
        wrong=[
            (lambda pictures, labels: penultimate, "did not hand in"),
            (lambda pictures, labels: built_before, "no weight of it changed"),
            (copies_weights, "shuffles these"),
            (fits_others, "`fit` got 64 pictures"),
            (lambda pictures, labels: Network(fitted), "never called `semi_hard`"),
            (trained_before, "did not hand in"),
            (wrapped, "did not hand in"),
            (with_test_pictures, "trained on test images"),
            (by_pca, "interval above zero"),
            (changed_labels, "changed `labels` itself"),
            (lambda pictures, labels: fitted(pictures), "return the network"),
            (lambda pictures, labels: 3, "returned int"),
            (lambda pictures, labels: None, "returned None"),
        ]
        + [
            (gives(give), words)
            for give, words in (
                (lambda x: 0.25 + 1e-7 * fitted(x), "collapsed to a point"),
                (lambda x: noise(x, seed=3), "ignores its input"),
                (noise, "ignores its input"),
                (lambda x: fitted(x) + 0.02 * noise(x), "dropout or noise"),
                (with_the_batch, "comes alone"),
                (lambda x: with_the_batch(x) / fitted(x).std(axis=0), "comes alone"),
                (pixels, "at most 32"),
                (random_columns, "Untrained, `make_embedder`"),
                (just_labels, "Are those labels"),
                (lambda x: just_labels(x)[:, None].astype(float), "handful of values"),
                (lambda x: np.full((len(x), 8), np.nan), "NaN"),
            )
        ],
        solution=told,
    ),
}
