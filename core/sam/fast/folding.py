"""Batch norms of a network that no longer learns, folded into the convolutions before them."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def fold_norms(network: nn.Module) -> None:
    """Fold every batch norm that follows a convolution into it, in place; an activation it holds stays.

    In evaluation a batch norm is one factor and one addend for each channel, so
    the convolution can do its work. That saves reading and writing the largest
    arrays once more, and a copy of them.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; its modules are defined in the order in which they
        are evaluated, as timm's are.
    """
    for parent in list(network.modules()):
        before = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and before is not None:
                _fold(before, child)
                setattr(parent, name, getattr(child, "act", nn.Identity()))
            if not isinstance(child, nn.Identity):
                before = child if isinstance(child, nn.Conv2d) else None


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = 0 if convolution.bias is None else convolution.bias
    convolution.weight *= factor[:, None, None, None]
    convolution.bias = nn.Parameter((bias - norm.running_mean) * factor + norm.bias)
