"""Try a server with a class: ``python -m course_tools.classroom``, as root.

Each student has an account of this machine for the time of the trial, logs in with a
browser's requests, waits for a server, gets the lessons, writes the answers into
lesson 01, runs it cell by cell, and saves it. What that took is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from course_tools.classroom.accounts import accounts
from course_tools.classroom.simulation import Report, simulate
from course_tools.lessons import find_lessons


def save(report: Report, path: Path) -> None:
    """Add a report to a file, in place of an older one of as many students."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    kept = [one for one in kept if one["students"] != report.students]
    kept.append(report.summary())
    kept.sort(key=lambda one: one["students"])
    path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Try a running hub of this machine; give 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--students", type=int, default=4)
    parser.add_argument("--address", default="http://127.0.0.1:8000")
    parser.add_argument("--group", default="students", help="who may log in")
    parser.add_argument("--lesson", default="1", help="number of the lesson")
    parser.add_argument("--patience", type=float, default=1800, help="seconds")
    parser.add_argument("--json", type=Path, help="also add the figures to this file")
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        parser.error("accounts are made for the trial: run this as root.")
    (lesson,) = find_lessons([options.lesson])
    # Ended from outside, it still removes the accounts.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with accounts(options.students, options.group) as people:
        report = asyncio.run(
            simulate(options.address, people, lesson, options.patience)
        )
    print(report.table())
    if options.json:
        save(report, options.json)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
