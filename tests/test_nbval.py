"""The settings of nbval let a changed output fail, and only that."""

from __future__ import annotations

import re
import subprocess
import sys

from course_utils.lessons import ROOT

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

IGNORED = ["nbval-ignore-output"]


def printed(text):
    return [new_output("stream", name="stdout", text=text)]


def result(text):
    return [new_output("execute_result", {"text/plain": text})]


# What a cell holds, the outputs stored, its tags, and whether nbval should pass it.
CELLS = {
    "same text": ("print(0.757)", printed("0.757\n"), [], True),
    "address": (
        "print(object())",
        printed("<object object at 0x7f0000000>\n"),
        [],
        True,
    ),
    "time of a step": ("print('3ms/step')", printed("12ms/step\n"), [], True),
    "on standard error": ("import sys; _ = sys.stderr.write('bar')", [], [], True),
    "ignored": ("print(1)", printed("2\n"), IGNORED, True),
    "a digit": ("print(0.757)", printed("0.758\n"), [], False),
    "missing output": ("print('more')", [], [], False),
    "a result": ("1 + 1", result("3"), [], False),
    "an assertion": ("assert 0.87 > 0.88", [], [], False),
    "an error": ("raise ValueError('stop')", [], [], False),
    "an error, ignored": ("print(1 / 0)", printed("2\n"), IGNORED, False),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Run nbval, as `make test` does, on a notebook of all the cells."""
    folder = tmp_path_factory.mktemp("nbval")
    cells = []
    for number, (source, outputs, tags, _) in enumerate(CELLS.values(), 1):
        cell = new_code_cell(source, execution_count=number, outputs=outputs)
        cell.metadata["tags"] = tags
        cells.append(cell)
    notebook = new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    nbformat.write(notebook, folder / "cells.ipynb")
    (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (folder / "pytest.ini").write_text("[pytest]\n")
    flags = ["-rA", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    flags += ["--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg")]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, "cells.ipynb"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    said = re.findall(r"^(PASSED|FAILED) .*::Cell (\d+)", ran.stdout, re.M)
    return {int(number): word == "PASSED" for word, number in said}


@pytest.mark.parametrize("name", CELLS)
def test_nbval_passes_what_may_differ_and_fails_what_may_not(outcomes, name):
    assert outcomes[list(CELLS).index(name)] is CELLS[name][-1]
