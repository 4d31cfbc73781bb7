"""The layer that looks up and averages in one step computes what two layers do."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")


def _trained(*first):
    from keras import layers

    keras.utils.set_random_seed(1)
    model = keras.Sequential([*first, layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.SGD(0.5), loss="binary_crossentropy")
    return model


def _reviews():
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 30, (64, 9))
    ids[np.arange(9) < rng.integers(0, 8, (64, 1))] = 0
    return ids, rng.integers(0, 2, 64)


def test_it_answers_and_learns_as_embedding_and_masked_average_do():
    from course_utils.embedding_bag import EmbeddingBag

    from keras import layers

    ids, labels = _reviews()
    two = layers.Embedding(30, 4, mask_zero=True), layers.GlobalAveragePooling1D()
    apart, bag = _trained(*two), _trained(EmbeddingBag(30, 4))
    apart.build(ids.shape)
    bag.build(ids.shape)
    bag.set_weights(apart.get_weights())
    for _ in range(2):
        expected = apart.predict(ids, verbose=0)
        np.testing.assert_allclose(bag.predict(ids, verbose=0), expected, atol=1e-6)
        for model in (apart, bag):
            model.fit(ids, labels, batch_size=16, shuffle=False, verbose=0)
    for one, other in zip(apart.get_weights(), bag.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_text_without_words_gets_zeros():
    from course_utils.embedding_bag import EmbeddingBag

    ids = np.array([[0, 0, 0], [0, 5, 5]])
    layer = EmbeddingBag(6, 3)
    vectors = np.asarray(layer(ids))
    np.testing.assert_array_equal(vectors[0], 0)
    np.testing.assert_allclose(vectors[1], layer.get_weights()[0][5], rtol=1e-6)


def test_a_saved_network_with_it_loads(tmp_path):
    from course_utils.embedding_bag import EmbeddingBag

    ids, _ = _reviews()
    model = _trained(EmbeddingBag(30, 4))
    expected = model.predict(ids, verbose=0)
    model.save(tmp_path / "bag.keras")
    loaded = keras.models.load_model(tmp_path / "bag.keras")
    np.testing.assert_allclose(loaded.predict(ids, verbose=0), expected, atol=1e-6)
