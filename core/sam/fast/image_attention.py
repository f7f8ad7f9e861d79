"""SAM's image encoder with the published weights and less work: same figures, a third of the memory.

The published encoder (segment-anything, ``ImageEncoderViT``) builds the whole
matrix of attention of all heads, twice where relative positions are added, and
sends windows' padding through the projections. Here attention is torch's
``scaled_dot_product_attention`` on a few rows at a time, padding is only ever a
key (it is one in the published network, so it stays), and the residual stream is
changed in place.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import ImageEncoderViT, Sam
from segment_anything.modeling.image_encoder import Attention, Block, get_rel_pos
from torch import Tensor
from torch.nn import functional as F

# Rows handled together on a processor: what they need stays in its cache.
QUERY_ROWS = 16  # of cells, as queries of global attention: a bias of 17 MB for 64 x 64 cells
MLP_ROWS = 8  # of cells, through the widest layer: 6 MB in ViT-B


class LeanImageEncoder(ImageEncoderViT):
    """The published encoder, evaluated without its large intermediate arrays.

    Parameters and their names are the published ones. With gradients it is the
    published computation, since what happens here happens in place.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Embed images of shape (B, 3, 1024, 1024) to (B, C, 64, 64)."""
        if torch.is_grad_enabled():
            return super().forward(x)
        # one after the other: memory does not grow with the batch
        return torch.cat([self._embed(image[None]) for image in x])

    def _embed(self, image: Tensor) -> Tensor:
        x = self.patch_embed(image)[0].contiguous()
        if self.pos_embed is not None:
            x = x + self.pos_embed[0]
        together = x.device.type == "cpu"
        for block in self.blocks:
            if block.window_size:
                _add_windowed(x, block)
            else:
                _add_global(x, block, QUERY_ROWS if together else x.shape[0])
            _add_mlp(x, block, MLP_ROWS if together else x.shape[0])
        return self.neck(x.permute(2, 0, 1)[None])


def attend_by_rows(sam: Sam) -> None:
    """Let a network's published ViT encoder be evaluated in this way, in place."""
    if type(sam.image_encoder) is ImageEncoderViT:  # what is derived from it may do something else
        sam.image_encoder.__class__ = LeanImageEncoder


def _positions(attention: Attention, side: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Relative position embeddings of rows (H, H, c) and of columns (W, W, c)."""
    height, width = side
    return (
        get_rel_pos(height, height, attention.rel_pos_h),
        get_rel_pos(width, width, attention.rel_pos_w),
    )


def _attend(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, scale: float) -> Tensor:
    """Attention with decomposed relative positions (Li et al., MViTv2, section 4.1).

    Parameters
    ----------
    q : Tensor, shape (N, h, W, c)
        Queries: some rows of the cells, N heads (of N windows).
    k, v : Tensor, shape (N, H * W, c)
        Keys and values of all cells.
    rows : Tensor, shape (h, H, c)
        Position embedding between each query row and each key row.
    columns : Tensor, shape (W, W, c)

    Returns
    -------
    Tensor, shape (N, h * W, c)
    """
    n, h, w, c = q.shape
    along_rows = torch.einsum("nhwc,hkc->nhwk", q, rows).contiguous()
    along_columns = torch.einsum("nhwc,wkc->nhwk", q, columns).contiguous()
    bias = (along_rows[..., :, None] + along_columns[..., None, :]).view(n, h * w, k.shape[1])
    q = q.reshape(n, h * w, c)
    return F.scaled_dot_product_attention(q[None], k[None], v[None], bias[None].to(q.dtype), scale=scale)[0]


def _add_global(x: Tensor, block: Block, query_rows: int) -> None:
    """Add a block's attention over all cells to x, shape (H, W, C), in place."""
    attention = block.attn
    height, width, channels = x.shape
    heads = attention.num_heads
    rows, columns = _positions(attention, (height, width))
    q, k, v = (
        attention.qkv(block.norm1(x)).view(height * width, 3, heads, channels // heads).permute(1, 2, 0, 3)
    )
    answer = q.new_empty(height * width, heads, channels // heads)
    for head in range(heads):  # one head's bias at a time
        keys, values = k[head : head + 1].contiguous(), v[head : head + 1].contiguous()
        for top in range(0, height, query_rows):
            part = slice(top, min(top + query_rows, height))
            cells = slice(part.start * width, part.stop * width)
            queries = q[head, cells].reshape(1, part.stop - top, width, -1)
            found = _attend(queries, keys, values, rows[part], columns, attention.scale)
            answer[cells, head] = found[0]
    x += attention.proj(answer.view(height, width, channels))


def _add_windowed(x: Tensor, block: Block) -> None:
    """Add a block's attention within windows to x, shape (H, W, C), in place, one row of windows at a time.

    Windows that reach beyond the cells are filled with what the published
    encoder's zeros become: keys and values that are the projection's bias.
    """
    attention, side = block.attn, block.window_size
    height, width, channels = x.shape
    heads, across = attention.num_heads, -(-width // side)
    rows, columns = _positions(attention, (side, side))
    for top in range(0, height, side):
        strip = x[top : top + side]
        shown = strip.shape[0]
        projected = attention.qkv(block.norm1(strip))
        if shown < side or across * side > width:
            filled = projected.new_empty(side, across * side, 3 * channels)
            filled[:] = 0 if attention.qkv.bias is None else attention.qkv.bias
            filled[:shown, :width] = projected
            projected = filled
        # (3, windows * heads, side * side, c)
        q, k, v = (
            projected.view(side, across, side, 3, heads, channels // heads)
            .permute(3, 1, 4, 0, 2, 5)
            .reshape(3, across * heads, side * side, channels // heads)
        )
        found = _attend(q.view(-1, side, side, q.shape[-1]), k, v, rows, columns, attention.scale)
        found = found.view(across, heads, side, side, -1).permute(2, 0, 3, 1, 4)
        found = found.reshape(side, across * side, channels)[:shown, :width]
        strip += attention.proj(found)


def _add_mlp(x: Tensor, block: Block, rows: int) -> None:
    """Add a block's two-layer network to x, shape (H, W, C), in place."""
    for part in x.split(rows):
        part += block.mlp(block.norm2(part))
