"""Skip-gram with negative sampling: vectors of words, or of any items in sequences.

Lesson 09 writes it step by step, pair by pair; `train_skip_gram` computes the same
updates with matrix products. Needs PyTorch.

References
----------
Mikolov, Sutskever, Chen, Corrado and Dean (2013), Distributed Representations of Words
and Phrases and their Compositionality, NeurIPS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

# Tokens that share their negatives, and such blocks in one update: small blocks cost
# less in products, large updates less in Python.
BLOCK, BLOCKS = 32, 32
# How much gradients that fall on one row in one update shorten its step.
DAMPING = 0.1

Report = Callable[[int, float], Any]


class SkipGram(nn.Module):
    """Two embedding tables: one of the items as centres, one as contexts.

    Parameters
    ----------
    n_items : int
        Rows of each table.
    dimensions : int
        Columns of each table.
    seed : int
        Of the first numbers: small ones for centres, zeros for contexts.
    """

    def __init__(self, n_items: int, dimensions: int, seed: int = 0) -> None:
        super().__init__()
        if n_items < 1 or dimensions < 1:
            raise ValueError("n_items and dimensions must be at least 1")
        generator = torch.Generator().manual_seed(seed)
        first = torch.rand(n_items, dimensions, generator=generator) - 0.5
        self.centers = nn.Embedding.from_pretrained(first / dimensions, freeze=False)
        self.contexts = nn.Embedding.from_pretrained(
            torch.zeros(n_items, dimensions), freeze=False
        )

    def loss(
        self, centers: torch.Tensor, contexts: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """Average over pairs the cross-entropy of telling true contexts from noise.

        Parameters
        ----------
        centers, contexts : torch.Tensor of int, shape (n,)
            The pairs.
        negatives : torch.Tensor of int, shape (n, k)
            Items drawn from the noise distribution, k for each pair.

        Returns
        -------
        torch.Tensor of float, shape ()
            Nats a pair, its negatives included.
        """
        center = self.centers(centers)
        true = (center * self.contexts(contexts)).sum(dim=1)
        noise = torch.einsum("nd,nkd->nk", center, self.contexts(negatives))
        softplus = nn.functional.softplus
        return (softplus(-true) + softplus(noise).sum(dim=1)).mean()


def skip_gram_pairs(
    sequences: Sequence[np.ndarray], window: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pair each item with its neighbours, as far as a reach drawn anew for each.

    Parameters
    ----------
    sequences : sequence of numpy.ndarray of int
        No pair crosses from one to the next.
    window : int
        Reaches are drawn from 1 to this number, each as likely.
    rng : numpy.random.Generator
        Draws one reach an item, in order.

    Returns
    -------
    centers, contexts : numpy.ndarray of int, shape (n_pairs,)
        Pairs of ids, in no useful order.
    """
    items, where = _flat(sequences)
    reach = rng.integers(1, _window(window) + 1, len(items))
    centers, contexts = [items[:0]], [items[:0]]
    for offset in range(1, window + 1):
        same = where[offset:] == where[:-offset]
        before = same & (reach[offset:] >= offset)  # the context stands before
        after = same & (reach[:-offset] >= offset)
        centers += [items[offset:][before], items[:-offset][after]]
        contexts += [items[:-offset][before], items[offset:][after]]
    return np.concatenate(centers), np.concatenate(contexts)


def keep_probability(counts: np.ndarray, threshold: float) -> np.ndarray:
    """Tell how likely each item survives `subsample`.

    With f an item's share of all: sqrt(threshold / f) + threshold / f, at most 1. This
    is what word2vec's program does; the paper's formula lacks the second term.

    Parameters
    ----------
    counts : numpy.ndarray of int, shape (n_items,)
        How often each item stands in the sequences.
    threshold : float
        Items with a smaller share all stay; 0 keeps everything.

    Returns
    -------
    numpy.ndarray of float, shape (n_items,)
        Probabilities.
    """
    if threshold < 0:
        raise ValueError("the threshold of subsampling must not be negative")
    if threshold == 0:
        return np.ones(len(counts))
    share = np.maximum(counts, 1) / max(np.sum(counts), 1)
    return np.minimum(1, np.sqrt(threshold / share) + threshold / share)


def subsample(
    sequences: Sequence[np.ndarray],
    counts: np.ndarray,
    threshold: float,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Leave out frequent items at random, before windows are laid.

    Parameters
    ----------
    sequences : sequence of numpy.ndarray of int
        Ids of items.
    counts, threshold
        As of `keep_probability`.
    rng : numpy.random.Generator
        Draws a number an item.

    Returns
    -------
    list of numpy.ndarray
        The sequences, shorter.
    """
    keep = keep_probability(counts, threshold)
    return [row[rng.random(len(row)) < keep[row]] for row in sequences]


def noise_distribution(counts: np.ndarray, power: float = 0.75) -> np.ndarray:
    """Tell how likely each item is drawn as a negative.

    Parameters
    ----------
    counts : numpy.ndarray of int, shape (n_items,)
        How often each item stands in the sequences.
    power : float
        1 draws items as often as they occur, 0 all equally often.

    Returns
    -------
    numpy.ndarray of float, shape (n_items,)
        Probabilities; 0 for an item that never occurs.
    """
    weights = np.where(np.asarray(counts) > 0, np.power(counts, float(power)), 0.0)
    if not weights.sum() > 0:
        raise ValueError("no item occurs: there is nothing to draw negatives from")
    return weights / weights.sum()


def train_skip_gram(
    sequences: Sequence[np.ndarray],
    n_items: int,
    *,
    dimensions: int = 100,
    seed: int = 0,
    **settings: Any,
) -> np.ndarray:
    """Train vectors of items that stand in sequences.

    Parameters
    ----------
    sequences : sequence of numpy.ndarray of int
        Ids from 0 to n_items - 1; no window crosses from one to the next.
    n_items : int
        Rows of the table.
    dimensions : int
        Columns of the table.
    seed : int
        Of the first numbers and of everything drawn.
    **settings
        As of `fit_skip_gram`: window, n_negatives, epochs, subsample, power, rate,
        report.

    Returns
    -------
    numpy.ndarray of float32, shape (n_items, dimensions)
        The items' vectors as centres. One that never occurs keeps its first, random
        numbers.
    """
    model = SkipGram(n_items, dimensions, seed)
    fit_skip_gram(model, sequences, seed=seed, **settings)
    return model.centers.weight.detach().numpy()


def fit_skip_gram(
    model: SkipGram,
    sequences: Sequence[np.ndarray],
    *,
    window: int = 5,
    n_negatives: int = 5,
    epochs: int = 5,
    subsample: float = 1e-3,
    power: float = 0.75,
    rate: float = 0.025,
    seed: int = 0,
    report: Report | None = None,
) -> int:
    """Train the two tables of a model in place, by stochastic gradient descent.

    The expected update is word2vec's. What differs is the order of the sums: the
    tokens of a block share their negatives, whose gradients are scaled to `n_negatives`
    a pair, and an update adds up the gradients of `BLOCKS` blocks. Where many of them
    fall on one row, the step is shortened (see `_Step.go`): the sum would overshoot.

    Parameters
    ----------
    model : SkipGram
        Its two tables.
    sequences : sequence of numpy.ndarray of int
        Ids of the model's items; no window crosses from one to the next.
    window : int
        The largest reach, see `skip_gram_pairs`.
    n_negatives : int
        Negatives a pair.
    epochs : int
        Passes over the sequences, each with other reaches, negatives and left-outs.
    subsample : float
        Threshold of `subsample`; 0 keeps everything.
    power : float
        Of the noise distribution.
    rate : float
        Learning rate a pair; it falls in a line to a 250th.
    seed : int
        Of everything drawn.
    report : callable, optional
        Called after each epoch with its number, from 1, and its loss in nats a pair.

    Returns
    -------
    int
        Pairs trained on, all epochs together.

    Raises
    ------
    ValueError
        When a setting or an id is out of range, no item occurs, or training diverges.
    """
    tables = model.centers.weight.detach(), model.contexts.weight.detach()
    items, where = _flat(sequences)
    if len(items) and not 0 <= items.min() <= items.max() < len(tables[0]):
        raise ValueError(f"ids must lie between 0 and {len(tables[0]) - 1}")
    counts = np.bincount(items, minlength=len(tables[0]))
    noise = np.cumsum(noise_distribution(counts, power))
    keep = keep_probability(counts, subsample)
    rng = np.random.default_rng(seed)
    n_pairs = 0
    for epoch in range(epochs):
        kept = rng.random(len(items)) < keep[items]
        blocks = _Blocks(items[kept], where[kept], _window(window), rng)
        losses = []
        updates = blocks.shuffled(rng)
        for number, rows in enumerate(updates):
            done = (epoch + number / len(updates)) / epochs
            drawn = np.searchsorted(noise, rng.random((len(rows), BLOCK)) * noise[-1])
            step = _Step(tables, blocks.take(rows), torch.from_numpy(drawn))
            n_pairs += step.n_pairs
            step.go(rate * (1 - 0.996 * done), n_negatives)
            if number % 16 == 0 and step.n_pairs:
                losses.append(step.loss(n_negatives))
        loss = float(np.mean(losses)) if losses else 0.0
        if not np.isfinite(loss):
            raise ValueError(f"training diverged with rate {rate}; choose a lower one")
        if report is not None:
            report(epoch + 1, loss)
    return n_pairs


class _Blocks:
    """Tokens in blocks of equal length, each with what its windows may reach.

    A block's band is the block and `window` places on both sides.
    """

    def __init__(
        self,
        items: np.ndarray,
        where: np.ndarray,
        window: int,
        rng: np.random.Generator,
    ) -> None:
        reach = rng.integers(1, window + 1, len(items))
        missing = -len(items) % BLOCK if len(items) else BLOCK
        around = (window, window + missing)
        padded = torch.from_numpy(np.pad(items, around))
        places = torch.from_numpy(np.pad(where, around, constant_values=-1))
        self.items = padded.unfold(0, BLOCK + 2 * window, BLOCK)
        self.places = places.unfold(0, BLOCK + 2 * window, BLOCK)
        # A reach of -1 keeps padding from being a centre.
        padded_reach = np.pad(reach, (0, missing), constant_values=-1)
        self.reach = torch.from_numpy(padded_reach).reshape(-1, BLOCK)
        self.inner = slice(window, window + BLOCK)
        band = torch.arange(BLOCK + 2 * window) - window
        apart = (band - torch.arange(BLOCK)[:, None]).abs()
        apart[apart == 0] = window + 1  # no item is its own context
        self.apart = apart

    def shuffled(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Numbers of blocks for each update."""
        order = rng.permutation(len(self.items))
        return [order[i : i + BLOCKS] for i in range(0, len(order), BLOCKS)]

    def take(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids of some blocks, of their bands, and which pairs of them are true."""
        chosen = torch.from_numpy(rows)
        band, places = self.items[chosen], self.places[chosen]
        true = self.apart <= self.reach[chosen][:, :, None]
        true &= places[:, self.inner, None] == places[:, None, :]
        return band[:, self.inner], band, true


class _Step:
    """One update: scores of all centres of the blocks, and their gradients."""

    def __init__(
        self,
        tables: tuple[torch.Tensor, torch.Tensor],
        taken: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        negatives: torch.Tensor,
    ) -> None:
        self.tables = centers, contexts = tables
        items, band, true = taken
        self.true = true.float()
        self.pairs_of = self.true.sum(dim=2, keepdim=True)
        self.n_pairs = int(self.pairs_of.sum())
        self.rows = items.reshape(-1), torch.cat([band, negatives], 1).reshape(-1)
        blocks, self.length = len(items), band.shape[1]
        self.center = centers.index_select(0, self.rows[0]).view(blocks, BLOCK, -1)
        self.context = contexts.index_select(0, self.rows[1]).view(
            blocks, -1, contexts.shape[1]
        )
        self.scores = torch.bmm(self.center, self.context.mT)

    def go(self, rate: float, n_negatives: int) -> None:
        """Add the gradients to the tables.

        A row with gradients of n pairs moves by rate / (1 + DAMPING * rate * n) times
        their sum: nearly all of it for few pairs, and never farther than ten times
        their mean.
        """
        weight = torch.empty_like(self.scores)
        weight[:, :, : self.length] = self.true
        weight[:, :, self.length :] = self.pairs_of * (n_negatives / BLOCK)
        slope = torch.sigmoid(self.scores)
        slope[:, :, : self.length] -= 1
        slope *= weight
        for table, rows, total, change in (
            (*self.of(0), weight.sum(2), torch.bmm(slope, self.context)),
            (*self.of(1), weight.sum(1), torch.bmm(slope.mT, self.center)),
        ):
            pairs = table.new_zeros(len(table)).index_add_(0, rows, total.reshape(-1))
            steps = -rate / (1 + DAMPING * rate * pairs.index_select(0, rows))
            change = change.view(len(rows), -1) * steps[:, None]
            # Twice as fast here as index_add_, which does the same.
            table.scatter_add_(0, rows[:, None].expand_as(change), change)

    def of(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Give a table and the rows of it that the blocks hold."""
        return self.tables[number], self.rows[number]

    def loss(self, n_negatives: int) -> float:
        """Nats a pair, before the update."""
        softplus = nn.functional.softplus
        true = softplus(-self.scores[:, :, : self.length]) * self.true
        noise = softplus(self.scores[:, :, self.length :]) * self.pairs_of
        total = true.sum() + noise.sum() * (n_negatives / BLOCK)
        return float(total) / self.n_pairs


def _window(window: int) -> int:
    if window < 1:
        raise ValueError("window must be at least 1")
    return window


def _flat(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All ids in a row, and the number of the sequence that each stands in."""
    lengths = [len(row) for row in sequences]
    items = np.concatenate([*map(np.asarray, sequences), np.zeros(0, int)])
    return items.astype(np.int64), np.repeat(np.arange(len(lengths)), lengths)
