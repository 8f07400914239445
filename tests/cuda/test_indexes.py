"""Indexes on a device answer as the ones they were copied from: ids and scores, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference
import tercet
from device_tensors import bfloat16_on_device, on_device
from levels import same_bits
from tercet import FlatIndex, Hits, MultiVectorIndex
from tercet.cuda import DeviceHits, search

pytestmark = pytest.mark.usefixtures("device")

Array = npt.NDArray[Any]
F32 = np.float32
FLAT: list[Any] = ["float32", "bfloat16", "int8", "int4", "int2", "binary"]
TOKENS: list[Any] = [*FLAT, "residual2", "residual1"]


def vectors(rng: np.random.Generator, codec: str, *shape: int) -> Array:
    """Of bfloat16 small integers, whose sums are exact in any order."""
    if codec == "bfloat16":
        return rng.integers(-3, 4, shape).astype(F32)
    return rng.standard_normal(shape).astype(F32)


def same(got: Hits, want: Hits) -> bool:
    return got.ids.tolist() == want.ids.tolist() and same_bits(got.scores, want.scores)


def candidates_of(ids: Any) -> Hits:
    array = np.asarray(ids)
    return Hits(array, np.where(array == -1, -np.inf, 1).astype(F32))


def fetched(hits: DeviceHits) -> Hits:
    return Hits(hits.ids.numpy(), hits.scores.numpy())


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("codec", FLAT)
def test_flat(codec: Any, metric: Any, rng: np.random.Generator) -> None:
    for dim, count in [(1, 3), (48, 200), (130, 33)]:
        index = FlatIndex(dim, metric=metric, codec=codec, seed=5)
        index.add(vectors(rng, codec, count, dim), rng.permutation(count) * 3)
        index.remove(index.ids[:2])
        copy = index.to_device()
        assert (len(copy), copy.dim, copy.codec) == (count - 2, dim, codec)
        for n, k in [(1, 10), (35, 4)]:
            queries = vectors(rng, codec, n, dim)
            want = index.search(queries, k)
            if codec == "bfloat16" and metric == "cosine":  # not integers any more
                np.testing.assert_allclose(copy.search(queries, k).scores, want.scores, rtol=1e-5)
                continue
            assert same(copy.search(queries, k), want)
            assert same(fetched(copy.search(on_device(queries), k)), want)


@pytest.mark.parametrize("codec", TOKENS)
def test_multivector(codec: Any, rng: np.random.Generator) -> None:
    for dim, lengths in [(3, [1, 2, 0, 5]), (48, rng.integers(0, 40, 60)), (132, [17, 1, 30])]:
        index = MultiVectorIndex(dim, codec=codec, seed=5)
        index.train(vectors(rng, codec, 1200, dim), centroids=20) if "residual" in codec else None
        ids = rng.permutation(len(lengths)) * 7
        index.add([vectors(rng, codec, n, dim) for n in lengths], ids)
        index.remove(ids[:1])
        copy = index.to_device()
        assert len(copy) == len(lengths) - 1
        ragged = [vectors(rng, codec, n, dim) for n in (3, 33, 1)]
        for k in (1, 7, 100):
            assert same(copy.search(ragged, k), index.search(ragged, k, exact=True))
        even = vectors(rng, codec, 2, 5, dim)
        want = index.search(list(even), 6, exact=True)
        assert same(fetched(copy.search(on_device(even), 6)), want)
        one = fetched(copy.search(on_device(even[1]), 6))
        assert same(one, want[1:2])


def test_strings_are_ids_in_host_memory(rng: np.random.Generator) -> None:
    names = [f"ä{i}" for i in range(30)] + ["Z", "a", "é"]
    rng.shuffle(names)
    flat, multi = FlatIndex(8, codec="int8"), MultiVectorIndex(8, codec="int4")
    flat.add(rng.integers(-1, 2, (33, 8)).astype(F32), names)  # many ties
    multi.add(rng.integers(-1, 2, (33, 2, 8)).astype(F32), names)
    query = np.ones((1, 8), F32)
    assert same(flat.to_device().search(query, 40), flat.search(query, 40))
    assert same(multi.to_device().search(query, 40), multi.search(query, 40))
    for copy in (flat.to_device(), multi.to_device()):
        with pytest.raises(TypeError, match="a device has no strings"):
            copy.search(on_device(query), 3)


def test_an_empty_index_finds_nothing() -> None:
    for copy in (FlatIndex(4).to_device(), MultiVectorIndex(4).to_device()):
        hits = copy.search(np.ones((2, 4), F32), 3)
        assert set(hits.ids.ravel().tolist()) == {-1}
        assert (hits.scores == -np.inf).all()


def test_rows_are_copied_in_parts(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tercet.cuda.rows.UPLOADED_BYTES", 100)
    index = FlatIndex(24, codec="int4")
    index.add(rng.standard_normal((50, 24)).astype(F32), rng.permutation(50))
    query = rng.standard_normal((2, 24)).astype(F32)
    assert same(index.to_device().search(query, 50), index.search(query, 50))


def test_a_copy_stays_as_it_is(rng: np.random.Generator) -> None:
    index = FlatIndex(4, metric="dot")
    index.add(np.eye(4, dtype=F32))
    copy = index.to_device()
    index.remove([0, 1])
    assert copy.search(np.eye(4, dtype=F32), 1).ids.ravel().tolist() == [0, 1, 2, 3]
    assert repr(copy) == "DeviceFlatIndex(dim=4, codec='float32', size=4, device=0)"
    assert copy.nbytes == 4 * 16 + 4 * 8


@pytest.mark.parametrize("kind", [int, str])
def test_rerank(kind: type, rng: np.random.Generator) -> None:
    documents = [rng.standard_normal((n, 16)).astype(F32) for n in rng.integers(1, 9, 50)]
    queries = [rng.standard_normal((n, 16)).astype(F32) for n in (4, 8, 1)]
    index = MultiVectorIndex(16)
    index.add(documents, [kind(3 * i) for i in range(50)])
    ids = np.full((3, 6), -1, object if kind is str else np.int64)
    for row, given in zip(ids, [[3, 30, 3, 147], [], [9, 0, 6, 3, 12]], strict=True):
        row[: len(given)] = [kind(i) for i in given]
    candidates = candidates_of(ids)
    copy = index.to_device()
    for k in (2, 9):
        assert same(copy.rerank(queries, candidates, k), index.rerank(queries, candidates, k))
    unknown = candidates_of([[kind(1)], [kind(4)], [kind(3)]])
    with pytest.raises(KeyError, match=r"candidates not in this index: 1, 4 \(2 in all\)"):
        copy.rerank(queries, unknown, 2)
    with pytest.raises(ValueError, match="candidates: expected 3 rows"):
        copy.rerank(queries, candidates[:2], 2)
    for searched in (index, copy):
        with pytest.raises(TypeError, match="candidates: expected Hits of a search, got NoneType"):
            searched.rerank(queries, None, 2)


def test_rerank_on_the_device(rng: np.random.Generator) -> None:
    index = MultiVectorIndex(16, codec="int8")
    index.add([rng.standard_normal((n, 16)).astype(F32) for n in rng.integers(0, 9, 50)], range(0, 500, 10))
    copy = index.to_device()
    queries = rng.standard_normal((2, 5, 16)).astype(F32)
    given = np.array([[40, 7, 40, -1, 120, 490], [0, 10, 20, 30, 40, 50]])
    clean = np.array([[40, -1, -1, -1, 120, 490], [0, 10, 20, 30, 40, 50]])
    want = index.rerank(list(queries), candidates_of(clean), 4)
    assert same(fetched(copy.rerank(on_device(queries), on_device(given), 4)), want)
    assert same(copy.rerank(list(queries), on_device(given), 4), want)
    assert same(fetched(copy.rerank(on_device(queries), candidates_of(clean), 4)), want)
    hits = copy.search(on_device(queries), 6)
    assert same(fetched(copy.rerank(on_device(queries), hits, 4)), index.search(list(queries), 4, exact=True))
    with pytest.raises(ValueError, match=r"candidates: expected shape \[2, m\], got \[1, 6\]"):
        copy.rerank(on_device(queries), on_device(given[:1]), 4)
    with pytest.raises(ValueError, match="candidates: expected at most 4096"):
        copy.rerank(on_device(queries), on_device(np.zeros((2, 4097), np.int64)), 4)
    with pytest.raises(TypeError, match="candidates: expected int64 on a device, got int32"):
        copy.rerank(on_device(queries), on_device(given.astype(np.int32)), 4)


def test_queries_of_two_bytes(rng: np.random.Generator) -> None:
    index = FlatIndex(24, metric="dot", codec="int4")
    index.add(rng.standard_normal((40, 24)).astype(F32))
    copy = index.to_device()
    queries = rng.standard_normal((3, 24)).astype(F32)
    halves = queries.astype(np.float16)
    assert same(fetched(copy.search(on_device(halves), 9)), index.search(halves, 9))
    rounded = reference.widen(reference.bfloat16(queries))
    assert same(fetched(copy.search(bfloat16_on_device(queries), 9)), index.search(rounded, 9))


def test_what_a_device_cannot_do() -> None:
    with pytest.raises(ValueError, match="metric 'l2'"):
        FlatIndex(4, metric="l2").to_device()
    with pytest.raises(ValueError, match="rescoring"):
        FlatIndex(4, codec="int8", rescore="float32").to_device()
    with pytest.raises(ValueError, match="codec: 'pq16'"):
        MultiVectorIndex(4, codec="pq16").to_device()
    with pytest.raises(ValueError, match="dim: expected at most 8192 on a device, got 8193"):
        FlatIndex(8193).to_device()
    index = FlatIndex(4)
    index.add(np.eye(4, dtype=F32))
    copy = index.to_device()
    with pytest.raises(ValueError, match="k: expected at most 2048"):
        copy.search(np.ones(4, F32), 2049)
    assert copy.search(np.ones(4, F32), 2048).ids.shape == (1, 2048)


@pytest.mark.parametrize(
    ("queries", "kind", "message"),
    [
        (np.ones((2, 3), F32), ValueError, "expected 4 dimensions, got 3"),
        (np.ones((0, 4), F32), ValueError, "(expected at least one row|query 0 has no tokens)"),
        (np.ones((2, 4)), TypeError, "float64"),
        (np.ones((1, 1, 1, 4), F32), ValueError, "shape"),
        (np.full((2, 4), np.nan, F32), ValueError, "row 0 has a value"),
    ],
)
def test_bad_queries(queries: Array, kind: type[Exception], message: str) -> None:
    flat, multi = FlatIndex(4), MultiVectorIndex(4)
    flat.add(np.eye(4, dtype=F32))
    multi.add(np.eye(4, dtype=F32))
    for copy in (flat.to_device(), multi.to_device()):
        with pytest.raises(kind, match=f"^queries: .*{message}"):
            copy.search(queries, 3)
        if np.isfinite(queries).all() and queries.dtype == F32:
            with pytest.raises((ValueError, TypeError), match=r"^queries: "):
                copy.search(on_device(queries), 3)


@pytest.mark.parametrize("codec", ["float32", "bfloat16", "int8", "int4", "residual2"])
def test_queries_too_large_for_a_codec(codec: Any, rng: np.random.Generator) -> None:
    flat, multi = (
        FlatIndex(4, metric="dot", codec="int2" if "res" in codec else codec),
        MultiVectorIndex(4, codec=codec),
    )
    multi.train(rng.standard_normal((1200, 4)).astype(F32), centroids=20) if "residual" in codec else None
    queries = np.ones((3, 4), F32)
    for index in (flat, multi):
        index.add(rng.standard_normal((9, 4)).astype(F32))
        copy = index.to_device()
        for largest in (1e31, -3.4e38, 1e29, 1e13):
            queries[1, 2] = largest
            messages = []
            for searched in (index, copy):
                try:
                    searched.search(queries, 2)
                    messages.append("")
                except ValueError as e:
                    messages.append(str(e))
            assert messages[0] == messages[1]
            assert not messages[0] or messages[0].startswith("queries: row 1 has a magnitude of ")


@pytest.mark.parametrize("form", ["hits", "device", "none"])
def test_one_long_query_does_not_pad_the_others(
    form: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tercet.cuda.search.PADDED_BYTES", 200 * 8 * 4)
    index = MultiVectorIndex(8)
    index.add([rng.standard_normal((n, 8)).astype(F32) for n in rng.integers(1, 9, 30)])
    queries = [rng.standard_normal((n, 8)).astype(F32) for n in [1, 1, 300, *[1] * 20, 90, 90, 90]]
    copy = index.to_device()
    uploaded: list[int] = []
    upload = search.upload
    monkeypatch.setattr(search, "upload", lambda x, *rest: (uploaded.append(x.nbytes), upload(x, *rest))[1])
    if form == "none":
        assert same(copy.search(queries, 5), index.search(queries, 5, exact=True))
    else:
        ids = rng.permuted(np.tile(np.arange(30), (len(queries), 1)), axis=1)[:, :7]
        want = index.rerank(queries, candidates_of(ids), 5)
        given = on_device(ids) if form == "device" else candidates_of(ids)
        assert same(copy.rerank(queries, given, 5), want)
    assert max(uploaded) == 300 * 8 * 4


def test_devices_are_numbered() -> None:
    for device, kind in [(-1, ValueError), (1 << 32, ValueError), (True, TypeError), ("0", TypeError)]:
        with pytest.raises(kind, match="device: expected "):
            FlatIndex(4).to_device(device)  # type: ignore[arg-type]


def test_queries_need_tokens() -> None:
    index = MultiVectorIndex(2)
    index.add([np.ones((1, 2), F32)])
    with pytest.raises(ValueError, match="queries: query 1 has no tokens"):
        index.to_device().search([np.ones((3, 2), F32), np.empty((0, 2), F32)])


def test_public_names_are_documented() -> None:
    for name in tercet.cuda.__all__:
        assert getattr(tercet.cuda, name).__doc__
