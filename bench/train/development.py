"""What the recipes are judged by on the way: nDCG@10 of the development collections of sources.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Scores = Callable[[list[str], list[str]], torch.Tensor]  # of queries and documents, [queries, documents]


def ndcg(order: torch.Tensor, graded: list[dict[str, int]], k: int = 10) -> float:
    """Return the mean over queries, of documents by number, best first; gains are grades, as in BEIR."""
    discount = 1 / torch.arange(2.0, k + 2).log2()
    total = 0.0
    for row, own in zip(order[:, :k].tolist(), graded, strict=True):
        gains = torch.tensor([float(own.get(str(document), 0)) for document in row])
        ideal = torch.tensor(sorted(map(float, own.values()), reverse=True)[:k])
        total += float((gains * discount[: len(gains)]).sum() / (ideal * discount[: len(ideal)]).sum())
    return total / len(graded)


def said(found: dict[str, float]) -> str:
    mean = sum(found.values()) / len(found)
    return ", ".join(f"{name} {value:.4f}" for name, value in found.items()) + f", mean {mean:.4f}"


def judged(development: dict[str, Any], scores: Scores) -> str:
    """Rank whole collections."""
    found = {}
    for name, held in development.items():
        order = scores(held["queries"], held["documents"]).topk(10).indices
        found[name] = ndcg(order, held["grades"])
    return said(found)
