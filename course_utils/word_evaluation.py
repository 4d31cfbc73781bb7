"""Tests of word vectors: people's ratings, analogy questions, associations.

A table is tested with the words of its rows; what a table lacks is counted, and tables
are compared on what all of them cover.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

BATCH = 512  # analogy questions answered by one product


def unit_rows(table: np.ndarray) -> np.ndarray:
    """Scale rows to length 1; a row of zeros stays.

    Parameters
    ----------
    table : numpy.ndarray of shape (n, dimensions)
        Vectors.

    Returns
    -------
    numpy.ndarray of shape (n, dimensions), float32
        The same directions.
    """
    table = np.asarray(table, np.float32)
    return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)


def places(words: Sequence[str]) -> dict[str, int]:
    """Give the row of each word.

    Parameters
    ----------
    words : sequence of str
        In the order of a table's rows.

    Returns
    -------
    dict of str to int
        Row by word.
    """
    return {word: row for row, word in enumerate(words)}


def covered(items: Sequence[tuple[str, ...]], words: Iterable[str]) -> np.ndarray:
    """Tell which pairs or questions have all their words among some words.

    Parameters
    ----------
    items : sequence of tuple of str
        Pairs, or questions of four words.
    words : iterable of str
        A vocabulary.

    Returns
    -------
    numpy.ndarray of shape (n_items,), bool
        True where none is missing.
    """
    known = set(words)
    return np.array([known.issuperset(item) for item in items], bool)


def pair_cosines(
    table: np.ndarray, row_of: Mapping[str, int], pairs: Sequence[tuple[str, str]]
) -> np.ndarray:
    """Compute the cosine of each pair of words.

    Parameters
    ----------
    table : numpy.ndarray of shape (n_words, dimensions)
        Vectors.
    row_of : mapping of str to int
        As of `places`; every word of the pairs is in it.
    pairs : sequence of tuple of str
        Two words each.

    Returns
    -------
    numpy.ndarray of shape (n_pairs,), float32
        From -1 to 1.
    """
    one, other = (
        unit_rows(table[[row_of[pair[side]] for pair in pairs]]) for side in (0, 1)
    )
    return (one * other).sum(axis=1)


def spearman(truth: np.ndarray, answers: np.ndarray) -> float:
    """Correlate the ranks of two lists: 1 in the same order, 0 if unrelated.

    Parameters
    ----------
    truth, answers : numpy.ndarray of shape (n,)
        Numbers; equal ones share their mean rank.

    Returns
    -------
    float
        Spearman's correlation; 0 where one list is constant.

    References
    ----------
    Spearman (1904), The Proof and Measurement of Association between Two Things,
    American Journal of Psychology 15.
    """
    from scipy.stats import rankdata

    one, other = rankdata(truth), rankdata(answers)
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / scale) if scale else 0.0


def answer_analogies(
    table: np.ndarray,
    row_of: Mapping[str, int],
    questions: Sequence[tuple[str, str, str, str]],
) -> np.ndarray:
    """Answer *a is to b as c is to what* by the word nearest to b - a + c.

    The words of a question are no answers to it (lesson 01, exercise 1.4).

    Parameters
    ----------
    table : numpy.ndarray of shape (n_words, dimensions)
        Vectors; all their words may be answers.
    row_of : mapping of str to int
        As of `places`; every word of the questions is in it.
    questions : sequence of tuple of str
        Four words each; the last is not looked at.

    Returns
    -------
    numpy.ndarray of shape (n_questions,), int
        A row of the table for each.

    References
    ----------
    Mikolov, Yih and Zweig (2013), Linguistic Regularities in Continuous Space Word
    Representations, NAACL.
    """
    unit = unit_rows(table)
    rows = np.array([[row_of[word] for word in q[:3]] for q in questions], int)
    rows = rows.reshape(-1, 3)
    answers = np.zeros(len(rows), int)
    for start in range(0, len(rows), BATCH):
        a, b, c = rows[start : start + BATCH].T
        cosines = (unit[b] - unit[a] + unit[c]) @ unit.T
        for forbidden in (a, b, c):
            cosines[np.arange(len(a)), forbidden] = -np.inf
        answers[start : start + BATCH] = cosines.argmax(axis=1)
    return answers


def leanings(words: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Measure how much nearer words are to one set than to another.

    Parameters
    ----------
    words, left, right : numpy.ndarray of shape (n, dimensions)
        Vectors; the three sets may have different n.

    Returns
    -------
    numpy.ndarray of shape (n_words,)
        Mean cosine with `left` minus mean cosine with `right`.
    """
    left, right = unit_rows(left).mean(axis=0), unit_rows(right).mean(axis=0)
    return unit_rows(words) @ (left - right)


def effect_size(first: np.ndarray, second: np.ndarray) -> float:
    """Compare the leanings of two sets of words, in standard deviations.

    Parameters
    ----------
    first, second : numpy.ndarray of shape (n,)
        Leanings, as of `leanings`.

    Returns
    -------
    float
        Positive if the first set leans more to the left; 2 at most for sets of one
        size.

    References
    ----------
    Caliskan, Bryson and Narayanan (2017), Semantics derived automatically from language
    corpora contain human-like biases, Science 356.
    """
    return float((first.mean() - second.mean()) / np.concatenate([first, second]).std())


def permutation_p(
    first: np.ndarray, second: np.ndarray, n_draws: int, rng: np.random.Generator
) -> float:
    """Tell how often chance alone makes two sets of words lean as differently.

    Parameters
    ----------
    first, second : numpy.ndarray of shape (n,)
        Leanings, as of `leanings`.
    n_draws : int
        Random divisions of all words into two sets of these sizes.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    float
        The share of divisions, the real one included, whose difference of means is at
        least the real difference: 1 / (1 + n_draws) or more.

    References
    ----------
    Caliskan, Bryson and Narayanan (2017), Semantics derived automatically from language
    corpora contain human-like biases, Science 356.
    """
    both = np.concatenate([first, second])
    drawn = rng.permuted(np.tile(both, (n_draws, 1)), axis=1)[:, : len(first)]
    # Sums of the same numbers in another order differ by rounding.
    reached = np.sum(drawn.sum(axis=1) >= first.sum() - 1e-6)
    return float((1 + reached) / (1 + n_draws))
