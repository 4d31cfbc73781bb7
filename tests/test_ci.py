"""What CI is told to do exists: actions that still run, commands, tests, systems."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import PurePosixPath, PureWindowsPath

import bootstrap
from course_tools.cli import _parser
from course_tools.lessons import ROOT

import pytest
import yaml

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# The first major version of each that runs on Node 24, or needs none: GitHub took
# Node 20 away in September 2026.
RUNS_SINCE = {
    "actions/cache": 5,
    "actions/checkout": 5,
    "actions/deploy-pages": 5,
    "actions/setup-python": 6,
    "actions/upload-artifact": 6,
    "actions/upload-pages-artifact": 5,
}


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs() -> Iterator[tuple[str, dict]]:
    for path in WORKFLOWS:
        for name, job in read(path)["jobs"].items():
            yield f"{path.stem}: {name}", job


def steps() -> Iterator[dict]:
    for _, job in jobs():
        yield from job["steps"]
    for path in ACTIONS:
        yield from read(path)["runs"]["steps"]


def commands() -> Iterator[list[str]]:
    """Each command that a step runs, in words, its program's folders left out."""
    for step in steps():
        text = step.get("run", "").replace("\\\n", " ")
        for line in filter(None, map(str.strip, text.splitlines())):
            words = line.split()
            if words[0].startswith(".venv"):
                words[0] = PurePosixPath(PureWindowsPath(words[0]).as_posix()).name
            if words[:2] == ["docker", "run"]:  # the image, then a command in it
                words = words[words.index("course") + 1 :]
            yield words


def test_every_action_is_of_a_version_that_still_runs():
    used = [step["uses"] for step in steps() if "uses" in step]
    own = {name for name in used if name.startswith("./")}
    assert {f"./{path.parent.relative_to(ROOT).as_posix()}" for path in ACTIONS} == own
    for name in set(used) - own:
        action, version = re.fullmatch(r"([\w-]+/[\w-]+)@v(\d+)", name).groups()
        assert int(version) >= RUNS_SINCE[action], name


def test_no_job_runs_for_ever_or_may_write_more_than_it_needs():
    for name, job in jobs():
        assert 0 < job["timeout-minutes"] <= 360, name
        assert set(job.get("permissions", {})) <= {"pages", "id-token"}, name
    for path in WORKFLOWS:
        assert read(path)["permissions"] == {"contents": "read"}, path.name


def test_a_newer_push_stops_the_run_of_the_one_before():
    for path in WORKFLOWS:
        workflow = read(path)
        if {"push", "pull_request"} & set(workflow[True]):  # YAML's word for `on`
            assert workflow["concurrency"]["cancel-in-progress"] is True, path.name


def test_every_command_is_one_that_the_course_has():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    seen = set()
    for words in commands():
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.M), words
        elif words[0] == "bash":
            assert (ROOT / words[1]).is_file(), words
        elif words[:2] == ["python", "bootstrap.py"]:
            assert words[2] in bootstrap.PURPOSES, words
        elif words[0] == "course":
            wanted = [word for word in words[1:] if word != "&"]
            # `lab` passes on what it does not know.
            _parser(with_bench=False).parse_args(
                wanted[:1] if wanted[0] == "lab" else wanted
            )
        else:
            continue
        seen.add(words[0])
    assert seen == {"make", "bash", "python", "course"}


def test_every_test_file_and_pin_that_is_named_exists():
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    for job in (job for _, job in jobs()):
        for name in job.get("strategy", {}).get("matrix", {}).get("tests", []):
            file = ROOT / "tests" / f"test_{name}.py"
            assert "mark.long" in file.read_text(encoding="utf-8"), name
    pinned = PROJECT["project"]["optional-dependencies"]["dev"]
    for name in re.findall(r"grep -o '([\w-]+)==", text):
        assert any(line.startswith(f"{name}==") for line in pinned), name
    for path in re.findall(r"-r (\S+\.txt)", text):
        assert (ROOT / path).is_file(), path


def test_the_pythons_are_those_that_the_course_supports():
    matrix = read(GITHUB / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    supported = [".".join(map(str, version)) for version in bootstrap.SUPPORTED]
    assert matrix["python"] == supported
    low, high = re.findall(r"3\.(\d+)", PROJECT["project"]["requires-python"])
    assert supported == [f"3.{minor}" for minor in range(int(low), int(high))]


@pytest.mark.parametrize("system", ["ubuntu", "macos", "windows", "arm"])
def test_each_system_that_the_readme_lists_is_tried(system):
    ci = (GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8")
    runners = re.findall(r"(?:runs-on|system): \[?([\w.-]+)", ci)
    assert any(system in runner for runner in runners), system


def test_dependabot_looks_where_actions_are_named():
    (entry,) = read(GITHUB / "dependabot.yml")["updates"]
    places = {f"/{path.parent.relative_to(ROOT).as_posix()}" for path in ACTIONS}
    assert set(entry["directories"]) == {"/", *places}


def test_pre_commit_fetches_nothing_and_calls_what_is_installed():
    config = read(ROOT / ".pre-commit-config.yaml")
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    pinned = PROJECT["project"]["optional-dependencies"]["dev"]
    names = [re.split("==", line)[0] for line in pinned]
    assert "pre-commit" in names
    for hook in config["repos"][0]["hooks"]:
        words = hook["entry"].split()
        if words[0] == "course":
            _parser(with_bench=False).parse_args(words[1:])
        else:
            assert words[:2] == ["python", "-m"] and words[2] in names, words
