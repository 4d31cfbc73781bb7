"""A page of the Jupyter server that updates the student's copies, then shows them.

A hub brings the lessons by nbgitpuller and sends the browser on to ``course/work/…``:
the student's folder is brought up to date with the course's files, and JupyterLab opens
on it. Enabled by ``--ServerApp.jpserver_extensions=course_tools.work.server=True``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from course_tools.work.places import find_places
from course_tools.work.update import update
from course_utils.errors import CourseError

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_escape, url_path_join
from tornado import web


class WorkHandler(JupyterHandler):
    """``course/work/FOLDER``: the course is in FOLDER, below the server's root."""

    @web.authenticated
    async def get(self, path: str) -> None:
        """Update, and send the browser on to the student's folder."""
        root = Path(self.contents_manager.root_dir).resolve()
        folder = (root / path.strip("/")).resolve()
        if not folder.is_relative_to(root):
            raise web.HTTPError(404, "there is no such folder")
        own = folder / "work"
        try:
            places = await asyncio.to_thread(find_places, folder)
            if not places.notebooks.is_relative_to(root):
                raise CourseError(f"There are no lessons in {folder}.")
            own = places.own if places.own.is_relative_to(root) else own
            for line in await asyncio.to_thread(update, places):
                (self.log.warning if line.problem else self.log.info)(line.text)
        except CourseError as error:
            # What is there is shown all the same.
            self.log.warning(str(error))
            if not own.is_dir():
                raise web.HTTPError(500, str(error)) from None
        shown = url_escape(own.relative_to(root).as_posix())
        self.redirect(url_path_join(self.base_url, "lab/tree", shown))


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "course_tools.work.server"}]


def _load_jupyter_server_extension(server: Any) -> None:
    url = url_path_join(server.web_app.settings["base_url"], "course/work/?(.*)")
    server.web_app.add_handlers(".*$", [(url, WorkHandler)])
