"""The lessons by number and name, and where they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from course_utils.commands import set_up
from course_utils.errors import CourseError, UsageError

ROOT = Path(__file__).resolve().parents[1]
SOLUTIONS = ROOT / "solutions"
NOTEBOOKS = ROOT / "notebooks"
# What JupyterLab and nbconvert get from the course: settings, an extension, a template.
JUPYTER = Path(__file__).parent / "jupyter"


@dataclass(frozen=True)
class Lesson:
    """A lesson: its number and its name such as ``02_imdb_sentiment``."""

    number: int
    name: str

    @property
    def solution(self) -> Path:
        """The solved and executed notebook, which is the source."""
        return SOLUTIONS / f"{self.name}.ipynb"

    @property
    def notebook(self) -> Path:
        """The student's notebook, which `course build` writes."""
        return NOTEBOOKS / f"{self.name}.ipynb"


def files_beside(notebook: Path, root: Path = ROOT) -> dict[str, Path]:
    """Find what a notebook's text shows or links to beside itself.

    Parameters
    ----------
    notebook : pathlib.Path
        An ``.ipynb`` file.
    root : pathlib.Path
        The course's folder.

    Returns
    -------
    dict of str to pathlib.Path
        Names such as ``images/onehot.png`` or ``glossary.md``, and the course's file
        that belongs there.
    """
    text = notebook.read_text(encoding="utf-8")
    names = re.findall(r"\]\((images/[\w./-]+|glossary\.md)\)", text)
    return {
        name: root / (name if name.startswith("images/") else f"docs/{name}")
        for name in names
    }


def in_checkout() -> bool:
    """Whether the package lies in a checkout of the course, beside the lessons."""
    return SOLUTIONS.is_dir()


def where_lessons_are() -> str:
    """Say how to get the lessons where only the package is installed.

    Returns
    -------
    str
        One sentence, with the address that the package's metadata give.
    """
    from importlib import metadata

    urls = metadata.metadata("course-utils").get_all("Project-URL") or []
    address = dict(url.split(", ", 1) for url in urls)["Repository"]
    return (
        f"There are no lessons in {ROOT}: run `git clone {address}`, then "
        f"`{set_up('start')}` in the new folder."
    )


def all_notebooks() -> list[Lesson]:
    """Find the first page, which is number 0, and the lessons, in their order.

    Returns
    -------
    list of Lesson
        One for each ``solutions/NN_name.ipynb``.

    Raises
    ------
    CourseError
        When there is no ``solutions`` folder beside the package.
    """
    if not in_checkout():
        raise CourseError(where_lessons_are())
    return [
        Lesson(int(path.stem[:2]), path.stem)
        for path in sorted(SOLUTIONS.glob("[0-9][0-9]_*.ipynb"))
    ]


def all_lessons() -> list[Lesson]:
    """Lessons that exist, in their order, without the first page.

    Returns
    -------
    list of Lesson
        Numbered from 1.

    Raises
    ------
    CourseError
        As `all_notebooks`.
    """
    return [lesson for lesson in all_notebooks() if lesson.number]


def find_lessons(wanted: list[str]) -> list[Lesson]:
    """Lessons by number or name, the first page by 0; all for an empty list.

    Parameters
    ----------
    wanted : list of str
        Each ``5``, ``05`` or ``05_siamese_fashion_mnist``.

    Returns
    -------
    list of Lesson
        In the order asked for.

    Raises
    ------
    UsageError
        When one is not there; the message names those that are.
    """
    lessons = all_notebooks()
    if not wanted:
        return lessons
    found = []
    for text in wanted:
        name = Path(text).name.removesuffix(".ipynb")
        number = int(name) if re.fullmatch(r"\d{1,2}", name) else None
        matches = [one for one in lessons if one.name == name or one.number == number]
        if not matches:
            names = ", ".join(lesson.name for lesson in lessons)
            raise UsageError(f"There is no lesson '{text}'. There are: {names}.")
        found += matches
    return found
