"""The reranker in searches of a real LanceDB table on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import DIM, BagOfWords, LongestFirst, WordVectors
from integrations.test_examples import installed

if not installed("lancedb"):
    pytest.skip("needs lancedb", allow_module_level=True)
import lancedb
import pyarrow as pa
from lancedb.index import FTS

import tercet
from tercet.integrations.lancedb import Reranker

TEXTS = [
    "iron deficiency anaemia",
    "iron",
    "anaemia of long duration in adults",
    "rickets and vitamin d",
    "scurvy",
    "vitamin c and iron against anaemia in children",
    None,
]


class Late(WordVectors):
    """A late-interaction model as ColBERT is one: it scores texts, too."""

    def encode_query(self, texts: Any) -> Any:
        return super().encode_query([texts] if isinstance(texts, str) else texts)

    encode_document = encode_query

    def score(self, query: str, texts: Any) -> Any:
        return tercet.maxsim(self.encode_query(query), self.encode_document(texts))[0]


@pytest.fixture
def table(tmp_path: Path) -> Any:
    texts = [text or "" for text in TEXTS]
    tokens = [np.asarray(rows).tolist() for rows in Late().encode_document(texts)]
    made = lancedb.connect(tmp_path).create_table(
        "notes",
        pa.table(
            {
                "id": list(range(len(TEXTS))),
                "text": TEXTS,
                "vector": pa.array(BagOfWords().encode_document(texts).tolist(), pa.list_(pa.float32(), DIM)),
                "tokens": pa.array(tokens, pa.list_(pa.list_(pa.float32(), DIM))),
            }
        ),
    )
    made.create_index("text", config=FTS())
    return made


def near(table: Any, query: str) -> Any:
    """A vector search, as far as it goes before it is reranked."""
    return table.search(BagOfWords().encode_query([query])[0], vector_column_name="vector")


def expected(model: Any, query: str, ids: list[int]) -> list[tuple[int, Any]]:
    scores = model.score(query, [TEXTS[i] or "" for i in ids])
    order = np.argsort(-scores, kind="stable").tolist()
    return [(ids[i], pytest.approx(float(scores[i]), abs=1e-6)) for i in order]


def ranking(found: Any) -> list[tuple[int, float]]:
    assert found["_relevance_score"].type == pa.float32()
    return list(zip(found["id"].to_pylist(), found["_relevance_score"].to_pylist(), strict=True))


@pytest.mark.parametrize("model", [Late(), LongestFirst()])
def test_vector_search(table: Any, model: Any) -> None:
    query = "iron anaemia"
    plain = near(table, query).limit(5).to_arrow()
    found = near(table, query).limit(5).rerank(Reranker(model), query_string=query).to_arrow()
    assert ranking(found) == expected(model, query, plain["id"].to_pylist())
    assert "_distance" not in found.column_names
    everything = near(table, query).limit(7).rerank(Reranker(model, return_score="all"), query).to_arrow()
    assert len(everything) == 7  # the row without a text, too
    assert {"_distance", "_relevance_score"} <= {*everything.column_names}


def test_full_text_search(table: Any) -> None:
    plain = table.search("iron", query_type="fts").limit(5).to_arrow()
    assert len(plain) == 3
    found = table.search("iron", query_type="fts").limit(5).rerank(Reranker(LongestFirst())).to_arrow()
    assert ranking(found) == expected(LongestFirst(), "iron", plain["id"].to_pylist())
    assert "_score" not in found.column_names


def hybrid(table: Any, query: str, reranker: Any) -> Any:
    search = table.search(query_type="hybrid", vector_column_name="vector")
    search = search.vector(BagOfWords().encode_query([query])[0]).text(query)
    return search.limit(4).rerank(reranker).to_arrow()


def test_hybrid_search(table: Any) -> None:
    query = "vitamin"
    neighbours = near(table, query).limit(4).to_arrow()["id"].to_pylist()
    words = table.search(query, query_type="fts").limit(4).to_arrow()
    scores = dict(zip(words["id"].to_pylist(), words["_score"].to_pylist(), strict=True))
    found = hybrid(table, query, Reranker(Late()))
    best = expected(Late(), query, list(dict.fromkeys([*neighbours, *scores])))[:4]
    assert ranking(found) == best
    assert not {"_score", "_distance"} & {*found.column_names}
    every = hybrid(table, query, Reranker(Late(), return_score="all"))
    assert ranking(every) == best
    assert every["_score"].to_pylist() == [
        None if i not in scores else pytest.approx(scores[i]) for i, _ in best
    ]
    assert every.schema.field("tokens").type == table.schema.field("tokens").type
    assert set(scores) & set(neighbours) & {i for i, _ in best}, "expected a row that both searches find"


def test_stored_token_vectors(table: Any) -> None:
    query = "iron anaemia"

    class Queries(Late):
        def score(self, query: str, texts: Any) -> Any:
            raise AssertionError("no text is read")

    search = near(table, query).limit(7)
    found = search.rerank(Reranker(Queries(), column="tokens"), query_string=query).to_arrow()
    plain = near(table, query).limit(7).to_arrow()["id"].to_pylist()
    assert ranking(found) == expected(Late(), query, plain)


def test_nothing_found(table: Any) -> None:
    for model in (Late(), LongestFirst()):
        found = table.search("unheard", query_type="fts").rerank(Reranker(model)).to_arrow()
        assert ranking(found) == []
    both = hybrid(table, "unheard", Reranker(LongestFirst()))
    assert len(both) == 4  # of the vector search


def test_equal_scores_stay_in_order(table: Any) -> None:
    class Same:
        def score(self, query: str, texts: Any) -> Any:
            return np.zeros(len(texts), np.float32)

    plain = near(table, "iron").limit(7).to_arrow()["id"].to_pylist()
    found = near(table, "iron").limit(7).rerank(Reranker(Same()), query_string="iron").to_arrow()
    assert found["id"].to_pylist() == plain


def test_what_is_refused(table: Any) -> None:
    with pytest.raises(TypeError, match="expected an object such as"):
        Reranker("a model")  # type: ignore[arg-type]

    def searched(reranker: Any) -> Any:
        return near(table, "iron").select(["id", "text", "tokens"]).rerank(reranker, "iron").to_arrow()

    with pytest.raises(KeyError, match=r"column 'body': the results have id, text, tokens"):
        searched(Reranker(LongestFirst(), column="body"))
    with pytest.raises(TypeError, match=r"column 'id': expected texts, .*, got int64"):
        searched(Reranker(Late(), column="id"))
    with pytest.raises(TypeError, match=r"column 'tokens': expected texts, or with a ColBERT"):
        searched(Reranker(LongestFirst(), column="tokens"))
