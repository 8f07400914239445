"""numpy: whatever BLAS it was built with, and then a pass over the score matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def _blas() -> str:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"


VERSION = f"numpy {np.__version__} ({_blas()})"


def gemm(n: int) -> Callable[[], np.ndarray]:
    a = np.ones((n, n), np.float32)
    return lambda: a @ a


def maxsim(query: np.ndarray, values: np.ndarray, offsets: np.ndarray) -> Callable[[], np.ndarray]:
    """``query[nq, tokens, dim]``; the score matrix is made whole."""
    nq, tokens, dim = query.shape
    flat = np.ascontiguousarray(query.reshape(-1, dim).T)
    lengths = np.diff(offsets)
    n = len(lengths)

    def equal_lengths() -> np.ndarray:
        best = (values @ flat).reshape(n, lengths[0], nq * tokens).max(1)
        return best.reshape(n, nq, tokens).sum(2).T

    def ragged() -> np.ndarray:
        best = np.maximum.reduceat(values @ flat, offsets[:-1], axis=0)
        return best.reshape(n, nq, tokens).sum(2).T

    return equal_lengths if np.all(lengths == lengths[0]) else ragged


def topk(queries: np.ndarray, docs: np.ndarray, k: int) -> Callable[[], np.ndarray]:
    """Return ids, score descending."""

    def run() -> np.ndarray:
        scores = queries @ docs.T
        ids = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, ids, 1), axis=1, kind="stable")
        return np.take_along_axis(ids, order, 1)

    return run
