"""Right and wrong answers to the exercises, one module a lesson."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answers:
    """What a check must accept and refuse.

    ``right`` holds answers written differently from the lesson's solution;
    ``wrong`` pairs an answer with words that the refusal must contain. What a check
    declares as a mistake does not stand here: each is submitted anyway. Where a
    check takes several arguments, an answer is a tuple of them, and ``solution``
    makes that tuple from the object that the lesson's solution cell defines.
    """

    right: list[Any]
    wrong: list[tuple[Any, str]] = field(default_factory=list)
    solution: Callable[[Any], tuple[Any, ...]] = lambda answer: (answer,)
