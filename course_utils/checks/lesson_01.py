"""Checks of lesson 01: one-hot vectors and embedding tables."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from course_utils.checks import word_tables
from course_utils.checks.cases import Case, reference
from course_utils.checks.core import exercise, fail
from course_utils.checks.summary import summary_of
from course_utils.checks.word_sets import bias as bias
from course_utils.checks.word_tables import (
    alone,
    counted_case,
    measured,
    ppmi_or,
    units,
)

import numpy as np
from scipy import sparse

Answer = Callable[..., Any]


def _batches() -> Iterator[Case]:
    rng = np.random.default_rng(12)
    advice = "Ids choose rows: result[i, j] should be row ids[i, j] of the table."
    for vocab_size, dim, batch, length in ((11, 5, 4, 7), (9, 9, 5, 4)):
        table = rng.normal(size=(vocab_size, dim)).astype(np.float32)
        # Small ids, so that an answer that takes columns does not stop.
        ids = rng.integers(min(vocab_size, dim), size=(batch, length))
        yield Case(table, ids, advice=advice)
    # Zero times NaN is NaN: the last row shows in a product, and in no look-up.
    table = rng.normal(size=(30, 4)).astype(np.float32)
    table[-1] = np.nan
    given = f"a table of shape {table.shape}, its last row NaN, and ids without it"
    yield Case(table, rng.integers(29, size=(3, 6)), given=given, advice=advice)


class _Counted(np.ndarray):
    """A table that counts how often it is indexed; its views start anew."""

    reads = 0

    def __getitem__(self, key: Any) -> Any:
        self.reads += 1
        return super().__getitem__(key)

    def take(self, *args: Any, **settings: Any) -> Any:
        self.reads += 1
        return np.asarray(self).take(*args, **settings)


def _indexed_once(answer: Answer) -> None:
    table = np.ones((9, 6), np.float32).view(_Counted)
    answer(table, np.arange(20).reshape(4, 5) % 9)
    if table.reads > 2:
        fail(
            f"The vectors are right, but your code read the table {table.reads} "
            "times, in a loop: index it once, with all ids."
        )
    large, ids = np.ones((900, 40), np.float32), np.arange(60_000).reshape(300, 200)
    ids %= len(large)
    slower = _times_as_long(lambda: answer(large, ids), lambda: large[ids])
    if slower > TOO_SLOW:
        fail(
            f"The vectors are right, and took {slower:.0f} times as long as one "
            "indexing operation: index the table once, with all ids, without a loop."
        )


# A product with a sparse matrix takes up to twice as long as indexing, a loop 30 times.
TOO_SLOW = 12


def _times_as_long(work: Callable[[], Any], beside: Callable[[], Any]) -> float:
    """Ratio of processor times, of the fastest of three calls each, in turn."""
    times: tuple[list[float], list[float]] = [], []
    for _ in range(3):
        for one, spent in zip((work, beside), times, strict=True):
            start = time.process_time()
            one()
            spent.append(time.process_time() - start)
    return min(times[0]) / max(min(times[1]), 1e-4)


def _nearly(got: Any, expected: Any, *given: Any) -> str | None:
    if got.shape == expected.shape and np.allclose(got, expected, 1e-2, 1e-2):
        return "These are nearly the rows; a look-up copies them to the last bit."
    if got.shape != expected.shape and sorted(got.shape) == sorted(expected.shape):
        return "The axes are in another order."
    return None


@reference(
    "1.1",
    hints=[
        "What does `table[3]` give you? And `table[[3, 5]]`?",
        "NumPy accepts an index array of any shape.",
        "`table[ids]`, and look at its shape.",
    ],
    cases=_batches,
    mistakes={
        "You took columns, not rows: a word's vector is a row.": (
            lambda table, ids: np.take(table, ids, axis=1),
            lambda table, ids: np.take(table, ids, axis=1).transpose(1, 2, 0),
        ),
        "Those are one-hot vectors: one number for each word of the vocabulary.": (
            lambda table, ids: np.eye(len(table))[ids]
        ),
        "Indexing keeps the shape of what you index with: did you flatten ids on the "
        "way?": lambda table, ids: table[ids.ravel()],
        "The vectors of a review were joined into one long row; keep them apart.": (
            lambda table, ids: table[ids].reshape(len(ids), -1)
        ),
        "Every id needs a vector: did you average, or take one word a review?": (
            lambda table, ids: table[ids].mean(axis=1),
            lambda table, ids: table[ids].mean(axis=0),
        ),
        "That is one number an id; a word's vector is a whole row.": (
            lambda table, ids: table[ids].mean(axis=-1)
        ),
        "Each vector is that of the id next door: did you add or subtract one?": (
            lambda table, ids: np.roll(table, 1, axis=0)[ids],
            lambda table, ids: np.roll(table, -1, axis=0)[ids],
        ),
        "Your code multiplied the whole table, perhaps by one-hot vectors: zero times "
        "NaN is NaN. That is the work which a look-up saves: index the table with "
        "ids.": lambda table, ids: np.eye(len(table))[ids] @ table,
    },
    slip=_nearly,
    then=_indexed_once,
    passed="A look-up does what the next cell needs a product of (8·20) × "
    "vocab_size × 64 for. It is what an embedding layer does in its forward pass.",
    # The lesson times the look-up: a list or a tensor would be copied each time.
    exact=True,
    atol=0,
)
def lookup(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Copy row after row."""
    return np.array([[table[number] for number in review] for review in ids.tolist()])


def _each_cell_once(answer: Answer) -> None:
    rng = np.random.default_rng(15)
    size, n_cells = 3_000, 100_000
    row, column = rng.integers(size, size=(2, n_cells))
    numbers = rng.integers(1, 9, n_cells).astype(np.float32)
    counts = sparse.coo_matrix((numbers, (row, column)), shape=(size, size))
    counts = (counts + counts.T).tocoo()
    _, peak = measured(answer, counts)
    if peak > 4 * size**2:
        fail(
            "The numbers are right, but your code fills the whole square: with 10,000 "
            "words that is several times 400 MB. Compute with `counts.data` alone, one "
            "number for each filled cell."
        )
    slower = _times_as_long(lambda: answer(counts), lambda: ppmi_or(counts, 0.75))
    if slower > TOO_SLOW:
        fail(
            f"The numbers are right, but a loop over the cells takes {slower:.0f} "
            "times as long as arrays do: index arrays with `counts.row` and "
            "`counts.col`, all cells at once."
        )


@reference(
    "1.2",
    hints=[
        "`counts.sum(axis=1)` adds up each row: `np.asarray(…).ravel()` makes an array "
        "of shape (n_words,) of it. Which of its entries belongs to cell k?",
        "With `totals` for those sums, `counts.data / totals[counts.row]` is p(c | w) "
        "of every filled cell. For p(c), raise totals to the power, then divide by the "
        "sum of all.",
        "`np.maximum(0, np.log(share / chance[counts.col]))`, where share is p(c | w) "
        "and chance is p(c).",
    ],
    cases=lambda: [
        counted_case(1.0, (0, 1, 6), (0, 2, 1), (1, 2, 3), (2, 3, 4)),
        counted_case(0.5, (0, 1, 5), (0, 3, 2), (1, 2, 7), (2, 3, 1), (0, 2, 1)),
        counted_case(None, (0, 1, 9), (1, 2, 2), (2, 3, 3), (0, 4, 1), (3, 4, 5)),
    ],
    # Of counts n and the exponent a.
    mistakes={
        "Below chance the value is 0: take the larger of it and 0.": (
            lambda n, a=0.75: ppmi_or(n, a, signed=True),
            lambda n, a=0.75: np.abs(ppmi_or(n, a, signed=True)),
        ),
        "Is `smoothing` used? It is the exponent of the contexts' sums, {smoothing} "
        "here.": (
            lambda n, a=0.75: ppmi_or(n, 1.0),
            lambda n, a=0.75: ppmi_or(n, 0.75),
        ),
        "The power belongs to the contexts (columns), not to the words (rows).": (
            lambda n, a=0.75: ppmi_or(n, a, words=True)
        ),
        "That is a logarithm of another base: `np.log` is the natural one.": (
            lambda n, a=0.75: ppmi_or(n, a, log=np.log2),
            lambda n, a=0.75: ppmi_or(n, a, log=np.log10),
        ),
        "Where is the logarithm?": lambda n, a=0.75: ppmi_or(n, a, log=lambda x: x),
        "The powers have to add up to 1: divide them by their own sum, not by the sum "
        "of the counts.": lambda n, a=0.75: np.maximum(
            np.log(
                n.data
                / n.toarray().sum(axis=1)[n.row]
                / (n.toarray().sum(axis=0) ** a / n.data.sum())[n.col]
            ),
            0,
        ),
        "Raise the sums themselves to the power, then divide by the sum of the powers; "
        "powers of shares do not add up to 1.": lambda n, a=0.75: ppmi_or(
            n, a, chance=lambda total: (total / total.sum()) ** a
        ),
        "p(c | w) divides by the sum of row w, and the p(c) of all contexts add up to "
        "1: with other sums every logarithm falls below 0.": (
            lambda n, a=0.75: ppmi_or(n, a, chance=lambda total: total**a),
            lambda n, a=0.75: ppmi_or(n, a, own=lambda total: total.sum() + 0 * total),
        ),
        "The power belongs to the contexts alone: the row's sum stays as it is.": (
            lambda n, a=0.75: ppmi_or(n, a, own=lambda total: total**a)
        ),
        "n_w is the sum of the counts in row w, not how many cells are filled: "
        "`np.bincount` needs `weights=counts.data`.": (
            lambda n, a=0.75: ppmi_or(n, a, cells=True)
        ),
        "Keep the cells that are 0: one value for each filled cell.": (
            lambda n, a=0.75: (lambda values: values[values > 0])(ppmi_or(n, a))
        ),
        "log(1 + x) is never negative, so nothing is cut off: take the logarithm of "
        "the ratio itself.": lambda n, a=0.75: ppmi_or(n, a, log=np.log1p),
        "Return one value for each filled cell, in the order of counts.data, not a "
        "square.": lambda n, a=0.75: n.toarray(),
    },
    then=_each_cell_once,
    advice="`counts.sum(axis=1)` is a matrix of shape (n, 1), which behaves unlike an "
    "array: `np.asarray(…).ravel()` makes an array of shape (n,).",
    passed="A cell is now 0 unless two words meet more often than chance would have "
    "it; common words such as “the” lose their lead.",
    atol=1e-4,
)
def ppmi(counts: sparse.coo_matrix, smoothing: float = 0.75) -> np.ndarray:
    """Go from cell to cell with Python's numbers."""
    square = counts.toarray().astype(float).tolist()
    total = [sum(row) for row in square]
    everything = sum(x**smoothing for x in total)
    return np.array(
        [
            max(
                0.0,
                math.log(square[w][c] / total[w])
                - math.log(total[c] ** smoothing / everything),
            )
            for w, c in zip(counts.row.tolist(), counts.col.tolist(), strict=True)
        ]
    )


def _queries() -> Iterator[Case]:
    rng = np.random.default_rng(13)
    # 300 of 400 stay unsorted in a partial sort, and have cosines below 0 among them.
    for n_rows, dim, row, n in ((14, 4, 3, 5), (400, 3, 17, 300), (9, 3, 0, 1)):
        lengths = rng.permutation(np.geomspace(0.2, 20, n_rows))[:, None]
        table = units(rng.normal(size=(n_rows, dim))) * lengths
        yield Case(table.astype(np.float32), row, n)
    # Rows 1, 3 and 4 are the same to the last bit, so a ranking may put any first.
    triplets = np.eye(6, 4, dtype=np.float32) + np.float32(0.01)
    triplets[[1, 3, 4]] = [0, 0, 0, 1]
    for row in (1, 3, 4):
        given = f"a table whose rows 1, 3 and 4 are the same, row = {row}"
        yield Case(triplets, row, 2, given=f"{given} and n_neighbors = 2")


def _cosines(table: np.ndarray, row: int) -> np.ndarray:
    return units(table) @ units(table)[row]


def _ranked_by(key: Callable[[np.ndarray, int], np.ndarray]) -> Answer:
    """Rank all rows of a table t but row r."""
    return lambda t, r, n: np.array([i for i in np.argsort(-key(t, r)) if i != r][:n])


_right = _ranked_by(_cosines)


def _as_near(got: np.ndarray, expected: np.ndarray, *given: Any) -> bool:
    """Accept any order among rows that are equally near."""
    table, row, n = given
    if got.shape != (n,) or len(({*range(len(table))} - {row}) & {*got.tolist()}) != n:
        return False
    cosines = _cosines(table.astype(float), row)
    return np.allclose(cosines[got.astype(int)], cosines[expected], atol=1e-6)


def _misplaced(got: np.ndarray, expected: np.ndarray, *given: Any) -> str | None:
    _, row, n = given
    if got.ndim == 1 and row in got:
        return (
            f"Row {row} itself is among them: leave it out by its number, not by its "
            "place in the ranking."
        )
    if got.shape == (n,) and np.array_equal(np.sort(got), np.sort(expected)):
        return "The right rows in the wrong order: the most similar comes first."
    return "Is it the dot product of rows of length 1?" if got.shape == (n,) else None


def _fit_for_later_cells(answer: Answer) -> None:
    table = np.random.default_rng(14).normal(size=(1_500, 4)).astype(np.float32)
    rows, peak = measured(answer, table, 700, 2)
    if peak > 2 * len(table) ** 2:
        fail(
            "The rows are right, but your code compares every row with every other, "
            "which takes 10 GB for the 50,000 rows of a later cell. Compare all rows "
            "with one: `table[row]`."
        )
    places = list(range(len(table)))
    try:
        fit = places[rows[0]] == [places[row] for row in rows][0]
    except Exception:  # a Series without a row 0, floats
        fit = False
    if not fit:
        fail(
            "The rows are right, but later cells take `nearest(…)[0]` as a place in a "
            "list: return whole numbers in an array or a list. `.astype(int)` converts "
            "floats, `.to_numpy()` a Series."
        )


@reference(
    "1.3",
    hints=[
        "Cosine similarity is a product of vectors of length 1: divide each row by its "
        "length first.",
        "`unit @ unit[row]` gives all similarities at once. `row` itself has the "
        "largest, 1: how do you keep it out?",
        "Set `similarity[row] = -np.inf`; `np.argsort(-similarity)` lists the largest "
        "first; keep n_neighbors of them.",
    ],
    cases=_queries,
    # Of the table t, its row r, n neighbours.
    mistakes={
        "Row {row} is its own nearest: leave it out.": (
            lambda t, r, n: np.argsort(-_cosines(t, r))[:n],
            lambda t, r, n: np.argsort(-_cosines(t, r))[: n + 1],
        ),
        "The cosine of row {row} with itself must be lower than any: set it to "
        "−np.inf, not to 0.": (
            lambda t, r, n: np.argsort(-_cosines(t, r) * (np.arange(len(t)) != r))[:n]
        ),
        "These are the farthest rows: argsort puts the smallest first.": (
            _ranked_by(lambda t, r: -_cosines(t, r))
        ),
        "These have the largest dot products, which favours long rows: divide each row "
        "by its own length (axis=1) first.": _ranked_by(lambda t, r: t @ t[r]),
        "You divided columns by their length; each row has its own (axis=1).": (
            _ranked_by(lambda t, r: units(t.T).T @ units(t.T).T[r])
        ),
        "These are nearest by Euclidean distance: cosine asks for the angle, so length "
        "must not count.": _ranked_by(lambda t, r: -np.linalg.norm(t - t[r], axis=1)),
        "You took the largest absolute cosine: −1 means opposite, not alike.": (
            _ranked_by(lambda t, r: np.abs(_cosines(t, r)))
        ),
        "You took row out before ranking, and every row after it moved up by one: the "
        "numbers no longer fit.": (
            lambda t, r, n: np.argsort(-np.delete(_cosines(t, r), r))[:n]
        ),
        "The right rows, but the nearest comes last: reverse them.": (
            lambda t, r, n: _right(t, r, n)[::-1]
        ),
        "Every number is one too high.": lambda t, r, n: _right(t, r, n) + 1,
        "Every number is one too low.": lambda t, r, n: _right(t, r, n) - 1,
        "One row is missing at the end.": lambda t, r, n: _right(t, r, n - 1),
        "Keep the first {n_neighbors} of the ranking.": (
            lambda t, r, n: _right(t, r, len(t))
        ),
        "I need row numbers, not similarities or a mask (argsort, not sort).": (
            lambda t, r, n: -np.sort(-_cosines(t, r))[1 : n + 1],
            lambda t, r, n: _cosines(t, r),
        ),
        "Rows that are equal to row {row} are neighbours too: leave out its number "
        "only.": lambda t, r, n: np.array(
            [i for i in np.argsort(-_cosines(t, r)) if _cosines(t, r)[i] < 0.99999][:n]
        ),
        "Return the row numbers alone.": (
            lambda t, r, n: np.ones((2, n)),
            lambda t, r, n: np.ones((n, 2)),
        ),
    },
    slip=_misplaced,
    accepts=_as_near,
    then=_fit_for_later_cells,
    passed="Cosine ignores how long a row is and asks where it points. That is how "
    "every later lesson will call two things alike.",
)
def nearest(table: np.ndarray, row: int, n_neighbors: int) -> np.ndarray:
    """Compare pair by pair, in float64."""
    query = table[row].astype(float)
    cosine = [vector.astype(float) @ query / math.hypot(*vector) for vector in table]
    others = (number for number in range(len(table)) if number != row)
    return np.array(sorted(others, key=lambda number: -cosine[number])[:n_neighbors])


def _questions() -> Iterator[Case]:
    rng = np.random.default_rng(16)
    lengths = np.geomspace(0.2, 20, 300)[:, None]
    table = units(rng.normal(size=(300, 3))) * rng.permutation(lengths)
    # With all words allowed, b wins where a and c are alike, c where a and b are, and a
    # where it lies between the other two.
    for row, like, step in (
        (9, 17, 0.02),
        (4, 31, 0.02),
        (51, 50, 0.1),
        (52, 50, -0.1),
    ):
        table[row] = units(table[like]) + step * np.array([1, -1, 0.5])
    for a, b, c in ((17, 80, 9), (31, 4, 250), (50, 51, 52), (8, 99, 64)):
        yield Case(table.astype(np.float32), a, b, c)
    # A question about a word itself, as when plural and singular are the same.
    yield Case(table.astype(np.float32), 40, 41, 41)
    # All answers that are left point away; one of them equals row b.
    away = np.array([[1, 0], [1, 0.2], [1, 0.1], [-1, 0.9], [-1, 0.1]], np.float32)
    yield Case(away, 0, 1, 2)
    yield Case(np.vstack([away, away[1:2]]), 0, 1, 2)


def _offset(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return b - a + c


def _by_cosine(table: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return units(table) @ wanted


def _found(
    combine: Answer = _offset,
    score: Answer = _by_cosine,
    unit: bool = True,
    n_forbidden: int = 3,
) -> Answer:
    """Find the row that scores best with a combination of rows a, b and c."""

    def answer(table: np.ndarray, *asked: int) -> int:
        table = table.astype(float)
        rows = (units(table) if unit else table)[list(asked)]
        scores = score(table, combine(*rows))
        scores[list(asked[3 - n_forbidden :])] = -np.inf
        return int(scores.argmax())

    return answer


def _a_place(answer: Answer) -> None:
    table = np.random.default_rng(17).normal(size=(2_000, 4)).astype(np.float32)
    got, peak = measured(answer, table, 5, 6, 7)
    alone("analogy", got)
    try:
        list(range(len(table)))[got]
    except TypeError:
        fail(
            "The row is right, but later cells take it as a place in a list: return a "
            "whole number; `int(…)` converts it."
        )
    if peak > 2 * len(table) ** 2:
        fail(
            "The row is right, but your code compares every row with every other. "
            "Compare all rows with one vector."
        )


@reference(
    "1.4",
    hints=[
        "Divide each row of the table by its length first. Which vector do you then "
        "look for?",
        "`unit @ (unit[b] - unit[a] + unit[c])` ranks all rows by cosine. Which three "
        "of them may not win?",
        "Set `similarity[[a, b, c]] = -np.inf`, then return `similarity.argmax()`.",
    ],
    cases=_questions,
    mistakes={
        "The question's own words are not allowed as answers: leave out rows a, b and "
        "c.": _found(n_forbidden=0),
        "The direction is reversed: from a to b is b − a, and that is added to c.": (
            _found(lambda a, b, c: a - b + c)
        ),
        "That is c to a as b to what? It begins at c: b − a + c.": (
            _found(lambda a, b, c: a + b - c)
        ),
        "That ignores c: b − a alone is only the direction.": (
            _found(lambda a, b, c: b - a)
        ),
        "That is the nearest to c alone: where is b − a?": _found(lambda a, b, c: c),
        "Where is a? You took b + c.": _found(lambda a, b, c: b + c),
        "You took rows a, b and c out before ranking, and the rows after them moved "
        "up: the numbers no longer fit.": lambda t, a, b, c: np.delete(
            _by_cosine(t, _offset(*units(t)[[a, b, c]])), [a, b, c]
        ).argmax(),
        "The cosines of a, b and c must be lower than any: set them to −np.inf, not to "
        "0.": lambda t, a, b, c: (
            _by_cosine(t, _offset(*units(t)[[a, b, c]]))
            * ~np.isin(np.arange(len(t)), [a, b, c])
        ).argmax(),
        "You divided columns by their length; each row has its own (axis=1).": (
            lambda t, *asked: _found(unit=False, score=np.matmul)(units(t.T).T, *asked)
        ),
        "Scale the three rows to length 1 before you add and subtract them.": (
            _found(unit=False)
        ),
        "These are the largest dot products, which favour long rows: divide every row "
        "of the table by its length (axis=1).": (
            _found(score=np.matmul),
            _found(score=np.matmul, unit=False),
        ),
        "That is nearest by Euclidean distance; the cosine asks for the angle.": _found(
            score=lambda t, v: -np.linalg.norm(t - v, axis=1), unit=False
        ),
        "That is the farthest row: take the largest cosine.": (
            _found(lambda a, b, c: a - b - c)
        ),
        "Only c was left out; a and b are no answers either.": _found(n_forbidden=1),
        "I need the number of one row, not vectors, cosines or a ranking.": (
            lambda t, a, b, c: t[b] - t[a] + t[c],
            lambda t, a, b, c: _cosines(t, c),
        ),
    },
    then=_a_place,
    passed="One addition, one product with all rows, and a rule that forbids three of "
    "them. What the rule does to the score comes next.",
)
def analogy(table: np.ndarray, a: int, b: int, c: int) -> int:
    """Compare pair by pair, in float64."""
    unit = [row / math.hypot(*row) for row in table.astype(float)]
    wanted = unit[b] - unit[a] + unit[c]
    others = (row for row in range(len(unit)) if row not in (a, b, c))
    return max(others, key=lambda row: float(unit[row] @ wanted))


@exercise(
    "1.6",
    hints=[
        "Begin with a vocabulary of your own, `Vocabulary.from_texts(texts, 5_000)`, "
        "and turn the texts into ids with it.",
        "`count_contexts`, `ppmi_matrix` and `TruncatedSVD(50)` make the table; inside "
        "`encode`, `bag_of_words`, `normalize(…, norm='l1')` and a product with the "
        "table make the rows.",
        "Define `def encode(some_texts):` inside build_encoder, after the table, and "
        "end with `return encode`, without parentheses. Steps that learn (vocabulary, "
        "counts, SVD) stand outside of encode.",
    ],
)
def build_encoder(
    answer: Answer,
    fit: tuple[Any, np.ndarray],
    valid: tuple[Any, np.ndarray],
    baseline: Answer,
) -> str:
    """Compare with a baseline, in letters that no table from elsewhere fits."""
    return word_tables.judge(answer, fit, valid, baseline)


summary = summary_of(__name__)
