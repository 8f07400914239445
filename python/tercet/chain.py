"""One stage after another: what a cheap one finds, a better one orders, and how many it reads for that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from tercet.scoring import check_k

__all__ = ["BATCH", "Stopping", "check_depths", "check_stopping", "ordered"]

BATCH = 16  # candidates between two looks whether to stop: about one forward pass of a cross-encoder on a CPU

Candidate = TypeVar("Candidate")


class Stopping(NamedTuple):
    """When a stage reads no further.

    Candidates are read in the order of the stage before: the first ``least`` at once, then 16 at a time. The
    first of these batches whose best score is more than ``margin`` below the k-th best so far is the last.

    Attributes:
        least: candidates that are read in any case.
        margin: in units of the stage's scores; infinite for never.
    """

    least: int
    margin: float


def check_stopping(stop_margin: float | None, min_depth: int | None, k: int, depth: int) -> Stopping | None:
    """Return when to stop, None for never.

    Args:
        stop_margin: see :class:`Stopping`; None for never.
        min_depth: see ``least``; it is at least ``k``, since unread candidates cannot be returned.
        k: how many are returned.
        depth: how many are read at most.

    Raises:
        TypeError: a margin that is no number.
        ValueError: a margin below 0 or NaN; ``min_depth`` without a margin, below 1 or above ``depth``.
    """
    if min_depth is not None:
        if stop_margin is None:
            raise ValueError("min_depth goes with stop_margin: without it, all candidates are read")
        if check_k(min_depth, "min_depth") > depth:
            raise ValueError(f"min_depth: expected at most depth, {depth}, got {min_depth}")
    if stop_margin is None:
        return None
    if isinstance(stop_margin, bool) or not hasattr(stop_margin, "__float__"):
        raise TypeError(f"stop_margin: expected a number, got {type(stop_margin).__name__}")
    margin = float(stop_margin)
    if not margin >= 0:
        raise ValueError(f"stop_margin: expected at least 0, got {stop_margin}")
    return None if math.isinf(margin) else Stopping(max(k, min_depth or 1), margin)


def check_depths(depth: Any, stages: int) -> list[int]:
    """Return how many candidates each stage reads.

    Args:
        depth: one number for all stages, or one for each; a stage cannot read more than the one before.
        stages: how many there are.

    Raises:
        TypeError: no integers.
        ValueError: another number of them than of stages, one below 1, or one above that before it.
    """
    if not isinstance(depth, (list, tuple)):
        return [check_k(depth, "depth")] * stages
    if len(depth) != stages:
        raise ValueError(f"depth: expected one number, or {stages}, one for each stage, got {len(depth)}")
    depths = [check_k(number, "depth") for number in depth]
    if any(later > earlier for earlier, later in pairwise(depths)):
        raise ValueError(f"depth: expected each stage to read at most what the one before did, got {depths}")
    return depths


def ordered(
    candidates: Sequence[Candidate],
    score: Callable[[Sequence[Candidate]], Any],
    k: int,
    stopping: Stopping | None = None,
    name: str = "the reranker",
) -> list[tuple[Candidate, float]]:
    """Return the candidates that were read, with their scores, best first; equal ones stay as they were.

    Args:
        candidates: in the order of the stage before.
        score: returns one number for each of some candidates, larger is better.
        k: how many of the best have to be right, for ``stopping``.
        stopping: when to leave the rest unread; None reads all, in one call.
        name: of the stage, for messages.

    Raises:
        ValueError: scores that do not fit the candidates, or are NaN.
    """
    if not candidates:
        return []
    first = len(candidates) if stopping is None else min(len(candidates), max(k, stopping.least))
    scores = _scores(candidates[:first], score, name)
    while stopping is not None and len(scores) < len(candidates):
        batch = _scores(candidates[len(scores) : len(scores) + BATCH], score, name)
        scores = np.concatenate([scores, batch])
        # With the batch itself: one of it that is among the best k is never below the k-th of them
        worst = np.partition(scores, len(scores) - k)[len(scores) - k]
        if batch.max() < worst - stopping.margin:
            break
    return [(candidates[i], float(scores[i])) for i in np.argsort(-scores, kind="stable").tolist()]


def _scores(
    candidates: Sequence[Candidate], score: Callable[[Sequence[Candidate]], Any], name: str
) -> npt.NDArray[np.float32]:
    scores = np.asarray(score(candidates), np.float32)
    if scores.shape != (len(candidates),) or np.isnan(scores).any():
        raise ValueError(
            f"expected {len(candidates)} scores from {name}, got shape {list(scores.shape)}"
            + (" with NaN" if np.isnan(scores).any() else "")
        )
    return scores
