"""Answers to the exercises of lesson 04."""

from __future__ import annotations

from course_utils.frameworks import import_keras
from tests.answers import Answers

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupShuffleSplit
from sklearn.neighbors import NearestCentroid

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def in_place(pixels):
    pixels /= 255
    pixels -= MEAN
    pixels /= STD
    return pixels


def by_shuffling(groups, share, seed):
    names = sorted(set(groups.tolist()))
    np.random.default_rng(seed).shuffle(names)
    held_out = set(names[: int(share * len(names))])
    return [group in held_out for group in groups]


def by_sklearn(groups, share, seed):
    splitter = GroupShuffleSplit(1, test_size=share, random_state=seed)
    _, held_out = next(splitter.split(groups, groups=groups))
    return np.isin(np.arange(len(groups)), held_out).astype(int)


def drawn(draw):
    """Hold out the groups that a function of (names, how_many, rng) draws."""

    def split(groups, share, seed):
        names, rng = np.unique(groups), np.random.default_rng(seed)
        return np.isin(groups, draw(names, round(share * len(names)), rng))

    return split


def shuffled_in_place(groups, share, seed):
    np.random.default_rng(seed).shuffle(groups)
    return by_shuffling(groups, share, seed)


def free(model, size=np.size):
    return sum(size(weights) for weights in model.trainable_weights)


def by_slices(model, n):
    for layer in model.layers[n:]:
        layer.trainable = True
    return rest_left_alone(model, n)


def rest_left_alone(model, n):
    for layer in model.layers[:n]:
        layer.trainable = False
    return free(model)


def frozen(is_frozen, count=free):
    """Freeze layers by a function of (number, n, n_layers); count by one of model."""

    def freeze(model, n):
        for number, layer in enumerate(model.layers):
            layer.trainable = not is_frozen(number, n, len(model.layers))
        return count(model)

    return freeze


def counted(count):
    return frozen(lambda i, n, size: i < n, count)


_rng = np.random.default_rng(4)
LABELS = np.arange(100) % 4
CENTRES = _rng.normal(size=(4, 24))
FEATURES = (CENTRES[LABELS] + 0.5 * _rng.normal(size=(100, 24))).astype(np.float32)
GROUPS = np.arange(100) // 2 * 4 + LABELS
# Photos that are hard to tell apart: no head gets 0.93 of them right.
HARD = FEATURES + 2 * _rng.normal(size=FEATURES.shape).astype(np.float32)


def head(train, features=FEATURES):
    return train, features, LABELS, GROUPS


def changed(before=lambda x: x, after=lambda y: y):
    """Change what a good head sees, or what it answers."""

    def train(x_train, y_train):
        model = NearestCentroid().fit(before(x_train), y_train)
        return lambda x: after(model.predict(before(x)))

    return head(train)


def nearest_centroid(x_train, y_train):
    names = np.unique(y_train)
    centres = np.array([x_train[y_train == name].mean(axis=0) for name in names])
    return lambda x: nearest(x, centres, names).tolist()


def nearest(x, known, labels):
    return labels[((x[:, None] - known) ** 2).sum(axis=-1).argmin(axis=1)]


def saw_a_quarter(x_train, y_train):
    known, labels = np.r_[x_train, FEATURES[::4]], np.r_[y_train, LABELS[::4]]
    return lambda x: nearest(x, known, labels)


def scaled_in_place(x_train, y_train):
    x_train -= x_train.mean(axis=0)
    return nearest_centroid(x_train, y_train)


ANSWERS = {
    "preprocess": Answers(
        right=[
            lambda pixels: in_place(pixels.copy()),
            lambda x: ((x - 255 * MEAN) / (255 * STD)).tolist(),
        ],
        wrong=[
            (in_place, "changed `pixels` itself"),
            (lambda pixels: pixels[0] / 255, "expected shape"),
        ],
    ),
    "global_average": Answers(
        right=[
            lambda maps: np.einsum("bhwc->bc", maps) / maps[0, ..., 0].size,
            lambda maps: import_keras().layers.GlobalAveragePooling2D()(maps),
        ],
    ),
    "split_by_group": Answers(
        right=[by_shuffling, by_sklearn],
        wrong=[
            (lambda g, p, seed: np.random.default_rng(seed).random(len(g)) < p, "both"),
            (lambda *given: ~np.array(by_shuffling(*given)), "True means held out"),
            (lambda *given: np.flatnonzero(by_shuffling(*given)), "np.isin"),
            (lambda groups, *_: np.unique(groups) > 250, "not for each group"),
            (lambda groups, *_: groups, "not other numbers"),
            (lambda groups, *_: groups < 0, "groups held out, yours are 0"),
            (lambda groups, p, seed: by_shuffling(groups, p / 2, seed), "yours are 5"),
            (lambda groups, p, seed: by_shuffling(groups, p, None), "same seed"),
            (drawn(lambda names, k, rng: names[:k]), "is the seed used"),
            (drawn(lambda names, k, rng: rng.choice(names, k)), "replace=False"),
            (drawn(lambda names, k, rng: names[rng.random(names.size) < 0.3]), "big"),
            (shuffled_in_place, "changed `groups` itself"),
        ],
    ),
    "freeze_first": Answers(
        right=[by_slices, counted(lambda m: np.array(free(m)))],
        wrong=[
            (frozen(lambda i, n, size: i <= n), "off by one"),
            (frozen(lambda i, n, size: True), "all layers are frozen"),
            (frozen(lambda i, n, size: False), "no layer is frozen"),
            (frozen(lambda i, n, size: i >= n), "froze the others"),
            (frozen(lambda i, n, size: i >= size - n), "froze the last"),
            (frozen(lambda i, n, size: i % 2), "(True, False"),
            (rest_left_alone, "switch the rest on"),
            (lambda m, n: setattr(m, "trainable", False) or 0, "whole model off"),
            (
                lambda m, n: setattr(m, "trainable", True) or rest_left_alone(m, n),
                "own",
            ),
            (counted(lambda m: m.count_params()), "counted everything"),
            (counted(lambda m: free(m, lambda array: 1)), "the arrays"),
            (counted(lambda m: 197), "frozen numbers too"),
            (counted(lambda m: free(m, lambda array: sum(array.shape))), "added up"),
            (counted(lambda m: m.count_params() - free(m)), "the others"),
            (
                counted(lambda m: sum(one.trainable for one in m.layers)),
                "counted layers",
            ),
            (counted(lambda m: 4.5), "not 4.5"),
            (counted(lambda m: [free(m)]), "number alone"),
        ],
    ),
    "train_head": Answers(
        right=[
            head(nearest_centroid),
            head(nearest_centroid, HARD),
            changed(after=lambda y: y[:, None]),
        ],
        wrong=[
            (changed(after=lambda y: 0 * y), "for every photo"),
            (changed(after=lambda y: np.full((len(y), 4), 0.25)), "probabilities"),
            (changed(after=lambda y: np.array(list("abcd"))[y]), "returns names"),
            (changed(before=lambda x: x[:, :1]), "the bar is 0.93"),
            (changed(before=lambda x: x - x.mean(axis=0)), "comes alone"),
            (head(lambda x, y: lambda asked: y[: len(asked)]), "look at its argument"),
            (head(saw_a_quarter), "has seen them"),
            (head(lambda x, y: None), "returned None"),
            (head(lambda x, y: NearestCentroid().fit(x, y)), "return model.predict"),
            (head(lambda x, y: nearest_centroid(x, y)(x)), "without brackets"),
            (head(lambda x, y: LinearRegression().fit(x, y).predict), "whole numbers"),
            (head(lambda x, y: nearest_centroid(x, np.roll(y, 1))), "than guessing"),
            (head(scaled_in_place), "changed `x_train` itself"),
        ],
        solution=head,
    ),
}
