"""Exercise 10.4: read from the gradients what a training loop does at each step.

The loop is called with users who rated one film each. The gradient of a user's vector
then is that of one row of BPR: it tells which rows a batch holds, which other film was
drawn for each, and the decay, however the loop is written.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from course_utils.checks.core import fail

import numpy as np

N_USERS, N_FILMS, EPOCHS = 5000, 4, 2


@dataclass
class Steps:
    """What an optimiser was seen to do."""

    optimisers: list[Any] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    users: list[np.ndarray] = field(default_factory=list)  # of each batch
    others: list[np.ndarray] = field(default_factory=list)  # a film for each
    signs: list[float] = field(default_factory=list)
    decays: list[float] = field(default_factory=list)
    strange: list[float] = field(default_factory=list)  # share of no BPR gradient


@contextlib.contextmanager
def watched(tables: Any, liked: np.ndarray | None = None) -> Iterator[Steps]:
    """Note the rate of each step, and its batch where each user has one film."""
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    steps = Steps()

    def note(optimiser: Any, *_: Any) -> None:
        if not any(optimiser is one for one in steps.optimisers):
            steps.optimisers.append(optimiser)
        steps.rates.append(float(optimiser.param_groups[0]["lr"]))
        if liked is not None:
            _decode(tables, liked, steps)

    hook = register_optimizer_step_pre_hook(note)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield steps
    finally:
        hook.remove()


def _decode(tables: Any, liked: np.ndarray, steps: Steps) -> None:
    """Find each row's other film: g = a (1 - sigmoid(margin)) (q_i - q_j) + b p."""
    grads = [table.weight.grad for table in (tables.users, tables.films)]
    for name, grad in zip(("users", "films"), grads, strict=True):
        if grad is None or not grad.any():
            fail(
                f"No gradient reaches `tables.{name}`: compute the loss from "
                f"`tables.{name}(…)`, without .detach() or .data."
            )
    g = grads[0].double().numpy()
    p, q = (t.weight.detach().double().numpy() for t in (tables.users, tables.films))
    rows = np.flatnonzero(g.any(axis=1))
    g, p, i = g[rows], p[rows], liked[rows]
    along = p / np.linalg.norm(p, axis=1, keepdims=True)

    def across(v: np.ndarray) -> np.ndarray:
        return v - (v * along).sum(axis=1, keepdims=True) * along

    rest = across(g)
    size = np.linalg.norm(rest, axis=1)
    left, best = np.full(len(rows), np.inf), np.full(len(rows), -1)
    a, b = np.zeros(len(rows)), np.zeros(len(rows))
    for j in range(N_FILMS):
        apart = q[i] - q[j]
        move = apart / (1 + np.exp((p * apart).sum(axis=1, keepdims=True)))
        turned = across(move)
        square = np.maximum((turned**2).sum(axis=1), 1e-30)
        slope = (rest * turned).sum(axis=1) / square
        off = np.linalg.norm(rest - slope[:, None] * turned, axis=1)
        off[i == j] = np.inf
        better = off < left
        left[better], best[better], a[better] = off[better], j, slope[better]
        decay = ((g - slope[:, None] * move) * along).sum(axis=1)
        b[better] = (decay / np.linalg.norm(p, axis=1))[better]
    same = size < 1e-3 * np.median(size)
    best[same] = i[same]
    steps.users.append(rows)
    steps.others.append(best)
    steps.signs.append(float(np.median(a[~same])))
    steps.decays.append(float(np.median(b[~same] / np.abs(a[~same]) / 2)))
    steps.strange.append(float(np.mean(left[~same] > 0.05 * size[~same])))


def expect_loop(answer: Callable[..., Any], make_tables: Callable[..., Any]) -> None:
    """Call a training loop with a few thousand users, and insist on what was asked."""
    first = _steps(answer, make_tables, seed=7, state=1)
    n = N_USERS
    if first.signs[0] > 0:
        fail("Liked and other film are swapped: the loss takes user, liked, other.")
    if len(first.users) > 1 and np.isin(first.users[0], first.users[1]).mean() > 0.9:
        if len(first.users[0]) < n:
            fail(
                "The second batch still has the first one's gradient: call "
                "`optimiser.zero_grad()` in each batch."
            )
    if first.strange[0] > 0.1:
        fail(
            "The gradient is not that of bpr_loss: does each batch take the vectors of "
            "`users[rows]`, of their films `films[rows]`, and of one other film each?"
        )
    if first.decays[0] < 1e-5:
        fail("The decay has no part in the loss: give DECAY to bpr_loss.")
    if len(first.users[0]) == n:
        fail(
            f"Your first step took all {n:,} ratings at once; take BATCH rows at a "
            "time: `.split(BATCH)`."
        )
    told = sum(map(len, first.users))
    if not 0.99 * EPOCHS * n < told < 1.01 * EPOCHS * n:
        fail(
            f"For {EPOCHS} epochs of {n:,} ratings of other users, the loss was asked "
            f"about {told:,} rows, not {EPOCHS * n:,}: go through all rows of the "
            "arguments, `epochs` times."
        )
    if len(first.optimisers) > 2:
        fail(
            "You made a new optimiser again and again, which forgets its means each "
            "time: make it once, before the loops."
        )
    _expect_chance(first)
    if not _same(first, _steps(answer, make_tables, seed=7, state=2)):
        fail(
            "Two calls with one seed draw different rows or films: draw all of them "
            "from one generator, `torch.Generator().manual_seed(seed)`."
        )
    if _same(first, _steps(answer, make_tables, seed=8, state=1)):
        fail("Two seeds draw the same: seed the generator with the argument `seed`.")


def _steps(answer: Any, make_tables: Any, seed: int, state: int) -> Steps:
    import torch

    rng = np.random.default_rng(104)
    users, liked = rng.permutation(N_USERS), rng.integers(N_FILMS, size=N_USERS)
    seen = torch.zeros(N_USERS, N_FILMS, dtype=torch.bool)
    seen[torch.arange(N_USERS), torch.as_tensor(liked)] = True
    films = torch.as_tensor(liked[users])
    with torch.random.fork_rng():
        torch.manual_seed(104)
        tables = make_tables(N_USERS, N_FILMS)
        before = [table.weight.detach().clone() for table in _both(tables)]
        torch.manual_seed(state)
        with watched(tables, liked) as steps:
            try:
                answer(tables, torch.as_tensor(users), films, seen, EPOCHS, seed)
            except IndexError as error:
                error.add_note(
                    f"This was a call with {N_USERS:,} other users and {N_FILMS} films:"
                    " read only the arguments; users index `tables.users`, films "
                    "`tables.films`."
                )
                raise
    changed = [
        not old.equal(table.weight)
        for old, table in zip(before, _both(tables), strict=True)
    ]
    if not any(changed):
        fail(
            "No number of `tables` has changed: does `optimiser.step()` run in the "
            "loop, after `loss.backward()`, on `tables.parameters()`?"
        )
    if not all(changed):
        name = "films" if changed[0] else "users"
        fail(f"`tables.{name}` did not change: give Adam `tables.parameters()`.")
    if not all(table.weight.isfinite().all() for table in _both(tables)):
        fail("The tables' numbers became nan: is the rate near RATE?")
    if not steps.rates:
        fail("No optimiser of torch.optim took a step: use torch.optim.Adam.")
    return steps


def _both(tables: Any) -> tuple[Any, Any]:
    return tables.users, tables.films


def _same(one: Steps, other: Steps) -> bool:
    pairs = zip([*one.users, *one.others], [*other.users, *other.others], strict=False)
    return all(np.array_equal(*pair) for pair in pairs)


def _expect_chance(steps: Steps) -> None:
    """Insist on another order each epoch, and on films drawn anew by `unseen`."""
    rng = np.random.default_rng(104)
    users, liked = rng.permutation(N_USERS), rng.integers(N_FILMS, size=N_USERS)
    n = len(steps.users[0])
    if np.isin(steps.users[0], users[:n]).mean() > 0.95:
        fail("Your first batch is the first rows in order: shuffle by torch.randperm.")
    ends = np.cumsum([len(batch) for batch in steps.users])
    second = int(np.searchsorted(ends, N_USERS - 1)) + 1
    if np.isin(steps.users[0], steps.users[second]).mean() > 0.95:
        fail(
            "Each epoch takes the rows in the same order: make the generator once, "
            "and call torch.randperm in each epoch."
        )
    drawn = np.full((2, N_USERS), -1)
    for k, (batch, others) in enumerate(zip(steps.users, steps.others, strict=True)):
        drawn[int(k >= second), batch] = others
    if np.mean(drawn[0] == drawn[1]) > 0.9:
        fail("Each epoch has the same other films: draw `unseen` for each batch.")
    if np.mean(drawn == liked) > 0.12:
        fail(
            "Too many of the other films are ones that the user has seen: draw them "
            "with `unseen(users[rows], seen, generator)`, for the batch's own users."
        )
