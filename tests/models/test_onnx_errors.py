"""What is missing, damaged, or beyond this backend is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'tercet[onnx]'")
pytest.importorskip("onnx", reason="needs onnx, to export: pip install 'tercet[dev]'")

import torch
from safetensors.torch import save_file

import toy
from onnx_exports import exported, exported_classifier
from tercet.models import BiEncoder, ColBERT, CrossEncoder
from tercet.models.onnx.safetensors import read_safetensors

pytestmark = pytest.mark.models


@pytest.fixture(scope="session")
def exports(bi_path, late_path, reranker_path, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exports")
    exported(bi_path, path / "bi")
    exported(late_path, path / "late")
    exported_classifier(reranker_path, path / "pair")
    return path


@pytest.fixture
def bi(exports, tmp_path) -> Path:
    return Path(shutil.copytree(exports / "bi", tmp_path / "bi"))


@pytest.fixture
def late(exports, tmp_path) -> Path:
    return Path(shutil.copytree(exports / "late", tmp_path / "late"))


def refused(error: type[Exception], message: str, path: Any, make=BiEncoder, **options):
    with pytest.raises(error, match=message):
        make(path, backend="onnx", **options)


@pytest.mark.parametrize("make", [BiEncoder, ColBERT, CrossEncoder, ColBERT.from_biencoder])
def test_what_is_no_directory(make, tmp_path):
    refused(FileNotFoundError, "toy/absent: no such directory; .*onnx/model.onnx", "toy/absent", make)
    refused(
        FileNotFoundError, r"expected a file onnx/model.onnx or model.onnx, found nothing", tmp_path, make
    )
    refused(TypeError, "model: expected a path for backend='onnx', got int", 3, make)


def test_options_that_are_not_its_own(bi):
    refused(TypeError, r"revision, trust_remote_code: only with backend='torch'", bi,
            revision="x", trust_remote_code=True)  # fmt: skip
    refused(ValueError, "device: expected 'cpu', where the onnx backend runs, got 'cuda'", bi, device="cuda")
    refused(
        ValueError, "precision: bfloat16, but .*model.onnx was exported in float32", bi, precision="bfloat16"
    )
    refused(
        ValueError, "precision: expected 'auto', 'float32' or 'bfloat16', got 'int8'", bi, precision="int8"
    )
    refused(ValueError, "threads: expected at least 1, got 0", bi, threads=0)
    refused(ValueError, f"max_length: expected 1 to {toy.WINDOW} tokens, got 99", bi, max_length=99)
    refused(ValueError, "tercet-colbert-mini needs torch", None, ColBERT)
    assert BiEncoder(bi, backend="onnx", precision="float32", device="cpu").precision == "float32"
    with pytest.raises(ValueError, match=r"got None and 'bfloat16'"):
        ColBERT.from_biencoder(BiEncoder(bi, backend="onnx"), precision="bfloat16")


@pytest.mark.parametrize("size", [0, 100, 10_000])
def test_a_graph_cut_short(bi, size):
    file = bi / "onnx" / "model.onnx"
    file.write_bytes(file.read_bytes()[:size])
    refused(ValueError, r"onnx/model.onnx: ONNX Runtime cannot load it: ", bi)


def test_external_data_that_is_missing(bi, tmp_path):
    import onnx

    file = bi / "onnx" / "model.onnx"
    onnx.save_model(
        onnx.load(file), str(file), save_as_external_data=True, location="model.onnx_data", size_threshold=16
    )
    whole = BiEncoder(bi, backend="onnx")
    before, vectors = whole.fingerprint(), whole.encode_document("hello")
    data = bytearray((bi / "onnx" / "model.onnx_data").read_bytes())
    data[5000] ^= 1
    (bi / "onnx" / "model.onnx_data").write_bytes(data)
    assert BiEncoder(bi, backend="onnx").fingerprint()["content"] != before["content"]  # it counts as well
    assert np.isfinite(vectors).all()
    (bi / "onnx" / "model.onnx_data").unlink()
    refused(ValueError, r"onnx/model.onnx: ONNX Runtime cannot load it: .*model.onnx_data", bi)


def test_outputs_and_inputs_of_another_kind(exports, bi, tmp_path):
    hidden = shutil.copytree(exports / "pair", tmp_path / "hidden")
    shutil.copy(bi / "onnx" / "model.onnx", hidden / "model.onnx")
    refused(ValueError, r"expected an output logits, found \['last_hidden_state'\]", hidden, CrossEncoder)
    shutil.copy(exports / "pair" / "model.onnx", bi / "onnx" / "model.onnx")
    refused(ValueError, r"expected an output last_hidden_state or token_embeddings, found \['logits'\]", bi)
    import onnx

    graph = onnx.load(exports / "pair" / "model.onnx")
    for made in (graph.graph.input[0], *graph.graph.node):
        if made.name == "input_ids":
            made.name = "ids"
        for i, name in enumerate(getattr(made, "input", [])):
            made.input[i] = "ids" if name == "input_ids" else name
    pair = shutil.copytree(exports / "pair", tmp_path / "pair")
    onnx.save_model(graph, pair / "model.onnx")
    refused(ValueError, r"expected inputs of \['input_ids', .*found \['ids', ", pair, CrossEncoder)


def test_a_head_of_another_kind(exports, bi, tmp_path):
    refused(
        ValueError, r"ForSequenceClassification export, found architectures \['BertModel'\]", bi, CrossEncoder
    )
    unknown = shutil.copytree(exports / "pair", tmp_path / "unknown")
    toy.write_json(unknown / "config.json", {})
    refused(ValueError, r"export, found architectures \[\]", unknown, CrossEncoder)
    three = exported_classifier(toy.cross_encoder(tmp_path / "three", labels=3), tmp_path / "export")
    refused(ValueError, "a head of 3 labels has no single score", three, CrossEncoder)


@pytest.mark.parametrize(
    "name", ["modules.json", "config.json", "tokenizer_config.json", "1_Pooling/config.json"]
)
def test_damaged_settings(bi, name):
    text = (bi / name).read_text()
    (bi / name).write_text(text[: len(text) // 2])
    refused(ValueError, f"{name}: expected JSON: ", bi)
    (bi / name).write_text('"text"')
    refused(ValueError, f"{name}: expected a JSON (dict|list), got str", bi)


def test_a_damaged_or_missing_tokenizer(bi):
    (bi / "tokenizer.json").write_text('{"version": "1.0"}')
    refused(ValueError, r"tokenizer.json: no tokenizer: ", bi)
    (bi / "tokenizer.json").unlink()
    refused(FileNotFoundError, r"expected a file tokenizer.json, found 1_Pooling, ", bi)


@pytest.mark.parametrize("name", ["sentence_bert_config.json", "2_MultiVectorMask/config.json"])
def test_settings_that_are_missing_are_not_guessed(late, name):
    (late / name).unlink()
    refused(FileNotFoundError, f"^{late}: no {name}, which sentence-transformers 6 writes", late, ColBERT)


@pytest.mark.parametrize(("layout", "make"), [("bi", BiEncoder), ("late", ColBERT), ("pair", CrossEncoder)])
def test_an_export_without_its_configuration(exports, tmp_path, layout, make):
    """Nothing would say where a text is to be cut, and ONNX Runtime fail on a long one."""
    copy = shutil.copytree(exports / layout, tmp_path / layout)
    (copy / "config.json").unlink()
    refused(FileNotFoundError, f"^{copy}: no config.json, which says how many tokens", copy, make)


def modules(path: Path, *after: dict[str, str]) -> None:
    toy.write_json(path / "modules.json", [toy.read_json(path / "modules.json")[0], *after])


def test_modules_it_does_not_have(bi):
    whole = toy.read_json(bi / "modules.json")
    for kind in ("LayerNorm", "WordWeights"):
        modules(bi, whole[1], {"path": "x", "type": f"sentence_transformers.models.{kind}"})
        refused(ValueError, rf"{bi}/x: the onnx backend does not support this module here: {kind}", bi)
    modules(bi, whole[2], whole[1])
    refused(ValueError, "Normalize of sentence_embedding, without a Pooling before it", bi)
    modules(bi)
    refused(ValueError, r"expected a model that pools tokens, found modules \[\]", bi)
    modules(bi, {"path": "../outside", "type": "Pooling"})
    refused(ValueError, r"path '../outside' is outside of the directory", bi)
    toy.write_json(bi / "modules.json", [{"path": "", "type": "sentence_transformers.models.BoW"}])
    refused(ValueError, r"modules.json: expected a Transformer first, found modules \['BoW'\]", bi)


def test_poolings_it_does_not_have(bi):
    for settings, message in (
        (
            {"pooling_mode": "weightedmean"},
            r"1_Pooling/config.json: expected pooling modes of .*\['weightedmean'\]",
        ),
        ({"pooling_mode": "mean", "include_prompt": False}, "1_Pooling/config.json: include_prompt false"),
    ):
        toy.write_json(bi / "1_Pooling" / "config.json", settings)
        refused(ValueError, message, bi)


def test_projections_that_do_not_fit(late):
    config, weights = late / "1_Dense" / "config.json", late / "1_Dense" / "model.safetensors"
    settings = toy.read_json(config)
    toy.write_json(config, {**settings, "activation_function": "torch.nn.modules.activation.SELU"})
    refused(ValueError, r"1_Dense/config.json: expected an activation of .*Identity.*SELU", late, ColBERT)
    toy.write_json(config, {**settings, "out_features": 3})
    refused(ValueError, r"model.safetensors: expected tensors .*\[3, 32\].*got .*\[16, 32\]", late, ColBERT)
    toy.write_json(config, {**settings, "in_features": 8})
    save_file({"linear.weight": torch.zeros(toy.DIM, 8)}, weights)
    refused(ValueError, r"its projections do not fit 32 dimensions", late, ColBERT)
    weights.write_bytes(weights.read_bytes()[:-4])
    refused(ValueError, r"1_Dense/model.safetensors: damaged, or no safetensors", late, ColBERT)
    weights.unlink()
    refused(FileNotFoundError, r"1_Dense/model.safetensors: no such file", late, ColBERT)


@pytest.mark.parametrize(
    ("expansion", "message"),
    [
        ({"strategy": "most", "length": 9}, "expected a query_expansion of strategy 'fixed' or 'min'"),
        ({"strategy": "fixed", "length": None}, "and a length, got .*None"),
        ("fixed", "got 'fixed'"),
        ({"strategy": "fixed", "length": 9, "token": "[absent]"}, r"query expansion with \[absent\], which"),
    ],
)
def test_expansions_it_does_not_have(late, expansion, message):
    settings = toy.read_json(late / "sentence_bert_config.json")
    toy.write_json(late / "sentence_bert_config.json", {**settings, "query_expansion": expansion})
    refused(ValueError, message, late, ColBERT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_safetensors_of_every_float(tmp_path, dtype):
    tensors = {"a": torch.randn(3, 5).to(dtype), "b": torch.randn(4).to(dtype), "none": torch.zeros(0, 2)}
    save_file(tensors, tmp_path / "x", metadata={"format": "pt"})
    read = read_safetensors(tmp_path / "x")
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor.float().numpy())
        assert read[name].dtype == np.float32


def test_safetensors_that_are_damaged(tmp_path):
    save_file({"a": torch.randn(3, 5)}, tmp_path / "x")
    whole = (tmp_path / "x").read_bytes()
    header = json.dumps({"a": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 8]}}).encode()
    wrong = len(header).to_bytes(8, "little") + header + bytes(60)
    integers = whole.replace(b'"F32"', b'"I32"')
    for data in (
        b"",
        whole[:5],
        whole[:40],
        whole[:-1],
        wrong,
        integers,
        b"\xff" * 80,
        b"\x02" + bytes(7) + b"[]",
    ):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(ValueError, match=f"{tmp_path}/x: damaged, or no safetensors file of floats"):
            read_safetensors(tmp_path / "x")
