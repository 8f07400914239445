"""tercet compare: what it reads, what it measures, what it prints."""

from __future__ import annotations

import gzip
import json
import math
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import BagOfWords, WordVectors
from html_check import Page
from tercet import Retriever, cli
from tercet.chain import Stopping
from tercet.commands import loading
from tercet.compare.arms import Arm, Indexes, Query, parse_arm
from tercet.compare.beir import read_folder
from tercet.compare.measures import Interval, bootstrap, ndcg, recall
from tercet.compare.plot import plot
from tercet.compare.run import Models, make_arms, measure_all
from tercet.compare.summary import Row, as_json, summary
from tercet.picture import Line, Text, text_width

WORDS = [f"w{i}" for i in range(60)]


class CountsWords:
    """A cross-encoder: how many words of the query a text has, with a little of the position of its first."""

    name = "counts"

    def __init__(self) -> None:
        self.read = 0

    def score(self, query: str, texts: Any) -> Any:
        self.read += len(texts)
        return np.array(
            [len(set(query.split()) & set(text.split())) + len(text) / 1e4 for text in texts], np.float32
        )


def write(folder: Path, corpus: list[Any], queries: list[Any], qrels: list[str]) -> Path:
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    (folder / "corpus.jsonl").write_text("".join(json.dumps(d) + "\n" for d in corpus), encoding="utf-8")
    (folder / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries), encoding="utf-8")
    rows = ["query-id\tcorpus-id\tscore", *qrels]
    (folder / "qrels" / "test.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = random.Random(0)
    corpus = [
        {"_id": f"d{i}", "title": "", "text": " ".join(rng.choices(WORDS, k=rng.randint(3, 12)))}
        for i in range(150)
    ]
    queries = [{"_id": f"q{i}", "text": " ".join(rng.sample(WORDS, 3))} for i in range(12)]
    qrels = [f"q{i}\td{rng.randrange(150)}\t{grade}" for i in range(12) for grade in (2, 1, 1, 0)]
    return write(tmp_path / "small", corpus, queries, sorted(set(qrels), key=qrels.index))


@pytest.fixture(autouse=True)
def fake_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load_encoder", lambda model, kind, backend: BagOfWords("bag"))
    monkeypatch.setattr(loading, "load_colbert", lambda model, backbone, bi: WordVectors("words"))
    monkeypatch.setattr(loading, "load_reranker", lambda model: CountsWords())


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    status = cli.main(["compare", *(str(a) for a in args)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


# ---- measures, against what their definitions say


def slow_ndcg(ranking: list[str], grades: dict[str, int], k: int) -> float:
    def dcg(values: list[int]) -> float:
        total = 0.0
        for rank in range(1, min(k, len(values)) + 1):
            total += max(0, values[rank - 1]) / math.log(rank + 1, 2)
        return total

    best = dcg(sorted(grades.values(), reverse=True))
    return dcg([grades.get(d, 0) for d in ranking]) / best if best > 0 else 0.0


def test_measures() -> None:
    rng = random.Random(1)
    for _ in range(200):
        names = [f"d{i}" for i in range(40)]
        grades = {d: rng.choice([-1, 0, 0, 1, 2, 3]) for d in rng.sample(names, rng.randint(1, 20))}
        ranking = rng.sample(names, rng.randint(1, 40))
        k = rng.choice([1, 5, 10, 100])
        assert ndcg(ranking, grades, k) == pytest.approx(slow_ndcg(ranking, grades, k))
        wanted = [d for d, grade in grades.items() if grade > 0]
        found = sum(d in wanted for d in ranking[:k])
        assert recall(ranking, grades, k) == (found / len(wanted) if wanted else 0.0)


def test_bootstrap() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0.4, 0.3, (2, 400))
    first, second = bootstrap(values)
    assert first.mean == pytest.approx(values[0].mean())
    # Of many queries, percentiles are about those of the normal distribution
    error = 1.96 * values[1].std(ddof=1) / 20
    assert second.low == pytest.approx(second.mean - error, abs=0.1 * error)
    assert second.high == pytest.approx(second.mean + error, abs=0.1 * error)
    assert bootstrap(values) == [first, second]
    # Paired: a constant difference has no spread, whatever the spread of the two
    paired = bootstrap(np.stack([values[0], values[0] + 0.1, np.full(400, 0.1)]))
    assert paired[2].low == pytest.approx(paired[2].high)
    assert paired[1].low - paired[0].low == pytest.approx(0.1)
    (alone,) = bootstrap(np.array([[0.5]]))
    assert alone.mean == 0.5
    assert math.isnan(alone.low)


# ---- collections


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    where = write(
        tmp_path / "x",
        [{"_id": "a", "text": "one"}, {"_id": 2, "title": "", "text": " "}, {"_id": "c", "title": "T"}],
        [{"_id": f"q{i}", "text": "t"} for i in range(4)],
        ["q1\ta\t1", "q1\t2\t1", "q0\tc\t-1", "q3\tc\t2", "q3\tgone\t1", "q3\tgone\t1"],
    )
    read = read_folder(where)
    assert [d.id for d in read.collection.documents] == ["a", "c"]
    assert list(read.collection.queries) == ["q1", "q3"]
    assert read.collection.grades == {"q1": {"a": 1, "2": 1}, "q3": {"c": 2, "gone": 1}}
    assert read.notes == [
        "left out, without text: 1 document",
        "missed by all, not among the documents or without text: 2 relevant documents",
        "not counted, without judgements in test.tsv: 1 query",
        "not counted, without a relevant document: 1 query",
    ]
    assert list(read_folder(where, limit_queries=1).collection.queries) == ["q1"]
    packed = where / "corpus.jsonl"
    (where / "corpus.jsonl.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    assert read_folder(where) == read


def test_the_text_is_that_of_an_index(tmp_path: Path) -> None:
    corpus = [
        {"_id": "a", "title": "T", "contents": "one"},
        {"_id": "b", "text": "x", "contents": "y"},
        {"_id": "c", "title": "T", "text": None},
    ]
    read = read_folder(write(tmp_path / "x", corpus, [{"_id": "q", "text": "t"}], ["q\ta\t1"]))
    with Retriever.create(tmp_path / "i", encoder=BagOfWords()) as index:
        index.add(corpus)
        texts = [index.get(d.id).content for d in read.collection.documents]
    assert [d.content for d in read.collection.documents] == texts == ["T one", "x", "T"]


GOOD: tuple[list[Any], list[Any], list[str]] = (
    [{"_id": "a", "text": "one"}],
    [{"_id": "q", "text": "one"}],
    ["q\ta\t1"],
)


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        (0, [{"_id": "a", "text": "x"}, {"_id": "a", "text": "y"}], "line 2: id 'a' was given before, on l"),
        (0, [{"_id": "a", "text": 3}], "corpus.jsonl, line 1: expected text to be str, got int"),
        (0, [["a"]], "corpus.jsonl, line 1: expected an object with \"_id\""),
        (0, [{"_id": "a", "text": ""}], "corpus.jsonl: no documents"),
        (1, [{"_id": "q", "text": "a"}, {"_id": "q", "text": "b"}], "queries.jsonl, line 2: id 'q' was"),
        (1, [{"_id": "q", "text": " "}], "query 'q' has no text"),
        (2, ["q\ta"], "test.tsv, line 2: expected query, document and an integer grade"),
        (2, ["q\ta\t1", "q\ta\tmuch"], "test.tsv, line 3: expected query, document and an integer grade"),
        (2, ["p\ta\t1"], "test.tsv, line 2: query 'p' is not among the queries"),
        (2, ["q\ta\t1", "q\ta\t2"], "test.tsv, line 3: query 'q' and document 'a' had another grade before"),
        (2, ["q\ta\t0"], "test.tsv: no query has a relevant document"),
    ],
)  # fmt: skip
def test_bad_collections(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], part: int, content: Any, message: str
) -> None:
    parts: list[Any] = list(GOOD)
    parts[part] = content
    status, out, err = run(capsys, write(tmp_path / "x", *parts))
    assert (status, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1


def test_missing_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = write(tmp_path / "x", *GOOD)
    (where / "corpus.jsonl").write_text('{"_id": "a", "text": "x"}\nnonsense\n')
    assert "corpus.jsonl, line 2: not JSON" in run(capsys, where)[2]
    (where / "corpus.jsonl").write_bytes(b'{"_id": "a", "text": "\xff"}\n')
    assert "corpus.jsonl, line 1 or later: not UTF-8" in run(capsys, where)[2]
    write(where, *GOOD)
    (where / "qrels" / "train.tsv.gz").touch()
    err = run(capsys, where, "--split", "dev")[2]
    assert f"{where / 'qrels' / 'dev.tsv'}: no such file" in err
    assert err.endswith("; its splits are test, train\n")
    for place in ("--html", "--png", "--json"):
        status, out, err = run(capsys, where, place, tmp_path / "none" / "x")
        assert (status, out) == (1, "")
        assert "no such directory" in err


# ---- arms


def test_parse_arm() -> None:
    assert parse_arm("bi+colbert+ce") == ("bi", "colbert", "ce")
    assert parse_arm("colbert") == ("colbert",)
    for wrong in ("", "ce", "ce+bi", "colbert+bi", "bi+bi", "bi+", "bi+ce+colbert", "bm25"):
        with pytest.raises(ValueError, match=f"arm '{wrong.replace('+', '[+]')}': expected bi or colbert"):
            parse_arm(wrong)


def exactly(arm: str, folder: Path, depths: tuple[int, ...]) -> list[list[str]]:
    """Rankings by definition: every stage sorts the head of what the one before it gave."""
    collection = read_folder(folder).collection
    texts = {str(d.id): d.content for d in collection.documents}
    bag, words, cross = BagOfWords(), WordVectors(), CountsWords()
    rankings = []
    for query in collection.queries.values():
        ranking = list(texts)
        for place, stage in enumerate(arm.split("+")):
            depth = len(texts) if place == 0 else depths[min(place, len(depths)) - 1]
            head = ranking[:depth]
            if stage == "bi":
                scores = bag.encode_document([texts[d] for d in head]) @ bag.encode_query([query])[0]
            elif stage == "colbert":
                (q,) = words.encode_query([query])
                scores = np.array(
                    [(q @ v.T).max(1).sum() for v in words.encode_document([texts[d] for d in head])]
                )
            else:
                scores = cross.score(query, [texts[d] for d in head])
            ranking = [head[i] for i in np.argsort(-scores, kind="stable")] + ranking[depth:]
        rankings.append(ranking)
    return rankings


@pytest.mark.parametrize("arm", ["bi", "colbert", "bi+colbert", "bi+ce", "colbert+ce", "bi+colbert+ce"])
def test_arms_rank_as_their_stages_do(folder: Path, arm: str) -> None:
    collection = read_folder(folder)
    (made,) = make_arms([parse_arm(arm)], [40, 20], CountsWords(), None)
    models = Models(BagOfWords(), WordVectors(), CountsWords())
    comparison = measure_all(collection, [made], models, token_codec="float32", quiet=True)
    (measured,) = comparison.measured
    for i, (ranking, grades) in enumerate(
        zip(exactly(arm, folder, (40, 20)), collection.collection.grades.values(), strict=True)
    ):
        assert measured.ndcg[i] == pytest.approx(slow_ndcg(ranking[:100], dict(grades), 10), abs=1e-6)
        assert measured.recall[i] == pytest.approx(recall(ranking, grades, 100))
    assert (measured.encoding_ms > 0).all()
    assert (measured.ms > measured.encoding_ms).all()
    assert set(measured.read) == {0 if "ce" not in arm else 20 if arm.count("+") == 2 else 40}
    on_bi, on_tokens = ("bi" in arm.split("+")) * 32 * 4, ("colbert" in arm) * 32 * 4
    assert measured.bytes >= on_bi + on_tokens


def test_stopping_keeps_the_rest_behind(folder: Path) -> None:
    from tercet.indexes import FlatIndex, MultiVectorIndex

    texts = [d.content for d in read_folder(folder).collection.documents]
    pooled = FlatIndex(32)
    pooled.add(BagOfWords().encode_document(texts))
    on = Indexes(pooled, MultiVectorIndex(32), texts)
    query = Query("w1 w2", BagOfWords().encode_query(["w1 w2"]), None)
    full = Arm("full", ("bi", "ce"), (100,), CountsWords()).search(query, on, 150)
    stopped = Arm("stop", ("bi", "ce"), (100,), CountsWords(), Stopping(20, 0.0)).search(query, on, 150)
    assert full.read == 100
    assert 20 < stopped.read < 100
    assert sorted(stopped.places) == sorted(full.places) == list(range(150))
    order = Arm("bi", ("bi",)).search(query, on, 150).places
    assert stopped.places[stopped.read :] == order[stopped.read :]
    never = Arm("never", ("bi", "ce"), (100,), CountsWords(), Stopping(20, 1e9)).search(query, on, 150)
    assert never == full


def test_summary_compares_what_stops_with_what_does_not(folder: Path) -> None:
    class Agrees:
        """With the first stage, so that there is nothing to read on for."""

        def score(self, query: str, texts: Any) -> Any:
            return BagOfWords().encode_document(texts) @ BagOfWords().encode_query([query])[0]

    arms = make_arms([("bi",), ("bi", "ce")], [50], Agrees(), Stopping(10, 0.0))
    assert [arm.name for arm in arms] == ["bi", "bi+ce", "bi+ce stop 0"]
    models = Models(BagOfWords(), None, Agrees())
    comparison = measure_all(read_folder(folder), arms, models, quiet=True)
    rows = summary(comparison)
    assert [row.against for row in rows] == ["", "bi", "bi+ce"]
    assert rows[0].difference is None
    for row, base in ((rows[1], rows[0]), (rows[2], rows[1])):
        assert row.difference is not None
        assert row.difference.mean == pytest.approx(row.ndcg.mean - base.ndcg.mean)
        assert row.difference.low <= row.difference.mean <= row.difference.high
    assert (rows[1].read, rows[2].read) == (50, 26)
    assert rows[2].difference == Interval(0, 0, 0)
    record = json.loads(json.dumps(as_json(comparison)))
    assert record["arms"][2]["min_depth"] == 10
    assert len(record["arms"][0]["per_query"]["ms"]) == 12


# ---- the command


def test_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    html, png, numbers = (tmp_path / name for name in ("r.html", "r.png", "r.json"))
    status, out, err = run(
        capsys, folder, "--cross-encoder", "any", "--depth", "30,15", "--html", html, "--png", png,
        "--json", numbers, "--stop-margin", 0.5, "--arms", "bi,colbert,bi+colbert+ce",
        "--token-codec", "int8",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 120
    record = json.loads(numbers.read_text())
    assert [arm["name"] for arm in record["arms"]] == [
        "bi",
        "colbert",
        "bi+colbert+ce",
        "bi+colbert+ce stop 0.5",
    ]
    assert record["arms"][2]["depths"] == [30, 15]
    assert record["documents"] == 150
    for arm in record["arms"]:
        assert f"{arm['ndcg@10']['mean']:.4f}" in out
        assert f"{arm['bytes_per_document']:,.0f}" in out
    for said in (
        "small: 150 documents, 12 judged queries",
        "stored as int8",
        "numpy",
        "threads",
        "30 and 15",
    ):
        assert said in out
    page = Page(html.read_text(encoding="utf-8"))
    assert "small: ways to rank" in page.all_text
    for arm in record["arms"]:
        assert arm["name"] in page.all_text
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert min(struct.unpack(">II", png.read_bytes()[16:24])) > 400


def test_defaults_and_limits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, folder, "--limit-queries", 1)
    assert status == 0
    assert "one query" in out
    assert "not counted, beyond the first 1: 11 queries" in out
    assert "texts read" not in out.split("nDCG@10:")[0]
    arms = [
        line.split()[0] for line in out.splitlines() if line.startswith(("bi ", "colbert ", "bi+colbert "))
    ]
    assert arms == ["bi", "colbert", "bi+colbert", "colbert", "bi+colbert"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--arms", "bm25"], "arm 'bm25': expected bi or colbert"),
        (["--depth", "5"], "--depth: expected numbers of at least 10"),
        (["--depth", "20,30"], "that do not rise"),
        (["--depth", "many"], "many"),
        (["--stop-margin", "0.1"], "--stop-margin needs an arm with ce"),
        (["--cross-encoder", "x", "--stop-margin", "-1"], "stop_margin: expected at least 0"),
        (["--cross-encoder", "x", "--min-depth", "12"], "min_depth goes with stop_margin"),
        (["--limit-queries", "0"], "--limit-queries: expected a whole number of at least 1"),
    ],
)
def test_usage(folder: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str) -> None:
    status, out, err = run(capsys, folder, *args)
    assert (status, out) == (2, "")
    assert message in err


def test_a_cross_encoder_comes_along(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(model: str | None) -> CountsWords:
        asked.append(model)
        return CountsWords()

    asked: list[str | None] = []
    monkeypatch.setattr(loading, "load_reranker", load)
    assert run(capsys, folder, "--arms", "bi,bi+ce", "--quiet")[0] == 0
    assert run(capsys, folder, "--quiet")[0] == 0  # arms that read texts, and take long, are asked for
    assert asked == [None]


def test_names_are_escaped(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = folder.rename(folder.parent / "<b>&")
    assert run(capsys, odd, "--arms", "bi", "--html", tmp_path / "r.html")[0] == 0
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "b" not in page.tags
    assert "<b>&: ways to rank" in page.all_text


def test_labels_of_the_plot_do_not_overlap() -> None:
    rng = random.Random(5)
    for _ in range(20):
        rows = [
            Row(f"arm {i}", Interval(q := rng.uniform(0.3, 0.5), q - 0.02, q + 0.02), Interval(q, q, q),
                rng.choice([2.0, 2.1, 50.0]) * rng.uniform(0.9, 1.1), 1.0, rng.choice([1536.0, 4e4]), 0.0,
                "", None)
            for i in range(rng.randint(1, 7))
        ]  # fmt: skip
        drawing = plot("x", rows)
        labels = [s for s in drawing.shapes if isinstance(s, Text) and s.text.startswith("arm ")]
        assert len(labels) == len(rows)
        boxes = []
        for label in labels:
            width = text_width(label.text, label.size)
            left = label.x - (width if label.anchor == "end" else 0)
            assert left >= 0
            assert left + width <= drawing.width
            boxes.append((left, label.y - label.size, left + width, label.y))
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)
        assert all(0 <= s.y1 <= drawing.height for s in drawing.shapes if isinstance(s, Line))


@pytest.mark.models
def test_with_models(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentence_transformers")
    import toy

    monkeypatch.undo()
    bi, late = toy.bi_encoder(tmp_path), toy.stanford(tmp_path / "late")
    cross = toy.cross_encoder(tmp_path / "cross")
    words = toy.WORDS.split()
    corpus = [{"_id": str(i), "text": " ".join(words[i % 11 : i % 11 + 4])} for i in range(30)]
    where = write(tmp_path / "x", corpus, [{"_id": "q", "text": "paris city"}, {"_id": "p", "text": "hello"}],
                  ["q\t3\t1", "p\t12\t2"])  # fmt: skip
    numbers = tmp_path / "n.json"
    given = ["--model", bi, "--colbert", late, "--cross-encoder", cross, "--depth", "20", "--json", numbers]
    assert cli.main(["compare", str(where), *map(str, given), "--stop-margin", "0.01"]) == 0
    record = json.loads(numbers.read_text())
    assert [arm["name"] for arm in record["arms"]] == [
        "bi", "colbert", "bi+colbert", "bi+ce", "bi+ce stop 0.01", "colbert+ce", "colbert+ce stop 0.01",
    ]  # fmt: skip
    assert str(bi) in record["models"]["bi"]
    assert "at most 64 tokens" in record["models"]["ce"]
