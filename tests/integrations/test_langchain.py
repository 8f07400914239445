"""LangChain's classes over tercet's: what theirs do not test."""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fakes import BagOfWords, LongestFirst, WordVectors
from integrations.test_examples import installed
from tercet import HNSWIndex, Retriever

if not installed("langchain_core"):
    pytest.skip("needs langchain_core", allow_module_level=True)

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import InMemoryRecordManager, index
from pydantic import ValidationError

from tercet.integrations.langchain import (
    ColBERTReranker,
    CrossEncoderReranker,
    TercetCrossEncoder,
    TercetRetriever,
    TercetVectorStore,
)

PETS = [
    {"_id": "cats", "title": "Cats", "text": "cats sleep all day", "year": 2020, "tags": ["a"]},
    {"_id": 7, "text": "dogs bark at night", "year": 2021},
    {"_id": "birds", "text": "birds sing in the early morning"},
]


class Words(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return BagOfWords().encode_document(texts).tolist()  # type: ignore[no-any-return]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


@pytest.fixture
def pets(tmp_path: Path) -> Iterator[Retriever]:
    with Retriever.create(tmp_path / "pets", encoder=WordVectors(), kind="multi", codec="float32") as pets:
        pets.add(PETS)
        yield pets


def texts(documents: Any) -> list[str]:
    return [document.page_content.split()[0] for document in documents]


# ---- retriever


def test_a_retriever_keeps_what_was_found(pets: Retriever) -> None:
    (best, *_) = pets.search("cats sleep")
    found = TercetRetriever(retriever=pets, k=2).invoke("cats sleep")
    assert len(found) == 2
    assert (found[0].id, found[0].page_content) == ("cats", "cats sleep all day")
    score = {"relevance_score": best.score}
    assert found[0].metadata == {"title": "Cats", "year": 2020, "tags": ["a"], **score}
    (dog,) = TercetRetriever(retriever=pets, score_key=None).invoke("dogs bark", k=1)
    assert (dog.id, dog.metadata) == ("7", {"year": 2021})


def test_a_retriever_filters_and_reranks(pets: Retriever) -> None:
    retriever = TercetRetriever(retriever=pets)
    for filter in (
        "cats",
        ["cats"],
        {"year": {"$lt": 2021}},
        {"title": "Cats"},
        lambda document: document.id == "cats" and document.page_content.startswith("cats"),
    ):
        assert texts(retriever.invoke("dogs bark", filter=filter)) == ["cats"]
        assert texts(TercetRetriever(retriever=pets, filter=filter).invoke("dogs bark")) == ["cats"]
    assert texts(retriever.invoke("dogs", rerank=LongestFirst())) == ["birds", "cats", "dogs"]
    assert texts(TercetRetriever(retriever=pets, rerank=LongestFirst(), depth=2).invoke("dogs at", k=1)) == [
        "cats"
    ]
    with pytest.raises(TypeError, match="deepth"):
        retriever.invoke("dogs", deepth=3)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        TercetRetriever(retriever=pets, k=0)
    with pytest.raises(ValidationError, match="top"):
        TercetRetriever(retriever=pets, top=3)


def test_retrievals_at_once(pets: Retriever) -> None:
    retriever = TercetRetriever(retriever=pets, k=1, filter={"year": {"$gte": 2000}})

    async def all_of_them() -> list[list[Document]]:
        return await asyncio.gather(*(retriever.ainvoke(q) for q in ["cats sleep", "dogs bark"] * 10))

    assert [texts(found) for found in asyncio.run(all_of_them())] == [["cats"], ["dogs"]] * 10


# ---- rerankers


@pytest.mark.parametrize("kind", [ColBERTReranker, CrossEncoderReranker])
def test_a_reranker_orders_copies(kind: Any) -> None:
    given = [Document(id=str(n), page_content="x" * n, metadata={"n": n}) for n in (2, 3, 1, 3)]
    before = copy.deepcopy(given)
    best = kind(model=LongestFirst(), top_n=3).compress_documents(given, "query")
    assert [document.metadata["n"] for document in best] == [3, 3, 2]
    assert best[0].metadata["relevance_score"] == pytest.approx(0.003)
    assert best[0].id == "3"
    assert given == before
    every = kind(model=LongestFirst(), score_key=None).compress_documents(given, "query")
    assert [document.metadata for document in every] == [{"n": 3}, {"n": 3}, {"n": 2}, {"n": 1}]
    assert kind(model=LongestFirst()).compress_documents([], "query") == []
    assert asyncio.run(kind(model=LongestFirst(), top_n=1).acompress_documents(given, "q"))[0].id == "3"
    copied = copy.deepcopy(kind(model=LongestFirst(), top_n=1))
    assert copied.compress_documents(given, "query")[0].id == "3"
    assert pickle.loads(pickle.dumps(kind(model=LongestFirst()))) is not None


def test_what_a_reranker_refuses() -> None:
    with pytest.raises(ValidationError, match="top_n"):
        ColBERTReranker(top_n=0)
    with pytest.raises(ValidationError, match="top"):
        ColBERTReranker(top=1)
    with pytest.raises(TypeError, match="device: only for a name, got a LongestFirst"):
        ColBERTReranker(model=LongestFirst(), options={"device": "cpu"})
    with pytest.raises(TypeError, match="expected an object"):
        CrossEncoderReranker(model=LongestFirst)


@pytest.mark.models
def test_scores_of_colbert_are_those_of_sentence_transformers(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import MultiVectorEncoder

    import toy

    path = str(toy.stanford(tmp_path))
    reranker = ColBERTReranker(model=path, options={"device": "cpu"})  # loads it when it is used
    assert reranker._reranker._loaded is None
    documents = [Document(page_content=text, metadata={"place": i}) for i, text in enumerate(toy.DOCUMENTS)]
    model = MultiVectorEncoder(path, device="cpu")
    for query in toy.QUERIES:
        want = model.similarity(model.encode_query([query]), model.encode_document(toy.DOCUMENTS))[0].tolist()
        found = reranker.compress_documents(documents, query)
        scores = [document.metadata["relevance_score"] for document in found]
        assert sorted(scores, reverse=True) == scores
        assert scores == pytest.approx([want[d.metadata["place"]] for d in found], abs=1e-4)
    loaded = ColBERTReranker(model=model).compress_documents(documents, toy.QUERIES[-1])
    assert [document.metadata for document in loaded] == [document.metadata for document in found]


@pytest.mark.models
def test_scores_of_the_cross_encoder(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    import numpy as np
    from sentence_transformers import CrossEncoder

    import toy

    path = str(toy.cross_encoder(tmp_path))
    query, documents = toy.QUERIES[0], [Document(page_content=text) for text in toy.DOCUMENTS]
    pairs = [(query, text) for text in toy.DOCUMENTS]
    want = CrossEncoder(path, device="cpu").predict(pairs)
    reranker = CrossEncoderReranker(model=path, options={"precision": "float32"})
    with ThreadPoolExecutor(4) as pool:  # which load one model
        for found in pool.map(lambda _: reranker.compress_documents(documents, query), range(4)):
            scores = [document.metadata["relevance_score"] for document in found]
            assert scores == pytest.approx(np.sort(want)[::-1].tolist(), abs=1e-5)
    cross_encoder = TercetCrossEncoder(path, precision="float32")
    assert cross_encoder.score(pairs) == pytest.approx(want.tolist(), abs=1e-5)
    assert cross_encoder.score([]) == []


# ---- vector store


@pytest.fixture
def store() -> TercetVectorStore:
    made: TercetVectorStore = TercetVectorStore.from_texts(
        ["cats sleep", "dogs bark", "dogs bark loudly"],
        Words(),
        [{"year": 2020}, {"year": 2021}, {}],
        ids=["c", "d", "l"],
    )
    return made


def test_searches_of_a_store(store: TercetVectorStore) -> None:
    assert texts(store.similarity_search("dogs bark", k=2)) == ["dogs", "dogs"]
    (best, score), *_ = store.similarity_search_with_score("dogs bark")
    assert (best.id, round(score, 4)) == ("d", 1)
    vector = Words().embed_query("cats sleep")
    assert texts(store.similarity_search_by_vector(vector, k=1)) == ["cats"]
    diverse = store.max_marginal_relevance_search("dogs bark", k=2, fetch_k=3, lambda_mult=0.2)
    assert texts(diverse) == ["dogs", "cats"]
    assert texts(store.max_marginal_relevance_search_by_vector(vector, k=1)) == ["cats"]
    assert store.index is not None
    assert len(store.index) == 3
    with pytest.raises(TypeError, match="fetch"):
        store.similarity_search("dogs", fetch=3)


@pytest.mark.parametrize(
    ("filter", "ids"),
    [
        (lambda document: document.id == "c", "c"),
        ({"year": 2020}, "c"),
        ({"year": {"$gte": 2020, "$lt": 2021}}, "c"),
        ({"year": {"$ne": 2020}}, "dl"),
        ({"year": {"$in": [2021, 5]}}, "d"),
        ({"year": {"$nin": [2021]}}, "cl"),
        ({"year": {"$gt": 2020}}, "d"),
        ({"year": {"$lte": 2020}}, "c"),
        ({"year": None}, "l"),
        ({"$or": [{"year": 2020}, {"year": {"$eq": 2021}}]}, "cd"),
        ({"$and": [{"year": {"$gt": 1}}, {"year": 2021}]}, "d"),
        ({"$not": {"year": 2021}}, "cl"),
        ({}, "cdl"),
    ],
)
def test_filters_of_a_store(store: TercetVectorStore, filter: Any, ids: str) -> None:
    assert "".join(sorted(str(d.id) for d in store.similarity_search("dogs", k=9, filter=filter))) == ids
    assert texts(store.as_retriever(search_kwargs={"k": 1, "filter": filter}).invoke("dogs bark"))


@pytest.mark.parametrize(
    ("filter", "error", "message"),
    [
        ("year", TypeError, "a function of a Document or a dict, got str"),
        ({"year": {"$regex": "x"}}, ValueError, r"expected \$eq, .* of 'year', got '\$regex'"),
        ({"$nor": []}, ValueError, "got '.nor'"),
        ({1: 2}, TypeError, "names of metadata to be str, got 1"),
        ({"$or": {}}, TypeError, "expects a list of dicts, got dict"),
        ({"year": {"$gt": "x"}}, TypeError, "cannot compare 'year' 2020"),
    ],
)
def test_filters_that_are_none(store: TercetVectorStore, filter: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        store.similarity_search("dogs", filter=filter)


def test_relevance(store: TercetVectorStore) -> None:
    (_, best), *_, (_, worst) = store.similarity_search_with_relevance_scores("dogs bark", k=3)
    assert round(best, 3) == 1
    assert 0 <= worst < best
    above = store.similarity_search_with_relevance_scores("dogs bark", k=3, score_threshold=0.99)
    assert [document.id for document, _ in above] == ["d"]
    l2 = TercetVectorStore(Words(), index=functools.partial(HNSWIndex, metric="l2"))
    assert l2.similarity_search_with_relevance_scores("dogs") == []
    l2.add_texts(["dogs bark", "cats"])
    (_, best), (_, worst) = l2.similarity_search_with_relevance_scores("dogs bark")
    assert 0.99 < best <= 1
    assert worst < 0.7
    dot = TercetVectorStore(Words(), index=functools.partial(HNSWIndex, metric="dot"))
    dot.add_texts(["dogs bark"])
    with pytest.raises(ValueError, match="relevance_score_fn"):
        dot.similarity_search_with_relevance_scores("dogs")
    ours = TercetVectorStore.from_texts(["dogs"], Words(), relevance_score_fn=lambda score: 0.5)
    assert [score for _, score in ours.similarity_search_with_relevance_scores("dogs")] == [0.5]


def test_ids_of_a_store(store: TercetVectorStore) -> None:
    made = store.add_texts(["fish swim", "birds sing"])
    assert len(set(made)) == 2
    assert texts(store.get_by_ids([made[1], "none", made[0]])) == ["birds", "fish"]
    given = store.add_documents([Document(id="x", page_content="1"), Document(page_content="2")])
    assert given[0] == "x"
    assert given[1] != "x"
    assert store.add_texts([]) == []
    assert store.delete(["x", "none"])
    assert store.index is not None
    assert len(store.index) == 6
    assert store.delete()
    assert store.index is None
    with pytest.raises(ValueError, match="1 ids, 2 vectors, 2 texts"):
        store.add_texts(["a", "b"], ids=["1"])


def test_a_store_is_saved_and_loaded(store: TercetVectorStore, tmp_path: Path) -> None:
    store.save(tmp_path / "pets.tercet")
    loaded = TercetVectorStore.load(tmp_path / "pets.tercet", Words())
    assert loaded.similarity_search_with_score("dogs") == store.similarity_search_with_score("dogs")
    assert loaded.get_by_ids(["c"]) == store.get_by_ids(["c"])


def test_indexing_skips_what_is_there(store: TercetVectorStore) -> None:
    """LangChain's indexing, which keeps a store and its sources alike."""
    records = InMemoryRecordManager("pets")
    records.create_schema()
    documents = [Document(page_content=text, metadata={"source": text}) for text in ("one", "two")]
    index_them = functools.partial(
        index, documents, records, store, cleanup="full", source_id_key="source", key_encoder="sha256"
    )
    assert index_them()["num_added"] == 2
    del documents[0]
    assert index_them() == {"num_added": 0, "num_updated": 0, "num_skipped": 1, "num_deleted": 1}
    assert len(store.index or ()) == 4


def test_a_store_in_several_tasks() -> None:
    store = TercetVectorStore(Words())

    async def work(number: int) -> list[str]:
        await store.aadd_texts([f"number{number} is here"], ids=[str(number)])
        found = await store.asimilarity_search(f"number{number} is here", k=1)
        return [str(document.id) for document in found]

    async def all_of_them() -> list[list[str]]:
        return await asyncio.gather(*map(work, range(30)))

    assert asyncio.run(all_of_them()) == [[str(number)] for number in range(30)]
