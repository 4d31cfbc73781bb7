"""What the course wrote: recorded versions, git's, and work that began among them."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from course_tools.authoring import committed, read_stamps
from course_tools.work.merge import is_answer, similarity
from course_tools.work.places import Places
from course_utils.checks.answers import is_open
from course_utils.errors import CourseError

import nbformat

# Key of a copy's metadata: which version it comes from.
STAMP = "course"
# How far back git is asked.
COMMITS = 100


class NotANotebook(CourseError):
    """A file that should be a notebook; its text says what it is instead."""


def digest(content: bytes) -> str:
    """Name a version of a lesson.

    Parameters
    ----------
    content : bytes
        The file.

    Returns
    -------
    str
        Its sha256.
    """
    return hashlib.sha256(content).hexdigest()


def parse(data: bytes, name: str) -> Any:
    """Read a notebook from a file's bytes.

    Parameters
    ----------
    data : bytes
        JSON in UTF-8.
    name : str
        The file, for the message.

    Returns
    -------
    nbformat.NotebookNode
        A notebook of format 4.

    Raises
    ------
    NotANotebook
        When it is none.
    """
    if not data.strip():
        raise NotANotebook(f"{name} is empty")
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise NotANotebook(f"{name} is not JSON, not a notebook") from None
    try:
        notebook = nbformat.from_dict(found)
        if notebook.nbformat != 4:
            notebook = nbformat.convert(notebook, 4)
        for cell in notebook.cells:
            for key in ("source", "text"):
                if isinstance(cell.get(key), list):
                    cell[key] = "".join(cell[key])
            for output in cell.get("outputs", ()):
                _join(output)
            if not isinstance(cell.source, str) or "cell_type" not in cell:
                raise ValueError("a cell without text")
            if not isinstance(
                cell.setdefault("metadata", nbformat.from_dict({})), dict
            ):
                raise ValueError("a cell's metadata")
        if not isinstance(
            notebook.setdefault("metadata", nbformat.from_dict({})), dict
        ):
            raise ValueError("the metadata")
    except Exception:
        raise NotANotebook(f"{name} is JSON, but not a notebook") from None
    return notebook


def _join(output: Any) -> None:
    """Join the lines of an output's texts, as `nbformat.read` does."""
    if isinstance(output.get("text"), list):
        output["text"] = "".join(output["text"])
    data = output.get("data") or {}
    for kind, value in data.items():
        texts = isinstance(value, list) and all(isinstance(x, str) for x in value)
        if texts and not kind.endswith("json"):
            data[kind] = "".join(value)


def write(notebook: Any) -> bytes:
    """Write a notebook as the course does.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Any notebook.

    Returns
    -------
    bytes
        JSON in UTF-8.
    """
    text = nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"
    return text.encode("utf-8", "replace")


def stamped(notebook: Any, version: bytes) -> Any:
    """Note in a copy which version it comes from.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        The copy; it is changed.
    version : bytes
        The course's file.

    Returns
    -------
    nbformat.NotebookNode
        The same.
    """
    notebook.metadata[STAMP] = {"from": digest(version)}
    return notebook


def stamp_of(notebook: Any) -> str:
    """Read which version a copy comes from.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        The copy.

    Returns
    -------
    str
        A sha256, or an empty string.
    """
    mark = notebook.metadata.get(STAMP)
    return str(mark.get("from", "")) if isinstance(mark, dict) else ""


def _is_answered(data: bytes) -> bool:
    """Whether a lesson holds an answer, or is not even a notebook."""
    try:
        cells = parse(data, "").cells
    except NotANotebook:
        return True
    return any(is_answer(cell) and not is_open(cell.source) for cell in cells)


def _git(folder: Path, *words: str) -> bytes | None:
    try:
        ran = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, check=False
        )
    except OSError:
        return None
    return ran.stdout if ran.returncode == 0 else None


def _history(path: Path) -> Iterator[bytes]:
    """Versions of a file that git holds, the newest first: upstream's, then ours."""
    seen = set()
    for words in (("@{upstream}",), ()):
        asked = ("log", f"-{COMMITS}", "--format=%H", *words, "--", path.name)
        told = _git(path.parent, *asked) or b""
        for commit in told.decode().split():
            version = None
            if commit not in seen:
                version = _git(path.parent, "show", f"{commit}:./{path.name}")
            seen.add(commit)
            if version is not None:
                yield version


def recorded(places: Places, name: str) -> dict[str, bytes]:
    """Versions of a lesson that copies were made from, by their digests.

    Parameters
    ----------
    places : Places
        The student's folders.
    name : str
        The lesson.

    Returns
    -------
    dict of str to bytes
        Only those that are whole.
    """
    found = {}
    for path in sorted((places.record / name).glob("*.ipynb")):
        data = path.read_bytes()
        if digest(data) == path.stem:
            found[path.stem] = data
    return found


@dataclass(frozen=True)
class Source:
    """What `notebooks/` holds of a lesson.

    Attributes
    ----------
    version : bytes
        The course's version.
    begun : bytes or None
        What stands in the file instead, if somebody worked in it.
    restorable : bool
        Whether `version` can be put back there and git then sees no change.
    """

    version: bytes
    begun: bytes | None = None
    restorable: bool = False


def read_source(places: Places, name: str) -> Source:
    """Tell the course's version of a lesson from work that began in its file.

    Parameters
    ----------
    places : Places
        The student's folders.
    name : str
        The lesson.

    Returns
    -------
    Source
        The file as it is, if the course wrote it: the last build, or the last commit
        without answers in it. Otherwise what git has.
    """
    path = places.notebooks / f"{name}.ipynb"
    data = path.read_bytes()
    stamps = read_stamps(places.notebooks)
    if stamps.get(path.name) == digest(data):
        return Source(data)
    head = committed(path)
    if head is not None and head != data and not _is_answered(head):
        return Source(head, data, restorable=True)
    if not _is_answered(data):
        return Source(data)
    # Work that was committed, as nbgitpuller does, or there is no git here.
    for version in chain(_history(path), recorded(places, name).values()):
        if not _is_answered(version):
            return Source(version, data)
    parse(data, places.shown(path))
    return Source(data)


def base_of(places: Places, name: str, copy: Any, version: bytes) -> Any:
    """Find the version that a copy comes from.

    Parameters
    ----------
    places : Places
        The student's folders.
    name : str
        The lesson, as the copy's file is named.
    copy : nbformat.NotebookNode
        The student's copy.
    version : bytes
        The course's present version.

    Returns
    -------
    nbformat.NotebookNode
        The one that the copy names, or else the one most like it of those that the
        record and git hold.
    """
    candidates = recorded(places, name) | {digest(version): version}
    if stamp_of(copy) not in candidates:
        for other in _history(places.notebooks / f"{name}.ipynb"):
            if not _is_answered(other):
                candidates.setdefault(digest(other), other)
    if stamp_of(copy) in candidates:
        return parse(candidates[stamp_of(copy)], name)
    notebooks = [parse(data, name) for data in candidates.values()]
    return max(notebooks, key=lambda one: similarity(copy, one))
