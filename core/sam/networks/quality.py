"""How good a drawn mask is: SAM's own estimate, corrected by features of the mask.

SAM reads a mask's predicted IoU from a token, before the mask is drawn. Its
automatic mask generator therefore filters by a second figure too, the stability
of the drawn mask. Here both make one estimate, with what else tells of a mask's
quality: whether its outline runs where the network sees borders, and whether it
reaches as far as the box head says that an object reaches there.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.sam.boxes import boxes_of

STABLE = 1.0  # as segment-anything's ``stability_score_offset``: logits this far from the threshold
CLOSEST = 0.02  # to 0 and 1: what goes through the logit
PREFIX = "quality_head."  # what the names of its weights begin with in a file
N_FEATURES = 9  # what :func:`mask_features` gives of a mask
HIDDEN = 16


@dataclasses.dataclass(frozen=True)
class Scene:
    """What the network's other heads say of the image that masks are drawn on.

    Attributes
    ----------
    objects : Tensor, shape (h, w)
        Probability that an object of any kind that it knows lies there; one pixel
        per 4 x 4 canvas pixels, as masks' logits.
    borders : Tensor, shape (h, w)
        Probability that an object ends there.
    boxes : Tensor, shape (4, h / 2, w / 2)
        The box x0, y0, x1, y1 of the object there, in canvas pixels; uneven
        sides are rounded up.
    """

    objects: Tensor
    borders: Tensor
    boxes: Tensor

    @classmethod
    def of(cls, classes: Tensor, borders: Tensor, reach: Tensor, shape: tuple[int, int]) -> Scene:
        """From the heads' answers (3, H, W), (H, W) and (4, H / 2, W / 2), cut to masks' ``shape``."""
        height, width = shape
        boxes = torch.from_numpy(boxes_of(reach.cpu().numpy())).to(reach)
        return cls(
            1 - classes[0, :height, :width],
            borders[:height, :width],
            boxes[:, : -(-height // 2), : -(-width // 2)],
        )


class QualityHead(nn.Module):
    """Predicted IoU of drawn masks: two small layers on :func:`mask_features`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(N_FEATURES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))

    def forward(self, iou_pred: Tensor, logits: Tensor, scene: Scene) -> Tensor:
        """Predicted IoU (...), 0 to 1, from SAM's (...) and its masks' logits (..., h, w)."""
        return self.judge(mask_features(iou_pred, logits, scene))

    def judge(self, figures: Tensor) -> Tensor:
        """Predicted IoU (...) from what :func:`mask_features` gave (..., ``N_FEATURES``)."""
        return self.layers(figures)[..., 0].sigmoid()


def mask_features(iou_pred: Tensor, logits: Tensor, scene: Scene) -> Tensor:
    """What tells of a mask's quality.

    Parameters
    ----------
    iou_pred : Tensor, shape (...)
        SAM's estimate.
    logits : Tensor, shape (..., h, w)
        One pixel per 4 x 4 canvas pixels.
    scene : Scene

    Returns
    -------
    Tensor, shape (..., 9)
        The logarithm of the mask's area in logit pixels, and as logits: SAM's
        estimate, the stability (IoU of the masks at logits of plus and minus
        ``STABLE``), the mean probability inside the mask, objects inside it and
        in the two pixels around it, borders on its outline and inside it, and the
        mean IoU of its bounding box with the boxes seen from inside it.
    """
    mask = logits > 0
    core = ~_dilated(~mask, 1)
    deep, around = ~_dilated(~core, 1), _dilated(mask, 2) & ~mask
    inside = mask.to(logits.dtype)
    stability = (logits > STABLE).sum((-2, -1)) / (logits > -STABLE).sum((-2, -1)).clamp(min=1)
    shares = [
        iou_pred,
        stability,
        _mean(logits.sigmoid(), inside),
        _mean(scene.objects, inside),
        _mean(scene.objects, around),
        _mean(scene.borders, mask & ~core),
        _mean(scene.borders, deep),
        _box_agreement(mask, scene.boxes),
    ]
    area = (inside.sum((-2, -1)) + 1).log()
    return torch.cat([area[..., None], torch.stack(shares, -1).clamp(CLOSEST, 1 - CLOSEST).logit()], dim=-1)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over the last two dimensions; 0 where nothing weighs."""
    return (values * weights).sum((-2, -1)) / weights.sum((-2, -1)).clamp(min=1)


def _dilated(mask: Tensor, radius: int) -> Tensor:
    """Masks (..., h, w) of bool grown by a square; beyond the image lies nothing."""
    for along in (-2, -1):
        grown, length = mask.clone(), mask.shape[along]
        for step in range(1, min(radius, length - 1) + 1):  # pooling takes many times as long
            rest = length - step
            grown.narrow(along, step, rest).logical_or_(mask.narrow(along, 0, rest))
            grown.narrow(along, 0, rest).logical_or_(mask.narrow(along, step, rest))
        mask = grown
    return mask


def _box_agreement(mask: Tensor, boxes: Tensor) -> Tensor:
    """Mean IoU (...) of the bounding boxes of masks (..., h, w) with the boxes seen from inside them."""
    near = mask.to(boxes.dtype).reshape(-1, 1, *mask.shape[-2:])
    near = (F.avg_pool2d(near, 2, ceil_mode=True) > 0.5).reshape(*mask.shape[:-2], *boxes.shape[1:])
    x0, x1 = _extent(mask.any(-2))
    y0, y1 = _extent(mask.any(-1))
    left, top, right, bottom = (side[..., None, None] for side in (x0, y0, x1, y1))
    width = (torch.minimum(boxes[2], right) - torch.maximum(boxes[0], left)).clamp(min=0)
    height = (torch.minimum(boxes[3], bottom) - torch.maximum(boxes[1], top)).clamp(min=0)
    seen = (boxes[2] - boxes[0]) * (boxes[3] - boxes[1])
    own = (right - left) * (bottom - top)
    shared = width * height
    return _mean(shared / (seen + own - shared).clamp(min=1), near.to(boxes.dtype))


def _extent(there: Tensor) -> tuple[Tensor, Tensor]:
    """First and one past the last true place of (..., n), in canvas pixels."""
    whole = there.to(torch.uint8)
    last = there.shape[-1] - whole.flip(-1).argmax(-1)
    return whole.argmax(-1).float() * 4, last.float() * 4
