"""Approximate search over single vectors, by a graph."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tercet import _core
from tercet.arrays import MAX_DIM
from tercet.indexes.base import as_filters, as_ids, check_settings, id_array
from tercet.indexes.calibration import RecallOf, check_recall, smallest
from tercet.indexes.recall import recall_for_queries, recall_for_vectors, while_others_change
from tercet.indexes.vectors import Metric, VectorIndex, check_metric, check_rescore
from tercet.scoring import check_k, check_threads
from tercet.types import Hits

if TYPE_CHECKING:  # of Python 3.11
    from typing_extensions import Self

__all__ = ["HNSWIndex"]

DEFAULT_EF = 64


class HNSWIndex(VectorIndex):
    """A graph of one vector per document: finds most of the best in a fraction of an exact search's time.

    A navigable small-world graph (Malkov and Yashunin 2016) with one upper layer, over int8 codes; the best
    of those are ranked by the float32 vectors. Vectors can be added while others search; a removed one is
    gone for every later search, and its place is used again. The graph depends on the vectors and the order
    in which they came, not on the number of threads.

    Args:
        dim: number of dimensions, 1 to 65535.
        metric: ``"cosine"`` (vectors and queries are normalised; a zero vector scores 0), ``"dot"``, or
            ``"l2"`` (scores are negative squared distances).
        m: a node has up to ``2 m`` neighbours, 2 to 128: more find more with the same ``ef``, and take
            ``8.5 m`` bytes a vector.
        ef_construction: how many candidates the neighbours of a new vector are chosen from. More find a
            little more, and take longer to add.
        codec: what the graph is walked by: ``"int8"`` (a byte a dimension, and a 2-byte scale), or the
            ``"float32"`` vectors. Codes of vectors that differ by little, in view of their largest value
            (positions on a map, data far from the origin), are all alike: where :meth:`add` finds that, it
            builds the graph anew without codes, and :attr:`codec` says so.
        rescore: ``"float32"`` keeps the vectors themselves beside the codes, and scores are theirs; None
            keeps the codes alone, at a third or a quarter of the memory and a little less recall, and cannot
            do without them.
    """

    _native: _core.HNSWIndex

    def __init__(
        self,
        dim: int,
        *,
        metric: Metric = "cosine",
        m: int = 16,
        ef_construction: int = 100,
        codec: Literal["int8", "float32"] = "int8",
        rescore: Literal["float32"] | None = "float32",
    ) -> None:
        check_settings(dim, codec, 0, MAX_DIM, ("int8", "float32"))
        check_metric(metric)
        check_rescore(rescore)
        self.dim = operator.index(dim)
        self.metric = metric
        self.m = check_k(m, "m")
        self.ef_construction = check_k(ef_construction, "ef_construction")
        self.rescore = rescore
        # what calibrate() found for a recall and a k, and at which change of the index
        self._widths: dict[tuple[float, int], tuple[int, int]] = {}
        self._native = _core.HNSWIndex(
            self.dim, metric, codec, self.m, self.ef_construction, rescore is not None
        )

    @property
    def codec(self) -> str:
        """What the graph is walked by: ``"int8"``, or ``"float32"`` if codes confuse the vectors."""
        return self._native.codec()

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
        rows = self._rows(vectors, "vectors")
        return id_array(self._native.add(rows, as_ids(ids), check_threads(threads)))

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
                A mask goes by positions, which change when others remove or add: beside them, use ids.
            exact: compare with every vector instead. Needs ``rescore``.
            threads: how many to use; all by default.

        Raises:
            ValueError: both ``ef`` and ``target_recall``, or one that is out of range; ``exact`` of an index
                that does not keep the vectors.
        """
        self._check_exact(exact)
        rows = np.ascontiguousarray(self._rows(queries, "queries"))
        if ef is not None and target_recall is not None:
            raise ValueError("ef, target_recall: expected one of them, got both")
        count = check_k(k)
        if target_recall is not None:
            width = self.calibrate(target_recall, count)
        else:
            width = max(DEFAULT_EF, 2 * count) if ef is None else check_k(ef, "ef")
        filters = as_filters(filter, len(rows))
        return Hits(*self._native.search(rows, count, filters, width, bool(exact), check_threads(threads)))

    def calibrate(self, target_recall: float, k: int = 10, *, queries: Any = None) -> int:
        """Return the smallest ``ef``, of steps of a quarter, that reaches a recall (:meth:`estimate_recall`).

        Finding it takes some hundred searches. Without ``queries`` the answer is kept until the index
        changes; with them, give it to the searches: ``search(..., ef=)``.

        Args:
            target_recall: above 0, at most 1.
            k: of the searches to come.
            queries: as :meth:`estimate_recall` takes them.

        Raises:
            ValueError: ``target_recall`` outside (0, 1], or one that no ``ef`` reaches.
            TypeError: ``target_recall`` that is no number.
        """
        check_recall(target_recall)
        count, change = check_k(k), self._native.changes()
        found, at = self._widths.get((target_recall, count), (0, -1))
        if at == change and queries is None:
            return found
        width = while_others_change(
            lambda: smallest(target_recall, count, len(self), self._recall(count, queries), "ef")
        )
        if queries is None:
            self._widths[target_recall, count] = (width, change)
        return width

    def estimate_recall(self, ef: int, k: int = 10, *, queries: Any = None) -> float:
        """Return the part of the best ``k`` that searches by the graph with this ``ef`` find.

        What the best are is found by comparing with all vectors, or without ``rescore`` with all codes.

        Args:
            ef: as :meth:`search` takes it.
            k: how many.
            queries: a sample of those to come, ``[nq, dim]`` or ``[dim]``, searched for one at a time: some
                hundred will do. Without any, 256 vectors of the index are searched for, each as if it were
                not there itself. Queries that are unlike the vectors, those of a text model say, need a
                larger ``ef``: give a sample of them.
        """
        count, width = check_k(k), check_k(ef, "ef")
        return while_others_change(lambda: self._recall(count, queries)(width))

    def _recall(self, k: int, queries: Any) -> RecallOf:
        if queries is None:
            return recall_for_vectors(self._native, k)
        return recall_for_queries(self._native, np.ascontiguousarray(self._rows(queries, "queries")), k)

    def stats(self) -> dict[str, Any]:
        """Return the settings, ``size`` (number of ids), ``nbytes``, and of the graph:

        ``mean_degree``, the mean number of neighbours, and ``removed``, how many vectors that were removed or
        replaced searches still pass through. When they are a tenth, the graph is repaired around them, and
        their places are used again. ``rescore`` is there if the vectors are kept.
        """
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
