"""Train a ColBERT on the packaged bi-encoder: updates of a low rank, and a head on its token vectors.

    python bench/train/colbert.py TEXTS.json.xz LISTS.pt OUT [--encoder DIR] [--steps 3300] [--rank 12]

A query's list is ranked as a list: cross-entropy between the softmax of its MaxSim and that of what the
teacher of teacher.py thinks, in its standard deviations, with what is known to answer it one of them above.

The head is ``W x + b + V gelu(U x + c)``. W starts as the directions of largest variance around the mean,
their spread partly evened out, V as 0. Punctuation of documents is left out, as it will be.
"""

from __future__ import annotations

import argparse
import string
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from adapters import backbone, updates
from development import judged
from encoders import maxsim
from lists import Batch, Lists, padded, tokenised
from loop import learn

SCALE = 30.0  # at first, of the mean cosine of a query's tokens, to make it a logit
QUERY_TOKENS, DOCUMENT_TOKENS = 48, 160
JUDGED_TOKENS = 256
Vectors = tuple[torch.Tensor, torch.Tensor]  # [texts, longest, dim], and where there are any


class Head(torch.nn.Module):
    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.projection = torch.nn.Linear(width, dim)
        self.up, self.down = torch.nn.Linear(width, width), torch.nn.Linear(width, dim, bias=False)
        torch.nn.init.zeros_(self.down.weight)

    @torch.no_grad()
    def start(self, sample: torch.Tensor) -> None:
        """Take the directions of largest variance of ``[tokens, width]``."""
        mean = sample.mean(0)
        moments, axes = torch.linalg.eigh((sample - mean).T @ (sample - mean) / len(sample))
        dim = len(self.projection.weight)
        weight = (axes[:, -dim:] * moments[-dim:] ** -0.25).T
        self.projection.weight.copy_(weight)
        self.projection.bias.copy_(-weight @ mean)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        made = self.projection(hidden) + self.down(F.gelu(self.up(hidden)))
        return F.normalize(made.float(), dim=-1)


class ColBERT(torch.nn.Module):
    def __init__(self, encoder: Path | None, rank: int, dim: int) -> None:
        super().__init__()
        self.model, self.tokenizer = backbone(encoder, rank)
        self.head = Head(self.model.config.hidden_size, dim)
        marks = self.tokenizer.convert_tokens_to_ids(list(string.punctuation))
        self.register_buffer("marks", torch.tensor(marks), persistent=False)

    def hidden(self, texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, ...]:
        ids, held = padded(texts, self.marks.device)
        return self.model(input_ids=ids, attention_mask=held).last_hidden_state, ids, held

    def forward(self, texts: Sequence[Sequence[int]], *, documents: bool) -> Vectors:
        hidden, ids, held = self.hidden(texts)
        with torch.autocast(self.marks.device.type, torch.bfloat16):
            vectors = self.head(hidden)
        return vectors, held & ~torch.isin(ids, self.marks) if documents else held

    @torch.no_grad()
    def start(self, texts: Sequence[Sequence[int]]) -> None:
        hidden, _, held = self.hidden(texts)
        self.head.start(hidden[held].float())

    @torch.no_grad()
    def scores(self, queries: list[str], documents: list[str]) -> torch.Tensor:
        """Return the MaxSim of all with all, on the processor."""
        asked, present = self(tokenised(self.tokenizer, queries, QUERY_TOKENS), documents=False)
        ids = tokenised(self.tokenizer, documents, JUDGED_TOKENS)
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        scores = torch.empty(len(queries), len(documents))
        for first in range(0, len(order), 128):
            chosen = order[first : first + 128]
            made, held = self([ids[i] for i in chosen], documents=True)
            for rows in torch.arange(len(queries)).split(64):
                grid = torch.einsum("qid,njd->qnij", asked[rows].half(), made.half())
                best = grid.masked_fill(~held[None, :, None, :], -2.0).amax(-1).float()
                scores[rows[:, None], torch.tensor(chosen)] = (best * present[rows][:, None]).sum(-1).cpu()
        return scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path)
    parser.add_argument("lists", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--encoder", type=Path, help="a folder of all-MiniLM-L6-v2, if not the package")
    parser.add_argument("--steps", type=int, default=3300)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rank", type=int, default=12, help="of the updates; 0 for none")
    parser.add_argument("--batch", type=int, default=24, help="queries of a step")
    parser.add_argument("--size", type=int, default=16, help="documents of a query")
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-every", type=int, default=1000)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    lists = Lists(args.texts, args.lists)
    model = ColBERT(args.encoder, args.rank, args.dim).to(args.device)
    queries = tokenised(model.tokenizer, lists.queries, QUERY_TOKENS)
    documents = tokenised(model.tokenizer, lists.documents, DOCUMENT_TOKENS)
    model.start(documents[::397] + queries[::397])
    scale = torch.nn.Parameter(torch.tensor(SCALE, device=args.device))

    def loss_of(batch: Batch) -> torch.Tensor:
        asked = model([queries[i] for i in batch.queries], documents=False)
        vectors, held = model([documents[i] for i in batch.documents], documents=True)
        shape = (len(batch.queries), -1)
        with torch.autocast(args.device, torch.bfloat16):
            scores = maxsim(*asked, vectors.unflatten(0, shape), held.unflatten(0, shape))
        target = batch.teacher.to(args.device).softmax(1)
        return -(target * (scale * scores).log_softmax(1)).sum(1).mean()

    trained = {**updates(model.model), **dict(model.head.named_parameters())}
    rates = [(list(trained.values()), args.rate), ([scale], 0.1)]
    batches = lists.batches(args.batch, args.size, args.seed)
    learn(args, "colbert", batches, loss_of, rates, trained, lambda: judged(lists.development, model.scores))


if __name__ == "__main__":
    main()
