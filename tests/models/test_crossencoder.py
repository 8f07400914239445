"""Scores against sentence-transformers, in every order of batches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import sentence_transformers as st
import torch

import toy
from tercet.models import CrossEncoder
from tercet.models.texts import batches

pytestmark = pytest.mark.models


def test_scores_equal_sentence_transformers_in_the_order_given(reranker, reranker_path):
    theirs = st.CrossEncoder(str(reranker_path), device="cpu")
    query = "what is the capital?"
    scores = reranker.score(query, toy.PAIRED)
    assert scores.dtype == np.float32
    assert scores.shape == (len(toy.PAIRED),)
    assert np.ptp(scores) > 0.01
    np.testing.assert_allclose(scores, theirs.predict([(query, text) for text in toy.PAIRED]), atol=1e-5)
    np.testing.assert_allclose(scores, [reranker.score(query, text)[0] for text in toy.PAIRED], atol=1e-5)
    pairs = [(query, toy.PAIRED[0]), ("hello", toy.PAIRED[2]), (query, "")]
    np.testing.assert_allclose(reranker.predict(pairs), theirs.predict(pairs), atol=1e-5)
    assert reranker.predict(("hello", "world")).shape == (1,)


@pytest.mark.parametrize("budget", [1, 64, 200, 10**6])
def test_scores_do_not_depend_on_the_budget(reranker, budget):
    other = CrossEncoder(reranker.model, token_budget=budget, precision="float32")
    np.testing.assert_allclose(
        other.score("hello", toy.PAIRED), reranker.score("hello", toy.PAIRED), atol=1e-5
    )


def test_more_pairs_than_a_slab_holds_keep_their_order(reranker):
    few = ["paris", "hello world", "a city in germany"]
    many = CrossEncoder(reranker.model, token_budget=50_000, precision="float32").score("hello", few * 1400)
    np.testing.assert_allclose(many, np.tile(reranker.score("hello", few), 1400), atol=1e-5)


def test_batches_keep_the_budget_and_every_pair():
    lengths = np.array([3, 50, 7, 7, 120, 1, 30, 7])
    cut = [batch.tolist() for batch in batches(lengths, 60)]
    assert sorted(i for batch in cut for i in batch) == list(range(len(lengths)))
    assert cut[0] == [4]  # more than the budget by itself
    for batch in cut[1:]:
        assert len(batch) * lengths[batch].max() <= 60
    assert all(lengths[a].min() >= lengths[b].max() for a, b in pairwise(cut))
    assert max(map(len, batches(lengths, 60, most=2))) == 2


def test_two_labels_score_the_second(tmp_path):
    path = toy.cross_encoder(tmp_path, labels=2)
    pairs = [("hello", text) for text in toy.PAIRED]
    theirs = st.CrossEncoder(str(path), device="cpu")
    ours = CrossEncoder(path, device="cpu", precision="float32")
    np.testing.assert_allclose(
        ours.predict(pairs), theirs.predict(pairs, apply_softmax=True)[:, 1], atol=1e-5
    )
    logits = theirs.predict(pairs)
    raw = CrossEncoder(path, device="cpu", activation="none", precision="float32").predict(pairs)
    np.testing.assert_allclose(raw, logits[:, 1] - logits[:, 0], atol=1e-4)
    with pytest.raises(ValueError, match="2 labels has no single score with activation='model'"):
        CrossEncoder(path, device="cpu", activation="model")
    with pytest.raises(ValueError, match="head of 3 labels"):
        CrossEncoder(toy.cross_encoder(tmp_path / "three", labels=3), device="cpu")


def test_activations(reranker_path):
    theirs = st.CrossEncoder(str(reranker_path), device="cpu", activation_fn=torch.nn.Tanh())
    pairs = [("hello", text) for text in toy.PAIRED]
    logits = theirs.predict(pairs, activation_fn=torch.nn.Identity())
    for activation, expected in (
        ("none", logits),
        ("sigmoid", 1 / (1 + np.exp(-logits))),
        ("model", np.tanh(logits)),
    ):
        given = CrossEncoder(theirs, activation=activation, precision="float32").predict(pairs)
        np.testing.assert_allclose(given, expected, atol=1e-5)
    with pytest.raises(ValueError, match="expected 'sigmoid', 'none' or 'model', got 'relu'"):
        CrossEncoder(theirs, activation="relu")


def test_rank_has_the_shape_of_sentence_transformers(reranker, reranker_path):
    theirs = st.CrossEncoder(str(reranker_path), device="cpu")
    given = reranker.rank("hello", toy.PAIRED, return_documents=True)
    expected = theirs.rank("hello", toy.PAIRED, return_documents=True)
    assert [set(hit) for hit in given] == [{"corpus_id", "score", "text"}] * len(toy.PAIRED)
    np.testing.assert_allclose([h["score"] for h in given], [h["score"] for h in expected], atol=1e-5)
    assert all(hit["text"] == toy.PAIRED[hit["corpus_id"]] for hit in given)
    top = reranker.rank("hello", toy.PAIRED, top_k=3)
    assert top == [{"corpus_id": hit["corpus_id"], "score": hit["score"]} for hit in given[:3]]
    assert reranker.rank("hello", []) == []
    assert [hit["corpus_id"] for hit in reranker.rank("hello", ["paris"] * 99)] == list(range(99))


def test_no_documents_give_no_scores(reranker):
    for empty in (reranker.score("hello", []), reranker.predict([])):
        assert empty.shape == (0,)
        assert empty.dtype == np.float32
    assert np.isfinite(reranker.score("", ["", " "])).all()


def test_what_is_no_pair_is_refused(reranker):
    with pytest.raises(TypeError, match=r"pairs\[1\]: expected \(query, document\), got 'hello'"):
        reranker.predict([("a", "b"), "hello", ("a", "b")])
    with pytest.raises(TypeError, match=r"documents\[0\]: expected str, got NoneType"):
        reranker.predict([("a", None)])
    with pytest.raises(TypeError, match="query: expected str, got bytes"):
        reranker.score(b"a", ["b"])


def test_only_the_document_is_cut(reranker, reranker_path):
    query = " ".join(["city"] * 40)
    short = CrossEncoder(reranker_path, device="cpu", max_length=50, precision="float32")
    kept = short.score(query, "paris " * 7)  # 40 + 7 + 3 special tokens: a full window
    np.testing.assert_allclose(short.score(query, "paris " * 30), kept, atol=1e-6)
    np.testing.assert_allclose(reranker.score(query, "paris " * 7), kept, atol=1e-6)
    with pytest.raises(
        ValueError, match=r"has 47 tokens: with 3 special ones it leaves no room .* window of 50"
    ):
        short.score(" ".join(["city"] * 47), ["paris"])
    assert short.score(" ".join(["city"] * 46), ["paris fast"]).shape == (1,)
    with pytest.raises(ValueError, match="max_length: expected 1 to 64 tokens, got 65"):
        CrossEncoder(reranker.model, max_length=65)


def test_the_prompt_of_the_model_counts(reranker_path):
    prompted = st.CrossEncoder(
        str(reranker_path), device="cpu", prompts={"ask": "search "}, default_prompt_name="ask"
    )
    pairs = [("hello", text) for text in toy.PAIRED]
    ours = CrossEncoder(prompted, precision="float32")
    np.testing.assert_allclose(ours.predict(pairs), prompted.predict(pairs), atol=1e-5)
    fits_without_prompt = " ".join(["city"] * 60)
    with pytest.raises(ValueError, match="leaves no room"):
        ours.score(fits_without_prompt, "paris")


def test_a_score_that_is_no_number_is_refused(reranker_path):
    broken = CrossEncoder(reranker_path, device="cpu", precision="float32")
    with torch.no_grad():
        broken.model.transformers_model.classifier.bias.fill_(float("nan"))
    for ask in (broken.score, broken.rank):
        with pytest.raises(ValueError, match=r"'hello' and document 'world' with nan in float32: damaged"):
            ask("hello", ["world"])


def test_a_float16_reranker_runs_in_float32_on_the_cpu(tmp_path):
    path = toy.cross_encoder(tmp_path, dtype=torch.float16)
    assert toy.read_json(path / "config.json")["dtype"] == "float16"
    ours = CrossEncoder(path, device="cpu", precision="float32")
    assert {p.dtype for p in ours.model.parameters()} == {torch.float32}
    theirs = st.CrossEncoder(str(path), device="cpu")
    assert theirs.dtype == torch.float16
    with pytest.warns(UserWarning, match="the CrossEncoder held torch.float16 weights"):
        wrapped = CrossEncoder(theirs, precision="float32")
    np.testing.assert_array_equal(wrapped.score("hello", toy.PAIRED), ours.score("hello", toy.PAIRED))
