"""Right angles, where the mask allows them.

The method is this project's own. What it is made of: a polygon's main direction
as an average of its edges' directions taken modulo 90 degrees, by multiplying
angles by four (N. I. Fisher, *Statistical Analysis of Circular Data*, 1993,
section 2.3, for axial data), beside that of the smallest rectangle around it;
Douglas and Peucker's simplification (*Cartographica* 10, 1973); and the choice
of a polygon from the cells between a building's wall lines, known from the
reconstruction of buildings (e.g. Nan and Wonka, *PolyFit*, ICCV 2017), here in
the plane and with two directions only:

1. Turn the outline so that the main direction runs along x.
2. Every edge votes for a wall line: across or along, whichever it is nearer to,
   at its middle's place, with its length. Lines nearer to each other than the
   strength are one, in the mean of their places; short ones are dropped.
3. The lines cut the plane into cells. Those of which the polygon covers half
   or more make the new polygon, holes included.

So no corner is ever intersected from two edges that happen to be nearly parallel,
and the result can't cross itself. Of all strengths and directions that wins whose
IoU with the mask, less a small price for every corner, is the highest.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely
from shapely import LinearRing, Polygon

from core.vectors.contour import corners_alone

LEAST_IOU = 0.9  # with the mask; below, the outline stays as it was
STRENGTHS_PX = (8.0, 6.0, 4.0, 3.0, 2.0)  # what is smaller is not the building's but the mask's
LARGEST_STRENGTH = 0.25  # of the square root of the area, so that small objects keep their shape
CORNER_PRICE = 0.005  # of IoU that a corner must bring to be worth drawing
LEAST_STRAIGHT = 0.6  # of the outline near the two directions; a circle has 0.5
STRAIGHT_PX = 4.0  # simplification before that is judged
STRAIGHT_DEG = 20.0  # what counts as near
MOST_CELLS = 2500  # 50 lines each way: nothing right-angled has as many walls


def right_angled(outline_px: Polygon, mask_px: Polygon, least_iou: float = LEAST_IOU) -> Polygon:
    """The outline with right angles only, if that costs little.

    Parameters
    ----------
    outline_px : Polygon
        The outline to draw anew, in a plane whose unit is a pixel and whose angles are true.
    mask_px : Polygon
        The mask's own polygon, which the bound is about; often the same one.
    least_iou : float
        Least IoU of the result with ``mask_px``.

    Returns
    -------
    Polygon
        Valid, without collinear vertices; all angles multiples of 90 degrees. Or
        ``outline_px`` itself, where the bound can't be kept or the outline is not
        made of straight walls (round, triangular, ragged).
    """
    centre = np.asarray(mask_px.centroid.coords[0])
    strongest = LARGEST_STRENGTH * np.sqrt(mask_px.area)
    best, best_worth = outline_px, -np.inf
    for direction in _directions(outline_px):
        turned = _turned(outline_px, centre, -direction)
        for strength in STRENGTHS_PX:
            drawn = _from_cells(turned, strength) if strength <= strongest else None
            if drawn is None:
                continue
            drawn = _turned(drawn, np.zeros(2), direction, centre)
            iou = _iou(drawn, mask_px)
            worth = iou - CORNER_PRICE * shapely.get_num_coordinates(drawn)
            if iou >= least_iou and worth > best_worth and drawn.is_valid:
                best, best_worth = drawn, worth
    return best


def _directions(outline: Polygon) -> Iterator[float]:
    """Main directions in radians that are worth a try: those along which the outline is straight."""
    edges = _edges(outline, STRAIGHT_PX)
    box = np.asarray(outline.minimum_rotated_rectangle.exterior.coords)
    side = box[1] - box[0]
    tried = [np.arctan2(side[1], side[0]), _mean_direction(edges), _mean_direction(_edges(outline, 2.0))]
    lengths = np.hypot(*edges.T)
    for direction in tried:
        off = np.arctan2(edges[:, 1], edges[:, 0]) - direction
        off = np.abs((off + np.pi / 4) % (np.pi / 2) - np.pi / 4)
        if lengths[off <= np.radians(STRAIGHT_DEG)].sum() >= LEAST_STRAIGHT * lengths.sum():
            yield direction


def _mean_direction(edges: np.ndarray) -> float:
    """Mean of the directions modulo 90 degrees; a long edge's is the surer, so lengths count twice."""
    along = edges[:, 0] + 1j * edges[:, 1]
    length = np.abs(along)
    # (z / |z|)⁴ turns four times as fast: all four directions of a rectangle become one.
    return float(np.angle((along**4 / length**2).sum()) / 4)


def _edges(outline: Polygon, tolerance_px: float) -> np.ndarray:
    """The shell's edges after simplification, as vectors, shape (n, 2)."""
    return np.diff(np.asarray(outline.simplify(tolerance_px).exterior.coords), axis=0)


def _turned(polygon: Polygon, start: np.ndarray, radians: float, end: np.ndarray | float = 0.0) -> Polygon:
    """Move ``start`` to the origin, turn about it, and move the origin to ``end``."""
    cos, sin = np.cos(radians), np.sin(radians)
    turn = np.array([[cos, sin], [-sin, cos]])
    return shapely.transform(polygon, lambda points: (points - start) @ turn + end)


def _from_cells(turned: Polygon, strength: float) -> Polygon | None:
    """The polygon made of the cells between wall lines; None where there are none."""
    simpler = turned.simplify(strength / 4)
    x, y = _walls([simpler.exterior, *simpler.interiors], strength)
    if min(len(x), len(y)) < 2 or (len(x) - 1) * (len(y) - 1) > MOST_CELLS:
        return None
    left, bottom = np.meshgrid(x[:-1], y[:-1])
    right, top = np.meshgrid(x[1:], y[1:])
    cells = shapely.box(left, bottom, right, top)
    shapely.prepare(turned)
    covered = shapely.area(shapely.intersection(cells, turned)) / shapely.area(cells)
    drawn = shapely.union_all(cells[covered >= 0.5])
    if drawn.is_empty:
        return None
    if drawn.geom_type != "Polygon":  # corner to corner is no contact
        drawn = max(drawn.geoms, key=lambda part: part.area)
    return corners_alone(drawn.normalize())


def _walls(rings: list[LinearRing], strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Places of the wall lines: x of those along y, y of those along x."""
    points = [np.asarray(ring.coords) for ring in rings]
    edges = np.concatenate([np.diff(ring, axis=0) for ring in points])
    middles = np.concatenate([(ring[1:] + ring[:-1]) / 2 for ring in points])
    along_x = np.abs(edges[:, 0]) > np.abs(edges[:, 1])
    return (
        _joined(middles[~along_x, 0], np.abs(edges[~along_x, 1]), strength),
        _joined(middles[along_x, 1], np.abs(edges[along_x, 0]), strength),
    )


def _joined(places: np.ndarray, lengths: np.ndarray, strength: float) -> np.ndarray:
    """Join the nearest two places, in their weighted mean, until all are ``strength`` apart."""
    order = np.argsort(places, kind="stable")
    places, lengths = places[order], lengths[order]
    while len(places) > 1:
        gaps = np.diff(places)
        i = gaps.argmin()
        if gaps[i] >= strength:
            break
        both = lengths[i] + lengths[i + 1]
        places[i] = (places[i] * lengths[i] + places[i + 1] * lengths[i + 1]) / both
        lengths[i] = both
        places, lengths = np.delete(places, i + 1), np.delete(lengths, i + 1)
    return places[lengths >= strength]


def _iou(one: Polygon, other: Polygon) -> float:
    common = one.intersection(other).area
    return common / (one.area + other.area - common)
