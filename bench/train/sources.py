"""Put the texts of training and development into one file: documents, queries, and what answers them.

    python bench/train/sources.py DATA ARXIV.jsonl TEXTS.json.xz

DATA holds collections in BEIR's layout: ``nfcorpus-near`` (NFCorpus; its train queries), ``medquad``
(question and answer; judged answers stay out), ``uscode`` and ``debian-descriptions``, and for development
``pubmedqa``. The cards say where they are from, under which licences. ARXIV.jsonl has ``title`` and
``text`` (abstract) of papers, metadata that arXiv gives away under CC0. Queries are

* questions and titles, as they are and as people type them, that some documents answer;
* sentences, whose own document is left out of what is to be ranked: the others are about the same, or not.

Development is apart: the development queries of nfcorpus, pubmedqa, the judged answers of medquad, and papers
that are nowhere else.
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

CHARACTERS = 1000  # of a document
DEVELOPMENT = 500  # papers that are kept for development: the first, by id
MOST = 12_000  # documents of a source other than papers and medicine
Source = dict[str, list[Any]]


def lines(path: Path) -> Iterator[dict[str, Any]]:
    opener: Any = open if path.exists() else gzip.open
    with opener(path if path.exists() else f"{path}.gz", "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def grades(path: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for row in path.read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = row.split("\t")
        found.setdefault(query, {})[document] = int(grade)
    return found


def whole(document: dict[str, Any]) -> str:
    return f"{document.get('title') or ''} {document['text']}".strip()[:CHARACTERS]


def typed(title: str, rng: random.Random) -> str:
    """Return half of all titles without a third to a half of their words, in lower case."""
    words = title.split()
    if len(words) < 6 or rng.random() < 0.5:
        return title
    kept = sorted(rng.sample(range(len(words)), int(len(words) * rng.uniform(0.5, 0.67))))
    return " ".join(words[i] for i in kept).lower()


def asking(text: str, answers: Iterable[int]) -> dict[str, Any]:
    return {"text": text, "answers": sorted(answers), "own": -1}


def sentences(documents: list[str], each: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Yield sentences of every document, and every third time a few words of one."""
    for own, document in enumerate(documents):
        fit = [s for s in re.split(r"(?<=[.;:]) +", document) if 5 <= len(s.split()) <= 30]
        for sentence in rng.sample(fit, min(each, len(fit))):
            words = sentence.split()
            if rng.random() < 1 / 3:
                first = rng.randrange(len(words) - 3)
                sentence = " ".join(words[first : first + rng.randint(3, 8)]).strip(".,;:").lower()
            yield {"text": sentence, "answers": [], "own": own}


def nfcorpus(folder: Path, rng: random.Random) -> Source:
    listed = list(lines(folder / "corpus.jsonl"))
    place = {d["_id"]: i for i, d in enumerate(listed)}
    asked = {q["_id"]: q["text"] for q in lines(folder / "queries.jsonl")}
    documents = [whole(d) for d in listed]
    queries = [
        asking(asked[query], [place[d] for d, grade in graded.items() if grade > 0 and d in place])
        for query, graded in grades(folder / "qrels" / "train.tsv").items()
        if query in asked
    ]
    queries = [query for query in queries if query["answers"]]
    return {"documents": documents, "queries": queries + list(sentences(documents, 2, rng))}


def medquad(folder: Path, rng: random.Random) -> Source:
    judged = {d for graded in grades(folder / "qrels" / "test_judged.tsv").values() for d in graded}
    pairs = {d["title"]: d["text"] for d in lines(folder / "corpus.jsonl") if d["_id"] not in judged}
    documents = [text[:CHARACTERS] for text in pairs.values()]
    queries = [asking(re.sub(r" *\(Also.*", "", q), [i]) for i, q in enumerate(pairs)]
    return {"documents": documents, "queries": queries + list(sentences(documents, 1, rng))}


def papers(listed: list[dict[str, Any]], rng: random.Random) -> Source:
    documents = [d["text"][:CHARACTERS] for d in listed]
    queries = [asking(typed(d["title"], rng), [i]) for i, d in enumerate(listed)]
    return {"documents": documents, "queries": queries + list(sentences(documents, 2, rng))}


def texts_alone(path: Path, rng: random.Random) -> Source:
    distinct = sorted({d["text"][:CHARACTERS] for d in lines(path) if len(d["text"]) > 200})
    documents = rng.sample(distinct, min(MOST, len(distinct)))
    return {"documents": documents, "queries": list(sentences(documents, 1, rng))}


def judged(folder: Path, qrels: str, most: int) -> dict[str, Any]:
    """Return a collection of at most so many queries; with judgements of a pool, its documents alone."""
    graded = grades(folder / "qrels" / f"{qrels}.tsv")
    graded = {q: g for q, g in graded.items() if max(g.values()) > 0}
    pool = {d for g in graded.values() for d in g} if qrels == "test_judged" else None
    listed = [d for d in lines(folder / "corpus.jsonl") if pool is None or d["_id"] in pool]
    asked = [q for q in lines(folder / "queries.jsonl") if q["_id"] in graded][:most]
    place = {d["_id"]: i for i, d in enumerate(listed)}
    return {
        "documents": [whole(d) for d in listed],
        "queries": [q["text"] for q in asked],
        "grades": [{place[d]: g for d, g in graded[q["_id"]].items() if d in place} for q in asked],
    }


def asked_papers(listed: list[dict[str, Any]], more: list[dict[str, Any]]) -> dict[str, Any]:
    rng = random.Random(2)
    return {
        "documents": [d["text"][:CHARACTERS] for d in listed + more],
        "queries": [typed(d["title"], rng) for d in listed],
        "grades": [{i: 1} for i in range(len(listed))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("arxiv", type=Path)
    parser.add_argument("texts", type=Path)
    args = parser.parse_args()
    rng = random.Random(0)
    listed = list(lines(args.arxiv))
    kept, known = listed[:DEVELOPMENT], listed[DEVELOPMENT:]
    training = {
        "papers": papers(known, rng),
        "nfcorpus": nfcorpus(args.data / "nfcorpus-near", rng),
        "medquad": medquad(args.data / "medquad", rng),
        "uscode": texts_alone(args.data / "uscode" / "corpus.jsonl", rng),
        "debian": texts_alone(args.data / "debian-descriptions" / "corpus.jsonl", rng),
    }
    development = {
        "nfcorpus": judged(args.data / "nfcorpus-near", "dev", 324),
        "medquad": judged(args.data / "medquad", "test_judged", 96),
        "pubmedqa": judged(args.data / "pubmedqa", "test", 300),
        "papers": asked_papers(kept, random.Random(1).sample(known, 2000)),
    }
    for kind, made in (("training", training), ("development", development)):
        for name, source in made.items():
            counts = f"{len(source['documents']):,} documents, {len(source['queries']):,} queries"
            print(f"{kind}: {name}: {counts}")
    with lzma.open(args.texts, "wt", encoding="utf-8", preset=9) as out:
        json.dump({"training": training, "development": development}, out, ensure_ascii=False)


if __name__ == "__main__":
    main()
