"""An instructor's round trip: what is graded is what the student was told.

The short tests run on the exercises of lesson 01 alone, the long ones on whole
lessons.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
import time

from course_utils import grading, lessons, runner
from course_utils.checks import core
from course_utils.cli import main
from course_utils.lessons import ROOT
from tests import courses
from tests.lessons import EXERCISES, IDS, LESSONS, answers, module, nbgrader, solution
from tests.systems import needs_linux

import nbformat
import numpy as np
import pytest
from nbgrader.api import Gradebook

pytestmark = needs_linux

FIRST = LESSONS[0]
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=IDS)


def book(folder):
    return Gradebook(f"sqlite:///{folder}/gradebook.db", "embeddings")


def scores(folder, lesson, student):
    """Points by check as they stand in the grade book."""
    with book(folder) as gradebook:
        found = gradebook.find_submission_notebook(lesson.name, lesson.name, student)
        return {grade.name: grade.score for grade in found.grades}


def round_trip(folder, lesson, *, whole):
    courses.make_course(folder, lesson, whole=whole)
    released = folder / "release" / lesson.name / lesson.notebook.name
    assert released.read_bytes() == (folder / "notebooks" / released.name).read_bytes()
    if whole:
        assert released.read_bytes() == lesson.notebook.read_bytes()
    for name, version in courses.VERSIONS.items():
        courses.submit(folder, lesson, name, version(folder, lesson))
    courses.nbgrader_command(folder, "autograde", lesson.name)
    courses.nbgrader_command(folder, "generate_feedback", lesson.name)
    courses.nbgrader_command(folder, "export")
    with open(folder / "grades.csv", encoding="utf-8") as stream:
        exported = {
            row["student_id"]: float(row["score"]) for row in csv.DictReader(stream)
        }
    totals = {}
    for name, version in courses.VERSIONS.items():
        told = courses.announced(folder, version(folder, lesson))
        assert scores(folder, lesson, name) == told, name
        assert exported[name] == sum(told.values())
        page = folder / "feedback" / name / lesson.name / f"{lesson.name}.html"
        assert "✅" in page.read_text(encoding="utf-8") or name == "blank"
        totals[name] = sum(told.values())
    return totals


def test_the_grade_book_holds_what_the_checks_announced(tmp_path):
    totals = round_trip(tmp_path, FIRST, whole=False)
    # The fifth check needs a table that the trimmed lesson does not make.
    assert totals == {"right": 4, "half-right": 2, "blank": 0, "broken": 3}


@pytest.mark.long
@each_lesson
def test_the_grade_book_holds_what_a_whole_lessons_checks_announced(tmp_path, lesson):
    totals = round_trip(tmp_path, lesson, whole=True)
    n = len(courses.exercises(solution(lesson)))
    assert totals["right"] == n
    assert 0 < totals["half-right"] < n
    assert totals["blank"] == 0
    assert 0 < totals["broken"] < n


# --- hidden tests ------------------------------------------------------------


def hidden(exercise):
    cell = courses.cell_named(solution(exercise.lesson), f"check-{exercise.name}")
    found = runner.HIDDEN_TESTS.search(cell.source)
    return found[0] if found else ""


WITH_HIDDEN_TESTS = [one for one in EXERCISES if hidden(one)]
each_hidden = pytest.mark.parametrize("exercise", WITH_HIDDEN_TESTS, ids=str)


def memorised(function, kept):
    """An answer that knows what the check asked, and nothing else."""

    def answer(*given, **settings):
        return kept[repr((given, sorted(settings.items())))]

    def learn(*given, **settings):
        key = repr((given, sorted(settings.items())))
        kept[key] = function(*given, **settings)
        return kept[key]

    return learn, answer


@each_hidden
def test_a_memorised_answer_passes_the_check_and_fails_the_hidden_tests(exercise):
    check = getattr(module(exercise.lesson), exercise.name)
    function = exercise.object_of(solution(exercise.lesson))
    learn, answer = memorised(function, {})
    check(learn)
    check(answer)
    names = {"np": np, exercise.name: function}
    exec(hidden(exercise), names)
    with pytest.raises(KeyError):
        exec(hidden(exercise), {**names, exercise.name: answer})


@each_hidden
def test_hidden_tests_accept_other_right_answers_and_name_nothing_new(exercise):
    for right in answers(exercise.lesson)[exercise.name].right:
        names = {"np": np, exercise.name: right, "__builtins__": __builtins__}
        before = set(names)
        exec(hidden(exercise), names)
        assert set(names) == before


def test_some_checks_have_hidden_tests_and_no_student_notebook_has():
    assert 3 <= len(WITH_HIDDEN_TESTS) <= len(EXERCISES) / 3
    for lesson in LESSONS:
        text = lesson.notebook.read_text(encoding="utf-8")
        assert "HIDDEN" not in text
        assert "Other inputs than the check's" not in text


# --- checks that were replaced -----------------------------------------------


def found_in(lesson, notebook=None):
    name = f"lesson_{lesson.number:02}"
    folder = str(ROOT / "course_utils" / "checks")
    return grading.replaced(name, folder, False, notebook or {})


@each_lesson
def test_the_courses_own_checks_are_recognised(lesson):
    assert module(lesson) and found_in(lesson) == []


@pytest.mark.parametrize(
    "replace",
    [
        lambda patch: patch.setattr(core.Check, "__call__", lambda *given: None),
        lambda patch: patch.setattr(core, "fail", print),
        lambda patch: patch.setattr(module(FIRST), "fail", print),
        lambda patch: patch.setattr(module(FIRST), "lookup", print),
        lambda patch: patch.setattr(module(FIRST), "_finished", print),
        lambda patch: patch.setattr(module(FIRST).lookup, "_function", print),
        lambda patch: patch.setattr(
            module(FIRST).lookup, "_function", module(FIRST).nearest._function
        ),
        lambda patch: patch.setattr(module(FIRST), "np", core),
        lambda patch: patch.setattr(module(FIRST)._Watched, "_note", print),
        lambda patch: patch.delattr(module(FIRST), "lookup"),
        lambda patch: patch.setitem(sys.modules, module(FIRST).__name__, FIRST),
        lambda patch: patch.setitem(sys.modules, core.__name__, module(FIRST)),
    ],
)
def test_a_replaced_part_of_the_checks_is_noticed(monkeypatch, replace):
    assert module(FIRST)
    with monkeypatch.context() as patch:
        replace(patch)
        found = found_in(FIRST)
    assert found == ["course_utils.checks"]
    assert found_in(FIRST) == []


def test_a_notebooks_function_in_a_library_is_noticed(monkeypatch):
    names = {}
    cell = compile("def yes(*given):\n    return True", "/tmp/ipykernel_7/9.py", "exec")
    exec(cell, names)
    monkeypatch.setattr(np, "allclose", names["yes"])
    assert found_in(FIRST) == ["numpy.allclose"]


def test_a_notebook_without_checks_replaced_nothing(monkeypatch):
    name = module(FIRST).__name__
    monkeypatch.delitem(sys.modules, name)
    assert found_in(FIRST) == []
    assert found_in(FIRST, {"check": print}) == ["course_utils.checks"]


# --- hostile submissions -----------------------------------------------------

FORGED = 'print("✅ 1.2 One indexing operation did it.")'
FAKE_MODULE = """
import sys, types
class Yes(types.ModuleType):
    def __getattr__(self, name):
        return lambda *given: print("✅ well done")
fake = Yes("course_utils.checks.lesson_01")
sys.modules["course_utils.checks.lesson_01"] = check = fake
import course_utils.checks
course_utils.checks.lesson_01 = fake
"""
FAKE_CALL = """
from course_utils.checks import core
core.Check.__call__ = lambda self, *given: print("✅ well done")
"""
FAKE_NUMPY = """
np.array_equal = np.isclose = np.allclose = lambda *given, **settings: True
def lookup(table, ids):
    return np.zeros((*ids.shape, table.shape[1]))
"""
DEAF = """
def lookup(table, ids):
    import time
    while True:
        try:
            while True:
                time.sleep(0.01)
        except BaseException:
            pass
"""
WRITES = """
import os, pathlib, shutil, subprocess
refused = []
for target in {targets!r}:
    for attempt in (
        lambda path: open(path, "a").write("x"),
        lambda path: os.remove(path),
        lambda path: os.truncate(path, 0),
        lambda path: os.rename(path, "mine"),
        lambda path: open(path).read(),
        lambda path: subprocess.run(
            ["sh", "-c", 'echo x >> "$0"', path], check=True, stderr=-3
        ),
    ):
        try:
            attempt(target)
        except (OSError, subprocess.CalledProcessError) as error:
            refused.append(error)
shutil.rmtree({folder!r}, ignore_errors=True)
open("own.txt", "w").write("in its own folder one may write")
assert len(refused) == 6 * {n}, refused
"""


def added(notebook, source):
    """Put a cell after the set-up cell."""
    first = next(n for n, c in enumerate(notebook.cells) if c.cell_type == "code")
    notebook.cells.insert(first + 1, nbformat.v4.new_code_cell(source))
    return notebook


def changed(notebook, name, source):
    courses.cell_named(notebook, name).source = source
    return notebook


def hostile(folder, lesson, outside):
    """Submissions by name, with the points that each deserves below the best."""

    def right():
        return courses.right(folder, lesson)

    def open_at_lookup():
        stub = courses.cell_named(courses.blank(folder, lesson), "lookup").source
        return changed(right(), "lookup", stub)

    deleted = right()
    deleted.cells.remove(courses.cell_named(deleted, "check-lookup"))
    deleted_both = open_at_lookup()
    for name in ("lookup", "check-lookup"):
        deleted_both.cells.remove(courses.cell_named(deleted_both, name))
    unmarked = open_at_lookup()
    courses.cell_named(unmarked, "check-lookup").metadata["tags"] = ["skip-execution"]
    elsewhere = right()
    elsewhere.metadata["kernelspec"] = {
        "name": "ir",
        "display_name": "R",
        "language": "R",
    }
    targets = [
        folder / "solutions" / lesson.solution.name,
        folder / "gradebook.db",
        folder / "nbgrader_config.py",
        folder / "submitted" / "blameless" / lesson.name / lesson.notebook.name,
    ]
    writes = WRITES.format(
        targets=[str(path) for path in targets], folder=str(outside), n=len(targets)
    )
    endless = "def lookup(table, ids):\n    while True:\n        pass"
    memory = "def lookup(table, ids):\n    kept = []\n    while True:\n        "
    memory += "kept.append(np.ones(10_000_000))"
    return {
        "blameless": (right(), 0),
        "loops-for-ever": (changed(right(), "lookup", endless), 1),
        "takes-all-memory": (changed(right(), "lookup", memory), 1),
        "deleted-a-check": (deleted, 0),
        "deleted-an-exercise": (deleted_both, 1),
        "edited-a-check": (changed(open_at_lookup(), "check-lookup", FORGED), 1),
        "forged-a-mark": (added(open_at_lookup(), FORGED), 1),
        "tagged-a-check": (unmarked, 1),
        "replaced-the-checks": (added(open_at_lookup(), FAKE_MODULE), 1),
        "replaced-the-call": (added(open_at_lookup(), FAKE_CALL), 1),
        "replaced-numpy": (changed(right(), "lookup", FAKE_NUMPY), None),
        "writes-outside": (added(right(), writes), 0),
        "no-json": ("these are the answers", "no JSON"),
        "without-a-picture": (right(), 0),
        "in-another-kernel": (elsewhere, 0),
        "ends-its-kernel": (added(right(), "import os\nos._exit(0)"), "kernel died"),
        "hears-no-interrupt": (changed(right(), "lookup", DEAF), "went on after"),
    }


NOTES = {
    "deleted-a-check": "check-lookup was missing and was put back",
    "deleted-an-exercise": "check-lookup was missing and was put back",
    "replaced-the-checks": "the notebook replaced course_utils.checks",
    "replaced-the-call": "the notebook replaced course_utils.checks",
    "replaced-numpy": "the notebook replaced numpy.array_equal",
}


def state(folder):
    """Digest of every file that is not made by grading."""
    made = {"autograded", "feedback", "gradebook.db"}
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not made & set(path.parts)
    }


def grade_the_hostile(tmp_path, monkeypatch, capsys, *, whole):
    folder, outside = tmp_path / "course", tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis.txt").write_text("years of work")
    courses.make_course(folder, FIRST, whole=whole, timeout=120 if whole else 20)
    if not whole:
        with open(folder / "nbgrader_config.py", "a", encoding="utf-8") as stream:
            stream.write("c.ConfinedExecute.memory_mb = 1500\n")
    submissions = hostile(folder, FIRST, outside)
    for student, (content, _) in submissions.items():
        courses.submit(folder, FIRST, student, content)
    for picture in (folder / "submitted" / "without-a-picture").rglob("*.png"):
        picture.unlink()
    monkeypatch.setattr(lessons, "ROOT", folder)
    before = state(tmp_path)
    assert main(["grade", "1"]) == 1
    assert state(tmp_path) == before
    said = capsys.readouterr()
    lines = dict(line.split(": ", 1) for line in said.out.splitlines())
    assert set(lines) == set(submissions), "the batch went on to its end"
    best = len(courses.exercises(solution(FIRST))) - (not whole)
    for student, (_, deserved) in submissions.items():
        line = lines[student]
        if isinstance(deserved, str):
            assert line.startswith("refused: ") and deserved in line
            assert student in said.err
            with book(folder) as gradebook:
                one = gradebook.find_submission(FIRST.name, student)
                assert one.score == 0 and one.needs_manual_grade
        elif deserved is None:
            assert lookup_score(folder, student) == 0, line
        else:
            total = len(courses.exercises(solution(FIRST)))
            assert line.startswith(f"{best - deserved} of {total}"), (student, line)
        assert (NOTES.get(student, "") in line) and (student in NOTES) == (
            ";" in line
        ), line
    assert "MemoryError: Unable to allocate" in autograded(folder, "takes-all-memory")
    # Its cell would have failed where one attempt succeeded.
    assert "AssertionError" not in autograded(folder, "writes-outside")
    assert (folder / "autograded/writes-outside" / FIRST.name / "own.txt").exists()
    courses.nbgrader_command(folder, "generate_feedback", FIRST.name)
    assert main(["grade", "1", "blameless"]) == 0
    assert "(graded before)" in capsys.readouterr().out


def autograded(folder, student):
    path = folder / "autograded" / student / FIRST.name / FIRST.notebook.name
    return path.read_text(encoding="utf-8")


def lookup_score(folder, student):
    return scores(folder, FIRST, student)["check-lookup"]


def test_hostile_submissions_are_graded_as_they_deserve_or_refused_by_name(
    tmp_path, monkeypatch, capsys
):
    grade_the_hostile(tmp_path, monkeypatch, capsys, whole=False)


@pytest.mark.long
def test_hostile_submissions_of_the_whole_lesson_are_too(tmp_path, monkeypatch, capsys):
    grade_the_hostile(tmp_path, monkeypatch, capsys, whole=True)


@pytest.mark.long
def test_grading_a_class_takes_little_more_than_the_runs_themselves(tmp_path, capsys):
    """COURSE_CLASS is the number of copies, 60 if not said otherwise."""
    copies = int(os.environ.get("COURSE_CLASS", "60"))
    folder = courses.make_course(tmp_path, FIRST, whole=True)
    for number in range(copies):
        courses.submit(
            folder, FIRST, f"student-{number:02}", courses.right(folder, FIRST)
        )
    run, graded = [], []
    start = time.perf_counter()
    for number, one in enumerate(grading.grade(folder, FIRST.name)):
        graded.append(time.perf_counter() - start)
        assert one.score == one.max_score and not one.problem
        # In between, so that both meet the same machine.
        if number % max(1, copies // 10) == 0:
            start = time.perf_counter()
            courses.announced(folder, courses.right(folder, FIRST))
            run.append(time.perf_counter() - start)
        start = time.perf_counter()
    ratio = sum(graded) / (np.mean(run) * copies)
    with capsys.disabled():
        print(
            f"\n{copies} copies graded in {sum(graded):,.0f} s; a copy runs in "
            f"{np.mean(run):.1f} s ({len(run)} runs): {ratio:.2f} times their sum"
        )
    assert ratio <= 1.3


# --- the command and the page ------------------------------------------------


def test_without_a_fence_nothing_is_run_unless_one_says_so(tmp_path, monkeypatch):
    folder = courses.make_course(tmp_path, FIRST, whole=False)
    courses.submit(folder, FIRST, "mary", courses.blank(folder, FIRST))
    monkeypatch.setattr(grading, "landlock_version", lambda: 2)
    (one,) = grading.grade(folder, FIRST.name)
    assert "no Landlock" in one.problem
    with open(folder / "nbgrader_config.py", "a", encoding="utf-8") as stream:
        stream.write("c.ConfinedExecute.confined_elsewhere = True\n")
    (one,) = grading.grade(folder, FIRST.name)
    assert (one.problem, one.score, one.max_score) == ("", 0, 5)


def test_no_submission_is_run_without_its_lessons_data(tmp_path, monkeypatch):
    folder = courses.make_course(tmp_path, FIRST, whole=False)
    courses.submit(folder, FIRST, "mary", courses.right(folder, FIRST))
    monkeypatch.setattr(grading, "prepare", lambda name: None)
    monkeypatch.setattr(grading, "locate", lambda name: None)
    (one,) = grading.grade(folder, FIRST.name)
    assert "run `course data imdb glove`" in one.problem
    assert one.score == 0


def test_grading_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lessons, "ROOT", tmp_path)
    assert main(["grade", "1"]) == 2
    assert "There is no nbgrader_config.py here" in capsys.readouterr().err
    folder = courses.make_course(tmp_path / "c", FIRST, whole=False)
    monkeypatch.setattr(lessons, "ROOT", folder)
    assert main(["grade", "2"]) == 2
    assert "was not released yet" in capsys.readouterr().err
    assert main(["grade", "1"]) == 2
    assert "There is no submission" in capsys.readouterr().err
    empty = folder / "submitted" / "paul" / FIRST.name
    empty.mkdir(parents=True)
    (empty / "lesson one.ipynb").write_text("{}")
    assert main(["grade", "1", "mary"]) == 2
    assert "There is no submitted/mary" in capsys.readouterr().err
    assert main(["grade", "1"]) == 1
    assert "which holds lesson one.ipynb" in capsys.readouterr().out


def commands_of_the_page():
    """Lines that INSTRUCTORS.md tells one to type, in its order."""
    text = (ROOT / "INSTRUCTORS.md").read_text(encoding="utf-8")
    blocks = text.split("```sh\n")[1:]
    lines = [line for block in blocks for line in block.split("```")[0].splitlines()]
    return [line.split("#")[0].strip() for line in lines]


def test_the_instructors_page_works_in_the_order_one_types(tmp_path):
    folder = courses.make_course(tmp_path, FIRST, whole=False)
    typed = commands_of_the_page()
    steps = ("generate_assignment", "zip_collect", "course grade", "generate_feedback")
    found = [next(n for n, c in enumerate(typed) if step in c) for step in steps]
    found.append(next(n for n, c in enumerate(typed) if "nbgrader export" in c))
    assert found == sorted(found)
    archive = folder / "downloaded" / FIRST.name / "archive"
    archive.mkdir(parents=True)
    notebook = courses.right(folder, FIRST)
    (archive / f"mary__{FIRST.name}.ipynb").write_text(nbformat.writes(notebook))
    for command in typed[found[1] : found[-1] + 1]:
        if command.startswith("nbgrader "):
            courses.nbgrader_command(folder, *command.split()[1:])
        elif command.startswith("course grade"):
            (one,) = grading.grade(folder, FIRST.name)
            assert (one.student, one.score, one.problem) == ("mary", 4, "")
    assert "mary" in (folder / "grades.csv").read_text(encoding="utf-8")
    assert (folder / "feedback" / "mary" / FIRST.name).is_dir()


def test_an_exchange_carries_a_lesson_there_and_back(tmp_path, monkeypatch):
    exchange = tmp_path / "exchange"
    exchange.mkdir()
    exchange.chmod(0o777)
    monkeypatch.setenv("NBGRADER_EXCHANGE", str(exchange))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    folder = courses.make_course(tmp_path / "course", FIRST, whole=False)
    courses.nbgrader_command(folder, "release_assignment", FIRST.name)
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "nbgrader_config.py").write_text(
        "c = get_config()\n"
        "c.CourseDirectory.course_id = 'embeddings'\n"
        f"c.Exchange.root = {str(exchange)!r}\n"
    )
    courses.nbgrader_command(desk, "fetch_assignment", FIRST.name)
    fetched = desk / FIRST.name / FIRST.notebook.name
    released = folder / "notebooks" / FIRST.notebook.name
    assert fetched.read_bytes() == released.read_bytes()
    courses.nbgrader_command(desk, "submit", FIRST.name)
    courses.nbgrader_command(folder, "collect", FIRST.name)
    (handed_in,) = (folder / "submitted").glob(f"*/{FIRST.name}/*.ipynb")
    assert handed_in.read_bytes() == fetched.read_bytes()


def test_sources_are_links_to_the_solutions_and_their_pictures(tmp_path):
    folder = courses.make_course(tmp_path, FIRST, whole=True)
    source = folder / "source" / FIRST.name
    link = source / FIRST.solution.name
    assert link.is_symlink()
    assert link.resolve() == (folder / "solutions" / FIRST.solution.name).resolve()
    pictures = {path.name for path in source.rglob("*.png")}
    assert "onehot.png" in pictures
    stale = source / "images" / "gone.png"
    stale.symlink_to("../nowhere.png")
    grading.link_sources(folder)
    assert not stale.is_symlink()
    released = folder / "release" / FIRST.name / "images"
    assert pictures == {path.name for path in released.glob("*.png")}


def test_graded_cells_are_named_after_their_answers():
    for lesson in LESSONS:
        names = {nbgrader(c).get("grade_id") for c in solution(lesson).cells}
        for exercise in courses.exercises(solution(lesson)):
            assert f"check-{exercise}" in names, json.dumps(exercise)
