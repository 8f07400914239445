"""bfloat16 where it is asked for, float32 where it is not, and the same model either way."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch

import toy
from tercet import _core
from tercet.models import BiEncoder, ColBERT, CrossEncoder
from tercet.models.precision import choose_precision

pytestmark = pytest.mark.models


@pytest.mark.parametrize(
    ("wanted", "with_it", "without"),
    [
        (None, "float32", "float32"),
        ("auto", "bfloat16", "float32"),
        ("float32", "float32", "float32"),
        ("bfloat16", "bfloat16", "bfloat16"),
    ],
)
def test_the_processor_decides_if_it_may(wanted, with_it, without, bi, monkeypatch):
    for supported, expected in ((["avx512", "avx512_bf16"], with_it), (["avx512"], without)):
        monkeypatch.setattr(_core, "cpu_info", lambda supported=supported: {"supported": supported})
        assert choose_precision(wanted, bi.model) == expected


def test_a_model_that_cannot_runs_in_float32(bi, colbert, reranker, monkeypatch):
    def refuse(module, given):
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("Index put requires the source and destination dtypes match")

    monkeypatch.setattr(_core, "cpu_info", lambda: {"supported": ["avx512_bf16"], "threads": 1})
    for kind, made in ((BiEncoder, bi), (ColBERT, colbert), (CrossEncoder, reranker)):
        assert kind(made.model, precision="auto").precision == "bfloat16"
        handle = made.model.transformers_model.get_input_embeddings().register_forward_pre_hook(refuse)
        try:
            assert kind(made.model, precision="auto").precision == "float32"
            asked = kind(made.model, precision="bfloat16")
            with pytest.raises(RuntimeError, match="dtypes match"):
                asked.score("a", ["b"]) if kind is CrossEncoder else asked.encode_document(["b"])
        finally:
            handle.remove()


def test_an_accelerator_computes_in_what_its_weights_are():
    model = SimpleNamespace(device=torch.device("cuda", 0), dtype=torch.float16)
    assert choose_precision(None, model) == choose_precision("auto", model) == "float16"
    with pytest.raises(
        ValueError, match=r"precision: float32 on cuda:0, where the model computes in float16"
    ):
        choose_precision("float32", model)


def test_what_it_is_not(bi):
    with pytest.raises(ValueError, match=r"precision: expected 'auto', 'float32' or 'bfloat16', got 'int8'"):
        BiEncoder(bi.model, precision="int8")


def test_bfloat16_is_near_and_leaves_the_model_alone(bi, colbert, reranker):
    texts = toy.PAIRED
    half = BiEncoder(bi.model, precision="bfloat16")
    vectors, exact = half.encode_document(texts), bi.encode_document(texts)
    assert vectors.dtype == np.float32
    assert (vectors != exact).any()
    assert (vectors * exact).sum(axis=1).min() > 0.999
    tokens = ColBERT(colbert.model, precision="bfloat16").encode_document(texts)
    exact_tokens = colbert.encode_document(texts)
    assert (tokens.values != exact_tokens.values).any()
    assert (tokens.values * exact_tokens.values).sum(axis=1).min() > 0.999
    scores = CrossEncoder(reranker.model, precision="bfloat16").score("what is the capital?", texts)
    exact_scores = reranker.score("what is the capital?", texts)
    assert (scores != exact_scores).any()
    np.testing.assert_allclose(scores, exact_scores, atol=0.02)
    np.testing.assert_array_equal(half.encode_query(texts), bi.encode_query(texts))
    assert half.fingerprint() == bi.fingerprint()
    np.testing.assert_array_equal(bi.encode_document(texts), exact)


def test_it_is_named(reranker):
    assert repr(reranker).endswith("precision='float32')")
    assert "'bfloat16'" in repr(CrossEncoder(reranker.model, precision="bfloat16"))
