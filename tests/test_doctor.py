"""The doctor tells how much disk there is, and how much the course takes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from course_tools import doctor
from course_tools.cli import main
from tests.conftest import url_entry
from tests.systems import needs_posix

import pytest


@pytest.fixture
def full_disk(monkeypatch, tmp_path):
    usage = doctor.shutil.disk_usage(tmp_path)._replace(free=900 * 2**20)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(doctor, "cache_folder", lambda: tmp_path / "data")


def test_room_for_data_is_wanted_until_all_are_here(monkeypatch, full_disk):
    monkeypatch.setattr(doctor, "locate", lambda name: None)
    room, _ = doctor._disk()
    assert not room.good and "900 MB free" in room.what and "1,000 MB" in room.cure
    monkeypatch.setattr(doctor, "locate", lambda name: ("cache", "folder"))
    room, _ = doctor._disk()
    assert room.good and "all of it is here" in room.what


@pytest.fixture
def no_home(monkeypatch):
    """A user without a line in /etc/passwd, and without HOME."""
    pwd = pytest.importorskip("pwd")

    def nobody(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CACHE_HOME", "COURSE_DATA_DIR", "COURSE_DATA_SHARED"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("chosen", [None, "~", "~/data", "~nosuchuser/data"])
def test_a_home_that_is_not_there_is_a_finding(no_home, monkeypatch, capsys, chosen):
    if chosen:
        monkeypatch.setenv("COURSE_DATA_DIR", chosen)
    monkeypatch.setattr(doctor, "_packages", list)
    assert main(["doctor"]) == 1
    said = capsys.readouterr()
    assert "❌ There is no home folder to keep data in" in said.out
    assert "   Set COURSE_DATA_DIR to the full path" in said.out
    assert "Traceback" not in said.err and len(said.err.splitlines()) == 1


@pytest.mark.parametrize("command", [["data"], ["data", "--list"], ["data", "imdb"]])
def test_without_a_home_every_command_for_data_is_a_sentence(no_home, capsys, command):
    assert main(command) == 1
    said = capsys.readouterr().err.splitlines()
    assert set(said) == {
        "There is no home folder to keep data in. Set COURSE_DATA_DIR to the full "
        "path of a folder that you can write to."
    }


@pytest.mark.parametrize("folder", ["~nosuchuser/data", "nowhere", "file", "closed"])
def test_a_shared_folder_that_cannot_be_read_is_told(
    monkeypatch, tmp_path, full_disk, folder, request
):
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").mkdir()
    place = folder if folder[0] == "~" else str(tmp_path / folder)
    monkeypatch.setenv("COURSE_DATA_SHARED", place)
    monkeypatch.setattr(doctor, "locate", lambda name: None)
    if folder == "closed":
        monkeypatch.setattr(doctor.os, "access", lambda *_, **__: False)
    told = [one.what for one in doctor._disk() if "COURSE_DATA_SHARED" in one.what]
    assert told == [
        f"COURSE_DATA_SHARED is {place}, which cannot be read: it is passed over"
    ]
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_DATA_SHARED", str(tmp_path))
    assert not [one for one in doctor._disk() if "COURSE_DATA_SHARED" in one.what]


@needs_posix
@pytest.mark.parametrize("mode", [0, 0o444])
@pytest.mark.parametrize("below", ["", "cache", "cache/deep"])
def test_a_cache_in_a_folder_that_may_not_be_looked_into_is_a_finding(
    monkeypatch, mode, below, request
):
    with tempfile.TemporaryDirectory() as top:
        closed = Path(top) / "closed"
        (closed / "cache").mkdir(parents=True)
        if os.geteuid() == 0:
            for path in (Path(top), closed, closed / "cache"):
                os.chown(path, 65534, 65534)
        monkeypatch.setenv("COURSE_DATA_DIR", str(closed / below))
        monkeypatch.delenv("COURSE_DATA_SHARED", raising=False)
        monkeypatch.setattr(doctor, "size_mb", lambda _: 0)
        closed.chmod(mode)
        request.getfixturevalue("as_nobody")
        try:
            room, _ = doctor._disk()
        finally:
            closed.chmod(0o755)
    assert not room.good and "which cannot be written" in room.what


@needs_posix
def test_a_cache_that_is_a_file_is_a_finding(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "file"))
    monkeypatch.delenv("COURSE_DATA_SHARED", raising=False)
    monkeypatch.setattr(doctor, "size_mb", lambda _: 0)
    assert not doctor._disk()[0].good


def test_a_file_in_the_cache_that_is_not_what_it_should_be_is_named(
    cache, use_catalog, server, monkeypatch
):
    (cache / "toy").mkdir(parents=True)
    (cache / "toy" / "reviews.csv").write_bytes(b"mine")
    server.pages["/data/reviews.csv"] = b""
    use_catalog(url_entry(f"{server.address}/data/") | {"lessons": (1,)})
    (found,) = doctor._data()
    assert "(reviews.csv has 4 bytes, expected 136,000) and" in found.what


def test_the_size_of_the_environment_is_measured(monkeypatch, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "large.so").write_bytes(bytes(3 * 2**20))
    if os.name != "nt":  # which lets administrators alone make one
        (tmp_path / "link").symlink_to(tmp_path / "lib" / "large.so")
    monkeypatch.setattr(doctor.sys, "prefix", str(tmp_path))
    assert doctor._disk()[1].what == f"3 MB of packages in {tmp_path}"


def test_sets_that_cannot_be_fetched_are_one_finding_with_reason_and_cure(
    cache, use_catalog, server, monkeypatch
):
    entry = url_entry(f"{server.address}/data/") | {"lessons": (1,)}
    monkeypatch.setattr(doctor, "reachable", lambda dataset: False)
    use_catalog(entry)
    (one,) = doctor._data()
    assert one.what.startswith("data 'toy' is not here yet and cannot be fetched: none")
    both = doctor._unreached([("toy", ""), ("imdb", " (imdb.csv has 4 bytes)")])
    assert not both.good
    assert both.what.startswith("data 'toy', 'imdb' (imdb.csv has 4 bytes) are not")
    for words in ("sources answers from", "HTTPS_PROXY", "PIP_INDEX_URL"):
        assert words in both.what + both.cure
    assert "`course data toy imdb --export DIR`" in both.cure
