"""The state of a pickled ``hnswlib.Index``, and which of the files it may be loaded from a file is."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from tercet import indexes
from tercet.compat.hnswlib_file import Contents, from_records, read
from tercet.compat.hnswlib_inputs import METRICS, reading
from tercet.indexes.hnsw import HNSWIndex
from tercet.scoring import check_integer

__all__ = ["from_state", "read_any", "to_state"]

_VERSION = 1  # hnswlib's own, whose names of settings these are
_INTEGERS = ("dim", "num_threads", "seed", "ef")


def to_state(settings: dict[str, Any], contents: Contents | None) -> dict[str, Any]:
    """Return a state of settings, and of what an index holds if it is initiated."""
    state = {"ser_version": _VERSION, **settings, "index_inited": contents is not None}
    if contents is None:
        return state
    sizes = {
        "max_elements": contents.max_elements,
        "cur_element_count": len(contents.labels),
        "M": contents.m,
        "ef_construction": contents.ef_construction,
    }
    arrays = {"labels": contents.labels, "vectors": contents.vectors, "deleted": contents.deleted}
    return {**state, **sizes, **arrays}


def from_state(state: Any) -> tuple[dict[str, Any], Contents | None]:
    """Return settings and contents of a state, hnswlib's or this module's.

    Raises:
        ValueError: it is none, or does not fit together.
    """
    try:
        (values,) = state
        if values["ser_version"] != _VERSION:
            raise ValueError(f"version {values['ser_version']}")
        settings = {name: check_integer(values[name], name) for name in _INTEGERS}
        settings["space"] = values["space"]
        settings["allow_replace_deleted"] = bool(values.get("allow_replace_deleted", False))
        return settings, _contents(values, settings["dim"]) if values["index_inited"] else None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
        raise ValueError(f"expected the state of a pickled Index, got another: {e!r}") from None


def _contents(values: dict[str, Any], dim: int) -> Contents:
    capacity, m = check_integer(values["max_elements"], "max_elements"), check_integer(values["M"], "M")
    count, width = values["cur_element_count"], check_integer(values["ef_construction"], "ef_construction")
    if "data_level0" in values:
        data = np.ascontiguousarray(values["data_level0"])
        contents = from_records(
            data.tobytes(), check_integer(count, "cur_element_count"), dim, capacity, m, width
        )
    else:
        labels, vectors = np.asarray(values["labels"], np.int64), np.asarray(values["vectors"], np.float32)
        contents = Contents(labels, vectors, np.asarray(values["deleted"], bool), capacity, m, width)
    shapes = (contents.labels.shape, contents.deleted.shape, contents.vectors.shape)
    if shapes != ((count,), (count,), (count, dim)) or capacity < count:
        raise ValueError(f"arrays of shapes {shapes} for {count} vectors of {dim} dimensions")
    return contents


def read_any(path: str | os.PathLike[str], space: str, dim: int) -> Contents | HNSWIndex:
    """Read a file of hnswlib or of tercet; RuntimeError if it is none, or of another space or dimension."""
    try:
        with open(path, "rb") as file:
            magic = file.read(6)
    except OSError as e:
        raise RuntimeError(f"Cannot open file: {e}") from e
    if magic != b"TERCET":
        return reading(read, path, dim)
    try:
        index = indexes.open(path)
    except ValueError as e:
        raise RuntimeError(f"Index seems to be corrupted or unsupported: {e}") from e
    if not isinstance(index, HNSWIndex) or (index.dim, index.metric) != (dim, METRICS[space]):
        raise RuntimeError(
            f"{os.fspath(path)}: expected an HNSWIndex of {dim} dimensions with metric {METRICS[space]!r}, "
            f"got {index!r}"
        )
    if index.ids.dtype == object:
        raise RuntimeError(f"{os.fspath(path)}: expected integer ids, got strings")
    return index
