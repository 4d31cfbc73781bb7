"""Train word vectors in a process of its own: by the course's code, or by gensim's.

``python -m course_tools.bench.word2vec ours|gensim TEXTS TABLE SETTINGS [FOLDER]``
prints one JSON object. Both use one thread, and the time is that of training alone, in
seconds of the processor, so that other work on the machine counts little.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def save_texts(file: Path, sequences: list[np.ndarray]) -> None:
    """Write sequences of ids to one file.

    Parameters
    ----------
    file : pathlib.Path
        Where to, ``.npz``.
    sequences : list of numpy.ndarray of int
        Ids of words.
    """
    lengths = np.array([len(row) for row in sequences])
    np.savez(file, ids=np.concatenate(sequences), lengths=lengths)


def read_texts(file: str) -> list[np.ndarray]:
    """Read what `save_texts` wrote.

    Parameters
    ----------
    file : str
        The file.

    Returns
    -------
    list of numpy.ndarray of int
        The sequences.
    """
    with np.load(file, allow_pickle=False) as kept:
        return np.split(kept["ids"], np.cumsum(kept["lengths"])[:-1])


def train_ours(sequences: list[np.ndarray], n_words: int, **settings: Any) -> Any:
    """Train by `course_utils.skip_gram`.

    Parameters
    ----------
    sequences : list of numpy.ndarray of int
        Texts.
    n_words : int
        Size of the vocabulary.
    **settings
        As of `course_utils.skip_gram.train_skip_gram`.

    Returns
    -------
    table : numpy.ndarray of shape (n_words, dimensions)
        The vectors.
    report : dict
        ``seconds`` of the processor, and ``pairs`` trained on.
    """
    from course_utils.skip_gram import SkipGram, fit_skip_gram

    import torch

    torch.set_num_threads(1)
    model = SkipGram(n_words, settings.pop("dimensions"), settings["seed"])
    start = time.process_time()
    n_pairs = fit_skip_gram(model, sequences, **settings)
    seconds = time.process_time() - start
    table = model.centers.weight.detach().numpy()
    return table, {"seconds": seconds, "pairs": n_pairs}


def train_gensim(sequences: list[np.ndarray], n_words: int, **settings: Any) -> Any:
    """Train by gensim's ``Word2Vec``.

    Parameters
    ----------
    sequences, n_words, **settings
        As of `train_ours`.

    Returns
    -------
    table : numpy.ndarray of shape (n_words, dimensions)
        The vectors.
    report : dict
        ``seconds`` of the processor.
    """
    from gensim.models import Word2Vec  # in a folder of its own, see lesson_09

    texts = [[str(number) for number in row] for row in sequences]
    model = Word2Vec(
        vector_size=settings["dimensions"],
        window=settings["window"],
        negative=settings["n_negatives"],
        sample=settings["subsample"],
        alpha=settings["rate"],
        min_alpha=settings["rate"] * 0.004,
        ns_exponent=settings["power"],
        epochs=settings["epochs"],
        seed=settings["seed"],
        sg=1,
        min_count=1,
        workers=1,
    )
    model.build_vocab(texts)
    start = time.process_time()
    model.train(texts, total_examples=len(texts), epochs=settings["epochs"])
    seconds = time.process_time() - start
    table = np.zeros((n_words, settings["dimensions"]), np.float32)
    for row, word in enumerate(model.wv.index_to_key):
        table[int(word)] = model.wv.vectors[row]
    return table, {"seconds": seconds}


def main(who: str, texts: str, target: str, settings: str, folder: str = "") -> None:
    """Train, write the table and print the report.

    Parameters
    ----------
    who : {"ours", "gensim"}
        Whose code.
    texts, target : str
        Files to read and to write.
    settings : str
        JSON, with ``n_words``.
    folder : str
        Where gensim is installed.
    """
    if folder:
        sys.path.insert(0, folder)
    train = {"ours": train_ours, "gensim": train_gensim}[who]
    table, report = train(read_texts(texts), **json.loads(settings))
    np.save(target, table, allow_pickle=False)
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
