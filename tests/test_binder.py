"""What Binder would build holds what the lessons need, and 2 GB are enough for them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from course_tools.supply.lock import versions
from course_tools.work import server
from course_utils.data import fetch
from tests import small_machine
from tests.lessons import IDS, LESSONS
from tests.systems import needs_posix

import pytest

pytestmark = needs_posix

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
BINDER_MB = 2048


@pytest.fixture(scope="module")
def dockerfile():
    """What repo2docker would build from this repository."""
    made = subprocess.run(
        [BIN / "jupyter-repo2docker", "--no-build", "--debug", ROOT],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout + made.stderr


def test_the_image_is_made_from_environment_yml_and_then_fetches_the_data(dockerfile):
    copied = dockerfile.index("COPY --chown=0:0 src/ ${REPO_DIR}/")
    installed = dockerfile.index('--file "environment.yml"')
    fetched = dockerfile.index("RUN ./postBuild")
    # postBuild installs from the repository, into the environment that conda made.
    assert copied < fetched and installed < fetched
    user = dockerfile[:fetched].rindex("USER ")
    assert dockerfile[user:].startswith("USER ${NB_USER}")
    assert "Building conda environment for python=3.12" in dockerfile


def test_nothing_else_in_the_repository_takes_part_in_the_build(dockerfile):
    # A stray setup.py, Pipfile or runtime.txt would change what is built.
    assert dockerfile.count("env update") == 1
    for other in (
        "requirements.txt",
        "setup.py",
        "Pipfile",
        "install.R",
        "npm install",
    ):
        assert other not in dockerfile


def test_a_launched_notebook_is_one_that_the_image_holds():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (path,) = re.findall(r"urlpath=lab/tree/(\S+?)\)", readme)
    # postBuild fills the student's folder from the course's.
    assert path.startswith("work/") and "course update" in commands()
    assert (ROOT / path.replace("work/", "notebooks/", 1)).exists()


def test_what_the_image_installs_serves_jupyterlab_and_every_lesson():
    lines = commands()
    assert lines[0] == "python bootstrap.py here"
    assert lines[-1] == "course data"
    assert "python -m course_tools.lab_settings" in lines
    assert {"jupyterlab", "ipykernel", "keras"} <= versions("lab").keys()
    # For a hub whose image this is, and by its digest.
    (install,) = [line for line in lines if "nbgitpuller" in line]
    assert install.startswith("python -m pip install --require-hashes --no-deps ")
    assert (ROOT / install.split()[-1]).exists()


def test_a_hubs_page_that_updates_copies_is_enabled_in_the_image(tmp_path, monkeypatch):
    from jupyter_server.extension import serverextension

    (line,) = [line for line in commands() if "serverextension" in line]
    code = re.fullmatch(r'python -c "(.*)"', line)[1]
    monkeypatch.setattr(serverextension, "ENV_CONFIG_PATH", [str(tmp_path)])
    exec(code, {})
    (written,) = tmp_path.rglob("*.json")
    enabled = json.loads(written.read_text())["ServerApp"]["jpserver_extensions"]
    assert enabled == {server.__name__: True}
    assert written.parent == tmp_path / "jupyter_server_config.d"


def commands():
    """The lines of postBuild that do something."""
    lines = (ROOT / "postBuild").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith(("#", "set "))]


@pytest.fixture(scope="module")
def image_home(tmp_path_factory):
    """A home folder as the image has it: postBuild fetched data on an empty cache."""
    home = tmp_path_factory.mktemp("jovyan")
    command = f"set -euo pipefail; {commands()[-1]}"
    subprocess.run(["bash", "-c", command], env=in_image(home), cwd=ROOT, check=True)
    return home


@pytest.mark.long
def test_an_environment_with_nothing_but_pip_becomes_the_image(tmp_path):
    """conda's part is Python and pip; annoy is compiled here instead."""
    python = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([python, "-m", "venv", tmp_path / "conda"], check=True)
    copy = tmp_path / "repo"
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    bin_folder = tmp_path / "conda" / "bin"
    environment = os.environ | {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(tmp_path / "conda"),
    }
    environment.pop("PYTHONPATH", None)
    for command in [*commands()[:-1], "course doctor"]:
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def in_image(home):
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COURSE_", "XDG_"))
    }
    path = f"{BIN}{os.pathsep}{environment['PATH']}"
    return environment | {"HOME": str(home), "PATH": path}


@pytest.mark.long
def test_all_that_lessons_need_is_in_the_image(image_home):
    cache = image_home / ".cache" / "embeddings-course"
    needed = {name for name, entry in fetch.catalog().items() if entry.lessons}
    carried = {
        name
        for name in needed
        if fetch.catalog()[name].sources[0]["kind"] in ("shipped", "dependency")
    }
    kept = {path.name for path in cache.iterdir() if path.is_dir()}
    assert needed - carried <= kept
    assert not list(cache.rglob("*.part*"))


@pytest.mark.long
@pytest.mark.parametrize("lesson", LESSONS, ids=IDS)
def test_a_lesson_ends_in_two_gigabytes_on_one_core_without_a_network(
    lesson, image_home, tmp_path, capsys
):
    """JupyterLab's server counts too: Binder limits the two together."""
    if lack := small_machine.missing():
        pytest.skip(lack)
    environment = in_image(image_home)
    lab = ["jupyter", "lab", "--no-browser", "--port=0", f"--notebook-dir={tmp_path}"]
    with small_machine.limited(BINDER_MB) as group:
        small = [sys.executable, small_machine.__file__, str(group)]
        with open(tmp_path / "lab.log", "w") as log:
            server = subprocess.Popen(
                [*small, *lab, "--allow-root"], env=environment, stdout=log, stderr=log
            )
        try:
            wait_for(tmp_path / "lab.log", "Jupyter Server .* is running at")
            start = time.perf_counter()
            with watched(group) as peak:
                ran = subprocess.run(
                    [*small, "course", "run", str(lesson.number)],
                    env=environment,
                    capture_output=True,
                    text=True,
                )
            seconds = time.perf_counter() - start
            assert server.poll() is None, (
                "the server was stopped because memory ran out"
            )
        finally:
            server.terminate()
            server.wait(60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    with capsys.disabled():
        print(
            f"\n{lesson.name}: {seconds:.0f} s on one core, at most "
            f"{peak[0] / 2**20:,.0f} MB with the server"
        )


class watched:
    """Note the most memory that a cgroup holds for itself, files' pages aside."""

    def __init__(self, group):
        self.group = group
        self.peak = [0]
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while not self.ended.wait(0.2):
            told = (self.group / "memory.stat").read_text()
            (rss,) = re.findall(r"^total_rss (\d+)$", told, re.M)
            self.peak[0] = max(self.peak[0], int(rss))

    def __enter__(self):
        self.thread.start()
        return self.peak

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def wait_for(path, pattern, seconds=120):
    deadline = time.monotonic() + seconds
    while not re.search(pattern, path.read_text()):
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.2)


@pytest.mark.long
def test_the_small_machine_is_really_small(tmp_path):
    if lack := small_machine.missing():
        pytest.skip(lack)
    greedy = "block = bytearray(400 * 2**20)"
    alone = (
        "import os, socket\n"
        "assert len(os.sched_getaffinity(0)) == 1\n"
        "assert [name for _, name in socket.if_nameindex()] == ['lo']\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname()).close()"
    )
    with small_machine.limited(200) as group:
        small = [sys.executable, small_machine.__file__, str(group), sys.executable]
        assert subprocess.run([*small, "-c", greedy]).returncode == -9
        assert subprocess.run([*small, "-c", alone]).returncode == 0
