"""Run a submission in a sandbox, and count what the course's checks said."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

from course_tools.grading import probe, sandbox
from course_tools.grading.restore import NOTE
from course_tools.grading.submissions import SubmissionError
from course_utils import checks
from course_utils.checks.unrun import GRADED
from course_utils.data.fetch import catalog, locate

import nbformat
from nbconvert.preprocessors.sanitize import SanitizeHTML
from nbgrader.preprocessors import Execute
from traitlets import Integer

CHECKS = Path(checks.__file__).parent
# Where a lesson finds its data in the sandbox.
DATA = "/tmp/data"
# What a page may show of an output; a script is not among it.
TEXT, PICTURES = ("text/plain", "text/latex"), ("image/png", "image/jpeg")
MARKUP = ("text/html", "text/markdown")


class SandboxedExecute(Execute):
    """Run a submission in a sandbox, and count what the course's checks said.

    - It sees Python, the course's package and the lesson's data, and nothing else.
    - What comes back is outputs; the cells stay those that were handed in.
    - A graded cell earns its points if it ended without an error and the lesson's own
      check, which nothing replaced, printed that it passed.
    """

    memory_mb = Integer(6144, help="Memory of a submission, in MiB.").tag(config=True)
    file_mb = Integer(1024, help="All files of a submission, in MiB.").tag(config=True)
    total_seconds = Integer(1800, help="Time of a submission, in seconds.").tag(
        config=True
    )
    answer_seconds = Integer(
        20, help="Time for a kernel to answer once it was interrupted, in seconds."
    ).tag(config=True)

    def preprocess(
        self, nb: Any, resources: dict | None = None, km: Any = None
    ) -> tuple[Any, dict]:
        """Execute a submission in a sandbox of its own.

        Parameters
        ----------
        nb : nbformat.NotebookNode
            What was submitted, sanitised; gets its outputs.
        resources : dict, optional
            nbgrader's.
        km : KernelManager, optional
            Not used: the kernel starts inside.

        Returns
        -------
        tuple
            The executed notebook and the resources.

        Raises
        ------
        SubmissionError
            When there is no sandbox, or the submission does not come to its end.
        """
        problem = sandbox.problem()
        if problem:
            raise SubmissionError(problem)
        resources = resources or {}
        name = resources["unique_key"]
        readable = _readable(name)
        # Such as lesson_01: the checks that the notebook imports. An assignment of
        # your own may have none.
        self.lesson = f"lesson_{name[:2]}"
        if not (CHECKS / f"{self.lesson}.py").exists():
            self.lesson = ""
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        self.nb = nb
        self.ended: set[int] = set()
        self.problem: str | None = None
        request = {
            "notebook": nb,
            "lesson": self.lesson,
            "checks": str(CHECKS),
            "probe": probe.SOURCE,
            "seconds": self.timeout or self.total_seconds,
            "answer_seconds": self.answer_seconds,
        }
        ended = sandbox.run(
            "course_tools.grading.judge",
            json.dumps(request).encode(),
            read=readable,
            take=self._take,
            limits=sandbox.Limits(
                memory_mb=self.memory_mb,
                file_mb=self.file_mb,
                seconds=self.total_seconds,
            ),
            environment={"COURSE_DATA_SHARED": DATA, GRADED: "yes"},
        )
        if ended.stopped:
            raise SubmissionError(f"it {ended.stopped}, {self._place()}")
        if self.problem is None:
            raise SubmissionError(
                f"it ended the program that runs it, {self._place()}"
                + (f" ({ended.log})" if ended.log and not self.ended else "")
            )
        if self.problem:
            raise SubmissionError(self.problem)
        for place, cell in enumerate(nb.cells):
            if _is_graded(cell) and place not in self.ended:
                _refuse(cell, "this cell did not run")
        _drop_scripts(nb, _released_texts(self._root(), resources["nbgrader"]))
        return nb, resources

    def _place(self) -> str:
        """Where a submission was when it was stopped, as far as it told."""
        last = max(self.ended, default=-1) + 1
        for place in range(last, len(self.nb.cells)):
            cell = self.nb.cells[place]
            if cell.cell_type == "code" and cell.source.strip():
                name = cell.metadata.get("nbgrader", {}).get("grade_id")
                return f"in {name or f'cell {place + 1}'}"
        return "after its last cell"

    def _take(self, line: bytes) -> None:
        """Put what the judge says of a cell into the notebook, as outputs only."""
        try:
            said = json.loads(line)
            if "problem" in said:
                self.problem = str(said["problem"])
                return
            place = said["cell"]
            cell = self.nb.cells[place]
            cell.outputs = [_output(one) for one in said["outputs"]]
            if isinstance(said["count"], int):
                cell.execution_count = said["count"]
            ok = said["status"] == "ok"
            passed = {str(one) for one in said["numbers"]}
            replaced = [str(one) for one in said["replaced"]]
            found = [str(one) for one in said["found"]]
            cut = bool(said["cut"])
        except (KeyError, IndexError, TypeError, ValueError, RecursionError):
            raise SubmissionError("what came out of its sandbox is no answer") from None
        self.ended.add(place)
        for name in dict.fromkeys([*found, *replaced]):
            self.log.warning(f"the notebook replaced {name}", extra=NOTE)
        if cut:
            text = "Output was left out here: there was too much of it.\n"
            cell.outputs.append(_stream("stdout", text))
            where = cell.metadata.get("nbgrader", {}).get("grade_id")
            self.log.warning(
                f"output of {where or f'cell {place + 1}'} was cut", extra=NOTE
            )
        if not _is_graded(cell):
            return
        for output in cell.outputs:
            # nbgrader takes points for what is on standard error, and gives the points
            # that a result names, even before an error.
            if output.output_type == "stream":
                output.name = "stdout"
            elif output.output_type == "execute_result" and (self.lesson or not ok):
                output.output_type = "display_data"
                del output["execution_count"]
        wanted = set(re.findall(r"\bcheck\.\w+\(", cell.source)) if self.lesson else ()
        if replaced:
            _refuse(cell, f"this notebook replaced {', '.join(replaced)}")
        elif not ok:
            _refuse(cell, "this cell ended with an error")
        elif len(passed) < len(wanted):
            _refuse(cell, "the check did not say that it passed")

    def _root(self) -> Path:
        converter = getattr(self.parent, "parent", None)
        return Path(converter.coursedir.root if converter else os.getcwd()).resolve()


def _is_graded(cell: Any) -> bool:
    return cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade")


def _refuse(cell: Any, why: str) -> None:
    """Give a graded cell no points; nbgrader gives none beside an error."""
    if any(one.output_type == "error" for one in cell.outputs):
        return
    said = f"Not counted: {why}."
    cell.outputs.append(
        nbformat.v4.new_output(
            "error", ename="NotCounted", evalue=said, traceback=[said]
        )
    )


def _output(given: dict[str, Any]) -> Any:
    """Make an output of what the judge says, of nothing but text and pictures."""
    kind = given["output_type"]
    if kind == "stream":
        name = "stderr" if given["name"] == "stderr" else "stdout"
        return _stream(name, _text(given["text"]))
    if kind == "error":
        return nbformat.v4.new_output(
            kind,
            ename=_text(given["ename"]),
            evalue=_text(given["evalue"]),
            traceback=[_text(line) for line in given["traceback"]],
        )
    data = {
        mime: _text(given["data"][mime])
        for mime in (*TEXT, *PICTURES, *MARKUP)
        if mime in given["data"]
    }
    if kind == "execute_result":
        count = given["execution_count"]
        count = count if isinstance(count, int) else None
        return nbformat.v4.new_output(kind, data=data, execution_count=count)
    return nbformat.v4.new_output("display_data", data=data)


def _stream(name: str, text: str) -> Any:
    return nbformat.from_dict({"output_type": "stream", "name": name, "text": text})


def _text(value: Any) -> str:
    text = "".join(value) if isinstance(value, list) else str(value)
    return text.encode("utf-8", "replace").decode("utf-8")


def _released_texts(root: Path, names: dict[str, str]) -> set[str]:
    """Texts of the released lesson, which need no mending."""
    path = root / "release" / names["assignment"] / f"{names['notebook']}.ipynb"
    with contextlib.suppress(OSError, ValueError):
        notebook = nbformat.read(path, as_version=4)
        return {c.source for c in notebook.cells if c.cell_type != "code"}
    return set()


def _drop_scripts(nb: Any, released: set[str]) -> None:
    """Leave no script for the pages of formgrader and feedback to run."""
    sanitiser = SanitizeHTML()
    for number, cell in enumerate(nb.cells):
        if cell.cell_type == "code" or cell.source not in released:
            sanitiser.preprocess_cell(cell, {}, number)


def data_of(name: str) -> list[str]:
    """Name the data sets of a lesson.

    Parameters
    ----------
    name : str
        The lesson's, such as ``01_one_hot_vs_embeddings``.

    Returns
    -------
    list of str
        Keys of the catalog.
    """
    return [
        one.name
        for one in catalog().values()
        if name[:2] in {f"{number:02}" for number in one.lessons}
    ]


def _readable(name: str) -> dict[str, str]:
    """Paths that a lesson reads, by their places in the sandbox.

    Its data, and matplotlib's list of fonts.
    """
    import matplotlib.font_manager  # makes its list of fonts, which takes seconds

    sets = data_of(name)
    found = {one: locate(one) for one in sets}
    missing = [one for one, at in found.items() if not at]
    if missing:
        # Without its data a right answer would earn nothing.
        raise SubmissionError(
            f"Nothing is downloaded while grading, and {', '.join(missing)} is not "
            f"here: run `course data {' '.join(missing)}`."
        )
    read = {
        str(at[1].resolve()): f"{DATA}/{one}"
        for one, at in found.items()
        if at and at[0] in ("shared", "cache")
    }
    for path in Path(matplotlib.get_cachedir()).glob("fontlist-*.json"):
        read[str(path)] = f"{sandbox.HOME}/.cache/matplotlib/{path.name}"
    return read
