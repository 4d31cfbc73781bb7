"""Answers to the exercises of lesson 04."""

from __future__ import annotations

from course_utils.frameworks import import_keras
from tests.answers import Answers

import numpy as np

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def channel_by_channel(pixels):
    return in_place(pixels.copy())


def in_place(pixels):
    pixels /= 255
    for channel in range(3):
        pixels[..., channel] -= MEAN[channel]
        pixels[..., channel] /= STD[channel]
    return pixels


def in_255ths(pixels):
    return ((pixels - 255 * MEAN) / (255 * STD)).tolist()


def by_sum(maps):
    batch, high, wide, channels = maps.shape
    return maps.reshape(batch, high * wide, channels).sum(1) / (high * wide)


def by_keras(maps):
    return import_keras().layers.GlobalAveragePooling2D()(maps)


def by_shuffling(groups, share, seed):
    names = sorted(set(groups.tolist()))
    np.random.default_rng(seed).shuffle(names)
    held_out = set(names[: int(share * len(names))])
    return [group in held_out for group in groups]


def by_sklearn(groups, share, seed):
    from sklearn.model_selection import GroupShuffleSplit

    splitter = GroupShuffleSplit(1, test_size=share, random_state=seed)
    _, held_out = next(splitter.split(groups, groups=groups))
    mask = np.zeros(len(groups), int)
    mask[held_out] = 1
    return mask


def among_photos(groups, share, seed):
    return np.random.default_rng(seed).random(len(groups)) < share


def learned_from(groups, share, seed):
    return ~np.array(by_shuffling(groups, share, seed))


def first_groups(groups, share, seed):
    names = np.unique(groups)
    return np.isin(groups, names[: round(share * len(names))])


def never_the_same(groups, share, seed):
    return by_shuffling(groups, share, None)


def as_places(groups, share, seed):
    return np.flatnonzero(by_shuffling(groups, share, seed))


def a_mask_of_groups(groups, share, seed):
    return np.random.default_rng(seed).random(len(np.unique(groups))) < share


def nothing_held_out(groups, share, seed):
    return np.zeros(len(groups), bool)


def shuffled_in_place(groups, share, seed):
    np.random.default_rng(seed).shuffle(groups)
    return np.isin(groups, np.unique(groups)[: round(share * len(set(groups)))])


def with_replacement(groups, share, seed):
    names = np.unique(groups)
    rng = np.random.default_rng(seed)
    return np.isin(groups, rng.choice(names, round(share * len(names))))


def share_of_photos(groups, share, seed):
    mask = np.zeros(len(groups), bool)
    names, counts = np.unique(groups, return_counts=True)
    # The smallest groups first, so that the number of groups comes out too high.
    order = np.random.default_rng(seed).permutation(len(names))
    for place in order[np.argsort(counts[order], kind="stable")]:
        if mask.mean() < share:
            mask |= groups == names[place]
    return mask


def half_of_them(groups, share, seed):
    return by_shuffling(groups, share / 2, seed)


def by_slices(model, n):
    for layer in model.layers[:n]:
        layer.trainable = False
    for layer in model.layers[n:]:
        layer.trainable = True
    return sum(np.size(w) for layer in model.layers for w in layer.trainable_weights)


def by_keras_count(model, n):
    from keras.src.utils.summary_utils import count_params

    by_slices(model, n)
    return np.array(count_params(model.trainable_weights))


def one_too_many(model, n):
    return by_slices(model, n + 1)


def all_frozen(model, n):
    for layer in model.layers:
        layer.trainable = False
    return 0


def the_others(model, n):
    for number, layer in enumerate(model.layers):
        layer.trainable = number < n
    return 0


def rest_left_alone(model, n):
    for layer in model.layers[:n]:
        layer.trainable = False
    return sum(np.size(w) for w in model.trainable_weights)


def nothing_set(model, n):
    return by_slices(model, 0)


def whole_model_off(model, n):
    model.trainable = False
    for layer in model.layers[n:]:
        layer.trainable = True
    return sum(np.size(w) for w in model.trainable_weights)


def whole_model_on(model, n):
    model.trainable = True
    return rest_left_alone(model, n)


def the_last(model, n):
    n_layers = len(model.layers)
    for number, layer in enumerate(model.layers):
        layer.trainable = number < n_layers - n
    return 0


def added_shapes(model, n):
    by_slices(model, n)
    return sum(sum(w.shape) for w in model.trainable_weights)


def counted_the_rest(model, n):
    return model.count_params() - by_slices(model, n)


def counted_everything(model, n):
    by_slices(model, n)
    return model.count_params()


def counted_arrays(model, n):
    by_slices(model, n)
    return len(model.trainable_weights)


def counted_frozen(model, n):
    total = by_slices(model, 0)
    by_slices(model, n)
    return total


_rng = np.random.default_rng(4)
LABELS = np.arange(100) % 4
CENTRES = _rng.normal(size=(4, 24))
FEATURES = (CENTRES[LABELS] + 0.5 * _rng.normal(size=(100, 24))).astype(np.float32)
GROUPS = np.arange(100) // 2 * 4 + LABELS


def head(make):
    return make, FEATURES, LABELS, GROUPS


def nearest_centroid(x_train, y_train):
    names = np.unique(y_train)
    centres = np.array([x_train[y_train == name].mean(axis=0) for name in names])

    def predict(x):
        distances = ((x[:, None] - centres) ** 2).sum(axis=-1)
        return names[distances.argmin(axis=1)].tolist()

    return predict


def ridge(x_train, y_train):
    from sklearn.linear_model import RidgeClassifier

    model = RidgeClassifier().fit(x_train, y_train)
    return lambda x: model.predict(x)[:, None]


def always_first(x_train, y_train):
    return lambda x: np.zeros(len(x), int)


def saw_it_all(x_train, y_train):
    def predict(x):
        distances = ((x[:, None] - FEATURES) ** 2).sum(axis=-1)
        return LABELS[distances.argmin(axis=1)]

    return predict


def one_column(x_train, y_train):
    predict = nearest_centroid(x_train[:, :1], y_train)
    return lambda x: predict(x[:, :1])


def the_model_itself(x_train, y_train):
    from sklearn.neighbors import NearestCentroid

    return NearestCentroid().fit(x_train, y_train)


def the_predictions(x_train, y_train):
    return nearest_centroid(x_train, y_train)(x_train)


def named_classes(x_train, y_train):
    predict = nearest_centroid(x_train, y_train)
    return lambda x: np.array(list("abcd"))[predict(x)]


def fractions(x_train, y_train):
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(x_train, y_train).predict


def deaf(x_train, y_train):
    return lambda x: y_train[: len(x)]


def misaligned(x_train, y_train):
    return nearest_centroid(x_train, np.roll(y_train, 1))


def scaled_by_the_asked(x_train, y_train):
    predict = nearest_centroid(x_train - x_train.mean(axis=0), y_train)
    return lambda x: predict(x - x.mean(axis=0))


def gave_probabilities(x_train, y_train):
    return lambda x: np.full((len(x), 4), 0.25)


def returned_nothing(x_train, y_train):
    nearest_centroid(x_train, y_train)


ANSWERS = {
    "preprocess": Answers(
        right=[channel_by_channel, in_255ths],
        wrong=[
            (in_place, "changed `pixels` itself"),
            (lambda pixels: pixels[0] / 255, "expected shape"),
        ],
    ),
    "global_average": Answers(right=[by_sum, by_keras]),
    "split_by_group": Answers(
        right=[by_shuffling, by_sklearn],
        wrong=[
            (among_photos, "both sides"),
            (learned_from, "True means held out"),
            (first_groups, "is the seed used"),
            (never_the_same, "same seed"),
            (as_places, "places or groups"),
            (a_mask_of_groups, "not for each group"),
            (nothing_held_out, "hold out nothing"),
            (half_of_them, "groups held out"),
            (shuffled_in_place, "changed `groups` itself"),
            (with_replacement, "replace=False"),
            (share_of_photos, "share of the photos"),
        ],
    ),
    "freeze_first": Answers(
        right=[by_slices, by_keras_count],
        wrong=[
            (one_too_many, "off by one"),
            (all_frozen, "all layers are frozen"),
            (the_others, "froze the others"),
            (rest_left_alone, "switch the rest on"),
            (nothing_set, "no layer is frozen"),
            (counted_everything, "counted everything"),
            (counted_arrays, "counted the arrays"),
            (counted_frozen, "frozen numbers too"),
            (whole_model_off, "whole model off"),
            (whole_model_on, "does not reach them"),
            (the_last, "froze the last"),
            (added_shapes, "added up the shapes"),
            (counted_the_rest, "asked for the others"),
        ],
    ),
    "train_head": Answers(
        right=[head(nearest_centroid), head(ridge)],
        wrong=[
            (head(always_first), "for every photo"),
            (head(saw_it_all), "has seen them"),
            (head(one_column), "the bar is"),
            (head(the_model_itself), "return model.predict"),
            (head(gave_probabilities), "probabilities"),
            (head(returned_nothing), "returned None"),
            (head(the_predictions), "without brackets"),
            (head(named_classes), "returns names"),
            (head(fractions), "whole numbers"),
            (head(deaf), "look at its argument"),
            (head(misaligned), "no better than guessing"),
            (head(scaled_by_the_asked), "comes alone"),
        ],
        solution=head,
    ),
}
