"""Films are written, found and put into folds as lesson 10 needs them."""

from __future__ import annotations

from course_utils import films as module
from course_utils.data import load_movielens

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score


@pytest.fixture(scope="module")
def films():
    return load_movielens()[1]


def test_a_film_is_written_as_a_sentence_of_what_is_known():
    rows = {
        "title": ["Kolya", "unknown"],
        "year": [1996, 0],
        "genres": [("Comedy",), ()],
    }
    assert module.film_texts(pd.DataFrame(rows)) == ["Kolya (1996). Comedy", "unknown"]


def test_genres_and_years_are_columns_of_ones(films):
    genres, names = module.genre_table(films)
    assert genres.shape == (1_682, 18) and names == sorted(names)
    toy_story = [name for name, one in zip(names, genres[0], strict=True) if one]
    assert toy_story == ["Animation", "Children's", "Comedy"]
    years = module.year_table(films)
    assert years.shape == (1_682, 14) and (years.sum(axis=1) == 1).all()
    assert years[0].argmax() == 11  # 1995 alone


def test_auc_is_averaged_over_genres_and_counts_ties_half():
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 2, (60, 4)), rng.integers(0, 5, (60, 4))
    expected = roc_auc_score(truth, scores, average="macro")
    assert module.mean_auc(truth, scores) == pytest.approx(expected)


def test_a_map_shows_films_of_one_group_beside_those_they_resemble():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 40)
    groups = np.eye(3)[group]
    groups[0] = 1, 1, 0  # of two groups
    groups[1] = 0  # of none
    shown = np.arange(120) != 2
    vectors = np.eye(3)[group] + 0.1 * rng.normal(size=(120, 3))
    made = module.map_films(vectors, groups, shown)
    assert made.rows.tolist() == list(range(3, 120))
    assert made.group.tolist() == group[3:].tolist()
    assert made.places.shape == (117, 2)
    assert made.alike > 0.95 and made.chance == pytest.approx(1 / 3, abs=0.02)


def test_a_film_is_found_by_a_part_of_its_title():
    titles = np.array(["Aliens", "Alien 3", "Alien", "Babe"], dtype=object)
    assert module.find_film(titles, " ALIEN ") == 2
    assert module.find_film(titles, "abe") == 3
    for text in ("zorro", "  "):
        with pytest.raises(ValueError, match="No film of this set"):
            module.find_film(titles, text)


def test_folds_are_even_and_always_the_same():
    folds = module.film_folds(1_682)
    assert np.bincount(folds).tolist() == [337, 337, 336, 336, 336]
    assert (folds == module.film_folds(1_682)).all()


def test_predicted_popularity_learns_from_old_films_alone():
    rng = np.random.default_rng(0)
    columns = rng.integers(0, 2, (40, 3)).astype(float)
    seen = (rng.random((200, 40)) < 0.1 + 0.5 * columns[:, 0]).astype(float)
    old = np.arange(40) < 30
    made = module.predicted_popularity(seen, old, columns)
    other = module.predicted_popularity(seen * old, old, columns)
    assert made.shape == (40,) and np.allclose(made, other)
    assert made[columns[:, 0] == 1].min() > made[columns[:, 0] == 0].max()
