"""What a segmented index takes: bytes of memory by what they are for, and bytes of files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tercet.segments.segment import Segment
from tercet.segments.snapshot import Snapshot

__all__ = ["bytes_by_part", "file_bytes", "segment_sizes"]


def bytes_by_part(now: Snapshot) -> dict[str, int]:
    """Return bytes in memory and in mapped files, removed documents included, by what they are for."""
    shared = _shared(now)
    parts = Counter(now.empty._native.bytes_by_part())
    for segment in now.segments:
        parts.update(segment.index._native.bytes_by_part())
        parts["codebook"] -= shared  # that of `empty`
    parts["tombstones"] = sum(segment.tombstone_bytes for segment in now.segments)
    return dict(parts)


def segment_sizes(now: Snapshot) -> list[dict[str, Any]]:
    """Return what each segment holds and takes; that of documents that are not written yet has no file."""
    return [
        {
            "file": None if segment.file is None else segment.file.file,
            "size": len(segment),
            "removed": len(segment.index) - len(segment),
            "tokens": segment.num_tokens,
            "nbytes": segment.index.nbytes - _shared(now) + segment.tombstone_bytes,
            "file_bytes": _file_bytes(segment),
        }
        for segment in now.segments
    ]


def file_bytes(now: Snapshot, directory: Path) -> int:
    """Return the bytes of all files: segments, tombstones, codebook, manifest."""
    size = len(now.manifest.encode()) + sum(map(_file_bytes, now.segments))
    if now.manifest.codebook is not None:
        size += _size_of(directory / now.manifest.codebook.file)
    return size


def _size_of(path: Path) -> int:
    """Return the bytes of a file, none if a newer commit has exchanged it for another."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _shared(now: Snapshot) -> int:
    """Return the bytes of the codebook that all segments have, and share."""
    return 0 if now.codebook is None else now.codebook.nbytes


def _file_bytes(segment: Segment) -> int:
    """Return the bytes of its file, and of that of its tombstones."""
    written = segment.file is not None and segment.file.removed is not None
    return segment.file_bytes + ((len(segment.index) + 7) // 8 if written else 0)
