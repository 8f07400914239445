"""A directory of documents as a retriever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from tercet.integrations.langchain.filters import document_filter
from tercet.retriever import Document as Stored
from tercet.retriever import Result, Retriever

__all__ = ["TercetRetriever"]


class TercetRetriever(BaseRetriever):
    """Search a :class:`tercet.Retriever`, by single vectors or late interaction, and rerank.

    Documents have the text as ``page_content``, the id as a str, and as metadata all fields, a ``title`` if
    there is one, and the score. All but ``retriever`` and ``score_key`` can also be given to ``invoke``.

    Args:
        retriever: the :class:`tercet.Retriever`; who opened it closes it.
        k: how many documents.
        filter: which may be found: ids, as :meth:`tercet.Retriever.search` takes them, or a function of a
            document or a dict (:func:`tercet.integrations.langchain.filters.document_filter`), for which
            every document is read.
        rerank, depth, min_depth, stop_margin: as :meth:`tercet.Retriever.search` takes them.
        score_key: under which key of the metadata the score is put, None for nowhere.
    """

    retriever: Retriever
    k: int = Field(default=10, ge=1)
    filter: Any = None
    rerank: Any = None
    depth: int | list[int] = 100
    min_depth: int | None = None
    stop_margin: float | None = None
    score_key: str | None = "relevance_score"

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        names = ("k", "filter", "rerank", "depth", "min_depth", "stop_margin")
        settings = {**{name: getattr(self, name) for name in names}, **changes}
        chosen = settings["filter"]
        if callable(chosen) or isinstance(chosen, Mapping):
            meets = document_filter(chosen)
            settings["filter"] = self.retriever.matching(lambda document: meets(_document(document)))
        return [self._scored(result) for result in self.retriever.search(query, **settings)]

    def _scored(self, result: Result) -> Document:
        document = _document(result)
        if self.score_key is not None:
            document.metadata[self.score_key] = result.score
        return document


def _document(of: Stored | Result) -> Document:
    title = {"title": of.title} if of.title else {}
    return Document(id=str(of.id), page_content=of.text, metadata={**title, **of.metadata})
