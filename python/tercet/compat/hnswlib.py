"""The interface of hnswlib 0.8, with tercet's indexes behind it.

``from tercet.compat import hnswlib`` in place of ``import hnswlib``: same names, defaults, dtypes, errors and
files. Where hnswlib crashes or reads memory that is not its own (an index that is not initiated, a query of
another dimension, a damaged file), this raises. What differs besides:

- An ``add_items`` that fails adds nothing. Rows without ids never replace a label that is there.
- Vectors must be finite, labels below 2**63, ``M`` 2 to 128.
- A search finds ``k`` elements if there are so many, whatever ``ef`` is. It may run during any change.
- A filter is called once for each label, in the thread that searches, before the search.
- ``add_items(..., replace_deleted=True)`` of a label that is there replaces its vector. Only new labels take
  the places of deleted ones, of those first that were deleted first.
- A ``BFIndex`` normalises queries of space ``"cosine"`` too.
- Files are written atomically. In hnswlib's format, saving takes longer than adding did, and loading as long:
  their graph is another, and is made anew. ``save_index(path, format="tercet")`` and ``load_index`` take
  moments; use it unless hnswlib is to read the file.
"""

from __future__ import annotations

import os
import warnings
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tercet.compat import hnswlib_inputs as inputs
from tercet.compat.hnswlib_bruteforce import BFIndex
from tercet.compat.hnswlib_file import file_size, write
from tercet.compat.hnswlib_graph import layers_of, levels_of
from tercet.compat.hnswlib_state import from_state, read_any, to_state
from tercet.compat.hnswlib_store import DEFAULT_EF, LEAST, Store
from tercet.indexes.hnsw import HNSWIndex

__all__ = ["BFIndex", "Index"]


def __dir__() -> list[str]:
    return __all__


class Index(Store):
    """An approximate index with the interface of ``hnswlib.Index``.

    ``Index(space, dim)`` is empty; ``Index(index)`` copies another; ``Index(params)`` takes what
    ``__getstate__`` returned, hnswlib's or this one's.

    Args:
        space: ``"l2"`` (squared distances), ``"ip"`` (1 - dot product) or ``"cosine"`` (1 - cosine).
        dim: number of dimensions.
    """

    __slots__ = ()

    def __init__(self, space: Any = None, dim: Any = None, *, params: Any = None, index: Any = None) -> None:
        source: Any = next((x for x in (params, index, space) if x is not None), None)
        if dim is None and (isinstance(source, dict) or hasattr(source, "knn_query")):
            self.__setstate__((source,) if isinstance(source, dict) else source.__getstate__())
            return
        self._reset(*inputs.check_space(space, dim))

    def init_index(
        self,
        max_elements: int,
        M: int = 16,
        ef_construction: int = 200,
        random_seed: int = 100,
        allow_replace_deleted: bool = False,
    ) -> None:
        """Make the index, for up to ``max_elements`` vectors; see :class:`tercet.HNSWIndex` for ``M``."""
        with self._change:
            if self._index is not None:
                raise RuntimeError("The index is already initiated.")
            capacity, m = inputs.as_count(max_elements, "max_elements"), inputs.as_count(M, "M")
            width = max(inputs.as_count(ef_construction, "ef_construction"), m)
            seed = inputs.as_count(random_seed, "random_seed")
            self._index = inputs.new_graph(self._space, self._dim, m, width)
            self._m, self._ef_construction, self._capacity, self._seed = m, width, capacity, seed
            self._replaces = bool(allow_replace_deleted)

    def add_items(
        self, data: Any, ids: Any = None, num_threads: int = -1, replace_deleted: bool = False
    ) -> None:
        """Add vectors, or replace those whose label is there. All or nothing.

        Args:
            data: ``[n, dim]`` or ``[dim]``; anything becomes float32.
            ids: labels; None numbers on from the number of rows ever added.
            num_threads: how many threads to use; as set for the index if not positive.
            replace_deleted: let new labels take the places of deleted ones.
        """
        rows = inputs.as_matrix(data, self._dim)
        threads = inputs.as_threads(num_threads, self._threads)
        labels = None if ids is None else inputs.rows_of(ids, len(rows))
        with self._change:
            index = self._ready()
            if replace_deleted and not self._replaces:
                raise RuntimeError("Replacement of deleted elements is disabled in constructor")
            if labels is None:
                labels = inputs.next_labels(self._added, len(rows), self._has)
            which = inputs.last_of_each(labels)
            gone = self._displaced(labels[which].tolist(), replace_deleted)
            if len(rows):
                index.add(rows[which], labels[which], threads=threads)
            for label in gone:
                del self._deleted[label]
            self._added += len(rows)

    def knn_query(
        self, data: Any, k: int = 1, num_threads: int = -1, filter: Any = None
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]:
        """Return the labels and distances of the ``k`` nearest, ``[n, k]``; RuntimeError if there are fewer.

        Args:
            data: queries ``[n, dim]`` or ``[dim]``.
            k: how many.
            num_threads: how many threads to use; as set for the index if not positive.
            filter: called with each label, says whether it may be returned.
        """
        index, count = self._ready(), inputs.as_count(k, "k")
        least, threads = max(count, LEAST), inputs.as_threads(num_threads, self._threads)
        options: dict[str, Any] = {"least": least, "ef": max(self._ef, 2 * least), "threads": threads}
        return inputs.nearest(index, inputs.as_matrix(data, self._dim), count, filter, **options)

    def get_items(self, ids: Any = None, return_type: Literal["numpy", "list"] = "numpy") -> Any:
        """Return the vectors of labels, in space ``"cosine"`` normalised: an array or a list of lists."""
        if return_type not in ("numpy", "list"):
            raise ValueError('return_type should be "numpy" or "list"')
        labels = inputs.as_labels([] if ids is None else ids)
        if labels.ndim != 1:
            raise ValueError(
                "get_items accepts a list of indices and returns a list of vectors: expected one dimension, "
                f"got shape {list(labels.shape)}"
            )
        try:
            rows = self._ready().get(labels) if len(labels) else np.empty(0, np.float32)
        except KeyError as e:
            _, _, missing = str(e.args[0]).rpartition(": ")  # and str of a KeyError has quotes around it
            raise RuntimeError(f"Label not found: {missing}") from None
        return rows if return_type == "numpy" else rows.tolist()

    def mark_deleted(self, label: int) -> None:
        """Hide a vector from all later searches; its place counts until it is replaced."""
        with self._change:
            index, one = self._ready(), self._known(label)
            if one in self._deleted:
                raise RuntimeError("The requested to delete element is already deleted")
            vector = index.get([one])[0]
            index.remove([one])
            self._deleted[one] = vector

    def unmark_deleted(self, label: int) -> None:
        """Bring a deleted vector back."""
        with self._change:
            index, one = self._ready(), self._known(label)
            if one not in self._deleted:
                raise RuntimeError("The requested to undelete element is not deleted")
            index.add(self._deleted[one], [one])
            del self._deleted[one]

    def get_ids_list(self) -> list[int]:
        """Return all labels, deleted ones too."""
        with self._change:
            labels: list[int] = inputs.join_labels(self._ready(), self._deleted).tolist()
            return labels

    def resize_index(self, new_size: int) -> None:
        """Set how many vectors there may be."""
        with self._change:
            self._ready()
            size = inputs.as_count(new_size, "new_size")
            if size < self.element_count:
                raise RuntimeError("Cannot resize, max element is less than the current number of elements")
            self._capacity = size

    def get_max_elements(self) -> int:
        """Return how many vectors there may be."""
        self._ready()
        return self._capacity

    def get_current_count(self) -> int:
        """Return how many vectors there are, deleted ones too."""
        self._ready()
        return self.element_count

    def set_ef(self, ef: int) -> None:
        """Set how many nodes a search keeps in view, at least 20 and twice ``k``."""
        self._ef = inputs.as_count(ef, "ef")

    def set_num_threads(self, num_threads: int) -> None:
        """Set how many threads to use by default; all if it is not positive."""
        self._threads = inputs.as_integer(num_threads, "num_threads")

    def index_file_size(self) -> int:
        """Return how many bytes :meth:`save_index` writes."""
        self._ready()
        return file_size(self._dim, self._m, levels_of(self.element_count, self._m, self._seed))

    def save_index(
        self, path_to_index: inputs.Path, *, format: Literal["hnswlib", "tercet"] = "hnswlib"
    ) -> None:
        """Write the index to one file, atomically.

        Args:
            path_to_index: where.
            format: ``"hnswlib"``, which hnswlib reads too; its graph is made by searching for every vector,
                which takes longer than to add them.
                ``"tercet"`` writes tercet's graph by :meth:`tercet.HNSWIndex.save`, in moments, without
                deleted vectors and ``max_elements``: :meth:`load_index` reads it, and :func:`tercet.open`.
        """
        if format not in ("hnswlib", "tercet"):
            raise ValueError(f"format: expected 'hnswlib' or 'tercet', got {format!r}")
        path = os.fsdecode(path_to_index)
        with self._change:
            index = self._ready()
            if format == "tercet":
                return index.save(path)
            contents = self._contents()
            levels = levels_of(len(contents.labels), self._m, self._seed)
            layers = layers_of(contents, index, levels)
        write(path, contents, layers, int(levels.argmax()) if len(levels) else 0)

    def load_index(
        self,
        path_to_index: inputs.Path,
        max_elements: int = 0,
        allow_replace_deleted: bool = False,
    ) -> None:
        """Read what hnswlib, :meth:`save_index` or :meth:`tercet.HNSWIndex.save` wrote.

        ``max_elements`` is used if the vectors fit, else that of the file. ``ef`` is 10 again.
        """
        wanted = inputs.as_count(max_elements, "max_elements")
        loaded = read_any(os.fsdecode(path_to_index), self._space, self._dim)
        with self._change:
            if self._index is not None:
                warnings.warn("load_index for an already initiated index: the old one is gone", stacklevel=2)
            if isinstance(loaded, HNSWIndex):
                self._index, self._deleted = loaded, {}
                self._m, self._ef_construction, self._capacity = loaded.m, loaded.ef_construction, len(loaded)
            else:
                self._fill(loaded)
            self._added = self.element_count
            self._capacity = wanted if wanted >= max(1, self.element_count) else self._capacity
            self._ef, self._replaces = DEFAULT_EF, bool(allow_replace_deleted)

    def __getstate__(self) -> tuple[dict[str, Any]]:
        """Return the settings and the vectors, of which the graph is built anew."""
        with self._change:
            settings = {
                "space": self._space,
                "dim": self._dim,
                "num_threads": self._threads,
                "seed": self._seed,
                "ef": self._ef,
                "allow_replace_deleted": self._replaces,
            }
            return (to_state(settings, None if self._index is None else self._contents()),)

    def __setstate__(self, state: tuple[dict[str, Any]]) -> None:
        """Take what ``__getstate__`` returned, hnswlib's or this one's."""
        settings, contents = from_state(state)
        self._reset(*inputs.check_space(settings["space"], settings["dim"]))
        self._threads, self._ef = settings["num_threads"], settings["ef"]
        self._seed, self._replaces = settings["seed"], settings["allow_replace_deleted"]
        if contents is not None:
            self._fill(contents)
            self._added = self.element_count

    def __repr__(self) -> str:
        return f"<hnswlib.Index(space='{self._space}', dim={self._dim})>"

    ef = property(lambda self: self._ef, set_ef, doc="See :meth:`set_ef`.")
    num_threads = property(lambda self: self._threads, set_num_threads, doc="See :meth:`set_num_threads`.")
