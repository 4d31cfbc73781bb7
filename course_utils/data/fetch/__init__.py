"""From a catalog entry to a folder of verified files: the only way to the network.

A set is looked for in the read-only folder ``COURSE_DATA_SHARED``, then in the
cache (``COURSE_DATA_DIR``, or the user's cache folder), then at its sources: the
mirror ``COURSE_DATA_MIRROR``, if there is one, and those of the catalog in their
order. A file counts only while its bytes and its sha256 are those of the catalog.
What is fetched is staged beside the cache under another name, so that a killed
download never looks finished. A source that fails is a reason to try the next.
"""

from course_utils.data.fetch.catalog import DataSet, File, catalog, describe
from course_utils.data.fetch.files import _problem, digest
from course_utils.data.fetch.mirror import Checked, check, export, open_mirror
from course_utils.data.fetch.sources import reachable
from course_utils.data.fetch.store import (
    cache_folder,
    fetch,
    locate,
    locked,
    prepare,
    shared_folder,
)

__all__ = [
    "Checked",
    "DataSet",
    "File",
    "_problem",
    "cache_folder",
    "catalog",
    "check",
    "describe",
    "digest",
    "export",
    "fetch",
    "locate",
    "locked",
    "open_mirror",
    "prepare",
    "reachable",
    "shared_folder",
]
