"""The quick encoder of the embedded model gives the figures of the plain one."""

import pytest
import torch

from core.sam.fast import conv_encoder
from core.sam.fast.conv_encoder import FastConvEncoder, quicken_encoder
from core.sam.networks.embedded import ConvEncoder


@torch.inference_mode()
@pytest.mark.parametrize("strip", [16, 64, 96, 512])
def test_strips_of_rows_change_nothing(monkeypatch, strip):
    monkeypatch.setattr(conv_encoder, "STRIP", strip)
    torch.manual_seed(0)
    encoder = ConvEncoder().eval()
    quicken_encoder(encoder)
    assert type(encoder) is FastConvEncoder
    image = torch.randn(1, 3, 208, 352)
    expected = encoder.backbone(image)[1:]
    assert expected[0].std() > 0.1
    for ours, whole in zip(encoder._maps(image), expected, strict=True):
        # with several threads other sizes take other sums; a margin too narrow is off by a tenth and more
        torch.testing.assert_close(ours, whole, atol=1e-4 * float(whole.abs().max()), rtol=0)
