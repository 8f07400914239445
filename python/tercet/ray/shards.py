"""What one actor searches: some segments of an index of token vectors, or some files of single vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tercet.directory import MANIFEST
from tercet.indexes import MultiVectorIndex
from tercet.indexes.base import as_filters
from tercet.ray import manifest as single
from tercet.segments.manifest import Manifest
from tercet.segments.manifest import read_manifest as read_segments
from tercet.segments.questions import Questions
from tercet.segments.snapshot import Snapshot, is_mask, open_commit, unpacked
from tercet.types import Hits, merged

__all__ = ["Files", "Place", "Segments", "places", "split"]


@dataclass(frozen=True)
class Segments:
    """A run of the segments of one commit; ``manifest`` names no others."""

    directory: Path
    manifest: Manifest
    documents: int  # that live

    @property
    def files(self) -> list[str]:
        """Their names."""
        return [segment.file for segment in self.manifest.segments]

    def open(self) -> SomeSegments:
        """Map the files; errors are those of :func:`open_commit`."""
        return SomeSegments(self.directory, open_commit(self.directory, self.manifest))


class SomeSegments(Questions):
    """What a :class:`tercet.SegmentedIndex` can be asked, of a part of its segments."""

    def __init__(self, directory: Path, snapshot: Snapshot) -> None:
        super().__init__()
        self._path = directory
        self._snapshot = snapshot

    @contextmanager
    def _reading(self) -> Iterator[Snapshot]:
        yield self._snapshot


@dataclass(frozen=True)
class Files:
    """A run of the files of a sharded index of single vectors."""

    directory: Path
    shards: tuple[single.ShardFile, ...]

    @property
    def documents(self) -> int:
        """How many ids they have."""
        return sum(shard.documents for shard in self.shards)

    @property
    def files(self) -> list[str]:
        """Their names."""
        return [shard.file for shard in self.shards]

    def open(self) -> SomeFiles:
        """Map the files.

        Raises:
            FileNotFoundError: one is missing.
            ValueError: one is damaged, or another than the manifest means; the message names it.
        """
        indexes = []
        for shard in self.shards:
            index, found = single.open_shard(self.directory / shard.file)
            if found != shard:
                path = self.directory / shard.file
                raise ValueError(f"{path}: not the file that the manifest names: {found}, not {shard}")
            indexes.append(index)
        return SomeFiles(indexes)


class SomeFiles:
    """Some indexes of single vectors, asked as one."""

    def __init__(self, indexes: Sequence[single.VectorIndex]) -> None:
        self._indexes = indexes

    def __len__(self) -> int:
        """Return the number of ids."""
        return sum(map(len, self._indexes))

    @cached_property
    def ids(self) -> npt.NDArray[Any]:
        """All ids, file by file."""
        return np.concatenate([index.ids for index in self._indexes])

    def search(self, queries: Any, k: int, *, filter: Any = None, **settings: Any) -> Hits:
        """Return the best ``k`` of all files; arguments are those of their indexes."""
        filters = split(as_filters(filter, len(queries)), [len(index) for index in self._indexes])
        asked = zip(self._indexes, filters, strict=True)
        return merged(
            [
                index.search(queries, max(1, min(k, len(index))), filter=own, **settings)
                for index, own in asked
            ],
            k,
        )

    def stats(self) -> dict[str, Any]:
        """Return ``size`` and ``nbytes`` of all files."""
        return {"size": len(self), "nbytes": sum(index.nbytes for index in self._indexes)}

    def verify(self) -> None:
        """Compare the files with their checksums; ValueError names one that is damaged."""
        for index in self._indexes:
            index.verify()


Place: TypeAlias = Segments | Files


def places(directory: Path, actors: int | None) -> tuple[list[Place], MultiVectorIndex | single.VectorIndex]:
    """Return what each of so many actors opens, and an empty index with the settings of all.

    Files stay in their order, in runs of about as many documents; None gives each file an actor of its own.
    Files without documents have none.

    Raises:
        FileNotFoundError: there is no such directory.
        ValueError: it holds neither kind of index, or its manifest is damaged.
    """
    found: list[Place]
    if _format(directory) == single.FORMAT:
        shards = single.read_manifest(directory)
        filled = tuple(shard for shard in shards.shards if shard.documents)
        found = [Files(directory, filled[run]) for run in _runs([s.documents for s in filled], actors)]
        return found, single.empty_like(shards.settings)
    commit = read_segments(directory)
    living = [s.documents - (s.removed.documents if s.removed else 0) for s in commit.segments]
    found = [
        Segments(directory, replace(commit, segments=commit.segments[run]), sum(living[run]))
        for run in _runs(living, actors)
    ]
    return found, MultiVectorIndex(commit.dim, codec=commit.codec, seed=commit.seed)  # type: ignore[arg-type]


def split(filters: list[Any], sizes: Sequence[int]) -> list[Any]:
    """Return for each part of an index the ``filter`` that a search of it takes.

    Args:
        filters: as :func:`as_filters` makes them: none, one for all queries, or one for each.
        sizes: how many ids each part has. Masks are cut accordingly; where there are none, all parts get the
            same object.

    Raises:
        ValueError: a mask of another number of ids.
    """
    given = [unpacked(one, sum(sizes)) for one in filters] or [None]
    if not any(map(is_mask, given)):
        return [given if given[1:] else given[0]] * len(sizes)
    ends = np.cumsum(sizes).tolist()
    cut = [
        [one[end - size : end] if is_mask(one) else one for one in given]
        for size, end in zip(sizes, ends, strict=True)
    ]
    return [own if own[1:] else own[0] for own in cut]


def _format(directory: Path) -> Any:
    """Return what a manifest says it is of; None for what cannot be read, of which others say why."""
    try:
        record = json.loads((directory / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return record.get("format") if isinstance(record, dict) else None


def _runs(sizes: Sequence[int], count: int | None) -> list[slice]:
    """Cut a sequence into at most so many runs of about the same sum, none of them empty."""
    if count is None:
        return [slice(i, i + 1) for i in range(len(sizes))]
    middles = np.cumsum(sizes) - np.asarray(sizes) / 2
    numbers = (middles * count / max(1, sum(sizes))).astype(int)
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(sizes)]
    return [slice(a, b) for a, b in pairwise(starts) if a < b]
