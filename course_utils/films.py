"""Lesson 10's films: as text, as columns, by title, in folds, on a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

N_FOLDS = 5
# A film of the oldest years has no better neighbour than the next old one.
YEARS = (1930, 1940, 1950, 1960, 1970, 1980, 1985, 1990, 1993, 1994, 1995, 1996, 1997)


def film_texts(films: pd.DataFrame) -> list[str]:
    """Write what is known of each film as a sentence encoder reads it.

    Parameters
    ----------
    films : pandas.DataFrame
        As `course_utils.data.load_movielens` gives it.

    Returns
    -------
    list of str
        Such as "Toy Story (1995). Animation, Children's, Comedy"; without the year
        where it is not known.
    """
    rows = zip(films["title"], films["year"], films["genres"], strict=True)
    return [
        f"{title} ({year}). {', '.join(genres)}" if year else title
        for title, year, genres in rows
    ]


def genre_table(films: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Tell which genres each film has.

    Parameters
    ----------
    films : pandas.DataFrame
        As `course_utils.data.load_movielens` gives it.

    Returns
    -------
    table : numpy.ndarray of shape (n_films, n_genres), float32
        1 where the film has the genre.
    names : list of str
        Genres, in alphabetical order.
    """
    names = sorted({genre for genres in films["genres"] for genre in genres})
    rows = [[name in genres for name in names] for genres in films["genres"]]
    return np.array(rows, np.float32), names


def year_table(films: pd.DataFrame) -> np.ndarray:
    """Tell in which of fourteen spans of years each film was released.

    Parameters
    ----------
    films : pandas.DataFrame
        As `course_utils.data.load_movielens` gives it.

    Returns
    -------
    numpy.ndarray of shape (n_films, 14), float32
        One 1 a row; late spans are short, as most films are of the nineties. A film
        without a year counts as one of the first span.
    """
    spans = np.digitize(films["year"].to_numpy(), YEARS)
    return np.eye(len(YEARS) + 1, dtype=np.float32)[spans]


def find_film(titles: np.ndarray, text: str) -> int:
    """Find a film by a part of its title.

    Parameters
    ----------
    titles : numpy.ndarray of shape (n_films,), object
        All titles.
    text : str
        A part of one, in small letters or capitals.

    Returns
    -------
    int
        Row of the film whose title is the shortest that holds the text.

    Raises
    ------
    ValueError
        When no title does.
    """
    wanted = text.casefold().strip()
    found = [row for row, title in enumerate(titles) if wanted in title.casefold()]
    if not wanted or not found:
        raise ValueError(f"No film of this set has {text!r} in its title.")
    return min(found, key=lambda row: (len(titles[row]), row))


def film_folds(n_films: int) -> np.ndarray:
    """Put each film into one of five folds, at random but always the same.

    Parameters
    ----------
    n_films : int
        How many films.

    Returns
    -------
    numpy.ndarray of shape (n_films,), int
        Numbers from 0 to 4, as even as can be.
    """
    return np.random.default_rng(10).permutation(n_films) % N_FOLDS


def predicted_popularity(
    seen: np.ndarray, old: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Predict how many viewers a film gets from its genres and its year.

    Parameters
    ----------
    seen : numpy.ndarray of shape (n_users, n_films)
        1 where a user has seen a film.
    old : numpy.ndarray of bool, shape (n_films,)
        Films to learn from.
    columns : numpy.ndarray of shape (n_films, n_columns)
        Genres and years.

    Returns
    -------
    numpy.ndarray of shape (n_films,)
        Ridge regression's prediction of log(1 + viewers).
    """
    from sklearn.linear_model import Ridge

    viewers = np.log1p(seen.sum(axis=0))
    return Ridge(10.0).fit(columns[old], viewers[old]).predict(columns)


def mean_auc(truth: np.ndarray, scores: np.ndarray) -> float:
    """Average the area under the ROC curve over columns.

    Parameters
    ----------
    truth : numpy.ndarray of shape (n_films, n_genres)
        1 where the film has the genre. Each genre has some films, but not all.
    scores : numpy.ndarray of shape (n_films, n_genres)
        Higher where it is likelier; equal ones share their mean rank.

    Returns
    -------
    float
        From 0 to 1; scores without any knowledge get about 0.5.

    References
    ----------
    Hanley and McNeil (1982), The Meaning and Use of the Area under a Receiver Operating
    Characteristic (ROC) Curve, Radiology 143: it is a sum of ranks.
    """
    from scipy.stats import rankdata

    n = truth.sum(axis=0)
    ranks = (rankdata(scores, axis=0) * truth).sum(axis=0)
    return float(np.mean((ranks - n * (n + 1) / 2) / (n * (len(truth) - n))))


@dataclass(frozen=True)
class FilmMap:
    """Films of a few groups in the plane.

    Attributes
    ----------
    rows : numpy.ndarray of shape (n,), int
        Which films.
    group : numpy.ndarray of shape (n,), int
        The column of each one's group.
    places : numpy.ndarray of shape (n, 2)
        Where they lie.
    alike : float
        Share of films whose nearest film on the map is of their group.
    chance : float
        What that share would be at random.
    """

    rows: np.ndarray
    group: np.ndarray
    places: np.ndarray
    alike: float
    chance: float


def map_films(vectors: np.ndarray, groups: np.ndarray, shown: np.ndarray) -> FilmMap:
    """Lay films of exactly one group out in the plane, by t-SNE on cosines.

    Parameters
    ----------
    vectors : numpy.ndarray of shape (n_films, width)
        Of any length but 0.
    groups : numpy.ndarray of shape (n_films, n_groups)
        1 where a film is of a group.
    shown : numpy.ndarray of bool, shape (n_films,)
        Films that may be drawn.

    Returns
    -------
    FilmMap
        Films that are shown and of one group alone.

    References
    ----------
    Van der Maaten and Hinton (2008), Visualizing Data using t-SNE, JMLR 9.
    """
    from sklearn.manifold import TSNE

    rows = np.flatnonzero(shown & (groups.sum(axis=1) == 1))
    group = groups[rows].argmax(axis=1)
    settings = {"perplexity": 20, "max_iter": 500, "metric": "cosine"}
    tsne = TSNE(random_state=0, n_jobs=1, **settings)
    places = tsne.fit_transform(vectors[rows])
    same = group[:, None] == group
    itself = np.eye(len(rows), dtype=bool)
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    nearest = np.where(itself, np.inf, apart).argmin(axis=1)
    alike = same[np.arange(len(rows)), nearest].mean()
    return FilmMap(rows, group, places, float(alike), float(same[~itself].mean()))
