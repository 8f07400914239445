"""Collections in the layout of BEIR: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/test.tsv``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tercet.documents import Document, text_field
from tercet.jsonl import numbered, open_text
from tercet.judged import JudgedCollection
from tercet.wording import number_of

__all__ = ["Folder", "read_folder"]


class Folder(NamedTuple):
    """A collection that was read.

    Attributes:
        name: of the folder.
        collection: documents that have text, in the order of the file; queries with a relevant document.
        notes: what was left out, and why; for people.
    """

    name: str
    collection: JudgedCollection
    notes: list[str]


def read_folder(folder: Path, *, split: str = "test", limit_queries: int | None = None) -> Folder:
    """Read a collection.

    Documents without text are left out: nothing finds them, so a relevant one counts as missed. Queries
    without a relevant document (a grade above 0) do not count, as in trec_eval.

    Args:
        folder: with ``corpus.jsonl`` and ``queries.jsonl`` (or ``.jsonl.gz``) and ``qrels/SPLIT.tsv``.
        split: which of the files of judgements.
        limit_queries: keep the first so many of the queries that count.

    Raises:
        FileNotFoundError: one of the files is missing; names it.
        ValueError: a line that is not what it should be, an id twice, a judgement of a query that is not
            there, no query that counts; names file and line.
    """
    documents, empty = _documents(_file(folder, "corpus.jsonl"))
    texts = _queries(_file(folder, "queries.jsonl"))
    grades = _grades(_judgements(folder, split), set(texts))
    counted = {query: of for query, of in grades.items() if max(of.values()) > 0}
    chosen = [query for query in texts if query in counted][:limit_queries]
    if not chosen:
        raise ValueError(f"{folder / 'qrels' / split}.tsv: no query has a relevant document")
    known = {document.id for document in documents}
    lost = sum(d not in known for query in chosen for d, grade in counted[query].items() if grade > 0)
    left_out = (
        (empty, "document", "left out, without text"),
        (lost, "relevant document", "missed by all, not among the documents or without text"),
        (len(texts) - len(grades), "query", f"not counted, without judgements in {split}.tsv"),
        (len(grades) - len(counted), "query", "not counted, without a relevant document"),
        (len(counted) - len(chosen), "query", f"not counted, beyond the first {len(chosen):,}"),
    )
    notes = [f"{why}: {number_of(count, what)}" for count, what, why in left_out if count]
    name = folder.resolve().name
    kept = {query: texts[query] for query in chosen}
    return Folder(name, JudgedCollection(documents, kept, {q: counted[q] for q in chosen}), notes)


def _file(folder: Path, name: str) -> str:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return str(path)
    raise FileNotFoundError(
        f"{folder / name}: no such file (nor {Path(name).name}.gz): a collection in BEIR's layout has it"
    )


def _judgements(folder: Path, split: str) -> str:
    try:
        return _file(folder, f"qrels/{split}.tsv")
    except FileNotFoundError as e:
        splits = sorted({path.name.partition(".tsv")[0] for path in (folder / "qrels").glob("*.tsv*")})
        raise FileNotFoundError(f"{e}; its splits are {', '.join(splits)}" if splits else str(e)) from None


def _documents(name: str) -> tuple[list[Document], int]:
    """Return the documents that have text, and how many have none."""
    documents, empty = [], 0
    for id, title, text in _records(name):
        document = Document(id, title, text, {})
        if document.content:
            documents.append(document)
        else:
            empty += 1
    if not documents:
        raise ValueError(f"{name}: no documents")
    return documents, empty


def _queries(name: str) -> dict[str, str]:
    texts = {}
    for id, _, text in _records(name):
        if not text.strip():
            raise ValueError(f"{name}: query {id!r} has no text")
        texts[id] = text
    return texts


def _records(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield id, title and text of each line."""
    first: dict[str, int] = {}
    with open_text(name) as lines:
        for number, item in numbered(lines, name):
            where = f"{name}, line {number}"
            if not isinstance(item, dict) or not isinstance(item.get("_id", item.get("id")), (str, int)):
                raise ValueError(f'{where}: expected an object with "_id" (str), got {str(item)[:60]}')
            id = str(item.get("_id", item.get("id")))
            if id in first:
                raise ValueError(f"{where}: id {id!r} was given before, on line {first[id]}")
            first[id] = number
            yield id, _field(item, "title", where), _field(item, text_field(item), where)


def _field(item: dict[str, Any], key: str, where: str) -> str:
    value = item.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{where}: expected {key} to be str, got {type(value).__name__}")
    return value or ""


def _grades(name: str, queries: set[str]) -> dict[str, dict[int | str, int]]:
    """Return query id to document id to grade; the first line may be a header."""
    grades: dict[str, dict[int | str, int]] = {}
    for number, line in _lines(name):
        where, cells = f"{name}, line {number}", line.rstrip("\r\n").split("\t")
        if not line.strip() or (number == 1 and len(cells) == 3 and not _is_integer(cells[2])):
            continue
        if len(cells) != 3 or not _is_integer(cells[2]):
            raise ValueError(
                f"{where}: expected query, document and an integer grade between tabs, got {line[:60]!r}"
            )
        query, document, grade = cells[0], cells[1], int(cells[2])
        if query not in queries:
            raise ValueError(f"{where}: query {query!r} is not among the queries")
        if grades.setdefault(query, {}).setdefault(document, grade) != grade:
            raise ValueError(f"{where}: query {query!r} and document {document!r} had another grade before")
    return grades


def _lines(name: str) -> Iterator[tuple[int, str]]:
    try:
        with open_text(name) as lines:
            yield from enumerate(lines, 1)
    except UnicodeDecodeError as e:
        raise ValueError(f"{name}: not UTF-8: {e}") from None


def _is_integer(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True
