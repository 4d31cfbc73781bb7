"""Grade submissions with nbgrader, whatever is in them.

nbgrader runs a submission on the instructor's machine, and believes it. The two
preprocessors here stand among its own, by ``nbgrader_config.py``: one puts back
what a submission dropped, the other gives its kernel a fence and looks whether the
checks are still the course's. `grade` does what ``nbgrader autograde`` does, one
line a student.
"""

from __future__ import annotations

import ast
import inspect
import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils import checks
from course_utils.confine import landlock_version
from course_utils.data.fetch import cache_folder, catalog, locate, prepare
from course_utils.errors import CourseError, UsageError
from course_utils.lessons import pictures_in

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import Execute, NbGraderPreprocessor
from sqlalchemy.exc import SAWarning
from traitlets import Bool, Integer
from traitlets.config import Config, PyFileConfigLoader

CONFINE = Path(__file__).with_name("confine.py")
CHECKS = Path(checks.__file__).parent
CONFIG = "nbgrader_config.py"
# Older ones let a file be emptied by its name.
LANDLOCK = 3
# Seconds for a kernel to answer between two cells, once it was interrupted.
ANSWER_SECONDS = 20
LEAST_SECONDS = 20


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


def _data_of(name: str) -> list[str]:
    """Name the data sets of a lesson."""
    return [
        one.name
        for one in catalog().values()
        if name[:2] in {f"{number:02}" for number in one.lessons}
    ]


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


class ConfinedKernelManager(AsyncKernelManager):
    """Start a kernel behind a fence."""

    fence: dict | None = None

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """Put `course_utils.confine` before the kernel's own command.

        Parameters
        ----------
        extra_arguments : list of str, optional
            For the kernel.

        Returns
        -------
        list of str
            The command.
        """
        command = super().format_kernel_cmd(extra_arguments)
        fence = dict(self.fence or {})
        # Only this kernel's key: others could be told what to do with theirs.
        fence["read"] = [*fence["read"], self.connection_file]
        return [sys.executable, str(CONFINE), json.dumps(fence), *command]


class ConfinedExecute(Execute):
    """Run a submission so that it can harm nothing but itself.

    - Its kernel reads nothing of the instructor's and writes to its own folder.
    - It has a limit of memory, which shows as MemoryError in a cell.
    - After a cell that did not end, the next ones have half the time each.
    - Before and after a graded cell, the checks are compared with the course's.
    """

    memory_mb = Integer(4096, help="Data that a kernel may hold, in MiB.").tag(
        config=True
    )
    file_mb = Integer(1024, help="Largest file that a kernel may write, in MiB.").tag(
        config=True
    )
    confined_elsewhere = Bool(
        False,
        help="Say that a container or another user keeps submissions from your files, "
        "where the system's own fence, Landlock, is missing or too old.",
    ).tag(config=True)

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("kernel_manager_class", ConfinedKernelManager)
        super().__init__(*args, **settings)
        self.timeouts = 0
        self.timeout_func = self._seconds

    def preprocess(
        self, nb: Any, resources: dict | None = None, km: Any = None
    ) -> tuple[Any, dict]:
        """Execute a submission in a kernel and a temporary folder of its own.

        Parameters
        ----------
        nb : nbformat.NotebookNode
            What was submitted, sanitised.
        resources : dict, optional
            nbgrader's.
        km : KernelManager, optional
            None starts one.

        Returns
        -------
        tuple
            The executed notebook and the resources.

        Raises
        ------
        SubmissionError
            When the kernel dies, or goes on after it was interrupted.
        """
        if landlock_version() < LANDLOCK and not self.confined_elsewhere:
            raise SubmissionError(
                "This system has no Landlock, or an old one, so a submission could "
                "change your files. Grade on Linux 6.2 or later; or, in a container or "
                "as a user who owns nothing else, set "
                "c.ConfinedExecute.confined_elsewhere."
            )
        self.timeouts = 0
        self.where = "its first cell"
        name = (resources or {})["unique_key"]
        missing = [one for one in _data_of(name) if not locate(one)]
        if missing:
            # Without its data a right answer would earn nothing.
            raise SubmissionError(
                f"Nothing is downloaded while grading, and {', '.join(missing)} is not "
                f"here: run `course data {' '.join(missing)}`."
            )
        # Such as lesson_01: the checks that the notebook imports. An assignment of
        # your own may have none.
        self.lesson = f"lesson_{name[:2]}"
        if not (CHECKS / f"{self.lesson}.py").exists():
            self.lesson = ""
        with tempfile.TemporaryDirectory(
            prefix="course-grade-", ignore_cleanup_errors=True
        ) as scratch:
            self.scratch = scratch
            try:
                return super().preprocess(nb, resources, km)
            except DeadKernelError:
                raise SubmissionError(
                    f"its kernel died in {self.where}: it ended itself, or the machine "
                    "ran out of memory"
                ) from None
            except CellTimeoutError:
                raise SubmissionError(_went_on(self.where)) from None

    def _seconds(self, cell: Any) -> int | None:
        """Time that a cell has: less after each that did not end."""
        if not self.timeout or self.timeout < 0:
            return None
        left = self.timeout // 2**self.timeouts
        return max(min(LEAST_SECONDS, self.timeout), left)

    def start_new_kernel(self, **settings: Any) -> None:
        """Start the kernel behind its fence.

        Parameters
        ----------
        **settings
            Passed on.
        """
        folder = str(Path(self.resources["metadata"]["path"]).resolve())
        self.km.fence = {
            "landlock": bool(landlock_version()),
            "memory": self.memory_mb << 20,
            "file_size": self.file_mb << 20,
            "write": [folder, self.scratch],
            **_readable(self._root()),
        }
        environment = {
            # A thread reserves 80 MB of what the kernel may hold, before any setting.
            "OPENBLAS_NUM_THREADS": "1",
            **os.environ,
            "TMPDIR": self.scratch,
            "IPYTHONDIR": f"{self.scratch}/ipython",
            "KERAS_HOME": f"{self.scratch}/keras",
        }
        # What a kernel says of itself is not the instructor's to read.
        super().start_new_kernel(env=environment, stderr=subprocess.DEVNULL, **settings)

    def _root(self) -> Path:
        converter = getattr(self.parent, "parent", None)
        return Path(converter.coursedir.root if converter else os.getcwd()).resolve()

    async def on_cell_execute(self, cell: Any, cell_index: int) -> None:
        """Look, before a cell runs, that the kernel answers and the checks are ours.

        Parameters
        ----------
        cell : nbformat.NotebookNode
            The cell.
        cell_index : int
            Its place.
        """
        self.where = f"cell {cell_index + 1}"
        if _is_graded(cell):
            self.where = cell.metadata.nbgrader["grade_id"]
            await self._look(cell, mend=True)
        elif self.timeouts:
            await self._ask("None")

    async def on_cell_executed(self, **given: Any) -> None:
        """Record a cell's errors; a graded cell counts only by the course's checks.

        Parameters
        ----------
        **given
            nbclient's ``cell``, ``cell_index`` and ``execute_reply``.
        """
        super().on_cell_executed(**given)
        cell = given["cell"]
        ended = given["execute_reply"]["content"]
        if ended.get("status") == "error":
            await self._ask("None", FREE)
        if ended.get("ename") == "CellTimeoutError":
            self.timeouts += 1
        elif _is_graded(cell):
            for name in await self._look(cell, mend=False):
                said = f"Not counted: this notebook replaced {name}."
                cell.outputs.append(
                    nbformat.v4.new_output(
                        "error", ename="Replaced", evalue=said, traceback=[said]
                    )
                )

    async def _look(self, cell: Any, mend: bool) -> list[str]:
        """Name what the notebook replaced; give it the course's checks again."""
        if not self.lesson:
            return []
        arguments = f"{self.lesson!r}, {str(CHECKS)!r}, {mend}, get_ipython().user_ns"
        found = await self._ask(
            f"(lambda ns: (exec({PROBE!r}, ns), ns['replaced']({arguments}))[1])"
            "({'__name__': 'course'})"
        )
        for name in found:
            self.log.warning(f"the notebook replaced {name}", extra=_NOTE)
        return found

    async def _ask(self, expression: str, code: str = "") -> Any:
        """Run code and evaluate an expression in the kernel, beside the notebook."""
        assert self.kc is not None
        asked = self.kc.execute(
            code, silent=True, user_expressions={"it": expression}, stop_on_error=False
        )
        try:
            while True:
                reply = await self.kc.get_shell_msg(timeout=ANSWER_SECONDS)
                if reply["parent_header"].get("msg_id") == asked:
                    break
        except queue.Empty:
            if not await self.km.is_alive():
                raise DeadKernelError("Kernel died") from None
            raise SubmissionError(_went_on(self.where)) from None
        answer = reply["content"].get("user_expressions", {}).get("it", {})
        if answer.get("ename") == "MemoryError":
            raise SubmissionError(f"it left no memory, in or before {self.where}")
        if answer.get("status") != "ok":
            return ["Python's own functions"]
        return ast.literal_eval(answer["data"]["text/plain"])


# An error is kept with all that its functions held; one that filled the memory would
# leave none to the cells below. Before Python 3.13 a look at `f_locals` leaves a copy,
# and the next look renews it.
FREE = """
def _free():
    import contextlib, sys
    error = getattr(sys, "last_value", None)
    while error is not None:
        step = error.__traceback__
        while step is not None:
            with contextlib.suppress(RuntimeError):
                step.tb_frame.clear()
                step.tb_frame.f_locals
            step = step.tb_next
        error = error.__context__
_free()
del _free
"""


def _went_on(where: str) -> str:
    return f"it went on after it was interrupted, in or before {where}"


def _is_graded(cell: Any) -> bool:
    return cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade")


def replaced(
    lesson: str, folder: str, mend: bool, notebook: dict[str, Any]
) -> list[str]:
    """Name what a notebook put in the place of the course's checks or a library.

    This function is sent to the student's kernel as text, so it stands alone. Code
    that shares a process with its judge can in the end deceive it; this finds what
    one does on the way to a forged ✅, and names it for a human being.

    Parameters
    ----------
    lesson : str
        Module of the checks, such as ``lesson_01``.
    folder : str
        Where the modules of `course_utils.checks` lie.
    mend : bool
        Import the checks again where they were replaced.
    notebook : dict
        The notebook's names; ``check`` becomes the lesson's module.

    Returns
    -------
    list of str
        Names such as ``course_utils.checks``; empty where all is well.
    """
    import ast
    import contextlib
    import functools
    import importlib
    import sys
    import types

    core = "course_utils.checks.core"

    def codes(code):
        inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
        return {code}.union(*map(codes, inner))

    library = {contextlib.contextmanager(codes).__code__}

    def written(value):
        """Code of a function as its author wrote it, without its decorator."""
        kind = type(value)
        if kind in (staticmethod, classmethod, type(functools.cache(len))):
            value = value.__wrapped__
        elif kind is property:
            value = value.fget
        elif kind is vars(sys.modules[core]).get("Check"):
            value = vars(value).get("_function")
        elif getattr(value, "__code__", None) in library:
            value = value.__wrapped__
        return value.__code__ if type(value) is types.FunctionType else None

    def same(full, path):
        with open(path, encoding="utf-8") as stream:
            tree = ast.parse(stream.read())
        genuine = codes(compile(tree, path, "exec"))
        live = sys.modules.get(full)
        if type(live) is not types.ModuleType:
            return False
        names = vars(live)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                mine = written(names.get(node.name))
                if mine not in genuine or mine.co_name != node.name:
                    return False
            elif isinstance(node, ast.ClassDef):
                kept = vars(names.get(node.name, int))
                for part in node.body:
                    if isinstance(part, ast.FunctionDef):
                        if written(kept.get(part.name)) not in genuine:
                            return False
            elif isinstance(node, ast.ImportFrom) and "checks" in (node.module or ""):
                source = vars(sys.modules[str(node.module)])
                if any(names.get(a.name) is not source[a.name] for a in node.names):
                    return False
            elif isinstance(node, ast.Import):
                for a in node.names:
                    if a.asname and names.get(a.asname) is not sys.modules[a.name]:
                        return False
        return True

    def all_same():
        return all(
            same(f"course_utils.checks.{name}", f"{folder}/{name}.py")
            for name in ("core", lesson)
        )

    found = []
    full = f"course_utils.checks.{lesson}"
    # A notebook whose set-up failed has no checks: they will say so themselves.
    there = full in sys.modules or "check" in notebook
    if there and not all_same():
        found.append("course_utils.checks")
    if mend and found:
        for name in list(sys.modules):
            if name.startswith("course_utils.checks"):
                del sys.modules[name]
        importlib.import_module(full)
        if not all_same():
            found.append("the way Python imports")
    if mend and there:
        notebook["check"] = sys.modules[full]
    # A function written in a cell has no business in a module.
    for name, module in list(sys.modules.items()):
        if name in ("__main__", "__mp_main__") or type(module) is not types.ModuleType:
            continue
        for key, value in list(vars(module).items()):
            if (
                type(value) is types.FunctionType  # asks the value nothing
                and "ipykernel_" in value.__code__.co_filename
                and not name.startswith("course_utils.checks")
            ):
                found.append(f"{name}.{key}")
    return found


# Read once: the file may change while a class is graded.
PROBE = f"from __future__ import annotations\n{inspect.getsource(replaced)}"


def _readable(root: Path) -> dict[str, list[str]]:
    """List what a kernel may read although it lies in a folder that is hidden."""
    import matplotlib.font_manager  # makes its list of fonts, which takes seconds

    home = Path.home().resolve()
    package = Path(__file__).resolve().parent
    shared = os.environ.get("COURSE_DATA_SHARED")
    folders = [sys.prefix, sys.base_prefix]
    folders += [matplotlib.get_cachedir(), matplotlib.get_configdir()]
    read = [package, cache_folder(), root / "images", *map(Path, folders)]
    read += [Path(shared).expanduser()] if shared else []
    hidden = [home, root, package.parent]
    seen = []
    for path in map(Path, filter(None, sys.path)):
        # The checkout itself is on the path: its folders are named above.
        if any(path == one or path in one.parents for one in hidden):
            seen.append(path)
        else:
            read.append(path)
    return {
        "read": sorted({str(path.resolve()) for path in read}),
        "hide": [str(one) for one in hidden],
        "list_only": [str(one) for one in seen],
    }


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
    UsageError
        When the lesson was not released or a student submitted nothing.
    DataError
        When the lesson's data are not here and cannot be had.
    """
    config = read_config(root)
    config.Autograde.force = force
    address = CourseDirectory(config=config).db_url
    with Gradebook(address, config.CourseDirectory.course_id) as gradebook:
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
    for name in _data_of(assignment):
        prepare(name)
    for student in students or found:
        on_start(student)
        yield _grade_one(config, assignment, student)


def _grade_one(config: Config, assignment: str, student: str) -> Graded:
    directory = CourseDirectory(config=config)
    directory.assignment_id, directory.student_id = assignment, student
    folder = Path(directory.root) / "submitted" / student / assignment
    if not (folder / f"{assignment}.ipynb").is_file():
        there = sorted(path.name for path in folder.iterdir())
        return Graded(
            student,
            problem=f"there is no {assignment}.ipynb in its folder, which holds "
            f"{', '.join(there) or 'nothing'}",
        )
    listener = _Listener()
    log = logging.getLogger(f"course.grading.{student}")
    log.propagate = False
    log.addHandler(listener)
    before = _state(directory, assignment, student)
    converter = _Autograde(coursedir=directory, config=config, log=log)
    problem = ""
    try:
        with warnings.catch_warnings():
            # nbgrader 0.9.6 and SQLAlchemy 2.1: it autoflushes, and nothing is lost.
            warnings.simplefilter("ignore", SAWarning)
            converter.start()
    except NbGraderException:
        stopped = converter.stopped_by
        problem = _explained(stopped) if stopped else listener.error
    except Exception as error:
        problem = _explained(error)
    with Gradebook(directory.db_url, directory.course_id) as gradebook:
        try:
            submission = gradebook.find_submission(assignment, student)
            score, most = submission.score, submission.max_score
        except MissingEntry:
            score = most = 0.0
    done = bool(problem) or before != _state(directory, assignment, student)
    return Graded(student, score, most, problem, listener.notes, done)


def _state(directory: CourseDirectory, assignment: str, student: str) -> float:
    """When a submission was graded; 0 where it was not."""
    path = directory.format_path("autograded", student, assignment)
    notebook = Path(path) / f"{assignment}.ipynb"
    return notebook.stat().st_mtime if notebook.exists() else 0.0


def _explained(error: BaseException) -> str:
    """One sentence for what stopped a submission."""
    if isinstance(error, CourseError):
        return str(error)
    if isinstance(error, nbformat.reader.NotJSONError | UnicodeDecodeError):
        return "it is not a notebook: its file is no JSON"
    said = " ".join(str(error).split())
    said = said if len(said) <= 200 else f"{said[:199]}…"
    return f"nbgrader could not read it ({type(error).__name__}: {said})"
