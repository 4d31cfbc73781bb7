"""A class on one server: everybody finishes, and nobody reaches what is another's.

The long tests run the shipped configuration of JupyterHub for real Unix users of this
machine, which they make and remove again; they need to be root for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import io
import json
import os
import pwd
import re
import secrets
import shlex
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

from course_tools.classroom import sizes
from course_tools.lessons import ROOT
from tests.lessons import LESSONS, nbgrader, student
from tests.systems import needs_linux

import nbformat
import pytest
import yaml
from traitlets.config.loader import PyFileConfigLoader

pytestmark = needs_linux

DEPLOY = ROOT / "deploy"
CONFIG = DEPLOY / "jupyterhub_config.py"
FIRST = LESSONS[0]
MEASURED = json.loads((DEPLOY / "measured.json").read_text(encoding="utf-8"))
# Thirty students on two cores: a cell may wait long for its turn.
PATIENCE = 2400
MB_A_STUDENT = 750
long = pytest.mark.long


@functools.cache
def classroom():
    """The simulated class; it needs what only `make hub` installs."""
    from course_tools.classroom import __main__, accounts, simulation, student

    parts = (accounts, student, simulation, __main__)
    return SimpleNamespace(**{k: v for part in parts for k, v in vars(part).items()})


def free_port() -> int:
    """A port below those that the system gives to other connections meanwhile."""
    while True:
        port = 20000 + secrets.randbelow(12000)
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) != 0:
                return port


def may_be_read(path: Path) -> bool:
    """Whether everybody may go where a path leads."""
    places = (path.absolute(), path.resolve())
    return all(f.stat().st_mode & 0o001 for place in places for f in place.parents)


@pytest.fixture(scope="module")
def place():
    """A folder that every user of this machine may enter, as pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="course-class-"))
    folder.chmod(0o755)
    if not may_be_read(folder / "x"):
        shutil.rmtree(folder)
        pytest.skip(f"students cannot enter {folder.parent}: set TMPDIR to another")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def python(place):
    """A Python with everything in it that students may start, too.

    Where the one that runs the tests lies in a closed home, it is copied, and the copy
    uses the packages where they are.
    """
    if may_be_read(Path(sys.executable)):
        return Path(sys.executable)
    packages = [Path(p) for p in sys.path if p.endswith("site-packages")]
    for folder in [*packages, ROOT]:
        if not may_be_read(folder / "x"):
            pytest.skip(f"students cannot read {folder}: put the course elsewhere")
    version = "python{}.{}".format(*sys.version_info[:2])
    base, copy = Path(sys.base_prefix), place / "python"
    (copy / "bin").mkdir(parents=True)
    shutil.copy(Path(sys.executable).resolve(), copy / "bin" / version)
    leave = shutil.ignore_patterns("site-packages", "test", "config-*", "__pycache__")
    shutil.copytree(
        base / "lib" / version, copy / "lib" / version, ignore=leave, symlinks=True
    )
    for library in (base / "lib").glob("libpython*.so*"):
        shutil.copy(library, copy / "lib", follow_symlinks=False)
    own = copy / "lib" / version / "site-packages"
    own.mkdir()
    lines = (f"import site; site.addsitedir({str(p)!r})\n" for p in packages)
    (own / "course.pth").write_text("".join(lines))
    for name in ("share", "etc"):
        if (Path(sys.prefix) / name).exists():
            (copy / name).symlink_to(Path(sys.prefix) / name)
    return copy / "bin" / version


@pytest.fixture(scope="module")
def group():
    """A group of this machine for the students of a test."""
    if os.geteuid() != 0:
        pytest.skip("only root can make the users that these tests need")
    name = f"course-{secrets.token_hex(4)}"
    subprocess.run(["groupadd", name], check=True)
    yield name
    subprocess.run(["groupdel", name], check=True)


@pytest.fixture(scope="module")
def lessons(place):
    """A repository of the lessons without their solutions, as the README makes it."""
    folder = place / "lessons"
    folder.mkdir()
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", symlinks=True)
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@x"]
    for command in (["init", "-qb", "main"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    return folder


def answers_of(lesson) -> list[str]:
    """Lines of a lesson's solutions, as JSON has them, that its notebook has not.

    One of them may stand elsewhere by chance, most of them only in a copy.
    """
    cells = nbformat.read(lesson.solution, as_version=4).cells
    solved = [cell.source for cell in cells if nbgrader(cell).get("solution")]
    given = lesson.notebook.read_text(encoding="utf-8")
    lines = {json.dumps(line.strip())[1:-1] for line in "\n".join(solved).splitlines()}
    return sorted(line for line in lines if len(line) > 20 and line not in given)


@pytest.fixture(scope="module")
def checkout(place):
    """The course with its solutions as the README sets it up, closed to students."""
    folder = place / "checkout"
    folder.mkdir(mode=0o700)
    for name in ("deploy", "notebooks", "solutions"):
        leave = shutil.ignore_patterns("node_modules", "__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    if (DEPLOY / "node_modules").exists():
        (folder / "deploy/node_modules").symlink_to(DEPLOY / "node_modules")
    return folder


@pytest.fixture(scope="module")
def packages(place):
    """A folder with a copy of the package, as the class's environment has one."""
    leave = shutil.ignore_patterns("__pycache__")
    folder = place / "packages"
    for name in ("course_utils", "course_tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    return folder


@pytest.fixture(scope="module")
def data(place):
    """The course's data in a folder that students may read."""
    from course_utils.data import fetch

    folder = place / "data"
    shutil.copytree(fetch.cache_folder(), folder)
    subprocess.run(["chmod", "-R", "a+rX,go-w", str(folder)], check=True)
    return folder


@dataclass
class Hub:
    """A running hub."""

    address: str
    group: str
    log: Path
    pid: int
    # Of a hub with TLS: who signed its certificate.
    authority: Path | None = None


def environment(place: Path, python: Path, **settings: object) -> dict[str, str]:
    """What the hub is started with."""
    paths = [os.path.dirname(sys.executable), os.environ["PATH"]]
    made = {**os.environ, "PATH": os.pathsep.join(paths)}
    made["PYTHONPATH"] = str(place / "packages")
    made["PYTHONDONTWRITEBYTECODE"] = "1"
    if python.is_relative_to(place):
        made["LD_LIBRARY_PATH"] = str(python.parents[1] / "lib")
    return made | {key: str(value) for key, value in settings.items()}


DOMAIN = "class.test"


@pytest.fixture(scope="module")
def certificate(place):
    """A certificate for the class's domain and each student's: its folder."""
    from certipy import Certipy

    folder = place / "tls"
    maker = Certipy(store_dir=str(folder))
    maker.create_ca("authority")
    names = [f"DNS:{DOMAIN}", f"DNS:*.{DOMAIN}", "IP:127.0.0.1"]
    maker.create_signed_pair("class", "authority", alt_names=names)
    folder.chmod(0o700)
    return folder


@pytest.fixture(scope="module")
def start(place, python, group, lessons, data, checkout, packages):
    """Start hubs with the shipped configuration, and stop them in the end."""
    running = []

    def start(tls: Path | None = None, within: tuple[str, ...] = (), **settings) -> Hub:
        number, port = len(running), free_port()
        address = f"http://127.0.0.1:{port}"
        config = checkout / "deploy" / CONFIG.name
        command = [str(python), "-m", "jupyterhub", "-f", str(config)]
        shown, authority = address, None
        if tls:
            address = f"https://127.0.0.1:{port}"
            shown, authority = (
                f"https://{DOMAIN}:{port}",
                tls / "authority/authority.crt",
            )
            settings |= {
                "CLASS_DOMAIN": shown,
                "CLASS_CERTIFICATE": tls / "class/class.crt",
                "CLASS_KEY": tls / "class/class.key",
            }
            # To this hub alone, the names resolve.
            hosts = place / "hosts"
            hosts.write_text(f"127.0.0.1 localhost {DOMAIN} any-student.{DOMAIN}\n")
            script = 'mount --bind "$0" /etc/hosts && exec "$@"'
            within = ("unshare", "--mount", "sh", "-c", script, str(hosts))
        own = environment(
            place,
            python,
            CLASS_GROUP=group,
            CLASS_LESSONS=lessons,
            CLASS_DATA=data,
            CLASS_STATE=place / f"state-{number}",
            CLASS_ADDRESS=address,
            CLASS_HUB_PORT=free_port(),
            CLASS_PROXY_PORT=free_port(),
            CLASS_GIT_PORT=free_port(),
            **settings,
        )
        log = place / f"hub-{number}.log"
        with open(log, "wb") as stream:
            hub = subprocess.Popen(
                [*within, *command],
                cwd="/",
                env=own,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        running.append(hub)
        trusted = ssl.create_default_context(cafile=authority)
        for _ in range(300):
            if hub.poll() is not None:
                break
            try:
                with urllib.request.urlopen(
                    f"{address}/hub/health", timeout=5, context=trusted
                ):
                    return Hub(shown, group, log, hub.pid, authority)
            except (urllib.error.URLError, OSError):
                time.sleep(1)
        # The proxy says again and again that the hub is not there yet.
        said = [
            line for line in log.read_text().splitlines() if "ConfigProxy" not in line
        ]
        pytest.fail("\n".join(["the hub did not start:", *said[-40:]]))

    yield start
    for hub in running:
        hub.send_signal(signal.SIGTERM)
    for hub in running:
        hub.wait(900)  # it stops each student's server first


@pytest.fixture(scope="module")
def hub(start):
    """One hub for all tests that need no setting of their own."""
    return start()


def browser(hub, account):
    module = classroom()
    connector = None
    if hub.authority:
        trusted = ssl.create_default_context(cafile=hub.authority)

        class Here(module.aiohttp.abc.AbstractResolver):
            """Every name is this machine."""

            async def resolve(self, host, port=0, family=socket.AF_INET):
                found = {"hostname": host, "host": "127.0.0.1", "port": port}
                return [found | {"family": socket.AF_INET, "proto": 0, "flags": 0}]

            async def close(self):
                pass

        connector = module.aiohttp.TCPConnector(ssl=trusted, resolver=Here())
    return module.Student(hub.address, account, PATIENCE, connector)


async def kernel_of(one):
    """Log in, get a server, and start a kernel there."""
    await one.log_in()
    await one.start_server()
    await one.take_lessons()
    return await one.start_kernel()


# Keys of the chart's values.schema.yaml (github.com/jupyterhub/zero-to-jupyterhub-k8s,
# jupyterhub/values.schema.yaml, commit 02dd73df01bdbb6d602fed21b0be12565ab38080), which
# allows no others. What stands below hub.config goes to JupyterHub as it is, and below
# singleuser.extraEnv are variables of any name.
CHART = {
    "hub.config",
    "proxy.service.type",
    "singleuser.image.name",
    "singleuser.image.tag",
    "singleuser.memory.guarantee",
    "singleuser.memory.limit",
    "singleuser.extraEnv",
    "singleuser.cpu.guarantee",
    "singleuser.cpu.limit",
    "singleuser.storage.type",
    "singleuser.storage.capacity",
    "singleuser.storage.homeMountPath",
    "singleuser.defaultUrl",
    "singleuser.startTimeout",
    "cull.enabled",
    "cull.timeout",
    "cull.every",
    "prePuller.hook.enabled",
    "prePuller.continuous.enabled",
    "scheduling.userScheduler.enabled",
    "scheduling.podPriority.enabled",
    "scheduling.userPlaceholder.enabled",
    "scheduling.userPlaceholder.replicas",
}


@pytest.fixture(scope="module")
def values():
    text = (DEPLOY / "zero-to-jupyterhub.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def leaves(tree, path=""):
    """Dotted paths and values of a tree; what passes through unread is one leaf."""
    if isinstance(tree, dict) and path not in ("hub.config", "singleuser.extraEnv"):
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}".lstrip("."))
    else:
        yield path, tree


def test_the_charts_values_have_only_keys_that_the_chart_knows(values):
    found = dict(leaves(values))
    assert set(found) == CHART
    assert found["singleuser.storage.type"] in ("dynamic", "static", "none")


def test_nobody_gets_in_before_an_institution_says_who(values):
    config = values["hub"]["config"]
    assert config["JupyterHub"]["authenticator_class"] == "null"
    assert config["Authenticator"] == {"allow_all": False}


def test_a_students_volume_does_not_hide_what_the_image_keeps_in_its_home(values):
    own = values["singleuser"]
    # repo2docker puts the repository into the home, and postBuild the data below it.
    volume = PurePosixPath(own["storage"]["homeMountPath"])
    assert volume.parent == PurePosixPath("/home/jovyan")
    kept = ["git", "ls-files", "--", volume.name]
    assert not subprocess.check_output(kept, cwd=ROOT)
    asked = parse_qs(urlsplit(own["defaultUrl"]).query)
    assert PurePosixPath(asked["targetpath"][0]).parts[0] == volume.name
    assert asked["urlpath"] == [f"course/work/{asked['targetpath'][0]}"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    # Which holds the solutions.
    assert asked["repo"] != [project["project"]["urls"]["Repository"]]


def test_a_cluster_has_no_public_address_before_somebody_adds_tls(values):
    assert values["proxy"] == {"service": {"type": "ClusterIP"}}


def test_the_image_of_a_class_builds_and_holds_no_solution(tmp_path):
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    command = re.search(r"(git archive HEAD [^|]*?)\| tar", text, re.S)[1]
    command = shlex.split(command.replace("\\\n", " "))
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as image:
        image.extractall(tmp_path, filter="data")
    assert {path.name for path in tmp_path.iterdir()} >= {
        *("environment.yml", "postBuild", "bootstrap.py", "requirements", "notebooks")
    }
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run(build, cwd=tmp_path, check=True)
    answers = answers_of(FIRST)
    assert answers
    for path in tmp_path.rglob("*"):
        if path.suffix in (".ipynb", ".py", ".md"):
            told = path.read_text(encoding="utf-8")
            assert sum(answer in told for answer in answers) < len(answers) / 2, path


def test_a_cluster_gives_a_student_what_the_course_promises(values):
    memory = values["singleuser"]["memory"]
    assert memory["guarantee"] == f"{sizes.PROMISE_GB}G"
    lessons = json.loads((ROOT / "solutions/measured.json").read_text("utf-8"))
    assert max(one["peak_mb"] for one in lessons.values()) <= 1024 * sizes.PROMISE_GB
    # Beside a lesson the pod holds the student's server.
    limit = 1024 * int(memory["limit"].removesuffix("G"))
    server = max(run["server_mb"]["worst"] for run in MEASURED)
    assert 1024 * sizes.PROMISE_GB + server < limit
    # One server's limit counts what is reserved, of which there is more.
    assert max(run["data_mb"]["worst"] for run in MEASURED) < limit_mb()
    assert limit < limit_mb()


def test_idle_servers_are_stopped_after_the_same_time_everywhere(values):
    text = CONFIG.read_text(encoding="utf-8")
    minutes = int(re.search(r'"CLASS_IDLE_MINUTES", "(\d+)"', text)[1])
    assert values["cull"]["enabled"] and values["cull"]["timeout"] == minutes * 60


def test_no_secret_and_no_open_door_is_shipped():
    for path in DEPLOY.glob("*.*"):
        text = path.read_text(encoding="utf-8")
        # A key, a token or a password would be a long run of such characters.
        if path.name != "package-lock.json":
            found = re.findall(r"\b(?=[A-Za-z]*\d)[A-Za-z0-9]{24,}\b", text)
            assert found == [], path.name
    config = CONFIG.read_text(encoding="utf-8")
    for opened in ("dummy", "allow_all", "disable_check_xsrf", "0.0.0.0"):
        assert opened not in config


def test_the_proxy_is_pinned_with_digests_and_names_no_registry():
    wanted = json.loads((DEPLOY / "package.json").read_text("utf-8"))["dependencies"]
    lock = json.loads((DEPLOY / "package-lock.json").read_text("utf-8"))["packages"]
    assert lock.pop("")["dependencies"] == wanted
    for name, version in wanted.items():
        assert lock[f"node_modules/{name}"]["version"] == version
    for name, one in lock.items():
        assert one["integrity"].startswith("sha512-"), name
        assert "resolved" not in one, name


def test_the_readmes_sizes_follow_from_what_was_measured():
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert sizes.renewed(text, MEASURED) == text
    assert MEASURED[-1]["students"] == 30
    assert not any(run["failures"] for run in MEASURED)


def test_sizes_grow_with_the_class_and_with_the_need_of_one():
    one = {name: {"median": 60, "worst": 60} for name in ("spawn_s", "lesson_s")}
    one |= {name: {"median": 1024, "worst": 1024} for name in ("memory_mb", "home_mb")}
    one |= {"cpu_s": {"median": 60, "worst": 90}, "students": 1, "failures": []}
    one |= {"hub_mb": 100, "proxy_mb": 50, "all_mb": 1200}
    rows = sizes.table([one]).splitlines()[-3:]
    # 30 students: 1 GB each and the hub's 150 MB; 60 s each within 10 and 60 minutes.
    assert rows[0] == "| 30 | 31 GB | 61 GB | 3 | 1 | 30 GB |"
    assert rows[2].startswith("| 3,000 | 3,100 GB | 6,100 GB | 300 | 50 |")
    # Students who share a server's pages count for less each.
    many = one | {"students": 2, "memory_mb": {"median": 500, "worst": 512}}
    assert sizes.figures([many, one])["memory_mb"] == 512


@pytest.fixture
def closed(tmp_path):
    """A checkout's folder deploy/ where students cannot go."""
    folder = tmp_path / "checkout"
    folder.mkdir(mode=0o700)
    (folder / "deploy").mkdir()
    shutil.copy(CONFIG, folder / "deploy")
    return folder / "deploy"


@pytest.fixture
def configured(tmp_path, monkeypatch, closed):
    """Load the shipped configuration as JupyterHub does, with settings of one's own."""

    def load(**settings):
        for name in [name for name in os.environ if name.startswith("CLASS_")]:
            monkeypatch.delenv(name)
        settings = {"CLASS_STATE": tmp_path / "state"} | settings
        for name, value in settings.items():
            monkeypatch.setenv(name, str(value))
        return PyFileConfigLoader(CONFIG.name, path=str(closed)).load_config()

    # The tests' own Python may lie where students cannot go.
    monkeypatch.setattr(sys, "executable", shutil.which("env"))
    return load


def command_of(config, name):
    (one,) = (s for s in config.JupyterHub.services if s["name"] == name)
    return one["command"]


def test_a_setting_of_the_environment_reaches_the_hub(configured, tmp_path):
    config = configured(
        CLASS_MEMORY_MB=1500,
        CLASS_IDLE_MINUTES=7,
        CLASS_GROUP="pupils",
        CLASS_DATA="/data",
        CLASS_ADDRESS="http://127.0.0.1:9000",
    )
    assert config.Spawner.cmd[1] == f"--data={1500 * 2**20}"
    assert "--timeout=420" in command_of(config, "cull-idle")
    assert config.PAMAuthenticator.allowed_groups == {"pupils"}
    environment = config.Spawner.environment
    assert environment["COURSE_DATA_SHARED"] == "/data"
    # The number of heaps: only what is set before a kernel starts holds in it.
    assert environment["MALLOC_ARENA_MAX"] == "2"
    for name in ("JUPYTER_CONFIG_PATH", "JUPYTER_PATH"):
        assert environment[name].replace(os.sep, "/").partition("/course_tools/")[1]
    assert config.JupyterHub.bind_url == "http://127.0.0.1:9000"
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_without_settings_only_this_machine_is_listened_to(configured):
    config = configured()
    for address in (config.JupyterHub.bind_url, config.JupyterHub.hub_bind_url):
        assert urlsplit(address).hostname == "127.0.0.1"


def repository(folder: Path, *names: str) -> Path:
    """A git repository with a file of each name."""
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@x"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    for command in (["init", "-qb", "main"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    return folder


@pytest.fixture
def anywhere(place):
    """A folder of one test that everybody may enter."""
    folder = place / secrets.token_hex(4)
    folder.mkdir(mode=0o755)
    return folder


def test_lessons_of_this_machine_are_handed_out_from_their_folder(configured, anywhere):
    folder = repository(anywhere, "notebooks/a.ipynb")
    config = configured(CLASS_LESSONS=folder, CLASS_GIT_PORT=9999)
    asked = parse_qs(urlsplit(config.Spawner.default_url).query)
    assert asked["repo"] == [f"git://127.0.0.1:9999/{folder.name}/.git"]
    (service,) = (s for s in config.JupyterHub.services if s["name"] == "lessons")
    # Nothing but this repository, and to nobody outside.
    command = service["command"]
    assert "--listen=127.0.0.1" in command and "--strict-paths" in command
    assert command[-1] == str(folder / ".git")
    assert service["user"] == "nobody"


needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can ask what another account may do"
)


@needs_root
@pytest.mark.parametrize(
    ("git_user", "change", "words"),
    [
        ("root", "true", "must not be root"),
        ("no-such-account", "true", "is no account"),
        ("nobody", "chown nobody .git/refs", "not to write"),
        ("nobody", "chmod o+w .git/config", "not to write"),
        ("nobody", "chmod 700 .git/objects", "able to read"),
        ("nobody", "chmod 600 .git/HEAD", "able to read"),
        ("nobody", "git branch -qm other", "no branch main"),
        ("nobody", "git rm -qr notebooks && $COMMIT", ""),
        ("nobody", "mkdir solutions && touch solutions/a && $COMMIT", "solutions"),
        (
            "nobody",
            "mkdir -p x/solutions && touch x/solutions/a && $COMMIT "
            "&& git rm -qr x && $COMMIT",
            "solutions",
        ),
    ],
)
def test_lessons_are_served_by_an_account_that_only_reads_them(
    configured, anywhere, git_user, change, words
):
    folder = repository(anywhere, "notebooks/a.ipynb")
    commit = "git add . && git -c user.name=x -c user.email=x@x commit -qm x"
    change = change.replace("$COMMIT", commit)
    subprocess.run(f"umask 022; {change}", shell=True, cwd=folder, check=True)
    if not words:
        configured(CLASS_LESSONS=folder, CLASS_GIT_USER=git_user)
        return
    with pytest.raises(SystemExit, match=words):
        configured(CLASS_LESSONS=folder, CLASS_GIT_USER=git_user)


OPEN = [
    "http://:8000",
    "http://0.0.0.0:8000",
    "0.0.0.0:8000",
    "http://[::]:8000",
    "http://192.0.2.7",
    "https://:443",
    "http://class.example.org",
    "http://127.0.0.1.example.org",
    "http://localhost.example.org:8000",
]


@pytest.mark.parametrize("address", OPEN)
def test_no_public_address_without_tls_unless_somebody_wants_it(
    configured, address, tmp_path
):
    for answer in ("", "no", "0", "true"):
        with pytest.raises(SystemExit, match="CLASS_ALLOW_HTTP=yes"):
            configured(CLASS_ADDRESS=address, CLASS_ALLOW_HTTP=answer)
    assert configured(CLASS_ADDRESS=address, CLASS_ALLOW_HTTP="yes")
    certificate = tmp_path / "cert.pem"
    with pytest.raises(SystemExit, match="cert.pem is no file"):
        configured(CLASS_ADDRESS=address, CLASS_CERTIFICATE=certificate)
    certificate.touch()
    assert configured(CLASS_ADDRESS=address, CLASS_CERTIFICATE=certificate)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:8000",
        "http://127.8.7.6:8000",
        "http://[::1]:8000",
        "http://localhost:8000",
        "http+unix://%2Frun%2Fclass.sock",
    ],
)
def test_an_address_of_this_machine_alone_needs_no_tls(configured, address):
    assert configured(CLASS_ADDRESS=address).JupyterHub.bind_url == address


def test_a_domain_without_tls_is_refused_like_an_address(configured):
    with pytest.raises(SystemExit, match="^CLASS_DOMAIN=http://class.example.org "):
        configured(CLASS_DOMAIN="http://class.example.org")


def resolving(monkeypatch, *names):
    """Let only these names resolve."""

    def look_up(name, port):
        if name not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_without_a_domain_the_hub_says_what_students_share(configured, capsys):
    config = configured()
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "No domain for each student: CLASS_DOMAIN is not set.",
        "No TLS between hub, proxy and servers: CLASS_DOMAIN is not set.",
    ]
    assert "subdomain_host" not in config.JupyterHub
    assert "internal_ssl" not in config.JupyterHub
    assert config.ConfigurableHTTPProxy.api_url.startswith("http://")


@pytest.mark.parametrize("given", ["https://class.test", "class.test", "class.test/"])
def test_each_student_has_a_domain_where_names_resolve(configured, monkeypatch, given):
    resolving(monkeypatch, "class.test", "any-student.class.test")
    config = configured(CLASS_DOMAIN=given)
    assert config.JupyterHub.subdomain_host == "https://class.test"
    assert config.JupyterHub.cookie_host_prefix_enabled is True


@pytest.mark.parametrize(
    ("known", "missing"),
    [([], "class.test"), (["class.test"], "any-student.class.test")],
)
def test_a_domain_that_does_not_resolve_is_named(
    configured, monkeypatch, capsys, known, missing
):
    resolving(monkeypatch, *known)
    config = configured(CLASS_DOMAIN="https://class.test")
    assert "subdomain_host" not in config.JupyterHub
    assert (
        f"No domain for each student: {missing} does not resolve; add a record for "
        "*.class.test to your DNS.\n" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (None, "does not run (No such file or directory)"),
        ("--ssl-key", "does not know --client-ssl-ca"),
        ("--client-ssl-ca", None),
    ],
)
def test_tls_inside_depends_on_the_proxy(
    configured, closed, monkeypatch, capsys, says, reason
):
    pytest.importorskip("certipy", reason="only `make hub` installs it")
    resolving(monkeypatch)
    monkeypatch.setenv("PATH", str(closed))
    proxy = closed / "node_modules/.bin/configurable-http-proxy"
    if says:
        proxy.parent.mkdir(parents=True)
        proxy.write_text(f"#!/bin/sh\necho {says}\n")
        proxy.chmod(0o755)
    config = configured(CLASS_DOMAIN="https://class.test")
    said = capsys.readouterr().err
    if reason:
        assert f"No TLS between hub, proxy and servers: {proxy.name}" in said.replace(
            f"{proxy.parent}/", ""
        )
        assert reason in said and "internal_ssl" not in config.JupyterHub
    else:
        assert "No TLS" not in said
        assert config.JupyterHub.internal_ssl is True
        assert config.JupyterHub.trusted_alt_names == ["DNS:class.test"]
        assert config.ConfigurableHTTPProxy.api_url.startswith("https://")
        assert "--ssl-enabled=True" in command_of(config, "cull-idle")


def test_without_certipy_there_is_no_tls_inside(configured, monkeypatch, capsys):
    resolving(monkeypatch)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "certipy" else found(n)
    )
    config = configured(CLASS_DOMAIN="https://class.test")
    assert "servers: the package certipy is not installed." in capsys.readouterr().err
    assert "internal_ssl" not in config.JupyterHub


@pytest.mark.parametrize("names", [["DNS:class.test"], ["DNS:*.test"], []])
def test_a_certificate_without_the_students_names_gives_them_no_domain(
    configured, monkeypatch, capsys, tmp_path, names
):
    certipy = pytest.importorskip("certipy", reason="only `make hub` installs it")
    maker = certipy.Certipy(store_dir=str(tmp_path / "tls"))
    maker.create_ca("authority")
    maker.create_signed_pair("class", "authority", alt_names=names)
    resolving(monkeypatch, "class.test", "any-student.class.test")
    config = configured(
        CLASS_DOMAIN="https://class.test",
        CLASS_CERTIFICATE=tmp_path / "tls/class/class.crt",
    )
    assert "class.crt is not valid for *.class.test.\n" in capsys.readouterr().err
    assert "subdomain_host" not in config.JupyterHub


@pytest.mark.parametrize("mode", [0o755, 0o711, 0o701, 0o710, 0o750])
def test_solutions_that_students_could_read_stop_the_hub(configured, place, mode):
    # Closed is what pytest makes; this one is open but for the checkout itself.
    checkout = place / secrets.token_hex(4)
    shutil.copytree(
        DEPLOY, checkout / "deploy", ignore=shutil.ignore_patterns("node_*")
    )
    loader = PyFileConfigLoader(CONFIG.name, path=str(checkout / "deploy"))
    checkout.chmod(mode)
    with pytest.raises(SystemExit, match=f"run `chmod 700 {checkout}`"):
        loader.load_config()


def test_a_package_in_the_closed_checkout_stops_the_hub(
    configured, closed, monkeypatch
):
    inside = closed.parent / "course_utils" / "__init__.py"
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: SimpleNamespace(origin=str(inside))
    )
    with pytest.raises(SystemExit, match="CLASS_ENVIRONMENT=/srv/course/env make hub"):
        configured()


def test_lessons_elsewhere_are_fetched_from_there(configured):
    config = configured(CLASS_LESSONS="https://example.org/lessons")
    asked = parse_qs(urlsplit(config.Spawner.default_url).query)
    assert asked["repo"] == ["https://example.org/lessons"]
    assert [s["name"] for s in config.JupyterHub.services] == ["cull-idle"]


def test_a_python_that_students_cannot_start_is_refused_with_a_cure(
    configured, tmp_path, monkeypatch
):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    python = shutil.copy("/bin/true", closed / "python")
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(SystemExit, match="make hub PYTHON="):
        configured()


@long
@pytest.mark.parametrize("number", [1, 12, 30])
def test_everybody_finishes_the_first_lesson(hub, number, capsys):
    import psutil

    free = psutil.virtual_memory().available / 2**20
    if free < number * MB_A_STUDENT:
        pytest.skip(f"{number} students need {number * MB_A_STUDENT:,} MB")
    module = classroom()
    with module.accounts(number, hub.group) as people:
        report = asyncio.run(module.simulate(hub.address, people, FIRST, PATIENCE))
        cells = sum(cell.cell_type == "code" for cell in student(FIRST).cells)
        for account in people:
            path = account.home / "embeddings-course/work" / FIRST.notebook.name
            saved = nbformat.read(path, as_version=4)
            told = "".join(
                output.get("text", "")
                for cell in saved.cells
                if nbgrader(cell).get("grade")
                for output in cell.outputs
            )
            exercises = sum(bool(nbgrader(c).get("solution")) for c in saved.cells)
            assert told.count("✅") == exercises > 0, report.failures
    with capsys.disabled():
        print(f"\n{report.table()}")
    assert report.failures == [], hub.log.read_text()[-3000:]
    assert [trial.cells for trial in report.trials] == [cells] * number
    assert report.worst("data_mb") < limit_mb()
    if os.environ.get("CLASS_MEASURED"):
        module.save(report, Path(os.environ["CLASS_MEASURED"]))


@long
def test_nobody_reaches_what_is_another_students(hub):
    module = classroom()

    async def scene(mary, eve):
        async with browser(hub, mary) as one, browser(hub, eve) as other:
            hers, his = await kernel_of(one), await kernel_of(other)
            await hers.run("secret = 42; open('mine.txt', 'w').write('private')")
            path = (await one.api("GET", "contents/"))["content"]
            assert path
            # By the disk: folder, file, server's runtime files, environment.
            home = str(mary.home)
            for code in (
                f"import os; os.listdir({home!r})",
                f"open({home!r} + '/mine.txt').read()",
                f"import os; os.listdir({home!r} + '/.local/share/jupyter/runtime')",
                "import psutil\n"
                f"for p in psutil.process_iter(['username']):\n"
                f"    if p.info['username'] == {mary.name!r}: p.environ()\n",
            ):
                with pytest.raises(
                    module.Failure, match="PermissionError|AccessDenied"
                ):
                    await his.run(code)
            # By the hub: her server with his cookies, hers as his, her kernel.
            for place in (
                f"/user/{mary.name}/api/contents/mine.txt",
                f"/user/{mary.name}/api/kernels",
                f"/user/{mary.name}/api/kernels/{hers.number}/channels",
                f"/user/{mary.name}/files/mine.txt",
                f"/hub/api/users/{mary.name}",
                "/hub/api/users",
                "/hub/admin",
            ):
                status, text = await other.request("GET", hub.address + place)
                assert status in (403, 404), (place, status)
                assert "private" not in text
            status, _ = await other.request(
                "DELETE",
                f"{hub.address}/hub/api/users/{mary.name}/server",
                place=f"{hub.address}/hub",
            )
            assert status in (403, 404)
            assert await hers.run("assert secret == 42") == []

    with module.accounts(2, hub.group) as (mary, eve):
        asyncio.run(scene(mary, eve))


@long
def test_students_read_lessons_and_package_and_no_solution(hub, checkout, packages):
    module = classroom()
    answers = answers_of(FIRST)
    solved = checkout / "solutions" / FIRST.solution.name
    told = solved.read_text(encoding="utf-8")
    assert answers and all(answer in told for answer in answers)

    async def scene(mary):
        async with browser(hub, mary) as one:
            kernel = await kernel_of(one)
            for path in (
                checkout,
                checkout / "solutions",
                solved,
                checkout / "notebooks",
                checkout / "deploy" / CONFIG.name,
            ):
                with pytest.raises(module.Failure, match="PermissionError"):
                    await kernel.run(f"open({str(path)!r}, 'rb')")
            await kernel.run(
                "import course_utils\n"
                f"assert course_utils.__path__ == [{str(packages / 'course_utils')!r}]"
            )
            # Of all that lies beside the checkout, too, and of what was handed out.
            await kernel.run(
                "import os\n"
                "from pathlib import Path\n"
                "seen = 0\n"
                f"for top in (Path.home(), Path({str(checkout.parent)!r})):\n"
                "    for folder, _, names in os.walk(top):\n"
                "        for path in (Path(folder, name) for name in names):\n"
                "            if path.suffix not in ('.ipynb', '.py', '.md'):\n"
                "                continue\n"
                "            if not os.access(path, os.R_OK):\n"
                "                continue\n"
                "            seen += 1\n"
                "            text = path.read_text(encoding='utf-8', errors='ignore')\n"
                f"            told = sum(answer in text for answer in {answers!r})\n"
                f"            assert told < {len(answers) / 2}, path\n"
                "assert seen > 20, seen"
            )

    with module.accounts(1, hub.group) as (mary,):
        asyncio.run(scene(mary))


@long
def test_the_lessons_are_served_by_an_account_that_cannot_write_them(hub, lessons):
    psutil = classroom().psutil
    served = {}
    for process in psutil.Process(hub.pid).children(recursive=True):
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            command = process.cmdline()
            if command[-1:] == [str(lessons / ".git")] and "--export-all" in command:
                served[process] = command
    assert served
    account = pwd.getpwnam("nobody")
    for process in served:
        assert set(process.uids()) == {account.pw_uid}
        assert set(process.gids()) == {account.pw_gid}
    port = re.search(r"--port=(\d+)", " ".join(served[process]))[1]
    address = f"git://127.0.0.1:{port}/{lessons.name}/.git"
    read = subprocess.run(["git", "ls-remote", address], capture_output=True, text=True)
    assert "refs/heads/main" in read.stdout, read.stderr
    git = ["git", "-C", str(lessons), "push", address, "main:mine"]
    assert subprocess.run(git, capture_output=True).returncode != 0
    for other in (lessons.parent, Path("/"), lessons.parent / "checkout"):
        asked = ["git", "ls-remote", f"git://127.0.0.1:{port}/{other.name}/.git"]
        assert subprocess.run(asked, capture_output=True).returncode != 0
    for path in (lessons / ".git", lessons / ".git/config", lessons / "notebooks"):
        test = ["test", "-w", str(path)]
        as_it = {"user": "nobody", "group": account.pw_gid, "extra_groups": []}
        assert subprocess.run(test, **as_it).returncode == 1


@long
def test_a_hub_that_is_stopped_leaves_nothing_running(start):
    psutil = classroom().psutil
    # As a script starts something in the background.
    within = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
    hub = psutil.Process(start(within=within).pid)
    started = hub.children(recursive=True)
    assert any("--export-all" in process.cmdline() for process in started)
    hub.terminate()
    for _ in range(120):
        if hub.status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.5)
    assert psutil.wait_procs(started, timeout=10)[1] == []


@long
def test_each_student_has_a_domain_and_every_connection_tls(start, certificate, place):
    module = classroom()
    hub = start(tls=certificate, CLASS_IDLE_MINUTES=60)
    assert "No domain" not in hub.log.read_text()
    assert "No TLS" not in hub.log.read_text()
    owned = place / "owned-by-root"
    owned.mkdir(mode=0o755)

    def server_of(account):
        for process in module.processes(account.uid):
            if url := process.environ().get("JUPYTERHUB_SERVICE_URL"):
                return url
        raise AssertionError(f"{account.name} has no server")

    async def scene(mary, eve):
        async with browser(hub, mary) as one, browser(hub, eve) as other:
            # Where JupyterHub itself would hand root's certificates out.
            (eve.home / ".jupyterhub").symlink_to(owned)
            hers, his = await kernel_of(one), await kernel_of(other)
            assert owned.stat().st_uid == 0 and not list(owned.iterdir())
            assert urlsplit(one.own).hostname == f"{mary.name}.{DOMAIN}"
            assert urlsplit(other.own).hostname == f"{eve.name}.{DOMAIN}"
            await hers.run("secret = 42; open('mine.txt', 'w').write('private')")
            for page in ("api/contents/mine.txt", "api/kernels", "files/mine.txt"):
                status, text = await other.request("GET", f"{one.own}/{page}")
                assert status in (403, 404), (page, status)
                assert "private" not in text
            # No cookie of a student's domain counts at the hub's or at another's.
            names = {cookie.key for cookie in other.session.cookie_jar}
            assert any(name.startswith("__Host-jupyterhub-hub") for name in names)
            assert any(name.startswith("__Host-jupyterhub-user") for name in names)
            # Past the proxy: without a certificate, and with his own.
            address = server_of(mary)
            assert address.startswith("https://127.0.0.1:")
            await his.run(
                "import os, ssl, urllib.request\n"
                "def ask(own):\n"
                "    trust = ssl._create_unverified_context()\n"
                "    if own:\n"
                "        env = os.environ\n"
                "        trust.load_cert_chain(env['JUPYTERHUB_SSL_CERTFILE'],\n"
                "                              env['JUPYTERHUB_SSL_KEYFILE'])\n"
                f"    address = {address + 'api'!r}\n"
                "    return urllib.request.urlopen(address, context=trust)\n"
                "for own in (False, True):\n"
                "    try:\n"
                "        ask(own)\n"
                "    except OSError as error:\n"
                "        assert 'ssl' in repr(error).lower(), repr(error)\n"
                "    else:\n"
                "        assert False, own"
            )
            handed = hub.log.with_name(hub.log.stem.replace("hub", "state") + "-tls")
            assert stat.S_IMODE(handed.stat().st_mode) == 0o711
            for path in (handed / mary.name).iterdir():
                with pytest.raises(module.Failure, match="PermissionError"):
                    await his.run(f"open({str(path)!r})")
            assert await hers.run("assert secret == 42") == []
            await one.stop_server()
            await one.start_server()

    with module.accounts(2, hub.group) as (mary, eve):
        asyncio.run(scene(mary, eve))


@long
def test_nobody_writes_the_data_of_all(hub, data):
    module = classroom()

    async def scene(mary):
        async with browser(hub, mary) as one:
            kernel = await kernel_of(one)
            await kernel.run(
                "import os; from pathlib import Path\n"
                "shared = Path(os.environ['COURSE_DATA_SHARED'])\n"
                "some = next(p for p in shared.rglob('*.csv') if p.is_file())\n"
                "assert some.read_bytes()"
            )
            for code in (
                "(shared / 'new').write_text('x')",
                "open(some, 'ab')",
                "some.unlink()",
                "some.chmod(0o666)",
                "(some.parent / 'new').mkdir()",
            ):
                with pytest.raises(module.Failure, match="PermissionError"):
                    await kernel.run(code)

    with module.accounts(1, hub.group) as (mary,):
        asyncio.run(scene(mary))


@long
def test_who_takes_too_much_memory_loses_his_cell_and_nobody_elses(hub):
    module = classroom()

    async def scene(mary, eve):
        async with browser(hub, mary) as one, browser(hub, eve) as other:
            hers, his = await kernel_of(one), await kernel_of(other)
            await hers.run("kept = 42")
            # A little at a time, as lists grow: each piece is written to.
            greedy = (
                "taken = []\n"
                f"for _ in range({2 * limit_mb()} // 64):\n"
                "    taken.append(b'x' * (64 * 2**20))\n"
            )
            with pytest.raises(module.Failure, match="MemoryError|kernel died"):
                await his.run(greedy, "greedy")
            assert await hers.run("assert kept == 42") == []
            # His server goes on, too.
            again = await other.start_kernel()
            assert await again.run("assert 1 + 1 == 2") == []

    with module.accounts(2, hub.group) as (mary, eve):
        asyncio.run(scene(mary, eve))


@long
def test_who_is_not_in_the_group_does_not_get_in(hub):
    module = classroom()

    async def scene(stranger):
        async with browser(hub, stranger) as one:
            with pytest.raises(module.Failure, match="login: status 403"):
                await one.log_in()
        assert module.processes(stranger.uid) == []

    # A member of no group but his own.
    with module.accounts(1, hub.group) as (stranger,):
        subprocess.run(["gpasswd", "--delete", stranger.name, hub.group], check=True)
        asyncio.run(scene(stranger))


@long
def test_a_wrong_password_does_not_get_in(hub):
    module = classroom()

    async def scene(mary):
        wrong = module.Account(mary.name, mary.password + "x")
        async with browser(hub, wrong) as one:
            with pytest.raises(module.Failure):
                await one.log_in()
                await one.start_server()

    with module.accounts(1, hub.group) as (mary,):
        asyncio.run(scene(mary))


@long
def test_new_and_deleted_lessons_arrive_and_a_students_work_is_kept(hub, lessons):
    module = classroom()
    git = ["git", "-C", str(lessons), "-c", "user.name=x", "-c", "user.email=x@x"]
    name = FIRST.notebook.name

    async def scene(mary):
        async with browser(hub, mary) as one:
            kernel = await kernel_of(one)
            await kernel.run(
                "import json; top = 'embeddings-course/'\n"
                f"path = top + 'work/{name}'\n"
                "book = json.load(open(path))\n"
                "book['cells'][3]['source'] = ['my own words']\n"
                "json.dump(book, open(path, 'w'))"
            )
            (lessons / "notebooks" / "news.md").write_text("a new page")
            changed = json.loads((lessons / "notebooks" / name).read_text("utf-8"))
            changed["cells"][0]["source"] += ["\n\nA sentence that is new."]
            (lessons / "notebooks" / name).write_text(json.dumps(changed), "utf-8")
            subprocess.run([*git, "add", "."], check=True)
            subprocess.run([*git, "commit", "-qm", "news"], check=True)
            await kernel.run(
                "import os; gone = 'notebooks/images/onehot.png'\nos.remove(top + gone)"
            )
            assert await one.take_lessons() == "embeddings-course/work"
            await kernel.run(
                "assert 'my own words' in open(path).read()\n"
                "assert 'A sentence that is new.' in open(path).read()\n"
                "assert os.path.exists(top + gone)\n"
                "assert open(top + 'work/news.md').read()\n"
                "import subprocess\n"
                "git = ['git', '-C', top, 'status', '--porcelain']\n"
                "assert subprocess.check_output(git) == b''"
            )
            back = [*git, "checkout", "-q", "HEAD~", "--", "."]
            subprocess.run(back, check=True)
            subprocess.run([*git, "commit", "-qm", "as before"], check=True)

    with module.accounts(1, hub.group) as (mary,):
        asyncio.run(scene(mary))


@long
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_server_at_which_nothing_happens_is_stopped(start, certificate, encrypted):
    module = classroom()
    hub = start(tls=certificate if encrypted else None, CLASS_IDLE_MINUTES=0.2)

    async def scene(mary):
        async with browser(hub, mary) as one:
            await one.log_in()
            await one.start_server()
            await one.take_lessons()
            assert module.processes(mary.uid)
            for _ in range(600):
                if await one.server() is None:
                    break
                await asyncio.sleep(0.5)
            assert await one.server() is None
            assert module.processes(mary.uid) == []
            assert (mary.home / "embeddings-course" / "work").is_dir()

    with module.accounts(1, hub.group) as (mary,):
        asyncio.run(scene(mary))


def limit_mb() -> int:
    """The limit that the shipped configuration sets, in MB."""
    text = CONFIG.read_text(encoding="utf-8")
    return int(re.search(r'"CLASS_MEMORY_MB", "(\d+)"', text)[1])
