"""The values that travel through the library: ragged token vectors and masks in, ranked hits out."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from tercet.arrays import Rows, as_rows, as_tokens

__all__ = ["Hit", "Hits", "PackedMask", "TokenMatches", "TokenVectors", "check_hits", "merged"]


class Hit(NamedTuple):
    """One ranked document: its id as it was given to ``add``, and its score (larger is better)."""

    id: int | str
    score: float


class Hits:
    """The answer of every search and rerank: ``ids[nq, k]`` and ``scores[nq, k]``, best first.

    The order is total: score descending, then id ascending. Places that could not be filled (fewer than
    ``k`` documents were allowed) hold id ``-1`` and score ``-inf``; iteration leaves them out.

    Attributes:
        ids: ``int64[nq, k]``, or an object array of ``str`` (and ``-1``) when the index has string ids.
        scores: ``float32[nq, k]``.
    """

    __slots__ = ("ids", "scores")

    def __init__(self, ids: npt.NDArray[Any], scores: npt.NDArray[np.float32]) -> None:
        ids, scores = np.asarray(ids), np.asarray(scores)
        if ids.ndim != 2 or ids.shape != scores.shape:
            raise ValueError(
                f"ids and scores: expected two equal shapes [nq, k], got {ids.shape} and {scores.shape}"
            )
        self.ids = ids
        self.scores = scores

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.ids)

    @overload
    def __getitem__(self, query: int) -> list[Hit]: ...
    @overload
    def __getitem__(self, query: slice) -> Hits: ...
    def __getitem__(self, query: int | slice) -> list[Hit] | Hits:
        """Return the filled hits of one query, best first; of a slice, the hits of those queries."""
        if isinstance(query, slice):
            return Hits(self.ids[query], self.scores[query])
        row = operator.index(query)
        return [
            Hit(i, s)
            for i, s in zip(self.ids[row].tolist(), self.scores[row].tolist(), strict=True)
            if not (isinstance(i, int) and i == -1 and s == -np.inf)
        ]

    def __iter__(self) -> Iterator[list[Hit]]:
        """Yield one list of hits per query."""
        return (self[q] for q in range(len(self)))

    def __repr__(self) -> str:
        return f"Hits(queries={self.ids.shape[0]}, k={self.ids.shape[1]})"

    def to_run(self, query_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return ``{query id: {document id: score}}``, the run format of BEIR, mteb, ranx and pytrec_eval."""
        if len(query_ids) != len(self):
            raise ValueError(f"expected {len(self)} query ids, got {len(query_ids)}")
        return {
            str(query): {str(hit.id): hit.score for hit in hits}
            for query, hits in zip(query_ids, self, strict=True)
        }


@dataclass(frozen=True, eq=False)
class TokenMatches:
    """Which token of each hit every token of one query matched: the parts of its scores.

    Attributes:
        ids: of the hits, ``[hits]``, as the search gave them.
        document_tokens: ``int64[hits, query tokens]``, places among the vectors stored for the document; -1
            where the hit is unfilled or the document has no tokens. Of equal ones the first.
        scores: ``float32[hits, query tokens]``, of the two tokens; they add up to the hit's. ``-inf`` where
            there is none.
    """

    ids: npt.NDArray[Any]
    document_tokens: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    @classmethod
    def best(
        cls, ids: npt.NDArray[Any], grids: Sequence[npt.NDArray[np.float32] | None], query_tokens: int
    ) -> TokenMatches:
        """Take the best of each row of the hits' grids ``[query tokens, document tokens]``."""
        places = np.full((len(ids), query_tokens), -1, np.int64)
        scores = np.full(places.shape, -np.inf, np.float32)
        for hit, grid in enumerate(grids):
            if grid is not None and grid.shape[1]:
                places[hit] = grid.argmax(axis=1)
                scores[hit] = grid.max(axis=1)
        return cls(ids, places, scores)


class PackedMask:
    """A mask over ``index.ids``, a bit each: a filter that searches need not pack again.

    Args:
        bits: ``uint8[(size + 7) // 8]``, as ``numpy.packbits(mask, bitorder="little")`` makes them. Kept
            without a copy; bits beyond ``size`` do not count.
        size: how many ids there are.
    """

    __slots__ = ("bits", "size")

    def __init__(self, bits: Any, size: int) -> None:
        array, count = np.asarray(bits), operator.index(size)
        if count < 0:
            raise ValueError(f"size: expected at least 0, got {count}")
        if array.dtype != np.uint8 or array.shape != ((count + 7) // 8,):
            raise ValueError(
                f"bits: expected uint8[{(count + 7) // 8}] for {count} ids, got {array.dtype} {array.shape}"
            )
        self.bits: npt.NDArray[np.uint8] = np.ascontiguousarray(array)
        self.size = count

    @classmethod
    def pack(cls, mask: Any) -> PackedMask:
        """Pack a ``bool[n]`` mask."""
        array = np.asarray(mask)
        if array.dtype != np.bool_ or array.ndim != 1:
            raise ValueError(f"mask: expected bool[n], got {array.dtype} {list(array.shape)}")
        return cls(np.packbits(array, bitorder="little"), len(array))

    def __len__(self) -> int:
        """Return the number of ids it is a mask of."""
        return self.size

    def __repr__(self) -> str:
        return f"PackedMask(size={self.size})"


class TokenVectors:
    """Token vectors of several texts, one after another: the layout of Arrow ``List<FixedSizeList>``.

    Args:
        values: ``[total, dim]``; anything :func:`tercet.arrays.as_rows` takes, kept without a copy where
            the layout allows it.
        offsets: ``int64[n + 1]``; text ``i`` owns rows ``offsets[i]:offsets[i + 1]``. Starts at 0, never
            descends, ends at ``total``.
    """

    __slots__ = ("_rows", "offsets")

    def __init__(self, values: Any, offsets: Any) -> None:
        rows = as_rows(values, "values", one_is_row=False)
        bounds = np.asarray(offsets)
        if bounds.ndim != 1 or bounds.size < 1 or not np.issubdtype(bounds.dtype, np.integer):
            raise ValueError(f"offsets must be int64[n + 1], got {bounds.dtype} {bounds.shape}")
        bounds = np.ascontiguousarray(bounds, dtype=np.int64)
        if bounds[0] != 0 or bounds[-1] != len(rows.data) or np.any(np.diff(bounds) < 0):
            raise ValueError(
                f"offsets must rise from 0 to {len(rows.data)} (the number of rows), got "
                f"{bounds[0]} ... {bounds[-1]}" + (" and descend" if np.any(np.diff(bounds) < 0) else "")
            )
        self._rows = rows
        self.offsets: npt.NDArray[np.int64] = bounds

    @classmethod
    def _of(cls, rows: Rows, offsets: npt.NDArray[np.int64]) -> TokenVectors:
        """Make one of offsets that are known to be right, without the microseconds of checking them."""
        made = object.__new__(cls)
        made._rows = rows
        made.offsets = offsets
        return made

    @classmethod
    def from_list(cls, arrays: Sequence[Any]) -> TokenVectors:
        """Join a list of ``[tokens, dim]`` arrays or tensors, as ``encode_document`` returns them.

        An array of shape ``[0, dim]`` is a text without tokens. The list itself must not be empty, since
        it would not tell the dimension.
        """
        if len(arrays) == 0:
            raise ValueError("expected at least one array of shape [tokens, dim], got an empty list")
        parts = [as_rows(a, f"item {i}", one_is_row=False) for i, a in enumerate(arrays)]
        for i, part in enumerate(parts):
            if part.dim != parts[0].dim:
                raise ValueError(f"item {i}: expected {parts[0].dim} dimensions, got {part.dim}")
            if part.format != parts[0].format:
                raise TypeError(f"item {i}: expected {parts[0].format} like item 0, got {part.format}")
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(p.data) for p in parts], out=offsets[1:])
        return cls._of(Rows(np.concatenate([p.data for p in parts]), parts[0].format), offsets)

    @classmethod
    def from_padded(cls, values: Any, mask: Any) -> TokenVectors:
        """Take a padded batch ``[n, tokens, dim]`` where ``mask[n, tokens]`` is true."""
        return as_tokens(values, "values", mask=mask)

    @classmethod
    def from_arrow(cls, array: Any) -> TokenVectors:
        """Take an Arrow ``list<fixed_size_list<float>>``, an array or its chunks, as pyarrow has them.

        Any object with ``__arrow_c_array__`` or ``__arrow_c_stream__`` will do. Numbers are float32, float16
        or int8, nowhere null. One chunk is not copied (float16 is, to float32).
        """
        if not (hasattr(array, "__arrow_c_array__") or hasattr(array, "__arrow_c_stream__")):
            raise TypeError(f"array: expected an Arrow array, got {type(array).__name__}")
        return as_tokens(array, "array")

    @property
    def rows(self) -> Rows:
        """The vectors with their format; what the native code takes."""
        return self._rows

    @property
    def values(self) -> npt.NDArray[Any]:
        """The vectors ``[total, dim]``; bfloat16 appears as its bits in ``uint16`` (see ``format``)."""
        return self._rows.data

    @property
    def format(self) -> str:
        """``"float32"``, ``"bfloat16"`` or ``"int8"``."""
        return self._rows.format

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector."""
        return self._rows.dim

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> npt.NDArray[Any]:
        """Return the vectors ``[tokens, dim]`` of text ``i``."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"text {i} of {len(self)}")
        i %= len(self)
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        """Yield one ``[tokens, dim]`` array per text."""
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"TokenVectors(texts={len(self)}, tokens={len(self.values)}, dim={self.dim}, {self.format})"


def check_hits(hits: Any, queries: TokenVectors, name: str) -> None:
    """Raise unless these are hits of the queries."""
    if not isinstance(hits, Hits):
        raise TypeError(f"{name}: expected Hits of a search, got {type(hits).__name__}")
    if len(hits) != len(queries):
        raise ValueError(f"{name}: expected {len(queries)} rows, one per query, got {len(hits)}")


def merged(found: Sequence[Hits], k: int) -> Hits:
    """Return the best ``k`` of hits that have no id in common: score descending, then id ascending."""
    ids = np.concatenate([hits.ids for hits in found], axis=1)
    scores = np.concatenate([hits.scores for hits in found], axis=1)
    unfilled = ids == -1
    names = np.where(unfilled, "", ids) if ids.dtype == object else ids  # of one kind, to be compared
    order = np.lexsort((names, unfilled, -scores))[:, :k]
    out_ids = np.full((len(ids), k), -1, ids.dtype)
    out_scores = np.full((len(ids), k), -np.inf, np.float32)
    out_ids[:, : order.shape[1]] = np.take_along_axis(ids, order, 1)
    out_scores[:, : order.shape[1]] = np.take_along_axis(scores, order, 1)
    return Hits(out_ids, out_scores)
