"""A directory of documents as a retriever of texts."""

from __future__ import annotations

import os
from threading import Lock
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.utils.filters import document_matches_filter

from tercet.retriever import Document as Stored
from tercet.retriever import Result, Retriever
from tercet.scoring import check_k

__all__ = ["TercetRetriever"]


@component
class TercetRetriever:
    """Search a :class:`tercet.Retriever`, by single vectors or late interaction, and rerank.

    Documents have the id as a str, the text as content, and as meta all fields and a ``title`` if there is
    one.

    Args:
        retriever: the directory, which ``warm_up`` or the first ``run`` opens with the model that it records,
            and ``close`` closes; or a :class:`tercet.Retriever`, which who opened it closes.
        top_k: how many documents.
        filters: what they have to meet, as Haystack says it; every document is read for that.
        rerank, depth, min_depth, stop_margin: as :meth:`tercet.Retriever.search` takes them.

    Raises:
        ValueError: ``top_k`` below 1.
    """

    def __init__(
        self,
        retriever: Retriever | str | os.PathLike[str],
        *,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        rerank: Any = None,
        depth: int | list[int] = 100,
        min_depth: int | None = None,
        stop_margin: float | None = None,
    ) -> None:
        self.top_k = check_k(top_k, "top_k")
        self.filters = filters
        self.rerank = rerank
        self._settings: dict[str, Any] = {"depth": depth, "min_depth": min_depth, "stop_margin": stop_margin}
        self._lock = Lock()
        self._given = isinstance(retriever, Retriever)
        self._retriever = retriever if isinstance(retriever, Retriever) else None
        self._path = str(retriever.path) if isinstance(retriever, Retriever) else os.fspath(retriever)

    def warm_up(self) -> None:
        """Open the directory and load its model, if that is not done yet."""
        _ = self._opened().encoder

    def close(self) -> None:
        """Close the directory, if this opened it; the next ``run`` opens it again."""
        with self._lock:
            if self._retriever is not None and not self._given:
                self._retriever.close()
                self._retriever = None

    def to_dict(self) -> dict[str, Any]:
        """Return the component as a dictionary, in which the path stands for the retriever.

        Raises:
            ValueError: there is something in ``rerank``, which a dictionary cannot tell of.
        """
        if self.rerank is not None:
            raise ValueError("rerank: objects cannot be written; put a ranker behind the retriever")
        result: dict[str, Any] = default_to_dict(
            self, retriever=self._path, top_k=self.top_k, filters=self.filters, **self._settings
        )
        return result

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """Return the component that :meth:`to_dict` described."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, Any]:
        """Return ``{"documents": ...}``, best first; what is None here is as the component was made."""
        retriever, wanted = self._opened(), self.filters if filters is None else filters
        allowed = None
        if wanted:
            allowed = retriever.matching(lambda stored: document_matches_filter(wanted, _document(stored)))
        limit = self.top_k if top_k is None else top_k
        found = retriever.search(query, limit, filter=allowed, rerank=self.rerank, **self._settings)
        return {"documents": [_document(result, result.score) for result in found]}

    def _opened(self) -> Retriever:
        with self._lock:
            if self._retriever is None:
                self._retriever = Retriever.open(self._path)
            return self._retriever


def _document(of: Stored | Result, score: float | None = None) -> Document:
    title = {"title": of.title} if of.title else {}
    return Document(id=str(of.id), content=of.text, meta={**title, **of.metadata}, score=score)
