"""What the user drew, on a tile: examples are found whatever the vote says, what is "not this" never."""

from __future__ import annotations

import dataclasses

import numpy as np
import shapely
from affine import Affine
from rasterio.features import rasterize
from scipy import ndimage
from shapely.affinity import affine_transform

from core.geo.raster import Raster
from core.voting.thresholding import disc
from core.voting.vote import Vote

MOST_UNDER = 0.5  # of an object: from here on it is what was drawn, and its rim no object of its own


def pixels_of(
    polygons_px: list[shapely.Polygon],
    query: Raster,
    resolution: float,
    corner_work: tuple[int, int],
    valid: np.ndarray,
) -> np.ndarray:
    """The number of the polygon, from 1, on each of a tile's pixels; 0 where there is none.

    Parameters
    ----------
    polygons_px : list of Polygon
        In the query's own pixels.
    resolution : float
        Ground metres per working pixel.
    corner_work : tuple of int
        x, y of the tile's upper left corner in working pixels.
    valid : ndarray of bool, shape (h, w)
        The tile's pixels that hold data; no polygon has others.

    Returns
    -------
    ndarray of int32, shape (h, w)
    """
    if not polygons_px:
        return np.zeros(valid.shape, np.int32)
    work_from_px = (~query.px_from_work(resolution)).to_shapely()
    numbered = [(affine_transform(each, work_from_px), i) for i, each in enumerate(polygons_px, start=1)]
    numbers = rasterize(numbered, valid.shape, transform=Affine.translation(*corner_work), dtype="int32")
    return np.where(valid, numbers, 0)


def known(vote: Vote, examples: np.ndarray, negatives: np.ndarray | None = None, smooth_px: int = 0) -> Vote:
    """The vote with the examples' own pixels as found, each an object: the user has said what they are.

    Nobody draws to the pixel, so what was found beyond a drawn outline is a part
    of the same object or a sliver between it and its neighbours, no object.

    Parameters
    ----------
    examples : ndarray of int, shape (h, w)
        Numbers of the example polygons, where they lie on the query tile itself; 0 elsewhere.
    negatives : ndarray of int, shape (h, w), optional
        The negative ones likewise, whose pixels are never found.
    smooth_px : int
        What is narrower than twice this beside a drawn polygon is a sliver.
    """
    wanted = examples > 0
    unwanted = np.zeros_like(wanted) if negatives is None else negatives > 0
    found, objects, likeness = vote.found, vote.objects, vote.likeness
    if objects is not None:
        found = _without_rims(found, objects, wanted | unwanted, smooth_px)
        if likeness is not None:
            likeness = np.concatenate([likeness, np.ones(int(examples.max()), likeness.dtype)])
        objects = np.where(wanted, examples + objects.max(), objects)
    return dataclasses.replace(
        vote,
        share=np.where(wanted, np.float32(1), vote.share),
        found=(found | wanted) & ~unwanted,
        objects=objects,
        likeness=likeness,
    )


def _without_rims(found: np.ndarray, objects: np.ndarray, drawn: np.ndarray, smooth_px: int) -> np.ndarray:
    """What is found, without what polygons drawn over objects leave of them that is none."""
    found, boxes = found.copy(), ndimage.find_objects(objects)
    for number in np.unique(objects[drawn & found]):
        if not number:
            continue
        box = boxes[number - 1]
        own = (objects[box] == number) & found[box]
        rest = own & ~drawn[box]
        if rest.sum() > (1 - MOST_UNDER) * own.sum():  # another object, that reaches into what was drawn
            parts, _ = ndimage.label(rest)
            broad = ndimage.binary_opening(rest, disc(smooth_px))
            rest &= ~np.isin(parts, np.unique(parts[broad]))
        found[box] &= ~rest
    return found
