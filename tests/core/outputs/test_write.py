"""Writing: whole or not at all, and readable by others."""

import os
import sqlite3
import tempfile

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from geopandas.testing import assert_geodataframe_equal
from pyproj import CRS
from shapely.affinity import affine_transform

from core.errors import InputError
from core.geo.raster import Raster
from core.outputs import write
from core.outputs.check import check_holds, check_writable
from core.outputs.place import DRIVERS
from core.outputs.write import write_mask, write_table
from core.vectors.attributes import COLUMNS

UTM = "EPSG:25832"
FORMATS = sorted(DRIVERS)


def table_of(count, crs=UTM):
    rng = np.random.default_rng(count)
    columns = {}
    for name in COLUMNS:
        if name == "id":
            columns[name] = np.arange(1, count + 1)
        elif name in ("target", "strategy", "model"):
            columns[name] = np.array([f"{name} häuser"] * count, dtype=object)
        elif name == "created":
            columns[name] = np.array(["2026-01-02T03:04:05Z"] * count, dtype=object)
        else:
            columns[name] = np.round(rng.random(count) * 100, 3)
    boxes = [shapely.box(500_000 + 10 * i, 5_400_000, 500_006 + 10 * i, 5_400_004) for i in range(count)]
    return gpd.GeoDataFrame(columns, geometry=boxes, crs=crs)


def read(path):
    return gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)


def test_an_older_mask_leaves_no_statistics_behind(tmp_path, make_raster):
    path, other = tmp_path / "mask.tif", tmp_path / "another.tif.aux.xml"
    other.touch()
    for ending in (".aux.xml", ".ovr", ".msk"):
        path.with_name(path.name + ending).write_bytes(b"of the older file")
    with Raster(str(make_raster(np.zeros((8, 8), np.uint8)))) as raster:
        write_mask(table_of(0), raster, raster.bounds_map, path)
    assert {p.name for p in tmp_path.iterdir()} == {"mask.tif", other.name, "raster.tif"}


@pytest.mark.parametrize("ending", FORMATS)
def test_what_is_written_is_read_back_the_same(tmp_path, ending):
    table = table_of(5)
    path = tmp_path / f"found{ending}"
    write_table(table, path)
    again = read(path)
    assert list(again.columns) == [*COLUMNS, "geometry"]  # a shapefile would cut names of 11
    again["created"] = table["created"]  # formats differ in what they make of a date
    assert_geodataframe_equal(
        again, table, check_dtype=False, check_less_precise=True, normalize=True, check_crs=False
    )
    assert again.crs.to_epsg() == 25832


@pytest.mark.parametrize("ending", FORMATS)
def test_an_empty_table_is_written_with_all_its_columns(tmp_path, ending):
    path = tmp_path / f"none{ending}"
    write_table(table_of(0), path)
    again = read(path)
    assert len(again) == 0
    if ending != ".geojson":  # GeoJSON has columns in its features only
        assert list(again.columns) == [*COLUMNS, "geometry"]
        assert again.crs.to_epsg() == 25832


def test_a_shapefile_brings_its_projection_and_encoding(tmp_path):
    write_table(table_of(2), tmp_path / "found.shp")
    assert {p.name for p in tmp_path.iterdir()} == {
        f"found{e}" for e in (".shp", ".shx", ".dbf", ".prj", ".cpg")
    }
    assert (tmp_path / "found.cpg").read_text().strip().upper().replace("-", "") == "UTF8"
    assert gpd.read_file(tmp_path / "found.shp").target[0] == "target häuser"


def test_no_crs_is_written_as_none(tmp_path):
    for ending in (".gpkg", ".shp"):
        write_table(table_of(2, crs=None), tmp_path / f"plain{ending}")
        assert len(gpd.read_file(tmp_path / f"plain{ending}")) == 2
    assert not (tmp_path / "plain.prj").exists()


def test_an_older_shapefile_leaves_nothing_behind(tmp_path):
    path = tmp_path / "found.shp"
    write_table(table_of(9), path)
    for stale in (".qix", ".sbn", ".sbx"):  # indexes that other programs made of the older file
        path.with_suffix(stale).write_bytes(b"of the older file")
    (tmp_path / "found.txt").write_text("not ours")
    write_table(table_of(2, crs=None), path)
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"found.shp", "found.shx", "found.dbf", "found.cpg", "found.txt"}  # no .prj: no CRS
    assert len(gpd.read_file(path)) == 2


@pytest.mark.parametrize("ending", FORMATS)
def test_an_older_file_is_replaced(tmp_path, ending):
    path = tmp_path / f"found{ending}"
    write_table(table_of(9), path)
    write_table(table_of(2), path)
    assert len(read(path)) == 2


@pytest.mark.parametrize("ending", FORMATS)
def test_a_failure_in_the_middle_leaves_the_older_file(tmp_path, ending, monkeypatch):
    path = tmp_path / f"found{ending}"
    write_table(table_of(3), path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full_disk(self, draft, **_):
        draft.write_bytes(b"half a fi")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gpd.GeoDataFrame, "to_file", full_disk)
    monkeypatch.setattr(gpd.GeoDataFrame, "to_parquet", full_disk)
    with pytest.raises(InputError, match="could not be written"):
        write_table(table_of(5), path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_no_draft_stays_beside_the_result(tmp_path):
    write_table(table_of(3), tmp_path / "found.gpkg")
    assert [p.name for p in tmp_path.iterdir()] == ["found.gpkg"]


# What is found out before the work begins


def test_writable_paths_pass_and_leave_no_trace(tmp_path):
    for ending in FORMATS:
        assert check_writable(str(tmp_path / f"a{ending}")) == tmp_path / f"a{ending}"
    assert check_writable(tmp_path / "B.GPKG") == tmp_path / "B.GPKG"
    assert list(tmp_path.iterdir()) == []


def test_paths_that_can_not_be_written_are_refused(tmp_path):
    (tmp_path / "folder.gpkg").mkdir()
    for path, says in (
        (tmp_path / "found.xyz", "no known format"),
        (tmp_path / "found", "no known format"),
        (tmp_path / "folder.gpkg", "is a folder"),
        (tmp_path / "absent" / "found.gpkg", "no folder"),
    ):
        with pytest.raises(InputError, match=says):
            check_writable(path)
    with pytest.raises(InputError, match="no known format"):
        check_writable(tmp_path / "mask.gpkg", (".tif", ".tiff"))


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # nothing is forbidden to root

        def forbidden(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(tempfile, "mkdtemp", forbidden)
        locked = tmp_path
    else:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
    with pytest.raises(InputError, match="no permission to write it"):
        check_writable(locked / "found.gpkg")


# The mask


@pytest.mark.parametrize(
    "transform",
    [
        Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000),
        Affine(0.5, 0, 500_000, 0, 0.5, 5_400_000),
        Affine.translation(500_000, 5_400_000) @ Affine.rotation(20) @ Affine.scale(0.5, -0.5),
    ],
)
def test_a_mask_lies_on_the_rasters_own_pixels(make_raster, tmp_path, transform):
    path = make_raster(np.zeros((3, 90, 120), np.uint8), transform=transform)
    corners = [transform @ corner for corner in ((30, 40), (60, 40), (60, 55), (30, 55))]
    table = gpd.GeoDataFrame(geometry=[shapely.Polygon(corners)], crs=UTM)
    with Raster(path) as raster:
        write_mask(table, raster, raster.bounds_map, tmp_path / "mask.tif")
    with rasterio.open(tmp_path / "mask.tif") as mask, rasterio.open(path) as original:
        assert mask.crs == original.crs and mask.dtypes == ("uint8",)
        assert mask.transform.almost_equals(original.transform) and mask.shape == original.shape
        expected = np.zeros((90, 120), np.uint8)
        expected[40:55, 30:60] = 1
        np.testing.assert_array_equal(mask.read(1), expected)


def test_a_mask_of_an_extent_holds_whole_pixels_of_it(make_raster, tmp_path):
    path = make_raster(np.zeros((3, 90, 120), np.uint8))
    table = gpd.GeoDataFrame(geometry=[shapely.box(500_010, 5_399_980, 500_020, 5_399_990)], crs=UTM)
    with Raster(path) as raster:
        write_mask(table, raster, (500_005.2, 5_399_970.1, 500_030.3, 5_399_995.4), tmp_path / "mask.tif")
    with rasterio.open(tmp_path / "mask.tif") as mask:
        left, top = ~Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000) @ (mask.transform.c, mask.transform.f)
        assert (left, top) == pytest.approx((10, 9)) and mask.shape == (51, 51)
        assert mask.read(1).sum() == 20 * 20
        assert mask.read(1)[20 - 9, 20 - 10] == 1 and mask.read(1)[20 - 10, 20 - 10] == 0


def test_a_mask_of_nothing_is_all_zero(make_raster, tmp_path):
    with Raster(make_raster(np.zeros((3, 30, 30), np.uint8))) as raster:
        write_mask(table_of(0), raster, raster.bounds_map, tmp_path / "mask.tif")
    with rasterio.open(tmp_path / "mask.tif") as mask:
        assert not mask.read(1).any()


@pytest.mark.parametrize("strip", [8, 16, 1024])
def test_a_mask_is_the_same_in_strips(make_raster, tmp_path, monkeypatch, strip):
    raster_path = make_raster(np.zeros((40, 60), np.uint8))
    with Raster(str(raster_path)) as raster:
        court = shapely.box(3, 2, 30, 37).difference(shapely.box(9, 9, 12, 22))
        map_from_px = raster.map_from_px.to_shapely()
        drawn_map = [affine_transform(each, map_from_px) for each in (court, shapely.box(41, 20, 44, 24))]
        table = gpd.GeoDataFrame(geometry=drawn_map, crs=UTM)
        monkeypatch.setattr(write, "STRIP", strip)
        write_mask(table, raster, raster.bounds_map, tmp_path / "mask.tif")
    with rasterio.open(tmp_path / "mask.tif") as written:
        mask = written.read(1)
    expected = np.zeros((40, 60), np.uint8)
    expected[2:37, 3:30] = 1
    expected[9:22, 9:12] = 0
    expected[20:24, 41:44] = 1
    np.testing.assert_array_equal(mask, expected)


def test_what_another_program_left_unfinished_is_not_applied_to_the_new_file(tmp_path):
    """A GeoPackage edited in QGIS leaves a log of changes beside it, which belongs to the older file."""
    path = tmp_path / "found.gpkg"
    write_table(table_of(3), path)
    older = sqlite3.connect(path)
    older.execute("PRAGMA journal_mode=WAL")
    older.execute("PRAGMA wal_autocheckpoint=0")
    older.execute("UPDATE gpkg_contents SET description = 'edited'")
    older.commit()
    logged = path.with_name("found.gpkg-wal").read_bytes()
    older.close()
    path.with_name("found.gpkg-wal").write_bytes(logged)  # as if the program had been killed
    write_table(table_of(30), path)
    assert len(read(path)) == 30
    assert [p.name for p in tmp_path.iterdir()] == ["found.gpkg"]


SITE = "+proj=tmerc +lat_0=10 +lon_0=15.3 +k=1 +x_0=0 +y_0=0 +ellps=GRS80 +units=m"


@pytest.mark.parametrize("crs", [SITE, None])
def test_geojson_refuses_a_crs_that_it_cannot_name(crs):
    with pytest.raises(InputError, match="GeoJSON can't hold"):
        check_holds("found.geojson", crs and CRS.from_user_input(crs))
    check_holds("found.gpkg", crs and CRS.from_user_input(crs))


@pytest.mark.parametrize("crs", ["EPSG:25832", "EPSG:4326", "EPSG:2263", "ESRI:102100", "EPSG:25832+5783"])
def test_geojson_holds_a_crs_with_a_code(crs):
    check_holds("found.geojson", CRS.from_wkt(CRS.from_user_input(crs).to_wkt()))
