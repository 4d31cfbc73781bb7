"""Where annoy could not be compiled, lessons 06 and 07 say so and run to their ends."""

from __future__ import annotations

import os

from course_utils.lessons import all_lessons
from course_utils.runner import run_lesson

import pytest

NEED_IT = [one for one in all_lessons() if one.solution.stem[:2] in ("06", "07")]


@pytest.mark.parametrize("lesson", NEED_IT, ids=lambda one: one.solution.stem)
def test_a_lesson_runs_without_annoy_and_says_so(lesson, tmp_path, monkeypatch):
    (tmp_path / "annoy.py").write_text("raise ModuleNotFoundError('no annoy here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    result = run_lesson(lesson)
    assert result.problem == ""
    said = "".join(
        output.get("text", "")
        for cell in result.notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    assert "annoy" in said and ("goes on with faiss" in said or "left out" in said)
