"""Import this before Keras, and TensorFlow computes with oneDNN.

On Intel and AMD processors oneDNN's convolutions take about a quarter of the time.
The package's root leaves it off, because it sums in an order that differs between
kinds of processors, and because it announces itself on standard error whatever the
log level. Here that one line is kept back. Where TensorFlow has been imported
already, nothing changes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

SWITCH = "TF_ENABLE_ONEDNN_OPTS"


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


if "tensorflow" not in sys.modules:
    # Other processes that this one starts decide for themselves.
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "1"
    try:
        with _without_standard_error():
            import tensorflow  # noqa: F401
    finally:
        if before is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = before
