"""The reference answer of one exercise, for a learner who has tried it."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass
from pathlib import Path

from course_tools.lessons import SOLUTIONS
from course_tools.work.merge import grade_id
from course_tools.work.places import Places
from course_tools.work.progress import Exercise, read_lesson
from course_tools.work.versions import parse
from course_utils.checks.core import Outcome
from course_utils.errors import CourseError, UsageError

SWITCH = "COURSE_SOLUTIONS"
CONFIG = "nbgrader_config.py"
MARKS = re.compile(r"^[ \t]*### (?:BEGIN|END) SOLUTION[ \t]*\n?", re.MULTILINE)
HIDDEN = re.compile(r"\n*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", re.DOTALL)


@dataclass(frozen=True)
class Solution:
    """The reference answer of an exercise.

    Attributes
    ----------
    exercise : Exercise
        With the student's own answer.
    code : str
        What the course answers.
    why : str
        What its check says of a right answer.
    """

    exercise: Exercise
    code: str
    why: str

    def __str__(self) -> str:
        """Write heading, code and reason."""
        heading = f"{self.exercise.number} {self.exercise.title}".rstrip()
        return f"# {heading}\n\n{self.code}\n\n{self.why}".rstrip()


def find_solution(places: Places, number: str) -> Solution:
    """Give the reference answer of an exercise that the student has tried.

    Parameters
    ----------
    places : Places
        The student's folders.
    number : str
        Such as ``"3.2"``.

    Returns
    -------
    Solution
        From ``solutions/``.

    Raises
    ------
    UsageError
        When there is no such exercise.
    CourseError
        When the exercise is still open in the saved copy, an instructor switched
        solutions off, or none are here.
    """
    lesson = re.fullmatch(r"0?(\d{1,2})\.(\d+)", number)
    if lesson is None:
        raise UsageError(
            f"'{number}' is not an exercise: write its number, such as 3.2."
        )
    number = f"{int(lesson[1])}.{lesson[2]}"
    off = _switched_off(places)
    if off:
        raise CourseError(off)
    name = next((n for n in places.names() if int(n[:2]) == int(lesson[1])), "")
    solved = SOLUTIONS / f"{name}.ipynb"
    if not name:
        raise UsageError(f"There is no exercise {number}.")
    if not solved.exists():
        raise CourseError(
            "There are no solutions on this machine: ask who teaches this course."
        )
    copy = read_lesson(places, name)
    if copy.problem:
        raise CourseError(f"{copy.problem}.")
    found = {one.number: one for one in copy.exercises}
    if number not in found:
        told = ", ".join(found) or "none"
        raise UsageError(f"Lesson {name[:2]} has no exercise {number}. It has: {told}.")
    exercise = found[number]
    if exercise.outcome is Outcome.OPEN:
        raise CourseError(
            f"Exercise {number} is still open in {places.shown(places.copy_of(name))}: "
            "write an answer of your own, run its check, and save the notebook. "
            f"`check.{exercise.name}.hint()` helps."
        )
    cells = {grade_id(cell): cell for cell in parse(solved.read_bytes(), name).cells}
    check = cells.get(f"check-{exercise.name}")
    outputs = check.get("outputs", []) if check is not None else []
    said = "".join(output.get("text", "") for output in outputs)
    reason = re.search(rf"^✅ {re.escape(number)} (.+)", said, re.MULTILINE | re.DOTALL)
    code = MARKS.sub("", cells[exercise.name].source).strip("\n")
    return Solution(exercise, HIDDEN.sub("", code), reason[1].strip() if reason else "")


def _switched_off(places: Places) -> str:
    """Say who switched solutions off; empty where nobody did."""
    if os.environ.get(SWITCH, "").lower() in ("0", "off", "no", "false"):
        return f"Solutions are switched off here: {SWITCH} is set."
    config = places.notebooks.parent / CONFIG
    if config.exists() and _setting(config) is False:
        return f"Your instructor switched solutions off in {CONFIG}."
    return ""


def _setting(path: Path) -> object:
    """Read `SHOW_SOLUTIONS` without running the file, which needs nbgrader."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return None
    value: object = None
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            if "SHOW_SOLUTIONS" in [
                t.id for t in node.targets if isinstance(t, ast.Name)
            ]:
                value = node.value.value
    return value
