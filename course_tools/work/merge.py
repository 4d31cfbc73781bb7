"""Carry a student's work from one version of a lesson into the next.

The merged notebook has every cell of the new version, in the new order. What the
student did is added to it: answers by their ``grade_id``, cells of their own after the
nearest cell above them that still exists, edited text where the course did not change
it. What has no place any more is kept as text that does not run, with a sentence.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from course_utils.checks.answers import KEY, binds, is_open

import nbformat

EXERCISE = re.compile(r"^#+ Exercise (\d+\.\d+)(?: · (.+))?$", re.MULTILINE)
# Of a cell's metadata, what the course alone decides.
COURSE_METADATA = ("nbgrader", "deletable", "editable", "tags")


@dataclass
class Merge:
    """A merged notebook, and what became of the student's work.

    Attributes
    ----------
    notebook : nbformat.NotebookNode
        The result.
    answers : list of str
        Exercises whose answers were kept.
    new : list of str
        Exercises that the old version had not.
    changed : list of str
        Exercises with an answer, whose given code changed.
    gone : list of str
        Exercises with an answer that the new version has not.
    own : int
        Cells that the student added.
    edited : int
        Course cells that the student edited; kept, in place or as text.
    dropped : bool
        Whether outputs of changed cells were left out.
    replaced : bool
        Whether a check that the student edited was put back.
    missing : list of str
        Cells of exercises, by their ``grade_id``, that the copy lacked: put back, an
        answer's empty.
    found : list of str
        The same of cells that were there without their name, or not as code.
    """

    notebook: Any
    answers: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    own: int = 0
    edited: int = 0
    dropped: bool = False
    replaced: bool = False
    missing: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    @property
    def has_work(self) -> bool:
        """Whether the old copy holds something that the course did not write."""
        return bool(
            self.answers or self.gone or self.own or self.edited or self.replaced
        )


def grade_id(cell: Any) -> str:
    """Name of an exercise's cell.

    Parameters
    ----------
    cell : nbformat.NotebookNode
        Any cell.

    Returns
    -------
    str
        nbgrader's name for it, or an empty string.
    """
    mark = cell.metadata.get("nbgrader")
    return str(mark.get("grade_id", "")) if isinstance(mark, dict) else ""


def is_answer(cell: Any) -> bool:
    """Whether a cell is one that a student writes an answer into.

    Parameters
    ----------
    cell : nbformat.NotebookNode
        Any cell.

    Returns
    -------
    bool
        True for nbgrader's solution cells.
    """
    return bool(grade_id(cell) and cell.metadata["nbgrader"].get("solution"))


def heads(notebook: Any) -> dict[str, tuple[str, str]]:
    """Read the exercises' numbers and titles.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        A lesson.

    Returns
    -------
    dict of str to tuple of str
        By ``grade_id``, such as ``("1.3", "The nearest words")``, in order.
    """
    found = {}
    number = title = ""
    for cell in notebook.cells:
        for head in EXERCISE.finditer(cell.source):
            number, title = head[1], head[2] or ""
        if is_answer(cell):
            found[grade_id(cell)] = number, title
    return found


def lacking(notebook: Any, version: Any) -> list[str]:
    """Name the cells of exercises that a copy lacks.

    Parameters
    ----------
    notebook, version : nbformat.NotebookNode
        The copy, and the course's version that it comes from.

    Returns
    -------
    list of str
        ``grade_id`` of each answer's cell and each check that is not there, or is not
        code any more.
    """
    there = {(grade_id(cell), cell.cell_type) for cell in notebook.cells}
    wanted = [(grade_id(cell), cell.cell_type) for cell in version.cells]
    return [one[0] for one in wanted if one[0] and one not in there]


def with_what_is_lacking(notebook: Any, version: Any) -> Any:
    """Give a version without the texts and examples that a student deleted.

    Parameters
    ----------
    notebook, version : nbformat.NotebookNode
        The copy, and the course's version that it comes from; neither is changed.

    Returns
    -------
    nbformat.NotebookNode
        What to merge with, so that only cells of exercises come back.
    """
    there = match(notebook.cells, version.cells).values()
    result = copy.copy(version)
    result.cells = [
        cell
        for place, cell in enumerate(version.cells)
        if grade_id(cell) or place in there
    ]
    return result


def content(cell: Any) -> tuple[Any, ...]:
    """Give what a reader may write in a cell: its kind, its text, its pictures."""
    return cell.cell_type, cell.source.strip("\n"), cell.get("attachments") or {}


def match(cells: Sequence[Any], others: Sequence[Any]) -> dict[int, int]:
    """Pair the cells of two versions of a lesson.

    Parameters
    ----------
    cells, others : sequence of nbformat.NotebookNode
        Two notebooks' cells.

    Returns
    -------
    dict of int to int
        For each cell of the first that the second has, its place there: by
        ``grade_id``, else by id, else by content. Where a name stands twice in the
        first, its last cell counts, as it does in a run.
    """
    pairs: dict[int, int] = {}
    taken: set[int] = set()

    def pair(key: Callable[[Any], Hashable], *, names: bool = False) -> None:
        places: dict[Hashable, list[int]] = {}
        for place, other in enumerate(others):
            if place not in taken and key(other):
                places.setdefault(key(other), []).append(place)
        for place in reversed(range(len(cells))) if names else range(len(cells)):
            # A copy of an exercise's cell carries its name, and is not the cell itself.
            if place in pairs or (grade_id(cells[place]) and not names):
                continue
            found = places.get(key(cells[place]))
            if found:
                pairs[place] = found.pop(0)
                taken.add(pairs[place])

    pair(grade_id, names=True)
    pair(lambda cell: cell.get("id"))
    pair(lambda cell: content(cell)[:2] if cell.source.strip() else "")
    return pairs


def similarity(notebook: Any, other: Any) -> int:
    """Count the cells that two notebooks have in common, unchanged.

    Parameters
    ----------
    notebook, other : nbformat.NotebookNode
        Two notebooks.

    Returns
    -------
    int
        Pairs of equal content.
    """
    pairs = match(notebook.cells, other.cells)
    return sum(
        content(notebook.cells[one]) == content(other.cells[two])
        for one, two in pairs.items()
    )


def merge(base: Any, own: Any, new: Any, *, day: str) -> Merge:
    """Carry a student's work into a new version.

    Parameters
    ----------
    base, own, new : nbformat.NotebookNode
        The version that the copy came from, the copy, and the new version; none is
        changed.
    day : str
        The date, for the sentences.

    Returns
    -------
    Merge
        A notebook that holds the new version and all that the student wrote.
    """
    result = copy.deepcopy(new)
    for key, value in own.metadata.items():
        result.metadata.setdefault(key, copy.deepcopy(value))
    done = Merge(result)
    to_base = match(own.cells, base.cells)
    for place, cell in enumerate(base.cells):
        # An answer that was written into another cell, and its own is gone.
        if is_answer(cell) and place not in to_base.values():
            own_answers = [
                one
                for one, mine in enumerate(own.cells)
                if one not in to_base
                and mine.cell_type == "code"
                and binds(mine.source, grade_id(cell))
            ]
            if own_answers:
                to_base[own_answers[-1]] = place
    base_to_new = match(base.cells, new.cells)
    to_new = {
        one: base_to_new[two] for one, two in to_base.items() if two in base_to_new
    }
    # A cell that only this version has, and the copy has it already.
    for one, two in match(own.cells, new.cells).items():
        if one not in to_base and two not in to_new.values():
            to_new[one] = two
    own_of = {place: one for one, place in to_new.items()}
    base_of = {place: old for old, place in base_to_new.items()}

    follow: dict[int, list[Any]] = {}  # by place in new, -1 for the top
    end: list[Any] = []
    given: dict[str, str] = {}  # days of our notes on changed exercises
    own_names = {grade_id(new.cells[place]) for place in to_new.values()}
    anchor = -1
    for place, cell in enumerate(own.cells):
        if place in to_new:
            anchor = to_new[place]
            continue
        here = follow.setdefault(anchor, [])
        if place not in to_base:
            if not cell.source.strip() and not cell.get("outputs"):
                continue
            note = _note(cell)
            if note.get("exercise") in own_names:
                given[note["exercise"]] = note.get("day", day)
                continue  # written anew below its answer
            here.append(_as_own(cell))
            done.own += not note
            continue
        before = base.cells[to_base[place]]
        answered = is_answer(before) and not is_open(cell.source)
        if content(cell) == content(before) and not answered:
            continue
        if is_answer(before):
            done.gone.append(grade_id(before))
            end.append(
                _kept(
                    cell,
                    f"Your answer to `{grade_id(before)}`, an exercise that the course "
                    f"no longer has since your update of {day}:",
                )
            )
        elif not grade_id(before):
            done.edited += 1
            here.append(
                _kept(
                    cell,
                    "Your version of a cell that the course no longer has since your "
                    f"update of {day}:",
                )
            )

    cells = list(follow.get(-1, ()))
    for place, cell in enumerate(result.cells):
        after = []
        mine = own.cells[own_of[place]] if place in own_of else None
        old = base.cells[base_of[place]] if place in base_of else new.cells[place]
        if mine is not None:
            lost = grade_id(cell) != grade_id(mine) or (
                is_answer(cell) and cell.cell_type != mine.cell_type
            )
            if grade_id(cell) and lost:
                done.found.append(grade_id(cell))
            after = _carry(cell, old, mine, done, given.get(grade_id(cell), ""), day)
        elif is_answer(cell) and place not in base_of:
            done.new.append(grade_id(cell))
        elif grade_id(cell) and place in base_of:
            done.missing.append(grade_id(cell))
        cells += [cell, *after, *follow.get(place, ())]
    for cell in result.cells:
        # What a check said, it said of an answer that is gone.
        gone = grade_id(cell).removeprefix("check-") in done.missing
        if gone and cell.get("outputs"):
            cell.outputs, cell.execution_count = [], None
    course = result.cells
    result.cells = cells + end
    _make_ids_unique(result, course)
    return done


def _carry(
    cell: Any, old: Any, mine: Any, done: Merge, noted: str, day: str
) -> list[Any]:
    """Put the student's version into a cell; give cells to add after it.

    `noted` is the day of a note that says what is given, from an update before.
    """
    fresh = content(cell)
    after: list[Any] = []
    for key, value in mine.metadata.items():
        if key not in COURSE_METADATA:
            cell.metadata.setdefault(key, copy.deepcopy(value))
    # No version of the course has an answer, unless somebody worked in its files.
    answered = is_answer(cell) and not is_open(mine.source)
    if content(mine) != content(old) or answered:
        if is_answer(cell):
            _take(cell, mine)
            done.answers.append(grade_id(cell))
            changed = fresh not in (content(old), content(mine))
            if changed:
                done.changed.append(grade_id(cell))
            if changed or (noted and fresh != content(mine)):
                given = nbformat.from_dict({**cell, "source": fresh[1]})
                since = day if changed else noted
                sentence = (
                    f"The course changed this exercise (your update of {since}). "
                    "Your answer above is kept; what is given now:"
                )
                after = [_kept(given, sentence, exercise=grade_id(cell), day=since)]
        elif grade_id(cell) or fresh == content(mine):
            done.replaced |= fresh != content(mine)  # a check is the course's own
        elif fresh == content(old):
            _take(cell, mine)
            done.edited += 1
        else:
            done.edited += 1
            after = [
                _kept(
                    mine,
                    "Your version of the cell above, which the course changed (your "
                    f"update of {day}):",
                )
            ]
    if content(cell) == content(mine):
        for key in ("outputs", "execution_count"):
            if key in mine and key in cell:
                cell[key] = copy.deepcopy(mine[key])
    elif mine.get("outputs"):
        done.dropped = True
    return after


def _take(cell: Any, mine: Any) -> None:
    cell.source = mine.source
    # An answer is code, also where somebody pressed M on it.
    if cell.cell_type != mine.cell_type and not is_answer(cell):
        cell.cell_type = mine.cell_type
        for key in ("outputs", "execution_count"):
            cell.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    if mine.get("attachments") and cell.cell_type != "code":
        cell.attachments = copy.deepcopy(mine.attachments)


def _as_own(cell: Any) -> Any:
    mine = copy.deepcopy(cell)
    # A copy of an exercise's cell; two of one name would confuse the grading.
    if mine.metadata.pop("nbgrader", None) is not None:
        for key in ("deletable", "editable"):
            mine.metadata.pop(key, None)
    return mine


def _note(cell: Any) -> dict[str, str]:
    """Read what a text is that an update wrote; empty for what a student wrote in."""
    mark = cell.metadata.get(KEY)
    if isinstance(mark, dict) and mark.get("note") == _fingerprint(cell.source):
        return dict(mark)
    return {}


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.strip("\n").encode("utf-8", "replace")).hexdigest()[:32]


def _kept(cell: Any, sentence: str, **more: str) -> Any:
    """Make text of a cell, so that it is there and does not run."""
    if cell.cell_type == "markdown":
        quoted = "\n".join(f"> {line}".rstrip() for line in cell.source.split("\n"))
        text = f"{sentence}\n\n{quoted}"
    else:
        longest = max((len(run) for run in re.findall("`+", cell.source)), default=0)
        fence = "`" * max(3, longest + 1)
        kind = "python" if cell.cell_type == "code" else ""
        text = f"{sentence}\n\n{fence}{kind}\n{cell.source}\n{fence}"
    made = nbformat.v4.new_markdown_cell(text)
    made.metadata[KEY] = {"note": _fingerprint(text), **more}
    if cell.cell_type == "markdown" and cell.get("attachments"):
        made.attachments = copy.deepcopy(cell.attachments)
    return made


def _make_ids_unique(notebook: Any, course: Sequence[Any]) -> None:
    """Give each cell an id; those of the course keep theirs."""
    notebook.nbformat_minor = max(notebook.nbformat_minor, 5)
    seen: set[str] = set()
    own = [cell for cell in notebook.cells if not any(cell is one for one in course)]
    for cell in [*course, *own]:
        if not cell.get("id") or cell.id in seen:
            cell.id = nbformat.v4.new_code_cell().id
        seen.add(cell.id)
