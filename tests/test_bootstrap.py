"""Set-up says what is missing, goes on where it can, and heeds what pip is told."""

from __future__ import annotations

import functools
import hashlib
import http.server
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import bootstrap

import pytest


class Recorder(bootstrap.Installer):
    """An installer that notes what it would run, and answers as it is told."""

    def __init__(self, uv="uv", answers=()):
        self.python = "python"
        self.uv = uv
        self.settings = []
        self.constraints = []
        self.calls = []
        self.answers = iter(answers)
        self.absent = set()

    def try_once(self, *arguments, index=None):
        self.calls.append((bool(self.uv), lock_file(arguments), index))
        return next(self.answers, True)

    def offers(self, name, index=None):
        return (name, index) not in self.absent

    def with_pip(self):
        return self.python


def lock_file(arguments):
    """Name of the lock file that a call installs, digests required."""
    assert arguments[:3] == ("--require-hashes", "--no-deps", "--requirement")
    return Path(arguments[3]).name


@pytest.fixture
def nothing_installed(monkeypatch):
    """Let every question to the environment's Python be answered with failure."""
    monkeypatch.setattr(bootstrap, "quiet", lambda command: False)


@pytest.fixture
def on(monkeypatch):
    """Let set-up believe that it runs on another system."""

    def change(system, machine, libc=("glibc", "2.36"), mac="15.1", build="win-amd64"):
        monkeypatch.setattr(bootstrap.platform, "system", lambda: system)
        monkeypatch.setattr(bootstrap.platform, "machine", lambda: machine)
        monkeypatch.setattr(bootstrap.platform, "libc_ver", lambda: libc)
        monkeypatch.setattr(bootstrap.platform, "mac_ver", lambda: (mac, (), machine))
        monkeypatch.setattr(bootstrap.sysconfig, "get_platform", lambda: build)
        monkeypatch.setattr(bootstrap, "WINDOWS", system == "Windows")

    return change


# --- torch --------------------------------------------------------------------


def test_torch_comes_from_the_cpu_index_where_that_answers(monkeypatch, on):
    on("Linux", "x86_64")
    monkeypatch.setattr(bootstrap, "reachable", lambda address: True)
    installer = Recorder()
    bootstrap.install_torch(installer)
    assert installer.calls == [(True, "torch-cpu.txt", bootstrap.TORCH_CPU_INDEX)]


def test_torch_comes_from_the_users_own_index_where_the_other_is_out_of_reach(
    monkeypatch, on, capsys
):
    on("Linux", "x86_64")
    monkeypatch.setattr(bootstrap, "reachable", lambda address: False)
    installer = Recorder()
    bootstrap.install_torch(installer)
    assert installer.calls == [(True, "torch-cpu.txt", None)]
    installer = Recorder()
    installer.absent = {("torch-cpu", None)}
    bootstrap.install_torch(installer)
    assert installer.calls == [(True, "torch-gpu.txt", None)]
    assert "the other one is larger" in capsys.readouterr().out


@pytest.mark.parametrize(("system", "machine"), [("Darwin", "arm64"), ("Windows", "")])
def test_elsewhere_the_package_index_has_a_cpu_build(monkeypatch, on, system, machine):
    on(system, machine)
    monkeypatch.setattr(bootstrap, "reachable", pytest.fail)
    installer = Recorder()
    bootstrap.install_torch(installer)
    assert installer.calls == [(True, "torch-cpu.txt", None)]
    with pytest.raises(SystemExit, match="the same command goes on"):
        bootstrap.install_torch(Recorder(answers=[False, False]))


def test_an_address_that_refuses_is_not_reachable():
    assert not bootstrap.reachable("http://127.0.0.1:9/")


# --- the machine --------------------------------------------------------------


@pytest.mark.parametrize(
    "system",
    [
        {"system": "Linux", "machine": "x86_64", "libc": ("glibc", "2.28")},
        {"system": "Linux", "machine": "aarch64"},
        {"system": "Darwin", "machine": "arm64", "mac": "14.0"},
        {"system": "Windows", "machine": "AMD64"},
    ],
)
def test_a_supported_system_is_accepted(on, system):
    on(**system)
    assert bootstrap.unsupported() is None


@pytest.mark.parametrize(
    ("system", "named"),
    [
        ({"system": "Darwin", "machine": "x86_64"}, "Intel"),
        ({"system": "Darwin", "machine": "arm64", "mac": "13.6"}, "macOS 13.6"),
        ({"system": "Windows", "machine": "ARM64", "build": "win-arm64"}, "win-arm64"),
        ({"system": "Linux", "machine": "x86_64", "libc": ("", "")}, "without glibc"),
        ({"system": "Linux", "machine": "x86_64", "libc": ("glibc", "2.27")}, "2.27"),
        ({"system": "Linux", "machine": "riscv64"}, "riscv64"),
        ({"system": "FreeBSD", "machine": "amd64"}, "FreeBSD"),
    ],
)
def test_a_system_without_packages_is_named_in_one_sentence(on, system, named):
    on(**system)
    with pytest.raises(SystemExit, match=rf"{named}.*no builds.*The course runs on"):
        bootstrap.check_system()


def test_a_32_bit_python_is_refused(monkeypatch, on):
    on("Windows", "AMD64")
    monkeypatch.setattr(bootstrap.sys, "maxsize", 2**31 - 1)
    assert bootstrap.unsupported() == "a 32-bit Python"


def test_an_old_python_says_which_ones_will_do(monkeypatch, on):
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 8, 1))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    on("Linux", "x86_64")
    with pytest.raises(SystemExit, match=r"3\.11, 3\.12 or 3\.13.*PYTHON="):
        bootstrap.use_supported_python()
    on("Windows", "AMD64")
    with pytest.raises(SystemExit, match=r"py -3\.12 bootstrap.py lab"):
        bootstrap.use_supported_python()


def test_a_shim_that_starts_nothing_is_not_taken_for_a_python(monkeypatch, tmp_path):
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 8, 1))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: str(shim))
    with pytest.raises(SystemExit, match="Install one"):
        bootstrap.use_supported_python()


def test_windows_finds_another_python_by_its_launcher(monkeypatch):
    calls = []
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 14, 0))
    monkeypatch.setattr(bootstrap.sys, "argv", ["bootstrap.py", "lab"])
    monkeypatch.setattr(
        bootstrap.shutil, "which", lambda name: name if name == "py" else None
    )
    monkeypatch.setattr(bootstrap, "quiet", lambda command: command[1] == "-3.12")
    monkeypatch.setattr(
        bootstrap, "call_in_front", lambda command: calls.append(command) or 3
    )
    with pytest.raises(SystemExit, match="3"):
        bootstrap.use_supported_python()
    assert calls == [["py", "-3.12", "bootstrap.py", "lab"]]


def test_a_python_without_venv_names_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(bootstrap, "VENV", str(tmp_path / "venv"))
    monkeypatch.setitem(sys.modules, "venv", None)
    with pytest.raises(SystemExit, match=r"apt-get install python3\.\d+-venv"):
        bootstrap.make_venv()


def test_a_python_without_pip_names_the_package(nothing_installed):
    installer = Recorder()
    with pytest.raises(SystemExit, match=r"apt-get install python3\.\d+-venv"):
        bootstrap.Installer.with_pip(installer)


def test_an_environment_has_its_programs_where_the_system_wants_them(monkeypatch):
    monkeypatch.setattr(bootstrap, "VENV", "venv")
    monkeypatch.setattr(bootstrap, "WINDOWS", False)
    assert bootstrap.program("course") == os.path.join("venv", "bin", "course")
    monkeypatch.setattr(bootstrap, "WINDOWS", True)
    assert bootstrap.program("course") == os.path.join("venv", "Scripts", "course.exe")


def started_for(purpose, monkeypatch, **environment):
    """A fresh copy of the module, as `bootstrap.py purpose` has it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", purpose])
    spec = importlib.util.spec_from_file_location("fresh", bootstrap.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("purpose", bootstrap.PURPOSES)
def test_only_a_class_has_its_environment_elsewhere(monkeypatch, tmp_path, purpose):
    module = started_for(purpose, monkeypatch, CLASS_ENVIRONMENT=tmp_path)
    own = os.path.join(module.HERE, ".venv")
    assert module.VENV == (str(tmp_path) if purpose == "hub" else own)
    assert started_for(purpose, monkeypatch, CLASS_ENVIRONMENT="").VENV == own


@pytest.mark.parametrize(
    ("folder", "way"), [("x", "--force-reinstall"), ("", "--editable")]
)
def test_a_class_gets_a_copy_of_the_package(monkeypatch, tmp_path, folder, way):
    folder = folder and tmp_path / folder
    module = started_for("hub", monkeypatch, CLASS_ENVIRONMENT=folder)
    asked = []

    class Noted(MakesNothing):
        building = None

        def __init__(self, *_):
            pass

        def run(self, *arguments):
            asked.append(arguments)
            return True

        def __getattr__(self, name):
            return lambda *_: None

    monkeypatch.setattr(module, "Installer", Noted)
    monkeypatch.setattr(module, "Annoy", Noted)
    for name in ("install_torch", "install_proxy", "spell_path_in_ascii"):
        monkeypatch.setattr(module, name, lambda *_: None)
    module.set_up("python", "hub", "tools")
    assert [arguments[-2:] for arguments in asked] == [(way, module.HERE)]


def test_a_class_does_not_clear_a_folder_that_holds_something_else(
    monkeypatch, tmp_path
):
    (tmp_path / "thesis.txt").touch()
    module = started_for("hub", monkeypatch, CLASS_ENVIRONMENT=tmp_path)
    with pytest.raises(SystemExit, match="holds something else; name a new folder"):
        module.make_venv()
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize("windows", [False, True])
def test_windows_gets_no_symbolic_link(monkeypatch, tmp_path, windows):
    import venv

    options = []
    monkeypatch.setattr(bootstrap, "VENV", str(tmp_path / "venv"))
    monkeypatch.setattr(bootstrap, "WINDOWS", windows)
    monkeypatch.setattr(
        venv, "EnvBuilder", lambda **given: options.append(given) or MakesNothing()
    )
    bootstrap.make_venv()
    assert options == [{"clear": True, "symlinks": not windows}]


class MakesNothing:
    def create(self, folder):
        pass


def test_here_wants_an_active_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(bootstrap.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(bootstrap.sys, "base_prefix", str(tmp_path))
    with pytest.raises(SystemExit, match="none is active"):
        bootstrap.check_active()
    (tmp_path / "conda-meta").mkdir()
    bootstrap.check_active()


def test_an_unknown_purpose_is_refused(monkeypatch):
    monkeypatch.setattr(bootstrap.sys, "argv", ["bootstrap.py", "play"])
    with pytest.raises(SystemExit, match="lab, test, book"):
        bootstrap.main()


# --- start --------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose environment is ready, and the commands that `start` runs."""
    calls = []
    monkeypatch.setattr(bootstrap, "HERE", str(tmp_path))
    monkeypatch.setattr(bootstrap, "VENV", str(tmp_path / ".venv"))
    monkeypatch.setattr(bootstrap, "REQUIREMENTS", str(tmp_path / "requirements"))
    monkeypatch.setattr(bootstrap, "__file__", str(tmp_path / "bootstrap.py"))
    for name in ("bootstrap.py", "pyproject.toml", "requirements/lab.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1_000, 1_000))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "ready-lab").touch()
    monkeypatch.setattr(
        bootstrap.subprocess, "call", lambda command: calls.append(command) or 0
    )
    monkeypatch.setattr(bootstrap.signal, "signal", lambda *given: None)
    return tmp_path, calls


def test_start_opens_the_lessons_and_hands_arguments_on(checkout):
    folder, calls = checkout
    assert bootstrap.start(["--no-browser", "--port", "8899"]) == 0
    course = bootstrap.program("course")
    assert calls == [[course, "lab", "--no-browser", "--port", "8899"]]


@pytest.mark.parametrize(
    "changed", ["bootstrap.py", "pyproject.toml", "requirements/lab.txt"]
)
def test_start_sets_up_again_where_make_would(checkout, changed):
    folder, calls = checkout
    later = os.path.getmtime(folder / ".venv" / "ready-lab") + 10
    os.utime(folder / changed, (later, later))
    bootstrap.start([])
    setting_up = [sys.executable, str(folder / "bootstrap.py"), "lab"]
    assert calls == [setting_up, [bootstrap.program("course"), "lab"]]


def test_start_opens_nothing_that_could_not_be_set_up(checkout, monkeypatch):
    folder, calls = checkout
    (folder / ".venv" / "ready-lab").unlink()
    monkeypatch.setattr(bootstrap.subprocess, "call", lambda command: 7)
    assert bootstrap.start([]) == 7


# --- annoy and the proxy ------------------------------------------------------


def test_without_compiler_and_headers_both_packages_are_named_and_set_up_goes_on(
    monkeypatch, capsys, on, nothing_installed
):
    on("Linux", "x86_64")
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    monkeypatch.setattr(
        bootstrap.sysconfig, "get_paths", lambda: {"include": "/nowhere"}
    )
    installer = Recorder()
    annoy = bootstrap.Annoy(installer)
    annoy.install()
    annoy.end()
    said = capsys.readouterr().out
    assert "g++" in said and f"python{bootstrap.VERSION}-dev" in said
    assert said.rstrip().endswith("then: make setup")
    assert installer.calls == []


def test_the_command_to_set_up_again_is_the_one_that_was_used(monkeypatch, on):
    on("Windows", "AMD64")
    assert bootstrap.again() == "py bootstrap.py lab"
    monkeypatch.setattr(bootstrap.sys, "argv", ["bootstrap.py", "here"])
    assert bootstrap.again() == "python bootstrap.py here"


def test_windows_names_the_compiler_that_builds_for_it(
    monkeypatch, on, nothing_installed
):
    on("Windows", "AMD64")
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    assert "Microsoft's C++ Build Tools" in bootstrap.Annoy(Recorder()).missing()
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: name)
    assert "Microsoft" not in "".join(bootstrap.Annoy(Recorder(uv=None)).missing())


def test_with_a_compiler_annoy_is_installed(monkeypatch, nothing_installed):
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: name)
    monkeypatch.setattr(bootstrap.os.path, "exists", lambda path: True)
    installer = Recorder(uv=None)
    bootstrap.Annoy(installer).install()
    assert installer.calls == [(False, "annoy.txt", None)]


def test_without_npm_it_is_named_and_set_up_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    bootstrap.install_proxy()
    said = capsys.readouterr().out
    assert "npm (Debian, Ubuntu: npm)" in said and "make hub" in said


def test_the_proxy_comes_from_its_lock_file_and_below_deploy(monkeypatch, capsys):
    calls = []

    def call(command, cwd):
        calls.append((command[1], Path(cwd).name))
        return 0

    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(bootstrap.subprocess, "call", call)
    bootstrap.install_proxy()
    assert calls == [("ci", "deploy")]
    assert capsys.readouterr().out == ""


# --- pip's settings -----------------------------------------------------------


def settings(pip, version=(23, 2), environment=None):
    return bootstrap.uv_settings(pip, version, environment or {})


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    monkeypatch.setattr(bootstrap, "getproxies", dict)


def pip_says(monkeypatch, folder, configuration="", **environment):
    """What pip itself says of a configuration file and of its environment."""
    for name in list(os.environ):
        if name.upper().startswith("PIP_"):
            monkeypatch.delenv(name)
    file = folder / "pip.conf"
    file.write_text(configuration)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    listing = bootstrap.ask([sys.executable, "-m", "pip", "config", "list"])
    return bootstrap.read_settings(listing)


def test_settings_come_from_the_file_its_install_section_and_the_environment(
    monkeypatch, tmp_path
):
    file = (
        "[global]\nindex-url = https://one.example/simple\ntimeout = 7\nretries = 1\n"
    )
    file += (
        "extra-index-url =\n  https://two.example/simple\n  https://three.example/s\n"
    )
    file += "[install]\ntimeout = 8\n[download]\nretries = 2\n"
    found = pip_says(monkeypatch, tmp_path, file, PIP_DEFAULT_TIMEOUT="9", PIP_CERT="")
    assert found["index-url"] == "https://one.example/simple"
    assert found["extra-index-url"].split() == [
        "https://two.example/simple",
        "https://three.example/s",
    ]
    assert found["timeout"] == "8" and found["retries"] == "1"
    assert found["default-timeout"] == "9"
    assert found.get("cert") != ""
    found = pip_says(monkeypatch, tmp_path, file, PIP_INDEX_URL="https://o'e.example/s")
    assert found["index-url"] == "https://o'e.example/s"


@pytest.mark.parametrize(
    ("pip", "variables"),
    [
        ({"index-url": "https://me:pw@one.example/simple"}, {"UV_DEFAULT_INDEX"}),
        (
            {"extra-index-url": "https://a.example/s\nfile:///c:/simple"},
            {"UV_INDEX": "https://a.example/s file:///c:/simple"},
        ),
        ({"cert": "/etc/mine.pem"}, {"SSL_CERT_FILE": "/etc/mine.pem"}),
        ({"cert": "C:\\Own certs\\ca.pem"}, {"SSL_CERT_FILE": "C:\\Own certs\\ca.pem"}),
        ({"client-cert": "/etc/me.pem"}, {"SSL_CLIENT_CERT": "/etc/me.pem"}),
        ({"timeout": "2.5"}, {"UV_HTTP_TIMEOUT": "2"}),
        ({"default-timeout": "180"}, {"UV_HTTP_TIMEOUT": "180"}),
        ({"retries": "0"}, {"UV_HTTP_RETRIES": "0"}),
    ],
)
def test_a_setting_becomes_a_variable_of_uv(pip, variables):
    if isinstance(variables, set):
        variables = dict.fromkeys(variables, next(iter(pip.values())))
    assert settings(pip) == ([], variables)


@pytest.mark.parametrize(
    ("pip", "arguments"),
    [
        (
            {"find-links": "https://one.example/w https://two.example/w"},
            ["--find-links", "https://one.example/w"]
            + ["--find-links", "https://two.example/w"],
        ),
        ({"find-links": "/no/such/folder"}, []),
        ({"no-index": "yes"}, ["--no-index"]),
        ({"no-index": "0"}, []),
        ({"no-cache-dir": "1"}, ["--no-cache"]),
        ({"only-binary": ":all:"}, ["--only-binary", ":all:"]),
        ({"no-binary": "a,b"}, ["--no-binary", "a", "--no-binary", "b"]),
        (
            {"trusted-host": "one.example two.example:8080"},
            ["--allow-insecure-host", "one.example"]
            + ["--allow-insecure-host", "two.example:8080"],
        ),
        ({"keyring-provider": "subprocess"}, ["--keyring-provider", "subprocess"]),
        ({"progress-bar": "off"}, []),
    ],
)
def test_a_setting_becomes_an_argument_of_uv(pip, arguments):
    assert settings(pip) == (arguments, {})


def test_a_folder_of_wheels_may_lie_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("USERPROFILE" if bootstrap.WINDOWS else "HOME", str(tmp_path))
    (tmp_path / "wheels").mkdir()
    found, _ = settings({"find-links": "~/wheels"})
    assert found[0] == "--find-links" and Path(found[1]) == tmp_path / "wheels"


def test_certificates_come_from_where_pip_takes_them(tmp_path):
    assert settings({"cert": str(tmp_path)})[1] == {"SSL_CERT_DIR": str(tmp_path)}
    bundle = {"REQUESTS_CA_BUNDLE": "/etc/ours.pem"}
    assert settings({}, environment=bundle)[1] == {"SSL_CERT_FILE": "/etc/ours.pem"}
    found = settings({"cert": "/etc/mine.pem"}, environment=bundle)[1]
    assert found == {"SSL_CERT_FILE": "/etc/mine.pem"}
    assert settings({}, version=(24, 1))[1] == {}
    assert settings({}, version=(24, 2))[1] == {"UV_SYSTEM_CERTS": "true"}
    assert settings({}, version=(25, 0))[1] == {"UV_SYSTEM_CERTS": "true"}


def test_a_proxy_comes_from_pip_or_else_from_the_system(monkeypatch):
    names = {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"}
    found = settings({"proxy": "proxy.example:3128"})[1]
    assert found == dict.fromkeys(names, "http://proxy.example:3128")
    monkeypatch.setattr(
        bootstrap, "getproxies", lambda: {"https": "http://system.example:1"}
    )
    assert settings({})[1] == {
        "HTTPS_PROXY": "http://system.example:1",
        "https_proxy": "http://system.example:1",
    }
    found = settings({"proxy": "socks5://proxy.example:1"})[1]
    assert found == dict.fromkeys(names, "socks5://proxy.example:1")


# --- a real uv ----------------------------------------------------------------

TOY = "toy_for_set_up"


@pytest.fixture
def wheel(tmp_path):
    """A small wheel, in a folder that can be served as a package index."""
    folder = tmp_path / "simple" / TOY.replace("_", "-")
    folder.mkdir(parents=True)
    path = folder / f"{TOY}-1.0-py3-none-any.whl"
    files = {
        f"{TOY}.py": "answer = 42\n",
        f"{TOY}-1.0.dist-info/METADATA": f"Name: {TOY}\nVersion: 1.0\n",
        f"{TOY}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in files)
    files[f"{TOY}-1.0.dist-info/RECORD"] = record
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    (folder / "index.html").write_text(f'<a href="{path.name}">{path.name}</a>')
    return path


@pytest.fixture
def loopback(wheel):
    """The address of an index that has the wheel."""
    handler = functools.partial(Silent, directory=wheel.parents[2])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    thread.join()
    server.server_close()


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def installer(tmp_path, monkeypatch, wheel):
    """Make an installer into a new environment by the settings that pip is given."""
    kept = dict(os.environ)
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    monkeypatch.setattr(bootstrap, "REQUIREMENTS", str(tmp_path))
    monkeypatch.setattr(bootstrap, "get_uv", lambda pip, tools: uv)
    write_lock(tmp_path, hashlib.sha256(wheel.read_bytes()).hexdigest())

    def make(**settings):
        import venv

        for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
            del os.environ[name]
        os.environ["UV_CACHE_DIR"] = str(tmp_path / "cache")
        os.environ.update({"PIP_CONFIG_FILE": os.devnull} | settings)
        folder = tmp_path / "Ümgebung mit Leerzeichen"
        venv.EnvBuilder(symlinks=not bootstrap.WINDOWS).create(folder)
        monkeypatch.setattr(bootstrap, "VENV", str(folder))
        return bootstrap.Installer(bootstrap.program("python"), str(tmp_path))

    yield make
    os.environ.clear()
    os.environ.update(kept)


def write_lock(folder, digest):
    (folder / "toy.txt").write_text(
        f"# Its digest:\n{TOY}==1.0 --hash=sha256:{digest}\n"
    )


def answer(installer):
    """What the environment's Python finds in the toy package."""
    return bootstrap.ask(
        [installer.python, "-c", f"import {TOY} as t; print(t.answer)"]
    )


def test_uv_installs_from_the_index_that_pip_is_told_of(installer, loopback):
    one = installer(PIP_INDEX_URL=loopback)
    assert one.run(*bootstrap.locked("toy")) and one.uv
    assert answer(one) == "42"


def test_uv_installs_from_the_configuration_file_of_pip(installer, loopback, tmp_path):
    file = tmp_path / "pip.ini"
    file.write_text(
        "[global]\nindex-url = http://127.0.0.1:9/simple\n"
        f"[install]\nindex-url = {loopback}\n"
    )
    one = installer(PIP_CONFIG_FILE=str(file))
    assert one.run(*bootstrap.locked("toy")) and one.uv
    assert answer(one) == "42"


def test_uv_looks_in_every_index_for_a_locked_version(installer, loopback, tmp_path):
    newer = tmp_path / "other" / TOY.replace("_", "-")
    newer.mkdir(parents=True)
    (newer / "index.html").write_text(f'<a href="{TOY}-2.0-py3-none-any.whl">2</a>')
    one = installer(PIP_INDEX_URL=newer.parent.as_uri(), PIP_EXTRA_INDEX_URL=loopback)
    assert one.run(*bootstrap.locked("toy")) and one.uv


def test_uv_installs_from_a_folder_where_no_index_may_be_asked(installer, wheel):
    one = installer(PIP_NO_INDEX="1", PIP_FIND_LINKS=f"/no/such/folder {wheel.parent}")
    assert one.offers("toy")
    assert one.run(*bootstrap.locked("toy")) and one.uv
    assert answer(one) == "42"


def test_a_file_with_another_digest_is_refused_by_uv_and_by_pip(
    installer, wheel, tmp_path, capfd
):
    write_lock(tmp_path, "0" * 64)
    one = installer(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheel.parent))
    assert not one.run(*bootstrap.locked("toy"))
    assert one.uv is None
    told = capfd.readouterr()
    assert "uv could not finish; pip goes on" in told.out
    assert told.err.lower().count("hash") >= 2
    assert answer(one) == ""


def test_what_pips_constraints_forbid_is_not_installed(installer, wheel, tmp_path):
    constraints = tmp_path / "constraints.txt"
    where = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent)}
    constraints.write_text(f"{TOY}<1\n")
    one = installer(**where, PIP_CONSTRAINT=str(constraints))
    assert not one.run(*bootstrap.locked("toy"))
    assert answer(one) == ""
    constraints.write_text(f"{TOY}>=1\n")
    one = installer(**where, PIP_CONSTRAINT=str(constraints))
    assert one.run(*bootstrap.locked("toy")) and one.uv
    assert answer(one) == "42"


def test_where_uv_cannot_run_pip_installs_the_same(
    installer, wheel, tmp_path, monkeypatch, capfd
):
    broken = tmp_path / "uv"
    broken.write_text("a program for another system")
    broken.chmod(0o755)
    monkeypatch.setattr(bootstrap, "get_uv", lambda pip, tools: str(broken))
    one = installer(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheel.parent))
    assert one.run(*bootstrap.locked("toy"))
    assert "uv could not finish; pip goes on" in capfd.readouterr().out
    assert answer(one) == "42"
    assert list(tmp_path.rglob(f"site-packages/__pycache__/{TOY}.*.pyc"))


def test_where_uv_cannot_be_had_set_up_says_so_and_takes_pip(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(bootstrap, "get_uv", lambda pip, tools: None)
    one = bootstrap.Installer(sys.executable, str(tmp_path))
    assert one.uv is None
    assert "uv cannot be had; pip installs instead" in capsys.readouterr().out


def test_uv_itself_comes_by_its_digest(tmp_path, monkeypatch, capfd):
    lock = (Path(bootstrap.REQUIREMENTS) / "uv.txt").read_text(encoding="utf-8")
    wrong = re.sub("sha256:.*", "sha256:" + "0" * 64, lock.split(" \\\n    ")[1])
    pin = re.search("uv==.*?(?= )", lock)[0]
    (tmp_path / "uv.txt").write_text(f"{pin} {wrong}\n")
    monkeypatch.setattr(bootstrap, "REQUIREMENTS", str(tmp_path))
    pip = [sys.executable, "-m", "pip"]
    assert bootstrap.get_uv(pip, str(tmp_path / "tools")) is None
    (tmp_path / "uv.txt").write_text(lock)
    path = bootstrap.get_uv(pip, str(tmp_path / "tools"))
    assert bootstrap.ask([path, "--version"]).startswith(pin.replace("==", " "))
    # It stays: nothing is fetched again.
    assert bootstrap.get_uv(["false"], str(tmp_path / "tools")) == path


@pytest.mark.parametrize("package", ["tensorflow", "torch"])
def test_the_first_import_finds_bytecode(package, monkeypatch, tmp_path):
    (tmp_path / package / "tests").mkdir(parents=True)
    (tmp_path / package / "tests" / "long.py").touch()
    (tmp_path / package / "graph.py").touch()
    monkeypatch.setattr(bootstrap, "ask", lambda command: str(tmp_path))
    one = Recorder()
    one.python = sys.executable
    one.start_compiling().wait()
    compiled = {path.name.split(".")[0] for path in tmp_path.rglob("*.pyc")}
    assert compiled == {"graph"}


def test_files_are_linked_where_they_can_be(tmp_path, monkeypatch):
    python = str(tmp_path / "bin" / "python")
    assert bootstrap.one_disk(str(tmp_path / "not" / "yet"), python)
    (tmp_path / "mounted").mkdir()
    disks = {str(tmp_path): 1, str(tmp_path / "mounted"): 2}
    monkeypatch.setattr(
        bootstrap.os, "stat", lambda path: SimpleNamespace(st_dev=disks[path])
    )
    monkeypatch.setattr(bootstrap.os.path, "exists", lambda path: path in disks)
    assert not bootstrap.one_disk(str(tmp_path / "mounted" / "cache"), python)


def test_a_folder_that_is_not_ascii_is_found_in_any_locale(tmp_path, monkeypatch):
    here = tmp_path / "kürs ü"
    (here / "course_utils").mkdir(parents=True)
    (here / "course_utils" / "__init__.py").write_text("")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", here / ".venv"])
    monkeypatch.setattr(bootstrap, "HERE", str(here))
    python = here / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    (packages,) = (here / ".venv").rglob("site-packages")
    named = packages / "_editable_impl_course_utils.pth"
    named.write_text(str(here), encoding="utf-8")
    bootstrap.spell_path_in_ascii(str(python))
    assert named.read_text(encoding="ascii").strip()
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [python, "-c", "import course_utils"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, **plain}, check=True)
