"""Checks of lesson 04, Transfer learning with MobileNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from course_utils.checks.cases import Case, reference
from course_utils.checks.core import as_array, exercise, expect_number, fail
from course_utils.checks.photo_training import augment as augment
from course_utils.checks.photo_training import fine_tune as fine_tune
from course_utils.checks.summary import summary_of
from course_utils.frameworks import import_keras

import numpy as np

Answer = Callable[..., Any]
MEAN, STD = np.array([485, 456, 406]) / 1000, np.array([229, 224, 225]) / 1000


def _photos() -> list[Case]:
    rng = np.random.default_rng(41)
    shapes = ((2, 5, 4, 3), (1, 3, 3, 3))
    return [Case(rng.integers(0, 256, shape).astype(np.float32)) for shape in shapes]


@reference(
    "4.1",
    hints=[
        "Three steps: to 0…1, minus the mean, divided by the standard deviation.",
        "The colours are the last axis, and `MEAN` has three numbers: NumPy lines them "
        "up by itself.",
        "`(pixels / 255 - MEAN) / STD`",
    ],
    cases=_photos,
    mistakes={
        "You divided by 255; the mean and the standard deviation are still to come.": (
            lambda pixels: pixels / 255
        ),
        "Divide by 255 first: the mean and the standard deviation are for pixels "
        "between 0 and 1.": lambda pixels: (pixels - MEAN) / STD,
        "You subtracted the mean; divide by the standard deviation as well.": (
            lambda pixels: pixels / 255 - MEAN
        ),
        "You divided by the standard deviation; subtract the mean first.": (
            lambda pixels: pixels / 255 / STD
        ),
        "You divided the mean by the standard deviation; brackets are missing around "
        "the difference.": lambda pixels: pixels / 255 - MEAN / STD,
        "You added the mean; subtract it.": lambda pixels: (pixels / 255 + MEAN) / STD,
        "Mean and standard deviation have changed places.": (
            lambda pixels: (pixels / 255 - STD) / MEAN
        ),
        "You divided with //, which leaves only 0 and 1; divide with /.": (
            lambda pixels: (pixels // 255 - MEAN) / STD
        ),
        "You divided by 256; the brightest pixel is 255 and should become 1.": (
            lambda pixels: (pixels / 256 - MEAN) / STD
        ),
        "You multiplied by the standard deviation; divide by it.": (
            lambda pixels: (pixels / 255 - MEAN) * STD
        ),
        "That is the scaling of MobileNet V1, -1 to 1; these weights were trained with "
        "a mean and a standard deviation for each colour.": (
            lambda pixels: pixels / 127.5 - 1
        ),
        "Red and blue are swapped; the last axis is red, green, blue.": (
            lambda pixels: (pixels[..., ::-1] / 255 - MEAN) / STD
        ),
        "Nothing is to be cut off at 0 or 1 afterwards.": (
            lambda pixels: np.clip((pixels / 255 - MEAN) / STD, 0, 1)
        ),
        "You used this batch's own mean and standard deviation; use those given, which "
        "are ImageNet's.": (
            lambda pixels: (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))
        ),
        "You used one mean and one standard deviation of the whole batch; use those "
        "given, which are ImageNet's, for each colour.": (
            lambda pixels: (pixels - pixels.mean()) / pixels.std()
        ),
    },
    passed="Pixels are now what the network was trained on. It would have accepted any "
    "others without complaint.",
    atol=1e-4,
)
def preprocess(pixels: np.ndarray) -> np.ndarray:
    """Scale colour by colour, in float64."""
    one = pixels.astype(np.float64) / 255
    return np.stack([(one[..., c] - MEAN[c]) / STD[c] for c in range(3)], axis=-1)


def _squares() -> list[Case]:
    rng = np.random.default_rng(42)
    made = [rng.integers(0, 256, (side, side, 3)) for side in (6, 8)]
    return [
        Case(photo.astype(np.float32), n) for photo, n in zip(made, (3, 2), strict=True)
    ]


def _covered(
    photo: np.ndarray,
    n: int,
    color: Callable[[np.ndarray], Any] = lambda square: 0,
    columns_first: bool = False,
    together: bool = False,
) -> np.ndarray:
    """Cover as an answer might, with a colour that depends on the square."""
    side, copies, last = len(photo) // n, [], photo
    for one, other in np.ndindex(n, n):
        row, column = (other, one) if columns_first else (one, other)
        last = (last if together else photo).copy()
        place = np.s_[
            row * side : (row + 1) * side, column * side : (column + 1) * side
        ]
        last[place] = color(photo[place])
        copies.append(last)
    return np.stack(copies)


@reference(
    "4.2",
    hints=[
        "Make n × n copies first: `np.repeat(photo[None], n * n, axis=0)`.",
        "A square is `side = len(photo) // n` pixels wide; square (row, column) covers "
        "`[row * side : (row + 1) * side, column * side : (column + 1) * side]`.",
        "In two loops: `copies[row * n + column, rows, columns] = photo.mean(axis=(0, "
        "1))`.",
    ],
    cases=_squares,
    mistakes={
        "You covered the squares with black; use the photo's mean colour.": _covered,
        "You went down the columns first; copy 1 covers the second square of the "
        "first row.": lambda photo, n: _covered(
            photo, n, lambda square: photo.mean((0, 1)), columns_first=True
        ),
        "Squares stay covered from one copy to the next; begin each with the photo.": (
            lambda photo, n: _covered(
                photo, n, lambda square: photo.mean((0, 1)), together=True
            )
        ),
        "Each square got its own mean colour, which hides little of it; use the whole "
        "photo's.": lambda photo, n: _covered(
            photo, n, lambda square: square.mean((0, 1))
        ),
        "You covered the squares with one grey; take the mean of each colour, "
        "`photo.mean(axis=(0, 1))`.": lambda photo, n: _covered(
            photo, n, lambda square: photo.mean()
        ),
        "You covered all but the square; cover the square.": lambda photo, n: np.where(
            _covered(0 * photo, n, lambda square: 1) > 0, photo, photo.mean((0, 1))
        ),
        "Nothing is covered; write into the copies.": lambda photo, n: np.repeat(
            photo[None], n * n, axis=0
        ),
        "That is one photo with every square covered; return a copy for each.": (
            lambda photo, n: np.zeros_like(photo)
        ),
        "Number the squares with one axis: n * n copies.": lambda photo, n: _covered(
            photo, n
        ).reshape(n, n, *photo.shape),
    },
    passed="The network is asked about each copy: where its answer falls, it was "
    "looking. That needs nothing but answers, so it works with any model.",
    atol=1e-3,
)
def occlude(photo: np.ndarray, n: int) -> np.ndarray:
    """Choose by masks, without loops."""
    part = np.arange(len(photo)) // (len(photo) // n)
    rows, columns = np.divmod(np.arange(n * n), n)
    mask = (part == rows[:, None])[:, :, None] & (part == columns[:, None])[:, None]
    return np.where(mask[..., None], photo.mean(axis=(0, 1)), photo)


@exercise(
    "4.3",
    hints=[
        "Draw among the groups, not among the photos. `np.unique(groups)` lists them.",
        "`np.random.default_rng(seed).choice(names, how_many, replace=False)` draws "
        "some. How many are a share of them?",
        "A photo is held out when its group was drawn: `np.isin(groups, drawn)`.",
    ],
)
def split_by_group(answer: Answer) -> str:
    """Check that a share of whole groups is held out, drawn by the seed."""
    rng = np.random.default_rng(43)
    # 10.25 and 23.6 groups: neither cutting off nor rounding up gives both.
    for n_groups, share in ((41, 0.25), (59, 0.4)):
        names = rng.permutation(500)[:n_groups]
        groups = rng.permutation(np.repeat(names, rng.integers(1, 5, n_groups)))
        held_out = [
            _groups_held_out(answer(groups, share, seed), groups, share)
            for seed in (1, 1, 2, 3)
        ]
        if held_out[0] != held_out[1]:
            fail(
                "The same seed gave two different splits: make the generator inside, "
                "with np.random.default_rng(seed)."
            )
        if held_out[0] == held_out[2] == held_out[3]:
            fail("Three seeds gave the same split: is the seed used?")
    _expect_chance(answer)
    return (
        "No group is on both sides. Near-duplicates can no longer raise the held-out "
        "score."
    )


def _expect_chance(answer: Answer) -> None:
    """Insist that each group has the same chance to be held out, whatever its size."""
    n_draws, names = 300, np.arange(20) * 7 + 3
    groups = np.repeat(names, np.where(np.arange(20) % 2, 8, 1))
    drawn = [
        _groups_held_out(answer(groups, 0.25, seed), groups, 0.25)
        for seed in range(n_draws)
    ]
    times = np.array([sum(name in held for held in drawn) for name in names])
    told = f"Of 20 groups, five held out with each of {n_draws} seeds"
    # A quarter of 300 is 75, give or take 8.
    small, large = times[::2].mean(), times[1::2].mean()
    if abs(large - small) > 25:
        fail(
            f"{told}, those of eight photos were held out {large:.0f} times each, "
            f"those of one photo {small:.0f}. Draw among np.unique(groups), where "
            "each stands once."
        )
    if (times < 30).any():
        which = int(times.argmin())
        fail(
            f"{told}, one was held out {times[which]} times: number {which + 1} of "
            "np.unique(groups). Do all of them take part in the draw?"
        )
    if len(set(map(frozenset, drawn))) < n_draws / 2:
        fail(
            f"{told}, only {len(set(map(frozenset, drawn)))} different splits came: "
            "draw with np.random.default_rng(seed), do not shift by the seed."
        )


def _groups_held_out(got: Any, groups: np.ndarray, share: float) -> set[int]:
    """Read a mask, or say what is wrong with it."""
    n_groups = len(np.unique(groups))
    given = f"{len(groups)} photos in {n_groups} groups and share {share}"
    mask = as_array("split_by_group", got)
    if mask.shape != groups.shape:
        fail(
            f"For {given} I expected one True or False for each photo; you returned "
            f"shape {mask.shape}. {_other_shape(mask, groups)}".rstrip()
        )
    if not np.isin(mask, (0, 1)).all():
        fail("I expected True or False for each photo, not other numbers.")
    mask = mask.astype(bool)
    held, kept = set(groups[mask].tolist()), set(groups[~mask].tolist())
    if torn := held & kept:
        fail(
            f"For {given}, {len(torn)} groups are on both sides, such as {min(torn)}. "
            "Draw among np.unique(groups), not among photos."
        )
    n_held, wanted = len(held), round(share * n_groups)
    if n_held == wanted:
        return held
    slip = "Draw `round(share * n_groups)` groups, big or small, with replace=False."
    if n_held == n_groups - wanted:
        slip = "You marked those to learn from; True means held out."
    fail(f"For {given} I expected {wanted} groups held out, yours are {n_held}. {slip}")


def _other_shape(got: np.ndarray, groups: np.ndarray) -> str:
    """Say what an answer may be that is no mask of the photos."""
    if got.shape == (2, len(groups)):
        return "Return one mask, not a pair: True for the photos that are held out."
    if got.ndim != 1:
        return ""
    if len(got) == len(np.unique(groups)) and np.isin(got, (0, 1)).all():
        return (
            "That is one for each group: `np.isin(groups, drawn)` marks the photos of "
            "the groups that were drawn."
        )
    if np.isin(got, groups).all():
        return (
            "Are these the groups drawn? `np.isin(groups, drawn)` marks their photos."
        )
    if len(np.unique(got)) == len(got) and np.isin(got, range(len(groups))).all():
        return (
            "Are these positions? Begin with `np.zeros(len(groups), bool)`, and set "
            "these places to True."
        )
    return ""


@exercise(
    "4.4",
    hints=[
        "`model.layers` is a list; each layer has a switch `layer.trainable`.",
        "Set every layer's switch, to True as well: some may come frozen.",
        "`for number, layer in enumerate(model.layers): layer.trainable = number >= "
        "n`; then add up the sizes of `model.trainable_weights`.",
    ],
)
def freeze_first(answer: Answer) -> str:
    """Check the switches of a small network, and the count of its free numbers."""
    for n, came_frozen in ((3, False), (5, True), (2, False), (0, True)):
        model = _small_network()
        for layer in model.layers:
            layer.trainable = not came_frozen
        got = answer(model, n)
        slip = _wrong_switches(model, n, came_frozen) or _wrong_count(model, n, got)
        if slip:
            fail(f"For a network of {len(LEARNED)} layers and n = {n}: {slip}")
    return (
        "Frozen layers keep what they learned from a million photos; the others may "
        "adapt. Compile afterwards: that is when Keras looks at the switches."
    )


def _wrong_switches(model: Any, n: int, came_frozen: bool) -> str:
    if not model.trainable:
        return (
            "you switched the whole model off, and then no switch of a layer counts. "
            "Set `layer.trainable`, not `model.trainable`."
        )

    def from_on(first: int) -> tuple[bool, ...]:
        return tuple(number >= first for number in range(len(LEARNED)))

    switches = tuple(bool(layer.trainable) for layer in model.layers)
    if switches == from_on(n):
        return ""
    frozen = "all layers are frozen afterwards; nothing can learn."
    if came_frozen:
        frozen += (
            " They came frozen: switch the rest on, one by one. `model.trainable = "
            "True` does nothing where the model's own switch is on already."
        )
    known = {
        tuple(not on for on in from_on(n)): f"you froze the others, not the first {n}.",
        from_on(n)[::-1]: f"you froze the last {n}; freeze the first.",
        from_on(n + 1): "off by one: layers are counted from 0.",
        from_on(n - 1): "off by one: layers are counted from 0.",
        from_on(0): "no layer is frozen. Is `layer.trainable` set?",
        from_on(len(LEARNED)): frozen,
    }
    return known.get(switches, f"the switches should be {from_on(n)}, not {switches}.")


def _wrong_count(model: Any, n: int, got: Any) -> str:
    number = expect_number("freeze_first", got)
    if np.ndim(got):
        return f"you returned {got!r}; later cells need the number alone."
    free, weights = sum(LEARNED[n:]), model.trainable_weights
    if number == free:
        return ""
    others = "you counted the frozen numbers; I asked for the others."
    known: dict[float, str] = {
        sum(LEARNED[:n]): others,
        model.count_params() - free: others,
        len(LEARNED) - n: "you counted layers; count the numbers in their arrays.",
        len(weights): "you counted the arrays; count the numbers in them.",
        sum(sum(array.shape) for array in weights): (
            "you added up the shapes; an array of shape (3, 4) holds 12 numbers."
        ),
        model.count_params(): (
            "you counted everything, the frozen layers and the running means of batch "
            "normalisation too; use trainable_weights."
        ),
        sum(LEARNED): "you counted the frozen numbers too.",
        free + RUNNING * (n <= 2): (
            "you counted the running averages of batch normalisation too, which "
            "gradients do not adjust; use trainable_weights."
        ),
    }
    return known.get(number, f"{free:,} numbers can be adjusted, not {number:,g}.")


# How many numbers each layer of the small network can learn.
LEARNED = [0, 3 * 3 * 3 * 4 + 4, 4 + 4, 0, 4 * 6 + 6, 6 * 5 + 5, 5 * 2 + 2]
RUNNING = 4 + 4  # averages that layer 2 keeps besides


def _small_network() -> Any:
    keras = import_keras()
    layers = keras.layers
    inputs = layers.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs))
    x = layers.Dense(6)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(2)(layers.Dense(5)(x)))


summary = summary_of(__name__)
