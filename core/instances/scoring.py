"""Match probability: how likely an object is one like the example, by a logistic regression.

The vote alone takes a piece of road between two cars for a third one, or a window of a lorry.
Such an answer is less surely of the example's class, has no box of its own, and is often
smaller than what was drawn. So four features are weighed by a logistic regression, which
``research.training.scoring`` fits on places where the network has never been.

All arrays are in the query tile's pixels (``_tile``).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from core.sam.boxes import seen_from
from core.voting.score_map import ScoreMap

N_FEATURES = 4  # score, class, box, size
# Of the features in their order, and the constant, by target: of other objects the network was told too
# little. A building's size weighs a quarter of what was fitted (docs/notebook: match probability).
WEIGHTS = {
    "building": np.array([0.96, 0.14, -0.01, 0.28, -0.10]),
    "vehicle": np.array([0.64, 1.60, 0.26, 0.33, -2.67]),
}
CLOSEST = 0.02  # to 0 and 1: what goes through the logit


def can_score(score_map: ScoreMap, target: str) -> bool:
    """Say whether the network answered all that the features are taken from, and their weights are known."""
    return target in WEIGHTS and score_map.class_probability is not None and score_map.reach is not None


def match_probability(
    objects: np.ndarray, score_map: ScoreMap, target: str, example_area: float
) -> np.ndarray:
    """Match probability (N + 1,) of each object of a tile, by its number; 0 for none.

    Parameters
    ----------
    objects : ndarray of int, shape (h, w)
        Numbers of objects, 0 elsewhere.
    score_map : ScoreMap
        Of which :func:`can_score`.
    target : str
    example_area : float
        The smallest example's area in pixels.
    """
    told = probability(features(objects, score_map, example_area), target)
    return np.concatenate([np.zeros(1), told]).astype(np.float32)


def probability(values: np.ndarray, target: str) -> np.ndarray:
    """Match probability (N,) of objects with these features (N, 4)."""
    *weights, constant = WEIGHTS[target]
    return 1 / (1 + np.exp(-(values @ weights + constant)))


def features(objects: np.ndarray, score_map: ScoreMap, example_area: float) -> np.ndarray:
    """Measure what tells whether objects are like the example; arguments as :func:`match_probability`.

    Returns
    -------
    ndarray, shape (N, 4)
        Logits of the mean score, of the mean probability of the example's class and
        of the IoU of the object's bounding box with the one that the network sees from inside it;
        and the logarithm of the object's area as a share of what is usual, the geometric mean
        of the example and of the tile's median object, 0 if it is larger.

    Raises
    ------
    ValueError
        Where :func:`can_score` is false.
    """
    if score_map.reach is None or score_map.class_probability is None:
        raise ValueError("the network answers neither boxes nor classes: ask can_score first")
    shares, areas = np.full((int(objects.max()), 3), CLOSEST), np.bincount(objects.ravel())[1:]
    if not areas.any():
        return np.zeros((len(areas), 4))
    seen = seen_from(objects, objects, score_map.reach)
    for number, window in enumerate(ndimage.find_objects(objects), start=1):
        if window is not None:
            inside = objects[window] == number
            shares[number - 1] = (
                score_map.score[window][inside].mean(),
                score_map.class_probability[window][inside].mean(),
                _agreement(window, seen[number], objects.shape),
            )
    shares = np.clip(shares, CLOSEST, 1 - CLOSEST)
    usual = np.sqrt(example_area * np.median(areas[areas > 0]))
    sizes = np.log(np.clip(areas, 1, usual) / usual)
    return np.concatenate([np.log(shares / (1 - shares)), sizes[:, None]], axis=1)


def _agreement(window: tuple[slice, slice], seen: np.ndarray, shape: tuple[int, int]) -> float:
    """IoU of an object's bounding box with the one that is seen, cut to the tile, beyond which nothing is."""
    rows, columns = window
    own = np.array([columns.start, rows.start, columns.stop, rows.stop])
    seen = np.clip(seen, 0, [shape[1], shape[0], shape[1], shape[0]])
    sides = np.minimum(own[2:], seen[2:]) - np.maximum(own[:2], seen[:2])
    shared = np.prod(np.clip(sides, 0, None))
    return float(shared / max(np.prod(own[2:] - own[:2]) + np.prod(seen[2:] - seen[:2]) - shared, 1))
