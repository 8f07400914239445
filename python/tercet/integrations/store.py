"""Vectors with texts and metadata, in memory and in one file: what vector stores are adapters of."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterable, Sequence
from threading import RLock
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tercet.documents import check_metadata
from tercet.indexes import FlatIndex, HNSWIndex, storage
from tercet.integrations.diversity import diverse
from tercet.scoring import check_k

__all__ = ["Entry", "Found", "Index", "MakeIndex", "TextStore"]

Index: TypeAlias = FlatIndex | HNSWIndex
MakeIndex: TypeAlias = Callable[[int], Index]
_CLASSES = (FlatIndex, HNSWIndex)


class Entry(NamedTuple):
    """What is kept beside a vector: metadata as JSON keeps them."""

    id: str
    text: str
    metadata: dict[str, Any]


Found: TypeAlias = list[tuple[Entry, float]]
Where: TypeAlias = Callable[[Entry], bool]


class TextStore:
    """One vector, a text and metadata under each id.

    Its methods may be called from several threads; one is at work at a time, since a search takes less than
    making the vector of its query. What they return may be changed.

    Args:
        make: makes the index when the first vectors come, of their number of dimensions:
            :class:`tercet.FlatIndex`, :class:`tercet.HNSWIndex`, or a function that calls one.

    Raises:
        TypeError: ``make`` is none of these.
    """

    def __init__(self, make: MakeIndex = FlatIndex) -> None:
        if not callable(make) or isinstance(make, _CLASSES):
            raise TypeError(
                f"index: expected FlatIndex, HNSWIndex or a function that makes one of dim, got {make!r}"
            )
        self._make = make
        self._index: Index | None = None  # while there are no entries
        self._entries: dict[str, Entry] = {}
        self._lock = RLock()  # a filter may look into the store

    @property
    def index(self) -> Index | None:
        """The vectors under their ids; None while the store is empty. Not to be changed."""
        return self._index

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self._entries)

    def add(
        self, ids: Sequence[str], vectors: Any, texts: Sequence[str], metadatas: Sequence[dict[str, Any]]
    ) -> None:
        """Add entries, or replace those whose id is there. All or nothing.

        Args:
            ids: ``n`` non-empty str.
            vectors: ``n`` lists of numbers, or ``[n, dim]``; taken as float32.
            texts: ``n`` str.
            metadatas: ``n`` dicts that JSON can hold; copies are kept.

        Raises:
            ValueError: numbers that differ, an id given twice, vectors of different dimensions, or with a
                value that is not finite.
            TypeError: an id or a text that is no str, metadata that JSON cannot hold.
        """
        if not len(ids) == len(vectors) == len(texts) == len(metadatas):
            counts = f"{len(ids)} ids, {len(vectors)} vectors, {len(texts)} texts, {len(metadatas)} metadatas"
            raise ValueError(f"expected as many of each, got {counts}")
        if len(ids) == 0:
            return
        entries = {}
        for id, text, metadata in zip(ids, texts, metadatas, strict=True):
            for name, value in (("id", id), ("text", text)):
                if not isinstance(value, str):
                    raise TypeError(f"{name}: expected str, got {type(value).__name__} {value!r}")
            check_metadata(metadata, f"document {id!r}")
            entries[id] = Entry(id, text, json.loads(json.dumps(metadata)))
        rows = np.asarray(vectors, np.float32)
        with self._lock:
            index = self._index_of(rows.shape[-1])
            index.add(rows, list(ids))
            self._index = index
            self._entries.update(entries)

    def remove(self, ids: Iterable[str] | None = None, where: Where | None = None) -> None:
        """Remove entries, as :meth:`select` chooses them: all without arguments, and no unknown ones."""
        with self._lock:
            chosen = [entry.id for entry in self._chosen(ids, where)]
            if not chosen or self._index is None:
                return
            if len(chosen) == len(self._entries):
                self._index = None
            else:
                self._index.remove(chosen)
            for id in chosen:
                del self._entries[id]

    def select(self, ids: Iterable[str] | None = None, where: Where | None = None) -> list[Entry]:
        """Return the known entries of ``ids``, or all, of which ``where`` is true, in their order."""
        with self._lock:
            return [copy.deepcopy(entry) for entry in self._chosen(ids, where)]

    def search(
        self, vector: Any, k: int, where: Where | None = None, ids: Iterable[str] | None = None
    ) -> Found:
        """Return the best ``k`` entries and their scores, best first, of those that :meth:`select` gives.

        Args:
            vector: of the query, ``[dim]``.
            k: how many; fewer come when there are no more.
            where: what they meet, None for all.
            ids: which may be returned, None for all.

        Raises:
            ValueError: ``k`` below 1, another number of dimensions.
        """
        check_k(k)
        with self._lock:
            allowed = None
            if where is not None or ids is not None:
                allowed = [entry.id for entry in self._chosen(ids, where)]
            if self._index is None or allowed == []:
                return []
            query = np.asarray(vector, np.float32)
            (hits,) = self._index.search(query, min(k, len(self._entries)), filter=allowed)
            return [(copy.deepcopy(self._entries[str(hit.id)]), hit.score) for hit in hits]

    def search_diverse(
        self,
        vector: Any,
        k: int,
        fetch_k: int,
        relevance: float,
        where: Where | None = None,
        ids: Iterable[str] | None = None,
    ) -> Found:
        """Return ``k`` of the best ``fetch_k``, chosen to differ (:mod:`tercet.integrations.diversity`).

        Their order is that of the choice, their scores are those of :meth:`search`.
        """
        with self._lock:
            found = self.search(vector, max(check_k(k), check_k(fetch_k, "fetch_k")), where, ids)
            if self._index is None or not found:
                return []
            vectors = self._index.get([entry.id for entry, _ in found])
        return [found[place] for place in diverse(vector, vectors, k, relevance)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file, atomically: at any moment ``path`` holds the old or the new store.

        It is the file of the index, which :func:`tercet.open` opens too; texts and metadata are in its
        settings. Every byte has a checksum.
        """
        with self._lock:
            index = self._index_of(1)
            documents = list(self._entries.values())
            settings = json.dumps({**index._header(), "documents": documents}).encode()
            storage.replace_file(path, lambda file: index._native.save(file.fileno(), settings))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> TextStore:
        """Read what :meth:`save` wrote. An empty store makes an index of the same settings when it is filled.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it holds no index, one without texts, or is damaged.
        """
        file = storage.open_file(path, mmap=False)
        settings = storage.read_settings(file, path)
        documents = settings.pop("documents", None)
        kind = next((kind for kind in _CLASSES if settings.get("kind") == kind.__name__), None)
        if kind is None or not isinstance(documents, list):
            found = "without texts" if documents is None else "of another kind"
            raise ValueError(
                f"{os.fspath(path)}: expected a store of vectors with texts, got an index {found}"
            )
        index = kind._restore(file, settings, path, verify=True)
        entries = {id: Entry(id, text, metadata) for id, text, metadata in documents}
        if entries.keys() != set(index.ids.tolist()):
            raise ValueError(f"{os.fspath(path)}: damaged, texts and vectors are of different ids")
        store = cls(lambda dim: kind._empty({**settings, "dim": dim}))
        store._index = index if entries else None
        store._entries = entries
        return store

    def _index_of(self, dim: int) -> Index:
        """Return the index, or an empty one."""
        index = self._make(dim) if self._index is None else self._index
        if not isinstance(index, _CLASSES):
            raise TypeError(f"index: expected a function that makes a FlatIndex or HNSWIndex, got {index!r}")
        return index

    def _chosen(self, ids: Iterable[str] | None, where: Where | None) -> list[Entry]:
        if isinstance(ids, str):  # whose letters are no ids
            raise TypeError(f"ids: expected a list of str, got {ids!r}")
        names = list(self._entries) if ids is None else dict.fromkeys(ids)
        known = [self._entries[id] for id in names if id in self._entries]
        return known if where is None else [entry for entry in known if where(entry)]
