"""Rerankers of documents: MaxSim and cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field, PrivateAttr

from tercet.integrations.models import LazyModel, rank

__all__ = ["ColBERTReranker", "CrossEncoderReranker"]


class _Reranker(BaseDocumentCompressor):
    model: Any = None
    """Name, path or object; None for the small model that comes with tercet. Loaded when first used."""
    top_n: int | None = Field(default=None, ge=1)
    """How many documents are kept; None for all."""
    score_key: str | None = "relevance_score"
    """Under which key of the metadata a document's score is put; None leaves it out."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further keyword arguments of the class of :mod:`tercet.models` that loads ``model``."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    _kind: ClassVar[Literal["ColBERT", "CrossEncoder"]]
    _reranker: LazyModel = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Make ready what loads the model."""
        self._reranker = LazyModel(self._kind, self.model, self.options)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return copies of the best ``top_n`` documents, best first; equal ones stay in order."""
        best = rank(self._reranker, query, [document.page_content for document in documents], self.top_n)
        return [self._scored(documents[place], score) for place, score in best]

    def _scored(self, document: Document, score: float) -> Document:
        added = {} if self.score_key is None else {self.score_key: score}
        return document.model_copy(update={"metadata": {**document.metadata, **added}})


class ColBERTReranker(_Reranker):
    """Order documents by late interaction: MaxSim of the token vectors of query and document.

    Scores are those of ``sentence_transformers.MultiVectorEncoder.similarity`` with the same checkpoint:
    markers, query expansion, projection and skipped tokens are the checkpoint's own.

    Args:
        model: what :class:`tercet.models.ColBERT` takes, or one.
        top_n: how many documents are kept; None for all.
        score_key: under which key of the metadata a score is put, None for nowhere.
        options: further keyword arguments of :class:`tercet.models.ColBERT`, as a dict.
    """

    _kind = "ColBERT"


class CrossEncoderReranker(_Reranker):
    """Order documents by a model that reads query and document together.

    Args:
        model: what :class:`tercet.models.CrossEncoder` takes, or one, or an object with
            ``score(query, texts)``.
        top_n: how many documents are kept; None for all.
        score_key: under which key of the metadata a score is put, None for nowhere.
        options: further keyword arguments of :class:`tercet.models.CrossEncoder`, as a dict.
    """

    _kind = "CrossEncoder"
