"""MaxSim of tensors that are on a device: nothing is stored, nothing is copied where the layout allows it."""

from __future__ import annotations

from typing import Any

from tercet.cuda.dlpack import CUDA, Tensor
from tercet.cuda.library import Documents, Rows, Search, load
from tercet.cuda.memory import Buffer
from tercet.cuda.rows import FORMATS, check_dim
from tercet.cuda.search import Output, check_capture, hold_tensors, run, tensor_queries
from tercet.cuda.streams import Stream, stream_of
from tercet.cuda.tensors import as_tensor, device_of_interface

__all__ = ["maxsim"]

_VECTOR = 16  # bytes that kernels load at once


def maxsim(
    queries: Any,
    documents: Any,
    *,
    query_lengths: Any = None,
    document_lengths: Any = None,
    offsets: Any = None,
    stream: Any = None,
    out: Any = None,
) -> Any:
    """Return the late-interaction score of every query with every document, ``float32[nq, nd]``.

    The score is the sum over query tokens of the largest dot product with any document token. A document
    without tokens scores ``-inf``.

    Args:
        queries: a CUDA tensor ``[nq, tokens, dim]`` or ``[tokens, dim]``.
        documents: ``[nd, tokens, dim]``, or ``[total, dim]`` with ``offsets``, on the same device. Two
            bfloat16 tensors are multiplied exactly and summed in float32, in an order of the device's; of
            float32 documents scores are the bits of :func:`tercet.maxsim`, and queries may be float16 or
            bfloat16. Rows of whole 16 bytes, from such an address, are read where they are.
        query_lengths: ``int32[nq]`` on the device: how many tokens of each count.
        document_lengths: ``int32[nd]`` on the device, likewise.
        offsets: ``int64[nd + 1]`` on the device: document ``i`` owns rows ``offsets[i]:offsets[i + 1]``.
        stream: as of :meth:`DeviceFlatIndex.search`.
        out: ``float32[nq, nd]`` to write to, for example while a graph is captured.

    Returns:
        A :class:`DeviceArray`, or ``out``: on the device, and computed when the stream comes to it.

    Raises:
        TypeError: a dtype that a device has no kernel for, or that would lose data.
        ValueError: shapes that do not fit together, another device.
    """
    device = _device_of(documents)
    handle = stream_of(stream, device)
    check_capture(device, handle, out)
    tokens = as_tensor(documents, "documents", device, handle, ("float32", "bfloat16"))
    if len(tokens.shape) != (3 if offsets is None else 2) or 0 in tokens.shape[1:]:
        expected = "[nd, tokens, dim]" if offsets is None else "[total, dim]"
        raise ValueError(f"documents: expected shape {expected}, got {list(tokens.shape)}")
    dim = tokens.shape[-1]
    check_dim(dim)
    given = tensor_queries(queries, "queries", dim, 3, device, handle)
    if tokens.dtype == "bfloat16" and given.keeper.dtype != "bfloat16":
        raise TypeError(f"queries: expected bfloat16 as the documents are, got {given.keeper.dtype}")
    lengths = _integers(query_lengths, "query_lengths", given.struct.count, "int32", device, handle)
    given.struct.lengths = None if lengths is None else lengths.pointer

    struct = Documents()
    bounds = None
    if offsets is None:
        struct.count, struct.each = tokens.shape[:2]
        bounds = _integers(document_lengths, "document_lengths", struct.count, "int32", device, handle)
        struct.lengths = None if bounds is None else bounds.pointer
    else:
        if document_lengths is not None:
            raise ValueError("document_lengths: offsets say already where documents end")
        bounds = _integers(offsets, "offsets", None, "int64", device, handle)
        struct.count = bounds.shape[0] - 1 if bounds else 0
        struct.begins, struct.ends = (bounds.pointer, bounds.pointer + 8) if bounds else (None, None)
    output = Output((given.struct.count, struct.count), out, device, handle, ids=False)
    struct.tokens, keeper = _placed(
        tokens, device, handle
    )  # last: what is wrong is said before work is queued
    search = Search(k=0, device=device)
    output.into(search)
    run("documents", struct, given.struct, search, handle)
    hold_tensors(device, handle, given.keeper, tokens, lengths, bounds, *output.tensors)
    del keeper  # until here: memory is given back in the order of the stream
    return output.result


def _device_of(x: Any) -> int:
    """Return the number of the device that an array is on; TypeError where it is on none."""
    if hasattr(x, "__dlpack_device__"):
        kind, number = x.__dlpack_device__()
        if int(kind) == CUDA:
            return int(number)
    elif hasattr(x, "__cuda_array_interface__"):
        return device_of_interface(x, "documents")
    raise TypeError(f"documents: expected a CUDA tensor, got {type(x).__name__}; tercet.maxsim takes others")


def _integers(x: Any, name: str, count: int | None, dtype: str, device: int, stream: Stream) -> Tensor | None:
    if x is None:
        return None
    tensor = as_tensor(x, name, device, stream, (dtype,))
    if (
        len(tensor.shape) != 1
        or tensor.shape[0] != (tensor.shape[0] if count is None else count)
        or not tensor.shape[0]
    ):
        raise ValueError(
            f"{name}: expected shape [{'nd + 1' if count is None else count}], got {list(tensor.shape)}"
        )
    return tensor


def _placed(tokens: Tensor, device: int, stream: Stream) -> tuple[Rows, Buffer | None]:
    """Return rows as kernels read them, and the memory that they were copied to, if they had to be."""
    dim, form = tokens.shape[-1], FORMATS[tokens.dtype]
    count = 1
    for size in tokens.shape[:-1]:
        count *= size
    row_bytes, stride = dim * (4 if form == FORMATS["float32"] else 2), load().stride(form, dim)
    if row_bytes == stride and tokens.pointer % _VECTOR == 0:
        return Rows(tokens.pointer, None, None, count, form, dim), None
    buffer = Buffer(device, count * stride, stream)
    load().call("place_rows", tokens.pointer, buffer.pointer, count, form, dim, device, stream.handle)
    return Rows(buffer.pointer, None, None, count, form, dim), buffer
