"""Where annoy could not be compiled, lessons 06 and 07 say so and go on with faiss."""

from __future__ import annotations

import os

from course_tools.lessons import Lesson
from course_tools.runner import run_lesson
from tests.lessons import LESSONS

import nbformat
import pytest

# What makes a lesson small, and the last cell to which it matters whether annoy is
# there. A whole run would train for the cells below, which nbval runs anyway.
SMALL = {
    6: ("quick=(7, 1)", "quick=(1, 1)", "predict_proba(asked_test)"),
    7: ("quick=20_000", "quick=2_000", "pd.DataFrame(leads)"),
}
NEED_IT = [lesson for lesson in LESSONS if lesson.number in SMALL]
each_that_needs_it = pytest.mark.parametrize(
    "lesson", NEED_IT, ids=lambda one: one.name
)


def shortened(lesson):
    """Copy a lesson with less to compute, down to the last cell that may use annoy."""
    notebook = nbformat.read(lesson.solution, as_version=4)
    large, small, last = SMALL[lesson.number]
    sources = [cell.source for cell in notebook.cells]
    assert sum(source.count(large) for source in sources) == 1
    (end,) = (n for n, source in enumerate(sources) if last in source)
    code = [cell.source for cell in notebook.cells[end + 1 :] if "outputs" in cell]
    assert not [one for one in code if "annoy" in one or "BACKEND" in one]
    for cell in notebook.cells:
        cell.source = cell.source.replace(large, small)
    notebook.cells = notebook.cells[: end + 1]
    return notebook


def check_without_annoy(lesson, tmp_path, monkeypatch):
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


@each_that_needs_it
def test_a_lesson_goes_on_without_annoy_and_says_so(lesson, tmp_path, monkeypatch):
    path = tmp_path / lesson.solution.name
    nbformat.write(shortened(lesson), path)
    monkeypatch.setattr(Lesson, "solution", property(lambda self: path))
    check_without_annoy(lesson, tmp_path, monkeypatch)


@pytest.mark.long
@each_that_needs_it
def test_a_lesson_runs_to_its_end_without_annoy(lesson, tmp_path, monkeypatch):
    check_without_annoy(lesson, tmp_path, monkeypatch)
