"""A vector store in memory and in one file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    DEFAULT_PERSIST_DIR,
    DEFAULT_PERSIST_FNAME,
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from tercet.indexes import FlatIndex
from tercet.integrations.filters import Condition, all_of, compare
from tercet.integrations.llama_index.filters import metadata_condition
from tercet.integrations.store import Entry, Index, MakeIndex, TextStore

__all__ = ["TercetVectorStore"]


class TercetVectorStore(BasePydanticVectorStore):
    """Nodes under their embeddings, in memory; :meth:`persist` writes them to one file.

    A node whose id is there is replaced. Similarities are the index's scores, larger is better: cosines,
    unless ``index`` says otherwise. Filters may have all of LlamaIndex's operators, and be nested; they see a
    node's metadata, and the id of its source as ``ref_doc_id``, ``doc_id`` and ``document_id``.

    Args:
        index: :class:`tercet.FlatIndex` (exact), :class:`tercet.HNSWIndex` (a graph), or a function of the
            number of dimensions that makes one: ``functools.partial(HNSWIndex, m=24, metric="dot")``.

    Raises:
        TypeError: ``index`` is none of these.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    _store: TextStore = PrivateAttr()

    def __init__(self, index: MakeIndex = FlatIndex) -> None:
        super().__init__()
        self._store = TextStore(index)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex knows this by."""
        return "TercetVectorStore"

    @property
    def client(self) -> Index | None:
        """The vectors under the ids of their nodes, to look at; None while the store is empty."""
        return self._store.index

    def __getstate__(self) -> dict[str, Any]:
        """Raise TypeError: what LlamaIndex would pickle is an empty store."""
        raise TypeError("a TercetVectorStore cannot be pickled: persist() writes it")

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes with their embeddings, or replace those whose id is there. All or nothing.

        ``kwargs`` take no effect: LlamaIndex hands on what it was given.

        Raises:
            ValueError: a node without an embedding, or of another number of dimensions; an id given twice.
        """
        ids = [node.node_id for node in nodes]
        vectors = [node.get_embedding() for node in nodes]
        # The text stays in the record of the node, which is what brings every kind of node back
        self._store.add(ids, vectors, [""] * len(ids), [node_to_metadata_dict(node) for node in nodes])
        return ids

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove the nodes of a source document."""
        self._store.remove(where=_where(compare("ref_doc_id", "==", ref_doc_id)))

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Remove nodes by ids, by filters, or those that meet both; unknown ids are ignored.

        Raises:
            ValueError: neither of them; :meth:`clear` removes all nodes.
        """
        if node_ids is None and filters is None:
            raise ValueError("expected node_ids or filters, got neither; clear() removes all nodes")
        self._store.remove(node_ids, _where(_condition(filters)))

    def clear(self) -> None:
        """Remove all nodes."""
        self._store.remove()

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return the nodes that there are: those of ids, those that meet filters, or both; all without."""
        return [_node(entry) for entry in self._store.select(node_ids, _where(_condition(filters)))]

    def query(
        self,
        query: VectorStoreQuery,
        *,
        mmr_threshold: float | None = None,
        mmr_prefetch_k: int | None = None,
    ) -> VectorStoreQueryResult:
        """Return the nodes nearest to an embedding.

        Args:
            query: of the modes ``DEFAULT`` and ``MMR`` (maximal marginal relevance). It is for nodes that are
                among ``node_ids``, of ``doc_ids`` and meet ``filters``, as far as these are given; an empty
                list restricts nothing.
            mmr_threshold: 0 for nodes that differ most, 1 for the nearest; that of the query comes first, and
                without either it is 0.5.
            mmr_prefetch_k: from how many of the nearest they are chosen, by default four times as many.

        Raises:
            ValueError: another mode, or no embedding.
        """
        if query.query_embedding is None:
            raise ValueError("query: expected one with query_embedding, got None")
        conditions = []
        node_ids = query.node_ids or None  # VectorStoreIndex.as_retriever gives none where it means all
        if query.doc_ids:
            conditions.append(compare("ref_doc_id", "in", query.doc_ids))
        if query.filters is not None:
            conditions.append(metadata_condition(query.filters))
        where = _where(all_of(conditions) if conditions else None)
        vector, k = query.query_embedding, query.similarity_top_k
        if query.mode == VectorStoreQueryMode.DEFAULT:
            found = self._store.search(vector, k, where, node_ids)
        elif query.mode == VectorStoreQueryMode.MMR:
            given = (query.mmr_threshold, mmr_threshold, 0.5)
            threshold = next(number for number in given if number is not None)
            fetch_k = 4 * k if mmr_prefetch_k is None else mmr_prefetch_k
            found = self._store.search_diverse(vector, k, fetch_k, threshold, where, node_ids)
        else:
            raise ValueError(f"mode: expected 'default' or 'mmr', got {query.mode.value!r}")
        return VectorStoreQueryResult(
            nodes=[_node(entry) for entry, _ in found],
            similarities=[score for _, score in found],
            ids=[entry.id for entry, _ in found],
        )

    def persist(
        self,
        persist_path: str = os.path.join(DEFAULT_PERSIST_DIR, DEFAULT_PERSIST_FNAME),
        fs: fsspec.AbstractFileSystem | None = None,
    ) -> None:
        """Write everything to one file, atomically: at any moment it holds the old or the new store.

        It is tercet's, whatever its name ends in. Directories are made.

        Raises:
            NotImplementedError: ``fs`` is not that of this machine.
        """
        _check_local(fs)
        os.makedirs(os.path.dirname(persist_path) or ".", exist_ok=True)
        self._store.save(persist_path)

    @classmethod
    def from_persist_path(
        cls, persist_path: str, fs: fsspec.AbstractFileSystem | None = None
    ) -> TercetVectorStore:
        """Read what :meth:`persist` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no such store, or is damaged.
            NotImplementedError: ``fs`` is not that of this machine.
        """
        _check_local(fs)
        store = cls()
        store._store = TextStore.open(persist_path)
        return store

    @classmethod
    def from_persist_dir(
        cls,
        persist_dir: str = DEFAULT_PERSIST_DIR,
        namespace: str = "default",
        fs: fsspec.AbstractFileSystem | None = None,
    ) -> TercetVectorStore:
        """Read what ``StorageContext.persist(persist_dir)`` wrote; errors as :meth:`from_persist_path`."""
        return cls.from_persist_path(os.path.join(persist_dir, f"{namespace}__{DEFAULT_PERSIST_FNAME}"), fs)

    # LlamaIndex's own would keep the event loop waiting

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Do what :meth:`add` does, in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Do what :meth:`delete` does, in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Do what :meth:`delete_nodes` does, in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters)

    async def aclear(self) -> None:
        """Do what :meth:`clear` does, in a thread."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Do what :meth:`get_nodes` does, in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Do what :meth:`query` does, in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)


def _condition(filters: MetadataFilters | None) -> Condition | None:
    return None if filters is None else metadata_condition(filters)


def _where(condition: Condition | None) -> Callable[[Entry], bool] | None:
    return None if condition is None else lambda entry: condition(entry.metadata)


def _node(entry: Entry) -> BaseNode:
    return metadata_dict_to_node(entry.metadata)


def _check_local(fs: fsspec.AbstractFileSystem | None) -> None:
    if fs is not None and not isinstance(fs, LocalFileSystem):
        raise NotImplementedError(f"fs: expected files of this machine, got {type(fs).__name__}")
