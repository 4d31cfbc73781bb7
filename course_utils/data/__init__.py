"""Data sets of the course: a catalog, one module that fetches, and loaders."""

from course_utils.data.imdb import load_imdb
from course_utils.data.pretrained import load_glove

__all__ = ["load_glove", "load_imdb"]
