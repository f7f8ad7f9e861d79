"""The embedded encoder: how far a cell sees, and what is not rounded."""

import pytest
import torch

from core.sam.networks.embedded import WIDTH, ConvEncoder, WideContext


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


def test_the_encoder_can_still_be_trained():
    encoder = ConvEncoder().train()
    encoder(torch.randn(1, 3, 64, 64)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.backbone.conv_stem.parameters())


def test_what_the_scales_add_is_not_rounded_in_half_precision():
    """Large answers of two scales that cancel out: in bfloat16 their difference would be noise."""
    torch.manual_seed(0)
    encoder = ConvEncoder().eval()
    image, seen = torch.randn(1, 3, 128, 128), []
    with torch.no_grad():
        encoder.from_4.bias += 1000
        encoder.from_8.bias -= 1000
        encoder.wide.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        encoder(image)
        with torch.autocast("cpu", torch.bfloat16):
            encoder(image)
    single, half = seen
    assert half.dtype == torch.float32
    assert single.std() > 0.01
    assert (half - single).norm() < 0.1 * (single - single.mean()).norm()
