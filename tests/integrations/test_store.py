"""Vectors with texts and metadata: all or nothing, in memory and in a file."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tercet
from tercet import FlatIndex, HNSWIndex, MultiVectorIndex
from tercet.integrations.diversity import diverse
from tercet.integrations.store import Entry, TextStore

VECTORS = [[1.0, 0, 0], [0.8, 0.6, 0], [0, 1, 0]]


@pytest.fixture(params=[FlatIndex, functools.partial(HNSWIndex, m=5, metric="dot")], ids=["flat", "hnsw"])
def store(request: pytest.FixtureRequest) -> TextStore:
    store = TextStore(request.param)
    store.add(["a", "b", "c"], VECTORS, ["one", "two", "three"], [{"n": 1}, {"n": 2}, {}])
    return store


def ids(found: Any) -> list[str]:
    return [entry.id for entry, _ in found]


def test_search(store: TextStore) -> None:
    assert ids(store.search([1, 0, 0], 2)) == ["a", "b"]
    assert [round(score, 2) for _, score in store.search([1, 0, 0], 9)] == [1, 0.8, 0]
    assert store.search([1, 0, 0], 1)[0][0] == Entry("a", "one", {"n": 1})
    assert ids(store.search([1, 0, 0], 9, lambda entry: "n" in entry.metadata)) == ["a", "b"]
    assert ids(store.search([1, 0, 0], 9, ids=["c", "a", "unknown"])) == ["a", "c"]
    assert ids(store.search([1, 0, 0], 9, lambda entry: entry.text != "one", ["c", "a"])) == ["c"]
    assert store.search([1, 0, 0], 9, lambda entry: False) == []
    assert store.search([1, 0, 0], 9, lambda entry: len(store) == 0) == []  # it may look into the store
    assert TextStore().search([1, 0], 3) == []
    with pytest.raises(ValueError, match="k: expected at least 1"):
        TextStore().search([1, 0], 0)
    with pytest.raises(ValueError, match="expected 3 dimensions, got 2"):
        store.search([1, 0], 3)


def test_what_is_there_is_replaced(store: TextStore) -> None:
    store.add(["b"], [[0, 0, 1]], ["new"], [{"t": (1, 2)}])
    assert len(store) == 3
    assert store.search([0, 0, 1], 1)[0][0] == Entry("b", "new", {"t": [1, 2]})  # as JSON keeps it


def test_select_and_remove(store: TextStore) -> None:
    assert [entry.id for entry in store.select(["c", "x", "a", "c"])] == ["c", "a"]
    assert [entry.id for entry in store.select(where=lambda entry: "n" not in entry.metadata)] == ["c"]
    with pytest.raises(TypeError, match="ids: expected a list of str, got 'ab'"):
        store.remove("ab")
    store.remove(["x", "a"])
    store.remove(where=lambda entry: entry.id == "c")
    assert ids(store.search([1, 0, 0], 9)) == ["b"]
    store.remove()
    assert (len(store), store.index, store.search([1, 0, 0], 9)) == (0, None, [])
    store.add(["a"], [[1, 2]], ["other dimensions"], [{}])
    assert len(store) == 1


def test_a_bad_add_changes_nothing(store: TextStore) -> None:
    before = store.select()
    bad: list[tuple[Any, type[Exception], str]] = [
        ((["a"], [[1, 0]], ["x"], [{}]), ValueError, "expected 3 dimensions, got 2"),
        ((["a", "a"], [[1, 0, 0]] * 2, ["x", "y"], [{}, {}]), ValueError, "a"),
        ((["a"], [[np.nan, 0, 0]], ["x"], [{}]), ValueError, "finite"),
        ((["a"], VECTORS, ["x"], [{}]), ValueError, "1 ids, 3 vectors, 1 texts, 1 metadatas"),
        (([1], [[1, 0, 0]], ["x"], [{}]), TypeError, "id: expected str, got int 1"),
        ((["a"], [[1, 0, 0]], [b"x"], [{}]), TypeError, "text: expected str, got bytes"),
        ((["a"], [[1, 0, 0]], ["x"], [{"n": {1}}]), TypeError, "document 'a': metadata 'n' is not JSON"),
        ((["a"], [[1, 0, 0]], ["x"], [{1: 2}]), TypeError, "names of metadata to be str, got 1"),
    ]
    for arguments, error, message in bad:
        with pytest.raises(error, match=message):
            store.add(*arguments)
        assert store.select() == before
    empty = TextStore()
    with pytest.raises(ValueError, match="finite"):
        empty.add(["a"], [[np.nan, 0]], ["x"], [{}])
    assert empty.index is None


def test_what_is_given_and_returned_may_be_changed(store: TextStore) -> None:
    metadata = {"tags": ["x"]}
    store.add(["d"], [[0, 0, 1]], ["four"], [metadata])
    metadata["tags"].append("y")
    store.select(["d"])[0].metadata["tags"].append("z")
    store.search([0, 0, 1], 1)[0][0].metadata.clear()
    assert store.select(["d"])[0].metadata == {"tags": ["x"]}


def test_saved_and_opened(store: TextStore, tmp_path: Path) -> None:
    path = tmp_path / "texts.tercet"
    store.add(["0"], [[0, 0, 1]], ["ü\ud800"], [{"z": 1, "a": {"y": [None, 1.5], "b": True}}])
    store.save(path)
    opened = TextStore.open(path)
    assert str(opened.select()) == str(store.select())  # the order of entries and of names of metadata too
    assert opened.search([1, 0.5, 0], 3) == store.search([1, 0.5, 0], 3)
    assert isinstance(opened.index, type(store.index))
    assert tercet.open(path).search(VECTORS[0], 1).ids == [["a"]]  # the index alone
    opened.remove()
    opened.save(path)
    again = TextStore.open(path)
    assert (len(again), again.index) == (0, None)
    again.add(["a"], [[1, 2, 3, 4]], ["x"], [{}])
    assert again.index is not None
    before = tercet.open(tmp_path / "texts.tercet")
    assert {**again.index._header(), "dim": before.dim} == before._header()  # made as the first one was


def test_damage_is_an_error(store: TextStore, tmp_path: Path) -> None:
    path = tmp_path / "texts.tercet"
    store.save(path)
    whole = path.read_bytes()
    for place in range(64, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with suppress(ValueError):  # which does not come for a byte between two sections
            assert TextStore.open(path).select() == store.select()
    path.write_bytes(whole.replace(b"three", b"tree!"))
    with pytest.raises(ValueError, match=r"texts\.tercet: .*settings"):
        TextStore.open(path)
    with pytest.raises(FileNotFoundError):
        TextStore.open(tmp_path / "none")
    for index in (FlatIndex(2), MultiVectorIndex(2)):
        index.save(path)
        with pytest.raises(ValueError, match="expected a store of vectors with texts, got an index"):
            TextStore.open(path)


def test_makers_that_are_none() -> None:
    for make in (FlatIndex(3), "flat"):
        with pytest.raises(TypeError, match="index: expected FlatIndex, HNSWIndex or a function"):
            TextStore(make)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a function that makes a FlatIndex or HNSWIndex, got MultiVector"):
        TextStore(MultiVectorIndex).add(["a"], [[1, 0]], ["x"], [{}])  # type: ignore[arg-type]


def test_threads_see_whole_entries(store: TextStore) -> None:
    """While entries are replaced, a search never finds the vector of one with the text of another."""

    def write(_: int) -> None:
        for turn in range(60):
            axis = turn % 3
            store.add(["w"], [np.eye(3)[axis]], [str(axis)], [{"axis": axis}])
            store.remove(["w"]) if turn % 7 == 0 else None

    def read(axis: int) -> None:
        for _ in range(60):
            for entry, score in store.search(np.eye(3)[axis], 5, lambda entry: entry.id == "w"):
                assert (round(score, 3) == 1) == (entry.text == str(axis)), (entry, score)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda place: write(place) if place < 2 else read(place % 3), range(6)))


def test_diverse() -> None:
    rows = np.array([[1, 0.1], [1, 0.11], [0.5, 1], [0, 0]], np.float32)
    assert diverse([1, 0], rows, 4, 1.0) == [0, 1, 2, 3]
    assert diverse([1, 0], rows, 2, 0.3) == [0, 3]  # nothing is like zeros
    assert diverse([1, 0], rows[:3], 3, 0.4) == [0, 2, 1]
    assert diverse([1, 0], rows[:0], 3, 0.4) == []
    with pytest.raises(ValueError, match="weight of relevance from 0 to 1, got 2"):
        diverse([1, 0], rows, 2, 2)


def test_search_diverse(store: TextStore) -> None:
    found = store.search_diverse([1, 0.2, 0], 2, 3, 0.1)
    assert ids(found) == ["a", "c"]
    assert ids(store.search_diverse([1, 0, 0], 2, 2, 0.1)) == ["a", "b"]  # of the two nearest
    assert ids(store.search_diverse([1, 0, 0], 3, 1, 1)) == ["a", "b", "c"]  # at least k are fetched
    assert ids(store.search_diverse([1, 0, 0], 2, 9, 0, ids=["b", "c"])) == ["b", "c"]
    assert TextStore().search_diverse([1, 0], 2, 3, 0.5) == []
