"""An index for PyLate: ``from tercet.compat import pylate``, and ``pylate.Index`` for ``indexes.PLAID``.

:class:`Index` has the methods of PyLate's indexes, so ``retrieve.ColBERT(index=...)`` takes one, and what
its ``get_documents_embeddings`` returns goes to ``rank.rerank``. PyLate itself is not needed. What differs:

- ``codec`` says how vectors are stored; there is no ``nbits``, ``n_ivf_probe``, ``device`` and so on.
- Adding an id that is there replaces the document. Removing one that is not is a KeyError.
- ``get_documents_embeddings`` works: stored vectors can be read back.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from tercet.arrays import as_tokens
from tercet.indexes import MultiVectorIndex
from tercet.indexes import open as open_index
from tercet.indexes.base import TokenCodec
from tercet.scoring import check_threads

__all__ = ["Index", "RerankResult"]


def __dir__() -> list[str]:
    return __all__


FILE = "index.tercet"


class RerankResult(TypedDict):
    """A hit, as PyLate has it."""

    id: int | str
    score: float


class Index:
    """Documents of a late-interaction model, in the file ``<index_folder>/<index_name>/index.tercet``.

    Every change is written before its method returns, in one step: whatever happens, the file holds the
    documents from before or after. That writes the whole file, so add many documents at a time. The file is
    one that ``tercet.open`` opens too. Objects of one folder do not see each other's changes, and the last to
    write wins.

    Args:
        index_folder, index_name: where the file lies; directories are made.
        override: begin without the documents that are there.
        codec: how vectors are stored, as :class:`tercet.MultiVectorIndex` says; None is what the file has, or
            ``"int4"``.
        seed: of the codec's random rotation and training.
        num_threads: how many to use; all by default.

    Attributes:
        index: the :class:`tercet.MultiVectorIndex`, None before the first document.

    Raises:
        ValueError: the file is damaged, holds another kind of index or another codec.
    """

    is_end_to_end_index = True  # its answers are final: PyLate's retrievers hand them on

    def __init__(
        self,
        index_folder: str = "indexes",
        index_name: str = "tercet",
        override: bool = False,
        *,
        codec: TokenCodec | None = None,
        seed: int = 0,
        num_threads: int | None = None,
    ) -> None:
        check_threads(num_threads)
        self.path = Path(index_folder, index_name, FILE)
        self.codec = codec
        self.seed = seed
        self.num_threads = num_threads
        MultiVectorIndex(1, codec=codec or "int4", seed=seed)  # bad settings fail now, not with the first add
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if override:
            self.path.unlink(missing_ok=True)
        self.index = self._opened()

    def add_documents(
        self, documents_ids: Any, documents_embeddings: Any, batch_size: int | None = None
    ) -> Index:
        """Add documents, or replace those whose id is there. All or nothing.

        Args:
            documents_ids: a ``str`` or an int for each document, one kind per index; or a single one.
            documents_embeddings: what PyLate's ``encode(..., is_query=False)`` returns: arrays or tensors
                ``[tokens, dim]``.
            batch_size: not used; PyLate passes it.
        """
        tokens = as_tokens(documents_embeddings, "documents_embeddings")
        index = self.index
        if index is None:
            index = MultiVectorIndex(tokens.dim, codec=self.codec or "int4", seed=self.seed)
        index.add(tokens, documents_ids, threads=self.num_threads)
        return self._saved(index)

    def update_documents(self, documents_ids: Any, documents_embeddings: Any) -> Index:
        """Replace documents; those that are not there are added. In one step, as :meth:`add_documents`."""
        return self.add_documents(documents_ids, documents_embeddings)

    def remove_documents(self, documents_ids: Any) -> Index:
        """Remove documents; KeyError names ids that are not there, and nothing is removed."""
        index = self._filled()
        index.remove(documents_ids)
        return self._saved(index)

    def __call__(self, queries_embeddings: Any, k: int = 10, subset: Any = None) -> list[list[RerankResult]]:
        """Return the best ``k`` documents of each query by MaxSim, best first.

        Args:
            queries_embeddings: of one query ``[tokens, dim]``, or of several.
            k: how many; fewer come when there are no more.
            subset: ids that may be returned, or a list of that for each query; unknown ones are ignored.

        Raises:
            ValueError: nothing was added yet.
        """
        tokens = as_tokens(queries_embeddings, "queries_embeddings")
        hits = self._filled().search(tokens, k, filter=subset, threads=self.num_threads)
        return [[{"id": hit.id, "score": hit.score} for hit in query] for query in hits]

    def get_documents_embeddings(self, document_ids: list[list[Any]]) -> list[list[npt.NDArray[np.float32]]]:
        """Return the stored vectors ``[tokens, dim]`` for each group of ids; KeyError names unknown ones."""
        index, groups = self._filled(), []
        for ids in document_ids:
            unique = list(dict.fromkeys(ids))
            vectors = dict(zip(unique, index.get(unique), strict=True))
            groups.append([vectors[id] for id in ids])
        return groups

    def __repr__(self) -> str:
        return f"Index({os.fspath(self.path)!r}, {self.index!r})"

    def _filled(self) -> MultiVectorIndex:
        if self.index is None:
            raise ValueError(f"{self.path}: the index is empty; add_documents comes first")
        return self.index

    def _saved(self, index: MultiVectorIndex) -> Index:
        try:
            index.save(self.path)
        except BaseException:
            self.index = self._opened()  # the change is not in the file, so it is undone here as well
            raise
        self.index = index
        return self

    def _opened(self) -> MultiVectorIndex | None:
        if not self.path.exists():
            return None
        index = open_index(self.path)
        if not isinstance(index, MultiVectorIndex):
            raise ValueError(f"{self.path}: expected a MultiVectorIndex, got {index!r}")
        if self.codec not in (None, index.codec):
            raise ValueError(
                f"{self.path}: codec {self.codec!r}, but it holds {index!r}; override=True replaces it"
            )
        return index
