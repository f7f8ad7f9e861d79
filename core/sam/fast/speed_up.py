"""The one call that makes a network quick; without it the figures are the same, and take longer."""

from __future__ import annotations

from collections.abc import Iterable

from segment_anything.modeling import Sam
from torch import nn

from core.sam.fast.conv_encoder import quicken_encoder
from core.sam.fast.convolutions import join_passes
from core.sam.fast.folding import fold_norms
from core.sam.fast.image_attention import attend_by_rows
from core.sam.fast.matmul import quicken
from core.sam.fast.window_attention import batch_biases


def speed_up(sam: Sam, heads: Iterable[nn.Module] = ()) -> None:
    """Make a network with its final weights, and its heads, as quick as they can be, in place.

    They can't learn any more, and batch norms are gone from the state dict.
    """
    fold_norms(sam.image_encoder)
    join_passes(sam.image_encoder)
    attend_by_rows(sam)
    batch_biases(sam.image_encoder)
    quicken_encoder(sam.image_encoder)
    for head in heads:
        quicken_encoder(head)
    quicken(sam)
    sam.requires_grad_(False)
