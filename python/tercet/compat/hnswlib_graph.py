"""A graph as hnswlib stores it, made of searches: what ``save_index`` writes.

Every level of hnswlib's graph is a graph of its own. Its links are chosen as hnswlib chooses them: of the
nearest nodes, those that are closer to the node than to one chosen before; then those from the other side, as
many as there is room for, the best first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.compat.hnswlib_file import Contents, Layer
from tercet.indexes.hnsw import HNSWIndex

__all__ = ["layers_of", "levels_of"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Search = Callable[[Floats, int], Ints]  # the nearest nodes of vectors, -1 where there are no more

_BLOCK = 1 << 24  # bytes of candidates compared at once


def levels_of(count: int, m: int, seed: int) -> Ints:
    """Return the level of each node: one in ``m`` is at 1 or above, one in ``m ** 2`` at 2 or above."""
    if m < 2:
        return np.zeros(count, np.int64)
    draws = np.random.default_rng(seed).random(count)
    return np.asarray(np.floor(-np.log1p(-draws) / np.log(m)), np.int64)


def layers_of(contents: Contents, index: HNSWIndex, levels: Ints) -> list[Layer]:
    """Return the layers of a graph, the one of all nodes first.

    Args:
        contents: the nodes. ``m`` is how many links a node has, and twice as many in the lowest layer.
        index: holds those that are not deleted.
        levels: of each node.
    """
    vectors, m = contents.vectors, contents.m
    order = np.argsort(contents.labels)

    def search(rows: Floats, k: int) -> Ints:
        ids = index.search(rows, k, ef=max(k, index.ef_construction)).ids
        places = order[np.searchsorted(contents.labels, ids.clip(0), sorter=order).clip(0, len(order) - 1)]
        return np.where(ids < 0, -1, places)

    members = [np.flatnonzero(levels >= level) for level in range(int(levels.max(initial=-1)) + 1)]
    searches = [search, *(_search_of(vectors, index, nodes) for nodes in members[1:])]
    layers = []
    for level, nodes in enumerate(members):
        edges = _edges(vectors, index.metric, nodes, searches[level:], m)
        layers.append(_layer(nodes, edges, m if level else 2 * m))
    return layers


def _search_of(vectors: Floats, like: HNSWIndex, members: Ints) -> Search:
    index = HNSWIndex(like.dim, metric=like.metric, m=like.m, ef_construction=like.ef_construction)
    index.add(vectors[members], members)
    return lambda rows, k: index.search(rows, k, ef=max(k, like.ef_construction)).ids


def _edges(
    vectors: Floats, metric: str, members: Ints, searches: list[Search], m: int
) -> tuple[Ints, Ints, Ints]:
    """Return the chosen links as (from, to, rank), ranks of a node rising from its nearest.

    The nearest nodes of the levels above are candidates too: they join what lies far apart.
    """
    found: list[tuple[Any, ...]] = [(np.empty(0, np.int64),) * 3]
    widths = [2 * m + 1, *[m + 1 for _ in searches[1:]]]
    step = max(1, _BLOCK // (4 * sum(widths) * max(sum(widths), vectors.shape[1])))
    for first in range(0, len(members) if m else 0, step):
        nodes = members[first : first + step]
        rows = vectors[nodes]
        near = np.concatenate([find(rows, k) for find, k in zip(searches, widths, strict=True)], axis=1)
        near, chosen = _diverse(vectors, metric, nodes, near, m)
        row, place = np.nonzero(chosen)
        found.append((nodes[row], near[row, place], np.cumsum(chosen, axis=1)[row, place]))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))  # type: ignore[return-value]


def _diverse(
    vectors: Floats, metric: str, nodes: Ints, near: Ints, m: int
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Return candidates for each node, the nearest first, and which to link it to: at most ``m``."""
    own = _scores(vectors[nodes][:, None, :], vectors[near], metric)[:, 0]
    order = np.argsort(-own, axis=1, kind="stable")
    near, own = np.take_along_axis(near, order, 1), np.take_along_axis(own, order, 1)
    between = _scores(vectors[near], vectors[near], metric)
    again = np.tril(near[:, :, None] == near[:, None, :], -1).any(axis=2)
    usable = (near >= 0) & (near != nodes[:, None]) & ~again
    chosen = np.zeros(near.shape, bool)
    for place in range(near.shape[1]):
        hidden = (chosen & (between[:, :, place] > own[:, place, None])).any(axis=1)
        chosen[:, place] = usable[:, place] & ~hidden & (chosen.sum(axis=1) < m)
    return near, chosen


def _scores(a: Floats, b: Floats, metric: str) -> Floats:
    """Return the scores of rows with rows, ``[n, i, dim]`` and ``[n, j, dim]``: ``[n, i, j]``."""
    products: Floats = a @ b.transpose(0, 2, 1)
    if metric != "l2":
        return products
    squares = [np.einsum("nkd,nkd->nk", x, x) for x in (a, b)]
    scores: Floats = 2 * products - squares[0][:, :, None] - squares[1][:, None, :]
    return scores


def _layer(members: Ints, edges: tuple[Ints, Ints, Ints], most: int) -> Layer:
    """Return a layer of edges that go both ways, of each node the ``most`` of lowest rank."""
    begin, end, rank = edges
    begin, end, rank = (
        np.concatenate([begin, end]),
        np.concatenate([end, begin]),
        np.concatenate([rank, rank]),
    )
    order = np.lexsort((rank, end, begin))
    begin, end, rank = begin[order], end[order], rank[order]
    once = np.ones(len(begin), bool)
    once[1:] = (begin[1:] != begin[:-1]) | (end[1:] != end[:-1])
    begin, end, rank = begin[once], end[once], rank[once]
    order = np.lexsort((end, rank, begin))
    begin, end = np.searchsorted(members, begin[order]), end[order]
    place = np.arange(len(begin)) - np.searchsorted(begin, begin)
    kept = place < most
    links = np.zeros((len(members), most), np.uint32)
    links[begin[kept], place[kept]] = end[kept]
    return Layer(members, links, np.bincount(begin[kept], minlength=len(members)))
