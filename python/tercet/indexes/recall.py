"""What part of the best the searches of a graph find: measured on a sample whose best are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tercet import _core
from tercet.indexes.base import id_array, required_ids
from tercet.indexes.calibration import RecallOf, part_of

__all__ = ["recall_for_queries", "recall_for_vectors", "while_others_change"]

T = TypeVar("T")
_SAMPLE = 256  # vectors


def recall_for_queries(native: _core.HNSWIndex, rows: npt.NDArray[np.float32], k: int) -> RecallOf:
    """Return what tells for an ``ef`` the part of the best ``k`` that searches for these queries find."""
    count = min(k, native.size())
    if count < 1:
        return lambda ef: 1.0
    best, _ = native.search(rows, count, [], 1, True, 0)

    def recall(ef: int) -> float:
        # One at a time: many at once are sooner compared with all vectors, which misses less
        found = [native.search(row[None], count, [], ef, False, 0)[0][0] for row in rows]
        return part_of(best.tolist(), [row.tolist() for row in found])

    return recall


def recall_for_vectors(native: _core.HNSWIndex, k: int) -> RecallOf:
    """Return the same for vectors of the index, each as if it were not there itself."""
    ids = id_array(native.ids())
    ids = ids[np.linspace(0, len(ids) - 1, min(_SAMPLE, len(ids))).astype(int)]
    own, count = required_ids(ids), min(k, native.size() - 1)
    if count < 1:
        return lambda ef: 1.0
    there, _ = native.search(native.get(own), count + 1, [], 1, True, 0)
    best = [[i for i in row if i != id][:count] for row, id in zip(there.tolist(), ids.tolist(), strict=True)]
    return lambda ef: part_of(best, native.search_held_out(own, count, max(ef, count), 0)[0].tolist())


def while_others_change(measure: Callable[[], T]) -> T:
    """Return what is measured with a sample that stays: one of which others removed a vector is left."""
    for _ in range(9):
        try:
            return measure()
        except KeyError:
            continue
    return measure()
