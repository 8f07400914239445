"""The library of CUDA kernels: a file of its own, found and loaded when it is first needed."""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int32, c_uint32, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from tercet import _core

__all__ = ["Documents", "Library", "Queries", "Rows", "Search", "Vectors", "find", "load", "why_unavailable"]

_ABI = 2
_NO_MEMORY = 2  # what a call returns for want of it
_CAPABILITY = (8, 0)  # what kernels need
_NAME = "libtercet_cuda.so"
_VARIABLE = "TERCET_CUDA_LIBRARY"


class Rows(ctypes.Structure):
    """TercetRows of csrc/cuda/abi.h, where all of these are explained."""

    _fields_ = (
        ("codes", c_void_p),
        ("scales", c_void_p),
        ("centroids", c_void_p),
        ("count", c_uint64),
        ("format", c_uint32),
        ("dim", c_uint32),
    )


class Documents(ctypes.Structure):
    """TercetDocuments."""

    _fields_ = (
        ("tokens", Rows),
        ("codebook", Rows),
        ("begins", c_void_p),
        ("ends", c_void_p),
        ("lengths", c_void_p),
        ("ids", c_void_p),
        ("seed", c_uint64),
        ("count", c_uint32),
        ("each", c_uint32),
    )


class Vectors(ctypes.Structure):
    """TercetVectors."""

    _fields_ = (("rows", Rows), ("ids", c_void_p), ("seed", c_uint64))


class Queries(ctypes.Structure):
    """TercetQueries."""

    _fields_ = (
        ("values", c_void_p),
        ("lengths", c_void_p),
        ("element", c_uint32),
        ("count", c_uint32),
        ("tokens", c_uint32),
        ("normalised", c_uint32),
    )


class Search(ctypes.Structure):
    """TercetSearch."""

    _fields_ = (
        ("candidates", c_void_p),
        ("workspace", c_void_p),
        ("ids", c_void_p),
        ("scores", c_void_p),
        ("workspace_bytes", c_uint64),
        ("each", c_uint32),
        ("by_id", c_uint32),
        ("k", c_uint32),
        ("device", c_int32),
    )


# Of every function that returns whether it failed, the types of what it takes.
_CALLS: dict[str, tuple[Any, ...]] = {
    "documents_workspace": (POINTER(Documents), POINTER(Queries), POINTER(Search), POINTER(c_uint64)),
    "search_documents": (POINTER(Documents), POINTER(Queries), POINTER(Search), c_void_p),
    "vectors_workspace": (POINTER(Vectors), POINTER(Queries), POINTER(Search), POINTER(c_uint64)),
    "search_vectors": (POINTER(Vectors), POINTER(Queries), POINTER(Search), c_void_p),
    "place_rows": (c_void_p, c_void_p, c_uint64, c_uint32, c_uint32, c_int32, c_void_p),
    "devices": (POINTER(c_int32),),
    "capability": (c_int32, POINTER(c_int32), POINTER(c_int32)),
    "device_of": (c_void_p, POINTER(c_int32)),
    "synchronise": (c_int32,),
    "trim": (c_int32,),
    "allocate": (c_int32, c_uint64, POINTER(c_void_p)),
    "free": (c_int32, c_void_p),
    "allocate_on": (c_int32, c_uint64, c_void_p, POINTER(c_void_p)),
    "free_on": (c_int32, c_void_p, c_void_p),
    "upload": (c_int32, c_void_p, c_void_p, c_uint64, c_void_p),
    "download": (c_int32, c_void_p, c_void_p, c_uint64, c_void_p),
    "is_capturing": (c_int32, c_void_p, POINTER(c_int32)),
    "order": (c_int32, c_void_p, c_void_p),
    "record": (c_int32, c_void_p, POINTER(c_void_p)),
    "has_happened": (c_int32, c_void_p, POINTER(c_int32)),
    "forget": (c_int32, c_void_p),
}


class Library:
    """Calls into the library: ``library.call("free", ...)``; what fails raises ValueError or MemoryError."""

    def __init__(self, path: Path) -> None:
        loaded = ctypes.CDLL(os.fspath(path))
        abi = loaded.tercet_cuda_abi() if hasattr(loaded, "tercet_cuda_abi") else None
        if abi != _ABI:
            raise OSError(
                f"{path}: expected the CUDA library of this version of tercet (ABI {_ABI}), got {abi}"
            )
        self._error = loaded.tercet_cuda_error
        self._error.restype = c_char_p
        self._stride = loaded.tercet_cuda_stride
        self._stride.argtypes, self._stride.restype = (c_uint32, c_uint32), c_uint32
        self._calls = {name: getattr(loaded, f"tercet_cuda_{name}") for name in _CALLS}
        for name, types in _CALLS.items():
            self._calls[name].argtypes, self._calls[name].restype = types, c_int32
        limits = [c_uint32(), c_uint32(), c_uint32()]
        loaded.tercet_cuda_limits(*map(ctypes.byref, limits))
        self.max_k, self.max_candidates, self.max_dim = (limit.value for limit in limits)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; ValueError with its message if it fails, MemoryError for want of memory."""
        failed = self._calls[name](*arguments)
        if failed:
            raise (MemoryError if failed == _NO_MEMORY else ValueError)(self._error().decode())

    def stride(self, form: int, dim: int) -> int:
        """Return the bytes from row to row of a format."""
        return int(self._stride(form, dim))

    def devices(self) -> int:
        """Return the number of devices; ValueError where there is no driver."""
        count = c_int32()
        self.call("devices", ctypes.byref(count))
        return count.value

    def capability(self, device: int) -> tuple[int, int]:
        """Return the compute capability of a device."""
        major, minor = c_int32(), c_int32()
        self.call("capability", device, ctypes.byref(major), ctypes.byref(minor))
        return major.value, minor.value


def find() -> Path | None:
    """Return where the library is: what ``TERCET_CUDA_LIBRARY`` names, or beside the native module."""
    named = os.environ.get(_VARIABLE)
    path = Path(named) if named else Path(_core.__file__).with_name(_NAME)
    return path if path.is_file() else None


@cache
def _load() -> Library | str:
    """Return the library, or why there is none. Once in a process: a driver does not come later."""
    path = find()
    if path is None:
        named = os.environ.get(_VARIABLE)
        if named:
            return f"{_VARIABLE} names {named}, which is no file"
        return f"this build of tercet has no {_NAME}: pip install with -Ccmake.define.TERCET_CUDA=ON makes it"
    try:
        library = Library(path)
        found = [library.capability(device) for device in range(library.devices())]
    except (OSError, AttributeError, ValueError) as e:
        return str(e)
    if not found:
        return "there is no CUDA device"
    if max(found) < _CAPABILITY:
        had, wanted = (".".join(map(str, x)) for x in (max(found), _CAPABILITY))
        return f"expected a device of compute capability {wanted} or more, got {had}"
    return library


def load() -> Library:
    """Return the library; RuntimeError says why there is none."""
    library = _load()
    if isinstance(library, str):
        raise RuntimeError(f"tercet.cuda: {library}")
    return library


def why_unavailable() -> str | None:
    """Return why nothing can run on a device here; None if something can."""
    library = _load()
    return library if isinstance(library, str) else None
