"""Nearest neighbours by annoy or faiss, with scikit-learn's estimator API."""

from course_utils.neighbors._common import BackendError, ParameterError
from course_utils.neighbors._estimator import EXACT_ROWS, FastANN
from course_utils.neighbors._parameters import DEFAULTS, METRICS
from course_utils.neighbors._votes import vote

__all__ = [
    "DEFAULTS",
    "EXACT_ROWS",
    "METRICS",
    "BackendError",
    "FastANN",
    "ParameterError",
    "vote",
]
