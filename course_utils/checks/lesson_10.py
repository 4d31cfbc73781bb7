"""Checks of lesson 10, Embeddings of things."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import fail
from course_utils.checks.film_training import score_films, train_bpr
from course_utils.checks.summary import summary_of

import numpy as np

# Checks of 10.4 and 10.5 come from a module of their own.
__all__ = ["score_films", "train_bpr"]
Answer = Callable[..., Any]


def _ratings(seed: int, counts: tuple[int, ...], n_times: int) -> tuple[Any, Any]:
    """Draw users with so many ratings each, in no order, some at one time."""
    rng = np.random.default_rng(seed)
    user = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return user, 10_000 + rng.integers(0, n_times, len(user))


def _logs() -> list[Case]:
    small = (np.array([0, 1, 0, 1, 0, 0, 1]), np.array([50, 7, 30, 9, 40, 20, 8]))
    ties = (np.zeros(5, int), np.array([3, 3, 1, 3, 3]))
    many = _ratings(101, (9, 21, 12, 15), 400)
    long = _ratings(103, (60, 55), 2)
    advice = "Equal times keep the order of the rows: sort with np.lexsort or stable."
    return [
        Case(*small, 1, 1),
        Case(*many, 2, 3, given="57 ratings of 4 users, n_val = 2, n_test = 3"),
        Case(*ties, 1, 2, given="a user with ties", advice=advice),
        Case(*many, 5, 1, given="57 ratings of 4 users, n_val = 5, n_test = 1"),
        Case(*long, 5, 5, given="115 ratings at two times", advice=advice),
    ]


def _from_end(user: Any, time: Any, later: Any = None) -> Any:
    """Count for each rating how many of its user come after it, one by one."""
    rows = np.arange(len(user)) if later is None else later
    after = (time[None] > time[:, None]) | (
        (time[None] == time[:, None]) & (rows[None] > rows[:, None])
    )
    return (after & (user[None] == user[:, None])).sum(axis=1)


def _parts(places: Any, n_val: int, n_test: int) -> Any:
    return np.where(places < n_test, 2, np.where(places < n_test + n_val, 1, 0))


def _leak(
    got: Any, expected: Any, user: Any, time: Any, n_val: int, n_test: int
) -> Any:
    """Name the leak of a split, if it has one."""
    if got.shape != expected.shape:
        return "I expected one number a rating, in the order of the rows."
    if not np.isin(got, (0, 1, 2)).all():
        return "Parts are 0 to train on, 1 to choose by, 2 to test on."
    leaky = 0
    for one in np.unique(user):
        mine = user == one
        held = time[mine & (got > 0)]
        early = held.min() if len(held) else np.inf
        late = time[mine & (got == 1)].max(initial=0)
        last = time[mine & (got == 2)].min(initial=int(time.max()) + 1)
        leaky += bool(time[mine & (got == 0)].max(initial=0) > early or late > last)
    if leaky:
        return (
            f"That is a leak: {leaky} of {len(np.unique(user))} users have a rating to "
            "train on that is later than one held out, or one to choose by that is "
            "later than one to test on."
        )
    sizes = [np.bincount(user, part) for part in (expected == 2, expected == 1)]
    came = [np.bincount(user, part) for part in (got == 2, got == 1)]
    if np.array_equal(sizes, came):
        return None  # ties in another order: the case's advice says so
    return (
        "Nothing leaks, but the sizes differ: each user has n_test ratings to test on "
        "and n_val to choose by."
    )


def _reversed_rows(user: Any, time: Any, n_val: int, n_test: int) -> Any:
    return _parts(_from_end(user, time, -np.arange(len(user))), n_val, n_test)


@reference(
    "10.1",
    hints=[
        "Sort the rows by user, and each user's by time: `np.lexsort((time, user))` "
        "takes the most important key last, and keeps the order of equal ones.",
        "In that order, count for each row how many of its user come after it: 0 is "
        "the last one. Below n_test it is tested on, below n_test + n_val chosen by.",
        "`order = np.lexsort((time, user))`, `_, start, n = np.unique(user[order], "
        "return_index=True, return_counts=True)`, `after = np.repeat(start + n, n) - 1 "
        "- np.arange(len(user))`; then `part[order] = np.where(after < n_test, 2, "
        "np.where(after < n_test + n_val, 1, 0))`.",
    ],
    cases=_logs,
    mistakes={
        "Those are the parts in sorted order. Put them back: `part[order] = …`.": (
            lambda user, time, n_val, n_test: _parts(
                _from_end(user, time), n_val, n_test
            )[np.lexsort((time, user))]
        ),
        "You cut the whole table at one time: users who came early have nothing held "
        "out. Cut each user's own ratings.": (
            lambda user, time, n_val, n_test: _parts(
                _from_end(np.zeros_like(user), time),
                n_val * len(np.unique(user)),
                n_test * len(np.unique(user)),
            )
        ),
        "You held out the first ratings of each user, so the model learns from the "
        "future: that is a leak.": (
            lambda user, time, n_val, n_test: _parts(
                _from_end(user, -time, -np.arange(len(user))), n_val, n_test
            )
        ),
        "You chose by the last ratings and tested on those before them: test comes "
        "last.": (
            lambda user, time, n_val, n_test: np.array([0, 2, 1])[
                _parts(_from_end(user, time), n_test, n_val)
            ]
        ),
        "You went by the order of the rows, which says nothing of time: a leak.": (
            lambda user, time, n_val, n_test: _parts(
                _from_end(user, np.zeros_like(time)), n_val, n_test
            )
        ),
        "Of ratings at one time, the row that stands later is the later one.": (
            _reversed_rows
        ),
    },
    slip=_leak,
    exact=True,
    passed="Each user is tested on what they rated last; what others rated later "
    "may still be trained on.",
)
def split_by_time(
    user: np.ndarray, time: np.ndarray, n_val: int = 5, n_test: int = 5
) -> np.ndarray:
    """Compare each rating with each."""
    return _parts(_from_end(user, time), n_val, n_test)


def _seen(seed: int, n_users: int, n_films: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((n_users, n_films)) < 0.4).astype(np.float32)


def _tables() -> list[Case]:
    return [
        Case(_seen(1, 9, 4), 2.0, given="9 users, 4 films and a penalty of 2"),
        Case(_seen(2, 30, 7), 10.0, given="30 users, 7 films and a penalty of 10"),
        Case(
            np.pad(_seen(3, 8, 5), ((0, 0), (0, 1))),
            1.0,
            given="a film that nobody has seen, and a penalty of 1",
        ),
    ]


def _inverse(seen: Any, penalty: float) -> Any:
    return np.linalg.inv(seen.T @ seen + penalty * np.eye(seen.shape[1]))


def _weights(change: Callable[[Any], Any]) -> Answer:
    """EASE with one mistake: what is made of the inverse."""
    return lambda seen, penalty: change(_inverse(seen, penalty))


def _elementwise(seen: Any, penalty: float) -> Any:
    p = (seen.T @ seen + penalty * np.eye(seen.shape[1])) ** -1
    weights = -p / np.diag(p)
    np.fill_diagonal(weights, 0)
    return weights


def _off(table: Any) -> Any:
    return table * (1 - np.eye(len(table)))


@reference(
    "10.2",
    hints=[
        "Three lines: the table of how many users have seen both films, plus the "
        "penalty on its diagonal; its inverse; then a division and a diagonal of 0.",
        "`inverse = np.linalg.inv(seen.T @ seen + penalty * np.eye(n_films))`. Each "
        "column j is divided by minus its own diagonal number.",
        "`weights = -inverse / np.diag(inverse)` divides column by column; then "
        "`np.fill_diagonal(weights, 0)`.",
    ],
    cases=_tables,
    mistakes={
        "The sign is the other way round: B is minus P over its diagonal.": (
            _weights(lambda p: _off(p / np.diag(p)))
        ),
        "You divided each row by its diagonal number; each column j has P_jj.": (
            _weights(lambda p: _off(-p / np.diag(p)[:, None]))
        ),
        "The diagonal must be 0: else each film recommends itself.": (
            _weights(lambda p: -p / np.diag(p)),
            lambda seen, penalty: _inverse(seen, penalty) @ (seen.T @ seen),
        ),
        "Nothing was divided by the diagonal of P.": _weights(lambda p: _off(-p)),
        "The penalty has no part in it: add penalty * np.eye(n_films) to the table.": (
            lambda seen, penalty: _off(
                (lambda p: -p / np.diag(p))(np.linalg.pinv(seen.T @ seen))
            )
        ),
        "The penalty stands on the diagonal alone: penalty * np.eye(n_films).": (
            lambda seen, penalty: _off(
                (lambda p: -p / np.diag(p))(np.linalg.pinv(seen.T @ seen + penalty))
            )
        ),
        "The table counts users who saw two films: seen.T @ seen, not seen @ seen.T.": (
            lambda seen, penalty: _ease(seen.T, penalty)
        ),
        "`** -1` inverts number by number; np.linalg.inv inverts the table.": (
            _elementwise
        ),
        "Those are ridge weights whose diagonal was set to 0 afterwards. EASE keeps it "
        "at 0 while it fits: -P over its diagonal does that.": (
            lambda seen, penalty: _off(_inverse(seen, penalty) @ (seen.T @ seen))
        ),
        "Leave seen.T @ seen undivided by the number of users.": (
            lambda seen, penalty: _ease(seen, penalty * len(seen))
        ),
        "Penalty 200 does not come from the argument: use `penalty`.": (
            lambda seen, penalty: _ease(seen, 200)
        ),
        "Those are scores of the users; I asked for the weights between films.": (
            lambda seen, penalty: seen @ _ease(seen, penalty)
        ),
    },
    advice="The tables have seen.shape[1] rows and columns, here not N_FILMS. And "
    "without the penalty, that of a film that nobody has seen has no inverse.",
    exact=True,
    passed="Each film is predicted from all others, with weights that no step of "
    "training had to find.",
    atol=1e-4,
)
def ease(seen: np.ndarray, penalty: float) -> np.ndarray:
    """Regress each film on the others, one by one."""
    return _ease(seen, penalty)


def _ease(seen: np.ndarray, penalty: float) -> np.ndarray:
    n_films, seen = seen.shape[1], seen.astype(float)
    weights = np.zeros((n_films, n_films))
    for film in range(n_films):
        others = np.arange(n_films) != film
        x = seen[:, others]
        left = x.T @ x + penalty * np.eye(n_films - 1)
        weights[others, film] = np.linalg.solve(left, x.T @ seen[:, film])
    return weights


def _triples() -> list[Case]:
    import torch

    made = []
    for seed, shape, scale, decay in ((3, (5, 4), 1, 0.1), (4, (8, 3), 0.7, 0.01)):
        rng = np.random.default_rng(seed)
        three = [torch.tensor(scale * rng.normal(size=shape)).float() for _ in range(3)]
        given = f"three tables of shape {shape} and decay = {decay}"
        made.append(Case(*three, decay, given=given))
    far = [torch.tensor([[20.0, 0.0]]), torch.tensor([[-10.0, 0.0]])]
    advice = (
        "The sigmoid of -200 is 0 in float32, and exp(200) is infinite: "
        "`nn.functional.logsigmoid` computes sigmoid and logarithm at once."
    )
    given = "a pair that is wrong by 200, without decay"
    made.append(Case(*far, -far[1][:, [1, 0]], 0.0, given=given, advice=advice))
    return made


def _bpr(
    user: Any,
    liked: Any,
    other: Any,
    decay: float,
    *,
    gap: Callable[[Any], Any] = lambda x: np.logaddexp(0, -x),
    size: Callable[[Any], Any] = lambda x: (x**2).sum(axis=1),
    over: Any = np.mean,
) -> Any:
    """Compute the loss in NumPy, or with a mistake in one of its parts."""
    p, i, j = (np.asarray(x.detach(), float) for x in (user, liked, other))
    margin = (p * (i - j)).sum(axis=1)
    return over(gap(margin) + decay * (size(p) + size(i) + size(j)))


def _slipped(**parts: Any) -> Answer:
    return lambda user, liked, other, decay: _bpr(user, liked, other, decay, **parts)


def _all_pairs(user: Any, liked: Any, other: Any, decay: float) -> Any:
    p, i, j = (np.asarray(x.detach(), float) for x in (user, liked, other))
    squares = (p**2 + i**2 + j**2).sum(axis=1)
    return (np.logaddexp(0, -(p @ (i - j).T)) + decay * squares).mean()


def _down(user: Any, liked: Any, other: Any, decay: float) -> Any:
    p, i, j = (np.asarray(x.detach(), float) for x in (user, liked, other))
    squares = (p**2 + i**2 + j**2).sum(axis=0)
    return (np.logaddexp(0, -(p * (i - j)).sum(axis=0)) + decay * squares).mean()


def _expect_a_loss(answer: Answer) -> None:
    import torch

    three = [torch.ones(2, 3, requires_grad=True) for _ in range(3)]
    got = answer(*three, 0.1)
    if not getattr(got, "requires_grad", False):
        fail(
            "The number is right, but PyTorch lost track of how it was made: compute "
            "with the tensors, without .detach(), .numpy() or .item()."
        )


@reference(
    "10.3",
    hints=[
        "Take the margin first: the inner product of each user with (liked - other), "
        "one number a row: `.sum(dim=1)`.",
        "`nn.functional.logsigmoid(margin)` is the logarithm of the sigmoid. The decay "
        "multiplies the sum of all squared numbers of a row's three vectors.",
        "`margin = (user * (liked - other)).sum(dim=1)`, `squares = user**2 + liked**2 "
        "+ other**2`, then `(-nn.functional.logsigmoid(margin) + decay * "
        "squares.sum(dim=1)).mean()`.",
    ],
    cases=_triples,
    mistakes={
        "The sign of the margin is wrong: the film that was seen should score "
        "higher.": (
            _slipped(gap=lambda x: np.logaddexp(0, x)),
            lambda user, liked, other, decay: _bpr(user, other, liked, decay),
        ),
        "The minus before the logarithm is missing: training would make scores "
        "worse.": _slipped(gap=lambda x: -np.logaddexp(0, -x)),
        "The logarithm is missing: that is minus the sigmoid.": (
            _slipped(gap=lambda x: -1 / (1 + np.exp(-x))),
            _slipped(gap=lambda x: 1 - 1 / (1 + np.exp(-x))),
        ),
        "The decay of the whole batch was added to each row: sum a row's squares.": (
            lambda user, liked, other, decay: _bpr(
                user, liked, other, decay * len(user)
            )
        ),
        "Multiply each user with their own row: (user * (liked - other)).sum(dim=1), "
        "not the products of all users with all films.": _all_pairs,
        "You summed over the rows: one margin a row is `.sum(dim=1)`.": _down,
        "That is the sum over the pairs; I asked for the mean.": _slipped(over=np.sum),
        "The decay has no part in it.": _slipped(size=lambda x: 0),
        "Square the numbers before you add them up.": (
            _slipped(size=lambda x: x.sum(axis=1)),
            _slipped(size=lambda x: np.abs(x).sum(axis=1)),
        ),
        "The decay multiplies squared lengths, not lengths: leave out the root.": (
            _slipped(size=lambda x: np.sqrt((x**2).sum(axis=1)))
        ),
        "The squares are added up over a vector's numbers, and their mean is taken "
        "over the pairs alone.": _slipped(size=lambda x: (x**2).mean(axis=1)),
        "One number a pair came; I asked for their mean.": _slipped(over=np.asarray),
    },
    then=_expect_a_loss,
    passed="The loss asks for an order, not for numbers of stars: what was seen above "
    "what was not.",
    atol=1e-4,
)
def bpr_loss(user: Any, liked: Any, other: Any, decay: float) -> float:
    """Compute the loss in NumPy, in double precision."""
    return float(_bpr(user, liked, other, decay))


def _known() -> list[Case]:
    made = []
    for seed, n_users, n_films, k in ((7, 6, 5, 2), (8, 40, 9, 3)):
        seen = _seen(seed, n_users, n_films)
        seen[:, :k] = np.maximum(seen[:, :k], 1 - seen[:, :k].max(axis=1)[:, None])
        rng = np.random.default_rng(seed)
        rows = [np.flatnonzero(row) for row in seen]
        known = np.array([rng.choice(row, k, replace=len(row) < k) for row in rows])
        given = f"{n_users} users of {n_films} films, {k} films known of each"
        made.append(Case(seen, known, given=given))
    return made


@reference(
    "10.6",
    hints=[
        "For one user: take the columns of the films that are known, and count the "
        "rows of users who have a 1 in all of them.",
        "`seen[:, films].all(axis=1)` says who has seen all of `films`.",
        "`np.array([seen[:, films].all(axis=1).sum() for films in known])`",
    ],
    cases=_known,
    mistakes={
        "You counted who has seen any of the films; I asked for all of them.": (
            lambda seen, known: np.array([seen[:, f].any(axis=1).sum() for f in known])
        ),
        "Count the user too: who is alone has 1, not 0.": (
            lambda seen, known: _matches(seen, known) - 1
        ),
        "Those are viewings of the films, added up; count users who have all.": (
            lambda seen, known: np.array([seen[:, f].sum() for f in known])
        ),
        "That says who has seen them; count them for each user.": (
            lambda seen, known: np.array([seen[:, f].all(axis=1) for f in known])
        ),
        "Only the first two of the films were used; take all that are known.": (
            lambda seen, known: _matches(seen, known[:, :2])
        ),
        "That is the share of users; count them.": (
            lambda seen, known: np.array([seen[:, f].all(axis=1).mean() for f in known])
        ),
        "Ask of each user whether all films were seen: `.all(axis=1)`.": (
            lambda seen, known: np.array([seen[:, f].all(axis=0).sum() for f in known])
        ),
        "I asked for counts, not for who is alone.": (
            lambda seen, known: (_matches(seen, known) == 1).astype(int)
        ),
    },
    passed="A list of things is a name, once it is long enough that nobody else has "
    "it.",
)
def matches(seen: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Compare sets."""
    return _matches(seen, known)


def _matches(seen: np.ndarray, known: np.ndarray) -> np.ndarray:
    lists = [set(np.flatnonzero(row).tolist()) for row in seen]
    wanted = [set(films.tolist()) for films in known]
    return np.array([sum(one <= other for other in lists) for one in wanted])


summary = summary_of(__name__, look_back="Ten lessons, one table")
