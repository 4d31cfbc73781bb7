"""A check has three outcomes, and each is one kind message."""

from __future__ import annotations

import sys
import warnings

from course_utils.checks.core import (
    ExerciseError,
    NotAttempted,
    as_array,
    exercise,
    expect_number,
    expect_shape,
    fail,
)

import numpy as np
import pytest


@exercise("9.1", hints=["think of it", "double it"])
def double(answer):
    """Check doubling."""
    got = expect_number("double", answer(21))
    if got != 42:
        fail(f"For 21 I expected 42, your function returned {got:g}.")
    return "Twice is once more than once."


def test_a_right_answer_prints_one_line(capsys):
    double(lambda number: 2 * number)
    said = capsys.readouterr()
    assert said.out == "✅ 9.1 Twice is once more than once.\n"
    assert said.err == ""


def test_a_wrong_answer_raises_its_one_message():
    with pytest.raises(ExerciseError, match=r"^9.1 For 21 I expected 42.*returned 21"):
        double(lambda number: number)


def test_a_wrong_answer_counts_as_failed_for_nbgrader_and_nbval():
    assert issubclass(ExerciseError, AssertionError)


def test_a_notebook_shows_the_message_and_no_traceback():
    assert ExerciseError("9.1 no")._render_traceback_() == ["9.1 no"]


def test_a_long_message_is_broken_between_words():
    message = "9.1 " + " ".join(["seventeen_letters"] * 20)
    lines = ExerciseError(message)._render_traceback_()
    assert len(lines) > 1 and max(map(len, lines)) <= 88
    assert " ".join(lines) == message


def stub(number):
    raise NotImplementedError("Your turn")


@pytest.mark.parametrize("untouched", [stub, ...], ids=["stub", "ellipsis"])
def test_an_untouched_stub_is_told_apart_from_a_mistake(untouched):
    with pytest.raises(NotAttempted, match=r"still open.*check\.double\.hint\(\)"):
        double(untouched)


def test_an_error_in_the_answer_names_its_own_line():
    def halves(number):
        return number / 0

    with pytest.raises(ExerciseError, match="return number / 0.*ZeroDivisionError"):
        double(halves)


def test_an_error_inside_a_library_names_the_line_that_called_it():
    def stacks(number):
        return np.concatenate([])

    with pytest.raises(ExerciseError, match="np.concatenate.*ValueError"):
        double(stacks)


def test_an_endless_error_is_cut_down_to_what_it_says():
    def trains(number):
        places = "\n".join(
            f'  File "/somewhere/{n}.py", line {n}, in f' for n in range(60)
        )
        raise ValueError(
            f"Graph execution error:\n\nDetected at node Equal\n{places}\n\n"
            "\x1b[1mIncompatible shapes: [6] vs. [6,5]\x1b[0m\n\t [[{{node Equal}}]]"
            "\n\nArguments received by f():\n  • mask=None"
        )

    with pytest.raises(ExerciseError, match=r"Incompatible shapes: \[6\]") as caught:
        double(trains)
    message = str(caught.value)
    assert "\x1b" not in message and "File" not in message
    assert "mask" not in message and len(message) < 500


@pytest.mark.parametrize("nothing", [42, "double", None])
def test_something_that_is_no_function_is_said_so(nothing):
    with pytest.raises(ExerciseError, match="could not be called"):
        double(nothing)


def test_warnings_of_an_answer_stay_off_standard_error(capsys):
    def noisy(number):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return np.float64(42) + 0 * np.log(np.float64(0) + 1)

    double(noisy)
    assert capsys.readouterr().err == ""


def test_hints_come_one_at_a_time_and_the_last_one_stays(capsys):
    check = exercise("9.2", hints=["a nudge", "almost all"])(lambda answer: "")
    check.__name__ = "twice"
    for _ in range(3):
        check.hint()
    assert capsys.readouterr().out.splitlines() == [
        "Hint 1 of 2: a nudge",
        "Hint 2 of 2: almost all",
        "Hint 2 of 2: almost all",
    ]


def test_an_exercise_without_hints_cannot_be_made():
    with pytest.raises(ValueError, match="two hints"):
        exercise("9.3", hints=["only one"])


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (None, "returned None"),
        ([[1], [1, 2]], "different lengths"),
        ("words", "a str"),
        (["a", "b"], "a list"),
    ],
)
def test_what_is_no_array_of_numbers_is_named(got, message):
    with pytest.raises(ExerciseError, match=message):
        as_array("double", got)


def test_a_wrong_shape_says_what_was_given_and_what_came():
    with pytest.raises(ExerciseError, match=r"ids of shape \(2,\).*\(2, 3\).*\(3, 2\)"):
        expect_shape("f", np.zeros((3, 2)), (2, 3), given="ids of shape (2,)")


@pytest.mark.parametrize("got", [np.nan, np.inf, [1, 2], []])
def test_one_finite_number_is_insisted_on(got):
    with pytest.raises(ExerciseError):
        expect_number("f", got)


@pytest.mark.parametrize("got", [3, 3.0, np.float32(3), np.array(3), np.array([3])])
def test_any_way_to_write_one_number_is_taken(got):
    assert expect_number("f", got) == 3


def test_the_checks_do_not_load_a_framework():
    import subprocess

    code = (
        "import sys, course_utils.checks.core; "
        "sys.exit(any(m in sys.modules for m in ('keras', 'torch', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
