"""Uses of a word in the posts of 20 Newsgroups, and its vector in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from course_utils.data import NEWS_DESKS, load_news, load_sentence_encoder
from course_utils.posts import find_threads

import numpy as np


@dataclass(frozen=True)
class Uses:
    """Places where one word stands, one in each thread of a desk.

    Attributes
    ----------
    words : list of list of str
        The words around it, itself included.
    places : numpy.ndarray of shape (n,), int
        Where in that list it stands.
    desks : numpy.ndarray of shape (n,), int
        Places in ``NEWS_DESKS``.
    threads : numpy.ndarray of shape (n,), int
        Number of each thread.
    """

    words: list[list[str]]
    places: np.ndarray
    desks: np.ndarray
    threads: np.ndarray


def find_uses(wanted: dict[str, tuple[str, str]], around: int = 10) -> dict[str, Uses]:
    """Find words in the posts of two desks each.

    Of a thread, the first post with the word counts, and there its first use.

    Parameters
    ----------
    wanted : dict of str to tuple of str
        By word, two names of ``NEWS_DESKS``.
    around : int
        How many words to keep on each side, where there are as many.

    Returns
    -------
    dict of str to Uses
        By word.

    Raises
    ------
    DataError
        When the posts can be neither found nor fetched.
    """
    (x, y), (more_x, more_y) = load_news()
    texts, desks = [*x, *more_x], np.concatenate([y, more_y])
    threads = find_threads(texts)
    posts = [text.split() for text in texts]
    found = {}
    for word, names in wanted.items():
        chosen = [NEWS_DESKS.index(name) for name in names]
        first: dict[tuple[int, int], int] = {}
        for number, post in enumerate(posts):
            if desks[number] in chosen and word in post:
                first.setdefault((int(threads[number]), int(desks[number])), number)
        rows = list(first.values())
        at = [posts[row].index(word) for row in rows]
        starts = [max(0, place - around) for place in at]
        found[word] = Uses(
            [
                posts[row][start : place + around + 1]
                for row, start, place in zip(rows, starts, at, strict=True)
            ],
            np.subtract(at, starts),
            desks[rows],
            threads[rows],
        )
    return found


def vectors_in_context(
    words: Sequence[Sequence[str]], places: Sequence[int], *, batch: int = 64
) -> np.ndarray:
    """Compute the vectors that MiniLM's last layer gives one word of each text.

    Parameters
    ----------
    words : sequence of sequence of str
        Texts as lists of words.
    places : sequence of int
        Which word of each.
    batch : int
        Texts computed at once.

    Returns
    -------
    numpy.ndarray of shape (n_texts, 384), float32
        The mean over the pieces that the word is cut into.

    Raises
    ------
    DataError
        When the encoder can be neither found nor fetched.
    """
    import torch

    encoder = load_sentence_encoder()
    encoder.tokenizer.no_padding()
    encoder.tokenizer.enable_truncation(512)
    read = encoder.tokenizer.encode_batch(
        [list(one) for one in words], is_pretokenized=True
    )
    vectors = np.zeros((len(read), encoder.network.config.hidden_size), np.float32)
    order = np.argsort([len(one.ids) for one in read], kind="stable")
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        longest = max(len(read[row].ids) for row in rows)
        ids = torch.zeros((len(rows), longest), dtype=torch.long)
        real = torch.zeros((len(rows), longest))
        mine = torch.zeros((len(rows), longest))
        for line, row in enumerate(rows):
            n_tokens = len(read[row].ids)
            ids[line, :n_tokens] = torch.as_tensor(read[row].ids)
            real[line, :n_tokens] = 1
            own = [number == places[row] for number in read[row].word_ids]
            mine[line, :n_tokens] = torch.as_tensor(own).float()
        with torch.inference_mode():
            states = encoder.network(ids, real).last_hidden_state
        pieces = mine.sum(dim=1, keepdim=True).clamp(min=1)
        vectors[rows] = ((states * mine[..., None]).sum(dim=1) / pieces).numpy()
    return vectors
