"""Convolutions that no longer learn, each with what follows it in one pass over memory.

In the blocks of an EfficientNet or a TinyViT activation, shortcut and the padding of one
side only that a stride of two wants ("same" padding) are steps of their own: each reads and
writes arrays that are the network's largest by far, and takes longer than the convolution
itself. oneDNN, by which torch convolves on a processor, does them within the convolution;
torch offers that by an operator which is none of its public ones, and its own compiler uses
it. Without it, on graphics cards and while learning everything here is what timm does anyway.
"""

from __future__ import annotations

import torch
from timm.layers import Conv2dSame, pad_same
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from timm.models.tiny_vit import MBConv, PatchEmbed, PatchMerging
from torch import Tensor, nn
from torch.nn import functional as F

_CONVOLVE = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
_THERE = (
    _CONVOLVE is not None
    and torch.backends.mkldnn.is_available()
    and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")  # elsewhere not all of it is there
)
_PRECISIONS = (
    (torch.float32, torch.bfloat16)
    if _THERE and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    else (torch.float32,)
)

# What may follow a convolution: as oneDNN's operators want to be told it, and as torch does it.
_AFTER = {
    "nothing": (("none", [], ""), lambda y: y),
    "relu6": (("hardtanh", [0.0, 6.0], ""), F.relu6),
    "gelu": (("gelu", [], "none"), F.gelu),
}


class EvenSame(nn.Conv2d):
    """A "same" convolution of stride two that pads both sides alike: its kernel begins with zeros.

    Of images with an even number of rows and columns "same" padding adds one more on
    the far side than on the near one, which takes a copy. A kernel of even size that
    begins with zeros sees the same pixels without it.
    """

    @classmethod
    def replace(cls, convolution: Conv2dSame) -> None:
        """Make a convolution with an odd kernel one of these, in place."""
        convolution.__class__ = cls
        convolution.weight = nn.Parameter(F.pad(convolution.weight, (1, 0, 1, 0)))
        convolution.padding = tuple(side // 2 for side in convolution.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """As ``Conv2dSame.forward``."""
        return convolve(x, self)


class OnePassInverted(InvertedResidual):
    """An inverted residual of folded batch norms whose activations are ReLU6.

    Its inside may be less precise than what comes in, and all but the shortcut.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As ``InvertedResidual.forward``."""
        wide = convolve(x.to(self.conv_pw.weight.dtype), self.conv_pw, "relu6")
        wide = convolve(wide, self.conv_dw, "relu6").to(self.conv_pwl.weight.dtype)
        if self.has_skip and x.dtype == wide.dtype:
            return convolve(wide, self.conv_pwl, added=x)
        narrow = convolve(wide, self.conv_pwl)
        return x + narrow if self.has_skip else narrow


class OnePassSeparable(DepthwiseSeparableConv):
    """A depthwise separable convolution of folded batch norms whose activation is ReLU6."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``DepthwiseSeparableConv.forward``."""
        deep = convolve(x, self.conv_dw, "relu6")
        return convolve(deep, self.conv_pw, added=x if self.has_skip else None)


class OnePassMBConv(MBConv):
    """A TinyViT's block of convolutions, its batch norms folded, whose activations are GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``MBConv.forward``."""
        wide = convolve(convolve(x, self.conv1.conv, "gelu"), self.conv2.conv, "gelu")
        return F.gelu(convolve(wide, self.conv3.conv, added=x))


class OnePassMerging(PatchMerging):
    """A TinyViT's step to half the resolution, its batch norms folded, whose activations are GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``PatchMerging.forward``."""
        deep = convolve(convolve(x, self.conv1.conv, "gelu"), self.conv2.conv, "gelu")
        return convolve(deep, self.conv3.conv)


class OnePassEmbed(PatchEmbed):
    """A TinyViT's first convolutions, their batch norms folded, whose activation is GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``PatchEmbed.forward``."""
        return convolve(convolve(x, self.conv1.conv, "gelu"), self.conv2.conv)


def join_passes(network: nn.Module) -> None:
    """Let a network's blocks take one pass for each convolution, in place, where they can.

    Parameters
    ----------
    network : nn.Module
        With folded batch norms (:func:`core.sam.fast.folding.fold_norms`).
    """
    for module in network.modules():
        if type(module) is Conv2dSame and module.stride == (2, 2) and module.dilation == (1, 1):
            EvenSame.replace(module)
        elif type(module) in _KINDS:
            joined, activation, activations, nothing = _KINDS[type(module)]
            parts = dict(module.named_modules())
            if all(type(parts[name]) is activation for name in activations) and all(
                type(parts[name]) is nn.Identity for name in nothing
            ):
                module.__class__ = joined


# What a block becomes where it is nothing but its convolutions, these activations of one kind and perhaps
# a shortcut: where these parts of it are the activations, and those do nothing. A folded norm of timm's
# EfficientNets leaves its activation in its place.
_KINDS = {
    InvertedResidual: (OnePassInverted, nn.ReLU6, ("bn1", "bn2"), ("bn3", "aa", "se", "drop_path")),
    DepthwiseSeparableConv: (OnePassSeparable, nn.ReLU6, ("bn1",), ("bn2", "aa", "se", "drop_path")),
    MBConv: (
        OnePassMBConv,
        nn.GELU,
        ("act1", "act2", "act3"),
        ("conv1.bn", "conv2.bn", "conv3.bn", "drop_path"),
    ),
    PatchMerging: (OnePassMerging, nn.GELU, ("act1", "act2"), ("conv1.bn", "conv2.bn", "conv3.bn")),
    PatchEmbed: (OnePassEmbed, nn.GELU, ("act",), ("conv1.bn", "conv2.bn")),
}


def in_one_pass(x: Tensor) -> bool:
    """Whether a convolution of this image can do what follows it, too."""
    return (
        _THERE
        and x.shape[-2:].numel() > 1  # of a single cell nobody can tell how it is laid out
        and x.device.type == "cpu"
        and x.dtype in _PRECISIONS
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def convolve(
    x: Tensor, convolution: nn.Conv2d, after: str = "nothing", added: Tensor | None = None
) -> Tensor:
    """Convolve an image.

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
    convolution : nn.Conv2d
        Padded with zeros.
    after : {"nothing", "relu6", "gelu"}
        The activation that follows.
    added : Tensor, optional
        Of the answer's shape, added to it; nothing follows then.
    """
    operator, activate = _AFTER[after]
    weight, bias, padding = convolution.weight, convolution.bias, convolution.padding
    stride, dilation, groups = convolution.stride, convolution.dilation, convolution.groups
    if isinstance(convolution, EvenSame) and (x.shape[-2] % 2 or x.shape[-1] % 2):
        x = pad_same(x, list(convolution.kernel_size), list(stride))
        weight, padding = weight[..., 1:, 1:], (0, 0)
    if not in_one_pass(x):
        y = activate(F.conv2d(x, weight, bias, stride, padding, dilation, groups))
        return y if added is None else y + added
    geometry = padding, stride, dilation, groups
    if added is None:
        return _CONVOLVE(x, weight, bias, *geometry, *operator)
    return _CONVOLVE.binary(x, added, weight, bias, *geometry, "add", 1.0, None, [], None)
