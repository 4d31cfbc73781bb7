"""Exercise 5.6: an embedder that the answer trains, judged by labels of neighbours."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import io
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from course_utils.checks.core import as_array, exercise, fail
from course_utils.checks.leaks import reached
from course_utils.evaluation import Interval, bootstrap, paired_bootstrap

import numpy as np

Answer = Callable[..., Any]

MAX_COLUMNS, N_NEIGHBORS, GOLD = 32, 10, 0.90
# The best published networks, far larger ones, come near; a better one has seen the
# pictures.
TOO_GOOD = 0.97
N_TRAIN = 10_000
# Training pictures that are not handed in, and the least difference that counts: honest
# networks differ by up to 1 point between these and the test pictures.
N_OTHERS, LEAST_GAP = 2_500, 0.015
COMPANY = (
    "A picture gets another vector, or none, when it comes alone or in another order. "
    "Is something computed over the batch, as normalisation does in training?"
)


@exercise(
    "5.6",
    hints=[
        "Three parts: a loss that calls `semi_hard`, a network, its training. Write "
        "the loss first; try it on `y_train[:40]` and the `z` of a cell above.",
        "`squared = 2 - 2 * ops.matmul(z, ops.transpose(z))` for vectors of length 1; "
        "labels may come as a column: `ops.reshape(y_true, (-1,))`. Losses are "
        "`ops.maximum(squared - semi_hard(squared, same) + margin, 0)`.",
        "Average over pairs of two different pictures of one label: multiply by "
        '`ops.cast(same, "float32") - ops.eye(n)`, add up each row, and divide by the '
        "number of its positives, at least 1.",
        "`own = make_embedder(width=16)`, then `train(own, pictures, labels, epochs=4, "
        "batch_size=128, loss=triplet_loss)`, and `return own`. Gold takes minutes: in "
        "one run on two cores, width 32 gave 0.894 after 10 epochs (83 s) and 0.907 "
        "after 20 (265 s).",
    ],
)
def train_embedder(answer: Answer) -> str:
    """Let it train on pictures of the check's own, and compare with PCA of the same."""
    from course_utils.data import load_fashion_mnist

    (x_train, y_train), (x_test, y_test) = load_fashion_mnist()
    rng = np.random.default_rng(56)
    rows, others = np.split(rng.permutation(len(x_train)), [N_TRAIN])
    x, y = x_train[rows], y_train[rows].astype(np.int64)
    foreign = _foreign_to(x, x_train, x_test)
    with _watched(answer, foreign) as watch:
        embedder = _embedder(answer(x, y))
    _expect_own([embedder, *(value for _, value in reached(embedder))], watch, foreign)
    _expect_that_it_looks(embedder, x_test[rng.permutation(len(x_test))[:200]])

    bank = _vectors(embedder, x)
    said = _votes(bank, y, _vectors(embedder, x_test))
    on_test = bootstrap(y_test, said)
    unseen = others[:N_OTHERS]
    said_others = _votes(bank, y, _vectors(embedder, x_train[unseen]))
    on_others = np.mean(said_others == y_train[unseen])
    score = f"{on_test:.3f} of the test pictures"
    # Three standard errors of the difference of two shares.
    chance = 3 * math.sqrt(
        on_others * (1 - on_others) * (1 / N_OTHERS + 1 / len(x_test))
    )
    if on_test.value > on_others + max(chance, LEAST_GAP) or on_test.value >= TOO_GOOD:
        fail(
            f"Your network is right on {score} and on {on_others:.3f} of training "
            "pictures that it was not given: that is what a network does that was "
            "trained on test images. Train on the pictures handed in only."
        )
    lead = _lead_over_pca(x, y, x_test, y_test, said)
    if not lead.low > 0:
        own = np.mean(_votes(bank, y, bank[:N_OTHERS]) == y[:N_OTHERS])
        fail(
            f"{score} are right by ten neighbours; minus PCA of the same pictures: "
            f"{lead:.3f}. The bar is an interval above zero. "
            f"{_what_next(on_test.value, own)}"
        )
    if not watch.n_mined:
        fail(
            f"{score} are right, but your training never called `semi_hard`, by that "
            "name. The exercise is to train with your miner: call it in a triplet "
            "loss, and hand that over, `train(own, …, loss=triplet_loss)`."
        )
    told = f"{score} right by ten neighbours; minus PCA: {lead:.3f}, all above zero."
    if on_test.value >= GOLD:
        return f"Gold: {told}"
    return f"{told} Gold begins at {GOLD:.2f}: a wider network, more epochs."


def _embedder(got: Any) -> Any:
    """Take what an answer returned for a network, or say what it is instead."""
    if got is None:
        fail("train_embedder returned None: does its last line begin with `return`?")
    if hasattr(got, "predict") or callable(got):
        return got
    if np.ndim(got):
        fail(
            "train_embedder returned an array; return the network, so that the check "
            "can show it pictures."
        )
    fail(f"train_embedder returned {type(got).__name__}; return the trained network.")


@dataclass
class _Watch:
    """What an answer's notebook held before it was called, and what the call did.

    `weights` holds a digest of each variable of a network that was there before, by
    the variable's identity; `noted` what `train` noted of it.
    """

    weights: dict[int, bytes] = field(default_factory=dict)
    noted: dict[int, list[Any]] = field(default_factory=dict)
    hidden: set[bytes] = field(default_factory=set)  # digests of shuffled weights
    models: list[Any] = field(default_factory=list)  # so that no identity is reused
    n_mined: int = 0
    n_foreign: int = 0


@contextlib.contextmanager
def _watched(answer: Answer, foreign: Callable[[Any], int]) -> Iterator[_Watch]:
    """Watch a call of an answer.

    The networks of its notebook forget what they learned from other pictures while it
    lasts, so that it may read their shapes but not copy their weights. Calls of
    `semi_hard` are counted, and foreign pictures that Keras's `fit` gets as an array.
    """
    space = _namespace(answer)
    watch = _Watch()
    watch.models = [one for one in space.values() if _variables(one)]
    watch.models += [one for _, one in reached(answer) if _variables(one)]
    for model in watch.models:
        for variable in _variables(model):
            watch.weights[id(variable)] = _digest(variable)
            watch.noted.setdefault(id(variable), []).extend(_notes(model))
    kept = [
        (variable, variable.numpy())
        for variable in {id(v): v for m in watch.models for v in _variables(m)}.values()
        if any(map(foreign, watch.noted[id(variable)]))
    ]
    rng = np.random.default_rng(57)

    def mined(*tables: Any, **named: Any) -> Any:
        watch.n_mined += 1
        return miner(*tables, **named)

    def fit(model: Any, x: Any = None, *rest: Any, **named: Any) -> Any:
        watch.n_foreign += foreign(x)
        return keras_fit(model, x, *rest, **named)

    miner: Any = space.get("semi_hard")
    keras_model = getattr(sys.modules.get("keras"), "Model", None)
    keras_fit: Any = getattr(keras_model, "fit", None)
    with contextlib.ExitStack() as after:
        for variable, value in kept:
            after.callback(variable.assign, value)
            variable.assign(rng.permutation(value.ravel()).reshape(value.shape))
            if len(np.unique(value)) > 10:  # not those that are all 0 or 1
                watch.hidden.add(_digest(variable))
        if callable(miner):
            after.callback(space.__setitem__, "semi_hard", miner)
            space["semi_hard"] = mined
        if keras_model is not None:
            after.enter_context(mock.patch.object(keras_model, "fit", fit))
        yield watch


def _namespace(answer: Any) -> dict[str, Any]:
    """Names of the notebook that an answer was written in."""
    while isinstance(answer, functools.partial):
        answer = answer.func
    return getattr(inspect.unwrap(answer), "__globals__", {})


def _variables(model: Any) -> list[Any]:
    """Weights of a Keras model or layer; of anything else none."""
    try:
        weights = list(model.weights)
    except Exception:  # no network, or one that is not built yet
        return []
    return [one for one in weights if hasattr(one, "assign") and hasattr(one, "numpy")]


def _digest(variable: Any) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(variable.numpy()).data).digest()


def _notes(model: Any) -> list[np.ndarray]:
    """Pictures that `train` noted for a network."""
    notes = getattr(model, "trained_on", None)
    if not isinstance(notes, list | tuple):
        return []
    arrays = map(np.asarray, notes)
    return [x for x in arrays if x.dtype == np.uint8 and x.shape[1:] == (28, 28)]


def _foreign_to(x: np.ndarray, *others: np.ndarray) -> Callable[[Any], int]:
    """Make a count of an array's pictures that are of `others`, but not of `x`."""
    known = {hash(p.tobytes()) for pictures in others for p in pictures}
    known -= {hash(picture.tobytes()) for picture in x}
    counted: dict[int, tuple[Any, int]] = {}  # with what was counted, to keep its id

    def foreign(given: Any) -> int:
        if id(given) not in counted:
            counted[id(given)] = given, sum(hash(p) in known for p in _bytes_of(given))
        return counted[id(given)][1]

    return foreign


def _bytes_of(given: Any) -> Iterator[bytes]:
    """Bytes of each picture, also of those that were divided by 255."""
    if type(given).__name__ == "EagerTensor":
        given = given.numpy()
    if not isinstance(given, np.ndarray) or given.dtype.kind not in "biuf":
        return
    if given.ndim > 1 and given[:1].size == 784:
        scale = 255 if given.dtype.kind == "f" and given.max(initial=0) <= 1 else 1
        for picture in given:
            yield np.round(picture * scale).astype(np.uint8).tobytes()


def _expect_own(used: Sequence[Any], watch: _Watch, foreign: Any) -> None:
    """Refuse networks that have seen other pictures, or that the call did not train."""
    for network in {id(one): one for one in used}.values():
        variables = _variables(network)
        noted = [*_notes(network)]
        for variable in variables:
            noted += watch.noted.get(id(variable), [])
        unique = {id(pictures): pictures for pictures in noted}.values()
        if n_foreign := sum(map(foreign, unique)):
            fail(
                f"`train` noted {n_foreign:,} pictures for this network that the "
                "check did not hand in. Build a new one inside the function, and "
                "train it on `pictures` and `labels`."
            )
        before = [watch.weights.get(id(variable)) for variable in variables]
        if watch.hidden & set(map(_digest, variables)):
            fail(
                "Weights of your network are copies of those of a network that was "
                "trained before; the check shuffles these while your function runs. "
                "Build a new one, and train it on `pictures` and `labels`."
            )
        if variables and before == list(map(_digest, variables)):
            fail(
                "The network that you return was there before the call, and no weight "
                "of it changed: build one inside the function, and train it there, on "
                "`pictures` and `labels`."
            )
    if watch.n_foreign:
        fail(
            f"`fit` got {watch.n_foreign:,} pictures that the check did not hand in: "
            "train on `pictures` and `labels`."
        )


def _votes(bank: np.ndarray, labels: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=N_NEIGHBORS, algorithm="brute").fit(bank)
    near = labels[index.kneighbors(vectors, return_distance=False)]
    return (near[:, :, None] == np.arange(10)).sum(axis=1).argmax(axis=1)


def _lead_over_pca(x: Any, y: Any, x_test: Any, y_test: Any, said: Any) -> Interval:
    from sklearn.decomposition import PCA

    def flat(pictures: np.ndarray) -> np.ndarray:
        return pictures.reshape(len(pictures), -1) / np.float32(255)

    pca = PCA(MAX_COLUMNS, svd_solver="covariance_eigh").fit(flat(x))
    by_pca = _votes(pca.transform(flat(x)), y, pca.transform(flat(x_test)))
    return paired_bootstrap(y_test, said, by_pca)


def share_right(neighbor_labels: Any, labels: np.ndarray, tie: float = 0.0) -> float:
    """Share of right votes; ties go to the smaller label, or below 0 are lost."""
    votes = (neighbor_labels[:, :, None] == np.arange(10)).sum(axis=1, dtype=float)
    votes[np.arange(len(labels)), labels] += tie
    return float(np.mean(votes.argmax(axis=1) == labels))


def _vectors(embedder: Any, pictures: np.ndarray) -> np.ndarray:
    """Vectors of pictures, of the right form."""
    # `predict` without verbose=0 would print a bar for each call.
    with contextlib.redirect_stdout(io.StringIO()):
        if hasattr(embedder, "predict"):
            # Keras's batches of 32 take half as long again.
            sized = {"batch_size": 200} if hasattr(embedder, "count_params") else {}
            made = embedder.predict(pictures, **sized)
        else:
            made = embedder(pictures)
        got = as_array("The network of train_embedder", made)
    n = len(pictures)
    if got.ndim != 2 or len(got) != n:
        slip = "I asked for one row of numbers for each picture."
        if got.shape == (n,):
            slip = "Are those labels? I asked for vectors."
        fail(f"For {n:,} pictures your network returned shape {got.shape}. {slip}")
    if got.shape[1] > MAX_COLUMNS:
        fail(f"Your vectors have {got.shape[1]} numbers; give at most {MAX_COLUMNS}.")
    if not np.isfinite(got).all():
        if n == 1:  # of many pictures they were finite
            fail(COMPANY)
        fail(
            "Your vectors hold NaN or infinite numbers: did the training diverge? A "
            "root has an infinite slope at 0: use squared distances. Or lower the "
            "learning rate."
        )
    return got.astype(np.float32)


def _expect_that_it_looks(embedder: Any, pictures: np.ndarray) -> None:
    """Refuse vectors that are one point, or that do not come from the pictures."""
    first = _vectors(embedder, pictures)
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

    again, turned = _vectors(embedder, pictures), _vectors(embedder, pictures[::-1])
    if differ(again, 0.5):
        fail(
            "The same pictures get quite other vectors the second time: your network "
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
    alone = np.concatenate([_vectors(embedder, pictures[i : i + 1]) for i in range(4)])
    if differ(turned[::-1], 0.02) or differ(alone, 0.1):
        fail(COMPANY)


def _what_next(on_test: float, own: float) -> str:
    if on_test < 0.3:
        return "That is close to guessing: are pictures and labels in the same order?"
    if on_test < 0.79:  # widths 8 to 48, of three to six starts each: 0.732 to 0.790
        return (
            "Untrained, `make_embedder` gets 0.73 to 0.79. Do positives come nearer "
            "and negatives farther in your loss, and is it a mean over the positives? "
            "If so, train for more epochs."
        )
    if own - on_test > 0.05:
        return (
            "It knows its own pictures better: shift and mirror them, as `moved` does."
        )
    return "Try more epochs, a smaller batch or a wider network."
