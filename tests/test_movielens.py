"""Ratings, films and users come as the docstring promises, from the real files."""

from __future__ import annotations

from course_utils.data import load_movielens, movielens
from course_utils.errors import DataError

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def tables():
    return load_movielens()


def test_all_ratings_come_once_each_with_a_film_and_a_user(tables):
    ratings, films, users = tables
    assert (len(ratings), len(films), len(users)) == (100_000, 1_682, 943)
    assert not ratings.duplicated(["user", "film"]).any()
    assert sorted(ratings["user"].unique()) == list(range(943))
    assert sorted(ratings["film"].unique()) == list(range(1_682))
    assert sorted(ratings["rating"].unique()) == [1, 2, 3, 4, 5]
    assert all(ratings[name].dtype == np.int64 for name in ratings)


def test_every_user_rated_twenty_films_in_seven_months(tables):
    ratings, _, _ = tables
    assert ratings.groupby("user").size().min() == 20
    times = pd.to_datetime(ratings["time"], unit="s")
    assert (str(times.min().date()), str(times.max().date())) == (
        "1997-09-20",
        "1998-04-22",
    )


def test_a_rating_stands_beside_its_own_film_and_user(tables):
    ratings, films, users = tables
    # The file's first line: user 196 gave film 242 three stars.
    assert ratings.iloc[0].tolist() == [195, 241, 3, 881_250_949]
    film, user = films.loc[241], users.loc[195]
    assert (film["title"], film["year"], film["genres"]) == ("Kolya", 1996, ("Comedy",))
    assert (user["age"], user["sex"], user["occupation"]) == (49, "M", "writer")
    assert "zip" not in users


def test_genres_are_tuples_and_unknown_is_none(tables):
    _, films, _ = tables
    names = {genre for genres in films["genres"] for genre in genres}
    assert len(names) == 18 and "unknown" not in names and "" not in names
    assert films["genres"].loc[0] == ("Animation", "Children's", "Comedy")
    assert (films["genres"].str.len() == 0).sum() == 2
    assert (films["year"] == 0).sum() == 2 and films["year"].max() == 1998


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("Usual Suspects, The", "The Usual Suspects"),
        ("Umbrellas, The (Parapluies, Les)", "The Umbrellas (Parapluies, Les)"),
        ("The Good, The Bad and The Ugly", "The Good, The Bad and The Ugly"),
        ("Cry, the Beloved Country", "Cry, the Beloved Country"),
        ("Sex, Lies, and Videotape", "Sex, Lies, and Videotape"),
    ],
)
def test_articles_stand_in_front(given, wanted):
    assert movielens._article_first(given) == wanted


def test_numbers_with_gaps_are_refused(monkeypatch, tmp_path):
    folder = movielens.fetch("movielens-100k")
    for name in ("ml-100k.inter", "ml-100k.item", "ml-100k.user"):
        text = (folder / name).read_text(encoding="utf-8")
        head, _, *rest = text.splitlines()
        lines = [head, *rest] if name.endswith(".item") else text.splitlines()
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(movielens, "fetch", lambda name: tmp_path)
    with pytest.raises(DataError, match="have gaps"):
        load_movielens()
