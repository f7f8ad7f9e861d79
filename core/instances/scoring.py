"""How likely a parted object is one like the example, where the network itself answers what tells it.

The vote alone takes a piece of road between two cars for a third one, or a window of a lorry.
Such an answer is less surely of the example's class, has no box of its own, and is often
smaller than what was drawn. So four signs are weighed by a logistic regression, which
``research.training.likeness`` fits on places where the network has never been.

All arrays are in the query tile's pixels (``_tile``).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from core.sam.boxes import seen_from
from core.voting.vote import Vote

SIGNS = 4  # vote, class, box, size
# Of the signs in their order, and the constant, by target: of other objects the network was told too little.
# A building's size weighs a quarter of what was fitted, see docs/method.md (How sure).
WEIGHTS = {
    "building": np.array([0.96, 0.14, -0.01, 0.28, -0.10]),
    "vehicle": np.array([0.64, 1.60, 0.26, 0.33, -2.67]),
}
CLOSEST = 0.02  # to 0 and 1: what goes through the logit


def is_told(vote: Vote, target: str) -> bool:
    """Whether the network answered all that the signs are taken from, and their weights are known."""
    return target in WEIGHTS and not any(part is None for part in (vote.objects, vote.kind, vote.reach))


def likeness(vote: Vote, target: str, example_px: float) -> np.ndarray:
    """Probability (N + 1,) that each object of a tile, by its number, is one like the example; 0 for none."""
    told = probability(signs(vote, example_px), target)
    return np.concatenate([np.zeros(1), told]).astype(np.float32)


def probability(figures: np.ndarray, target: str) -> np.ndarray:
    """Probability (N,) that objects with these signs (N, 4) are like the example."""
    *weights, constant = WEIGHTS[target]
    return 1 / (1 + np.exp(-(figures @ weights + constant)))


def signs(vote: Vote, example_px: float) -> np.ndarray:
    """What tells whether objects are like the example.

    Parameters
    ----------
    vote : Vote
        Of which :func:`is_told`.
    example_px : float
        The smallest example's area in pixels.

    Returns
    -------
    ndarray, shape (N, 4)
        Logits of the mean share of the vote, of the mean probability of the example's class and
        of the IoU of the object's bounding box with the one that the network sees from inside it;
        and the logarithm of the object's area as a share of what is usual, the geometric mean
        of the example and of the tile's median object, 0 if it is larger.
    """
    objects = vote.objects
    shares, areas = np.full((int(objects.max()), 3), CLOSEST), np.bincount(objects.ravel())[1:]
    if not areas.any():
        return np.zeros((len(areas), 4))
    seen = seen_from(objects, objects, vote.reach)
    for number, window in enumerate(ndimage.find_objects(objects), start=1):
        if window is not None:
            inside = objects[window] == number
            shares[number - 1] = (
                vote.share[window][inside].mean(),
                vote.kind[window][inside].mean(),
                _agreement(window, seen[number], objects.shape),
            )
    shares = np.clip(shares, CLOSEST, 1 - CLOSEST)
    usual = np.sqrt(example_px * np.median(areas[areas > 0]))
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
