"""The command ``course``."""

from __future__ import annotations

import argparse
import difflib
import io
import os
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import course_utils
from course_tools.lessons import (
    all_lessons,
    all_notebooks,
    in_checkout,
    where_lessons_are,
)
from course_utils.commands import set_up
from course_utils.errors import CourseError, UsageError

INSTALL = "pip install 'course-utils[course]'"
WHERE = "Your copies are in work/, beside notebooks/; COURSE_WORK names another folder."
LESSON_HELP = "5, 05 or 05_siamese_fashion_mnist; none means all"


class _Parser(argparse.ArgumentParser):
    """Wrong usage ends with one sentence and exit status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`.\n")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in (
            names := [*action.choices]
        ):
            near = difflib.get_close_matches(str(value), names, n=1)
            hint = f"did you mean `course {near[0]}`?" if near else ""
            hint = hint or f"there are {', '.join(names)}"
            self.error(f"there is no command '{value}' ({hint})")
        super()._check_value(action, value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``course`` with the arguments given, or those of the process.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name.

    Returns
    -------
    int
        Exit status: 0, or 1 where something failed; wrong usage exits with 2.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows no ✅ shows a question mark; nothing stops.
            stream.reconfigure(errors="replace")
    try:
        if given[:1] == ["lab"]:
            # Everything after it is JupyterLab's own.
            asked = {"-h", "--help", "--help-all", "--version"} & {*given[1:]}
            return _lab_help(given[1:]) if asked else _lab(given[1:])
        options = _parser(with_bench=given[:1] == ["bench"]).parse_args(given)
        if options.command not in (_data, _update, _progress, _solution):
            # First of all: what else a command imports, only lessons need.
            all_lessons()
        return options.command(options)
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in ("", "course_utils", "course_tools"):
            raise
        cure = set_up() if in_checkout() else INSTALL
        print(
            f"`course {given[0]}` needs the module {module}, which is not installed: "
            f"run `{cure}`.",
            file=sys.stderr,
        )
        return 1
    except CourseError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has gone.
        sys.stderr.close()
        return 141
    except OSError as error:
        if error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"{where}{error.strerror}.", file=sys.stderr)
        return 1
    except RuntimeError as error:
        # What pathlib raises for a user who has no line in /etc/passwd either.
        if "home directory" not in str(error):
            raise
        print(
            "There is no home folder: set HOME to the full path of a folder that you "
            "can write to.",
            file=sys.stderr,
        )
        return 1


def _parser(with_bench: bool) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="course",
        description="Embeddings and transfer learning, lesson by lesson.",
        # Not filled: that would break an address at its hyphens.
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=None if in_checkout() else where_lessons_are(),
    )
    parser.add_argument(
        "--version", action="version", version=f"course {course_utils.__version__}"
    )
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", parser_class=_Parser
    )
    commands.add_parser(
        "lab", help="open JupyterLab on your copies; arguments go through to it"
    )
    update = commands.add_parser(
        "update",
        help="bring your copies up to date, with your work in them",
        description=f"Bring your copies of the lessons up to date: new and changed "
        "lessons, and cells of exercises that are missing. What you wrote stays, and "
        f"the old file is kept. {WHERE}",
    )
    update.add_argument("lessons", nargs="*", help=argparse.SUPPRESS)
    update.set_defaults(command=_update)
    progress = commands.add_parser(
        "progress",
        help="show which exercises you passed, tried, or have open",
        description="Show for each lesson how many exercises you passed, tried, and "
        f"have open, read from your saved notebooks; nothing is run. {WHERE}",
    )
    progress.add_argument("lessons", nargs="*", help=argparse.SUPPRESS)
    progress.set_defaults(command=_progress)
    solution = commands.add_parser(
        "solution",
        help="show the answer of an exercise that you tried, and why",
        description="Show the course's answer to an exercise that you tried in your "
        f"saved notebook, and why it is right. {WHERE}",
    )
    solution.add_argument(
        "exercise",
        metavar="EXERCISE",
        help="its number, such as 3.2, or its function's name; a lesson's number lists "
        "the exercises",
    )
    solution.set_defaults(command=_solution)
    run = commands.add_parser("run", help="execute solution lessons and time them")
    run.add_argument("lessons", nargs="*", metavar="LESSON", help=LESSON_HELP)
    run.add_argument(
        "--save",
        action="store_true",
        help="store the outputs in solutions/, with measured time and memory",
    )
    run.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="how many lessons run at a time (default 1); each needs its own memory",
    )
    run.set_defaults(command=_run)
    build = commands.add_parser("build", help="make student notebooks from solutions")
    build.add_argument(
        "--check", action="store_true", help="only tell whether they are up to date"
    )
    build.set_defaults(command=_build)
    grade = commands.add_parser(
        "grade", help="grade what students handed in, one line each"
    )
    grade.add_argument("lesson", metavar="LESSON", help="5, 05 or its name")
    grade.add_argument(
        "students", nargs="*", metavar="STUDENT", help="some of submitted/; none: all"
    )
    grade.add_argument(
        "--force", action="store_true", help="grade again what was graded"
    )
    grade.set_defaults(command=_grade)
    data = commands.add_parser("data", help="fetch and verify what the lessons need")
    data.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="data sets, see --list; none means those that the lessons need",
    )
    instead = data.add_mutually_exclusive_group()
    instead.add_argument(
        "--list", action="store_true", help="show every set: size, place, licence"
    )
    instead.add_argument(
        "--export",
        metavar="DIR",
        help="write a mirror for COURSE_DATA_MIRROR, of verified files",
    )
    instead.add_argument(
        "--check",
        action="store_true",
        help="download from every source, keep nothing, and tell which are dead",
    )
    data.set_defaults(command=_data)
    doctor = commands.add_parser(
        "doctor",
        help="find what would stop a lesson here",
        description="Look at versions, memory, disk, compiler and data, and name a "
        "cure for each thing that would stop a lesson; nothing is changed.",
    )
    doctor.set_defaults(command=_doctor)
    bench = commands.add_parser(
        "bench", help="time a lesson's recipe beside the original it comes from"
    )
    if with_bench:  # the benches' modules take seconds to import
        _add_bench_options(bench)
    bench.set_defaults(command=_bench)
    return parser


def _add_bench_options(parser: argparse.ArgumentParser) -> None:
    from course_tools.bench import benches

    parser.add_argument("lessons", nargs="*", metavar="LESSON", help=LESSON_HELP)
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="how often the course's recipe runs, each time with another seed",
    )
    parser.add_argument(
        "--store",
        action="store_true",
        help="keep the tables that lessons show, in place of those stored",
    )
    for module in benches().values():
        if hasattr(module, "add_options"):
            module.add_options(parser)


def _bench(options: argparse.Namespace) -> int:
    from course_tools.bench import chosen, keep_tables

    keep_tables(options.store)
    for module in chosen(options.lessons):
        module.run(options)
    return 0


def _takes_no_lesson(command: str, lessons: Sequence[str], what: str) -> None:
    if lessons:
        raise UsageError(
            f"`course {command}` takes no lesson ('{lessons[0]}'): it {what} all of "
            f"them. Run `course {command}`."
        )


def _update(options: argparse.Namespace) -> int:
    _takes_no_lesson("update", options.lessons, "updates")
    from course_tools.work.places import find_places

    places = find_places()
    from course_tools.work.update import update

    lines = update(places)
    for line in lines:
        print(line.text, file=sys.stderr if line.problem else sys.stdout, flush=True)
    if not lines:
        print(f"The lessons in {places.shown(places.own)}/ are up to date.")
    return int(any(line.problem for line in lines))


def _progress(options: argparse.Namespace) -> int:
    _takes_no_lesson("progress", options.lessons, "shows")
    from course_tools.work.places import find_places

    places = find_places()
    from course_tools.work.progress import Progress

    found = Progress(places)
    print(found)
    if not found.is_begun:
        print("There are no copies of yours yet: `course update` makes them.")
    return 0


def _solution(options: argparse.Namespace) -> int:
    from course_tools.work.places import find_places

    places = find_places()
    from course_tools.work.solution import find_solution, list_exercises

    listed = list_exercises(places, options.exercise)
    print(listed or find_solution(places, options.exercise))
    return 0


def _lab_help(passed_on: list[str]) -> int:
    """Let JupyterLab answer; no copies are made."""
    from jupyterlab.labapp import LabApp

    if "--version" not in passed_on:
        print(
            "`course lab` brings your copies of the lessons up to date and opens "
            f"JupyterLab on them. {WHERE}\nWhat follows it is JupyterLab's own:\n",
            flush=True,
        )
    LabApp.launch_instance(passed_on)
    return 0


def _lab(passed_on: list[str]) -> int:
    from course_tools.work.places import find_places

    # First of all: what else the command imports, only lessons need.
    places = find_places()
    from course_tools.lab_settings import for_lab
    from course_tools.work.update import update

    asked_for_root = any(word.startswith("--allow-root") for word in passed_on)
    as_root = sys.platform != "win32" and os.geteuid() == 0 and not asked_for_root
    if as_root and not _in_container():
        raise CourseError(
            "JupyterLab does not run as root: log in as an ordinary user and run "
            "this again."
        )
    try:
        for line in update(places):
            stream = sys.stderr if line.problem else sys.stdout
            print(line.text, file=stream, flush=True)
    except CourseError as error:
        if not any(places.copy_of(name).exists() for name in places.names()):
            raise
        # What is there can be worked in all the same.
        print(error, file=sys.stderr, flush=True)
    words, variables = for_lab(places.own)
    os.environ.update(variables)
    if as_root:
        print("Container's root user: JupyterLab starts with --allow-root.", flush=True)
        words.append("--allow-root")
    from jupyterlab.labapp import LabApp

    # In its terminals, and behind `!` in a cell, this command is found by its name.
    commands = [sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]
    os.environ["PATH"] = os.pathsep.join(commands)
    # In this process: Ctrl-C and the exit status are JupyterLab's on every system.
    LabApp.launch_instance(words + passed_on)
    return 0


def _in_container() -> bool:
    if sys.platform == "win32":
        return False
    if any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")):
        return True
    if os.environ.get("container"):
        return True
    import pwd

    # A machine on which nobody else could log in.
    return not any(
        1000 <= user.pw_uid < 60000 and not user.pw_shell.endswith(("nologin", "false"))
        for user in pwd.getpwall()
    )


def _run(options: argparse.Namespace) -> int:
    from course_tools import runner
    from course_tools.lessons import find_lessons
    from course_utils import profile

    lessons = find_lessons(options.lessons)
    if options.jobs < 1:
        raise UsageError("--jobs takes 1 or more.")
    if options.save and options.jobs > 1:
        raise UsageError(
            "--save measures lessons that run alone: leave --jobs out, or --save."
        )
    size = profile()  # a wrong one is told before anything runs
    if options.save and size != "quick":
        raise CourseError(
            "Stored outputs are those of the quick profile: unset COURSE_PROFILE."
        )
    width = max((len(lesson.name) for lesson in lessons), default=0)

    def on_cell(name: str, done: int, total: int) -> None:
        if sys.stdout.isatty():
            print(f"\r… {name:<{width}}  cell {done} of {total}\x1b[K", end="\r")

    start, failed = time.perf_counter(), False
    for lesson, result in runner.run_lessons(lessons, options.jobs, on_cell):
        print(result.line(f"{lesson.name:<{width}}"), flush=True)
        failed |= bool(result.problem)
        if options.save and not result.problem:
            runner.save(lesson, result)
    if len(lessons) > 1:
        seconds = time.perf_counter() - start
        print(f"{len(lessons)} lessons in {seconds:.0f} s, {options.jobs} at a time")
    return int(failed)


def _build(options: argparse.Namespace) -> int:
    from course_tools import authoring

    lessons = all_notebooks()
    if options.check:
        found = [authoring.compare(lesson) for lesson in lessons]
        differences = [str(one) for one in found if one]
        differences += authoring.readme_differences()
        for difference in differences:
            print(difference, file=sys.stderr)
        if differences:
            print("Run `course build`, then look at the diff.", file=sys.stderr)
            return 1
        print(f"{len(lessons)} student notebooks are what their solutions give.")
        return 0
    for lesson in lessons:
        changed, kept = authoring.build(lesson)
        state = "written" if changed else "up to date"
        print(f"{authoring.relative(lesson.notebook)}: {state}")
        if kept:
            print(f"  had local edits; moved to {kept.name}")
    if authoring.write_readme():
        print("README.md: lesson table written")
    return 0


def _grade(options: argparse.Namespace) -> int:
    from course_tools import lessons

    if sys.platform == "win32":
        raise CourseError(
            "`course grade` does not run on Windows: submissions run in a sandbox that "
            "needs Linux. Run it in WSL2 or on a Linux machine."
        )
    lesson = lessons.find_lessons([options.lesson])[0]
    try:
        from course_tools.grading import gradebook, submissions
    except ImportError as error:
        if "nbgrader" not in str(error):
            raise
        raise CourseError(
            f"`course grade` needs nbgrader: run `{set_up('test')}`."
        ) from None

    def on_start(student: str) -> None:
        if sys.stdout.isatty():
            print(f"… {submissions.plain(student)}", end="", flush=True)

    refused = []
    for one in gradebook.grade(
        lessons.ROOT,
        lesson.name,
        options.students,
        force=options.force,
        on_start=on_start,
    ):
        if sys.stdout.isatty():
            print("\r\x1b[K", end="")
        if one.problem:
            refused.append(submissions.plain(one.student))
            line = f"refused: {one.problem}"
        else:
            line = f"{one.score:g} of {one.max_score:g}"
            line += "" if one.done else "  (graded before)"
        told = f"{one.student}: {'; '.join([line, *one.notes])}"
        print(submissions.plain(told), flush=True)
    if refused:
        print(
            f"Not graded: {', '.join(refused)}. The grade book holds no score for "
            "them, and grades.csv says why.",
            file=sys.stderr,
        )
    return int(bool(refused))


def _data(options: argparse.Namespace) -> int:
    from course_utils.data.fetch import cache_folder, catalog, describe, prepare
    from course_utils.data.fetch.catalog import entry

    if options.list:
        print(_data_table())
        return 0
    names = options.names
    if not names:
        names = [one.name for one in catalog().values() if one.lessons]
    for name in names:
        entry(name)  # a name that there is not ends it before anything is fetched
    if options.check:
        return _check_data(names)
    if options.export is not None:
        return _export_data(names, Path(options.export))
    failed = False
    for name in names:
        try:
            folder = prepare(name)
        except CourseError as error:
            print(error, file=sys.stderr)
            failed = True
            continue
        dataset = catalog()[name]
        if dataset.files:
            state = f"{dataset.bytes / 1e6:,.1f} MB verified in {folder}"
        else:
            state = f"came with the {describe(dataset.sources[0])}"
        print(f"{name}: {state}", flush=True)
    if failed:
        print(f"The cache is {cache_folder()}.", file=sys.stderr)
    return int(failed)


def _export_data(names: Sequence[str], folder: Path) -> int:
    from course_utils.data.fetch import export, open_mirror

    folder = Path(os.path.expanduser(folder))
    if str(folder).startswith("~"):
        raise CourseError(
            f"There is no home folder for {folder}: write the full path of the mirror."
        )
    open_mirror(folder)
    failed = False
    for name in names:
        try:
            print(f"{name}: {export(name, folder)}", flush=True)
        except CourseError as error:
            print(error, file=sys.stderr)
            failed = True
    if not failed:
        print(f"COURSE_DATA_MIRROR={folder.absolute()}, or its address, serves these.")
    return int(failed)


def _check_data(names: Sequence[str]) -> int:
    from course_utils.data.fetch import check

    marks = {"ok": "✅", "dead": "❌", "skipped": "➖"}
    width = max(map(len, names))
    counts = dict.fromkeys(marks, 0)
    for one in check(names):
        counts[one.state] += 1
        line = f"{marks[one.state]} {one.name:<{width}}  {one.state:<7}  {one.source}"
        print(f"{line}: {one.reason}" if one.reason else line, flush=True)
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    print(f"Sources: {summary}.")
    return int(counts["dead"] > 0)


def _data_table() -> str:
    from course_utils.data.fetch import catalog, locate

    rows = [("NAME", "SIZE", "LESSONS", "WHERE", "LICENCE")]
    for dataset in catalog().values():
        found = locate(dataset.name)
        where = found[0] if found else "not fetched"
        rows.append(
            (
                dataset.name,
                f"{dataset.bytes / 1e6:.1f} MB" if dataset.bytes else "-",
                " ".join(f"{number:02}" for number in dataset.lessons) or "on request",
                where,
                dataset.licence,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(f"{row[c]:<{widths[c]}}" for c in range(4)), row[4]])
        for row in rows
    )


def _doctor(options: argparse.Namespace) -> int:
    from course_tools import doctor

    findings = doctor.examine()
    print(doctor.report(findings))
    doctor.require_good(findings)
    print("Nothing was found that would stop a lesson.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
