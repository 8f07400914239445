"""How fast is the exact top-k of single vectors?"""

from __future__ import annotations

import functools

import numpy as np
import pytest

import tercet
from harness.data import overlap, same_lists, unit_rows
from harness.measure import SideBySide, Work
from harness.peer import Peer

N, DIM = 100_000, 384
EXACT = f"Exact top-k over {N:,} x {DIM} float32"
CERTIFIED = f"Top-10 over {N:,} x {DIM}, proven equal to float32 from smaller codes"
CODECS = f"Top-10 over {N:,} x {DIM}, smaller codecs"

full = pytest.mark.full


@functools.lru_cache(1)
def vectors() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return unit_rows(rng, N, DIM), unit_rows(rng, 256, DIM)


def queries_of(n: int) -> str:
    return "1 query" if n == 1 else f"{n} queries"


def contenders(k: int) -> list[Peer]:
    return [
        Peer("faiss IndexFlatIP", "faiss_flat.topk", {"k": k}),
        Peer("numpy matmul + argpartition", "numpy_blas.topk", {"k": k}),
        Peer("torch matmul + topk", "torch_cpu.topk", {"k": k}),
    ]


@pytest.mark.parametrize("k", [10, pytest.param(100, marks=full)])
@pytest.mark.parametrize("nq", [1, pytest.param(8, marks=full), 32, pytest.param(256, marks=full)])
def test_float32(side_by_side: SideBySide, nq: int, k: int) -> None:
    docs, queries = vectors()[0], vectors()[1][:nq]
    same = same_lists(queries, docs, tercet.topk(queries, docs, k).ids)
    side_by_side(
        EXACT,
        f"{queries_of(nq)}, k={k}",
        "tercet.topk",
        lambda: tercet.topk(queries, docs, k, threads=1),
        work=Work(nq * docs.size, docs.nbytes),
        form="float32",
        peers=contenders(k),
        arrays={"queries": queries, "docs": docs},
        check=lambda hits: same(hits.ids),
        peer_check=same,
    )


@pytest.mark.parametrize("codec", ["bfloat16", "int8"])
@pytest.mark.parametrize("nq", [pytest.param(1, marks=full), 32])
def test_certified(side_by_side: SideBySide, nq: int, codec: str) -> None:
    docs, queries = vectors()[0], vectors()[1][:nq]
    index = tercet.FlatIndex(DIM, metric="dot", codec=codec, rescore="float32")
    index.add(docs)
    same = same_lists(queries, docs, tercet.topk(queries, docs, 10).ids)
    side_by_side(
        CERTIFIED,
        f"{queries_of(nq)}, {codec}",
        f"FlatIndex {codec}, exact=True",
        lambda: index.search(queries, 10, exact=True, threads=1),
        work=Work(nq * docs.size, docs.size * (2 if codec == "bfloat16" else 1)),
        form=codec,
        peers=[Peer("FlatIndex float32", "tercet_float32.topk", {"k": 10}), *contenders(10)[:1]],
        arrays={"queries": queries, "docs": docs},
        check=lambda hits: same(hits.ids),
        peer_check=same,
    )


@pytest.mark.parametrize("codec", ["bfloat16", "int8", "int4"])
@pytest.mark.parametrize("nq", [pytest.param(1, marks=full), 32])
def test_codec(side_by_side: SideBySide, nq: int, codec: str) -> None:
    docs, queries = vectors()[0], vectors()[1][:nq]
    index = tercet.FlatIndex(DIM, metric="dot", codec=codec)
    index.add(docs)
    recall = overlap(tercet.topk(queries, docs, 10).ids)
    side_by_side(
        CODECS,
        f"{queries_of(nq)}, {codec}",
        f"FlatIndex {codec}",
        lambda: index.search(queries, 10, threads=1),
        work=Work(nq * docs.size, index.nbytes),
        form=codec,
        peers=contenders(10)[:1],  # in float32, for scale
        arrays={"queries": queries, "docs": docs},
        check=lambda hits: recall(hits.ids),
        peer_check=recall,
    )
