"""A class that takes a lesson at once: times, memory, failures."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from course_tools.classroom.accounts import Account, processes
from course_tools.classroom.student import Failure, Student
from course_tools.lessons import Lesson, find_lessons

import aiohttp
import psutil

MB = 2**20


@dataclass
class Trial:
    """What one student saw; times in seconds, memory in MB."""

    name: str
    spawn_s: float = 0.0
    lesson_s: float = 0.0
    cells: int = 0
    server_mb: float = 0.0
    memory_mb: float = 0.0
    data_mb: float = 0.0
    cpu_s: float = 0.0
    home_mb: float = 0.0
    failure: str = ""


@dataclass
class Report:
    """A trial of a whole class."""

    students: int
    cores: int
    lesson: str
    hub_mb: float = 0.0
    proxy_mb: float = 0.0
    all_mb: float = 0.0
    trials: list[Trial] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """Each failure with the student's name."""
        return [f"{one.name}: {one.failure}" for one in self.trials if one.failure]

    def median(self, name: str) -> float:
        """Middle value of one figure over the students."""
        return statistics.median(getattr(one, name) for one in self.trials)

    def worst(self, name: str) -> float:
        """Largest value of one figure over the students."""
        return max(getattr(one, name) for one in self.trials)

    def summary(self) -> dict[str, Any]:
        """Figures of the class, rounded, without names."""
        seconds = ("spawn_s", "lesson_s", "cpu_s")
        memory = ("server_mb", "memory_mb", "data_mb", "home_mb")
        return {
            "students": self.students,
            "cores": self.cores,
            "lesson": self.lesson,
            **{
                name: {
                    "median": round(self.median(name), 1),
                    "worst": round(self.worst(name), 1),
                }
                for name in (*seconds, *memory)
            },
            "hub_mb": round(self.hub_mb),
            "proxy_mb": round(self.proxy_mb),
            "all_mb": round(self.all_mb),
            "failures": self.failures,
        }

    def table(self) -> str:
        """Lay the figures out for people."""
        found = self.summary()
        rows = [
            ("seconds to a server", "spawn_s"),
            ("seconds for the lesson", "lesson_s"),
            ("MB of a student's server alone", "server_mb"),
            ("MB of a student at the peak", "memory_mb"),
            ("MB as the limit counts, one process", "data_mb"),
            ("CPU seconds of a student", "cpu_s"),
            ("MB in the home folder", "home_mb"),
        ]
        lines = [
            f"{self.students} students, {self.cores} cores, {self.lesson}",
            f"{'':36}{'median':>10}{'worst':>10}",
        ]
        for words, name in rows:
            one = found[name]
            lines.append(f"{words:36}{one['median']:10.1f}{one['worst']:10.1f}")
        lines.append(
            f"hub {found['hub_mb']} MB, proxy {found['proxy_mb']} MB, "
            f"everybody at once {found['all_mb']} MB"
        )
        lines += [f"FAILED {one}" for one in self.failures] or ["nothing failed"]
        return "\n".join(lines)


class Watch:
    """Look at the memory and the CPU time of students, hub and proxy."""

    def __init__(self, address: str, people: list[Account]) -> None:
        self.uids = {account.uid: account.name for account in people}
        self.proxy, self.hub = front(address)
        self.memory = dict.fromkeys(self.uids.values(), 0.0)
        self.data = dict.fromkeys(self.uids.values(), 0.0)
        self.cpu: dict[str, dict[int, float]] = {n: {} for n in self.uids.values()}
        self.hub_mb = self.proxy_mb = self.all_mb = 0.0

    def look(self) -> None:
        """Look once; what was largest stays."""
        now = dict.fromkeys(self.memory, 0.0)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                name = self.uids.get(process.uids().real)
                if name is None:
                    continue
                now[name] += share(process)
                self.data[name] = max(self.data[name], data(process))
                spent = process.cpu_times()
                self.cpu[name][process.pid] = spent.user + spent.system
        for name, memory in now.items():
            self.memory[name] = max(self.memory[name], memory)
        hub, proxy = share(self.hub), share(self.proxy)
        self.hub_mb, self.proxy_mb = max(self.hub_mb, hub), max(self.proxy_mb, proxy)
        self.all_mb = max(self.all_mb, hub + proxy + sum(now.values()))

    async def go_on(self, seconds: float = 2.0) -> None:
        """Look again and again until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(seconds)


def share(process: psutil.Process) -> float:
    """MB of a process; pages that others use too are divided among them."""
    return process.memory_full_info().pss / MB


def data(process: psutil.Process) -> float:
    """MB of a process as ``prlimit --data`` counts them."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    for line in status.splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) / 1024
    return 0.0


def front(address: str) -> tuple[psutil.Process, psutil.Process]:
    """Find the proxy by the port it listens at, and the hub that started it."""
    parts = urlsplit(address)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
            proxy = psutil.Process(one.pid)
            return proxy, proxy.parent()
    raise SystemExit(f"Nothing of this machine answers at {address}: start the hub.")


async def take_part(
    student: Student, trial: Trial, lesson: Lesson, everybody: asyncio.Barrier
) -> None:
    """Let one student take a lesson when everybody is in, and note what it took."""
    try:
        async with student:
            began = time.monotonic()
            try:
                await student.log_in()
                await student.start_server()
                trial.spawn_s = time.monotonic() - began
            finally:
                await everybody.wait()
            own = await asyncio.to_thread(processes, student.account.uid)
            trial.server_mb = sum(share(process) for process in own)
            began = time.monotonic()
            trial.cells = await student.lesson(lesson)
            trial.lesson_s = time.monotonic() - began
    except (Failure, aiohttp.ClientError, TimeoutError) as error:
        trial.failure = f"{error}" or type(error).__name__


async def simulate(
    address: str,
    people: list[Account],
    lesson: Lesson | None = None,
    patience: float = 1800,
) -> Report:
    """Let a class take a lesson at once.

    Parameters
    ----------
    address : str
        Where browsers reach the hub; it runs on this machine.
    people : list of Account
        Who takes part.
    lesson : Lesson, optional
        Which lesson; the first if None.
    patience : float
        Seconds after which a start, a request or a cell counts as failed.

    Returns
    -------
    Report
        What it took; failures are in it and are not raised.
    """
    lesson = lesson or find_lessons(["1"])[0]
    watch = Watch(address, people)
    watching = asyncio.create_task(watch.go_on())
    trials = [Trial(account.name) for account in people]
    everybody = asyncio.Barrier(len(people))
    try:
        await asyncio.gather(
            *(
                take_part(Student(address, account, patience), trial, lesson, everybody)
                for account, trial in zip(people, trials, strict=True)
            )
        )
        watch.look()
    finally:
        watching.cancel()
    for account, trial in zip(people, trials, strict=True):
        trial.memory_mb = watch.memory[account.name]
        trial.data_mb = watch.data[account.name]
        trial.cpu_s = sum(watch.cpu[account.name].values())
        trial.home_mb = folder_mb(account.home)
    return Report(
        students=len(people),
        cores=os.cpu_count() or 1,
        lesson=lesson.name,
        hub_mb=watch.hub_mb,
        proxy_mb=watch.proxy_mb,
        all_mb=watch.all_mb,
        trials=trials,
    )


def folder_mb(folder: Path) -> float:
    """MB that a folder takes on the disk."""
    blocks = (p.lstat().st_blocks for p in folder.rglob("*"))
    return sum(blocks) * 512 / MB
