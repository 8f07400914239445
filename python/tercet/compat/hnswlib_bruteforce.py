"""hnswlib's BFIndex, by a FlatIndex."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.compat import hnswlib_inputs as inputs
from tercet.compat.hnswlib_file import Contents, read_flat, write_flat
from tercet.indexes.flat import FlatIndex
from tercet.scoring import cpu_info

__all__ = ["BFIndex"]


class BFIndex:
    """An exact index with the interface of ``hnswlib.BFIndex``.

    Args:
        space: ``"l2"``, ``"ip"`` or ``"cosine"``; distances as those of ``Index``.
        dim: number of dimensions.
    """

    __slots__ = ("__weakref__", "_added", "_capacity", "_change", "_dim", "_index", "_space", "_threads")

    def __init__(self, space: str, dim: int) -> None:
        self._space, self._dim = inputs.check_space(space, dim)
        self._index: FlatIndex | None = None
        self._capacity = self._added = 0
        self._change = threading.RLock()
        self._threads = int(cpu_info()["threads"])

    def init_index(self, max_elements: int) -> None:
        """Make the index, for up to ``max_elements`` vectors."""
        if self._index is not None:
            raise RuntimeError("The index is already initiated.")
        self._capacity = inputs.as_count(max_elements, "max_elements")
        self._index = self._new()

    def add_items(self, data: Any, ids: Any = None) -> None:
        """Add vectors, or replace those whose label is there. All or nothing."""
        rows = inputs.as_matrix(data, self._dim)
        labels = None if ids is None else inputs.rows_of(ids, len(rows))
        with self._change:
            index = self._ready()
            if labels is None:
                labels = inputs.next_labels(self._added, len(rows), index.__contains__)
            which = inputs.last_of_each(labels)
            new = sum(label not in index for label in labels[which].tolist())
            if len(index) + new > self._capacity:
                raise RuntimeError(f"{inputs.FULL} of {self._capacity}")
            if len(rows):
                index.add(rows[which], labels[which], threads=inputs.as_threads(-1, self._threads))
            self._added += len(rows)

    def knn_query(
        self, data: Any, k: int = 1, num_threads: int = -1, filter: Any = None
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]:
        """Return the labels and distances of the ``k`` nearest, ``[n, k]``; RuntimeError if fewer."""
        index, count = self._ready(), inputs.as_count(k, "k")
        threads = inputs.as_threads(num_threads, self._threads)
        return inputs.nearest(index, inputs.as_matrix(data, self._dim), count, filter, threads=threads)

    def delete_vector(self, label: int) -> None:
        """Remove a vector, if it is there."""
        with self._change:
            index, one = self._ready(), inputs.as_count(label, "label")
            if one in index:
                index.remove([one])

    def set_num_threads(self, num_threads: int) -> None:
        """Set how many threads to use by default; all if it is not positive."""
        self._threads = inputs.as_integer(num_threads, "num_threads")

    def save_index(self, path_to_index: inputs.Path) -> None:
        """Write a file in hnswlib's format, atomically."""
        with self._change:
            index = self._ready()
            labels = inputs.join_labels(index)
            deleted = np.zeros(len(labels), bool)
            contents = Contents(labels, index.get(labels), deleted, self._capacity)
        write_flat(os.fsdecode(path_to_index), contents)

    def load_index(self, path_to_index: inputs.Path, max_elements: int = 0) -> None:
        """Read a file that ``BFIndex.save_index`` wrote, hnswlib's or this one's."""
        wanted = inputs.as_count(max_elements, "max_elements")
        contents = inputs.reading(read_flat, os.fsdecode(path_to_index), self._dim)
        index = self._new()
        if len(contents.labels):
            index.add(contents.vectors, contents.labels)
        with self._change:
            self._index, self._added = index, len(index)
            self._capacity = wanted if wanted >= len(index) and wanted else contents.max_elements

    def get_max_elements(self) -> int:
        """Return how many vectors there may be."""
        self._ready()
        return self._capacity

    def get_current_count(self) -> int:
        """Return how many vectors there are."""
        return len(self._ready())

    def _new(self) -> FlatIndex:
        return FlatIndex(self._dim, metric=inputs.METRICS[self._space])

    def _ready(self) -> FlatIndex:
        if self._index is None:
            raise RuntimeError(inputs.NOT_READY)
        return self._index

    def __reduce__(self) -> Any:
        """Refuse to be pickled and copied, as hnswlib's does."""
        raise TypeError("cannot pickle 'hnswlib.BFIndex' object: save_index and load_index do that")

    def __repr__(self) -> str:
        return f"<hnswlib.BFIndex(space='{self._space}', dim={self._dim})>"

    num_threads = property(lambda self: self._threads, set_num_threads, doc="See :meth:`set_num_threads`.")
