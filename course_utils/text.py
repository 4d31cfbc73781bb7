"""Words to ids and back."""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

# Of a text from `_plain`: beyond ASCII only letters, marks and digits are left.
LATER = "\x80-\U0010ffff"
WORD = re.compile(rf"[^\W_][a-z0-9{LATER}]*(?:'(?=[^\W\d_])[a-z{LATER}]+)?")
# Typographic, modifier letter, full width, an accent typed in its place, and the
# first as Windows-1252 has it.
APOSTROPHES = "\u2019\u02bc\uff07\u00b4\u0092"
# Without a width: soft hyphen, joiners; and what chooses a character's picture.
UNSEEN = "\u00ad\u200c\u200d\u2060\ufe0e\ufe0f"
OF_WORDS = ("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd")
PADDING, UNKNOWN = "<pad>", "<unk>"


def as_list(texts: Any) -> list[Any]:
    """Give texts as a list; one string is one text, not its letters.

    Parameters
    ----------
    texts : iterable of str, or str
        Any number of texts, or a single one.

    Returns
    -------
    list
        The texts in their order.

    Raises
    ------
    ValueError
        For bytes, whose elements are numbers, and for tables.
    """
    if isinstance(texts, bytes | bytearray):
        raise ValueError("Texts came as bytes; decode them first: `.decode()`.")
    n_axes = getattr(texts, "ndim", 1)
    if n_axes > 1:
        raise ValueError("Texts came as a table; give one of its columns.")
    if n_axes == 0:
        texts = texts.item()
    return [texts] if isinstance(texts, str) else list(texts)


def broken_character(text: str) -> str:
    """Say where a text holds half a character, which no file in UTF-8 can hold.

    Parameters
    ----------
    text : str
        Any text. A tool that cuts text for JSON may leave half of an emoji.

    Returns
    -------
    str
        Empty, or the end of a sentence that begins with what the text is.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])
        return f"holds half a character, {half} at position {error.start}: remove it"
    return ""


def tokenize(text: str) -> list[str]:
    """Split a text into lower-case words; punctuation goes, *don't* stays whole.

    A word is made of letters of any alphabet, the marks that belong to them, and
    digits. Letters with an accent are one character (Unicode's form NFC), and a
    typographic apostrophe is a plain one.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    list of str
        The words in their order.

    Examples
    --------
    >>> tokenize("It’s naïve. Привет, 42!")
    ["it's", 'naïve', 'привет', '42']
    """
    text = text.lower()
    return WORD.findall(text if text.isascii() else _plain(text))


def _plain(text: str) -> str:
    """Turn what is neither ASCII nor part of a word into a space."""
    text = unicodedata.normalize("NFC", text)
    table: dict[int, str | None] = {}
    for character in set(text):
        if character in APOSTROPHES:
            table[ord(character)] = "'"
        elif character in UNSEEN:
            table[ord(character)] = None
        elif (
            not character.isascii() and unicodedata.category(character) not in OF_WORDS
        ):
            table[ord(character)] = " "
    return text.translate(table)


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
            The corpus; one string is one text.
        size : int
            Number of ids, the two special ones included; at least 3.

        Returns
        -------
        Vocabulary
            Of at most `size` ids, the most frequent word at 2; words that occur
            equally often are in alphabetical order.

        Raises
        ------
        ValueError
            When `size` leaves no room for a word.
        """
        _expect_room(size)
        counts: Counter[str] = Counter()
        for text in as_list(texts):
            counts.update(tokenize(text))
        return cls(_most_frequent(counts, size))

    @classmethod
    def encoded(
        cls, texts: Iterable[str], size: int
    ) -> tuple[Vocabulary, list[np.ndarray]]:
        """Make a vocabulary and encode the same texts, in half the time.

        Parameters
        ----------
        texts, size
            As for `from_texts`.

        Returns
        -------
        tuple of Vocabulary and list of numpy.ndarray of int32
            As `from_texts` and `encode` give them: one array a text, each a part of one
            array of all.

        Raises
        ------
        ValueError
            As `from_texts`.
        """
        _expect_room(size)
        # Each word gets the number of words before it: texts are split once only.
        numbers: defaultdict[str, int] = defaultdict()
        numbers.default_factory = numbers.__len__
        # One array for all, cut at the end: thousands of small ones between the lists
        # that are freed again would keep memory from the system.
        flat, ends = array("i"), []
        for text in as_list(texts):
            flat.extend([numbers[word] for word in tokenize(text)])
            ends.append(len(flat))
        every = np.frombuffer(flat, np.int32) if flat else np.zeros(0, np.int32)
        times = np.bincount(every, minlength=len(numbers)).tolist()
        counts = dict(zip(numbers, times, strict=True))
        made = cls(_most_frequent(counts, size))
        ids = np.array([made.index.get(word, 1) for word in numbers], np.int32)
        return made, np.split(ids[every], ends)[: len(ends)]

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


def _expect_room(size: int) -> None:
    if size < 3:
        raise ValueError(f"size is {size}; two ids are special, so take 3 or more.")


def _most_frequent(counts: Mapping[str, int], size: int) -> list[str]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [word for word, _ in ranked[: size - 2]]
