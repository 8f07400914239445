"""Stored rows on a device: the bytes of an index, with zeros behind each row to whole vectors of a kernel."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.cuda.library import Rows, load
from tercet.cuda.memory import Buffer, upload

__all__ = ["FORMATS", "DeviceIds", "DeviceRows", "check_dim", "id_order"]

# Of codecs, the number of the format of their rows (csrc/core/types.h).
FORMATS = {
    "float32": 0, "bfloat16": 1, "int8": 2, "int4": 3, "int2": 4, "binary": 5, "residual2": 4, "residual1": 5,
}  # fmt: skip
UPLOADED_BYTES = 64 << 20  # at a time, so that the host needs no second copy of all rows


class DeviceRows:
    """Rows of one format; ``order``, if given, says which row comes where."""

    def __init__(
        self,
        form: int,
        dim: int,
        device: int,
        codes: npt.NDArray[Any],
        *,
        scales: npt.NDArray[np.uint16] | None = None,
        centroids: npt.NDArray[np.uint16] | None = None,
        order: npt.NDArray[np.int64] | None = None,
    ) -> None:
        check_dim(dim)
        rows = len(codes)
        self.stride = load().stride(form, dim)
        self._codes = Buffer(device, rows * self.stride)
        some = max(1, UPLOADED_BYTES // self.stride)
        for first in range(0, rows, some):
            part = codes[first : first + some] if order is None else codes[order[first : first + some]]
            placed = np.zeros((len(part), self.stride), np.uint8)
            placed[:, : codes.shape[1]] = part
            load().call(
                "upload",
                device,
                self._codes.pointer + first * self.stride,
                placed.ctypes.data,
                placed.nbytes,
                None,
            )
        self._of_rows = [
            None if x is None else upload(x if order is None else x[order], device)
            for x in (scales, centroids)
        ]
        pointers = [None if x is None else x.pointer for x in self._of_rows]
        self.struct = Rows(self._codes.pointer, *pointers, rows, form, dim)

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return self._codes.bytes + sum(x.bytes for x in self._of_rows if x is not None)


def check_dim(dim: int) -> None:
    """ValueError for more dimensions than a block of threads can bind."""
    most = load().max_dim
    if dim > most:
        raise ValueError(f"dim: expected at most {most} on a device, got {dim}")


def id_order(sections: dict[str, npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the ids that an index saves, ascending, and where they were.

    On a device a document's number is its place among them, so that a lower number is a lower id.
    """
    if "id_offsets" not in sections:
        ids: npt.NDArray[Any] = sections["ids"]
        order = np.argsort(ids, kind="stable")
        return ids[order], order
    text, bounds = sections["id_bytes"].tobytes(), sections["id_offsets"].tolist()
    names = [text[a:b] for a, b in pairwise(bounds)]
    order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    ids = np.empty(len(names), object)
    ids[:] = [names[i].decode() for i in order]
    return ids, order


class DeviceIds:
    """Ids of documents by their numbers on a device, in host memory and, if integers, there."""

    def __init__(self, ids: npt.NDArray[Any], device: int) -> None:
        self.ids = ids
        self._buffer = upload(ids, device) if ids.dtype == np.int64 else None
        self._by_id: dict[Any, int] | None = None  # once it is asked for

    @property
    def pointer(self) -> int | None:
        """Where integers lie on the device; None for strings."""
        return None if self._buffer is None else self._buffer.pointer

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return 0 if self._buffer is None else self._buffer.bytes

    def __len__(self) -> int:
        return len(self.ids)

    def check_on_device(self) -> None:
        """TypeError unless a device can have them."""
        if self._buffer is None:
            raise TypeError("ids: a device has no strings; pass queries in host memory, or use integers")

    def named(self, found: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return what a search on the device has found as ids: its integers, or strings of its numbers."""
        if self._buffer is not None:
            return found
        out = np.full(found.shape, -1, object)
        there = found >= 0
        out[there] = self.ids[found[there]]
        return out

    def numbers(self, wanted: list[list[Any]]) -> list[list[int]]:
        """Return the numbers of some lists of ids, each list ascending and without repetitions.

        Raises:
            KeyError: ids that are not there; names them.
        """
        if self._by_id is None:
            self._by_id = {x: number for number, x in enumerate(self.ids.tolist())}
        missing = sorted({str(x) for ids in wanted for x in ids if x not in self._by_id})
        if missing:
            raise KeyError(f"candidates not in this index: {', '.join(missing[:5])} ({len(missing)} in all)")
        return [sorted({self._by_id[x] for x in ids}) for ids in wanted]
