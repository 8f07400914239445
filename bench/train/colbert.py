"""Train a head on the token vectors of the packaged bi-encoder, for late interaction.

    python bench/train/colbert.py GROUPS.jsonl OUT [--steps 1200] [--dim 128] [--threads 1]

The backbone stays as it is, so every text is encoded once. A query's answers and near misses are ranked as
a list: cross-entropy between the softmax of their MaxSim and that of what the teacher of groups.py thinks.

The head is ``W x + b + V gelu(U x + c)``. W starts as the directions of largest variance around the mean,
their spread partly evened out, V as 0.

Measured by hand, mean nDCG@10 of 200 development queries of nfcorpus, 200 of pubmedqa and the judged ones
of medquad, in 128 dimensions, where the untrained token vectors have 0.666 in their 384 and 0.648 as the
head starts: 0.657 with W and b alone, 0.663 with all of it. Lost before: low-rank updates of the backbone
with the untrained MaxSim as the teacher (nfcorpus 0.346, the head 0.355); telling the answer from those of
other queries of the batch, as most recipes do (a title and its abstract are so easy to tell that the model
forgets what texts are about); layers 3, 4 or 5 in place of the last (nfcorpus 0.304 to 0.316); queries with
4 to 16 [MASK] tokens, untrained.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from adapters import read_groups
from loop import learn
from transformers import AutoTokenizer, BertModel

from tercet.models.loading import packaged_model

TEACHER = 0.7  # of standard deviations, to make them a logit
SCALE = 30.0  # at first, of the mean cosine of a query's tokens, to make it a logit
QUERY_TOKENS, DOCUMENT_TOKENS = 48, 160
BUDGET = 4096  # tokens that go through the backbone together


class Encoded(NamedTuple):
    """Hidden states of texts one after the other, float16 ``[tokens, hidden]``, and where each begins."""

    values: torch.Tensor
    offsets: np.ndarray

    def rows(self, texts: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``[tokens, hidden]`` of some texts and the mask ``[texts, longest]`` of where they go."""
        lengths = torch.tensor([int(self.offsets[i + 1] - self.offsets[i]) for i in texts])
        held = torch.arange(int(lengths.max())) < lengths[:, None]
        return torch.cat([self.values[self.offsets[i] : self.offsets[i + 1]] for i in texts]).float(), held


@torch.inference_mode()
def encoded(texts: list[str], most: int) -> Encoded:
    tokenizer = AutoTokenizer.from_pretrained(packaged_model())
    model = BertModel.from_pretrained(packaged_model(), dtype=torch.float32)
    ids = tokenizer(texts, truncation=True, max_length=most)["input_ids"]
    offsets = np.cumsum([0, *map(len, ids)])
    values = torch.empty(int(offsets[-1]), model.config.hidden_size, dtype=torch.float16)
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    while order:
        count = max(1, BUDGET // len(ids[order[0]]))
        chosen, order = order[:count], order[count:]
        inputs = tokenizer.pad({"input_ids": [ids[i] for i in chosen]}, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model(**inputs).last_hidden_state
        for row, i in zip(hidden, chosen, strict=True):
            values[offsets[i] : offsets[i + 1]] = row[: len(ids[i])]
    return Encoded(values, offsets)


class Head(torch.nn.Module):
    def __init__(self, sample: torch.Tensor, dim: int) -> None:
        super().__init__()
        width = sample.shape[1]
        self.projection = torch.nn.Linear(width, dim)
        self.up, self.down = torch.nn.Linear(width, width), torch.nn.Linear(width, dim, bias=False)
        torch.nn.init.zeros_(self.down.weight)
        mean = sample.mean(0)
        moments, axes = torch.linalg.eigh((sample - mean).T @ (sample - mean) / len(sample))
        weight = (axes[:, -dim:] * moments[-dim:] ** -0.25).T
        self.projection.weight.data.copy_(weight)
        self.projection.bias.data.copy_(-weight @ mean)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            made = self.projection(hidden) + self.down(F.gelu(self.up(hidden)))
        return F.normalize(made.float(), dim=-1)

    def padded(self, texts: Encoded, chosen: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the token vectors of some texts, ``[texts, longest, dim]``, and where there are any."""
        hidden, held = texts.rows(chosen)
        vectors = self(hidden)
        return vectors.new_zeros(*held.shape, vectors.shape[1]).masked_scatter(held[..., None], vectors), held


def maxsim(
    queries: torch.Tensor, asked: torch.Tensor, documents: torch.Tensor, held: torch.Tensor
) -> torch.Tensor:
    """Return ``[queries, size]``, the mean over a query's tokens of the largest cosine, of its documents."""
    size = len(documents) // len(queries)
    documents, held = documents.unflatten(0, (-1, size)), held.unflatten(0, (-1, size))
    with torch.autocast("cpu", torch.bfloat16):
        grid = torch.einsum("qid,qnjd->qnij", queries, documents)
    best = grid.float().masked_fill(~held[:, :, None, :], -2.0).amax(-1)
    return (best * asked[:, None, :]).sum(-1) / asked.sum(-1)[:, None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("groups", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16, help="queries of a step")
    parser.add_argument("--size", type=int, default=10, help="documents of a query")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep-every", type=int, default=400)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    groups = [g for g in read_groups(args.groups) if len(g["teacher"]) >= args.size]
    place: dict[str, int] = {}
    for i, group in enumerate(groups):
        group["index"] = i
        every = group["positives"] + group["negatives"]
        group["documents"] = [place.setdefault(d, len(place)) for d in every]
    queries = encoded([g["query"] for g in groups], QUERY_TOKENS)
    documents = encoded(list(place), DOCUMENT_TOKENS)
    head = Head(torch.cat([documents.values[::997], queries.values[::13]]).float(), args.dim)
    scale = torch.nn.Parameter(torch.tensor(SCALE))

    def loss_of(batch: list[dict[str, Any]]) -> torch.Tensor:
        chosen = [rng.sample(range(len(g["teacher"])), args.size) for g in batch]
        taught = torch.tensor([[g["teacher"][i] for i in c] for g, c in zip(batch, chosen, strict=True)])
        asked = head.padded(queries, [g["index"] for g in batch])
        listed = [g["documents"][i] for g, c in zip(batch, chosen, strict=True) for i in c]
        scores = scale * maxsim(*asked, *head.padded(documents, listed))
        return -((TEACHER * taught).softmax(1) * scores.log_softmax(1)).sum(1).mean()

    rates = [{"params": head.parameters(), "lr": args.rate}, {"params": [scale], "lr": 0.1}]
    trained = head.state_dict()
    learn(args, "colbert", groups, loss_of, rates, trained, note=lambda: f", scale {scale.item():.1f}")


if __name__ == "__main__":
    main()
