"""SAM's mask decoder with the published weights and less work, for many prompt sets on one canvas.

Same figures as segment-anything's ``MaskDecoder``, but

* what all prompts of a canvas share is computed once: the position encoding as each
  attention sees it, the dense embedding of a prompt without a mask, and the first
  layer's projections of the image's cells;
* attention between few tokens and many cells multiplies the tokens into the
  projection's matrix instead of projecting every cell (:func:`_fold`), since
  t (W x) = (t W) x; the last one is computed for those tokens only that are read;
* predicted IoU needs tokens only, so masks are drawn for those who ask for them,
  on the part of the canvas that they ask for, cell by cell as products of
  matrices (a transposed convolution whose stride is its kernel is one);
* on a processor what is done to cells is done for one prompt set after the other, so
  that a set's cells, 2 or 4 MB, are still near when the next step asks for them, and
  no step copies them together with those of other sets.

Shapes: B prompt sets, T tokens, N = H * W cells, C channels, h heads of c channels.
The cells of B prompt sets are a list: a tensor (1, N, C) for each set on a processor,
one (B, N, C) for all of them on a graphics card, which is quicker there.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from segment_anything.modeling import PromptEncoder, Sam
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

from core.sam.fast.matmul import linear, plus_times, times
from core.sam.fast.prompt_map import PromptMap
from core.sam.networks.embedded import MappedPromptEncoder

DRAWN_TOGETHER = 2048 * 256  # channels of cells: enlarged, they take eight times the memory

Part = tuple[slice, slice]  # rows and columns of cells


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
    cells : list of Tensor, shape (1, N, C) or (B, N, C)
    kernels : Tensor, shape (B, K, C / 8)
        A mask's logit is the product of its kernel with an enlarged cell.
    iou_pred : Tensor, shape (B, K)
    """

    cells: list[Tensor]
    kernels: Tensor
    iou_pred: Tensor

    def cells_of(self, number: int) -> Tensor:
        """The cells (1, N, C) of one prompt set, which hold no other set's in memory."""
        if len(self.cells) > 1 or len(self.cells[0]) == 1:
            return self.cells[number]
        return self.cells[0][number : number + 1].clone()


class Decoder:
    """The prompt encoder and mask decoder of a network whose weights no longer change."""

    def __init__(self, sam: Sam):
        self._prompts, self._masks = sam.prompt_encoder, sam.mask_decoder
        self._layers = list(sam.mask_decoder.transformer.layers)
        self._map = PromptMap(self._prompts) if isinstance(self._prompts, MappedPromptEncoder) else None
        self._position = self._prompts.get_dense_pe().flatten(2)[0].t().contiguous()
        last = sam.mask_decoder.transformer.final_attn_token_to_image
        to_image = [*(layer.cross_attn_token_to_image for layer in self._layers), last]
        to_tokens = [layer.cross_attn_image_to_token for layer in self._layers]
        self._placed = {attention: self._position_as(attention.k_proj, attention) for attention in to_image}
        self._placed |= {attention: self._position_as(attention.q_proj, attention) for attention in to_tokens}
        first, _, _, second, _ = self._masks.output_upscaling
        self._enlarge = [_as_product(first), _as_product(second)]

    def _position_as(self, projection: nn.Linear, attention: Attention) -> Tensor:
        """The cells' position encoding as an attention's projection sees it: (h, c, N)."""
        return _in_heads(projection(self._position), attention).transpose(1, 2).contiguous()

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
        sparse, cells, changes = self._embed(side, points, boxes, masks)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        numbers = range(1, decoder.num_mask_tokens) if multimask else range(1)
        wanted = [0, *(1 + number for number in numbers)]
        answers, cells = self._transform(side, tokens, cells, changes, wanted)
        kernels = [
            decoder.output_hypernetworks_mlps[number](answers[:, 1 + place])
            for place, number in enumerate(numbers)
        ]
        iou_pred = decoder.iou_prediction_head(answers[:, 0])[:, list(numbers)]
        return Read(cells, torch.stack(kernels, dim=1), iou_pred)

    def draw(self, cells: list[Tensor], kernels: Tensor, part: Part) -> Tensor:
        """Masks of prompt sets on a part of the embedding.

        Parameters
        ----------
        cells : list of Tensor
            As in :class:`Read`.
        kernels : Tensor, shape (B, K, C / 8)
        part : tuple of slice
            Rows and columns of cells.

        Returns
        -------
        Tensor, shape (B, K, 4 * rows, 4 * columns)
            Logits.
        """
        height, width = self._prompts.image_embedding_size
        logits, sets = [], (one for some in cells for one in some)
        for one, kernel in zip(sets, kernels, strict=True):
            chosen = one.view(height, width, -1)[part]
            rows, columns, channels = chosen.shape
            pieces = chosen.reshape(rows * columns, channels).split(DRAWN_TOGETHER // channels)
            logits += [self._enlarged(piece) @ kernel.t() for piece in pieces]
        # rows of cells, each with 2 x 2 quarters of 2 x 2 pixels
        drawn = torch.cat(logits).view(len(kernels), rows, columns, 2, 2, 2, 2, kernels.shape[1])
        return drawn.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(len(kernels), -1, 4 * rows, 4 * columns)

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
    ) -> tuple[Tensor, list[Tensor] | None, list[Change | None]]:
        """Prompt tokens (B, T, C), and the cells; None for those all share, with what changes of them."""
        known = type(self._prompts) in (PromptEncoder, MappedPromptEncoder)
        if not known or masks is not None or (points is None and boxes is None):
            sparse, dense = self._prompts(points, boxes, masks)
            cells = _in_rows(side.features + dense)
            return sparse, [cells[sets] for sets in _groups(cells)], []
        sparse, _ = PromptEncoder.forward(self._prompts, points, boxes, None)
        if self._map is None:
            return sparse, None, [None] * len(sparse)
        index, by = self._map.change(points, boxes)
        ends = torch.bincount(index // len(side.cells), minlength=len(sparse)).tolist()
        pairs = zip((index % len(side.cells)).split(ends), by.split(ends), strict=True)
        return sparse, None, [Change(*pair) for pair in pairs]

    def _transform(
        self,
        side: ImageSide,
        tokens: Tensor,
        cells: list[Tensor] | None,
        changes: list[Change | None],
        wanted: list[int],
    ) -> tuple[Tensor, list[Tensor]]:
        """The two-way transformer; gives the wanted tokens (B, W, C) and the cells."""
        queries = tokens
        for layer in self._layers:
            queries = layer.norm1(_among_tokens(layer, queries, tokens))
            to_image, to_tokens = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
            if cells is None:
                found = _to_shared(to_image, queries + tokens, side, changes)
            else:
                found = _to_cells(to_image, queries + tokens, cells, self._placed[to_image])
            queries = layer.norm2(queries + found)
            queries = layer.norm3(queries + layer.mlp(queries))
            k = to_tokens.k_proj(queries + tokens) * _scale(to_tokens)
            values = _values(to_tokens, queries)
            if cells is None:
                cells = _shared_with_tokens(layer, side, k, values, changes)
            else:
                cells = _with_tokens(layer, cells, self._placed[to_tokens], k, values)
        queries, tokens = queries[:, wanted], tokens[:, wanted]
        last = self._masks.transformer.final_attn_token_to_image
        found = _to_cells(last, queries + tokens, cells, self._placed[last])
        return self._masks.transformer.norm_final_attn(queries + found), cells


def _groups(sets: Tensor) -> list[slice]:
    """Prompt sets in the groups whose cells are handled together."""
    if sets.device.type != "cpu":
        return [slice(0, len(sets))]
    return [slice(one, one + 1) for one in range(len(sets))]


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
    q, found = attention.q_proj(asked) * _scale(attention), []
    for sets in _groups(q):
        own = changes[sets]
        weights = torch.softmax(
            _likeness_of_shared(attention, q[sets], side.keys, attention.k_proj, own), dim=-1
        )
        some = (weights.flatten(1, 2) @ side.values).unflatten(1, (len(own), -1))  # (h, b, T, c)
        for number, change in enumerate(own):
            if change is not None:
                met = weights[:, number][..., change.index] @ change.by  # (h, T, C)
                some[:, number] += met @ _by_head(attention.v_proj.weight, attention).transpose(1, 2)
        found.append(some)
    return attention.out_proj(torch.cat(found, dim=1).permute(1, 2, 0, 3).flatten(2))


def _likeness_of_shared(
    attention: Attention, x: Tensor, cells: Tensor, projection: nn.Linear, changes: list[Change | None]
) -> Tensor:
    """Products (h, b, T, N) of tokens x (b, T, h * c) with cells (h, N, c), both projected, and changes."""
    likeness = _in_heads(x.flatten(0, 1), attention) @ cells.transpose(1, 2)
    likeness = likeness.unflatten(1, (len(x), -1))
    if any(changes):
        folded = _fold(x, projection.weight, attention).unflatten(1, (attention.num_heads, -1))
        for number, (own, change) in enumerate(zip(folded, changes, strict=True)):
            likeness[:, number].index_add_(-1, change.index, own @ change.by.t())
    return likeness


def _to_cells(attention: Attention, asked: Tensor, cells: list[Tensor], position: Tensor) -> Tensor:
    """Tokens (B, T, C) attend to cells at their positions, as the keys see those: (h, c, N)."""
    q, met = attention.q_proj(asked) * _scale(attention), []
    for sets, some in zip(_groups(q), cells, strict=True):
        likeness = _likeness(attention, q[sets], some, attention.k_proj, position)
        met.append(times(torch.softmax(likeness, dim=-1), some))
    by_head = torch.cat(met).unflatten(1, (attention.num_heads, -1))  # (B, h, T, C)
    found = by_head @ _by_head(attention.v_proj.weight, attention).transpose(1, 2)
    found = found.transpose(1, 2).flatten(2)
    return attention.out_proj(found + attention.v_proj.bias)


def _values(attention: Attention, queries: Tensor) -> Tensor:
    """What cells take from tokens (B, T, C), head by head: (B, h * T, C)."""
    values = _fold(attention.v_proj(queries), attention.out_proj.weight.t(), attention)
    # a head's weights sum to 1, so what is added to all values of one head is added once
    values[:, : queries.shape[1]] += attention.out_proj.bias
    return values


def _shared_with_tokens(
    layer: TwoWayAttentionBlock, side: ImageSide, k: Tensor, values: Tensor, changes: list[Change | None]
) -> list[Tensor]:
    """As :func:`_with_tokens`, of cells that all prompts share but for their changes."""
    attention, taken = layer.cross_attn_image_to_token, []
    for sets in _groups(k):
        own = changes[sets]
        likeness = _likeness_of_shared(attention, k[sets], side.queries, attention.q_proj, own)
        weights = torch.softmax(likeness, dim=2).transpose(0, 1).flatten(1, 2)
        added = plus_times(side.cells.expand(len(own), -1, -1), weights.transpose(1, 2), values[sets])
        for one, change in zip(added, own, strict=True):
            if change is not None:
                one.index_add_(0, change.index, change.by)
        taken.append(layer.norm4(added))
    return taken


def _with_tokens(
    layer: TwoWayAttentionBlock, cells: list[Tensor], position: Tensor, k: Tensor, values: Tensor
) -> list[Tensor]:
    """Cells with what they take from tokens added, normed.

    Positions are (h, c, N), as the queries see them. The tokens' keys are (B, T, h * c), their
    values (B, h * T, C).
    """
    attention, taken = layer.cross_attn_image_to_token, []
    for sets, some in zip(_groups(k), cells, strict=True):
        likeness = _likeness(attention, k[sets], some, attention.q_proj, position)
        weights = torch.softmax(likeness.unflatten(1, (attention.num_heads, -1)), dim=2).flatten(1, 2)
        taken.append(layer.norm4(plus_times(some, weights.transpose(1, 2), values[sets])))
    return taken


def _likeness(
    attention: Attention, x: Tensor, cells: Tensor, projection: nn.Linear, position: Tensor
) -> Tensor:
    """Products (b, h * T, N) of tokens x (b, T, h * c) with projected cells (b, N, C) at their positions.

    The tokens are projected already, and so are the positions (h, c, N), with the projection's bias.
    """
    placed = _in_heads(x, attention) @ position
    return plus_times(placed.flatten(1, 2), _fold(x, projection.weight, attention), cells.transpose(1, 2))


def _as_product(convolution: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A transposed convolution of stride and kernel 2 as matrix (4 * out, in) and bias (4 * out)."""
    matrix = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return matrix.contiguous(), convolution.bias.repeat(4)
