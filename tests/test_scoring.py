"""dot, topk, maxsim and maxsim_grid: what they return, and what bad input gets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import reference
import tercet
from levels import run_python, run_under, same_bits
from tercet import TokenVectors
from tercet.arrays import Rows

Array = npt.NDArray[Any]
F32, I8 = np.float32, np.int8


def ones(*shape: int, dtype: Any = F32) -> Array:
    return np.ones(shape, dtype)


def vectors(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(F32)


# ---- dot


def test_dot(rng: np.random.Generator) -> None:
    queries, docs = vectors(rng, 40, 65), vectors(rng, 1000, 65)
    scores = tercet.dot(queries, docs)
    assert scores.dtype == F32
    assert same_bits(scores, reference.dot(queries, docs))
    np.testing.assert_allclose(scores, reference.exact_dot(queries, docs), rtol=0, atol=1e-4)


def test_one_vector_is_a_batch_of_one(rng: np.random.Generator) -> None:
    query, docs = vectors(rng, 8), vectors(rng, 5, 8)
    assert tercet.dot(query, docs).shape == (1, 5)
    assert tercet.dot(docs, query).shape == (5, 1)
    assert tercet.dot(query, query).shape == (1, 1)
    assert tercet.topk(query, docs, 3).ids.shape == (1, 3)
    assert tercet.maxsim(docs, docs).shape == (1, 1)


def test_mixed_formats_are_computed_in_float32(rng: np.random.Generator) -> None:
    floats, integers = vectors(rng, 6, 20), rng.integers(-128, 128, (7, 20)).astype(I8)
    bits = reference.bfloat16(floats)
    wide = reference.widen(bits)
    half = floats.astype(np.float16)
    for a, b, want in [
        (floats, integers, reference.dot(floats, integers.astype(F32))),
        (Rows(bits, "bfloat16"), integers, reference.dot(wide, integers.astype(F32))),
        (Rows(bits, "bfloat16"), floats, reference.dot(wide, floats)),
        (half, floats, reference.dot(half.astype(F32), floats)),
    ]:
        assert same_bits(tercet.dot(a, b), want)


@pytest.mark.parametrize("dim", [3, 129, 4096])
def test_int8_scores_are_integers(dim: int, rng: np.random.Generator) -> None:
    queries, docs = rng.integers(-128, 128, (5, dim)).astype(I8), rng.integers(-128, 128, (9, dim)).astype(I8)
    queries[1:] = np.maximum(queries[1:], -127)
    assert same_bits(tercet.dot(queries[1:], docs), reference.dot_int8(queries[1:], docs))
    assert same_bits(tercet.dot(queries, docs), reference.dot_int8(queries, docs))


def test_int8_scores_do_not_depend_on_company(rng: np.random.Generator) -> None:
    """A query with -128 must not change how its neighbours are computed."""
    queries, docs = rng.integers(90, 128, (3, 4096)).astype(I8), rng.integers(90, 128, (8, 4096)).astype(I8)
    alone = tercet.dot(queries[:2], docs)
    queries[2, 0] = -128
    assert same_bits(tercet.dot(queries, docs)[:2], alone)
    assert same_bits(tercet.maxsim(queries[:, None], docs[:, None])[:2], alone)


# ---- topk


@pytest.mark.parametrize("metric", ["dot", "cosine", "l2"])
@pytest.mark.parametrize("k", [1, 7, 300, 1000])
def test_topk(metric: str, k: int, rng: np.random.Generator) -> None:
    queries, docs = vectors(rng, 33, 17), vectors(rng, 300, 17)
    docs[100:200] = docs[:100]
    hits = tercet.topk(queries, docs, k, metric=metric)  # type: ignore[arg-type]
    ids, scores = reference.topk(reference.index_scores(queries, docs, metric, "float32"), k)
    assert hits.ids.dtype == np.int64
    assert hits.scores.dtype == F32
    assert same_bits(hits.ids, ids)
    assert same_bits(hits.scores, scores)


def test_metrics_mean_what_they_say(rng: np.random.Generator) -> None:
    queries, docs = vectors(rng, 4, 30), vectors(rng, 20, 30) * rng.uniform(0.1, 5, (20, 1)).astype(F32)
    a, b = queries.astype(float), docs.astype(float)
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None, :]
    for metric, exact in [
        ("dot", a @ b.T),
        ("cosine", a @ b.T / lengths),
        ("l2", -((a[:, None] - b[None, :]) ** 2).sum(2)),
    ]:
        hits = tercet.topk(queries, docs, 20, metric=metric)  # type: ignore[arg-type]
        np.testing.assert_allclose(hits.scores, np.take_along_axis(exact, hits.ids, 1), rtol=1e-4, atol=1e-4)
        assert (np.diff(hits.scores) <= 0).all()


def test_zero_vectors() -> None:
    docs = np.array([[0, 0], [3, 4]], F32)
    assert tercet.topk(np.zeros(2, F32), docs, 2, metric="cosine").scores.tolist() == [[0, 0]]
    assert tercet.topk(docs[1], docs, 2, metric="cosine").scores.tolist() == [[1, 0]]
    assert tercet.topk(docs[0], docs, 2, metric="l2").scores.tolist() == [[0, -25]]


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_massive_ties_over_many_chunks(metric: str, rng: np.random.Generator) -> None:
    queries = rng.integers(-1, 2, (40, 4)).astype(F32)
    docs = rng.integers(-1, 2, (13000, 4)).astype(F32)
    ids, scores = reference.topk(reference.index_scores(queries, docs, metric, "float32"), 500)
    for k in (1, 10, 500):
        for threads in (1, 2, 3, 8):
            hits = tercet.topk(queries, docs, k, metric=metric, threads=threads)  # type: ignore[arg-type]
            assert same_bits(hits.ids, ids[:, :k])
            assert same_bits(hits.scores, scores[:, :k])


small_floats = st.integers(-2, 2).map(float) | st.floats(-4, 4, width=32)


@given(
    hnp.arrays(F32, st.tuples(st.integers(1, 40), st.just(3)), elements=small_floats),
    hnp.arrays(F32, st.tuples(st.integers(1, 200), st.just(3)), elements=small_floats, fill=small_floats),
    st.integers(1, 210),
    st.integers(1, 4),
)
def test_topk_is_the_total_order(queries: Array, docs: Array, k: int, threads: int) -> None:
    hits = tercet.topk(queries, docs, k, threads=threads)
    ids, scores = reference.topk(reference.dot(queries, docs), k)
    assert same_bits(hits.ids, ids)
    assert same_bits(hits.scores, scores)


def test_k_greater_than_everything_is_no_error() -> None:
    hits = tercet.topk(ones(1, 2), np.array([[1, 1], [2, 2]], F32), 5)
    assert hits.ids.tolist() == [[1, 0, -1, -1, -1]]
    assert hits.scores.tolist() == [[4, 2, -np.inf, -np.inf, -np.inf]]
    assert tercet.topk(ones(1, 2), ones(1, 2), np.int64(1)).ids.tolist() == [[0]]


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_overflow_loses_no_document(metric: str) -> None:
    """Finite input whose scores overflow is refused, or every document is there and has a score."""
    docs = np.array([[1e25, 1e25], [1, 1], [-1e25, 1e25]], F32)
    try:
        hits = tercet.topk(docs, docs, 3, metric=metric)  # type: ignore[arg-type]
    except ValueError:
        return
    assert np.sort(hits.ids).tolist() == [[0, 1, 2]] * 3
    assert not np.isnan(hits.scores).any()


# ---- maxsim


def ragged(rng: np.random.Generator, dim: int, lengths: list[int]) -> list[Array]:
    return [vectors(rng, n, dim) for n in lengths]


def test_maxsim(rng: np.random.Generator) -> None:
    queries = ragged(rng, 24, [1, 32, 33, 7, 5])
    docs = ragged(rng, 24, [*rng.integers(0, 30, 200)])
    scores = tercet.maxsim(queries, docs)
    assert scores.dtype == F32
    grid = reference.dot(np.concatenate(queries), np.concatenate(docs))
    assert same_bits(scores, reference.maxsim(grid, reference.offsets(queries), reference.offsets(docs)))
    np.testing.assert_allclose(scores, reference.exact_maxsim(queries, docs), rtol=0, atol=1e-4)
    for threads in (1, 2, 3, 8):
        assert same_bits(tercet.maxsim(queries, docs, threads=threads), scores)


def test_maxsim_does_not_depend_on_company(rng: np.random.Generator) -> None:
    """3000 query tokens in one batch are more than one group of the scan."""
    queries, docs = ragged(rng, 16, [*rng.integers(1, 60, 100)]), ragged(rng, 16, [*rng.integers(0, 9, 70)])
    whole = tercet.maxsim(queries, docs)
    for q in (0, 1, 50, 98, 99):
        assert same_bits(tercet.maxsim(queries[q], docs)[0], whole[q])
    for d in (0, 1, 35, 63, 64, 69):
        if len(docs[d]):
            assert same_bits(tercet.maxsim(queries, docs[d])[:, 0], whole[:, d])


@given(st.data())
def test_maxsim_equals_loops(data: st.DataObject) -> None:
    whole = st.integers(-3, 3).map(float)  # exact in any order of summing
    text = hnp.arrays(F32, st.tuples(st.integers(0, 5), st.just(3)), elements=whole)
    query = hnp.arrays(F32, st.tuples(st.integers(1, 5), st.just(3)), elements=whole)
    queries = data.draw(st.lists(query, min_size=1, max_size=4))
    docs = [*data.draw(st.lists(text, max_size=6)), ones(1, 3)]
    assert tercet.maxsim(queries, docs).tolist() == reference.exact_maxsim(queries, docs).tolist()


def test_documents_without_tokens_score_minus_infinity() -> None:
    query, empty, full = ones(2, 3), np.empty((0, 3), F32), ones(1, 3)
    assert tercet.maxsim(query, [empty, full, empty]).tolist() == [[-np.inf, 6, -np.inf]]
    assert tercet.maxsim(query, TokenVectors(full, [0, 0, 1])).tolist() == [[-np.inf, 6]]
    assert tercet.maxsim([empty, query], [empty, full]).tolist() == [[-np.inf, 0], [-np.inf, 6]]


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_nothing_but_empty_documents(form: str) -> None:
    query, empty = ones(2, 3, dtype=form), np.empty((0, 3), form)
    assert tercet.maxsim(query, [empty]).tolist() == [[-np.inf]]
    assert tercet.maxsim(query, [empty, empty]).tolist() == [[-np.inf, -np.inf]]
    assert tercet.maxsim(query, np.empty((2, 0, 3), form)).tolist() == [[-np.inf, -np.inf]]
    assert tercet.maxsim(query, ones(1, 4, 3, dtype=form), docs_mask=np.zeros((1, 4))).tolist() == [[-np.inf]]


def test_every_way_to_say_the_same(rng: np.random.Generator) -> None:
    lengths = [3, 0, 5, 1]
    docs = ragged(rng, 6, lengths)
    query = vectors(rng, 4, 6)
    padded, mask = vectors(rng, 4, 5, 6), np.arange(5) < np.array(lengths)[:, None]
    padded[mask] = np.concatenate(docs)
    want = tercet.maxsim(query, docs)
    joined = np.concatenate(docs)
    for form in [
        tuple(docs),
        TokenVectors.from_list(docs),
        TokenVectors(joined, [0, 3, 3, 8, 9]),
        [doc[::-1].copy() for doc in docs],  # the order of tokens does not matter
    ]:
        assert same_bits(tercet.maxsim(query, form), want)
    for m in (mask, mask.astype(int), mask.astype(F32), mask.tolist()):
        assert same_bits(tercet.maxsim(query, padded, docs_mask=m), want)
    assert same_bits(tercet.maxsim(query[None], docs), want)
    assert same_bits(tercet.maxsim(query.tolist(), docs), want)
    assert same_bits(tercet.maxsim([query.tolist()], docs), want)
    holes = np.array([[True, False, True, True], [False, False, True, False]])
    queries = vectors(rng, 2, 4, 6)
    got = tercet.maxsim(queries, docs, queries_mask=holes)
    assert same_bits(got, tercet.maxsim([queries[0][holes[0]], queries[1][holes[1]]], docs))
    unmasked = tercet.maxsim(queries, padded)
    assert same_bits(unmasked, tercet.maxsim(list(queries), list(padded)))


def test_maxsim_of_other_formats(rng: np.random.Generator) -> None:
    queries, docs = ragged(rng, 9, [4, 2]), ragged(rng, 9, [3, 0, 6])
    for form, exact in [("float16", np.float16), ("int8", lambda x: (x * 30).astype(I8))]:
        a, b = [exact(q) for q in queries], [exact(d) for d in docs]
        want = reference.exact_maxsim([q.astype(F32) for q in a], [d.astype(F32) for d in b])
        np.testing.assert_allclose(tercet.maxsim(a, b), want, rtol=1e-6, err_msg=form)
    bits = [Rows(reference.bfloat16(np.concatenate(t)), "bfloat16") for t in (queries, docs)]
    grid = reference.dot(*(reference.widen(b.data) for b in bits))
    got = tercet.maxsim(TokenVectors(bits[0], [0, 4, 6]), TokenVectors(bits[1], [0, 3, 3, 9]))
    want = reference.maxsim(grid, np.array([0, 4, 6]), np.array([0, 3, 3, 9]))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)  # AVX512_BF16 rounds in another order


def test_maxsim_grid(rng: np.random.Generator) -> None:
    query, doc = vectors(rng, 5, 12), vectors(rng, 7, 12)
    grid = tercet.maxsim_grid(query, doc)
    assert grid.dtype == F32
    assert same_bits(grid, reference.dot(query, doc))
    assert same_bits(tercet.maxsim_grid(TokenVectors(query, [0, 5]), [doc]), grid)
    np.testing.assert_allclose(grid.max(axis=1).sum(), tercet.maxsim(query, doc)[0, 0], rtol=1e-6)


# ---- bad input

A = ones(2, 3)
dot, topk, maxsim = tercet.dot, tercet.topk, tercet.maxsim
NO_TEXT = TokenVectors(ones(0, 3), [0])
BAD: dict[str, tuple[Callable[..., Any], type[Exception], str]] = {
    "dim": (lambda: dot(A, ones(2, 4)), ValueError, "docs.*expected 3 dimensions, got 4"),
    "dim of topk": (lambda: topk(A, ones(2, 4), 1), ValueError, "docs.*expected 3 dimensions, got 4"),
    "dim of a text": (lambda: maxsim(A, [ones(2, 4)]), ValueError, "docs.*expected 3 dimensions, got 4"),
    "dim in a list": (lambda: maxsim(A, [A, ones(2, 4)]), ValueError, "docs.*item 1.*expected 3.*got 4"),
    "no dim": (lambda: dot(ones(2, 0), ones(2, 0)), ValueError, "queries.*1 to 65535.*got 0"),
    "no dim of texts": (lambda: maxsim(ones(2, 0), ones(2, 0)), ValueError, "queries.*1 to 65535.*got 0"),
    "too wide": (lambda: dot(ones(1, 65536), A), ValueError, "queries.*65535.*got 65536"),
    "rank 0": (lambda: dot(np.array(1, F32), A), ValueError, r"queries.*\[n, dim\].*got \[\]"),
    "rank 3": (lambda: dot(A, A[None]), ValueError, r"docs.*\[n, dim\].*got \[1, 2, 3\]"),
    "rank 1 text": (lambda: maxsim(A[0], A), ValueError, r"queries.*\[tokens, dim\].*got \[3\]"),
    "rank 4 texts": (lambda: maxsim(A, A[None, None]), ValueError, r"docs.*got \[1, 1, 2, 3\]"),
    "rank in a list": (lambda: maxsim(A, [A[0]]), ValueError, r"docs.*item 0.*got \[3\]"),
    "no queries": (lambda: dot(A[:0], A), ValueError, "at least one query.*0 and 2"),
    "no docs": (lambda: topk(A, A[:0], 1), ValueError, "at least one.*document.*2 and 0"),
    "empty list": (lambda: dot([], A), ValueError, "queries"),
    "empty list of texts": (lambda: maxsim([], A), ValueError, "queries.*at least one.*empty list"),
    "no padded texts": (lambda: maxsim(A, ones(0, 5, 3)), ValueError, "at least one.*1 and 0"),
    "no texts": (lambda: maxsim(NO_TEXT, A), ValueError, "at least one.*0 and 1"),
    "k 0": (lambda: topk(A, A, 0), ValueError, "k: .*at least 1.*got 0"),
    "k -1": (lambda: topk(A, A, -1), ValueError, "k: .*at least 1.*got -1"),
    "k 2**40": (lambda: topk(A, A, 2**40), ValueError, f"k: .*got {2**40}"),
    "k float": (lambda k=2.0: topk(A, A, k), TypeError, "k: expected an integer, got float"),
    "k str": (lambda k="2": topk(A, A, k), TypeError, "k: expected an integer, got str"),
    "k None": (lambda k=None: topk(A, A, k), TypeError, "k: expected an integer, got NoneType"),
    "k bool": (lambda: topk(A, A, True), TypeError, "k: expected an integer, got bool"),
    "metric": (lambda m="L2": topk(A, A, 1, metric=m), ValueError, "metric: .*l2.*got 'L2'"),
    "threads 0": (lambda: dot(A, A, threads=0), ValueError, "threads: expected 1 to 4096.*got 0"),
    "threads -1": (lambda: topk(A, A, 1, threads=-1), ValueError, "threads: .*got -1"),
    "threads 5000": (lambda: maxsim(A, A, threads=5000), ValueError, "threads: .*got 5000"),
    "threads float": (lambda n=1.5: dot(A, A, threads=n), TypeError, "threads: .*got float"),
    "ragged": (lambda: dot([[1, 2], [3]], A), ValueError, "queries.*ragged"),
    "ragged in a list": (lambda: maxsim([[[1.0, 2.0], [3.0]]], A), ValueError, "queries.*ragged"),
    "ragged text": (lambda: maxsim([[1.0, 2.0], [3.0]], A), ValueError, "queries.*ragged"),
    "None": (lambda: dot(None, A), TypeError, "queries.*NoneType"),
    "a string": (lambda: dot("ab", A), TypeError, "queries"),
    "strings": (lambda: dot(["ab", "cd"], A), TypeError, "queries"),
    "a dict": (lambda: maxsim({}, A), TypeError, "queries.*dict"),
    "a mixed list": (lambda: maxsim([A, A.astype(I8)], A), TypeError, "queries.*item 1.*int8"),
    "mask of a list": (lambda: maxsim([A], A, queries_mask=A), ValueError, "queries.*mask.*list"),
    "mask of one text": (lambda: maxsim(A, A, docs_mask=A), ValueError, r"docs.*got \[2, 3\]"),
    "mask of TokenVectors": (lambda: maxsim(A, NO_TEXT, docs_mask=A), ValueError, "docs.*mask.*TokenVectors"),
    "mask of other shape": (lambda: maxsim(A, A[None], docs_mask=A), ValueError, r"\[1, 2\], got \[2, 3\]"),
    "grid of two texts": (lambda: tercet.maxsim_grid(A, [A, A]), ValueError, "doc.*one text.*got 2"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input(what: str) -> None:
    call, kind, message = BAD[what]
    with pytest.raises(kind, match=message) as error:
        call()
    assert type(error.value) is kind


@pytest.mark.parametrize(
    "dtype",
    ["float64", "int32", "int64", "uint8", "uint16", "bool", "complex64", "object", "longdouble"],
)
def test_dtypes_that_would_lose_data(dtype: str) -> None:
    bad = np.ones((2, 3), dtype)
    for name, call in [
        ("queries", lambda: tercet.dot(bad, ones(2, 3))),
        ("docs", lambda: tercet.topk(ones(2, 3), bad, 1)),
        ("docs", lambda: tercet.maxsim(ones(2, 3), bad)),
        ("docs", lambda: tercet.maxsim(ones(2, 3), [bad])),
        ("query", lambda: tercet.maxsim_grid(bad, ones(2, 3))),
    ]:
        with pytest.raises(TypeError, match=f"{name}.*{np.dtype(dtype)}.*expected float32") as error:
            call()
        assert "float16, bfloat16 or int8" in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", ["float32", "float16", "bfloat16", "strided"])
def test_values_that_are_not_finite_are_named_by_row(value: float, form: str) -> None:
    good, bad = ones(900, 37), ones(900, 37)
    for row, column in [(0, 0), (1, 36), (31, 5), (700, 32), (899, 36)]:
        bad[:] = 1
        bad[row, column] = value
        a: Any = good
        b: Any = bad
        if form == "bfloat16":
            a, b = (Rows((x.view(np.uint32) >> 16).astype(np.uint16), "bfloat16") for x in (good, bad))
        elif form == "strided":
            b = np.repeat(bad, 2, axis=0)[::2]
        elif form == "float16":
            b = bad.astype(np.float16)
        message = f"row {row} has a value that is not finite"
        for name, call in [
            ("queries", lambda b=b, a=a: tercet.dot(b, a)),
            ("docs", lambda b=b, a=a: tercet.dot(a, b)),
            ("docs", lambda b=b, a=a: tercet.topk(a, b, 3)),
            (
                "docs",
                lambda b=b, a=a: tercet.maxsim(TokenVectors(a, [0, 9, 900]), TokenVectors(b, [0, 300, 900])),
            ),
        ]:
            with pytest.raises(ValueError, match=f"^{name}: {message}"):
                call()


@pytest.mark.parametrize("metric", ["dot", "cosine", "l2"])
def test_values_that_are_not_finite_under_every_metric(metric: str) -> None:
    good, bad = ones(9, 5), ones(9, 5)
    bad[4, 2] = np.nan
    with pytest.raises(ValueError, match=r"^docs: row 4 has a value that is not finite"):
        tercet.topk(good, bad, 1, metric=metric)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^queries: row 4 has a value that is not finite"):
        tercet.topk(bad, good, 1, metric=metric)  # type: ignore[arg-type]


def test_query_rows_are_named_beyond_the_first_group() -> None:
    queries = ones(100, 30, 4)
    queries[80, 7, 1] = np.nan  # the 2407th token
    with pytest.raises(ValueError, match="queries: row 2407 has"):
        tercet.maxsim(queries, ones(2, 4))


# ---- cpu_info and threads


def test_cpu_info() -> None:
    info = tercet.cpu_info()
    assert set(info) == {"isa", "supported", "kernels", "dropped", "threads", "cuda"}
    assert info["dropped"] == []
    formats = {"float32", "bfloat16", "int8", "int4", "int2", "int1", "float32_l2", "product"}
    assert set(info["kernels"]) == formats
    assert info["supported"][0] == "scalar"
    assert info["isa"] in info["supported"]
    assert info["isa"] == os.environ.get("TERCET_ISA", info["supported"][-1])
    assert 1 <= info["threads"] <= 4096


def test_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERCET_NUM_THREADS", "3")
    assert tercet.cpu_info()["threads"] == 3
    monkeypatch.setenv("TERCET_NUM_THREADS", "")  # as if it were not there
    if hasattr(os, "sched_getaffinity"):
        assert 1 <= tercet.cpu_info()["threads"] <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("text", ["0", "-1", "two", "2.5", "4 ", "4097", "99999999999999999999", "0x2"])
def test_bad_number_of_threads(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tercet.FlatIndex(2)
    monkeypatch.setenv("TERCET_NUM_THREADS", text)
    for call in (
        lambda: tercet.dot(ones(1, 2), ones(1, 2)),
        lambda: tercet.topk(ones(1, 2), ones(1, 2), 1),
        lambda: tercet.maxsim(ones(1, 2), ones(1, 2)),
        lambda: index.add(ones(1, 2)),
        tercet.cpu_info,
    ):
        with pytest.raises(ValueError, match="TERCET_NUM_THREADS: expected 1 to 4096, got") as error:
            call()
        assert f'"{text}"' in str(error.value)
    assert len(index) == 0
    assert tercet.dot(ones(1, 2), ones(1, 2), threads=1).tolist() == [[2]]  # not asked for


def test_a_bad_number_of_threads_does_not_break_the_import() -> None:
    assert run_python("import tercet", TERCET_NUM_THREADS="zero").returncode == 0


def test_threads_of_the_environment_change_nothing() -> None:
    code = """if True:
        import numpy as np, tercet
        rng = np.random.default_rng(0)
        a = rng.standard_normal((70, 20)).astype(np.float32)
        b = rng.standard_normal((9000, 20)).astype(np.float32)
        hits = tercet.topk(a, b, 20)
        scores = tercet.maxsim(a.reshape(7, 10, 20), b.reshape(450, 20, 20))
        results = {"ids": hits.ids, "scores": hits.scores, "dot": tercet.dot(a, b), "maxsim": scores}
    """
    one, *others = (run_under(tercet.cpu_info()["isa"], code, threads) for threads in (1, 2, 3, 8))
    for other in others:
        for name, result in one.items():
            assert same_bits(other[name], result), name


def test_distances_far_from_the_origin() -> None:
    """Expanding the square would cancel: 1000.02 and 1000.01 would be as near as 1000 itself."""
    docs = np.array([[1000.02], [1000.01], [1000]], F32)
    hits = tercet.topk(np.array([1000], F32), docs, 3, metric="l2")
    assert hits.ids.tolist() == [[2, 1, 0]]
    np.testing.assert_allclose(hits.scores, [[0, -1e-4, -4e-4]], atol=5e-6)
    hits = tercet.topk(np.array([1000], F32), np.array([[1e-6], [3e-6], [2e-6]], F32), 3, metric="l2")
    assert hits.ids.tolist() == [[0, 1, 2]]  # equal scores


def test_a_changing_number_of_threads(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The environment is read once a call."""
    docs = rng.standard_normal((50000, 8)).astype(F32)
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            for n in "18":
                os.environ["TERCET_NUM_THREADS"] = n

    monkeypatch.setenv("TERCET_NUM_THREADS", "1")
    want = tercet.topk(docs[:4], docs, 5)
    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(100):
            assert same_bits(tercet.topk(docs[:4], docs, 5).ids, want.ids)
    finally:
        done.set()
        changing.join()


def test_a_daemon_thread_may_be_searching_at_exit() -> None:
    code = """
import threading, time, numpy, tercet
docs = numpy.ones((20000, 64), numpy.float32)
def search():
    while True:
        tercet.topk(docs[:50], docs, 5)
threading.Thread(target=search, daemon=True).start()
time.sleep(0.3)
"""
    for _ in range(3):
        done = run_python(code)
        assert (done.returncode, done.stderr) == (0, "")
