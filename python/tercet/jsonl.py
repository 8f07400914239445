"""Files of one JSON document per line."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

from tercet.documents import parse

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
                    item = json.loads(line)
                except ValueError as e:
                    raise ValueError(f"{name}, line {number}: not JSON: {e}") from None
                yield number, item
    except UnicodeDecodeError as e:
        raise ValueError(f"{name}, line {number + 1} or later: not UTF-8: {e}") from None


def records(lines: IO[str], name: str) -> Iterator[Any]:
    """Yield the document of each line of a JSONL file; errors name the line."""
    for place, (number, item) in enumerate(numbered(lines, name)):
        try:
            parse(item, place, place)
        except (TypeError, ValueError) as e:
            raise type(e)(f"{name}, line {number}: {e}") from None
        yield item
