"""Files of one JSON document per line."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

from tercet.documents import EmptyTextError, parse

__all__ = ["number_of_records", "numbered", "open_text", "records"]


def open_text(name: str) -> contextlib.AbstractContextManager[IO[str]]:
    """Open a file, a ``.gz`` or, as ``-``, stdin."""
    if name == "-":
        return open(sys.stdin.fileno(), encoding="utf-8", closefd=False)
    return (
        gzip.open(name, "rt", encoding="utf-8-sig")
        if name.endswith(".gz")
        else open(name, encoding="utf-8-sig")
    )


def number_of_records(name: str) -> int | None:
    """Count the documents of a file that can be read twice, and fast; None of others."""
    if name.endswith(".gz") or not os.path.isfile(name):
        return None
    with open(name, "rb") as lines:
        return sum(1 for line in lines if line.strip())


def numbered(lines: IO[str], name: str) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each line that is not blank; errors name the line."""
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    item = json.loads(line.rstrip())
                except ValueError as e:  # which may count lines too, and knows of one
                    why = f"{e.msg} (column {e.colno})" if isinstance(e, json.JSONDecodeError) else e
                    raise ValueError(f"{name}, line {number}: not JSON: {why}") from None
                yield number, item
    except UnicodeDecodeError as e:
        raise ValueError(f"{name}, line {number + 1} or later: not UTF-8: {e}") from None


def records(lines: IO[str], name: str, left_out: list[str] | None = None) -> Iterator[Any]:
    """Yield the document of each line of a JSONL file; errors name the line.

    Args:
        lines: of the file.
        name: of the file.
        left_out: gets the id of each document whose text is empty, or ``line N`` where it has none; None
            makes that an error.
    """
    for place, (number, item) in enumerate(numbered(lines, name)):
        try:
            parse(item, place, place)
        except (TypeError, ValueError) as e:
            if left_out is None or not isinstance(e, EmptyTextError):
                raise type(e)(f"{name}, line {number}: {e}") from None
            ids = [] if isinstance(item, str) else [item.get("_id"), item.get("id")]
            left_out.append(next((str(id) for id in ids if id is not None), f"line {number}"))
        else:
            yield item
