"""What one writer does to an index and its documents between two commits."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any, TypeAlias

from tercet.documents import Document, DocumentStore
from tercet.indexes import FlatIndex, MultiVectorIndex

__all__ = ["Change", "Index"]

Index: TypeAlias = FlatIndex | MultiVectorIndex

TRAINING_TOKENS = 65536  # that documents wait for, where a codec has to be trained


class Change:
    """What one writer does between two commits, on an index of its own; ``Collection.change`` lends one."""

    def __init__(self, index: Index, store: DocumentStore, lock: Lock) -> None:
        self.index = index
        self.inserted: list[int] = []
        self.removed: list[int] = []
        self._store = store
        self._lock = lock
        self._waiting: list[tuple[Sequence[Document], Any]] = []
        self._tokens = 0

    def insert(self, documents: Sequence[Document], vectors: Any) -> None:
        """Add documents with their vectors; one whose id exists is replaced.

        Where the codec is not trained yet, they wait until there are enough for that, or :meth:`finish`.
        """
        if isinstance(self.index, FlatIndex) or self.index.trained:
            return self._insert(documents, vectors)
        self._waiting.append((documents, vectors))
        self._tokens += sum(len(tokens) for tokens in vectors)
        if self._tokens >= TRAINING_TOKENS:
            self.finish()

    def finish(self) -> None:
        """Add what still waits."""
        waiting, self._waiting = self._waiting, []
        if isinstance(self.index, MultiVectorIndex) and self._tokens and not self.index.trained:
            self.index.train([tokens for _, vectors in waiting for tokens in vectors])
        for documents, vectors in waiting:
            self._insert(documents, vectors)

    def _insert(self, documents: Sequence[Document], vectors: Any) -> None:
        with self._lock:
            old = [key for key, _ in self._store.keys([d.id for d in documents]) if key in self.index]
            keys = self._store.insert(documents)
        self.inserted += keys
        self.removed += old
        self.index.add(vectors, keys)
        if old:
            self.index.remove(old)

    def remove(self, ids: Sequence[int | str]) -> None:
        """Remove documents.

        Raises:
            KeyError: some do not exist; names them, and removes none.
        """
        self.finish()
        with self._lock:
            keys = {id: key for key, id in self._store.keys(ids) if key in self.index}
        missing = [id for id in ids if id not in keys]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise KeyError(f"no documents with ids {missing[:5]}{more}")
        if keys:
            self.index.remove(list(keys.values()))
            self.removed += keys.values()
