"""What does a filter cost? HNSWIndex, one query a call, one thread, at the recall it has without a filter.

    python bench/bench_filters.py VECTORS.npy QUERIES.npy [--recall 0.95] [--rounds N]

Vectors as for bench_ann.py. For each part of the vectors that a random mask allows, the smallest width of
the beam that reaches the recall (among those that are allowed), and its time beside that of unfiltered
search, the two in turn. ``answers`` is the part of the queries that got min(k, allowed) of what is allowed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import tercet
from bench_ann import K, normalised
from harness.machine import describe
from harness.report import Report

WIDTHS = tuple(int(10 * 1.1**i) for i in range(40))  # 10 to 411
PARTS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.9)
HEADER = ("allowed", "ef", "recall", "us a query", "x unfiltered", "answers")


def ask(index: tercet.HNSWIndex, queries: np.ndarray, width: int, mask: Any) -> tuple[float, np.ndarray]:
    """Microseconds a query, and the ids."""
    start = time.perf_counter()
    ids = [index.search(queries[i], K, ef=width, filter=mask, threads=1).ids for i in range(len(queries))]
    return (time.perf_counter() - start) / len(queries) * 1e6, np.concatenate(ids)


def recall_of(ids: np.ndarray, best: np.ndarray) -> float:
    wanted = [{i for i in row if i >= 0} for row in best.tolist()]
    found = [len(set(a) & b) / max(1, len(b)) for a, b in zip(ids.tolist(), wanted, strict=True)]
    return float(np.mean(found))


def narrowest(
    index: tercet.HNSWIndex, queries: np.ndarray, best: np.ndarray, recall: float, mask: Any
) -> int:
    for width in WIDTHS:
        if recall_of(ask(index, queries, width, mask)[1], best) >= recall:
            return width
    return WIDTHS[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of filters.")
    parser.add_argument("vectors")
    parser.add_argument("queries")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rows, queries = normalised(args.vectors), normalised(args.queries)[:1000]
    index = tercet.HNSWIndex(rows.shape[1])
    index.add(rows)
    rng = np.random.default_rng(0)
    masks = [None, *(rng.random(len(rows)) < part for part in PARTS)]
    best = [index.search(queries, K, exact=True, filter=mask).ids for mask in masks]
    widths = [narrowest(index, queries, b, args.recall, m) for m, b in zip(masks, best, strict=True)]
    times: list[list[float]] = [[] for _ in masks]
    ids: list[np.ndarray] = [queries] * len(masks)
    for _ in range(args.rounds):
        for i, mask in enumerate(masks):
            elapsed, ids[i] = ask(index, queries, widths[i], mask)
            times[i].append(elapsed)
    lines = []
    for i, mask in enumerate(masks):
        allowed = np.ones(len(rows), bool) if mask is None else mask
        most = min(K, int(allowed.sum()))
        answers = np.mean([(row >= 0).sum() == most and allowed[row[row >= 0]].all() for row in ids[i]])
        lines.append(
            [
                "all" if mask is None else f"{PARTS[i - 1]:.1%}",
                str(widths[i]),
                f"{recall_of(ids[i], best[i]):.4f}",
                f"{min(times[i]):.1f}",
                f"{min(times[i]) / min(times[0]):.2f}",
                f"{answers:.0%}",
            ]
        )
    report = Report()
    report.head = describe(f"{len(rows)} x {rows.shape[1]}, {len(queries)} queries, k = {K}, one thread")
    report.add(f"Filtered search at recall@{K} of at least {args.recall}", HEADER, "", lines, [])
    print("\n".join(report.lines()))


if __name__ == "__main__":
    main()
