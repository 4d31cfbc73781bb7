"""Compare what is installed with the lock files: ``make audit``.

It needs no network. It finds a package that no lock file names or that has another
version, one that misses what it needs, and a file that was changed or lost after its
installation: each package's RECORD lists its files with their sha256.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from course_tools.lessons import ROOT
from course_tools.supply.lock import LEFT_OUT, LOCKS, versions
from course_utils.commands import set_up

from packaging.utils import canonicalize_name

LOCK_FILES = sorted(path.stem for path in LOCKS.glob("*.txt"))


def main() -> int:
    """Print what is wrong with this environment; 1 if anything is."""
    installed: dict[str, metadata.Distribution] = {
        canonicalize_name(one.metadata["Name"]): one
        for one in metadata.distributions(path=[sysconfig.get_paths()["purelib"]])
    }
    with open(ROOT / "pyproject.toml", "rb") as stream:
        ours = tomllib.load(stream)["project"]["name"]
    if installed.pop(canonicalize_name(ours), None) is None:
        print(
            f"The course is not installed in this environment: run `{set_up('lab')}`."
        )
        return 1
    found = [*unexpected(installed), *gaps()]
    for package in installed.values():
        found += altered(package)
    print("\n".join(found))
    print(f"{len(installed)} packages: {len(found) or 'nothing'} to mend")
    if found:
        print(f"To make the environment again: remove .venv, then `{set_up('lab')}`.")
    return bool(found)


def unexpected(installed: dict[str, metadata.Distribution]) -> Iterator[str]:
    """Name each package that no lock file gives this system in this version."""
    locked: dict[str, set[str]] = {}
    for name in LOCK_FILES:
        for package, version in versions(name).items():
            locked.setdefault(package, set()).add(version.split("+")[0])
    for package, one in installed.items():
        if package not in locked:
            yield f"{package} {one.version}: no lock file names it"
        elif one.version.split("+")[0] not in locked[package]:
            wanted = " or ".join(sorted(locked[package]))
            yield f"{package} {one.version}: locked is {wanted}"


def gaps() -> Iterator[str]:
    """Repeat what ``pip check`` misses, less what is left out on purpose."""
    check = [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"]
    told = subprocess.run(check, capture_output=True, encoding="utf-8").stdout
    ours = ["No broken requirements", *(f" requires {name}, " for name in LEFT_OUT)]
    for line in told.splitlines():
        if not any(words in line for words in ours):
            yield line


def altered(package: metadata.Distribution) -> Iterator[str]:
    """Name each file that is not what the package's RECORD says."""
    # Not `package.files`: from Python 3.12 on it leaves out what is gone.
    for file, record, _ in csv.reader((package.read_text("RECORD") or "").splitlines()):
        algorithm, _, digest = record.partition("=")
        path = Path(str(package.locate_file(file)))
        if not digest:
            continue  # RECORD itself, and what Python compiles
        if not path.is_file():
            yield f"{package.name}: {file} is gone"
            continue
        with open(path, "rb") as stream:
            found = hashlib.file_digest(stream, algorithm).digest()
        if base64.urlsafe_b64encode(found).rstrip(b"=").decode() != digest:
            yield f"{package.name}: {file} was changed after its installation"


if __name__ == "__main__":
    sys.exit(main())
