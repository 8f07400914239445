"""FlatIndex: metrics, codecs, and thousands of random operations against a dictionary."""

from __future__ import annotations

from pathlib import Path
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
from tercet import FlatIndex
from twin import Twin, rounds_differently

Array = npt.NDArray[Any]
F32 = np.float32
CODECS = ["float32", "bfloat16", "int8", "int4", "int2", "binary"]
METRICS: list[Any] = ["cosine", "dot", "l2"]


def vectors(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(F32)


@pytest.mark.parametrize("kind", [int, str])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("metric", METRICS)
def test_behaves_as_a_dictionary(metric: Any, codec: Any, kind: type, rng: np.random.Generator) -> None:
    def document() -> Array:
        return rng.integers(-2, 3, 5).astype(F32)  # many are equal, some are zero

    def score(queries: list[Array], documents: list[Array]) -> Array:
        return reference.index_scores(np.stack(queries), np.stack(documents), metric, codec)

    index = FlatIndex(5, metric=metric, codec=codec)
    exact = not (rounds_differently(codec) and metric == "cosine")
    Twin(index, kind, rng, document, score, exact).run(200)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("metric", METRICS)
def test_accuracy(metric: Any, codec: Any, rng: np.random.Generator) -> None:
    """No score is farther from the exact one than the rounding of the codec explains."""
    queries, rows = vectors(rng, 20, 96), vectors(rng, 300, 96) * rng.uniform(0.01, 9, (300, 1)).astype(F32)
    rows[:, 3] *= 20  # one dimension takes most of the range
    index = FlatIndex(96, metric=metric, codec=codec)
    index.add(rows)
    hits = index.search(queries, 300)
    q, x = queries.astype(float), rows.astype(float)
    if metric == "cosine":
        q, x = (a / np.linalg.norm(a, axis=1)[:, None] for a in (q, x))
    exact = q @ x.T if metric != "l2" else -((q[:, None] - x[None]) ** 2).sum(2)
    dot_error = bound(q, x, codec) if metric != "l2" else 2 * bound(q, x, codec)
    if metric == "l2":  # and the error of |x|^2
        step = np.abs(x - reference.decode(rows, codec))
        norms = (x**2).sum(1) + (q**2).sum(1)[:, None]
        dot_error += (step * (2 * np.abs(x) + step)).sum(1) + 1e-6 * norms
    error = np.abs(hits.scores - np.take_along_axis(exact, hits.ids, 1))
    limit = np.take_along_axis(dot_error, hits.ids, 1)
    assert (error <= limit).all()
    assert error.max() > limit.min() / 100  # the limit says something


def bound(q: Array, x: Array, codec: str) -> Array:
    """What |q.x - score| cannot exceed: half a step on either side, and the rounding of float32 sums."""
    sums = 1e-6 * (np.abs(q) @ np.abs(x).T)
    if codec == "float32":
        return sums
    if codec == "bfloat16":
        return sums + (2.0**-8 + 2.0**-16) * (np.abs(q) @ np.abs(x).T)
    if (
        codec in reference.BITS
    ):  # Cauchy-Schwarz; a query's step is at most its length / 127 in each dimension
        kept = reference.decode(x.astype(F32), codec).astype(float)
        lengths, step = np.linalg.norm(q, axis=1)[:, None], q.shape[1] ** 0.5 / 254
        return lengths * (np.linalg.norm(x - kept, axis=1) + step * np.linalg.norm(kept, axis=1)) * (1 + 1e-5)
    q_step = np.abs(q).max(1)[:, None] / 127 / 2
    x_step = np.abs(x).max(1)[None, :] / 127 / 2 * (1 + 2.0**-7)  # the scale is rounded up to bfloat16
    dims = q.shape[1]
    return sums + q_step * np.abs(x).sum(1)[None, :] + x_step * (np.abs(q).sum(1)[:, None] + dims * q_step)


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_stored(codec: Any, rng: np.random.Generator) -> None:
    rows = vectors(rng, 9, 33) * np.float32(10) ** rng.integers(-12, 12, (9, 1)).astype(F32)
    rows[4] = 0
    for metric, stored in [("dot", rows), ("l2", rows), ("cosine", reference.unit(rows))]:
        index = FlatIndex(33, metric=metric, codec=codec)
        index.add(rows)
        got = index.get(index.ids)
        assert got.dtype == F32
        assert same_bits(got + 0, reference.decode(stored, codec) + 0)  # 0.0 is 0.0, however it is signed
    bits = {
        "float32": 4 * 33,
        "bfloat16": 2 * 33,
        "int8": 33 + 2,
        "int4": 20 + 2,
        "int2": 12 + 2,
        "binary": 8 + 2,
    }[codec]
    assert index.nbytes == 9 * bits
    assert index.stats() == {
        "kind": "FlatIndex", "dim": 33, "codec": codec, "metric": "cosine", "size": 9, "nbytes": 9 * bits,
        **({"seed": 0} if codec in reference.BITS else {}),
    }  # fmt: skip
    assert repr(index) == f"FlatIndex(dim=33, metric='cosine', codec='{codec}', size=9)"
    assert (index.dim, index.codec, index.metric) == (33, codec, "cosine")


@given(
    hnp.arrays(
        F32,
        st.tuples(st.integers(1, 6), st.integers(1, 9)),
        elements=st.floats(-(2.0**49), 2.0**49, width=32),
    )
)
def test_int8_of_any_row(rows: Array) -> None:
    """Codes stay in range and errors within half a step, down to the subnormals."""
    index = FlatIndex(rows.shape[1], metric="dot", codec="int8")
    index.add(rows)
    got = index.get(index.ids)
    assert same_bits(got + 0, reference.decode(rows, "int8") + 0)
    scales = reference.int8_encode(rows)[1].astype(float)
    error = np.abs(got.astype(float) - rows)
    assert (error <= scales[:, None] / 2 * (1 + 1e-6) + 1e-43).all()  # less than that is stored as zero


@pytest.mark.parametrize("size", [1e-45, 1e-44, 9e-44, 2.6e-43, 1e-42, 1e-38, 1e-20, 1, 1e15])
def test_int8_of_queries_of_any_length(size: float, rng: np.random.Generator) -> None:
    """A scale among the subnormals is far from size / 127: codes must stay in range all the same."""
    queries = np.float32(size) * np.array([[1, 0.5, -1], [-1, -1, -0.25]], F32)
    rows = vectors(rng, 7, 3) * np.float32(1e14)
    index = FlatIndex(3, metric="dot", codec="int8")
    index.add(rows)
    ids, scores = reference.topk(reference.index_scores(queries, rows, "dot", "int8"), 7)
    hits = index.search(queries, 7)
    assert same_bits(hits.ids, ids)
    assert same_bits(hits.scores, scores)


@pytest.mark.parametrize("codec", CODECS)
def test_zero_vectors(codec: Any) -> None:
    slack = {"float32": 0, "bfloat16": 0.01, "int8": 0.2, "int4": 3, "int2": 12, "binary": 60}[codec]
    rows = np.array([[0, 0, 0], [3, 0, 4], [0, 0, 0]], F32)
    for metric, of_zero, of_other in [
        ("cosine", [0, 0, 0], [1, 0, 0]),
        ("dot", [0, 0, 0], [25, 0, 0]),
        ("l2", [0, 0, -25], [0, -25, -25]),
    ]:
        index = FlatIndex(3, metric=metric, codec=codec)
        index.add(rows)
        hits = index.search(rows[:2], 3)
        np.testing.assert_allclose(hits.scores, [of_zero, of_other], atol=slack)
        if slack < 12:
            assert hits.ids.tolist() == [[0, 2, 1] if metric == "l2" else [0, 1, 2], [1, 0, 2]]


def test_distances_are_never_negative(rng: np.random.Generator) -> None:
    rows = vectors(rng, 200, 50) * 100
    for codec in CODECS:
        index = FlatIndex(50, metric="l2", codec=codec)
        index.add(rows)
        scores = index.search(rows, 1).scores
        assert (scores <= 0).all()
        assert (scores > -{"float32": 1, "bfloat16": 9000, "int8": 9000}.get(codec, 900000)).all()


@pytest.mark.parametrize("codec", CODECS)
def test_cosine_does_not_depend_on_length(codec: Any) -> None:
    """Lengths are divided out in float64: 1e-38 and 1e38 are directions like any other."""
    rows = np.array([[1, 2, -3], [1, 2, 3]], F32)
    index = FlatIndex(3, codec=codec)
    for scale in (1e-38, 1e-20, 1, 1e20, 1e38):
        index.add(rows * np.float32(scale), [0, 1])
        for other in (1e-38, 1, 1e38):
            scores = index.search(rows[:1] * np.float32(other), 2).scores
            loss = {"int2": 0.2, "binary": 1}.get(codec, 0.02)  # of 3 dimensions
            np.testing.assert_allclose(scores, [[1, -4 / 14]], atol=loss)


@pytest.mark.parametrize("codec", CODECS)
def test_vectors_of_every_format(codec: Any, rng: np.random.Generator) -> None:
    rows = rng.integers(-50, 50, (6, 8))
    want = FlatIndex(8, metric="dot", codec=codec)
    want.add(rows.astype(F32))
    bits = tercet.arrays.Rows(reference.bfloat16(rows.astype(F32)), "bfloat16")
    for given_rows in (
        rows.astype(np.int8),
        rows.astype(np.float16),
        rows.tolist(),
        bits,
        rows.astype(">f4"),
    ):
        index = FlatIndex(8, metric="dot", codec=codec)
        index.add(given_rows)
        assert same_bits(index.search(given_rows, 6).scores, want.search(rows.astype(F32), 6).scores)
    assert want.search(rows[0].astype(F32), 6).ids.shape == (1, 6)
    assert want.add(rows[0].astype(F32)).tolist() == [6]


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        (np.ones((2, 3), F32), ValueError, "expected 4 dimensions, got 3"),
        (np.ones(5, F32), ValueError, "expected 4 dimensions, got 5"),
        (np.ones((1, 2, 4), F32), ValueError, r"expected shape .*got \[1, 2, 4\]"),
        (np.ones((0, 4), F32), ValueError, "expected at least one row, got none"),
        (np.ones((2, 4)), TypeError, "dtype float64 would lose data"),
        (np.ones((2, 4), int), TypeError, "dtype int64 would lose data"),
        ([[1, 2, 3, 4], [1, 2]], ValueError, "ragged"),
        ([], ValueError, "expected at least one row"),
        (None, TypeError, "NoneType"),
        (np.array([[1, 2, 3, np.inf]], F32), ValueError, "row 0 has a value that is not finite"),
    ],
)
def test_bad_vectors(rows: Any, kind: type[Exception], message: str) -> None:
    index = FlatIndex(4)
    index.add(np.ones((1, 4), F32))
    with pytest.raises(kind, match=f"^vectors: .*{message}"):
        index.add(rows)
    with pytest.raises(kind, match=f"^queries: .*{message}"):
        index.search(rows)
    assert len(index) == 1


@pytest.mark.parametrize("metric", ["L2", "", None, 3])
def test_bad_metric(metric: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="metric"):
        FlatIndex(3, metric=metric)


def test_an_empty_index_finds_nothing() -> None:
    index = FlatIndex(3)
    hits = index.search(np.ones((2, 3), F32), 4)
    assert hits.ids.tolist() == [[-1] * 4] * 2
    assert (hits.scores == -np.inf).all()
    assert list(hits) == [[], []]
    assert index.search(np.ones(3, F32), 2, filter=[1, 2]).ids.tolist() == [[-1, -1]]
    assert index.search(np.ones(3, F32), 2, filter=np.zeros(0, bool)).ids.tolist() == [[-1, -1]]
    assert index.ids.tolist() == []
    assert index.nbytes == 0


def test_given_arrays_may_change_afterwards(rng: np.random.Generator) -> None:
    rows = vectors(rng, 4, 6)
    index = FlatIndex(6)
    index.add(rows)
    before = index.search(rows, 4).scores
    kept = rows.copy()
    rows[:] = 0
    assert same_bits(index.search(kept, 4).scores, before)
    index.ids[:] = 99
    assert index.ids.tolist() == [0, 1, 2, 3]


def test_many_filtered_queries_at_once(rng: np.random.Generator) -> None:
    rows = rng.integers(-3, 4, (700, 6)).astype(F32)
    index = FlatIndex(6, metric="dot")
    index.add(rows)
    masks = rng.random((40, 700)) < rng.random((40, 1))
    hits = index.search(rows[:40], 15, filter=masks)
    scores = reference.dot(rows[:40], rows)
    for q in range(40):
        kept = np.flatnonzero(masks[q])
        ids, best = reference.topk(scores[q : q + 1, kept], 15, kept)
        assert hits.ids[q].tolist() == ids[0].tolist()
        assert same_bits(hits.scores[q], best[0])


@pytest.mark.parametrize("codec", ["bfloat16", "int8", "int4"])
def test_distances_that_round_to_the_same(codec: Any, rng: np.random.Generator) -> None:
    """What is best of k is best of k + 1 too, though scores differ only before |q|^2 is taken away."""
    small = np.zeros((4, 2), np.float32)
    small[:, 0] = [1e-6, 2e-6, 3e-6, 4e-6]
    near = (rng.standard_normal(64) * (1 + 1e-3 * rng.standard_normal((300, 64)))).astype(np.float32)
    for rows, queries in ((small, np.array([[1000, 0]], np.float32)), (near, near[:5])):
        index = FlatIndex(rows.shape[1], metric="l2", codec=codec)
        index.add(rows)
        every = index.search(queries, len(rows))
        for k in range(1, min(len(rows), 40)):
            hits = index.search(queries, k)
            assert hits.ids.tolist() == every.ids[:, :k].tolist()
            np.testing.assert_array_equal(hits.scores, every.scores[:, :k])
        order = np.lexsort((every.ids, -every.scores), axis=1)
        assert (order == np.arange(len(rows))).all()


def test_masked_arrays_are_no_filters() -> None:
    index = FlatIndex(2)
    index.add(np.eye(2, dtype=np.float32))
    hidden = np.ma.MaskedArray([True, True], mask=[True, False])
    for masked in (hidden, [hidden], np.ma.MaskedArray([[True, True]], mask=True)):
        with pytest.raises(TypeError, match=r"filter: .* masked array"):
            index.search(np.eye(2, dtype=np.float32)[:1], filter=masked)
    with pytest.raises(TypeError, match=r"ids: .* masked array"):
        index.add(np.eye(2, dtype=np.float32), np.ma.MaskedArray([1, 2], mask=[1, 0]))


def zero_rows() -> dict[str, Array]:
    """Runs at every level of instructions."""
    rows = np.zeros((70, 4), np.float32)
    rows[::2] = 1
    queries = np.array([[-1, -2, 3, -0.5]] * 9, np.float32)
    scores = {}
    for codec in ("int8", "int4", "int2", "binary"):
        index = FlatIndex(4, metric="dot", codec=codec)  # type: ignore[arg-type]
        index.add(rows)
        scores[codec] = np.concatenate(
            [index.search(queries, 70).scores, index.search(queries[0], 70).scores]
        )
    return scores


@pytest.mark.levels
def test_zero_scores_have_one_sign() -> None:
    code = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nimport test_flat\n"
    for isa in tercet.cpu_info()["supported"]:
        for codec, scores in run_under(isa, code + "results = test_flat.zero_rows()").items():
            assert not np.signbit(scores[scores == 0]).any(), (isa, codec)
