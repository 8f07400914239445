"""Haystack: two rankers and a retriever of texts.

===========================  =================================  ==================================
component                    ``run`` takes                      over
===========================  =================================  ==================================
:class:`TercetRetriever`     ``query``, ``filters``, ``top_k``  :class:`tercet.Retriever`
:class:`ColBERTRanker`       ``query``, ``documents``,          :class:`tercet.models.ColBERT`
                             ``top_k``
:class:`CrossEncoderRanker`  likewise                           :class:`tercet.models.CrossEncoder`
===========================  =================================  ==================================

``Pipeline.run_async`` runs them in threads, and may run several at once. There is no document store.
"""

from tercet.integrations.extras import needs

with needs("haystack"):
    from tercet.integrations.haystack.ranker import ColBERTRanker, CrossEncoderRanker
    from tercet.integrations.haystack.retriever import TercetRetriever

__all__ = ["ColBERTRanker", "CrossEncoderRanker", "TercetRetriever"]
