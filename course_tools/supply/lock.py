"""Write the lock files in ``requirements/``: ``make lock``.

uv looks for versions that fit each other on every supported Python and system, and
notes the digest of every file that a package index holds of them. Set-up installs
from these files alone, each file checked against its digest. What is locked stays as
it is while it fits; ``--upgrade`` takes the newest.

- lab.txt, test.txt, book.txt, hub.txt: all that one purpose needs, but torch
- annoy.txt: annoy, which is compiled
- nbgitpuller.txt: what an image for JupyterHub holds besides
- torch-cpu.txt: torch without a graphics card; its digests are below
- torch-gpu.txt: torch as the package index has it, with what it needs there
- uv.txt: uv, which set-up fetches first
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from course_tools.lessons import ROOT

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ROOT / "requirements"
PURPOSES = {
    "lab": ["course"],
    "test": ["course", "instructor", "dev"],
    "book": ["course", "book"],
    "hub": ["course", "hub"],
    "annoy": ["course", "annoy"],
}
LOCKED = ("lab", "test", "book", "hub")
# Only the torch of a package index on Linux wants them: gigabytes for graphics cards.
GPU_ONLY = re.compile(r"(nvidia|cuda)-")
# torch asks for it to compile graphs, which nothing here does, and a process that has
# loaded TensorFlow dies when it loads this, too: tests and benches load both.
LEFT_OUT = {"triton"}
# sha256 of torch 2.13.0 for Linux as download.pytorch.org/whl/cpu lists it; the first
# was computed from the file, too. macOS and Windows
# have the builds of the package index.
TORCH_CPU = (
    "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",  # 3.11 x86_64
    "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",  # 3.12 x86_64
    "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",  # 3.13 x86_64
    "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",  # 3.11 aarch64
    "6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604",  # 3.12 aarch64
    "0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d",  # 3.13 aarch64
)
# What the course runs on: the first patch of each version, and a later one.
SYSTEMS = [
    {"python_version": python, "python_full_version": f"{python}.{patch}"} | system
    for python in ("3.11", "3.12", "3.13")
    for patch in (0, 9)
    for system in (
        {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"},
        {"sys_platform": "linux", "platform_machine": "aarch64", "os_name": "posix"},
        {"sys_platform": "darwin", "platform_machine": "arm64", "os_name": "posix"},
        {"sys_platform": "win32", "platform_machine": "AMD64", "os_name": "nt"},
    )
]
# The same systems in uv's words, each the oldest that the course supports.
PLATFORMS = (
    "x86_64-manylinux_2_28",
    "aarch64-manylinux_2_28",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
)
MACOS = "14.0"
HEAD = "# Made by `make lock`; do not edit.\n"


def read_lock(name: str) -> list[tuple[Requirement, list[str]]]:
    """Read a lock file.

    Parameters
    ----------
    name : str
        The file's name without ``.txt``.

    Returns
    -------
    list of (Requirement, list of str)
        What each entry asks for, with its marker, and its digests.
    """
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    found = []
    for block in re.split(r"\n(?=[^\s#])", text)[1:]:
        head, *digests = re.split(r"\s*\\?\s+--hash=", block.strip())
        found.append((Requirement(head), digests))
    return found


def versions(name: str, system: dict[str, str] | None = None) -> dict[str, str]:
    """Tell which version of each package a lock file gives one system.

    Parameters
    ----------
    name : str
        The file's name without ``.txt``.
    system : dict of str, optional
        Values of markers, such as ``python_full_version``, that differ from those of
        this machine.

    Returns
    -------
    dict of str
        Versions by normalised name.

    Raises
    ------
    ValueError
        If one package is locked twice for this system, or not to one version.
    """
    environment: dict[str, Any] = {**default_environment(), **(system or {})}
    found: dict[str, str] = {}
    for requirement, _ in read_lock(name):
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        package = canonicalize_name(requirement.name)
        pins = [one.version for one in requirement.specifier if one.operator == "=="]
        if package in found or len(pins) != 1:
            raise ValueError(f"{name}.txt locks {package} twice or to no version")
        (found[package],) = pins
    return found


def uv(*arguments: str, **environment: str) -> None:
    """Run uv in the project's folder."""
    command = [sys.executable, "-m", "uv", "pip", *arguments, "--quiet"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=True)


def resolve(output: Path, extras: Iterable[str], *more: str) -> dict[str, str]:
    """Let uv lock the course with some extras; give each package's lines by its name.

    What ``output`` holds before is kept where it fits.
    """
    options = [f"--extra={extra}" for extra in extras]
    options += ["--universal", "--python-version=3.11", "--generate-hashes"]
    options += ["--no-annotate", "--no-header", f"--output-file={output}"]
    excludes = output.with_name("excludes")
    excludes.write_text("\n".join(LEFT_OUT))
    uv(
        "compile",
        "pyproject.toml",
        "--group=build",
        f"--excludes={excludes}",
        *options,
        *more,
    )
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", output.read_text(encoding="utf-8").strip()):
        marker = Requirement(block.split(" \\\n")[0]).marker
        if marker and not any(marker.evaluate(system) for system in SYSTEMS):
            continue  # for a browser
        name = re.split(r"[^\w.-]", block, maxsplit=1)[0]
        found[name] = f"{found[name]}\n{block}" if name in found else block
    return found


def pins(parts: Iterable[str]) -> str:
    """Leave out the digests of a lock's lines."""
    return "\n".join(re.findall(r"^[\w.-]+==[^\\\n]+", "\n".join(parts), re.M))


def check_wheels(folder: str) -> None:
    """Let uv look for a wheel of each locked package on every system and Python.

    Raises
    ------
    subprocess.CalledProcessError
        If one is missing; uv names it.
    """
    locks = [f"--requirements={LOCKS / name}.txt" for name in (*LOCKED, "torch-gpu")]
    for platform in PLATFORMS:
        for python in ("3.11", "3.12", "3.13"):
            print(f"wheels for {platform}, Python {python}")
            uv(
                *("install", "--dry-run", f"--target={folder}", *locks),
                *("--require-hashes", "--no-deps", "--only-binary=:all:"),
                *(f"--python-platform={platform}", f"--python-version={python}"),
                MACOSX_DEPLOYMENT_TARGET=MACOS,
            )


def write(name: str, parts: list[str]) -> None:
    """Write a lock file."""
    (LOCKS / name).write_text(HEAD + "".join(f"{part}\n" for part in parts))
    print(f"requirements/{name}: {len(parts)} packages")


def main() -> None:
    """Resolve everything at once, so that one version serves every purpose."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder) / "chosen.txt"
        if "--upgrade" not in sys.argv:
            texts = [path.read_text(encoding="utf-8") for path in LOCKS.glob("*.txt")]
            chosen.write_text(pins(set(pins(texts).splitlines())))
        everything = sorted({one for extras in PURPOSES.values() for one in extras})
        chosen.write_text(pins(resolve(chosen, everything).values()))
        found = {
            name: resolve(Path(folder) / name, extras, f"--constraints={chosen}")
            for name, extras in PURPOSES.items()
        }
    gpu = [n for n in found["lab"] if GPU_ONLY.match(n) or n == "torch"]
    for purpose in LOCKED:
        parts = [text for n, text in found[purpose].items() if n not in gpu]
        write(f"{purpose}.txt", parts)
    for purpose, name in (("annoy", "annoy"), ("hub", "nbgitpuller"), ("test", "uv")):
        write(f"{name}.txt", [found[purpose][name]])
    write("torch-gpu.txt", [found["lab"][name] for name in gpu])
    with open(ROOT / "pyproject.toml", "rb") as stream:
        direct = tomllib.load(stream)["project"]["optional-dependencies"]
    (pin,) = [one for one in direct["course"] if one.startswith("torch==")]
    index = re.findall(r"--hash=\S+", found["lab"]["torch"])
    lines = [f"{pin}+cpu ; sys_platform == 'linux'"]
    lines += [f"--hash=sha256:{digest}" for digest in TORCH_CPU]
    others = [f"{pin} ; sys_platform != 'linux'", *index]
    write("torch-cpu.txt", [" \\\n    ".join(part) for part in (lines, others)])
    with tempfile.TemporaryDirectory() as folder:
        check_wheels(folder)


if __name__ == "__main__":
    main()
