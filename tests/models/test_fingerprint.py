"""What the content hash depends on, and what it does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("sentence_transformers")

import torch
from safetensors.torch import load_file, save_file

import toy
from tercet.models import BiEncoder, ColBERT

pytestmark = pytest.mark.models


def test_fingerprint_names_the_content_and_not_the_place(bi, bi_path, tmp_path):
    shutil.copytree(bi_path, tmp_path / "elsewhere")
    first, second = bi.fingerprint(), BiEncoder(tmp_path / "elsewhere", device="cpu").fingerprint()
    assert json.loads(json.dumps(first)) == first
    assert first["kind"] == "BiEncoder"
    assert first["dim"] == toy.HIDDEN
    assert first["max_length"] == toy.WINDOW
    assert first["normalize"] is True
    assert first["name"] == str(bi_path) != second["name"]
    assert first["content"] == second["content"]
    assert BiEncoder(bi.model).fingerprint()["content"] == first["content"]


def test_a_relative_directory_is_recorded_as_an_absolute_one(bi, bi_path, monkeypatch):
    monkeypatch.chdir(bi_path.parent)
    assert BiEncoder(bi_path.name, device="cpu").fingerprint() == bi.fingerprint()


def test_fingerprint_changes_with_whatever_changes_the_vectors(bi_path, tmp_path):
    def changed(change) -> str:
        directory = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(bi_path, directory)
        change(directory)
        return BiEncoder(directory, device="cpu").fingerprint()["content"]

    def weight(path: Path) -> None:
        tensors = load_file(path / "model.safetensors")
        tensors["encoder.layer.1.output.dense.bias"][3] += 1e-6
        save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})

    def setting(file: str, key: str, value):
        return lambda path: toy.write_json(path / file, {**toy.read_json(path / file), key: value})

    contents = [
        changed(lambda path: None),
        changed(weight),
        changed(setting("config_sentence_transformers.json", "prompts", {"query": "hello "})),
        changed(setting("tokenizer_config.json", "model_max_length", 60)),
        changed(setting("1_Pooling/config.json", "pooling_mode", "cls")),
        BiEncoder(bi_path, device="cpu", normalize=False).fingerprint()["content"],
        BiEncoder(bi_path, device="cpu", truncate_dim=8).fingerprint()["content"],
    ]
    assert len(set(contents)) == len(contents)


def test_fingerprint_is_the_same_for_float16_weights_and_their_float32_values(tmp_path):
    path = toy.bi_encoder(tmp_path, dtype=torch.float16)
    half = BiEncoder(path, device="cpu", model_kwargs={"dtype": torch.float16})
    assert half.model.dtype == torch.float16
    wide = BiEncoder(path, device="cpu").fingerprint()
    assert half.fingerprint()["content"] == wide["content"]  # what they compute differs, a little


def test_fingerprints_of_colbert(bi, colbert, stanford_path):
    record = colbert.fingerprint()
    assert json.loads(json.dumps(record)) == record
    assert (record["kind"], record["dim"], record["max_length"]) == ("ColBERT", toy.DIM, 20)
    assert ColBERT(stanford_path, device="cpu").fingerprint() == record
    tokens = ColBERT.from_biencoder(bi).fingerprint()
    assert tokens["kind"] == "ColBERT.from_biencoder"
    assert len({tokens["content"], record["content"], bi.fingerprint()["content"]}) == 3
