"""How many queries a second at which recall? HNSWIndex beside the graph libraries, one thread.

    python bench/bench_ann.py VECTORS.npy QUERIES.npy [--contender NAME ...] [--one-by-one] [--rounds N]

Vectors are ``float32[n, dim]``, compared by cosine (all are normalised first). Each contender builds its
index in a process of its own, with as many threads as there are cores, and stays there; then rounds go
through all of them, one beam width after the other, so that what disturbs the machine disturbs everyone. The
time of a width is the best of the rounds. Recall is that of the ids of an exact search. A contender that
cannot be imported is left out.

    --rivals PYTHON   the interpreter of another environment, where the other libraries are installed
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

WIDTHS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
K = 10
LEVELS = (0.90, 0.95, 0.98, 0.99)
HEADER = ("contender", "build", "vectors/s", "bytes a vector", *(f"{level:.2f}" for level in LEVELS), "most")
PACKAGES = ("hnswlib", "faiss-cpu", "rabitqlib", "pyglass-portable", "usearch", "voyager", "kannolo")


def normalised(path: str) -> np.ndarray:
    rows = np.load(path).astype(np.float32)
    return np.ascontiguousarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30))


def serve(name: str, vectors: str, queries: str, threads: int, one_by_one: bool) -> None:
    """Be a contender: build, say what that took, then answer widths with seconds and found ids."""
    from peers.graphs import GRAPHS

    rows, asked = normalised(vectors), normalised(queries)
    start = time.perf_counter()
    index = GRAPHS[name](rows, threads)
    built = time.perf_counter() - start
    size = index.size() if hasattr(index, "size") else 0
    print(json.dumps({"built": built, "size": size, "settings": index.SETTINGS}), flush=True)
    for line in sys.stdin:
        width = int(line)
        start = time.perf_counter()
        if one_by_one:
            found = np.concatenate([index.search(asked[i : i + 1], K, width) for i in range(len(asked))])
        else:
            found = index.search(asked, K, width)
        elapsed = time.perf_counter() - start
        print(json.dumps({"seconds": elapsed, "ids": np.asarray(found).tolist()}), flush=True)


class Contender:
    """The process of one, and what it has answered."""

    def __init__(self, name: str, python: str, args: argparse.Namespace) -> None:
        self.name = name
        command = [
            python,
            __file__,
            args.vectors,
            args.queries,
            "--serve",
            name,
            "--threads",
            str(args.threads),
        ]
        command += ["--one-by-one"] * args.one_by_one
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.facts = self._answer()
        self.seconds: dict[int, list[float]] = {}
        self.recall: dict[int, float] = {}

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self.name}: ended")

    def run(self, width: int, best: np.ndarray) -> None:
        assert self._process.stdin is not None
        print(width, file=self._process.stdin, flush=True)
        answer = self._answer()
        self.seconds.setdefault(width, []).append(answer["seconds"])
        pairs = zip(answer["ids"], best.tolist(), strict=True)
        self.recall[width] = float(np.mean([len(set(a) & set(b)) / K for a, b in pairs]))

    def rate(self, level: float, queries: int) -> float | None:
        """Queries a second at a recall, between the two widths around it on a logarithmic scale."""
        curve = [(self.recall[w], np.log(queries / min(self.seconds[w]))) for w in WIDTHS]
        for (r0, q0), (r1, q1) in pairwise(curve):
            if r0 < level <= r1:
                return float(np.exp(q0 + (q1 - q0) * (level - r0) / (r1 - r0)))
        return float(np.exp(curve[0][1])) if curve[0][0] >= level else None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Queries a second by recall, beside other graph libraries.")
    parser.add_argument("vectors")
    parser.add_argument("queries")
    parser.add_argument("--contender", action="append", help="default: all that can be imported")
    parser.add_argument("--rivals", default=sys.executable)
    parser.add_argument("--threads", type=int, default=2, help="to build with; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one-by-one", action="store_true", help="a call for every query")
    parser.add_argument("--json", type=Path, help="where to write the curves")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(args.serve, args.vectors, args.queries, args.threads, args.one_by_one)

    import tercet
    from harness.machine import describe
    from harness.report import Report
    from peers.graphs import GRAPHS

    rows, asked = normalised(args.vectors), normalised(args.queries)
    best = tercet.topk(asked, rows, K).ids
    contenders = []
    for name in args.contender or GRAPHS:
        try:
            contenders.append(
                Contender(name, sys.executable if name.startswith("tercet") else args.rivals, args)
            )
            print(f"{name}: built in {contenders[-1].facts['built']:.1f} s", file=sys.stderr, flush=True)
        except RuntimeError:
            print(f"{name}: not measured", file=sys.stderr)
    for _ in range(args.rounds):
        for width in WIDTHS:
            for contender in contenders:
                contender.run(width, best)
    report = Report()
    report.head = describe(f"{len(rows)} x {rows.shape[1]}, {len(asked)} queries, k = {K}, one thread")
    lines = []
    for c in contenders:
        rates = [c.rate(level, len(asked)) for level in LEVELS]
        lines.append(
            [
                c.name,
                f"{c.facts['built']:.1f} s",
                f"{len(rows) / c.facts['built']:,.0f}",
                f"{c.facts['size'] / len(rows):,.0f}" if c.facts["size"] else "-",
                *(f"{rate:,.0f}" if rate else "-" for rate in rates),
                f"{max(c.recall.values()):.4f}",
            ]
        )
    how = "one query a call" if args.one_by_one else "all queries in one call"
    report.add(f"Queries a second at recall@{K}, {how}", HEADER, "", lines, versions(args.rivals))
    for c in contenders:
        report.add("Settings", ("contender", "settings"), "", [[c.name, c.facts["settings"]]])
        c.close()
    print("\n".join(report.lines()))
    if args.json:
        curves = {
            c.name: [{"ef": w, "recall": c.recall[w], "qps": len(asked) / min(c.seconds[w])} for w in WIDTHS]
            for c in contenders
        }
        args.json.write_text(json.dumps(curves, indent=1))


def versions(python: str) -> list[str]:
    """What of the rivals is installed in an environment."""
    code = f"""if True:
        from importlib import metadata
        for package in {PACKAGES!r}:
            try:
                print(package, metadata.version(package))
            except metadata.PackageNotFoundError:
                pass
    """
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


if __name__ == "__main__":
    main()
