"""From a stream of pairs, ids and documents, to segments."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from tercet.indexes.base import TokenCodec, required_ids
from tercet.indexes.multivector import MultiVectorIndex
from tercet.segments.codebook import Codebook, empty_index
from tercet.segments.snapshot import picked
from tercet.segments.stream import Batch, Progress, in_batches, of_pairs, reporting
from tercet.segments.writer import Writer
from tercet.types import TokenVectors

__all__ = ["build_segment", "check_same", "fill"]

BATCH_BYTES = 32 << 20


def build_segment(
    path: str | os.PathLike[str],
    stream: Iterable[tuple[Any, Any]],
    *,
    dim: int,
    codec: TokenCodec = "int4",
    seed: int = 0,
    codebook: Codebook | None = None,
    pool: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Make one segment, a file for :meth:`SegmentedIndex.attach`: many processes may, each its own.

    It is in memory, as stored, until it is written. Scores of segments compare if their settings are the
    same, and with a residual codec their codebook.

    Args:
        path: the file; replaced in one step if it is there.
        stream: pairs of an id and its document ``[tokens, dim]``, or of ids and as many documents, as
            :meth:`MultiVectorIndex.add` takes them. Of those with the same id the last is kept.
        dim, codec, seed: as :class:`MultiVectorIndex` takes them.
        codebook: for a residual codec, the one that all segments are to share.
        pool, threads: as :meth:`MultiVectorIndex.add` takes them.
        progress: called after each batch with how many documents and tokens have been added.

    Raises:
        ValueError: a residual codec without a codebook, settings that are not those of the codebook, or
            documents that :meth:`MultiVectorIndex.add` refuses.
    """
    index = empty_index(dim, codec, seed, codebook)
    if not index.trained:
        raise ValueError(f"codebook: expected one, for codec {codec!r}: train_codebook makes it of a sample")
    for tokens, ids in reporting(in_batches(of_pairs(stream, index.dim), BATCH_BYTES), progress):
        index.add(tokens, ids, pool=pool, threads=threads)
    index.save(path)


def check_same(writer: Writer, wanted: MultiVectorIndex, codebook: Codebook | None) -> None:
    """Raise ValueError unless an index has the settings that a build was given."""
    found = writer.snapshot()
    if wanted._header() != found.empty._header():
        raise ValueError(
            f"{writer.directory}: expected an index with {wanted._header()}, got {found.empty._header()}"
        )
    if codebook is not None and (found.codebook is None or not found.codebook.extends(codebook)):
        raise ValueError(f"{writer.directory}: the index has another codebook than the one given")


def fill(writer: Writer, batches: Iterable[Batch], pool: int | None, threads: int | None) -> None:
    """Add those documents whose ids are new, and commit each segment when it is full."""
    for tokens, given in batches:
        ids = required_ids(given)
        found = writer.snapshot()
        found.check_kind(ids)
        new = np.flatnonzero(found.find(ids)[0] < 0)
        if len(new) == 0:
            continue
        if len(new) < len(tokens):
            tokens = TokenVectors.from_list([tokens[i] for i in new.tolist()])
            ids = picked(ids, new)
        writer.add(tokens, ids, pool, threads)
        if len(writer.buffer) == 0:
            writer.commit()
