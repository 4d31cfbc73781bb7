"""Checks that answer at once: right, not yet, or not tried.

A lesson's module decorates one function for each exercise. Where the answer computes
something from its arguments, that function is a reference, and the rest is data: see
`course_utils.checks.cases`. Other answers get a check that is written by hand::

    @exercise("4.5", hints=["…", "…"])
    def train_head(answer, features, labels):
        predict = answer(features, labels)
        ...
        return "what was shown and why it matters"

The notebook then says ``check.train_head(train_head, features, labels)`` and
``check.train_head.hint()``.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import linecache
import re
import sysconfig
import textwrap
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

from course_utils.checks.answers import attach, is_left_above_the_raise

import numpy as np

# Where code lies that a student did not write: this package, Python, libraries.
NOT_THE_STUDENTS = (
    str(Path(__file__).resolve().parents[1]),
    *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")),
)

# The longest error text that is shown whole.
LONGEST = 300


class ExerciseError(AssertionError):
    """An answer that is not right yet; shown in a notebook as its one message."""

    def _render_traceback_(self) -> list[str]:
        return _lines(str(self)).splitlines()


class NotAttempted(ExerciseError):
    """The exercise still holds its stub."""


class Outcome(StrEnum):
    """What became of an exercise since the kernel started: its last answer counts."""

    PASSED = "passed"
    TRIED = "tried, not right yet"
    OPEN = "not tried"


class Check:
    """A check of one exercise: call it with your answer, `hint` prints a hint.

    Parameters
    ----------
    function : callable
        What the lesson's module defines: `run`, or the reference that it compares
        with.
    number : str
        The exercise's number as the lesson prints it, such as ``"1.2"``.
    hints : sequence of str
        From a nudge to almost the answer.
    run : callable, optional
        Takes the answer. Returns the sentence for a right one, calls `fail` for a
        wrong one; `function` if left out.
    mistakes : sequence of `Mistake`, optional
        Wrong answers that the check knows, each with its sentence.

    Attributes
    ----------
    outcome : Outcome
        What the last call found; only in memory, so a restart forgets it.
    """

    __name__: str  # the function's, as is the next
    __wrapped__: Callable[..., Any]

    def __init__(
        self,
        function: Callable[..., Any],
        number: str,
        hints: Sequence[str],
        run: Callable[..., str] | None = None,
        mistakes: Sequence[Mistake] = (),
    ) -> None:
        if len(hints) < 2:
            raise ValueError(f"exercise {number} needs at least two hints")
        functools.update_wrapper(self, function)
        self.number = number
        self.hints = tuple(hints)
        self.mistakes = tuple(mistakes)
        self._function = function
        self._run = run or function
        self.outcome = Outcome.OPEN
        self._next_hint = 0
        name = self.__name__
        self.__doc__ = (
            f"Check exercise {number}: run the cell with your answer, then "
            f"`check.{name}(…)`, as the lesson has it; `check.{name}.hint()` helps."
        )

    def __call__(self, *answer: Any) -> None:
        """Check an answer and print one line, or raise the one that helps.

        Raises
        ------
        NotAttempted
            When the answer still is the stub.
        ExerciseError
            When the answer is wrong, or stops with an error of its own.
        """
        # An answer that never comes to an end, and is interrupted, was tried too.
        self.outcome = Outcome.TRIED
        try:
            sentence = self._judge(answer)
        except NotAttempted:
            self.outcome = Outcome.OPEN
            raise
        self.outcome = Outcome.PASSED
        print(_lines(f"✅ {self.number} {sentence}"))
        attach(self.__name__, answer[0] if answer else None)

    def _judge(self, answer: tuple[Any, ...]) -> str:
        if any(part is ... for part in answer):
            raise NotAttempted(self._open())
        changed: set[str] = set()
        guarded = (_guard(part, changed) for part in answer)
        try:
            # A warning on standard error would cost the exercise its points in
            # nbgrader, and it is not what the reader was asked about.
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                sentence = self._run(*guarded)
        except NotImplementedError:
            if answer and is_left_above_the_raise(answer[0]):
                raise ExerciseError(
                    f"{self.number} Your cell still has the line that begins with "
                    "`raise`, and your code came to it without a `return`. Remove that "
                    "line, run the cell, then this one again."
                ) from None
            raise NotAttempted(self._open()) from None
        except ExerciseError as error:
            told = f"{self.number} {error} {_told_of_change(changed)}".rstrip()
            raise type(error)(told) from None
        except Exception as error:
            first = answer[0] if answer else None
            stopped = _what_stopped(error, self._function.__code__, first)
            told = f"{self.number} {stopped} {_told_of_change(changed)}".rstrip()
            raise ExerciseError(told) from None
        if changed:
            raise ExerciseError(f"{self.number} {_told_of_change(changed)}")
        return sentence

    def hint(self) -> None:
        """Print the next hint; after the last one, the last one again."""
        number = min(self._next_hint, len(self.hints) - 1)
        print(_lines(f"Hint {number + 1} of {len(self.hints)}: {self.hints[number]}"))
        self._next_hint = number + 1

    def _open(self) -> str:
        return (
            f"{self.number} is still open. Write your answer in place of the `raise` "
            "line, run that cell, then this one again; "
            f"check.{self.__name__}.hint() helps."
        )


@dataclass(frozen=True)
class Mistake:
    """A wrong answer, and what to say to somebody who gives it.

    Parameters
    ----------
    sentence : str
        May name arguments in braces, as in ``"the margin was {margin}"``.
    function : callable
        Takes the arguments that the answer takes, and returns what it would return.
    """

    sentence: str
    function: Callable[..., Any]


def exercise(number: str, *, hints: Sequence[str]) -> Callable[..., Check]:
    """Turn a function that judges an answer into the `Check` of an exercise.

    Parameters
    ----------
    number : str
        The exercise's number, such as ``"1.2"``.
    hints : sequence of str
        At least two, from a nudge to almost the answer.

    Returns
    -------
    callable
        The decorator.
    """
    return lambda function: Check(function, number, hints)


def fail(message: str) -> NoReturn:
    """Say that the answer is not right: what came, what was expected, the slip.

    Parameters
    ----------
    message : str
        One or two sentences; the exercise's number is put before them.

    Raises
    ------
    ExerciseError
        Always.
    """
    raise ExerciseError(message)


def as_array(name: str, got: Any, *, like: np.ndarray | None = None) -> np.ndarray:
    """Convert a returned value to a numeric array.

    Parameters
    ----------
    name : str
        The student's function, for the message.
    got : any
        What it returned: an array, a number, a list, a Series, a tensor.
    like : numpy.ndarray, optional
        Insist on an array, and on the same kind of numbers, where cells of the lesson
        work with what the function returns and would stop or err with another.

    Returns
    -------
    numpy.ndarray
        The value, of a numeric or boolean type.

    Raises
    ------
    ExerciseError
        When nothing was returned, or nothing numeric, or not what `like` asks for.
    """
    if got is None:
        fail(f"{name} returned None: does its last line begin with `return`?")
    if got is NotImplemented or isinstance(got, type(...)):
        raise NotImplementedError
    try:
        array = np.asarray(_off_the_graph(got))
    except ValueError:
        if isinstance(got, tuple):
            fail(f"{name} returned a tuple of {len(got)}; I expected one array.")
        fail(f"{name} returned rows of different lengths; I expected one array.")
    if array.dtype.kind not in "biuf":
        fail(f"{name} returned {kind(got)}; I expected numbers.")
    if like is None:
        return array
    # A single number may be Python's own: nothing that a lesson does with it differs.
    if like.ndim and not isinstance(got, np.ndarray):
        fail(
            f"{name} returned {kind(got)}; later cells need a NumPy array: "
            "`np.array(…)` makes one."
        )
    kinds = {"b": "booleans", "i": "whole numbers", "u": "whole numbers", "f": "floats"}
    wanted, came = kinds[like.dtype.kind], kinds[array.dtype.kind]
    kind_of = "bool" if wanted == "booleans" else "int"
    convert = f".astype({kind_of})" if like.ndim else f"{kind_of}(…)"
    if wanted not in (came, "floats"):
        fail(
            f"{name} returned {came} ({array.dtype}); later cells need {wanted}: "
            f"`{convert}` converts them."
        )
    return array


def expect_shape(
    name: str, got: Any, shape: tuple[int, ...], *, given: str, slip: str = ""
) -> np.ndarray:
    """Insist on the shape of a returned array.

    Parameters
    ----------
    name : str
        The student's function, for the message.
    got : any
        What it returned.
    shape : tuple of int
        The shape it should have.
    given : str
        What the function was called with, in words.
    slip : str, optional
        The likeliest mistake.

    Returns
    -------
    numpy.ndarray
        `got` as an array of that shape.

    Raises
    ------
    ExerciseError
        When it has another shape, or is no array of numbers.
    """
    array = as_array(name, got)
    if array.shape != shape:
        fail(
            f"For {given} I expected shape {shape}, "
            f"your function returned {array.shape}. {slip}".rstrip()
        )
    return array


def expect_number(name: str, got: Any) -> float:
    """Insist on a single finite number.

    Parameters
    ----------
    name : str
        The student's function, for the message.
    got : any
        What it returned.

    Returns
    -------
    float
        The number.

    Raises
    ------
    ExerciseError
        When it is no number, more than one, or not finite.
    """
    array = as_array(name, got)
    if array.size != 1:
        fail(f"{name} returned {array.size} numbers; I expected one.")
    number = float(array.reshape(()))
    if not np.isfinite(number):
        fail(f"{name} returned {number}; I expected a finite number.")
    return number


def _off_the_graph(value: Any) -> Any:
    """Bring PyTorch's tensors to NumPy; leave everything else as it is."""
    if hasattr(value, "detach"):
        return value.detach().cpu().numpy()
    if isinstance(value, list | tuple) and any(hasattr(x, "detach") for x in value):
        return [_off_the_graph(part) for part in value]
    return value


def _guard(answer: Any, changed: set[str]) -> Any:
    """Let a function note the names of arguments that it changes."""
    if not inspect.isroutine(answer) and not isinstance(answer, functools.partial):
        return answer

    @functools.wraps(answer)
    def call(*arguments: Any, **named: Any) -> Any:
        given: dict[Any, Any] = {**dict(enumerate(arguments)), **named}
        before = {key: _fingerprint(value) for key, value in given.items()}
        try:
            return answer(*arguments, **named)
        finally:
            for key, value in given.items():
                if _fingerprint(value) != before[key]:
                    changed.add(_name_of(answer, key))

    return call


def _name_of(function: Any, key: int | str) -> str:
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:
        names = []
    if isinstance(key, str):
        return f"`{key}`"
    return f"`{names[key]}`" if key < len(names) else f"argument {key + 1}"


def _fingerprint(value: Any) -> Any:
    """Tell whether arrays, tensors, tables or lists were changed, in little memory."""
    value = _off_the_graph(value)
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        data = np.ascontiguousarray(value).view(np.ndarray)
        return value.shape, value.dtype.str, hashlib.blake2b(data.data).digest()
    if isinstance(value, Mapping):
        return [(_fingerprint(k), _fingerprint(v)) for k, v in value.items()]
    if isinstance(value, list | tuple | np.ndarray):
        return [_fingerprint(part) for part in value]
    if isinstance(value, set | frozenset):
        return frozenset(value)
    if hasattr(value, "tocoo"):  # a sparse matrix
        cells = value.tocoo()
        return [value.shape, *map(_fingerprint, (cells.row, cells.col, cells.data))]
    if hasattr(value, "to_numpy"):  # a Series or a table of pandas
        return [_fingerprint(value.to_numpy()), [str(n) for n in value.axes]]
    # By text, as NaN does not equal itself.
    return repr(value) if isinstance(value, str | int | float | bytes) else id(value)


def _told_of_change(changed: set[str]) -> str:
    if not changed:
        return ""
    names = " and ".join(sorted(changed))
    itself = "itself" if len(changed) == 1 else "themselves"
    return (
        f"Your function changed {names} {itself}, which other cells use too. Work on a "
        "copy: `.copy()` makes one (`.clone()` of a tensor), and `a = a + b` writes a "
        "new array where `a += b` changes the old one."
    )


def _lines(message: str) -> str:
    """Break a message between words: JupyterLab would break it anywhere."""
    return "\n".join(
        textwrap.fill(line, 88, break_long_words=False, break_on_hyphens=False)
        for line in message.splitlines()
    )


_ARRAYS = {
    **dict.fromkeys("biuf", "array"),
    **dict.fromkeys("SU", "array of words"),
    "c": "array of complex numbers",
    "M": "array of dates",
}


def kind(value: Any) -> str:
    """Name a value's type with its article, such as ``a list of str``."""
    name = type(value).__name__
    if isinstance(value, np.ndarray):
        name = _ARRAYS.get(value.dtype.kind, "array of objects")
    elif isinstance(value, list | tuple) and value:
        kinds = {type(part).__name__ for part in value}
        # Rows of numbers are lists of lists; what matters is what cannot be a number.
        if len(kinds) == 1 and kinds <= {"str", "NoneType", "dict", "complex"}:
            name = f"{name} of {kinds.pop()}"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _last_words(text: str) -> str:
    """Reduce an error text to what it says, without colours and graph traces."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).strip()
    if len(text) <= LONGEST:
        return text
    # Keras lists the arguments last, TensorFlow the places where a node was made.
    told = text.partition("\nArguments received by")[0].splitlines()
    trace = ("File ", "[[", "Traceback", "Stack trace", "Original stack")
    lines = [line.strip() for line in told]
    lines = [line for line in lines if line and not line.startswith(trace)]
    while len(lines) > 1 and len("\n".join(lines)) > LONGEST:
        del lines[0]
    kept = "\n".join(lines) or text
    return kept if len(kept) <= LONGEST else f"{kept[: LONGEST - 1]}…"


def _what_stopped(error: Exception, check: CodeType, answer: Any) -> str:
    """Name the student's own line that raised, not one of ours or a library's.

    Where the answer called a function of another cell, the line of the answer.
    """
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(NOT_THE_STUDENTS)
        and (frame.filename, frame.name) != (check.co_filename, check.co_name)
    ]
    reason = f"{type(error).__name__}: {_last_words(str(error)) or 'no message'}"
    reason = ". ".join([reason.rstrip("."), *getattr(error, "__notes__", ())])
    if not own:
        return f"Your answer could not be called as the exercise asks. {reason}"
    code = getattr(getattr(answer, "__wrapped__", answer), "__code__", None)
    cell = getattr(code, "co_filename", None)
    own = [frame for frame in own if frame.filename == cell] or own
    line = own[-1].line or linecache.getline(own[-1].filename, own[-1].lineno or 0)
    return f"Your code stopped in line {own[-1].lineno} of its cell, `{line}`. {reason}"
