"""True metres: what a map unit, an area or an outline measures on the ground.

Where the CRS is geographic, or a projection whose units are not ground metres at
the place (web maps, world maps), the ellipsoid is asked; elsewhere the CRS's linear
unit is taken at its word, which also serves rasters with an invented georeference.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from shapely import LineString, Polygon
from shapely.affinity import scale
from shapely.geometry.polygon import orient

AT_ITS_WORD = 0.01  # off by less, a unit of length is what it says: UTM is off by 0.001 at most
NEIGHBOURHOOD = 1e4  # map units within which that is asked once only
STEP_DEG, STEP = 1e-4, 10.0  # either way of a place, about ten metres


def _lonlat_at(crs: CRS | None, x_map: float, y_map: float) -> tuple[Geod, Transformer] | None:
    """Ellipsoid and transformer to longitude, latitude; None where map units are true about a place."""
    return None if crs is None else _lonlat_near(crs, x_map // NEIGHBOURHOOD, y_map // NEIGHBOURHOOD)


@lru_cache(maxsize=256)  # one look for each shape: to tell two CRSs apart takes their whole text
def _lonlat_near(crs: CRS, column: float, row: float) -> tuple[Geod, Transformer] | None:
    """As :func:`_lonlat_at`, by the middle of a neighbourhood."""
    if crs.is_compound:  # with heights: the horizontal part is asked
        crs = crs.sub_crs_list[0]
    if not (crs.is_geographic or crs.is_projected) or crs.geodetic_crs is None:
        return None
    geodetic = _ellipsoid_of(crs)
    if crs.is_geographic or _is_mercator(crs):
        return geodetic
    x_map, y_map = (column + 0.5) * NEIGHBOURHOOD, (row + 0.5) * NEIGHBOURHOOD
    return None if _is_true(crs, geodetic, x_map, y_map) else geodetic


@lru_cache(maxsize=16)
def _ellipsoid_of(crs: CRS) -> tuple[Geod, Transformer]:
    return crs.get_geod(), Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)


def _is_mercator(crs: CRS) -> bool:
    """Whether a CRS is one of the web's maps or its kin, true at the equator at best."""
    method = (crs.coordinate_operation.method_name if crs.coordinate_operation else "").lower()
    return "mercator" in method and "transverse" not in method


def _is_true(crs: CRS, geodetic: tuple[Geod, Transformer], x_map: float, y_map: float) -> bool:
    """Whether a projection's unit of length is what it says at a place, or nobody can tell."""
    area = crs.area_of_use
    try:
        lon, lat = geodetic[1].transform(x_map, y_map, errcheck=True)
        true = _per_unit(geodetic, STEP, x_map, y_map)
    except ProjError:
        return True
    if not all(math.isfinite(value) for value in (lon, lat, *true)):
        return True
    if area and not (area.south <= lat <= area.north and _between(area.west, lon, area.east)):
        return True  # an invented georeference
    unit = _unit(crs)
    return all(abs(metres / unit - 1) < AT_ITS_WORD for metres in true)


def _between(west: float, lon: float, east: float) -> bool:
    """Whether a longitude lies between two, the second of which may be beyond the date line."""
    return (lon - west) % 360 <= (east - west) % 360 or east - west >= 360


def _unit(crs: CRS | None) -> float:
    """Metres of a CRS's unit of length, as it says; without a CRS a unit is a metre."""
    return crs.axis_info[0].unit_conversion_factor if crs and crs.axis_info else 1.0


def _per_unit(
    geodetic: tuple[Geod, Transformer], step: float, x_map: float, y_map: float
) -> tuple[float, float]:
    """Metres on the ellipsoid per map unit along x and y, from points a step away either way."""
    geod, to_lonlat = geodetic

    def metres(dx: float, dy: float) -> float:
        (lon0, lon1), (lat0, lat1) = to_lonlat.transform([x_map - dx, x_map + dx], [y_map - dy, y_map + dy])
        return geod.inv(lon0, lat0, lon1, lat1)[2] / (2 * step)

    return metres(step, 0), metres(0, step)


def metres_per_unit(crs: CRS | None, x_map: float, y_map: float) -> tuple[float, float]:
    """Ground metres per map unit along the map's x and y axes at a place.

    Without a CRS a unit is a metre.
    """
    geodetic = _lonlat_at(crs, x_map, y_map)
    if geodetic is None:
        return _unit(crs), _unit(crs)
    return _per_unit(geodetic, STEP_DEG if crs.is_geographic else STEP, x_map, y_map)


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
    geodetic = _lonlat_at(crs, *_middle(polygon_map))
    if geodetic is None:
        return polygon_map.area * _unit(crs) ** 2
    geod, to_lonlat = geodetic
    # The geodesic area has a sign, so a hole that runs the shell's way round would be added.
    polygon_lonlat = orient(shapely.transform(polygon_map, to_lonlat.transform, interleaved=False))
    return abs(geod.geometry_area_perimeter(polygon_lonlat)[0])


def length_m(line_map: LineString, crs: CRS | None) -> float:
    """True length of a line in metres."""
    geodetic = _lonlat_at(crs, *_middle(line_map))
    if geodetic is None:
        return line_map.length * _unit(crs)
    geod, to_lonlat = geodetic
    return geod.geometry_length(shapely.transform(line_map, to_lonlat.transform, interleaved=False))


def _middle(shape_map: Polygon | LineString) -> tuple[float, float]:
    xmin, ymin, xmax, ymax = shape_map.bounds
    return (xmin + xmax) / 2, (ymin + ymax) / 2


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
