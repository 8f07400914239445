"""Stages of a PyTerrier pipeline: ``Retriever(notes, text=True) % 100 >> Reranker(CrossEncoder())``.

Neither needs nor starts Java.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tercet
from tercet.chain import ordered
from tercet.encoders import Reranker as Model
from tercet.encoders import check_reranker
from tercet.integrations.extras import needs
from tercet.scoring import check_k

with needs("pyterrier"):
    import pyterrier as pt

__all__ = ["Reranker", "Retriever"]


class Retriever(pt.Transformer):
    """Finds documents in a :class:`tercet.Retriever`.

    From ``[qid, query]``, with other columns of queries, to ``[qid, query, docno, score, rank]``: queries in
    their order, of each the best document first, ``rank`` from 0, ``docno`` the id as a str. In a compiled
    pipeline (``pipeline.compile()``) a search finds no more than a ``% 10`` behind it lets through.

    Args:
        retriever: the documents and their model.
        k: how many documents a query finds; fewer come when there are no more.
        text: add a column ``text`` with title and text, which a ``Reranker`` reads.
        search: further keyword arguments of :meth:`tercet.Retriever.search`: ``rerank`` or ``filter``.

    Raises:
        TypeError: ``retriever`` is none.
        ValueError: ``k`` below 1.
    """

    def __init__(
        self, retriever: tercet.Retriever, k: int = 1000, *, text: bool = False, **search: Any
    ) -> None:
        if not isinstance(retriever, tercet.Retriever):
            raise TypeError(f"retriever: expected a tercet.Retriever, got {type(retriever).__name__}")
        self.retriever, self.k, self.text, self._search = retriever, check_k(k), text, search

    def transform(self, inp: Any) -> Any:
        """Return what each query finds; KeyError names the columns that are missing or too many."""
        pt.validate.query_frame(inp, extra_columns=["query"], context=self)
        found = self.retriever.search(inp["query"].tolist(), self.k, **self._search)
        results = [result for of in found for result in of]
        columns: dict[str, Any] = {
            "docno": [str(r.id) for r in results],
            "score": np.array([r.score for r in results], np.float64),
            "rank": np.array([rank for of in found for rank in range(len(of))], np.int64),
        }
        if self.text:
            columns["text"] = [f"{r.title} {r.text}".strip() for r in results]
        rows = np.repeat(np.arange(len(inp)), [len(of) for of in found])
        return inp.iloc[rows].assign(**columns).reset_index(drop=True)

    def fuse_rank_cutoff(self, k: int) -> Retriever | None:
        """Return what finds ``k`` documents: what ``% k`` is compiled to. None if it reranks that many."""
        if self._search.get("rerank") is not None:
            return None
        return Retriever(self.retriever, min(k, self.k), text=self.text, **self._search)

    def __repr__(self) -> str:
        return f"Retriever({self.retriever!r}, k={self.k})"


class Reranker(pt.Transformer):
    """Orders the documents of each query by the scores of a model.

    From ``[qid, query, docno, text]`` to the same rows and columns with new ``score`` and ``rank``: queries
    in their order, of each the best document first, equal ones as they were.

    Args:
        model: a :class:`tercet.models.CrossEncoder`, a :class:`tercet.models.ColBERT`, which encodes texts
            now, or another object with ``score(query, texts)``.
        column: the texts.

    Raises:
        TypeError: ``model`` is no reranker.
    """

    def __init__(self, model: Model, column: str = "text") -> None:
        check_reranker(model)
        self.model, self.column = model, column

    def transform(self, inp: Any) -> Any:
        """Return the documents of each query in their new order.

        Raises:
            KeyError: columns are missing; names them.
            TypeError: a query or a text that is no str.
        """
        pt.validate.result_frame(inp, extra_columns=["query", self.column], context=self)
        queries, texts = inp["query"].tolist(), inp[self.column].tolist()
        best: list[tuple[int, float]] = []
        ranks: list[int] = []
        for places in inp.groupby("qid", sort=False).indices.values():
            ranked = self._ordered(queries[places[0]], places.tolist(), texts)
            best += ranked
            ranks += range(len(ranked))
        scores = np.array([score for _, score in best], np.float64)
        rows = [row for row, _ in best]
        return inp.iloc[rows].assign(score=scores, rank=np.array(ranks, np.int64)).reset_index(drop=True)

    def _ordered(self, query: str, rows: list[int], texts: list[str]) -> list[tuple[int, float]]:
        return ordered(rows, lambda part: self.model.score(query, [texts[row] for row in part]), len(rows))

    def __repr__(self) -> str:
        return f"Reranker({self.model!r})"
