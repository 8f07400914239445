"""SegmentedIndex: what one MultiVectorIndex would answer, whatever happens to the directory in between."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import container
import reference
import segment_writer
import tercet
from levels import run_python, same_bits
from tercet import Codebook, Hits, MultiVectorIndex, PackedMask, SegmentedIndex, TokenVectors
from twin import Twin

Array = npt.NDArray[Any]
F32 = np.float32
CODECS: list[Any] = [
    "float32",
    "bfloat16",
    "int8",
    "int4",
    "int2",
    "binary",
    "residual2",
    "residual1",
    "pq16",
]
RESIDUAL = ("residual2", "residual1", "pq16")
DIM = 8
posix = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")
pytestmark = pytest.mark.filterwarnings("ignore:codec .* is trained once")  # on few tokens


def texts(n: int, seed: int = 0, dim: int = DIM) -> list[Array]:
    """Token vectors of 0 to 8 tokens, on few values, so that scores tie."""
    rng = np.random.default_rng(seed)
    return [rng.integers(-3, 4, (rng.integers(0, 9), dim)).astype(F32) for _ in range(n)]


def queries(n: int, seed: int = 1) -> list[Array]:
    return [text for text in texts(3 * n, seed) if len(text)][:n]


def codebook_of(codec: Any) -> Codebook | None:
    return tercet.train_codebook(texts(400, 9), codec=codec, dim=DIM) if codec in RESIDUAL else None


def one_index(codec: Any, book: Codebook | None) -> MultiVectorIndex:
    index = MultiVectorIndex(DIM, codec=codec)
    if book is not None:
        book.share_with(index)
    return index


def same_hits(a: Hits, b: Hits) -> bool:
    return bool(a.ids.tolist() == b.ids.tolist() and same_bits(a.scores, b.scores))


def holds(index: SegmentedIndex, known: dict[Any, Array]) -> None:
    """Check that these documents are there (float32), and no others."""
    assert len(index) == len(known)
    assert sorted(index.ids.tolist()) == sorted(known)
    got = index.get(list(known))
    assert all(same_bits(one, two) for one, two in zip(got, known.values(), strict=True))


# ---- a dictionary


class SegmentTwin(Twin):
    """Does to a directory, its reader and its writers what can happen to them."""

    def __init__(self, path: Path, kind: type, seed: int, codec: Any) -> None:
        def score(asked: list[Array], documents: list[Array]) -> Array:
            return reference.stored_maxsim(asked, documents, codec)

        rng = np.random.default_rng(seed)
        index = SegmentedIndex.create(path, segment_writer.DIM, codec=codec, memory=segment_writer.MEMORY)
        super().__init__(index, kind, rng, lambda: segment_writer.document(rng), score)
        self.path = path
        self.reader = tercet.open(path)
        self.committed: dict[Any, Array] = {}

    def actions(self) -> dict[Callable[[], None], float]:
        more = {self.add_stream: 0.05, self.commit: 0.1, self.compact: 0.03, self.reopen: 0.03}
        return {**super().actions(), **more, self.give_up: 0.02, self.be_killed: 0.01, self.refresh: 0.05}

    def add_stream(self) -> None:
        ids = self.some(12)
        documents = [self.document() for _ in ids]
        assert self.index.add(iter(documents), iter(ids)).tolist() == ids
        self.known.update(zip(ids, documents, strict=True))
        if self.kind is int:
            self.next = max(self.next, *(i + 1 for i in ids))

    def commit(self) -> None:
        self.index.commit()
        self.committed = dict(self.known)

    def compact(self) -> None:
        self.index.compact()
        self.committed = dict(self.known)

    def reopen(self) -> None:
        self.commit()
        self.index.close()
        self.index = SegmentedIndex.open(self.path, mode="r+", memory=segment_writer.MEMORY)

    def give_up(self) -> None:
        self.commit()
        for _ in range(3):
            self.add()
            self.remove()
        self.index.close()
        self.known = dict(self.committed)
        self.index = SegmentedIndex.open(self.path, mode="r+", memory=segment_writer.MEMORY)
        self.next = self.index._writer._next  # numbers of what was given up may be given again

    def be_killed(self) -> None:
        """Another process writes, and is killed."""
        if os.name != "posix":
            return
        self.reopen()
        before = self.index.generation
        self.index.close()
        seed = int(self.rng.integers(0, 2**31))
        process = segment_writer.start(self.path, self.kind, seed)
        printed = segment_writer.kill(process, float(self.rng.uniform(0, 0.05)))
        found = SegmentedIndex.open(self.path)
        found.verify()
        # Commits that changed nothing have the generation of the one before; one may not have been printed.
        last = printed[-1] if printed else before
        assert found.generation in (last, last + 1)
        commits = len(printed) + (found.generation > last)
        self.known = segment_writer.follow(self.known, self.kind, seed, commits)
        self.committed = dict(self.known)
        self.index = SegmentedIndex.open(self.path, mode="r+", memory=segment_writer.MEMORY)
        self.next = self.index._writer._next

    def refresh(self) -> None:
        self.reader.refresh()
        assert sorted(self.reader.ids.tolist()) == sorted(self.committed)
        assert not self.reader.refresh()
        if self.committed and self.rng.random() < 0.3:
            mine, self.index, now, self.known = self.index, self.reader, self.known, self.committed
            self.search()
            self.index, self.known = mine, now


@pytest.mark.parametrize("kind", [int, str])
@pytest.mark.parametrize("codec", ["float32", "int8", "int4"])
def test_behaves_as_a_dictionary(codec: Any, kind: type, tmp_path: Path) -> None:
    """TERCET_TEST_STEPS says how many operations, TERCET_TEST_SEED which."""
    seed = int(os.environ.get("TERCET_TEST_SEED", "0"))
    SegmentTwin(tmp_path / "x", kind, seed, codec).run(int(os.environ.get("TERCET_TEST_STEPS", "300")))


@pytest.mark.parametrize("codec", CODECS)
def test_one_index_would_answer_the_same(codec: Any, tmp_path: Path) -> None:
    """Ids and scores to the last bit, with ties, filters, removals, replacements, merges."""
    rng = np.random.default_rng(4)
    book = codebook_of(codec)
    index = SegmentedIndex.create(tmp_path / "x", DIM, codec=codec, codebook=book, memory=2500)
    one = one_index(codec, book)
    asked = queries(6)
    for round in range(12):
        documents, ids = texts(25, 20 + round), rng.choice(150, 25, replace=False)
        gone = rng.choice(ids, 6, replace=False)
        for each in (index, one):
            each.add(documents, ids)
            each.remove(gone)
        if round % 3 == 1:
            index.commit()
        if round % 5 == 4:
            index.compact()
        mask = rng.random(len(index)) < 0.5
        allowed = index.ids[mask]
        several = [mask, None, allowed, PackedMask.pack(mask), [], set(allowed.tolist())]
        for k in (1, 10, 200):
            for filter, same in (
                (None, None),
                (mask, allowed),
                (PackedMask.pack(mask), allowed),
                (allowed.tolist(), allowed),
                (several, [allowed, None, allowed, allowed, [], allowed]),
                (np.stack([mask] * 6), allowed),
            ):
                got, want = index.search(asked, k, filter=filter), one.search(asked, k, filter=same)
                assert same_hits(got, want)
        candidates = one.search(asked, 30, filter=allowed)
        assert same_hits(index.rerank(asked, candidates, 12), one.rerank(asked, candidates, 12))
        for a, b in zip(index.explain(asked, candidates), one.explain(asked, candidates), strict=True):
            assert a.ids.tolist() == b.ids.tolist()
            assert same_bits(a.document_tokens, b.document_tokens)
            assert same_bits(a.scores, b.scores)
        wanted = rng.permutation(one.ids)
        assert same_bits(index.get(wanted).values, one.get(wanted).values)
        assert index.get(wanted).offsets.tolist() == one.get(wanted).offsets.tolist()
        assert index.num_tokens == one.num_tokens
    index.commit()
    opened = tercet.open(tmp_path / "x")
    opened.verify()
    assert isinstance(opened, SegmentedIndex)
    assert len(opened._state.segments) > 1
    assert same_hits(opened.search(asked, 40, threads=1), one.search(asked, 40))


@pytest.mark.slow
def test_of_many_tokens(tmp_path: Path) -> None:
    """Segments large enough for lists: candidates are passed on, and merging makes lists too."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((280_000, 4)).astype(F32)
    tokens = TokenVectors(rows, np.arange(0, len(rows) + 1, 20))
    one = MultiVectorIndex(4)
    one.add(tokens)
    asked = [rows[i : i + 5] for i in range(0, 5000, 250)]
    index = SegmentedIndex.create(tmp_path / "x", 4)
    half = TokenVectors(rows[:140_000], tokens.offsets[:7001])
    index.add(half)
    index.commit()
    index.add(TokenVectors(rows[140_000:], half.offsets))
    for _ in range(2):
        want = one.search(asked, 10, exact=True)
        assert same_hits(index.search(asked, 10, exact=True), want)
        got = index.search(asked, 10, candidates=2000)
        assert (got.ids == want.ids).mean() > 0.5, (got.ids == want.ids).mean()
        assert index.stats()["nbytes"] > 280_000 * 6 + 14_000 * 16 + 10_000  # lists are there
        index.compact()
    assert index.stats()["segments"] == 1


# ---- what is asked wrongly


def test_ids(tmp_path: Path) -> None:
    index = SegmentedIndex.create(tmp_path / "x", DIM)
    assert index.ids.tolist() == []
    assert index.search(queries(2), 3).ids.tolist() == [[-1] * 3] * 2
    assert index.add(texts(3)).tolist() == [0, 1, 2]
    index.commit()
    assert index.add(texts(2), [9, 4]).tolist() == [9, 4]
    index.remove(9)
    assert index.add(texts(1, 3)[0]).tolist() == [10]  # never again 9
    index.commit()
    index.close()
    with SegmentedIndex.open(tmp_path / "x", mode="r+") as index:
        assert index.add(texts(1)).tolist() == [11]
        assert (4 in index, 9 in index, "4" in index, None in index, [4] in index) == (True, *[False] * 4)
        for use in (index.get, index.remove):
            with pytest.raises(KeyError, match=r"ids not in this index: 9, 20, 21, 22, 23, ... \(6 in all\)"):
                use([4, 9, 20, 21, 22, 23, 24])
            with pytest.raises(ValueError, match="given twice in one call: 4"):
                use([4, 11, 4])
            with pytest.raises(TypeError, match="this index has int ids, got str"):
                use(["a"])
        for bad, error, message in (
            ([3, 3], ValueError, "twice"),
            ([-1, 3], ValueError, ">= 0"),
            (["a", "b"], TypeError, "has int ids"),
            ([1], ValueError, "expected 2, one per document, got 1"),
        ):
            with pytest.raises(error, match=message):
                index.add(texts(2, 7), bad)
        with pytest.raises(ValueError, match="row 0 has a value"):
            index.add([np.full((1, DIM), np.nan, F32)], [4])
        with pytest.raises(TypeError, match="this index has int ids, got str"):
            index.search(queries(1), filter=["a"])
        with pytest.raises(ValueError, match=r"a mask of 6 .*got 5"):
            index.search(queries(1), filter=np.ones(5, bool))
        with pytest.raises(ValueError, match="8 dimensions, got 3"):
            index.search(np.ones((1, 3), F32))
        with pytest.raises(KeyError, match=r"candidates not in this index: 9 \(1 in all\)"):
            index.rerank(queries(1), Hits(np.array([[4, 9]]), np.ones((1, 2), F32)), 2)
        with pytest.raises(KeyError, match="a"):
            index.rerank(queries(1), Hits(np.array([["a"]], object), np.ones((1, 1), F32)), 2)
        with pytest.raises(KeyError, match=r"hits not in this index: 9 \(1 in all\)"):
            index.explain(queries(1), Hits(np.array([[4, 9]]), np.ones((1, 2), F32)))
        with pytest.raises(ValueError, match="expected 2 rows"):
            index.rerank(queries(2), Hits(np.array([[4]]), np.ones((1, 1), F32)), 2)
        with pytest.raises(TypeError, match="unexpected keyword"):
            index.search(queries(1), nonsense=3)
        assert len(index) == 6
        index.remove(index.ids)
        index.add(texts(2), ["b", "a"])  # an empty index takes either kind
        with pytest.raises(ValueError, match="each vector needs one"):
            index.add(texts(1))
        assert index.search(queries(1), 3).ids[0, 2] == -1
    assert tercet.open(tmp_path / "x").ids.tolist() == ["b", "a"]


def test_the_largest_id(tmp_path: Path) -> None:
    index = SegmentedIndex.create(tmp_path / "x", DIM)
    index.add(texts(1), [2**63 - 1])
    with pytest.raises(ValueError, match="no integers left"):
        index.add(texts(1))


def test_modes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with SegmentedIndex.create(path, DIM) as index:
        index.add(texts(5))
    with pytest.raises(ValueError, match="closed"):
        len(index)
    with pytest.raises(ValueError, match="closed"):
        index.add(texts(1))
    assert "closed" in repr(index)
    index.close()
    reader = tercet.open(path)
    assert (len(reader), reader.generation) == (5, 2)
    for change in (
        lambda: reader.add(texts(1)),
        lambda: reader.remove(0),
        reader.commit,
        reader.compact,
        lambda: reader.attach([]),
    ):
        with pytest.raises(io.UnsupportedOperation, match="mode='r\\+'"):
            change()
    with pytest.raises(KeyError, match="77"), SegmentedIndex.open(path, mode="r+") as index:  # noqa: PT012
        index.remove(0)
        assert (0 in index, 0 in reader) == (False, True)
        index.remove(77)
    assert not reader.refresh()
    assert len(reader) == 5
    with SegmentedIndex.open(path, mode="r+") as index:
        assert index.commit() == 2  # nothing to do
        assert not index.refresh()
        index.add(texts(1), [1])
        stats = index.stats()
        sizes = {name: stats.pop(name) for name in ("bytes", "bytes_per_token", "file_bytes", "per_segment")}
        assert stats == {
            "kind": "SegmentedIndex", "dim": DIM, "codec": "int4", "seed": 0, "generation": 2, "segments": 2,
            "size": 5, "removed": 1, "tokens": index.num_tokens, "nbytes": index.nbytes,
        }  # fmt: skip
        assert sizes["bytes_per_token"] == index.nbytes / index.num_tokens
        assert repr(index) == f"SegmentedIndex({str(path)!r}, codec='int4', size=5)"
    assert reader.refresh()
    assert (len(reader), reader.generation) == (5, 3)
    for options in ({"mode": "w"}, {"memory": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            SegmentedIndex.open(path, **{"mode": "r+", **options})
    with pytest.raises(ValueError, match="mmap=False"):
        tercet.open(path, mmap=False)


def test_where_an_index_can_be_made(tmp_path: Path) -> None:
    SegmentedIndex.create(tmp_path / "a" / "b", DIM).close()
    with pytest.raises(FileExistsError, match=r"SegmentedIndex\.open opens it"):
        SegmentedIndex.create(tmp_path / "a" / "b", DIM)
    with pytest.raises(FileExistsError, match="not empty: it holds b"):
        SegmentedIndex.create(tmp_path / "a", DIM)
    with pytest.raises(FileNotFoundError, match="no such index directory"):
        SegmentedIndex.open(tmp_path / "c", mode="r+")
    for options in (
        {"dim": 0},
        {"dim": 8, "codec": "int3"},
        {"dim": 8, "seed": -1},
        {"dim": 8, "memory": -1},
    ):
        with pytest.raises(ValueError, match=f"^{list(options)[-1]}: "):
            SegmentedIndex.create(tmp_path / "c", **options)
    (tmp_path / "c").mkdir()
    with pytest.raises(ValueError, match=r"not a tercet index directory \(it has no manifest"):
        SegmentedIndex.open(tmp_path / "c", mode="r+")
    assert os.listdir(tmp_path / "c") == []
    (tmp_path / "c" / "manifest.json").write_text('{"format": "tercet-retriever"}')
    with pytest.raises(ValueError, match=r"got 'tercet-retriever'; tercet\.Retriever\.open opens it"):
        tercet.open(tmp_path / "c")


# ---- segments


def files(path: Path, kind: str = "segment") -> list[Path]:
    return sorted(path.glob(f"{kind}-*"))


def stored(path: Path) -> dict[int, tuple[bytes, ...]]:
    """What the files of an index store for each id, removed or not: codes, scales, centroids."""
    found = {}
    for file in files(path):
        _, sections = container.parse(file.read_bytes())
        rows = [sections[name] for name in ("codes", "scales", "centroids") if name in sections]
        for i, id in enumerate(sections["ids"].tolist()):
            part = slice(*sections["offsets"][i : i + 2])
            found[id] = tuple(row[part].tobytes() for row in rows)
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_merging_copies_codes(codec: Any, tmp_path: Path) -> None:
    with SegmentedIndex.create(tmp_path / "x", DIM, codec=codec, codebook=codebook_of(codec)) as index:
        for i in range(7):
            index.add(texts(10, i), range(10 * i, 10 * i + 10))
            index.commit()
        index.remove(range(0, 70, 3))
        index.commit()
        assert len(files(tmp_path / "x")) == index.stats()["segments"] == 7
        assert len(files(tmp_path / "x", "removed")) == 7
        before = stored(tmp_path / "x")
        copied: list[tuple[int, int]] = []
        index.compact(progress=lambda *now: copied.append(now))
        assert copied == sorted(copied)
        assert copied[-1] == (len(index), index.num_tokens)
        assert len(copied) >= 7
        assert len(files(tmp_path / "x")) == index.stats()["segments"] == 1
        assert files(tmp_path / "x", "removed") == []
        assert stored(tmp_path / "x") == {i: codes for i, codes in before.items() if i % 3}
        generation = index.generation
        index.compact()  # a small segment alone stays as it is
        assert index.generation == generation
        index.remove(1)
        index.compact()
        assert stored(tmp_path / "x") == {i: codes for i, codes in before.items() if i % 3 and i != 1}


def test_what_is_merged(tmp_path: Path) -> None:
    """Small segments and half-dead ones; into segments of the size that memory makes."""
    document, memory = np.ones((10, DIM), F32), 100 * 2 * (80 + 20 + 16)  # 100 documents a segment
    with SegmentedIndex.create(tmp_path / "x", DIM, codec="int8", memory=memory) as index:
        full = []
        for i in range(3):
            index.add([document] * 100, range(100 * i, 100 * i + 100))
            full += set(files(tmp_path / "x")) - set(full)
        assert len(full) == 3
        index.remove(range(20))  # of the first few, of the second most
        index.remove(range(100, 160))
        for i in range(6):
            index.add([document] * 30, range(300 + 30 * i, 330 + 30 * i))
            index.commit()
        index.compact()
        assert {full[0], full[2]} < set(files(tmp_path / "x"))
        merged = set(files(tmp_path / "x")) - {full[0], full[2]}
        sizes = sorted(len(container.parse(file.read_bytes())[1]["ids"]) for file in merged)
        assert sum(sizes) == 40 + 6 * 30
        assert sizes[-1] <= 110
        assert len(sizes) <= 3
        assert sorted(index.ids.tolist()) == [*range(20, 100), *range(160, 480)]


def test_dead_segments_are_left_out(tmp_path: Path) -> None:
    with SegmentedIndex.create(tmp_path / "x", DIM) as index:
        index.add(texts(4))
        index.commit()
        old = files(tmp_path / "x")
        index.add(texts(4, 2), range(4))
        index.commit()
        assert len(files(tmp_path / "x")) == 1
        assert files(tmp_path / "x") != old
        index.remove(index.ids)
    assert sorted(os.listdir(tmp_path / "x")) == ["manifest.json", "writer.lock"]
    assert len(tercet.open(tmp_path / "x")) == 0


# ---- streams


def test_streams(tmp_path: Path) -> None:
    """Every way to say the same, read a batch at a time."""
    documents = texts(200)
    want = one_index("int4", None)
    want.add(documents, range(200))
    joined = TokenVectors.from_list(documents)
    batches = [TokenVectors.from_list(documents[i : i + 7]) for i in range(0, 200, 7)]
    ways: list[tuple[Any, Any]] = [
        (documents, range(200)),
        (joined, None),
        (iter(documents), None),
        (iter(documents), range(200)),
        ((d for d in documents), (i for i in range(200))),
        (iter(batches), iter(np.arange(200))),
        (iter([joined]), list(range(200))),
        (iter([documents[:50], documents[50], TokenVectors.from_list(documents[51:])]), None),
    ]
    calls: list[tuple[int, int]] = []
    for number, (vectors, ids) in enumerate(ways):
        calls.clear()
        with SegmentedIndex.create(tmp_path / str(number), DIM, memory=4000) as index:
            added = index.add(vectors, ids, progress=lambda *now: calls.append(now))
            assert added.tolist() == list(range(200))
            assert same_hits(index.search(queries(3), 20), want.search(queries(3), 20))
        assert calls[-1] == (200, want.num_tokens)
        assert calls == sorted(calls)
        assert len(calls) > 1 or number in (0, 1, 6)


def test_a_stream_is_read_as_it_is_stored(tmp_path: Path) -> None:
    read = 0

    def stream() -> Iterator[Array]:
        nonlocal read
        for text in texts(3000):
            read += 1
            yield text

    ahead: list[int] = []
    with SegmentedIndex.create(tmp_path / "x", DIM, memory=64_000) as index:
        index.add(stream(), progress=lambda documents, _: ahead.append(read - documents))
    assert len(ahead) > 50
    assert max(ahead) <= 1  # the one that was too many


def test_streams_that_fail(tmp_path: Path) -> None:
    index = SegmentedIndex.create(tmp_path / "x", DIM, memory=2000)
    assert index.add(iter([])).tolist() == []
    good = texts(100)

    def then(last: Any) -> Iterator[Any]:
        yield from good
        yield last

    for stream, ids, error, message in (
        (
            then(np.ones((2, 3), F32)),
            None,
            ValueError,
            "item 100 of the stream: expected 8 dimensions, got 3",
        ),
        (then(np.ones((2, DIM))), None, TypeError, "item 100 of the stream: dtype float64"),
        (then(np.full((2, DIM), np.inf, F32)), None, ValueError, "not finite"),
        (iter(good), range(99), ValueError, "ids: expected one per document, got 99"),
        (iter(good), range(101), ValueError, "ids: expected 100, one per document, got 101"),
        (iter(good), "abc", TypeError, "ids: expected a list"),
        (iter(good), 5, TypeError, "ids: expected a list"),
    ):
        before = len(index)
        with pytest.raises(error, match=message):
            index.add(stream, ids)
        assert len(index) >= before
    index.add(iter([*good, *good]), [*range(100), *range(100)])  # the later replace the earlier
    assert same_bits(index.get(range(100)).values, one_with(good).get(range(100)).values)


def one_with(documents: list[Array]) -> MultiVectorIndex:
    one = one_index("int4", None)
    one.add(documents, range(len(documents)))
    return one


def test_pooling(tmp_path: Path) -> None:
    one = MultiVectorIndex(DIM)
    one.add(texts(50), pool=2)
    with SegmentedIndex.create(tmp_path / "x", DIM) as index:
        index.add(iter(texts(50)), pool=2)
        assert same_hits(index.search(queries(4), 9), one.search(queries(4), 9))
        with pytest.raises(ValueError, match="pool"):
            index.add(texts(1), pool=0)


# ---- builds


def pairs(n: int) -> Iterator[tuple[str, Array]]:
    return ((f"d{i}", text) for i, text in enumerate(texts(n, 5)))


@pytest.mark.parametrize("codec", ["int8", "residual2"])
def test_an_interrupted_build_goes_on(codec: Any, tmp_path: Path) -> None:
    book = codebook_of(codec)
    options = {"dim": DIM, "codec": codec, "codebook": book, "memory": 6000}

    def broken(n: int) -> Iterator[tuple[str, Array]]:
        yield from pairs(n)
        raise ConnectionError

    sizes = []
    for n in (300, 150, 700):
        with pytest.raises(ConnectionError):
            SegmentedIndex.build(tmp_path / "x", broken(n), **options)
        sizes.append(len(tercet.open(tmp_path / "x")))
    assert 0 < sizes[0] == sizes[1] < 300 < sizes[2] < 700  # what was committed
    seen = []
    index = SegmentedIndex.build(
        tmp_path / "x", pairs(900), **options, progress=lambda documents, _: seen.append(documents)
    )
    assert seen[-1] == 900
    one = one_index(codec, book)
    one.add([text for _, text in pairs(900)], [name for name, _ in pairs(900)])
    assert len(index) == 900
    assert same_hits(index.search(queries(5), 30), one.search(queries(5), 30))
    again = SegmentedIndex.build(
        tmp_path / "x", iter([(["d1", "d2"], texts(2, 77)), ("e", texts(1)[0])]), **options
    )
    assert len(again) == 901  # of the same id the first is kept
    assert same_bits(again.get(["d1", "d2"]).values, one.get(["d1", "d2"]).values)


def test_builds_that_do_not_fit(tmp_path: Path) -> None:
    SegmentedIndex.build(tmp_path / "x", pairs(10), dim=DIM)
    for options in ({"dim": DIM, "codec": "int8"}, {"dim": 4}):
        with pytest.raises(ValueError, match="expected an index with"):
            SegmentedIndex.build(tmp_path / "x", pairs(10), **options)
    with pytest.raises(ValueError, match="item 0 of the stream: expected 2 ids, got 1"):
        SegmentedIndex.build(tmp_path / "x", [("a", texts(2))], dim=DIM)
    with pytest.raises(TypeError, match="has str ids, got int"):
        SegmentedIndex.build(tmp_path / "x", [(1, texts(1)[0])], dim=DIM)
    SegmentedIndex.build(tmp_path / "y", pairs(900), dim=DIM, codec="residual2")  # trained on its first batch
    with pytest.raises(ValueError, match="another codebook"):
        SegmentedIndex.build(
            tmp_path / "y", [], dim=DIM, codec="residual2", codebook=codebook_of("residual2")
        )


# ---- codebooks


@pytest.mark.parametrize("codec", RESIDUAL)
def test_a_codebook(codec: Any, tmp_path: Path) -> None:
    book = codebook_of(codec)
    assert book is not None
    other = tercet.train_codebook(texts(400, 9), codec=codec, dim=DIM, centroids=40, threads=1)
    assert (book.dim, book.codec, book.seed, other.centroids) == (DIM, codec, 0, 40)
    book.save(tmp_path / "book")
    for twin in (pickle.loads(pickle.dumps(book)), Codebook.open(tmp_path / "book"), codebook_of(codec)):
        assert twin == book
        assert twin != other
    assert book != 5
    assert repr(other) == f"Codebook(dim=8, codec='{codec}', centroids=40)"
    with pytest.raises(ValueError, match="does not fit"):
        book.share_with(MultiVectorIndex(DIM, codec=codec, seed=1))
    with pytest.raises(ValueError, match="another one"):
        book.share_with(one_index(codec, other))
    with pytest.raises(ValueError, match="not trained"):
        Codebook(MultiVectorIndex(DIM, codec=codec))
    with pytest.raises(ValueError, match="only residual2, residual1, pq16 do"):
        tercet.train_codebook(texts(40), codec="int8", dim=DIM)
    with pytest.raises(ValueError, match="does not fit"):
        SegmentedIndex.create(tmp_path / "x", DIM, codec="int8", codebook=book)
    assert not (tmp_path / "x").exists()
    with pytest.raises(ValueError, match="expected one, for codec"):
        tercet.build_segment(tmp_path / "x", pairs(3), dim=DIM, codec=codec)


def test_the_first_documents_train(tmp_path: Path) -> None:
    one = MultiVectorIndex(DIM, codec="residual1")
    with SegmentedIndex.create(tmp_path / "x", DIM, codec="residual1", memory=3000) as index:
        assert index.codebook is None
        for n, seed in ((3, None), (400, 1), (300, 2)):
            documents = (
                texts(n, seed) if seed else [np.empty((0, DIM), F32)] * n
            )  # no tokens, nothing to learn
            index.add(documents)
            one.add(documents)
            if seed is None:
                index.commit()
        assert index.codebook == Codebook(one)
        assert "codebook" not in " ".join(os.listdir(tmp_path / "x"))
    opened = tercet.open(tmp_path / "x")
    assert opened.codebook == Codebook(one)
    assert opened.stats()["centroids"] == one.stats()["centroids"]
    assert same_hits(opened.search(queries(4), 800), one.search(queries(4), 800))
    with SegmentedIndex.open(tmp_path / "x", mode="r+") as index:
        index.compact()
    assert opened.refresh()
    assert same_hits(opened.search(queries(4), 800), one.search(queries(4), 800))


# ---- segments of others


WORKER = """if True:
    import sys
    import tercet
    sys.path.insert(0, sys.argv[1])
    from test_segments import DIM, texts
    _, _, codec, book, number, path = sys.argv
    book = tercet.Codebook.open(book) if book else None
    number = int(number)
    stream = ((f"d{i}", text) for i, text in enumerate(texts(400, 5)) if i % 4 == number)
    if number % 2:
        tercet.build_segment(path, stream, dim=DIM, codec=codec, codebook=book)
    else:
        tercet.SegmentedIndex.build(path, stream, dim=DIM, codec=codec, codebook=book, memory=5000)
"""


@pytest.mark.parametrize("codec", ["int4", "residual2", "pq16"])
def test_four_processes_build(codec: Any, tmp_path: Path) -> None:
    """As one process would have."""
    book = codebook_of(codec)
    if book is not None:
        book.save(tmp_path / "book")
    parts = [str(tmp_path / f"part{i}") for i in range(4)]
    for i, part in enumerate(parts):
        given = str(tmp_path / "book") if book else ""
        done = run_python(WORKER, str(Path(__file__).parent), codec, given, str(i), part)
        assert done.returncode == 0, done.stderr
    with SegmentedIndex.create(tmp_path / "x", DIM, codec=codec) as index:  # takes the codebook of the first
        index.attach(parts)
        assert index.codebook == book
    one = one_index(codec, book)
    one.add([text for _, text in pairs(400)], [name for name, _ in pairs(400)])
    opened = tercet.open(tmp_path / "x")
    opened.verify()
    assert opened.stats()["segments"] > 4
    assert same_hits(opened.search(queries(9), 50), one.search(queries(9), 50))
    for part in parts:
        assert len(tercet.open(part)) == 100  # they stay as they are
    with SegmentedIndex.open(tmp_path / "x", mode="r+") as index:
        index.compact()
        assert index.stats()["segments"] == 1
        assert same_hits(index.search(queries(9), 50), one.search(queries(9), 50))
        added = texts(60, 3)
        for each in (index, one):
            each.add(added, [f"n{i}" for i in range(60)])
        assert same_hits(index.search(queries(9), 50), one.search(queries(9), 50))


def test_what_is_attached_replaces(tmp_path: Path) -> None:
    a, b, c = texts(10, 1), texts(10, 2), texts(10, 3)
    for name, documents, first in (("b", b, 5), ("c", c, 10)):
        other = MultiVectorIndex(DIM, codec="float32")
        other.add(documents, range(first, first + 10))
        other.save(tmp_path / name)
    with SegmentedIndex.create(tmp_path / "removed", DIM, codec="float32") as index:
        index.add(texts(20, 4))
        index.commit()
        index.remove(range(1, 20))
    reader_of_others = tercet.open(tmp_path / "removed")
    with SegmentedIndex.create(tmp_path / "x", DIM, codec="float32") as index:
        index.add(a)
        index.attach([tmp_path / "b", tmp_path / "c", tmp_path / "removed"])
        known = dict(zip(range(10), a, strict=True)) | dict(zip(range(5, 15), b, strict=True))
        known |= dict(zip(range(10, 20), c, strict=True)) | {0: texts(20, 4)[0]}
        holds(index, known)
        assert index.add(texts(1)).tolist() == [20]
        index.remove(20)
        index.commit()
        index.compact()
        holds(index, known)
    assert len(reader_of_others) == 1
    reader_of_others.verify()
    holds(tercet.open(tmp_path / "x"), known)


def test_what_cannot_be_attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = codebook_of("residual2")
    assert book is not None
    index = SegmentedIndex.create(tmp_path / "x", DIM, codec="residual2", codebook=book)
    index.add(texts(3), ["a", "b", "c"])
    good = tmp_path / "good"
    tercet.build_segment(good, pairs(5), dim=DIM, codec="residual2", codebook=book)

    def other(name: str, codec: Any, ids: Any = None, **settings: Any) -> Path:
        made = MultiVectorIndex(DIM, codec=codec, **settings)
        made.add(texts(50, 3), ids)
        made.save(tmp_path / name)
        return tmp_path / name

    tercet.FlatIndex(DIM).save(tmp_path / "flat")
    (tmp_path / "junk").write_bytes(b"junk")
    (tmp_path / "empty").mkdir()
    ints = one_index("residual2", book)
    ints.add(texts(4))
    ints.save(tmp_path / "ints")
    for path, error, message in (
        (other("int8", "int8"), ValueError, "int8: expected a segment with .*residual2"),
        (other("seed", "residual2", [f"{i}" for i in range(50)], seed=4), ValueError, "seed: expected"),
        (
            other("book", "residual2", [f"{i}" for i in range(50)]),
            ValueError,
            "book: codebook: it is another",
        ),
        (tmp_path / "flat", ValueError, "flat: expected a MultiVectorIndex, got 'FlatIndex'"),
        (tmp_path / "junk", ValueError, "junk: not a tercet index file"),
        (tmp_path / "empty", ValueError, "not a tercet index directory"),
        (tmp_path / "none", FileNotFoundError, "none"),
        (tmp_path / "ints", TypeError, "of one kind"),
    ):
        with pytest.raises(error, match=message):
            index.attach([good, path])
        assert len(index) == 3
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    index.attach([good])
    index.commit()
    index.close()
    opened = tercet.open(tmp_path / "x")
    opened.verify()
    assert len(opened) == 8


def test_a_symbolic_link_is_attached_as_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    part, link = tmp_path / "parts" / "part", tmp_path / "parts" / "link"
    tercet.build_segment(part, [(i, np.ones((2, DIM), F32)) for i in range(3)], dim=DIM, codec="float32")
    link.symlink_to("part")
    with SegmentedIndex.create(tmp_path / "x", DIM, codec="float32") as index:
        index.attach(link)
    part.unlink()
    assert len(SegmentedIndex.open(tmp_path / "x")) == 3


def test_a_stream_without_ids_says_what_is_missing(tmp_path: Path) -> None:
    documents = [np.ones((2, DIM), F32)] * 2
    with pytest.raises(TypeError, match=r"item 0 of the stream: expected \(id, document\) .*got ndarray"):
        SegmentedIndex.build(tmp_path / "x", documents, dim=DIM)
