"""Lesson 03: designs at full size, a frozen encoder, and the copy of 46 topics.

Networks are the notebook's own: its cells tagged ``recipe``. The frozen encoder runs in
a process of its own: torch and TensorFlow do not share one. Nothing is chosen here but
the penalty of the head on frozen vectors, on the lesson's validation stories.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from course_tools.bench import recipe, run_apart, store, table
from course_utils.data import encode_sentences, load_reuters, reuters_topics
from course_utils.errors import DataError
from course_utils.evaluation import (
    accuracy,
    macro_f1,
    paired_bootstrap,
)
from course_utils.text import Vocabulary

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.svm import LinearSVC

FEWEST_SEEDS = 2
VOCAB_SIZE, LENGTH = 20_000, 300
# The Keras copy holds ids; Chollet's book keeps as many words.
KERAS_VOCAB_SIZE, KERAS_LENGTH = 10_000, 250
# all-MiniLM-L6-v2 was trained on the first 128 tokens of each text.
MAX_TOKENS = 128
PENALTIES = (0.1, 1.0, 10.0)
WORDS, WEIGHTED = "TF-IDF + SVM", "TF-IDF + SVM, class weights"
ATTENTION = "attention"
LEADS = (
    "accuracy, class weights minus none",
    "macro-F1, class weights minus none",
)
HEADS = (
    "model",
    "accuracy",
    "macro-F1",
    "accuracy minus weighted SVM",
    "macro-F1 minus weighted SVM",
)
Answers = dict[str, np.ndarray]


def run(options: argparse.Namespace) -> None:
    """Measure all tables, print them, and store them with ``--store``.

    Parameters
    ----------
    options : argparse.Namespace
        ``seeds``: random starts of each network; two at least.
    """
    lesson, seeds = recipe(3), range(max(options.seeds, FEWEST_SEEDS))
    command = f"course bench 3 --seeds {len(seeds)} --store"
    machines = {**linear(), **run_frozen()}
    designs = together(networks(lesson, seed) for seed in seeds)
    report_designs({**machines, **designs}, command)
    try:
        machines = linear_46()
    except DataError as error:
        print(f"The copy of 46 topics is left out. {error}", flush=True)
        return
    copy = together(network_46(lesson, seed) for seed in seeds)
    report_copy({**machines, **copy}, command)


def together(runs: Iterable[Answers]) -> Answers:
    """Put the answers of several random starts side by side.

    Parameters
    ----------
    runs : iterable of dict
        Answers of each start by name, of shape (n_stories,).

    Returns
    -------
    dict
        By name, of shape (n_stories, n_starts).
    """
    made = list(runs)
    return {name: np.stack([one[name] for one in made], axis=1) for name in made[0]}


def linear() -> Answers:
    """Answers of linear machines on TF-IDF to the test stories, by name."""
    (x_train, y_train), (x_test, _) = load_reuters()
    return _machines(TfidfVectorizer(), x_train, y_train, x_test)


def linear_46() -> Answers:
    """Answers of the same machines for the Keras copy, whose words are ids."""
    (x_train, y_train), (x_test, _) = load_reuters("keras", num_words=KERAS_VOCAB_SIZE)
    columns = TfidfVectorizer(analyzer=lambda ids: ids)
    most = np.full(len(x_test), np.bincount(y_train).argmax())
    return {
        "always the largest": most,
        **_machines(columns, x_train, y_train, x_test),
    }


def _machines(columns: Any, x_train: Any, y_train: Any, x_test: Any) -> Answers:
    bags = columns.fit_transform(x_train)
    asked = columns.transform(x_test)
    return {
        name: LinearSVC(class_weight=how, random_state=0)
        .fit(bags, y_train)
        .predict(asked)
        for name, how in ((WORDS, None), (WEIGHTED, "balanced"))
    }


def run_frozen() -> Answers:
    """Answers of linear heads on frozen vectors, from another process."""
    said = run_apart(__name__, [])
    return {line["name"]: np.array(line["answers"]) for line in said}


def frozen() -> Answers:
    """Answers of linear machines on frozen MiniLM vectors, by name."""
    (x_train, y_train), (x_test, _) = load_reuters()
    vectors = encode_sentences([*x_train, *x_test], max_tokens=MAX_TOKENS)
    learn, asked = vectors[: len(x_train)], vectors[len(x_train) :]
    fit, val = train_test_split(np.arange(len(learn)), test_size=1_000, random_state=0)
    found = {}
    for name, how in (("", None), (", class weights", "balanced")):
        machines = [
            LinearSVC(C=c, class_weight=how, dual=True, random_state=0)
            for c in PENALTIES
        ]
        scores = [
            machine.fit(learn[fit], y_train[fit]).score(learn[val], y_train[val])
            for machine in machines
        ]
        best = machines[int(np.argmax(scores))].fit(learn, y_train)
        found[f"frozen MiniLM vectors + SVM{name}"] = best.predict(asked)
    return found


def networks(lesson: dict[str, Any], seed: int) -> Answers:
    """Answers of the lesson's designs, trained on all training stories.

    Parameters
    ----------
    lesson : dict
        What the notebook's recipe defines.
    seed : int
        Of the random start.

    Returns
    -------
    dict
        Labels of the test stories, by the network's name.
    """
    (x_train, y_train), (x_test, _) = load_reuters()
    vocabulary = Vocabulary.from_texts(x_train, VOCAB_SIZE)
    rows, asked = (
        _padded([vocabulary.encode(text) for text in texts], LENGTH)
        for texts in (x_train, x_test)
    )
    sizes = (VOCAB_SIZE, LENGTH, len(reuters_topics()))
    weights = len(y_train) / (sizes[2] * np.bincount(y_train))
    found = {}
    for name, make, how in (
        (ATTENTION, lesson["attention"], None),
        (f"{ATTENTION}, class weights", lesson["attention"], weights),
        ("convolution", lesson["convolutional"], None),
    ):
        answer = _trained(lesson, make, sizes, (rows, y_train), seed, how)
        found[name] = answer(asked).argmax(axis=1)
        print(f"seed {seed}: {name}", flush=True)
    return found


def network_46(lesson: dict[str, Any], seed: int) -> Answers:
    """Answers of `attention` for the Keras copy, after one random start."""
    (x_train, y_train), (x_test, _) = load_reuters("keras", num_words=KERAS_VOCAB_SIZE)
    rows, asked = (_padded(ids, KERAS_LENGTH) for ids in (x_train, x_test))
    sizes = (KERAS_VOCAB_SIZE, KERAS_LENGTH, len(reuters_topics("keras")))
    answer = _trained(lesson, lesson["attention"], sizes, (rows, y_train), seed, None)
    print(f"seed {seed}: 46 topics", flush=True)
    return {ATTENTION: answer(asked).argmax(axis=1)}


def _padded(ids: Any, length: int) -> np.ndarray:
    from course_utils.frameworks import import_keras

    pad = import_keras().utils.pad_sequences
    return pad(list(ids), length, padding="post", truncating="post")


def _trained(
    lesson: dict[str, Any],
    make: Any,
    sizes: tuple[int, int, int],
    taught: tuple[np.ndarray, np.ndarray],
    seed: int,
    weights: np.ndarray | None,
) -> Any:
    lesson["keras"].utils.set_random_seed(seed)
    network = make(*sizes)
    network.fit(
        *taught,
        epochs=lesson["N_EPOCHS"][make.__name__],
        batch_size=128,
        class_weight=None if weights is None else dict(enumerate(weights)),
        verbose=0,
    )
    return lambda rows: network.predict(rows, batch_size=256, verbose=0)


def mean_of(score: Any) -> Any:
    """Score that takes several columns of answers and averages over them."""

    def of_columns(truth: np.ndarray, answers: np.ndarray) -> float:
        return float(np.mean([score(truth, column) for column in answers.T]))

    return of_columns


def compare(
    truth: np.ndarray, answers: Mapping[str, np.ndarray], beside: str
) -> list[list[str]]:
    """Scores of each model, and its lead over one of them.

    Parameters
    ----------
    truth : numpy.ndarray of shape (n_stories,)
        Labels.
    answers : mapping of str to numpy.ndarray
        Of shape (n_stories,) or (n_stories, n_starts).
    beside : str
        The model that the others are compared with.

    Returns
    -------
    list of list of str
        Name, accuracy, macro-F1 and the two differences, with intervals over stories.
    """
    made = {name: one.reshape(len(one), -1) for name, one in answers.items()}
    rows = []
    for name, one in made.items():
        row, other = [name], made[beside]
        for score in (accuracy, macro_f1):
            row.append(f"{mean_of(score)(truth, one):.3f}")
        for score in (accuracy, macro_f1):
            lead = paired_bootstrap(truth, one, other, mean_of(score))
            row.append("" if name == beside else f"{lead:.3f}")
        rows.append(row)
    return rows


def by_start(
    truth: np.ndarray, first: np.ndarray, second: np.ndarray
) -> list[list[str]]:
    """Lead of one way to train over another, one random start a row.

    Parameters
    ----------
    truth : numpy.ndarray of shape (n_stories,)
        Labels.
    first, second : numpy.ndarray of shape (n_stories, n_starts)
        Answers.

    Returns
    -------
    list of list of str
        Start, lead in accuracy and in macro-F1, with intervals over stories.
    """
    return [
        [f"start {number}"]
        + [
            f"{paired_bootstrap(truth, *pair, score):.3f}"
            for score in (accuracy, macro_f1)
        ]
        for number, pair in enumerate(zip(first.T, second.T, strict=True))
    ]


def report_designs(answers: Answers, command: str) -> None:
    """Print and store the tables of networks on the 52 topics.

    Parameters
    ----------
    answers : dict
        As `networks`, `linear` and `frozen` give them.
    command : str
        What measures them again.
    """
    truth = load_reuters()[1][1]
    _keep(command, "03_designs", HEADS, compare(truth, answers, WEIGHTED))
    pair = answers[f"{ATTENTION}, class weights"], answers[ATTENTION]
    _keep(command, "03_class_weights", ("attention", *LEADS), by_start(truth, *pair))


def report_copy(answers: Answers, command: str) -> None:
    """Print and store the table of the 46 topics.

    Parameters
    ----------
    answers : dict
        As `network_46` and `linear_46` give them.
    command : str
        What measures them again.
    """
    truth = load_reuters("keras")[1][1]
    _keep(command, "03_topics_46", HEADS, compare(truth, answers, WEIGHTED))


def _keep(
    command: str, name: str, columns: Sequence[str], rows: list[list[str]]
) -> None:
    store(name, command, columns, rows)
    print(table([columns, *rows]), flush=True)


if __name__ == "__main__":
    for told, labels in frozen().items():
        print(json.dumps({"name": told, "answers": labels.tolist()}), flush=True)
