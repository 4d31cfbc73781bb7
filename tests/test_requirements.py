"""What set-up installs is locked, and is what pyproject.toml and lessons ask for."""

from __future__ import annotations

import ast
import base64
import hashlib
import re
import sys
import tomllib
from contextlib import suppress
from importlib import metadata

from course_tools.lessons import ROOT, find_lessons
from course_tools.supply import audit, licences
from course_tools.supply.lock import LEFT_OUT, SYSTEMS, read_lock, versions

import nbformat
import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
DIRECT = EXTRAS["course"]
WANTED = {
    "lab": DIRECT,
    "test": [*DIRECT, *EXTRAS["instructor"], *EXTRAS["dev"]],
    "book": [*DIRECT, *EXTRAS["book"]],
    "hub": [*DIRECT, *EXTRAS["hub"]],
    "annoy": EXTRAS["annoy"],
    "nbgitpuller": [one for one in EXTRAS["hub"] if one.startswith("nbgitpuller")],
    "uv": [one for one in EXTRAS["dev"] if one.startswith("uv")],
}
each_system = pytest.mark.parametrize(
    "system", SYSTEMS, ids=lambda system: " ".join(list(system.values())[1:])
)


@pytest.mark.parametrize("name", [*WANTED, "torch-cpu", "torch-gpu"])
def test_every_package_has_digests(name):
    assert read_lock(name)
    for requirement, digests in read_lock(name):
        assert digests, requirement
        for digest in digests:
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest), requirement


@each_system
@pytest.mark.parametrize("name", WANTED)
def test_what_pyproject_pins_is_what_is_locked(name, system):
    found = versions(name, system) | {
        package: version.split("+")[0]
        for package, version in versions("torch-cpu", system).items()
    }
    environment = default_environment() | system
    for line in WANTED[name]:
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate(environment):
            (pin,) = asked.specifier
            assert found.get(canonicalize_name(asked.name)) == pin.version, line


@each_system
def test_one_version_serves_every_purpose(system):
    lab = versions("lab", system)
    for other in ("test", "book", "hub"):
        there = versions(other, system)
        assert {name: there.get(name) for name in lab} == lab


@pytest.mark.parametrize("name", audit.LOCK_FILES)
def test_no_lock_names_what_is_left_out(name):
    assert not LEFT_OUT & {canonicalize_name(one.name) for one, _ in read_lock(name)}


def test_nothing_that_a_lesson_imports_is_missing():
    here = {"python_full_version": sys.version.split()[0]}
    found = {**versions("lab", here), **versions("torch-cpu", here)}
    providers = metadata.packages_distributions()
    asked = set()
    for lesson in find_lessons([]):
        notebook = nbformat.read(lesson.solution, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                asked |= modules(cell.source)
    for path in ROOT.glob("course_*/**/*.py"):
        asked |= modules(path.read_text(encoding="utf-8"))
    asked -= set(sys.stdlib_module_names) | {"course_utils", "course_tools"}
    assert {"numpy", "keras", "torch", "transformers"} <= asked
    for module in sorted(asked - OPTIONAL):
        names = {canonicalize_name(name) for name in providers.get(module, [])}
        assert names & set(found), f"{module}, of {names or 'nothing installed'}"


# Asked for only where they are: compiled ones, the tools of an instructor, the browsers
# of a simulated class, and what a bench puts into a folder of its own.
OPTIONAL = {"annoy", "nbgrader", "sqlalchemy", "nbconvert", "jupytext"}
OPTIONAL |= {"aiohttp", "yarl", "gensim"}


def modules(code):
    """Top-level names that code imports."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found


# --- the audit ----------------------------------------------------------------


def package(folder, name, version, requires=(), **files):
    """Put a package into a folder as pip would."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n{needs}")
    lines = []
    for file, text in files.items():
        (folder / f"{file}.py").write_text(text)
        digest = hashlib.sha256(text.encode()).digest()
        told = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        lines.append(f"{file}.py,sha256={told},{len(text)}\n")
    (info / "RECORD").write_text("".join(lines))
    return metadata.PathDistribution(info)


def test_a_file_that_was_changed_or_lost_is_named(tmp_path):
    one = package(tmp_path, "six", "1.17.0", six="x = 1\n", seven="y = 2\n")
    assert not list(audit.altered(one))
    (tmp_path / "six.py").write_text("x = 3\n")
    (tmp_path / "seven.py").unlink()
    assert list(audit.altered(one)) == [
        "six: six.py was changed after its installation",
        "six: seven.py is gone",
    ]


def test_a_package_that_no_lock_names_is_unexpected(tmp_path):
    found = {
        "six": package(tmp_path, "six", "1.17.0"),
        "numpy": package(tmp_path, "numpy", "1.0"),
        "leftpad": package(tmp_path, "leftpad", "9.9"),
    }
    numpy, leftpad = audit.unexpected(found)
    assert numpy.startswith("numpy 1.0: locked is 2.")
    assert leftpad == "leftpad 9.9: no lock file names it"


def test_a_package_that_lacks_what_it_needs_is_named(tmp_path, monkeypatch):
    needs = ["six>=2", "leftpad", 'absent; extra == "more"', 'old; python_version<"3"']
    needs.append("triton")  # left out on purpose
    package(tmp_path, "six", "1.17.0")
    package(tmp_path, "ten", "1", needs)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert sorted(audit.gaps()) == [
        "ten 1 has requirement six>=2, but you have six 1.17.0.",
        "ten 1 requires leftpad, which is not installed.",
    ]


def test_what_is_installed_here_is_what_is_locked_file_by_file(capsys):
    assert audit.main() == 0, capsys.readouterr().out
    assert "packages: nothing to mend" in capsys.readouterr().out


# --- licences -----------------------------------------------------------------


def test_the_licences_page_is_what_packages_and_catalog_say():
    text = licences.PAGE.read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| (\S+) \| ([^|]+) \| [^|]+ \|$", text, re.M))
    asked = {
        canonicalize_name(requirement.name)
        for lock in licences.LOCK_FILES
        for requirement, _ in read_lock(lock)
    }
    assert asked <= told.keys()
    here = 0
    for name in asked:
        assert licences.is_compatible(told[name]), f"{name}: {told[name]}"
        with suppress(metadata.PackageNotFoundError):
            assert told[name] == licences.licence(metadata.distribution(name)), name
            here += 1
    assert here > 150
    rows = re.findall(r"^\| (\S+) \| ([^|]+) \|$", text, re.M)
    scripts = dict(rows[1:])  # below the table's head
    assert scripts == licences.proxy()
    assert all(map(licences.is_compatible, scripts.values()))
    catalog = tomllib.loads(licences.CATALOG.read_text(encoding="utf-8"))
    for name, entry in catalog.items():
        assert told[name] == entry["licence"]


@pytest.mark.parametrize(
    ("words", "suits"),
    [
        ("MIT", True),
        ("GPL-3.0 OR MIT", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("MIT AND GPL-3.0", False),
        ("AGPL-3.0", False),
        ("", False),
    ],
)
def test_a_licence_suits_if_every_part_does(words, suits):
    assert licences.is_compatible(words) is suits


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ("License-Expression: Apache-2.0 OR BSD-2-Clause\n", "Apache-2.0 OR BSD"),
        ("License: BSD 3-Clause License\n\n", "BSD"),
        ("Classifier: License :: OSI Approved :: MIT License\n", "MIT"),
        ("License: Do What You Like\n\n", "Do What You Like"),
    ],
)
def test_a_package_says_its_licence_in_one_of_three_places(tmp_path, lines, name):
    one = package(tmp_path, "six", "1.17.0")
    metadata_file = tmp_path / "six-1.17.0.dist-info" / "METADATA"
    metadata_file.write_text("Name: six\nVersion: 1.17.0\n" + lines)
    assert licences.licence(one) == name


def test_a_package_that_names_no_licence_is_not_passed_over(tmp_path):
    with pytest.raises(ValueError, match="six names no licence"):
        licences.licence(package(tmp_path, "six", "1.17.0"))
