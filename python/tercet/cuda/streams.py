"""Streams, whoever made them."""

from __future__ import annotations

import ctypes
import sys
from typing import Any, NamedTuple

from tercet.cuda.library import load

__all__ = ["LEGACY", "PER_THREAD", "Stream", "is_capturing", "stream_of"]

LEGACY = 1  # what the default stream is called where 0 would be ambiguous
PER_THREAD = 2


class Stream(NamedTuple):
    """A stream: its handle, and the object that it goes with, if there is one."""

    handle: int
    owner: Any = None


def stream_of(stream: Any, device: int) -> Stream:
    """Return a stream from a handle, an object that has one, or None: the one that is current.

    That is torch's current one, if torch is there and uses CUDA, else the default stream.

    Raises:
        TypeError: neither a handle nor a stream.
        ValueError: the default stream of each thread, which is another one wherever memory is given back.
    """
    if isinstance(stream, Stream):
        return stream
    if stream is None:
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return Stream(0)
        stream = torch.cuda.current_stream(device)
    found = stream
    for attribute in ("cuda_stream", "ptr", "handle", "value"):  # of torch, cupy, numba or cuda.core, ctypes
        found = getattr(found, attribute, found)
    try:
        if isinstance(found, (bool, float, str, bytes)):
            raise TypeError
        handle = int(found or 0)
    except (TypeError, ValueError):
        raise TypeError(f"stream: expected a handle or a stream, got {type(stream).__name__}") from None
    if handle < 0 or handle == PER_THREAD:
        what = "the default stream of each thread" if handle == PER_THREAD else str(handle)
        raise ValueError(f"stream: expected the default stream or one of your own, got {what}")
    return Stream(0 if handle == LEGACY else handle, stream)


def is_capturing(device: int, stream: int) -> bool:
    """Tell whether what a stream is given becomes a graph, instead of running."""
    capturing = ctypes.c_int32()
    load().call("is_capturing", device, stream, ctypes.byref(capturing))
    return bool(capturing.value)
