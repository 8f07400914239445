"""Tensors in and out: streams, lifetimes, graphs, and scores of tensors that no index holds."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tercet
from device_tensors import Interface, bfloat16_on_device, on_device
from levels import run_python, same_bits
from tercet import FlatIndex, TokenVectors, cuda
from tercet.cuda import DeviceArray, dlpack, memory
from tercet.cuda.dlpack import read_capsule
from tercet.cuda.streams import Stream, stream_of
from tercet.cuda.tensors import as_tensor

pytestmark = pytest.mark.usefixtures("device")

Array = npt.NDArray[Any]
F32 = np.float32
CAPTURED = 0xCA  # a stream that the emulator says is being captured


def index_of(rng: np.random.Generator) -> FlatIndex:
    index = FlatIndex(8, metric="dot")
    index.add(rng.standard_normal((50, 8)).astype(F32))
    return index


# ---- maxsim


@pytest.mark.parametrize("dim", [1, 4, 7, 64, 136])
def test_maxsim_is_that_of_the_processor(dim: int, rng: np.random.Generator) -> None:
    queries = rng.standard_normal((3, 5, dim)).astype(F32)
    documents = rng.standard_normal((4, 19, dim)).astype(F32)
    got = cuda.maxsim(on_device(queries), on_device(documents))
    assert isinstance(got, DeviceArray)
    assert (got.shape, got.dtype) == ((3, 4), "float32")
    assert same_bits(got.numpy(), tercet.maxsim(queries, documents))
    one = cuda.maxsim(on_device(queries[1]), on_device(documents)).numpy()
    assert same_bits(one, tercet.maxsim(queries[1], documents))


@pytest.mark.parametrize("dim", [5, 40])
def test_maxsim_of_bfloat16(dim: int, rng: np.random.Generator) -> None:
    """Integers, whose sums are exact in any order."""
    queries, documents = (rng.integers(-3, 4, (2, n, dim)).astype(F32) for n in (5, 18))
    got = cuda.maxsim(bfloat16_on_device(queries), bfloat16_on_device(documents)).numpy()
    assert same_bits(got, tercet.maxsim(queries, documents))


def test_maxsim_of_ragged_texts(rng: np.random.Generator) -> None:
    queries, documents = (rng.standard_normal((4, n, 12)).astype(F32) for n in (6, 9))
    some, others = np.array([6, 1, 3, 0], np.int32), np.array([0, 9, 4, 1], np.int32)
    got = cuda.maxsim(
        on_device(queries),
        on_device(documents),
        query_lengths=on_device(some),
        document_lengths=on_device(others),
    ).numpy()
    cut = [
        [text[:n] for text, n in zip(*pair, strict=True)] for pair in [(queries, some), (documents, others)]
    ]
    assert same_bits(got, tercet.maxsim(cut[0], cut[1]))
    joined = TokenVectors.from_list(cut[1])
    got = cuda.maxsim(on_device(queries), on_device(joined.values), offsets=on_device(joined.offsets)).numpy()
    assert same_bits(got, tercet.maxsim(queries, joined))


def test_bad_tensors_for_maxsim(rng: np.random.Generator) -> None:
    q, d = on_device(np.ones((2, 3, 4), F32)), on_device(np.ones((2, 3, 4), F32))
    with pytest.raises(
        TypeError, match=r"documents: expected a CUDA tensor, got ndarray; tercet\.maxsim takes"
    ):
        cuda.maxsim(q, np.ones((2, 3, 4), F32))
    with pytest.raises(TypeError, match="queries: expected a CUDA tensor"):
        cuda.maxsim(np.ones((2, 3, 4), F32), d)
    with pytest.raises(TypeError, match="queries: expected bfloat16 as the documents are, got float32"):
        cuda.maxsim(q, bfloat16_on_device(np.ones((2, 3, 4), F32)))
    with pytest.raises(TypeError, match="documents: expected float32 or bfloat16 on a device, got float16"):
        cuda.maxsim(q, on_device(np.ones((2, 3, 4), np.float16)))
    with pytest.raises(ValueError, match="queries: expected 5 dimensions, got 4"):
        cuda.maxsim(q, on_device(np.ones((2, 3, 5), F32)))
    with pytest.raises(ValueError, match=r"documents: expected shape \[total, dim\], got \[2, 3, 4\]"):
        cuda.maxsim(q, d, offsets=on_device(np.array([0, 1])))
    with pytest.raises(ValueError, match=r"query_lengths: expected shape \[2\], got \[3\]"):
        cuda.maxsim(q, d, query_lengths=on_device(np.ones(3, np.int32)))
    with pytest.raises(ValueError, match="document_lengths: offsets say"):
        cuda.maxsim(
            q, on_device(np.ones((3, 4), F32)), offsets=on_device(np.array([0, 3])),
            document_lengths=on_device(np.ones(1, np.int32)),
        )  # fmt: skip


# ---- tensors in


def test_memory_that_is_no_multiple_of_a_vector(rng: np.random.Generator) -> None:
    documents = rng.standard_normal((3, 5, 8)).astype(F32)
    shifted = on_device(np.concatenate([np.zeros(1, F32), documents.ravel()]))
    shifted.tensor = shifted.tensor._replace(pointer=shifted.tensor.pointer + 4, shape=documents.shape)
    got = cuda.maxsim(on_device(documents), shifted).numpy()
    assert same_bits(got, tercet.maxsim(documents, documents))


def test_the_cuda_array_interface(device: str, rng: np.random.Generator) -> None:
    index = index_of(rng)
    copy, queries = index.to_device(), rng.standard_normal((3, 8)).astype(F32)
    want = index.search(queries, 5)
    for stream in (None, 1, 7)[: 3 if device == "emulated" else 2]:  # 7 is no stream of a device
        hits = copy.search(Interface(queries, stream=stream), 5)
        assert same_bits(hits.scores.numpy(), want.scores)
    with pytest.raises(ValueError, match="queries: expected a contiguous tensor"):
        copy.search(Interface(queries, strides=(64, 4)))
    with pytest.raises(TypeError, match=r"queries: expected float32, .*got <f8"):
        copy.search(Interface(queries, typestr="<f8"))


def test_dlpack_tensors_wait_for_the_stream_of_the_call(device: str, rng: np.random.Generator) -> None:
    if device != "emulated":
        pytest.skip("a device has no stream 5")
    copy = index_of(rng).to_device()
    queries = on_device(np.ones((1, 8), F32))
    for stream in (None, 0, 1, 5):
        copy.search(queries, 2, stream=stream)
    assert queries.streams == [1, 1, 1, 5]  # 0 is ambiguous, so DLPack calls the default stream 1


def test_strides_that_say_nothing_are_taken() -> None:
    tensor = on_device(np.ones((1, 3), F32))
    assert read_capsule(tensor.__dlpack__(), "x").shape == (1, 3)
    with pytest.raises(ValueError, match="strides"):
        dlpack.check_contiguous((2, 3), (4, 1), 1, "x")
    dlpack.check_contiguous((1, 3), (17, 1), 1, "x")
    dlpack.check_contiguous((2, 1, 3), (3, 99, 1), 1, "x")


def test_another_device_is_refused() -> None:
    tensor = on_device(np.ones((1, 8), F32))
    tensor.tensor = tensor.tensor._replace(device=3)
    with pytest.raises(ValueError, match="x: expected a tensor of device 0, got one of 3"):
        as_tensor(tensor, "x", 0, Stream(0), ("float32",))


def test_streams_of_others() -> None:
    class Torch:
        cuda_stream = 77

    class Cupy:
        ptr = 78

    assert [stream_of(s, 0).handle for s in (Torch(), Cupy(), 79, 1, 0)] == [77, 78, 79, 0, 0]
    with pytest.raises(TypeError, match="stream: expected a handle or a stream, got str"):
        stream_of("x", 0)


# ---- results out


def test_results_by_dlpack(rng: np.random.Generator) -> None:
    index = index_of(rng)
    hits = index.to_device().search(on_device(np.ones((2, 8), F32)), 3)
    want = index.search(np.ones((2, 8), F32), 3)
    assert repr(hits.ids) == "DeviceArray(shape=[2, 3], int64, device=0)"
    assert hits.ids.__dlpack_device__() == (2, 0)
    again = read_capsule(hits.ids.__dlpack__(stream=1), "ids")
    assert (again.shape, again.dtype, again.device) == ((2, 3), "int64", 0)
    interface = hits.scores.__cuda_array_interface__
    assert (interface["shape"], interface["typestr"], interface["version"]) == ((2, 3), "<f4", 3)
    assert interface["stream"] == 1
    del hits
    gc.collect()
    kept = np.empty((2, 3), np.int64)  # alive through the capsule
    memory.load().call("download", 0, kept.ctypes.data, again.pointer, kept.nbytes, None)
    assert kept.tolist() == want.ids.tolist()


def references(buffer: memory.Buffer) -> int:
    return sys.getrefcount(buffer)  # within an assert, pytest holds some of its own


def test_capsules_give_memory_back() -> None:
    array = DeviceArray((4,), "float32", 0, 0)
    buffer = array.tensor.keeper
    counts = [references(buffer)]
    capsules = [array.__dlpack__() for _ in range(3)]
    counts.append(references(buffer))
    del capsules
    counts.append(references(buffer))
    assert counts == [counts[0], counts[0] + 3, counts[0]]


def test_capsules_may_outlive_the_interpreter(device: str) -> None:
    code = """if True:
        import sys, tercet
        array = tercet.cuda.DeviceArray((4,), "float32", 0, 0)
        sys.modules["kept"] = [array.__dlpack__(), array]
        cycle = [array.__dlpack__()]
        cycle.append(cycle)
    """
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_torch_takes_results_where_there_is_a_device(device: str, rng: np.random.Generator) -> None:
    if device != "device":
        pytest.skip("torch takes memory of a device for what it is")
    torch = pytest.importorskip("torch")
    index = index_of(rng)
    queries = torch.ones((2, 8), device="cuda")
    with torch.cuda.stream(torch.cuda.Stream()):
        hits = index.to_device().search(queries, 3)
        scores = torch.from_dlpack(hits.scores)
    torch.cuda.synchronize()
    assert same_bits(scores.cpu().numpy(), index.search(np.ones((2, 8), F32), 3).scores)


def test_results_into_given_tensors(rng: np.random.Generator) -> None:
    index = index_of(rng)
    copy, queries = index.to_device(), on_device(np.ones((2, 8), F32))
    ids, scores = DeviceArray((2, 3), "int64", 0, 0), DeviceArray((2, 3), "float32", 0, 0)
    out = (ids, scores)
    assert copy.search(queries, 3, out=out) is out
    want = index.search(np.ones((2, 8), F32), 3)
    assert ids.numpy().tolist() == want.ids.tolist()
    assert same_bits(scores.numpy(), want.scores)
    with pytest.raises(ValueError, match=r"out: expected shape \[2, 4\], got \[2, 3\]"):
        copy.search(queries, 4, out=out)
    with pytest.raises(TypeError, match="out: expected int64 on a device, got float32"):
        copy.search(queries, 3, out=(scores, scores))
    with pytest.raises(ValueError, match="out: expected ids and scores, got 1"):
        copy.search(queries, 3, out=(ids,))
    with pytest.raises(ValueError, match="out: goes with queries on the device"):
        copy.search(np.ones((2, 8), F32), 3, out=out)
    given = on_device(np.ones((2, 5, 8), F32))
    one = DeviceArray((2, 2), "float32", 0, 0)
    assert cuda.maxsim(given, given, out=one) is one
    assert same_bits(one.numpy(), np.full((2, 2), 40, F32))
