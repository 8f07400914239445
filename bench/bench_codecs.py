"""What does a codec lose, and what does it save? Errors, rankings, bytes and speed, all codecs side by side.

    python bench/bench_codecs.py [FOLDER ...] [--cache DIR]

Over isotropic unit vectors, and over the token vectors of every FOLDER (as bench_quality.py reads and caches
them), as they are and reduced to 128 dimensions: projected on the directions of largest second moment and
normalised again, as a late-interaction model of that size would give them.

For scale, without a kernel: quantile buckets, as ColBERTv2's codec stores residuals, here of the vectors
themselves. Cutoffs are quantiles of all values of all dimensions; a bucket stands for the mean of its values,
or, as ColBERTv2 has it, for their median, and the decoded vector is normalised.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tercet
from bench_quality import MAX_TOKENS, Collection, K, ndcg
from harness import summary
from harness.machine import describe, one_core
from harness.report import Report, number
from peak import InstructionPeak
from token_sets import QUERY_TOKENS, TokenSet, collection_tokens, isotropic, parts, projected

PLAIN = ("bfloat16", "int8")
ROTATED = ("int4", "int2", "binary", "residual2", "residual1", "pq16")  # their losses depend on the seed
BUCKETS = (4, 2, 1)  # bits
POOLED = ("int4", "residual2")
POOL = 2  # tokens per vector
FITTED = 100_000  # tokens that buckets are fitted on
SAMPLE = 20_000  # vectors, and
PROBES = 200  # queries, whose inner products are compared
REPEATS = 15
TARGET = 0.70  # of the error of buckets of as many bits

HEADER = (
    "", "B/token", "IP rmse", "IP max", "|x - x'|", "bound/rmse", "MaxSim", "nDCG@10", "of seeds",
    "recall@10", "ns/token", "of peak", "encoded/s",
)  # fmt: skip


class Distortion(NamedTuple):
    """What inner products and vectors lose; ``bound`` is Cauchy-Schwarz over what is lost."""

    rmse: float
    largest: float
    vector: float
    bound: float


class Ranking(NamedTuple):
    """What scores and rankings lose."""

    maxsim: float
    ndcg: float
    recall: float


class Speed(NamedTuple):
    """One thread: seconds to search a token, part of the instruction peak, vectors encoded in a second."""

    token: float
    of_peak: float
    encoded: float


class Buckets:
    """Scalar quantisation with equally filled buckets, the same for all dimensions."""

    def __init__(self, rows: np.ndarray, bits: int, *, median: bool) -> None:
        self.bits, self._unit = bits, median
        levels = np.arange(2**bits) / 2**bits
        self._cutoffs = np.quantile(rows, levels[1:]).astype(np.float32)
        if median:
            self._weights = np.quantile(rows, levels + 0.5 / 2**bits).astype(np.float32)
        else:
            codes = np.searchsorted(self._cutoffs, rows.ravel())
            self._weights = (np.bincount(codes, rows.ravel()) / np.bincount(codes)).astype(np.float32)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return what is stored of rows."""
        stored = self._weights[np.searchsorted(self._cutoffs, rows)]
        return stored / np.linalg.norm(stored, axis=1, keepdims=True) if self._unit else stored


class Comparison:
    """One set of token vectors, its float32 scores, and the table of how far others are from them."""

    def __init__(self, tokens: TokenSet, report: Report, seeds: int) -> None:
        self.tokens, self._report, self._seeds = tokens, report, seeds
        rng = np.random.default_rng(0)
        documents, lengths = tokens.documents, np.diff(tokens.documents.offsets)
        order = rng.permutation(len(lengths))
        self._ids = order[: np.searchsorted(np.cumsum(lengths[order]), SAMPLE) + 1]
        spans = zip(documents.offsets[self._ids], documents.offsets[self._ids + 1], strict=True)
        self.sample = np.concatenate([documents.values[a:b] for a, b in spans])[:SAMPLE]
        queries = tokens.queries.values
        self._probes = queries[rng.permutation(len(queries))[:PROBES]]
        self._query = queries[:QUERY_TOKENS]
        self.exact = self._filled("float32", documents)
        hits = self.exact.search(tokens.queries, len(lengths))
        self._best, self._scores = hits.ids[:, :K], by_id(hits)

    def codecs(self) -> float:
        """Add the rows of every codec; returns the IP error of int4."""
        error = 0.0
        self._rows("float32", self.tokens.documents, 1)
        for codec in PLAIN:
            self._rows(codec, self.tokens.documents, 1)
        for codec in ROTATED:
            found = self._rows(codec, self.tokens.documents, self._seeds)
            error = found.rmse if codec == "int4" else error
        return error

    def pooled(self) -> None:
        pooled = tercet.pool_tokens(self.tokens.documents, POOL)
        for codec in POOLED:
            self._rows(codec, pooled, self._seeds, f", pool={POOL}")

    def buckets(self) -> dict[str, float]:
        """Add the rows of quantile buckets; returns the IP errors of those of 4 bits."""
        values = self.tokens.documents.values
        fitted = values[:: max(1, len(values) // FITTED)]
        errors = {}
        overhead = self.exact.nbytes / len(values) - 4 * values.shape[1]  # of offsets and ids
        for median in (False, True):
            for bits in BUCKETS:
                stored = Buckets(fitted, bits, median=median)
                index = tercet.MultiVectorIndex(values.shape[1], codec="float32")
                for part in parts(self.tokens.documents):
                    index.add(tercet.TokenVectors(stored(part.values), part.offsets))
                name = f"buckets of {bits} bits, {'medians, unit' if median else 'means'}"
                lost = self._distortion(stored(self.sample))
                size = values.shape[1] * bits / 8 + overhead
                self._add(name, size, [lost], [self._ranking(index)], None)
                if bits == 4:
                    errors[name] = lost.rmse
        return errors

    def remark(self, name: str, text: str) -> None:
        self._report.add(self.tokens.name, HEADER, "", [[name, text]])

    def _rows(self, codec: Any, documents: tercet.TokenVectors, seeds: int, suffix: str = "") -> Distortion:
        """Add a row of a codec, and return its errors."""
        lost, rankings, speed, size = [], [], None, 0.0
        for seed in range(seeds):
            index = self._filled(codec, documents, seed)
            if not suffix:  # pooled vectors are others than those given
                lost.append(self._distortion(index.get(self._ids).values[:SAMPLE]))
            rankings.append(self._ranking(index))
            if speed is None:
                size = index.nbytes / len(self.tokens.documents.values)
                speed = self._speed(index, codec)
        self._add(codec + suffix, size, lost, rankings, speed)
        return mean(lost) if lost else Distortion(0, 0, 0, 0)

    @staticmethod
    def _filled(codec: Any, documents: tercet.TokenVectors, seed: int = 0) -> tercet.MultiVectorIndex:
        index = tercet.MultiVectorIndex(documents.dim, codec=codec, seed=seed)
        index.add(documents)
        return index

    def _distortion(self, stored: np.ndarray) -> Distortion:
        """Queries are not rounded here; they are in the scores of a ranking."""
        lost = self.sample - stored
        errors = self._probes @ lost.T
        rmse, length = rms(errors), np.linalg.norm(lost, axis=1)
        bound = rms(np.linalg.norm(self._probes, axis=1)) * rms(length)
        return Distortion(rmse, float(np.abs(errors).max()), rms(length), bound / rmse if rmse else 0)

    def _ranking(self, index: tercet.MultiVectorIndex) -> Ranking:
        hits = index.search(self.tokens.queries, len(index))
        scores, best, collection = by_id(hits), hits.ids[:, :K], self.tokens.collection
        there = np.isfinite(self._scores)
        error = rms(scores[there] - self._scores[there]) / rms(self._scores[there])
        found = [len(set(a) & set(b)) for a, b in zip(best.tolist(), self._best.tolist(), strict=True)]
        return Ranking(error, quality(best, collection), float(np.mean(found)) / best.shape[1])

    def _speed(self, index: tercet.MultiVectorIndex, codec: str) -> Speed:
        """Last of all, since it adds to the index."""
        peak, tokens, vectors = InstructionPeak(codec), len(self.tokens.documents.values), index.num_tokens
        searches, limits, encodings = [], [], []
        with one_core(None):
            for _ in range(REPEATS):
                limits.append(max(peak() for _ in range(3)))
                searches.append(seconds(lambda: index.search(self._query, K, threads=1)))
            for _ in range(3):  # the first makes room
                encodings.append(seconds(lambda: index.add(self.sample, threads=1)))
        part = summary.of_limit(self._query.size * vectors, searches, limits)
        return Speed(min(searches) / tokens, part.best, len(self.sample) / min(encodings))

    def _add(
        self, name: str, size: float, lost: list[Distortion], rankings: list[Ranking], speed: Speed | None
    ) -> None:
        ranked, quality = mean(rankings), [r.ndcg for r in rankings]
        judged = self.tokens.collection is not None
        spread = f"{min(quality):.4f}..{max(quality):.4f}" if judged and len(quality) > 1 else ""
        cells = [
            name,
            number(size),
            *(map(number, mean(lost)) if lost else [""] * len(Distortion._fields)),
            f"{100 * ranked.maxsim:.3f} %",
            f"{ranked.ndcg:.4f}" if judged else "",
            spread,
            f"{ranked.recall:.4f}",
            *(
                [number(speed.token * 1e9), f"{speed.of_peak:.2f}", number(speed.encoded)]
                if speed
                else [""] * 3
            ),
        ]
        self._report.add(self.tokens.name, HEADER, "", [cells])
        print(f"{self.tokens.name}: {name}", flush=True)


def by_id(hits: tercet.Hits) -> np.ndarray:
    """Return the scores of all documents in the order of their ids."""
    scores = np.full_like(hits.scores, -np.inf)
    queries, places = np.nonzero(hits.ids >= 0)
    scores[queries, hits.ids[queries, places]] = hits.scores[queries, places]
    return scores


def quality(best: np.ndarray, collection: Collection | None) -> float:
    """Return the mean nDCG@10, 0 without judgements."""
    if collection is None:
        return 0.0
    rankings = zip(collection.query_ids, best.tolist(), strict=True)
    ids, grades = collection.document_ids, collection.grades
    return float(np.mean([ndcg([ids[i] for i in row if i >= 0], grades[query]) for query, row in rankings]))


def mean(rows: Sequence[Any]) -> Any:
    """Return the means of named tuples of one kind."""
    return type(rows[0])(*np.mean(rows, axis=0).tolist())


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(tokens: TokenSet, report: Report, seeds: int) -> None:
    comparison = Comparison(tokens, report, seeds)
    error = comparison.codecs()
    if tokens.collection is not None:
        comparison.pooled()
    for name, other in comparison.buckets().items():
        target = "" if tokens.collection else f" (target: at most {TARGET:.2f})"
        comparison.remark(f"IP rmse of int4 / {name}", f"{error / other:.3f}{target}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Errors, rankings, bytes and speed of every codec.")
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER", help="a collection, BEIR layout")
    parser.add_argument("--cache", type=Path, default=Path("build/bench-cache"), help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3, help="of codecs that rotate; default: %(default)s")
    chosen = parser.parse_args(arguments)
    report = Report()
    report.head = [
        *describe(f"search and encoding: one thread, best of {REPEATS} and of 3, wall time"),
        f"IP: {PROBES} queries x {SAMPLE:,} vectors; MaxSim: rms error of scores / rms of float32 scores; "
        f"collections: all-MiniLM-L6-v2, at most {MAX_TOKENS} tokens",
        f"rotated codecs: means of {chosen.seeds} seeds; ns: query of {QUERY_TOKENS} tokens, a token given; "
        "encoding: without training",
    ]
    compare(isotropic(), report, chosen.seeds)
    for folder in chosen.folders:
        tokens = collection_tokens(folder, chosen.cache)
        compare(tokens, report, chosen.seeds)
        compare(projected(tokens), report, chosen.seeds)
    print(*report.lines(), sep="\n")


if __name__ == "__main__":
    main()
