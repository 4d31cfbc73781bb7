"""Exercise 9.4: a training loop of skip-gram, judged on pairs it has not seen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from course_utils.checks.core import exercise, fail
from course_utils.evaluation import Interval, bootstrap

import numpy as np

Answer = Callable[..., Any]
TOPICS, SIZE, SILENT = 3, 20, 6  # items of the last kind never occur
N_NEGATIVES, EPOCHS, RATE = 5, 5, 0.02
BATCH = 1_024  # of the lesson
BAR = 2.3  # nats a pair; knowing how often items occur gives 2.7, the topics 1.8


def _world(seed: int, n_rows: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of items that stand in rows of one topic each."""
    from course_utils.skip_gram import skip_gram_pairs

    rng = np.random.default_rng(seed)
    rows = [
        rng.integers(0, SIZE, 40) + SIZE * (number % TOPICS) for number in range(n_rows)
    ]
    return skip_gram_pairs(rows, 3, rng)


@exercise(
    "9.4",
    hints=[
        "Two loops: epochs, and in each all pairs in a new random order, BATCH at a "
        "time: `torch.randperm(len(centers), generator=generator).split(BATCH)`.",
        "Make `generator = torch.Generator().manual_seed(seed)` and the optimiser "
        "once, before the loops. Negatives of a batch: `torch.multinomial(noise, "
        "len(rows) * n_negatives, replacement=True, generator=generator)"
        ".view(-1, n_negatives)`.",
        "`loss = model.loss(centers[rows], contexts[rows], negatives)`, then "
        "`optimiser.zero_grad()`, `loss.backward()`, `optimiser.step()`, with "
        "`optimiser = torch.optim.Adam(model.parameters(), lr=rate)`.",
    ],
)
def train(answer: Answer) -> str:
    """Train on items of three topics, and ask for the loss of other pairs."""
    import torch

    n_items = TOPICS * SIZE + SILENT
    pairs = tuple(map(torch.from_numpy, _world(94)))
    noise = torch.ones(n_items) / (TOPICS * SIZE)
    noise[-SILENT:] = 0
    model = _watched()(n_items, 16, seed=0)
    before = [part.detach().clone() for part in model.parameters()]
    with _counted_optimisers() as optimisers:
        answer(model, *pairs, noise, N_NEGATIVES, EPOCHS, RATE, 0)
    after = [part.detach() for part in model.parameters()]
    if all(map(torch.equal, before, after)):
        fail(
            "No number of `model` has changed. For each batch call, in this order, "
            "optimiser.zero_grad(), loss.backward() and optimiser.step()."
        )
    if not all(torch.isfinite(part).all() for part in after):
        fail("A number of `model` became nan or infinite: the steps were too large.")
    if model.asked:  # gradients by hand are welcome
        _judge_pairs(model.asked, pairs)
        _judge_negatives(model.asked, noise, N_NEGATIVES)
    if len(optimisers) > 1:
        fail(
            f"{len(optimisers)} optimisers were made. Make one, before the loops: a "
            "new Adam has forgotten its averages of the gradients."
        )
    score = _held_out(model, noise)
    if score.high > BAR:
        fail(
            f"On pairs that it has not seen, your model's loss is {score:.2f} nats, "
            f"and the interval has to lie below {BAR}. An untrained model has "
            f"{(1 + N_NEGATIVES) * np.log(2):.2f}. Is the optimiser Adam, with the "
            "learning rate `rate`, is `optimiser.zero_grad()` called for every batch, "
            "and do centres and contexts come from the same `rows`?"
        )
    _try_other_noise(answer)
    return (
        f"On pairs that it has not seen, the loss is {score:.2f} nats; a model that "
        "knows only how often items occur has 2.70. So it learned which items meet."
    )


@contextlib.contextmanager
def _counted_optimisers() -> Iterator[list[Any]]:
    """List the optimisers that are made."""
    import torch

    made: list[Any] = []
    first = torch.optim.Optimizer.__init__

    def counted(self: Any, *arguments: Any, **settings: Any) -> None:
        made.append(self)
        first(self, *arguments, **settings)

    with mock.patch.object(torch.optim.Optimizer, "__init__", counted):
        yield made


def _try_other_noise(answer: Answer) -> None:
    """Ask for three negatives by an uneven noise."""
    import torch

    n_items = TOPICS * SIZE
    model = _watched()(n_items, 4, seed=0)
    noise = torch.linspace(0, 1, n_items) ** 2
    pairs = map(torch.from_numpy, _world(96, 20))
    answer(model, *pairs, noise / noise.sum(), N_NEGATIVES - 2, 2, RATE, 1)
    if model.asked:
        _judge_negatives(model.asked, noise / noise.sum(), N_NEGATIVES - 2)


def _judge_pairs(asked: list[Any], pairs: tuple[Any, ...]) -> None:
    """Each pair once an epoch, in steps of BATCH, in another order each time."""
    n_pairs, sizes = len(pairs[0]), [len(centers) for centers, *_ in asked]
    n_seen, left_over = sum(sizes), n_pairs % BATCH
    if n_seen == EPOCHS * (n_pairs - left_over):
        fail(
            f"The last {left_over} pairs of an epoch, which do not fill a batch, were "
            "left out: train on them too."
        )
    if n_seen != EPOCHS * n_pairs:
        fail(
            f"In {EPOCHS} epochs your loop trained on {n_seen:,} pairs; all "
            f"{n_pairs:,} in each epoch make {EPOCHS * n_pairs:,}."
        )
    if max(sizes) > BATCH or n_seen / len(sizes) < BATCH / 2:
        fail(
            f"Your loop took {n_seen / len(sizes):,.0f} pairs a step on average. Take "
            f"BATCH at a time, {BATCH:,}: `….split(BATCH)`."
        )
    keys = [
        centers.numpy() * 1_000 + contexts.numpy() for centers, contexts, _ in asked
    ]
    epochs = np.concatenate(keys).reshape(EPOCHS, n_pairs)
    centers, contexts = (part.numpy() for part in pairs)
    given, turned = centers * 1_000 + contexts, contexts * 1_000 + centers
    if np.array_equal(np.sort(epochs[0]), np.sort(turned)):
        fail("Centres and contexts have changed places: model.loss gets centres first.")
    for epoch in epochs:
        if not np.array_equal(np.sort(epoch), np.sort(given)):
            fail(
                "An epoch has to go through each pair once. Take centres and contexts "
                "by the same `rows` of one random order."
            )
    if np.array_equal(epochs[0], given) or np.array_equal(epochs[0], epochs[1]):
        fail(
            "The pairs came in the same order in each epoch, or as they were given. "
            "Draw a new order in each: torch.randperm, inside the loop over epochs."
        )


def _judge_negatives(asked: list[Any], noise: Any, wanted: int) -> None:
    """Negatives by noise, fresh ones for each pair of each epoch."""
    shapes = {tuple(negatives.shape[1:]) for *_, negatives in asked}
    if shapes != {(wanted,)}:
        fail(
            f"`model.loss` got negatives of shape (n, {shapes.pop()[0]}); I asked for "
            f"{wanted} negatives a pair: `n_negatives`."
        )
    chances = noise.numpy()
    if any((negatives[:1] == negatives).all() for *_, negatives in asked):
        fail(
            "All pairs of a batch got the same negatives. Draw len(rows) * n_negatives "
            "of them, and give each pair its own."
        )
    parts = [np.column_stack([part.numpy() for part in one]) for one in asked]
    half = np.concatenate(parts[: len(parts) // 2]), np.concatenate(parts)
    fresh = len(np.unique(half[1], axis=0)) - len(np.unique(half[0], axis=0))
    if fresh < 0.5 * (len(half[1]) - len(half[0])) or _repeated(asked):
        fail(
            "The same negatives came again: draw them anew for each batch, inside both "
            "loops, and make the generator once, before the loops."
        )
    drawn = half[1][:, 2:].ravel()
    if (chances[drawn] == 0).any():
        fail(
            "An item with noise probability 0 was drawn as a negative. Draw by noise: "
            "torch.multinomial(noise, …, replacement=True)."
        )
    shares = np.bincount(drawn, minlength=len(chances)) / len(drawn)
    if np.abs(shares - chances).sum() / 2 > 0.12:
        fail(
            "Some items are drawn as negatives more often than `noise` says, others "
            "hardly ever. Draw by `noise`, and with replacement."
        )


def _repeated(asked: list[Any]) -> bool:
    """Whether two steps got the same negatives for all their pairs."""
    tables = [negatives.numpy().tobytes() for *_, negatives in asked]
    return len(set(tables)) < len(tables)


def _held_out(model: Any, noise: Any) -> Interval:
    """Loss of single pairs, with the interval over pairs."""
    import torch

    centers, contexts = map(torch.from_numpy, _world(95, 9))
    generator = torch.Generator().manual_seed(9)
    negatives = torch.multinomial(
        noise, len(centers) * N_NEGATIVES, replacement=True, generator=generator
    ).view(-1, N_NEGATIVES)
    rows = zip(*(part.split(1) for part in (centers, contexts, negatives)), strict=True)
    with torch.no_grad():
        losses = np.array([float(model.plain_loss(*row)) for row in rows])
    return bootstrap(losses, losses, lambda _, some: some.mean(), n_draws=500)


def _watched() -> Any:
    from course_utils.skip_gram import SkipGram

    class Watched(SkipGram):
        """A model that remembers what its loss was asked."""

        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            self.asked: list[tuple[Any, Any, Any]] = []

        def loss(self, centers: Any, contexts: Any, negatives: Any) -> Any:
            """Remember, and compute."""
            given = centers, contexts, negatives
            self.asked.append(tuple(part.detach().clone() for part in given))
            return super().loss(centers, contexts, negatives)

        def plain_loss(self, *given: Any) -> Any:
            """Compute alone."""
            return super().loss(*given)

    return Watched
