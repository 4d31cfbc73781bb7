"""Accounts of this machine, made for a trial and removed after it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

PREFIX = "course-try-"


@dataclass
class Account:
    """A Unix account made for a trial."""

    name: str
    password: str

    @property
    def uid(self) -> int:
        """The account's number, by which its processes are found."""
        import pwd

        return pwd.getpwnam(self.name).pw_uid

    @property
    def home(self) -> Path:
        """The account's home folder."""
        import pwd

        return Path(pwd.getpwnam(self.name).pw_dir)


@contextlib.contextmanager
def accounts(number: int, group: str) -> Iterator[list[Account]]:
    """Make accounts of this machine in a group, and remove them in all cases."""
    import grp

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
                encoding="utf-8",
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
