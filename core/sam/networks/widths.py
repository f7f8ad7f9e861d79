"""How many channels the encoder's blocks have inside: as many as the weights that are to be loaded.

Training leaves many of them dead: they are zero in every picture. ``research.training.prune`` drops
those from a model file, so that nobody computes them.
"""

from __future__ import annotations

from collections.abc import Mapping

from timm.models._efficientnet_blocks import InvertedResidual
from torch import Tensor, nn

# Of a block: tensors whose first axis is that of the inner channels; of the last one it is the second.
INNER = (
    "conv_pw.weight",
    "conv_dw.weight",
    *(
        f"{norm}.{part}"
        for norm in ("bn1", "bn2")
        for part in ("weight", "bias", "running_mean", "running_var")
    ),
)
LAST = "conv_pwl.weight"


def fit_widths(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give the inverted residuals of a network the inner channels that a state dict has for them.

    Parameters
    ----------
    network : nn.Module
        Changed in place; what changes its width has new weights, not yet set.
    state : mapping of str to Tensor
        As ``network.load_state_dict`` takes it. What is not in it, or of another kind, changes nothing.
    """
    for name, block in inverted_residuals(network).items():
        weight = state.get(f"{name}.conv_dw.weight")
        if weight is not None and weight.ndim == 4 and len(weight) not in (0, block.conv_dw.out_channels):
            _set_width(block, len(weight))


def inverted_residuals(network: nn.Module) -> dict[str, InvertedResidual]:
    """The blocks of a network that widen, convolve each channel alone, and narrow again; by name."""
    return {name: one for name, one in network.named_modules() if isinstance(one, InvertedResidual)}


def _set_width(block: InvertedResidual, width: int) -> None:
    widen, deep, narrow = block.conv_pw, block.conv_dw, block.conv_pwl
    widen.out_channels = deep.in_channels = deep.out_channels = deep.groups = narrow.in_channels = width
    for convolution in (widen, deep, narrow):
        shape = convolution.out_channels, convolution.in_channels // convolution.groups
        weight = convolution.weight
        convolution.weight = nn.Parameter(weight.new_empty(*shape, *weight.shape[2:]), weight.requires_grad)
    for norm in (block.bn1, block.bn2):
        norm.num_features = width
        for name in ("weight", "bias"):
            value = getattr(norm, name)
            setattr(norm, name, nn.Parameter(value.new_empty(width), value.requires_grad))
        norm.running_mean, norm.running_var = (
            value.new_empty(width) for value in (norm.running_mean, norm.running_var)
        )
