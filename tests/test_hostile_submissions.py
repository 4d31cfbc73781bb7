"""A batch of hostile submissions: what they get, and what they leave untouched.

The short test grades some of them. The long one grades all, as the user who runs the
tests, as an ordinary user where that is root, and in the whole lesson.
"""

from __future__ import annotations

import hashlib
import html.parser
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile

from course_tools import lessons
from course_tools.cli import main
from course_tools.grading import execute, gradebook, sandbox, submissions
from course_utils.data import fetch
from tests import courses
from tests.lessons import LESSONS, solution
from tests.support.hostile import ALL, SECRET, added, the_batch
from tests.systems import needs_linux, needs_sandbox

import nbformat
import psutil
import pytest
from nbgrader.api import Gradebook
from nbgrader.utils import determine_grade

pytestmark = [needs_linux, needs_sandbox]
FIRST = LESSONS[0]
MADE = {"autograded", "feedback", "graded", "gradebook.db", ".grading.lock"}


def state(folder):
    """Digest and mode of every file that is not made by grading."""
    return {
        str(path): (
            path.lstat().st_mode,
            os.readlink(path)
            if path.is_symlink()
            else path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if not MADE & set(path.parts)
    }


def sandboxed_processes():
    """Processes that run in a sandbox now."""
    found = set()
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == sandbox.BWRAP:
            found |= {process, *process.children(recursive=True)}
    return found


@pytest.fixture
def instructor(tmp_path, monkeypatch):
    """A course to grade in, and things of the instructor's beside it."""
    folder, outside = tmp_path / "course", tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis.txt").write_text("years of work")
    monkeypatch.setenv("COURSE_TOKEN", SECRET)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as named,
    ):
        port = server.getsockname()[1]
        abstract.bind(f"\0course-{port}")
        named.bind(str(outside / "socket"))
        for one in (abstract, named):
            one.listen()
        for one in (server, abstract, named):
            one.settimeout(0)
        yield folder, outside, port
        for one in (server, abstract, named):
            with pytest.raises(BlockingIOError):
                one.accept()


def grade_the_batch(instructor, monkeypatch, capsys, *, whole, short):
    folder, outside, port = instructor
    courses.make_course(folder, FIRST, whole=whole, timeout=120 if whole else 10)
    with open(folder / "nbgrader_config.py", "a", encoding="utf-8") as stream:
        stream.write(
            "c.SandboxedExecute.answer_seconds = 10\n"
            f"c.SandboxedExecute.memory_mb = {4096 if whole else 1500}\n"
        )
    batch = the_batch(folder, FIRST, outside, port)
    batch = {name: one for name, one in batch.items() if one.short or not short}
    for student, one in batch.items():
        path = courses.submit(folder, FIRST, student, one.content)
        one.beside(path.parent)
    strange = folder / "submitted" / "-rf *" / FIRST.name
    strange.mkdir(parents=True)
    monkeypatch.setattr(lessons, "ROOT", folder)
    before, running = state(folder.parent), sandboxed_processes()
    assert main(["grade", "1"]) == 1
    said = capsys.readouterr()
    assert state(folder.parent) == before
    # The system takes a moment to end what a sandbox held.
    _, left = psutil.wait_procs(sandboxed_processes() - running, timeout=10)
    assert not left
    lines = dict(line.split(": ", 1) for line in said.out.splitlines())
    assert set(lines) == {*batch, "-rf *"}, "the batch went on to its end"
    assert "not named like a student" in lines.pop("-rf *")
    assert "\x1b" not in said.out + said.err
    n = len(courses.exercises(solution(FIRST)))
    best = n if whole else n - 1
    wrong = []
    for student, one in batch.items():
        line = lines[student]
        if one.refused:
            good = line.startswith("refused: ") and one.refused in line
            good &= student in said.err and points(folder, student) is None
        else:
            deserved = max(0, best - one.lost)
            good = line.startswith(f"{deserved} of {n}")
            good &= points(folder, student) == deserved
            good &= (one.note in line) if one.note else (";" not in line)
        if not good:
            wrong.append((student, line))
    assert not wrong
    return folder, batch


def points(folder, student):
    """Score in the grade book; None where a check has none."""
    with Gradebook(f"sqlite:///{folder}/gradebook.db", "embeddings") as book:
        submission = book.find_submission(FIRST.name, student)
        grades = [grade for nb in submission.notebooks for grade in nb.grades]
        if any(grade.auto_score is None for grade in grades):
            assert all(grade.needs_manual_grade for grade in grades)
            return None
        return submission.score


def autograded(folder, student):
    path = folder / "autograded" / student / FIRST.name / FIRST.notebook.name
    return path.read_text(encoding="utf-8")


def page(folder, student):
    path = folder / "feedback" / student / FIRST.name / f"{FIRST.name}.html"
    return path.read_text(encoding="utf-8")


class Scripts(html.parser.HTMLParser):
    """Collect what a page would run."""

    def __init__(self):
        super().__init__()
        self.found, self.inside = [], False

    def handle_starttag(self, tag, attrs):
        self.inside = tag == "script"
        self.found += [v for k, v in attrs if k.startswith("on") and "steal" in v]

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        self.found += [data] if self.inside and "steal" in data else []

    @classmethod
    def of(cls, page):
        parser = cls()
        parser.feed(page)
        return parser.found


def test_the_search_for_scripts_finds_them():
    page = "<p onclick='steal()'>steal()</p><script>steal()</script>"
    assert Scripts.of(page) == ["steal()", "steal()"]


def look_at_what_came_out(folder, batch):
    assert "MemoryError: Unable to allocate" in autograded(folder, "takes-all-memory")
    for student, one in batch.items():
        if not one.refused and one.lost < ALL:
            # A cell of theirs fails where one attempt succeeded.
            assert "AssertionError" not in autograded(folder, student), student
        assert not [p for p in (folder / "autograded").rglob("*") if p.is_symlink()]
    courses.nbgrader_command(folder, "generate_feedback", FIRST.name)
    shown = page(folder, "shows-scripts")
    assert "steal()" in shown and "<b>bold</b>" in shown
    assert not Scripts.of(shown)
    assert "years of work" not in page(folder, "became-a-link")
    assert "looking up" in page(folder, "writes-to-stderr")


def test_hostile_submissions_are_graded_as_they_deserve_or_refused_by_name(
    instructor, monkeypatch, capsys
):
    folder, batch = grade_the_batch(
        instructor, monkeypatch, capsys, whole=False, short=True
    )
    look_at_what_came_out(folder, batch)
    assert main(["grade", "1", "blameless"]) == 0
    assert "(graded before)" in capsys.readouterr().out
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"the tests' process, grader included, held {used:,} MB at most")


@pytest.mark.long
@pytest.mark.parametrize("whole", [False, True])
def test_the_whole_hostile_batch_is_too(instructor, monkeypatch, capsys, whole):
    folder, batch = grade_the_batch(
        instructor, monkeypatch, capsys, whole=whole, short=False
    )
    assert len(batch) >= 40
    look_at_what_came_out(folder, batch)


# The interpreter of this user may lie where nobody else can read; a user of a mount
# namespace's own sees it in a home that others may enter.
AS_ANOTHER = """
set -e
mkdir -p "$1/seen"
mount --bind "$2" "$1/seen"
mount -t tmpfs -o mode=755 tmpfs "$HOME"
mkdir -p "$2"
mount --move "$1/seen" "$2"
shift 2
exec setpriv --reuid=65123 --regid=65123 --clear-groups "$@"
"""


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root")
def test_the_whole_hostile_batch_is_graded_by_an_ordinary_user_too():
    # Not pytest's own folder: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="course-", dir="/tmp") as own:
        for name in ("imdb", "glove"):
            shutil.copytree(fetch.fetch(name), f"{own}/data/{name}")
        os.chown(own, 65123, 65123)
        ran = subprocess.run(
            [
                *("unshare", "-m", "sh", "-c", AS_ANOTHER, "sh", own),
                os.path.realpath(sys.base_prefix),
                *("env", f"HOME={own}", f"TMPDIR={own}"),
                f"COURSE_DATA_SHARED={own}/data",
                *(sys.executable, "-m", "pytest", "-q", "-m", "long", "-p"),
                *("no:cacheprovider", f"--basetemp={own}/p", "-n", "0"),
                f"{__file__}::test_the_whole_hostile_batch_is_too[False]",
            ],
            capture_output=True,
            text=True,
            cwd=lessons.ROOT,
        )
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_a_submission_has_a_time_in_all(tmp_path):
    folder = courses.make_course(tmp_path / "course", FIRST, whole=False)
    with open(folder / "nbgrader_config.py", "a", encoding="utf-8") as stream:
        stream.write("c.SandboxedExecute.total_seconds = 8\n")
    slow = added(courses.right(folder, FIRST), "import time\ntime.sleep(100)")
    courses.submit(folder, FIRST, "mary", slow)
    (one,) = gradebook.grade(folder, FIRST.name)
    assert one.problem.startswith("it took more than 8 s in all, in cell ")


# --- what the judge says, and what counts of it --------------------------------


def told(lesson, *outputs, source="check.lookup(lookup)", **said):
    """Let a graded cell end as said; give its outputs and its points."""
    cell = nbformat.v4.new_code_cell(source)
    cell.metadata["nbgrader"] = {
        "grade": True,
        "solution": False,
        "locked": True,
        "points": 2,
        "grade_id": "check-lookup",
        "schema_version": 3,
    }
    step = execute.SandboxedExecute()
    step.nb, step.lesson = nbformat.v4.new_notebook(cells=[cell]), lesson
    step.ended, step.problem = set(), None
    line = {"cell": 0, "status": "ok", "count": 1, "found": [], "replaced": []}
    line |= {"numbers": [], "cut": False, "outputs": list(outputs), **said}
    step._take(json.dumps(line).encode())
    return cell.outputs, determine_grade(cell)[0]


RESULT = {"output_type": "execute_result", "execution_count": 1, "metadata": {}}
HALF = {**RESULT, "data": {"text/plain": "0.5"}}
ERROR = {"output_type": "error", "ename": "E", "evalue": "e", "traceback": ["e"]}
MARK = {"output_type": "stream", "name": "stdout", "text": "✅ 1.2 yes"}
HEARD = {"output_type": "stream", "name": "stderr", "text": "heard"}


@pytest.mark.parametrize(
    ("outputs", "said", "points"),
    [
        ([MARK], {"numbers": ["1.2"]}, 2),
        ([MARK, HEARD], {"numbers": ["1.2"]}, 2),
        ([HALF, MARK], {"numbers": ["1.2"]}, 2),
        ([MARK], {}, 0),
        ([HALF], {}, 0),
        ([HALF, ERROR], {"status": "error"}, 0),
        ([MARK, ERROR], {"status": "error", "numbers": ["1.2"]}, 0),
        ([MARK], {"status": "error", "numbers": ["1.2"]}, 0),
        ([MARK], {"numbers": ["1.2"], "replaced": ["numpy.isclose"]}, 0),
        ([MARK], {"numbers": ["1.2"], "found": ["course_utils.checks"]}, 2),
    ],
)
def test_a_point_needs_a_cell_without_error_and_the_checks_own_word(
    outputs, said, points
):
    shown, got = told("lesson_01", *outputs, **said)
    assert got == points
    assert {one.get("name", "stdout") for one in shown} == {"stdout"}
    for one in (one for one in outputs if "text" in one):
        assert one["text"] in str(shown)


@pytest.mark.parametrize(
    ("outputs", "said", "points"),
    [
        ([], {}, 2),
        ([HALF], {}, 0.5),
        ([HALF, ERROR], {"status": "error"}, 0),
        ([HEARD], {}, 2),
    ],
)
def test_an_assignment_without_the_courses_checks_is_graded_as_nbgrader_does(
    outputs, said, points
):
    assert told("", *outputs, source="assert True", **said)[1] == points


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[" * 100_000,
        b"[]",
        b'{"cell": 7}',
        b'{"cell": 0, "status": "ok", "outputs": [{"output_type": "stream"}]}',
    ],
)
def test_what_is_no_answer_is_refused(line):
    step = execute.SandboxedExecute()
    step.nb, step.lesson = nbformat.v4.new_notebook(cells=[]), ""
    step.nb.cells.append(nbformat.v4.new_code_cell("1"))
    step.ended, step.problem = set(), None
    with pytest.raises(submissions.SubmissionError, match="no answer"):
        step._take(line)
