"""Words to ids and back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
PADDING, UNKNOWN = "<pad>", "<unk>"


def tokenize(text: str) -> list[str]:
    """Split a text into lower-case words; punctuation goes, *don't* stays whole.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    list of str
        The words in their order.
    """
    return WORD.findall(text.lower())


class Vocabulary:
    """The most frequent words of a corpus, each with an id.

    Id 0 stands for padding and 1 for every word that is not in the vocabulary,
    as in ``keras.layers.TextVectorization``.

    Parameters
    ----------
    words : sequence of str
        The words in the order of their ids, the two special ones not included.

    Attributes
    ----------
    words : list of str
        The word of each id, the two special ones first.
    index : dict of str to int
        The id of each word.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [PADDING, UNKNOWN, *words]
        self.index = {word: number for number, word in enumerate(self.words)}

    @classmethod
    def from_texts(cls, texts: Iterable[str], size: int) -> Vocabulary:
        """Count the words of a corpus and keep the most frequent.

        Parameters
        ----------
        texts : iterable of str
            The corpus.
        size : int
            Number of ids, the two special ones included; at least 3.

        Returns
        -------
        Vocabulary
            Of at most `size` ids, the most frequent word at 2; words that occur
            equally often stand in alphabetical order.

        Raises
        ------
        ValueError
            When `size` leaves no room for a word.
        """
        if size < 3:
            raise ValueError(f"size is {size}; two ids are special, so take 3 or more.")
        counts = Counter(word for text in texts for word in tokenize(text))
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls([word for word, _ in ranked[: size - 2]])

    def __len__(self) -> int:
        """Count the ids, the two special ones included."""
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Turn a text into ids.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        list of int
            One id a word; 1 for words that are not in the vocabulary.
        """
        index = self.index
        return [index.get(word, 1) for word in tokenize(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids back into words, padding left out.

        Parameters
        ----------
        ids : iterable of int
            Ids, each below ``len(self)``.

        Returns
        -------
        str
            The words, separated by spaces.
        """
        return " ".join(self.words[number] for number in ids if number)
