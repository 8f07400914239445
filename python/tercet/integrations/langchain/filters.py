"""What LangChain's users give as ``filter``: a function of a document, or a dict in the terms of MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from langchain_core.documents import Document

from tercet.integrations.filters import Condition, all_of, any_of, compare, none_of

__all__ = ["DocumentFilter", "document_filter"]

DocumentFilter: TypeAlias = Callable[[Document], bool] | Mapping[str, Any]

_OPERATORS = {
    "$eq": "==",
    "$ne": "!=",
    "$gt": ">",
    "$gte": ">=",
    "$lt": "<",
    "$lte": "<=",
    "$in": "in",
    "$nin": "nin",
}


def document_filter(filter: Any) -> Callable[[Document], bool]:
    """Return a filter as a function of a document.

    Args:
        filter: such a function, or a dict: ``{"year": 2020}``, ``{"year": {"$gte": 2020, "$lt": 2024}}``
            (``$eq``, ``$ne``, ``$gt``, ``$gte``, ``$lt``, ``$lte``, ``$in``, ``$nin``), and of such dicts
            ``{"$and": [...]}``, ``{"$or": [...]}``, ``{"$not": ...}``. All entries of a dict have to hold.

    Raises:
        TypeError: neither, or a value that does not fit its operator.
        ValueError: an unknown operator.
    """
    if callable(filter):
        return filter  # type: ignore[no-any-return]
    condition = _condition(filter)
    return lambda document: condition(document.metadata)


def _condition(filter: Any) -> Condition:
    if not isinstance(filter, Mapping):
        raise TypeError(f"filter: expected a function of a Document or a dict, got {type(filter).__name__}")
    for key in filter:
        if not isinstance(key, str):
            raise TypeError(f"filter: expected names of metadata to be str, got {key!r}")
    return all_of([_entry(key, value) for key, value in filter.items()])


def _entry(key: str, value: Any) -> Condition:
    if key in ("$and", "$or"):
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"filter: {key} expects a list of dicts, got {type(value).__name__}")
        parts = [_condition(part) for part in value]
        return all_of(parts) if key == "$and" else any_of(parts)
    if key == "$not":
        return none_of([_condition(value)])
    if key.startswith("$"):
        raise ValueError(f"filter: expected a name of metadata, $and, $or or $not, got {key!r}")
    if not isinstance(value, Mapping):
        return compare(key, "==", value)
    unknown = [name for name in value if name not in _OPERATORS]
    if unknown:
        raise ValueError(f"filter: expected {', '.join(_OPERATORS)} of {key!r}, got {unknown[0]!r}")
    return all_of([compare(key, _OPERATORS[name], wanted) for name, wanted in value.items()])
