"""What searches of both kinds of index share: queries to a device, calls, results from it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tercet.cuda.dlpack import Tensor
from tercet.cuda.library import Queries, Search, load
from tercet.cuda.memory import Buffer, held_on, upload, workspace
from tercet.cuda.streams import Stream, is_capturing
from tercet.cuda.tensors import DeviceArray, as_tensor, is_on_device

__all__ = [
    "DeviceHits",
    "GivenQueries",
    "Output",
    "check_capture",
    "check_values",
    "hold_tensors",
    "host_queries",
    "padded_groups",
    "run",
    "tensor_queries",
]

_ELEMENTS = {"float32": 0, "bfloat16": 1, "float16": 2}
PADDED_BYTES = 64 << 20  # of queries that are padded to one length at a time, if they are more than one


class DeviceHits(NamedTuple):
    """Results on the device: ids ``int64[nq, k]``, -1 where unfilled, and scores ``float32[nq, k]``."""

    ids: DeviceArray
    scores: DeviceArray


class GivenQueries(NamedTuple):
    """Queries on a device as the library takes them, and what keeps their memory."""

    struct: Queries
    keeper: Any


def tensor_queries(x: Any, name: str, dim: int, rank: int, device: int, stream: Stream) -> GivenQueries:
    """Return a tensor ``[n, tokens, dim]``, of rank 2 ``[n, dim]``, as queries; one may lack its axis."""
    tensor = as_tensor(x, name, device, stream, tuple(_ELEMENTS))
    shape = tensor.shape
    if len(shape) == rank - 1:
        shape = (1, *shape)
    if len(shape) != rank or 0 in shape:
        expected = "[n, tokens, dim] or [tokens, dim]" if rank == 3 else "[n, dim] or [dim]"
        raise ValueError(f"{name}: expected shape {expected}, nowhere 0, got {list(tensor.shape)}")
    if shape[-1] != dim:
        raise ValueError(f"{name}: expected {dim} dimensions, got {shape[-1]}")
    tokens = shape[1] if rank == 3 else 1
    return GivenQueries(Queries(tensor.pointer, None, _ELEMENTS[tensor.dtype], shape[0], tokens, 0), tensor)


def host_queries(
    rows: npt.NDArray[np.float32], offsets: npt.NDArray[np.int64] | None, device: int, stream: Stream
) -> GivenQueries:
    """Copy float32 rows to the device: one query each, or token by token the rows between offsets."""
    if offsets is None:
        values = upload(rows, device, stream)
        return GivenQueries(Queries(values.pointer, None, 0, len(rows), 1, 0), values)
    lengths = np.diff(offsets)
    padded = np.zeros((len(lengths), int(lengths.max()), rows.shape[1]), np.float32)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = rows
    values, counts = upload(padded, device, stream), upload(lengths.astype(np.uint32), device, stream)
    struct = Queries(values.pointer, counts.pointer, 0, len(lengths), padded.shape[1], 0)
    return GivenQueries(struct, (values, counts))


def padded_groups(lengths: npt.NDArray[np.int64], dim: int) -> Iterator[tuple[int, int]]:
    """Return ranges of queries that take ``PADDED_BYTES`` at most, padded to their longest, or are one."""
    first, longest = 0, 0
    for i, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if i > first and (i + 1 - first) * longest * dim * 4 > PADDED_BYTES:
            yield first, i
            first, longest = i, length
    yield first, len(lengths)


def check_values(rows: npt.NDArray[np.float32], limit: float) -> None:
    """ValueError names the first row with a value that is not finite or larger than the limit of an index."""
    largest = np.maximum(rows.max(axis=1, initial=0), -rows.min(axis=1, initial=0))
    bad = np.flatnonzero(~(largest <= limit))
    if not len(bad):
        return
    row, magnitude = bad[0], largest[bad[0]]
    if not np.isfinite(magnitude):
        raise ValueError(f"queries: row {row} has a value that is not finite")
    raise ValueError(
        f"queries: row {row} has a magnitude of {magnitude:g}, more than the {limit:g} that this codec and "
        "metric can hold"
    )


def check_capture(device: int, stream: Stream, out: Any, *inputs: Any) -> None:
    """RuntimeError where the stream is being captured, and the call is none that a graph can have."""
    if not is_capturing(device, stream.handle):
        return
    if not all(map(is_on_device, inputs)):
        raise RuntimeError("tercet.cuda: a graph cannot copy from host memory; pass CUDA tensors")
    if out is None:
        raise RuntimeError("tercet.cuda: a graph cannot allocate results; pass out=")


class Output:
    """Where a search writes: new arrays, or tensors that a caller gives."""

    def __init__(self, shape: tuple[int, int], out: Any, device: int, stream: Stream, *, ids: bool) -> None:
        dtypes = ("int64", "float32") if ids else ("float32",)
        self.result: Any = out
        if out is None:
            made = [DeviceArray(shape, dtype, device, stream) for dtype in dtypes]
            self.tensors = [array.tensor for array in made]
            self.result = DeviceHits(*made) if ids else made[0]
            return
        given = tuple(out) if ids else (out,)
        if len(given) != len(dtypes):
            raise ValueError(f"out: expected ids and scores, got {len(given)} tensors")
        self.tensors = [
            as_tensor(x, "out", device, stream, (dtype,), written=True)
            for x, dtype in zip(given, dtypes, strict=True)
        ]
        for tensor in self.tensors:
            if tensor.shape != shape:
                raise ValueError(f"out: expected shape {list(shape)}, got {list(tensor.shape)}")

    def into(self, search: Search) -> None:
        """Name the memory in a search."""
        search.scores = self.tensors[-1].pointer
        if len(self.tensors) > 1:
            search.ids = self.tensors[0].pointer


def run(kind: str, struct: Any, queries: Queries, search: Search, stream: Stream) -> None:
    """Queue a search of ``kind`` "documents" or "vectors" on a stream."""
    given = [ctypes.byref(x) for x in (struct, queries, search)]
    size = ctypes.c_uint64()
    load().call(f"{kind}_workspace", *given, ctypes.byref(size))
    with workspace(search.device, stream, size.value) as memory:
        search.workspace, search.workspace_bytes = memory, size.value
        load().call(f"search_{kind}", *given, stream.handle)


def hold_tensors(device: int, stream: Stream, *keepers: Any) -> None:
    """Keep tensors of others until the stream is done with them; memory of ours goes in its order anyhow."""
    tensors = [x for x in keepers if isinstance(x, Tensor) and not isinstance(x.keeper, Buffer)]
    if tensors:
        held_on(device).hold(stream, tensors)
