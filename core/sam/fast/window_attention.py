"""TinyViT's window attention, so shaped that torch takes its quick way on a processor."""

from __future__ import annotations

import torch
from timm.models.tiny_vit import Attention
from torch import Tensor, nn


class WindowAttention(Attention):
    """timm's attention whose biases have a dimension for the batch.

    torch has a quick way for such biases; without that dimension it builds
    the matrix of attention and looks it through for rows that nothing may see.
    """

    def get_attention_biases(self, device: torch.device) -> Tensor:
        """Biases by relative position, shape (1, heads, cells, cells)."""
        return super().get_attention_biases(device)[None]


def batch_biases(network: nn.Module) -> None:
    """Let the attention of a network's windows take the quick way, in place."""
    for module in network.modules():
        if type(module) is Attention:  # what is derived from it may do something else
            module.__class__ = WindowAttention
