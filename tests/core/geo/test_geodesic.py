"""Areas and lengths on the ellipsoid in every CRS, against figures that do not come from the product.

The sizes in ``tests/support/ground_measures.json`` are those of ``pyproj.Geod`` on the corners' longitudes
and latitudes; ``tests/ui/test_measures_agree.py`` holds QGIS to the same ones.
"""

import json
import math
from pathlib import Path

import pytest
import shapely
from pyproj import CRS, Proj, Transformer
from shapely import LineString, Polygon

from core.geo import units

SUPPORT = next(folder for folder in Path(__file__).resolve().parents if (folder / "dev").exists())
CASES = json.loads((SUPPORT / "tests" / "support" / "ground_measures.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["crs"])
def test_measures_are_those_that_qgis_shows(case):
    shape, crs = shapely.from_wkt(case["wkt"]), CRS(case["crs"])
    assert units.area_m2(shape, crs) == pytest.approx(case["area_m2"], rel=1e-6)
    assert units.length_m(LineString(shape.exterior.coords), crs) == pytest.approx(
        case["perimeter_m"], rel=1e-7
    )


def test_a_square_of_lambert_93_near_lille_is_smaller_than_its_map_units_say():
    """By the projection's own areal scale, a derivative that PROJ knows without any geodesic."""
    square = shapely.box(704_000, 7_059_000, 704_100, 7_059_100)
    to_lonlat = Transformer.from_crs("EPSG:2154", "EPSG:4171", always_xy=True)
    scale = Proj("EPSG:2154").get_factors(*to_lonlat.transform(704_050, 7_059_050)).areal_scale
    area = units.area_m2(square, CRS("EPSG:2154"))
    assert area == pytest.approx(10_000 / scale, rel=1e-6)
    assert area == pytest.approx(9_966, abs=2)


@pytest.mark.parametrize("code", ["EPSG:27572", "EPSG:27561", "EPSG:4807"])
def test_grads_are_no_degrees(code):
    """These CRSs count from Paris, in grads: a hundred to the right angle."""
    crs = CRS(code)
    to_map = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
    grad_east, grad_north = 0.001, 0.001
    corners = [(2, 53.5), (2 + grad_east, 53.5), (2 + grad_east, 53.5 + grad_north), (2, 53.5 + grad_north)]
    shape = Polygon([to_map.transform(*corner) for corner in corners])
    a, e2, phi = 6378249.2, 0.00680348764, math.radians(53.5005 * 0.9)  # Clarke 1880 (IGN)
    w = math.sqrt(1 - e2 * math.sin(phi) ** 2)
    step = math.radians(0.9 * 0.001)
    assert units.area_m2(shape, crs) == pytest.approx(
        step**2 * a * math.cos(phi) / w * a * (1 - e2) / w**3, rel=1e-5
    )


def test_degrees_of_a_turned_pole_are_brought_to_longitude_and_latitude():
    crs = CRS("+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=40 +lon_0=10 +ellps=GRS80 +type=crs")
    shape = shapely.box(0, 0, 0.001, 0.001)
    # its origin lies at 50 degrees north: a thousandth of a degree by the two radii of curvature there
    a, e2, phi = 6378137.0, 0.00669438002, math.radians(50)
    w = math.sqrt(1 - e2 * math.sin(phi) ** 2)
    assert units.length_m(LineString([(0, 0), (0.001, 0)]), crs) == pytest.approx(
        math.radians(0.001) * a / w, rel=3e-3
    )
    assert units.area_m2(shape, crs) == pytest.approx(12_406, rel=1e-3)


def test_a_shape_over_the_date_line_is_as_large_as_beside_it():
    crs = CRS("EPSG:3832")  # the Pacific's Mercator, around 150 degrees east
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(180, 60)
    hole = shapely.box(x - 5, y - 5, x + 5, y + 5)
    over = Polygon(shapely.box(x - 50, y - 50, x + 50, y + 50).exterior, [hole.exterior])
    beside = shapely.affinity.translate(over, -1000)
    assert units.area_m2(over, crs) == pytest.approx(units.area_m2(beside, crs), rel=1e-6)
    assert units.rectangle(over, crs)[:2] == pytest.approx(units.rectangle(beside, crs)[:2], rel=1e-6)


def test_a_rectangle_far_from_the_origin_is_as_narrow_as_near_it():
    near = shapely.affinity.rotate(shapely.box(0, 0, 4.5, 1.8), 33.3, origin=(0, 0))
    far = shapely.affinity.translate(near, 500_000, 5_400_000)
    found, expected = units.rectangle(far, None), units.rectangle(near, None)
    assert found == pytest.approx(expected, abs=1e-6)
