"""A directory of documents as a retriever."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores.types import MetadataFilters

from tercet.integrations.llama_index.filters import metadata_condition
from tercet.retriever import Document, Result, Retriever
from tercet.scoring import check_k

__all__ = ["TercetRetriever"]


class TercetRetriever(BaseRetriever):
    """Search a :class:`tercet.Retriever`, by single vectors or late interaction, and rerank.

    Nodes have the id as a str, the text, and as metadata all fields and a ``title`` if there is one.

    Args:
        retriever: the :class:`tercet.Retriever`; who opened it closes it.
        similarity_top_k: how many nodes.
        filters: what the metadata of nodes have to meet; every document is read for that.
        ids: ids of the documents that may be found; not together with ``filters``.
        rerank, depth, min_depth, stop_margin: as :meth:`tercet.Retriever.search` takes them.
        callback_manager: LlamaIndex's.

    Raises:
        ValueError: ``similarity_top_k`` below 1; both ``filters`` and ``ids``.
    """

    def __init__(
        self,
        retriever: Retriever,
        *,
        similarity_top_k: int = 10,
        filters: MetadataFilters | None = None,
        ids: Any = None,
        rerank: Any = None,
        depth: int | list[int] = 100,
        min_depth: int | None = None,
        stop_margin: float | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        if filters is not None and ids is not None:
            raise ValueError("filters, ids: expected one of them, got both")
        self._retriever = retriever
        self._k = check_k(similarity_top_k, "similarity_top_k")
        self._meets = None if filters is None else metadata_condition(filters)
        self._ids = ids
        self._stages = {
            "rerank": rerank,
            "depth": depth,
            "min_depth": min_depth,
            "stop_margin": stop_margin,
        }
        super().__init__(callback_manager=callback_manager)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        allowed, meets = self._ids, self._meets
        if meets is not None:
            allowed = self._retriever.matching(lambda document: meets(_metadata(document)))
        found = self._retriever.search(query_bundle.query_str, self._k, filter=allowed, **self._stages)
        return [NodeWithScore(node=_node(result), score=result.score) for result in found]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(result: Result) -> TextNode:
    return TextNode(id_=str(result.id), text=result.text, metadata=_metadata(result))


def _metadata(of: Document | Result) -> dict[str, Any]:
    return {**({"title": of.title} if of.title else {}), **of.metadata}
