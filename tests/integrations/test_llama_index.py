"""LlamaIndex's classes over tercet's."""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes import BagOfWords, LongestFirst, WordVectors
from integrations.test_examples import installed
from tercet import HNSWIndex, Retriever

if not installed("llama_index.core"):
    pytest.skip("needs llama_index.core", allow_module_level=True)

import fsspec
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from tercet.integrations.llama_index import (
    ColBERTReranker,
    CrossEncoderReranker,
    TercetRetriever,
    TercetVectorStore,
)

PETS = [
    {"_id": "cats", "title": "Cats", "text": "cats sleep all day", "year": 2020, "tags": ["a"]},
    {"_id": 7, "text": "dogs bark at night", "year": 2021},
    {"_id": "birds", "text": "birds sing in the early morning"},
]


class Words(BaseEmbedding):
    def _get_text_embedding(self, text: str) -> list[float]:
        return BagOfWords().encode_document([text])[0].tolist()  # type: ignore[no-any-return]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def where(key: str, operator: str, value: Any, *more: Any, condition: str = "and") -> MetadataFilters:
    one = MetadataFilter(key=key, operator=FilterOperator(operator), value=value)
    return MetadataFilters(filters=[one, *more], condition=FilterCondition(condition))


# ---- retriever


@pytest.fixture
def pets(tmp_path: Path) -> Iterator[Retriever]:
    with Retriever.create(tmp_path / "pets", encoder=WordVectors(), kind="multi", codec="float32") as pets:
        pets.add(PETS)
        yield pets


def test_a_retriever(pets: Retriever) -> None:
    (best, *_) = pets.search("cats sleep")
    found = TercetRetriever(pets, similarity_top_k=2).retrieve("cats sleep")
    assert len(found) == 2
    assert (found[0].node_id, found[0].text, found[0].score) == ("cats", "cats sleep all day", best.score)
    assert found[0].metadata == {"title": "Cats", "year": 2020, "tags": ["a"]}
    for chosen in ({"ids": ["cats"]}, {"filters": where("year", "<", 2021)}):
        assert [n.node_id for n in TercetRetriever(pets, **chosen).retrieve("dogs bark")] == ["cats"]
    longest = TercetRetriever(pets, rerank=LongestFirst()).retrieve("dogs")
    assert [n.node_id for n in longest] == ["birds", "cats", "7"]
    with pytest.raises(ValueError, match="similarity_top_k: expected at least 1"):
        TercetRetriever(pets, similarity_top_k=0)
    with pytest.raises(ValueError, match="filters, ids: expected one"):
        TercetRetriever(pets, ids=["cats"], filters=where("year", "<", 2021))


def test_retrievals_at_once(pets: Retriever) -> None:
    retriever = TercetRetriever(pets, similarity_top_k=1)

    async def all_of_them() -> list[list[NodeWithScore]]:
        return await asyncio.gather(*(retriever.aretrieve(q) for q in ["cats sleep", "dogs bark"] * 10))

    assert [n.node_id for n, *_ in asyncio.run(all_of_them())] == ["cats", "7"] * 10


# ---- rerankers


def scored(texts: list[str], metadata: Any = None) -> list[NodeWithScore]:
    nodes = [TextNode(id_=str(i), text=text, metadata=metadata or {}) for i, text in enumerate(texts)]
    return [NodeWithScore(node=node, score=0.5) for node in nodes]


@pytest.mark.parametrize("kind", [ColBERTReranker, CrossEncoderReranker])
def test_a_reranker_orders(kind: Any) -> None:
    given = scored(["22", "333", "1", "444"])
    before = copy.deepcopy(given)
    best = kind(model=LongestFirst(), top_n=3).postprocess_nodes(given, query_str="query")
    assert [node.text for node in best] == ["333", "444", "22"]
    assert best[0].score == pytest.approx(0.003)
    assert best[0].node is given[1].node
    assert given == before
    assert len(kind(model=LongestFirst()).postprocess_nodes(given, query_str="query")) == 4
    assert kind(model=LongestFirst()).postprocess_nodes([], query_str="query") == []
    found = asyncio.run(kind(model=LongestFirst(), top_n=1).apostprocess_nodes(given, query_str="query"))
    assert [node.text for node in found] == ["333"]
    with pytest.raises(ValueError, match="needs a query"):
        kind(model=LongestFirst()).postprocess_nodes(given)
    with pytest.raises(ValueError, match="top_n"):
        kind(top_n=0)
    described = kind(model="a name", top_n=2).to_dict()
    assert kind.from_dict(described).to_dict() == described
    again = pickle.loads(pickle.dumps(kind(model=LongestFirst(), top_n=1)))
    assert [node.text for node in again.postprocess_nodes(given, query_str="query")] == ["333"]


def test_a_reranker_reads_the_metadata_that_it_should() -> None:
    node = TextNode(text="text", metadata={"a": "x" * 10, "b": "y" * 20}, excluded_embed_metadata_keys=["b"])
    lengths = {}
    for mode in MetadataMode:
        reranker = CrossEncoderReranker(model=LongestFirst(), metadata_mode=mode)
        (best,) = reranker.postprocess_nodes([NodeWithScore(node=node)], query_str="query")
        lengths[mode] = best.score
    assert lengths[MetadataMode.NONE] == pytest.approx(0.004)
    assert lengths[MetadataMode.EMBED] == pytest.approx(len("a: xxxxxxxxxx\n\ntext") / 1000)
    assert lengths[MetadataMode.ALL] == max(lengths.values())
    (default,) = CrossEncoderReranker(model=LongestFirst()).postprocess_nodes(
        [NodeWithScore(node=node)], query_str="query"
    )
    assert default.score == lengths[MetadataMode.EMBED]


@pytest.mark.models
@pytest.mark.parametrize("layout", ["stanford", "pylate"])
def test_scores_are_those_of_sentence_transformers(tmp_path: Path, layout: str) -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import CrossEncoder, MultiVectorEncoder

    import toy

    nodes = scored(toy.DOCUMENTS)
    path = str(getattr(toy, layout)(tmp_path / "colbert"))
    model = MultiVectorEncoder(path, device="cpu")
    for query in toy.QUERIES:
        want = model.similarity(model.encode_query([query]), model.encode_document(toy.DOCUMENTS))[0].tolist()
        found = ColBERTReranker(model=path, options={"device": "cpu"}).postprocess_nodes(
            nodes, query_str=query
        )
        assert [n.score for n in found] == pytest.approx([want[int(n.node_id)] for n in found], abs=1e-4)
        assert [n.score for n in found] == sorted([n.score for n in found], reverse=True)
    path = str(toy.cross_encoder(tmp_path / "cross"))
    want = CrossEncoder(path, device="cpu").predict([(query, text) for text in toy.DOCUMENTS]).tolist()
    reranker = CrossEncoderReranker(model=path, options={"precision": "float32"})
    found = reranker.postprocess_nodes(nodes, query_str=query)
    assert [n.score for n in found] == pytest.approx([want[int(n.node_id)] for n in found], abs=1e-5)


# ---- vector store

VECTORS = [[1.0, 0, 0], [0.8, 0.6, 0], [0, 1, 0], [0, 0, 1]]
METADATA: list[dict[str, Any]] = [
    {"year": 2020, "name": "One", "tags": ["a", "b"]},
    {"year": 2021, "name": "two", "tags": ["b"]},
    {"year": 2022, "name": ""},
    {},
]


def nodes() -> list[BaseNode]:
    made: list[BaseNode] = []
    for place, (vector, metadata) in enumerate(zip(VECTORS, METADATA, strict=True)):
        source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc" + "xxyz"[place])}
        node = TextNode(id_="abcd"[place], text=f"text {place}", metadata=metadata, relationships=source)
        node.embedding = vector
        made.append(node)
    return made


@pytest.fixture(params=["flat", "hnsw"])
def store(request: pytest.FixtureRequest) -> TercetVectorStore:
    store = TercetVectorStore() if request.param == "flat" else TercetVectorStore(HNSWIndex)
    assert store.add(nodes()) == ["a", "b", "c", "d"]
    return store


def ask(store: TercetVectorStore, vector: Any = VECTORS[0], k: int = 9, **more: Any) -> list[str]:
    result = store.query(VectorStoreQuery(query_embedding=vector, similarity_top_k=k, **more))
    assert result.nodes is not None
    assert [node.node_id for node in result.nodes] == result.ids
    return result.ids


def test_queries(store: TercetVectorStore) -> None:
    result = store.query(VectorStoreQuery(query_embedding=VECTORS[0], similarity_top_k=2))
    assert result.ids == ["a", "b"]
    assert result.similarities == pytest.approx([1, 0.8])
    before = nodes()[0]
    before.embedding = None
    assert result.nodes == [before, *result.nodes[1:]]
    assert ask(store, node_ids=["c", "b", "x"]) == ["b", "c"]
    assert ask(store, node_ids=[], doc_ids=[]) == ["a", "b", "c", "d"]  # so LlamaIndex has it
    assert ask(store, doc_ids=["docy", "docz"]) == ["c", "d"]
    assert ask(store, doc_ids=["docx"], filters=where("year", ">", 2020)) == ["b"]
    assert ask(TercetVectorStore()) == []
    with pytest.raises(ValueError, match="mode: expected 'default' or 'mmr', got 'sparse'"):
        ask(store, mode=VectorStoreQueryMode.SPARSE)
    with pytest.raises(ValueError, match="query_embedding"):
        store.query(VectorStoreQuery(query_str="text"))


def test_maximal_marginal_relevance(store: TercetVectorStore) -> None:
    mmr = {"mode": VectorStoreQueryMode.MMR}
    assert ask(store, [1, 0.2, 0.1], 2, **mmr, mmr_threshold=1) == ["a", "b"]
    assert ask(store, [1, 0.2, 0.1], 2, **mmr, mmr_threshold=0) == ["a", "c"]
    query = VectorStoreQuery(query_embedding=[1, 0.2, 0.1], similarity_top_k=2, **mmr)
    assert store.query(query, mmr_threshold=0.0, mmr_prefetch_k=2).ids == ["a", "b"]
    assert store.query(query, mmr_threshold=0.0).ids == ["a", "c"]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (where("year", "==", 2020), "a"),
        (where("year", "!=", 2020), "bcd"),
        (where("year", ">", 2020), "bc"),
        (where("year", ">=", 2021), "bc"),
        (where("year", "<", 2021), "a"),
        (where("year", "<=", 2021), "ab"),
        (where("year", "in", [2020, 2022]), "ac"),
        (where("year", "nin", [2020, 2022]), "bd"),
        (where("tags", "any", ["a", "x"]), "a"),
        (where("tags", "all", ["a", "b"]), "a"),
        (where("tags", "contains", "b"), "ab"),
        (where("name", "text_match", "On"), "a"),
        (where("name", "text_match_insensitive", "TWO"), "b"),
        (where("name", "is_empty", None), "cd"),
        (where("doc_id", "==", "docx"), "ab"),
        (where("year", "==", 2020, where("year", "==", 2021), condition="or"), "ab"),
        (where("year", ">", 2020, where("year", "<", 2022)), "b"),
        (where("year", "==", 2020, where("year", "==", 2021), condition="not"), "cd"),
        (
            MetadataFilters(
                filters=[where("year", "==", 2020, condition="not"), where("tags", "any", ["b"])]
            ),
            "b",
        ),
        (MetadataFilters(filters=[]), "abcd"),
        (MetadataFilters(filters=[], condition=FilterCondition.OR), "abcd"),
    ],
)
def test_filters(store: TercetVectorStore, filters: MetadataFilters, ids: str) -> None:
    assert "".join(sorted(ask(store, filters=filters))) == ids
    assert "".join(node.node_id for node in store.get_nodes(filters=filters)) == ids
    store.delete_nodes(filters=filters)
    assert "".join(node.node_id for node in store.get_nodes()) == "".join(sorted({*"abcd"} - {*ids}))


def test_filters_that_do_not_fit(store: TercetVectorStore) -> None:
    with pytest.raises(TypeError, match="cannot compare 'year' 2020 by '>' with 'x'"):
        ask(store, filters=where("year", ">", "x"))
    with pytest.raises(TypeError, match="'in' of 'year' expects a list"):
        ask(store, filters=where("year", "in", 2020))


def test_changes(store: TercetVectorStore) -> None:
    replaced = TextNode(id_="a", text="new", embedding=[0, 0, 1])
    store.add([replaced])
    assert ask(store, VECTORS[3], 2) == ["a", "d"]
    assert [node.get_content() for node in store.get_nodes(["a", "x"])] == ["new"]
    store.delete("docx")  # not a, which has no source any more
    assert [node.node_id for node in store.get_nodes()] == ["a", "c", "d"]
    store.delete_nodes(["c", "x"])
    store.delete_nodes(["a", "d"], where("year", "==", 1))
    assert [node.node_id for node in store.get_nodes()] == ["a", "d"]
    with pytest.raises(ValueError, match="expected node_ids or filters"):
        store.delete_nodes()
    store.clear()
    assert (store.client, store.get_nodes()) == (None, [])
    with pytest.raises(ValueError, match="embedding not set"):
        store.add([TextNode(text="x")])
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(store)


def test_nodes_of_every_kind_come_back(tmp_path: Path) -> None:
    given: list[BaseNode] = [
        TextNode(id_="text", text="ü", metadata={"a": {"b": [1]}}, excluded_llm_metadata_keys=["a"]),
        IndexNode(id_="index", text="x", index_id="i"),
        ImageNode(id_="image", text="x", image="AAAA", image_mimetype="image/png"),
        Node(id_="node", text_resource=MediaResource(text="x", mimetype="text/html", url="http://a.b")),
    ]
    store = TercetVectorStore()
    for node in given:
        node.embedding = [1, 0]
        store.add([node])
        node.embedding = None
    store.persist(str(tmp_path / "new" / "store"))
    loaded = TercetVectorStore.from_persist_path(str(tmp_path / "new" / "store"))
    assert store.get_nodes() == loaded.get_nodes() == given
    with pytest.raises(FileNotFoundError):
        TercetVectorStore.from_persist_dir(str(tmp_path))
    with pytest.raises(NotImplementedError, match="expected files of this machine, got MemoryFileSystem"):
        store.persist("store", fs=fsspec.filesystem("memory"))


def test_an_index_over_the_store(tmp_path: Path) -> None:
    """The way of most users: documents into an index, kept in a directory, found again."""
    context = StorageContext.from_defaults(vector_store=TercetVectorStore(functools.partial(HNSWIndex, m=8)))
    documents = [Document(id_=str(pet["_id"]), text=str(pet["text"])) for pet in PETS]
    index = VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=Words())
    index.insert(Document(id_="fish", text="fish swim"))
    index.delete_ref_doc("birds")
    assert [n.text for n in index.as_retriever(similarity_top_k=1).retrieve("fish swim")] == ["fish swim"]
    context.persist(str(tmp_path))
    store = TercetVectorStore.from_persist_dir(str(tmp_path))
    assert isinstance(store.client, HNSWIndex)
    assert store.client.m == 8
    context = StorageContext.from_defaults(persist_dir=str(tmp_path), vector_store=store)
    loaded = load_index_from_storage(context, embed_model=Words())
    found = loaded.as_retriever(similarity_top_k=3, vector_store_query_mode="mmr").retrieve("dogs bark")
    assert sorted(n.text.split()[0] for n in found) == ["cats", "dogs", "fish"]
    (best,) = asyncio.run(loaded.as_retriever(similarity_top_k=1).aretrieve("cats sleep"))
    assert best.node.ref_doc_id == "cats"


def test_coroutines() -> None:
    store = TercetVectorStore()

    async def work() -> None:
        await asyncio.gather(*(store.async_add([node]) for node in nodes()))
        query = VectorStoreQuery(query_embedding=VECTORS[0], similarity_top_k=1)
        found = await asyncio.gather(*(store.aquery(query) for _ in range(20)))
        assert [result.ids for result in found] == [["a"]] * 20
        await store.adelete("docx")
        await store.adelete_nodes(["c"])
        assert [node.node_id for node in await store.aget_nodes()] == ["d"]
        await store.aclear()
        assert store.client is None

    asyncio.run(work())
