"""Rankers of documents: MaxSim and cross-encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

from haystack import Document, component, default_from_dict, default_to_dict

from tercet.integrations.models import LazyModel, rank
from tercet.scoring import check_k

__all__ = ["ColBERTRanker", "CrossEncoderRanker"]


class _Ranker:
    _kind: ClassVar[Literal["ColBERT", "CrossEncoder"]]

    def __init__(
        self,
        model: Any = None,
        *,
        top_k: int | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        options: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.top_k = None if top_k is None else check_k(top_k, "top_k")
        self.meta_fields_to_embed = list(meta_fields_to_embed or [])
        self.embedding_separator = embedding_separator
        self.options = dict(options or {})
        self._ranker = LazyModel(self._kind, model, self.options)

    def warm_up(self) -> None:
        """Load the model, if it is not loaded yet; the first ``run`` does so otherwise."""
        with self._ranker.lent():
            pass

    def to_dict(self) -> dict[str, Any]:
        """Return the component as a dictionary.

        Raises:
            ValueError: the model was given as an object, of which a dictionary cannot tell.
        """
        if not (self.model is None or isinstance(self.model, str)):
            raise ValueError(
                f"model: only a name can be written, got a {type(self.model).__name__}: pass name and options"
            )
        result: dict[str, Any] = default_to_dict(
            self,
            model=self.model,
            top_k=self.top_k,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
            options=self.options,
        )
        return result

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """Return the component that :meth:`to_dict` described."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, Any]:
        """Return ``{"documents": ...}``: copies of the best ``top_k``, with scores, best first."""
        limit = self.top_k if top_k is None else check_k(top_k, "top_k")
        by_id: dict[str, Document] = {}
        for document in documents:
            by_id.setdefault(document.id, document)
        unique = list(by_id.values())
        best = rank(self._ranker, query, [self._text(document) for document in unique], limit)
        return {"documents": [replace(unique[place], score=score) for place, score in best]}

    def _text(self, document: Document) -> str:
        fields = [document.meta.get(field) for field in self.meta_fields_to_embed]
        parts = [str(field) for field in fields if field is not None]
        return self.embedding_separator.join([*parts, document.content or ""])


@component
class ColBERTRanker(_Ranker):
    """Order documents by late interaction: MaxSim of the token vectors of query and document.

    Scores are those of ``sentence_transformers.MultiVectorEncoder.similarity`` with the same checkpoint.
    Of documents with one id the first counts; equal scores keep the order of the documents.

    Args:
        model: what :class:`tercet.models.ColBERT` takes, or one. Loaded by ``warm_up`` or the first ``run``.
        top_k: how many documents are returned; None for all.
        meta_fields_to_embed: names of metadata that the model reads before the content.
        embedding_separator: what stands between these, and before the content.
        options: further keyword arguments of :class:`tercet.models.ColBERT`.

    Raises:
        ValueError: ``top_k`` below 1.
        TypeError: options for a model that is loaded already.
    """

    _kind = "ColBERT"


@component
class CrossEncoderRanker(_Ranker):
    """Order documents by a model that reads query and document together.

    Of documents with one id the first counts; equal scores keep the order of the documents.

    Args:
        model: what :class:`tercet.models.CrossEncoder` takes, or one, or an object with
            ``score(query, texts)``. Loaded by ``warm_up`` or the first ``run``.
        top_k: how many documents are returned; None for all.
        meta_fields_to_embed: names of metadata that the model reads before the content.
        embedding_separator: what stands between these, and before the content.
        options: further keyword arguments of :class:`tercet.models.CrossEncoder`.

    Raises:
        ValueError: ``top_k`` below 1.
        TypeError: options for a model that is loaded already.
    """

    _kind = "CrossEncoder"
