"""LlamaIndex's filters as conditions on metadata."""

from __future__ import annotations

from llama_index.core.vector_stores.types import FilterCondition, MetadataFilter, MetadataFilters

from tercet.integrations.filters import Condition, all_of, any_of, compare, none_of

__all__ = ["metadata_condition"]


def metadata_condition(filters: MetadataFilters | MetadataFilter) -> Condition:
    """Return filters, nested or not, with any of LlamaIndex's operators, as a condition; none hold always.

    Raises:
        TypeError: a value that does not fit its operator.
    """
    if isinstance(filters, MetadataFilter):
        return compare(filters.key, filters.operator.value, filters.value)
    parts = [metadata_condition(part) for part in filters.filters]
    if not parts or filters.condition in (None, FilterCondition.AND):
        return all_of(parts)
    return any_of(parts) if filters.condition == FilterCondition.OR else none_of(parts)
