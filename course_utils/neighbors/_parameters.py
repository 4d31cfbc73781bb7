"""What FastANN offers, and its refusal of everything else."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from course_utils.neighbors._common import ParameterError

WEIGHTS = ("uniform", "distance")
METRICS = ("euclidean", "manhattan", "cosine", "angular", "dot")
INDEXES = {"annoy": ("trees",), "faiss": ("flat", "hnsw", "ivf", "ivfpq")}
AUTO_INDEX = {"annoy": "trees", "faiss": "hnsw"}
# Which parameter applies to which index; one that does not apply is refused.
APPLIES_TO = {
    "n_trees": ("trees",),
    "search_k": ("trees",),
    "n_links": ("hnsw",),
    "ef_construction": ("hnsw",),
    "ef_search": ("hnsw",),
    "n_lists": ("ivf", "ivfpq"),
    "n_probe": ("ivf", "ivfpq"),
    "n_bytes": ("ivfpq",),
    "n_components": ("flat", "hnsw", "ivf", "ivfpq"),
    "rerank": ("flat", "hnsw", "ivf", "ivfpq"),
}
DEFAULTS = {
    "n_trees": 100,
    "n_links": 16,
    "ef_construction": 80,
    "ef_search": 16,
    "n_components": 128,
    "rerank": 3,
}
# Distances that stay what they are when all rows are turned.
RERANKED = ("euclidean", "cosine", "angular")
# Which numbers the graph may keep, by metric.
STORAGE = {
    "float32": METRICS,
    "float16": ("euclidean", "cosine", "angular", "dot"),
    "uint8": ("euclidean",),
}


class Parameters:
    """The part of FastANN that checks its parameters."""

    def _check_parameters(self: Any) -> str:
        """Refuse by name what is not offered; return the kind of index."""
        if self.backend not in INDEXES:
            raise ParameterError(
                f"backend is {self.backend!r}; choose 'faiss' or 'annoy'."
            )
        kinds = INDEXES[self.backend]
        auto = isinstance(self.index, str) and self.index == "auto"
        kind = AUTO_INDEX[self.backend] if auto else self.index
        if kind not in kinds:
            raise ParameterError(
                f"index={kind!r} is not offered by backend={self.backend!r}; "
                f"choose from {', '.join(map(repr, ('auto', *kinds)))}"
                + "".join(
                    f", or backend={other!r}"
                    for other, own in INDEXES.items()
                    if other != self.backend and kind in own
                )
                + "."
            )
        if self.metric not in METRICS:
            raise ParameterError(
                f"metric is {self.metric!r}; choose from "
                f"{', '.join(map(repr, METRICS))}."
            )
        if kind == "ivfpq" and self.metric == "manhattan":
            raise ParameterError(
                "index='ivfpq' cannot measure metric='manhattan'; choose another "
                "metric, or index='flat', 'hnsw' or 'ivf'."
            )
        named = isinstance(self.weights, str) and self.weights in WEIGHTS
        if not named and not callable(self.weights):
            raise ParameterError(
                f"weights is {self.weights!r}; choose 'uniform', 'distance' or a "
                "function of the distances."
            )
        if named and self.weights == "distance" and self.metric == "dot":
            raise ParameterError(
                "weights='distance' needs a distance, and metric='dot' has none; "
                "choose weights='uniform' or metric='cosine'."
            )
        self._check_n_neighbors(self.n_neighbors)
        self._check_n_jobs()
        for name, kinds in APPLIES_TO.items():
            self._check_parameter(name, getattr(self, name), kind, kinds)
        self._check_storage(kind)
        self._check_rerank()
        return kind

    def _reranks(self: Any) -> bool:
        return self.n_components is not None or self.rerank is not None

    def _check_rerank(self: Any):
        if not self._reranks():
            return
        name = "rerank" if self.n_components is None else "n_components"
        if self.metric not in RERANKED:
            raise ParameterError(
                f"{name} cannot measure metric={self.metric!r}; leave it out, or "
                f"choose metric={' or '.join(map(repr, RERANKED))}."
            )

    def _check_storage(self: Any, kind):
        if self.storage is None:
            return
        if self.storage not in STORAGE:
            raise ParameterError(
                f"storage is {self.storage!r}; choose from "
                f"{', '.join(map(repr, STORAGE))}."
            )
        if kind != "hnsw":
            raise ParameterError(
                f"storage means nothing to index={kind!r}; leave it out, or choose "
                "index='hnsw'."
            )
        if self.metric not in STORAGE[self.storage]:
            raise ParameterError(
                f"storage={self.storage!r} cannot measure metric={self.metric!r}; "
                "leave storage out, or choose metric="
                f"{' or '.join(map(repr, STORAGE[self.storage]))}."
            )

    def _check_parameter(self: Any, name, value, kind, kinds):
        if value is None:
            return
        if kind not in kinds:
            offered = [one for one in kinds if one in INDEXES[self.backend]]
            other = next(b for b, own in INDEXES.items() if set(own) & set(kinds))
            choice = f"index={' or '.join(map(repr, offered))}"
            raise ParameterError(
                f"{name} means nothing to index={kind!r}; leave it out, or choose "
                f"{choice if offered else f'backend={other!r}'}."
            )
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or not 0 < value < 2**31:
            raise ParameterError(
                f"{name} is {value!r}; it must be a whole number > 0, below 2**31."
            )

    def _check_n_jobs(self: Any):
        value = self.n_jobs
        if value is None:
            return
        if not isinstance(value, Integral) or isinstance(value, bool) or value == 0:
            raise ParameterError(
                f"n_jobs is {value!r}; it must be None or a whole number other than 0, "
                "-1 for all processors."
            )

    @staticmethod
    def _check_n_neighbors(value) -> int:
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise TypeError(
                f"n_neighbors is of type {type(value).__name__}; it must be a whole "
                "number."
            )
        if value < 1:
            raise ParameterError(f"Expected n_neighbors > 0. Got {value}.")
        return int(value)

    def _settings(self: Any, kind: str) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        for name, kinds in APPLIES_TO.items():
            value = getattr(self, name)
            self._check_parameter(name, value, kind, kinds)
            if kind in kinds:
                settings[name] = DEFAULTS.get(name) if value is None else int(value)
        return settings
