"""Exercise 5.6: vectors of garments, judged by the labels of their neighbours."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from course_utils.checks.core import as_array, exercise, fail
from course_utils.checks.leaks import Origin, origin_of, reached

import numpy as np

Answer = Callable[..., Any]
LookUp = Callable[[np.ndarray], Origin]

MAX_COLUMNS, N_NEIGHBORS = 32, 10
BAR, GOLD = 0.85, 0.90
# The best published networks, far larger ones, come near; a better one has seen the
# pictures.
TOO_GOOD = 0.97
# Test pictures that are asked, and the least difference that counts: honest networks
# differ by up to 1 point between these and others that they have not seen.
ASKED, LEAST_GAP = 4_000, 0.015
# Fewer pictures are too few to learn the ten kinds, and to compare accuracies.
FEWEST = 1_000
# An untrained embedder, 16 or 32 wide, scores 72% to 76%.
UNTRAINED = 0.78
COMPANY = (
    "A picture gets another vector, or none, when it comes alone or in another order. "
    "Is something computed over the batch, as normalisation does in training?"
)


@exercise(
    "5.6",
    hints=[
        "`embed(own, pictures)` turns pictures into vectors. Is `own` good enough yet? "
        "Its held-out score stands above. (`network` is, if you only want the bar.)",
        "More pictures and more epochs first: `own_pictures = fit` and `epochs=4` take "
        "half a minute with `width=16`, two to three minutes with `width=32`.",
        "`batch_size=128` gives twice as many steps an epoch, and `mirrored=True` in "
        "`embed` helps a little. `return embed(own, pictures, mirrored=True)`; in the "
        "check cell hand in `x_train[own_pictures]`.",
        "Gold wants more: all of `rest`, `width=32`, `epochs=11`. That is the full "
        "size, about seven minutes.",
    ],
)
def garment_vectors(answer: Answer, trained_on: Any) -> str:
    """Judge vectors by ten neighbours; `trained_on` are their network's pictures."""
    from course_utils.data import load_fashion_mnist

    from sklearn.neighbors import NearestNeighbors

    (x_train, y_train), (x_test, y_test) = load_fashion_mnist()
    rng, train = np.random.default_rng(56), [picture.tobytes() for picture in x_train]
    look_up = partial(_origin, train=train, test=[one.tobytes() for one in x_test])
    handed_in = _expect_training_pictures(trained_on, look_up)
    _expect_honest_notes(answer, handed_in, look_up)
    _expect_that_it_looks(answer, x_test[rng.permutation(len(x_test))[:200]])

    shuffled = rng.permutation(len(x_train))
    bank, others = shuffled[:10_000], shuffled[10_000:]
    tested = rng.permutation(len(x_test))[:ASKED]
    index = NearestNeighbors(n_neighbors=N_NEIGHBORS, algorithm="brute")
    index.fit(_vectors(answer, x_train[bank]))

    def accuracy(x: np.ndarray, y: np.ndarray) -> float:
        found = index.kneighbors(_vectors(answer, x), return_distance=False)
        return share_right(y_train[bank][found], y)

    on_test = accuracy(x_test[tested], y_test[tested])
    score = f"{_percent(on_test)} of the test pictures"
    is_own = np.array([train[i] in handed_in for i in others])
    on_train: dict[str, float] = {}
    halves = {"handed in": others[is_own], "did not hand in": others[~is_own]}
    for you, rows in halves.items():
        # As many of each label, as in the test set: some labels are harder.
        each = min(ASKED // 10, np.bincount(y_train[rows], minlength=10).min())
        if 10 * each < FEWEST:
            continue
        rows = np.concatenate([rows[y_train[rows] == k][:each] for k in range(10)])
        share = on_train[you] = accuracy(x_train[rows], y_train[rows])
        # Three standard errors of the difference of two shares.
        chance = 3 * math.sqrt(share * (1 - share) * (1 / len(rows) + 1 / ASKED))
        if on_test > share + max(chance, LEAST_GAP) or on_test >= TOO_GOOD:
            fail(
                f"Your network is right on {score} and on {_percent(share)} of the "
                f"training pictures that you {you}: that is what a network does that "
                "was trained on test images. Train on pictures of x_train only."
            )
    if on_test < BAR:
        fail(f"{score} are right by ten neighbours, {_what_next(on_test, on_train)}")
    if len(handed_in) < FEWEST:
        fail(
            f"{score} are right, and you handed in {len(handed_in):,} training "
            "pictures: too few to learn that from. Hand in all that it trained on."
        )
    told = f"{score} right by ten neighbours"
    if on_test >= GOLD:
        told = f"Gold: {told} (gold begins at {GOLD:.0%})."
    else:
        told += (
            f" (bar: {BAR:.0%}). Gold begins at {GOLD:.0%}: more epochs or more "
            "training pictures may get there."
        )
    if "did not hand in" not in on_train:
        return f"{told} Too few training pictures were left to compare with."
    unseen = _percent(on_train["did not hand in"])
    return f"{told} Of training pictures that you did not hand in: {unseen}."


def share_right(neighbor_labels: Any, labels: np.ndarray, tie: float = 0.0) -> float:
    """Share of right votes; ties go to the smaller label, or below 0 are lost."""
    votes = (neighbor_labels[:, :, None] == np.arange(10)).sum(axis=1, dtype=float)
    votes[np.arange(len(labels)), labels] += tie
    return float(np.mean(votes.argmax(axis=1) == labels))


def _percent(share: float) -> str:
    """Round down, so that no score below a bar reads as if it had reached it."""
    return f"{math.floor(1_000 * share) / 10:.1f}%"


def _vectors(answer: Answer, pictures: np.ndarray) -> np.ndarray:
    """Vectors of pictures, of the right form."""
    # `predict` without verbose=0 would print a bar for each call.
    with contextlib.redirect_stdout(io.StringIO()):
        got = as_array("garment_vectors", answer(pictures))
    n = len(pictures)
    if got.ndim != 2 or len(got) != n:
        slip = "I asked for one row of numbers for each picture."
        if got.shape == (n,):
            slip = "Are those labels? I asked for vectors."
        elif got.ndim and len(got) != n:
            slip = "Do you answer the pictures that are handed in?"
        fail(f"For {n:,} pictures your function returned shape {got.shape}. {slip}")
    if got.shape[1] > MAX_COLUMNS:
        fail(f"Your vectors have {got.shape[1]} numbers; give at most {MAX_COLUMNS}.")
    if not np.isfinite(got).all():
        if n == 1:  # of many pictures they were finite
            fail(COMPANY)
        fail(
            "Your vectors hold NaN or infinite numbers: did the training diverge? Try "
            "a lower learning rate."
        )
    return got.astype(np.float32)


def _expect_that_it_looks(answer: Answer, pictures: np.ndarray) -> None:
    """Refuse vectors that are one point, or that do not come from the pictures."""
    first = _vectors(answer, pictures)
    total = float(np.sqrt(first.var(axis=0).sum()))
    size = float(np.sqrt(np.mean(first**2)))
    if first.std(axis=0).max() <= 1e-4 * max(size, 1e-12):
        fail(
            "All pictures get the same vector: your network collapsed to a point. "
            "That happens when nothing pushes labels apart, or when the learning rate "
            "is too high."
        )
    if len(np.unique(np.round(first / size, 4), axis=0)) <= 20:
        fail(
            f"Your vectors of {len(pictures)} pictures take only a handful of values: "
            "are those labels, written as numbers? I asked for the embedder's vectors."
        )

    def differ(one: np.ndarray, by: float) -> bool:
        """Whether the mean distance is more than so many standard deviations."""
        return np.linalg.norm(one - first[: len(one)], axis=1).mean() > by * total

    again, turned = _vectors(answer, pictures), _vectors(answer, pictures[::-1])
    if differ(again, 0.5):
        fail(
            "The same pictures get quite other vectors the second time. Do you build "
            "or train the network inside the function? Do it once, before. Or it "
            "ignores its input, and chance decides."
        )
    if differ(again, 0.02):
        fail(
            "The same pictures get other vectors the second time. Is dropout or noise "
            "still at work? `embed` and `predict` switch it off."
        )
    if not differ(turned, 0.02):
        fail(
            "Other pictures in the same places get the same vectors: your network "
            "ignores its input, and the place in the batch decides."
        )
    alone = np.concatenate([_vectors(answer, pictures[i : i + 1]) for i in range(4)])
    if differ(turned[::-1], 0.02) or differ(alone, 0.1):
        fail(COMPANY)


def _expect_training_pictures(trained_on: Any, look_up: LookUp) -> set[Any]:
    """Return the official training pictures among those handed in, as bytes."""
    pictures = np.asarray(trained_on)
    if not _are_pictures(pictures):
        fail(
            "The second argument should hold the pictures that your network trained "
            f"on, of shape (n, 28, 28); yours has shape {pictures.shape}."
        )
    origin = look_up(pictures)
    if origin.leaked:
        fail(
            f"{origin.leaked:,} of your {len(pictures):,} training pictures are test "
            "images: the network was trained on what it is tested with. Use pictures "
            "of x_train only."
        )
    if origin.unknown > len(pictures) / 2:
        fail(
            "Most of the pictures in the second argument are none that I know. Hand "
            "them in as load_fashion_mnist gives them."
        )
    return origin.seen


def _are_pictures(value: np.ndarray) -> bool:
    return value.dtype.kind in "uif" and value[:1].size == 784


def _origin(pictures: np.ndarray, train: list[bytes], test: list[bytes]) -> Origin:
    """Look up pictures of 0 to 255, or of floats 0 to 1."""
    if pictures.dtype.kind == "f" and pictures.max() <= 1:
        pictures = np.rint(pictures * 255)
    pictures = pictures.reshape(len(pictures), 784).astype(np.uint8)
    return origin_of([picture.tobytes() for picture in pictures], train, test)


def _expect_honest_notes(answer: Answer, handed_in: set[Any], look_up: LookUp) -> None:
    """Compare what `train` noted of the networks that a function uses."""
    for network in {id(value): value for _, value in reached(answer)}.values():
        notes = getattr(network, "trained_on", None)
        if not isinstance(notes, list | tuple):
            continue
        origins = [look_up(x) for x in map(np.asarray, notes) if _are_pictures(x)]
        leaked = sum(origin.leaked for origin in origins)
        if leaked:
            fail(
                "`train` noted that your network was trained on test images: "
                f"{leaked:,} of them. Build a new one, and train it on pictures of "
                "x_train only."
            )
        seen = set().union(*(origin.seen for origin in origins))
        if seen - handed_in:
            fail(
                f"`train` noted {len(seen):,} pictures of x_train for your network, "
                f"and you handed in {len(handed_in):,}. Hand in all that it trained "
                "on."
            )


def _what_next(on_test: float, on_train: dict[str, float]) -> str:
    own = on_train.get("handed in", 0.0)
    told = f"; of those it trained on, {_percent(own)}" if own else ""
    if on_test < 0.3:
        slip = "That is close to guessing: are pictures and labels in the same order?"
    elif on_test < UNTRAINED:
        slip = (
            "An untrained embedder gets 72% to 76%. Are the pictures scaled as in "
            "training (make_embedder scales them itself), and do both kinds of pairs "
            "count in the loss? If so, it needs more epochs."
        )
    elif own - on_test > 0.05:
        slip = "It knows its own pictures better: give it more of them."
    else:
        slip = (
            "PCA alone gets 82% to 83%. If yours is a trained network, try more "
            "epochs, a wider one, or more pictures."
        )
    return f"the bar is {BAR:.0%}{told}. {slip}"
