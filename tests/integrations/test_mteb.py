"""mteb's own evaluation of a local task: with tercet's indexes it gives what it gives without them."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from integrations.test_examples import installed

if not installed("mteb"):
    pytest.skip("needs mteb", allow_module_level=True)
import mteb
from mteb.models import (
    IndexEncoderSearchProtocol,
    ModelMeta,
    MultiVectorWrapper,
    SearchEncoderWrapper,
    SearchProtocol,
    SentenceTransformerEncoderWrapper,
)
from mteb.models.model_meta import ScoringFunction

import tercet
from integrations.mteb_task import LocalReranking, LocalRetrieval
from tercet.integrations.mteb import MultiVectorSearch, VectorBackend, VectorSearch
from tercet.models import BiEncoder, ColBERT

pytestmark = [
    pytest.mark.models,
    # mteb's, when it wraps a SentenceTransformer: of names of its own and of sentence-transformers
    pytest.mark.filterwarnings("ignore:The fill_missing parameter:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `get_sentence_embedding_dimension`:FutureWarning"),
]
F32 = np.float32


@pytest.fixture(scope="module")
def colbert() -> ColBERT:
    return ColBERT()


@pytest.fixture(scope="module")
def bi() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # marks are of tests, not of fixtures
        return SentenceTransformerEncoderWrapper(BiEncoder().model)


def ndcg(model: Any, task: type[Any] = LocalRetrieval, cache: Any = None) -> float:
    done = mteb.evaluate(model, task(), cache=cache, co2_tracker=False, show_progress_bar=False)
    return float(done.task_results[0].scores["test"][0]["ndcg_at_10"])


def run(model: Any, task: Any, top_k: int = 20) -> dict[str, dict[str, float]]:
    """What mteb's evaluator asks of a model."""
    task.load_data()
    data = task.dataset["default"]["test"]
    given = {
        "task_metadata": task.metadata,
        "hf_split": "test",
        "hf_subset": "default",
        "encode_kwargs": {},
        "num_proc": None,
    }
    with pytest.raises(ValueError, match=r"before (queries|searching)"):
        model.search(data["queries"], top_k=top_k, **given)
    model.index(data["corpus"], **given)
    found: dict[str, dict[str, float]] = model.search(
        data["queries"], top_k=top_k, top_ranked=data["top_ranked"], **given
    )
    return found


def same(found: dict[str, dict[str, float]], expected: dict[str, dict[str, float]]) -> None:
    assert found.keys() == expected.keys()
    for query, scores in expected.items():
        assert found[query] == pytest.approx(scores, abs=1e-4), query


@pytest.mark.parametrize("task", [LocalRetrieval, LocalReranking])
def test_late_interaction_as_mteb_does_it(colbert: ColBERT, task: type[Any]) -> None:
    own = MultiVectorWrapper(colbert.model)
    expected = run(own, task())
    assert all(len(scores) >= 10 for scores in expected.values())
    for model in (colbert, colbert.model, own):
        same(run(MultiVectorSearch(model, chunk_size=50), task()), expected)
    assert ndcg(MultiVectorSearch(colbert), task) == pytest.approx(ndcg(own, task), abs=1e-4)


@pytest.mark.parametrize("task", [LocalRetrieval, LocalReranking])
def test_single_vectors_as_mteb_does_it(bi: Any, task: type[Any]) -> None:
    plain = SearchEncoderWrapper(bi)
    expected = run(plain, task())
    assert all(len(scores) >= 10 for scores in expected.values())
    graph = partial(tercet.HNSWIndex, m=8)
    for model in (
        VectorSearch(bi, chunk_size=20),
        VectorSearch(bi.model),
        VectorSearch(BiEncoder(bi.model)),
        VectorSearch(bi, graph, ef=200),
        SearchEncoderWrapper(bi, index_backend=VectorBackend(bi)),
        SearchEncoderWrapper(bi, index_backend=VectorBackend(bi, graph, ef=200)),
    ):
        same(run(model, task()), expected)
    assert ndcg(VectorSearch(bi), task) == pytest.approx(ndcg(plain, task), abs=1e-4)


def test_mteb_takes_them_for_what_they_are(colbert: ColBERT, bi: Any) -> None:
    for search in (MultiVectorSearch(colbert), VectorSearch(bi)):
        assert isinstance(search, SearchProtocol)
        assert not hasattr(search, "predict")  # with it, mteb would take it for a cross-encoder
    assert MultiVectorSearch(colbert).mteb_model_meta.name == "tercet/tercet-colbert-mini"
    assert VectorSearch(bi).mteb_model_meta is bi.mteb_model_meta
    methods = [name for name in vars(IndexEncoderSearchProtocol) if not name.startswith("_")]
    assert all(callable(getattr(VectorBackend(bi), name)) for name in methods)


def test_mteb_keeps_other_settings_apart(colbert: ColBERT, bi: Any, tmp_path: Path) -> None:
    """Its cache knows results by name, revision and experiment: those of int4 are not those of float32."""
    assert MultiVectorSearch(colbert).mteb_model_meta.experiment_kwargs is None
    coarse = MultiVectorSearch(colbert, codec="int4", pool=2, candidates=5)
    assert coarse.mteb_model_meta.experiment_kwargs == {"codec": "int4", "pool": 2, "candidates": 5}
    graph = VectorSearch(bi, partial(tercet.HNSWIndex, m=8), ef=200).mteb_model_meta.experiment_kwargs
    assert {"kind": "HNSWIndex", "m": 8, "ef": 200}.items() <= graph.items()
    cache = mteb.ResultCache(tmp_path)
    first = ndcg(MultiVectorSearch(colbert), cache=cache)
    ndcg(MultiVectorSearch(colbert, codec="binary", pool=4), cache=cache)
    assert len(list(tmp_path.rglob("LocalRetrieval.json"))) == 2
    assert ndcg(MultiVectorSearch(colbert), cache=cache) == first


def encoder(similarity: Any) -> Any:
    """A model as far as a backend asks it."""

    class Encoder:
        mteb_model_meta = ModelMeta.create_empty({"similarity_fn_name": similarity})

    return Encoder()


@pytest.mark.parametrize(
    ("similarity", "scores"),
    [
        (ScoringFunction.COSINE, lambda q, d: (q / np.linalg.norm(q)) @ (d.T / np.linalg.norm(d, axis=1))),
        (ScoringFunction.DOT_PRODUCT, lambda q, d: q @ d.T),
        (ScoringFunction.EUCLIDEAN, lambda q, d: -np.linalg.norm(q - d, axis=1)),
    ],
)
def test_similarities(similarity: Any, scores: Any, rng: np.random.Generator) -> None:
    documents, queries = rng.standard_normal((30, 8)), rng.standard_normal((3, 8)).astype(F32)
    backend = VectorBackend(encoder(similarity))
    ids = [f"d{i}" for i in range(30)]
    backend.add_documents(documents[:10], ids[:10])  # float64, as models behind an API give them
    backend.add_documents(documents[10:].astype(F32), ids[10:])
    values, places = backend.search(queries, 50)
    for query, row, order in zip(queries, values, places, strict=True):
        expected = scores(query, documents)
        assert order == np.argsort(-expected, kind="stable").tolist()
        assert row == pytest.approx(np.sort(expected)[::-1], abs=1e-5)
    ranked = {"a": ["d3", "d29", "d0"], "c": ["d7"]}
    values, places = backend.search(queries, 2, top_ranked=ranked, query_idx_to_id={0: "a", 1: "b", 2: "c"})
    expected = scores(queries[0], documents)[[3, 29, 0]]
    assert places == [np.argsort(-expected, kind="stable")[:2].tolist(), [], [0]]
    assert values[0] == pytest.approx(np.sort(expected)[::-1][:2], abs=1e-5)
    backend.clear()
    with pytest.raises(ValueError, match="expected documents before queries"):
        backend.search(queries, 1)


def test_what_a_backend_refuses(rng: np.random.Generator) -> None:
    for unknown in (ScoringFunction.MANHATTAN, ScoringFunction.CUSTOM, None):
        with pytest.raises(ValueError, match="expected cosine, dot product or euclidean"):
            VectorBackend(encoder(unknown))
    backend = VectorBackend(encoder(None), metric="dot")
    vectors = rng.standard_normal((3, 4)).astype(F32)
    with pytest.raises(ValueError, match="idxs: expected 3, one for each embedding, got 2"):
        backend.add_documents(vectors, ["a", "b"])
    backend.add_documents(vectors, ["a", "b", "c"])
    with pytest.raises(ValueError, match="top_ranked goes with query_idx_to_id"):
        backend.search(vectors[:1], 1, top_ranked={})
    with pytest.raises(KeyError, match=r"top_ranked: not in the corpus: x \(1 in all\)"):
        backend.search(vectors[:1], 1, top_ranked={"q": ["a", "x"]}, query_idx_to_id={0: "q"})


def test_what_searches_refuse(colbert: ColBERT, bi: Any) -> None:
    with pytest.raises(TypeError, match=r"model: expected a tercet.models.ColBERT, .*, got BiEncoder"):
        MultiVectorSearch(BiEncoder())
    with pytest.raises(TypeError, match="got SentenceTransformerEncoderWrapper"):
        MultiVectorSearch(bi)
    with pytest.raises(TypeError, match=r"model: expected a tercet.models.BiEncoder, .*, got ColBERT"):
        VectorSearch(colbert)
    with pytest.raises(TypeError, match="unexpected keyword argument 'n'"):
        VectorSearch(bi, partial(tercet.HNSWIndex, n=8))
    with pytest.raises(ValueError, match="codec: expected one of"):
        MultiVectorSearch(colbert, codec="int3")  # type: ignore[arg-type]

    class Unknown(LocalReranking):
        def top_ranked(self, documents: Any, grades: Any) -> Any:
            return {"1": ["nowhere"]}

    for model in (MultiVectorSearch(colbert), VectorSearch(bi)):
        task = Unknown()
        with pytest.raises(KeyError, match="top_ranked: not in the corpus: nowhere"):
            run(model, task)
