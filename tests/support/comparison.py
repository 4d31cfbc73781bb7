"""Compare two outputs of a cell: text as text, numbers as numbers.

Two right runs of a lesson agree in every word and differ in digits: processors round
differently, and training carries that on. nbval compares outputs as strings; the
strings given to it here (`Output`) compare their numbers within a tolerance.

By default text and whole numbers must be equal, and decimals agree to one unit of
their last digit or a thousandth of their size. A cell's tags widen that:

- ``tolerance-0.02``: decimals may differ by 0.02 (percentages and points by 2)
- ``tolerance-10%``: decimals may differ by a tenth of the stored number
- ``integers-2``, ``integers-10%``: the same for whole numbers
- ``words-80%``: four fifths of the words must be the same, in any order
- ``times``: how long something took is not compared: a number before ``s``, ``ms``,
  ``/s`` or, as the ratio of two of them, before the word "times"
- ``factor-20``: decimals may be twenty times as large or as small

However wide, no tag lets a line, a number or an output be missing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

NUMBER = re.compile(
    r"(?<![\w.,])[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?([eE][-+]?\d+)?"
    r"(?!\w|\.\d)(?:%| points?\b)?"
)
TIME = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?: ?(?:s|ms|µs|us|min|times)\b|/s\b)")
TAG = re.compile(
    r"(?:(tolerance|integers)-(\d+|\d*\.\d+)(%?)|words-(\d+)%|factor-(\d+)|(times))"
)
# Decimals this small are what rounding leaves of a zero.
ZERO = 1e-9


@dataclass(frozen=True)
class Tolerance:
    """How far two right outputs of one cell may differ.

    Attributes
    ----------
    absolute, relative : float
        For decimals, the latter as a share of the stored number.
    integers, integers_relative : float
        The same for whole numbers.
    words : float
        Share of words that must be in both.
    factor : float
        How many times as large, or as small, a decimal may be.
    times : bool
        Whether durations, rates and their ratios are left out.
    trained : bool
        Whether the cell's tags allow more than the default.
    """

    absolute: float = 0.0
    relative: float = 1e-3
    integers: float = 0.0
    integers_relative: float = 0.0
    words: float = 1.0
    factor: float = 1.0
    times: bool = False
    trained: bool = False


def tolerance_of(tags: Iterable[str]) -> Tolerance:
    """Read a cell's tags; those of other families say nothing here."""
    found = Tolerance()
    for tag in tags:
        match = TAG.fullmatch(tag)
        if not match:
            continue
        family, size, percent, words, factor, times = match.groups()
        if family:
            name = "integers" if family == "integers" else "absolute"
            if percent:
                name = {"integers": "integers_relative", "absolute": "relative"}[name]
            found = replace(
                found, **{name: float(size) / (100 if percent else 1)}, trained=True
            )
        elif words:
            found = replace(found, words=int(words) / 100, trained=True)
        elif factor:
            found = replace(found, factor=float(factor), trained=True)
        elif times:
            found = replace(found, times=True, trained=True)
    return found


class Output(str):
    """Text of an output that equals another within a tolerance."""

    tolerance: Tolerance

    def __new__(cls, text: str, tolerance: Tolerance) -> Output:
        made = super().__new__(cls, text)
        made.tolerance = tolerance
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and not difference(self, other, self.tolerance)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def difference(stored: str, new: str, tolerance: Tolerance) -> str:
    """Say where two outputs differ by more than they may; empty where nowhere."""
    if tolerance.times:
        stored, new = TIME.sub("TIME", stored), TIME.sub("TIME", new)
    old_lines, new_lines = stored.split("\n"), new.split("\n")
    if len(old_lines) != len(new_lines):
        return f"{len(old_lines)} lines are stored, {len(new_lines)} came"
    if tolerance.words < 1:
        if problem := _words(stored, new, tolerance):
            return problem
    for number, (old, came) in enumerate(zip(old_lines, new_lines, strict=True), 1):
        if problem := _line(old, came, tolerance):
            return f"line {number}: {problem}\n  stored: {old}\n  now:    {came}"
    return ""


def _line(old: str, new: str, tolerance: Tolerance) -> str:
    decimals_only = tolerance.words < 1
    old_text, old_numbers = _take_apart(old, decimals_only)
    new_text, new_numbers = _take_apart(new, decimals_only)
    if len(old_numbers) != len(new_numbers):
        return "another number of numbers"
    if old_text != new_text and not decimals_only:
        return "another text"
    for one, other in zip(old_numbers, new_numbers, strict=True):
        if not _close(one, other, tolerance):
            return f"{other} in place of {one}"
    return ""


def _take_apart(line: str, decimals_only: bool) -> tuple[str, list[str]]:
    """Split a line into its text, each number a mark, and its numbers."""
    numbers: list[str] = []

    def take(match: re.Match[str]) -> str:
        if decimals_only and not (match[1] or match[2]):
            return match[0]
        numbers.append(match[0])
        return "#"

    # The width of a column depends on its numbers.
    return " ".join(NUMBER.sub(take, line).split()), numbers


def _words(stored: str, new: str, tolerance: Tolerance) -> str:
    before, now = (
        Counter(_take_apart(text, decimals_only=True)[0].split())
        for text in (stored, new)
    )
    share = (before & now).total() / max(before.total(), now.total(), 1)
    if share >= tolerance.words:
        return ""
    gone = ", ".join((before - now).keys())
    return f"{share:.0%} of the words are the same, not {tolerance.words:.0%}: {gone}"


def _close(old: str, new: str, tolerance: Tolerance) -> bool:
    one, other = _value(old), _value(new)
    if _is_whole(old) and _is_whole(new):
        # A whole percentage is a rounded decimal, where decimals may differ at all.
        rounded = _is_percentage(old) and tolerance.trained
        if not rounded or one == other:
            allowed = max(tolerance.integers, tolerance.integers_relative * abs(one))
            return abs(one - other) <= allowed
    unit = max(_unit(old), _unit(new))
    allowed = max(
        tolerance.absolute,
        tolerance.relative * abs(one),
        # One unit of the last digit, which rounding decides: not 0.5 for 0.6.
        min(unit, 0.01),
        ZERO,
    )
    if abs(one - other) <= allowed * (1 + 1e-6):
        return True
    if one * other <= 0:
        return False
    return max(one / other, other / one) <= tolerance.factor


def _is_whole(text: str) -> bool:
    return not re.search(r"\d\.|\d[eE]", text)


def _is_percentage(text: str) -> bool:
    return text.endswith(("%", "points", "point"))


def _value(text: str) -> float:
    plain = re.sub(r"%| points?|,", "", text).replace("−", "-")
    return float(plain) / (100 if _is_percentage(text) else 1)


def _unit(text: str) -> float:
    """Size of one in a number's last digit."""
    plain = re.sub(r"%| points?", "", text).lower()
    mantissa, _, exponent = plain.partition("e")
    digits = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - digits) / (100 if _is_percentage(text) else 1)
