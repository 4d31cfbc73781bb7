"""A term with three lessons: a course in two versions, and a student's work in it."""

from __future__ import annotations

import copy
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from course_tools.authoring import student_version
from course_tools.lessons import find_lessons
from course_tools.work.merge import grade_id
from course_tools.work.places import Places
from tests.courses import cell_named, trimmed
from tests.lessons import solution

import nbformat
from nbclient import NotebookClient

WORDS, GARMENTS, SEARCH = find_lessons(["1", "5", "8"])
TERM = (WORDS, GARMENTS, SEARCH)
# Answered in the first weeks: their checks need nothing but the answer.
ANSWERED = {
    WORDS: ("lookup", "ppmi", "nearest"),
    GARMENTS: ("squared_distances", "contrastive_loss", "supervised_loss"),
    SEARCH: ("precision_and_coverage", "weak_vote", "choose_threshold"),
}
MINE = "# a thought of mine\nprint(6 * 7)"


def git(folder, *words):
    settings = (
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@x",
        "-c",
        "init.defaultBranch=m",
    )
    ran = subprocess.run(
        ["git", *settings, *words], cwd=folder, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def read(path):
    return nbformat.read(path, as_version=4)


def save(notebook, path):
    path.write_bytes(f"{nbformat.writes(notebook)}\n".encode())


@cache
def released(lesson):
    """The student notebook of a lesson's exercises, as text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / lesson.solution.name
        nbformat.write(trimmed(solution(lesson)), path)
        return student_version(path)


def new(lesson):
    return nbformat.reads(released(lesson), as_version=4)


def places_of(folder):
    return Places(folder / "notebooks", folder / "work")


def without(notebook, name):
    """Leave out an exercise: its task, its answer, its check."""
    place = notebook.cells.index(cell_named(notebook, name))
    del notebook.cells[place - 1 : place + 2]
    return notebook


def first_version(lesson):
    notebook = new(lesson)
    return without(notebook, "choose_k") if lesson is GARMENTS else notebook


def second_version(lesson):
    """Another text, order, exercise, check; an exercise less."""
    notebook = new(lesson)
    if lesson is WORDS:
        notebook.cells[0].source += "\n\nA sentence that is new."
        place = notebook.cells.index(cell_named(notebook, "ppmi"))
        moved = notebook.cells[place - 1 : place + 2]
        del notebook.cells[place - 1 : place + 2]
        after = notebook.cells.index(cell_named(notebook, "check-nearest")) + 1
        notebook.cells[after:after] = moved
    elif lesson is GARMENTS:
        without(notebook, "contrastive_loss")
    else:
        check = cell_named(notebook, "check-weak_vote")
        check.source = f"# The second term's check.\n{check.source}"
        answer = cell_named(notebook, "choose_threshold")
        answer.source = answer.source.replace('"""', '"""Anew: ', 1)
    return notebook


def make_origin(folder):
    """Make the course's repository, with its first and second version on branches."""
    notebooks = folder / "notebooks"
    (notebooks / "images").mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / ".gitignore").write_text("/work/\n")
    (folder / ".gitattributes").write_text("* -text\n")
    for version, make in (("first", first_version), ("second", second_version)):
        (notebooks / "images" / "onehot.png").write_bytes(version.encode())
        (notebooks / "glossary.md").write_text("# Glossary\n")
        for lesson in TERM:
            save(make(lesson), notebooks / lesson.notebook.name)
        git(folder, "add", ".")
        git(folder, "commit", "-qm", version)
        git(folder, "branch", version)
    return folder


def make_clone(origin, folder):
    """Clone the first version, as a student did at the beginning of the term."""
    git(folder.parent, "clone", "-q", "--branch", "first", str(origin), folder.name)
    git(folder, "branch", "-q", "-m", "m")
    git(folder, "branch", "-q", "--set-upstream-to=origin/m")
    return folder


def answer(path, lesson, names):
    """Write right answers into a notebook, as the solution has them."""
    notebook = read(path)
    for name in names:
        cell_named(notebook, name).source = cell_named(solution(lesson), name).source
    save(notebook, path)
    return notebook


def own_cell(notebook, after, source=MINE):
    cell = nbformat.v4.new_code_cell(source)
    place = notebook.cells.index(cell_named(notebook, after)) + 1 if after else 0
    notebook.cells.insert(place, cell)


def work_through(folder):
    """Answer half of three lessons, add cells, edit a text."""
    for lesson, names in ANSWERED.items():
        path = folder / "work" / lesson.notebook.name
        notebook = answer(path, lesson, names)
        own_cell(notebook, names[0])
        own_cell(notebook, f"check-{names[1]}", "note = 'kept'")
        own_cell(notebook, "", "top = 1")
        notebook.cells.append(nbformat.v4.new_markdown_cell("My summary."))
        notebook.cells[1].source += "\n\nWritten by me."
        save(notebook, path)


def said(lines):
    return [line.text for line in lines]


def text_of(notebook):
    return "\n".join(cell.source for cell in notebook.cells)


def all_written(folder):
    """Everything in the student's notebooks, kept ones too."""
    paths = (folder / "work").glob("*.ipynb")
    return "\n".join(text_of(read(path)) for path in paths)


def run(notebook, folder):
    notebook = copy.deepcopy(notebook)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        allow_errors=True,
        timeout=300,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(stderr=subprocess.DEVNULL)
    return notebook


def source_of_answer(lesson, name):
    return cell_named(solution(lesson), name).source


def holds_the_second_version(folder):
    """Whether copies are the second version's, with all that the student wrote."""
    written = {}
    for lesson, names in ANSWERED.items():
        notebook = read(folder / "work" / lesson.notebook.name)
        wanted = [grade_id(c) or c.id for c in second_version(lesson).cells]
        there = [grade_id(c) or c.id for c in notebook.cells]
        assert [one for one in there if one in wanted] == wanted
        text = text_of(notebook)
        for name in names:
            if (lesson, name) == (GARMENTS, "contrastive_loss"):
                assert source_of_answer(lesson, name) in notebook.cells[-1].source
            else:
                source = cell_named(notebook, name).source
                assert source == source_of_answer(lesson, name)
        for mine in (MINE, "note = 'kept'", "top = 1", "My summary.", "Written by me."):
            assert mine in text
        written[lesson] = notebook
    return written
