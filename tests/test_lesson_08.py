"""Lesson 08's own functions: what is judged, what is trained, what is left alone."""

from __future__ import annotations

import time

from course_tools.bench import recipe
from course_tools.bench.lesson_08 import fine_tune, read_split
from course_utils.data import load_sentence_encoder
from course_utils.errors import DataError
from course_utils.posts import one_of_each, reveal
from course_utils.search import nearest, search_scores, seconds_of
from course_utils.weak_supervision import ABSTAIN

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


def test_the_fastest_of_some_calls_is_timed_and_what_came_is_kept():
    delays = iter((0.05, 0.0, 0.02))
    seconds, made = seconds_of(lambda: time.sleep(next(delays)) or "found", calls=3)
    assert 0 <= seconds < 0.02 and made == "found"


def test_a_search_is_judged_as_by_counting(vectors):
    made, labels = vectors[0][:300], vectors[1][:300]
    scores = search_scores(made, labels)
    discount = 1 / np.log2(np.arange(2, 12))
    for query in range(0, 300, 37):
        cosines = made @ made[query]
        cosines[query] = -2
        near = labels[np.argsort(-cosines)] == labels[query]
        for k in (5, 10, 250):
            assert scores[f"precision@{k}"][query] == pytest.approx(near[:k].mean())
        size = (labels == labels[query]).sum() - 1
        assert scores["R-precision"][query] == pytest.approx(near[:size].mean())
        ndcg = (near[:10] * discount).sum() / discount.sum()
        assert scores["nDCG@10"][query] == pytest.approx(ndcg)


def test_a_desk_of_one_post_is_no_division_by_zero(vectors):
    labels = np.zeros(300, int)
    labels[7] = 3
    scores = search_scores(vectors[0][:300], labels)
    assert all(np.isfinite(each).all() for each in scores.values())
    assert scores["R-precision"][7] == scores["nDCG@10"][7] == 0


def test_ndcg_knows_that_a_small_desk_cannot_fill_ten_places(vectors):
    labels = np.zeros(300, int)
    made = np.array(vectors[0][:300])
    labels[:3], made[:3] = 1, made[0]
    assert search_scores(made, labels)["nDCG@10"][:3] == pytest.approx(1)


def test_a_query_is_not_among_its_own_results(vectors):
    made = vectors[0][:40]
    rows = np.arange(40)
    found = nearest(made, made, rows)
    assert found.shape == (40, 39) and not (found == rows[:, None]).any()
    assert nearest(made[:3], made)[:, 0].tolist() == [0, 1, 2]


def test_a_head_starts_as_the_raw_vectors_and_learns_the_same_each_time(
    lesson, vectors
):
    made, labels = vectors
    head = lesson["Head"]()
    np.testing.assert_allclose(lesson["tuned"](head, made), made, atol=1e-6)
    first, again = (lesson["train"](made, labels, epochs=2) for _ in range(2))
    assert np.array_equal(lesson["tuned"](first, made), lesson["tuned"](again, made))
    before, after = (
        search_scores(v, labels)["precision@10"].mean()
        for v in (made, lesson["tuned"](first, made))
    )
    assert after > before


def test_one_post_of_each_thread_and_nothing_known_is_revealed():
    threads = np.array([4, 4, 1, 1, 1, 9])
    assert one_of_each(np.array([5, 3, 2, 1, 0]), threads).tolist() == [
        5,
        3,
        1,
    ]
    truth = np.arange(6) % 4
    manual = reveal(truth, threads, 2)
    shown = manual != ABSTAIN
    assert shown.sum() == 2 and len(set(threads[shown])) == 2
    assert (manual[shown] == truth[shown]).all()


def test_thawing_trains_the_layers_of_a_copy():
    texts = np.array(
        ["a hockey game tonight", "a hockey game for sale", "talks on sales"] * 8,
        dtype=object,
    )
    labels = np.array([1, 2, 0] * 8)
    encoder = load_sentence_encoder()
    before = {k: v.clone() for k, v in encoder.network.state_dict().items()}
    thawed = fine_tune(texts, labels, epochs=8)
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


def test_words_that_are_often_wrong_leave_a_list_and_rare_ones_stay(lesson):
    texts = ["a puck", "a puck", "ice cream", "ice cream", "ice hockey", "a goal", "x"]
    manual = np.array([1, 1, 2, 2, 1, 0, ABSTAIN])
    kept = lesson["without_confusing"]("Sports", "puck ice goal rink", texts, manual)
    assert kept == "puck goal rink"


def test_errors_are_found_by_models_that_did_not_see_the_thread(lesson):
    rng = np.random.default_rng(2)
    threads = np.repeat(np.arange(60), 5)
    truth = np.repeat(rng.integers(0, 2, 60), 5)
    made = rng.normal(size=(300, 20)) * 0.3
    made[np.arange(300), truth] += 2
    made[:, 2:] += 3 * rng.normal(size=(60, 18)).repeat(5, axis=0)  # the thread's own
    given = np.where(threads < 4, 1 - truth, truth)  # whole threads mislabelled
    found = {}
    for name, folds in (
        ("random", lesson["KFold"](5, shuffle=True, random_state=0)),
        ("threads", lesson["GroupKFold"](5)),
    ):
        groups = threads if name == "threads" else None
        _, suspect = lesson["find_errors"](made, given, groups, folds)
        found[name] = np.sum(suspect & (given != truth))
    assert found["threads"] > found["random"]


def test_stories_of_a_users_files_are_read_and_none_is_in_both(tmp_path):
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("Oil rises,2\nA game,1\n", encoding="utf-8")
    test.write_text('"2","A","game"\n"1","War","ends"\n', encoding="utf-8")
    (x, y), (more_x, more_y) = read_split(train, test)
    assert x.tolist() == ["Oil rises"] and y.tolist() == [2]
    assert more_x.tolist() == ["A game", "War ends"] and more_y.tolist() == [1, 0]


@pytest.mark.parametrize("line", ["one field", "a,b", "9,title,text", "a,b,c,d"])
def test_a_file_that_holds_no_stories_is_refused_by_line(tmp_path, line):
    path = tmp_path / "stories.csv"
    path.write_text(f"Oil rises,2\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2 does not"):
        read_split(path, path)


def test_a_file_of_stories_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="none.csv cannot be read"):
        read_split(tmp_path / "none.csv", tmp_path / "none.csv")
