"""CONTRIBUTING's five steps, taken in a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from course_tools.lessons import ROOT
from tests.lessons import LESSONS
from tests.systems import needs_posix

import nbformat
import pytest

pytestmark = needs_posix

FIRST = LESSONS[0]
HERE = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
DRIVER = shutil.which("git-nbdiffdriver", path=HERE)


class Checkout:
    """A copy of what git would keep, with a history of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = self.git_of(ROOT, "ls-files", "-z", "-co", "--exclude-standard")
        for name in filter(None, listed.split("\0")):
            source, target = ROOT / name, folder / name
            if source.is_symlink() or source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        # Tests of the copy ask git what it keeps.
        self.git("init", "--quiet")
        self.commit("as it was")

    @staticmethod
    def git_of(folder: Path, *arguments: str) -> str:
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
        ran = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, env=environment()
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def git(self, *arguments: str) -> str:
        return self.git_of(self.folder, *arguments)

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)

    def run(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment(self.folder),
            capture_output=True,
            text=True,
        )

    def edit(self) -> None:
        """Change a sentence and an answer of lesson 01, as one does in JupyterLab."""
        path = self.folder / "solutions" / FIRST.solution.name
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.source = cell.source.replace(
                "*terrible*, *awful*, *actor*, *actress*, *music*.",
                "Read these: *terrible*, *awful*, *actor*, *actress*, *music*.",
            ).replace("    return table[ids]\n", "    return np.take(table, ids, 0)\n")
        nbformat.write(notebook, path)


def environment(checkout: Path | None = None) -> dict[str, str]:
    found = {**os.environ, "PATH": HERE}
    found |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    if checkout:
        rest = os.environ.get("PYTHONPATH")
        found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(checkout), rest]))
    return found


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "course")


def words_and_code(diff):
    """Lines that a diff adds or takes away."""
    lines = re.sub(r"\x1b\[[\d;]*m", "", diff).splitlines()
    return {line for line in lines if line.startswith(("+", "-"))}


def configured(text):
    """The command that CONTRIBUTING has one type once a clone."""
    block = next(b for b in text.split("```sh\n")[1:] if "git config" in b)
    typed = block.split("```")[0].replace("\\\n", " ")
    in_the_environment = "$PWD/.venv/bin/git-nbdiffdriver"
    assert typed.count(in_the_environment) == 1
    return typed.replace(in_the_environment, DRIVER)


def test_a_diff_shows_words_and_code_and_no_json(checkout):
    checkout.edit()
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert checkout.run("sh", "-c", configured(text)).returncode == 0
    shown = checkout.git("--no-pager", "diff")
    for diff in (shown, checkout.run(".ci/notebook-diff").stdout):
        changed = words_and_code(diff)
        assert "-    return table[ids]" in changed
        assert "+    return np.take(table, ids, 0)" in changed
        assert any(line.startswith("+Read these: *terrible*") for line in changed)
        assert not re.search(r'"(source|cell_type|outputs|metadata)":', diff)
        assert len(changed) < 12, changed
    assert "\x1b[" not in diff, "colours have no place on a web page"


@pytest.mark.long
def test_a_lesson_is_changed_in_the_five_steps_of_contributing(checkout):
    course = [sys.executable, "-m", "course_tools.cli"]
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    checkout.run("sh", "-c", configured(text))
    checkout.edit()
    assert checkout.run(*course, "build", "--check").returncode == 1
    ran = checkout.run(*course, "run", "01", "--save")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    ran = checkout.run(*course, "build")
    assert f"{FIRST.notebook.name}: written" in ran.stdout, ran.stderr
    assert checkout.run(*course, "build", "--check").returncode == 0
    tests = re.search(r"`pytest (tests/[^`]+)`", text)[1].split()
    # Of all lessons' tests those of the one that changed.
    chosen = ["-k", f"{FIRST.name} or 01-", "-p", "no:cacheprovider"]
    ran = checkout.run(sys.executable, "-m", "pytest", "-q", *chosen, *tests)
    assert ran.returncode == 0, ran.stdout
    diff = checkout.git("--no-pager", "diff", "--", "solutions", "notebooks")
    changed = words_and_code(diff)
    assert "+    return np.take(table, ids, 0)" in changed
    # Once as the solution, once as the student notebook.
    assert diff.count("Read these: *terrible*") == 2
    assert not re.search(r'"(source|cell_type|outputs)":', diff)
    names = checkout.git("diff", "--name-only").split()
    assert f"solutions/{FIRST.solution.name}" in names
    assert f"notebooks/{FIRST.notebook.name}" in names
    assert "solutions/measured.json" in names
    assert not [n for n in names if n.endswith(".ipynb") and FIRST.name not in n]
