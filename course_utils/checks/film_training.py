"""Exercises 10.4 and 10.5: a training loop, and new films, judged on what was kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from course_utils.checks.core import as_array, exercise, expect_shape, fail
from course_utils.checks.film_steps import expect_loop, watched
from course_utils.checks.film_world import expect_honest
from course_utils.checks.leaks import reached
from course_utils.evaluation import Interval, paired_bootstrap
from course_utils.films import (
    film_folds,
    genre_table,
    predicted_popularity,
    year_table,
)

import numpy as np

Answer = Callable[..., Any]
EPOCHS = 8
# The lesson tests on fold 0 and chooses on fold 1.
FOLD = 2
DISCOUNT = 1 / np.log2(np.arange(2, 12))


def ndcg(scores: np.ndarray, seen: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Compute nDCG@10 of each user who has something held out.

    Parameters
    ----------
    scores : numpy.ndarray of shape (n_users, n_films)
        Higher is better.
    seen : numpy.ndarray of shape (n_users, n_films)
        Films that are not recommended, where it is above 0.
    held : numpy.ndarray of shape (n_users, n_films)
        1 for films that were held out.

    Returns
    -------
    numpy.ndarray of shape (m,)
        From 0 to 1, m users.
    """
    asked = held.sum(axis=1) > 0
    left = np.where(seen[asked] > 0, -np.inf, scores[asked])
    top = np.argsort(-left, axis=1, kind="stable")[:, :10]
    hits = np.take_along_axis(held[asked], top, axis=1)
    n_held = np.clip(held[asked].sum(axis=1), 1, 10).astype(int)
    return hits @ DISCOUNT / np.cumsum(DISCOUNT)[n_held - 1]


def _lead(first: np.ndarray, second: np.ndarray) -> Interval:
    return paired_bootstrap(
        first, first, second, lambda _, each: float(each.mean()), n_draws=500
    )


@exercise(
    "10.4",
    hints=[
        "Two loops: epochs, and in each the rows in random order, `BATCH` at a time: "
        "`torch.randperm(len(users), generator=generator).split(BATCH)`.",
        "Make the generator and `torch.optim.Adam(tables.parameters(), lr=RATE)` "
        "before the loops, and `scheduler = torch.optim.lr_scheduler.LinearLR("
        "optimiser, 1.0, 0.0, n_steps)`, where n_steps counts the batches of all "
        "epochs; `scheduler.step()` after each step lets the rate fall. For each batch "
        "draw `other = unseen(users[rows], seen, generator)`.",
        "`loss = bpr_loss(tables.users(users[rows]), tables.films(films[rows]), "
        "tables.films(other), DECAY)`, then `optimiser.zero_grad()`, "
        "`loss.backward()`, `optimiser.step()`, `scheduler.step()`.",
    ],
)
def train_bpr(
    answer: Answer, make_tables: Answer, train: np.ndarray, val: np.ndarray
) -> str:
    """Train tables with the answer, and rank films that it has not seen."""
    import torch

    for name, value in reached(answer):
        held = value.detach().numpy() if isinstance(value, torch.Tensor) else value
        if isinstance(held, np.ndarray) and np.array_equal(held, val):
            fail(f"train_bpr reads `{name}`, what it is judged by. Use its arguments.")
    expect_loop(answer, make_tables)
    pairs = np.argwhere(train > 0)
    users, films = (torch.as_tensor(column.copy()) for column in pairs.T)
    with torch.random.fork_rng():
        torch.manual_seed(104)
        tables = make_tables(*train.shape)
        with watched(tables) as steps:
            answer(tables, users, films, torch.as_tensor(train > 0), EPOCHS, 104)
    if not all(part.isfinite().all() for part in tables.parameters()):
        fail("The tables' numbers became nan: is the rate near RATE?")
    if steps.rates[-1] > 0.2 * steps.rates[0]:
        fail(
            f"The rate is {steps.rates[0]:.2g} in the first batch and still "
            f"{steps.rates[-1]:.2g} in the last: let it fall to 0 over all batches of "
            "all epochs, with `scheduler.step()` after each `optimiser.step()`."
        )
    with torch.no_grad():
        scores = (tables.users.weight @ tables.films.weight.T).numpy()
    popular = np.broadcast_to(train.sum(axis=0), train.shape)
    own, theirs = ndcg(scores, train, val), ndcg(popular, train, val)
    lead = _lead(own, theirs)
    told = (
        f"After {EPOCHS} epochs, nDCG@10 on the validation films is {own.mean():.3f}; "
        f"popularity has {theirs.mean():.3f}. You lead by {lead:.3f}"
    )
    if lead.low <= 0:
        fail(
            f"{told}, and the interval should lie above 0. The steps are as asked: "
            f"is {steps.rates[0]:.2g}, the rate you start from, RATE?"
        )
    return f"{told}. Your loop has learned two tables from nothing but who saw what."


@cache
def _kept() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who rated which film of the fold that was kept; which films are old; columns."""
    from course_utils.data import load_movielens

    ratings, films, users = load_movielens()
    old = film_folds(len(films)) != FOLD
    rated = np.zeros((len(users), len(films)), np.float32)
    rated[ratings["user"], ratings["film"]] = 1
    columns = np.hstack([genre_table(films)[0], year_table(films)])
    return rated * ~old, old, columns


@exercise(
    "10.5",
    hints=[
        "A new film has features and no viewers. For each user, learn from the old "
        "films how features go with seeing, and apply that to all films.",
        "Ridge regression has a closed form, for all users at once: weights solve "
        "`(A.T @ A + penalty * np.eye(n_features)) @ weights = A.T @ seen[:, old].T`, "
        "where `A = features[old]`. Scores are `features @ weights`, transposed.",
        "`a = features[old]`, `left = a.T @ a + 3000 * np.eye(a.shape[1])`, `weights = "
        "np.linalg.solve(left, a.T @ seen[:, old].T)`, `return (features @ "
        "weights).T`.",
    ],
)
def score_films(answer: Answer, features: np.ndarray, seen: np.ndarray) -> str:
    """Score the films of a fold that no cell tests on."""
    rated, old, columns = _kept()
    for name, value in reached(answer):
        held = isinstance(value, np.ndarray) and value.shape == rated.shape
        if held and bool((value[:, ~old] > 0).any()):
            fail(
                f"score_films reads `{name}`, which knows who saw the new films. Use "
                "the argument `seen`."
            )
    given = seen * old
    got = _scores(answer, features, given, old)
    base = predicted_popularity(given, old, columns)
    popular = np.broadcast_to(base[~old], (len(rated), int((~old).sum())))
    held = rated[:, ~old]
    nothing = np.zeros_like(held)
    own, theirs = ndcg(got[:, ~old], nothing, held), ndcg(popular, nothing, held)
    lead = _lead(own, theirs)
    told = (
        f"On {held.shape[1]} films that no cell tests on, nDCG@10 is {own.mean():.3f}; "
        f"popularity predicted from genres and year has {theirs.mean():.3f}. You lead "
        f"by {lead:.3f}"
    )
    if lead.low <= 0:
        fail(f"{told}, and the interval should lie above 0. {_advice(got[:, ~old])}")
    expect_honest(
        answer,
        partial(_scores, answer),
        lambda scores, liked: ndcg(scores, np.zeros_like(liked), liked),
    )
    return f"{told}. New films find their viewers by what is written about them."


def _scores(
    answer: Answer, features: np.ndarray, seen: np.ndarray, old: np.ndarray
) -> np.ndarray:
    """Call the answer, and insist on a finite number for each user and film."""
    got = as_array("score_films", answer(features.copy(), seen.copy(), old.copy()))
    slip = "Give a score for every user and every film, old and new."
    if got.shape == seen.T.shape:
        slip = "Films stand in rows there; users come first: transpose it."
    told = f"{seen.shape[0]} users and {seen.shape[1]:,} films"
    got = expect_shape("score_films", got, seen.shape, given=told, slip=slip)
    if got.dtype == bool:
        fail("score_films returned Booleans, which rank nothing: give numbers.")
    got = np.asarray(got, float)
    if not np.isfinite(got).all():
        fail(
            "Some scores are not finite. All films need numbers, old ones too: no "
            "-inf, and nothing divided by 0."
        )
    return got


def _advice(scores: np.ndarray) -> str:
    if np.allclose(scores, scores[:, :1]):
        return "All new films get the same score: let their features decide."
    if np.allclose(scores, scores[:1]):
        return "All users get the same scores: learn weights for each of them."
    return (
        "If you fit a model a user: learn from `old` films only, and try a larger "
        "penalty. A mean of what a user saw leaves out how common it is."
    )
