"""Set-up says what is missing and goes on where it can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bootstrap

import pytest


@pytest.fixture
def pip_calls(monkeypatch):
    """Record what would be given to pip, and let it succeed."""
    calls = []
    monkeypatch.setattr(
        bootstrap, "try_pip", lambda *given: calls.append(given) or True
    )
    return calls


@pytest.fixture
def nothing_installed(monkeypatch):
    """Let every question to the environment's Python be answered with failure."""
    gone = subprocess.CompletedProcess([], 1, b"", b"")
    monkeypatch.setattr(bootstrap.subprocess, "run", lambda *a, **k: gone)
    monkeypatch.setattr(bootstrap.subprocess, "call", lambda *a, **k: 1)


def lock_file(call):
    """Name of the lock file that a call of pip installs, digests required."""
    assert call[:4] == ("install", "--require-hashes", "--no-deps", "--requirement")
    return Path(call[4]).name


def test_torch_comes_from_the_cpu_index_where_that_answers(monkeypatch, pip_calls):
    monkeypatch.setattr(bootstrap.platform, "system", lambda: "Linux")
    monkeypatch.setattr(bootstrap, "reachable", lambda address: True)
    bootstrap.install_torch()
    (call,) = pip_calls
    assert lock_file(call) == "torch-cpu.txt"
    assert call[-2:] == ("--index-url", bootstrap.TORCH_CPU_INDEX)


def test_torch_comes_from_the_users_own_index_where_the_other_is_out_of_reach(
    monkeypatch, capsys
):
    monkeypatch.setattr(bootstrap.platform, "system", lambda: "Linux")
    monkeypatch.setattr(bootstrap, "reachable", lambda address: False)
    calls = []
    monkeypatch.setattr(
        bootstrap,
        "try_pip",
        lambda *given: calls.append(lock_file(given)) or len(calls) > 1,
    )
    bootstrap.install_torch()
    assert calls == ["torch-cpu.txt", "torch-gpu.txt"]
    assert "the other one is larger" in capsys.readouterr().out


def test_an_address_that_refuses_is_not_reachable():
    assert not bootstrap.reachable("http://127.0.0.1:9/")


def test_without_npm_it_is_named_and_set_up_goes_on(
    monkeypatch, capsys, nothing_installed
):
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


def test_without_compiler_and_headers_both_packages_are_named_and_set_up_goes_on(
    monkeypatch, capsys, pip_calls, nothing_installed
):
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    monkeypatch.setattr(
        bootstrap.sysconfig, "get_paths", lambda: {"include": "/nowhere"}
    )
    bootstrap.install_annoy()
    said = capsys.readouterr().out
    assert "g++" in said and f"python{bootstrap.VERSION}-dev" in said
    assert "make setup" in said
    assert pip_calls == []


def test_with_a_compiler_annoy_is_installed(monkeypatch, pip_calls, nothing_installed):
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: name)
    monkeypatch.setattr(bootstrap.os.path, "exists", lambda path: True)
    bootstrap.install_annoy()
    (call,) = pip_calls
    assert lock_file(call) == "annoy.txt" and call[-1] == "--no-build-isolation"


def test_an_old_python_says_which_ones_will_do(monkeypatch):
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 8, 1))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match=r"3\.11, 3\.12 or 3\.13.*PYTHON="):
        bootstrap.use_supported_python()


def test_a_shim_that_starts_nothing_is_not_taken_for_a_python(monkeypatch, tmp_path):
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 8, 1))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: str(shim))
    with pytest.raises(SystemExit, match="Install one"):
        bootstrap.use_supported_python()


def test_a_python_without_venv_names_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(bootstrap, "PYTHON", str(tmp_path / "python"))
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit, match=r"apt-get install python3\.\d+-venv"):
        bootstrap.make_venv()


def test_pip_that_fails_ends_set_up_with_one_sentence(monkeypatch):
    monkeypatch.setattr(bootstrap, "try_pip", lambda *given: False)
    with pytest.raises(SystemExit, match="the same command goes on"):
        bootstrap.pip("install", "nothing")


def test_an_unknown_purpose_is_refused(monkeypatch):
    monkeypatch.setattr(bootstrap.sys, "argv", ["bootstrap.py", "play"])
    with pytest.raises(SystemExit, match="lab, test, book"):
        bootstrap.main()
