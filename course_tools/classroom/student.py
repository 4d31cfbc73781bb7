"""A student at a browser: logs in, gets the lessons, answers, runs and saves one."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any
from urllib.parse import urljoin

from course_tools.classroom.accounts import Account
from course_tools.lessons import Lesson

import aiohttp
import nbformat
from yarl import URL


class Failure(Exception):
    """What went wrong for a student, in words."""


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
        """Open one's own server, wait for the lessons, and give the folder it shows."""
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
        # Where the browser is sent on to: the student's copies, brought up to date.
        async with self.session.get(f"{self.own}/{page.query['urlpath']}") as response:
            opened = response.url.path.partition("/lab/tree/")[2]
            await response.text()
        if response.status != 200 or not opened:
            raise Failure(f"{response.url} in place of the lessons")
        return opened

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
        message: dict[str, Any] = {"header": header, "content": content}
        message |= {"parent_header": {}, "metadata": {}, "buffers": []}
        message["channel"] = "shell"
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
