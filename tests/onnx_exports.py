"""Exports of toy checkpoints, laid out as sentence-transformers and optimum lay them out."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForSequenceClassification

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class _Positional(torch.nn.Module):
    """The exporter passes inputs by position, and takes the output as it comes."""

    def __init__(self, model: Any, output: str) -> None:
        super().__init__()
        self.model, self.output = model, output

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.model(**dict(zip(INPUTS, inputs, strict=True)))[self.output]


def exported(checkpoint: Path, path: Path, *, file: str = "onnx/model.onnx", weights: bool = False) -> Path:
    """Copy a checkpoint without its weights, and with an export beside the rest of its files."""
    kept = () if weights else ("model.safetensors",)
    shutil.copytree(checkpoint, path, ignore=lambda folder, _: kept if Path(folder) == checkpoint else ())
    write_graph(AutoModel.from_pretrained(checkpoint), "last_hidden_state", path / file)
    return path


def exported_classifier(checkpoint: Path, path: Path) -> Path:
    """Copy a cross-encoder without its weights, with ``model.onnx`` beside the rest of its files."""
    shutil.copytree(checkpoint, path, ignore=shutil.ignore_patterns("model.safetensors"))
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    write_graph(model, "logits", path / "model.onnx")
    return path


def write_graph(model: Any, output: str, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    example = torch.ones(2, 5, dtype=torch.long)
    axes = {name: {0: "batch", 1: "tokens"} for name in INPUTS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is the old one; the new one needs onnxscript
        torch.onnx.export(
            _Positional(model.float().eval(), output),
            (example, example, example),
            str(path),
            dynamo=False,
            input_names=list(INPUTS),
            output_names=[output],
            dynamic_axes={**axes, output: {0: "batch"} if output == "logits" else {0: "batch", 1: "tokens"}},
        )
