"""Answers to the exercises of lesson 09."""

from __future__ import annotations

from tests.answers import Answers

import numpy as np
import pandas as pd
import torch
from torch import nn


def pairs_by_offsets(ids, reach):
    centers, contexts = [ids[:0]], [ids[:0]]
    for offset in range(1, len(ids)):
        for one, other in (
            (slice(offset, None), slice(-offset)),
            (slice(-offset), slice(offset, None)),
        ):
            near = reach[one] >= offset
            centers.append(ids[one][near])
            contexts.append(ids[other][near])
    return np.concatenate(centers), np.concatenate(contexts)


def pairs_by_a_grid(ids, reach):
    gap = np.abs(np.subtract.outer(np.arange(len(ids)), np.arange(len(ids))))
    center, context = np.nonzero((gap > 0) & (gap <= reach[:, None]))
    return ids[center].tolist(), ids[context].tolist()


def keep_by_loop(counts, threshold):
    kept = []
    for count in counts:
        share = count / np.sum(counts)
        kept.append(1.0 if share <= threshold else (threshold / share) ** 0.5)
        kept[-1] = min(1, (threshold / share) ** 0.5 + threshold / share)
    return kept


def keep_by_torch(counts, threshold):
    share = torch.tensor(counts) / int(counts.sum())
    return ((share / threshold).sqrt() + 1).mul(threshold / share).clamp(max=1)


def gradients_by_torch(center, context, negatives):
    parts = [torch.tensor(x, requires_grad=True) for x in (center, context, negatives)]
    scores = torch.cat([parts[1][None], parts[2]]) @ parts[0]
    labels = torch.zeros(len(scores), dtype=scores.dtype)
    labels[0] = 1
    loss = nn.functional.binary_cross_entropy_with_logits(
        scores, labels, reduction="sum"
    )
    return torch.autograd.grad(loss, parts)


def gradients_stacked(center, context, negatives):
    outputs = np.vstack([context, negatives])
    error = 1 / (1 + np.exp(-outputs @ center))
    error[0] -= 1
    by_output = np.outer(error, center)
    return [error @ outputs, by_output[0], by_output[1:]]


def trained(
    model,
    centers,
    contexts,
    noise,
    n_negatives,
    epochs,
    rate,
    seed,
    draw=None,
    batch=1_024,
    order=None,
    adams=1,
    least=1,
):
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0)
    for _ in range(epochs):
        for _ in range(adams - 1):
            optimiser = torch.optim.Adam(model.parameters(), lr=rate)
        rows_of = order or torch.randperm
        for rows in rows_of(len(centers), generator=generator).split(batch):
            if len(rows) < least:
                continue
            drawn = (draw or by_noise)(len(rows), n_negatives, noise, generator)
            optimiser.zero_grad()
            model.loss(centers[rows], contexts[rows], drawn).backward()
            optimiser.step()


def with_one_table(model, centers, contexts, noise, n_negatives, *others):
    """Draw negatives of all pairs once, and give each pair the same ones again."""
    table = by_noise(len(centers), n_negatives, noise, torch.Generator())
    order = []

    def rows_of(n, generator):
        order[:] = [torch.randperm(n, generator=generator)]
        order.append(iter(order[0].split(1_024)))
        return order[0]

    trained(
        model,
        centers,
        contexts,
        noise,
        n_negatives,
        *others,
        order=rows_of,
        draw=lambda *_: table[next(order[1])],
    )


def by_noise(n, k, noise, generator):
    return torch.multinomial(noise, n * k, True, generator=generator).view(n, k)


def by_hand(model, centers, contexts, noise, n_negatives, epochs, rate, seed):
    """Stochastic gradient descent with the gradients of 9.3, without autograd."""
    rng = np.random.default_rng(seed)
    u, v = (table.weight.detach().numpy() for table in model.children())
    centers, contexts = centers.numpy(), contexts.numpy()
    chances = noise.double().numpy() / noise.double().numpy().sum()
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(centers)), len(centers) // 64):
            drawn = rng.choice(len(chances), (len(rows), n_negatives), p=chances)
            ids = np.column_stack([contexts[rows], drawn])
            here, there = u[centers[rows]], v[ids]
            error = 1 / (1 + np.exp(-np.einsum("nd,nkd->nk", here, there)))
            error[:, 0] -= 1
            np.add.at(v, ids, -0.1 * error[..., None] * here[:, None])
            change = np.einsum("nk,nkd->nd", error, there)
            np.add.at(u, centers[rows], -0.1 * change)


def without_steps(model, centers, contexts, noise, n_negatives, *_):
    negatives = by_noise(len(centers), n_negatives, noise, None)
    model.loss(centers, contexts, negatives).backward()


def that_diverges(model, *given):
    trained(model, *given)
    model.centers.weight.data.fill_(torch.nan)


def shuffled_contexts(model, centers, contexts, *given):
    trained(model, centers, contexts[torch.randperm(len(contexts))], *given)


def scores_by_loop(centers, contexts, n_met, noise, k):
    pairs = {}
    for center, met in zip(centers.tolist(), n_met.tolist(), strict=True):
        pairs[center] = pairs.get(center, 0) + met
    return [
        float(np.log(met) - np.log(pairs[center]) - np.log(noise[context]) - np.log(k))
        for center, context, met in zip(
            centers.tolist(), contexts.tolist(), n_met.tolist(), strict=True
        )
    ]


def scores_by_pandas(centers, contexts, n_met, noise, k):
    table = pd.DataFrame({"center": centers, "met": n_met})
    share = table["met"] / table.groupby("center")["met"].transform("sum")
    return np.log(share) - np.log(k * pd.Series(noise)[contexts].to_numpy())


def scores_by_newton(centers, contexts, n_met, noise, k):
    """Go down the loss itself, from 0."""
    pairs = np.zeros(len(noise))
    np.add.at(pairs, centers, n_met)
    false, score = k * pairs[centers] * noise[contexts], np.zeros(len(centers))
    for _ in range(100):
        chance = 1 / (1 + np.exp(-score))
        slope = false * chance - n_met * (1 - chance)
        step = slope / ((false + n_met) * chance * (1 - chance))
        score = score - np.clip(step, -1, 1)
    return torch.tensor(score)


WORD_COUNTS = np.array([9, 4, 7] * 8)


def scores_cell_by_cell(centers, contexts, n_met, noise, k):
    made = []
    for center, context, met in zip(centers, contexts, n_met, strict=True):
        pairs = sum(n_met[centers == center])
        made.append(np.log(met / (k * pairs * noise[context])))
    return np.array(made)


def without_by_torch(table, direction):
    unit = nn.functional.normalize(torch.tensor(direction), dim=0)
    table = torch.tensor(table)
    return table - (table @ unit)[:, None] * unit


def without_by_matrix(table, direction):
    along = np.outer(direction, direction) / (direction @ direction)
    return table @ (np.eye(len(direction)) - along)


ANSWERS = {
    "window_pairs": Answers(
        right=[pairs_by_offsets, pairs_by_a_grid],
        wrong=[
            (lambda ids, reach: pairs_by_offsets(ids, reach)[::-1], "changed places"),
            (lambda ids, reach: pairs_by_offsets(ids, reach)[0], "expected 2"),
            (lambda ids, reach: (ids, ids[:-1]), "two halves"),
            (
                lambda ids, reach: np.array(pairs_by_offsets(ids, reach), float),
                "whole numbers",
            ),
            (
                lambda ids, reach: np.transpose(
                    [*set(zip(*pairs_by_offsets(ids, reach), strict=True))]
                ),
                "do not make the pairs unique",
            ),
            (lambda ids, reach: pairs_by_offsets(ids, reach * 0 + 2), "You made"),
            (lambda ids, reach: ids[reach.max() + len(ids)], "out of bounds"),
        ],
    ),
    "keep_probability": Answers(
        right=[keep_by_loop, keep_by_torch],
        wrong=[
            (lambda counts, threshold: threshold, "shape"),
            (lambda counts, threshold: None, "return"),
        ],
    ),
    "gradients": Answers(
        right=[gradients_by_torch, gradients_stacked],
        wrong=[
            (lambda *given: gradients_stacked(*given)[:2], "I expected 3"),
            (lambda *given: gradients_stacked(*given)[0], "expected"),
            (
                lambda *given: [gradients_stacked(*given)[i] for i in (1, 0, 2)],
                "first the gradient for u",
            ),
        ],
    ),
    "train": Answers(
        right=[trained, by_hand],
        wrong=[
            (lambda *given: None, "No number of `model` has changed"),
            (without_steps, "No number of `model` has changed"),
            (that_diverges, "became nan"),
            (lambda *g: trained(*g[:5], 1, *g[6:]), "In 5 epochs"),
            (lambda *g: trained(*g[:6], 1e-5, 0), "learning rate"),
            (shuffled_contexts, "same `rows`"),
            (lambda *g: trained(*g[:4], 2, *g[5:]), "5 negatives a pair"),
            (lambda *g: trained(*g[:4], 5, *g[5:]), "3 negatives a pair"),
            (lambda m, c, x, *g: trained(m, x, c, *g), "changed places"),
            (lambda *g: trained(*g, batch=64), "64 pairs a step"),
            (lambda *g: trained(*g, batch=10**6), "BATCH at a time"),
            (lambda *g: trained(*g, least=1_024), "do not fill a batch"),
            (lambda *g: trained(*g, adams=2), "optimisers were made"),
            (with_one_table, "draw them anew"),
            (
                lambda *g: trained(*g, order=lambda n, generator: torch.arange(n)),
                "in the same order",
            ),
            (
                lambda *g: trained(
                    *g,
                    order=lambda n, generator: torch.randperm(
                        n, generator=torch.Generator().manual_seed(0)
                    ),
                ),
                "in the same order",
            ),
            (
                lambda *g: trained(
                    *g,
                    order=lambda n, generator: torch.randint(
                        n, (n,), generator=generator
                    ),
                ),
                "each pair once",
            ),
            (
                lambda *g: trained(
                    *g,
                    draw=lambda n, k, noise, gen: by_noise(
                        n, k, noise, torch.Generator().manual_seed(0)
                    ),
                ),
                "draw them anew",
            ),
            (
                lambda *g: trained(
                    *g,
                    draw=lambda n, k, noise, gen: by_noise(
                        n, k, (noise > 0).float(), gen
                    ),
                ),
                "more often than `noise` says",
            ),
            (
                lambda *g: trained(
                    *g,
                    draw=lambda n, k, noise, gen: torch.randint(
                        len(noise), (n, k), generator=gen
                    ),
                ),
                "noise probability 0",
            ),
            (
                lambda *g: trained(
                    *g, draw=lambda n, k, noise, gen: torch.arange(k).expand(n, k)
                ),
                "same negatives",
            ),
        ],
    ),
    "best_scores": Answers(
        right=[scores_by_loop, scores_by_pandas, scores_by_newton],
        wrong=[
            (scores_cell_by_cell, "three million follow"),
            (lambda *given: scores_by_pandas(*given)[:3], "shape"),
            (lambda c, x, n, noise, k: scores_by_loop(c, x, n, noise, 5), "you used 5"),
            (lambda c, x, n, noise, k: np.log(n / noise / k), "one number a word"),
            (lambda c, x, n, noise, k: np.log(n / k / WORD_COUNTS[c]), "the arguments"),
            (lambda *given: None, "return"),
        ],
    ),
    "without_direction": Answers(
        right=[without_by_torch, without_by_matrix],
        wrong=[
            (lambda table, direction: table[:, 1:], "shape"),
            (
                lambda table, direction: np.subtract(table, direction, out=table),
                "changed `table`",
            ),
        ],
    ),
}
