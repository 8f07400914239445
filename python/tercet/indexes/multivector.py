"""Late interaction: several vectors per document, scored by MaxSim."""

from __future__ import annotations

import operator
import warnings
from collections import Counter
from collections.abc import Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tercet import _core
from tercet.arrays import MAX_DIM, Rows, as_float32, as_tokens, check_dim
from tercet.indexes.base import (
    CODECS,
    RESIDUAL,
    BaseIndex,
    TokenCodec,
    as_filters,
    as_ids,
    check_settings,
    id_array,
    required_ids,
    sizes_of,
)
from tercet.indexes.token_recall import Calibrated
from tercet.pooling import pooled
from tercet.scoring import check_k, check_threads
from tercet.types import Hits, TokenMatches, TokenVectors, check_hits
from tercet.watching import Watcher, watched

if TYPE_CHECKING:
    from typing_extensions import Self  # of Python 3.11

    from tercet.cuda import DeviceMultiVectorIndex

__all__ = ["MultiVectorIndex"]

MAX_CENTROIDS = 65536
FEW_TOKENS = 1000  # to train on: what is learned from less stays bad


class MultiVectorIndex(Calibrated, BaseIndex):
    """Token vectors, as ColBERT models make them: searched exactly when few, by inverted lists when many.

    Scores are MaxSim: the sum over query tokens of the largest dot product with a stored token. Vectors are
    taken as they are; models normalise them. Threads may search at once; changes wait for them.

    Args:
        dim: number of dimensions, 1 to 65535.
        codec: ``"int4"``, ``"int2"`` or ``"binary"`` (4, 2 bits or 1 bit a dimension and a 2-byte scale a
            token, rotated at random), ``"int8"`` (a byte a dimension and a scale), ``"residual2"`` or
            ``"residual1"`` (2 bits or 1 bit of the difference from a centroid, whose number takes 2 bytes
            more: smaller errors than int2 and binary, but the centroids have to be trained), ``"pq16"``
            (product quantisation of that difference: 18 bytes a token whatever ``dim`` is, the fastest to
            score and the coarsest, for vectors of about one length: one a thousand times as long makes the
            scores of all coarser), ``"bfloat16"`` or ``"float32"``.
        seed: of the random rotation and of training.
    """

    _native: _core.MultiVectorIndex

    def __init__(self, dim: int, *, codec: TokenCodec = "int4", seed: int = 0) -> None:
        check_settings(dim, codec, seed, MAX_DIM, (*CODECS, *RESIDUAL))
        super().__init__()
        self.dim = operator.index(dim)
        self._codec = codec
        self.seed = operator.index(seed)
        self._native = _core.MultiVectorIndex(self.dim, codec, self.seed)

    def train(
        self,
        vectors: Any,
        *,
        centroids: int | None = None,
        iterations: int = 5,
        threads: int | None = None,
        progress: Watcher | None = None,
    ) -> None:
        """Train the centroids by k-means, once: those of a residual codec, and of the lists of any.

        Without this the first ``add`` trains a residual codec on what it adds: good enough if that is many
        documents like those to come, and for good: there is no second time. Fewer than 1,000 tokens give a
        warning. Lists of other codecs are trained when the index has become large, and again when it has
        become much larger, on what it holds; centroids given here are kept.

        Args:
            vectors: documents, as :meth:`add` takes them, pooled if those to come will be. A sample will do:
                64 tokens per centroid are used.
            centroids: how many, up to 65536; by default 16 times the root of the number of tokens, rounded
                down to a power of two, and at most one for four tokens. Never more than there are tokens.
            iterations: of k-means.
            threads: how many to use; all by default. The result does not depend on it.
            progress: called a few times a second, in this thread, with how much is done and how much there is
                to do: numbers of vectors, several times the sample.

        Raises:
            ValueError: the index is trained already.
        """
        tokens = self._tokens(vectors, "vectors")
        count = 0 if centroids is None else check_k(centroids, "centroids")
        if count > MAX_CENTROIDS:
            raise ValueError(f"centroids: expected at most {MAX_CENTROIDS}, got {count}")
        rows, rounds = as_float32(tokens.rows).data, check_k(iterations, "iterations")
        self._warn_of_few(len(rows))
        given = (rows, tokens.offsets, count, rounds, check_threads(threads))
        watched(lambda steps: self._native.train(*given, steps), progress)

    def add(
        self, vectors: Any, ids: Any = None, *, pool: int | None = None, threads: int | None = None
    ) -> npt.NDArray[Any]:
        """Add documents, or replace those whose id is there. All or nothing.

        Args:
            vectors: a list of ``[tokens, dim]`` arrays or tensors, as ``MultiVectorEncoder.encode_document``
                returns it, :class:`~tercet.TokenVectors`, a padded ``[n, tokens, dim]`` whose tokens all
                count, an Arrow ``list<fixed_size_list<float>>``, or one document ``[tokens, dim]``. A
                document without tokens scores ``-inf``.
            ids: one integer >= 0 or one non-empty string per document, one kind per index; None numbers on.
            pool: keep one vector for every ``pool`` tokens (:func:`tercet.pool_tokens`); None keeps all.
            threads: how many to use; all by default.

        Returns:
            The ids of the documents, ``[n]``.

        Raises:
            ValueError: wrong dimensions or rank, no documents, not finite, an id twice, ``pool`` below 1.
            TypeError: a dtype that would lose data, ids of the other kind, ``pool`` that is no integer.
        """
        tokens = self._tokens(vectors, "vectors")
        if pool is not None:
            tokens = pooled(tokens, check_k(pool, "pool"), 0, check_threads(threads), "vectors")
        rows = as_float32(tokens.rows).data
        if not self.trained and len(rows):
            self._warn_of_few(len(rows))
        return id_array(self._native.add(rows, tokens.offsets, as_ids(ids), check_threads(threads)))

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        candidates: int | None = None,
        target_recall: float | None = None,
        filter: Any = None,
        exact: bool = False,
        threads: int | None = None,
    ) -> Hits:
        """Return the best ``k`` documents of every query by MaxSim: always as many as there are, or allowed.

        A small index compares with every document. A large one (from 131,072 tokens on, or after
        :meth:`train`) finds ``candidates`` by lists of the documents that have a token near those of the
        query, and compares with these: scores are the same, and of the best few are missed.

        Args:
            queries: one ``[tokens, dim]``, a list of such, :class:`~tercet.TokenVectors`, a padded
                ``[n, tokens, dim]``, or an Arrow ``list<fixed_size_list<float>>``.
            k: how many; more than there are leaves places unfilled.
            candidates: how many documents to compare with, at least ``k``: more miss less, and take longer.
                By default 128 or ``2 k``, then twice as many, and so on until that brings nothing more into
                the best ``k``. Lists are of tokens that a model makes: among random ones they find little.
            target_recall: choose ``candidates`` so that this part of the best ``k`` is found
                (:meth:`calibrate`), of all documents; of few that a ``filter`` allows it is more.
            filter: which ids may be returned: ids (unknown ones are ignored), a bool mask over ``index.ids``
                or a :class:`~tercet.PackedMask` of it, or a list with one of these (or None) for each query.
            exact: compare with every document.
            threads: how many to use; all by default.

        Raises:
            ValueError: both ``candidates`` and ``target_recall``, or one that is out of range.
        """
        tokens = self._tokens(queries, "queries")
        rows = as_float32(tokens.rows).data
        filters = as_filters(filter, len(tokens))
        count = check_k(k)
        given = self._candidates(self, count, candidates, None if exact else target_recall)
        named = 0 if given is None else max(count, check_k(given, "candidates"))
        return Hits(
            *self._native.search(
                rows, tokens.offsets, count, filters, named, bool(exact), check_threads(threads)
            )
        )

    def rerank(self, queries: Any, candidates: Hits, k: int, *, threads: int | None = None) -> Hits:
        """Return the best ``k`` of each query's candidates by MaxSim over their stored tokens.

        Args:
            queries: as :meth:`search` takes them.
            candidates: hits from anywhere, one row per query; their scores are not used.
            k: how many; more than there are candidates leaves places unfilled.
            threads: how many to use; all by default.

        Raises:
            KeyError: a candidate that is not in this index.
        """
        tokens = self._tokens(queries, "queries")
        check_hits(candidates, tokens, "candidates")
        filters = [[hit.id for hit in hits] for hits in candidates]
        missing = sorted({str(i) for ids in filters for i in ids if i not in self})
        if missing:
            raise KeyError(f"candidates not in this index: {', '.join(missing[:5])} ({len(missing)} in all)")
        return self.search(tokens, k, filter=filters, exact=True, threads=threads)

    def explain(self, queries: Any, hits: Hits, *, threads: int | None = None) -> list[TokenMatches]:
        """Return for each query which tokens of its hits made their scores.

        Args:
            queries: as :meth:`search` took them.
            hits: what it returned, of this index or one with the same ids; one row per query.
            threads: how many to use; all by default.

        Returns:
            One :class:`~tercet.TokenMatches` for each query. Its scores are what search adds up, of vectors
            as they are stored: their sum is that of the hit, but for the order in which float32 adds.

        Raises:
            KeyError: a hit that is not in this index.
        """
        tokens = self._tokens(queries, "queries")
        check_hits(hits, tokens, "hits")
        rows, workers = as_float32(tokens.rows).data, check_threads(threads)
        explained = []
        for query, ids in enumerate(hits.ids):
            own = np.ascontiguousarray(rows[tokens.offsets[query] : tokens.offsets[query + 1]])
            found = [i for i in ids.tolist() if i != -1]
            scores, offsets = self._native.token_scores(own, required_ids(found), workers)
            grids = iter(np.split(scores, offsets[1:-1], axis=1))
            parts = [None if i == -1 else next(grids) for i in ids.tolist()]
            explained.append(TokenMatches.best(ids, parts, len(own)))
        return explained

    def to_device(self, device: int = 0) -> DeviceMultiVectorIndex:
        """Copy the index to a CUDA device (:mod:`tercet.cuda`); RuntimeError says why there is none."""
        from tercet.cuda import DeviceMultiVectorIndex

        return DeviceMultiVectorIndex(self, device)

    def get(self, ids: Any) -> TokenVectors:
        """Return the stored token vectors of ids, decoded to float32; KeyError names unknown ids."""
        values, offsets = self._native.get(required_ids(ids))
        return TokenVectors(Rows(values, "float32"), offsets)

    @property
    def trained(self) -> bool:
        """Whether the codec is ready: those that need no training are from the start."""
        return self.codec not in RESIDUAL or self._native.num_centroids() > 0

    @property
    def num_tokens(self) -> int:
        """Number of token vectors of all documents."""
        return self._native.num_tokens()

    @property
    def nbytes(self) -> int:
        """Bytes that the index takes, room to grow and mapped file included; :meth:`stats` has the parts."""
        return self._native.bytes()

    def stats(self) -> dict[str, Any]:
        """Return size, memory and settings.

        ``nbytes`` is the sum of ``bytes``: of the rows of all tokens the ``codes``, the ``scales`` and the
        numbers of their ``centroids``; the ``codebook`` that these, or the lists, are of; the inverted
        ``lists``; where the rows of ``documents`` are; and the ``ids``, with what finds them. Removed
        documents count until their place is used again. ``bytes_per_token`` is ``nbytes`` by ``tokens``.
        """
        sizes = sizes_of(self._native.bytes_by_part(), self.num_tokens)
        return {**self._header(), "centroids": self._native.num_centroids(), "size": len(self), **sizes}

    def _searched(self) -> AbstractContextManager[MultiVectorIndex]:
        return nullcontext(self)

    def _content(self) -> Counter[Hashable]:
        """Return how many documents have changed, by what searches of them depend on: their lists."""
        listed = self._native.bytes_by_part()["lists"] > 0
        return Counter({(self._native.num_centroids(), listed): self._native.changes()})

    def _warn_of_few(self, tokens: int) -> None:
        if self.codec in RESIDUAL and tokens < FEW_TOKENS:
            once = f"codec {self.codec!r} is trained once, and on {tokens} tokens only"
            warnings.warn(f"{once}: train() another on more", stacklevel=3)

    def _tokens(self, x: Any, name: str) -> TokenVectors:
        tokens = as_tokens(x, name)
        check_dim(tokens.rows, self.dim, name)
        if len(tokens) == 0:
            raise ValueError(f"{name}: expected at least one text, got none")
        return tokens

    @classmethod
    def _empty(cls, settings: dict[str, Any]) -> Self:
        return cls(settings["dim"], codec=settings["codec"], seed=settings.get("seed", 0))

    def __repr__(self) -> str:
        return f"MultiVectorIndex(dim={self.dim}, codec={self.codec!r}, size={len(self)})"
