"""Answers to the exercises of lesson 04."""

from __future__ import annotations

from course_utils.frameworks import import_keras
from tests.answers import Answers

import numpy as np
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
    held_out = set(names[: round(share * len(names))])
    return [group in held_out for group in groups]


def by_sklearn(groups, share, seed):
    how_many = round(share * len(np.unique(groups)))
    splitter = GroupShuffleSplit(1, test_size=how_many, random_state=seed)
    _, held_out = next(splitter.split(groups, groups=groups))
    return np.isin(np.arange(len(groups)), held_out).astype(int)


def drawn(draw):
    """Hold out the groups that a function of (names, how_many, rng) draws."""

    def split(groups, share, seed):
        names, rng = np.unique(groups), np.random.default_rng(seed)
        return np.isin(groups, draw(names, round(share * len(names)), rng))

    return split


def up(names, k, rng):
    """Draw one more where that is nearer to a whole number above."""
    return rng.choice(names, k + (len(names) == 41), replace=False)


def cut_off(names, k, rng):
    return rng.choice(names, k - (len(names) == 59), replace=False)


def rolled(groups, share, seed):
    names = np.unique(groups)
    return np.isin(groups, np.roll(names, seed)[: round(share * len(names))])


def met_first(groups, share, seed):
    met = list(dict.fromkeys(np.random.default_rng(seed).permutation(groups).tolist()))
    return np.isin(groups, met[: round(share * len(met))])


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


def unfrozen(model):
    """Count all arrays of the unfrozen layers, running averages among them."""
    on = [layer for layer in model.layers if layer.trainable]
    return sum(np.size(array) for layer in on for array in layer.get_weights())


def by_tiles(photo, n):
    """Cover with NumPy's own tiling, photo after photo."""
    side, size = len(photo) // n, len(photo)
    mean = photo.mean(axis=(0, 1))
    cover = np.kron(np.eye(n * n).reshape(-1, n, n), np.ones((side, side)))
    assert cover.shape == (n * n, size, size)
    return (photo * (1 - cover[..., None]) + mean * cover[..., None]).tolist()


def one_by_one(photo, n):
    copies, side = [], len(photo) // n
    for number in range(n * n):
        copy, (row, column) = photo.copy(), divmod(number, n)
        top, left = row * side, column * side
        copy[top : top + side, left : left + side] = np.mean(photo, (0, 1))
        copies.append(copy)
    return np.array(copies)


def covered_itself(photo, n):
    photo[: len(photo) // n] = 0
    return one_by_one(photo, n)


def changed_photos(mirror=lambda photo: photo[:, ::-1], share=0.5, low=0.8, top=255):
    """Change photos one by one, in the way that is given."""

    def augment(photos, rng):
        made = []
        for photo in photos:
            photo = photo * rng.uniform(low, 2 - low)
            photo = mirror(photo) if rng.random() < share else photo
            made.append(np.minimum(photo, top))
        return made

    return augment


def with_where(photos, rng):
    coins = rng.integers(0, 2, (len(photos), 1, 1, 1))
    mixed = np.where(coins, photos[:, :, ::-1], photos)
    return (mixed * (0.8 + 0.4 * rng.random(coins.shape))).clip(0, 255)


def chosen(mirror, factors):
    """Mirror and brighten by functions of (how many, rng); the first gets factors."""

    def augment(photos, rng):
        by = factors(len(photos), rng)
        mirrored = mirror(by, rng)[:, None, None, None]
        changed = np.where(mirrored, photos[:, :, ::-1], photos)
        return np.clip(changed * by[:, None, None, None], 0, 255)

    return augment


def fair(factors, rng):
    return rng.random(len(factors)) < 0.5


def any_factor(n, rng):
    return rng.uniform(0.8, 1.2, n)


def exactly_half(factors, rng):
    return rng.permutation(len(factors)) < len(factors) // 2


def either_or(which):
    """Mirror or change brightness, or change brightness of mirrored photos only."""

    def augment(photos, rng):
        coins = rng.random(len(photos)) < 0.5
        by = np.where(coins == which, rng.uniform(0.8, 1.2, len(photos)), 1)
        return chosen(lambda *_: coins, lambda *_: by)(photos, rng)

    return augment


def one_alone(photos, rng):
    """Give a factor of its own to no photo that comes alone."""
    made = chosen(fair, any_factor if len(photos) > 1 else lambda n, rng: np.ones(n))
    return made(photos, rng)


def in_place_augment(photos, rng):
    photos *= rng.uniform(0.8, 1.2, (len(photos), 1, 1, 1))
    return with_where(photos, rng)


_rng = np.random.default_rng(4)
LABELS = np.arange(100) % 4
CENTRES = _rng.normal(size=(4, 8))
MAPS = CENTRES[LABELS][:, None, None] + 0.5 * _rng.normal(size=(100, 2, 2, 8))
MAPS = MAPS.astype(np.float32)
GROUPS = np.arange(100) // 2 * 4 + LABELS


def small_tail():
    """Two blocks named as MobileNet's; wide, so that a head learns in few steps."""
    keras = import_keras()
    keras.utils.set_random_seed(1)
    inputs = keras.layers.Input((2, 2, 8))
    x = keras.layers.Conv2D(12, 1, name="block_16_expand")(inputs)
    x = keras.layers.BatchNormalization(name="block_16_BN")(x)
    x = keras.layers.Conv2D(320, 1, name="Conv_1", activation="relu")(x)
    return keras.Model(inputs, x)


def tuned(train):
    return train, small_tail(), MAPS, LABELS, GROUPS


BOTH = ("Conv_1", "block_16")
STAGES = (((), 0.05, 15), (("Conv_1",), 1e-3, 2), (BOTH, 1e-4, 1))


def trained(stages=STAGES, answers=lambda p: p.argmax(axis=1), copied=False, norms=()):
    """Train in stages on what is given."""

    def train(tail, maps, labels):
        keras = import_keras()
        keras.utils.set_random_seed(2)
        if copied:
            came, tail = tail, keras.models.clone_model(tail)
            tail.set_weights(came.get_weights())
        inputs = keras.layers.Input(maps.shape[1:])
        x = keras.layers.GlobalMaxPooling2D()(tail(inputs, training=False))
        x = keras.layers.Dense(int(labels.max()) + 1, activation="softmax")(x)
        model = keras.Model(inputs, x)
        for names, rate, epochs in stages:
            for layer in tail.layers:
                norm = layer.name.endswith("_BN") and layer.name not in norms
                layer.trainable = layer.name.startswith(names) and not norm
            model.compile(
                keras.optimizers.Adam(rate), "sparse_categorical_crossentropy"
            )
            model.fit(maps, labels, epochs=epochs, batch_size=16, verbose=0)
        return lambda x: answers(np.asarray(model(x, training=False)))

    return tuned(train)


def nudge(tail):
    """Move what training may move: no running averages."""
    for weight in tail.trainable_weights:
        weight.assign(weight * 1.01)


def by_hand(tail, maps, labels):
    """Move the tail a little, and take the nearest centre."""
    nudge(tail)

    def vectors(x):
        return np.asarray(tail(x, training=False)).mean(axis=(1, 2))

    model = NearestCentroid().fit(vectors(maps), labels)
    return lambda x: model.predict(vectors(x))


def knows_all(tail, maps, labels):
    nudge(tail)

    def flat(x):
        return np.asarray(tail(x, training=False)).reshape(len(x), -1)

    known = flat(MAPS)
    return lambda x: nearest(flat(x), known, LABELS)


def without_tail(tail, maps, labels):
    """Answer from the maps alone; the tail has learned for nothing."""
    model = NearestCentroid().fit(maps.mean(axis=(1, 2)), labels)
    return lambda x: model.predict(x.mean(axis=(1, 2)))


def nearest(x, known, labels):
    return labels[((x[:, None] - known) ** 2).sum(axis=-1).argmin(axis=1)]


def with_tail(function):
    """Answer by a function of what came, after a step of the tail."""

    def train(tail, maps, labels):
        nudge(tail)
        return function(tail, maps, labels)

    return tuned(train)


def by_company(tail, maps, labels):
    centres = np.array([maps[labels == k].mean(axis=(0, 1, 2)) for k in range(4)])
    mean = centres.mean(axis=0)
    return lambda x: nearest(
        x.mean(axis=(1, 2)) - x.mean(axis=(0, 1, 2)), centres - mean, np.arange(4)
    )


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
    "occlude": Answers(
        right=[by_tiles, one_by_one],
        wrong=[
            (covered_itself, "changed `photo` itself"),
            (lambda photo, n: one_by_one(photo, n)[:-1], "shape"),
        ],
    ),
    "split_by_group": Answers(
        right=[by_shuffling, by_sklearn],
        wrong=[
            (lambda g, p, seed: np.random.default_rng(seed).random(len(g)) < p, "both"),
            (lambda *given: ~np.array(by_shuffling(*given)), "True means held out"),
            (lambda *given: np.flatnonzero(by_shuffling(*given)), "these positions"),
            (lambda groups, *_: np.unique(groups) > 250, "one for each group"),
            (lambda groups, *_: np.unique(groups)[:10], "the groups drawn"),
            (lambda groups, *_: [groups > 250, groups <= 250], "not a pair"),
            (lambda groups, *_: groups[:, None] > 250, ", 1)."),
            (lambda groups, *_: groups[3:] + 0.5, "you returned shape"),
            (drawn(cut_off), "expected 24 groups held out, yours are 23"),
            (drawn(up), "expected 10 groups held out, yours are 11"),
            (lambda groups, *_: groups, "not other numbers"),
            (lambda groups, *_: groups < 0, "groups held out, yours are 0"),
            (lambda groups, p, seed: by_shuffling(groups, p / 2, seed), "yours are 5"),
            (lambda groups, p, seed: by_shuffling(groups, p, None), "same seed"),
            (drawn(lambda names, k, rng: names[:k]), "is the seed used"),
            (drawn(lambda names, k, rng: rng.choice(names, k)), "replace=False"),
            (drawn(lambda names, k, rng: names[rng.random(names.size) < 0.3]), "big"),
            (
                drawn(lambda names, k, rng: rng.choice(names[:-1], k, False)),
                "held out 0 times: number 20",
            ),
            (rolled, "different splits came"),
            (met_first, "those of eight photos were held out"),
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
            (counted(unfrozen), "counted the running averages"),
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
    "augment": Answers(
        right=[
            changed_photos(),
            with_where,
            chosen(fair, any_factor),
            lambda photos, rng: with_where(photos, rng).round(),
        ],
        wrong=[
            (lambda photos, rng: photos, "no photo is mirrored"),
            (lambda photos, rng: photos[:, :, ::-1], "all photos are"),
            (lambda photos, rng: photos[0], "should be the same"),
            (changed_photos(lambda photo: photo[::-1]), "stand on their head"),
            (changed_photos(lambda photo: photo[..., ::-1]), "red and blue"),
            (changed_photos(share=0.1), "about half"),
            (changed_photos(low=0.75), "factors go from"),
            (changed_photos(low=1.0), "brightness is unchanged"),
            (changed_photos(top=999), "end at 255"),
            (lambda photos, rng: with_where(photos, rng)[::-1], "changed places"),
            (lambda photos, _: with_where(photos, np.random.default_rng()), "draw e"),
            (lambda photos, _: with_where(photos, np.random.default_rng(3)), "two gen"),
            (lambda x, rng: with_where(x, rng) * rng.uniform(1, 2, 3), "each colour"),
            (lambda x, rng: with_where(x, rng) + 9 * rng.random(x.shape), "neither"),
            (lambda x, rng: with_where(x, rng)[:, ::-1] * [1, 0.9, 0.8], "neither"),
            (lambda x, rng: x[:, :, ::-1] * [1, 0.9, 0.8], "each colour"),
            (chosen(fair, lambda n, rng: rng.normal(1, 0.3, n)), "factors go from"),
            (chosen(fair, lambda n, rng: rng.uniform(0.5, 1.5, n)), "go from 0.5"),
            (chosen(fair, lambda n, rng: rng.choice([0.8, 1.2], n)), "only 2 values"),
            (chosen(lambda by, rng: by > 1, any_factor), "depend on the factor"),
            (chosen(lambda by, rng: abs(by - 1) < 0.1, any_factor), "depend on"),
            (chosen(exactly_half, any_factor), "mirrored 0 times"),
            (
                chosen(lambda by, rng: np.arange(len(by)) % 2 < 1, any_factor),
                "60 times",
            ),
            (either_or(False), "mirrored photos all have the factor 1.00"),
            (either_or(True), "unmirrored photos all have the factor 1.00"),
            (one_alone, "alone always gets the same factor"),
            (in_place_augment, "changed `photos` itself"),
        ],
    ),
    "fine_tune": Answers(
        right=[trained(), tuned(by_hand)],
        wrong=[
            (trained([((), 0.05, 5)]), "no weight of `tail`"),
            (trained(copied=True), "did you train a copy"),
            (trained(STAGES[:2]), "no weight of `block_16`"),
            (trained([STAGES[0], (("block_16",), 1e-3, 1)]), "no weight of `Conv_1`"),
            (trained(norms=["block_16_BN"]), "those of `block_16_BN`"),
            (with_tail(without_tail), "come from elsewhere"),
            (trained(answers=lambda p: p), "highest's label"),
            (trained(answers=lambda p: p.max(axis=1)), "whole numbers"),
            (with_tail(lambda *given: None), "returned None"),
            (with_tail(lambda *given: NearestCentroid()), "not a function"),
            (with_tail(lambda t, m, y: lambda x: np.zeros(len(x))), "for every photo"),
            (with_tail(lambda t, m, y: lambda x: y[: len(x)]), "look at its argument"),
            (with_tail(lambda t, m, y: lambda x: np.array(["a"] * len(x))), "names"),
            (with_tail(lambda t, m, y: by_hand(t, m, np.roll(y, 1))), "did harm"),
            (with_tail(by_company), "comes alone"),
            (tuned(knows_all), "has seen them"),
        ],
        solution=tuned,
    ),
}
