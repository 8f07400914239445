"""Which tokens made a score: against the grid of what is stored, and against what search returned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tercet
from levels import run_under, same_bits
from tercet import Hits, MultiVectorIndex

F32 = np.float32
CODECS: list[Any] = [
    "float32", "bfloat16", "int8", "int4", "int2", "binary", "residual2", "residual1", "pq16"
]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:codec .* is trained once")  # on few tokens


def unit(rng: np.random.Generator, tokens: int, dim: int = 32) -> Any:
    rows = rng.standard_normal((tokens, dim)).astype(F32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def made(rng: np.random.Generator, codec: Any) -> MultiVectorIndex:
    index = MultiVectorIndex(32, codec=codec)
    index.add([unit(rng, int(n)) for n in rng.integers(0, 60, 40)], [f"d{i}" for i in range(40)])
    return index


@pytest.mark.parametrize("codec", CODECS)
def test_parts_add_up_to_the_score(codec: Any, rng: np.random.Generator) -> None:
    index = made(rng, codec)
    queries = [unit(rng, n) for n in (32, 1, 7)]
    hits = index.search(queries, 15)
    explained = index.explain(queries, hits)
    assert len(explained) == 3
    for query, ids, scores, why in zip(queries, hits.ids, hits.scores, explained, strict=True):
        assert why.ids.tolist() == ids.tolist()
        assert why.scores.shape == why.document_tokens.shape == (15, len(query))
        assert why.scores.dtype == F32
        assert why.document_tokens.dtype == np.int64
        np.testing.assert_allclose(why.scores.sum(axis=1), scores, rtol=2e-6, atol=2e-6)
        # what the tokens score as they are stored, but for how the codec rounds the query
        for hit, name in enumerate(ids):
            grid = tercet.maxsim_grid(query, index.get(name)[0])
            limit = 0 if codec == "float32" else 0.03
            assert (np.abs(why.scores[hit] - grid.max(axis=1)) <= limit).all()
            matched = np.take_along_axis(grid, why.document_tokens[hit][:, None], 1)[:, 0]
            assert (grid.max(axis=1) - matched <= 2 * limit).all()


def test_places_without_a_match(rng: np.random.Generator) -> None:
    index = MultiVectorIndex(32, codec="float32")
    index.add([unit(rng, 3), np.zeros((0, 32), F32)], [5, 6])
    query = unit(rng, 4)
    hits = index.search(query, 4)
    assert hits.ids.tolist() == [[5, 6, -1, -1]]
    (why,) = index.explain(query, hits)
    assert why.ids.tolist() == [5, 6, -1, -1]
    assert (why.document_tokens[0] >= 0).all()
    assert (why.document_tokens[1:] == -1).all()
    assert (why.scores[1:] == -np.inf).all()
    nothing = index.search(query, 2, filter=[])
    (why,) = index.explain(query, nothing)
    assert (why.document_tokens == -1).all()


def test_hits_in_any_order_and_of_other_indexes(rng: np.random.Generator) -> None:
    index = made(rng, "int8")
    query = unit(rng, 4)
    best = index.search(query, 3)
    (why,) = index.explain(query, best)
    gaps = Hits(np.array([[-1, *best.ids[0, ::-1], -1]], object), np.zeros((1, 5), F32))
    (other,) = index.explain(query, gaps)
    assert same_bits(other.scores[1:4], why.scores[::-1])
    assert other.document_tokens[:, 0].tolist() == [-1, *why.document_tokens[::-1, 0], -1]


def test_the_first_of_equal_tokens() -> None:
    index = MultiVectorIndex(2, codec="float32")
    index.add([np.array([[0, 1], [1, 0], [1, 0]], F32)])
    (why,) = index.explain(np.array([[1, 0]], F32), index.search(np.array([[1, 0]], F32), 1))
    assert why.document_tokens.tolist() == [[1]]


def test_of_an_opened_file(rng: np.random.Generator, tmp_path: Path) -> None:
    index = made(rng, "residual2")
    query = unit(rng, 8)
    hits = index.search(query, 5)
    index.save(tmp_path / "x")
    opened = tercet.open(tmp_path / "x")
    assert isinstance(opened, MultiVectorIndex)
    (a,), (b,) = index.explain(query, hits, threads=1), opened.explain(query, hits, threads=3)
    assert same_bits(a.scores, b.scores)
    assert (a.document_tokens == b.document_tokens).all()


def test_levels(isa: str) -> None:
    code = """if True:
        import numpy as np, tercet
        rng = np.random.default_rng(0)
        index = tercet.MultiVectorIndex(20, codec="int4")
        index.add([rng.standard_normal((n, 20)).astype("f4") for n in (5, 9, 40)])
        query = rng.standard_normal((33, 20)).astype("f4")
        (why,) = index.explain(query, index.search(query, 3))
        results = {"scores": why.scores, "tokens": why.document_tokens}
    """
    here, scalar = run_under(isa, code), run_under("scalar", code)
    assert all(same_bits(here[name], scalar[name]) for name in scalar)


@pytest.mark.parametrize(
    ("hits", "error", "message"),
    [
        ([[1]], TypeError, "hits: expected Hits of a search, got list"),
        (Hits(np.zeros((2, 1), np.int64), np.zeros((2, 1), F32)), ValueError, "hits: expected 1 rows"),
        (Hits(np.array([[9]]), np.zeros((1, 1), F32)), KeyError, "not in this index: 9"),
        (Hits(np.array([["a"]], object), np.zeros((1, 1), F32)), TypeError, "int ids, got str"),
    ],
)
def test_errors(hits: Any, error: type[Exception], message: str) -> None:
    index = MultiVectorIndex(2)
    index.add(np.ones((1, 1, 2), F32))
    with pytest.raises(error, match=message):
        index.explain(np.ones((1, 2), F32), hits)
    with pytest.raises(ValueError, match="query has no tokens"):
        index.explain(np.ones((0, 2), F32), Hits(np.zeros((1, 1), np.int64), np.zeros((1, 1), F32)))
    with pytest.raises(ValueError, match="queries: row 0"):
        index.explain(np.full((1, 2), np.nan, F32), Hits(np.zeros((1, 1), np.int64), np.zeros((1, 1), F32)))
