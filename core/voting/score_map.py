"""What one tile holds on the way from many runs to single objects: a score map, then a segmentation."""

from __future__ import annotations

import dataclasses

import numpy as np

from core.voting.thresholding import above_threshold


@dataclasses.dataclass(frozen=True)
class ScoreMap:
    """What the runs agree on for every pixel of the query tile, and what the network's own heads say there.

    Attributes
    ----------
    score : ndarray of float32, shape (h, w)
        Confidence-weighted mean probability as a share of ``on_example``, 0 to 1:
        1 is as sure as the example itself.
    on_example : float
        Mean probability inside the example, before it became the measure of ``score``.
    similarity : ndarray of float32, shape (h, w)
        Cosine of SAM's embedding to the example's mean embedding.
    iou_pred : float
        Mean predicted IoU of the runs that were kept.
    boundary : ndarray of float32, shape (h, w), optional
        Boundary probability: that an object ends there, from networks that answer it.
    reach : ndarray of float32, shape (4, h / 8, w / 8), optional
        Distances to the sides of the box of the object there (``core.sam.boxes``), from networks
        that answer it.
    class_probability : ndarray of float32, shape (h, w), optional
        Probability of the class that the network takes the example for, from networks that
        know classes, where they know the example's.
    """

    score: np.ndarray
    on_example: float
    similarity: np.ndarray
    iou_pred: float
    boundary: np.ndarray | None = None
    reach: np.ndarray | None = None
    class_probability: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """The objects of one tile, in its pixels.

    Attributes
    ----------
    score : ndarray of float32, shape (h, w)
        As in :class:`ScoreMap`.
    found : ndarray of bool, shape (h, w)
        Pixels above the threshold, smoothed.
    similarity : ndarray of float32, shape (h, w)
    iou_pred : float
    objects : ndarray of int32, shape (h, w), optional
        Numbers of single objects where something is found, 0 elsewhere;
        without it every connected patch is one object.
    match_probability : ndarray of float32, shape (N + 1,), optional
        Of each object, by its number, the probability that it is one like the example
        (``core.instances.scoring``); without it the mean score tells.
    """

    score: np.ndarray
    found: np.ndarray
    similarity: np.ndarray
    iou_pred: float
    objects: np.ndarray | None = None
    match_probability: np.ndarray | None = None

    def pixel_scores(self, where: np.ndarray | tuple[slice, ...]) -> np.ndarray:
        """Scores of some pixels: their object's match probability, or else the score map's."""
        if self.match_probability is None or self.objects is None:
            return self.score[where]
        return self.match_probability[self.objects[where]]

    def score_inside(self, polygon: np.ndarray) -> float:
        """Score that a detection inside a polygon would have: of what lies above the threshold there.

        Parameters
        ----------
        polygon : ndarray of bool, shape (h, w)

        Returns
        -------
        float
            0 where nothing lies above the threshold.
        """
        inside = polygon & above_threshold(self.score)
        if self.match_probability is not None and self.objects is not None:
            inside &= self.objects > 0  # what smoothing took is no object
        found = self.pixel_scores(inside)
        return float(found.mean()) if found.size else 0.0
