"""Grade one submission after another, and keep what came of each."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import logging
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from course_tools.grading import sandbox
from course_tools.grading.execute import data_of
from course_tools.grading.submissions import (
    STUDENT,
    SubmissionError,
    is_copy_of,
    plain,
    read_submission,
)
from course_utils.data.fetch import prepare
from course_utils.errors import CourseError, UsageError
from course_utils.files import replacing

from filelock import FileLock
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.plugins.export import ExportPlugin
from sqlalchemy.exc import SAWarning, SQLAlchemyError
from traitlets.config import Config, PyFileConfigLoader

CONFIG = "nbgrader_config.py"


@dataclass
class Graded:
    """What came of one submission.

    Attributes
    ----------
    student : str
        Name of the folder in ``submitted/``.
    score, max_score : float
        Points; `score` means nothing where there is a problem.
    problem : str
        Why it could not be graded; empty where it was.
    notes : list of str
        What the instructor should know besides.
    done : bool
        False where an earlier grading still holds.
    """

    student: str
    score: float = 0.0
    max_score: float = 0.0
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    done: bool = True


class _Autograde(Autograde):
    """nbgrader's own, which keeps what stopped a submission."""

    stopped_by: BaseException | None = None

    def convert_single_notebook(self, notebook_filename: str) -> None:
        try:
            super().convert_single_notebook(notebook_filename)
        except Exception as error:
            self.stopped_by = error
            raise


class _Listener(logging.Handler):
    """Keep the notes for the instructor, and the last error."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []
        self.error = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if getattr(record, "course", False):
            if text not in self.notes:
                self.notes.append(text)
        elif record.levelno >= logging.ERROR and "Traceback" not in text:
            self.error = text.splitlines()[0]


def read_config(root: Path) -> Config:
    """Read the course's ``nbgrader_config.py``.

    Parameters
    ----------
    root : pathlib.Path
        The course's folder.

    Returns
    -------
    traitlets.config.Config
        With the course's folder as nbgrader's root.

    Raises
    ------
    UsageError
        When it has none.
    """
    if not (root / CONFIG).exists():
        raise UsageError(f"There is no {CONFIG} here: run this in the course's folder.")
    config = PyFileConfigLoader(CONFIG, path=str(root)).load_config()
    config.CourseDirectory.root = str(root)
    return config


def grade(
    root: Path,
    assignment: str,
    students: list[str] | None = None,
    *,
    force: bool = False,
    on_start: Callable[[str], None] = lambda student: None,
) -> Iterator[Graded]:
    """Grade the submissions of a lesson, one after another.

    What came of each is written to ``graded/`` when it is complete. A grading that
    was cut short left nothing there, and is done again; two at once take turns.

    Parameters
    ----------
    root : pathlib.Path
        The course's folder, with ``nbgrader_config.py`` and ``submitted/``.
    assignment : str
        Name of a lesson that ``nbgrader generate_assignment`` has released.
    students : list of str, optional
        Some of those in ``submitted/``; none means all.
    force : bool
        Grade again what was graded.
    on_start : callable
        Called with a student's name before the grading.

    Yields
    ------
    Graded
        In the order of the names.

    Raises
    ------
    CourseError
        When this machine has no sandbox.
    UsageError
        When the lesson was not released or a student submitted nothing.
    DataError
        When the lesson's data are not here and cannot be had.
    """
    config = read_config(root)
    directory = CourseDirectory(config=config)
    with Gradebook(directory.db_url, directory.course_id) as gradebook:
        try:
            gradebook.find_assignment(assignment)
        except MissingEntry:
            raise UsageError(
                f"{assignment} was not released yet: run "
                f"`nbgrader generate_assignment {assignment}`."
            ) from None
    submitted = root / "submitted"
    found = sorted(path.parent.name for path in submitted.glob(f"*/{assignment}"))
    for student in students or found:
        if student not in found:
            raise UsageError(f"There is no submitted/{student}/{assignment}.")
    if not found:
        raise UsageError(f"There is no submission in submitted/STUDENT/{assignment}.")
    problem = sandbox.problem()
    if problem:
        raise CourseError(problem)
    for name in data_of(assignment):
        prepare(name)
    for student in students or found:
        on_start(student)
        with FileLock(root / ".grading.lock"), warnings.catch_warnings():
            # nbgrader 0.9.6 and SQLAlchemy 2.1: it autoflushes, and nothing is lost.
            warnings.simplefilter("ignore", SAWarning)
            graded = _grade_one(config, assignment, student, force)
        yield graded


def _grade_one(config: Config, assignment: str, student: str, force: bool) -> Graded:
    directory = CourseDirectory(config=config)
    root = Path(directory.root)
    if not STUDENT.fullmatch(student):
        return Graded(
            student,
            problem="its folder is not named like a student: letters, digits and .@+-_ "
            "make a name",
        )
    try:
        staged, known = _read_folder(root, assignment, student)
    except SubmissionError as error:
        graded = Graded(student, problem=str(error))
        _forget_scores(directory, assignment, student)
        _note(root, assignment, graded, "")
        return graded
    known += _released(directory, assignment)
    before = recorded(root, assignment, student)
    if not force and before and before["known"] == known and not before["problem"]:
        page = directory.format_path("autograded", student, assignment)
        points = _points(directory, assignment, student)
        if points and (Path(page) / f"{assignment}.ipynb").is_file():
            return Graded(student, *points, notes=before["notes"], done=False)
    listener = _Listener()
    log = logging.getLogger(f"course.grading.{student}")
    log.propagate = False
    log.handlers = [listener]
    problem = ""
    # nbgrader gets a copy: a folder with nothing in it but files that were read here.
    with tempfile.TemporaryDirectory(prefix="course-grade-") as copies:
        folder = Path(copies) / student / assignment
        folder.mkdir(parents=True)
        for name, content in staged.items():
            (folder / name).write_bytes(content)
        directory.submitted_directory = copies
        directory.assignment_id, directory.student_id = assignment, student
        converter = _Autograde(coursedir=directory, config=config, log=log)
        converter.force = True
        try:
            converter.start()
        except NbGraderException:
            stopped = converter.stopped_by
            problem = _explained(stopped) if stopped else listener.error
        except Exception as error:
            problem = _explained(error)
    if problem:
        with contextlib.suppress(SQLAlchemyError):  # a full disk, named already
            _forget_scores(directory, assignment, student)
    score, most = _points(directory, assignment, student) or (0.0, 0.0)
    graded = Graded(student, score, most, problem, listener.notes)
    _note(root, assignment, graded, known)
    return graded


def _read_folder(
    root: Path, assignment: str, student: str
) -> tuple[dict[str, bytes], str]:
    """Read what nbgrader needs of a submission, and give a digest of it."""
    folder = root / "submitted" / student / assignment
    for part in (folder.parent, folder):
        if not stat.S_ISDIR(part.lstat().st_mode):
            raise SubmissionError(f"submitted/{part.name} is a link, not a folder")
    name = f"{assignment}.ipynb"
    there = sorted(path.name for path in folder.iterdir())
    if name not in there:
        copies = [one for one in there if is_copy_of(one, assignment)]
        rename = f"; rename {copies[0]} if that is the one" if copies else ""
        raise SubmissionError(
            f"there is no {name} in its folder, which holds "
            f"{', '.join(there) or 'nothing'}{rename}"
        )
    staged = {name: read_submission(folder / name)}
    stamp = folder / "timestamp.txt"
    if stamp.is_file() and not stamp.is_symlink() and stamp.stat().st_size < 100:
        staged[stamp.name] = stamp.read_bytes()
    known = hashlib.sha256(b"\0".join(staged.values())).hexdigest()
    return staged, known


def _released(directory: CourseDirectory, assignment: str) -> str:
    """Digest of the released checks: where they change, an old score is no score."""
    with Gradebook(directory.db_url, directory.course_id) as gradebook:
        notebook = gradebook.find_notebook(assignment, assignment)
        cells = sorted((cell.name, cell.source) for cell in notebook.source_cells)
        points = sorted((cell.name, cell.max_score) for cell in notebook.grade_cells)
    return hashlib.sha256(repr((cells, points)).encode()).hexdigest()


def _points(
    directory: CourseDirectory, assignment: str, student: str
) -> tuple[float, float] | None:
    """Score and maximum in the grade book; None where a check has no score."""
    with Gradebook(directory.db_url, directory.course_id) as gradebook:
        try:
            submission = gradebook.find_submission(assignment, student)
        except MissingEntry:
            return None
        return (
            (submission.score, submission.max_score) if _complete(submission) else None
        )


def _complete(submission: Any) -> bool:
    """Whether each graded cell of a submission has a score, by nbgrader or by hand."""
    return all(
        grade.auto_score is not None or grade.manual_score is not None
        for notebook in submission.notebooks
        for grade in notebook.grades
    )


def _forget_scores(directory: CourseDirectory, assignment: str, student: str) -> None:
    """Let no score of an earlier submission stand for one that was refused."""
    with Gradebook(directory.db_url, directory.course_id) as gradebook:
        gradebook.update_or_create_student(student)
        submission = gradebook.update_or_create_submission(assignment, student)
        for notebook in submission.notebooks:
            for grade in notebook.grades:
                grade.auto_score, grade.needs_manual_grade = None, True
        gradebook.db.commit()


def _explained(error: BaseException) -> str:
    """One sentence for what stopped a submission."""
    if isinstance(error, CourseError):
        return str(error)
    if isinstance(error, OSError | SQLAlchemyError):
        why = getattr(error, "strerror", None) or getattr(error, "orig", error)
        return f"its results could not be written ({why}); grade again"
    said = " ".join(str(error).split())
    said = said if len(said) <= 200 else f"{said[:199]}…"
    return f"nbgrader could not read it ({type(error).__name__}: {said})"


# --- what came of it ---------------------------------------------------------


def recorded(root: Path, assignment: str, student: str) -> dict[str, Any] | None:
    """Read what `grade` wrote down when a submission was graded or refused.

    Parameters
    ----------
    root : pathlib.Path
        The course's folder.
    assignment, student : str
        nbgrader's names.

    Returns
    -------
    dict or None
        The attributes of `Graded`, and ``known``, a digest of submission and checks.
        None where grading did not come to its end.
    """
    path = root / "graded" / assignment / f"{student}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _note(root: Path, assignment: str, graded: Graded, known: str) -> None:
    """Write a result down, all of it or nothing, so that it outlives a power cut."""
    folder = root / "graded" / assignment
    text = json.dumps({**asdict(graded), "known": known}, indent=1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / f"{graded.student}.json") as (staged,):
            staged.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        graded.problem = graded.problem or (
            f"its result could not be written to {folder.name} ({error.strerror}); "
            "make space and grade again"
        )


class GradesCsv(ExportPlugin):
    """nbgrader's table of grades, without a zero that nobody earned.

    A student whose submission has no score gets an empty field, and the column
    ``status`` says why.
    """

    KEYS = (
        *("assignment", "duedate", "timestamp", "student_id", "last_name"),
        *("first_name", "email", "raw_score", "late_submission_penalty", "score"),
        *("max_score", "status"),
    )

    def export(self, gradebook: Gradebook) -> None:
        """Write a line for each student and lesson.

        Parameters
        ----------
        gradebook : nbgrader.api.Gradebook
            The grade book.
        """
        path = Path(self.to or "grades.csv")
        with open(path, "w", encoding="utf-8", newline="") as stream:
            table = csv.DictWriter(stream, self.KEYS, restval="", lineterminator="\n")
            table.writeheader()
            for assignment in gradebook.assignments:
                if self.assignment and assignment.name not in self.assignment:
                    continue
                for student in gradebook.students:
                    if not self.student or student.id in map(str, self.student):
                        table.writerow(self._line(gradebook, assignment, student))
        self.log.info("Exported grades to %s", path)

    def _line(self, gradebook: Gradebook, assignment: Any, student: Any) -> dict:
        line = {
            "assignment": assignment.name,
            "duedate": assignment.duedate or "",
            "student_id": student.id,
            "last_name": student.last_name or "",
            "first_name": student.first_name or "",
            "email": student.email or "",
            "max_score": assignment.max_score,
        }
        try:
            submission = gradebook.find_submission(assignment.name, student.id)
        except MissingEntry:
            return {**line, "status": "not submitted"}
        line["timestamp"] = submission.timestamp or ""
        root = Path(self.parent.coursedir.root)
        note = recorded(root, assignment.name, student.id)
        if not _complete(submission):
            problem = note and note["problem"]
            status = f"refused: {plain(problem)}" if problem else "not graded yet"
            return {**line, "status": status}
        penalty = submission.late_submission_penalty or 0.0
        return {
            **line,
            "raw_score": submission.score,
            "late_submission_penalty": penalty,
            "score": max(0.0, submission.score - penalty),
            "status": "graded",
        }
