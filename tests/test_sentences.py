"""Sentence vectors are those of the published model, and are computed once."""

from __future__ import annotations

import json
import os

from course_utils.data import (
    encode_sentences,
    fetch,
    load_news,
    load_sentence_encoder,
)
from course_utils.data import sentences as module

import numpy as np
import pytest

TEXTS = ["the goalie saved the game", "the keeper stopped the puck", "a lamp for sale"]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Keep vectors in an empty folder; the encoder's files stay where they are."""
    folder = fetch.fetch("sentence-encoder")
    monkeypatch.setattr(module, "fetch", lambda name: folder)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("COURSE_DATA_SHARED", raising=False)
    return tmp_path / module.FOLDER


@pytest.fixture
def counted(monkeypatch):
    """How many texts were really encoded."""
    encoded = []
    plain = module.SentenceEncoder.encode

    def encode(self, texts, **options):
        encoded.extend(texts)
        return plain(self, texts, **options)

    monkeypatch.setattr(module.SentenceEncoder, "encode", encode)
    return encoded


def by_hand(text, folder):
    """One vector by BERT's equations in NumPy, no library but the weights' reader."""
    from safetensors.numpy import load_file
    from scipy.special import erf, softmax
    from tokenizers import Tokenizer

    w = load_file(folder / "model.safetensors")
    heads = json.loads((folder / "config.json").read_text())["num_attention_heads"]

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    ids = tokenizer.encode(text).ids
    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(
        x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm"
    )
    for layer in range(6):
        at = f"encoder.layer.{layer}"
        q, k, v = (
            linear(x, f"{at}.attention.self.{part}")
            .reshape(len(ids), heads, -1)
            .transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        seen = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]), axis=-1) @ v
        seen = linear(
            seen.transpose(1, 0, 2).reshape(len(ids), -1),
            f"{at}.attention.output.dense",
        )
        x = norm(x + seen, f"{at}.attention.output.LayerNorm")
        y = linear(x, f"{at}.intermediate.dense")
        y = linear(y * (1 + erf(y / np.sqrt(2))) / 2, f"{at}.output.dense")
        x = norm(x + y, f"{at}.output.LayerNorm")
    vector = x.mean(axis=0)
    return vector / np.linalg.norm(vector)


def test_vectors_are_those_of_the_equations():
    vectors = load_sentence_encoder().encode(TEXTS)
    folder = fetch.fetch("sentence-encoder")
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(vector, by_hand(text, folder), atol=2e-5)


def test_a_vector_does_not_hang_on_the_texts_beside_it():
    encoder = load_sentence_encoder()
    together = encoder.encode([*TEXTS, "word " * 300])
    apart = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together[:3], apart, atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert apart[0] @ apart[1] > apart[0] @ apart[2] + 0.2
    assert encoder.encode([]).shape == (0, 384)


@pytest.mark.parametrize("wrap", [str, np.str_, np.array])
def test_one_string_is_one_text_and_not_its_letters(own_cache, wrap):
    encoder = load_sentence_encoder()
    expected = encoder.encode([TEXTS[0]])
    np.testing.assert_array_equal(encoder.encode(wrap(TEXTS[0])), expected)
    embedded = encoder.embed(wrap(TEXTS[0])).detach().numpy()
    np.testing.assert_allclose(embedded, expected, atol=2e-5)
    kept = encode_sentences(wrap(TEXTS[0]))
    np.testing.assert_allclose(kept, expected, atol=1e-3)
    assert np.array_equal(encode_sentences([TEXTS[0]]), kept)
    assert len(list(own_cache.glob("*.npy"))) == 1


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["fine", None], "Text 1 is None, not a string"),
        ([["two", "words"]], "Text 0 is .'two', 'words'., not a string"),
        ([float("nan")], "Text 0 is nan, not a string"),
        (b"bytes", "decode them first"),
        (["cut \ud83d"], "Text 0 holds half a character"),
    ],
    ids=ascii,
)
def test_what_is_no_text_is_refused_in_one_sentence(own_cache, texts, words):
    encoder = load_sentence_encoder()
    for encode in (encoder.encode, encoder.embed, encode_sentences):
        with pytest.raises(ValueError, match=words):
            encode(texts)


def test_what_is_past_the_last_token_is_not_read():
    vectors = load_sentence_encoder().encode(
        ["word " * 20 + end for end in ("ice", "war")], max_tokens=12
    )
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    with pytest.raises(ValueError, match="choose 3 to 512"):
        load_sentence_encoder().encode(TEXTS, max_tokens=513)


def test_the_same_texts_are_encoded_once(own_cache, counted):
    first = encode_sentences(TEXTS, progress=False)
    again = encode_sentences(np.array(TEXTS, dtype=object))
    assert np.array_equal(first, again) and len(counted) == 3
    assert first.dtype == np.float32 and first.shape == (3, 384)
    assert len(list(own_cache.glob("*.npy"))) == 1


@pytest.mark.parametrize(
    "changed",
    [
        (TEXTS[::-1], {}),
        ([TEXTS[0], TEXTS[1] + TEXTS[2]], {}),
        (TEXTS, {"max_tokens": 5}),
    ],
)
def test_other_texts_or_tokens_get_vectors_of_their_own(own_cache, counted, changed):
    encode_sentences(TEXTS)
    texts, options = changed
    encode_sentences(texts, **options)
    assert len(counted) == 3 + len(texts)
    assert len(list(own_cache.glob("*.npy"))) == 2


def test_other_weights_get_vectors_of_their_own(own_cache, counted, monkeypatch):
    encode_sentences(TEXTS)
    monkeypatch.setattr(module, "digest", lambda path: "another")
    encode_sentences(TEXTS)
    assert len(counted) == 6


@pytest.mark.parametrize("harm", [b"", b"\x93NUMPY\x01\x00", None])
def test_a_damaged_file_is_not_believed(own_cache, counted, harm):
    encode_sentences(TEXTS)
    (path,) = own_cache.glob("*.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if harm is None else harm)
    encode_sentences(TEXTS)
    assert len(counted) == 6
    assert path.read_bytes() == whole


def test_nothing_half_written_is_left_behind(own_cache, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        encode_sentences(TEXTS)
    assert list(own_cache.iterdir()) == []


def test_a_shared_folder_is_looked_in_first(own_cache, counted, monkeypatch, tmp_path):
    encode_sentences(TEXTS)
    monkeypatch.setenv("COURSE_DATA_SHARED", str(own_cache.parent))
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "other"))
    encode_sentences(TEXTS)
    assert len(counted) == 3


def test_the_first_time_an_estimate_is_shown_and_then_no_more(own_cache, capsys):
    texts = [f"post number {n} about the weather" for n in range(600)]
    encode_sentences(texts)
    said = capsys.readouterr()
    assert "Encoding 600 texts: about" in said.out + said.err
    encode_sentences(texts)
    said = capsys.readouterr()
    assert said.out + said.err == ""


def test_long_and_short_texts_take_turns_so_that_the_estimate_is_honest():
    ids = [[0] * n for n in np.random.default_rng(0).permutation(2000) % 96 + 1]
    batches = module._batches(ids)
    assert sorted(np.concatenate(batches)) == list(range(2000))
    tokens = np.array([sum(len(ids[row]) for row in rows) for rows in batches])
    rank = np.corrcoef(np.arange(len(tokens)), tokens)[0, 1]
    assert abs(rank) < 0.5
    for rows in batches:
        lengths = [len(ids[row]) for row in rows]
        assert max(lengths) - min(lengths) <= 5


def test_the_vectors_that_the_course_brings_are_its_posts(own_cache, counted):
    (texts, _), (more, _) = load_news()
    for posts in (texts, more):
        kept = encode_sentences(list(posts))
        assert counted == [] and len(kept) == len(posts)
        rows = np.random.default_rng(0).permutation(len(posts))[:16]
        made = load_sentence_encoder().encode([posts[row] for row in rows])
        # Kept with half the digits, so a thousandth of a number is lost.
        np.testing.assert_allclose(kept[rows], made, atol=2e-4)
        counted.clear()
    assert not list(own_cache.glob("*"))


@pytest.mark.long
def test_all_vectors_that_the_course_brings_are_as_encoded_anew(
    own_cache, tmp_path, monkeypatch
):
    brought = module.DATA / module.FOLDER
    monkeypatch.setattr(module, "DATA", tmp_path / "made")
    (tmp_path / "made").mkdir()
    module.write_news_vectors()
    made = sorted((tmp_path / "made" / module.FOLDER).iterdir())
    assert [path.name for path in made] == sorted(p.name for p in brought.iterdir())
    for path in made:
        if path.suffix == ".npy":
            kept = np.load(brought / path.name).astype(float)
            np.testing.assert_allclose(np.load(path), kept, atol=2e-3)
