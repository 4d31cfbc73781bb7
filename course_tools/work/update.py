"""Fill the student's folder, and carry work into new versions of the lessons."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_tools.authoring import read_stamps
from course_tools.work import progress
from course_tools.work.merge import (
    Merge,
    content,
    heads,
    lacking,
    merge,
    with_what_is_lacking,
)
from course_tools.work.places import LESSON, Places
from course_tools.work.versions import (
    NotANotebook,
    Source,
    base_of,
    digest,
    parse,
    read_source,
    stamp_of,
    stamped,
    write,
)
from course_utils.errors import CourseError
from course_utils.files import replacing, taking_turns

FULL = (errno.ENOSPC, errno.EDQUOT)
# Nothing that is still at work left its files so long ago.
OLD_SECONDS = 3600


@dataclass(frozen=True)
class Line:
    """What became of one lesson, in a sentence.

    Attributes
    ----------
    text : str
        To be printed.
    problem : bool
        Whether something could not be done.
    """

    text: str
    problem: bool = False


class _Changed(Exception):
    """A copy was saved by somebody else meanwhile."""


def update(places: Places) -> list[Line]:
    """Give the student the present version of each lesson, with their work in it.

    At any point, each copy is whole: the old one or the new one. Two updates at once
    take turns.

    Parameters
    ----------
    places : Places
        The student's folders.

    Returns
    -------
    list of Line
        One for each lesson that changed or could not be updated; none where all were
        up to date.

    Raises
    ------
    CourseError
        When the student's folder cannot be made or written at all.
    """
    try:
        first = not places.record.exists()
        places.record.mkdir(parents=True, exist_ok=True)
        waiting = "Another update is running; waiting for it."
        with taking_turns(places.record / ".lock", waiting=waiting) as got:
            if not got:
                raise CourseError(
                    "Another update has been running for half an hour; end it and run "
                    "this again."
                )
            _discard_leftovers(places)
            ignore = places.own / ".gitignore"
            if not ignore.exists():
                _replace({ignore: b"*\n"})
            lines = list(_update_all(places, first))
    except OSError as error:
        raise CourseError(_told(error, places, places.own)) from None
    return lines


def _update_all(places: Places, first: bool) -> Iterator[Line]:
    day = datetime.date.today().isoformat()
    filled: list[str] = []
    for name in places.names():
        try:
            said = _update_one(places, name, day)
        except NotANotebook as error:
            yield Line(_told_broken(places, name, error), problem=True)
        except CourseError as error:
            yield Line(f"{name[:2]} {error}", problem=True)
        except OSError as error:
            yield Line(_told(error, places, places.copy_of(name)), problem=True)
        else:
            if said == "":
                filled.append(name)
            elif said:
                colon = ":" if said.startswith("notebooks/") else ""
                yield Line(f"{name[:2]}{colon} {said}")
    with _problems(places, places.own) as problems:
        for kept in _copy_what_lies_beside(places, day):
            yield Line(kept)
        progress.write_page(places)
    yield from problems
    shown = places.shown(places.own)
    if filled and first:
        count = "1 notebook is" if len(filled) == 1 else f"{len(filled)} notebooks are"
        yield Line(f"{count} in {shown}/, which is yours: `git pull` leaves it alone.")
    elif filled:
        *others, last = filled
        names = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        yield Line(f"{names} new in {shown}/.")


@contextlib.contextmanager
def _problems(places: Places, path: Path) -> Iterator[list[Line]]:
    problems: list[Line] = []
    try:
        yield problems
    except OSError as error:
        problems.append(Line(_told(error, places, path), problem=True))


def _told(error: OSError, places: Places, path: Path) -> str:
    if error.errno in FULL:
        return (
            f"The disk is full: {places.shown(path)} could not be written. Free some "
            "space and run `course update` again; nothing was lost."
        )
    named = str(error.filename or "")
    where = Path(named) if named and ".part-" not in named else path
    place = "" if path != places.own else ", or set COURSE_WORK to another folder"
    return (
        f"{places.shown(where)} cannot be used ({error.strerror or error}). Mend that"
        f"{place}, and run `course update` again; nothing was lost."
    )


def _told_broken(places: Places, name: str, error: NotANotebook) -> str:
    return f"{name[:2]} was not updated: {error}. {places.cure_of(name)}"


def _update_one(places: Places, name: str, day: str) -> str | None:
    """Bring one lesson up to date.

    Returns what to say of it: nothing, None, where it was up to date, and an empty text
    where it is new and there is no more to say.
    """
    for _ in range(3):
        with contextlib.suppress(_Changed):
            return _try_one(places, name, read_source(places, name), day)
    raise CourseError(
        "was not updated: it is saved again and again; close it in JupyterLab and run "
        "`course update` again."
    )


def _try_one(places: Places, name: str, source: Source, day: str) -> str | None:
    target = places.copy_of(name)
    _record(places, name, source.version)
    said: list[str] = []
    old = target if target.exists() else _renamed(places, name) or target
    data = there = old.read_bytes() if old.exists() else None
    begun = _begun(places, name, source)
    if begun is not None:
        if _parses(begun) and (
            data is None or _is_untouched(places, old, data, source)
        ):
            data = begun
            said.append(f"begun in notebooks/, goes on in {places.shown(target)}")
        elif data is None or not _holds(places, name, data, begun, source):
            kept = _keep(target, "from-notebooks", day, begun)
            said.append(f"notebooks/ had local edits; moved to {places.shown(kept)}")
    version = parse(source.version, name)
    if data is None:
        _replace({target: write(stamped(version, source.version))})
        _restore(places, name, source)
        return "; ".join(said)
    copy = parse(data, places.shown(old))
    taken_over = data is begun
    if stamp_of(copy) == digest(source.version) and old == target and not taken_over:
        if not lacking(copy, version):
            _restore(places, name, source)
            return "; ".join(said) or None
        base = version = with_what_is_lacking(copy, version)
    else:
        base = base_of(places, old.stem, copy, source.version)
    done = merge(base, copy, version, day=day)
    mended = bool(done.missing or done.found)
    same = content_of(done.notebook) == content_of(copy) and not done.dropped
    same = same and not mended
    contents = {}
    if not same and (mended or done.dropped or content_of(copy) != content_of(base)):
        why = "from-notebooks" if taken_over else "before"
        kept = _free_name(target if taken_over else old, why, day, data)
        contents[kept] = data
        numbers = {
            name: number
            for one in (base, version)
            for name, (number, _) in heads(one).items()
        }
        said.append(_sentence(done, kept, numbers))
    elif not same:
        said.append("updated")
    contents[target] = write(stamped(done.notebook, source.version))
    _replace(contents, unless=None if there is None else (old, there))
    if old != target:
        old.unlink()
        said.append(f"it was {old.stem[:2]} before")
    _restore(places, name, source)
    return "; ".join(said) or None


def _parses(data: bytes) -> bool:
    try:
        parse(data, "")
    except NotANotebook:
        return False
    return True


def content_of(notebook: Any) -> list[tuple[Any, ...]]:
    """Give what a reader could read of a notebook: the cells' contents, in order."""
    return [content(cell) for cell in notebook.cells]


def _sentence(done: Merge, kept: Path, numbers: dict[str, str]) -> str:
    parts = ["updated"]
    for put_back, told in (
        (done.missing, "was missing and is back"),
        (done.found, "was damaged and is in order again"),
    ):
        for name in put_back:
            exercise = name.removeprefix("check-")
            what = "the answer cell" if name == exercise else "the check"
            empty = ", empty" if name == exercise and put_back is done.missing else ""
            parts.append(f"{what} of {numbers.get(exercise, name)} {told}{empty}")
    if done.answers:
        parts.append(f"your {_count(len(done.answers), 'answer')} kept")
    if done.own:
        parts.append(f"{_count(done.own, 'cell')} of your own kept")
    if done.edited:
        parts.append(f"{_count(done.edited, 'cell')} that you edited kept")
    if done.new:
        verb = "is" if len(done.new) == 1 else "are"
        parts.append(f"{_count(len(done.new), 'exercise')} {verb} new")
    if done.changed:
        names = ", ".join(numbers.get(name, name) for name in done.changed)
        parts.append(f"look at {names} again: the exercise changed")
    if done.gone:
        names = ", ".join(numbers.get(name, name) for name in done.gone)
        verb = (
            "is gone, your answer is"
            if len(done.gone) == 1
            else ("are gone, your answers are")
        )
        parts.append(f"{names} of the old version {verb} at the end")
    return f"{', '.join(parts)} (the old file: {kept.name})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# --- what is on the disk ------------------------------------------------------


def _replace(
    contents: dict[Path, bytes], *, unless: tuple[Path, bytes] | None = None
) -> None:
    """Write files, all or none; not if one no longer holds what was read of it."""
    for path in contents:
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(*contents) as written:
        for staged, data in zip(written, contents.values(), strict=True):
            staged.write_bytes(data)
        if unless is not None and unless[0].read_bytes() != unless[1]:
            raise _Changed
    for path, data in contents.items():
        if path.read_bytes() != data:
            raise OSError(errno.EIO, "it was not stored as it was written", str(path))


def _discard_leftovers(places: Places) -> None:
    """Remove what a killed update staged, while the lock keeps others out."""
    for folder in (places.own, places.record):
        for left in [*folder.glob(".part-*"), *folder.glob("*/.part-*")]:
            shutil.rmtree(left, ignore_errors=True)
    # Where lessons are built, that may be at work there now.
    builds = bool(read_stamps(places.notebooks))
    for left in places.notebooks.glob(".part-*"):
        with contextlib.suppress(OSError):
            if not builds or time.time() - left.stat().st_mtime > OLD_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _free_name(path: Path, why: str, day: str, data: bytes) -> Path:
    """Name a file to keep beside another; one that holds the same is used again."""
    number = 1
    while True:
        more = "" if number == 1 else f"-{number}"
        other = path.with_name(f"{path.stem}.{why}-{day}{more}{path.suffix}")
        if not other.exists() or other.read_bytes() == data:
            return other
        number += 1


def _keep(path: Path, why: str, day: str, data: bytes) -> Path:
    kept = _free_name(path, why, day, data)
    if not kept.exists():
        _replace({kept: data})
    return kept


def _record(places: Places, name: str, version: bytes) -> None:
    path = places.record / name / f"{digest(version)}.ipynb"
    if not path.exists() or path.read_bytes() != version:
        _replace({path: version})


def _copy_what_lies_beside(places: Places, day: str) -> Iterator[str]:
    """Put pictures and the glossary beside the copies; say which had edits."""
    record = places.record / "beside.json"
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    wanted = {}
    for path in sorted(places.notebooks.rglob("*")):
        name = path.relative_to(places.notebooks).as_posix()
        hidden = any(part.startswith(".") for part in name.split("/"))
        if path.suffix != ".ipynb" and not hidden and path.is_file():
            wanted[name] = path.read_bytes()
    for name, data in wanted.items():
        target = places.own / name
        old = target.read_bytes() if target.exists() else None
        if old == data:
            continue
        if old is not None and known.get(name) != digest(old):
            kept = _keep(target, "before", day, old)
            yield f"{name} updated; it had edits of yours, kept as {kept.name}."
        _replace({target: data})
    digests = {name: digest(data) for name, data in wanted.items()}
    if digests != known:
        _replace({record: (json.dumps(digests, indent=1) + "\n").encode()})


# --- lessons that have another name now, and work among the course's files ----


def _renamed(places: Places, name: str) -> Path | None:
    """Find the copy of a lesson that had another number before."""
    for path in sorted(places.own.glob(f"[0-9][0-9]_{name[3:]}.ipynb")):
        if LESSON.fullmatch(path.stem) and path.stem not in places.names():
            return path
    return None


def _taken(places: Places, name: str) -> Path:
    return places.record / name / "taken"


def _begun(places: Places, name: str, source: Source) -> bytes | None:
    """Give work that began in `notebooks/` and was not taken over yet."""
    if source.begun is None:
        return None
    with contextlib.suppress(FileNotFoundError):
        taken = _taken(places, name).read_text(encoding="utf-8").split()
        if not source.restorable and digest(source.begun) in taken:
            return None
    return source.begun


def _is_untouched(places: Places, path: Path, data: bytes, source: Source) -> bool:
    copy = parse(data, places.shown(path))
    base = base_of(places, path.stem, copy, source.version)
    return content_of(copy) == content_of(base)


def _holds(
    places: Places, name: str, data: bytes, begun: bytes, source: Source
) -> bool:
    """Whether a copy holds all that somebody wrote into `notebooks/`."""
    try:
        other = parse(begun, name)
    except NotANotebook:
        return False
    base = base_of(places, name, other, source.version)
    there = content_of(parse(data, name)) + content_of(base)
    return all(one in there for one in content_of(other))


def _restore(places: Places, name: str, source: Source) -> None:
    """Put the course's version back into `notebooks/`, once the work is elsewhere."""
    if source.begun is None:
        return
    path = places.notebooks / f"{name}.ipynb"
    if source.restorable:
        _replace({path: source.version}, unless=(path, source.begun))
        # What was added to the index, too; git says nothing where that is not to do.
        with contextlib.suppress(OSError):
            subprocess.run(
                ["git", "reset", "--quiet", "--", path.name],
                cwd=path.parent,
                capture_output=True,
                check=False,
            )
    elif not source.restorable:
        taken = _taken(places, name)
        known = taken.read_text(encoding="utf-8") if taken.exists() else ""
        if digest(source.begun) not in known.split():
            _replace({taken: f"{known}{digest(source.begun)}\n".encode()})
