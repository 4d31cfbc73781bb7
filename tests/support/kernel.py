"""Run a few cells in a kernel of their own."""

from __future__ import annotations

import subprocess

from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook


def texts_of(*sources: str) -> list[str]:
    """Execute cells in one kernel, and give what each shows as plain text."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    client = NotebookClient(notebook, kernel_name="python3", timeout=120)
    client.execute(stderr=subprocess.DEVNULL)
    return [
        "".join(
            output.get("text") or output.get("data", {}).get("text/plain", "")
            for output in cell.outputs
        )
        for cell in notebook.cells
    ]
