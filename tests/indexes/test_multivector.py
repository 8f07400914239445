"""MultiVectorIndex: token vectors in, MaxSim out, and random operations against a dictionary."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference
import tercet
from levels import same_bits
from tercet import Hits, MultiVectorIndex, TokenVectors
from twin import Twin

Array = npt.NDArray[Any]
F32 = np.float32
CODECS: list[Any] = ["float32", "bfloat16", "int8", "int4", "int2", "binary"]


def texts(rng: np.random.Generator, dim: int, lengths: Any) -> list[Array]:
    return [rng.standard_normal((n, dim)).astype(F32) for n in lengths]


@pytest.mark.parametrize("kind", [int, str])
@pytest.mark.parametrize("codec", CODECS)
def test_behaves_as_a_dictionary(codec: Any, kind: type, rng: np.random.Generator) -> None:
    def document() -> Array:
        return rng.integers(-2, 3, (rng.integers(0, 5), 3)).astype(F32)  # some without tokens

    def score(queries: list[Array], documents: list[Array]) -> Array:
        return reference.stored_maxsim(queries, documents, codec)

    Twin(MultiVectorIndex(3, codec=codec), kind, rng, document, score).run(300)


@pytest.mark.parametrize("codec", CODECS)
def test_accuracy(codec: Any, rng: np.random.Generator) -> None:
    """No score is farther from exact MaxSim than the rounding of the codec explains."""
    queries, documents = texts(rng, 64, [32, 5, 1]), texts(rng, 64, rng.integers(1, 40, 150))
    index = MultiVectorIndex(64, codec=codec)
    index.add(documents)
    hits = index.search(queries, 150)
    exact = reference.exact_maxsim(queries, documents)
    limit = np.array([[bound(q, d, codec).max(axis=1).sum() for d in documents] for q in queries])
    error = np.abs(hits.scores - np.take_along_axis(exact, hits.ids, 1))
    assert (error <= np.take_along_axis(limit, hits.ids, 1)).all()
    assert error.max() > limit.max() / 100  # the limit says something
    if codec != "float32":  # what ranks first is close to the best
        best = np.take_along_axis(exact, hits.ids[:, :1], 1)
        close = {"int2": 0.9, "binary": 0.75}.get(codec, 0.98)
        assert (best >= close * exact.max(axis=1, keepdims=True)).all()


def bound(q: Array, x: Array, codec: str) -> Array:
    """What |q.x - score| cannot exceed: half a step on either side, and the rounding of float32 sums."""
    sizes = np.abs(q).astype(float) @ np.abs(x).astype(float).T
    if codec == "float32":
        return 1e-6 * sizes
    if codec == "bfloat16":
        return (2.0**-8 + 2.0**-16 + 1e-6) * sizes
    if (
        codec in reference.BITS
    ):  # Cauchy-Schwarz; a query's step is at most its length / 127 in each dimension
        kept = reference.decode(x.astype(F32), codec).astype(float)
        lengths, step = np.linalg.norm(q, axis=1)[:, None], q.shape[1] ** 0.5 / 254
        return lengths * (np.linalg.norm(x - kept, axis=1) + step * np.linalg.norm(kept, axis=1)) * (1 + 1e-5)
    q_step = np.abs(q).max(1)[:, None] / 254
    x_step = np.abs(x).max(1)[None, :] / 254 * (1 + 2.0**-7)
    spread = np.abs(q).sum(1)[:, None] + q.shape[1] * q_step
    return 1e-6 * sizes + q_step * np.abs(x).sum(1)[None, :] + x_step * spread


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_stored(codec: Any, rng: np.random.Generator) -> None:
    documents = texts(rng, 10, [3, 0, 5])
    index = MultiVectorIndex(10, codec=codec)
    index.add(documents, ["a", "b", "c"])
    got = index.get(["c", "b", "a"])
    assert isinstance(got, TokenVectors)
    assert got.offsets.tolist() == [0, 5, 5, 8]
    want = reference.decode(np.concatenate([documents[2], documents[0]]), codec)
    assert same_bits(got.values + 0, want + 0)
    row = {"float32": 40, "bfloat16": 20, "int8": 12, "int4": 10, "int2": 6, "binary": 6}[codec]
    assert index.num_tokens == 8
    scale = 0 if codec in ("float32", "bfloat16") else 2
    parts = index.stats()["bytes"]
    assert parts == {
        "codes": 8 * (row - scale), "scales": 8 * scale, "centroids": 0, "codebook": 0, "lists": 0,
        "documents": 3 * 16, "ids": parts["ids"],
    }  # fmt: skip
    assert index.stats() == {
        "kind": "MultiVectorIndex", "dim": 10, "codec": codec, "size": 3, "tokens": 8, "nbytes": index.nbytes,
        "centroids": 0, "bytes": parts, "bytes_per_token": sum(parts.values()) / 8,
        **({"seed": 0} if codec in reference.BITS else {}),
    }  # fmt: skip
    assert repr(index) == f"MultiVectorIndex(dim=10, codec='{codec}', size=3)"
    assert MultiVectorIndex(3).codec == "int4"


def test_memory_of_removed_documents_is_used_again(rng: np.random.Generator) -> None:
    index = MultiVectorIndex(8, codec="float32")
    documents = texts(rng, 8, [10] * 100)
    index.add(documents)
    full = index.nbytes
    for _ in range(20):
        index.add(documents, range(100))  # replaced
        assert index.num_tokens == 1000
        assert index.nbytes <= 2 * full
    index.remove(range(99))
    assert index.num_tokens == 10
    assert index.nbytes <= full / 30
    assert same_bits(index.get(99).values, documents[99])
    index.remove(99)
    assert (index.num_tokens, index.nbytes) == (0, 0)


def test_replacing_changes_the_number_of_tokens(rng: np.random.Generator) -> None:
    index = MultiVectorIndex(5, codec="float32")
    documents = {i: doc for i, doc in enumerate(texts(rng, 5, [4, 1, 7, 3]))}
    index.add(list(documents.values()))
    for i, n in [(2, 1), (0, 9), (3, 0), (1, 2), (3, 5), (0, 1), (2, 30)]:
        documents[i] = texts(rng, 5, [n])[0]
        index.add([documents[i], documents[1]], [i, 1] if i != 1 else [1, 7])
        documents[7] = documents[1]
        known = [j for j in documents if j in index]
        assert index.num_tokens == sum(len(documents[j]) for j in known)
        for j in known:
            assert same_bits(index.get(j).values, documents[j])


def test_every_way_to_say_the_same(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    padded = rng.standard_normal((6, 4, 8)).astype(F32)
    query = texts(rng, 8, [7])[0]
    want = tercet.maxsim(query, padded)[0]
    for documents in [
        padded,
        list(padded),
        tuple(padded),
        TokenVectors(padded.reshape(24, 8), range(0, 25, 4)),
        torch.from_numpy(padded),
        [torch.from_numpy(p) for p in padded],
        padded.tolist(),
    ]:
        index = MultiVectorIndex(8, codec="float32")
        assert index.add(documents).tolist() == [0, 1, 2, 3, 4, 5]
        for one in (
            query,
            query[None],
            [query],
            torch.from_numpy(query),
            TokenVectors(query, [0, 7]),
            query.tolist(),
        ):
            hits = index.search(one, 6)
            assert same_bits(hits.scores, -np.sort(-want)[None])
    assert index.add(padded[0]).tolist() == [6]  # one document


@pytest.mark.parametrize("codec", CODECS)
def test_documents_without_tokens(codec: Any) -> None:
    index = MultiVectorIndex(3, codec=codec)
    empty, full = np.empty((0, 3), F32), np.ones((2, 3), F32)
    index.add([empty, full, empty], [5, 7, 3])
    hits = index.search(full, 5)
    assert hits.ids.tolist() == [[7, 3, 5, -1, -1]]
    assert hits.scores.tolist() == [[pytest.approx(6, rel=0.02), *[-np.inf] * 4]]
    assert index.search(full * 0, 2).scores.tolist() == [[0, -np.inf]]
    assert [len(d) for d in index.get([3, 7])] == [0, 2]
    index.remove(7)
    assert index.search(full, 1).ids.tolist() == [[3]]


@pytest.mark.parametrize("codec", CODECS)
def test_nothing_but_documents_without_tokens(codec: Any) -> None:
    index = MultiVectorIndex(3, codec=codec)
    index.add([np.empty((0, 3), F32)])
    index.add(np.empty((2, 0, 3), F32))
    index.add(TokenVectors(np.empty((0, 3), F32), [0, 0]))
    assert (len(index), index.num_tokens) == (4, 0)
    hits = index.search(np.ones((1, 3), F32), 5)
    assert hits.ids.tolist() == [[0, 1, 2, 3, -1]]
    assert (hits.scores == -np.inf).all()
    assert index.get([2, 0]).offsets.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ([np.ones((2, 3), F32)], ValueError, "expected 4 dimensions, got 3"),
        ([np.ones((2, 4), F32), np.ones((2, 3), F32)], ValueError, "item 1: expected 4 dimensions, got 3"),
        (np.ones(4, F32), ValueError, r"expected shape .*got \[4\]"),
        (np.ones((1, 1, 1, 4), F32), ValueError, r"got \[1, 1, 1, 4\]"),
        ([np.ones(4, F32)], ValueError, r"item 0: .*got \[4\]"),
        ([], ValueError, "empty list"),
        (np.ones((0, 2, 4), F32), ValueError, "at least one text"),
        (TokenVectors(np.ones((0, 4), F32), [0]), ValueError, "at least one text"),
        ([np.ones((2, 4))], TypeError, "item 0: dtype float64"),
        (np.ones((1, 2, 4), int), TypeError, "dtype int64"),
        ([np.ones((1, 4), F32), np.full((2, 4), np.nan, F32)], ValueError, "row 1 has a value"),
        (None, TypeError, "NoneType"),
        (7, TypeError, ""),
    ],
)  # fmt: skip
def test_bad_token_vectors(given: Any, kind: type[Exception], message: str) -> None:
    index = MultiVectorIndex(4)
    index.add([np.ones((1, 4), F32)])
    with pytest.raises(kind, match=f"^vectors: .*{message}"):
        index.add(given)
    with pytest.raises(kind, match=f"^queries: .*{message}"):
        index.search(given)
    assert (len(index), index.num_tokens) == (1, 1)


def test_queries_need_tokens() -> None:
    index = MultiVectorIndex(2)
    index.add([np.ones((1, 2), F32)])
    with pytest.raises(ValueError, match="queries: query 1 has no tokens"):
        index.search([np.ones((3, 2), F32), np.empty((0, 2), F32), np.ones((1, 2), F32)])


def test_an_empty_index_finds_nothing() -> None:
    index = MultiVectorIndex(2)
    hits = index.search(np.ones((2, 3, 2), F32), 4)
    assert hits.ids.tolist() == [[-1] * 4] * 2
    assert (hits.scores == -np.inf).all()


@pytest.mark.parametrize("codec", CODECS)
def test_many_query_tokens(codec: Any, rng: np.random.Generator) -> None:
    """More than one group of the scan; each query as if it were alone."""
    index = MultiVectorIndex(6, codec=codec)
    index.add(texts(rng, 6, rng.integers(0, 6, 140)))
    queries = texts(rng, 6, rng.integers(1, 90, 70))
    hits = index.search(queries, 9, threads=2)
    for q in range(0, 70, 3):
        one = index.search(queries[q], 9, threads=1)
        assert one.ids[0].tolist() == hits.ids[q].tolist()
        assert same_bits(one.scores[0], hits.scores[q])


@pytest.mark.parametrize("codec", CODECS)
def test_no_score_overflows(codec: Any) -> None:
    """Of infinities none would rank rightly: the largest vectors have finite scores, others are refused."""
    index = MultiVectorIndex(2, codec=codec)
    largest = np.float32(1e12 if codec == "pq16" else 1e15)
    tokens = largest * np.array([[1, 1], [1, 0], [-1, -1]], F32)
    index.add(tokens[:, None])
    hits = index.search(largest * np.array([[1, -0.5]] * 4, F32), 3)
    assert np.isfinite(hits.scores).all()
    assert hits.ids[0, -1] == 2
    for given in (index.add, lambda rows: index.search(rows, 1)):
        with pytest.raises(ValueError, match=r"magnitude of 1\.1e"):
            given(np.full((1, 2), 1.1 * largest, F32))


# ---- rerank


@pytest.mark.parametrize("kind", [int, str])
@pytest.mark.parametrize("codec", CODECS)
def test_rerank(codec: Any, kind: type, rng: np.random.Generator) -> None:
    documents, queries = texts(rng, 12, rng.integers(1, 9, 60)), texts(rng, 12, [3, 8, 1, 2])
    names = [kind(i * 7 % 60) for i in range(60)]
    multi, flat = MultiVectorIndex(12, codec=codec), tercet.FlatIndex(12)
    multi.add(documents, names)
    flat.add(np.stack([d.mean(0) for d in documents]), names)
    candidates = flat.search(np.stack([q.mean(0) for q in queries]), 20)
    hits = multi.rerank(queries, candidates, 5)
    scores = reference.stored_maxsim(queries, documents, codec)
    for q, found in enumerate(hits):
        kept = [names.index(hit.id) for hit in candidates[q]]
        ids, best = reference.topk(scores[q : q + 1, kept], 5, [names[i] for i in kept])
        assert [hit.id for hit in found] == ids[0].tolist()
        np.testing.assert_allclose([hit.score for hit in found], best[0], rtol=1e-5)


def test_rerank_of_unfilled_and_repeated_candidates() -> None:
    index = MultiVectorIndex(2, codec="float32")
    index.add([np.full((1, 2), i, F32) for i in range(5)])
    ids = np.array([[3, -1, -1], [1, 1, 4], [-1, -1, -1]])
    candidates = Hits(ids, np.where(ids < 0, -np.inf, 1).astype(F32))
    hits = index.rerank(np.ones((3, 1, 2), F32), candidates, 3)
    assert [[tuple(hit) for hit in query] for query in hits] == [[(3, 6)], [(4, 8), (1, 2)], []]


def test_bad_candidates() -> None:
    index = MultiVectorIndex(2)
    index.add(np.ones((3, 1, 2), F32))
    query = np.ones((1, 2), F32)
    scores = np.ones((1, 8), F32)
    with pytest.raises(KeyError, match=r"3, 4, 5, 6, 7 \(6 in all\)"):
        index.rerank(query, Hits(np.arange(1, 9)[None], scores), 3)
    with pytest.raises(KeyError, match="a"):
        index.rerank(query, Hits(np.array([["a"]], object), scores[:, :1]), 3)
    with pytest.raises(ValueError, match="candidates: expected 2 rows, one per query, got 1"):
        index.rerank(np.ones((2, 1, 2), F32), Hits(np.array([[1]]), scores[:, :1]), 3)
    with pytest.raises(ValueError, match="k: expected at least 1"):
        index.rerank(query, Hits(np.array([[1]]), scores[:, :1]), 0)
    with pytest.raises(ValueError, match="queries: expected 2 dimensions, got 3"):
        index.rerank(np.ones((1, 3), F32), Hits(np.array([[1]]), scores[:, :1]), 1)
