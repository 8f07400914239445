"""Train the packaged bi-encoder's backbone to read a query and a document together.

    python bench/train/reranker.py TEXTS.json.xz LISTS.pt OUT [--encoder DIR] [--steps 4100] [--rank 24]

A query's list is ranked as a list: cross-entropy between the softmax of the scores and that of what the
teacher of teacher.py thinks, in its standard deviations, with what is known to answer it one of them above;
plus the binary cross-entropy of each score of the queries whose answers are known, so that its sigmoid is a
chance and not only an order.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from adapters import backbone, updates
from development import ndcg, said
from encoders import encoded
from lists import Batch, Lists, padded, tokenised
from loop import learn

TOKENS, JUDGED_TOKENS = 192, 256  # of a pair
QUERY_TOKENS = 64
JUDGED = 30  # documents of a query, the bi-encoder's best
Texts = Sequence[np.ndarray]  # token ids of each


class Reranker(torch.nn.Module):
    """``BertForSequenceClassification`` of one label: [CLS] through a layer with tanh, then to one number."""

    def __init__(self, encoder: Path | None, rank: int) -> None:
        super().__init__()
        self.model, self.tokenizer = backbone(encoder, rank)
        width = self.model.config.hidden_size
        self.pooler, self.classifier = torch.nn.Linear(width, width), torch.nn.Linear(width, 1)
        self.pooler.load_state_dict(self.model.pooler.dense.state_dict())
        torch.nn.init.normal_(self.classifier.weight, std=0.02)
        torch.nn.init.zeros_(self.classifier.bias)

    def forward(self, queries: Texts, documents: Texts, most: int) -> torch.Tensor:
        """Return the scores of pairs ``[CLS] query [SEP] document [SEP]``, cut at so many tokens."""
        pairs = [
            np.concatenate([query, document[1 : most - len(query)], query[-1:]])
            if len(query) + len(document) - 1 > most
            else np.concatenate([query, document[1:]])
            for query, document in zip(queries, documents, strict=True)
        ]
        ids, held = padded(pairs, self.classifier.weight.device)
        begins = torch.tensor([len(query) for query in queries], device=ids.device)
        second = torch.arange(ids.shape[1], device=ids.device) >= begins[:, None]
        hidden = self.model(input_ids=ids, attention_mask=held, token_type_ids=(second & held).long())
        first = hidden.last_hidden_state[:, 0].float()
        return self.classifier(torch.tanh(self.pooler(first)))[:, 0]


class Development:
    """What the bi-encoder finds of each development collection, and how the reranker orders it."""

    def __init__(self, held: dict[str, Any], model: Reranker) -> None:
        self.held, self.first, self.tokens = held, {}, {}
        for name, own in held.items():
            asked, documents = (
                encoded(model.model, model.tokenizer, own[key], JUDGED_TOKENS).pooled
                for key in ("queries", "documents")
            )
            self.tokens[name] = [
                tokenised(model.tokenizer, own["queries"], QUERY_TOKENS),
                tokenised(model.tokenizer, own["documents"], JUDGED_TOKENS),
            ]
            self.first[name] = (asked @ documents.T).topk(JUDGED).indices.cpu()

    @torch.no_grad()
    def judged(self, model: Reranker) -> str:
        found = {}
        for name, own in self.held.items():
            first, scores = self.first[name], []
            queries, documents = self.tokens[name]
            pairs = [(i, j) for i, row in enumerate(first.tolist()) for j in row]
            order = sorted(range(len(pairs)), key=lambda i: -len(documents[pairs[i][1]]))
            for start in range(0, len(order), 256):
                part = [pairs[i] for i in order[start : start + 256]]
                asked, read = [queries[i] for i, _ in part], [documents[j] for _, j in part]
                scores.append(model(asked, read, JUDGED_TOKENS).cpu())
            back = torch.empty(len(pairs))
            back[torch.tensor(order)] = torch.cat(scores)
            best = back.view(first.shape).argsort(1, descending=True)
            found[name] = ndcg(first.gather(1, best), own["grades"])
        return said(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path)
    parser.add_argument("lists", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--encoder", type=Path, help="a folder of all-MiniLM-L6-v2, if not the package")
    parser.add_argument("--steps", type=int, default=4100)
    parser.add_argument("--rank", type=int, default=24)
    parser.add_argument("--batch", type=int, default=32, help="queries of a step")
    parser.add_argument("--size", type=int, default=12, help="documents of a query")
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-every", type=int, default=1000)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    lists = Lists(args.texts, args.lists)
    model = Reranker(args.encoder, args.rank).to(args.device)
    development = Development(lists.development, model)
    queries = tokenised(model.tokenizer, lists.queries, QUERY_TOKENS)
    documents = tokenised(model.tokenizer, lists.documents, TOKENS)

    def loss_of(batch: Batch) -> torch.Tensor:
        asked = [queries[i] for i in batch.queries for _ in range(args.size)]
        scores = model(asked, [documents[i] for i in batch.documents], TOKENS).view(-1, args.size)
        target = batch.teacher.to(args.device).softmax(1)
        listed = -(target * scores.log_softmax(1)).sum(1).mean()
        answers = batch.answers.to(args.device)
        known = answers.any(1)
        chances = F.binary_cross_entropy_with_logits(scores, answers.float(), reduction="none").mean(1)
        return listed + 0.2 * (chances * known).sum() / known.sum().clamp_min(1)

    head = [(n, p) for n, p in model.named_parameters() if n.startswith(("pooler.", "classifier."))]
    trained = {**updates(model.model), **dict(head)}
    batches = lists.batches(args.batch, args.size, args.seed)
    rates = [(list(trained.values()), args.rate)]
    learn(args, "reranker", batches, loss_of, rates, trained, lambda: development.judged(model))


if __name__ == "__main__":
    main()
