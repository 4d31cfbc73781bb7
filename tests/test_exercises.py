"""The four-way proof: stub refused, solution and another right answer accepted,

plausible wrong ones refused for the right reason.
"""

from __future__ import annotations

import functools
import re
from unittest import mock

from course_utils import data
from course_utils.checks.core import Check, ExerciseError, NotAttempted
from tests.lessons import (
    EXERCISES,
    IDS,
    LESSONS,
    NOTEBOOK_IDS,
    NOTEBOOKS,
    answers,
    module,
    solution,
    student,
)

import pytest


@pytest.fixture(autouse=True, scope="module")
def sets_that_are_read_once():
    """Let checks of the same exercise share the data that each of them reads."""
    loaders = ("load_fashion_mnist", "load_reuters")
    once = {name: functools.cache(getattr(data, name)) for name in loaders}
    with mock.patch.multiple(data, **once):
        yield


each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=str)
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=IDS)


def parts(answer):
    return answer if isinstance(answer, tuple) else (answer,)


def the_check(exercise):
    return getattr(module(exercise.lesson), exercise.name)


WITH_MISTAKES = [one for one in EXERCISES if the_check(one).mistakes]


@each_exercise
def test_a_check_says_that_the_stub_is_still_open(exercise):
    answer = answers(exercise.lesson)[exercise.name].solution(
        exercise.object_of(student(exercise.lesson))
    )
    with pytest.raises(NotAttempted, match="still open"):
        the_check(exercise)(*answer)


@each_exercise
def test_a_check_accepts_the_solution(exercise, capsys):
    answer = answers(exercise.lesson)[exercise.name].solution(
        exercise.object_of(solution(exercise.lesson))
    )
    the_check(exercise)(*answer)
    said = capsys.readouterr()
    assert said.out.startswith(f"✅ {the_check(exercise).number} ")
    assert said.err == ""


@each_exercise
def test_a_check_accepts_other_right_answers(exercise, capsys):
    right = answers(exercise.lesson)[exercise.name].right
    assert right
    for answer in right:
        the_check(exercise)(*parts(answer))
        assert capsys.readouterr().out.startswith("✅")


def refusal(check, answer):
    """The message that a wrong answer gets."""
    with pytest.raises(ExerciseError) as caught:
        check(*parts(answer))
    assert not isinstance(caught.value, NotAttempted), answer
    assert "\n\n" not in str(caught.value)
    return str(caught.value)


@each_exercise
def test_a_check_refuses_wrong_answers_and_says_why(exercise):
    check, wrong = the_check(exercise), answers(exercise.lesson)[exercise.name].wrong
    assert len(wrong) + len(check.mistakes) >= 2
    for answer, words in wrong:
        # The learner's own line, which a message may quote, proves nothing.
        said = re.sub(r"of its cell, `.*?`\.", "", refusal(check, answer), flags=re.S)
        assert words.lower() in said.lower(), answer


@pytest.mark.parametrize("exercise", WITH_MISTAKES, ids=str)
def test_each_declared_mistake_earns_its_own_sentence(exercise):
    check = the_check(exercise)
    for mistake in check.mistakes:
        fixed = map(re.escape, re.split(r"\{[^}]*\}", mistake.sentence))
        said = refusal(check, mistake.function)
        assert re.search(".*".join(fixed), said), (mistake.sentence, said)


@each_exercise
def test_hints_go_from_a_nudge_to_almost_the_answer(exercise):
    assert len(the_check(exercise).hints) >= 2


@pytest.mark.parametrize("lesson", NOTEBOOKS, ids=NOTEBOOK_IDS)
def test_every_check_belongs_to_an_exercise_and_is_proved(lesson):
    checks = {k for k, v in vars(module(lesson)).items() if isinstance(v, Check)}
    exercises = {one.name for one in EXERCISES if one.lesson == lesson}
    assert checks == exercises == set(answers(lesson))


@each_lesson
def test_a_lesson_has_three_to_six_exercises_numbered_in_order(lesson):
    names = [one.name for one in EXERCISES if one.lesson == lesson]
    numbers = [getattr(module(lesson), name).number for name in names]
    assert 3 <= len(names) <= 6
    assert numbers == [f"{lesson.number}.{k}" for k in range(1, len(names) + 1)]
