"""What do tercet's indexes change in an evaluation by mteb: the same quality, in how much of the time?

    python bench/bench_mteb.py FOLDER [--rounds 5] [--core N]

FOLDER holds a judged collection in BEIR's layout. Two models, the packaged all-MiniLM-L6-v2 and
tercet-colbert-mini, are evaluated by ``mteb.evaluate`` with mteb's own search and with tercet's. The model
reads every text once; then mteb's evaluator indexes and searches in turn, round by round, with what the
model made of the texts. Reading the texts from the data set is part of the times: mteb's own search reads the
documents in search(), an index in index(). ``x`` is the median over rounds of mteb's index() and search()
together over ours in the same round.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from bench_quality import Collection, read_collection
from harness.machine import describe, one_core
from harness.report import Report, number

HEADER = ("", "nDCG@10", "index, seconds", "search, seconds", "x", "range")
TOP_K = 1000  # as mteb asks


def task_of(collection: Collection) -> Any:
    """Return the collection as a task of mteb."""
    from datasets import Dataset
    from mteb import TaskMetadata
    from mteb.abstasks import AbsTaskRetrieval

    def table(ids: list[str], texts: list[str]) -> Any:
        return Dataset.from_dict({"id": ids, "text": texts})

    class Task(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="Local",
            description="A folder.",
            dataset={"path": "local", "revision": "1"},
            type="Retrieval",
            category="t2t",
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        def load_data(self, num_proc: int | None = None, **_: Any) -> None:
            data = {
                "corpus": table(collection.document_ids, collection.documents),
                "queries": table(collection.query_ids, collection.queries),
                "relevant_docs": collection.grades,
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": data}}
            self.data_loaded = True

    return Task()


def remembering(encode: Any) -> Any:
    """Return an ``encode`` that reads every text once, whoever asks."""
    seen: dict[Any, Any] = {}

    def remembered(inputs: Any, *, prompt_type: Any, **rest: Any) -> Any:
        key = (prompt_type, tuple(inputs.dataset["id"]))
        if key not in seen:
            seen[key] = encode(inputs, prompt_type=prompt_type, **rest)
        return seen[key]

    return remembered


def contest(task: Any, arms: dict[str, Any], rounds: int) -> list[tuple[str, ...]]:
    """Return a table's rows; the first arm is the one that others are compared with."""
    import mteb

    given = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default"}
    given |= {"encode_kwargs": {"show_progress_bar": False}, "num_proc": None}
    quality = {}
    for name, arm in arms.items():
        done = mteb.evaluate(arm, task, cache=None, co2_tracker=False, show_progress_bar=False)
        quality[name] = done.task_results[0].get_score()
    data = task.dataset["default"]["test"]
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, arm in arms.items():
            begun = time.perf_counter()
            arm.index(data["corpus"], **given)
            indexed = time.perf_counter()
            arm.search(data["queries"], top_k=TOP_K, **given)
            taken[name].append((indexed - begun, time.perf_counter() - indexed))
    first = np.array(taken[next(iter(arms))]).sum(1)
    rows = []
    for name, seconds in taken.items():
        ratios = np.sort(first / np.array(seconds).sum(1))
        index, search = (number(float(value)) for value in np.median(seconds, axis=0))
        beside = (
            ("", "") if not rows else (f"{np.median(ratios):.2f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}")
        )
        rows.append((name, f"{quality[name]:.5f}", index, search, *beside))
    return rows


def single() -> dict[str, Any]:
    """Single vectors: the ways to search them."""
    from mteb.models import SearchEncoderWrapper, SentenceTransformerEncoderWrapper
    from mteb.models.search_encoder_index.search_indexes.faiss_search_index import FaissSearchIndex

    import tercet
    from tercet.integrations.mteb import VectorSearch
    from tercet.models import BiEncoder

    model = SentenceTransformerEncoderWrapper(BiEncoder(device="cpu").model)
    model.encode = remembering(model.encode)
    return {
        "mteb": SearchEncoderWrapper(model),
        "mteb with faiss": SearchEncoderWrapper(model, index_backend=FaissSearchIndex(model)),
        "FlatIndex": VectorSearch(model),
        "HNSWIndex": VectorSearch(model, tercet.HNSWIndex),
    }


def multi() -> dict[str, Any]:
    """Late interaction: the ways to search token vectors."""
    from mteb.models import MultiVectorWrapper

    from tercet.integrations.mteb import MultiVectorSearch
    from tercet.models import ColBERT

    model = MultiVectorWrapper(ColBERT(device="cpu").model)
    model._encode = remembering(model._encode)
    return {
        "mteb": model,
        "MultiVectorIndex, float32": MultiVectorSearch(model),
        "MultiVectorIndex, int4": MultiVectorSearch(model, codec="int4"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="tercet's indexes in an evaluation by mteb.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, help="to run on, -1 for all; default: the last")
    args = parser.parse_args()
    with one_core(args.core) as where:
        compare(args.folder, args.rounds, where)


def compare(folder: Path, rounds: int, where: str) -> None:
    """Print the tables of a collection."""
    import faiss
    import mteb
    import torch

    collection = read_collection(folder, folder / "qrels" / "test.tsv")
    task = task_of(collection)
    task.load_data()
    report = Report()
    report.add("mteb", HEADER, "single vectors", contest(task, single(), rounds))
    report.add("mteb", HEADER, "late interaction", contest(task, multi(), rounds))
    size = f"{len(collection.documents):,} documents, {len(collection.queries)} queries"
    versions = f"mteb {mteb.__version__}, torch {torch.__version__}, faiss {faiss.__version__}"
    report.head = describe(f"{folder.name}: {size}; {where}, {rounds} rounds; {versions}")
    print(*report.lines(), sep="\n")


if __name__ == "__main__":
    main()
