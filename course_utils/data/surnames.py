"""Surnames of many nationalities, in Latin letters."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from course_utils.data.fetch import catalog, fetch
from course_utils.errors import DataError

import numpy as np

Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

# Nationality: locale and attributes of Faker's provider of persons. Chinese and
# Japanese come from the lists that Faker romanised itself.
FAKER = {
    "Arabic": (
        ("ar_AA", "last_names"),
        ("ar_PS", "last_names"),
        ("ar_SA", "last_names"),
    ),
    "Armenian": (("hy_AM", "last_names"),),
    "Chinese": (("zh_CN", "last_romanized_names"), ("zh_TW", "last_romanized_names")),
    "Croatian": (("hr_HR", "last_names"),),
    "Czech": (("cs_CZ", "last_names"),),
    "Dutch": (("nl_NL", "last_names"),),
    "English": (("en_GB", "last_names"),),
    "Finnish": (("fi_FI", "last_names"),),
    "French": (("fr_FR", "last_names"),),
    "Georgian": (("ka_GE", "last_names"),),
    "German": (("de_DE", "last_names"),),
    "Greek": (("el_GR", "last_names"),),
    "Indian": (("en_IN", "last_names"),),
    "Irish": (("ga_IE", "last_names"),),
    "Italian": (("it_IT", "last_names"),),
    "Japanese": (("ja_JP", "last_romanized_names"),),
    "Polish": (("pl_PL", "male_last_names"), ("pl_PL", "unisex_last_names")),
    "Portuguese": (("pt_PT", "last_names"), ("pt_BR", "last_names")),
    "Russian": (("ru_RU", "last_names"),),
    "Spanish": (("es_ES", "last_names"),),
    "Swedish": (("sv_SE", "last_names"),),
    "Thai": (("th_TH", "last_names"), ("en_TH", "last_names")),
    "Ukrainian": (("uk_UA", "last_names"),),
}
SOURCES = ("faker", "pytorch-names")


def romanise(name: str) -> str:
    """Write a surname in the letters A to Z.

    Parameters
    ----------
    name : str
        In any alphabet.

    Returns
    -------
    str
        Each character as anyascii has it, with only letters, spaces, hyphens and
        apostrophes kept, the first letter a capital. Empty where nothing is left.

    Examples
    --------
    >>> romanise("Хрущёв"), romanise("Wiśniewski"), romanise("CHEN")
    ('Khrushchev', 'Wisniewski', 'Chen')
    """
    from anyascii import anyascii

    letters = re.sub(r"[^A-Za-z' -]", "", anyascii(name))
    letters = re.sub(r"\s+", " ", letters).strip(" '-")
    if letters.isupper():
        letters = letters.title()
    return letters[:1].upper() + letters[1:]


def load_surnames(
    source: str = "faker",
    *,
    test_size: float = 0.2,
    seed: int = 0,
    romanised: bool = True,
) -> Split:
    """Load surnames as ``(x_train, y_train), (x_test, y_test)``.

    No surname occurs on both sides: names that are written alike after `romanise`,
    capitals aside, stay together, whatever their nationalities. About `test_size`
    of each nationality's rows are held out.

    Parameters
    ----------
    source : {"faker", "pytorch-names"}
        ``"faker"``: 17,830 rows of 23 nationalities, from 29 lists of the
        package Faker, those of one nationality merged. A
        name occurs once for each nationality that has it; it may have several. Left
        out: lists of fewer than fifty names, of several peoples, of first names,
        and Hebrew, which comes out without vowels. ``"pytorch-names"``: the 20,074
        rows of PyTorch's tutorial, 18 nationalities, repeats kept.
    test_size : float
        The held-out part, between 0 and 1.
    seed : int
        Seed of the split and of the order.
    romanised : bool
        False gives the same rows in their own alphabets.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        `x` : object arrays of shape (n_names,), each element a str. `y` : int64
        arrays of shape (n_names,), positions in `surname_nationalities`.

    Raises
    ------
    ValueError
        When `source` or `test_size` is none of the above.
    DataError
        When the names can be neither found nor fetched.

    References
    ----------
    Faker: https://github.com/joke2k/faker. The tutorial: Robertson, NLP From
    Scratch: Classifying Names with a Character-Level RNN, https://pytorch.org
    """
    if not 0 < test_size < 1:
        raise ValueError(f"test_size is {test_size}; choose a number between 0 and 1.")
    rows = _rows(source)
    number = {name: i for i, name in enumerate(surname_nationalities(source))}
    keys = [romanise(name) for name, _ in rows]
    x = np.array(keys if romanised else [name for name, _ in rows], dtype=object)
    y = np.array([number[nationality] for _, nationality in rows], dtype=np.int64)
    rng = np.random.default_rng(seed)
    held_out = _hold_out([key.casefold() for key in keys], y, test_size, rng)
    halves = []
    for chosen in (~held_out, held_out):
        order = rng.permutation(np.flatnonzero(chosen))
        halves.append((x[order], y[order]))
    return halves[0], halves[1]


def surname_nationalities(source: str = "faker") -> list[str]:
    """Names of the nationalities, in the order of their labels.

    Parameters
    ----------
    source : {"faker", "pytorch-names"}
        Which set.

    Returns
    -------
    list of str
        In alphabetical order.

    Raises
    ------
    ValueError
        When `source` is none of the above.
    DataError
        With ``"pytorch-names"``, when the names can be neither found nor fetched.
    """
    return sorted({nationality for _, nationality in _rows(source)})


def _rows(source: str) -> list[tuple[str, str]]:
    """Name and nationality of each row, in an order that does not vary."""
    if source == "faker":
        return _faker_rows()
    if source == "pytorch-names":
        return _tutorial_rows(fetch("surnames-pytorch"))
    raise ValueError(f"source is {source!r}; choose one of {', '.join(SOURCES)}.")


@cache
def _faker_rows() -> list[tuple[str, str]]:
    rows = []
    for nationality, lists in FAKER.items():
        names = [name for locale, which in lists for name in _provided(locale, which)]
        first: dict[str, str] = {}
        for name in sorted(names):
            first.setdefault(romanise(name).casefold(), name)
        rows += [(name, nationality) for key, name in first.items() if key]
    return rows


def _provided(locale: str, which: str) -> Iterable[str]:
    """One list of a Faker provider, read and not drawn from."""
    try:
        module = importlib.import_module(f"faker.providers.person.{locale}")
        return list(getattr(module.Provider, which))
    except (ImportError, AttributeError):
        raise DataError(
            f"Faker's list {which} of {locale} is not here: install the version that "
            "the course names, `pip install Faker==40.54.0`."
        ) from None


@cache
def _tutorial_rows(folder: Path) -> list[tuple[str, str]]:
    names = catalog()["surnames-pytorch"].files
    return [
        (name.strip(), path.stem)
        for path in sorted(folder / file.name for file in names)
        for name in path.read_text(encoding="utf-8").split("\n")
        if name.strip()
    ]


def _hold_out(
    keys: list[str], y: np.ndarray, test_size: float, rng: np.random.Generator
) -> np.ndarray:
    """Choose rows for the test half, a name with all its rows or not at all."""
    rows_of: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        rows_of.setdefault(key, []).append(row)
    n_rows = np.bincount(y)
    n_held_out = np.zeros(len(n_rows), int)
    held_out = np.zeros(len(y), bool)
    names_of: dict[int, dict[str, None]] = {label: {} for label in range(len(n_rows))}
    for row, key in enumerate(keys):
        names_of[int(y[row])][key] = None
    # The smallest nationality first: what names it shares with larger ones is
    # decided where it weighs most.
    decided: set[str] = set()
    for label in map(int, np.argsort(n_rows, kind="stable")):
        wanted = max(1, math.floor(test_size * n_rows[label] + 0.5))
        own = list(names_of[label])
        for key in (own[place] for place in rng.permutation(len(own))):
            if key in decided:
                continue
            decided.add(key)
            labels = y[rows_of[key]]
            if n_held_out[label] + np.sum(labels == label) <= wanted:
                held_out[rows_of[key]] = True
                np.add.at(n_held_out, labels, 1)
    return held_out
