"""Which answer a check judged: a fingerprint that the check's output carries.

A notebook that was saved shows ✅ below a check for as long as nobody runs it again,
whatever became of the answer above. So a check that passes sends, besides its line, an
output without content whose metadata name the answer's cell by a digest. No program
shows it, and `course progress` reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import linecache
import re
import sys
from collections.abc import Iterable
from typing import Any

KEY = "course"


def digest(source: str) -> str:
    """Fingerprint of a cell's code.

    Parameters
    ----------
    source : str
        The cell as a student wrote it, or as IPython ran it.

    Returns
    -------
    str
        The same for both; spaces at the ends of lines do not count.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    # A kernel's history has no blank lines at the end.
    lines = TransformerManager().transform_cell(source.rstrip()).splitlines()
    text = "\n".join(line.rstrip() for line in lines).strip("\n")
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def binds(source: str, name: str) -> bool:
    """Whether a cell defines a name at its top level.

    Parameters
    ----------
    source : str
        The cell's code.
    name : str
        A function's name.

    Returns
    -------
    bool
        True for a definition or an assignment.
    """
    name = re.escape(name)
    pattern = rf"^(?:(?:async\s+)?def|class)\s+{name}\b|^{name}\s*(?::[^=\n]*)?=(?!=)"
    return bool(re.search(pattern, source, re.MULTILINE))


def attach(name: str, answer: Any) -> None:
    """Send the fingerprint of the answer that a check has passed.

    Parameters
    ----------
    name : str
        The exercise's function.
    answer : any
        What the check was called with. Nothing is sent outside a notebook.
    """
    shell = _shell()
    if shell is not None:
        # Whatever a kernel is like, an answer that passed has passed.
        with contextlib.suppress(Exception):
            _send(shell, name, answer)


def _send(shell: Any, name: str, answer: Any) -> None:
    source = _cell_of(answer)
    if not source:
        # Where a magic of the cell ran it, only the history has its text.
        cells = reversed(shell.history_manager.input_hist_raw)
        source = next((cell for cell in cells if binds(cell, name)), "")
    if source:
        metadata = {KEY: {"answer": digest(source)}}
        shell.display_pub.publish(data={}, metadata=metadata)


def passed(outputs: Iterable[Any]) -> str:
    """Read the fingerprint from a check's outputs.

    Parameters
    ----------
    outputs : iterable of dict
        As a notebook stores them.

    Returns
    -------
    str
        A digest, or an empty string where there is none.
    """
    for output in outputs:
        mark = (output.get("metadata") or {}).get(KEY)
        if output.get("output_type") == "display_data" and isinstance(mark, dict):
            return str(mark.get("answer", ""))
    return ""


def is_mark(output: Any) -> bool:
    """Whether an output is a check's fingerprint and nothing else.

    Parameters
    ----------
    output : dict
        As a notebook stores it.

    Returns
    -------
    bool
        True for what `attach` sends.
    """
    return not output.get("data", True) and KEY in (output.get("metadata") or {})


def _shell() -> Any:
    """Give the kernel's shell; None in every other program."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return shell if hasattr(shell, "kernel") else None


def _cell_of(answer: Any) -> str:
    """Text of the cell that an answer's code stands in, as IPython ran it."""
    answer = getattr(answer, "func", answer)  # a partial function's own
    code = getattr(inspect.unwrap(answer), "__code__", None)
    return "".join(linecache.getlines(code.co_filename)) if code else ""
