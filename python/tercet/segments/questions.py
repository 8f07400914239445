"""What a segmented index can be asked, by readers and by its writer."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.indexes.base import as_ids, sizes_of
from tercet.indexes.token_recall import Calibrated
from tercet.scoring import check_k
from tercet.segments.codebook import Codebook
from tercet.segments.sizes import bytes_by_part, file_bytes, segment_sizes
from tercet.segments.snapshot import Snapshot
from tercet.types import Hits, TokenMatches, TokenVectors

__all__ = ["Questions"]


class Questions(Calibrated):
    """Everything that changes nothing. Not public: use SegmentedIndex."""

    _path: Path

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Snapshot]:
        """Yield what there is, which does not change until the end of the block."""

    def _searched(self) -> AbstractContextManager[Snapshot]:
        return self._reading()

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
        """Return the best ``k`` documents of every query by MaxSim.

        Args:
            queries: one ``[tokens, dim]``, a list of such, :class:`~tercet.TokenVectors`, or a padded
                ``[n, tokens, dim]``.
            k: how many; more than there are leaves places unfilled.
            candidates: with how many documents of each segment that has lists to compare, at least ``k``, as
                :meth:`MultiVectorIndex.search` takes it.
            target_recall: choose ``candidates`` so that this part of the best ``k`` is found
                (:meth:`calibrate`).
            filter: which ids may be returned: ids (unknown ones are ignored), a bool mask over ``index.ids``
                or a :class:`~tercet.PackedMask` of it, or a list with one of these (or None) for each query.
            exact: compare with every document.
            threads: how many to use; all by default.

        Raises:
            ValueError: both ``candidates`` and ``target_recall``, or one that is out of range.
        """
        with self._reading() as now:
            chosen = self._candidates(now, check_k(k), candidates, None if exact else target_recall)
            return now.search(queries, k, candidates=chosen, filter=filter, exact=exact, threads=threads)

    def rerank(self, queries: Any, candidates: Hits, k: int, *, threads: int | None = None) -> Hits:
        """Return the best ``k`` of each query's candidates by MaxSim over their stored tokens.

        Args and errors are those of :meth:`MultiVectorIndex.rerank`.
        """
        with self._reading() as now:
            return now.rerank(queries, candidates, k, threads)

    def explain(self, queries: Any, hits: Hits, *, threads: int | None = None) -> list[TokenMatches]:
        """Return for each query which tokens of its hits made their scores.

        Args, errors and what is returned are those of :meth:`MultiVectorIndex.explain`.
        """
        with self._reading() as now:
            return now.explain(queries, hits, threads)

    def get(self, ids: Any) -> TokenVectors:
        """Return the stored token vectors of ids, decoded to float32; KeyError names unknown ids."""
        with self._reading() as now:
            return now.get(ids)

    @property
    def ids(self) -> npt.NDArray[Any]:
        """All ids, ``int64[n]`` or an object array of str; a filter mask follows this order.

        The order changes when ids are added or removed, or segments merged.
        """
        with self._reading() as now:
            return now.ids

    def __len__(self) -> int:
        """Return the number of documents."""
        with self._reading() as now:
            return len(now)

    def __contains__(self, id: object) -> bool:
        """Tell whether an id is in the index."""
        with self._reading() as now:
            try:
                one = as_ids(id) if np.ndim(id) == 0 else None  # type: ignore[arg-type]
                return one is not None and bool(now.find(one)[0][0] >= 0)
            except (TypeError, ValueError):
                return False

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        with self._reading() as now:
            return now.manifest.dim

    @property
    def codec(self) -> str:
        """How vectors are stored."""
        with self._reading() as now:
            return now.manifest.codec

    @property
    def seed(self) -> int:
        """Of the random rotation and of training."""
        with self._reading() as now:
            return now.manifest.seed

    @property
    def generation(self) -> int:
        """Number of the commit that this object sees, or last made; 1 is that of :meth:`create`."""
        with self._reading() as now:
            return now.manifest.generation

    @property
    def codebook(self) -> Codebook | None:
        """What the residuals are of, None for other codecs and before it is trained."""
        with self._reading() as now:
            return now.codebook

    @property
    def num_tokens(self) -> int:
        """Number of token vectors of all documents."""
        with self._reading() as now:
            return sum(segment.num_tokens for segment in now.segments)

    @property
    def nbytes(self) -> int:
        """Bytes that the index takes, in mapped files and in memory, removed documents included."""
        with self._reading() as now:
            return sum(bytes_by_part(now).values())

    def stats(self) -> dict[str, Any]:
        """Return sizes and settings.

        ``removed`` is how many documents wait for :meth:`compact`. ``nbytes``, ``bytes`` and
        ``bytes_per_token`` are as those of :meth:`MultiVectorIndex.stats`, over all segments, whose common
        codebook counts once; and ``tombstones`` are what says which documents are removed. ``file_bytes`` are
        those of all files; ``per_segment`` says for each, the older first, its ``file`` (None: not written
        yet), ``size``, ``removed``, ``tokens``, ``nbytes`` and ``file_bytes``, tombstones included.
        """
        with self._reading() as now:
            return {
                **now.empty._header(),
                "kind": "SegmentedIndex",
                **({} if now.codebook is None else {"centroids": now.codebook.centroids}),
                "generation": now.manifest.generation,
                "segments": len(now.segments),
                "size": len(now),
                "removed": sum(len(segment.index) for segment in now.segments) - len(now),
                **sizes_of(bytes_by_part(now), self.num_tokens),
                "file_bytes": file_bytes(now, self._path),
                "per_segment": segment_sizes(now),
            }

    def verify(self) -> None:
        """Compare all files of the commit with their checksums.

        Raises:
            FileNotFoundError: one is missing.
            ValueError: one is damaged; the message names it and the part.
        """
        with self._reading() as now:
            now.verify(self._path)
