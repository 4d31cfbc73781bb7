"""Try a server with a class: ``python deploy/classroom.py --students 4``, as root.

Each student has an account of this machine for the time of the trial, logs in with a
browser's requests, waits for a server, gets the lessons, writes the answers into
lesson 01, runs it cell by cell, and saves it. What that took is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import grp
import json
import os
import pwd
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

# The lessons lie in this checkout; an installed copy of the package has none.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from course_tools.lessons import Lesson, find_lessons

import aiohttp
import nbformat
import psutil
from yarl import URL

PREFIX = "course-try-"
MB = 2**20


class Failure(Exception):
    """What went wrong for a student, in words."""


@dataclass
class Account:
    """A Unix account made for a trial."""

    name: str
    password: str

    @property
    def uid(self) -> int:
        """The account's number, by which its processes are found."""
        return pwd.getpwnam(self.name).pw_uid

    @property
    def home(self) -> Path:
        """The account's home folder."""
        return Path(pwd.getpwnam(self.name).pw_dir)


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
        figures = ("spawn_s", "lesson_s", "server_mb", "memory_mb", "data_mb")
        figures += ("cpu_s", "home_mb")
        return {
            "students": self.students,
            "cores": self.cores,
            "lesson": self.lesson,
            **{
                name: {
                    "median": round(self.median(name), 1),
                    "worst": round(self.worst(name), 1),
                }
                for name in figures
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


@contextlib.contextmanager
def accounts(number: int, group: str) -> Iterator[list[Account]]:
    """Make accounts of this machine in a group, and remove them in all cases."""
    try:
        grp.getgrnam(group)
    except KeyError:
        raise SystemExit(f"There is no group {group!r}: addgroup {group}") from None
    made: list[Account] = []
    try:
        for _ in range(number):
            account = Account(PREFIX + secrets.token_hex(4), secrets.token_urlsafe(24))
            command = ["useradd", "--create-home", "--key", "HOME_MODE=0700"]
            command += ["--groups", group, "--shell", "/bin/bash", account.name]
            subprocess.run(command, check=True)
            made.append(account)
            subprocess.run(
                ["chpasswd"],
                input=f"{account.name}:{account.password}",
                text=True,
                check=True,
            )
        yield made
    finally:
        for account in made:
            remove(account)


def remove(account: Account) -> None:
    """End what runs in an account's name, and remove it with its home."""
    for _ in range(50):
        left = processes(account.uid)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        if not left:
            break
        time.sleep(0.2)
    home = account.home
    subprocess.run(["userdel", "--force", account.name], check=True)
    shutil.rmtree(home, ignore_errors=True)


def processes(uid: int) -> list[psutil.Process]:
    """Find what runs in an account's name."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.uids().real == uid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


class Student:
    """One student at a browser."""

    def __init__(
        self,
        address: str,
        account: Account,
        patience: float,
        connector: aiohttp.BaseConnector | None = None,
    ) -> None:
        self.address = address.rstrip("/")
        self.account = account
        self.patience = patience
        self.own = f"{self.address}/user/{account.name}"
        # The cookies are quoted already, and the address may be a number.
        jar = aiohttp.CookieJar(unsafe=True, quote_cookie=False)
        self.session = aiohttp.ClientSession(
            cookie_jar=jar,
            timeout=aiohttp.ClientTimeout(total=patience),
            connector=connector,
        )

    async def __aenter__(self) -> Student:
        """Open the browser."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the browser; the server goes on."""
        await self.session.close()

    def xsrf(self, place: str) -> str:
        """Read the token against forged requests that a page left as a cookie."""
        cookies = self.session.cookie_jar.filter_cookies(URL(place + "/"))
        return cookies["_xsrf"].value if "_xsrf" in cookies else ""

    async def request(
        self, method: str, url: str, *, place: str = "", **more: Any
    ) -> tuple[int, str]:
        """Ask for a page or for the API; give status and text."""
        # What a browser adds; without it the hub leaves its checks of forgery out.
        headers = {"X-XSRFToken": self.xsrf(place or self.own)}
        headers["Sec-Fetch-Site"] = "same-origin"
        headers["Sec-Fetch-Mode"] = "cors" if "/api/" in url else "navigate"
        async with self.session.request(
            method, url, headers=headers, **more
        ) as response:
            return response.status, await response.text()

    async def api(self, method: str, path: str, **more: Any) -> Any:
        """Ask the student's own server."""
        status, text = await self.request(method, f"{self.own}/api/{path}", **more)
        if status >= 400:
            raise Failure(f"{method} {path}: status {status}: {text[:200]}")
        return json.loads(text) if text else None

    async def log_in(self) -> None:
        """Fill in the form, as the login page has it."""
        hub = f"{self.address}/hub"
        await self.request("GET", f"{hub}/login", place=hub)
        form = {
            "username": self.account.name,
            "password": self.account.password,
            "_xsrf": self.xsrf(hub),
        }
        status, text = await self.request(
            "POST", f"{hub}/login?next=%2Fhub%2Fhome", place=hub, data=form
        )
        if status != 200:
            raise Failure(f"login: status {status}: {text[-300:]}")

    async def start_server(self) -> None:
        """Ask for a server and wait until the hub calls it ready."""
        hub = f"{self.address}/hub"
        end = time.monotonic() + self.patience
        status, text = await self.request("GET", f"{hub}/spawn", place=hub)
        # 429: too many start at once, and the hub asks to come again.
        while status == 429 and time.monotonic() < end:
            await asyncio.sleep(5)
            status, text = await self.request("GET", f"{hub}/spawn", place=hub)
        if status >= 400:
            raise Failure(f"spawn: status {status}: {text[-300:]}")
        while time.monotonic() < end:
            server = await self.server()
            if server is None:
                raise Failure("the server did not start; the hub's log says why")
            if server["ready"]:
                # Elsewhere where each student has a domain.
                self.own = urljoin(self.address, server["url"]).rstrip("/")
                return
            await asyncio.sleep(0.5)
        raise Failure(f"no server within {self.patience:.0f} s")

    async def server(self) -> dict | None:
        """Ask the hub for what it knows of this student's server."""
        hub = f"{self.address}/hub"
        url = f"{hub}/api/users/{self.account.name}"
        status, text = await self.request("GET", url, place=hub)
        if status != 200:
            raise Failure(f"the hub's API: status {status}: {text[:200]}")
        return json.loads(text)["servers"].get("")

    async def stop_server(self) -> None:
        """Stop the server, as the button in the hub's control panel does."""
        hub = f"{self.address}/hub"
        url = f"{hub}/api/users/{self.account.name}/server"
        await self.request("DELETE", url, place=hub)
        end = time.monotonic() + self.patience
        while await self.server() is not None and time.monotonic() < end:
            await asyncio.sleep(0.5)

    async def take_lessons(self) -> str:
        """Open one's own server, and wait until nbgitpuller brought the lessons."""
        async with self.session.get(f"{self.own}/") as response:
            page = response.url
            await response.text()
        if response.status != 200 or not page.path.endswith("/git-pull"):
            raise Failure(f"{page} in place of git-pull: status {response.status}")
        url = page.with_path(page.path + "/api", keep_query=True)
        url = url.update_query(_xsrf=self.xsrf(self.own))
        headers = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
        async with self.session.get(url, headers=headers) as response:
            text = await response.text()
        if '"finished"' not in text:
            raise Failure(f"nbgitpuller: {text[-500:]}")
        return page.query["urlpath"].removeprefix("lab/tree/")

    async def start_kernel(self, path: str = "") -> Kernel:
        """Start a kernel for a notebook, as opening it does."""
        body = {"path": path, "type": "notebook", "name": "", "kernel": {"name": ""}}
        body["path"] = path or f"{uuid.uuid4().hex}.ipynb"
        made = await self.api("POST", "sessions", json=body)
        number, session = made["kernel"]["id"], uuid.uuid4().hex
        socket = await self.session.ws_connect(
            f"{self.own}/api/kernels/{number}/channels",
            params={"session_id": session, "_xsrf": self.xsrf(self.own)},
            headers={
                "Sec-Fetch-Mode": "websocket",
                "Origin": str(URL(self.own).origin()),
            },
            max_msg_size=0,
            timeout=aiohttp.ClientWSTimeout(ws_receive=self.patience),
        )
        return Kernel(number, session, socket, self.patience)

    async def lesson(self, lesson: Lesson) -> int:
        """Take a lesson from opening to saving; give the number of cells that ran."""
        folder = await self.take_lessons()
        path = f"{folder}/{lesson.notebook.name}"
        model = await self.api("GET", f"contents/{path}", params={"content": "1"})
        notebook = nbformat.from_dict(model["content"])
        answer(notebook, lesson)
        kernel = await self.start_kernel(path)
        done = 0
        try:
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    done += 1
                    cell.outputs = await kernel.run(cell.source, f"cell {done}")
        finally:
            body = {"type": "notebook", "format": "json", "content": notebook}
            await self.api("PUT", f"contents/{path}", json=body)
            await kernel.socket.close()
        return done


class Kernel:
    """A kernel at the other end of a websocket."""

    def __init__(self, number: str, session: str, socket: Any, patience: float) -> None:
        self.number = number
        self.session = session
        self.socket = socket
        self.patience = patience

    async def run(self, code: str, name: str = "a cell") -> list:
        """Run code and give its outputs, or raise what the kernel raised."""
        sent = uuid.uuid4().hex
        header = {
            "msg_id": sent,
            "msg_type": "execute_request",
            "session": self.session,
            "username": "",
            "version": "5.4",
            "date": "",
        }
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = {"header": header, "parent_header": {}, "metadata": {}}
        message |= {"content": content, "buffers": [], "channel": "shell"}
        await self.socket.send_str(json.dumps(message))
        outputs, error, replied, idle = [], "", False, False
        end = time.monotonic() + self.patience
        while not (replied and idle):
            if time.monotonic() > end:
                raise Failure(f"{name} took longer than {self.patience:.0f} s")
            came = await self.socket.receive()
            if came.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                raise Failure(f"{name}: the connection to the kernel was lost")
            if came.type is aiohttp.WSMsgType.BINARY:
                continue  # a widget's buffers
            message = json.loads(came.data)
            kind, content = message["header"]["msg_type"], message["content"]
            state = content.get("execution_state") if kind == "status" else ""
            if state in ("restarting", "dead"):
                raise Failure(f"{name}: the kernel died")
            if (message.get("parent_header") or {}).get("msg_id") != sent:
                continue
            if kind == "execute_reply":
                replied = True
            elif kind == "error":
                error = f"{content['ename']}: {content['evalue'][:300]}"
            elif state == "idle":
                idle = True
            if kind in ("stream", "display_data", "execute_result", "error"):
                outputs.append(nbformat.v4.output_from_msg(message))
        if error:
            raise Failure(f"{name}: {error}")
        return outputs


def answer(notebook: Any, lesson: Lesson) -> None:
    """Write the solution's answers into a student's notebook."""
    answers = {
        cell.metadata.nbgrader["grade_id"]: cell.source
        for cell in nbformat.read(lesson.solution, as_version=4).cells
        if cell.metadata.get("nbgrader", {}).get("solution")
    }
    for cell in notebook.cells:
        mark = cell.metadata.get("nbgrader", {})
        if mark.get("solution"):
            cell.source = answers[mark["grade_id"]]


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
