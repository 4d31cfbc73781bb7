"""Exercise 10.5: synthetic users and films with which only an honest answer does well.

There are other users, other films and another number of features than in the lesson, so
a table of another cell does not fit. Most new films are of a few kinds that many users
like: a model that is trained on the new films too learns that nobody wants those kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from course_utils.checks.core import ExerciseError, fail
from course_utils.checks.leaks import reached

import numpy as np

N_USERS, N_FEATURES, N_KINDS, N_CROWDED = 300, 150, 12, 3
# Films of a kind: old ones, new ones of a crowded kind, new ones of another.
N_OLD, N_MANY, N_FEW = 40, 400, 5
# Ridge regression, neighbours, profiles and two towers reach an nDCG@10 of 0.89 or more
# here, and of 0.67 or more with few new films. Trained on all films, the same stay
# below 0.45, and chance stays below 0.35 and 0.2.
ENOUGH, ENOUGH_OF_FEW = 0.6, 0.45
Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Films:
    """Films with features, who saw which, and which of them are old."""

    features: np.ndarray
    rated: np.ndarray
    old: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """What is known: zeros in the columns of new films."""
        return self.rated * self.old


def made_up(seed: int, n_many: int = N_MANY) -> Films:
    """Make up users who like some kinds of films, and films that look like their kind.

    Parameters
    ----------
    seed : int
        Of everything drawn.
    n_many : int
        New films of each crowded kind.

    Returns
    -------
    Films
        `N_USERS` users; films in random order, with features of about 1 in size, as
        the lesson's `TEXT` has.
    """
    rng = np.random.default_rng(seed)
    n_new = np.where(np.arange(N_KINDS) < N_CROWDED, n_many, N_FEW)
    kind = np.repeat(np.tile(np.arange(N_KINDS), 2), [*[N_OLD] * N_KINDS, *n_new])
    old = np.arange(len(kind)) < N_KINDS * N_OLD
    features = rng.normal(size=(N_KINDS, N_FEATURES))[kind]
    features += 0.4 * rng.normal(size=features.shape)
    likes = np.full((N_USERS, N_KINDS), 0.02)
    for row in likes:
        row[rng.integers(N_CROWDED)] = 0.9
        row[N_CROWDED + rng.permutation(N_KINDS - N_CROWDED)[:3]] = 0.25
    rated = rng.random((N_USERS, len(kind))) < likes[:, kind]
    order = rng.permutation(len(kind))
    numbers = features.astype(np.float32), rated.astype(np.float32)
    return Films(numbers[0][order], numbers[1][:, order], old[order])


def expect_honest(
    answer: Callable[..., Any],
    score: Score,
    ndcg: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    """Insist that an answer learns from its arguments, and of these from old films.

    Parameters
    ----------
    answer : callable
        The student's function, in which names of other cells are looked for.
    score : callable
        Calls it with features, seen and old, and returns checked scores.
    ndcg : callable
        Scores of new films and who saw them, to a number a user.

    Raises
    ------
    ExerciseError
        With the cause.
    """

    def mean(films: Films) -> float:
        got = score(films.features, films.seen, films.old)
        return float(ndcg(got[:, ~films.old], films.rated[:, ~films.old]).mean())

    films = made_up(106)
    told = (
        f"a call with {N_USERS} other users, {len(films.old):,} other films and "
        f"{N_FEATURES} features"
    )
    names = _tables(answer)
    others = f", not {' and '.join(names)}" if names else ""
    advice = f"take tables and sizes from the arguments alone{others}."
    try:
        many = mean(films)
    except ExerciseError as error:
        fail(f"{error} This was {told}: {advice}")
    except Exception as error:
        error.add_note(f"This was {told}: {advice}")
        raise
    if many >= ENOUGH:
        return
    few = mean(made_up(107, N_FEW))
    if few >= ENOUGH_OF_FEW:
        fail(
            f"In {told}, of which most are new, nDCG@10 is {many:.2f}; with few new "
            f"films it is {few:.2f}. So score_films learns from new films too, as if "
            "nobody had wanted them: learn from `features[old]` and `seen[:, old]`."
        )
    fail(
        f"In {told}, where kinds of films are easy to tell by their features, nDCG@10 "
        f"is only {many:.2f}: {advice}"
    )


def _tables(answer: Callable[..., Any]) -> list[str]:
    """Name tables of other cells that the answer names."""
    found = {
        f"`{name}`": None
        for name, value in reached(answer)
        # numpy, too, has a `shape`: a function.
        if isinstance(shape := getattr(value, "shape", None), tuple) and len(shape) > 1
    }
    return list(found)
