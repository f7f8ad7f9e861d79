"""The embedded model in training: prompts on parts of the canvas, all four masks, losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional as F

from core.sam.boxes import boxes_at
from core.sam.geometry import CELL
from core.sam.networks.embedded import WIDTH, BoxHead, SemanticHead, build_embedded
from core.sam.networks.quality import Scene

FOCAL_WEIGHT = 10.0
FOCAL_POWER = 1.0  # SAM: 2; but votes are averages of many runs, which need decided masks
GROUP_TOKEN = 0
BOUNDARY = 3  # channel of the semantic head
TOUCHING = 6.0  # further weight of boundaries between touching objects: rare, and all that tells these apart


@dataclass
class Prompts:
    """Prompt sets in canvas pixels: points (P, N, 2), labels (P, N), boxes (P, 4) or None, masks or None."""

    points: Tensor | None
    labels: Tensor | None
    boxes: Tensor | None = None
    masks: Tensor | None = None


class Trainee(nn.Module):
    """The model and the head that only training uses.

    Parameters
    ----------
    half : bool
        Multiply in bfloat16 (weights, losses, gradients of weights and the sum of
        the encoder's scales stay float32): half as fast again on processors with
        AVX-512 BF16, slower on others.
    """

    def __init__(self, half: bool = False) -> None:
        super().__init__()
        self.half = half
        self.sam: Sam = build_embedded()
        # depthwise convolutions are a quarter faster this way on a processor
        self.sam.image_encoder.to(memory_format=torch.channels_last)
        self.head = SemanticHead()
        self.box_head = BoxHead().to(memory_format=torch.channels_last)
        for module in self.stem():
            module.requires_grad_(False)
        if half:
            for module in self.sam.image_encoder.modules():
                if isinstance(module, nn.Conv2d) and module.groups > 1 and module.kernel_size[0] > 3:
                    _keep_single(module)

    def stem(self) -> list[nn.Module]:
        """The backbone's first layers: costly at their size, and general enough as they come."""
        backbone = self.sam.image_encoder.backbone
        return [backbone.conv_stem, backbone.bn1, *backbone.blocks[:2]]

    def learn_encoder(self, learns: bool) -> None:
        """Whether the encoder learns, but for its stem; without it a step takes half the time."""
        self.sam.image_encoder.requires_grad_(learns)
        for module in self.stem():
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> Trainee:
        """As ever, but the stem stays as it came, its statistics too."""
        super().train(mode)
        for module in self.stem():
            module.eval()
        return self

    def freeze_batch_statistics(self) -> None:
        """Training mode, but batch norms keep their running statistics: batches are one canvas here."""
        self.train()
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

    def encode(self, images: list[np.ndarray]) -> Tensor:
        """Embed uint8 images of one size, a multiple of 16."""
        stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
        normal = (stacked - self.sam.pixel_mean) / self.sam.pixel_std
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            features = self.sam.image_encoder(normal.contiguous(memory_format=torch.channels_last))
        return features.float()

    @torch.no_grad()
    def boxes_at(self, features: Tensor, points: Tensor, origin_cells: tuple[int, int] = (0, 0)) -> Tensor:
        """Boxes (P, 4) that the box head sees at points (P, 2) of one image, all in canvas pixels."""
        shift = torch.tensor([origin_cells[1], origin_cells[0]], dtype=torch.float32) * CELL
        seen = boxes_at(self.box_head(features)[0].numpy(), (points - shift).numpy() + 0.5)
        return torch.from_numpy(seen) - 0.5 + torch.cat([shift, shift])

    @torch.no_grad()
    def scene(self, features: Tensor) -> Scene:
        """What the heads say of one image, for ``core.sam.networks.quality``."""
        classes, borders = self.head.answer(features)
        reach, cells = self.box_head(features)[0], features.shape[-2:]
        return Scene.of(classes[0], borders[0, 0], reach, (cells[0] * 4, cells[1] * 4))

    def decode(
        self, features: Tensor, prompts: Prompts, origin_cells: tuple[int, int] = (0, 0)
    ) -> tuple[Tensor, Tensor]:
        """Masks (P, 4, H/4, W/4) and predicted IoU (P, 4) of one image's embedding (1, C, H/16, W/16).

        ``origin_cells`` (row, column) says where on the canvas the image lies;
        prompts are in canvas pixels.
        """
        encoder = self.sam.prompt_encoder
        cells = features.shape[-2:]
        row, column = origin_cells
        origin = (float(column * CELL), float(row * CELL))
        some = prompts.points if prompts.points is not None else prompts.boxes
        sparse = torch.empty(len(some), 0, WIDTH)
        points = None
        if prompts.points is not None:
            points = (prompts.points, prompts.labels)
            sparse = encoder._embed_points(*points, pad=prompts.boxes is None)
        if prompts.boxes is not None:
            sparse = torch.cat([sparse, encoder._embed_boxes(prompts.boxes)], dim=1)
        if prompts.masks is not None:
            dense = encoder._embed_masks(prompts.masks)
        else:
            dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(some), -1, *cells)
        dense = dense + encoder.prompt_map(encoder.draw(points, prompts.boxes, tuple(cells), origin))
        pe = encoder.get_dense_pe()[:, :, row : row + cells[0], column : column + cells[1]]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            logits, quality = self.sam.mask_decoder.predict_masks(
                image_embeddings=features,
                image_pe=pe,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
            )
        return logits.float(), quality.float()


def _keep_single(convolution: nn.Conv2d) -> None:
    """Let a layer multiply in float32 all the same: wide depthwise gradients are far slower in half."""
    forward = convolution.forward

    def single(x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return forward(x.float())

    convolution.forward = single


def shrink(mask: Tensor) -> Tensor:
    """Masks (P, H, W) as shares at stride 4."""
    return F.avg_pool2d(mask[:, None], 4)[:, 0]


def mask_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Focal plus dice loss, (P, K), of logits (P, K, h, w) against target and weight (P, h, w)."""
    target, weight = target[:, None], weight[:, None]
    cross = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
    share = logits.sigmoid()
    right = share * target + (1 - share) * (1 - target)
    area = weight.sum((-2, -1)) + 1e-3
    focal = ((1 - right) ** FOCAL_POWER * cross * weight).sum((-2, -1)) / area
    overlap = (share * target * weight).sum((-2, -1))
    dice = 1 - (2 * overlap + 1) / ((share * weight).sum((-2, -1)) + (target * weight).sum((-2, -1)) + 1)
    return FOCAL_WEIGHT * focal + dice


@torch.no_grad()
def true_iou(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """IoU (P, K) of the thresholded logits where the weight is above one half."""
    known = (weight > 0.5)[:, None]
    predicted, true = (logits > 0) & known, (target > 0.5)[:, None] & known
    union = (predicted | true).sum((-2, -1))
    # nothing to find and nothing found is right
    return torch.where(union > 0, (predicted & true).sum((-2, -1)) / union.clamp(min=1), 1.0)


def prompt_loss(
    logits: Tensor, quality: Tensor, target: Tensor, weight: Tensor, group: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean loss over prompts, and true IoU (P, 4).

    Groups ("all of these") are the first token's task; single objects are that
    token's and, best of three, the multimask tokens'.
    """
    loss = mask_loss(logits, target, weight)
    iou = true_iou(logits, target, weight)
    single = 0.7 * loss[:, GROUP_TOKEN] + loss[:, 1:].min(dim=1).values
    quality_loss = F.mse_loss(quality, iou, reduction="none")
    # a group's masks of the other tokens are nobody's task, yet their predicted IoU must be honest
    quality_loss = quality_loss[:, 0] + 0.5 * quality_loss[:, 1:].mean(dim=1)
    return (torch.where(group, 1.2 * loss[:, GROUP_TOKEN], single) + 2 * quality_loss).mean(), iou


def semantic_loss(
    output: Tensor, kinds: Tensor, boundary: Tensor, between: Tensor, weight: Tensor, buildings_only: Tensor
) -> Tensor:
    """Loss of the semantic head.

    Parameters
    ----------
    output : Tensor
        (B, 4, h, w): three classes and the boundary.
    kinds, boundary, between, weight : Tensor
        (B, h, w): class, 1 on boundaries of instances, 1 on those between two that
        touch, 0 where unknown.
    buildings_only : Tensor
        (B,) bool: vehicles are not labelled, "other" means "not a building".
    """
    log = F.log_softmax(output[:, :3], dim=1)
    log_not_building = torch.logsumexp(log[:, [0, 2]], dim=1)
    chosen = log.gather(1, kinds[:, None])[:, 0]
    merged = buildings_only[:, None, None] & (kinds == 0)
    chosen = torch.where(merged, log_not_building, chosen)
    importance = weight * torch.tensor([1.0, 1.5, 5.0])[kinds]
    classes = -(chosen * importance).sum() / (importance.sum() + 1e-3)
    edge = F.binary_cross_entropy_with_logits(
        output[:, BOUNDARY],
        boundary,
        weight=weight * (1 + 3 * boundary + TOUCHING * between),
        reduction="sum",
    ) / (weight.sum() + 1e-3)
    return classes + 0.5 * edge


def box_loss(reach: Tensor, wanted: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of the box head, and the weighted mean IoU of its boxes.

    Parameters
    ----------
    reach, wanted : Tensor
        (B, 4, h, w): distances to left, top, right and bottom, in canvas pixels.
    weight : Tensor
        (B, h, w): 0 where no object lies.
    """
    total = weight.sum() + 1e-3
    shared = torch.minimum(reach, wanted)
    overlap = (shared[:, 0] + shared[:, 2]) * (shared[:, 1] + shared[:, 3])
    areas = [(box[:, 0] + box[:, 2]) * (box[:, 1] + box[:, 3]) for box in (reach, wanted)]
    iou = overlap / (areas[0] + areas[1] - overlap)
    # IoU alone hardly tells a far too small box where to grow
    off = (reach.log() - wanted.log()).abs().mean(dim=1)
    return ((1 - iou + 0.5 * off) * weight).sum() / total, (iou.detach() * weight).sum() / total
