"""The settings of nbval let a changed output fail, and only that."""

from __future__ import annotations

import subprocess
import sys

from course_utils.lessons import ROOT

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

FLAGS = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider"]
FLAGS += ["--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg")]


def validate(tmp_path, source, *outputs, tags=()):
    """Run nbval, as `make test` does, on one cell with the outputs stored."""
    cell = new_code_cell(source, execution_count=1, outputs=list(outputs))
    cell.metadata["tags"] = list(tags)
    notebook = new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    nbformat.write(notebook, tmp_path / "one.ipynb")
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", *FLAGS, "one.ipynb"]
    return subprocess.run(command, cwd=tmp_path, capture_output=True).returncode


def printed(text, name="stdout"):
    return new_output("stream", name=name, text=text)


@pytest.mark.parametrize(
    ("source", "stored"),
    [
        ("print(0.757)", [printed("0.757\n")]),
        ("print(object())", [printed("<object object at 0x7f0000000000>\n")]),
        ("print('took 3ms/step')", [printed("took 12ms/step\n")]),
        ("import sys; _ = sys.stderr.write('bar')", []),
    ],
    ids=["same text", "an address", "time of a step", "only on standard error"],
)
def test_what_may_differ_passes(tmp_path, source, stored):
    assert validate(tmp_path, source, *stored) == 0


@pytest.mark.parametrize(
    ("source", "stored"),
    [
        ("print(0.757)", [printed("0.758\n")]),
        ("print('more')", []),
        ("1 + 1", [new_output("execute_result", {"text/plain": "3"})]),
        ("assert 0.87 > 0.88", []),
        ("raise ValueError('stop')", []),
    ],
    ids=["a digit", "missing output", "a result", "an assertion", "an error"],
)
def test_what_must_not_differ_fails(tmp_path, source, stored):
    assert validate(tmp_path, source, *stored) == 1


def test_a_tagged_cell_is_not_compared_but_may_not_fail(tmp_path):
    tags = ["nbval-ignore-output"]
    assert validate(tmp_path, "print(1)", printed("2\n"), tags=tags) == 0
    assert validate(tmp_path, "print(1 / 0)", printed("2\n"), tags=tags) == 1
