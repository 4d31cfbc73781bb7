"""Progress and solutions are read from the notebooks that a student saved."""

from __future__ import annotations

import copy
from pathlib import Path

from course_tools import cli
from course_tools.lessons import ROOT, find_lessons
from course_tools.work import solution as solutions
from course_tools.work.merge import is_answer
from course_tools.work.places import Places, find_places
from course_tools.work.progress import (
    LessonProgress,
    Progress,
    read_exercises,
    read_lesson,
)
from course_tools.work.update import update
from course_utils.checks.core import Outcome
from course_utils.errors import CourseError, UsageError
from tests.courses import cell_named
from tests.lessons import FIRST_PAGE
from tests.support.term import (
    ANSWERED,
    SEARCH,
    WORDS,
    git,
    new,
    own_cell,
    places_of,
    read,
    run,
    save,
    source_of_answer,
    text_of,
    work_through,
)

import nbformat
import pytest


def outcomes(notebook):
    return {one.name: (one.outcome, one.stale) for one in read_exercises(notebook)}


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Lesson 08's exercises: right, wrong, open, then run and saved."""
    notebook = new(SEARCH)
    for name in ("precision_and_coverage", "weak_vote"):
        cell_named(notebook, name).source = source_of_answer(SEARCH, name)
    cell_named(
        notebook, "choose_threshold"
    ).source = (
        "def choose_threshold(confidence, right, candidates, wanted):\n    return 0.5"
    )
    return run(notebook, tmp_path_factory.mktemp("kernel"))


def test_progress_is_read_from_saved_outputs(checked):
    found = outcomes(checked)
    assert found["precision_and_coverage"] == (Outcome.PASSED, False)
    assert found["choose_threshold"] == (Outcome.TRIED, False)
    assert found["train"] == (Outcome.OPEN, False)


def test_a_tick_does_not_count_once_its_answer_changed(checked):
    notebook = copy.deepcopy(checked)
    cell_named(notebook, "weak_vote").source += "\n    # and another thing"
    assert outcomes(notebook)["weak_vote"] == (Outcome.TRIED, True)
    stub = cell_named(new(SEARCH), "weak_vote").source
    cell_named(notebook, "weak_vote").source = stub
    assert outcomes(notebook)["weak_vote"] == (Outcome.OPEN, True)


def test_a_tick_that_names_no_answer_does_not_count(checked):
    notebook = copy.deepcopy(checked)
    cell_named(notebook, "check-weak_vote").outputs.pop()
    assert outcomes(notebook)["weak_vote"] == (Outcome.TRIED, True)


def test_an_answer_in_a_cell_of_ones_own_counts_as_long_as_it_is_the_last(tmp_path):
    notebook = new(SEARCH)
    own_cell(notebook, "weak_vote", source_of_answer(SEARCH, "weak_vote"))
    ran = run(notebook, tmp_path)
    assert outcomes(ran)["weak_vote"] == (Outcome.PASSED, False)
    own_cell(ran, "weak_vote", "weak_vote = None")
    assert outcomes(ran)["weak_vote"] == (Outcome.PASSED, False)
    check = ran.cells.index(cell_named(ran, "check-weak_vote"))
    ran.cells.insert(check, nbformat.v4.new_code_cell("weak_vote = None"))
    assert outcomes(ran)["weak_vote"] == (Outcome.TRIED, True)


def test_an_answer_with_a_magic_command_is_recognised(tmp_path):
    notebook = new(SEARCH)
    first = ["%%time", "%matplotlib inline", "# £ 'quoted' \\ \t"]
    for name, line in zip(ANSWERED[SEARCH], first, strict=True):
        source = f"{line}\n\n{source_of_answer(SEARCH, name)}\n\n"
        cell_named(notebook, name).source = source
    found = outcomes(run(notebook, tmp_path))
    for name in ANSWERED[SEARCH]:
        assert found[name] == (Outcome.PASSED, False)


def test_an_answer_that_does_not_parse_is_not_the_one_that_passed(tmp_path):
    notebook = new(SEARCH)
    own_cell(notebook, "", source_of_answer(SEARCH, "weak_vote"))
    cell_named(
        notebook, "weak_vote"
    ).source = "def weak_vote(labels, weights:\n    pass"
    ran = run(notebook, tmp_path)
    assert outcomes(ran)["weak_vote"] == (Outcome.TRIED, True)


def test_an_answer_that_a_library_gives_is_recognised(tmp_path):
    notebook = new(FIRST_PAGE)
    for source in (
        "import functools\ntext_vector = functools.partial(np.mean, axis=0)",
        "text_vector = helper",
    ):
        cell_named(notebook, "text_vector").source = source
        own_cell(notebook, "", "def helper(rows):\n    return sum(rows) / len(rows)")
        assert outcomes(run(notebook, tmp_path)) == {
            "text_vector": (Outcome.PASSED, False)
        }


def test_an_attempt_above_the_line_that_raises_is_tried(tried):
    path = tried.copy_of(SEARCH.name)
    notebook = read(path)
    cell = cell_named(notebook, "train")
    cell.source = cell.source.replace("    raise", "    model = None\n    raise")
    save(notebook, path)
    found = {one.name: one for one in read_lesson(tried, SEARCH.name).exercises}
    assert found["train"].outcome is Outcome.TRIED
    assert "remove the `raise` line" in str(solutions.find_solution(tried, "8.5"))
    assert "`raise`" not in str(solutions.find_solution(tried, "8.4"))


def test_a_tick_of_an_answer_that_is_not_code_does_not_count(checked):
    notebook = copy.deepcopy(checked)
    cell_named(notebook, "weak_vote").cell_type = "markdown"
    found = {one.name: one for one in read_exercises(notebook, checked)}
    assert found["weak_vote"].outcome is Outcome.TRIED
    assert found["weak_vote"].lacks == "the answer cell of 8.2"


def test_where_an_answer_was_not_run_progress_says_to_run_it_first(checked):
    notebook = copy.deepcopy(checked)
    names = ("precision_and_coverage", "weak_vote")
    for name, told in zip(
        names,
        (
            "run the answer cell of 8.1, then its check",
            "run the answer cells of 8.1, 8.2, then their checks",
        ),
        strict=True,
    ):
        cell_named(notebook, name).source += "\n    # and another thing"
        found = tuple(read_exercises(notebook))
        assert LessonProgress("08_x", "x", found).stale == told


def test_an_answer_that_was_taken_back_has_nothing_to_run(checked):
    notebook = copy.deepcopy(checked)
    stub = cell_named(new(SEARCH), "weak_vote").source
    cell_named(notebook, "weak_vote").source = stub
    found = tuple(read_exercises(notebook))
    assert LessonProgress("08_x", "x", found).stale == ""


def test_a_lesson_without_a_copy_is_told_where_others_have_one(clone):
    places = places_of(clone)
    assert "course update" not in repr(Progress(places))
    update(places)
    places.copy_of(SEARCH.name).rename(clone / "work" / "mine.ipynb")
    told = repr(Progress(places))
    assert f"there is no work/{SEARCH.name}.ipynb: `course update` makes it" in told
    assert f"({SEARCH.name}.ipynb)" not in Progress(places)._repr_markdown_()
    with pytest.raises(CourseError, match="no work/08.*ipynb: run `course update"):
        solutions.find_solution(places, "8.4")
    assert [one.text for one in update(places)] == [f"{SEARCH.name} is new in work/."]


def test_a_folder_elsewhere_is_shown_by_its_whole_path(clone, tmp_path):
    places = Places(clone / "notebooks", tmp_path / "mine")
    assert places.shown(places.own) == str(tmp_path / "mine")
    (line,) = update(places)
    assert f"are in {tmp_path / 'mine'}/" in line.text


def test_a_fingerprint_shows_nowhere(checked):
    pytest.importorskip("nbconvert")
    from nbconvert import HTMLExporter

    check = cell_named(checked, "check-weak_vote")
    stream, mark = check.outputs
    assert stream.text.startswith("✅ 8.2 ") and mark.data == {}
    nbformat.validate(checked)
    page = HTMLExporter().from_notebook_node(checked)[0]
    assert mark.metadata.course.answer not in page


def test_progress_is_one_line_a_lesson_and_a_page(clone, checked):
    places = places_of(clone)
    update(places)
    save(checked, clone / "work" / SEARCH.notebook.name)
    (clone / "work" / WORDS.notebook.name).write_text("{")
    words, garments, search, total = repr(Progress(places)).splitlines()
    assert words.startswith("❌ 01 One-hot vs embeddings ")
    assert "is not JSON" in words and "rename it, and `course update`" in words
    assert garments.startswith("⬜ 05 ")
    assert garments.endswith("0 passed, 0 tried, 5 open")
    assert search.startswith("🔶 08 ") and search.endswith("2 passed, 1 tried, 3 open")
    assert total == "2 of 11 exercises passed."
    update(places)
    page = read(clone / "work/progress.ipynb")
    nbformat.validate(page)
    table = page.cells[1].outputs[0].data["text/markdown"]
    assert "| 8.1 8.2 | 8.4 | 8.3 8.5 8.6 |" in table
    ran = run(page, clone / "work")
    assert ran.cells[1].outputs[0].output_type == "execute_result", ran.cells[1]
    page.cells.append(nbformat.v4.new_markdown_cell("My plans."))
    save(page, clone / "work/progress.ipynb")
    (clone / "work" / WORDS.notebook.name).unlink()
    update(places)
    assert "My plans." in text_of(read(clone / "work/progress.ipynb"))


def test_every_exercise_of_the_course_has_a_number_and_is_open_at_first():
    for lesson in find_lessons([]):
        places = Places(ROOT / "notebooks", Path("nowhere"))
        found = read_lesson(places, lesson.name)
        count = sum(is_answer(c) for c in read(lesson.notebook).cells)
        assert [one.number for one in found.exercises] == [
            f"{lesson.number}.{n}" for n in range(1, count + 1)
        ]
        assert {one.outcome for one in found.exercises} == {Outcome.OPEN}


# --- solutions ---------------------------------------------------------------------


@pytest.fixture
def tried(clone, checked, monkeypatch):
    monkeypatch.delenv(solutions.SWITCH, raising=False)
    places = places_of(clone)
    update(places)
    save(checked, clone / "work" / SEARCH.notebook.name)
    return places


def test_a_solution_is_shown_after_an_attempt_with_its_reason(tried):
    shown = str(solutions.find_solution(tried, "8.4"))
    assert shown.startswith("# 8.4 ") and "def choose_threshold(" in shown
    assert "SOLUTION" not in shown and "HIDDEN" not in shown
    assert "The lowest threshold that is good enough" in shown
    assert str(solutions.find_solution(tried, "08.4")) == shown


def test_an_open_exercise_shows_none(tried):
    with pytest.raises(CourseError, match="still open in work/08_similarity_search"):
        solutions.find_solution(tried, "8.5")


@pytest.mark.parametrize("number", ["8", "trains", "8.9", "9.1", "8.4.1", ""])
def test_a_number_that_there_is_not_is_wrong_usage(tried, number):
    with pytest.raises(UsageError):
        solutions.find_solution(tried, number)


def test_an_exercise_goes_by_its_functions_name_too(tried):
    shown = str(solutions.find_solution(tried, "8.4"))
    for wanted in ("choose_threshold", " 8.4 ", "8.04"):
        assert str(solutions.find_solution(tried, wanted)) == shown


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("8.9", "It has: 8.1, 8.2, "),
        ("9.1", "the lessons are 1, 5, 8"),
        ("trains", "function's name; `course solution 1` lists"),
    ],
)
def test_what_there_is_not_names_what_there_is(tried, wanted, words):
    with pytest.raises(UsageError, match=words):
        solutions.find_solution(tried, wanted)


def test_a_name_of_two_exercises_asks_for_a_number(tmp_path):
    places = Places(ROOT / "notebooks", tmp_path / "work")
    with pytest.raises(UsageError, match=r"`train` is 6\.\d and 8\.\d.*: write"):
        solutions.find_solution(places, "train")


def test_an_answer_cell_that_is_gone_is_told(tried):
    path = tried.copy_of(SEARCH.name)
    notebook = read(path)
    notebook.cells.remove(cell_named(notebook, "train"))
    save(notebook, path)
    with pytest.raises(CourseError, match="answer cell of 8.5 is missing in work/08"):
        solutions.find_solution(tried, "8.5")


def test_a_damaged_copy_says_what_to_do(tried):
    tried.copy_of(SEARCH.name).write_text("")
    with pytest.raises(CourseError, match="is empty. The file was not changed; rename"):
        solutions.find_solution(tried, "8.4")


def test_an_instructor_can_switch_solutions_off(tried, monkeypatch):
    config = tried.notebooks.parent / solutions.CONFIG
    config.write_text("c = get_config()\nSHOW_SOLUTIONS = False\n")
    with pytest.raises(CourseError, match=r"switched solutions off in nbgrader_config"):
        solutions.find_solution(tried, "8.4")
    config.write_text("SHOW_SOLUTIONS = True\n")
    solutions.find_solution(tried, "8.4")
    monkeypatch.setenv(solutions.SWITCH, "off")
    with pytest.raises(CourseError, match="COURSE_SOLUTIONS is set"):
        solutions.find_solution(tried, "8.4")


def test_the_courses_own_settings_name_the_switch():
    text = (ROOT / solutions.CONFIG).read_text(encoding="utf-8")
    assert "SHOW_SOLUTIONS = True" in text


def test_every_exercise_has_an_answer_and_a_reason(tmp_path, monkeypatch):
    monkeypatch.delenv(solutions.SWITCH, raising=False)
    places = Places(ROOT / "notebooks", tmp_path / "work")
    places.own.mkdir()
    for lesson in find_lessons([]):
        notebook = read(lesson.notebook)
        for cell in notebook.cells:
            if is_answer(cell):
                cell.source = "pass"
        save(notebook, places.copy_of(lesson.name))
        for one in read_lesson(places, lesson.name).exercises:
            found = solutions.find_solution(places, one.number)
            assert f"{one.name}" in found.code and len(found.why) > 20


# --- the command -------------------------------------------------------------------


@pytest.fixture
def here(clone, monkeypatch):
    """Let the command work in a clone."""
    from course_tools.work import places

    monkeypatch.setattr(places, "ROOT", clone)
    monkeypatch.delenv("COURSE_WORK", raising=False)
    monkeypatch.chdir(clone)
    return clone


def test_course_update_says_a_line_a_lesson_and_ends_with_1_at_a_problem(here, capsys):
    assert cli.main(["update"]) == 0
    assert cli.main(["update"]) == 0
    assert "are up to date" in capsys.readouterr().out
    work_through(here)
    (here / "work" / WORDS.notebook.name).write_text("{")
    git(here, "pull", "-q")
    assert cli.main(["update"]) == 1
    told = capsys.readouterr()
    assert told.err.startswith("01 was not updated") and "05 updated" in told.out


def test_course_progress_reads_and_changes_nothing(here, capsys):
    assert cli.main(["progress"]) == 0
    told = capsys.readouterr().out
    assert "0 of 17 exercises passed." in told
    assert told.endswith("no copies of yours yet: `course update` makes them.\n")
    assert not (here / "work").exists()


def test_copies_may_be_in_another_folder(here, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_WORK", str(tmp_path / "mine"))
    assert cli.main(["update"]) == 0
    assert (tmp_path / "mine" / WORDS.notebook.name).exists()
    assert not (here / "work").exists()


def test_lab_opens_what_there_is_when_it_cannot_be_updated(here, monkeypatch, capsys):
    from course_tools.work import update as module

    from jupyterlab.labapp import LabApp

    calls = []
    monkeypatch.setattr(LabApp, "launch_instance", calls.append)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(module, "taking_turns", full)
        assert cli.main(["lab", "--allow-root"]) == 1 and not calls
    update(places_of(here))
    monkeypatch.setattr(module, "taking_turns", full)
    assert cli.main(["lab", "--allow-root"]) == 0 and len(calls) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == second and first.startswith("The disk is full: work could not be")


def test_a_package_alone_finds_the_lessons_above(clone, monkeypatch, tmp_path):
    from course_tools.work import places

    monkeypatch.setattr(places, "ROOT", tmp_path / "site-packages")
    monkeypatch.delenv("COURSE_WORK", raising=False)
    assert find_places(clone / "work").notebooks == clone / "notebooks"
    with pytest.raises(CourseError, match="There are no lessons"):
        find_places(tmp_path)
