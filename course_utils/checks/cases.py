"""Exercises whose answer is a function of its arguments, checked from data.

The decorated function is the reference, computed another way than the lesson does,
with the answer's name and arguments. A test submits every mistake::

    @reference(
        "4.2",
        hints=["…", "…"],
        cases=lambda: [Case(maps_of((3, 4, 5, 7))), Case(maps_of((2, 6, 3, 4)))],
        mistakes={
            "That is the sum of each map; divide it by its places.": (
                lambda maps: maps.sum(axis=(1, 2))
            ),
        },
        passed="What was shown and why it matters.",
    )
    def global_average(maps):
        return np.stack([...])
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.checks.core import Check, ExerciseError, Mistake, as_array, fail, kind

import numpy as np

Wrong = Callable[..., Any]

# The largest array of one axis that a message lists.
LISTED = 12
ORDINALS = ("first", "second", "third", "fourth", "fifth")


class Case:
    """Arguments that an answer is called with.

    Parameters
    ----------
    *arguments
        In the answer's order; the last ones may be left out where it has defaults. The
        answer gets copies.
    given : str, optional
        What they are, in words; by default they are listed, or their shapes.
    advice : str, optional
        What to do where the answer fails here and no mistake is recognised.
    """

    def __init__(self, *arguments: Any, given: str = "", advice: str = "") -> None:
        self.arguments = arguments
        self.given = given
        self.advice = advice


@dataclass(frozen=True)
class Trial:
    """One case, what was expected of it, and what came."""

    case: Case
    given: str
    expected: Any
    got: Any
    right: bool


@dataclass(frozen=True)
class _Task:
    """What `reference` was told."""

    function: Callable[..., Any]
    cases: Callable[[], Iterable[Case]]
    passed: str
    mistakes: tuple[Mistake, ...]
    slip: Callable[..., str | None] | None
    accepts: Callable[..., bool] | None
    first: Callable[[Any], object] | None
    used: Callable[..., np.ndarray] | None
    then: Callable[[Any], object] | None
    advice: str
    exact: bool
    atol: float

    @property
    def name(self) -> str:
        return self.function.__name__

    def run(self, answer: Any) -> str:
        if self.first is not None:
            self.first(answer)
        trials: list[Trial] = []
        wrong: Trial | None = None
        for case in self.cases():
            try:
                trial = self.try_case(answer, case)
            except Exception:
                if wrong is None:
                    raise
                break  # an earlier case is told of; this one would have recognised it
            trials.append(trial)
            if not trial.right:
                wrong = wrong or trial
        if not trials:
            raise ValueError(f"{self.name} has no cases")
        if wrong is not None:
            sentence = self.explain(trials, wrong)
            fail(f"{_difference(wrong, self.agree)} {sentence}".rstrip())
        if self.then is not None:
            self.then(answer)
        return self.passed

    def try_case(self, answer: Any, case: Case) -> Trial:
        """Call reference and answer; add advice where the answer stops."""
        expected = self.function(*copy.deepcopy(case.arguments))
        given = case.given or self.in_words(case)
        try:
            got = answer(*copy.deepcopy(case.arguments))
        except (NotImplementedError, ExerciseError):
            raise
        except Exception as error:
            advice = case.advice or self.advice
            if advice:
                error.add_note(f"{self.filled(advice, case)}")
            raise
        got = self.only_used(
            _converted(self.name, got, expected, self.exact), expected, case
        )
        if _lacks(got, expected):
            right = False
        elif self.accepts is not None:
            right = bool(self.accepts(got, expected, *copy.deepcopy(case.arguments)))
        else:
            right = self.agree(got, expected)
        return Trial(case, given, expected, got, right)

    def only_used(self, got: Any, expected: Any, case: Case) -> Any:
        """Put the reference's numbers where no other cell looks at the answer's."""
        if self.used is None or got is None or np.shape(got) != np.shape(expected):
            return got
        return np.where(self.used(*copy.deepcopy(case.arguments)), got, expected)

    def explain(self, trials: Sequence[Trial], wrong: Trial) -> str:
        """Find the mistake that gives what the answer gave, in all cases or in one."""
        errors = [trial for trial in trials if not trial.right]
        fit = [m for m in self.mistakes if all(self.consistent(t, m) for t in errors)]
        always = [m for m in fit if all(self.consistent(t, m) for t in trials)]
        if not always and all(trial.got is None for trial in trials):
            as_array(self.name, None)
        for mistake in [*always, *fit]:
            return self.filled(mistake.sentence, wrong.case)
        if self.slip is not None and not _lacks(wrong.got, wrong.expected):
            arguments = copy.deepcopy(wrong.case.arguments)
            said = self.slip(wrong.got, wrong.expected, *arguments)
            if said:
                return said
        if _shape(wrong.got) != _shape(wrong.expected):
            for mistake in self.mistakes:
                value = self.value_of(mistake, wrong.case)
                if value is not _NOTHING and _shape(value) == _shape(wrong.got):
                    return self.filled(mistake.sentence, wrong.case)
        return self.filled(wrong.case.advice, wrong.case)

    def value_of(self, mistake: Mistake, case: Case) -> Any:
        """Compute what a mistake gives, or `_NOTHING` where it stops."""
        try:
            value = mistake.function(*copy.deepcopy(case.arguments))
            expected = self.function(*copy.deepcopy(case.arguments))
            value = _converted(self.name, value, expected, exact=False)
            return self.only_used(value, expected, case)
        except Exception:
            return _NOTHING

    def alike(self, trial: Trial, value: Any) -> bool:
        """Whether an answer erred as a mistake does; of a tuple, in one part."""
        if value is _NOTHING:
            return False
        if all(isinstance(v, tuple) for v in (value, trial.expected, trial.got)):
            parts = zip(trial.got, value, trial.expected, strict=False)
            return any(
                self.agree(got, part) and not self.agree(part, expected)
                for got, part, expected in parts
            )
        return self.agree(trial.got, value)

    def consistent(self, trial: Trial, mistake: Mistake) -> bool:
        """Whether a mistake may have given the answer's value in a case."""
        value = self.value_of(mistake, trial.case)
        if trial.right and not isinstance(trial.expected, tuple):
            return self.agree(trial.got, value)
        return trial.right or self.alike(trial, value)

    def agree(self, one: Any, other: Any) -> bool:
        """Whether two values are the same up to rounding."""
        if isinstance(one, tuple) and isinstance(other, tuple):
            return len(one) == len(other) and all(map(self.agree, one, other))
        if not (_numeric(one) and _numeric(other)):
            try:
                return type(one) is type(other) and bool(one == other)
            except (ValueError, RuntimeError):  # of a dict with arrays or tensors in it
                return False
        one, other = np.asarray(one, float), np.asarray(other, float)
        return one.shape == other.shape and np.allclose(
            one, other, rtol=self.atol, atol=self.atol, equal_nan=True
        )

    def bound(self, case: Case) -> dict[str, Any]:
        """Arguments of a case by name, defaults of the reference included."""
        bound = inspect.signature(self.function).bind(*case.arguments)
        bound.apply_defaults()
        return dict(bound.arguments)

    def filled(self, sentence: str, case: Case) -> str:
        """Put a case's arguments into the braces of a sentence."""
        return sentence.format(**self.bound(case)) if "{" in sentence else sentence

    def in_words(self, case: Case) -> str:
        """List a case's arguments: small ones whole, of others the shape."""
        names = list(inspect.signature(self.function).parameters)
        parts = [_told(*pair) for pair in zip(names, case.arguments, strict=False)]
        return ", ".join(parts[:-1]) + " and " * (len(parts) > 1) + parts[-1]


def reference(
    number: str,
    *,
    hints: Sequence[str],
    cases: Callable[[], Iterable[Case]],
    passed: str,
    mistakes: Mapping[str, Wrong | tuple[Wrong, ...]] | None = None,
    slip: Callable[..., str | None] | None = None,
    accepts: Callable[..., bool] | None = None,
    first: Callable[[Any], object] | None = None,
    used: Callable[..., np.ndarray] | None = None,
    then: Callable[[Any], object] | None = None,
    advice: str = "",
    exact: bool = False,
    atol: float = 1e-6,
) -> Callable[[Callable[..., Any]], Check]:
    """Turn a reference into the `Check` of an exercise.

    Parameters
    ----------
    number : str
        The exercise's number, such as ``"1.2"``.
    hints : sequence of str
        At least two, from a nudge to almost the answer.
    cases : callable
        Makes the `Case`s, in the order in which a wrong one is told of.
    passed : str
        What a right answer has shown and why it matters.
    mistakes : mapping of str to callable or tuple of callables, optional
        By the sentence they deserve, functions of the answer's arguments that return
        what the mistake returns. A sentence may name arguments in braces, as in
        ``"the margin was {margin}"``. Of several that fit, one that fits all cases is
        told, else the first that fits all that went wrong.
    slip : callable, optional
        ``slip(got, expected, *arguments)`` names a mistake that is no function of the
        arguments, or returns None.
    accepts : callable, optional
        ``accepts(got, expected, *arguments)`` says what is right, where that is not
        equality up to rounding.
    used : callable, optional
        ``used(*arguments)`` is a table of booleans of the answer's shape: True where an
        entry counts. Others are neither compared nor told of.
    first, then : callable, optional
        ``first(answer)`` looks at what would make cases name a wrong cause, and
        ``then(answer)`` at what cases cannot tell, and calls `fail`.
    advice : str, optional
        Added where the answer stops with an error of its own; as `mistakes`, it may
        name arguments.
    exact : bool
        Insist on NumPy arrays, with the reference's kind of numbers, as later cells of
        the lesson need them. By default whatever NumPy can read is accepted.
    atol : float
        Absolute and relative tolerance.

    Returns
    -------
    callable
        The decorator.
    """

    def decorate(function: Callable[..., Any]) -> Check:
        listed = tuple(
            Mistake(sentence, one)
            for sentence, wrong in (mistakes or {}).items()
            for one in (wrong if isinstance(wrong, tuple) else (wrong,))
        )
        task = _Task(
            function=function,
            cases=cases,
            passed=passed,
            mistakes=listed,
            slip=slip,
            accepts=accepts,
            first=first,
            used=used,
            then=then,
            advice=advice,
            exact=exact,
            atol=atol,
        )
        return Check(function, number, hints, task.run, listed)

    return decorate


_NOTHING = object()


def _numeric(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf"
    return isinstance(value, bool | int | float | np.number | np.bool_)


def _lacks(got: Any, expected: Any) -> bool:
    """Whether None came where a value was expected, or in one part of it."""
    if isinstance(got, tuple) and isinstance(expected, tuple):
        return any(map(_lacks, got, expected))
    return got is None and expected is not None


def _shape(value: Any) -> tuple[Any, ...]:
    """Shape of an array, or of each of several."""
    return tuple(map(_shape, value)) if isinstance(value, tuple) else np.shape(value)


def _converted(name: str, got: Any, expected: Any, exact: bool) -> Any:
    """Bring what came to the reference's type, or say what it is instead.

    None stays: in some cases, or as one of several values, it may be a mistake.
    """
    if got is None:
        return got
    if isinstance(expected, tuple) and not isinstance(got, tuple):
        if isinstance(got, str) or not hasattr(got, "__len__"):
            fail(f"{name} returned {got!r}; I expected {len(expected)} values.")
        got = tuple(got)
    if isinstance(expected, tuple):
        if len(got) != len(expected):
            fail(f"{name} returned {len(got)} values; I expected {len(expected)}.")
        pairs = zip(got, expected, strict=True)
        return tuple(_converted(name, *pair, exact) for pair in pairs)
    if isinstance(expected, np.ndarray) or _numeric(expected):
        array = as_array(name, got, like=np.asarray(expected) if exact else None)
        if np.ndim(expected) == 0 and array.shape == (1,):
            fail(
                f"{name} returned {kind(got)}; later cells need the number itself, "
                "without brackets around it."
            )
        return array
    return got


def _told(name: str, value: Any) -> str:
    """One argument in words: its name, and its values or its shape."""
    if isinstance(value, np.ndarray):
        if value.ndim == 1 and value.size <= LISTED:
            shown = value.round(3) if value.dtype.kind == "f" else value
            return f"{name} = {shown.tolist()}"
        return f"{name} of shape {value.shape}"
    if isinstance(value, list | tuple) and len(value) > LISTED:
        return f"{name} of {len(value)} entries"
    if type(value) is int:
        return f"{name} = {value:,}"
    return f"{name} = {value!r}"


def _difference(trial: Trial, agree: Callable[[Any, Any], bool]) -> str:
    """Say what was expected and what came, where they differ first."""
    expected, got, which = trial.expected, trial.got, ""
    if isinstance(expected, tuple) and isinstance(got, tuple):
        same = [agree(*pair) for pair in zip(expected, got, strict=True)]
        number = same.index(False) if False in same else 0
        expected, got = expected[number], got[number]
        which = f" as the {ORDINALS[number]} value" if number < len(ORDINALS) else ""
    wanted, came = _told_apart(expected, got)
    return (
        f"For {trial.given} I expected {wanted}{which}, your function returned {came}."
    )


def _told_apart(expected: Any, got: Any) -> tuple[str, str]:
    """Write what was expected and what came, of arrays the shapes or one number."""
    if not (_numeric(expected) and _numeric(got)):
        return _plain(expected), _plain(got)
    expected, got = np.asarray(expected), np.asarray(got)
    if expected.shape != got.shape:
        wanted = f"shape {expected.shape}" if expected.ndim else "one number"
        return wanted, f"shape {got.shape}" if got.ndim else "one number"
    with np.errstate(all="ignore"):
        off = ~np.isclose(got.astype(float), expected, rtol=1e-6, atol=1e-6)
    where = tuple(int(i) for i in np.argwhere(off)[0]) if off.any() else ()
    wanted, came = _apart(expected[where], got[where])
    return wanted + (f" at {list(where)}" if where else ""), came


def _apart(expected: Any, got: Any) -> tuple[str, str]:
    """Write two numbers with as many digits as tell them apart."""
    if np.ndim(expected):
        return _plain(expected), _plain(got)
    if expected.dtype.kind == "b" and got in (0, 1):
        return str(bool(expected)), str(bool(got))
    texts = "", ""
    for digits in (4, 6, 9, 17):
        texts = _number(expected, digits), _number(got, digits)
        if texts[0] != texts[1]:
            break
    return texts


def _number(value: Any, digits: int) -> str:
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{float(value):.{digits}g}"


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_plain, value))})"
    if isinstance(value, np.ndarray):
        return str(np.round(value, 4).tolist())
    if isinstance(value, np.generic):
        value = value.item()
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
