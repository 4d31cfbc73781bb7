"""Checks of lesson 01: one-hot vectors and embedding tables."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import as_array, exercise, fail
from course_utils.checks.summary import summary_of
from course_utils.text import PADDING, UNKNOWN

import numpy as np

Answer = Callable[..., Any]
THEME_SIZE = 4
# The words of the lesson's map, which sorts them into themes already.
MAPPED = set(
    """wonderful excellent superb brilliant fantastic perfect great amazing terrific
    terrible awful horrible bad dreadful poor atrocious lame pathetic actor actress
    director writer producer cinematographer editor screenwriter composer mother father
    brother sister son daughter wife husband uncle guitar piano song album band jazz
    drums concert singer france italy germany england japan china india russia spain dog
    cat horse monkey bird fish snake shark lion""".split()
)


def _alone(name: str, got: Any) -> None:
    """Refuse a number in a list, an array or a tensor, with which later cells stop."""
    if not (np.isscalar(got) or (isinstance(got, np.ndarray) and got.ndim == 0)):
        comma = " Is there a comma at the end of the line?" * isinstance(got, tuple)
        kind = type(got).__name__
        fail(f"{name} returned a {kind}; later cells need the number alone.{comma}")


def _in_larger_units(got: Any, expected: Any, *sizes: int) -> str | None:
    units = (1e3, 1e6, 1e9, 2**10, 2**20, 2**30)
    if got.ndim == 0 and any(np.isclose(got * unit, expected) for unit in units):
        return "That is kilobytes, megabytes or gigabytes; I asked for bytes."
    return None


@reference(
    "1.1",
    hints=[
        "How many numbers does one word take? And one review of `length` words?",
        "Numbers in the batch, times bytes a number.",
        "Multiply all four arguments, `itemsize` too.",
    ],
    cases=lambda: [
        Case(3, 11, 1_009, 8),
        Case(7, 5, 2_003, 2),
        Case(2, 5, 1_003),
        # More bytes than 32 bits can count; the lesson's figure goes on to 300,000.
        Case(32, 400, 50_000),
    ],
    # Of b reviews with n words, v columns.
    mistakes={
        "That counts the numbers, not their bytes: where is itemsize?": (
            lambda b, n, v, size=4: b * n * v
        ),
        "That takes 4 bytes (float32) or 8 (float64) a number whatever itemsize says: "
        "use the argument.": (
            lambda b, n, v, size=4: b * n * v * 4,
            lambda b, n, v, size=4: b * n * v * 8,
        ),
        "A number takes 4 bytes by default.": lambda b, n, v, size=8: b * n * v * size,
        "That is bits: a byte has eight.": lambda b, n, v, size=4: b * n * v * size * 8,
        "That is one review: where is batch?": lambda b, n, v, size=4: n * v * size,
        "That is one word a review: where is length?": (
            lambda b, n, v, size=4: b * v * size
        ),
        "That is the size of the ids: a one-hot vector has vocab_size numbers.": (
            lambda b, n, v, size=4: b * n * size
        ),
        "You added where every word of every review has a vector of its own: "
        "multiply.": lambda b, n, v, size=4: (b + n + v) * size,
        "The product no longer fits into 32 bits: multiply Python's own numbers.": (
            lambda b, n, v, size=4: np.prod([b, n, v, size], dtype=np.int32)
        ),
    },
    slip=_in_larger_units,
    then=lambda answer: _alone("one_hot_bytes", answer(3, 11, 1_009, 8)),
    passed="32 reviews of 400 words take 512 MB at 10,000 columns. As ids they take "
    "0.05 MB and say as much.",
    atol=1e-9,
)
def one_hot_bytes(batch: int, length: int, vocab_size: int, itemsize: int = 4) -> int:
    """Multiply Python's integers, which do not overflow."""
    return math.prod((batch, length, vocab_size, itemsize))


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


def _nearly(got: Any, expected: Any, *given: Any) -> str | None:
    if got.shape == expected.shape and np.allclose(got, expected, 1e-2, 1e-2):
        return "These are nearly the rows; a look-up copies them to the last bit."
    if got.shape != expected.shape and sorted(got.shape) == sorted(expected.shape):
        return "The axes are in another order."
    return None


@reference(
    "1.2",
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
    passed="One indexing operation does what the next cell needs a product of (8·20) × "
    "vocab_size × 64 for. It is what an embedding layer does in its forward pass.",
    atol=0,
)
def lookup(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Copy row after row."""
    return np.array([[table[number] for number in review] for review in ids.tolist()])


def _queries() -> Iterator[Case]:
    rng = np.random.default_rng(13)
    # 300 of 400 stay unsorted in a partial sort, and have cosines below 0 among them.
    for n_rows, dim, row, n in ((14, 4, 3, 5), (400, 3, 17, 300), (9, 3, 0, 1)):
        lengths = rng.permutation(np.geomspace(0.2, 20, n_rows))[:, None]
        table = _units(rng.normal(size=(n_rows, dim))) * lengths
        yield Case(table.astype(np.float32), row, n)
    # Rows 1, 3 and 4 are the same to the last bit, so a ranking may put any first.
    triplets = np.eye(6, 4, dtype=np.float32) + np.float32(0.01)
    triplets[[1, 3, 4]] = [0, 0, 0, 1]
    for row in (1, 3, 4):
        given = f"a table whose rows 1, 3 and 4 are the same, row = {row}"
        yield Case(triplets, row, 2, given=f"{given} and n_neighbors = 2")


def _units(table: np.ndarray) -> np.ndarray:
    return table / np.sqrt((table**2).sum(axis=-1, keepdims=True))


def _cosines(table: np.ndarray, row: int) -> np.ndarray:
    return _units(table) @ _units(table)[row]


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
    tracemalloc.start()
    try:
        rows = answer(table, 700, 2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
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
            _ranked_by(lambda t, r: _units(t.T).T @ _units(t.T).T[r])
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


def _good(dims: list[int], scores: list[float], lowest: float) -> list[Any]:
    pairs = zip(dims, scores, strict=True)
    return [(dim, score) for dim, score in pairs if score >= lowest]


def _first_above(lowest: Callable[[list[float], float], float]) -> Answer:
    return lambda dims, scores, tol: _good(dims, scores, lowest(scores, tol))[0][0]


def _of_good(choose: Callable[[list[Any]], Any]) -> Answer:
    return lambda dims, scores, tol: choose(_good(dims, scores, max(scores) - tol))


def _not_the_smallest(got: np.ndarray, expected: int, *given: Any) -> str | None:
    dims, scores, tolerance = given
    if got.ndim:
        return None
    if got not in dims:
        within = min(scores) - tolerance <= got <= max(scores)
        return (
            "That is a score: return its dimension." if within else "It is not in dims."
        )
    if got > expected:
        return "A smaller one is within the tolerance too."
    return f"Its score is more than {tolerance} below the best, {max(scores)}."


@reference(
    "1.4",
    hints=[
        "What is the lowest score that you would still accept?",
        "Compare all scores with `max(scores) - tolerance`, best score included.",
        "Of the dims whose score is at least that, return the smallest.",
    ],
    cases=lambda: [
        Case([3, 6, 12, 24, 48], [0.61, 0.803, 0.79, 0.812, 0.805], 0.015),
        Case([5, 10, 20, 40, 80, 160], [0.50, 0.58, 0.70, 0.752, 0.77, 0.768], 0.03),
        # Where scores climb by little steps, looking at steps stops too early.
        Case([2, 4, 8, 16, 32], [0.60, 0.609, 0.618, 0.70, 0.71], 0.02),
        # Fractions that floats hold exactly: 0.5 is just good enough.
        Case([4, 8, 16], [0.25, 0.5, 0.75], 0.25),
        # 0.4 × (1 − 0.1) = 0.36 where the tolerance asks for 0.30.
        Case([7, 14, 28, 56], [0.2, 0.33, 0.37, 0.4], 0.1),
        # The last score is not the best: 0.77 − 0.02 would let 0.76 in.
        Case([4, 8, 16, 32], [0.60, 0.76, 0.80, 0.77], 0.02),
        # Only the third decimal tells 0.796 from 0.812 − 0.01.
        Case([8, 16, 32, 64], [0.70, 0.796, 0.812, 0.811], 0.01),
    ],
    mistakes={
        "Is there a tolerance of your own in the code? Use the argument, {tolerance} "
        "here.": (
            _first_above(lambda scores, tol: max(scores) - 0.01),
            _first_above(lambda scores, tol: max(scores) - 0.015),
        ),
        "That is the best score's dimension: a smaller one is good enough.": (
            lambda dims, scores, tol: dims[np.argmax(scores)]
        ),
        "A score just {tolerance} below the best is good enough: use >=, not >.": (
            _first_above(lambda scores, tol: np.nextafter(max(scores) - tol, 1))
        ),
        "That is the largest that is good enough; I asked for the smallest.": (
            _of_good(lambda pairs: pairs[-1][0])
        ),
        "That has the lowest score that is good enough; I asked for the smallest "
        "dimension.": _of_good(lambda pairs: min(pairs, key=lambda pair: pair[1])[0]),
        "There the next step gains little, but later ones may gain more: compare with "
        "the best score, not with the neighbour.": (
            lambda dims, scores, tol: dims[np.argmax(np.diff([*scores, 0]) <= tol)]
        ),
        "That takes tolerance as a share of the best score; it is in the scores' own "
        "unit, so subtract it.": (
            _first_above(lambda scores, tol: max(scores) * (1 - tol))
        ),
        "You compared with the last score; the best need not come last.": (
            _first_above(lambda scores, tol: scores[-1] - tol)
        ),
        "Its score is good enough only once it is rounded: compare as it is.": (
            _first_above(lambda scores, tol: round(max(scores) - tol, 2) - 0.005)
        ),
        "That is its place in the list: return the dimension itself.": (
            lambda dims, scores, tol: np.argmax(np.array(scores) >= max(scores) - tol)
        ),
        "These are all that are good enough; I asked for the smallest.": (
            _of_good(lambda pairs: [dim for dim, _ in pairs])
        ),
    },
    slip=_not_the_smallest,
    then=lambda answer: _alone(
        "pick_dimension", answer([2, 4, 8], [0.5, 0.8, 0.81], tolerance=0.02)
    ),
    passed="The smallest table that is nearly the best: half the columns are half the "
    "memory and half the work, every time it is used.",
)
def pick_dimension(dims: list[int], scores: list[float], tolerance: float) -> int:
    """Go through pairs of dimension and score."""
    pairs = sorted(zip(dims, scores, strict=True))
    return next(dim for dim, score in pairs if max(scores) - score <= tolerance)


@exercise(
    "1.5",
    hints=[
        "Start from one word each and let `neighbor_table(svd_table, [...], "
        "vocabulary.words)` bring more.",
        "Things that you can point at (tools, food, clothes, places) make tighter "
        "themes than qualities do.",
        "If a word strays, exchange it for a neighbour of the words that stay; try "
        "food against sports before you try something closer.",
    ],
)
def two_themes(answer: Answer, table: np.ndarray, index: Mapping[str, int]) -> str:
    """Check that each word is nearer to the rest of its theme than to the other."""
    themes = _two_lists(answer())
    words = list(chain(*themes))
    for mark, meaning in ((PADDING, "padding"), (UNKNOWN, "all that are not listed")):
        if mark in words:
            fail(f"{mark} is no word: it stands for {meaning}.")
    repeated = sorted({word for word in words if words.count(word) > 1})
    if repeated:
        fail(f"Each word may appear only once; repeated: {', '.join(repeated)}.")
    if MAPPED.issuperset(words):
        fail("All these words are on the lesson's map: find themes of your own.")
    unknown = [word for word in words if word not in index]
    if unknown:
        case = ", all in lower case" * any(word.lower() in index for word in unknown)
        fail(f"Not in the vocabulary{case}: {', '.join(unknown)}.")
    units = [_units(np.asarray(table, float)[[index[w] for w in t]]) for t in themes]
    cosines = {}
    for own, theme in enumerate(themes):
        for i, word in enumerate(theme):
            rest = np.delete(units[own], i, axis=0).mean(axis=0)
            averages = _units(np.stack([rest, units[1 - own].mean(axis=0)]))
            cosines[word] = averages @ units[own][i]
    strays = sum(not same > other for same, other in cosines.values())
    closest = min(cosines, key=lambda word: cosines[word][0] - cosines[word][1])
    same, other = _apart(*cosines[closest])
    if strays:
        more = f", and {strays - 1} more" * (strays > 1)
        fail(
            f"“{closest}” strays{more}: its cosine with the rest of its theme is "
            f"{same}, with the other theme {other}. Look at its neighbours, then "
            "exchange it, or move the themes further apart."
        )
    return (
        f"All {len(words)} words are at home. “{closest}” is the closest call: {same} "
        f"with its own theme, {other} with the other. The table learned these themes "
        "from counts alone, without labels."
    )


def _apart(one: float, other: float) -> tuple[str, str]:
    """Write two numbers with two digits, or as many as tell them apart."""
    texts = [(f"{one:.{digits}f}", f"{other:.{digits}f}") for digits in range(2, 18)]
    return next((pair for pair in texts if pair[0] != pair[1]), texts[0])


def _two_lists(result: Any) -> list[list[str]]:
    """Insist on two lists of at least four words."""
    if result is None or result is ...:
        as_array("two_themes", result)
    single = isinstance(result, str | Mapping) or not hasattr(result, "__iter__")
    themes = [result] if single else list(result)
    words = any(isinstance(t, str) or not hasattr(t, "__iter__") for t in themes)
    if words or len(themes) != 2:
        kinds = " and ".join(sorted({type(theme).__name__ for theme in themes}))
        fail(
            "I expected two lists of words, as in `return first, second`; your "
            f"function returned {len(themes)} × {kinds or 'nothing'}."
        )
    themes = [list(theme) for theme in themes]
    for theme in themes:
        if len(theme) < THEME_SIZE:
            fail(f"Each list needs at least {THEME_SIZE} words; one has {len(theme)}.")
        if not all(isinstance(word, str) for word in theme):
            fail("The lists should hold words, not ids or vectors.")
    return themes


summary = summary_of(__name__)
