"""Every lesson has the form that readers, nbgrader and nbval rely on."""

from __future__ import annotations

import ast
import re

from course_tools.lessons import ROOT
from course_tools.runner import (
    BUDGET_MB,
    BUDGET_SECONDS,
    MEMORY_LINE,
    TIME_LINE,
    code_digest,
    read_record,
    with_measured,
)
from tests.lessons import (
    EXERCISES,
    FIRST_PAGE,
    LESSONS,
    NOTEBOOK_IDS,
    NOTEBOOKS,
    nbgrader,
    solution,
    student,
)
from tests.support.comparison import TAG, tolerance_of

import pytest

each_lesson = pytest.mark.parametrize("lesson", NOTEBOOKS, ids=NOTEBOOK_IDS)
MAX_LINES, MAX_COLUMNS = 25, 88
MAX_WORDS, MAX_CODE_LINES = 2_500, 450


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def output_text(cell):
    texts = [o.get("text", "") for o in cell.outputs]
    texts += [o.get("data", {}).get("text/plain", "") for o in cell.outputs]
    return "".join(texts)


@each_lesson
def test_a_solution_is_executed_in_order_without_errors_or_noise(lesson):
    cells = [cell for cell in code(solution(lesson)) if cell.source.strip()]
    counts = [cell.execution_count for cell in cells]
    assert counts == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.get("text")


@each_lesson
def test_every_right_answer_of_a_solution_is_announced_in_its_output(lesson):
    for cell in code(solution(lesson)):
        if nbgrader(cell).get("grade"):
            assert output_text(cell).startswith("✅"), cell.source


@each_lesson
def test_cells_fit_a_screen(lesson):
    for cell in code(solution(lesson)):
        lines = cell.source.splitlines()
        assert len(lines) <= MAX_LINES, cell.source
        assert max(map(len, lines), default=0) <= MAX_COLUMNS, cell.source


@each_lesson
def test_a_lesson_is_no_longer_than_promised(lesson):
    notebook = student(lesson)
    text = "\n".join(cell.source for cell in prose(notebook))
    read = re.sub(r"^## Sources\n.*?(?=^## |\Z)", "", text, flags=re.S | re.M)
    assert len(read.split()) <= MAX_WORDS
    lines = "\n".join(cell.source for cell in code(notebook)).splitlines()
    assert sum(bool(line.strip()) for line in lines) <= MAX_CODE_LINES


@each_lesson
def test_pictures_have_words_and_are_there(lesson):
    for cell in prose(solution(lesson)):
        for words, target in re.findall(r"!\[(.*?)\]\((.*?)\)", cell.source):
            assert len(words) >= 20, f"alt text of {target}"
            assert (lesson.solution.parent / target).is_file(), target
            assert (lesson.notebook.parent / target).is_file(), target
        assert "<img" not in cell.source


@each_lesson
def test_an_exercise_is_a_task_then_a_function_then_its_check(lesson):
    notebook = solution(lesson)
    for number, cell in enumerate(notebook.cells):
        if not nbgrader(cell).get("solution"):
            continue
        name = nbgrader(cell)["grade_id"]
        task = notebook.cells[number - 1]
        check = notebook.cells[number + 1]
        heading = rf"^### Exercise {lesson.number}\.\d+ · \S"
        assert re.search(heading, task.source, re.M), name
        function = ast.parse(cell.source).body[-1]
        assert isinstance(function, ast.FunctionDef) and function.name == name
        assert ast.get_docstring(function)
        assert nbgrader(check)["grade_id"] == f"check-{name}"
        assert nbgrader(check)["grade"] and nbgrader(check)["locked"]
        assert (nbgrader(check)["points"] >= 1) == (lesson != FIRST_PAGE)
        assert f"check.{name}(" in check.source
        assert cell.source.count("### BEGIN SOLUTION") == 1


@each_lesson
def test_nbgraders_marks_stand_only_where_they_work(lesson):
    marks = ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS", "MARK SCHEME")
    for cell in solution(lesson).cells:
        if nbgrader(cell).get("solution") or nbgrader(cell).get("grade"):
            continue
        assert not [mark for mark in marks if mark in cell.source], cell.source


@each_lesson
def test_a_student_notebook_holds_no_answers_and_no_outputs(lesson):
    for cell in code(student(lesson)):
        assert not cell.outputs and cell.execution_count is None
        assert "SOLUTION" not in cell.source and "HIDDEN" not in cell.source
        if nbgrader(cell).get("solution"):
            assert "raise NotImplementedError(" in cell.source
    assert student(lesson).metadata.kernelspec.language == "python"


@each_lesson
def test_every_output_is_compared(lesson):
    for cell in code(solution(lesson)):
        assert "nbval" not in cell.source.lower(), cell.source
        for tag in cell.metadata.get("tags", []):
            assert tag == "recipe" or TAG.fullmatch(tag), tag


@each_lesson
def test_a_tolerance_leaves_something_to_compare(lesson):
    for cell in code(solution(lesson)):
        allowed = tolerance_of(cell.metadata.get("tags", []))
        assert allowed.absolute <= 0.15 and allowed.relative <= 0.5, cell.source
        assert allowed.integers <= 10 and allowed.integers_relative <= 0.5, cell.source
        assert allowed.words >= 0.5 and allowed.factor <= 100, cell.source


@each_lesson
def test_an_assertion_in_a_lesson_says_what_it_means(lesson):
    for cell in code(student(lesson)):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.Assert) or node.msg, cell.source


@each_lesson
def test_outputs_name_no_path_of_one_machine(lesson):
    for cell in code(solution(lesson)):
        text = output_text(cell)
        assert not re.search(r"(/root/|/home/|/tmp/|/Users/|\bobject at 0x)", text), (
            text
        )


@each_lesson
def test_code_that_hides_warnings_or_errors_is_not_in_a_lesson(lesson):
    for cell in code(solution(lesson)):
        assert "filterwarnings" not in cell.source
        assert "simplefilter" not in cell.source
        assert not re.search(r"except[^\n]*:\s*\n?\s*pass", cell.source)


@each_lesson
def test_frameworks_are_not_mixed_in_one_kernel(lesson):
    text = "\n".join(cell.source for cell in code(solution(lesson)))
    keras = re.search(r"^\s*(import|from) (keras|tensorflow)", text, re.M)
    torch = re.search(r"^\s*(import|from) torch", text, re.M)
    assert not (keras and torch)


@each_lesson
def test_tensorflow_is_configured_by_name_before_keras_is_imported(lesson):
    first, *others = [cell.source for cell in code(solution(lesson))]
    if re.search(r"^(import|from) keras", first, re.M):
        before = first[: re.search(r"^(import|from) keras", first, re.M).start()]
        assert "course_utils.configure_tensorflow(" in before
    for source in others:
        assert "configure_tensorflow" not in source
        assert not re.search(r"^import (keras|tensorflow)", source, re.M)


@each_lesson
def test_measured_time_and_memory_are_recorded_within_budget_and_shown(lesson):
    record = read_record()
    assert lesson.name in record, "run `course run --save`"
    measured = record[lesson.name]
    assert measured["code_sha256"] == code_digest(solution(lesson)), (
        "the code has changed since it was measured: run `course run --save`"
    )
    assert measured["seconds"] <= BUDGET_SECONDS
    assert measured["peak_mb"] <= BUDGET_MB
    opening = "\n".join(cell.source for cell in solution(lesson).cells[:2])
    assert TIME_LINE.search(opening) and MEMORY_LINE.search(opening)
    assert with_measured(opening, measured) == opening


def test_lessons_are_numbered_without_gaps():
    assert [lesson.number for lesson in LESSONS] == list(range(1, len(LESSONS) + 1))
    assert {p.name for p in (ROOT / "notebooks").glob("[0-9]*.ipynb")} >= {
        lesson.notebook.name for lesson in LESSONS
    }


def test_every_lesson_has_exercises():
    assert {exercise.lesson for exercise in EXERCISES} == set(NOTEBOOKS)


def test_the_first_page_is_short_names_every_lesson_and_leads_to_the_first():
    notebook = solution(FIRST_PAGE)
    words = " ".join(cell.source for cell in prose(notebook))
    assert len(words.split()) < 800 and len(code(notebook)) < 10
    (picture,) = re.findall(r"!\[(.*?)\]", words, re.S)
    for lesson in LESSONS:
        assert f"{lesson.number:02} " in picture, lesson.name
    assert words.rstrip().endswith(f"({LESSONS[0].notebook.name})")
    assert read_record()[FIRST_PAGE.name]["seconds"] <= 15


def widgets(notebook):
    """Places of cells that store a widget's stand-in."""
    return [
        number
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and "Box(children=" in output_text(cell)
    ]


@pytest.mark.parametrize("lesson", [LESSONS[4], LESSONS[5], LESSONS[7], LESSONS[-1]])
def test_where_no_widget_is_drawn_a_table_or_picture_stands_beside_it(lesson):
    notebook = solution(lesson)
    (number,) = widgets(notebook)
    after = code(notebook)[code(notebook).index(notebook.cells[number]) :]
    # The same thing made beforehand, in this cell or in the next one.
    kinds = [set(o.get("data", {})) for c in after[:2] for o in c.outputs]
    assert any(kind & {"text/html", "image/png"} for kind in kinds)


def test_no_other_lesson_needs_a_widget():
    found = [lesson.number for lesson in LESSONS if widgets(solution(lesson))]
    assert found == [5, 6, 8, 10]
