"""The first page: what its check accepts, its later cells take; its table is known."""

from __future__ import annotations

import copy
import functools
import io
import re
from contextlib import redirect_stdout

from course_utils.checks import lesson_00
from course_utils.checks.core import ExerciseError
from tests.courses import cell_named
from tests.lessons import FIRST_PAGE, student
from tests.support.term import run

import nbformat
import numpy as np
import pandas as pd
import pytest

KINDS = {
    "list": lambda vectors: vectors.mean(axis=0).tolist(),
    "tuple": lambda vectors: tuple(vectors.mean(axis=0)),
    "series": lambda vectors: pd.DataFrame(vectors).mean(),
    "float32": lambda vectors: vectors.mean(axis=0).astype(np.float32),
    "partial": functools.partial(np.mean, axis=0),
}


def code_with(words):
    return next(c.source for c in student(FIRST_PAGE).cells if words in c.source)


def page_with(answer):
    """Run the page's table and the cell that uses an answer; give what it prints."""
    names = {"np": np, "pd": pd, "text_vector": answer}
    exec(code_with("table = np.array("), names)
    said = io.StringIO()
    with redirect_stdout(said):
        exec(code_with('"great film"'), names)
    return names, said.getvalue()


@pytest.mark.parametrize("kind", [*KINDS, "tensor"])
def test_what_the_check_accepts_the_later_cell_takes(kind, capsys):
    if kind == "tensor":
        torch = pytest.importorskip("torch")
        answer = lambda vectors: torch.tensor(vectors).mean(0)  # noqa: E731
    else:
        answer = KINDS[kind]
    lesson_00.text_vector(answer)
    assert capsys.readouterr().out.startswith("✅")
    _, said = page_with(answer)
    assert re.match(r"great film +\[0\.5 +0\.65 0\.05\]", said)


def test_the_check_knows_the_pages_table():
    names, _ = page_with(KINDS["list"])
    assert np.array_equal(names["table"], lesson_00.TABLE)


def test_an_answer_that_takes_the_pages_table_is_told_so():
    names, _ = page_with(KINDS["list"])
    answer = eval("lambda vectors: table.mean(axis=0)", names)
    with pytest.raises(ExerciseError, match="whatever your function is given"):
        lesson_00.text_vector(answer)


def test_the_page_names_the_commands_that_a_learner_needs():
    text = "\n".join(cell.source for cell in student(FIRST_PAGE).cells)
    for words in ("course progress", "course solution", "course update", "progress.ip"):
        assert words in text
    assert ".venv/bin/course" in text
    assert "one row per word" in cell_named(student(FIRST_PAGE), "text_vector").source


def test_a_check_before_its_answers_cell_is_one_sentence(tmp_path):
    notebook = copy.deepcopy(student(FIRST_PAGE))
    check = cell_named(notebook, "check-text_vector")
    set_up = next(c for c in notebook.cells if c.id == "set-up")
    answer = cell_named(notebook, "text_vector")
    other = nbformat.v4.new_code_cell("1 + nowhere")
    answer.source = answer.source.replace("raise", "return nowhere\n    raise")
    notebook.cells = [set_up, check, other, answer, copy.deepcopy(check)]
    notebook.cells[-1].id = "again"
    ran = run(notebook, tmp_path)
    (early,), (usual,), (inside,) = [ran.cells[n].outputs for n in (1, 2, 4)]
    assert early.traceback == [
        "`text_vector` is not defined: run its cell above, then this one again."
    ]
    assert usual.ename == "NameError" and "Traceback" in usual.traceback[1]
    assert "Your code stopped in line" in " ".join(inside.traceback)
