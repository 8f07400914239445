"""Tensors of a device in, whoever made them, and arrays of results out."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.cuda.dlpack import CUDA, Tensor, capsule_of, check_contiguous, element_bytes, read_capsule
from tercet.cuda.library import load
from tercet.cuda.memory import Buffer
from tercet.cuda.streams import LEGACY, PER_THREAD, Stream, stream_of

__all__ = ["DeviceArray", "as_tensor", "device_of_interface", "is_on_device"]

_TYPES = {"<f4": "float32", "<f2": "float16", "<i8": "int64", "<i4": "int32"}
_UNNAMED = -1  # to DLPack, the stream of a consumer that orders its work itself


class DeviceArray:
    """An array in the memory of a device, for torch, cupy, jax and others to take without a copy.

    It has ``__dlpack__`` and ``__cuda_array_interface__``: ``torch.from_dlpack(array)``,
    ``cupy.asarray(array)``. :meth:`numpy` copies it to the host, and waits for that. The memory is freed in
    the order of the streams that it was made on and given to by DLPack, which have to live as long as it;
    where a consumer did not name its stream (``__cuda_array_interface__``, or DLPack's -1), freeing waits for
    the device.

    Attributes:
        shape: of the array, in C order.
        dtype: ``"float32"`` or ``"int64"``.
        device: number of the device.
    """

    __slots__ = ("_buffer", "device", "dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: str, device: int, stream: Any) -> None:
        """Allocate one, in the order of a stream."""
        self.shape, self.dtype, self.device = shape, dtype, device
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self._buffer = Buffer(device, size, stream_of(stream, device))

    @property
    def tensor(self) -> Tensor:
        """Where it lies."""
        return Tensor(self._buffer.pointer, self.shape, self.dtype, self.device, self._buffer)

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self.device

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a capsule. The consumer's ``stream`` waits for what makes the array; -1: it knows.

        Raises:
            BufferError: a copy, another device, or the default stream of each thread, of which memory that is
                given back by another thread cannot wait.
        """
        if copy or (dl_device is not None and tuple(map(int, dl_device)) != self.__dlpack_device__()):
            raise BufferError("an array of a device is given where it is, without a copy")
        if stream == PER_THREAD:
            raise BufferError(
                "stream: expected the default stream or one of your own, got that of each thread"
            )
        self._buffer.lend(None if stream == _UNNAMED else 0 if stream in (None, LEGACY) else int(stream))
        return capsule_of(self.tensor)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3: the consumer waits for the stream that is named."""
        self._buffer.lend(None)
        return {
            "shape": self.shape,
            "typestr": np.dtype(self.dtype).str,
            "data": (self._buffer.pointer, False),
            "version": 3,
            "stream": self._stream or LEGACY,
        }

    def numpy(self) -> npt.NDArray[Any]:
        """Return a copy in host memory, once it has been computed."""
        out = np.empty(self.shape, self.dtype)
        self._buffer.settle()
        load().call("download", self.device, out.ctypes.data, self._buffer.pointer, out.nbytes, self._stream)
        return out

    @property
    def _stream(self) -> int:
        return self._buffer.stream.handle if self._buffer.stream else 0

    def __repr__(self) -> str:
        return f"DeviceArray(shape={list(self.shape)}, {self.dtype}, device={self.device})"


def is_on_device(x: Any) -> bool:
    """Tell whether an array is in the memory of a CUDA device."""
    if hasattr(x, "__dlpack_device__"):
        return int(x.__dlpack_device__()[0]) == CUDA
    return hasattr(x, "__cuda_array_interface__")


def device_of_interface(x: Any, name: str) -> int:
    """Return the number of the device that an array with ``__cuda_array_interface__`` is on."""
    pointer, device = x.__cuda_array_interface__["data"][0], ctypes.c_int32()
    if not pointer:
        raise ValueError(f"{name}: expected memory of a device, got none")
    load().call("device_of", pointer, ctypes.byref(device))
    if device.value < 0:
        raise TypeError(f"{name}: expected memory of a device, got an address of the host")
    return device.value


def as_tensor(
    x: Any, name: str, device: int, stream: Stream, dtypes: tuple[str, ...], *, written: bool = False
) -> Tensor:
    """Return an array of a device for work on a stream, which waits for what makes it.

    Raises:
        TypeError: no such array, or another dtype.
        ValueError: another device, no memory, elements that are not in C order or not aligned; where it is to
            be written, an array that is read-only.
    """
    if hasattr(x, "__dlpack__"):
        x = x.detach() if getattr(x, "requires_grad", False) else x
        if int(x.__dlpack_device__()[0]) != CUDA:
            raise TypeError(f"{name}: expected a CUDA tensor like the others, got one in host memory")
        tensor = read_capsule(x.__dlpack__(stream=stream.handle or LEGACY), name)
    elif hasattr(x, "__cuda_array_interface__"):
        tensor = _from_interface(x, name, device, stream, written)
    else:
        raise TypeError(f"{name}: expected a CUDA tensor, got {type(x).__name__}")
    if tensor.dtype not in dtypes:
        raise TypeError(f"{name}: expected {' or '.join(dtypes)} on a device, got {tensor.dtype}")
    if tensor.device != device:
        raise ValueError(f"{name}: expected a tensor of device {device}, got one of {tensor.device}")
    if not tensor.pointer and 0 not in tensor.shape:
        raise ValueError(f"{name}: expected memory of a device, got none")
    size = element_bytes(tensor.dtype)
    if tensor.pointer % size:
        raise ValueError(f"{name}: expected an address that is a multiple of {size}, got {tensor.pointer:#x}")
    return tensor


def _from_interface(x: Any, name: str, device: int, stream: Stream, written: bool) -> Tensor:
    interface = x.__cuda_array_interface__
    dtype = _TYPES.get(interface["typestr"])
    if dtype is None:
        raise TypeError(f"{name}: expected {', '.join(_TYPES.values())}, got {interface['typestr']}")
    if interface.get("mask") is not None:
        raise TypeError(f"{name}: expected an array without a mask")
    shape = tuple(interface["shape"])
    if interface.get("strides") is not None:
        check_contiguous(shape, tuple(interface["strides"]), np.dtype(dtype).itemsize, name)
    pointer, read_only = interface["data"]
    if written and read_only:
        raise ValueError(f"{name}: expected an array that may be written, got one that is read-only")
    number = device_of_interface(x, name) if 0 not in shape else device
    made_on = interface.get("stream")
    if made_on is not None and made_on != (stream.handle or LEGACY) and number == device:
        load().call("order", device, 0 if made_on == LEGACY else made_on, stream.handle)
    return Tensor(pointer or 0, shape, dtype, number, x)
