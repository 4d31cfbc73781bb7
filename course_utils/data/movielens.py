"""MovieLens 100K: who rated which film, when; and what is known of both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.data.fetch import fetch
from course_utils.errors import DataError

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# What stands in the first line of each file, and the name of the column here.
COLUMNS = {
    "inter": {
        "user_id:token": "user",
        "item_id:token": "film",
        "rating:float": "rating",
        "timestamp:float": "time",
    },
    "item": {
        "item_id:token": "film",
        "movie_title:token_seq": "title",
        "release_year:token": "year",
        "class:token_seq": "genres",
    },
    "user": {
        "user_id:token": "user",
        "age:token": "age",
        "gender:token": "sex",
        "occupation:token": "occupation",
        "zip_code:token": "zip",
    },
}
# "Postino, Il", "Umbrellas of Cherbourg, The (Parapluies de Cherbourg, Les)".
ARTICLE_LAST = re.compile(
    r"^([^(]+?), (The|An?|L[aeo]s?|Il|I|Das|Der|Die|El|Un[ae]?)(?= \(|$)"
)


def load_movielens() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Load 100,000 ratings that 943 users of a film site gave in 1997 and 1998.

    Returns
    -------
    ratings : pandas.DataFrame of 100,000 rows
        ``user`` and ``film``, places in the other two tables; ``rating``, 1 to 5;
        ``time``, seconds since 1970. In the order of the file, which is random. Each
        pair of user and film occurs once.
    films : pandas.DataFrame of 1,682 rows
        ``title``, an article that was put behind a comma stands in front again;
        ``year`` of release, 0 where it is not known; ``genres``, a tuple of str, empty
        where none is known. Some films stand there twice, under two numbers.
    users : pandas.DataFrame of 943 rows
        ``age``, ``sex`` ("F" or "M") and ``occupation``. Postal codes are left out.

    Raises
    ------
    DataError
        When the files can be neither found nor fetched.

    References
    ----------
    Harper and Konstan (2015), The MovieLens Datasets: History and Context, ACM
    Transactions on Interactive Intelligent Systems 5(4). For research and teaching, not
    to be passed on.
    """
    folder = fetch("movielens-100k")
    ratings, films, users = (_read(folder, kind) for kind in COLUMNS)
    # Both are numbered from 1 without gaps; rows count from 0.
    films = films.sort_values("film").set_index("film")
    users = users.sort_values("user").set_index("user")
    for table in (films, users):
        if table.index.tolist() != list(range(1, len(table) + 1)):
            raise DataError("movielens-100k: its numbers have gaps; fetch it again.")
    ratings["user"] -= 1
    ratings["film"] -= 1
    films["title"] = [_article_first(title) for title in films["title"]]
    years = [int(year) if year.isdecimal() else 0 for year in films["year"]]
    films["year"] = np.array(years, dtype=np.int64)
    films["genres"] = [
        tuple(genre for genre in genres.split(" ") if genre not in ("", "unknown"))
        for genres in films["genres"]
    ]
    users["age"] = users["age"].astype(np.int64)
    return (
        ratings,
        films.reset_index(drop=True),
        users.reset_index(drop=True).drop(columns="zip"),
    )


def _read(folder: Path, kind: str) -> pd.DataFrame:
    """One file as a table: numbers where all of a column are numbers."""
    import pandas as pd

    path = folder / f"ml-100k.{kind}"
    # Read by hand: a quote in a title is a quote, and "NA" would be a word.
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    names = [COLUMNS[kind][name] for name in head.split("\t")]
    table = pd.DataFrame([line.split("\t") for line in lines], columns=names)
    whole = [name for name in ("user", "film", "rating", "time") if name in names]
    return table.astype(dict.fromkeys(whole, np.int64))


def _article_first(title: str) -> str:
    """Write "Usual Suspects, The" as "The Usual Suspects"."""
    return ARTICLE_LAST.sub(r"\2 \1", title)
