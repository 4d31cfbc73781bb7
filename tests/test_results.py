"""Stored results say which command measured them, and are shown as such."""

from __future__ import annotations

import json
import re
from pathlib import Path

from course_tools import results_table
from course_tools.bench import benches, keep_tables, store
from course_tools.lessons import ROOT
from course_utils import results
from course_utils.errors import UsageError
from tests.lessons import LESSONS, solution

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


def test_the_readmes_table_holds_what_is_stored():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = results_table.results_table()
    assert f"{results_table.BEGIN}\n{table}\n{results_table.END}" in readme
    # Each name in braces was found in its stored table.
    assert "{" not in table
    for row in results_table.ROWS:
        assert (results.FOLDER / f"{row.table}.json").is_file()


def test_the_readmes_pictures_are_there_and_small():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[([^]]+)\]\((docs/pictures/[\w.]+)\)", readme)
    there = {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
    assert {Path(path).name for _, path in shown} == there
    for words, path in shown:
        assert len(words) > 60
        assert (ROOT / path).stat().st_size < 150_000


def test_the_readmes_map_is_the_one_that_lesson_05_stores():
    title = "In their hexagon's label"
    texts = [
        output.get("data", {}).get("text/plain", "")
        for cell in solution(LESSONS[4]).cells
        for output in cell.get("outputs", [])
    ]
    assert sum(title in text for text in texts) == 1, "tests/support/readme_pictures.py"
