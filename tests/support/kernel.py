"""Run a few cells in a kernel of their own."""

from __future__ import annotations

import subprocess

from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook


def run_cells(*sources: str) -> NotebookNode:
    """Execute cells in one kernel, and give the notebook with what they show."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    client = NotebookClient(notebook, kernel_name="python3", timeout=120)
    client.execute(stderr=subprocess.DEVNULL)
    return notebook


def texts_of(*sources: str) -> list[str]:
    """Execute cells in one kernel, and give what each shows as plain text."""
    return [
        "".join(
            output.get("text") or output.get("data", {}).get("text/plain", "")
            for output in cell.outputs
        )
        for cell in run_cells(*sources).cells
    ]
