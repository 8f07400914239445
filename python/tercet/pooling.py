"""Token pooling: fewer vectors per document, before they are stored."""

from __future__ import annotations

from typing import Any

from tercet import _core
from tercet.arrays import Rows, as_float32, as_tokens
from tercet.scoring import check_integer, check_k, check_threads
from tercet.types import TokenVectors

__all__ = ["pool_tokens", "pooled"]


def pool_tokens(
    docs: Any, factor: int = 2, *, protected: int = 0, threads: int | None = None
) -> TokenVectors:
    """Return documents with one vector for every ``factor`` tokens, each the mean of tokens that are alike.

    Within each document the tokens are clustered by Ward's method on ``1 - cosine`` (Clavie, Chaffin and
    Adams, "Reducing the Footprint of Multi-Vector Retrieval with Minimal Performance Impact via Token
    Pooling", arXiv 2409.14683; the clusters are those of sentence-transformers' ``HierarchicalTokenPooling``
    but where distances are equal). A document of ``n`` tokens gets ``max(1, n // factor)`` vectors, in the
    order of the first token of each cluster. A vector is the mean of its tokens, stretched to the mean of
    their lengths: unit vectors stay unit vectors. Queries are not pooled. While a document is clustered, it
    takes ``4 * n * n`` bytes.

    Args:
        docs: a list of ``[tokens, dim]`` arrays or tensors, :class:`~tercet.TokenVectors`, a padded
            ``[n, tokens, dim]`` whose tokens all count, or one document ``[tokens, dim]``; float32, float16,
            bfloat16 or int8. A document without tokens stays one.
        factor: tokens per vector, at least 1. With 1, or for a document of one token, the vectors are those
            given; with more than there are tokens, one vector is left.
        protected: how many leading tokens of every document stay as they are, before the others and not
            counted among ``n``: 1 for the [CLS] of a ColBERT model, 2 with its document marker.
        threads: how many to use; all by default. The result does not depend on it.

    Returns:
        ``float32`` token vectors of as many documents.

    Raises:
        ValueError: wrong rank, an empty list, documents of different dimensions, a value that is not finite,
            ``factor`` below 1, ``protected`` below 0.
        TypeError: a dtype that would lose data, a ``factor`` or ``protected`` that is no integer.
    """
    tokens = as_tokens(docs, "docs")
    kept = check_integer(protected, "protected")
    if not 0 <= kept < 2**31:
        raise ValueError(f"protected: expected at least 0 (and less than 2**31), got {kept}")
    return pooled(tokens, check_k(factor, "factor"), kept, check_threads(threads), "docs")


def pooled(tokens: TokenVectors, factor: int, protected: int, threads: int, name: str) -> TokenVectors:
    """Return :func:`pool_tokens` of what has been checked; ``name`` is what errors call the documents."""
    rows = as_float32(tokens.rows).data
    values, offsets = _core.pool_tokens(rows, tokens.offsets, factor, protected, threads, name)
    return TokenVectors._of(Rows(values, "float32"), offsets)
