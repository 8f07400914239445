"""Vectors against sentence-transformers itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import sentence_transformers as st
import torch

import toy
from tercet.models import BiEncoder

pytestmark = pytest.mark.models


def test_biencoder_equals_sentence_transformers(bi, bi_path):
    reference = st.SentenceTransformer(str(bi_path), device="cpu")
    for ours, theirs, texts in (
        (bi.encode_query, reference.encode_query, toy.QUERIES),
        (bi.encode_document, reference.encode_document, toy.DOCUMENTS),
    ):
        vectors = ours(texts)
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(texts), bi.dim) == (len(texts), toy.HIDDEN)
        np.testing.assert_array_equal(vectors, theirs(texts, normalize_embeddings=True))
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert not np.allclose(bi.encode_query("hello"), bi.encode_document("hello"), atol=1e-3)  # the prompt


def test_biencoder_without_normalisation(tmp_path):
    path = toy.bi_encoder(tmp_path)
    pooled = st.SentenceTransformer(
        modules=list(st.SentenceTransformer(str(path), device="cpu"))[:2], device="cpu"
    )
    vectors = BiEncoder(pooled, normalize=False).encode_document(toy.DOCUMENTS)
    np.testing.assert_array_equal(vectors, pooled.encode(toy.DOCUMENTS))
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).min() > 0.1
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(BiEncoder(pooled).encode_document(toy.DOCUMENTS), vectors / lengths, atol=1e-6)


def test_a_single_text_is_a_batch_of_one_and_no_text_a_batch_of_none(bi):
    np.testing.assert_array_equal(bi.encode_query("hello world"), bi.encode_query(["hello world"]))
    assert bi.encode_document([]).shape == (0, toy.HIDDEN)
    assert bi.encode_document([]).dtype == np.float32
    assert np.isfinite(bi.encode_document(["", " ", "\n"])).all()


def test_order_is_kept_across_slabs(bi_path):
    texts = [
        " ".join(["hello", "city", "paris", "fast"][i % 4 :] * (1 + i % 5)) + f" {'a ' * i}"
        for i in range(50)
    ]
    small = BiEncoder(bi_path, device="cpu", batch_size=1)  # slabs of 16
    np.testing.assert_allclose(
        small.encode_document(iter(texts)), [small.encode_document(text)[0] for text in texts], atol=1e-6
    )


def test_texts_of_like_length_go_together(bi, bi_path, monkeypatch):
    monkeypatch.setattr("tercet.models.torch_runners.default_budget", lambda device, threads: 32)
    texts = [" ".join(["hello", "city", "paris"][: 1 + i % 3] * (1 + i % 7)) for i in range(40)]
    expected = st.SentenceTransformer(str(bi_path), device="cpu").encode_document(texts)
    shapes: list[tuple[int, int]] = []
    watch = bi.model[0].register_forward_pre_hook(lambda _, given: shapes.append(given[0]["input_ids"].shape))
    try:
        vectors, (both, tokens) = bi.encode_document(texts), bi.encode_both(texts)
    finally:
        watch.remove()
    assert sum(count for count, _ in shapes) == 2 * len(texts)
    assert all(count * width <= 32 or count == 1 for count, width in shapes)
    assert len({width for _, width in shapes}) > 3
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    np.testing.assert_allclose(both, expected, atol=1e-6)
    for text, rows in zip(texts, tokens, strict=True):
        np.testing.assert_allclose(rows, bi.encode_both(text)[1][0], atol=1e-6)


def test_modules_of_ones_own_run(bi_path):
    class Weighted(torch.nn.Module):
        def forward(self, features):
            features["sentence_embedding"] = (
                features["sentence_embedding"] * features["attention_mask"].sum(1)[:, None]
            )
            return features

    plain = st.SentenceTransformer(str(bi_path), device="cpu")
    own = st.SentenceTransformer(modules=[*plain, Weighted()], device="cpu", prompts=plain.prompts)
    vectors = BiEncoder(own, normalize=False, batch_size=3).encode_document(toy.DOCUMENTS)
    np.testing.assert_allclose(vectors, own.encode_document(toy.DOCUMENTS), atol=1e-5)
    assert np.linalg.norm(vectors, axis=1).max() > 2


def test_a_static_embedding_has_no_length_limit():
    static = st.sentence_transformer.modules.StaticEmbedding(
        toy.tokenizer().backend_tokenizer, embedding_dim=8
    )
    model = BiEncoder(st.SentenceTransformer(modules=[static], device="cpu"))
    assert model.max_length is None
    json.dumps(model.fingerprint(), allow_nan=False)
    np.testing.assert_array_equal(model.encode_query(""), np.zeros((1, 8), np.float32))
