"""What JupyterLab gets from the course, for one process or for an environment.

`course_tools/jupyter` is a layer over Jupyter's own folders: ``config`` has settings,
``share`` an extension and a template of nbconvert. It opens the first page and the
table of contents, asks no question about news, gives pictures their alternative text,
and leaves out the buttons of instructors and developers. What a user has set elsewhere
stays, on disk and in force.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from course_tools.lessons import JUPYTER

CONFIG, SHARE = JUPYTER / "config", JUPYTER / "share"


def for_lab(
    root: Path, environment: Mapping[str, str] = os.environ
) -> tuple[list[str], dict[str, str]]:
    """Start JupyterLab with the course's settings: what it must be given.

    Parameters
    ----------
    root : pathlib.Path
        The folder that it shows.
    environment : mapping of str to str
        Of this process.

    Returns
    -------
    arguments : list of str
        For JupyterLab's command line.
    variables : dict of str to str
        To set in the environment before it starts.
    """
    layers = {"JUPYTER_CONFIG_PATH": CONFIG, "JUPYTER_PATH": SHARE}
    variables = {
        name: os.pathsep.join(filter(None, [str(layer), environment.get(name)]))
        for name, layer in layers.items()
    }
    return [f"--ServerApp.root_dir={root}"], variables


def install(prefix: Path) -> None:
    """Copy the course's settings into an environment that nobody else uses.

    For images, where JupyterLab is not started by ``course lab``.

    Parameters
    ----------
    prefix : pathlib.Path
        Of the environment, such as ``sys.prefix``.
    """
    shutil.copytree(CONFIG, prefix / "etc" / "jupyter", dirs_exist_ok=True)
    shutil.copytree(SHARE, prefix / "share" / "jupyter", dirs_exist_ok=True)


if __name__ == "__main__":
    install(Path(sys.prefix))
