"""Convolutions that no longer learn, each with what follows it in one pass over memory.

In an EfficientNet's block activation, shortcut and the padding of one side only that a
stride of two wants ("same" padding) are steps of their own: each reads and writes arrays
that are the network's largest by far, and takes longer than the convolution itself. oneDNN,
by which torch convolves on a processor, does them within the convolution; torch offers that
by operators which are none of its public ones, and its own compiler uses them. Without them,
on graphics cards and while learning everything here is what timm does anyway.
"""

from __future__ import annotations

import torch
from timm.layers import Conv2dSame, pad_same
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from torch import Tensor, nn
from torch.nn import functional as F

_CONVOLVE = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
_MULTIPLY = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_THERE = None not in (_CONVOLVE, _MULTIPLY) and torch.backends.mkldnn.is_available()

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
    """An inverted residual of folded batch norms whose activations are ReLU6."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``InvertedResidual.forward``."""
        wide = convolve(convolve(x, self.conv_pw, "relu6"), self.conv_dw, "relu6")
        return convolve(wide, self.conv_pwl, added=x if self.has_skip else None)


class OnePassSeparable(DepthwiseSeparableConv):
    """A depthwise separable convolution of folded batch norms whose activation is ReLU6."""

    def forward(self, x: Tensor) -> Tensor:
        """As ``DepthwiseSeparableConv.forward``."""
        deep = convolve(x, self.conv_dw, "relu6")
        return convolve(deep, self.conv_pw, added=x if self.has_skip else None)


def join_passes(network: nn.Module) -> None:
    """Let a network's blocks take one pass for each convolution, in place, where they can.

    Parameters
    ----------
    network : nn.Module
        With folded batch norms (:func:`core.folding.fold_norms`).
    """
    for module in network.modules():
        if type(module) is Conv2dSame and module.stride == (2, 2) and module.dilation == (1, 1):
            EvenSame.replace(module)
        elif type(module) is InvertedResidual and _is_plain(module, module.bn1, module.bn2, module.bn3):
            module.__class__ = OnePassInverted
        elif type(module) is DepthwiseSeparableConv and _is_plain(module, module.bn1, module.bn2):
            module.__class__ = OnePassSeparable


def _is_plain(block: nn.Module, *after: nn.Module) -> bool:
    """Whether a block is its convolutions, ReLU6 after all but the last, and perhaps a shortcut."""
    rest = (after[-1], block.aa, block.se, block.drop_path)
    return all(type(each) is nn.ReLU6 for each in after[:-1]) and all(
        type(each) is nn.Identity for each in rest
    )


def in_one_pass(x: Tensor) -> bool:
    """Whether a convolution of this image can do what follows it, too."""
    return (
        _THERE
        and x.device.type == "cpu"
        and x.dtype == torch.float32
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
        Of the answer's shape, added to it where nothing follows.
    """
    operator, activate = _AFTER[after]
    if isinstance(convolution, EvenSame) and (x.shape[-2] % 2 or x.shape[-1] % 2):
        kernel = convolution.weight[..., 1:, 1:]
        padded = pad_same(x, list(kernel.shape[-2:]), list(convolution.stride))
        y = F.conv2d(padded, kernel, convolution.bias, convolution.stride, groups=convolution.groups)
        y = activate(y)
    elif not in_one_pass(x):
        y = activate(convolution._conv_forward(x, convolution.weight, convolution.bias))
    elif convolution.kernel_size == convolution.stride == (1, 1) and convolution.groups == 1:
        return _of_cells(x, convolution, operator, added)
    else:
        geometry = (convolution.padding, convolution.stride, convolution.dilation, convolution.groups)
        y = _CONVOLVE(x, convolution.weight, convolution.bias, *geometry, *operator)
    return y if added is None else y + added


def _of_cells(x: Tensor, convolution: nn.Conv2d, operator: tuple, added: Tensor | None) -> Tensor:
    """A convolution of 1 x 1 as product of all cells' channels with its matrix: no copy if they lie last."""
    rows, matrix = x.permute(0, 2, 3, 1), convolution.weight.flatten(1)
    if added is None:
        y = _MULTIPLY(rows, matrix, convolution.bias, *operator)
    else:
        y = _MULTIPLY.binary(rows, added.permute(0, 2, 3, 1), matrix, convolution.bias, "add")
    return y.permute(0, 3, 1, 2)
