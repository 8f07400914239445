"""Calibration of candidates: what is measured, what is kept, and for how long."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tercet
from clustered_texts import DIM, filled, queries, texts
from levels import same_bits
from tercet import MultiVectorIndex, SegmentedIndex
from tercet.indexes import token_recall

TARGETS = (0.3, 0.9, 0.99, 1.0)


def part_found(index: Any, asked: Any, k: int, candidates: int) -> float:
    got = index.search(asked, k, candidates=candidates).ids.tolist()
    want = index.search(asked, k, exact=True).ids.tolist()
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(got, want, strict=True)]))


def steps(k: int, last: int) -> list[int]:
    found = [k]
    while found[-1] < last:
        found.append(min(found[-1] + max(1, found[-1] // 4), last))
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_the_smallest_that_reaches_it(target: float) -> None:
    index, asked = filled("int4"), queries(60, 3)
    for given in (None, asked):
        found = index.calibrate(target, 5, queries=given)
        assert index.estimate_recall(found, 5, queries=given) >= target
        for smaller in [step for step in steps(5, 600) if step < found]:
            assert index.estimate_recall(smaller, 5, queries=given) < target
        assert found in steps(5, 600)
        by_target = index.search(asked, 5, target_recall=target)
        assert same_bits(by_target.scores, index.search(asked, 5, candidates=found).scores)


def test_where_the_best_go_meanwhile_all_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    index = filled("int4")
    with monkeypatch.context() as changed:
        changed.setattr(token_recall, "_recall_of", lambda index, k, queries: lambda candidates: 0.4)
        assert index.calibrate(0.9) == len(index)
    assert index.calibrate(0.9) < len(index)  # found anew


def test_what_is_measured() -> None:
    index, asked = filled("int8"), queries(60, 3)
    for candidates in (10, 40, 600):
        assert index.estimate_recall(candidates, queries=asked) == pytest.approx(
            part_found(index, asked, 10, candidates)
        )
    assert index.estimate_recall(10) < index.estimate_recall(60) < index.estimate_recall(600) == 1
    # Without queries: tokens of documents, each looked for among the others.
    ids = np.linspace(0, 599, 128).astype(int).tolist()
    found = total = 0
    for id, tokens in zip(ids, index.get(ids), strict=True):
        if len(tokens) == 0:
            continue
        want = index.search(tokens, 10, exact=True, filter=[i for i in range(600) if i != id]).ids[0]
        got = [i for i in index.search(tokens, 11, candidates=31).ids[0].tolist() if i != id][:10]
        found += len(set(got) & set(want.tolist()))
        total += 10
    assert index.estimate_recall(30) == found / total
    assert 0.3 < found / total < 1


def test_long_documents_ask_with_some_of_their_tokens() -> None:
    index = MultiVectorIndex(DIM)
    index.add([np.concatenate([t for t in texts(20, i) if len(t)]) for i in range(5)])
    (asked,) = {len(tokens) for tokens in token_recall._sample(index)[1]}
    assert asked == 32


@pytest.mark.parametrize("size", [0, 1, 2, 7])
def test_of_few_documents(size: int) -> None:
    index = MultiVectorIndex(DIM)
    if size:
        index.add(texts(size, 0))
    assert index.estimate_recall(1) == 1
    assert index.calibrate(1.0) == 10
    assert index.search(queries(2, 1), 3, target_recall=0.5).ids.shape == (2, 3)
    index = MultiVectorIndex(DIM)
    index.add([np.empty((0, DIM), np.float32)] * 5)  # nothing to ask with
    assert index.calibrate(0.9) == 10


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The queries of every measurement."""
    calls: list[Any] = []
    real = token_recall._recall_of

    def count(index: Any, k: int, queries: Any) -> Any:
        calls.append(queries)
        return real(index, k, queries)

    monkeypatch.setattr(token_recall, "_recall_of", count)
    return calls


def test_how_long_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, index, asked = counted(monkeypatch), filled("residual2"), queries(20, 3)

    def search() -> int:
        index.search(asked, target_recall=0.9)
        return len(calls)

    assert (search(), search()) == (1, 1)
    index.search(asked, 9, target_recall=0.9)
    index.search(asked, target_recall=0.8)
    assert search() == 3  # for each k and each target
    index.add(texts(30, 4))
    index.remove(range(20))
    index.add(texts(11, 5), range(100, 111))
    assert search() == 3  # 61 of 610 have changed
    index.remove(20)
    assert search() == 4
    assert calls == [None] * 4
    index.calibrate(0.9, queries=asked)
    assert search() == 5
    index.add(texts(70, 6))
    assert search() == 6
    assert calls[5] is not None  # those that were given, again
    assert same_bits(calls[5].values, calls[4].values)
    index.search(asked, target_recall=0.9, exact=True)
    again = pickle.loads(pickle.dumps(index))
    assert len(calls) == 6
    again.search(asked, target_recall=0.9)
    assert len(calls) == 7


def test_lists_that_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer from before them is none for a search that uses them."""
    calls = counted(monkeypatch)
    index = MultiVectorIndex(DIM)
    index.add(texts(600, 2))
    assert index.calibrate(0.9) == 10
    index.train(texts(300, 1), centroids=32)
    assert index.calibrate(0.9) > 10
    assert len(calls) == 2


@pytest.mark.parametrize("target", TARGETS)
def test_of_segments(target: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates of each segment, of which three have lists."""
    calls, asked = counted(monkeypatch), queries(30, 3)
    book = tercet.train_codebook(texts(300, 1), codec="residual2", dim=DIM, centroids=32)
    with SegmentedIndex.create(tmp_path / "x", DIM, codec="residual2", codebook=book) as index:
        for i in range(3):
            index.add(texts(400, i), range(400 * i, 400 * i + 400))
            index.commit()
        index.add(texts(20, 7), range(2000, 2020))
        assert index.calibrate(target, 5) in steps(5, 1220)
    opened = SegmentedIndex.open(tmp_path / "x")
    for given in (None, asked):
        found = opened.calibrate(target, 5, queries=given)
        assert opened.estimate_recall(found, 5, queries=given) >= target
        assert all(opened.estimate_recall(s, 5, queries=given) < target for s in steps(5, 1220) if s < found)
    assert opened.estimate_recall(7, 5, queries=asked) == pytest.approx(part_found(opened, asked, 5, 7))
    calls.clear()
    got = opened.search(asked, 5, target_recall=target)
    assert same_bits(got.scores, opened.search(asked, 5, candidates=found).scores)
    with SegmentedIndex.open(tmp_path / "x", mode="r+") as index:
        index.remove(range(0, 100))
        index.commit()
        opened.refresh()
        opened.search(asked, 5, target_recall=target)
        assert calls == []  # a hundred of 1,120 documents are gone
        index.compact()
    opened.refresh()
    opened.search(asked, 5, target_recall=target)
    assert len(calls) == 1


def test_bad_arguments(tmp_path: Path) -> None:
    segments = SegmentedIndex.create(tmp_path / "x", DIM)
    segments.add(texts(30, 1))
    asked = queries(2, 0)
    for index in (filled("int8", 50), segments):
        with pytest.raises(ValueError, match="expected one of them, got both"):
            index.search(asked, candidates=20, target_recall=0.9)
        for wrong in (0, -1, 1.5, float("nan")):
            for use in (index.calibrate, lambda t, i=index: i.search(asked, target_recall=t)):
                with pytest.raises(ValueError, match="target_recall: expected a number above 0"):
                    use(wrong)
        with pytest.raises(TypeError, match="target_recall: expected a number, got str"):
            index.calibrate("0.9")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="target_recall: expected a number, got bool"):
            index.search(asked, target_recall=True)
        with pytest.raises(ValueError, match="candidates: expected at least 1"):
            index.estimate_recall(0)
        for use in (
            lambda q, i=index: i.calibrate(0.9, queries=q),
            lambda q, i=index: i.estimate_recall(9, queries=q),
        ):
            with pytest.raises(ValueError, match="queries: expected 16 dimensions, got 3"):
                use(np.ones((2, 3), np.float32))
            with pytest.raises(ValueError, match="no tokens"):
                use([np.empty((0, DIM), np.float32)])
