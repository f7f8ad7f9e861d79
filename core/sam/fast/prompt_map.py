"""The embedded model's map of prompts, computed only where a prompt is near.

The map is empty but for small discs (and boxes), so most cells of its embedding
are what an empty map gives. That is computed once; the rest cell by cell.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from core.sam.networks.embedded import MappedPromptEncoder

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
        reduced = F.gelu(self._reduce(self._last.weight.new_zeros(1, 3, height * side, width * side)))
        wide = F.gelu(self._widen(reduced))
        self.empty = self._last(wide)
        self._empty_cells = self.empty[0].flatten(1).t().contiguous()
        # with the zeros around them that the convolutions pad them with
        self._empty_reduced, self._empty_wide = (
            F.pad(one, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous() for one in (reduced, wide)
        )

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
        side = self._prompts.CELLS_PER_EMBEDDING_CELL
        # factors (B, n, H, 4) and (B, n, W, 4) of the map's values within each cell
        factors = [
            (y.unflatten(-1, (-1, side)), x.unflatten(-1, (-1, side)))
            for y, x in self._prompts.factors(points, boxes, self._shape)
        ]
        marked = sum(torch.einsum("bny,bnx->byx", y.amax(-1), x.amax(-1)) for y, x in factors) > NOTHING
        where = marked.nonzero()
        drawn = torch.stack([_drawn_at(where, y, x) for y, x in factors], dim=1)
        reduced = self._empty_reduced.repeat(len(marked), 1, 1, 1)
        _rows_of(reduced)[self._padded(where)] = F.gelu(
            F.linear(drawn.flatten(1), self._reduce.weight.flatten(1), self._reduce.bias)
        )
        near = _spread(marked)
        where = near.nonzero()
        wide = self._empty_wide.repeat(len(marked), 1, 1, 1)
        _rows_of(wide)[self._padded(where)] = F.gelu(self._at(where, reduced, self._widen))
        where = _spread(near).nonzero()
        which, row, column = where.unbind(1)
        cell = row * self._shape[1] + column
        change = self._at(where, wide, self._last) - self._empty_cells[cell]
        return which * len(self._empty_cells) + cell, change

    def _padded(self, where: Tensor) -> Tensor:
        """Numbers (A,) of cells, given as prompt set, row and column (A, 3), among the padded ones."""
        height, width = self._shape
        which, row, column = where.unbind(1)
        return (which * (height + 2) + row + 1) * (width + 2) + column + 1

    def _at(self, where: Tensor, padded: Tensor, convolution: torch.nn.Conv2d) -> Tensor:
        """A convolution of 3 x 3 on padded cells (B, H + 2, W + 2, c) at some of them only; shape (A, C)."""
        steps = torch.arange(-1, 2, device=where.device)
        around = (steps[:, None] * padded.shape[2] + steps).flatten()
        patches = _rows_of(padded)[self._padded(where)[:, None] + around]
        weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(patches.flatten(1), weight, convolution.bias)


def _drawn_at(where: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """One channel of the map at cells (A, 3): what lies in them, (A, 4, 4)."""
    which, row, column = where.unbind(1)
    return torch.einsum("ani,anj->aij", y[which, :, row], x[which, :, column]).clamp(max=1)


def _rows_of(cells: Tensor) -> Tensor:
    """(B, H, W, c) as (B * H * W, c)."""
    return cells.view(-1, cells.shape[-1])


def _spread(marked: Tensor) -> Tensor:
    """Marked cells and their eight neighbours; shape (B, H, W) of bool."""
    return F.max_pool2d(marked[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0
