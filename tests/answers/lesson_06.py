"""Answers to the exercises of lesson 06."""

from __future__ import annotations

import copy
import itertools

from course_utils.checks.surname_networks import kept_names
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
    return [torch.tensor(ids), torch.tensor(lengths, dtype=torch.int32)]


def with_floats(which):
    def answer(names, index):
        made = [np.array(part) for part in by_lists(names, index)]
        made[which] = made[which].astype(float)
        return made

    return answer


def own_index(names):
    letters = sorted({letter for name in names for letter in name.lower()})
    return {letter: number for number, letter in enumerate(letters, 4)}


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


def tests_of_a_shallow_copy(get_vectors, net, plain, ids):
    other, found = copy.copy(net), tests_by_numpy(get_vectors, net, plain, ids)
    before = get_vectors(net, ids)
    other.conv.weight.data.zero_()
    same = torch.allclose(before, get_vectors(other, ids))
    return found | {"ignores the convolution": same}


def tests_by_tensors(get_vectors, net, plain, ids):
    found = tests_by_numpy(get_vectors, net, plain, ids)
    wider = nn.functional.pad(ids, (0, 4))
    differ = (get_vectors(net, ids) - get_vectors(net, wider)).abs() > 1e-4
    return found | {"reads the padding": differ}


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


def hook_with_gather(net, ids, lengths=None):
    if lengths is None:
        lengths = (ids != 0).sum(dim=1)
    kept = {}
    hook = net.rnn.register_forward_hook(lambda *call: kept.update(states=call[2]))
    with torch.no_grad():
        net.eval()(ids, lengths)
    hook.remove()
    return by_gather(kept["states"], lengths)


def counted_down_columns(net, ids, lengths=None):
    if lengths is None:
        lengths = (ids != 0).sum(dim=0)
    return by_hook(net, ids[:, : lengths.max()], None)[range(len(lengths))]


def before_fc(net, ids, lengths=None):
    kept = {}
    hook = net.fc.register_forward_pre_hook(lambda layer, x: kept.update(vectors=x[0]))
    with torch.no_grad():
        net.eval()(ids, (ids != 0).sum(dim=1))
    hook.remove()
    return kept["vectors"]


def tests_by_equal(get_vectors, net, plain, ids):
    found = tests_by_numpy(get_vectors, net, plain, ids)
    wider = nn.functional.pad(ids, (0, 4))
    same = torch.equal(get_vectors(net, ids), get_vectors(net, wider))
    return found | {"reads the padding": not same}


BATCH, RATE = 64, 0.02


def batches(lengths, generator):
    return torch.randperm(len(lengths), generator=generator).split(BATCH)


def make_loss(labels):
    return nn.CrossEntropyLoss()


class Reader(nn.Module):
    """A small network: the mean of letters, as far as the name goes."""

    def __init__(self):
        super().__init__()
        self.emb, self.fc = nn.EmbeddingBag(12, 8, padding_idx=0), nn.Linear(8, 3)

    def forward(self, ids, lengths):
        return self.fc(self.emb(ids))


def spelled_names(n, seed):
    """Names of three peoples, who prefer other letters."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=generator)
    ids = torch.randint(1, 12, (n, 6), generator=generator)
    own = torch.rand(n, 6, generator=generator) < 0.5
    ids = torch.where(own, 1 + labels[:, None] * 3, ids)
    return ids, torch.full((n,), 6), labels


FIT, HELD_OUT = spelled_names(1_200, 0), spelled_names(400, 1)


def on_spelled_names(function):
    return function, Reader, FIT, (*HELD_OUT[:2], HELD_OUT[2].numpy())


def with_parts(function):
    """Give the lesson's solution what its notebook defines for it."""
    function.__globals__.update(batches=batches, make_loss=make_loss, BATCH=BATCH)
    return on_spelled_names(function)


def trained(net, ids, lengths, labels, epochs, seed, clear=True, rate=RATE, **other):
    """Train with Adam; `other` holds a slip by the name of what it replaces."""
    loss_of = other.get("loss", nn.functional.cross_entropy)
    lengths_of = other.get("lengths_of", lambda rows: lengths[rows])
    labels_of = other.get("labels_of", lambda rows: labels[rows])
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    for epoch in range(epochs):
        if "reseed" in other:
            generator.manual_seed(seed)
        if "anew" in other:
            optimiser = torch.optim.Adam(net.parameters(), lr=rate)
        net.train("asleep" not in other)
        for rows in batches(lengths, generator):
            loss = loss_of(net(ids[rows], lengths_of(rows)), labels_of(rows))
            if clear:
                optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if "mute" not in other:
            print(f"epoch {epoch}: {loss.item():.2f}")


def by_hand(net, ids, lengths, labels, epochs, seed):
    """Gradient descent without an optimiser, and batches of its own."""
    generator, losses = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        order = torch.randperm(len(ids), generator=generator)
        for rows in order.split(32):
            net.zero_grad()
            logs = net(ids=ids[rows], lengths=lengths[rows]).log_softmax(dim=1)
            loss = -logs[range(len(rows)), labels[rows]].mean()
            loss.backward()
            with torch.no_grad():
                for part in net.parameters():
                    part -= 0.5 * part.grad
        losses.append(loss.item())
    print(losses, "of", len(EXAMPLES[0]))


def in_order(net, ids, lengths, labels, epochs, seed):
    optimiser = torch.optim.Adam(net.parameters(), lr=RATE)
    for _ in range(epochs):
        for rows in torch.arange(len(ids)).split(64):
            loss = nn.functional.cross_entropy(
                net(ids[rows], lengths[rows]), labels[rows]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(loss.item())


def softmax_twice(scores, labels):
    return nn.functional.cross_entropy(scores.softmax(dim=1), labels)


def without_gradients(net, ids, lengths, labels, epochs, seed):
    with torch.no_grad():
        for _ in range(epochs):
            net(ids, lengths)


def that_diverges(net, *given):
    trained(net, *given)
    net.fc.weight.data.fill_(torch.nan)


def peeking(net, *given):
    print(HELD_LABELS[:3])
    trained(net, *given)


HELD_LABELS = HELD_OUT[2].numpy()
SEEDS = itertools.count(3)
EXAMPLES = FIT  # a global that an answer may name


def opinions_of(names):
    """Three tables that err in different places, of which the check knows nothing."""
    known = dict(zip(*kept_names(), strict=True))
    labels = np.array([known[name] for name in names])
    rng = np.random.default_rng(6)
    each = 1.6 * np.eye(23)[labels] + rng.normal(size=(3, len(labels), 23))
    softmax, votes = (
        odds / odds.sum(axis=1, keepdims=True) for odds in np.exp(each[:2])
    )
    return softmax, votes, each[2] / 2


def to_rows(scores):
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def by_logarithms(softmax, votes, margins):
    return to_rows(np.log(softmax) + np.log(votes) + 2 * margins)


def by_torch(softmax, votes, margins):
    logs = torch.tensor(np.log(softmax + 1e-3) + 2 * margins)
    return logs.softmax(dim=1)


OTHERS = opinions_of(kept_names()[0][:300])
LEARNED = LogisticRegression(C=100, max_iter=200).fit(
    np.hstack(OTHERS), np.random.default_rng(7).integers(0, 23, 300)
)


def learned_by_heart(*tables):
    made = np.full((len(tables[0]), 23), 1e-6)
    made[:, LEARNED.classes_] += LEARNED.predict_proba(np.hstack(tables))
    return made / made.sum(axis=1, keepdims=True)


def blended(function):
    return function, opinions_of


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
            (lambda *given: [by_lists(*given)[0], [4.0] * 9], "as the second value"),
            (with_floats(0), "ids should be whole"),
            (with_floats(1), "lengths should be whole"),
            (lambda names, _: by_lists(names, own_index(names)), "make no index"),
            (lambda names, index: by_lists(names or [""], index), "is an array here"),
            (lambda n, index: n.sort() or by_lists(n, index), "changed `n` itself"),
        ],
    ),
    "column_gather": Answers(
        right=[by_gather, by_stack],
        wrong=[
            (lambda *given: list(by_stack(*given)), "a list"),
            (lambda s, n: s[torch.arange(len(s)), n - 1].squeeze(), "batch of one"),
            (lambda s, n: s[:, n.max() - 1], "for all names"),
            (lambda *given: by_stack(*given).detach(), "lost track"),
            (lambda s, n: s[n - 1, torch.arange(len(s))], "states[rows, columns]"),
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
            (tests_of_a_shallow_copy, "copy.copy(net) shares"),
            (tests_by_tensors, "is a Tensor of shape"),
            (lambda *g: {**tests_by_numpy(*g), "needs a convolution": "no"}, "a str"),
            (tests_by_equal, "compare with torch.allclose"),
            (lambda *given: list(tests_by_numpy(*given)), "expected a dict"),
            (lambda *given: {"convolution": True}, "keys of your dict"),
        ],
    ),
    "get_penultimate": Answers(
        right=[one_by_one, by_hook, hook_with_gather],
        wrong=[
            (before_fc, "brought the vectors to one length"),
            (lambda net, *more: [net.conv, one_by_one(net, *more)][1], "without conv"),
            (lambda net, *given: net.drop(one_by_one(net, *given)), "leave dropout"),
            (lambda *given: one_by_one(*given).numpy(), "Return a tensor"),
            (lambda *given: (one_by_one(*given), given[1]), "one array"),
            (lambda *given: -one_by_one(*given), "forward's `vectors`"),
            (lambda net, ids, n=None: [n - 1, one_by_one(net, ids)][1], "count each"),
            (counted_down_columns, "along its row"),
        ],
        solution=with_gather,
    ),
    "train": Answers(
        right=[on_spelled_names(trained), on_spelled_names(by_hand)],
        wrong=[
            (on_spelled_names(answer), words)
            for answer, words in (
                (lambda net, *given: None, "No number of `net` has changed"),
                (lambda net, *given: trained(copy.deepcopy(net), *given), "No number"),
                (without_gradients, "No number"),
                (lambda *g: trained(*g[:4], 3, g[5]), "learned from 900, not 600"),
                (lambda *g: trained(*g[:4], 2, g[5]), "learned from"),
                (lambda net, *g: trained(net, *FIT, *g[3:]), "not among those"),
                (lambda *g: trained(*g, mute=True), "no numbers were printed"),
                (lambda *g: trained(*g, reseed=True), "same order in both"),
                (lambda *g: trained(*g[:5], 0), "Seeds 1 and 2"),
                (lambda *g: trained(*g[:5], next(SEEDS)), "two orders"),
                (in_order, "same order in both"),
                (lambda *g: trained(*g, anew=True), "Make one, before the loops"),
                (lambda *g: trained(*g, asleep=True), "in evaluation mode"),
                (lambda *g: trained(*g, loss=softmax_twice), "given probabilities"),
                (
                    lambda *g: trained(
                        *g, loss=lambda *pair: -nn.functional.cross_entropy(*pair)
                    ),
                    "makes the loss larger",
                ),
                (
                    lambda *g: trained(*g, lengths_of=lambda rows: rows * 0 + 5),
                    "told that",
                ),
                (
                    lambda *g: trained(*g, labels_of=lambda rows: FIT[2][rows]),
                    "labels[r",
                ),
                (
                    lambda *g: trained(*g, labels_of=lambda rows: g[3][: len(rows)]),
                    "another label than theirs",
                ),
                (lambda *given: trained(*given, clear=False), "zero_grad"),
                (lambda *given: trained(*given, rate=1e-5), "near RATE"),
                (
                    lambda net, ids, n, y, *more: trained(
                        net, ids, n, y.flip(0), *more
                    ),
                    "labels[rows]",
                ),
                (that_diverges, "became nan"),
                (peeking, "reads `HELD_LABELS`"),
                (lambda net, ids, *more: trained(net, ids.zero_(), *more), "changed"),
            )
        ],
        solution=with_parts,
    ),
    "blend": Answers(
        right=[blended(by_logarithms), blended(by_torch)],
        wrong=[
            (blended(answer), words)
            for answer, words in (
                (lambda *tables: sum(tables), "Rows add up to"),
                (lambda *tables: tables[0], "from the network alone"),
                (lambda s, v, m: to_rows(0.8 * np.log(s)), "from the network alone"),
                (lambda s, v, m: to_rows(3 * m), "from the linear machine alone"),
                (lambda s, v, m: (s + v + to_rows(m)) / 3, "too unsure"),
                (lambda s, v, m: to_rows(9 * np.log(s) + 9 * m), "too sure"),
                (lambda *tables: (tables[1] > 0.2) + 0.0, "Rows add up to"),
                (
                    lambda s, v, m: np.eye(23)[(s + v).argmax(axis=1)],
                    "the probability 0",
                ),
                (lambda *tables: by_logarithms(*tables).argmax(axis=1), "one a nation"),
                (lambda *t: to_rows(t[2] - t[2].mean(axis=0)), "asked beside"),
                (lambda *tables: np.exp(999 * tables[2]), "not finite"),
                (lambda s, v, m: by_logarithms(s, v, np.exp(m, out=m)), "changed `m`"),
                (lambda s, v, m: to_rows(40 * m + v), "nearly the linear machine"),
                (learned_by_heart, "too sure"),
            )
        ],
        solution=blended,
    ),
}
