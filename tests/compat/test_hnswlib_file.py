"""Files of hnswlib: read whole, refused when damaged, and written so that hnswlib reads them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tercet
from tercet.compat import hnswlib as ours
from tercet.compat.hnswlib_file import read, read_flat

Array = npt.NDArray[Any]
DATA = Path(__file__).parent.parent / "data"
# Written by hnswlib 0.8.0, of these vectors with labels 1000 + 7 i: one with space l2, M=3,
# ef_construction=20, max_elements=50 and labels 1000 and 1070 marked as deleted; one with space
# cosine, without the first vector and with labels i; a BFIndex of 32 without label 1007.
INDEX, COSINE, FLAT = DATA / "hnswlib_index.bin", DATA / "hnswlib_cosine.bin", DATA / "hnswlib_bruteforce.bin"
NUMBERS = np.arange(30)
ROWS = np.stack([NUMBERS, -NUMBERS, NUMBERS**2 % 7, NUMBERS % 3 + 1], axis=1).astype(np.float32)
LABELS = 1000 + 7 * NUMBERS


def vectors(n: int, dim: int = 24, seed: int = 0) -> Array:
    """Vectors around some directions, as embeddings lie."""
    centres = np.random.default_rng(99).standard_normal((20, dim))
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(0, 20, n)] + 0.7 * rng.standard_normal((n, dim))).astype(np.float32)


def recall(got: Array, want: Array) -> float:
    pairs = zip(got.tolist(), want.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))


# ---- files of hnswlib


def test_contents() -> None:
    contents = read(INDEX, 4)
    assert np.array_equal(contents.vectors, ROWS)
    assert contents.labels.tolist() == LABELS.tolist()
    assert LABELS[contents.deleted].tolist() == [1000, 1070]
    assert contents[3:] == (50, 3, 20)
    flat = read_flat(FLAT, 4)
    order = np.argsort(flat.labels)
    assert flat.labels[order].tolist() == np.delete(LABELS, 1).tolist()
    assert np.array_equal(flat.vectors[order], np.delete(ROWS, 1, axis=0))
    assert flat.max_elements == 32


def test_import() -> None:
    index = tercet.from_hnswlib(INDEX, "l2", 4)
    assert isinstance(index, tercet.HNSWIndex)
    assert (index.metric, index.dim, index.m, index.ef_construction) == ("l2", 4, 3, 20)
    kept = np.delete(np.arange(30), [0, 10])
    assert sorted(index.ids.tolist()) == LABELS[kept].tolist()
    assert np.array_equal(index.get(LABELS[kept]), ROWS[kept])
    hits = index.search(ROWS[kept], 1)
    assert hits.ids[:, 0].tolist() == LABELS[kept].tolist()
    cosine = tercet.from_hnswlib(str(COSINE), "cosine", 4, threads=1)
    np.testing.assert_allclose(
        cosine.get(NUMBERS[1:]), ROWS[1:] / np.linalg.norm(ROWS[1:], axis=1, keepdims=True), atol=1e-6
    )
    assert tercet.from_hnswlib(COSINE, "ip", 4).metric == "dot"


def test_load() -> None:
    index = ours.Index("l2", 4)
    index.load_index(INDEX, allow_replace_deleted=True)
    assert (index.element_count, index.max_elements, index.M, index.ef_construction) == (30, 50, 3, 20)
    assert sorted(index.get_ids_list()) == LABELS.tolist()
    index.unmark_deleted(1070)
    assert np.array_equal(index.get_items([1070]), ROWS[10:11])
    index.add_items(ROWS[0], [5], replace_deleted=True)
    assert index.element_count == 30
    labels, found = index.knn_query(ROWS[0])
    assert (labels.tolist(), found.tolist()) == ([[5]], [[0.0]])
    flat = ours.BFIndex("ip", 4)
    flat.load_index(FLAT, max_elements=40)
    assert (flat.get_current_count(), flat.get_max_elements()) == (29, 40)
    labels, found = flat.knn_query(ROWS[3], k=29)
    assert found[0, 0] == 1 - (np.delete(ROWS, 1, axis=0) @ ROWS[3]).max()


@pytest.mark.parametrize(
    ("space", "dim", "error", "message"),
    [
        ("l2", 5, ValueError, "hnswlib_index.bin: .* expected 5 dimensions, got 4"),
        ("l2", 0, ValueError, "dim: expected 1 to 65535, got 0"),
        ("dot", 4, ValueError, "space: expected 'l2', 'ip' or 'cosine', got 'dot'; did you mean 'ip'?"),
        ("Euclidean", 4, ValueError, "got 'Euclidean'; did you mean 'l2'?"),
        ("hamming", 4, ValueError, "got 'hamming'$"),
        (None, 4, ValueError, "got None$"),
    ],
)
def test_wrong_settings(space: Any, dim: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tercet.from_hnswlib(INDEX, space, dim)


def test_opening_says_how_to_import() -> None:
    for open_file in (tercet.open, tercet.HNSWIndex.open):
        with pytest.raises(
            ValueError, match=r"hnswlib_index.bin: .* hnswlib: tercet.from_hnswlib\(.*dim=4\)"
        ):
            open_file(INDEX)
    with pytest.raises(ValueError, match=r"hnswlib_bruteforce.bin: not a tercet index file$"):
        tercet.open(FLAT)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tercet.from_hnswlib(tmp_path / "none", "l2", 4)
    with pytest.raises(ValueError, match="a directory"):
        tercet.from_hnswlib(tmp_path, "l2", 4)
    with pytest.raises(ValueError, match="not a file of hnswlib"):
        tercet.from_hnswlib(FLAT, "l2", 4)
    with pytest.raises(ValueError, match="not a file of hnswlib"):
        read_flat(INDEX, 4)


# ---- damage


@pytest.mark.parametrize(("source", "reader"), [(INDEX, read), (FLAT, read_flat)])
def test_truncation(source: Path, reader: Any, tmp_path: Path) -> None:
    data, path = source.read_bytes(), tmp_path / "index"
    for cut in [*(data[:n] for n in range(len(data))), data + b"\0", data + bytes(4), data + data]:
        path.write_bytes(cut)
        with pytest.raises(ValueError, match="index: not a file of hnswlib, or damaged"):
            reader(path, 4)


@pytest.mark.parametrize("source", [INDEX, FLAT])
def test_changed_bytes(source: Path, tmp_path: Path) -> None:
    """What can be told from another index is refused; everything else is one."""
    data, path, rng = source.read_bytes(), tmp_path / "index", np.random.default_rng(0)
    reader, refused = (read if source == INDEX else read_flat), 0
    for place in range(len(data)):
        for value in (0, 255, data[place] ^ 1 << int(rng.integers(8))):
            path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
            try:
                contents = reader(path, 4)
            except ValueError:
                refused += 1
                continue
            assert contents.vectors.shape == (len(contents.labels), 4)
            assert np.isfinite(contents.vectors).all()
            assert (contents.labels >= 0).all()
    assert refused > (1000 if source == INDEX else 50)


@given(st.binary(max_size=400), st.sampled_from([read, read_flat]))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes, reader: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not a file of hnswlib, or damaged"):
        reader(path, 4)


HEADER = "<QQQQQQiIQQQdQ"


@pytest.mark.parametrize("place", range(13))
@pytest.mark.parametrize("value", [1, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1])
def test_changed_headers(place: int, value: int, tmp_path: Path) -> None:
    data, path = INDEX.read_bytes(), tmp_path / "index"
    fields: list[Any] = list(struct.unpack_from(HEADER, data))
    if HEADER[1 + place] in "iI":
        value = min(value, 2 ** (31 if HEADER[1 + place] == "i" else 32) - 1)
    fields[place] = value
    path.write_bytes(struct.pack(HEADER, *fields) + data[96:])
    # The capacity and the slope may be anything; the entry, a node of the top level.
    if place == 11 or (place == 1 and value >= 30) or (place == 12 and value < 2**31):
        assert len(read(path, 4).labels) == 30
    else:
        with pytest.raises(ValueError, match="damaged"):
            read(path, 4)


def test_settings_out_of_reach(tmp_path: Path) -> None:
    """A file may have settings that tercet has not: its graph is made with the nearest."""
    path = tmp_path / "index"
    data = bytearray(INDEX.read_bytes())
    data[88:96] = struct.pack("<Q", 2**31 - 1)
    path.write_bytes(data)
    assert tercet.from_hnswlib(path, "l2", 4).ef_construction == 65536


def test_labels_out_of_reach(tmp_path: Path) -> None:
    data, path = bytearray(INDEX.read_bytes()), tmp_path / "index"
    size = struct.unpack_from("<Q", data, 24)[0]
    data[96 + size - 8 : 96 + size] = struct.pack("<Q", 2**63)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"expected labels below 2\*\*63, got 9223372036854775808"):
        tercet.from_hnswlib(path, "l2", 4)
    data[96 + size - 8 : 96 + size] = struct.pack("<Q", 1007)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="two vectors have the same label"):
        tercet.from_hnswlib(path, "l2", 4)


# ---- with hnswlib


@pytest.mark.parametrize("space", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("m", [2, 5, 16, 150])
def test_files_of_hnswlib(space: Any, m: int, tmp_path: Path) -> None:
    hnswlib = pytest.importorskip("hnswlib")
    rows, path = vectors(800), str(tmp_path / "index")
    index = hnswlib.Index(space, 24)
    index.init_index(1000, M=m, ef_construction=50, allow_replace_deleted=True)
    index.add_items(rows[:700], np.arange(700))
    for label in range(0, 200, 2):
        index.mark_deleted(label)
    index.add_items(rows[700:760], np.arange(700, 760), replace_deleted=True)
    index.save_index(path)
    there = set(index.get_ids_list())
    imported = tercet.from_hnswlib(path, space, 24)
    assert imported.m == min(max(m, 2), 128)
    assert set(imported.ids.tolist()) == there - set(range(0, 200, 2))
    ids = np.sort(imported.ids)
    np.testing.assert_allclose(imported.get(ids), index.get_items(ids), atol=1e-6)
    again = ours.Index(space, 24)
    again.load_index(path)
    again.set_ef(100)
    assert (again.M, again.element_count, set(again.get_ids_list())) == (m, 700, there)
    best = imported.search(rows[::9], 10, exact=True)
    labels, found = again.knn_query(rows[::9], k=10)
    assert recall(labels, best.ids) > 0.97
    state = ours.Index(index)
    assert set(state.get_ids_list()) == there
    np.testing.assert_allclose(state.knn_query(rows[::9], k=1)[1], found[:, :1], atol=1e-5)


@pytest.mark.parametrize("space", ["l2", "ip", "cosine"])
@pytest.mark.parametrize(("n", "m"), [(1, 16), (2, 16), (20, 2), (3000, 16), (3000, 5)])
def test_hnswlib_reads_ours(space: str, n: int, m: int, tmp_path: Path) -> None:
    hnswlib = pytest.importorskip("hnswlib")
    rows, path = vectors(n), str(tmp_path / "index")
    index = ours.Index(space, 24)
    index.init_index(n + 10, M=m, ef_construction=100)
    index.add_items(rows, np.arange(n) + 50)
    if n > 2:
        index.mark_deleted(53)
    index.save_index(path)
    other = hnswlib.Index(space, 24)
    other.load_index(path)
    other.set_ef(200)
    assert (other.element_count, other.max_elements, other.M) == (n, n + 10, m)
    assert sorted(other.get_ids_list()) == list(range(50, n + 50))
    np.testing.assert_allclose(other.get_items([50]), index.get_items([50]), atol=1e-6)
    k = min(10, n - (n > 2))
    queries = vectors(100, seed=1)
    want = index._ready().search(queries, k, exact=True).ids
    if n >= 3000:
        assert recall(other.knn_query(queries, k=k)[0], want) > (0.85 if space == "ip" else 0.97)
    if n > 2:
        other.unmark_deleted(53)
        assert other.knn_query(rows[3])[0].tolist() == [[53]] or space == "ip"
    other.add_items(vectors(5, seed=7), np.arange(5))
    assert other.element_count == n + 5


def test_exact_files_both_ways(tmp_path: Path) -> None:
    hnswlib = pytest.importorskip("hnswlib")
    rows, path = vectors(40), str(tmp_path / "flat")
    for writer, reader in [(ours, hnswlib), (hnswlib, ours)]:
        index = writer.BFIndex("l2", 24)
        index.init_index(60)
        index.add_items(rows, np.arange(40) + 3)
        index.delete_vector(5)
        index.save_index(path)
        other = reader.BFIndex("l2", 24)
        other.load_index(path)
        assert (other.get_current_count(), other.get_max_elements()) == (39, 60)
        for got, want in zip(other.knn_query(rows, k=7), index.knn_query(rows, k=7), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
