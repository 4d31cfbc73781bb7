"""Search among surnames: letters read, votes tuned, unseen nationalities, processes."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from course_utils.data import romanise
from course_utils.evaluation import Interval, bootstrap

import numpy as np

CANDIDATES = (1, 3, 5, 10, 20, 40)
# What the first word of a letter's Unicode name tells about how it was read.
REMARKS = {
    "CJK": "as in Mandarin; of a Japanese or Korean name, type the letters instead",
    "HANGUL": "by one of several romanisations: 김 is usually written Kim",
    "ARABIC": "without the short vowels, which are not written",
    "HEBREW": "without most vowels, which are not written",
}
READER = """
import json, sys
path, query, n = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
if path.endswith(".annoy"):
    from annoy import AnnoyIndex
    index = AnnoyIndex(len(query), "angular")
    index.load(path)
    found = index.get_nns_by_vector(query, n)
else:
    import faiss, numpy
    index = faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
    found = index.search(numpy.float32([query]), n)[1][0]
print(*found)
"""


def available_backend() -> str:
    """Choose the index: annoy is compiled on installing, which may have failed.

    Returns
    -------
    str
        ``"annoy"``, or ``"faiss"`` after printing why.
    """
    from course_utils.neighbors import BackendError, FastANN

    try:
        FastANN(1, backend="annoy").fit([[0.0], [1.0]], [0, 1])
    except BackendError as reason:
        print(f"{reason} This lesson goes on with faiss.")
        return "faiss"
    return "annoy"


def read_letters(name: str) -> tuple[str, str]:
    """Write a name of any alphabet in the letters A to Z, and say how.

    Parameters
    ----------
    name : str
        As somebody typed it.

    Returns
    -------
    read : str
        The name as `course_utils.data.romanise` has it; what is neither a letter nor
        part of one is left out.
    remark : str
        What was read, and where that may not be the name.

    Raises
    ------
    ValueError
        When there is no letter in it, or none that can be written from A to Z.

    Examples
    --------
    >>> read_letters("Σκαβέντζου")[0], read_letters("김")[0]
    ('Skaventzoy', 'Gim')
    """
    kinds = [(letter, unicodedata.category(letter)[0]) for letter in name]
    kept = "".join(c for c, kind in kinds if kind in "LM" or c in " '’-")
    read = romanise(kept)
    letters = [c for c, kind in kinds if kind == "L"]
    if not letters or not any(c.isalpha() for c in read):
        raise ValueError(f"There is no letter in {name!r}: type a name.")
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in letters}
    remarks = [REMARKS[script] for script in sorted(scripts & set(REMARKS))]
    return read, ", ".join([f"{name} is read as {read}", *remarks])


def letter_counts(names: Sequence[str]) -> np.ndarray:
    """Count the letters A to Z of each name, as vectors of length 1.

    Parameters
    ----------
    names : sequence of str
        In Latin letters.

    Returns
    -------
    numpy.ndarray of float32, shape (n_names, 26)
        All zeros for a name without any.
    """
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    counts = [[name.lower().count(letter) for letter in alphabet] for name in names]
    made = np.array(counts, np.float32)
    return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)


def closeness(distances: np.ndarray) -> np.ndarray:
    """Weigh votes: exp((cos - 1) / 0.07), from distances √(2 − 2 cos).

    Parameters
    ----------
    distances : numpy.ndarray
        Between vectors of length 1.

    Returns
    -------
    numpy.ndarray
        1 for the same direction, less the wider the angle.

    References
    ----------
    Wu et al. (2018), Unsupervised Feature Learning via Non-parametric Instance
    Discrimination, CVPR.
    """
    return np.exp(-(distances**2) / 2 / 0.07)


def accuracy_by_k(
    distances: np.ndarray,
    near: np.ndarray,
    labels: np.ndarray,
    weigh: Callable[[np.ndarray], np.ndarray] = closeness,
) -> list[float]:
    """Accuracy of the vote for each number of neighbours in `CANDIDATES`.

    Parameters
    ----------
    distances, near : numpy.ndarray of shape (n, 40)
        Distances and labels of each item's neighbours, the nearest first.
    labels : numpy.ndarray of shape (n,)
        The right answers.
    weigh : callable
        Weights of the votes from the distances.

    Returns
    -------
    list of float
        One for each candidate.
    """
    one_hot = np.eye(near.max() + 1)[near]
    votes = np.cumsum(weigh(distances)[:, :, None] * one_hot, axis=1)
    return [
        float(np.mean(votes[:, k - 1].argmax(axis=1) == labels)) for k in CANDIDATES
    ]


def tuned_vote(
    known: Any, known_labels: np.ndarray, asked: Any, labels: np.ndarray
) -> Any:
    """Exact search; how many vote, and whether near ones count more, is chosen.

    Parameters
    ----------
    known : array-like or sparse matrix of shape (n, width)
        Vectors of length 1.
    known_labels : numpy.ndarray of shape (n,)
        Their labels.
    asked, labels
        Vectors and labels to choose by.

    Returns
    -------
    sklearn.neighbors.KNeighborsClassifier
        Fitted on `known`.
    """
    from sklearn.neighbors import KNeighborsClassifier

    search = KNeighborsClassifier(algorithm="brute").fit(known, known_labels)
    distances, rows = search.kneighbors(asked, max(CANDIDATES))
    best = 0.0
    for weigh, weights in ((np.ones_like, "uniform"), (closeness, closeness)):
        right = accuracy_by_k(distances, known_labels[rows], labels, weigh)
        if max(right) > best:
            best, k = max(right), CANDIDATES[int(np.argmax(right))]
            search.set_params(n_neighbors=k, weights=weights)
    return search


def nearest_label(vectors: Any, labels: np.ndarray) -> np.ndarray:
    """Look up each item's nearest other item.

    Parameters
    ----------
    vectors : array-like or sparse matrix of shape (n, width)
        Items.
    labels : numpy.ndarray of shape (n,)
        Their labels.

    Returns
    -------
    numpy.ndarray of shape (n,)
        The label of the nearest other item.
    """
    from sklearn.neighbors import KNeighborsClassifier

    search = KNeighborsClassifier(algorithm="brute").fit(vectors, labels)
    return labels[search.kneighbors(n_neighbors=1, return_distance=False)[:, 0]]


def nearest_cosine(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Cosine of each vector's nearest one among those that are known.

    Parameters
    ----------
    vectors, known : numpy.ndarray of shape (n, width), (m, width)
        Of length 1.

    Returns
    -------
    numpy.ndarray of shape (n,)
        From -1 to 1.
    """
    parts = np.array_split(vectors, -(-len(vectors) // 256) or 1)  # takes less memory
    return np.concatenate([(part @ known.T).max(axis=1) for part in parts])


def names_of_only(
    names: np.ndarray, labels: np.ndarray, held_out: np.ndarray
) -> np.ndarray:
    """Rows of held-out nationalities, without names that another one has too.

    Parameters
    ----------
    names, labels : numpy.ndarray of shape (n,)
        All names and their nationalities.
    held_out : numpy.ndarray
        Labels that are held out.

    Returns
    -------
    numpy.ndarray of int
        Positions.
    """
    inside = np.isin(labels, held_out)
    others = {name.casefold() for name in names[~inside]}
    alone = [name.casefold() not in others for name in names]
    return np.flatnonzero(inside & np.array(alone))


def share(values: np.ndarray) -> Interval:
    """Share of items for which something holds, with its interval over items.

    Parameters
    ----------
    values : numpy.ndarray of bool, shape (n,)
        Whether it holds.

    Returns
    -------
    Interval
        From 0 to 1.
    """
    return bootstrap(np.ones(len(values)), np.asarray(values, float))


def save_index(vectors: np.ndarray, folder: Path, backend: str) -> Path:
    """Put vectors into an index, item by item, and save it.

    Parameters
    ----------
    vectors : numpy.ndarray of shape (n, width)
        Of length 1; item 17 is row 17.
    folder : pathlib.Path
        Where.
    backend : {"annoy", "faiss"}
        Which index.

    Returns
    -------
    pathlib.Path
        The file.
    """
    path = folder / f"names.{backend}"
    if backend == "annoy":
        from annoy import AnnoyIndex

        made = AnnoyIndex(vectors.shape[1], "angular")
        made.set_seed(6)
        for number, vector in enumerate(vectors):
            made.add_item(number, vector)
        made.build(50)  # trees
        made.save(str(path))
    else:
        import faiss

        made = faiss.IndexHNSWFlat(vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        made.add(vectors)
        faiss.write_index(made, str(path))
    return path


def ask_another_process(path: Path, vector: np.ndarray, n_neighbors: int) -> list[int]:
    """Let a process that knows only the file find the nearest items.

    Parameters
    ----------
    path : pathlib.Path
        What `save_index` wrote; it is mapped into memory, not read.
    vector : numpy.ndarray of shape (width,)
        The query.
    n_neighbors : int
        How many.

    Returns
    -------
    list of int
        Items, the nearest first.
    """
    given = [str(path), json.dumps(vector.tolist()), str(n_neighbors)]
    command = [sys.executable, "-c", READER, *given]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    return [int(row) for row in ran.stdout.split()]
