"""Memory of a device: arrays of it, the workspace of calls, and what has to live until a call is done."""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from tercet.cuda.library import load
from tercet.cuda.streams import Stream, is_capturing

__all__ = ["Buffer", "Held", "held_on", "release_memory", "upload", "workspace"]


class Buffer:
    """Bytes of a device, freed with the last reference."""

    __slots__ = ("_captured", "_lent", "_unnamed", "bytes", "device", "pointer", "stream")

    def __init__(self, device: int, size: int, stream: Stream | None = None) -> None:
        """Allocate ``size`` bytes, in the order of a stream, or (None) at once, which may synchronise."""
        self.device, self.bytes, self.stream = device, max(size, 1), stream
        self.pointer = 0
        self._lent: set[int] = set()  # streams of others
        self._unnamed = False  # whether it was lent to streams that nobody has named
        self._captured = stream is not None and is_capturing(device, stream.handle)
        memory = ctypes.c_void_p()
        if stream is None:
            load().call("allocate", device, self.bytes, ctypes.byref(memory))
        else:
            load().call("allocate_on", device, self.bytes, stream.handle, ctypes.byref(memory))
        self.pointer = memory.value or 0
        _devices.add(device)

    def lend(self, stream: int | None) -> None:
        """Let a stream of others wait for all that the memory was given; None: one that nobody names.

        A graph is ordered by whoever launches it, and keeps nothing alive: its owner does.
        """
        self._unnamed = self._unnamed or stream is None
        if self.stream is None or any(
            is_capturing(self.device, x) for x in (self.stream.handle, stream) if x is not None
        ):
            return
        self.settle()
        if stream is not None and stream != self.stream.handle:
            load().call("order", self.device, self.stream.handle, stream)
            self._lent.add(stream)

    def settle(self) -> None:
        """Let the own stream wait for those that the memory was lent to."""
        for stream in self._lent:
            load().call("order", self.device, stream, self.stream.handle if self.stream else None)

    def free(self) -> bool:
        """Free the memory, after all that streams were given; False if one of them is being captured.

        Streams that nobody has named are waited for, with all of the device.
        """
        if self.stream is None:
            load().call("free", self.device, self.pointer)
            return True
        own = self.stream.handle
        if not self._captured:
            if any(is_capturing(self.device, stream) for stream in (own, *self._lent)):
                return False
            if self._unnamed:
                load().call("synchronise", self.device)
            self.settle()
        load().call("free_on", self.device, self.pointer, own)
        return True

    def __del__(self) -> None:
        if not getattr(self, "pointer", 0):
            return
        try:
            if self.free():
                self.pointer = 0
            else:
                _late.append(self)
        except Exception:  # the interpreter ends, and the driver before it: nothing is left to free
            return

    def __reduce__(self) -> NoReturn:
        """Refuse: two would free the same memory."""
        raise TypeError(
            "memory of a device cannot be copied or pickled; numpy() of an array copies it to the host"
        )


_devices: set[int] = set()  # where there is or was memory
_late: deque[Buffer] = deque()  # what could not be freed while a graph was captured


def _free_late() -> None:
    with suppress(IndexError):  # another thread may be here
        for _ in range(len(_late)):
            _late.popleft().__del__()


def upload(array: npt.NDArray[Any], device: int, stream: Stream | None = None) -> Buffer:
    """Copy an array to the device, in the order of a stream if one is given, and wait for that."""
    contiguous = np.ascontiguousarray(array)
    buffer = Buffer(device, contiguous.nbytes, stream)
    handle = None if stream is None else stream.handle
    load().call("upload", device, buffer.pointer, contiguous.ctypes.data, contiguous.nbytes, handle)
    return buffer


class _Workspace:
    """Memory for what is computed in between, of one stream, whose calls use it one after the other."""

    def __init__(self, stream: Stream) -> None:
        self.lock = threading.Lock()  # another thread must not let it grow between a look and a launch
        self.stream = stream  # lives on, lest another one gets its handle
        self.buffer: Buffer | None = None


_workspaces: dict[tuple[int, int], _Workspace] = {}


@contextmanager
def workspace(device: int, stream: Stream, size: int) -> Iterator[int]:
    """Lend ``size`` bytes at least to calls on a stream.

    The memory stays for later ones, so that these allocate nothing. A graph gets memory of its own: it keeps
    the address for as long as it is launched, and may run beside others that were captured on the stream.
    """
    if is_capturing(device, stream.handle):
        buffer = Buffer(device, size, stream)
        yield buffer.pointer
        del buffer  # within the graph
        return
    own = _workspaces.setdefault((device, stream.handle), _Workspace(stream))
    with own.lock:
        if own.buffer is None or own.buffer.bytes < size:
            own.buffer = None  # freed first: both may not fit
            own.buffer = Buffer(device, size)
        yield own.buffer.pointer


class Held:
    """Objects whose memory streams of a device still read: kept until these have come past them."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._held: dict[int, tuple[int | None, Any]] = {}
        self._numbers = count()

    def __len__(self) -> int:
        """Return how many calls are held for."""
        return len(self._held)

    def hold(self, stream: Stream, objects: Any) -> None:
        """Keep ``objects`` until all that the stream has been given is done; let go of what is.

        A graph reads its inputs whenever it is launched: whoever captures one keeps them.
        """
        if is_capturing(self._device, stream.handle):
            return
        event = ctypes.c_void_p()
        load().call("record", self._device, stream.handle, ctypes.byref(event))
        with self._lock:
            self._held[next(self._numbers)] = event.value, (stream, objects)
        self.sweep()

    def sweep(self) -> None:
        """Let go of what is done."""
        done = []  # dropped when the lock is free: memory may take it
        with self._lock:
            for number, (event, objects) in list(self._held.items()):
                if self._happened(event):
                    del self._held[number]  # first, should forgetting fail
                    done.append(objects)
                    load().call("forget", self._device, event)
        _free_late()

    def _happened(self, event: int | None) -> bool:
        happened = ctypes.c_int32()
        load().call("has_happened", self._device, event, ctypes.byref(happened))
        return bool(happened.value)


_held: dict[int, Held] = {}


def held_on(device: int) -> Held:
    """Return what is held for calls on a device: not by indexes, which may be gone before calls are done."""
    return _held.setdefault(device, Held(device))


def release_memory() -> None:
    """Give back memory of devices that is kept for later calls, once all that they were given is done.

    That is the workspace of each stream, the last inputs, and what was freed but not returned to the system.
    Indexes, results and graphs keep theirs. No stream may be captured meanwhile.
    """
    for device in sorted(_devices):
        load().call("synchronise", device)
        for key in [key for key in _workspaces if key[0] == device]:
            own = _workspaces.pop(key)
            with own.lock:
                own.buffer = None
        held_on(device).sweep()
        load().call("trim", device)
