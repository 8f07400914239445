"""Documents as they come, cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import numpy as np

from tercet.arrays import Rows, as_float32, as_tokens, check_dim
from tercet.indexes.base import required_ids
from tercet.types import TokenVectors

__all__ = ["Batch", "Progress", "in_batches", "of_pairs", "of_vectors", "reporting"]

Progress: TypeAlias = Callable[[int, int], object]  # called with numbers of documents and tokens
Batch: TypeAlias = "tuple[TokenVectors, list[Any] | None]"  # documents, and their ids if they were given

T = TypeVar("T", bound="tuple[TokenVectors, Any]")


def of_vectors(vectors: Iterator[Any], ids: Any, dim: int) -> Iterator[Batch]:
    """Yield documents or batches with as many ids, which may come from an iterator too."""
    if ids is not None and (not isinstance(ids, Iterable) or isinstance(ids, (str, bytes, set, frozenset))):
        raise TypeError(f"ids: expected a list, an array or an iterator, got {type(ids).__name__}")
    names = None if ids is None else iter(ids)
    count = 0
    for i, item in enumerate(vectors):
        tokens = _tokens(item, i, dim)
        taken = None if names is None else list(islice(names, len(tokens)))
        count += len(tokens)
        if taken is not None and len(taken) < len(tokens):
            raise ValueError(f"ids: expected one per document, got {count - len(tokens) + len(taken)} in all")
        yield tokens, taken
    if isinstance(ids, Sized) and len(ids) != count:
        raise ValueError(f"ids: expected {count}, one per document, got {len(ids)}")


def of_pairs(pairs: Iterable[tuple[Any, Any]], dim: int) -> Iterator[Batch]:
    """Yield what is given as ``(id, document)`` or ``(ids, documents)``."""
    for i, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            wanted, found = "(id, document) or (ids, documents)", type(pair).__name__
            raise TypeError(f"item {i} of the stream: expected {wanted}, got {found}")
        ids, vectors = pair
        tokens, names = _tokens(vectors, i, dim), required_ids(ids)
        if len(names) != len(tokens):
            raise ValueError(f"item {i} of the stream: expected {len(tokens)} ids, got {len(names)}")
        yield tokens, names.tolist() if isinstance(names, np.ndarray) else names


def in_batches(items: Iterable[Batch], most: int) -> Iterator[Batch]:
    """Join small batches to larger ones of about ``most`` bytes of float32, without an id that comes twice.

    What is larger already stays as it is.
    """
    kept: list[TokenVectors] = []
    names: list[Any] = []
    seen: set[Any] = set()
    size = 0
    for tokens, ids in items:
        if kept and (size >= most or not seen.isdisjoint(ids or ())):
            yield _joined(kept), None if ids is None else names
            kept, names, seen, size = [], [], set(), 0
        kept.append(tokens)
        names += ids or ()
        seen.update(ids or ())
        # A document without tokens takes memory too.
        size += len(tokens.values) * tokens.dim * 4 + 64 * len(tokens)
    if kept:
        yield _joined(kept), None if ids is None else names


def reporting(batches: Iterable[T], progress: Progress | None) -> Iterator[T]:
    """Yield batches, and call ``progress`` when whoever asked for one asks for the next."""
    documents = tokens = 0
    for batch in batches:
        yield batch
        documents += len(batch[0])
        tokens += len(batch[0].values)
        if progress is not None:
            progress(documents, tokens)


def _tokens(item: Any, place: int, dim: int) -> TokenVectors:
    name = f"vectors: item {place} of the stream"
    tokens = as_tokens(item, name)
    check_dim(tokens.rows, dim, name)
    return tokens


def _joined(parts: list[TokenVectors]) -> TokenVectors:
    if len(parts) == 1:
        return parts[0]
    ends = np.cumsum([len(part.values) for part in parts])
    offsets = [parts[0].offsets] + [
        part.offsets[1:] + end for part, end in zip(parts[1:], ends[:-1], strict=True)
    ]
    rows = np.concatenate([as_float32(part.rows).data for part in parts])
    return TokenVectors._of(Rows(rows, "float32"), np.concatenate(offsets))
