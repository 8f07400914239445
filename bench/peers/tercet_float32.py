"""tercet's own float32 scan, what a smaller codec has to beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import tercet

VERSION = f"tercet {tercet.__version__}"


def topk(queries: np.ndarray, docs: np.ndarray, k: int) -> Callable[[], np.ndarray]:
    """Return ids, score descending."""
    index = tercet.FlatIndex(docs.shape[1], metric="dot")
    index.add(docs)
    return lambda: index.search(queries, k, threads=1).ids
