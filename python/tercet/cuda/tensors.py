"""Tensors of a device in, whoever made them, and arrays of results out."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.cuda.dlpack import CUDA, Tensor, capsule_of, check_contiguous, read_capsule
from tercet.cuda.library import load
from tercet.cuda.memory import Buffer

__all__ = ["DeviceArray", "as_tensor", "is_on_device", "stream_of"]

_TYPES = {"<f4": "float32", "<f2": "float16", "<i8": "int64", "<i4": "int32"}
_LEGACY = 1  # what the default stream is called where 0 would be ambiguous


class DeviceArray:
    """An array in the memory of a device, for torch, cupy, jax and others to take without a copy.

    It has ``__dlpack__`` and ``__cuda_array_interface__``: ``torch.from_dlpack(array)``,
    ``cupy.asarray(array)``. :meth:`numpy` copies it to the host, and is the only thing that waits.

    Attributes:
        shape: of the array, in C order.
        dtype: ``"float32"`` or ``"int64"``.
        device: number of the device.
    """

    __slots__ = ("_buffer", "device", "dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: str, device: int, stream: int) -> None:
        """Allocate one, in the order of a stream."""
        self.shape, self.dtype, self.device = shape, dtype, device
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self._buffer = Buffer(device, size, stream)

    @property
    def tensor(self) -> Tensor:
        """Where it lies."""
        return Tensor(self._buffer.pointer, self.shape, self.dtype, self.device, self._buffer)

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self.device

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        """Return a capsule. The consumer's ``stream`` waits for what makes the array; -1: it knows."""
        if stream != -1:
            self._buffer.follow(0 if stream in (None, _LEGACY) else int(stream or 0))
        return capsule_of(self.tensor)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3: the consumer waits for the stream that is named."""
        return {
            "shape": self.shape,
            "typestr": np.dtype(self.dtype).str,
            "data": (self._buffer.pointer, False),
            "version": 3,
            "stream": self._buffer.stream or _LEGACY,
        }

    def numpy(self) -> npt.NDArray[Any]:
        """Return a copy in host memory, once it has been computed."""
        out = np.empty(self.shape, self.dtype)
        load().call(
            "download", self.device, out.ctypes.data, self._buffer.pointer, out.nbytes, self._buffer.stream
        )
        return out

    def __repr__(self) -> str:
        return f"DeviceArray(shape={list(self.shape)}, {self.dtype}, device={self.device})"


def is_on_device(x: Any) -> bool:
    """Tell whether an array is in the memory of a CUDA device."""
    if hasattr(x, "__dlpack_device__"):
        return int(x.__dlpack_device__()[0]) == CUDA
    return hasattr(x, "__cuda_array_interface__")


def as_tensor(x: Any, name: str, device: int, stream: int, dtypes: tuple[str, ...]) -> Tensor:
    """Return an array of a device for work on a stream, which waits for what makes it.

    Raises:
        TypeError: no such array, or another dtype.
        ValueError: another device, or elements that are not in C order.
    """
    if hasattr(x, "__dlpack__"):
        x = x.detach() if getattr(x, "requires_grad", False) else x
        if int(x.__dlpack_device__()[0]) != CUDA:
            raise TypeError(f"{name}: expected a CUDA tensor like the others, got one in host memory")
        tensor = read_capsule(x.__dlpack__(stream=stream or _LEGACY), name)
    elif hasattr(x, "__cuda_array_interface__"):
        tensor = _from_interface(x, name, device, stream)
    else:
        raise TypeError(f"{name}: expected a CUDA tensor, got {type(x).__name__}")
    if tensor.dtype not in dtypes:
        raise TypeError(f"{name}: expected {' or '.join(dtypes)} on a device, got {tensor.dtype}")
    if tensor.device != device:
        raise ValueError(f"{name}: expected a tensor of device {device}, got one of {tensor.device}")
    return tensor


def _from_interface(x: Any, name: str, device: int, stream: int) -> Tensor:
    interface = x.__cuda_array_interface__
    dtype = _TYPES.get(interface["typestr"])
    if dtype is None:
        raise TypeError(f"{name}: expected {', '.join(_TYPES.values())}, got {interface['typestr']}")
    shape = tuple(interface["shape"])
    if interface.get("strides") is not None:
        check_contiguous(shape, tuple(interface["strides"]), np.dtype(dtype).itemsize, name)
    made_on = interface.get("stream")
    if made_on is not None and made_on != (stream or _LEGACY):
        load().call("order", device, 0 if made_on == _LEGACY else made_on, stream)
    return Tensor(interface["data"][0], shape, dtype, device, x)


def stream_of(stream: Any, device: int) -> int:
    """Return the handle of a stream: an int, an object that has one, or the one that is current.

    Without a stream it is torch's current one, if torch is there and uses CUDA, else the default stream.
    """
    if stream is None:
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return 0
        stream = torch.cuda.current_stream(device)
    for attribute in ("cuda_stream", "ptr", "handle"):  # of torch, cupy, and numba or cuda.core
        stream = getattr(stream, attribute, stream)
    try:
        handle = int(getattr(stream, "value", stream) or 0)
    except (TypeError, ValueError):
        raise TypeError(f"stream: expected a handle or a stream, got {type(stream).__name__}") from None
    return 0 if handle == _LEGACY else handle
