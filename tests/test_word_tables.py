"""Tables that are counted or borrowed have a row for each id."""

from __future__ import annotations

from course_utils.data import load_glove
from course_utils.word_tables import borrowed_table, counted_table

import numpy as np


def test_words_that_keep_the_same_company_get_similar_rows():
    rng = np.random.default_rng(0)
    # 2 and 3 stand beside 10 to 19, 4 and 5 beside 20 to 29.
    texts = []
    for word, first in ((2, 10), (3, 10), (4, 20), (5, 20)):
        for _ in range(200):
            row = rng.integers(first, first + 10, 9)
            row[4] = word
            texts.append([0, 0, *row])
    table = counted_table(np.array(texts), 30, 4)
    assert table.shape == (30, 4) and table.dtype == np.float32
    unit = table[2:6] / np.linalg.norm(table[2:6], axis=1, keepdims=True)
    cosine = unit @ unit.T
    assert cosine[0, 1] > 0.9 and cosine[2, 3] > 0.9
    assert np.abs(cosine[:2, 2:]).max() < 0.5


def test_padding_and_ids_beyond_the_table_are_left_out():
    texts = np.tile([0, 2, 3, 99, 4, 5], (50, 1))
    table = counted_table(texts, 6, 2)
    assert table.shape == (6, 2) and np.isfinite(table).all()
    assert not table[:2].any()


def test_a_borrowed_table_has_gloves_rows_and_zeros():
    names, vectors = load_glove()
    table = borrowed_table(["<pad>", names[7], "no-such-word", names[3]])
    np.testing.assert_array_equal(table[[1, 3]], vectors[[7, 3]])
    assert not table[[0, 2]].any()
