"""``tercet demo``: the architectures side by side on a judged collection, everything measured.

All arms rest on one model, the packaged all-MiniLM-L6-v2, so that what differs is the way of matching: its
pooled vector (bi-encoder), or its token vectors (late interaction). One pass over a text gives both, by torch
or, where that is not installed, by ONNX Runtime.
"""

from __future__ import annotations

import platform
import statistics
import textwrap
import time

import numpy as np

import tercet
from tercet.compare.arms import Indexes, Query
from tercet.comparison import (
    BATCH,
    Shown,
    encode_documents,
    encode_queries,
    make_arms,
    times,
)
from tercet.documents import Document
from tercet.explain import align, explanation_table
from tercet.judged import JudgedCollection, load_medquad, ndcg
from tercet.models import BiEncoder, ColBERT, CrossEncoder
from tercet.tables import text_table

__all__ = ["run"]

MAX_TOKENS = 128  # read of a document
BUDGET = 150  # seconds for encoding, so that all ends in five minutes: a slow machine gets fewer documents
QUICK = (4, 120)  # with --quick: every fourth question (one is about rickets), and so many documents
CROSS_DEPTH, QUICK_DEPTH = 20, 10  # candidates that the cross-encoder reads, also with --quick
QUESTION = "Is rickets passed down in families?"


def run(*, cross_encoder: str | None = None, quick: bool = False, quiet: bool = False) -> None:
    """Print the comparison, and one question explained.

    Args:
        cross_encoder: name or path of the reranker; None is tercet-rerank-mini, which needs torch.
        quick: use a small part of the collection, too small to see the cost grow: that table is left out.
        quiet: no progress on stderr.

    Raises:
        ImportError: neither the packages of ``tercet[demo]`` nor those of ``tercet[onnx]`` are installed.
    """
    start = time.perf_counter()
    model = BiEncoder(device="cpu", batch_size=BATCH, max_length=MAX_TOKENS)
    reads = cross_encoder is not None or model.backend == "torch"
    reranker = CrossEncoder(cross_encoder, device="cpu") if reads else None
    whole = load_medquad()
    collection = _part(whole, *QUICK) if quick else _affordable(whole, model)
    size = len(collection.documents)
    info = tercet.cpu_info()
    print(
        f"MedQuAD (CC BY 4.0): {size:,} of {len(whole.documents):,} answers"
        f"{'' if quick or size == len(whole.documents) else f', what this machine encodes in {BUDGET} s'}, "
        f"{len(collection.queries)} questions\n"
        f"all-MiniLM-L6-v2 on {model.backend}, the first {MAX_TOKENS} tokens of each text\n"
        f"{platform.machine()} {info['isa']}, {info['threads']} threads\n"
    )
    begun = time.perf_counter()
    steps = [size] if quick else [size // 4, size // 2, size]
    grown = encode_documents(model, collection.documents, steps, quiet=quiet)
    seconds = time.perf_counter() - begun
    queries, encoding = encode_queries(model, list(collection.queries.values()))
    arms = make_arms(grown[-1], queries, reranker, QUICK_DEPTH if quick else CROSS_DEPTH)
    print(f"Computed ahead, once: {seconds:.1f} s for {size:,} documents ({size / seconds:.0f} a second)\n")
    _print_quality(collection, arms, grown[-1], queries, encoding)
    _print_work(arms)
    if not quick:
        _print_growth(arms, steps, grown, queries)
    _print_answer(model, collection.documents, grown[-1])
    if reranker is None:
        print("\nA cross-encoder row: pip install 'tercet[demo]', or --cross-encoder DIR (an ONNX export)")
    print(f"\nDone in {time.perf_counter() - start:.0f} s")


def _part(collection: JudgedCollection, every: int, documents: int) -> JudgedCollection:
    """Return one of ``every`` questions, their judged documents, and others up to a number."""
    kept = dict(list(collection.queries.items())[every - 1 :: every])
    grades = {query: collection.grades[query] for query in kept}
    judged = {document for of in grades.values() for document in of}
    others = [d for d in collection.documents if d.id not in judged][: max(0, documents - len(judged))]
    chosen = judged.union(d.id for d in others)
    return JudgedCollection([d for d in collection.documents if d.id in chosen], kept, grades)


def _affordable(collection: JudgedCollection, model: BiEncoder) -> JudgedCollection:
    """Return as much of the collection as this machine can encode within the budget."""
    sample = [document.content for document in collection.documents[: 2 * BATCH]]
    model.encode_both(sample[:BATCH])  # the first pass allocates
    start = time.perf_counter()
    model.encode_both(sample)
    most = int(BUDGET / (time.perf_counter() - start) * len(sample))
    if most >= len(collection.documents):
        return collection
    return _part(collection, 1, most)


def _print_quality(
    collection: JudgedCollection,
    arms: list[Shown],
    indexes: Indexes,
    queries: list[Query],
    encoding: list[float],
) -> None:
    places = {document.id: place for place, document in enumerate(collection.documents)}
    size = len(places)
    rows, quality = [], []
    for shown in arms:
        ranked, found = shown.arm, []
        for query, grades in zip(queries, collection.grades.values(), strict=True):
            judged = {places[document]: grade for document, grade in grades.items()}
            ranking = ranked.search(query, indexes, size).places
            found.append(ndcg([place for place in ranking if place in judged], judged))
        (searching,) = times(ranked, queries, [indexes])
        both = [a + b for a, b in zip(searching, encoding, strict=False)]
        quality.append(np.array(found))
        rows.append(
            (
                shown.name,
                f"{np.mean(found):.4f}",
                f"{statistics.median(searching):.2f}",
                f"{statistics.median(both):.2f}",
                f"{ranked.stored(indexes) / size:,.0f}",
            )
        )
    rows.append(("in random order", f"{_by_chance(collection):.4f}", "", "", ""))
    header = ("", "nDCG@10", "ms/query, search", "with encoding", "bytes/document")
    print(text_table(header, rows, "<>>>>"))
    each = statistics.mean(map(len, collection.grades.values()))
    print(
        "nDCG@10: trec_eval's formula (linear gain), mean. Each question ranks only the documents that were\n"
        f"judged for it, {each:.1f} on average, of which many are good: compare with the order of chance."
    )
    print("The model was trained for its pooled vector; a ColBERT checkpoint is trained for token vectors.")
    for arm, values in zip(arms[1:], quality[1:], strict=True):
        difference = values - quality[0]
        error = difference.std(ddof=1) / len(difference) ** 0.5
        print(
            f"  {arm.name} against {arms[0].name}: {difference.mean():+.4f} +- {error:.4f} (standard error)"
        )
    print("ms/query: median, one question at a time, the 10 best of all documents.\n")


def _by_chance(collection: JudgedCollection) -> float:
    """Return the mean nDCG@10 of shuffled judged documents."""
    rng = np.random.default_rng(0)
    shuffles = [
        ndcg(rng.permutation(list(grades)).tolist(), grades)
        for grades in collection.grades.values()
        for _ in range(200)
    ]
    return statistics.mean(shuffles)


def _print_work(arms: list[Shown]) -> None:
    rows = [(arm.name, arm.ahead, arm.per_query) for arm in arms]
    print(text_table(("", "computed ahead, per document", "computed per query (mean)"), rows))
    print()


def _print_growth(arms: list[Shown], steps: list[int], grown: list[Indexes], queries: list[Query]) -> None:
    rows = []
    for shown in arms:
        medians = map(statistics.median, times(shown.arm, queries, grown))
        stored = [shown.arm.stored(indexes) / 1e6 for indexes in grown]
        rows.append(
            [shown.name, *(f"{ms:.2f} ms  {mb:6.1f} MB" for ms, mb in zip(medians, stored, strict=True))]
        )
    header = ["", *(f"{step:,} documents" for step in steps)]
    print("How the cost grows with the corpus (search, median per query; vectors stored):")
    print(text_table(header, rows, "<" + ">" * len(steps)))
    print()


def _print_answer(model: BiEncoder, documents: list[Document], indexes: Indexes) -> None:
    colbert = ColBERT.from_biencoder(model)
    pooled, tokens = model.encode_both(QUESTION)
    found = indexes.tokens.search(tokens, 3)
    best = found[0]
    print(f"Question: {QUESTION}\n")
    for name, hits in (("bi-encoder", indexes.pooled.search(pooled, 3)[0]), ("late interaction", best)):
        print(name)
        for rank, (place, score) in enumerate(hits, 1):
            title = documents[int(place)].title
            print(textwrap.shorten(f"{rank}. {score:.3f} {title}", 96, placeholder=" ..."))
    winner = int(best[0].id)
    print(f"\n{documents[winner].title}")
    answer = textwrap.fill(documents[winner].text, 94, max_lines=3, placeholder=" ...")
    print(textwrap.indent(answer, "    "))
    (parts,) = indexes.tokens.explain(tokens, found)
    matches = align(
        parts.document_tokens[0],
        parts.scores[0],
        colbert.tokens(QUESTION, "query"),
        colbert.tokens(documents[winner].content, "document"),
    )
    print("\nWhy late interaction put this first, token by token:")
    print(explanation_table(matches))
