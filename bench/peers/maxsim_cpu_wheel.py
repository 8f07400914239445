"""maxsim-cpu, as its wheel comes; float32 alone, one query per call."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from importlib.metadata import version

import maxsim_cpu
import numpy as np

VERSION = f"maxsim-cpu {version('maxsim-cpu')}"


def scores(query: np.ndarray, values: np.ndarray, offsets: np.ndarray) -> Callable[[], np.ndarray]:
    """The call for documents of one length."""
    docs = values.reshape(len(offsets) - 1, -1, values.shape[1])
    return lambda: np.stack([maxsim_cpu.maxsim_scores(q, docs) for q in query])


def scores_variable(query: np.ndarray, values: np.ndarray, offsets: np.ndarray) -> Callable[[], np.ndarray]:
    """The call for a list of documents."""
    docs = [values[a:b] for a, b in itertools.pairwise(offsets)]
    return lambda: np.stack([maxsim_cpu.maxsim_scores_variable(q, docs) for q in query])
