"""An institution's mirror serves every set, and every source can be checked."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import tempfile
import threading
from pathlib import Path

from course_tools.cli import main
from course_utils.data import fetch
from course_utils.errors import DataError
from tests.conftest import CONTENT, toy_entry, url_entry, write_wheel

import pytest


@pytest.fixture
def mirror(tmp_path) -> Path:
    """A folder as `course data --export` writes it, with the toy in it."""
    folder = tmp_path / "a mirror"
    (folder / "toy").mkdir(parents=True)
    (folder / "toy" / "reviews.csv").write_bytes(CONTENT)
    return folder


@pytest.fixture
def serve():
    """Serve a folder on this machine, as any web server would."""
    running = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    def start(folder: Path) -> str:
        handler = functools.partial(Handler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        running.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def out_of_reach(offline, monkeypatch):
    """Nothing answers but this machine itself."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")


# --- COURSE_DATA_MIRROR ------------------------------------------------------


@pytest.mark.parametrize("form", ["folder", "file address", "address", "its parent"])
def test_the_mirror_is_asked_before_every_other_source(
    form, mirror, cache, server, serve, monkeypatch, use_catalog, capsys
):
    place = {
        "folder": lambda: str(mirror),
        "file address": lambda: mirror.as_uri(),
        "address": lambda: serve(mirror) + "/",
        "its parent": lambda: serve(mirror.parent) + "/a%20mirror",
    }[form]()
    monkeypatch.setenv("COURSE_DATA_MIRROR", place)
    server.pages["/data/reviews.csv"] = CONTENT
    use_catalog(url_entry(f"{server.address}/data/"))
    folder = fetch.fetch("toy", progress=False)
    assert folder == cache / "toy"
    assert (folder / "reviews.csv").read_bytes() == CONTENT
    assert server.log == [] and capsys.readouterr().out == ""


def test_a_password_in_the_mirrors_address_is_not_shown(
    cache, monkeypatch, hasty, use_catalog
):
    address = "http://reader:secret@127.0.0.1:9/data"
    monkeypatch.setenv("COURSE_DATA_MIRROR", address)
    use_catalog(url_entry("http://127.0.0.1:9/"))
    with pytest.raises(DataError, match="mirror http://127.0.0.1:9/data: ") as caught:
        fetch.fetch("toy", progress=False)
    assert "secret" not in str(caught.value)


def test_doctor_knows_whether_the_mirror_has_a_set(
    mirror, cache, serve, monkeypatch, use_catalog, hasty
):
    use_catalog(url_entry("http://127.0.0.1:9/"))
    toy = fetch.catalog()["toy"]
    assert not fetch.reachable(toy)
    for place in (str(mirror), serve(mirror)):
        monkeypatch.setenv("COURSE_DATA_MIRROR", place)
        assert fetch.reachable(toy)
    (mirror / "toy" / "reviews.csv").unlink()
    for place in (str(mirror), serve(mirror)):
        monkeypatch.setenv("COURSE_DATA_MIRROR", place)
        assert not fetch.reachable(toy)


# --- course data --export ----------------------------------------------------


@pytest.fixture
def wheel(tmp_path, cache, use_catalog, monkeypatch):
    path = write_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    use_catalog(toy_entry(path))
    return path


@pytest.mark.parametrize("use", ["mirror folder", "mirror address", "shared"])
def test_what_is_exported_serves_another_machine(
    use, wheel, cache, tmp_path, serve, monkeypatch, capsys
):
    folder = tmp_path / "new" / "mirror"
    assert main(["data", "--export", str(folder), "toy"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        f"toy: 0.1 MB in {folder / 'toy'}",
        f"COURSE_DATA_MIRROR={folder}, or its address, serves these.",
    ]
    wheel.unlink()
    shutil.rmtree(cache)
    if use == "shared":
        monkeypatch.setenv("COURSE_DATA_SHARED", str(folder))
        assert fetch.fetch("toy", progress=False) == folder / "toy"
        return
    place = serve(folder) if use == "mirror address" else str(folder)
    monkeypatch.setenv("COURSE_DATA_MIRROR", place)
    assert (fetch.fetch("toy", progress=False) / "reviews.csv").read_bytes() == CONTENT


def test_what_is_whole_in_a_mirror_is_not_written_again(wheel, cache, mirror, capsys):
    wheel.unlink()
    before = (mirror / "toy" / "reviews.csv").stat()
    assert main(["data", "--export", str(mirror), "toy"]) == 0
    assert f"toy: 0.1 MB already in {mirror / 'toy'}" in capsys.readouterr().out
    assert (mirror / "toy" / "reviews.csv").stat() == before
    assert not cache.exists()


def test_a_killed_export_is_finished_by_the_next(wheel, mirror, capsys):
    (mirror / "toy.part-1").mkdir()
    (mirror / "toy.part-1" / "reviews.csv").write_bytes(CONTENT[:100])
    (mirror / "toy" / "reviews.csv").write_bytes(CONTENT[::-1])
    assert main(["data", "--export", str(mirror), "toy"]) == 0
    assert (mirror / "toy" / "reviews.csv").read_bytes() == CONTENT
    assert (mirror / "toy" / "reviews.csv.damaged-1").read_bytes() == CONTENT[::-1]
    assert not list(mirror.glob("*.part-*"))


def test_sets_that_are_not_fetched_are_not_exported(tmp_path, capsys):
    assert main(["data", "--export", str(tmp_path), "photos", "surnames"]) == 0
    out = capsys.readouterr().out
    assert "photos: is part of the course itself, nothing to export" in out
    assert "surnames: comes with the package Faker, nothing to export" in out
    assert not list(tmp_path.iterdir())


@pytest.fixture
def closed():
    """A folder that nobody may write."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        yield folder


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_fetched(
    wheel, cache, closed, tmp_path, capsys, request
):
    file = tmp_path / "file"
    file.write_text("mine")
    assert_refused(str(file), capsys)
    assert not cache.exists()
    request.getfixturevalue("as_nobody")
    for folder in (closed, f"{closed}/below"):
        assert_refused(folder, capsys)


def assert_refused(folder, capsys):
    assert main(["data", "--export", folder, "toy"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder} cannot be written (")
    assert line.endswith("choose another folder.")


def test_a_disk_too_small_for_a_mirror_is_one_sentence(
    wheel, tmp_path, monkeypatch, capsys
):
    fetch.fetch("toy", progress=False)
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(fetch.store.shutil, "disk_usage", lambda _: usage)
    assert main(["data", "--export", str(tmp_path / "mirror"), "toy"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "mirror is full (136,000 bytes needed, 10 free)" in line
    assert not (tmp_path / "mirror" / "toy").exists()


def test_a_mirror_on_this_machine_serves_every_lesson(
    tmp_path, serve, monkeypatch, out_of_reach, capsys
):
    """The real sets, from the cache to a mirror, and by HTTP into an empty cache."""
    mirror = tmp_path / "mirror"
    assert main(["data", "--export", str(mirror)]) == 0, capsys.readouterr().err
    address = serve(mirror)
    monkeypatch.setenv("COURSE_DATA_MIRROR", address)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("COURSE_DATA_SHARED", raising=False)
    fetched = [d for d in fetch.catalog().values() if d.lessons and d.is_fetched]
    assert len(fetched) >= 7
    for dataset in fetched:
        folder = fetch.fetch(dataset.name, progress=False)
        assert folder == tmp_path / "cache" / dataset.name
        assert fetch._problem(dataset.files, folder) == ""
        shutil.rmtree(folder)
    assert "came from" not in capsys.readouterr().out


# --- course data --check -----------------------------------------------------


@pytest.fixture
def three_sources(wheel, server, mirror, monkeypatch, hasty, use_catalog):
    """The toy from a mirror, a wheel and an address."""
    entry = toy_entry(wheel)
    url = f"{server.address}/data/"
    entry["sources"].append({"kind": "url", "url": url})
    use_catalog(entry)
    monkeypatch.setenv("COURSE_DATA_MIRROR", str(mirror))
    server.pages["/data/reviews.csv"] = CONTENT
    return url


def test_every_source_is_downloaded_verified_and_left_as_it_was(
    three_sources, cache, mirror, tmp_path, monkeypatch, capsys
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert main(["data", "--check", "toy"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        f"✅ toy  ok       mirror {mirror}",
        "✅ toy  ok       package toy-reviews 1.0",
        f"✅ toy  ok       {three_sources}",
        "Sources: 3 ok, 0 dead, 0 skipped.",
    ]
    assert not cache.exists() and not list(temporary.iterdir())


def test_a_dead_source_is_named_with_its_reason_and_ends_with_1(
    three_sources, server, wheel, mirror, capsys
):
    server.pages["/data/reviews.csv"] = CONTENT[::-1]
    wheel.unlink()
    assert main(["data", "--check", "toy"]) == 1
    _, package, address, last = capsys.readouterr().out.splitlines()
    assert package.startswith("❌ toy  dead     package toy-reviews 1.0: ")
    assert address.startswith(f"❌ toy  dead     {three_sources}: reviews.csv failed")
    assert last == "Sources: 1 ok, 2 dead, 0 skipped."


def test_a_kind_of_source_that_this_system_cannot_try_is_skipped(
    cache, monkeypatch, use_catalog, capsys
):
    entry = url_entry("")
    entry["sources"] = [{"kind": "debian", "package": "toy", "folder": "no/such"}]
    use_catalog(entry)
    monkeypatch.setattr(fetch.sources.shutil, "which", lambda _: None)
    assert main(["data", "--check", "toy"]) == 0
    assert "toy  skipped  Debian package toy: this system has no apt-get" in (
        capsys.readouterr().out
    )


def test_what_is_shipped_or_installed_is_checked_where_it_is(
    capsys, monkeypatch, tmp_path
):
    assert main(["data", "--check", "photos", "surnames"]) == 0
    assert "✅ photos    ok       the course itself" in capsys.readouterr().out
    monkeypatch.setattr(fetch.store, "DATA", tmp_path)
    assert main(["data", "--check", "photos"]) == 1
    assert "is missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["--check", "--list"], ["--export"], ["--check", "no-such-set"]],
    ids=" ".join,
)
def test_wrong_usage_is_refused_before_anything_is_fetched(arguments, cache, capsys):
    try:
        status = main(["data", *arguments])
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not cache.exists()
