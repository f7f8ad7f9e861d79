"""Zero-shot edges of one canvas, after *Segment Anything* (arXiv 2304.02643), section 7.2 and appendix D.2.

A regular grid of points, each decoded to three masks; duplicates removed by
non-maximum suppression of their boxes, nothing filtered by predicted IoU; Sobel
on each mask's probabilities, kept on the mask's outline only; the maximum over
all masks; thinned. Here all of the canvas is query: there is no example column.

Where we depart from the paper, and why:

* the paper normalises each picture to its own least and largest value. Then two
  tiles, or two extents, would give one edge two strengths. Ours is absolute:
  1 is a step from 0 to 1 between two pixels (:func:`normalised` is the paper's);
* the paper keeps the pixels on the outer side of an outline. Ours keeps those
  on both sides, so that a line is centred on the outline, not half a pixel off;
* outlines beside missing data are left out: where the image ends, no object does.

All arrays are in canvas pixels; pixel ``i`` spans ``[i, i + 1)``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torchvision.ops import nms

from core.canvas.stitch import FILL
from core.sam.geometry import LOGIT_STRIDE
from core.sam.segmenter import Segmenter

POINTS_PER_SIDE = 16  # of the grid, as in the paper
MOST_OVERLAP = 0.7  # IoU of two masks' boxes from which on the lesser is a duplicate, as in the paper
POINTS_TOGETHER = 32  # decoded before their empty masks are thrown away
SOBEL_STEP = 4.0  # what Sobel's kernel answers to a step from 0 to 1
MARGIN = 2 * LOGIT_STRIDE  # canvas pixels beside missing data without edges: a mask's outline there is vague


def edge_strength(
    segmenter: Segmenter,
    image: np.ndarray,
    valid: np.ndarray,
    cancelled: Callable[[], bool] = lambda: False,
) -> np.ndarray:
    """How strongly SAM's masks end at each pixel, before thinning.

    Parameters
    ----------
    segmenter : Segmenter
    image : ndarray of uint8, shape (H, W, 3)
        At most 1024 x 1024, sides multiples of 4.
    valid : ndarray of bool, shape (H, W)
        Where there is data.
    cancelled : callable
        Asked between two batches of prompts.

    Returns
    -------
    ndarray of float32, shape (H, W)
        0 to 1: the largest slope of any mask's probability, 1 for a step within
        one pixel.

    Raises
    ------
    CancelledError
    """
    points = grid_points(valid)
    if not len(points):
        return np.zeros(valid.shape, np.float32)
    embedding = segmenter.encode(np.where(valid[..., None], image, FILL))
    cells = np.s_[: valid.shape[0] // LOGIT_STRIDE, : valid.shape[1] // LOGIT_STRIDE]
    logits, scores = [], []
    for start in range(0, len(points), POINTS_TOGETHER):
        some = points[start : start + POINTS_TOGETHER, None]
        decoded = segmenter.decode(
            embedding, some, np.ones(some.shape[:2], int), multimask=True, cancelled=cancelled
        )
        # What SAM says of the square beyond the canvas would bend the masks at its border.
        flat = decoded.logits.reshape(-1, *decoded.logits.shape[2:])[:, cells[0], cells[1]]
        there = (flat > 0).any((1, 2))
        logits.append(flat[there])
        scores.append(decoded.iou_pred.ravel()[there])
    strength = outlines(distinct(np.concatenate(logits), np.concatenate(scores)))
    if not valid.all():
        strength[ndimage.maximum_filter(~valid, 2 * MARGIN + 1)] = 0
    return strength


def grid_points(valid: np.ndarray) -> np.ndarray:
    """The grid's points that lie on data: x, y in canvas pixels, shape (N, 2)."""
    height, width = valid.shape
    steps = (np.arange(POINTS_PER_SIDE) + 0.5) / POINTS_PER_SIDE
    points = np.stack(np.meshgrid(steps * width, steps * height), axis=-1).reshape(-1, 2)
    columns, rows = points.astype(int).T
    return points[valid[rows, columns]]


def distinct(logits: np.ndarray, iou_pred: np.ndarray) -> np.ndarray:
    """Masks without duplicates, the best first.

    Parameters
    ----------
    logits : ndarray, shape (N, h, w)
        None of them empty.
    iou_pred : ndarray, shape (N,)
    """
    if not len(logits):
        return logits
    boxes = []
    for axis in (2, 1):  # columns, then rows
        along = np.any(logits > 0, axis=3 - axis)
        boxes += [along.argmax(1), along.shape[1] - along[:, ::-1].argmax(1)]
    x0, x1, y0, y1 = boxes
    corners = torch.as_tensor(np.stack([x0, y0, x1, y1], axis=1), dtype=torch.float32)
    return logits[nms(corners, torch.as_tensor(iou_pred), MOST_OVERLAP).numpy()]


def outlines(logits: np.ndarray) -> np.ndarray:
    """The largest slope of the masks' probabilities on their own outlines.

    Parameters
    ----------
    logits : ndarray, shape (N, h, w)
        SAM's low-resolution masks, one pixel per 4 x 4 of the canvas.

    Returns
    -------
    ndarray of float32, shape (4 h, 4 w)
    """
    rows, columns = logits.shape[1:]
    strength = np.zeros((rows * LOGIT_STRIDE, columns * LOGIT_STRIDE), np.float32)
    for one in logits:
        box = ndimage.find_objects((one > 0).astype(np.int8))[0]
        # An outline lies between a cell inside and one outside: two cells more hold all of it.
        near = tuple(
            slice(max(part.start - 2, 0), min(part.stop + 2, length))
            for part, length in zip(box, (rows, columns), strict=True)
        )
        large = ndimage.zoom(one[near], LOGIT_STRIDE, order=1, mode="nearest", grid_mode=True)
        part = strength[tuple(slice(s.start * LOGIT_STRIDE, s.stop * LOGIT_STRIDE) for s in near)]
        np.maximum(part, _outline(large), out=part)
    return strength


def _outline(logits: np.ndarray) -> np.ndarray:
    probability = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    slope = np.hypot(*(ndimage.sobel(probability, axis, mode="nearest") for axis in (0, 1)))
    inside = logits > 0
    square = np.ones((3, 3), bool)
    beside = ndimage.binary_dilation(inside, square)
    beside &= ~ndimage.binary_erosion(inside, square, border_value=1)  # the canvas's border is no outline
    return np.where(beside, np.minimum(slope / SOBEL_STEP, 1), 0).astype(np.float32)


def normalised(strength: np.ndarray) -> np.ndarray:
    """The paper's scale: one picture's least value to 0, its largest to 1."""
    low, high = float(strength.min()), float(strength.max())
    return (strength - low) / (high - low) if high > low else np.zeros_like(strength)
