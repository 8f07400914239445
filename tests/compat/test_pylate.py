"""The index for PyLate: called as PyLate's retriever, reranker and examples call one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tercet
from tercet import FlatIndex, MultiVectorIndex
from tercet.compat import pylate

F32 = np.float32
DIM = 8


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "indexes")


def embeddings(rng: np.random.Generator, *lengths: int) -> list[Any]:
    rows = [rng.standard_normal((n, DIM)).astype(F32) for n in lengths]
    return [r / np.linalg.norm(r, axis=1, keepdims=True) for r in rows]


def filled(
    folder: str, rng: np.random.Generator, **options: Any
) -> tuple[pylate.Index, list[str], list[Any]]:
    names, documents = [f"d{i}" for i in range(12)], embeddings(rng, *range(1, 13))
    index = pylate.Index(folder, "x", **options)
    assert index.add_documents(documents_ids=names, documents_embeddings=documents) is index
    return index, names, documents


def expected(queries: list[Any], documents: list[Any], names: list[str], k: int) -> list[list[str]]:
    scores = tercet.maxsim(queries, documents)
    return [[names[i] for i in np.argsort(-row, kind="stable")[:k]] for row in scores]


def retrieve(index: Any, queries: Any, k: int = 10, subset: Any = None) -> Any:
    """What retrieve.ColBERT does with an index of final answers."""
    assert index.is_end_to_end_index
    return index(queries_embeddings=queries, k=k, subset=subset)


def rerank(documents_ids: Any, queries: Any, documents: Any) -> list[list[str]]:
    """What rank.rerank does with embeddings: one list of arrays [tokens, dim] for each query."""
    torch = pytest.importorskip("torch")
    ranked = []
    for query, ids, parts in zip(queries, documents_ids, documents, strict=True):
        padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(p) for p in parts], batch_first=True)
        scores = torch.einsum("sh,dth->dst", torch.as_tensor(query), padded).max(-1).values.sum(-1)
        ranked.append([ids[i] for i in torch.argsort(scores, descending=True, stable=True).tolist()])
    return ranked


@pytest.mark.parametrize("codec", ["float32", "int8"])
def test_retrieves(codec: Any, folder: str, rng: np.random.Generator) -> None:
    index, names, documents = filled(folder, rng, codec=codec)
    queries = embeddings(rng, 4, 1, 7)
    results = retrieve(index, queries, k=3)
    want = expected(queries, index.get_documents_embeddings([names])[0], names, 3)
    if codec == "float32":
        assert want == expected(queries, documents, names, 3)
        assert [[hit["id"] for hit in query] for query in results] == want
    for query in results:
        assert [set(hit) for hit in query] == [{"id", "score"}] * 3
        assert all(type(hit["id"]) is str and type(hit["score"]) is float for hit in query)
        assert [hit["score"] for hit in query] == sorted((hit["score"] for hit in query), reverse=True)
    assert len(retrieve(index, queries[0])) == 1  # one query
    assert len(retrieve(index, np.stack(embeddings(rng, 3, 3)), k=100)[1]) == 12


def test_tensors(folder: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    documents, query = embeddings(rng, 3, 5), embeddings(rng, 2)
    index = pylate.Index(folder, codec="float32")
    index.add_documents(["a", "b"], [torch.from_numpy(d) for d in documents], batch_size=1)
    index.add_documents("c", torch.from_numpy(documents[0]).half())
    assert len(retrieve(index, [torch.from_numpy(query[0])])[0]) == 3
    assert retrieve(index, torch.from_numpy(query[0])) == retrieve(index, query)


def test_subsets(folder: str, rng: np.random.Generator) -> None:
    index, *_ = filled(folder, rng)
    queries = embeddings(rng, 2, 3)

    def ids(subset: Any) -> list[set[Any]]:
        return [{hit["id"] for hit in query} for query in retrieve(index, queries, subset=subset)]

    assert ids(["d1", "d5", "nobody"]) == [{"d1", "d5"}] * 2
    assert ids([["d1"], ["d2", "d3"]]) == [{"d1"}, {"d2", "d3"}]
    assert ids([]) == [set(), set()]
    with pytest.raises(ValueError, match="filter: expected one for each of 2 queries, got 3"):
        ids([["d1"], ["d2"], ["d3"]])


def test_embeddings_go_to_the_reranker(folder: str, rng: np.random.Generator) -> None:
    index, names, documents = filled(folder, rng, codec="float32")
    queries = embeddings(rng, 4, 2)
    groups = [["d3", "d0", "d3"], ["d7", "d1"]]
    stored = index.get_documents_embeddings(groups)
    assert np.array_equal(stored[0][2], documents[3])
    want = [
        [name for name in expected([q], documents, names, 12)[0] if name in g]
        for q, g in zip(queries, groups, strict=True)
    ]
    assert [list(dict.fromkeys(r)) for r in rerank(groups, queries, stored)] == want
    assert index.get_documents_embeddings([[], ["d0"]])[0] == []
    with pytest.raises(KeyError, match="nobody"):
        index.get_documents_embeddings([["d0", "nobody"]])


def test_changes_are_in_the_file(folder: str, rng: np.random.Generator) -> None:
    index, names, _ = filled(folder, rng, codec="float32")

    def stored() -> dict[str, Any]:
        again = pylate.Index(folder, "x")
        assert again.index is not None
        return dict(zip(again.index.ids, again.index.get(again.index.ids), strict=True))

    assert stored().keys() == set(names)
    new = embeddings(rng, 2, 2)
    assert index.update_documents(["d0", "more"], new) is index
    assert np.array_equal(stored()["d0"], new[0])
    assert np.array_equal(stored()["more"], new[1])
    assert index.remove_documents(["d1", "d2"]) is index
    index.remove_documents("d3")
    assert stored().keys() == {*names, "more"} - {"d1", "d2", "d3"}
    with pytest.raises(KeyError, match="d1"):
        index.remove_documents(["d0", "d1"])
    assert "d0" in stored()
    plain = tercet.open(Path(folder, "x", "index.tercet"))
    assert isinstance(plain, MultiVectorIndex)
    assert plain.codec == "float32"


def test_integer_ids(folder: str, rng: np.random.Generator) -> None:
    index = pylate.Index(folder)
    index.add_documents(documents_ids=range(3), documents_embeddings=embeddings(rng, 1, 2, 3))
    index.add_documents(documents_ids=range(3, 5), documents_embeddings=embeddings(rng, 1, 2))
    results = retrieve(index, embeddings(rng, 2), k=9)
    assert sorted(hit["id"] for hit in results[0]) == [0, 1, 2, 3, 4]
    assert all(type(hit["id"]) is int for hit in results[0])


def test_override(folder: str, rng: np.random.Generator) -> None:
    filled(folder, rng, codec="int8")
    assert pylate.Index(folder, "other").index is None
    with pytest.raises(ValueError, match=r"codec 'int4', but it holds MultiVectorIndex\(dim=8, codec='int8'"):
        pylate.Index(folder, "x", codec="int4")
    fresh = pylate.Index(index_folder=folder, index_name="x", override=True, codec="int4")
    assert fresh.index is None
    for call in (lambda: fresh(embeddings(rng, 1)), lambda: fresh.remove_documents(["d0"])):
        with pytest.raises(ValueError, match="the index is empty; add_documents comes first"):
            call()
    fresh.add_documents(["a"], embeddings(rng, 2))
    assert fresh.index is not None
    assert fresh.index.codec == "int4"
    assert "size=1" in repr(fresh)


@pytest.mark.parametrize("first", [True, False])
def test_what_could_not_be_written_did_not_happen(
    first: bool, folder: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = pylate.Index(folder, "x") if first else filled(folder, rng)[0]
    held = 0 if first else 12

    def full(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(MultiVectorIndex, "save", full)
        with pytest.raises(OSError, match="no space"):
            index.add_documents(["new"], embeddings(rng, 2))
        if not first:
            with pytest.raises(OSError, match="no space"):
                index.remove_documents(["d0"])
    assert (0 if index.index is None else len(index.index)) == held
    index.add_documents(["new"], embeddings(rng, 2))
    assert pylate.Index(folder, "x").index is not None
    assert len(retrieve(index, embeddings(rng, 2), k=100)[0]) == held + 1


def test_bad_calls(folder: str, rng: np.random.Generator, tmp_path: Path) -> None:
    index, *_ = filled(folder, rng)
    for call, error, message in (
        (lambda: index.add_documents(["a"], embeddings(rng, 1, 2)), ValueError, "ids: expected 2"),
        (lambda: index.add_documents([1], embeddings(rng, 1)), TypeError, "str ids, got int"),
        (
            lambda: index.add_documents(["a"], [np.ones((1, 3), F32)]),
            ValueError,
            "expected 8 dimensions, got 3",
        ),
        (lambda: index.add_documents(["a"], [np.ones((1, 8))]), TypeError, "documents_embeddings: .*float64"),
        (lambda: index([np.ones((1, 3), F32)]), ValueError, "expected 8 dimensions, got 3"),
        (lambda: index(embeddings(rng, 1), k=0), ValueError, "k: expected at least 1"),
        (lambda: pylate.Index(folder, codec="int3"), ValueError, "codec: expected one of"),  # type: ignore[arg-type]
        (lambda: pylate.Index(folder, num_threads=0), ValueError, "threads: expected 1"),
    ):
        with pytest.raises(error, match=message):
            call()
    FlatIndex(3).save(Path(folder, "x", "index.tercet"))
    with pytest.raises(ValueError, match="expected a MultiVectorIndex, got FlatIndex"):
        pylate.Index(folder, "x")
