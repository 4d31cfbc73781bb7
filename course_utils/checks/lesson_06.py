"""Checks of lesson 06, Surname look-up."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from course_utils.checks.core import as_array, exercise, expect_shape, fail
from course_utils.checks.summary import summary_of

import numpy as np

Answer = Callable[..., Any]
FAULTS = ("ignores the convolution", "reads the padding", "needs a convolution")
MORE = 0.003  # macro-F1 that a blend has to win


@exercise(
    "6.1",
    hints=[
        "The longest name decides how many columns there are: its letters, and two.",
        "Begin with a table of zeros, `np.zeros((len(names), longest + 2), int)`, and "
        "fill in row by row. `index.get(letter, UNKNOWN)` gives an id in any case.",
        "`letters = [index.get(letter, UNKNOWN) for letter in name.lower()]`, then "
        "`ids[i, : len(name) + 2] = [BEGIN, *letters, END]`; the length is "
        "`len(name) + 2`.",
    ],
)
def vectorise(answer: Answer) -> str:
    """Check that names become rows of ids with begin, end and mask.

    Parameters
    ----------
    answer : callable
        ``vectorise(names, index)``, ids of shape (n, longest + 2) and lengths (n,).

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When an id or a length is not what it should be.
    """
    index = {
        letter: number for number, letter in enumerate("' abcdefghiklmnorstuvz", 4)
    }
    for names in (
        ["Novak", "O'Hara", "Li", "Da Silva"],
        ["Brandt", "Xu", "Ek", "Horvath", "Maczka"],
    ):
        got = answer(list(names), dict(index))
        if not isinstance(got, tuple | list) or len(got) != 2:
            fail("vectorise should return two things: `return ids, lengths`.")
        ids, lengths = _numpy(got[0]), _numpy(got[1])
        rows = [[1, *(index.get(s, 3) for s in n.lower()), 2] for n in names]
        true_lengths = np.array([len(row) for row in rows])
        width = true_lengths.max()
        expected = np.array([row + [0] * (width - len(row)) for row in rows])
        given = f"{len(names)} names, the longest of {width - 2} letters,"
        if isinstance(ids, list) and len({len(row) for row in ids}) > 1:
            fail(
                "Your rows have different lengths. Fill the short ones up with zeros, "
                "the mask."
            )
        bare = max(sum(sign.isalpha() for sign in name) for name in names) + 2
        slip = ""
        if np.shape(ids) == (len(names), bare) != expected.shape and (
            np.equal(ids, 2).any(axis=1).all() and np.equal(ids, 1)[:, 0].all()
        ):
            slip = "Spaces and apostrophes count as letters too."
        elif np.shape(ids) == (len(names), width - 2):
            slip = "Begin and end take a column each."
        elif np.shape(ids) == (len(names), width - 1):
            slip = "One of begin and end is missing."
        elif np.shape(ids) == expected.T.shape:
            slip = "Rows and columns have changed places."
        ids = expect_shape("vectorise", ids, expected.shape, given=given, slip=slip)
        if not np.array_equal(ids, expected):
            _fail_for_ids(ids, expected, names, index)
        lengths = expect_shape(
            "vectorise",
            lengths,
            (len(names),),
            given=f"{len(names)} names, lengths",
            slip="One length a name.",
        )
        if np.asarray(lengths).dtype.kind not in "iu":
            fail("Lengths are whole numbers: make their array one of int.")
        if not np.array_equal(lengths, true_lengths):
            slip = f"{names[0]} has {true_lengths[0]}, yours is {lengths[0]:g}."
            if np.array_equal(lengths, true_lengths - 2):
                slip += " Begin and end are entries too."
            elif (lengths == width).all():
                slip += " That is the row with its zeros."
            fail(f"A length counts the entries that are not zeros. {slip}")
    return (
        "Every name is now a row of ids, and you know where each one truly ends. The "
        "network will need both."
    )


def _fail_for_ids(
    ids: np.ndarray, expected: np.ndarray, names: Sequence[str], index: dict[str, int]
) -> None:
    """Name the slip in a table of ids of the right shape."""
    width = expected.shape[1]
    rows = [row[row > 0] for row in expected]

    def table(change: Callable[[np.ndarray], np.ndarray], behind: bool = True) -> Any:
        made = np.zeros_like(expected)
        for line, row in zip(made, rows, strict=True):
            new = change(row)[:width]
            line[slice(0, len(new)) if behind else slice(width - len(new), None)] = new
        return made

    capitals = np.zeros_like(expected)
    for line, name in zip(capitals, names, strict=True):
        line[: len(name) + 2] = [1, *(index.get(s, 3) for s in name), 2]
    no_signs = np.zeros_like(expected)
    for line, name in zip(no_signs, names, strict=True):
        row = [1, *(index.get(s, 3) for s in name.lower() if s.isalpha()), 2]
        line[: len(row)] = row
    slips = [
        (no_signs, "Spaces and apostrophes were left out; they count as letters."),
        (capitals, "Capitals came out as unknown; turn names to small letters first."),
        (
            table(lambda row: row, behind=False),
            "The zeros stand in front; here they belong behind the name.",
        ),
        (
            table(lambda row: row[row != 3]),
            "Letters that are not in the index were left out; they get UNKNOWN, 3.",
        ),
        (
            table(lambda row: np.where(row == 3, 0, row)),
            "Letters that are not in the index became 0, the mask; they get 3.",
        ),
        (
            table(lambda row: np.array([2, *row[1:-1], 1])),
            "Begin and end have changed places: 1 begins, 2 ends.",
        ),
    ]
    ends_last = expected.copy()
    ends_last[ends_last == 2] = 0
    ends_last[:, -1] = 2
    slips.append(
        (
            ends_last,
            "The end stands in the last column; it belongs right behind the name.",
        )
    )
    for wrong, sentence in slips:
        if np.array_equal(ids, wrong):
            fail(sentence)
    first = int(np.flatnonzero((ids != expected).any(axis=1))[0])
    fail(
        f"{names[first]} should become {expected[first].tolist()}, yours is "
        f"{ids[first].tolist()}."
    )


@exercise(
    "6.2",
    hints=[
        "A name with 7 real entries ends in column 6.",
        "Two index tensors of the same shape pick one place each: "
        "`states[rows, columns]`.",
        "`states[torch.arange(len(states)), lengths - 1]`",
    ],
)
def column_gather(answer: Answer) -> str:
    """Check that each name's state comes from its own last column.

    Parameters
    ----------
    answer : callable
        ``column_gather(states, lengths)``, a tensor of shape (batch, hidden).

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When another state comes back, or none that gradients pass through.
    """
    import torch

    rng = np.random.default_rng(62)
    for batch, columns, hidden in ((4, 6, 3), (7, 9, 5)):
        numbers = rng.normal(size=(batch, columns, hidden)).astype(np.float32)
        true_lengths = rng.integers(1, columns, size=batch)
        true_lengths[0] = columns
        true_lengths[1] = 1
        states = torch.tensor(numbers, requires_grad=True)
        try:
            raw = answer(states, torch.tensor(true_lengths))
        except IndexError as error:
            if "out of bounds" not in str(error):
                raise
            fail(
                f"PyTorch says: {error}; the first column is column 0, so a name "
                "of n entries ends in column n − 1."
            )
        if isinstance(raw, list | tuple):
            fail("A list came back; torch.stack makes one tensor of it.")
        got = _numpy(raw)
        given = f"states of shape {numbers.shape} and {batch} lengths"
        slip = ""
        if np.shape(got) == (batch, batch, hidden):
            slip = (
                "states[:, lengths] takes every length for every name. Index the rows "
                "too, with torch.arange."
            )
        elif np.shape(got) == (batch, 1, hidden):
            slip = "The axis of length 1 must go."
        got = expect_shape(
            "column_gather", got, (batch, hidden), given=given, slip=slip
        )
        at_end = np.stack([numbers[i, n - 1] for i, n in enumerate(true_lengths)])
        if not np.allclose(got, at_end, atol=1e-6):
            slips = [
                (numbers[:, -1], "You took the last column for all: after the masks."),
                (numbers[:, 0], "You took the first column, not the last real one."),
                (
                    numbers[np.arange(batch), np.minimum(true_lengths, columns - 1)],
                    "You are one column too far: the first column is column 0.",
                ),
                (
                    numbers[np.arange(batch), np.maximum(true_lengths - 2, -columns)],
                    "You are one column too early.",
                ),
                (
                    np.stack(
                        [numbers[i, :n].mean(0) for i, n in enumerate(true_lengths)]
                    ),
                    "That is the mean of the real columns; I asked for the last one.",
                ),
            ]
            for wrong, sentence in slips:
                if np.allclose(got, wrong, atol=1e-6):
                    fail(sentence)
            fail(
                f"For a name with {true_lengths[2]} real entries I expected the state "
                f"of column {true_lengths[2] - 1}, and that is not what came."
            )
        if not torch.is_tensor(raw) or not raw.requires_grad:
            fail(
                "The numbers are right, but PyTorch lost track of how they were made: "
                "nothing could be learned. Index the tensor itself, without .detach(), "
                ".numpy() or torch.tensor(...)."
            )
    return (
        "Each name is read at its own end, however long the others are. Gradients pass "
        "through an index as they do through a product."
    )


@exercise(
    "6.3",
    hints=[
        "Each question is an experiment: change one thing, and compare the vectors "
        "with `torch.allclose`.",
        "`other = copy.deepcopy(net)`, then `other.conv.weight.zero_()` under "
        "`torch.no_grad()`. More masks: `torch.nn.functional.pad(ids, (0, 4))`.",
        "For the third: `try: get_vectors(plain, ids)`, and `except Exception:` means "
        "yes. The dict's values are `torch.allclose(before, changed_weights)`, "
        "`not torch.allclose(before, more_masks)` and that yes or no.",
    ],
)
def find_faults(answer: Answer) -> str:
    """Check tests of vectors by trying them on six functions.

    Parameters
    ----------
    answer : callable
        ``find_faults(get_vectors, net, plain, ids)``, a dict of three booleans.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a fault is overlooked, or seen where there is none.
    """
    import torch

    for seed, hidden in ((63, 6), (64, 10)):
        net, plain, ids = _networks(hidden, seed)
        before = copy.deepcopy(net.state_dict())
        found = []
        for _name, function, _faults in _CANDIDATES:
            got = answer(function, net, plain, ids.clone())
            if got is None:
                fail("find_faults returned None: does its last line begin with return?")
            if not isinstance(got, dict):
                kind = type(got).__name__
                fail(f"find_faults returned a {kind}; I expected a dict.")
            if set(got) != set(FAULTS):
                keys = ", ".join(f'"{fault}"' for fault in FAULTS)
                fail(f"The keys of your dict should be {keys}.")
            after = net.state_dict()
            if any(not torch.equal(before[part], after[part]) for part in before):
                fail(
                    "Your test changed `net` itself, so the next test gets "
                    "another network. Change a copy: copy.deepcopy(net)."
                )
            found.append(got)
        if all(got == found[0] for got in found):
            fail(
                "Your test says the same of six different functions. Call get_vectors "
                "twice with something changed between, and compare what comes back."
            )
        for (name, _function, faults), got in zip(_CANDIDATES, found, strict=True):
            expected = dict(zip(FAULTS, faults, strict=True))
            if all(bool(got[fault]) is not expected[fault] for fault in FAULTS):
                fail(
                    "All three answers are the wrong way round: True means that the "
                    "fault is there."
                )
            for fault in FAULTS:
                if bool(got[fault]) is not expected[fault]:
                    fail(
                        f'For {name}, "{fault}" should be {expected[fault]}; yours '
                        f"says {bool(got[fault])}. {_ADVICE[fault]}"
                    )
    return (
        "Six functions, and your tests told right from wrong in all of them. None was "
        "found by looking at a shape."
    )


_ADVICE = {
    FAULTS[
        0
    ]: "Give a copy of net other weights in conv, and compare the vectors of both.",
    FAULTS[1]: "Compare the vectors of ids with those of ids with more zeros behind.",
    FAULTS[2]: "Call get_vectors(plain, ids); an error there means True.",
}


@exercise(
    "6.4",
    hints=[
        "Write the lines of `forward` down, and stop before `net.fc`.",
        "`(ids != MASK).sum(dim=1)` counts what is not a mask. "
        '`hasattr(net, "conv")` says whether there is a convolution.',
        "`x = net.emb(ids)`; with a conv, `x = torch.relu(net.conv(x.permute(0, 2, 1))"
        ".permute(0, 2, 1))`; then `column_gather(net.rnn(x, lengths), lengths)`.",
    ],
)
def get_penultimate(answer: Answer) -> str:
    """Check that vectors are those from which the last layer makes the answer.

    Parameters
    ----------
    answer : callable
        ``get_penultimate(net, ids, lengths=None)``, a tensor (n_names, hidden).

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When the vectors are others than the network's own.
    """
    import torch

    for seed, hidden in ((65, 6), (66, 8)):
        net, plain, ids = _networks(hidden, seed)
        n_names, lengths = len(ids), (ids != 0).sum(dim=1)
        given = f"{n_names} names and a state of {hidden}"
        right = _reference(net, ids, lengths).detach().numpy()
        for with_lengths in (True, False):
            more = (lengths.clone(),) if with_lengths else ()
            with torch.no_grad():
                raw = answer(net, ids.clone(), *more)
            if isinstance(raw, tuple):
                fail("A tuple came back; I expected one tensor of vectors.")
            got = _numpy(raw)
            slip = ""
            if np.shape(got) == (n_names, net.fc.out_features):
                slip = "That has been through net.fc; stop before it."
            elif np.ndim(got) == 3:
                slip = "Those are the states of all columns; gather the true end."
            shape = (n_names, hidden)
            got = expect_shape("get_penultimate", got, shape, given=given, slip=slip)
            if not np.allclose(got, right, atol=1e-5):
                _fail_for_vectors(got, net, ids, lengths, with_lengths)
        if not torch.is_tensor(raw):
            fail("Return a tensor, as the network does: without .numpy().")
        net.train()
        with torch.no_grad():
            dropped = _numpy(answer(net, ids.clone()))
        net.eval()
        if not np.allclose(dropped, right, atol=1e-5):
            fail(
                "While the network is in training mode, the vectors change by chance: "
                "leave dropout out."
            )
        with torch.no_grad():
            padded = _numpy(answer(net, torch.nn.functional.pad(ids, (0, 5))))
        if np.shape(padded) != right.shape or not np.allclose(padded, right, atol=1e-5):
            fail("With more masks behind the names, the vectors change; they must not.")
        try:
            with torch.no_grad():
                got = _numpy(answer(plain, ids.clone()))
        except AttributeError:
            fail(
                "It stops for a network without conv: use the convolution only where "
                'there is one, hasattr(net, "conv").'
            )
        right = _reference(plain, ids, lengths).detach().numpy()
        if np.shape(got) != right.shape or not np.allclose(got, right, atol=1e-5):
            fail(
                "For a network without conv the vectors are not those of its letters, "
                "read by its rnn to the true end."
            )
    return (
        "These are the vectors from which the answer is made, with any padding, for "
        "networks with a convolution and without."
    )


def _fail_for_vectors(
    got: np.ndarray, net: Any, ids: Any, lengths: Any, with_lengths: bool
) -> None:
    import torch

    last = torch.full_like(lengths, ids.shape[1])
    with torch.no_grad():
        x = net.conv(net.emb(ids).permute(0, 2, 1)).permute(0, 2, 1)
        states = net.rnn(torch.relu(x))
        half = states[torch.arange(len(ids)), lengths - 1]
    slips = [
        (
            half,
            "The state is taken at the true end, but net.rnn was not told the lengths, "
            "so its second half read the masks first: net.rnn(x, lengths).",
        ),
        (
            _reference(net, ids, last),
            "Those are the states of the last column, after the masks. Where no "
            "lengths are given, count them: (ids != MASK).sum(dim=1).",
        ),
        (
            _reference(net, ids, lengths, use_conv=False),
            "The convolution has no part in it: the letters went into rnn directly.",
        ),
        (
            _reference(net, ids, last, use_conv=False),
            "The letters went into rnn without the convolution, and the state was "
            "taken after the masks.",
        ),
        (
            _reference(net, ids, lengths, relu=False),
            "The relu behind the convolution is missing; forward has one.",
        ),
        (
            _reference(net, ids, (lengths - 1).clamp(min=1)),
            "You are one column too early: the end is an entry too.",
        ),
    ]
    for wrong, sentence in slips:
        if np.allclose(got, wrong.detach().numpy(), atol=1e-5):
            fail(sentence)
    how = "with lengths given" if with_lengths else "without lengths"
    fail(
        f"Called {how}, your vectors are not those that forward calls `vectors`. "
        "Compare your lines with its lines, one by one."
    )


@exercise(
    "6.5",
    hints=[
        "For one row: how often does each label occur, and which occurs most?",
        "`np.bincount(row, minlength=n_labels)` counts; `argmax` gives the position, "
        "and here positions are labels.",
        "`np.array([np.bincount(row, minlength=n_labels).argmax() for row in "
        "neighbor_labels])`",
    ],
)
def vote(answer: Answer) -> str:
    """Check the most frequent label of each row, any of them where votes tie.

    Parameters
    ----------
    answer : callable
        ``vote(neighbor_labels, n_labels)``, labels of shape (n_queries,).

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a label wins that has not the most votes.
    """
    rng = np.random.default_rng(67)
    for n_queries, k, n_labels in ((8, 5, 4), (11, 9, 7)):
        rows = rng.integers(1, n_labels, size=(n_queries, k))
        rows[0] = [1] * (k // 2 + 1) + [3] * (k - k // 2 - 1)
        rows[1] = rows[0][::-1]
        rows[2] = 0
        got = _numpy(answer(rows.copy(), n_labels))
        slip = ""
        if np.shape(got) == (n_queries, n_labels):
            slip = "Those are the votes; take the label that has the most."
        elif np.shape(got) == (k,):
            slip = "You counted down the columns; each row is one query."
        given = f"{n_queries} queries and {k} neighbours"
        got = expect_shape("vote", got, (n_queries,), given=given, slip=slip)
        votes = (rows[:, :, None] == np.arange(n_labels)).sum(axis=1)
        for row, label in enumerate(got):
            ok = 0 <= label < n_labels and label == int(label)
            if ok and votes[row, int(label)] == votes[row].max():
                continue
            winner = int(votes[row].argmax())
            slip = ""
            if np.array_equal(got, rows[:, 0]):
                slip = "You took the nearest neighbour's label; let all of them vote."
            elif np.array_equal(got, votes.max(axis=1)):
                slip = "You returned how many votes there were; I asked for whom."
            elif np.array_equal(got, votes.argmin(axis=1)):
                slip = "That label has the fewest votes."
            elif np.allclose(got, rows.mean(axis=1)) or np.array_equal(
                got, np.round(rows.mean(axis=1))
            ):
                slip = "A mean of labels means nothing: 1 and 3 do not make 2."
            elif np.array_equal(got, np.median(rows, axis=1)):
                slip = "A median of labels means nothing: their order is the alphabet."
            fail(
                f"For the neighbours {rows[row].tolist()} I expected {winner}, your "
                f"function returned {label:g}. {slip}".rstrip()
            )
    return (
        "Neighbours have become a classifier, without any training of its own. Lesson "
        "07 does the same for all rows at once."
    )


@exercise(
    "6.6",
    hints=[
        "Probabilities and shares lie between 0 and 1, margins do not. Bring the three "
        "to one scale, each row by itself. Is one of them too flat to be heard then?",
        "Make something like probabilities of the margins: exp(3 · margin), divided by "
        "the row's sum. The 3 sharpens them. Then a weighted sum of three tables, with "
        "little weight for the votes: they know what the softmax knows.",
        "`odds = np.exp(3 * margins)`, `odds /= odds.sum(axis=1, keepdims=True)`, then "
        "`0.5 * softmax + 0.1 * votes + odds`. Still short of the bar? Change the "
        "weights, or train the network for more epochs.",
    ],
)
def blend(answer: Answer, said: Sequence[np.ndarray], labels: np.ndarray) -> str:
    """Check a rule that makes one table of scores from three.

    Parameters
    ----------
    answer : callable
        ``blend(softmax, votes, margins)``, scores of shape (n, n_labels).
    said : three arrays of shape (n, n_labels)
        What network, neighbours and linear machine say of the validation names.
    labels : int array of shape (n,)
        The true labels of the validation names.

    Returns
    -------
    str
        Accuracy and macro-F1, with the margin won.

    Raises
    ------
    ExerciseError
        When the scores' shape is wrong, a name's score hangs on other names, or
        macro-F1 is not clearly above that of the best of the three.
    """
    softmax, votes, margins = (np.asarray(part, float) for part in said)
    labels = np.asarray(labels)

    def ask(rows: np.ndarray) -> np.ndarray:
        parts = (part[rows].copy() for part in (softmax, votes, margins))
        got = as_array("blend", _numpy(answer(*parts)))
        slip = ""
        if got.shape == (len(rows),):
            slip = "Those are answers; I asked for scores, one a nationality."
        given = f"{len(rows)} names and {softmax.shape[1]} nationalities"
        shape = (len(rows), softmax.shape[1])
        got = expect_shape("blend", got, shape, given=given, slip=slip)
        if not np.isfinite(got).all():
            fail(
                "Some of your scores are not finite. Does exp grow too large, or a "
                "logarithm meet a zero?"
            )
        return got

    everyone = np.arange(len(labels))
    whole = ask(everyone).argmax(axis=1)
    apart = np.concatenate(
        [ask(rows).argmax(axis=1) for rows in np.array_split(everyone[::-1], 7)]
    )[::-1]
    if np.mean(whole == apart) < 0.995:
        fail(
            "A name's answer changes with the names that are asked beside it. Compute "
            "each row by itself: axis=1, not axis=0 or the whole table."
        )
    f1 = _macro_f1(labels, whole)
    alone = {
        "the network": softmax.argmax(axis=1),
        "the neighbours": votes.argmax(axis=1),
        "the linear machine": margins.argmax(axis=1),
    }
    each = {name: _macro_f1(labels, answers) for name, answers in alone.items()}
    best = max(each, key=each.__getitem__)
    bar = each[best] + MORE
    if f1 < bar:
        slip = (
            "Sharpen the margins, exp(t · margin) with t above 1, each row divided by "
            "its sum, and give the votes less weight."
        )
        for name, answers in alone.items():
            if np.mean(whole == answers) > 0.985:
                slip = (
                    f"You give nearly the answers of {name} alone: are its numbers so "
                    "large that they drown the others?"
                )
        fail(
            f"Macro-F1 is {f1:.3f}; the best of the three, {best}, has "
            f"{each[best]:.3f} alone, and the bar is {bar:.3f}. {slip}"
        )
    accuracy = np.mean(whole == labels)
    return (
        f"Macro-F1 {f1:.3f}, {f1 - each[best]:.3f} above the best of the three, "
        f"accuracy {accuracy:.3f}. Systems that err in different places are worth more "
        "together."
    )


def _macro_f1(truth: np.ndarray, answer: np.ndarray) -> float:
    """Mean F1 over the labels that occur, as scikit-learn has it."""
    each = []
    for label in np.union1d(truth, answer):
        hits = np.sum((truth == label) & (answer == label))
        each.append(2 * hits / (np.sum(truth == label) + np.sum(answer == label)))
    return float(np.mean(each))


def _numpy(got: Any) -> Any:
    """Bring a tensor to NumPy; leave everything else as it is."""
    if hasattr(got, "detach"):
        return got.detach().cpu().numpy()
    if isinstance(got, list | tuple) and any(hasattr(x, "detach") for x in got):
        return [_numpy(x) for x in got]
    return got


def _networks(hidden: int, seed: int) -> tuple[Any, Any, Any]:
    """Two small networks, with conv and without, and ids with masks behind."""
    import torch
    from torch import nn

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.onward = nn.GRU(hidden, hidden // 2, batch_first=True)
            self.back = nn.GRU(hidden, hidden // 2, batch_first=True)

        def forward(self, x: Any, lengths: Any = None) -> Any:
            if lengths is None:
                lengths = [x.shape[1]] * len(x)
            turned = [
                torch.cat([row[: int(n)].flip(0), row[int(n) :]])
                for row, n in zip(x, lengths, strict=True)
            ]
            parts = self.onward(x)[0], self.back(torch.stack(turned))[0]
            return torch.cat(parts, dim=2)

    class Net(nn.Module):
        def __init__(self, with_conv: bool) -> None:
            super().__init__()
            self.emb = nn.Embedding(15, hidden, padding_idx=0)
            if with_conv:
                self.conv = nn.Conv1d(hidden, hidden, kernel_size=3, padding=1)
            self.rnn = Reader()
            self.drop = nn.Dropout(0.3)
            self.drop_some = nn.Dropout(0.1)
            self.fc = nn.Linear(hidden, 4)

        def forward(self, ids: Any, lengths: Any) -> Any:
            return self.fc(_reference(self, ids, lengths))

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net, plain = Net(True).eval(), Net(False).eval()
        ids = torch.randint(4, 15, (6, 8))
        for row, length in enumerate((8, 3, 5, 7, 4, 6)):
            ids[row, 0], ids[row, length - 1] = 1, 2
            ids[row, length:] = 0
    return net, plain, ids


def _reference(
    net: Any, ids: Any, lengths: Any, *, use_conv: bool = True, relu: bool = True
) -> Any:
    """Vectors of names, one name at a time and column by column."""
    import torch

    vectors = []
    for row, length in zip(ids, lengths.tolist(), strict=True):
        x = net.emb(row).T
        if use_conv and hasattr(net, "conv"):
            x = net.conv(x[None])[0]
            x = torch.relu(x) if relu else x
        vectors.append(net.rnn(x.T[None, :length])[0, -1])
    return torch.stack(vectors)


def _candidate(use_conv: str, at_end: bool) -> Answer:
    def get_vectors(net: Any, ids: Any, lengths: Any = None) -> Any:
        if use_conv == "always":
            _ = net.conv
        true_lengths = (ids != 0).sum(dim=1)
        if not at_end:
            true_lengths = true_lengths * 0 + ids.shape[1]
        return _reference(net, ids, true_lengths, use_conv=use_conv != "never")

    return get_vectors


def _suggested(net: Any, ids: Any, lengths: Any = None) -> Any:
    _ = net.conv(net.emb(ids).permute(0, 2, 1))
    return _candidate("never", at_end=False)(net, ids)


_CANDIDATES = (
    ("the suggested function", _suggested, (True, True, True)),
    ("a right function", _candidate("if there", at_end=True), (False, False, False)),
    (
        "a function that reads the last column",
        _candidate("if there", at_end=False),
        (False, True, False),
    ),
    (
        "a function that leaves conv out",
        _candidate("never", at_end=True),
        (True, False, False),
    ),
    (
        "a function that always asks for conv",
        _candidate("always", at_end=True),
        (False, False, True),
    ),
    (
        "a function with two of the faults",
        _candidate("always", at_end=False),
        (False, True, True),
    ),
)


summary = summary_of(__name__)
