"""Maximal marginal relevance: near the query, and not like what was chosen before."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.scoring import check_k

__all__ = ["diverse"]


def diverse(query: Any, vectors: Any, k: int, relevance: float) -> list[int]:
    """Return the rows of ``k`` vectors, in the order in which they are chosen.

    The first is the nearest to the query. Each further one has the largest ``relevance * similarity to the
    query - (1 - relevance) * similarity to the most similar one chosen so far`` (Carbonell and Goldstein,
    1998); of equal ones the first. Similarities are cosines.

    Args:
        query: ``float32[dim]``.
        vectors: ``float32[n, dim]``.
        k: how many, all if there are fewer.
        relevance: 0 for the most different, 1 for the nearest.

    Raises:
        ValueError: ``k`` below 1, ``relevance`` below 0 or above 1.
    """
    if not 0 <= relevance <= 1:
        raise ValueError(f"expected a weight of relevance from 0 to 1, got {relevance}")
    rows = _unit(np.asarray(vectors, np.float32))
    to_query = rows @ _unit(np.asarray(query, np.float32))
    to_chosen = np.full(len(rows), -np.inf, np.float32)
    gains, chosen = to_query.copy(), []
    for _ in range(min(check_k(k), len(rows))):
        best = int(gains.argmax())
        chosen.append(best)
        to_chosen = np.maximum(to_chosen, rows @ rows[best])
        gains = relevance * to_query - (1 - relevance) * to_chosen
        gains[chosen] = -np.inf
    return chosen


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scale vectors to length 1, but for those of length 0."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: npt.NDArray[np.float32] = vectors / np.maximum(lengths, 1e-30)
    return scaled
