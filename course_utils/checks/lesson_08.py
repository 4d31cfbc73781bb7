"""Checks of lesson 08, From raw stories to a tuned similarity search."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from course_utils.checks.core import (
    as_array,
    exercise,
    expect_number,
    expect_shape,
    fail,
)
from course_utils.checks.leaks import reached
from course_utils.checks.summary import summary_of
from course_utils.data import NEWS_DESKS
from course_utils.weak_supervision import (
    ABSTAIN,
    apply_heuristics,
    heuristic_precision,
    weak_labels,
)

import numpy as np

Answer = Callable[..., Any]
Labelled = tuple[Sequence[str], Any]
COVERAGE = 0.01  # of the pool on which a heuristic has to fire
PRECISION = 0.8  # where it fires
SUREST, GAIN = 0.9, 0.005  # where the vote has to win, and how much
GAP = 0.2  # lists of words differ by up to 0.17 between pool and test posts


@exercise(
    "8.1",
    hints=[
        "Which posts count for precision? Those on which the heuristic fires *and* "
        "that somebody labelled.",
        "`fires = votes != -1` and `judged = fires & (manual != -1)` are masks; a "
        "mask's `mean()` is a share.",
        "`precision = (votes == manual)[judged].mean() if judged.any() else 0.0`; "
        "coverage is `fires.mean()`.",
    ],
)
def precision_and_coverage(answer: Answer) -> str:
    """Check precision on the labelled posts and coverage of all.

    Parameters
    ----------
    answer : callable
        ``precision_and_coverage(votes, manual)``, two numbers.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When one of the numbers is not what it should be.
    """
    rng = np.random.default_rng(81)
    for n, n_known in ((40, 12), (75, 30)):
        votes = np.where(rng.random(n) < 0.4, rng.integers(0, 3, n), ABSTAIN)
        manual = np.full(n, ABSTAIN)
        known = rng.permutation(n)[:n_known]
        manual[known] = rng.integers(0, 3, n_known)
        some = known[: n_known // 2]
        votes[some] = manual[some]
        precision, coverage = _two(answer(votes.copy(), manual.copy()))
        fires, labelled = votes != ABSTAIN, manual != ABSTAIN
        right = sum(v == m for v, m in zip(votes, manual, strict=True) if v != ABSTAIN)
        judged = sum(fires & labelled)
        if abs(coverage - np.mean(votes > 0)) < 1e-6:
            fail("0 is a desk, too: only -1 is silent. Ask `votes != -1`.")
        if abs(coverage - 100 * fires.mean()) < 1e-6:
            fail("Those are per cent; give shares from 0 to 1.")
        _compare_two((precision, coverage), right, judged, fires, labelled)
    silent = np.full(9, ABSTAIN)
    for given, votes, manual in (
        ("a heuristic that never fires", silent, np.arange(9) % 3),
        ("posts that nobody labelled", np.arange(9) % 3, silent),
    ):
        try:
            precision, _ = _two(answer(votes.copy(), manual.copy()), given)
        except ZeroDivisionError:
            fail(f"For {given} your function divides by zero; precision is 0 then.")
        if abs(precision) > 1e-9:
            fail(f"For {given} precision should be 0, yours is {precision:g}.")
    return (
        "Precision says how much to believe a heuristic, coverage how much work it "
        "saves. Precision needs labels, coverage none."
    )


def _two(got: Any, given: str = "") -> tuple[float, float]:
    """Insist on two finite numbers."""
    if got is None:
        fail("precision_and_coverage returned None: is there a `return`?")
    array = as_array("precision_and_coverage", got)
    if array.size != 2:
        fail(
            f"I expected two numbers, precision and coverage; you gave {array.size}: "
            "`return precision, coverage`."
        )
    precision, coverage = map(float, array.ravel())
    if given and not math.isfinite(precision):
        fail(
            f"For {given} precision came out as {precision}: a mean of nothing, a "
            "division by zero. It is 0 then."
        )
    if not math.isfinite(precision) or not math.isfinite(coverage):
        fail(f"I expected two finite numbers, you gave {precision} and {coverage}.")
    return precision, coverage


def _compare_two(
    got: tuple[float, float], right: int, judged: int, fires: Any, labelled: Any
) -> None:
    n = len(fires)
    expected = right / judged, fires.mean()
    if np.allclose(got, expected, atol=1e-6):
        return
    if np.allclose(got, expected[::-1], atol=1e-6):
        fail("Precision comes first, then coverage: yours have changed places.")
    precision, coverage = got
    slips = [
        (
            precision,
            right / fires.sum(),
            "Precision divides by all posts on which it fires. Those that nobody "
            "labelled cannot be judged: leave them out.",
        ),
        (
            precision,
            right / labelled.sum(),
            "Precision divides by all labelled posts; divide by those of them on which "
            "it fires.",
        ),
        (
            precision,
            (right + np.sum(~fires & ~labelled)) / n,
            "Where votes and manual are both -1 they are equal, but nobody was right.",
        ),
        (
            coverage,
            (fires & labelled).sum() / labelled.sum(),
            "Coverage is a share of all posts, yours is one of the labelled posts.",
        ),
        (
            coverage,
            (fires & labelled).sum() / n,
            "Coverage counts every post on which it fires, labelled or not.",
        ),
        (coverage, fires.sum(), "Coverage is a share, yours is a count."),
    ]
    for value, wrong, sentence in slips:
        true = expected[0] if value is precision else expected[1]
        if abs(value - true) > 1e-6 and abs(value - wrong) < 1e-6:
            fail(sentence)
    fail(
        f"A heuristic fires on {fires.sum()} of {n} posts, {judged} of those are "
        f"labelled, {right} rightly: I expected {expected[0]:.3f} and "
        f"{expected[1]:.3f}, you gave {precision:.3f} and {coverage:.3f}."
    )


@exercise(
    "8.2",
    hints=[
        "First the sum for each label that occurs. How much is the best sum, and "
        "how much are all others together?",
        "`np.bincount(labels, weights)` adds weights up by label; margin = best - "
        "(all - best).",
        "`margin = 2 * sums.max() - sums.sum()`; if it is not above 0 return "
        "`-1, 0.0`, else `sums.argmax()` and `1 / (1 + np.exp(3 - 7 * margin))`.",
    ],
)
def weak_vote(answer: Answer) -> str:
    """Check label and confidence of the vote on single posts.

    Parameters
    ----------
    answer : callable
        ``weak_vote(labels, weights)``, a label and a confidence.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a label or a confidence is not that of the formula.
    """
    cases = [
        ([1], [0.6]),
        ([2, 0, 2], [0.5, 0.7, 0.4]),
        ([3, 1, 3, 0], [0.9, 0.35, 0.3, 0.25]),
        ([0, 1, 1, 2], [0.55, 0.4, 0.6, 0.1]),
        ([1, 0, 0], [0.95, 0.2, 0.3]),
        ([0, 1], [0.8, 0.8]),
        ([2, 1, 0], [0.5, 0.3, 0.4]),
        ([0, 3, 0], [0.6, 0.35, 0.5]),
        ([1, 3], [0.0, 0.0]),
        ([], []),
    ]
    for labels, weights in cases:
        votes = ", ".join(
            f"{a} with {w:g}" for a, w in zip(labels, weights, strict=True)
        )
        given = f"the votes {votes}" if votes else "no votes"
        try:
            got = answer(list(labels), list(weights))
        except (ValueError, ZeroDivisionError, IndexError, TypeError) as error:
            if labels:
                raise
            fail(
                f"Without votes your function stops ({type(error).__name__}); it "
                "should return -1 and 0.0."
            )
        if not isinstance(got, tuple | list) or len(got) != 2:
            fail("weak_vote should return two things: `return label, confidence`.")
        if got[0] is None:
            fail("weak_vote gave None for the label; where there is none, give -1.")
        label = expect_number("weak_vote", got[0])
        confidence = expect_number("weak_vote", got[1])
        if label != int(label) and confidence == int(confidence):
            fail("The label comes first, then the confidence: yours changed places.")
        _compare_vote(given, labels, weights, label, confidence)
    return (
        "A margin of 0 gives no label, a margin of 1 a confidence of 0.98: sums of "
        "precisions have become labels, and each says how sure it is."
    )


def _compare_vote(
    given: str,
    labels: Sequence[int],
    weights: Sequence[float],
    label: float,
    confidence: float,
) -> None:
    sums: dict[int, float] = {}
    for one, weight in zip(labels, weights, strict=True):
        sums[one] = sums.get(one, 0.0) + weight
    ranked = sorted(sums.values(), reverse=True) + [0.0, 0.0]
    best, second, rest = ranked[0], ranked[1], sum(ranked[1:])
    margin = best - rest

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    if margin <= 1e-9:
        if label == ABSTAIN and abs(confidence) < 1e-9:
            return
        if label == ABSTAIN:
            fail(f"For {given} there is no label: the confidence is 0 then.")
        why = (
            "nobody says anything" if best == 0 else f"{best:g} stands against {rest:g}"
        )
        slip = ""
        if (
            best - second > 1e-9
            and abs(confidence - sigmoid(7 * (best - second) - 3)) < 1e-6
        ):
            slip = " You took the second best off; take all the others off."
        fail(f"For {given}, {why}: no label, -1 and 0.0.{slip}")
    winner = max(sums, key=sums.__getitem__)
    heaviest = labels[int(np.argmax(weights))]
    most = max(set(labels), key=list(labels).count)
    if label != winner:
        slip = ""
        if label == ABSTAIN and winner == 0:
            slip = "0 is a desk, too; only -1 stands for no label."
        elif label == heaviest:
            slip = "You took the heaviest single vote; add the votes for a label up."
        elif label == most:
            slip = "You counted heads; weights count."
        elif label == ABSTAIN:
            slip = f"The margin is {margin:.2f}, above 0."
        fail(f"For {given} label {winner} wins, you gave {label:g}. {slip}".rstrip())
    expected = sigmoid(7 * margin - 3)
    if abs(confidence - expected) < 1e-6:
        return
    slips = [
        (margin, "That is the margin itself; send it through σ(7 · margin − 3)."),
        (7 * margin - 3, "That is 7 · margin − 3; σ is missing."),
        (sigmoid(7 * margin + 3), "It is − 3 in σ(7 · margin − 3), not + 3."),
        (sigmoid(3 * margin - 7), "3 and 7 have changed places: σ(7 · margin − 3)."),
        (
            sigmoid(7 * (2 * list(labels).count(winner) - len(labels)) - 3),
            "You counted votes; add their weights up.",
        ),
        (
            sigmoid(7 * (best - second) - 3),
            "You took the second best off; take all off.",
        ),
        (sigmoid(7 * best - 3), "That is the best sum alone; take the others off it."),
        (
            sigmoid(3 - 7 * margin),
            "The sign in exp is turned round: exp(3 - 7 · margin).",
        ),
        (sigmoid(margin), "The 7 and the 3 are missing: σ(7 · margin − 3)."),
        (sigmoid(7 * margin), "The − 3 is missing."),
        (sigmoid(7 * (margin - 3)), "7 multiplies the margin only, not the 3."),
        (best / (best + rest), "That is the best label's share; use the margin."),
    ]
    for wrong, sentence in slips:
        if abs(confidence - wrong) < 1e-6:
            fail(f"For {given}: {sentence}")
    fail(
        f"For {given} the margin is {margin:.2f} and the confidence {expected:.4f}; "
        f"yours is {confidence:.4f}."
    )


@exercise(
    "8.3",
    hints=[
        "It helps most where the others are silent. Read some of those posts: "
        "`for text in x_pool[given == -1][:20]: print(text[:80])`. To which desk would "
        "you send them, by which words?",
        "`words = set(text.split())`, then `if words & {…}: return …`. Names of clubs, "
        "peoples, agencies, devices seldom mean two things.",
        "Look at your precision: "
        "`votes, _ = apply_heuristics([my_heuristic], x_pool, NEWS_DESKS)`, then "
        "`precision_and_coverage(votes[:, 0], manual)`. Below 0.9? Take the word out "
        "that errs. No gain? Your words stand where the others speak already: look at "
        "more of the silent posts.",
    ],
)
def my_heuristic(answer: Answer, board: tuple, held_out: Labelled | None = None) -> str:
    """Check that a heuristic helps the vote, by words and not by labels.

    Parameters
    ----------
    answer : callable
        ``my_heuristic(text)``, the name of a desk or None.
    board : tuple
        Texts of the pool, votes and confidences of the other heuristics (n,
        n_heuristics), manual labels (n,), true labels (n,).
    held_out : tuple, optional
        Texts and true labels of the test posts, to recognise a leak of them.

    Returns
    -------
    str
        Coverage, precision and accuracy of the vote before and after.

    Raises
    ------
    ExerciseError
        When the heuristic reads labels, recognises whole posts or knows one half much
        better than the other, fires too seldom, errs too often, or does not help.
    """
    texts, votes, confidences, manual, truth = board
    texts = [str(text) for text in texts]
    votes, confidences = np.asarray(votes), np.asarray(confidences)
    manual, truth = np.asarray(manual), np.asarray(truth)
    secrets: dict[str, Labelled] = {"the pool": (texts, truth)}
    if held_out is not None:
        secrets["the test posts"] = ([str(t) for t in held_out[0]], held_out[1])
    answer(texts[0])  # the stub says so before anything is searched
    _refuse_leaks(answer, secrets)
    said = [_one_vote(answer, text) for text in texts]
    own, sure = apply_heuristics([lambda pair: pair], said, NEWS_DESKS)
    _refuse_memory(answer, secrets, own[:, 0])
    fires, unknown = own[:, 0] != ABSTAIN, manual == ABSTAIN
    if fires.mean() < COVERAGE:
        fail(
            f"It fires on {fires.sum()} of {len(texts):,} posts; 1 % would be "
            f"{math.ceil(COVERAGE * len(texts))}. Which other words mean that desk?"
        )
    precision = np.mean((own[:, 0] == truth)[fires & unknown])
    if fires.mean() > 0.9 and precision > 0.98:
        fail(
            f"It is right on {precision:.1%} of nearly all posts. No rule on words is "
            "that good: a true label must have reached it. Where does it come from?"
        )
    if precision < PRECISION:
        fail(
            f"It is right on {precision:.0%} of the posts where it fires; the bar is "
            f"{PRECISION:.0%}. Leave out words that err."
        )
    if held_out is not None:
        _refuse_a_gap(answer, held_out, own[:, 0], truth)
    before = _vote(votes, confidences, manual)
    after = _vote(
        np.column_stack([votes, own]), np.column_stack([confidences, sure]), manual
    )
    n_sure = int(SUREST * unknown.sum())
    old, new = (
        _accuracy_of_surest(*result, truth, unknown, n_sure)
        for result in (before, after)
    )
    shown = (
        f"on the surest {SUREST:.0%} of the posts the vote was right in {old:.1%}, "
        f"with it in {new:.1%}"
    )
    if new < old + GAIN:
        fail(
            f"Your heuristic is right in {precision:.0%} where it fires, but {shown}. "
            f"I asked for {100 * GAIN:g} points more: it helps most on posts where the "
            "others say nothing."
        )
    return (
        f"It fires on {fires.mean():.1%} of the posts and is right on {precision:.0%} "
        f"of them; {shown}. Every figure below has moved."
    )


def _one_vote(answer: Answer, text: str) -> Any:
    said = answer(text)
    if isinstance(said, bool | int | float | np.number) or said == "":
        fail(
            f"my_heuristic returned {said!r}; return the name of a desk, such as "
            f"{NEWS_DESKS[0]!r}, or None."
        )
    if said is None or (isinstance(said, str) and said in NEWS_DESKS):
        return said
    if isinstance(said, tuple) and len(said) == 2 and said[0] in NEWS_DESKS:
        return said
    close = [
        d for d in NEWS_DESKS if isinstance(said, str) and d.lower() == said.lower()
    ]
    slip = f" Did you mean {close[0]!r}?" if close else ""
    fail(
        f"my_heuristic returned {said!r}; the desks are {', '.join(NEWS_DESKS)}.{slip}"
    )


def _vote(votes: Any, confidences: Any, manual: Any) -> tuple[Any, Any]:
    precision = heuristic_precision(votes, manual, len(NEWS_DESKS))
    return weak_labels(votes, confidences, precision)


def _accuracy_of_surest(
    labels: Any, confidence: Any, truth: Any, unknown: Any, n: int
) -> float:
    """Accuracy of the n surest unlabelled posts; equal ones count in proportion."""
    sure, right = confidence[unknown], (labels == truth)[unknown]
    order = np.argsort(-sure, kind="stable")
    edge = sure[order[min(n, len(order)) - 1]]
    above, at = sure > edge, sure == edge
    share = (n - above.sum()) / at.sum()
    return float((right[above].sum() + share * right[at].sum()) / n)


def _refuse_memory(answer: Answer, secrets: dict[str, Labelled], own: Any) -> None:
    """Refuse what fires on whole posts only: a list of them, not a rule."""
    for where, (texts, _) in secrets.items():
        fired = [t for t in texts if _one_vote(answer, t) is not None][:400]
        if len(fired) < 10:
            continue
        again = sum(_one_vote(answer, _with_more_words(t)) is not None for t in fired)
        if again < 0.5 * len(fired):
            fail(
                f"Of {len(fired)} posts of {where} on which it fires, it fires on "
                f"{again} once harmless words are added: it recognises whole posts, so "
                "their labels leaked into it. Use words that new posts will hold too."
            )


def _with_more_words(text: str) -> str:
    """Add a word behind the subject and one at the end; the beginning stays."""
    words = text.split()
    return " ".join([*words[:3], "indeed", *words[3:], "indeed"])


def _refuse_a_gap(answer: Answer, held_out: Labelled, own: Any, truth: Any) -> None:
    """Refuse a rule that knows the posts of one half much better than the other's."""
    texts, wanted = held_out
    said = [_one_vote(answer, str(text)) for text in texts]
    votes, _ = apply_heuristics([lambda pair: pair], said, NEWS_DESKS)
    halves = [(own, truth), (votes[:, 0], np.asarray(wanted))]
    right = [
        np.mean((v == y)[v != ABSTAIN]) if any(v != ABSTAIN) else 0 for v, y in halves
    ]
    n = [max(1, np.sum(v != ABSTAIN)) for v, _ in halves]
    spread = math.sqrt(sum(r * (1 - r) / m for r, m in zip(right, n, strict=True)))
    gap = right[0] - right[1]
    if abs(gap) <= GAP + 3 * spread:
        return
    known, other = ("pool", "test posts") if gap > 0 else ("test posts", "pool")
    fail(
        f"Where it fires it is right on {max(right):.0%} of the {known}, on "
        f"{min(right):.0%} of the {other}. Words do not differ so much: true labels of "
        f"the {known} must have chosen yours, which is a leak."
    )


def _refuse_leaks(answer: Answer, secrets: dict[str, Labelled]) -> None:
    """Refuse a heuristic that can reach true labels, and name what it reads."""
    for name, value in reached(answer):
        for where, (texts, truth) in secrets.items():
            if _holds(value, texts, np.asarray(truth)):
                fail(
                    f"my_heuristic reads `{name}`, which holds the true labels of "
                    f"{where}: a leak. Every figure below would flatter. Use nothing "
                    "but the text."
                )


def _holds(value: Any, texts: Sequence[str], truth: Any) -> bool:
    """Whether a value tells most of the true labels, in order or by text."""
    names = np.array(NEWS_DESKS, dtype=object)[truth]
    if isinstance(value, dict):
        known = [(value[t], y, n) for t, y, n in zip(texts, truth, names) if t in value]  # noqa: B905
        if len(known) < max(5, 0.05 * len(texts)):
            # By position, or desk by desk: its values may be lists of posts.
            posts = set(texts)
            return any(
                isinstance(part, list | set | tuple | frozenset)
                and len(posts.intersection(p for p in part if isinstance(p, str))) >= 5
                for part in value.values()
            )
        return bool(np.mean([v in (y, n) for v, y, n in known]) > 0.5)
    if isinstance(value, str | bytes) or not hasattr(value, "__len__"):
        return False
    try:
        array = np.asarray(value).ravel()
    except (ValueError, TypeError):
        return False
    if len(array) != len(truth):
        return False
    return bool(max(np.mean(array == truth), np.mean(array == names)) > 0.9)


@exercise(
    "8.4",
    hints=[
        "For one threshold: which posts are kept, and how many of those are right?",
        "Go through the candidates from the lowest up and stop at the first that is "
        "good enough. A mean over no posts is not a number: ask `kept.any()` first.",
        "`for t in sorted(candidates): kept = confidence >= t; if kept.any() and "
        "right[kept].mean() >= wanted: return t`, and `return None` behind the loop.",
    ],
)
def choose_threshold(answer: Answer) -> str:
    """Check the lowest threshold that is accurate enough.

    Parameters
    ----------
    answer : callable
        ``choose_threshold(confidence, right, candidates, wanted)``, a candidate or
        None.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When another threshold is better.
    """
    rng = np.random.default_rng(84)
    for n, wanted in ((400, 0.78), (900, 0.8), (300, 0.999)):
        confidence = np.round(rng.random(n), 2)
        right = rng.random(n) < 0.55 + 0.42 * confidence
        right[confidence > 0.93] = rng.random((confidence > 0.93).sum()) < 0.7
        candidates = [0.2, 0.7, 0.9, 0.5, 0.0, 0.8, 0.35, 0.95, 0.6, 1.01]
        _compare_threshold(answer, confidence, right, candidates, wanted)
    # What is just reached counts, the edge is kept, and no posts reach nothing.
    confidence, right = np.array([0.5, 0.7, 0.9]), np.array([False, True, False])
    _compare_threshold(answer, confidence, right, [0.6, 0.95], 0.5)
    _compare_threshold(answer, confidence, right, [0.7, 0.9], 0.5)
    _compare_threshold(answer, confidence, right, [0.8, 0.95], 0.5)
    return (
        "The lowest threshold that is good enough keeps the most posts. On other posts "
        "it may do a little worse: it was chosen here."
    )


def _compare_threshold(
    answer: Answer, confidence: Any, right: Any, candidates: list[float], wanted: float
) -> None:
    got = answer(confidence.copy(), right.copy(), list(candidates), wanted)
    reached = {}
    for candidate in candidates:
        kept = [r for c, r in zip(confidence, right, strict=True) if c >= candidate]
        if kept:
            reached[candidate] = sum(kept) / len(kept)
    good = sorted(c for c, accuracy in reached.items() if accuracy >= wanted)
    expected = good[0] if good else None
    if got is None and expected is None:
        return
    posts = confidence, right, candidates, wanted
    given = f"For {len(confidence)} posts and a wanted accuracy of {wanted:g}"
    if got is None and expected is not None:
        fail(
            f"{given} you gave None, but at {expected:g} the kept posts reach "
            f"{reached[expected]:.3f}.{_threshold_slip(None, *posts)}"
        )
    got = expect_number("choose_threshold", got)
    if expected is not None and abs(got - expected) < 1e-9:
        return
    match = [c for c in candidates if abs(c - got) < 1e-9]
    if not match:
        fail(f"{given} you gave {got:g}; return one of the candidates.")
    if match[0] not in reached:
        fail(f"{given} you gave {got:g}, which keeps no post: that reaches nothing.")
    if expected is None:
        fail(f"{given} no candidate reaches it: return None. You gave {got:g}.")
    slip = ""
    if match[0] not in good:
        slip = f"There the kept posts reach {reached[match[0]]:.3f} only."
        slip += _threshold_slip(got, *posts)
    elif got == next(c for c in candidates if c in good):
        slip = "That is the first of the list that will do, but the list has no order."
    elif got == good[-1]:
        slip = "That is the highest; the lowest keeps most posts."
    elif reached[match[0]] == max(reached.values()):
        slip = "That is the most accurate; I asked for the lowest that is good enough."
    else:
        slip = f"A lower one will do.{_threshold_slip(got, *posts)}"
    fail(f"{given} I expected {expected:g}, you gave {got:g}. {slip}")


def _threshold_slip(
    got: float | None,
    confidence: Any,
    right: Any,
    candidates: list[float],
    wanted: float,
) -> str:
    """Name the slips that give this answer, in sentences with a blank before them."""

    def lowest(keep: Any, reaches: Any) -> float | None:
        for t in sorted(candidates):
            kept = keep(confidence, t)
            if kept.any() and reaches(right, kept):
                return t
        return None

    def accurate(right: Any, kept: Any) -> bool:
        return bool(right[kept].mean() >= wanted)

    on_the_way_down = None
    for t in sorted(candidates, reverse=True):
        kept = confidence >= t
        if kept.any() and not accurate(right, kept):
            break
        on_the_way_down = t if kept.any() else on_the_way_down
    slips = [
        (lowest(np.greater, accurate), "Keep the edge, too: `confidence >= t`."),
        (
            lowest(np.greater_equal, lambda r, k: r[k].mean() > wanted),
            "An accuracy equal to `wanted` is enough: `>=`.",
        ),
        (
            lowest(np.greater_equal, lambda r, k: (r & k).mean() >= wanted),
            "Divide by the posts that are kept, not by all.",
        ),
        (
            on_the_way_down,
            "Accuracy may fall and rise again: go up from the lowest candidate.",
        ),
    ]
    fitting = [what for value, what in slips if value == got]
    return f" {' Or: '.join(fitting)}" if fitting else ""


@exercise(
    "8.5",
    hints=[
        "`vectors @ vectors.T` holds all cosines. In row i, which columns may be a "
        "positive, and which a negative?",
        "`same = labels[:, None] == labels[None, :]`. Put -2, less than any cosine, "
        "where a column may not be chosen, then take `argmax(axis=1)`.",
        "Positives: `np.where(same & ~np.eye(n, dtype=bool), cosine, "
        "-2).argmax(axis=1)`; negatives: `np.where(same, -2, cosine).argmax(axis=1)`.",
    ],
)
def mine(answer: Answer) -> str:
    """Check nearest positives and nearest negatives.

    Parameters
    ----------
    answer : callable
        ``mine(vectors, labels)``, rows of positives and negatives.

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a row is not the nearest of its kind.
    """
    rng = np.random.default_rng(85)
    # In the last set labels lie so far apart that no triplet costs anything.
    for n, width, n_labels, apart in ((14, 5, 3, 0), (23, 8, 4, 0), (12, 9, 3, 6)):
        labels = rng.permutation(np.arange(n) % n_labels) + 2
        vectors = rng.normal(size=(n, width)).astype(np.float32)
        vectors[np.arange(n), labels] += apart
        # Two of the first label point nearly apart: a cosine may be below 0.
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        got = answer(vectors.copy(), labels.copy())
        if hasattr(got, "detach") or isinstance(got, np.ndarray):
            got = list(got)
        if not isinstance(got, tuple | list) or len(got) != 2:
            fail("mine should return two things: `return positives, negatives`.")
        distance = np.linalg.norm(vectors[:, None] - vectors[None, :], axis=2)
        for what, part, place in (("positives", got[0], 0), ("negatives", got[1], 1)):
            rows = expect_shape(
                "mine",
                _numpy(part),
                (n,),
                given=f"{n} vectors, the {what}",
                slip="One for each anchor, also where the triplet costs nothing.",
            )
            _compare_mined(what, rows, distance, labels, place)
    return (
        "The nearest positive says which way to pull a post, the nearest negative what "
        "to push away. All other triplets would have cost little or nothing."
    )


def _compare_mined(
    what: str, rows: Any, distance: Any, labels: Any, place: int
) -> None:
    n = len(labels)
    if rows.dtype.kind == "b" or (rows != np.round(rows)).any():
        fail(f"Your {what} are no rows: I expected a row's number for each anchor.")
    if rows.min() < 0 or rows.max() >= n:
        fail(f"Your {what} hold {rows.min():g} to {rows.max():g}; rows go to {n - 1}.")
    rows = rows.astype(int)
    same = labels[:, None] == labels[None, :]
    if place == 0 and (rows == np.arange(n)).mean() > 0.5:
        fail("An anchor came out as its own positive: leave the diagonal out.")
    allowed = same & ~np.eye(n, dtype=bool) if place == 0 else ~same
    far = np.where(allowed, distance, -1).argmax(axis=1)
    near = np.where(allowed, distance, 99).argmin(axis=1)
    mine_here = distance[np.arange(n), rows]
    if allowed[np.arange(n), rows].all() and np.allclose(
        mine_here, distance[np.arange(n), near], atol=1e-5
    ):
        return
    if np.array_equal(rows, far):
        fail(
            f"Those are the farthest {what}; I asked for the nearest. A large cosine "
            "means near."
        )
    nearest_other = np.where(~same, distance, 99).argmin(axis=1)
    if place == 0 and np.array_equal(rows, nearest_other):
        fail("Those are the negatives: return the positives first.")
    anchor = int(np.flatnonzero(~allowed[np.arange(n), rows] | (rows != near))[0])
    if not allowed[anchor, rows[anchor]]:
        kind = "another label" if place == 0 else "the same label"
        slip = ""
        if place == 1 and rows[anchor] == anchor:
            kind = "itself"
        if place == 0 and np.array_equal(
            rows, np.where(allowed, 1 - distance**2 / 2, 0).argmax(axis=1)
        ):
            slip = " Where all cosines are below 0, a 0 wins: mask with -2."
        fail(f"Anchor {anchor} got row {rows[anchor]} among its {what}: {kind}.{slip}")
    fail(
        f"Anchor {anchor}: the nearest of its {what} is row {near[anchor]}, you chose "
        f"{rows[anchor]}, which is farther."
    )


@exercise(
    "8.6",
    hints=[
        "For one query: among the first k labels, how many are the query's own?",
        "Each row of the first k columns is compared with one label: set `wanted` "
        "upright, `wanted[:, None]`.",
        "`(found[:, :k] == wanted[:, None]).mean(axis=1)`",
    ],
)
def precision_at_k(answer: Answer) -> str:
    """Check the share of the first k results that have the query's label.

    Parameters
    ----------
    answer : callable
        ``precision_at_k(found, wanted, k)``, shares of shape (n_queries,).

    Returns
    -------
    str
        What was shown.

    Raises
    ------
    ExerciseError
        When a share is not what it should be.
    """
    rng = np.random.default_rng(86)
    for n_queries, n_results, k in ((6, 9, 4), (11, 30, 7), (5, 8, 8), (7, 12, 1)):
        found = rng.integers(0, 3, (n_queries, n_results))
        wanted = rng.integers(0, 3, n_queries)
        got = _numpy(answer(found.copy(), wanted.copy(), k))
        given = f"{n_queries} queries, {n_results} results and k = {k}"
        slip = ""
        if np.shape(got) == ():
            slip = "That is the mean over queries; keep one number each: axis=1."
        elif np.shape(got) == (k,):
            slip = "A row is a query: take `found[:, :k]`, and the mean along axis=1."
        elif np.shape(got) == (n_queries, k):
            slip = "Those are hits; take their mean along each row."
        got = expect_shape("precision_at_k", got, (n_queries,), given=given, slip=slip)
        hits = np.array(
            [
                [label == own for label in row]
                for row, own in zip(found, wanted, strict=True)
            ]
        )
        expected = hits[:, :k].sum(axis=1) / k
        if np.allclose(got, expected, atol=1e-6):
            continue
        own = np.maximum(hits.sum(axis=1), 1)
        slips = [
            (hits[:, :k].sum(axis=1), "Those are counts; divide by k."),
            (hits.mean(axis=1), "All results count in yours; only the first k should."),
            (hits[:, -k:].mean(axis=1), "You took the last k results, the farthest."),
            (
                hits[:, 1 : k + 1].sum(axis=1) / k,
                "You left the first result out. Here the query is not among them.",
            ),
            (hits[:, : k + 1].mean(axis=1), "You took k + 1 results."),
            (hits[:, : k + 1].sum(axis=1) / k, "You took k + 1 results."),
            (hits[:, : k - 1].sum(axis=1) / max(k - 1, 1), "You took k - 1 results."),
            (hits[:, : k - 1].sum(axis=1) / k, "You took k - 1 results."),
            (hits[:, min(k, n_results - 1)], "That is one result alone; count k."),
            (expected // 1, "Whole numbers came out: divide with `/`, not `//`."),
            (100 * expected, "Those are per cent; give shares from 0 to 1."),
            (
                hits[:, :k].sum(axis=1) / n_results,
                "You divided by all results; divide by k.",
            ),
            (hits[:, :k].sum(axis=1) / own, "That is recall: divided by all relevant."),
            (hits[:, :k].any(axis=1), "That asks whether any of the k is right."),
            (hits[:, k - 1], "That is the k-th result alone; count the first k."),
        ]
        for wrong, sentence in slips:
            if np.allclose(got, wrong, atol=1e-6):
                fail(sentence)
        row = int(np.flatnonzero(~np.isclose(got, expected))[0])
        fail(
            f"For a query of label {wanted[row]} and the results "
            f"{found[row, :k].tolist()} I expected {expected[row]:.3f}, you gave "
            f"{got[row]:.3f}."
        )
    return (
        "One number for each query, so you can average them, compare them one by one, "
        "and draw them again for an interval."
    )


def _numpy(got: Any) -> Any:
    """Bring a tensor to NumPy; leave everything else as it is."""
    return got.detach().cpu().numpy() if hasattr(got, "detach") else got


summary = summary_of(__name__, look_back="Eight lessons, one table")
