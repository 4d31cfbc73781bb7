"""The README's table of results beside those of the documents the course comes from.

``python -m course_tools.results_table`` writes it anew. The course's numbers are those
stored in ``course_utils/results``, each with the command that measured it; the
documents' own are cited here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from course_tools.authoring import README
from course_tools.runner import write_files
from course_utils.results import FOLDER

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
# What has no random start has an interval without width over starts.
NO_WIDTH = re.compile(r"([\d.]+) \[\1, \1\]")


@dataclass(frozen=True)
class Row:
    """A comparison: what a document reports, and what stands in a stored table.

    Attributes
    ----------
    lesson : int
        Its number.
    task : str
        Data and measure.
    theirs : str
        The document's number, with words in which ``{…}`` names a stored row.
    ours : str
        The course's, likewise.
    table : str
        A file of ``course_utils/results`` without ``.json``.
    column : str
        Its column; the first after the rows' names where it is empty.
    """

    lesson: int
    task: str
    theirs: str
    ours: str
    table: str
    column: str = ""


ROWS = (
    Row(
        2,
        "IMDB, test accuracy",
        "20 words, flattened: {the recipe}",
        "average of words and pairs: {average of words + pairs}",
        "02_seeds",
    ),
    Row(
        3,
        "Reuters, 46 topics, test accuracy",
        "about 0.80 (Chollet 2021)",
        "attention: {attention}; TF-IDF and SVM: {TF-IDF + SVM, class weights}",
        "03_topics_46",
    ),
    Row(
        3,
        "Reuters, 52 topics, test accuracy",
        "0.936 (TextGCN, Yao et al. 2019)",
        "attention: {attention}; TF-IDF and SVM: {TF-IDF + SVM, class weights}",
        "03_designs",
    ),
    Row(
        4,
        "cats, dogs, horses, accuracy",
        "0.943 on the training photos; held out, the same recipe gets "
        "{recipe, held-out, afterwards}",
        "held out, frozen features: {V2, frozen features}",
        "04_animals",
    ),
    Row(
        5,
        "Fashion-MNIST, accuracy of kNN on 32 numbers",
        "{original} after 50 epochs; published: 0.9223",
        "{course, 14 epochs, mean}",
        "05_recipes",
    ),
    Row(
        7,
        "60,000 × 784 pictures, queries a second over those of scikit-learn",
        '"an order of magnitude faster", not measured',
        "recall 0.95 or more: {FastANN, 128 components}; FastANN's defaults: {FastANN}",
        "07_speed",
        "times brute force, CPU",
    ),
    Row(
        8,
        "AG News, precision@10 of a search",
        "none on a test set with true labels; raw vectors: {none: raw vectors}",
        "250 labels, heuristics and a tuned head: {vote's without suspects}",
        "08_ag_news",
    ),
    Row(
        9,
        "WordSim-353, rank correlation with people's ratings",
        "gensim's word2vec, same text and settings: {gensim, 5 epochs}",
        "skip-gram: {skip-gram, 5 epochs}",
        "09_gensim",
    ),
    Row(
        10,
        "MovieLens 100K, HR@10 of each user's last five films",
        "none; popularity: {popularity}",
        "EASE: {EASE}; matrix factorisation with BPR: {BPR, 3 seeds}",
        "10_warm",
    ),
)


def numbers(table: dict[str, Any], column: str = "") -> dict[str, str]:
    """Read each row's number in a column, with its interval where it has one.

    Parameters
    ----------
    table : dict
        A file of ``course_utils/results``.
    column : str
        The first after the names where it is empty.

    Returns
    -------
    dict of str to str
        By the row's name, such as ``"0.911 [0.910, 0.913]"``.
    """
    found = {}
    place = table["columns"].index(column) if column else 1
    for name, *cells in table["rows"]:
        value, *rest = cells[place - 1 :]
        ends = [one for one in rest[:2] if isinstance(one, float)]
        if isinstance(value, float):
            value = f"{value:.3f}"
        if len(ends) == 2:  # some tables have the interval in words already
            value += f" [{ends[0]:.3f}, {ends[1]:.3f}]"
        found[name] = NO_WIDTH.sub(r"\1", value)
    return found


def results_table() -> str:
    """Write the table in Markdown.

    Returns
    -------
    str
        A row a comparison, numbers with their 95 % intervals where these are stored.
    """
    lines = ["| lesson | task | the original | the course | measured by |"]
    lines.append("|---|---|---|---|---|")
    for row in ROWS:
        path = FOLDER / f"{row.table}.json"
        table = json.loads(path.read_text(encoding="utf-8"))
        theirs, ours = row.theirs, row.ours
        for name, number in numbers(table, row.column).items():
            theirs = theirs.replace(f"{{{name}}}", number)
            ours = ours.replace(f"{{{name}}}", number)
        command = f"`{table['command']}`"
        lines.append(
            f"| {row.lesson:02} | {row.task} | {theirs} | {ours} | {command} |"
        )
    return "\n".join(lines)


def write() -> bool:
    """Renew the table in the README.

    Returns
    -------
    bool
        Whether it had to be written.
    """
    old = README.read_text(encoding="utf-8")
    begin, rest = old.split(BEGIN)
    new = f"{begin}{BEGIN}\n{results_table()}\n{END}{rest.split(END)[1]}"
    if new != old:
        write_files({README: new.encode()})
    return new != old


if __name__ == "__main__":
    print("README.md:", "written" if write() else "up to date")
