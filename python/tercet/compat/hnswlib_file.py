"""The files that hnswlib 0.8 writes, read with every bound checked, and written.

They have no magic, no version and no checksum. Little-endian, field after field::

    0   u64 0, u64 max_elements, u64 count, u64 record size, u64 label offset, u64 vector offset,
        i32 top level, u32 entry node, u64 M, u64 2 M, u64 M, f64 1 / ln M, u64 ef_construction
    96  count records: u16 number of links, u8 deleted, u8 0, u32 links[2 M], float32 vector[dim], u64 label
    ..  for each node: u32 bytes of its upper links, and for each of its upper levels, the lowest first,
        u32 number of links, u32 links[M]

A BFIndex writes ``u64 max_elements, u64 record size, u64 count`` and ``max_elements`` records of a vector and
a label. Neither says which space it is of.
"""

from __future__ import annotations

import io
import os
import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tercet.indexes.storage import replace_file

__all__ = [
    "Contents",
    "Layer",
    "dim_in",
    "file_size",
    "from_records",
    "read",
    "read_flat",
    "write",
    "write_flat",
]

_HEADER = struct.Struct("<QQQQQQiIQQQdQ")
_FLAT_HEADER = struct.Struct("<QQQ")
_BLOCK = 1 << 24  # bytes read at once
_MAX_M = 10000  # hnswlib's own limit


class Contents(NamedTuple):
    """What a file holds, in the order of its nodes; of its graph the settings alone."""

    labels: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]
    deleted: npt.NDArray[np.bool_]
    max_elements: int
    m: int = 0
    ef_construction: int = 0


class Layer(NamedTuple):
    """The links of one level: ``links[i, :counts[i]]`` are the neighbours of node ``members[i]``."""

    members: npt.NDArray[np.int64]
    links: npt.NDArray[np.uint32]
    counts: npt.NDArray[np.int64]


def read(path: str | os.PathLike[str], dim: int) -> Contents:
    """Read what ``hnswlib.Index.save_index`` wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file, is damaged, has another number of dimensions, or a label that is not
            below 2**63; the message names the file and what is wrong.
    """
    return _checked(path, _read, dim)


def read_flat(path: str | os.PathLike[str], dim: int) -> Contents:
    """Read what ``hnswlib.BFIndex.save_index`` wrote; errors as :func:`read`."""
    return _checked(path, _read_flat, dim)


def dim_in(file: Any) -> int | None:
    """Return the dimensions of an open file that begins as an ``Index`` of hnswlib does, else None."""
    file.seek(0)
    try:
        return _header(file)[0]
    except ValueError:
        return None


def from_records(
    data: bytes, count: int, dim: int, max_elements: int, m: int, ef_construction: int
) -> Contents:
    """Return what records hold that are in memory, as a pickled ``hnswlib.Index`` has them."""
    if not 0 <= m <= _MAX_M or len(data) < count * _record(m, dim).itemsize:
        raise ValueError(f"{count} vectors of {dim} dimensions do not go into {len(data)} bytes")
    contents = _empty(count, dim, max_elements, m, ef_construction)
    _take_records(io.BytesIO(data), contents)
    return contents


def file_size(dim: int, m: int, levels: npt.NDArray[np.int64]) -> int:
    """Return how many bytes :func:`write` writes for nodes of these levels."""
    return _HEADER.size + len(levels) * (8 * m + 4 * dim + 16) + int(levels.sum()) * (4 + 4 * m)


def write(path: str | os.PathLike[str], contents: Contents, layers: list[Layer], entry: int) -> None:
    """Write a file that ``hnswlib.Index.load_index`` reads, atomically; only an empty one has no layer."""
    count, dim = contents.vectors.shape
    m, offset = contents.m, 4 + 8 * contents.m
    top, start = (len(layers) - 1, entry) if count else (-1, 2**32 - 1)
    slope = 1 / np.log(m) if m > 1 else np.inf
    sizes = (0, contents.max_elements, count, offset + 4 * dim + 8, offset + 4 * dim, offset)
    head = _HEADER.pack(*sizes, top, start, m, 2 * m, m, slope, contents.ef_construction)
    upper = np.zeros(count, np.int64)
    for layer in layers[1:]:
        upper[layer.members] += 1
    ends = np.cumsum(1 + upper * (1 + m))
    tail = np.zeros(ends[-1] if count else 0, "<u4")
    begins = ends - 1 - upper * (1 + m)
    tail[begins] = upper * (4 + 4 * m)
    for level, layer in enumerate(layers[1:]):
        places = begins[layer.members] + 1 + level * (1 + m)
        tail[places] = layer.counts
        tail[places[:, None] + 1 + np.arange(m)] = layer.links

    def fill(file: Any) -> None:
        file.write(head)
        step = max(1, _BLOCK // (offset + 4 * dim + 8))
        for first in range(0, count, step):
            part = slice(first, first + step)
            records = np.zeros(len(contents.labels[part]), _record(m, dim))
            records["links"] = layers[0].counts[part]
            records["flags"] = contents.deleted[part]
            records["nodes"] = layers[0].links[part]
            records["vector"] = contents.vectors[part]
            records["label"] = contents.labels[part]
            file.write(records.tobytes())
        file.write(tail.tobytes())

    replace_file(path, fill)


def write_flat(path: str | os.PathLike[str], contents: Contents) -> None:
    """Write a file that ``hnswlib.BFIndex.load_index`` reads; atomically."""
    count, dim = contents.vectors.shape
    record = _flat_record(dim)

    def fill(file: Any) -> None:
        file.write(_FLAT_HEADER.pack(contents.max_elements, record.itemsize, count))
        records = np.zeros(count, record)
        records["vector"], records["label"] = contents.vectors, contents.labels
        file.write(records.tobytes())
        file.truncate(_FLAT_HEADER.size + contents.max_elements * record.itemsize)

    replace_file(path, fill)


def _checked(path: str | os.PathLike[str], reader: Any, dim: int) -> Contents:
    name = os.fspath(path)
    if os.path.isdir(name):
        raise ValueError(f"{name}: not a file of hnswlib but a directory")
    try:
        with open(name, "rb") as file:
            contents: Contents = reader(file, os.fstat(file.fileno()).st_size, dim)
    except ValueError as e:
        raise ValueError(f"{name}: not a file of hnswlib, or damaged: {e}") from None
    return contents


def _header(file: Any) -> tuple[int, ...]:
    """Return dim, count, max_elements, m, ef_construction, bytes of a record, top level, entry node."""
    fields = _HEADER.unpack(_take(file, _HEADER.size))
    zero, capacity, count, record_size, label_offset, offset, top, entry = fields[:8]
    m, m0, also_m, _, ef_construction = fields[8:]
    if zero != 0 or m != also_m or m0 != 2 * m or m > _MAX_M or offset != 4 + 4 * m0:
        raise ValueError("the sizes in its header do not go together")
    if record_size != label_offset + 8 or label_offset < offset or (label_offset - offset) % 4:
        raise ValueError("the sizes in its header do not go together")
    return (label_offset - offset) // 4, count, capacity, m, ef_construction, record_size, top, entry


def _read(file: Any, size: int, dim: int) -> Contents:
    own_dim, count, capacity, m, ef_construction, record_size, top, entry = _header(file)
    if own_dim != dim:
        raise ValueError(f"expected {dim} dimensions, got {own_dim}")
    rest = size - _HEADER.size - count * record_size
    if rest < 4 * count or rest % 4 or capacity < count or ef_construction >= 2**31:
        raise ValueError(f"{count} vectors, of at most {capacity}, do not go into {size} bytes")
    if (entry >= count or top < 0) if count else (top != -1 or rest):
        raise ValueError(f"searches begin at node {entry} of {count}, level {top}")
    contents = _empty(count, dim, capacity, m, ef_construction)
    _take_records(file, contents)
    _check_upper(np.frombuffer(_take(file, rest), "<u4"), count, m, top, entry)
    return contents


def _take_records(file: Any, contents: Contents) -> None:
    count, dim = contents.vectors.shape
    for part, records in _blocks(file, count, _record(contents.m, dim)):
        contents.vectors[part] = records["vector"]
        contents.deleted[part] = records["flags"] & 1
        _set_labels(contents, part, records["label"])
        _check_links(records["nodes"], records["links"], np.zeros(count, np.int64), 0)
    _check(contents)


def _read_flat(file: Any, size: int, dim: int) -> Contents:
    capacity, record_size, count = _FLAT_HEADER.unpack(_take(file, _FLAT_HEADER.size))
    if record_size != 4 * dim + 8:
        raise ValueError(f"expected {dim} dimensions, got {(record_size - 8) / 4:g}")
    if count > capacity or size != _FLAT_HEADER.size + capacity * record_size:
        raise ValueError(f"{count} vectors, of at most {capacity}, do not go into {size} bytes")
    contents = _empty(count, dim, capacity)
    for part, records in _blocks(file, count, _flat_record(dim)):
        contents.vectors[part] = records["vector"]
        _set_labels(contents, part, records["label"])
    _check(contents)
    return contents


def _record(m: int, dim: int) -> np.dtype[Any]:
    vector = ("vector", "<f4", (dim,))
    return np.dtype(
        [
            ("links", "<u2"),
            ("flags", "u1"),
            ("zero", "u1"),
            ("nodes", "<u4", (2 * m,)),
            vector,
            ("label", "<u8"),
        ]
    )


def _flat_record(dim: int) -> np.dtype[Any]:
    return np.dtype([("vector", "<f4", (dim,)), ("label", "<u8")])


def _empty(count: int, dim: int, capacity: int, m: int = 0, ef_construction: int = 0) -> Contents:
    vectors = np.empty((count, dim), np.float32)
    labels, deleted = np.empty(count, np.int64), np.zeros(count, bool)
    return Contents(labels, vectors, deleted, capacity, m, ef_construction)


def _take(file: Any, size: int) -> bytes:
    data: bytes = file.read(size)
    if len(data) != size:
        raise ValueError("it is cut off")
    return data


def _blocks(file: Any, count: int, record: np.dtype[Any]) -> Any:
    """Yield (which, records) for all records, some at a time."""
    step = max(1, _BLOCK // record.itemsize)
    for first in range(0, count, step):
        last = min(count, first + step)
        yield slice(first, last), np.frombuffer(_take(file, (last - first) * record.itemsize), record)


def _set_labels(contents: Contents, part: slice, labels: npt.NDArray[np.uint64]) -> None:
    if labels.max() >= 2**63:
        raise ValueError(f"expected labels below 2**63, got {labels.max()}")
    contents.labels[part] = labels


def _check(contents: Contents) -> None:
    if len(np.unique(contents.labels)) != len(contents.labels):
        raise ValueError("two vectors have the same label")
    for first in range(0, len(contents.labels), 4096):
        if not np.isfinite(contents.vectors[first : first + 4096]).all():
            raise ValueError("a vector has a value that is not finite")


def _check_links(
    links: npt.NDArray[np.uint32], counts: npt.NDArray[Any], levels: npt.NDArray[np.int64], level: int
) -> None:
    """Raise unless all links of some nodes of a level are to nodes of that level."""
    used = links[np.arange(links.shape[1]) < counts[:, None]]
    if counts.max() > links.shape[1] or (used.size and used.max() >= len(levels)):
        raise ValueError("a link leads nowhere")
    if level and (levels[used] < level).any():
        raise ValueError("a link leads to a node that is not of its level")


def _check_upper(tail: npt.NDArray[np.uint32], count: int, m: int, top: int, entry: int) -> None:
    begins, levels = np.empty(count, np.int64), np.zeros(count, np.int64)
    words, at = tail.tolist(), 0
    for node in range(count):
        if at >= len(words) or words[at] % (4 + 4 * m):
            raise ValueError(f"the upper links of node {node} are cut off")
        begins[node], levels[node] = at + 1, words[at] // (4 + 4 * m)
        at += 1 + words[at] // 4
    if at != len(words):
        raise ValueError(f"it ends {abs(len(words) - at) * 4} bytes {'late' if at < len(words) else 'early'}")
    if count and (levels.max() != top or levels[entry] != top):
        raise ValueError(f"searches begin at node {entry}, which is not of the top level {top}")
    for level in range(1, top + 1):
        places = begins[levels >= level] + (level - 1) * (1 + m)
        links = tail[places[:, None] + 1 + np.arange(m)]
        _check_links(links, tail[places] & 0xFFFF, levels, level)
