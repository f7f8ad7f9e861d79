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

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torchvision.ops import nms

from core.canvas.stitch import FILL
from core.sam.segmenter import LOGIT_STRIDE, Segmenter

POINTS_PER_SIDE = 16  # of the grid, as in the paper
MOST_OVERLAP = 0.7  # IoU of two masks' boxes from which on the lesser is a duplicate, as in the paper
POINTS_TOGETHER = 32  # decoded before their empty masks are thrown away
SOBEL_STEP = 4.0  # what Sobel's kernel answers to a step from 0 to 1
MARGIN = 2 * LOGIT_STRIDE  # canvas pixels beside missing data without edges: a mask's outline there is vague

WIDTH = 1.5  # canvas pixels: edges closer than about twice that become one
HALO = 6  # canvas pixels that a thinned pixel depends on, in all directions
SHIFT = 0.02  # canvas pixels


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
    embedding = segmenter.encode(np.where(valid[..., None], image, np.uint8(FILL)))
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
        along = (logits > 0).any(3 - axis)
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


@dataclasses.dataclass(frozen=True)
class Crests:
    """The pixels that thinning leaves, row by row.

    Attributes
    ----------
    rows, columns : ndarray of int
    strength : ndarray of float32
        As it was before thinning.
    x, y : ndarray of float64
        Where within or beside its pixel the crest runs: continuous pixel
        coordinates, half a pixel from the centre at most.
    """

    rows: np.ndarray
    columns: np.ndarray
    strength: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def joined(cls, parts: list[Crests]) -> Crests:
        """Put the pixels of several pieces into one; of none, an empty one."""
        fields = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts] or [[]]) for name in fields))

    def where(self, kept: np.ndarray) -> Crests:
        """Those that an array of bool says."""
        return Crests(*(getattr(self, field.name)[kept] for field in dataclasses.fields(self)))

    def moved(self, columns: int, rows: int) -> Crests:
        """The same in a frame whose origin lies this many pixels further left and up."""
        return Crests(
            self.rows + rows, self.columns + columns, self.strength, self.x + columns, self.y + rows
        )

    def within(self, left: int, top: int, width: int, height: int) -> Crests:
        """Those in a box of the frame, in the frame of that box."""
        inside = (self.columns >= left) & (self.columns < left + width)
        inside &= (self.rows >= top) & (self.rows < top + height)
        return self.where(inside).moved(-left, -top)


def crests(strength: np.ndarray) -> Crests:
    """Thin edges to one pixel: non-maximum suppression across their direction.

    The paper thins with Canny's suppression, which reads the direction off a
    picture's gradient. Strength is a ridge, not a picture, so direction and top
    come from its derivatives, after Steger, *An Unbiased Detector of Curvilinear
    Structures* (1998); no value between pixels is needed, and none is guessed.

    Parameters
    ----------
    strength : ndarray of float32, shape (H, W)
        A pixel depends on no pixel further away than ``HALO``.
    """
    rows, columns = np.nonzero(strength > 0)
    value, y, x, yy, xx, xy = (
        ndimage.gaussian_filter(strength, WIDTH, order=order, mode="constant", radius=HALO)[rows, columns]
        for order in (0, (1, 0), (0, 1), (2, 0), (0, 2), (1, 1))
    )
    # Across the crest: the way in which strength bends down most, always the same of its two ways.
    across = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    dx, dy = np.cos(across), np.sin(across)
    turned = np.where((dx < -1e-6) | ((np.abs(dx) <= 1e-6) & (dy < 0)), -1.0, 1.0)
    dx, dy = dx * turned, dy * turned
    # The way to the top in pixels, as if the logarithm were a parabola: of a blurred line it is one.
    slope = (x * dx + y * dy) / value
    bend = (xx * dx * dx + 2 * xy * dx * dy + yy * dy * dy) / value - slope**2
    top = -slope / np.where(bend < 0, bend, -np.inf)
    # One pixel per row or column that the crest crosses: the one within whose half pixel it crosses it.
    # The limits are shifted a little: an outline's two pixels are equal, and rounding must not choose.
    half = 0.5 * np.maximum(np.abs(dx), np.abs(dy))
    kept = (bend < 0) & (top > SHIFT - half) & (top <= SHIFT + half)
    rows, columns, top, dx, dy = rows[kept], columns[kept], top[kept], dx[kept], dy[kept]
    return Crests(
        rows,
        columns,
        strength[rows, columns],
        columns + 0.5 + top * dx,
        rows + 0.5 + top * dy,
    )


def thinned(strength: np.ndarray) -> np.ndarray:
    """Strength on the crests, 0 elsewhere; shape as given."""
    found = crests(strength)
    thin = np.zeros_like(strength)
    thin[found.rows, found.columns] = found.strength
    return thin
