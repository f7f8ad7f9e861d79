"""Convolutions with what follows them in one pass: the figures of timm's own blocks."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from timm.models.tiny_vit import MBConv, PatchEmbed, PatchMerging
from torch import nn

from core.sam.fast import convolutions
from core.sam.fast.convolutions import (
    EvenSame,
    OnePassEmbed,
    OnePassInverted,
    OnePassMBConv,
    OnePassMerging,
    OnePassSeparable,
    convolve,
    in_one_pass,
    join_passes,
)
from core.sam.fast.folding import fold_norms
from core.sam.networks.embedded import ConvEncoder

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(params=[True, False], ids=["onednn", "torch"], autouse=True)
def library(request, monkeypatch):
    """Both ways, the first one only where torch brings it."""
    if request.param and not convolutions._THERE:
        pytest.skip("torch does not bring the operators here")
    monkeypatch.setattr(convolutions, "_THERE", request.param)
    torch.manual_seed(0)
    with torch.inference_mode():
        yield request.param


def an_image(channels=8, height=24, width=36):
    return (4 * torch.randn(2, channels, height, width)).contiguous(memory_format=torch.channels_last)


def with_norms(block):
    """The block with norms that do something."""
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
            nn.init.uniform_(module.weight, 0.5, 2)
    return block


def both(network):
    """What a network answers before and after."""
    network = network.eval()
    fold_norms(network)
    joined = copy.deepcopy(network)
    join_passes(joined)
    return network, joined


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(24, 36), (25, 37), (24, 37)], ids=str)
@pytest.mark.parametrize("groups", [1, 8])
def test_same_padding_without_a_copy(kernel, size, groups):
    published = nn.Sequential(Conv2dSame(8, 16, kernel, stride=2, groups=groups))
    before, after = both(published)
    assert type(after[0]) is EvenSame
    image = an_image(8, *size)
    torch.testing.assert_close(after(image), before(image), **CLOSE)


def test_what_is_no_plain_stride_of_two_keeps_its_padding():
    kept = nn.Sequential(Conv2dSame(8, 8, 3, stride=1), Conv2dSame(8, 8, 3, stride=2, dilation=2))
    _, after = both(kept)
    assert all(type(layer) is Conv2dSame for layer in after)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(
    ("kind", "joined"), [(InvertedResidual, OnePassInverted), (DepthwiseSeparableConv, OnePassSeparable)]
)
def test_blocks_answer_the_same(kind, joined, kernel, stride):
    block = kind(8, 8, kernel, stride=stride, act_layer=nn.ReLU6, pad_type="same")
    before, after = both(with_norms(block))
    assert type(after) is joined
    image = an_image()
    answer = before(image)
    assert (answer - image).abs().max() > 0.1 if stride == 1 else answer.std() > 0.1
    torch.testing.assert_close(after(image), answer, **CLOSE)


@pytest.mark.parametrize(
    ("block", "joined"),
    [
        (MBConv(8, 8, 4.0, nn.GELU, 0.0), OnePassMBConv),
        (PatchMerging(8, 12, nn.GELU), OnePassMerging),
        (PatchEmbed(8, 16, nn.GELU), OnePassEmbed),
    ],
    ids=["MBConv", "PatchMerging", "PatchEmbed"],
)
def test_tiny_vits_blocks_answer_the_same(block, joined):
    before, after = both(with_norms(copy.deepcopy(block)))
    assert type(after) is joined
    image = an_image()
    answer = before(image.clone())  # timm's adds in place
    assert answer.std() > 0.1
    torch.testing.assert_close(after(image), answer, **CLOSE)


def test_blocks_with_norms_left_stay_as_they_are():
    block = MBConv(8, 8, 4.0, nn.GELU, 0.0).eval()
    join_passes(block)
    assert type(block) is MBConv


def test_other_blocks_stay_as_they_are():
    def squeeze(channels, **_):
        return nn.Conv2d(channels, channels, 1)

    others = nn.Sequential(
        InvertedResidual(8, 8, act_layer=nn.SiLU),
        InvertedResidual(8, 8, act_layer=nn.ReLU6, se_layer=squeeze),
        DepthwiseSeparableConv(8, 8, act_layer=nn.ReLU6, pw_act=True),
        MBConv(8, 8, 4.0, nn.SiLU, 0.0),
    )
    before, after = both(others)
    assert [type(block) for block in after] == [type(block) for block in others]
    image = an_image()
    torch.testing.assert_close(after(image.clone()), before(image.clone()), **CLOSE)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_encoder_answers_the_same_in_either_layout(layout):
    before, after = both(ConvEncoder())
    kinds = {type(module) for module in after.modules()}
    assert {EvenSame, OnePassInverted, OnePassSeparable} <= kinds
    assert not {InvertedResidual, DepthwiseSeparableConv, Conv2dSame} & kinds
    image = torch.randn(1, 3, 160, 208).contiguous(memory_format=layout)  # 5 rows of the coarsest cells
    answer = before(image)
    assert answer.std() > 0.1
    torch.testing.assert_close(after(image), answer, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 1)], ids=str)
def test_images_of_a_few_cells(layout, size):
    convolution = nn.Conv2d(8, 6, 1).to(memory_format=layout)
    image, added = torch.randn(2, 8, *size), torch.randn(2, 6, *size)
    expected = convolution(image) + added
    torch.testing.assert_close(convolve(image, convolution, added=added), expected, **CLOSE)


def test_only_what_the_library_multiplies_on_a_processor_that_does_not_learn(library):
    image = an_image()
    assert in_one_pass(image) == library
    assert not in_one_pass(image.half())
    assert not in_one_pass(image[..., :1, :1])
    assert not in_one_pass(image.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not in_one_pass(image)
        assert convolve(image, nn.Conv2d(8, 8, 1)).dtype == torch.bfloat16
    with torch.inference_mode(False), torch.enable_grad():
        assert not in_one_pass(image)
