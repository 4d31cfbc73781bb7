"""Checks of lesson 04, Transfer learning with MobileNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import as_array, exercise, expect_number, fail
from course_utils.checks.summary import summary_of
from course_utils.frameworks import import_keras

import numpy as np

Answer = Callable[..., Any]
BAR = 0.93
MEAN, STD = np.array([485, 456, 406]) / 1000, np.array([229, 224, 225]) / 1000


def _photos() -> list[Case]:
    rng = np.random.default_rng(41)
    shapes = ((2, 5, 4, 3), (1, 3, 3, 3))
    return [Case(rng.integers(0, 256, shape).astype(np.float32)) for shape in shapes]


@reference(
    "4.1",
    hints=[
        "Three steps: to 0…1, minus the mean, divided by the standard deviation.",
        "The colours are the last axis, and `MEAN` has three numbers: NumPy lines them "
        "up by itself.",
        "`(pixels / 255 - MEAN) / STD`",
    ],
    cases=_photos,
    mistakes={
        "You divided by 255; the mean and the standard deviation are still to come.": (
            lambda pixels: pixels / 255
        ),
        "Divide by 255 first: the mean and the standard deviation are for pixels "
        "between 0 and 1.": lambda pixels: (pixels - MEAN) / STD,
        "You subtracted the mean; divide by the standard deviation as well.": (
            lambda pixels: pixels / 255 - MEAN
        ),
        "You divided by the standard deviation; subtract the mean first.": (
            lambda pixels: pixels / 255 / STD
        ),
        "You divided the mean by the standard deviation; brackets are missing around "
        "the difference.": lambda pixels: pixels / 255 - MEAN / STD,
        "You added the mean; subtract it.": lambda pixels: (pixels / 255 + MEAN) / STD,
        "Mean and standard deviation have changed places.": (
            lambda pixels: (pixels / 255 - STD) / MEAN
        ),
        "You divided with //, which leaves only 0 and 1; divide with /.": (
            lambda pixels: (pixels // 255 - MEAN) / STD
        ),
        "You divided by 256; the brightest pixel is 255 and should become 1.": (
            lambda pixels: (pixels / 256 - MEAN) / STD
        ),
        "You multiplied by the standard deviation; divide by it.": (
            lambda pixels: (pixels / 255 - MEAN) * STD
        ),
        "That is the scaling of MobileNet V1, -1 to 1; these weights were trained with "
        "a mean and a standard deviation for each colour.": (
            lambda pixels: pixels / 127.5 - 1
        ),
        "Red and blue are swapped; the last axis is red, green, blue.": (
            lambda pixels: (pixels[..., ::-1] / 255 - MEAN) / STD
        ),
        "Nothing is to be cut off at 0 or 1 afterwards.": (
            lambda pixels: np.clip((pixels / 255 - MEAN) / STD, 0, 1)
        ),
        "You used this batch's own mean and standard deviation; use those given, which "
        "are ImageNet's.": (
            lambda pixels: (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))
        ),
        "You used one mean and one standard deviation of the whole batch; use those "
        "given, which are ImageNet's, for each colour.": (
            lambda pixels: (pixels - pixels.mean()) / pixels.std()
        ),
    },
    passed="Pixels are now what the network was trained on. It would have accepted any "
    "others without complaint.",
    atol=1e-4,
)
def preprocess(pixels: np.ndarray) -> np.ndarray:
    """Scale colour by colour, in float64."""
    one = pixels.astype(np.float64) / 255
    return np.stack([(one[..., c] - MEAN[c]) / STD[c] for c in range(3)], axis=-1)


def _maps() -> list[Case]:
    rng = np.random.default_rng(42)
    made = [rng.gamma(1.0, size=shape) for shape in ((3, 4, 5, 7), (2, 6, 3, 4))]
    # Real maps are dark in many places.
    return [Case((m * (rng.random(m.shape) < 0.6)).astype(np.float32)) for m in made]


@reference(
    "4.2",
    hints=[
        "Height and width disappear; batch and channels stay.",
        "`mean` takes an axis, or a tuple of several.",
        "`maps.mean(axis=(1, 2))`",
    ],
    cases=_maps,
    mistakes={
        "You averaged over the batch too: each photo keeps its own vector.": (
            lambda maps: maps.mean(axis=(0, 1, 2))
        ),
        "The two axes of length 1 must go: leave out keepdims.": (
            lambda maps: maps.mean(axis=(1, 2), keepdims=True)
        ),
        "You averaged over the channels; average over the places.": (
            lambda maps: maps.mean(axis=-1)
        ),
        "That is one of the two axes; places have height and width.": (
            lambda maps: maps.mean(axis=1),
            lambda maps: maps.mean(axis=2),
        ),
        "That is one number a photo; I asked for one a map.": (
            lambda maps: maps.mean(axis=(1, 2, 3))
        ),
        "You laid the maps end to end; average each.": (
            lambda maps: maps.reshape(len(maps), -1)
        ),
        "You averaged over the photos; axis 0 is the batch.": (
            lambda maps: maps.mean(axis=0)
        ),
        "You averaged over axes 0 and 1; height and width are axes 1 and 2.": (
            lambda maps: maps.mean(axis=(0, 1))
        ),
        "You averaged over axes 2 and 3; height and width are axes 1 and 2.": (
            lambda maps: maps.mean(axis=(2, 3))
        ),
        "You averaged everything; name the two axes.": np.mean,
        "That is the sum over the places; divide by their number.": (
            lambda maps: maps.sum(axis=(1, 2))
        ),
        "That is the largest value of each map; I asked for the average.": (
            lambda maps: maps.max(axis=(1, 2))
        ),
        "You averaged over the lit places only; dark ones count as well.": (
            lambda maps: maps.sum(axis=(1, 2)) / (maps > 0).sum(axis=(1, 2))
        ),
        "That is the median of each map; I asked for the average.": (
            lambda maps: np.median(maps, axis=(1, 2))
        ),
    },
    passed="Where a thing stands is gone, that it is there has stayed. One vector a "
    "photo, whatever its size.",
    atol=1e-4,
)
def global_average(maps: np.ndarray) -> np.ndarray:
    """Average place after place."""
    places = [maps[:, i, j] for i in range(maps.shape[1]) for j in range(maps.shape[2])]
    return np.sum(places, axis=0, dtype=float) / len(places)


@exercise(
    "4.3",
    hints=[
        "Draw among the groups, not among the photos. `np.unique(groups)` lists them.",
        "`np.random.default_rng(seed).choice(names, how_many, replace=False)` draws "
        "some. How many are a share of them?",
        "A photo is held out when its group was drawn: `np.isin(groups, drawn)`.",
    ],
)
def split_by_group(answer: Answer) -> str:
    """Check that a share of whole groups is held out, drawn by the seed."""
    rng = np.random.default_rng(43)
    for n_groups, share in ((40, 0.25), (60, 0.4)):
        names = rng.permutation(500)[:n_groups]
        groups = rng.permutation(np.repeat(names, rng.integers(1, 5, n_groups)))
        held_out = [
            _groups_held_out(answer(groups, share, seed), groups, share)
            for seed in (1, 1, 2, 3)
        ]
        if held_out[0] != held_out[1]:
            fail(
                "The same seed gave two different splits: make the generator inside, "
                "with np.random.default_rng(seed)."
            )
        if held_out[0] == held_out[2] == held_out[3]:
            fail("Three seeds gave the same split: is the seed used?")
    return (
        "No group has a foot on either side. What is held out is now new in every "
        "sense, and the score can be believed."
    )


def _groups_held_out(got: Any, groups: np.ndarray, share: float) -> set[int]:
    """Read a mask, or say what is wrong with it."""
    n_groups = len(np.unique(groups))
    given = f"{len(groups)} photos in {n_groups} groups and share {share}"
    mask = as_array("split_by_group", got)
    if mask.shape != groups.shape:
        fail(
            f"For {given} I expected one True or False for each photo, not for each "
            f"group; you returned shape {mask.shape}. Try `np.isin(groups, drawn)`."
        )
    if not np.isin(mask, (0, 1)).all():
        fail("I expected True or False for each photo, not other numbers.")
    mask = mask.astype(bool)
    held, kept = set(groups[mask].tolist()), set(groups[~mask].tolist())
    if torn := held & kept:
        fail(
            f"For {given}, {len(torn)} groups are on both sides, such as {min(torn)}. "
            "Draw among np.unique(groups), not among photos."
        )
    n_held, wanted = len(held), round(share * n_groups)
    if n_held == wanted:
        return held
    slip = "Draw `round(share * n_groups)` groups, big or small, with replace=False."
    if n_held == n_groups - wanted:
        slip = "You marked those to learn from; True means held out."
    fail(f"For {given} I expected {wanted} groups held out, yours are {n_held}. {slip}")


@exercise(
    "4.4",
    hints=[
        "`model.layers` is a list; each layer has a switch `layer.trainable`.",
        "Set every layer's switch, to True as well: some may come frozen.",
        "`for number, layer in enumerate(model.layers): layer.trainable = number >= "
        "n`; then add up the sizes of `model.trainable_weights`.",
    ],
)
def freeze_first(answer: Answer) -> str:
    """Check the switches of a small network, and the count of its free numbers."""
    for n, came_frozen in ((3, False), (5, True), (1, False), (0, True)):
        model = _small_network()
        for layer in model.layers:
            layer.trainable = not came_frozen
        got = answer(model, n)
        slip = _wrong_switches(model, n, came_frozen) or _wrong_count(model, n, got)
        if slip:
            fail(f"For a network of {len(LEARNED)} layers and n = {n}: {slip}")
    return (
        "Frozen layers keep what they learned from a million photos; the others may "
        "adapt. Compile afterwards: that is when Keras looks at the switches."
    )


def _wrong_switches(model: Any, n: int, came_frozen: bool) -> str:
    if not model.trainable:
        return (
            "you switched the whole model off, and then no switch of a layer counts. "
            "Set `layer.trainable`, not `model.trainable`."
        )

    def from_on(first: int) -> tuple[bool, ...]:
        return tuple(number >= first for number in range(len(LEARNED)))

    switches = tuple(bool(layer.trainable) for layer in model.layers)
    if switches == from_on(n):
        return ""
    frozen = "all layers are frozen afterwards; nothing can learn."
    if came_frozen:
        frozen += (
            " They came frozen: switch the rest on, one by one. `model.trainable = "
            "True` does nothing where the model's own switch is on already."
        )
    known = {
        tuple(not on for on in from_on(n)): f"you froze the others, not the first {n}.",
        from_on(n)[::-1]: f"you froze the last {n}; freeze the first.",
        from_on(n + 1): "off by one: layers are counted from 0.",
        from_on(n - 1): "off by one: layers are counted from 0.",
        from_on(0): "no layer is frozen. Is `layer.trainable` set?",
        from_on(len(LEARNED)): frozen,
    }
    return known.get(switches, f"the switches should be {from_on(n)}, not {switches}.")


def _wrong_count(model: Any, n: int, got: Any) -> str:
    number = expect_number("freeze_first", got)
    if np.ndim(got):
        return f"you returned {got!r}; later cells need the number alone."
    free, weights = sum(LEARNED[n:]), model.trainable_weights
    if number == free:
        return ""
    others = "you counted the frozen numbers; I asked for the others."
    known: dict[float, str] = {
        sum(LEARNED[:n]): others,
        model.count_params() - free: others,
        len(LEARNED) - n: "you counted layers; count the numbers in their arrays.",
        len(weights): "you counted the arrays; count the numbers in them.",
        sum(sum(array.shape) for array in weights): (
            "you added up the shapes; an array of shape (3, 4) holds 12 numbers."
        ),
        model.count_params(): (
            "you counted everything, the frozen layers and the running means of batch "
            "normalisation too; use trainable_weights."
        ),
        sum(LEARNED): "you counted the frozen numbers too.",
    }
    return known.get(number, f"{free:,} numbers can be adjusted, not {number:,g}.")


@exercise(
    "4.5",
    hints=[
        "Any of scikit-learn's classifiers has `fit` and `predict`; return "
        "`model.predict`.",
        "1,280 columns and a hundred rows: prefer simple models, such as logistic "
        "regression, a nearest centroid, or a linear SVM.",
        "`return LogisticRegression(max_iter=2_000).fit(x_train, y_train).predict`",
    ],
)
def train_head(answer: Answer, features: Any, labels: Any, groups: Any) -> str:
    """Check a classifier on held-out folds of its own."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    features, labels = np.asarray(features, np.float32), np.asarray(labels)
    cv = StratifiedGroupKFold(5, shuffle=True, random_state=45)
    folds = list(cv.split(features, labels, groups))

    def accuracy_of(train: Answer, y: np.ndarray, n_folds: int = 5) -> float:
        # One after the other, as heads may share a model that is trained anew.
        scores = []
        for fit, out in folds[:n_folds]:
            ask = _asked(train(features[fit], y[fit]))
            scores.append((ask(features[out]) == labels[out]).mean())
        return float(np.mean(scores))

    fit, out = folds[0]
    if len(np.unique(labels[out])) > 1:
        _ask_otherwise(_asked(answer(features[fit], labels[fit])), features[out])
    mean = accuracy_of(answer, labels)
    if mean < BAR:
        # Photos of one's own may be harder than those that the bar was set for.
        plain = accuracy_of(
            lambda x, y: LogisticRegression(max_iter=2_000).fit(x, y).predict, labels
        )
        bar = min(BAR, np.floor(100 * plain - 2) / 100)
        shown = f"Held-out accuracy is {np.floor(1000 * mean) / 1000:.3f}"
        if mean < min(bar, np.bincount(labels).max() / len(labels) + 0.1):
            fail(
                f"{shown}, no better than guessing. Is it fitted, on rows that belong "
                "to their labels, and are its answers those labels?"
            )
        if mean < bar:
            fail(
                f"{shown} over five folds, and the bar is {bar:.2f}. Try a simple "
                "method with its default settings on all columns: logistic regression, "
                "a nearest centroid or an SVM."
            )
    # A head that learns only from what it is given cannot find the true labels when
    # each class has the label of the next one.
    classes = np.unique(labels)
    renamed = np.roll(classes, -1)[np.searchsorted(classes, labels)]
    share = accuracy_of(answer, renamed, n_folds=3)
    if share > 1 - mean + 0.1:
        fail(
            "I taught your head each class under another's label, and still it gave "
            f"{share:.0%} of the held-out photos their true one. It has seen them: use "
            "only x_train and y_train, not `features` or `labels`."
        )
    return (
        f"{mean:.3f} over five folds that you have not seen. The network did the hard "
        "part a long time ago; your head reads it off."
    )


def _asked(predict: Any) -> Answer:
    """Let the student's head return labels, or say what it returns instead."""
    if predict is None:
        fail("train_head returned None: does its last line begin with `return`?")
    if not callable(predict):
        fail(
            f"train_head returned a {type(predict).__name__}, not a function. Does it "
            "return model.predict, without brackets?"
        )

    def ask(photos: np.ndarray) -> np.ndarray:
        got = predict(photos.copy())
        if got is not None and np.asarray(got).dtype.kind in "OUS":
            fail("Your head returns names; return labels as y_train has them, numbers.")
        got = as_array("Your head", got)
        if got.shape == (len(photos), 1):
            got = got[:, 0]
        if got.shape != (len(photos),):
            slip = " Of probabilities, return the highest's label." * (got.ndim == 2)
            fail(
                f"For {len(photos)} photos your head returned shape {got.shape}.{slip}"
            )
        if (got % 1).any():
            fail(
                f"Your head answers {got[got % 1 != 0][0]:.4g}; labels are whole "
                "numbers. Is it a regression? Take a classifier."
            )
        return got

    return ask


def _ask_otherwise(ask: Answer, photos: np.ndarray) -> None:
    """Ask about the same photos in another order, and about some alone."""
    together = ask(photos)
    if len(np.unique(together)) == 1:
        fail(f"It answers {together[0]} for every photo. Does it learn from y_train?")
    if np.array_equal(together, ask(photos[::-1])):
        fail(
            "Your head gives the same answers in the same order whatever the photos: "
            "does its function look at its argument?"
        )
    some = range(min(6, len(photos)))
    if any(ask(photos[[row]])[0] != together[row] for row in some):
        fail(
            "A photo that comes alone gets another label than in company. Does your "
            "head scale by the photos it is asked about? Learn the scaling from "
            "x_train."
        )


# How many numbers each layer of the small network can learn.
LEARNED = [0, 3 * 3 * 3 * 4 + 4, 4 + 4, 0, 4 * 6 + 6, 6 * 5 + 5, 5 * 2 + 2]


def _small_network() -> Any:
    keras = import_keras()
    layers = keras.layers
    inputs = layers.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs))
    x = layers.Dense(6)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(2)(layers.Dense(5)(x)))


summary = summary_of(__name__)
