"""Attention in bfloat16 on a CPU, from few large products in place of many small ones."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["attention"]

_SCORES = 1 << 19  # of a product: 1 MB, what a core's second cache holds
_LONGEST = 1024  # tokens: of more, the scores of one head would fill that cache on their own


# Sums of weights between which none that counts was rounded to 0 or to infinity
_LEAST, _MOST = 1e-30, 1e37


def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Return what ``scaled_dot_product_attention`` does, or None where this is not for it.

    torch goes through blocks of 32 rows, whose bfloat16 products are small and whose softmax is float32: with
    MiniLM's heads of 32 dimensions a quarter of the model's time for a tenth of its multiply-adds. Here the
    scores of some heads are one product, ``exp`` runs over them in place, and one more product gives the
    weighted sums along with what they are to be divided by: a column of ones beside the values. Masked tokens
    are rows of zeros there. A softmax subtracts a row's largest score only to stay within the range of its
    numbers; where a sum comes near the ends of that of bfloat16, which is float32's, torch is left to do it.

    Args:
        query, key, value: ``[texts, heads, tokens, head_dim]``, of one shape.
        attn_mask: bool, ``[texts, 1, tokens or 1, tokens]``, the same for every query's row.
        scale: what scores are multiplied with; None is one over the root of ``head_dim``.
        dropout_p, is_causal, enable_gqa: not done here if set.
    """
    if dropout_p or is_causal or enable_gqa:
        return None
    if query.shape != key.shape or key.shape != value.shape or query.dim() != 4:
        return None
    texts, heads, tokens, dim = query.shape
    if query.dtype != torch.bfloat16 or tokens > _LONGEST or not query.numel():
        return None
    columns = value.new_empty(texts, heads, tokens, dim + 1)
    columns[..., :dim], columns[..., dim] = value, 1
    if attn_mask is not None:
        if not _of_tokens(attn_mask, texts, tokens):
            return None
        columns *= attn_mask[:, :, 0, :, None]
    scaled = query * (dim**-0.5 if scale is None else scale)
    rows, against, weighed = (t.reshape(-1, tokens, t.shape[-1]) for t in (scaled, key, columns))
    sums = torch.empty_like(weighed)
    step = max(1, _SCORES // tokens**2)
    for start in range(0, len(sums), step):
        part = slice(start, start + step)
        weights = torch.bmm(rows[part], against[part].transpose(1, 2)).exp_()
        torch.bmm(weights, weighed[part], out=sums[part])
    sums = sums.view(columns.shape)
    made, total = sums[..., :dim], sums[..., dim:]
    if not (total.amin() > _LEAST and total.amax() < _MOST):  # nor if there are NaNs
        return None
    made = made / total
    return made if made.sum().isfinite() else None


def _of_tokens(mask: Any, texts: int, tokens: int) -> bool:
    """Tell whether a mask says for each text which tokens count, whoever asks."""
    shapes = [(texts, 1, rows, tokens) for rows in (1, tokens)]
    return mask.dtype == torch.bool and mask.shape in shapes and bool((mask == mask[:, :, :1]).all())
