"""The backends behind a real ``Embeddings``: txtai indexes, changes, saves and searches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import DIM, BagOfWords
from integrations.test_examples import installed

if not installed("txtai"):
    pytest.skip("needs txtai", allow_module_level=True)
from txtai import Embeddings

import tercet

# An archive's files lie where txtai leaves the cleaning up to the interpreter
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
F32 = np.float32
MODULE = "tercet.integrations.txtai"
BACKENDS = [f"{MODULE}.Flat", f"{MODULE}.HNSW"]


def vectors(rng: np.random.Generator, n: int) -> Any:
    return rng.standard_normal((n, DIM)).astype(F32)


def rows(values: Any, start: int = 0) -> list[Any]:
    return [(f"d{start + i}", value, None) for i, value in enumerate(values)]


def made(backend: str, **settings: Any) -> Any:
    return Embeddings({"method": "external", "backend": backend, backend: settings})


def best(values: Any, query: Any, k: int, without: Any = ()) -> list[tuple[str, float]]:
    """The truth: cosines of all."""
    scores = (values @ query) / np.linalg.norm(values, axis=1) / np.linalg.norm(query)
    order = [i for i in np.argsort(-scores, kind="stable").tolist() if f"d{i}" not in without]
    return [(f"d{i}", pytest.approx(float(scores[i]), abs=1e-5)) for i in order[:k] if scores[i] > 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_index_upsert_delete_save_load(backend: str, rng: np.random.Generator, tmp_path: Path) -> None:
    values, query = vectors(rng, 60), vectors(rng, 1)[0]
    embeddings = made(backend)
    embeddings.index(rows(values[:40]))
    assert embeddings.count() == 40
    assert embeddings.search(query, 5) == best(values[:40], query, 5)
    embeddings.upsert(rows(values[40:], 40))
    assert embeddings.search(query, 5) == best(values, query, 5)
    gone = [id for id, _ in embeddings.search(query, 3)]
    assert sorted(embeddings.delete([*gone, "unknown"])) == sorted(gone)
    assert embeddings.count() == 57
    assert embeddings.search(query, 5) == best(values, query, 5, gone)
    for name in ("folder", "archive.tar.gz"):
        embeddings.save(str(tmp_path / name))
        loaded = Embeddings()
        loaded.load(str(tmp_path / name))
        assert loaded.count() == 57
        assert loaded.search(query, 5) == best(values, query, 5, gone)
        loaded.upsert(rows(vectors(rng, 2), 60))
        assert loaded.count() == 59
    assert len(tercet.open(tmp_path / "folder" / "embeddings")) == 57


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_id_that_comes_again_replaces_its_vector(backend: str, rng: np.random.Generator) -> None:
    values = vectors(rng, 10)
    embeddings = made(backend)
    embeddings.index(rows(values))
    new = vectors(rng, 1)[0]
    embeddings.delete(["d3"])
    embeddings.upsert([("d3", new, None)])
    assert embeddings.count() == 10
    assert embeddings.search(new, 1) == [("d3", pytest.approx(1.0, abs=1e-5))]


def test_texts_and_content() -> None:
    def transform(texts: Any) -> Any:
        return BagOfWords().encode_document(texts)

    embeddings = Embeddings(method="external", transform=transform, backend=BACKENDS[1], content=True)
    embeddings.index(["red fox", "blue whale", "green parrot"])
    assert [found["text"] for found in embeddings.search("whale", 1)] == ["blue whale"]
    assert embeddings.search("select id from txtai where similar('fox')", 1) == [{"id": "0"}]
    embeddings.delete([0, 1, 2])
    assert embeddings.search("fox", 3) == []


def test_settings(rng: np.random.Generator, tmp_path: Path) -> None:
    values = vectors(rng, 30)
    flat = made(BACKENDS[0], codec="int8", rescore="float32", search={"exact": True}, mmap=True)
    flat.index(rows(values))
    index = flat.ann.backend
    assert (index.codec, index.rescore) == ("int8", "float32")
    assert flat.search(values[7], 1) == [("d7", pytest.approx(1.0, abs=1e-5))]
    flat.save(str(tmp_path / "x"))
    loaded = Embeddings()
    loaded.load(str(tmp_path / "x"))
    assert loaded.search(values[7], 4) == flat.search(values[7], 4)
    graph = made(BACKENDS[1], m=5, search={"ef": 0})
    graph.index(rows(values))
    assert graph.ann.backend.m == 5
    assert graph.config["build"]["settings"] == {"m": 5, "kind": "HNSWIndex"}
    with pytest.raises(ValueError, match="ef: expected at least 1"):
        graph.search(values[0], 1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({BACKENDS[0]: {"m": 5}}, "unexpected keyword argument 'm'"),
        ({BACKENDS[0]: {"codec": "int3"}}, "codec: expected one of"),
        ({"quantize": 4}, "quantize: expected none, codec= does that here, got 4"),
        ({"quantize": True}, "quantize: expected none, codec= does that here, got True"),
    ],
)
def test_bad_settings_are_named(config: dict[str, Any], message: str, rng: np.random.Generator) -> None:
    embeddings = Embeddings({"method": "external", "backend": BACKENDS[0], **config})
    with pytest.raises((ImportError, TypeError, ValueError)) as e:
        embeddings.index(rows(vectors(rng, 3)))
    assert message in f"{e.value} {e.value.__cause__}"


def test_an_index_of_another_kind_is_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    embeddings = made(BACKENDS[0])
    embeddings.index(rows(vectors(rng, 3)))
    embeddings.save(str(tmp_path))
    tercet.MultiVectorIndex(DIM).save(tmp_path / "embeddings")
    with pytest.raises(ValueError, match="expected a FlatIndex, got 'MultiVectorIndex'"):
        Embeddings().load(str(tmp_path))
