"""Which setting of an approximate search finds enough: measured on a sample whose best are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

__all__ = ["RecallOf", "check_recall", "part_of", "smallest"]

RecallOf: TypeAlias = Callable[[int], float]  # of a setting: more find more, and take longer


def check_recall(target_recall: Any) -> None:
    """Raise unless this is a part of what is looked for, and not none of it."""
    numbers = (int, float, np.integer, np.floating)
    if isinstance(target_recall, bool) or not isinstance(target_recall, numbers):
        raise TypeError(f"target_recall: expected a number, got {type(target_recall).__name__}")
    if not 0 < target_recall <= 1:
        raise ValueError(f"target_recall: expected a number above 0 and at most 1, got {target_recall}")


def part_of(best: Iterable[Iterable[Any]], found: Iterable[Iterable[Any]]) -> float:
    """Return which part of the best of all queries was found."""
    pairs = [(set(want), set(got)) for want, got in zip(best, found, strict=True)]
    return sum(len(want & got) for want, got in pairs) / sum(len(want) for want, _ in pairs)


def smallest(target_recall: float, first: int, last: int, recall_of: RecallOf, name: str) -> int:
    """Return the smallest setting, of steps of a quarter from the first to the last, that reaches a recall.

    Raises:
        ValueError: none does; the message says what is reached.
    """
    setting = first
    while (recall := recall_of(setting)) < target_recall:
        if setting >= last:
            raise ValueError(f"target_recall: {target_recall} is not reached, {recall:.3f} with any {name}")
        setting = min(setting + max(1, setting // 4), last)
    return setting
