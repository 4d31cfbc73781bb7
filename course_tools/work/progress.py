"""What is done: read from the student's saved notebooks, nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from course_tools.work.merge import grade_id, heads, lacking
from course_tools.work.places import Places, find_places
from course_tools.work.versions import NotANotebook, parse, write
from course_utils.checks.answers import binds, digest, is_open, passed
from course_utils.checks.core import Outcome
from course_utils.checks.summary import MARKS
from course_utils.files import replacing

import nbformat

PAGE = "progress.ipynb"
HEAD = """# Your progress

Read from your saved notebooks: save a lesson, then run the cell below (Shift+Enter) to
see where you stand now. ✅ counts only while the answer is as its check saw it."""
CODE = """from course_tools.work.progress import page

page()"""


@dataclass(frozen=True)
class Exercise:
    """An exercise as a saved notebook has it.

    Attributes
    ----------
    number, name, title : str
        Such as ``"1.3"``, ``"nearest"``, ``"The nearest words"``.
    outcome : Outcome
        Passed, tried or open.
    stale : bool
        Whether its check passed, and the answer has changed since.
    answer : str
        What stands in its cell.
    lacks : str
        Which of its cells is missing, in words; empty where none is.
    """

    number: str
    name: str
    title: str
    outcome: Outcome
    stale: bool
    answer: str
    lacks: str = ""


@dataclass(frozen=True)
class LessonProgress:
    """Where a student stands in a lesson.

    Attributes
    ----------
    name, title : str
        Such as ``"02_imdb_sentiment"``, and the notebook's heading.
    exercises : tuple of Exercise
        In the notebook's order.
    problem : str
        Why the notebook could not be read, and what to do; empty where it could.
    file : str
        The copy as a reader sees it, such as ``work/02_imdb_sentiment.ipynb``.
    is_copied : bool
        Whether there is a copy.
    """

    name: str
    title: str
    exercises: tuple[Exercise, ...] = ()
    problem: str = ""
    file: str = ""
    is_copied: bool = True

    def count(self, outcome: Outcome) -> int:
        """Count the exercises with an outcome."""
        return sum(one.outcome is outcome for one in self.exercises)

    @property
    def mark(self) -> str:
        """One sign for the whole lesson."""
        if self.problem:
            return "❌"
        if self.count(Outcome.OPEN) == len(self.exercises):
            return MARKS[Outcome.OPEN]
        done = self.count(Outcome.PASSED) == len(self.exercises)
        return MARKS[Outcome.PASSED if done else Outcome.TRIED]

    @property
    def stale(self) -> str:
        """What to run again, in words; empty where there is nothing."""
        numbers = [
            one.number
            for one in self.exercises
            # Of an answer that was taken back there is nothing to run.
            if one.stale and one.outcome is not Outcome.OPEN
        ]
        if not numbers:
            return ""
        if len(numbers) == 1:
            return f"run the answer cell of {numbers[0]}, then its check"
        return f"run the answer cells of {', '.join(numbers)}, then their checks"

    @property
    def lacks(self) -> str:
        """What is missing, and what to do; empty where all is there."""
        if not self.is_copied:
            return f"there is no {self.file}: `course update` makes it"
        lacks = ", ".join(one.lacks for one in self.exercises if one.lacks)
        if not lacks:
            return ""
        are = "are" if "," in lacks or " and " in lacks else "is"
        return f"{lacks} {are} missing in {self.file}: `course update` puts that back"


def read_exercises(notebook: Any, course: Any = None) -> Iterator[Exercise]:
    """Read what became of a notebook's exercises.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        A student's copy.
    course : nbformat.NotebookNode, optional
        The course's version, which says what exercises there are; the copy itself if
        left out.

    Yields
    ------
    Exercise
        In the course's order. One is open while nothing of the student's stands in
        its cell, and passed if its check printed ✅ for the answer above it.
    """
    stubs = {grade_id(c): c.source for c in course.cells} if course else {}
    course = course or notebook
    places = {grade_id(cell): at for at, cell in enumerate(notebook.cells)}
    lacks = lacking(notebook, course)
    for name, (number, title) in heads(course).items():
        place, check = places.get(name), places.get(f"check-{name}")
        outputs = [] if check is None else notebook.cells[check].get("outputs", [])
        above = [c.source for c in notebook.cells[:check] if c.cell_type == "code"]
        answers = [one for one in above if binds(one, name)]
        own = "" if place is None else notebook.cells[place].source
        answer = answers[-1] if answers else own
        text = "".join(output.get("text", "") for output in outputs)
        ticked = bool(re.search(r"^✅ \d+\.\d+ ", text, re.MULTILINE))
        is_code = bool(answers) or name not in lacks
        stale = ticked and (passed(outputs) != digest(answer) or not is_code)
        outcome = Outcome.TRIED
        if is_open(answer, stubs.get(name, "")):
            outcome = Outcome.OPEN
        if ticked and not stale:
            outcome = Outcome.PASSED
        kinds = {name: "the answer cell", f"check-{name}": "the check"}
        gone = " and ".join(kinds[one] for one in kinds if one in lacks)
        gone = f"{gone} of {number}" if gone else ""
        yield Exercise(number, name, title, outcome, stale, answer, gone)


def read_lesson(places: Places, name: str) -> LessonProgress:
    """Read where the student stands in a lesson.

    Parameters
    ----------
    places : Places
        The student's folders.
    name : str
        The lesson.

    Returns
    -------
    LessonProgress
        Of the student's copy, or where there is none yet of the course's notebook.
    """
    path = places.copy_of(name)
    course, unread = _read(places, places.notebooks / path.name)
    text = "\n".join(c.source for c in course.cells[:1]) if course else ""
    head = re.search(r"^# (?:\d+ · )?(.+)$", text, re.MULTILINE)
    found = LessonProgress(name, head[1] if head else name[3:], file=places.shown(path))
    if not path.exists():
        if not course:
            return replace(found, problem=f"{unread}: run `course update`")
        open_ones = tuple(read_exercises(course, course))
        return replace(found, exercises=open_ones, is_copied=False)
    notebook, unread = _read(places, path)
    if not notebook:
        return replace(found, problem=f"{unread}. {places.cure_of(name)}")
    # Where the course's file is damaged, the copy says what exercises there are.
    return replace(found, exercises=tuple(read_exercises(notebook, course)))


def _read(places: Places, path: Path) -> tuple[Any, str]:
    """Read a notebook; None where it cannot be read, and why."""
    try:
        return parse(path.read_bytes(), places.shown(path)), ""
    except NotANotebook as error:
        return None, str(error)
    except OSError as error:
        shown = places.shown(path)
        return None, f"{shown} cannot be read ({error.strerror or error})"


class Progress:
    """Where a student stands; a notebook shows it as a table.

    Parameters
    ----------
    places : Places
        The student's folders.

    Attributes
    ----------
    lessons : list of LessonProgress
        Those that have exercises, and those that could not be read.
    """

    def __init__(self, places: Places) -> None:
        found = [read_lesson(places, name) for name in places.names()]
        self.lessons = [one for one in found if one.exercises or one.problem]
        self.is_begun = any(one.is_copied for one in found)

    def __repr__(self) -> str:
        """Write one line a lesson."""
        width = max((len(one.title) for one in self.lessons), default=0)
        lines = []
        for one in self.lessons:
            head = f"{one.mark} {one.name[:2]} {one.title:<{width}}  "
            if one.problem:
                lines.append(f"{head}{one.problem}")
                continue
            counts = [f"{one.count(o)} {w}" for o, w in _WORDS.items()]
            lines.append(f"{head}{', '.join(counts)}  {self._next(one)}".rstrip())
        return "\n".join([*lines, self._total()])

    def _repr_markdown_(self) -> str:
        lines = [f"**{self._total()}**", ""]
        lines += [
            "| | lesson | passed | tried | open | next |",
            "|---|---|---|---|---|---|",
        ]
        for one in self.lessons:
            link = f"{one.name[:2]} · {one.title}"
            if one.is_copied:
                link = f"[{link}]({one.name}.ipynb)"
            if one.problem:
                lines.append(f"| {one.mark} | {link} | | | | {one.problem} |")
                continue
            numbers = [
                " ".join(e.number for e in one.exercises if e.outcome is outcome)
                for outcome in _WORDS
            ]
            row = " | ".join([one.mark, link, *numbers, self._next(one)])
            lines.append(f"| {row} |")
        return "\n".join(lines)

    def _next(self, lesson: LessonProgress) -> str:
        """Say what to do in a lesson; before the first copy, nothing in each."""
        lacks = lesson.lacks if self.is_begun else ""
        return "; ".join(filter(None, [lesson.stale, lacks]))

    def _total(self) -> str:
        total = sum(len(one.exercises) for one in self.lessons)
        done = sum(one.count(Outcome.PASSED) for one in self.lessons)
        return f"{done} of {total} exercises passed."


_WORDS = {Outcome.PASSED: "passed", Outcome.TRIED: "tried", Outcome.OPEN: "open"}


def page() -> Progress:
    """Show where one stands, in the notebook of `write_page`.

    Returns
    -------
    Progress
        Of the copies in the current folder.
    """
    places = find_places()
    here = Path.cwd()
    return Progress(
        Places(places.notebooks, here if (here / ".course").exists() else places.own)
    )


def write_page(places: Places) -> None:
    """Write the page of progress beside the copies, unless a student made it their own.

    Parameters
    ----------
    places : Places
        The student's folders.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = places.own / PAGE
    cells = [nbformat.v4.new_markdown_cell(HEAD), nbformat.v4.new_code_cell(CODE)]
    for cell, name in zip(cells, ("progress", "page"), strict=True):
        cell.id = name
    if path.exists():
        try:
            found = parse(path.read_bytes(), PAGE)
        except NotANotebook:
            return
        if any(
            cell.source.strip() and cell.id not in ("progress", "page")
            for cell in found.cells
        ):
            return
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    progress = Progress(places)
    data = {"text/markdown": progress._repr_markdown_(), "text/plain": repr(progress)}
    cells[1].outputs = [nbformat.v4.new_output("execute_result", data)]
    new = write(notebook)
    if not path.exists() or path.read_bytes() != new:
        with replacing(path) as (staged,):
            staged.write_bytes(new)
