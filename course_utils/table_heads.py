"""Tables whose heads a screen reader reads out with each number."""

from __future__ import annotations

import re
from typing import Any

HEAD = re.compile(r"<thead>.*?</thead>", re.S)
BODY = re.compile(r"<tbody>.*?</tbody>", re.S)
EMPTY = re.compile(r"<th([^>]*)>(?:\s|&nbsp;|</?p>)*</th>")
CELL = re.compile(r"<th(?![^>]*\bscope=)(?=[\s>])")


def with_scopes(html: str) -> str:
    """Say of each head of a table what it heads: a column or a row.

    Parameters
    ----------
    html : str
        What pandas writes for a table, or any HTML.

    Returns
    -------
    str
        The same with ``scope`` on every ``th``; a head without words becomes a ``td``.
        HTML that has scopes already comes back unchanged.
    """
    html = HEAD.sub(lambda found: _named(found[0], "col"), html)
    return BODY.sub(lambda found: _named(found[0], "row"), html)


def _named(part: str, scope: str) -> str:
    return CELL.sub(f'<th scope="{scope}"', EMPTY.sub(r"<td\1></td>", part))


def head_tables() -> None:
    """Let the tables that a notebook shows have scopes, from here on."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        return
    html = shell.display_formatter.formatters["text/html"]
    html.for_type_by_name("pandas", "DataFrame", _table)


def _table(frame: Any) -> str | None:
    html = frame._repr_html_()
    return html and with_scopes(html)
