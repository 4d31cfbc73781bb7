"""What the estimator, its indexes and its files share."""

from __future__ import annotations

from typing import Any

from course_utils.errors import CourseError, UsageError

import numpy as np

# 1 - cos of float32 unit vectors is wrong by about this much.
COSINE_ROUNDING = 1e-6
BLOCK = 1 << 22  # numbers held at once where rows are taken in blocks
SPARE = 8  # neighbours beyond those asked for whose distances are computed well


class ParameterError(UsageError, ValueError):
    """A parameter, or a combination of them, that FastANN does not offer."""


class BackendError(CourseError, ImportError):
    """annoy or faiss is missing, or built wrongly."""


class NotOfferedError(ParameterError, AttributeError):
    """A method that the index at hand does not have: `hasattr` says False."""


class Misfit(ValueError):
    """What a saved index says of itself cannot be."""


def expect(right: Any, why: str) -> None:
    if not right:
        raise Misfit(why)


def is_narrow(X: np.ndarray) -> bool:
    """Whether float32 keeps the numbers as they are."""
    return X.dtype == np.float32 or X.dtype.itemsize <= 2


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1, but for those of zeros."""
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    odd = np.flatnonzero(~((length > 1e-9) & (length < 1e9)))
    if odd.size:  # their squares would be 0 or infinity
        rows = rows.copy()
        largest = np.abs(rows[odd]).max(axis=1, keepdims=True)
        rows[odd] = np.ldexp(rows[odd], -np.frexp(largest)[1])
        length = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return rows / np.where(length == 0, 1, length)[:, None]


def cosine_units(
    cosine: np.ndarray, metric: str, rounding: float = COSINE_ROUNDING
) -> np.ndarray:
    cosine = np.where(cosine < rounding, 0, np.minimum(cosine, 2))
    return np.sqrt(2 * cosine) if metric == "angular" else cosine


def padded(rows: np.ndarray, width: int) -> np.ndarray:
    lacking = width - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, lacking))) if lacking else rows


def blank(rows: np.ndarray) -> np.ndarray:
    """1 for each row of zeros, which is at distance 1 by cosine from all."""
    return np.asarray(~rows.any(axis=-1), np.float64)
