"""The indexes, and how to open what they saved."""

from __future__ import annotations

import os

from tercet.indexes import storage
from tercet.indexes.flat import FlatIndex
from tercet.indexes.hnsw import HNSWIndex
from tercet.indexes.multivector import MultiVectorIndex
from tercet.segments import SegmentedIndex

__all__ = ["FlatIndex", "HNSWIndex", "MultiVectorIndex", "open"]


def open(
    path: str | os.PathLike[str], *, mmap: bool = True
) -> FlatIndex | HNSWIndex | MultiVectorIndex | SegmentedIndex:
    """Open what ``index.save(path)`` wrote, or the directory of a :class:`SegmentedIndex`, for reading.

    Returns the class that was saved; ``HNSWIndex.open(path)``, say, opens nothing else.

    Args:
        path: the file, or the directory. Others may replace the file, by ``save``, while it is open; who
            changes or cuts it short breaks its readers.
        mmap: codes and vectors stay in the file, which processes share, and of which memory holds what is
            used. They are compared with their checksums before they are first used, or by
            ``index.verify()``; a change of the index brings them into memory. False reads and checks the
            whole file now; a directory is always mapped.

    Raises:
        TypeError: ``path`` is none, as bytes are not.
        FileNotFoundError: there is no such file or directory.
        ValueError: the file or directory is no tercet index, is damaged, or was written by another version;
            the message says which. What was not checked when it was opened is when it is first used.
    """
    if os.path.isdir(storage.as_name(path)):
        if not mmap:
            raise ValueError(f"{os.fspath(path)}: a directory is always mapped, got mmap=False")
        return SegmentedIndex.open(path)
    file = storage.open_file(path, mmap)
    settings = storage.read_settings(file, path)
    for kind in (FlatIndex, HNSWIndex, MultiVectorIndex):
        if settings.get("kind") == kind.__name__:
            return kind._restore(file, settings, path, verify=not mmap)
    raise ValueError(f"{os.fspath(path)}: unknown kind of index {settings.get('kind')!r}")
