"""Data sets of the course: a catalog, one module that fetches, and loaders."""

from course_utils.data.imdb import load_imdb
from course_utils.data.pretrained import load_glove
from course_utils.data.reuters import load_reuters, reuters_topics

__all__ = ["load_glove", "load_imdb", "load_reuters", "reuters_topics"]
