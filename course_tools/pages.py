"""What a lesson's pages need besides its outputs, so that everybody can read them.

The HTML export and the book show stored outputs. A stored picture has its alternative
text in its metadata, or only a title in its text form; a stored table may have heads
without a scope. Both are completed here, in what is shown; nothing stored changes.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import re
import sys
from pathlib import Path
from typing import Any

from course_tools.lessons import JUPYTER, ROOT, find_lessons
from course_utils.alt_text import PICTURES, stored_text
from course_utils.errors import CourseError
from course_utils.table_heads import with_scopes

import nbformat
from nbconvert.exporters import HTMLExporter
from nbconvert.preprocessors import Preprocessor

TEMPLATES = JUPYTER / "share" / "nbconvert" / "templates"
IMAGE = re.compile(r'<img alt="[^"]*" (?=[^>]*src="_images/([0-9a-f]{64})\.\w+")')
# The theme's own frame around the contents is no landmark.
SIDEBAR = '<div class="bd-sidebar-primary bd-sidebar'


class Described(Preprocessor):
    """Complete alternative texts and table heads in a notebook that is exported."""

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
        """Complete one cell.

        Parameters
        ----------
        cell : nbformat.NotebookNode
            Any cell; its outputs are changed in place.
        resources : dict
            Passed on.
        index : int
            Not used.

        Returns
        -------
        tuple
            Cell and resources.
        """
        for output in cell.get("outputs", []):
            describe(output)
        return cell, resources


def describe(output: Any) -> None:
    """Give a stored output's picture its text, and its table heads with scopes.

    Parameters
    ----------
    output : nbformat.NotebookNode
        Changed in place.
    """
    text, data = stored_text(output), output.get("data", {})
    if text is not None:
        for kind in PICTURES:
            if kind in data:
                output.metadata.setdefault(kind, {})["alt"] = text
    if "text/html" in data:
        data["text/html"] = with_scopes("".join(data["text/html"]))


def lesson_page(notebook: Any, title: str) -> str:
    """Export a notebook as one page of HTML: ``python -m course_tools.pages 5``.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        With its outputs; it stays as it is.
    title : str
        Title of the page.

    Returns
    -------
    str
        JupyterLab's own page in the course's template.
    """
    exporter = HTMLExporter(
        template_name="course",
        extra_template_basedirs=[str(TEMPLATES)],
        embed_images=True,  # the page may be moved, and its pictures with it
    )
    place = {"name": title, "path": str(ROOT)}
    page, _ = exporter.from_notebook_node(notebook, {"metadata": place})
    return with_scopes(page)  # those of Markdown, too


def picture_texts(notebook: Any) -> dict[str, str]:
    """Collect alternative texts by the name that the book gives a picture's file.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        With its outputs.

    Returns
    -------
    dict of str to str
        By the sha256 of each picture's bytes.
    """
    texts = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind in PICTURES:
                if text := kind in output.get("data", {}) and stored_text(output):
                    content = base64.b64decode(output["data"][kind])
                    texts[hashlib.sha256(content).hexdigest()] = text
    return texts


def finish_page(page: str, texts: dict[str, str]) -> str:
    """Complete a page of the book.

    Parameters
    ----------
    page : str
        HTML as Sphinx writes it, where a picture's alternative text is its file's name.
    texts : dict of str to str
        As `picture_texts`.

    Returns
    -------
    str
        The page with alternative texts, scopes, and its contents as a landmark.
    """

    def named(found: re.Match[str]) -> str:
        return f'<img alt="{html.escape(texts.get(found[1], "Picture"))}" '

    landmark = SIDEBAR.replace("<div ", '<div role="region" aria-label="Contents" ')
    return with_scopes(IMAGE.sub(named, page)).replace(SIDEBAR, landmark)


def main() -> None:
    """Write lessons as HTML into the current folder."""
    parser = argparse.ArgumentParser(
        prog="python -m course_tools.pages", description="Write solved lessons as HTML."
    )
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="none means all")
    try:
        lessons = find_lessons(parser.parse_args().lessons)
    except CourseError as error:
        sys.exit(str(error))
    for lesson in lessons:
        notebook = nbformat.read(lesson.solution, as_version=4)
        target = Path(lesson.solution.with_suffix(".html").name)
        target.write_text(lesson_page(notebook, lesson.name), encoding="utf-8")
        print(target)


if __name__ == "__main__":
    main()
