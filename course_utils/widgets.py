"""A box to type into, for notebooks that are running."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def sentence_box(answer: Callable[[str], Any], placeholder: str) -> Any:
    """Make a text box that shows what a function returns for the text, below it.

    Parameters
    ----------
    answer : callable
        Takes the text, returns what is displayed.
    placeholder : str
        Stands in the empty box.

    Returns
    -------
    ipywidgets.VBox
        Box and place of the answer; display it.
    """
    import ipywidgets
    from IPython.display import display

    box = ipywidgets.Text(placeholder=placeholder, continuous_update=False)
    place = ipywidgets.Output()

    def show(change: dict[str, Any]) -> None:
        place.clear_output(wait=True)
        with place:
            text = change["new"].strip()
            display(answer(text) if text else "Type a sentence first.")

    box.observe(show, names="value")
    return ipywidgets.VBox([box, place])
