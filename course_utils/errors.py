"""Errors that a reader meets as one sentence, in a notebook as on a command line."""

from __future__ import annotations


class CourseError(Exception):
    """A mistake or a fault with a known way out; its text says which.

    Notebooks show the text alone, without a traceback; the command line prints
    it on standard error and exits.
    """

    def _render_traceback_(self) -> list[str]:
        # IPython asks an exception for this before it formats a traceback.
        return [str(self)]


class UsageError(CourseError):
    """A name or an argument that the course does not know."""


class DataError(CourseError):
    """A file that a lesson needs could not be had, or is not what it should be."""
