"""Train the packaged bi-encoder to compare tokens: low-rank updates, and a projection of its token
vectors.

    python bench/train/colbert.py GROUPS.jsonl OUT [--steps 100] [--rank 16] [--threads 1]

A query's answer and some of its near misses are ranked as a list: cross-entropy between the softmax of
their MaxSim and that of the untrained model's MaxSim in all 384 dimensions, which is the best teacher at
hand: what is learnt is to lose as little as possible in a third of the dimensions. The projection starts as
the directions of largest variance around the mean, their spread partly evened out.

Measured and lost, nDCG@10 on 200 development queries of nfcorpus, where the teacher has 0.360 and the
untrained directions of largest second moment 0.340: telling the answer from those of other queries of the
batch, as most recipes do (pairs of a title and its abstract are so easy to tell that the model forgets what
texts are about); the answer as 0.4 of the target (0.332); the teacher together with the cosine of the
bi-encoder (no better a teacher); layers 3, 4 or 5 in place of the last (0.304 to 0.316).
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from adapters import backbone, batches, optimizer, read_groups, save, updates

SCALE = 30.0  # of the teacher's mean cosine of tokens, to make it a logit
QUERY_TOKENS, DOCUMENT_TOKENS = 40, 160


class Encoder(torch.nn.Module):
    """Token vectors of length 1 and where there are any."""

    def __init__(self, model: Any, tokenizer: Any, dim: int) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.projection = torch.nn.Linear(model.config.hidden_size, dim)
        self.scale = torch.nn.Parameter(torch.tensor(SCALE))  # of the mean cosine, to make it a logit

    def forward(self, texts: list[str], most: int) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = self.tokenizer(texts, truncation=True, max_length=most, padding=True, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            hidden = self.model(**inputs).last_hidden_state
        return F.normalize(self.projection(hidden.float()), dim=-1), inputs["attention_mask"].bool()

    @torch.no_grad()
    def start_from_moments(self, texts: list[str]) -> None:
        rows = []
        for first in range(0, len(texts), 32):
            inputs = self.tokenizer(
                texts[first : first + 32], truncation=True, max_length=64, padding=True, return_tensors="pt"
            )
            hidden = self.model(**inputs).last_hidden_state
            rows.append(hidden[inputs["attention_mask"].bool()])
        values = torch.cat(rows)
        mean = values.mean(0)
        moments, axes = torch.linalg.eigh((values - mean).T @ (values - mean) / len(values))
        chosen = slice(-self.projection.out_features, None)
        weight = (axes[:, chosen] * moments[chosen] ** -0.25).T
        self.projection.weight.copy_(weight)
        self.projection.bias.copy_(-weight @ mean)


def maxsim(
    queries: torch.Tensor, asked: torch.Tensor, documents: torch.Tensor, held: torch.Tensor
) -> torch.Tensor:
    """Return ``[queries, documents]``, the mean over a query's tokens of the largest cosine."""
    grid = torch.einsum("qid,pjd->qpij", queries, documents)
    best = grid.masked_fill(~held[None, :, None, :], -2.0).amax(-1)
    return (best * asked[:, None, :]).sum(-1) / asked.sum(-1)[:, None]


def loss_of(
    encoder: Encoder, batch: list[dict[str, Any]], rng: random.Random, size: int, soft: float
) -> torch.Tensor:
    texts, taught = [], []
    for group in batch:
        count = len(group["positives"])
        chosen = [rng.randrange(count), *rng.sample(range(count, count + len(group["negatives"])), size - 1)]
        every = group["positives"] + group["negatives"]
        texts += [every[i] for i in chosen]
        taught.append([group["maxsim"][i] for i in chosen])
    queries, asked = encoder([group["query"] for group in batch], QUERY_TOKENS)
    documents, held = encoder(texts, DOCUMENT_TOKENS)
    every = maxsim(queries, asked, documents, held).view(len(batch), len(batch), size)
    own = encoder.scale * every[torch.arange(len(batch)), torch.arange(len(batch))]
    teacher = (SCALE * torch.tensor(taught)).softmax(1)
    label = F.one_hot(torch.zeros(len(batch), dtype=torch.long), size)
    target = (1 - soft) * label + soft * teacher
    return -(target * own.log_softmax(1)).sum(1).mean()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("groups", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8, help="queries of a step")
    parser.add_argument("--size", type=int, default=7, help="documents of a query")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--soft", type=float, default=1.0, help="the untrained model's part of the target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep-every", type=int, default=25)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    groups = read_groups(args.groups)
    model, tokenizer = backbone(args.rank, args.seed)
    encoder = Encoder(model, tokenizer, args.dim)
    sample = rng.sample(groups, min(600, len(groups)))
    encoder.start_from_moments([g["positives"][0] for g in sample] + [g["query"] for g in sample])
    learnt, schedule = optimizer(
        [
            {"params": updates(model), "lr": args.rate},
            {"params": [*encoder.projection.parameters()], "lr": args.rate},
            {"params": [encoder.scale], "lr": 0.1},
        ],
        args.steps,
    )
    stream, begun, average = batches(groups, args.batch, args.seed), time.perf_counter(), 0.0
    for step in range(args.steps + 1):
        if step % args.keep_every == 0 or step == args.steps:
            about = {**vars(args), "groups": len(groups), "step": step, "kind": "colbert"}
            head = {f"projection.{name}": p for name, p in encoder.projection.named_parameters()}
            save(args.out / f"step{step}", model, head, {k: str(v) for k, v in about.items()})
        if step == args.steps:
            break
        loss = loss_of(encoder, next(stream), rng, args.size, args.soft)
        learnt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(updates(model), 1.0)
        learnt.step()
        schedule.step()
        average = loss.item() if step == 0 else 0.95 * average + 0.05 * loss.item()
        if step % 10 == 0:
            seconds, scale = time.perf_counter() - begun, encoder.scale.item()
            print(f"step {step}: loss {average:.4f}, scale {scale:.1f}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
