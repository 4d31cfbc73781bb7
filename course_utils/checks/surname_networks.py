"""Exercise 6.6: a blend of three systems, judged on names that are set aside."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from course_utils.checks.core import as_array, exercise, expect_shape, fail
from course_utils.evaluation import Interval, accuracy, paired_bootstrap

import numpy as np

Answer = Callable[..., Any]
OPINIONS = ("the network", "the neighbours", "the linear machine")
# Of each system the version with the lowest cross-entropy is the baseline: the linear
# machine's margins are no probabilities, and the others' may be too sure or unsure.
SHARPNESS = (1, 2, 3, 4, 6, 8)  # factors of the margins
EXPONENTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5)  # of probabilities
LITTLE = 1e-3  # added to the votes, of which many are 0


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
    _expect_several(answer, tables, got)
    alone = _alone(tables, labels)
    nats = {name: _nats(table, labels) for name, table in alone.items()}
    best = min(nats, key=lambda name: nats[name].mean())
    own = _nats(got, labels)
    gain = paired_bootstrap(labels, nats[best], own, lambda _, each: each.mean())
    told = (
        f"On {len(labels):,} names that no cell has held, the cross-entropy is "
        f"{own.mean():.3f} nats; the best alone, {best} as "
        f"sharp as suits it best, has {nats[best].mean():.3f}. "
        f"You gain {gain:.3f}"
    )
    if gain.low <= 0:
        why = _advice(got, labels, gain)
        for name, table in zip(OPINIONS, tables, strict=True):
            if np.mean(got.argmax(axis=1) == table.argmax(axis=1)) > 0.985:
                why = f"These are nearly {name} alone: do its numbers drown the others?"
        fail(f"{told}, and the interval should lie above 0. {why}")
    answers, leads = got.argmax(axis=1), []
    for table in (tables[0], tables[2]):
        leads.append(paired_bootstrap(labels, answers, table.argmax(axis=1)))
    end = (
        "More of the answers are right, too."
        if min(lead.low for lead in leads) > 0
        else "Better probabilities need not mean more right answers."
    )
    return (
        f"{told}. Accuracy {accuracy(labels, answers):.3f}: {leads[0]:+.3f} against "
        f"the network, {leads[1]:+.3f} against the linear machine. {end}"
    )


def _alone(tables: list[np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Each system's own best probabilities, by cross-entropy on the judged names.

    Choosing by these very names favours the baselines, not the answer.
    """
    softmax, votes, margins = tables
    logs = np.log(np.maximum(softmax, 1e-9)), np.log(np.maximum(votes, 0) + LITTLE)
    scales = EXPONENTS, EXPONENTS, SHARPNESS
    best = {}
    for name, several, scores in zip(OPINIONS, scales, (*logs, margins), strict=True):
        made = [_softmax(scale * scores) for scale in several]
        best[name] = min(made, key=lambda table: _nats(table, labels).mean())
    return best


def _expect_several(answer: Answer, tables: list[np.ndarray], got: np.ndarray) -> None:
    """Refuse a rule that looks at one of the tables alone."""
    rows = np.roll(np.arange(len(got)), 7)
    for number, name in enumerate(OPINIONS):
        given = [part if i == number else part[rows] for i, part in enumerate(tables)]
        if np.allclose(got, np.asarray(answer(*(part.copy() for part in given)))):
            fail(
                f"Your probabilities come from {name} alone: they stayed the same when "
                "I gave the two other tables of other names. Let two of them speak."
            )


def _advice(got: np.ndarray, labels: np.ndarray, gain: Interval) -> str:
    impossible = int((got[np.arange(len(labels)), labels] <= 0).sum())
    if impossible:
        return (
            f"{impossible} right answers got the probability 0: add a little to each "
            "before logarithms or products, such as 0.001."
        )
    sure, right = got.max(axis=1).mean(), accuracy(labels, got.argmax(axis=1))
    told = f"On average it gives its answer {sure:.2f}, and {right:.2f} are right:"
    if sure > right + 0.03:
        return (
            f"{told} it is too sure. Take smaller weights, two or three of them, "
            "chosen on validation names; many weights fitted on few names end so, too."
        )
    if sure < right - 0.03:
        return (
            f"{told} it is too unsure. Multiply the margins, by 2 or 3, before exp; "
            "and add logarithms, as a mean of probabilities is flatter."
        )
    if gain.high < 0:
        return (
            "One of them alone does better: give the weaker ones less weight, chosen "
            "on validation names."
        )
    return (
        "Try a weighted sum of the network's logarithms and of the margins, made into "
        "probabilities; choose the weights on validation names."
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
