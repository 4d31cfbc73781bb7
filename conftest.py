"""Settings that hold for the package's tests and for the lessons under nbval."""

from __future__ import annotations


def pytest_collectstart(collector):
    """Leave out of nbval's comparison what says nothing about a lesson.

    Standard error holds progress bars; HTML repeats a table whose plain text is
    compared all the same.
    """
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr", "text/html")
