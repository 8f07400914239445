"""One segment: a MultiVectorIndex that is never changed, and a mask of the documents in it that live."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet import _core
from tercet.indexes.base import id_array
from tercet.indexes.multivector import MultiVectorIndex
from tercet.indexes.storage import replace_file
from tercet.segments.codebook import open_index
from tercet.segments.manifest import File, Manifest, Removed, new_name
from tercet.types import PackedMask

__all__ = ["Ids", "Segment", "read_removed"]

Ids = npt.NDArray[np.int64] | list[str]  # as tercet.indexes.base.as_ids makes them


class Segment:
    """Documents of an index, those that live.

    Attributes:
        index: all that were stored, living or not.
        file: what the manifest says of it; None for what a writer has not written yet.
        living: ``bool[n]`` by slot; None while all do. Belongs to this object; only writers change it.
        file_bytes: length of the file.
    """

    def __init__(
        self,
        index: MultiVectorIndex,
        file: File | None = None,
        living: npt.NDArray[np.bool_] | None = None,
        file_bytes: int = 0,
    ) -> None:
        self.index = index
        self.file = file
        self.living = living
        self.file_bytes = file_bytes
        self._size = None if living is None else int(np.count_nonzero(living))
        self._bits: PackedMask | None = None  # of `living`, from the first search that needs them

    @classmethod
    def open(cls, directory: Path, file: File, manifest: Manifest, known: Segment | None) -> Segment:
        """Open what a manifest names, or take it from ``known``, which is the same file.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it is damaged, or another file than the manifest means.
        """
        if known is not None:
            index, size = known.index, known.file_bytes
        else:
            index = _open_same(directory / file.file, file, manifest)
            size = (directory / file.file).stat().st_size
        if file.removed is None:
            return cls(index, file, None, size)
        return cls(index, file, ~read_removed(directory, file.removed, file.documents), size)

    def __len__(self) -> int:
        """Return the number of living documents."""
        return len(self.index) if self._size is None else self._size

    @property
    def ids(self) -> npt.NDArray[Any]:
        """Those of living documents, in the order of their slots."""
        return self.index.ids if self.living is None else self.index.ids[self.living]

    def pieces(self, tokens: float) -> Iterator[tuple[npt.NDArray[np.uint32], int]]:
        """Yield the slots of living documents, those of about so many tokens at a time, and how many."""
        slots = np.arange(len(self.index), dtype=np.uint32)
        if self.living is not None:
            slots = slots[self.living]
        lengths = self.index._native.lengths()
        numbers = np.cumsum(lengths[slots]) // tokens
        for piece in np.split(slots, np.flatnonzero(np.diff(numbers)) + 1):
            yield piece, int(lengths[piece].sum())

    @property
    def num_tokens(self) -> int:
        """Token vectors of living documents."""
        if self.living is None:
            return self.index.num_tokens
        return int(self.index._native.lengths()[self.living].sum())

    @property
    def tombstone_bytes(self) -> int:
        """Bytes of memory that say which documents live."""
        bits = 0 if self._bits is None else self._bits.bits.nbytes
        return bits if self.living is None else bits + self.living.nbytes

    def find(self, ids: Ids) -> npt.NDArray[np.int64]:
        """Return the slot of each id, -1 where no living document has it."""
        slots = self.index._native.find(ids)
        if self.living is not None and len(self.index):
            slots[~self.living[slots] & (slots >= 0)] = -1  # place -1 is looked at, and not used
        return slots

    def remove(self, slots: npt.NDArray[np.int64]) -> None:
        """Let living documents be gone."""
        if len(slots) == 0:
            return
        if self.living is None:
            self.living = np.ones(len(self.index), bool)
        self._size = len(self) - len(slots)
        self.living[slots] = False
        self._bits = None
        if self.file is not None:
            self.file = replace(self.file, removed=None)  # until write_removed

    def allowed(self, given: Any) -> Any:
        """Return a filter of the living documents as one of the index, which knows the others too.

        Args:
            given: None, ids, or a mask of :attr:`ids`.
        """
        if self.living is None:
            return given
        if given is None:
            if self._bits is None:  # searches by lists must not pass over all documents
                self._bits = PackedMask.pack(self.living)
            return self._bits
        if isinstance(given, np.ndarray) and given.dtype == np.bool_:
            mask = np.zeros(len(self.index), bool)
            mask[self.living] = given
            return mask
        kept = self.find(given) >= 0
        return given[kept] if isinstance(given, np.ndarray) else id_array(given)[kept].tolist()

    def write_removed(self, directory: Path) -> None:
        """Write the tombstones to a new file, if they have changed since they were read or written."""
        file, living = self.file, self.living
        if file is None or living is None or file.removed is not None:
            return
        bits = np.packbits(~living, bitorder="little").tobytes()
        removed = Removed(new_name("removed"), len(living) - len(self), _core.crc32c(bits))
        replace_file(directory / removed.file, lambda to: to.write(bits))
        self.file = replace(file, removed=removed)


def _open_same(path: Path, file: File, manifest: Manifest) -> MultiVectorIndex:
    index, generation = open_index(path)
    like = MultiVectorIndex(manifest.dim, codec=manifest.codec, seed=manifest.seed)  # type: ignore[arg-type]
    for what, got, expected in (
        ("generation", generation, file.generation),
        ("documents", len(index), file.documents),
        ("settings", index._header(), like._header()),
    ):
        if got != expected:
            raise ValueError(f"{path}: not the file that the manifest names: {what} {got}, not {expected}")
    return index


def read_removed(directory: Path, removed: Removed, documents: int) -> npt.NDArray[np.bool_]:
    """Return a mask of the removed documents; ValueError, naming the file, if it is damaged."""
    path = directory / removed.file
    data = path.read_bytes()
    expected = (documents + 7) // 8
    if len(data) != expected:
        raise ValueError(f"{path}: damaged tombstones: expected {expected} bytes, got {len(data)}")
    if _core.crc32c(data) != removed.crc32c:
        raise ValueError(f"{path}: damaged tombstones: the checksum does not match")
    mask = np.unpackbits(np.frombuffer(data, np.uint8), count=documents, bitorder="little").astype(bool)
    if np.count_nonzero(mask) != removed.documents:
        raise ValueError(
            f"{path}: damaged tombstones: expected {removed.documents}, got {np.count_nonzero(mask)}"
        )
    return mask
