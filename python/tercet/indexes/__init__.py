"""The indexes, and how to open what they saved."""

from __future__ import annotations

import os

from tercet.indexes import storage
from tercet.indexes.flat import FlatIndex
from tercet.indexes.hnsw import HNSWIndex
from tercet.indexes.multivector import MultiVectorIndex

__all__ = ["FlatIndex", "HNSWIndex", "MultiVectorIndex", "open"]


def open(path: str | os.PathLike[str]) -> FlatIndex | HNSWIndex | MultiVectorIndex:
    """Open what ``index.save(path)`` wrote; returns the class that was saved.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no tercet index, is damaged, or was written by a newer version; the message
            says which.
    """
    header, sections = storage.read(path)
    for kind in (FlatIndex, HNSWIndex, MultiVectorIndex):
        if header.get("kind") == kind.__name__:
            return kind._restore(path, header, sections)
    raise ValueError(f"{os.fspath(path)}: unknown kind of index {header.get('kind')!r}")
