"""Answers to the exercises of lesson 06."""

from __future__ import annotations

import copy
from collections import Counter

from tests.answers import Answers

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn


def by_lists(names, index):
    rows = [[1, *(index.get(s, 3) for s in name.casefold()), 2] for name in names]
    lengths = [len(row) for row in rows]
    return [row + [0] * (max(lengths) - len(row)) for row in rows], lengths


def by_tensors(names, index):
    ids, lengths = by_lists(names, index)
    return [torch.tensor(ids).float(), torch.tensor(lengths, dtype=torch.int32)]


def by_gather(states, lengths):
    where = (lengths - 1).view(-1, 1, 1).expand(-1, 1, states.shape[2])
    return states.gather(1, where).squeeze(1)


def by_stack(states, lengths):
    return torch.stack([row[n - 1] for row, n in zip(states, lengths, strict=True)])


def tests_by_numpy(get_vectors, net, plain, ids):
    changed = copy.deepcopy(net)
    nn.init.zeros_(changed.conv.weight)
    wider = torch.cat([ids, torch.zeros(len(ids), 7, dtype=ids.dtype)], dim=1)
    first, other, more = (
        np.array(get_vectors(network, rows).tolist())
        for network, rows in ((net, ids), (changed, ids), (net, wider))
    )
    try:
        get_vectors(plain, ids)
        needs = False
    except AttributeError:
        needs = True
    return {
        "needs a convolution": needs,
        "reads the padding": np.abs(first - more).max() > 1e-4,
        "ignores the convolution": np.abs(first - other).max() < 1e-4,
    }


def tests_by_restoring(get_vectors, net, plain, ids):
    kept, before = net.conv.weight.detach().clone(), get_vectors(net, ids)
    net.conv.weight.data.mul_(2)
    after = get_vectors(net, ids)
    net.conv.weight.data.copy_(kept)
    found = tests_by_numpy(get_vectors, net, plain, ids)
    return found | {"ignores the convolution": torch.equal(before, after)}


def net_spoilt(get_vectors, net, plain, ids):
    found = tests_by_numpy(get_vectors, net, plain, ids)
    nn.init.zeros_(net.conv.weight)
    return found


def one_by_one(net, ids, lengths=None):
    vectors = []
    for row in ids:
        x = net.emb(row[row > 0]).unsqueeze(0)
        if getattr(net, "conv", None) is not None:
            x = net.conv(x.transpose(1, 2)).relu().transpose(1, 2)
        vectors.append(net.rnn(x)[0, -1])
    return torch.stack(vectors)


def by_hook(net, ids, lengths=None):
    lengths, kept = ids.ne(0).sum(1), []
    hook = net.rnn.register_forward_hook(lambda layer, given, made: kept.append(made))
    net.eval()(ids, lengths)
    hook.remove()
    return by_gather(kept[0], lengths)


def vote_by_counter(neighbor_labels, n_labels):
    return [Counter(row.tolist()).most_common(1)[0][0] for row in neighbor_labels]


def the_highest_of_a_tie(neighbor_labels, n_labels):
    votes = (neighbor_labels[:, :, None] == np.arange(n_labels)).sum(axis=1)
    return n_labels - 1 - votes[:, ::-1].argmax(axis=1).astype(float)


def ranks(*tables):
    return sum(table.argsort(axis=1).argsort(axis=1) ** 2 for table in tables)


def logarithms(softmax, votes, margins):
    scaled = margins / margins.std(axis=1, keepdims=True)
    return torch.tensor(2 * np.log(softmax + 1e-3) + np.log(votes + 1e-3) + scaled)


def three_opinions():
    """Three tables that err in different places, and the true labels."""
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 5, 600)
    odds = np.exp(1.4 * np.eye(5)[labels] + rng.normal(size=(3, 600, 5)))
    softmax, votes, _ = odds / odds.sum(axis=2, keepdims=True)
    return (softmax, votes, 40 * np.log(odds[2])), labels


OPINIONS, TRUTH = three_opinions()
STACKED = LogisticRegression(max_iter=500).fit(np.hstack(OPINIONS), TRUTH)


def blended(function):
    return function, OPINIONS, TRUTH


def with_gather(function):
    """Give the lesson's solution the other exercise's function that it calls."""
    function.__globals__.setdefault("column_gather", by_gather)
    return (function,)


ANSWERS = {
    "vectorise": Answers(
        right=[by_lists, by_tensors],
        wrong=[
            (lambda *given: np.array(by_lists(*given)[0]), "I expected 2"),
            (lambda names, index: by_lists([*names, "Abc"], index), "a column each"),
            (lambda *given: (by_lists(*given)[0], [8, 8, 8, 8]), "row with its zeros"),
            (lambda *given: [np.array(x, float) for x in by_lists(*given)], "whole"),
            (lambda names, index: by_lists(names or [""], index), "is an array here"),
            (lambda n, index: n.sort() or by_lists(n, index), "changed `n` itself"),
        ],
    ),
    "column_gather": Answers(
        right=[by_gather, by_stack],
        wrong=[
            (lambda *given: list(by_stack(*given)), "torch.stack"),
            (lambda *given: by_stack(*given).detach(), "lost track"),
            (lambda s, n: by_stack(s, n.sub_(1).add(1)), "changed `n` itself"),
        ],
    ),
    "find_faults": Answers(
        right=[tests_by_numpy, tests_by_restoring],
        wrong=[
            (lambda *given: dict.fromkeys(tests_by_numpy(*given), True), "same of six"),
            (lambda *g: {**tests_by_numpy(*g), "needs a convolution": 0}, "plain, ids"),
            (lambda get, net, *_: net.conv.weight.zero_(), "leaf Variable"),
            (net_spoilt, "changed `net` itself"),
            (lambda *given: list(tests_by_numpy(*given)), "expected a dict"),
            (lambda *given: {"convolution": True}, "keys of your dict"),
        ],
    ),
    "get_penultimate": Answers(
        right=[one_by_one, by_hook],
        wrong=[
            (lambda net, *more: [net.conv, one_by_one(net, *more)][1], "without conv"),
            (lambda net, *given: net.drop(one_by_one(net, *given)), "leave dropout"),
            (lambda *given: one_by_one(*given).numpy(), "Return a tensor"),
            (lambda *given: (one_by_one(*given), given[1]), "one array"),
            (lambda *given: -one_by_one(*given), "forward's `vectors`"),
        ],
        solution=with_gather,
    ),
    "vote": Answers(
        right=[
            lambda *given: torch.tensor(vote_by_counter(*given)),
            the_highest_of_a_tie,
        ],
        wrong=[
            (lambda rows, n: rows.sort() or vote_by_counter(rows, n), "changed `rows`")
        ],
    ),
    "blend": Answers(
        right=[blended(ranks), blended(logarithms)],
        wrong=[
            (blended(answer), words)
            for answer, words in (
                (lambda *tables: sum(tables), "drown"),
                (lambda *tables: tables[0], "network alone"),
                (lambda *tables: tables[1], "neighbours alone"),
                (lambda *tables: sum(tables).argmax(axis=1), "one a nationality"),
                (lambda *tables: ranks(*tables).argsort(axis=0), "asked beside"),
                (lambda *tables: np.exp(99 * tables[2]), "not finite"),
                (lambda s, v, m: ranks(s, v, np.exp(m, out=m)), "changed `m` itself"),
                (lambda *t: STACKED.predict_proba(np.hstack(t)), "`STACKED`, which"),
                (
                    lambda *t, learned=STACKED.coef_.T: np.hstack(t) @ learned,
                    "a default",
                ),
                (lambda *tables: np.eye(5)[TRUTH], "reads `TRUTH`"),
            )
        ],
        solution=blended,
    ),
}
