"""Answers to the exercises of lesson 06."""

from __future__ import annotations

import copy
from collections import Counter

from tests.answers import Answers

import numpy as np
import torch
from torch import nn


def by_lists(names, index):
    longest = max(map(len, names)) + 2
    ids = []
    for name in names:
        row = [1] + [index[s] if s in index else 3 for s in name.casefold()] + [2]
        ids.append(row + [0] * (longest - len(row)))
    return ids, [len(name) + 2 for name in names]


def by_tensors(names, index):
    ids, lengths = by_lists(names, index)
    return [torch.tensor(ids), torch.tensor(lengths, dtype=torch.int32)]


def ragged(names, index):
    rows = [[1, *(index.get(s, 3) for s in name.lower()), 2] for name in names]
    return rows, [len(row) for row in rows]


def capitals_kept(names, index):
    rows = [[1, *(index.get(s, 3) for s in name), 2] for name in names]
    longest = max(map(len, rows))
    return [r + [0] * (longest - len(r)) for r in rows], [len(r) for r in rows]


def zeros_in_front(names, index):
    ids, lengths = map(np.array, by_lists(names, index))
    for row, n in zip(ids, lengths, strict=True):
        row[:] = np.roll(row, len(row) - n)
    return ids, lengths


def letters_counted(names, index):
    ids, lengths = by_lists(names, index)
    return ids, np.array(lengths) - 2


def float_lengths(names, index):
    ids, lengths = by_lists(names, index)
    return ids, np.array(lengths, float)


def only_ids(names, index):
    return np.array(by_lists(names, index)[0])


def no_begin_or_end(names, index):
    ids, lengths = map(np.array, by_lists(names, index))
    return ids[:, 1:-1], lengths


def begin_and_end_swapped(names, index):
    ids, lengths = map(np.array, by_lists(names, index))
    return np.where(ids == 1, 2, np.where(ids == 2, 1, ids)), lengths


def unknown_left_out(names, index):
    ids, lengths = map(np.array, by_lists(names, index))
    made = np.zeros_like(ids)
    for line, row in zip(made, ids, strict=True):
        kept = row[(row != 3) & (row != 0)]
        line[: len(kept)] = kept
    return made, (made > 0).sum(axis=1)


def width_as_length(names, index):
    ids, lengths = map(np.array, by_lists(names, index))
    return ids, np.full(len(names), ids.shape[1])


def by_gather(states, lengths):
    where = (lengths - 1).view(-1, 1, 1).expand(-1, 1, states.shape[2])
    return states.gather(1, where).squeeze(1)


def by_stack(states, lengths):
    return torch.stack([row[n - 1] for row, n in zip(states, lengths, strict=True)])


def by_list(states, lengths):
    return [row[int(n) - 1] for row, n in zip(states, lengths, strict=True)]


def one_behind_the_end(states, lengths):
    return states[torch.arange(len(states)), lengths]


def last_column(states, lengths):
    return states[:, -1, :]


def one_too_far(states, lengths):
    return states[
        torch.arange(len(states)), torch.clamp(lengths, max=states.shape[1] - 1)
    ]


def all_lengths_for_all(states, lengths):
    return states[:, lengths - 1]


def mean_of_real(states, lengths):
    return torch.stack(
        [row[:n].mean(dim=0) for row, n in zip(states, lengths, strict=True)]
    )


def detached(states, lengths):
    return by_stack(states, lengths).detach()


def axis_kept(states, lengths):
    return by_stack(states, lengths).unsqueeze(1)


def tests_by_numpy(get_vectors, net, plain, ids):
    def vectors(network, rows):
        with torch.no_grad():
            return np.asarray(get_vectors(network, rows).tolist())

    changed = copy.deepcopy(net)
    nn.init.zeros_(changed.conv.weight)
    wider = torch.cat([ids, torch.zeros(len(ids), 7, dtype=ids.dtype)], dim=1)
    first = vectors(net, ids)
    try:
        vectors(plain, ids)
    except AttributeError:
        needs = True
    else:
        needs = False
    return {
        "needs a convolution": np.bool_(needs),
        "reads the padding": np.abs(first - vectors(net, wider)).max() > 1e-4,
        "ignores the convolution": np.abs(first - vectors(changed, ids)).max() < 1e-4,
    }


def tests_by_restoring(get_vectors, net, plain, ids):
    found = tests_by_numpy(get_vectors, net, plain, ids)
    kept = net.conv.weight.detach().clone()
    with torch.no_grad():
        net.conv.weight.mul_(2)
        net.conv.weight.copy_(kept)
    return {fault: bool(value) for fault, value in found.items()}


def shapes_only(get_vectors, net, plain, ids):
    shape = get_vectors(net, ids).shape
    wider = nn.functional.pad(ids, (0, 3))
    return {
        "ignores the convolution": shape[0] != len(ids),
        "reads the padding": get_vectors(net, wider).shape != shape,
        "needs a convolution": False,
    }


def upside_down(get_vectors, net, plain, ids):
    found = tests_by_numpy(get_vectors, net, plain, ids)
    return {fault: not value for fault, value in found.items()}


def always_all_three(get_vectors, net, plain, ids):
    return dict.fromkeys(tests_by_numpy(get_vectors, net, plain, ids), True)


def padding_overlooked(get_vectors, net, plain, ids):
    found = tests_by_numpy(get_vectors, net, plain, ids)
    return found | {"reads the padding": False}


def net_spoilt(get_vectors, net, plain, ids):
    found = tests_by_numpy(get_vectors, net, plain, ids)
    with torch.no_grad():
        net.conv.weight.zero_()
    return found


def a_list(get_vectors, net, plain, ids):
    return list(tests_by_numpy(get_vectors, net, plain, ids).values())


def other_keys(get_vectors, net, plain, ids):
    return {"convolution": True, "padding": True, "needs": True}


def one_by_one(net, ids, lengths=None):
    vectors = []
    for row in ids:
        x = net.emb(row[row > 0]).unsqueeze(0)
        if getattr(net, "conv", None) is not None:
            x = net.conv(x.transpose(1, 2)).relu().transpose(1, 2)
        vectors.append(net.rnn(x)[0, -1])
    return torch.stack(vectors)


def by_children(net, ids, lengths=None):
    real = ids.ne(0)
    x = net.emb(ids)
    if "conv" in dict(net.named_children()):
        x = net.conv(x.permute(0, 2, 1)).permute(0, 2, 1).clamp(min=0)
    states = net.rnn(x * real[..., None], real.sum(1))
    return by_gather(states, real.sum(1))


def as_numpy(net, ids, lengths=None):
    return by_children(net, ids).numpy()


def dropout_left_in(net, ids, lengths=None):
    return net.drop(by_children(net, ids))


def the_suggested(net, ids, lengths=None):
    x = net.emb(ids)
    net.conv(x.permute(0, 2, 1)).permute(0, 2, 1)
    states = net.rnn(x)
    return states[:, -1] if lengths is None else by_gather(states, lengths)


def triples_of(net, ids, relu=True):
    x = net.emb(ids)
    if hasattr(net, "conv"):
        x = net.conv(x.permute(0, 2, 1)).permute(0, 2, 1)
        x = (x.relu() if relu else x) * (ids != 0).unsqueeze(-1)
    return x


def conv_forgotten(net, ids, lengths=None):
    lengths = (ids > 0).sum(1)
    return by_gather(net.rnn(net.emb(ids), lengths), lengths)


def padding_read(net, ids, lengths=None):
    if lengths is None:
        return net.rnn(triples_of(net, ids))[:, -1]
    return by_gather(net.rnn(triples_of(net, ids), lengths), lengths)


def rnn_not_told(net, ids, lengths=None):
    return by_gather(net.rnn(triples_of(net, ids)), (ids > 0).sum(1))


def conv_always(net, ids, lengths=None):
    x = net.conv(net.emb(ids).permute(0, 2, 1)).permute(0, 2, 1).relu()
    lengths = (ids > 0).sum(1)
    return by_gather(net.rnn(x, lengths), lengths)


def no_relu(net, ids, lengths=None):
    lengths = (ids > 0).sum(1)
    return by_gather(net.rnn(triples_of(net, ids, relu=False), lengths), lengths)


def through_fc(net, ids, lengths=None):
    return net.fc(one_by_one(net, ids, lengths))


def a_tuple(net, ids, lengths=None):
    return one_by_one(net, ids), lengths


def all_states(net, ids, lengths=None):
    return net.rnn(net.emb(ids))


def vote_by_counter(neighbor_labels, n_labels):
    return [Counter(row.tolist()).most_common(1)[0][0] for row in neighbor_labels]


def vote_all_at_once(neighbor_labels, n_labels):
    votes = (neighbor_labels[:, :, None] == np.arange(n_labels)).sum(axis=1)
    return votes.shape[1] - 1 - votes[:, ::-1].argmax(axis=1).astype(float)


def nearest_only(neighbor_labels, n_labels):
    return neighbor_labels[:, 0]


def mean_label(neighbor_labels, n_labels):
    return np.round(neighbor_labels.mean(axis=1))


def number_of_votes(neighbor_labels, n_labels):
    return [np.bincount(row).max() for row in neighbor_labels]


def down_the_columns(neighbor_labels, n_labels):
    return [np.bincount(row).argmax() for row in neighbor_labels.T]


def votes_not_label(neighbor_labels, n_labels):
    return [np.bincount(row, minlength=n_labels) for row in neighbor_labels]


def three_opinions():
    """Three tables that err in different places, and the true labels."""
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 5, 600)
    truth = np.eye(5)[labels]
    softmax, votes = (
        np.exp(1.4 * truth + rng.normal(size=truth.shape)) for _ in range(2)
    )
    softmax /= softmax.sum(axis=1, keepdims=True)
    votes /= votes.sum(axis=1, keepdims=True)
    margins = 40 * (truth - 0.8 + 0.7 * rng.normal(size=truth.shape))
    return (softmax, votes, margins), labels


def with_gather(function):
    """Give the lesson's solution the other exercise's function that it calls."""
    function.__globals__.setdefault("column_gather", by_gather)
    return (function,)


OPINIONS, TRUTH = three_opinions()


def ranks(softmax, votes, margins):
    tables = (softmax, votes, margins)
    return sum(table.argsort(axis=1).argsort(axis=1) ** 2 for table in tables)


def logarithms(softmax, votes, margins):
    scaled = margins / margins.std(axis=1, keepdims=True)
    return torch.tensor(2 * np.log(softmax + 1e-3) + np.log(votes + 1e-3) + scaled)


def as_they_are(softmax, votes, margins):
    return softmax + votes + margins


def network_alone(softmax, votes, margins):
    return 1.0 * softmax


def neighbours_alone(softmax, votes, margins):
    return votes


def answers_only(softmax, votes, margins):
    return (softmax + votes).argmax(axis=1)


def across_names(softmax, votes, margins):
    return softmax - 3 * softmax.mean(axis=0) * len(softmax)


def overflown(softmax, votes, margins):
    return softmax + np.exp(1000 * margins)


def blended(*functions):
    return [(function, OPINIONS, TRUTH) for function in functions]


ANSWERS = {
    "vectorise": Answers(
        right=[by_lists, by_tensors],
        wrong=[
            (ragged, "different lengths"),
            (capitals_kept, "small letters"),
            (zeros_in_front, "in front"),
            (letters_counted, "begin and end are entries"),
            (only_ids, "two things"),
            (float_lengths, "whole numbers"),
            (no_begin_or_end, "a column each"),
            (begin_and_end_swapped, "changed places"),
            (unknown_left_out, "left out"),
            (width_as_length, "row with its zeros"),
        ],
    ),
    "column_gather": Answers(
        right=[by_gather, by_stack],
        wrong=[
            (by_list, "torch.stack"),
            (one_behind_the_end, "the first column is column 0"),
            (last_column, "last column for all"),
            (one_too_far, "one column too far"),
            (all_lengths_for_all, "every length for every name"),
            (mean_of_real, "mean of the real columns"),
            (detached, "lost track"),
            (axis_kept, "axis of length 1"),
        ],
    ),
    "find_faults": Answers(
        right=[tests_by_numpy, tests_by_restoring],
        wrong=[
            (shapes_only, "wrong way round"),
            (upside_down, "wrong way round"),
            (always_all_three, "wrong way round"),
            (padding_overlooked, "more zeros behind"),
            (net_spoilt, "changed `net` itself"),
            (a_list, "expected a dict"),
            (other_keys, "keys of your dict"),
        ],
    ),
    "get_penultimate": Answers(
        right=[one_by_one, by_children],
        wrong=[
            (the_suggested, "forward calls `vectors`"),
            (as_numpy, "Return a tensor"),
            (dropout_left_in, "leave dropout out"),
            (conv_forgotten, "letters went into rnn directly"),
            (rnn_not_told, "not told the lengths"),
            (padding_read, "last column, after the masks"),
            (conv_always, "without conv"),
            (no_relu, "relu"),
            (through_fc, "stop before it"),
            (a_tuple, "tuple"),
            (all_states, "all columns"),
        ],
        solution=with_gather,
    ),
    "vote": Answers(
        right=[vote_by_counter, vote_all_at_once],
        wrong=[
            (nearest_only, "nearest neighbour's label"),
            (mean_label, "mean of labels"),
            (number_of_votes, "how many votes"),
            (down_the_columns, "down the columns"),
            (votes_not_label, "take the label"),
        ],
    ),
    "blend": Answers(
        right=blended(ranks, logarithms),
        wrong=list(
            zip(
                blended(
                    as_they_are,
                    network_alone,
                    neighbours_alone,
                    answers_only,
                    across_names,
                    overflown,
                ),
                [
                    "drown",
                    "network alone",
                    "neighbours alone",
                    "one a nationality",
                    "asked beside it",
                    "not finite",
                ],
                strict=True,
            )
        ),
        solution=lambda function: (function, OPINIONS, TRUTH),
    ),
}
