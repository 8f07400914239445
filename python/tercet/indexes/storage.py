"""One index, one file: written atomically, read only if every byte is as it was written.

Layout, little-endian::

    0   8 bytes   magic  "TERCET\\x00\\x02" (the last byte is the version)
    8   u32       length of the header
    12  u32       CRC-32 of the header
    16  header    JSON: settings, and for each section its name, dtype, shape, offset and CRC-32
    ..  sections  each at a multiple of 64 bytes, zero-padded to the next

The file's length is a multiple of 64. String ids are one section of UTF-8 bytes and one of int64 offsets.
"""

from __future__ import annotations

import errno
import json
import math
import operator
import os
import secrets
import stat
import struct
import zlib
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TEMPORARY", "read", "replace_file", "write"]

TEMPORARY = ".tmp"  # how the name of a half-written file ends; it begins with ".tercet-"

_MAGIC = b"TERCET\x00"
_VERSION = 2  # 2: another order of int4 codes
_ALIGN = 64


def write(
    path: str | os.PathLike[str],
    settings: dict[str, Any],
    ids: npt.NDArray[np.int64] | list[str],
    arrays: dict[str, npt.NDArray[Any]],
) -> None:
    """Write settings, ids and arrays to ``path``, replacing what is there in one step."""
    sections = dict(arrays)
    if isinstance(ids, list):
        texts = [i.encode() for i in ids]
        sections["id_bytes"] = np.frombuffer(b"".join(texts), np.uint8)
        sections["id_offsets"] = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    else:
        sections["ids"] = ids
    entries: list[dict[str, Any]] = []
    position = 0  # relative to the first section, whose place depends on the header's length
    for name, array in sections.items():
        array = np.ascontiguousarray(array)
        entries.append(
            {
                "name": name,
                "dtype": array.dtype.str,
                "shape": list(array.shape),
                "offset": position,
                "crc": zlib.crc32(array.data.cast("B")) if array.size else 0,
            }
        )
        position = _aligned(position + array.nbytes)
    header = json.dumps({**settings, "sections": entries}, sort_keys=True).encode()
    head = _MAGIC + bytes([_VERSION]) + struct.pack("<II", len(header), zlib.crc32(header)) + header

    def fill(file: Any) -> None:
        file.write(head)
        for entry, array in zip(entries, sections.values(), strict=True):
            start = _aligned(len(head)) + entry["offset"]
            file.write(bytes(start - file.tell()))
            if array.size:
                file.write(np.ascontiguousarray(array).data.cast("B"))
        file.write(bytes(_aligned(file.tell()) - file.tell()))

    replace_file(path, fill)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings and the sections of an index file, ``"ids"`` among them.

    Raises:
        ValueError: the file is not an index, is newer than this code, is cut off or has a changed byte; the
            message names the part.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        raise ValueError(f"{name}: not a tercet index file but a directory (tercet.Retriever.open opens one)")
    with open(name, "rb") as file:
        data = file.read()
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError(f"{name}: not a tercet index file")
    if len(data) < 16:
        raise ValueError(f"{name}: damaged index: cut off in the header")
    if data[len(_MAGIC)] != _VERSION:
        raise ValueError(f"{name}: format version {data[len(_MAGIC)]}, this tercet reads {_VERSION}")
    length, crc = struct.unpack_from("<II", data, 8)
    header_bytes = data[16 : 16 + length]
    if len(header_bytes) != length or zlib.crc32(header_bytes) != crc:
        raise ValueError(f"{name}: damaged index: the header's checksum does not match")
    try:
        header = json.loads(header_bytes)
        entries = header.pop("sections")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ValueError(f"{name}: damaged index: the header is not one of tercet's") from None
    base = _aligned(16 + length)
    sections: dict[str, Any] = {}
    end = 16 + length
    try:
        for entry in entries:
            start, stop, sections[entry["name"]] = _section(memoryview(data), base, entry)
            if start < end or any(data[end:start]):
                raise ValueError("bytes between sections are not zero")
            end = stop
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, SyntaxError) as e:
        raise ValueError(f"{name}: damaged index: {e}") from None
    if len(data) != _aligned(end) or any(data[end:]):
        raise ValueError(f"{name}: damaged index: expected {_aligned(end)} bytes, got {len(data)}")
    try:
        if "id_bytes" in sections:
            raw_ids, offsets = sections.pop("id_bytes").tobytes(), sections.pop("id_offsets").tolist()
            sections["ids"] = [raw_ids[a:b].decode() for a, b in pairwise(offsets)]
    except (KeyError, TypeError, ValueError) as e:
        raise ValueError(f"{name}: damaged index: ids: {e}") from None
    return header, sections


def _section(data: memoryview, base: int, entry: dict[str, Any]) -> tuple[int, int, npt.NDArray[Any]]:
    """Return where a section begins and ends, and its array; ValueError if its checksum does not match."""
    dtype, shape = np.dtype(entry["dtype"]), [operator.index(n) for n in entry["shape"]]
    if min(shape, default=0) < 0 or dtype.hasobject or operator.index(entry["offset"]) < 0:
        raise ValueError(f"section {entry['name']!r} is of no type and shape that tercet writes")
    count = math.prod(shape)
    start = base + entry["offset"]
    raw = data[start : start + count * dtype.itemsize]
    if len(raw) != count * dtype.itemsize or (zlib.crc32(raw) if count else 0) != entry["crc"]:
        raise ValueError(f"the checksum of section {entry['name']!r} does not match")
    return start, start + len(raw), np.frombuffer(raw, dtype).reshape(shape)


def replace_file(path: str | os.PathLike[str], fill: Any) -> None:
    """Write a file through ``fill(file)`` and put it at ``path`` in one step that survives a power cut.

    A file that is there keeps its mode, a link its target.
    """
    target = os.path.realpath(os.fspath(path))
    folder = os.path.dirname(target)
    if not os.fspath(path) or os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, "expected the name of a file, got a directory", os.fspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "no such directory", folder)
    # Not tempfile's: those are private, and giving them the umask means to change it for all threads.
    temporary = os.path.join(folder, f".tercet-{secrets.token_hex(8)}{TEMPORARY}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            with suppress(OSError):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    if os.name == "posix":  # the rename itself is durable once the directory is
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _aligned(n: int) -> int:
    return -(-n // _ALIGN) * _ALIGN
