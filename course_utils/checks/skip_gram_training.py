"""Exercise 9.4: a training loop of skip-gram, judged on pairs it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from course_utils.checks.core import exercise, fail
from course_utils.evaluation import Interval, bootstrap

import numpy as np

Answer = Callable[..., Any]
TOPICS, SIZE, SILENT = 3, 20, 6  # items of the last kind never occur
N_NEGATIVES, EPOCHS, RATE = 5, 5, 0.02
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
        "Negatives of a batch: `torch.multinomial(noise, len(rows) * n_negatives, "
        "replacement=True, generator=generator).view(-1, n_negatives)`.",
        "`loss = model.loss(centers[rows], contexts[rows], negatives)`, then "
        "`optimiser.zero_grad()`, `loss.backward()`, `optimiser.step()`, with "
        "`optimiser = torch.optim.Adam(model.parameters(), lr=rate)`.",
    ],
)
def train(answer: Answer) -> str:
    """Train on items of three topics, and ask for the loss of other pairs."""
    import torch

    n_items = TOPICS * SIZE + SILENT
    centers, contexts = map(torch.from_numpy, _world(94))
    noise = torch.ones(n_items) / (TOPICS * SIZE)
    noise[-SILENT:] = 0
    model = _watched()(n_items, 16, seed=0)
    before = [part.detach().clone() for part in model.parameters()]
    answer(model, centers, contexts, noise, N_NEGATIVES, EPOCHS, RATE, 0)
    after = [part.detach() for part in model.parameters()]
    if all(map(torch.equal, before, after)):
        fail(
            "No number of `model` has changed. Does each batch call loss.backward() "
            "and optimiser.step()?"
        )
    if not all(torch.isfinite(part).all() for part in after):
        fail("A number of `model` became nan or infinite: the steps were too large.")
    _judge_draws(model, noise, len(centers))
    score = _held_out(model, noise)
    if score.high > BAR:
        fail(
            f"On pairs that it has not seen, your model's loss is {score:.2f} nats, "
            f"and the interval has to lie below {BAR}. An untrained model has "
            f"{(1 + N_NEGATIVES) * np.log(2):.2f}. Is `optimiser.zero_grad()` called "
            "for every batch, is the learning rate `rate`, and do centres and contexts "
            "come from the same `rows`?"
        )
    return (
        f"On pairs that it has not seen, the loss is {score:.2f} nats; a model that "
        "knows only how often items occur has 2.70. So it learned which items meet."
    )


def _judge_draws(model: Any, noise: Any, n_pairs: int) -> None:
    """Look at what the model was asked while it was trained."""
    if not model.asked:
        return  # gradients by hand are welcome
    shapes = {tuple(negatives.shape[1:]) for _, negatives in model.asked}
    if shapes != {(N_NEGATIVES,)}:
        fail(
            f"`model.loss` got negatives of shape (n, {shapes.pop()[0]}); I asked for "
            f"{N_NEGATIVES} negatives a pair."
        )
    seen = sum(len(centers) for centers, _ in model.asked)
    if not 0.9 * EPOCHS * n_pairs <= seen <= 1.1 * EPOCHS * n_pairs:
        fail(
            f"In {EPOCHS} epochs your loop trained on {seen:,} pairs; all "
            f"{n_pairs:,} in each epoch make {EPOCHS * n_pairs:,}."
        )
    drawn = np.concatenate([negatives.numpy().ravel() for _, negatives in model.asked])
    if (noise.numpy()[drawn] == 0).any():
        fail(
            "An item with noise probability 0 was drawn as a negative. Draw by noise: "
            "torch.multinomial(noise, …, replacement=True)."
        )
    # Noise is even here, so every item is drawn about equally often.
    often = np.bincount(drawn, minlength=len(noise))[noise.numpy() > 0]
    if often.min() < 0.5 * often.mean():
        fail(
            "Some items are hardly ever drawn as negatives. Draw anew for each batch, "
            "by `noise`, and with replacement."
        )


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
            self.asked: list[tuple[Any, Any]] = []

        def loss(self, centers: Any, contexts: Any, negatives: Any) -> Any:
            """Remember, and compute."""
            self.asked.append((centers.detach(), negatives.detach()))
            return super().loss(centers, contexts, negatives)

        def plain_loss(self, *given: Any) -> Any:
            """Compute alone."""
            return super().loss(*given)

    return Watched
