"""Collect what students hand in, whatever is in a batch.

`Extractor` and `Collect` stand in for nbgrader's own, by ``nbgrader_config.py``, in
``zip_collect`` and ``collect``. They take notebooks that are named as agreed, name
everything else with the reason, and go on.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import unicodedata
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from course_tools.grading.submissions import (
    NOTEBOOK_BYTES,
    STUDENT,
    SubmissionError,
    as_notebook,
    is_copy_of,
    plain,
    read_regular,
)

from nbgrader.exchange.default import ExchangeCollect
from nbgrader.plugins.zipcollect import ExtractorPlugin

# Folders and files that systems leave behind, hidden ones apart.
LEFT_BEHIND = ("__MACOSX", "Thumbs.db", "desktop.ini")


class Extractor(ExtractorPlugin):
    """Take notebooks named ``STUDENT__LESSON.ipynb`` from files and zip archives."""

    def extract(self, archive_path: str, extracted_path: str) -> None:
        """Write the notebooks that can be collected, and log what is passed over.

        Parameters
        ----------
        archive_path, extracted_path : str
            nbgrader's folders: what was downloaded, and what is collected from it.
        """
        lesson = self.parent.coursedir.assignment_id
        versions: dict[str, dict[bytes, list[str]]] = defaultdict(dict)
        for shown, content in _files(Path(archive_path)):
            try:
                if isinstance(content, str):
                    raise SubmissionError(content)
                name = unicodedata.normalize("NFC", PurePosixPath(shown).name)
                student = _student(name, lesson)
                notebook = as_notebook(content, name)
            except SubmissionError as error:
                self.log.warning("Passed over %s: %s", plain(shown), plain(str(error)))
            else:
                versions[student].setdefault(notebook, []).append(shown)
        for student, notebooks in sorted(versions.items()):
            if len(notebooks) > 1:
                names = sorted(
                    plain(name) for names in notebooks.values() for name in names
                )
                self.log.warning(
                    "Passed over %s: %s handed in different notebooks; leave one of "
                    "them and collect again with --force",
                    ", ".join(names),
                    student,
                )
                continue
            (notebook,) = notebooks
            target = Path(extracted_path) / f"{student}__{lesson}.ipynb"
            target.write_bytes(notebook)


def _student(name: str, lesson: str) -> str:
    """Read a student's name off the name of a file."""
    student, _, rest = name.rpartition(f"__{lesson}")
    if STUDENT.fullmatch(student):
        if rest == ".ipynb":
            return student
        if is_copy_of(f"{lesson}{rest}", lesson):
            raise SubmissionError(
                f"it looks like a copy; rename it to {student}__{lesson}.ipynb if it "
                "is the one that counts"
            )
    raise SubmissionError(
        f"it is not named STUDENT__{lesson}.ipynb, with a student's name of letters, "
        "digits and .@+-_"
    )


def _files(folder: Path) -> Iterator[tuple[str, bytes | str]]:
    """Yield names and contents of files and of archives' members.

    In place of a content that must not be read stands the reason, as text.
    """
    paths = sorted(folder.iterdir())
    while paths:
        path = paths.pop(0)
        shown = str(path.relative_to(folder))
        mode = path.lstat().st_mode
        if _left_behind(path.name):
            yield shown, "it is hidden, or left behind by a system"
        elif stat.S_ISDIR(mode):
            paths = sorted(path.iterdir()) + paths
        elif not stat.S_ISREG(mode):
            yield shown, "it is a link or no regular file"
        elif path.suffix.lower() == ".zip":
            yield from _members(path, shown)
        else:
            try:
                with open(path, "rb") as stream:
                    yield shown, stream.read(NOTEBOOK_BYTES + 1)
            except OSError as error:
                yield shown, f"it cannot be read ({error.strerror})"


def _members(path: Path, shown: str) -> Iterator[tuple[str, bytes | str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    yield f"{shown}/{info.filename}", _content(archive, info)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        yield shown, f"it is not a whole zip archive ({error})"


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | str:
    name = info.filename
    parts = re.split(r"[/\\]", name)
    if ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", name):
        return "its path leads out of the archive"
    if any(map(_left_behind, parts)):
        return "it is hidden, or left behind by a system"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "it is a link"
    if info.flag_bits & 1:
        return "it is encrypted"
    try:
        with archive.open(info) as stream:
            return stream.read(NOTEBOOK_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError):
        return "it is damaged"


def _left_behind(name: str) -> bool:
    return name.startswith(".") or os.path.basename(name) in LEFT_BEHIND


class Collect(ExchangeCollect):
    """Collect from nbgrader's exchange, where students put what they like."""

    def copy_files(self) -> None:
        """Copy the submissions of students whose names are names."""
        strange = [r for r in self.src_records if not STUDENT.fullmatch(r["username"])]
        for record in strange:
            name = plain(record["filename"])
            self.log.warning("Passed over %s: it is not named like a student", name)
            self.src_records.remove(record)
        super().copy_files()

    def do_copy(self, src: str, dest: str, log: object = None) -> None:
        """Copy the regular files of a submission; a link may lead to a file of yours.

        Parameters
        ----------
        src, dest : str
            The student's folder and the one to make.
        log : object, optional
            Not used.
        """
        if sys.platform == "win32":
            raise SubmissionError("submissions are graded on Linux")
        os.makedirs(dest)
        try:
            folder = os.open(src, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError as error:
            self.log.warning("Passed over %s: %s", plain(src), error.strerror)
            return
        try:
            for name in sorted(os.listdir(folder)):
                try:
                    content = read_regular(Path(name), folder)
                except SubmissionError as error:
                    self.log.warning("Passed over it: %s", plain(str(error)))
                else:
                    Path(dest, name).write_bytes(content)
        finally:
            os.close(folder)
