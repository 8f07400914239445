"""Chains of stages: depths, when the last one stops, and what a retriever makes of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tercet
from fakes import BagOfWords, LongestFirst, WordVectors
from tercet import Retriever
from tercet.chain import BATCH, Stopping, check_depths, ordered

DOCS = [{"_id": f"d{i}", "text": f"word{i % 7} common " + "x" * (1 + i * 37 % 101)} for i in range(120)]


class Recording:
    """A reranker that remembers what it read."""

    def __init__(self, score: Callable[[str], float]) -> None:
        self._score = score
        self.calls: list[int] = []

    def score(self, query: str, texts: Any) -> Any:
        self.calls.append(len(texts))
        return np.array([self._score(text) for text in texts], np.float32)


@pytest.fixture
def single(tmp_path: Path) -> Any:
    with Retriever.create(tmp_path / "single", encoder=BagOfWords()) as r:
        r.add(DOCS)
        yield r


@pytest.fixture
def multi(tmp_path: Path) -> Any:
    with Retriever.create(
        tmp_path / "multi", encoder=WordVectors("words"), kind="multi", codec="float32"
    ) as r:
        r.add(DOCS)
        yield r


def slowly(scores: Sequence[float], k: int, stopping: Stopping) -> int:
    """How many are read, by the words of the documentation."""
    read = min(len(scores), max(k, stopping.least))
    while read < len(scores):
        batch = scores[read : read + BATCH]
        read += len(batch)
        kth = sorted(scores[:read], reverse=True)[k - 1]
        if max(batch) < kth - stopping.margin:
            return read
    return read


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("least", [1, 10, 33, 200])
def test_it_stops_where_it_says(rng: np.random.Generator, margin: float, least: int) -> None:
    stops = 0
    for decay in (0.0, 0.01, 0.05):
        for k in (1, 5, 10):
            values = (rng.random(100) - decay * np.arange(100)).astype(np.float32)
            read = ordered(list(range(100)), lambda part, v=values: v[part], k, Stopping(least, margin))
            expected = slowly(values.tolist(), k, Stopping(least, margin))
            assert len(read) == expected
            stops += expected < 100
            assert sorted(i for i, _ in read) == list(range(expected))  # the first, no others
            assert [s for _, s in read] == sorted((values[i] for i, _ in read), reverse=True)
    assert stops or margin == 2.0 or least == 200


def test_equal_scores_stay_in_order() -> None:
    read = ordered("abcdef", lambda part: [1.0 if c in "ce" else 0.0 for c in part], 3)
    assert "".join(c for c, _ in read) == "ceabdf"
    assert ordered("", lambda part: 1 / 0, 3) == []


def test_depths() -> None:
    assert check_depths(5, 3) == [5, 5, 5]
    assert check_depths((9, 9, 2), 3) == [9, 9, 2]
    for wrong, error in (([1, 2], "at most what the one before"), ([3], "or 2, one"), ([3, 0], "least 1")):
        with pytest.raises(ValueError, match=error):
            check_depths(wrong, 2)
    with pytest.raises(TypeError, match="depth"):
        check_depths(2.5, 2)


def test_single_late_cross_in_one_call(single: Retriever, multi: Retriever) -> None:
    query, k = "word3 xxx", 4
    cross = Recording(lambda text: -len(text))
    hits = single.search(query, k, rerank=[multi, cross], depth=[30, 12])
    assert cross.calls == [12]
    # By hand: the best 30 of the one, the best 12 of them by MaxSim, the shortest 4 of those
    first = [hit.id for hit in single.search(query, 30)]
    maxsim = {hit.id: hit.score for hit in multi.search(query, len(DOCS))}
    second = sorted(first, key=lambda i: -maxsim[i])[:12]
    texts = {d["_id"]: d["text"] for d in DOCS}
    third = sorted(second, key=lambda i: len(texts[str(i)]))[:k]
    assert [hit.id for hit in hits] == third
    assert [hit.score for hit in hits] == [-len(texts[str(i)]) for i in third]
    late = single.search(query, k, rerank=multi, depth=30)
    assert [hit.id for hit in late] == second[:k]
    assert [hit.score for hit in late] == pytest.approx([maxsim[i] for i in second[:k]])


def test_stored_vectors_have_to_be_there(single: Retriever, multi: Retriever) -> None:
    multi.remove(["d5"])
    with pytest.raises(KeyError, match="'d5'"):
        single.search("word5", rerank=multi, depth=200)
    assert single.search("word5", 3, rerank=multi, depth=200, filter=["d1", "d2"])


def test_several_queries_are_each_ranked(single: Retriever, multi: Retriever) -> None:
    queries = ["word1 x", "word2"]
    together = single.search(queries, 3, rerank=[multi, LongestFirst()], depth=20, stop_margin=0.0)
    alone = [single.search(q, 3, rerank=[multi, LongestFirst()], depth=20, stop_margin=0.0) for q in queries]
    assert together == alone


def test_stopping_reads_less_and_returns_what_it_read(single: Retriever) -> None:
    order = {hit.text: place for place, hit in enumerate(single.search("word3", len(DOCS)))}
    cross = Recording(lambda text: -order[text] / 100)  # agrees with the first stage
    everything = single.search("word3", 5, rerank=cross, depth=100)
    assert cross.calls == [100]
    cross.calls.clear()
    assert single.search("word3", 5, rerank=cross, depth=100, stop_margin=0.0) == everything
    assert cross.calls == [5, 16]
    cross.calls.clear()
    assert single.search("word3", 5, rerank=cross, depth=100, stop_margin=0.0, min_depth=20) == everything
    assert cross.calls == [20, 16]
    cross.calls.clear()
    assert single.search("word3", 5, rerank=cross, depth=100, stop_margin=0.4) == everything
    # The 5th has -0.04, so a batch must begin behind -0.44: not those from 5, 21, 37, but that from 53 on
    assert cross.calls == [5, 16, 16, 16, 16]


def test_an_infinite_margin_is_none(single: Retriever) -> None:
    cross = Recording(lambda text: float(hash(text) % 1000))
    full = single.search("word3", 5, rerank=cross, depth=60)
    assert single.search("word3", 5, rerank=cross, depth=60, stop_margin=math.inf) == full
    assert cross.calls == [60, 60]
    # A margin beyond all scores reads all too, in batches
    assert single.search("word3", 5, rerank=cross, depth=60, stop_margin=1e6) == full
    assert sum(cross.calls) == 180


def test_only_the_last_stage_stops(single: Retriever) -> None:
    first, last = Recording(lambda text: 1.0), Recording(lambda text: -1.0)
    single.search("word3", 2, rerank=[first, last], depth=40, stop_margin=0.0)
    assert first.calls == [40]
    assert sum(last.calls) == 40  # equal scores are never below the k-th


def test_arguments(single: Retriever) -> None:
    cross = LongestFirst()
    for arguments, message in (
        ({"stop_margin": 0.1}, "stop_margin goes with rerank"),
        ({"rerank": cross, "min_depth": 5}, "min_depth goes with stop_margin"),
        ({"rerank": cross, "min_depth": 101, "stop_margin": 0}, "expected at most depth, 100, got 101"),
        ({"rerank": cross, "stop_margin": -1}, "stop_margin: expected at least 0, got -1"),
        ({"rerank": cross, "stop_margin": math.nan}, "stop_margin: expected at least 0, got nan"),
        ({"rerank": [cross, cross], "depth": [5, 6]}, "at most what the one before did"),
        ({"rerank": [cross], "depth": [5, 6]}, "one number, or 1"),
    ):
        with pytest.raises(ValueError, match=message):
            single.search("a", **arguments)
    with pytest.raises(TypeError, match="stop_margin: expected a number, got str"):
        single.search("a", rerank=cross, stop_margin="much")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="rerank: expected an object"):
        single.search("a", rerank=[cross, BagOfWords()])  # type: ignore[list-item]
    assert len(single.search("a", 2, rerank=[])) == 2


@pytest.mark.models
def test_models_chain(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    import toy
    from tercet.models import BiEncoder, ColBERT, CrossEncoder

    bi = BiEncoder(toy.bi_encoder(tmp_path), device="cpu")
    late = ColBERT(toy.stanford(tmp_path / "late"), device="cpu")
    cross = CrossEncoder(toy.cross_encoder(tmp_path / "cross"), device="cpu", precision="float32")
    texts = [" ".join(toy.WORDS.split()[i : i + 4]) for i in range(15)]
    query = "what is the capital of france?"
    scores = late.score(query, texts)
    assert scores.dtype == np.float32
    expected = tercet.maxsim(late.encode_query(query), late.encode_document(texts))[0]
    np.testing.assert_array_equal(scores, expected)
    assert late.score(query, []).shape == (0,)
    with Retriever.create(tmp_path / "r", encoder=bi) as r:
        r.add(texts)
        hits = r.search(query, 3, rerank=[late, cross], depth=[10, 5])
        first = [int(hit.id) for hit in r.search(query, 10)]
        second = sorted(first, key=lambda i: -scores[i])[:5]
        judged = dict(zip(second, cross.score(query, [texts[i] for i in second]).tolist(), strict=True))
        assert [hit.id for hit in hits] == sorted(second, key=lambda i: -judged[i])[:3]
        full = r.search(query, 3, rerank=cross, depth=15)
        assert [hit.id for hit in r.search(query, 3, rerank=cross, depth=15, stop_margin=1.0)] == [
            hit.id for hit in full
        ]
