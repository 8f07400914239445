"""The judged collection that comes with the package, and the measure of a ranking."""

from __future__ import annotations

import importlib.resources
import json
import lzma
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from tercet.documents import Document, parse

__all__ = ["JudgedCollection", "load_medquad", "ndcg"]


class JudgedCollection(NamedTuple):
    """Documents, questions, and how well some of the documents answer them.

    Attributes:
        documents: in an order of which every first part is a fair sample.
        queries: query id to text.
        grades: query id to document id to grade, 0 for judged and useless.
    """

    documents: list[Document]
    queries: dict[str, str]
    grades: dict[str, dict[int | str, int]]


def load_medquad() -> JudgedCollection:
    """Return the packaged part of MedQuAD: consumers' health questions, answers of NIH websites, CC BY 4.0.

    What it is made of, and its licence, stand in ``SOURCE.txt`` and ``LICENSE.txt`` beside it.
    """
    folder = importlib.resources.files("tercet") / "data" / "medquad"
    corpus = lzma.decompress((folder / "corpus.jsonl.xz").read_bytes()).decode("utf-8")
    documents = [parse(json.loads(line), i, i) for i, line in enumerate(corpus.splitlines())]
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    queries = {query["_id"]: query["text"] for query in map(json.loads, lines)}
    grades: dict[str, dict[int | str, int]] = {query: {} for query in queries}
    for row in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = row.split("\t")
        grades[query][document] = int(grade)
    return JudgedCollection(documents, queries, grades)


def ndcg(ranking: Sequence[Hashable], grades: Mapping[Any, int], k: int = 10) -> float:
    """Return nDCG@k as trec_eval computes ``ndcg_cut``: linear gain, discount ``1 / log2(rank + 1)``.

    Args:
        ranking: document ids, best first.
        grades: grade by document id; others, and grades below 0, count as 0.
        k: how many ranks count.
    """

    def gain(values: Sequence[int]) -> float:
        return math.fsum(max(value, 0) / math.log2(rank + 2) for rank, value in enumerate(values[:k]))

    ideal = gain(sorted(grades.values(), reverse=True))
    return gain([grades.get(document, 0) for document in ranking[:k]]) / ideal if ideal else 0.0
