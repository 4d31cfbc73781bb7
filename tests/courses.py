"""Small courses to grade in: a folder with a lesson, and what students hand in."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from course_tools.authoring import student_version
from course_tools.lessons import ROOT, Lesson
from tests.lessons import answers, nbgrader, solution

import nbformat
from nbclient import NotebookClient

# Names that an answer may use without bringing them along.
KNOWN = {"np"}


def make_course(folder: Path, lesson: Lesson, *, whole: bool, timeout: int = 300):
    """Lay out and release a course of one lesson: all of it, or its exercises."""
    made = Path(_released(lesson, whole).name)
    shutil.copytree(made, folder, symlinks=True, dirs_exist_ok=True)
    with open(folder / "nbgrader_config.py", "a", encoding="utf-8") as stream:
        stream.write(f"\nc.Execute.timeout = {timeout}\n")
    return folder


@cache
def _released(lesson: Lesson, whole: bool) -> tempfile.TemporaryDirectory:
    """Make a course to copy from; it lasts as long as the tests' process."""
    kept = tempfile.TemporaryDirectory(prefix="course-tests-")
    folder = Path(kept.name)
    for name in ("solutions", "notebooks"):
        (folder / name).mkdir(parents=True)
    for name in ("images", "docs"):
        (folder / name).symlink_to(ROOT / name)
    notebook = nbformat.from_dict(solution(lesson))
    if not whole:
        notebook = trimmed(notebook)
    path = folder / "solutions" / lesson.solution.name
    nbformat.write(notebook, path)
    (folder / "notebooks" / lesson.notebook.name).write_text(
        student_version(path), encoding="utf-8"
    )
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    nbgrader_command(folder, "generate_assignment", lesson.name)
    return kept


def trimmed(notebook: Any) -> Any:
    """Keep tasks, answers, checks, and of the imports those that they need."""
    notebook = nbformat.from_dict(notebook)
    first = next(n for n, c in enumerate(notebook.cells) if c.cell_type == "code")
    kept = {n for n, c in enumerate(notebook.cells) if nbgrader(c)}
    kept |= {n - 1 for n in kept if notebook.cells[n - 1].cell_type == "markdown"}
    set_up = notebook.cells[first]
    notebook.cells = [
        c for n, c in enumerate(notebook.cells) if n <= first or n in kept
    ]
    used = {
        node.id
        for cell in notebook.cells
        if cell.cell_type == "code" and cell is not set_up
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Name)
    }
    set_up.source = "\n".join(
        ast.unparse(node)
        for node in ast.parse(set_up.source).body
        if not isinstance(node, ast.Import | ast.ImportFrom)
        or {(a.asname or a.name).split(".")[0] for a in node.names}
        & {*used, "np", "course_utils"}
    )
    if "keras" not in used:  # TensorFlow takes seconds in each kernel
        set_up.source = re.sub(r".*configure_tensorflow.*\n", "", set_up.source)
    return notebook


def nbgrader_command(folder: Path, *arguments: str, check: bool = True):
    """Run nbgrader as one types it."""
    # nbgrader calls alembic by its name.
    commands = os.path.dirname(sys.executable)
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert not check or ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def read(folder: Path, lesson: Lesson, place: str = "notebooks") -> Any:
    return nbformat.read(folder / place / lesson.notebook.name, as_version=4)


def submit(folder: Path, lesson: Lesson, student: str, content: Any) -> Path:
    """Put what a student hands in where nbgrader looks for it."""
    target = folder / "submitted" / student / lesson.name / lesson.notebook.name
    target.parent.mkdir(parents=True)
    for picture in (folder / "release" / lesson.name).rglob("*.png"):
        place = target.parent / picture.relative_to(folder / "release" / lesson.name)
        place.parent.mkdir(exist_ok=True)
        shutil.copy(picture, place)
    text = content if isinstance(content, str) else nbformat.writes(content)
    target.write_text(text, encoding="utf-8")
    return target


def cell_named(notebook: Any, name: str) -> Any:
    return next(c for c in notebook.cells if nbgrader(c).get("grade_id") == name)


def exercises(notebook: Any) -> list[str]:
    return [
        nbgrader(c)["grade_id"] for c in notebook.cells if nbgrader(c).get("solution")
    ]


def solve(notebook: Any, lesson: Lesson, *names: str) -> Any:
    """Paste the solution's answers in."""
    for name in names:
        source = cell_named(solution(lesson), name).source
        cell_named(notebook, name).source = source
    return notebook


def right(folder: Path, lesson: Lesson) -> Any:
    notebook = read(folder, lesson)
    return solve(notebook, lesson, *exercises(notebook))


def half_right(folder: Path, lesson: Lesson) -> Any:
    """Every second answer is right, the others are known to be plausibly wrong."""
    notebook = read(folder, lesson)
    names = exercises(notebook)
    solve(notebook, lesson, *names[::2])
    for name in names[1::2]:
        cell_named(notebook, name).source = wrong_answer(lesson, name)
    return notebook


def blank(folder: Path, lesson: Lesson) -> Any:
    return read(folder, lesson)


def broken(folder: Path, lesson: Lesson) -> Any:
    """All is right but for a parenthesis in the first answer."""
    notebook = right(folder, lesson)
    cell = cell_named(notebook, exercises(notebook)[0])
    cell.source += "\n    return (1,"
    return notebook


VERSIONS: dict[str, Callable[[Path, Lesson], Any]] = {
    "right": right,
    "half-right": half_right,
    "blank": blank,
    "broken": broken,
}


def wrong_answer(lesson: Lesson, name: str) -> str:
    """Source of a plausible wrong answer that stands by itself."""
    return plausible_mistake(lesson, name)[0]


def plausible_mistake(lesson: Lesson, name: str) -> tuple[str, str]:
    """Source of a plausible wrong answer, and words that its refusal holds."""
    for answer, words in answers(lesson)[name].wrong:
        answer = answer[0] if isinstance(answer, tuple) else answer
        if not inspect.isfunction(answer) or answer.__name__ == "<lambda>":
            continue
        source = textwrap.dedent(inspect.getsource(answer))
        tree = ast.parse(source).body[0]
        used = set(answer.__code__.co_names) & set(answer.__globals__)
        if used <= KNOWN and not answer.__closure__ and not tree.decorator_list:
            return source.replace(f"def {answer.__name__}(", f"def {name}(", 1), words
    return f"def {name}(*given, **settings):\n    return 0", ""


def announced(folder: Path, notebook: Any) -> dict[str, float]:
    """Points by check, as a student sees them who runs the notebook to its end."""
    notebook = nbformat.from_dict(notebook)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        allow_errors=True,
        timeout=900,
        resources={"metadata": {"path": str(folder / "notebooks")}},
    )
    client.execute(stderr=subprocess.DEVNULL)
    points = {}
    for cell in notebook.cells:
        if nbgrader(cell).get("grade"):
            said = "".join(o.get("text", "") for o in cell.outputs)
            points[nbgrader(cell)["grade_id"]] = (
                float(nbgrader(cell)["points"]) if said.startswith("✅") else 0.0
            )
    return points
