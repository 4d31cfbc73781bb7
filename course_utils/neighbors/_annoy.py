"""Trees of annoy."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from course_utils import annoy_probe
from course_utils.neighbors._common import BackendError, cosine_units

import numpy as np


@cache
def _annoy():
    try:
        import annoy
    except ImportError:
        raise BackendError(
            "annoy is not installed: run `pip install annoy==1.17.3`, which needs a "
            "C++ compiler, or choose backend='faiss'."
        ) from None
    problem = annoy_probe.find_problem()
    if problem:
        what, cure = problem
        raise BackendError(f"{what}. {cure}, or choose backend='faiss'.")
    return annoy


class Annoy:
    """An index of annoy; what it finds in scikit-learn's units."""

    dtype = np.float32

    def __init__(self, raw, kind, metric):
        self.raw, self.kind, self.metric = raw, kind, metric

    library = staticmethod(_annoy)

    @classmethod
    def _empty(cls, width, metric):
        theirs = "angular" if metric == "cosine" else metric
        return cls(cls.library().AnnoyIndex(width, theirs), "trees", metric)

    @classmethod
    def build(cls, rows, kind, metric, settings, threads):
        made = cls._empty(rows.shape[1], metric)
        made.raw.set_seed(settings["seed"])
        for number, row in enumerate(rows):
            made.raw.add_item(number, row.tolist())
        made.raw.build(settings["n_trees"], n_jobs=threads)
        return made

    def search(self, rows, k, settings, threads):
        distances = np.empty((len(rows), k))
        found = np.empty((len(rows), k), np.int64)
        search_k = settings["search_k"] or -1
        everything = self.raw.get_n_items() * max(1, self.raw.get_n_trees())

        def look(number):
            row = rows[number].tolist()
            ids, far = self.raw.get_nns_by_vector(row, k, search_k, True)
            if len(ids) < k:
                ids, far = self.raw.get_nns_by_vector(row, k, everything, True)
            found[number], distances[number] = ids, far

        if threads == 1:
            for number in range(len(rows)):
                look(number)
        else:
            # annoy releases the GIL while it searches.
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(look, range(len(rows))):
                    pass
        return self._in_units(distances), found

    def _in_units(self, distances):
        match self.metric:
            case "dot":
                return -distances
            case "cosine" | "angular":
                return cosine_units(distances**2 / 2, self.metric)
            case _:
                return distances

    def rows(self):
        numbers = range(self.raw.get_n_items())
        return np.array([self.raw.get_item_vector(i) for i in numbers], np.float32)

    def n_rows(self):
        return self.raw.get_n_items()

    def write(self, path):
        # annoy goes on with a map of the file it wrote, which may be moved.
        self.raw.save(str(path))

    @classmethod
    def read(cls, path, kind, metric, width):
        opened = cls._empty(width, metric)
        opened.raw.load(str(path))
        return opened

    def __getstate__(self):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            self.write(Path(folder) / "index")
            data = (Path(folder) / "index").read_bytes()
        return {"metric": self.metric, "width": self.raw.f, "data": data}

    def __setstate__(self, state):
        # Windows does not remove what is mapped.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "index"
            path.write_bytes(state["data"])
            opened = self.read(path, "trees", state["metric"], state["width"])
        self.__dict__ = opened.__dict__
