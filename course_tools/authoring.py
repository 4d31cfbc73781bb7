"""From solutions to student notebooks, with nbgrader's own preprocessors.

``solutions/`` is the only place where a lesson is written. What a student gets
is the same bytes that ``nbgrader generate_assignment`` would write.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_tools.lessons import NOTEBOOKS, ROOT, Lesson, all_lessons, files_beside
from course_tools.runner import read_record, write_files
from course_utils.commands import set_up
from course_utils.errors import CourseError

import nbformat

STUB = 'raise NotImplementedError("Your turn: write this, then run the check below.")'
STAMPS = NOTEBOOKS / ".built.json"
README = ROOT / "README.md"
TABLE_BEGIN, TABLE_END = "<!-- lessons: begin -->", "<!-- lessons: end -->"


def student_version(solution: Path) -> str:
    """Text of the student notebook that a solution gives.

    Parameters
    ----------
    solution : pathlib.Path
        An nbgrader source notebook.

    Returns
    -------
    str
        The notebook's JSON with solutions, hidden tests and outputs removed.

    Raises
    ------
    CourseError
        When nbgrader is not installed, or the solution breaks its conventions.
    """
    try:
        from nbgrader import preprocessors as steps
    except ImportError:
        raise CourseError(
            f"`course build` needs nbgrader: run `{set_up('test')}`."
        ) from None
    import logging

    logging.getLogger("traitlets").setLevel(logging.CRITICAL)
    notebook = nbformat.read(solution, as_version=nbformat.NO_CONVERT)
    resources: dict[str, Any] = {"unique_key": solution.stem}
    # The order in which `nbgrader generate_assignment` runs them; its checksums
    # are computed once more after the hidden tests are gone.
    pipeline = [
        steps.LockCells(),
        steps.ClearSolutions(code_stub={"python": STUB}),
        steps.ClearOutput(),
        steps.CheckCellMetadata(),
        steps.ComputeChecksums(),
        steps.ClearHiddenTests(),
        steps.ClearMarkScheme(),
        steps.ComputeChecksums(),
        steps.CheckCellMetadata(),
    ]
    for step in pipeline:
        try:
            notebook, resources = step.preprocess(notebook, resources)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CourseError(
                f"{solution.name} breaks nbgrader's conventions "
                f"({type(step).__name__}): {reason}"
            ) from None
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"


@dataclass(frozen=True)
class Difference:
    """Where a student notebook is not what its solution gives."""

    lesson: Lesson
    where: str

    def __str__(self) -> str:
        """Name lesson and place."""
        return f"{self.lesson.name}: {self.where}"


def compare(lesson: Lesson) -> Difference | None:
    """Compare a student notebook and the files beside it with what they come from.

    Parameters
    ----------
    lesson : Lesson
        The lesson.

    Returns
    -------
    Difference or None
        The first cell or file that differs, or None where not a byte does.
    """
    expected = student_version(lesson.solution)
    try:
        found = lesson.notebook.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Difference(lesson, "there is no student notebook yet")
    except OSError as error:
        reason = f"the student notebook cannot be read ({error.strerror})"
        return Difference(lesson, reason)
    except UnicodeDecodeError:
        return Difference(lesson, "the student notebook is not UTF-8 text")
    if found != expected:
        return Difference(lesson, _first_difference(found, expected))
    for name, _, _ in _stale_files(lesson):
        return Difference(lesson, f"{name} beside the notebook is not the course's")
    return None


def _stale_files(lesson: Lesson) -> list[tuple[str, Path, bytes]]:
    # JupyterLab shows no file from above the folder that it was started in, not by a
    # link either: what a lesson shows must lie beside it.
    stale = []
    for name, file in files_beside(lesson.solution, ROOT).items():
        if not file.is_file():
            raise CourseError(
                f"{lesson.solution.name} shows {name}, which does not exist: draw it "
                "in course_tools/figures.py, or correct its name."
            )
        target, wanted = NOTEBOOKS / name, file.read_bytes()
        if not target.exists() or target.read_bytes() != wanted:
            stale.append((name, target, wanted))
    return stale


def _first_difference(found: str, expected: str) -> str:
    try:
        left = json.loads(found)
        cells = left["cells"]
    except (ValueError, KeyError, TypeError):
        return "the student notebook is not a notebook"
    right = json.loads(expected)
    for number, (one, other) in enumerate(zip(cells, right["cells"], strict=False), 1):
        if one != other:
            name = other["metadata"].get("nbgrader", {}).get("grade_id") or other["id"]
            return f"cell {number} ({name}) differs"
    if len(cells) != len(right["cells"]):
        return f"it has {len(cells)} cells, its solution gives {len(right['cells'])}"
    if left != right:
        return "the notebook's metadata differ"
    # Equal once parsed: look which cell holds the line that is written otherwise.
    pairs = zip(found.split("\n"), expected.split("\n"), strict=False)
    line = next((n for n, (one, other) in enumerate(pairs) if one != other), None)
    if line is None:
        return "it ends otherwise than its solution gives, after the last cell"
    before = "\n".join(expected.split("\n")[:line])
    number = max(1, before.count('"cell_type":'))
    return f"cell {number} is written otherwise"


def build(lesson: Lesson) -> tuple[bool, Path | None]:
    """Write a lesson's student notebook, and the files that it shows or links to.

    Parameters
    ----------
    lesson : Lesson
        The lesson.

    Returns
    -------
    changed : bool
        Whether a file had to be written.
    kept : pathlib.Path or None
        Where the old file went, if it held somebody's work: neither the last
        build nor the last commit wrote it.

    Raises
    ------
    CourseError
        As `student_version`; when something cannot be written, and then nothing is.
    """
    text = student_version(lesson.solution)
    target = lesson.notebook
    old = target.read_bytes() if target.exists() else None
    new = text.encode()
    kept = None
    contents: dict[Path, bytes] = {}
    if old != new:
        if old is not None and not _is_ours(target, old):
            kept = _free_name(target)
            contents[kept] = old
        contents[target] = new
    stale = _stale_files(lesson)
    contents |= {file: wanted for _, file, wanted in stale}
    stamps = read_stamps(STAMPS.parent)
    stamp = hashlib.sha256(new).hexdigest()
    if stamps.get(target.name) != stamp:
        stamps[target.name] = stamp
        contents[STAMPS] = (json.dumps(stamps, indent=1) + "\n").encode()
    write_files(contents)
    return old != new or bool(stale), kept


def read_stamps(folder: Path) -> dict[str, str]:
    """Digests of the student notebooks as `build` wrote them last.

    Parameters
    ----------
    folder : pathlib.Path
        ``notebooks/``.

    Returns
    -------
    dict of str to str
        By file name; empty where nothing was built yet.
    """
    try:
        found = json.loads((folder / STAMPS.name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def committed(path: Path) -> bytes | None:
    """Content of a file in the last commit.

    Parameters
    ----------
    path : pathlib.Path
        A file in a checkout, there or not.

    Returns
    -------
    bytes or None
        None where git has none, or there is no git.
    """
    try:
        shown = subprocess.run(
            ["git", "show", f"HEAD:./{path.name}"],
            cwd=path.parent,
            capture_output=True,
            check=False,
        )
    except OSError:
        return None
    return shown.stdout if shown.returncode == 0 else None


def _is_ours(path: Path, content: bytes) -> bool:
    if read_stamps(path.parent).get(path.name) == hashlib.sha256(content).hexdigest():
        return True
    return committed(path) == content


def _free_name(path: Path) -> Path:
    number = 1
    while (other := path.with_name(f"{path.stem}-my-work-{number}.ipynb")).exists():
        number += 1
    return other


def lesson_table() -> str:
    """Write the README's table of lessons from their heads and the record.

    Returns
    -------
    str
        A Markdown table: title, what one builds, measured time and memory.

    Raises
    ------
    CourseError
        When a lesson's head has no title or no line "You will build …".
    """
    record = read_record()
    rows = ["| lesson | you build | time | memory |", "|---|---|---|---|"]
    for lesson in all_lessons():
        notebook = nbformat.read(lesson.solution, as_version=4)
        head = notebook.cells[0].source
        title = re.search(r"^# (.+)$", head, re.M)
        built = re.search(r"^You will build (.+?)\.?\s*(?:\n\n|\Z)", head, re.M | re.S)
        if not title or not built:
            raise CourseError(
                f"{lesson.solution.name} must begin with '# NN · Title' and a line "
                "'You will build …'."
            )
        measured = record.get(lesson.name)
        time = f"{measured['seconds']} s" if measured else "not measured"
        memory = f"{measured['peak_mb']:,} MB" if measured else "not measured"
        link = f"[{title[1]}](notebooks/{lesson.notebook.name})"
        rows.append(f"| {link} | {' '.join(built[1].split())} | {time} | {memory} |")
    return "\n".join(rows)


def _readme_with_table() -> tuple[str, str]:
    old = README.read_text(encoding="utf-8")
    begin, rest = old.split(TABLE_BEGIN)
    end = rest.split(TABLE_END)[1]
    return old, f"{begin}{TABLE_BEGIN}\n{lesson_table()}\n{TABLE_END}{end}"


def readme_differences() -> list[str]:
    """Tell whether the README's table is what the lessons give.

    Returns
    -------
    list of str
        Empty, or one sentence.
    """
    old, new = _readme_with_table()
    return [] if old == new else ["README.md: the lesson table is out of date"]


def write_readme() -> bool:
    """Renew the README's table of lessons.

    Returns
    -------
    bool
        Whether it had to be written.
    """
    old, new = _readme_with_table()
    if old != new:
        write_files({README: new.encode()})
    return old != new


def relative(path: Path) -> str:
    """Path as a reader sees it, from the checkout's top.

    Parameters
    ----------
    path : pathlib.Path
        A file in the checkout.

    Returns
    -------
    str
        Such as ``notebooks/02_imdb_sentiment.ipynb``.
    """
    return path.relative_to(ROOT).as_posix()
