"""Helpers for a course on embeddings and transfer learning.

The root imports nothing heavy, so that ``import course_utils`` costs next to
nothing. What a lesson does stands in the lesson; here is what would distract.
"""

from __future__ import annotations

import os
from typing import TypeVar

from course_utils.errors import CourseError, DataError

__all__ = ["CourseError", "DataError", "pick", "profile", "setup"]
__version__ = "0.1.0"

# TensorFlow reads these once, while it is being imported: a notebook that
# imports course_utils first is spared pages of log lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# oneDNN announces itself on standard error at any log level, and sums in an
# order that differs between kinds of CPU.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# NumPy's linear algebra on two threads waits by spinning: a logistic regression on
# a hundred photos takes ten times longer than on one, and on a busy machine a
# hundred times. TensorFlow, torch and faiss have threads of their own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

PROFILES = ("quick", "full")
T = TypeVar("T")


def profile() -> str:
    """Name of the size of run: ``"quick"`` (default) or ``"full"``.

    Returns
    -------
    str
        The environment variable ``COURSE_PROFILE``.

    Raises
    ------
    CourseError
        When the variable holds anything else.
    """
    name = os.environ.get("COURSE_PROFILE") or "quick"
    if name not in PROFILES:
        raise CourseError(
            f"COURSE_PROFILE is '{name}'; set it to 'quick' or 'full', or unset it."
        )
    return name


def pick(*, quick: T, full: T) -> T:
    """Choose a size or a number of epochs by the profile.

    Parameters
    ----------
    quick, full : any
        The value for each profile.

    Returns
    -------
    any
        One of the two.
    """
    return quick if profile() == "quick" else full


def setup(seed: int = 0) -> None:
    """Seed every random generator in use, set the plot style, keep logs quiet.

    Parameters
    ----------
    seed : int
        Seed for Python, NumPy and, where the notebook imported them before this
        call, Keras and torch.
    """
    import logging
    import random
    import sys

    from course_utils import plotting

    import numpy as np

    profile()
    random.seed(seed)
    np.random.seed(seed)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    for chatty in ("tensorflow", "absl", "matplotlib"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    plotting.use_style()
