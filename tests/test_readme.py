"""The recipe of the README, and what it promises: that an index ranks as the encoder itself does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import sentence_transformers as st
import torch

import tercet
import toy

README = Path(__file__).parent.parent / "README.md"
pytestmark = pytest.mark.models
TEXTS = [*toy.DOCUMENTS, *(" ".join(toy.WORDS.split()[i : i + n]) for i in range(12) for n in (3, 6))]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return st.MultiVectorEncoder(str(toy.stanford(tmp_path_factory.mktemp("toy"))), device="cpu")


@pytest.mark.skipif(not README.is_file(), reason="needs the source tree")
def test_the_recipe_runs(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (recipe,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
        if "MultiVectorEncoder(" in block
    ]
    assert len([line for line in recipe.splitlines() if line]) <= 11
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(st, "MultiVectorEncoder", lambda name: model)
    names: dict[str, Any] = {}
    exec(recipe, names)
    assert "Hit(id='a" in capsys.readouterr().out
    order = np.argsort(-model.similarity(names["queries"], names["docs"]).numpy()[0])
    assert names["hits"].ids[0, :2].tolist() == [["a1", "a2"][i] for i in order]
    assert tercet.open("papers.tercet").ids.tolist() == ["a1", "a2"]


@pytest.mark.parametrize("codec", ["float32", "bfloat16"])
def test_ranks_as_the_encoder_does(codec: Any, model: Any) -> None:
    queries, docs = model.encode_query(toy.QUERIES), model.encode_document(TEXTS)
    if codec == "bfloat16":  # the codec's rounding is the tensors' own, so that all else has to agree
        queries, docs = ([t.bfloat16() for t in tensors] for tensors in (queries, docs))
    index = tercet.MultiVectorIndex(toy.DIM, codec=codec)
    index.add(docs)
    hits = index.search(queries, len(TEXTS))
    own = model.similarity([q.float() for q in queries], [d.float() for d in docs]).numpy()
    assert np.sort(hits.ids, axis=1).tolist() == [list(range(len(TEXTS)))] * len(toy.QUERIES)
    ranked = np.take_along_axis(own, hits.ids, 1)
    np.testing.assert_allclose(hits.scores, ranked, rtol=1e-5)
    assert (np.diff(ranked) <= 1e-5 * np.abs(ranked[:, 1:])).all()  # but where the two round differently
    best = st.util.maxsim([q.float() for q in queries], [d.float() for d in docs]).argmax(1)
    assert torch.equal(best, torch.from_numpy(hits.ids[:, 0]))
