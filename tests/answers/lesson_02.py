"""Answers to the exercises of lesson 02."""

from __future__ import annotations

import math
import random
from functools import cache

from course_utils.text import tokenize
from tests.answers import Answers

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def factored(vocab_size, embedding_dim, length):
    return np.int64(1 + embedding_dim * (vocab_size + length))


def counted_arrays(vocab_size, embedding_dim, length):
    layers = [(vocab_size, embedding_dim), (length * embedding_dim, 1), (1,)]
    return float(sum(math.prod(shape) for shape in layers))


def by_counting(truth, first, second, n_draws, seed):
    """How often each item is drawn, in place of which items are drawn."""
    rng, size = np.random.default_rng(seed), len(truth)
    lead = np.subtract(first == truth, second == truth, dtype=float)
    draws = rng.multinomial(size, np.full(size, 1 / size), size=n_draws) @ lead / size
    return tuple(np.percentile(draws, [2.5, 97.5]))


def by_choices(truth, first, second, n_draws, seed):
    """Python's own generator and lists."""
    stream, size = random.Random(seed), len(truth)
    lead = [
        int(a == t) - int(b == t) for t, a, b in zip(truth, first, second, strict=True)
    ]
    draws = sorted(sum(stream.choices(lead, k=size)) / size for _ in range(n_draws))
    return [draws[int(0.025 * n_draws)], draws[min(int(0.975 * n_draws), n_draws - 1)]]


def by_legacy_seed(truth, first, second, n_draws, seed):
    np.random.seed(seed)
    draws = []
    for _ in range(n_draws):
        rows = np.random.choice(len(truth), len(truth), replace=True)
        draws.append((truth == first)[rows].mean() - (truth == second)[rows].mean())
    return np.array([np.quantile(draws, 0.025), np.quantile(draws, 0.975)])


def without_replacement(truth, first, second, n_draws, seed):
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(truth))
    gap = np.mean(first[rows] == truth[rows]) - np.mean(second[rows] == truth[rows])
    return gap, gap


def one_seed_in_the_loop(truth, first, second, n_draws, seed):
    draws = []
    for _ in range(n_draws):
        rows = np.random.default_rng(seed).integers(0, len(truth), len(truth))
        gap = np.mean(first[rows] == truth[rows]) - np.mean(second[rows] == truth[rows])
        draws.append(gap)
    return np.quantile(draws, [0.025, 0.975])


def half_of_the_items(truth, first, second, n_draws, seed):
    rng, size = np.random.default_rng(seed), len(truth)
    lead = np.subtract(first == truth, second == truth, dtype=float)
    draws = [lead[rng.integers(0, size, size // 2)].mean() for _ in range(n_draws)]
    return np.quantile(draws, [0.025, 0.975])


def by_formula(truth, first, second, n_draws, seed):
    lead = np.subtract(first == truth, second == truth, dtype=float)
    reach = 1.96 * lead.std() / np.sqrt(len(lead))
    return lead.mean() - reach, lead.mean() + reach


def always_one_seed(truth, first, second, n_draws, seed):
    return by_counting(truth, first, second, n_draws, 0)


def never_the_same(truth, first, second, n_draws, seed):
    return by_counting(truth, first, second, n_draws, None)


def by_loops(vectors, ids):
    means = np.zeros((len(ids), vectors.shape[-1]))
    for number, (row, line) in enumerate(zip(vectors, ids, strict=True)):
        if line.any():
            means[number] = row[line != 0].mean(axis=0)
    return means


def by_einsum(vectors, ids):
    weights = (ids > 0).astype(np.float32)
    weights /= np.clip(weights.sum(axis=1, keepdims=True), 1, None)
    return np.einsum("bl,bld->bd", weights, vectors).astype(np.float32)


def empty_is_nan(vectors, ids):
    mask = (ids != 0)[..., None]
    return (vectors * mask).sum(axis=1) / mask.sum(axis=1)


def masked_in_place(vectors, ids):
    vectors[ids == 0] = 0
    return vectors.sum(axis=1) / np.maximum((ids != 0).sum(axis=1), 1)[:, None]


def by_columns(table, weights):
    return (table * np.ravel(weights)).sum(axis=1).astype(np.float32)


def by_list(table, weights):
    return [float(np.dot(row, weights[:, 0])) for row in table]


x_train = ["I had feared the worst, a dull evening, and then it was a joy: go there."]

PUSH = dict.fromkeys(("wonderful", "perfect", "brilliant", "great", "love"), 6.0)
PUSH |= dict.fromkeys(("boring", "stupid", "awful", "waste", "dull", "worst"), -6.0)


def average_of_words(texts):
    """A cheap stand-in for the trained model: the mean push of a text's words."""
    means = [np.mean([PUSH.get(word, 0.0) for word in tokenize(t)]) for t in texts]
    return 1 / (1 + np.exp(-np.array(means)))


def fooling(make):
    return make, average_of_words, np.array(x_train, dtype=object)


def fools_with(*pairs):
    return fooling(lambda: list(pairs))


LIKED = ("Not dull, not stupid, never boring: go and see it.", 1)
NOT_LIKED = ("A great cast, a brilliant crew, and I slept.", 0)
LIKED_TOO = ("I feared the worst, and I laughed all night.", 1)


def three_tuples():
    return ((LIKED[0], True), NOT_LIKED, ["They promised us a perfect evening. Hm.", 0])


def arrays_of_labels():
    texts = [LIKED_TOO[0], "What great love? None at all."]
    return list(zip(texts, np.array([1, 0]), strict=True))


def one_by_one():
    yield from three_tuples()


def some_reviews(seed, size):
    """Reviews of 60 words, a fifth of them for or against the film."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    neutral = [f"w{number}" for number in range(200)]
    sides = [[f"{side}{n}" for n in range(20)] for side in ("bad", "good")]
    texts = []
    for label in labels:
        words = rng.choice(neutral, 60)
        leans = np.where(rng.random(12) < 0.75, label, 1 - label)
        words[-12:] = [rng.choice(sides[side]) for side in leans]
        texts.append(" ".join(rng.permutation(words)))
    return np.array(texts, dtype=object), labels


REVIEWS, LABELS = some_reviews(1, 2_400)
LEARN = slice(0, 1_600)
HELD = slice(1_600, None)
# Under this name, and with more labels than an answer is given, as in the notebook.
y_train = LABELS


def trains(make):
    texts, held = REVIEWS[LEARN], REVIEWS[HELD]
    return make, texts, LABELS[LEARN], held, LABELS[HELD], LABELS[HELD]


def a_pipeline(texts, labels):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))
    model.fit(texts, labels)
    return lambda new: model.predict_proba(new)[:, 1]


def labels_only(texts, labels):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))
    return model.fit(texts, labels).predict


def of_the_notebook(texts, labels):
    return fitted_before()


@cache
def fitted_before():
    texts, labels = some_reviews(1, 1_600)
    return a_pipeline(texts, labels)


def shuffles_its_arguments(texts, labels):
    order = np.random.default_rng(0).permutation(len(texts))
    texts[:], labels[:] = texts[order], labels[order]
    return a_pipeline(texts, labels)


def by_company(texts, labels):
    predict = a_pipeline(texts, labels)
    return lambda new: predict(new) * (1 if len(new) > 9 else 0.9)


def nan_if_empty(texts, labels):
    predict = a_pipeline(texts, labels)
    return lambda new: np.where([len(text) > 0 for text in new], predict(new), np.nan)


def arrays_only(texts, labels):
    predict = a_pipeline(texts, labels)
    return lambda new: predict(new.tolist())


def shares_of_words(texts, labels):
    """Naive Bayes by hand."""
    counter = CountVectorizer().fit(texts)
    seen = counter.transform(texts)
    liked, not_liked = (seen[labels == label].sum(axis=0) + 1 for label in (1, 0))
    push = np.log(np.asarray(liked / not_liked)).ravel()
    return lambda new: 1 / (1 + np.exp(-(counter.transform(new) @ push)))


def always_yes(texts, labels):
    return lambda new: np.ones(len(new))


def turned_round(texts, labels):
    predict = a_pipeline(texts, labels)
    return lambda new: 1 - predict(new)


def fits_everything(texts, labels):
    return a_pipeline(REVIEWS, y_train)


def logits(texts, labels):
    predict = shares_of_words(texts, labels)
    return lambda new: 9 * predict(new) - 4.5


def first_word_only(texts, labels):
    return a_pipeline([text.split()[0] for text in texts], labels)


def by_heart(texts, labels):
    known = dict(zip(texts, labels, strict=True))
    return lambda new: np.array([known.get(text, len(text) % 2 * 0.9) for text in new])


def two_columns(texts, labels):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))
    return model.fit(texts, labels).predict_proba


def unsteady(texts, labels):
    predict, rng = a_pipeline(texts, labels), np.random.default_rng(0)
    return lambda new: abs(predict(new) - 0.4 * rng.random(len(new)))


def empty_is_nan_in_predict(texts, labels):
    return lambda new: np.full(len(new), np.nan)


def a_whole_model(texts, labels):
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels)


ANSWERS = {
    "n_parameters": Answers(
        right=[factored, counted_arrays],
        wrong=[
            (lambda *sizes: [factored(*sizes)], "number itself"),
            (lambda *sizes: None, "begin with `return`"),
            (lambda *sizes: str(factored(*sizes)), "I expected numbers"),
        ],
    ),
    "difference_interval": Answers(
        right=[by_counting, by_choices, by_legacy_seed],
        wrong=[
            (without_replacement, "came out alike"),
            (one_seed_in_the_loop, "before the loop"),
            (half_of_the_items, "as many items as there are"),
            (by_formula, "percentiles of the draws"),
            (always_one_seed, "two seeds gave the same"),
            (never_the_same, "the same seed gave two"),
            (lambda *given: None, "begin with `return`"),
        ],
    ),
    "masked_mean": Answers(
        right=[by_loops, by_einsum, lambda v, ids: by_loops(v, ids).tolist()],
        wrong=[
            (empty_is_nan, "at [4, 0], your function returned nan"),
            (empty_is_nan, "Zero words have no mean"),
            (masked_in_place, "changed `vectors` itself"),
        ],
    ),
    "train_classifier": Answers(
        right=[trains(a_pipeline), trains(shares_of_words)],
        wrong=[
            (trains(always_yes), "the same answer"),
            (trains(turned_round), "below chance"),
            (trains(fits_everything), "reads `y_train`"),
            (trains(logits), "is the sigmoid missing"),
            (trains(first_word_only), "let it see more words"),
            (trains(by_heart), "it overfits"),
            (trains(two_columns), "two columns"),
            (trains(labels_only), "predict_proba"),
            (trains(of_the_notebook), "does not learn from its arguments"),
            (trains(by_company), "hang on the longest"),
            (trains(nan_if_empty), "empty text"),
            (trains(arrays_only), "gets arrays of texts, and lists"),
            (trains(shuffles_its_arguments), "changed `labels` and `texts` themselves"),
            (
                trains(lambda *given: lambda new: a_pipeline(*given)(new)[:, None]),
                "drops an axis",
            ),
            (
                trains(lambda *given: lambda new: 100 * a_pipeline(*given)(new)),
                "in percent",
            ),
            (trains(unsteady), "is dropout still at work"),
            (trains(empty_is_nan_in_predict), "returned nan"),
            (trains(a_whole_model), "returned a Pipeline"),
            (trains(lambda texts, labels: None), "begin with `return`"),
            (trains(lambda texts, labels: lambda new: [0.7]), "one probability for"),
        ],
        solution=trains,
    ),
    "word_scores": Answers(
        right=[by_columns, by_list],
        wrong=[
            (lambda table, weights: (table @ weights)[:, 0] + 0.3, "same number"),
            (lambda table, weights: np.maximum(table @ weights, 0)[:, 0], "at [1]"),
        ],
    ),
    "fooling_reviews": Answers(
        right=[fooling(three_tuples), fooling(arrays_of_labels)],
        wrong=[
            (fools_with(LIKED, LIKED_TOO), "other direction"),
            (fools_with(("A wonderful film, I love it.", 1), NOT_LIKED), "it is right"),
            (
                fools_with(LIKED, ("A boring film, and stupid on top of it.", 0)),
                "everything but",
            ),
            (fools_with(("Not dull!", 1), NOT_LIKED), "fewer than five"),
            (fools_with(("bad bad bad bad bad", 1)), "five different words"),
            (fooling(one_by_one), "a generator; I expected a list"),
            (fooling(lambda: None), "begin with `return`"),
            (fools_with((1, LIKED[0])), "swapped"),
            (fools_with((LIKED[0], "positive")), "1 for liked"),
            (fools_with(LIKED, NOT_LIKED, LIKED), "same text"),
            (fools_with(LIKED[0], NOT_LIKED[0]), "pairs"),
            (fools_with(set(LIKED), set(NOT_LIKED)), "pairs"),
            (fools_with(LIKED), "one review"),
            (fools_with((x_train[0], 1), NOT_LIKED), "review of the set"),
            (fools_with((x_train[0][:70], 1), NOT_LIKED), "write one of your own"),
            (fools_with((f"{x_train[0]} Really.", 1), NOT_LIKED), "review of the set"),
        ],
        solution=fooling,
    ),
}
