"""Tensors of a device by DLPack (dmlc/dlpack, before version 1)."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_uint8, c_uint16, c_uint64, c_void_p
from typing import Any, NamedTuple

from tercet import _core

__all__ = ["CUDA", "Tensor", "capsule_of", "check_contiguous", "element_bytes", "read_capsule"]

CUDA = 2  # DLPack's number of such devices
_CODES = {"float32": (2, 32), "float16": (2, 16), "bfloat16": (4, 16), "int64": (0, 64), "int32": (0, 32)}
_NAMES = {code: name for name, code in _CODES.items()}


class _Device(ctypes.Structure):
    _fields_ = (("type", c_int32), ("id", c_int32))


class _DataType(ctypes.Structure):
    _fields_ = (("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", c_void_p),
        ("device", _Device),
        ("ndim", c_int32),
        ("dtype", _DataType),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),  # in elements; null: C order
        ("byte_offset", c_uint64),
    )


class Tensor(NamedTuple):
    """An array of a device: C order, kept alive by ``keeper``."""

    pointer: int
    shape: tuple[int, ...]
    dtype: str
    device: int
    keeper: Any


_api = ctypes.pythonapi
_api.PyCapsule_GetPointer.argtypes, _api.PyCapsule_GetPointer.restype = (ctypes.py_object, c_char_p), c_void_p


def read_capsule(capsule: Any, name: str) -> Tensor:
    """Return what a capsule ``dltensor`` holds.

    It is kept, not consumed: its own destructor gives the memory back when the keeper goes.

    Raises:
        TypeError: a dtype that is none of those here.
        ValueError: rows that are not contiguous.
    """
    address = _api.PyCapsule_GetPointer(capsule, b"dltensor")
    tensor = ctypes.cast(address, POINTER(_Tensor)).contents
    code = (tensor.dtype.code, tensor.dtype.bits)
    if tensor.dtype.lanes != 1 or code not in _NAMES:
        raise TypeError(f"{name}: expected {', '.join(_CODES)}, got a tensor of DLPack type {code}")
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    if tensor.strides:
        check_contiguous(shape, tuple(tensor.strides[i] for i in range(tensor.ndim)), 1, name)
    pointer = (tensor.data or 0) + tensor.byte_offset
    return Tensor(pointer, shape, _NAMES[code], tensor.device.id, capsule)


def check_contiguous(shape: tuple[int, ...], strides: tuple[int, ...], step: int, name: str) -> None:
    """ValueError unless elements lie in C order, ``step`` apart."""
    for size, stride in reversed(list(zip(shape, strides, strict=True))):
        if size > 1 and stride != step:
            raise ValueError(f"{name}: expected a contiguous tensor, got strides {list(strides)}")
        step *= max(size, 1)


def element_bytes(dtype: str) -> int:
    """Return the bytes of an element."""
    return _CODES[dtype][1] // 8


def capsule_of(tensor: Tensor) -> Any:
    """Return a capsule ``dltensor``; the keeper lives until whoever takes it is done."""
    code, bits = _CODES[tensor.dtype]
    return _core.to_dlpack(tensor.pointer, list(tensor.shape), code, bits, tensor.device, tensor.keeper)
