"""Checks of lesson 08, From raw stories to a tuned similarity search."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import exercise, fail
from course_utils.checks.leaks import reached
from course_utils.checks.summary import summary_of
from course_utils.checks.tuned_search import gain_interval as gain_interval
from course_utils.checks.tuned_search import train as train
from course_utils.data import NEWS_DESKS
from course_utils.evaluation import paired_bootstrap
from course_utils.weak_supervision import (
    ABSTAIN,
    apply_heuristics,
    heuristic_precision,
    weak_labels,
)

import numpy as np
import pandas as pd

Answer = Callable[..., Any]
COVERAGE = 0.05  # of the pool on which a heuristic has to fire
PRECISION = 0.8  # of the validation posts on which it fires
MORE = 0.01  # of the pool that the vote labels thanks to it
PERFECT = (
    40  # validation posts; who is right on more of them may have seen their labels
)


def _variants(function: Answer, **steps: dict[str, Answer]) -> dict[str, Answer]:
    """Mistakes that take one step of a function in another way, by their sentences."""
    return {
        sentence: partial(function, **{step: other})
        for step, others in steps.items()
        for sentence, other in others.items()
    }


def _use(got: Any, cell: Answer, advice: str) -> None:
    try:
        cell(got)
    except (TypeError, ValueError):
        fail(f"Right, but a later cell needs {advice}.")


def _swapped(order: str, got: Any, expected: Any, *arguments: Any) -> str:
    places_changed = all(map(np.allclose, got, expected[::-1]))
    return f"{order}: yours have changed places." if places_changed else ""


def _heuristics() -> list[Case]:
    advice = "A share of no posts divides by zero; precision is 0 there."
    votes_and_manual = (
        ([0, 1, -1, 2, 0, -1, 1, 0, -1, 2], [0, 1, 1, 2, 1, -1, 2, -1, 0, 2], ""),
        ([1, 1, 0, -1, 2, -1, 0, 2, 1], [1, 0, -1, 2, 2, -1, 0, 2, -1], ""),
        ([-1, -1, -1], [0, 1, 2], advice),
        ([0, 1, 2], [-1, -1, -1], advice),
    )
    return [Case(np.array(v), np.array(m), advice=a) for v, m, a in votes_and_manual]


def _per(some: Any, whole: Any) -> float:
    return some.sum() / max(1, whole.sum())


def _shares(
    votes: Any,
    manual: Any,
    judged: Answer = lambda fires, known: fires & known,
    divide: Answer = _per,
    coverage: Answer = lambda fires, known: fires.mean(),
    lowest: int = 0,
) -> tuple[Any, Any]:
    fires, known = votes >= lowest, manual >= lowest
    right = fires & known & (votes == manual)
    return divide(right, judged(fires, known)), coverage(fires, known)


@reference(
    "8.1",
    hints=[
        "Which posts count for precision? Those on which the heuristic fires *and* "
        "that are labelled.",
        "`fires = votes != -1` and `judged = fires & (manual != -1)` are masks; a "
        "mask's `mean()` is a share.",
        "`precision = (votes == manual)[judged].mean() if judged.any() else 0.0`; "
        "coverage is `fires.mean()`.",
    ],
    cases=_heuristics,
    mistakes={
        "0 is a desk, too: only -1 is silent.": partial(_shares, lowest=1),
        "Where both are -1 they are equal, but the heuristic was silent, not right.": (
            lambda votes, manual: (np.mean(votes == manual), np.mean(votes >= 0))
        ),
        **_variants(
            _shares,
            judged={
                "Precision divides by all posts on which it fires. Posts without a "
                "label cannot be judged: leave them out.": lambda fires, known: fires,
                "Precision divides by all labelled posts; divide by those of them on "
                "which it fires.": lambda fires, known: known,
            },
            divide={
                "A mean of nothing is nan; precision is 0 there.": (
                    lambda right, judged: right[judged].mean()
                ),
            },
            coverage={
                "Coverage is a share of all posts; yours is of labelled ones alone.": (
                    lambda fires, known: _per(fires & known, known)
                ),
                "Coverage counts every post on which it fires, labelled or not.": (
                    lambda fires, known: (fires & known).mean()
                ),
                "Coverage is a share, not a count.": lambda fires, known: fires.sum(),
            },
        ),
    },
    slip=partial(_swapped, "Precision comes first, then coverage"),
    # Cell [26] would take the index of a Series for columns, and show NaN.
    then=lambda answer: _use(
        answer(np.array([1, 0]), np.array([1, ABSTAIN])),
        lambda pair: pd.DataFrame([pair, pair], columns=[0, "coverage"]).astype(int),
        "a pair of numbers: `return precision, coverage`",
    ),
    passed="Precision says how much to believe a heuristic, coverage how much work it "
    "saves. Precision needs labels, coverage none.",
)
def precision_and_coverage(votes: Any, manual: Any) -> tuple[float, float]:
    """Count post by post."""
    fired = [pair for pair in zip(votes, manual, strict=True) if pair[0] != ABSTAIN]
    judged = [vote == truth for vote, truth in fired if truth != ABSTAIN]
    return sum(judged) / max(1, len(judged)), len(fired) / len(votes)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _poll(
    labels: list[int],
    weights: list[float],
    squash: Answer = lambda margin: _sigmoid(7 * margin - 3),
    margin: Answer = lambda sums: 2 * sums[0] - sum(sums),
    winner: Answer = lambda best, labels, weights: best,
    undecided: Answer = lambda label, sure: (ABSTAIN, 0.0),
) -> tuple[Any, Any]:
    sums: Any = {}
    for label, weight in zip(labels, weights, strict=True):
        sums[label] = sums.get(label, 0.0) + weight
    ranked = [*sorted(sums.values(), reverse=True), 0.0, 0.0]
    sure = squash(margin(ranked))
    best = winner(max(sums, key=sums.get), labels, weights) if labels else ABSTAIN
    decided = 2 * ranked[0] - sum(ranked) > 1e-9
    return (best, sure) if decided else undecided(best, sure)


def _against_second(labels: list[int], weights: list[float]) -> tuple[Any, Any]:
    """Subtract the second best alone, from the margin and from what decides."""
    sums = sorted(np.bincount(labels, weights)) if labels else [0.0]
    margin = sums[-1] - (sums[-2] if len(sums) > 1 else 0)
    if margin <= 1e-9:
        return ABSTAIN, 0.0
    return int(np.bincount(labels, weights).argmax()), _sigmoid(7 * margin - 3)


def _heaviest(labels: list[int], weights: list[float]) -> int:
    return labels[int(np.argmax(weights))]


def _of_one(labels: list[int], weights: list[float], choose: Answer) -> tuple[Any, Any]:
    """Choose a label in another way, and subtract the rest from its own sum."""
    if not labels:
        return ABSTAIN, 0.0
    label = choose(labels, weights)
    own = sum(w for one, w in zip(labels, weights, strict=True) if one == label)
    margin = 2 * own - sum(weights)
    return (label, _sigmoid(7 * margin - 3)) if margin > 1e-9 else (ABSTAIN, 0.0)


@reference(
    "8.2",
    hints=[
        "First the sum for each label that occurs. How much is the best sum, and "
        "how much are all others together?",
        "`np.bincount(labels, weights)` adds weights up by label; margin = best - "
        "(all - best).",
        "`margin = 2 * sums.max() - sums.sum()`; if it is not above 0 return "
        "`-1, 0.0`, else `sums.argmax()` and `1 / (1 + np.exp(3 - 7 * margin))`.",
    ],
    cases=lambda: [
        Case([1], [0.6]),
        Case([2, 0, 2], [0.5, 0.7, 0.4]),
        Case([3, 1, 3, 0], [0.9, 0.35, 0.3, 0.25]),
        Case([1, 0, 0], [0.95, 0.2, 0.3]),
        Case([0, 1], [0.8, 0.8]),
        Case([2, 1, 0], [0.5, 0.3, 0.4]),
        Case([0, 3, 0], [0.6, 0.35, 0.5]),
        Case([0, 1, 2], [0.9, 0.2, 0.2]),
        Case([6, 4, 6], [0.3, 0.2, 0.4]),
        Case([], [], advice="Without votes it should return -1 and 0.0."),
    ],
    mistakes=_variants(
        _poll,
        winner={
            "0 is a desk, too; only -1 is none.": lambda best, *votes: best or ABSTAIN,
        },
        undecided={
            "Where there is no label, give -1.": lambda label, sure: (None, 0.0),
            "A margin of 0 or less gives no label.": lambda label, sure: (label, 0.0),
            "Without a label the confidence is 0.": lambda label, sure: (ABSTAIN, sure),
        },
        margin={
            "That is the best sum alone; subtract the others.": max,
            "You divided by the sum of all weights; leave the margin as it is.": (
                lambda sums: 2 * sums[0] / (sum(sums) or 1) - 1
            ),
        },
        squash={
            "That is the margin itself; send it through σ(7 · margin − 3).": float,
            "That is 7 · margin − 3; σ is missing.": lambda m: 7 * m - 3,
            "It is − 3 in σ(7 · margin − 3), not + 3.": lambda m: _sigmoid(7 * m + 3),
            "3 and 7 have changed places.": lambda m: _sigmoid(3 * m - 7),
            "The sign in exp is wrong.": lambda m: _sigmoid(3 - 7 * m),
            "The 7 and the 3 are missing: σ(7 · margin − 3).": _sigmoid,
            "The − 3 is missing.": lambda m: _sigmoid(7 * m),
        },
    )
    | {
        "You counted votes; add up their weights.": (
            lambda labels, weights: _poll(labels, [1.0] * len(labels))
        ),
        "You subtracted only the second best; subtract all others.": (
            partial(_poll, margin=lambda sums: sums[0] - sums[1]),
            _against_second,
        ),
        "You took the heaviest single vote; add up the weights of each label.": (
            partial(_poll, winner=lambda best, *votes: _heaviest(*votes)),
            partial(_of_one, choose=_heaviest),
        ),
        "You took the label with the most votes; add up their weights.": partial(
            _of_one, choose=lambda labels, weights: max(labels, key=labels.count)
        ),
    },
    slip=partial(_swapped, "The label comes first, then the confidence"),
    then=lambda answer: _use(
        answer([1], [0.6]),
        lambda pair: f"{NEWS_DESKS[pair[0]]} {pair[1]:.2f}",
        "a whole number and a float: `return int(label), float(confidence)`",
    ),
    passed="A margin of 0 gives no label, a margin of 1 a confidence of 0.98: sums of "
    "precisions have become labels, and each says how sure it is.",
)
def weak_vote(labels: list[int], weights: list[float]) -> tuple[int, float]:
    """Add up label by label."""
    return _poll(labels, weights)


@exercise(
    "8.3",
    hints=[
        "It helps most where the others are silent. Read some of those posts: "
        "`for text in x_pool[unknown & (given == -1)][:20]: print(text[:80])`. To "
        "which desk would you send them, by which words?",
        "`words = set(text.split())`, then `if words & {…}: return …`. Names of clubs, "
        "peoples, agencies and devices seldom mean two things.",
        "Look at your precision: "
        "`own, _ = apply_heuristics([my_heuristic], x_pool, NEWS_DESKS)`, then "
        "`precision_and_coverage(own[:, 0], read)`. Below 0.9? Take the word out "
        "that errs. No gain? Your words occur where other heuristics fire already: "
        "look at more of the silent posts.",
    ],
)
def my_heuristic(answer: Answer, board: tuple, truths: tuple) -> str:
    """Check on labelled posts that a heuristic helps the vote.

    `board` holds texts of the pool, votes and confidences of the other heuristics,
    manual labels, and the rows of the labelled posts that judge. `truths`, true labels
    of pool and test posts, serve to recognise them in what the answer reads.
    """
    posts, votes, confidences, manual, judges = board
    answer(posts[0])  # the stub says so before anything is searched
    for name, value in reached(answer):
        for where, truth in zip(("pool", "test posts"), truths, strict=True):
            if _holds(value, posts if where == "pool" else None, truth):
                fail(
                    f"my_heuristic reads `{name}`, which holds the true labels of the "
                    f"{where}: a leak. Every figure below would be too good. Use "
                    "nothing but the text."
                )
    own, sure = _ask(answer, posts)
    _refuse_memory(answer, posts, own[:, 0])
    fires, wanted = own[:, 0] != ABSTAIN, manual[judges]
    if fires.mean() < COVERAGE:
        fail(
            f"It fires on {fires.sum()} of {len(fires):,} posts; {COVERAGE:.0%} would "
            f"be {math.ceil(COVERAGE * len(fires))}. Which other words mean that desk?"
        )
    asked = own[judges, 0]
    n_fired, n_right = np.sum(asked != ABSTAIN), np.sum(asked == wanted)
    told = f"right on {n_right} of the {n_fired} validation posts on which it fires"
    if not n_fired:
        fail(
            "It fires on none of the validation posts, so nobody can tell how often it "
            "is right. Which words are more common?"
        )
    if n_right < PRECISION * n_fired:
        fail(f"It is {told}; the bar is {PRECISION:.0%}. Leave out words that err.")
    read = manual.copy()
    read[judges] = ABSTAIN
    old = _voted(votes, confidences, read)
    new = _voted(np.hstack([votes, own]), np.hstack([confidences, sure]), read)
    more = np.mean(new != ABSTAIN) - np.mean(old != ABSTAIN)
    gain = paired_bootstrap(wanted, new[judges], old[judges])
    n_old, n_new = (np.sum(given[judges] == wanted) for given in (old, new))
    shown = (
        f"with it the vote labels {np.mean(new != ABSTAIN):.2%} of the posts, without "
        f"it {np.mean(old != ABSTAIN):.2%}"
    )
    if more < MORE:
        fail(
            f"Your heuristic is {told}, but {shown}; {MORE:.0%} more is the bar. It "
            "helps most on posts where the others say nothing."
        )
    if gain.high < 0:
        fail(
            f"With it the vote is right on {n_new} of the {len(judges)} validation "
            f"posts, without it on {n_old}: a loss of {gain:.3f}. Take words out that "
            "err."
        )
    ends = "" if gain.excludes_zero else ", which is all that so few posts can tell"
    if n_right == n_fired > PERFECT:
        ends += ". Never to err on so many is rare: has it seen the validation posts?"
        ends += " Then each figure below is too good"
    return (
        f"It fires on {fires.mean():.1%} of the posts and is {told}; {shown}. On the "
        f"validation posts the vote was right {n_old} times, with it {n_new} times: a "
        f"change of {gain:.3f}{ends}."
    )


def _holds(value: Any, posts: Sequence[str] | None, truth: np.ndarray) -> bool:
    """Whether a value tells most of the true labels, in order or by text."""
    desks = np.array(NEWS_DESKS, dtype=object)[truth]
    if isinstance(value, Mapping) and posts is not None:
        known = zip(posts, truth, desks, strict=True)
        told = [str(value[p]) in (str(y), desk) for p, y, desk in known if p in value]
        return len(told) >= max(5, 0.05 * len(posts)) and sum(told) > 0.5 * len(told)
    with contextlib.suppress(Exception):  # of what is no array
        flat = np.asarray(value).ravel()
        if len(flat) == len(truth):  # guesses, too: the learner's are right in 0.92
            return bool(max(np.mean(flat == truth), np.mean(flat == desks)) > 0.95)
    return False


def _ask(answer: Answer, posts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Collect the answer's votes and confidences, or say what it may return."""
    said = [answer(post) for post in posts]
    try:
        return apply_heuristics([lambda one: one], said, NEWS_DESKS)
    except ValueError as error:
        told = str(error)
        named = next((one for one in said if f"returned {one!r};" in told), None)
        near = [desk for desk in NEWS_DESKS if desk.lower() == str(named).lower()]
        slip = f" Did you mean {near[0]!r}?" if near else ""
        fail(told.replace("<lambda>", "my_heuristic", 1) + slip)


def _voted(votes: Any, confidences: Any, manual: Any) -> np.ndarray:
    """Labels of the vote, weighed by the labelled posts."""
    precision = heuristic_precision(votes, manual, len(NEWS_DESKS))
    return weak_labels(votes, confidences, precision)[0]


def _refuse_memory(answer: Answer, posts: Sequence[str], said: np.ndarray) -> None:
    """Refuse what fires on whole posts only: a list of them, not a rule."""
    fired = np.flatnonzero(said != ABSTAIN)[:400]
    again = 0
    for words in (posts[row].split() for row in fired):
        # A word behind the subject and one at the end; the beginning stays.
        more = " ".join([*words[:3], "indeed", *words[3:], "indeed"])
        with contextlib.suppress(Exception):  # where a post is looked up in vain
            again += answer(more) is not None
    if len(fired) >= 10 and again < 0.5 * len(fired):
        fail(
            f"Of {len(fired)} posts on which it fires, it fires on {again} once "
            "harmless words are added: it recognises whole posts, so their labels "
            "leaked into it. Use words that new posts will hold too."
        )


def _threshold(
    confidence: Any,
    right: Any,
    candidates: list[float],
    wanted: float,
    choose: Answer = lambda good, bad: min(good),
    keep: Answer = operator.ge,
    accuracy: Answer = lambda right, kept: right[kept].mean() if kept.any() else -1,
    enough: Answer = operator.ge,
) -> Any:
    reached = {t: accuracy(right, keep(confidence, t)) for t in candidates}
    good = [t for t in candidates if enough(reached[t], wanted)]
    bad = [-1, *(t for t in candidates if 0 <= reached[t] < wanted)]
    return choose(good, bad) if good else None


def _name_threshold(got, expected, confidence, right, candidates, wanted) -> str:
    if expected is None:
        return "No candidate reaches the wanted accuracy: return None."
    if np.ndim(got) or got not in candidates:
        return "Return one of the candidates."
    if not (confidence >= got).any():
        return f"A threshold of {got} keeps no post: it reaches nothing."
    enough = ", enough, but so does a lower one" if got > expected else " only"
    return f"There the kept posts reach {right[confidence >= got].mean():.4g}{enough}."


def _weak_labels() -> Iterator[Case]:
    rng = np.random.default_rng(84)
    candidates = [0.2, 0.7, 0.9, 0.5, 0.0, 0.8, 0.35, 0.95, 0.6, 1.01]
    for n, wanted in ((400, 0.78), (900, 0.8), (300, 0.999)):
        confidence = rng.random(n).round(2)
        right = rng.random(n) < 0.55 + 0.42 * confidence
        right[confidence > 0.93] = rng.random((confidence > 0.93).sum()) < 0.7
        yield Case(confidence, right, candidates, wanted)
    # What is just reached counts, and the edge is kept.
    confidence, right = np.array([0.5, 0.7, 0.9]), np.array([False, True, False])
    for candidates, wanted in ([0.6, 0.95], 0.5), ([0.7, 0.9], 0.5), ([0.6, 0.95], 0.3):
        yield Case(confidence, right, candidates, wanted)
    # 0 is a threshold as well.
    yield Case(confidence, right, [0.5, 0.0], 0.3)
    # 0.7996 is not yet 0.8.
    yield Case(np.full(2500, 0.5), np.arange(2500) < 1999, [0.4, 0.2], 0.8)


@reference(
    "8.4",
    hints=[
        "For one threshold: which posts are kept, and how many of those are right?",
        "Go through the candidates from the lowest up and stop at the first that is "
        "good enough. A mean over no posts is not a number: ask `kept.any()` first.",
        "`for t in sorted(candidates): kept = confidence >= t; if kept.any() and "
        "right[kept].mean() >= wanted: return t`, and `return None` behind the loop.",
    ],
    cases=_weak_labels,
    mistakes=_variants(
        _threshold,
        choose={
            "The highest that will do keeps fewer posts.": lambda good, _: max(good),
            "The list has no order; sort it first.": lambda good, _: good[0],
            "A threshold of 0 is one, too: ask `is None`.": (
                lambda good, _: min(good) or None
            ),
            "Accuracy may fall and rise again: go up from the lowest candidate.": (
                lambda good, bad: min([t for t in good if t > max(bad)], default=None)
            ),
        },
        keep={
            "Keep the edge, too: `confidence >= t`.": operator.gt,
            "You kept the posts below the threshold.": operator.lt,
        },
        accuracy={
            "Divide by the posts that are kept, not by all.": (
                lambda right, kept: (right & kept).mean()
            ),
            "A threshold that keeps no post reaches nothing: ask `kept.any()`.": (
                lambda right, kept: right[kept].mean() if kept.any() else 1
            ),
        },
        enough={
            "An accuracy equal to `wanted` is enough: `>=`.": operator.gt,
            "Do not round the accuracy.": lambda reach, least: round(reach, 2) >= least,
        },
    ),
    slip=_name_threshold,
    passed="The lowest threshold that is good enough keeps the most posts. On other "
    "posts it may do a little worse: it was chosen here.",
)
def choose_threshold(confidence: Any, right: Any, candidates: Any, wanted: Any) -> Any:
    """Compare all candidates."""
    return _threshold(confidence, right, candidates, wanted)


summary = summary_of(__name__)
