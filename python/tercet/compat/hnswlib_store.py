"""What an ``Index`` in the manner of hnswlib holds: a graph, and what is deleted from it."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.compat import hnswlib_inputs as inputs
from tercet.compat.hnswlib_file import Contents
from tercet.compat.hnswlib_import import graph_for
from tercet.indexes.hnsw import HNSWIndex
from tercet.scoring import cpu_info

__all__ = ["DEFAULT_EF", "LEAST", "Store"]

DEFAULT_EF = 10
LEAST = 10  # hits looked for at once


class Store:
    """The state of an ``Index``, which has no other attributes: one that is misspelt is an error."""

    __slots__ = (
        "__weakref__",
        "_added",
        "_capacity",
        "_change",
        "_deleted",
        "_dim",
        "_ef",
        "_ef_construction",
        "_index",
        "_m",
        "_replaces",
        "_seed",
        "_space",
        "_threads",
    )

    def _reset(self, space: str, dim: int) -> None:
        self._space, self._dim = space, dim
        self._index: HNSWIndex | None = None
        self._deleted: dict[int, npt.NDArray[np.float32]] = {}  # vectors, which unmark_deleted needs again
        self._m = self._ef_construction = self._capacity = self._added = 0
        self._seed, self._replaces = 100, False
        self._ef, self._threads = DEFAULT_EF, int(cpu_info()["threads"])
        self._change = threading.RLock()  # of everything but searches

    space = property(lambda self: self._space, doc="The space it was made for.")
    dim = property(lambda self: self._dim, doc="Number of dimensions.")
    M = property(lambda self: self._m, doc="As given to ``init_index``.")
    ef_construction = property(lambda self: self._ef_construction, doc="As given, at least ``M``.")
    max_elements = property(lambda self: self._capacity, doc="How many vectors there may be.")

    @property
    def element_count(self) -> int:
        """How many vectors there are, deleted ones too."""
        return 0 if self._index is None else len(self._index) + len(self._deleted)

    def _ready(self) -> HNSWIndex:
        if self._index is None:
            raise RuntimeError(inputs.NOT_READY)
        return self._index

    def _has(self, label: int) -> bool:
        return label in self._deleted or label in self._ready()

    def _known(self, label: Any) -> int:
        one = inputs.as_count(label, "label")
        if not self._has(one):
            raise RuntimeError(f"Label not found: {one}")
        return one

    def _displaced(self, labels: list[int], replace_deleted: bool) -> list[int]:
        """Return which deleted labels go when these are added; RuntimeError if there is no room."""
        again = [label for label in labels if label in self._deleted]
        if again and self._replaces and not replace_deleted:
            raise RuntimeError(
                "Can't use addPoint to update deleted elements if replacement of deleted elements is enabled"
                f": label {again[0]}"
            )
        new = sum(not self._has(label) for label in labels)
        kept = set(again)
        others = (label for label in self._deleted if label not in kept)
        places = list(itertools.islice(others, new)) if replace_deleted else []
        if self.element_count + new - len(places) > self._capacity:
            raise RuntimeError(f"{inputs.FULL} of {self._capacity}")
        return again + places

    def _fill(self, contents: Contents) -> None:
        index = graph_for(contents, self._space)
        live, gone = ~contents.deleted, contents.deleted
        if live.any():
            index.add(
                contents.vectors[live], contents.labels[live], threads=inputs.as_threads(-1, self._threads)
            )
        self._deleted = dict(zip(contents.labels[gone].tolist(), contents.vectors[gone], strict=True))
        self._index, self._capacity = index, contents.max_elements
        self._m, self._ef_construction = contents.m, contents.ef_construction

    def _contents(self) -> Contents:
        index = self._ready()
        labels = inputs.join_labels(index, self._deleted)
        vectors = [index.get(index.ids)] if len(index) else []
        rows = np.concatenate(
            [*vectors, np.array(list(self._deleted.values()), np.float32).reshape(-1, self._dim)]
        )
        deleted = np.arange(len(labels)) >= len(index)
        return Contents(labels, rows, deleted, self._capacity, self._m, self._ef_construction)
