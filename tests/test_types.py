"""Hits and TokenVectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tercet
from tercet import Hit, Hits, PackedMask, TokenVectors
from tercet.arrays import Rows

F32 = np.float32


def some_hits(names: bool = False) -> Hits:
    """Two queries with two hits and one."""
    ids = np.array([["b", "a"], ["c", -1]], object) if names else np.array([[7, 3], [0, -1]])
    return Hits(ids, np.array([[2, 0.5], [1, -np.inf]], F32))


def test_hits() -> None:
    hits = some_hits()
    assert len(hits) == 2
    assert list(hits) == [[Hit(7, 2.0), Hit(3, 0.5)], [Hit(0, 1.0)]]
    assert hits[1] == [(0, 1.0)]
    assert hits[-1] == hits[1]
    assert type(hits[0][0].id) is int
    assert type(hits[0][0].score) is float
    assert repr(hits) == "Hits(queries=2, k=2)"
    with pytest.raises(IndexError):
        hits[2]


def test_hits_with_string_ids() -> None:
    hits = some_hits(names=True)
    assert list(hits) == [[("b", 2.0), ("a", 0.5)], [("c", 1.0)]]
    assert hits.to_run(["q1", "q2"]) == {"q1": {"b": 2.0, "a": 0.5}, "q2": {"c": 1.0}}


def test_to_run() -> None:
    run = some_hits().to_run(["q1", "q2"])
    assert run == {"q1": {"7": 2.0, "3": 0.5}, "q2": {"0": 1.0}}
    assert list(run["q1"]) == ["7", "3"]
    with pytest.raises(ValueError, match="expected 2 query ids, got 1"):
        some_hits().to_run(["q1"])


def test_a_document_that_scores_minus_infinity_is_a_hit() -> None:
    index = tercet.MultiVectorIndex(2)
    index.add([np.empty((0, 2), F32), np.ones((1, 2), F32)])
    hits = index.search(np.ones((1, 2), F32), k=3)
    assert hits.ids.tolist() == [[1, 0, -1]]
    assert [hit.id for hit in hits[0]] == [1, 0]


@pytest.mark.parametrize(
    ("ids", "scores"),
    [([1, 2], [1.0, 2.0]), ([[1, 2]], [[1.0]]), ([[1]], [[1.0], [2.0]]), ([[[1]]], [[[1.0]]])],
)
def test_hits_of_other_shapes(ids: Any, scores: Any) -> None:
    with pytest.raises(ValueError, match=r"equal .*got \(.*\) and \("):
        Hits(np.array(ids), np.array(scores, F32))


# ---- TokenVectors


def test_token_vectors() -> None:
    values = np.arange(12, dtype=F32).reshape(4, 3)
    tokens = TokenVectors(values, [0, 3, 3, 4])
    assert (len(tokens), tokens.dim, tokens.format) == (3, 3, "float32")
    assert tokens.offsets.dtype == np.int64
    assert [text.tolist() for text in tokens] == [values[:3].tolist(), [], values[3:].tolist()]
    assert tokens[-1].tolist() == tokens[2].tolist()
    assert tokens[1].shape == (0, 3)
    assert tokens[np.int64(0)].shape == (3, 3)
    assert repr(tokens) == "TokenVectors(texts=3, tokens=4, dim=3, float32)"
    assert np.shares_memory(tokens.values, values)
    for i in (3, -4):
        with pytest.raises(IndexError, match=f"text {i} of 3"):
            tokens[i]


@pytest.mark.parametrize(
    "offsets", [[0, 2, 4], (0, 2, 4), np.array([0, 2, 4], np.uint64), np.array([0, 2, 4], np.int8)]
)
def test_offsets_of_every_integer_kind(offsets: Any) -> None:
    assert len(TokenVectors(np.ones((4, 3), F32), offsets)) == 2


@pytest.mark.parametrize(
    ("offsets", "parts"),
    [
        ([0, 3], ["from 0 to 4", "got 0 ... 3"]),
        ([0, 5], ["from 0 to 4", "got 0 ... 5"]),
        ([1, 4], ["from 0 to 4", "got 1 ... 4"]),
        ([0, 3, 2, 4], ["from 0 to 4", "descend"]),
        ([-1, 4], ["from 0 to 4", "got -1"]),
        ([0.0, 4.0], ["int64", "float64"]),
        ([[0, 4]], ["int64", "(1, 2)"]),
        ([], ["int64"]),
        (["a"], ["int64"]),
        (4, ["int64", "()"]),
    ],
)
def test_bad_offsets(offsets: Any, parts: list[str]) -> None:
    with pytest.raises(ValueError, match="offsets must") as error:
        TokenVectors(np.ones((4, 3), F32), offsets)
    for part in parts:
        assert part in str(error.value)


def test_bad_values() -> None:
    with pytest.raises(ValueError, match=r"values: expected shape \[tokens, dim\], got \[3\]"):
        TokenVectors(np.ones(3, F32), [0, 1])
    with pytest.raises(TypeError, match="values: dtype float64"):
        TokenVectors(np.ones((1, 3)), [0, 1])


def test_from_list() -> None:
    parts = [np.ones((2, 3), F32), np.empty((0, 3), F32), np.zeros((1, 3), F32)]
    tokens = TokenVectors.from_list(parts)
    assert tokens.offsets.tolist() == [0, 2, 2, 3]
    assert [text.tolist() for text in tokens] == [part.tolist() for part in parts]
    assert TokenVectors.from_list(tuple(parts)).offsets.tolist() == [0, 2, 2, 3]
    assert TokenVectors.from_list([np.empty((0, 3), F32)]).values.shape == (0, 3)
    assert TokenVectors.from_list([np.ones((1, 2), np.float16)]).format == "float32"
    assert TokenVectors.from_list([np.ones((1, 2), np.int8)]).format == "int8"
    assert TokenVectors.from_list([Rows(np.ones((1, 2), np.uint16), "bfloat16")]).format == "bfloat16"


@pytest.mark.parametrize(
    ("arrays", "kind", "message"),
    [
        ([], ValueError, "at least one array.*empty list"),
        ([np.ones(3, F32)], ValueError, r"item 0: expected shape \[tokens, dim\], got \[3\]"),
        ([np.ones((1, 3), F32), np.ones((1, 4), F32)], ValueError, "item 1: expected 3 dimensions, got 4"),
        (
            [np.ones((1, 3), F32), np.ones((1, 3), np.int8)],
            TypeError,
            "item 1: expected float32 like item 0, got int8",
        ),
        ([np.ones((1, 3), F32), np.ones((1, 3))], TypeError, "item 1: dtype float64"),
        ([np.ones((1, 3), F32), "text"], TypeError, "item 1"),
        ([np.ones((1, 3), F32), None], TypeError, "item 1: expected an array.*NoneType"),
    ],
)
def test_bad_lists(arrays: list[Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        TokenVectors.from_list(arrays)


def test_a_slice_of_hits_is_hits() -> None:
    hits = Hits(np.array([[1, 2], [3, -1], [5, 6]]), np.array([[2, 1], [4, -np.inf], [1, 0]], F32))
    assert [hits[i] for i in range(3)] == list(hits)
    assert hits[-1] == hits[np.int64(2)] == [(5, 1.0), (6, 0.0)]
    part = hits[1:]
    assert isinstance(part, Hits)
    assert list(part) == [[(3, 4.0)], [(5, 1.0), (6, 0.0)]]
    for bad in (None, [0, 1], (0, 1), 1.0):
        with pytest.raises(TypeError):
            hits[bad]  # type: ignore[call-overload]


def test_from_padded() -> None:
    values, mask = np.arange(24, dtype=F32).reshape(2, 3, 4), [[1, 0, 1], [0, 0, 0]]
    tokens = TokenVectors.from_padded(values, mask)
    assert tokens.offsets.tolist() == [0, 2, 2]
    assert tokens.values.tolist() == values[0, [0, 2]].tolist()
    with pytest.raises(ValueError, match=r"values_mask: expected shape \[2, 3\], got \[2, 2\]"):
        TokenVectors.from_padded(values, [[1, 0], [0, 0]])


def test_packed_masks() -> None:
    mask = np.random.default_rng(0).random(77) < 0.5
    packed = PackedMask.pack(mask)
    assert len(packed) == 77
    assert repr(packed) == "PackedMask(size=77)"
    assert np.array_equal(np.unpackbits(packed.bits, count=77, bitorder="little").astype(bool), mask)
    assert len(PackedMask(np.zeros(0, np.uint8), 0)) == 0
    with pytest.raises(ValueError, match="size: expected at least 0, got -5"):
        PackedMask(np.zeros(0, np.uint8), -5)
    for bits in (np.zeros(9, np.uint8), np.zeros(10, np.int8), np.zeros((1, 10), np.uint8)):
        with pytest.raises(ValueError, match=r"bits: expected uint8\[10\] for 77 ids"):
            PackedMask(bits, 77)
    for wrong in (np.zeros(3), np.zeros((2, 2), bool)):
        with pytest.raises(ValueError, match=r"mask: expected bool\[n\]"):
            PackedMask.pack(wrong)
