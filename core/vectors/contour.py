"""From an outline along pixel edges to the contour half way between in and out.

Marching squares on a mask of zeros and ones (Lorensen and Cline, *Marching Cubes*,
SIGGRAPH 1987, in the plane) puts its vertices in the middle of the edges that
part a pixel inside from one outside. The same points are taken here from the traced outline
itself, after the pieces of all tiles are joined: so there is no seam for the
contour to break at, which a contour of each tile's vote would have.
"""

from __future__ import annotations

import numpy as np
from shapely import LinearRing, Polygon

CORNER_WORK = 2.0  # working pixels: between longer edges a corner is a corner, not a step


def half_level(outline_work: Polygon) -> Polygon:
    """Take the steps out of an outline that runs along pixel edges.

    Parameters
    ----------
    outline_work : Polygon
        In working pixels, as the tracing gives it: all vertices whole numbers.

    Returns
    -------
    Polygon
        Through the middles of unit edges, and half a pixel from the ends of longer
        ones; corners between two edges of more than ``CORNER_WORK`` stay. Nowhere
        further from ``outline_work`` than the diagonal of half a pixel's sides, 0.36.
    """
    outline = corners_alone(outline_work.normalize())
    return Polygon(_half_level(outline.exterior), [_half_level(ring) for ring in outline.interiors])


def corners_alone(outline: Polygon) -> Polygon:
    """An outline whose edges all run along the axes, without the vertices within its edges.

    Such are left where pieces or cells were united. Simplifying by nothing would keep
    some of them, by the rounding of what it takes for their distances.
    """

    def corners(ring: LinearRing) -> np.ndarray:
        points = np.asarray(ring.coords)[:-1]
        before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
        return points[~((before == points) & (points == after)).any(axis=1)]

    return Polygon(corners(outline.exterior), [corners(ring) for ring in outline.interiors])


def _half_level(ring: LinearRing) -> np.ndarray:
    corners = np.asarray(ring.coords)[:-1]
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.abs(edges).sum(axis=1)  # along one axis each
    steps = edges / lengths[:, None] / 2
    is_corner = np.minimum(lengths, np.roll(lengths, 1)) > CORNER_WORK
    points = np.stack([corners, corners + steps, corners + edges - steps], axis=1)
    used = np.stack([is_corner, np.ones(len(corners), bool), lengths > 1], axis=1)
    return points[used]
