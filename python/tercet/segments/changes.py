"""What changes a segmented index: asked of its writer, one call at a time."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.segments.questions import Questions
from tercet.segments.stream import Batch, Progress, in_batches, of_vectors, reporting
from tercet.segments.writer import Writer
from tercet.types import TokenVectors

__all__ = ["Changes"]

BATCHES = 32  # of which the memory could hold so many; three of them are there at a time


class Changes(Questions):
    """Everything that needs an index that is open for writing. Not public: use SegmentedIndex."""

    @abstractmethod
    def _writing(self) -> Writer:
        """Return the writer; io.UnsupportedOperation if the index is open for reading."""

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

    def attach(self, paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> None:
        """Take segments that other processes have made, without reading their vectors.

        Their files are linked into the directory (copied where the file system cannot link) and stay where
        they are, for the caller to delete after the next :meth:`commit`. A document whose id is there
        replaces it; of those in ``paths`` the last is kept. All or nothing.

        Args:
            paths: files that :func:`build_segment` or ``MultiVectorIndex.save`` made, or directories of other
                segmented indexes; or one of these.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: one is damaged, or of other settings or another codebook; the message names it.
            TypeError: ids of the other kind.
            io.UnsupportedOperation: the index is open for reading.
        """
        several = [paths] if isinstance(paths, (str, os.PathLike)) else paths
        with self._writing().turn:
            self._writing().attach(several)

    def grow_codebook(self, sample: Any, *, centroids: int | None = None, threads: int | None = None) -> None:
        """Give documents to come further centroids: for new content that those there are do not fit.

        Documents that are there keep their codes and their scores (:meth:`Codebook.grown`). It is time when
        ``index.codebook.residual`` of new documents is a fifth or more above that of the old.

        Args:
            sample: documents like those to come.
            centroids, threads: as :meth:`Codebook.grown` takes them.

        Raises:
            ValueError: there is no codebook, or no room for so many.
            io.UnsupportedOperation: the index is open for reading.
        """
        with self._writing().turn:
            self._writing().grow(sample, centroids, threads)

    def commit(self) -> int:
        """Write what has changed, and let readers see it; return the number of the commit.

        New documents become a segment; many small ones make searches slow.
        """
        with self._writing().turn:
            return self._writing().commit()

    def compact(self, *, progress: Progress | None = None) -> None:
        """Merge small and half-dead segments, and commit.

        Chosen are those in which less than a quarter of ``memory`` lives, or less than half of the documents.
        Codes are copied as they are stored. The order of :attr:`ids` changes.

        Args:
            progress: called now and then with how many documents and tokens have been copied.
        """
        with self._writing().turn:
            self._writing().compact(progress)

    def _batches(self, items: Iterator[Batch], progress: Progress | None) -> Iterator[Batch]:
        return reporting(in_batches(items, 2 * self._writing().full // BATCHES), progress)
