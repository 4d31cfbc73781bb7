"""Write deploy/README's tables: ``python -m course_tools.classroom.sizes``."""

from __future__ import annotations

import json
import math
from operator import itemgetter

from course_tools.lessons import ROOT

DEPLOY = ROOT / "deploy"
BEGIN, END = "<!-- sizes: begin -->\n", "<!-- sizes: end -->"
CLASSES = (30, 300, 3000)
# What every lesson keeps to; zero-to-jupyterhub.yaml guarantees it.
PROMISE_GB = 2
# Everybody runs a whole lesson from the top within so many minutes: the worst case of a
# class that begins together, and the usual one of people who read what they run.
TOGETHER_MINUTES, APART_MINUTES = 10, 60


def figures(runs: list[dict]) -> dict[str, float]:
    """Take from all runs what the sizes are computed from: the worst of each.

    Memory is that of the largest class: files that several students map count for each
    of them the less, the more they are.

    Parameters
    ----------
    runs : list of dict
        As ``python -m course_tools.classroom --json`` wrote them.

    Returns
    -------
    dict of str to float
        MB, CPU seconds and MB on disk, each of one student; MB of hub and proxy.
    """
    return {
        "memory_mb": max(runs, key=itemgetter("students"))["memory_mb"]["worst"],
        "cpu_s": max(run["cpu_s"]["median"] for run in runs),
        "home_mb": max(run["home_mb"]["worst"] for run in runs),
        "front_mb": max(run["hub_mb"] + run["proxy_mb"] for run in runs),
    }


def up(value: float) -> str:
    """Round up to two digits: a size that is a little too large does no harm."""
    step = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / step) * step:,}"


def table(runs: list[dict]) -> str:
    """Lines of the README's tables: what was measured, and what follows for classes."""
    lines = [
        "| students at once | seconds to a server | seconds for the lesson | "
        "MB a student | CPU seconds a student | MB of hub and proxy | "
        "MB of all at once | failures |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        one = {
            name: f"{run[name]['median']:,.0f}, at worst {run[name]['worst']:,.0f}"
            for name in ("spawn_s", "lesson_s", "memory_mb", "cpu_s")
        }
        lines.append(
            f"| {run['students']} | {one['spawn_s']} | {one['lesson_s']} | "
            f"{one['memory_mb']} | {one['cpu_s']} | "
            f"{run['hub_mb'] + run['proxy_mb']} | {run['all_mb']:,} | "
            f"{len(run['failures'])} |"
        )
    found = figures(runs)
    lines += [
        "",
        "| students | memory, lesson 01 | memory, any lesson | "
        f"cores, all within {TOGETHER_MINUTES} minutes | "
        f"cores, all within {APART_MINUTES} minutes | disk for homes |",
        "|---|---|---|---|---|---|",
    ]
    for number in CLASSES:
        first = (number * found["memory_mb"] + found["front_mb"]) / 1024
        every = number * PROMISE_GB + found["front_mb"] / 1024
        spent = number * found["cpu_s"] / 60
        lines.append(
            f"| {number:,} | {up(first)} GB | {up(every)} GB | "
            f"{up(spent / TOGETHER_MINUTES)} | {up(spent / APART_MINUTES)} | "
            f"{up(number * found['home_mb'] / 1024)} GB |"
        )
    return "\n".join(lines) + "\n"


def renewed(readme: str, runs: list[dict]) -> str:
    """Put the tables into the README's text."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table(runs) + END + after


def main() -> None:
    """Renew the README."""
    runs = json.loads((DEPLOY / "measured.json").read_text(encoding="utf-8"))
    path = DEPLOY / "README.md"
    path.write_text(renewed(path.read_text(encoding="utf-8"), runs), encoding="utf-8")


if __name__ == "__main__":
    main()
