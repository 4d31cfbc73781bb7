"""Which answer a check judged: a fingerprint that the check's output carries.

A notebook that was saved shows ✅ below a check for as long as nobody runs it again,
whatever became of the answer above. So a check that passes sends, besides its line, an
output without content whose metadata name the answer's cell by a digest. No program
shows it, and `course progress` reads it.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import linecache
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

KEY = "course"
# What stands in an exercise until it is answered; earlier versions said other words.
RAISES = re.compile(r"^\s*raise NotImplementedError\b", re.MULTILINE)


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


def is_open(source: str, stub: str = "") -> bool:
    """Whether an answer's cell still holds what the course put there.

    Parameters
    ----------
    source : str
        The cell's text.
    stub : str, optional
        The cell as the course gives it.

    Returns
    -------
    bool
        True where nothing stands there, or the line that raises and, as far as the
        stub tells, no code of the learner's.
    """
    if not source.strip():
        return True
    if not RAISES.search(source):
        return False
    # Without its stub: a stub may hold code, such as a helper, that the course gives.
    return not stub or not _adds_code(source, stub)


def _adds_code(source: str, stub: str) -> bool:
    try:
        return not set(_statements(stub)).issuperset(_statements(source))
    except SyntaxError:
        return True  # what the course gives can be parsed


def _statements(source: str) -> Iterator[str]:
    """Write each statement that is more than a stub has: a head, a text, `raise`."""
    lines = [line for line in source.splitlines() if not re.match(r"\s*[%!]", line)]
    tree = ast.parse("\n".join(lines))
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Raise) and RAISES.match(ast.unparse(node)):
            continue
        if not isinstance(node, ast.Pass):
            yield ast.unparse(node)


def is_left_above_the_raise(answer: Any) -> bool:
    """Whether a function holds code of the learner's and still the line that raises.

    Parameters
    ----------
    answer : any
        What a check was called with.

    Returns
    -------
    bool
        False where its text is not known.
    """
    answer = getattr(answer, "func", answer)
    try:
        source = textwrap.dedent(inspect.getsource(answer))
    except (OSError, TypeError):
        return False
    # The function alone, without what stands beside it in its cell.
    return bool(RAISES.search(source)) and _adds_code(source, "")


def attach(name: str, answer: Any) -> None:
    """Send the fingerprint of the answer that a check has passed.

    Parameters
    ----------
    name : str
        The exercise's function.
    answer : any
        What the check was called with. Nothing is sent outside a notebook.
    """
    kernel = shell()
    if kernel is not None:
        # Whatever a kernel is like, an answer that passed has passed.
        with contextlib.suppress(Exception):
            _send(kernel, name, answer)


def _send(kernel: Any, name: str, answer: Any) -> None:
    source = _cell_of(answer)
    if not binds(source, name):
        # Where a magic of the cell ran it, or where it calls a library's function,
        # only the history has its text.
        cells = reversed(kernel.history_manager.input_hist_raw)
        source = next((cell for cell in cells if binds(cell, name)), source)
    if source:
        metadata = {KEY: {"answer": digest(source)}}
        kernel.display_pub.publish(data={}, metadata=metadata)


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


def shell() -> Any:
    """Give the kernel's shell; None in every other program."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    found = get_ipython()
    return found if hasattr(found, "kernel") else None


def _cell_of(answer: Any) -> str:
    """Text of the cell that an answer's code stands in, as IPython ran it."""
    answer = getattr(answer, "func", answer)  # a partial function's own
    code = getattr(inspect.unwrap(answer), "__code__", None)
    return "".join(linecache.getlines(code.co_filename)) if code else ""
