"""What is given as a shard, as a stream of ids and vectors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias

from tercet.documents import parse
from tercet.encoders import Encoder, check_encoder
from tercet.jsonl import open_text, records

__all__ = ["EncoderSource", "check_shard", "load_encoder", "pairs"]

EncoderSource: TypeAlias = "str | Callable[[], Encoder] | None"
TEXTS = 256  # that the encoder is given at a time


def check_shard(shard: Any, encoder: EncoderSource, name: str) -> None:
    """Raise TypeError for what cannot be read twice, or elsewhere, or without an encoder."""
    if isinstance(shard, (str, os.PathLike)):
        if encoder is None:
            raise TypeError(f"{name}: expected pairs of an id and vectors, got the path of a file of texts")
    elif isinstance(shard, Iterator):
        wanted = (
            "what another process can read, twice: a list, a path, or a function that returns an iterator"
        )
        raise TypeError(f"{name}: expected {wanted}, got {type(shard).__name__}")


def load_encoder(source: EncoderSource, kind: str) -> Encoder | None:
    """Return what makes the vectors: a model of tercet by its name, or what a function returns.

    Raises:
        TypeError: it returns no encoder.
        ValueError: an encoder of the other kind, ``"single"`` or ``"multi"``.
    """
    if source is None:
        return None
    if callable(source):
        encoder = source()
    else:
        from tercet.models import BiEncoder, ColBERT

        encoder = ColBERT(source) if kind == "multi" else BiEncoder(source)
    check_encoder(encoder, kind)
    return encoder


def pairs(shard: Any, encoder: Encoder | None) -> Iterator[tuple[Any, Any]]:
    """Return ids and vectors of a shard: what it yields itself, or what the encoder makes of its texts."""
    items: Iterable[Any] = shard() if callable(shard) else shard
    if isinstance(items, (str, os.PathLike)):
        items = _of_file(os.fspath(items))
    return iter(items) if encoder is None else _encoded(items, encoder)


def _of_file(name: str) -> Iterator[Any]:
    with open_text(name) as lines:
        yield from records(lines, name)


def _encoded(items: Iterable[Any], encoder: Encoder) -> Iterator[tuple[list[Any], Any]]:
    texts = _texts(items)
    while batch := list(islice(texts, TEXTS)):
        yield [id for id, _ in batch], encoder.encode_document([text for _, text in batch])


def _texts(items: Iterable[Any]) -> Iterator[tuple[int | str, str]]:
    """Yield the id of each document and what a model reads of it."""
    for place, item in enumerate(items):
        if not isinstance(item, Mapping) or all(item.get(key) is None for key in ("_id", "id")):
            wanted = "a mapping with _id (shards cannot number their documents)"
            raise ValueError(f"document {place}: expected {wanted}, got {item!r:.100}")
        document = parse(item, place, 0)
        yield document.id, document.content
