"""An instructor's round trip: what is graded is what the student was told.

The short tests run on the exercises of lesson 01 alone, the long ones on whole
lessons.
"""

from __future__ import annotations

import csv
import errno
import inspect
import json
import os
import signal
import subprocess
import sys
import time

from course_tools import lessons, runner
from course_tools.cli import main
from course_tools.grading import execute, gradebook, probe, restore, sandbox
from course_tools.lessons import ROOT
from course_utils.checks import cases, core, garments
from tests import courses
from tests.lessons import EXERCISES, IDS, LESSONS, answers, module, nbgrader, solution
from tests.systems import needs_linux, needs_sandbox

import nbformat
import numpy as np
import psutil
import pytest
from nbgrader.api import Gradebook

pytestmark = [needs_linux, needs_sandbox]

FIRST = LESSONS[0]
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=IDS)


def book(folder):
    return Gradebook(f"sqlite:///{folder}/gradebook.db", "embeddings")


# Of a trimmed lesson: its last check needs data that it does not read.
POINTS = len([one for one in EXERCISES if one.lesson == FIRST]) - 1


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
    assert totals == {
        "right": POINTS,
        "half-right": 3,
        "blank": 0,
        "broken": POINTS - 1,
    }


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
    return probe.look(name, folder, [], False, notebook or {})["found"]


@each_lesson
def test_the_courses_own_checks_are_recognised(lesson):
    assert module(lesson) and found_in(lesson) == []


def a_helper_of(checks):
    """Name of a function that a lesson's module of checks defines for itself."""
    return next(
        name
        for name, value in vars(checks).items()
        if inspect.isfunction(value) and value.__module__ == checks.__name__
    )


@pytest.mark.parametrize(
    "replace",
    [
        lambda patch: patch.setattr(core.Check, "__call__", lambda *given: None),
        lambda patch: patch.setattr(core, "fail", print),
        lambda patch: patch.setattr(garments, "share_right", print),
        lambda patch: patch.setattr(module(FIRST), "fail", print),
        lambda patch: patch.setattr(module(FIRST), "lookup", print),
        lambda patch: patch.setattr(module(FIRST), a_helper_of(module(FIRST)), print),
        lambda patch: patch.setattr(module(FIRST).lookup, "_function", print),
        lambda patch: patch.setattr(
            module(FIRST).lookup, "_function", module(FIRST).nearest._function
        ),
        lambda patch: patch.setattr(module(FIRST), "np", core),
        lambda patch: patch.setattr(cases.Case, "__init__", print),
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


# --- a class ---------------------------------------------------------------


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
    for number, one in enumerate(gradebook.grade(folder, FIRST.name)):
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


def test_without_a_sandbox_nothing_is_run(tmp_path, monkeypatch, capsys):
    folder = courses.make_course(tmp_path, FIRST, whole=False)
    courses.submit(folder, FIRST, "mary", courses.blank(folder, FIRST))
    monkeypatch.setattr(lessons, "ROOT", folder)
    monkeypatch.setenv("PATH", "/nowhere")
    sandbox.problem.cache_clear()
    try:
        assert main(["grade", "1"]) == 1
        ran = courses.nbgrader_command(folder, "autograde", FIRST.name, check=False)
    finally:
        sandbox.problem.cache_clear()
    said = capsys.readouterr()
    assert said.out == ""
    assert "bubblewrap is not installed" in said.err and len(said.err.split("\n")) == 2
    assert "bubblewrap is not installed" in ran.stdout + ran.stderr
    assert not list((folder / "autograded").rglob("*.ipynb"))


def test_a_sandbox_that_cannot_be_made_is_named_with_its_reason(tmp_path, monkeypatch):
    fake = tmp_path / sandbox.BWRAP
    fake.write_text("#!/bin/sh\necho 'bwrap: no user namespaces' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    sandbox.problem.cache_clear()
    try:
        assert "bwrap: no user namespaces" in sandbox.problem()
    finally:
        sandbox.problem.cache_clear()


def test_no_submission_is_run_without_its_lessons_data(tmp_path, monkeypatch):
    folder = courses.make_course(tmp_path, FIRST, whole=False)
    courses.submit(folder, FIRST, "mary", courses.right(folder, FIRST))
    monkeypatch.setattr(gradebook, "prepare", lambda name: None)
    monkeypatch.setattr(execute, "locate", lambda name: None)
    (one,) = gradebook.grade(folder, FIRST.name)
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
    """Lines that docs/instructors.md tells one to type, in its order."""
    text = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
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
            (one,) = gradebook.grade(folder, FIRST.name)
            assert (one.student, one.score, one.problem) == ("mary", POINTS, "")
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
    # A student can put links into what was handed in, and a pipe.
    (inbound,) = (exchange / "embeddings" / "inbound").iterdir()
    (tmp_path / "key").write_text("private")
    inbound.chmod(0o777)
    (inbound / "key.txt").symlink_to(tmp_path / "key")
    os.mkfifo(inbound / "pipe")
    ran = courses.nbgrader_command(folder, "collect", FIRST.name)
    assert "Passed over it: key.txt is a link" in ran.stdout + ran.stderr
    assert "Passed over it: pipe is not a regular file" in ran.stdout + ran.stderr
    (handed_in,) = (folder / "submitted").glob(f"*/{FIRST.name}/*.ipynb")
    assert handed_in.read_bytes() == fetched.read_bytes()
    names = {path.name for path in handed_in.parent.iterdir()}
    beside = {"glossary.md", "timestamp.txt", "submission_secret.txt"}
    assert names == {handed_in.name} | beside


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
    restore.link_sources(folder)
    assert not stale.is_symlink()
    released = folder / "release" / FIRST.name / "images"
    assert pictures == {path.name for path in released.glob("*.png")}


def test_graded_cells_are_named_after_their_answers():
    for lesson in LESSONS:
        names = {nbgrader(c).get("grade_id") for c in solution(lesson).cells}
        for exercise in courses.exercises(solution(lesson)):
            assert f"check-{exercise}" in names, json.dumps(exercise)


# --- half done is not done ---------------------------------------------------


def a_course(tmp_path, *students):
    folder = courses.make_course(tmp_path / "course", FIRST, whole=False)
    for student in students:
        courses.submit(folder, FIRST, student, courses.right(folder, FIRST))
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Let no kernel start: each cell ends well, and each check but one passes."""

    def run(module, request, *, take, **settings):
        asked = json.loads(request)
        for place, cell in enumerate(asked["notebook"]["cells"]):
            if cell["cell_type"] == "code":
                passes = "check.nearest" not in "".join(cell["source"])
                said = {"cell": place, "status": "ok", "count": 1, "outputs": []}
                said |= {"numbers": ["1.1"] if passes else [], "cut": False}
                take(json.dumps({**said, "found": [], "replaced": []}).encode())
        take(b'{"problem": ""}')
        return sandbox.Ended("", "")

    monkeypatch.setattr(sandbox, "run", run)


def graded_again(folder):
    """Grade what is to be graded; give score and whether it was graded now."""
    return {
        one.student: (one.score, one.done)
        for one in gradebook.grade(folder, FIRST.name)
        if not one.problem
    }


class Killed(BaseException):
    """What ends a grader at once."""


@pytest.mark.parametrize(
    "place",
    [
        "course_tools.grading.gradebook._note",
        "course_tools.grading.execute.SandboxedExecute.preprocess",
        "nbgrader.preprocessors.SaveAutoGrades.preprocess",
        "nbgrader.converters.Autograde.set_permissions",
    ],
)
def test_what_was_cut_short_is_graded_again(tmp_path, monkeypatch, quick, place):
    folder = a_course(tmp_path, "mary")

    def killed(*given, **settings):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(place, killed)
        with pytest.raises(Killed):
            list(gradebook.grade(folder, FIRST.name))
    assert gradebook.recorded(folder, FIRST.name, "mary") is None
    assert graded_again(folder) == {"mary": (POINTS, True)}
    assert graded_again(folder) == {"mary": (POINTS, False)}


@pytest.mark.parametrize(
    "sent",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, marks=pytest.mark.long),
    ],
)
def test_a_grader_that_is_ended_leaves_nothing_running(tmp_path, monkeypatch, sent):
    folder = courses.make_course(tmp_path / "course", FIRST, whole=False)
    notebook = courses.right(folder, FIRST)
    waits = "import time\nprint('here', flush=True)\ntime.sleep(600)"
    courses.cell_named(notebook, "lookup").source = waits
    courses.submit(folder, FIRST, "mary", notebook)
    command = "import sys\nfrom pathlib import Path\n"
    command += "from course_tools.grading import gradebook\n"
    command += "list(gradebook.grade(Path(sys.argv[1]), sys.argv[2]))"
    grader = subprocess.Popen(
        [sys.executable, "-c", command, str(folder), FIRST.name],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    family = []
    deadline = time.monotonic() + 120
    # The kernel is inside, and three processes around it.
    while len(family) < 4 and time.monotonic() < deadline:
        assert grader.poll() is None
        family = psutil.Process(grader.pid).children(recursive=True)
        time.sleep(0.1)
    grader.send_signal(sent)
    assert grader.wait(30) == -sent
    _, left = psutil.wait_procs(family, timeout=20)
    assert not left
    submitted = folder / "submitted" / "mary" / FIRST.name / FIRST.notebook.name
    submitted.write_text(nbformat.writes(courses.right(folder, FIRST)))
    assert graded_again(folder) == {"mary": (POINTS, True)}


def test_a_full_disk_is_named_and_what_it_cost_is_graded_again(
    tmp_path, monkeypatch, quick
):
    folder = a_course(tmp_path, "mary")

    def full(*given, **settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    for place in (
        "nbconvert.writers.FilesWriter.write",
        "course_utils.files.os.fsync",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, full)
            (one,) = gradebook.grade(folder, FIRST.name)
        assert "No space left on device" in one.problem
        note = gradebook.recorded(folder, FIRST.name, "mary")
        assert not note or note["problem"]
    assert graded_again(folder) == {"mary": (POINTS, True)}


def test_two_graders_take_turns(tmp_path):
    folder = a_course(tmp_path, "anna", "mary")
    command = "import sys\nfrom pathlib import Path\n"
    command += "from course_tools.grading import gradebook\n"
    command += "for one in gradebook.grade(Path(sys.argv[1]), sys.argv[2]):\n"
    command += "    print(one.student, one.score, one.done, one.problem)"
    graders = [
        subprocess.Popen(
            [sys.executable, "-c", command, str(folder), FIRST.name],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    lines = [line for one in graders for line in one.communicate()[0].splitlines()]
    assert sorted(lines) == sorted(
        f"{student} {POINTS}.0 {done} "
        for student in ("anna", "mary")
        for done in (True, False)
    )


def test_a_new_submission_or_a_changed_check_is_graded_anew(tmp_path, quick):
    folder = a_course(tmp_path, "mary")
    assert graded_again(folder) == {"mary": (POINTS, True)}
    path = folder / "submitted" / "mary" / FIRST.name / FIRST.notebook.name
    path.write_text(nbformat.writes(courses.blank(folder, FIRST)))
    assert graded_again(folder) == {"mary": (POINTS, True)}
    with book(folder) as gradebook:
        notebook = gradebook.find_notebook(FIRST.name, FIRST.name)
        cell = next(c for c in notebook.source_cells if c.name == "check-lookup")
        cell.source += "\n# changed"
        gradebook.db.commit()
    assert graded_again(folder) == {"mary": (POINTS, True)}
    assert graded_again(folder) == {"mary": (POINTS, False)}


def test_the_table_holds_no_zero_that_nobody_earned(tmp_path, quick):
    folder = a_course(tmp_path, "mary")
    broken = folder / "submitted" / "paul" / FIRST.name / FIRST.notebook.name
    broken.parent.mkdir(parents=True)
    broken.write_text("no notebook")
    blank = folder / "submitted" / "zoe" / FIRST.name / FIRST.notebook.name
    blank.parent.mkdir(parents=True)
    blank.write_text(nbformat.writes(courses.blank(folder, FIRST)))
    with book(folder) as opened:
        opened.update_or_create_student("anna")
    list(gradebook.grade(folder, FIRST.name))
    # What was graded once is refused now: its old score is none.
    path = folder / "submitted" / "mary" / FIRST.name / FIRST.notebook.name
    path.unlink()
    list(gradebook.grade(folder, FIRST.name))
    courses.nbgrader_command(folder, "export")
    with open(folder / "grades.csv", encoding="utf-8") as stream:
        rows = {row["student_id"]: row for row in csv.DictReader(stream)}
    assert {name: row["score"] for name, row in rows.items()} == {
        "anna": "",
        "mary": "",
        "paul": "",
        "zoe": f"{POINTS}.0",
    }
    assert rows["anna"]["status"] == "not submitted"
    assert "refused: there is no" in rows["mary"]["status"]
    assert "is not JSON, not a notebook" in rows["paul"]["status"]
    assert rows["zoe"]["status"] == "graded"
