"""Vectors that int8 codes cannot tell apart: found all the same, as by the vectors themselves."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tercet
from tercet.compat import hnswlib

Floats = npt.NDArray[np.float32]


def city(count: int, seed: int) -> Floats:
    """Positions, in degrees, around one point."""
    return np.random.default_rng(seed).normal([48.85, 2.35], 0.05, (count, 2)).astype(np.float32)


def far(count: int, seed: int) -> Floats:
    """Vectors whose common part is a hundred times what tells them apart."""
    return np.random.default_rng(seed).normal(100, 1, (count, 32)).astype(np.float32)


def outlier(count: int, seed: int) -> Floats:
    """One dimension is a thousand times as large as the others."""
    rows = np.random.default_rng(seed).normal(size=(count, 32)).astype(np.float32)
    rows[:, 5] = 1000
    return rows


KINDS = {"city": city, "far": far, "outlier": outlier}


def recall(got: tercet.Hits, want: Any) -> float:
    return float(
        np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(got.ids.tolist(), want, strict=True)])
    )


def nearest(rows: Floats, queries: Floats, k: int = 10) -> list[list[int]]:
    squares = ((queries[:, None].astype(np.float64) - rows[None].astype(np.float64)) ** 2).sum(2)
    return np.argsort(squares, axis=1)[:, :k].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_finds_them(kind: str) -> None:
    rows, queries = KINDS[kind](3000, 0), KINDS[kind](50, 1)
    index = tercet.HNSWIndex(rows.shape[1], metric="l2")
    assert index.codec == "int8"
    index.add(rows[:10])
    index.add(rows[10:])
    assert index.codec == index.stats()["codec"] == "float32"
    want = nearest(rows, queries)
    assert recall(index.search(queries, ef=200), want) > 0.98
    assert recall(index.search(queries, ef=len(rows)), want) == 1
    even = index.search(queries, ef=200, filter=np.arange(3000) % 2 == 0)
    assert recall(tercet.Hits(even.ids // 2, even.scores), nearest(rows[::2], queries)) > 0.95
    assert index.estimate_recall(200) > 0.98


@pytest.mark.parametrize("kind", KINDS)
def test_flat_indexes_find_them_by_codes(kind: str) -> None:
    rows, queries = KINDS[kind](3000, 0), KINDS[kind](50, 1)
    index = tercet.FlatIndex(rows.shape[1], metric="l2", codec="int8", rescore="float32")
    index.add(rows)
    for k in (1, 10):
        assert recall(index.search(queries, k), nearest(rows, queries, k)) > 0.9


def test_the_drop_in_finds_them() -> None:
    rows, queries = city(3000, 0), city(50, 1)
    index = hnswlib.Index("l2", 2)
    index.init_index(4000)
    index.add_items(rows)
    index.set_ef(100)
    labels, _ = index.knn_query(queries, 10)
    assert recall(tercet.Hits(labels, np.zeros(labels.shape, np.float32)), nearest(rows, queries)) > 0.98


def test_one_at_a_time_they_are_noticed_as_well() -> None:
    index = tercet.HNSWIndex(2, metric="l2")
    for row in city(300, 0):
        index.add(row)
    assert index.codec == "float32"


def test_a_graph_without_codes_changes_saves_and_opens(tmp_path: Any) -> None:
    rows, queries = city(2000, 0), city(20, 1)
    index = tercet.HNSWIndex(2, metric="l2")
    index.add(rows[:300])
    index.remove(np.arange(20))
    index.add(rows[300:])
    index.remove(np.arange(20, 900))
    index.add(rows[:900], np.arange(900))
    want = nearest(rows, queries)
    path = tmp_path / "index.tercet"
    index.save(path)
    for one in (index, tercet.open(path)):
        assert one.codec == "float32"
        assert recall(one.search(queries, ef=200), want) > 0.98
        np.testing.assert_array_equal(one.get(np.arange(2000)), rows)
        one.add(rows[:5], np.arange(3000, 3005))
        one.remove(np.arange(3000, 3005))


def test_codes_can_be_declined() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 24)).astype(np.float32)
    index = tercet.HNSWIndex(24, codec="float32")
    index.add(rows)
    codes = tercet.HNSWIndex(24)
    codes.add(rows)
    assert (index.codec, codes.codec) == ("float32", "int8")
    assert index.nbytes < codes.nbytes
    assert recall(index.search(rows[:50], ef=100), codes.search(rows[:50], exact=True).ids.tolist()) > 0.98
