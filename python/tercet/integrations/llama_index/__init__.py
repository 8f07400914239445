"""LlamaIndex: a retriever, two rerankers and a vector store.

==============================  ===============================  ========================================
class                           is a                             over
==============================  ===============================  ========================================
:class:`TercetRetriever`        ``BaseRetriever``                :class:`tercet.Retriever`
:class:`ColBERTReranker`        ``BaseNodePostprocessor``        :class:`tercet.models.ColBERT`
:class:`CrossEncoderReranker`   ``BaseNodePostprocessor``        :class:`tercet.models.CrossEncoder`
:class:`TercetVectorStore`      ``BasePydanticVectorStore``      :class:`tercet.FlatIndex`, ...
==============================  ===============================  ========================================

Coroutines (``aretrieve``, ``apostprocess_nodes``, ``aquery``, ...) run in threads, and may run at once.
"""

from tercet.integrations.extras import needs

with needs("llama-index"):
    from tercet.integrations.llama_index.reranker import ColBERTReranker, CrossEncoderReranker
    from tercet.integrations.llama_index.retriever import TercetRetriever
    from tercet.integrations.llama_index.vector_store import TercetVectorStore

__all__ = ["ColBERTReranker", "CrossEncoderReranker", "TercetRetriever", "TercetVectorStore"]
