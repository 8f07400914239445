"""Arrow and Parquet: vectors in, a batch at a time; hits, token vectors and whole indexes out.

Token vectors in Arrow arrays need no adapter: indexes take ``list<fixed_size_list<float>>`` as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tercet.arrays import as_float32
from tercet.integrations.extras import needs
from tercet.scoring import check_k
from tercet.types import Hits, TokenVectors

with needs("arrow"):
    import pyarrow as pa
    from pyarrow import parquet

__all__ = ["hits_table", "index_reader", "parquet_batches", "token_array"]


class Stored(Protocol):
    """Any of tercet's indexes: what it holds can be read back."""

    @property
    def ids(self) -> npt.NDArray[Any]:
        """All ids."""

    def get(self, ids: Any, /) -> Any:
        """Return the vectors, or token vectors, of ids."""


def parquet_batches(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    vectors: str = "vectors",
    ids: str = "id",
    *,
    batch_size: int = 1000,
) -> Iterator[tuple[Any, Any]]:
    """Yield ids and vectors of Parquet files, in their order: what indexes and streams of them take.

    ``tercet.SegmentedIndex.build(path, parquet_batches("papers.parquet"), dim=128)``, or
    ``for ids, rows in parquet_batches("papers.parquet"): index.add(rows, ids)``. A batch is in memory at a
    time, however large the file and its row groups are.

    Args:
        paths: one file, or several.
        vectors: name of the column. Of lists of numbers, each of one length, come rows ``[n, dim]``, for an
            index of single vectors; of lists of such lists, token vectors. Lists of a fixed size are not
            copied.
        ids: name of the column of integers or strings.
        batch_size: how many rows at most.

    Raises:
        KeyError: a file has no such column; says which it has.
        TypeError: a column of other things than vectors.
        ValueError: a null, or vectors of different lengths.
    """
    check_k(batch_size, "batch_size")
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        # By default a row group, which may be all of the file, is read before its first row is given
        with parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            missing = [name for name in (ids, vectors) if name not in file.schema_arrow.names]
            if missing:
                there = ", ".join(file.schema_arrow.names)
                raise KeyError(f"{os.fspath(path)}: no column {missing[0]!r}; there are {there}")
            for batch in file.iter_batches(batch_size, columns=[ids, vectors]):
                if len(batch):
                    yield batch.column(ids), _vectors(batch.column(vectors), f"{os.fspath(path)}: {vectors}")


def token_array(tokens: TokenVectors) -> Any:
    """Return token vectors as a ``pyarrow`` array ``list<fixed_size_list<number, dim>>``.

    Numbers are float32 or int8, and not copied; bfloat16, which Arrow lacks, becomes float32.
    """
    rows = tokens.rows if tokens.format != "bfloat16" else as_float32(tokens.rows)
    values = pa.FixedSizeListArray.from_arrays(pa.array(rows.data.reshape(-1)), tokens.dim)
    small = len(rows.data) < 2**31
    kind, width = (pa.ListArray, pa.int32()) if small else (pa.LargeListArray, pa.int64())
    return kind.from_arrays(pa.array(tokens.offsets, width), values)


def hits_table(hits: Hits, query_ids: Sequence[Any] | None = None) -> Any:
    """Return hits as a ``pyarrow.Table``, a row each: ``query``, ``rank`` (from 0), ``id`` and ``score``.

    Args:
        hits: of a search. Places that could not be filled are left out.
        query_ids: one for each query; None numbers them.

    Raises:
        ValueError: another number of ids than of queries.
    """
    names = list(range(len(hits))) if query_ids is None else list(query_ids)
    if len(names) != len(hits):
        raise ValueError(f"query_ids: expected {len(hits)}, got {len(names)}")
    query, rank = np.nonzero(~((hits.ids == -1) & (hits.scores == -np.inf)))
    columns = {
        "query": pa.array(names).take(pa.array(query)),
        "rank": pa.array(rank.astype(np.int32)),
        "id": pa.array(hits.ids[query, rank]),
        "score": pa.array(hits.scores[query, rank]),
    }
    return pa.table(columns)


def index_reader(index: Stored, *, batch_size: int = 1000) -> Any:
    """Return what an index holds as a ``pyarrow.RecordBatchReader`` of ``id`` and ``vectors``.

    Vectors are float32, those kept for rescoring or decoded codes: ``fixed_size_list``, or a list of these
    where documents have token vectors. ``read_all()`` makes a table; ``pyarrow.parquet.ParquetWriter`` takes
    a batch at a time. A document that is removed meanwhile is a KeyError.

    Args:
        index: any of tercet's.
        batch_size: how many documents at most.
    """
    check_k(batch_size, "batch_size")
    ids = index.ids
    first = _batch(index, ids[:1])

    def batches() -> Iterator[Any]:
        for start in range(0, len(ids), batch_size):
            yield _batch(index, ids[start : start + batch_size])

    return pa.RecordBatchReader.from_batches(first.schema, batches())


def _batch(index: Stored, ids: npt.NDArray[Any]) -> Any:
    found = index.get(ids)
    return pa.record_batch({"id": pa.array(ids), "vectors": _array(found)})


def _array(found: Any) -> Any:
    """Return rows ``[n, dim]`` or token vectors as an array of lists."""
    if isinstance(found, TokenVectors):
        return token_array(found)
    return pa.FixedSizeListArray.from_arrays(pa.array(found.reshape(-1)), found.shape[1])


def _vectors(array: Any, name: str) -> Any:
    """Return a column as rows ``[n, dim]``, or as an array that is one of token vectors."""
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        return _rows(array, name)
    if _is_list(kind) and pa.types.is_fixed_size_list(kind.value_type):
        return array
    if _is_list(kind) and _is_list(kind.value_type):
        outer = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return _cast(array, outer(_fixed(array.flatten(), name)), name)
    if _is_list(kind):
        return _rows(_cast(array, _fixed(array, name), name), name)
    raise TypeError(f"{name}: expected lists of numbers, or lists of such lists, got {kind}")


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _fixed(lists: Any, name: str) -> Any:
    """Return the type of lists of numbers that are all as long as the first."""
    present = lists.drop_null()
    if len(present) == 0:
        raise ValueError(f"{name}: expected a vector at least in a batch, to know the dimensions, got none")
    return pa.list_(lists.type.value_type, len(present[0]))


def _cast(array: Any, kind: Any, name: str) -> Any:
    try:
        return array.cast(kind)
    except pa.ArrowInvalid:
        raise ValueError(f"{name}: expected vectors of one length, got several") from None


def _rows(array: Any, name: str) -> npt.NDArray[Any]:
    numbers = array.flatten()
    if array.null_count or numbers.null_count:
        raise ValueError(f"{name}: expected no nulls, got {array.null_count or numbers.null_count}")
    rows: npt.NDArray[Any] = numbers.to_numpy().reshape(len(array), array.type.list_size)
    return rows
