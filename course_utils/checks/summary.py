"""The end of a lesson: what has passed, what has not, and where to go next.

A lesson's module of checks says ``summary = summary_of(__name__)``, and the last cell
of its notebook ``check.summary()``. What is shown stands in the kernel's memory alone:
nothing is read from a file, written or sent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from course_utils.checks.core import Check, Outcome

# What the lessons are called, in their order: a lesson's last cell names the next one
# also where a student has no solutions. A test compares with the lessons' heads.
TITLES = {
    "01_one_hot_vs_embeddings": "One-hot vs embeddings",
    "02_imdb_sentiment": "IMDB: learning an embedding inside a task",
    "03_reuters_topics": "Reuters topics: design your own network",
    "04_mobilenet_transfer": "Transfer learning with MobileNet",
    "05_siamese_fashion_mnist": "Siamese networks: a map of garments",
    "06_surname_lookup": "Surname look-up",
    "07_fast_neighbors": "Fast neighbours",
    "08_similarity_search": "From raw stories to a tuned similarity search",
    "09_word_vectors": "Word vectors from raw text",
    "10_recommender": "Embeddings of things: a recommender",
}

MARKS = {Outcome.PASSED: "✅", Outcome.TRIED: "🔶", Outcome.OPEN: "⬜"}


@dataclass(frozen=True)
class Row:
    """An exercise at the moment the summary was asked for."""

    number: str
    name: str
    outcome: Outcome


@dataclass(frozen=True)
class Summary:
    """What became of a lesson's exercises; a notebook shows it as a table.

    Attributes
    ----------
    lesson : str
        Such as ``"02_imdb_sentiment"``.
    rows : tuple of Row
        The exercises in the order of their numbers.
    look_back : str
        Heading of the section that looks back over the course, where the lesson
        has one.
    """

    lesson: str
    rows: tuple[Row, ...]
    look_back: str = ""

    def __repr__(self) -> str:
        """Write it as plain text: for terminals, and where Markdown is not shown."""
        width = max(len(row.name) for row in self.rows)
        lines = [
            f"{MARKS[row.outcome]} {row.number} {row.name:<{width}}  {row.outcome}"
            for row in self.rows
        ]
        return "\n".join([self._heading(), *lines, *self._next(link=False)])

    def _repr_markdown_(self) -> str:
        lines = [f"**{self._heading()}**", "", "| | exercise | |", "|---|---|---|"]
        lines += [
            f"| {MARKS[row.outcome]} | {row.number} `{row.name}` | {row.outcome} |"
            for row in self.rows
        ]
        return "\n".join(lines) + "\n\n" + "\n\n".join(self._next(link=True))

    def _heading(self) -> str:
        passed = sum(row.outcome is Outcome.PASSED for row in self.rows)
        heading = (
            f"Lesson {self.lesson[:2]}: {passed} of {len(self.rows)} exercises passed."
        )
        if all(row.outcome is Outcome.OPEN for row in self.rows):
            heading += " None was tried since the kernel started."
        return heading

    def _next(self, link: bool) -> list[str]:
        quote = "`" if link else ""
        waiting = [row for row in self.rows if row.outcome is not Outcome.PASSED]
        lines = []
        if waiting:
            # What was begun is nearer to its end than what was not.
            first = min(waiting, key=lambda row: row.outcome is Outcome.OPEN)
            lines.append(
                f"Next here: exercise {first.number}; "
                f"{quote}check.{first.name}.hint(){quote} helps."
            )
        names = list(TITLES)
        position = names.index(self.lesson) + 1
        if position < len(names):
            name = names[position]
            title = f"{name[:2]} · {TITLES[name]}"
            title = f"[{title}]({name}.ipynb)" if link else f"{title} ({name}.ipynb)"
            lines.append(f"Next lesson: {title}")
        elif self.look_back:
            lines.append(
                f"This was the last lesson. Its section “{self.look_back}” looks back "
                "over the course."
            )
        else:
            lines.append("This was the last lesson so far.")
        return lines


def summary_of(module: str, *, look_back: str = "") -> Callable[[], Summary]:
    """Make the function that a notebook's last cell calls as ``check.summary()``.

    Parameters
    ----------
    module : str
        A lesson's module of checks, its own ``__name__``.
    look_back : str
        Heading of the section that looks back over the course, in the lesson that
        has one.

    Returns
    -------
    callable
        Without arguments; returns a `Summary`.

    Raises
    ------
    ValueError
        When no lesson of that number stands in `TITLES`.
    """
    number = module.rpartition("_")[2]
    lesson = next((name for name in TITLES if name.startswith(f"{number}_")), None)
    if lesson is None:
        raise ValueError(f"lesson {number} is not in TITLES yet")

    def summary() -> Summary:
        """Show which exercises have passed, by each check's last answer."""
        checks = [c for c in vars(sys.modules[module]).values() if isinstance(c, Check)]
        checks.sort(key=lambda check: [int(part) for part in check.number.split(".")])
        rows = tuple(Row(c.number, c.__name__, c.outcome) for c in checks)
        return Summary(lesson, rows, look_back)

    return summary
