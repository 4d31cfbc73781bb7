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
from course_tools.work.progress import Exercise, LessonProgress, read_lesson
from course_tools.work.versions import parse
from course_utils.checks.answers import RAISES
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
        """Write heading, code and reason; and what keeps an answer from its check."""
        heading = f"{self.exercise.number} {self.exercise.title}".rstrip()
        parts = [f"# {heading}", self.code, self.why]
        tried = self.exercise.outcome is Outcome.TRIED
        if tried and RAISES.search(self.exercise.answer):
            parts.append(
                "In your cell, the line that begins with `raise` is still there: "
                "remove the `raise` line, then run the cell and its check."
            )
        return "\n\n".join(filter(None, parts))


def list_exercises(places: Places, wanted: str) -> str:
    """List the exercises of a lesson.

    Parameters
    ----------
    places : Places
        The student's folders.
    wanted : str
        What was typed in place of an exercise.

    Returns
    -------
    str
        A line for each exercise; empty where no lesson has this number or name.
    """
    wanted = wanted.strip().removesuffix(".ipynb")
    names = [
        name
        for name in places.names()
        if wanted == name or (wanted.isdecimal() and int(wanted) == int(name[:2]))
    ]
    if not names:
        return ""
    lesson = read_lesson(places, names[0])
    if lesson.problem:
        raise CourseError(lesson.problem)
    lines = [f"{one.number} {one.title} ({one.outcome})" for one in lesson.exercises]
    if lines:
        number = lesson.exercises[0].number
        lines.append(f"`course solution {number}` shows the answer once you tried it.")
    return "\n".join([f"{names[0][:2]} {lesson.title}", *lines])


def _find_exercise(places: Places, wanted: str) -> tuple[LessonProgress, Exercise]:
    """Find an exercise by its number or its function's name."""
    number = re.fullmatch(r"0?(\d{1,2})\.0?(\d+)", wanted)
    names = places.names()
    if number is not None:
        names = [name for name in names if int(name[:2]) == int(number[1])]
        if not names:
            lessons = ", ".join(str(int(name[:2])) for name in places.names())
            raise UsageError(
                f"There is no exercise {wanted}: the lessons are {lessons}."
            )
        wanted = f"{int(number[1])}.{number[2]}"
    lessons_read = [read_lesson(places, name) for name in names]
    found = [
        (lesson, one)
        for lesson in lessons_read
        for one in lesson.exercises
        if wanted in (one.number, one.name)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        numbers = " and ".join(one.number for _, one in found)
        raise UsageError(f"`{wanted}` is {numbers}: write the number of one.")
    if number is None:
        raise UsageError(
            f"'{wanted}' is not an exercise: write its number, such as 3.2, or its "
            f"function's name; `course solution {int(names[0][:2])}` lists those of a "
            "lesson."
        )
    (lesson,) = lessons_read
    if lesson.problem:
        raise CourseError(lesson.problem)
    told = ", ".join(one.number for one in lesson.exercises) or "none"
    raise UsageError(
        f"Lesson {lesson.name[:2]} has no exercise {wanted}. It has: {told}."
    )


def find_solution(places: Places, number: str) -> Solution:
    """Give the reference answer of an exercise that the student has tried.

    Parameters
    ----------
    places : Places
        The student's folders.
    number : str
        Such as ``"3.2"``, or the name of the exercise's function.

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
    lesson, exercise = _find_exercise(places, number.strip())
    name, number = lesson.name, exercise.number
    off = _switched_off(places)
    if off:
        raise CourseError(off)
    solved = SOLUTIONS / f"{name}.ipynb"
    if not solved.exists():
        raise CourseError(
            "There are no solutions on this machine: ask who teaches this course."
        )
    if not lesson.is_copied:
        raise CourseError(
            f"There is no {lesson.file}: run `course update`, which makes it, and "
            "write an answer of your own there first."
        )
    if exercise.outcome is Outcome.OPEN and exercise.lacks and not exercise.answer:
        raise CourseError(
            f"Exercise {number} is still open, and {exercise.lacks} is missing in "
            f"{lesson.file}: save and close it, run `course update`, which puts that "
            "back, and write an answer of your own."
        )
    if exercise.outcome is Outcome.OPEN:
        raise CourseError(
            f"Exercise {number} is still open in {lesson.file}: write an answer of "
            "your own in place of the `raise` line, run its check, and save the "
            f"notebook. `check.{exercise.name}.hint()` helps."
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
