"""The newswires come as their docstrings promise, from real files."""

from __future__ import annotations

import re
import shutil
from types import SimpleNamespace

from course_tools.lessons import ROOT
from course_utils.checks.topic_networks import _what_next
from course_utils.data import fetch, load_reuters, reuters_topics
from course_utils.data.reuters import load_reuters_word_index
from course_utils.frameworks import import_keras

import numpy as np
import pytest

ORIGINALS = ROOT.parent / "shared" / "data"
needs_originals = pytest.mark.skipif(
    not (ORIGINALS / "reuters.npz").exists(),
    reason="the original sources' files are not beside this checkout",
)


@pytest.fixture(scope="module")
def stories():
    return load_reuters()


@pytest.fixture
def keras_copy(monkeypatch, tmp_path):
    """Stand in for the download: the published content, but not its bytes."""
    for name in ("reuters.npz", "reuters_word_index.json"):
        shutil.copy(ORIGINALS / name, tmp_path)
    monkeypatch.setattr("course_utils.data.reuters.fetch", lambda name: tmp_path)
    return tmp_path


def test_the_published_split_is_complete(stories):
    (x_train, y_train), (x_test, y_test) = stories
    assert (len(x_train), len(x_test)) == (6_532, 2_568)
    assert x_train.shape == y_train.shape and x_test.shape == y_test.shape
    assert x_train.dtype == x_test.dtype == object
    assert y_train.dtype == y_test.dtype == np.int64
    assert all(isinstance(text, str) and text for text in (*x_train, *x_test))


def test_labels_number_the_topics_in_alphabetical_order(stories):
    (_, y_train), (_, y_test) = stories
    topics = reuters_topics()
    assert len(topics) == 52 and topics == sorted(topics)
    n_train = dict(zip(topics, np.bincount(y_train, minlength=52), strict=True))
    assert n_train["earn"] == 2_840 and n_train["acq"] == 1_596
    assert n_train["platinum"] == 1 and min(n_train.values()) == 1
    assert np.bincount(y_test, minlength=52).min() >= 1


def test_a_story_stands_beside_its_own_topic(stories):
    (x_train, y_train), _ = stories
    topics = reuters_topics()
    first = [topics[label] for label in y_train[:1]]
    assert first == ["cocoa"] and x_train[0].startswith("bahia cocoa review")
    about = [topics[y] == "coffee" for x, y in zip(*stories[0], strict=True)]
    share = np.mean(["coffee" in text for text in x_train[about]])
    assert share > 0.95


def test_six_test_stories_also_stand_in_train(stories):
    (x_train, _), (x_test, _) = stories
    assert np.isin(x_test, x_train).sum() == 6


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (load_reuters, {"source": "r8"}),
        (load_reuters, {"num_words": 1_000}),
        (reuters_topics, {"source": "r8"}),
    ],
)
def test_a_wrong_argument_is_refused_in_one_sentence(call, arguments):
    with pytest.raises(ValueError, match="choose|num_words") as caught:
        call(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("accuracy", "on_train", "n_named", "rate", "optimizer", "advice"),
    [
        (0.43, 0.44, 2, 1e-3, "Adam", "hardly begun.*above your 0.001"),
        (0.43, 0.44, 2, 1e-2, "SGD", "hardly begun.*try Adam.*same order"),
        (0.30, 0.31, 30, 1e-2, "Adam", "same order"),
        (0.785, 0.839, 40, 1.0, "Adam", "rate of 1 is large"),
        (0.893, 0.956, 30, 4e-3, "Adam", "Close"),
        (0.855, 0.905, 30, 4e-3, "Adam", "more epochs"),
        (0.82, 0.99, 40, 4e-3, "Adam", "overfitting"),
        (0.80, 0.81, 30, float("nan"), "Adam", "underfitting.*more epochs"),
    ],
)
def test_below_the_bar_the_advice_fits_the_scores(
    accuracy, on_train, n_named, rate, optimizer, advice
):
    kind = type(optimizer, (), {"learning_rate": rate})
    model = SimpleNamespace(optimizer=kind(), _flatten_layers=list)
    message = _what_next(model, accuracy, on_train, n_named)
    assert re.search(advice, message) and len(message) <= 215
    assert ("underfitting" in message) == ("underfitting" in advice)


@needs_originals
def test_the_keras_copy_is_loaded_from_its_own_file(keras_copy):
    (x_train, y_train), (x_test, y_test) = load_reuters("keras", num_words=10_000)
    assert (len(x_train), len(x_test)) == (8_982, 2_246)
    assert y_train.dtype == y_test.dtype == np.int64
    assert max(max(ids) for ids in x_train) == 9_999
    topics = reuters_topics("keras")
    assert len(topics) == 46 == len(np.unique(y_train))
    assert topics[np.bincount(y_train).argmax()] == "earn"


@needs_originals
@pytest.mark.parametrize("num_words", [None, 1_000])
def test_the_keras_copy_is_what_keras_itself_gives(keras_copy, monkeypatch, num_words):
    reuters = import_keras().src.datasets.reuters
    file = str(keras_copy / "reuters.npz")
    monkeypatch.setattr(reuters, "get_file", lambda **_: file)
    for ours, theirs in zip(
        load_reuters("keras", num_words=num_words),
        reuters.load_data(num_words=num_words),
        strict=True,
    ):
        assert ours[0].tolist() == theirs[0].tolist()
        assert ours[1].tolist() == theirs[1].tolist()


@needs_originals
def test_the_word_index_reads_a_story_back(keras_copy):
    index = load_reuters_word_index()
    entry = fetch.catalog()["reuters-keras"].files[1]
    assert fetch._problem((entry,), keras_copy) == "", "the official bytes"
    assert index["the"] == 1 and len(index) == 30_979
    (x_train, y_train), _ = load_reuters("keras")
    topics = reuters_topics("keras")
    word_of = {rank + 3: word for word, rank in index.items()}
    coffee = [
        " ".join(word_of.get(number, "") for number in ids)
        for ids, label in zip(x_train, y_train, strict=True)
        if topics[label] == "coffee"
    ]
    assert np.mean(["coffee" in text for text in coffee]) > 0.9
