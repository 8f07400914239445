"""Say what is near each query, and what a teacher thinks of it: lists to learn from.

    python bench/train/teacher.py TEXTS.json.xz LISTS.pt SMALL LARGE [--device cuda]

SMALL and LARGE are folders of all-MiniLM-L6-v2 and all-mpnet-base-v2. The teacher is the MaxSim of LARGE,
whose token vectors rank better than their means although nobody trained them to, with a share of its cosine
and of BM25 over word pieces, each as the number of standard deviations above the mean of the source's
documents (of MaxSim: of some by chance). Measured by hand, nDCG@10 of 200 development queries of nfcorpus and
96 of medquad: MaxSim of SMALL 0.360 and 0.655, of LARGE 0.398 and 0.711, cosines 0.313 and 0.677, 0.351 and
0.704, BM25 0.289 and 0.632, the teacher 0.393 and 0.759; a share of SMALL made no difference to it.

A query's list is the CANDIDATES best by both cosines and BM25, the own document of a sentence and what
nearly repeats it left out, and CHANCE others. What is known to answer it is in the list, as much as fits,
and says so.
"""

from __future__ import annotations

import argparse
import json
import lzma
import time
from pathlib import Path
from typing import Any

import torch
from encoders import encoded, loaded, maxsim

DOCUMENT_TOKENS, QUERY_TOKENS = 192, 48
CANDIDATES, CHANCE = 96, 32
STEP = 32  # queries at a time
LEXICAL = 0.6  # weight of BM25 for candidates, where each cosine has 1
COSINE, TERMS = 0.5, 0.2  # weights in the teacher of the cosine and of BM25, where MaxSim has 1
K1, B = 1.2, 0.75
SAME = 0.95  # cosine of documents that repeat each other


class Words:
    """BM25 of all documents of a source, over the pieces of a tokenizer."""

    def __init__(self, tokenizer: Any, documents: list[str], device: str) -> None:
        self.tokenizer, self.device, self.size = tokenizer, device, len(tokenizer)
        counts = self.bags(documents)
        length = counts.sum(1, keepdim=True)
        frequency = (counts > 0).sum(0)
        rarity = torch.log1p((len(documents) - frequency + 0.5) / (frequency + 0.5))
        damped = counts + K1 * (1 - B + B * length / length.mean())
        self.weights = (counts * (K1 + 1) / damped * rarity).half().T

    def bags(self, texts: list[str]) -> torch.Tensor:
        made = torch.zeros(len(texts), self.size, device=self.device)
        for row, ids in zip(made, self.tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True):
            if ids:
                row += torch.bincount(torch.tensor(ids, device=self.device), minlength=self.size)
        return made

    def scores(self, queries: list[str]) -> torch.Tensor:
        return (self.bags(queries).clamp_max(1).half() @ self.weights).float()


class Lists:
    """What a source is mined with."""

    def __init__(self, source: dict[str, Any], encoders: list[tuple[Any, Any]], device: str) -> None:
        self.device, self.queries = device, source["queries"]
        texts = [query["text"] for query in self.queries]
        self.count = len(source["documents"])
        self.documents = [encoded(*e, source["documents"], DOCUMENT_TOKENS) for e in encoders]
        self.asked = [encoded(*e, texts, QUERY_TOKENS) for e in encoders]
        self.words = Words(encoders[0][1], source["documents"], device)

    def step(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        queries = [self.queries[i] for i in rows.tolist()]
        lexical = self.words.scores([query["text"] for query in queries])
        lexical = standing(lexical, lexical)
        cosines = [a.pooled[rows] @ d.pooled.T for a, d in zip(self.asked, self.documents, strict=True)]
        cosines = [standing(cosine, cosine) for cosine in cosines]
        answers = torch.zeros_like(lexical, dtype=torch.bool)
        for row, query in enumerate(queries):
            answers[row, query["answers"]] = True
        left_out = self.repetitions(queries) & ~answers
        first = sum(cosines) + LEXICAL * lexical
        best = first.masked_fill(left_out, -1e4).add(1e4 * answers).topk(CANDIDATES).indices
        chance = torch.randint(self.count, (len(rows), CHANCE), device=self.device)
        listed = torch.cat([best, chance], 1)
        asked, documents = self.asked[-1], self.documents[-1]
        scores = maxsim(*asked.padded(rows, QUERY_TOKENS), *documents.padded(listed, DOCUMENT_TOKENS))
        taught = standing(scores, scores[:, CANDIDATES:])
        taught += (COSINE * cosines[-1] + TERMS * lexical).gather(1, listed)
        return {
            "documents": listed.int(),
            "teacher": taught.masked_fill(left_out.gather(1, listed), -1e4).half(),
            "answers": answers.gather(1, listed),
        }

    def repetitions(self, queries: list[dict[str, Any]]) -> torch.Tensor:
        """Tell what repeats the first answer, or the text that a sentence is of: neither right nor wrong."""
        known = [q["own"] if q["own"] >= 0 else q["answers"][0] for q in queries]
        pooled = self.documents[0].pooled
        return pooled[known] @ pooled.T > SAME


def standing(scores: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    """Return how many standard deviations scores are above the mean of others, row by row."""
    return (scores - of.mean(1, keepdim=True)) / (of.std(1, keepdim=True) + 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path)
    parser.add_argument("lists", type=Path)
    parser.add_argument("small", type=Path)
    parser.add_argument("large", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--most", type=int, help="queries of a source, to try things out")
    args = parser.parse_args()
    torch.manual_seed(0)
    encoders = [loaded(folder, args.device) for folder in (args.small, args.large)]
    with lzma.open(args.texts, "rt", encoding="utf-8") as file:
        training = json.load(file)["training"]
    made = {}
    for name, source in training.items():
        begun = time.perf_counter()
        source["queries"] = source["queries"][: args.most]
        with torch.inference_mode():
            lists = Lists(source, encoders, args.device)
            rows = torch.arange(len(source["queries"]), device=args.device)
            parts = [lists.step(some) for some in rows.split(STEP)]
        made[name] = {key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]}
        print(f"{name}: {len(rows):,} queries, {time.perf_counter() - begun:.0f} s", flush=True)
    torch.save(made, args.lists)


if __name__ == "__main__":
    main()
