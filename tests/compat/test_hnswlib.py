"""tercet.compat.hnswlib: the same tests for it and, where it is installed, for hnswlib."""

from __future__ import annotations

import copy
import pickle
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tercet.compat import hnswlib as ours

Array = npt.NDArray[Any]
SPACES = ("l2", "ip", "cosine")
TOO_FEW = "Cannot return the results in a contiguous 2D array"


def load(name: str) -> Any:
    return ours if name == "tercet" else pytest.importorskip("hnswlib")


@pytest.fixture(params=["tercet", "hnswlib"])
def module(request: pytest.FixtureRequest) -> Any:
    return load(request.param)


def vectors(n: int, dim: int = 16, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def made(
    module: Any, rows: Array, ids: Any = None, space: str = "l2", spare: int = 0, **settings: Any
) -> Any:
    index = module.Index(space, rows.shape[1])
    index.init_index(len(rows) + spare, **settings)
    index.set_ef(100)
    index.add_items(rows, ids)
    return index


def distances(rows: Array, queries: Array, space: str) -> Array:
    """The slow truth, ``[queries, rows]``."""
    a, b = rows.astype(float), queries.astype(float)
    if space == "l2":
        return ((b[:, None] - a[None]) ** 2).sum(axis=2)
    if space == "cosine":
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return 1 - b @ a.T


def recall(labels: Array, rows: Array, ids: Array, queries: Array, space: str = "l2") -> float:
    best = ids[np.argsort(distances(rows, queries, space), axis=1)[:, : labels.shape[1]]]
    pairs = zip(labels.tolist(), best.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))


# ---- what both do


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kind", ["Index", "BFIndex"])
def test_search(module: Any, kind: str, space: str) -> None:
    rows, queries, ids = vectors(1500), vectors(100, seed=1), np.arange(1500) * 3 + 5
    index = made(module, rows, ids, space) if kind == "Index" else module.BFIndex(space, 16)
    if kind == "BFIndex":
        index.init_index(max_elements=1500)
        index.add_items(rows, ids)
        if space == "cosine":  # hnswlib does not normalise the queries of this one
            queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    labels, found = index.knn_query(queries, k=10)
    assert (labels.dtype, found.dtype, labels.shape, found.shape) == (
        np.uint64,
        np.float32,
        (100, 10),
        (100, 10),
    )
    assert recall(labels, rows, ids, queries, space) > (0.95 if kind == "Index" else 0.999)
    assert (np.diff(found) >= 0).all()
    truth = distances(rows, queries, space)
    want = np.take_along_axis(truth, ((labels - 5) // 3).astype(int), axis=1)
    np.testing.assert_allclose(found, want, atol=2e-5, rtol=1e-5)
    for one in (queries[3], queries[3].tolist(), queries[3].astype(np.float64)):
        assert index.knn_query(one, k=2, num_threads=1)[0].tolist() == labels[3:4, :2].tolist()
    assert index.knn_query(queries[0])[0].shape == (1, 1)
    assert index.knn_query(queries[:3], k=0)[0].shape == (3, 0)
    assert repr(index) == f"<hnswlib.{kind}(space='{space}', dim=16)>"


@pytest.mark.parametrize("space", SPACES)
def test_search_one_at_a_time(module: Any, space: str) -> None:
    """Of many queries at once, tercet compares small indexes with all: this is the graph."""
    rows, queries = vectors(5000), vectors(100, seed=1)
    index = made(module, rows, space=space)
    index.set_ef(64)
    labels = np.concatenate([index.knn_query(query, k=10)[0] for query in queries])
    assert recall(labels, rows, np.arange(5000), queries, space) > (0.9 if space == "ip" else 0.95)
    again = pickle.loads(pickle.dumps(index))
    labels = np.concatenate([again.knn_query(query, k=10)[0] for query in queries])
    assert recall(labels, rows, np.arange(5000), queries, space) > (0.9 if space == "ip" else 0.95)


def test_settings(module: Any) -> None:
    index = module.Index(space="cosine", dim=8)
    assert (index.ef, index.M, index.ef_construction, index.max_elements, index.element_count) == (
        10,
        0,
        0,
        0,
        0,
    )
    assert index.num_threads >= 1
    index.init_index(max_elements=50)
    assert (index.M, index.ef_construction, index.max_elements, index.element_count) == (16, 200, 50, 0)
    index.set_ef(77)
    index.set_num_threads(3)
    assert (index.space, index.dim, index.ef, index.num_threads) == ("cosine", 8, 77, 3)
    index.ef, index.num_threads = 78, 2
    assert (index.ef, index.num_threads) == (78, 2)
    index.add_items(vectors(3, 8))
    assert (index.get_max_elements(), index.get_current_count(), index.element_count) == (50, 3, 3)
    for name in ("space", "dim", "M", "ef_construction", "max_elements", "element_count"):
        with pytest.raises(AttributeError):
            setattr(index, name, 1)
    narrow = module.Index("l2", 8)
    narrow.init_index(5, M=20, ef_construction=10)
    assert narrow.ef_construction == 20
    with pytest.raises(RuntimeError, match="already initiated"):
        index.init_index(50)
    with pytest.raises(RuntimeError, match="Space name must be one of l2, ip, or cosine"):
        module.Index("manhattan", 8)


@pytest.mark.parametrize("kind", ["Index", "BFIndex"])
def test_other_attributes(module: Any, kind: str) -> None:
    index = getattr(module, kind)("l2", 8)
    for name in ("num_thread", "Ef", "max_element", "_threads_"):
        with pytest.raises(AttributeError):
            setattr(index, name, 2)
    assert not hasattr(index, "__dict__")
    assert weakref.ref(index)() is index
    index.num_threads = 3
    for wrong in ("a", 1.5, None):
        with pytest.raises(TypeError):
            index.num_threads = wrong
    with pytest.raises(AttributeError):
        del index.num_threads
    assert index.num_threads == 3


def test_numbers(module: Any) -> None:
    rows = vectors(30)
    index = made(module, rows, spare=5)
    flat = module.BFIndex("l2", 16)
    flat.init_index(30)
    flat.add_items(rows)
    for one in (index, flat):
        for k in (True, np.True_, np.int32(1), np.array(1)):
            assert one.knn_query(rows[:3], k, True)[0].tolist() == [[0], [1], [2]]
        assert one.knn_query(rows[:3], False)[0].shape == (3, 0)
        assert one.knn_query(rows[:3], 1, -5)[0].shape == (3, 1)
        for wrong in (-1, 2.0, "2", None, [2]):
            with pytest.raises(TypeError):
                one.knn_query(rows[:3], wrong)
    for call in (
        index.mark_deleted,
        index.unmark_deleted,
        index.set_ef,
        index.resize_index,
        flat.delete_vector,
        module.Index("l2", 16).init_index,
        module.BFIndex("l2", 16).init_index,
        lambda x: module.Index("l2", 16).init_index(5, M=x),
        lambda x: module.Index("l2", 16).init_index(5, random_seed=x),
        lambda x: setattr(index, "ef", x),
        lambda x: module.Index("l2", 16).load_index("none", x),
    ):
        for wrong in (-1, 2.0, "2", None, [2]):
            with pytest.raises(TypeError):
                call(wrong)
    index.mark_deleted(True)
    flat.delete_vector(True)
    for one in (index, flat):
        assert 1 not in one.knn_query(rows, 20)[0]
    index.ef = True
    assert index.ef == 1
    for label in (2**63 - 1, 2**63):
        with pytest.raises(RuntimeError, match="Label not found"):
            index.mark_deleted(label)


def test_items(module: Any) -> None:
    rows = vectors(60)
    index = made(module, rows, np.arange(60) + 100)
    assert sorted(index.get_ids_list()) == list(range(100, 160))
    got = index.get_items([105, 100])
    assert got.dtype == np.float32
    assert np.array_equal(got, rows[[5, 0]])
    assert index.get_items(np.array([103]), return_type="list") == rows[3:4].tolist()
    assert np.array_equal(index.get_items((101, 101, 100, 101)), rows[[1, 1, 0, 1]])
    assert index.get_items([159, 159], return_type="list") == rows[[59, 59]].tolist()
    assert index.get_items().shape == index.get_items([]).shape == (0,)
    unit = made(module, rows, space="cosine")
    np.testing.assert_allclose(unit.get_items([4])[0], rows[4] / np.linalg.norm(rows[4]), atol=1e-6)
    with pytest.raises(RuntimeError, match="Label not found: 5" if module is ours else "Label not found"):
        index.get_items([5])
    with pytest.raises(ValueError, match="get_items accepts a list of indices"):
        index.get_items(105)
    with pytest.raises(OverflowError):
        index.get_items([-1])
    if module is ours:  # hnswlib gives as many as there are rows
        with pytest.raises(ValueError, match=r"expected one dimension, got shape \[2, 1\]"):
            index.get_items(np.array([[100], [101]]))
    with pytest.raises(ValueError, match='return_type should be "numpy" or "list"'):
        index.get_items([105], return_type="tuple")


def test_added_items(module: Any) -> None:
    rows = vectors(20)
    index = made(module, rows, spare=9)
    index.add_items(rows[0] + 1)
    index.add_items((rows[:1] * 100).astype(np.int32), 31)
    index.add_items(rows[:2].tolist(), [32, 33])
    index.add_items(rows[:1], np.array(34, np.uint8))
    index.add_items(rows[1].astype(np.float64), [5])  # replaces
    index.add_items(rows[:2], [6, 6], num_threads=1)
    index.add_items(rows[:0])
    assert sorted(index.get_ids_list()) == [*range(21), 31, 32, 33, 34]
    assert np.array_equal(index.get_items([5, 6, 20]), np.stack([rows[1], rows[1], rows[0] + 1]))
    count = index.element_count
    for data, ids, message in [
        (rows[:, :9], None, "Wrong dimensionality of the vectors"),
        ([], None, "Wrong dimensionality of the vectors"),
        (rows[None], None, "Number of dimensions 3. Data must be a 1D or 2D array"),
        (3.0, None, "Number of dimensions 0"),
        (rows[:3], [1, 2], "The input label shape 1 does not match the input data vector shape 3"),
        (rows[:2], [[1], [2]], "The input label shape 2 does not match the input data vector shape 2"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            index.add_items(data, ids)
    with pytest.raises(OverflowError):
        index.add_items(rows[:1], [-1])
    with pytest.raises(ValueError, match="could not convert string"):
        index.add_items(["a text"])
    with pytest.raises(ValueError, match=r"ids|invalid literal"):
        index.add_items(rows[:1], ["a label"])
    assert index.element_count == count
    with pytest.raises(RuntimeError, match="The number of elements exceeds the specified limit"):
        index.add_items(rows, np.arange(100, 120))


def test_resize(module: Any) -> None:
    rows = vectors(90)
    index = made(module, rows[:30])
    with pytest.raises(RuntimeError, match="exceeds the specified limit"):
        index.add_items(rows[30], [30])
    with pytest.raises(RuntimeError, match="Cannot resize, max element is less than the current number"):
        index.resize_index(29)
    index.resize_index(90)
    assert (index.max_elements, index.element_count) == (90, 30)
    index.add_items(rows[30:], np.arange(30, 90))
    labels, _ = index.knn_query(rows)
    assert labels[:, 0].tolist() == list(range(90))


def test_deletion(module: Any) -> None:
    rows = vectors(200)
    index = made(module, rows)
    gone = list(range(0, 200, 2))
    for label in gone:
        index.mark_deleted(label)
    labels, _ = index.knn_query(rows, k=20)
    assert (labels % 2 == 1).all()
    assert index.element_count == 200
    assert len(index.get_ids_list()) == 200
    with pytest.raises(RuntimeError, match="Label not found"):
        index.get_items([0])
    with pytest.raises(RuntimeError, match="already deleted"):
        index.mark_deleted(0)
    with pytest.raises(RuntimeError, match="Label not found"):
        index.mark_deleted(999)
    with pytest.raises(RuntimeError, match="Label not found"):
        index.unmark_deleted(999)
    with pytest.raises(RuntimeError, match="undelete element is not deleted"):
        index.unmark_deleted(1)
    with pytest.raises(RuntimeError, match=TOO_FEW):
        index.knn_query(rows[0], k=101)
    with pytest.raises(RuntimeError, match="exceeds the specified limit"):
        index.add_items(rows[0], [300])  # deleted ones count
    index.add_items(rows[4], [4])  # adding it anew is another way to bring it back
    for label in gone:
        if label != 4:
            index.unmark_deleted(label)
    labels, found = index.knn_query(rows)
    assert labels[:, 0].tolist() == list(range(200))
    assert (found < 1e-5).all()


def test_replacement(module: Any) -> None:
    rows = vectors(300)
    index = made(module, rows[:200], allow_replace_deleted=True)
    for label in range(100):
        index.mark_deleted(label)
    with pytest.raises(RuntimeError, match="Can't use addPoint to update deleted elements"):
        index.add_items(rows[0], [0])
    index.add_items(rows[200:], np.arange(200, 300), replace_deleted=True)
    assert (index.element_count, index.max_elements) == (200, 200)
    assert sorted(index.get_ids_list()) == list(range(100, 300))
    labels, _ = index.knn_query(rows[100:])
    assert labels[:, 0].tolist() == list(range(100, 300))
    with pytest.raises(RuntimeError, match="exceeds the specified limit"):
        index.add_items(rows[0], [0], replace_deleted=True)
    with pytest.raises(RuntimeError, match="Label not found"):
        index.unmark_deleted(0)
    plain = made(module, rows[:5])
    with pytest.raises(RuntimeError, match="Replacement of deleted elements is disabled"):
        plain.add_items(rows[6], [6], replace_deleted=True)


def test_replacement_after_loading(module: Any, tmp_path: Path) -> None:
    rows, path = vectors(60), str(tmp_path / "index.bin")
    index = made(module, rows[:40], allow_replace_deleted=True)
    for label in range(10, 20):
        index.mark_deleted(label)
    index.save_index(path)
    again = module.Index("l2", 16)
    again.load_index(path, allow_replace_deleted=True)
    pickled = pickle.loads(pickle.dumps(index))
    for one in (again, pickled):
        one.add_items(rows[40:50], np.arange(40, 50), replace_deleted=True)
        assert sorted(one.get_ids_list()) == [*range(10), *range(20, 50)]
        assert one.knn_query(rows[20:50])[0][:, 0].tolist() == list(range(20, 50))


@pytest.mark.parametrize("kind", ["Index", "BFIndex"])
def test_filter(module: Any, kind: str) -> None:
    rows = vectors(400)
    index = made(module, rows) if kind == "Index" else module.BFIndex("l2", 16)
    if kind == "BFIndex":
        index.init_index(400)
        index.add_items(rows)
    calls: list[int] = []

    def even(label: int) -> bool:
        calls.append(label)
        return label % 2 == 0

    labels, _ = index.knn_query(rows, k=5, num_threads=1, filter=even)
    assert (labels % 2 == 0).all()
    assert recall(labels, rows[::2], np.arange(0, 400, 2), rows) > 0.95
    assert {type(label) for label in calls} == {int}
    if module is ours:
        assert sorted(calls) == list(range(400))
    if kind == "Index" or module is ours:  # hnswlib's BFIndex reads memory that is not its own
        with pytest.raises(RuntimeError, match=TOO_FEW):
            index.knn_query(rows[:2], k=2, filter=lambda label: label == 7)
    with pytest.raises(ZeroDivisionError):
        index.knn_query(rows[:1], filter=lambda label: 1 // 0 > 0)
    with pytest.raises(TypeError):
        index.knn_query(rows[:1], filter=[1, 2])


def test_too_few(module: Any) -> None:
    rows = vectors(10)
    index = made(module, rows)
    assert sorted(index.knn_query(rows[0], k=10)[0][0].tolist()) == list(range(10))
    with pytest.raises(RuntimeError, match=TOO_FEW):
        index.knn_query(rows[0], k=11)


@pytest.mark.parametrize("space", SPACES)
def test_saving(module: Any, space: str, tmp_path: Path) -> None:
    rows, queries, path = vectors(700), vectors(60, seed=2), str(tmp_path / "index.bin")
    index = made(module, rows[:400], np.arange(400) + 7, space, spare=300, M=8, ef_construction=60)
    index.mark_deleted(9)
    index.save_index(path)
    assert Path(path).stat().st_size == index.index_file_size()
    again = module.Index(space, 16)
    again.set_ef(50)
    again.set_num_threads(2)
    again.load_index(path)
    assert (again.M, again.ef_construction, again.max_elements, again.element_count) == (8, 60, 700, 400)
    assert (again.ef, again.num_threads) == (10, 2)
    again.set_ef(100)
    for one in (index, again):
        one.add_items(rows[400:], np.arange(407, 707))
    again.unmark_deleted(9)
    index.unmark_deleted(9)
    np.testing.assert_allclose(again.get_items([9, 500]), index.get_items([9, 500]), atol=1e-6)
    labels, _ = again.knn_query(queries, k=10)
    assert recall(labels, rows, np.arange(700) + 7, queries, space) > (0.9 if space == "ip" else 0.95)
    assert sorted(again.get_ids_list()) == sorted(index.get_ids_list())
    small, large = module.Index(space, 16), module.Index(space, 16)
    small.load_index(path, max_elements=30)
    large.load_index(path, max_elements=3000)
    assert (small.max_elements, large.max_elements) == (700, 3000)


@pytest.mark.parametrize("other", [pickle.loads, copy.deepcopy, copy.copy, "constructor", "state"])
def test_copies(module: Any, other: Any) -> None:
    rows = vectors(300)
    index = made(module, rows[:200], space="cosine", spare=100, allow_replace_deleted=True)
    index.set_ef(55)
    index.num_threads = 3
    index.mark_deleted(17)
    again = (
        module.Index(index)
        if other == "constructor"
        else module.Index(index.__getstate__()[0])
        if other == "state"
        else pickle.loads(pickle.dumps(index))
        if other is pickle.loads
        else other(index)
    )
    assert (again.space, again.dim, again.ef, again.num_threads) == ("cosine", 16, 55, 3)
    assert (again.max_elements, again.element_count, again.M) == (300, 200, 16)
    again.add_items(rows[200], [200], replace_deleted=True)  # the other does not change
    assert 17 not in again.get_ids_list()
    index.unmark_deleted(17)
    assert 200 not in index.get_ids_list()
    labels, found = again.knn_query(rows[18:200], k=5)
    want, wanted = index.knn_query(rows[18:200], k=5)
    assert (labels[:, 0] == want[:, 0]).all()
    np.testing.assert_allclose(found[:, 0], wanted[:, 0], atol=1e-5)
    fresh = pickle.loads(pickle.dumps(module.Index("ip", 5)))
    assert (fresh.space, fresh.dim, fresh.element_count) == ("ip", 5, 0)
    fresh.init_index(3)


def test_an_exact_index_is_not_copied(module: Any) -> None:
    index = module.BFIndex("l2", 16)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"cannot pickle 'hnswlib\.BFIndex' object"):
            attempt(index)


def test_paths_may_be_bytes(module: Any, tmp_path: Path) -> None:
    path = bytes(tmp_path / "index.bin")
    for kind in ("Index", "BFIndex"):
        index = getattr(module, kind)("l2", 16)
        index.init_index(5)
        index.add_items(vectors(5))
        index.save_index(path)
        again = getattr(module, kind)("l2", 16)
        again.load_index(path)
        assert again.get_current_count() == 5


def test_threads(module: Any) -> None:
    rows = vectors(2000)
    index = module.Index("l2", 16)
    index.init_index(2000)
    index.set_ef(60)
    index.add_items(rows[:200], np.arange(200))

    def run(work: Callable[[int], None]) -> None:
        errors: list[BaseException] = []

        def one(i: int) -> None:
            try:
                work(i)
            except BaseException as e:
                errors.append(e)

        threads = [threading.Thread(target=one, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors

    def add(i: int) -> None:
        for first in range(200 + 300 * i, 500 + 300 * i, 50):
            index.add_items(rows[first : first + 50], np.arange(first, first + 50), num_threads=1 + i % 2)

    def search(i: int) -> None:
        for _ in range(3):
            assert (index.knn_query(rows[i::6])[0][:, 0] == np.arange(i, 2000, 6)).mean() > 0.99

    def both(i: int) -> None:
        add(i) if i % 2 else search(0)

    if module is ours:
        index.knn_query(rows[:200])
    run(add)
    assert index.element_count == 2000
    run(search)
    if module is ours:  # hnswlib does not promise it
        run(both)


def test_exact_index(module: Any, tmp_path: Path) -> None:
    rows, path = vectors(50), str(tmp_path / "flat.bin")
    index = module.BFIndex(space="l2", dim=16)
    index.init_index(52)
    with pytest.raises(RuntimeError, match="already initiated"):
        index.init_index(52)
    index.add_items(rows)
    index.add_items(rows[1], [3])  # replaces
    index.delete_vector(10)
    index.delete_vector(999)  # is not there, which is no error
    assert (index.get_max_elements(), index.get_current_count()) == (52, 49)
    with pytest.raises(RuntimeError, match="exceeds the specified limit"):
        index.add_items(rows[:4], np.arange(100, 104))
    with pytest.raises(RuntimeError, match="Wrong dimensionality"):
        index.add_items(rows[:, :5])
    index.set_num_threads(2)
    assert index.num_threads == 2
    index.save_index(path)
    again = module.BFIndex("l2", 16)
    again.load_index(path)
    assert again.get_max_elements() == 52
    queries = rows[np.setdiff1d(np.arange(50), [1, 3])]
    for got, want in zip(again.knn_query(queries, k=5), index.knn_query(queries, k=5), strict=True):
        assert np.array_equal(got, want)
    with pytest.raises(RuntimeError, match="Space name must be one of l2, ip, or cosine"):
        module.BFIndex("manhattan", 8)


def test_bad_files(module: Any, tmp_path: Path) -> None:
    rows, path = vectors(50), tmp_path / "index.bin"
    made(module, rows).save_index(str(path))
    data = path.read_bytes()
    with pytest.raises(RuntimeError, match="Cannot open file"):
        module.Index("l2", 16).load_index(str(tmp_path / "none"))
    for damaged in (b"", b"x" * 500, data[:-3], data[:2000], data + b"1234"):
        path.write_bytes(damaged)
        with pytest.raises(RuntimeError, match="corrupted or unsupported"):
            module.Index("l2", 16).load_index(str(path))
