"""The folders that hold verified files, and how files come into them."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from course_utils.commands import set_up
from course_utils.data.fetch.catalog import (
    DATA,
    DataSet,
    File,
    describe,
    entry,
    function,
    sources_of,
)
from course_utils.data.fetch.files import FULL, SourceFailed, _problem
from course_utils.data.fetch.sources import ROUNDS, Attempt, obtain
from course_utils.errors import DataError
from course_utils.files import taking_turns


def cache_folder() -> Path:
    """Folder that fetched files are kept in; not necessarily there yet.

    Returns
    -------
    pathlib.Path
        ``COURSE_DATA_DIR``, or the user's cache folder on this system.

    Raises
    ------
    DataError
        When the folder would be below a home that there is not.
    """
    import platformdirs

    folder = os.path.expanduser(os.environ.get("COURSE_DATA_DIR", ""))
    with contextlib.suppress(RuntimeError):  # what platformdirs raises without a home
        folder = folder or platformdirs.user_cache_dir(
            "embeddings-course", appauthor=False
        )
    if not folder or folder.startswith("~"):
        where = f" ({folder})" if folder else ""
        raise DataError(
            f"There is no home folder to keep data in{where}. "
            "Set COURSE_DATA_DIR to the full path of a folder that you can write to."
        )
    return Path(folder).absolute()


def shared_folder() -> Path | None:
    """Folder ``COURSE_DATA_SHARED``, which is only read.

    Returns
    -------
    pathlib.Path or None
        None where the variable is not set, or names a home that is not there.
    """
    folder = os.path.expanduser(os.environ.get("COURSE_DATA_SHARED", ""))
    return Path(folder) if folder and not folder.startswith("~") else None


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
    dataset = entry(name)
    if dataset.sources[0]["kind"] == "shipped":
        return "shipped", DATA / dataset.sources[0]["folder"]
    if dataset.sources[0]["kind"] == "dependency":
        try:
            package = metadata.distribution(dataset.sources[0]["package"])
        except metadata.PackageNotFoundError:
            return None
        folder = Path(str(package.locate_file("")))
        return f"with {describe(dataset.sources[0])}", folder
    shared = shared_folder()
    if shared and not _problem(dataset.files, shared / name):
        return "shared", shared / name
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
    dataset = entry(name)
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
            discard_leftovers(root, name)
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
    hook = entry(name).prepare
    if hook:
        function(hook)()
    return folder


def _fetch(dataset: DataSet, root: Path, progress: bool) -> None:
    reasons: dict[str, str] = {}
    sources = sources_of(dataset)
    for patience in ROUNDS:
        slow: list[dict[str, Any]] = []
        for source in sources:
            label = describe(source)
            with staging_folder(root, dataset.name) as staging:
                attempt = Attempt(
                    dataset, source, staging, progress=progress, **patience
                )
                try:
                    folder = obtain(attempt)
                except SourceFailed as failure:
                    reasons[label] = str(failure)
                    slow += [source] if failure.again else []
                    continue
                publish(dataset.files, folder, root / dataset.name)
            first, reason = next(iter(reasons.items()), (label, ""))
            if first != label:
                print(f"{dataset.name}: came from {label}, because {first}: {reason}")
            return
        sources = tuple(slow)
    tried = "\n".join(f"  - {label}: {reason}" for label, reason in reasons.items())
    raise DataError(
        f"'{dataset.name}' ({dataset.title}) could not be fetched:\n{tried}\n"
        f"Two ways out: run `course data {dataset.name} --export DIR` where there is a "
        "connection and set COURSE_DATA_MIRROR to that folder; or set COURSE_DATA_DIR "
        "to a folder that already holds the data."
    )


@contextmanager
def staging_folder(root: Path, name: str) -> Iterator[Path]:
    """Make a folder for files on their way, and remove it in the end.

    Parameters
    ----------
    root : pathlib.Path
        Folder whose disk the files go to.
    name : str
        The set.

    Yields
    ------
    pathlib.Path
        A new folder; `discard_leftovers` finds it if this process is killed.
    """
    with tempfile.TemporaryDirectory(
        prefix=f"{name}.part-", dir=root, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def publish(files: tuple[File, ...], folder: Path, target: Path) -> None:
    """Move verified files into place, each in one step; keep what they replace.

    Parameters
    ----------
    files : tuple of File
        What is moved.
    folder : pathlib.Path
        Where the verified files are, on the same disk as `target`.
    target : pathlib.Path
        Folder that gets them.
    """
    for file in files:
        final = target / file.name
        final.parent.mkdir(parents=True, exist_ok=True)
        problem = _problem((file,), target) if final.exists() else ""
        if problem:
            aside = _free_name(final)
            final.rename(aside)
            print(
                f"{target}: {problem}. It is kept as {aside.name}, and a verified copy "
                "took its place.",
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
    waiting = f"Another process is fetching '{name}'; waiting for it."
    with taking_turns(root / f".{name}.lock", waiting=waiting) as got:
        if not got:
            raise DataError(
                f"Another process has been fetching '{name}' for half an hour; end it "
                "and run this again."
            )
        yield


def discard_leftovers(root: Path, name: str) -> None:
    """Remove what a killed process staged, while the lock keeps others out.

    Parameters
    ----------
    root, name
        As given to `staging_folder`.
    """
    for folder in root.glob(f"{name}.part-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _need_space(root: Path, dataset: DataSet) -> None:
    largest = max(
        2 * source.get("bytes", 0) + sum(file.bytes for file in dataset.wanted(source))
        for source in sources_of(dataset)
    )
    need_space(root, largest + dataset.bytes)


def need_space(folder: Path, needed: int) -> None:
    """Refuse a disk that is too small before anything is written.

    Parameters
    ----------
    folder : pathlib.Path
        On that disk.
    needed : int
        Bytes.

    Raises
    ------
    OSError
        Disk full.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(FULL[0], f"{needed:,} bytes needed, {free:,} free")


def _storage_error(error: OSError, root: Path, dataset: DataSet) -> DataError:
    if error.errno in FULL:
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
