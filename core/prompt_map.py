"""The embedded model's map of prompts, computed only where a prompt is near.

The map is empty but for small discs (and boxes), so most cells of its embedding
are what an empty map gives. That is computed once; the rest cell by cell.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .embedded import MappedPromptEncoder

NOTHING = 1e-7  # of a disc whose middle is 1: below this it is not there


class PromptMap:
    """What the prompts drawn by one ``MappedPromptEncoder`` change in the dense embedding.

    Attributes
    ----------
    empty : Tensor, shape (1, C, H, W)
        The embedding of an empty map.
    """

    def __init__(self, prompts: MappedPromptEncoder):
        self._prompts = prompts
        self._reduce, _, self._widen, _, self._last = prompts.prompt_map
        self._shape = height, width = prompts.image_embedding_size
        side = prompts.CELLS_PER_EMBEDDING_CELL
        empty = self._last.weight.new_zeros(1, 3, height * side, width * side)
        self._empty_reduced = F.gelu(self._reduce(empty))
        self._empty_wide = F.gelu(self._widen(self._empty_reduced))
        self.empty = self._last(self._empty_wide)

    def change(self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None) -> tuple[Tensor, Tensor]:
        """The cells that prompts change, and by how much.

        Parameters
        ----------
        points, boxes
            As ``MappedPromptEncoder.forward`` takes them, for B prompt sets.

        Returns
        -------
        index : Tensor of int64, shape (A,)
            Cells of all prompt sets together, 0 to B * H * W.
        change : Tensor, shape (A, C)
            To be added to :attr:`empty` there.
        """
        height, width = self._shape
        drawn = self._prompts.draw(points, boxes, self._shape)
        side = self._prompts.CELLS_PER_EMBEDDING_CELL
        # not by pooling, which takes ten times as long
        marked = drawn.amax(1).view(-1, height, side, width, side).amax((2, 4)) > NOTHING
        near = _spread(marked)
        reduced = F.gelu(self._reduce(drawn))
        wide = self._empty_wide.permute(0, 2, 3, 1).repeat(len(drawn), 1, 1, 1)
        index = near.flatten().nonzero()[:, 0]
        wide.view(-1, wide.shape[-1])[index] = F.gelu(
            self._at(index, reduced.permute(0, 2, 3, 1), self._widen)
        )
        index = _spread(near).flatten().nonzero()[:, 0]
        empty = self.empty[0].flatten(1).t()[index % (height * width)]
        return index, self._at(index, wide, self._last) - empty

    def _at(self, index: Tensor, x: Tensor, convolution: torch.nn.Conv2d) -> Tensor:
        """A convolution of 3 x 3 on x, shape (B, H, W, c), at some cells only; shape (A, C)."""
        height, width = self._shape
        padded = F.pad(x, (0, 0, 1, 1, 1, 1))
        which, row, column = index // (height * width), index // width % height, index % width
        corner = (which * (height + 2) + row) * (width + 2) + column
        ahead = torch.arange(3, device=x.device)
        around = (ahead[:, None] * (width + 2) + ahead).flatten()
        patches = padded.reshape(-1, x.shape[-1])[corner[:, None] + around]
        weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(patches.flatten(1), weight, convolution.bias)


def _spread(marked: Tensor) -> Tensor:
    """Marked cells and their eight neighbours; shape (B, H, W) of bool."""
    return F.max_pool2d(marked[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0
