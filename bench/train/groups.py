"""Make training data: queries, each with documents that answer it, near misses, and what a teacher says
of them.

    python bench/train/groups.py DATA ARXIV.jsonl GROUPS.jsonl [--part I/N] [--scale F]

DATA holds collections in BEIR's layout: ``nfcorpus-near`` (its train queries), ``medquad`` (question and
answer; judged answers stay out), ``uscode`` and ``debian-descriptions`` (a sentence, and the text it was
taken out of). ARXIV.jsonl has ``title`` and ``text`` (abstract) of papers, of which titles ask for one half
and sentences for the other; arXiv gives its metadata away under CC0. A part of N takes each source's share,
so that parts may be made side by side and their files joined.

A group is one line: ``source``, ``query``, ``positives``, ``negatives``, and for positives and negatives
in turn ``maxsim``, the mean MaxSim per query token of the untrained all-MiniLM-L6-v2, and ``teacher``: that
MaxSim + its cosine + 0.3 BM25, each as the number of standard deviations above the mean of the source's
documents. The three together rank better than any alone: the bi-encoder's 50 best have nDCG@10 0.345 on 200
development queries of nfcorpus by them, 0.313 by cosine (measured by hand, as the rest of this paragraph),
0.345 by MaxSim; and pubmedqa 0.986, 0.982, 0.983. Negatives are drawn from what the bi-encoder ranks 3rd to
60th, which is what a reranker will see.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import bm25s
import numpy as np

import tercet
from tercet.models import BiEncoder

CHARACTERS, TOKENS = 1000, 192  # of a document
NEGATIVES = 12
RANKS = range(2, 60)
DEVELOPMENT = 500  # papers that are kept for development: the first, by id
SIZES = {"nfcorpus": 2600, "titles": 3000, "sentences": 3000, "medquad": 1500, "uscode": 1000, "debian": 1000}
SAMPLE = 64  # documents that say what MaxSim is by chance


class Source(NamedTuple):
    """Documents, and queries with the places of what answers them."""

    documents: list[str]
    queries: list[tuple[str, list[int]]]


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


def share(listed: list[Any], most: int, part: tuple[int, int]) -> list[Any]:
    """Return this part's share of ``most`` items, chosen the same way for every part."""
    chosen = random.Random(0).sample(listed, min(most, len(listed)))
    return chosen[part[0] :: part[1]]


def nfcorpus(folder: Path, most: int, part: tuple[int, int]) -> Source:
    documents = list(lines(folder / "corpus.jsonl"))
    place = {d["_id"]: i for i, d in enumerate(documents)}
    asked = {q["_id"]: q["text"] for q in lines(folder / "queries.jsonl")}
    queries = [
        (asked[query], [place[d] for d, grade in graded.items() if grade > 0 and d in place])
        for query, graded in grades(folder / "qrels" / "train.tsv").items()
        if query in asked
    ]
    return Source(
        [f"{d['title']} {d['text']}".strip() for d in documents],
        share([q for q in queries if q[1]], most, part),
    )


def medquad(folder: Path, most: int, part: tuple[int, int]) -> Source:
    judged = {d for graded in grades(folder / "qrels" / "test_judged.tsv").values() for d in graded}
    pairs = {d["title"]: d["text"] for d in lines(folder / "corpus.jsonl") if d["_id"] not in judged}
    asked = share(sorted(pairs), most, part)
    return Source(
        [pairs[q] for q in asked], [(re.sub(r" *\(Also.*", "", q), [i]) for i, q in enumerate(asked)]
    )


def titles(listed: list[dict[str, Any]], most: int, part: tuple[int, int]) -> Source:
    """Titles of papers as they are, and as people type: some of the words."""
    rng = random.Random(part[0])
    chosen = share(listed, most, part)
    return Source([d["text"] for d in chosen], [(typed(d["title"], rng), [i]) for i, d in enumerate(chosen)])


def typed(title: str, rng: random.Random) -> str:
    """Return half of all titles without a third to a half of their words, in lower case."""
    words = title.split()
    if len(words) < 6 or rng.random() < 0.5:
        return title
    kept = sorted(rng.sample(range(len(words)), int(len(words) * rng.uniform(0.5, 0.67))))
    return " ".join(words[i] for i in kept).lower()


def cloze(listed: list[dict[str, Any]], most: int, part: tuple[int, int]) -> Source:
    """A sentence asks for the text it was taken out of (inverse cloze task, Lee et al. 2019)."""
    rng = random.Random(part[0])
    documents, queries = [], []
    for document in share(listed, 2 * most, part):
        sentences = re.split(r"(?<=[.;:]) +", document["text"][: 2 * CHARACTERS])
        fit = [i for i, s in enumerate(sentences) if 5 <= len(s.split()) <= 30]
        if len(sentences) >= 3 and fit and len(queries) < most // part[1]:
            asked = rng.choice(fit)
            queries.append((sentences[asked], [len(documents)]))
            documents.append(" ".join(sentences[:asked] + sentences[asked + 1 :]))
    return Source(documents, queries)


def groups(name: str, source: Source, model: BiEncoder) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    documents = [text[:CHARACTERS] for text in source.documents]
    vectors, tokens = encoded(model, documents)
    asked, asked_tokens = encoded(model, [query for query, _ in source.queries])
    words = bm25s.BM25()
    words.index(bm25s.tokenize(documents, show_progress=False), show_progress=False)
    for i, (query, answers) in enumerate(source.queries):
        cosine = vectors @ asked[i]
        best = np.argsort(-cosine, kind="stable")[RANKS.start : RANKS.stop]
        positives = rng.permutation(answers)[:3].tolist()
        # What is nearly the answer's own text is no wrong answer
        near = vectors[best] @ vectors[positives].T
        wrong = [
            int(d) for d, same in zip(best, near.max(axis=1), strict=True) if d not in answers and same < 0.97
        ]
        negatives = sorted(rng.permutation(wrong)[:NEGATIVES].tolist())
        both = positives + negatives
        if len(both) < 8:
            continue
        chance = rng.permutation(len(documents))[:SAMPLE].tolist()
        maxsim = tercet.maxsim(asked_tokens[i], [tokens[d] for d in both + chance])[0] / len(asked_tokens[i])
        terms = bm25s.tokenize([query], return_ids=False, show_progress=False)[0]
        lexical = words.get_scores(terms) if terms else np.zeros(len(documents), np.float32)
        teacher = standing(maxsim[: len(both)], maxsim[len(both) :])
        teacher = teacher + standing(cosine[both], cosine) + 0.3 * standing(lexical[both], lexical)
        yield {
            "source": name,
            "query": query,
            "positives": [documents[d] for d in positives],
            "negatives": [documents[d] for d in negatives],
            "maxsim": maxsim[: len(both)].astype(float).round(4).tolist(),
            "teacher": teacher.astype(float).round(3).tolist(),
        }


def standing(scores: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return how many standard deviations scores are above the mean of others."""
    return (scores - of.mean()) / (of.std() + 1e-9)


def encoded(model: BiEncoder, texts: list[str]) -> tuple[np.ndarray, list[np.ndarray]]:
    pooled, tokens = [], []
    for first in range(0, len(texts), 512):
        vectors, rows = model.encode_both(texts[first : first + 512])
        pooled.append(vectors)
        tokens += [rows[i].astype(np.float16) for i in range(len(rows))]
    return np.concatenate(pooled), tokens


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("arxiv", type=Path)
    parser.add_argument("groups", type=Path)
    parser.add_argument("--part", default="0/1", help="I/N, default: %(default)s")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of groups, to try things out")
    args = parser.parse_args()
    first, count = map(int, args.part.split("/"))
    part = (first, count)
    most = {name: int(size * args.scale) for name, size in SIZES.items()}
    known = list(lines(args.arxiv))[DEVELOPMENT:]
    random.Random(1).shuffle(known)
    half = len(known) // 2
    sources = {
        "nfcorpus": nfcorpus(args.data / "nfcorpus-near", most["nfcorpus"], part),
        "titles": titles(known[:half], most["titles"], part),
        "sentences": cloze(known[half:], most["sentences"], part),
        "medquad": medquad(args.data / "medquad", most["medquad"], part),
    }
    for name, folder in (("uscode", "uscode"), ("debian", "debian-descriptions")):
        sources[name] = cloze(list(lines(args.data / folder / "corpus.jsonl")), most[name], part)
    model = BiEncoder(precision="auto", max_length=TOKENS)
    with args.groups.open("w", encoding="utf-8") as out:
        for name, source in sources.items():
            made = 0
            for group in groups(name, source, model):
                out.write(json.dumps(group, ensure_ascii=False) + "\n")
                made += 1
            print(f"{name}: {made:,} groups of {len(source.documents):,} documents", flush=True)


if __name__ == "__main__":
    main()
