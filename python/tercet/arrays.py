"""The one place that decides dtype, contiguity and rank of what comes in.

Everything with ``__dlpack__`` (torch, jax, cupy on the host), ``__array_interface__`` or the buffer protocol
is taken without a copy where its rows are contiguous. Conversions are exact or refused:

=============  =========================================================
given          becomes
=============  =========================================================
float32        float32, no copy
bfloat16       bfloat16, no copy (its bits in ``uint16``)
int8           int8, no copy
float16        float32, copied (every float16 is a float32)
anything else  TypeError: it would lose data, the caller has to decide
=============  =========================================================

Python lists of numbers have no dtype of their own and become float32. Token vectors may also come as Arrow
lists, from anything with ``__arrow_c_array__`` or ``__arrow_c_stream__`` (pyarrow, polars, nanoarrow, ...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tercet import _core

if TYPE_CHECKING:
    from tercet.types import TokenVectors

__all__ = ["MAX_DIM", "Format", "Rows", "as_float32", "as_rows", "as_tokens", "check_dim", "same_format"]

Format = Literal["float32", "bfloat16", "int8"]
MAX_DIM = 65535  # 127 * 255 * dim stays below 2**31, so integer scores cannot overflow

_CPU_DEVICES = (1, 3, 11, 13)  # DLPack: host memory, and host memory pinned by CUDA, ROCm or CUDA managed


class Rows(NamedTuple):
    """Vectors as the native code reads them: ``data[n, dim]``, each row contiguous, rows not overlapping."""

    data: npt.NDArray[Any]  # float32, int8, or uint16 holding bfloat16
    format: Format

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return int(self.data.shape[1])


def as_rows(x: Any, name: str, *, one_is_row: bool = True) -> Rows:
    """Return ``x`` as rows ``[n, dim]``; a vector ``[dim]`` is one row when ``one_is_row``.

    Raises:
        TypeError: a dtype that would lose data, or something that is no array.
        ValueError: a wrong rank, or no dimensions.
    """
    if isinstance(x, Rows):
        return x
    if hasattr(x, "offsets") and hasattr(x, "rows"):
        raise TypeError(f"{name}: expected one vector per text, got {x!r}; those go to MultiVectorIndex")
    if isinstance(x, (list, tuple)) and not x:
        raise ValueError(f"{name}: expected at least one row, got an empty {type(x).__name__}")
    return _rows(*_as_array(x, name), name, one_is_row=one_is_row)


def as_tokens(x: Any, name: str, *, mask: Any = None) -> TokenVectors:
    """Return ``x`` as :class:`~tercet.TokenVectors`.

    Takes token vectors, one text ``[tokens, dim]``, a list of such arrays, a padded batch
    ``[n, tokens, dim]`` with an optional ``mask[n, tokens]`` whose true places are kept, or an Arrow
    ``list<fixed_size_list<float>>``.
    """
    from tercet.types import TokenVectors

    arrow = hasattr(x, "__arrow_c_array__") or hasattr(x, "__arrow_c_stream__")
    if mask is not None and (arrow or isinstance(x, (TokenVectors, list, tuple))):
        raise ValueError(f"{name}: a mask goes with a padded array [n, tokens, dim], got {type(x).__name__}")
    if isinstance(x, TokenVectors):
        return x
    if arrow:
        return _arrow_tokens(x, name)
    if isinstance(x, (list, tuple)):
        if x and _is_number_rows(x):
            return as_tokens(_as_array(x, name)[0], name)
        try:
            return TokenVectors.from_list(x)
        except (TypeError, ValueError) as e:
            raise type(e)(f"{name}: {e}") from None
    data, form = _as_array(x, name)
    if data.ndim == 2 and mask is None:
        return TokenVectors._of(_rows(data, form, name), np.array([0, len(data)], np.int64))
    if data.ndim != 3:
        expected = "[n, tokens, dim]" if mask is not None else "[tokens, dim] or [n, tokens, dim]"
        raise ValueError(f"{name}: expected shape {expected}, got {list(data.shape)}")
    n, tokens, dim = data.shape
    if mask is None:
        flat, lengths = data.reshape(n * tokens, dim), np.full(n, tokens)
    else:
        keep, _ = _as_host(mask, f"{name}_mask")
        if keep.shape != (n, tokens):
            raise ValueError(f"{name}_mask: expected shape {[n, tokens]}, got {list(keep.shape)}")
        keep = keep.astype(bool)
        flat, lengths = data[keep], keep.sum(1)
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return TokenVectors._of(_rows(flat, form, name), offsets)


def as_float32(rows: Rows) -> Rows:
    """Return the same numbers as float32: exact for every format."""
    if rows.format == "float32":
        return rows
    if rows.format == "bfloat16":
        return Rows((rows.data.astype(np.uint32) << 16).view(np.float32), "float32")
    return Rows(rows.data.astype(np.float32), "float32")


def same_format(a: Rows, b: Rows) -> tuple[Rows, Rows]:
    """Return both in one format: their own when equal, float32 otherwise."""
    return (a, b) if a.format == b.format else (as_float32(a), as_float32(b))


def check_dim(rows: Rows, dim: int, name: str) -> None:
    """Raise ValueError unless ``rows`` has ``dim`` dimensions."""
    if rows.dim != dim:
        raise ValueError(f"{name}: expected {dim} dimensions, got {rows.dim}")


def _arrow_tokens(x: Any, name: str) -> TokenVectors:
    """Return an Arrow list array, or the chunks of several, as token vectors; one chunk is not copied."""
    from tercet.types import TokenVectors

    if hasattr(x, "__arrow_c_array__"):
        schema, array = x.__arrow_c_array__()
        chunks = [_core.from_arrow(schema, array, name)]
    else:
        chunks = _core.from_arrow_stream(x.__arrow_c_stream__(), name)
    if len(chunks) == 1:
        ((values, offsets),) = chunks
    else:
        starts = np.cumsum([0, *(len(part) for part, _ in chunks)])
        parts = [bounds[1:] + start for (_, bounds), start in zip(chunks, starts[:-1], strict=True)]
        values, offsets = np.concatenate([part for part, _ in chunks]), np.concatenate([[0], *parts])
    return TokenVectors._of(_rows(*_as_array(values, name), name), offsets.astype(np.int64, copy=False))


def _rows(data: npt.NDArray[Any], form: Format, name: str, *, one_is_row: bool = False) -> Rows:
    """Return an array as rows that the native code can read, copied if it could not."""
    if data.ndim == 1 and one_is_row:
        data = data[None, :]
    if data.ndim != 2:
        expected = "[n, dim] or [dim]" if one_is_row else "[tokens, dim]"
        raise ValueError(f"{name}: expected shape {expected}, got {list(data.shape)}")
    if not 1 <= data.shape[1] <= MAX_DIM:
        raise ValueError(f"{name}: expected 1 to {MAX_DIM} dimensions, got {data.shape[1]}")
    row_bytes = data.shape[1] * data.itemsize
    apart = len(data) <= 1 or (data.strides[0] >= row_bytes and data.strides[0] % data.itemsize == 0)
    if data.strides[1] != data.itemsize or not apart or not data.flags.aligned:
        data = data.copy(order="C")  # ascontiguousarray would keep a view of one misaligned row
    return Rows(data, form)


def _as_array(x: Any, name: str) -> tuple[npt.NDArray[Any], Format]:
    """Return ``x`` as a numpy array in host memory and say what its elements are."""
    if isinstance(x, (list, tuple)) and any(hasattr(item, "__dlpack__") for item in x):
        parts = [_as_array(item, f"{name}: item {i}") for i, item in enumerate(x)]
        if len({(part.shape, form) for part, form in parts}) > 1:
            raise ValueError(f"{name}: expected rows of equal length and dtype, got a ragged list")
        return np.stack([part for part, _ in parts]), parts[0][1]
    data, bfloat16 = _as_host(x, name)
    if bfloat16 or data.dtype.name == "bfloat16":  # the name ml_dtypes registers with numpy
        return data.view(np.uint16), "bfloat16"
    if data.dtype.name in ("float32", "int8"):
        native = data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))
        return native, cast(Format, data.dtype.name)
    if data.dtype.name == "float16":
        return data.astype(np.float32), "float32"
    if data.dtype.kind in "US":
        raise TypeError(
            f"{name}: expected vectors, got text; a model encodes it first, or use tercet.Retriever"
        )
    raise TypeError(
        f"{name}: dtype {data.dtype} would lose data; expected float32, float16, bfloat16 or int8 "
        f"(convert it explicitly, for example to float32)"
    )


def _as_host(x: Any, name: str) -> tuple[npt.NDArray[Any], bool]:
    """Return ``x`` as a numpy array, and whether DLPack called its elements bfloat16."""
    if isinstance(x, np.ndarray):
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError(f"{name}: expected an array without a mask, got {type(x).__name__}")
        return x, False
    if hasattr(x, "__dlpack__"):
        x = x.detach() if getattr(x, "requires_grad", False) else x  # torch refuses to export a leaf
        if hasattr(x, "is_neg") and x.is_neg():
            x = x.resolve_neg()  # a view whose sign is a flag, which DLPack does not carry
        device = tuple(x.__dlpack_device__())
        if device[0] not in _CPU_DEVICES:
            if not hasattr(x, "cpu"):
                raise ValueError(f"{name}: expected host memory, got DLPack device {device}")
            x = x.cpu()
        return _core.from_dlpack(x.__dlpack__())
    if isinstance(x, (list, tuple)):
        try:
            data = np.asarray(x)
        except ValueError:
            raise ValueError(f"{name}: expected rows of equal length, got a ragged list") from None
        if data.dtype.kind in "fiu":  # numbers; lists of arrays keep their dtype, see _as_array
            data = data.astype(np.float32)
        return data, False
    data = np.asarray(x)
    if data.dtype == object:
        raise TypeError(f"{name}: expected an array, a tensor or a list of numbers, got {type(x).__name__}")
    return data, False


def _is_number_rows(x: Any) -> bool:
    """Tell whether a list is one text of plain number rows (and not a list of arrays)."""
    return isinstance(x[0], (list, tuple)) and len(x[0]) > 0 and isinstance(x[0][0], (int, float))
