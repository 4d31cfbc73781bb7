"""Exercises 4.5 and 4.6: photos that are changed, and a network tuned on photos."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from course_utils.checks.core import as_array, exercise, fail
from course_utils.evaluation import accuracy, bootstrap, paired_bootstrap

import numpy as np

Answer = Callable[..., Any]
N_FOLDS = 2  # held out by the check of 4.6: two fifths of the photos


@exercise(
    "4.5",
    hints=[
        "`rng.random(len(photos)) < 0.5` flips a coin for each photo; "
        "`photos[:, :, ::-1]` are mirrored photos: rows, then columns.",
        "Factors of shape (n, 1, 1, 1) multiply whole photos: `rng.uniform(0.8, 1.2, "
        "(len(photos), 1, 1, 1))`.",
        "`out = photos * factors; out[coins] = out[coins][:, :, ::-1]; return "
        "np.clip(out, 0, 255)`",
    ],
)
def augment(answer: Answer) -> str:
    """Check photos one by one: mirrored or not, and one factor each."""
    photos = np.random.default_rng(45).uniform(20, 200, (240, 5, 4, 3))
    photos = photos.astype(np.float32)
    got = _augmented(answer, photos, 1)
    mirrored, factors = _what_was_done(photos, got)
    share = float(mirrored.mean())
    if share in (0, 1):
        which = "No photo is" if share == 0 else "All photos are"
        fail(f"{which} mirrored; flip a coin for each photo.")
    if not 0.35 < share < 0.65:
        fail(f"{share:.0%} of 240 photos are mirrored; I expected about half.")
    _judge_factors(mirrored, factors)
    bright = _augmented(answer, np.full((240, 2, 2, 3), 250, np.float32), 2)
    if bright.max() > 255.01:
        fail(
            f"A bright photo became {bright.max():.0f}; pixels end at 255: "
            "`np.clip(out, 0, 255)`."
        )
    if bright.max() < 254.9:
        fail("Bright photos became darker: cut off at 255, and nowhere else.")
    if not np.array_equal(got, _augmented(answer, photos, 1)):
        fail("The same generator gave two results: draw everything from `rng`.")
    if np.array_equal(got, _augmented(answer, photos, 3)):
        fail("Two generators gave the same result: draw from `rng`.")
    _judge_single_photos(answer, photos[:1])
    return (
        "Labels stay, pixels change: a network that sees such copies cannot rely on "
        "left and right, or on how bright a photo is."
    )


def _judge_factors(mirrored: np.ndarray, factors: np.ndarray) -> None:
    """Look at the range of the factors, their values, and mirroring beside them."""
    low, high = factors.min(), factors.max()
    if high - low < 1e-2:
        told = (
            "Brightness is unchanged"
            if abs(low - 1) < 1e-2
            else f"All photos got the same factor, {low:.2f}"
        )
        fail(f"{told}; draw a factor for each photo, from 0.8 to 1.2.")
    if low < 0.78 or high > 1.22 or high - low < 0.3:
        fail(f"Factors go from {low:.2f} to {high:.2f}; I expected 0.8 to 1.2.")
    for which, part in (("Mirrored", mirrored), ("Unmirrored", ~mirrored)):
        if np.ptp(factors[part]) < 1e-2:
            fail(
                f"{which} photos all have the factor {factors[part][0]:.2f}: every "
                "photo gets a factor of its own, whether it is mirrored or not."
            )
    ranked = np.argsort(factors)
    n_values = 1 + int((np.diff(factors[ranked]) > 1e-3).sum())
    if n_values < 12:
        fail(
            f"The factors of 240 photos take only {n_values} values; draw from the "
            "whole range, with `rng.uniform(0.8, 1.2, …)`."
        )
    shares = [float(mirrored[part].mean()) for part in np.split(ranked, 4)]
    if min(shares) < 0.2 or max(shares) > 0.8:
        fail(
            f"Of the darkest quarter of the photos {shares[0]:.0%} are mirrored, of "
            f"the brightest {shares[3]:.0%}, of those between {shares[1]:.0%} and "
            f"{shares[2]:.0%}: mirroring should not depend on the factor. Draw twice."
        )


def _judge_single_photos(answer: Answer, photo: np.ndarray) -> None:
    """Give one photo to many generators: it has no others to share with."""
    made = np.concatenate([_augmented(answer, photo, seed) for seed in range(60)])
    mirrored, factors = _what_was_done(photo.repeat(60, axis=0), made)
    if not 0.2 < mirrored.mean() < 0.8:
        fail(
            "I gave one photo alone to 60 generators; it was mirrored "
            f"{mirrored.sum()} times, and I expected about half. Flip a coin for each "
            "photo; do not divide those that came together."
        )
    if np.ptp(factors) < 0.1:
        fail("A photo that comes alone always gets the same factor; draw from `rng`.")


def _augmented(answer: Answer, photos: np.ndarray, seed: int) -> np.ndarray:
    got = as_array("augment", answer(photos.copy(), np.random.default_rng(seed)))
    if got.shape != photos.shape:
        fail(
            f"For photos of shape {photos.shape} your function returned shape "
            f"{got.shape}; it should be the same."
        )
    if got.max() < 2:
        fail(f"The brightest pixel is {got.max():.2f}; pixels go from 0 to 255.")
    return got.astype(float)


def _what_was_done(
    photos: np.ndarray, got: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Say of each photo whether it was mirrored, and its factor; or what else is."""
    inside = got < 254.5  # the others may have been cut off

    def factors_of(source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sums = [(inside * one).sum(axis=(1, 2, 3)) for one in (got, source)]
        factor = sums[0] / np.maximum(sums[1], 1e-9)
        wanted = factor[:, None, None, None] * source
        off = np.abs(np.clip(got, 0, 255) - np.clip(wanted, 0, 255))
        return off.max(axis=(1, 2, 3)) < 2, factor  # pixels may be rounded

    plain, factor = factors_of(photos)
    mirrored, other = factors_of(photos[:, :, ::-1])
    if (plain | mirrored).all():
        return mirrored, np.where(mirrored, other, factor)
    known = {
        "Some photos stand on their head: rows are axis 1, columns axis 2.": (
            photos[:, ::-1]
        ),
        "Red and blue are swapped: columns are axis 2, colours axis 3.": (
            photos[..., ::-1]
        ),
        "The photos have changed places, so their labels no longer fit.": photos[::-1],
    }
    for sentence, source in known.items():
        if factors_of(source)[0].mean() > 0.2:
            fail(sentence)
    number = int(np.argmin(plain | mirrored))
    for source in (photos[number], photos[number, :, ::-1]):
        ratio = np.where(inside[number], got[number] / source, np.nan).reshape(-1, 3)
        ratio = ratio[~np.isnan(ratio).any(axis=1)]
        if len(ratio) > 1 and (np.ptp(ratio, axis=0) < 0.05).all():
            fail("Each colour got a factor of its own; draw one for each photo.")
    fail(
        f"Photo {number} is neither the photo nor its mirror image, times one factor "
        "for all its pixels."
    )


@exercise(
    "4.6",
    hints=[
        "`x = tail(inputs)`, then GlobalAveragePooling2D and a Dense layer with "
        "`int(labels.max()) + 1` outputs and softmax: `keras.Model(inputs, x)` is the "
        "whole model.",
        "A stage: set `layer.trainable` of each layer of `tail`, compile with the "
        "stage's rate, fit. First none of them, then those whose name starts with "
        "`Conv_1`, then those of `block_16` as well; never one that is an instance of "
        "`layers.BatchNormalization`.",
        "Rates such as 3e-3, 1e-4 and 3e-5, with 10, 2 and 2 epochs. At the end: "
        "`return lambda x: np.asarray(model(x, training=False)).argmax(axis=1)`",
    ],
)
def fine_tune(answer: Answer, tail: Any, maps: Any, labels: Any, groups: Any) -> str:
    """Train on folds of its own, and compare with a head on frozen features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    maps, labels = np.asarray(maps, np.float32), np.asarray(labels)
    weights = tail.get_weights()
    parts = np.array_split(maps, -(-len(maps) // 16))  # takes less memory
    vectors = np.concatenate(
        [np.asarray(tail(part, training=False)).mean(axis=(1, 2)) for part in parts]
    )
    cv = StratifiedGroupKFold(5, shuffle=True, random_state=45)
    folds = list(cv.split(maps, labels, groups))[:N_FOLDS]

    def trained(rows: np.ndarray, y: np.ndarray) -> Answer:
        tail.set_weights(weights)
        tail.trainable = True
        for layer in tail.layers:
            layer.trainable = True
        before = _numbers_of(tail)
        ask = _asked(answer(tail, maps[rows], y[rows]))
        _judge_changes(before, _numbers_of(tail))
        return ask

    # One model is taught each class under the next one's label. One that learns only
    # from what it is given follows; one that knows the photos gives the true labels.
    classes = np.unique(labels)
    renamed = np.roll(classes, -1)[np.searchsorted(classes, labels)]
    told = [labels] * (len(folds) - 1) + [renamed]
    truth: list[np.ndarray] = []
    yours: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    try:
        for (fit, out), y in zip(folds, told, strict=True):
            ask = trained(fit, y)
            if not truth and len(np.unique(y[out])) > 1:
                _ask_otherwise(ask, maps[out], tail)
            head = LogisticRegression(max_iter=2_000)
            theirs.append(head.fit(vectors[fit], y[fit]).predict(vectors[out]))
            yours.append(ask(maps[out]))
            truth.append(y[out])
        share = (yours[-1] == labels[out]).mean()
        # Of few photos, one answer is a large share.
        if share > 1 - accuracy(truth[0], yours[0]) + 0.2 + 1 / np.sqrt(len(out)):
            fail(
                "I taught your model each class under another's label, and still it "
                f"gave {share:.0%} of the held-out photos their true one. It has seen "
                "them: use only the maps and labels it is given."
            )
        said, y = np.concatenate(yours), np.concatenate(truth)
        found = bootstrap(y, said)
        change = paired_bootstrap(y, said, np.concatenate(theirs))
        if change.high < 0:
            fail(
                f"Held-out accuracy is {found:.3f}, against frozen features "
                f"{change:+.3f}: the interval is below zero, so training did harm. Is "
                "the head trained before the tail, at a larger rate, and is the "
                "tail's rate small, such as 1e-4?"
            )
    finally:
        tail.set_weights(weights)
    return (
        f"Held-out accuracy {found:.3f} on {len(y)} photos; difference from frozen "
        f"features {change:+.3f}. Both blocks have learned, and the answers come from "
        "them; in which order and at which rates, I did not look."
    )


def _numbers_of(tail: Any) -> dict[str, list[tuple[str, np.ndarray]]]:
    """List the arrays of each layer with their names."""
    return {
        layer.name: [
            (weight.name, values)
            for weight, values in zip(layer.weights, layer.get_weights(), strict=True)
        ]
        for layer in tail.layers
    }


def _judge_changes(
    before: dict[str, list[tuple[str, np.ndarray]]],
    after: dict[str, list[tuple[str, np.ndarray]]],
) -> None:
    """Insist that both blocks have learned, and that no running average moved."""
    moved = {
        (layer, name)
        for layer, arrays in before.items()
        for (name, old), (_, new) in zip(arrays, after[layer], strict=True)
        if not np.array_equal(old, new)
    }
    if not moved:
        fail(
            "No weight of `tail` has changed. Unfreeze some of its layers after the "
            "head is trained, compile again, and fit; or did you train a copy? Train "
            "`tail` itself."
        )
    averages = {(layer, name) for layer, name in moved if name.startswith("moving_")}
    for block in ("Conv_1", "block_16"):
        if not any(layer.startswith(block) for layer, _ in moved - averages):
            fail(
                f"No weight of `{block}` has changed. Unfreeze its layers in a stage, "
                "compile again, and fit."
            )
    if averages:
        fail(
            "Running averages of batch normalisation have moved, those of "
            f"`{min(averages)[0]}` for one: it computed by the batch while you "
            "trained. Leave BatchNormalization layers frozen in each stage; `fit` "
            "overrides a training=False."
        )


def _asked(predict: Any) -> Answer:
    """Let the student's model return labels, or say what it returns instead."""
    if predict is None:
        fail("fine_tune returned None: does its last line begin with `return`?")
    if not inspect.isroutine(predict):
        fail(
            f"fine_tune returned a {type(predict).__name__}, not a function from maps "
            "to labels, such as `lambda x: np.asarray(model(x, training=False))."
            "argmax(axis=1)`."
        )

    def ask(photos: np.ndarray) -> np.ndarray:
        got = predict(photos.copy())
        if got is not None and np.asarray(got).dtype.kind in "OUS":
            fail("Your model returns names; return labels as given, numbers.")
        got = as_array("Your function", got)
        if got.shape == (len(photos), 1):
            got = got[:, 0]
        if got.shape != (len(photos),):
            slip = " Of probabilities, return the highest's label." * (got.ndim == 2)
            fail(
                f"For {len(photos)} photos your function returned shape {got.shape}."
                f"{slip}"
            )
        if (got % 1).any():
            fail(
                f"Your function answers {got[got % 1 != 0][0]:.4g}; labels are whole "
                "numbers."
            )
        return got

    return ask


def _ask_otherwise(ask: Answer, photos: np.ndarray, tail: Any) -> None:
    """Ask in another order, about some photos alone, and without the tail's numbers."""
    together = ask(photos)
    if len(np.unique(together)) == 1:
        fail(
            f"It answers {together[0]} for every photo. Was the head trained, at a "
            "rate such as 3e-3?"
        )
    if np.array_equal(together, ask(photos[::-1])):
        fail(
            "Your function gives the same answers in the same order whatever the "
            "photos: does it look at its argument?"
        )
    some = range(min(3, len(photos)))
    if sum(ask(photos[[row]])[0] != together[row] for row in some) > 1:
        fail(
            "A photo that comes alone gets another label than in company: call the "
            "model with training=False, so that batch normalisation uses its running "
            "averages."
        )
    learned = tail.get_weights()
    try:
        tail.set_weights([np.zeros_like(array) for array in learned])
        without = ask(photos)
    finally:
        tail.set_weights(learned)
    if np.array_equal(together, without):
        fail(
            "I set all weights of `tail` to zero for a moment, and your answers stayed "
            "the same: they come from elsewhere. Answer with the model that was tuned."
        )
