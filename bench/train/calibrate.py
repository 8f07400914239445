"""Make the sigmoid of an exported reranker's score a chance: fit a slope and a shift, which change no order.

    python bench/train/calibrate.py TEXTS.json.xz FOLDER

Platt scaling (Platt 1999) on the development collections: answers against what BM25 ranks 5th to 30th and is
not known to answer, and against documents by chance, answers and others weighing the same in all. So 0.5 is
where a document is as likely an answer as one that shares the query's words. FOLDER is written anew.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bm25s
import torch
import torch.nn.functional as F
from export import sealed
from safetensors.torch import load_file

from tercet.models import CrossEncoder
from tercet.models.packaged import cross_encoder

QUERIES = 80  # of a collection
ANSWERS, NEAR, CHANCE = 2, 2, 1  # documents of a query
RANKS = slice(4, 30)


def pairs(held: dict[str, Any], rng: random.Random) -> Iterator[tuple[str, str, bool]]:
    """Yield queries, documents, and whether these answer."""
    documents = held["documents"]
    words = bm25s.BM25()
    words.index(bm25s.tokenize(documents, show_progress=False), show_progress=False)
    for i in rng.sample(range(len(held["queries"])), min(QUERIES, len(held["queries"]))):
        query, grades = held["queries"][i], held["grades"][i]
        answers = [int(d) for d, grade in grades.items() if grade > 0]
        terms = bm25s.tokenize([query], show_progress=False)
        best = words.retrieve(terms, k=RANKS.stop, show_progress=False).documents[0]
        near = [int(d) for d in best[RANKS] if int(d) not in answers]
        others = [d for d in rng.sample(range(len(documents)), 8) if d not in answers]
        for d in rng.sample(answers, min(ANSWERS, len(answers))):
            yield query, documents[d], True
        for d in rng.sample(near, min(NEAR, len(near))) + others[:CHANCE]:
            yield query, documents[d], False


def fitted(scores: torch.Tensor, answers: torch.Tensor) -> tuple[float, float]:
    """Return the slope and the shift that make sigmoids of scores chances."""
    weights = torch.where(answers, 0.5 / answers.float().mean(), 0.5 / (~answers).float().mean())
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([line], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        logits = line[0] * scores + line[1]
        found = F.binary_cross_entropy_with_logits(logits, answers.double(), weights.double())
        found.backward()
        return found

    solver.step(loss)
    slope, shift = line.tolist()
    return slope, shift


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    with lzma.open(args.texts, "rt", encoding="utf-8") as file:
        development = json.load(file)["development"]
    rng = random.Random(0)
    model = CrossEncoder(cross_encoder(folder=args.folder), precision="float32", activation="none")
    listed = [pair for held in development.values() for pair in pairs(held, rng)]
    scores = torch.from_numpy(model.predict([pair[:2] for pair in listed])).double()
    answers = torch.tensor([pair[2] for pair in listed])
    slope, shift = fitted(scores, answers)
    chances = (slope * scores + shift).sigmoid()
    told, wrong = ((chances[of] > 0.5).double().mean() for of in (answers, ~answers))
    print(f"slope {slope:.3f}, shift {shift:.3f}; above 0.5: {told:.3f} of answers, {wrong:.3f} of others")
    tensors = load_file(args.folder / "updates.safetensors")
    tensors["classifier.weight.scale"] = (tensors["classifier.weight.scale"].float() * slope).half()
    tensors["classifier.bias"] = (tensors["classifier.bias"].float() * slope + shift).half()
    about = json.loads((args.folder / "model.json").read_text())
    sealed(args.folder, tensors, about)


if __name__ == "__main__":
    main()
