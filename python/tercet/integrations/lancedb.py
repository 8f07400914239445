"""What LanceDB finds, ordered by a model of tercet's: ``table.search(...).rerank(Reranker(ColBERT()))``."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tercet.chain import ordered
from tercet.encoders import Reranker as Model
from tercet.encoders import check_reranker
from tercet.integrations.extras import needs
from tercet.scoring import maxsim

with needs("lancedb"):
    import pyarrow as pa
    from lancedb import rerankers

__all__ = ["Reranker"]

SCORE = "_relevance_score"


class Reranker(rerankers.Reranker):
    """Orders the results of a vector, full-text or hybrid search by the scores of a model.

    The order is total: score descending, and equal ones as the search had them.

    Args:
        model: a :class:`tercet.models.CrossEncoder`, a :class:`tercet.models.ColBERT`, which encodes texts
            now, or another object with ``score(query, texts)``.
        column: the texts; null counts as an empty one. With a ColBERT it may be a multivector column
            (``list<fixed_size_list<float32, dim>>``) of its token vectors: these are compared as they are
            stored, and no text is encoded.
        return_score: ``"relevance"`` for the model's scores alone (``_relevance_score``, float32), or
            ``"all"`` to keep ``_distance`` and ``_score`` of the searches.

    Raises:
        TypeError: ``model`` is no reranker.
    """

    def __init__(
        self, model: Model, column: str = "text", return_score: Literal["relevance", "all"] = "relevance"
    ) -> None:
        check_reranker(model)
        super().__init__(return_score)
        self.model = model
        self.column = column

    def rerank_vector(self, query: str, vector_results: Any) -> Any:
        """Return the rows of a vector search, best first.

        Raises:
            KeyError: there is no such column; a search with ``select`` has to name it.
            TypeError: a query that is no str, or a column that the model cannot read.
        """
        return self._reranked(query, vector_results)

    def rerank_fts(self, query: str, fts_results: Any) -> Any:
        """Return the rows of a full-text search, best first; errors as :meth:`rerank_vector`."""
        return self._reranked(query, fts_results)

    def rerank_hybrid(self, query: str, vector_results: Any, fts_results: Any) -> Any:
        """Return the rows that either search found, best first; errors as :meth:`rerank_vector`."""
        rows = self.merge_results(vector_results, fts_results)
        if self.score == "all" and "_score" in rows.column_names:
            # Of a row that both found there is one left, that of the vector search
            scores = dict(zip(*(fts_results[name].to_pylist() for name in ("_rowid", "_score")), strict=True))
            filled = pa.array([scores.get(id) for id in rows["_rowid"].to_pylist()], pa.float32())
            rows = rows.set_column(rows.column_names.index("_score"), "_score", filled)
        return self._reranked(query, rows)

    def __str__(self) -> str:
        return f"Reranker({self.model!r}, column={self.column!r})"

    def _reranked(self, query: str, rows: Any) -> Any:
        if self.column not in rows.column_names:
            raise KeyError(f"column {self.column!r}: the results have {', '.join(rows.column_names)}")
        best = ordered(range(len(rows)), lambda _: self._scores(query, rows[self.column]), len(rows))
        order, scores = ([i for i, _ in best], [score for _, score in best])
        ranked = rows.take(pa.array(order, pa.int64())).append_column(SCORE, pa.array(scores, pa.float32()))
        return self._keep_relevance_score(ranked)

    def _scores(self, query: str, column: Any) -> Any:
        """Return a score for each row, of which there is one at least."""
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return self.model.score(query, [text or "" for text in column.to_pylist()])
        if not pa.types.is_list(kind) or not hasattr(self.model, "encode_query"):
            wanted = "texts, or with a ColBERT its token vectors"
            raise TypeError(f"column {self.column!r}: expected {wanted}, got {kind}")
        (scores,) = maxsim(self.model.encode_query(query), column)
        return np.asarray(scores)
