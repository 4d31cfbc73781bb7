"""What the checks of lesson 01 measure and try: tables of words, and encoders."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

from course_utils.checks.cases import Case
from course_utils.checks.core import as_array, fail, kind
from course_utils.evaluation import Interval, accuracy, bootstrap, paired_bootstrap

import numpy as np
from scipy import sparse

Answer = Callable[..., Any]


def alone(name: str, got: Any) -> None:
    """Refuse a number in a list, an array or a tensor, with which later cells stop."""
    if not (np.isscalar(got) or (isinstance(got, np.ndarray) and got.ndim == 0)):
        comma = " Is there a comma at the end of the line?" * isinstance(got, tuple)
        fail(f"{name} returned {kind(got)}; later cells need the number alone.{comma}")


def units(table: np.ndarray) -> np.ndarray:
    """Scale rows to length 1."""
    return table / np.sqrt((table**2).sum(axis=-1, keepdims=True))


def measured(answer: Answer, *arguments: Any) -> tuple[Any, int]:
    """Call an answer; give what it returns and the most bytes that it held."""
    tracemalloc.start()
    try:
        got = answer(*arguments)
        return got, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _symmetric(*cells: tuple[int, int, float], size: int) -> sparse.coo_matrix:
    row, column, number = map(np.array, zip(*cells, strict=True))
    both = np.r_[row, column], np.r_[column, row]
    numbers = np.r_[number, number].astype(np.float32)
    return sparse.coo_matrix((numbers, both), shape=(size, size))


def counted_case(smoothing: float | None, *cells: tuple[int, int, float]) -> Case:
    """Make a case of a small symmetric matrix from cells above its diagonal."""
    size = 1 + max(max(cell[:2]) for cell in cells)
    counts = _symmetric(*cells, size=size)
    given = f"counts = {counts.toarray().astype(int).tolist()} in COO form"
    if smoothing is None:
        return Case(counts, given=f"{given} and the default smoothing")
    return Case(counts, smoothing, given=f"{given} and smoothing = {smoothing}")


def ppmi_or(counts: sparse.coo_matrix, alpha: float, **other: Any) -> np.ndarray:
    """Compute PPMI, or what a mistake makes of it."""
    total = np.asarray(counts.sum(axis=1)).ravel().astype(float)
    row, column = counts.row, counts.col
    if other.get("cells"):
        total = np.bincount(counts.row, minlength=len(total)).astype(float)
    shares = other.get("chance", lambda sums: sums**alpha / (sums**alpha).sum())
    own, chance = other.get("own", lambda sums: sums)(total), shares(total)
    if other.get("words"):
        own, chance = chance, total / total.sum()
        values = np.log(counts.data / total.sum() / (own[row] * chance[column]))
    else:
        values = other.get("log", np.log)(counts.data / (own[row] * chance[column]))
    return values if other.get("signed") else np.maximum(values, 0)


WIDEST = 50
N_TEXTS = 8_000
# A letter for each letter: no table or word list from elsewhere fits.
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SECRET = "".join(np.random.default_rng(19).permutation(list(_LETTERS)).tolist())
_CIPHER = str.maketrans(_LETTERS + _LETTERS.upper(), _SECRET + _SECRET.upper())


def _enciphered(texts: Any) -> np.ndarray:
    return np.array([text.translate(_CIPHER) for text in texts], object)


def _columns(encode: Answer, texts: np.ndarray) -> np.ndarray:
    """Call an encoder and insist on a narrow matrix of finite numbers."""
    got = encode(texts)
    if hasattr(got, "toarray"):
        fail("encode returned a sparse matrix; `.toarray()` makes an array of it.")
    rows = as_array("encode", got)
    if rows.ndim != 2 or len(rows) != len(texts) or not rows.size:
        fail(
            f"For {len(texts):,} texts encode returned shape {rows.shape}; I expected "
            f"({len(texts):,}, k)."
        )
    if rows.shape[1] > WIDEST:
        fail(
            f"encode returned {rows.shape[1]:,} columns; at most {WIDEST} are allowed: "
            "reduce them, for instance by TruncatedSVD."
        )
    if not np.isfinite(rows).all():
        fail(
            "encode returned NaN or infinity. Does a text without known words divide "
            "by zero? Give it zeros."
        )
    return rows.astype(float)


def judge(
    build: Answer,
    fit: tuple[Any, np.ndarray],
    valid: tuple[Any, np.ndarray],
    baseline: Answer,
) -> str:
    """Score logistic regression on the columns that an encoder makes of texts.

    Parameters
    ----------
    build : callable
        The answer: gets texts, returns an encoder.
    fit, valid : pairs of texts and labels
        To learn from, and to score on; the builder sees no label.
    baseline : callable
        An encoder to compare with; it gets the texts as they are, the answer gets them
        with each letter replaced by another.

    Returns
    -------
    str
        The scores, in a sentence.

    Raises
    ------
    ExerciseError
        When the encoder breaks its rules, or is not shown to be better.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Drawn anew, so that labels which the notebook holds do not fit the texts' order.
    drawn = np.random.default_rng(19).permutation(len(fit[0]))[:N_TEXTS]
    plain, labels = np.asarray(fit[0], object)[drawn], np.asarray(fit[1])[drawn]
    texts = _enciphered(plain)
    encode = build(texts)
    if encode is None or encode is ... or encode is NotImplemented:
        as_array("build_encoder", encode)
    if not callable(encode):
        kind = type(encode).__name__
        fail(f"build_encoder returned a {kind}; I expected a function of texts.")
    new_texts = _enciphered(valid[0])
    rows, new_rows = _columns(encode, texts), _columns(encode, new_texts)
    if rows.shape[1] != new_rows.shape[1]:
        fail(
            f"encode returned {rows.shape[1]} columns for some texts and "
            f"{new_rows.shape[1]} for others: everything that learns belongs outside "
            "of encode."
        )
    few = _columns(encode, new_texts[:9])
    if few.shape[1] != new_rows.shape[1] or not np.allclose(
        few, new_rows[:9], rtol=1e-3, atol=1e-3 * np.abs(rows).max()
    ):
        fail(
            "The same text got another row beside other texts: encode must not learn "
            "from the texts that it gets, and must not draw random numbers."
        )
    _columns(encode, np.array(["", "qqqq zzzz"], object))
    _columns(encode, np.array(["qqqq"], object))

    def answers(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        return model.fit(known, labels).predict(asked)

    theirs = answers(np.asarray(baseline(plain)), np.asarray(baseline(valid[0])))
    truth, ours = np.asarray(valid[1]), answers(rows, new_rows)
    score = bootstrap(truth, ours)
    ahead = paired_bootstrap(truth, ours, theirs)
    told = (
        f"On {len(truth):,} validation reviews your {rows.shape[1]} columns score "
        f"{score:.3f}, GloVe's 50 {accuracy(truth, theirs):.3f}; the difference is "
        f"{ahead:.3f}"
    )
    if ahead.low <= 0:
        fail(f"{told}: its interval has to lie above 0. {_why_low(new_rows, score)}")
    return f"{told}. Your table comes from {len(texts):,} reviews and no label."


def _why_low(rows: np.ndarray, score: Interval) -> str:
    distinct = len(np.unique(np.round(rows, 6), axis=0))
    if distinct < len(rows) / 2:
        return (
            f"Only {distinct:,} of {len(rows):,} texts have a row of their own: does "
            "encode use `vocabulary`, `svd_table` or `borrowed` of the lesson? The "
            "check's alphabet is another; use only what was built from `texts`."
        )
    if score.high < 0.68:
        return (
            "A table of random numbers does as well. A vocabulary or a table of the "
            "lesson does not fit the check's secret letters: build everything from "
            "`texts`. If you did, do the rows of your table fit the ids?"
        )
    return (
        "Do the counts go through PPMI before the SVD, and are there several thousand "
        "words and nearly 50 columns?"
    )
