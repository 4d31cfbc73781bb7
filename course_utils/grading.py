"""Grade submissions with nbgrader, whatever is in them.

nbgrader runs a submission on the instructor's machine, and believes it. The
preprocessors here stand among its own, by ``nbgrader_config.py``: one puts back what
a submission dropped, one runs it in a sandbox and counts only what the course's
checks said. `grade` does what ``nbgrader autograde`` does, one line a student.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import logging
import os
import re
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from course_utils import checks, probe, sandbox
from course_utils.data.fetch import catalog, locate, prepare
from course_utils.errors import CourseError, UsageError
from course_utils.lessons import pictures_in

import nbformat
from filelock import FileLock
from nbconvert.preprocessors.sanitize import SanitizeHTML
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.plugins.export import ExportPlugin
from nbgrader.preprocessors import Execute, NbGraderPreprocessor
from sqlalchemy.exc import SAWarning, SQLAlchemyError
from traitlets import Integer
from traitlets.config import Config, PyFileConfigLoader

CHECKS = Path(checks.__file__).parent
CONFIG = "nbgrader_config.py"
# Names of students, and of nothing else: no hidden file, no option, no pattern.
STUDENT = re.compile(r"[\w@+][\w.@+-]*")
NOTEBOOK_BYTES = 64 << 20
# Where a lesson finds its data in the sandbox.
DATA = "/tmp/data"
# What a page may show of an output; a script is not among it.
TEXT, PICTURES = ("text/plain", "text/latex"), ("image/png", "image/jpeg")
MARKUP = ("text/html", "text/markdown")


class SubmissionError(CourseError):
    """A submission that cannot be graded; its text says why."""


def link_sources(root: Path) -> None:
    """Give each lesson the folder that nbgrader wants, with links to the solution.

    Parameters
    ----------
    root : pathlib.Path
        The course's folder: ``source/NN_name/NN_name.ipynb`` will lead to
        ``solutions/NN_name.ipynb``, and beside it stand the pictures it shows.
    """
    wanted = {}
    for solution in sorted((root / "solutions").glob("[0-9][0-9]_*.ipynb")):
        folder = root / "source" / solution.stem
        wanted[folder / solution.name] = solution
        for picture in pictures_in(solution):
            wanted[folder / picture] = root / picture
    for link in (root / "source").rglob("*"):
        if link.is_symlink() and link not in wanted:
            link.unlink()
    for link, target in wanted.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(target, link.parent))


def plain(text: str) -> str:
    """Text that can be printed: what a submission says may hold control characters.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        One line of it, with everything that is not printable escaped.
    """
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


# --- what was handed in ------------------------------------------------------


def read_submission(path: Path) -> bytes:
    """Read a submitted notebook: a regular file of bounded size, under its own name.

    Parameters
    ----------
    path : pathlib.Path
        Where it should be.

    Returns
    -------
    bytes
        A notebook as JSON in UTF-8, without byte order mark.

    Raises
    ------
    SubmissionError
        When it is a link, a pipe, too large, or not a notebook.
    """
    return as_notebook(read_regular(path), path.name)


def read_regular(path: Path, folder: int | None = None) -> bytes:
    """Read a file that a student made, if it is one, up to one byte too many.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    folder : int, optional
        A folder that is open, which `path` starts from.

    Returns
    -------
    bytes
        At most `NOTEBOOK_BYTES` and one more.

    Raises
    ------
    SubmissionError
        When it is a link, a pipe, or cannot be read.
    """
    if sys.platform == "win32":
        raise SubmissionError("submissions are graded on Linux")
    # A pipe would keep the reader waiting; a link leads to somebody else's file.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        number = os.open(path, flags, dir_fd=folder)
    except OSError as error:
        raise SubmissionError(
            f"{path.name} is a link or cannot be read ({error.strerror})"
        ) from None
    with open(number, "rb") as stream:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise SubmissionError(f"{path.name} is not a regular file")
        return stream.read(NOTEBOOK_BYTES + 1)


def as_notebook(content: bytes, name: str) -> bytes:
    """Insist on a notebook, and give it as nbgrader can read it.

    Parameters
    ----------
    content : bytes
        What was handed in.
    name : str
        The file's name, for the message.

    Returns
    -------
    bytes
        JSON in UTF-8, without byte order mark.

    Raises
    ------
    SubmissionError
        When it is too large or not a notebook.
    """
    if len(content) > NOTEBOOK_BYTES:
        raise SubmissionError(f"{name} is larger than {NOTEBOOK_BYTES >> 20} MB")
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise SubmissionError(f"{name} is not JSON, not a notebook") from None
    if not isinstance(notebook, dict) or not {"cells", "worksheets"} & set(notebook):
        raise SubmissionError(f"{name} is not a notebook: it has no cells")
    # Half a surrogate pair can be written in JSON, and in no file afterwards.
    text = json.dumps(notebook, ensure_ascii=False)
    return text.encode("utf-8", "replace")


def strange_files(folder: Path) -> list[str]:
    """Name what no student hands in: links, pipes, sockets, devices.

    Parameters
    ----------
    folder : pathlib.Path
        What was handed in.

    Returns
    -------
    list of str
        Paths below the folder, or ``"."`` for the folder itself.
    """
    strange = []
    paths = [folder]
    while paths:
        path = paths.pop()
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            paths += path.iterdir()
        elif not stat.S_ISREG(mode):
            strange.append(str(path.relative_to(folder)))
    return sorted(strange)


def refuse_strange_files(assignment: str, student: str, notebooks: list[str]) -> None:
    """Keep nbgrader's own commands from following links: its ``pre_convert_hook``.

    Parameters
    ----------
    assignment, student : str
        nbgrader's names.
    notebooks : list of str
        Paths of the submitted notebooks.

    Raises
    ------
    SubmissionError
        When a submission holds something else than files and folders.
    """
    for folder in {Path(path).parent for path in notebooks}:
        strange = strange_files(folder)
        if strange:
            raise SubmissionError(f"it holds links or pipes: {', '.join(strange)}")


# --- nbgrader's steps --------------------------------------------------------


class RestoreChecks(NbGraderPreprocessor):
    """Put back the cells that decide over points, as they were released.

    nbgrader overwrites a check's source. This gives back its place and its metadata
    too: a tag could keep it from running, a changed flag from counting.
    """

    def preprocess(self, nb: Any, resources: dict) -> tuple[Any, dict]:
        """Restore the graded cells of a notebook.

        Parameters
        ----------
        nb : nbformat.NotebookNode
            What was submitted.
        resources : dict
            nbgrader's, with names and the address of the grade book.

        Returns
        -------
        tuple
            Notebook and resources.
        """
        names = resources["nbgrader"]
        with Gradebook(names["db_url"]) as gradebook:
            released = gradebook.find_notebook(names["notebook"], names["assignment"])
            sources = {cell.name: cell.source for cell in released.source_cells}
            points = {cell.name: cell.max_score for cell in released.grade_cells}
            answers = {cell.name for cell in released.solution_cells}
        places: dict[str, int] = {}
        for place, cell in enumerate(nb.cells):
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            # Where a name stands twice, the last one counts, as it does in a run.
            if name in places:
                nb.cells[places[name]].metadata.pop("nbgrader")
            cell.metadata.pop("nbgrader", None)
            if name in sources:
                places[name] = place
                cell.metadata = {"nbgrader": _metadata(name, points, answers)}
        missing = [name for name in points if name not in places]
        for name in missing:
            self.log.warning(f"{name} was missing and was put back", extra=_NOTE)
            cell = nbformat.v4.new_code_cell(sources[name])
            cell.metadata["nbgrader"] = _metadata(name, points, answers)
            answer = name.removeprefix("check-")
            after = next(
                (
                    place
                    for place, other in enumerate(nb.cells)
                    if other.metadata.get("nbgrader", {}).get("grade_id") == answer
                ),
                len(nb.cells) - 1,
            )
            nb.cells.insert(after + 1, cell)
        # A notebook of an older format has no ids; nbgrader's own cells need none.
        if (nb.nbformat, nb.nbformat_minor) < (4, 5):
            for cell in nb.cells:
                cell.pop("id", None)
        return nb, resources


_NOTE = {"course": True}


def _metadata(name: str, points: dict[str, float], answers: set[str]) -> dict:
    cell = {
        "grade": name in points,
        "grade_id": name,
        "locked": name not in answers,
        "schema_version": 3,
        "solution": name in answers,
        "task": False,
    }
    return {**cell, "points": points[name]} if name in points else cell


class SandboxedExecute(Execute):
    """Run a submission in a sandbox, and count what the course's checks said.

    - It sees Python, the course's package and the lesson's data, and nothing else.
    - What comes back is outputs; the cells stay those that were handed in.
    - A graded cell earns its points if it ended without an error and the lesson's own
      check, which nothing replaced, printed that it passed.
    """

    memory_mb = Integer(6144, help="Memory of a submission, in MiB.").tag(config=True)
    file_mb = Integer(1024, help="All files of a submission, in MiB.").tag(config=True)
    total_seconds = Integer(1800, help="Time of a submission, in seconds.").tag(
        config=True
    )
    answer_seconds = Integer(
        20, help="Time for a kernel to answer once it was interrupted, in seconds."
    ).tag(config=True)

    def preprocess(
        self, nb: Any, resources: dict | None = None, km: Any = None
    ) -> tuple[Any, dict]:
        """Execute a submission in a sandbox of its own.

        Parameters
        ----------
        nb : nbformat.NotebookNode
            What was submitted, sanitised; gets its outputs.
        resources : dict, optional
            nbgrader's.
        km : KernelManager, optional
            Not used: the kernel starts inside.

        Returns
        -------
        tuple
            The executed notebook and the resources.

        Raises
        ------
        SubmissionError
            When there is no sandbox, or the submission does not come to its end.
        """
        problem = sandbox.problem()
        if problem:
            raise SubmissionError(problem)
        resources = resources or {}
        name = resources["unique_key"]
        readable = _readable(name)
        # Such as lesson_01: the checks that the notebook imports. An assignment of
        # your own may have none.
        self.lesson = f"lesson_{name[:2]}"
        if not (CHECKS / f"{self.lesson}.py").exists():
            self.lesson = ""
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        self.nb = nb
        self.ended: set[int] = set()
        self.problem: str | None = None
        request = {
            "notebook": nb,
            "lesson": self.lesson,
            "checks": str(CHECKS),
            "probe": probe.SOURCE,
            "seconds": self.timeout or self.total_seconds,
            "answer_seconds": self.answer_seconds,
        }
        ended = sandbox.run(
            "course_utils.judge",
            json.dumps(request).encode(),
            read=readable,
            take=self._take,
            limits=sandbox.Limits(
                memory_mb=self.memory_mb,
                file_mb=self.file_mb,
                seconds=self.total_seconds,
            ),
            environment={"COURSE_DATA_SHARED": DATA},
        )
        if ended.stopped:
            raise SubmissionError(f"it {ended.stopped}, {self._place()}")
        if self.problem is None:
            raise SubmissionError(
                f"it ended the program that runs it, {self._place()}"
                + (f" ({ended.log})" if ended.log and not self.ended else "")
            )
        if self.problem:
            raise SubmissionError(self.problem)
        for place, cell in enumerate(nb.cells):
            if _is_graded(cell) and place not in self.ended:
                _refuse(cell, "this cell did not run")
        _drop_scripts(nb, _released_texts(self._root(), resources["nbgrader"]))
        return nb, resources

    def _place(self) -> str:
        """Where a submission was when it was stopped, as far as it told."""
        last = max(self.ended, default=-1) + 1
        for place in range(last, len(self.nb.cells)):
            cell = self.nb.cells[place]
            if cell.cell_type == "code" and cell.source.strip():
                name = cell.metadata.get("nbgrader", {}).get("grade_id")
                return f"in {name or f'cell {place + 1}'}"
        return "after its last cell"

    def _take(self, line: bytes) -> None:
        """Put what the judge says of a cell into the notebook, as outputs only."""
        try:
            said = json.loads(line)
            if "problem" in said:
                self.problem = str(said["problem"])
                return
            place = said["cell"]
            cell = self.nb.cells[place]
            cell.outputs = [_output(one) for one in said["outputs"]]
            if isinstance(said["count"], int):
                cell.execution_count = said["count"]
            ok = said["status"] == "ok"
            passed = {str(one) for one in said["numbers"]}
            replaced = [str(one) for one in said["replaced"]]
            found = [str(one) for one in said["found"]]
            cut = bool(said["cut"])
        except (KeyError, IndexError, TypeError, ValueError, RecursionError):
            raise SubmissionError("what came out of its sandbox is no answer") from None
        self.ended.add(place)
        for name in dict.fromkeys([*found, *replaced]):
            self.log.warning(f"the notebook replaced {name}", extra=_NOTE)
        if cut:
            text = "Output was left out here: there was too much of it.\n"
            cell.outputs.append(_stream("stdout", text))
            where = cell.metadata.get("nbgrader", {}).get("grade_id")
            self.log.warning(
                f"output of {where or f'cell {place + 1}'} was cut", extra=_NOTE
            )
        if not _is_graded(cell):
            return
        for output in cell.outputs:
            # nbgrader takes points for what is on standard error, and gives the points
            # that a result names, even before an error.
            if output.output_type == "stream":
                output.name = "stdout"
            elif output.output_type == "execute_result" and (self.lesson or not ok):
                output.output_type = "display_data"
                del output["execution_count"]
        wanted = set(re.findall(r"\bcheck\.\w+\(", cell.source)) if self.lesson else ()
        if replaced:
            _refuse(cell, f"this notebook replaced {', '.join(replaced)}")
        elif not ok:
            _refuse(cell, "this cell ended with an error")
        elif len(passed) < len(wanted):
            _refuse(cell, "the check did not say that it passed")

    def _root(self) -> Path:
        converter = getattr(self.parent, "parent", None)
        return Path(converter.coursedir.root if converter else os.getcwd()).resolve()


def _is_graded(cell: Any) -> bool:
    return cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade")


def _refuse(cell: Any, why: str) -> None:
    """Give a graded cell no points; nbgrader gives none beside an error."""
    if any(one.output_type == "error" for one in cell.outputs):
        return
    said = f"Not counted: {why}."
    cell.outputs.append(
        nbformat.v4.new_output(
            "error", ename="NotCounted", evalue=said, traceback=[said]
        )
    )


def _output(given: dict[str, Any]) -> Any:
    """Make an output of what the judge says, of nothing but text and pictures."""
    kind = given["output_type"]
    if kind == "stream":
        name = "stderr" if given["name"] == "stderr" else "stdout"
        return _stream(name, _text(given["text"]))
    if kind == "error":
        return nbformat.v4.new_output(
            kind,
            ename=_text(given["ename"]),
            evalue=_text(given["evalue"]),
            traceback=[_text(line) for line in given["traceback"]],
        )
    data = {
        mime: _text(given["data"][mime])
        for mime in (*TEXT, *PICTURES, *MARKUP)
        if mime in given["data"]
    }
    if kind == "execute_result":
        count = given["execution_count"]
        count = count if isinstance(count, int) else None
        return nbformat.v4.new_output(kind, data=data, execution_count=count)
    return nbformat.v4.new_output("display_data", data=data)


def _stream(name: str, text: str) -> Any:
    return nbformat.from_dict({"output_type": "stream", "name": name, "text": text})


def _text(value: Any) -> str:
    text = "".join(value) if isinstance(value, list) else str(value)
    return text.encode("utf-8", "replace").decode("utf-8")


def _released_texts(root: Path, names: dict[str, str]) -> set[str]:
    """Texts of the released lesson, which need no mending."""
    path = root / "release" / names["assignment"] / f"{names['notebook']}.ipynb"
    with contextlib.suppress(OSError, ValueError):
        notebook = nbformat.read(path, as_version=4)
        return {c.source for c in notebook.cells if c.cell_type != "code"}
    return set()


def _drop_scripts(nb: Any, released: set[str]) -> None:
    """Leave no script for the pages of formgrader and feedback to run."""
    sanitiser = SanitizeHTML()
    for number, cell in enumerate(nb.cells):
        if cell.cell_type == "code" or cell.source not in released:
            sanitiser.preprocess_cell(cell, {}, number)


def _data_of(name: str) -> list[str]:
    """Name the data sets of a lesson."""
    return [
        one.name
        for one in catalog().values()
        if name[:2] in {f"{number:02}" for number in one.lessons}
    ]


def _readable(name: str) -> dict[str, str]:
    """Paths that a lesson reads, by their places in the sandbox.

    Its data, and matplotlib's list of fonts.
    """
    import matplotlib.font_manager  # makes its list of fonts, which takes seconds

    sets = _data_of(name)
    found = {one: locate(one) for one in sets}
    missing = [one for one, at in found.items() if not at]
    if missing:
        # Without its data a right answer would earn nothing.
        raise SubmissionError(
            f"Nothing is downloaded while grading, and {', '.join(missing)} is not "
            f"here: run `course data {' '.join(missing)}`."
        )
    read = {
        str(at[1].resolve()): f"{DATA}/{one}"
        for one, at in found.items()
        if at and at[0] in ("shared", "cache")
    }
    for path in Path(matplotlib.get_cachedir()).glob("fontlist-*.json"):
        read[str(path)] = f"{sandbox.HOME}/.cache/matplotlib/{path.name}"
    return read


# --- one submission after another --------------------------------------------


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
    for name in _data_of(assignment):
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


def is_copy_of(name: str, assignment: str) -> bool:
    """Whether a file looks like a browser's or JupyterLab's copy of a lesson.

    Parameters
    ----------
    name : str
        A file's name, such as ``"01_lesson (1).ipynb"`` or ``"01_lesson-Copy1.ipynb"``.
    assignment : str
        The lesson's name.

    Returns
    -------
    bool
        True for those two kinds.
    """
    pattern = rf"{re.escape(assignment)}(?: ?\(\d+\)|-Copy\d+)\.ipynb"
    return bool(re.fullmatch(pattern, name))


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
    staged = folder / f".{graded.student}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(staged, "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(staged, folder / f"{graded.student}.json")
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
