"""Write files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

LOCK_SECONDS = 1800


@contextlib.contextmanager
def replacing(*targets: Path) -> Iterator[list[Path]]:
    """Let files be written beside their targets, then put them in place, in order.

    Where the block raises, or the process is killed, each target is what it was before;
    where the disk is full, too, as every file is on the disk before the first is moved.

    Parameters
    ----------
    *targets : pathlib.Path
        Files to write, in folders that exist. An old one's mode is kept.

    Yields
    ------
    list of pathlib.Path
        Where to write each, on the same disk.

    Raises
    ------
    OSError
        If one cannot be written or moved.
    """
    with contextlib.ExitStack() as stack:
        written = []
        for target in targets:
            folder = tempfile.TemporaryDirectory(
                prefix=".part-", dir=target.parent, ignore_cleanup_errors=True
            )
            written.append(Path(stack.enter_context(folder)) / target.name)
        yield written
        for path, target in zip(written, targets, strict=True):
            with open(path, "rb+") as stream:
                os.fsync(stream.fileno())  # some disks tell only now that they are full
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(target, path)
        for path, target in zip(written, targets, strict=True):
            os.replace(path, target)


@contextlib.contextmanager
def taking_turns(path: Path, *, waiting: str) -> Iterator[bool]:
    """Let one process do something while others wait for it.

    Parameters
    ----------
    path : pathlib.Path
        The lock's file, in a folder that exists.
    waiting : str
        Printed on standard error where another process holds the lock.

    Yields
    ------
    bool
        False where the other one held it for half an hour, and still does.

    Raises
    ------
    OSError
        If the file cannot be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print(waiting, file=sys.stderr)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            yield False
            return
    try:
        yield True
    finally:
        lock.release()
