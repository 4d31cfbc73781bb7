"""The book shows every lesson with its outputs, and asks no server for anything."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from course_tools import site
from course_tools.lessons import ROOT
from course_tools.pages import finish_page, picture_texts
from tests.axe import faults, serious
from tests.browser import CHROMIUM, NO_BROWSER, run_chromium
from tests.lessons import EXERCISES, IDS, LESSONS, nbgrader, solution

import nbformat
import pytest

each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=IDS)

# What a browser loads by itself; a link that a reader clicks is not among them.
LOADS = {
    "src": {"script", "img", "iframe", "embed", "source", "video", "audio", "track"},
    "href": {"link", "image", "use"},
    "data": {"object"},
    "poster": {"video"},
    "srcset": {"img", "source"},
    "action": {"form"},
}
# Addresses in the scripts' text that name something and are never asked: namespaces,
# licences, authors, and where a part of MathJax that is not loaded would look.
NAMED = {
    "cdn.jsdelivr.net",
    "clipboardjs.com",
    "developer.mozilla.org",
    "fontawesome.com",
    "getbootstrap.com",
    "github.com",
    "popper.js.org",
    "www.mathjax.org",
    "www.w3.org",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """What Jupyter Book is given."""
    folder = tmp_path_factory.mktemp("book") / "source"
    site.stage(folder)
    return folder


@each_lesson
def test_answers_are_folded_and_nbgraders_marks_are_gone(lesson, source):
    cells = nbformat.read(source / lesson.solution.name, as_version=4).cells
    assert len(cells) == len(solution(lesson).cells)
    for shown, own in zip(cells, solution(lesson).cells, strict=True):
        for mark in ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS"):
            assert mark not in shown.source
        folded = "hide-input" in shown.metadata.get("tags", [])
        assert folded == bool(nbgrader(own).get("solution"))
        if "children=" not in str(own.get("outputs")):
            assert shown.get("outputs") == own.get("outputs")


def test_a_hidden_test_is_not_in_the_book():
    check = "check.f(f)\n### BEGIN HIDDEN TESTS\ncheck.f(f, 7)\n### END HIDDEN TESTS\n"
    cells = [nbformat.v4.new_code_cell(check)]
    notebook = site.for_readers(nbformat.v4.new_notebook(cells=cells))
    assert notebook.cells[0].source == "check.f(f)"


def test_a_widget_that_has_no_kernel_is_a_sentence_and_not_its_code():
    stored = {"text/plain": "VBox(children=(Text(value=''), Output()))"}
    table = {"text/plain": "children", "text/html": "<table></table>"}
    outputs = [nbformat.v4.new_output("display_data", data) for data in (stored, table)]
    cells = [nbformat.v4.new_code_cell("show()", outputs=outputs)]
    notebook = site.for_readers(nbformat.v4.new_notebook(cells=cells))
    shown, kept = (output.data for output in notebook.cells[0].outputs)
    assert shown["text/plain"] == site.STAND_IN
    assert kept == table


def test_pictures_tables_and_contents_are_completed_for_screen_readers():
    name = "0" * 64
    shown = f'<img alt="_images/{name}.png" src="_images/{name}.png" />'
    other = shown.replace("0", "1")
    side = '<div class="bd-sidebar-primary bd-sidebar hide">'
    head = "<thead><tr><th><p></p></th><th>a</th></tr></thead>"
    page = finish_page(shown + other + side + head, {name: 'a "line" & more'})
    assert f'<img alt="a &quot;line&quot; &amp; more" src="_images/{name}' in page
    assert '<img alt="Picture" src="_images/1' in page
    assert '<div role="region" aria-label="Contents" class="bd-sidebar' in page
    assert '<td></td><th scope="col">a</th>' in page


@each_lesson
def test_every_picture_of_a_lesson_has_words(lesson):
    texts = picture_texts(solution(lesson))
    assert texts
    for text in texts.values():
        assert len(text) > 5 and text != "Picture"


def test_without_jupyter_book_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(SystemExit, match="run `.*bootstrap.py book`"):
        site.build(tmp_path)


class Page(HTMLParser):
    """The addresses in a page: what it loads, where it leads, its anchors, its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.stack = path, []
        self.loads, self.links, self.anchors = [], [], set()
        self.styles, self.scripts, self.words = [], [], []
        self.alts = []
        self.classes, self.tags = Counter(), Counter()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags[tag] += 1
        self.stack.append(tag)
        if tag == "img":
            self.alts.append(found.get("alt"))
        self.classes.update((found.get("class") or "").split())
        self.anchors |= {found[key] for key in ("id", "name") if found.get(key)}
        self.styles.append(found.get("style") or "")
        for key, tags in LOADS.items():
            if tag in tags and found.get(key) and found.get("rel") != "canonical":
                self.loads.append(found[key])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.stack.pop()

    def handle_endtag(self, tag):
        if tag in self.stack:
            while self.stack.pop() != tag:
                pass

    def handle_data(self, text):
        kind = self.stack[-1] if self.stack else ""
        kept = {"style": self.styles, "script": self.scripts}.get(kind, self.words)
        kept.append(text)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the book where every request would be refused, once for all tests."""
    folder = tmp_path_factory.mktemp("built")
    code = "import sys, pathlib; from course_tools import site; "
    code += f"site.build(pathlib.Path({str(folder)!r}))"
    refuse = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    refuse |= {name.upper(): value for name, value in refuse.items()}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **refuse, "NO_PROXY": "", "no_proxy": ""},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder / "_build" / "html"


@pytest.fixture(scope="module")
def pages(built):
    return {path.name: Page(path) for path in sorted(built.glob("*.html"))}


def is_external(address):
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def addresses_in_styles(text):
    return re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", text)


@pytest.mark.long
def test_a_page_loads_nothing_from_elsewhere_and_all_it_loads_is_there(built, pages):
    for name, page in pages.items():
        assert page.loads
        for address in page.loads:
            assert not is_external(address), (name, address)
            if not address.startswith("data:"):
                assert (built / unquote(urlsplit(address).path)).exists(), address
        for style in page.styles:
            for address in map("".join, addresses_in_styles(style)):
                assert not is_external(address), (name, address)


@pytest.mark.long
def test_style_sheets_load_nothing_from_elsewhere(built):
    sheets = list(built.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        for address in map("".join, addresses_in_styles(sheet.read_text("utf-8"))):
            assert not is_external(address), (sheet.name, address)


@pytest.mark.long
def test_scripts_know_no_address_but_those_that_are_only_named(built, pages):
    texts = {path.name: path.read_text("utf-8") for path in built.rglob("*.js")}
    texts.pop("searchindex.js")  # the lessons' own words
    texts |= {name: "\n".join(page.scripts) for name, page in pages.items()}
    for name, text in texts.items():
        # With a scheme or at the start of a string; `//example.js` is a comment.
        hosts = re.findall(r"""(?:https?:|["'`])//((?:[\w-]+\.)+[a-z]{2,})\b""", text)
        assert set(hosts) <= NAMED, name
        assert not re.search(r"""(fetch|import|open)\(\s*["'](https?:)?//""", text)


@pytest.mark.long
def test_every_link_within_the_book_leads_somewhere(built, pages):
    followed = 0
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = unquote(parts.path) or name
            assert (built / target).is_file(), (name, link)
            assert not target.endswith(".ipynb"), (name, link)
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, (name, link)
            followed += 1
    assert followed > 20 * len(LESSONS)


@pytest.mark.long
def test_contents_lead_to_every_lesson_from_every_page(pages):
    for name, page in pages.items():
        for lesson in LESSONS:
            own = name == f"{lesson.name}.html"
            assert f"{lesson.name}.html" in page.links or (own and "#" in page.links)


@pytest.mark.long
def test_a_lesson_leads_to_the_next_one_from_its_last_cell(pages):
    for lesson, after in zip(LESSONS, LESSONS[1:], strict=False):
        # In the contents, at the last cell, and at the foot of the page.
        assert pages[f"{lesson.name}.html"].links.count(f"{after.name}.html") >= 3


@pytest.mark.long
@each_lesson
def test_a_lesson_is_there_with_all_its_outputs(lesson, pages):
    page = pages[f"{lesson.name}.html"]
    pictures, printed = 0, []
    for cell in solution(lesson).cells:
        if cell.cell_type == "markdown":
            pictures += len(re.findall(r"!\[", cell.source))
            continue
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data and "text/html" not in data:
                pictures += 1
            printed.append(output.get("text", ""))
    assert sum("_images/" in address for address in page.loads) == pictures
    for text in printed:
        assert " ".join(text.split()) in page.text
    assert page.classes["cell_output"] == sum(
        bool(cell.get("outputs")) for cell in solution(lesson).cells
    )
    answers = sum(exercise.lesson == lesson for exercise in EXERCISES)
    assert page.text.count("Show the answer") == answers
    assert f"{answers} of {answers} exercises passed." in page.text
    assert "Box(children=" not in page.text
    for words in page.alts:
        assert words and not words.startswith("_images/"), words


@pytest.mark.long
def test_the_search_index_knows_the_lessons_and_their_words(built):
    text = (built / "searchindex.js").read_text("utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    assert {lesson.name for lesson in LESSONS} <= set(index["docnames"])
    assert {"embed", "autoencod", "overfit"} <= set(index["terms"])


@pytest.mark.long
def test_a_reader_may_choose_light_or_dark(built, pages):
    for page in pages.values():
        # A script writes the button, so that pages without scripts have none.
        assert any("theme-switch-button" in script for script in page.scripts)
    sheets = "".join(path.read_text("utf-8") for path in built.rglob("*.css"))
    assert "data-theme=dark" in sheets.replace('"', "")
    assert "data-theme=light" in sheets.replace('"', "")


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault_in_the_book(scheme, built, pages):
    with run_chromium() as chromium:
        for name in pages:
            found = faults(chromium, (built / name).as_uri(), scheme=scheme)
            assert serious(found) == [], name
