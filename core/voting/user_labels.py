"""What the user drew, on a tile: example polygons are always found, negative ones ("not this") never."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from core.voting.score_map import Segmentation
from core.voting.thresholding import disc

MOST_UNDER = 0.5  # of an object: from here on it is what was drawn, and its rim no object of its own


def apply_user_labels(
    segmentation: Segmentation, examples: np.ndarray, negatives: np.ndarray | None = None, radius: int = 0
) -> Segmentation:
    """Put the user's own polygons into a segmentation: the user has said what they are.

    Each example polygon is found, as an object of its own. Nobody draws to the pixel, so what
    was found beyond a drawn outline is a part of the same object or a sliver between it and
    its neighbours, no object.

    Parameters
    ----------
    segmentation : Segmentation
    examples : ndarray of int, shape (h, w)
        Numbers of the example polygons, where they lie on the query tile itself; 0 elsewhere.
    negatives : ndarray of int, shape (h, w), optional
        The negative ones likewise, whose pixels are never found.
    radius : int
        In pixels: what is narrower than twice this beside a drawn polygon is a sliver.
    """
    wanted = examples > 0
    unwanted = np.zeros_like(wanted) if negatives is None else negatives > 0
    found, objects = segmentation.found, segmentation.objects
    probability = segmentation.match_probability
    if objects is not None:
        found = _without_rims(found, objects, wanted | unwanted, radius)
        if probability is not None:
            probability = np.concatenate([probability, np.ones(int(examples.max()), probability.dtype)])
        objects = np.where(wanted, examples + objects.max(), objects)
    return dataclasses.replace(
        segmentation,
        score=np.where(wanted, np.float32(1), segmentation.score),
        found=(found | wanted) & ~unwanted,
        objects=objects,
        match_probability=probability,
    )


def _without_rims(found: np.ndarray, objects: np.ndarray, drawn: np.ndarray, radius: int) -> np.ndarray:
    """Leave out what polygons drawn over objects leave of them that is no object."""
    found, boxes = found.copy(), ndimage.find_objects(objects)
    for number in np.unique(objects[drawn & found]):
        if not number:
            continue
        box = boxes[number - 1]
        own = (objects[box] == number) & found[box]
        rest = own & ~drawn[box]
        if rest.sum() > (1 - MOST_UNDER) * own.sum():  # another object, that reaches into what was drawn
            parts, _ = ndimage.label(rest)
            broad = ndimage.binary_opening(rest, disc(radius))
            rest &= ~np.isin(parts, np.unique(parts[broad]))
        found[box] &= ~rest
    return found
