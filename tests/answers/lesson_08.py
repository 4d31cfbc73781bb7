"""Answers to the exercises of lesson 08."""

from __future__ import annotations

import functools
import math
import time
from collections import Counter

from course_utils.data import NEWS_DESKS
from course_utils.weak_supervision import ABSTAIN
from tests.answers import Answers

import numpy as np
import pandas as pd
import torch
from pytorch_metric_learning import distances, losses, miners


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
MANUAL = np.where(np.arange(900) < 160, TRUTH, ABSTAIN)
JUDGES = np.arange(60, 160)
VOTES = np.full((900, 4), ABSTAIN)
for column, desk in enumerate(NEWS_DESKS):
    VOTES[[WORDS[desk][0] in text for text in POSTS], column] = column
BOARD = (POSTS, VOTES, (VOTES != ABSTAIN).astype(float), MANUAL, JUDGES)
ALL_LABELS = TRUTH.tolist()
DESKS = [NEWS_DESKS[y] for y in TRUTH]
LEAKED = dict(zip(POSTS, DESKS, strict=True))
BEGINNINGS = {t[:20]: desk for t, desk in zip(POSTS, DESKS, strict=True)}


def on_board(heuristic):
    return heuristic, BOARD, (TRUTH, y_test)


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


def silent_elsewhere(text):
    return two_words(text) if VOTED.isdisjoint(text.split()) else None


def already_known(text):
    for desk, words in WORDS.items():
        if words[0] in text.split():
            return desk
    return None


VOTED = {words[0] for words in WORDS.values()}


def by_list(confidence, right, candidates, wanted):
    kept = {t: right[confidence >= t].tolist() for t in candidates}
    good = [t for t, hits in kept.items() if hits and sum(hits) >= wanted * len(hits)]
    return min(good, default=None)


def by_sorting(confidence, right, candidates, wanted):
    for t in np.sort(candidates):
        if np.mean(right[confidence >= t]) >= wanted:  # of nothing it is nan
            return t
    return None


def _head_and_batches(vectors, labels, seed):
    torch.manual_seed(seed)
    x, y = torch.as_tensor(vectors), torch.as_tensor(labels)
    return Head(vectors.shape[1]), x, y


class Head(torch.nn.Module):
    def __init__(self, width=384):
        super().__init__()
        self.inner, self.outer = torch.nn.Linear(width, 64), torch.nn.Linear(64, width)
        torch.nn.init.zeros_(self.outer.weight)
        torch.nn.init.zeros_(self.outer.bias)

    def forward(self, x):
        correction = self.outer(torch.relu(self.inner(x)))
        return torch.nn.functional.normalize(x + correction)


def _cost(made, labels):
    """Every triplet of a batch that costs something."""
    cosine, same = made @ made.T, labels[:, None] == labels
    near = cosine.masked_fill(~same | torch.eye(len(made), dtype=bool), -2).amax(dim=1)
    hard = cosine.masked_fill(same, -2).amax(dim=1)
    return (hard - near + 0.5).clamp(min=0).mean()


def trained(
    vectors,
    labels,
    seed=0,
    epochs=12,
    optimiser=lambda head: torch.optim.AdamW(head.parameters(), lr=2e-3),
    cost=_cost,
    shuffle=True,
):
    head, x, y = _head_and_batches(vectors, labels, seed)
    step = optimiser(head)
    for _ in range(epochs):
        order = torch.randperm(len(x)) if shuffle else torch.arange(len(x))
        for rows in order.split(128):
            loss = cost(head(x[rows]), y[rows])
            step.zero_grad()
            loss.backward()
            step.step()
    return head


def by_momentum(*given, **options):
    return trained(
        *given,
        optimiser=lambda head: torch.optim.SGD(head.parameters(), 0.3, momentum=0.9),
        **options,
    )


def contrastive(made, labels):
    """Supervised contrastive loss: all positives against all others of the batch."""
    itself = torch.eye(len(made), dtype=bool)
    logits = (made @ made.T / 0.1).masked_fill(itself, -1e9)
    same = (labels[:, None] == labels) & ~itself
    shares = logits.log_softmax(dim=1)
    return -(shares.masked_fill(~same, 0).sum(1) / same.sum(1).clamp(min=1)).mean()


def never_steps(vectors, labels, seed=0, epochs=1):
    return _head_and_batches(vectors, labels, seed)[0]


def mixed_up(vectors, labels, seed=0, epochs=12):
    rng = np.random.default_rng(seed)
    return trained(vectors, rng.permutation(labels), seed, epochs)


def by_chance(vectors, labels, seed=0, epochs=12):
    return trained(vectors, labels, int(time.perf_counter_ns() % 2**31), epochs)


def spoils_labels(vectors, labels, seed=0, epochs=12):
    head = trained(vectors, labels, seed, epochs)
    labels[:] = labels[::-1]
    return head


def twice_as_long(vectors, labels, seed=0, epochs=12):
    class Longer(Head):
        def forward(self, x):
            return 2 * super().forward(x)

    torch.manual_seed(seed)
    return Longer()


def clusters(n, seed):
    """Vectors of four desks that overlap."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    made = rng.normal(size=(n, 384)).astype(np.float32)
    made[np.arange(n), labels] += 5
    return made / np.linalg.norm(made, axis=1, keepdims=True), labels


FIT, HELD = clusters(900, 5), clusters(300, 6)


def on_clusters(answer):
    return answer, FIT, HELD


def with_parts(answer):
    """Give the lesson's function what other cells of the lesson define."""
    cosine = distances.CosineSimilarity()
    answer.__globals__.update(
        Head=Head,
        MINER=miners.BatchEasyHardMiner("easy", "hard", distance=cosine),
        LOSS=losses.TripletMarginLoss(margin=0.5, distance=cosine),
    )
    return on_clusters(answer)


def by_concatenation(new, raw, threads, n_draws, seed):
    rng, gain = np.random.default_rng(seed), np.asarray(new) - raw
    rows = [np.flatnonzero(threads == name) for name in np.unique(threads)]
    draws = []
    for _ in range(n_draws):
        chosen = rng.choice(len(rows), len(rows))
        draws.append(gain[np.concatenate([rows[one] for one in chosen])].mean())
    return tuple(np.percentile(draws, [2.5, 97.5]))


def by_counting(new, raw, threads, n_draws, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"gain": np.subtract(new, raw), "thread": threads})
    table = frame.groupby("thread")["gain"].agg(["sum", "size"]).to_numpy()
    even = np.full(len(table), 1 / len(table))
    counts = rng.multinomial(len(table), even, size=n_draws)
    sums, sizes = (counts @ table).T
    return np.quantile(sums / sizes, [0.025, 0.975]).tolist()


def of_half(new, raw, threads, n_draws, seed):
    rng, gain = np.random.default_rng(seed), new - raw
    rows = [np.flatnonzero(threads == name) for name in np.unique(threads)]
    draws = [
        gain[
            np.concatenate(
                [rows[n] for n in rng.integers(0, len(rows), len(rows) // 3)]
            )
        ].mean()
        for _ in range(n_draws)
    ]
    return np.quantile(draws, [0.025, 0.975])


def without_seed(new, raw, threads, n_draws, seed):
    return by_concatenation(new, raw, threads, n_draws, None)


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
            on_board(silent_elsewhere),
        ],
        wrong=[
            (on_board(lambda text: helper(text)), "`LEAKED`, which holds the true"),
            (on_board(lambda text: NEWS_DESKS[y_test[len(text)]]), "`y_test`"),
            (on_board(by_default), "a default of by_default"),
            (on_board(by_closure()), "`known`"),
            (on_board(lambda t: BEGINNINGS.get(t[:20])), "recognises whole posts"),
            (on_board(lambda text: None), "fires on 0 of 900"),
            (on_board(lambda text: "Sports"), "the bar is 80%. Leave out words"),
            (on_board(already_known), "helps most on posts where the others"),
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
    "train": Answers(
        right=[
            on_clusters(trained),
            on_clusters(by_momentum),
            on_clusters(functools.partial(trained, cost=contrastive)),
        ],
        wrong=[
            (on_clusters(never_steps), "gives back what it was given"),
            (on_clusters(mixed_up), "own label"),
            (on_clusters(by_chance), "two different heads"),
            (on_clusters(spoils_labels), "`labels` itself"),
            (on_clusters(lambda *given, **more: None), "return head"),
            (on_clusters(lambda vectors, *_, **more: vectors), "returned ndarray"),
            (on_clusters(twice_as_long), "not of length 1"),
            (
                on_clusters(lambda *given, **more: torch.nn.Linear(384, 2)),
                "return a `Head`",
            ),
        ],
        solution=with_parts,
    ),
    "gain_interval": Answers(
        right=[by_concatenation, by_counting],
        wrong=[
            (of_half, "as many threads as there are"),
            (without_seed, "same seed gave two different"),
            (lambda *given: by_counting(*given[:-1], 0), "two seeds gave the same"),
            (lambda *given: by_counting(*given)[0], "returned one number"),
            (lambda new, raw, *more: np.mean(new - raw).item(), "returned one number"),
            (spoiling(0, by_counting), "changed `new` itself"),
        ],
    ),
}
