"""Results at full size, which take hours, stored with the command that made them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).resolve().parent


def stored(name: str) -> pd.DataFrame:
    """Give a table that was measured earlier, and print where it comes from.

    Parameters
    ----------
    name : str
        A file of this package without ``.json``, such as ``"03_topics_46"``.

    Returns
    -------
    pandas.DataFrame
        Its rows; the first column is the index.

    Raises
    ------
    UsageError
        If nothing is stored under that name.
    """
    import pandas as pd

    path = FOLDER / f"{name}.json"
    if not path.is_file():
        names = ", ".join(sorted(one.stem for one in FOLDER.glob("*.json")))
        raise UsageError(f"No results are stored as {name!r}; there are: {names}.")
    found = json.loads(path.read_text(encoding="utf-8"))
    print(f"Measured earlier by `{found['command']}` ({found['machine']}).")
    table = pd.DataFrame(found["rows"], columns=found["columns"])
    return table.set_index(found["columns"][0])
