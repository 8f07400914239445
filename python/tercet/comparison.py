"""The arms of ``tercet demo``: what each keeps, how each ranks, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tercet.documents import Document
from tercet.indexes import FlatIndex, MultiVectorIndex
from tercet.models import BiEncoder
from tercet.progress import Progress
from tercet.types import Hits, TokenVectors

__all__ = [
    "BATCH",
    "Arm",
    "Indexes",
    "Query",
    "encode_documents",
    "encode_queries",
    "make_arms",
    "times",
]

BATCH = 16  # texts per forward pass: more pads more than it gains on a CPU

_SLAB = 256  # texts sorted by length together
_DEPTH = 50  # candidates of the bi-encoder that late interaction reranks
_TIMING = 4000  # milliseconds to spend on one figure
_CROSS_DEPTH = 20  # candidates that the cross-encoder reads


class Query(NamedTuple):
    """A question as the arms take it."""

    text: str
    pooled: npt.NDArray[np.float32]
    tokens: TokenVectors


class Indexes(NamedTuple):
    """The same documents twice; ids are places in the collection."""

    pooled: FlatIndex
    tokens: MultiVectorIndex


class Arm(NamedTuple):
    """One way to rank."""

    name: str
    search: Callable[[Query, Indexes, int, Any], list[int]]  # query, indexes, k, allowed ids or None
    stored: Callable[[Indexes], int]  # bytes
    ahead: str
    per_query: str


def encode_documents(
    model: BiEncoder, documents: list[Document], steps: list[int], *, quiet: bool
) -> list[Indexes]:
    """Return the indexes of the first ``steps[i]`` documents, for each ``i``."""
    dim = model.dim
    grown = [Indexes(FlatIndex(dim), MultiVectorIndex(dim)) for _ in steps]
    with Progress("encoding", len(documents), quiet=quiet) as progress:
        for start in range(0, len(documents), _SLAB):
            pooled, tokens = model.encode_both([d.content for d in documents[start : start + _SLAB]])
            for limit, indexes in zip(steps, grown, strict=True):
                count = min(limit - start, len(pooled))
                if count > 0:
                    ids = list(range(start, start + count))
                    indexes.pooled.add(pooled[:count], ids)
                    indexes.tokens.add(TokenVectors.from_list([tokens[i] for i in range(count)]), ids)
            progress(start + len(pooled))
    return grown


def encode_queries(model: BiEncoder, texts: list[str]) -> tuple[list[Query], list[float]]:
    """Return the queries, encoded one at a time, and the milliseconds each took.

    A model without prompts reads a query as it reads a document.
    """
    model.encode_both(texts[:1])  # the first pass allocates
    queries, took = [], []
    for text in texts:
        start = time.perf_counter()
        pooled, tokens = model.encode_both(text)
        took.append(1e3 * (time.perf_counter() - start))
        queries.append(Query(text, pooled, tokens))
    return queries, took


def make_arms(indexes: Indexes, queries: list[Query], documents: list[Document], reranker: Any) -> list[Arm]:
    """Return what is compared, described by what was counted."""
    size, dim = len(documents), indexes.pooled.dim
    stored = sum(len(t) for t in indexes.tokens.get(list(range(size))))
    asked = sum(len(q.tokens.values) for q in queries) / len(queries)
    reranked = asked * stored * _DEPTH / size

    def bi(query: Query, on: Indexes, k: int, allowed: Any) -> list[int]:
        return _ids(on.pooled.search(query.pooled, k, filter=allowed))

    def late(query: Query, on: Indexes, k: int, allowed: Any) -> list[int]:
        return _ids(on.tokens.search(query.tokens, k, filter=allowed))

    def chain(query: Query, on: Indexes, k: int, allowed: Any) -> list[int]:
        candidates = on.pooled.search(query.pooled, _DEPTH)
        return _ids(on.tokens.rerank(query.tokens, candidates, k))

    def cross(query: Query, on: Indexes, k: int, allowed: Any) -> list[int]:
        candidates = _ids(on.pooled.search(query.pooled, _CROSS_DEPTH))
        scores = reranker.score(query.text, [documents[i].content for i in candidates])
        return [candidates[i] for i in np.argsort(-scores, kind="stable")[:k]]

    arms = [
        Arm(
            "bi-encoder", bi, lambda on: on.pooled.nbytes,
            f"1 vector of {dim} {indexes.pooled.codec}",
            f"1 query vector; {size:,} dot products",
        ),
        Arm(
            "late interaction", late, lambda on: on.tokens.nbytes,
            f"{stored / size:.0f} token vectors of {dim} {indexes.tokens.codec}",
            f"{asked:.0f} token vectors; {asked * stored / 1e6:.1f} million dot products",
        ),
        Arm(
            "bi-encoder -> late", chain, lambda on: on.pooled.nbytes + on.tokens.nbytes,
            "both",
            f"{size:,} dot products, then {reranked / 1e6:.2f} million ({_DEPTH} texts)",
        ),
    ]  # fmt: skip
    if reranker is not None:
        arms.append(
            Arm(
                "bi-encoder -> cross", cross, lambda on: on.pooled.nbytes,
                "the vector; texts are kept",
                f"{size:,} dot products, then {_CROSS_DEPTH} passes of the model",
            )
        )  # fmt: skip
    return arms


def _ids(hits: Hits) -> list[int]:
    return [int(hit.id) for hit in hits[0]]


def times(arm: Arm, queries: list[Query], indexes: Indexes) -> list[float]:
    """Return the milliseconds that each query takes; of a slow arm, the first queries have to do."""
    arm.search(queries[0], indexes, 10, None)  # warm
    took: list[float] = []
    for query in queries:
        start = time.perf_counter()
        arm.search(query, indexes, 10, None)
        took.append(1e3 * (time.perf_counter() - start))
        if sum(took) > _TIMING:
            break
    return took
