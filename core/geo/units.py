"""True metres: what a map unit, an area or an outline measures on the ground.

Areas and lengths are measured on the ellipsoid in every CRS, as QGIS does. The size of
a pixel, which the working resolution and directions start from, takes the CRS's linear
unit at its word where that is off by less than a hundredth. Rasters with an invented
georeference, whose coordinates no place has, are taken at their word in both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from shapely import LineString, Polygon
from shapely.affinity import affine_transform

ToLonlat = Callable[..., tuple]  # x, y to longitude, latitude in degrees

AT_ITS_WORD = 0.01  # off by less, a unit of length is what it says: UTM is off by 0.001 at most
NEIGHBOURHOOD = 1e4  # map units within which that is asked once only
STEP_DEG, STEP = 1e-4, 10.0  # either way of a place, about ten metres


def _lonlat_at(crs: CRS | None, x_map: float, y_map: float) -> tuple[Geod, ToLonlat] | None:
    """Ellipsoid and transformer to longitude, latitude; None where map units are true about a place."""
    return None if crs is None else _lonlat_near(crs, x_map // NEIGHBOURHOOD, y_map // NEIGHBOURHOOD)


@lru_cache(maxsize=256)  # one look for each shape: to tell two CRSs apart takes their whole text
def _lonlat_near(crs: CRS, column: float, row: float) -> tuple[Geod, ToLonlat] | None:
    """As :func:`_lonlat_at`, by the middle of a neighbourhood."""
    crs = _horizontal(crs)
    if not _has_ellipsoid(crs):
        return None
    geodetic = _ellipsoid_of(crs)
    if crs.is_geographic or _is_mercator(crs):
        return geodetic
    x_map, y_map = (column + 0.5) * NEIGHBOURHOOD, (row + 0.5) * NEIGHBOURHOOD
    return None if _is_true(crs, geodetic, x_map, y_map) else geodetic


def _horizontal(crs: CRS) -> CRS:
    """A CRS without its heights."""
    return crs.sub_crs_list[0] if crs.is_compound else crs


def _has_ellipsoid(crs: CRS) -> bool:
    return (crs.is_geographic or crs.is_projected) and crs.geodetic_crs is not None


@lru_cache(maxsize=16)
def _ellipsoid_of(crs: CRS) -> tuple[Geod, ToLonlat]:
    # Degrees of a turned pole are no longitude and latitude: those of the CRS that it was derived from are.
    turned = crs.is_geographic and crs.is_derived and crs.source_crs is not None
    geodetic, geod = crs.source_crs if turned else crs.geodetic_crs, crs.get_geod()
    if geodetic is None or geod is None:
        raise ValueError(f"{crs} has no ellipsoid")
    transform = Transformer.from_crs(crs, geodetic, always_xy=True).transform
    axis = geodetic.axis_info[0]
    if axis.unit_name == "degree":
        return geod, transform
    degrees = math.degrees(axis.unit_conversion_factor)  # of a grad, say

    def to_lonlat(x: np.ndarray, y: np.ndarray, errcheck: bool = False) -> tuple[np.ndarray, np.ndarray]:
        lon, lat = transform(x, y, errcheck=errcheck)
        return np.multiply(lon, degrees), np.multiply(lat, degrees)

    return geod, to_lonlat


def _ground_at(crs: CRS | None, shape_map: shapely.Geometry) -> tuple[Geod, ToLonlat] | None:
    """Ellipsoid and function to longitude, latitude; None where there is no such place."""
    if crs is None:
        return None
    x_map, y_map = _middle(shape_map)
    return _ground_near(crs, x_map // NEIGHBOURHOOD, y_map // NEIGHBOURHOOD)


@lru_cache(maxsize=256)
def _ground_near(crs: CRS, column: float, row: float) -> tuple[Geod, ToLonlat] | None:
    """As :func:`_ground_at`, by the middle of a neighbourhood."""
    crs = _horizontal(crs)
    if not _has_ellipsoid(crs):
        return None
    geodetic = _ellipsoid_of(crs)
    if crs.is_geographic:
        return geodetic
    try:
        metres = _per_unit(geodetic, STEP, (column + 0.5) * NEIGHBOURHOOD, (row + 0.5) * NEIGHBOURHOOD)
    except ProjError:
        return None
    # a map unit of no length, or of none at all, is beside the world
    return geodetic if all(math.isfinite(value) and value > 0 for value in metres) else None


def _is_mercator(crs: CRS) -> bool:
    """Whether a CRS is one of the web's maps or its kin, true at the equator at best."""
    method = (crs.coordinate_operation.method_name if crs.coordinate_operation else "").lower()
    return "mercator" in method and "transverse" not in method


def _is_true(crs: CRS, geodetic: tuple[Geod, ToLonlat], x_map: float, y_map: float) -> bool:
    """Whether a projection's unit of length is what it says at a place, or nobody can tell."""
    area = crs.area_of_use
    try:
        lon, lat = geodetic[1](x_map, y_map, errcheck=True)
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
    geodetic: tuple[Geod, ToLonlat], step: float, x_map: float, y_map: float
) -> tuple[float, float]:
    """Metres on the ellipsoid per map unit along x and y, from points a step away either way."""
    geod, to_lonlat = geodetic

    def metres(dx: float, dy: float) -> float:
        (lon0, lon1), (lat0, lat1) = to_lonlat([x_map - dx, x_map + dx], [y_map - dy, y_map + dy])
        return geod.inv(lon0, lat0, lon1, lat1)[2] / (2 * step)

    return metres(step, 0), metres(0, step)


def metres_per_unit(crs: CRS | None, x_map: float, y_map: float) -> tuple[float, float]:
    """Ground metres per map unit along the map's x and y axes at a place.

    Without a CRS a unit is a metre.
    """
    geodetic = _lonlat_at(crs, x_map, y_map)
    if crs is None or geodetic is None:
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
    """True area of a polygon in square metres on the ellipsoid, holes taken out."""
    ground = _ground_at(crs, polygon_map)
    if ground is None:
        return polygon_map.area * _unit(crs) ** 2
    geod, to_lonlat = ground

    def within(ring: shapely.LinearRing) -> float:  # the geodesic area has a sign, by the ring's way round
        lon, lat = to_lonlat(*ring.coords.xy)
        return abs(geod.polygon_area_perimeter(lon, lat)[0])

    area = within(polygon_map.exterior) - sum(within(hole) for hole in polygon_map.interiors)
    return area if math.isfinite(area) else polygon_map.area * _unit(crs) ** 2  # at the rim of a projection


def length_m(line_map: LineString, crs: CRS | None) -> float:
    """True length of a line in metres on the ellipsoid."""
    ground = _ground_at(crs, line_map)
    if ground is None:
        return line_map.length * _unit(crs)
    geod, to_lonlat = ground
    length = geod.line_length(*to_lonlat(*line_map.coords.xy))
    return length if math.isfinite(length) else line_map.length * _unit(crs)


def _middle(shape_map: shapely.Geometry) -> tuple[float, float]:
    xmin, ymin, xmax, ymax = shape_map.bounds
    return (xmin + xmax) / 2, (ymin + ymax) / 2


def rectangle(polygon_map: Polygon, crs: CRS | None) -> tuple[float, float, float]:
    """Length and width in metres of the smallest rectangle around a polygon, and its bearing.

    Returns
    -------
    length_m, width_m : float
        The rectangle's longer and shorter side, on the ellipsoid through its middle.
    angle_deg : float
        Direction of the longer side, clockwise from the map's y axis, 0 to 180.
    """
    centre = polygon_map.centroid
    mx, my = metres_per_unit(crs, centre.x, centre.y)
    # About the centre: far from the origin the rectangle is rounded, and wider than the smallest.
    around = affine_transform(polygon_map, (mx, 0, 0, my, -centre.x * mx, -centre.y * my))
    corners = np.asarray(around.minimum_rotated_rectangle.exterior.coords)[:4]
    sides = np.diff(corners[:3], axis=0)
    lengths = np.hypot(*sides.T)
    dx, dy = sides[lengths.argmax()]
    middles = (corners + np.roll(corners, -1, axis=0)) / 2 / (mx, my) + (centre.x, centre.y)
    across = [length_m(LineString(middles[[start, start + 2]]), crs) for start in (0, 1)]
    return max(across), min(across), math.degrees(math.atan2(dx, dy)) % 180.0
