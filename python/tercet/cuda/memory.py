"""Memory of a device: arrays of it, the workspace of calls, and what has to live until a call is done."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.cuda.library import load

__all__ = ["Buffer", "Held", "is_capturing", "upload", "workspace"]


class Buffer:
    """Bytes of a device, freed with the last reference."""

    __slots__ = ("bytes", "device", "pointer", "stream")

    def __init__(self, device: int, size: int, stream: int | None = None) -> None:
        """Allocate ``size`` bytes, in the order of a stream, or (None) at once, which may synchronise."""
        self.device, self.bytes, self.stream = device, max(size, 1), stream
        self.pointer = 0
        memory = ctypes.c_void_p()
        if stream is None:
            load().call("allocate", device, self.bytes, ctypes.byref(memory))
        else:
            load().call("allocate_on", device, self.bytes, stream, ctypes.byref(memory))
        self.pointer = memory.value or 0

    def follow(self, stream: int) -> None:
        """Let ``stream`` wait for what the buffer's own has been given, and own the buffer from now on."""
        if self.stream is not None and stream != self.stream:
            load().call("order", self.device, self.stream, stream)
            self.stream = stream

    def __del__(self) -> None:
        pointer, self.pointer = getattr(self, "pointer", 0), 0
        if not pointer:
            return
        try:
            if self.stream is None:
                load().call("free", self.device, pointer)
            else:
                load().call("free_on", self.device, pointer, self.stream)
        except Exception:  # the interpreter ends, and the driver before it: nothing is left to free
            return


def upload(array: npt.NDArray[Any], device: int, stream: int | None = None) -> Buffer:
    """Copy an array to the device, in the order of a stream if one is given, and wait for that."""
    contiguous = np.ascontiguousarray(array)
    buffer = Buffer(device, contiguous.nbytes, stream)
    load().call("upload", device, buffer.pointer, contiguous.ctypes.data, contiguous.nbytes, stream)
    return buffer


def is_capturing(stream: int) -> bool:
    """Tell whether what a stream is given becomes a graph, instead of running."""
    capturing = ctypes.c_int32()
    load().call("is_capturing", stream, ctypes.byref(capturing))
    return bool(capturing.value)


class _Workspace:
    """Memory for what is computed in between, of one stream, whose calls use it one after the other."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # another thread must not let it grow between a look and a launch
        self.buffer: Buffer | None = None


_workspaces: dict[tuple[int, int], _Workspace] = {}


@contextmanager
def workspace(device: int, stream: int, size: int) -> Iterator[int]:
    """Lend ``size`` bytes at least to calls on a stream.

    The memory stays for later ones, so that these allocate nothing.

    Raises:
        RuntimeError: there is not enough yet, and the stream is being captured, which forbids to allocate.
    """
    own = _workspaces.setdefault((device, stream), _Workspace())
    with own.lock:
        if own.buffer is None or own.buffer.bytes < size:
            if is_capturing(stream):
                raise RuntimeError("tercet.cuda: run the same call once, on this stream, before capturing it")
            own.buffer = None  # freed first: both may not fit
            own.buffer = Buffer(device, size)
        yield own.buffer.pointer


class Held:
    """Objects whose memory a stream still reads: kept until it has come past them."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._held: list[tuple[int | None, Any]] = []

    def __len__(self) -> int:
        """Return how many calls are held for."""
        return len(self._held)

    def hold(self, stream: int, objects: Any) -> None:
        """Keep ``objects`` until all that the stream has been given is done; let go of what is.

        A graph reads its inputs whenever it is launched: whoever captures one keeps them.
        """
        if is_capturing(stream):
            return
        event = ctypes.c_void_p()
        load().call("record", self._device, stream, ctypes.byref(event))
        with self._lock:
            waiting = []
            for known, kept in self._held:
                if self._happened(known):
                    load().call("forget", self._device, known)
                else:
                    waiting.append((known, kept))
            self._held = [*waiting, (event.value, objects)]

    def _happened(self, event: int | None) -> bool:
        happened = ctypes.c_int32()
        load().call("has_happened", self._device, event, ctypes.byref(happened))
        return bool(happened.value)
