"""Conditions on metadata, with the operators that the filters of vector stores have."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

__all__ = ["OPERATORS", "Condition", "all_of", "any_of", "compare", "none_of"]

Condition: TypeAlias = Callable[[Mapping[str, Any]], bool]

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {  # of what a document has and what a filter says
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "in": lambda found, value: found in value,
    "nin": lambda found, value: found not in value,
    "any": lambda found, value: any(item in found for item in value),
    "all": lambda found, value: all(item in found for item in value),
    "contains": lambda found, value: value in found,
    "text_match": lambda found, value: value in found,
    "text_match_insensitive": lambda found, value: value.lower() in found.lower(),
    "is_empty": lambda found, _: found in ("", []),
}
_OF_LISTS = ("in", "nin", "any", "all")
_OF_TEXT = ("text_match", "text_match_insensitive")
_NEGATIONS = ("!=", "nin")


def compare(key: str, name: str, value: Any) -> Condition:
    """Return the condition that the value under ``key`` compares so with ``value``.

    Metadata without the key, or with None, meet ``!=``, ``nin``, ``is_empty`` and ``==`` None alone.

    Args:
        key: a name of metadata.
        name: one of ``OPERATORS``.
        value: what the metadata is compared with: a list for ``in``, ``nin``, ``any`` and ``all``, a str for
            ``text_match``; ``is_empty`` takes no notice of it.

    Raises:
        ValueError: an unknown operator.
        TypeError: a value that does not fit the operator; and, from the condition, metadata that cannot be
            compared with it, as a str is not above or below a number.
    """
    if name not in OPERATORS:
        raise ValueError(f"filter: expected an operator among {', '.join(OPERATORS)}, got {name!r}")
    if name in _OF_LISTS and not isinstance(value, (list, tuple, set, frozenset)):
        raise TypeError(f"filter: {name!r} of {key!r} expects a list of values, got {value!r}")
    if name in _OF_TEXT and not isinstance(value, str):
        raise TypeError(f"filter: {name!r} of {key!r} expects a str, got {value!r}")
    holds = OPERATORS[name]

    def condition(metadata: Mapping[str, Any]) -> bool:
        found = metadata.get(key)
        if found is None and name == "is_empty":
            return True
        if found is None and value is not None:
            return name in _NEGATIONS
        if name in _OF_TEXT and not isinstance(found, str):
            raise TypeError(f"filter: {name!r} of {key!r} expects metadata of str, found {found!r}")
        try:
            return bool(holds(found, value))
        except TypeError as e:
            raise TypeError(
                f"filter: cannot compare {key!r} {found!r} by {name!r} with {value!r}: {e}"
            ) from None

    return condition


def all_of(conditions: Sequence[Condition]) -> Condition:
    """Return the condition that all of these are met; without any, everything is."""
    return lambda metadata: all(condition(metadata) for condition in conditions)


def any_of(conditions: Sequence[Condition]) -> Condition:
    """Return the condition that one of these is met; without any, nothing is."""
    return lambda metadata: any(condition(metadata) for condition in conditions)


def none_of(conditions: Sequence[Condition]) -> Condition:
    """Return the condition that none of these is met."""
    return lambda metadata: not any(condition(metadata) for condition in conditions)
