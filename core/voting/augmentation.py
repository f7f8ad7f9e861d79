"""Test-time augmentation: a tile is shown in up to four mirrorings, and their score maps are averaged."""

from __future__ import annotations

import numpy as np

from core.sam import boxes
from core.voting.thresholding import above_threshold, open_and_close
from core.voting.vote import Vote

# As index of rows and columns; each undoes itself.
MIRRORINGS = [np.s_[:, :], np.s_[::-1, ::-1], np.s_[:, ::-1], np.s_[::-1, :]]


def average(
    votes: list[Vote], mirrorings: list[tuple[slice, slice]], valid: np.ndarray, smooth_px: int
) -> Vote:
    """Average the votes of one tile's mirrored showings.

    Parameters
    ----------
    votes : list of Vote
        Each in its own mirroring.
    mirrorings : list of tuple of slice
        What turns each back: a mirroring is its own inverse.
    valid : ndarray of bool, shape (h, w)
        The tile's pixels that hold data.
    smooth_px : int
        As for :func:`combine`.
    """

    def mean(arrays: list[np.ndarray]) -> np.ndarray:
        turned = [array[mirroring] for array, mirroring in zip(arrays, mirrorings, strict=True)]
        return np.mean(turned, axis=0, dtype=np.float32)

    share = mean([vote.share for vote in votes])
    return Vote(
        share=share,
        on_example=float(np.mean([vote.on_example for vote in votes])),
        found=open_and_close(above_threshold(share), smooth_px) & valid,
        similarity=mean([vote.similarity for vote in votes]),
        iou_pred=float(np.mean([vote.iou_pred for vote in votes])),
        border=None if votes[0].border is None else mean([vote.border for vote in votes]),
        reach=None if votes[0].reach is None else _mean_reach([vote.reach for vote in votes], mirrorings),
        # a showing on which the network does not know the example would speak of something else
        kind=None if any(vote.kind is None for vote in votes) else mean([vote.kind for vote in votes]),
    )


def _mean_reach(reaches: list[np.ndarray], mirrorings: list[tuple[slice, slice]]) -> np.ndarray:
    logs = [np.log(boxes.turned(*pair)) for pair in zip(reaches, mirrorings, strict=True)]
    return np.exp(np.mean(logs, axis=0, dtype=np.float32))
