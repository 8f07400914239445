"""How far are searches on a GPU from its memory's and its matrix units' speed, and what do the peers take?

    python bench/bench_cuda.py [--quick] [--only NAME] [--rounds 20]

Needs torch with CUDA, and a build of tercet with the CUDA library. Everything is measured in one run, on the
same vectors: torch's bfloat16 product and maximum, late-interaction-kernels and flash-maxsim where they are
installed. Who fails says so in its row.

* **median, best**: milliseconds between two events on the stream around one call: from the first kernel's
  start to the last one's end, and what Python takes in between where the device waits for it. Calls go
  round as many copies of the documents as exceed the L2 cache four times; each round runs every contender.
* **of copy**: bytes of the documents as stored, once for each call, over the time, as a fraction of the bytes
  read and written by a copy of 1 GiB.
* **of matmul**: multiplications of all query tokens with all document tokens over the time, as a fraction of
  a bfloat16 product of 8192 x 8192 x 8192: above 1 is possible, integers are multiplied twice as fast.
* **check**: the largest relative difference of the scores from those of float64, on a few documents.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tercet
from harness.report import Report, number

CODECS = ("bfloat16", "int8", "int4", "int2", "binary", "residual2", "residual1")
DIM = 128
HEADER = ("", "median", "best", "of copy", "of matmul", "check")
COPY_BYTES = 1 << 30
MATMUL = 8192


@dataclass
class Limits:
    """What this device reaches at most: bytes and multiplications a second."""

    copy: float
    matmul: float


@dataclass
class Work:
    """Queries and documents of one table."""

    name: str
    queries: int
    query_tokens: int
    documents: int
    tokens: int  # of a document

    @property
    def multiplications(self) -> int:
        return self.queries * self.query_tokens * self.documents * self.tokens * DIM


WORKS = (
    Work("1 query of 32 tokens, 10,000 documents of 300", 1, 32, 10_000, 300),
    Work("1 query of 32 tokens, 1,000 documents of 300", 1, 32, 1_000, 300),
    Work("32 queries of 32 tokens, 10,000 documents of 300", 32, 32, 10_000, 300),
    Work("1 query of 1,024 tokens, 1,000 documents of 1,024", 1, 1024, 1_000, 1024),
)
TOPK = ((1_000_000, 384, 1), (1_000_000, 384, 32), (1_000_000, 384, 1024), (1_000_000, 768, 1))
Contender = tuple[str, list[Callable[[], Any]], int]  # a call for each copy, bytes of one


def measured(torch: Any, contenders: Sequence[Contender], rounds: int) -> dict[str, list[float] | str]:
    """Return milliseconds of each call, or what went wrong."""
    times: dict[str, list[float] | str] = {}
    for name, calls, _ in contenders:
        try:
            for call in calls[:2]:
                call()
            torch.cuda.synchronize()
            times[name] = []
        except Exception as e:
            times[name] = f"{type(e).__name__}: {e}".splitlines()[0]
    for i in range(rounds):
        for name, calls, _ in contenders:
            own = times[name]
            if isinstance(own, str):
                continue
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            calls[i % len(calls)]()
            end.record()
            torch.cuda.synchronize()
            own.append(start.elapsed_time(end))
    return times


def limits(torch: Any, rounds: int) -> Limits:
    a = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    x = torch.randn(MATMUL, MATMUL, device="cuda", dtype=torch.bfloat16)
    y = torch.empty_like(x)
    contenders: list[Contender] = [
        ("copy", [lambda: b.copy_(a)], 0),
        ("matmul", [lambda: torch.mm(x, x.T, out=y)], 0),
    ]
    best = {
        name: min(t) / 1e3
        for name, t in measured(torch, contenders, rounds).items()
        if not isinstance(t, str)
    }
    return Limits(2 * COPY_BYTES / best["copy"], MATMUL**3 / best["matmul"])


def copies_of(torch: Any, size: int) -> int:
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    return max(1, -(-4 * cache // size))


def error_of(scores: Any, exact: np.ndarray) -> str:
    got = np.asarray(scores, np.float64)[:, : exact.shape[1]]
    return f"{(np.abs(got - exact) / np.abs(exact)).max():.1e}"


def tercet_calls(torch: Any, work: Work, codec: Any, documents: np.ndarray, queries: Any) -> Contender:
    index = tercet.MultiVectorIndex(DIM, codec=codec)
    if codec.startswith("residual"):
        index.train(
            documents.reshape(-1, DIM)[:: max(1, documents.size // DIM // 200_000)], centroids=1 << 14
        )
    index.add(documents)
    first = index.to_device()
    more = [first, *(index.to_device() for _ in range(copies_of(torch, first.nbytes) - 1))]
    return f"tercet {codec}", [lambda one=one: one.search(queries, 10) for one in more], first.nbytes


def torch_calls(torch: Any, documents: Any, queries: Any) -> Contender:
    size = documents.numel() * documents.element_size()
    more = [documents, *(documents.clone() for _ in range(copies_of(torch, size) - 1))]

    def run(d: Any) -> Any:
        flat = queries.reshape(-1, DIM)
        return (d @ flat.T).amax(1).reshape(len(d), len(queries), -1).float().sum(2).T

    return "torch bfloat16", [lambda d=d: run(d) for d in more], size


def peer_calls(torch: Any, documents: Any, queries: Any) -> list[Contender]:
    size = documents.numel() * documents.element_size()
    more = [documents, *(documents.clone() for _ in range(copies_of(torch, size) - 1))]
    found: list[Contender] = []
    try:
        from late_interaction_kernels import maxsim

        found.append(("late-interaction-kernels", [lambda d=d: maxsim(queries, d) for d in more], size))
    except ImportError:
        pass
    try:
        from flash_maxsim import flash_maxsim_batched

        calls = [lambda d=d: flash_maxsim_batched(queries, d, shared_docs=True) for d in more]
        found.append(("flash-maxsim", calls, size))
    except ImportError:
        pass
    ours = [lambda d=d: tercet.cuda.maxsim(queries, d) for d in more]
    found.append(("tercet.cuda.maxsim bfloat16", ours, size))
    return found


def rows_of(
    times: dict[str, list[float] | str],
    contenders: Sequence[Contender],
    multiplications: int,
    most: Limits,
    checks: dict[str, str],
) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for name, _, size in contenders:
        own = times[name]
        if isinstance(own, str):
            rows.append((name, own))
            continue
        seconds = statistics.median(own) / 1e3
        rows.append(
            (
                name,
                f"{statistics.median(own):.4g} ms",
                f"{min(own):.4g} ms",
                number(size / seconds / most.copy),
                number(multiplications / seconds / most.matmul),
                checks.get(name, ""),
            )
        )
    return rows


def maxsim_table(torch: Any, work: Work, most: Limits, rounds: int, report: Report) -> None:
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((work.documents, work.tokens, DIM), np.float32)
    documents /= np.linalg.norm(documents, axis=2, keepdims=True)
    asked = rng.standard_normal((work.queries, work.query_tokens, DIM), np.float32)
    asked /= np.linalg.norm(asked, axis=2, keepdims=True)
    queries = torch.from_numpy(asked).cuda().bfloat16()
    few = documents[:20].astype(np.float64)
    exact = np.einsum("qtd,nud->qntu", asked.astype(np.float64), few).max(3).sum(2)
    on_device = torch.from_numpy(documents).cuda().bfloat16()
    contenders: list[Contender] = [tercet_calls(torch, work, codec, documents, queries) for codec in CODECS]
    contenders += [*peer_calls(torch, on_device, queries), torch_calls(torch, on_device, queries)]
    times = measured(torch, contenders, rounds)
    checks = {}
    for name, calls, _ in contenders:
        if not isinstance(times[name], str) and not name.startswith("tercet "):  # those return ids
            scores = calls[0]()
            checks[name] = error_of(
                scores.numpy() if hasattr(scores, "tensor") else scores.float().cpu(), exact
            )
    rows = rows_of(times, contenders, work.multiplications, most, checks)
    report.add("MaxSim", HEADER, work.name, rows)


def topk_table(torch: Any, sizes: tuple[int, int, int], most: Limits, rounds: int, report: Report) -> None:
    count, dim, batch = sizes
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((count, dim), np.float32)
    queries = torch.from_numpy(rng.standard_normal((batch, dim), np.float32)).cuda()
    contenders: list[Contender] = []
    for codec in ("bfloat16", "int8", "int4"):
        index = tercet.FlatIndex(dim, metric="dot", codec=codec)  # type: ignore[arg-type]
        index.add(vectors)
        first = index.to_device()
        more = [first, *(index.to_device() for _ in range(copies_of(torch, first.nbytes) - 1))]
        contenders.append(
            (f"tercet {codec}", [lambda o=o: o.search(queries, 10) for o in more], first.nbytes)
        )
    docs, half = torch.from_numpy(vectors).cuda().bfloat16(), queries.bfloat16()
    contenders.append(("torch bfloat16", [lambda: (half @ docs.T).topk(10)], docs.numel() * 2))
    times = measured(torch, contenders, rounds)
    name = f"top-10 of {batch} queries over {count:,} x {dim}"
    report.add("Exact top-k", HEADER, name, rows_of(times, contenders, batch * count * dim, most, {}))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="the first table, few rounds: does it all run?")
    parser.add_argument("--only", help="tables whose names have this in them")
    parser.add_argument("--rounds", type=int, default=20)
    chosen = parser.parse_args(arguments)
    import torch

    if not torch.cuda.is_available() or not tercet.cuda.is_available():
        parser.exit(2, f"needs a CUDA device: {tercet.cuda.why_unavailable() or 'torch has none'}\n")
    rounds = 3 if chosen.quick else chosen.rounds
    most, report = limits(torch, rounds), Report()
    report.head = [
        f"{torch.cuda.get_device_name()}; torch {torch.__version__}, tercet {tercet.__version__}",
        f"copy {most.copy / 1e12:.2f} TB/s, bfloat16 matmul {2 * most.matmul / 1e12:.0f} TFLOP/s",
        f"{rounds} rounds",
    ]
    for work in WORKS[:1] if chosen.quick else WORKS:
        if chosen.only is None or chosen.only in work.name:
            maxsim_table(torch, work, most, rounds, report)
    for sizes in TOPK[:1] if chosen.quick else TOPK:
        if chosen.only is None or chosen.only in "top-k":
            topk_table(torch, sizes, most, rounds, report)
    print("\n".join(report.lines()))


if __name__ == "__main__":
    main()
