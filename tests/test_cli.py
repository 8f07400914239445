"""The command line: what goes to stdout and stderr, and the exit status."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tercet
from fakes import BagOfWords, LongestFirst, WordVectors
from tercet import Retriever, cli, encoders, retriever
from tercet.collection import remove_unused
from tercet.commands import about, loading
from tercet.directory import writing

VERBS = ("demo", "info", "index", "remove", "search", "explain", "compare", "completion")
DOCS = [
    {"_id": "ä1", "title": "Cats", "text": "cats sleep all day", "year": 2020},
    {"id": 2, "contents": "dogs bark at night"},
]


@pytest.fixture(autouse=True)
def fake_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(model: str | None, kind: str, backend: str | None = None) -> Any:
        print("noise of a model library")
        return BagOfWords("fake") if kind == "single" else WordVectors("words")

    def load_recorded(record: dict[str, Any]) -> Any:
        return load(None, "single" if record["name"] == "fake" else "multi")

    monkeypatch.setattr(loading, "load_encoder", load)
    monkeypatch.setattr(retriever, "load_recorded", load_recorded)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    path = tmp_path / "docs.jsonl"
    path.write_text("\n".join(json.dumps(d, ensure_ascii=False) for d in DOCS) + "\n\n", encoding="utf-8")
    return path


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    status = cli.main([str(a) for a in args])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_index_and_search(tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "index", docs, "-o", tmp_path / "x")
    assert status == 0
    assert "2 documents" in out
    assert "noise" not in out
    assert "noise" in err
    status, out, _ = run(capsys, "search", tmp_path / "x", "cats", "-k", 1)
    assert status == 0
    assert "ä1  Cats" in out
    assert "cats sleep all day" in out
    assert "noise" not in out
    assert len(out.splitlines()) == 2


def test_json(tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "index", docs, "-o", tmp_path / "x")
    status, out, _ = run(capsys, "search", tmp_path / "x", "dogs", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [r["rank"] for r in records] == [1, 2]
    assert [r["id"] for r in records] == [2, "ä1"]
    assert records[1] | {"score": 0} == {
        "rank": 2, "id": "ä1", "score": 0, "title": "Cats", "text": "cats sleep all day",
        "metadata": {"year": 2020},
    }  # fmt: skip


def test_explain(tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "index", docs, "-o", tmp_path / "x", "--kind", "multi", "--codec", "float32")
    status, out, _ = run(capsys, "search", tmp_path / "x", "dogs bark", "-k", 1, "--explain")
    assert status == 0
    assert "query token" in out
    assert "[CLS] (special)" in out
    assert "tokens that stand for no text carry" in out
    assert "100.0%" not in out
    status, out, _ = run(capsys, "search", tmp_path / "x", "dogs bark", "-k", 1, "--explain", "--json")
    (record,) = [json.loads(line) for line in out.splitlines()]
    assert [m["query"] for m in record["explain"]] == ["[CLS]", "dogs", "bark"]
    assert [m["query_role"] for m in record["explain"]] == ["special", "", ""]
    assert sum(m["similarity"] for m in record["explain"]) == pytest.approx(record["score"], abs=1e-6)


def test_explain_as_json(tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "index", docs, "-o", tmp_path / "x", "--kind", "multi", "--codec", "float32")
    status, out, _ = run(capsys, "explain", tmp_path / "x", "dogs bark", 2, "--json")
    assert status == 0
    _, found, _ = run(capsys, "search", tmp_path / "x", "dogs bark", "-k", 1, "--explain", "--json")
    record, hit = json.loads(out), json.loads(found)
    assert record.pop("score") == pytest.approx(hit.pop("score"), abs=1e-6)
    assert record | {"rank": 1} == hit


def test_help_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        status, out, err = run(capsys, verb, "--help")
        assert (status, err) == (0, "")
        assert out.startswith(f"usage: tercet {verb}")
        assert "\n\npositional arguments:" in out or "\n\noptions:" in out
        assert out.split("\n\n")[1].endswith(".")


def test_help_names_the_models_that_come_along(capsys: pytest.CaptureFixture[str]) -> None:
    packaged = pytest.importorskip("tercet.models.packaged")
    for name, verbs in (
        (packaged.RERANKER, ("search", "mcp", "compare", "demo")),
        (packaged.COLBERT, ("index", "compare")),
    ):
        for verb in verbs:
            assert name in "".join(run(capsys, verb, "--help")[1].split())  # argparse breaks at hyphens too


def test_an_empty_name_is_said(tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tercet.models")
    run(capsys, "index", docs, "-o", tmp_path / "x")
    status, out, err = run(capsys, "search", tmp_path / "x", "dogs", "--rerank", "")
    assert (status, out) == (1, "")
    assert err == "tercet: expected the name of a model, or a directory, got an empty one\n"


def test_explain_needs_token_vectors(tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "index", docs, "-o", tmp_path / "x")
    status, out, err = run(capsys, "search", tmp_path / "x", "dogs", "--explain")
    assert (status, out) == (1, "")
    assert "kind 'multi'" in err


def test_rerank(
    tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = pytest.importorskip("tercet.models")
    monkeypatch.setattr(models, "CrossEncoder", lambda name: LongestFirst())
    run(capsys, "index", docs, "-o", tmp_path / "x")
    status, out, _ = run(capsys, "search", tmp_path / "x", "dogs", "--rerank", "any", "--depth", 2, "--json")
    assert status == 0
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["ä1", 2]


def test_gzip_and_stdin(
    tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "docs.jsonl.gz"
    packed.write_bytes(gzip.compress(docs.read_bytes()))
    assert run(capsys, "index", packed, "-o", tmp_path / "a")[0] == 0
    with open(docs) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert run(capsys, "index", "-", "-o", tmp_path / "b")[0] == 0
    for name in "ab":
        _, out, _ = run(capsys, "info", tmp_path / name, "--json")
        assert json.loads(out)["documents"] == 2


def test_force(tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "index", docs, "-o", tmp_path / "x")
    status, out, err = run(capsys, "index", docs, "-o", tmp_path / "x")
    assert (status, out) == (1, "")
    assert "--force" in err
    docs.write_text('{"text": "one"}\n')
    assert run(capsys, "index", docs, "-o", tmp_path / "x", "--force")[0] == 0
    _, out, _ = run(capsys, "search", tmp_path / "x", "one", "--json")
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["one"]


def found(capsys: pytest.CaptureFixture[str], path: Path) -> dict[Any, str]:
    _, out, _ = run(capsys, "search", path, "cats", "--json")
    return {r["id"]: r["text"] for r in map(json.loads, out.splitlines())}


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_append(tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    path = tmp_path / "x"
    run(capsys, "index", docs, "-o", path, "--kind", kind)
    docs.write_text('{"id": 2, "text": "replaced"}\n{"text": "new"}\n')
    status, out, err = run(capsys, "index", docs, "-o", path, "--append")
    assert status == 0
    assert "2 documents in" in out
    assert "3 in all" in out
    assert "noise" in err  # the recorded model was loaded
    assert found(capsys, path) == {"ä1": "cats sleep all day", 2: "replaced", 3: "new"}
    docs.write_text("")
    status, _, err = run(capsys, "index", docs, "-o", path, "--append")
    assert status == 1
    assert "no documents" in err
    assert len(found(capsys, path)) == 3


def test_append_is_to_something(tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "index", docs, "-o", tmp_path / "x", "--append")
    assert (status, out) == (1, "")
    assert str(tmp_path / "x") in err
    assert not (tmp_path / "x").exists()
    for option in (["--kind", "multi"], ["--codec", "int8"], ["--model", "any"], ["--force"]):
        status, out, err = run(capsys, "index", docs, "-o", tmp_path / "x", "--append", *option)
        assert (status, out) == (2, "")
        assert "--append" in err


def test_remove(tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x"
    docs.write_text("".join(f'{{"id": {i}, "text": "a"}}\n' for i in ('"ä1"', 2, '"3"', 4, '"4"', -5, "5")))
    run(capsys, "index", docs, "-o", path)
    for ids, missing in ((["2", "nobody"], "nobody"), (["2", "77"], "77")):
        status, out, err = run(capsys, "remove", path, *ids)
        assert (status, out) == (1, "")
        assert missing in err
    status, out, err = run(capsys, "remove", path, "4")
    assert (status, out) == (1, "")
    assert "4 is the id of two documents" in err
    assert len(found(capsys, path)) == 7  # nothing was removed so far
    status, out, err = run(capsys, "remove", path, "ä1", "2", "3", "2")
    assert status == 0
    assert out == f"{path}: 3 documents removed, 4 left\n"
    assert "noise" not in err  # no model is needed
    assert run(capsys, "remove", path, "--", "-5")[1] == f"{path}: 1 document removed, 3 left\n"
    assert set(found(capsys, path)) == {4, "4", 5}
    assert run(capsys, "remove", path)[0] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"text": \n', "docs.jsonl, line 2: not JSON: Expecting value (column 9)"),
        ('{"text": "a"}\n{"name": "b"}\n', "document 1 (the 2nd) has no text; its fields: ['name']"),
        ("[1]\n", "document 0: expected str or a mapping, got list"),
        ("\n", "docs.jsonl: no documents"),
        ('{"text": ""}\n', "docs.jsonl: no documents with text"),
    ],
)
def test_bad_documents(
    tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    docs.write_text(content)
    status, out, err = run(capsys, "index", docs, "-o", tmp_path / "x", "--quiet")
    assert (status, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith("tercet: ")
    assert message in last
    assert "Traceback" not in err
    assert not (tmp_path / "x").exists()
    docs.write_text('{"text": "a"}\n')
    assert run(capsys, "index", docs, "-o", tmp_path / "x")[0] == 0


def stopping_at(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C be pressed when a text is encoded."""

    class Stopped(BagOfWords):
        def encode_document(self, texts: Any) -> Any:
            if text in texts:
                raise KeyboardInterrupt
            return super().encode_query(texts)

    monkeypatch.setattr(loading, "load_encoder", lambda model, kind, backend: Stopped("fake"))
    monkeypatch.setattr(retriever, "load_recorded", lambda record: Stopped("fake"))


def test_an_interrupt_says_what_was_kept(
    tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping_at("stop here", monkeypatch)
    more = tmp_path / "more.jsonl"
    more.write_text('{"text": "new"}\n' * 100 + '{"text": "stop here"}\n')
    new = ("index", more, "-o", tmp_path / "x", "--quiet")
    assert run(capsys, *new) == (130, "", "tercet: interrupted: nothing was stored\n")
    assert not (tmp_path / "x").exists()
    (tmp_path / "x").mkdir()
    assert run(capsys, *new)[0] == 130
    assert list((tmp_path / "x").iterdir()) == []  # which is not ours to remove
    run(capsys, "index", docs, "-o", tmp_path / "x")
    for option in ("--append", "--force"):
        status, out, err = run(capsys, *new, option)
        assert (status, out, err) == (130, "", f"tercet: interrupted: {tmp_path / 'x'} is as it was\n")
        assert set(found(capsys, tmp_path / "x")) == {"ä1", 2}


def test_a_failure_removes_nothing_but_its_own(
    tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "documents.sqlite").write_text("precious")
    assert run(capsys, "index", docs, "-o", tmp_path / "y")[0] == 1
    assert (tmp_path / "y" / "documents.sqlite").read_text() == "precious"
    Retriever.create(tmp_path / "x", encoder=BagOfWords("fake")).close()
    stopping_at("dogs bark at night", monkeypatch)
    assert run(capsys, "index", docs, "-o", tmp_path / "x")[0] == 130
    assert (tmp_path / "x" / "manifest.json").exists()
    with writing(tmp_path / "x"):
        remove_unused(tmp_path / "x", directory=True)
        assert (tmp_path / "x" / "manifest.json").exists()


def test_search_says_that_there_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Retriever.create(tmp_path / "x", encoder=BagOfWords("fake")).close()
    assert run(capsys, "search", tmp_path / "x", "q") == (0, "", f"no documents in {tmp_path / 'x'}\n")


def test_documents_without_text_are_left_out(
    tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = [{"_id": "471", "title": "", "text": ""}, {"id": 7, "contents": " "}, {"text": None}]
    rows = [*empty, {"_id": "only title", "title": "T", "text": ""}]
    with open(docs, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    status, out, err = run(capsys, "index", docs, "-o", tmp_path / "x", "--quiet")
    assert status == 0
    assert "3 documents in" in out
    assert "left out, without text: 3 documents (471, 7, line 6)" in err.splitlines()
    assert set(found(capsys, tmp_path / "x")) == {"ä1", 2, "only title"}
    docs.write_text("".join(json.dumps({"_id": i, "text": "a" * (i == 0)}) + "\n" for i in range(8)))
    _, _, err = run(capsys, "index", docs, "-o", tmp_path / "x", "--append")
    assert "left out, without text: 7 documents (1, 2, 3, 4, 5, ...)" in err


def test_failures_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for args in (
        ("search", tmp_path / "nothing", "cats"),
        ("search", tmp_path, "cats"),
        ("info", tmp_path),
        ("index", tmp_path / "nothing.jsonl", "-o", tmp_path / "x"),
    ):
        status, out, err = run(capsys, *args)
        assert (status, out) == (1, "")
        assert len(err.splitlines()) == 1
        assert err.startswith("tercet: ")
        assert str(tmp_path) in err
        assert "Errno" not in err
    assert list(tmp_path.iterdir()) == []


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for args in ((), ("nonsense",), ("search", "x"), ("index", "x"), ("search", "x", "y", "-k", "many")):
        assert run(capsys, *args)[0] == 2
    for args in (
        ("search", "x", "y", "-k", 0),
        ("search", "x", "y", "--depth", -1),
        ("index", "x", "-o", "y", "--codec", "int5"),
        ("index", "x", "-o", "y", "--codec", "pq16"),
        ("compare", "x", "--limit-queries", 0),
        ("compare", "x", "--codec", "residual2"),
    ):
        status, out, err = run(capsys, *args)
        assert (status, out) == (2, "")
        assert str(args[-1]) in err
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert "Exit status" in out
    for verb in VERBS:
        assert verb in out


def test_info(tmp_path: Path, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "info")
    assert status == 0
    assert "numpy" in out
    assert "isa" in out
    facts = json.loads(run(capsys, "info", "--json")[1])
    assert {"tercet", "python", "torch", "isa"} <= set(facts)
    run(capsys, "index", docs, "-o", tmp_path / "x")
    status, out, _ = run(capsys, "info", tmp_path / "x")
    assert status == 0
    assert "documents" in out
    assert "fake" in out


def test_what_tells_models_apart_is_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Hashed(BagOfWords):
        def fingerprint(self) -> dict[str, Any]:
            return {**super().fingerprint(), "content": "daf0159a", "probe": [0.5, 3.25]}

    Retriever.create(tmp_path / "x", encoder=Hashed("fake")).close()
    out = run(capsys, "info", tmp_path / "x")[1]
    assert "fake" in out
    assert "daf0159a" not in out
    assert "3.25" not in out
    encoder = json.loads(run(capsys, "info", tmp_path / "x", "--json")[1])["encoder"]
    assert (encoder["content"], encoder["probe"]) == ("daf0159a", [0.5, 3.25])


@pytest.mark.parametrize("kind", [tercet.FlatIndex, tercet.HNSWIndex, tercet.MultiVectorIndex])
def test_info_of_a_file(kind: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = kind(8)
    index.add(
        np.ones((5, 8), np.float32) if kind is not tercet.MultiVectorIndex else np.ones((5, 2, 8), np.float32)
    )
    index.save(tmp_path / "x")
    status, out, err = run(capsys, "info", tmp_path / "x")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["kind", kind.__name__] in lines
    facts = json.loads(run(capsys, "info", tmp_path / "x", "--json")[1])
    expected = {"format": 3, "documents": 5, "dim": 8, "codec": index.codec, "nbytes": index.nbytes}
    assert facts.items() >= expected.items()
    assert facts.get("metric") == getattr(index, "metric", None)
    assert facts["disk_bytes"] == (tmp_path / "x").stat().st_size
    assert facts["sections"]["ids"] == 40
    assert ["codes", str(facts["sections"]["codes"])] in lines
    (tmp_path / "x").write_bytes(b"something else")
    status, out, err = run(capsys, "info", tmp_path / "x")
    assert (status, out) == (1, "")
    assert "not a tercet index file" in err


def test_info_of_segments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = [(i, np.ones((3, 8), np.float32)) for i in range(4)]
    tercet.SegmentedIndex.build(tmp_path / "x", stream, dim=8)
    status, out, err = run(capsys, "info", tmp_path / "x")
    assert (status, err) == (0, "")
    assert ["kind", "SegmentedIndex"] in [line.split() for line in out.splitlines()]
    facts = json.loads(run(capsys, "info", tmp_path / "x", "--json")[1])
    assert facts.items() >= {"documents": 4, "tokens": 12, "dim": 8, "codec": "int4"}.items()


def test_a_reader_may_leave() -> None:
    code = "import sys; from tercet import cli; sys.exit(cli.main(['info']))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(args: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(about, "_info", interrupted)
    assert run(capsys, "info") == (130, "", "tercet: interrupted\n")


def test_recorded_models_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="cannot load other 'x' by itself"):
        encoders.load_recorded({"kind": "other", "name": "x"})
