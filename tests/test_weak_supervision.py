"""Heuristics vote by a formula that a person can follow, and records survive a file."""

from __future__ import annotations

import errno
import json
import math
import os

from course_utils.errors import DataError
from course_utils.weak_supervision import (
    ABSTAIN,
    Record,
    apply_heuristics,
    heuristic_precision,
    read_records,
    weak_labels,
    write_records,
)

import numpy as np
import pytest

NAMES = ["World", "Sports", "Business"]
A = ABSTAIN
# Ten records, three heuristics; a person labelled the first six.
MANUAL = np.array([0, 0, 1, 1, 2, 2, A, A, A, A])
VOTES = np.array(
    [
        [0, A, 0],
        [0, A, 1],
        [0, 1, 1],
        [A, 1, 1],
        [A, 1, 2],
        [0, A, 2],
        [0, 1, 1],  # 6: World 0.5, Sports 2/3 + 2/3
        [0, A, A],  # 7: World 0.5 alone
        [A, A, A],  # 8: nobody
        [A, 1, 2],  # 9: Sports 2/3 against Business 1
    ]
)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_hand():
    precision = heuristic_precision(VOTES, MANUAL, 3)
    return precision, *weak_labels(VOTES, VOTES != A, precision)


def test_precision_is_counted_for_each_label_a_heuristic_gives():
    precision, _, _ = by_hand()
    expected = [[2 / 4, 0, 0], [0, 2 / 3, 0], [1, 2 / 3, 1]]
    np.testing.assert_allclose(precision, expected)


def test_the_votes_arithmetic_is_that_of_a_hand_worked_example():
    _, labels, confidence = by_hand()
    assert labels[6] == 1
    # margin 2/3 + 2/3 - 1/2 = 5/6
    assert confidence[6] == pytest.approx(sigmoid(7 * 5 / 6 - 3))
    assert confidence[6] == pytest.approx(0.9445, abs=1e-4)
    assert labels[7] == 0
    assert confidence[7] == pytest.approx(sigmoid(7 * 0.5 - 3)) != 0
    assert labels[9] == 2
    assert confidence[9] == pytest.approx(sigmoid(7 / 3 - 3))


def test_a_record_without_votes_gets_no_label():
    _, labels, confidence = by_hand()
    assert (labels[8], confidence[8]) == (ABSTAIN, 0)


def test_a_heuristics_own_confidence_multiplies_its_precision():
    labels, confidence = weak_labels([[0, 1]], [[0.5, 0.9]], [[0.8, 0], [0, 0.5]])
    assert labels[0] == 1
    assert confidence[0] == pytest.approx(sigmoid(7 * (0.45 - 0.4) - 3))


@pytest.mark.parametrize("precision", [0.3, 0.7, 1.0])
def test_a_tie_gives_no_label(precision):
    table = [[precision, 0], [0, precision]]
    labels, confidence = weak_labels([[0, 1]], [[1, 1]], table)
    assert (labels[0], confidence[0]) == (ABSTAIN, 0)


def test_a_tie_by_sums_in_another_order_is_a_tie():
    precision = [[0.1, 0], [0.2, 0], [0, 0.3]]
    labels, _ = weak_labels([[0, 0, 1]], np.ones((1, 3)), precision)
    assert 0.1 + 0.2 != 0.3
    assert labels[0] == ABSTAIN


def test_where_the_others_outweigh_the_best_there_is_no_label():
    precision = np.diag([0.5, 0.4, 0.4])
    labels, confidence = weak_labels([[0, 1, 2]], np.ones((1, 3)), precision)
    assert (labels[0], confidence[0]) == (ABSTAIN, 0)


def test_a_heuristic_that_never_fires_changes_nothing():
    silent = np.column_stack([VOTES, np.full(10, A)])
    precision = heuristic_precision(silent, MANUAL, 3)
    assert np.array_equal(precision[3], [0, 0, 0])
    labels, confidence = weak_labels(silent, silent != A, precision)
    _, expected, sure = by_hand()
    assert np.array_equal(labels, expected) and np.array_equal(confidence, sure)


def test_a_heuristic_that_always_fires_weighs_what_its_label_is_frequent():
    always = np.full((10, 1), 2)
    precision = heuristic_precision(always, MANUAL, 3)
    np.testing.assert_allclose(precision, [[0, 0, 2 / 6]])
    labels, confidence = weak_labels(always, np.ones((10, 1)), precision)
    assert (labels == 2).all()
    np.testing.assert_allclose(confidence, sigmoid(7 / 3 - 3))


def test_without_a_labelled_record_of_a_desk_its_votes_weigh_nothing():
    manual = np.where(MANUAL == 1, A, MANUAL)
    precision = heuristic_precision(VOTES, manual, 3)
    assert np.isfinite(precision).all() and (precision[:, 1] == 0).all()
    labels, _ = weak_labels(VOTES, VOTES != A, precision)
    assert 1 not in labels


def test_without_any_labelled_record_nothing_is_labelled():
    precision = heuristic_precision(VOTES, np.full(10, A), 3)
    labels, confidence = weak_labels(VOTES, VOTES != A, precision)
    assert (labels == ABSTAIN).all() and (confidence == 0).all()


def test_no_heuristics_and_no_records_are_defined():
    labels, confidence = weak_labels(
        np.zeros((4, 0), int), np.zeros((4, 0)), np.zeros((0, 3))
    )
    assert (labels == ABSTAIN).all() and (confidence == 0).all()
    labels, _ = weak_labels(np.zeros((0, 3), int), np.zeros((0, 3)), np.ones((3, 2)))
    assert labels.shape == (0,)


def test_heuristics_may_give_a_name_or_a_confidence_or_nothing():
    def sure(text):
        return "Sports" if "goal" in text else None

    def half_sure(text):
        return "World", 0.5

    votes, confidences = apply_heuristics([sure, half_sure], ["a goal", "war"], NAMES)
    assert votes.tolist() == [[1, 0], [A, 0]]
    assert confidences.tolist() == [[1, 0.5], [0, 0.5]]


@pytest.mark.parametrize("said", ["Weather", 1, True, ("World", 1.5), ("World", "x")])
def test_what_a_heuristic_may_not_return_is_refused_by_name(said):
    def odd(text):
        return said

    with pytest.raises(ValueError, match="odd returned .* one of World, Sports"):
        apply_heuristics([odd], ["text"], NAMES)


def test_one_string_is_one_text_and_not_its_letters():
    votes, _ = apply_heuristics([lambda text: "Sports"], "a goal", NAMES)
    assert votes.tolist() == [[1]]


def test_label_names_that_are_one_string_are_refused(tmp_path):
    """Else "Spo" would be a label of "Sports"."""
    with pytest.raises(ValueError, match="label_names is one string, 'World'"):
        apply_heuristics([], ["a goal"], "World")
    path = tmp_path / "records.jsonl"
    path.write_text('{"text": "a", "manual_label": "Spo"}')
    with pytest.raises(ValueError, match="label_names is one string, 'Sports'"):
        read_records(path, "Sports")


RECORDS = [
    Record("goal\n“quoted” — ünïcode\u2028line", "Sports", "World", 0.25),
    Record("a war", None, "World", 0.93),
    Record("nothing known"),
]


def test_records_come_back_from_a_file_as_they_were(tmp_path):
    path = tmp_path / "records.jsonl"
    write_records(path, RECORDS)
    assert read_records(path, NAMES) == RECORDS
    assert [r.label for r in read_records(path)] == ["Sports", "World", None]
    assert len(path.read_text(encoding="utf-8").strip().split("\n")) == 3
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_of_another_tool_may_hold_more_fields_and_fewer(tmp_path):
    path = tmp_path / "tool.jsonl"
    line = {"text": "a sale", "manual_label": "Business", "annotator": "k", "id": 7}
    path.write_text(json.dumps(line) + '\n\n{"text": "a war", "weak_label": null}\n')
    assert read_records(path, NAMES) == [Record("a sale", "Business"), Record("a war")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{not json", "line 2 is not JSON"),
        ('["a"]', "line 2: expected an object with fields, found list"),
        ('{"manual_label": "World"}', "text is missing"),
        ('{"text": 3}', "text is missing, or is no string"),
        ('{"text": "a", "manual_label": "Wrold"}', "manual_label is 'Wrold'"),
        ('{"text": "a", "weak_label": 2}', "weak_label is 2"),
        ('{"text": "a", "weak_label": "World", "confidence": 1.2}', "from 0 to 1"),
        ('{"text": "a", "weak_label": "World", "confidence": NaN}', "from 0 to 1"),
        ('{"text": "a", "weak_label": "World", "confidence": true}', "from 0 to 1"),
        ('{"text": "a", "confidence": 0.5}', "there is no weak_label"),
    ],
)
def test_a_line_that_is_no_record_is_refused_in_one_sentence(tmp_path, line, words):
    path = tmp_path / "records.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(DataError, match=words) as caught:
        read_records(path, NAMES)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_records(tmp_path / "none.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="UTF-8"):
        read_records(tmp_path / "bytes.jsonl")


HALVES = [
    {"text": "cut \ud83d"},
    {"text": "\ude00 begins"},
    {"text": "a", "manual_label": "Wor\udcffld"},
    {"text": "a", "weak_label": "\ud800", "confidence": 0.5},
]


@pytest.mark.parametrize("fields", HALVES, ids=ascii)
def test_half_a_character_is_refused_alike_when_read_and_when_written(tmp_path, fields):
    path = tmp_path / "records.jsonl"
    path.write_text('{"text": "whole \\ud83d\\ude00"}\n' + json.dumps(fields))
    with pytest.raises(DataError, match="line 2: the field .* half a char") as read:
        read_records(path)
    written = tmp_path / "written.jsonl"
    records = [Record("whole 😀"), Record(**fields)]
    with pytest.raises(ValueError, match="Record 2: the field") as wrote:
        write_records(written, records)
    assert str(read.value).split(": ", 1)[1] == str(wrote.value).split(": ", 1)[1]
    assert not written.exists()
    path.write_text(path.read_text().split("\n")[0])
    assert read_records(path) == records[:1]
    write_records(written, read_records(path))
    assert read_records(written) == records[:1]


@pytest.mark.parametrize("place", ["replace", "write", "folder"])
def test_a_file_that_cannot_be_written_is_one_sentence_and_keeps_what_it_held(
    tmp_path, monkeypatch, place
):
    path = tmp_path / "records.jsonl"
    write_records(path, RECORDS)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if place == "replace":
        monkeypatch.setattr(os, "replace", full)
    elif place == "write":
        monkeypatch.setattr(type(path), "write_text", full)
    wanted = tmp_path / "none" / "records.jsonl" if place == "folder" else path
    with pytest.raises(DataError, match="records.jsonl cannot be written: ") as caught:
        write_records(wanted, RECORDS[:1])
    assert "\n" not in str(caught.value)
    assert read_records(path) == RECORDS and list(tmp_path.iterdir()) == [path]


def test_nothing_is_written_where_a_record_is_wrong(tmp_path):
    path = tmp_path / "records.jsonl"
    write_records(path, RECORDS)
    with pytest.raises(ValueError, match="Record 2: confidence"):
        write_records(path, [Record("a"), Record("b", None, "World", 7.0)])
    assert read_records(path) == RECORDS
