"""torch on one thread: the way scores are computed when there is no library for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

torch.set_num_threads(1)
VERSION = f"torch {torch.__version__}"


def maxsim(
    query: np.ndarray, values: np.ndarray, offsets: np.ndarray, dtype: str = "float32"
) -> Callable[[], np.ndarray]:
    """``query[nq, tokens, dim]``; ragged documents are padded ahead of time, as models return them."""
    nq, tokens, dim = query.shape
    kind = getattr(torch, dtype)
    flat = torch.from_numpy(query.reshape(-1, dim)).to(kind).T
    lengths = np.diff(offsets)
    n, longest = len(lengths), int(lengths.max())
    present = torch.arange(longest)[None, :] < torch.from_numpy(lengths)[:, None]
    docs = torch.zeros((n, longest, dim), dtype=kind)
    docs[present] = torch.from_numpy(values).to(kind)
    docs = docs.reshape(-1, dim)
    missing = None if bool(present.all()) else ~present[:, :, None]

    def run() -> np.ndarray:
        scores = (docs @ flat).reshape(n, longest, nq * tokens)
        if missing is not None:
            scores.masked_fill_(missing, -torch.inf)
        return scores.amax(1).reshape(n, nq, tokens).float().sum(2).T.numpy()

    return run


def topk(queries: np.ndarray, docs: np.ndarray, k: int) -> Callable[[], np.ndarray]:
    """Return ids, score descending."""
    q, d = torch.from_numpy(queries), torch.from_numpy(docs).T
    return lambda: (q @ d).topk(k).indices.numpy()
