"""Texts whose tokens come in kinds, as words in contexts do, and an index of them with lists."""

from __future__ import annotations

from typing import Any

import numpy as np

from tercet import MultiVectorIndex

DIM = 16


def texts(n: int, seed: int) -> list[np.ndarray]:
    """Tokens of 40 kinds with some noise, as words in contexts are; texts of 0 to 12 tokens."""
    rng = np.random.default_rng(seed)
    kinds = np.random.default_rng(99).standard_normal((40, DIM))
    made = []
    for length in rng.integers(0, 13, n):
        rows = kinds[rng.integers(0, 40, length)] + 0.3 * rng.standard_normal((length, DIM))
        made.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return made


def queries(n: int, seed: int) -> list[np.ndarray]:
    return [t for t in texts(3 * n, seed) if len(t)][:n]


def filled(codec: Any, n: int = 600) -> MultiVectorIndex:
    index = MultiVectorIndex(DIM, codec=codec)
    index.train(texts(300, 1), centroids=32)
    index.add(texts(n, 2))
    return index
