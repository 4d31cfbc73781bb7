"""Answers to the exercises of lesson 08."""

from __future__ import annotations

import functools
import math
from collections import Counter

from course_utils.data import NEWS_DESKS
from course_utils.weak_supervision import ABSTAIN
from tests.answers import Answers

import numpy as np
import pandas as pd
import torch


def spoiling(place, answer):
    @functools.wraps(answer)
    def spoils(*arguments):
        value = answer(*arguments)
        arguments[place][:] = arguments[place][::-1]
        return value

    return spoils


def by_loop(votes, manual):
    pairs = list(zip(votes.tolist(), manual.tolist(), strict=True))
    hits = [vote == truth for vote, truth in pairs if min(vote, truth) >= 0]
    precision = sum(hits) / len(hits) if hits else 0
    return [precision, sum(vote >= 0 for vote, _ in pairs) / len(pairs)]


def by_mean(votes, manual):
    judged = (votes > -1) & (manual > -1)
    precision = np.float32((votes == manual)[judged].mean()) if judged.any() else 0
    return precision, np.float32(np.mean(votes > -1))


def divides_by_zero(votes, manual):
    judged = (votes != -1) & (manual != -1)
    right = (judged & (votes == manual)).tolist()
    return sum(right) / sum(judged.tolist()), float(np.mean(votes != -1))


def by_counter(labels, weights):
    sums = Counter({-1: 0.0})
    for label, weight in zip(labels, weights, strict=True):
        sums[label] += weight
    (label, best), *others = sums.most_common()
    margin = best - sum(weight for _, weight in others)
    sure = 1 / (1 + math.exp(-(7 * margin - 3)))
    return (label, sure) if margin > 1e-9 else (-1, 0)


def by_tensor(labels, weights):
    sums = torch.zeros(8, dtype=torch.float64)
    sums.index_add_(0, torch.tensor(labels, dtype=int), torch.tensor(weights).double())
    margin = sums.max() - (sums.sum() - sums.max())
    sure = margin > 1e-6
    confidence = torch.sigmoid(7 * margin - 3) if sure else torch.tensor(0.0)
    return [sums.argmax() if sure else -1, confidence]


# A board of posts made up of words: desks are told by words that the lists of the
# board know in half of the posts and the heuristics here in more.
WORDS = {
    "World": ["treaty", "fbi", "serbs", "turks", "jews"],
    "Sports": ["hockey", "leafs", "mets", "braves", "yankees"],
    "Business": ["forsale", "obo", "crate", "coupon", "bargain"],
    "Sci/Tech": ["orbit", "nsa", "lunar", "solar", "cancer"],
}


def make_posts(n, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, n)
    texts = []
    for number, label in enumerate(truth):
        words = rng.choice(WORDS[NEWS_DESKS[label]], 2).tolist()
        if rng.random() < 0.08:
            words[1] = str(rng.choice(WORDS[NEWS_DESKS[rng.integers(0, 4)]]))
        texts.append(f"{number} {words[0]} and {words[1]} post of {seed}")
    return texts, truth


POSTS, TRUTH = make_posts(900, 1)
TEST_POSTS, y_test = make_posts(300, 2)
MANUAL = np.where(np.arange(900) < 120, TRUTH, ABSTAIN)
VOTES = np.full((900, 4), ABSTAIN)
for column, desk in enumerate(NEWS_DESKS):
    VOTES[[WORDS[desk][0] in text for text in POSTS], column] = column
BOARD = (POSTS, VOTES, (VOTES != ABSTAIN).astype(float), MANUAL, TRUTH)
ALL_LABELS = TRUTH.tolist()
DESKS = [NEWS_DESKS[y] for y in TRUTH]
LEAKED = dict(zip(TEST_POSTS, [NEWS_DESKS[y] for y in y_test], strict=True))
BEGINNINGS = {t[:20]: desk for t, desk in zip(POSTS, DESKS, strict=True)}
# A word of each post, and its true desk: words, and yet a leak.
NUMBERS = {str(n): desk for n, desk in enumerate(DESKS)}


def on_board(heuristic):
    return heuristic, BOARD, (TEST_POSTS, y_test)


def two_words(text):
    if "mets" in text or "leafs" in text or "braves" in text:
        return "Sports"
    return "Sci/Tech" if "lunar" in text or "solar" in text else None


def helper(text):
    return LEAKED.get(text)


def by_default(text, known=ALL_LABELS):
    return NEWS_DESKS[known[len(text)]]


def by_closure():
    known = dict(zip(POSTS, DESKS, strict=True))
    return lambda text: known.get(text)


def by_numbers(text):
    return NUMBERS.get(text.split()[0])


def by_list(confidence, right, candidates, wanted):
    kept = {t: right[confidence >= t].tolist() for t in candidates}
    good = [t for t, hits in kept.items() if hits and sum(hits) >= wanted * len(hits)]
    return min(good, default=None)


def by_sorting(confidence, right, candidates, wanted):
    for t in np.sort(candidates):
        if np.mean(right[confidence >= t]) >= wanted:  # of nothing it is nan
            return t
    return None


def mined(vectors, labels):
    positives, negatives = [], []
    for i, vector in enumerate(vectors):
        rows = sorted(range(len(labels)), key=lambda j: -vectors[j] @ vector)
        own = [j for j in rows if labels[j] == labels[i] and j != i]
        positives.append(own[0])
        negatives.append([j for j in rows if labels[j] != labels[i]][0])
    return positives, negatives


def last_of_equals(vectors, labels):
    rows = mined(vectors[::-1], labels[::-1])
    return [torch.tensor(len(labels) - 1 - np.array(part[::-1])) for part in rows]


def minus_identity(vectors, labels):
    cosine = vectors @ vectors.T - np.eye(len(labels))
    same = labels[:, None] == labels[None, :]
    return np.where(same, cosine, -2).argmax(axis=1), mined(vectors, labels)[1]


def second_of_the_sort(vectors, labels):
    cosine = np.where(labels[:, None] == labels, vectors @ vectors.T, -2)
    return cosine.argsort(axis=1)[:, -2], mined(vectors, labels)[1]


def counted(found, wanted, k):
    return [np.mean(row[:k] == own) for row, own in zip(found, wanted, strict=True)]


def by_cumsum(found, wanted, k):
    hits = torch.as_tensor(found) == torch.as_tensor(wanted)[:, None]
    return hits.float().cumsum(dim=1)[:, k - 1].numpy() / k


ANSWERS = {
    "precision_and_coverage": Answers(
        right=[by_loop, by_mean],
        wrong=[
            (lambda *votes: by_loop(*votes)[::-1], "changed places"),
            (divides_by_zero, "divides by zero"),
            (lambda *votes: by_loop(*votes)[0], "I expected 2 values"),
            (lambda *votes: pd.Series(by_loop(*votes)), "needs a pair of numbers"),
            (lambda *votes: torch.tensor(by_loop(*votes)), "needs a pair of numbers"),
            (spoiling(0, by_loop), "changed `votes` itself"),
        ],
    ),
    "weak_vote": Answers(
        right=[by_counter, by_tensor],
        wrong=[
            (lambda *votes: max(votes[0]) >= 0 and by_counter(*votes), "Without votes"),
            (lambda *votes: by_counter(*votes)[::-1], "changed places"),
            (lambda *votes: np.array(by_counter(*votes)), "return int(label)"),
            (spoiling(0, by_counter), "changed `labels` itself"),
        ],
    ),
    "my_heuristic": Answers(
        right=[
            on_board(two_words),
            on_board(lambda text: two_words(text) and (two_words(text), 0.9)),
            on_board(lambda text: two_words(" ".join(text.split()[:4]))),
            # Words of the pool alone tell nothing about a leak.
            on_board(lambda text: two_words(text) if "of 1" in text else None),
        ],
        wrong=[
            (on_board(lambda text: helper(text)), "`LEAKED`, which holds the true"),
            (on_board(lambda text: NEWS_DESKS[y_test[len(text)]]), "`y_test`"),
            (on_board(by_default), "a default of by_default"),
            (on_board(by_closure()), "`known`"),
            (on_board(lambda t: BEGINNINGS.get(t[:20])), "recognises whole posts"),
            (
                on_board(lambda t: by_numbers(t) if "7" in t else None),
                "of the pool must have chosen yours",
            ),
            (on_board(by_numbers), "of nearly all posts"),
            (on_board(lambda text: None), "fires on 0 of 900"),
            (on_board(lambda text: "Sports"), "the bar is 80%. Leave out words"),
            (on_board(lambda text: 1), "returned 1"),
            (on_board(lambda text: pd.NA), "returned <NA>; it may return"),
            (on_board(lambda text: ("Sports", 90)), "returned ('Sports', 90); it may"),
            (on_board(lambda text: "sports"), "Did you mean 'Sports'"),
        ],
        solution=on_board,
    ),
    "choose_threshold": Answers(
        right=[by_list, by_sorting],
        wrong=[
            (lambda *posts: 0.123, "one of the candidates"),
            (lambda confidence, right, candidates, wanted: min(candidates), "only"),
            (lambda *posts: by_list(*posts) or -1, "return None"),
            (spoiling(2, by_list), "changed `candidates` itself"),
        ],
    ),
    "mine": Answers(
        right=[mined, last_of_equals],
        wrong=[
            (minus_identity, "its own positive"),
            (second_of_the_sort, "its own positive"),
            (lambda *posts: mined(*posts)[::-1], "positives first"),
            (lambda *posts: mined(*posts)[:1] * 2, "the same label"),
            (lambda *posts: np.array(mined(*posts)) / 2, "no rows"),
            (lambda *posts: mined(*posts)[1], "I expected 2"),
            (lambda *posts: (mined(*posts)[0], [1, 2]), "costs nothing"),
            (spoiling(1, mined), "changed `labels` itself"),
        ],
    ),
    "precision_at_k": Answers(
        right=[counted, by_cumsum],
        wrong=[
            (spoiling(0, counted), "changed `found` itself"),
            (lambda *asked: torch.tensor(counted(*asked)), "later cell needs an array"),
        ],
    ),
}
