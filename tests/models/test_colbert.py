"""Token vectors against the Stanford-NLP specification and against sentence-transformers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import sentence_transformers as st
import torch
from safetensors.torch import load_file

import toy
from stanford import Stanford
from tercet.models import ColBERT

pytestmark = pytest.mark.models


@pytest.mark.parametrize("attend", [False, True])
@pytest.mark.parametrize("punctuation", [False, True])
def test_stanford_checkpoint_equals_its_specification(tmp_path, attend, punctuation):
    path = toy.stanford(tmp_path, attend_to_mask_tokens=attend, mask_punctuation=punctuation)
    model = ColBERT(path, device="cpu")
    encoder = model.model.transformers_model
    reference = Stanford(path, encoder)
    stored = load_file(path / "model.safetensors")
    for name, tensor in encoder.named_parameters():
        assert torch.equal(tensor, stored[f"bert.{name}"]), name
    for given, expected in (
        (model.encode_query(toy.QUERIES), [reference.query(text) for text in toy.QUERIES]),
        (model.encode_document(toy.DOCUMENTS), [reference.document(text) for text in toy.DOCUMENTS]),
    ):
        assert given.format == "float32"
        assert len(given) == len(expected)
        for rows, wanted in zip(given, expected, strict=True):
            assert rows.shape == wanted.shape
            np.testing.assert_allclose(rows, wanted, atol=1e-6)


def test_layouts_of_one_model_give_the_same_vectors(colbert, tmp_path):
    """Stanford-NLP, PyLate and sentence-transformers 6 differ in files, and in which markers the toy has."""
    pylate = ColBERT(toy.pylate(tmp_path / "pylate"), device="cpu")
    colbert.model.save_pretrained(str(tmp_path / "native"), create_model_card=False)
    native = ColBERT(tmp_path / "native", device="cpu")
    for kind in ("encode_query", "encode_document"):
        texts = toy.QUERIES if kind == "encode_query" else toy.DOCUMENTS
        first, second = getattr(colbert, kind)(texts), getattr(native, kind)(texts)
        np.testing.assert_array_equal(first.values, second.values)
        np.testing.assert_array_equal(first.offsets, second.offsets)
        np.testing.assert_array_equal(getattr(pylate, kind)(texts).offsets, first.offsets)
    assert native.fingerprint()["content"] == colbert.fingerprint()["content"]


@pytest.mark.parametrize("layout", ["pylate", "old pylate", "native"])
def test_encoding_equals_sentence_transformers_exactly(layout, stanford_path, tmp_path):
    if layout == "native":
        path = tmp_path
        st.MultiVectorEncoder(str(stanford_path), device="cpu").save_pretrained(
            str(path), create_model_card=False
        )
    else:
        path = toy.pylate(tmp_path, model_type="ColBERT" if layout == "pylate" else None)
    ours, theirs = ColBERT(path, device="cpu"), st.MultiVectorEncoder(str(path), device="cpu")
    assert ours.dim == toy.DIM
    for given, expected in (
        (ours.encode_query(toy.QUERIES), theirs.encode_query(toy.QUERIES, convert_to_numpy=True)),
        (ours.encode_document(toy.DOCUMENTS), theirs.encode_document(toy.DOCUMENTS, convert_to_numpy=True)),
    ):
        assert len(given) == len(expected)
        for rows, wanted in zip(given, expected, strict=True):
            np.testing.assert_array_equal(rows, wanted)
    assert [len(rows) for rows in ours.encode_query(toy.QUERIES)] == [16] * len(toy.QUERIES)
    assert max(len(rows) for rows in ours.encode_document(toy.DOCUMENTS)) <= 20


def test_a_corpus_of_many_slabs_is_joined_in_order(stanford_path):
    texts = [" ".join(["hello"] * (1 + i % 7)) + (" paris" if i % 3 else "") for i in range(70)]
    model = ColBERT(stanford_path, device="cpu", batch_size=2)  # slabs of 32
    joined = model.encode_document(texts)
    assert len(joined) == 70
    for text, rows in zip(texts, joined, strict=True):
        np.testing.assert_allclose(rows, model.encode_document(text)[0], atol=1e-6)


def test_no_texts_give_no_rows(colbert):
    empty = colbert.encode_document([])
    assert len(empty) == 0
    assert empty.values.shape == (0, toy.DIM)
    assert np.isfinite(colbert.encode_query("").values).all()


def test_from_biencoder_gives_the_normalised_token_vectors(bi):
    model = ColBERT.from_biencoder(bi)
    assert model.dim == toy.HIDDEN
    assert model.name == bi.name
    for given, theirs, texts in (
        (model.encode_query(toy.QUERIES), bi.model.encode_query, toy.QUERIES),
        (model.encode_document(toy.DOCUMENTS), bi.model.encode_document, toy.DOCUMENTS),
    ):
        expected = theirs(texts, output_value="token_embeddings", convert_to_numpy=False)
        assert len(given) == len(expected)
        for rows, wanted in zip(given, expected, strict=True):
            np.testing.assert_array_equal(rows, torch.nn.functional.normalize(wanted, dim=-1).numpy())
    assert [len(rows) for rows in model.encode_document(["", "hello"])] == [2, 3]  # [CLS] and [SEP] are kept


def test_from_biencoder_takes_what_a_biencoder_takes(bi, bi_path):
    wanted = ColBERT.from_biencoder(bi).encode_document(toy.DOCUMENTS).values
    for given in (bi_path, str(bi_path), bi.model):
        np.testing.assert_array_equal(
            ColBERT.from_biencoder(given).encode_document(toy.DOCUMENTS).values, wanted
        )
    static = st.sentence_transformer.modules.StaticEmbedding(
        toy.tokenizer().backend_tokenizer, embedding_dim=8
    )
    with pytest.raises(
        ValueError, match=r"expected a model that pools token vectors, found modules \['Static"
    ):
        ColBERT.from_biencoder(st.SentenceTransformer(modules=[static], device="cpu"))


def test_tokens_name_the_rows_of_a_query(colbert):
    words = ["[CLS]", "[unused0]", "search", "##ing", "paris", "?", "[SEP]"]
    assert colbert.tokens("Searching Paris?") == words + ["[MASK]"] * (16 - len(words))
    for text in toy.QUERIES:
        assert len(colbert.tokens(text, "query")) == len(colbert.encode_query(text)[0])


def test_tokens_name_the_rows_of_a_document(colbert, bi):
    assert colbert.tokens("Paris, hello - world!", "document") == [
        *("[CLS]", "[unused1]", "paris", "hello", "world", "[SEP]")
    ]
    plain = ColBERT.from_biencoder(bi)
    assert plain.tokens("Paris, zebra", "document") == ["[CLS]", "paris", ",", "[UNK]", "[SEP]"]
    for model in (colbert, plain):
        for text in toy.DOCUMENTS:
            assert len(model.tokens(text, "document")) == len(model.encode_document(text)[0])


def test_tokens_know_what_is_no_text(colbert, bi, tmp_path):
    roles = ["special", "marker", "", "", "special"]
    for model in (colbert, ColBERT(toy.pylate(tmp_path), device="cpu")):
        assert [t.role for t in model.tokens("hello world")] == roles + ["expansion"] * 11
        assert [t.role for t in model.tokens("hello world", "document")] == roles
    plain = ColBERT.from_biencoder(bi)  # whose prompt for queries is a word, and zebra is [UNK]
    assert [t.role for t in plain.tokens("hello zebra")] == ["special", "", "", "", "special"]


def test_tokens_refuse_what_they_cannot_name(colbert, stanford_path):
    with pytest.raises(ValueError, match="expected 'query' or 'document', got 'passage'"):
        colbert.tokens("hello", "passage")
    with pytest.raises(TypeError, match="expected str, got list"):
        colbert.tokens(["hello"])
    pooled = st.MultiVectorEncoder(str(stanford_path), device="cpu")
    pooled.append(st.multi_vector_encoder.modules.HierarchicalTokenPooling(pool_factor=2.0))
    with pytest.raises(ValueError, match="pools tokens"):
        ColBERT(pooled).tokens("what is the capital of france", "document")
