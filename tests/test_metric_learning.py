"""The losses are what their formulas say, and so are their slopes."""

from __future__ import annotations

import math

from course_utils.metric_learning import contrastive, supervised_contrastive

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

LABELS = {
    "some equal": [0, 1, 0, 2, 1, 0, 7],
    "all equal": [3, 3, 3, 3, 3, 3, 3],
    "all different": [0, 1, 2, 3, 4, 5, 6],
    "two": [1, 1],
    "one": [4],
}
each_batch = pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
LOSSES = {
    "contrastive": contrastive,
    "supervised contrastive": supervised_contrastive,
}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def vectors(n: int, dim: int = 5, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(n, dim))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def literal_contrastive(labels, z, margin=1.0):
    """One pair after the other."""
    losses = []
    for i in range(len(z)):
        cost, pairs = 0.0, 0
        for j in range(len(z)):
            if i == j:
                continue
            distance = math.sqrt(
                sum((a - b) ** 2 for a, b in zip(z[i], z[j], strict=True))
            )
            if labels[i] == labels[j]:
                cost += distance**2
            else:
                cost += max(0.0, margin - distance) ** 2
            pairs += 1
        losses.append(cost / pairs if pairs else 0.0)
    return np.array(losses)


def literal_supervised_contrastive(labels, z, temperature=0.1):
    """Equation 2 of Khosla et al., term by term."""
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        total = 0.0
        for p in positives:
            above = math.exp(sum(z[i] * z[p]) / temperature)
            below = sum(math.exp(sum(z[i] * z[a]) / temperature) for a in others)
            total += math.log(above / below)
        losses.append(-total / len(positives) if positives else 0.0)
    return np.array(losses)


def value(loss, labels, z, **options):
    z = np.asarray(z)
    given = loss(ops.convert_to_tensor(labels), ops.convert_to_tensor(z), **options)
    return ops.convert_to_numpy(given)


def slope(loss, labels, z, **options):
    held = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(held)
        total = ops.sum(loss(ops.convert_to_tensor(labels), held, **options))
    return tape.gradient(total, held).numpy()


@each_batch
@pytest.mark.parametrize("margin", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_contrastive_agrees_with_its_formula(labels, margin, dtype):
    z = vectors(len(labels))
    got = value(contrastive, labels, z.astype(dtype), margin=margin)
    expected = literal_contrastive(labels, z, margin)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@each_batch
@pytest.mark.parametrize("temperature", [0.07, 0.1, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_supervised_contrastive_agrees_with_its_formula(labels, temperature, dtype):
    z = vectors(len(labels))
    got = value(
        supervised_contrastive, labels, z.astype(dtype), temperature=temperature
    )
    expected = literal_supervised_contrastive(labels, z, temperature)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@each_loss
@each_batch
def test_the_slope_agrees_with_numerical_differences(loss, labels):
    z = vectors(len(labels), seed=1)
    got, step = slope(loss, labels, z), 1e-5
    for place in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[place] += step
        down[place] -= step
        rise = value(loss, labels, up).sum() - value(loss, labels, down).sum()
        assert abs(got[place] - rise / (2 * step)) < 1e-5, place


@each_loss
@each_batch
@pytest.mark.parametrize("place", ["spread", "one point", "origin"])
def test_value_and_slope_are_finite_on_the_oddest_batches(loss, labels, place):
    z = vectors(len(labels)).astype("float32")
    if place == "one point":
        z[:] = z[0]
    if place == "origin":
        z[:] = 0
    assert np.isfinite(value(loss, labels, z)).all()
    assert np.isfinite(slope(loss, labels, z)).all()


def test_a_small_temperature_does_not_overflow():
    z = vectors(6).astype("float32")
    got = value(supervised_contrastive, [0, 0, 1, 1, 2, 2], z, temperature=1e-3)
    assert np.isfinite(got).all() and got.max() > 10


@each_loss
@each_batch
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("scale", [1, 100])
def test_half_precision_gives_the_value_of_its_vectors_in_single(
    loss, labels, dtype, scale
):
    z = ops.cast(scale * vectors(len(labels)), dtype)
    wide = np.asarray(ops.cast(z, "float32"))
    np.testing.assert_array_equal(loss(np.array(labels), z), value(loss, labels, wide))
    with tf.GradientTape() as tape:
        tape.watch(z)
        total = ops.sum(loss(np.array(labels), z))
    assert np.isfinite(np.asarray(tape.gradient(total, z), "float32")).all()


@each_loss
def test_half_precision_arrays_and_networks_are_taken_too(loss):
    labels, z = np.array(LABELS["some equal"]), vectors(7).astype("float16")
    assert np.isfinite(np.asarray(loss(labels, z))).all()
    network = keras.Sequential(
        [keras.layers.Input((5,)), keras.layers.Dense(4, dtype="mixed_float16")]
    )
    network.compile("adam", loss, jit_compile=False)
    network.fit(z, labels, epochs=3, verbose=0)
    assert np.isfinite(network.evaluate(z, labels, verbose=0))


LARGE = [2**24, 2**31, 2**40, 10**17]


@each_loss
@pytest.mark.parametrize("start", LARGE)
def test_large_whole_labels_are_kept_apart(loss, start):
    labels, z = np.array(LABELS["some equal"]), vectors(7)
    expected = value(loss, labels, z)
    np.testing.assert_array_equal(value(loss, start + labels, z), expected)


@each_loss
@pytest.mark.parametrize(
    ("start", "dtype"),
    [(2**24, "float32"), (-(2**24), "float32"), (2**53, "float64"), (2**11, "float16")],
)
def test_labels_that_may_have_become_equal_are_refused(loss, start, dtype):
    labels, z = np.array([0, 1, 0], dtype), vectors(3)
    assert np.isfinite(value(loss, labels, z)).all()
    with pytest.raises(ValueError, match="number them from 0"):
        value(loss, labels + np.array(start, dtype), z)


@each_loss
@pytest.mark.parametrize("start", [2**24, 2**40])
@pytest.mark.parametrize("eager", [True, False])
def test_keras_makes_no_large_labels_equal_in_silence(loss, start, eager):
    x, labels = vectors(6, 8), np.array([0, 1, 0, 2, 1, 0])
    network = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(4)])
    network.compile("adam", loss, jit_compile=False, run_eagerly=eager)
    for step in (network.fit, network.evaluate):
        with pytest.raises(
            (ValueError, tf.errors.InvalidArgumentError), match="number them from 0"
        ):
            step(x, start + labels, verbose=0)
    step(x, 2**24 - 10 + labels, verbose=0)
    network.compile("adam", loss, jit_compile=True)
    assert np.isnan(network.evaluate(x, start + labels, verbose=0))


def test_without_positives_there_is_nothing_to_pull():
    assert value(supervised_contrastive, [0, 1, 2], vectors(3)).tolist() == [0, 0, 0]


@each_loss
def test_labels_may_come_as_a_column_and_in_any_order(loss):
    labels, z = np.array(LABELS["some equal"]), vectors(7)
    expected = value(loss, labels, z)
    np.testing.assert_allclose(value(loss, labels[:, None], z), expected)
    order = np.random.default_rng(2).permutation(7)
    np.testing.assert_allclose(value(loss, labels[order], z[order]), expected[order])


@each_loss
def test_training_brings_equal_labels_together(loss):
    keras.utils.set_random_seed(0)
    labels = np.repeat([0, 1, 2], 20)
    x = np.random.default_rng(3).normal(size=(60, 8)).astype("float32")
    x[:, 0] += labels
    network = keras.Sequential(
        [
            keras.layers.Input((8,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(4),
            keras.layers.UnitNormalization(),
        ]
    )
    network.compile("adam", loss, jit_compile=False)
    before = network.evaluate(x, labels, batch_size=60, verbose=0)
    network.fit(x, labels, batch_size=60, epochs=40, verbose=0)
    assert network.evaluate(x, labels, batch_size=60, verbose=0) < 0.9 * before


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@each_loss
def test_a_compiled_network_can_be_cloned_saved_and_loaded(loss, tmp_path):
    network = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(4)])
    network.compile("adam", loss, jit_compile=False)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    x, labels = vectors(6, 8), np.array([0, 1, 0, 2, 1, 0])
    for other in (keras.models.clone_model(network), loaded):
        other.set_weights(network.get_weights())
        np.testing.assert_array_equal(
            other.predict(x, verbose=0), network.predict(x, verbose=0)
        )
    assert loaded.evaluate(x, labels, verbose=0) == network.evaluate(
        x, labels, verbose=0
    )


@pytest.mark.parametrize("wrong", [0, -1.0, math.nan])
def test_a_margin_or_temperature_that_makes_no_sense_is_refused(wrong):
    z = vectors(2)
    with pytest.raises(ValueError, match="above 0"):
        contrastive([0, 1], z, margin=wrong)
    with pytest.raises(ValueError, match="above 0"):
        supervised_contrastive([0, 1], z, temperature=wrong)
