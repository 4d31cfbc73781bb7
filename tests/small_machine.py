"""Run a command as on a small machine: memory limited, one core, no network.

``python tests/small_machine.py CGROUP COMMAND ...`` joins a memory cgroup, keeps one
core, leaves the network but for loopback, and becomes the command. As root on Linux.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# From Linux: sched.h, sockios.h and if.h.
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def missing() -> str:
    """Say what this machine lacks to play a smaller one, or nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux can take memory and network away"
    if not (parent() / "memory.limit_in_bytes").exists():
        return "the memory cgroups of version 1 are not here"
    return ""


def parent() -> Path:
    """Find the memory cgroup of this process."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Path("/sys/fs/cgroup/memory") / path.lstrip("/")
    return Path("/sys/fs/cgroup/memory")


@contextmanager
def limited(megabytes: int) -> Iterator[Path]:
    """Make a memory cgroup with a limit, and remove it with all that runs in it."""
    group = Path(tempfile.mkdtemp(prefix="course-", dir=parent()))
    try:
        (group / "memory.limit_in_bytes").write_text(str(megabytes * 2**20))
        yield group
    finally:
        group.rmdir()


def leave_network() -> None:
    """Give this process a network of its own that holds loopback alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot leave the network")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def main() -> None:
    """Become the command."""
    group, *command = sys.argv[1:]
    (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    leave_network()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
