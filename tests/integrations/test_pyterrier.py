"""The stages in PyTerrier's pipelines, without Java."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import BagOfWords, LongestFirst, WordVectors
from integrations.test_examples import installed

if not installed("pyterrier"):
    pytest.skip("needs pyterrier", allow_module_level=True)
import pandas as pd
import pyterrier as pt

import tercet
from tercet.integrations.pyterrier import Reranker, Retriever

DOCS = [
    {"_id": 1, "title": "Anaemia", "text": "iron deficiency"},
    {"_id": 2, "text": "iron"},
    {"_id": 3, "text": "anaemia of long duration in adults"},
    {"_id": 4, "title": "Rickets", "text": "vitamin d"},
    {"_id": 5, "text": "vitamin c"},
]
TOPICS = pd.DataFrame(
    [["q2", "iron deficiency", "a"], ["q1", "vitamin d", "b"], ["q3", "anaemia adults", "c"]],
    columns=["qid", "query", "set"],
)


@pytest.fixture(params=["single", "multi"])
def notes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tercet.Retriever]:
    encoder = BagOfWords() if request.param == "single" else WordVectors()
    with tercet.Retriever.create(tmp_path / "notes", encoder=encoder, kind=request.param) as made:
        made.add(DOCS)
        yield made


@pytest.fixture(autouse=True)
def no_java() -> Iterator[None]:
    yield
    assert not pt.java.started()


def test_retriever(notes: tercet.Retriever) -> None:
    found = Retriever(notes, k=3)(TOPICS)
    assert list(found.columns) == ["qid", "query", "set", "docno", "score", "rank"]
    for _, topic in TOPICS.iterrows():
        rows = found[found["qid"] == topic["qid"]]
        hits = notes.search(topic["query"], 3)
        assert rows["docno"].tolist() == [str(hit.id) for hit in hits]
        assert rows["score"].tolist() == pytest.approx([hit.score for hit in hits], abs=1e-6)
        assert rows["rank"].tolist() == [0, 1, 2]
        assert set(rows["query"]) == {topic["query"]}
        assert set(rows["set"]) == {topic["set"]}
    assert found["qid"].drop_duplicates().tolist() == ["q2", "q1", "q3"]
    assert sorted(Retriever(notes, filter=[4, 5]).search("iron")["docno"]) == ["4", "5"]


def test_reranker(notes: tercet.Retriever) -> None:
    found = Retriever(notes, text=True)(TOPICS)
    assert found.loc[found["docno"] == "1", "text"].unique().tolist() == ["Anaemia iron deficiency"]
    shuffled = found.sample(frac=1, random_state=0)
    ranked = Reranker(LongestFirst())(shuffled)
    assert list(ranked.columns) == list(found.columns)
    for query, rows in ranked.groupby("qid"):
        lengths = [len(text) / 1000 for text in rows["text"]]
        assert rows["score"].tolist() == pytest.approx(sorted(lengths, reverse=True))
        assert rows["score"].tolist() == pytest.approx(lengths)
        assert rows["rank"].tolist() == list(range(5))
        assert set(rows["docno"]) == set(found.loc[found["qid"] == query, "docno"])


def test_pipelines(notes: tercet.Retriever) -> None:
    pipeline = Retriever(notes, text=True) % 3 >> Reranker(LongestFirst()) % 2
    found = pipeline(TOPICS)
    for _, topic in TOPICS.iterrows():
        hits = notes.search(topic["query"], 2, rerank=LongestFirst(), depth=3)
        rows = found[found["qid"] == topic["qid"]]
        assert rows["docno"].tolist() == [str(hit.id) for hit in hits]
    compiled = pipeline.compile()
    pd.testing.assert_frame_equal(compiled(TOPICS), found)
    single = (Retriever(notes, k=4) % 2).compile()
    assert isinstance(single, Retriever)
    assert single.k == 2
    assert (Retriever(notes, k=4) % 9).compile().k == 4
    # with fewer to find it would rerank fewer: another answer
    chain = Retriever(notes, k=5, rerank=LongestFirst(), depth=2)
    assert not isinstance((chain % 1).compile(), Retriever)
    best = (chain % 1)(TOPICS)["docno"].tolist()
    assert best == [str(notes.search(q, 5, rerank=LongestFirst())[0].id) for q in TOPICS["query"]]


def test_evaluation(notes: tercet.Retriever) -> None:
    qrels = pd.DataFrame([["q2", "1", 1], ["q1", "4", 1], ["q3", "3", 1]], columns=["qid", "docno", "label"])
    stages = [Retriever(notes), Retriever(notes, text=True) >> Reranker(LongestFirst())]
    table = pt.Experiment(stages, TOPICS, qrels, ["P_1", "recip_rank"], names=["first", "reranked"])
    assert table["P_1"].tolist() == [1.0, pytest.approx(1 / 3)]


def test_equal_scores_stay_as_they_were() -> None:
    class Same:
        def score(self, query: str, texts: Any) -> Any:
            return np.zeros(len(texts), np.float32)

    rows = [["q", "iron", f"d{i}", "text"] for i in (3, 1, 2)]
    found = Reranker(Same())(pd.DataFrame(rows, columns=["qid", "query", "docno", "text"], index=[5, 5, 1]))
    assert found["docno"].tolist() == ["d3", "d1", "d2"]
    assert found["rank"].tolist() == [0, 1, 2]


def test_what_pyterrier_knows_of_them(notes: tercet.Retriever) -> None:
    """It asks with no rows at all; no model reads anything."""
    finds, ranks = Retriever(notes, text=True), Reranker(LongestFirst())
    assert pt.inspect.transformer_outputs(finds, ["qid", "query"]) == [
        "qid",
        "query",
        "docno",
        "score",
        "rank",
        "text",
    ]
    assert {"score", "rank"} <= {*pt.inspect.transformer_outputs(ranks, ["qid", "query", "docno", "text"])}
    empty = (finds >> ranks)(TOPICS[:0])
    assert len(empty) == 0
    assert empty["rank"].dtype == np.int64


def test_what_is_refused(notes: tercet.Retriever) -> None:
    with pytest.raises(TypeError, match=r"retriever: expected a tercet.Retriever, got str"):
        Retriever("notes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="k: expected at least 1"):
        Retriever(notes, 0)
    with pytest.raises(TypeError, match="expected an object such as"):
        Reranker("a model")  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="missing_columns=\\['query'\\]"):
        Retriever(notes)(TOPICS[["qid"]])
    with pytest.raises(KeyError, match="extra_columns=\\['docno'\\]"):
        Retriever(notes)(TOPICS.assign(docno="1"))
    with pytest.raises(KeyError, match="missing_columns=\\['text'\\]"):
        Reranker(LongestFirst())(Retriever(notes)(TOPICS))
