"""Vectors of txtai in tercet's indexes: ``Embeddings(backend="tercet.integrations.txtai.HNSW", ...)``.

Settings stand in the configuration under the name of the backend, as txtai has it::

    {"backend": "tercet.integrations.txtai.HNSW",
     "tercet.integrations.txtai.HNSW": {"m": 24, "search": {"ef": 200}}}

``"search"`` holds keyword arguments of the index's ``search``; ``"mmap": True`` maps a saved index instead of
reading it; the others are arguments of the index's constructor.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from tercet.indexes import FlatIndex, HNSWIndex
from tercet.integrations.extras import needs

with needs("txtai"):
    from txtai.ann import ANN

__all__ = ["HNSW", "Flat"]


class _Index(ANN):
    """What both backends share: ids are places in the order in which vectors came, and stay when some go.

    Args:
        config: of the ``Embeddings``.

    Raises:
        ValueError: ``config`` has ``quantize``, in place of which the index has a codec.
    """

    kind: type[FlatIndex] | type[HNSWIndex]
    backend: FlatIndex | HNSWIndex | None

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        if config.get("quantize"):
            raise ValueError(f"quantize: expected none, codec= does that here, got {config['quantize']!r}")
        settings = dict(config.get(config["backend"]) or {})
        self._search: dict[str, Any] = settings.pop("search", {})
        self._mmap = bool(settings.pop("mmap", False))
        self._settings = settings

    def load(self, path: str | os.PathLike[str]) -> None:
        """Open what :meth:`save` wrote; ValueError if it is damaged or another kind of index."""
        self.backend = self.kind.open(path, mmap=self._mmap)

    def index(self, embeddings: Any) -> None:
        """Make the index of vectors ``float32[n, dim]``."""
        self.backend = self.kind(int(embeddings.shape[1]), **self._settings)  # cosine, as txtai compares
        self.config["offset"] = 0
        self._add(embeddings)
        self.metadata({**self._settings, "kind": self.kind.__name__})

    def append(self, embeddings: Any) -> None:
        """Add vectors ``float32[n, dim]``."""
        self._add(embeddings)
        self.metadata()

    def delete(self, ids: Any) -> None:
        """Remove vectors; ids that are not there are ignored."""
        index = self._filled()
        index.remove([id for id in dict.fromkeys(map(int, ids)) if id in index])

    def search(self, queries: Any, limit: int) -> list[list[tuple[int, float]]]:
        """Return id and similarity of the best ``limit`` vectors for each query, best first."""
        hits = self._filled().search(np.asarray(queries), limit, **self._search)
        return [[(int(hit.id), hit.score) for hit in row] for row in hits]

    def count(self) -> int:
        """Return the number of vectors."""
        return len(self._filled())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file, in one step: one that ``tercet.open`` opens too."""
        self._filled().save(path)

    def _add(self, embeddings: Any) -> None:
        index, start = self._filled(), self.config["offset"]
        index.add(embeddings, range(start, start + len(embeddings)))
        self.config["offset"] = start + len(embeddings)

    def _filled(self) -> FlatIndex | HNSWIndex:
        if self.backend is None:
            raise ValueError("expected an index: index() or load() comes first")
        return self.backend


class Flat(_Index):
    """A :class:`tercet.FlatIndex`: compares with every vector."""

    kind = FlatIndex


class HNSW(_Index):
    """A :class:`tercet.HNSWIndex`: a graph that finds nearly all of the best."""

    kind = HNSWIndex
