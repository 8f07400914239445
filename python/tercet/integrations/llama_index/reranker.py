"""Rerankers of nodes: MaxSim and cross-encoder."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from tercet.integrations.models import LazyModel, rank

__all__ = ["ColBERTReranker", "CrossEncoderReranker"]


class _Reranker(BaseNodePostprocessor):
    model: Any = Field(default=None, description="Name, path or object; None for the small model of tercet.")
    top_n: int | None = Field(default=None, ge=1, description="How many nodes are kept; None for all.")
    metadata_mode: MetadataMode = Field(
        default=MetadataMode.EMBED, description="Which metadata the model reads before the text."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Further keyword arguments of the class that loads the model."
    )

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    _kind: ClassVar[Literal["ColBERT", "CrossEncoder"]]
    _reranker: LazyModel = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Make ready what loads the model."""
        self._reranker = LazyModel(self._kind, self.model, self.options)

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError(f"{self.class_name()} needs a query: pass query_str or query_bundle")
        query = query_bundle.query_str
        payload = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: str(self.model or self._kind),
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            texts = [node.get_content(metadata_mode=self.metadata_mode) for node in nodes]
            best = rank(self._reranker, query, texts, self.top_n)
            ranked = [NodeWithScore(node=nodes[place].node, score=score) for place, score in best]
            event.on_end(payload={EventPayload.NODES: ranked})
        return ranked


class ColBERTReranker(_Reranker):
    """Order nodes by late interaction: MaxSim of the token vectors of query and node.

    Scores are those of ``sentence_transformers.MultiVectorEncoder.similarity`` with the same checkpoint:
    markers, query expansion, projection and skipped tokens are the checkpoint's own. What is returned has the
    nodes themselves under new scores; equal ones stay in order.

    Args:
        model: what :class:`tercet.models.ColBERT` takes, or one. Loaded when it is first used.
        top_n: how many nodes are kept; None for all.
        metadata_mode: which metadata the model reads with the text: those for embedding models.
        options: further keyword arguments of :class:`tercet.models.ColBERT`, as a dict.
    """

    _kind = "ColBERT"

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this."""
        return "TercetColBERTReranker"


class CrossEncoderReranker(_Reranker):
    """Order nodes by a model that reads query and node together.

    What is returned has the nodes themselves under new scores; equal ones stay in order.

    Args:
        model: what :class:`tercet.models.CrossEncoder` takes, or one, or an object with
            ``score(query, texts)``. Loaded when it is first used.
        top_n: how many nodes are kept; None for all.
        metadata_mode: which metadata the model reads with the text: those for embedding models.
        options: further keyword arguments of :class:`tercet.models.CrossEncoder`, as a dict.
    """

    _kind = "CrossEncoder"

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this."""
        return "TercetCrossEncoderReranker"
