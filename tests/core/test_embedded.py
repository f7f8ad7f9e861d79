"""The embedded encoder's wide context: how far a cell sees."""

import pytest
import torch

from core.embedded import WIDTH, ConvEncoder, WideContext


@pytest.fixture
def wide():
    torch.manual_seed(0)
    context = WideContext(WIDTH).eval()
    torch.nn.init.normal_(context.up.weight, std=0.1)
    return context


@torch.inference_mode()
def test_the_wide_context_begins_as_if_it_were_not_there():
    x = torch.randn(1, WIDTH, 13, 22)
    assert torch.equal(WideContext(WIDTH)(x), x)


@torch.inference_mode()
def test_a_cell_sees_what_is_hundreds_of_pixels_away(wide):
    x = torch.randn(1, WIDTH, 64, 64)
    changed = x.clone()
    changed[..., 40] += 1  # 24 cells, 384 canvas pixels, from column 16
    moved = (wide(changed) - wide(x)).abs().amax(dim=(0, 1, 2))
    assert moved[16] > 1e-3


@torch.inference_mode()
@pytest.mark.parametrize("cells", [(16, 16), (28, 46), (13, 22), (1, 3)])
def test_any_number_of_cells_is_kept(wide, cells):
    x = torch.randn(1, WIDTH, *cells)
    assert wide(x).shape == x.shape


@torch.inference_mode()
def test_an_embedding_has_a_cell_for_each_16_pixels():
    assert ConvEncoder().eval()(torch.zeros(1, 3, 208, 352)).shape == (1, WIDTH, 13, 22)
