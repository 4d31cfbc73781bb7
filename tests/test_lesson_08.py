"""Lesson 08's own functions: what is judged, what is trained, what is left alone."""

from __future__ import annotations

from course_tools.bench import recipe
from course_tools.bench.lesson_08 import read_split, shorten
from course_utils.data import load_news, load_sentence_encoder
from course_utils.errors import DataError

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def lesson():
    return recipe(8)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    made = rng.normal(size=(700, 384)).astype(np.float32)
    labels = rng.integers(4, size=len(made))
    made[np.arange(len(made)), labels] += 8
    return made / np.linalg.norm(made, axis=1, keepdims=True), labels


def test_a_search_is_judged_as_by_counting(lesson, vectors):
    made, labels = vectors[0][:300], vectors[1][:300]
    scores = lesson["judge"](made, labels)
    for query in range(0, 300, 37):
        cosines = made @ made[query]
        cosines[query] = -2
        near = labels[np.argsort(-cosines)] == labels[query]
        for k in (5, 10, 250):
            assert scores[k][query] == pytest.approx(near[:k].mean())
        size = (labels == labels[query]).sum() - 1
        assert scores["R"][query] == pytest.approx(near[:size].mean())


def test_a_desk_of_one_post_is_no_division_by_zero(lesson, vectors):
    labels = np.zeros(300, int)
    labels[7] = 3
    scores = lesson["judge"](vectors[0][:300], labels)
    assert all(np.isfinite(each).all() for each in scores.values())
    assert scores["R"][7] == 0


def test_an_interval_holds_the_mean_and_narrows_with_more_queries(lesson):
    each = np.random.default_rng(1).random(4_000)
    widths = []
    for n in (100, 4_000):
        mean, low, high = lesson["interval"](each[:n])
        assert low < mean < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 4
    # The standard error of a mean, 1.96 times to each side.
    assert widths[1] == pytest.approx(2 * 1.96 * each.std() / np.sqrt(4_000), rel=0.1)


def test_a_head_starts_as_the_raw_vectors_and_learns_the_same_each_time(
    lesson, vectors
):
    made, labels = vectors
    head = lesson["Head"]()
    np.testing.assert_allclose(lesson["tuned"](head, made), made, atol=1e-6)
    first, again = (lesson["train"](made, labels, epochs=2) for _ in range(2))
    assert np.array_equal(lesson["tuned"](first, made), lesson["tuned"](again, made))
    before, after = (
        lesson["judge"](v, labels)[10].mean()
        for v in (made, lesson["tuned"](first, made))
    )
    assert after > before


def test_one_post_of_each_thread_and_nothing_known_is_revealed(lesson):
    threads = np.array([4, 4, 1, 1, 1, 9])
    assert lesson["one_of_each"](np.array([5, 3, 2, 1, 0]), threads).tolist() == [
        5,
        3,
        1,
    ]
    truth = np.arange(6) % 4
    manual = lesson["reveal"](truth, threads, 2)
    shown = manual != lesson["ABSTAIN"]
    assert shown.sum() == 2 and len(set(threads[shown])) == 2
    assert (manual[shown] == truth[shown]).all()


def test_thawing_trains_the_layers_of_a_copy(lesson):
    texts = np.array(
        ["a hockey game tonight", "a hockey game for sale", "talks on sales"] * 8,
        dtype=object,
    )
    labels = np.array([1, 2, 0] * 8)
    encoder = load_sentence_encoder()
    before = {k: v.clone() for k, v in encoder.network.state_dict().items()}
    thawed = lesson["fine_tune"](texts, labels, epochs=8)
    after = encoder.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not encoder.network.training
    assert all(p.requires_grad for p in encoder.network.parameters())
    changed = {
        name
        for name, value in thawed.network.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed and all(name.startswith("encoder.layer.") for name in changed)
    apart = [
        vectors[0] @ vectors[1]
        for vectors in (encoder.encode(texts[:2]), thawed.encode(texts[:2]))
    ]
    assert apart[1] < apart[0] - 0.1, "two desks have moved apart"
    # Dropout is off where texts are encoded.
    assert np.array_equal(thawed.encode(texts[:2]), thawed.encode(texts[:2]))


def test_counted_words_are_as_wide_as_the_encoders_vectors(lesson):
    (x, _), _ = load_news()
    made = lesson["count_words"](x[:600]).transform(x[:50])
    assert made.shape == (50, 384)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)


def test_stories_of_a_users_files_are_read_and_none_is_in_both(tmp_path):
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("Oil rises,2\nA game,1\n", encoding="utf-8")
    test.write_text('"2","A","game"\n"1","War","ends"\n', encoding="utf-8")
    (x, y), (more_x, more_y) = read_split(train, test)
    assert x.tolist() == ["Oil rises"] and y.tolist() == [2]
    assert more_x.tolist() == ["A game", "War ends"] and more_y.tolist() == [1, 0]
    (few, _), (more_few, _) = shorten(((x, y), (more_x, more_y)), 1)
    assert len(few) == len(more_few) == 1


@pytest.mark.parametrize("line", ["one field", "a,b", "9,title,text", "a,b,c,d"])
def test_a_file_that_holds_no_stories_is_refused_by_line(tmp_path, line):
    path = tmp_path / "stories.csv"
    path.write_text(f"Oil rises,2\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2 does not"):
        read_split(path, path)


def test_a_file_of_stories_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="none.csv cannot be read"):
        read_split(tmp_path / "none.csv", tmp_path / "none.csv")
