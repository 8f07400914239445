"""Inputs, the same in every run, and what the contenders' answers are checked against."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


def unit_rows(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    """Return random ``float32[n, dim]`` rows of length 1."""
    rows = rng.standard_normal((n, dim), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


class Texts(NamedTuple):
    """Queries of one length and documents of any, as token vectors."""

    query: np.ndarray  # float32[queries, tokens, dim]
    values: np.ndarray  # float32[total, dim]
    offsets: np.ndarray  # int64[documents + 1]

    @property
    def macs(self) -> int:
        return self.query.size * len(self.values)


def texts(dim: int, lengths: np.ndarray, *, queries: int = 1, tokens: int = 32, seed: int = 0) -> Texts:
    rng = np.random.default_rng(seed)
    values = unit_rows(rng, int(lengths.sum()), dim)
    query = unit_rows(rng, queries * tokens, dim).reshape(queries, tokens, dim)
    return Texts(query, values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def passage_lengths(n: int, mean: float = 50, seed: int = 1) -> np.ndarray:
    """Return token counts as passages have them: log-normal, from 4 to 256, ``mean`` on average."""
    sigma = 0.5
    rng = np.random.default_rng(seed)
    return np.clip(rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, n), 4, 256).astype(np.int64)


def maxsim_float64(inputs: Texts) -> np.ndarray:
    """Return exact scores ``[queries, documents]``."""
    nq, tokens, dim = inputs.query.shape
    scores = inputs.values.astype(np.float64) @ inputs.query.reshape(-1, dim).astype(np.float64).T
    best = np.maximum.reduceat(scores, inputs.offsets[:-1], axis=0)
    return best.reshape(-1, nq, tokens).sum(2).T


def same_lists(queries: np.ndarray, docs: np.ndarray, truth: np.ndarray) -> Callable[[np.ndarray], str]:
    """Return a check of ids ``[nq, k]``: how many lists are the truth's, ties aside.

    Two ids at one rank tie when their exact scores differ by less than float32 can tell.
    """

    def check(ids: np.ndarray) -> str:
        if ids.shape != truth.shape:
            return f"shape {ids.shape}"
        same = 0
        for query, own, right in zip(queries.astype(np.float64), ids, truth, strict=True):
            at = own != right
            exact = (docs[right[at]].astype(np.float64) - docs[own[at]]) @ query
            same += bool(np.all(np.abs(exact) < 1e-6)) and len(set(own.tolist())) == len(own)
        return f"same {same}/{len(truth)}"

    return check


def overlap(truth: np.ndarray) -> Callable[[np.ndarray], str]:
    """Return a check of ids ``[nq, k]``: which part of the truth's they contain."""

    def check(ids: np.ndarray) -> str:
        found = sum(len(set(a) & set(b)) for a, b in zip(ids.tolist(), truth.tolist(), strict=True))
        return f"recall {found / truth.size:.4f}"

    return check
