"""Exercise 6.3: a training loop, watched on a few names and judged on held-out ones."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from unittest import mock

from course_utils.checks.core import exercise, fail
from course_utils.checks.leaks import reached
from course_utils.evaluation import bootstrap

import numpy as np

Answer = Callable[..., Any]
N_NAMES, EPOCHS = 4_000, 3  # of the training part
N_FEW = 300  # names of the short trials, in which each batch is looked at
BAR = 0.5  # the interval of held-out accuracy has to lie above it


@exercise(
    "6.3",
    hints=[
        "Two loops: epochs, and in each `for rows in batches(lengths, generator):`. "
        "Make generator, loss and optimiser before them.",
        "`generator = torch.Generator().manual_seed(seed)`, `loss_of = "
        "make_loss(labels)`, `optimiser = torch.optim.AdamW(net.parameters(), "
        "lr=RATE)`; in each epoch first `net.train()`.",
        "For each batch `scores = net(ids[rows, : lengths[rows].max()], "
        "lengths[rows])`, `loss = loss_of(scores, labels[rows])`, then "
        "`optimiser.zero_grad()`, `loss.backward()`, `optimiser.step()`.",
    ],
)
def train(answer: Answer, make_net: Answer, fit: tuple, held_out: tuple) -> str:
    """Watch the answer on few names, train with it, ask about names held out."""
    import torch

    truth = np.asarray(held_out[2])
    for name, value in reached(answer):
        if _holds(value, truth):
            fail(
                f"train reads `{name}`, the labels it is judged by. Use its arguments."
            )
    with torch.random.fork_rng():
        _watch(answer, make_net, _few(fit))
        torch.manual_seed(63)
        net = make_net()
        given = [part[:N_NAMES].clone() for part in fit]
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            answer(net, *given, EPOCHS, 63)
    if not all(part.isfinite().all() for part in net.state_dict().values()):
        fail("The network's numbers became nan: is the rate near RATE?")
    net.eval()
    with torch.no_grad():
        answers = net(*held_out[:2]).argmax(dim=1).numpy()
    found = bootstrap(truth, answers)
    told = (
        f"After {EPOCHS} epochs on {len(given[0]):,} names, accuracy on "
        f"{len(truth):,} names held out is {found:.3f}"
    )
    if found.low <= BAR:
        last = printed.getvalue().strip().splitlines()[-1:]
        ended = f"The last line printed was “{last[0].strip()[:80]}”. " if last else ""
        fail(
            f"{told}; the interval should lie above {BAR:.2f}. {ended}Is the rate near "
            "RATE, and is every batch followed by one step?"
        )
    return f"{told}. Your own loop has trained a network, and the next cells use it."


def _holds(value: Any, truth: np.ndarray) -> bool:
    """Whether a value, or a part of it, is the array of held-out labels."""
    if isinstance(value, tuple | list) and len(value) != len(truth):
        return len(value) < 100 and any(_holds(part, truth) for part in value)
    if isinstance(value, dict):
        return len(value) < 100 and any(_holds(part, truth) for part in value.values())
    try:
        array = np.asarray(value)
    except Exception:  # whatever an object of the notebook does when it is converted
        return False
    return array.shape == truth.shape and bool(np.array_equal(array, truth))


def _few(fit: tuple) -> list[Any]:
    """Choose different names, with each label among them, and deal the labels anew.

    So a batch tells by its rows which labels belong to it, and labels of the notebook
    are not theirs.
    """
    import torch

    ids, labels = np.asarray(fit[0]), np.asarray(fit[2])
    rng = np.random.default_rng(63)
    _, rows = np.unique(ids, axis=0, return_index=True)
    rows = rng.permutation(rows)[:N_FEW]
    dealt = rng.permutation(np.resize(np.unique(labels), len(rows)))
    # Frequencies differ, as they do in the lesson: the smallest label gets more names.
    dealt[rng.random(len(rows)) < 0.3] = labels.min()
    dealt[: len(np.unique(labels))] = np.unique(labels)
    chosen = torch.as_tensor(rows)
    return [fit[0][chosen], fit[1][chosen], torch.as_tensor(dealt)]


class Batch(NamedTuple):
    """What a network was given, and the gradient that came back to its scores."""

    ids: np.ndarray
    lengths: np.ndarray
    training: bool
    scores: np.ndarray
    gradient: np.ndarray


@dataclass
class Trial:
    """What was seen while an answer trained on a few names."""

    epochs: int
    batches: list[Batch] = field(default_factory=list)
    added: list[bool] = field(default_factory=list)
    optimisers: list[int] = field(default_factory=list)  # batches before each was made
    printed: str = ""
    changed: bool = True
    rows: list[np.ndarray] = field(default_factory=list)  # of each batch

    @property
    def order(self) -> np.ndarray:
        """Rows of the names, as they were learned from."""
        return np.concatenate(self.rows)


def _try(
    answer: Answer, make_net: Answer, few: list[Any], epochs: int, seed: int
) -> Trial:
    """Let the answer train a new network, and note each batch that it learns from."""
    import torch

    seen = Trial(epochs)
    torch.manual_seed(63)
    net = make_net()
    before = {name: part.clone() for name, part in net.state_dict().items()}
    make = torch.optim.Optimizer.__init__

    def count(self: Any, *given: Any, **named: Any) -> None:
        seen.optimisers.append(len(seen.batches))
        make(self, *given, **named)

    with (
        contextlib.redirect_stdout(io.StringIO()) as printed,
        mock.patch.object(torch.optim.Optimizer, "__init__", count),
        _watched(net, seen),
    ):
        answer(net, *(part.clone() for part in few), epochs, seed)
    after = net.state_dict()
    seen.printed = printed.getvalue()
    seen.changed = any(not part.equal(after[name]) for name, part in before.items())
    return seen


@contextlib.contextmanager
def _watched(net: Any, seen: Trial) -> Iterator[None]:
    """Note what a network learns from, and whether gradients add up."""
    last = [part for part in net.parameters() if part.requires_grad][-1]

    def look(net: Any, args: tuple, named: dict[str, Any], out: Any) -> None:
        if not getattr(out, "requires_grad", False):
            return  # asked, not trained
        ids, lengths = (*args, *named.values())[:2]
        if "lengths" in named and not args:
            ids, lengths = named.get("ids"), named["lengths"]
        given = np.array(ids), np.array(lengths), net.training, np.array(out.detach())

        def note(gradient: Any) -> None:
            seen.batches.append(Batch(*given, np.array(gradient)))

        out.register_hook(note)

    def compare(gradient: Any) -> None:
        # The gradient of this batch, before it is added to what is there already.
        seen.added.append(last.grad is not None and bool(last.grad.any()))

    hooks = (
        net.register_forward_hook(look, with_kwargs=True),
        last.register_hook(compare),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _watch(answer: Answer, make_net: Answer, few: list[Any]) -> None:
    """Refuse what the accuracy of one network would not tell."""
    trial = _try(answer, make_net, few, 2, 1)
    if not trial.changed:
        fail(
            "No number of `net` has changed: does `optimiser.step()` run in the loop, "
            "after `loss.backward()`, on `net.parameters()`?"
        )
    if not trial.batches:
        fail("No gradient came back to the scores of `net`: is the loss made of them?")
    _judge_names(trial, few)
    _judge_steps(trial)
    _judge_loss(trial, few[2].numpy())
    n_numbers = len(re.findall(r"\d+", trial.printed))
    if n_numbers < trial.epochs:
        fail(
            f"For {trial.epochs} epochs {n_numbers or 'no'} numbers were printed: "
            "print the mean loss at the end of each epoch."
        )
    first, second = np.array_split(trial.order, 2)
    if np.array_equal(first, second):
        fail(
            "The names came in the same order in both epochs. Make the generator once, "
            "before the loops, and call `batches(lengths, generator)` in each epoch."
        )
    again, other = (_try(answer, make_net, few, 1, seed) for seed in (1, 2))
    for one in (again, other):
        _judge_names(one, few)
    if np.array_equal(again.order, other.order):
        fail(
            "Seeds 1 and 2 gave the same order of names: "
            "`torch.Generator().manual_seed(seed)` makes a generator that `seed` sets."
        )
    if not np.array_equal(again.order, first):
        fail(
            "The same seed gave two orders of names: seed the generator with `seed`, "
            "and draw batches from it alone."
        )


def _judge_names(trial: Trial, few: list[Any]) -> None:
    """Insist on the names that were given, once an epoch, each with its length."""
    ids, lengths = few[0].numpy(), few[1].numpy()
    row_of = {bytes(np.trim_zeros(row, "b")): i for i, row in enumerate(ids)}
    trial.rows = []
    for batch in trial.batches:
        keys = [bytes(np.trim_zeros(row, "b")) for row in batch.ids.astype(ids.dtype)]
        if not set(keys) <= set(row_of):
            fail(
                "The network read rows that are not among those that train was given. "
                "Use its arguments, not names of other cells, and cut columns off "
                "after the longest name: `ids[rows, : lengths[rows].max()]`."
            )
        rows = np.array([row_of[key] for key in keys])
        off = batch.lengths.reshape(-1) != lengths[rows]
        if off.any():
            which = int(np.argmax(off))
            fail(
                f"The network was told that a name of {lengths[rows][which]} entries "
                f"has {batch.lengths.reshape(-1)[which]}: hand it `lengths[rows]`, "
                "those of the batch's names."
            )
        trial.rows.append(rows)
    times = np.bincount(trial.order, minlength=len(ids))
    if (times == trial.epochs).all():
        return
    n_seen, wanted = int(times.sum()), trial.epochs * len(ids)
    if n_seen == wanted:
        fail(
            f"In {trial.epochs} epochs some names were learned from {times.max()} "
            f"times, others {times.min()} times: each epoch takes every name once."
        )
    fail(
        f"For epochs={trial.epochs} and {len(ids):,} names the network learned from "
        f"{n_seen:,}, not {wanted:,}: each epoch goes once through all batches, and "
        "there are `epochs` of them."
    )


def _judge_steps(trial: Trial) -> None:
    """Look at the mode, at gradients, and at when the optimiser was made."""
    if not all(batch.training for batch in trial.batches):
        fail(
            "The network learned in evaluation mode, where dropout is off. Call "
            "`net.train()` before the batches of an epoch."
        )
    if np.mean(trial.added) > 0.5:
        fail(
            "Gradients of earlier batches were added to those of each new one: call "
            "`optimiser.zero_grad()` for each batch."
        )
    late = [before for before in trial.optimisers[1:] if before]
    if late:
        fail(
            f"{len(trial.optimisers)} optimisers were made for {trial.epochs} epochs. "
            "Make one, before the loops: a new one forgets the mean gradients that it "
            "has collected."
        )


def _judge_loss(trial: Trial, labels: np.ndarray) -> None:
    """Tell from gradients which labels a loss was told, and what it was given."""
    if not all(np.isfinite(batch.gradient).all() for batch in trial.batches):
        fail("The network's scores became nan: is the rate near RATE?")
    pairs = list(zip(trial.batches, trial.rows, strict=True))
    truth = np.concatenate([labels[rows] for _, rows in pairs])
    least, most = (
        np.concatenate([pick(batch.gradient, axis=1) for batch, _ in pairs])
        for pick in (np.argmin, np.argmax)
    )
    # A step raises the score of the label that the loss was told, and lowers others.
    if np.mean(most == truth) > 0.9:
        fail("Your loop makes the loss larger: is there a minus too many, or too few?")
    if np.mean(least == truth) < 0.5:
        fail(
            f"Of {len(truth):,} names the loss was told another label than theirs for "
            f"{np.sum(least != truth):,}: give it `labels[rows]`, of the argument "
            "`labels` and of the same rows as the scores."
        )
    prior = 0.25 * np.log(np.bincount(labels) / len(labels))
    fits: dict[bool, list[float]] = {True: [], False: []}
    for twice in fits:
        for shift in (0 * prior, prior):
            each = [
                _likeness(batch, labels[rows], shift, twice) for batch, rows in pairs
            ]
            fits[twice].append(min(each))
    if max(fits[True]) > 0.999 > max(fits[False]):
        fail(
            "The loss was given probabilities. Cross-entropy takes the softmax itself: "
            "give it the scores as they come from `net`."
        )


def _likeness(
    batch: Batch, labels: np.ndarray, shift: np.ndarray, twice: bool
) -> float:
    """Cosine of a batch's gradient and that of cross-entropy, of one softmax or two."""
    told = np.eye(len(shift))[labels]
    if twice:
        inner = _softmax(batch.scores)
        outer = _softmax(inner + shift) - told
        wanted = inner * (outer - (inner * outer).sum(axis=1, keepdims=True))
    else:
        wanted = _softmax(batch.scores + shift) - told
    lengths = np.linalg.norm(wanted) * np.linalg.norm(batch.gradient)
    return float((wanted * batch.gradient).sum() / max(lengths, 1e-12))


def _softmax(scores: np.ndarray) -> np.ndarray:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)
