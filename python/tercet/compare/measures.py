"""How good a ranking is, and how sure that is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tercet.judged import ndcg

__all__ = ["Interval", "bootstrap", "ndcg", "recall"]

RESAMPLES = 10_000
_BLOCK = 1 << 20  # numbers of queries drawn at a time


class Interval(NamedTuple):
    """A mean over queries, and where it lies in 95 % of the resamples; NaN where there is only one query."""

    mean: float
    low: float
    high: float


def recall(ranking: Sequence[Hashable], grades: Mapping[Any, int], k: int = 100) -> float:
    """Return which part of the documents graded above 0 is among the first ``k``; 0 if there are none."""
    relevant = {document for document, grade in grades.items() if grade > 0}
    return len(relevant.intersection(ranking[:k])) / len(relevant) if relevant else 0.0


def bootstrap(values: npt.NDArray[np.float64], *, seed: int = 0) -> list[Interval]:
    """Return the mean of each row with its 95 % interval: percentiles of 10,000 resamples of the queries.

    All rows see the same resamples, so that the interval of a difference is that of a row of differences.

    Args:
        values: ``[rows, queries]``, one number of each query.
        seed: of the resamples.
    """
    rows, queries = values.shape
    if queries < 2:
        return [Interval(float(row.mean()), np.nan, np.nan) for row in values]
    rng = np.random.default_rng(seed)
    means = np.empty((rows, RESAMPLES))
    step = max(1, _BLOCK // queries)
    for start in range(0, RESAMPLES, step):
        chosen = rng.integers(queries, size=(min(step, RESAMPLES - start), queries))
        for row in range(rows):
            means[row, start : start + len(chosen)] = values[row, chosen].mean(axis=1)
    bounds = np.percentile(means, [2.5, 97.5], axis=1)
    return [
        Interval(float(row.mean()), float(low), float(high))
        for row, low, high in zip(values, *bounds, strict=True)
    ]
