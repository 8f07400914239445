"""What a retriever does with a query: find, let better models order what was found, say why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, Union, overload

from tercet.chain import Stopping, check_depths, check_stopping, ordered
from tercet.collection import Collection
from tercet.documents import Document, check_id, check_ids
from tercet.encoders import Encoder, Reranker, check_queries, check_reranker
from tercet.explain import Explanation, TokenMatch, explanation
from tercet.indexes import MultiVectorIndex
from tercet.scoring import check_k

__all__ = ["Result", "Searching", "Stage"]

Stage: TypeAlias = Union[Reranker, "Searching"]
Found: TypeAlias = list[tuple[Document, float]]


class Result(NamedTuple):
    """One found document.

    Attributes:
        id: as it was given.
        score: of the last stage that ranked it; larger is better.
        title, text: as they were given, empty if there was none.
        metadata: all other fields, as JSON keeps them.
    """

    id: int | str
    score: float
    title: str
    text: str
    metadata: dict[str, Any]


class Searching:
    """The part of :class:`tercet.Retriever` that reads."""

    _collection: Collection

    @property
    def encoder(self) -> Encoder:
        """The model."""
        raise NotImplementedError

    @overload
    def search(
        self,
        query: str,
        k: int = 10,
        *,
        filter: Any = None,
        rerank: Stage | Sequence[Stage] | None = None,
        depth: int | Sequence[int] = 100,
        min_depth: int | None = None,
        stop_margin: float | None = None,
    ) -> list[Result]: ...
    @overload
    def search(
        self,
        query: list[str] | tuple[str, ...],
        k: int = 10,
        *,
        filter: Any = None,
        rerank: Stage | Sequence[Stage] | None = None,
        depth: int | Sequence[int] = 100,
        min_depth: int | None = None,
        stop_margin: float | None = None,
    ) -> list[list[Result]]: ...
    def search(
        self,
        query: str | list[str] | tuple[str, ...],
        k: int = 10,
        *,
        filter: Any = None,
        rerank: Stage | Sequence[Stage] | None = None,
        depth: int | Sequence[int] = 100,
        min_depth: int | None = None,
        stop_margin: float | None = None,
    ) -> list[Result] | list[list[Result]]:
        """Return the ``k`` best documents, best first; for several queries, a list of that for each.

        Args:
            query: one query, or several.
            k: how many documents; fewer come when there are no more.
            filter: ids of the documents that may be found, for all queries; unknown ones are ignored.
            rerank: what orders the best ``depth`` documents (at least ``k``) anew: a
                :class:`tercet.models.CrossEncoder`; a :class:`tercet.models.ColBERT`, which encodes their
                texts now; a :class:`Retriever` that holds the same ids, whose stored vectors are compared; or
                another object with ``score(query, texts)``. A list of these is a chain: each orders the best
                of the one before it, and the results carry the scores of the last.
            depth: how many documents are reranked; for a chain, one number for all, or one for each.
            stop_margin: let the last of ``rerank`` read no more than it seems to need: it reads in the order
                of the stage before, the first ``min_depth`` at once and then 16 at a time, until the best of
                16 scores more than this below the ``k``-th best so far. Those that were not read are not
                returned. In units of its scores (of a cross-encoder, 0 to 1): 0 reads least, None and
                infinity read all. What it costs in quality, ``tercet compare --stop-margin`` measures.
            min_depth: how many it reads in any case, at least ``k``, which is the default.

        Raises:
            TypeError: a query that is no str, a filter that is no ids, a stage that cannot rerank.
            ValueError: an empty query, ``k`` or ``depth`` below 1, a ``depth`` that does not fit the chain,
                ``stop_margin`` without ``rerank``, scores that do not fit the texts.
            KeyError: a document that a :class:`Retriever` in the chain does not hold.
        """
        queries = check_queries(query)
        allowed = None if filter is None else check_ids(filter, "filter")
        stages = _stages(rerank)
        if stop_margin is not None and not stages:
            raise ValueError("stop_margin goes with rerank: there is nothing to stop")
        k = check_k(k, "k")
        depths = [max(k, number) for number in check_depths(depth, len(stages) or 1)]
        stopping = check_stopping(stop_margin, min_depth, k, depths[-1])
        if not queries:
            return []
        found = self._collection.search(
            self.encoder.encode_query(queries), depths[0] if stages else k, allowed
        )
        for place, (stage, most) in enumerate(zip(stages, depths, strict=False), 1):
            last = stopping if place == len(stages) else None
            found = [_ordered(stage, q, hits[:most], k, last) for q, hits in zip(queries, found, strict=True)]
        results = [
            [Result(d.id, score, d.title, d.text, d.metadata) for d, score in hits[:k]] for hits in found
        ]
        return results[0] if isinstance(query, str) else results

    def get(self, id: int | str) -> Document:
        """Return the document with an id as it is stored: ``id``, ``title``, ``text`` and ``metadata``.

        Raises:
            KeyError: no such document.
            TypeError: an id that is neither int nor str.
        """
        return self._collection.find(check_id(id))[0]

    def explain(self, query: str, id: int | str) -> list[TokenMatch]:
        """Return for each token of the query the best matching token of a document; needs kind "multi".

        The similarities are those of the stored vectors, and add up to the document's score.

        Raises:
            KeyError: no such document.
            TypeError: the encoder has no ``tokens``.
            ValueError: an index of kind "single", whose scores have no parts; tokens that do not fit the
                stored vectors.
        """
        return self.explanation(query, id).matches

    def explanation(self, query: str, id: int | str) -> Explanation:
        """Return what :meth:`explain` does, with all tokens and the similarities of any two of them.

        :func:`tercet.explain_html.explanation_page` and :func:`tercet.heatmap.heat_map` draw it. Errors as of
        :meth:`explain`.
        """
        document, key, index = self._collection.find(check_id(id))
        if not isinstance(index, MultiVectorIndex):
            raise ValueError("explain needs token vectors, an index of kind 'multi'; this one is 'single'")
        return explanation(self.encoder, query, document, index, key)

    def _scorer(self, query: str) -> Callable[[Sequence[Document]], list[float]]:
        """Return what scores documents by the vectors that are stored here."""
        vectors = self.encoder.encode_query([query])

        def score(documents: Sequence[Document]) -> list[float]:
            (hits,) = self._collection.search(vectors, len(documents), [d.id for d in documents])
            scores = {document.id: score for document, score in hits}
            missing = [d.id for d in documents if d.id not in scores]
            if missing:
                raise KeyError(f"{self!r} has no documents with ids {missing[:5]} ({len(missing)} in all)")
            return [scores[d.id] for d in documents]

        return score


def _stages(rerank: Any) -> list[Stage]:
    """Return one stage, several or none as a list; TypeError for what cannot rerank."""
    stages = list(rerank) if isinstance(rerank, (list, tuple)) else [] if rerank is None else [rerank]
    for stage in stages:
        if not isinstance(stage, Searching):
            check_reranker(stage)
    return stages


def _ordered(stage: Stage, query: str, found: Found, k: int, stopping: Stopping | None) -> Found:
    """Let a stage order what the one before it found."""
    documents = [document for document, _ in found]
    name = type(stage).__name__
    if isinstance(stage, Searching):
        return ordered(documents, stage._scorer(query), k, stopping, name)
    reranker: Reranker = stage
    return ordered(
        documents, lambda part: reranker.score(query, [d.content for d in part]), k, stopping, name
    )
