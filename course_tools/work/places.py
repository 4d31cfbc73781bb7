"""Which folder holds the course's notebooks, and which the student's copies."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from course_tools.lessons import ROOT, where_lessons_are
from course_utils.errors import CourseError

LESSON = re.compile(r"\d\d_\w+")


@dataclass(frozen=True)
class Places:
    """Folders of one student.

    Attributes
    ----------
    notebooks : pathlib.Path
        What the course wrote; nothing is changed there but to take work out of it.
    own : pathlib.Path
        The student's copies; not necessarily there yet.
    """

    notebooks: Path
    own: Path

    @property
    def record(self) -> Path:
        """Folder with the versions that the copies come from."""
        return self.own / ".course"

    def names(self) -> list[str]:
        """Name the lessons, such as ``02_imdb_sentiment``, in their order."""
        return [
            path.stem
            for path in sorted(self.notebooks.glob("*.ipynb"))
            if LESSON.fullmatch(path.stem)
        ]

    def copy_of(self, name: str) -> Path:
        """Path of the student's copy of a lesson."""
        return self.own / f"{name}.ipynb"

    def shown(self, path: Path) -> str:
        """Path as a reader sees it, such as ``work/02_imdb_sentiment.ipynb``.

        Outside the course's folder it is the whole path.
        """
        top = self.notebooks.parent
        return (
            path.relative_to(top).as_posix() if path.is_relative_to(top) else f"{path}"
        )

    def cure_of(self, name: str) -> str:
        """Say what to do where a student's copy of a lesson is damaged."""
        checkpoint = self.own / ".ipynb_checkpoints" / f"{name}-checkpoint.ipynb"
        kept = (
            f" JupyterLab's last checkpoint is {self.shown(checkpoint)}."
            if checkpoint.exists()
            else ""
        )
        return (
            "The file was not changed; rename it, and `course update` gives you a new "
            f"copy.{kept}"
        )


def find_places(start: Path | None = None) -> Places:
    """Find the course's notebooks and the folder for the student's copies.

    Parameters
    ----------
    start : pathlib.Path, optional
        Where to look, with the folders above it, before the checkout that the package
        lies in; the current folder if left out.

    Returns
    -------
    Places
        ``notebooks/``, and ``work/`` beside it or the folder in ``COURSE_WORK``.

    Raises
    ------
    CourseError
        When there are no notebooks.
    """
    start = start or Path.cwd()
    for folder in (start, *start.parents, ROOT):
        found = Places(folder / "notebooks", folder / "work")
        names = found.names()
        # Elsewhere, notebooks may be somebody else's.
        if names and (folder == ROOT or _are_the_courses(names)):
            named = os.path.expanduser(os.environ.get("COURSE_WORK", ""))
            if named.startswith("~"):
                raise CourseError(
                    f"There is no home folder for COURSE_WORK={named}: set it to the "
                    "full path of a folder that you can write to."
                )
            return Places(found.notebooks, Path(named).absolute()) if named else found
    raise CourseError(where_lessons_are())


def _are_the_courses(names: list[str]) -> bool:
    from course_utils.checks.summary import TITLES

    return any(name in TITLES for name in names)
