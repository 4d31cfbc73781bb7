"""JupyterLab gets settings from the course, and keeps those of its user."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from course_tools.lab_settings import CONFIG, SHARE, for_lab, install

import pytest

ASK = """
import json
from jupyterlab.labapp import LabApp
from jupyterlab_server.config import get_page_config
from jupyterlab_server.settings_utils import _get_overrides
from jupyter_core.paths import jupyter_path

app = LabApp()
app.load_config_file()
page = get_page_config(jupyter_path("labextensions"))
print(json.dumps([page, _get_overrides("")[0]]))
"""
THEIR_SETTING = {"@jupyterlab/apputils-extension:themes": {"theme": "JupyterLab Dark"}}


def ask(environment):
    ran = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture
def theirs(tmp_path):
    """An environment whose user has settings of their own."""
    folder = tmp_path / "theirs"
    (folder / "labconfig").mkdir(parents=True)
    overrides = folder / "labconfig" / "default_setting_overrides.json"
    overrides.write_text(json.dumps(THEIR_SETTING))
    page = {"disabledExtensions": {"theirs": True}}
    (folder / "labconfig" / "page_config.json").write_text(json.dumps(page))
    return {**os.environ, "JUPYTER_CONFIG_DIR": str(folder)}


def test_lab_has_the_courses_settings_beside_the_users_own(theirs, tmp_path):
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words, variables = for_lab(tmp_path, theirs)
    assert words == [f"--ServerApp.root_dir={tmp_path}"]
    page, overrides = ask(theirs | variables)
    assert overrides.items() >= THEIR_SETTING.items()
    news = overrides["@jupyterlab/apputils-extension:notification"]
    assert news == {"fetchNews": "false", "checkForUpdates": False}
    assert page["courseFirstPage"] == "00_start_here.ipynb"
    assert "course-lab" in {one["name"] for one in page["federated_extensions"]}
    off = {"@jupyter/nbgrader", "nbdime-jupyterlab", "jupyterlab-jupytext"}
    assert off | {"theirs"} <= set(page["disabledExtensions"])
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_without_the_course_jupyterlab_is_the_users_own(theirs):
    page, overrides = ask(theirs)
    assert "courseFirstPage" not in page
    assert list(overrides) == list(THEIR_SETTING)


def test_layers_that_a_user_has_set_come_after_the_courses(tmp_path):
    given = {"JUPYTER_PATH": "a", "JUPYTER_CONFIG_PATH": "b"}
    _, variables = for_lab(tmp_path, given)
    assert variables == {
        "JUPYTER_PATH": os.pathsep.join([str(SHARE), "a"]),
        "JUPYTER_CONFIG_PATH": os.pathsep.join([str(CONFIG), "b"]),
    }
    _, variables = for_lab(tmp_path, {})
    assert variables == {"JUPYTER_PATH": str(SHARE), "JUPYTER_CONFIG_PATH": str(CONFIG)}


def test_an_image_gets_the_same_files(tmp_path):
    install(tmp_path)
    for layer, place in ((CONFIG, "etc/jupyter"), (SHARE, "share/jupyter")):
        files = [path for path in layer.rglob("*") if path.is_file()]
        assert files
        for path in files:
            copy = tmp_path / place / path.relative_to(layer)
            assert copy.read_bytes() == path.read_bytes()


def test_the_servers_parts_of_the_buttons_are_off():
    config = json.loads((CONFIG / "jupyter_server_config.json").read_text())
    off = config["ServerApp"]["jpserver_extensions"]
    assert set(off.values()) == {False}
    assert {name.partition(".")[0] for name in off} == {
        "jupyterlab_jupytext",
        "nbdime",
        "nbgrader",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="one system is enough")
def test_an_export_from_the_terminal_uses_the_courses_template(tmp_path):
    (tmp_path / "page.ipynb").write_text(
        json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    _, variables = for_lab(tmp_path)
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "page.ipynb"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, **variables}, check=True)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "--jp-cell-prompt-not-active-opacity: 1" in page
