"""What is stored does not depend on the processor that computed it."""

from __future__ import annotations

import subprocess
import sys

from course_tools.lessons import ROOT
from tests.lessons import IDS, LESSONS, solution
from tests.support.comparison import tolerance_of
from tests.support.processors import (
    KINDS,
    another_kind,
    environment,
    untrained_cells,
)

import nbformat
import pytest
from nbformat.v4 import new_code_cell

each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=IDS)


def nbval(path, kind, folder=ROOT):
    """Run and compare a notebook's cells as a kind of processor would."""
    flags = ["-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    flags += ["--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg")]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *flags, str(path)],
        cwd=folder,
        env=environment(kind),
        capture_output=True,
        text=True,
    )


@each_lesson
def test_untrained_cells_agree_on_another_kind_of_processor(lesson, tmp_path):
    notebook = solution(lesson)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    trained = {c.id for c in code if tolerance_of(c.metadata.get("tags", [])).trained}
    # The last cell tells which of all exercises have passed.
    kept = untrained_cells(code, trained | {code[-1].id})
    assert len(kept) > len(code) / 4, "hardly anything is left to compare"
    alone = nbformat.from_dict({**notebook, "cells": kept})
    nbformat.write(alone, tmp_path / "untrained.ipynb")
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = '{ROOT}'\n")
    ran = nbval("untrained.ipynb", another_kind(), tmp_path)
    assert ran.returncode == 0, ran.stdout
    assert f"{len(kept)} passed" in ran.stdout


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@each_lesson
def test_a_whole_lesson_agrees_on_every_kind_of_processor(lesson, kind):
    ran = nbval(lesson.solution, kind)
    assert ran.returncode == 0, ran.stdout


def test_five_kinds_are_simulated_with_one_two_and_four_threads():
    assert len(KINDS) >= 5 or "AVX2" not in KINDS
    threads = {kind.get("OMP_NUM_THREADS") for kind in KINDS.values()}
    assert threads >= {"1", "4"}


@pytest.mark.skipif("AVX2" not in KINDS, reason="not an Intel or AMD processor")
def test_the_variables_switch_what_libraries_use():
    """Otherwise the other tests here would compare a machine with itself."""
    code = """
import numpy, threadpoolctl, torch
from numpy._core._multiarray_umath import __cpu_features__ as features
pools = {p["internal_api"]: p for p in threadpoolctl.threadpool_info()}
openblas = pools["openblas"]["architecture"]
print(openblas, features["X86_V3"], torch.backends.cpu.get_cpu_capability())
"""
    said = {
        name: subprocess.run(
            [sys.executable, "-c", code],
            env=environment(name),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for name in ("AVX2", "SSE, two threads")
    }
    assert said["AVX2"] == ["Haswell", "True", "AVX2"]
    assert said["SSE, two threads"][1:] == ["False", "DEFAULT"]
    assert said["SSE, two threads"][0] != "Haswell"


def cells(*sources):
    return [new_code_cell(source) for source in sources]


def sources(kept):
    return [cell.source for cell in kept]


def test_what_needs_a_cell_that_is_left_out_is_left_out_too():
    made = cells("a = 1", "b = a", "c = b", "d = a", "b = 2", "e = b")
    assert sources(untrained_cells(made, {made[1].id})) == [
        "a = 1",
        "d = a",
        "b = 2",
        "e = b",
    ]


@pytest.mark.parametrize(
    "change",
    ["net.fit(x)", "train(net, x)", "net[0] = x", "y = net.layers[0].append(x)"],
)
def test_what_a_left_out_cell_changes_is_left_out_too(change):
    made = cells("net = x = []", change, "net", "x")
    assert sources(untrained_cells(made, {made[1].id})) == ["net = x = []", "x"]
