"""What `course doctor` finds, as a notebook shows it."""

from __future__ import annotations

import html
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from course_utils.checks.answers import shell

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
        """Write the findings as text."""
        if not self.problems:
            return (
                f"{GOOD} {self.good} things looked at; nothing was found that would "
                "stop a lesson."
            )
        return "\n".join(f"{BAD} {one}" for one in self.problems)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # A notebook shows HTML; its plain text is compared in tests, and what would
        # stand there differs from machine to machine.
        printer.text(
            "What course doctor found on this machine" if shell() else repr(self)
        )


def doctor() -> DoctorReport:
    """Run ``course doctor`` beside this kernel.

    Returns
    -------
    DoctorReport
        A notebook shows it as a sentence, or as a list of what to mend.
    """
    print("Looking at versions, memory, disk and data: ten seconds or so.", flush=True)
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
