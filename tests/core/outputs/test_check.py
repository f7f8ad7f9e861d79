"""Where a result may go: no name is taken for another file's, and no file that is there is lost."""

import sqlite3
from contextlib import closing

import geopandas as gpd
import pytest
from shapely.geometry import box

from core.errors import InputError
from core.outputs.check import check_apart, check_writable
from core.outputs.write import write_table

ROOF = gpd.GeoDataFrame(geometry=[box(500000, 5400000, 500010, 5400010)], crs="EPSG:32633")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("ending", [".gpkg", ".tif"])
def test_names_that_are_no_text_or_too_long_get_a_sentence(folder, ending):
    with pytest.raises(InputError, match=r"found\\udce9\.\w+ holds bytes that are no text"):
        check_writable(f"found\udce9{ending}", (ending,))
    with pytest.raises(InputError, match="too long a name"):
        check_writable("ü" * 130 + ending, (ending,))


@pytest.mark.parametrize("name", ["gpkg_roofs.gpkg", "gpkg.gpkg", "sqlite_master.gpkg", "-x.gpkg"])
def test_a_name_that_the_format_refuses_is_told_before_the_work(folder, name):
    with pytest.raises(InputError, match=r"can't be written: .*Choose another name"):
        check_writable(name)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["roofs.gpkg", "roofs 2.gpkg", "dächer.shp", "a.b.geojson", "select.gpkg"])
def test_usual_names_are_fine(folder, name):
    check_writable(name)
    assert list(folder.iterdir()) == []


def test_a_project_in_the_geopackage_is_not_lost(folder):
    """QGIS keeps projects in a table of its own, which the GeoPackage's list of contents doesn't name."""
    write_table(ROOF, "found.gpkg")
    check_writable("found.gpkg")
    with closing(sqlite3.connect("found.gpkg")) as database:
        database.execute("CREATE TABLE qgis_projects (name TEXT PRIMARY KEY, content BLOB)")
        database.commit()
    with pytest.raises(InputError, match="other layers, which would be lost: qgis_projects"):
        check_writable("found.gpkg")


def test_a_shapefile_has_its_usual_ending(folder):
    with pytest.raises(InputError, match=r"roof\.SHP would be written as \.shp"):
        check_writable("roof.SHP")


def test_what_lies_beside_a_shapefile_that_is_not_there_is_not_its_own(folder):
    (folder / "ortho.prj").touch()
    with pytest.raises(InputError, match=r"ortho\.prj would be overwritten by ortho\.shp"):
        check_writable("ortho.shp")
    write_table(ROOF, "roof.shp")
    check_writable("roof.shp")


@pytest.mark.parametrize(
    ("result", "given"),
    [
        ("in/roofs.shp", "in"),  # a folder of shapefiles
        ("roofs.shp", "roofs.dbf"),
        ("ortho.shp", "ortho.prj"),  # a raster's
        ("found.tif", "found.tif.aux.xml"),
        ("roofs.shp", "roofs.vrt"),
    ],
)
def test_no_part_of_a_result_replaces_a_part_of_an_input(folder, result, given):
    (folder / "in").mkdir()
    (folder / "roofs.vrt").write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="roofs"><SrcDataSource relativeToVRT="1">roofs.shp'
        "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(InputError, match=r"would be overwritten\. Choose another output"):
        check_apart([result], [given])
    check_apart([f"other_{result.replace('/', '_')}"], [given])


def test_two_results_that_share_a_part_are_told(folder):
    with pytest.raises(InputError, match="Two results would be written to"):
        check_apart(["found.shp", "found.shp"], [])
    check_apart(["found.shp", "found.tif", "found.gpkg"], ["town.tif"])
