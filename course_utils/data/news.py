"""News of four desks: posts of 1993, or stories of 2004."""

from __future__ import annotations

import csv
import html
import re
from pathlib import Path

from course_utils.data.fetch import fetch
from course_utils.errors import DataError

import numpy as np

Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

NEWS_DESKS = ("World", "Sports", "Business", "Sci/Tech")
# The groups of 20 Newsgroups that make up each desk.
GROUPS = {
    "World": ("talk.politics.guns", "talk.politics.mideast", "talk.politics.misc"),
    "Sports": ("rec.sport.baseball", "rec.sport.hockey"),
    "Business": ("misc.forsale",),
    "Sci/Tech": ("sci.crypt", "sci.electronics", "sci.med", "sci.space"),
}
HEADER_LINES = 3
SOURCES = ("newsgroups", "ag_news")
# "in article <…> some address (some name) writes": who is quoted, and where it ran.
ATTRIBUTION = re.compile(r"\bin article (?:\S+ ){1,40}?(?:writes?|wrote|says?)\b")
# "#39;" and "quot;": what AG News kept of HTML when it lost the ampersands.
ENTITY = re.compile(r"(?<!&)(#\d+|\b(?:quot|amp|lt|gt));")
TAG = re.compile(r"<[^<>]+>")


def load_news(source: str = "newsgroups") -> Split:
    """Load news of four desks as ``(x_train, y_train), (x_test, y_test)``.

    Parameters
    ----------
    source : {"newsgroups", "ag_news"}
        ``"newsgroups"``: 5,720 + 3,805 posts of ten of the 20 Newsgroups, in the
        published split by date, each the subject and the body. The copy is in small
        letters without punctuation, numbers and lines, and its other headers are
        gone; quotes and signatures can no longer be told from the rest and stay.
        Taken out here, because they give the desk away: names of newsgroups, and
        the line that names who is quoted from which article. Left out: posts that
        are empty then, or repeated. ``"ag_news"``: 120,000 + 7,600 stories, title
        and description, with the remains of HTML turned into what they stood for.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        `x` : object arrays of shape (n_stories,), each element a str. `y` : int64
        arrays of shape (n_stories,), positions in ``NEWS_DESKS``.

    Raises
    ------
    ValueError
        When `source` is none of the above.
    DataError
        When the stories can be neither found nor fetched.

    References
    ----------
    Lang (1995), NewsWeeder: Learning to Filter Netnews, ICML. Zhang, Zhao and LeCun
    (2015), Character-level Convolutional Networks for Text Classification, NIPS.
    """
    if source not in SOURCES:
        raise ValueError(f"source is {source!r}; choose 'newsgroups' or 'ag_news'.")
    halves = []
    seen: set[str] = set()
    for half in ("train", "test"):
        rows = _stories(half) if source == "ag_news" else _posts(half, seen)
        texts = np.array([text for text, _ in rows], dtype=object)
        halves.append((texts, np.array([label for _, label in rows], dtype=np.int64)))
    return halves[0], halves[1]


def _posts(half: str, seen: set[str]) -> list[tuple[str, int]]:
    """Text and desk of each post that is new, in the file's order."""
    path = fetch("news") / f"20newsgroups-{half}.tab"
    lines = path.read_text(encoding="utf-8").splitlines()[HEADER_LINES:]
    read = [line.partition("\t") for line in lines]
    names = sorted({group for group, _, _ in read if group})
    named = re.compile(rf"\b(?:{'|'.join(n.replace('.', ' ') for n in names)})\b")
    desk = {group: NEWS_DESKS.index(desk) for desk in GROUPS for group in GROUPS[desk]}
    rows = []
    for group, _, text in read:
        text = named.sub(" ", ATTRIBUTION.sub(" ", text))
        text = " ".join(text.removeprefix("re ").split())
        if group in desk and text and text not in seen:
            seen.add(text)
            rows.append((text, desk[group]))
    return rows


def _stories(half: str) -> list[tuple[str, int]]:
    """Text and desk of each story of AG News."""
    return read_stories(fetch("ag-news") / f"{half}.csv")


def read_stories(path: Path) -> list[tuple[str, int]]:
    """Read stories from a CSV file without a header.

    Parameters
    ----------
    path : pathlib.Path
        Lines of three fields, as AG News has them: desk from 1, title, description.
        Or of two: text, desk from 0.

    Returns
    -------
    list of (str, int)
        Text, and position in ``NEWS_DESKS``.

    Raises
    ------
    DataError
        When the file cannot be read, or a line is not of this form.
    """
    stories = []
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            lines = csv.reader(stream)
            for fields in lines:
                if len(fields) == 2:
                    text, desk = fields[0], int(fields[1])
                else:
                    first, title, description = fields
                    text, desk = f"{title} {description}", int(first) - 1
                if desk not in range(len(NEWS_DESKS)):
                    raise ValueError
                stories.append((_without_markup(text), desk))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, csv.Error) as error:
        raise DataError(
            f"{path} is no file of stories: a line holds desk (1 to 4), title and "
            f"description, or text and desk (0 to 3); line {lines.line_num} does not."
        ) from error
    return stories


def _without_markup(text: str) -> str:
    """Text as it was meant: entities resolved, tags and line breaks gone."""
    text = ENTITY.sub(r"&\1;", text.replace("\\", " "))
    # Twice: "&amp;lt;b&amp;gt;" stands for "&lt;b&gt;", and that for a tag.
    text = html.unescape(html.unescape(text))
    return " ".join(TAG.sub(" ", text).split())
