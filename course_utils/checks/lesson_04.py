"""Checks of lesson 04, Transfer learning with MobileNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import (
    as_array,
    exercise,
    expect_number,
    expect_shape,
    fail,
)
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
    """Check that a share of whole groups is held out, by the seed.

    Parameters
    ----------
    answer : callable
        ``split_by_group(groups, share, seed)``, a boolean array of shape (n,).

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a group stands on both sides, the share is wrong, or the seed is ignored.
    """
    rng = np.random.default_rng(43)
    for n_groups, share in ((40, 0.25), (60, 0.4)):
        names = rng.permutation(500)[:n_groups]
        groups = rng.permutation(np.repeat(names, rng.integers(1, 5, n_groups)))
        given = f"{len(groups)} photos in {n_groups} groups, share {share}"
        masks = []
        for seed in (1, 1, 2, 3):
            own = groups.copy()
            mask = as_array("split_by_group", answer(own, share, seed))
            if mask.dtype.kind != "b" and mask.shape == groups.shape:
                if not np.isin(mask, (0, 1)).all():
                    fail("I expected True or False for each photo, not other numbers.")
                mask = mask.astype(bool)
            if mask.dtype.kind != "b":
                fail(
                    f"For {given} I expected one True or False for each photo; you "
                    f"returned numbers of shape {mask.shape}. Are these places or "
                    "groups? `np.isin(groups, drawn)` turns groups into a mask."
                )
            slip = "One for each photo, not for each group."
            mask = expect_shape(
                "split_by_group", mask, groups.shape, given=given, slip=slip
            )
            masks.append(mask)
            torn = np.intersect1d(groups[mask], groups[~mask])
            if len(torn) and not np.array_equal(own, groups):
                fail(
                    "Your function changed `groups` itself, so its numbers no longer "
                    "belong to their photos. Shuffle np.unique(groups), a new array."
                )
            if len(torn):
                fail(
                    f"For {given}, group {torn[0]} stands on both sides, and "
                    f"{len(torn) - 1} more do. Draw among np.unique(groups), not among "
                    "photos."
                )
            n_out = len(np.unique(groups[mask]))
            if n_out in (0, n_groups):
                side = "nothing" if n_out == 0 else "everything"
                fail(f"For {given} you hold out {side}.")
            if abs(n_out - share * n_groups) > 1:
                if abs(n_out - (1 - share) * n_groups) <= 1:
                    fail(
                        f"For {given} you mark {n_out} groups: those to learn from. "
                        "True means held out."
                    )
                slip = ""
                if abs(mask.mean() - share) < 0.03:
                    slip = " You went by the share of the photos; go by the groups."
                elif n_out < share * n_groups:
                    slip = " Draw from np.unique(groups), and with replace=False."
                fail(
                    f"For {given} I expected {share * n_groups:.0f} groups held out, "
                    f"yours are {n_out}.{slip}"
                )
        if not np.array_equal(masks[0], masks[1]):
            fail(
                "The same seed gave two different splits: make the generator inside, "
                "with np.random.default_rng(seed)."
            )
        if np.array_equal(masks[0], masks[2]) and np.array_equal(masks[0], masks[3]):
            fail("Three seeds gave the same split: is the seed used?")
    return (
        "No group has a foot on either side. What is held out is now new in every "
        "sense, and the score can be believed."
    )


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
    """Check the switches of a small network, and the count of its free numbers.

    Parameters
    ----------
    answer : callable
        ``freeze_first(model, n)``, which sets the switches and returns one number.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a layer has the wrong switch, or the number is another.
    """
    # Sizes of the arrays that each layer can learn, and of those it cannot.
    learned = [0, 3 * 3 * 3 * 4 + 4, 4 + 4, 0, 4 * 6 + 6, 6 * 5 + 5, 5 * 2 + 2]
    for n, frozen_before in ((3, False), (5, True), (1, False), (0, True)):
        model = _small_network()
        for layer in model.layers:
            layer.trainable = not frozen_before
        got = answer(model, n)
        if not model.trainable:
            fail(
                "You switched the whole model off, and then no switch of a layer "
                "counts. Set `layer.trainable`, not `model.trainable`."
            )
        switches = [bool(layer.trainable) for layer in model.layers]
        n_layers = len(switches)
        given = f"a network of {n_layers} layers and n = {n}"
        expected = [False] * n + [True] * (n_layers - n)
        if switches != expected:
            if switches == [not switch for switch in expected]:
                fail(f"For {given} you froze the others: the first {n} are to freeze.")
            if not any(switches):
                slip = "All layers are frozen afterwards; nothing can learn."
                if frozen_before:
                    slip += (
                        " Layers may come frozen: switch the rest on, one by one "
                        "(`model.trainable = True` does not reach them)."
                    )
                fail(f"For {given}: {slip}")
            if all(switches):
                fail(f"For {given}: no layer is frozen. Is `layer.trainable` set?")
            if switches == expected[::-1]:
                fail(f"For {given} you froze the last {n}; freeze the first.")
            n_frozen = switches.index(True)
            if abs(n_frozen - n) == 1 and all(switches[n_frozen:]):
                fail(
                    f"For {given} you froze {n_frozen}. Off by one: layers are counted "
                    "from 0."
                )
            fail(
                f"For {given} I expected {n} frozen layers, then trainable ones; the "
                f"switches are {switches}."
            )
        number = expect_number("freeze_first", got)
        free = sum(learned[n:])
        if number == free:
            continue
        if number == sum(learned):
            fail(f"For {given} you counted the frozen numbers too.")
        if number == model.count_params():
            fail(
                f"For {given} you counted everything, the frozen layers and the "
                "running means of batch normalisation too; use trainable_weights."
            )
        if number == len(model.trainable_weights):
            fail(f"For {given} you counted the arrays; count the numbers in them.")
        if number == sum(sum(w.shape) for w in model.trainable_weights):
            fail(
                f"For {given} you added up the shapes; multiply: an array of shape "
                "(3, 4) holds 12 numbers."
            )
        if number in (sum(learned[:n]), model.count_params() - free):
            fail(f"For {given} you counted the frozen numbers; I asked for the others.")
        if number in (n, n_layers - n):
            fail(f"For {given} you counted layers; count the numbers in their arrays.")
        fail(f"For {given} {free:,} numbers can be adjusted; you returned {number:,g}.")
    return (
        "Frozen layers keep what they learned from a million photos; the others may "
        "adapt. Compile afterwards: that is when Keras looks at the switches."
    )


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
    """Check a classifier on held-out folds of its own.

    Parameters
    ----------
    answer : callable
        ``train_head(x_train, y_train)``, a function from features to labels.
    features : array of shape (n, n_columns)
        One row a photo.
    labels, groups : int arrays of shape (n,)
        The photos' classes, and the same number for near-duplicates.

    Returns
    -------
    str
        What was shown, with the mean accuracy.

    Raises
    ------
    ExerciseError
        When the classifier misses the bar, answers one class, or has seen what was
        held out.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    features, labels = np.asarray(features, np.float32), np.asarray(labels)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=45)
    rng = np.random.default_rng(45)
    scores, guesses = [], []
    for number, (fit, held_out) in enumerate(folds.split(features, labels, groups)):
        truth = labels[held_out]
        guess = _learn(answer, features[fit], labels[fit], features[held_out])
        guesses.append(guess)
        scores.append(float((guess == truth).mean()))
        if number == 0:
            _ask_otherwise(answer, features[fit], labels[fit], features[held_out])
            # A model that learns only from what is given cannot be right about photos
            # whose labels were handed out at random.
            random_labels = rng.permutation(labels[fit])
            taught = _learn(answer, features[fit], random_labels, features[held_out])
            share = float((taught == truth).mean())
            if share > 0.8 and len(truth) >= 10:
                fail(
                    f"I taught your head labels at random, and it was right about "
                    f"{share:.0%} of the held-out photos. It has seen them: use only "
                    "x_train and y_train, not `features` or `labels`."
                )
    if len(np.unique(np.concatenate(guesses))) == 1:
        fail(
            f"It answers {guesses[0][0]} for every photo, which is right for "
            f"{np.mean(scores):.0%}. Does it learn from y_train?"
        )
    mean = float(np.mean(scores))
    chance = np.bincount(labels).max() / len(labels)
    if mean < chance + 0.1:
        fail(
            f"Held-out accuracy is {mean:.3f}, no better than guessing. Is it fitted, "
            "on rows that belong to their labels, and are its answers those labels?"
        )
    if mean < BAR:
        fail(
            f"Held-out accuracy is {mean:.3f} over five folds, and the bar is {BAR}. "
            "A hundred rows cannot feed a complicated model: try a linear one, with "
            "all columns."
        )
    return (
        f"{mean:.3f} over five folds that you have not seen. The network did the hard "
        "part a long time ago; your head reads it off."
    )


def _learn(answer: Answer, x: Any, y: Any, asked: np.ndarray) -> np.ndarray:
    """Train the student's head and ask it, or say what is wrong with its form."""
    predict = answer(x.copy(), y.copy())
    if predict is None:
        fail("train_head returned None: does its last line begin with `return`?")
    if not callable(predict):
        hint = " Return `model.predict`, without brackets."
        if hasattr(predict, "predict"):
            hint = " Return its predict method: `return model.predict`."
        fail(f"train_head must return a function, yours is no function.{hint}")
    got = predict(asked.copy())
    if got is not None and np.asarray(got).dtype.kind in "OUS":
        fail("Your head returns names; return labels as y_train has them, numbers.")
    got = as_array("Your head", got)
    if got.ndim == 2 and got.shape[0] == len(asked) and got.shape[1] > 1:
        fail(
            f"Your head returned shape {got.shape}: probabilities? Return the label, "
            "the column with the highest."
        )
    if got.shape == (len(asked), 1):
        got = got[:, 0]
    got = expect_shape("Your head", got, (len(asked),), given=f"{len(asked)} photos")
    if (got != np.round(got)).any():
        broken = got[got != np.round(got)][0]
        fail(
            f"Your head answers {broken:.2f}; labels are whole numbers. Is it a "
            "regression that predicts amounts? Take a classifier."
        )
    return got


def _ask_otherwise(answer: Answer, x: Any, y: Any, asked: np.ndarray) -> None:
    """Ask about the same photos in another order, and about some alone."""
    predict = answer(x.copy(), y.copy())

    def ask(rows: np.ndarray) -> np.ndarray:
        return np.asarray(predict(rows.copy())).reshape(len(rows))

    together, backwards = ask(asked), ask(asked[::-1])
    if len(np.unique(together)) == 1:
        return
    if np.array_equal(together, backwards):
        fail(
            "Your head gives the same answers in the same order whatever the photos: "
            "does its function look at its argument?"
        )
    alone = np.array([ask(asked[[row]])[0] for row in range(min(6, len(asked)))])
    if not np.array_equal(alone, together[: len(alone)]):
        fail(
            "A photo that comes alone gets another label than in company. Does your "
            "head scale by the photos it is asked about? Learn the scaling from "
            "x_train."
        )


def _small_network() -> Any:
    keras = import_keras()
    layers = keras.layers

    inputs = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(6)(x)
    x = layers.Dense(5)(x)
    return keras.Model(inputs, layers.Dense(2)(x))


summary = summary_of(__name__)
