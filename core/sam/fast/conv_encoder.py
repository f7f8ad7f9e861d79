"""The embedded model's encoder with less work: first layers in strips of rows, activations in one pass.

The figures are those of ``core.sam.networks.embedded``, unless what follows the stem is halved.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from core.sam.fast.convolutions import EvenSame, convolve
from core.sam.networks.embedded import ContextBlock, ConvEncoder

STRIP = 256  # canvas pixels of an image's height that the first layers see at once on a processor
MARGIN = 12  # more of them above and below: what the first layers see lies up to 9 away


class OnePassContext(ContextBlock):
    """A ConvNeXt block whose activation and shortcut are part of its convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``ContextBlock.forward``."""
        widen, _, narrow = self.mlp
        return convolve(convolve(self.norm(self.depthwise(x)), widen, "gelu"), narrow, added=x)


class FastConvEncoder(ConvEncoder):
    """The encoder of a network that no longer learns."""

    @property
    def beyond_stem(self) -> torch.dtype:
        """The precision of what follows the stem."""
        return self.wide.down.weight.dtype

    def halve(self) -> None:
        """Let what follows the stem multiply in bfloat16, and the inside of its last two blocks, in place.

        Three fifths of the time on processors with units for it. The stem's map of stride 4
        is most of what nearly cancels out (``forward``): with all of the stem halved the
        embedding is off by 2 %, with what is halved here, where that map and what its blocks
        add up stay in float32, by 0.7 %. For a network whose batch norms are folded, and
        that does not learn any more.
        """
        first, second = self.backbone.blocks[1]
        inside = first.conv_pw, first.conv_dw, second
        for part in (*inside, *self.backbone.blocks[2:], self.wide, self.context):
            part.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """As ``ConvEncoder.forward``."""
        fused = self.fuse(self._maps(x))
        return self.neck(self.context(self.wide(fused.to(self.beyond_stem))).to(fused.dtype))

    def _maps(self, x: Tensor) -> list[Tensor]:
        """The backbone's feature maps at strides 4, 8, 16 and 32."""
        net = self.backbone
        if x.device.type != "cpu":
            return net(x)[1:]
        maps = [_in_strips(self._first, x)]
        for block in net.blocks[2:]:
            maps.append(block(maps[-1]))
        return [maps[0], maps[1], maps[3], maps[5]]

    def _first(self, x: Tensor) -> Tensor:
        """The backbone's layers up to stride 4, of an image or a strip of it."""
        net = self.backbone
        joined = isinstance(net.conv_stem, EvenSame) and isinstance(net.bn1, nn.ReLU6)
        x = convolve(x, net.conv_stem, "relu6") if joined else net.bn1(net.conv_stem(x))
        return net.blocks[1](net.blocks[0](x))


def _in_strips(layers: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Evaluate layers of stride 4 on strips of rows: the same answer from a quarter of the memory.

    Their arrays are the network's largest by far. Each strip is evaluated with
    some rows of its neighbours, so that only the image's own edges are padded.
    """
    height, answers = x.shape[-2], []
    for top in range(0, height, STRIP):
        bottom = min(top + STRIP, height)
        first, last = max(top - MARGIN, 0), min(bottom + MARGIN, height)
        answer = layers(x[..., first:last, :])
        answers.append(answer[..., (top - first) // 4 : (bottom - first) // 4, :])
    return torch.cat(answers, dim=-2)


def quicken_encoder(network: nn.Module) -> None:
    """Make the embedded model's encoders and context blocks in a network quick, in place."""
    for module in network.modules():
        if type(module) is ContextBlock:  # what is derived from it may do something else
            module.__class__ = OnePassContext
        elif type(module) is ConvEncoder:
            module.__class__ = FastConvEncoder
