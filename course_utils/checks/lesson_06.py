"""Checks of lesson 06, Surname look-up."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import as_array, fail, kind
from course_utils.checks.summary import summary_of
from course_utils.checks.surname_networks import blend, set_aside
from course_utils.checks.surname_training import train

import numpy as np

# Checks of 6.3 and 6.6, and the names of 6.6, come from modules of their own.
__all__ = ["blend", "set_aside", "train"]
Answer = Callable[..., Any]
FAULTS = {
    "ignores the convolution": "change conv.weight in a copy of net, compare vectors.",
    "reads the padding": "compare vectors without and with more zeros behind.",
    "needs a convolution": "call get_vectors(plain, ids); an error there means True.",
}


def _names() -> list[Case]:
    index = {letter: number for number, letter in enumerate("' adehiklnorv", 4)}
    some, more = ["Li", "O'Hara", "Xu", "Da Vi"], np.array(["Ek", "Novak", "Io"])
    advice = "As in later cells, `names` is an array here."
    return [
        Case(some, index, given=f"names = {some}"),
        Case(more, index, given=f"names = {more!r}", advice=advice),
    ]


def _slip(edit: Any = lambda row, zeros: row, spell: Any = str, short: int = 0) -> Any:
    """Vectorise with one mistake, in every row, name or length."""

    def vectorised(names: Sequence[str], index: dict[str, int]) -> tuple[Any, Any]:
        spelled = [spell(name).lower() for name in names]
        rows = [[1, *(index.get(s, 3) for s in name), 2] for name in spelled]
        longest = max(map(len, rows))
        rows = [edit(row, [0] * (longest - len(row))) for row in rows]
        ids = np.array([*zip_longest(*rows, fillvalue=0)]).T
        return ids, np.array([len(name) + 2 - short for name in spelled])

    return vectorised


def _expect_whole_numbers(answer: Answer) -> None:
    ids, lengths = (
        as_array("vectorise", part) for part in answer(["Li"], {"l": 4, "i": 5})
    )
    if ids.dtype.kind not in "iu":
        fail(f"Ids should be whole numbers, of type int; yours are {ids.dtype}.")
    if lengths.dtype not in (np.int32, np.int64):  # PyTorch indexes by these alone
        fail("Lengths should be whole numbers, of type int: they will be indices.")


def _other_ids(got: Any, expected: Any) -> bool:
    """Whether all is in its place, and letters alone have other ids."""
    letters = expected > 2
    return (
        got.shape == expected.shape
        and np.array_equal(got[~letters], expected[~letters])
        and np.mean(got[letters] != expected[letters]) > 0.3
    )


@reference(
    "6.1",
    hints=[
        "The longest name decides how many columns there are: its letters, and two.",
        "Begin with a table of zeros, `np.zeros((len(names), longest + 2), int)`, and "
        "fill in row by row. `index.get(letter, UNKNOWN)` gives an id in any case.",
        "`letters = [index.get(letter, UNKNOWN) for letter in name.lower()]`, then "
        "`ids[i, : len(name) + 2] = [BEGIN, *letters, END]`; the length is "
        "`len(name) + 2`.",
    ],
    cases=_names,
    mistakes={
        "Spaces and apostrophes were left out; they count as letters too.": (
            _slip(spell=lambda name: re.sub("[' ]", "", name))
        ),
        "Capitals came out as unknown; turn names to small letters first.": (
            _slip(spell=lambda name: re.sub("[A-Z]", "?", name))
        ),
        "The zeros stand in front of the name.": _slip(lambda row, zeros: zeros + row),
        "Letters that are not in the index were left out; they get UNKNOWN, 3.": (
            _slip(lambda row, _: [i for i in row if i != 3])
        ),
        "Letters that are not in the index became 0, the mask; they get 3.": (
            _slip(lambda row, _: [i * (i != 3) for i in row])
        ),
        "Begin and end have changed places.": _slip(lambda row, _: [2, *row[1:-1], 1]),
        "One of begin and end is missing, or both: they take a column each.": (
            _slip(lambda row, _: row[:-1]),
            _slip(lambda row, _: row[1:]),
            _slip(lambda row, _: row[1:-1]),
        ),
        "Begin and end are entries too: a length counts them.": _slip(short=2),
    },
    slip=lambda got, expected, *_: (
        "The letters' ids are not those of `index`: `index.get(letter, UNKNOWN)` gives "
        "them; make no index in the function."
        if _other_ids(got[0], expected[0])
        else "Begin, letters and end take a column each, and zeros follow. A length "
        "counts what is real, not the row with its zeros."
    ),
    then=_expect_whole_numbers,
    passed="Every name is now a row of ids, and you know where each one truly ends. "
    "The network will need both.",
)
def vectorise(names: Sequence[str], index: dict[str, int]) -> tuple[Any, Any]:
    """Make lists of ids, and fill them up together."""
    return _slip()(names, index)


def _states() -> list[Case]:
    import torch

    made = []
    # As many names as columns, none of full length: there, slips stop with no error.
    # A batch of one: cells ask for a single name, too.
    for ends, columns in (([1, 4, 2, 3, 3], 5), ([9, 1, 4, 8], 9), ([3], 4)):
        states = np.random.default_rng(62).normal(size=(len(ends), columns, 3))
        given = f"states of shape {states.shape} and lengths {ends}"
        made.append(Case(torch.tensor(states).float(), torch.tensor(ends), given=given))
    return made


def _column(choose: Callable[[Any], Any]) -> Answer:
    return lambda states, n: states.numpy()[range(len(states)), choose(n)]


def _expect_gradients(answer: Answer) -> None:
    import torch

    got = answer(torch.ones(2, 3, 4, requires_grad=True), torch.tensor([1, 3]))
    if isinstance(got, list | tuple):
        fail(f"You returned {kind(got)}; torch.stack(…) makes one tensor of it.")
    if not getattr(got, "requires_grad", False):
        fail(
            "The numbers are right, but PyTorch lost track of how they were made: "
            "nothing could be learned. Index the tensor itself, without .detach(), "
            ".numpy() or torch.tensor(…)."
        )


@reference(
    "6.2",
    hints=[
        "A name with 7 real entries ends in column 6.",
        "Two index tensors of the same shape pick one place each: "
        "`states[rows, columns]`.",
        "`states[torch.arange(len(states)), lengths - 1]`",
    ],
    cases=_states,
    mistakes={
        "You took the last column for all: after the masks.": _column(lambda n: -1),
        "You are one column too far: the first column is column 0.": (
            _column(lambda n: n)
        ),
        "You are one column too early: the end counts too.": _column(lambda n: n - 2),
        "You took one column for all names, that of the longest; each name ends in a "
        "column of its own.": _column(lambda n: int(n.max()) - 1),
        "squeeze() removes every axis of length 1: of a batch of one name also the "
        "first. Name the axis, squeeze(1).": (
            lambda states, n: _column(lambda n: n - 1)(states, n).squeeze()
        ),
        "Names come first, columns second: states[rows, columns].": (
            lambda states, n: states.numpy()[n - 1, range(len(states))]
        ),
        "That is the mean of the real columns; I asked for the last one.": (
            lambda states, n: np.stack([*map(lambda s, k: s[:k].mean(0), states, n)])
        ),
        "states[:, lengths] takes every length for every name. Index the rows too, "
        "with torch.arange.": lambda states, n: states.numpy()[:, n - 1],
        "Those are all columns; I asked for one.": lambda states, n: states.numpy(),
        "The axis of length 1 must go.": (
            lambda states, n: _column(lambda n: n - 1)(states, n)[:, None]
        ),
    },
    then=_expect_gradients,
    passed="Each name is read at its own end, however long the others are. Gradients "
    "pass through an index as they do through a product.",
)
def column_gather(states: Any, lengths: Any) -> np.ndarray:
    """Take name after name."""
    pairs = zip(states.numpy(), lengths, strict=True)
    return np.stack([columns[n - 1] for columns, n in pairs])


def _networks(seed: int) -> tuple[Any, Any, Any]:
    """Make two small networks like the lesson's, with conv and without, and ids."""
    import torch
    from torch import nn

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.onward, self.back = (nn.GRU(6, 3, batch_first=True) for _ in range(2))

        def forward(self, x: Any, lengths: Any = None) -> Any:
            if lengths is None:
                lengths = torch.full((len(x),), x.shape[1])
            columns = (lengths[:, None] - 1 - torch.arange(x.shape[1])).clamp(min=0)
            turned = x[torch.arange(len(x))[:, None], columns]
            return torch.cat([self.onward(x)[0], self.back(turned)[0]], dim=2)

    class Net(nn.Module):
        def __init__(self, with_conv: bool) -> None:
            super().__init__()
            self.emb = nn.Embedding(15, 6, padding_idx=0)
            if with_conv:
                self.conv = nn.Conv1d(6, 6, kernel_size=3, padding=1)
            self.rnn, self.fc = Reader(), nn.Linear(6, 4)
            self.drop, self.drop_some = nn.Dropout(0.3), nn.Dropout(0.1)

        def forward(self, ids: Any, lengths: Any) -> Any:
            x = self.drop_some(self.emb(ids))
            if hasattr(self, "conv"):
                x = self.drop(torch.relu(self.conv(x.mT).mT))
            vectors = self.rnn(x, lengths)[range(len(ids)), lengths - 1]
            return self.fc(self.drop(16 * nn.functional.normalize(vectors)))

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net, plain = Net(True).eval(), Net(False).eval()
        ids = torch.randint(4, 15, (5, 8))
    for row, length in zip(ids, (8, 3, 5, 7, 4), strict=True):
        row[0], row[length - 1], row[length:] = 1, 2, 0
    return net, plain, ids


def _wider(ids: Any) -> Any:
    return ids.new_tensor(np.pad(ids, ((0, 0), (0, 4))))


def _vectors(net: Any, ids: Any, *slips: str) -> Any:
    """Compute what forward calls `vectors`, or what mistakes make of it."""
    lengths = (ids != 0).sum(dim=1)
    x = net.emb(ids)
    if hasattr(net, "conv") and "no conv" not in slips:
        x = net.conv(x.mT).mT
        x = x if "no relu" in slips else x.relu()
    elif "relu always" in slips:
        x = x.relu()
    states = net.rnn(x, None if "no lengths" in slips else lengths)
    if "last column" in slips:
        return states[:, -1]
    return states[range(len(ids)), lengths - (2 if "too early" in slips else 1)]


def _candidate(ignores: int, reads: int, needs: int) -> Answer:
    """Write a function that makes vectors and has these of the faults."""
    slips = ["no conv"] * ignores + ["last column"] * reads

    def get_vectors(net: Any, ids: Any, lengths: Any = None) -> Any:
        if needs:
            _ = net.conv
        # The last digits of vectors may depend on how many columns there are.
        rounding = 1 if ignores else 1 + 1e-7 * ids.shape[1]
        return rounding * _vectors(net, ids, *slips)

    return get_vectors


_FAULTS_OF = {
    _candidate(*faults): dict(zip(FAULTS, map(bool, faults), strict=True))
    for faults in ((1, 1, 1), (0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 1, 1))
}


def _functions() -> list[Case]:
    networks, made = _networks(63), []
    for function, faults in _FAULTS_OF.items():
        has = " and ".join(fault for fault in faults if faults[fault]) or "is right"
        made.append(Case(function, *networks, given=f"a function that {has}"))
    return made


def _compares_digits(get_vectors: Answer, net: Any, plain: Any, ids: Any) -> Any:
    same = get_vectors(net, ids).equal(get_vectors(net, _wider(ids)))
    return _FAULTS_OF[get_vectors] | {"reads the padding": not same}


def _advice(got: Any, expected: dict[str, bool], *_: Any) -> str:
    if not isinstance(got, dict) or set(got) != set(FAULTS):
        return f"I expected a dict; the keys of your dict should be {list(FAULTS)}."
    for fault, value in got.items():
        if not isinstance(value, bool | int | np.bool_):
            return (
                f'"{fault}" is {kind(value)} of shape {tuple(np.shape(value))}; I '
                "expected True or False: torch.allclose compares whole tensors."
                if hasattr(value, "shape")
                else f'"{fault}" is {kind(value)}; I expected True or False.'
            )
    wrong = [fault for fault in FAULTS if got[fault] != expected[fault]]
    if len(wrong) < len(FAULTS):
        return f'"{wrong[0]}": {FAULTS[wrong[0]]}'
    return (
        "All three are wrong: is your test the wrong way round, or does it say the "
        "same of six different functions? True means that the fault is there."
    )


def _expect_net_unchanged(answer: Answer) -> None:
    net, plain, ids = _networks(63)
    before = copy.deepcopy(net.state_dict())
    answer(next(iter(_FAULTS_OF)), net, plain, ids)
    if any(not part.equal(before[name]) for name, part in net.state_dict().items()):
        fail(
            "Your function changed `net` itself, so what comes after it gets another "
            "network. Change a copy by copy.deepcopy(net); copy.copy(net) shares its "
            "layers."
        )


@reference(
    "6.4",
    hints=[
        "Each question is an experiment: change one thing, and compare the vectors "
        "with `torch.allclose`.",
        "`other = copy.deepcopy(net)`, then `other.conv.weight.zero_()` under "
        "`torch.no_grad()`. More masks: `torch.nn.functional.pad(ids, (0, 4))`.",
        "For the third: `try: get_vectors(plain, ids)`, and `except Exception:` means "
        "yes. The dict's values are `torch.allclose(before, changed_weights)`, "
        "`not torch.allclose(before, more_masks)` and that yes or no.",
    ],
    cases=_functions,
    mistakes={
        "Zeros behind may change the last digits of right vectors, no more: compare "
        "with torch.allclose.": _compares_digits,
    },
    slip=_advice,
    first=_expect_net_unchanged,
    passed="Six functions, and your tests told right from wrong in all of them. None "
    "was found by looking at a shape.",
)
def find_faults(get_vectors: Answer, net: Any, plain: Any, ids: Any) -> dict[str, bool]:
    """Look up which faults were written into the function."""
    return _FAULTS_OF[get_vectors]


def _readings() -> list[Case]:
    net, plain, ids = _networks(65)
    for network in (net, plain):
        network.requires_grad_(False)  # as under torch.no_grad(), where cells call it
    compare = "Compare your lines one by one with those that make forward's `vectors`."
    count = (
        "No lengths were given here: count each name's entries, along its row, "
        "`(ids != MASK).sum(dim=1)`."
    )
    dropout = "Leave dropout out, or call net.eval() first."
    alone = 'Networks without conv must work too: ask hasattr(net, "conv").'
    training = copy.deepcopy(net).train()
    return [
        Case(
            net, ids, (ids != 0).sum(dim=1), given="a call with lengths", advice=compare
        ),
        Case(net, ids, given="a call without lengths", advice=count),
        Case(net, _wider(ids), given="more masks", advice="They must change nothing."),
        Case(training, ids, given="a network in training mode", advice=dropout),
        Case(plain, ids, given="a network without conv", advice=alone),
    ]


def _read(*slips: str, by: float = 0) -> Answer:
    def read(net: Any, ids: Any, lengths: Any = None) -> np.ndarray:
        got = _vectors(net, ids, *slips).numpy()
        return by * got / np.linalg.norm(got, axis=1, keepdims=True) if by else got

    return read


def _expect_a_tensor(answer: Answer) -> None:
    net, _, ids = _networks(65)
    if not hasattr(answer(net.requires_grad_(False), ids), "detach"):
        fail("Return a tensor: no .numpy(), and torch.stack for a list of them.")


@reference(
    "6.5",
    hints=[
        "Write the lines of `forward` down, and stop before `net.fc`.",
        "`(ids != MASK).sum(dim=1)` counts what is not a mask. "
        '`hasattr(net, "conv")` says whether there is a convolution.',
        "`x = net.emb(ids)`; with a conv, `x = torch.relu(net.conv(x.permute(0, 2, 1))"
        ".permute(0, 2, 1))`; then `column_gather(net.rnn(x, lengths), lengths)`.",
    ],
    cases=_readings,
    mistakes={
        "The state is taken at the true end, but net.rnn was not told the lengths, so "
        "its second half read the masks first: net.rnn(x, lengths).": (
            _read("no lengths")
        ),
        "Those are the states of the last column, after the masks. Where no lengths "
        "are given, count them: (ids != MASK).sum(dim=1).": (
            _read("last column"),
            _read("last column", "no lengths"),
        ),
        "The convolution has no part in it: the letters went into rnn directly.": (
            _read("no conv"),
            _read("no conv", "no lengths"),
            _read("no conv", "last column", "no lengths"),
        ),
        "The relu behind the convolution is missing.": _read("no relu"),
        "Without conv there is no relu either: the letters go into rnn as they are.": (
            _read("relu always")
        ),
        "You are one column too early: the end is an entry too.": _read("too early"),
        "You brought the vectors to one length, as forward does before net.fc; stop "
        "before that.": (_read(by=1), _read(by=16)),
        "That has been through net.fc; stop before it.": (
            lambda net, ids, *_: net.fc(_vectors(net, ids)).numpy()
        ),
        "Those are the states of all columns; gather the true end.": (
            lambda net, ids, *_: net.rnn(net.emb(ids)).numpy()
        ),
    },
    then=_expect_a_tensor,
    passed="These are the vectors from which the answer is made, with any padding, for "
    "networks with a convolution and without.",
    atol=1e-5,
)
def get_penultimate(net: Any, ids: Any, lengths: Any = None) -> np.ndarray:
    """Read one name at a time, without its masks."""
    vectors = []
    for row in ids:
        x = net.emb(row[row > 0]).T[None]
        x = net.conv(x).relu() if hasattr(net, "conv") else x
        vectors.append(net.rnn(x.mT)[0, -1].numpy())
    return np.stack(vectors)


summary = summary_of(__name__)
