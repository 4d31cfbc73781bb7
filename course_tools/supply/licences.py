"""List all licences: ``python -m course_tools.supply.licences``.

Reads what each installed package says of itself, in an environment that has them all,
and writes docs/licences.md.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from course_tools.lessons import ROOT
from course_tools.supply.audit import LOCK_FILES
from course_tools.supply.lock import read_lock

from packaging.utils import canonicalize_name

PAGE = ROOT / "docs" / "licences.md"
CATALOG = ROOT / "course_utils" / "data" / "catalog.toml"
PROXY = ROOT / "deploy" / "package-lock.json"
# Each of these lets MIT code import the package, and a class install it.
COMPATIBLE = (
    "0BSD",
    "Apache-2.0",
    "BSD",
    "BSL-1.0",
    "CC0-1.0",
    "CNRI-Python",
    "ISC",
    "LLVM-exception",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",
    "PSF",
    "Unlicense",
    "Zlib",
    "public domain",
)
# For graphics cards, fetched only where torch's CPU build is out of reach.
NVIDIA = "NVIDIA's own, free to use"
# What a package's metadata leaves out or puts at length is in its own files.
SILENT = {
    "axe-playwright-python": "MIT AND MPL-2.0",  # axe-core itself is under the latter
    "docutils": "public domain OR BSD",  # one file for Emacs, unused, is under the GPL
    "geoindex-rs": "MIT OR Apache-2.0",
    "jupyterhub-idle-culler": "BSD",
    "namex": "Apache-2.0",
}
# Only other systems install these; so their index pages say.
ELSEWHERE = {
    "appnope": "BSD",
    "colorama": "BSD",
    "pywin32": "PSF",
    "pywinpty": "MIT",
    "tensorflow": "Apache-2.0",
}
# A package's words for a licence, and the licence's usual name.
WORDS = (
    (r"apache.*|.*apache software license.*", "Apache-2.0"),
    (r".*bsd.*", "BSD"),
    (r"mit( license)?", "MIT"),
    (r".*isc( license)?.*", "ISC"),
    (r".*mozilla public license 2.*", "MPL-2.0"),
    (r"psfl?(-2\.0)?|python software foundation.*", "PSF"),
)

TEXT = """# Licences

The course is MIT (code) and CC BY 4.0 (text and figures). Below stands what it uses.
`python -m course_tools.supply.licences` writes this page from what each package says of
itself. A test compares the two, and refuses a licence that does not go with MIT.

## Data

The course ships the photos only; each reader fetches the rest from where it is
published. *For research* means: for teaching and research, not in a product. Where no
licence is stated, the set is fetched on request only, but for the posts of 20
Newsgroups: they were written in public, and courses have used them since 1995.

| set | licence | to cite |
|---|---|---|
{data}

## Packages

All let MIT code import them. MPL-2.0 asks that changes to a package's own files be
published; the course changes none. NVIDIA's libraries come only where torch's CPU
build is out of reach.

| package | licence | lock files |
|---|---|---|
{packages}

JupyterHub's proxy, for `make hub` alone, is written in JavaScript:

| package | licence |
|---|---|
{proxy}
"""


def usual(text: str) -> str:
    """Give a licence its usual name.

    Parameters
    ----------
    text : str
        One licence in a package's own words.

    Returns
    -------
    str
        One of ``COMPATIBLE`` where the words are known, else the words.
    """
    for pattern, name in WORDS:
        if re.fullmatch(pattern, text.strip(), re.IGNORECASE):
            return name
    return text.strip()


def licence(package: metadata.Distribution) -> str:
    """Read a package's licence from its metadata.

    Parameters
    ----------
    package : importlib.metadata.Distribution
        An installed package.

    Returns
    -------
    str
        Usual names, joined by AND and OR.

    Raises
    ------
    ValueError
        If the metadata say nothing and ``SILENT`` does not know the package.
    """
    about: Any = package.metadata
    name = str(canonicalize_name(about["Name"]))
    if name in SILENT:
        return SILENT[name]
    if name.startswith(("nvidia-", "cuda-")):
        return NVIDIA
    if expression := about.get("License-Expression"):
        parts = re.split(
            r"( AND | OR | WITH )", expression.replace("(", "").replace(")", "")
        )
        named = [
            part if part.isupper() and part[0] == " " else usual(part) for part in parts
        ]
        return "".join(named)
    classes = [
        usual(line.split(" :: ")[-1])
        for line in about.get_all("Classifier") or []
        if line.startswith("License :: ")
    ]
    if classes and classes != ["OSI Approved"]:
        return " AND ".join(sorted(set(classes)))
    first = (about.get("License") or "").strip().split("\n")[0]
    if not first or first == "UNKNOWN":
        raise ValueError(
            f"{name} names no licence; read its files and add it to SILENT"
        )
    return usual(first)


def is_compatible(words: str) -> bool:
    """Tell whether every licence that binds is one that suits this course."""
    return words == NVIDIA or all(
        any(choice in COMPATIBLE for choice in part.split(" OR "))
        for part in re.split(" AND | WITH ", words)
    )


def packages() -> dict[str, tuple[str, str]]:
    """Find the licence of each locked package, and the lock files that name it.

    Returns
    -------
    dict of (str, str)
        Licence and names of lock files, by normalised name.

    Raises
    ------
    ValueError
        If a package is neither installed here nor known from elsewhere.
    """
    where: dict[str, list[str]] = {}
    for lock in LOCK_FILES:
        for requirement, _ in read_lock(lock):
            name = str(canonicalize_name(requirement.name))
            if lock not in where.setdefault(name, []):
                where[name].append(lock)
    found: dict[str, tuple[str, str]] = {}
    for name, locks in sorted(where.items()):
        try:
            words = licence(metadata.distribution(name))
        except metadata.PackageNotFoundError:
            if name not in ELSEWHERE and not name.startswith(("nvidia-", "cuda-")):
                raise ValueError(f"{name} is not installed here") from None
            words = ELSEWHERE.get(name, NVIDIA)
        found[name] = words, ", ".join(locks)
    return found


def proxy() -> dict[str, str]:
    """Read the licences of the JavaScript packages from their own lock file."""
    lock = json.loads(PROXY.read_text(encoding="utf-8"))["packages"]
    return {
        path.rpartition("node_modules/")[2]: usual(one["license"])
        for path, one in sorted(lock.items())
        if path
    }


def page(found: dict[str, tuple[str, str]]) -> str:
    """Write docs/licences.md.

    Parameters
    ----------
    found : dict of (str, str)
        As from ``packages``.

    Returns
    -------
    str
        The whole page.
    """
    with open(CATALOG, "rb") as stream:
        catalog = tomllib.load(stream)
    data = [
        f"| {name} | {entry['licence']} | {entry['citation']} |"
        for name, entry in catalog.items()
    ]
    uses = [f"| {name} | {words} | {where} |" for name, (words, where) in found.items()]
    scripts = [f"| {name} | {words} |" for name, words in proxy().items()]
    return TEXT.format(
        data="\n".join(data), packages="\n".join(uses), proxy="\n".join(scripts)
    )


def main() -> int:
    """Write the page; 1 if a licence does not suit."""
    found = packages()
    Path(PAGE).write_text(page(found), encoding="utf-8")
    everything = {name: words for name, (words, _) in found.items()} | proxy()
    wrong = {name: w for name, w in everything.items() if not is_compatible(w)}
    for name, words in wrong.items():
        print(f"{name}: {words} is not known to go with MIT")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
