"""SAM's mask decoder with the published weights and less work, for many prompt sets on one canvas.

Same figures as segment-anything's ``MaskDecoder``, but

* what all prompts of a canvas share is computed once: the position encoding, the
  dense embedding of a prompt without a mask, and the first layer's projections of
  the image's cells;
* attention between few tokens and many cells multiplies the tokens into the
  projection's matrix instead of projecting every cell (:func:`_fold`), since
  t (W x) = (t W) x; the last one is computed for those tokens only that are read;
* predicted IoU needs tokens only, so masks are drawn for those who ask for them,
  on the part of the canvas that they ask for, cell by cell as products of
  matrices (a transposed convolution whose stride is its kernel is one).

Shapes: B prompt sets, T tokens, N = H * W cells, C channels, h heads of c channels.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from segment_anything.modeling import PromptEncoder, Sam
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

from .embedded import MappedPromptEncoder
from .products import linear, plus_times, times
from .prompt_map import PromptMap

TOGETHER = 2048 * 256  # channels of one prompt set's cells handled at once: they stay in a processor's cache

Part = tuple[slice, slice]  # rows and columns, or prompt sets and cells


@dataclasses.dataclass(frozen=True)
class ImageSide:
    """What all prompts of one canvas share.

    Attributes
    ----------
    features : Tensor, shape (1, C, H, W)
        As the encoder gave them.
    cells : Tensor, shape (N, C)
        Features with the dense embedding of a prompt without a mask.
    keys, values, queries : Tensor, shape (h, N, c)
        The cells as the first layer's attentions see them.
    """

    features: Tensor
    cells: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor


@dataclasses.dataclass(frozen=True)
class Change:
    """Where one prompt set's cells differ from what all share: cells (A,), and by how much (A, C)."""

    index: Tensor
    by: Tensor


@dataclasses.dataclass(frozen=True)
class Read:
    """Prompt sets after the transformer, their K masks not yet drawn.

    Attributes
    ----------
    cells : Tensor, shape (B, N, C)
    kernels : Tensor, shape (B, K, C / 8)
        A mask's logit is the product of its kernel with an enlarged cell.
    iou_pred : Tensor, shape (B, K)
    """

    cells: Tensor
    kernels: Tensor
    iou_pred: Tensor


class Decoder:
    """The prompt encoder and mask decoder of a network whose weights no longer change."""

    def __init__(self, sam: Sam):
        self._prompts, self._masks = sam.prompt_encoder, sam.mask_decoder
        self._layers = list(sam.mask_decoder.transformer.layers)
        self._map = PromptMap(self._prompts) if isinstance(self._prompts, MappedPromptEncoder) else None
        self._position = self._prompts.get_dense_pe().flatten(2)[0].t().contiguous()
        first, _, _, second, _ = self._masks.output_upscaling
        self._enlarge = [_as_product(first), _as_product(second)]

    def prepare(self, features: Tensor) -> ImageSide:
        """Compute what the prompts on a canvas share; features of shape (1, C, H, W)."""
        dense = self._prompts.no_mask_embed.weight.view(1, -1, 1, 1)
        if self._map is not None:
            dense = dense + self._map.empty
        cells = _in_rows(features + dense)[0]
        placed = cells + self._position
        to_image = self._layers[0].cross_attn_token_to_image
        to_tokens = self._layers[0].cross_attn_image_to_token
        return ImageSide(
            features,
            cells,
            _in_heads(to_image.k_proj(placed), to_image),
            _in_heads(to_image.v_proj(cells), to_image),
            _in_heads(to_tokens.q_proj(placed), to_tokens),
        )

    def read(
        self,
        side: ImageSide,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
        *,
        multimask: bool,
    ) -> Read:
        """Take a batch of prompts, as ``PromptEncoder.forward`` takes them, through the transformer."""
        decoder = self._masks
        sparse, cells = self._embed(side, points, boxes, masks)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        numbers = range(1, decoder.num_mask_tokens) if multimask else range(1)
        answers, cells = self._transform(side, tokens, cells, [0, *(1 + number for number in numbers)])
        kernels = [
            decoder.output_hypernetworks_mlps[number](answers[:, 1 + place])
            for place, number in enumerate(numbers)
        ]
        iou_pred = decoder.iou_prediction_head(answers[:, 0])[:, list(numbers)]
        return Read(cells, torch.stack(kernels, dim=1), iou_pred)

    def draw(self, cells: Tensor, kernels: Tensor, part: Part) -> Tensor:
        """Masks of prompt sets on a part of the embedding.

        Parameters
        ----------
        cells : Tensor, shape (B, N, C)
        kernels : Tensor, shape (B, K, C / 8)
        part : tuple of slice
            Rows and columns of cells.

        Returns
        -------
        Tensor, shape (B, K, 4 * rows, 4 * columns)
            Logits.
        """
        height, width = self._prompts.image_embedding_size
        chosen = cells.view(len(cells), height, width, -1)[:, part[0], part[1]]
        batch, rows, columns, channels = chosen.shape
        chosen = chosen.reshape(batch, rows * columns, channels)
        logits = torch.cat(
            [
                torch.cat([self._enlarged(some) @ kernel.t() for some in one.split(TOGETHER // channels)])
                for one, kernel in zip(chosen, kernels, strict=True)
            ]
        )  # rows of cells, each with 2 x 2 quarters of 2 x 2 pixels
        logits = logits.view(batch, rows, columns, 2, 2, 2, 2, kernels.shape[1])
        return logits.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(batch, -1, 4 * rows, 4 * columns)

    def _enlarged(self, cells: Tensor) -> Tensor:
        """``MaskDecoder.output_upscaling`` of cells (n, C) without their neighbours: (16 n, C / 8)."""
        _, norm, activation, _, last_activation = self._masks.output_upscaling
        first, second = self._enlarge
        quarters = linear(cells, *first).view(4 * len(cells), -1)
        quarters = activation(F.layer_norm(quarters, quarters.shape[-1:], norm.weight, norm.bias, norm.eps))
        if type(last_activation) is nn.GELU:  # within the product it costs nothing
            return linear(quarters, *second, gelu=True).view(16 * len(cells), -1)
        return last_activation(linear(quarters, *second)).view(16 * len(cells), -1)

    def _embed(
        self,
        side: ImageSide,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
    ) -> tuple[Tensor, Tensor | list[Change | None]]:
        """Prompt tokens (B, T, C), and the image's cells (B, N, C) or what changes of those all share."""
        known = type(self._prompts) in (PromptEncoder, MappedPromptEncoder)
        if not known or masks is not None or (points is None and boxes is None):
            sparse, dense = self._prompts(points, boxes, masks)
            return sparse, _in_rows(side.features + dense)
        sparse, _ = PromptEncoder.forward(self._prompts, points, boxes, None)
        if self._map is None:
            return sparse, [None] * len(sparse)
        index, by = self._map.change(points, boxes)
        ends = torch.bincount(index // len(side.cells), minlength=len(sparse)).tolist()
        pairs = zip((index % len(side.cells)).split(ends), by.split(ends), strict=True)
        return sparse, [Change(*pair) for pair in pairs]

    def _transform(
        self, side: ImageSide, tokens: Tensor, cells: Tensor | list[Change | None], wanted: list[int]
    ) -> tuple[Tensor, Tensor]:
        """The two-way transformer; gives the wanted tokens (B, W, C) and the cells (B, N, C)."""
        queries = tokens
        for layer in self._layers:
            queries = layer.norm1(_among_tokens(layer, queries, tokens))
            to_image, to_tokens = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
            shared = isinstance(cells, list)
            if shared:
                found = _to_shared(to_image, queries + tokens, side, cells)
            else:
                found = _to_cells(to_image, queries + tokens, cells, self._position)
            queries = layer.norm2(queries + found)
            queries = layer.norm3(queries + layer.mlp(queries))
            k = to_tokens.k_proj(queries + tokens) * _scale(to_tokens)
            if shared:
                likeness = _likeness_of_shared(to_tokens, k, side, cells)
                cells = _changed(side.cells, cells)
            else:
                likeness = _likeness_of_cells(to_tokens, k, cells, self._position)
            cells = _with_tokens(layer, cells, likeness, queries)
        queries, tokens = queries[:, wanted], tokens[:, wanted]
        transformer = self._masks.transformer
        found = _to_cells(transformer.final_attn_token_to_image, queries + tokens, cells, self._position)
        return transformer.norm_final_attn(queries + found), cells


def _changed(shared: Tensor, changes: list[Change | None]) -> Tensor:
    """The cells (B, N, C) of each prompt set."""
    if not any(changes):
        return shared.expand(len(changes), -1, -1)
    cells = shared.repeat(len(changes), 1, 1)
    for own, change in zip(cells, changes, strict=True):
        own.index_add_(0, change.index, change.by)
    return cells


def _in_rows(image: Tensor) -> Tensor:
    """(B, C, H, W) to (B, N, C)."""
    return image.flatten(2).transpose(1, 2).contiguous()


def _in_heads(x: Tensor, attention: Attention) -> Tensor:
    """(..., n, h * c) to (..., h, n, c)."""
    return x.unflatten(-1, (attention.num_heads, -1)).transpose(-3, -2).contiguous()


def _fold(x: Tensor, weight: Tensor, attention: Attention) -> Tensor:
    """Multiply projected tokens (B, T, h * c) into a matrix (h * c, C), head by head: (B, h * T, C)."""
    heads = x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
    return (heads @ _by_head(weight, attention)).flatten(1, 2)


def _by_head(weight: Tensor, attention: Attention) -> Tensor:
    """A projection's matrix (h * c, C) as (h, c, C)."""
    return weight.unflatten(0, (attention.num_heads, -1))


def _scale(attention: Attention) -> float:
    return 1 / math.sqrt(attention.internal_dim // attention.num_heads)


def _among_tokens(layer: TwoWayAttentionBlock, queries: Tensor, tokens: Tensor) -> Tensor:
    """The layer's attention of tokens to each other, with what it is added to."""
    if layer.skip_first_layer_pe:
        return layer.self_attn(q=queries, k=queries, v=queries)
    asked = queries + tokens
    return queries + layer.self_attn(q=asked, k=asked, v=queries)


def _to_shared(attention: Attention, asked: Tensor, side: ImageSide, changes: list[Change | None]) -> Tensor:
    """Tokens (B, T, C) attend to cells that all prompts share but for their changes."""
    batch = len(asked)
    q = attention.q_proj(asked) * _scale(attention)
    likeness = _in_heads(q.flatten(0, 1), attention) @ side.keys.transpose(1, 2)
    likeness = likeness.unflatten(1, (batch, -1))  # (h, B, T, N)
    _add_changes(likeness, q, attention.k_proj, attention, changes)
    weights = torch.softmax(likeness, dim=-1)
    found = (weights.flatten(1, 2) @ side.values).unflatten(1, (batch, -1))  # (h, B, T, c)
    for number, change in enumerate(changes):
        if change is not None:
            met = weights[:, number][..., change.index] @ change.by  # (h, T, C)
            found[:, number] += met @ _by_head(attention.v_proj.weight, attention).transpose(1, 2)
    return attention.out_proj(found.permute(1, 2, 0, 3).flatten(2))


def _add_changes(
    likeness: Tensor, x: Tensor, projection: nn.Linear, attention: Attention, changes: list[Change | None]
) -> None:
    """Add what the changed cells' projection adds to the likeness (h, B, T, N) of tokens x (B, T, h * c)."""
    if not any(changes):
        return
    folded = _fold(x, projection.weight, attention).unflatten(1, (attention.num_heads, -1))
    for number, (own, change) in enumerate(zip(folded, changes, strict=True)):
        likeness[:, number].index_add_(-1, change.index, own @ change.by.t())


def _to_cells(attention: Attention, asked: Tensor, cells: Tensor, position: Tensor) -> Tensor:
    """Tokens (B, T, C) attend to cells (B, N, C) at their positions (N, C).

    The keys' bias is left out: it adds the same to all cells, which the softmax takes away.
    """
    q = attention.q_proj(asked) * _scale(attention)
    folded = _fold(q, attention.k_proj.weight, attention)
    weights = torch.softmax(_product_with_placed(folded, cells, position), dim=-1)
    met = times(weights, cells).unflatten(1, (attention.num_heads, -1))  # (B, h, T, C)
    found = met @ _by_head(attention.v_proj.weight, attention).transpose(1, 2)
    found = found.transpose(1, 2).flatten(2)
    return attention.out_proj(found + attention.v_proj.bias)


def _product_with_placed(folded: Tensor, cells: Tensor, position: Tensor) -> Tensor:
    """Products (B, R, N) of rows (B, R, C) with cells (B, N, C) to which their positions (N, C) are added."""
    products = folded.new_empty(*folded.shape[:2], cells.shape[1])
    for sets, part in _parts(cells):
        placed = cells[sets, part] + position[part]
        products[sets, :, part] = times(folded[sets], placed.transpose(1, 2))
    return products


def _parts(cells: Tensor) -> list[Part]:
    """Prompt sets and cells of (B, N, C) in parts for a processor's cache; whole on a graphics card."""
    batch, count, channels = cells.shape
    if cells.device.type != "cpu":
        return [(slice(None), slice(None))]
    together = TOGETHER // channels
    return [
        (slice(one, one + 1), slice(start, start + together))
        for one in range(batch)
        for start in range(0, count, together)
    ]


def _likeness_of_shared(
    attention: Attention, k: Tensor, side: ImageSide, changes: list[Change | None]
) -> Tensor:
    """Of cells to tokens with keys k (B, T, h * c), before the softmax: (B, h, T, N)."""
    likeness = _in_heads(k.flatten(0, 1), attention) @ side.queries.transpose(1, 2)
    likeness = likeness.unflatten(1, (len(k), -1))
    _add_changes(likeness, k, attention.q_proj, attention, changes)
    return likeness.transpose(0, 1)


def _likeness_of_cells(attention: Attention, k: Tensor, cells: Tensor, position: Tensor) -> Tensor:
    """As :func:`_likeness_of_shared`, for each prompt set's own cells (B, N, C) at their positions (N, C)."""
    bias = _in_heads(k, attention) @ attention.q_proj.bias.view(attention.num_heads, -1, 1)  # (B, h, T, 1)
    folded = _fold(k, attention.q_proj.weight, attention)
    likeness = _product_with_placed(folded, cells, position)
    return likeness.view(*bias.shape[:3], -1).add_(bias)


def _with_tokens(layer: TwoWayAttentionBlock, cells: Tensor, likeness: Tensor, queries: Tensor) -> Tensor:
    """Cells (B, N, C) with what they take from the tokens (B, T, C) added, normed."""
    attention = layer.cross_attn_image_to_token
    values = _fold(attention.v_proj(queries), attention.out_proj.weight.t(), attention)
    # a head's weights sum to 1, so what is added to all values of one head is added once
    values[:, : queries.shape[1]] += attention.out_proj.bias
    changed = cells.new_empty(cells.shape)
    for sets, part in _parts(cells):
        weights = torch.softmax(likeness[sets, ..., part], dim=2).flatten(1, 2)
        added = plus_times(cells[sets, part], weights.transpose(1, 2), values[sets])
        changed[sets, part] = layer.norm4(added)
    return changed


def _as_product(convolution: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A transposed convolution of stride and kernel 2 as matrix (4 * out, in) and bias (4 * out)."""
    matrix = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return matrix.contiguous(), convolution.bias.repeat(4)
