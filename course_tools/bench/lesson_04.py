"""Lesson 04 at full size: features, fine-tuning to the end, the recipe, from scratch.

Every system is tested on the same five folds, so that each photo is held out once; the
intervals are bootstraps over photos. Results are stored for the lesson after each
system. `--animals` and `--v1` add the photos and the network of the original recipe.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_tools.bench import store, table
from course_utils.data import load_mobilenet_v2, load_photos, scale_pixels
from course_utils.evaluation import (
    Interval,
    accuracy,
    bootstrap,
    mean_interval,
    paired_bootstrap,
)
from course_utils.frameworks import import_keras

import numpy as np

SIZE, SMALL = 224, 96
STAGES = (
    ("Conv_1",),
    ("block_16",),
    ("block_13", "block_14", "block_15"),
    ("",),  # every layer
)
RATE, DECAY = 3e-4, 0.3
COLUMNS = ("system", "accuracy", "low", "high")
Fold = tuple[np.ndarray, np.ndarray]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options to those of ``course bench``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    group = parser.add_argument_group("lesson 04")
    group.add_argument(
        "--animals", metavar="FOLDER", help="cats, dogs and horses from this folder"
    )
    group.add_argument(
        "--v1", type=Path, metavar="FILE", help="MobileNet V1, weights without top"
    )
    group.add_argument(
        "--alpha", type=float, default=1.0, help="width of that V1 (default: 1)"
    )
    group.add_argument(
        "--trial", action="store_true", help="one epoch each, two folds, nothing stored"
    )


def run(options: argparse.Namespace) -> None:
    """Measure, print and, with ``--store``, keep one table for each set of photos.

    Parameters
    ----------
    options : argparse.Namespace
        Those of `add_options`.
    """
    import course_utils

    course_utils.setup()
    command = "course bench 4 --store"
    command += " --animals FOLDER" * (options.animals is not None)
    if options.v1:
        command += f" --v1 FILE --alpha {options.alpha:g}"
    for name, source in (("shipped", "shipped"), ("animals", options.animals)):
        if source is None:
            print("Lesson 04, animals: left out, as --animals is not given.")
            continue
        work = _Work.on(source, command, name, options.trial)
        work.frozen("V2", "imagenet", 1.0)
        if options.v1:
            work.frozen(f"V1 {options.alpha:g}", options.v1, options.alpha)
            work.compare(
                "V2, frozen features", f"V1 {options.alpha:g}, frozen features"
            )
        work.recipe()
        if name == "shipped":
            work.scratch()
            work.tuned(last=2)
            work.tuned(last=len(STAGES))


@dataclass
class _Work:
    """Photos, folds, and what was measured on them."""

    name: str
    command: str
    trial: bool
    labels: np.ndarray
    folds: Sequence[Fold]
    pixels: dict[int, np.ndarray]
    answers: dict[str, np.ndarray] = field(default_factory=dict)
    rows: list[list[Any]] = field(default_factory=list)
    start: float = field(default_factory=time.perf_counter)

    @classmethod
    def on(cls, source: str, command: str, name: str, trial: bool) -> _Work:
        from sklearn.model_selection import StratifiedGroupKFold

        photos = load_photos(source)
        labels = np.concatenate([photos.train_labels, photos.test_labels])
        groups = np.concatenate([photos.train_groups, photos.test_groups])
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=0)
        folds = list(splitter.split(labels, labels, groups))[: 2 if trial else 5]
        pixels = {size: _read(photos, size) for size in (SIZE, SMALL)}
        return cls(name, command, trial, labels, folds, pixels)

    def epochs(self, wanted: int) -> int:
        return 1 if self.trial else wanted

    def note(self, system: str, found: Interval) -> None:
        """Keep a row, print it, and store the table as it stands."""
        self.rows.append(
            [system, *(round(x, 3) for x in (found.value, found.low, found.high))]
        )
        seconds = f"{time.perf_counter() - self.start:.0f} s"
        print(table([[f"{self.name}: {system}", f"{found}", seconds]]), flush=True)
        if not self.trial:
            store(f"04_{self.name}", self.command, COLUMNS, self.rows)

    def judge(self, system: str, answers: np.ndarray) -> None:
        """Note the accuracy over the photos that were held out."""
        self.answers[system] = answers
        rows = np.concatenate([held_out for _, held_out in self.folds])
        self.note(system, bootstrap(self.labels[rows], answers[rows]))

    def compare(self, first: str, second: str) -> None:
        rows = np.concatenate([held_out for _, held_out in self.folds])
        a, b = self.answers[first][rows], self.answers[second][rows]
        found = paired_bootstrap(self.labels[rows], a, b)
        self.note(f"{first} − {second}", found)

    def frozen(self, title: str, weights: Any, alpha: float) -> None:
        """Logistic regression on features of a frozen network."""
        from sklearn.linear_model import LogisticRegression

        base = load_mobilenet_v2(False, (SIZE, SIZE, 3), weights=weights, alpha=alpha)
        x = _outputs(base, scale_pixels(self.pixels[SIZE], weights)).mean(axis=(1, 2))
        answers = np.empty_like(self.labels)
        for fit, held_out in self.folds:
            head = LogisticRegression(max_iter=2_000).fit(x[fit], self.labels[fit])
            answers[held_out] = head.predict(x[held_out])
        self.judge(f"{title}, frozen features", answers)

    def recipe(self) -> None:
        """Score the recipe as it claims, in inference mode, and recomputed."""
        keras = import_keras()
        x, y = scale_pixels(self.pixels[SMALL]), self.labels
        scores: list[tuple[float, ...]] = []
        held, mended = np.empty_like(y), np.empty_like(y)
        for seed, (fit, out) in enumerate(self.folds):
            keras.backend.clear_session()
            keras.utils.set_random_seed(seed)
            base = load_mobilenet_v2(False, (SMALL, SMALL, 3))
            z = keras.layers.GlobalAveragePooling2D()(base.output)
            for units in (1024, 1024, 512):
                z = keras.layers.Dense(units, activation="relu")(z)
            z = keras.layers.Dense(int(y.max()) + 1, activation="softmax")(z)
            model = keras.Model(base.input, z)
            ask = functools.partial(_answers, model)
            for number, layer in enumerate(model.layers):
                layer.trainable = number >= 20
            history = _fit(model, 1e-3, x[fit], y[fit], self.epochs(5))
            parts = [history.history["accuracy"][-1], accuracy(y[fit], ask(x[fit]))]
            held[out] = ask(x[out])
            _recompute_averages(model, x[np.random.default_rng(0).permutation(fit)])
            scores.append((*parts, accuracy(y[fit], ask(x[fit]))))
            mended[out] = ask(x[out])
        claimed, after, again = np.array(scores).T
        self.note("recipe, training, while training", mean_interval(claimed))
        self.note("recipe, training, afterwards", mean_interval(after))
        self.note("recipe, training, recomputed", mean_interval(again))
        changed = mean_interval(again - after)
        self.note("recipe, training, recomputed − afterwards", changed)
        self.judge("recipe, held-out, afterwards", held)
        self.judge("recipe, held-out, recomputed", mended)
        self.compare("recipe, held-out, recomputed", "recipe, held-out, afterwards")
        self.compare("V2, frozen features", "recipe, held-out, recomputed")

    def scratch(self) -> None:
        """Train a small convolutional network of its own, with augmentation."""
        keras = import_keras()
        layers = keras.layers
        x, y = scale_pixels(self.pixels[SMALL]), self.labels
        answers = np.empty_like(y)
        for seed, (fit, out) in enumerate(self.folds):
            keras.backend.clear_session()
            keras.utils.set_random_seed(seed)
            model = keras.Sequential([layers.Input((SMALL, SMALL, 3)), *_changes()])
            for filters in (16, 32, 64, 128):
                model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
                model.add(layers.MaxPooling2D())
            model.add(layers.GlobalAveragePooling2D())
            model.add(layers.Dropout(0.3))
            model.add(layers.Dense(int(y.max()) + 1, activation="softmax"))
            _fit(model, 2e-3, x[fit], y[fit], self.epochs(40))
            answers[out] = _outputs(model, x[out]).argmax(axis=1)
        self.judge("from scratch, 40 epochs", answers)
        self.compare("V2, frozen features", "from scratch, 40 epochs")

    def tuned(self, last: int) -> None:
        """Unfreeze stage by stage, each at a smaller rate than the one before."""
        from sklearn.linear_model import LogisticRegression

        keras = import_keras()
        layers, y = keras.layers, self.labels
        x, answers = scale_pixels(self.pixels[SIZE]), np.empty_like(self.labels)
        whole = last == len(STAGES)
        for seed, (fit, out) in enumerate(self.folds):
            keras.backend.clear_session()
            keras.utils.set_random_seed(seed)
            base = load_mobilenet_v2(False, (SIZE, SIZE, 3))
            for layer in base.layers:
                layer.trainable = False
            block = "block_12_add" if whole else "block_15_add"
            cut = base.get_layer(block).output
            maps = _outputs(keras.Model(base.input, cut), x)
            tail = keras.Model(cut, base.output)
            vectors = _outputs(tail, maps).mean(axis=(1, 2))
            first = LogisticRegression(max_iter=2_000).fit(vectors[fit], y[fit])
            head = layers.Dense(int(y.max()) + 1, activation="softmax")
            inputs = layers.Input(cut.shape[1:])
            pooled = layers.GlobalAveragePooling2D()(tail(inputs, training=False))
            model = keras.Model(inputs, head(layers.Dropout(0.2)(pooled)))
            head.set_weights([first.coef_.T, first.intercept_])
            for stage, names in enumerate(STAGES[:last]):
                given = maps
                if names == ("",):  # the cached maps serve no longer
                    inputs = layers.Input((SIZE, SIZE, 3))
                    z = base(_changes()[0](inputs), training=False)
                    pooled = layers.GlobalAveragePooling2D()(z)
                    model = keras.Model(inputs, head(layers.Dropout(0.2)(pooled)))
                    given = x
                for layer in base.layers:
                    norm = isinstance(layer, layers.BatchNormalization)
                    layer.trainable |= layer.name.startswith(names) and not norm
                rate = RATE * DECAY**stage
                _fit(model, rate, given[fit], y[fit], self.epochs(3))
            answers[out] = _outputs(model, given[out]).argmax(axis=1)
        title = "all layers" if whole else "last two blocks"
        self.judge(f"V2, {title} tuned", answers)
        self.compare(f"V2, {title} tuned", "V2, frozen features")


def _read(photos: Any, size: int) -> np.ndarray:
    """Read all photos, train before test: (n, size, size, 3), 0 to 255."""
    keras = import_keras()
    parts = []
    for folder in (photos.train, photos.test):
        dataset = keras.utils.image_dataset_from_directory(
            folder,
            image_size=(size, size),
            crop_to_aspect_ratio=True,
            batch_size=None,
            shuffle=False,
            verbose=False,
        )
        parts.append(np.stack([pixels for pixels, _ in dataset]))
    return np.concatenate(parts)


def _outputs(model: Any, x: np.ndarray) -> np.ndarray:
    """Compute outputs in inference mode, a few photos at a time."""
    parts = np.array_split(x, max(1, len(x) // 8))
    return np.concatenate([np.asarray(model(part, training=False)) for part in parts])


def _answers(model: Any, x: np.ndarray) -> np.ndarray:
    """Most probable class of each photo, in inference mode."""
    return _outputs(model, x).argmax(axis=1)


def _changes() -> list[Any]:
    """Augmentation, as layers."""
    layers = import_keras().layers
    return [
        layers.RandomFlip("horizontal", seed=1),
        layers.RandomRotation(0.05, fill_mode="nearest", seed=2),
        layers.RandomZoom((-0.2, 0.05), fill_mode="nearest", seed=3),
    ]


def _fit(model: Any, rate: float, x: np.ndarray, y: np.ndarray, epochs: int) -> Any:
    adam = import_keras().optimizers.Adam(rate)
    adam.build(model.trainable_variables)  # else its first step is traced twice
    model.compile(
        adam, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )
    return model.fit(x, y, batch_size=16, epochs=epochs, verbose=0)


def _recompute_averages(model: Any, x: np.ndarray) -> None:
    """Set batch normalisation's running averages to the means over these photos."""
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, import_keras().layers.BatchNormalization)
    ]
    for step, part in enumerate(np.array_split(x, max(1, len(x) // 16))):
        for layer in norms:
            layer.momentum = step / (step + 1)
        model(part, training=True)
