"""What lives for how long: workspaces, inputs, results that others read, streams; and graphs."""

from __future__ import annotations

import copy as copies
import gc
import pickle
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from device_tensors import Interface, on_device
from tercet import FlatIndex, MultiVectorIndex, cuda
from tercet.cuda import DeviceArray, library, memory
from tercet.cuda.streams import Stream, stream_of

pytestmark = pytest.mark.usefixtures("device")

F32 = np.float32
CAPTURED = 0xCA  # a stream that the emulator says is being captured


@pytest.fixture
def emulated(device: str) -> None:
    """For tests of streams that no device has."""
    if device != "emulated":
        pytest.skip("streams of these numbers are the emulator's")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """Everything that the library is asked for, but whether streams are captured."""
    made: list[tuple[Any, ...]] = []
    call = library.Library.call

    def record(self: library.Library, name: str, *arguments: Any) -> None:
        if name != "is_capturing":
            made.append((name, *arguments))
        call(self, name, *arguments)

    monkeypatch.setattr(library.Library, "call", record)
    yield made
    monkeypatch.undo()


def of(made: list[tuple[Any, ...]], *names: str) -> list[tuple[Any, ...]]:
    return [call for call in made if call[0] in names]


def index_of(rng: np.random.Generator) -> FlatIndex:
    index = FlatIndex(8, metric="dot")
    index.add(rng.standard_normal((50, 8)).astype(F32))
    return index


def references(x: Any) -> int:
    return sys.getrefcount(x)  # within an assert, pytest holds some of its own


# ---- graphs


@pytest.mark.usefixtures("emulated")
def test_what_a_graph_forbids_is_refused(rng: np.random.Generator, calls: list[tuple[Any, ...]]) -> None:
    flat, multi = index_of(rng).to_device(), MultiVectorIndex(8)
    multi.add(rng.standard_normal((5, 2, 8)).astype(F32))
    there, texts = on_device(np.ones((2, 8), F32)), on_device(np.ones((1, 2, 8), F32))
    hits = multi.search([np.ones((2, 8), F32)], 2)
    tokens = multi.to_device()
    del calls[:]
    for call in (
        lambda: flat.search(there, 3, stream=CAPTURED),
        lambda: tokens.search(texts, 3, stream=CAPTURED),
        lambda: cuda.maxsim(texts, texts, stream=CAPTURED),
    ):
        with pytest.raises(RuntimeError, match="a graph cannot allocate results; pass out="):
            call()
    for call in (
        lambda: flat.search(np.ones((2, 8), F32), 3, stream=CAPTURED),
        lambda: tokens.search([np.ones((2, 8), F32)], 3, stream=CAPTURED),
        lambda: tokens.rerank(texts, hits, 3, stream=CAPTURED, out=()),
    ):
        with pytest.raises(RuntimeError, match="a graph cannot copy from host memory; pass CUDA tensors"):
            call()
    assert not calls  # nothing was queued


@pytest.mark.usefixtures("emulated")
def test_graphs_have_workspaces_of_their_own(rng: np.random.Generator, calls: list[tuple[Any, ...]]) -> None:
    copy, stream = index_of(rng).to_device(), Stream(CAPTURED)
    del calls[:]
    for n in (2, 300):  # the second would make a workspace of the stream grow, and free the first's
        queries = on_device(rng.standard_normal((n, 8)).astype(F32))
        out = tuple(DeviceArray((n, 3), dtype, 0, stream) for dtype in ("int64", "float32"))
        before = len(calls)
        assert copy.search(queries, 3, stream=CAPTURED, out=out) is out
        made = of(calls[before:], "allocate", "allocate_on", "free", "free_on", "search_vectors")
        assert [call[0] for call in made] == ["allocate_on", "search_vectors", "free_on"]
        assert made[0][3] == made[2][3] == CAPTURED
    assert (0, CAPTURED) not in memory._workspaces
    assert not of(calls, "record")  # a graph's owner keeps its inputs


# ---- inputs


def test_inputs_live_until_they_are_read(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = index_of(rng).to_device()
    query = on_device(np.ones((1, 8), F32))
    held = memory.held_on(0)
    cuda.release_memory()
    counts = [references(query.buffer)]
    with monkeypatch.context() as never:
        never.setattr(memory.Held, "_happened", lambda self, event: False)
        for _ in range(2):
            copy.search(query, 1)
        cuda.maxsim(query_of(query), query_of(query))
        assert len(held) == 3
        del copy  # calls go on without the index
        gc.collect()
    counts.append(references(query.buffer))
    cuda.release_memory()
    counts.append(references(query.buffer))
    assert len(held) == 0
    assert counts == [counts[0], counts[0] + 4, counts[0]]


def query_of(exported: Any) -> Any:
    """The same memory as a text of one token."""
    text = on_device(np.ones((1, 1, 8), F32))
    text.tensor = exported.tensor._replace(shape=(1, 1, 8))
    return text


def test_an_error_forgets_no_event_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    held, asked = memory.Held(0), []
    with monkeypatch.context() as never:
        never.setattr(memory.Held, "_happened", lambda self, event: False)
        for i in range(3):
            held.hold(Stream(0), i)

    def fails_at_the_second(self: memory.Held, event: int | None) -> bool:
        asked.append(event)
        if len(asked) == 2:
            raise ValueError("an error of the device")
        return True

    monkeypatch.setattr(memory.Held, "_happened", fails_at_the_second)
    with pytest.raises(ValueError, match="an error of the device"):
        held.sweep()
    assert len(held) == 2  # the first is gone with its event
    held.sweep()
    assert len(held) == 0


# ---- workspaces


def test_workspaces_grow_and_stay_until_they_are_released(
    rng: np.random.Generator, calls: list[tuple[Any, ...]]
) -> None:
    copy = index_of(rng).to_device()
    copy.search(np.ones((1, 8), F32), 1, stream=0)
    small = memory._workspaces[0, 0].buffer
    copy.search(np.ones((500, 8), F32), 50, stream=0)
    large = memory._workspaces[0, 0].buffer
    copy.search(np.ones((1, 8), F32), 1, stream=0)
    assert memory._workspaces[0, 0].buffer is large
    assert small is not None
    assert large is not None
    assert large.bytes >= small.bytes
    pointer = large.pointer
    del small, large, calls[:]
    cuda.release_memory()
    assert not memory._workspaces
    assert calls[0] == ("synchronise", 0)
    assert ("free", 0, pointer) in calls
    assert calls[-1] == ("trim", 0)
    assert copy.search(np.ones((1, 8), F32), 1).ids.shape == (1, 1)


@pytest.mark.usefixtures("emulated")
def test_streams_live_as_long_as_what_goes_by_them(rng: np.random.Generator) -> None:
    class Cupy:
        ptr = 78

    stream = Cupy()
    gone = weakref.ref(stream)
    array = DeviceArray((4,), "float32", 0, stream)
    copy = index_of(rng).to_device()
    copy.search(np.ones((1, 8), F32), 1, stream=stream)
    del stream
    assert gone() is not None
    cuda.release_memory()  # the workspace's
    assert gone() is not None
    del array
    assert gone() is None


# ---- results


@pytest.mark.usefixtures("emulated")
def test_memory_is_freed_after_all_that_read_it(calls: list[tuple[Any, ...]]) -> None:
    array = DeviceArray((4,), "float32", 0, 5)
    pointer = array.tensor.pointer
    for stream in (1, 6, 5, 7, None):
        array.__dlpack__(stream=stream)
    assert {call[1:] for call in of(calls, "order") if call[2] == 5} == {(0, 5, x) for x in (0, 6, 7)}
    del calls[:]
    del array
    *before, last = calls
    assert sorted(before) == [("order", 0, x, 5) for x in (0, 6, 7)]
    assert last == ("free_on", 0, pointer, 5)


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("how", ["dlpack", "interface"])
def test_streams_without_a_name_are_waited_for(how: str, calls: list[tuple[Any, ...]]) -> None:
    array = DeviceArray((4,), "float32", 0, 5)
    if how == "dlpack":
        array.__dlpack__(stream=-1)
    else:
        assert array.__cuda_array_interface__["stream"] == 5
    assert not of(calls, "synchronise")
    del array
    assert [call[0] for call in calls[-2:]] == ["synchronise", "free_on"]


@pytest.mark.usefixtures("emulated")
def test_a_result_is_read_after_those_that_wrote_to_it(
    rng: np.random.Generator, calls: list[tuple[Any, ...]]
) -> None:
    copy = index_of(rng).to_device()
    out = tuple(DeviceArray((1, 3), dtype, 0, 5) for dtype in ("int64", "float32"))
    copy.search(on_device(np.ones((1, 8), F32)), 3, stream=6, out=out)
    del calls[:]
    out[0].numpy()
    assert [call[0] for call in calls] == ["order", "download"]
    assert calls[0][1:] == (0, 6, 5)


def test_memory_is_not_freed_into_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # of other tests
    array = DeviceArray((4,), "float32", 0, 0)
    made: list[tuple[Any, ...]] = []
    with monkeypatch.context() as captured:
        captured.setattr(memory, "is_capturing", lambda device, stream: True)
        captured.setattr(library.Library, "call", lambda self, *call: made.append(call))
        del array
    assert made == []
    assert len(memory._late) == 1
    memory.held_on(0).sweep()
    assert len(memory._late) == 0


def test_memory_has_one_owner(rng: np.random.Generator) -> None:
    copy = index_of(rng).to_device()
    hits = copy.search(on_device(np.ones((1, 8), F32)), 3)
    for x in (copy, hits, hits.ids, hits.ids.tensor.keeper):
        for duplicate in (copies.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=r"cannot be (copied|pickled)"):
                duplicate(x)
    with pytest.raises(TypeError, match="cannot be copied"):
        copies.copy(hits.ids.tensor.keeper)


@pytest.mark.usefixtures("emulated")
def test_too_much_memory_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        DeviceArray((1 << 58,), "float32", 0, 0)


# ---- streams


@pytest.mark.parametrize("stream", [True, 1.5, "x", "5", object()])
def test_what_is_no_stream(stream: Any) -> None:
    with pytest.raises(
        TypeError, match=f"stream: expected a handle or a stream, got {type(stream).__name__}"
    ):
        stream_of(stream, 0)


def test_streams_that_cannot_be_waited_for() -> None:
    with pytest.raises(ValueError, match=r"stream: expected .*, got the default stream of each thread"):
        stream_of(2, 0)
    with pytest.raises(ValueError, match=r"stream: expected .*, got -1"):
        stream_of(-1, 0)
    array = DeviceArray((4,), "float32", 0, 0)
    with pytest.raises(BufferError, match=r"stream: expected .*, got that of each thread"):
        array.__dlpack__(stream=2)


def test_results_are_given_where_they_are() -> None:
    array = DeviceArray((4,), "float32", 0, 0)
    assert array.__dlpack__(max_version=(1, 1), dl_device=(2, 0), copy=False) is not None
    for asked in ({"dl_device": (1, 0)}, {"dl_device": (2, 1)}, {"copy": True}):
        with pytest.raises(BufferError, match="without a copy"):
            array.__dlpack__(**asked)


# ---- arrays of others


def test_arrays_that_are_refused(rng: np.random.Generator) -> None:
    copy, ones = index_of(rng).to_device(), np.ones((2, 8), F32)
    queries = on_device(ones)
    ids, scores = DeviceArray((2, 3), "int64", 0, 0), np.ones((2, 3), F32)
    with pytest.raises(ValueError, match="out: expected an array that may be written"):
        copy.search(queries, 3, out=(ids, Interface(scores)))
    written = Interface(scores)
    written.__cuda_array_interface__["data"] = (written.buffer.pointer, False)
    copy.search(queries, 3, out=(ids, written))
    with pytest.raises(TypeError, match="queries: expected an array without a mask"):
        copy.search(Interface(ones, mask=Interface(ones)), 3)
    with pytest.raises(ValueError, match="queries: expected memory of a device, got none"):
        copy.search(Interface(ones, data=(0, True)), 3)
    with pytest.raises(ValueError, match="queries: expected memory of a device, got none"):
        copy.search(Interface(ones, data=(None, True)), 3)
    queries.tensor = queries.tensor._replace(pointer=queries.tensor.pointer + 2)
    with pytest.raises(ValueError, match="queries: expected an address that is a multiple of 4, got 0x"):
        copy.search(queries, 3)


def test_where_an_array_lies(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its interface does not tell."""
    call, where = library.Library.call, [1]

    def elsewhere(self: library.Library, name: str, *arguments: Any) -> None:
        call(self, name, *arguments)
        if name == "device_of":
            arguments[1]._obj.value = where[0]

    copy = index_of(rng).to_device()
    monkeypatch.setattr(library.Library, "call", elsewhere)
    with pytest.raises(ValueError, match="queries: expected a tensor of device 0, got one of 1"):
        copy.search(Interface(np.ones((2, 8), F32)), 3)
    where[0] = -1
    with pytest.raises(TypeError, match="documents: expected memory of a device, got an address of the host"):
        cuda.maxsim(on_device(np.ones((2, 8), F32)), Interface(np.ones((2, 3, 8), F32)))


def test_a_wrong_out_queues_nothing(calls: list[tuple[Any, ...]]) -> None:
    odd = on_device(np.ones((2, 3, 5), F32))  # rows that have to be placed first
    out = DeviceArray((2, 3), "float32", 0, 0)
    del calls[:]
    with pytest.raises(ValueError, match=r"out: expected shape \[2, 2\], got \[2, 3\]"):
        cuda.maxsim(odd, odd, out=out)
    assert not calls
