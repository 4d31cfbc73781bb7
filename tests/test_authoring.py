"""Student notebooks are what their solutions give, to the byte."""

from __future__ import annotations

import builtins
import errno
import functools
import itertools
import json
import os
import shutil
import subprocess
import sys

from course_tools import authoring, cli, lessons, runner
from course_tools.cli import main
from course_tools.lessons import Lesson
from course_utils.errors import CourseError
from tests.lessons import (
    IDS,
    LESSONS,
    NOTEBOOK_IDS,
    NOTEBOOKS,
    nbgrader,
    solution,
    student,
)
from tests.systems import needs_linux, needs_posix

import nbformat
import pytest

each_lesson = pytest.mark.parametrize("lesson", NOTEBOOKS, ids=NOTEBOOK_IDS)
LIGHTEST = LESSONS[6]  # neither TensorFlow nor torch


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """Let the command work on copies of all lessons."""
    for name in ("solutions", "notebooks"):
        shutil.copytree(getattr(lessons, name.upper()), tmp_path / name, symlinks=True)
        monkeypatch.setattr(lessons, name.upper(), tmp_path / name)
    (tmp_path / "notebooks" / ".built.json").unlink(missing_ok=True)
    for name in ("NOTEBOOKS", "STAMPS", "ROOT", "README"):
        old = getattr(authoring, name)
        new = tmp_path / old.relative_to(lessons.ROOT)
        monkeypatch.setattr(authoring, name, new)
    shutil.copy(lessons.ROOT / "README.md", tmp_path / "README.md")
    for name in ("images", "docs"):
        shutil.copytree(lessons.ROOT / name, tmp_path / name)
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
    assert set(first) == {lesson.notebook.name for lesson in NOTEBOOKS}


def test_cell_ids_are_those_of_the_solution():
    for lesson in NOTEBOOKS:
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


# --- a disk that is full -----------------------------------------------------


@pytest.fixture
def everything_to_write(copies, monkeypatch):
    """One lesson with a student's work in it, and all else out of date."""
    lesson = LESSONS[0]
    monkeypatch.setattr(cli, "all_notebooks", lambda: [lesson])
    monkeypatch.setattr(authoring, "all_lessons", lambda: [lesson])
    made = functools.cache(authoring.student_version)
    monkeypatch.setattr(authoring, "student_version", made)
    path = copies / "notebooks" / lesson.notebook.name
    work = path.read_text(encoding="utf-8").replace("Your turn", "My answer", 1)
    path.write_text(work, encoding="utf-8")
    (path.parent / "images" / "onehot.png").write_bytes(b"an older picture")
    (path.parent / ".built.json").write_text('{"other.ipynb": "0"}')
    return path, work


def contents(folder):
    """What each file holds, but for the solutions."""
    return {
        p.relative_to(folder): p.read_bytes()
        for p in [folder / "README.md", *(folder / "notebooks").rglob("*")]
        if p.is_file()
    }


def refuse(monkeypatch, call, number):
    """Let one call fail, counted from 0, as on a disk that is full by then."""
    module, name = (builtins, call) if call == "open" else (os, call)
    plain, counted = getattr(module, name), itertools.count()

    def failing(*arguments, **options):
        writes = call != "open" or "w" in str(arguments[1:2])
        if writes and next(counted) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return plain(*arguments, **options)

    monkeypatch.setattr(module, name, failing)


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_build_on_a_full_disk_loses_nothing(
    copies, everything_to_write, call, monkeypatch, capsys
):
    path, work = everything_to_write
    before = contents(copies)
    for number in itertools.count():
        for name in contents(copies).keys() - before.keys():
            (copies / name).unlink()
        for name, held in before.items():
            (copies / name).write_bytes(held)
        with monkeypatch.context() as patched:
            refuse(patched, call, number)
            status = main(["build"])
        said = capsys.readouterr().err
        now = contents(copies)
        assert not list(copies.rglob(".part-*"))
        assert work.encode() in now.values(), "the student's work"
        if status == 0:
            break
        (line,) = said.splitlines()
        assert "cannot be written (No space left on device); nothing was lost" in line
        assert all(now.values()) and before.keys() <= now.keys()
        if call != "replace" and now[path.relative_to(copies)] == work.encode():
            assert now == before, "all or nothing"
    assert number == 5, "notebook, work, picture, stamps and README"
    assert main(["build"]) == 0 and contents(copies) == now


@needs_linux
def test_a_build_on_a_really_full_disk_loses_nothing(
    copies, everything_to_write, monkeypatch, capsys
):
    path, work = everything_to_write
    disk = copies / "disk"
    disk.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(small, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk here")
    try:
        shutil.copytree(path.parent, disk / "notebooks")
        monkeypatch.setattr(lessons, "NOTEBOOKS", disk / "notebooks")
        monkeypatch.setattr(authoring, "NOTEBOOKS", disk / "notebooks")
        monkeypatch.setattr(authoring, "STAMPS", disk / "notebooks" / ".built.json")
        shutil.copy(copies / "README.md", disk)
        monkeypatch.setattr(authoring, "README", disk / "README.md")
        before = contents(disk)
        with pytest.raises(OSError), open(disk / "filler", "wb", 0) as filler:
            while True:
                filler.write(bytes(4096))
        assert main(["build"]) == 1
        assert "(No space left on device); nothing was lost" in capsys.readouterr().err
        assert contents(disk) == before
        (disk / "filler").unlink()
        assert main(["build"]) == 0
        assert work.encode() in contents(disk).values()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_measured_outputs_on_a_full_disk_leave_lesson_and_record_as_they_were(
    small_lesson, monkeypatch
):
    lesson = small_lesson("1 + 1")
    runner.RECORD.write_text("{}")
    before = lesson.solution.read_bytes()
    result = runner.run_lesson(lesson)
    for number in range(2):
        with monkeypatch.context() as patched:
            refuse(patched, "fsync", number)
            with pytest.raises(CourseError, match="nothing was lost"):
                runner.save(lesson, result)
        assert lesson.solution.read_bytes() == before
        assert runner.RECORD.read_text() == "{}"
        assert not list(runner.RECORD.parent.glob(".part-*"))


@needs_posix
def test_a_file_that_may_not_be_written_or_read_is_one_sentence(
    copies, everything_to_write, monkeypatch, capsys
):
    path, work = everything_to_write

    def closed(place, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))

    for name in ("read_text", "read_bytes"):
        plain = getattr(type(path), name)

        def read(self, *arguments, plain=plain, **options):
            asked = closed if self == path else plain
            return asked(self, *arguments, **options)

        monkeypatch.setattr(type(path), name, read)
    assert main(["build", "--check"]) == 1
    assert "notebook cannot be read (Permission denied)" in capsys.readouterr().err
    assert main(["build"]) == 1
    assert capsys.readouterr().err == f"{path}: Permission denied.\n"
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == work


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
    for lesson in NOTEBOOKS:
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
    for lesson in NOTEBOOKS:
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
