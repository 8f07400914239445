"""Whatever layout or library numbers come in, the scores are the same, and nothing is copied without need."""

from __future__ import annotations

import array
import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference
import tercet
from levels import same_bits
from tercet.arrays import as_rows, as_tokens

F32 = np.float32
Array = npt.NDArray[Any]


@pytest.fixture
def values(rng: np.random.Generator) -> Array:
    return rng.standard_normal((12, 10)).astype(F32)


def address(a: Any) -> int:
    return int(a.__array_interface__["data"][0])


# ---- numpy

LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C order": lambda a: a,
    "Fortran order": np.asfortranarray,
    "rows backwards": lambda a: a[::-1],
    "columns backwards": lambda a: a[:, ::-1],
    "every other row": lambda a: a[::2],
    "every other column": lambda a: a[:, ::2],
    "a window": lambda a: a[2:9, 3:8],
    "transposed": lambda a: a.T,
    "one row many times": lambda a: np.broadcast_to(a[3], (5, 10)),
    "one column many times": lambda a: np.broadcast_to(a[:, :1], (12, 7)),
    "overlapping windows": lambda a: np.lib.stride_tricks.sliding_window_view(a.ravel(), 9)[:20],
    "one column": lambda a: a[:, 4:5],
    "one row": lambda a: a[4:5],
    "big-endian": lambda a: a.astype(">f4"),
    "not aligned": lambda a: np.frombuffer(b"x" + a.tobytes(), F32, offset=1).reshape(a.shape),
    "a field of records": lambda a: _records(a)["v"],
    "every other record": lambda a: _records(a)[::2]["v"],
}


def _records(a: Array) -> Array:
    records = np.zeros(len(a), [("tag", "u1"), ("v", "f4", a.shape[1:])])  # rows 41 bytes apart
    records["v"] = a
    return records


def in_layout(layout: str, values: Array) -> tuple[Array, Array]:
    """Read-only values in a layout, and the same values laid out plainly."""
    given = LAYOUTS[layout](values).view()
    given.flags.writeable = False
    return given, np.array(given, F32, order="C")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, values: Array) -> None:
    given, plain = in_layout(layout, values)
    query = plain[:2]
    assert same_bits(tercet.dot(query, given), reference.dot(query, plain))
    assert same_bits(tercet.dot(given, query), reference.dot(plain, query))
    for metric in ("dot", "l2"):
        hits = tercet.topk(given, given, 3, metric=metric)  # type: ignore[arg-type]
        ids, scores = reference.topk(reference.index_scores(plain, plain, metric, "float32"), 3)
        assert same_bits(hits.ids, ids)
        assert same_bits(hits.scores, scores)
    index = tercet.FlatIndex(plain.shape[1])
    index.add(given)
    assert same_bits(index.get(index.ids), reference.unit(plain))
    assert same_bits(index.search(given, 1).scores, index.search(plain, 1).scores)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_texts(layout: str, values: Array) -> None:
    given, plain = in_layout(layout, values)
    grid = reference.dot(plain, plain)
    want = reference.maxsim(grid, np.array([0, len(grid)]), np.array([0, len(grid)]))
    assert same_bits(tercet.maxsim([given], [given]), want)
    assert same_bits(tercet.maxsim(given, given), want)
    assert same_bits(tercet.maxsim_grid(given, given), grid)
    index = tercet.MultiVectorIndex(plain.shape[1], codec="float32")
    index.add(given)
    assert same_bits(index.get(0).values, plain)
    assert same_bits(index.search(given, 1).scores, want)


def test_layouts_of_padded_texts(values: Array) -> None:
    padded = values.reshape(3, 4, 10)
    for given in (
        padded[::-1, :, ::-1],
        padded.transpose(1, 0, 2),
        np.asfortranarray(padded),
        padded[:, 1:3],
    ):
        plain = given.copy()
        assert same_bits(tercet.maxsim(given, given), tercet.maxsim(list(plain), list(plain)))


@pytest.mark.parametrize("layout", ["C order", "every other row", "a window", "one row"])
def test_contiguous_rows_are_not_copied(layout: str, values: Array) -> None:
    given = LAYOUTS[layout](values)
    assert address(as_rows(given, "x").data) == address(given)
    assert address(as_tokens(given, "x").values) == address(given)


def test_float16_is_widened(values: Array) -> None:
    half = values.astype(np.float16)
    assert same_bits(tercet.dot(half, half), reference.dot(half.astype(F32), half.astype(F32)))


def test_int8_keeps_its_format(values: Array) -> None:
    integers = (values * 40).astype(np.int8)
    rows = as_rows(integers, "x")
    assert rows.format == "int8"
    assert address(rows.data) == address(integers)


def test_an_array_whose_dtype_calls_itself_bfloat16(values: Array) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rows = as_rows(values.astype(ml_dtypes.bfloat16), "x")
    assert rows.format == "bfloat16"
    assert same_bits(rows.data, reference.bfloat16(values))


def test_subclasses_and_buffers(values: Array) -> None:
    class Tagged(np.ndarray[Any, Any]):
        pass

    want = reference.dot(values, values)
    for given in (values.view(Tagged), memoryview(values), _ArrayInterface(values), _DLPack(values)):
        assert same_bits(tercet.dot(given, values), want)
    row = array.array("f", values[0].tolist())
    assert same_bits(tercet.dot(row, values), want[:1])


class _ArrayInterface:
    """What knows __array_interface__ and nothing else."""

    def __init__(self, a: Array) -> None:
        self._array = a
        self.__array_interface__ = a.__array_interface__


class _DLPack:
    """What knows DLPack and nothing else."""

    def __init__(self, a: Array, device: tuple[int, int] = (1, 0)) -> None:
        self._array, self._device = a, device

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device


def test_dlpack_without_torch(values: Array) -> None:
    for given in (values, values[::2], values[:, 1::3], values.T, values[::-1], values[:0], values[0]):
        rows, _ = tercet._core.from_dlpack(given.__dlpack__())
        assert same_bits(rows, given)
        assert given.size == 0 or address(rows) == address(given)
    with pytest.raises(TypeError, match="x: dtype float64 would lose data"):
        as_rows(_DLPack(values.astype(float)), "x")
    with pytest.raises(ValueError, match=r"x: expected host memory, got DLPack device \(2, 0\)"):
        as_rows(_DLPack(values, device=(2, 0)), "x")


def test_a_dlpack_capsule_is_used_once(values: Array) -> None:
    capsule = values.__dlpack__()
    tercet._core.from_dlpack(capsule)
    with pytest.raises(ValueError, match="unused DLPack capsule"):
        tercet._core.from_dlpack(capsule)
    with pytest.raises(TypeError, match="type code 5"):
        tercet._core.from_dlpack(values.astype(np.complex64).__dlpack__())


def test_dlpack_owner_lives_as_long_as_the_array() -> None:
    class Counted(np.ndarray[Any, Any]):
        alive = 0

        def __del__(self) -> None:
            Counted.alive -= 1

    owner = np.arange(6, dtype=F32).reshape(2, 3).view(Counted)
    Counted.alive = 1
    rows = as_rows(_DLPack(owner), "x")
    del owner
    gc.collect()
    assert Counted.alive == 1
    assert rows.data.tolist() == [[0, 1, 2], [3, 4, 5]]
    del rows
    gc.collect()
    assert Counted.alive == 0


# ---- Python numbers


def test_lists_of_numbers() -> None:
    assert tercet.dot([1, 2, 3], [[1, 0, 0], [0, 0, 1]]).tolist() == [[1, 3]]
    assert tercet.dot([[0.5, 1]], [(2, 4)]).tolist() == [[5]]
    assert tercet.maxsim([[1, 0], [0, 1]], [[[1, 2]], [[3, 0], [0, 3]]]).tolist() == [[3, 6]]
    assert tercet.dot([F32(1), F32(2)], [[1, 2]]).tolist() == [[5]]
    assert tercet.dot([np.array([1, 2], F32), np.array([3, 4], F32)], [[1, 1]]).tolist() == [[3], [7]]


def test_lists_of_arrays_keep_their_dtype() -> None:
    rows = [np.array([1, 2], np.int8), np.array([3, 4], np.int8)]
    assert as_rows(rows, "x").format == "int8"
    with pytest.raises(TypeError, match="x: item 0: dtype float64"):
        as_rows([np.ones(2), np.ones(2)], "x")
    with pytest.raises(TypeError, match="x: item 0: dtype int64"):
        as_rows([np.array([1, 2]), np.array([3, 4])], "x")


@pytest.mark.parametrize("given", [[True, False], [[1, None]], [1 + 2j], ["1"], [{}]])
def test_lists_of_other_things(given: Any) -> None:
    with pytest.raises(TypeError, match=r"^x: "):
        as_rows(given, "x")


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_numbers_too_large_for_float32() -> None:
    with pytest.raises(ValueError, match="queries: row 0 has a value that is not finite"):
        tercet.dot([1e300, 1], [[1, 1]])


# ---- torch


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_tensors_are_not_copied(dtype: str, torch: Any, values: Array) -> None:
    tensor = (torch.from_numpy(values) * 30).to(getattr(torch, dtype))
    for given in (tensor, tensor[3:], tensor[::2], tensor[:, 2:7]):
        rows = as_rows(given, "x")
        assert rows.format == dtype
        assert rows.data.shape == tuple(given.shape)
        assert address(rows.data) == given.data_ptr()
        assert as_tokens(given, "x").values.ctypes.data == given.data_ptr()
    assert address(as_tokens(tensor.reshape(3, 4, 10), "x").values) == tensor.data_ptr()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_tensors(dtype: str, torch: Any, values: Array) -> None:
    tensor = (torch.from_numpy(values) * 30).to(getattr(torch, dtype))
    for given in (tensor, tensor.T, tensor[:, ::3], tensor.reshape(3, 4, 10)[:, 2], tensor[:1].expand(4, 10)):
        plain = given.float().numpy()
        exact = reference.exact_dot(plain, plain)
        np.testing.assert_allclose(tercet.dot(given, given), exact, rtol=1e-5, atol=1e-2)
        np.testing.assert_allclose(tercet.maxsim(given, given)[0, 0], exact.max(1).sum(), rtol=1e-5)


def test_bfloat16_tensors_hold_the_same_bits(torch: Any, values: Array) -> None:
    tensor = torch.from_numpy(values).bfloat16()
    assert same_bits(as_rows(tensor, "x").data, reference.bfloat16(values))


def test_tensors_with_gradients(torch: Any, values: Array) -> None:
    leaf = torch.from_numpy(values).requires_grad_()
    for given in (leaf, leaf * 1, torch.nn.Parameter(torch.from_numpy(values))):
        assert same_bits(tercet.dot(given, values), reference.dot(values, values))
        assert given.requires_grad
    assert as_rows(leaf, "x").data.ctypes.data == leaf.data_ptr()


def test_tensors_in_lists(torch: Any, values: Array) -> None:
    docs = [
        torch.from_numpy(values[:3]),
        torch.from_numpy(values[3:3]),
        torch.from_numpy(values[3:].T.copy()).T,
    ]
    want = tercet.maxsim(values, [values[:3], values[3:3], values[3:]])
    assert same_bits(tercet.maxsim(torch.from_numpy(values), docs), want)
    assert same_bits(tercet.maxsim(values, [d.requires_grad_() for d in docs]), want)
    half = [torch.from_numpy(values).bfloat16(), torch.from_numpy(values[:2]).bfloat16()]
    assert tercet.TokenVectors.from_list(half).format == "bfloat16"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("grad", [False, True])
def test_lists_of_row_tensors(dtype: str, grad: bool, torch: Any, values: Array) -> None:
    rows = [torch.from_numpy(row).to(getattr(torch, dtype)).requires_grad_(grad) for row in values]
    stacked = torch.stack(rows).detach()
    assert same_bits(tercet.dot(rows, values), tercet.dot(stacked, values))


def test_masks_may_be_tensors(torch: Any, values: Array) -> None:
    padded, mask = values.reshape(3, 4, 10), np.arange(12).reshape(3, 4) % 3 > 0
    want = tercet.maxsim(values, padded, docs_mask=mask)
    for dtype in (torch.bool, torch.int64, torch.float32):
        given = torch.from_numpy(mask).to(dtype)
        assert same_bits(tercet.maxsim(values, torch.from_numpy(padded), docs_mask=given), want)


@pytest.mark.parametrize("dtype", ["float64", "int32", "int64", "uint8", "bool", "complex64", "float8_e5m2"])
def test_tensors_that_would_lose_data(dtype: str, torch: Any) -> None:
    if not hasattr(torch, dtype):
        pytest.skip("not in this torch")
    with pytest.raises(TypeError, match=r"x|DLPack"):
        as_rows(torch.ones(2, 3).to(getattr(torch, dtype)), "x")


def test_shapes_of_tensors_are_checked(torch: Any) -> None:
    with pytest.raises(ValueError, match=r"queries: expected shape .*, got \[\]"):
        tercet.dot(torch.tensor(1.0), torch.ones(2, 3))
    with pytest.raises(ValueError, match="at least one query"):
        tercet.dot(torch.ones(0, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match="queries: row 1 has"):
        tercet.dot(torch.tensor([[1.0], [float("nan")]]), torch.ones(2, 1))


def test_a_tensor_lives_as_long_as_the_array(torch: Any) -> None:
    tensor = torch.arange(1 << 16, dtype=torch.float32).reshape(256, 256)
    rows, want = as_rows(tensor, "x"), tensor.numpy().copy()
    del tensor
    gc.collect()
    trash = [torch.zeros(256, 256) for _ in range(64)]  # would take the freed memory
    assert same_bits(rows.data, want)
    assert len(trash) == 64


def test_many_exports_leak_nothing(torch: Any) -> None:
    tensor = torch.ones(4, 4)
    before = tensor.storage().untyped()._use_count() if hasattr(torch.UntypedStorage, "_use_count") else 0
    for _ in range(1000):
        as_rows(tensor, "x")
    gc.collect()
    after = tensor.storage().untyped()._use_count() if hasattr(torch.UntypedStorage, "_use_count") else 0
    assert before == after
