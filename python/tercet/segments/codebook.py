"""A codebook that many indexes share, so that their scores compare."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tercet.arrays import as_float32
from tercet.indexes import storage
from tercet.indexes.base import RESIDUAL
from tercet.indexes.multivector import MultiVectorIndex
from tercet.scoring import check_k, check_threads
from tercet.segments.manifest import File, new_name
from tercet.watching import Watcher

__all__ = [
    "Codebook",
    "common_codebook",
    "empty_index",
    "open_codebook",
    "open_index",
    "save_codebook",
    "train_codebook",
]

ITERATIONS = 5  # of k-means


class Codebook:
    """The centroids of a residual codec and what else it has learned; made by :func:`train_codebook`.

    Documents stored with one codebook by different processes score as if one had stored them all. It can be
    pickled, and saved as a file: that of a :class:`MultiVectorIndex` without documents.
    """

    def __init__(self, index: MultiVectorIndex) -> None:
        """Take that of an index, in its memory; use :func:`train_codebook` or :meth:`open`."""
        if index.codec not in RESIDUAL:
            raise ValueError(f"codebook: codec {index.codec!r} has none, only {', '.join(RESIDUAL)} do")
        self._index = MultiVectorIndex(index.dim, codec=index.codec, seed=index.seed)  # type: ignore[arg-type]
        self._index._native.share_training(index._native)

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return self._index.dim

    @property
    def codec(self) -> str:
        """The codec it was trained for."""
        return self._index.codec

    @property
    def seed(self) -> int:
        """The seed it was trained with."""
        return self._index.seed

    @property
    def centroids(self) -> int:
        """How many there are."""
        return int(self._index.stats()["centroids"])

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""
        return self._index.nbytes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, atomically."""
        self._index.save(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Codebook:
        """Open what :meth:`save` wrote, or take that of a saved :class:`MultiVectorIndex`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or no index of a trained residual codec.
        """
        index, _ = open_index(path)
        return cls(index)

    def residual(self, sample: Any) -> float:
        """Return how long what codes have to store is on average, of documents whose vectors have length 1.

        Errors grow with it: of content that is far from the centroids, it is larger than of what they were
        trained on.

        Args:
            sample: documents as :meth:`MultiVectorIndex.add` takes them.
        """
        index = empty_index(self.dim, self.codec, self.seed, self)
        index.add(sample)
        return index._native.mean_residual()

    def grown(self, sample: Any, *, centroids: int | None = None, threads: int | None = None) -> Codebook:
        """Return this one with further centroids, for content that has drifted away from those it has.

        They are trained on the half of the sample's tokens that is farther from its centroids. Documents
        stored with this one have the same scores with that one, to the last bit (but with ``"pq16"``, whose
        scores are rounded to steps that depend on all centroids).

        Args:
            sample: documents like those to come, as :func:`train_codebook` takes them.
            centroids: how many more, up to 65,536 in all; by default as many as :func:`train_codebook` would
                make of the sample.
            threads: how many to use; all by default. The result does not depend on it.

        Raises:
            ValueError: more centroids than there is room for.
        """
        index = empty_index(self.dim, self.codec, self.seed, self)
        tokens = index._tokens(sample, "sample")
        count = 0 if centroids is None else check_k(centroids, "centroids")
        rows = as_float32(tokens.rows).data
        index._native.grow(rows, tokens.offsets, count, ITERATIONS, check_threads(threads))
        return Codebook(index)

    def share_with(self, index: MultiVectorIndex) -> None:
        """Let an index use this one; ValueError if it has another, or other settings.

        One that this has grown from is none other: rows stored with it stay as they are.
        """
        if index._header() != self._index._header():
            raise ValueError(f"codebook: {self!r} does not fit {index!r}")
        index._native.share_training(self._index._native)

    def extends(self, other: Codebook) -> bool:
        """Tell whether this is the other, or has grown from it: documents stored with that one fit."""
        try:
            self.share_with(Codebook(other._index)._index)
        except ValueError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        """Tell whether both are the same to the last bit."""
        if not isinstance(other, Codebook):
            return NotImplemented
        return self.extends(other) and other.extends(self)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Codebook, (self._index,)

    def __repr__(self) -> str:
        return f"Codebook(dim={self.dim}, codec={self.codec!r}, centroids={self.centroids})"


def train_codebook(
    sample: Any,
    *,
    codec: str,
    dim: int,
    centroids: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Watcher | None = None,
) -> Codebook:
    """Train a codebook by k-means: the same bits for the same sample, on any machine and number of threads.

    Args:
        sample: documents as :meth:`MultiVectorIndex.add` takes them, like those to come: of all of them, and
            pooled if those will be. 64 tokens for each centroid are used.
        codec: ``"residual2"``, ``"residual1"`` or ``"pq16"``.
        dim: number of dimensions.
        centroids: how many, up to 65536; by default 16 times the root of the number of tokens in the sample,
            rounded down to a power of two, and at most one for four tokens. Sixteen times the root of the
            number of tokens *to come* is better, where the sample is large enough.
        seed: of the random rotation and of training.
        threads: how many to use; all by default.
        progress: as :meth:`MultiVectorIndex.train` takes it. 65,536 centroids take a core a minute and a half
            (of 128 dimensions).

    Raises:
        ValueError: a codec without a codebook, wrong dimensions, a value that is not finite.
    """
    index = MultiVectorIndex(dim, codec=codec, seed=seed)  # type: ignore[arg-type]
    if codec in RESIDUAL:
        index.train(sample, centroids=centroids, threads=threads, progress=progress)
    return Codebook(index)


def common_codebook(codebook: Codebook | None, index: MultiVectorIndex) -> Codebook | None:
    """Return what both can use: the codebook, or that of the index if it has grown from it or there is none.

    Raises:
        ValueError: they do not fit.
    """
    trained = index.codec in RESIDUAL and index.trained
    theirs = Codebook(index) if trained else None
    if codebook is None or (theirs is not None and theirs.extends(codebook)):
        return theirs
    codebook.share_with(index)
    return codebook


def empty_index(dim: int, codec: str, seed: int, codebook: Codebook | None) -> MultiVectorIndex:
    """Return an index without documents of these settings, which must be those of the codebook."""
    index = MultiVectorIndex(dim, codec=codec, seed=seed)  # type: ignore[arg-type]
    if codebook is not None:
        codebook.share_with(index)
    return index


def open_index(path: str | os.PathLike[str]) -> tuple[MultiVectorIndex, str]:
    """Open the file of a MultiVectorIndex, mapped; return it, and the generation that its header names."""
    file = storage.open_file(path, mmap=True)
    settings = storage.read_settings(file, path)
    if settings.get("kind") != MultiVectorIndex.__name__:
        raise ValueError(f"{os.fspath(path)}: expected a MultiVectorIndex, got {settings.get('kind')!r}")
    return MultiVectorIndex._restore(file, settings, path), file.generation().hex()


def save_codebook(directory: Path, codebook: Codebook) -> File:
    """Write a codebook among the files of an index; return what the manifest says of it."""
    name = new_name("codebook")
    codebook.save(directory / name)
    _, generation = open_index(directory / name)
    return File(name, generation)


def open_codebook(directory: Path, file: File) -> Codebook:
    """Open what a manifest names; ValueError if it is another file."""
    index, generation = open_index(directory / file.file)
    if generation != file.generation:
        raise ValueError(f"{directory / file.file}: not the file that the manifest names")
    return Codebook(index)
