"""Marks of tests whose subject exists on some systems only."""

from __future__ import annotations

import sys

from course_tools.grading import sandbox

import pytest

needs_linux = pytest.mark.skipif(
    sys.platform != "linux",
    reason="its subject is Linux's: a sandbox, cgroups, Debian packages or JupyterHub",
)
needs_posix = pytest.mark.skipif(
    sys.platform == "win32",
    reason="its subject is not Windows': make, bash, signals, ids or modes of files",
)
needs_sandbox = pytest.mark.skipif(
    sys.platform != "linux" or bool(sandbox.problem()),
    reason=sandbox.problem() or "there is a sandbox",
)
