"""Answers to the exercises of lesson 08."""

from __future__ import annotations

import math
from collections import defaultdict

from course_utils.data import NEWS_DESKS
from course_utils.weak_supervision import ABSTAIN
from tests.answers import Answers

import numpy as np
import torch


def by_loop(votes, manual):
    right = judged = fires = 0
    for vote, truth in zip(votes.tolist(), manual.tolist(), strict=True):
        fires += vote >= 0
        if vote >= 0 and truth >= 0:
            judged += 1
            right += vote == truth
    return [right / judged if judged else 0, fires / len(votes)]


def by_mean(votes, manual):
    judged = (votes > -1) & (manual > -1)
    precision = np.float32((votes == manual)[judged].mean()) if judged.any() else 0
    return precision, np.float32(np.mean(votes > -1))


def swapped(votes, manual):
    return by_loop(votes, manual)[::-1]


def divided_by_all(votes, manual):
    fires = votes != -1
    right = fires & (votes == manual)
    return right.sum() / max(fires.sum(), 1), fires.mean()


def of_labelled_only(votes, manual):
    known = manual != -1
    return by_loop(votes, manual)[0], (votes[known] != -1).mean() if known.any() else 0


def nan_where_silent(votes, manual):
    judged = (votes != -1) & (manual != -1)
    return (votes == manual)[judged].mean(), (votes != -1).mean()


def divides_by_zero(votes, manual):
    judged = (votes != -1) & (manual != -1)
    right = (judged & (votes == manual)).tolist()
    return sum(right) / sum(judged.tolist()), float(np.mean(votes != -1))


def one_number(votes, manual):
    return by_loop(votes, manual)[0]


def silence_is_right(votes, manual):
    return np.mean(votes == manual), np.mean(votes != -1)


def by_dict(labels, weights, rest=sum, squash=None):
    sums = defaultdict(float)
    for label, weight in zip(labels, weights, strict=True):
        sums[label] += weight
    ranked = sorted(sums.items(), key=lambda pair: pair[1], reverse=True)
    if not ranked:
        return -1, 0
    (label, best), others = ranked[0], [weight for _, weight in ranked[1:]]
    margin = best - rest([*others, 0])
    if margin < 1e-9:
        return -1, 0
    squash = squash or (lambda m: 1 / (1 + math.exp(-(7 * m - 3))))
    return label, squash(margin)


def by_tensor(labels, weights):
    sums = torch.zeros(8, dtype=torch.float64)
    for label, weight in zip(labels, weights, strict=True):
        sums[label] += weight
    margin = sums.max() - (sums.sum() - sums.max())
    if margin < 1e-9:
        return [-1, 0.0]
    return [int(sums.argmax()), torch.sigmoid(7 * margin - 3).item()]


def second_best_off(labels, weights):
    return by_dict(labels, weights, rest=max)


def margin_as_confidence(labels, weights):
    return by_dict(labels, weights, squash=lambda m: m)


def sign_turned(labels, weights):
    return by_dict(labels, weights, squash=lambda m: 1 / (1 + math.exp(7 * m - 3)))


def plain_sigmoid(labels, weights):
    return by_dict(labels, weights, squash=lambda m: 1 / (1 + math.exp(-m)))


def heads_counted(labels, weights):
    if not labels:
        return -1, 0.0
    most = max(labels, key=labels.count)
    return most, by_dict(labels, weights)[1]


def heaviest_wins(labels, weights):
    if not labels:
        return -1, 0.0
    return labels[int(np.argmax(weights))], by_dict(labels, weights)[1]


def ties_win(labels, weights):
    label, confidence = by_dict(labels, weights)
    return (labels[0] if label == -1 and labels else label), confidence


def none_for_no_label(labels, weights):
    label, confidence = by_dict(labels, weights)
    return (None if label == -1 else label), confidence


def first_desk_lost(labels, weights):
    label, confidence = by_dict(labels, weights)
    return (label, confidence) if label > 0 else (-1, 0.0)


def no_sigmoid(labels, weights):
    return by_dict(labels, weights, squash=lambda m: 7 * m - 3)


def plus_three(labels, weights):
    return by_dict(labels, weights, squash=lambda m: 1 / (1 + math.exp(-7 * m - 3)))


def places_changed(labels, weights):
    return by_dict(labels, weights)[::-1]


def stops_without_votes(labels, weights):
    max(labels)
    return by_dict(labels, weights)


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
        texts.append(f"about {words[0]} and {words[1]} post {number} of {seed}")
    return texts, truth


POSTS, TRUTH = make_posts(900, 1)
TEST_POSTS, TEST_TRUTH = make_posts(300, 2)
MANUAL = np.where(np.arange(900) < 120, TRUTH, ABSTAIN)
VOTES = np.full((900, 4), ABSTAIN)
for column, desk in enumerate(NEWS_DESKS):
    VOTES[[WORDS[desk][0] in text for text in POSTS], column] = column
BOARD = (POSTS, VOTES, (VOTES != ABSTAIN).astype(float), MANUAL, TRUTH)
LEAKED = dict(zip(TEST_POSTS, [NEWS_DESKS[y] for y in TEST_TRUTH], strict=True))
y_test = TEST_TRUTH


def on_board(heuristic):
    return heuristic, BOARD, (TEST_POSTS, TEST_TRUTH)


def two_words(text):
    if "mets" in text or "leafs" in text or "braves" in text:
        return "Sports"
    return "Sci/Tech" if "lunar" in text or "solar" in text else None


def with_confidence(text):
    for desk, words in WORDS.items():
        if desk != "Business" and set(words[1:]) & set(text.split()):
            return desk, 0.9
    return None


def reads_test_labels(text):
    return LEAKED.get(text)


def reads_an_array(text):
    place = int(text.split()[5]) if len(text.split()) > 5 else 0
    return NEWS_DESKS[y_test[place % len(y_test)]]


def helper(text):
    return LEAKED.get(text, None)


def reads_through_a_helper(text):
    return helper(text)


ALL_LABELS = TRUTH.tolist()


def by_default(text, known=ALL_LABELS):
    return NEWS_DESKS[known[int(text.split()[5])]] if text else None


def by_closure():
    known = {text: NEWS_DESKS[y] for text, y in zip(POSTS, TRUTH, strict=True)}
    return lambda text: known.get(text)


BEGINNINGS = {t[:26]: NEWS_DESKS[y] for t, y in zip(POSTS, TRUTH, strict=True)}


def by_beginning(text):
    return BEGINNINGS.get(text[:26])


# Words of every other post, and its true desk: words, and yet a leak.
RARE = {str(n): NEWS_DESKS[y] for n, y in enumerate(TRUTH) if n % 2}


def by_rare_words(text):
    words = text.split()
    return RARE.get(words[words.index("post") + 1]) if "post" in words else None


def one_word_of_the_subject(text):
    words = text.split()[:4]
    if {"mets", "leafs", "braves"} & set(words):
        return "Sports"
    return "Sci/Tech" if {"lunar", "solar", "nsa"} & set(words) else None


def most_words(text):
    clean = with_confidence(text)
    return clean or ("World" if len(text) % 2 else None)


FINGERPRINTS = {hash(t): NEWS_DESKS[y] for t, y in zip(POSTS, TRUTH, strict=True)}


def by_fingerprint(text):
    return FINGERPRINTS.get(hash(text))


def silent(text):
    return None


def always_sports(text):
    return "Sports"


def numbers(text):
    return 1


def small_letters(text):
    return "sports" if "mets" in text else None


def all_true(text):
    label = max(NEWS_DESKS, key=lambda desk: sum(w in text for w in WORDS[desk]))
    return label if text else None


def by_list(confidence, right, candidates, wanted):
    good = [
        t
        for t in candidates
        if (confidence >= t).sum()
        and right[confidence >= t].sum() >= wanted * (confidence >= t).sum()
    ]
    return min(good, default=None)


def by_dictionary(confidence, right, candidates, wanted):
    best = None
    for t in candidates:
        rows = [bool(r) for c, r in zip(confidence, right, strict=True) if c >= t]
        if rows and np.mean(rows) >= wanted and (best is None or t < best):
            best = np.float64(t)
    return best


def highest(confidence, right, candidates, wanted):
    for t in sorted(candidates, reverse=True):
        kept = confidence >= t
        if kept.any() and right[kept].mean() >= wanted:
            return t
    return None


def first_of_the_list(confidence, right, candidates, wanted):
    for t in candidates:
        kept = confidence >= t
        if kept.any() and right[kept].mean() >= wanted:
            return t
    return None


def edge_left_out(confidence, right, candidates, wanted):
    for t in sorted(candidates):
        kept = confidence > t
        if kept.any() and right[kept].mean() >= wanted:
            return t
    return None


def empty_reaches_all(confidence, right, candidates, wanted):
    for t in sorted(candidates):
        kept = confidence >= t
        if not kept.any() or right[kept].mean() >= wanted:
            return t
    return None


def the_accuracy(confidence, right, candidates, wanted):
    t = by_list(confidence, right, candidates, wanted)
    return None if t is None else right[confidence >= t].mean()


def share_of_all(confidence, right, candidates, wanted):
    for t in sorted(candidates):
        if (right & (confidence >= t)).mean() >= wanted:
            return t
    return None


def more_than_wanted(confidence, right, candidates, wanted):
    for t in sorted(candidates):
        kept = confidence >= t
        if kept.any() and right[kept].mean() > wanted:
            return t
    return None


def from_the_top(confidence, right, candidates, wanted):
    best = None
    for t in sorted(candidates, reverse=True):
        kept = confidence >= t
        if kept.any() and right[kept].mean() < wanted:
            return best
        best = t if kept.any() else best
    return best


def lowest_of_all(confidence, right, candidates, wanted):
    return min(candidates)


def mined_by_loop(vectors, labels):
    positives, negatives = [], []
    for i in range(len(labels)):
        own = [j for j in range(len(labels)) if labels[j] == labels[i] and j != i]
        other = [j for j in range(len(labels)) if labels[j] != labels[i]]
        positives.append(
            min(own, key=lambda j: np.linalg.norm(vectors[i] - vectors[j]))
        )
        negatives.append(max(other, key=lambda j: vectors[i] @ vectors[j]))
    return positives, negatives


def mined_by_torch(vectors, labels):
    return [torch.tensor(rows) for rows in mined_by_loop(vectors, labels)]


def farthest_positive(vectors, labels):
    same = labels[:, None] == labels[None, :]
    cosine = vectors @ vectors.T
    return np.where(same, cosine, 2).argmin(axis=1), mined_by_loop(vectors, labels)[1]


def itself(vectors, labels):
    same = labels[:, None] == labels[None, :]
    cosine = vectors @ vectors.T
    return np.where(same, cosine, -2).argmax(axis=1), mined_by_loop(vectors, labels)[1]


def only_those_that_cost(vectors, labels):
    positives, negatives = (np.array(rows) for rows in mined_by_loop(vectors, labels))
    cosine, each = vectors @ vectors.T, np.arange(len(labels))
    costs = cosine[each, negatives] - cosine[each, positives] + 0.5 > 0
    return positives[costs], negatives[costs]


def negatives_first(vectors, labels):
    return mined_by_loop(vectors, labels)[::-1]


def any_neighbour(vectors, labels):
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -2)
    return mined_by_loop(vectors, labels)[0], cosine.argmax(axis=1)


def farthest_negative(vectors, labels):
    same = labels[:, None] == labels[None, :]
    cosine = vectors @ vectors.T
    return mined_by_loop(vectors, labels)[0], np.where(same, 2, cosine).argmin(axis=1)


def cosines_not_rows(vectors, labels):
    cosine = vectors @ vectors.T
    return tuple(
        cosine[np.arange(len(labels)), rows] for rows in mined_by_loop(vectors, labels)
    )


def only_negatives(vectors, labels):
    return mined_by_loop(vectors, labels)[1]


def counted(found, wanted, k):
    return [
        sum(label == own for label in row[:k]) / k
        for row, own in zip(found.tolist(), wanted.tolist(), strict=True)
    ]


def by_cumsum(found, wanted, k):
    hits = torch.as_tensor(found) == torch.as_tensor(wanted)[:, None]
    return hits.float().cumsum(dim=1)[:, k - 1] / k


def mean_of_all(found, wanted, k):
    return (found[:, :k] == wanted[:, None]).mean()


def all_results(found, wanted, k):
    return (found == wanted[:, None]).mean(axis=1)


def down_the_columns(found, wanted, k):
    return (found[:, :k] == wanted[:, None]).mean(axis=0)


def counts(found, wanted, k):
    return (found[:, :k] == wanted[:, None]).sum(axis=1)


def without_the_first(found, wanted, k):
    return (found[:, 1 : k + 1] == wanted[:, None]).sum(axis=1) / k


def recall(found, wanted, k):
    hits = found == wanted[:, None]
    return hits[:, :k].sum(axis=1) / np.maximum(hits.sum(axis=1), 1)


ANSWERS = {
    "precision_and_coverage": Answers(
        right=[by_loop, by_mean],
        wrong=[
            (swapped, "changed places"),
            (divided_by_all, "nobody labelled"),
            (of_labelled_only, "one of the labelled posts"),
            (nan_where_silent, "mean of nothing"),
            (divides_by_zero, "divides by zero"),
            (one_number, "two numbers"),
            (silence_is_right, "nobody was right"),
        ],
    ),
    "weak_vote": Answers(
        right=[by_dict, by_tensor],
        wrong=[
            (second_best_off, "second best"),
            (margin_as_confidence, "margin itself"),
            (sign_turned, "turned round"),
            (plain_sigmoid, "7 and the 3 are missing"),
            (heads_counted, "heads"),
            (heaviest_wins, "heaviest single vote"),
            (ties_win, "no label"),
            (stops_without_votes, "Without votes"),
            (none_for_no_label, "give -1"),
            (first_desk_lost, "0 is a desk"),
            (no_sigmoid, "σ is missing"),
            (plus_three, "not + 3"),
            (places_changed, "changed places"),
        ],
    ),
    "my_heuristic": Answers(
        right=[
            on_board(two_words),
            on_board(with_confidence),
            on_board(one_word_of_the_subject),
        ],
        wrong=[
            (
                on_board(reads_test_labels),
                "`LEAKED`, which holds the true labels of the",
            ),
            (on_board(reads_an_array), "`y_test`"),
            (on_board(reads_through_a_helper), "`LEAKED`"),
            (on_board(by_default), "a default of by_default"),
            (on_board(by_closure()), "`known`"),
            (on_board(by_fingerprint), "recognises whole posts"),
            (on_board(by_beginning), "recognises whole posts"),
            (on_board(by_rare_words), "of the pool must have chosen yours"),
            (on_board(most_words), "the bar is 80%"),
            (on_board(silent), "fires on 0 of 900"),
            (on_board(always_sports), "Leave out words that err"),
            (on_board(numbers), "returned 1"),
            (on_board(small_letters), "Did you mean 'Sports'"),
        ],
        solution=on_board,
    ),
    "choose_threshold": Answers(
        right=[by_list, by_dictionary],
        wrong=[
            (highest, "highest"),
            (first_of_the_list, "has no order"),
            (edge_left_out, "the edge"),
            (share_of_all, "that are kept, not by all"),
            (more_than_wanted, "equal to `wanted` is enough"),
            (from_the_top, "go up from the lowest"),
            (empty_reaches_all, "keeps no post"),
            (the_accuracy, "one of the candidates"),
            (lowest_of_all, "only"),
        ],
    ),
    "mine": Answers(
        right=[mined_by_loop, mined_by_torch],
        wrong=[
            (farthest_positive, "farthest positives"),
            (itself, "own positive"),
            (any_neighbour, "the same label"),
            (farthest_negative, "farthest negatives"),
            (cosines_not_rows, "no rows"),
            (only_negatives, "two things"),
            (only_those_that_cost, "costs nothing"),
            (negatives_first, "positives first"),
        ],
    ),
    "precision_at_k": Answers(
        right=[counted, by_cumsum],
        wrong=[
            (mean_of_all, "mean over queries"),
            (all_results, "only the first k"),
            (down_the_columns, "A row is a query"),
            (counts, "counts"),
            (without_the_first, "left the first"),
            (recall, "recall"),
        ],
    ),
}
