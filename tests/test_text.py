"""Words become ids and come back."""

from __future__ import annotations

from course_utils.text import Vocabulary, tokenize

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
