"""What all indexes share: ids, filters, and that a call that fails changes nothing."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from levels import run_python, same_bits
from tercet import FlatIndex, HNSWIndex, MultiVectorIndex, PackedMask

Array = npt.NDArray[Any]
F32 = np.float32
DIM = 4
KINDS = {
    "flat": lambda codec="float32": FlatIndex(DIM, metric="dot", codec=codec),
    "multivector": lambda codec="float32": MultiVectorIndex(DIM, codec=codec),
}


@pytest.fixture(params=KINDS)
def index(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]()


def documents(index: Any, n: int, start: int = 1) -> Array:
    """Documents that score start * 4, (start + 1) * 4, ... with `query`."""
    rows = np.arange(start, start + n, dtype=F32)[:, None] * np.ones(DIM, F32)
    return rows if isinstance(index, FlatIndex) else rows[:, None]


def query(n: int = 1) -> Array:
    return np.ones((n, 1, DIM), F32)


def search(index: Any, k: int = 10, *, n: int = 1, **options: Any) -> Any:
    return index.search(query(n)[:, 0] if isinstance(index, FlatIndex) else query(n), k, **options)


def found(index: Any, **options: Any) -> list[Any]:
    return [hit.id for hit in search(index, 20, **options)[0]]


# ---- ids


def test_ids_are_kept_as_given(index: Any) -> None:
    assert index.add(documents(index, 3), [7, 2**63 - 1, 0]).tolist() == [7, 2**63 - 1, 0]
    assert index.ids.dtype == np.int64
    assert found(index) == [0, 2**63 - 1, 7]
    assert 7 in index
    assert 8 not in index


def test_string_ids(index: Any) -> None:
    names = ["b", "ä", "\U0001f600", "a b\nc", "x\0y", "0"]
    assert index.add(documents(index, 6), names).tolist() == names
    assert index.ids.dtype == object
    assert index.ids.tolist() == names
    assert found(index) == names[::-1]
    assert "ä" in index
    assert "a" not in index
    assert 0 not in index
    index.remove("ä")
    assert found(index, filter=["x\0y", "b", "ä"]) == ["x\0y", "b"]


@pytest.mark.parametrize(
    "ids",
    [
        (5, 6, 7),
        range(5, 8),
        {5: 0, 6: 0, 7: 0},
        np.array([5, 6, 7], np.uint8),
        np.array([5, 6, 7], np.uint64),
        np.array([5, 6, 7], ">i8"),
        np.array([5, 0, 6, 0, 7])[::2],
        np.array([5, 6, 7], object),
        [np.int32(5), np.uint64(6), np.array(7)],
    ],
    ids=repr,
)
def test_integers_of_every_kind(ids: Any, index: Any) -> None:
    assert index.add(documents(index, 3), ids).tolist() == [5, 6, 7]
    assert index.ids.dtype == np.int64


def test_ids_from_a_generator(index: Any) -> None:
    assert index.add(documents(index, 3), (i for i in (5, 6, 7))).tolist() == [5, 6, 7]
    assert found(index, filter=(i for i in (5, 7, 9))) == [7, 5]
    index.remove(i for i in (5, 6))
    assert index.ids.tolist() == [7]


@pytest.mark.parametrize(
    "ids", [("a", "b"), np.array(["a", "b"]), np.array(["a", "b"], object), [np.str_("a"), "b"]]
)
def test_strings_of_every_kind(ids: Any, index: Any) -> None:
    assert index.add(documents(index, 2), ids).tolist() == ["a", "b"]
    assert type(index.ids[0]) is str


@pytest.mark.parametrize("one", [5, np.int64(5), np.array(5), np.uint8(5)], ids=repr)
def test_one_integer(one: Any, index: Any) -> None:
    """An id out of hits.ids is a numpy scalar."""
    index.add(documents(index, 1), one)
    assert one in index
    assert found(index, filter=one) == [5]
    assert len(index.get(one)) == 1
    index.remove(one)
    assert len(index) == 0


@pytest.mark.parametrize("one", ["a", np.str_("a"), np.array("a")], ids=repr)
def test_one_string(one: Any, index: Any) -> None:
    index.add(documents(index, 1), one)
    assert one in index
    assert found(index, filter=one) == ["a"]
    index.remove(one)
    assert len(index) == 0


def test_ids_from_tensors(index: Any) -> None:
    torch = pytest.importorskip("torch")
    assert index.add(documents(index, 3), torch.tensor([5, 6, 7])).tolist() == [5, 6, 7]
    assert found(index, filter=torch.tensor([6, 9])) == [6]
    assert found(index, filter=torch.tensor([True, False, True])) == [7, 5]
    index.remove(torch.tensor([5, 6]))
    assert index.ids.tolist() == [7]


def test_numbering(index: Any) -> None:
    assert index.add(documents(index, 2)).tolist() == [0, 1]
    index.add(documents(index, 1), [10])
    assert index.add(documents(index, 2)).tolist() == [11, 12]
    index.remove([11, 12])
    assert index.add(documents(index, 1)).tolist() == [13]
    index.remove(index.ids)
    assert index.add(documents(index, 1)).tolist() == [14]
    index.add(documents(index, 1), [3])
    assert index.add(documents(index, 1)).tolist() == [15]


def test_numbers_run_out(index: Any) -> None:
    index.add(documents(index, 1), [2**63 - 1])
    with pytest.raises(ValueError, match="no integers left"):
        index.add(documents(index, 1))
    assert index.add(documents(index, 1), [0]).tolist() == [0]


def test_an_empty_index_takes_either_kind(index: Any) -> None:
    index.add(documents(index, 2))
    index.remove([0, 1])
    assert index.add(documents(index, 1), ["a"]).tolist() == ["a"]
    index.remove("a")
    assert index.add(documents(index, 1), [0]).tolist() == [0]


def test_replacing(index: Any) -> None:
    index.add(documents(index, 4), [1, 2, 3, 4])
    index.add(documents(index, 3, start=10), [3, 9, 1])
    assert index.ids.tolist() == [1, 2, 3, 4, 9]
    assert [tuple(hit) for hit in search(index)[0]] == [(1, 48), (9, 44), (3, 40), (4, 16), (2, 8)]


def test_removing(index: Any) -> None:
    index.add(documents(index, 6))
    index.remove([5, 0, 3])
    assert found(index) == [4, 2, 1]
    assert sorted(index.ids.tolist()) == [1, 2, 4]
    index.remove([])
    assert len(index) == 3
    index.remove(index.ids)
    assert found(index) == []
    assert search(index, 3).ids.tolist() == [[-1, -1, -1]]


def test_get_keeps_the_order(index: Any) -> None:
    index.add(documents(index, 4), ["a", "b", "c", "d"])
    got = index.get(["c", "a"])
    values = got if isinstance(index, FlatIndex) else got.values
    assert values[:, 0].tolist() == [3, 1]


def test_an_id_is_removed_once(index: Any) -> None:
    index.add(documents(index, 3), [1, 2, 3])
    with pytest.raises(ValueError, match="twice in one call: 2"):
        index.remove([2, 1, 2])
    assert index.ids.tolist() == [1, 2, 3]


@pytest.mark.parametrize("ids", [[30, 10, 20], ["c", "a", "b"]], ids=["int", "str"])
@pytest.mark.parametrize("cls", [FlatIndex, HNSWIndex])
def test_an_id_may_be_asked_for_twice(cls: Any, ids: Any) -> None:
    index = cls(DIM, metric="dot")
    index.add(np.arange(3, dtype=F32)[:, None] * np.ones(DIM, F32), ids)
    wanted = [ids[i] for i in (1, 0, 1, 2, 1)]
    for given in (wanted, np.array(wanted), (i for i in wanted)):
        assert index.get(given)[:, 0].tolist() == [1, 0, 1, 2, 1]
    with pytest.raises(KeyError, match="not in this index: 77"):
        index.get([ids[0], ids[0], type(ids[0])(77)])


def test_nothing_to_get(index: Any) -> None:
    for ids in ([0], ["a"]):
        assert len(index.get([])) == 0
        index.add(documents(index, 1), ids)
        assert len(index.get([])) == 0
        index.remove(ids)


# ---- calls that fail

BAD_IDS: list[tuple[Any, type[Exception], str]] = [
    ([0, -1, 2], ValueError, "integers >= 0, got -1"),
    ([0, 1, 1], ValueError, "twice in one call: 1"),
    ([0, 1], ValueError, "expected 3.*got 2"),
    ([0, 1, 2, 3], ValueError, "expected 3.*got 4"),
    ([], ValueError, "expected 3.*got 0"),
    (5, ValueError, "expected 3.*got 1"),
    ([0, 1, 2**63], ValueError, r"below 2\*\*63"),
    (np.array([0, 1, 2**63], np.uint64), ValueError, r"below 2\*\*63"),
    ([[0, 1, 2]], (TypeError, ValueError), "ids"),  # type: ignore[list-item]
    (np.zeros((3, 1), int), ValueError, r"one dimension, got shape \[3, 1\]"),
    ([0, 1, 2.0], TypeError, "got 2.0"),
    (np.array([0, 1, 2.0]), TypeError, "got 0.0"),
    ([0, 1, True], TypeError, "got True"),
    (np.array([True, False, True]), TypeError, "got True"),
    ([0, 1, None], TypeError, "got None"),
    ([0, 1, "2"], TypeError, "all integers or all strings, got '2'"),
    (["0", "1", 2], TypeError, "all integers or all strings"),
    (["a", "b", "c"], TypeError, "int ids, got str"),
    ("abc", ValueError, "expected 3.*got 1"),
    (b"abc", TypeError, "ids"),
    ([b"a", b"b", b"c"], TypeError, "got b'a'"),
    (1.5, TypeError, "float"),
]


@pytest.mark.parametrize(("ids", "kind", "message"), BAD_IDS, ids=[repr(b[0]) for b in BAD_IDS])
def test_bad_ids(ids: Any, kind: type[Exception], message: str, index: Any) -> None:
    index.add(documents(index, 4), [0, 1, 2, 3])
    before = search(index)
    with pytest.raises(kind, match=message):
        index.add(documents(index, 3, start=50), ids)
    assert index.ids.tolist() == [0, 1, 2, 3]
    assert same_bits(search(index).scores, before.scores)
    assert index.add(documents(index, 1)).tolist() == [4]


@pytest.mark.parametrize(
    ("ids", "kind", "message"),
    [
        (["a", "", "b"], ValueError, "non-empty strings"),
        (["a", "b", "a"], ValueError, "twice in one call: a"),
        ([1, 2, 3], TypeError, "str ids, got int"),
        (None, ValueError, "str ids, so each .* needs one"),
        (["a", "b", "\ud800"], ValueError, "surrogate|UTF-8|utf-8"),
    ],
)
def test_bad_string_ids(ids: Any, kind: type[Exception], message: str, index: Any) -> None:
    index.add(documents(index, 2), ["a", "z"])
    before = search(index)
    with pytest.raises(kind, match=message):
        index.add(documents(index, 3, start=50), ids)
    assert index.ids.tolist() == ["a", "z"]
    assert same_bits(search(index).scores, before.scores)


def test_a_bad_row_changes_nothing(index: Any) -> None:
    index.add(documents(index, 3))
    before, size = search(index), index.nbytes
    bad = documents(index, 3, start=7)
    bad[1, ..., 2] = np.nan
    for ids in (None, [0, 1, 2], [3, 4, 5], [2, 3, 4]):
        with pytest.raises(ValueError, match="vectors: row 1 has a value that is not finite"):
            index.add(bad, ids)
    assert index.ids.tolist() == [0, 1, 2]
    assert index.nbytes == size
    assert same_bits(search(index).scores, before.scores)
    assert index.add(documents(index, 1)).tolist() == [3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("codec", ["bfloat16", "int8"])
def test_values_that_a_codec_cannot_hold(kind: str, codec: str) -> None:
    index = KINDS[kind](codec)
    bad = documents(index, 3)
    bad[2] = np.finfo(F32).max
    with pytest.raises(ValueError, match=r"vectors: row 2 has a magnitude of 3\.4.*codec"):
        index.add(bad)
    with pytest.raises(ValueError, match=r"queries: row 2 has a magnitude of 3\.4.*codec"):
        index.search(bad)
    assert len(index) == 0


@pytest.mark.parametrize("verb", ["remove", "get"])
def test_unknown_ids_are_named(verb: str, index: Any) -> None:
    index.add(documents(index, 3), [1, 2, 3])
    with pytest.raises(KeyError, match="4, 9"):
        getattr(index, verb)([1, 4, 2, 9])
    with pytest.raises(KeyError, match=r"10, 11, 12, 13, 14, \.\.\. \(90 in all\)"):
        getattr(index, verb)(range(10, 100))
    with pytest.raises(KeyError):
        getattr(index, verb)([-1])
    with pytest.raises(TypeError, match="int ids, got str"):
        getattr(index, verb)(["a"])
    with pytest.raises(TypeError, match="None"):
        getattr(index, verb)(None)
    assert index.ids.tolist() == [1, 2, 3]


def test_unknown_strings_are_named(index: Any) -> None:
    index.add(documents(index, 2), ["a", "b"])
    with pytest.raises(KeyError, match="x, y"):
        index.remove(["x", "a", "y"])
    assert index.ids.tolist() == ["a", "b"]


def test_removing_from_an_empty_index(index: Any) -> None:
    for ids in ([0], ["a"]):
        with pytest.raises(KeyError, match=str(ids[0])):
            index.remove(ids)


@pytest.mark.parametrize("odd", [None, 1.0, (), [1], {}, b"a", np.array([1, 2]), True], ids=repr)
def test_odd_things_are_not_in_an_index(odd: Any, index: Any) -> None:
    index.add(documents(index, 3))
    assert odd not in index


BAD_SETTINGS: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (0, {}, ValueError, "dim: expected 1 to 65535, got 0"),
    (-3, {}, ValueError, "dim: .*got -3"),
    (65536, {}, ValueError, "dim: .*got 65536"),
    (2.0, {}, TypeError, "dim: expected an integer, got float"),
    ("3", {}, TypeError, "dim: expected an integer, got str"),
    (True, {}, TypeError, "dim: expected an integer, got bool"),
    (None, {}, TypeError, "dim"),
    (3, {"codec": "int7"}, ValueError, "codec: expected .*int8.*got 'int7'"),
    (3, {"codec": None}, ValueError, "codec"),
]


@pytest.mark.parametrize(("dim", "settings", "kind", "message"), BAD_SETTINGS)
@pytest.mark.parametrize("cls", [FlatIndex, MultiVectorIndex])
def test_bad_settings(cls: Any, dim: Any, settings: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        cls(dim, **settings)


# ---- filters


def test_filters(index: Any) -> None:
    index.add(documents(index, 5))
    mask = np.array([True, False, True, False, True])
    assert found(index, filter=[1, 3, 3, 77]) == [3, 1]
    assert found(index, filter=(1, 3)) == [3, 1]
    assert found(index, filter={0}) == [0]
    assert found(index, filter=np.array([4, 2])) == [4, 2]
    assert found(index, filter=range(3)) == [2, 1, 0]
    assert found(index, filter=3) == [3]
    assert found(index, filter=mask) == [4, 2, 0]
    assert found(index, filter=mask.tolist()) == [4, 2, 0]
    assert found(index, filter=mask[::-1][::-1]) == [4, 2, 0]
    assert found(index, filter=~mask) == [3, 1]
    assert found(index, filter=PackedMask.pack(mask)) == [4, 2, 0]
    assert found(index, filter=PackedMask(np.array([0b11101010], np.uint8), 5)) == [3, 1]  # 5 bits count
    assert found(index, filter=np.array([0, 3], np.uint8)) == [3, 0]  # ids
    assert found(index, filter=index.ids > 2) == [4, 3]
    for nothing in ([], (), set(), [77], np.zeros(5, bool), np.array([], int), -5):
        assert found(index, filter=nothing) == []


def test_a_mask_follows_the_order_of_ids(index: Any) -> None:
    index.add(documents(index, 6), ["f", "e", "d", "c", "b", "a"])
    index.remove(["f", "d"])
    for name in index.ids:
        assert found(index, filter=index.ids == name) == [name]


def test_filters_for_each_query(index: Any) -> None:
    index.add(documents(index, 4))
    mask = np.array([True, False, False, True])
    hits = search(index, 4, n=5, filter=[[1], None, mask, [], {2, 9}])
    assert [[hit.id for hit in query] for query in hits] == [[1], [3, 2, 1, 0], [3, 0], [], [2]]
    hits = search(index, 4, n=2, filter=[PackedMask.pack(mask), ~mask])
    assert [[hit.id for hit in query] for query in hits] == [[3, 0], [2, 1]]
    hits = search(index, 4, n=2, filter=np.stack([mask, ~mask]))
    assert [[hit.id for hit in query] for query in hits] == [[3, 0], [2, 1]]
    assert found(index, filter=[mask]) == [3, 0]
    assert found(index, filter=[None]) == [3, 2, 1, 0]


def test_masks_for_each_query_may_be_a_tensor(index: Any) -> None:
    torch = pytest.importorskip("torch")
    index.add(documents(index, 3))
    masks = torch.tensor([[True, False, False], [False, True, True]])
    assert [[hit.id for hit in query] for query in search(index, 4, n=2, filter=masks)] == [[0], [2, 1]]


def test_results_are_the_fewer_of_k_and_the_allowed(index: Any) -> None:
    index.add(documents(index, 9))
    for allowed in range(10):
        for k in (1, 5, 20):
            hits = search(index, k, n=2, filter=list(range(allowed)))
            assert [len(query) for query in hits] == [min(k, allowed)] * 2
            assert (hits.ids[:, allowed:] == -1).all()
            assert (hits.scores[:, allowed:] == -np.inf).all()


@pytest.mark.parametrize(
    ("filter", "kind", "message"),
    [
        (np.ones(4, bool), ValueError, "filter: expected a mask of 3.*got 4"),
        ([True, False], ValueError, "filter: expected a mask of 3.*got 2"),
        (PackedMask.pack(np.ones(4, bool)), ValueError, "filter: expected a mask of 3.*got 4"),
        (np.ones((3, 3), bool), ValueError, "filter: expected one for each of 2 queries, got 3"),
        (np.ones((2, 3, 1), bool), ValueError, r"filter: expected a mask bool\[n\], got shape \[2, 3, 1\]"),
        ([[1]], ValueError, "filter: expected one for each of 2 queries, got 1"),
        ([[1], [2], [3]], ValueError, "filter: expected one for each of 2 queries, got 3"),
        ([[1], [[2]]], TypeError, "filter: .*got "),
        ([np.ones((2, 2), int), [1]], ValueError, r"filter: expected one dimension, got shape \[2, 2\]"),
        (["a"], TypeError, "filter: this index has int ids, got str"),
        ([[1], ["a"]], TypeError, "filter: this index has int ids, got str"),
        (["\ud800"], ValueError, "filter: .*surrogate"),
        ([2**63], ValueError, "filter: "),
        ([1.5], TypeError, "filter: .*got 1.5"),
        ([1, True], TypeError, "filter: .*got True"),
        (object(), TypeError, "filter: .*object"),
        (np.ones(3, np.uint8), TypeError, "filter: a mask is bool, .*got uint8 of 0 and 1"),
        (np.ones(3, "m8[s]"), TypeError, "filter: .*timedelta"),
    ],
)
def test_bad_filters(filter: Any, kind: Any, message: str, index: Any) -> None:
    index.add(documents(index, 3))
    with pytest.raises(kind, match=f"^{message}"):
        search(index, n=2, filter=filter)


def test_a_mask_of_other_bytes_than_0_and_1(index: Any) -> None:
    index.add(documents(index, 200))
    for byte in (2, 3, 128, 255):
        raw = np.zeros(200, np.uint8)
        raw[[5, 17, 70, 198]] = byte
        assert sorted(found(index, filter=raw.view(bool))) == [5, 17, 70, 198]


# ---- threads and processes


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("codec", ["float32", "int8"])
def test_concurrent_changes_and_searches(kind: str, codec: str) -> None:
    """Whoever searches sees each document as it was or as it is, never half of it."""
    index = KINDS[kind](codec)
    stop, failures = threading.Event(), []

    def guarded(body: Any) -> Any:
        def run() -> None:
            try:
                body()
            except BaseException as e:
                failures.append(e)
            finally:
                stop.set()

        return threading.Thread(target=run)

    def change() -> None:
        for turn in range(120):
            index.add(documents(index, 50, start=1 if turn % 2 else 1001), range(50), threads=2)
            index.add(documents(index, 300), range(100, 400), threads=2)
            index.remove(range(100 + turn, 400))

    def look() -> None:
        while not stop.is_set():
            hits = search(index, 60, threads=2)
            assert (np.diff(hits.scores[0][: len(hits[0])]) <= 0).all()
            for id, score in hits[0]:
                rank = round(score / 4)  # documents are the multiples of one vector
                wanted = {id + 1, id + 1001} if id < 50 else {id - 99}
                assert min(abs(rank - w) / w for w in wanted) < 0.01

    threads = [guarded(change), guarded(look), guarded(look)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_search_in_a_forked_child() -> None:
    code = """if True:
        import os, signal, sys, threading
        import numpy as np, tercet
        rng = np.random.default_rng(0)
        rows = rng.standard_normal((20000, 16)).astype(np.float32)
        flat, multi = tercet.FlatIndex(16), tercet.MultiVectorIndex(16)
        flat.add(rows)
        multi.add(rows.reshape(2000, 10, 16))
        answers = lambda: (flat.search(rows[:40], 5, threads=4).ids, multi.search(rows[:9], 5, threads=4).ids)
        want = answers()
        busy = threading.Thread(target=lambda: [answers() for _ in range(3)])
        busy.start()  # the pool has work while it is forked
        for _ in range(3):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                got = answers()
                tercet.FlatIndex(16).add(rows, threads=4)
                grandchild = os.fork()
                if grandchild == 0:
                    os._exit(0 if (answers()[1] == want[1]).all() else 1)
                status = os.waitpid(grandchild, 0)[1]
                os._exit(0 if status == 0 and all(map(np.array_equal, got, want)) else 1)
            assert os.waitpid(child, 0)[1] == 0
        busy.join()
        assert all(map(np.array_equal, answers(), want))
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_bad_number_of_threads_changes_nothing(index: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add(documents(index, 2))
    monkeypatch.setenv("TERCET_NUM_THREADS", "many")
    for call in (lambda: index.add(documents(index, 1)), lambda: search(index)):
        with pytest.raises(ValueError, match='TERCET_NUM_THREADS: expected 1 to 4096, got "many"'):
            call()
    assert index.ids.tolist() == [0, 1]
    monkeypatch.setenv("TERCET_NUM_THREADS", "2")
    assert found(index) == [1, 0]
    for threads in (0, -1, 4097):
        with pytest.raises(ValueError, match=f"threads: expected 1 to 4096, got {threads}"):
            index.add(documents(index, 1), threads=threads)
        with pytest.raises(ValueError, match=f"threads: expected 1 to 4096, got {threads}"):
            search(index, threads=threads)
    assert index.ids.tolist() == [0, 1]


@pytest.mark.parametrize("k", [0, -1, 2**31])
def test_bad_k(k: int, index: Any) -> None:
    index.add(documents(index, 2))
    with pytest.raises(ValueError, match=f"k: expected at least 1.*got {k}"):
        search(index, k)
    with pytest.raises(TypeError, match="k: expected an integer, got float"):
        search(index, 1.0)  # type: ignore[arg-type]


def test_pickle_and_copy(index: Any) -> None:
    index.add(documents(index, 5), ["a", "b", "c", "d", "e"])
    for twin in (pickle.loads(pickle.dumps(index)), copy.deepcopy(index)):
        assert type(twin) is type(index)
        assert twin.stats() == index.stats()
        query = documents(index, 1, 3)
        assert twin.search(query, 5).ids.tolist() == index.search(query, 5).ids.tolist()
        twin.remove("a")
    assert len(index) == 5


def test_ids_without_an_order(index: Any) -> None:
    with pytest.raises(TypeError, match="ids: expected a list of integers or strings, got set"):
        index.add(documents(index, 2), {"x", "y"})
    assert len(index) == 0


def test_text_is_no_vector(index: Any) -> None:
    with pytest.raises(TypeError, match="queries: expected vectors, got text"):
        index.search("what causes anaemia?")


def test_errors_name_the_filter(index: Any) -> None:
    index.add(documents(index, 2))
    with pytest.raises(TypeError, match="filter: expected integers or strings, got function"):
        index.search(documents(index, 1), filter=lambda id: True)


def test_writers_are_not_starved(index: Any) -> None:
    """Searches that always overlap must not keep an add from beginning."""
    index.add(documents(index, 2000))
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            index.search(documents(index, 40), 5, threads=1)

    searching = [threading.Thread(target=search) for _ in range(6)]
    for thread in searching:
        thread.start()
    adding = threading.Thread(target=lambda: index.add(documents(index, 1), [99999]), daemon=True)
    adding.start()
    adding.join(60)
    began = not adding.is_alive()
    done.set()
    for thread in searching:
        thread.join()
    assert began
