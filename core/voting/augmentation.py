"""Test-time augmentation: a tile is shown in up to four mirrorings, and their score maps are averaged."""

from __future__ import annotations

import numpy as np

from core.sam import boxes
from core.voting.score_map import ScoreMap

Mirroring = tuple[slice, slice]  # as index of rows and columns; each undoes itself

MIRRORINGS: list[Mirroring] = [np.s_[:, :], np.s_[::-1, ::-1], np.s_[:, ::-1], np.s_[::-1, :]]


def average(score_maps: list[ScoreMap], mirrorings: list[Mirroring]) -> ScoreMap:
    """Average the score maps of one tile's augmented views.

    Parameters
    ----------
    score_maps : list of ScoreMap
        Each in its own mirroring.
    mirrorings : list of tuple of slice
        What turns each back: a mirroring is its own inverse.
    """

    def mean(arrays: list[np.ndarray]) -> np.ndarray:
        turned = [array[mirroring] for array, mirroring in zip(arrays, mirrorings, strict=True)]
        return np.asarray(np.mean(turned, axis=0, dtype=np.float32))

    def mean_of(name: str) -> np.ndarray | None:
        arrays = [getattr(score_map, name) for score_map in score_maps]
        return None if any(array is None for array in arrays) else mean(arrays)

    reaches = [score_map.reach for score_map in score_maps if score_map.reach is not None]
    return ScoreMap(
        score=mean([score_map.score for score_map in score_maps]),
        on_example=float(np.mean([score_map.on_example for score_map in score_maps])),
        similarity=mean([score_map.similarity for score_map in score_maps]),
        iou_pred=float(np.mean([score_map.iou_pred for score_map in score_maps])),
        boundary=mean_of("boundary"),
        reach=_mean_reach(reaches, mirrorings) if reaches else None,
        # a view in which the network does not know the example would speak of something else
        class_probability=mean_of("class_probability"),
    )


def _mean_reach(reaches: list[np.ndarray], mirrorings: list[Mirroring]) -> np.ndarray:
    """Average distances (4, h, w) to box sides as ratios are averaged, by their logarithms."""
    logs = [np.log(boxes.turned(*pair)) for pair in zip(reaches, mirrorings, strict=True)]
    return np.exp(np.mean(logs, axis=0, dtype=np.float32))
