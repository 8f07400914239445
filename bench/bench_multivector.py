"""What does a late-interaction query cost at which recall, and an index in time and bytes? One query a call.

    python bench/bench_multivector.py FOLDER [FOLDER ...] [--small] [--synthetic TOKENS]
        [--contender NAME ...] [--rivals NAME=PYTHON ...] [--json FILE] [--picture FILE]

Each contender builds its index of the same token vectors in a process of its own, and another process opens
it, answers all queries once, untimed, and stays. Then rounds go through all of them, one query a call, so
that what disturbs the machine disturbs everyone. All stay in memory together: of a large set, name the
contenders that fit. One that fails, or is not installed, says so in its row.

FOLDER holds a collection in BEIR's layout, as for bench_quality.py. Token vectors are those of the packaged
all-MiniLM-L6-v2, made once and kept in the cache; ``--small`` projects them to 128 dimensions. Several
folders, or ``--synthetic``, make one set, grown to so many tokens: token_sets.grown_files says how.

* **recall@10**: of the documents that an exact search of the float32 vectors finds.
* **nDCG@10**: by the collection's judgements; with ``--documents`` without meaning.
* **ms**: of a query, the mean over all of them: the median of the rounds, and the best.
* **tokens/s**: from mapped token vectors to an index on disk, with ``--build-threads``.
* **disk**: the index's files. **memory**: what the answering process grew by when it opened the index and
  answered all queries once, at its last setting; of a small set, much of it is the library's own.
* **peak**: resident memory (VmHWM), pages of mapped files included, of building and of answering.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import tercet
import token_files
from bench_quality import ndcg
from harness.contender import Contender, Failed
from harness.machine import describe
from harness.report import Report, number
from peers.late import CONTENDERS
from token_sets import CHUNK, collection_files, grown_files, reduced_files

K = 10
SEARCH = ("", "recall@10", "nDCG@10", "ms, median", "best")
INDEX = ("", "tokens/s", "build peak", "disk B/token", "memory B/token", "search peak", "built with")


def token_set(args: argparse.Namespace) -> Path:
    """Return where the token vectors are, made if need be."""
    homes = [collection_files(folder, args.cache) for folder in args.folders]
    if args.small:
        homes = [reduced_files(home) for home in homes]
    if len(homes) > 1 or args.synthetic:
        return grown_files(homes, args.synthetic, args.cache)
    return homes[0]


def exact(home: Path, documents: token_files.Tokens, asked: np.ndarray) -> np.ndarray:
    """Return the best K documents of each query by float32 MaxSim, compared in parts, and kept."""
    kept = home / f"best{K}-of-{len(documents)}-for-{len(asked)}.npy"
    if not kept.exists():
        every = token_files.read(home, "queries")
        queries = [np.array(every[i], np.float32) for i in asked]
        ids, scores, first = [], [], 0
        for part in documents.parts(10 * CHUNK):
            of_part = tercet.maxsim(queries, tercet.TokenVectors(part.values, part.offsets))
            ids.append(np.argsort(-of_part, axis=1, kind="stable")[:, :K])
            scores.append(np.take_along_axis(of_part, ids[-1], 1))
            ids[-1] += first
            first += len(part)
        order = np.argsort(-np.hstack(scores), axis=1, kind="stable")[:, :K]
        np.save(kept, np.take_along_axis(np.hstack(ids), order, 1))
    return np.load(kept)


def entered(args: argparse.Namespace, folder: Path, job: dict[str, Any]) -> tuple[list[Contender], list[Any]]:
    """Return the contenders, built and open, and rows of those that are not."""
    pythons = dict(rival.split("=", 1) for rival in args.rivals)
    contenders, absent = [], []
    for name in args.contender or CONTENDERS:
        python, index = pythons.get(name, sys.executable), folder / name.replace(" ", "-")
        try:
            contenders.append(Contender(name, python, index, job, args.threads, args.build_threads))
            print(f"{name}: built in {contenders[-1].built['seconds']:.1f} s", file=sys.stderr, flush=True)
        except Failed as e:
            absent.append([name, str(e)])
            print(f"{name}: {e}", file=sys.stderr, flush=True)
    return contenders, absent


def record(
    contender: Contender, tokens: int, best: np.ndarray, grades: list[dict[str, int]]
) -> dict[str, Any]:
    """Return all numbers of a contender."""
    points = []
    for setting, seconds in contender.seconds.items():
        found = contender.found[setting]
        right = [len(set(a) & set(b)) / K for a, b in zip(found, best.tolist(), strict=True)]
        gains = [ndcg([str(i) for i in a], b) for a, b in zip(found, grades, strict=True) if b]
        points.append(
            {
                "setting": setting,
                "recall": float(np.mean(right)),
                "ndcg": float(np.mean(gains)) if gains else None,
                "median_ms": float(np.median(seconds)) * 1e3,
                "best_ms": min(seconds) * 1e3,
            }
        )
    built = contender.built
    return {
        "name": contender.name,
        "version": built["version"],
        "built_with": built["built"],
        "build_threads": built["threads"],
        "build_tokens_per_second": tokens / built["seconds"],
        "build_peak_bytes": built["peak"],
        "disk_bytes_per_token": built["disk"] / tokens,
        "memory_bytes_per_token": contender.memory / tokens,
        "search_peak_bytes": contender.peak,
        "points": points,
    }


def tables(records: list[dict[str, Any]], absent: list[Any], head: list[str]) -> Report:
    report = Report()
    report.head = head
    versions = list(dict.fromkeys(r["version"] for r in records))
    for r in records:
        rows = [
            [
                p["setting"],
                f"{p['recall']:.4f}",
                "-" if p["ndcg"] is None else f"{p['ndcg']:.4f}",
                number(p["median_ms"]),
                number(p["best_ms"]),
            ]
            for p in r["points"]
        ]
        report.add("Search", SEARCH, r["name"], rows, versions)
    if absent:
        report.add("Search", SEARCH, "", absent)
    for r in records:
        row = [
            r["name"],
            number(r["build_tokens_per_second"]) if r["disk_bytes_per_token"] else "-",
            f"{r['build_peak_bytes'] / 1e9:.2f} GB",
            number(r["disk_bytes_per_token"]),
            number(r["memory_bytes_per_token"]),
            f"{r['search_peak_bytes'] / 1e9:.2f} GB",
            f"{r['built_with']}; {r['build_threads']} threads",
        ]
        report.add("Index", INDEX, "", [row])
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Late-interaction indexes side by side.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--small", action="store_true", help="project to 128 dimensions")
    parser.add_argument("--synthetic", type=int, default=0, metavar="TOKENS", help="grow to so many")
    parser.add_argument("--documents", type=int, help="the first so many only, to see that it runs")
    parser.add_argument("--queries", type=int, default=100, help="at most; default: %(default)s")
    parser.add_argument("--contender", action="append", choices=CONTENDERS, help="default: all")
    parser.add_argument("--rivals", action="append", default=[], metavar="NAME=PYTHON", help="of that python")
    parser.add_argument("--threads", type=int, default=1, help="to search with; default: %(default)s")
    parser.add_argument("--build-threads", type=int, default=os.cpu_count(), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("build/bench-cache"), help="default: %(default)s")
    parser.add_argument("--indexes", type=Path, help="where rivals' indexes are kept, and found again")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    parser.add_argument("--picture", type=Path, help="where to draw milliseconds against recall")
    args = parser.parse_args()

    home = token_set(args).resolve()
    documents = token_files.read(home, "documents", args.documents)
    every = token_files.read_grades(home)
    asked = np.unique(np.linspace(0, len(every) - 1, min(args.queries, len(every))).astype(int))
    best = exact(home, documents, asked)
    job = {"tokens": str(home), "documents": args.documents, "queries": asked.tolist(), "k": K}
    with tempfile.TemporaryDirectory(prefix="tercet-bench-") as temporary:
        folder = (args.indexes or Path(temporary)).resolve() / f"{home.parent.name}-{home.name}"
        folder = folder / str(len(documents))
        folder.mkdir(parents=True, exist_ok=True)
        contenders, absent = entered(args, folder, job)
        for _ in range(args.rounds):
            for contender in list(contenders):
                try:
                    contender.round()
                except Failed as e:
                    absent.append([contender.name, str(e)])
                    contenders.remove(contender)
        grades = [every[i] for i in asked]
        records = [record(contender, len(documents.values), best, grades) for contender in contenders]
        for contender in contenders:
            contender.close()

    tokens, dim = documents.values.shape
    title = (
        f"{' + '.join(f.name for f in args.folders)}: {len(documents):,} documents, {tokens:,} token vectors"
    )
    threads = f"{args.threads} thread{'s' * (args.threads > 1)}"
    how = f"{len(asked)} queries, k = {K}, one a call, {threads}, {args.rounds} rounds"
    head = describe(f"{title}, {dim} dimensions; {how}")
    print(*tables(records, absent, head).lines(), sep="\n")
    numbers = {
        "title": f"{title} x {dim}",
        "head": head,
        "threads": args.threads,
        "contenders": records,
        "absent": absent,
    }
    if args.json:
        args.json.write_text(json.dumps(numbers, indent=1))
    if args.picture:
        from plots import milliseconds

        milliseconds(numbers, args.picture)


if __name__ == "__main__":
    main()
