"""A check has three outcomes, and each is one kind message."""

from __future__ import annotations

import linecache
import pydoc
import re
import sys
import warnings

from course_utils.checks.answers import is_open
from course_utils.checks.cases import Case, reference
from course_utils.checks.core import (
    ExerciseError,
    NotAttempted,
    Outcome,
    as_array,
    exercise,
    expect_number,
    expect_shape,
    fail,
    kind,
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


def test_an_error_in_a_function_of_another_cell_names_the_line_that_called_it(
    tmp_path,
):
    made = {}
    for name, text in {
        "given": "def given(x):\n    return x.missing\n",
        "answer": "def answer(x):\n    return given(x) + 1\n",
    }.items():
        cell = tmp_path / f"{name}.py"
        cell.write_text(text)
        exec(compile(text, str(cell), "exec"), made)
    check = exercise("1.1", hints=["", ""])(lambda answer: answer(3))
    with pytest.raises(ExerciseError, match=r"return given\(x\) \+ 1"):
        check(made["answer"])


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
        exercise("9.3", hints=["only one"])(lambda answer: "")


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


@reference(
    "9.4",
    hints=["add them", "`a.sum()`"],
    cases=lambda: [Case(np.array([1.0, 2, 4])), Case(np.array([3.0, 5]), 10)],
    mistakes={
        "That is their mean.": lambda a, start=0: a.mean() + start,
        "The start was {start}.": (
            lambda a, start=0: a.sum(),
            lambda a, start=0: a.sum() - start,
        ),
        "That is one number each.": lambda a, start=0: a + start,
    },
    passed="A sum.",
    advice="It takes arrays, such as {a}.",
)
def total(a, start=0):
    """Add in Python."""
    return float(start) + sum(a.tolist())


def test_a_reference_accepts_what_it_gives_itself(capsys):
    total(lambda a, start=0: np.float32(a.sum() + start))
    assert capsys.readouterr().out == "✅ 9.4 A sum.\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda a, start=0: a.mean() + start, r"= \[1.0, 2.0, 4.0\] I .* 7, .* mean"),
        (lambda a, start=0: a.sum(), r"start = 10 I expected 18,.*8. The start was 10"),
        (lambda a, start=0: a.sum() * 1.00002, "expected 7, .* 7.00014"),
        (lambda a, start=0: a * 9, r"one number, .* shape \(3,\). That is one number"),
        (lambda a, start=0: a @ np.eye(5), "line .*matmul.*It takes arrays, such as"),
        (lambda a, start=0: None, "returned None"),
        (lambda a, start=0: "7", "a str; I expected numbers"),
        (lambda a, start=0: np.nan, "expected 7, your function returned nan"),
    ],
)
def test_a_wrong_answer_is_told_its_mistake(answer, words):
    with pytest.raises(ExerciseError, match=words):
        total(answer)


def test_a_mistake_that_fits_every_case_is_told_before_one_that_fits_the_first():
    task = reference(
        "9.5",
        hints=["a", "b"],
        cases=lambda: [Case(2), Case(3)],
        mistakes={"doubled": lambda n: 2 * n, "squared": lambda n: n * n},
        passed="",
    )
    with pytest.raises(ExerciseError, match="squared"):
        task(lambda n: n + 1)(lambda n: n * n)
    with pytest.raises(ExerciseError, match="doubled"):
        task(lambda n: n + 1)(lambda n: 4)


def test_of_two_values_the_wrong_one_is_told():
    check = reference(
        "9.6",
        hints=["a", "b"],
        cases=lambda: [Case(np.array([1.0, 5, 6]))],
        mistakes={
            "That is the median.": lambda a: (np.median(a), a.std()),
            "That is the variance.": lambda a: (a.mean(), a.var()),
        },
        passed="",
    )(lambda a: (float(a.mean()), float(a.std())))
    check(lambda a: [a.mean(), a.std()])
    with pytest.raises(ExerciseError, match="the variance"):
        check(lambda a: (a.max(), a.var()))
    with pytest.raises(ExerciseError, match="returned 3 values; I expected 2"):
        check(lambda a: a)
    with pytest.raises(
        ExerciseError, match=r"2.16025 as the second value, .* returned 2.1602\."
    ):
        check(lambda a: (a.mean(), a.std().round(4)))
    with pytest.raises(
        ExerciseError, match="2.16 as the second value, your .* returned None"
    ):
        check(lambda a: (a.mean(), None))
    with pytest.raises(
        ExerciseError, match=r"one number as the first value, .* shape \(3,\)"
    ):
        check(lambda a: (a, a[:2]))


@reference(
    "9.8",
    hints=["a", "b"],
    cases=lambda: [Case([3, -1]), Case([-2]), Case([0, 5])],
    mistakes={
        "0 is not above 0.": lambda a: next((n for n in a if n >= 0), None),
        "Look at all of them.": lambda a: a[0] if a[0] > 0 else None,
    },
    passed="Found.",
)
def first_above(a):
    """Find a number, or nothing."""
    return next((n for n in a if n > 0), None)


@pytest.mark.parametrize("array", [[True, False], ["a", "b"], [1, 2]])
def test_a_small_array_of_any_kind_is_listed(array):
    check = reference(
        "9.9", hints=["a", "b"], cases=lambda: [Case(np.array(array))], passed=""
    )(lambda a: len(a))
    with pytest.raises(ExerciseError, match=re.escape(f"For a = {array} I expected 2")):
        check(lambda a: 3)


def test_where_none_is_an_answer_it_may_be_a_right_or_a_wrong_one(capsys):
    first_above(lambda a: ([n for n in a if n > 0] or [None])[0])
    assert "Found" in capsys.readouterr().out
    for answer, words in (
        (lambda a: a[0] if a[0] > 0 else None, "5, .* returned None. Look at all"),
        (lambda a: a[-1] if a[-1] > 3 else None, "expected 3, your .* returned None.$"),
        (lambda a: a[0], "expected None, your function returned -2"),
        (lambda a: None, "does its last line begin"),
    ):
        with pytest.raises(ExerciseError, match=words):
            first_above(answer)


@pytest.mark.parametrize(
    "answer",
    [
        lambda rows, names: rows.sort(axis=0),
        lambda rows, names: names.append("x"),
        lambda rows, names: names[0].append("x"),
    ],
)
def test_an_answer_that_changes_its_arguments_is_refused_and_they_are_named(answer):
    def spoils(rows, names):
        answer(rows, names)
        return 42

    @exercise("9.7", hints=["a", "b"])
    def spoil(answer):
        got = answer(np.array([[2.0, 0], [1, np.nan]]), [["a"], float("nan")])
        return f"{got}"

    spoil(lambda rows, names: 42)
    with pytest.raises(ExerciseError, match="changed `(rows|names)` itself"):
        spoil(spoils)


@pytest.mark.parametrize("got", [[1, 2], (1.0, 2.0), np.array([1.0, 2.0])])
def test_where_cells_need_whole_numbers_in_an_array_others_are_refused(got):
    as_array("f", got)
    with pytest.raises(ExerciseError, match="later cells need"):
        as_array("f", got, like=np.array([1, 2]))
    as_array("f", np.array([1, 2], np.int8), like=np.array([1, 2]))
    as_array("f", 3, like=np.array(3))


def from_a_cell(monkeypatch, source):
    """A function whose text is known, as that of a notebook's cell is."""
    name = f"<cell {hash(source)}>"
    lines = source.splitlines(keepends=True)
    monkeypatch.setitem(linecache.cache, name, (len(source), None, lines, name))
    names = {}
    exec(compile(source, name, "exec"), names)
    return names["double"]


STUB = """def double(number):
    'Twice.'
    raise NotImplementedError("Your turn")
"""


def test_code_above_the_line_that_raises_is_an_attempt(monkeypatch):
    tried = STUB.replace("    raise", "    twice = 2 * number\n    raise")
    with pytest.raises(ExerciseError, match="still has the line .* Remove that line"):
        double(from_a_cell(monkeypatch, tried))
    assert double.outcome is Outcome.TRIED
    with pytest.raises(NotAttempted):
        double(
            from_a_cell(monkeypatch, STUB.replace("    raise", "    # ?\n    raise"))
        )
    assert double.outcome is Outcome.OPEN


@pytest.mark.parametrize(
    ("source", "stub", "is_it"),
    [
        ("", STUB, True),
        (STUB, STUB, True),
        (STUB, "", True),
        (
            f"def helper():\n    return 3\n\n\n{STUB}",
            "",
            True,
        ),  # given, as in lesson 09
        (f"SIZE = 3\n{STUB}", STUB, False),
        (f"SIZE = 3\n{STUB}", f"SIZE = 3\n\n\n{STUB}", True),
        (STUB.replace("Your turn", "Other words"), STUB, True),
        (STUB.replace("Twice.", "Twice it."), STUB, True),
        (f"%%time\n{STUB}", STUB, True),
        (f"{STUB}# a thought\n", STUB, True),
        (STUB.replace("raise", "return 2 * number\n    raise"), STUB, False),
        (STUB.replace("raise", "return (2\n    raise"), STUB, False),
        ("def double(number):\n    return 2", STUB, False),
        ("pass", STUB, False),
        (STUB.replace("raise", "if number < 0:\n        raise"), STUB, False),
    ],
)
def test_an_answers_cell_is_open_while_it_holds_no_code_of_the_learners(
    source, stub, is_it
):
    assert is_open(source, stub) == is_it


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["a", "b"], "a list of str"),
        ([1, 2], "a list"),
        ([], "a list"),
        (("a",), "a tuple of str"),
        (np.array(["a"]), "an array of words"),
        (np.array([1j]), "an array of complex numbers"),
        (np.array([object()]), "an array of objects"),
        (np.array([1]), "an array"),
    ],
)
def test_a_value_is_named_by_what_it_holds(value, words):
    assert kind(value) == words


def test_help_on_a_check_says_how_to_use_it():
    assert "exercise 9.1" in double.__doc__ and "double.hint()" in double.__doc__
    assert "double.hint()" in pydoc.render_doc(double)
