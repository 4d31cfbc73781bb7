"""Run untrusted code in a sandbox made by bubblewrap.

bubblewrap (https://github.com/containers/bubblewrap) is what Flatpak rests on. It
needs no administrator: a program gets mounts, processes, network, ids and shared
memory of its own, and all of them end with it. This module says what the program may
see, sets its limits, and watches those that no system call sets.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import course_tools as tools
import course_utils as utils

import psutil

# What bubblewrap is called, and the package that holds it everywhere.
BWRAP = "bwrap"
PACKAGE = "bubblewrap"
HOME = "/tmp/home"
FOLDER = "/tmp/lesson"
# Bytes that the program's own log may take; the rest is thrown away.
LOG_BYTES = 1 << 16
POLL_SECONDS = 0.2
# What changes how a processor computes is passed on, and nothing else of the
# caller's environment: it may hold tokens.
PASSED_ON = (
    "ATEN_CPU_CAPABILITY",
    "COURSE_PROFILE",
    "DNNL_MAX_CPU_ISA",
    "FAISS_OPT_LEVEL",
    "LANG",
    "NPY_DISABLE_CPU_FEATURES",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "TF_ENABLE_ONEDNN_OPTS",
    "TZ",
)
# Parts of a system that a program needs, where the system has them.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
SETTINGS = ("alternatives", "fonts", "ld.so.cache", "localtime")
NAMESPACES = (
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net"),
    *("--unshare-uts", "--unshare-cgroup-try"),
)


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes
    ----------
    memory_mb : int
        Memory of all its processes together, shared memory included, in MiB. A
        single process that asks for more gets a MemoryError.
    file_mb : int
        All files that it writes, in MiB.
    output_mb : int
        What it may answer, in MiB.
    processes : int
        Processes and threads at one time.
    seconds : float
        Time from its start to its end.
    """

    memory_mb: int = 6144
    file_mb: int = 1024
    output_mb: int = 64
    processes: int = 1024
    seconds: float = 1800


@dataclass(frozen=True)
class Ended:
    """How a program in the sandbox ended.

    Attributes
    ----------
    stopped : str
        The limit that stopped it, as words that follow "it"; empty where none did.
    log : str
        The last line of what it wrote to standard error.
    """

    stopped: str
    log: str


@cache
def problem() -> str:
    """Say why this machine has no sandbox.

    Returns
    -------
    str
        One sentence; empty where a program ran in a sandbox just now.
    """
    if sys.platform != "linux":
        return (
            "Submissions run in a sandbox that needs Linux: grade there, or on Windows "
            "in WSL2."
        )
    if not shutil.which(BWRAP):
        return (
            f"Submissions run in a sandbox, and {PACKAGE} is not installed: install "
            f"your system's package of that name, such as `apt install {PACKAGE}`."
        )
    tried = subprocess.run(
        [*_command(Limits(), {}), "true"], capture_output=True, encoding="utf-8"
    )
    if not tried.returncode:
        return ""
    said = (tried.stderr.strip().splitlines() or ["no message"])[-1]
    return (
        f"Submissions run in a sandbox, and {PACKAGE} cannot make one here ({said}): "
        "version 0.8 or later is needed, and a system that allows user namespaces."
    )


def _command(limits: Limits, read: Mapping[str, str]) -> list[str]:
    """Give the command up to the program's own."""
    command = [
        shutil.which(BWRAP) or BWRAP,
        *NAMESPACES,
        "--disable-userns",
        "--die-with-parent",
    ]
    command += ["--new-session", "--hostname", "course"]
    command += ["--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"]
    for folder in SYSTEM:
        if os.path.islink(folder):
            command += ["--symlink", os.readlink(folder), folder]
        else:
            command += ["--ro-bind-try", folder, folder]
    for name in SETTINGS:
        command += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    small = str(256 << 20)
    # Read-only: settings of the kernel lie there, and where root grades, the program is
    # their owner, though it has none of root's powers.
    command += ["--proc", "/proc", "--remount-ro", "/proc"]
    command += ["--dev", "/dev", "--size", small, "--tmpfs", "/dev/shm"]
    command += ["--remount-ro", "/dev"]
    command += ["--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"]
    command += ["--size", str(limits.file_mb << 20), "--tmpfs", "/tmp"]
    command += ["--dir", HOME, "--dir", FOLDER]
    for path, place in sorted(read.items(), key=lambda item: item[1]):
        command += ["--ro-bind", path, place]
    return [*command, "--remount-ro", "/", "--chdir", FOLDER]


def run(
    module: str,
    request: bytes,
    *,
    read: Mapping[str, str],
    take: Callable[[bytes], None],
    limits: Limits,
    environment: dict[str, str] | None = None,
) -> Ended:
    """Run a module of this package in a sandbox, and take its answer line by line.

    The module gets the request on standard input and the number of the file to
    answer to as its argument. Call this from a thread that outlives the program:
    it ends with its parent.

    Parameters
    ----------
    module : str
        Such as ``"course_tools.grading.judge"``.
    request : bytes
        What it reads.
    read : mapping of str to str
        Absolute paths that the program may read beside the system's own, and where
        it finds them; the interpreter and this package need not be named.
    take : callable
        Called with each line of the answer, without its end, while the program
        runs. After an answer of more than `limits.output_mb` it is called no more.
    limits : Limits
        What the program may use.
    environment : dict of str to str, optional
        Variables that the program gets beside the few that it needs.

    Returns
    -------
    Ended
        Whether a limit stopped it.
    """
    answer, theirs = os.pipe()
    command = _command(limits, {**{one: one for one in _interpreter()}, **read})
    variables = {
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.defpath]),
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "TMPDIR": "/tmp",
        "USER": "student",
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        **(environment or {}),
    }
    command += ["--", sys.executable, "-P", "-m", module, str(theirs)]
    shared = _shared_memory()
    program = subprocess.Popen(
        [*command, json.dumps(_limits_to_set(limits))],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[theirs],
        # For bubblewrap too: its first process inside can be asked for its own.
        env=variables,
    )
    os.close(theirs)
    log = _Log()
    reader = _Reader(answer, take, limits.output_mb << 20)
    threads = [
        threading.Thread(target=_give, args=(program.stdin, request), daemon=True),
        threading.Thread(target=log.read, args=(program.stderr,), daemon=True),
        threading.Thread(target=reader.read, daemon=True),
    ]
    try:
        for thread in threads:
            thread.start()
        stopped = _watch(program, reader, limits, shared)
    finally:
        _end(program)
        for thread in threads:
            thread.join()
    if reader.failed is not None:
        raise reader.failed
    return Ended(stopped or reader.stopped, log.last_line())


def _end(program: subprocess.Popen) -> None:
    """End the sandbox: everything in it ends with its first process."""
    with contextlib.suppress(psutil.Error):
        for first in psutil.Process(program.pid).children():
            first.kill()
    try:
        program.wait(10)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _limits_to_set(limits: Limits) -> dict[str, int]:
    """Limits that a process sets for itself, by the names of `resource`."""
    return {
        "RLIMIT_DATA": limits.memory_mb << 20,
        "RLIMIT_FSIZE": limits.file_mb << 20,
        "RLIMIT_NPROC": limits.processes,
        "RLIMIT_CORE": 0,
    }


def _interpreter() -> set[str]:
    """Folders that this Python runs from, and the package itself."""
    wanted = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    # A checkout that was installed for editing is on the path: with all solutions.
    wanted |= {
        path for path in sys.path if "site-packages" in path or path.endswith(".zip")
    }
    found = {str(Path(one.__path__[0]).resolve()) for one in (tools, utils)}
    for path in wanted:
        if os.path.exists(path) and not path.startswith("/usr"):
            # By the name that it is called by, and by the one that links lead to.
            found |= {os.path.abspath(path), os.path.realpath(path)}
    return found - {"/"}


class _Reader:
    """Hand on what a pipe brings, line by line, up to a number of bytes."""

    def __init__(self, pipe: int, take: Callable[[bytes], None], most: int) -> None:
        self._pipe, self._take, self._left = pipe, take, most
        self.stopped = ""
        self.failed: Exception | None = None

    def read(self) -> None:
        with open(self._pipe, "rb") as stream:
            try:
                while line := stream.readline(self._left + 1):
                    self._left -= len(line)
                    if self._left < 0:
                        self.stopped = "answered more than it may"
                        return
                    if line.endswith(b"\n"):
                        self._take(line[:-1])
            except Exception as error:
                self.failed = error
                self.stopped = "could not be read"


class _Log:
    """Keep the beginning of what a program says of itself."""

    def __init__(self) -> None:
        self._kept = b""

    def read(self, stream: object) -> None:
        with stream as lines:  # type: ignore[attr-defined]
            while chunk := lines.read1(LOG_BYTES):
                self._kept = (self._kept + chunk)[:LOG_BYTES]

    def last_line(self) -> str:
        lines = self._kept.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""


def _give(stream: object, request: bytes) -> None:
    with contextlib.suppress(OSError), stream as pipe:  # type: ignore[attr-defined]
        pipe.write(request)


def _watch(
    program: subprocess.Popen, reader: _Reader, limits: Limits, shared: int
) -> str:
    """Wait for the program's end, or for the first limit that it goes beyond."""
    end = time.monotonic() + limits.seconds
    outside = psutil.Process(program.pid)
    while True:
        try:
            program.wait(POLL_SECONDS)
            return ""
        except subprocess.TimeoutExpired:
            pass
        if reader.stopped:
            return reader.stopped
        if time.monotonic() > end:
            return f"took more than {limits.seconds:,.0f} s in all"
        try:
            family = outside.children(recursive=True)
        except psutil.Error:
            continue
        if len(family) > limits.processes:
            return f"started more than {limits.processes:,} processes"
        used = sum(map(_memory, family)) + max(0, _shared_memory() - shared)
        if used > limits.memory_mb << 20:
            return f"took more than {limits.memory_mb:,} MB of memory"


def _memory(process: psutil.Process) -> int:
    """Bytes that a process holds for itself; pages that several hold are shared out."""
    with contextlib.suppress(OSError, ValueError):
        with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as stream:
            kilobytes = dict(line.split(":", 1) for line in stream.readlines()[1:])
        held = [kilobytes.get(name, "0 kB") for name in ("Pss_Anon", "SwapPss")]
        return sum(int(value.split()[0]) for value in held) << 10
    # A process can close that file to its own user, but not these two numbers.
    with contextlib.suppress(psutil.Error):
        memory = process.memory_info()
        return memory.rss - memory.shared
    return 0


def _shared_memory() -> int:
    """Bytes of shared memory and of files in memory, on the whole machine.

    What a program keeps in a mapping, a file without a name or a segment of shared
    memory belongs to none of its processes.
    """
    with open("/proc/meminfo", encoding="ascii") as stream:
        for line in stream:
            if line.startswith("Shmem:"):
                return int(line.split()[1]) << 10
    return 0
