"""What the stand-ins for hnswlib take and give, and in what words they refuse it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tercet.arrays import MAX_DIM
from tercet.compat.hnswlib_file import Contents
from tercet.indexes.base import check_settings
from tercet.indexes.flat import FlatIndex
from tercet.indexes.hnsw import HNSWIndex
from tercet.indexes.vectors import Metric
from tercet.scoring import check_integer

__all__ = [
    "FULL",
    "METRICS",
    "NOT_READY",
    "Path",
    "allowed_ids",
    "as_count",
    "as_integer",
    "as_labels",
    "as_matrix",
    "as_threads",
    "check_space",
    "join_labels",
    "last_of_each",
    "nearest",
    "new_graph",
    "next_labels",
    "reading",
    "rows_of",
]

FULL = "The number of elements exceeds the specified limit"
NOT_READY = "The index is not initiated: call init_index or load_index first."
METRICS: dict[str, Metric] = {"l2": "l2", "ip": "dot", "cosine": "cosine"}  # of spaces

Path: TypeAlias = str | bytes | os.PathLike[str]

_TOO_FEW = "Cannot return the results in a contiguous 2D array. Probably ef or M is too small"
_MAX_EF_CONSTRUCTION = 1 << 16  # a wider search finds no better neighbours, and takes its memory


def check_space(space: Any, dim: Any) -> tuple[str, int]:
    """Return a space and a number of dimensions; RuntimeError or ValueError if there are no such."""
    if not isinstance(space, str):
        raise TypeError(f"space: expected a str, got {type(space).__name__}")
    if space not in METRICS:
        raise RuntimeError("Space name must be one of l2, ip, or cosine.")
    check_settings(dim, "float32", 0, MAX_DIM)
    return space, check_integer(dim, "dim")


def new_graph(space: str, dim: int, m: int, ef_construction: int) -> HNSWIndex:
    """Return an empty index; its originals are kept, so that distances are theirs."""
    if not 2 <= m <= 128:
        raise ValueError(f"M: expected 2 to 128, got {m}")
    width = min(max(ef_construction, m), _MAX_EF_CONSTRUCTION)
    return HNSWIndex(dim, metric=METRICS[space], m=m, ef_construction=width)


def as_integer(value: Any, name: str) -> int:
    """Return an integer, which for hnswlib a bool is too."""
    return check_integer(int(value) if isinstance(value, (bool, np.bool_)) else value, name)


def as_count(value: Any, name: str) -> int:
    """Return an integer that is not negative; TypeError for another, as hnswlib has it."""
    count = as_integer(value, name)
    if count < 0:
        raise TypeError(f"{name}: expected an integer of at least 0, got {count}")
    return count


def as_threads(num_threads: Any, default: int) -> int | None:
    """Return how many threads to use, None for all: the default if it is not positive."""
    count = as_integer(num_threads, "num_threads")
    count = count if count > 0 else default
    return min(count, 4096) if count > 0 else None


def as_matrix(data: Any, dim: int) -> npt.NDArray[np.float32]:
    """Return vectors ``[n, dim]`` of whatever numpy makes float32 of."""
    with np.errstate(over="ignore"):  # what becomes infinite is refused where all such values are
        rows = np.asarray(data, dtype=np.float32)
    if rows.ndim not in (1, 2):
        raise RuntimeError(
            f"Input vector data wrong shape. Number of dimensions {rows.ndim}. Data must be a 1D or 2D array."
        )
    rows = np.ascontiguousarray(rows.reshape(1, -1) if rows.ndim == 1 else rows)
    if rows.shape[1] != dim:
        raise RuntimeError(f"Wrong dimensionality of the vectors: expected {dim}, got {rows.shape[1]}")
    return rows


def as_labels(ids: Any) -> npt.NDArray[np.int64]:
    """Return labels, of any rank.

    Raises:
        ValueError: one that is no whole number, or not below 2**63.
        OverflowError: one that is negative.
    """
    given = np.asarray(ids)
    if given.size and given.dtype.kind not in "iub":
        if given.dtype.kind not in "fO":
            raise ValueError(f"ids: expected integers, got {given.dtype}")
        values = given.ravel().tolist()
        if any(isinstance(x, float) and not x.is_integer() for x in values):
            raise ValueError("ids: expected whole numbers")
        whole = [int(x) for x in values]
        _check_range(min(whole), max(whole))
        given = np.asarray(whole, np.int64).reshape(given.shape)
    if given.size:
        _check_range(int(given.min()), int(given.max()))
    return given.astype(np.int64)


def _check_range(smallest: int, largest: int) -> None:
    if smallest < 0:
        raise OverflowError(f"label: expected 0 or more, got {smallest}")
    if largest >= 2**63:
        raise ValueError(f"label: expected less than 2**63, got {largest}")


def rows_of(ids: Any, count: int) -> npt.NDArray[np.int64]:
    """Return the labels of ``count`` rows."""
    labels = as_labels(ids)
    if not (labels.shape == (count,) or (labels.ndim == 0 and count == 1)):
        raise RuntimeError(
            f"The input label shape {labels.ndim} does not match the input data vector shape {count}: "
            f"expected {count} labels, got shape {list(labels.shape)}"
        )
    return labels.reshape(-1)


def next_labels(first: int, count: int, taken: Any) -> npt.NDArray[np.int64]:
    """Return the labels of rows that were given none; RuntimeError if one is taken."""
    labels = np.arange(first, first + count)
    for label in labels.tolist():
        if taken(label):
            raise RuntimeError(
                f"ids: rows without ids are numbered from {first}, the rows added before, but there is "
                f"a label {label} already; pass ids to replace it"
            )
    return labels


def last_of_each(labels: npt.NDArray[np.int64]) -> Any:
    """Return where to find each label for the last time, in their order."""
    first = np.unique(labels[::-1], return_index=True)[1]
    return slice(None) if len(first) == len(labels) else np.sort(len(labels) - 1 - first)


def join_labels(index: FlatIndex | HNSWIndex, more: Any = ()) -> npt.NDArray[np.int64]:
    """Return the ids of an index and more of them."""
    return np.concatenate([np.asarray(index.ids, np.int64), np.asarray(list(more), np.int64)])


def allowed_ids(index: FlatIndex | HNSWIndex, filter: Any) -> npt.NDArray[np.int64] | None:
    """Return the labels that a callable lets through; it is called once for each."""
    if filter is None:
        return None
    if not callable(filter):
        raise TypeError(f"filter: expected a callable, got {type(filter).__name__}")
    return np.asarray([label for label in index.ids.tolist() if filter(label)], np.int64)


def nearest(
    index: FlatIndex | HNSWIndex,
    rows: npt.NDArray[np.float32],
    k: int,
    filter: Any,
    least: int = 1,
    **options: Any,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]:
    """Search as hnswlib does: labels and distances, and RuntimeError where there are fewer than ``k``.

    Of a graph over codes, ``least`` are looked for at once: the best by its vector may be a few places behind
    by its code.
    """
    if k == 0 or len(rows) == 0:
        return np.empty((len(rows), k), np.uint64), np.empty((len(rows), k), np.float32)
    allowed = allowed_ids(index, filter)
    there = len(index) if allowed is None else len(allowed)
    if k > there:
        raise RuntimeError(f"{_TOO_FEW} (k is {k}, and {there} elements may be returned)")
    hits = index.search(rows, max(k, least), filter=allowed, **options)
    ids, scores = hits.ids[:, :k], hits.scores[:, :k]
    if (ids < 0).any():  # removed meanwhile
        raise RuntimeError(_TOO_FEW)
    return ids.astype(np.uint64), np.float32(0 if index.metric == "l2" else 1) - scores


def reading(
    read: Callable[[str | os.PathLike[str], int], Contents], path: str | os.PathLike[str], dim: int
) -> Contents:
    """Read a file, and fail as hnswlib does: with RuntimeError."""
    try:
        return read(path, dim)
    except OSError as e:
        raise RuntimeError(f"Cannot open file: {e}") from e
    except ValueError as e:
        raise RuntimeError(f"Index seems to be corrupted or unsupported: {e}") from e
