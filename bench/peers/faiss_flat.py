"""faiss IndexFlatIP, the exact index that others are measured by."""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np

faiss.omp_set_num_threads(1)
VERSION = f"faiss {faiss.__version__} ({faiss.get_compile_options().strip()})"


def topk(queries: np.ndarray, docs: np.ndarray, k: int) -> Callable[[], np.ndarray]:
    """Return ids, score descending."""
    index = faiss.IndexFlatIP(docs.shape[1])
    index.add(docs)
    return lambda: index.search(queries, k)[1]
