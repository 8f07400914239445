"""Token vectors as Arrow arrays: the same numbers as arrays of numpy, where they lie."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import numpy as np
import pytest

import tercet
from tercet import MultiVectorIndex, TokenVectors

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'tercet[test]'")
F32 = np.float32
DIM = 4


def texts(rng: np.random.Generator, *lengths: int, dtype: Any = F32) -> list[Any]:
    return [rng.integers(-9, 9, (n, DIM)).astype(dtype) for n in lengths]


def arrow(parts: list[Any], number: Any = None, *, large: bool = False) -> Any:
    """The layout built by hand, so that the memory of its values is known."""
    values = np.concatenate(parts).reshape(-1)
    tokens = pa.FixedSizeListArray.from_arrays(pa.array(values, number), DIM)
    kind, width = (pa.LargeListArray, pa.int64()) if large else (pa.ListArray, pa.int32())
    return kind.from_arrays(pa.array(np.cumsum([0, *map(len, parts)]), width), tokens)


def same(tokens: TokenVectors, parts: list[Any]) -> bool:
    return len(tokens) == len(parts) and all(np.array_equal(a, b) for a, b in zip(tokens, parts, strict=True))


@pytest.mark.parametrize("large", [False, True])
def test_without_a_copy(large: bool, rng: np.random.Generator) -> None:
    parts = texts(rng, 3, 0, 5, 1)
    array = arrow(parts, large=large)
    tokens = TokenVectors.from_arrow(array)
    assert same(tokens, parts)
    assert tokens.format == "float32"
    where = array.values.values.buffers()[1].address
    assert tokens.values.ctypes.data == where
    assert not tokens.values.flags.writeable
    del array
    gc.collect()
    assert same(tokens, parts)  # the memory is kept


def test_slices_at_every_level(rng: np.random.Generator) -> None:
    parts = texts(rng, 3, 0, 5, 1)
    whole = arrow(parts)
    for start in range(5):
        for stop in range(start, 5):
            cut = whole.slice(start, stop - start)
            assert same(TokenVectors.from_arrow(cut), parts[start:stop])
    shifted = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(24, dtype=F32)).slice(4), DIM).slice(1)
    tokens = TokenVectors.from_arrow(pa.ListArray.from_arrays([1, 3], shifted))
    assert tokens.values.tolist() == [[12, 13, 14, 15], [16, 17, 18, 19]]
    assert tokens.offsets.tolist() == [0, 2]


def test_chunks(rng: np.random.Generator) -> None:
    parts = texts(rng, 3, 0, 5, 1)
    one = arrow(parts)
    assert (
        TokenVectors.from_arrow(pa.chunked_array([one])).values.ctypes.data
        == one.values.values.buffers()[1].address
    )
    several = pa.chunked_array([one.slice(0, 1), one.slice(1, 0), one.slice(1), arrow(parts[:2])])
    assert same(TokenVectors.from_arrow(several), [*parts, *parts[:2]])
    nothing = TokenVectors.from_arrow(pa.chunked_array([], one.type))
    assert len(nothing) == 0
    assert nothing.dim == DIM


@pytest.mark.parametrize(("dtype", "number"), [(np.float16, pa.float16()), (np.int8, pa.int8())])
def test_other_numbers(dtype: Any, number: Any, rng: np.random.Generator) -> None:
    parts = texts(rng, 2, 3, dtype=dtype)
    tokens = TokenVectors.from_arrow(arrow(parts, number))
    assert same(tokens, parts)
    assert tokens.format == ("int8" if dtype is np.int8 else "float32")


def test_wherever_token_vectors_are_taken(rng: np.random.Generator) -> None:
    queries, documents = texts(rng, 2, 3), texts(rng, 4, 1, 6)
    expected = tercet.maxsim(queries, documents)
    chunked = pa.chunked_array([arrow(documents[:1]), arrow(documents[1:])])
    assert np.array_equal(tercet.maxsim(arrow(queries), chunked), expected)
    index = MultiVectorIndex(DIM, codec="float32")
    index.add(chunked, ["a", "b", "c"])
    assert np.array_equal(index.search(arrow(queries), 3).scores, -np.sort(-expected, axis=1))
    names = pa.table({"id": pa.chunked_array([["d"], ["e", "f"]])})["id"]
    assert index.add(chunked, names).tolist() == ["d", "e", "f"]
    # as pyarrow makes one of Python's lists, and as a column of a table
    typed = pa.array([d.tolist() for d in documents], pa.list_(pa.list_(pa.float32(), DIM)))
    table = pa.table({"tokens": typed})
    assert np.array_equal(tercet.maxsim(queries, table["tokens"]), expected)


def test_the_interface_alone_is_enough(rng: np.random.Generator) -> None:
    """polars, nanoarrow and others are no pyarrow; what they share are two methods."""
    parts = texts(rng, 2, 1)

    class Array:
        def __arrow_c_array__(self) -> Any:
            return arrow(parts).__arrow_c_array__()

    class Stream:
        def __arrow_c_stream__(self) -> Any:
            return pa.chunked_array([arrow(parts)]).__arrow_c_stream__()

    assert same(TokenVectors.from_arrow(Array()), parts)
    assert same(TokenVectors.from_arrow(Stream()), parts)


def nested(value: Any, number: Any = None) -> Any:
    return pa.array(value, pa.list_(pa.list_(number or pa.float32(), 2)))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (nested([[[1, 2]], None, [[3, 4]]]), "docs: expected no nulls, got one for text 1"),
        (nested([[[1, 2], None]]), "docs: expected no nulls, got one for token 1"),
        (nested([[[1, 2], [3, None]]]), "docs: expected no nulls, got one for value 3"),
        (nested([[None], [[1, 2], None]]).slice(1), "docs: expected no nulls, got one for token 1"),
        (
            pa.chunked_array([nested([[[1, 2]]]), nested([None])]),
            "docs: expected no nulls, got one for text 0",
        ),
        (nested([]), "expected at least one query and one document"),
    ],
)
def test_nulls_are_refused(array: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tercet.maxsim(np.ones((1, 2), F32), array)


def test_nulls_outside_of_a_slice_do_not_matter() -> None:
    array = nested([[None], [[1, 2]], None])
    assert TokenVectors.from_arrow(array.slice(1, 1)).values.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (pa.array([1.0]), "got float64"),
        (pa.array([[1.0]]), r"got list<float64>"),
        (pa.array([[[1.0]]]), r"got list<list<float64>>"),
        (pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), r"got fixed_size_list\[2\]<float32>"),
        (pa.array([[["a", "b"]]], pa.list_(pa.list_(pa.string(), 2))), "fixed_size_list.*the Arrow format"),
        (pa.table({"x": [1]}), "got struct"),
        (pa.array(["a"]).dictionary_encode(), "got dictionary"),
        (nested([[[1, 2]]], pa.float64()), "vectors: dtype float64 would lose data"),
        (nested([[[1, 2]]], pa.int32()), "vectors: dtype int32 would lose data"),
    ],
)
def test_other_types_are_refused(array: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        MultiVectorIndex(2).add(array)


def test_misuse(rng: np.random.Generator) -> None:
    array = arrow(texts(rng, 2))
    with pytest.raises(TypeError, match="expected an Arrow array, got ndarray"):
        TokenVectors.from_arrow(np.ones((1, 2), F32))
    with pytest.raises(ValueError, match="expected 3 dimensions, got 4"):
        MultiVectorIndex(3).add(array)
    with pytest.raises(ValueError, match="a mask goes with a padded array"):
        TokenVectors.from_padded(array, [[1, 1]])

    class Twice:
        capsules = array.__arrow_c_array__()

        def __arrow_c_array__(self) -> Any:
            return self.capsules

    used = Twice()
    TokenVectors.from_arrow(used)
    with pytest.raises(ValueError, match="used already"):
        TokenVectors.from_arrow(used)


class Stream(ctypes.Structure):
    """Arrow's C stream: a table of functions, here of Python."""

    _fields_ = [
        ("get_schema", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)),
        ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)),
        ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)),
        ("release", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("private_data", ctypes.c_void_p),
    ]


@pytest.mark.parametrize("why", [b"disk on fire", None])
def test_a_stream_that_fails(why: bytes | None, rng: np.random.Generator) -> None:
    good = arrow(texts(rng, 2))
    given = []
    text = ctypes.create_string_buffer(why) if why else None

    def get_schema(_: int, out: int) -> int:
        good.type._export_to_c(out)
        return 0

    def get_next(_: int, out: int) -> int:
        if given:
            return 5  # EIO
        given.append(good)
        good._export_to_c(out)
        return 0

    fields = dict(Stream._fields_)
    stream = Stream(
        fields["get_schema"](get_schema),
        fields["get_next"](get_next),
        fields["get_last_error"](lambda _: ctypes.addressof(text) if text else None),
        fields["release"](lambda _: None),
    )
    new_capsule = ctypes.pythonapi.PyCapsule_New
    new_capsule.restype, new_capsule.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )

    class Failing:
        def __arrow_c_stream__(self) -> Any:
            return new_capsule(ctypes.addressof(stream), b"arrow_array_stream", None)

    message = (
        "the Arrow stream failed: disk on fire" if why else "the Arrow stream failed: Input/output error"
    )
    with pytest.raises(ValueError, match=message):
        TokenVectors.from_arrow(Failing())
