"""A retrieval task of mteb that needs no network: part of the collection that comes with tercet."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from mteb import TaskMetadata
from mteb.abstasks import AbsTaskRetrieval

from tercet.judged import load_medquad

QUERIES, JUDGED, OTHERS = 8, 4, 10
CHARACTERS = 100  # of a text: models read them in seconds


class LocalRetrieval(AbsTaskRetrieval):
    """8 questions, up to 4 documents judged for each, and 10 others."""

    metadata = TaskMetadata(
        name="LocalRetrieval",
        description="Health questions of consumers.",
        dataset={"path": "local/medquad", "revision": "1"},
        reference=None,
        type="Retrieval",
        category="t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        medquad = load_medquad()
        texts = dict(list(medquad.queries.items())[:QUERIES])
        grades = {q: {str(d): g for d, g in list(medquad.grades[q].items())[:JUDGED]} for q in texts}
        judged = {d for of in grades.values() for d in of}
        others = [d for d in medquad.documents if str(d.id) not in judged][:OTHERS]
        documents = [d for d in medquad.documents if str(d.id) in judged] + others
        corpus = [{"id": str(d.id), "title": d.title, "text": d.text[:CHARACTERS]} for d in documents]
        data = {
            "corpus": Dataset.from_list(corpus),
            "queries": Dataset.from_list([{"id": id, "text": text} for id, text in texts.items()]),
            "relevant_docs": grades,
            "top_ranked": self.top_ranked([d["id"] for d in corpus], grades),
        }
        self.dataset = {"default": {"test": data}}
        self.data_loaded = True

    def top_ranked(self, documents: list[str], grades: dict[str, dict[str, int]]) -> Any:
        return None


class LocalReranking(LocalRetrieval):
    """The same, of which every query may see some: those judged for it, and ten others."""

    metadata = LocalRetrieval.metadata.model_copy(update={"name": "LocalReranking", "type": "Reranking"})

    def top_ranked(self, documents: list[str], grades: dict[str, dict[str, int]]) -> Any:
        return {query: list(dict.fromkeys([*of, *documents[:10]])) for query, of in grades.items()}
