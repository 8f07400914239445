"""LangChain: a retriever, two rerankers, a cross-encoder and a vector store.

==============================  =========================================  ==================================
class                           is a                                       over
==============================  =========================================  ==================================
:class:`TercetRetriever`        ``BaseRetriever``                          :class:`tercet.Retriever`
:class:`ColBERTReranker`        ``BaseDocumentCompressor``                 :class:`tercet.models.ColBERT`
:class:`CrossEncoderReranker`   ``BaseDocumentCompressor``                 :class:`tercet.models.CrossEncoder`
:class:`TercetCrossEncoder`     ``BaseCrossEncoder``                       :class:`tercet.models.CrossEncoder`
:class:`TercetVectorStore`      ``VectorStore``                            :class:`tercet.FlatIndex`, ...
==============================  =========================================  ==================================

Coroutines (``ainvoke``, ``acompress_documents``, ...) run in LangChain's executor, and may run at once.
"""

from tercet.integrations.extras import needs

with needs("langchain"):
    from tercet.integrations.langchain.cross_encoder import TercetCrossEncoder
    from tercet.integrations.langchain.reranker import ColBERTReranker, CrossEncoderReranker
    from tercet.integrations.langchain.retriever import TercetRetriever
    from tercet.integrations.langchain.vector_store import TercetVectorStore

__all__ = [
    "ColBERTReranker",
    "CrossEncoderReranker",
    "TercetCrossEncoder",
    "TercetRetriever",
    "TercetVectorStore",
]
