"""Sentence vectors from a frozen encoder, computed once and kept."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import time
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.data.fetch import (
    cache_folder,
    digest,
    fetch,
    locked,
    shared_folder,
)
from course_utils.data.fetch.catalog import DATA
from course_utils.errors import DataError
from course_utils.files import replacing
from course_utils.text import as_list, broken_character

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = 384
MAX_TOKENS = 96
BATCH = 64
FOLDER = "sentence-vectors"


class SentenceEncoder:
    """A frozen transformer that turns a text into a vector of length 1.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``config.json``, ``tokenizer.json`` and ``model.safetensors``.

    References
    ----------
    Reimers and Gurevych (2019), Sentence-BERT, EMNLP; Wang et al. (2020), MiniLM,
    NeurIPS. The model: sentence-transformers/all-MiniLM-L6-v2.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # What is not computed with, a layer for another task, stays out.
        config = BertConfig.from_json_file(str(folder / "config.json"))
        self.network = BertModel(config, add_pooling_layer=False).eval()
        weights = load_file(folder / "model.safetensors")
        missing = self.network.load_state_dict(weights, strict=False).missing_keys
        if missing:
            raise DataError(
                f"{folder}: weights of the encoder are missing ({missing[0]})."
            )

    def encode(
        self,
        texts: Sequence[str],
        *,
        max_tokens: int = MAX_TOKENS,
        progress: bool = False,
    ) -> np.ndarray:
        """Compute the vectors of texts.

        Parameters
        ----------
        texts : sequence of str
            Any number; one string is one text.
        max_tokens : int
            Words and pieces of words that are read of each, at most 512; the rest
            is cut off.
        progress : bool
            Say how long it will take, and show a bar.

        Returns
        -------
        numpy.ndarray of shape (n_texts, 384), float32
            The mean over a text's tokens, of length 1.

        Raises
        ------
        ValueError
            When `max_tokens` is not between 3 and 512.
        """
        import torch

        ids = self._tokens(texts, max_tokens)
        vectors = np.zeros((len(ids), WIDTH), np.float32)
        self.network.eval()
        for rows in _reported(_batches(ids), ids, progress):
            with torch.inference_mode():
                vectors[rows] = self._means([ids[row] for row in rows]).numpy()
        return vectors

    def embed(self, texts: Sequence[str], *, max_tokens: int = MAX_TOKENS) -> Tensor:
        """Compute the vectors of one batch so that gradients flow back.

        In training mode (``network.train()``) dropout is on.

        Parameters
        ----------
        texts : sequence of str
            At least one, or one string; all are computed at once.
        max_tokens : int
            As for `encode`.

        Returns
        -------
        torch.Tensor of shape (n_texts, 384), float32
            As `encode` gives them.

        Raises
        ------
        ValueError
            When `max_tokens` is not between 3 and 512.
        """
        return self._means(self._tokens(texts, max_tokens))

    def _tokens(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Ids of each text's first tokens."""
        if not 3 <= max_tokens <= 512:
            raise ValueError(f"max_tokens is {max_tokens}; choose 3 to 512.")
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens)
        listed = as_strings(texts)
        return [read.ids for read in self.tokenizer.encode_batch_fast(listed)]

    def _means(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Mean over each text's own tokens, of length 1."""
        import torch

        table = torch.zeros((len(ids), max(map(len, ids))), dtype=torch.long)
        real = torch.zeros((*table.shape, 1))
        for place, row in enumerate(ids):
            table[place, : len(row)] = torch.as_tensor(row)
            real[place, : len(row)] = 1
        states = self.network(table, real[..., 0]).last_hidden_state
        means = (states * real).sum(dim=1) / real.sum(dim=1)
        return torch.nn.functional.normalize(means)


def as_strings(texts: Any) -> list[str]:
    """Give texts as a list of strings; one string is one text.

    Parameters
    ----------
    texts : iterable of str, or str
        What a caller gave.

    Returns
    -------
    list of str
        The texts in their order.

    Raises
    ------
    ValueError
        When one of them is no string, or cannot be written as UTF-8.
    """
    listed = as_list(texts)
    for place, text in enumerate(listed):
        if not isinstance(text, str):
            raise ValueError(f"Text {place} is {text!r:.60}, not a string.")
        if problem := broken_character(text):
            raise ValueError(f"Text {place} {problem}.")
    return listed


@cache
def load_sentence_encoder() -> SentenceEncoder:
    """Load all-MiniLM-L6-v2, which was trained on a billion pairs of sentences.

    Returns
    -------
    SentenceEncoder
        The same one at every call.

    Raises
    ------
    DataError
        When its files can be neither found nor fetched.
    """
    return SentenceEncoder(fetch("sentence-encoder"))


def encode_sentences(
    texts: Sequence[str], *, max_tokens: int = MAX_TOKENS, progress: bool = True
) -> np.ndarray:
    """Vectors of texts, from a file where the same texts were encoded before.

    The course brings the vectors of lesson 08's posts.

    What is kept is named after the sha256 of the encoder's weights, of `max_tokens`
    and of all texts in their order: other texts never get these vectors.

    Parameters
    ----------
    texts : sequence of str
        Any number; one string is one text.
    max_tokens : int
        As for `SentenceEncoder.encode`.
    progress : bool
        Say how long the first time will take, and show a bar.

    Returns
    -------
    numpy.ndarray of shape (n_texts, 384), float32
        One row a text, of length 1 up to the rounding of the cache (float16).

    Raises
    ------
    ValueError
        When `max_tokens` is not between 3 and 512.
    DataError
        When the encoder can be neither found nor fetched.
    """
    texts = as_strings(texts)
    name = _name(texts, max_tokens)
    folders = _folders()
    for folder in folders:
        kept = _read(folder / name, len(texts))
        if kept is not None:
            return kept
    own = folders[-1]
    try:
        own.mkdir(parents=True, exist_ok=True)
        with locked(own.parent, FOLDER):
            kept = _read(own / name, len(texts))
            if kept is None:
                kept = _rounded(texts, max_tokens, progress)
                _write(kept, own / name)
    except OSError as error:
        print(
            f"{own} cannot be written ({error.strerror}): the vectors are computed for "
            "this session only.",
            file=sys.stderr,
        )
        kept = _rounded(texts, max_tokens, progress)
    return kept.astype(np.float32)


def write_news_vectors() -> None:
    """Encode the posts of lesson 08 anew, into the files that the course brings.

    ``python -m course_utils.data.sentences`` calls it; it takes minutes.

    Raises
    ------
    DataError
        When posts or encoder can be neither found nor fetched.
    """
    from course_utils.data.news import load_news

    folder = DATA / FOLDER
    for old in folder.glob("*"):
        old.unlink()
    folder.mkdir(exist_ok=True)
    for texts, _ in load_news():
        made = _rounded(list(texts), MAX_TOKENS, progress=True)
        _write(made, folder / _name(list(texts), MAX_TOKENS))


def _folders() -> list[Path]:
    """Folders that may hold vectors of texts: the course's first, the cache last."""
    shared = shared_folder()
    folders = [DATA, shared, cache_folder()] if shared else [DATA, cache_folder()]
    return [folder / FOLDER for folder in folders]


def _name(texts: Sequence[str], max_tokens: int) -> str:
    """Name of the file that keeps these texts' vectors."""
    weights = digest(fetch("sentence-encoder") / "model.safetensors")
    told = hashlib.sha256(f"{weights} {max_tokens} {len(texts)}\n".encode())
    for text in texts:
        # Each text's own digest: no two lists of texts run together alike.
        told.update(hashlib.sha256(text.encode()).digest())
    return f"{told.hexdigest()}.npy"


def _rounded(texts: Sequence[str], max_tokens: int, progress: bool) -> np.ndarray:
    encoder = load_sentence_encoder()
    made = encoder.encode(texts, max_tokens=max_tokens, progress=progress)
    return made.astype(np.float16)


def _read(path: Path, n_texts: int) -> np.ndarray | None:
    """Vectors from a file, or None where there is none that is whole."""
    try:
        noted = path.with_suffix(".sha256").read_text(encoding="utf-8").split()
        if noted[:1] != [digest(path)]:
            return None
        kept = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    return kept.astype(np.float32) if kept.shape == (n_texts, WIDTH) else None


def _write(vectors: np.ndarray, path: Path) -> None:
    """Write vectors, and note their digest."""
    with replacing(path, path.with_suffix(".sha256")) as (written, note):
        np.save(written, vectors)
        note.write_text(f"{digest(written)}  {path.name}\n", encoding="utf-8")


def _batches(ids: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Rows of similar length together, the batches in a random but fixed order."""
    order = np.argsort([len(row) for row in ids], kind="stable")
    parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    # Long and short ones mixed: the first few tell how long all will take.
    shuffled = np.random.default_rng(0).permutation(len(parts))
    return [parts[place] for place in shuffled]


def _reported(
    batches: Sequence[np.ndarray], ids: Sequence[Sequence[int]], progress: bool
) -> Iterable[np.ndarray]:
    """Give batch after batch; after the third, say how long all will take."""
    from tqdm.auto import tqdm

    total = sum(map(len, ids))
    few = not progress or len(batches) < 8
    bar: Any = contextlib.nullcontext()
    if not few:
        bar = tqdm(
            total=total, unit=" tokens", unit_scale=True, desc="encoding", leave=False
        )
    start, done = 0.0, 0
    with bar:
        for number, rows in enumerate(batches):
            yield rows
            if few:
                continue
            tokens = sum(len(ids[row]) for row in rows)
            bar.update(tokens)
            if number == 0:  # it also warms up
                start = time.perf_counter()
                continue
            done += tokens
            if number == 3:
                seconds = (time.perf_counter() - start) / done * total
                about = (
                    f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
                )
                bar.write(
                    f"Encoding {len(ids):,} texts: about {about} on this machine."
                )


if __name__ == "__main__":
    write_news_vectors()
