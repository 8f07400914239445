"""Low-rank updates of an encoder's linear layers (LoRA, Hu et al. 2021), under the names of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import parametrize
from transformers import AutoTokenizer, BertModel

SCALE = 2.0  # of an update; export.py writes it into model.json
LINEAR = (".query", ".key", ".value", ".dense")


class LowRank(torch.nn.Module):
    """A bfloat16 weight plus ``SCALE * lora_B @ lora_A`` of float32."""

    def __init__(self, weight: torch.Tensor, rank: int) -> None:
        super().__init__()
        out, inner = weight.shape
        self.lora_A = torch.nn.Parameter(torch.empty(rank, inner))
        self.lora_B = torch.nn.Parameter(torch.zeros(out, rank))
        torch.nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return (weight + SCALE * (self.lora_B @ self.lora_A)).to(weight.dtype)


def backbone(folder: Path | None, rank: int) -> tuple[Any, Any]:
    """Return an encoder in bfloat16, frozen but for updates of a rank to train, and its tokenizer.

    Args:
        folder: of all-MiniLM-L6-v2; None is the packaged one.
        rank: of the updates; 0 for none.
    """
    if folder is None:
        from tercet.models.loading import packaged_model

        folder = Path(packaged_model())
    model = BertModel.from_pretrained(folder, dtype=torch.bfloat16)
    model.requires_grad_(False)
    for name, module in list(model.encoder.named_modules()):
        if rank and isinstance(module, torch.nn.Linear) and name.endswith(LINEAR):
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank))
    return model, AutoTokenizer.from_pretrained(folder)


def updates(model: Any) -> dict[str, torch.nn.Parameter]:
    """Return what is trained of a model, by the names of the package."""
    return {
        "backbone." + name.replace("parametrizations.weight.0.", ""): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
