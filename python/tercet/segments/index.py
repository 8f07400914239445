"""Late interaction for more than fits in memory: what is public of segmented indexes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tercet.directory import MANIFEST
from tercet.indexes.base import TokenCodec
from tercet.segments.building import check_same, fill
from tercet.segments.changes import Changes
from tercet.segments.codebook import Codebook, empty_index
from tercet.segments.manifest import read_manifest
from tercet.segments.snapshot import Snapshot, load
from tercet.segments.stream import Progress, of_pairs
from tercet.segments.writer import Writer

__all__ = ["SegmentedIndex"]

MEMORY = 1 << 30


class SegmentedIndex(Changes):
    """Token vectors in a directory of files that never change, searched as one :class:`MultiVectorIndex`.

    Made by :meth:`create` or :meth:`build`, found again by :meth:`open`. Documents are stored in segments,
    files of a MultiVectorIndex, which are mapped; documents that are removed or replaced stay there, marked,
    until :meth:`compact`. Searches ask every segment: ``search(exact=True)`` gives the ids and scores, to
    the last bit, that one MultiVectorIndex with the same documents would (and, with a residual codec, the
    same codebook).

    One process writes while others read. A writer sees its own changes at once, readers see them after
    :meth:`commit`, all of them or none, when they :meth:`refresh`. A process killed at any moment leaves the
    last commit. Searches of a reader may run in several threads at once; on a writer's object, calls take
    turns. As a context manager, a writer commits when the block ends without an exception; :meth:`close`
    alone gives up what is not committed.

    A reader is pickled and copied as its path: what comes of it opens the newest commit. A writer is neither,
    and a process that is forked from its own cannot write.

    **Memory** of a writer, at most: ``memory``, by default 1 GiB, for new documents (they are written as a
    segment when they take half of it, since arrays are copied when they grow, and a batch that is larger adds
    what it takes); of a stream, a tenth of ``memory`` for the batch at hand; where segments get inverted
    lists (131,072 tokens, codecs without a codebook), to train them, ``300 sqrt(tokens) dim`` bytes of a
    segment's tokens, of 128 dimensions from 40 MiB of ``memory`` on no more than its other half; and up to
    64 MiB that an allocator keeps of what was freed (glibc, of blocks below 32). And, of a writer as of a
    reader, whatever ``memory`` is: the codebook; about 45 bytes for each document (with ids that are strings
    110, and what is longer than 15 characters); of a segment with lists ``8 sqrt(tokens)`` times ``dim + 14``
    bytes; and the pages of mapped files in use, which the system takes back.
    """

    def __init__(self, path: Path, writer: Writer | None) -> None:
        """Use :meth:`create`, :meth:`open` or :meth:`build`."""
        super().__init__()
        self._path = path.absolute()  # the process may change its directory
        self._writer = writer
        self._state = load(self._path) if writer is None else None

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        dim: int,
        *,
        codec: TokenCodec = "int4",
        seed: int = 0,
        codebook: Codebook | None = None,
        memory: int = MEMORY,
    ) -> SegmentedIndex:
        """Make a new, empty index, and open it for writing.

        Args:
            path: the directory; it may exist if it is empty.
            dim, codec, seed: as :class:`MultiVectorIndex` takes them.
            codebook: for a residual codec, what :func:`train_codebook` made of a sample. Without one, the
                first batch of documents that is added trains it, and for good.
            memory: bytes that documents may take until they are written as a segment; see above.

        Raises:
            FileExistsError: the directory holds something already.
            ValueError: settings that make no sense, or are not those of the codebook.
            BlockingIOError: another process is writing there.
        """
        return cls(Path(path), Writer.create(Path(path), dim, codec, seed, codebook, memory))

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, mode: Literal["r", "r+"] = "r", memory: int = MEMORY
    ) -> SegmentedIndex:
        """Open an index: its last commit.

        That reads ids, not vectors, which are compared with their checksums before they are first used.

        Args:
            path: as :meth:`create` takes it.
            mode: ``"r"`` to search, ``"r+"`` to change it as well, which one process does at a time.
            memory: as :meth:`create` takes it.

        Raises:
            FileNotFoundError: there is no such directory, or one of its files is missing.
            ValueError: it holds no segmented index, or something is damaged; the message names the file.
            BlockingIOError: with ``"r+"``, another process is writing; the message says which.
        """
        if mode not in ("r", "r+"):
            raise ValueError(f"mode: expected 'r' or 'r+', got {mode!r}")
        return cls(Path(path), Writer.open(Path(path), memory) if mode == "r+" else None)

    @classmethod
    def build(
        cls,
        path: str | os.PathLike[str],
        stream: Iterable[tuple[Any, Any]],
        *,
        dim: int,
        codec: TokenCodec = "int4",
        seed: int = 0,
        codebook: Codebook | None = None,
        pool: int | None = None,
        threads: int | None = None,
        memory: int = MEMORY,
        progress: Progress | None = None,
    ) -> SegmentedIndex:
        """Make an index of a stream in bounded memory, or go on where an interrupted build stopped.

        Every segment is committed when it is full. Called again with the same stream, it passes over what is
        there: of documents with the same id the first is kept.

        Args:
            path: the directory; it may not exist, be empty, or hold what this made before.
            stream: pairs of an id and its document ``[tokens, dim]``, or of ids and as many documents, as
                :meth:`add` takes them. Read a batch at a time, once.
            dim, codec, seed, codebook, memory: as :meth:`create` takes them.
            pool, threads: as :meth:`MultiVectorIndex.add` takes them.
            progress: called after each batch with how many documents and tokens have been read.

        Returns:
            The index, open for reading.

        Raises:
            FileExistsError: the directory holds something else.
            ValueError: it holds an index with other settings; a document as :meth:`MultiVectorIndex.add`
                refuses it. Full segments of what came before are committed.
            BlockingIOError: another process is writing there.
        """
        if (Path(path) / MANIFEST).exists():
            index = cls.open(path, mode="r+", memory=memory)
        else:
            index = cls.create(path, dim, codec=codec, seed=seed, codebook=codebook, memory=memory)
        with index:
            writer = index._writing()
            check_same(writer, empty_index(dim, codec, seed, codebook), codebook)
            fill(writer, index._batches(of_pairs(stream, dim), progress), pool, threads)
        return cls.open(path)

    # ---- opened and closed

    def refresh(self) -> bool:
        """Move a reader to the newest commit, and tell whether it is another; searches go on meanwhile."""
        with self._reading() as now:
            if self._writer is not None or read_manifest(self._path) == now.manifest:
                return False
            self._state = load(self._path, now.segments)
            return True

    def close(self) -> None:
        """Close the files, and give up what is not committed; the object is of no use afterwards."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self._state = None, None

    def __enter__(self) -> SegmentedIndex:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None and self._writer is not None:
                self.commit()
        finally:
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._writer is not None:
            raise TypeError(
                f"{self._path}: a writer cannot be pickled or copied, there is one for a directory"
            )
        with self._reading():  # unless it is closed
            return type(self).open, (self._path,)

    def __repr__(self) -> str:
        if self._writer is None and self._state is None:
            return f"SegmentedIndex({str(self._path)!r}, closed)"
        return f"SegmentedIndex({str(self._path)!r}, codec={self.codec!r}, size={len(self)})"

    @contextmanager
    def _reading(self) -> Iterator[Snapshot]:
        """Yield what there is, which does not change until the end of the block."""
        writer, state = self._writer, self._state
        if writer is not None:
            with writer.turn:
                yield writer.snapshot()
        elif state is not None:
            yield state
        else:
            raise ValueError(f"{self._path}: this index is closed")

    def _writing(self) -> Writer:
        if self._writer is None:
            with self._reading():  # unless it is closed
                raise io.UnsupportedOperation(f"{self._path} is open for reading: open it with mode='r+'")
        if not self._writer.is_ours():
            raise io.UnsupportedOperation(f"{self._path}: only the process that opened it for writing writes")
        return self._writer
