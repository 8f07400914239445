"""Parquet in, Arrow out: the same numbers, where they lie if they can stay there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tercet
from integrations.test_examples import installed
from tercet import FlatIndex, HNSWIndex, MultiVectorIndex, SegmentedIndex, TokenVectors

if not installed("pyarrow"):
    pytest.skip("needs pyarrow", allow_module_level=True)
import pyarrow as pa
from pyarrow import parquet

from tercet.integrations.arrow import hits_table, index_reader, parquet_batches, token_array

F32 = np.float32
DIM = 8


def texts(rng: np.random.Generator, n: int) -> list[Any]:
    return [rng.standard_normal((int(rng.integers(0, 6)), DIM)).astype(F32) for _ in range(n)]


def single(values: Any, kind: Any) -> Any:
    return pa.array(values.tolist(), kind)


FIXED = pa.list_(pa.float32(), DIM)


@pytest.mark.parametrize("kind", [FIXED, pa.list_(pa.float32()), pa.large_list(pa.float32())])
def test_rows_of_parquet(kind: Any, rng: np.random.Generator, tmp_path: Path) -> None:
    values = rng.standard_normal((50, DIM)).astype(F32)
    names = [f"d{i}" for i in range(50)]
    for part, rows in enumerate((slice(0, 20), slice(20, 50))):
        table = pa.table(
            {"other": [1] * len(names[rows]), "id": names[rows], "v": single(values[rows], kind)}
        )
        parquet.write_table(table, tmp_path / f"{part}.parquet", row_group_size=7)
    index = FlatIndex(DIM, metric="dot")
    sizes = []
    for ids, part in parquet_batches(sorted(tmp_path.iterdir()), vectors="v", batch_size=6):
        index.add(part, ids)
        sizes.append(len(ids))
    assert max(sizes) <= 6
    assert index.ids.tolist() == names
    assert np.array_equal(index.get(names), values)


@pytest.mark.parametrize("kind", [pa.list_(FIXED), pa.large_list(FIXED), pa.list_(pa.list_(pa.float32()))])
def test_token_vectors_of_parquet(kind: Any, rng: np.random.Generator, tmp_path: Path) -> None:
    documents = texts(rng, 40)
    column = pa.array([d.tolist() for d in documents], kind)
    path = tmp_path / "papers.parquet"
    parquet.write_table(pa.table({"id": range(40), "vectors": column}), path, row_group_size=16)
    built = SegmentedIndex.build(
        tmp_path / "papers", parquet_batches(path, batch_size=10), dim=DIM, codec="float32"
    )
    whole = MultiVectorIndex(DIM, codec="float32")
    whole.add(documents)
    queries = [d for d in texts(rng, 5) if len(d)]
    found, expected = built.search(queries, 40, exact=True), whole.search(queries, 40, exact=True)
    assert np.array_equal(found.ids, expected.ids)
    assert np.array_equal(found.scores, expected.scores)


def test_a_batch_is_in_memory_at_a_time(rng: np.random.Generator, tmp_path: Path) -> None:
    """Also where all of a file is one row group."""
    values = rng.standard_normal((20_000, 256)).astype(F32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 256)
    table = pa.table({"id": range(len(values)), "vectors": column})
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=len(values), use_dictionary=False)
    del table, column
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() for _ in parquet_batches(tmp_path / "x.parquet", batch_size=500))
    assert most - before < values.nbytes / 4


@pytest.mark.parametrize("dtype", [F32, np.int8])
def test_token_vectors_are_not_copied(dtype: Any, rng: np.random.Generator) -> None:
    parts = [part.astype(dtype) for part in texts(rng, 9)]
    tokens = TokenVectors.from_list(parts)
    array = token_array(tokens)
    assert array.type == pa.list_(pa.list_(pa.from_numpy_dtype(dtype), DIM))
    assert array.values.values.buffers()[1].address == tokens.values.ctypes.data
    back = TokenVectors.from_arrow(array)
    assert np.array_equal(back.values, tokens.values)
    assert np.array_equal(back.offsets, tokens.offsets)
    assert array.to_pylist() == [part.tolist() for part in parts]


def test_other_token_vectors(rng: np.random.Generator) -> None:
    halves = rng.standard_normal((6, DIM)).astype(F32).view(np.uint32) & np.uint32(0xFFFF0000)
    torch = pytest.importorskip("torch")
    bfloat16 = torch.from_numpy(halves.view(F32)).to(torch.bfloat16)
    array = token_array(TokenVectors(bfloat16, [0, 2, 6]))
    assert np.array_equal(np.array(array.flatten().flatten()), halves.view(F32).reshape(-1))
    wide = rng.standard_normal((4, 2 * DIM)).astype(F32)[:, :DIM]  # rows apart
    assert token_array(TokenVectors(wide, [0, 4])).to_pylist() == [wide.tolist()]


@pytest.mark.parametrize("names", [None, ["a", "b", "c"]])
def test_hits(names: Any, rng: np.random.Generator) -> None:
    index = FlatIndex(DIM)
    index.add(rng.standard_normal((5, DIM)).astype(F32), names and [f"d{i}" for i in range(5)])
    allowed = [index.ids[:0], index.ids[:2], None]
    hits = index.search(rng.standard_normal((3, DIM)).astype(F32), 4, filter=allowed)
    table = hits_table(hits, names)
    assert table.schema.field("score").type == pa.float32()
    expected = [
        {"query": names[q] if names else q, "rank": rank, "id": hit.id, "score": hit.score}
        for q, row in enumerate(hits)
        for rank, hit in enumerate(row)
    ]
    assert len(expected) == 6
    assert table.to_pylist() == expected
    with pytest.raises(ValueError, match="query_ids: expected 3, got 1"):
        hits_table(hits, ["a"])


@pytest.mark.parametrize("kind", [FlatIndex, HNSWIndex, MultiVectorIndex, SegmentedIndex])
@pytest.mark.parametrize("named", [False, True])
def test_what_an_index_holds(kind: Any, named: bool, rng: np.random.Generator, tmp_path: Path) -> None:
    """Out to Parquet and in again."""
    names = [f"d{i}" for i in range(30)] if named else list(range(30))
    many = kind in (MultiVectorIndex, SegmentedIndex)
    vectors = texts(rng, 30) if many else rng.standard_normal((30, DIM)).astype(F32)
    if kind is SegmentedIndex:
        index = SegmentedIndex.build(
            tmp_path / "s", zip(names, vectors, strict=True), dim=DIM, codec="float32"
        )
    else:
        index = kind(DIM, codec="float32") if many else kind(DIM)
        index.add(vectors, names)
    path = tmp_path / "vectors.parquet"
    with index_reader(index, batch_size=7) as reader, parquet.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            assert batch.num_rows <= 7
            writer.write_batch(batch)
    copy: Any = MultiVectorIndex(DIM, codec="float32") if many else FlatIndex(DIM)
    for ids, part in parquet_batches(path):
        copy.add(part, ids)
    assert copy.ids.tolist() == list(index.ids)
    stored, expected = copy.get(names), index.get(names)
    if many:
        stored, expected = stored.values, expected.values
    assert np.allclose(stored, expected, atol=1e-7)


def test_an_empty_index() -> None:
    assert index_reader(FlatIndex(DIM)).read_all().num_rows == 0
    assert index_reader(MultiVectorIndex(DIM)).read_all().num_rows == 0


def nested(value: Any) -> Any:
    return pa.array(value, pa.list_(pa.float32()))


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        (pa.array(["a", "b"]), TypeError, "expected lists of numbers, or lists of such lists, got string"),
        (nested([[1.0, 2.0], [1.0]]), ValueError, "expected vectors of one length, got several"),
        (nested([[1.0, 2.0], None]), ValueError, "expected no nulls, got 1"),
        (nested([None, [1.0, 2.0]]), ValueError, "expected no nulls, got 1"),
        (nested([[1.0, 2.0], [1.0, None]]), ValueError, "expected no nulls, got 1"),
        (
            pa.array([[[1.0, 2.0]], [[1.0]]], pa.list_(nested([]).type)),
            ValueError,
            "expected vectors of one length",
        ),
        (pa.array([[], []], pa.list_(nested([]).type)), ValueError, "expected a vector at least in a batch"),
    ],
)
def test_other_columns_are_refused(column: Any, error: Any, message: str, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"id": [1, 2], "vectors": column}), tmp_path / "x.parquet")
    with pytest.raises(error, match=f"x.parquet: vectors: {message}"):
        list(parquet_batches(tmp_path / "x.parquet"))


def test_bad_files_and_ids(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(
        pa.table({"id": [1, None], "v": pa.array([[1.0, 2.0]] * 2, pa.list_(pa.float64()))}), path
    )
    with pytest.raises(KeyError, match=r"x.parquet: no column 'vectors'; there are id, v"):
        list(parquet_batches(path))
    with pytest.raises(FileNotFoundError):
        list(parquet_batches(tmp_path / "y.parquet"))
    with pytest.raises(ValueError, match="batch_size: expected at least 1"):
        list(parquet_batches(path, batch_size=0))
    ((ids, rows),) = parquet_batches(path, vectors="v")
    with pytest.raises(TypeError, match="dtype float64 would lose data"):
        FlatIndex(2).add(rows)
    with pytest.raises(TypeError, match="ids: expected all integers or all strings, got None"):
        FlatIndex(2).add(rows.astype(F32), ids)


def test_errors_reach_the_caller_of_a_build(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(
        pa.table({"id": [1], "vectors": pa.array([[[1.0, 2.0]]], pa.list_(pa.list_(pa.float32(), 2)))}), path
    )
    with pytest.raises(ValueError, match="expected 3 dimensions, got 2"):
        tercet.SegmentedIndex.build(tmp_path / "index", parquet_batches(path), dim=3)
