"""What all indexes share: ids, filters, saving."""

from __future__ import annotations

import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tercet import _core
from tercet.indexes import storage
from tercet.types import PackedMask

if TYPE_CHECKING:  # of Python 3.11
    from typing_extensions import Self

__all__ = [
    "CODECS",
    "RESIDUAL",
    "BaseIndex",
    "Codec",
    "TokenCodec",
    "as_filters",
    "as_ids",
    "check_settings",
    "id_array",
    "required_ids",
    "sizes_of",
]

CODECS = ("float32", "bfloat16", "int8", "int4", "int2", "binary")
RESIDUAL = ("residual2", "residual1", "pq16")  # of token vectors
ROTATED = ("int4", "int2", "binary", *RESIDUAL)
Codec: TypeAlias = Literal["float32", "bfloat16", "int8", "int4", "int2", "binary"]
TokenCodec: TypeAlias = Codec | Literal["residual2", "residual1", "pq16"]


class BaseIndex(ABC):
    """Ids and bookkeeping over a native index. Not public: use FlatIndex or MultiVectorIndex."""

    _native: _core.FlatIndex | _core.HNSWIndex | _core.MultiVectorIndex
    dim: int
    _codec: str
    seed: int  # where the codec has a random rotation

    @property
    def codec(self) -> str:
        """How vectors are stored."""
        return self._codec

    def remove(self, ids: Any) -> None:
        """Remove ids: gone for every later search.

        Raises:
            KeyError: some are not in the index; the message names them and nothing is removed.
        """
        self._native.remove(required_ids(ids))

    @property
    def ids(self) -> npt.NDArray[Any]:
        """All ids, ``int64[n]`` or an object array of str; a filter mask follows this order.

        The order changes only when ids are added or removed: the last one takes the place of one that is
        removed. A mask made before such a change allows other ids afterwards, which a search notices only if
        their number has changed too. While others change the index, filter by ids.
        """
        return id_array(self._native.ids())

    def __len__(self) -> int:
        """Return the number of ids."""
        return self._native.size()

    def __contains__(self, id: object) -> bool:
        """Tell whether an id is in the index."""
        try:
            one = as_ids(id) if np.ndim(id) == 0 else None  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return False
        try:
            return one is not None and self._native.contains(one)
        except ValueError:  # a string that no id can be
            return False

    @property
    def nbytes(self) -> int:
        """Bytes that the stored vectors take.

        That is codes and scales, with ``rescore`` the vectors beside them, and what searches read besides:
        graphs, lists, codebooks, norms. Ids are not counted, about 60 bytes each if they are integers. Of an
        index opened with ``mmap=True``, codes and vectors are in the mapped file, not in memory of its own.
        """
        return self._native.bytes()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file, atomically: at any moment ``path`` holds the old or the new index.

        Searches go on meanwhile, changes wait.
        """
        storage.write(path, self._native, self._header())

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, mmap: bool = True) -> Self:
        """Open a file that holds an index of this class, as :func:`tercet.open` does.

        Raises:
            ValueError: it holds another kind of index; and as :func:`tercet.open`.
        """
        if os.path.isdir(storage.as_name(path)):
            raise ValueError(f"{os.fspath(path)}: expected the file of a {cls.__name__}, got a directory")
        file = storage.open_file(path, mmap)
        settings = storage.read_settings(file, path)
        if settings.get("kind") != cls.__name__:
            raise ValueError(f"{os.fspath(path)}: expected a {cls.__name__}, got {settings.get('kind')!r}")
        return cls._restore(file, settings, path, verify=not mmap)

    def verify(self) -> None:
        """Compare the whole file that the index was opened from with its checksums.

        Nothing happens if it was not opened, or has been changed since, and is in memory.

        Raises:
            ValueError: the file is damaged; the message names it and the part.
        """
        self._native.verify()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy: through the bytes that :meth:`save` writes."""
        return type(self)._from_bytes, (self._native.dump(storage.as_json(self._header())),)

    @classmethod
    def _from_bytes(cls, data: bytes) -> Self:
        file = _core.Container.from_bytes(data, "pickle")
        return cls._restore(file, storage.read_settings(file, "pickle"), "pickle", verify=True)

    @classmethod
    def _restore(
        cls,
        file: _core.Container,
        settings: dict[str, Any],
        path: str | os.PathLike[str],
        *,
        verify: bool = False,
    ) -> Self:
        """Make an index of what was saved; ValueError, naming ``path``, if that fits together badly.

        With ``verify`` all of the file is compared with its checksums, not the most necessary parts alone.
        """
        try:
            index = cls._empty(settings)
        except (KeyError, TypeError, ValueError) as e:
            raise ValueError(f"{os.fspath(path)}: damaged index: settings: {e}") from e
        index._native.restore(file)
        if verify:
            index.verify()
        return index

    @classmethod
    @abstractmethod
    def _empty(cls, settings: dict[str, Any]) -> Self:
        """Make an index without vectors of what :meth:`_header` gave."""

    def _header(self) -> dict[str, Any]:
        header: dict[str, Any] = {"kind": type(self).__name__, "dim": self.dim, "codec": self.codec}
        return {**header, "seed": self.seed} if self.codec in ROTATED else header


def as_ids(ids: Any) -> npt.NDArray[np.int64] | list[str] | None:
    """Return ids as the native code takes them: int64 array, list of str, or None.

    Raises:
        TypeError: an id that is neither int nor str, or both kinds in one call.
    """
    if ids is None:
        return None
    if hasattr(ids, "to_pylist"):  # Arrow arrays, chunked ones too
        ids = ids.to_pylist()
    if hasattr(ids, "tolist") and not isinstance(ids, np.ndarray):
        ids = np.asarray(ids)  # numpy scalars, tensors, series
    if isinstance(ids, np.ma.MaskedArray):
        raise TypeError("ids: expected an array without a mask, got a masked array")
    if isinstance(ids, np.ndarray):
        if ids.ndim > 1:
            raise ValueError(f"ids: expected one dimension, got shape {list(ids.shape)}")
        ids = np.atleast_1d(ids)
        if ids.dtype.kind in "iu":
            if ids.dtype == np.uint64 and ids.size and ids.max() > np.iinfo(np.int64).max:
                raise ValueError(f"ids: expected integers below 2**63, got {ids.max()}")
            return np.ascontiguousarray(ids, dtype=np.int64)
        ids = ids.tolist()
    if isinstance(ids, (str, int)):
        ids = [ids]
    if isinstance(ids, (bytes, bytearray, set, frozenset)):  # a set has no order to go by
        raise TypeError(f"ids: expected a list of integers or strings, got {type(ids).__name__}")
    if not isinstance(ids, Iterable):
        raise TypeError(f"ids: expected integers or strings, got {type(ids).__name__}")
    items = list(ids)
    if all(isinstance(i, str) for i in items) and items:
        return items
    numbers = []
    for i in items:
        if isinstance(i, (bool, np.bool_, str)) or not hasattr(i, "__index__"):
            raise TypeError(f"ids: expected all integers or all strings, got {i!r} ({type(i).__name__})")
        numbers.append(operator.index(i))
    try:
        return np.array(numbers, dtype=np.int64)
    except OverflowError:
        raise ValueError("ids: expected integers below 2**63") from None


def required_ids(ids: Any) -> npt.NDArray[np.int64] | list[str]:
    """Return ids as :func:`as_ids` does; TypeError for None."""
    given = as_ids(ids)
    if given is None:
        raise TypeError("ids: expected integers or strings, got None")
    return given


def as_filters(filter: Any, num_queries: int) -> list[Any]:
    """Return a list of filters for the native code: none, one for all queries, or one for each.

    A filter is ids, a bool mask over ``index.ids`` or a PackedMask of it, or None for no restriction; a list
    or tuple whose items are themselves filters (not scalars), or a mask ``[nq, n]``, gives one to each query.
    """
    if filter is None:
        return []
    if getattr(filter, "ndim", 1) == 2 and not isinstance(filter, np.ma.MaskedArray):
        filter = list(np.asarray(filter))  # one row for each query
    if isinstance(filter, (list, tuple)) and any(_is_filter(f) for f in filter):
        if len(filter) != num_queries:
            raise ValueError(f"filter: expected one for each of {num_queries} queries, got {len(filter)}")
        return [_one_filter(f) for f in filter]
    return [_one_filter(filter)]


def _is_filter(x: Any) -> bool:
    """Tell a filter (or None) from a single id or mask value."""
    return x is None or not (isinstance(x, str) or np.isscalar(x) or getattr(x, "ndim", 1) == 0)


def _one_filter(
    filter: Any,
) -> npt.NDArray[np.bool_] | tuple[npt.NDArray[np.uint8], int] | npt.NDArray[np.int64] | list[str] | None:
    if filter is None:
        return None
    if isinstance(filter, PackedMask):
        return filter.bits, filter.size
    if isinstance(filter, (list, tuple)) and filter and all(isinstance(x, (bool, np.bool_)) for x in filter):
        filter = np.asarray(filter)
    if isinstance(filter, np.ma.MaskedArray):
        raise TypeError("filter: expected an array without a mask of its own, got a masked array")
    if hasattr(filter, "__array__"):
        filter = np.asarray(filter)
    numbers = isinstance(filter, np.ndarray) and filter.dtype.kind in "iu" and filter.ndim == 1
    if numbers and filter.size > 2 and filter.max() < 2:
        raise TypeError(f"filter: a mask is bool, ids are each there once; got {filter.dtype} of 0 and 1")
    if isinstance(filter, np.ndarray) and filter.dtype == bool:
        if filter.ndim != 1:
            raise ValueError(f"filter: expected a mask bool[n], got shape {list(filter.shape)}")
        return np.ascontiguousarray(filter)
    try:
        return as_ids(list(filter) if isinstance(filter, (set, frozenset)) else filter)
    except (TypeError, ValueError) as e:
        raise type(e)(str(e).replace("ids:", "filter:", 1)) from None


def id_array(ids: npt.NDArray[np.int64] | Sequence[str]) -> npt.NDArray[Any]:
    """Return native ids as an array: int64, or object for str."""
    if isinstance(ids, np.ndarray):
        return ids
    out = np.empty(len(ids), dtype=object)
    out[:] = ids
    return out


def check_settings(dim: int, codec: str, seed: int, max_dim: int, codecs: tuple[str, ...] = CODECS) -> None:
    """Raise unless the settings of a new index make sense."""
    for name, value in (("dim", dim), ("seed", seed)):
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
    if not 0 <= operator.index(seed) < 2**64:
        raise ValueError(f"seed: expected 0 to 2**64 - 1, got {seed}")
    if not 1 <= operator.index(dim) <= max_dim:
        raise ValueError(f"dim: expected 1 to {max_dim}, got {dim}")
    if codec not in codecs:
        raise ValueError(f"codec: expected one of {', '.join(codecs)}, got {codec!r}")


def sizes_of(parts: dict[str, int], tokens: int) -> dict[str, Any]:
    """Return what ``stats()`` says of the bytes of token vectors."""
    size = sum(parts.values())
    each = size / tokens if tokens else 0.0
    return {"tokens": tokens, "nbytes": size, "bytes": parts, "bytes_per_token": each}
