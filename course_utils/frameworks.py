"""What has to be set before a framework loads, and how many threads BLAS takes."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from types import ModuleType

from course_utils.errors import CourseError

SWITCH = "TF_ENABLE_ONEDNN_OPTS"
# Two parameters of glibc's malloc.h, by number, and what is a large block in bytes.
TRIM_THRESHOLD, MMAP_THRESHOLD, LARGE_BLOCK = -1, -3, 2_000_000
# What this process's TensorFlow was imported with; None: not by this module.
_onednn: bool | None = None


def configure_tensorflow(*, onednn: bool = False) -> None:
    """Import TensorFlow without its log lines, and with or without oneDNN.

    TensorFlow and Keras read these settings while they are imported, so call this
    before anything imports one of them; a second call changes nothing. Environment
    variables of yours win: ``TF_CPP_MIN_LOG_LEVEL`` (else 3, errors only),
    ``KERAS_BACKEND`` (else ``tensorflow``) and ``TF_ENABLE_ONEDNN_OPTS`` (else
    `onednn`). The first two stay set; the last is as it was after the import, so
    that processes which this one starts decide for themselves. Also calls
    `return_freed_memory`.

    Parameters
    ----------
    onednn : bool
        Whether TensorFlow computes with oneDNN on Intel and AMD processors. Its
        convolutions take about a quarter of the time there; it sums in an order that
        differs between kinds of processors. The line that it writes to standard error
        at any log level is not shown.

    Raises
    ------
    CourseError
        When TensorFlow or Keras was imported before, with other settings.
    """
    global _onednn
    chosen = os.environ.get(SWITCH)
    if "tensorflow" in sys.modules or "keras" in sys.modules:
        if chosen is None and _onednn != onednn:
            raise CourseError(
                "TensorFlow was imported before "
                f"course_utils.configure_tensorflow(onednn={onednn}), so its numbers "
                "may differ from those of the lesson: restart the kernel and run the "
                "first cell first."
            )
        return
    return_freed_memory()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    on = os.environ.setdefault(SWITCH, str(int(onednn))) != "0"
    try:
        with _without_standard_error() if on else contextlib.nullcontext():
            import tensorflow  # noqa: F401
    finally:
        if chosen is None:
            del os.environ[SWITCH]
    _onednn = onednn


def return_freed_memory() -> None:
    """Let glibc return large freed blocks to the system at once.

    By default it learns from each freed block to keep those of up to 32 MB for later
    use. Lesson 04 then holds up to 1.6 GB where 1.4 GB suffice. Elsewhere than on Linux
    with glibc, and where the environment variable ``MALLOC_MMAP_THRESHOLD_`` decides,
    nothing happens.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    # A system without glibc has no such function.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            mallopt(parameter, LARGE_BLOCK)


def tidy_after_cells() -> None:
    """Collect garbage at the end of each cell, and return its memory to the system.

    A Keras model refers to itself, so it stays until Python searches for garbage, which
    it does seldom beside TensorFlow's many objects. What exists at the first call is
    left out of each search, which takes milliseconds then. Nothing happens outside a
    notebook; small blocks go back on Linux with glibc.
    """
    from course_utils.checks.answers import shell

    kernel = shell()
    if kernel is not None and _tidy not in kernel.events.callbacks["post_run_cell"]:
        gc.collect()
        gc.freeze()
        kernel.events.register("post_run_cell", _tidy)


def _tidy(_: object = None) -> None:
    gc.collect()
    # A system without glibc has no such function.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def import_keras() -> ModuleType:
    """Import Keras for code that a lesson may call before it imports Keras itself.

    Returns
    -------
    module
        ``keras``; with `configure_tensorflow` called first if neither Keras nor
        TensorFlow was imported yet.
    """
    if "tensorflow" not in sys.modules and "keras" not in sys.modules:
        configure_tensorflow()
    import keras

    return keras


def limit_blas_threads() -> None:
    """Let NumPy's and SciPy's linear algebra compute on one thread.

    Where the environment variable ``OPENBLAS_NUM_THREADS`` is set, nothing changes.
    """
    if os.environ.get("OPENBLAS_NUM_THREADS"):
        return
    # Each of the two has its own copy of BLAS, which must be loaded to be limited.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    for library in ThreadpoolController().lib_controllers:
        # On two threads it waits by spinning: a logistic regression on a hundred photos
        # takes ten times longer than on one, and on a busy machine a hundred times.
        # A BLAS on OpenMP's threads, as in faiss, would limit its host as well.
        layer = getattr(library, "threading_layer", None)
        if library.user_api == "blas" and layer != "openmp":
            library.set_num_threads(1)


@contextlib.contextmanager
def _without_standard_error() -> Iterator[None]:
    """Send what compiled code writes to file descriptor 2 to nowhere."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
