"""From a file of hnswlib to an index of tercet."""

from __future__ import annotations

import os
from typing import Literal

from tercet.compat.hnswlib_file import Contents, read
from tercet.compat.hnswlib_inputs import METRICS, check_space, new_graph
from tercet.indexes.hnsw import HNSWIndex
from tercet.indexes.vectors import metric_like

__all__ = ["from_hnswlib", "graph_for"]


def from_hnswlib(
    path: str | os.PathLike[str],
    space: Literal["l2", "ip", "cosine"],
    dim: int,
    *,
    threads: int | None = None,
) -> HNSWIndex:
    """Make an :class:`~tercet.HNSWIndex` of a file that hnswlib's ``save_index`` wrote.

    Takes its vectors, with their labels as ids, without those that were marked as deleted, and its settings
    ``M`` (2 to 128 of it) and ``ef_construction``; the graph is built anew.

    Args:
        path: the file.
        space: of the index that was saved, which the file does not say: ``"l2"``, ``"ip"`` (metric
            ``"dot"``) or ``"cosine"``.
        dim: number of dimensions.
        threads: how many to use; all by default.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file, is damaged, has another number of dimensions, or a label that is not
            below 2**63.
    """
    if space not in METRICS:
        meant = [s for s in METRICS if isinstance(space, str) and METRICS[s] == metric_like(space)]
        hint = f"; did you mean {meant[0]!r}?" if meant else ""
        raise ValueError(f"space: expected 'l2', 'ip' or 'cosine', got {space!r}{hint}")
    name, dim = check_space(space, dim)
    contents = read(path, dim)
    index = graph_for(contents, name)
    live = ~contents.deleted
    if live.any():
        index.add(contents.vectors[live], contents.labels[live], threads=threads)
    return index


def graph_for(contents: Contents, space: str) -> HNSWIndex:
    """Return an empty index of the settings of a file, as far as tercet's go."""
    m = min(max(contents.m, 2), 128)
    return new_graph(space, contents.vectors.shape[1], m, contents.ef_construction)
