"""Products by the quicker library: the same figures, and only where it may be used."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from core.sam.fast import matmul
from core.sam.fast.matmul import QuickLinear, is_quicker, linear, plus_times, quicken, times


@pytest.fixture(params=[True, False], ids=["onednn", "torch"], autouse=True)
def library(request, monkeypatch):
    """Both ways, whatever this processor gains; the first one only where torch brings it."""
    if request.param and matmul._ONEDNN is None:
        pytest.skip("torch does not bring the operator here")
    monkeypatch.setattr(matmul, "_GAINS", request.param)
    with torch.inference_mode():
        yield request.param


@pytest.mark.parametrize("shape", [(70, 48), (5, 20, 48), (3, 48), (48,)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gelu", [True, False])
def test_rows_through_a_matrix(shape, bias, gelu):
    x, weight = torch.randn(shape), torch.randn(36, 48)
    given = torch.randn(36) if bias else None
    expected = F.linear(x, weight, given)
    expected = F.gelu(expected) if gelu else expected
    torch.testing.assert_close(linear(x, weight, given, gelu), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [8, 120])
def test_products_of_transposed_views_and_their_sums(rows):
    x, y, total = torch.randn(3, rows, 64), torch.randn(3, 200, 64).transpose(1, 2), torch.randn(3, rows, 200)
    torch.testing.assert_close(times(x, y), x @ y, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(plus_times(total, x, y), total + x @ y, atol=1e-5, rtol=1e-5)
    turned = torch.randn(3, 64, rows).transpose(1, 2)
    torch.testing.assert_close(plus_times(total, turned, y), total + turned @ y, atol=1e-5, rtol=1e-5)


def test_a_networks_linear_layers_give_the_same():
    class Derived(nn.Linear):
        pass

    network = nn.Sequential(nn.Linear(24, 40), nn.GELU(), Derived(40, 8))
    x = torch.randn(64, 24)
    before = network(x)
    quicken(network)
    assert type(network[0]) is QuickLinear and type(network[2]) is Derived
    torch.testing.assert_close(network(x), before, atol=1e-5, rtol=1e-5)


def test_it_is_used_for_many_rows_of_single_precision_on_a_processor_only(library):
    assert is_quicker(torch.zeros(64, 8), 64) == library
    assert not is_quicker(torch.zeros(64, 8), matmul.LEAST_ROWS - 1)
    assert not is_quicker(torch.zeros(64, 8, dtype=torch.float64), 64)
    assert not is_quicker(torch.zeros(64, 8, device="meta"), 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_quicker(torch.zeros(64, 8), 64)


def test_a_layer_that_is_asked_for_gradients_gives_them():
    with torch.inference_mode(False):
        layer = QuickLinear(8, 4)
        layer(torch.randn(64, 8)).sum().backward()
        assert layer.weight.grad is not None
