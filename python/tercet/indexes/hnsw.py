"""Approximate search over single vectors, by a graph."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tercet import _core
from tercet.arrays import MAX_DIM, as_float32, as_rows, check_dim
from tercet.indexes.base import BaseIndex, as_filters, as_ids, check_settings, id_array, required_ids
from tercet.indexes.calibration import check_recall, part_of, smallest
from tercet.scoring import check_k, check_threads
from tercet.types import Hits

if TYPE_CHECKING:  # of Python 3.11
    from typing_extensions import Self

__all__ = ["HNSWIndex"]

DEFAULT_EF = 64
SAMPLE = 256  # vectors that ef is calibrated on


class HNSWIndex(BaseIndex):
    """A graph of one vector per document: finds most of the best in a fraction of an exact search's time.

    A navigable small-world graph (Malkov and Yashunin 2016) with one upper layer, over int8 codes; the best
    of those are ranked by the float32 vectors. Vectors can be added while others search; a removed one is
    gone for every later search, and its place is used again. The graph depends on the vectors and the order
    in which they came, not on the number of threads.

    Args:
        dim: number of dimensions, 1 to 65535.
        metric: ``"cosine"`` (vectors and queries are normalised; a zero vector scores 0), ``"dot"``, or
            ``"l2"`` (scores are negative squared distances).
        m: a node has up to ``2 m`` neighbours. More find more, and take more memory.
        ef_construction: how many candidates the neighbours of a new vector are chosen from.
        codec: how vectors are stored for the graph: ``"int8"`` (a byte a dimension, and a 2-byte scale).
        rescore: ``"float32"`` keeps the vectors themselves beside the codes, and scores are theirs; None
            keeps the codes alone, at a fifth of the memory and a little less recall.
        seed: for later use; the graph has no randomness.
    """

    _native: _core.HNSWIndex

    def __init__(
        self,
        dim: int,
        *,
        metric: Literal["cosine", "dot", "l2"] = "cosine",
        m: int = 16,
        ef_construction: int = 100,
        codec: Literal["int8"] = "int8",
        rescore: Literal["float32"] | None = "float32",
        seed: int = 0,
    ) -> None:
        check_settings(dim, codec, seed, MAX_DIM, ("int8",))
        if not isinstance(metric, str):
            raise TypeError(f"metric: expected str, got {type(metric).__name__}")
        if rescore not in (None, "float32"):
            raise ValueError(f"rescore: expected 'float32' or None, got {rescore!r}")
        self.dim = operator.index(dim)
        self.metric = metric
        self.m = check_k(m, "m")
        self.ef_construction = check_k(ef_construction, "ef_construction")
        self.codec = codec
        self.seed = operator.index(seed)
        self.rescore = rescore
        self._widths: dict[
            tuple[float, int], tuple[int, int]
        ] = {}  # what calibrate() found, and at which change
        self._native = _core.HNSWIndex(
            self.dim, metric, self.m, self.ef_construction, self.seed, rescore is not None
        )

    def add(self, vectors: Any, ids: Any = None, *, threads: int | None = None) -> npt.NDArray[Any]:
        """Add vectors, or replace those whose id is there. All or nothing.

        Searches go on meanwhile; they find none of the vectors before this returns, and all after.

        Args:
            vectors: ``[n, dim]`` or ``[dim]``.
            ids: ``n`` integers >= 0 or ``n`` non-empty strings, one kind per index; None numbers on from the
                largest integer ever used.
            threads: how many to use; all by default.

        Returns:
            The ids of the vectors, ``[n]``.

        Raises:
            ValueError: wrong dimensions or rank, no rows, a value that is not finite, an id given twice.
            TypeError: a dtype that would lose data, ids of the other kind.
        """
        rows = as_rows(vectors, "vectors")
        check_dim(rows, self.dim, "vectors")
        if len(rows.data) == 0:
            raise ValueError("vectors: expected at least one row, got none")
        return id_array(self._native.add(as_float32(rows).data, as_ids(ids), check_threads(threads)))

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        ef: int | None = None,
        target_recall: float | None = None,
        filter: Any = None,
        exact: bool = False,
        threads: int | None = None,
    ) -> Hits:
        """Return ``k`` of the best of every query: always as many as there are, or are allowed.

        Where that is faster, as with few vectors allowed, or many queries at once and a large ``ef``, they
        are compared with all vectors by their codes instead, which misses no more.

        Args:
            queries: ``[nq, dim]`` or ``[dim]``. Many at once are faster than one at a time.
            k: how many; more than there are leaves places unfilled.
            ef: how many nodes the search keeps in view, at least ``k``: more find more, and take longer. By
                default 64, or ``2 k`` if that is more.
            target_recall: choose ``ef`` so that this part of the best ``k`` is found (:meth:`calibrate`).
            filter: which ids may be returned: ids (unknown ones are ignored), a bool mask over ``index.ids``
                or a :class:`~tercet.PackedMask` of it, or a list with one of these (or None) for each query.
            exact: compare with every vector instead.
            threads: how many to use; all by default.

        Raises:
            ValueError: both ``ef`` and ``target_recall``, or one that is out of range.
        """
        rows = as_rows(queries, "queries")
        check_dim(rows, self.dim, "queries")
        if len(rows.data) == 0:
            raise ValueError("queries: expected at least one row, got none")
        if ef is not None and target_recall is not None:
            raise ValueError("ef, target_recall: expected one of them, got both")
        count = check_k(k)
        if target_recall is not None:
            width = self.calibrate(target_recall, count)
        else:
            width = max(DEFAULT_EF, 2 * count) if ef is None else check_k(ef, "ef")
        data = np.ascontiguousarray(as_float32(rows).data)
        filters = as_filters(filter, len(data))
        return Hits(*self._native.search(data, count, filters, width, bool(exact), check_threads(threads)))

    def get(self, ids: Any) -> npt.NDArray[np.float32]:
        """Return the stored vectors of ids, ``float32[n, dim]``: those kept for rescoring, or decoded codes.

        Raises:
            KeyError: unknown ids; names them.
        """
        return self._native.get(required_ids(ids))

    def calibrate(self, target_recall: float, k: int = 10) -> int:
        """Return the smallest ``ef``, of steps of a quarter, that reaches a recall (:meth:`estimate_recall`).

        The answer is kept until the index changes; finding it takes some hundred searches.

        Raises:
            ValueError: ``target_recall`` outside (0, 1], or one that no ``ef`` reaches.
        """
        check_recall(target_recall)
        first, change = check_k(k), self._native.changes()
        found, at = self._widths.get((target_recall, k), (0, -1))
        if at == change:
            return found
        width = smallest(target_recall, first, len(self), lambda ef: self.estimate_recall(ef, k), "ef")
        self._widths[target_recall, k] = (width, change)
        return width

    def estimate_recall(self, ef: int, k: int = 10) -> float:
        """Return the part of the best ``k`` that searches by the graph with this ``ef`` find.

        256 vectors of the index are searched for, each as if it were not there itself: what is measured are
        queries that are like the vectors. Others need more; to measure them, compare with ``exact=True``.
        """
        ids = self.ids
        if len(ids) < 2:
            return 1.0
        chosen = ids[np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(int)]
        count = min(check_k(k), len(ids) - 1)
        want = self.search(self.get(chosen), count + 1, exact=True)
        got, _ = self._native.search_held_out(required_ids(chosen), count, max(check_k(ef, "ef"), count), 0)
        rows = zip(want.ids.tolist(), chosen.tolist(), strict=True)
        return part_of([[i for i in row if i != own][:count] for row, own in rows], got.tolist())

    def stats(self) -> dict[str, Any]:
        """Return size, memory and settings; the graph's mean number of neighbours, and what is removed."""
        graph = {"mean_degree": self._native.mean_degree(), "removed": self._native.removed()}
        return {**self._header(), "size": len(self), "nbytes": self.nbytes, **graph}

    def _header(self) -> dict[str, Any]:
        settings = {"metric": self.metric, "m": self.m, "ef_construction": self.ef_construction}
        header = {**super()._header(), **settings}
        return header if self.rescore is None else {**header, "rescore": self.rescore}

    @classmethod
    def _empty(cls, settings: dict[str, Any]) -> Self:
        names = ("metric", "m", "ef_construction", "codec")
        return cls(
            settings["dim"], **{name: settings[name] for name in names}, rescore=settings.get("rescore")
        )

    def __repr__(self) -> str:
        return f"HNSWIndex(dim={self.dim}, metric={self.metric!r}, codec={self.codec!r}, size={len(self)})"
