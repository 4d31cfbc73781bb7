"""Marks of tests whose subject exists on some systems only."""

from __future__ import annotations

import sys

import pytest

needs_linux = pytest.mark.skipif(
    sys.platform != "linux",
    reason="its subject is Linux's: Landlock, cgroups, Debian packages or JupyterHub",
)
needs_posix = pytest.mark.skipif(
    sys.platform == "win32",
    reason="its subject is not Windows': make, bash, signals, ids or modes of files",
)
