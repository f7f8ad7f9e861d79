"""Between the canvas's pixels and the coarser grids of logits and embeddings; and mathematical morphology."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate

from core.sam.geometry import LOGIT_STRIDE


def to_coarse_grid(mask: np.ndarray, shape: tuple[int, int], stride: int = LOGIT_STRIDE) -> np.ndarray:
    """Share of each coarse pixel that a canvas mask covers; padding beyond the canvas is 0."""
    full = np.zeros((shape[0] * stride, shape[1] * stride), np.float32)
    full[: mask.shape[0], : mask.shape[1]] = mask
    # rows first: along them numpy adds many pixels at once
    in_rows = full.reshape(shape[0], stride, -1).sum(1)
    return in_rows.reshape(*shape, stride).sum(2) / stride**2


def to_canvas_grid(coarse: np.ndarray, shape: tuple[int, int], stride: int) -> np.ndarray:
    """Bilinear enlargement, pixel areas kept in place, cut to the canvas."""
    rows, columns = -(-shape[0] // stride) + 1, -(-shape[1] // stride) + 1
    part = torch.tensor(coarse[:rows, :columns])[None, None]  # a copy: the cache's arrays are read-only
    # torch's: the same figures as scipy's in a seventh of the time
    large = interpolate(part, scale_factor=stride, mode="bilinear", align_corners=False)
    return large[0, 0, : shape[0], : shape[1]].numpy()
