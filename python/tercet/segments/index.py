"""Late interaction for more than fits in memory: what is public of segmented indexes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tercet.directory import MANIFEST
from tercet.indexes.base import TokenCodec
from tercet.segments.building import check_same, fill
from tercet.segments.codebook import Codebook, empty_index
from tercet.segments.manifest import read_manifest
from tercet.segments.questions import Questions
from tercet.segments.snapshot import Snapshot, load
from tercet.segments.stream import Batch, Progress, in_batches, of_pairs, of_vectors, reporting
from tercet.segments.writer import Writer
from tercet.types import TokenVectors

__all__ = ["SegmentedIndex"]

MEMORY = 1 << 30
BATCHES = 32  # of which the memory could hold so many; three of them are there at a time


class SegmentedIndex(Questions):
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

    **Memory** of a writer, at most: ``memory`` for new documents (they are written as a segment when they
    take half of it, since arrays are copied when they grow, and a batch that is larger adds what it takes);
    of a stream, a tenth of ``memory`` for the batch at hand; where segments get inverted lists (131,072
    tokens, codecs without a codebook), to train them, ``2500 sqrt(tokens) dim`` bytes of a segment's tokens;
    and up to 64 MiB that an allocator keeps of what was freed (glibc, of blocks below 32). And, of a writer
    as of a reader, whatever ``memory`` is: the codebook; about 40 bytes for each document (with ids that are
    strings 80, and the characters); of a segment with lists ``8 sqrt(tokens)`` times ``dim + 14`` bytes; and
    the pages of mapped files in use, which the system takes back.
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
        return cls(Path(path), Writer(Path(path), memory) if mode == "r+" else None)

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

    # ---- changes

    def add(
        self,
        vectors: Any,
        ids: Any = None,
        *,
        pool: int | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> npt.NDArray[Any]:
        """Add documents, or replace those whose id is there.

        Args:
            vectors: what :meth:`MultiVectorIndex.add` takes: all or nothing is added. Or an iterator of such,
                of documents ``[tokens, dim]`` or of batches, which is read a batch at a time; if one fails,
                those before it have been added.
            ids: one integer >= 0 or one non-empty string per document, one kind per index; None numbers on.
                With an iterator of vectors they may be one too.
            pool: keep one vector for every ``pool`` tokens, as :func:`tercet.pool_tokens` makes them; None
                keeps all.
            threads: how many to use; all by default.
            progress: called after each batch with how many documents and tokens have been added.

        Returns:
            The ids of the documents, ``[n]``.

        Raises:
            ValueError, TypeError: as :meth:`MultiVectorIndex.add`.
            OSError: a segment cannot be written; the documents are in memory, for the next call to write.
            io.UnsupportedOperation: the index is open for reading.
        """
        writer = self._writing()
        items: Iterable[tuple[TokenVectors, Any]]
        if isinstance(vectors, Iterator):
            items = self._batches(of_vectors(vectors, ids, writer.manifest.dim), progress)
        else:
            items = reporting([(writer.snapshot().empty._tokens(vectors, "vectors"), ids)], progress)
        added: list[npt.NDArray[Any]] = []
        for tokens, names in items:
            with writer.turn:
                added.append(writer.add(tokens, names, pool, threads))
        return np.concatenate(added) if added else np.empty(0, np.int64)

    def remove(self, ids: Any) -> None:
        """Remove ids: gone for every later search.

        Raises:
            KeyError: some are not in the index; the message names them, and nothing is removed.
            io.UnsupportedOperation: the index is open for reading.
        """
        with self._writing().turn:
            self._writing().remove(ids)

    def attach(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        """Take segments that other processes have made, without reading their vectors.

        Their files are linked into the directory (copied where the file system cannot link) and stay where
        they are, for the caller to delete after the next :meth:`commit`. A document whose id is there
        replaces it; of those in ``paths`` the last is kept. All or nothing.

        Args:
            paths: files that :func:`build_segment` or ``MultiVectorIndex.save`` made, or directories of
                other segmented indexes.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: one is damaged, or of other settings or another codebook; the message names it.
            TypeError: ids of the other kind.
            io.UnsupportedOperation: the index is open for reading.
        """
        with self._writing().turn:
            self._writing().attach(paths)

    def commit(self) -> int:
        """Write what has changed, and let readers see it; return the number of the commit.

        New documents become a segment; many small ones make searches slow.
        """
        with self._writing().turn:
            return self._writing().commit()

    def compact(self) -> None:
        """Merge small and half-dead segments, and commit.

        Chosen are those in which less than a quarter of ``memory`` lives, or less than half of the documents.
        Codes are copied as they are stored. The order of :attr:`ids` changes.
        """
        with self._writing().turn:
            self._writing().compact()

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
        if self._writer is not None:
            return self._writer
        with self._reading():  # unless it is closed
            raise io.UnsupportedOperation(f"{self._path} is open for reading: open it with mode='r+'")

    def _batches(self, items: Iterator[Batch], progress: Progress | None) -> Iterator[Batch]:
        return reporting(in_batches(items, 2 * self._writing().full // BATCHES), progress)
