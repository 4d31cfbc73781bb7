"""Start a program that may read and write only what it needs: a student's kernel.

Linux's own Landlock does it, without administrator rights and without another
program: what a process gave up, neither it nor its children get back. Run as a
script, so that nothing of the course is imported into the program it becomes::

    python confine.py '{"write": ["/tmp/scratch"], …}' python -m ipykernel_launcher …
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# linux/landlock.h; the numbers of the calls are the same on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PATH_BENEATH, ASK_VERSION, NO_NEW_PRIVILEGES = 1, 1, 38
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
CONNECT_TCP, SIGNALS = 2, 2
READ = EXECUTE | READ_FILE | READ_DIR
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
# What a version of Landlock can withhold from a file system.
RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}


def landlock_version() -> int:
    """Ask which version of Landlock this system offers.

    Returns
    -------
    int
        0 where there is none: another system than Linux, or one without it.
    """
    if sys.platform != "linux":
        return 0
    return max(0, _libc().syscall(CREATE_RULESET, None, 0, ASK_VERSION))


def confine(
    *,
    write: Sequence[str] = (),
    read: Sequence[str] = (),
    hide: Sequence[str] = (),
    list_only: Sequence[str] = (),
) -> None:
    """Give up, for good, the rights to everything but what is named.

    Everything outside `hide` stays readable. From version 4 on, TCP connections to
    others are given up too, from version 6 on signals to other processes. Permissions
    and dates of files are nothing that Landlock looks at.

    Parameters
    ----------
    write : sequence of str
        Folders in which anything may be written.
    read : sequence of str
        Folders and files to be read although they lie in `hide`.
    hide : sequence of str
        Folders whose content must not be read.
    list_only : sequence of str
        Folders whose file names may be seen, and no more.

    Raises
    ------
    OSError
        When this system has no Landlock.
    """
    version = landlock_version()
    if not version:
        raise OSError("this system has no Landlock")
    handled = max(rights for since, rights in RIGHTS.items() if since <= version)
    sizes = ((6, 24), (4, 16), (1, 8))
    size = next(size for since, size in sizes if since <= version)
    attributes = struct.pack("=QQQ", handled, CONNECT_TCP, SIGNALS)[:size]
    rules = _call(CREATE_RULESET, attributes, size, 0)
    for path in _around(Path("/"), [Path(one).resolve() for one in hide]):
        _allow(rules, path, READ & handled)
    for name in read:
        _allow(rules, Path(name), READ & handled)
    for name in list_only:
        _allow(rules, Path(name), READ_DIR)
    for name in ("/dev", "/proc/self"):
        _allow(rules, Path(name), (READ | WRITE_FILE | TRUNCATE | IOCTL_DEV) & handled)
    for name in (*write, "/dev/shm"):
        _allow(rules, Path(name), handled)
    if _libc().prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    _call(RESTRICT_SELF, rules, 0)
    os.close(rules)


def limit(*, memory: int, file_size: int) -> None:
    """Set the most memory and the largest file that this process may make.

    Parameters
    ----------
    memory : int
        Bytes of data: beyond it Python raises MemoryError.
    file_size : int
        Bytes of one file.
    """
    if sys.platform == "win32":
        raise OSError("this system sets no limits")
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _around(folder: Path, hidden: Sequence[Path]) -> Iterator[Path]:
    """Yield what lies in a folder and neither is, nor contains, a hidden one."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for path in entries:
        # Where a link leads to is reached by its own name, or is hidden.
        if path in hidden or path.is_symlink():
            continue
        if any(path in one.parents for one in hidden):
            yield from _around(path, hidden)
        else:
            yield path


def _allow(rules: int, path: Path, rights: int) -> None:
    if sys.platform != "linux":
        raise OSError("this system has no Landlock")
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there need not be allowed
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= OF_FILES
        if rights:
            _call(ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result = _libc().syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def main(arguments: Sequence[str]) -> None:
    """Read what is allowed, give up the rest, become the program.

    Parameters
    ----------
    arguments : sequence of str
        The JSON of `confine`'s and `limit`'s parameters, then the command.
    """
    allowed = json.loads(arguments[0])
    limit(memory=allowed.pop("memory"), file_size=allowed.pop("file_size"))
    if allowed.pop("landlock"):
        confine(**allowed)
    os.execv(arguments[1], list(arguments[1:]))


if __name__ == "__main__":
    main(sys.argv[1:])
