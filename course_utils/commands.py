"""Commands as one types them here: messages name them, and systems differ."""

from __future__ import annotations

import sys


def set_up(purpose: str = "lab", *, platform: str = sys.platform) -> str:
    """Command that sets the course up again.

    Parameters
    ----------
    purpose : str
        What for, as ``bootstrap.py`` names it: ``lab``, ``test`` or ``book``.
    platform : str
        As `sys.platform` names the system.

    Returns
    -------
    str
        Such as ``make setup``; on Windows, where there is no ``make``,
        ``py bootstrap.py lab``.
    """
    if platform == "win32":
        return f"py bootstrap.py {purpose}"
    return "make setup" if purpose == "lab" else f"python3 bootstrap.py {purpose}"
