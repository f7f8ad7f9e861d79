"""Batch norms in the convolutions before them: the same answers without the norms."""

import copy

import pytest
import timm
import torch
from torch import nn

from core.sam.fast.folding import fold_norms
from core.sam.fast.speed_up import speed_up
from core.sam.networks.embedded import ConvEncoder
from core.sam.networks.mobile_sam import TinyVitEncoder, build_mobile_sam
from core.sam.segmenter import Segmenter


def with_history(network):
    """The network in evaluation mode, its batch norms as if they had seen images."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.7, 1.3),
                (module.bias.data, -0.2, 0.2),
            ):
                value.copy_(low + (high - low) * torch.rand(value.shape, generator=generator))
    return network.eval()


def small_tiny_vit():
    return timm.create_model("tiny_vit_5m_224", pretrained=False, num_classes=0)


@pytest.mark.parametrize(
    ("build", "side"), [(ConvEncoder, 128), (small_tiny_vit, 224)], ids=["embedded", "TinyViT"]
)
@torch.no_grad()
def test_answers_stay_the_same(build, side):
    torch.manual_seed(0)
    network = with_history(build())
    image = torch.randn(1, 3, side, side)
    before = network(image)
    fold_norms(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert (network(image) - before).abs().max() <= 1e-4 * before.abs().max()


@torch.no_grad()
def test_a_norm_without_a_convolution_before_it_stays():
    network = with_history(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    )
    image = torch.randn(1, 3, 5, 5)
    before = network(image)
    fold_norms(network)
    assert isinstance(network[2], nn.BatchNorm2d)
    assert torch.equal(network(image), before)


def test_no_norm_is_left_in_mobile_sam():
    network = build_mobile_sam().image_encoder
    fold_norms(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_a_loaded_network_cannot_learn_any_more(embedded_checkpoint):
    network = Segmenter.load("embedded", embedded_checkpoint, "cpu").sam
    parameters = dict(network.named_parameters())
    assert any(name.startswith("mask_decoder.") for name in parameters)
    assert [name for name, parameter in parameters.items() if parameter.requires_grad] == []
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.image_encoder.modules())


def test_a_quick_tiny_vit_answers_the_same():
    """With attention that matters and relative positions that are parameters of their own."""
    torch.manual_seed(0)
    network = nn.Module()
    network.image_encoder = with_history(TinyVitEncoder())
    with torch.no_grad():  # attention that is far from even
        for name, parameter in network.named_parameters():
            if name.endswith("attention_biases"):
                parameter.normal_()
            elif name.endswith("qkv.weight"):
                parameter.normal_(std=2 * parameter.shape[1] ** -0.5)
    learning = copy.deepcopy(network).image_encoder
    speed_up(network)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    image = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        before, after = learning(image), network.image_encoder(image)
    assert before.std() > 0.1
    assert (after - before).abs().max() <= 1e-4 * before.abs().max()
