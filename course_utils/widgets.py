"""A box to type into, for notebooks that are running."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def sentence_box(answer: Callable[[str], Any], placeholder: str) -> Any:
    """Make a text box that shows what a function returns for the text, below it.

    Parameters
    ----------
    answer : callable
        Takes the text, returns what is displayed; the words of a ValueError are shown.
    placeholder : str
        Stands in the empty box, such as "a sentence, then Enter".

    Returns
    -------
    ipywidgets.VBox
        Box and place of the answer; display it.
    """
    import ipywidgets
    from IPython.display import display

    box = ipywidgets.Text(placeholder=placeholder, continuous_update=False)
    place, wanted = ipywidgets.Output(), placeholder.split(",")[0]

    def show(change: dict[str, Any]) -> None:
        place.clear_output(wait=True)
        with place:
            text = change["new"].strip()
            try:
                display(answer(text) if text else f"Type {wanted} first.")
            except ValueError as reason:
                print(reason)

    box.observe(show, names="value")
    return ipywidgets.VBox([box, place])
