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

__all__ = ["number_of_records", "open_text", "records"]


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


def records(lines: IO[str], name: str) -> Iterator[Any]:
    """Yield the document of each line of a JSONL file; errors name the line."""
    number, place = 1, 0
    try:
        for line in lines:
            if line.strip():
                try:
                    item = json.loads(line)
                except ValueError as e:
                    raise ValueError(f"not JSON: {e}") from None
                parse(item, place, place)
                place += 1
                yield item
            number += 1
    except UnicodeDecodeError as e:
        raise ValueError(f"{name}, line {number} or later: not UTF-8: {e}") from None
    except (TypeError, ValueError) as e:
        raise type(e)(f"{name}, line {number}: {e}") from None
