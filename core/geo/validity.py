"""Polygons that cross themselves, made valid as long as that takes no more than a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely

from core.errors import InputError

MOST_CROSSINGS = 500  # of one shape's own lines; the work grows with their square: 2,500 take four seconds
AT_A_TIME = 64  # lines that are compared with all others; one that is crossed by all fills the memory slowly


def made_valid(shape: shapely.Geometry, source: str | Path) -> shapely.Geometry:
    """Make a shape valid, as QGIS does: what its lines enclose by turns in and out.

    Parameters
    ----------
    shape : Geometry
    source : str or Path
        Where it comes from, for the message.

    Raises
    ------
    InputError
        Where its lines cross each other too often to be mended.

    Examples
    --------
    >>> bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    >>> made_valid(bow, "example.gpkg").area
    2.0
    """
    if shape.is_valid:
        return shape
    if crossings(shape) > MOST_CROSSINGS:
        raise InputError(
            f"A polygon of {source} crosses itself more than {MOST_CROSSINGS} times. "
            "Draw it anew, or mend it with QGIS's tool “Fix geometries”."
        )
    return shapely.make_valid(shape)


def crossings(shape: shapely.Geometry, enough: int = MOST_CROSSINGS) -> int:
    """Count how often a shape's lines cross each other; counting ends where it is more than ``enough``."""
    points, parts = shapely.get_coordinates(shapely.get_parts(_rings(shape)), return_index=True)
    lines = np.stack([points[:-1], points[1:]], axis=1)[parts[:-1] == parts[1:]]
    segments = shapely.linestrings(lines)
    tree, count = shapely.STRtree(segments), 0
    for start in range(0, len(segments), AT_A_TIME):
        count += tree.query(segments[start : start + AT_A_TIME], predicate="crosses").shape[1]
        if count > 2 * enough:  # each is counted from both its lines
            break
    return count // 2


def _rings(shape: shapely.Geometry) -> shapely.Geometry:
    """All lines that bound a shape."""
    rings = shapely.get_rings(shapely.get_parts(shape))
    return shapely.multilinestrings([shapely.linestrings(shapely.get_coordinates(ring)) for ring in rings])
