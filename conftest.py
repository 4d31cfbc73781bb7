"""Settings that hold for the package's tests and for the lessons under nbval."""

from __future__ import annotations

import os

from tests.support.comparison import Output, difference, tolerance_of

# Tests share the processors, and a thread of OpenMP that waits by spinning takes time
# from the others: not in this process, and in no kernel that it starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collectstart(collector):
    """Leave out of nbval's comparison what says nothing about a lesson.

    Standard error holds progress bars; HTML repeats a table whose plain text is
    compared all the same.
    """
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr", "text/html")


def pytest_itemcollected(item):
    """Let nbval compare the numbers of a lesson's cell as numbers.

    nbval compares what `sanitize` returns, stored and new, by ``!=``.
    """
    if not hasattr(item, "compare_outputs"):
        return
    tolerance = tolerance_of(item.cell.metadata.get("tags", []))
    sanitize = item.sanitize

    def as_output(value):
        text = sanitize(value)
        return Output(text, tolerance) if isinstance(text, str) else text

    def report(key, stored, new):
        said = difference(stored, new, tolerance)
        item.comparison_traceback.append(f"{key}: {said}\n\n{new}")

    item.sanitize = as_output
    item.format_output_compare = report


# What takes longest goes first, so that two workers end together.
LONGEST = ("hostile_submissions", "grading", "processors", "bench", "without_annoy")


def pytest_collection_modifyitems(items):
    """Put the lessons first, then the longest tests, then the others."""

    def place(item):
        name = item.path.stem.removeprefix("test_")
        lesson = item.path.suffix == ".ipynb"
        return -1 if lesson else (*LONGEST, name).index(name)

    items.sort(key=place)
