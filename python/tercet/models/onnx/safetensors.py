"""The tensors of a small ``.safetensors`` file as float32, which numpy alone can read.

The format: 8 bytes, the length of the header; the header, JSON with dtype, shape and place of each tensor;
the bytes of the tensors, row by row. https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["read_safetensors"]

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def read_safetensors(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return every tensor of a file by name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not this format, cut short, or a dtype that is no float; names the file.
    """
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
        return {
            name: _tensor(data[8 + size :], entry) for name, entry in header.items() if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"{path}: damaged, or no safetensors file of floats: {e}") from e


def _tensor(data: bytes, entry: dict[str, Any]) -> npt.NDArray[np.float32]:
    first, end = entry["data_offsets"]
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    if not 0 <= first <= end <= len(data) or end - first != dtype.itemsize * math.prod(entry["shape"]):
        raise ValueError(
            f"bytes {first} to {end} of {len(data)} for shape {entry['shape']} of {entry['dtype']}"
        )
    values = np.frombuffer(data[first:end], dtype).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    tensor: npt.NDArray[np.float32] = values.astype(np.float32)
    return tensor
