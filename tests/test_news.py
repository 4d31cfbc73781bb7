"""News come with their desks, and nothing in a post names its desk."""

from __future__ import annotations

import csv
import re

from course_tools.lessons import ROOT
from course_utils.data import NEWS_DESKS, fetch, load_news
from course_utils.data import news as module

import numpy as np
import pytest

ORIGINALS = ROOT.parent / "shared" / "data"
needs_originals = pytest.mark.skipif(
    not (ORIGINALS / "ag_news_test.csv").exists(),
    reason="the original sources' files are not beside this checkout",
)


@pytest.fixture(scope="module")
def posts():
    return load_news()


def test_posts_come_in_the_published_split_with_four_desks(posts):
    (x_train, y_train), (x_test, y_test) = posts
    assert (len(x_train), len(x_test)) == (5_720, 3_805)
    assert x_train.shape == y_train.shape and x_test.shape == y_test.shape
    assert np.bincount(y_train).tolist() == [1_573, 1_196, 582, 2_369]
    assert np.bincount(y_test).tolist() == [1_049, 796, 386, 1_574]


def test_no_post_is_empty_or_stands_twice(posts):
    (x_train, _), (x_test, _) = posts
    texts = [*x_train, *x_test]
    assert all(texts) and len(set(texts)) == len(texts)


def test_no_post_names_a_newsgroup_or_whom_it_quotes(posts):
    names = [
        group.replace(".", " ") for desk in module.GROUPS.values() for group in desk
    ]
    for texts, _ in posts:
        for text in texts:
            assert not any(f" {name} " in f" {text} " for name in names), text[:200]
            assert not re.search(r"\bin article (\S+ ){1,40}?writes\b", text)


def test_attributions_go_and_what_was_said_stays():
    text = "re ice in article apr host com joe host com joe doe writes goals win"
    assert module.ATTRIBUTION.sub(" ", text).split() == "re ice goals win".split()
    kept = "in article five of the constitution it is written"
    assert module.ATTRIBUTION.sub(" ", kept) == kept


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match="choose 'newsgroups' or 'ag_news'"):
        load_news("reuters")


@needs_originals
def test_ag_news_is_loaded_from_its_own_files(monkeypatch, tmp_path):
    """The test file is the official one; a small training file stands beside it."""
    official = ORIGINALS / "ag_news_test.csv"
    entry = {file.name: file for file in fetch.catalog()["ag-news"].files}["test.csv"]
    (tmp_path / "test.csv").write_bytes(official.read_bytes())
    assert fetch._problem((entry,), tmp_path) == "", "the official bytes"
    with open(tmp_path / "train.csv", "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerow(["4", "Two\\lines", 'a "quoted" word'])
        writer.writerow(
            ["3", "#36;5 &lt;b&gt;off&lt;/b&gt;", "AT&T #39;s quot;deal quot;"]
        )
    monkeypatch.setattr(module, "fetch", lambda name: tmp_path)
    (x_train, y_train), (x_test, y_test) = load_news("ag_news")
    assert x_train[0] == 'Two lines a "quoted" word'
    assert x_train[1] == """$5 off AT&T 's "deal \""""
    assert [NEWS_DESKS[y] for y in y_train] == ["Sci/Tech", "Business"]
    assert len(x_test) == 7_600 and np.bincount(y_test).tolist() == [1_900] * 4
    assert not any("&lt;" in text or "#39;" in text for text in x_test)
    assert x_test[0].startswith("Fears for T N pension after talks Unions")
