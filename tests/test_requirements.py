"""What set-up installs is locked, and is what pyproject.toml and lessons ask for."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib import metadata

from course_utils.lessons import ROOT, find_lessons

import nbformat
import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DIRECT = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
WANTED = {
    "lab": DIRECT,
    "test": [*DIRECT, *EXTRAS["instructor"], *EXTRAS["dev"]],
    "book": [*DIRECT, *EXTRAS["book"]],
    "hub": [*DIRECT, *EXTRAS["hub"]],
    "annoy": EXTRAS["annoy"],
}
# Patch levels stand for the version: no marker of ours asks for more.
SYSTEMS = [
    {"python_version": python, "python_full_version": f"{python}.9"} | system
    for python in ("3.11", "3.12", "3.13")
    for system in (
        {"sys_platform": "linux", "platform_machine": "x86_64"},
        {"sys_platform": "linux", "platform_machine": "aarch64"},
        {"sys_platform": "darwin", "platform_machine": "arm64"},
    )
]
each_system = pytest.mark.parametrize(
    "system", SYSTEMS, ids=lambda system: " ".join(list(system.values())[::2])
)


@cache
def blocks(name):
    """Requirement and digests of each line of a lock file."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    found = []
    for block in re.split(r"\n(?=[^\s#])", text)[1:]:
        head, *digests = re.split(r"\s*\\?\s+--hash=", block.strip())
        found.append((Requirement(head), digests))
    return found


def locked(name, system):
    """Versions that a lock file gives one Python on one system."""
    environment = default_environment() | system
    versions = {}
    for requirement, _ in blocks(name):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            package = canonicalize_name(requirement.name)
            assert package not in versions, f"{package} is locked twice"
            (one,) = requirement.specifier
            assert one.operator == "=="
            versions[package] = one.version
    return versions


@pytest.mark.parametrize("name", [*WANTED, "torch-cpu", "torch-gpu"])
def test_every_package_has_digests(name):
    assert blocks(name)
    for requirement, digests in blocks(name):
        assert digests, requirement
        for digest in digests:
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest), requirement


@each_system
@pytest.mark.parametrize("name", WANTED)
def test_what_pyproject_pins_is_what_is_locked(name, system):
    found = locked(name, system) | {
        package: version.split("+")[0]
        for package, version in locked("torch-cpu", system).items()
    }
    environment = default_environment() | system
    for line in WANTED[name]:
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate(environment):
            (pin,) = asked.specifier
            assert found.get(canonicalize_name(asked.name)) == pin.version, line


@each_system
def test_one_version_serves_every_purpose(system):
    lab = locked("lab", system)
    for other in ("test", "book", "hub"):
        there = locked(other, system)
        assert {name: there.get(name) for name in lab} == lab


def test_what_is_installed_here_is_what_is_locked():
    here = {"python_full_version": sys.version.split()[0]}
    found = locked("test", here) | locked("torch-cpu", here) | locked("annoy", here)
    for package, version in locked("torch-gpu", here).items():
        found.setdefault(package, version)
    for package, version in {**locked("hub", here), **locked("book", here)}.items():
        found.setdefault(package, version)
    ours = canonicalize_name(PROJECT["project"]["name"])
    for one in metadata.distributions(path=[p for p in sys.path if sys.prefix in p]):
        package = canonicalize_name(one.metadata["Name"])
        if package != ours:
            assert one.version.split("+")[0] == found[package].split("+")[0], package


def test_nothing_that_a_lesson_imports_is_missing():
    here = {"python_full_version": sys.version.split()[0]}
    found = {**locked("lab", here), **locked("torch-cpu", here)}
    providers = metadata.packages_distributions()
    asked = set()
    for lesson in find_lessons([]):
        notebook = nbformat.read(lesson.solution, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                asked |= modules(cell.source)
    for path in (ROOT / "course_utils").rglob("*.py"):
        asked |= modules(path.read_text(encoding="utf-8"))
    asked -= set(sys.stdlib_module_names) | {"course_utils"}
    assert {"numpy", "keras", "torch", "transformers"} <= asked
    for module in sorted(asked - OPTIONAL):
        names = {canonicalize_name(name) for name in providers.get(module, [])}
        assert names & set(found), f"{module}, of {names or 'nothing installed'}"


# Asked for only where they are: compiled where it can be, and an instructor's tools.
OPTIONAL = {"annoy", "nbgrader", "sqlalchemy", "nbconvert", "jupytext"}


def modules(code):
    """Top-level names that code imports."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found
