"""Candidates of a rerank, of a search or on the device, as the library takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.cuda.dlpack import Tensor
from tercet.cuda.rows import DeviceIds
from tercet.cuda.search import DeviceHits
from tercet.cuda.streams import Stream
from tercet.cuda.tensors import as_tensor, is_on_device
from tercet.types import Hits

__all__ = ["Listed", "check_candidates", "listed_candidates"]

Listed = Tensor | npt.NDArray[np.int64] | None  # ids on the device, numbers of documents on the host, or all


def check_candidates(candidates: Any) -> Any:
    """Return hits, or a tensor of ids; TypeError unless they are either."""
    if isinstance(candidates, DeviceHits):
        return candidates.ids
    if not is_on_device(candidates) and not isinstance(candidates, Hits):
        raise TypeError(f"candidates: expected Hits of a search, got {type(candidates).__name__}")
    return candidates


def listed_candidates(candidates: Any, known: DeviceIds, queries: int, device: int, stream: Stream) -> Listed:
    """Return candidates of so many queries; None stands for all documents."""
    if candidates is None:
        return None
    if not is_on_device(candidates):
        return _numbers(candidates, known, queries)
    known.check_on_device()
    listed = as_tensor(candidates, "candidates", device, stream, ("int64",))
    if len(listed.shape) != 2 or listed.shape[0] != queries or listed.shape[1] < 1:
        raise ValueError(f"candidates: expected shape [{queries}, m], got {list(listed.shape)}")
    return listed


def _numbers(candidates: Hits, known: DeviceIds, queries: int) -> npt.NDArray[np.int64]:
    """Return the numbers of hits, of each query ascending, each once, and -1 behind them."""
    if len(candidates) != queries:
        raise ValueError(f"candidates: expected {queries} rows, one per query, got {len(candidates)}")
    rows = known.numbers([[hit.id for hit in hits] for hits in candidates])
    numbers = np.full((queries, max(1, *map(len, rows))), -1, np.int64)
    for row, found in zip(numbers, rows, strict=True):
        row[: len(found)] = found
    return numbers
