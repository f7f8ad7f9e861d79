"""The example: read whatever people draw, say in a sentence what can't be used."""

import dataclasses

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine

from core.canvas.example import MAX_ENLARGEMENT, cut_crops, read_example, working_resolution
from core.canvas.stitch import MAX_COLUMN
from core.errors import InputError
from core.geo.raster import Raster
from core.targets import TARGETS

UTM = "EPSG:25832"
SQUARE = shapely.box(500_020, 5_399_958, 500_032, 5_399_970)  # pixels 40 to 64, 60 to 84


@pytest.fixture
def raster(noisy_raster):
    with Raster(noisy_raster) as opened:
        yield opened


def bounds_px(example):
    return [tuple(round(v, 6) for v in polygon.bounds) for polygon in example.polygons_px]


# Reading


@pytest.mark.parametrize("name", ["example.geojson", "example.gpkg", "example.shp"])
def test_a_polygon_comes_to_the_rasters_pixels(raster, write_polygons, name):
    example = read_example(write_polygons([SQUARE], name), raster)
    assert bounds_px(example) == [(40, 60, 64, 84)]
    assert example.longer_side_m == pytest.approx(12) and example.area_m2 == pytest.approx(144)


def test_another_crs_is_brought_to_the_rasters(raster, tmp_path):
    path = tmp_path / "degrees.geojson"
    gpd.GeoDataFrame(geometry=[SQUARE], crs=UTM).to_crs("EPSG:4326").to_file(path)
    (polygon,) = read_example(path, raster).polygons_px
    assert polygon.bounds == pytest.approx((40, 60, 64, 84), abs=0.3)  # GeoJSON rounds to a centimetre


def test_parts_of_a_multipolygon_are_examples_each(raster, write_polygons):
    other = shapely.box(500_050, 5_399_950, 500_056, 5_399_960)
    example = read_example(write_polygons([shapely.MultiPolygon([SQUARE, other])]), raster)
    assert sorted(bounds_px(example)) == [(40, 60, 64, 84), (100, 80, 112, 100)]
    assert example.area_m2 == pytest.approx((144 + 60) / 2)  # the median
    assert example.longer_side_m == pytest.approx(12)


def test_a_self_crossing_outline_is_mended(raster, write_polygons):
    bow_tie = shapely.Polygon([(500_020, 5_399_960), (500_040, 5_399_970), (500_040, 5_399_960),
                               (500_020, 5_399_970)])  # fmt: skip
    example = read_example(write_polygons([bow_tie]), raster)
    assert len(example.polygons_px) == 2 and all(p.is_valid for p in example.polygons_px)


def test_a_slip_of_the_outline_is_no_example(raster, write_polygons):
    """Its last corner overshoots the first: mending leaves a speck beside the object."""
    x, y = 500_020, 5_399_960
    corners = [(x, y), (x + 20, y), (x + 20, y + 12), (x, y + 12), (x + 0.04, y - 0.06)]
    example = read_example(write_polygons([shapely.Polygon(corners)]), raster)
    assert len(example.polygons_px) == 1
    assert example.area_m2 == pytest.approx(240, abs=1)
    speck = shapely.MultiPolygon([SQUARE, shapely.box(x + 30, y + 5, x + 31, y + 6)])
    assert len(read_example(write_polygons([speck], "parts.geojson"), raster).polygons_px) == 1


def test_one_examples_ring_leaves_the_others_out(raster, write_polygons):
    x, y = 500_020, 5_399_960
    touching = [shapely.box(x, y, x + 10, y + 10), shapely.box(x + 10, y, x + 20, y + 10)]
    left, right = cut_crops(read_example(write_polygons(touching), raster), 0.5, None)
    for crop in (left, right):
        assert crop.others.sum() == 20 * 20 and not (crop.others & crop.mask).any()
        assert not (crop.ring & crop.others).any()


def test_heights_of_corners_do_not_matter(raster, write_polygons):
    example = read_example(write_polygons([shapely.force_3d(SQUARE, 400.0)]), raster)
    assert bounds_px(example) == [(40, 60, 64, 84)]
    assert cut_crops(example, 0.5, None)[0].mask.sum() == 24 * 24


@pytest.mark.parametrize(
    ("geometries", "says"),
    [
        ([shapely.Point(500_020, 5_399_960)], "no polygon"),
        ([shapely.LineString([(500_020, 5_399_960), (500_030, 5_399_960)])], "no polygon"),
        ([shapely.Polygon()], "no polygon"),
        ([None], "no polygon"),
        ([SQUARE, shapely.box(600_000, 5_399_958, 600_012, 5_399_970)], "outside the raster"),
        ([shapely.box(600_000, 5_399_958, 600_012, 5_399_970)], "outside the raster"),
        ([shapely.box(499_985, 5_399_950, 500_005, 5_399_960)], "outside the raster"),  # mostly outside
        ([shapely.box(500_020, 5_399_958, 500_021.5, 5_399_959)], "less than 4 pixels"),
    ],
)
def test_what_is_no_example_is_refused_in_a_sentence(raster, write_polygons, geometries, says):
    with pytest.raises(InputError, match=says) as caught:
        read_example(write_polygons(geometries), raster)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_files_that_hold_no_example(raster, tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_example(tmp_path / "absent.geojson", raster)
    empty = tmp_path / "empty.geojson"
    empty.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(InputError, match="no polygon"):
        read_example(empty, raster)
    for name, content in (("text.geojson", "hello"), ("zero.gpkg", ""), ("binary.shp", "\x00\x01" * 99)):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError):
            read_example(tmp_path / name, raster)
    with pytest.raises(InputError):
        read_example(tmp_path, raster)  # a folder


def test_a_table_without_geometry_is_refused(raster, tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no polygon"):
        read_example(tmp_path / "table.csv", raster)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_coordinates_beyond_the_projection_are_outside_not_a_crash(raster, write_polygons):
    far = shapely.box(9e7, 9e7, 9.1e7, 9.1e7)  # no place on Earth
    with pytest.raises(InputError, match="outside the raster"):
        read_example(write_polygons([far], crs="EPSG:3857"), raster)


# Scale


def example_of(raster, write_polygons, side_m):
    left, top = raster.map_from_px @ (1, 1)
    return read_example(write_polygons([shapely.box(left, top - side_m, left + side_m, top)]), raster)


# The rule, whatever the presets are.
TARGET = dataclasses.replace(TARGETS["building"], example_length=(48, 192))


def wide_raster(make_raster, pixels=1000):
    return Raster(make_raster(np.full((3, pixels, pixels), 90, np.uint8)))


@pytest.mark.parametrize(
    ("side_m", "expected"),
    [
        (50.0, 0.5),  # 100 pixels: fits as it is
        (24.0, 0.5),  # 48 pixels: just fits
        (96.0, 0.5),  # 192 pixels: just fits
        (12.0, 0.25),  # 24 pixels: enlarged to 48
        (384.0, 2.0),  # 768 pixels: reduced to 192
        (3.0, 0.125),  # 6 pixels: enlarged four times and no more
    ],
)
def test_the_resolution_brings_the_example_to_the_targets_size(make_raster, write_polygons, side_m, expected):
    with wide_raster(make_raster) as raster:
        example = example_of(raster, write_polygons, side_m)
        found = working_resolution(example, raster, TARGET, None)
        assert found == pytest.approx(expected)
        assert found >= min(raster.metres_per_pixel) / MAX_ENLARGEMENT


def test_the_example_decides_where_its_raster_is_another(make_raster, write_polygons):
    coarse = make_raster(
        np.zeros((3, 200, 200), np.uint8), "coarse.tif", transform=Affine(2, 0, 5e5, 0, -2, 5.4e6)
    )
    with wide_raster(make_raster) as fine, Raster(coarse) as query:
        example = example_of(fine, write_polygons, 50.0)
        # 50 m are 25 of the query's pixels: enlarged to 48, though the example's raster is finer.
        assert working_resolution(example, query, TARGET, None) == pytest.approx(50 / 48)


def test_an_asked_resolution_is_checked(make_raster, write_polygons):
    with wide_raster(make_raster) as raster:
        example = example_of(raster, write_polygons, 40.0)
        target = TARGETS["building"]
        assert working_resolution(example, raster, target, 0.3) == 0.3
        for wrong, says in (
            (0.0, "above 0"),
            (-1.0, "above 0"),
            (float("nan"), "above 0"),
            (float("inf"), "above 0"),
            (0.1, "too long"),
            (6.0, "too small"),
        ):
            with pytest.raises(InputError, match=says):
                working_resolution(example, raster, target, wrong)


def test_the_resolution_that_the_message_names_is_accepted(make_raster, write_polygons):
    with wide_raster(make_raster) as raster:
        example = example_of(raster, write_polygons, 40.0)
        with pytest.raises(InputError) as caught:
            working_resolution(example, raster, TARGETS["building"], 0.1)
        named = float(str(caught.value).rsplit("Ask for ", 1)[1].split(" m")[0])
        assert working_resolution(example, raster, TARGETS["building"], named) == named


# Crops


@pytest.mark.parametrize("resolution", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("shape", ["square", "round"])
def test_the_mask_is_as_large_as_the_polygon_and_lies_on_it(raster, write_polygons, resolution, shape):
    drawn = SQUARE if shape == "square" else SQUARE.centroid.buffer(6.3)
    example = read_example(write_polygons([drawn]), raster)
    (crop,) = cut_crops(example, resolution, None)
    assert crop.image.shape[0] == crop.image.shape[1] <= MAX_COLUMN
    assert crop.mask.sum() * resolution**2 == pytest.approx(drawn.area, rel=0.05)
    if shape == "square":  # the bright square of the raster: the mask covers it and nothing else
        bright = crop.image[..., 0] > 130
        assert (bright ^ crop.mask).sum() <= 0.06 * crop.mask.sum()


def test_an_example_at_the_border_shows_that_image_ends_there(raster, write_polygons):
    corner = shapely.box(500_000, 5_399_990, 500_010, 5_400_000)
    (crop,) = cut_crops(read_example(write_polygons([corner]), raster), 0.5, None)
    assert (crop.mask & crop.valid).sum() == 400 and not crop.valid.all()
    rows, columns = np.nonzero(crop.mask)
    assert not crop.valid[: rows.min()].any() and not crop.valid[:, : columns.min()].any()


def test_crops_of_several_examples_have_one_size(raster, write_polygons):
    small = shapely.box(500_050, 5_399_950, 500_056, 5_399_955)
    crops = cut_crops(read_example(write_polygons([SQUARE, small]), raster), 0.5, None)
    assert len({crop.image.shape for crop in crops}) == 1
    assert [crop.mask.sum() for crop in crops] == [24 * 24, 12 * 10]


def test_an_example_where_there_is_no_image_is_refused(make_raster, write_polygons):
    array = np.full((3, 100, 100), 90, np.uint8)
    array[:, 20:60, 20:60] = 0
    with Raster(make_raster(array, nodata=0)) as raster:
        hole = shapely.box(500_012, 5_399_975, 500_026, 5_399_988)
        with pytest.raises(InputError, match="no data under the example"):
            cut_crops(read_example(write_polygons([hole]), raster), 0.5, None)


def test_what_lies_off_the_image_is_no_part_of_the_example(make_raster, write_polygons):
    array = np.full((3, 100, 100), 120, np.uint8)
    array[:, :, 50:] = 0
    with Raster(make_raster(array, nodata=0)) as half:
        box = shapely.box(500_000 + 20, 5_400_000 - 30, 500_000 + 29, 5_400_000 - 20)  # to column 58
        crop = cut_crops(read_example(write_polygons([box], "rim.geojson"), half), 0.5, None)[0]
    assert crop.mask.sum() == 10 * 20 and not (crop.mask & ~crop.valid).any()


def test_a_ring_that_is_not_closed_is_a_sentence(raster, tmp_path):
    path = tmp_path / "open.geojson"
    ring = "[[0, 0], [1, 0], [1, 1], [0, 1]]"
    path.write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, '
        f'"geometry": {{"type": "Polygon", "coordinates": [{ring}]}}}}]}}'
    )
    with pytest.raises(InputError, match="not closed"):
        read_example(path, raster)


def test_a_place_cannot_be_wanted_and_not(raster, tmp_path):
    path = tmp_path / "roles.gpkg"

    def write(*negative):
        shapes = [SQUARE, *negative]
        roles = ["positive", *["negative"] * len(negative)]
        gpd.GeoDataFrame({"role": roles}, geometry=shapes, crs=UTM).to_file(path)

    for other in (SQUARE, SQUARE.buffer(5), shapely.box(500_020, 5_399_958, 500_028, 5_399_970)):
        write(other)
        with pytest.raises(InputError, match="A negative polygon covers a positive one"):
            read_example(path, raster)
    write(shapely.box(500_020, 5_399_958, 500_024, 5_399_970))  # a yard of it
    assert len(read_example(path, raster).negatives_px) == 1


@pytest.mark.parametrize(
    ("drawn", "named", "fits"),
    [
        (UTM, "EPSG:4326", "the raster's own"),
        ("EPSG:3857", "EPSG:4326", "EPSG:3857"),
        (UTM, "EPSG:25833", "the raster's own"),
        ("EPSG:4326", UTM, "EPSG:4326"),
    ],
)
def test_coordinates_of_another_crs_than_the_file_names_are_one_sentence(
    raster, tmp_path, drawn, named, fits
):
    """Metres in a file that says degrees, and the like."""
    path = tmp_path / "mislabelled.gpkg"
    table = gpd.GeoDataFrame(geometry=[SQUARE], crs=UTM).to_crs(drawn)
    table.set_crs(named, allow_override=True).to_file(path)
    with pytest.raises(InputError, match=f"They fit {fits}.*set that one for the layer"):
        read_example(path, raster)


def test_coordinates_that_fit_nowhere_are_one_sentence(raster, tmp_path):
    path = tmp_path / "nowhere.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(5e7, 5e7, 6e7, 6e7)], crs="EPSG:4326").to_file(path)
    with pytest.raises(InputError, match="not of the coordinate reference system that it names"):
        read_example(path, raster)
