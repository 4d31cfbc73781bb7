"""Submissions that mean harm, or look as if they did, with what each deserves."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_tools.lessons import Lesson
from tests import courses

import nbformat

SECRET = "token-of-the-grader"
FORGED = 'print("✅ 1.2 One indexing operation did it.")'
# How much a submission loses beside a blameless one, in points.
ALL = 100


@dataclass
class Submission:
    """One of a hostile batch.

    Attributes
    ----------
    content : nbformat.NotebookNode, str or bytes
        The notebook.
    lost : int
        Points that it loses.
    refused : str
        Words of the refusal; empty where it is graded.
    note : str
        Words of the note; empty where there must be none.
    beside : callable
        Called with the submission's folder, to put more into it.
    short : bool
        Whether the short test grades it too.
    """

    content: Any
    lost: int = 0
    refused: str = ""
    note: str = ""
    beside: Callable[[Path], None] = lambda folder: None
    short: bool = False


def added(notebook: Any, source: str) -> Any:
    """Put a cell after the set-up cell."""
    first = next(n for n, c in enumerate(notebook.cells) if c.cell_type == "code")
    cell = nbformat.v4.new_code_cell(textwrap.dedent(source).strip())
    notebook.cells.insert(first + 1, cell)
    return notebook


def changed(notebook: Any, name: str, source: str) -> Any:
    """Replace an answer."""
    courses.cell_named(notebook, name).source = textwrap.dedent(source).strip()
    return notebook


def refused_attempts(*attempts: str) -> str:
    """Write a cell that fails where one of the attempts succeeds."""
    return "\n".join(
        [
            "import ctypes, mmap, os, pathlib, resource, shutil, socket, subprocess",
            "done = []",
            *(
                f"try:\n    {attempt}\n    done.append({attempt!r})\n"
                "except (OSError, subprocess.SubprocessError, ValueError):\n    pass"
                for attempt in attempts
            ),
            "assert not done, done",
        ]
    )


def the_batch(
    folder: Path, lesson: Lesson, outside: Path, port: int
) -> dict[str, Submission]:
    """Make the submissions by name.

    Parameters
    ----------
    folder : pathlib.Path
        A course with this lesson released.
    lesson : Lesson
        The first lesson.
    outside : pathlib.Path
        A folder of the instructor's, with ``thesis.txt`` and a link's target.
    port : int
        Where a server of the instructor's listens on loopback, and
        ``\\0course-PORT`` an abstract socket.
    """

    def right() -> Any:
        return courses.right(folder, lesson)

    def open_at_lookup() -> Any:
        stub = courses.cell_named(courses.blank(folder, lesson), "lookup").source
        return changed(right(), "lookup", stub)

    def cell(source: str, **more: Any) -> Submission:
        return Submission(added(right(), source), **more)

    def open_cell(source: str, **more: Any) -> Submission:
        return Submission(added(open_at_lookup(), source), lost=1, **more)

    def answer(source: str, **more: Any) -> Submission:
        return Submission(changed(right(), "lookup", source), **more)

    deleted = right()
    deleted.cells.remove(courses.cell_named(deleted, "check-lookup"))
    deleted_both = open_at_lookup()
    for name in ("lookup", "check-lookup"):
        deleted_both.cells.remove(courses.cell_named(deleted_both, name))
    unmarked = open_at_lookup()
    courses.cell_named(unmarked, "check-lookup").metadata["tags"] = ["skip-execution"]
    edited = changed(open_at_lookup(), "check-lookup", FORGED)
    elsewhere = right()
    elsewhere.metadata["kernelspec"] = {
        "name": "ir",
        "display_name": "R",
        "language": "R",
    }
    displays = courses.blank(folder, lesson)
    for name in courses.exercises(displays):
        changed(
            displays,
            name,
            f"""
            import sys
            def {name}(*given, **settings):
                sys.displayhook(1)
                raise ValueError
            """,
        )
    scripts = added(
        right(),
        """
        from IPython.display import HTML, Javascript, display
        display(HTML("<b>bold</b><script>steal()</script><img src=x onerror=steal()>"))
        display(Javascript("steal()"))
        """,
    )
    scripts.cells.append(nbformat.v4.new_markdown_cell("<script>steal()</script>"))
    half = added(right(), "'\ud83d'")
    targets = [
        folder / "solutions" / lesson.solution.name,
        folder / "gradebook.db",
        folder / "nbgrader_config.py",
        folder / "submitted" / "blameless" / lesson.name / lesson.notebook.name,
        outside / "thesis.txt",
        Path.home() / ".profile",
        Path("/etc/passwd"),
    ]
    writes = [
        attempt.format(repr(str(path)))
        for path in targets
        for attempt in (
            "open({}, 'a').write('x')",
            "os.remove({})",
            "os.chmod({}, 0o777)",
            "os.rename({}, 'mine')",
            "subprocess.run(['sh', '-c', 'echo x >> \"$0\"', {}], check=True)",
        )
    ]
    reads = [f"open({str(path)!r}).read()" for path in targets[:-1]]
    connects = [
        *(
            f"socket.socket(socket.AF_INET, {kind}).connect(('127.0.0.1', {port}))"
            for kind in ("socket.SOCK_STREAM", "socket.SOCK_STREAM, 262")
        ),
        f"socket.create_connection(('{_own_address()}', {port}), 1)",
        f"socket.socket(socket.AF_UNIX).connect('\\0course-{port}')",
        f"socket.socket(socket.AF_UNIX).connect({str(outside / 'socket')!r})",
        "socket.create_connection(('192.0.2.1', 443), 1)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto("
        "b'x', ('192.0.2.1', 53))",
    ]
    return {
        "blameless": Submission(right(), short=True),
        # --- without end, without measure -----------------------------------
        "loops-for-ever": answer(
            "def lookup(table, ids):\n    while True:\n        pass",
            lost=1,
            short=True,
        ),
        "hears-no-interrupt": answer(
            """
            def lookup(table, ids):
                import time
                while True:
                    try:
                        while True:
                            time.sleep(0.01)
                    except BaseException:
                        pass
            """,
            refused="ignored the interrupt",
        ),
        "takes-all-memory": answer(
            """
            def lookup(table, ids):
                kept = []
                while True:
                    kept.append(np.ones(10_000_000))
            """,
            lost=1,
            short=True,
        ),
        "shares-all-memory": cell(
            """
            import mmap
            kept = []
            while True:
                kept.append(mmap.mmap(-1, 100 << 20))
                for start in range(0, 100 << 20, 1 << 12):
                    kept[-1][start] = 1
            """,
            refused="MB of memory",
            short=True,
        ),
        "fills-the-disk": cell(
            """
            for folder in ("/dev/shm", "/tmp", "/tmp/lesson"):
                try:
                    for number in range(10_000):
                        with open(f"{folder}/{number}", "wb") as stream:
                            stream.write(bytes(10 << 20))
                except OSError as error:
                    print(error)
            import os
            for number in range(10_000):
                if os.path.exists(f"/tmp/{number}"):
                    os.remove(f"/tmp/{number}")
            """
        ),
        # Linux sets no limit to root's processes, and the grader does.
        "starts-processes-without-end": cell(
            """
            import os, time
            children = []
            try:
                while len(children) < 3_000:
                    children.append(os.posix_spawn("/bin/sleep", ["sleep", "60"], {}))
                time.sleep(60)
            except OSError as error:
                print(error)
            for child in children:
                os.kill(child, 9)
                os.waitpid(child, 0)
            """,
            refused="" if os.geteuid() else "processes",
        ),
        "prints-200-mb": cell(
            """
            for number in range(200):
                print("x" * (1 << 20))
            """,
            note="output of cell 3 was cut",
            short=True,
        ),
        "prints-without-end": answer(
            "def lookup(table, ids):\n    while True:\n        print('x' * 1000)",
            lost=1,
            note="output of check-lookup was cut",
        ),
        "leaves-processes-running": cell(
            """
            import os, subprocess, sys
            code = "import time; open('/tmp/there', 'w'); time.sleep(1000)"
            subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
            if not os.fork():
                os.setsid()
                if not os.fork():
                    os.execv(sys.executable, [sys.executable, "-c", code])
                os._exit(0)
            """,
            short=True,
        ),
        # --- the judge -------------------------------------------------------
        "ends-its-kernel": cell("import os\nos._exit(0)", refused="kernel died"),
        "ends-the-judge": cell(
            "import os\nos.kill(os.getppid(), 9)", refused="ended the program"
        ),
        "limits-the-judge": cell(
            """
            import os, resource, time
            for name in ("RLIMIT_AS", "RLIMIT_NOFILE", "RLIMIT_FSIZE"):
                resource.prlimit(os.getppid(), getattr(resource, name), (0, 0))
            """,
            refused="ended the program",
        ),
        "reaches-into-the-judge": cell(
            """
            import os
            reached = []
            for process in ("1", str(os.getppid())):
                names = [f"fd/{number}" for number in range(3, 64)]
                for name in (*names, "mem", "environ") if process != "1" else names:
                    try:
                        reached.append(open(f"/proc/{process}/{name}", "r+b"))
                    except OSError:
                        pass
            assert not reached, reached
            """,
        ),
        # --- points without an answer ---------------------------------------
        "deleted-a-check": Submission(
            deleted, note="check-lookup was missing and was put back", short=True
        ),
        "deleted-an-exercise": Submission(
            deleted_both, lost=1, note="check-lookup was missing and was put back"
        ),
        "edited-a-check": Submission(edited, lost=1),
        "forged-a-mark": open_cell(FORGED),
        "tagged-a-check": Submission(unmarked, lost=1),
        "displays-a-point": Submission(displays, lost=ALL, short=True),
        "sets-the-outcome": Submission(
            changed(
                right(),
                "lookup",
                """
                def lookup(table, ids):
                    check.lookup.outcome = "passed"
                    print("✅ 1.2 done")
                    return table
                """,
            ),
            lost=1,
        ),
        "replaced-the-checks": open_cell(
            """
            import sys, types
            class Yes(types.ModuleType):
                def __getattr__(self, name):
                    return lambda *given: print("✅ 1.2 well done")
            fake = Yes("course_utils.checks.lesson_01")
            sys.modules["course_utils.checks.lesson_01"] = check = fake
            import course_utils.checks
            course_utils.checks.lesson_01 = fake
            """,
            note="replaced course_utils.checks",
        ),
        "replaced-the-call": open_cell(
            """
            from course_utils.checks import core
            core.Check.__call__ = lambda self, *given: print("✅ 1.2 well done")
            """,
            note="replaced course_utils.checks",
        ),
        "replaced-the-data": open_cell(
            """
            vars(check.lookup)["_run"] = lambda *given: "well done"
            vars(check.lookup)["_function"] = check.lookup.__wrapped__
            def lookup(table, ids):
                return None
            """
        ),
        "replaced-numpy": answer(
            """
            np.array_equal = np.isclose = np.allclose = lambda *given, **more: True
            def lookup(table, ids):
                return np.zeros((*ids.shape, table.shape[1]))
            """,
            lost=3,
            note="replaced numpy.array_equal",
        ),
        "replaced-a-class": cell(
            """
            import decimal, fractions
            fractions.Fraction.__eq__ = lambda self, other: True
            """,
            lost=ALL,
            note="replaced fractions.Fraction.__eq__",
        ),
        "hooks-before-cells": open_cell(
            """
            def yes(info):
                check.lookup = lambda *given: print("✅ 1.2 done")
            get_ipython().events.register("pre_run_cell", yes)
            """,
            note="IPython's events.pre_run_cell",
            short=True,
        ),
        "hooks-after-cells": cell(
            """
            def forget(result):
                result.error_in_exec = None
            get_ipython().events.register("post_run_cell", forget)
            """,
            note="IPython's events.post_run_cell",
        ),
        "changes-the-text": open_cell(
            f"""
            def other(lines):
                return ['{FORGED}\\n'] if "check.lookup" in "".join(lines) else lines
            get_ipython().input_transformers_post.append(other)
            """,
            note="IPython's input_transformers_post",
        ),
        "changes-the-tree": open_cell(
            """
            import ast
            class Nothing(ast.NodeTransformer):
                def visit_Expr(self, node):
                    return ast.parse("print('✅ 1.2 done')").body[0]
            get_ipython().ast_transformers.append(Nothing())
            """,
            note="IPython's ast_transformers",
        ),
        "replaced-the-kernel": open_cell(
            """
            kernel = get_ipython().kernel
            genuine = kernel.do_execute
            def easier(code, *given, **more):
                if "check.lookup" in code and "exec(" not in code:
                    code = "print('✅ 1.2 done')"
                return genuine(code, *given, **more)
            kernel.do_execute = easier
            """,
            note="IPython's kernel.do_execute",
            short=True,
        ),
        "swallows-errors": open_cell(
            """
            def nothing(shell, *given, **more):
                print("✅ 1.2 done")
            get_ipython().set_custom_exc((Exception,), nothing)
            """,
            note="IPython's set_custom_exc",
        ),
        "names-with-control-characters": cell(
            """
            import sys, types
            evil = types.ModuleType("evil")
            evil.yes = lambda *given: True
            sys.modules["\\x1b]0;owned\\x07\\x1b[2J"] = evil
            """,
            lost=ALL,
            note="replaced \\x1b]0;owned\\x07",
            short=True,
        ),
        # --- files and networks of others -----------------------------------
        "writes-outside": cell(refused_attempts(*writes, *reads), short=True),
        "became-a-link": cell(
            f"""
            import os, glob
            for name in glob.glob("*") + ["{lesson.notebook.name}"]:
                if os.path.lexists(name):
                    os.remove(name)
                os.symlink({str(outside / "thesis.txt")!r}, name)
            """,
            short=True,
        ),
        "removes-everything": cell(
            "import shutil\nshutil.rmtree('/', ignore_errors=True)"
        ),
        "connects": cell(refused_attempts(*connects), short=True),
        "reads-the-environment": cell(
            f"""
            import os, pathlib
            for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
                try:
                    assert {SECRET!r} not in path.read_text()
                except OSError:
                    pass
            assert {SECRET!r} not in str(dict(os.environ))
            """,
            short=True,
        ),
        "makes-devices": cell(
            refused_attempts(
                "os.mknod('disk', 0o60600, os.makedev(254, 0))",
                "subprocess.run(['mount', '-t', 'tmpfs', 'x', '/tmp'], check=True)",
                "subprocess.run(['unshare', '-Ur', 'true'], check=True)",
                # Written back as it is: where this succeeds, it changes the machine.
                "(lambda p: p.write_text(p.read_text()))"
                "(pathlib.Path('/proc/sys/kernel/core_pattern'))",
                "open('/proc/sysrq-trigger', 'w')",
                "open('/proc/self/oom_score_adj', 'w').write('0')",
            ),
            short=True,
        ),
        # --- what was handed in ---------------------------------------------
        "no-json": Submission("these are the answers", refused="not JSON", short=True),
        "deep-json": Submission("[" * 100_000, refused="not JSON"),
        "another-json": Submission(json.dumps([1]), refused="no cells"),
        "a-link": Submission(
            right(), refused="link", beside=_link_to(outside, lesson), short=True
        ),
        "a-pipe": Submission(
            right(), refused="not a regular file", beside=_pipe(lesson), short=True
        ),
        "too-large": Submission(right(), refused="larger than", beside=_large(lesson)),
        "links-beside-it": Submission(
            right(),
            beside=lambda at: (at / "a.png").symlink_to(outside / "thesis.txt"),
        ),
        "a-library-beside-it": Submission(
            right(),
            beside=lambda at: [
                (at / name).write_text("raise SystemExit('taken over')")
                for name in ("struct.py", "sitecustomize.py", "course_utils.py")
            ],
        ),
        "without-a-picture": Submission(
            right(), beside=lambda at: [p.unlink() for p in at.rglob("*.png")]
        ),
        "in-another-kernel": Submission(elsewhere),
        "shows-scripts": Submission(scripts, short=True),
        "half-a-character": Submission(json.dumps(half)),
        "with-a-byte-order-mark": Submission("\ufeff" + nbformat.writes(right())),
        "writes-to-stderr": Submission(
            changed(
                right(),
                "lookup",
                """
                def lookup(table, ids):
                    import logging, os, sys
                    logging.warning("looking up")
                    print("looking up", file=sys.stderr)
                    os.write(2, b"looking up")
                    return table[ids]
                """,
            ),
            short=True,
        ),
    }


def _own_address() -> str:
    """Give an address of this machine that is not loopback, if it has one."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))  # sends nothing
            return asked.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def _link_to(outside: Path, lesson: Lesson) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = folder / lesson.notebook.name
        os.replace(path, outside / "linked.ipynb")
        path.symlink_to(outside / "linked.ipynb")

    return make


def _pipe(lesson: Lesson) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / lesson.notebook.name).unlink()
        os.mkfifo(folder / lesson.notebook.name)

    return make


def _large(lesson: Lesson) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        os.truncate(folder / lesson.notebook.name, 100 << 20)

    return make
