"""True metres in every kind of CRS, against figures computed by other means."""

import math

import pytest
import shapely
from affine import Affine
from pyproj import CRS, Geod, Transformer
from shapely import LineString, Polygon
from shapely.affinity import rotate, translate

from core.geo import units

WGS84 = CRS("EPSG:4326")
WEB = CRS("EPSG:3857")
FEET = CRS("EPSG:2263")
FOOT = 1200 / 3937  # a US survey foot
RADIUS = 6378137.0


def ground_rectangle(lon, lat, length, width):
    """A rectangle of a length east and a width north in metres, as longitude and latitude."""
    geod = Geod(ellps="WGS84")
    east = geod.fwd(lon, lat, 90, length)[0] - lon
    north = geod.fwd(lon, lat, 0, width)[1] - lat
    return shapely.box(lon, lat, lon + east, lat + north)


def to_web(polygon):
    return shapely.transform(
        polygon,
        lambda xy: [
            (RADIUS * math.radians(x), RADIUS * math.log(math.tan(math.pi / 4 + math.radians(y) / 2)))
            for x, y in xy
        ],
    )


@pytest.mark.parametrize(
    ("crs", "expected"),
    [
        (None, (1, 1)),
        (CRS("EPSG:25832"), (1, 1)),
        (FEET, (FOOT, FOOT)),
        (CRS("EPSG:7415"), (1, 1)),  # compound: with heights
        (CRS("EPSG:7415").sub_crs_list[0], (1, 1)),
        (CRS('LOCAL_CS["drone",UNIT["metre",1]]'), (1, 1)),
        (CRS("+proj=tmerc +lon_0=9 +ellps=bessel +towgs84=598,73,418 +units=m +type=crs"), (1, 1)),
    ],
)
def test_units_of_plane_crs_are_taken_at_their_word(crs, expected):
    assert units.metres_per_unit(crs, 1000.0, 2000.0) == pytest.approx(expected)


def test_a_degree_is_shorter_to_the_east_than_to_the_north():
    across, along = units.metres_per_unit(WGS84, 10, 59)
    # Lengths of a degree at latitude 59 from the ellipsoid's radii of curvature.
    a, e2, phi = 6378137.0, 0.00669437999014, math.radians(59)
    w = math.sqrt(1 - e2 * math.sin(phi) ** 2)
    assert across == pytest.approx(math.radians(a * math.cos(phi) / w), rel=1e-5)
    assert along == pytest.approx(math.radians(a * (1 - e2) / w**3), rel=1e-5)


def test_web_mercator_stretches_by_the_latitude():
    x, y = 1_100_000.0, RADIUS * math.log(math.tan(math.pi / 4 + math.radians(59) / 2))
    across, along = units.metres_per_unit(WEB, x, y)
    assert across == pytest.approx(math.cos(math.radians(59)), rel=0.005)  # 0.515, but for the ellipsoid
    assert along == pytest.approx(math.cos(math.radians(59)), rel=0.005)


@pytest.mark.parametrize("lat", [0.0, 45.0, 59.0, -33.0])
@pytest.mark.parametrize("project", [lambda p: (p, WGS84), lambda p: (to_web(p), WEB)])
def test_a_building_measures_the_same_in_degrees_and_in_web_mercator(lat, project):
    polygon, crs = project(ground_rectangle(10.0, lat, 40.0, 10.0))
    assert units.area_m2(polygon, crs) == pytest.approx(400, rel=2e-3)
    length, width, angle = units.rectangle(polygon, crs)
    assert (length, width) == pytest.approx((40, 10), rel=5e-3)
    assert angle == pytest.approx(90, abs=0.5)


def test_with_heights_in_the_crs_the_area_is_that_without():
    square = shapely.box(155000, 463000, 155010, 463020)
    with_heights = units.area_m2(square, CRS("EPSG:7415"))
    assert with_heights == units.area_m2(square, CRS("EPSG:28992")) == pytest.approx(200, rel=3e-4)
    geographic = CRS("EPSG:4979")
    assert units.area_m2(ground_rectangle(10, 50, 10, 20), geographic) == pytest.approx(200, rel=1e-3)


def test_feet_become_metres():
    polygon = shapely.box(1_000_000, 200_000, 1_000_030, 200_010)
    assert units.area_m2(polygon, FEET) == pytest.approx(300 * FOOT**2, rel=3e-4)
    length, width, angle = units.rectangle(polygon, FEET)
    assert (length, width, angle) == pytest.approx((30 * FOOT, 10 * FOOT, 90), rel=2e-4)


@pytest.mark.parametrize("crs", [None, CRS("EPSG:25832")])
def test_plane_areas_and_holes(crs):
    shell, hole = shapely.box(500_000, 0, 500_010, 20), shapely.box(500_002, 2, 500_004, 4)
    expected = 196 / (1 if crs is None else 0.9996**2)  # UTM's scale on its central meridian
    polygon = Polygon(shell.exterior, [hole.exterior])
    assert units.area_m2(polygon, crs) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("project", [lambda p: (p, WGS84), lambda p: (to_web(p), WEB)])
@pytest.mark.parametrize("hole_turned", [False, True])
@pytest.mark.parametrize("shell_turned", [False, True])
def test_geodesic_holes_are_taken_out_whichever_way_the_rings_run(project, hole_turned, shell_turned):
    shell = ground_rectangle(10.0, 59.0, 40.0, 10.0)
    hole = shapely.box(*(shell.centroid.buffer(1e-5).bounds))
    rings = [list(ring.exterior.coords) for ring in (shell, hole)]
    rings = [r[::-1] if turned else r for r, turned in zip(rings, (shell_turned, hole_turned), strict=True)]
    polygon, crs = project(Polygon(rings[0], [rings[1]]))
    hole_area = units.area_m2(project(hole)[0], crs)
    assert hole_area > 2
    assert units.area_m2(polygon, crs) == pytest.approx(400 - hole_area, rel=2e-3)


@pytest.mark.parametrize("bearing", [0, 30, 45, 100, 150, 179])
def test_the_angle_is_the_long_sides_bearing_from_the_maps_y_axis(bearing):
    standing = shapely.box(-1, -5, 1, 5)  # along y
    polygon = translate(rotate(standing, -bearing, origin=(0, 0)), 500_000, 5_400_000)
    length, width, angle = units.rectangle(polygon, CRS("EPSG:25832"))
    assert (length, width) == pytest.approx((10 / 0.9996, 2 / 0.9996), rel=1e-6)  # UTM's scale
    assert abs((angle - bearing + 90) % 180 - 90) < 1e-6
    assert 0 <= angle < 180


def test_pixel_sides_of_turned_and_stretched_rasters():
    crs = CRS("EPSG:25832")
    north_up = Affine(0.2, 0, 5e5, 0, -0.3, 5e6)
    assert units.metres_per_pixel(crs, north_up, 10, 10) == pytest.approx((0.2, 0.3))
    turned = Affine.translation(5e5, 5e6) * Affine.rotation(27) * Affine.scale(0.2, -0.3)
    assert units.metres_per_pixel(crs, turned, 10, 10) == pytest.approx((0.2, 0.3))
    south_up = Affine(0.2, 0, 5e5, 0, 0.3, 5e6)
    assert units.metres_per_pixel(crs, south_up, 10, 10) == pytest.approx((0.2, 0.3))
    degrees = Affine(1e-6, 0, 10, 0, -1e-6, 60)
    across, down = units.metres_per_pixel(WGS84, degrees, 0, 0)
    assert across == pytest.approx(0.0558, rel=2e-3) and down == pytest.approx(0.1114, rel=2e-3)


@pytest.mark.parametrize(
    ("code", "lon", "lat"),
    [
        ("EPSG:4087", 24, 59),  # plate carrée: half as wide as it says
        ("EPSG:3995", 24, 75),  # polar stereographic, far from the pole
        ("EPSG:6933", 30, 50),  # equal area, squeezed
        ("ESRI:54009", 30, 50),  # and slanted
        ("EPSG:3035", -8, 38),
        ("EPSG:32635", 27, 58),
    ],
)
def test_areas_are_true_in_projections_of_every_kind(code, lon, lat):
    crs, (length, width) = CRS(code), (30.0, 20.0)
    to_map = Transformer.from_crs(WGS84, crs, always_xy=True)
    house = shapely.transform(ground_rectangle(lon, lat, length, width), to_map.transform, interleaved=False)
    assert units.area_m2(house, crs) == pytest.approx(length * width, rel=2e-3)
    outline = LineString(house.exterior.coords)
    assert units.length_m(outline, crs) == pytest.approx(2 * (length + width), rel=5e-3)


def test_an_invented_georeference_is_taken_at_its_word():
    """Pixels outside where the CRS is meant for; in every measure, coordinates that no place has."""
    for crs, x, y in ((CRS("EPSG:27700"), 5e7, 5e7), (CRS("EPSG:3035"), 0, 0)):
        assert units.metres_per_unit(crs, x, y) == (1, 1)
    nowhere = shapely.box(5e7, 5e7, 5e7 + 3, 5e7 + 2)
    assert units.area_m2(nowhere, CRS("EPSG:27700")) == pytest.approx(6)
    assert units.rectangle(nowhere, CRS("EPSG:27700")) == pytest.approx((3, 2, 90))


def test_a_web_map_with_heights_is_measured_as_one_without():
    """Near the equator, where its units are off by less than a hundredth."""
    x, y = 3_600_000.0, 34_000.0
    with_heights = units.metres_per_unit(CRS("EPSG:3857+5773"), x, y)
    assert with_heights == units.metres_per_unit(WEB, x, y) == pytest.approx((1, 0.9933), abs=2e-4)
