"""Read lessons for the tests: their cells, exercises and answers."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any
from unittest import mock

from course_tools.lessons import Lesson, all_lessons, all_notebooks
from course_utils.frameworks import import_keras

import nbformat

LESSONS = all_lessons()
IDS = [lesson.name for lesson in LESSONS]
# With the first page, which is written as the lessons are.
FIRST_PAGE, *_ = NOTEBOOKS = all_notebooks()
NOTEBOOK_IDS = [notebook.name for notebook in NOTEBOOKS]


@cache
def solution(lesson: Lesson) -> Any:
    return nbformat.read(lesson.solution, as_version=4)


@cache
def student(lesson: Lesson) -> Any:
    return nbformat.read(lesson.notebook, as_version=4)


def nbgrader(cell: Any) -> dict:
    return cell.metadata.get("nbgrader", {})


def module(lesson: Lesson) -> ModuleType:
    return importlib.import_module(f"course_utils.checks.lesson_{lesson.number:02}")


def answers(lesson: Lesson) -> dict:
    return importlib.import_module(f"tests.answers.lesson_{lesson.number:02}").ANSWERS


@dataclass(frozen=True)
class Exercise:
    """An exercise of a lesson: its name is that of function, cell and check."""

    lesson: Lesson
    name: str

    def __str__(self) -> str:
        return f"{self.lesson.number:02}-{self.name}"

    def object_of(self, notebook: Any) -> Any:
        """Define the exercise's function as a notebook's cells do, and return it."""
        namespace: dict[str, Any] = {}
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        # Lessons share this process, which can import TensorFlow in one way only.
        shared = {"configure_tensorflow": lambda **_: import_keras()}
        with mock.patch.multiple("course_utils", **shared):
            exec(cells[0].source, namespace)
        for cell in cells:
            if nbgrader(cell).get("grade_id") == self.name:
                exec(cell.source, namespace)
        return namespace[self.name]


EXERCISES = [
    Exercise(lesson, nbgrader(cell)["grade_id"])
    for lesson in NOTEBOOKS
    for cell in solution(lesson).cells
    if nbgrader(cell).get("solution")
]
