"""Words become ids and come back."""

from __future__ import annotations

import unicodedata

from course_utils.text import Vocabulary, tokenize

import numpy as np
import pandas as pd
import pytest

TEXTS = ["The film is GOOD, good!", "the end... isn't the END"]


def test_words_are_lower_case_and_keep_their_apostrophe():
    assert tokenize("Don't stop -- it's 7 o'clock.") == [
        "don't",
        "stop",
        "it's",
        "7",
        "o'clock",
    ]


WORDS = {
    "didn’t naïve Привет": ["didn't", "naïve", "привет"],
    "Don\u00b4t, it\u02bcs, l\u2019été": ["don't", "it's", "l'été"],
    "café CAFÉ cafe\u0301": ["café"] * 3,
    "İstanbul STRASSE ΣΟΦΟΣ": ["i\u0307stanbul", "strasse", "σοφος"],
    "हिन्दी में": ["हिन्दी", "में"],
    "שָׁלוֹם עולם": [unicodedata.normalize("NFC", "שָׁלוֹם"), "עולם"],
    "电影 很好": ["电影", "很好"],
    "under\u00adstand می\u200cخواهم": ["understand", "میخواهم"],
    "3½ stars, £5, x² – 1980s…": ["3", "stars", "5", "x", "1980s"],
    "film❤️ 1️⃣ 👍🏽": ["film", "1"],
    "‘quoted’ “words”": ["quoted", "words"],
    "\ud83d cut": ["cut"],
    "__init__ don't 80's 5'10": ["init", "don't", "80's", "5", "10"],
}


@pytest.mark.parametrize("text", WORDS, ids=ascii)
def test_words_of_any_alphabet_stay_whole(text):
    assert tokenize(text) == WORDS[text]


def test_decomposed_and_composed_texts_have_the_same_words():
    text = "Ünïcode Łódź å ế Ёлка"
    for form in ("NFC", "NFD"):
        assert tokenize(unicodedata.normalize(form, text)) == tokenize(text)


@pytest.mark.parametrize("wrap", [str, np.str_, np.array])
def test_one_string_is_one_text_and_not_its_letters(wrap):
    vocabulary = Vocabulary.from_texts(wrap("How are you? How?"), 10)
    assert vocabulary.words[2:] == ["how", "are", "you"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"How are you?", "decode them first"),
        (np.array([["How"], ["are"]]), "one of its columns"),
        (pd.DataFrame({"text": ["How", "are"]}), "one of its columns"),
    ],
    ids=["bytes", "array", "table"],
)
def test_what_only_looks_like_a_list_of_texts_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        Vocabulary.from_texts(given, 10)


def test_a_column_a_tuple_and_a_generator_are_lists_of_texts():
    for make in (pd.Series, np.array, tuple, iter):
        vocabulary = Vocabulary.from_texts(make(["How how", "are"]), 10)
        assert vocabulary.words[2:] == ["how", "are"]


def test_ids_go_by_frequency_then_by_alphabet():
    vocabulary = Vocabulary.from_texts(TEXTS, 100)
    assert vocabulary.words == [
        "<pad>",
        "<unk>",
        "the",
        "end",
        "good",
        "film",
        "is",
        "isn't",
    ]


def test_what_is_not_in_the_vocabulary_becomes_1():
    vocabulary = Vocabulary.from_texts(TEXTS, 4)
    assert len(vocabulary) == 4
    assert vocabulary.encode("The bad end") == [2, 1, 3]
    assert vocabulary.decode([0, 0, 2, 1, 3]) == "the <unk> end"


def test_an_empty_text_has_no_ids():
    assert Vocabulary.from_texts(TEXTS, 10).encode(" ...!") == []


def test_a_size_without_room_for_a_word_is_refused():
    with pytest.raises(ValueError, match="two ids are special"):
        Vocabulary.from_texts(TEXTS, 2)


def test_texts_split_once_get_the_same_vocabulary_and_ids():
    texts = [*TEXTS, "", "naïve FILM, the\u2019s film", "zebra yak zebra"]
    for size in (3, 5, 100):
        vocabulary, lists = Vocabulary.encoded(texts, size)
        assert vocabulary.words == Vocabulary.from_texts(texts, size).words
        assert [row.tolist() for row in lists] == [vocabulary.encode(t) for t in texts]
    with pytest.raises(ValueError, match="3 or more"):
        Vocabulary.encoded(texts, 2)
    assert Vocabulary.encoded([], 5)[1] == []
