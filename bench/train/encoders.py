"""Frozen encoders of a teacher: the token vectors and the mean of each text, on one device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoTokenizer

BUDGET = 65_536  # tokens that go through a model together


class Encoded(NamedTuple):
    """Texts one after the other.

    Attributes:
        tokens: unit vectors, float16 ``[tokens, width]``.
        offsets: where each text begins, and the end, int64 ``[texts + 1]``.
        pooled: unit means, float32 ``[texts, width]``.
    """

    tokens: torch.Tensor
    offsets: torch.Tensor
    pooled: torch.Tensor

    def padded(self, texts: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token vectors ``[*texts.shape, longest, width]``, and where there are any."""
        begin, end = self.offsets[texts], self.offsets[texts + 1]
        longest = min(most, int((end - begin).max()))
        place = begin[..., None] + torch.arange(longest, device=begin.device)
        held = place < end[..., None]
        return self.tokens[place.clamp_max(len(self.tokens) - 1)], held


@torch.inference_mode()
def encoded(model: Any, tokenizer: Any, texts: list[str], most: int) -> Encoded:
    device = next(model.parameters()).device
    ids = tokenizer(texts, truncation=True, max_length=most)["input_ids"]
    offsets = torch.tensor([0, *map(len, ids)]).cumsum(0).to(device)
    width = model.config.hidden_size
    tokens = torch.empty(int(offsets[-1]), width, dtype=torch.float16, device=device)
    pooled = torch.empty(len(ids), width, device=device)
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    while order:
        count = max(1, BUDGET // len(ids[order[0]]))
        chosen, order = order[:count], order[count:]
        inputs = tokenizer.pad({"input_ids": [ids[i] for i in chosen]}, return_tensors="pt").to(device)
        with torch.autocast(device.type, torch.bfloat16):
            hidden = model(**inputs).last_hidden_state.float()
        held = inputs["attention_mask"].bool()
        rows = torch.tensor(chosen, device=device)
        pooled[rows] = F.normalize((hidden * held[..., None]).sum(1), dim=-1)
        place = offsets[rows][:, None] + torch.arange(held.shape[1], device=device)
        tokens[place[held]] = F.normalize(hidden[held], dim=-1).half()
    return Encoded(tokens, offsets, pooled)


def loaded(folder: Path, device: str) -> tuple[Any, Any]:
    """Return an encoder in evaluation and its tokenizer."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).to(device).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def maxsim(
    queries: torch.Tensor, asked: torch.Tensor, documents: torch.Tensor, held: torch.Tensor
) -> torch.Tensor:
    """Return ``[queries, size]``, the mean over a query's tokens of the largest cosine, of its documents.

    Args:
        queries: ``[queries, tokens, width]``.
        asked: ``[queries, tokens]``, where there are tokens.
        documents: ``[queries, size, tokens, width]``.
        held: ``[queries, size, tokens]``.
    """
    grid = torch.einsum("qid,qnjd->qnij", queries, documents)
    best = grid.masked_fill(~held[:, :, None, :], -2.0).amax(-1).float()
    return (best * asked[:, None, :]).sum(-1) / asked.sum(-1)[:, None]
