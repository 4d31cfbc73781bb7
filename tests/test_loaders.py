"""Loaders give what their docstrings promise, from real files."""

from __future__ import annotations

import shutil

from course_tools.lessons import ROOT
from course_utils.data import (
    fetch,
    load_analogies,
    load_glove,
    load_imdb,
    load_word_pairs,
)
from course_utils.data.imdb import load_imdb_word_index
from course_utils.frameworks import import_keras

import numpy as np
import pytest

ORIGINALS = ROOT.parent / "shared" / "data"
needs_originals = pytest.mark.skipif(
    not (ORIGINALS / "imdb.npz").exists(),
    reason="the original sources' files are not beside this checkout",
)


@pytest.fixture(scope="module")
def reviews():
    return load_imdb()


def test_reviews_come_as_text_in_two_halves_that_share_none(reviews):
    (x_train, y_train), (x_test, y_test) = reviews
    assert (len(x_train), len(x_test)) == (19_923, 4_981)
    assert x_train.shape == y_train.shape and x_test.shape == y_test.shape
    assert not set(x_train) & set(x_test)
    assert y_train.sum() + y_test.sum() == 12_472
    assert abs(y_train.mean() - y_test.mean()) < 0.001
    assert not any("<br" in text for text in x_train)


def test_the_split_follows_the_seed(reviews):
    (again, _), _ = load_imdb()
    (other, _), _ = load_imdb(seed=1)
    assert list(again) == list(reviews[0][0])
    assert list(other) != list(again)


@pytest.mark.parametrize("arguments", [{"source": "rotten"}, {"test_size": 1}])
def test_a_wrong_argument_is_refused(arguments):
    with pytest.raises(ValueError, match="choose"):
        load_imdb(**arguments)


@needs_originals
def test_the_keras_copy_is_loaded_from_its_own_file(monkeypatch, tmp_path):
    """The copy here holds the published content but not the published bytes."""
    imdb = import_keras().src.datasets.imdb
    shutil.copy(ORIGINALS / "imdb.npz", tmp_path)
    monkeypatch.setattr("course_utils.data.imdb.fetch", lambda name: tmp_path)
    file = str(tmp_path / "imdb.npz")
    monkeypatch.setattr(imdb, "get_file", lambda **_: file)
    ours, theirs = (
        load_imdb("keras", num_words=10_000),
        imdb.load_data(num_words=10_000),
    )
    for (x, y), (keras_x, keras_y) in zip(ours, theirs, strict=True):
        assert x.tolist() == keras_x.tolist() and y.tolist() == keras_y.tolist()
    (x_train, y_train), (x_test, y_test) = ours
    assert len(x_train) == len(x_test) == 25_000
    assert max(max(ids) for ids in x_train) == 9_999
    assert y_train.mean() == y_test.mean() == 0.5


@needs_originals
def test_the_word_index_reads_a_review_back(cache):
    target = cache / "imdb-keras"
    target.mkdir(parents=True)
    shutil.copy(ORIGINALS / "imdb_word_index.json", target)
    entry = fetch.catalog()["imdb-keras"].files[1]
    assert fetch._problem((entry,), target) == "", "the official bytes"
    import course_utils.data.imdb as module

    module_fetch, module.fetch = module.fetch, lambda name: target
    try:
        index = load_imdb_word_index()
    finally:
        module.fetch = module_fetch
    assert index["the"] == 1 and len(index) == 88_584


def test_word_vectors_come_with_their_words():
    words, vectors = load_glove(1000)
    assert len(words) == 1000 and words[0] == "the"
    assert vectors.shape == (1000, 50) and vectors.dtype == np.float32
    june, july, money = (vectors[words.index(w)] for w in ("june", "july", "money"))
    assert june @ july > june @ money


@pytest.mark.parametrize("number", [0, 50_001])
def test_more_words_than_there_are_is_refused(number):
    with pytest.raises(ValueError, match="choose 1 to 50,000"):
        load_glove(number)


def test_word_pairs_come_with_peoples_ratings():
    pairs, ratings = load_word_pairs("wordsim353")
    assert len(pairs) == len(ratings) == 353
    assert ratings[pairs.index(("tiger", "cat"))] == 7.35
    pairs, ratings = load_word_pairs("simlex999")
    assert len(pairs) == len(ratings) == 999
    assert ratings[pairs.index(("old", "new"))] == 1.58
    assert 0 <= ratings.min() and ratings.max() <= 10
    with pytest.raises(ValueError, match="choose 'wordsim353' or 'simlex999'"):
        load_word_pairs("men")


def test_analogy_questions_have_four_words_and_a_relation():
    questions = load_analogies()
    assert len(questions) == 14 and sum(map(len, questions.values())) == 19_544
    assert ("boy", "girl", "brother", "sister") in questions["family"]
    assert all(word.islower() for line in questions["currency"] for word in line)
