"""nDCG@10 of trained models and of what they started from, on collections in BEIR's layout.

    python bench/train/evaluate.py FOLDER [FOLDER ...] [--qrels test] [--colbert DIR] [--reranker DIR]
        [--depth 50] [--papers ARXIV.jsonl] [--untrained]

DIR is a folder that export.py wrote; models run in bfloat16 where the processor multiplies it, and token
vectors are stored as float32. ``--untrained`` adds the token vectors of the backbone. ``--papers`` adds the
papers that sources.py keeps for development: 500 titles, as people type them, ask for their abstracts among
2,500.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sources import DEVELOPMENT, grades, lines, typed

import tercet
from tercet.judged import ndcg
from tercet.models import BiEncoder, ColBERT, CrossEncoder
from tercet.models.packaged import colbert, cross_encoder


class Judged(NamedTuple):
    name: str
    ids: list[str]
    documents: list[str]
    queries: dict[str, str]
    grades: dict[str, dict[str, int]]


def collection(folder: Path, qrels: str) -> Judged:
    graded = grades(folder / "qrels" / f"{qrels}.tsv")
    graded = {q: g for q, g in graded.items() if max(g.values()) > 0}
    documents = list(lines(folder / "corpus.jsonl"))
    asked = {q["_id"]: q["text"] for q in lines(folder / "queries.jsonl") if q["_id"] in graded}
    texts = [f"{d.get('title') or ''} {d['text']}".strip() for d in documents]
    return Judged(folder.name, [d["_id"] for d in documents], texts, asked, graded)


def papers(path: Path) -> Judged:
    listed = list(lines(path))
    chosen = listed[:DEVELOPMENT] + random.Random(1).sample(listed[DEVELOPMENT:], 2000)
    rng = random.Random(2)
    asked = {d["_id"]: typed(d["title"], rng) for d in chosen[:DEVELOPMENT]}
    texts = [d["text"] for d in chosen]
    return Judged("papers", [d["_id"] for d in chosen], texts, asked, {q: {q: 1} for q in asked})


class Arms:
    """The rankings of one collection."""

    def __init__(self, judged: Judged, bi: BiEncoder) -> None:
        self.judged, self.bi = judged, bi
        self.asked = list(judged.queries.values())
        index = tercet.FlatIndex(bi.dim)
        index.add(bi.encode_document(judged.documents))
        self.first = index.search(bi.encode_query(self.asked), 100).ids

    def score(self, name: str, rankings: list[Any], seconds: float = 0.0) -> None:
        found = [
            ndcg([self.judged.ids[int(i)] for i in ranking], self.judged.grades[query])
            for query, ranking in zip(self.judged.queries, rankings, strict=True)
        ]
        error = np.std(found, ddof=1) / len(found) ** 0.5
        print(
            f"{self.judged.name:20} {name:28} {np.mean(found):.4f} +- {error:.4f} {seconds:7.0f} s",
            flush=True,
        )

    def late(self, name: str, model: ColBERT, depth: int) -> None:
        begun = time.perf_counter()
        index = tercet.MultiVectorIndex(model.dim, codec="float32")
        index.add(model.encode_document(self.judged.documents))
        queries = model.encode_query(self.asked)
        every = index.search(queries, 10, exact=True).ids
        again = index.rerank(
            queries, tercet.Hits(self.first[:, :depth], np.zeros((len(self.first), depth), "f4")), 10
        )
        self.score(name, list(every), time.perf_counter() - begun)
        self.score(f"bi -> {name}", list(again.ids))

    def cross(self, name: str, model: CrossEncoder, depth: int) -> None:
        begun, rankings = time.perf_counter(), []
        for query, candidates in zip(self.asked, self.first[:, :depth], strict=True):
            scores = model.score(query, [self.judged.documents[i] for i in candidates], progress=False)
            rankings.append(candidates[np.argsort(-scores, kind="stable")])
        self.score(f"bi -> {name}", rankings, time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--qrels", default="test")
    parser.add_argument("--papers", type=Path)
    parser.add_argument("--colbert", type=Path, action="append", default=[])
    parser.add_argument("--reranker", type=Path, action="append", default=[])
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--untrained", action="store_true", help="also the token vectors as they come")
    parser.add_argument("--queries", type=int, help="so many of each collection")
    args = parser.parse_args()
    bi = BiEncoder(precision="auto")
    judged = [collection(folder, args.qrels) for folder in args.folders]
    judged += [papers(args.papers)] if args.papers else []
    if not judged:
        sys.exit("evaluate.py: no collection given")
    for each in judged:
        kept = dict(list(each.queries.items())[: args.queries])
        arms = Arms(each._replace(queries=kept), bi)
        arms.score("bi-encoder", list(arms.first[:, :10]))
        if args.untrained:
            arms.late("MaxSim, untrained", ColBERT.from_biencoder(bi, precision="auto"), args.depth)
        for folder in args.colbert:
            arms.late(folder.name, ColBERT(colbert(folder=folder), precision="auto"), args.depth)
        for folder in args.reranker:
            arms.cross(folder.name, CrossEncoder(cross_encoder(folder=folder)), args.depth)


if __name__ == "__main__":
    main()
