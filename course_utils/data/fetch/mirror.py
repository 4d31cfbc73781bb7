"""A mirror that an institution runs, and a look at every source there is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils.data.fetch.catalog import (
    DataSet,
    Source,
    describe,
    entry,
    sources_of,
)
from course_utils.data.fetch.files import FULL, SourceFailed, _problem, copy
from course_utils.data.fetch.sources import ROUNDS, Attempt, obtain
from course_utils.data.fetch.store import (
    discard_leftovers,
    fetch,
    locate,
    locked,
    need_space,
    publish,
    staging_folder,
)
from course_utils.errors import DataError


def export(name: str, folder: Path, *, progress: bool = True) -> str:
    """Write a set's verified files into a mirror.

    The folder then serves as ``COURSE_DATA_MIRROR``, itself or behind a web server,
    and as ``COURSE_DATA_SHARED``. Files that are whole there are left alone.

    Parameters
    ----------
    name : str
        Key of the catalog.
    folder : pathlib.Path
        The mirror; the set gets a folder of its name in it.
    progress : bool
        Show a bar while something is downloaded.

    Returns
    -------
    str
        What was done, in one phrase.

    Raises
    ------
    UsageError
        When the catalog has no such name.
    DataError
        When the set cannot be fetched, or the folder cannot be written.
    """
    dataset = entry(name)
    if not dataset.is_fetched:
        kind = dataset.sources[0]["kind"]
        origin = describe(dataset.sources[0])
        verb = "is part of" if kind == "shipped" else "comes with the"
        return f"{verb} {origin}, nothing to export"
    target = folder / name
    size = f"{dataset.bytes / 1e6:,.1f} MB"
    if not _problem(dataset.files, target):
        return f"{size} already in {target}"
    open_mirror(folder)
    source = fetch(name, progress=progress)
    try:
        with locked(folder, name):
            discard_leftovers(folder, name)
            files = tuple(f for f in dataset.files if _problem((f,), target))
            need_space(folder, sum(file.bytes for file in files))
            with staging_folder(folder, name) as staging:
                for file in files:
                    with open(source / file.name, "rb") as stream:
                        copy(stream, staging / file.name, file)
                if problem := _problem(files, staging):
                    raise DataError(f"{source}: {problem}; run this again.")
                publish(files, staging, target)
    except OSError as error:
        raise _not_exported(f"no '{name}'", folder, error) from None
    return f"{size} in {target}"


def open_mirror(folder: Path) -> None:
    """Make a mirror's folder, before anything is fetched for it.

    Parameters
    ----------
    folder : pathlib.Path
        The mirror.

    Raises
    ------
    DataError
        When it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with staging_folder(folder, "mirror"):
            pass
    except OSError as error:
        raise _not_exported("nothing", folder, error) from None


def _not_exported(what: str, folder: Path, error: OSError) -> DataError:
    state = "is full" if error.errno in FULL else "cannot be written"
    return DataError(
        f"{folder} {state} ({error.strerror or error}), and {what} was exported: "
        "choose another folder."
    )


@dataclass(frozen=True)
class Checked:
    """What a try of one source gave.

    Attributes
    ----------
    name : str
        The set.
    source : str
        As `describe` names it.
    state : {"ok", "dead", "skipped"}
        ``"skipped"``: this system has no tool for such a source.
    reason : str
        Why it is not ok.
    """

    name: str
    source: str
    state: str
    reason: str = ""


def check(names: Sequence[str]) -> Iterator[Checked]:
    """Download and verify sets from each of their sources, and keep nothing.

    Parameters
    ----------
    names : sequence of str
        Keys of the catalog.

    Yields
    ------
    Checked
        One for each source, as soon as it was tried.

    Raises
    ------
    UsageError
        When the catalog has no such name.
    DataError
        When the temporary folder cannot take the files.
    """
    for name in names:
        dataset = entry(name)
        if not dataset.is_fetched:
            yield _check_here(dataset)
            continue
        for source in sources_of(dataset):
            yield _check_source(dataset, source)


def _check_here(dataset: DataSet) -> Checked:
    label = describe(dataset.sources[0])
    found = locate(dataset.name)
    problem = _problem(dataset.files, found[1]) if found else "it is not installed"
    return Checked(dataset.name, label, "dead" if problem else "ok", problem)


def _check_source(dataset: DataSet, source: Source) -> Checked:
    label = describe(source)
    for patience in ROUNDS:
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as staging:
                obtain(
                    Attempt(dataset, source, Path(staging), progress=False, **patience)
                )
            return Checked(dataset.name, label, "ok")
        except SourceFailed as failure:
            state = "skipped" if failure.skipped else "dead"
            found = Checked(dataset.name, label, state, str(failure))
            if not failure.again:
                break
        except OSError as error:
            raise DataError(
                f"'{dataset.name}' could not be checked: {tempfile.gettempdir()} "
                f"cannot be written ({error.strerror or error}). Set TMPDIR to a "
                "folder with more room."
            ) from None
    return found
