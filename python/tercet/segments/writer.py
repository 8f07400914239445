"""Changes of a segmented index, and how they become a commit.

New documents are kept in memory, in a MultiVectorIndex, until that is large enough for a segment or there is
a commit. Documents of segments are removed, and replaced, by tombstones.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.directory import writing
from tercet.indexes.base import required_ids
from tercet.indexes.multivector import MultiVectorIndex
from tercet.indexes.storage import replace_file, sync_directory
from tercet.scoring import check_integer
from tercet.segments.codebook import Codebook, common_codebook, empty_index, open_index, save_codebook
from tercet.segments.manifest import File, Manifest, new_name, read_manifest, refuse_foreign, remove_stale
from tercet.segments.segment import Ids, Segment
from tercet.segments.snapshot import Snapshot, kind_of, load, parts_of
from tercet.segments.stream import Progress
from tercet.types import TokenVectors

__all__ = ["Writer"]

LAST = np.iinfo(np.int64).max
PIECES = 16  # of a full segment: what is merged at a time


class Writer:
    """The one writer of a directory, by :meth:`create` or :meth:`open`; it has the lock until :meth:`close`.

    Args:
        directory: of an index, whose lock the caller holds.
        memory: bytes. A segment is written when its documents take half of it, since arrays are copied when
            they grow.

    Attributes:
        turn: whoever calls a method holds it.
        buffer: documents that are in no segment yet.
    """

    def __init__(self, directory: Path, memory: int) -> None:
        self.full = _check_memory(memory) // 2
        self.directory = directory.absolute()  # the process may change its directory
        self.turn = RLock()
        self._process = os.getpid()
        opened = load(self.directory)
        self.manifest = opened.manifest
        self.codebook = self._committed = opened.codebook
        remove_stale(self.directory, self.manifest.files())
        self.segments, self._empty = opened.segments, opened.empty
        self._kind, self._next = self.manifest.ids, self.manifest.next_id
        self.buffer = self._new_index()
        self._lock = ExitStack()

    @classmethod
    def open(cls, directory: Path, memory: int) -> Writer:
        """Open the last commit."""
        _check_memory(memory)
        read_manifest(directory)  # before a lock is laid among somebody's files
        with ExitStack() as lock:
            lock.enter_context(writing(directory))
            return cls(directory, memory)._holding(lock)

    @classmethod
    def create(
        cls, directory: Path, dim: int, codec: str, seed: int, codebook: Codebook | None, memory: int
    ) -> Writer:
        """Make the first commit, without documents, and open it before anybody else can."""
        _check_memory(memory)
        settings = empty_index(dim, codec, seed, codebook)
        directory.mkdir(parents=True, exist_ok=True)
        refuse_foreign(directory)  # before a lock is laid among somebody's files
        with ExitStack() as lock:
            lock.enter_context(writing(directory))
            refuse_foreign(directory)  # again: what is there must not change in between
            file = None if codebook is None else save_codebook(directory, codebook)
            Manifest(1, settings.dim, settings.codec, settings.seed, codebook=file).write(directory)
            return cls(directory, memory)._holding(lock)

    def _holding(self, lock: ExitStack) -> Writer:
        self._lock = lock.pop_all()
        return self

    def is_ours(self) -> bool:
        """Tell whether this process has the lock: one that was forked from it has not."""
        return os.getpid() == self._process

    def snapshot(self) -> Snapshot:
        """Return what there is now, committed or not."""
        segments = [*self.segments, Segment(self.buffer)]
        return Snapshot(self.manifest, self.codebook, segments, self._kind, self._empty)

    # ---- changes

    def add(self, tokens: TokenVectors, ids: Any, pool: int | None, threads: int | None) -> npt.NDArray[Any]:
        """Add or replace documents; all or nothing."""
        before = self.snapshot()
        given = self._numbers(len(tokens), len(before)) if ids is None else required_ids(ids)
        before.check_kind(given)
        added = self.buffer.add(tokens, given, pool=pool, threads=threads)
        self._forget(given, self.segments)
        self._note(given)
        self.codebook = self.codebook or common_codebook(None, self.buffer)
        if self._size(self.buffer) >= self.full:
            self.flush()
        return added

    def remove(self, ids: Any) -> None:
        """Remove documents; KeyError, and no change, if some are not there."""
        wanted = required_ids(ids)
        snapshot = self.snapshot()
        where, slots = snapshot.known(wanted)
        for number, segment in enumerate(snapshot.segments):
            if segment.index is not self.buffer:
                segment.remove(slots[where == number])
            elif (where == number).any():
                self.buffer.remove([i for i, w in zip(wanted, where, strict=True) if w == number])

    def grow(self, sample: Any, centroids: int | None, threads: int | None) -> None:
        """Give documents to come further centroids."""
        if self.codebook is None:
            raise ValueError(f"codebook: codec {self.manifest.codec!r} has none, or has not been trained")
        self.flush()
        self._use(self.codebook.grown(sample, centroids=centroids, threads=threads))

    def attach(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        """Take segments that others have made, the later the newer; all or nothing."""
        given = [part for path in paths for part in parts_of(Path(path))]
        book = self.codebook
        for path, segment in given:
            book = self._checked(path, segment, book)
        kinds = {kind_of(required_ids(segment.ids)) for _, segment in given if len(segment)}
        if len(self.snapshot()):
            kinds.add(self._kind or "int")
        if len(kinds) > 1:
            raise TypeError("ids: expected those of all segments to be of one kind, got int and str")
        self.flush()
        added = [self._linked(path, segment) for path, segment in given]
        sync_directory(self.directory)
        for segment in added:
            ids = required_ids(segment.ids)
            self._forget(ids, self.segments)
            self._note(ids)
            self.segments.append(segment)
        if book is not None:
            self._use(book)

    def flush(self) -> None:
        """Make a segment of the documents that are in memory."""
        if len(self.buffer):
            self.segments.append(self._written(self.buffer))
            self.buffer = self._new_index()

    # ---- commits

    def commit(self) -> int:
        """Make all changes visible to readers, in one step; return the number of the commit."""
        self.flush()
        self.segments = [segment for segment in self.segments if len(segment)]
        for segment in self.segments:
            segment.write_removed(self.directory)
        book = self.manifest.codebook
        if self.codebook is not None and self.codebook is not self._committed:
            book = save_codebook(self.directory, self.codebook)
        files = tuple(segment.file for segment in self.segments if segment.file is not None)
        now = replace(self.manifest, ids=self._kind, next_id=self._next, codebook=book, segments=files)
        if now != self.manifest:
            now = replace(now, generation=now.generation + 1)
            now.write(self.directory)
            self.manifest, self._committed = now, self.codebook
            remove_stale(self.directory, now.files())
        return self.manifest.generation

    def compact(self, progress: Progress | None = None) -> None:
        """Merge segments that hold little, or little that lives, and commit."""
        self.flush()
        self.segments = [segment for segment in self.segments if len(segment)]
        chosen = [segment for segment in self.segments if self._is_worth_merging(segment)]
        if len(chosen) > 1 or any(segment.living is not None for segment in chosen):
            merged = self._merged(chosen, progress)
            self.segments = [segment for segment in self.segments if segment not in chosen] + merged
        self.commit()

    def close(self) -> None:
        """Give up what is not committed, and the lock."""
        if not self.is_ours():
            return
        with self.turn:
            remove_stale(self.directory, self.manifest.files())
            self._lock.close()

    # ---- parts of these

    def _new_index(self) -> MultiVectorIndex:
        return empty_index(self.manifest.dim, self.manifest.codec, self.manifest.seed, self.codebook)

    def _use(self, book: Codebook) -> None:
        """Go on with a codebook that all segments fit."""
        self.codebook = book
        for segment in self.segments:
            book.share_with(segment.index)
        self.buffer = self._new_index()

    def _size(self, index: MultiVectorIndex) -> int:
        """Bytes of an index without the codebook, which all share."""
        return index.nbytes - (0 if self.codebook is None else self.codebook.nbytes)

    def _numbers(self, count: int, size: int) -> npt.NDArray[np.int64]:
        if size and self._kind == "str":
            raise ValueError("ids: this index has str ids, so each vector needs one")
        if count > LAST - self._next:
            raise ValueError(f"ids: no integers left after {self._next}")
        return np.arange(self._next, self._next + count, dtype=np.int64)

    def _note(self, ids: Ids) -> None:
        self._kind = kind_of(ids) if len(ids) else self._kind
        if isinstance(ids, np.ndarray) and len(ids):
            self._next = max(self._next, min(int(ids.max()), LAST - 1) + 1)

    @staticmethod
    def _forget(ids: Ids, segments: Sequence[Segment]) -> None:
        """Remove what newer documents replace."""
        for segment in segments:
            slots = segment.find(ids)
            segment.remove(slots[slots >= 0])

    def _written(self, index: MultiVectorIndex) -> Segment:
        name = new_name("segment")
        index.save(self.directory / name)
        segment = self._opened(name)
        if self.codebook is not None:
            self.codebook.share_with(segment.index)
        return segment

    def _opened(self, name: str, living: npt.NDArray[np.bool_] | None = None) -> Segment:
        path = self.directory / name
        index, generation = open_index(path)
        return Segment(index, File(name, generation, len(index)), living, path.stat().st_size)

    def _checked(self, path: Path, segment: Segment, codebook: Codebook | None) -> Codebook | None:
        """Return the codebook that all of them can use; ValueError if the segment does not fit."""
        own, settings = segment.index._header(), self._empty._header()
        if own != settings:
            raise ValueError(f"{path}: expected a segment with {settings}, got {own}")
        try:
            return common_codebook(codebook, segment.index)
        except ValueError as e:
            raise ValueError(f"{path}: {e}") from None

    def _linked(self, path: Path, segment: Segment) -> Segment:
        """Give a file, not a symbolic link to it, a name here, or copy it where the file system cannot."""
        name = new_name("segment")
        try:
            os.link(path.resolve(), self.directory / name)
        except OSError:
            with open(path, "rb") as source:
                replace_file(self.directory / name, lambda file: shutil.copyfileobj(source, file, 1 << 20))
        return self._opened(name, None if segment.living is None else segment.living.copy())

    def _is_worth_merging(self, segment: Segment) -> bool:
        """Tell whether less than half of a full segment lives in it, or less than half of it."""
        size = self._size(segment.index)
        return size * len(segment) / max(1, len(segment.index)) < max(self.full, size) / 2

    def _merged(self, chosen: Sequence[Segment], progress: Progress | None) -> list[Segment]:
        """Return new segments of what lives in others, stored as it is."""
        merged, documents, tokens = [], 0, 0
        index = self._new_index()
        for segment in chosen:
            row = self._size(segment.index) / max(1, segment.index.num_tokens)  # about, in bytes
            for slots, rows in segment.pieces(self.full / PIECES / row):
                index._native.append_from(segment.index._native, slots, 0)
                documents, tokens = documents + len(slots), tokens + rows
                if progress is not None:
                    progress(documents, tokens)
                if self._size(index) >= self.full:
                    merged.append(self._written(index))
                    index = self._new_index()
        if len(index):
            merged.append(self._written(index))
        return merged


def _check_memory(memory: int) -> int:
    """Return a number of bytes; ValueError unless it is at least 1."""
    size = check_integer(memory, "memory")
    if size < 1:
        raise ValueError(f"memory: expected bytes, at least 1, got {size}")
    return size
