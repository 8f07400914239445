"""Statistics of interleaved measurements: of pairs, because what slows one round slows all in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """Median and 10-90 % range over the rounds, and the value at the best round of either side."""

    median: float
    low: float
    high: float
    best: float


def of_times(seconds: Sequence[float]) -> Spread:
    return _spread(np.asarray(seconds), min(seconds))


def of_ratios(seconds: Sequence[float], ours: Sequence[float]) -> Spread:
    """How many times longer than ours, round by round."""
    n = min(len(seconds), len(ours))
    return _spread(np.asarray(seconds[:n]) / np.asarray(ours[:n]), min(seconds) / min(ours))


def of_limit(amount: float, seconds: Sequence[float], limits: Sequence[float]) -> Spread:
    """Which part of a limit (amount per second) is reached, round by round, each with its own reading."""
    n = min(len(seconds), len(limits))
    parts = amount / np.asarray(seconds[:n]) / np.asarray(limits[:n])
    return _spread(parts, amount / min(seconds) / max(limits))


def _spread(values: np.ndarray, best: float) -> Spread:
    low, median, high = np.quantile(values, (0.1, 0.5, 0.9))
    return Spread(float(median), float(low), float(high), float(best))
