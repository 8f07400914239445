"""NumKong's packed MaxSim: an int8 screen finds each query token's winner, which is scored in full.

One call per query and document, from Python: the library has no batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numkong
import numpy as np

VERSION = f"numkong {numkong.__version__}"


def maxsim(
    query: np.ndarray, values: np.ndarray, offsets: np.ndarray, dtype: str = "f32"
) -> Callable[[], np.ndarray]:
    """``query[nq, tokens, dim]`` of unit length; everything is packed ahead of time."""

    def pack(rows: np.ndarray) -> numkong.MaxSimPackedMatrix:
        return numkong.maxsim_pack(numkong.Tensor(rows).astype(dtype), dtype=dtype)

    packed = [pack(q) for q in query]
    docs = [pack(values[a:b]) for a, b in itertools.pairwise(offsets)]
    score, tokens = numkong.maxsim_packed, query.shape[1]

    def run() -> np.ndarray:
        # It returns the sum of 1 - cosine.
        return np.array([[tokens - score(q, d) for d in docs] for q in packed])

    return run
