"""The one call that makes networks quick: the same figures with and without it, and what it leaves alone."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.sam.fast.conv_encoder import FastConvEncoder
from core.sam.fast.image_attention import LeanImageEncoder
from core.sam.fast.speed_up import speed_up
from core.sam.networks import vit
from core.sam.networks.embedded import BOX_HEAD, SEMANTIC_HEAD, BoxHead, ConvEncoder, SemanticHead
from core.sam.networks.mobile_sam import TinyVitEncoder, build_mobile_sam
from core.sam.segmenter import Segmenter

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8).repeat(48, 0).repeat(64, 1)
POINTS, LABELS = np.array([[[300.0, 200.0], [800.0, 90.0]]]), np.array([[1, 0]])


def with_attention(network):
    torch.manual_seed(1)
    for name, parameter in network.named_parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
        if name.endswith("qkv.weight"):
            torch.nn.init.normal_(parameter, std=1.5 * parameter.shape[1] ** -0.5)
    return network


def compare(plain, fast):
    seen = [one.encode(IMAGE) for one in (plain, fast)]
    assert seen[0].features.std() > 0.05
    np.testing.assert_allclose(seen[1].features, seen[0].features, atol=2e-4, rtol=0)
    answers = [one.decode(its, POINTS, LABELS) for one, its in zip((plain, fast), seen, strict=True)]
    np.testing.assert_allclose(answers[1].logits, answers[0].logits, atol=5e-4, rtol=0)
    np.testing.assert_allclose(answers[1].iou_pred, answers[0].iou_pred, atol=2e-4, rtol=0)
    return seen


def test_the_embedded_model_with_its_heads(embedded_checkpoint, tmp_path):
    torch.manual_seed(2)
    state = load_file(embedded_checkpoint)
    for prefix, head in ((SEMANTIC_HEAD, SemanticHead()), (BOX_HEAD, BoxHead())):
        state |= {prefix + name: value for name, value in head.state_dict().items()}
    save_file(state, tmp_path / "whole.safetensors")
    loaded = [
        Segmenter.load("embedded", str(tmp_path / "whole.safetensors"), "cpu", "single", fast=fast)
        for fast in (False, True)
    ]
    assert [type(one.sam.image_encoder) for one in loaded] == [ConvEncoder, FastConvEncoder]
    assert loaded[0].identity != loaded[1].identity  # neither finds what the other kept
    plain, fast = compare(*loaded)
    np.testing.assert_allclose(fast.classes, plain.classes, atol=1e-4)
    np.testing.assert_allclose(fast.borders, plain.borders, atol=1e-4)
    np.testing.assert_allclose(fast.reach, plain.reach, rtol=1e-3)


@pytest.mark.parametrize("name", ["vit_b", "mobile_sam"])
def test_published_networks(name, monkeypatch):
    monkeypatch.setitem(vit.VIT, "vit_b", (96, 2, 3, (1,)))  # one windowed block, one global

    def build():
        torch.manual_seed(3)
        return with_attention(build_mobile_sam() if name == "mobile_sam" else vit.build_vit(name))

    plain, fast = build(), build()
    speed_up(fast)
    quick = TinyVitEncoder if name == "mobile_sam" else LeanImageEncoder
    assert type(fast.image_encoder) is quick
    compare(Segmenter(plain, name), Segmenter(fast, name))


def test_a_derived_encoder_is_left_alone():
    class Derived(ConvEncoder):
        pass

    network = build_mobile_sam()
    network.image_encoder = Derived()
    speed_up(network)
    assert type(network.image_encoder) is Derived
