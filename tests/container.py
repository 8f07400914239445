"""Index files in plain Python, after csrc/storage/FORMAT.md: what the native code must read and write."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
MAGIC = b"TERCET\0"
HEADER = struct.Struct("<7sBIIQQ16sIQI")
ENTRY = struct.Struct("<32sII4QQQQ")
TYPES = {1: np.dtype("u1"), 2: np.dtype("<u2"), 3: np.dtype("<u4"), 4: np.dtype("<i8"), 5: np.dtype("<f4")}
BLOCK = 1 << 20


def _make_table() -> list[int]:
    table = []
    for byte in range(256):
        state = byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
        table.append(state)
    return table


_TABLE = _make_table()


def crc32c(data: bytes) -> int:
    state = 0xFFFFFFFF
    for byte in data:
        state = state >> 8 ^ _TABLE[(state ^ byte) & 0xFF]
    return state ^ 0xFFFFFFFF


def aligned(n: int) -> int:
    return -(-n // 64) * 64


def checksums(raw: bytes) -> list[int]:
    return [crc32c(raw[i : i + BLOCK]) for i in range(0, len(raw), BLOCK)]


def entry_of(name: bytes, element: int, shape: list[int], offset: int, size: int, zero: int = 0) -> bytes:
    return ENTRY.pack(name, element, len(shape), *(shape + [0] * 4)[:4], offset, size, zero)


def header_of(
    directory: bytes, count: int, file_bytes: int, *, version: int = 3, flags: int = 0, zero: int = 0
) -> bytes:
    head = HEADER.pack(
        MAGIC, version, flags, count, file_bytes, len(directory), bytes(16), crc32c(directory), zero, 0
    )
    return head[:60] + struct.pack("<I", crc32c(head[:60]))


def build(settings: Any, sections: dict[str, Array]) -> bytes:
    """The file of these sections, whatever is in them."""
    numbers = {dtype: number for number, dtype in TYPES.items()}
    text = settings if isinstance(settings, bytes) else json.dumps(settings).encode()
    arrays = {"settings": np.frombuffer(text, np.uint8), **sections}
    raw = {name: np.ascontiguousarray(array).tobytes() for name, array in arrays.items()}
    sums = [checksum for data in raw.values() for checksum in checksums(data)]
    end = 64 + ENTRY.size * len(arrays) + 4 * len(sums)
    directory, body = b"", b""
    first = aligned(end)
    for name, array in arrays.items():
        offset = first + len(body)
        element, shape = numbers[array.dtype], list(array.shape) or [1]
        directory += entry_of(name.encode(), element, shape, offset, len(raw[name]))
        end = offset + len(raw[name])
        body += raw[name] + bytes(-len(raw[name]) % 64)
    directory += struct.pack(f"<{len(sums)}I", *sums)
    head = header_of(directory, len(arrays), aligned(end)) + directory
    return head + bytes(first - len(head)) + body if arrays else head


def parse(data: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """The settings and the sections of a file, every byte of which is checked."""
    magic, version, flags, count, length, directory_bytes, _, crc, zero, header_crc = HEADER.unpack_from(data)
    assert (magic, version, flags, zero, length) == (MAGIC, 3, 0, 0, len(data))
    assert crc32c(data[:60]) == header_crc
    directory = data[64 : 64 + directory_bytes]
    assert crc32c(directory) == crc
    sums = list(
        struct.unpack_from(f"<{(directory_bytes - ENTRY.size * count) // 4}I", directory, ENTRY.size * count)
    )
    end = 64 + directory_bytes
    sections: dict[str, Array] = {}
    for i in range(count):
        name, element, rank, a, b, c, d, offset, size, zero = ENTRY.unpack_from(directory, ENTRY.size * i)
        shape = [a, b, c, d][:rank]
        assert zero == 0
        assert offset % 64 == 0
        assert not any(data[end:offset])
        raw = data[offset : offset + size]
        own, sums = sums[: -(-size // BLOCK)], sums[-(-size // BLOCK) :]
        assert own == checksums(raw)
        sections[name.rstrip(b"\0").decode()] = np.frombuffer(raw, TYPES[element]).reshape(shape)
        end = offset + size
    assert not sums
    assert len(data) == aligned(end)
    assert not any(data[end:])
    return json.loads(sections.pop("settings").tobytes()), sections


def layout(data: bytes) -> list[tuple[str, int, int]]:
    """Name, offset and length of each section."""
    count = HEADER.unpack_from(data)[3]
    entries = [ENTRY.unpack_from(data, 64 + ENTRY.size * i) for i in range(count)]
    return [(e[0].rstrip(b"\0").decode(), e[7], e[8]) for e in entries]
