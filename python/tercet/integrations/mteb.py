"""Evaluate models with mteb, and search with tercet's indexes instead of comparing with everything.

:class:`MultiVectorSearch` is what ``mteb.evaluate`` takes for a model of late interaction, and
:class:`VectorBackend` what ``mteb.models.SearchEncoderWrapper`` takes for one of single vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from tercet.arrays import as_rows, as_tokens
from tercet.indexes import FlatIndex, HNSWIndex, MultiVectorIndex
from tercet.indexes.base import TokenCodec
from tercet.indexes.vectors import Metric, check_metric, metric_like
from tercet.integrations.extras import needs
from tercet.models import ColBERT
from tercet.scoring import check_k
from tercet.types import Hits, TokenVectors

with needs("mteb"):
    # Not public, but what joins titles, instructions and conversations to texts for every model of mteb
    from mteb._create_dataloaders import create_dataloader
    from mteb.models import ModelMeta, MultiVectorWrapper
    from mteb.models.model_meta import ScoringFunction
    from mteb.types import PromptType

__all__ = ["MultiVectorSearch", "VectorBackend"]


class MultiVectorSearch:
    """A late-interaction model for ``mteb.evaluate``, over a :class:`tercet.MultiVectorIndex`.

    It has the methods of ``mteb.models.SearchProtocol``. By default queries are compared with every document,
    in float32: scores are those of mteb's ``MultiVectorWrapper``. Those of another codec, of ``pool`` or of a
    search that is not exact are an experiment's, which mteb's cache keeps apart (``experiment_kwargs``).

    Args:
        model: a :class:`tercet.models.ColBERT`, a ``sentence_transformers.MultiVectorEncoder``, or a
            late-interaction model of mteb, as ``mteb.get_model`` returns it.
        codec: how token vectors are stored, as :class:`tercet.MultiVectorIndex` says.
        pool: keep one vector for every ``pool`` tokens of a document; None keeps all.
        chunk_size: how many documents are encoded, then stored, at a time. A codec that is trained is trained
            on the first of these.
        search: keyword arguments of :meth:`tercet.MultiVectorIndex.search`, ``exact=True`` if there are none.
            Reranking tasks compare with the documents that they name, whatever this says.

    Attributes:
        mteb_model_meta: the ``mteb.models.ModelMeta`` of the model.

    Raises:
        TypeError: ``model`` is none of the above.
    """

    mteb_model_meta: Any

    def __init__(
        self,
        model: Any,
        *,
        codec: TokenCodec = "float32",
        pool: int | None = None,
        chunk_size: int = 10_000,
        **search: Any,
    ) -> None:
        MultiVectorIndex(1, codec=codec)  # bad settings fail now, not after the first thousand documents
        self._model = _as_mteb_model(model)
        self._codec = codec
        self._pool = pool
        self._chunk_size = check_k(chunk_size, "chunk_size")
        self._search = search or {"exact": True}
        self._index: MultiVectorIndex | None = None
        self.mteb_model_meta = _named_after(self._model.mteb_model_meta, codec, pool, self._search)

    def index(self, corpus: Any, *, encode_kwargs: Any, num_proc: int | None = None, **task: Any) -> None:
        """Encode and store the documents; those of the task before are forgotten.

        Args:
            corpus: the ``datasets.Dataset`` of the task.
            encode_kwargs: what the model is called with, ``batch_size`` for example.
            num_proc: processes that read texts.
            task: ``task_metadata``, ``hf_split`` and ``hf_subset``, handed on to the model.
        """
        self._index = None  # before the next is made
        ids = list(corpus["id"])
        for start in range(0, len(ids), self._chunk_size):
            places = range(start, min(start + self._chunk_size, len(ids)))
            vectors = self._vectors(corpus.select(places), PromptType.document, encode_kwargs, num_proc, task)
            if self._index is None:
                self._index = MultiVectorIndex(vectors.dim, codec=self._codec)
            self._index.add(vectors, ids[places.start : places.stop], pool=self._pool)

    def search(
        self,
        queries: Any,
        *,
        top_k: int,
        encode_kwargs: Any,
        top_ranked: dict[str, list[str]] | None = None,
        num_proc: int | None = None,
        **task: Any,
    ) -> dict[str, dict[str, float]]:
        """Return the scores of the best ``top_k`` documents by query id and document id.

        Args:
            queries: the ``datasets.Dataset`` of the task.
            top_k: how many; fewer come when there are no more.
            encode_kwargs, num_proc, task: as :meth:`index` takes them.
            top_ranked: of a reranking task, the documents of each query that count; a query that is not there
                gets none.

        Raises:
            ValueError: :meth:`index` was not called before.
            KeyError: ``top_ranked`` names documents that are not in the corpus.
        """
        if self._index is None:
            raise ValueError("expected documents before queries: mteb calls index(), then search()")
        ids = list(queries["id"])
        vectors = self._vectors(queries, PromptType.query, encode_kwargs, num_proc, task)
        if top_ranked is None:
            return self._index.search(vectors, top_k, **self._search).to_run(ids)
        allowed = [top_ranked.get(query, []) for query in ids]
        _check_known(allowed, self._index.ids)
        return self._index.search(vectors, top_k, filter=allowed, exact=True).to_run(ids)

    def _vectors(
        self, texts: Any, side: Any, encode_kwargs: Any, num_proc: int | None, task: dict[str, Any]
    ) -> TokenVectors:
        task = {key: task[key] for key in ("task_metadata", "hf_split", "hf_subset")}
        loader = create_dataloader(
            texts,
            task_metadata=task["task_metadata"],
            prompt_type=side,
            batch_size=encode_kwargs.get("batch_size", 32),
            num_proc=num_proc,
        )
        return as_tokens(self._model._encode(loader, prompt_type=side, **task, **encode_kwargs), str(side))


class VectorBackend:
    """Single vectors of an mteb model in one of tercet's indexes.

    ``mteb.models.SearchEncoderWrapper(model, index_backend=VectorBackend(model))`` is what ``mteb.evaluate``
    takes. With a :class:`tercet.FlatIndex` of float32, the default, scores are the model's similarities.
    mteb caches results by the model's name, whatever the index: compare indexes with ``cache=None``.

    Args:
        model: the encoder, whose ``mteb_model_meta`` says how vectors compare: by cosine, dot product or
            Euclidean distance.
        index: makes the index, called with the number of dimensions and ``metric``: a class, or
            ``functools.partial(tercet.HNSWIndex, m=24)``.
        metric: ``"cosine"``, ``"dot"`` or ``"l2"``, if the model does not say.
        search: keyword arguments of the index's ``search``: ``ef=200`` for example.

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
        self._make = index
        self._search = search
        self._index: FlatIndex | HNSWIndex | None = None
        self._ids: list[str] = []

    def add_documents(self, embeddings: Any, idxs: Sequence[str]) -> None:
        """Store vectors ``[n, dim]`` of documents; ``idxs`` are their ids. May be called several times."""
        rows = as_rows(_not_double(embeddings), "embeddings")
        ids = list(idxs)
        if len(ids) != len(rows.data):
            raise ValueError(f"idxs: expected {len(rows.data)}, one for each embedding, got {len(ids)}")
        if self._index is None:
            self._index = self._make(rows.dim, metric=self._metric)
        self._index.add(rows, range(len(self._ids), len(self._ids) + len(ids)))
        self._ids += ids

    def search(
        self,
        embeddings: Any,
        top_k: int,
        similarity_fn: Any = None,
        top_ranked: dict[str, list[str]] | None = None,
        query_idx_to_id: dict[int, str] | None = None,
    ) -> tuple[list[list[float]], list[list[int]]]:
        """Return scores and places of the best ``top_k`` documents for each query, best first.

        Args:
            embeddings: of the queries, ``[nq, dim]``.
            top_k: how many; fewer come when there are no more.
            similarity_fn: not used; the metric is known.
            top_ranked: of a reranking task, the ids of each query that count; places are then those in the
                query's list. A query that is not there gets none.
            query_idx_to_id: the id of each query, which goes with ``top_ranked``.

        Raises:
            ValueError: no documents were added, or ``top_ranked`` without ``query_idx_to_id``.
            KeyError: ``top_ranked`` names documents that were not added.
        """
        if self._index is None:
            raise ValueError("expected documents before queries: add_documents() comes first")
        queries = as_rows(_not_double(embeddings), "embeddings")
        if top_ranked is None:
            return self._scores_and_places(self._index.search(queries, top_k, **self._search))
        if query_idx_to_id is None:
            raise ValueError("top_ranked goes with query_idx_to_id, the ids of the queries; got None")
        listed = [top_ranked.get(query_idx_to_id[q], []) for q in range(len(queries.data))]
        _check_known(listed, self._ids)
        place = {id: i for i, id in enumerate(self._ids)}
        allowed = [[place[id] for id in ids] for ids in listed]
        hits = self._index.search(queries, top_k, filter=allowed, **self._search)
        scores, places = self._scores_and_places(hits)
        ranks = [{p: rank for rank, p in enumerate(row)} for row in allowed]
        return scores, [[of[p] for p in row] for of, row in zip(ranks, places, strict=True)]

    def clear(self) -> None:
        """Forget all documents."""
        self._index = None
        self._ids = []

    def _scores_and_places(self, hits: Hits) -> tuple[list[list[float]], list[list[int]]]:
        if self._metric == "l2":  # mteb's similarity is the negative distance, not its square
            hits = Hits(hits.ids, -np.sqrt(-hits.scores))
        return [[hit.score for hit in row] for row in hits], [[int(hit.id) for hit in row] for row in hits]


class _ColBERTOfMteb:
    """A :class:`ColBERT`, called as mteb calls its own late-interaction models."""

    def __init__(self, model: ColBERT) -> None:
        self._model = model
        facts = model.fingerprint()
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": model.name if "/" in model.name else f"tercet/{model.name}",  # mteb asks for a slash
                "revision": facts["content"],
                "max_tokens": facts["max_length"],
                "embed_dim": model.dim,
                "similarity_fn_name": ScoringFunction.MAX_SIM,
                "model_type": ["late-interaction"],
            }
        )

    def _encode(self, inputs: Any, *, prompt_type: Any, **_: Any) -> TokenVectors:
        texts = [text for batch in inputs for text in batch["text"]]
        query = prompt_type == PromptType.query
        return self._model.encode_query(texts) if query else self._model.encode_document(texts)


def _as_mteb_model(model: Any) -> Any:
    """Return what has ``_encode`` and ``mteb_model_meta``."""
    if isinstance(model, ColBERT):
        return _ColBERTOfMteb(model)
    if hasattr(model, "mteb_model_meta") and hasattr(model, "_encode"):
        return model
    if any(cls.__name__ == "MultiVectorEncoder" for cls in type(model).__mro__):
        return MultiVectorWrapper(model)
    raise TypeError(
        "model: expected a tercet.models.ColBERT, a MultiVectorEncoder or a late-interaction model of mteb, "
        f"got {type(model).__name__}"
    )


def _named_after(meta: Any, codec: str, pool: int | None, search: dict[str, Any]) -> Any:
    """Return the model's metadata, with what makes its scores others than the model's own."""
    settings = {"codec": codec, "pool": pool, **search}
    usual = {"codec": "float32", "pool": None, "exact": True}
    if settings == usual:
        return meta
    return meta.model_copy(update={"experiment_kwargs": {**(meta.experiment_kwargs or {}), **settings}})


def _metric_of(name: Any) -> Metric:
    metric = None if name is None else metric_like(name.value)
    if metric is None:
        raise ValueError(f"metric: the model compares by {name}; expected cosine, dot product or euclidean")
    return cast(Metric, metric)


def _check_known(listed: Sequence[Sequence[str]], ids: Any) -> None:
    """KeyError for documents of a reranking task that are not in the corpus."""
    missing = sorted({id for row in listed for id in row} - set(ids))
    if missing:
        raise KeyError(f"top_ranked: not in the corpus: {', '.join(missing[:5])} ({len(missing)} in all)")


def _not_double(embeddings: Any) -> Any:
    """Return float64, which models behind an API give, as float32; mteb's own backend rounds it as well."""
    kind = str(embeddings.dtype)
    if kind == "float64":
        return embeddings.astype(np.float32)
    return embeddings.float() if kind == "torch.float64" else embeddings
