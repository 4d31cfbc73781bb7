"""Execute solution lessons without a browser, and measure what they take."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import platform
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from course_tools.bench import THREAD_VARIABLES, n_threads
from course_tools.lessons import SOLUTIONS, Lesson
from course_utils import profile
from course_utils.checks.answers import is_mark
from course_utils.errors import CourseError
from course_utils.files import replacing

import nbformat

RECORD = SOLUTIONS / "measured.json"
CELL_SECONDS = 900
WIDGET = "application/vnd.jupyter.widget-view+json"
BUDGET_SECONDS, BUDGET_MB = 120, 2048
TIME_LINE = re.compile(r"\*\*Time\*\* [\d,]+ s to run")
MEMORY_LINE = re.compile(r"\*\*Memory\*\* [\d,]+ MB")
HIDDEN_TESTS = re.compile(
    r"\n?### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", re.DOTALL
)


@dataclass
class Result:
    """What came of one lesson's run.

    Attributes
    ----------
    seconds : float
        Wall-clock time from starting the kernel to the last cell.
    peak_mb : float
        Largest resident memory of the kernel and its children, in MiB.
    problem : str
        Empty, or the failing cell and its error in one line.
    notebook : nbformat.NotebookNode
        The notebook with the outputs of this run.
    """

    seconds: float
    peak_mb: float
    problem: str
    notebook: Any

    def line(self, name: str) -> str:
        """Say in one line how the lesson of this name ran."""
        mark = "❌" if self.problem else "✅"
        line = f"{mark} {name}  {self.seconds:5.0f} s  {self.peak_mb:6,.0f} MB"
        if self.problem:
            return f"{line}  {self.problem}"
        if profile() == "quick":
            if self.seconds > BUDGET_SECONDS:
                line += f"  slower than the budget of {BUDGET_SECONDS} s"
            if self.peak_mb > BUDGET_MB:
                line += f"  larger than the budget of {BUDGET_MB:,} MB"
        return line


def run_lesson(
    lesson: Lesson, on_cell: Callable[[int, int], None] = lambda done, total: None
) -> Result:
    """Execute a solution lesson from the top in a kernel of its own.

    Parameters
    ----------
    lesson : Lesson
        The lesson; its file is not changed.
    on_cell : callable
        Called with the number of code cells done and their total.

    Returns
    -------
    Result
        Time, memory, outputs; a failure is in `problem`, not raised.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import (
        CellExecutionError,
        CellTimeoutError,
        DeadKernelError,
    )

    notebook = nbformat.read(lesson.solution, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    done = 0
    running: list[int] = []

    def advance(**_: Any) -> None:
        nonlocal done
        done += 1
        on_cell(done, len(cells))

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        on_cell_execute=lambda cell, cell_index: running.append(cell_index),
        on_cell_executed=advance,
        record_timing=False,
        resources={"metadata": {"path": str(lesson.solution.parent)}},
        timeout=CELL_SECONDS,
    )
    problem = ""
    with _MemoryWatch(client) as watch:
        start = time.perf_counter()
        try:
            # The kernel's own log is not the lesson's: keep it off the terminal.
            client.execute(stderr=subprocess.DEVNULL)
        except CellExecutionError as error:
            said = re.sub(r"\x1b\[[\d;]*m", "", error.evalue or "").strip()
            problem = f"{error.ename}: {said}" if said else error.ename
        except CellTimeoutError:
            problem = f"took longer than {CELL_SECONDS} s"
        except DeadKernelError:
            problem = "the kernel died, most likely because it ran out of memory"
        seconds = time.perf_counter() - start
    if problem:
        problem = f"{_name_of_failing_cell(notebook, running)}: {problem}"
    return Result(seconds, watch.peak / 2**20, problem, notebook)


def run_lessons(
    lessons: Sequence[Lesson],
    jobs: int = 1,
    on_cell: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Iterator[tuple[Lesson, Result]]:
    """Run lessons in turn, or several at a time.

    Parameters
    ----------
    lessons : sequence of Lesson
        What to run.
    jobs : int
        How many at a time. Above 1, each runs in a process of its own with its share
        of the processors as threads, and those that took longest start first.
    on_cell : callable
        Called with a lesson's name, its code cells done and their total; only where
        lessons run in turn.

    Yields
    ------
    lesson : Lesson
        One that has ended.
    result : Result
        As `run_lesson` returns it.
    """
    if jobs == 1:
        for lesson in lessons:
            yield lesson, run_lesson(lesson, partial(on_cell, lesson.name))
        return
    took = {name: measured["seconds"] for name, measured in read_record().items()}
    with ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_limit_threads,
        initargs=(max(1, n_threads() // jobs),),
    ) as pool:
        ends = {
            pool.submit(run_lesson, lesson): lesson
            for lesson in sorted(lessons, key=lambda one: -took.get(one.name, 0))
        }
        for end in as_completed(ends):
            yield ends[end], end.result()


def _limit_threads(threads: int) -> None:
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, str(threads))


class _MemoryWatch:
    """Poll the resident memory of a client's kernel while a block runs."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        while not self._over.wait(0.2):
            provisioner = getattr(self.client.km, "provisioner", None)
            number = getattr(provisioner, "pid", None)
            if not number:
                continue
            try:
                kernel = psutil.Process(number)
                family = [kernel, *kernel.children(recursive=True)]
                self.peak = max(self.peak, sum(p.memory_info().rss for p in family))
            except psutil.Error:
                continue


def _name_of_failing_cell(notebook: Any, running: list[int]) -> str:
    if not running:
        return "before the first cell"
    cell = notebook.cells[running[-1]]
    name = cell.metadata.get("nbgrader", {}).get("grade_id") or cell.get("id", "")
    return f"cell {running[-1] + 1} ({name})"


def save(lesson: Lesson, result: Result) -> None:
    """Store a run's outputs in the solution, and what it took in the record.

    Parameters
    ----------
    lesson : Lesson
        The lesson that was run.
    result : Result
        A run without a problem, at the quick profile.

    Raises
    ------
    CourseError
        At the full profile: stored outputs are the quick profile's.
    """
    if profile() != "quick":
        raise CourseError(
            "Stored outputs are those of the quick profile: unset COURSE_PROFILE."
        )
    notebook = result.notebook
    measured = {
        "seconds": 5 * math.ceil(result.seconds / 5),
        "peak_mb": 50 * math.ceil(result.peak_mb / 50),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "code_sha256": code_digest(notebook),
    }
    # What differs between machines, or between text and notebook, would only make
    # noise in a diff.
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("jupytext", None)
    # A stored widget is megabytes and shows nothing without its kernel.
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("lines_to_next_cell", None)
        # Which answer a check judged, only a student's copy has to say.
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_mark(output)]
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
        if cell.cell_type == "markdown":
            cell.source = with_measured(cell.source, measured)
    record = read_record()
    record[lesson.name] = measured
    text = json.dumps(dict(sorted(record.items())), indent=1, ensure_ascii=False)
    write_files(
        {
            lesson.solution: (nbformat.writes(notebook) + "\n").encode(),
            RECORD: (text + "\n").encode(),
        }
    )


def with_measured(text: str, measured: dict[str, Any]) -> str:
    """Put measured time and memory into a lesson's head.

    Parameters
    ----------
    text : str
        Markdown; without the two phrases it stays as it is.
    measured : dict
        With ``seconds`` and ``peak_mb``.

    Returns
    -------
    str
        The text with ``**Time** 60 s to run`` and ``**Memory** 950 MB`` renewed.
    """
    text = TIME_LINE.sub(f"**Time** {measured['seconds']:,} s to run", text)
    return MEMORY_LINE.sub(f"**Memory** {measured['peak_mb']:,} MB", text)


def code_digest(notebook: Any) -> str:
    """Digest of a notebook's code, which tells whether a record is out of date.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Any notebook.

    Returns
    -------
    str
        sha256 over the sources of its code cells. Hidden tests are left out: a
        student does not run them, and they take no time.
    """
    sources = [
        HIDDEN_TESTS.sub("", cell.source)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def read_record() -> dict[str, dict[str, Any]]:
    """Read what the lessons took when their outputs were stored.

    Returns
    -------
    dict
        By lesson name: ``seconds``, ``peak_mb``, ``cores``, ``python`` and
        ``code_sha256``; empty where nothing was recorded yet.
    """
    if not RECORD.exists():
        return {}
    return json.loads(RECORD.read_text(encoding="utf-8"))


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files so that a full disk changes none: all are staged, then replaced.

    Parameters
    ----------
    contents : mapping of pathlib.Path to bytes
        What each file will hold; missing folders are made. They are replaced in this
        order.

    Raises
    ------
    CourseError
        When one cannot be written; none has lost what it held.
    """
    path = next(iter(contents), Path())
    try:
        for path in contents:
            path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(*contents) as written:
            for path, staged in zip(contents, written, strict=True):
                with open(staged, "wb") as stream:
                    stream.write(contents[path])
    except OSError as error:
        raise CourseError(
            f"{path} cannot be written ({error.strerror or error}); nothing was lost. "
            "Mend that, and run this again."
        ) from None
