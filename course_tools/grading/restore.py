"""Put a submission's checks back as they were released."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from course_tools.lessons import files_beside

import nbformat
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor

# Marks a line of nbgrader's log as a note to the instructor.
NOTE = {"course": True}


def link_sources(root: Path) -> None:
    """Give each lesson the folder that nbgrader wants, with links to the solution.

    Parameters
    ----------
    root : pathlib.Path
        The course's folder: ``source/NN_name/NN_name.ipynb`` will lead to
        ``solutions/NN_name.ipynb``, and beside it what it shows and links to.
    """
    wanted = {}
    for solution in sorted((root / "solutions").glob("[0-9][0-9]_*.ipynb")):
        folder = root / "source" / solution.stem
        wanted[folder / solution.name] = solution
        for name, file in files_beside(solution, root).items():
            wanted[folder / name] = file
    for link in (root / "source").rglob("*"):
        if link.is_symlink() and link not in wanted:
            link.unlink()
    for link, target in wanted.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(target, link.parent))


class RestoreChecks(NbGraderPreprocessor):
    """Put back the cells that decide over points, as they were released.

    nbgrader overwrites a check's source. This gives back its place and its metadata
    too: a tag could keep it from running, a changed flag from counting.
    """

    def preprocess(self, nb: Any, resources: dict) -> tuple[Any, dict]:
        """Restore the graded cells of a notebook.

        Parameters
        ----------
        nb : nbformat.NotebookNode
            What was submitted.
        resources : dict
            nbgrader's, with names and the address of the grade book.

        Returns
        -------
        tuple
            Notebook and resources.
        """
        names = resources["nbgrader"]
        with Gradebook(names["db_url"]) as gradebook:
            released = gradebook.find_notebook(names["notebook"], names["assignment"])
            sources = {cell.name: cell.source for cell in released.source_cells}
            points = {cell.name: cell.max_score for cell in released.grade_cells}
            answers = {cell.name for cell in released.solution_cells}
        places: dict[str, int] = {}
        for place, cell in enumerate(nb.cells):
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            # Where a name stands twice, the last one counts, as it does in a run.
            if name in places:
                nb.cells[places[name]].metadata.pop("nbgrader")
            cell.metadata.pop("nbgrader", None)
            if name in sources:
                places[name] = place
                cell.metadata = {"nbgrader": _metadata(name, points, answers)}
        missing = [name for name in points if name not in places]
        for name in missing:
            self.log.warning(f"{name} was missing and was put back", extra=NOTE)
            cell = nbformat.v4.new_code_cell(sources[name])
            cell.metadata["nbgrader"] = _metadata(name, points, answers)
            answer = name.removeprefix("check-")
            after = next(
                (
                    place
                    for place, other in enumerate(nb.cells)
                    if other.metadata.get("nbgrader", {}).get("grade_id") == answer
                ),
                len(nb.cells) - 1,
            )
            nb.cells.insert(after + 1, cell)
        # A notebook of an older format has no ids; nbgrader's own cells need none.
        if (nb.nbformat, nb.nbformat_minor) < (4, 5):
            for cell in nb.cells:
                cell.pop("id", None)
        return nb, resources


def _metadata(name: str, points: dict[str, float], answers: set[str]) -> dict:
    cell = {
        "grade": name in points,
        "grade_id": name,
        "locked": name not in answers,
        "schema_version": 3,
        "solution": name in answers,
        "task": False,
    }
    return {**cell, "points": points[name]} if name in points else cell
