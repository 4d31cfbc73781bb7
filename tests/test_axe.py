"""axe-core, in a real browser, finds nothing serious in a lesson's pages."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from course_tools import site
from course_tools.pages import lesson_page
from tests.axe import faults, serious
from tests.browser import CHROMIUM, NO_BROWSER, run_chromium
from tests.lessons import IDS, LESSONS, solution

import pytest
from nbconvert.exporters import HTMLExporter

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER)

# With figures, tables, a network's summary and a text in colours.
VARIED = LESSONS[1]


@pytest.fixture(scope="module")
def chromium():
    with run_chromium() as running:
        yield running


def faults_in(chromium, folder, page):
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    return faults(chromium, path.as_uri())


@pytest.mark.parametrize(
    "lesson",
    [
        pytest.param(one, marks=[] if one == VARIED else pytest.mark.long, id=name)
        for one, name in zip(LESSONS, IDS, strict=True)
    ],
)
def test_an_exported_lesson_has_no_serious_fault(lesson, chromium, tmp_path):
    page = lesson_page(solution(lesson), lesson.name)
    assert serious(faults_in(chromium, tmp_path, page)) == []
    drawn = sum(
        "image/png" in str(cell.get("outputs")) for cell in solution(lesson).cells
    )
    alts = re.findall(r'<img alt="([^"]*)"', page)
    assert len(alts) >= drawn > 0
    assert not [alt for alt in alts if len(alt) < 6 or alt.startswith("No description")]
    assert "<th>" not in page
    assert 'src="images/' not in page  # pictures come with the page


def test_the_test_sees_what_is_wrong_with_a_page_of_nbconverts_own(chromium, tmp_path):
    page, _ = HTMLExporter().from_notebook_node(solution(VARIED))
    rules = {one.rule for one in serious(faults_in(chromium, tmp_path, page))}
    assert {"color-contrast", "link-in-text-block"} <= rules


@pytest.mark.skipif(
    not Path(sys.executable).with_name("jupyter-book").exists(),
    reason="no Jupyter Book here: `bootstrap.py book` installs it",
)
def test_a_book_of_one_lesson_has_no_serious_fault(chromium, tmp_path):
    source = tmp_path / "source"
    site.stage(source)
    for lesson in LESSONS:
        if lesson != VARIED:
            (source / lesson.solution.name).unlink()
    shutil.rmtree(source / "images")
    site.render(source, tmp_path)
    for name in ("index.html", "glossary.html", f"{VARIED.name}.html"):
        address = (tmp_path / "_build" / "html" / name).as_uri()
        for scheme in ("light", "dark"):
            assert serious(faults(chromium, address, scheme=scheme)) == [], name
