"""What `course doctor` finds, as a notebook shows it."""

from __future__ import annotations

import html
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise

GOOD, BAD = "✅", "❌"


@dataclass(frozen=True)
class DoctorReport:
    """Findings that would stop a lesson, with their cures; the rest is counted.

    Attributes
    ----------
    good : int
        Things that are as they should be.
    problems : tuple of str
        Each with its cure.
    """

    good: int
    problems: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        if not self.problems:
            return (
                f"<p>{GOOD} {self.good} things looked at; nothing was found that would "
                "stop a lesson.</p>"
            )
        found = "".join(f"<li>{html.escape(one)}</li>" for one in self.problems)
        return f"<p>{BAD} To mend:</p><ul>{found}</ul><p>All else is fine.</p>"

    def __repr__(self) -> str:
        """Name it; what it holds differs from machine to machine."""
        return "What course doctor found on this machine"


def doctor() -> DoctorReport:
    """Run ``course doctor`` beside this kernel.

    Returns
    -------
    DoctorReport
        A notebook shows it as a sentence, or as a list of what to mend.
    """
    command = [sys.executable, "-m", "course_tools.cli", "doctor"]
    ran = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
        timeout=300,
    )
    lines = ran.stdout.splitlines()
    problems = [
        f"{line.removeprefix(BAD).strip()}. {after.strip()}"
        for line, after in pairwise([*lines, ""])
        if line.startswith(BAD)
    ]
    good = sum(line.startswith(GOOD) for line in lines)
    if not good:
        problems.append(ran.stderr.strip() or "`course doctor` did not start.")
    return DoctorReport(good, tuple(problems))
