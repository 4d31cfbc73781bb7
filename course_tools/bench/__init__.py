"""Measure a lesson's recipe beside the original it comes from, in one run.

A lesson that has a bench has a module ``lesson_NN`` here with ``run(options)`` and,
where it takes options of its own, ``add_options(parser)``. A lesson's recipe stands in
its notebook, in the cells tagged ``recipe``: `recipe` executes exactly those.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from course_tools.lessons import find_lessons
from course_utils import results
from course_utils.errors import CourseError, UsageError
from course_utils.files import replacing

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def benches() -> dict[int, ModuleType]:
    """Modules of the lessons that have a bench.

    Returns
    -------
    dict of int to module
        By the lesson's number.
    """
    names = [found.name for found in pkgutil.iter_modules(__path__)]
    return {
        int(name[-2:]): importlib.import_module(f"{__name__}.{name}")
        for name in sorted(names)
        if name.startswith("lesson_")
    }


def chosen(lessons: Sequence[str]) -> list[ModuleType]:
    """Choose the benches to run.

    Parameters
    ----------
    lessons : sequence of str
        Each ``5``, ``05`` or a lesson's name; none means all that have a bench.

    Returns
    -------
    list of module
        In the order asked for.

    Raises
    ------
    UsageError
        When there is no such lesson, or it has no bench.
    """
    found = benches()
    if not lessons:
        return list(found.values())
    numbers = [lesson.number for lesson in find_lessons(list(lessons))]
    for number in numbers:
        if number not in found:
            those = ", ".join(map(str, found))
            raise UsageError(f"Lesson {number} has no bench. Those that have: {those}.")
    return [found[number] for number in numbers]


def n_threads() -> int:
    """Count the processors that this process may use.

    Returns
    -------
    int
        At least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def recipe(number: int) -> dict[str, Any]:
    """Execute the cells tagged ``recipe`` of a lesson's solution.

    Parameters
    ----------
    number : int
        The lesson's number.

    Returns
    -------
    dict
        What those cells define, by name.

    Raises
    ------
    CourseError
        When the lesson has no such cells.
    """
    import nbformat

    lesson = find_lessons([str(number)])[0]
    notebook = nbformat.read(lesson.solution, as_version=4)
    defined: dict[str, Any] = {"__name__": f"recipe_{number:02}"}
    cells = [c for c in notebook.cells if "recipe" in c.metadata.get("tags", [])]
    if not cells:
        raise CourseError(f"{lesson.name} has no cell with the tag 'recipe'.")
    for cell in cells:
        where = f"{lesson.name}, cell {cell.get('id', '')}"
        exec(compile(cell.source, where, "exec"), defined)
    return defined


def run_apart(
    module: str,
    arguments: Sequence[str],
    on_line: Callable[[dict[str, Any]], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Run a module in a process of its own, with as many threads as there are cores.

    Parameters
    ----------
    module : str
        Its name, as after ``python -m``; it prints one JSON object a line.
    arguments : sequence of str
        What it is called with.
    on_line : callable
        Called with each object as it comes.

    Returns
    -------
    list of dict
        The objects, in their order.

    Raises
    ------
    CourseError
        When the process fails; the message ends with its last line.
    """
    threads = str(n_threads())
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONUNBUFFERED": "1"}
    environment |= dict.fromkeys(THREAD_VARIABLES, threads)
    said, other = [], ""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                if line.startswith("{"):
                    said.append(json.loads(line))
                    on_line(said[-1])
                else:
                    other = line.strip() or other
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise CourseError(f"{module} {' '.join(arguments)} stopped: {other}")
    return said


def keep_tables(keep: bool) -> None:
    """Let `store` write, or leave what is stored as it is.

    Parameters
    ----------
    keep : bool
        Whether ``course bench --store`` was called.
    """
    global _keeping
    _keeping = keep


_keeping = False


def store(
    name: str, command: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Path:
    """Keep a table for lessons to show with `course_utils.results.stored`.

    Nothing is written unless `keep_tables` was told to.

    Parameters
    ----------
    name : str
        Such as ``"03_topics_46"``: lesson and content.
    command : str
        What measures it again, such as ``course bench 3``.
    columns : sequence of str
        Heads; the first names the rows.
    rows : sequence of sequences
        Text and numbers, rounded to the digits that mean something.

    Returns
    -------
    pathlib.Path
        The file.
    """
    kept = {
        "command": command,
        "machine": f"{n_threads()} cores, {time.strftime('%Y-%m')}",
        "columns": list(columns),
        "rows": [list(row) for row in rows],
    }
    path = results.FOLDER / f"{name}.json"
    if _keeping:
        with replacing(path) as (written,):
            written.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return path


def table(rows: Sequence[Sequence[str]]) -> str:
    """Set rows of words in columns, numbers to the right.

    Parameters
    ----------
    rows : sequence of sequences of str
        The first is the head; all have the same length.

    Returns
    -------
    str
        One line a row.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
