"""Why objects are not found, and what is found instead: every miss and every false detection has one cause.

Of the truth that no detection matches:
  merged    a detection covers half of it or more, and half of another object as well
  split     detections that lie on it cover half of it together, none of them alone
  outline   a detection covers half of it or more, and too much else
  partial   detections cover a tenth to a half of it
  missed    less than a tenth of it is found
Of the detections that match nothing:
  pieces    half of it or more lies on one object: what "split" and "partial" leave
  several   half of it or more lies on objects, on none of them half: what "merged" leaves
  ground    less than half of it lies on objects
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import shapely

from core.metrics import match, overlaps, shapes_on
from research.common.matching import HALF

TENTH = 0.1
MISSES = ("merged", "split", "outline", "partial", "missed")
FALSE = ("pieces", "several", "ground")


class Error(NamedTuple):
    """An object that was not found, or a detection that is none, with its cause."""

    cause: str
    shape_map: shapely.Geometry


def errors(
    detections: gpd.GeoDataFrame,
    truth: gpd.GeoDataFrame,
    extent_map: tuple[float, float, float, float],
    least_iou: float,
    *,
    boxes: bool = False,
) -> tuple[int, list[Error]]:
    """How many objects are found, and every error with its cause.

    Parameters
    ----------
    detections, truth : GeoDataFrame
        In one CRS.
    extent_map : tuple of float
        xmin, ymin, xmax, ymax; truth that touches its border is left out, and
        so are detections that lie on such truth above all.
    least_iou : float
        Of a match, one to one, as ``core.metrics`` counts.
    boxes : bool
        Compare bounding boxes, as ``core.metrics`` does.
    """
    extent = shapely.box(*extent_map)
    found, true = (shapes_on(extent, table, boxes=boxes) for table in (detections, truth))
    matching = match(found, true, extent, least_iou)
    left, right, shared, _ = overlaps(found, true)
    of_true, of_found = np.zeros((2, len(found), len(true)))
    of_true[left, right] = shared / shapely.area(true)[right]
    of_found[left, right] = shared / shapely.area(found)[left]
    covers_several = (of_true >= HALF).sum(axis=1) > 1
    missed = np.flatnonzero(matching.whole & ~matching.hit_true)
    made = [Error(_miss(of_true[:, t], covers_several), true[t]) for t in missed]
    false = np.flatnonzero(~matching.hit_found & ~matching.ignored)
    made += [Error(_false(of_found[f]), found[f]) for f in false]
    return int((matching.whole & matching.hit_true).sum()), made


def counts(found: int, made: list[Error]) -> dict[str, int]:
    """How many objects were ``found``, and how many errors each cause has."""
    counted = Counter(error.cause for error in made)
    return {"found": found, **{name: counted[name] for name in (*MISSES, *FALSE)}}


def _miss(shares: np.ndarray, covers_several: np.ndarray) -> str:
    """Why one object is missed, from the shares of it that each detection covers."""
    if (covers_several & (shares >= HALF)).any():
        return "merged"
    if shares.max(initial=0) >= HALF:
        return "outline"
    if shares.sum() >= HALF:
        return "split"
    return "partial" if shares.sum() >= TENTH else "missed"


def _false(shares: np.ndarray) -> str:
    """What one false detection lies on, from its shares on each object."""
    if shares.max(initial=0) >= HALF:
        return "pieces"
    return "several" if shares.sum() >= HALF else "ground"
