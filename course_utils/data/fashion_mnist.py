"""Pictures of garments, and vectors that a network learned from them."""

from __future__ import annotations

import gzip
from pathlib import Path

from course_utils.data.fetch import digest, fetch
from course_utils.data.fetch.catalog import DATA
from course_utils.errors import DataError
from course_utils.files import replacing

import numpy as np

Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
UNSIGNED_BYTES = 8
VECTORS = "garment-vectors"
HALVES = {"train": 60_000, "test": 10_000}
WIDTH = 32


def load_fashion_mnist() -> Split:
    """Load Fashion-MNIST as ``(x_train, y_train), (x_test, y_test)``.

    The four files have the same bytes wherever they come from: `fetch` compares
    their digests.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        `x` : uint8 arrays of shape (60000, 28, 28) and (10000, 28, 28), 0 is the
        background. `y` : uint8 arrays of shape (60000,) and (10000,), indices into
        ``FASHION_MNIST_CLASSES``.

    Raises
    ------
    DataError
        When the pictures can be neither found nor fetched, or a file is no array of
        bytes.

    References
    ----------
    Xiao, Rasul and Vollgraf (2017), Fashion-MNIST: a Novel Image Dataset for
    Benchmarking Machine Learning Algorithms, arXiv:1708.07747.
    """
    folder = fetch("fashion-mnist")
    x_train, y_train, x_test, y_test = (
        read_idx(folder / f"{half}-{part}-ubyte.gz")
        for half in ("train", "t10k")
        for part in ("images-idx3", "labels-idx1")
    )
    return (x_train, y_train), (x_test, y_test)


def read_idx(path: Path) -> np.ndarray:
    """Read a compressed IDX file of unsigned bytes.

    Parameters
    ----------
    path : pathlib.Path
        A gzip file: two zero bytes, a type, the number of axes, the length of each
        axis as four bytes, then the values row by row.

    Returns
    -------
    numpy.ndarray of uint8
        An array of its own, which may be written to.

    Raises
    ------
    DataError
        When the file holds something else.

    References
    ----------
    LeCun, Cortes and Burges, The MNIST database, section "File formats".
    """
    try:
        with gzip.open(path) as stream:
            content = stream.read()
    except (OSError, EOFError) as error:
        raise DataError(f"{path} is not a complete gzip file: {error}.") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, UNSIGNED_BYTES]):
        raise DataError(f"{path} is no IDX file of unsigned bytes.")
    start = 4 + 4 * content[3]
    head = content[4:start].ljust(start - 4, b"\0")
    shape = tuple(np.frombuffer(head, dtype=">u4").tolist())
    values = np.frombuffer(content, dtype=np.uint8)[start:]
    if len(content) < start or values.size != np.prod(shape, dtype=int):
        raise DataError(
            f"{path} announces an array of shape {shape} and holds {values.size:,} "
            "values."
        )
    return values.reshape(shape).copy()


def load_garment_vectors() -> tuple[np.ndarray, np.ndarray]:
    """Load lesson 05's learned vectors of all pictures of Fashion-MNIST.

    They come with the course. The embedder of lesson 05, at its full size, was trained
    on the 60,000 training pictures and their labels; a picture's vector is the mean of
    its own and its mirror image's. ``course bench 5 --garment-vectors`` computes them
    again.

    Returns
    -------
    train, test : numpy.ndarray of shape (60000, 32) and (10000, 32), float32
        Rows of length 1, kept in half precision, in the order of
        `load_fashion_mnist`.

    Raises
    ------
    DataError
        When a file is missing, or failed its checksum.
    """
    train, test = (_read_vectors(half) for half in HALVES)
    return train, test


def write_garment_vectors(train: np.ndarray, test: np.ndarray) -> None:
    """Write the files that `load_garment_vectors` reads, with their checksums.

    Parameters
    ----------
    train, test : numpy.ndarray of shape (60000, 32) and (10000, 32)
        Rows of length 1.

    Raises
    ------
    ValueError
        When one has another shape.
    """
    folder = DATA / VECTORS
    folder.mkdir(exist_ok=True)
    for half, vectors in zip(HALVES, (train, test), strict=True):
        shape = (HALVES[half], WIDTH)
        if vectors.shape != shape:
            raise ValueError(f"Vectors of shape {vectors.shape}; expected {shape}.")
        path = folder / f"{half}.npy"
        with replacing(path, path.with_suffix(".sha256")) as (written, note):
            np.save(written, vectors.astype(np.float16))
            note.write_text(f"{digest(written)}  {path.name}\n", encoding="utf-8")


def _read_vectors(half: str) -> np.ndarray:
    """Rows of length 1 from a file that passed its checksum."""
    path = DATA / VECTORS / f"{half}.npy"
    cure = "install the course again, or restore the file from its repository"
    try:
        noted = path.with_suffix(".sha256").read_text(encoding="utf-8").split()
        if noted[:1] != [digest(path)]:
            raise DataError(f"{path} failed its checksum: {cure}.")
        kept = np.load(path, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): {cure}.") from error
    return kept / np.linalg.norm(kept, axis=1, keepdims=True)
