"""Word pairs that people rated, and analogy questions: tests of word vectors."""

from __future__ import annotations

from course_utils.data.fetch import fetch

import numpy as np

FILES = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}


def load_word_pairs(name: str) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Load pairs of words and the mean of people's ratings, from 0 to 10.

    Parameters
    ----------
    name : {"wordsim353", "simlex999"}
        ``"wordsim353"``: 353 pairs, rated for how much the words have to do with each
        other. ``"simlex999"``: 999 pairs, rated for how alike the two things are.

    Returns
    -------
    pairs : list of tuple of str
        Two words each, in small letters.
    ratings : numpy.ndarray of shape (n_pairs,), float64
        One number a pair; high is alike.

    Raises
    ------
    ValueError
        When `name` is none of the above.
    DataError
        When the pairs can be neither found nor fetched.

    References
    ----------
    Finkelstein et al. (2002), Placing Search in Context: The Concept Revisited, ACM
    TOIS 20. Hill, Reichart and Korhonen (2015), SimLex-999: Evaluating Semantic Models
    with (Genuine) Similarity Estimation, Computational Linguistics 41.
    """
    if name not in FILES:
        raise ValueError(f"name is {name!r}; choose 'wordsim353' or 'simlex999'.")
    text = (fetch("word-pairs") / FILES[name]).read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if line[:1] not in ("#", "")]
    pairs = [(one.lower(), other.lower()) for one, other, _ in rows]
    return pairs, np.array([float(rating) for _, _, rating in rows])


def load_analogies() -> dict[str, list[tuple[str, str, str, str]]]:
    """Load analogy questions: *a* is to *b* as *c* is to *d*.

    Returns
    -------
    dict of str to list of tuple of str
        By relation, such as ``"family"``; four words each, in small letters, the last
        is the answer. 19,544 questions in 14 relations, those of grammar begin with
        ``"gram"``.

    Raises
    ------
    DataError
        When the questions can be neither found nor fetched.

    References
    ----------
    Mikolov, Chen, Corrado and Dean (2013), Efficient Estimation of Word
    Representations in Vector Space.
    """
    text = (fetch("word-pairs") / "questions-words.txt").read_text(encoding="utf-8")
    found: dict[str, list[tuple[str, str, str, str]]] = {}
    for line in text.splitlines():
        if line.startswith(":"):
            relation = found.setdefault(line[1:].strip(), [])
        elif line.strip():
            a, b, c, d = line.lower().split()
            relation.append((a, b, c, d))
    return found
