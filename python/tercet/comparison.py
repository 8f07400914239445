"""The arms of ``tercet demo``: what each keeps, and what that costs. One pass of a model serves all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from tercet.compare.arms import BEST, Arm, Indexes, Query
from tercet.documents import Document
from tercet.indexes import FlatIndex, MultiVectorIndex
from tercet.models import BiEncoder
from tercet.progress import Progress
from tercet.types import TokenVectors

__all__ = [
    "BATCH",
    "Shown",
    "encode_documents",
    "encode_queries",
    "make_arms",
    "times",
]

BATCH = 16  # texts per forward pass: more pads more than it gains on a CPU

_SLAB = 256  # texts sorted by length together
_DEPTH = 50  # candidates of the bi-encoder that late interaction reranks
_TIMING = 4000  # milliseconds to spend on one figure
_LEAST = 5  # queries behind a figure in any case


class Shown(NamedTuple):
    """An arm, and what it computes, in words."""

    name: str
    arm: Arm
    ahead: str
    per_query: str


def encode_documents(
    model: BiEncoder, documents: list[Document], steps: list[int], *, quiet: bool
) -> list[Indexes]:
    """Return the indexes of the first ``steps[i]`` documents, for each ``i``."""
    dim = model.dim
    texts = [document.content for document in documents]
    grown = [Indexes(FlatIndex(dim), MultiVectorIndex(dim), texts[:limit]) for limit in steps]
    with Progress("encoding", len(documents), quiet=quiet) as progress:
        for start in range(0, len(documents), _SLAB):
            pooled, tokens = model.encode_both(texts[start : start + _SLAB])
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


def make_arms(indexes: Indexes, queries: list[Query], reranker: Any, depth: int) -> list[Shown]:
    """Return what is compared, described by what was counted; a cross-encoder reads ``depth`` candidates."""
    size, dim = len(indexes.texts), indexes.pooled.dim
    stored = sum(len(t) for t in indexes.tokens.get(list(range(size))))
    asked = sum(len(q.tokens.values) for q in queries) / len(queries)
    reranked = asked * stored * _DEPTH / size
    shown = [
        Shown(
            "bi-encoder", Arm("bi", ("bi",)),
            f"1 vector of {dim} {indexes.pooled.codec}",
            f"1 query vector; {size:,} dot products",
        ),
        Shown(
            "late interaction", Arm("colbert", ("colbert",)),
            f"{stored / size:.0f} token vectors of {dim} {indexes.tokens.codec}",
            f"{asked:.0f} token vectors; {asked * stored / 1e6:.1f} million dot products",
        ),
        Shown(
            "bi-encoder -> late", Arm("bi+colbert", ("bi", "colbert"), (_DEPTH,)),
            "both",
            f"{size:,} dot products, then {reranked / 1e6:.2f} million ({_DEPTH} texts)",
        ),
    ]  # fmt: skip
    if reranker is not None:
        shown.append(
            Shown(
                "bi-encoder -> cross", Arm("bi+ce", ("bi", "ce"), (depth,), reranker),
                "the vector; texts are kept",
                f"{size:,} dot products, then {depth} passes of the model",
            )
        )  # fmt: skip
    return shown


def times(arm: Arm, queries: list[Query], grown: Sequence[Indexes]) -> list[list[float]]:
    """Return for each of some indexes the milliseconds a query takes; of a slow arm, the first have to do.

    A query is asked of one index after the other, so that a busy machine is as slow for all of them.
    """
    for indexes in grown:
        arm.search(queries[0], indexes, BEST)  # warm
    took: list[list[float]] = [[] for _ in grown]
    for asked, query in enumerate(queries, 1):
        for figures, indexes in zip(took, grown, strict=True):
            start = time.perf_counter()
            arm.search(query, indexes, BEST)
            figures.append(1e3 * (time.perf_counter() - start))
        if asked >= _LEAST and sum(map(sum, took)) > _TIMING * len(grown):
            break
    return took
