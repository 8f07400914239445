"""Exact search over single vectors."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tercet import _core
from tercet.arrays import MAX_DIM
from tercet.indexes.base import Codec, as_filters, as_ids, check_settings, id_array
from tercet.indexes.vectors import Metric, VectorIndex, check_metric, check_rescore
from tercet.scoring import check_k, check_threads
from tercet.types import Hits

if TYPE_CHECKING:
    from typing_extensions import Self  # of Python 3.11

    from tercet.cuda import DeviceFlatIndex

__all__ = ["FlatIndex"]


class FlatIndex(VectorIndex):
    """An exact index of one vector per document.

    Searches may run from several threads at once; ``add`` and ``remove`` wait for them.

    Args:
        dim: number of dimensions, 1 to 65535.
        metric: ``"cosine"`` (vectors and queries are normalised; a zero vector scores 0), ``"dot"``
            (magnitudes are at most 1e15, so that no score overflows), or ``"l2"`` (scores are negative
            squared distances).
        codec: how vectors are stored: ``"float32"`` (4 bytes a dimension), ``"bfloat16"`` (2), ``"int8"``
            (1, and a 2-byte scale per vector), or ``"int4"``, ``"int2"`` or ``"binary"`` (a half, a quarter
            or an eighth, and a 2-byte scale; rotated at random).
        seed: of the random rotation.
        rescore: ``"float32"`` keeps the vectors themselves beside the codes. Scores are then theirs, of the
            documents that rank best by their codes, and ``search(..., exact=True)`` proves its answer.
    """

    _native: _core.FlatIndex

    def __init__(
        self,
        dim: int,
        *,
        metric: Metric = "cosine",
        codec: Codec = "float32",
        seed: int = 0,
        rescore: Literal["float32"] | None = None,
    ) -> None:
        check_settings(dim, codec, seed, MAX_DIM)
        check_metric(metric)
        check_rescore(rescore)
        if rescore is not None and codec == "float32":
            raise ValueError("rescore: codec 'float32' keeps the vectors already; expected another codec")
        self.dim = operator.index(dim)
        self.metric = metric
        self._codec = codec
        self.seed = operator.index(seed)
        self.rescore = rescore
        self._native = _core.FlatIndex(self.dim, metric, codec, self.seed, rescore is not None)

    def add(self, vectors: Any, ids: Any = None, *, threads: int | None = None) -> npt.NDArray[Any]:
        """Add vectors, or replace those whose id is there. All or nothing.

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
        filter: Any = None,
        exact: bool = False,
        threads: int | None = None,
    ) -> Hits:
        """Return the best ``k`` of every query.

        With ``rescore``, scores of the codes choose ``4 k`` documents, at least 64, and scores of their
        vectors rank them. Where the two orders have nothing in common, as with vectors that differ by less
        than a step of codes of 4 to 16 bits, the query is answered as with ``exact``.

        Args:
            queries: ``[nq, dim]`` or ``[dim]``.
            k: how many; more than there are leaves places unfilled.
            filter: which ids may be returned: ids (unknown ones are ignored), a bool mask over ``index.ids``
                or a :class:`~tercet.PackedMask` of it, or a list with one of these (or None) for each query.
                A mask goes by positions, which change when others remove or add: beside them, use ids.
            exact: return the ids and scores of a float32 index, bit for bit: every document is rescored that
                the bounds of the codes' errors cannot rule out. Needs ``rescore`` or codec ``"float32"``;
                :meth:`stats` says how many that were: few with codecs int8 and bfloat16; the bounds of
                smaller ones rule out little.
            threads: how many to use; all by default.

        Raises:
            ValueError: ``exact`` of an index that does not keep the vectors.
        """
        self._check_exact(exact)
        rows = np.ascontiguousarray(self._rows(queries, "queries"))
        filters = as_filters(filter, len(rows))
        return Hits(*self._native.search(rows, check_k(k), filters, bool(exact), check_threads(threads)))

    def to_device(self, device: int = 0) -> DeviceFlatIndex:
        """Copy the index as it is to a CUDA device, where it can be searched (:mod:`tercet.cuda`).

        Raises:
            RuntimeError: there is no device, or no library of kernels; says which.
            ValueError: the index rescores, or its metric is ``"l2"``, for which a device has no search.
        """
        from tercet.cuda import DeviceFlatIndex

        return DeviceFlatIndex(self, device)

    def stats(self) -> dict[str, Any]:
        """Return the settings, ``size`` (number of ids) and ``nbytes``.

        An index that keeps vectors also has ``rescore``, and counts since it was made or opened: ``searched``
        queries have ``rescored`` so many vectors. A proof (``exact=True``) is cheap if these are few.
        """
        facts = {**self._header(), "size": len(self), "nbytes": self.nbytes}
        if self.rescore is not None:
            facts["searched"], facts["rescored"] = self._native.rescored()
        return facts

    def _header(self) -> dict[str, Any]:
        header = {**super()._header(), "metric": self.metric}
        return header if self.rescore is None else {**header, "rescore": self.rescore}

    @classmethod
    def _empty(cls, settings: dict[str, Any]) -> Self:
        return cls(
            settings["dim"],
            metric=settings["metric"],
            codec=settings["codec"],
            seed=settings.get("seed", 0),
            rescore=settings.get("rescore"),
        )

    def __repr__(self) -> str:
        return f"FlatIndex(dim={self.dim}, metric={self.metric!r}, codec={self.codec!r}, size={len(self)})"
