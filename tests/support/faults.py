"""A disk that fills up, and a process that dies, at any step that changes a file.

``python -m tests.support.faults KIND EVERY FOLDER`` updates a student's copies in
copies of FOLDER, once for each (or every third, …) step that an update takes on the
disk. Before that step the process is killed (``kill``), or from then on the disk is
full (``full``). It prints a line for each: what the tests look at is in
``FOLDER-KIND-STEP``.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

from course_tools.work.places import Places
from course_tools.work.update import update

CHANGES = {
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.chmod",
    "shutil.rmtree",
    "subprocess.Popen",
}
NEEDS_SPACE = {"open", "os.mkdir"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Fault:
    """Let the process die, or the disk be full, from one step on."""

    def __init__(self) -> None:
        self.kind = ""
        self.step = self.at = 0

    def arm(self, kind: str, at: int) -> None:
        self.kind, self.at, self.step = kind, at, 0

    def __call__(self, event: str, arguments: tuple) -> None:
        if not self.kind:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, int) or not flags & WRITING:
                return
        elif event not in CHANGES:
            return
        self.step += 1
        if self.kind == "kill" and self.step == self.at:
            os._exit(9)
        if self.kind == "full" and self.step >= self.at and event in NEEDS_SPACE:
            place = arguments[0]
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))


def run(kind: str, every: int, folder: Path) -> None:
    """Update in copies of a folder, until an update takes no more steps."""
    fault = Fault()
    sys.addaudithook(fault)
    step = 1
    while True:
        copy = folder.with_name(f"{folder.name}-{kind}-{step}")
        shutil.copytree(folder, copy, symlinks=True)
        places = Places(copy / "notebooks", copy / "work")
        sys.stdout.flush()
        child = os.fork()
        if not child:
            said, problem = [], False
            fault.arm(kind, step)
            try:
                for line in update(places):
                    said.append(line.text)
                    problem |= line.problem
            except Exception as error:
                said.append(str(error))
                problem = True
            reached = fault.step >= step
            fault.kind = ""
            print(step, int(reached), int(problem), " | ".join(said), flush=True)
            os._exit(0 if reached else 3)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 9:
            print(step, 1, 1, "killed", flush=True)
        if code == 3:
            return
        step += every


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
