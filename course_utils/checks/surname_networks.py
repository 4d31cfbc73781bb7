"""Exercises 6.3 and 6.6: a training loop, and a blend, judged on held-out names."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from course_utils.checks.core import as_array, exercise, expect_shape, fail
from course_utils.checks.leaks import reached
from course_utils.evaluation import Interval, accuracy, bootstrap, paired_bootstrap

import numpy as np

Answer = Callable[..., Any]
N_NAMES, EPOCHS = 4_000, 3  # of the training part
BAR = 0.5  # the interval of held-out accuracy has to lie above it
OPINIONS = ("the network", "the neighbours", "the linear machine")
SHARPNESS = (1, 2, 3, 4, 6, 8)  # of the linear machine's margins, the best is taken


def set_aside(names: Iterable[str]) -> np.ndarray:
    """Choose the names that exercise 6.6 is judged on: a third, by their letters.

    Parameters
    ----------
    names : iterable of str
        Of the test half; all rows of a name share its fate.

    Returns
    -------
    numpy.ndarray of bool, shape (n,)
        Whether each is set aside.
    """
    return np.array([zlib.crc32(name.casefold().encode()) % 3 == 0 for name in names])


@cache
def kept_names(source: str = "faker") -> tuple[np.ndarray, np.ndarray]:
    """Names that were set aside, and their labels.

    Parameters
    ----------
    source : str
        As `course_utils.data.load_surnames` takes it.

    Returns
    -------
    names, labels : numpy.ndarray of shape (n,)
        Those of the test half that `set_aside` chooses.
    """
    from course_utils.data import load_surnames

    _, (names, labels) = load_surnames(source)
    kept = set_aside(names)
    return names[kept], labels[kept]


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
    """Train a network with the answer, and ask it about names held out."""
    import torch

    ids, lengths, labels = (part[:N_NAMES] for part in fit)
    truth = np.asarray(held_out[2])
    for name, value in reached(answer):
        if np.array_equal(np.asarray(value, object), truth):
            fail(
                f"train reads `{name}`, the labels it is judged by. Use its arguments."
            )
    with torch.random.fork_rng():
        torch.manual_seed(63)
        net = make_net()
        before = {name: part.clone() for name, part in net.state_dict().items()}
        with contextlib.redirect_stdout(io.StringIO()), _watched(net) as seen:
            answer(net, ids.clone(), lengths.clone(), labels.clone(), EPOCHS, 63)
    after = net.state_dict()
    if all(part.equal(after[name]) for name, part in before.items()):
        fail(
            "No number of `net` has changed: does `optimiser.step()` run in the loop, "
            "after `loss.backward()`, on `net.parameters()`?"
        )
    if not all(part.isfinite().all() for part in after.values()):
        fail("The network's numbers became nan: is the rate near RATE?")
    n_seen, wanted = sum(seen["names"]), EPOCHS * len(ids)
    if not 0.9 * wanted < n_seen < 1.1 * wanted:
        fail(
            f"For {EPOCHS} epochs of {len(ids):,} names the network learned from "
            f"{n_seen:,}, not {wanted:,}: each epoch goes once through all batches, "
            "and there are `epochs` of them."
        )
    if np.mean(seen["added"]) > 0.5:
        fail(
            "Gradients of earlier batches were added to those of each new one: call "
            "`optimiser.zero_grad()` for each batch."
        )
    net.eval()
    with torch.no_grad():
        answers = net(*held_out[:2]).argmax(dim=1).numpy()
    found = bootstrap(truth, answers)
    told = (
        f"After {EPOCHS} epochs on {len(ids):,} names, accuracy on {len(truth):,} "
        f"names held out is {found:.3f}"
    )
    if found.low <= BAR:
        why = (
            "It gives one answer for all names: is the loss made smaller?"
            if len(np.unique(answers)) == 1
            else "Does each batch's loss get `labels[rows]`, and is the rate near RATE?"
        )
        fail(f"{told}; the interval should lie above {BAR:.2f}. {why}")
    return f"{told}. Your own loop has trained a network, and the next cells use it."


@contextlib.contextmanager
def _watched(net: Any) -> Iterator[dict[str, list]]:
    """Note how many names a network learns from, and whether gradients add up."""
    import torch

    seen: dict[str, list] = {"names": [], "added": [0]}
    last = [part for part in net.parameters() if part.requires_grad][-1]

    def count(net: Any, given: Any, out: Any) -> None:
        if torch.is_grad_enabled():
            seen["names"].append(len(out))

    def compare(gradient: Any) -> None:
        # The gradient of this batch, before it is added to what is there already.
        seen["added"].append(last.grad is not None and bool(last.grad.any()))

    hooks = net.register_forward_hook(count), last.register_hook(compare)
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@exercise(
    "6.6",
    hints=[
        "Logarithms of probabilities add up. The margins are no probabilities: "
        "exp(3 · margin), divided by the row's sum, is something like them.",
        "Add `np.log(softmax + 1e-3)` and `2 * margins`, each with a weight, perhaps "
        "`np.log(votes + 1e-3)` too; then exp, and divide each row by its sum. Let the "
        "validation names choose the weights.",
        "`scores = 0.5 * np.log(softmax + 1e-3) + 2 * margins`, `odds = np.exp(scores "
        "- scores.max(axis=1, keepdims=True))`, then `odds / odds.sum(axis=1, "
        "keepdims=True)`.",
    ],
)
def blend(answer: Answer, opinions_of: Answer, source: str = "faker") -> str:
    """Judge the rule on names that no cell of the lesson has held."""
    names, labels = kept_names(source)
    tables = [np.asarray(part, float) for part in opinions_of(names.copy())]
    got = _asked(answer, tables)
    softmax, _, margins = tables
    alone = {"the network": softmax} | {
        f"softmax({sharp} · margins)": _softmax(sharp * margins) for sharp in SHARPNESS
    }
    nats = {name: _nats(table, labels) for name, table in alone.items()}
    best = min(nats, key=lambda name: nats[name].mean())
    own = _nats(got, labels)
    gain = paired_bootstrap(labels, nats[best], own, lambda _, each: each.mean())
    told = (
        f"On {len(labels):,} names that no cell has held, the cross-entropy is "
        f"{own.mean():.3f} nats; the best alone, {best}, has {nats[best].mean():.3f}. "
        f"You gain {gain:.3f}"
    )
    if gain.low <= 0:
        none = int((got[np.arange(len(labels)), labels] <= 0).sum())
        why = _advice(none, gain)
        for name, table in zip(OPINIONS, tables, strict=True):
            if np.mean(got.argmax(axis=1) == table.argmax(axis=1)) > 0.985:
                why = f"These are nearly {name} alone: do its numbers drown the others?"
        fail(f"{told}, and the interval should lie above 0. {why}")
    answers, theirs = got.argmax(axis=1), alone[best].argmax(axis=1)
    lead = paired_bootstrap(labels, answers, theirs)
    return (
        f"{told}. Accuracy {accuracy(labels, answers):.3f}, {lead:+.3f} against the "
        "best alone. Systems that err in different places know more together."
    )


def _advice(impossible: int, gain: Interval) -> str:
    if impossible:
        return (
            f"{impossible} right answers got the probability 0: add a little to each "
            "before logarithms or products, such as 0.001."
        )
    if gain.high < 0:
        return (
            "Is it too sure? A rule with many weights, fitted on few names, is; one "
            "with two or three weights, chosen on validation names, is enough."
        )
    return (
        "Let two of them speak: a weighted sum of the network's logarithms and of the "
        "margins, made into probabilities; choose the weights on validation names."
    )


def _asked(answer: Answer, tables: list[np.ndarray]) -> np.ndarray:
    """Ask for all names, and in parts: each row has to be judged by itself."""

    def ask(rows: np.ndarray) -> np.ndarray:
        got = as_array("blend", answer(*(part[rows].copy() for part in tables)))
        shape = (len(rows), tables[0].shape[1])
        given = f"{shape[0]} names and {shape[1]} nationalities"
        slip = "Those are answers; I asked for probabilities, one a nationality."
        slip = slip if got.ndim == 1 else ""
        got = expect_shape("blend", got, shape, given=given, slip=slip)
        if not np.isfinite(got).all():
            fail("Some are not finite: too large for exp, or the log of a zero.")
        sums = got.sum(axis=1)
        if got.min() < 0 or np.abs(sums - 1).max() > 1e-3:
            fail(
                f"Rows add up to {sums.min():.3f} to {sums.max():.3f}, the smallest "
                f"number is {got.min():.3f}: probabilities are 0 or more, and a row "
                "of them adds up to 1."
            )
        return got.astype(float)

    everyone = np.arange(len(tables[0]))
    whole = ask(everyone)
    parts = [ask(rows) for rows in np.array_split(everyone[::-1], 7)]
    if not np.allclose(whole, np.concatenate(parts)[::-1], atol=1e-3):
        fail(
            "A name's answer changes with the names that are asked beside it. Compute "
            "each row by itself: axis=1, not axis=0 or the whole table."
        )
    return whole


def _softmax(scores: np.ndarray) -> np.ndarray:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _nats(table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Minus the logarithm of what each right answer got."""
    return -np.log(np.maximum(table[np.arange(len(labels)), labels], 1e-9))
