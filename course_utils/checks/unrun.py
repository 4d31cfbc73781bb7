"""A check that is run before the cell of its answer: one sentence, no traceback."""

from __future__ import annotations

import linecache
import os
import traceback
from types import TracebackType
from typing import Any

from course_utils.checks.answers import shell

# Set where a submission is graded: there any handler of exceptions is the student's.
GRADED = "COURSE_GRADED"


def tell_of_cells_not_run() -> None:
    """Let the notebook say which cell to run first; nothing happens elsewhere."""
    kernel = None if os.environ.get(GRADED) else shell()
    if kernel is not None and not kernel.custom_exceptions:
        kernel.set_custom_exc((NameError,), _show)


def _show(
    kernel: Any,
    kind: type[NameError],
    error: NameError,
    trace: TracebackType,
    tb_offset: int | None = None,
) -> None:
    last = traceback.extract_tb(trace)[-1]
    cell = "".join(linecache.getlines(last.filename)).lstrip()
    # Only where the check's own cell names it, not an answer's code inside.
    if cell.startswith("check.") and isinstance(getattr(error, "name", None), str):
        told = (
            f"`{error.name}` is not defined: run its cell above, then this one again."
        )
        error._render_traceback_ = lambda: [told]  # type: ignore[attr-defined]
    kernel.showtraceback((kind, error, trace), tb_offset, running_compiled_code=True)
