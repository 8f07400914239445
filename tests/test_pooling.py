"""pool_tokens, and add(..., pool=): against Ward's clustering as it is defined."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import reference
import tercet
from levels import run_under, same_bits
from tercet import MultiVectorIndex, TokenVectors
from tercet.arrays import Rows

Array = npt.NDArray[Any]
F32 = np.float32


def tokens(rng: np.random.Generator, n: int, dim: int, *, unit: bool = True) -> Array:
    """Tokens around a few directions, as those of a text are."""
    centres = rng.standard_normal((max(1, n // 3), dim))
    rows = centres[rng.integers(0, len(centres), n)] + 0.7 * rng.standard_normal((n, dim))
    return reference.unit(rows) if unit else rows.astype(F32)


# ---- what it returns


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("dim", [3, 16, 37, 128])
def test_equals_the_reference(dim: int, unit: bool, rng: np.random.Generator) -> None:
    lengths = [1, 2, 3, 5, 8, 31, 32, 33, 50, 64, 65, 97, 130]
    docs = [tokens(rng, n, dim, unit=unit) for n in lengths]
    for factor, protected in [(2, 0), (2, 1), (3, 0), (4, 2), (10, 0), (7, 30)]:
        got = tercet.pool_tokens(docs, factor, protected=protected)
        assert got.format == "float32"
        assert len(got) == len(docs)
        for doc, pooled in zip(docs, got, strict=True):
            assert same_bits(pooled, reference.pool(doc, factor, protected)), (len(doc), factor, protected)


@pytest.mark.parametrize("n", [2, 33, 128, 300])
def test_clusters_are_those_of_scipy(n: int, rng: np.random.Generator) -> None:
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    distance = pytest.importorskip("scipy.spatial.distance")
    for factor in (2, 3, 5):
        doc = tokens(rng, n, 64)
        apart = np.clip(1 - tercet.dot(doc, doc), 0, 2)
        tree = hierarchy.linkage(distance.squareform(apart, checks=False), method="ward")
        labels = hierarchy.fcluster(tree, t=max(1, n // factor), criterion="maxclust")
        clusters = sorted(np.nonzero(labels == label)[0].tolist() for label in np.unique(labels))
        want = np.array([reference.stretched_mean(doc[c]) for c in clusters])
        assert same_bits(tercet.pool_tokens(doc, factor).values, want)


def test_number_of_vectors() -> None:
    """max(1, n // factor) of the n tokens that are not protected, however many of them are equal."""
    docs = [np.ones((n, 2), F32) for n in range(40)]
    for factor in (1, 2, 3, 7, 39, 40, 10**6, 2**31 - 1):
        for protected in (0, 1, 2, 39, 2**31 - 1):
            got = np.diff(tercet.pool_tokens(docs, factor, protected=protected).offsets)
            for n, count in enumerate(got.tolist()):
                rest = max(0, n - protected)
                assert count == min(n, protected) + (max(1, rest // factor) if rest else 0)


def test_two_is_the_default(rng: np.random.Generator) -> None:
    doc = tokens(rng, 21, 8)
    assert same_bits(tercet.pool_tokens(doc).values, tercet.pool_tokens(doc, 2).values)
    assert len(tercet.pool_tokens(doc).values) == 10


def test_factor_one_changes_nothing(rng: np.random.Generator) -> None:
    docs = [tokens(rng, n, 6, unit=False) for n in (4, 0, 1, 40)]
    docs[0][1] = [0, -0.0, 1e-45, 3e38, -3e38, 1]
    got = tercet.pool_tokens(docs, 1)
    assert same_bits(got.values, np.concatenate(docs))
    assert got.offsets.tolist() == [0, 4, 4, 5, 45]


def test_a_token_that_stays_alone_is_not_changed(rng: np.random.Generator) -> None:
    doc = tokens(rng, 60, 20, unit=False)
    rows = {row.tobytes() for row in doc}
    got = tercet.pool_tokens(doc, 2).values
    alone = sum(row.tobytes() in rows for row in got)
    sizes = [len(c) for c in clusters_of(doc, 2)]
    assert alone == sizes.count(1) > 0


def clusters_of(doc: Array, factor: int) -> list[list[int]]:
    directions = reference.unit(doc).astype(np.float64)
    squares = np.maximum(0, 1 - directions @ directions.T) ** 2
    return reference.ward(squares, max(1, len(doc) // factor))


def test_order_is_that_of_the_first_tokens() -> None:
    a, b, c = np.eye(3, dtype=F32)
    got = tercet.pool_tokens(np.stack([b, a, c, a, b, c, c, a, b]), 3).values
    assert got.tolist() == np.stack([b, a, c]).tolist()


def test_protected_tokens_come_first_as_they_are(rng: np.random.Generator) -> None:
    doc = tokens(rng, 30, 10, unit=False)
    for protected in (1, 2, 29, 30, 31):
        got = tercet.pool_tokens(doc, 3, protected=protected).values
        assert same_bits(got[:protected], doc[:protected])
        if protected < 30:
            assert same_bits(got[protected:], tercet.pool_tokens(doc[protected:], 3).values)


def test_lengths() -> None:
    """Unit vectors stay so; others get the mean of the lengths, in the direction of their sum."""
    doc = np.array([[1, 0], [0.6, 0.8]], F32)
    (unit,) = tercet.pool_tokens(doc).values
    np.testing.assert_allclose(unit, np.array([1.6, 0.8]) / np.hypot(1.6, 0.8), rtol=1e-6)
    (other,) = tercet.pool_tokens(doc * np.array([[3], [1]], F32)).values
    np.testing.assert_allclose(other, 2 * np.array([3.6, 0.8]) / np.hypot(3.6, 0.8), rtol=1e-6)


def test_scale_does_not_matter_to_clusters(rng: np.random.Generator) -> None:
    doc = tokens(rng, 50, 12)
    want = tercet.pool_tokens(doc, 4).values
    for scale in (2.0**-100, 2.0**100):
        assert same_bits(tercet.pool_tokens(doc * F32(scale), 4).values, want * F32(scale))


# ---- where distances are equal, or there are none


def test_equal_tokens_are_merged_first(rng: np.random.Generator) -> None:
    different = tokens(rng, 20, 16)
    doc = np.concatenate([different, different])
    assert same_bits(tercet.pool_tokens(doc, 2).values, different)


@pytest.mark.parametrize("n", [2, 3, 31, 32, 33, 100])
def test_nothing_but_equal_tokens(n: int) -> None:
    doc = np.tile(np.array([0.6, 0, 0.8], F32), (n, 1))
    for factor in (2, 3, n):
        got = tercet.pool_tokens(doc, factor).values
        np.testing.assert_allclose(got, doc[: max(1, n // factor)], rtol=1e-6)


def test_zero_vectors() -> None:
    zeros = np.zeros((7, 4), F32)
    assert tercet.pool_tokens(zeros, 3).values.tolist() == [[0] * 4] * 2
    mixed = np.concatenate([np.ones((1, 4), F32), zeros[:1], np.ones((2, 4), F32)])
    got = tercet.pool_tokens(mixed, 2).values  # zero is at a right angle to everything
    assert got.tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]
    opposite = np.array([[2, 0], [-2, 0]], F32)
    assert tercet.pool_tokens(opposite).values.tolist() == [[0, 0]]  # no common direction


def test_the_largest_floats() -> None:
    most = np.finfo(F32).max
    doc = np.array([[most, most], [most, -most]], F32)
    assert tercet.pool_tokens(doc).values.tolist() == [[most, 0]]


@given(st.data())
def test_ties(data: st.DataObject) -> None:
    """Few directions, so nearly every distance is equal to another: all counts and lengths hold."""
    element = st.integers(-1, 1).map(float)
    doc = data.draw(hnp.arrays(F32, st.tuples(st.integers(1, 70), st.just(2)), elements=element))
    factor = data.draw(st.integers(1, 6))
    got = tercet.pool_tokens(doc, factor).values
    assert len(got) == max(1, len(doc) // factor)
    assert np.isfinite(got).all()
    longest = np.linalg.norm(doc, axis=1).max()
    assert (np.linalg.norm(got, axis=1) <= longest * (1 + 1e-6)).all()
    assert same_bits(got, tercet.pool_tokens([doc, doc[::-1].copy()], factor, threads=2)[0])


def test_documents_without_tokens(rng: np.random.Generator) -> None:
    empty, doc = np.empty((0, 5), F32), tokens(rng, 1, 5)
    got = tercet.pool_tokens([empty, doc, empty])
    assert got.offsets.tolist() == [0, 0, 1, 1]
    assert same_bits(got.values, doc)
    for nothing in ([empty], np.empty((1, 0, 5), F32), empty):
        got = tercet.pool_tokens(nothing, 3, protected=1)
        assert got.values.shape == (0, 5)
        assert got.offsets.tolist() == [0, 0]
    assert len(tercet.pool_tokens(TokenVectors(empty, [0]))) == 0


# ---- how it is asked


def test_every_way_to_say_the_same(rng: np.random.Generator) -> None:
    padded = np.stack([tokens(rng, 9, 6) for _ in range(4)])
    want = tercet.pool_tokens(list(padded))
    strided = np.repeat(padded.reshape(36, 6), 2, axis=0)[::2]
    for docs in [padded, tuple(padded), padded.tolist(), TokenVectors(strided, range(0, 37, 9))]:
        got = tercet.pool_tokens(docs)
        assert isinstance(got, TokenVectors)
        assert got.offsets.dtype == np.int64
        assert got.offsets.tolist() == [0, 4, 8, 12, 16]
        assert same_bits(got.values, want.values)
    assert same_bits(tercet.pool_tokens(padded[2]).values, want[2])
    assert same_bits(tercet.pool_tokens(padded, np.int32(2)).values, want.values)


def test_other_formats(rng: np.random.Generator) -> None:
    doc = tokens(rng, 20, 7)
    bits = reference.bfloat16(doc)
    for given_doc, wide in [
        (TokenVectors(Rows(bits, "bfloat16"), [0, 20]), reference.widen(bits)),
        (doc.astype(np.float16), doc.astype(np.float16).astype(F32)),
        ((doc * 100).astype(np.int8), (doc * 100).astype(np.int8).astype(F32)),
    ]:
        got = tercet.pool_tokens(given_doc, 3)
        assert got.format == "float32"
        assert same_bits(got.values, tercet.pool_tokens(wide, 3).values)


def test_what_is_given_stays(rng: np.random.Generator) -> None:
    doc = tokens(rng, 40, 8)
    before = doc.copy()
    got = tercet.pool_tokens(doc, 1)
    got.values[:] = 0
    tercet.pool_tokens(doc, 5)
    assert same_bits(doc, before)


def test_neither_threads_nor_company_matter(rng: np.random.Generator) -> None:
    docs = [tokens(rng, int(n), 24) for n in rng.integers(0, 90, 60)]
    whole = tercet.pool_tokens(docs, 3, protected=1, threads=1)
    for threads in (2, 3, 8, None):
        got = tercet.pool_tokens(docs, 3, protected=1, threads=threads)
        assert same_bits(got.values, whole.values)
        assert got.offsets.tolist() == whole.offsets.tolist()
    for i in range(0, 60, 7):
        assert same_bits(tercet.pool_tokens(docs[i], 3, protected=1).values, whole[i])


def test_levels_agree(isa: str) -> None:
    code = """if True:
        import numpy as np, tercet
        rng = np.random.default_rng(0)
        docs = [rng.standard_normal((n, 33)).astype(np.float32) for n in (1, 40, 100)]
        results = {"values": tercet.pool_tokens(docs, 3).values}
    """
    assert same_bits(run_under(isa, code)["values"], run_under("scalar", code)["values"])


# ---- in an index


@pytest.mark.parametrize("codec", ["float32", "int8"])
def test_add_pools(codec: Any, rng: np.random.Generator) -> None:
    docs, query = [tokens(rng, n, 16) for n in (30, 1, 0, 12)], tokens(rng, 5, 16)
    ours, by_hand = MultiVectorIndex(16, codec=codec), MultiVectorIndex(16, codec=codec)
    assert ours.add(docs, ["a", "b", "c", "d"], pool=3, threads=2).tolist() == ["a", "b", "c", "d"]
    by_hand.add(tercet.pool_tokens(docs, 3), ["a", "b", "c", "d"])
    assert ours.num_tokens == by_hand.num_tokens == 10 + 1 + 0 + 4
    assert same_bits(ours.search(query).scores, by_hand.search(query).scores)
    ours.add(docs[0], ["a"])  # not pooled
    assert ours.num_tokens == 30 + 1 + 0 + 4


# ---- bad input


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (0, ValueError, "expected at least 1 .*got 0"),
        (-1, ValueError, "expected at least 1 .*got -1"),
        (2**31, ValueError, f".*got {2**31}"),
        (1.5, TypeError, "expected an integer, got float"),
        (2.0, TypeError, "expected an integer, got float"),
        (float("nan"), TypeError, "expected an integer, got float"),
        ("a", TypeError, "expected an integer, got str"),
        (True, TypeError, "expected an integer, got bool"),
    ],
)
def test_bad_factors(bad: Any, kind: type[Exception], message: str) -> None:
    doc = np.ones((4, 2), F32)
    with pytest.raises(kind, match=f"^factor: {message}"):
        tercet.pool_tokens(doc, bad)
    index = MultiVectorIndex(2)
    with pytest.raises(kind, match=f"^pool: {message}"):
        index.add(doc, pool=bad)
    assert len(index) == 0
    if kind is TypeError:
        with pytest.raises(TypeError, match=f"^protected: {message}"):
            tercet.pool_tokens(doc, protected=bad)


def test_bad_factor_none() -> None:
    with pytest.raises(TypeError, match=r"^factor: expected an integer, got NoneType"):
        tercet.pool_tokens(np.ones((4, 2), F32), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [-1, 2**31])
def test_bad_protected(bad: int) -> None:
    with pytest.raises(ValueError, match=f"^protected: expected at least 0 .*got {bad}"):
        tercet.pool_tokens(np.ones((4, 2), F32), protected=bad)


@pytest.mark.parametrize(
    ("given_docs", "kind", "message"),
    [
        ([], ValueError, "empty list"),
        (np.ones(4, F32), ValueError, r"expected shape .*got \[4\]"),
        ([np.ones((2, 4), F32), np.ones((2, 3), F32)], ValueError, "item 1: expected 4 dimensions, got 3"),
        (np.ones((2, 4)), TypeError, "dtype float64"),
        (None, TypeError, "NoneType"),
    ],
)  # fmt: skip
def test_bad_docs(given_docs: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^docs: .*{message}"):
        tercet.pool_tokens(given_docs)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named_by_row(value: float) -> None:
    docs = np.ones((3, 5, 2), F32)
    docs[1, 2, 1] = value
    for factor, protected in [(1, 0), (2, 0), (2, 3), (100, 0)]:
        with pytest.raises(ValueError, match=r"^docs: row 7 has a value that is not finite"):
            tercet.pool_tokens(docs, factor, protected=protected)
    index = MultiVectorIndex(2)
    with pytest.raises(ValueError, match=r"^vectors: row 7 has a value that is not finite"):
        index.add(docs, pool=2)
    assert len(index) == 0


def test_bad_number_of_threads() -> None:
    with pytest.raises(ValueError, match="threads: expected 1 to 4096, got 0"):
        tercet.pool_tokens(np.ones((4, 2), F32), threads=0)
