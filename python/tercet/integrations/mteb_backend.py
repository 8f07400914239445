"""Single vectors of mteb's models in tercet's indexes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import numpy as np

from tercet.arrays import as_rows
from tercet.indexes import FlatIndex, HNSWIndex
from tercet.indexes.vectors import Metric, check_metric, metric_like
from tercet.types import Hits

__all__ = ["TopRanked", "VectorBackend", "check_known"]

TopRanked: TypeAlias = dict[str, list[str]]  # of a reranking task: the documents of each query that count


class VectorBackend:
    """Single vectors of an mteb model in a :class:`tercet.FlatIndex` or :class:`tercet.HNSWIndex`.

    For ``mteb.models.SearchEncoderWrapper(model, index_backend=VectorBackend(model))``, which is what
    ``mteb.evaluate`` takes. :class:`tercet.integrations.mteb.VectorSearch` is in its place, and faster: that
    wrapper encodes all documents before it stores them, and looks up the id of each hit in the data set.
    Scores of a FlatIndex of float32, the default, are the model's similarities.

    Args:
        model: the encoder, whose ``mteb_model_meta`` says how vectors compare: by cosine, dot product or
            Euclidean distance.
        index: makes the index, called with the number of dimensions and ``metric``: a class, or
            ``functools.partial(tercet.HNSWIndex, m=24)``.
        metric: ``"cosine"``, ``"dot"`` or ``"l2"``, if the model does not say.
        search: keyword arguments of the index's ``search``: ``ef=200`` for example.

    Attributes:
        ids: of the documents, by their place.

    Raises:
        ValueError: the model compares in another way, or does not say.
    """

    def __init__(
        self,
        model: Any,
        index: Callable[..., FlatIndex | HNSWIndex] = FlatIndex,
        *,
        metric: Metric | None = None,
        **search: Any,
    ) -> None:
        self._metric = _metric_of(model.mteb_model_meta.similarity_fn_name) if metric is None else metric
        check_metric(self._metric)
        self._make, self._search = index, search
        self.clear()

    def clear(self) -> None:
        """Forget all documents."""
        self._index: FlatIndex | HNSWIndex | None = None
        self.ids: list[str] = []

    def add_documents(self, embeddings: Any, idxs: Sequence[str]) -> None:
        """Store vectors ``[n, dim]`` of documents; ``idxs`` are their ids. May be called several times."""
        rows, ids = as_rows(_not_double(embeddings), "embeddings"), list(idxs)
        if len(ids) != len(rows.data):
            raise ValueError(f"idxs: expected {len(rows.data)}, one for each embedding, got {len(ids)}")
        if self._index is None:
            self._index = self._make(rows.dim, metric=self._metric)
        self._index.add(rows, range(len(self.ids), len(self.ids) + len(ids)))
        self.ids += ids

    def search(
        self,
        embeddings: Any,
        top_k: int,
        similarity_fn: Any = None,
        top_ranked: TopRanked | None = None,
        query_idx_to_id: dict[int, str] | None = None,
    ) -> tuple[list[list[float]], list[list[int]]]:
        """Return scores and places of the best ``top_k`` documents of each query, best first.

        Args:
            embeddings: of the queries, ``[nq, dim]``.
            top_k: how many; fewer come when there are no more.
            similarity_fn: not used; the metric is known.
            top_ranked: of a reranking task, the documents of each query that count; places are then those in
                the query's list. A query that is not there gets none.
            query_idx_to_id: the id of each query, which goes with ``top_ranked``.

        Raises:
            ValueError: no documents were added, or ``top_ranked`` without ``query_idx_to_id``.
            KeyError: ``top_ranked`` names documents that were not added.
        """
        if self._index is None:
            raise ValueError("expected documents before queries: add_documents() comes first")
        queries = as_rows(_not_double(embeddings), "embeddings")
        if top_ranked is None:
            return self._lists(self._index.search(queries, top_k, **self._search))
        if query_idx_to_id is None:
            raise ValueError("top_ranked goes with query_idx_to_id, the ids of the queries; got None")
        listed = [top_ranked.get(query_idx_to_id[q], []) for q in range(len(queries.data))]
        check_known(listed, self.ids)
        place = {id: i for i, id in enumerate(self.ids)}
        allowed = [[place[id] for id in ids] for ids in listed]
        scores, places = self._lists(self._index.search(queries, top_k, filter=allowed, **self._search))
        ranks = [{p: rank for rank, p in enumerate(row)} for row in allowed]
        return scores, [[of[p] for p in row] for of, row in zip(ranks, places, strict=True)]

    def _lists(self, hits: Hits) -> tuple[list[list[float]], list[list[int]]]:
        # mteb's similarity is the negative distance, not its square
        scores = -np.sqrt(-hits.scores) if self._metric == "l2" else hits.scores
        filled = (hits.ids >= 0).sum(axis=1).tolist()  # the best come first
        return _cut(scores.tolist(), filled), _cut(hits.ids.tolist(), filled)


def check_known(listed: Sequence[Sequence[str]], ids: Any) -> None:
    """KeyError for documents of a reranking task that are not in the corpus."""
    missing = sorted({id for row in listed for id in row} - set(ids))
    if missing:
        raise KeyError(f"top_ranked: not in the corpus: {', '.join(missing[:5])} ({len(missing)} in all)")


def _cut(rows: list[list[Any]], lengths: list[int]) -> list[list[Any]]:
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def _metric_of(name: Any) -> Metric:
    metric = None if name is None else metric_like(name.value)
    if metric is None:
        raise ValueError(f"metric: the model compares by {name}; expected cosine, dot product or euclidean")
    return cast(Metric, metric)


def _not_double(embeddings: Any) -> Any:
    """Return float64, which models behind an API give, as float32; mteb's own backend rounds it as well."""
    kind = str(embeddings.dtype)
    if kind == "float64":
        return embeddings.astype(np.float32)
    return embeddings.float() if kind == "torch.float64" else embeddings
