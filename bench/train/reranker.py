"""Train the packaged bi-encoder's backbone to read a query and a document together.

    python bench/train/reranker.py GROUPS.jsonl OUT [--steps 400] [--rank 24] [--threads 1]

A query's group of documents is ranked as a list: cross-entropy between the softmax of the scores and a
target that is in part what answers the query and in part what the teacher of groups.py thinks; plus the
binary cross-entropy of each score, so that its sigmoid is a chance and not only an order.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from adapters import backbone, read_groups, resume, updates
from loop import learn

TEACHER = 0.7  # of standard deviations, to make them a logit
TOKENS = 144  # of a pair


class Reranker(torch.nn.Module):
    """``BertForSequenceClassification`` of one label: [CLS] through a layer with tanh, then to one number."""

    def __init__(self, model: Any, tokenizer: Any, tokens: int) -> None:
        super().__init__()
        self.model, self.tokenizer, self.tokens = model, tokenizer, tokens
        width = model.config.hidden_size
        self.pooler, self.classifier = torch.nn.Linear(width, width), torch.nn.Linear(width, 1)
        own = model.get_base_model().pooler.dense
        self.pooler.load_state_dict(own.state_dict())
        torch.nn.init.normal_(self.classifier.weight, std=0.02)
        torch.nn.init.zeros_(self.classifier.bias)

    def forward(self, pairs: list[tuple[str, str]]) -> torch.Tensor:
        """Return the scores; pairs of like length go through the model together."""
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][1]))
        scores: list[torch.Tensor] = []
        for first in range(0, len(order), 16):
            queries, documents = zip(*[pairs[i] for i in order[first : first + 16]], strict=True)
            inputs = self.tokenizer(
                list(queries), list(documents), truncation="longest_first", max_length=self.tokens,
                padding=True, return_tensors="pt",
            )  # fmt: skip
            with torch.autocast("cpu", torch.bfloat16):
                hidden = self.model(**inputs).last_hidden_state
            pooled = torch.tanh(self.pooler(hidden[:, 0].float()))
            scores.append(self.classifier(pooled)[:, 0])
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order)] = torch.arange(len(order))
        return torch.cat(scores)[back]


def loss_of(
    model: Reranker, batch: list[dict[str, Any]], rng: random.Random, size: int, soft: float
) -> torch.Tensor:
    pairs, labels, taught = [], [], []
    for group in batch:
        count = len(group["positives"])
        answers = rng.sample(range(count), min(count, 2))
        misses = rng.sample(range(count, count + len(group["negatives"])), size - len(answers) - 1)
        texts = group["positives"] + group["negatives"]
        chosen = answers + misses
        pairs += [(group["query"][:300], texts[i]) for i in chosen]
        labels.append([1.0] * len(answers) + [0.0] * (len(misses) + 1))
        opinions = [group["teacher"][i] for i in chosen]
        # And a document of another query, which is certainly about something else
        pairs.append((group["query"][:300], rng.choice(rng.choice(batch)["negatives"])))
        taught.append([*opinions, min(opinions) - 4])
    scores = model(pairs).view(len(batch), size)
    label, teacher = torch.tensor(labels), (TEACHER * torch.tensor(taught)).softmax(1)
    target = (1 - soft) * label / label.sum(1, keepdim=True) + soft * teacher
    listed = -(target * scores.log_softmax(1)).sum(1).mean()
    return listed + 0.3 * F.binary_cross_entropy_with_logits(scores, label)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("groups", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rank", type=int, default=24)
    parser.add_argument("--batch", type=int, default=8, help="queries of a step")
    parser.add_argument("--size", type=int, default=8, help="documents of a query")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--soft", type=float, default=0.7, help="the teacher's part of the target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of a pair")
    parser.add_argument("--start", type=Path, help="a step to go on from")
    parser.add_argument("--keep-every", type=int, default=50)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    groups = read_groups(args.groups)
    encoder, tokenizer = backbone(args.rank, args.seed)
    model = Reranker(encoder, tokenizer, args.tokens)
    if args.start:
        resume(args.start, encoder, model)
    head = [*model.pooler.parameters(), *model.classifier.parameters()]
    trained = {n: p for n, p in encoder.named_parameters() if p.requires_grad} | {
        f"{part}.{name}": tensor
        for part in ("pooler", "classifier")
        for name, tensor in getattr(model, part).state_dict().items()
    }
    learn(
        args,
        "reranker",
        groups,
        lambda batch: loss_of(model, batch, rng, args.size, args.soft),
        [{"params": updates(encoder), "lr": args.rate}, {"params": head, "lr": args.rate}],
        trained,
        clipped=updates(encoder) + head,
    )


if __name__ == "__main__":
    main()
