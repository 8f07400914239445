"""The retriever: what it stores, what it refuses, and what a crash leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tercet
from fakes import BagOfWords, LongestFirst, WordVectors
from tercet import Retriever
from tercet.directory import writing

DOCS: list[Any] = [
    {"_id": "cats", "title": "Cats", "text": "cats sleep all day", "year": 2020, "tags": ["a", "ü"]},
    {"id": 7, "contents": "dogs bark at night"},
    "birds sing in the morning",
]


@pytest.fixture(params=["single", "multi"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def encoder(kind: str, name: str = "bag") -> BagOfWords:
    return BagOfWords(name) if kind == "single" else WordVectors(name)


def make(path: Path, kind: str = "single", docs: Any = DOCS) -> Retriever:
    retriever = Retriever.create(path, encoder=encoder(kind), kind=kind)
    retriever.add(docs)
    return retriever


def contents(retriever: Retriever) -> dict[int | str, str]:
    """Everything that can be found, by id."""
    found = retriever.search("anything", 1000)
    assert len(found) == len(retriever)
    return {r.id: r.text for r in found}


def test_matching_gives_a_filter(tmp_path: Path, kind: str) -> None:
    with make(tmp_path / "x", kind) as r, Retriever.open(tmp_path / "x", encoder(kind)) as reader:
        assert r.path == tmp_path / "x"
        assert r.matching(lambda document: document.metadata.get("year") == 2020) == ["cats"]
        assert r.search("dogs bark", filter=r.matching(lambda document: "s" in document.text))[0].id == 7
        r.add([{"_id": "cats", "text": "cats sleep", "year": 2021}])
        # of the newest commit, since this reader's is no longer whole
        assert reader.matching(lambda document: document.metadata.get("year") == 2021) == ["cats"]
        r.add([f"document {i}" for i in range(1200)])
        assert len(r.matching(lambda document: True)) == len(r) == 1203


def test_add_and_search(tmp_path: Path, kind: str) -> None:
    with make(tmp_path / "x", kind) as r:
        assert len(r) == 3
        first = r.search("cats sleep")[0]
        assert (first.id, first.title, first.text) == ("cats", "Cats", "cats sleep all day")
        assert first.metadata == {"year": 2020, "tags": ["a", "ü"]}
        assert [hits[0].id for hits in r.search(["dogs bark", "birds sing"], k=1)] == [7, 8]
        assert r.search([]) == []
        scores = [hit.score for hit in r.search("dogs", 100)]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)


def test_open_finds_the_same(tmp_path: Path, kind: str) -> None:
    with make(tmp_path / "x", kind) as r:
        expected = r.search("birds and dogs")
    with Retriever.open(tmp_path / "x", encoder(kind)) as r:
        assert r.search("birds and dogs") == expected
        assert r.manifest.kind == kind


def test_scores_are_those_of_the_vectors(tmp_path: Path) -> None:
    with make(tmp_path / "x") as r:
        model = BagOfWords()
        expected = model.encode_query(["dogs"]) @ model.encode_document(["dogs bark at night"]).T
        assert r.search("dogs", 1)[0].score == pytest.approx(float(expected[0, 0]), abs=1e-5)


def test_ids_keep_their_type(tmp_path: Path) -> None:
    ids = [1, "1", "ключ 鍵", -5, 2**63 - 1, -(2**63), ""]
    with make(tmp_path / "x", docs=[{"_id": i, "text": f"text {i!r}"} for i in ids]) as r:
        assert contents(r) == {i: f"text {i!r}" for i in ids}
        r.remove(["1", -5])
        assert set(contents(r)) == {1, "ключ 鍵", 2**63 - 1, -(2**63), ""}


def test_documents_without_id_are_numbered_on(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "x", encoder=BagOfWords()) as r:
        assert r.add(["a", "b", {"_id": 10, "text": "c"}, "d", {"_id": None, "text": "e"}]) == [
            0,
            1,
            10,
            11,
            12,
        ]
        assert r.add(["f"]) == [13]
        assert r.search("e", 1)[0].metadata == {}


def test_an_existing_id_is_replaced(tmp_path: Path, kind: str) -> None:
    with make(tmp_path / "x", kind) as r:
        r.add([{"_id": "cats", "text": "fish swim"}, {"_id": "new", "text": "new"}])
        assert contents(r) == {
            "cats": "fish swim",
            7: "dogs bark at night",
            8: "birds sing in the morning",
            "new": "new",
        }
        assert r.search("fish swim", 1)[0].metadata == {}


def test_generator_is_read_in_batches(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Watched(BagOfWords):
        def encode_document(self, texts: Any) -> Any:
            sizes.append(len(texts))
            return super().encode_query(texts)

    done: list[int] = []
    with Retriever.create(tmp_path / "x", encoder=Watched()) as r:
        r.add((f"text {i}" for i in range(250)), batch_size=100, progress=done.append)
        assert len(r) == 250
    assert sizes == [100, 100, 50]
    assert done == [100, 200, 250]


def test_a_list_is_checked_before_anything_is_encoded(tmp_path: Path) -> None:
    class Watched(BagOfWords):
        def encode_document(self, texts: Any) -> Any:
            encoded.extend(texts)
            return super().encode_query(texts)

    encoded: list[str] = []
    docs = [*(f"text {i}" for i in range(5)), {"_id": "x", "text": ""}]
    with Retriever.create(tmp_path / "x", encoder=Watched()) as r:
        for given in (docs, tuple(docs)):
            with pytest.raises(ValueError, match=r"document 'x' \(the 6th\): its text is empty"):
                r.add(given, batch_size=2)
        assert encoded == []
        with pytest.raises(ValueError, match="its text is empty"):
            r.add(iter(docs), batch_size=2)
        assert len(encoded) == 4
        assert len(r) == 0


def test_remove(tmp_path: Path, kind: str) -> None:
    with make(tmp_path / "x", kind) as r:
        with pytest.raises(KeyError, match="'nobody'"):
            r.remove(["cats", "nobody"])
        assert len(r) == 3
        r.remove("cats")
        r.remove(iter([7]))
        assert set(contents(r)) == {8}
        with pytest.raises(KeyError, match="cats"):
            r.remove("cats")
        with pytest.raises(ValueError, match="twice"):
            r.remove([8, 8])
    with Retriever.open(tmp_path / "x", encoder(kind)) as r:
        assert set(contents(r)) == {8}


def test_rerank_orders_the_candidates(tmp_path: Path) -> None:
    docs = [{"_id": i, "text": "word " + "x" * i} for i in range(20)]
    with make(tmp_path / "x", docs=docs) as r:
        first = [hit.id for hit in r.search("word", 5)]
        hits = r.search("word", 2, rerank=LongestFirst(), depth=5)
        assert [hit.id for hit in hits] == sorted(first, reverse=True)[:2]
        assert hits[0].score == pytest.approx((5 + int(hits[0].id)) / 1000)
        assert len(r.search("word", 8, rerank=LongestFirst(), depth=2)) == 8


def test_reranker_must_score_every_text(tmp_path: Path) -> None:
    class Broken:
        def score(self, query: str, texts: Any) -> Any:
            return np.full(len(texts), np.nan)

    class Short:
        def score(self, query: str, texts: Any) -> Any:
            return np.zeros(1)

    with make(tmp_path / "x") as r:
        with pytest.raises(ValueError, match="NaN"):
            r.search("cats", rerank=Broken())
        with pytest.raises(ValueError, match=r"expected 3 scores from Short, got shape \[1\]"):
            r.search("cats", rerank=Short())


def test_filter(tmp_path: Path, kind: str) -> None:
    with make(tmp_path / "x", kind) as r:
        everything = {hit.id: hit.score for hit in r.search("cats sleep", 10)}
        for allowed, ids in (
            ([7, 8], {7, 8}),
            (["cats", 8, "nobody", 99, 8], {"cats", 8}),
            ({7}, {7}),
            (7, {7}),
            ("cats", {"cats"}),
            (np.array([7, 8]), {7, 8}),
            ((i for i in (7,)), {7}),
            ([], set()),
            (["7"], set()),
        ):
            assert {hit.id: hit.score for hit in r.search("cats sleep", 10, filter=allowed)} == {
                id: everything[id] for id in ids
            }
        assert [[hit.id for hit in hits] for hits in r.search(["cats", "dogs"], 1, filter=[8])] == [[8], [8]]
        reranked = r.search("cats", 1, filter=[7, 8], rerank=LongestFirst())
        assert [hit.id for hit in reranked] == [8]
        for wrong, got in ((b"a", "bytes"), (1.5, "float"), (object(), "object")):
            with pytest.raises(TypeError, match=f"filter: expected ids of documents, got {got}"):
                r.search("cats", filter=wrong)
        with pytest.raises(TypeError, match="id: expected int or str, got"):
            r.search("cats", filter=np.array([True, False, True]))


def test_filter_sees_what_was_replaced_meanwhile(tmp_path: Path, kind: str) -> None:
    make(tmp_path / "x", kind).close()
    with (
        Retriever.open(tmp_path / "x", encoder(kind)) as reader,
        Retriever.open(tmp_path / "x", encoder(kind)) as writer,
    ):
        writer.add([{"_id": "cats", "text": "replaced"}])
        assert [hit.text for hit in reader.search("cats", filter=["cats", 7])].count("replaced") == 1


def test_contains(tmp_path: Path, kind: str) -> None:
    with make(tmp_path / "x", kind) as r:
        assert "cats" in r
        assert 7 in r
        assert np.int64(8) in r
        for other in ("7", "dogs", 9, 2**70, None, [7]):
            assert other not in r
        r.remove(np.array([7, 8]))
        assert 7 not in r


def test_get(tmp_path: Path, kind: str) -> None:
    with make(tmp_path / "x", kind) as r:
        r.add([{"id": "new", "title": "Bats", "text": "bats hang", "year": 2021}])
        assert r.get("new") == ("new", "Bats", "bats hang", {"year": 2021})
        assert r.get(np.int64(7)) == r.get(7)
        r.add([{"id": "new", "text": "bats fly"}])
        assert r.get("new").text == "bats fly"
        r.remove("new")
        with pytest.raises(KeyError, match="no document with id 'new'"):
            r.get("new")
        with pytest.raises(TypeError, match="id: expected int or str"):
            r.get(None)  # type: ignore[arg-type]


def test_explain_adds_up_to_the_score(tmp_path: Path) -> None:
    with make(tmp_path / "x", "multi") as r:
        hit = r.search("dogs sing", 1)[0]
        matches = r.explain("dogs sing", hit.id)
        assert [m.query for m in matches] == ["[CLS]", "dogs", "sing"]
        assert sum(m.similarity for m in matches) == pytest.approx(hit.score, abs=1e-5)
        assert sum(m.share for m in matches) == pytest.approx(1)
        (exact,) = [m for m in matches if m.query == m.document != "[CLS]"]
        assert exact.document == hit.text.split()[exact.position - 1]
        assert exact.similarity == pytest.approx(1, abs=0.02)
        with pytest.raises(KeyError, match="nobody"):
            r.explain("dogs", "nobody")


def test_what_no_id_can_be_is_an_unknown_one(tmp_path: Path) -> None:
    with make(tmp_path / "x") as r:
        before = contents(r)
        assert "\ud800" not in r
        for call in (r.get, r.remove, lambda id: r.remove(["cats", id])):
            with pytest.raises(KeyError, match="ud800"):
                call("\ud800")
        assert r.search("cat", filter=["\ud800"]) == []
        assert [hit.id for hit in r.search("cat", filter=["\ud800", "cats"])] == ["cats"]
        assert contents(r) == before


def test_explain_needs_tokens(tmp_path: Path) -> None:
    with make(tmp_path / "x") as r, pytest.raises(ValueError, match="'multi'"):
        r.explain("cats", "cats")


@pytest.mark.parametrize(
    ("docs", "error", "message"),
    [
        ("one text", TypeError, "iterable of documents, got one str"),
        ({"_id": 1, "text": "x"}, TypeError, "got one dict"),
        ([3], TypeError, "document 0: expected str or a mapping, got int"),
        (["a", {"_id": "b"}], ValueError, r"document 'b' \(the 2nd\) has no text; its fields: \['_id'\]"),
        (
            [{"title": "", "body": "b"}],
            ValueError,
            r"\(the 1st\) has no text; its fields: \['body', 'title'\]",
        ),
        (["a", "  "], ValueError, r"document \d+ \(the 2nd\): its text is empty"),
        ([*"abcdefghijk", {"_id": "x", "title": " ", "text": ""}], ValueError, r"'x' \(the 12th\): its text"),
        ([{"_id": "x", "text": 3}], TypeError, "document 'x': expected text to be str, got int"),
        ([{"_id": "x", "title": 3, "text": "y"}], TypeError, "expected title to be str, got int"),
        ([{"_id": 1.5, "text": "x"}], TypeError, "document 0: id: expected int or str, got float"),
        ([{"_id": True, "text": "x"}], TypeError, "got bool"),
        ([{"_id": ["long " * 99], "text": "x"}], TypeError, r"got list \['(long ){11}lon$"),
        ([{"_id": 2**63, "text": "x"}], ValueError, "64 bits"),
        (
            [{"_id": "x", "text": "y", "when": object()}],
            TypeError,
            "document 'x': metadata 'when' is not JSON",
        ),
        ([{"_id": "x", "text": "y", 3: 4}], TypeError, "names of metadata to be str, got 3"),
        (
            [{"_id": "x", "text": "a"}, {"_id": "x", "text": "b"}],
            ValueError,
            "document 1: id 'x' was given before",
        ),
        (["ok", "\ud800"], ValueError, r"document \d+ \(the 2nd\) is not valid Unicode: .*position 0"),
        ([{"_id": "\ud800", "text": "x"}], ValueError, r"document '\\ud800' .*not valid Unicode"),
    ],
)
def test_refused_documents_change_nothing(
    tmp_path: Path, docs: Any, error: type[Exception], message: str
) -> None:
    with make(tmp_path / "x") as r:
        before = contents(r)
        files = sorted(p.name for p in (tmp_path / "x").iterdir())
        with pytest.raises(error, match=message):
            r.add(docs, batch_size=1)
        assert contents(r) == before
        assert sorted(p.name for p in (tmp_path / "x").iterdir()) == files
        r.add(["works again"])
    with Retriever.open(tmp_path / "x", BagOfWords()) as r:
        assert len(r) == 4


@pytest.mark.parametrize("failure", ["encoder", "generator", "dim"])
def test_failing_add_changes_nothing(tmp_path: Path, failure: str) -> None:
    class Failing(BagOfWords):
        def encode_document(self, texts: Any) -> Any:
            rows = super().encode_query(texts)
            if any("bad" in t for t in texts):
                if failure == "dim":
                    return rows[:, :5]
                raise MemoryError("no more")
            return rows

    def docs() -> Any:
        yield {"_id": "cats", "text": "replaced"}
        yield "good"
        if failure == "generator":
            raise KeyboardInterrupt
        yield "bad"

    with Retriever.create(tmp_path / "x", encoder=Failing()) as r:
        r.add(DOCS)
        before = contents(r)
        with pytest.raises((MemoryError, KeyboardInterrupt, ValueError)):
            r.add(docs(), batch_size=1)
        assert contents(r) == before
    with Retriever.open(tmp_path / "x", BagOfWords()) as r:
        assert contents(r) == before


def test_search_arguments(tmp_path: Path) -> None:
    with make(tmp_path / "x") as r:
        with pytest.raises(TypeError, match="query 1: expected str, got int"):
            r.search(["a", 3])  # type: ignore[list-item]
        with pytest.raises(ValueError, match="query 0: expected text, got ' '"):
            r.search(" ")
        with pytest.raises(ValueError, match=r"k: expected at least 1.*got 0"):
            r.search("a", 0)
        with pytest.raises(ValueError, match=r"depth: expected at least 1.*got 0"):
            r.search("a", rerank=LongestFirst(), depth=0)


def test_another_model_is_refused(tmp_path: Path, kind: str) -> None:
    make(tmp_path / "x", kind).close()
    with pytest.raises(ValueError, match=r"was made with fake 'bag' \(dim 32\), got fake 'other'"):
        Retriever.open(tmp_path / "x", encoder(kind, "other"))


def test_content_alone_tells_models_apart(tmp_path: Path) -> None:
    class Named(BagOfWords):
        content = "abc"

        def fingerprint(self) -> dict[str, Any]:
            return {**super().fingerprint(), "content": self.content}

    Retriever.create(tmp_path / "x", encoder=Named("here")).close()
    Retriever.open(tmp_path / "x", Named("there")).close()
    changed = Named("here")
    changed.content = "xyz"
    with pytest.raises(ValueError, match=r"abc.*got.*xyz"):
        Retriever.open(tmp_path / "x", changed)


def test_unknown_recorded_model_has_to_be_given(tmp_path: Path) -> None:
    make(tmp_path / "x").close()
    with Retriever.open(tmp_path / "x") as r:
        assert len(r) == 3
        with pytest.raises(ValueError, match=r"cannot load fake 'bag' .* pass it as encoder="):
            r.search("cats")


def test_create_refuses_what_is_there(tmp_path: Path) -> None:
    make(tmp_path / "x").close()
    with pytest.raises(FileExistsError, match="holds an index already"):
        Retriever.create(tmp_path / "x", encoder=BagOfWords())
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "thesis.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="is not empty and holds no index"):
            Retriever.create(tmp_path / "y", encoder=BagOfWords(), overwrite=overwrite)
    assert [p.name for p in (tmp_path / "y").iterdir()] == ["thesis.txt"]
    for name in ("documents.sqlite", "index-of-papers.md", "manifest.json.bak"):  # names that look like ours
        folder = tmp_path / f"folder of {name}"
        folder.mkdir()
        (folder / name).write_text("precious")
        with pytest.raises(FileExistsError, match=f"is not empty and holds no index to replace: {name}"):
            Retriever.create(folder, encoder=BagOfWords(), overwrite=True)
        assert [p.name for p in folder.iterdir()] == [name]
    with pytest.raises(ValueError, match="kind: expected 'single' or 'multi', got 'bi'"):
        Retriever.create(tmp_path / "z", encoder=BagOfWords(), kind="bi")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="int9"):
        Retriever.create(tmp_path / "z", encoder=BagOfWords(), codec="int9")
    assert not (tmp_path / "z").exists()


def test_the_encoder_tells_the_kind(tmp_path: Path) -> None:
    class Told(WordVectors):
        def fingerprint(self) -> dict[str, Any]:
            return {**super().fingerprint(), "kind": self.name}

    for name, kind in (("BiEncoder", "single"), ("ColBERT", "multi"), ("ColBERT.from_biencoder", "multi")):
        with Retriever.create(tmp_path / name, encoder=Told(name)) as r:
            assert r.manifest.kind == kind
    with Retriever.create(tmp_path / "own", encoder=WordVectors()) as r:
        assert r.manifest.kind == "single"
    with pytest.raises(ValueError, match="kind: expected 'multi' for Told, got 'single'"):
        Retriever.create(tmp_path / "z", encoder=Told("ColBERT"), kind="single")
    assert not (tmp_path / "z").exists()


def test_overwrite_keeps_the_old_index_until_the_first_commit(tmp_path: Path) -> None:
    make(tmp_path / "x").close()
    with Retriever.create(tmp_path / "x", encoder=WordVectors("new"), kind="multi", overwrite=True) as new:
        assert len(new) == 0
        assert new.search("cats") == []
        with Retriever.open(tmp_path / "x", BagOfWords()) as old:
            assert len(contents(old)) == 3
            with pytest.raises(ValueError, match="its text is empty"):
                new.add(["fresh", ""])
            assert len(contents(old)) == 3
            assert new.add(["fresh text"]) == [0]
            assert contents(new) == {0: "fresh text"}
            with pytest.raises(
                ValueError, match=r"was opened with fake 'bag'.*replaced by an index of fake 'new'"
            ):
                old.search("cats")
            with pytest.raises(ValueError, match="replaced by"):
                old.add(["more"])
    with Retriever.open(tmp_path / "x", WordVectors("new")) as r:
        assert contents(r) == {0: "fresh text"}


def test_an_index_without_documents_may_be_replaced(tmp_path: Path) -> None:
    Retriever.create(tmp_path / "x", encoder=BagOfWords()).close()
    with Retriever.create(tmp_path / "x", encoder=WordVectors(), kind="multi") as r:
        r.add(DOCS)
        assert len(r) == 3


def test_open_refuses_what_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such index directory"):
        Retriever.open(tmp_path / "nothing")
    with pytest.raises(ValueError, match="not a tercet index"):
        Retriever.open(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=r"not an index directory but a file \(tercet.open"):
        Retriever.open(tmp_path / "file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m[: len(m) // 2], "damaged"),
        (lambda m: b"", "damaged"),
        (lambda m: b"\xff\xfe\x00", "damaged"),
        (lambda m: b"[]", "not a tercet index"),
        (lambda m: b'{"name": "a web app"}', "not a tercet index"),
        (lambda m: m.replace(b'"version": 1', b'"version": 2'), "version 1, got 2; a newer tercet wrote it"),
        (lambda m: m.replace(b'"version": 1', b'"version": "1"'), "got '1'"),
        (lambda m: m.replace(b'"codec"', b'"codex"'), "damaged, 'codec' is missing"),
        (lambda m: m.replace(b'"single"', b'"triple"'), "damaged, it holds"),
        (lambda m: m.replace(b'"index-', b'"../index-'), "damaged, it holds"),
        (lambda m: m.replace(b"000002", b"000009"), "index-000009.tercet is missing"),
        (lambda m: m.replace(b'"single"', b'"multi"'), "damaged, index-000002.tercet holds a FlatIndex"),
    ],
)
def test_open_refuses_a_bad_manifest(tmp_path: Path, change: Any, message: str) -> None:
    make(tmp_path / "x").close()
    manifest = tmp_path / "x" / "manifest.json"
    whole = manifest.read_bytes()
    assert change(whole) != whole
    manifest.write_bytes(change(whole))
    with pytest.raises(ValueError, match=message):
        Retriever.open(tmp_path / "x")


def test_open_refuses_damaged_files(tmp_path: Path) -> None:
    make(tmp_path / "x").close()
    store, index = tmp_path / "x" / "documents.sqlite", tmp_path / "x" / "index-000002.tercet"
    whole = store.read_bytes()
    store.write_bytes(b"garbage " * 100)
    with pytest.raises(ValueError, match=r"documents\.sqlite"):
        Retriever.open(tmp_path / "x")
    store.unlink()
    with pytest.raises(ValueError, match=r"documents\.sqlite"):
        Retriever.open(tmp_path / "x")
    store.write_bytes(whole)
    index.write_bytes(index.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"index-000002\.tercet"):
        Retriever.open(tmp_path / "x")


def test_lost_documents_are_an_error_not_a_hole(tmp_path: Path) -> None:
    import sqlite3

    make(tmp_path / "x").close()
    with sqlite3.connect(tmp_path / "x" / "documents.sqlite") as db:
        db.execute("DELETE FROM documents WHERE id = 'cats'")
    db.close()
    with (
        Retriever.open(tmp_path / "x", BagOfWords()) as r,
        pytest.raises(ValueError, match="documents of the index are missing"),
    ):
        r.search("cats")


def test_second_writer_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    make(tmp_path / "x").close()
    with (
        Retriever.open(tmp_path / "x", BagOfWords()) as reader,
        Retriever.open(tmp_path / "x", BagOfWords()) as writer,
    ):
        with writing(tmp_path / "x"):
            with pytest.raises(BlockingIOError, match="another writer"):
                writer.add(["more"])
            with pytest.raises(BlockingIOError, match="another writer"):
                writer.remove("cats")
            assert len(contents(reader)) == 3
            Retriever.open(tmp_path / "x").close()
        writer.add(["more"])


def test_writers_in_turn_see_each_other(tmp_path: Path, kind: str) -> None:
    make(tmp_path / "x", kind).close()
    with (
        Retriever.open(tmp_path / "x", encoder(kind)) as a,
        Retriever.open(tmp_path / "x", encoder(kind)) as b,
    ):
        assert a.add(["one"]) == [9]
        assert b.add(["two"]) == [10]
        assert set(contents(b)) == {"cats", 7, 8, 9, 10}


def test_reader_keeps_its_commit_until_a_document_of_it_goes(tmp_path: Path, kind: str) -> None:
    make(tmp_path / "x", kind).close()
    with (
        Retriever.open(tmp_path / "x", encoder(kind)) as reader,
        Retriever.open(tmp_path / "x", encoder(kind)) as writer,
    ):
        writer.add(["new"])
        assert set(contents(reader)) == {"cats", 7, 8}
        writer.add([{"_id": "cats", "text": "replaced"}])
        assert contents(reader) == contents(writer)
        writer.remove(7)
        if kind == "multi":
            assert reader.explain("x", 8)
            with pytest.raises(KeyError):
                reader.explain("x", 7)
        assert contents(reader) == contents(writer)


def test_threads_search_while_one_writes(tmp_path: Path, kind: str) -> None:
    with make(tmp_path / "x", kind) as r, ThreadPoolExecutor(4) as pool:

        def search(_: int) -> None:
            for _ in range(50):
                found = {hit.id: hit.text for hit in r.search("anything", 100)}
                assert found[8] == "birds sing in the morning"
                assert len({text for i, text in found.items() if i != 8}) == 1  # never half a commit

        r.add([{"_id": i, "text": "version 0"} for i in ("cats", 7)])
        searches = pool.map(search, range(4))
        for version in range(1, 20):
            r.add([{"_id": i, "text": f"version {version}"} for i in ("cats", 7)], batch_size=1)
        list(searches)


CHILD = """
import os, sys
from pathlib import Path
import tercet.collection, tercet.directory
from fakes import BagOfWords
from tercet import Retriever
from tercet.documents import DocumentStore

path, steps = Path(sys.argv[1]), int(sys.argv[2])

def dying(owner, name):
    real = getattr(owner, name)
    def call(*args, **kwargs):
        for _ in range(2):  # before and after
            global steps
            if steps == 0:
                os._exit(9)
            steps -= 1
            if _ == 0:
                result = real(*args, **kwargs)
        return result
    setattr(owner, name, call)

for owner, name in [
    (os, "replace"), (os, "fsync"), (tercet.FlatIndex, "save"), (tercet.FlatIndex, "add"),
    (DocumentStore, "insert"), (DocumentStore, "delete"), (tercet.collection, "remove_stale"),
]:
    dying(owner, name)
ACTION
"""

ACTIONS = {
    "add": """
retriever = Retriever.open(path, BagOfWords())
retriever.add([{"_id": "cats", "text": "replaced"}, "new"], batch_size=1)
""",
    "remove": """
Retriever.open(path, BagOfWords()).remove(["cats", 7])
""",
    "overwrite": """
retriever = Retriever.create(path, encoder=BagOfWords("other"), overwrite=True)
retriever.add(["new"])
""",
}
OUTCOMES = {
    "add": {"cats": "replaced", 7: "dogs bark at night", 8: "birds sing in the morning", 9: "new"},
    "remove": {8: "birds sing in the morning"},
    "overwrite": {0: "new"},
}


@pytest.mark.slow
@pytest.mark.parametrize("action", list(ACTIONS))
def test_killed_at_any_moment(tmp_path: Path, action: str) -> None:
    """A writer dies before and after every step: the directory holds the old state or the new one."""
    before = {"cats": "cats sleep all day", 7: "dogs bark at night", 8: "birds sing in the morning"}
    seen = set()
    for steps in range(100):
        path = tmp_path / str(steps)
        make(path).close()
        code = CHILD.replace("ACTION", ACTIONS[action])
        child = subprocess.run(
            [sys.executable, "-c", code, str(path), str(steps)],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert child.returncode in (0, 9), child.stderr
        name = json.loads((path / "manifest.json").read_text())["encoder"]["name"]
        with Retriever.open(path, BagOfWords(name)) as r:
            found = contents(r)
            seen.add(found == OUTCOMES[action])
            assert found in (before, OUTCOMES[action])
            assert child.returncode == 9 or found == OUTCOMES[action]
            number = max(i for i in found if isinstance(i, int)) + 1
            assert r.add([{"_id": "cats", "text": "again"}, "last"]) == ["cats", number]
            assert contents(r) == {**found, "cats": "again", number: "last"}
            left = sorted(p.name for p in path.iterdir())
        assert left == ["documents.sqlite", r.manifest.index, "manifest.json", "writer.lock"]
        if child.returncode == 0:
            break
    assert seen == {True, False}
    assert steps > 10


@pytest.mark.slow
def test_killed_create_can_be_repeated(tmp_path: Path) -> None:
    code = CHILD.replace("ACTION", "Retriever.create(path, encoder=BagOfWords())")
    for steps in range(100):
        path = tmp_path / str(steps)
        child = subprocess.run(
            [sys.executable, "-c", code, str(path), str(steps)], cwd=Path(__file__).parent, check=False
        )
        with Retriever.create(path, encoder=BagOfWords()) as r:
            r.add(DOCS)
            assert len(contents(r)) == 3
        if child.returncode == 0:
            break
    assert steps > 3


def test_the_package_names_the_retriever() -> None:
    assert tercet.Retriever is Retriever


def test_misuse_is_named(tmp_path: Path) -> None:
    class Own(BagOfWords):
        def fingerprint(self) -> dict[str, Any]:
            return {"kind": "ColBERT"}

    create: Any = Retriever.create
    with pytest.raises(ValueError, match="kind: expected 'multi' for Own, got 'single'"):
        create(tmp_path / "x", encoder=Own("fake"), kind="single")
    with pytest.raises(TypeError, match=r"encoder: expected an object.*got 'str' without dim, encode_query"):
        create(tmp_path / "x", encoder="all-MiniLM-L6-v2")
    with pytest.raises(TypeError, match=r"encoder: expected an object.*got the class BagOfWords"):
        create(tmp_path / "x", encoder=BagOfWords)
    assert not (tmp_path / "x").exists()
    made = create(tmp_path / "x", encoder=BagOfWords("fake"))
    made.add(["a cat"])
    with pytest.raises(TypeError, match=r"rerank: expected an object.*got 'a name'"):
        made.search("cat", rerank="a name")
    with pytest.raises(TypeError, match="query: expected str or a list of them, got NoneType"):
        made.search(None)
    made.close()
    with pytest.raises(ValueError, match="closed"):
        made.search("cat")
    made.close()
    with pytest.raises(FileExistsError, match=r"Retriever.open opens it, overwrite=True replaces it"):
        create(tmp_path / "x", encoder=BagOfWords("fake"))


def test_files_beside_an_index_are_left_alone(tmp_path: Path) -> None:
    with make(tmp_path / "x") as notes:
        for name in ("index-notes.txt", "manifest.json.bak", "index-1.tercet.old"):
            (tmp_path / "x" / name).write_text("precious")
        notes.add(["one more"])
        for name in ("index-notes.txt", "manifest.json.bak", "index-1.tercet.old"):
            assert (tmp_path / "x" / name).read_text() == "precious"


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        make(tmp_path / folder / "notes").close()
    monkeypatch.chdir(tmp_path / "a")
    with Retriever.open("notes", BagOfWords()) as notes:
        monkeypatch.chdir(tmp_path / "b")
        notes.add(["one more"])
    a, b = (Retriever.open(tmp_path / folder / "notes", BagOfWords()) for folder in "ab")
    with a, b:
        assert len(a) == len(b) + 1
        assert len(contents(b)) == len(b)


def test_numpy_integers_are_ids(tmp_path: Path) -> None:
    with Retriever.create(tmp_path / "x", encoder=BagOfWords("fake")) as notes:
        assert notes.add([{"id": np.int64(7), "text": "a cat"}, {"id": np.uint8(8), "text": "a dog"}]) == [
            7,
            8,
        ]
        notes.remove(np.int64(7))
        assert [hit.id for hit in notes.search("cat")] == [8]
        with pytest.raises(TypeError, match="id: expected int or str, got bool"):
            notes.add([{"id": np.bool_(True), "text": "a bird"}])


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_a_codec_is_trained_on_more_than_a_batch(tmp_path: Path, batch_size: int) -> None:
    docs = [{"id": i, "text": f"word{i % 37} word{i % 11} word{i}"} for i in range(400)]
    with Retriever.create(tmp_path / "x", encoder=WordVectors(), kind="multi", codec="residual2") as r:
        assert r.add(docs, batch_size=batch_size) == list(range(400))
        index = r._collection.index
        assert index.stats()["centroids"] == 256  # of 1,200 tokens, whatever came at once
        assert len(index) == 400
        r.add([{"id": 400, "text": "word0"}])
        assert r._collection.index.stats()["centroids"] == 256
