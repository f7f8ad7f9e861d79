"""Oriented rectangles: what a vehicle is, seen from above.

The smallest rectangle around a mask is pushed outward by every bump: a mirror, a
shadow, a piece of the next vehicle. Second moments are not: a rectangle of
length l and width w has the variances l²/12 and w²/12 along its sides, so centre,
direction and the ratio of the sides follow from the whole mask (M.-K. Hu, *IRE
Transactions on Information Theory* 8, 1962; the ellipse of image moments, as a
rectangle). The area is then made the mask's own. Where the mask is about square,
its moments have no direction, and that of the smallest rectangle serves.
"""

from __future__ import annotations

import math

import numpy as np
from shapely import LinearRing, Polygon


def fitted(outline_px: Polygon, mask_px: Polygon) -> Polygon:
    """The rectangle that stands for an outline.

    Parameters
    ----------
    outline_px : Polygon
        In a plane whose angles are true. Holes are taken as filled.
    mask_px : Polygon
        The mask's own polygon: its area becomes the rectangle's, and of the two
        directions, that of the second moments and that of the smallest rectangle
        around the outline, that one is taken in which the IoU with it is higher.

    Returns
    -------
    Polygon
        Four corners, valid.
    """
    shell, mask = Polygon(outline_px.exterior), Polygon(mask_px.exterior)
    centre, covariance = _moments(shell.exterior)
    around = np.asarray(shell.minimum_rotated_rectangle.exterior.coords)
    side = around[1] - around[0]
    # Axes as the rows of an orthogonal matrix. A covariance has such; the ratio of sides follows.
    tried = [np.linalg.eigh(covariance)[1].T, np.stack([side, [-side[1], side[0]]]) / math.hypot(*side)]
    drawn = [_rectangle(centre, axes, covariance, mask.area) for axes in tried]
    return max(drawn, key=lambda rectangle: rectangle.intersection(mask).area)  # all of one area


def _rectangle(centre: np.ndarray, axes: np.ndarray, covariance: np.ndarray, area: float) -> Polygon:
    variances = np.einsum("ij,jk,ik->i", axes, covariance, axes)
    sides = np.sqrt(
        variances * area / math.sqrt(variances.prod())
    )  # their ratio kept, their product the area
    u, v = axes * sides[:, None] / 2
    return Polygon(centre + np.stack([u + v, v - u, -u - v, u - v]))


def _moments(ring: LinearRing) -> tuple[np.ndarray, np.ndarray]:
    """Centre and covariance matrix of what a ring encloses, by Green's theorem."""
    points = np.asarray(ring.coords)
    origin = np.asarray(Polygon(ring).centroid.coords[0])  # about it the first moments vanish
    start, end = points[:-1] - origin, points[1:] - origin
    twice = start[:, 0] * end[:, 1] - end[:, 0] * start[:, 1]  # signed areas of the triangles to the origin
    both = start + end
    second = np.einsum("n,ni,nj->ij", twice, both, both)
    second += np.einsum("n,ni,nj->ij", twice, start, start) + np.einsum("n,ni,nj->ij", twice, end, end)
    return origin, second / 24 / (twice.sum() / 2)
