"""Files and their checksums."""

from __future__ import annotations

import errno
import hashlib
import stat
from pathlib import Path
from typing import IO

from course_utils.data.fetch.catalog import File

FULL = (errno.ENOSPC, errno.EDQUOT)
_verified: dict[tuple[str, str, int, int, int], str] = {}


class SourceFailed(Exception):
    """A source could not give the files; its text is the reason.

    Parameters
    ----------
    reason : str
        One sentence without a full stop.
    again : bool
        Whether a second, more patient attempt may go better.
    skipped : bool
        Whether this system cannot try such a source at all.
    """

    def __init__(
        self, reason: str, *, again: bool = False, skipped: bool = False
    ) -> None:
        super().__init__(" ".join(reason.split()))
        self.again = again
        self.skipped = skipped


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Compute the checksum of a file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    algorithm : str
        One of `hashlib`.

    Returns
    -------
    str
        Hexadecimal digits: 64 of a sha256. Remembered while the file's size and times
        stay the same; a change of its mode counts.
    """
    about = path.stat()
    times = (about.st_mtime_ns, about.st_ctime_ns)
    key = (algorithm, str(path), about.st_size, *times)
    if key not in _verified:
        with open(path, "rb") as stream:
            _verified[key] = hashlib.file_digest(stream, algorithm).hexdigest()
    return _verified[key]


def _problem(files: tuple[File, ...], folder: Path) -> str:
    """Name what keeps a folder from holding the files; empty where nothing does."""
    for file in files:
        path = folder / file.name
        algorithm = "sha256" if file.sha256 else "md5"
        expected = file.sha256 or file.md5
        try:
            about = path.stat()
            size, regular = about.st_size, stat.S_ISREG(about.st_mode)
            got = digest(path, algorithm) if regular and size == file.bytes else ""
        except (FileNotFoundError, NotADirectoryError):
            return f"{file.name} is missing"
        except OSError as error:
            return f"{file.name} cannot be read ({error.strerror or error})"
        if not regular:
            return f"{file.name} is not a regular file"
        if size != file.bytes:
            return f"{file.name} has {size:,} bytes, expected {file.bytes:,}"
        if got != expected:
            return (
                f"{file.name} failed its checksum: {algorithm} {got}, "
                f"expected {expected}"
            )
    return ""


def verify(files: tuple[File, ...], folder: Path) -> None:
    """Refuse a folder that does not hold files as the catalog has them.

    Parameters
    ----------
    files : tuple of File
        What must be there.
    folder : pathlib.Path
        What a source gave.

    Raises
    ------
    SourceFailed
        With the file, what it is and what it should be.
    """
    problem = _problem(files, folder)
    if problem:
        for file in files:
            refuse_web_page(folder / file.name)
        raise SourceFailed(problem)


def refuse_web_page(path: Path) -> None:
    """Say so where a server sent a page of text in place of a file.

    Parameters
    ----------
    path : pathlib.Path
        What came; it need not be there.

    Raises
    ------
    SourceFailed
        When it is HTML.
    """
    try:
        with open(path, "rb") as stream:
            start = stream.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    except OSError:
        return
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        raise SourceFailed(
            f"a web page came in place of {path.name}: a log-in page, or what a proxy "
            "says"
        )


class Bounded:
    """A stream to write to that takes so many bytes and no more.

    Parameters
    ----------
    stream : file
        Gets what is written.
    file : File
        Its name and size.
    """

    def __init__(self, stream: IO[bytes], file: File) -> None:
        self.stream = stream
        self.file = file
        self.written = 0

    def write(self, chunk: bytes) -> None:
        """Write a part.

        Parameters
        ----------
        chunk : bytes
            The next part.

        Raises
        ------
        SourceFailed
            When the file would become larger than the catalog says.
        """
        self.written += len(chunk)
        if self.written > self.file.bytes:
            raise SourceFailed(
                f"{self.file.name} has more than {self.file.bytes:,} bytes"
            )
        self.stream.write(chunk)

    def flush(self) -> None:
        """Hand on what was written."""
        self.stream.flush()


def copy(stream: IO[bytes], target: Path, file: File) -> None:
    """Write a stream to a file, up to the size that the catalog gives.

    Parameters
    ----------
    stream : file
        Where to read.
    target : pathlib.Path
        The file to write; its folder is made.
    file : File
        Its name and size.

    Raises
    ------
    SourceFailed
        When the stream holds more.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "wb") as out:
        bounded = Bounded(out, file)
        while chunk := stream.read(1 << 20):
            bounded.write(chunk)
