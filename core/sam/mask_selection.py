"""Which masks to draw: judging a run needs its tokens only, and drawing it costs up to a third of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from core.sam.fast.decoding import Part, Read


@dataclasses.dataclass(frozen=True)
class Keep:
    """A rule that says which masks to draw.

    Attributes
    ----------
    count : int
        So many at most, the best over all prompt sets.
    least : float
        None that is judged lower.
    judge : callable, optional
        ``judge(iou_pred, logits)`` gives scores (B, K) of a batch of prompt sets
        from their predicted IoU (B, K) and their masks (B, K, h, w) on
        ``seen_canvas``. Default: the predicted IoU itself, and nothing is drawn.
    seen_canvas : tuple of slice, optional
        Rows and columns of the canvas that the judge sees, as ``part_canvas`` of
        ``Segmenter.decode``. Default: all.
    """

    count: int
    least: float = -math.inf
    judge: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    seen_canvas: tuple[slice, slice] | None = None


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A mask not yet drawn: its place among runs and masks, its scores, what it is drawn from."""

    run: int
    mask: int
    score: float
    iou_pred: float
    cells: Tensor | None  # (1, N, C); only of what is kept
    kernel: Tensor  # (1, 1, C / 8)
    seen: np.ndarray | None  # (h, w), what the judge saw of it


class BestMasks:
    """The best masks of the batches so far, so that no more cells than theirs are held."""

    def __init__(self, keep: Keep):
        self._keep = keep
        self.kept: list[Candidate] = []

    def add(self, first_run: int, read: Read, seen: np.ndarray | None) -> None:
        """Add a batch of prompt sets, the first of which has this number; earlier ones go first."""
        iou_pred = read.iou_pred.float().cpu().numpy()
        scores = iou_pred if seen is None else self._keep.judge(iou_pred, seen)
        candidates = [
            Candidate(
                run=first_run + int(row),
                mask=int(mask),
                score=float(scores[row, mask]),
                iou_pred=float(iou_pred[row, mask]),
                cells=None,
                kernel=read.kernels[row : row + 1, mask : mask + 1],
                seen=None if seen is None else seen[row, mask],
            )
            for row, mask in np.argwhere(scores >= self._keep.least)
        ]
        best = sorted(self.kept + candidates, key=lambda one: -one.score)[: self._keep.count]
        cells = {one.run: read.cells_of(one.run - first_run) for one in best if one.run >= first_run}
        # a copy of what the judge saw, since a part would hold the memory of its whole batch
        self.kept = [
            dataclasses.replace(one, cells=cells[one.run], seen=None if seen is None else one.seen.copy())
            if one.run >= first_run
            else one
            for one in best
        ]


def undrawn(part: Part, seen: Part | None) -> Part | None:
    """What of a part lies to the right of what the judge saw; None where that is not the part's left end."""
    if seen is None or seen[0] != part[0] or seen[1].start != part[1].start or seen[1].stop >= part[1].stop:
        return None
    return part[0], slice(seen[1].stop, part[1].stop)
