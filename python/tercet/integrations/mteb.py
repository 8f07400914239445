"""Evaluate models with mteb, and search with tercet's indexes instead of comparing with everything.

``mteb.evaluate`` takes a :class:`MultiVectorSearch` for a model of late interaction, and a
:class:`VectorSearch` for one of single vectors. :class:`VectorBackend` is what
``mteb.models.SearchEncoderWrapper`` takes as ``index_backend``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

from tercet.arrays import as_tokens
from tercet.indexes import FlatIndex, HNSWIndex, MultiVectorIndex
from tercet.indexes.base import TokenCodec
from tercet.indexes.vectors import Metric
from tercet.integrations.extras import needs
from tercet.integrations.mteb_backend import TopRanked, VectorBackend, check_known
from tercet.models import BiEncoder, ColBERT
from tercet.scoring import check_k

with needs("mteb"):
    # Not public, but what joins titles, instructions and conversations to texts for every model of mteb
    from mteb._create_dataloaders import create_dataloader
    from mteb.models import ModelMeta, MultiVectorWrapper, SentenceTransformerEncoderWrapper
    from mteb.models.model_meta import ScoringFunction
    from mteb.types import PromptType

__all__ = ["MultiVectorSearch", "VectorBackend", "VectorSearch"]

Scores: TypeAlias = dict[str, dict[str, float]]  # by query id and document id


class _Search(ABC):
    """What both kinds of search share: the methods of ``mteb.models.SearchProtocol``."""

    mteb_model_meta: Any
    _chunk_size: int

    def index(self, corpus: Any, *, encode_kwargs: Any, num_proc: int | None = None, **task: Any) -> None:
        """Encode and store the documents, a chunk at a time; those of the task before are forgotten.

        Args:
            corpus: the ``datasets.Dataset`` of the task.
            encode_kwargs: what the model is called with, ``batch_size`` for example.
            num_proc: processes that read texts.
            task: ``task_metadata``, ``hf_split`` and ``hf_subset``, handed on to the model.
        """
        self._forget()
        ids = list(corpus["id"])
        for start in range(0, len(ids), self._chunk_size):
            part = range(start, min(start + self._chunk_size, len(ids)))
            vectors = self._read(corpus.select(part), PromptType.document, encode_kwargs, num_proc, task)
            self._add(vectors, ids[part.start : part.stop])

    def search(
        self,
        queries: Any,
        *,
        top_k: int,
        encode_kwargs: Any,
        top_ranked: TopRanked | None = None,
        num_proc: int | None = None,
        **task: Any,
    ) -> Scores:
        """Return the scores of the best ``top_k`` documents of each query; fewer where there are no more.

        Args:
            queries: the ``datasets.Dataset`` of the task.
            top_k, encode_kwargs, num_proc, task: as mteb gives them, and :meth:`index` takes them.
            top_ranked: of a reranking task, the documents of each query that count; a query that is not there
                gets none.

        Raises:
            ValueError: :meth:`index` was not called before.
            KeyError: ``top_ranked`` names documents that are not in the corpus.
        """
        vectors = self._read(queries, PromptType.query, encode_kwargs, num_proc, task)
        return self._find(vectors, list(queries["id"]), top_k, top_ranked)

    def _read(
        self, texts: Any, side: Any, encode_kwargs: Any, num_proc: int | None, task: dict[str, Any]
    ) -> Any:
        """Return what the model makes of texts."""
        task = {key: task[key] for key in ("task_metadata", "hf_split", "hf_subset")}
        given = {"task_metadata": task["task_metadata"], "prompt_type": side, "num_proc": num_proc}
        loader = create_dataloader(texts, batch_size=encode_kwargs.get("batch_size", 32), **given)
        return self._encode(loader, prompt_type=side, **task, **encode_kwargs)

    _encode: Callable[..., Any]

    @abstractmethod
    def _forget(self) -> None: ...
    @abstractmethod
    def _add(self, vectors: Any, ids: list[str]) -> None: ...
    @abstractmethod
    def _find(self, vectors: Any, ids: list[str], top_k: int, top_ranked: TopRanked | None) -> Scores: ...


class MultiVectorSearch(_Search):
    """A late-interaction model for ``mteb.evaluate``, over a :class:`tercet.MultiVectorIndex`.

    By default queries are compared with every document, in float32: scores are those of mteb's
    ``MultiVectorWrapper``. Those of another codec, of ``pool`` or of a search that is not exact are an
    experiment's, which mteb's cache keeps apart (``experiment_kwargs``).

    Args:
        model: a :class:`tercet.models.ColBERT`, a ``sentence_transformers.MultiVectorEncoder``, or a
            late-interaction model of mteb, as ``mteb.get_model`` returns it.
        codec: how token vectors are stored, as :class:`tercet.MultiVectorIndex` says.
        pool: keep one vector for every ``pool`` tokens of a document; None keeps all.
        chunk_size: how many documents are encoded, then stored, at a time. A codec that is trained is trained
            on the first of these.
        search: keyword arguments of :meth:`tercet.MultiVectorIndex.search`, ``exact=True`` if there are none.
            Reranking tasks compare with the documents that they name, whatever this says.

    Raises:
        TypeError: ``model`` is none of the above.
    """

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
        wrapped = _as_late_interaction(model)
        self._encode = wrapped._encode
        self._codec, self._pool = codec, pool
        self._chunk_size = check_k(chunk_size, "chunk_size")
        self._search = search or {"exact": True}
        self.mteb_model_meta = _experiment(
            wrapped.mteb_model_meta,
            {"codec": codec, "pool": pool, **self._search},
            {"codec": "float32", "pool": None, "exact": True},
        )
        self._forget()

    def _forget(self) -> None:
        self._index: MultiVectorIndex | None = None

    def _add(self, vectors: Any, ids: list[str]) -> None:
        tokens = as_tokens(vectors, "documents")
        if self._index is None:
            self._index = MultiVectorIndex(tokens.dim, codec=self._codec)
        self._index.add(tokens, ids, pool=self._pool)

    def _find(self, vectors: Any, ids: list[str], top_k: int, top_ranked: TopRanked | None) -> Scores:
        if self._index is None:
            raise ValueError("expected documents before queries: index() comes first")
        if top_ranked is None:
            return self._index.search(vectors, top_k, **self._search).to_run(ids)
        listed = [top_ranked.get(id, []) for id in ids]
        check_known(listed, self._index.ids)
        return self._index.search(vectors, top_k, filter=listed, exact=True).to_run(ids)


class VectorSearch(_Search):
    """A model of single vectors for ``mteb.evaluate``, over a :class:`tercet.FlatIndex` or an HNSWIndex.

    By default, with a FlatIndex of float32, scores are those of mteb's ``SearchEncoderWrapper``. Those of
    another index are an experiment's, as of :class:`MultiVectorSearch`.

    Args:
        model: a :class:`tercet.models.BiEncoder`, a ``SentenceTransformer``, or an encoder of mteb, as
            ``mteb.get_model`` returns it.
        index, metric, search: as :class:`VectorBackend` takes them.
        chunk_size: how many documents are encoded, then stored, at a time.

    Raises:
        TypeError: ``model`` is none of the above.
        ValueError: it compares vectors in a way that no index does, or does not say how.
    """

    def __init__(
        self,
        model: Any,
        index: Callable[..., FlatIndex | HNSWIndex] = FlatIndex,
        *,
        metric: Metric | None = None,
        chunk_size: int = 10_000,
        **search: Any,
    ) -> None:
        wrapped = _as_encoder(model)
        self._encode = wrapped.encode
        self._chunk_size = check_k(chunk_size, "chunk_size")
        self._backend = VectorBackend(wrapped, index, metric=metric, **search)
        header = index(1, metric="dot")._header()  # bad settings fail now
        settings = {key: value for key, value in header.items() if key not in ("dim", "metric")} | search
        self.mteb_model_meta = _experiment(
            wrapped.mteb_model_meta, settings, {"kind": "FlatIndex", "codec": "float32"}
        )

    def _forget(self) -> None:
        self._backend.clear()

    def _add(self, vectors: Any, ids: list[str]) -> None:
        self._backend.add_documents(vectors, ids)

    def _find(self, vectors: Any, ids: list[str], top_k: int, top_ranked: TopRanked | None) -> Scores:
        found = self._backend.search(vectors, top_k, None, top_ranked, dict(enumerate(ids)))
        run = {}
        for id, scores, places in zip(ids, *found, strict=True):
            names = self._backend.ids if top_ranked is None else top_ranked.get(id, [])
            run[id] = {names[place]: score for place, score in zip(places, scores, strict=True)}
        return run


class _Own:
    """A model of tercet's, called as mteb calls its own."""

    def __init__(self, model: BiEncoder | ColBERT) -> None:
        self._model = model
        facts, late = model.fingerprint(), isinstance(model, ColBERT)
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": model.name if "/" in model.name else f"tercet/{model.name}",  # mteb asks for a slash
                "revision": facts["content"],
                "max_tokens": facts["max_length"],
                "embed_dim": model.dim,
                "similarity_fn_name": ScoringFunction.MAX_SIM if late else ScoringFunction.COSINE,
                "model_type": ["late-interaction" if late else "dense"],
            }
        )

    def encode(self, inputs: Any, *, prompt_type: Any, **_: Any) -> Any:
        texts = [text for batch in inputs for text in batch["text"]]
        query = prompt_type == PromptType.query
        return self._model.encode_query(texts) if query else self._model.encode_document(texts)

    _encode = encode  # what mteb calls it where an encoder is one of late interaction


def _as_late_interaction(model: Any) -> Any:
    """Return what has ``_encode``, as all of mteb's have, and ``mteb_model_meta``."""
    if isinstance(model, ColBERT):
        return _Own(model)
    if hasattr(model, "mteb_model_meta") and hasattr(model, "_encode"):
        return model
    if _is_a(model, "MultiVectorEncoder"):
        return MultiVectorWrapper(model)
    raise TypeError(
        "model: expected a tercet.models.ColBERT, a MultiVectorEncoder or a late-interaction model of mteb, "
        f"got {type(model).__name__}"
    )


def _as_encoder(model: Any) -> Any:
    """Return what has ``encode`` as mteb calls it, and ``mteb_model_meta``."""
    if isinstance(model, BiEncoder):
        return _Own(model)
    if hasattr(model, "mteb_model_meta") and hasattr(model, "encode"):
        return model
    if _is_a(model, "SentenceTransformer"):
        return SentenceTransformerEncoderWrapper(model)
    raise TypeError(
        "model: expected a tercet.models.BiEncoder, a SentenceTransformer or an encoder of mteb, "
        f"got {type(model).__name__}"
    )


def _is_a(model: Any, name: str) -> bool:
    """Tell a class of sentence-transformers, which only tercet.models imports."""
    return any(cls.__name__ == name for cls in type(model).__mro__)


def _experiment(meta: Any, settings: dict[str, Any], usual: dict[str, Any]) -> Any:
    """Return a model's metadata, with the settings if scores of these are not the model's own."""
    if settings == usual:
        return meta
    return meta.model_copy(update={"experiment_kwargs": {**(meta.experiment_kwargs or {}), **settings}})
