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


def _spaces() -> list[Case]:
    rng = np.random.default_rng(106)
    small, wide = rng.normal(size=(6, 3)), 0.2 * rng.normal(size=(40, 9))
    around = rng.normal(size=(30, 4))
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    asked, given = rng.normal(size=(3, 4)), "items of one length"
    return [
        Case(small, rng.normal(size=(4, 3))),
        Case(
            wide.astype(np.float32),
            rng.normal(size=(7, 9)).astype(np.float32),
            given="40 short items and 7 long queries, in float32",
        ),
        Case(5 * rng.normal(size=(4, 4)), rng.normal(size=(5, 4))),
        Case(rng.normal(size=(1, 2)), rng.normal(size=(3, 2)), given="a single item"),
        Case(around, asked, given=given),
        Case(
            around.astype(np.float32),
            asked.astype(np.float32),
            given=f"{given}, in float32",
        ),
    ]


Number = Callable[[Any, Any], Any]


def _largest(table: Any) -> Any:
    return np.linalg.norm(table, axis=1).max()


def _missing(table: Any, most: Any) -> Any:
    """Root of what each row's squared length lacks."""
    return np.sqrt(most**2 - (table**2).sum(axis=1))


def _zeros(items: Any, queries: Any) -> Any:
    return np.zeros(len(queries))


def _widened(
    of_items: Number = lambda items, queries: _missing(items, _largest(items)),
    of_queries: Number = _zeros,
) -> Answer:
    """Add one number to each row, by one rule or another."""
    return lambda items, queries: (
        np.c_[items, of_items(items, queries)],
        np.c_[queries, of_queries(items, queries)],
    )


def _unit(table: Any) -> Any:
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def _far(items: Any, queries: Any) -> np.ndarray:
    """Squared distance of each query to each item."""
    apart = np.asarray(queries, float)[:, None] - np.asarray(items, float)
    return (apart**2).sum(axis=2)


def _as_far(got: Any, expected: Any, items: Any, queries: Any) -> bool:
    """Whether distances are those that products give, wherever the column stands."""
    if [part.shape for part in got] != [part.shape for part in expected]:
        return False
    # Infinite or missing numbers compare as different.
    return np.allclose(_far(*got), _far(*expected), 1e-4, 1e-5 * _largest(items) ** 2)


def _lengths(got: Any, expected: Any, items: Any, queries: Any) -> str | None:
    if [part.shape for part in got] != [part.shape for part in expected]:
        return None
    most, before = _largest(items), np.linalg.norm(items, axis=1)
    lost = ~np.isfinite(got[0]).all(axis=1)
    if lost.any() and np.allclose(before[lost], most, rtol=1e-5):
        return (
            "Rounding left less than 0 under the root of the longest items: take M² "
            "and |q|² from the same squares, or np.maximum(…, 0) before the root."
        )
    if lost.any() or not np.isfinite(got[1]).all():
        return (
            "Some numbers are not finite. What stands under the root is not below 0 if "
            "M is the largest length of all items."
        )
    lengths = np.linalg.norm(got[0], axis=1)
    if not np.allclose(lengths, lengths[0], rtol=1e-4):
        return (
            "With the new number all items should have one length, M; yours are from "
            f"{lengths.min():.3g} to {lengths.max():.3g} long."
        )
    if not np.isclose(lengths[0], most, rtol=1e-4):
        return (
            f"All items are {lengths[0]:.3g} long now; M, the largest length of an "
            f"item before, is {most:.3g}."
        )
    return None


def _expect_the_ten(answer: Answer) -> None:
    """Compare the ten nearest with the ten largest products, in many rows."""
    rng = np.random.default_rng(107)
    items = rng.normal(size=(2_000, 16)) * rng.random((2_000, 1))
    queries = rng.normal(size=(50, 16))
    top = np.argsort(-queries @ items.T, axis=1)[:, :10]
    told = [np.asarray(part, float) for part in answer(items.copy(), queries.copy())]
    near = np.argsort(_far(*told), axis=1)[:, :10]
    if (same := np.mean(near[:, :, None] == top[:, None]) * 10) < 1:
        fail(
            f"Of the ten largest products among 2,000 items, {same:.0%} are among the "
            "ten nearest, not all: are numbers rounded on the way?"
        )


@reference(
    "10.6",
    hints=[
        "The squared length of each item is `(items**2).sum(axis=1)`; the largest of "
        "them is M².",
        "`np.sqrt(squares.max() - squares)` is the new column of the items; that of "
        "the queries holds zeros. `np.c_[table, column]` puts a column behind a table.",
        "`squares = (items**2).sum(axis=1)`, then `return np.c_[items, "
        "np.sqrt(squares.max() - squares)], np.c_[queries, np.zeros(len(queries))]`.",
    ],
    cases=_spaces,
    mistakes={
        "A query gets 0, no number of its own: else the items' new numbers count in "
        "its distances, and the order changes.": (
            _widened(of_queries=lambda i, q: _missing(q, _largest(i))),
            _widened(of_queries=lambda i, q: _missing(q, _largest(q))),
            _widened(of_queries=lambda i, q: np.ones(len(q))),
            _widened(of_queries=lambda i, q: np.full(len(q), _largest(i))),
        ),
        "The queries have no new column; theirs holds zeros.": lambda items, queries: (
            _widened()(items, queries)[0],
            queries,
        ),
        "M is one number, the largest length of all items. With each item's own "
        "length nothing is left under the root.": _widened(
            lambda i, q: np.zeros(len(i))
        ),
        "Those are vectors of length 1: the nearest have the largest cosine then, not "
        "the largest product.": (
            lambda items, queries: (_unit(items), _unit(queries)),
            lambda items, queries: _widened()(_unit(items), _unit(queries)),
            lambda items, queries: _widened()(_unit(items), queries),
        ),
        "M is the largest length of an item; the queries have no part in it.": (
            _widened(lambda i, q: _missing(i, _largest(q))),
            _widened(lambda i, q: _missing(i, _largest(np.vstack([i, q])))),
        ),
        "M is the largest length of an item, not the largest number of the table.": (
            _widened(lambda i, q: _missing(i, i.max())),
            _widened(lambda i, q: _missing(i, np.abs(i).max())),
        ),
        "Your M is the length of the whole table. The order is right with it too, but "
        "M is the largest length of one item.": _widened(
            lambda i, q: _missing(i, np.linalg.norm(i))
        ),
        "M is the largest length, not the mean: with less, some items have nothing "
        "left under the root.": _widened(
            lambda i, q: _missing(i, np.linalg.norm(i, axis=1).mean())
        ),
        "The root is missing: the squares of a row have to add up to M².": _widened(
            lambda i, q: _missing(i, _largest(i)) ** 2
        ),
        "Square both lengths before you subtract: M² − |q|².": (
            _widened(lambda i, q: np.sqrt(_largest(i) - np.linalg.norm(i, axis=1))),
            _widened(lambda i, q: _largest(i) - np.linalg.norm(i, axis=1)),
        ),
        "That is the item's own length; what it lacks is √(M² − |q|²).": (
            _widened(lambda i, q: np.linalg.norm(i, axis=1)),
            _widened(lambda i, q: (i**2).sum(axis=1)),
        ),
        "Subtract |q|² from M²; you added it.": _widened(
            lambda i, q: np.sqrt(_largest(i) ** 2 + (i**2).sum(axis=1))
        ),
    },
    accepts=_as_far,
    slip=_lengths,
    then=_expect_the_ten,
    advice="One new number a row: lengths of rows are sums along axis=1.",
    passed="The ten nearest items of each query now are the ten with the largest "
    "product, so an index that knows distances alone will do.",
)
def to_euclidean(
    items: np.ndarray, queries: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Take the difference of squares as a product."""
    lengths = np.linalg.norm(items.astype(float), axis=1)
    most = lengths.max()
    missing = np.sqrt((most - lengths) * (most + lengths))
    return np.c_[items, missing], np.pad(queries, ((0, 0), (0, 1)))


summary = summary_of(__name__, look_back="Ten lessons, one table")
