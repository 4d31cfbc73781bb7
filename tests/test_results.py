"""Stored results say which command measured them, and are shown as such."""

from __future__ import annotations

import json

from course_tools.bench import benches, keep_tables, store
from course_utils import results
from course_utils.errors import UsageError

import pytest


def test_what_a_bench_stores_a_lesson_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    table = ["model", "accuracy"], [["ours", 0.9]]
    assert not store("09_toy", "course bench 9 --store", *table).exists()
    keep_tables(True)
    path = store("09_toy", "course bench 9 --store", *table)
    keep_tables(False)
    assert path.parent == tmp_path
    found = results.stored("09_toy")
    assert found.loc["ours", "accuracy"] == 0.9
    assert "Measured earlier by `course bench 9 --store` (" in capsys.readouterr().out


def test_a_name_that_is_not_stored_is_one_sentence_with_those_that_are():
    with pytest.raises(UsageError, match=r"No results are stored as 'x'"):
        results.stored("x")


def test_every_stored_result_names_a_command_that_exists():
    for path in results.FOLDER.glob("*.json"):
        kept = json.loads(path.read_text(encoding="utf-8"))
        words = kept["command"].split()
        assert words[:2] == ["course", "bench"] and int(words[2]) in benches(), path
        assert kept["rows"] and len(kept["columns"]) == len(kept["rows"][0]), path
