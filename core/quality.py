"""How good a drawn mask is: SAM's own estimate, corrected by how the mask looks.

SAM reads a mask's predicted IoU from a token, before the mask is drawn. Its
automatic mask generator therefore filters by a second figure too, the stability
of the drawn mask. Here both, and two figures more, make one estimate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STABLE = 1.0  # as segment-anything's ``stability_score_offset``: logits this far from the threshold
CLOSEST = 0.02  # to 0 and 1: what goes through the logit
PREFIX = "quality_head."  # what the names of its weights begin with in a file


class QualityHead(nn.Module):
    """Predicted IoU of drawn masks, one layer on :func:`looks`; begins as SAM's own estimate."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
            self.layer.bias.zero_()

    def forward(self, iou_pred: Tensor, logits: Tensor) -> Tensor:
        """Predicted IoU (...), 0 to 1, from SAM's (...) and its masks' logits (..., h, w)."""
        return self.judge(looks(iou_pred, logits))

    def judge(self, figures: Tensor) -> Tensor:
        """Predicted IoU (...) from what :func:`looks` gave (..., 4)."""
        return self.layer(figures)[..., 0].sigmoid()


def looks(iou_pred: Tensor, logits: Tensor) -> Tensor:
    """What tells of a mask's quality.

    Parameters
    ----------
    iou_pred : Tensor, shape (...)
        SAM's estimate.
    logits : Tensor, shape (..., h, w)
        One pixel per 4 x 4 canvas pixels.

    Returns
    -------
    Tensor, shape (..., 4)
        As logits SAM's estimate, the stability (IoU of the masks at logits of
        plus and minus ``STABLE``), and the mean probability inside the mask;
        the logarithm of its area in logit pixels.
    """
    inside = logits > 0
    area = inside.sum((-2, -1))
    stability = (logits > STABLE).sum((-2, -1)) / (logits > -STABLE).sum((-2, -1)).clamp(min=1)
    certainty = (logits.sigmoid() * inside).sum((-2, -1)) / area.clamp(min=1)
    shares = torch.stack([iou_pred, stability, certainty], dim=-1)
    return torch.cat([shares.clamp(CLOSEST, 1 - CLOSEST).logit(), (area + 1.0).log()[..., None]], dim=-1)
