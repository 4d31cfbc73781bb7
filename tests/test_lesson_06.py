"""Lesson 06's own functions: where a name ends, whatever stands behind it."""

from __future__ import annotations

from course_tools.bench import recipe
from course_utils.checks.surname_networks import kept_names
from tests.lessons import LESSONS, solution

import pytest
import torch

CALL = " load_surnames("
NAMES = ["Li", "Nova", "Novak", "Novakovic", "Papadopoulos", "O Brien"]


@pytest.fixture(scope="module")
def lesson():
    return recipe(6)


@pytest.fixture(scope="module")
def index(lesson):
    return lesson["make_index"](NAMES)


@pytest.fixture(scope="module", params=["with a convolution", "without"])
def net(request, lesson, index):
    torch.manual_seed(0)
    if request.param == "without":
        return lesson["OriginalNet"](len(index) + 4, 7).eval()
    return lesson["SurnameNet"](len(index) + 4, 7).eval()


def test_a_state_is_gathered_right_for_every_length(lesson):
    longest = 24
    states = torch.randn(longest, longest, 5)
    lengths = torch.arange(1, longest + 1)
    got = lesson["column_gather"](states, lengths)
    for name, length in enumerate(lengths):
        assert torch.equal(got[name], states[name, length - 1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("told", [True, False], ids=["lengths", "no lengths"])
def test_a_vector_is_the_same_in_any_batch(lesson, index, net, name, told):
    def vector(batch, more_masks=0):
        ids, lengths = lesson["to_tensors"](batch, index)
        ids = torch.nn.functional.pad(ids, (0, more_masks))
        with torch.no_grad():
            made = lesson["get_penultimate"](net, ids, lengths if told else None)
        return made[batch.index(name)]

    alone = vector([name])
    others = [other for other in NAMES if other != name]
    for batch in ([name, *others], [*others, name], [others[-1], name]):
        assert torch.allclose(vector(batch), alone, atol=1e-6), batch
    assert torch.allclose(vector([name], more_masks=9), alone, atol=1e-6)


def test_names_that_share_a_prefix_have_vectors_of_their_own(lesson, index, net):
    ids, lengths = lesson["to_tensors"](["Nova", "Novak", "Novakovic"], index)
    with torch.no_grad():
        a, b, c = lesson["get_penultimate"](net, ids, lengths)
    assert min((a - b).abs().max(), (b - c).abs().max(), (a - c).abs().max()) > 1e-3


def test_a_letter_nobody_has_seen_and_a_name_without_letters_are_defined(
    lesson, index, net
):
    ids, lengths = lesson["vectorise"](["Nøvak", ""], index)
    assert ids[0].tolist() == [1, index["n"], 3, *(index[s] for s in "vak"), 2]
    assert ids[1].tolist() == [1, 2, 0, 0, 0, 0, 0]
    assert list(lengths) == [7, 2]
    with torch.no_grad():
        made = lesson["get_penultimate"](net, *map(torch.as_tensor, (ids, lengths)))
    assert torch.isfinite(made).all()


def test_decoding_gives_back_what_was_encoded(lesson, index):
    ids, _ = lesson["to_tensors"]([*NAMES, "Nøvak"], index)
    lower = [name.lower() for name in NAMES]
    assert lesson["decode"](ids, index) == [*lower, "n?vak"]


def test_the_loss_is_adjusted_by_how_frequent_labels_are(lesson):
    loss_of = lesson["make_loss"](torch.tensor([0, 0, 0, 1]))
    scores = torch.tensor([[0.3, 0.1]])
    prior = 0.25 * torch.tensor([0.75, 0.25]).log()
    expected = -(scores + prior).log_softmax(dim=1)[0, 1]
    assert torch.isclose(loss_of(scores, torch.tensor([1])), expected)


def test_no_name_of_the_lesson_is_one_that_exercise_6_6_is_judged_on(lesson):
    kept, _ = kept_names()
    judged = {name.casefold() for name in kept}
    parts = lesson["split_names"]("faker")
    assert not judged & {name.casefold() for names, _ in parts for name in names}
    assert len(kept) > 1_000
    # Only split_names reads the half that they belong to.
    (lesson_06,) = (one for one in LESSONS if one.number == 6)
    cells = [cell.source for cell in solution(lesson_06).cells]
    loads = [line for text in cells for line in text.splitlines() if CALL in line]
    assert [line for line in loads if not line.endswith("[0]")] == [
        "    (x_train, y_train), (x_test, y_test) = load_surnames(source)"
    ]
