"""Tensors on a device for tests, without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import reference
from tercet.cuda.dlpack import CUDA, Tensor, capsule_of
from tercet.cuda.memory import upload

Array = npt.NDArray[Any]


class Exported:
    """A tensor with ``__dlpack__``, and all that was asked of it."""

    def __init__(self, array: Array, dtype: str | None = None) -> None:
        self.buffer = upload(array, 0)
        self.tensor = Tensor(self.buffer.pointer, array.shape, dtype or array.dtype.name, 0, self.buffer)
        self.streams: list[Any] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, 0

    def __dlpack__(self, *, stream: Any = None) -> Any:
        self.streams.append(stream)
        return capsule_of(self.tensor)


def on_device(array: Array) -> Exported:
    return Exported(np.ascontiguousarray(array))


def bfloat16_on_device(array: Array) -> Exported:
    return Exported(reference.bfloat16(array), "bfloat16")


class Interface:
    """An array with ``__cuda_array_interface__`` alone."""

    def __init__(self, array: Array, **changes: Any) -> None:
        self.buffer = upload(array, 0)
        self.__cuda_array_interface__ = {
            "shape": array.shape, "typestr": array.dtype.str, "data": (self.buffer.pointer, True),
            "strides": None, "version": 3, **changes,
        }  # fmt: skip
