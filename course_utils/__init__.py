"""Helpers for a course on embeddings and transfer learning.

Importing the root costs next to nothing and changes nothing in the process: no
environment variable, no number of threads. What a lesson does is in the lesson;
here is what would distract.
"""

from __future__ import annotations

import os
from typing import TypeVar

from course_utils.errors import CourseError, DataError
from course_utils.frameworks import configure_tensorflow

__all__ = [
    "CourseError",
    "DataError",
    "configure_tensorflow",
    "pick",
    "profile",
    "setup",
]
__version__ = "0.1.0"

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

    In a notebook, figures get an alternative text and tables heads for screen readers,
    a check whose answer's cell was not run says so, and memory that a cell freed goes
    back to the system when it ends.
    NumPy's and SciPy's linear algebra computes on one thread from here on, unless the
    environment variable ``OPENBLAS_NUM_THREADS`` is set. TensorFlow, torch and faiss
    keep their threads.

    Parameters
    ----------
    seed : int
        Seed for Python, NumPy and, where the notebook imported them before this
        call, Keras and torch.
    """
    import logging
    import random
    import sys

    from course_utils import plotting, table_heads
    from course_utils.checks.unrun import tell_of_cells_not_run
    from course_utils.frameworks import limit_blas_threads, tidy_after_cells

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
    table_heads.head_tables()
    tell_of_cells_not_run()
    tidy_after_cells()
    limit_blas_threads()
