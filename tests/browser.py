"""JupyterLab on copies of the lessons, in a real browser: what a student sees."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

from course_tools.lab_settings import for_lab
from course_tools.lessons import ROOT
from course_tools.work.places import Places
from course_tools.work.update import update

import nbformat
from playwright.sync_api import Browser, Locator, Page, Request, sync_playwright

# Whatever its name, it is the browser that the machine has: none is fetched.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
NO_BROWSER = f"no Chromium here: none of {', '.join(NAMES)} is on PATH"

# All cells in the page at once.
SETTINGS = {"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}
# What JupyterLab and Chromium say of themselves, whatever is open.
NOT_OURS = ("@jupyter/ydoc", "GPU stall due to ReadPixels")

# Idle is said for half a second before there is a kernel, and what is run then is lost.
READY = """() => {
  const widget = window.jupyterapp?.shell?.currentWidget;
  const session = widget?.sessionContext;
  return Boolean(
    widget?.context?.isReady && session?.isReady
    && session.session?.kernel?.connectionStatus === 'connected'
    && session.kernelDisplayStatus === 'idle'
  );
}"""
# A cell has run since its brackets said so, and nothing runs or waits to be run.
SETTLED = f"""([number, before]) => {{
  const cells = [...document.querySelectorAll('.jp-Notebook .jp-Cell')];
  const says = cell => cell.querySelector('.jp-InputPrompt').textContent.trim();
  return ({READY})() && says(cells[number]) !== before
    && !cells.some(cell => says(cell).includes('*'));
}}"""
COUNT_POINTER = """
window.pointerEvents = 0;
for (const kind of ['pointerdown', 'pointermove', 'wheel', 'touchstart'])
  addEventListener(kind, () => { window.pointerEvents += 1; }, true);
"""


@dataclass
class Lab:
    """A JupyterLab of the tests: where it listens, and the folder that it shows."""

    address: str
    token: str
    folder: Path

    def add(self, notebook: Any, name: str) -> str:
        """Put a notebook beside the lessons; returns its file's name."""
        nbformat.write(notebook, self.folder / name)
        return name

    def ask(self, path: str, method: str = "GET") -> Any:
        """Ask the server's own interface."""
        request = urllib.request.Request(
            f"{self.address}/api/{path}",
            headers={"Authorization": f"token {self.token}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or "null")

    def stop_kernels(self) -> None:
        """Free the memory that a lesson took."""
        for kernel in self.ask("kernels"):
            self.ask(f"kernels/{kernel['id']}", "DELETE")


@contextmanager
def run_lab(folder: Path) -> Iterator[Lab]:
    """Serve a student's copies on loopback, with settings of its own."""
    lessons, config = folder / "lessons", folder / "config"
    update(Places(ROOT / "notebooks", lessons))
    (config / "labconfig").mkdir(parents=True)
    overrides = config / "labconfig" / "default_setting_overrides.json"
    overrides.write_text(json.dumps(SETTINGS), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lab = Lab(f"http://127.0.0.1:{port}", secrets.token_hex(16), lessons)
    words, layers = for_lab(lessons)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", *words]
    command += ["--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={lab.token}"]
    command += ["--LabApp.expose_app_in_browser=True"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    own = {"JUPYTER_CONFIG_DIR": config, "IPYTHONDIR": folder / "ipython"}
    own |= {"JUPYTER_RUNTIME_DIR": folder / "runtime", "COURSE_WORK": lessons}
    # As `course lab` does.
    commands = os.path.dirname(sys.executable)
    own |= {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    own |= {"JUPYTERLAB_SETTINGS_DIR": folder / "settings"}
    own |= {"JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces"}
    layers |= {name: str(path) for name, path in own.items()}
    log = folder / "lab.log"
    with open(log, "wb") as stream:
        server = subprocess.Popen(
            command,
            env={
                **os.environ,
                **layers,
                **{name: str(path) for name, path in own.items()},
            },
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_it_answers(lab, server, log)
        yield lab
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_until_it_answers(lab: Lab, server: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until and server.poll() is None:
        try:
            lab.ask("status")
            return
        except URLError:
            time.sleep(0.3)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text('utf-8')}")


@dataclass
class Desk:
    """A notebook in the browser, with what went wrong meanwhile."""

    lab: Lab
    page: Page
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Collect errors, and requests to other machines."""
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)

    def _heard(self, message: Any) -> None:
        # JupyterLab asks for a picture beside the page before it asks beside the
        # notebook, where the browser is quick enough.
        if urlsplit(message.location.get("url", "")).path.startswith("/images/"):
            return
        if message.type == "error" and not any(t in message.text for t in NOT_OURS):
            self.errors.append(message.text)

    def _asked(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss"):
            if address.netloc != urlsplit(self.lab.address).netloc:
                self.elsewhere.append(request.url)

    def open(self, name: str) -> None:
        """Open a notebook by its address and wait for its kernel."""
        # A workspace of its own: another's would open what was open there.
        place = f"lab/workspaces/{secrets.token_hex(4)}/tree/{name}"
        self.page.goto(f"{self.lab.address}/{place}?token={self.lab.token}")
        self.page.wait_for_function(READY)

    def cell(self, number: int) -> Locator:
        """The cell at this place of the notebook."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def output(self, number: int) -> str:
        """What stands below a cell, its lines joined."""
        area = self.cell(number).locator(".jp-Cell-outputArea")
        return " ".join(" ".join(area.all_inner_texts()).split())

    def prompt(self, number: int) -> str:
        """The brackets beside a code cell: ``[3]:``, ``[*]:`` or ``[ ]:``."""
        return self.cell(number).locator(".jp-InputPrompt").inner_text().strip()

    def active(self) -> int:
        """The place of the cell that the keyboard acts on."""
        return self.page.evaluate(
            "jupyterapp.shell.currentWidget.content.activeCellIndex"
        )

    def run_menu(self, name: str) -> None:
        """Run a command by its name, from the palette."""
        self.page.keyboard.press("ControlOrMeta+Shift+c")
        self.page.keyboard.type(name)
        self.page.keyboard.press("Enter")

    def run_all(self) -> bool:
        """Run the notebook from the top; whether every cell passed."""
        run = "jupyterapp.commands.execute('notebook:run-all-cells')"
        return self.page.evaluate(f"() => {run}")

    def settle(self, number: int, before: str = "[ ]:") -> None:
        """Wait until this cell has run, and nothing runs or waits to be run."""
        self.page.wait_for_function(SETTLED, arg=[number, before])

    def walk_to(self, number: int) -> None:
        """Move to a cell with the arrow keys."""
        self.page.keyboard.press("Escape")
        away = number - self.active()
        for _ in range(abs(away)):
            self.page.keyboard.press("ArrowDown" if away > 0 else "ArrowUp")
        assert self.active() == number

    def replace_by_typing(
        self, number: int, source: str, *, paste: bool = False
    ) -> None:
        """Write a cell anew, key by key or at once, and leave it."""
        keyboard = self.page.keyboard
        self.walk_to(number)
        keyboard.press("Enter")
        keyboard.press("ControlOrMeta+a")
        if paste:
            keyboard.insert_text(source)
        else:
            for row, line in enumerate(source.splitlines()):
                if row:
                    keyboard.press("Enter")
                    # The editor indents by itself: take that back.
                    keyboard.press("Shift+Home")
                    if not line:
                        keyboard.press("Delete")
                keyboard.type(line)
        keyboard.press("Escape")
        written = "n => jupyterapp.shell.currentWidget.content.widgets[n].model"
        written += ".sharedModel.getSource()"
        assert self.page.evaluate(written, number) == source

    def run_and_read(self, number: int) -> str:
        """Run a cell with Shift+Enter and read what it says."""
        before = self.prompt(number)
        self.walk_to(number)
        self.page.keyboard.press("Shift+Enter")
        self.settle(number, before)
        return self.output(number)

    def shot(self, name: str) -> None:
        """Keep a picture of the page among the artefacts."""
        folder = Path(os.environ.get("COURSE_ARTEFACTS", ROOT / ".artefacts"))
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png")


@contextmanager
def run_chromium() -> Iterator[Browser]:
    """Start the machine's browser; it finds no other machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, timeout=120_000
        )
        yield browser
        browser.close()


@contextmanager
def sit_down(browser: Browser, lab: Lab, name: str, zoom: int = 1) -> Iterator[Desk]:
    """Give a fresh profile; nothing may err or ask another machine in it.

    At `zoom` 2 the same window shows half as many, twice as large.
    """
    context = browser.new_context(
        viewport={"width": 1280 // zoom, "height": 1000 // zoom},
        device_scale_factor=zoom,
    )
    context.add_init_script(COUNT_POINTER)
    # A whole lesson takes two minutes; a starved machine is several times slower.
    context.set_default_timeout(900_000)
    desk = Desk(lab, context.new_page())
    desk.watch()
    try:
        yield desk
    finally:
        desk.shot(name)
        context.close()
        lab.stop_kernels()
    assert desk.errors == [], desk.errors
    assert desk.elsewhere == [], desk.elsewhere
