"""How fast are the models on this CPU, beside sentence-transformers on the same checkpoint, and how near?

    python bench/bench_models.py FOLDER [--rounds 5] [--documents 200] [--queries 2] [--clock cpu]

FOLDER holds a judged collection in BEIR's layout, MedQuAD for the table of the documentation. Three
models, each asked by sentence-transformers as it comes (float32 on a CPU, batches of 32) and by tercet in
float32 and in what ``precision="auto"`` chooses, all in turn, round by round, on the same weights:

* **cross-encoder**: for each of the first queries 100 candidates, its answers and documents from everywhere
  in the collection;
* **bi-encoder**, **ColBERT**: documents from everywhere in the collection.

``of peak`` is the multiply-adds of all texts, without any padding, over those that the cores can do in that
time: a weight's once a token, and twice the hidden size a layer for each pair of tokens of a text. ``x`` is
the median over rounds of sentence-transformers' time over ours in the same round, with its range. ``near`` is
the largest difference of scores (after the sigmoid) and nDCG@10 over that of sentence-transformers' scores,
or the smallest cosine of vectors. With ``--clock cpu``, the time is that of the process on its cores, which
leaves out what other processes take; one thread, for idle ones may spin.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from bench_quality import ndcg, read_collection
from harness.clock import CLOCKS
from harness.machine import describe
from harness.report import Report, number
from peak import InstructionPeak

CANDIDATES = 100
HEADER = ("", "seconds, median", "best", "of peak", "x", "range", "near")

Arm = tuple[str, str, Callable[[], Any]]  # whose, in which numbers, a call


class Contest:
    """Runs arms in turn, the first of which the others are compared with."""

    def __init__(self, rounds: int, threads: int, clock: str) -> None:
        self._rounds, self._clock = rounds, CLOCKS[clock]
        formats = ("float32", "bfloat16")
        self._peak = {f: threads * max(InstructionPeak(f)() for _ in range(50)) for f in formats}

    def rows(self, arms: Sequence[Arm], macs: float, near: Callable[[Any, Any], str]) -> list[list[str]]:
        """Return a table's rows, for arms that need so many multiply-adds."""
        seconds: list[list[float]] = [[] for _ in arms]
        answers = [run() for _, _, run in arms]  # untimed: the first pass allocates
        for _ in range(self._rounds):
            for taken, (_, _, run) in zip(seconds, arms, strict=True):
                begun = self._clock()
                run()
                taken.append(self._clock() - begun)
        rows = []
        for taken, answer, (who, form, _) in zip(seconds, answers, arms, strict=True):
            share = macs / self._peak[form] / float(np.median(taken))
            row = [f"{who} {form}", number(float(np.median(taken))), number(min(taken)), f"{share:.2f}"]
            ratios = sorted(a / b for a, b in zip(seconds[0], taken, strict=True))
            compared = f"{np.median(ratios):.2f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            rows.append([*row, *((*compared, near(answers[0], answer)) if rows else ("", "", ""))])
        return rows


def multiply_adds(model: Any, lengths: Sequence[int]) -> float:
    """Return those of texts of so many tokens, in the layers of a transformer."""
    import torch

    layers = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList))
    weights = sum(m.weight.numel() for m in layers.modules() if isinstance(m, torch.nn.Linear))
    pairs = 2 * len(layers) * model.transformers_model.config.hidden_size
    tokens = np.array(lengths, np.float64)
    return float((weights * tokens + pairs * tokens**2).sum())


def lengths_of(model: Any, texts: Sequence[Any]) -> list[int]:
    return [int(n) for n in model.preprocess(list(texts))["attention_mask"].sum(1)]


def smallest_cosine(theirs: Any, ours: Any) -> str:
    cosines = (theirs * ours).sum(1) / np.linalg.norm(theirs, axis=1) / np.linalg.norm(ours, axis=1)
    return f"{cosines.min():.5f}, mean {cosines.mean():.5f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="The models beside sentence-transformers.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=200, help="to encode; default: %(default)s")
    parser.add_argument("--queries", type=int, default=2, help="to rerank for; default: %(default)s")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    args = parser.parse_args()

    import sentence_transformers
    import torch

    from tercet.models import BiEncoder, ColBERT, CrossEncoder

    torch.set_num_threads(args.threads)
    collection = read_collection(args.folder, args.folder / "qrels" / "test.tsv")
    chosen = np.random.default_rng(0).permutation(len(collection.documents))
    texts = [collection.documents[i] for i in chosen[: args.documents]]
    place = {document: i for i, document in enumerate(collection.document_ids)}
    asked = []  # queries, ids of candidates, grades
    for query, name in zip(collection.queries[: args.queries], collection.query_ids, strict=False):
        grades = collection.grades[name]
        answers = [document for document, grade in grades.items() if grade > 0 and document in place]
        others = [collection.document_ids[i] for i in chosen if collection.document_ids[i] not in grades]
        asked.append((query, [*answers, *others][:CANDIDATES], grades))
    pairs = [(query, [collection.documents[place[i]] for i in ids]) for query, ids, _ in asked]

    def of_scores(theirs: Any, ours: Any) -> str:
        found = [
            np.mean([
                ndcg([ids[i] for i in np.argsort(-row, kind="stable")], grades)
                for row, (_, ids, grades) in zip(rows, asked, strict=True)
            ])
            for rows in (theirs, ours)
        ]  # fmt: skip
        return f"{np.abs(np.concatenate(theirs) - np.concatenate(ours)).max():.1e}, {found[1] / found[0]:.4f}"

    report, contest = Report(), Contest(args.rounds, args.threads, args.clock)
    cross = CrossEncoder(device="cpu", precision="float32")
    half = CrossEncoder(cross.model)

    def predicted(query: str, candidates: list[str]) -> Any:
        return cross.model.predict([(query, text) for text in candidates], show_progress_bar=False)

    arms: list[Arm] = [
        ("sentence-transformers", "float32", lambda: [predicted(*pair) for pair in pairs]),
        ("tercet", "float32", lambda: [cross.score(*pair) for pair in pairs]),
        ("tercet", half.precision, lambda: [half.score(*pair) for pair in pairs]),
    ]
    macs = multiply_adds(cross.model, lengths_of(cross.model, [(q, t) for q, ts in pairs for t in ts]))
    title = f"cross-encoder {cross.name}: {len(pairs)} queries, {CANDIDATES} candidates each"
    report.add("Models", HEADER, title, contest.rows(arms, macs, of_scores))

    bi = BiEncoder(device="cpu", precision="float32")
    fast = BiEncoder(bi.model, precision="auto")
    arms = [
        (
            "sentence-transformers",
            "float32",
            lambda: bi.model.encode_document(texts, show_progress_bar=False),
        ),
        ("tercet", "float32", lambda: bi.encode_document(texts)),
        ("tercet", fast.precision, lambda: fast.encode_document(texts)),
    ]
    macs = multiply_adds(bi.model, lengths_of(bi.model, texts))
    title = f"bi-encoder {bi.name}: {len(texts)} documents"
    report.add("Models", HEADER, title, contest.rows(arms, macs, smallest_cosine))

    late = ColBERT(device="cpu", precision="float32")
    fast_late = ColBERT(late.model, precision="auto")

    def tokens() -> Any:
        encoded = late.model.encode_document(texts, convert_to_numpy=True, show_progress_bar=False)
        return np.concatenate(encoded)

    arms = [
        ("sentence-transformers", "float32", tokens),
        ("tercet", "float32", lambda: late.encode_document(texts).values),
        ("tercet", fast_late.precision, lambda: fast_late.encode_document(texts).values),
    ]
    macs = multiply_adds(late.model, lengths_of(late.model, texts))
    title = f"ColBERT {late.name}: {len(texts)} documents"
    report.add("Models", HEADER, title, contest.rows(arms, macs, smallest_cosine))
    threads = f"{args.threads} thread{'s' * (args.threads > 1)}"
    report.head = describe(
        f"{args.folder.name}; {threads}, {args.rounds} rounds, {args.clock} time; sentence-transformers "
        f"{sentence_transformers.__version__}, torch {torch.__version__}"
    )
    print(*report.lines(), sep="\n")


if __name__ == "__main__":
    main()
