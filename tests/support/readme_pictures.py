"""Take the README's pictures: ``python -m tests.support.readme_pictures``.

One shows a lesson in JupyterLab, with a wrong answer and what its check says; the other
is lesson 05's map, as its solution stores it.
"""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path

from course_tools.lessons import ROOT
from tests.browser import READY, run_chromium, run_lab, sit_down
from tests.lessons import LESSONS, nbgrader, solution, student

from PIL import Image

PICTURES = ROOT / "docs" / "pictures"
LESSON, EXERCISE = LESSONS[6], "recall_at_k"
WRONG = """    return np.isin(found, true).mean()"""
MAP = "In their hexagon's label"
WRITE = """([number, source]) => {
  const { content } = jupyterapp.shell.currentWidget;
  content.widgets[number].model.sharedModel.setSource(source);
  content.activeCellIndex = number;
}"""
SHOW = """number => {
  const cell = document.querySelectorAll('.jp-Notebook .jp-Cell')[number];
  cell.querySelector('h3').scrollIntoView({ block: 'start' });
}"""


def save(picture: Image.Image, name: str) -> Path:
    """Store few colours: a picture of a page needs no more."""
    path = PICTURES / name
    path.parent.mkdir(exist_ok=True)
    picture.convert("RGB").quantize(128).save(path, optimize=True)
    return path


def stored_map() -> Image.Image:
    """Lesson 05's map of garments before and after learning."""
    for cell in solution(LESSONS[4]).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data and MAP in data["text/plain"]:
                return Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    raise LookupError(f"Lesson 05 stores no figure whose title says '{MAP}'.")


def lesson_with_an_answer() -> Image.Image:
    """A lesson in JupyterLab, where a check has just refused an answer."""
    notebook = student(LESSON)
    names = [nbgrader(cell).get("grade_id") for cell in notebook.cells]
    task, judge = names.index(EXERCISE), names.index(f"check-{EXERCISE}")
    stub = notebook.cells[task].source
    answer = stub[: stub.index("    raise NotImplementedError")] + WRONG
    with (
        tempfile.TemporaryDirectory() as folder,
        run_lab(Path(folder)) as lab,
        run_chromium() as chromium,
        sit_down(chromium, lab, "readme") as desk,
    ):
        desk.page.set_viewport_size({"width": 1200, "height": 780})
        desk.page.goto(
            f"{lab.address}/lab/tree/{LESSON.notebook.name}?token={lab.token}"
        )
        desk.page.wait_for_function(READY)
        desk.run_and_read(1)
        desk.page.evaluate(WRITE, [task, answer])
        desk.run_and_read(task)
        desk.run_and_read(judge)
        desk.page.evaluate(SHOW, task - 1)
        desk.page.wait_for_timeout(1000)
        return Image.open(io.BytesIO(desk.page.screenshot()))


if __name__ == "__main__":
    for picture, name in (
        (stored_map, "map.png"),
        (lesson_with_an_answer, "check.png"),
    ):
        path = save(picture(), name)
        print(path, f"{path.stat().st_size / 1000:.0f} kB")
