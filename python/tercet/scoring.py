"""Scores of arrays that the caller holds: nothing is stored, nothing is copied where the layout allows it."""

from __future__ import annotations

import operator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tercet import _core
from tercet.arrays import Rows, as_float32, as_rows, as_tokens, check_dim, same_format
from tercet.types import Hits, TokenVectors

__all__ = ["check_integer", "check_k", "check_threads", "cpu_info", "dot", "maxsim", "maxsim_grid", "topk"]

Metric = Literal["dot", "cosine", "l2"]


def dot(queries: Any, docs: Any, *, threads: int | None = None) -> npt.NDArray[np.float32]:
    """Return the dot product of every query with every document, ``float32[nq, nd]``.

    Args:
        queries: ``[nq, dim]`` or ``[dim]``; float32, bfloat16, float16 or int8.
        docs: ``[nd, dim]`` or ``[dim]``, likewise. Two bfloat16 arrays are multiplied exactly and summed in
            float32, two int8 arrays exactly in int32; mixed dtypes are computed in float32.
        threads: how many to use; all by default.

    Raises:
        ValueError: different dimensions, empty input, or a row with a value that is not finite.
        TypeError: a dtype that would lose data (such as float64).
    """
    q, d = _pair(as_rows(queries, "queries"), as_rows(docs, "docs"))
    return _core.dot(q.data, d.data, check_threads(threads))


def topk(queries: Any, docs: Any, k: int, *, metric: Metric = "dot", threads: int | None = None) -> Hits:
    """Return the exact best ``k`` documents of every query, without ever forming the score matrix.

    Args:
        queries: ``[nq, dim]`` or ``[dim]``, as :func:`dot` takes them.
        docs: ``[nd, dim]``; ids are row numbers.
        k: how many, at least 1; more than there are is no error.
        metric: ``"dot"``, ``"cosine"``, or ``"l2"`` (scores are negative squared distances). The last two
            are computed in float32.
        threads: how many to use; all by default.

    Returns:
        Ids ``int64[nq, k]`` and scores ``float32[nq, k]``, score descending, then id ascending.
    """
    q, d = _pair(as_rows(queries, "queries"), as_rows(docs, "docs"))
    k, count = check_k(k), check_threads(threads)
    if metric == "dot":
        return Hits(*_core.topk(q.data, d.data, k, count))
    if metric not in ("cosine", "l2"):
        raise ValueError(f'metric: expected "dot", "cosine" or "l2", got {metric!r}')
    index = _core.FlatIndex(q.dim, metric, "float32", 0, False)
    try:
        index.add(as_float32(d).data, None, count)
    except ValueError as e:  # an index speaks of vectors
        raise ValueError(str(e).replace("vectors:", "docs:", 1)) from None
    return Hits(*index.search(np.ascontiguousarray(as_float32(q).data), k, [], False, count))


def maxsim(
    queries: Any, docs: Any, *, queries_mask: Any = None, docs_mask: Any = None, threads: int | None = None
) -> npt.NDArray[np.float32]:
    """Return the late-interaction score of every query with every document, ``float32[nq, nd]``.

    The score is the sum over query tokens of the largest dot product with any document token (Khattab and
    Zaharia, ColBERT, 2020). A document without tokens scores ``-inf``.

    Args:
        queries: one ``[tokens, dim]``, a list of such arrays or tensors, :class:`~tercet.TokenVectors`, an
            Arrow ``list<fixed_size_list<float>>``, or a padded ``[n, tokens, dim]`` with
            ``queries_mask[n, tokens]``.
        docs: likewise, with ``docs_mask``.
        queries_mask: true where a padded query has a token.
        docs_mask: true where a padded document has a token.
        threads: how many to use; all by default.
    """
    q = as_tokens(queries, "queries", mask=queries_mask)
    d = as_tokens(docs, "docs", mask=docs_mask)
    if len(q) == 0 or len(d) == 0:
        raise ValueError(f"expected at least one query and one document, got {len(q)} and {len(d)}")
    a, b = _pair(q.rows, d.rows, rows_needed=False)
    return _core.maxsim(a.data, q.offsets, b.data, d.offsets, check_threads(threads))


def maxsim_grid(query: Any, doc: Any) -> npt.NDArray[np.float32]:
    """Return the dot product of every query token with every document token.

    Args:
        query: ``[query tokens, dim]``.
        doc: ``[document tokens, dim]``.

    Returns:
        ``float32[query tokens, document tokens]``: the grid whose row maxima :func:`maxsim` sums.
    """
    return dot(_one_text(query, "query"), _one_text(doc, "doc"), threads=1)


def cpu_info() -> dict[str, Any]:
    """Return what runs here: ``isa``, ``supported`` levels, ``kernels`` by format, ``threads``, ``cuda``.

    ``dropped`` names kernels whose results differed from the portable ones when they were compared at first
    use, and which are therefore not used: empty, unless a compiler, emulator or processor has a bug.

    The level is the highest this machine supports, or the one named by the environment variable
    ``TERCET_ISA``; the number of threads comes from ``TERCET_NUM_THREADS``, else from the scheduler affinity
    and the cgroup's quota.

    ``cuda`` tells whether the library of CUDA kernels is there; :func:`tercet.cuda.is_available` asks for a
    device as well.
    """
    from tercet.cuda import library

    return {**_core.cpu_info(), "cuda": library.find() is not None}


def check_k(k: int, name: str = "k") -> int:
    """Return ``k`` as int; ValueError unless it is at least 1, TypeError unless it is an integer."""
    value = check_integer(k, name)
    if not 1 <= value < 2**31:
        raise ValueError(f"{name}: expected at least 1 (and less than 2**31), got {value}")
    return value


def check_threads(threads: int | None) -> int:
    """Return the number of threads, 0 for the default; ValueError unless it is at least 1."""
    if threads is None:
        return 0
    value = check_integer(threads, "threads")
    if not 1 <= value <= 4096:
        raise ValueError(f"threads: expected 1 to 4096, got {value}")
    return value


def check_integer(x: Any, name: str) -> int:
    """Return ``x`` as int; TypeError unless it is an integer (a bool is none)."""
    try:
        if isinstance(x, (bool, np.bool_)):
            raise TypeError
        return operator.index(x)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {type(x).__name__}") from None


def _pair(queries: Rows, docs: Rows, *, rows_needed: bool = True) -> tuple[Rows, Rows]:
    check_dim(docs, queries.dim, "docs")
    if rows_needed and (len(queries.data) == 0 or len(docs.data) == 0):
        raise ValueError(
            f"expected at least one query and one document, got {len(queries.data)} and {len(docs.data)}"
        )
    return same_format(queries, docs)


def _one_text(x: Any, name: str) -> Rows:
    tokens = as_tokens(x, name)
    if len(tokens) != 1:
        raise ValueError(f"{name}: expected one text [tokens, dim], got {len(tokens)}")
    return tokens.rows if isinstance(tokens, TokenVectors) else tokens
