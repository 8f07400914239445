"""A vector store in memory and in one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from tercet.indexes import FlatIndex
from tercet.integrations.langchain.filters import DocumentFilter, document_filter
from tercet.integrations.store import Entry, Index, MakeIndex, TextStore

if TYPE_CHECKING:  # of Python 3.11
    from typing_extensions import Self

__all__ = ["TercetVectorStore"]


class TercetVectorStore(VectorStore):
    """Documents under the vectors of any ``Embeddings``, in memory; :meth:`save` writes them to one file.

    Adding a document whose id is there replaces it. Scores are the index's, larger is better: cosines, unless
    ``index`` says otherwise. Searches take a ``filter``: a function of a document, or a dict as
    :func:`tercet.integrations.langchain.filters.document_filter` says. Metadata are kept as JSON keeps them.

    Args:
        embedding: makes the vectors.
        index: :class:`tercet.FlatIndex` (exact), :class:`tercet.HNSWIndex` (a graph), or a function of the
            number of dimensions that makes one: ``functools.partial(HNSWIndex, m=24, metric="dot")``.
        relevance_score_fn: makes a relevance from 0 to 1 of a score; None does so for the metrics cosine
            (the cosine, 0 if it is negative) and l2 (1 / (1 + distance)).

    Raises:
        TypeError: ``index`` is none of these.
    """

    def __init__(
        self,
        embedding: Embeddings,
        *,
        index: MakeIndex = FlatIndex,
        relevance_score_fn: Callable[[float], float] | None = None,
    ) -> None:
        self._embedding = embedding
        self._store = TextStore(index)
        self._relevance = relevance_score_fn

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a store of texts; ``kwargs`` are those of the class."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        embedding: Embeddings,
        *,
        relevance_score_fn: Callable[[float], float] | None = None,
    ) -> Self:
        """Read what :meth:`save` wrote.

        Args:
            path: the file.
            embedding: what made the vectors.
            relevance_score_fn: as for the class.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no such store, or is damaged.
        """
        store = cls(embedding, relevance_score_fn=relevance_score_fn)
        store._store = TextStore.open(path)
        return store

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file, atomically: at any moment it holds the old or the new store."""
        self._store.save(path)

    @property
    def embeddings(self) -> Embeddings:
        """What makes the vectors."""
        return self._embedding

    @property
    def index(self) -> Index | None:
        """The vectors under their ids, to look at; None while the store is empty."""
        return self._store.index

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """Add texts, or replace those whose id is there. All or nothing.

        Args:
            texts: the texts.
            metadatas: one dict for each; JSON has to be able to hold it.
            ids: one for each, or None for a new one.
            batch_size: takes no effect; ``langchain_core.indexing.index`` gives it.

        Returns:
            The ids.

        Raises:
            ValueError: numbers that differ, an id given twice, vectors of another number of dimensions.
            TypeError: metadata that JSON cannot hold.
        """
        listed = list(texts)
        metadatas = [{} for _ in listed] if metadatas is None else metadatas
        given = [None] * len(listed) if ids is None else list(ids)
        names = [str(uuid4()) if id is None else id for id in given]
        vectors = self._embedding.embed_documents(listed) if listed else []
        self._store.add(names, vectors, listed, metadatas)
        return names

    def delete(self, ids: Sequence[str] | None = None) -> bool:
        """Remove documents, all of them without ids; unknown ids are ignored."""
        self._store.remove(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents that there are under ids, in their order."""
        return [_document(entry) for entry in self._store.select(ids)]

    def similarity_search(
        self, query: str, k: int = 4, *, filter: DocumentFilter | None = None
    ) -> list[Document]:
        """Return the ``k`` documents nearest to a query."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter=filter)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: DocumentFilter | None = None
    ) -> list[tuple[Document, float]]:
        """Return the ``k`` documents nearest to a query, and their scores, larger is better."""
        vector = self._embedding.embed_query(query)
        return self.similarity_search_with_score_by_vector(vector, k, filter=filter)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: DocumentFilter | None = None
    ) -> list[Document]:
        """Return the ``k`` documents nearest to a vector."""
        found = self.similarity_search_with_score_by_vector(embedding, k, filter=filter)
        return [document for document, _ in found]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: DocumentFilter | None = None
    ) -> list[tuple[Document, float]]:
        """Return the ``k`` documents nearest to a vector, and their scores, larger is better."""
        found = self._store.search(embedding, k, _where(filter))
        return [(_document(entry), score) for entry, score in found]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: DocumentFilter | None = None,
    ) -> list[Document]:
        """Return ``k`` of the ``fetch_k`` documents nearest to a query that are not like each other.

        ``lambda_mult`` is 0 for the most different, 1 for the nearest.
        """
        vector = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, filter=filter)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: DocumentFilter | None = None,
    ) -> list[Document]:
        """Do what :meth:`max_marginal_relevance_search` does, for a vector."""
        found = self._store.search_diverse(embedding, k, fetch_k, lambda_mult, _where(filter))
        return [_document(entry) for entry, _ in found]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        index = self.index
        if self._relevance is not None or index is None:  # of nothing, nothing will be asked
            return self._relevance or float
        if index.metric == "dot":
            raise ValueError("a dot product has no largest value: pass relevance_score_fn, or use cosine")
        if index.metric == "l2":
            return lambda score: 1 / (1 + max(0.0, -score) ** 0.5)
        return lambda score: min(1.0, max(0.0, score))


def _where(filter: DocumentFilter | None) -> Callable[[Entry], bool] | None:
    if filter is None:
        return None
    meets = document_filter(filter)
    return lambda entry: meets(_document(entry))


def _document(entry: Entry) -> Document:
    return Document(id=entry.id, page_content=entry.text, metadata=entry.metadata)
