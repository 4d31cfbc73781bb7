"""Checks of lesson 01: one-hot vectors and embedding tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from course_utils.checks.core import (
    as_array,
    exercise,
    expect_number,
    expect_shape,
    fail,
)
from course_utils.checks.summary import summary_of
from course_utils.text import PADDING, UNKNOWN

import numpy as np

THEME_SIZE = 4


@exercise(
    "1.1",
    hints=[
        "How many numbers does one word take? And one review of `length` words?",
        "Numbers in the batch, times bytes a number.",
        "Multiply all four arguments, `itemsize` too.",
    ],
)
def one_hot_bytes(answer: Callable[..., float]) -> str:
    """Check exercise 1.1, the memory of a one-hot batch.

    Parameters
    ----------
    answer : callable
        ``answer(batch, length, vocab_size, itemsize=4)`` in bytes.

    Returns
    -------
    str
        What a right answer shows.

    Raises
    ------
    ExerciseError
        When a number is not that of bytes, with the likeliest slip.
    """
    for batch, length, vocab_size, itemsize in ((3, 11, 1_009, 8), (7, 5, 2_003, 2)):
        got = _one_number("one_hot_bytes", answer(batch, length, vocab_size, itemsize))
        bytes_ = batch * length * vocab_size * itemsize
        slips = {
            bytes_ // itemsize: "That counts the numbers, not their bytes: where is "
            "itemsize?",
            bytes_ // itemsize * 4: "That takes 4 bytes a number whatever itemsize "
            "says: use the argument.",
            bytes_ // itemsize * 8: "That takes 8 bytes a number (float64) whatever "
            "itemsize says: use the argument.",
            bytes_ * 8: "That is bits: a byte has eight.",
            bytes_ // batch: "That is one review: where is batch?",
            bytes_ // length: "That is one word a review: where is length?",
            batch * length * itemsize: "That is the size of the ids: a one-hot vector "
            "has vocab_size numbers.",
            bytes_ / 1e3: "That is kilobytes: I asked for bytes.",
            bytes_ / 1e6: "That is megabytes: I asked for bytes.",
            bytes_ / 2**10: "That is kilobytes: I asked for bytes.",
            bytes_ / 2**20: "That is megabytes: I asked for bytes.",
            (batch + length + vocab_size) * itemsize: "You added where every word of "
            "every review has a vector of its own: multiply.",
        }
        _match_number(
            got,
            bytes_,
            slips,
            given=f"{batch} reviews of {length} words, {vocab_size:,} columns and "
            f"{itemsize} byte{'s' * (itemsize > 1)} a number",
            unit=" bytes",
        )
    got = _one_number("one_hot_bytes", answer(2, 5, 1_003))
    if not np.isclose(got, 40_120, rtol=1e-9):
        fail(
            f"Without itemsize I expected 4 bytes a number, 40,120 bytes for 2 reviews "
            f"of 5 words and 1,003 columns; your function returned {got:,.10g}."
        )
    total = _one_number("one_hot_bytes", answer(32, 400, 10_000)) / 1e6
    return (
        f"32 reviews of 400 words take {total:,.0f} MB at 10,000 columns. As ids they "
        "take 0.05 MB and say as much."
    )


@exercise(
    "1.2",
    hints=[
        "What does `table[3]` give you? And `table[[3, 5]]`?",
        "NumPy accepts an index array of any shape.",
        "`table[ids]`, and look at its shape.",
    ],
)
def lookup(answer: Callable[..., Any]) -> str:
    """Check exercise 1.2, the look-up of a batch.

    Parameters
    ----------
    answer : callable
        ``answer(table, ids)`` gives vectors of shape
        ``(batch, length, embedding_dim)``.

    Returns
    -------
    str
        What a right answer shows.

    Raises
    ------
    ExerciseError
        When shape or vectors are not the table's rows, with the likeliest slip.
    """
    rng = np.random.default_rng(12)
    for vocab_size, dim, batch, length in ((11, 5, 4, 7), (9, 9, 5, 4)):
        table = rng.normal(size=(vocab_size, dim)).astype(np.float32)
        ids = rng.integers(min(vocab_size, dim), size=(batch, length))
        before = table.copy(), ids.copy()
        watched = table.view(_Watched)
        watched.used = Counter()
        try:
            result = answer(watched, ids)
        except IndexError:
            fail(
                "Your code asks for a row or column that the table does not have. Ids "
                "choose rows: the first axis."
            )
        got = as_array("lookup", _finished("lookup", result))
        if not (np.array_equal(table, before[0]) and np.array_equal(ids, before[1])):
            fail("lookup changed its arguments: make a new array instead.")
        _lookup_shape(got, table, ids)
        expected = np.array([[table[number] for number in row] for row in ids.tolist()])
        if np.array_equal(got, expected):
            _how_looked_up(watched.used, batch)
            continue
        if np.array_equal(got, np.take(table, ids, axis=1).transpose(1, 2, 0)) or (
            np.array_equal(got, table.T[ids])
        ):
            fail(
                "The shape is right, but these are columns of the table: a word's "
                "vector is a row."
            )
        if np.allclose(got, expected, rtol=1e-2, atol=1e-2):
            fail(
                "These are nearly the rows. A look-up copies them to the last bit: "
                "what rounds the numbers?"
            )
        if any(np.array_equal(got, np.roll(table, by, axis=0)[ids]) for by in (1, -1)):
            fail("Each vector is that of the id next door: did you add or take one?")
        fail(
            f"The shape {got.shape} is right, but the vectors are not: "
            f"result[i, j] should be row ids[i, j] of the table."
        )
    return (
        "One indexing operation does what the next cell needs a product of (8·20) × "
        "vocab_size × 64 for. It is what an embedding layer does in its forward pass."
    )


class _Watched(np.ndarray):
    """A table that counts how often it is indexed and multiplied.

    Copies, views and results of it are not counted: `used` stays None there.
    """

    used: Counter[str] | None = None

    def _note(self, what: str) -> None:
        if self.used is not None:
            self.used[what] += 1

    def __getitem__(self, key: Any) -> Any:
        self._note("indexed")
        return super().__getitem__(key)

    def take(self, *args: Any, **settings: Any) -> Any:
        self._note("indexed")
        return np.asarray(self).take(*args, **settings)

    def dot(self, *args: Any, **settings: Any) -> Any:
        self._note("multiplied")
        return np.asarray(self).dot(*args, **settings)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any
    ) -> Any:
        if ufunc in (np.matmul, np.multiply):
            for one in inputs:
                if isinstance(one, _Watched):
                    one._note("multiplied")
        if settings.get("out"):
            settings["out"] = tuple(_plain(one) for one in settings["out"])
        return getattr(ufunc, method)(*map(_plain, inputs), **settings)

    def __array_function__(
        self, function: Any, types: Any, args: Any, settings: Any
    ) -> Any:
        if function in (np.dot, np.einsum, np.tensordot, np.inner):
            self._note("multiplied")
        return super().__array_function__(function, types, args, settings)


def _plain(value: Any) -> Any:
    """Take the counting off an array, leave anything else."""
    return np.asarray(value) if isinstance(value, _Watched) else value


def _how_looked_up(used: Counter[str], batch: int) -> None:
    """Refuse the right vectors where they came by a product or a loop."""
    if used["multiplied"]:
        fail(
            "The vectors are right, but your code multiplied for them: that is the "
            "work which a look-up saves. Index the table with ids."
        )
    if used["indexed"] >= batch:
        fail(
            f"The vectors are right, but your code went to the table {used['indexed']} "
            "times, in a loop: index it once, with all ids."
        )


def _lookup_shape(got: np.ndarray, table: np.ndarray, ids: np.ndarray) -> None:
    """Refuse a wrong shape, by the name of the slip that gives it."""
    shape = (*ids.shape, table.shape[1])
    vocab_size, dim = table.shape
    if got.shape == shape:
        return
    slips = {
        (vocab_size, *ids.shape): f"The shape is {got.shape}: you took columns, not "
        "rows.",
        (*ids.shape, vocab_size): f"The shape is {got.shape}: one number for each word "
        "of the vocabulary. Those are one-hot vectors, or columns, not rows.",
    }
    if got.shape in slips:
        fail(slips[got.shape])
    slip = ""
    if got.shape == (ids.size, dim):
        slip = (
            "Indexing keeps the shape of what you index with: did you flatten ids on "
            "the way?"
        )
    elif got.shape == (ids.shape[0], ids.shape[1] * dim):
        slip = "The vectors of a review were joined into one long row; keep them apart."
    elif got.shape in ((ids.shape[0], dim), (ids.shape[1], dim)):
        slip = "Every id needs a vector: did you average, or take one word a review?"
    elif got.shape == ids.shape:
        slip = "That is one number an id: a word's vector is a whole row."
    elif sorted(got.shape) == sorted(shape):
        slip = "The axes are in another order."
    expect_shape(
        "lookup",
        got,
        shape,
        given=f"ids of shape {ids.shape} and {dim} columns",
        slip=slip,
    )


@exercise(
    "1.3",
    hints=[
        "Cosine similarity is a product of vectors of length 1: divide each row by its "
        "length first.",
        "`unit @ unit[row]` gives all similarities at once. `row` itself has the "
        "largest, 1: how do you keep it out?",
        "Set `similarity[row] = -np.inf`; `np.argsort(-similarity)` lists the largest "
        "first; keep n_neighbors of them.",
    ],
)
def nearest(answer: Callable[..., Any]) -> str:
    """Check exercise 1.3, neighbours by cosine similarity.

    Parameters
    ----------
    answer : callable
        ``answer(table, row, n_neighbors)`` gives row numbers, nearest first.

    Returns
    -------
    str
        What a right answer shows.

    Raises
    ------
    ExerciseError
        When they are not the nearest rows in order, with the likeliest slip.
    """
    rng = np.random.default_rng(13)
    for n_rows, dim, row, n_neighbors in (
        (14, 4, 3, 5),
        (23, 6, 17, 3),
        (9, 3, 0, 4),
    ):
        lengths = rng.permutation(np.geomspace(0.2, 20, n_rows))[:, None]
        table = (normalized(rng.normal(size=(n_rows, dim))) * lengths).astype("f4")
        _one_query(answer, table, row, n_neighbors)
    # A fan of directions, so long that a partial sort stays unsorted.
    angles = rng.permutation(np.linspace(0.2, 1.5, 400))
    angles[31] = 0
    fan = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    fan *= rng.permutation(np.geomspace(0.2, 20, 400))[:, None]
    _one_query(answer, fan.astype("f4"), 31, 300)
    # Row 5 points away from all others, so its cosines are negative.
    away = rng.normal(size=(9, 3)).astype("f4")
    away[:, 0] = np.abs(away[:, 0]) + 2
    away[5] = [-3, 0, 0]
    if 5 in _row_numbers(answer(away.copy(), 5, 3), 3):
        fail(
            "Where all other rows point away, your answer contains the row itself: its "
            "cosine must be lower than any, so set it to −np.inf, not to 0."
        )
    _one_query(answer, away, 5, 3)
    # Rows 1, 3 and 4 are the same to the last bit, so a ranking may put any first.
    triplets = np.eye(6, 4, dtype=np.float32) + np.float32(0.01)
    triplets[[1, 3, 4]] = [0, 0, 0, 1]
    for row in (1, 3, 4):
        got = _row_numbers(answer(triplets.copy(), row, 2), 2)
        if row in got:
            fail(
                "Where other rows point exactly the same way, your answer contains the "
                "row itself: throw it out by its number, not by its place in the "
                "ranking."
            )
        if {row, *got} != {1, 3, 4}:
            fail(
                f"Rows 1, 3 and 4 point exactly the same way, but the neighbours of "
                f"row {row} came out as {got}: only row itself must be left out."
            )
    return (
        "Cosine ignores how long a row is and asks where it points. That is how every "
        "later lesson will call two things alike."
    )


def normalized(table: np.ndarray) -> np.ndarray:
    """Divide each row by its length.

    Parameters
    ----------
    table : numpy.ndarray of shape (n_rows, dim)
        Rows, none all zero.

    Returns
    -------
    numpy.ndarray of shape (n_rows, dim)
        Rows of length 1.
    """
    return table / np.sqrt((table**2).sum(axis=-1, keepdims=True))


def _row_numbers(result: Any, n_neighbors: int) -> list[int]:
    """Insist on `n_neighbors` whole numbers."""
    if isinstance(result, tuple) and len(result) == 2:
        fail("nearest returned two things: I need the row numbers only.")
    got = as_array("nearest", _finished("nearest", result))
    if got.ndim == 2 and 1 in got.shape:
        fail(
            f"nearest returned shape {got.shape}; I expected ({n_neighbors},), one "
            "axis."
        )
    if got.ndim == 1 and got.shape[0] == n_neighbors + 1:
        fail(
            f"For n_neighbors={n_neighbors} you returned {n_neighbors + 1} rows: "
            "the row itself does not count as one of them."
        )
    expect_shape("nearest", got, (n_neighbors,), given=f"n_neighbors={n_neighbors}")
    if got.dtype.kind == "b" or not np.array_equal(got, np.round(got)):
        fail(
            "nearest returned fractions, probably the similarities: I need the numbers "
            "of the rows that have them (argsort, not sort)."
        )
    return [int(number) for number in got]


def _start(numbers: Sequence[int]) -> str:
    """Write a list of numbers, of a long one the beginning."""
    if len(numbers) <= 6:
        return str(list(numbers))
    return f"[{', '.join(map(str, numbers[:6]))}, …]"


def _one_query(
    answer: Callable[..., Any], table: np.ndarray, row: int, n_neighbors: int
) -> None:
    """Compare one answer with cosines taken pair by pair."""
    before = table.copy()
    got = _row_numbers(answer(table, row, n_neighbors), n_neighbors)
    if not np.array_equal(table, before):
        fail("nearest changed the table it was given: work on a copy.")
    query = table[row].astype(float)
    cosine = np.array(
        [
            float(
                np.dot(other, query) / np.hypot.reduce(other) / np.hypot.reduce(query)
            )
            for other in table.astype(float)
        ]
    )
    others = [number for number in range(len(table)) if number != row]

    def ranked(key: np.ndarray, among: Sequence[int] = others) -> list[int]:
        return sorted(among, key=lambda number: -key[number])[:n_neighbors]

    expected = ranked(cosine)
    if got == expected:
        return
    if row in got:
        fail(
            f"Asked for the neighbours of row {row}, you returned {_start(got)}: row "
            f"{row} is its own nearest, so leave it out."
        )
    dot = table @ table[row]
    distance = np.linalg.norm(table - table[row], axis=1)
    without_row = np.delete(cosine, row)
    slips = [
        (ranked(-cosine), "These are the farthest rows: argsort puts the smallest "
         "first."),
        (expected[::-1], "The right rows, but the nearest comes last: turn them "
         "round."),
        (ranked(dot), "These have the largest dot products, which favours long rows: "
         "divide each row by its length first."),
        (ranked(-distance), "These are nearest by Euclidean distance: cosine asks for "
         "the angle, so length must not count."),
        (ranked(np.abs(cosine)), "You took the largest absolute cosine: −1 means "
         "opposite, not alike."),
        (ranked(dot / np.linalg.norm(table)), "You divided by the length of the whole "
         "table: each row has its own (axis=1)."),
        (list(np.argsort(-without_row)[:n_neighbors]), "You took row out before "
         "ranking, and every row after it moved up by one: the numbers no longer fit."),
        (ranked(cosine, range(len(table)))[1:], "One row is missing at the end."),
        ([number + 1 for number in expected], "Every number is one too high."),
        ([number - 1 for number in expected], "Every number is one too low."),
    ]  # fmt: skip
    for wrong, reason in slips:
        if got == [int(number) for number in wrong]:
            fail(reason)
    if sorted(got) == sorted(expected):
        fail("The right rows in the wrong order: the most similar comes first.")
    fail(
        f"For row {row} of a {len(table)} × {table.shape[1]} table I expected "
        f"{_start(expected)}, your function returned {_start(got)}. Is it the dot "
        "product of rows of length 1?"
    )


@exercise(
    "1.4",
    hints=[
        "What is the lowest score that you would still accept?",
        "Compare all scores with `max(scores) - tolerance`, best score included.",
        "Of the dims whose score is at least that, return the smallest.",
    ],
)
def pick_dimension(answer: Callable[..., Any]) -> str:
    """Check exercise 1.4, the choice of a dimension.

    Parameters
    ----------
    answer : callable
        ``answer(dims, scores, tolerance)`` gives one of `dims`.

    Returns
    -------
    str
        What a right answer shows.

    Raises
    ------
    ExerciseError
        When it is not the smallest that is good enough, with the likeliest slip.
    """
    cases = [
        ([3, 6, 12, 24, 48], [0.61, 0.803, 0.79, 0.812, 0.805], 0.015),
        ([5, 10, 20, 40, 80, 160], [0.50, 0.58, 0.70, 0.752, 0.77, 0.768], 0.03),
        # Where scores climb by little steps, looking at steps stops too early.
        ([2, 4, 8, 16, 32], [0.60, 0.609, 0.618, 0.70, 0.71], 0.02),
        ([4, 8, 16, 32], [0.70, 0.75, 0.80, 0.79], 0.0),
        # 0.4 × (1 − 0.1) = 0.36 where the tolerance asks for 0.30.
        ([7, 14, 28, 56], [0.2, 0.33, 0.37, 0.4], 0.1),
        # The last score is not the best: 0.77 − 0.02 would let 0.76 in.
        ([4, 8, 16, 32], [0.60, 0.76, 0.80, 0.77], 0.02),
        # Only the third decimal tells 0.796 from 0.812 − 0.01.
        ([8, 16, 32, 64], [0.70, 0.796, 0.812, 0.811], 0.01),
    ]
    for dims, scores, tolerance in cases:
        given = f"dims {dims}, scores {scores} and tolerance {tolerance}"
        own = list(dims), list(scores)
        try:
            got = answer(*own, tolerance)
        except (ValueError, IndexError, StopIteration):
            if tolerance == 0:
                fail(
                    "With tolerance 0 your code found nothing, but the best score is "
                    "within 0 of itself: use >=, not >."
                )
            raise
        if got is None and tolerance == 0:
            fail(
                "With tolerance 0 your code returned None, but the best score is "
                "within 0 of itself: use >=, not >."
            )
        if own != (dims, scores):
            fail(
                "pick_dimension changed the "
                f"{'dims' if own[0] != dims else 'scores'} it was given: sort a copy, "
                "or do without sorting."
            )
        number = _one_number("pick_dimension", got)
        enough = [
            dim
            for dim, score in zip(dims, scores, strict=True)
            if max(scores) - score <= tolerance
        ]
        if number != min(enough):
            _picked_wrong(number, dims, scores, tolerance, enough, given)
    return (
        "The smallest table that is nearly the best: half the columns are half the "
        "memory and half the work, every time it is used."
    )


def _picked_wrong(
    number: float,
    dims: list[int],
    scores: list[float],
    tolerance: float,
    enough: list[int],
    given: str,
) -> None:
    """Refuse a dimension, by the name of the slip that gives it."""
    expected, best = min(enough), dims[int(np.argmax(scores))]
    small_step = next(
        (
            dims[i]
            for i in range(len(dims) - 1)
            if scores[i + 1] - scores[i] <= tolerance
        ),
        None,
    )
    relative = min(
        dim
        for dim, score in zip(dims, scores, strict=True)
        if score >= max(scores) * (1 - tolerance)
    )
    # A score that passes once all are rounded to two decimals.
    rounded = next(
        dim
        for dim, score in zip(dims, scores, strict=True)
        if round(score, 2) >= round(max(scores) - tolerance, 2)
    )
    from_last = next(
        dim
        for dim, score in zip(dims, scores, strict=True)
        if score >= scores[-1] - tolerance
    )
    if number not in dims:
        if number == dims.index(expected):
            slip = "That is its place in the list: return the dimension itself."
        elif number in scores or 0 < number < 1:
            slip = "That is a score: return the dimension that has it."
        else:
            slip = "That is none of dims."
    elif number == best:
        slip = "That is the best score's dimension: a smaller one is good enough."
    elif number == max(enough):
        slip = "That is the largest that is good enough: I asked for the smallest."
    elif number == small_step:
        slip = (
            "There the next step gains little, but later ones may gain more: compare "
            "with the best score, not with the neighbour."
        )
    elif number == relative:
        slip = (
            "That is tolerance as a share of the best score: it is in the scores' own "
            "unit, so subtract it."
        )
    elif number == from_last:
        slip = "You compared with the last score; the best need not come last."
    elif number == rounded:
        slip = "Its score is good enough only once it is rounded: compare as it is."
    elif number < expected:
        slip = f"Its score is more than {tolerance} below the best, {max(scores)}."
    else:
        slip = "A smaller one is within the tolerance too."
    fail(
        f"For {given} I expected {expected}, your function returned {number:g}. {slip}"
    )


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
def two_themes(
    answer: Callable[[], Any], table: np.ndarray, index: Mapping[str, int]
) -> str:
    """Check exercise 1.5, two lists of words that a table keeps apart.

    Parameters
    ----------
    answer : callable
        ``answer()`` gives two lists of words.
    table : numpy.ndarray of shape (vocab_size, embedding_dim)
        The table that must keep them apart.
    index : mapping of str to int
        The row of each word.

    Returns
    -------
    str
        The word that came closest to straying, and by how much it did not.

    Raises
    ------
    ExerciseError
        When the lists are too short, repeat words or use unknown ones, or when a
        word is nearer to the other theme, with the word.
    """
    themes = _two_lists(answer())
    words = list(chain(*themes))
    special = [word for word in words if word in (PADDING, UNKNOWN)]
    if special:
        fail(
            f"{special[0]} is no word: it stands for "
            f"{'padding' if special[0] == PADDING else 'all that are not listed'}."
        )
    repeated = sorted({word for word in words if words.count(word) > 1})
    if repeated:
        fail(f"A word may stand only once; more often: {', '.join(repeated)}.")
    unknown = [word for word in words if word not in index]
    if unknown:
        capital = [word for word in unknown if word.lower() in index]
        slip = " The vocabulary is in lower case." if capital else ""
        fail(f"Not in the vocabulary: {', '.join(unknown)}.{slip}")
    units = [
        normalized(np.asarray(table, float)[[index[word] for word in theme]])
        for theme in themes
    ]
    margins = {}
    for own, theme in enumerate(themes):
        for i, word in enumerate(theme):
            same = np.delete(units[own], i, axis=0).mean(axis=0)
            other = units[1 - own].mean(axis=0)
            same, other = normalized(same), normalized(other)
            margins[word] = float(units[own][i] @ same), float(units[own][i] @ other)
    strays = [word for word, (same, other) in margins.items() if not same > other]
    if strays:
        worst = min(strays, key=lambda word: margins[word][0] - margins[word][1])
        same, other = margins[worst]
        rest = len(strays) - 1
        also = f" So {'do' if rest > 1 else 'does'} {rest} more." if rest else ""
        fail(
            f"“{worst}” strays: its cosine with the rest of its theme is {same:.2f}, "
            f"with the other theme {other:.2f}.{also} Look at its neighbours, "
            "then exchange it, or move the themes further apart."
        )
    closest = min(margins, key=lambda word: margins[word][0] - margins[word][1])
    same, other = margins[closest]
    return (
        f"All {len(words)} words are at home. “{closest}” is the closest call: "
        f"{same:.2f} with its own theme, {other:.2f} with the other. Nobody gave the "
        "table these themes; company alone did."
    )


def _two_lists(result: Any) -> list[list[str]]:
    """Insist on two lists of at least four words."""
    result = _finished("two_themes", result)
    if isinstance(result, Mapping):
        fail(
            "two_themes returned a dict: return the two lists alone, "
            "`return first, second`."
        )
    if isinstance(result, str) or not hasattr(result, "__iter__"):
        fail("two_themes should return two lists of words: `return first, second`.")
    themes = [
        theme if isinstance(theme, str) else list(theme)
        for theme in result
        if hasattr(theme, "__iter__")
    ]
    if any(isinstance(theme, str) for theme in themes):
        fail(
            "I found words where I expected two lists: return `first, second`, each a "
            "list of single words."
        )
    if len(themes) != 2:
        fail(f"I expected two lists, your function returned {len(themes)}.")
    for theme in themes:
        if len(theme) < THEME_SIZE:
            fail(f"Each list needs at least {THEME_SIZE} words; one has {len(theme)}.")
        if not all(isinstance(word, str) for word in theme):
            fail("The lists should hold words, not ids or vectors.")
    return [[str(word) for word in theme] for theme in themes]


def _finished(name: str, result: Any) -> Any:
    """Refuse None, which an unfinished body returns."""
    if result is None:
        fail(
            f"{name} returned None: is it finished, and does its last line begin with "
            "`return`?"
        )
    return result


def _one_number(name: str, result: Any) -> float:
    """Insist on a number that is not wrapped in anything."""
    if isinstance(result, tuple):
        comma = " Is there a comma at the end of the line?" if len(result) == 1 else ""
        fail(f"{name} returned a tuple; I expected one number.{comma}")
    return expect_number(name, _finished(name, result))


def _match_number(
    got: float, expected: float, slips: Mapping[float, str], *, given: str, unit: str
) -> None:
    """Refuse a number that is not the expected one, by the name of its slip."""
    if np.isclose(got, expected, rtol=1e-9):
        return
    slip = next(
        (text for wrong, text in slips.items() if np.isclose(got, wrong, rtol=1e-6)),
        "",
    )
    fail(
        f"For {given} I expected {expected:,}{unit}, your function returned "
        f"{got:,.10g}. {slip}".rstrip()
    )


summary = summary_of(__name__)
