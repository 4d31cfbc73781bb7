"""The doctor tells how much disk there is, and how much the course takes."""

from __future__ import annotations

import os

from course_utils import doctor

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


def test_the_size_of_the_environment_is_measured(monkeypatch, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "large.so").write_bytes(bytes(3 * 2**20))
    if os.name != "nt":  # which lets administrators alone make one
        (tmp_path / "link").symlink_to(tmp_path / "lib" / "large.so")
    monkeypatch.setattr(doctor.sys, "prefix", str(tmp_path))
    assert doctor._disk()[1].what == f"3 MB of packages in {tmp_path}"
