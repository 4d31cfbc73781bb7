"""Render the lessons, with their stored outputs, to a static site: ``make book``.

Nothing is executed and nothing is fetched: Jupyter Book gets a copy of the solutions
in which answers are folded and the marks for nbgrader are gone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from course_tools import pages
from course_tools.authoring import lesson_table
from course_tools.lessons import ROOT, all_notebooks
from course_utils.commands import set_up

import nbformat

SITE = ROOT / "docs" / "site"
HIDDEN = re.compile(r"### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS[^\n]*\n?", re.S)
# What is stored of a widget: its name and its parts, which say nothing to a reader.
WIDGET = re.compile(r"\w+\((children|value|description)=")
STAND_IN = "When the lesson runs, a widget to click or to type into is here."
MARK = re.compile(r"^[ \t]*### (BEGIN|END) SOLUTION[^\n]*\n?", re.M)


def for_readers(notebook: Any) -> Any:
    """Fold a notebook's answers, and take out what only nbgrader or a kernel needs.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        A solution; it is changed in place.

    Returns
    -------
    nbformat.NotebookNode
        The same notebook.
    """
    for cell in notebook.cells:
        marks = cell.metadata.pop("nbgrader", {})
        if cell.cell_type != "code":
            continue
        if marks.get("solution"):
            cell.metadata.setdefault("tags", []).append("hide-input")
        cell.source = MARK.sub("", HIDDEN.sub("", cell.source)).rstrip()
        for output in cell.outputs:
            data = output.get("data", {})
            if list(data) == ["text/plain"] and WIDGET.match(data["text/plain"]):
                data["text/plain"] = STAND_IN
    return notebook


def stage(folder: Path) -> None:
    """Write what Jupyter Book reads.

    Parameters
    ----------
    folder : pathlib.Path
        An empty or missing folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("_config.yml", "_toc.yml", "favicon.svg"):
        shutil.copy(SITE / name, folder / name)
    (folder / "_static").mkdir(exist_ok=True)
    shutil.copy(SITE / "course.css", folder / "_static" / "course.css")
    shutil.copytree(ROOT / "images", folder / "images", dirs_exist_ok=True)
    shutil.copy(ROOT / "docs" / "glossary.md", folder / "glossary.md")
    # Time and memory are for those who run a lesson.
    table = re.sub(r"( \|[^|]*){2} \|$", " |", lesson_table(), flags=re.M)
    table = table.replace("](notebooks/", "](")
    words = (SITE / "index.md").read_text(encoding="utf-8")
    text = words.replace("<!-- lessons -->", table)
    (folder / "index.md").write_text(text, encoding="utf-8")
    for lesson in all_notebooks():
        notebook = for_readers(nbformat.read(lesson.solution, as_version=4))
        nbformat.write(notebook, folder / lesson.solution.name)


def build(folder: Path = SITE) -> Path:
    """Build the site anew.

    Parameters
    ----------
    folder : pathlib.Path
        Where ``_build`` is made; what stood in it is replaced.

    Returns
    -------
    pathlib.Path
        The page to open first.

    Raises
    ------
    SystemExit
        When Jupyter Book is missing, or found a fault; a warning counts as one.
    """
    made = folder / "_build"
    _command()  # before anything is removed
    shutil.rmtree(made, ignore_errors=True)
    stage(made / "source")
    return render(made / "source", folder, "--warningiserror", "--keep-going")


def _command() -> Path:
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    if not jupyter_book.exists():
        sys.exit(f"Jupyter Book is not installed here: run `{set_up('book')}`.")
    return jupyter_book


def render(source: Path, folder: Path, *options: str) -> Path:
    """Make pages of what `stage` wrote.

    Parameters
    ----------
    source : pathlib.Path
        Jupyter Book reads it.
    folder : pathlib.Path
        Where ``_build`` is made.
    *options : str
        Of ``jupyter-book build``.

    Returns
    -------
    pathlib.Path
        The page to open first.

    Raises
    ------
    SystemExit
        As `build`.
    """
    command: list[str | Path] = [_command(), "build", "--quiet", *options]
    command += [source, "--path-output", folder]
    built = subprocess.run(command, capture_output=True, encoding="utf-8")
    if built.returncode:
        sys.exit(f"{built.stdout}{built.stderr}The book was not built: see above.")
    pages_folder = folder / "_build" / "html"
    keep_of_mathjax(pages_folder / "_static" / "mathjax")
    finish(pages_folder)
    return pages_folder / "index.html"


def finish(folder: Path) -> None:
    """Complete the pages: words for pictures, scopes for the heads of tables.

    Parameters
    ----------
    folder : pathlib.Path
        The built pages.
    """
    texts: dict[str, str] = {}
    for lesson in all_notebooks():
        texts |= pages.picture_texts(nbformat.read(lesson.solution, as_version=4))
    for path in sorted(folder.glob("*.html")):
        page = path.read_text(encoding="utf-8")
        path.write_text(pages.finish_page(page, texts), encoding="utf-8")


def keep_of_mathjax(folder: Path) -> None:
    """Keep one script and its fonts: no page loads the rest, which is 24 MB.

    Parameters
    ----------
    folder : pathlib.Path
        Where sphinx-mathjax-offline has put all of MathJax.
    """
    for path in [*folder.iterdir(), folder / "output" / "svg"]:
        if path.is_dir() and path.name != "output":
            shutil.rmtree(path)
        elif path.is_file() and path.name != "tex-chtml.js":
            path.unlink()


if __name__ == "__main__":
    print(f"Open {build()} in a browser.")
