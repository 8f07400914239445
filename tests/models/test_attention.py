"""Attention by large products against torch's, and what is left to torch."""

from __future__ import annotations

import pytest

pytest.importorskip("sentence_transformers")

import torch
from torch.nn.functional import scaled_dot_product_attention

from tercet.models import attention as module
from tercet.models.attention import attention
from tercet.models.packing import PackedWeights

pytestmark = pytest.mark.models


def made(texts: int, tokens: int, heads: int = 3, dim: int = 16, scale: float = 1.0):
    generator = torch.Generator().manual_seed(texts + 7 * tokens)
    shape = (texts, tokens, heads, dim)
    return [
        (scale * torch.randn(shape, generator=generator)).bfloat16().transpose(1, 2)  # as models have them
        for _ in range(3)
    ]


def lengths_mask(lengths: list[int], rows: int) -> torch.Tensor:
    longest = max(lengths)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return mask[:, None, None, :].repeat(1, 1, rows, 1)


def exact(query, key, value, **options):
    return scaled_dot_product_attention(query.float(), key.float(), value.float(), **options)


@pytest.mark.parametrize(("texts", "tokens"), [(1, 1), (2, 7), (5, 64), (3, 200)])
@pytest.mark.parametrize("scores", [16, 1 << 19])
def test_as_torch_does(texts, tokens, scores, monkeypatch):
    monkeypatch.setattr(module, "_SCORES", scores)  # some heads at a time, or all
    given = made(texts, tokens)
    result = attention(*given, dropout_p=0.0, is_causal=False)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), exact(*given), rtol=0.02, atol=0.02)
    scaled = attention(*given, scale=0.7)
    torch.testing.assert_close(scaled.float(), exact(*given, scale=0.7), rtol=0.03, atol=0.05)


@pytest.mark.parametrize("rows", [1, 9])
def test_masked_tokens_do_not_count(rows):
    query, key, value = made(4, 9)
    mask = lengths_mask([9, 1, 4, 8], rows)
    expected = exact(query, key, value, attn_mask=mask)
    torch.testing.assert_close(attention(query, key, value, mask).float(), expected, rtol=0.02, atol=0.02)
    value[2, :, 4:] = 1e30  # of the padding
    torch.testing.assert_close(attention(query, key, value, mask).float(), expected, rtol=0.02, atol=0.02)


def test_scores_beyond_its_range_are_left_to_torch():
    for scale in (40.0, -40.0):
        query, key, value = made(2, 5)
        query, key = torch.full_like(query, abs(scale)), torch.full_like(key, scale)
        assert attention(query, key, value) is None
        with torch.inference_mode(), PackedWeights(torch.bfloat16):
            result = scaled_dot_product_attention(query, key, value)
        torch.testing.assert_close(result.float(), exact(query, key, value), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("logit", [95, 88, 87, 86, 80, -60, -68, -70, -86, -87, -88, -100])
def test_scores_near_the_ends_of_its_range(logit):
    """Sums of weights that are infinite, or weights that are no normal numbers, below values of any size."""
    query = torch.ones(1, 1, 64, 16).bfloat16()
    key = torch.full_like(query, logit / 16)
    for size in (0.02, 1, 1e3):
        value = torch.full_like(query, size)
        made = attention(query, key, value, scale=1.0)
        assert made is None or torch.allclose(made.float(), value.float(), rtol=0.01)
        assert (made is not None) or abs(logit) > 65


def test_a_text_without_tokens_is_left_to_torch():
    query, key, value = made(2, 4)
    assert attention(query, key, value, lengths_mask([4, 0], 4)) is None


def test_what_it_is_not_for():
    query, key, value = made(2, 6)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()[None, None].expand(2, 1, 6, 6)
    assert attention(query, key, value, causal) is None
    assert attention(query, key, value, torch.zeros(2, 1, 6, 6, dtype=torch.bfloat16)) is None
    assert attention(query, key, value, is_causal=True) is None
    assert attention(query, key, value, dropout_p=0.1) is None
    assert attention(query, key, value, None, 0.1) is None
    assert attention(query, key, value, None, 0.0, True) is None
    assert attention(query.float(), key.float(), value.float()) is None
    assert attention(query, key[:, :1], value[:, :1], enable_gqa=True) is None
    assert attention(query[0], key[0], value[0]) is None
    assert attention(*made(1, module._LONGEST + 1, 1, 1)) is None


def test_it_is_what_models_in_bfloat16_use(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "tercet.models.packing.attention", lambda *a, **k: seen.append(a) or attention(*a, **k)
    )
    given = made(2, 6)
    with torch.inference_mode():
        with PackedWeights(torch.float32):
            scaled_dot_product_attention(*given)
        assert not seen
        with PackedWeights(torch.bfloat16):
            scaled_dot_product_attention(*given)
        assert len(seen) == 1
