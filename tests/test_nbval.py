"""The settings of nbval let a changed output fail, and only that."""

from __future__ import annotations

import re
import subprocess
import sys

from course_tools.lessons import ROOT

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

TRAINED = ["tolerance-0.02"]


def printed(text):
    return [new_output("stream", name="stdout", text=text)]


def shows(text):
    return f"print({text!r})"


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
    "a last digit": ("print(0.757)", printed("0.758\n"), [], True),
    "two rounded numbers": (shows("0.57 ± 0.05"), printed("0.58 ± 0.06\n"), [], True),
    "what rounding leaves of zero": ("print(9e-16)", printed("2e-15\n"), [], True),
    "a result's last digit": ("0.4567", result("0.4568"), [], True),
    "another width": (shows("  9.99 | 1"), printed(" 10.00 | 1\n"), [], True),
    "within the tag": ("print(0.757)", printed("0.776\n"), TRAINED, True),
    "a percentage within it": (shows("75.7%"), printed("77.6%\n"), TRAINED, True),
    "a rounded percentage": (shows("75% right"), printed("77% right\n"), TRAINED, True),
    "points": (shows("1.6 points"), printed("2.4 points\n"), TRAINED, True),
    "points beyond it": (shows("1.6 points"), printed("4.6 points\n"), TRAINED, False),
    "whole points": (shows("13 points"), printed("12 points\n"), [], False),
    "an epoch": ("print(5)", printed("4\n"), ["integers-1"], True),
    "a share": (
        "print(1_090)",
        printed("1,000\n".replace(",", "")),
        ["integers-10%"],
        True,
    ),
    "a time": (shows("0.9, 12 s"), printed("0.9, 7 s\n"), ["times"], True),
    "a ratio of times": (shows("21 times"), printed("1,350 times\n"), ["times"], True),
    "a line of Keras": (
        shows("9/9 - 1s - 11ms/step - loss: 0.5"),
        printed("9/9 - 2s - 940us/step - loss: 0.5\n"),
        [],
        True,
    ),
    "a speed": ("print(21.5)", printed("3.5\n"), ["factor-10"], True),
    "words": (
        shows("awful bad poor 1.5"),
        printed("bad awful weak 1.5\n"),
        ["words-60%"],
        True,
    ),
    "a digit": ("print(0.757)", printed("0.759\n"), [], False),
    "one digit only": ("print(0.5)", printed("0.6\n"), [], False),
    "a small number": ("print(0.0018)", printed("0.0090\n"), [], False),
    "an integer": ("print(757)", printed("758\n"), [], False),
    "a large integer": (shows("1,149 rows"), printed("1,150 rows\n"), [], False),
    "a whole percentage": (shows("75%"), printed("76%\n"), [], False),
    "a sign": ("print(-0.5)", printed("0.5\n"), [], False),
    "a word": (shows("terrible 0.757"), printed("awful 0.757\n"), [], False),
    "a unit": (shows("0.757 s"), printed("0.757 ms\n"), [], False),
    "a result": ("1 + 1", result("3"), [], False),
    "a missing output": ("print('more')", [], [], False),
    "an output that is gone": ("pass", printed("more\n"), [], False),
    "a missing line": ("print('one')", printed("one\ntwo\n"), [], False),
    "a missing number": (shows("0.7"), printed("0.7 0.7\n"), [], False),
    "beyond the tag": ("print(0.757)", printed("0.78\n"), TRAINED, False),
    "a percentage beyond it": (shows("75.7%"), printed("78.0%\n"), TRAINED, False),
    "an integer under it": ("print(5)", printed("4\n"), TRAINED, False),
    "a word under it": (shows("b 0.757"), printed("a 0.757\n"), TRAINED, False),
    "a missing line under it": (shows("1.5"), printed("1.5\n1.5\n"), TRAINED, False),
    "an epoch too many": ("print(6)", printed("4\n"), ["integers-1"], False),
    "a decimal beside a time": (
        shows("0.8, 7 s"),
        printed("0.9, 7 s\n"),
        ["times"],
        False,
    ),
    "no time at all": (shows("0.9"), printed("0.9, 7 s\n"), ["times"], False),
    "another speed": ("print(41.5)", printed("3.5\n"), ["factor-10"], False),
    "other words": (shows("a b c 1.5"), printed("a x y 1.5\n"), ["words-60%"], False),
    "fewer words": (shows("a b"), printed("a b c d\n"), ["words-60%"], False),
    "a decimal among words": (shows("a 1.5"), printed("a 2.5\n"), ["words-60%"], False),
    "an unknown tag": ("print(0.7)", printed("0.8\n"), ["tolerance"], False),
    "an assertion": ("assert 0.87 > 0.88", [], [], False),
    "an error": ("raise ValueError('stop')", [], [], False),
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
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = '{ROOT}'\n")
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
