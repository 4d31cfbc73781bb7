"""What an answer can read is found, however it is written."""

from __future__ import annotations

import functools

from course_utils.checks.leaks import origin_of, reached

import pytest

SECRET = ["the true labels"]


def reads_a_global():
    return SECRET


def calls_one_that_reads():
    return reads_a_global()


def makes_a_closure():
    kept = SECRET
    return lambda: kept


def has_a_default(labels=SECRET):
    return labels


def names_it_in_text():
    return globals()["SECRET"]


def takes_it(labels):
    return labels


class Keeps:
    def __init__(self):
        self.labels = SECRET

    def __call__(self):
        return self.labels

    def method(self):
        return self.labels


class Names:
    def __call__(self):
        return SECRET


@functools.wraps(reads_a_global)
def wraps_it():
    return reads_a_global()


@pytest.mark.parametrize(
    "answer",
    [
        reads_a_global,
        calls_one_that_reads,
        makes_a_closure(),
        has_a_default,
        names_it_in_text,
        functools.partial(takes_it, SECRET),
        functools.partial(takes_it, labels=SECRET),
        functools.partial(calls_one_that_reads),
        Keeps(),
        Keeps().method,
        Names(),
        wraps_it,
    ],
)
def test_what_an_answer_reads_is_found(answer):
    assert any(value is SECRET for _, value in reached(answer))


@pytest.mark.parametrize("answer", [takes_it, len, Keeps, functools.partial(takes_it)])
def test_an_honest_answer_reaches_nothing(answer):
    assert not any(value is SECRET for _, value in reached(answer))


def test_items_of_both_halves_are_blamed_on_nobody():
    found = origin_of(["a", "b", "c", "x"], ["a", "b"], ["b", "c"])
    assert (found.seen, found.leaked, found.unknown) == ({"a", "b"}, 1, 1)
