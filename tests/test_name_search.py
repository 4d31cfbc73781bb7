"""Search among surnames: what was read is said, and parts share no name."""

from __future__ import annotations

from course_utils import name_search

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("typed", "read", "remark"),
    [
        ("Παπαδάκης", "Papadakis", "Παπαδάκης is read as Papadakis"),
        ("田中", "TianZhong", "田中 is read as TianZhong, as in Mandarin"),
        ("김", "Gim", "김 is usually written Kim"),
        ("الظفير", "Ldhfyr", "short vowels"),
        ("O’Brien", "O'Brien", "read as O'Brien"),
        ("😀 Li 42", "Li", "read as Li"),
    ],
)
def test_a_name_is_read_letter_by_letter_and_doubts_are_told(typed, read, remark):
    found, said = name_search.read_letters(typed)
    assert found == read
    assert remark in said


@pytest.mark.parametrize("typed", ["", "…", "😀", "42", "- '", "\u0301"])
def test_what_has_no_letter_is_refused(typed):
    with pytest.raises(ValueError, match="There is no letter in"):
        name_search.read_letters(typed)


def test_letters_are_counted_and_a_vector_has_length_1():
    made = name_search.letter_counts(["Anna", "O'Hara", ""])
    assert made.shape == (3, 26) and made[0, 0] == made[0, 13]
    assert np.allclose(np.linalg.norm(made[:2], axis=1), 1) and not made[2].any()


def test_names_of_unseen_nationalities_share_no_name_with_other_nationalities():
    names = np.array(["Novak", "Li", "novak", "Kim", "Li"], dtype=object)
    labels = np.array([0, 1, 2, 1, 1])
    assert name_search.names_of_only(names, labels, np.array([0, 1])).tolist() == [
        1,
        3,
        4,
    ]


def test_the_nearest_cosine_is_the_largest_in_any_batch():
    rng = np.random.default_rng(0)
    known, asked = rng.normal(size=(50, 8)), rng.normal(size=(600, 8))
    got = name_search.nearest_cosine(asked, known)
    assert np.allclose(got, (asked @ known.T).max(axis=1))
    assert len(name_search.nearest_cosine(asked[:1], known)) == 1


def test_an_item_is_not_its_own_neighbour():
    vectors = np.array([[0.0], [0.1], [5.0], [5.1]])
    assert name_search.nearest_label(vectors, np.array([0, 1, 2, 3])).tolist() == [
        1,
        0,
        3,
        2,
    ]


def test_validation_items_choose_how_many_neighbours_vote():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 400)
    noisy = np.where(rng.random(400) < 0.3, 1 - labels, labels)
    points = rng.normal(size=(400, 2)) / 4
    points[:, 0] += labels
    search = name_search.tuned_vote(
        points[:200], noisy[:200], points[200:], labels[200:]
    )
    assert search.n_neighbors > 1
    assert search.score(points[200:], labels[200:]) > 0.85


@pytest.mark.parametrize("backend", ["annoy", "faiss"])
def test_another_process_finds_the_same_items(tmp_path, backend):
    pytest.importorskip(backend)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    path = name_search.save_index(vectors, tmp_path, backend)
    found = name_search.ask_another_process(path, vectors[17], 3)
    assert found[0] == 17
    assert set(found) <= set(np.argsort(-(vectors @ vectors[17]))[:10].tolist())
