"""What must hold on every system, as far as one system can show it."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

from course_tools import doctor
from course_tools.lessons import ROOT
from course_utils.commands import set_up

import pytest

MODULES = sorted(ROOT.glob("course_*/**/*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in MODULES]
each_module = pytest.mark.parametrize("path", MODULES, ids=NAMES)

# Windows has none of them.
POSIX_ONLY = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"}
TEXT = {"text", "universal_newlines"}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def messages(tree: ast.Module) -> Iterator[str]:
    """Text constants of a module, its docstrings left out."""
    described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, described)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            if isinstance(node.value, str):
                yield node.value


@pytest.mark.parametrize(
    ("platform", "typed"),
    [
        ("linux", ["make setup", "python3 bootstrap.py book"]),
        ("darwin", ["make setup", "python3 bootstrap.py book"]),
        ("win32", ["py bootstrap.py lab", "py bootstrap.py book"]),
    ],
)
def test_set_up_is_typed_as_the_system_has_it(platform, typed):
    assert [set_up(purpose, platform=platform) for purpose in ("lab", "book")] == typed


@each_module
def test_a_message_names_no_command_that_another_system_lacks(path):
    if path.name == "commands.py":
        return
    for text in messages(parsed(path)):
        for words in ("make setup", "make lab", "make test", ".venv/bin/"):
            assert words not in text, f"{words}: use course_utils.commands"


@each_module
def test_what_only_posix_has_is_imported_where_it_is_used(path):
    for node in parsed(path).body:
        if isinstance(node, ast.Import):
            found = {alias.name for alias in node.names} & POSIX_ONLY
        elif isinstance(node, ast.ImportFrom):
            found = {node.module} & POSIX_ONLY
        else:
            continue
        assert not found, f"line {node.lineno}"


@each_module
def test_what_another_program_says_is_read_in_an_encoding_that_is_named(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            given = {keyword.arg for keyword in node.keywords}
            if given & TEXT:
                assert "encoding" in given, f"line {node.lineno}"


def test_without_annoy_doctor_is_content_on_windows(monkeypatch):
    monkeypatch.setattr(doctor.annoy_probe, "is_installed", lambda: False)
    monkeypatch.setattr(doctor.sys, "platform", "win32")
    found = doctor._compiler() + doctor._annoy()
    assert all(one.good for one in found)
    assert "faiss alone" in found[-1].what
    monkeypatch.setattr(doctor.sys, "platform", "darwin")
    assert not doctor._annoy()[0].good


def test_git_gives_every_system_the_same_bytes():
    """Digests are those of files with LF, and notebooks are compared to the byte."""
    listed = subprocess.run(
        ["git", "ls-files", "--eol"], cwd=ROOT, capture_output=True, check=True
    )
    lines = listed.stdout.decode("utf-8").splitlines()
    assert lines
    for line in lines:
        about, name = line.split("\t")
        kept, _, attributes = about.split(maxsplit=2)
        if kept in ("i/lf", "i/none"):
            assert "eol=lf" in attributes or "-text" in attributes, name
        elif kept != "i/":  # a link
            assert (kept, attributes.split()[0]) == ("i/-text", "attr/-text"), name
