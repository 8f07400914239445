"""How fast are centroids trained, and how good are they? Beside faiss.Kmeans, one thread each.

    python bench/bench_kmeans.py [--quick]

Vectors of unit length around 4,096 directions. Ours is k-means in two levels, faiss's is flat: the error
says what that costs. It is the rms distance of vectors from their nearest centroid, found exactly for a
sample; and for ours also from the centroid that the codebook assigns to them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import tercet
from harness.data import unit_rows
from harness.machine import describe, one_core
from harness.peer import Contest, Peer, PeerFailed
from harness.report import Report, duration, number
from tercet import _core

DIM = 128
DIRECTIONS = 4096
SPREAD = 0.7  # length of what is added to a direction
ITERATIONS = 5
FULL = (1 << 14, 1_000_000)  # centroids, vectors
QUICK = (1 << 10, 100_000)
SAMPLE = 10_000  # vectors whose nearest centroids are found exactly
PATIENCE = 3600.0  # flat k-means of a million vectors takes minutes

HEADER = ("contender", "time", "vectors/s", "x ours", "error", "as assigned")

Book = tuple[np.ndarray, np.ndarray, np.ndarray]


def clustered(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = unit_rows(rng, DIRECTIONS, DIM)[rng.integers(DIRECTIONS, size=count)]
    rows += SPREAD * unit_rows(rng, count, DIM)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def decoded(book: Book) -> np.ndarray:
    """Return the centroids in float32: biased int8 codes times bfloat16 scales."""
    codes, scales, _ = book
    return (codes.astype(np.float32) - 128) * (scales.astype(np.uint32) << 16).view(np.float32)[:, None]


def rms_distance(rows: np.ndarray, centroids: np.ndarray) -> float:
    """From row to row."""
    return float(np.sqrt(np.mean(np.sum((rows - centroids) ** 2, axis=1, dtype=np.float64))))


def error(sample: np.ndarray, centroids: np.ndarray) -> float:
    halves = np.sum(centroids**2, axis=1) / 2
    nearest = tercet.topk(
        np.column_stack([sample, -np.ones(len(sample), np.float32)]),
        np.column_stack([centroids, halves]),
        1,
        threads=1,
    ).ids[:, 0]
    return rms_distance(sample, centroids[nearest])


def cells(
    name: str, count: int, seconds: float, ours: float, sample: np.ndarray, found: np.ndarray
) -> list[str]:
    rate = number(count / seconds)
    return [name, duration(seconds), rate, number(seconds / ours), f"{error(sample, found):.4f}"]


def peer_row(vectors: np.ndarray, centroids: int, ours: float, sample: np.ndarray) -> tuple[str, list[str]]:
    """Return the version and row of faiss, in a process of its own."""
    peer = Peer("faiss.Kmeans", "faiss_kmeans.train", {"centroids": centroids, "iterations": ITERATIONS})
    with tempfile.TemporaryDirectory(prefix="tercet-bench-") as folder:
        contest = Contest(Path(folder), "wall", PATIENCE)
        try:
            contest.share({"vectors": vectors})
            prepared = contest.prepare(peer)
            seconds, found = prepared.seconds(warm=False), prepared.result()
        except PeerFailed as e:
            return "", [peer.name, str(e)]
        finally:
            contest.close()
    return prepared.version, [*cells(peer.name, len(vectors), seconds, ours, sample, found), ""]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Speed and error of k-means.")
    parser.add_argument("--quick", action="store_true", help="{:,} centroids of {:,} vectors".format(*QUICK))
    parser.add_argument("--core", type=int, help="core to measure on; -1 pins nothing")
    chosen = parser.parse_args(arguments)
    centroids, count = QUICK if chosen.quick else FULL
    vectors = clustered(count)
    sample = vectors[:: count // SAMPLE]
    with one_core(chosen.core) as pinned:
        head = describe(f"one thread, {pinned}, wall time")
        start = time.perf_counter()
        book = _core.train_codebook(vectors, centroids, ITERATIONS, 0, 1)
        seconds = time.perf_counter() - start
        version, peer = peer_row(vectors, centroids, seconds, sample)
    found = decoded(book)
    assigned = rms_distance(sample, found[_core.assign(*book, sample, 1)])
    ours = [*cells("tercet, two levels", count, seconds, seconds, sample, found), f"{assigned:.4f}"]
    report = Report()
    report.head = head
    title = f"k-means: {centroids:,} centroids of {count:,} x {DIM} vectors, {ITERATIONS} iterations"
    report.add(title, HEADER, "", [ours, peer], [version] if version else [])
    print(*report.lines(), sep="\n")


if __name__ == "__main__":
    main()
