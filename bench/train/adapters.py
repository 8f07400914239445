"""What both recipes read and write: groups, the backbone with low-rank updates, what was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, BertModel

from tercet.models.loading import packaged_model

LINEAR = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]


def backbone(rank: int, seed: int) -> tuple[Any, Any]:
    """Return the packaged encoder, frozen but for updates of a rank to train, and its tokenizer."""
    torch.manual_seed(seed)
    model = BertModel.from_pretrained(packaged_model(), dtype=torch.float32)
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=LINEAR)
    return get_peft_model(model, settings), AutoTokenizer.from_pretrained(packaged_model())


def read_groups(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def updates(model: Any) -> list[Any]:
    return [p for p in model.parameters() if p.requires_grad]


def save(path: Path, tensors: dict[str, Any], about: dict[str, Any]) -> None:
    """Write what was trained, updates under peft's names, and a record of the run."""
    from safetensors.torch import save_file

    path.mkdir(parents=True, exist_ok=True)
    save_file({n: t.detach().contiguous() for n, t in tensors.items()}, path / "trained.safetensors")
    (path / "run.json").write_text(json.dumps(about, indent=2))


def resume(path: Path, model: Any, head: Any) -> None:
    """Take what :func:`save` wrote for the updates of a model, and for the parts of a head."""
    from safetensors.torch import load_file

    trained = load_file(path / "trained.safetensors")
    for module in (model, head):
        own = {name: tensor for name, tensor in trained.items() if name in module.state_dict()}
        module.load_state_dict(own, strict=False)
        trained = {name: tensor for name, tensor in trained.items() if name not in own}
    if trained:
        raise ValueError(f"{path}: nothing here is called {sorted(trained)[:3]}")
