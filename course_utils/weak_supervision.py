"""Labels from heuristics: their votes, what they add up to, and records on disk.

A heuristic is a function of a text. It returns the name of a label, or a pair of name
and confidence between 0 and 1, or None where it has nothing to say. In arrays a label
is its position in a list of names, and ``ABSTAIN`` stands for none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.errors import DataError
from course_utils.files import replacing
from course_utils.text import as_list, broken_character

import numpy as np

ABSTAIN = -1
SLOPE, OFFSET = 7.0, 3.0
FIELDS = ("text", "manual_label", "weak_label", "confidence")


@dataclass
class Record:
    """A text with what is known of its label.

    Attributes
    ----------
    text : str
        The record's text.
    manual_label, weak_label : str or None
        Name of the label that a person gave, and of the one that heuristics gave.
    confidence : float
        Confidence of the weak label, 0 to 1; 0 where there is none.
    """

    text: str
    manual_label: str | None = None
    weak_label: str | None = None
    confidence: float = 0.0

    @property
    def label(self) -> str | None:
        """The manual label where there is one, else the weak label."""
        return self.manual_label if self.manual_label is not None else self.weak_label


def apply_heuristics(
    heuristics: Sequence[Callable[[str], Any]],
    texts: Iterable[str],
    label_names: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Ask every heuristic about every text.

    Parameters
    ----------
    heuristics : sequence of callable
        As described at the head of this module.
    texts : iterable of str
        n of them; one string is one text.
    label_names : sequence of str
        Names of the labels 0, 1, 2, …

    Returns
    -------
    votes : numpy.ndarray of shape (n, n_heuristics), int64
        Labels, `ABSTAIN` where a heuristic has nothing to say.
    confidences : numpy.ndarray of shape (n, n_heuristics), float64
        The heuristics' own; 1 where one gave a name only, 0 where it abstains.

    Raises
    ------
    ValueError
        When a heuristic returns anything else, or `label_names` is one string.
    """
    texts = as_list(texts)
    label_names = _names(label_names)
    number = {name: label for label, name in enumerate(label_names)}
    votes = np.full((len(texts), len(heuristics)), ABSTAIN, np.int64)
    confidences = np.zeros(votes.shape)
    for column, heuristic in enumerate(heuristics):
        for row, text in enumerate(texts):
            said = heuristic(text)
            if said is None:
                continue
            name, own = (
                said if isinstance(said, tuple) and len(said) == 2 else (said, 1)
            )
            known = isinstance(name, str) and name in number
            if not known or not _is_share(own):
                title = getattr(heuristic, "__name__", "a heuristic")
                raise ValueError(
                    f"{title} returned {said!r}; it may return one of "
                    f"{', '.join(label_names)}, or (name, confidence), or None."
                )
            votes[row, column], confidences[row, column] = number[name], own
    return votes, confidences


def heuristic_precision(votes: Any, manual: Any, n_labels: int) -> np.ndarray:
    """How often each heuristic is right with each label that it gives.

    Parameters
    ----------
    votes : array of shape (n, n_heuristics), int
        Labels or `ABSTAIN`.
    manual : array of shape (n,), int
        Labels that a person gave; `ABSTAIN` where nobody looked.
    n_labels : int
        Number of labels.

    Returns
    -------
    numpy.ndarray of shape (n_heuristics, n_labels), float64
        Of the labelled records to which the heuristic gave this label, the share
        that have it; 0 where it gave it to none: who was never right has no vote.
    """
    votes, manual = np.asarray(votes), np.asarray(manual)
    known = manual != ABSTAIN
    given = votes[known][:, :, None] == np.arange(n_labels)
    right = given & (manual[known][:, None] == np.arange(n_labels))[:, None, :]
    return right.sum(axis=0) / np.maximum(given.sum(axis=0), 1)


def weak_labels(
    votes: Any, confidences: Any, precision: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Add up the votes of each record.

    Each heuristic votes with its precision for the label it gives, times its own
    confidence. The margin is the sum of the label with most, less all the rest; the
    confidence is 1 / (1 + exp(3 - 7 · margin)).

    Parameters
    ----------
    votes : array of shape (n, n_heuristics), int
        Labels or `ABSTAIN`.
    confidences : array of shape (n, n_heuristics), float
        The heuristics' own, 0 to 1.
    precision : array of shape (n_heuristics, n_labels), float
        As `heuristic_precision` gives it.

    Returns
    -------
    labels : numpy.ndarray of shape (n,), int64
        `ABSTAIN` where the margin is not above 0: nobody voted, two labels tie, or
        the others together outweigh the best.
    confidence : numpy.ndarray of shape (n,), float64
        Between 0 and 1; 0 where there is no label.

    References
    ----------
    Kern AI, weak-nlp, https://github.com/code-kern-ai/weak-nlp: `weakly_supervise`
    with c=7 and k=3.
    """
    votes, precision = np.asarray(votes), np.asarray(precision, float)
    n_heuristics, n_labels = precision.shape
    # A label of its own for abstentions, always worth nothing.
    worth = np.concatenate([precision, np.zeros((n_heuristics, 1))], axis=1)
    weights = worth[np.arange(n_heuristics), votes] * np.asarray(confidences, float)
    sums = np.zeros((len(votes), n_labels + 1))
    for column in range(n_heuristics):
        sums[np.arange(len(votes)), votes[:, column]] += weights[:, column]
    sums = sums[:, :n_labels]
    # Sums in another order may differ in the last digit: that is no majority.
    margin = np.round(2 * sums.max(axis=1, initial=0) - sums.sum(axis=1), 12)
    sure = margin > 0
    confidence = np.where(sure, 1 / (1 + np.exp(OFFSET - SLOPE * margin)), 0.0)
    best = sums.argmax(axis=1) if n_labels else np.zeros(len(votes), np.int64)
    return np.where(sure, best, ABSTAIN), confidence


def write_records(path: str | Path, records: Iterable[Record]) -> None:
    """Write records as JSON lines: one object a line, the fields of `Record`.

    Parameters
    ----------
    path : str or pathlib.Path
        File to write; replaced whole, or not at all.
    records : iterable of Record
        In the order of the lines.

    Raises
    ------
    ValueError
        When a record holds what `read_records` would refuse.
    DataError
        When the file cannot be written.
    """
    path = Path(path)
    lines = []
    for number, record in enumerate(records, 1):
        fields = {name: getattr(record, name) for name in FIELDS}
        problem = _problem(fields, None)
        if problem:
            raise ValueError(f"Record {number}: {problem}")
        fields["confidence"] = float(fields["confidence"])
        lines.append(json.dumps(fields, ensure_ascii=False) + "\n")
    try:
        with replacing(path) as (written,):
            written.write_text("".join(lines), encoding="utf-8", newline="\n")
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}; what was there "
            "before is still there."
        ) from None


def read_records(
    path: str | Path, label_names: Sequence[str] | None = None
) -> list[Record]:
    """Read records that `write_records` or a labelling tool wrote.

    Parameters
    ----------
    path : str or pathlib.Path
        One JSON object a line with ``text`` and, where known, ``manual_label``,
        ``weak_label`` and ``confidence``; other fields are left aside, empty lines
        passed over.
    label_names : sequence of str, optional
        Labels that may occur; by default any.

    Returns
    -------
    list of Record
        In the file's order.

    Raises
    ------
    DataError
        When a line is not such an object; the message names file, line and field.
    ValueError
        When `label_names` is one string.
    """
    path = Path(path)
    label_names = None if label_names is None else _names(label_names)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; export it as UTF-8.") from None
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {number} is not JSON: {error.msg}."
            ) from None
        problem = _problem(fields, label_names)
        if problem:
            raise DataError(f"{path}, line {number}: {problem}")
        kept = {name: fields[name] for name in FIELDS if fields.get(name) is not None}
        records.append(Record(**kept))
    return records


def _problem(fields: Any, label_names: Sequence[str] | None) -> str:
    """Say in a sentence what is wrong with a record's fields, or nothing."""
    if not isinstance(fields, dict):
        return f"expected an object with fields, found {type(fields).__name__}."
    if not isinstance(fields.get("text"), str):
        return "the field text is missing, or is no string."
    for name in ("text", "manual_label", "weak_label"):
        value = fields.get(name)
        broken = broken_character(value) if isinstance(value, str) else ""
        if broken:
            return f"the field {name} {broken}."
    for name in ("manual_label", "weak_label"):
        label = fields.get(name)
        if label is not None and not isinstance(label, str):
            return f"the field {name} is {label!r}; it may be a label's name or null."
        if label is not None and label_names is not None and label not in label_names:
            return f"{name} is {label!r}; the labels are {', '.join(label_names)}."
    confidence = fields.get("confidence")
    if confidence is not None and not _is_share(confidence):
        return f"confidence is {confidence!r}; it is a number from 0 to 1."
    if confidence and fields.get("weak_label") is None:
        return f"confidence is {confidence!r}, but there is no weak_label."
    return ""


def _names(label_names: Sequence[str]) -> Sequence[str]:
    """Refuse a single string where a list of names is meant."""
    if isinstance(label_names, str):
        raise ValueError(
            f"label_names is one string, {label_names!r}; give a list of names."
        )
    return label_names


def _is_share(value: Any) -> bool:
    """Whether a value is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    return math.isfinite(value) and bool(0 <= value <= 1)
