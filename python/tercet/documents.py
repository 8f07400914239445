"""Documents: what people give, checked, and the SQLite file that keeps it."""

from __future__ import annotations

import json
import operator
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tercet.unicode import unicode_fault

__all__ = [
    "CHUNK",
    "Document",
    "DocumentStore",
    "EmptyTextError",
    "check_id",
    "check_ids",
    "check_metadata",
    "parse",
    "parse_all",
    "text_field",
]

_ID_RANGE = range(-(2**63), 2**63)  # what SQLite can hold
CHUNK = 500  # bound parameters of a statement; SQLite guarantees 999

_SCHEMA_VERSION = 1
_SCHEMA = f"""
    CREATE TABLE documents (
        key INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice, so a key left by a crash finds nothing
        id NOT NULL,                            -- no type: 1 and '1' stay different
        title TEXT NOT NULL,
        text TEXT NOT NULL,
        metadata TEXT NOT NULL
    );
    CREATE INDEX documents_id ON documents (id);
    PRAGMA user_version = {_SCHEMA_VERSION};
"""


class Document(NamedTuple):
    """A document as it is stored."""

    id: int | str
    title: str
    text: str
    metadata: dict[str, Any]

    @property
    def content(self) -> str:
        """What a model reads: title and text."""
        return f"{self.title} {self.text}".strip()


class EmptyTextError(ValueError):
    """A document with a field for its text, and nothing in it."""


def check_id(value: Any) -> int | str:
    """Return an id as it was given.

    Raises:
        TypeError: neither int nor str (a bool is not an int here).
        ValueError: an int of more than 64 bits.
    """
    if hasattr(value, "__index__") and not isinstance(value, (bool, np.bool_)):
        value = operator.index(value)  # numpy's integers too
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"id: expected int or str, got {type(value).__name__} {value!r:.60}")
    if isinstance(value, int) and value not in _ID_RANGE:
        raise ValueError(f"id: expected an int of at most 64 bits, got {value}")
    return value


def check_ids(ids: Any, name: str) -> list[int | str]:
    """Return one id, or several, as a list; errors as :func:`check_id`, or TypeError for no ids at all."""
    if isinstance(ids, str) or (hasattr(ids, "__index__") and getattr(ids, "ndim", 0) == 0):
        ids = [ids]
    if isinstance(ids, (bytes, bytearray)) or not isinstance(ids, Iterable):
        raise TypeError(f"{name}: expected ids of documents, got {type(ids).__name__}")
    return [check_id(i) for i in ids]


def parse(item: Any, place: int, number: int) -> Document:
    """Return one given document: a ``str``, or a mapping as in BEIR and Anserini collections.

    The id is ``_id`` or ``id``, the text ``text`` or ``contents``; the first one present counts. Everything
    beside these and ``title`` is metadata, kept as JSON keeps it (a tuple comes back as a list).

    Args:
        item: the document.
        place: its position in what was given, for messages.
        number: its id when it has none.

    Raises:
        TypeError: no str or mapping, a field of another type, metadata that JSON cannot hold.
        EmptyTextError: the text is empty, and so is the title, or there is none.
        ValueError: neither title nor text, or one that is not valid Unicode.
    """
    fields: dict[Any, Any]
    if isinstance(item, str):
        fields = {"text": item}
    elif isinstance(item, Mapping):
        fields = dict(item)
    else:
        raise TypeError(f"document {place}: expected str or a mapping, got {type(item).__name__}")
    fields = {key: v for key, v in fields.items() if v is not None or key not in ("_id", "id")}
    name = next((key for key in ("_id", "id") if key in fields), None)
    try:
        identifier = check_id(number if name is None else fields.pop(name))
    except (TypeError, ValueError) as e:
        raise type(e)(f"document {place}: {e}") from None
    source = text_field(fields)
    has_text = source in fields
    title, text = fields.pop("title", None), fields.pop(source, None)
    for key, value in (("title", title), (source, text)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"document {identifier!r}: expected {key} to be str, got {type(value).__name__}")
    document = Document(identifier, title or "", text or "", fields)
    named = f"document {identifier!r} (the {_ordinal(place + 1)})"
    if not document.content:
        if not has_text:  # as where a file calls it otherwise
            raise ValueError(f"{named} has no text; its fields: {_names(item)}")
        raise EmptyTextError(f"{named}: its text is empty")
    if fault := unicode_fault(str(identifier)) or unicode_fault(document.content):
        raise ValueError(f"{named} is not valid Unicode: {fault}")
    check_metadata(fields, f"document {identifier!r}")
    return document


def text_field(fields: Mapping[Any, Any]) -> str:
    """Return which field is a document's text: of ``text`` and ``contents`` the first that is there."""
    return next((key for key in ("text", "contents") if key in fields), "text")


def check_metadata(fields: Mapping[Any, Any], name: str) -> None:
    """Raise TypeError, which begins with ``name``, for metadata that JSON cannot hold."""
    for key, value in fields.items():
        if not isinstance(key, str):
            raise TypeError(f"{name}: expected names of metadata to be str, got {key!r}")
        try:
            json.dumps(value)
        except (TypeError, ValueError) as e:
            raise TypeError(f"{name}: metadata {key!r} is not JSON: {e}") from None


def parse_all(docs: Iterable[Any], number: int, ids: dict[int | str, None]) -> Iterator[Document]:
    """Yield what was given as documents, numbered on from ``number``, and note their ids in ``ids``.

    Raises:
        TypeError, ValueError: as :func:`parse`, and for an id given twice.
    """
    for place, item in enumerate(docs):
        document = parse(item, place, number)
        if document.id in ids:
            raise ValueError(f"document {place}: id {document.id!r} was given before in this add")
        if isinstance(document.id, int):
            number = max(number, document.id + 1)
        ids[document.id] = None
        yield document


def _names(item: Mapping[Any, Any]) -> list[str]:
    return sorted(str(key) for key in item)


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def is_blank(path: Path) -> bool:
    """Tell whether a file is a document store, or not there: what a create that was killed may have left."""
    if not path.exists():
        return True
    try:
        DocumentStore(path).close()
    except ValueError:
        return path.stat().st_size == 0
    return True


class DocumentStore:
    """Texts and metadata by key, in one SQLite file.

    Keys are ints that only the index knows; rows are inserted and deleted, never changed. Which of them are
    current is for the index to say: a replaced document has a row under its old key until the commit.

    Args:
        path: the file.
        create: make a new one, or open one that exists.

    Raises:
        ValueError: the file is missing, damaged, or of another version.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        # mode=rw also when only reading: a reader may have to roll back what a killed writer left
        uri = path.absolute().as_uri() + ("?mode=rwc" if create else "?mode=rw")
        try:
            self._connection = sqlite3.connect(uri, uri=True, timeout=60, check_same_thread=False)
            if create:
                self._db.executescript(_SCHEMA)
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError as e:
            raise ValueError(f"{path}: cannot be read as a document store: {e}") from None
        if version != _SCHEMA_VERSION:
            raise ValueError(f"{path}: expected document store version {_SCHEMA_VERSION}, got {version}")

    def insert(self, documents: Iterable[Document]) -> list[int]:
        """Store documents, durably, and return their keys."""
        keys = []
        with self._db:
            for id, title, text, metadata in documents:
                row = (id, title, text, json.dumps(metadata))
                done = self._db.execute(
                    "INSERT INTO documents (id, title, text, metadata) VALUES (?, ?, ?, ?)", row
                )
                keys.append(int(done.lastrowid or 0))
        return keys

    def get(self, keys: Sequence[int]) -> dict[int, Document]:
        """Return the documents of those keys that exist."""
        return {
            key: Document(id, title, text, json.loads(metadata))
            for key, id, title, text, metadata in self._select(
                "SELECT key, id, title, text, metadata FROM documents WHERE key IN", keys
            )
        }

    def keys(self, ids: Sequence[int | str]) -> list[tuple[int, int | str]]:
        """Return ``(key, id)`` of every row that has one of the ids, current or not."""
        # A string that UTF-8 cannot hold is the id of no document, and SQLite would refuse it
        known = [id for id in ids if not isinstance(id, str) or unicode_fault(id) is None]
        return list(self._select("SELECT key, id FROM documents WHERE id IN", known))

    def next_number(self) -> int:
        """Return one more than the largest int id, 0 if there is none."""
        # SQLite orders numbers before text, so this walks the index from the last number
        row = self._db.execute("SELECT id FROM documents WHERE id < '' ORDER BY id DESC LIMIT 1").fetchone()
        return max(0, int(row[0]) + 1) if row else 0

    def delete(self, keys: Sequence[int]) -> None:
        """Delete rows, durably."""
        with self._db:
            self._db.executemany("DELETE FROM documents WHERE key = ?", ((key,) for key in keys))

    def keep_only(self, keys: set[int]) -> None:
        """Delete every row that is not among ``keys``."""
        self.delete([key for (key,) in self._db.execute("SELECT key FROM documents") if key not in keys])

    def __len__(self) -> int:
        """Return the number of rows, current or not."""
        return int(self._db.execute("SELECT count(*) FROM documents").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()  # sqlite3 would too, and warns of it from Python 3.13 on

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise ValueError(f"{self._path}: closed")
        return self._connection

    def _select(self, statement: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(values), CHUNK):
            part = values[start : start + CHUNK]
            yield from self._db.execute(f"{statement} ({', '.join('?' * len(part))})", part).fetchall()
