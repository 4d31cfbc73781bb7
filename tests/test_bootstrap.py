"""Set-up says what is missing and goes on where it can."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import bootstrap
from course_utils.lessons import ROOT

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


def test_pins_are_those_of_pyproject():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    pins = bootstrap.read_pins()
    for name in ("pip", "torch", "annoy"):
        assert pins[name].startswith(f"{name}==")
    assert pins["torch"] in project["dependencies"]


def test_torch_comes_from_the_cpu_index_where_that_answers(
    monkeypatch, pip_calls, nothing_installed
):
    monkeypatch.setattr(bootstrap.platform, "system", lambda: "Linux")
    monkeypatch.setattr(bootstrap, "reachable", lambda address: True)
    bootstrap.install_torch("torch==2.13.0")
    (call,) = pip_calls
    assert call[-3:] == ("--index-url", bootstrap.TORCH_CPU_INDEX, "torch==2.13.0")


def test_torch_comes_from_the_users_own_index_where_the_other_is_out_of_reach(
    monkeypatch, pip_calls, nothing_installed
):
    monkeypatch.setattr(bootstrap.platform, "system", lambda: "Linux")
    monkeypatch.setattr(bootstrap, "reachable", lambda address: False)
    bootstrap.install_torch("torch==2.13.0")
    assert pip_calls == [("install", "torch==2.13.0")]


def test_torch_is_left_alone_where_it_is_installed(monkeypatch, pip_calls):
    there = subprocess.CompletedProcess([], 0, b"2.13.0+cpu\n", b"")
    monkeypatch.setattr(bootstrap.subprocess, "run", lambda *a, **k: there)
    bootstrap.install_torch("torch==2.13.0")
    assert pip_calls == []


def test_an_address_that_refuses_is_not_reachable():
    assert not bootstrap.reachable("http://127.0.0.1:9/")


def test_without_compiler_and_headers_both_packages_are_named_and_set_up_goes_on(
    monkeypatch, capsys, pip_calls, nothing_installed
):
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    monkeypatch.setattr(
        bootstrap.sysconfig, "get_paths", lambda: {"include": "/nowhere"}
    )
    bootstrap.install_annoy("annoy==1.17.3")
    said = capsys.readouterr().out
    assert "g++" in said and f"python{bootstrap.VERSION}-dev" in said
    assert "make setup" in said
    assert pip_calls == []


def test_with_a_compiler_annoy_is_installed(monkeypatch, pip_calls, nothing_installed):
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: name)
    monkeypatch.setattr(bootstrap.os.path, "exists", lambda path: True)
    bootstrap.install_annoy("annoy==1.17.3")
    assert pip_calls == [("install", "annoy==1.17.3")]


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
