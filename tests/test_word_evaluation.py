"""Word vectors are tested on what they cover, and scored as their sources say."""

from __future__ import annotations

from course_utils import weat, word_senses
from course_utils.word_evaluation import (
    answer_analogies,
    covered,
    effect_size,
    leanings,
    pair_cosines,
    permutation_p,
    places,
    spearman,
    unit_rows,
)

import numpy as np
import pytest
from scipy.stats import spearmanr

WORDS = ["man", "woman", "king", "queen", "car"]
TABLE = np.array([[1.0, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1], [-1, 0, 0]])


def test_what_a_vocabulary_lacks_is_not_covered():
    pairs = [("man", "king"), ("man", "boat"), ("boat", "ship")]
    assert covered(pairs, WORDS).tolist() == [True, False, False]
    assert covered([], WORDS).shape == (0,)


def test_cosines_of_pairs_do_not_depend_on_lengths():
    at = places(WORDS)
    pairs = [("man", "car"), ("man", "woman"), ("king", "king")]
    expected = [-1, np.sqrt(0.5), 1]
    lengths = np.array([1, 5, 0.1, 2, 9.0])[:, None]
    for table in (TABLE, TABLE * lengths):
        np.testing.assert_allclose(pair_cosines(table, at, pairs), expected, atol=1e-6)


def test_a_row_of_zeros_stays():
    assert not unit_rows(np.zeros((2, 3))).any()


def test_ranks_are_correlated_as_by_scipy():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 6, 40)
    other = one + rng.normal(size=40)
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert spearman(one, np.ones(40)) == 0


def test_analogies_forbid_the_words_of_the_question():
    at = places(WORDS)
    questions = [("man", "woman", "king", "queen"), ("man", "king", "woman", "queen")]
    assert answer_analogies(TABLE, at, questions * 600).tolist() == [3] * 1_200
    assert answer_analogies(TABLE, at, []).shape == (0,)


def test_leanings_are_mean_cosines_and_the_effect_has_a_side():
    rng = np.random.default_rng(1)
    first, second, left, right = rng.normal(size=(4, 5, 3))
    cosines = unit_rows(first) @ unit_rows(np.vstack([left, right])).T
    expected = cosines[:, :5].mean(axis=1) - cosines[:, 5:].mean(axis=1)
    np.testing.assert_allclose(leanings(first, left, right), expected, atol=1e-6)
    assert effect_size(np.array([2.0, 2]), np.array([1.0, 1])) == pytest.approx(2)
    assert effect_size(np.array([1.0, 1]), np.array([2.0, 2])) == pytest.approx(-2)


def test_p_counts_the_real_division_and_those_that_reach_it():
    rng = np.random.default_rng(0)
    first, second = np.array([4.0, 5, 6, 7]), np.array([0.0, 1, 2, 3])
    # One of the 70 divisions of eight words into four and four reaches the real one.
    assert permutation_p(first, second, 20_000, rng) == pytest.approx(1 / 70, abs=4e-3)
    assert permutation_p(second, first, 200, rng) == 1
    assert permutation_p(first, first, 200, rng) > 0.2
    assert permutation_p(first + 9, second, 9, rng) >= 0.1
    assert permutation_p(0.1 * first, 0.1 * first, 500, rng) > 0.4  # ties count


def test_word_lists_are_as_long_as_published_and_no_word_stands_twice():
    sizes = {name: len(text.split()) for name, text in weat.WORDS.items()}
    assert set(sizes.values()) == {8, 25}
    for text in weat.WORDS.values():
        assert len(set(text.split())) == len(text.split())
    for *names, published in weat.TESTS:
        assert set(names) <= set(weat.WORDS) and 0 < published < 2
        assert sizes[names[0]] == sizes[names[1]] and sizes[names[2]] == sizes[names[3]]
    assert weat.word_list("flowers", {"rose", "tulip"}) == ["rose", "tulip"]


def test_uses_stand_in_their_desks_one_a_thread():
    (use,) = word_senses.find_uses({"period": ("World", "Sports")}, around=4).values()
    assert len(use.words) == len(use.places) == len(use.desks) == len(use.threads)
    assert all(
        words[place] == "period" and len(words) <= 9
        for words, place in zip(use.words, use.places, strict=True)
    )
    assert set(use.desks) == {0, 1}
    both = list(zip(use.threads.tolist(), use.desks.tolist(), strict=True))
    assert len(set(both)) == len(both)


def test_a_word_gets_the_vector_of_its_own_place():
    texts = ["the bank of the river".split(), "the bank lends money to a bank".split()]
    vectors = word_senses.vectors_in_context(texts * 2, [1, 1, 1, 6], batch=3)
    assert vectors.shape == (4, 384)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-5)
    assert not np.allclose(vectors[1], vectors[3], atol=1e-2)
    # Padding beside a longer text changes nothing.
    alone = word_senses.vectors_in_context(texts[:1], [1])
    np.testing.assert_allclose(alone[0], vectors[0], atol=1e-5)


def test_a_word_of_several_pieces_gets_their_mean():
    (vector,) = word_senses.vectors_in_context([["unphotogenically", "so"]], [0])
    assert np.isfinite(vector).all() and np.linalg.norm(vector) > 0
