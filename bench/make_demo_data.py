"""Make the judged collection that ``tercet demo`` ships from the full MedQuAD test collection.

    python bench/make_demo_data.py FULL_COLLECTION [-o python/tercet/data/medquad]

FULL_COLLECTION holds ``corpus.jsonl.gz``, ``queries.jsonl``, ``qrels/test_judged.tsv`` and ``LICENSE.txt``.
The result is a function of that folder alone: the same bytes on every machine and every run.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

# MedQuAD publishes only the questions of these three collections ("to respect the MedlinePlus copyright");
# its judged answers still quote their texts, which are not the authors' to license.
WITHHELD = ("ADAM_", "MPlusDrugs_", "MPlusHerbsSuppls_")
DOCUMENTS = 2400
MAX_CHARACTERS = 1500  # of a text; far beyond the tokens the demo reads
MIN_CHARACTERS = 80  # shorter fillers are headings without an answer

SOURCE = """\
A compact subset of MedQuAD (Medical Question Answering Dataset), judged for TREC-2017 LiveQA-Medical.

Authors:    Asma Ben Abacha and Dina Demner-Fushman, "A Question-Entailment Approach to Question Answering",
            BMC Bioinformatics 20, 511 (2019), https://doi.org/10.1186/s12859-019-3119-4
Source:     https://github.com/abachaa/MedQuAD, commit 577bd37b96c02d1833b2c9eed2de9f96964e96cb
            (question-answer pairs of NIH websites; QA-TestSet-LiveQA-Med-Qrels-2479-Answers.zip)
Questions:  https://github.com/abachaa/LiveQA_MedicalTask_TREC2017 (one-sentence summaries written by the
            U.S. National Library of Medicine)
Licence:    Creative Commons Attribution 4.0 International, see LICENSE.txt

Changes:
* Answers from the A.D.A.M. Medical Encyclopedia, MedlinePlus Drug Information and MedlinePlus Herbs and
  Supplements are left out: MedQuAD withholds them out of respect for their owners' copyright. With them go
  {removed} of the {all_judgements} judgements, and {lost} questions that had a relevant answer only there.
* Kept are the {queries} questions with at least one relevant answer, all {judged} remaining answers judged
  for them, and {fillers} further question-answer pairs, chosen by the SHA-256 of their id, as a crowd to be
  found in.
* title = the question, text = the answer. {cut} of {documents} texts are cut at a word boundary after at
  most {characters:,} characters and end in " ...".
* Grades: 4 Excellent = 3, 3 Incomplete = 2, 2 Related = 1, 1 Incorrect = 0.

Judgements cover only what the systems of 2017-2019 retrieved: measure on judged documents, and compare
systems with each other rather than with published figures.
Made by bench/make_demo_data.py.
"""


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_judgements(path: Path) -> list[tuple[str, str, int]]:
    rows = path.read_text(encoding="utf-8").splitlines()[1:]
    return [(query, document, int(score)) for query, document, score in (row.split("\t") for row in rows)]


def digest(identifier: str) -> bytes:
    return hashlib.sha256(identifier.encode()).digest()


def cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS].rsplit(" ", 1)[0] + " ..."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("collection", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("python/tercet/data/medquad"))
    args = parser.parse_args()

    corpus = {d["_id"]: d for d in read_jsonl(args.collection / "corpus.jsonl.gz")}
    everything = read_judgements(args.collection / "qrels" / "test_judged.tsv")
    free = [row for row in everything if not row[1].startswith(WITHHELD)]
    answered = {query for query, _, score in free if score > 0}
    had_answer = {query for query, _, score in everything if score > 0}
    judgements = [row for row in free if row[0] in answered]
    judged = {document for _, document, _ in judgements}

    candidates = [
        i
        for i, d in corpus.items()
        if i not in judged and not i.startswith(WITHHELD) and len(d["text"]) >= MIN_CHARACTERS
    ]
    candidates.sort(key=digest)
    # Sorted by digest, any first part of the corpus is a fair sample of it
    chosen = sorted(judged | set(candidates[: DOCUMENTS - len(judged)]), key=digest)
    documents = [{**corpus[i], "text": cut(corpus[i]["text"])} for i in chosen]
    queries = [q for q in read_jsonl(args.collection / "queries.jsonl") if q["_id"] in answered]

    out: Path = args.output
    out.mkdir(parents=True, exist_ok=True)
    corpus_lines = "".join(json.dumps(d, ensure_ascii=False) + "\n" for d in documents)
    # a third smaller than by gzip, in every wheel
    packed = lzma.compress(corpus_lines.encode(), preset=9 | lzma.PRESET_EXTREME)
    (out / "corpus.jsonl.xz").write_bytes(packed)
    (out / "queries.jsonl").write_text(
        "".join(json.dumps(q, ensure_ascii=False) + "\n" for q in queries), encoding="utf-8"
    )
    (out / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t{s}\n" for q, d, s in judgements),
        encoding="utf-8",
    )
    (out / "LICENSE.txt").write_text(
        (args.collection / "LICENSE.txt").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (out / "SOURCE.txt").write_text(
        SOURCE.format(
            removed=f"{len(everything) - len(free):,}",
            all_judgements=f"{len(everything):,}",
            lost=len(had_answer - answered),
            queries=len(queries),
            judged=len(judged),
            fillers=f"{len(documents) - len(judged):,}",
            cut=sum(d["text"] != corpus[d["_id"]]["text"] for d in documents),
            documents=f"{len(documents):,}",
            characters=MAX_CHARACTERS,
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
