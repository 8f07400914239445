"""Token vectors as they come from a model, collected in one array that grows in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.types import TokenVectors

__all__ = ["TokenRows"]


class TokenRows:
    """Collect arrays ``[tokens, dim]`` of a known number of texts as float32 rows, one after another.

    A list of arrays joined at the end holds every vector twice. Here the room is guessed from the texts so
    far and corrected by resizing in place, which moves pages instead of copying them where the allocator can.
    """

    def __init__(self, texts: int, dim: int) -> None:
        self._values = np.empty((0, dim), np.float32)
        self._offsets = np.zeros(texts + 1, np.int64)
        self._done = 0

    def extend(self, parts: list[npt.NDArray[Any]]) -> None:
        """Append the vectors of the next texts."""
        used, first = int(self._offsets[self._done]), self._done + 1
        ends = used + np.cumsum([len(part) for part in parts])
        self._offsets[first : first + len(parts)] = ends
        self._done += len(parts)
        needed = int(ends[-1])
        if needed > len(self._values):
            expected = needed * (len(self._offsets) - 1) // self._done
            # 2 % more than the mean so far says, lest a guess a little too small be corrected on every call
            self._resize(max(needed, expected + expected // 50))
        for end, part in zip(ends.tolist(), parts, strict=True):
            self._values[end - len(part) : end] = part

    def finish(self) -> TokenVectors:
        """Return what was collected, once all texts have come."""
        self._resize(int(self._offsets[-1]))
        return TokenVectors(self._values, self._offsets)

    def _resize(self, rows: int) -> None:
        # No view of the array has left this object, so numpy need not look for any
        self._values.resize((rows, self._values.shape[1]), refcheck=False)
