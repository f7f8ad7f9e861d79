"""True metres: what a map unit, an area or an outline measures on the ground.

Where the CRS is geographic or a Mercator projection (web maps), its units are
not ground metres, so the ellipsoid is asked; elsewhere the CRS's linear unit
is taken at its word, which also serves rasters with an invented georeference.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Geod, Transformer
from shapely import LineString, Polygon
from shapely.affinity import scale
from shapely.geometry.polygon import orient


@lru_cache(maxsize=16)
def _lonlat_of(crs: CRS) -> tuple[Geod, Transformer] | None:
    """Ellipsoid and transformer to longitude, latitude; None where map units are ground metres."""
    if crs.is_compound:  # with heights: the horizontal part is asked
        crs = crs.sub_crs_list[0]
    mercator = crs.is_projected and "mercator" in crs.coordinate_operation.method_name.lower()
    transverse = mercator and "transverse" in crs.coordinate_operation.method_name.lower()
    if not crs.is_geographic and (not mercator or transverse):
        return None
    return crs.get_geod(), Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)


def metres_per_unit(crs: CRS | None, x_map: float, y_map: float) -> tuple[float, float]:
    """Ground metres per map unit along the map's x and y axes at a place.

    Without a CRS a unit is a metre.
    """
    if crs is None:
        return 1.0, 1.0
    geodetic = _lonlat_of(crs)
    if geodetic is None:
        factor = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
        return factor, factor
    geod, to_lonlat = geodetic
    step = 1e-4 if crs.is_geographic else 10.0  # about ten metres either way

    def metres(dx: float, dy: float) -> float:
        (lon0, lon1), (lat0, lat1) = to_lonlat.transform([x_map - dx, x_map + dx], [y_map - dy, y_map + dy])
        return geod.inv(lon0, lat0, lon1, lat1)[2] / (2 * step)

    return metres(step, 0), metres(0, step)


def metres_per_pixel(crs: CRS | None, map_from_px: Affine, x_px: float, y_px: float) -> tuple[float, float]:
    """Ground length in metres of a pixel's two sides at a place of the raster."""
    mx, my = metres_per_unit(crs, *(map_from_px @ (x_px, y_px)))
    return (
        math.hypot(map_from_px.a * mx, map_from_px.d * my),
        math.hypot(map_from_px.b * mx, map_from_px.e * my),
    )


def plane_from_px(crs: CRS | None, map_from_px: Affine, x_px: float, y_px: float) -> Affine:
    """From pixels to a plane in which angles about a place are true; its unit is a pixel's side.

    Where pixels are square on the ground, as working pixels are, this turns or
    mirrors them at most. Where they are not (a raster turned in degrees, say), it
    undoes the difference.
    """
    mx, my = metres_per_unit(crs, *(map_from_px @ (x_px, y_px)))
    ground = Affine.scale(mx, my) @ map_from_px
    side = math.sqrt(abs(ground.determinant))
    return Affine(ground.a / side, ground.b / side, 0, ground.d / side, ground.e / side, 0)


def area_m2(polygon_map: Polygon, crs: CRS | None) -> float:
    """True area of a polygon in square metres, holes taken out."""
    geodetic = None if crs is None else _lonlat_of(crs)
    if geodetic is None:
        mx, my = metres_per_unit(crs, 0, 0)
        return polygon_map.area * mx * my
    geod, to_lonlat = geodetic
    # The geodesic area has a sign, so a hole that runs the shell's way round would be added.
    polygon_lonlat = orient(shapely.transform(polygon_map, to_lonlat.transform, interleaved=False))
    return abs(geod.geometry_area_perimeter(polygon_lonlat)[0])


def length_m(line_map: LineString, crs: CRS | None) -> float:
    """True length of a line in metres."""
    geodetic = None if crs is None else _lonlat_of(crs)
    if geodetic is None:
        return line_map.length * metres_per_unit(crs, 0, 0)[0]
    geod, to_lonlat = geodetic
    return geod.geometry_length(shapely.transform(line_map, to_lonlat.transform, interleaved=False))


def rectangle(polygon_map: Polygon, crs: CRS | None) -> tuple[float, float, float]:
    """Length and width in metres of the smallest rectangle around a polygon, and its bearing.

    Returns
    -------
    length_m, width_m : float
        The rectangle's longer and shorter side.
    angle_deg : float
        Direction of the longer side, clockwise from the map's y axis, 0 to 180.
    """
    centre = polygon_map.centroid
    mx, my = metres_per_unit(crs, centre.x, centre.y)
    corners = np.asarray(scale(polygon_map, mx, my, origin=centre).minimum_rotated_rectangle.exterior.coords)
    sides = np.diff(corners[:3], axis=0)
    lengths = np.hypot(*sides.T)
    dx, dy = sides[lengths.argmax()]
    return float(lengths.max()), float(lengths.min()), math.degrees(math.atan2(dx, dy)) % 180.0
