"""Code against leaks: what an answer can read, and what a model was trained on."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType
from typing import Any


@dataclass(frozen=True)
class Origin:
    """Where the items come from that a model is said to have trained on.

    Parameters
    ----------
    seen : set
        Those of the training half.
    leaked : int
        How many belong to the test half alone.
    unknown : int
        How many belong to neither.
    """

    seen: set[Hashable]
    leaked: int
    unknown: int


def origin_of(
    declared: Sequence[Hashable], train: Iterable[Hashable], test: Iterable[Hashable]
) -> Origin:
    """Look training items up in the two halves of a set.

    Parameters
    ----------
    declared : sequence of hashable
    train, test : iterable of hashable
        Texts, or pictures as bytes.

    Returns
    -------
    Origin
        An item of both halves counts as one of the training half: nobody can be blamed
        for it.
    """
    official = set(train)
    forbidden = set(test) - official
    leaked = sum(item in forbidden for item in declared)
    known = sum(item in official for item in declared)
    seen = official.intersection(declared)
    return Origin(seen, leaked, len(declared) - known - leaked)


def reached(function: Any, seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """List what a function can read besides its arguments.

    Parameters
    ----------
    function : callable
        A function, a method, a partial or an object that can be called. Functions of
        the same notebook that it calls are followed.
    seen : set of int, optional
        Identities of functions that were followed already.

    Yields
    ------
    tuple of str and any
        Name and value: closure, defaults, globals that the code names, and what an
        object keeps.
    """
    seen = set() if seen is None else seen
    if id(function) in seen:
        return
    seen.add(id(function))
    if isinstance(function, functools.partial):
        yield from ((f"an argument of {function.func}", v) for v in function.args)
        yield from function.keywords.items()
        yield from reached(function.func, seen)
        return
    if not isinstance(function, FunctionType | MethodType):
        # An object that is called: what it keeps, and what its method names.
        called = type(function).__dict__.get("__call__")
        if not isinstance(called, FunctionType):
            return
        function = MethodType(called, function)
    if isinstance(function, MethodType):
        yield from getattr(function.__self__, "__dict__", {}).items()
    function = getattr(function, "__func__", function)
    function = getattr(function, "__wrapped__", function)
    if not isinstance(function, FunctionType):
        yield from reached(function, seen)
        return
    seen.add(id(function))
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    defaults = [
        *(function.__defaults__ or ()),
        *(function.__kwdefaults__ or {}).values(),
    ]
    values = [(name, cell.cell_contents) for name, cell in cells]
    values += [(f"a default of {function.__name__}", value) for value in defaults]
    for name in _names(function.__code__):
        if name in function.__globals__:
            values.append((name, function.__globals__[name]))
    for name, value in values:
        yield name, value
        if isinstance(value, FunctionType):
            if value.__globals__ is function.__globals__:
                yield from reached(value, seen)
        elif isinstance(value, functools.partial):
            yield from reached(value, seen)


def _names(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
        elif isinstance(constant, str) and constant.isidentifier():
            found.add(constant)  # globals()["y_test"]
    return found
