"""What is done: read from the student's saved notebooks, nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_tools.work.merge import grade_id, is_answer, is_open
from course_tools.work.places import Places, find_places
from course_tools.work.versions import NotANotebook, parse, write
from course_utils.checks.answers import binds, digest, passed
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
EXERCISE = re.compile(r"^#+ Exercise (\d+\.\d+)(?: · (.+))?$", re.MULTILINE)


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
    """

    number: str
    name: str
    title: str
    outcome: Outcome
    stale: bool
    answer: str


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
        Why the notebook could not be read; empty where it could.
    """

    name: str
    title: str
    exercises: tuple[Exercise, ...] = ()
    problem: str = ""

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
        numbers = [one.number for one in self.exercises if one.stale]
        if not numbers:
            return ""
        checks = "the check" if len(numbers) == 1 else "the checks"
        return f"run {checks} of {', '.join(numbers)} again"


def read_exercises(notebook: Any) -> Iterator[Exercise]:
    """Read what became of a notebook's exercises.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        A student's copy.

    Yields
    ------
    Exercise
        In the notebook's order. One is open while its cell holds the line that raises,
        and passed if its check printed ✅ for the answer that stands above it now.
    """
    number = title = ""
    places = {grade_id(cell): at for at, cell in enumerate(notebook.cells)}
    for at, cell in enumerate(notebook.cells):
        for found in EXERCISE.finditer(cell.source):
            number, title = found[1], found[2] or ""
        name = grade_id(cell)
        if not is_answer(cell) or places[name] != at:
            continue
        check = places.get(f"check-{name}")
        outputs = notebook.cells[check].get("outputs", []) if check else []
        above = [c.source for c in notebook.cells[:check] if c.cell_type == "code"]
        answers = [one for one in above if binds(one, name)]
        answer = answers[-1] if answers else cell.source
        text = "".join(output.get("text", "") for output in outputs)
        ticked = bool(re.search(rf"^✅ {re.escape(number)} ", text, re.MULTILINE))
        stale = ticked and passed(outputs) != digest(answer)
        outcome = Outcome.OPEN if is_open(answer) else Outcome.TRIED
        if ticked and not stale:
            outcome = Outcome.PASSED
        yield Exercise(number, name, title, outcome, stale, answer)


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
    if not path.exists():
        path = places.notebooks / path.name
    try:
        notebook = parse(path.read_bytes(), places.shown(path))
    except NotANotebook as error:
        return LessonProgress(name, name[3:], problem=str(error))
    except OSError as error:
        problem = f"{places.shown(path)} cannot be read ({error.strerror or error})"
        return LessonProgress(name, name[3:], problem=problem)
    text = "\n".join(c.source for c in notebook.cells[:1])
    head = re.search(r"^# (?:\d+ · )?(.+)$", text, re.MULTILINE)
    title = head[1] if head else name[3:]
    return LessonProgress(name, title, tuple(read_exercises(notebook)))


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
            more = f"  {one.stale}" if one.stale else ""
            lines.append(f"{head}{', '.join(counts)}{more}")
        return "\n".join([*lines, self._total()])

    def _repr_markdown_(self) -> str:
        lines = [f"**{self._total()}**", ""]
        lines += [
            "| | lesson | passed | tried | open | next |",
            "|---|---|---|---|---|---|",
        ]
        for one in self.lessons:
            link = f"[{one.name[:2]} · {one.title}]({one.name}.ipynb)"
            if one.problem:
                lines.append(f"| {one.mark} | {link} | | | | {one.problem} |")
                continue
            numbers = [
                " ".join(e.number for e in one.exercises if e.outcome is outcome)
                for outcome in _WORDS
            ]
            row = " | ".join([one.mark, link, *numbers, one.stale])
            lines.append(f"| {row} |")
        return "\n".join(lines)

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
