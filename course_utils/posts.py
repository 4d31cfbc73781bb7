"""Lesson 08's posts: their vectors and threads, what is held out, what is labelled."""

from __future__ import annotations

from collections.abc import Sequence

from course_utils.data import encode_sentences, load_news
from course_utils.weak_supervision import ABSTAIN

import numpy as np

SHARE_HELD_OUT = 0.4


def find_threads(texts: Sequence[str]) -> np.ndarray:
    """Tell threads apart by the first two words of the subject.

    Parameters
    ----------
    texts : sequence of n str
        Posts that begin with their subject, without "re".

    Returns
    -------
    numpy.ndarray of shape (n,), int64
        A number for each thread, from 0 on.
    """
    heads = [" ".join(text.split()[:2]) for text in texts]
    return np.unique(heads, return_inverse=True)[1]


def load_posts() -> tuple[np.ndarray, ...]:
    """Load all posts of 20 Newsgroups' four desks; of the threads 40 % are held out.

    Returns
    -------
    texts : numpy.ndarray of shape (n,), object
        Posts, the training half of the published split first.
    vectors : numpy.ndarray of shape (n, 384), float32
        From the frozen sentence encoder, each of length 1.
    labels : numpy.ndarray of shape (n,), int64
        Places in ``NEWS_DESKS``.
    threads : numpy.ndarray of shape (n,), int64
        As `find_threads` numbers them.
    held_out : numpy.ndarray of shape (n,), bool
        Whether the post's thread is held out.
    """
    (x, y), (more_x, more_y) = load_news()
    texts, labels = np.concatenate([x, more_x]), np.concatenate([y, more_y])
    vectors = np.concatenate(
        [encode_sentences(x.tolist()), encode_sentences(more_x.tolist())]
    )
    threads = find_threads(texts.tolist())
    order = np.random.default_rng(0).permutation(threads.max() + 1)
    held_out = np.isin(threads, order[: int(SHARE_HELD_OUT * len(order))])
    return texts, vectors, labels, threads, held_out


def one_of_each(rows: np.ndarray, threads: np.ndarray) -> np.ndarray:
    """Keep of these rows the first of each thread, in their order.

    Parameters
    ----------
    rows : numpy.ndarray of shape (m,), int
        Rows of posts.
    threads : numpy.ndarray of shape (n,), int
        Thread of every post.

    Returns
    -------
    numpy.ndarray of shape (n_threads,), int
        A part of `rows`.
    """
    first = np.unique(threads[rows], return_index=True)[1]
    return rows[np.sort(first)]


def reveal(
    truth: np.ndarray, threads: np.ndarray, n_labelled: int, seed: int = 0
) -> np.ndarray:
    """Reveal the labels of some posts, one a thread.

    Parameters
    ----------
    truth : numpy.ndarray of shape (n,), int
        True labels.
    threads : numpy.ndarray of shape (n,), int
        Thread of every post.
    n_labelled : int
        How many labels.
    seed : int
        Chooses the posts.

    Returns
    -------
    numpy.ndarray of shape (n,), int
        Labels; -1 for posts that nobody has looked at.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(one_of_each(np.arange(len(truth)), threads))[:n_labelled]
    manual = np.full(len(truth), ABSTAIN)
    manual[chosen] = truth[chosen]
    return manual
