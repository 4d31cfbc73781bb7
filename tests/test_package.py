"""The wheel holds what it should, and works where nothing else is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from importlib import metadata

import course_utils
from course_tools.cli import INSTALL
from course_tools.lessons import ROOT
from course_utils.data.fetch import catalog
from course_utils.data.fetch.catalog import DATA

import pytest

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MOST_BYTES = 400_000_000


def run(python, *arguments, cwd):
    """Run a Python, or a command of its environment, that sees nothing of this one."""
    return subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", str(folder)], cwd=ROOT, check=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def alone(wheel, tmp_path_factory):
    """Environment with the wheel and what it depends on: its Python."""
    folder = tmp_path_factory.mktemp("environment with spaces")
    create = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(create, check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = ("-m", "pip", "--python", python, "install", "--quiet", "--no-compile")
    ran = run(sys.executable, *pip, wheel, cwd=folder)
    if ran.returncode:
        ask = ("-m", "pip", "index", "versions", "numpy", "--timeout=5", "--retries=0")
        if run(sys.executable, *ask, cwd=folder).returncode:
            pytest.skip("no package index is in reach")
    assert ran.returncode == 0, ran.stderr
    return python


def test_the_version_has_one_place():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert metadata.version("course-utils") == course_utils.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {course_utils.__version__}\n" in citation


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (info,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        about = message_from_bytes(archive.read(info))
        held = {name for name in names if name.startswith("course_")}
        held = {name for name in held if ".dist-info" not in name}
    tops = {name.partition("/")[0] for name in names}
    assert tops == {
        "course_tools",
        "course_utils",
        f"course_utils-{course_utils.__version__}.dist-info",
    }
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    ran = subprocess.run(
        [*listed, "course_utils", "course_tools"], cwd=ROOT, capture_output=True
    )
    here = ran.stdout.decode("utf-8").strip("\0").split("\0")
    assert held == {name for name in here if (ROOT / name).is_file()}
    assert "course_utils/py.typed" in held and "course_utils/data/catalog.toml" in held
    shipped = [one for one in catalog().values() if one.sources[0]["kind"] == "shipped"]
    for dataset in shipped:
        folder = (DATA / dataset.sources[0]["folder"]).relative_to(ROOT)
        for file in dataset.files:
            assert (folder / file.name).as_posix() in held
    assert shipped
    assert about["Version"] == course_utils.__version__
    assert "Typing :: Typed" in about.get_all("Classifier")
    assert about.get_payload().startswith("# Embeddings and transfer learning")


FAST_ANN = """
import importlib.util, sys
import numpy as np
from course_utils.neighbors import FastANN
for heavy in ("tensorflow", "torch", "pandas", "matplotlib", "jupyterlab", "nbformat"):
    assert importlib.util.find_spec(heavy) is None, heavy
rng = np.random.default_rng(0)
X = np.concatenate([rng.normal(size=(100, 8)), rng.normal(size=(100, 8)) + 9])
y = np.repeat(["near", "far"], 100)
for index in ("flat", "hnsw", "ivf", "ivfpq"):
    model = FastANN(index=index, weights="distance", random_state=0).fit(X, y)
    assert model.score(X, y) == 1
    model.save(index)
    opened = FastANN.load(index)
    assert (opened.predict(X) == model.predict(X)).all()
"""


def test_fast_ann_fits_predicts_saves_and_loads_there(alone, tmp_path):
    ran = run(alone, "-c", FAST_ANN, cwd=tmp_path)
    assert ran.returncode == 0 and not ran.stderr, ran.stderr


def test_it_takes_less_than_400_mb_there(alone):
    files = [path for path in alone.parents[1].rglob("*") if not path.is_symlink()]
    assert 0 < sum(path.stat().st_size for path in files) < MOST_BYTES


def test_importing_it_there_leaves_the_environment_as_it_was(alone, tmp_path):
    code = "import os; before = dict(os.environ); import course_utils; "
    code += "assert dict(os.environ) == before"
    ran = run(alone, "-c", code, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr


LESSONS = f"git clone {PROJECT['project']['urls']['Repository']}`"


@pytest.mark.parametrize(
    ("command", "cure"),
    [
        ("lab", LESSONS),
        ("update", LESSONS),
        ("progress", LESSONS),
        ("solution 3.2", LESSONS),
        ("run", LESSONS),
        ("doctor", LESSONS),
        ("build --check", LESSONS),
        ("grade 5", LESSONS),
        ("bench 7", LESSONS),
        ("data", INSTALL),
        ("data --list", INSTALL),
    ],
)
def test_a_command_that_needs_more_says_so_in_one_sentence(
    alone, tmp_path, command, cure
):
    course = alone.with_name("course")
    ran = run(course, *command.split(), cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert cure in ran.stderr
    assert re.fullmatch(r"[^\n]+\.\n", ran.stderr), ran.stderr


def test_help_ends_with_where_the_lessons_are(alone, tmp_path):
    ran = run(alone.with_name("course"), "--help", cwd=tmp_path)
    assert ran.returncode == 0
    assert LESSONS in ran.stdout.splitlines()[-1]
