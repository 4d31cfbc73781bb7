"""A student's weeks: copies of their own, updates that keep answers, progress."""

from __future__ import annotations

import contextlib
import copy
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time

from course_tools.lessons import ROOT
from course_tools.work.merge import grade_id, merge
from course_tools.work.places import Places
from course_tools.work.progress import Progress, read_exercises, read_lesson
from course_tools.work.update import content_of, update
from course_tools.work.versions import STAMP
from course_utils.checks.core import Outcome
from course_utils.errors import CourseError
from tests.courses import cell_named, make_course, nbgrader_command
from tests.support.term import (
    ANSWERED,
    GARMENTS,
    MINE,
    SEARCH,
    TERM,
    WORDS,
    all_written,
    answer,
    git,
    holds_the_second_version,
    make_clone,
    new,
    own_cell,
    places_of,
    read,
    run,
    said,
    save,
    second_version,
    source_of_answer,
    text_of,
    work_through,
)
from tests.systems import needs_linux, needs_posix

import nbformat
import pytest


def test_a_term_is_played_and_no_answer_is_lost(clone, tmp_path):
    places = places_of(clone)
    (line,) = said(update(places))
    assert line.startswith("3 notebooks are in work/")
    assert git(clone, "status", "--porcelain") == ""
    assert (clone / "work/images/onehot.png").read_bytes() == b"first"
    assert update(places) == []
    work_through(clone)
    before = {p.name: p.read_bytes() for p in (clone / "work").glob("0*.ipynb")}
    assert update(places) == []
    assert git(clone, "status", "--porcelain") == ""

    git(clone, "pull", "-q")
    assert (clone / "work/images/onehot.png").read_bytes() == b"first"
    words, garments, search = said(update(places))
    assert re.match(
        "01 updated, your 3 answers kept, 4 cells of your own kept, ", words
    )
    assert "your 2 answers kept" in garments and "1 exercise is new" in garments
    assert "5.2 of the old version is gone, your answer is at the end" in garments
    assert "look at 8.4 again: the exercise changed" in search
    assert git(clone, "status", "--porcelain") == ""
    assert (clone / "work/images/onehot.png").read_bytes() == b"second"

    updated = holds_the_second_version(clone)
    cells = updated[WORDS].cells
    sources = [cell.source for cell in cells]
    # An own cell stays where it was: between an answer and its check.
    assert sources.index(MINE) == sources.index(source_of_answer(WORDS, "lookup")) + 1
    place = sources.index("note = 'kept'")
    assert grade_id(cells[place - 1]) == "check-ppmi"
    assert sources[0] == "top = 1" and "A sentence that is new." in sources[1]
    kept = sorted(p.name for p in (clone / "work").glob("*.before-*.ipynb"))
    assert len(kept) == 3
    for name in kept:
        old = f"{name.partition('.')[0]}.ipynb"
        assert (clone / "work" / name).read_bytes() == before[old]
    assert update(places) == []

    passed = {}
    for lesson, notebook in updated.items():
        ran = run(notebook, clone / "work")
        save(ran, clone / "work" / lesson.notebook.name)
        passed[lesson] = {
            one.name for one in read_exercises(ran) if one.outcome is Outcome.PASSED
        }
    gone = {"contrastive_loss"}
    assert passed == {lesson: {*names} - gone for lesson, names in ANSWERED.items()}
    assert "8 of 17 exercises passed." in repr(Progress(places))
    assert git(clone, "status", "--porcelain") == ""


def test_what_the_course_changed_in_an_answered_exercise_is_shown_below_it(clone):
    update(places_of(clone))
    work_through(clone)
    git(clone, "pull", "-q")
    update(places_of(clone))
    cells = read(clone / "work" / SEARCH.notebook.name).cells
    names = [grade_id(cell) for cell in cells]
    shown = cells[names.index("choose_threshold") + 1]
    assert shown.cell_type == "markdown" and "Anew: " in shown.source
    assert (
        "The second term's check."
        in cell_named(nbformat.from_dict({"cells": cells}), "check-weak_vote").source
    )


def test_a_second_update_of_a_day_keeps_both_old_files(clone):
    update(places_of(clone))
    work_through(clone)
    git(clone, "pull", "-q")
    update(places_of(clone))
    git(clone, "reset", "-q", "--hard", "origin/first")
    update(places_of(clone))
    kept = [p.name for p in (clone / "work").glob("01*.before-*.ipynb")]
    assert len(kept) == 2 and any(name.endswith("-2.ipynb") for name in kept)
    text = text_of(read(clone / "work" / WORDS.notebook.name))
    assert "A sentence that is new." not in text and MINE in text


def test_an_untouched_lesson_is_replaced_and_nothing_is_kept_beside_it(clone):
    places = places_of(clone)
    update(places)
    # JupyterLab writes what the kernel is when it saves.
    for lesson in TERM:
        path = clone / "work" / lesson.notebook.name
        notebook = read(path)
        notebook.metadata["language_info"] = {"name": "python", "version": "3.12.1"}
        save(notebook, path)
    git(clone, "pull", "-q")
    assert said(update(places)) == ["01 updated", "05 updated", "08 updated"]
    for lesson in TERM:
        notebook = read(clone / "work" / lesson.notebook.name)
        assert content_of(notebook) == content_of(second_version(lesson))
    assert not list((clone / "work").glob("*.before-*"))


def test_a_glossary_that_the_student_edited_is_kept(clone):
    places = places_of(clone)
    update(places)
    (clone / "work/glossary.md").write_text("mine")
    (clone / "notebooks/glossary.md").write_text("# Glossary, longer")
    told = said(update(places))
    assert (clone / "work/glossary.md").read_text() == "# Glossary, longer"
    (kept,) = (clone / "work").glob("glossary.before-*.md")
    assert kept.read_text() == "mine"
    assert told == [f"glossary.md updated; it had edits of yours, kept as {kept.name}."]


def test_an_edited_text_stays_edited_until_the_course_changes_it():
    base, other = new(WORDS), second_version(WORDS)
    own = new(WORDS)
    own.cells[0].source += "\n\nMine."
    own.cells[1].source += "\nmine = 1"
    done = merge(base, own, other, day="2026-11-26")
    assert done.edited == 2
    cells = done.notebook.cells
    assert (
        "Mine." not in cells[0].source and "A sentence that is new" in cells[0].source
    )
    assert cells[1].cell_type == "markdown"
    assert "> Mine." in cells[1].source and "2026-11-26" in cells[1].source
    assert cells[2].source == own.cells[1].source and cells[2].cell_type == "code"


def test_a_cell_that_the_student_deleted_comes_back():
    base = own = new(WORDS)
    own = copy.deepcopy(base)
    del own.cells[2:5]
    done = merge(base, own, second_version(WORDS), day="x")
    assert content_of(done.notebook) == content_of(second_version(WORDS))


def kept_files(clone, lesson):
    return sorted((clone / "work").glob(f"{lesson.name}.before-*.ipynb"))


def with_a_tick(path, name):
    """Put under a check what it says of a right answer."""
    notebook = read(path)
    tick = nbformat.v4.new_output("stream", text="✅ 8.2 Right.\n")
    cell_named(notebook, f"check-{name}").outputs = [tick]
    save(notebook, path)
    return notebook


@pytest.mark.parametrize("pulls", [False, True])
def test_an_answer_cell_that_was_deleted_comes_back_empty_with_no_tick(clone, pulls):
    places = places_of(clone)
    update(places)
    path = clone / "work" / SEARCH.notebook.name
    notebook = with_a_tick(path, "weak_vote")
    notebook.cells.remove(cell_named(notebook, "weak_vote"))
    del notebook.cells[1]  # a text that the student does not want
    save(notebook, path)
    told = repr(Progress(places))
    assert f"the answer cell of 8.2 is missing in work/{path.name}: `course" in told
    assert "0 of 17 exercises passed." in told
    if pulls:
        git(clone, "pull", "-q")
    (line,) = [one for one in said(update(places)) if one.startswith("08 ")]
    assert "the answer cell of 8.2 was missing and is back, empty (the old" in line
    now = read(path)
    assert cell_named(now, "check-weak_vote").outputs == []
    expected = second_version(SEARCH) if pulls else new(SEARCH)
    stub = cell_named(expected, "weak_vote").source
    assert cell_named(now, "weak_vote").source == stub
    assert (now.cells[1].source == expected.cells[1].source) == pulls
    (kept,) = kept_files(clone, SEARCH)
    assert content_of(read(kept)) == content_of(notebook)
    assert update(places) == []


def test_a_check_that_was_deleted_comes_back_and_the_answer_stays(clone):
    places = places_of(clone)
    update(places)
    path = clone / "work" / SEARCH.notebook.name
    notebook = answer(path, SEARCH, ["weak_vote"])
    notebook.cells.remove(cell_named(notebook, "check-weak_vote"))
    save(notebook, path)
    assert "the check of 8.2 is missing in work/08" in repr(Progress(places))
    (line,) = said(update(places))
    assert "08 updated, the check of 8.2 was missing and is back, your 1 answer" in line
    source = cell_named(read(path), "weak_vote").source
    assert source == source_of_answer(SEARCH, "weak_vote")
    names = [grade_id(cell) for cell in read(path).cells]
    assert names.index("check-weak_vote") == names.index("weak_vote") + 1


@pytest.mark.parametrize("damage", ["metadata", "all", "markdown", "own cell"])
def test_an_answer_whose_cell_is_damaged_is_found_again(clone, damage):
    places = places_of(clone)
    update(places)
    path = clone / "work" / SEARCH.notebook.name
    notebook = answer(path, SEARCH, ["weak_vote"])
    cell = cell_named(notebook, "weak_vote")
    source = cell.source
    if damage == "markdown":
        del cell["outputs"], cell["execution_count"]
        cell.cell_type = "markdown"
    elif damage == "own cell":
        notebook.cells[notebook.cells.index(cell)] = nbformat.v4.new_code_cell(source)
    else:
        cell.metadata = nbformat.from_dict({})
        cell.id = cell.id if damage == "metadata" else "another"
    save(notebook, path)
    assert "answer cell of 8.2 is missing in work/08" in repr(Progress(places))
    (line,) = said(update(places))
    assert "the answer cell of 8.2 was damaged and is in order again" in line
    assert "own" not in line and len(kept_files(clone, SEARCH)) == 1
    now = read(path)
    nbformat.validate(now)
    found = cell_named(now, "weak_vote")
    assert (found.source, found.cell_type) == (source, "code")
    assert text_of(now).count(source) == 1
    assert update(places) == []


def test_what_an_update_noted_is_its_own_and_is_written_anew(clone):
    update(places_of(clone))
    path = clone / "work" / SEARCH.notebook.name
    answer(path, SEARCH, ["choose_threshold"])
    git(clone, "pull", "-q")
    update(places_of(clone))
    assert text_of(read(path)).count("The course changed this exercise") == 1
    for words, times in (("Once more: ", 1), ("A text alone", 1)):
        third = second_version(SEARCH)
        stub = cell_named(third, "choose_threshold")
        stub.source = stub.source.replace("Anew: ", "Once more: ")
        third.cells[0].source += words
        save(third, clone / "notebooks" / SEARCH.notebook.name)
        git(clone, "commit", "-qam", words)
        (line,) = said(update(places_of(clone)))
        assert "of your own" not in line
        text = text_of(read(path))
        assert text.count("The course changed this exercise") == times
        assert "Once more: " in text and "Anew: " not in text
    # What the student writes into it is theirs.
    notebook = read(path)
    note = next(c for c in notebook.cells if "The course changed" in c.source)
    note.source += "\nA thought of mine."
    save(notebook, path)
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    (line,) = said(update(places_of(clone)))
    assert "1 cell of your own kept" in line
    assert "A thought of mine." in text_of(read(path))


def test_outputs_stay_below_cells_that_did_not_change():
    base, own, other = new(SEARCH), new(SEARCH), second_version(SEARCH)
    for cell in own.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text="seen\n")]
            cell.execution_count = 3
    done = merge(base, own, other, day="x")
    assert done.dropped and not done.has_work
    silent = {grade_id(c) for c in done.notebook.cells if c.get("outputs") == []}
    assert silent == {"check-weak_vote", "choose_threshold"}


def test_two_cells_with_the_name_of_one_exercise_become_an_answer_and_an_own_cell():
    base, own = new(WORDS), new(WORDS)
    first = cell_named(own, "lookup")
    first.source = "def lookup(table, ids):\n    return 1"
    second = copy.deepcopy(first)
    second.id, second.source = (
        "copied",
        "def lookup(table, ids):\n    return table[ids]",
    )
    own.cells.insert(own.cells.index(first) + 1, second)
    done = merge(base, own, second_version(WORDS), day="x")
    assert done.answers == ["lookup"] and done.own == 1
    names = [grade_id(cell) for cell in done.notebook.cells]
    assert names.count("lookup") == 1
    assert cell_named(done.notebook, "lookup").source == second.source
    assert first.source in text_of(done.notebook)


def shaken(notebook, rng, word):
    """Change a notebook anyhow; every text that is written holds the word."""
    notebook = copy.deepcopy(notebook)
    cells = notebook.cells
    for number in range(rng.randrange(1, 9)):
        place = rng.randrange(len(cells))
        text = f"{word}_{number}_ = 1"
        kind = rng.choice(
            ["edit", "edit", "insert", "delete", "move", "copy", "retype"]
        )
        if kind == "edit":
            cells[place].source += f"\n{text}"
        elif kind == "insert":
            cells.insert(place, nbformat.v4.new_code_cell(text))
        elif kind == "move":
            cells.insert(rng.randrange(len(cells)), cells.pop(place))
        elif kind == "copy":
            again = copy.deepcopy(cells[place])
            again.id = f"{word}-{number}"
            again.source += f"\n{text}"
            cells.insert(place + 1, again)
        elif kind == "retype" and not grade_id(cells[place]):
            text = f"{text} ``` \\ ```` > [x](y)"
            cells[place] = nbformat.v4.new_raw_cell(text, id=cells[place].id)
        elif kind == "delete" and len(cells) > 2 and word not in cells[place].source:
            del cells[place]
    return notebook


@pytest.mark.parametrize("seed", range(40))
def test_whatever_changed_on_both_sides_all_that_a_student_wrote_is_there(seed):
    rng = random.Random(seed)
    base = new(rng.choice(TERM))
    own = shaken(base, rng, "mine")
    other = shaken(base, rng, "course")
    # The course has each exercise once.
    seen = set()
    other.cells = [
        cell
        for cell in other.cells
        if not grade_id(cell)
        or not (grade_id(cell) in seen or seen.add(grade_id(cell)))
    ]
    done = merge(base, own, other, day="x")
    nbformat.validate(done.notebook)
    checks = {i for i, c in enumerate(own.cells) if grade_id(c).startswith("check-")}
    lost = [
        cell.source
        for place, cell in enumerate(own.cells)
        if "mine_" in cell.source and place not in checks
        for line in cell.source.splitlines()
        if "mine_" in line and line not in text_of(done.notebook)
    ]
    assert lost == []
    ids = [cell.id for cell in done.notebook.cells]
    assert len(ids) == len(set(ids))
    names = [grade_id(cell) for cell in done.notebook.cells if grade_id(cell)]
    assert names == [grade_id(cell) for cell in other.cells if grade_id(cell)]
    kept = [
        cell.id
        for cell in done.notebook.cells
        if cell.id in {c.id for c in other.cells}
    ]
    assert kept == [cell.id for cell in other.cells]
    # The next update finds it as it is.
    again = merge(other, done.notebook, other, day="x")
    assert content_of(again.notebook) == content_of(done.notebook)


def test_a_check_that_the_student_edited_is_put_back_and_the_old_file_kept(clone):
    places = places_of(clone)
    update(places)
    path = clone / "work" / SEARCH.notebook.name
    notebook = read(path)
    cell_named(notebook, "check-weak_vote").source = "print('✅ 8.2 of course')"
    save(notebook, path)
    git(clone, "pull", "-q")
    update(places)
    assert "of course" not in text_of(read(path))
    (kept,) = (clone / "work").glob("08*.before-*.ipynb")
    assert "of course" in text_of(read(kept))


def test_a_lesson_that_got_another_number_keeps_its_answers(clone):
    places = places_of(clone)
    update(places)
    work_through(clone)
    old = WORDS.notebook.name
    moved = f"02{old[2:]}"
    git(clone, "mv", f"notebooks/{old}", f"notebooks/{moved}")
    git(clone, "commit", "-qm", "another order")
    (line,) = said(update(places))
    assert "it was 01 before" in line
    assert not (clone / "work" / old).exists()
    notebook = read(clone / "work" / moved)
    for name in ANSWERED[WORDS]:
        assert cell_named(notebook, name).source == source_of_answer(WORDS, name)


# --- work that began among the course's own files ------------------------------------


def test_work_begun_in_notebooks_is_taken_over_and_git_pulls_again(clone):
    path = clone / "notebooks" / WORDS.notebook.name
    notebook = answer(path, WORDS, ANSWERED[WORDS])
    own_cell(notebook, "lookup")
    save(notebook, path)
    git(clone, "add", str(path))
    lines = said(update(places_of(clone)))
    assert (
        "01 begun in notebooks/, goes on in work/01_one_hot_vs_embeddings.ipynb"
        in lines
    )
    assert git(clone, "status", "--porcelain") == ""
    own = read(clone / "work" / WORDS.notebook.name)
    assert content_of(own) == content_of(notebook)
    git(clone, "pull", "-q")
    update(places_of(clone))
    own = read(clone / "work" / WORDS.notebook.name)
    for name in ANSWERED[WORDS]:
        assert cell_named(own, name).source == source_of_answer(WORDS, name)


def test_work_in_both_folders_is_kept_twice(clone):
    places = places_of(clone)
    update(places)
    work_through(clone)
    name = WORDS.notebook.name
    before = (clone / "work" / name).read_bytes()
    answer(clone / "notebooks" / name, WORDS, ["analogy"])
    (line,) = said(update(places))
    assert line.startswith("01: notebooks/ had local edits; moved to work/01")
    assert git(clone, "status", "--porcelain") == ""
    assert (clone / "work" / name).read_bytes() == before
    assert source_of_answer(WORDS, "analogy") in all_written(clone)


def test_work_that_was_committed_is_taken_over_once(clone):
    name = WORDS.notebook.name
    answer(clone / "notebooks" / name, WORDS, ANSWERED[WORDS])
    git(clone, "commit", "-qam", "Automatic commit by nbgitpuller")
    places = places_of(clone)
    update(places)
    own = read(clone / "work" / name)
    # The course's present version comes from upstream, the answers from the file.
    assert "A sentence that is new." in text_of(own)
    for one in ANSWERED[WORDS]:
        assert cell_named(own, one).source == source_of_answer(WORDS, one)
    assert update(places) == []
    assert git(clone, "status", "--porcelain") == ""


def test_without_git_answers_in_notebooks_are_not_taken_for_the_courses(tmp_path):
    folder = tmp_path / "unpacked"
    (folder / "notebooks").mkdir(parents=True)
    path = folder / "notebooks" / WORDS.notebook.name
    save(new(WORDS), path)
    answer(path, WORDS, ["lookup"])
    places = places_of(folder)
    update(places)
    save(second_version(WORDS), path)  # the next version, unpacked over the first
    update(places)
    own = read(folder / "work" / WORDS.notebook.name)
    assert cell_named(own, "lookup").source == source_of_answer(WORDS, "lookup")
    assert "A sentence that is new." in text_of(own)


def test_what_course_build_wrote_is_the_courses_and_stays(clone):
    path = clone / "notebooks" / WORDS.notebook.name
    save(second_version(WORDS), path)
    import hashlib

    stamp = hashlib.sha256(path.read_bytes()).hexdigest()
    (clone / "notebooks/.built.json").write_text(json.dumps({path.name: stamp}))
    update(places_of(clone))
    assert content_of(read(path)) == content_of(second_version(WORDS))
    own = read(clone / "work" / path.name)
    assert "A sentence that is new." in text_of(own)


def test_a_copy_without_its_version_is_compared_with_what_git_has(clone):
    places = places_of(clone)
    update(places)
    work_through(clone)
    for lesson in TERM:
        path = clone / "work" / lesson.notebook.name
        notebook = read(path)
        del notebook.metadata[STAMP]
        save(notebook, path)
    shutil.rmtree(places.record)
    git(clone, "pull", "-q")
    update(places)
    holds_the_second_version(clone)


# --- what can go wrong -------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", '{"cells": [', "[]", '{"cells": 3, "nbformat": 4}']
)
def test_a_notebook_that_the_student_broke_is_one_sentence_and_stays(clone, text):
    places = places_of(clone)
    update(places)
    work_through(clone)
    path = clone / "work" / GARMENTS.notebook.name
    path.write_text(text)
    git(clone, "pull", "-q")
    lines = update(places)
    (problem,) = [line.text for line in lines if line.problem]
    assert problem.startswith(
        "05 was not updated: work/05_siamese_fashion_mnist.ipynb is"
    )
    assert "rename" in problem and "\n" not in problem
    assert "The file was not changed" in problem and "Error" not in problem
    assert ("is empty" in problem) == (not text)
    assert path.read_text() == text
    assert len(lines) == 3  # the others went on
    told = read_lesson(places, GARMENTS.name)
    assert (
        told.problem in problem and told.title == "Siamese networks: a map of garments"
    )
    path.rename(path.with_name("mine.txt"))
    assert said(update(places)) == ["05_siamese_fashion_mnist is new in work/."]
    assert content_of(read(path)) == content_of(second_version(GARMENTS))


def test_a_broken_file_among_the_courses_is_kept_and_replaced(clone):
    path = clone / "notebooks" / WORDS.notebook.name
    path.write_text("{")
    update(places_of(clone))
    assert git(clone, "status", "--porcelain") == ""
    (kept,) = (clone / "work").glob("01*.from-notebooks-*.ipynb")
    assert kept.read_text() == "{"


@pytest.fixture(scope="module")
def pulled(origin, tmp_path_factory):
    """A clone in the middle of a term: work in both folders, the new version pulled."""
    folder = make_clone(origin, tmp_path_factory.mktemp("term") / "clone")
    update(places_of(folder))
    work_through(folder)
    git(folder, "pull", "-q")
    begun = answer(
        folder / "notebooks" / SEARCH.notebook.name, SEARCH, ["my_heuristic"]
    )
    assert cell_named(begun, "my_heuristic")
    return folder


def faults(kind, every, folder):
    """Trials of one kind: step, whether a problem was named, what was said, folder."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.support.faults", kind, str(every), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    for line in ran.stdout.splitlines():
        step, reached, problem, words = line.split(" ", 3)
        if reached == "1":
            place = folder.with_name(f"{folder.name}-{kind}-{step}")
            yield int(step), problem == "1", words, place


def assert_nothing_is_lost(before, after):
    """Each copy is the old or the new one, whole, and all that was written is there."""
    for lesson in TERM:
        name = lesson.notebook.name
        now = (after / "work" / name).read_bytes()
        if now != (before / "work" / name).read_bytes():
            assert read(after / "work" / name).metadata[STAMP]
            names = {grade_id(c) for c in read(after / "work" / name).cells}
            assert {grade_id(c) for c in second_version(lesson).cells} <= names
        json.loads((after / "notebooks" / name).read_text())
    text = all_written(after)
    for lesson, names in ANSWERED.items():
        for name in names:
            assert source_of_answer(lesson, name) in text
    mine = source_of_answer(SEARCH, "my_heuristic")
    assert mine in text + text_of(read(after / "notebooks" / SEARCH.notebook.name))


@needs_posix
@pytest.mark.parametrize("kind", ["kill", "full"])
@pytest.mark.parametrize("every", [13, pytest.param(1, marks=pytest.mark.long)])
def test_an_update_that_is_cut_short_anywhere_loses_nothing(kind, every, pulled):
    steps = 0
    for step, problem, words, folder in faults(kind, every, pulled):
        steps += 1
        assert_nothing_is_lost(pulled, folder)
        if kind == "full" and problem:
            assert "The disk is full" in words and "nothing was lost" in words, words
        lines = update(places_of(folder))
        assert not any(line.problem for line in lines), (step, lines)
        holds_the_second_version(folder)
        assert git(folder, "status", "--porcelain") == "", step
        assert source_of_answer(SEARCH, "my_heuristic") in all_written(folder)
        assert not list(folder.rglob(".part-*")), step
        kept = [p.name for p in (folder / "work").glob("*.before-*.ipynb")]
        assert len(kept) == 3, (step, kept)
        shutil.rmtree(folder)
    assert steps * every > 60, steps


def test_two_updates_at_once_take_turns(pulled, tmp_path):
    folder = tmp_path / "clone"
    shutil.copytree(pulled, folder, symlinks=True)
    code = (
        "import sys; from pathlib import Path\n"
        "from course_tools.work.places import Places\n"
        "from course_tools.work.update import update\n"
        "f = Path(sys.argv[1])\n"
        "print(sum(1 for _ in update(Places(f / 'notebooks', f / 'work'))))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    running = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    told = [one.communicate() for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], told
    assert sorted(int(out) for out, _ in told) == [0, 0, 3]
    holds_the_second_version(folder)
    assert len(list((folder / "work").glob("*.before-*.ipynb"))) == 3


def test_a_copy_that_is_saved_meanwhile_is_read_again(clone, monkeypatch):
    from course_tools.work import update as module

    places = places_of(clone)
    update(places)
    work_through(clone)
    git(clone, "pull", "-q")
    path = clone / "work" / WORDS.notebook.name
    merged, saved = module.merge, []

    def slow(base, own, other, *, day):
        if not saved:
            saved.append(True)
            answer(path, WORDS, ["analogy"])
        return merged(base, own, other, day=day)

    monkeypatch.setattr(module, "merge", slow)
    update(places)
    holds_the_second_version(clone)
    source = cell_named(read(path), "analogy").source
    assert source == source_of_answer(WORDS, "analogy")


def test_a_copy_that_is_saved_again_and_again_is_a_sentence(clone, monkeypatch):
    from course_tools.work import update as module

    places = places_of(clone)
    update(places)
    work_through(clone)
    git(clone, "pull", "-q")
    path = clone / "work" / WORDS.notebook.name
    merged = module.merge

    def slow(base, own, other, *, day):
        path.write_bytes(path.read_bytes() + b"\n")
        return merged(base, own, other, day=day)

    with monkeypatch.context() as patch:
        patch.setattr(module, "merge", slow)
        (problem, *_) = [line.text for line in update(places) if line.problem]
    assert problem.startswith("01 was not updated: it is saved again and again")
    update(places)
    holds_the_second_version(clone)


def test_a_folder_that_cannot_be_written_is_one_sentence(clone, monkeypatch, capsys):
    places = places_of(clone)
    real = os.open

    def refuse(path, flags, *more, **named):
        if flags & os.O_CREAT and "work" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CourseError) as caught:
        update(places)
    assert "Permission denied" in str(caught.value) and "COURSE_WORK" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


@needs_posix
@pytest.mark.parametrize("place", ["work", "work/.course", "notebooks"])
def test_a_read_only_folder_is_a_sentence_and_loses_nothing(clone, place):
    places = places_of(clone)
    update(places)
    work_through(clone)
    git(clone, "pull", "-q")
    if place == "notebooks":
        answer(clone / place / WORDS.notebook.name, WORDS, ["analogy"])
    before = {p: p.read_bytes() for p in clone.rglob("*.ipynb")}
    (clone / place).chmod(0o500)
    try:
        if os.access(clone / place, os.W_OK):
            pytest.skip("root may write everywhere")
        lines = update(places)
        problems = [line.text for line in lines if line.problem]
        assert problems and all("nothing was lost" in text for text in problems)
        assert all("\n" not in text for text in problems)
        if place == "work":
            assert {p: p.read_bytes() for p in before} == before
    except CourseError as error:
        assert place != "notebooks" and "nothing was lost" in str(error)
    finally:
        (clone / place).chmod(0o700)
    assert not any(line.problem for line in update(places))
    holds_the_second_version(clone)
    assert git(clone, "status", "--porcelain") == ""


# --- a hub -------------------------------------------------------------------------


@pytest.fixture
def ask(clone, tmp_path):
    """Ask a Jupyter server that shows the folder of the clone: status, and where to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", f"--port={port}"]
    command += [f"--ServerApp.root_dir={clone.parent}", "--IdentityProvider.token=t"]
    command += ["--ServerApp.jpserver_extensions=course_tools.work.server=True"]
    command += ["--allow-root", "--ServerApp.port_retries=0"]
    own = {"JUPYTER_CONFIG_DIR": tmp_path / "c", "JUPYTER_RUNTIME_DIR": tmp_path / "r"}
    server = subprocess.Popen(
        command,
        env=os.environ | {name: str(path) for name, path in own.items()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ask(path, token="token t"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", path, headers={"Authorization": token})
        answered = connection.getresponse()
        return answered.status, answered.headers["Location"]

    for _ in range(300):
        with contextlib.suppress(OSError):
            ask("/api")
            break
        time.sleep(0.2)
    yield ask
    server.terminate()
    server.wait(60)


def test_a_hubs_page_updates_the_copies_and_shows_them(clone, ask):
    assert ask("/course/work/clone", token="none")[1].startswith("/login")
    assert not (clone / "work").exists()
    assert ask("/course/work/clone") == (302, "/lab/tree/clone/work")
    work_through(clone)
    git(clone, "pull", "-q")
    assert ask("/course/work/clone") == (302, "/lab/tree/clone/work")
    holds_the_second_version(clone)
    for outside in (
        "/course/work/%2E%2E/%2E%2E",
        "/course/work/..%2F..",
        "/course/work/",
    ):
        assert ask(outside)[0] in (404, 500), outside


# --- grading -----------------------------------------------------------------------


@needs_linux
def test_an_updated_copy_is_collected_and_graded_like_any_other(tmp_path):
    from course_tools.grading import gradebook, sandbox

    if sandbox.problem():
        pytest.skip(sandbox.problem())
    folder = make_course(tmp_path / "course", SEARCH, whole=False)
    own = Places(folder / "notebooks", tmp_path / "student" / "work")
    released_text = (folder / "notebooks" / SEARCH.notebook.name).read_bytes()
    older = nbformat.reads(released_text.decode(), as_version=4)
    older.cells[0].source = "An older text."
    cell_named(older, "check-weak_vote").source += "  # older"
    save(older, folder / "notebooks" / SEARCH.notebook.name)
    update(own)
    path = own.copy_of(SEARCH.name)
    answer(path, SEARCH, ANSWERED[SEARCH])
    (folder / "notebooks" / SEARCH.notebook.name).write_bytes(released_text)
    update(own)
    save(run(read(path), tmp_path), path)
    archive = folder / "downloaded" / SEARCH.name / "archive"
    archive.mkdir(parents=True)
    shutil.copy(path, archive / f"mary__{SEARCH.name}.ipynb")
    nbgrader_command(folder, "zip_collect", SEARCH.name)
    (graded,) = gradebook.grade(folder, SEARCH.name)
    assert not graded.problem and graded.notes == []
    assert graded.score == 3
