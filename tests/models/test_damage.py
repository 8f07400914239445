"""A directory that lacks a file, or has a damaged one: an error that says which, never other vectors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import sentence_transformers as st
import torch
from safetensors.torch import load_file, save_file

import toy
from tercet.models import BiEncoder, ColBERT, CrossEncoder

pytestmark = pytest.mark.models


@pytest.fixture(params=["bi", "stanford", "reranker"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[type[Any], Path]:
    kinds = {"bi": BiEncoder, "stanford": ColBERT, "reranker": CrossEncoder}
    copy = tmp_path / "model"
    shutil.copytree(request.getfixturevalue(f"{request.param}_path"), copy)
    return kinds[request.param], copy


def test_cut_and_garbage_are_named(checkpoint: tuple[type[Any], Path]) -> None:
    kind, folder = checkpoint
    kind(folder, device="cpu")
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"\x00\xff" * 20):
            if path.parent.name == "2_Normalize" and damaged == whole:
                continue
            path.write_bytes(damaged)
            with pytest.raises(
                ValueError, match=rf"{path.name}: damaged|model: sentence_transformers cannot"
            ):
                kind(folder, device="cpu")
        path.write_bytes(whole)
    kind(folder, device="cpu")


def test_weights_with_bytes_behind_them(checkpoint: tuple[type[Any], Path]) -> None:
    kind, folder = checkpoint
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"\0" * 8)
    with pytest.raises(ValueError, match=r"model\.safetensors: damaged, expected [\d,]+ bytes of weights"):
        kind(folder, device="cpu")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_what_is_missing(checkpoint: tuple[type[Any], Path], name: str) -> None:
    kind, folder = checkpoint
    (folder / name).unlink()
    with pytest.raises((ValueError, OSError), match=rf"{name}|config\.json|cannot load it") as caught:
        kind(folder, device="cpu")
    assert str(folder) in str(caught.value)


def test_a_tensor_that_is_missing_is_not_made_up(checkpoint: tuple[type[Any], Path]) -> None:
    kind, folder = checkpoint
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    gone = next(n for n in tensors if n.endswith("layer.1.attention.self.query.weight"))
    tensors.pop(gone)
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"weights for .*layer\.1\.attention\.self\.query\.weight"):
        kind(folder, device="cpu")


def test_layers_that_would_not_run(checkpoint: tuple[type[Any], Path]) -> None:
    kind, folder = checkpoint
    config = toy.read_json(folder / "config.json")
    toy.write_json(folder / "config.json", {**config, "num_hidden_layers": 1})
    with pytest.raises(ValueError, match=r"config\.json does not count: \S*encoder\.layer\.1\.attention"):
        kind(folder, device="cpu")
    kind(folder, device="cpu", config_kwargs={"num_hidden_layers": 1})  # as one asks for


def test_weights_that_nobody_needs(checkpoint: tuple[type[Any], Path]) -> None:
    kind, folder = checkpoint
    tensors = load_file(folder / "model.safetensors")
    for extra in ("cls.predictions.bias", "lm_head.layers.7.weight", "bert.embeddings.position_ids"):
        tensors[extra] = torch.zeros(3)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    kind(folder, device="cpu")


@pytest.mark.parametrize(
    ("kind", "layout", "file"),
    [
        (BiEncoder, "bi", "modules.json"),
        (BiEncoder, "bi", "sentence_bert_config.json"),
        (BiEncoder, "bi", "config_sentence_transformers.json"),
        (BiEncoder, "bi", "2_Normalize/config.json"),
        (ColBERT, "late", "sentence_bert_config.json"),
        (ColBERT, "late", "2_MultiVectorMask/config.json"),
        (ColBERT, "late", "3_Normalize/config.json"),
        (ColBERT, "stanford", "artifact.metadata"),
    ],
)
def test_settings_that_are_missing_are_not_guessed(
    kind: type[Any], layout: str, file: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(request.getfixturevalue(f"{layout}_path"), copy)
    (copy / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"^{copy}: no {file}, "):
        kind(copy, device="cpu")


def test_a_save_of_pylate_without_its_settings(tmp_path: Path) -> None:
    path = toy.pylate(tmp_path)
    (path / "config_sentence_transformers.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=f"^{path}: no config_sentence_transformers.json, where PyLate"
    ):
        ColBERT(path, device="cpu")


def test_an_old_save_has_no_settings_of_normalize(bi_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(bi_path, copy)
    shutil.rmtree(copy / "2_Normalize")  # git keeps no empty folder
    described = toy.read_json(copy / "config_sentence_transformers.json")
    described["__version__"]["sentence_transformers"] = "2.0.0"
    toy.write_json(copy / "config_sentence_transformers.json", described)
    old, new = (BiEncoder(path, device="cpu", normalize=False) for path in (copy, bi_path))
    np.testing.assert_array_equal(old.encode_document("hello"), new.encode_document("hello"))


@pytest.mark.parametrize("change", [{"hidden_size": 64}, {"vocab_size": 10}, {"intermediate_size": 32}])
def test_weights_of_other_shapes(checkpoint: tuple[type[Any], Path], change: dict[str, int]) -> None:
    kind, folder = checkpoint
    toy.write_json(folder / "config.json", {**toy.read_json(folder / "config.json"), **change})
    with pytest.raises(ValueError, match=rf"^{folder}: sentence_transformers cannot load it: .*other shapes"):
        kind(folder, device="cpu")


def test_pickled_weights_cut_short(checkpoint: tuple[type[Any], Path]) -> None:
    kind, folder = checkpoint
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    whole = (folder / "pytorch_model.bin").read_bytes()
    for kept in (0, 20, len(whole) // 2, len(whole) - 1):
        (folder / "pytorch_model.bin").write_bytes(whole[:kept])
        with pytest.raises(ValueError, match=f"^{folder}: sentence_transformers cannot load it: "):
            kind(folder, device="cpu")


def test_projections_that_do_not_fit(late_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(late_path, copy)
    weights = copy / "1_Dense" / "model.safetensors"
    for tensors in (
        {"linear.weight": torch.zeros(3, 32)},
        {**load_file(weights), "other.weight": torch.zeros(2)},
    ):
        save_file(tensors, weights, metadata={"format": "pt"})
        with pytest.raises(ValueError, match=f"^{copy}: sentence_transformers cannot load it: .* for Dense:"):
            ColBERT(copy, device="cpu")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        ImportError("This model needs the package: einops"),
        PermissionError(13, "Permission denied", "config.json"),
    ],
)
def test_what_says_enough_is_left_as_it_is(
    error: Exception, bi_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(st.SentenceTransformer, "__init__", fails)
    with pytest.raises(type(error)) as caught:
        BiEncoder(bi_path, device="cpu")
    assert caught.value is error
