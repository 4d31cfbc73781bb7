"""Student notebooks are what their solutions give, to the byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from course_utils import authoring, runner
from course_utils.cli import main
from course_utils.errors import CourseError
from course_utils.lessons import Lesson
from tests.lessons import IDS, LESSONS, nbgrader, solution, student

import nbformat
import pytest

each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=IDS)
LIGHTEST = LESSONS[6]  # neither TensorFlow nor torch


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """Let the command work on copies of all lessons."""
    import shutil

    from course_utils import lessons

    for name in ("solutions", "notebooks"):
        shutil.copytree(getattr(lessons, name.upper()), tmp_path / name, symlinks=True)
        monkeypatch.setattr(lessons, name.upper(), tmp_path / name)
    (tmp_path / "notebooks" / ".built.json").unlink(missing_ok=True)
    for name in ("NOTEBOOKS", "STAMPS", "ROOT", "README"):
        old = getattr(authoring, name)
        new = tmp_path / old.relative_to(lessons.ROOT)
        monkeypatch.setattr(authoring, name, new)
    shutil.copy(lessons.ROOT / "README.md", tmp_path / "README.md")
    shutil.copytree(lessons.ROOT / "images", tmp_path / "images")
    return tmp_path


@each_lesson
def test_a_student_notebook_is_what_its_solution_gives(lesson):
    assert authoring.compare(lesson) is None


def test_the_readmes_table_is_what_the_lessons_give():
    assert authoring.readme_differences() == []


def test_the_readmes_table_says_the_whole_of_what_one_builds():
    for lesson, row in zip(
        LESSONS, authoring.lesson_table().splitlines()[2:], strict=True
    ):
        told = row.split(" | ")[1]
        paragraph = solution(lesson).cells[0].source.split("\n\n")[1]
        assert " ".join(paragraph.split()) == f"You will build {told}."


def test_building_twice_gives_the_same_bytes(copies):
    def state():
        return {p.name: p.read_bytes() for p in (copies / "notebooks").glob("*.ipynb")}

    assert main(["build"]) == 0
    first = state()
    assert main(["build"]) == 0
    assert state() == first
    assert set(first) == {lesson.notebook.name for lesson in LESSONS}


def test_cell_ids_are_those_of_the_solution():
    for lesson in LESSONS:
        assert [c.id for c in student(lesson).cells] == [
            c.id for c in solution(lesson).cells
        ]


def test_one_edited_byte_is_found_and_its_lesson_and_cell_are_named(copies, capsys):
    lesson = LESSONS[-1]
    path = copies / "notebooks" / lesson.notebook.name
    content = path.read_text(encoding="utf-8")
    cell = next(c for c in student(lesson).cells if nbgrader(c).get("solution"))
    name = nbgrader(cell)["grade_id"]
    path.write_text(content.replace("Your turn", "Your tern", 1), encoding="utf-8")
    assert main(["build", "--check"]) == 1
    said = capsys.readouterr().err
    assert lesson.name in said
    first = next(c for c in student(lesson).cells if "Your turn" in c.source)
    assert nbgrader(first)["grade_id"] == name
    assert f"({name}) differs" in said


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: text.replace(" ", "  ", 1), "is written otherwise"),
        (lambda text: text + "\n", "ends otherwise"),
        (lambda text: text[:-30], "is not a notebook"),
        (lambda text: "", "is not a notebook"),
        (lambda text: text.replace('"nbformat": 4', '"nbformat": 3'), "metadata"),
    ],
    ids=["white space", "end", "cut", "empty", "metadata"],
)
def test_any_other_difference_is_found_too(copies, capsys, edit, words):
    path = copies / "notebooks" / LESSONS[0].notebook.name
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert main(["build", "--check"]) == 1
    said = capsys.readouterr().err
    assert LESSONS[0].name in said
    assert words in said


@pytest.mark.parametrize("harm", [lambda p: p.unlink(), lambda p: p.write_bytes(b"")])
def test_a_picture_that_a_lesson_shows_lies_beside_it(copies, capsys, harm):
    picture = copies / "notebooks" / "images" / "onehot.png"
    drawn = picture.read_bytes()
    harm(picture)
    assert main(["build", "--check"]) == 1
    said = capsys.readouterr().err
    assert f"{LESSONS[0].name}: images/onehot.png beside the notebook is not" in said
    assert main(["build"]) == 0
    assert f"{LESSONS[0].notebook.name}: written" in capsys.readouterr().out
    assert picture.read_bytes() == drawn
    assert main(["build", "--check"]) == 0


def test_a_picture_that_nobody_drew_is_named(copies, capsys):
    (copies / "images" / "onehot.png").unlink()
    for command in (["build"], ["build", "--check"]):
        assert main(command) != 0
        said = capsys.readouterr().err
        assert "shows images/onehot.png, which does not exist" in said
        assert "Traceback" not in said


def test_a_missing_or_shortened_notebook_is_found(copies, capsys):
    path = copies / "notebooks" / LESSONS[0].notebook.name
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"] = notebook["cells"][:-1]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert main(["build", "--check"]) == 1
    assert "cells, its solution gives" in capsys.readouterr().err
    path.unlink()
    assert main(["build", "--check"]) == 1
    assert "no student notebook yet" in capsys.readouterr().err


def test_a_students_work_is_kept_when_the_notebook_is_built_again(copies, capsys):
    lesson = LESSONS[0]
    path = copies / "notebooks" / lesson.notebook.name
    work = path.read_text(encoding="utf-8").replace("Your turn", "My answer", 1)
    path.write_text(work, encoding="utf-8")
    assert main(["build"]) == 0
    kept = path.with_name(f"{path.stem}-my-work-1.ipynb")
    assert kept.read_text(encoding="utf-8") == work
    assert kept.name in capsys.readouterr().out
    assert main(["build", "--check"]) == 0


def test_what_the_last_build_wrote_is_replaced_without_a_copy(copies, capsys):
    lesson = LESSONS[0]
    main(["build"])
    path = copies / "solutions" / lesson.solution.name
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("## Recap", "## Recap ", 1), encoding="utf-8")
    assert main(["build"]) == 0
    assert not list((copies / "notebooks").glob("*-my-work-*"))


def test_the_bytes_are_those_of_nbgraders_own_command(tmp_path):
    config = (
        "c = get_config()\n"
        'c.CourseDirectory.source_directory = "source"\n'
        'c.CourseDirectory.assignment_id = "."\n'
        f"c.ClearSolutions.code_stub = {{'python': {authoring.STUB!r}}}\n"
    )
    (tmp_path / "nbgrader_config.py").write_text(config)
    source = tmp_path / "source"
    source.mkdir()
    for lesson in LESSONS:
        (source / lesson.solution.name).write_bytes(lesson.solution.read_bytes())
    # nbgrader calls alembic by its name.
    commands = os.path.dirname(sys.executable)
    made = subprocess.run(
        [sys.executable, "-m", "nbgrader", "generate_assignment"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    for lesson in LESSONS:
        released = tmp_path / "release" / lesson.notebook.name
        assert released.read_bytes() == lesson.notebook.read_bytes()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def f():\n    ### BEGIN SOLUTION\n    return 1", "no end solution"),
        (
            "### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION",
            "nested begin solution",
        ),
    ],
)
def test_a_solution_that_breaks_nbgraders_conventions_is_one_sentence(
    tmp_path, source, words
):
    cell = nbformat.v4.new_code_cell(source, id="one")
    cell.metadata["nbgrader"] = {
        "schema_version": 3,
        "solution": True,
        "grade": False,
        "locked": False,
        "task": False,
        "grade_id": "f",
    }
    notebook = nbformat.v4.new_notebook(cells=[cell])
    path = tmp_path / "09_broken.ipynb"
    nbformat.write(notebook, path)
    with pytest.raises(CourseError, match=f"09_broken.ipynb.*{words}"):
        authoring.student_version(path)


@each_lesson
def test_with_the_solutions_pasted_in_a_student_has_the_validated_lesson(lesson):
    """What nbval runs is, code cell for code cell, the student's with answers."""
    pasted = []
    for mine, theirs in zip(student(lesson).cells, solution(lesson).cells, strict=True):
        if mine.cell_type != "code":
            continue
        is_exercise = nbgrader(mine).get("solution")
        pasted.append(theirs.source if is_exercise else mine.source)
    assert pasted == [
        # Hidden tests are for grading.
        runner.HIDDEN_TESTS.sub("", c.source)
        for c in solution(lesson).cells
        if c.cell_type == "code"
    ]


# nbval runs the cells above, test_exercises asks each check about its stub: one lesson
# shows that the two come together in a notebook.
@pytest.mark.parametrize(
    "lesson",
    [
        pytest.param(one, marks=[] if one == LIGHTEST else pytest.mark.long)
        for one in LESSONS
    ],
    ids=IDS,
)
def test_a_student_who_runs_all_stops_kindly_at_the_first_exercise(lesson, monkeypatch):
    unsolved = Lesson(lesson.number, lesson.name)
    monkeypatch.setattr(Lesson, "solution", property(lambda self: self.notebook))
    result = runner.run_lesson(unsolved)
    first = next(
        nbgrader(c)["grade_id"]
        for c in student(lesson).cells
        if nbgrader(c).get("grade")
    )
    assert f"({first})" in result.problem
    assert "is still open" in result.problem and ".hint() helps" in result.problem
    failed = [
        o
        for c in result.notebook.cells
        if c.cell_type == "code"
        for o in c.outputs
        if o.output_type == "error"
    ]
    assert len(failed) == 1
    shown = " ".join(failed[0].traceback)
    assert shown.startswith(f"{lesson.number}.1 is still open."), "no traceback"
    assert shown.endswith("helps.")
