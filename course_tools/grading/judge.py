"""Execute a submission inside the sandbox and report each cell as it ends.

`course_tools.grading.sandbox` starts this module, with the number of the file to
answer to and the limits to set. The request comes on standard input, as JSON; a line of
JSON goes out for each cell. Kernel and judge are both inside, so no socket leads out.
"""

from __future__ import annotations

import ast
import ctypes
import json
import os
import queue
import re
import signal
import subprocess
import sys
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError

# Bytes of output that a cell keeps; once the notebook has kept as much as it may,
# a cell keeps little, and one that prints without end is interrupted.
CELL_BYTES = 2 << 20
NOTEBOOK_BYTES = 16 << 20
LITTLE_BYTES = 16 << 10
ENDLESS_BYTES = 32 << 20
LEAST_SECONDS = 20
SET_DUMPABLE = 4  # linux/prctl.h
SHOWN = ("stream", "display_data", "execute_result", "update_display_data", "error")
# An error is kept with all that its functions held; one that filled the memory would
# leave none to the cells below. Before Python 3.13 a look at `f_locals` leaves a copy,
# and the next look renews it.
FREE = """
def _free():
    import contextlib, sys
    error = getattr(sys, "last_value", None)
    while error is not None:
        step = error.__traceback__
        while step is not None:
            with contextlib.suppress(RuntimeError):
                step.tb_frame.clear()
                step.tb_frame.f_locals
            step = step.tb_next
        error = error.__context__
_free()
del _free
"""


class Stopped(Exception):
    """The submission cannot be graded; the text follows "it" or "its"."""


class Judge(NotebookClient):
    """Run a submission's cells, and look at its kernel around the graded ones."""

    def __init__(self, request: dict[str, Any], answer: Any) -> None:
        notebook = nbformat.from_dict(request["notebook"])
        self.request, self.answer = request, answer
        self.timeouts = 0
        self.where = "its first cell"
        self.kept = 0
        self.found: list[str] = []
        super().__init__(
            notebook,
            kernel_name="python3",
            allow_errors=True,
            store_widget_state=False,
            timeout_func=self._seconds,
            interrupt_on_timeout=True,
            error_on_timeout={
                "ename": "CellTimeoutError",
                "evalue": "",
                "traceback": ["CellTimeoutError: this cell did not come to an end"],
            },
            on_cell_execute=self._before,
            on_cell_executed=self._after,
            record_timing=False,
            resources={"metadata": {"path": os.getcwd()}},
        )

    def report(self, **said: Any) -> None:
        """Answer with one line."""
        # Not every string that a notebook makes is text: half a surrogate pair is not.
        line = json.dumps(said).encode("ascii")
        self.answer.write(line + b"\n")
        self.answer.flush()

    def _seconds(self, cell: Any) -> int:
        """Time that a cell has: less after each that did not end."""
        most = self.request["seconds"]
        return max(min(LEAST_SECONDS, most), most // 2**self.timeouts)

    # --- before and after a cell -------------------------------------------------

    async def _before(self, cell: Any, cell_index: int) -> None:
        self.where = f"cell {cell_index + 1}"
        self.seen = self.kept_of_cell = 0
        self.tail = ""
        self.found = []
        if _is_graded(cell):
            self.where = cell.metadata["nbgrader"]["grade_id"]
            self.found = (await self._look(cell, mend=True))["found"]
        elif self.timeouts:
            await self._ask("None")

    async def _after(self, cell: Any, cell_index: int, execute_reply: dict) -> None:
        ended = execute_reply["content"]
        if ended.get("status") == "error":
            _record_error(cell, ended)
            await self._ask("None", FREE)
        if ended.get("ename") == "CellTimeoutError":
            self.timeouts += 1
        said: dict[str, Any] = {"found": self.found, "replaced": [], "numbers": []}
        if _is_graded(cell) and ended.get("status") == "ok":
            looked = await self._look(cell, mend=False)
            said["replaced"] = looked["found"]
            said["numbers"] = [
                number
                for number in looked["numbers"]
                if re.search(rf"(^|\n)✅ {re.escape(number)} ", self.tail)
            ]
        self.report(
            cell=cell_index,
            status="ok" if ended.get("status") == "ok" else "error",
            count=cell.execution_count,
            outputs=[one for one in cell.outputs if one.get("data") != {}],
            cut=self.seen > self.kept_of_cell,
            **said,
        )
        # Reported, so no longer needed here.
        cell.outputs = []

    async def _look(self, cell: Any, mend: bool) -> dict[str, Any]:
        exercises = re.findall(r"\bcheck\.(\w+)\(", cell.source)
        arguments = ", ".join(
            map(repr, (self.request["lesson"], self.request["checks"], exercises, mend))
        )
        answer = await self._ask(
            f"(lambda ns: (exec({self.request['probe']!r}, ns), "
            f"ns['look']({arguments}, get_ipython().user_ns))[1])"
            "({'__name__': 'course'})"
        )
        if not isinstance(answer, dict) or set(answer) != {"found", "numbers"}:
            return {"found": ["Python's own functions"], "numbers": []}
        return answer

    async def _ask(self, expression: str, code: str = "") -> Any:
        """Run code and evaluate an expression in the kernel, beside the notebook."""
        assert self.kc is not None
        asked = self.kc.execute(
            code, silent=True, user_expressions={"it": expression}, stop_on_error=False
        )
        try:
            while True:
                reply = await self.kc.get_shell_msg(
                    timeout=self.request["answer_seconds"]
                )
                if reply["parent_header"].get("msg_id") == asked:
                    break
        except queue.Empty:
            if not await self.km.is_alive():
                raise DeadKernelError("Kernel died") from None
            raise Stopped(_ignored(self.where)) from None
        answer = reply["content"].get("user_expressions", {}).get("it", {})
        if answer.get("ename") == "MemoryError":
            raise Stopped(f"it left no memory, in or before {self.where}")
        try:
            return ast.literal_eval(answer["data"]["text/plain"])
        except (KeyError, ValueError, SyntaxError, RecursionError, TypeError):
            return None

    async def _async_cleanup_kernel(self) -> None:
        """Leave the kernel to the sandbox's end."""

    # --- output ------------------------------------------------------------------

    def process_message(self, msg: dict, cell: Any, cell_index: int) -> Any:
        """Keep a cell's output up to a number of bytes.

        Parameters
        ----------
        msg : dict
            What the kernel sent.
        cell : nbformat.NotebookNode
            The cell.
        cell_index : int
            Its place.

        Returns
        -------
        NotebookNode or None
            What became of the message.
        """
        if msg["msg_type"] not in SHOWN:
            return super().process_message(msg, cell, cell_index)
        content = msg["content"]
        if msg["msg_type"] == "stream" and content.get("name") == "stdout":
            self.tail = (self.tail + str(content.get("text")))[-LITTLE_BYTES:]
        size = len(json.dumps(content)) + 200
        before, self.seen = self.seen, self.seen + size
        if before <= ENDLESS_BYTES < self.seen:
            # At once: while messages come in, nothing else has its turn.
            os.kill(self.km.provisioner.pid, signal.SIGINT)
        most = CELL_BYTES if self.kept < NOTEBOOK_BYTES else LITTLE_BYTES
        if self.kept_of_cell + size > most:
            return None
        self.kept += size
        self.kept_of_cell += size
        return super().process_message(msg, cell, cell_index)


def _record_error(cell: Any, ended: dict[str, Any]) -> None:
    """Give a cell the error it ended with, where the notebook kept it silent."""
    names = [o.get("ename") for o in cell.outputs if o.output_type == "error"]
    if ended.get("ename") not in names:
        cell.outputs.append(
            nbformat.v4.new_output(
                "error",
                ename=str(ended.get("ename")),
                evalue=str(ended.get("evalue")),
                traceback=list(map(str, ended.get("traceback") or []))
                or ["An error occurred, and the notebook kept it from being shown."],
            )
        )


def _ignored(where: str) -> str:
    return f"it ignored the interrupt, in or before {where}"


def _is_graded(cell: Any) -> bool:
    return cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade")


def main(arguments: list[str]) -> None:
    """Set the limits, run the submission, and answer.

    Parameters
    ----------
    arguments : list of str
        The number of the file to answer to, and the limits as JSON.
    """
    if sys.platform == "win32":
        raise SystemExit("the sandbox needs Linux")
    import resource

    number = int(arguments[0])
    os.set_inheritable(number, False)
    # From now on, no other process of this user can reach this one's files or memory.
    ctypes.CDLL(None).prctl(SET_DUMPABLE, 0, 0, 0, 0)
    for name, most in json.loads(arguments[1]).items():
        resource.setrlimit(getattr(resource, name), (most, most))
    os.makedirs(os.environ["HOME"], exist_ok=True)
    request = json.load(sys.stdin)
    with open(number, "wb") as answer:
        judge = Judge(request, answer)
        problem = ""
        try:
            judge.execute(stderr=subprocess.DEVNULL)
        except Stopped as error:
            problem = str(error)
        except CellTimeoutError:
            problem = _ignored(judge.where)
        except DeadKernelError:
            problem = (
                f"its kernel died in {judge.where}: it ended itself, or ran out of "
                "memory"
            )
        judge.report(problem=problem)
    # What the notebook left running ends with this process.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
