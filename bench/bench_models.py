"""How fast are the models on this CPU, beside sentence-transformers on the same checkpoint, and how near?

    python bench/bench_models.py FOLDER [--threads 1] [--rounds 5] [--documents 400] [--queries 5]

FOLDER holds a judged collection in BEIR's layout, MedQuAD for the table of the documentation. Three
models, each asked by sentence-transformers as it comes (float32 on a CPU, batches of 32) and by tercet in
float32 and in what ``precision="auto"`` chooses, all in turn, round by round, on the same weights:

* **cross-encoder**: a query and 100 candidates of mixed lengths, for each of the first queries;
* **bi-encoder**, **ColBERT**: documents from everywhere in the collection.

``x`` is the median over rounds of sentence-transformers' time over ours in the same round, with its
range. ``near`` is the largest difference of scores (after the sigmoid), or the smallest cosine of
vectors.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from bench_quality import read_collection
from harness.machine import describe
from harness.report import Report, number

CANDIDATES = 100
HEADER = ("", "seconds, median", "best", "x", "range", "near")


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    answer = run()
    return time.perf_counter() - begun, answer


def contest(
    arms: dict[str, Callable[[], Any]], rounds: int, near: Callable[[Any, Any], str]
) -> list[list[str]]:
    """Return a table's rows; the first arm is the one that others are compared with."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    answers = {name: run() for name, run in arms.items()}  # untimed: the first pass allocates
    for _ in range(rounds):
        for name, run in arms.items():
            seconds[name].append(timed(run)[0])
    first = next(iter(arms))
    rows = []
    for name, taken in seconds.items():
        ratios = sorted(a / b for a, b in zip(seconds[first], taken, strict=True))
        row = [name, number(float(np.median(taken))), number(min(taken))]
        if name == first:
            rows.append([*row, "", "", ""])
        else:
            spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            rows.append([*row, f"{np.median(ratios):.2f}", spread, near(answers[first], answers[name])])
    return rows


def farthest(theirs: Any, ours: Any) -> str:
    return f"{np.abs(np.concatenate(theirs) - np.concatenate(ours)).max():.1e}"


def smallest_cosine(theirs: Any, ours: Any) -> str:
    cosines = (theirs * ours).sum(1) / np.linalg.norm(theirs, axis=1) / np.linalg.norm(ours, axis=1)
    return f"{cosines.min():.5f}, mean {cosines.mean():.5f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="The models beside sentence-transformers.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=400, help="to encode; default: %(default)s")
    parser.add_argument("--queries", type=int, default=3, help="to rerank for; default: %(default)s")
    args = parser.parse_args()

    import sentence_transformers
    import torch

    from tercet.models import BiEncoder, ColBERT, CrossEncoder

    torch.set_num_threads(args.threads)
    collection = read_collection(args.folder, args.folder / "qrels" / "test.tsv")
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(collection.documents), max(args.documents, CANDIDATES), replace=False)
    texts = [collection.documents[i] for i in chosen[: args.documents]]
    candidates = [collection.documents[i] for i in chosen[:CANDIDATES]]
    queries = collection.queries[: args.queries]

    report = Report()
    cross = CrossEncoder(device="cpu", precision="float32")
    half = CrossEncoder(cross.model)

    def predicted(query: str) -> Any:
        return cross.model.predict([(query, text) for text in candidates], show_progress_bar=False)

    arms: dict[str, Callable[[], Any]] = {
        "sentence-transformers": lambda: [predicted(query) for query in queries],
        "tercet float32": lambda: [cross.score(query, candidates) for query in queries],
        f"tercet {half.precision}": lambda: [half.score(query, candidates) for query in queries],
    }
    title = f"{len(queries)} queries, {CANDIDATES} candidates each"
    report.add("Models", HEADER, f"cross-encoder {cross.name}: {title}", contest(arms, args.rounds, farthest))

    bi = BiEncoder(device="cpu", precision="float32")
    fast = BiEncoder(bi.model, precision="auto")
    arms = {
        "sentence-transformers": lambda: bi.model.encode_document(texts, show_progress_bar=False),
        "tercet float32": lambda: bi.encode_document(texts),
        f"tercet {fast.precision}": lambda: fast.encode_document(texts),
    }
    title = f"{len(texts)} documents"
    report.add(
        "Models", HEADER, f"bi-encoder {bi.name}: {title}", contest(arms, args.rounds, smallest_cosine)
    )

    late = ColBERT(device="cpu", precision="float32")
    fast_late = ColBERT(late.model, precision="auto")
    arms = {
        "sentence-transformers": lambda: np.concatenate(
            late.model.encode_document(texts, convert_to_numpy=True, show_progress_bar=False)
        ),
        "tercet float32": lambda: late.encode_document(texts).values,
        f"tercet {fast_late.precision}": lambda: fast_late.encode_document(texts).values,
    }
    report.add("Models", HEADER, f"ColBERT {late.name}: {title}", contest(arms, args.rounds, smallest_cosine))
    threads = f"{args.threads} thread{'s' * (args.threads > 1)}"
    report.head = describe(
        f"{args.folder.name}; {threads}, {args.rounds} rounds; sentence-transformers "
        f"{sentence_transformers.__version__}, torch {torch.__version__}"
    )
    print(*report.lines(), sep="\n")


if __name__ == "__main__":
    main()
