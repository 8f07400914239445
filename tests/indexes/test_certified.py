"""`search(..., exact=True)` answers as a float32 index does, to the last bit, from smaller codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tercet
from levels import same_bits
from tercet import FlatIndex

Array = npt.NDArray[Any]
F32 = np.float32
CODECS: list[Any] = ["bfloat16", "int8", "int4", "int2", "binary"]
METRICS: list[Any] = ["cosine", "dot", "l2"]


def pair(dim: int, metric: Any, codec: Any, rows: Array) -> tuple[FlatIndex, FlatIndex]:
    """An index of codes with originals, and one of float32."""
    both = FlatIndex(dim, metric=metric, codec=codec, rescore="float32"), FlatIndex(dim, metric=metric)
    for index in both:
        index.add(rows)
    return both


def assert_same(got: tercet.Hits, want: tercet.Hits) -> None:
    assert same_bits(got.ids, want.ids)
    assert same_bits(got.scores, want.scores)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [1, 7, 64, 130])
def test_equals_float32(metric: Any, codec: Any, dim: int, rng: np.random.Generator) -> None:
    """Lengths over eight orders of magnitude, near copies, exact copies, zeros."""
    rows = rng.standard_normal((3000, dim)).astype(F32)
    rows[:1500] = rows[0] + F32(1e-4) * rows[:1500]
    rows[1500:1700] = rows[1500]
    rows[1700:1710] = 0
    rows[2000:] *= F32(10) ** rng.integers(-4, 5, (1000, 1)).astype(F32)
    queries = np.concatenate([rows[[0, 1500, 1700, 2500]], rng.standard_normal((40, dim)).astype(F32)])
    codes, plain = pair(dim, metric, codec, rows)
    for k in (1, 10, 300, 3001):
        assert_same(codes.search(queries, k, exact=True), plain.search(queries, k))


@given(st.data())
def test_of_any_small_numbers(data: st.DataObject) -> None:
    """Few distinct values: ties everywhere."""
    metric, codec = data.draw(st.sampled_from(METRICS)), data.draw(st.sampled_from(CODECS))
    dim, k = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 12))
    value = st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0, 1e-30, -1e10, 1 + 2**-20])
    rows = data.draw(st.lists(st.lists(value, min_size=dim, max_size=dim), min_size=1, max_size=40))
    codes, plain = pair(dim, metric, codec, np.array(rows, F32))
    queries = np.array(rows[:7], F32)
    assert_same(codes.search(queries, k, exact=True), plain.search(queries, k))


@pytest.mark.parametrize("metric", METRICS)
def test_answers_do_not_depend_on_the_batch_or_the_threads(metric: Any, rng: np.random.Generator) -> None:
    rows = rng.standard_normal((20000, 24)).astype(F32)
    queries = rng.standard_normal((50, 24)).astype(F32) * F32(10) ** rng.integers(-3, 3, (50, 1)).astype(F32)
    codes, plain = pair(24, metric, "int8", rows)
    want = plain.search(queries, 10)
    for threads in (1, 2, 5):
        assert_same(codes.search(queries, 10, exact=True, threads=threads), want)
    for q in (0, 33):
        alone = codes.search(queries[q], 10, exact=True)
        assert same_bits(alone.ids[0], want.ids[q])
        assert same_bits(alone.scores[0], want.scores[q])


def test_filters(rng: np.random.Generator) -> None:
    rows = rng.standard_normal((500, 16)).astype(F32)
    codes, plain = pair(16, "cosine", "int8", rows)
    mask = rng.random(500) < 0.1
    for allowed in (mask, [3, 4, 5], [], [None, mask, [7]]):
        queries = rows[:3]
        assert_same(
            codes.search(queries, 20, filter=allowed, exact=True), plain.search(queries, 20, filter=allowed)
        )


def test_after_changes_and_from_a_file(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = rng.standard_normal((300, 20)).astype(F32)
    for metric in METRICS:
        codes, plain = pair(20, metric, "int8", rows)
        for index in (codes, plain):
            index.remove(np.arange(0, 300, 3))
            index.add(2 * rows[:50], np.arange(1000, 1050))
            index.add(rows[100:110], np.arange(1, 300, 30))
        assert_same(codes.search(rows, 9, exact=True), plain.search(rows, 9))
        assert same_bits(codes.get(plain.ids), plain.get(plain.ids))
        codes.save(tmp_path / "x")
        opened: Any = tercet.open(tmp_path / "x")
        assert opened.rescore == "float32"
        assert_same(opened.search(rows, 9, exact=True), plain.search(rows, 9))
        assert_same(opened.search(rows, 9), codes.search(rows, 9))


@pytest.mark.parametrize("size", [1e-45, 1e-40, 1e-30, 1e-22, 1e-19, 1e-10, 1, 1e10])
def test_queries_and_vectors_of_any_length(size: float, rng: np.random.Generator) -> None:
    """Among the subnormals scores are coarse, and so is the order that has to be proven."""
    rows = rng.standard_normal((3000, 24)).astype(F32)
    queries = (rows[:20] + rng.standard_normal((20, 24)).astype(F32)) * F32(size)
    for scale in (1, 1e-19, 1e-25):
        codes, plain = pair(24, "dot", "int8", rows * F32(scale))
        assert_same(codes.search(queries, 10, exact=True), plain.search(queries, 10))


def test_little_is_rescored(rng: np.random.Generator) -> None:
    """The bounds rule out nearly everything, or the pass over the codes would be for nothing."""
    rows = rng.standard_normal((20000, 96)).astype(F32)
    codes, _ = pair(96, "cosine", "int8", rows)
    codes.search(rows[:20], 10, exact=True)
    facts = codes.stats()
    assert facts["searched"] == 20
    assert 20 * 10 <= facts["rescored"] <= 20 * 2000


def test_rescoring_without_proof(rng: np.random.Generator) -> None:
    """The scores are those of the vectors; what the codes rank far down may be missing."""
    rows = rng.standard_normal((5000, 64)).astype(F32)
    for codec, recall in (("bfloat16", 0.99), ("int8", 0.99), ("int4", 0.9)):
        codes, plain = pair(64, "cosine", codec, rows)
        got, want = codes.search(rows[:50], 10), plain.search(rows[:50], 10)
        found = [set(a) & set(b) for a, b in zip(got.ids.tolist(), want.ids.tolist(), strict=True)]
        assert sum(map(len, found)) >= recall * 500
        scores = np.take_along_axis(rows[:50] @ rows.T, got.ids, 1)
        lengths = np.linalg.norm(rows, axis=1)
        np.testing.assert_allclose(got.scores, scores / lengths[:50, None] / lengths[got.ids], rtol=1e-5)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="rescore: expected 'float32' or None, got 'int8'"):
        FlatIndex(3, codec="int8", rescore="int8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="keeps the vectors already"):
        FlatIndex(3, rescore="float32")
    index = FlatIndex(3, codec="int8")
    index.add([[1, 2, 3]])
    with pytest.raises(ValueError, match="exact: codec 'int8' does not keep the vectors"):
        index.search([1, 2, 3], exact=True)
    kept = FlatIndex(3, metric="dot", codec="int8", rescore="float32")
    with pytest.raises(ValueError, match="row 1 has a magnitude of 1e\\+20, more than the 1e\\+15"):
        kept.add([[1, 2, 3], [0, 1e20, 0]])
    assert FlatIndex(3).search([1, 2, 3], exact=True).ids.tolist() == [[-1] * 10]


def test_one_long_query_costs_the_others_nothing(rng: np.random.Generator) -> None:
    rows, queries = rng.standard_normal((5000, 32)).astype(F32), rng.standard_normal((64, 32)).astype(F32)
    certified, exact = pair(32, "l2", "int8", rows)
    certified.search(queries, 10, exact=True)
    before = certified.stats()["rescored"]
    queries[[0, 40]] *= 1000
    assert_same(certified.search(queries, 10, exact=True), exact.search(queries, 10))
    assert certified.stats()["rescored"] < 3 * before
