"""What the project says of itself is true: versions, addresses, pictures, style."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
import tomllib

from course_tools.lessons import ROOT, files_beside
from tests.lessons import FIRST_PAGE, NOTEBOOKS

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from PIL import Image

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


EXTRAS = PROJECT["project"]["optional-dependencies"]
# Names that stand in conda-forge's list of packages. annoy is none of them.
ON_CONDA_FORGE = {"python", "pip", "python-annoy"}


def pins():
    """Pinned versions of what the lessons need by package, markers left out."""
    return dict(line.split(";")[0].strip().split("==") for line in EXTRAS["course"])


def environment():
    """Versions of environment.yml by package; empty where any will do."""
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    lines = yaml.safe_load(text)["dependencies"]
    assert all(isinstance(line, str) for line in lines), "pip has its lock files"
    return {name: version for name, _, version in (one.partition("=") for one in lines)}


def test_all_that_lessons_and_tools_need_is_pinned():
    extras = PROJECT["project"]["optional-dependencies"].values()
    lines = [line for extra in extras for line in extra]
    for line in [*lines, *PROJECT["build-system"]["requires"]]:
        assert re.match(r"[\w-]+==\d[\w.]*", line), line


def test_what_the_package_alone_needs_is_a_range_that_holds_the_lessons_pin():
    assert PROJECT["project"]["dependencies"]
    for line in PROJECT["project"]["dependencies"]:
        asked = Requirement(line)
        assert {one.operator for one in asked.specifier} <= {">=", "<"}, line
        assert asked.specifier.contains(pins()[asked.name]), line


def test_environment_yml_asks_conda_for_what_conda_forge_has():
    found = environment()
    assert found.keys() == ON_CONDA_FORGE
    (annoy,) = EXTRAS["annoy"]
    assert f"annoy=={found['python-annoy']}" == annoy
    low, high = re.findall(r"3\.\d+", PROJECT["project"]["requires-python"])
    python = tuple(map(int, found["python"].split(".")))
    assert (3, int(low[2:])) <= python < (3, int(high[2:]))


def test_the_two_tensorflows_have_one_version():
    assert pins()["tensorflow"] == pins()["tensorflow-cpu"]


def test_the_public_address_is_that_of_pyproject_everywhere():
    address = PROJECT["project"]["urls"]["Repository"]
    path = address.removeprefix("https://github.com/")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    launch = f"https://mybinder.org/v2/gh/{path}/HEAD?urlpath=lab/tree/work/"
    assert launch + FIRST_PAGE.notebook.name in readme
    assert f"git clone {address}" in readme
    assert set(re.findall(r"mybinder\.org/v2/gh/([\w-]+/[\w-]+)", readme)) == {path}
    assert address in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_registrys_host_and_no_path_of_one_machine_is_named():
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "deb.debian" + ".org")
    hosts += ("registry.npmjs" + ".org",)
    for path in tracked():
        if not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for host in hosts:
            assert host not in text, (path, host)
        assert not re.search(r"(?<!\w)/(work|root|Users)/\w", text), path


def test_readme_commands_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake (\w+)", readme)):
        assert re.search(rf"^{target}:", makefile, re.M), target
    help_text = subprocess.run(
        [sys.executable, "-m", "course_tools.cli", "--help"],
        capture_output=True,
        text=True,
    ).stdout
    for command in set(re.findall(r"`course (\w+)", readme)):
        assert re.search(rf"^ +{command} ", help_text, re.M), command


def test_links_between_documents_lead_somewhere():
    pages = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/README.md")
    for page in (*map(ROOT.joinpath, pages), *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (page.parent / target).exists(), (page, target)


@pytest.mark.parametrize("module", ["course_utils", "course_tools.cli"])
def test_importing_the_root_loads_nothing_heavy(module):
    heavy = "numpy pandas matplotlib sklearn keras tensorflow torch nbformat annoy"
    code = (
        f"import sys, {module}; "
        f"print(*[m for m in '{heavy}'.split() if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == ""


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGBA"), np.int16)


def test_modules_import_one_another_in_no_circle_and_stay_short():
    modules = {}
    for path in [
        *ROOT.glob("course_utils/**/*.py"),
        *ROOT.glob("course_tools/**/*.py"),
    ]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        modules[name.removesuffix(".__init__")] = path
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 600, path
    needs = {
        name: imported(path, at_the_top=True) & modules.keys() - {name}
        for name, path in modules.items()
    }
    graphlib.TopologicalSorter(needs).prepare()  # raises CycleError


def test_every_figure_is_what_figures_py_draws(tmp_path):
    # In a process of its own: settings of Matplotlib that a test made would show.
    code = "import sys; from course_tools import figures; figures.draw(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=True)
    drawn = {path.name: path for path in tmp_path.glob("*.png")}
    kept = {path.name: path for path in (ROOT / "images").glob("*.png")}
    assert set(drawn) == set(kept)
    for name in drawn:
        # Fonts are matplotlib's own; another processor may round a shade otherwise.
        made, stored = (pixels(each[name]) for each in (drawn, kept))
        assert made.shape == stored.shape, name
        assert np.abs(made - stored).max() <= 4, name


def test_beside_the_student_notebooks_lie_their_pictures_and_no_other_file():
    shown = {name for lesson in NOTEBOOKS for name in files_beside(lesson.notebook)}
    folder = ROOT / "notebooks"
    there = {p.relative_to(folder).as_posix() for p in folder.glob("images/*")}
    assert there | {"glossary.md"} == shown
    # A server that was started in this folder follows no link out of it.
    assert not [path for path in (ROOT / "notebooks").rglob("*") if path.is_symlink()]


def test_every_figure_is_shown_in_a_lesson():
    text = "".join(lesson.solution.read_text(encoding="utf-8") for lesson in NOTEBOOKS)
    text += (ROOT / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "images").glob("*.png"):
        assert f"images/{path.name}" in text, path.name


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_has_nothing_to_say(command):
    ran = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_mypy_has_nothing_to_say(platform):
    """On Windows neither: what only POSIX has is used behind a look at the system."""
    folder = ROOT / ".mypy_cache" / platform  # one for both would be renewed each time
    command = [sys.executable, "-m", "mypy", "--platform", platform]
    command += ["--cache-dir", folder]
    if platform == "win32":
        command += ["--exclude", "course_tools/classroom"]  # makes accounts of Linux
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def imported(path, *, at_the_top=False):
    """Modules of the two packages that a file imports: anywhere, or as it loads."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_the_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module}
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith(("course_utils", "course_tools"))}


@pytest.mark.parametrize(
    ("folder", "never"),
    [
        ("course_utils", ("course_tools",)),
        ("course_utils/data", ("course_utils.checks", "course_utils.plotting")),
        ("course_utils/data/fetch", ("course_utils.data.news", "course_utils.text")),
        ("course_utils/neighbors", ("course_utils.data", "course_utils.checks")),
    ],
)
def test_arrows_point_from_lessons_to_helpers_and_never_back(folder, never):
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    for path in paths:
        strange = {name for name in imported(path) if name.startswith(never)}
        assert not strange, path
