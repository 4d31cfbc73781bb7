"""What was handed in: read as data, whatever it is."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from pathlib import Path

from course_utils.errors import CourseError

# Names of students, and of nothing else: no hidden file, no option, no pattern.
STUDENT = re.compile(r"[\w@+][\w.@+-]*")
NOTEBOOK_BYTES = 64 << 20


class SubmissionError(CourseError):
    """A submission that cannot be graded; its text says why."""


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
