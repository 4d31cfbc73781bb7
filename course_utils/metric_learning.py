"""Losses that pull vectors of one label together and push others apart.

Both look at every pair of a batch. Both have Keras's form ``loss(y_true, y_pred)``
and are written with ``keras.ops``, so that they run on any of its backends. They are
registered: a network compiled with one can be cloned, saved and loaded. Vectors of
half precision are widened to float32, and so is the loss.
"""

from __future__ import annotations

import math
from typing import Any

from course_utils.frameworks import import_keras

keras = import_keras()
ops, saving = keras.ops, keras.saving

# Far below any similarity, yet finite: infinity times zero would be NaN.
NEVER = -1e9
# From here on, two whole numbers may be one and the same number of that type. Keras
# turns a batch's labels into float32 before a loss sees them.
MERGED_FROM = {"bfloat16": 2**8, "float16": 2**11, "float32": 2**24, "float64": 2**53}


@saving.register_keras_serializable(package="course_utils")
def contrastive(y_true: Any, y_pred: Any, *, margin: float = 1.0) -> Any:
    """Contrastive loss over all pairs of a batch.

    A pair (i, j) of one label costs d(i, j)², a pair of two labels
    max(0, margin − d(i, j))², where d is the Euclidean distance.

    Parameters
    ----------
    y_true : array of shape (n,) or (n, 1)
        Labels, below 2²⁴ where they reach the loss through Keras's ``fit``.
    y_pred : array of shape (n, embedding_dim), float
        Vectors.
    margin : float
        Distance from which a pair of two labels costs nothing, in units of the
        vectors; above 0.

    Returns
    -------
    tensor of shape (n,)
        Mean cost of each vector's n − 1 pairs; 0 where the batch holds one vector.

    Raises
    ------
    ValueError
        When `margin` is not above 0, or labels are so large that two of them may be
        the same floating-point number. In a graph compiled by XLA the loss is NaN
        then.

    References
    ----------
    Hadsell, Chopra and LeCun (2006), Dimensionality Reduction by Learning an
    Invariant Mapping, CVPR, equation 4, without its factor ½.
    """
    if not margin > 0:
        raise ValueError(f"margin is {margin}; choose a number above 0.")
    y_pred = _widened(y_pred)
    same, itself = _pairs(y_true, y_pred)
    norms = ops.sum(ops.square(y_pred), axis=1)
    products = ops.matmul(y_pred, ops.transpose(y_pred))
    squared = ops.maximum(norms[:, None] + norms[None, :] - 2 * products, 0)
    # The slope of a root is infinite at 0; vectors that coincide get slope 0.
    distance = ops.sqrt(ops.maximum(squared, 1e-12))
    apart = ops.square(ops.maximum(margin - distance, 0))
    cost = (same * squared + (1 - same) * apart) * (1 - itself)
    others = ops.maximum(ops.sum(1 - itself, axis=1), 1)
    return ops.sum(cost, axis=1) / others


@saving.register_keras_serializable(package="course_utils")
def supervised_contrastive(
    y_true: Any, y_pred: Any, *, temperature: float = 0.1
) -> Any:
    """Supervised contrastive loss of a batch.

    For vector i, let s(j) be its dot product with vector j, divided by the
    temperature. Each other vector p of i's label costs
    log Σ exp s(j) − s(p), the sum over all j but i; the loss of i is the mean over
    those p.

    Parameters
    ----------
    y_true : array of shape (n,) or (n, 1)
        Labels, below 2²⁴ where they reach the loss through Keras's ``fit``.
    y_pred : array of shape (n, embedding_dim), float
        Vectors of length 1.
    temperature : float
        How sharply the nearest vectors decide; above 0.

    Returns
    -------
    tensor of shape (n,)
        The loss of each vector in nats; 0 where no other vector has its label.

    Raises
    ------
    ValueError
        When `temperature` is not above 0, or labels are so large that two of them may
        be the same floating-point number. In a graph compiled by XLA the loss is NaN
        then.

    References
    ----------
    Khosla et al. (2020), Supervised Contrastive Learning, NeurIPS, equation 2.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; choose a number above 0.")
    y_pred = _widened(y_pred)
    same, itself = _pairs(y_true, y_pred)
    similarity = ops.matmul(y_pred, ops.transpose(y_pred)) / temperature
    similarity = ops.where(itself > 0, NEVER, similarity)
    positives = same * (1 - itself)
    cross_entropy = ops.logsumexp(similarity, axis=1, keepdims=True) - similarity
    n_positives = ops.maximum(ops.sum(positives, axis=1), 1)
    return ops.sum(positives * cross_entropy, axis=1) / n_positives


def _widened(y_pred: Any) -> Any:
    """Vectors in float32, if they are not in float32 or float64."""
    y_pred = ops.convert_to_tensor(y_pred)
    if keras.backend.standardize_dtype(y_pred.dtype) in ("float32", "float64"):
        return y_pred
    return ops.cast(y_pred, "float32")


def _pairs(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Two (n, n) tables of 0 and 1: which pairs share a label, which are one vector."""
    labels = ops.reshape(y_true, (-1,))
    same = ops.cast(ops.equal(labels[:, None], labels[None, :]), y_pred.dtype)
    itself = ops.eye(ops.shape(labels)[0], dtype=y_pred.dtype)
    merged = _refuse_merged(labels)
    return same if merged is None else ops.where(merged, math.nan, same), itself


def _refuse_merged(labels: Any) -> Any:
    """Raise where labels may have become equal; None if their type rules that out."""
    limit = MERGED_FROM.get(keras.backend.standardize_dtype(labels.dtype))
    if limit is None:
        return None
    merged = ops.any(ops.abs(labels) >= limit)
    message = (
        f"Labels of {limit:,} or more may have become equal as floating-point numbers: "
        "number them from 0, `labels = np.unique(labels, return_inverse=True)[1]`."
    )
    try:
        refused = bool(merged)
    except TypeError:  # known only when the graph runs
        if keras.backend.backend() == "tensorflow":
            import tensorflow

            tensorflow.debugging.Assert(ops.logical_not(merged), [message])
        return merged
    if refused:
        raise ValueError(message)
    return None
