"""Lesson 02: five starts of each network at full size, and few labels.

Networks, TF-IDF and the views of few labels are the notebook's own: its cells tagged
``recipe``. Settings are those of the lesson; nothing is chosen here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from course_tools.bench import recipe, store, table
from course_utils.data import load_imdb
from course_utils.evaluation import Interval, accuracy, mean_interval
from course_utils.text import Vocabulary

import numpy as np

VOCAB_SIZE, MAX_WORDS, N_PAIRS = 30_000, 800, 300_000
FEW_VOCAB, FEW_WORDS = 20_000, 400
FEWEST_SEEDS = 2
LABELS = (50, 150, 500, 1_500)
N_DRAWS = 10
OWN = "table of its own"


def run(options: argparse.Namespace) -> None:
    """Measure both tables, print them, and store them with ``--store``.

    Parameters
    ----------
    options : argparse.Namespace
        ``seeds``: random starts of each network; two at least, as one number has no
        interval.
    """
    seeds = max(options.seeds, FEWEST_SEEDS)
    command = f"course bench 2 --seeds {seeds} --store"
    lesson = recipe(2)
    data = load_imdb()
    few = _rows_of_few(lesson, *data[0])
    _keep("02_few_labels", command, ["model", "labels", *FEW_COLUMNS], few)
    rows = [
        # One number, without a random start, has no interval over starts.
        [name, *(_digits(one) if one.low < one.high else [*_digits(one)[:1], "", ""])]
        for name, one in full_size(lesson, data, seeds)
    ]
    _keep("02_seeds", command, ["model", "test accuracy", "from", "to"], rows)


FEW_COLUMNS = ("accuracy", "low", "high", "minus TF-IDF", "from", "to")


def _keep(name: str, command: str, columns: list[str], rows: list[list[Any]]) -> None:
    store(name, command, columns, rows)
    print(table([columns, *([str(cell) for cell in row] for row in rows)]), flush=True)


def _digits(one: Interval) -> list[float]:
    return [round(number, 4) for number in (one.value, one.low, one.high)]


def _rows_of(texts: Any, vocabulary: Vocabulary, length: int) -> np.ndarray:
    """Ids of texts, the last ``length`` of each, zeros in front."""
    rows = np.zeros((len(texts), length), np.int32)
    for row, text in zip(rows, texts, strict=True):
        ids = vocabulary.encode(text)[-length:]
        row[length - len(ids) :] = ids
    return rows


def full_size(
    lesson: dict[str, Any], data: Any, seeds: int
) -> Iterator[tuple[str, Interval]]:
    """Test accuracy of each network over random starts, and differences.

    Parameters
    ----------
    lesson : dict
        What the notebook's recipe defines.
    data : tuple
        As `course_utils.data.load_imdb` gives it.
    seeds : int
        How often each is trained.

    Yields
    ------
    tuple of str and Interval
        Name, and the mean over the starts with its interval.
    """
    (x_train, y_train), (x_test, y_test) = data
    n_fit = int(0.8 * len(x_train))
    vocabulary = Vocabulary.from_texts(x_train, VOCAB_SIZE)
    ids, ids_test = (_rows_of(x, vocabulary, MAX_WORDS) for x in (x_train, x_test))
    frequent = lesson["frequent_pairs"](ids, VOCAB_SIZE, N_PAIRS)
    both, both_test = (
        lesson["with_pairs"](one, VOCAB_SIZE, frequent) for one in (ids, ids_test)
    )
    small, small_test = (
        np.where(one[:, -20:] < 10_000, one[:, -20:], 1) for one in (ids, ids_test)
    )
    average, original = lesson["averaging_model"], lesson["original_recipe"]
    trained = {
        "the recipe": (lambda seed: original(seed), small, small_test, 32),
        "average of words": (
            lambda seed: average(VOCAB_SIZE, seed=seed),
            ids,
            ids_test,
            128,
        ),
        "average of words + pairs": (
            lambda seed: average(VOCAB_SIZE + N_PAIRS, seed=seed),
            both,
            both_test,
            128,
        ),
    }
    scores = {}
    for name, (make, rows, rows_test, batch) in trained.items():
        scores[name] = np.zeros(seeds)
        for seed in range(seeds):
            model = lesson["learn"](make(seed), rows, y_train, batch_size=batch)
            said = lesson["chances"](model, rows_test) > 0.5
            scores[name][seed] = accuracy(y_test, said)
            print(f"  {name}, seed {seed}: {scores[name][seed]:.4f}", flush=True)
        yield name, mean_interval(scores[name])
    pairs, words = scores["average of words + pairs"], scores["average of words"]
    yield "gain by pairs", mean_interval(pairs - words)
    for name, one, one_test, size in (
        ("TF-IDF of words", ids, ids_test, VOCAB_SIZE),
        ("TF-IDF of words + pairs", both, both_test, VOCAB_SIZE + N_PAIRS),
    ):
        predict, _ = lesson["one_column_each"](one[:n_fit], y_train[:n_fit], size)
        right = accuracy(y_test, predict(one_test) > 0.5)
        yield f"{name} (no random start)", Interval(right, right, right)


def _rows_of_few(
    lesson: dict[str, Any], x_train: np.ndarray, y_train: np.ndarray
) -> list[list[Any]]:
    """Accuracy by model and number of labels, ten draws of labels each."""
    n_fit = int(0.8 * len(x_train))
    vocabulary = Vocabulary.from_texts(x_train, FEW_VOCAB)
    ids = _rows_of(x_train, vocabulary, FEW_WORDS)
    views, _ = lesson["three_views"](ids, vocabulary.words)
    scores = {}
    for size in LABELS:
        draws = _draws_of(y_train, n_fit, size)
        found = _linear(views, y_train, draws)
        found[OWN] = np.array(
            [
                _own_table(lesson, ids, y_train, part, rows, seed)
                for seed, (part, rows) in enumerate(draws)
            ]
        )
        for name, values in found.items():
            scores[name, size] = values
            print(f"  {size} labels, {name}: {mean_interval(values):.3f}", flush=True)
    return [
        [
            name,
            size,
            *_digits(mean_interval(values)),
            *_digits(mean_interval(values - scores["TF-IDF", size])),
        ]
        for name in (*views, OWN)
        for size in LABELS
        for values in [scores[name, size]]
    ]


def _draws_of(
    labels: np.ndarray, n_fit: int, size: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Reviews to learn from and to score on; no two draws share a review."""
    drawn = np.random.default_rng(0).permutation(n_fit)[: N_DRAWS * size]
    scored = np.array_split(np.arange(n_fit, len(labels)), N_DRAWS)
    return list(zip(drawn.reshape(N_DRAWS, size), scored, strict=True))


def _linear(
    views: dict[str, Any],
    labels: np.ndarray,
    draws: list[tuple[np.ndarray, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Accuracy in each draw, by view; C by cross-validation within the labelled."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    scores: dict[str, list[float]] = {name: [] for name in views}
    for part, rows in draws:
        for name, features in views.items():
            sizes = [10, 100, 1_000] if name == "TF-IDF" else [0.001, 0.01, 0.1]
            model = GridSearchCV(LogisticRegression(max_iter=300), {"C": sizes}, cv=5)
            model.fit(features[part], labels[part])
            scores[name].append(model.score(features[rows], labels[rows]))
    return {name: np.array(values) for name, values in scores.items()}


def _own_table(
    lesson: dict[str, Any],
    ids: np.ndarray,
    labels: np.ndarray,
    part: np.ndarray,
    rows: np.ndarray,
    seed: int,
) -> float:
    """Accuracy of the averaging network on labels of its own alone."""
    keras = lesson["keras"]
    model = lesson["averaging_model"](FEW_VOCAB, seed=seed)
    stopping = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    model.fit(
        ids[part],
        labels[part],
        epochs=60,
        batch_size=16,
        validation_split=0.2,
        callbacks=[stopping],
        verbose=0,
    )
    return accuracy(labels[rows], lesson["chances"](model, ids[rows]) > 0.5)
