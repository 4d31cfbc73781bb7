"""Whether annoy is installed, and finds what it should.

Some compilers build annoy 1.17.3 so that it finds one neighbour only (spotify/annoy
issues 679 and 682).
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

REBUILD = (
    "ANNOY_COMPILER_ARGS='-O3,-fno-fast-math,-D_CRT_SECURE_NO_WARNINGS,"
    "-DANNOYLIB_MULTITHREADED_BUILD,-std=c++14' "
    f"{sys.executable} -m pip install --force-reinstall --no-deps --no-binary=annoy "
    "--no-cache-dir annoy==1.17.3"
)
# Ten points on a line: the three nearest to the first are known beforehand.
TEST = """
from annoy import AnnoyIndex
index = AnnoyIndex(2, "euclidean")
index.set_seed(1)
for number in range(10):
    index.add_item(number, [float(number), 1.0])
index.build(10)
print(index.get_nns_by_item(0, 3))
"""


def is_installed() -> bool:
    """Whether the package annoy is installed; not whether it works."""
    try:
        metadata.version("annoy")
    except metadata.PackageNotFoundError:
        return False
    return True


def find_problem() -> tuple[str, str] | None:
    """Let annoy find neighbours that are known beforehand.

    Returns
    -------
    tuple of str, or None
        What is wrong with this build of annoy, and how to mend it.
    """
    # In a process of its own: built for another processor it may crash outright.
    ran = subprocess.run(
        [sys.executable, "-c", TEST],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if ran.returncode == 0 and ran.stdout.strip() == "[0, 1, 2]":
        return None
    found = ran.stdout.strip() or f"it ended with status {ran.returncode}"
    return (
        f"annoy is built wrongly: for the neighbours [0, 1, 2] it gave {found}",
        f"Rebuild it: {REBUILD}",
    )
