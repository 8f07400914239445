"""Does an index of four shards in four processes answer as one index does, and what does that take?

    python bench/bench_ray.py                    # a million synthetic tokens, in a minute or two
    python bench/bench_ray.py --tokens 5000000
    python bench/bench_ray.py --files FOLDER     # documents and queries as token_files.py keeps them

Prints whether ids and scores of exact searches are those of one MultiVectorIndex, to the last bit; which part
of them the default plan finds, of both; times of both, one query a call; and, when a process is killed while
searches go on, what these answer and how long the longest of them took.

Synthetic tokens are harder than a model's: documents of a topic are told apart by noise alone, so that
searches by lists miss more of the best. All run on this machine, with one thread a process. With fewer cores
than shards, processes wait for each other: times say what shards and Ray cost here, not what more machines
gain.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray

import tercet
import token_files
from tercet.ray import ShardedIndex, build_shards

DIM = 128
QUERY_TOKENS = 32
DOCUMENT_TOKENS = 80  # on average
BATCH = 250  # documents
KINDS = 20_000  # of tokens, as words are: some frequent, most rare
TOPICS = 500  # of documents: half of their tokens are of the topic's kinds
TOPIC_KINDS = 200
NOISE = 0.5  # length of what tells tokens of a kind apart, beside 1
K = 10


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def kinds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the vectors of kinds, how frequent each is, and which kinds a topic has."""
    rng = np.random.default_rng(0)
    frequent = 1 / np.arange(1, KINDS + 1)
    return (
        unit(rng.standard_normal((KINDS, DIM), np.float32)),
        np.cumsum(frequent / frequent.sum()),
        rng.integers(0, KINDS, (TOPICS, TOPIC_KINDS)),
    )


def synthetic(shard: int, tokens: int) -> Iterator[tuple[np.ndarray, tercet.TokenVectors]]:
    """Yield about so many tokens, in batches; the same for the same shard."""
    rng, (vectors, frequent, topics) = np.random.default_rng([1, shard]), kinds()
    made = first = 0
    while made < tokens:
        lengths = rng.integers(DOCUMENT_TOKENS // 2, DOCUMENT_TOKENS * 3 // 2, BATCH)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        topic = np.repeat(rng.integers(0, TOPICS, BATCH), lengths)
        general = np.searchsorted(frequent, rng.random(len(topic)))
        of_topic = topics[topic, rng.integers(0, TOPIC_KINDS, len(topic))]
        kind = np.where(rng.random(len(topic)) < 0.5, general, of_topic)
        noise = rng.standard_normal((len(kind), DIM), np.float32) * np.float32(NOISE / np.sqrt(DIM))
        ids = shard * 10**9 + np.arange(first, first + BATCH)
        yield ids, tercet.TokenVectors(unit(vectors[kind] + noise), offsets)
        made, first = made + len(kind), first + BATCH


def of_files(folder: Path, shard: int, shards: int) -> Iterator[tuple[np.ndarray, tercet.TokenVectors]]:
    """Yield the documents of one of so many parts."""
    documents = token_files.read(folder, "documents")
    bounds = np.linspace(0, len(documents), shards + 1).astype(int)
    first, last = bounds[shard], bounds[shard + 1]
    for part in documents.between(first, last).parts(100_000):
        ids = np.arange(first, first := first + len(part))
        yield ids, tercet.TokenVectors(part.values, part.offsets)


def asked(folder: Path | None, count: int) -> list[np.ndarray]:
    """Return queries of a folder, none without one."""
    return (
        [] if folder is None else [q.astype(np.float32) for q in token_files.read(folder, "queries", count)]
    )


def looked_for(index: tercet.MultiVectorIndex, count: int) -> list[np.ndarray]:
    """Return queries: tokens of documents, as far from them as tokens of a kind are from each other."""
    rng = np.random.default_rng(2)
    found = []
    for document in index.get(rng.choice(index.ids, count, replace=False)):
        rows = document[rng.integers(0, len(document), QUERY_TOKENS)]
        noise = rng.standard_normal(rows.shape, np.float32) * np.float32(NOISE / np.sqrt(rows.shape[1]))
        found.append(unit(rows + noise))
    return found


def timed(
    search: Callable[..., tercet.Hits], queries: list[Any], **how: Any
) -> tuple[list[Any], float, float]:
    """Return the hits of one query after the other, the median of their milliseconds, and the longest."""
    hits, times = [], []
    for query in queries:
        start = time.perf_counter()
        hits.append(search(query, K, **how))
        times.append(1000 * (time.perf_counter() - start))
    return hits, float(np.median(times)), max(times)


@contextmanager
def took(what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - start:.1f} s", flush=True)


def equal(a: list[tercet.Hits], b: list[tercet.Hits]) -> str:
    pairs = zip(a, b, strict=True)
    same = [x.ids.tolist() == y.ids.tolist() and np.array_equal(x.scores, y.scores) for x, y in pairs]
    return "equal" if all(same) else "DIFFER"


def recall(found: list[tercet.Hits], best: list[tercet.Hits]) -> float:
    pairs = zip(found, best, strict=True)
    return float(np.mean([len({*x.ids[0].tolist()} & {*y.ids[0].tolist()}) / K for x, y in pairs]))


def compare(index: ShardedIndex, one: tercet.MultiVectorIndex, queries: list[Any]) -> None:
    for _ in range(3):  # untimed
        index.search(queries[0], exact=True)
        one.search(queries[0], exact=True)
    best, one_exact, _ = timed(one.search, queries, exact=True, threads=1)
    exact, shards_exact, _ = timed(index.search, queries, exact=True, threads=1)
    found, one_default, _ = timed(one.search, queries, threads=1)
    parts, shards_default, _ = timed(index.search, queries, threads=1)
    print(f"exact: ids and scores {equal(exact, best)} in {len(queries)} queries")
    print(f"recall@{K} of the default: one index {recall(found, best):.3f}, shards {recall(parts, best):.3f}")
    print("milliseconds a query (median):   exact  default")
    print(f"  one index, one thread       {one_exact:8.2f} {one_default:8.2f}")
    print(f"  {len(index._actors)} processes, a thread each {shards_exact:8.2f} {shards_default:8.2f}")

    halfway = shards_exact * len(queries) / 2 / 1000
    killer = threading.Timer(halfway, ray.kill, [index._actors[0]], {"no_restart": False})
    killer.start()
    after, _, longest = timed(index.search, queries, exact=True, threads=1)
    killer.join()
    print(f"a process is killed mid-run: ids and scores {equal(after, best)} in {len(queries)} queries")
    print(f"  the longest search, that waited for it to come back: {longest / 1000:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000_000, help="how many to make")
    parser.add_argument("--files", type=Path, help="a folder of token_files.py, in place of synthetic tokens")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--codec", default="int4")
    given = parser.parse_args()

    numbers = range(given.shards)
    if given.files:
        sources = [partial(of_files, given.files, i, given.shards) for i in numbers]
        dim = token_files.read(given.files, "documents").values.shape[1]
    else:
        sources, dim = [partial(synthetic, i, -(-given.tokens // given.shards)) for i in numbers], DIM

    # The actors import this file too
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with took("Ray started"):
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    print(f"Ray {ray.__version__}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        with took(f"{given.shards} shards built, with what starts the actors and makes the tokens"):
            build_shards(path, sources, tercet.MultiVectorIndex(dim, codec=given.codec))
        there = tercet.open(path)
        print(f"{there.num_tokens:,} tokens of {dim} dimensions, {len(there):,} documents, {given.codec}")
        one = tercet.MultiVectorIndex(dim, codec=given.codec)
        if there.codebook is not None:
            there.codebook.share_with(one)
        with took("one index built, with what makes the tokens"):
            for source in sources:
                for ids, documents in source():
                    one.add(documents, ids)
        with took(f"{given.shards} actors started, files opened"):
            index = ShardedIndex.open(path)
        with index:
            compare(index, one, asked(given.files, given.queries) or looked_for(one, given.queries))
    ray.shutdown()


if __name__ == "__main__":
    main()
