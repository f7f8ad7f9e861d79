"""What SAM answers: the embedding of a canvas, and the masks of decoded prompt sets."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

ANSWERS = ("classes", "borders", "reach")  # what some networks' embeddings hold beside the features


@dataclasses.dataclass(frozen=True)
class Embedding:
    """A canvas as SAM's encoder sees it.

    Attributes
    ----------
    features : Tensor, shape (1, C, 64, 64)
        One cell per 16 x 16 canvas pixels; cells beyond the canvas are padding.
    shape_canvas : tuple of int
        Height and width of the canvas in pixels.
    classes : ndarray of float32, shape (C, 256, 256), optional
        Probability of each class that the network knows, the first being
        anything else, at stride 4, from networks that answer it.
    borders : ndarray of float32, shape (256, 256), optional
        Probability that an object ends there, likewise.
    reach : ndarray of float32, shape (4, 128, 128), optional
        How far the object there reaches to the left, up, to the right and down,
        in canvas pixels, at stride 8, from networks that answer it.
    """

    features: torch.Tensor
    shape_canvas: tuple[int, int]
    classes: np.ndarray | None = None
    borders: np.ndarray | None = None
    reach: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Decoded:
    """What SAM answered to a batch of prompt sets.

    Attributes
    ----------
    logits : ndarray of float32, shape (R, K, 256, 256)
        Masks before thresholding at 0; one pixel per 4 x 4 canvas pixels.
        K is 1, or 3 with ``multimask``. Of a part of the canvas: its pixels only.
    iou_pred : ndarray of float32, shape (R, K)
        The network's own estimate of each mask's IoU: SAM's, read before a mask is
        drawn; corrected where the network has a head for that and the whole was drawn.
    kept : ndarray of int64, shape (M, 2), optional
        Where only some masks were asked for: the prompt set and the number of
        each, best first. ``logits`` are (M, 1, ...) and ``iou_pred`` (M, 1) then.
    """

    logits: np.ndarray
    iou_pred: np.ndarray
    kept: np.ndarray | None = None
