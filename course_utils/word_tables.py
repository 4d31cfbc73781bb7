"""Tables of word vectors that need no labels: counted from texts, or borrowed.

Lesson 01 makes both step by step; later lessons take them from here.
"""

from __future__ import annotations

from collections.abc import Sequence

from course_utils.data import load_glove

import numpy as np


def counted_table(
    ids: np.ndarray,
    n_words: int,
    dim: int,
    *,
    window: int = 5,
    smoothing: float = 0.75,
) -> np.ndarray:
    """Count which words stand near each other; PPMI of the counts, then an SVD.

    Parameters
    ----------
    ids : numpy.ndarray of int, shape (n_texts, length)
        Texts as rows of ids, 0 where there is no word.
    n_words : int
        Size of the table; words with a larger id are left out.
    dim : int
        Columns of the table.
    window : int
        Words at most so many places apart are counted as a pair.
    smoothing : float
        Power of the counts of context words.

    Returns
    -------
    numpy.ndarray of float32, shape (n_words, dim)
        Row of each id; that of the padding is zero.

    References
    ----------
    Levy, Goldberg and Dagan (2015), Improving Distributional Similarity with Lessons
    Learned from Word Embeddings, TACL 3.
    """
    from scipy import sparse
    from sklearn.decomposition import TruncatedSVD

    counts = sparse.csr_matrix((n_words, n_words), dtype=np.float32)
    for offset in range(1, window + 1):
        left, right = ids[:, :-offset], ids[:, offset:]
        real = (left > 0) & (right > 0) & (left < n_words) & (right < n_words)
        pairs = (left[real], right[real])
        ones = np.ones(len(pairs[0]), np.float32)
        counts += sparse.coo_matrix((ones, pairs), shape=counts.shape).tocsr()
    cells = (counts + counts.T).tocoo()
    del counts
    word = np.bincount(cells.row, cells.data, minlength=n_words)
    context = word**smoothing / (word**smoothing).sum()
    values = cells.data  # in place from here on: there are millions
    values /= word.astype(np.float32)[cells.row]
    values /= context.astype(np.float32)[cells.col]
    np.log(values, out=values)
    kept = values > 0
    where = cells.row[kept], cells.col[kept]
    ppmi = sparse.csr_matrix((values[kept], where), shape=cells.shape)
    svd = TruncatedSVD(dim, random_state=0)
    return (svd.fit_transform(ppmi) / np.sqrt(svd.singular_values_)).astype(np.float32)


def borrowed_table(words: Sequence[str]) -> np.ndarray:
    """Give GloVe's vectors of these words.

    Parameters
    ----------
    words : sequence of str
        In the order of their ids.

    Returns
    -------
    numpy.ndarray of float32, shape (len(words), 50)
        Zeros for a word that GloVe does not have.
    """
    names, vectors = load_glove()
    place = {name: number for number, name in enumerate(names)}
    table = np.zeros((len(words), vectors.shape[1]), np.float32)
    known = [number for number, word in enumerate(words) if word in place]
    table[known] = vectors[[place[words[number]] for number in known]]
    return table
