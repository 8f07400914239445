"""Packed weights multiply as the weights do."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from tercet.models.packing import PackedWeights, can_pack

pytestmark = pytest.mark.models


class Layer(torch.nn.Linear):
    @property
    def device(self):
        return self.weight.device


@pytest.fixture
def layer():
    torch.manual_seed(0)
    made = Layer(48, 33)
    if not can_pack(made):
        pytest.skip("this build of torch packs no weights")
    return made


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 48), (3, 7, 48), (1, 1, 48), (0, 48)])
def test_float32_is_the_same_product(layer, shape, bias):
    if not bias:
        layer.bias = None
    rows = torch.randn(shape)
    with torch.inference_mode():
        expected = layer(rows)
        with PackedWeights(torch.float32) as packed:
            first, second, third = layer(rows), layer(rows), layer(rows)
    assert torch.equal(first, expected)  # a weight that comes once is not packed
    assert len(packed._packed) == 1
    for got in (second, third):
        assert got.shape == expected.shape
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_the_product_of_autocast(layer):
    rows = torch.randn(6, 48)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = layer(rows)
        with PackedWeights(torch.bfloat16):
            layer(rows)
            got = layer(rows)
    assert got.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), expected.float(), rtol=0.02, atol=0.02)


def test_what_is_no_plain_layer_goes_its_own_way(layer):
    class Other(torch.nn.Parameter):
        pass

    rows, weight = torch.randn(4, 48), Other(torch.randn(9, 48), requires_grad=False)
    double = torch.nn.Linear(48, 9).double()
    with torch.inference_mode(), PackedWeights(torch.float32) as packed:
        for _ in range(2):
            torch.nn.functional.linear(rows, weight)
            double(rows.double())
    assert not packed._packed
