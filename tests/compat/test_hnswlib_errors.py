"""Where hnswlib crashes, overwrites or goes on with half of the work, and tercet.compat.hnswlib does not."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tercet
from tercet.compat import hnswlib

Array = npt.NDArray[Any]


def vectors(n: int, dim: int = 8, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def made(n: int = 10, spare: int = 5, space: str = "l2", **settings: Any) -> hnswlib.Index:
    index = hnswlib.Index(space, 8)
    index.init_index(n + spare, **settings)
    index.add_items(vectors(n))
    return index


@pytest.mark.parametrize("kind", ["Index", "BFIndex"])
def test_before_it_is_initiated(kind: str, tmp_path: Path) -> None:
    index = getattr(hnswlib, kind)("l2", 8)
    calls = [
        lambda: index.add_items(vectors(1)),
        lambda: index.knn_query(vectors(1)),
        lambda: index.save_index(tmp_path / "index"),
        index.get_max_elements,
        index.get_current_count,
    ]
    if kind == "BFIndex":
        calls += [lambda: index.delete_vector(1)]
    else:
        calls += [
            lambda: index.get_items([1]),
            index.get_ids_list,
            index.index_file_size,
            lambda: index.mark_deleted(1),
            lambda: index.unmark_deleted(1),
            lambda: index.resize_index(5),
        ]
    for call in calls:
        with pytest.raises(RuntimeError, match="not initiated: call init_index or load_index first"):
            call()
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("kind", ["Index", "BFIndex"])
def test_bad_queries_and_vectors(kind: str) -> None:
    index = getattr(hnswlib, kind)("l2", 8)
    index.init_index(20)
    index.add_items(vectors(10))
    bad = vectors(3)
    bad[1, 2] = np.nan
    for call, error, message in [
        (lambda: index.knn_query(vectors(1, 9)), RuntimeError, "Wrong dimensionality .* expected 8, got 9"),
        (lambda: index.knn_query(bad), ValueError, "not finite"),
        (lambda: index.knn_query(vectors(1), k=11), RuntimeError, "k is 11, and 10 elements may be returned"),
        (lambda: index.knn_query(vectors(1), k=2**40), RuntimeError, "10 elements may be returned"),
        (
            lambda: index.knn_query(vectors(1), k=-1),
            TypeError,
            "k: expected an integer of at least 0, got -1",
        ),
        (lambda: index.knn_query(vectors(1), k=1.5), TypeError, "k: expected an integer, got float"),
        (lambda: index.add_items(bad), ValueError, "not finite"),
        (lambda: index.add_items(np.full(8, 1e300)), ValueError, "not finite"),
        (
            lambda: index.add_items(vectors(1), [2**63]),
            ValueError,
            r"less than 2\*\*63, got 9223372036854775808",
        ),
        (lambda: index.add_items(vectors(1), np.array([2**63], np.uint64)), ValueError, r"less than 2\*\*63"),
        (lambda: index.add_items(vectors(1), [2**70]), ValueError, r"less than 2\*\*63"),
        (lambda: index.add_items(vectors(1), [1.5]), ValueError, "whole numbers"),
        (lambda: index.add_items(vectors(1), [float("nan")]), ValueError, "ids: expected whole numbers"),
        (lambda: index.add_items(vectors(1), np.array([-3])), OverflowError, "0 or more, got -3"),
        (lambda: index.init_index(20), RuntimeError, "already initiated"),
    ]:
        with pytest.raises(error, match=message):
            call()
    assert index.get_current_count() == 10


def test_bad_settings() -> None:
    for settings, error, message in [
        ({"M": 1}, ValueError, "M: expected 2 to 128, got 1"),
        ({"M": 129}, ValueError, "M: expected 2 to 128, got 129"),
        ({"max_elements": -1}, TypeError, "max_elements: expected an integer of at least 0, got -1"),
        ({"max_elements": 2.5}, TypeError, "max_elements: expected an integer"),
        ({"ef_construction": -1}, TypeError, "ef_construction"),
        ({"random_seed": -1}, TypeError, "random_seed"),
    ]:
        index = hnswlib.Index("l2", 8)
        with pytest.raises(error, match=message):
            index.init_index(**{"max_elements": 5, **settings})
        index.init_index(5)  # as if nothing had been
    for arguments, error, message in [
        (("l2", 0), ValueError, "dim: expected 1 to 65535, got 0"),
        (("l2", -1), ValueError, "dim"),
        (("l2", 2.5), TypeError, "dim"),
        ((3, 8), TypeError, "space: expected a str"),
        (("l2",), TypeError, "dim"),
        ((), TypeError, "space"),
        (({"space": "l2"},), ValueError, "state of a pickled Index"),
    ]:
        with pytest.raises(error, match=message):
            hnswlib.Index(*arguments)
    index = made()
    with pytest.raises(ValueError, match="format: expected 'hnswlib' or 'tercet', got 'faiss'"):
        index.save_index("x", format="faiss")  # type: ignore[arg-type]


def test_adding_is_all_or_nothing() -> None:
    index = made()
    with pytest.raises(RuntimeError, match="exceeds the specified limit of 15"):
        index.add_items(vectors(11, seed=1), np.arange(5, 16))
    index.mark_deleted(3)
    with pytest.raises(RuntimeError, match="exceeds the specified limit"):
        index.add_items(vectors(7, seed=1), [3, 20, 21, 22, 23, 24, 25])
    assert sorted(index.get_ids_list()) == list(range(10))
    assert 3 not in index.knn_query(vectors(10), k=9)[0]
    index.unmark_deleted(3)
    assert np.array_equal(index.get_items(range(10)), vectors(10))


def test_default_ids_overwrite_nothing(tmp_path: Path) -> None:
    index = made(4, 6)
    index.save_index(tmp_path / "index")
    again = hnswlib.Index("l2", 8)
    again.load_index(tmp_path / "index")
    again.add_items(vectors(1, seed=4))
    assert sorted(again.get_ids_list()) == [0, 1, 2, 3, 4]
    index.add_items(vectors(1), [6])
    with pytest.raises(RuntimeError, match=r"numbered from 5, .* a label 6 already; pass ids"):
        index.add_items(vectors(2))
    index.add_items(vectors(1))
    assert sorted(index.get_ids_list()) == [0, 1, 2, 3, 5, 6]
    flat = hnswlib.BFIndex("l2", 8)
    flat.init_index(9)
    flat.add_items(vectors(2), [1, 2])
    with pytest.raises(RuntimeError, match="a label 2 already"):
        flat.add_items(vectors(1))


def test_replacement_of_labels_that_are_there() -> None:
    index = made(6, 0, allow_replace_deleted=True)
    rows = vectors(6, seed=3)
    for label in (4, 1, 2):
        index.mark_deleted(label)
    index.add_items(rows[:1], [5], replace_deleted=True)  # a vector replaced, no place taken
    assert sorted(index.get_ids_list()) == [0, 1, 2, 3, 4, 5]
    index.add_items(rows[1:3], [2, 8], replace_deleted=True)  # its own place; the one that was deleted first
    assert sorted(index.get_ids_list()) == [0, 1, 2, 3, 5, 8]
    labels = index.knn_query(rows[:3], k=5)[0]
    assert labels[:, 0].tolist() == [5, 2, 8]
    assert 1 not in labels
    index.unmark_deleted(1)
    assert index.knn_query(vectors(2)[1], k=6)[0][0, 0] == 1


def test_deleted_vectors_come_back_as_they_were() -> None:
    for space in ("l2", "ip", "cosine"):
        index = made(space=space)
        before = index.get_items([4, 7])
        for label in (4, 7):
            index.mark_deleted(label)
        index.unmark_deleted(7)
        index.unmark_deleted(4)
        np.testing.assert_allclose(index.get_items([4, 7]), before, rtol=1e-6)
        assert index.element_count == 10


def test_searches_during_changes() -> None:
    index = made(500, 500)
    stop, errors = threading.Event(), []

    def search() -> None:
        try:
            while not stop.is_set():
                labels, found = index.knn_query(vectors(20), k=3, filter=lambda label: label < 400)
                assert (labels < 400).all()
                assert np.isfinite(found).all()
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(5):
        index.add_items(vectors(100, seed=turn), np.arange(500, 600) + 100 * turn)
        for label in range(410 + 10 * turn, 420 + 10 * turn):
            index.mark_deleted(label)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors


def test_loading_into_an_index_in_use(tmp_path: Path) -> None:
    index, other = made(), made(3, space="l2")
    index.mark_deleted(2)
    index.save_index(tmp_path / "index")
    with pytest.warns(UserWarning, match="already initiated index"):
        other.load_index(tmp_path / "index", max_elements=12)
    assert (other.element_count, other.max_elements) == (10, 12)
    other.unmark_deleted(2)
    with pytest.raises(RuntimeError, match="expected 9 dimensions, got 8"):
        hnswlib.Index("l2", 9).load_index(tmp_path / "index")
    before = made(2)
    with pytest.raises(RuntimeError, match="corrupted"):
        before.load_index(Path(__file__))
    assert before.element_count == 2
    with pytest.raises(RuntimeError, match="Cannot open file"):
        hnswlib.BFIndex("l2", 8).load_index(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        index.save_index(tmp_path / "no" / "such")


def test_empty_index(tmp_path: Path) -> None:
    index = made(0)
    assert index.get_ids_list() == []
    with pytest.raises(RuntimeError, match="0 elements may be returned"):
        index.knn_query(vectors(1))
    index.save_index(tmp_path / "index")
    assert (tmp_path / "index").stat().st_size == index.index_file_size() == 96
    again = hnswlib.Index("l2", 8)
    again.load_index(tmp_path / "index")
    assert (again.element_count, again.max_elements) == (0, 5)
    again.add_items(vectors(5))
    assert len(tercet.from_hnswlib(tmp_path / "index", "l2", 8)) == 0


def test_files_of_tercet(tmp_path: Path) -> None:
    flat = tercet.FlatIndex(8)
    flat.add(vectors(3))
    flat.save(tmp_path / "flat")
    with pytest.raises(RuntimeError, match="expected an HNSWIndex of 8 dimensions with metric 'l2'"):
        hnswlib.Index("l2", 8).load_index(tmp_path / "flat")
    index = made(200)
    index.mark_deleted(3)
    index.save_index(tmp_path / "index", format="tercet")
    again = hnswlib.Index("l2", 8)
    again.load_index(tmp_path / "index", max_elements=300)
    assert (again.element_count, again.max_elements, again.M) == (199, 300, 16)
    assert again.knn_query(vectors(200)[5:], k=1)[0][:, 0].tolist() == list(range(5, 200))
    with pytest.raises(RuntimeError, match="metric 'cosine'"):
        hnswlib.Index("cosine", 8).load_index(tmp_path / "index")
