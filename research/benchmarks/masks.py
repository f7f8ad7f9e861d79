"""SAM's coarse logits as masks in canvas pixels, and instances on one label image."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from core.sam.geometry import LOGIT_STRIDE


def canvas_masks(logits: np.ndarray, shape_canvas: tuple[int, int]) -> np.ndarray:
    """Threshold logits of shape (R, 256, 256) on canvas pixels, as SAM does: bilinear, above 0.

    Returns
    -------
    ndarray of bool, shape (R, H, W)
    """
    size = (logits.shape[-2] * LOGIT_STRIDE, logits.shape[-1] * LOGIT_STRIDE)
    large = torch.nn.functional.interpolate(
        torch.as_tensor(logits)[:, None], size, mode="bilinear", align_corners=False
    )
    return (large[:, 0, : shape_canvas[0], : shape_canvas[1]] > 0).numpy()


def bounds(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 of a mask in pixels, the far edges counted in; None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def smoothed(mask: np.ndarray, radius: int) -> np.ndarray:
    """Open, then close with a disc of this radius, as the pipeline does with its votes."""
    box = bounds(mask)
    if box is None:
        return mask
    x0, y0, x1, y1 = box
    margin = radius + 1
    part = np.s_[max(y0 - margin, 0) : y1 + margin, max(x0 - margin, 0) : x1 + margin]
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = x**2 + y**2 <= radius**2
    padded = np.pad(mask[part], margin, mode="edge")  # else the tile's border would be eaten
    padded = ndimage.binary_closing(ndimage.binary_opening(padded, disc), disc)
    result = np.zeros_like(mask)
    result[part] = padded[margin:-margin, margin:-margin]
    return result


def parted(labels: np.ndarray) -> np.ndarray:
    """Pixels of a label image's objects, one pixel of gap where two of them touch.

    The pipeline's tracing joins what is connected; the gap keeps instances apart.
    """
    found = labels > 0
    for axis in (0, 1):
        first = [slice(None)] * 2
        second = [slice(None)] * 2
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        here, there = labels[tuple(first)], labels[tuple(second)]
        found[tuple(first)] &= ~((here > 0) & (there > 0) & (here != there))
    return found
