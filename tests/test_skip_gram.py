"""Skip-gram with negative sampling: the same numbers as a loop over pairs gives."""

from __future__ import annotations

from collections import Counter

from course_utils import skip_gram
from course_utils.skip_gram import (
    SkipGram,
    fit_skip_gram,
    keep_probability,
    noise_distribution,
    skip_gram_pairs,
    subsample,
    train_skip_gram,
)

import numpy as np
import pytest
import torch


def _sequences(n=40, seed=0):
    """Two groups of items that never meet, in sequences of several lengths."""
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 10, rng.integers(1, 30)) + 10 * (row % 2) for row in range(n)
    ]


def _pairs_by_loops(sequences, window, rng):
    reaches = rng.integers(1, window + 1, sum(map(len, sequences)))
    pairs, token = Counter(), 0
    for row in sequences:
        for place, center in enumerate(row):
            for other in range(len(row)):
                if 0 < abs(other - place) <= reaches[token]:
                    pairs[int(center), int(row[other])] += 1
            token += 1
    return pairs


@pytest.mark.parametrize("window", [1, 3, 40])
def test_pairs_are_those_of_loops_over_the_items(window):
    rows = _sequences()
    pairs = skip_gram_pairs(rows, window, np.random.default_rng(3))
    expected = _pairs_by_loops(rows, window, np.random.default_rng(3))
    assert Counter(zip(*(side.tolist() for side in pairs), strict=True)) == expected


def test_no_items_give_no_pairs():
    for rows in ([], [np.zeros(0, int)], [np.array([7])]):
        centers, contexts = skip_gram_pairs(rows, 2, np.random.default_rng(0))
        assert len(centers) == len(contexts) == 0


def test_blocks_hold_the_pairs_that_windows_give():
    rows = _sequences()
    items, where = skip_gram._flat(rows)
    blocks = skip_gram._Blocks(items, where, 4, np.random.default_rng(5))
    found = Counter()
    for numbers in blocks.shuffled(np.random.default_rng(6)):
        centers, band, true = blocks.take(numbers)
        block, center, context = torch.nonzero(true, as_tuple=True)
        ids = centers[block, center].tolist(), band[block, context].tolist()
        found.update(zip(*ids, strict=True))
    assert found == _pairs_by_loops(rows, 4, np.random.default_rng(5))


def test_an_update_is_the_gradient_of_the_loss_over_pairs():
    rows, k, rate = _sequences(6), 3, 0.1
    items, where = skip_gram._flat(rows)
    blocks = skip_gram._Blocks(items, where, 2, np.random.default_rng(0))
    given = blocks.take(np.arange(len(blocks.items)))
    model = SkipGram(20, 8, seed=1).double()
    torch.nn.init.normal_(model.contexts.weight, generator=torch.Generator())
    negatives = torch.randint(0, 20, (len(given[0]), skip_gram.BLOCK))

    centers, band, true = given
    block, center, context = torch.nonzero(true, as_tuple=True)
    # Every pair gets all of its block's negatives; k of them are expected.
    pair = model.centers(centers[block, center])
    dots = (pair * model.contexts(band[block, context])).sum(1)
    noise = torch.einsum("nd,nkd->nk", pair, model.contexts(negatives[block]))
    softplus = torch.nn.functional.softplus
    loss = softplus(-dots).sum() + softplus(noise).sum() * k / skip_gram.BLOCK
    loss.backward()
    pairs = [
        torch.bincount(centers[block, center], minlength=20) * (1 + k),
        torch.bincount(band[block, context], minlength=20)
        + sum(
            torch.bincount(negatives[b], minlength=20) * k / skip_gram.BLOCK
            for b in block
        ),
    ]
    expected = [
        t.weight - rate / (1 + skip_gram.DAMPING * rate * n[:, None]) * t.weight.grad
        for t, n in zip(model.children(), pairs, strict=True)
    ]

    tables = tuple(table.weight.detach() for table in model.children())
    step = skip_gram._Step(tables, given, negatives)
    step.true, step.pairs_of = step.true.double(), step.pairs_of.double()
    assert step.loss(k) == pytest.approx(float(loss.detach()) / len(dots))
    step.go(rate, k)
    for table, wanted in zip(tables, expected, strict=True):
        torch.testing.assert_close(table, wanted.detach())


def test_loss_adds_true_contexts_and_noise():
    model = SkipGram(5, 4)
    ids = torch.tensor([1, 2, 3])
    loss = model.loss(ids, ids, torch.zeros(3, 6, dtype=torch.long))
    assert float(loss.detach()) == pytest.approx(
        7 * np.log(2)
    )  # contexts start at zero


def test_frequent_items_are_left_out_more_often():
    counts = np.array([90_000, 9_000, 1_000, 0])
    keep = keep_probability(counts, 0.01)
    assert keep[2] == keep[3] == 1 and keep[0] < keep[1] <= 1
    assert keep[0] == pytest.approx(np.sqrt(0.01 / 0.9) + 0.01 / 0.9)
    assert (keep_probability(counts, 0) == 1).all()
    rows = [np.zeros(20_000, int), np.full(50, 2)]
    left = subsample(rows, counts, 0.01, np.random.default_rng(0))
    assert len(left[0]) / 20_000 == pytest.approx(keep[0], abs=0.01)
    assert len(left[1]) == 50


def test_noise_draws_rare_items_more_often_than_they_occur():
    noise = noise_distribution(np.array([16, 1, 0]))
    np.testing.assert_allclose(noise, [8 / 9, 1 / 9, 0])
    np.testing.assert_allclose(
        noise_distribution(np.array([3, 1, 0]), 0), [0.5, 0.5, 0]
    )


def test_items_that_meet_end_near_each_other():
    report = []
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 50, 20) + 50 * (row % 2) for row in range(400)]
    table = train_skip_gram(
        rows,
        101,
        dimensions=8,
        epochs=20,
        subsample=0,
        report=lambda *line: report.append(line),
    )
    unit = table[:100] / np.linalg.norm(table[:100], axis=1, keepdims=True)
    near = unit @ unit.T
    assert table.shape == (101, 8) and table.dtype == np.float32
    assert near[:50, :50].mean() > near[:50, 50:].mean() + 0.5
    assert [line[0] for line in report] == list(range(1, 21))
    assert report[-1][1] < report[0][1]


def test_diverged_training_is_named():
    model = SkipGram(20, 4)
    torch.nn.init.constant_(model.centers.weight, float("inf"))
    with pytest.raises(ValueError, match="diverged with rate 0.5; choose a lower"):
        fit_skip_gram(model, _sequences(), epochs=1, rate=0.5)


def test_a_seed_gives_the_same_table_again():
    one, again, other = (
        train_skip_gram(_sequences(), 20, dimensions=4, epochs=2, seed=seed)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again) and not np.allclose(one, other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"window": 0}, "window"),
        ({"subsample": -1}, "threshold"),
        ({"n_items": 5}, "ids must lie between 0 and 4"),
        ({"n_items": 0}, "at least 1"),
        ({"sequences": []}, "no item occurs"),
    ],
)
def test_bad_settings_are_named(change, words):
    given = {"sequences": _sequences(), "n_items": 20, "dimensions": 4} | change
    with pytest.raises(ValueError, match=words):
        train_skip_gram(**given)


def test_nothing_left_after_subsampling_changes_nothing():
    model = SkipGram(2, 4)
    before = model.centers.weight.detach().clone()
    rows = [np.array([0, 0, 0])]
    n_pairs = fit_skip_gram(model, rows, subsample=1e-12, epochs=1)
    assert n_pairs == 0 and torch.equal(before, model.centers.weight.detach())
