"""A lesson's last cell tells what has passed in this kernel, and where to go next."""

from __future__ import annotations

import re
import subprocess
import sys
import types

from course_utils.checks.core import Check, Outcome, exercise, expect_number, fail
from course_utils.checks.summary import MARKS, TITLES, summary_of
from tests.lessons import IDS, LESSONS, module, nbgrader, solution, student

import nbformat
import pytest
from IPython.core.formatters import DisplayFormatter
from nbclient import NotebookClient

each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=IDS)


@pytest.fixture
def toy(monkeypatch):
    """Checks of a lesson 01 with three exercises, written out of order."""
    made = types.ModuleType("toy_checks_01")

    def add(number, name):
        def check(answer):
            if expect_number(name, answer(21)) != 42:
                fail("For 21 I expected 42.")
            return "Twice is once more than once."

        check.__name__ = name
        setattr(made, name, exercise(number, hints=["think", "double"])(check))

    add("1.10", "last")
    add("1.2", "middle")
    add("1.1", "first")
    made.summary = summary_of(made.__name__)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


def right(number):
    return 2 * number


def wrong(number):
    return number


def stub(number):
    raise NotImplementedError("Your turn")


def endless(number):
    raise KeyboardInterrupt


def outcomes(toy):
    return {row.name: str(row.outcome) for row in toy.summary().rows}


def ask(check, answer):
    """Run a check as a cell does: what it raises does not stop the next cell."""
    try:
        check(answer)
    except (AssertionError, KeyboardInterrupt):
        pass


def test_passed_only_tried_and_not_tried_are_told_apart(toy):
    ask(toy.first, right)
    ask(toy.middle, wrong)
    ask(toy.last, stub)
    assert repr(toy.summary()).splitlines() == [
        "Lesson 01: 1 of 3 exercises passed.",
        "✅ 1.1 first   passed",
        "🔶 1.2 middle  tried, not right yet",
        "⬜ 1.10 last    not tried",
        "Next here: exercise 1.2; check.middle.hint() helps.",
        f"Next lesson: 02 · {TITLES['02_imdb_sentiment']} (02_imdb_sentiment.ipynb)",
    ]


def test_the_order_in_which_cells_ran_does_not_matter(toy):
    for check in (toy.last, toy.first, toy.middle):
        ask(check, right)
    assert [row.number for row in toy.summary().rows] == ["1.1", "1.2", "1.10"]
    assert set(outcomes(toy).values()) == {"passed"}
    assert "Next here" not in repr(toy.summary())


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([wrong, right], Outcome.PASSED),
        ([right, wrong], Outcome.TRIED),
        ([right, stub], Outcome.OPEN),
        ([wrong, ...], Outcome.OPEN),
        ([right, endless], Outcome.TRIED),
        ([None], Outcome.TRIED),
        ([right, wrong, right], Outcome.PASSED),
    ],
)
def test_the_last_answer_counts(toy, answers, outcome):
    for answer in answers:
        ask(toy.first, answer)
    assert outcomes(toy)["first"] == outcome


def test_asking_for_a_hint_is_no_attempt(toy):
    toy.first.hint()
    assert outcomes(toy)["first"] == Outcome.OPEN


def test_a_summary_that_was_shown_does_not_change_afterwards(toy):
    shown = toy.summary()
    before = repr(shown)
    ask(toy.first, right)
    assert repr(shown) == before != repr(toy.summary())


def test_the_notebooks_table_says_what_the_plain_text_says(toy):
    ask(toy.first, right)
    ask(toy.middle, wrong)
    shown = toy.summary()
    table = re.sub(r"[*`|\[\]]", " ", shown._repr_markdown_())
    for line in repr(shown).splitlines()[:-1]:
        assert " ".join(line.split()) in " ".join(table.split())
    assert shown._repr_markdown_().endswith("](02_imdb_sentiment.ipynb)")


def test_the_last_lesson_leads_to_the_look_back(toy, monkeypatch):
    last = list(TITLES)[-1]
    toy_of_last = types.ModuleType(f"toy_checks_{last[:2]}")
    toy_of_last.first = toy.first
    monkeypatch.setitem(sys.modules, toy_of_last.__name__, toy_of_last)
    plain = summary_of(toy_of_last.__name__)()
    assert repr(plain).endswith("This was the last lesson so far.")
    back = summary_of(toy_of_last.__name__, look_back="All of them")()
    assert repr(back).endswith("section “All of them” looks back over the course.")


def test_a_lesson_without_a_title_is_said_so():
    with pytest.raises(ValueError, match="lesson 42 is not in .*TITLES"):
        summary_of("course_utils.checks.lesson_42")


def run_in_a_kernel(*sources):
    """Run cells in a fresh kernel, go on after errors, and return the last's output."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", allow_errors=True).execute()
    (output,) = notebook.cells[-1].outputs
    return output


def test_after_a_restart_the_last_cell_works_alone_and_says_that_nothing_ran():
    cell = solution(LESSONS[0]).cells[-1].source
    output = run_in_a_kernel(cell)
    told = output.data["text/plain"]
    assert "0 of 6 exercises passed. None was tried since the kernel started." in told
    assert told.count("not tried") == 6


def test_a_kernel_remembers_what_its_checks_said():
    last = solution(LESSONS[0]).cells[-1].source
    output = run_in_a_kernel(
        "from course_utils.checks import lesson_01 as check",
        "check.lookup(lambda table, ids: table[ids])",
        "check.ppmi(lambda *counts: 1)",
        "raise ValueError('a cell of the reader stops')",
        "check.nearest(lambda *_: ...)",
        "check.lookup(lambda table, ids: table[ids].T)",
        "check.lookup(lambda table, ids: table.take(ids, axis=0))",
        last,
    )
    told = output.data["text/plain"].splitlines()
    assert told[0] == "Lesson 01: 1 of 6 exercises passed."
    assert [line[0] for line in told[1:7]] == ["✅", "🔶", "⬜", "⬜", "⬜", "⬜"]


def test_nothing_is_written_and_nothing_is_sent(tmp_path):
    code = """
import os, sys
from course_utils.checks import lesson_01 as check
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
reading = ("os.listdir", "os.scandir")
seen = []
def watch(event, arguments):
    if event == "open":
        if arguments[2] & writing:
            seen.append((event, arguments))
    elif event not in reading and event.partition(".")[0] in (
        "socket", "os", "shutil", "subprocess", "urllib"
    ):
        seen.append((event, arguments))
sys.addaudithook(watch)
check.lookup(lambda table, ids: table[ids])
shown = check.summary()
repr(shown), shown._repr_markdown_()
found = list(seen)
with open(os.devnull, "w"):
    pass
sys.stdout.write(f"{found} {len(seen)}")
"""
    ran = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    # Nothing up to there; then one file, which shows that the watch sees one.
    assert ran.stdout.splitlines()[-1] == "[] 1", ran.stdout + ran.stderr
    assert list(tmp_path.iterdir()) == []


@each_lesson
def test_the_stored_summary_is_what_the_cell_shows_in_a_solved_notebook(
    lesson, monkeypatch
):
    for check in vars(module(lesson)).values():
        if isinstance(check, Check):
            monkeypatch.setattr(check, "outcome", Outcome.PASSED)
    data, metadata = DisplayFormatter().format(module(lesson).summary())
    (output,) = solution(lesson).cells[-1].outputs
    assert dict(output.data) == data and dict(output.metadata) == metadata
    assert all(line[0] == MARKS[Outcome.PASSED] for line in repr_rows(data))


def repr_rows(data):
    return data["text/plain"].splitlines()[1:-1]


@each_lesson
def test_a_lesson_ends_with_its_summary_which_is_neither_answered_nor_graded(lesson):
    for notebook in (solution(lesson), student(lesson)):
        words, cell = notebook.cells[-2:]
        assert words.source.startswith("## Where you stand\n")
        assert cell.source == (
            f"from course_utils.checks import lesson_{lesson.number:02} as check\n\n"
            "check.summary()"
        )
        assert not nbgrader(cell) and not nbgrader(words)


@each_lesson
def test_a_summary_shows_the_lessons_exercises_by_number(lesson):
    names = [nbgrader(c)["grade_id"] for c in solution(lesson).cells if is_answer(c)]
    assert [row.name for row in module(lesson).summary().rows] == names


def is_answer(cell):
    return bool(nbgrader(cell).get("solution"))


def test_titles_are_those_of_the_lessons_heads():
    heads = {
        lesson.name: solution(lesson).cells[0].source.splitlines()[0]
        for lesson in LESSONS
    }
    assert heads == {name: f"# {name[:2]} · {title}" for name, title in TITLES.items()}


@each_lesson
def test_where_a_summary_leads_is_there(lesson):
    shown = module(lesson).summary()
    for target in re.findall(r"\]\((\S+)\)", shown._repr_markdown_()):
        assert (lesson.notebook.parent / target).is_file()
        assert (lesson.solution.parent / target).is_file()
    if shown.look_back:
        heading = f"## {shown.look_back}"
        assert any(heading in cell.source for cell in solution(lesson).cells)
