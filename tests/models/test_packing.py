"""Products with packed weights against those without."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
from torch.nn.functional import linear

import toy
from tercet.models import BiEncoder, ColBERT
from tercet.models.packing import PackedWeights, can_pack

pytestmark = pytest.mark.models


@pytest.fixture(autouse=True)
def _packs(bi):
    if not can_pack(bi.model):
        pytest.skip("this build of torch packs no weights")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_the_second_product_of_a_weight_is_by_its_packed_form(dtype, close, bias):
    layer = torch.nn.Linear(48, 80, bias=bias)
    rows = torch.randn(2, 7, 48)
    with torch.inference_mode(), PackedWeights(dtype) as mode:
        first, packed = layer(rows), bool(mode._packed)
        second, again = layer(rows), layer(rows.to(dtype))
        assert not packed
        assert len(mode._packed) == 1
        expected = layer(rows[:1, :1])
    outside = layer(rows)
    torch.testing.assert_close(first, outside, rtol=0, atol=0)
    for result in (second, again, expected):
        assert result.dtype == dtype
        torch.testing.assert_close(
            result.float(), outside[: len(result), : result.shape[1]], rtol=0, atol=close
        )


@pytest.mark.parametrize("labels", [1, 2])
def test_scores_are_float32(labels):
    """In bfloat16 200 of them would be some dozens of different numbers."""
    layer, rows = torch.nn.Linear(48, labels), torch.randn(200, 48).to(torch.bfloat16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), PackedWeights(torch.bfloat16) as mode:
        scores = layer(rows)
        assert not mode._packed
    torch.testing.assert_close(scores, layer(rows.float()), rtol=0, atol=0)
    assert len(scores[:, 0].unique()) > 190


def test_a_shared_weight_keeps_the_bias_of_each_layer():
    one, other = torch.nn.Linear(48, 80), torch.nn.Linear(48, 80)
    other.weight = one.weight
    rows = torch.randn(2, 48)
    with torch.inference_mode():
        expected = [one(rows), other(rows)]
        with PackedWeights(torch.float32) as mode:
            for _ in range(3):
                found = [one(rows), other(rows)]
        assert len(mode._packed) == 1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_many_rows_are_by_the_packed_form_at_once():
    layer = torch.nn.Linear(48, 80)
    with torch.inference_mode(), PackedWeights(torch.float32) as mode:
        layer(torch.randn(3, 341, 48))
        assert not mode._packed
        other, rows = torch.nn.Linear(48, 80), torch.randn(4, 256, 48)
        made = other(rows)
        assert len(mode._packed) == 1
    torch.testing.assert_close(made, other(rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 48), (3, 7, 48), (1, 1, 48), (0, 48)])
def test_shapes_stay(shape):
    layer, rows = torch.nn.Linear(48, 33), torch.randn(shape)
    with torch.inference_mode():
        expected = layer(rows)
        with PackedWeights(torch.float32):
            layer(rows)
            got = layer(rows)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_other_tensors_are_left_alone():
    class Other(torch.nn.Parameter):
        pass

    rows, plain = torch.randn(3, 8), torch.randn(4, 8)
    other = Other(plain, requires_grad=False)
    double, half = torch.nn.Parameter(plain.double()), torch.nn.Parameter(plain.bfloat16())
    with torch.inference_mode(), PackedWeights(torch.float32) as mode:
        for _ in range(3):
            torch.testing.assert_close(linear(rows, plain), rows @ plain.T)
            torch.testing.assert_close(linear(rows, other).as_subclass(torch.Tensor), rows @ plain.T)
            assert linear(rows.double(), double).dtype == torch.float64
            assert linear(rows.bfloat16(), half).dtype == torch.bfloat16
    assert not mode._packed


def test_vectors_do_not_depend_on_it(bi, colbert, monkeypatch):
    texts = toy.PAIRED * 3
    small, late = BiEncoder(bi.model, batch_size=2), ColBERT(colbert.model, batch_size=2)
    packed = small.encode_document(texts), late.encode_document(texts)
    monkeypatch.setattr("tercet.models.packing.can_pack", lambda model: False)
    np.testing.assert_allclose(packed[0], small.encode_document(texts), atol=1e-6)
    np.testing.assert_allclose(packed[1].values, late.encode_document(texts).values, atol=1e-6)


def test_a_changed_model_gives_changed_vectors(bi_path):
    encoder = BiEncoder(bi_path, device="cpu", batch_size=1)
    before = encoder.encode_document(toy.DOCUMENTS)
    with torch.no_grad():
        for layer in encoder.model.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.mul_(1.5)
    changed = encoder.encode_document(toy.DOCUMENTS)
    assert np.abs(changed - before).max() > 1e-3
    expected = encoder.model.encode_document(toy.DOCUMENTS, normalize_embeddings=True)
    np.testing.assert_allclose(changed, expected, atol=1e-6)
