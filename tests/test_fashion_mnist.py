"""Garments come as their docstring promises, from real files."""

from __future__ import annotations

import gzip
import struct

from course_utils.data import (
    FASHION_MNIST_CLASSES,
    load_fashion_mnist,
    load_garment_vectors,
)
from course_utils.data import fashion_mnist as module
from course_utils.data.fashion_mnist import read_idx, write_garment_vectors
from course_utils.errors import DataError

import numpy as np
import pytest


@pytest.fixture(scope="module")
def garments():
    return load_fashion_mnist()


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    head = bytes([0, 0, kind, array.ndim])
    return head + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_pictures_and_labels_are_complete_bytes_in_two_halves(garments):
    (x_train, y_train), (x_test, y_test) = garments
    assert x_train.shape == (60_000, 28, 28) and y_train.shape == (60_000,)
    assert x_test.shape == (10_000, 28, 28) and y_test.shape == (10_000,)
    assert {part.dtype for half in garments for part in half} == {np.dtype(np.uint8)}
    assert x_train.min() == 0 and x_train.max() == 255


def test_each_class_is_a_tenth_of_either_half(garments):
    (_, y_train), (_, y_test) = garments
    assert len(FASHION_MNIST_CLASSES) == 10
    assert np.bincount(y_train).tolist() == [6_000] * 10
    assert np.bincount(y_test).tolist() == [1_000] * 10


def test_a_picture_stands_beside_its_own_label(garments):
    (x_train, y_train), _ = garments
    name = [FASHION_MNIST_CLASSES[label] for label in y_train[:4]]
    assert name == ["ankle boot", "T-shirt/top", "T-shirt/top", "dress"]
    ink = {
        FASHION_MNIST_CLASSES[label]: x_train[y_train == label].mean()
        for label in range(10)
    }
    assert min(ink, key=ink.get) == "sandal"
    trousers = x_train[y_train == 1].mean(axis=0)
    assert trousers[20, 4] < 10 < 100 < trousers[5, 14]


def test_arrays_may_be_written_to(garments):
    (x_train, _), _ = garments
    assert x_train.flags.writeable and x_train.flags.c_contiguous


@pytest.mark.parametrize("shape", [(5,), (3, 4, 2), (0, 28, 28)])
def test_an_array_is_read_back_as_it_was_written(tmp_path, shape):
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / "some.gz"
    path.write_bytes(gzip.compress(idx(values)))
    read = read_idx(path)
    assert read.shape == shape and np.array_equal(read, values)


VALUES = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(idx(VALUES)[:-1]), "announces an array of shape (3, 4)"),
        (gzip.compress(idx(VALUES) + b"x"), "holds 13 values"),
        (gzip.compress(idx(VALUES, kind=13)), "unsigned bytes"),
        (gzip.compress(b""), "unsigned bytes"),
        (gzip.compress(bytes([0, 0, 8, 3, 0, 0])), "announces"),
        (gzip.compress(idx(VALUES))[:-9], "not a complete gzip file"),
        (idx(VALUES), "not a complete gzip file"),
    ],
    ids=["short", "long", "floats", "empty", "cut head", "cut gzip", "no gzip"],
)
def test_a_file_that_holds_something_else_is_refused_in_one_sentence(
    tmp_path, content, words
):
    path = tmp_path / "some.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_vectors_that_the_course_brings_find_garments_of_the_same_label(garments):
    (_, y_train), (_, y_test) = garments
    train, test = load_garment_vectors()
    assert train.shape == (60_000, 32) and test.shape == (10_000, 32)
    assert train.dtype == test.dtype == np.float32
    for rows in (train, test):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    nearest = (test[:1_000] @ train.T).argmax(axis=1)
    assert np.mean(y_train[nearest] == y_test[:1_000]) > 0.9


def test_vectors_are_read_back_as_written_and_refused_when_changed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "DATA", tmp_path)
    monkeypatch.setattr(module, "HALVES", {"train": 6, "test": 2})
    rows = np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with pytest.raises(DataError, match="cannot be read"):
        load_garment_vectors()
    with pytest.raises(ValueError, match="expected"):
        write_garment_vectors(rows[:5], rows[6:])
    write_garment_vectors(rows[:6], rows[6:])
    train, test = load_garment_vectors()
    np.testing.assert_allclose(np.concatenate([train, test]), rows, atol=1e-3)
    with open(tmp_path / module.VECTORS / "test.npy", "r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x01")
    with pytest.raises(DataError, match="failed its checksum"):
        load_garment_vectors()
